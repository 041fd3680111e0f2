"""One difference per cluster, one variance for all of them: t with G - 2 degrees of freedom."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy import stats

from evalkit.catalogue import Message, message
from evalkit.designs.sample import Sample
from evalkit.errors import DataError, InferenceError
from evalkit.numerics.arrays import Flags, Floats
from evalkit.numerics.group_means import Differences, compare, fit_by_size, significant_ratios
from evalkit.results.clusters import assignment, count_clusters, smallest_p
from evalkit.results.estimation import OnCells, Specification
from evalkit.results.fit import Fit, Part
from evalkit.results.loadings import Always, loadings_of
from evalkit.results.uncertainty import Uncertainty
from evalkit.tables.columns import name_rows, numbers

_SAME = 1e-9  # relative; totals of weights differ by rounding only
_ROWS = "rows"


@dataclass(frozen=True)
class PooledGroups:
    """Reduce each unit of assignment to one number, and compare the treated with the control ones by a pooled t test.

    The effect is then a difference of two means of G independent numbers, and t(G - 2) is exact when these are normal and treated
    and control clusters vary alike, be one cluster treated or many. Where the treated vary more, true nulls are rejected too
    often, and with one treated cluster the data cannot tell; a note says by how much they would have to for the conclusion at 5 %
    to turn, for each average effect (of an event study, for the first effect after adoption). Needs a regression, one date of
    adoption, units observed in every period, no covariates, and units of assignment that weigh alike; else InferenceError says
    what is in the way.

    sizes  column with the number of units behind each unit of assignment, constant within it, or "rows" for the rows that the
           sample has of it in a period. Variances are then A + B/size, A and B fitted to the squared residuals of all clusters,
           each at least 0; residuals and standard errors are those of clusters of unequal variance. The effect must still be a
           difference of plain means of clusters: rows of counties as they are, or rows of farms under equal weights of counties.

    With sizes p is approximate, because A and B are guesses where clusters are few. Of true nulls at 5 % (normal numbers, sizes
    from 5 to 100, one cluster treated) it rejects, where the smallest cluster is treated, .03 (B = 0) to .15 (A = 0) with 9
    clusters and .04 to .10 with 40, without sizes .05 to .27; where the largest is, .02 to .09 and .03 to .07, without sizes .00
    to .05. A note gives p with B = 0 and with A = 0, too: the largest of the three rejects .06 at most. Ferman and Pinto impose
    the null on the residuals and draw them anew; with few clusters such draws are too discrete, and t(G - 2) takes their place.
    Sources: Donald and Lang, Review of Economics and Statistics 89 (2007), section III; Ferman and Pinto, Review of Economics and
    Statistics 101 (2019), on sizes.
    """

    sizes: str | None = None

    def __post_init__(self) -> None:
        if self.sizes is not None and (not isinstance(self.sizes, str) or not self.sizes):
            raise InferenceError(
                f"sizes is {self.sizes!r}",
                where="PooledGroups",
                remedy='name the column with the number of units behind each unit of assignment, or write "rows"',
            )

    on_cells: ClassVar[OnCells] = "always"

    def columns(self) -> tuple[str, ...]:
        """Name the column of the sizes, be it only that "rows" would count if the panel had it."""
        return () if self.sizes is None else (self.sizes,)

    def assess(self, fit: Fit, spec: Specification) -> Uncertainty:
        """Pool the squares of the clusters' influence around their means."""
        treated, control = _same_sides(fit)
        n_treated, n_control = int(treated.sum()), int(control.sum())
        residuals = np.zeros((len(treated), len(fit.terms)))
        sizes = np.ones_like(residuals)
        for part in fit.parts:
            own = part.influence.sum_within(part.sample.cluster, len(treated))
            if part.regression is None:  # influence need not be a deviation from a mean
                raise InferenceError(
                    "PooledGroups needs the residuals of a regression, which this estimator does not have",
                    where="PooledGroups",
                    remedy="use Jackknife(), or Placebo(draws=200, seed=1), or Cluster()",
                )
            residuals[:, part.positions] = own * np.where(treated, n_treated, n_control)[:, None]
            if self.sizes is not None:
                sizes[:, part.positions] = _sizes(part.sample, spec, self.sizes)[:, None]
        present = treated | control
        residuals, sizes, treated = residuals[present], sizes[present], treated[present]
        alike = compare(residuals, treated, np.ones_like(residuals))
        found = alike if self.sizes is None else compare(residuals, treated, fit_by_size(residuals, treated, sizes))
        df = n_treated + n_control - 2
        counted, parts = count_clusters(fit, assignment(fit))
        sides = {"treated": counted.treated, "control": counted.control}
        notes = [message("note.vary_alike", **sides)]
        if self.sizes is not None:
            named = message("pooled.rows") if _counts_rows(self.sizes, spec) else self.sizes
            notes = [message("note.vary_by_size", **sides, sizes=named)]
            flat_and_inverse = (alike, compare(residuals, treated, sizes.mean(axis=0) / sizes))
            notes += [_by_size(fit, i, df, (found, *flat_and_inverse)) for i in _told(fit, found)]
        notes += [_turning(fit, i, df, found) for i in _told(fit, found)]
        method = message("method.pooled_groups", level=spec.design.assigned_at)
        if self.sizes is not None:
            method = message("method.pooled_by_size", level=spec.design.assigned_at, sizes=named)
        return Uncertainty(
            found.covariance,
            np.full(len(fit.terms), df),
            method,
            smallest_p(fit),
            counted,
            parts,
            loadings_of(fit, spec, assignment(fit)),
            joint_doubt=Always(message("note.joint_pooled")),
            notes=tuple(notes),
        )


def _same_sides(fit: Fit) -> tuple[Flags, Flags]:
    """Flag the treated and the control clusters by code, the same in all parts, and enough of them."""
    (treated, control), *others = [_sides(part) for part in fit.parts]
    if any((one != treated).any() or (other != control).any() for one, other in others):
        raise InferenceError(
            "the subgroups are not found in the same units of assignment",
            where="PooledGroups",
            remedy="estimate each subgroup on its own, or use Cluster()",
        )
    if treated.sum() + control.sum() < 3:
        raise InferenceError(
            f"there are only {treated.sum()} treated and {control.sum()} control units of assignment",
            where="PooledGroups",
            remedy="with two units no variance can be told from an effect; add units of comparison",
        )
    return treated, control


def _told(fit: Fit, found: Differences) -> list[int]:
    """Positions of the effects that notes tell of: averages, else the first after adoption; those that have an error."""
    effects = [i for i, term in enumerate(fit.terms) if term.role == "effect" and found.covariance[i, i] > 0]
    terms = fit.terms
    averages = [i for i in effects if (terms[i].event_time, terms[i].cohort, terms[i].period) == (None, None, None)]
    after = [i for i in effects if (terms[i].event_time or 0) >= 0]
    return averages or after[:1]


def _by_size(fit: Fit, i: int, df: int, ways: tuple[Differences, ...]) -> Message:
    """Say p as fitted, without B and without A."""
    errors = [float(np.sqrt(way.covariance[i, i])) for way in ways]
    fitted, flat, inverse = (f"{2 * stats.t.sf(abs(fit.coefficients[i]) / error, df):.3f}" for error in errors)
    return message("note.p_by_size", term=fit.terms[i].name, fitted=fitted, flat=flat, inverse=inverse)


def _turning(fit: Fit, i: int, df: int, found: Differences) -> Message:
    """Say at which ratio of the treated to the control variance significance at 5 % is lost or won."""
    term, square = fit.terms[i].name, float(fit.coefficients[i] / stats.t.ppf(0.975, df)) ** 2
    own = float(found.own_treated[i]), float(found.own_control[i])
    pull = float(found.pull_treated[i]), float(found.pull_control[i])
    ratios = significant_ratios(own, pull, square)
    if ratios is None:
        return message("note.ratio_never", term=term)
    low, high = ratios
    values = {"low": _ratio(low), "high": _ratio(high)}
    if low < 1 < high:
        where = "ratio.outside" if low > 0 and np.isfinite(high) else "ratio.below" if low > 0 else "ratio.above"
        bound = values["low"] if where == "ratio.below" else values["high"]
        return message("note.ratio_lost", term=term, ratio=message(where, bound=bound, **values))
    where = "ratio.between" if low > 0 and np.isfinite(high) else "ratio.above" if low > 0 else "ratio.below"
    bound = values["low"] if where == "ratio.above" else values["high"]
    return message("note.ratio_won", term=term, ratio=message(where, bound=bound, **values))


def _ratio(ratio: float) -> str:
    return f"{ratio:.3g}" if ratio < 10 else f"{ratio:.0f}"


def _counts_rows(sizes: str, spec: Specification) -> bool:
    return sizes == _ROWS and _ROWS not in spec.panel.frame.columns


def _sizes(sample: Sample, spec: Specification, sizes: str) -> Floats:
    """Sizes of the clusters by code, 1 where the sample has none of their rows."""
    if _counts_rows(sizes, spec):
        counts = np.ones(len(sample.rows)) if sample.counts is None else sample.counts
        in_a_period = np.bincount(sample.cluster, weights=counts, minlength=len(sample.clusters))
        return np.where(in_a_period > 0, in_a_period / len(np.unique(sample.period)), 1.0)
    values = numbers(spec.panel.frame, sizes)[sample.rows]
    found = np.ones(len(sample.clusters))
    found[sample.cluster] = values
    for wrong, how in (
        (~(np.isfinite(values) & (values > 0)), "is missing or not above 0"),
        (found[sample.cluster] != values, f"differs within a unit of assignment ({spec.design.assigned_at})"),
    ):
        if wrong.any():
            absent = np.zeros(len(spec.panel), dtype=bool)
            absent[sample.rows[wrong]] = True
            raise DataError(
                f"the size of a unit of assignment {how} in {int(wrong.sum())} rows",
                where=name_rows(spec.panel.frame, absent, sizes),
                remedy="give each unit of assignment one number of units above 0, the same in all of its rows",
            )
    return found


def _sides(part: Part) -> tuple[Flags, Flags]:
    """Flag the treated and the control clusters by code, after checking that the effect is a difference of their means."""
    sample = part.sample
    if sample.covariates or sample.absorb:
        _refuse("the design has covariates or further fixed effects", "leave them out")
    if sample.dose is not None or sample.eligible is not None:
        _refuse("the design has a dose, or compares the eligible with others", "leave that out")
    adoption = sample.cluster_adoption()
    adoption[adoption > sample.period.max()] = np.inf
    dates = np.unique(adoption[np.isfinite(adoption)])
    if len(dates) > 1:
        _refuse(f"there are {len(dates)} dates of adoption", "keep one cohort and its comparison")
    totals = _totals(sample)
    treated, control = np.isfinite(adoption), np.isinf(adoption)
    for side, name in ((treated, "treated"), (control, "control")):
        if side.any() and np.ptp(totals[side]) > _SAME * totals[side].max():
            level = sample.design.assigned_at
            _refuse(
                f"the {name} units of assignment ({level}) do not weigh alike: from {totals[side].min():g} to "
                f"{totals[side].max():g} in total",
                f'weigh their rows so that they do: derive a column by equal_weight("{level}") and name it as weights',
            )
    return treated, control


def _totals(sample: Sample) -> Floats:
    """Total weight of each cluster in one period, by code; every absorbed unit must weigh the same in every period."""
    weight = np.ones(len(sample.rows)) if sample.weights is None else sample.weights
    periods, at = np.unique(sample.period, return_inverse=True)
    n_units = int(sample.unit.max()) + 1
    cells = np.bincount(sample.unit * len(periods) + at, weights=weight, minlength=n_units * len(periods))
    cells = cells.reshape(n_units, len(periods))
    uneven = np.ptp(cells, axis=1) > _SAME * cells.max()
    if uneven.any():
        _refuse(
            f"{int(uneven.sum())} of {n_units} units are not observed, or do not weigh the same, in every period",
            "keep units observed throughout, with constant weights",
        )
    totals = np.zeros(len(sample.clusters))
    np.add.at(totals, sample.cluster[sample.starts], cells[:, 0])
    return totals


def _refuse(what: str, remedy: str) -> None:
    raise InferenceError(
        f"{what}, so that the effect is no difference of means of units of assignment",
        where="PooledGroups",
        remedy=f"{remedy}, or use Cluster()",
    )
