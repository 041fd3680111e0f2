"""The clusters of a fit: influence summed within them, their counts, and the covariance of parts with factors of their own."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from evalkit.designs.sample import smallest_attainable_p
from evalkit.errors import DataError, InferenceError
from evalkit.numerics.arrays import Flags, Floats, Ints
from evalkit.results.estimation import Specification
from evalkit.results.fit import Fit, Part, Regression
from evalkit.results.uncertainty import Clusters
from evalkit.tables.columns import name_rows
from evalkit.tables.contents import in_short, same_content


def regression_of(part: Part, method: str) -> Regression:
    """Return the part's regression; raise InferenceError where the estimator has none."""
    if part.regression is None:
        raise InferenceError(
            f"{method} needs the residuals of a regression, which this estimator does not have",
            where=f"inference = {method}()",
            remedy="use Cluster()",
        )
    return part.regression


@dataclass(frozen=True, eq=False)
class Way:
    """One way of clustering a fit: for each part the codes (n,) of its rows, numbered alike over all parts.

    `name` is the column, "" for the units of assignment, as of which units that move stay where they were assigned.
    """

    name: str
    codes: tuple[Ints, ...]
    n_codes: int
    nests_units: bool

    __eq__ = same_content
    __repr__ = in_short

    @cached_property
    def sizes(self) -> list[int]:
        """Count the clusters in each part."""
        return [int((np.bincount(codes, minlength=self.n_codes) > 0).sum()) for codes in self.codes]

    @cached_property
    def present(self) -> Ints:
        """Codes (G,) of the clusters that have rows."""
        return np.flatnonzero(np.bincount(np.concatenate(self.codes), minlength=self.n_codes))


def assignment(fit: Fit) -> Way:
    """Cluster by the units of assignment; a unit that moves stays where it was assigned."""
    samples = [part.sample for part in fit.parts]
    return Way("", tuple(sample.cluster for sample in samples), len(samples[0].clusters), True)


def cluster_by(column: str, fit: Fit, spec: Specification) -> Way:
    """Cluster by a column; DataError where it is missing in a row, InferenceError where it makes one cluster only."""
    if column == spec.design.assigned_at:
        way = assignment(fit)
    else:
        codes = spec.panel.codes(column)
        way = Way(column, tuple(codes.values[part.sample.rows] for part in fit.parts), len(codes.labels), False)
    for part, codes_of_part in zip(fit.parts, way.codes, strict=True):
        if codes_of_part.min() < 0:
            absent = np.zeros(len(spec.panel), dtype=bool)
            absent[part.sample.rows[codes_of_part < 0]] = True
            raise DataError(
                f"the cluster is missing in {int(absent.sum())} rows",
                where=name_rows(spec.panel.frame, absent, column),
                remedy="fill it in, or leave these rows out",
            )
    if min(way.sizes) < 2:
        raise InferenceError(
            f"there is only one cluster in '{column}'",
            where="Cluster",
            remedy="cluster at a level with several units; with one cluster no standard error exists",
        )
    return way


def period_codes(fit: Fit) -> tuple[tuple[Ints, ...], int]:
    """Number the periods that any part observes, without gaps: for each part the codes (n,) of its rows, and how many.

    Where a policy is for some in a cluster only, these and the others have periods of their own: a triple difference is one
    because it leaves no shock that both share.
    """
    observed = np.flatnonzero(
        np.bincount(np.concatenate([np.flatnonzero(np.bincount(part.sample.period)) for part in fit.parts]))
    )
    codes = [np.searchsorted(observed, part.sample.period) for part in fit.parts]
    if all(part.sample.eligible is None for part in fit.parts):
        return tuple(codes), len(observed)
    groups = [
        np.zeros(len(one)) if p.sample.eligible is None else p.sample.eligible
        for one, p in zip(codes, fit.parts, strict=True)
    ]
    return tuple(
        one + len(observed) * group.astype(np.int64) for one, group in zip(codes, groups, strict=True)
    ), 2 * len(observed)


def way_of(by: str | None, fit: Fit, spec: Specification) -> Way:
    """Cluster by a column, or by the units of assignment."""
    return cluster_by(spec.design.assigned_at if by is None else by, fit, spec)


def nested(levels: Ints, groups: Ints) -> bool:
    """Say whether each level lies within one group."""
    owner = np.zeros(int(levels.max()) + 1, dtype=np.int64)
    for rows in (slice(0, 1000), slice(None)):  # the first rows mostly settle it
        owner[levels[rows]] = groups[rows]
        if (owner[levels[rows]] != groups[rows]).any():
            return False
    return True


def summed_influence(fit: Fit, way: Way, factors: list[float]) -> Floats:
    """Sum influence within clusters over all parts, giving (n_codes, k); each part's is scaled by the root of its factor."""
    total = np.zeros((way.n_codes, len(fit.terms)))
    for part, codes, factor in zip(fit.parts, way.codes, factors, strict=True):
        total[:, part.positions] += np.sqrt(factor) * part.influence.sum_within(codes, way.n_codes)
    return total


def count_clusters(fit: Fit, way: Way) -> tuple[Clusters, tuple[Clusters, ...]]:
    """Count the clusters of a fit, and those of each of its parts.

    Counted are those with rows, with units that get treated, and with units of comparison. Units of comparison are never treated
    in the sample, or adopt last where all adopt. A cluster can hold both kinds.
    """
    parts = tuple(_count(fit, way, [i]) for i in range(len(fit.parts)))
    return (parts[0] if len(parts) == 1 else _count(fit, way, list(range(len(parts))))), parts


def _count(fit: Fit, way: Way, members: list[int]) -> Clusters:
    present, treated, control = (np.zeros(way.n_codes, dtype=bool) for _ in range(3))
    for sample, codes in ((fit.parts[i].sample, way.codes[i]) for i in members):
        here, adoption = (codes[sample.starts], sample.unit_adoption) if way.nests_units else (codes, sample.adoption)
        adoption = np.where(adoption > sample.last_period, np.inf, adoption)
        comparison = adoption == adoption.max()
        present[here] = True
        control[here[comparison]] = True
        treated[here[~comparison]] = True
    return Clusters(int(present.sum()), int(treated.sum()), int(control.sum()))


def smallest_p(fit: Fit) -> float:
    """Smallest p that a permutation can attain in every part: the largest of the parts' own."""
    return max(smallest_attainable_p(part.sample) for part in fit.parts)


_ROUNDING = 1e-10  # share of the classical standard error


def outer(summed: Floats) -> Floats:
    """Return the sum of outer products of the rows of (c, k), giving (k, k)."""
    product: Floats = summed.T @ summed
    return product


def floors(fit: Fit) -> Floats:
    """Standard errors (k,) that rounding alone can make: -1 of a base, 0 without a regression, whose estimator clears it."""
    floor = np.full(len(fit.terms), -1.0)
    for part in fit.parts:
        floor[part.positions] = 0.0
        if part.regression is not None:
            scale = np.diag(part.of_slopes(part.regression.bread)) * part.regression.noise
            floor[part.positions] = _ROUNDING * np.sqrt(scale)
    return floor


def only_rounding(variances: Floats, fit: Fit) -> Flags:
    """Flag the terms (k,) whose influence cancels in every sum, so that their variances (k,) are rounding."""
    floor = floors(fit)
    empty: Flags = (floor >= 0) & (variances <= floor**2)
    return empty


def without(covariance: Floats, chosen: Flags) -> Floats:
    """Set rows and columns of the chosen terms (k,) to 0."""
    return np.where(chosen[:, None] | chosen, 0.0, covariance)


def named(fit: Fit, chosen: Flags) -> str:
    """Name the chosen terms (k,)."""
    return ", ".join(term.name for term, one in zip(fit.terms, chosen, strict=True) if one)


def positive(covariance: Floats, scale: Floats) -> tuple[Floats, bool]:
    """Set negative eigenvalues to 0, in units of `scale` (k,), so that the units of a covariate change no other term.

    Says, too, whether there were any. A term without scale, such as a base, has nothing to mend.
    """
    known = np.flatnonzero(scale > 0)
    units = np.outer(scale[known], scale[known])
    values, vectors = np.linalg.eigh(covariance[np.ix_(known, known)] / units)
    if values.min(initial=0.0) >= -1e-14:
        return covariance, False
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    mended = np.zeros_like(covariance)
    mended[np.ix_(known, known)] = outer(root.T) * units
    return mended, True
