"""What estimators share that fit untreated outcomes on untreated rows: the fit, the rows it cannot reach, influence by row."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from scipy import sparse
from scipy.linalg import qr

from evalkit.catalogue import Message, message
from evalkit.designs.sample import Sample, leave_out
from evalkit.errors import DesignError, nearest
from evalkit.estimators._regression import (
    OF_INFLUENCE,
    WithoutRounding,
    _dense_period,
    _length,
    demeaner_notes,
    floor_of_outcome,
    refuse_unused,
    told_as_refusal,
)
from evalkit.numerics.arrays import Flags, Floats, Ints
from evalkit.numerics.extrapolate import Extrapolation, Pull, Shocked, extrapolate, sum_cells, weigh_errors
from evalkit.numerics.loadings import ShockCells, ShockMap, join_maps, own_shocks
from evalkit.results.fit import Influence, Response, Term, not_by_mass
from evalkit.tables.contents import in_short, same_content

_Sums = tuple[sparse.csr_array, Floats]  # as Shocked.sum_errors gives them
# Residuals below this share of the outcome's size are rounding.
_ROUNDING = 1e-13
# So is a column that others leave less than this share of the largest.
_OF_PULL = 1e-13


@dataclass(frozen=True)
class Untreated:
    """Untreated outcomes of a sample, from which treated rows that cannot be imputed were left out.

    treated (n1,) are the rows whose errors in `fit` are effects; event_time (n,) is -inf where never treated.
    """

    sample: Sample
    fit: Extrapolation
    treated: Ints
    event_time: Floats
    notes: tuple[Message, ...]

    @property
    def size(self) -> Floats:
        """Weight (n,) of each row, counts included."""
        return np.ones(len(self.sample.rows)) if self.sample.weights is None else self.sample.weights


@dataclass(frozen=True, eq=False)
class Averages:
    """Averages of errors: each of `rows` (m,) enters the term of its code `term` (m,) with a `share` (m,); shares add up to 1."""

    terms: tuple[Term, ...]
    rows: Ints
    term: Ints
    share: Floats

    __eq__ = same_content
    __repr__ = in_short

    def take(self, values: Floats) -> Floats:
        """Average values (m,) of the rows within terms, giving (k,)."""
        averages = np.zeros(len(self.terms))
        averages += np.bincount(self.term, weights=self.share * values, minlength=len(averages))
        return averages


@dataclass(frozen=True, eq=False)
class Means:
    """What stands for the effect of each of m rows: the mean of its `group` (m,), rows weighing `weight` (m,).

    With `without` (m,), codes that lie in one group each, it is the mean of the group's rows of other codes.
    """

    group: Ints
    weight: Floats
    without: Ints | None = None

    __eq__ = same_content
    __repr__ = in_short

    def of(self, values: Floats) -> Floats:
        """Average values (m,), giving (m,)."""
        return self.totals(values) / self.mass

    def totals(self, values: Floats) -> Floats:
        """Weighted sum (m,) of values over the rows that enter each row's mean."""
        total = np.zeros(len(values))
        total += np.bincount(self.group, weights=self.weight * values)[self.group]
        if self.without is not None:
            total -= np.bincount(self.without, weights=self.weight * values)[self.without]
        return total

    @property
    def mass(self) -> Floats:
        """Weight (m,) of the rows that enter each row's mean."""
        return self.totals(np.ones(len(self.weight)))


@dataclass(frozen=True, eq=False)
class RowInfluence:
    """Influence by row on k averages of errors: what each row's own deviation adds, less what it puts into the fit.

    rows (m,), term (m,) and deviation (m,) as in Averages, the share multiplied in; base_pull (n0,) is weight times residual of
    the base rows of `fit`.
    """

    fit: Extrapolation
    rows: Ints
    term: Ints
    deviation: Floats
    pull: Pull
    base_pull: Floats

    __eq__ = same_content
    __repr__ = in_short

    def sum_within(self, groups: Ints, n_groups: int) -> Floats:
        """Sum within groups (n,), giving (n_groups, k)."""
        k = self.pull.unit.shape[1]
        total = sum_cells(groups[self.rows], self.term, self.deviation, (n_groups, k))
        owner, absorber = groups[self.fit.base], self.fit.absorber

        def summed(codes: Ints, n_codes: int) -> sparse.csr_array:
            return sparse.csr_array((self.base_pull, (owner, codes)), (n_groups, n_codes))

        total -= summed(absorber.unit, len(self.pull.unit)) @ self.pull.unit
        for level in absorber.levels:
            total -= summed(level, len(self.pull.level)) @ self.pull.level
        for column, slope in zip(self.fit.columns.T, self.pull.slope, strict=True):
            own = np.bincount(owner, weights=column[self.fit.base] * self.base_pull, minlength=n_groups)
            total -= own[:, None] * slope
        return total

    def without_rounding(self, sample: Sample) -> WithoutRounding:
        """Judge sums against the deviations of the rows, and against the residuals times the largest that pulls at them."""
        k = self.pull.unit.shape[1]
        own = np.sqrt(np.bincount(self.term, weights=self.deviation**2, minlength=k))
        largest = sum(np.abs(pull).max(axis=0, initial=0.0) for pull in (self.pull.unit, self.pull.level))
        scale = own + largest * np.sqrt(np.einsum("i,i->", self.base_pull, self.base_pull))
        for column, slope in zip(self.fit.columns.T, self.pull.slope, strict=True):
            pulled = column[self.fit.base] * self.base_pull
            scale += np.abs(slope) * np.sqrt(np.einsum("i,i->", pulled, pulled))
        floor = OF_INFLUENCE * scale
        effects = k - len(self.fit.slopes)  # slopes are in units of their own
        floor[:effects] = np.maximum(floor[:effects], floor_of_outcome(sample))
        return WithoutRounding(self, floor)


@dataclass(frozen=True, eq=False)
class ImputedResponse:
    """The answer to shocks of averages of errors and of the slopes of covariates, whose influence this is.

    An average is Σ v·y over rows: v is the row's share less weight times pull, which sums to 0 in every unit, level and column.
    A cluster's influence is Σ v·e - Σ share·mean(e): own shocks enter by v, all others through the effects and slopes in the
    errors (`Shocked`), and through the means.
    """

    influence: RowInfluence
    averages: Averages
    means: Means
    size: Floats
    _known: list[tuple[ShockCells, Shocked, tuple[_Sums, ...]]] = field(
        init=False, default_factory=list, repr=False, compare=False
    )

    of_design = True
    by_mass = not_by_mass

    __eq__ = same_content
    __repr__ = in_short

    def loadings(self, cells: ShockCells) -> Floats:
        """Sum v by shock, giving (G·T, m)."""
        size = self.size[self.influence.fit.base]
        weights = replace(self.influence, deviation=self.averages.share, base_pull=size)
        return weights.sum_within(cells.code, cells.number)

    def shock_map(self, weights: Floats, cells: ShockCells) -> ShockMap:
        """Map shocks to sums of influence; means that enter clusters in fixed proportions make one functional."""
        fit, rows, means, n = self.influence.fit, self.averages.rows, self.means, cells.n_clusters
        errors, sums = self._answer(cells)
        mean, of_mean = sums[0]
        share = self.averages.share * weights[self.averages.term]
        size = self.size[fit.base] * self.influence.pull.on_rows(fit, weights)
        every, v = np.concatenate([rows, fit.base]), np.concatenate([share, -size])
        own = own_shocks(sum_cells(cells.cluster[every], cells.period[every], v, (n, cells.n_periods)))
        part = share / means.mass
        by_mean = sum_cells(cells.cluster[rows], means.group, part, (n, len(of_mean)))
        pull = errors.pull(cells.cluster[every], every, v, n) - by_mean @ of_mean
        if means.without is not None:  # what the mean of a group's other codes is less than that of the group
            less, of_less = sums[1]
            by_code = sparse.csr_array((part, (cells.cluster[rows], means.without)), (n, len(of_less)))
            own, pull = sparse.csr_array(own + by_code @ less), pull + by_code @ of_less
        basis, in_basis, order = qr(by_mean, mode="economic", pivoting=True)
        kept = np.abs(np.diag(in_basis)) > _OF_PULL * np.abs(in_basis[0, 0])
        functionals = np.vstack([errors.slopes, in_basis[: len(kept)][kept] @ mean[order]])
        return ShockMap(own, np.hstack([pull, basis[:, : len(kept)][:, kept]]), functionals)

    def _answer(self, cells: ShockCells) -> tuple[Shocked, tuple[_Sums, ...]]:
        """How errors answer to shocks, and their weighted sums by group of the means, and by what is left out of them, if any."""
        if not self._known or self._known[0][0] is not cells:
            of, rows, weight = self.influence.fit, self.averages.rows, self.means.weight
            errors = Shocked(of.absorber, of.base, of.unit, of.levels, of.columns, of.bread, cells.code, cells.number)
            groups = [self.means.group] if self.means.without is None else [self.means.group, self.means.without]
            sums = tuple(errors.sum_errors(group, rows, weight, int(group.max()) + 1) for group in groups)
            self._known[:] = [(cells, errors, sums)]
        return self._known[0][1:]


@dataclass(frozen=True, eq=False)
class JoinedResponse:
    """Responses side by side, each with the number of its coefficients."""

    members: tuple[tuple[int, Response], ...]

    of_design = True
    by_mass = not_by_mass

    __eq__ = same_content
    __repr__ = in_short

    def loadings(self, cells: ShockCells) -> Floats:
        """Place the members' loadings one after another, (G·T, m)."""
        return np.hstack([one.loadings(cells) for _, one in self.members])

    def shock_map(self, weights: Floats, cells: ShockCells) -> ShockMap | None:
        """Add the members' maps."""
        maps, at = [], 0
        for size, one in self.members:
            own, at = weights[at : at + size], at + size
            if own.any():
                found = one.shock_map(own, cells)
                if found is None:
                    return None
                maps.append(found)
        return join_maps(maps)


@dataclass(frozen=True, eq=False)
class Joined:
    """Influences side by side, each of some rows (positions) of one sample."""

    members: tuple[tuple[Ints, Influence], ...]

    __eq__ = same_content
    __repr__ = in_short

    def sum_within(self, groups: Ints, n_groups: int) -> Floats:
        """Sum within groups (n,), giving (n_groups, k) with the members' coefficients one after another."""
        return np.hstack([one.sum_within(groups[rows], n_groups) for rows, one in self.members])


def check_choice(value: str, known: tuple[str, ...], name: str, where: str) -> None:
    """Raise DesignError unless a setting is one of the known words."""
    if value not in known:
        raise DesignError(f"{name} '{value}' is unknown", where=where, remedy=nearest(str(value), known))


def check_leads(leads: int, aggregate: str, where: str) -> None:
    """Raise DesignError unless leads are a whole number, and asked for in an event study."""
    if not isinstance(leads, int) or isinstance(leads, bool) or leads < 0:
        raise DesignError(f"leads is {leads!r}", where=where, remedy="give a whole number from 0 on")
    if leads and aggregate != "dynamic":
        raise DesignError(
            f"leads are asked for, but aggregate is '{aggregate}'",
            where=where,
            remedy="leads stand in an event study: set aggregate='dynamic'",
        )


def fit_untreated(sample: Sample, name: str) -> Untreated:
    """Fit unit, period and further effects and the covariates on untreated rows; leave out treated rows they do not reach.

    Untreated are the rows before adoption and before any anticipation; all others count as treated. Every row left out is in
    the ledger, and a note names its cohort and period. Raises DesignError where no treated row is left.
    """
    refuse_unused(sample.design, name, "dose", "eligible")
    _refuse_never_treated(sample, name)
    factors = (_dense_period(sample), *sample.absorb)
    base = sample.period < sample.adoption - sample.design.anticipation
    if not base.any():
        raise DesignError(
            "no row is untreated",
            where=f"{name}, anticipation = {sample.design.anticipation}",
            remedy="add earlier periods, or units that are never treated",
        )
    rows = np.flatnonzero(base)
    own = None if sample.weights is None else sample.weights[rows]
    with told_as_refusal():
        fit = extrapolate(
            unit=sample.unit,
            factors=factors,
            columns=sample.covariates,
            outcome=sample.outcome,
            base=base,
            weights=sample.weights,
            reference=np.array([_length(column[rows], own) for column in sample.covariates]),
        )
    names = sample.covariate_names
    notes = tuple(message("note.collinear", column=names[j]) for j in range(len(names)) if j not in fit.kept)
    notes = (*notes, *demeaner_notes(fit.absorber))
    if not fit.known.all():
        sample, lost = _keep_known(sample, fit.known, base, name)
        notes, fit = (*notes, lost), fit.take(fit.known)
    scale = float(np.abs(sample.outcome - sample.outcome[0]).max())
    if np.abs(fit.errors[fit.base]).max() <= _ROUNDING * scale:
        errors = fit.errors.copy()
        errors[fit.base] = 0.0
        fit = replace(fit, errors=errors)
    is_base = np.zeros(len(sample.rows), dtype=bool)
    is_base[fit.base] = True
    return Untreated(sample, fit, np.flatnonzero(~is_base), sample.event_time, notes)


def average_effects(untreated: Untreated, aggregate: str) -> Averages:
    """Set up the averages over treated rows: of all, by event time, by cohort, or by cohort and period; rows weigh as given."""
    sample, rows = untreated.sample, untreated.treated
    label = sample.panel.periods.label
    if aggregate == "simple":
        return _shares(untreated, (Term("ATT"),), rows, np.zeros(len(rows), dtype=np.int64))
    if aggregate == "dynamic":
        times, code = ranks(untreated.event_time[rows])
        return _shares(untreated, tuple(Term(f"ATT(e={e:.0f})", event_time=int(e)) for e in times), rows, code)
    cohorts, code = ranks(sample.adoption[rows])
    if aggregate == "cohort":
        names = [label(g) for g in cohorts]
        return _shares(untreated, tuple(Term(f"ATT(g={g})", cohort=g) for g in names), rows, code)
    n_periods = int(sample.period.max()) + 1
    cells, code = ranks((code * n_periods + sample.period[rows]).astype(np.float64))
    terms = []
    for cell in cells.astype(np.int64):
        g, t = cohorts[cell // n_periods], cell % n_periods
        name = f"ATT(g={label(g)},t={label(t)})"
        terms.append(Term(name, event_time=int(t - g), cohort=label(g), period=label(t)))
    return _shares(untreated, tuple(terms), rows, code)


def add_averages(untreated: Untreated, one: Averages, terms: tuple[Term, ...], rows: Ints, code: Ints) -> Averages:
    """Put averages over other rows (m,), with their term codes (m,), before those of `one`."""
    other = _shares(untreated, terms, rows, code)
    return Averages(
        (*terms, *one.terms),
        np.concatenate([other.rows, one.rows]),
        np.concatenate([other.term, one.term + len(terms)]),
        np.concatenate([other.share, one.share]),
    )


def influence_of_imputed(untreated: Untreated, averages: Averages, deviation: Floats) -> RowInfluence:
    """Give the influence on the averages, then on the slopes of the covariates; deviation (m,) is what rows add, by their share.

    A slope's influence has the form of an average without rows of its own, which the fit enters by -bread.
    """
    fit = untreated.fit
    k, p = len(averages.terms), len(fit.slopes)
    with told_as_refusal():
        pull = weigh_errors(fit, averages.rows, averages.term, averages.share, k)
    wide = Pull(
        np.hstack([pull.unit, np.zeros((len(pull.unit), p))]),
        np.hstack([pull.level, np.zeros((len(pull.level), p))]),
        np.hstack([pull.slope, -fit.bread]),
    )
    scale = float(np.abs(untreated.sample.outcome - untreated.sample.outcome[0]).max())
    if np.abs(deviation).max() <= _ROUNDING * scale:
        deviation = np.zeros(len(deviation))
    base_pull = untreated.size[fit.base] * fit.errors[fit.base]
    return RowInfluence(fit, averages.rows, averages.term, averages.share * deviation, wide, base_pull)


def slope_terms(untreated: Untreated) -> tuple[Term, ...]:
    """List the covariates that were kept."""
    return tuple(Term(untreated.sample.covariate_names[j], "covariate") for j in untreated.fit.kept)


def closing_notes(untreated: Untreated, influence: RowInfluence) -> tuple[Message, ...]:
    """Say what was left out or dropped, and where nothing is left to estimate the uncertainty from."""
    notes = (*untreated.sample.notes, *untreated.notes)
    if not influence.deviation.any() and not influence.base_pull.any():
        notes = (*notes, message("note.no_residual", outcome=untreated.sample.design.outcome))
    return notes


def ranks(values: Floats) -> tuple[Floats, Ints]:
    """Distinct values, sorted, and their codes (n,)."""
    distinct, codes = np.unique(values, return_inverse=True)
    return distinct, codes.reshape(-1).astype(np.int64)


def alone_in(untreated: Untreated, rows: Ints, group: Ints) -> Flags:
    """Flag the rows (m,) whose group (m,) has rows of one unit of assignment only."""
    n_clusters = len(untreated.sample.clusters)
    pairs = np.unique(group * n_clusters + untreated.sample.cluster[rows])
    alone: Flags = np.bincount(pairs // n_clusters)[group] == 1
    return alone


def list_rows(sample: Sample, rows: Ints) -> str:
    """Name treated rows by cohort and period, with their number: 2004 [2004, 2005]: 40; …"""
    label = sample.panel.periods.label
    cohorts, code = ranks(sample.adoption[rows])
    listed = []
    for i, cohort in enumerate(cohorts[:8]):
        here = np.zeros(len(sample.rows), dtype=bool)
        here[rows[code == i]] = True
        periods = ", ".join(label(t) for t in np.unique(sample.period[here]))
        listed.append(f"{label(cohort)} [{periods}]: {sample.count_rows(here)}")
    return "; ".join(listed) + ("; …" if len(cohorts) > 8 else "")


def _shares(untreated: Untreated, terms: tuple[Term, ...], rows: Ints, code: Ints) -> Averages:
    size = untreated.size[rows]
    return Averages(terms, rows, code, size / np.bincount(code, weights=size, minlength=len(terms))[code])


def _refuse_never_treated(sample: Sample, name: str) -> None:
    adoption = sample.unit_adoption
    cohorts = np.unique(adoption[adoption <= sample.period[sample.ends].max()])
    if sample.design.comparison == "never_treated" and len(cohorts) > 1:
        raise DesignError(
            f"comparison is 'never_treated', but {name} also learns from units before their own adoption",
            where="comparison",
            remedy="use comparison='not_yet_treated', or CallawaySantAnna",
        )


def _keep_known(sample: Sample, known: Flags, base: Flags, name: str) -> tuple[Sample, Message]:
    """Leave out the treated rows that are not known, with a line in the ledger, and name them by cohort and period."""
    shown = list_rows(sample, np.flatnonzero(~known))
    if not (known & ~base).any():
        raise DesignError(
            f"none of the {sample.count_rows(~base)} treated rows can be imputed: {shown}",
            where=f"{name}, cohort [periods]: rows",
            remedy="add rows before adoption, units not yet treated in the treated periods, or absorb fewer effects; "
            "a covariate must vary among untreated rows",
        )
    kept = leave_out(sample, ~known, message("ledger.not_imputable"))
    return kept, message("note.not_imputable", rows=sample.count_rows(~known), listed=shown)
