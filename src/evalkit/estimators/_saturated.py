"""What the saturated regressions share: cells of cohort and period, the regression on their indicators, and averages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Literal, get_args

import numpy as np
from scipy import sparse

from evalkit.catalogue import Message, message
from evalkit.designs.sample import Sample, leave_out
from evalkit.errors import DesignError, nearest
from evalkit.estimators._regression import (
    OF_INFLUENCE,
    WithoutRounding,
    _length,
    demeaner_notes,
    floor_of_outcome,
    regress,
    told_as_refusal,
)
from evalkit.numerics.absorb import Patterns, find_patterns, make_absorber
from evalkit.numerics.arrays import Flags, Floats, Ints
from evalkit.numerics.least_squares import least_squares
from evalkit.numerics.loadings import Alike, Masses, ShockCells, ShockMap, find_alike, own_shocks
from evalkit.numerics.saturated import AveragedCells, average_cells, dense_codes
from evalkit.results.fit import MOST_MAPPED, Fit, MappedInfluence, Parameters, Part, Response, Term, not_by_mass
from evalkit.tables.contents import in_short, same_content
from evalkit.tables.periods import Periods

Aggregate = Literal["dynamic", "simple", "cohort", "cohort_time"]
_ROUNDING = 1e-13  # residuals below this share of the outcome's range are none
_SOME = 100  # cells beyond which what they rest on is found from what rows put in, not from the regressors
_MANY = 500  # cells beyond which they are averaged without a table of rows by cells
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
    with told_as_refusal():
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


def regress_cells(sample: Sample, cells: Cells, aggregate: Aggregate, notes: tuple[Message, ...]) -> Fit:
    """Regress on one indicator for each cell, the covariates and effects, and average the cells.

    Very many cells are averaged without a table of rows by cells; the fit then has influence, as of estimators that are no one
    regression, which a note says.
    """
    if len(cells.mass) <= _MANY:
        fit = average(regress_codes(sample, cells.code, cells.terms(), notes), cells, aggregate)
        if len(cells.mass) <= _SOME or sample.covariates or sample.absorb:
            return fit
        response = _LateResponse(sample, cells, _averages(cells, aggregate)[1])
        return replace(fit, parts=tuple(replace(part, response=response) for part in fit.parts))
    return _insert_observed_bases(_average_many(sample, cells, aggregate, notes), cells, aggregate)


def average(fit: Fit, cells: Cells, aggregate: Aggregate) -> Fit:
    """Turn a fit whose first terms are the cells into averages over cells, weighted by the rows in them, taken as fixed."""
    shown, mapping = _averages(cells, aggregate)
    return _insert_observed_bases(_map(fit, shown, mapping, cells), cells, aggregate)


def _averages(cells: Cells, aggregate: Aggregate) -> tuple[list[Term], Floats]:
    """The terms that are shown, and the weights (m, k) of the cells in them."""
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
    return [term for term, _ in groups], mapping


def _insert_observed_bases(fit: Fit, cells: Cells, aggregate: Aggregate) -> Fit:
    if aggregate != "dynamic" or cells.base is None:
        return fit
    return insert_bases(fit, [int(e) for e in np.setdiff1d(cells.base, cells.event_time)])


def _at(event_time: int) -> Term:
    return Term(f"ATT(e={event_time})", event_time=int(event_time))


def _map(fit: Fit, shown: list[Term], mapping: Floats, cells: Cells) -> Fit:
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
    mapped = Part(part.sample, positions, influence, part.regression, whole, response, averaged)
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


def _average_many(sample: Sample, cells: Cells, aggregate: Aggregate, notes: tuple[Message, ...]) -> Fit:
    """Average very many cells by what each row puts into the averages."""
    shown, mapping = _averages(cells, aggregate)
    with told_as_refusal():
        found = _put_in(sample, cells, mapping)
    if len(found.untold):
        raise DesignError(
            f"the effect {shown[found.untold[0]].name} cannot be told from the fixed effects and the other effects",
            where=f"outcome '{sample.design.outcome}', {len(sample.rows)} rows",
            remedy="add units that are never treated, or absorb fewer effects",
        )
    names = sample.covariate_names
    lost = np.setdiff1d(np.arange(len(names)), found.kept)
    terms = (*shown, *(Term(names[j], "covariate") for j in found.kept))
    notes = (*sample.notes, *notes, *(message("note.collinear", column=names[j]) for j in lost))
    notes = (*notes, *demeaner_notes(found.absorber), message("note.many_cells", cells=len(cells.mass)))
    singletons = sample.count_units(sample.starts == sample.ends)
    if singletons and sample.panel.unit is not None:
        notes = (*notes, message("note.singletons", units=singletons))
    deviation = found.residuals if sample.weights is None else found.residuals * sample.weights
    if np.abs(found.residuals).max() <= _ROUNDING * np.abs(sample.outcome).max():
        deviation, notes = (
            np.zeros_like(deviation),
            (*notes, message("note.no_residual", outcome=sample.design.outcome)),
        )
    floor = OF_INFLUENCE * np.abs(found.table).max(axis=0) * np.sqrt(np.einsum("i,i->", deviation, deviation))
    floor[: len(shown)] = np.maximum(floor[: len(shown)], floor_of_outcome(sample))
    influence = WithoutRounding(TableInfluence(found.table, found.cell, deviation), floor)
    factors = (dense_codes(sample.period), *sample.absorb)
    apart = make_absorber(unit=sample.unit, starts=sample.starts, factors=factors, weights=sample.weights)
    n_effects = apart.rank - len(apart.starts) + sample.n_units
    parameters = Parameters(len(cells.mass) + len(found.kept), n_effects, (sample.unit, *factors))
    response = _TableResponse(found, sample, cells, mapping, cells.base is not None)
    part = Part(sample, np.arange(len(terms)), influence, response=response, parameters=parameters)
    return Fit(terms, found.estimates, (part,), notes)


def _put_in(sample: Sample, cells: Cells, mapping: Floats) -> AveragedCells:
    """Average cells by what each row puts in; the averages are rows of mapping (m, k)."""
    return average_cells(
        unit=sample.unit,
        starts=sample.starts,
        code=cells.code,
        mapping=mapping,
        period=sample.period,
        factors=sample.absorb,
        covariates=sample.covariates,
        reference=np.array([_length(column, sample.weights) for column in sample.covariates]),
        outcome=sample.outcome,
        weights=sample.weights,
    )


@dataclass(frozen=True, eq=False)
class TableInfluence:
    """Influence of each row: its deviation (n,) times a line of `table` (c, k), the one that `cell` (n,) names."""

    table: Floats
    cell: Ints
    deviation: Floats

    __eq__ = same_content
    __repr__ = in_short

    def sum_within(self, groups: Ints, n_groups: int) -> Floats:
        """Sum within groups (n,), giving (n_groups, k)."""
        place = (groups, self.cell)
        summed = sparse.csr_array((self.deviation, place), (n_groups, len(self.table))) @ self.table
        return np.asarray(summed, dtype=np.float64)


@dataclass(frozen=True, eq=False)
class _Met:
    """Rows of one cluster of each class that is alike, and what of levels and units shocks to them meet.

    cell, cluster, shock and weights (n',) of the rows; levels (L, K·T) and units (U, K·T) say how much of each a shock meets.
    """

    alike: Alike
    rows: Ints
    cell: Ints
    cluster: Ints
    shock: Ints
    weights: Floats
    levels: sparse.csr_array
    units: sparse.csr_array


@dataclass(frozen=True, eq=False)
class _TableResponse:
    """How averages of very many cells answer to shocks: rows put lines of a table into them; residuals are those of a regression.

    The influence of a cluster is what its rows put in, v, times their residuals: its own shocks enter by v, those of all through
    what effects explain of v. Clusters whose units have the same periods and cells, and weights, answer alike.
    """

    of: AveragedCells
    sample: Sample
    cells: Cells
    shares: Floats
    by_cohort: bool
    _known: list[tuple[ShockCells, _Met]] = field(init=False, default_factory=list, repr=False, compare=False)
    _by: list[tuple[ShockCells, Masses | None]] = field(init=False, default_factory=list, repr=False, compare=False)
    of_design = True

    __eq__ = same_content
    __repr__ = in_short

    def loadings(self, cells: ShockCells) -> Floats:
        """Sum what rows put in, (G·T, k)."""
        met = sparse.csr_array((self._weights, (cells.code, self.of.cell)), (cells.number, len(self.of.table)))
        return np.asarray(met @ self.of.table, dtype=np.float64)

    def shock_map(self, weights: Floats, cells: ShockCells) -> ShockMap | None:
        """Map shocks to the clusters' sums of influence on a combination; None beyond memory."""
        masses = self.by_mass(cells)
        if masses is not None:
            return _map_by_cohort(masses, weights)
        met, absorber, periods = self._met(cells), self.of.absorber, cells.n_periods
        n, n_levels = len(met.alike.first), len(absorber.level_mass)
        if float(n) * n * periods > MOST_MAPPED:
            return None
        v = (self.of.table @ weights)[met.cell] * met.weights
        own = np.bincount(met.shock, weights=v, minlength=n * periods).astype(np.float64)
        load = np.zeros(n_levels * n)
        for level in absorber.levels:
            load += np.bincount(level[met.cell] * n + met.cluster, weights=v, minlength=len(load))
        lengths = np.sqrt(np.bincount(met.cluster, weights=v**2 / met.weights, minlength=n))
        effects = absorber.system.solve(load.reshape(n_levels, n), lengths)
        reached = (met.levels.T @ effects - met.units.T @ (absorber.presence @ effects)).T
        # X·bread·X' of the covariates, of which the table holds T = X·bread
        of_slopes = self.of.table[met.cell, len(self.shares) :]
        pulls = sparse.csr_array((v, (met.cluster, np.arange(len(v)))), (n, len(v))) @ of_slopes
        of_shocks = sparse.csr_array((met.weights, (met.shock, np.arange(len(v)))), (n * periods, len(v))) @ of_slopes
        reached = reached + pulls @ np.linalg.inv(self.of.bread) @ of_shocks.T
        root = np.sqrt(met.alike.times)
        own_map = own_shocks(own.reshape(n, periods))
        return ShockMap(own_map, np.diag(root), np.asarray(reached * np.repeat(root, periods)), met.alike)

    def by_mass(self, cells: ShockCells) -> Masses | None:
        """Cohorts enter by masses and means alone where each is compared with the untreated, and all are always observed."""
        if not self._by or self._by[0][0] is not cells:
            self._by[:] = [(cells, self._find_masses(cells))]
        return self._by[0][1]

    def _find_masses(self, cells: ShockCells) -> Masses | None:
        sample = self.sample
        sizes = sample.ends - sample.starts + 1
        if not self.by_cohort or sample.covariates or sample.absorb or sample.panel.unit is None:
            return None
        weights = self._weights
        if np.ptp(sizes) or (weights != np.repeat(weights[sample.starts], sizes)).any():
            return None
        owner = cells.cluster[sample.starts]
        place = np.searchsorted(self.cells.cohorts, sample.unit_adoption)
        place[sample.unit_adoption > self.cells.cohorts.max()] = len(self.cells.cohorts)
        cohort, mass = np.zeros(cells.n_clusters, dtype=np.int64), np.zeros(cells.n_clusters)
        cohort[owner] = place
        np.add.at(mass, owner, weights[sample.starts])
        at = np.zeros(int(sample.period.max()) + 1, dtype=np.int64)
        at[sample.period] = cells.period
        return Masses(cohort, mass, partial(self._by_mass, at, cells.n_periods))

    def _by_mass(self, at: Ints, n_periods: int, weights: Floats, masses: Floats) -> Floats:
        """Loadings (V, C, T) on sums of outcomes by cohort and period, with the masses (V, C) of cohorts; see Masses."""
        cells, n = self.cells, len(masses)
        assert cells.base is not None  # those of by_cohort
        cohort = np.searchsorted(cells.cohorts, cells.cohort)
        relative = masses / self._masses
        mass = relative[:, cohort] * cells.mass
        share = np.zeros((n, len(cohort)))
        for weight, own in zip(weights, self.shares, strict=True):
            if weight:
                inside = np.flatnonzero(own)
                total = mass[:, inside].sum(axis=1, keepdims=True)
                share[:, inside] += weight * np.divide(
                    mass[:, inside], total, out=np.zeros((n, len(inside))), where=total > 0
                )
        found = np.zeros((n, len(cells.cohorts) + 1, n_periods))
        found[:, cohort, at[cells.period]] = share
        base = at[cells.cohorts + cells.base]
        of_cohorts = np.add.reduceat(share, np.flatnonzero(np.diff(cohort, prepend=-1)), axis=1)
        found[:, np.arange(len(base)), base] -= of_cohorts
        found[:, -1] = -found[:, :-1].sum(axis=1)
        return np.divide(found, masses[:, :, None], out=np.zeros_like(found), where=masses[:, :, None] > 0)

    @cached_property
    def _masses(self) -> Floats:
        """Mass (C + 1,) of the units of each cohort, those of comparison last."""
        sample = self.sample
        place = np.searchsorted(self.cells.cohorts, sample.unit_adoption)
        place[sample.unit_adoption > self.cells.cohorts.max()] = len(self.cells.cohorts)
        return np.bincount(place, weights=self._weights[sample.starts]).astype(np.float64)

    @property
    def _weights(self) -> Floats:
        return np.ones(len(self.of.cell)) if self.sample.weights is None else self.sample.weights

    def _met(self, cells: ShockCells) -> _Met:
        if not self._known or self._known[0][0] is not cells:
            absorber, alike = self.of.absorber, self._find_alike(cells)
            n = len(alike.first)
            number = np.full(cells.n_clusters, -1)
            number[alike.first] = np.arange(n)
            rows = np.flatnonzero(number[cells.cluster] >= 0)
            cell, cluster, weights = self.of.cell[rows], number[cells.cluster[rows]], self._weights[rows]
            shock = cluster * cells.n_periods + cells.period[rows]
            shape = (len(absorber.level_mass), n * cells.n_periods)
            levels = np.concatenate([level[cell] for level in absorber.levels])
            again = len(absorber.levels)
            of_levels = sparse.csr_array((np.tile(weights, again), (levels, np.tile(shock, again))), shape)
            unit = absorber.unit[cell]
            of_units = sparse.csr_array((weights / absorber.mass[unit], (unit, shock)), (len(absorber.mass), shape[1]))
            self._known[:] = [(cells, _Met(alike, rows, cell, cluster, shock, weights, of_levels, of_units))]
        return self._known[0][1]

    def _find_alike(self, cells: ShockCells) -> Alike:
        """Find clusters whose units have the same sequences of rows, by sums of random tags of these, with fixed seeds."""
        unit, n_units = self.sample.unit, len(self.sample.starts)
        tag = np.random.default_rng(0x63656C6C).standard_normal(len(self.of.table))[
            self.of.cell
        ]  # any fixed numbers serve
        tag = tag * self._weights
        sums = [self._weights, tag, np.bincount(unit, weights=tag, minlength=n_units)[unit] * self._weights]
        return find_alike(np.hstack([cells.sum(one).reshape(cells.n_clusters, -1) for one in sums]))


@dataclass(frozen=True, eq=False)
class _LateResponse:
    """How averages of many cells answer to shocks, found from what rows put in when it is first asked for."""

    sample: Sample
    cells: Cells
    shares: Floats
    of_design = True

    __eq__ = same_content
    __repr__ = in_short

    @cached_property
    def of(self) -> _TableResponse:
        """The answer."""
        found = _put_in(self.sample, self.cells, self.shares)
        return _TableResponse(found, self.sample, self.cells, self.shares, self.cells.base is not None)

    def loadings(self, cells: ShockCells) -> Floats:
        """Sum what rows put in, (G·T, k)."""
        return self.of.loadings(cells)

    def shock_map(self, weights: Floats, cells: ShockCells) -> ShockMap | None:
        """Map shocks to the clusters' sums of influence on a combination; None beyond memory."""
        return self.of.shock_map(weights, cells)

    def by_mass(self, cells: ShockCells) -> Masses | None:
        """Say how loadings follow from the masses of cohorts alone."""
        return self.of.by_mass(cells)


def _map_by_cohort(masses: Masses, weights: Floats) -> ShockMap:
    """Map shocks where each cohort has effects of its own: residuals are deviations from the means of the cohort, by period."""
    totals = masses.of_cohorts()
    loading = masses.loadings(weights, totals[None])[0]
    alike = find_alike(np.column_stack([masses.cohort, masses.mass]).astype(np.float64))
    cohort, mass, n = masses.cohort[alike.first], masses.mass[alike.first], len(alike.first)
    own = own_shocks(loading[cohort] * mass[:, None])
    root = sparse.csr_array((np.sqrt(alike.times), (cohort, np.arange(n))), (len(totals), n))
    pull = sparse.csr_array((np.sqrt(alike.times) * mass / totals[cohort], (np.arange(n), cohort)), (n, len(totals)))
    return ShockMap(own, pull.toarray(), sparse.csr_array(root @ own), alike)


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
