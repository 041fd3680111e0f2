"""Cluster-robust standard errors, one- and two-way, with the correction named."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from evalkit.catalogue import Message, message
from evalkit.columns import Floats, Ints, place
from evalkit.errors import DataError, InferenceError, nearest
from evalkit.estimation import Specification
from evalkit.fit import Fit
from evalkit.inference._clusters import (
    Way,
    assignment,
    count_clusters,
    regression_of,
    smallest_p,
    summed_influence,
)
from evalkit.numerics.absorb import effects_rank
from evalkit.uncertainty import Uncertainty, few_clusters

Correction = Literal["cr1", "none", "all_effects"]
_ROUNDING = 1e-10  # share of the classical standard error

CORRECTIONS: tuple[Correction, ...] = ("cr1", "none", "all_effects")


@dataclass(frozen=True)
class Cluster:
    """Let errors be correlated within clusters: by default the units of assignment, else column `by`, or two columns.

    correction  "cr1": G/(G-1) · (N-1)/(N-K), K counting slopes and absorbed effects not nested in the clusters (the
                convention of fixest), and G/(G-1) alone for estimators that are no one regression; "all_effects": K counts
                every effect; "none": no factor.

    p-values and intervals use t(G-1); with two columns the smaller G, and V = V1 + V2 - V12 (Cameron, Gelbach, Miller, Journal of
    Business and Economic Statistics 29 (2011), eq. 2.11) with negative eigenvalues set to 0, which a note says. Units observed
    once stay in N. Where the design has too few treated or control clusters, the uncertainty says that t(G-1) is no guide.
    """

    by: str | tuple[str, ...] | None = None
    correction: Correction = "cr1"

    def __post_init__(self) -> None:
        if self.correction not in CORRECTIONS:
            raise InferenceError(
                f"correction '{self.correction}' is unknown",
                where="Cluster",
                remedy=nearest(self.correction, CORRECTIONS),
            )
        by = (self.by,) if isinstance(self.by, str) else self.by
        if by is not None:
            if not 1 <= len(by) <= 2 or len(set(by)) < len(by):
                raise InferenceError(
                    f"clusters are given by {len(by)} columns",
                    where="Cluster",
                    remedy="name one column, or two different ones",
                )
            object.__setattr__(self, "by", tuple(by))

    def assess(self, fit: Fit, spec: Specification) -> Uncertainty:
        """Sum influence within clusters and take the outer product."""
        columns = self.by if isinstance(self.by, tuple) else (spec.design.assigned_at,)
        ways = [_cluster_by(column, fit, spec) for column in columns]
        sizes = [min(counts) for counts in zip(*(way.sizes for way in ways), strict=True)]
        factors = [self._factor(fit, i, ways, size) for i, size in enumerate(sizes)]
        df = np.full(len(fit.terms), np.nan)
        for part, size in zip(fit.parts, sizes, strict=True):
            df[part.positions] = size - 1
        covariance = _outer(summed_influence(fit, ways[0], factors))
        notes: tuple[Message, ...] = ()
        if len(ways) == 2:
            both = summed_influence(fit, _cross(*ways), factors)
            covariance += _outer(summed_influence(fit, ways[1], factors))
            covariance, notes = _positive(covariance - _outer(both), np.sqrt(np.diag(covariance)))
        covariance, emptied = _without_rounding(covariance, fit)
        notes += emptied
        counted = [count_clusters(fit, way) for way in ways]
        # Of two ways of clustering, the one with fewer treated or control clusters limits what can be said.
        clusters, parts = min(counted, key=lambda pair: min(pair[0].treated, pair[0].control))
        single, joint = few_clusters(*parts, by_cohort=any(part.by_cohort for part in fit.parts))
        method = message(
            f"method.cluster_{len(ways)}way",
            columns=" × ".join(columns),
            correction=message(f"correction.{self.correction}"),
        )
        return Uncertainty(covariance, df, method, smallest_p(fit), clusters, parts, single, joint, notes)

    def _factor(self, fit: Fit, i: int, ways: list[Way], n_clusters: int) -> float:
        if self.correction == "none":
            return 1.0
        part = fit.parts[i]
        if part.regression is None and self.correction == "cr1":
            return n_clusters / (n_clusters - 1)
        regression = regression_of(part, f"Cluster(correction='{self.correction}')")
        if self.correction == "all_effects":
            n_effects = regression.n_effects
        else:
            units, *others = regression.factors
            apart = [] if any(way.nests_units or _nested(units, way.codes[i]) for way in ways) else [units]
            apart += [levels for levels in others if not any(_nested(levels, way.codes[i]) for way in ways)]
            n_effects = effects_rank(tuple(apart))
        left = part.sample.n_obs - regression.n_slopes - n_effects
        return n_clusters / (n_clusters - 1) * (part.sample.n_obs - 1) / left if left > 0 else float("nan")


def _cluster_by(column: str, fit: Fit, spec: Specification) -> Way:
    if column == spec.design.assigned_at:
        way = assignment(fit)
    else:
        codes = spec.panel.codes(column)
        way = Way(tuple(codes.values[part.sample.rows] for part in fit.parts), len(codes.labels), False)
    for part, codes_of_part in zip(fit.parts, way.codes, strict=True):
        if codes_of_part.min() < 0:
            absent = np.zeros(len(spec.panel), dtype=bool)
            absent[part.sample.rows[codes_of_part < 0]] = True
            raise DataError(
                f"the cluster is missing in {int(absent.sum())} rows",
                where=place(spec.panel.frame, absent, column),
                remedy="fill it in, or leave these rows out",
            )
    if min(way.sizes) < 2:
        raise InferenceError(
            f"there is only one cluster in '{column}'",
            where="Cluster",
            remedy="cluster at a level with several units; with one cluster no standard error exists",
        )
    return way


def _cross(one: Way, other: Way) -> Way:
    crossed = [a * other.n_codes + b for a, b in zip(one.codes, other.codes, strict=True)]
    found = np.unique(np.concatenate(crossed))
    return Way(tuple(np.searchsorted(found, codes) for codes in crossed), len(found), False)


def _outer(summed: Floats) -> Floats:
    product: Floats = summed.T @ summed
    return product


def _nested(levels: Ints, groups: Ints) -> bool:
    """Say whether each level lies within one group."""
    owner = np.zeros(int(levels.max()) + 1, dtype=np.int64)
    for rows in (slice(0, 1000), slice(None)):  # the first rows mostly settle it
        owner[levels[rows]] = groups[rows]
        if (owner[levels[rows]] != groups[rows]).any():
            return False
    return True


def _without_rounding(covariance: Floats, fit: Fit) -> tuple[Floats, tuple[Message, ...]]:
    """Set to 0 the variance of terms whose influence sums to 0 in every cluster, which leaves only rounding behind."""
    floor = np.full(len(fit.terms), -1.0)
    for part in fit.parts:
        floor[part.positions] = 0.0  # without a regression the estimator itself sets rounding to 0
        if part.regression is not None:
            weights = 1.0 if part.regression.weights is None else part.regression.weights
            noise = float(np.sum(weights * part.regression.residuals**2))
            floor[part.positions] = _ROUNDING * np.sqrt(np.diag(part.of_slopes(part.regression.bread)) * noise)
    empty = (floor >= 0) & (np.diag(covariance) <= floor**2)
    if not empty.any():
        return covariance, ()
    names = ", ".join(term.name for term, none in zip(fit.terms, empty, strict=True) if none)
    return np.where(empty[:, None] | empty, 0.0, covariance), (message("note.no_cluster_variance", terms=names),)


def _positive(covariance: Floats, scale: Floats) -> tuple[Floats, tuple[Message, ...]]:
    """Set negative eigenvalues to 0, in units of `scale` (k,), so that the units of a covariate change no other term."""
    known = np.flatnonzero(scale > 0)  # a base term has no variance to mend
    units = np.outer(scale[known], scale[known])
    values, vectors = np.linalg.eigh(covariance[np.ix_(known, known)] / units)
    if values.min(initial=0.0) >= -1e-14:
        return covariance, ()
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    mended = np.zeros_like(covariance)
    mended[np.ix_(known, known)] = _outer(root.T) * units
    return mended, (message("note.not_positive"),)
