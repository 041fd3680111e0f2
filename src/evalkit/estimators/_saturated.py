"""What the saturated regressions share: cells of cohort and period, the regression on their indicators, and averages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np

from evalkit.catalogue import Message, message
from evalkit.designs.sample import Sample, leave_out
from evalkit.errors import DesignError, nearest
from evalkit.estimators._regression import regress
from evalkit.numerics.absorb import Patterns, find_patterns, make_absorber
from evalkit.numerics.arrays import Flags, Floats, Ints
from evalkit.numerics.least_squares import least_squares
from evalkit.numerics.loadings import ShockCells, ShockMap
from evalkit.results.fit import Fit, MappedInfluence, Part, Response, Term, not_by_mass
from evalkit.tables.contents import in_short, same_content
from evalkit.tables.periods import Periods

Aggregate = Literal["dynamic", "simple", "cohort", "cohort_time"]
_ROUNDING = 1e-13  # residuals below this share of the outcome's range are none
_LARGEST = 5e8  # numbers in the regressors' table: 4 GB


def check_aggregate(aggregate: str, estimator: str) -> None:
    """Raise DesignError for an unknown way of averaging effects."""
    if aggregate not in get_args(Aggregate):
        raise DesignError(
            f"aggregate '{aggregate}' is unknown", where=estimator, remedy=nearest(aggregate, get_args(Aggregate))
        )


@dataclass(frozen=True)
class Cells:
    """The cells of cohort and period that have an effect of their own, sorted by cohort, then period.

    cohort, period (k,) as positions on the time axis and mass (k,), the weight of the rows in each; code (n,) gives each row's
    cell, -1 where it has none; base (C,) is the event time of reference of each of `cohorts` (C,), where leads are estimated.
    """

    cohort: Ints
    period: Ints
    mass: Floats
    code: Ints
    cohorts: Ints
    base: Ints | None
    periods: Periods

    @property
    def event_time(self) -> Ints:
        """Steps since adoption (k,)."""
        return self.period - self.cohort

    def terms(self) -> list[Term]:
        """Name each cell: "ATT(g=2014,t=2016)"."""
        dates = [(self.periods.label(g), self.periods.label(t)) for g, t in zip(self.cohort, self.period, strict=True)]
        return [
            Term(f"ATT(g={g},t={t})", event_time=int(e), cohort=g, period=t)
            for (g, t), e in zip(dates, self.event_time, strict=True)
        ]


def find_cells(sample: Sample, *, leads: bool) -> tuple[Cells, tuple[Message, ...]]:
    """Find the cells of the cohorts treated in the sample, and say where a cohort's base is not the period before adoption.

    Cells are those from anticipation on; with `leads` all but each cohort's base, its last period observed before anticipation.
    """
    ahead, last = sample.design.anticipation, int(sample.period.max())
    adoption = sample.unit_adoption
    cohorts = np.unique(adoption[adoption <= last + ahead]).astype(np.int64)
    place = np.append(cohorts, 0)  # the last line of the table takes the units of comparison
    of_unit = np.where(adoption <= last + ahead, np.searchsorted(cohorts, adoption), len(cohorts))
    at = of_unit[sample.unit] * (last + 1) + sample.period
    shape = (len(place), last + 1)
    mass = np.bincount(at, weights=sample.weights, minlength=shape[0] * shape[1]).astype(np.float64).reshape(shape)
    event_time = np.arange(last + 1) - place[:, None]
    before = (mass > 0) & (event_time < -ahead)
    has_effect = (mass > 0) & (event_time >= -ahead)
    base = None
    notes: tuple[Message, ...] = ()
    if leads:
        base = np.where(before, event_time, -last - 1).max(axis=1)[:-1]
        has_effect |= before
        has_effect[np.arange(len(cohorts)), base + cohorts] = False
        for cohort, e in zip(cohorts, base, strict=True):
            if e != -1 - ahead:
                label = sample.panel.periods.label(cohort)
                notes = (*notes, message("note.cohort_base", cohort=label, base=int(e), wanted=-1 - ahead))
    has_effect[-1] = False
    code = np.where(has_effect, np.cumsum(has_effect).reshape(shape) - 1, -1).ravel()[at]
    of, period = np.nonzero(has_effect)
    return Cells(place[of], period, mass[of, period], code, cohorts, base, sample.panel.periods), notes


def dense_codes(codes: Ints) -> Ints:
    """Number codes (n,), 0 or more, anew from 0 on in the same order, without gaps."""
    dense: Ints = (np.cumsum(np.bincount(codes) > 0) - 1)[codes]
    return dense


def regress_codes(
    sample: Sample, code: Ints, terms: Sequence[Term], notes: tuple[Message, ...], *, once: str = "note.singletons"
) -> Fit:
    """Regress on one indicator for each term, 1 where `code` (n,) is its number; -1 marks rows without any.

    Without covariates and further effects the regressors are the same for units of the same pattern of periods and codes, so
    that one of each is enough to find the coefficients. `once` is the note of units observed once.
    """
    if len(code) * len(terms) > _LARGEST:
        raise DesignError(
            f"{len(terms)} indicators of {len(code)} rows take more than 4 GB",
            where=f"outcome '{sample.design.outcome}'",
            remedy="collapse the panel first, or use coarser periods or cohorts",
        )
    simple = not sample.covariates and not sample.absorb
    key = sample.period * (len(terms) + 1) + code + 1
    patterns = find_patterns(key=key, starts=sample.starts, weights=sample.weights) if simple else None
    if patterns is not None:
        found = _solve_patterns(sample, code, terms, notes, patterns, once)
        if found is not None:
            return found
    return regress(sample, [(term, (code == j).astype(np.float64)) for j, term in enumerate(terms)], notes, once=once)


def _solve_patterns(
    sample: Sample, code: Ints, terms: Sequence[Term], notes: tuple[Message, ...], patterns: Patterns, once: str
) -> Fit | None:
    """Solve on one unit of each pattern, then give every row its regressors and residual; None where a column is collinear."""
    swept = regress(sample, [], notes, once=once)  # the outcome alone: its residuals on the fixed effects
    regression = swept.parts[0].regression
    assert regression is not None
    period = dense_codes(sample.period[patterns.rows])
    absorber = make_absorber(unit=patterns.unit, starts=patterns.starts, factors=(period,), weights=patterns.mass)
    indicators = [(code[patterns.rows] == j).astype(np.float64) for j in range(len(terms))]
    X = absorber.sweep(indicators)
    y = regression.residuals if sample.weights is None else regression.residuals * sample.weights
    mean = np.bincount(patterns.cell, weights=y, minlength=len(patterns.rows)) / patterns.mass
    total = patterns.mass.sum()
    share = np.array([patterns.mass @ column / total for column in indicators])
    solution = least_squares(X=X, y=mean, weights=patterns.mass, reference=np.sqrt(total * share * (1.0 - share)))
    if len(solution.kept) < len(terms):
        return None
    regressors = np.empty((len(code), len(terms)), order="F")
    for j in range(len(terms)):
        np.take(X[:, j], patterns.cell, out=regressors[:, j], mode="clip")
    residuals = regression.residuals - (X @ solution.coefficients)[patterns.cell]
    notes = swept.notes
    if np.abs(residuals).max() <= _ROUNDING * np.abs(sample.outcome).max() and residuals.any():
        residuals = np.zeros_like(residuals)
        notes = (*notes, message("note.no_residual", outcome=sample.design.outcome))
    solved = replace(
        regression,
        coefficients=solution.coefficients,
        regressors=regressors,
        residuals=residuals,
        bread=solution.bread,
    )
    part = Part(sample, np.arange(len(terms)), solved, solved)
    return Fit(tuple(terms), solution.coefficients, (part,), notes)


def average(fit: Fit, cells: Cells, aggregate: Aggregate, sample: Sample) -> Fit:
    """Turn a fit whose first terms are the cells into averages over cells, weighted by the rows in them, taken as fixed."""
    kept = np.flatnonzero(cells.event_time >= 0)
    if aggregate == "cohort_time":
        groups = [(term, np.array([j])) for j, term in enumerate(cells.terms())]
    elif aggregate == "cohort":
        labels = [(g, cells.periods.label(g)) for g in np.unique(cells.cohort[kept])]
        groups = [(Term(f"ATT(g={name})", cohort=name), kept[cells.cohort[kept] == g]) for g, name in labels]
    elif aggregate == "simple":
        groups = [(Term("ATT"), kept)]
    else:
        times = np.unique(cells.event_time)
        groups = [(_at(e), np.flatnonzero(cells.event_time == e)) for e in times]
    mapping = np.zeros((len(groups), len(cells.mass)))
    for i, (_, members) in enumerate(groups):
        mapping[i, members] = cells.mass[members] / cells.mass[members].sum()
    shown = [term for term, _ in groups]
    found = _map(fit, shown, mapping, cells, sample)
    if aggregate != "dynamic" or cells.base is None:
        return found
    bases = np.setdiff1d(cells.base, cells.event_time)
    return insert_bases(found, [int(e) for e in bases])


def _at(event_time: int) -> Term:
    return Term(f"ATT(e={event_time})", event_time=int(event_time))


def _map(fit: Fit, shown: list[Term], mapping: Floats, cells: Cells, sample: Sample) -> Fit:
    """Replace the first coefficients of a fit by linear combinations of them (m, k), and keep the covariates behind them."""
    (part,) = fit.parts
    n_cells = mapping.shape[1]
    n_covariates = len(fit.terms) - n_cells
    whole = np.zeros((len(mapping) + n_covariates, len(fit.terms)))
    whole[: len(mapping), :n_cells] = mapping
    whole[len(mapping) :, n_cells:] = np.eye(n_covariates)
    positions = np.arange(len(whole))
    influence = MappedInfluence(part.influence, whole)
    averaged = None if n_covariates else cells.code
    response = None if part.response is None else _MappedResponse(part.response, whole)
    mapped = Part(sample, positions, influence, part.regression, whole, response, averaged)
    return Fit((*shown, *fit.terms[n_cells:]), whole @ fit.coefficients, (mapped,), fit.notes)


@dataclass(frozen=True, eq=False)
class _MappedResponse:
    """Response of linear combinations of k coefficients, by a mapping (m, k)."""

    of: Response
    mapping: Floats

    __eq__ = same_content
    __repr__ = in_short

    by_mass = not_by_mass

    @property
    def of_design(self) -> bool:
        """Say whether those of the coefficients follow from the design alone."""
        return self.of.of_design

    def loadings(self, cells: ShockCells) -> Floats:
        """Combine loadings, (G·T, m)."""
        combined: Floats = self.of.loadings(cells) @ self.mapping.T
        return combined

    def shock_map(self, weights: Floats, cells: ShockCells) -> ShockMap | None:
        """Ask for the combination of the k coefficients."""
        return self.of.shock_map(weights @ self.mapping, cells)


def insert_bases(fit: Fit, event_times: Sequence[int]) -> Fit:
    """Add reference terms, with effect 0 and no standard error, where they stand in the order of event times."""
    (part,) = fit.parts
    terms, coefficients, positions = list(fit.terms), fit.coefficients, part.positions
    for e in event_times:
        at = sum(term.event_time is not None and term.event_time < e for term in terms)
        terms.insert(at, Term(f"ATT(e={e})", "base", event_time=e))
        coefficients = np.insert(coefficients, at, 0.0)
        positions = positions + (positions >= at)
    return Fit(tuple(terms), coefficients, (replace(part, positions=positions),), fit.notes)


def keep_comparable(sample: Sample, *, never_only: bool) -> tuple[Sample, tuple[Message, ...]]:
    """Leave out the rows that can be compared with none, through the ledger, and say which cohorts these concern.

    They are those of cohorts treated (or anticipating) in every period observed, and of periods without a row of comparison: one
    of a unit not yet treated, or, with `never_only`, of a unit never treated; where all are treated in the end, of the last
    cohort.
    """
    periods, ahead = sample.panel.periods, sample.design.anticipation
    notes: tuple[Message, ...] = ()
    latest = float(sample.unit_adoption.max())
    if latest <= sample.period.max() + ahead:
        values = {"cohort": periods.label(latest), "period": periods.label(latest - ahead)}
        notes = (message("note.last_cohort", **values),)
    while True:
        cohorts, always = _always_treated(sample)
        alone = _not_compared(sample, never_only)
        if len(cohorts):
            named = ", ".join(periods.label(cohort) for cohort in cohorts)
            notes = (*notes, message("note.no_period_before", cohorts=named))
            sample = leave_out(sample, always, message("ledger.no_period_before"))
        elif alone.any():
            sample = leave_out(sample, alone, message("ledger.no_comparison"))
        else:
            return sample, notes


def _always_treated(sample: Sample) -> tuple[Floats, Flags]:
    """Name the cohorts (c,) without a row before adoption and anticipation, and flag their rows (n,)."""
    adoption = sample.unit_adoption
    cohorts, code = np.unique(adoption, return_inverse=True)
    first = np.full(len(cohorts), np.inf)
    np.minimum.at(first, code, sample.period[sample.starts].astype(np.float64))
    always = first >= cohorts - sample.design.anticipation
    return cohorts[always], always[code][sample.unit]


def _not_compared(sample: Sample, never_only: bool) -> Flags:
    """Flag the rows (n,) of periods in which no unit of comparison is observed."""
    start = sample.adoption - sample.design.anticipation
    compared = sample.period < start
    if never_only:
        never = start > sample.period.max()
        compared &= never if never.any() else sample.adoption == sample.unit_adoption.max()
    alone: Flags = (np.bincount(sample.period[compared], minlength=int(sample.period.max()) + 1) == 0)[sample.period]
    return alone
