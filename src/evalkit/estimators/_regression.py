"""The regression shared by the estimators that are one: absorb the effects, solve, name what was dropped."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from evalkit.catalogue import Message, message
from evalkit.designs.design import Design
from evalkit.designs.sample import Sample
from evalkit.errors import DesignError
from evalkit.numerics.absorb import TOLERANCE, Absorber, make_absorber
from evalkit.numerics.arrays import Flags, Floats, Ints, cut_blocks, first_rows, in_blocks
from evalkit.numerics.extrapolate import Shocked, sum_cells
from evalkit.numerics.least_squares import COLLINEAR, least_squares
from evalkit.numerics.level_systems import UnsolvedError
from evalkit.numerics.loadings import ShockCells, ShockMap, own_shocks
from evalkit.results.fit import Fit, Influence, Part, Regression, Term, not_by_mass
from evalkit.tables.columns import numbers
from evalkit.tables.contents import in_short, same_content

# A weight below this share of the largest is rounding.
_ROUNDING = 1e-10


def regress(
    sample: Sample,
    effects: Sequence[tuple[Term, Floats | Flags]],
    notes: tuple[Message, ...] = (),
    *,
    once: str = "note.singletons",
) -> Fit:
    """Regress the outcome on effect columns (each (n,)) and the covariates, absorbing unit, period and the design's effects.

    A collinear covariate is dropped by name and noted; an effect that cannot be told from the rest is refused. `once` is the
    note of units observed once.
    """
    factors = (_dense_period(sample), *sample.absorb)
    absorber = make_absorber(unit=sample.unit, starts=sample.starts, factors=factors, weights=sample.weights)
    columns = [*(column for _, column in effects), *sample.covariates]
    terms = [term for term, _ in effects] + [Term(name, "covariate") for name in sample.covariate_names]
    with told_as_refusal():
        swept = absorber.sweep([*columns, sample.outcome])
    X, y = swept[:, :-1], swept[:, -1]
    reference = np.array([_length(column, sample.weights) for column in columns])
    solution = least_squares(X=X, y=y, weights=sample.weights, reference=reference, overwrite_y=True)

    lost = sorted(set(range(len(columns))) - set(solution.kept.tolist()))
    for j in lost:
        if j < len(effects):
            raise DesignError(
                f"the effect {terms[j].name} cannot be told from the fixed effects and the other effects",
                where=f"outcome '{sample.design.outcome}', {len(sample.rows)} rows",
                remedy="add units that are never treated, name a second reference event time, or absorb fewer effects",
            )
    notes = (*sample.notes, *notes, *(message("note.collinear", column=terms[j].name) for j in lost))
    if len(lost):
        X = np.asfortranarray(X[:, solution.kept])

    residuals = solution.residuals
    if _largest(residuals) <= 1e-13 * _largest(sample.outcome):
        residuals = np.zeros_like(residuals)
        notes = (*notes, message("note.no_residual", outcome=sample.design.outcome))
    n_singletons = sample.count_units(sample.starts == sample.ends)
    if n_singletons and sample.panel.unit is not None:
        notes = (*notes, message(once, units=n_singletons))
    notes = (*notes, *demeaner_notes(absorber))
    notes = (*notes, *_lone_notes(sample))
    within, cut = _within(sample)
    if cut:
        notes = (*notes, message("note.within_lost", cells=cut))
    regression = Regression(
        solution.coefficients,
        X,
        residuals,
        solution.bread,
        sample.weights,
        sample.counts,
        absorber.rank - len(absorber.starts) + sample.n_units,
        (sample.unit, *factors),
        within,
        absorber if absorber.is_wide else None,
    )
    kept_terms = tuple(terms[j] for j in solution.kept)
    part = Part(sample, np.arange(len(kept_terms)), regression, regression)
    return Fit(kept_terms, solution.coefficients, (part,), notes)


def _lone_notes(sample: Sample) -> tuple[Message, ...]:
    """Say how many levels of the design's effects have one row, which they fit whatever it says."""
    lone = sum(int((np.bincount(codes, weights=sample.counts) == 1).sum()) for codes in sample.absorb)
    return (message("note.lone_levels", levels=lone, effects=", ".join(sample.design.absorb)),) if lone else ()


@contextmanager
def told_as_refusal() -> Iterator[None]:
    """Raise DesignError where systems of fixed effects cannot be solved."""
    try:
        yield
    except UnsolvedError as error:
        raise DesignError(
            f"the systems of fixed effects were {error}",
            where="absorb",
            remedy="absorb fewer effects, or leave out levels that few rows tell from the others",
        ) from None


def demeaner_notes(absorber: Absorber) -> tuple[Message, ...]:
    """Say that effects were taken out by pyfixest's demeaner, and with which tolerance."""
    if absorber.is_exact:
        return ()
    notes = (message("note.demeaned", levels=len(absorber.level_mass), tolerance=f"{TOLERANCE:.0e}"),)
    return notes if absorber.meetings.is_counted else (*notes, message("note.rank_bound"))


def _within(sample: Sample) -> tuple[Floats | None, int]:
    """Squares inside collapsed rows (n,), and how many cells lost periods: these are around means over all of them."""
    if sample.panel.within is None or sample.panel.unit_codes is None:
        return None, 0
    codes = sample.panel.unit_codes.values
    squares = numbers(sample.panel.frame, sample.panel.within)
    counted = codes[~np.isnan(squares)]  # rows that no design can use have none
    here, all_rows = (np.bincount(one, minlength=len(sample.panel)) for one in (codes[sample.rows], counted))
    cut = int(((here > 0) & (here < all_rows)).sum())
    within = squares[sample.rows]
    return (np.full(len(within), np.nan) if cut else within), cut


def _dense_period(sample: Sample) -> Ints:
    observed = np.bincount(sample.period) > 0
    if observed.all():
        return sample.period
    dense: Ints = (np.cumsum(observed) - 1)[sample.period]
    return dense


def _largest(values: Floats) -> float:
    """Largest size among values (n,)."""
    return max(in_blocks(lambda rows: float(np.abs(values[rows]).max()), cut_blocks(len(values))))


def _length(column: Floats | Flags, weights: Floats | None) -> float:
    """Length of a column about its mean, raised to what rounding alone can leave of a large constant."""

    def measure(rows: slice) -> tuple[float, float]:
        block = column[rows].astype(np.float64, copy=False)
        block = block if weights is None else block * np.sqrt(weights[rows])
        return float(block.sum()), float(np.einsum("i,i->", block, block))

    total, square = np.sum(in_blocks(measure, cut_blocks(len(column))), axis=0).tolist()
    spread = square - total**2 / len(column)
    rounding = 1e-15 / COLLINEAR
    return math.sqrt(max(spread, rounding**2 * square, 0.0))


def count_cohorts(sample: Sample, among: Flags | None = None) -> int:
    """Count the dates of adoption in the sample, of the units flagged in `among` (U,), if given.

    Raises DesignError where there are several, but only the never treated may be compared with.
    """
    adoption = sample.unit_adoption if among is None else sample.unit_adoption[among]
    cohorts = len(np.unique(adoption[adoption <= sample.last_period]))
    if sample.design.comparison == "never_treated" and cohorts > 1:
        raise DesignError(
            f"comparison is 'never_treated', but {cohorts} cohorts adopt at different dates and a regression with "
            "two-way effects compares them with each other",
            where="comparison",
            remedy="use comparison='not_yet_treated', or an estimator made for staggered adoption",
        )
    return cohorts


def slope_notes(fit: Fit, treatment: Floats | Flags, cohorts: int) -> tuple[Message, ...]:
    """Say how the one effect of a fit weighs the effects in the treated rows; treatment (n,) is its column.

    The estimate is the sum of outcomes times w·e/Σw·e·D, where e is the residual of the treatment D on all the rest, so that
    a treated row's effect per unit of D enters with w·e·D/Σw·e·D. Source: de Chaisemartin and D'Haultfoeuille, American
    Economic Review 110 (2020), theorem 1, where D is 0 or 1.
    """
    (part,) = fit.parts
    assert part.regression is not None
    regression, design = part.regression, part.sample.design
    if cohorts == 1 and design.dose is None:
        return ()
    blocks = cut_blocks(len(treatment))

    def weigh(rows: slice) -> Floats:
        weight: Floats = treatment[rows] * np.einsum("ij,j->i", regression.regressors[rows], regression.bread[:, 0])
        return weight if regression.weights is None else weight * regression.weights[rows]

    largest = max(in_blocks(lambda rows: float(np.abs(weigh(rows)).max()), blocks))

    def count(rows: slice) -> tuple[float, float, float]:
        weight = weigh(rows)
        negative, treated = weight < -_ROUNDING * largest, treatment[rows] > 0
        times = np.ones(len(weight)) if regression.counts is None else regression.counts[rows]
        return weight[negative].sum(), times[negative].sum(), times[treated].sum()

    total, negative, treated = np.sum(in_blocks(count, blocks), axis=0)
    told = {"share": f"{100 * negative / treated:.1f}", "total": f"{round(total, 3) + 0.0:.3f}"}  # never -0.000
    notes: tuple[Message, ...] = ()
    if cohorts > 1:
        notes = (message("note.staggered", cohorts=cohorts, **told),)
    if design.dose is not None:
        notes = (*notes, *dose_notes(part.sample), message("note.dose_weights", **told))
    return notes


def dose_notes(sample: Sample) -> tuple[Message, ...]:
    """Say what a slope per unit of dose is, and whether some of the treated have no dose."""
    assert sample.dose is not None
    notes: tuple[Message, ...] = (message("note.dose", dose=sample.design.dose),)
    treated = sample.period >= sample.adoption
    none = treated & (sample.dose == 0)
    if none.any():
        with_dose = np.unique(sample.cluster[sample.dose > 0])
        clusters = len(np.setdiff1d(sample.cluster[treated], with_dose))
        notes = (*notes, message("note.dose_zero", rows=sample.count_rows(none), clusters=clusters))
    return notes


def always_treated_notes(sample: Sample, among: Flags | None = None) -> tuple[Message, ...]:
    """Say how many units (of those flagged in `among`, (U,)) are treated from their first row on."""
    always = sample.period[sample.starts] >= sample.unit_adoption
    n_always = sample.count_units(always if among is None else always & among)
    return (message("note.always_treated", units=n_always),) if n_always else ()


_USED_BY = {"dose": "TwoWayFE or EventStudy", "eligible": "TripleDifference"}


def refuse_unused(design: Design, estimator: str, *fields: str) -> None:
    """Raise DesignError where the design names one of the fields, which this estimator does not use."""
    for name in fields:
        value = getattr(design, name)
        if value:
            others = _USED_BY.get(name)
            raise DesignError(
                f"the design names {name} = {value!r}, and {estimator} does not use it",
                where=estimator,
                remedy=f"leave {name} out of this estimate's design" + (f", or use {others}" if others else ""),
            )


# A standard error below this share of the largest outcome is rounding.
OF_OUTCOME = 2e-15
# So is one below this share of what it would be were no influence to cancel.
OF_INFLUENCE = 1e-12
_OF_RESIDUALS = 1e-10  # the share that Cluster takes of the classical standard error


@dataclass(frozen=True, eq=False)
class WithoutRounding:
    """An influence whose sums within groups are 0 in columns (k,) where all of them together are no larger than `floor` (k,)."""

    of: Influence
    floor: Floats

    __eq__ = same_content
    __repr__ = in_short

    def sum_within(self, groups: Ints, n_groups: int) -> Floats:
        """Sum within groups (n,), giving (n_groups, k)."""
        summed = self.of.sum_within(groups, n_groups)
        size = np.sqrt(np.einsum("ij,ij->j", summed, summed))
        return np.where(size <= self.floor, 0.0, summed)


def floor_of_outcome(sample: Sample) -> float:
    """Return what rounding of outcomes as large as the sample's can make of a standard error."""
    return OF_OUTCOME * float(np.abs(sample.outcome).max())


def without_rounding_of(regression: Regression, sample: Sample, n_effects: int) -> WithoutRounding:
    """Judge a regression's influence against the classical standard errors, that of its first slopes against outcomes, too."""
    floor = _OF_RESIDUALS * np.sqrt(np.diag(regression.bread) * regression.noise)
    floor[:n_effects] = np.maximum(floor[:n_effects], floor_of_outcome(sample))  # slopes of covariates have other units
    return WithoutRounding(regression, floor)


@dataclass(frozen=True, eq=False)
class RowsResponse:
    """The answer to shocks of a regression on some rows of the sample, each any number of times: `row` (n',) are their positions.

    mapping (m, k) makes the coefficients of its k slopes. A cluster's influence is Σ v·e, e the residuals and v the row's
    regressors times weight times bread, which sum to 0 in every unit and level: own shocks enter by v, all others through e
    (`Shocked`).
    """

    regression: Regression
    row: Ints
    mapping: Floats
    _known: list[tuple[ShockCells, Shocked]] = field(init=False, default_factory=list, repr=False, compare=False)

    of_design = True
    by_mass = not_by_mass

    __eq__ = same_content
    __repr__ = in_short

    def loadings(self, cells: ShockCells) -> Floats:
        """Place what the shocks make of the slopes, (G·T, m)."""
        slopes = self._errors(cells).slopes[-self.regression.n_slopes :]
        found: Floats = slopes.T @ self.mapping.T
        return found

    def shock_map(self, weights: Floats, cells: ShockCells) -> ShockMap:
        """Map shocks to sums of influence."""
        of, errors, row = self.regression, self._errors(cells), self.row
        v = np.einsum("ik,k->i", of.regressors, of.bread @ (weights @ self.mapping))
        if of.weights is not None:
            v *= of.weights
        own = sum_cells(cells.cluster[row], cells.period[row], v, (cells.n_clusters, cells.n_periods))
        return ShockMap(own_shocks(own), errors.pull(cells.cluster[row], errors.base, v, len(own)), errors.slopes)

    def _errors(self, cells: ShockCells) -> Shocked:
        if not self._known or self._known[0][0] is not cells:
            of, base = self.regression, np.arange(len(self.row))
            unit, *factors = of.factors
            absorber = of.absorber or make_absorber(
                unit=unit, starts=first_rows(unit), factors=tuple(factors), weights=of.weights
            )
            code = cells.code[self.row]
            errors = Shocked(absorber, base, unit, absorber.levels, of.regressors, of.bread, code, cells.number)
            self._known[:] = [(cells, errors)]
        return self._known[0][1]
