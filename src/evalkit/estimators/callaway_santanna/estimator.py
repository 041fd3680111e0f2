"""Callaway and Sant'Anna: effects by cohort and period against units not yet or never treated, and their averages."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

import numpy as np

from evalkit.catalogue import Message, message
from evalkit.designs.design import Design
from evalkit.designs.sample import Sample, draw_sample
from evalkit.errors import DesignError, nearest
from evalkit.estimators._regression import OF_INFLUENCE, OF_OUTCOME, WithoutRounding, floor_of_outcome, refuse_unused
from evalkit.estimators.callaway_santanna.group_time import (
    Arrangement,
    Estimated,
    GroupTime,
    Timeline,
    arrange,
    draw_timeline,
    leave_out_incomplete,
    leave_out_without_base,
    note_pairs,
    plan_cells,
    refuse_absorbed,
)
from evalkit.estimators.callaway_santanna.response import CellResponse, Mix
from evalkit.numerics.arrays import Flags, Floats, Ints
from evalkit.numerics.doubly_robust import Method, Reason
from evalkit.panels.panel import Panel
from evalkit.results.estimation import no_columns
from evalkit.results.fit import Fit, Part, Term, UnitInfluence
from evalkit.tables.contents import in_short, same_content

_Aggregate = Literal["simple", "dynamic", "group", "calendar", "group_time"]
Base = Literal["varying", "universal"]
Units = Literal["pairs", "complete"]


@dataclass(frozen=True, kw_only=True)
class CallawaySantAnna:
    """Compare each cohort with units not yet (or never) treated, period by period, and average the effects.

    aggregate  "simple": "ATT", every effect from adoption on weighing as much as its cohort; "dynamic": "ATT(e=2)", with "ATT"
               their mean from e=0 on; "group": "ATT(g=2014)", means over a cohort's periods, with "ATT" weighing cohorts by
               size; "calendar": "ATT(t=2016)", with "ATT" their mean; "group_time": "ATT(g=2014,t=2016)", not averaged.
    method     how covariates adjust: "dr" doubly robust, "reg" regression of the comparison, "ipw" standardised weighting.
               Without overlap of the covariates "dr" and "ipw" leave comparisons out (a propensity of .999 or more); "reg"
               continues the comparison's line, which a note says where its negative weights sum to more than one half.
    base       of effects before adoption: "varying", the period before; "universal", the base of the effects from adoption on,
               the last period in which the cohort is observed before adoption and any anticipation (listed, effect 0).
    balance    keep, for "dynamic", the cohorts with effects at every event time from 0 to this, and no later event time.
    min_e, max_e  the first and last event time of "dynamic".
    units      of a panel with gaps: "pairs", those observed in both periods enter a comparison (as in Stata csdid); "complete",
               only those observed in every period (as in R did), the others leave through the ledger. For rows as repeated
               cross-sections (allow_unbalanced_panel of R did) make the Panel with unit=None, and cluster by the unit.

    Covariates and weights are those of the earlier of the two periods. Of repeated cross-sections rows of either period enter.
    Never treated are also units that adopt after the last period (and its
    anticipation). What cannot be compared is named in the notes. Sources: Callaway and Sant'Anna, Journal of Econometrics 225
    (2021); Sant'Anna and Zhao, Journal of Econometrics 219 (2020). Numbers are those of the R package did.
    """

    aggregate: _Aggregate = "simple"
    method: Method = "dr"
    base: Base = "varying"
    balance: int | None = None
    min_e: int | None = None
    max_e: int | None = None
    units: Units = "pairs"

    columns = no_columns
    on_cells = True

    def __post_init__(self) -> None:
        for name, known in (("aggregate", _Aggregate), ("method", Method), ("base", Base), ("units", Units)):
            value = getattr(self, name)
            if value not in get_args(known):
                raise DesignError(
                    f"{name} is {value!r}", where="CallawaySantAnna", remedy=nearest(str(value), get_args(known))
                )
        for name in ("balance", "min_e", "max_e"):
            value = getattr(self, name)
            if value is None:
                continue
            if not isinstance(value, int) or isinstance(value, bool) or (name != "min_e" and value < 0):
                least = "" if name == "min_e" else " from 0 on"
                raise DesignError(
                    f"{name} is {value!r}", where="CallawaySantAnna", remedy=f"give a whole number{least}"
                )
            if self.aggregate != "dynamic":
                raise DesignError(
                    f"{name} limits event times, and aggregate is '{self.aggregate}'",
                    where="CallawaySantAnna",
                    remedy=f"use aggregate='dynamic', or leave {name} out",
                )
        if self.min_e is not None and self.max_e is not None and self.min_e > self.max_e:
            raise DesignError("min_e is after max_e", where="CallawaySantAnna", remedy="exchange them")

    def fit(self, panel: Panel, design: Design, keep: Flags | None = None) -> Fit:
        """Estimate on the panel's rows (those flagged in `keep`, if given)."""
        refuse_unused(design, "CallawaySantAnna", "dose", "eligible")
        sample, notes = leave_out_without_base(draw_sample(panel, design, keep))
        if self.units == "complete":
            sample = leave_out_incomplete(sample)
        refuse_absorbed(sample, "CallawaySantAnna")
        timeline = draw_timeline(sample)
        arrangement = arrange(sample, timeline)
        cells = _CellNotes(timeline, panel.periods.label, sample.covariate_names)
        averages = _Averages(arrangement, by_size=self.aggregate in ("simple", "dynamic", "calendar"))
        bases, more = self._estimate(averages, cells, never_treated=design.comparison == "never_treated")
        notes = (*sample.notes, *notes, *note_pairs(sample, timeline), *more, *cells.messages())
        largest = float(np.abs(sample.outcome).max())
        found = {key: _without_rounding(one, largest) for key, one in averages.finish().items()}
        if not found:
            raise DesignError(
                "no effect of any cohort is identified",
                where="; ".join(map(str, notes)) or "CallawaySantAnna",
                remedy="use fewer covariates, the other comparison, or units that are treated later or never",
            )
        if not any(one.influence.any() for one in found.values()):
            notes = (*notes, message("note.no_residual", outcome=design.outcome))
        named: list[tuple[Term, _Average | None]] = []
        overall = self._overall(averages, found)
        if overall is not None:
            named.append((Term("ATT"), overall))
        if self.aggregate != "simple":
            named += [(self._term(key, cells, key in found), found.get(key)) for key in sorted({*found, *bases})]
        effects = [(i, one) for i, (_, one) in enumerate(named) if one is not None]
        influence = _influence_of([one for _, one in effects], arrangement, sample)
        mixes = tuple(one.mixes for _, one in effects)
        response = CellResponse(arrangement, sample, self.method, tuple(averages.cells), mixes)
        part = Part(sample, np.array([i for i, _ in effects]), influence, response=response)
        values = np.array([0.0 if one is None else one.value for _, one in named])
        return Fit(tuple(term for term, _ in named), values, (part,), notes)

    def _estimate(
        self, averages: _Averages, notes: _CellNotes, *, never_treated: bool
    ) -> tuple[set[_Key], tuple[Message, ...]]:
        """Add the effects of every cohort to the averages; return the keys of bases, and what is to be said of cohorts."""
        timeline, universal = notes.timeline, self.base == "universal"
        plans = {
            cohort: plan_cells(timeline, cohort, never_treated=never_treated, universal=universal)
            for cohort in timeline.treated()
        }
        window = self._window(timeline, [cell for after, _ in plans.values() for cell in after])
        self._require_times(timeline, plans, window)
        bases: set[_Key] = set()
        without, unbalanced, moved = [], [], []
        for cohort, (after, before) in plans.items():
            asked = [cell for cell in after if timeline.event_time(cohort, cell.period) in window]
            done = notes.estimate(averages.arrangement, asked, self.method)
            times = {timeline.event_time(cohort, one.cell.period) for one in done}
            if not after or (asked and not done):
                without.append(cohort)
            elif self.balance is not None and not times.issuperset(range(self.balance + 1)):
                unbalanced.append(cohort)
            elif done:
                base = timeline.base(cohort)
                assert base is not None  # leave_out_without_base
                at_base = timeline.event_time(cohort, base)
                if at_base != -1 - timeline.anticipation:
                    moved.append(message("note.cohort_base", cohort=notes.cohort(cohort), base=at_base,
                                         wanted=-1 - timeline.anticipation))  # fmt: skip
                if self.aggregate in ("dynamic", "group_time"):
                    asked = [cell for cell in before if timeline.event_time(cohort, cell.period) in window]
                    done += notes.estimate(averages.arrangement, asked, self.method)
                    if universal and at_base in window:
                        bases.add(self._key(timeline, cohort, base))
                for one in done:
                    key = self._key(timeline, cohort, one.cell.period)
                    averages.add(key, one)
                    notes.read.setdefault(key, []).append(one)
        said = []
        if without:
            said.append(message("note.cohort_unidentified", cohorts=", ".join(map(notes.cohort, without))))
        if unbalanced:
            cohorts = ", ".join(map(notes.cohort, unbalanced))
            said.append(message("note.cohort_unbalanced", cohorts=cohorts, balance=self.balance))
        return bases, (*said, *moved)

    def _window(self, timeline: Timeline, after: list[GroupTime]) -> range:
        """Event times that are asked for."""
        widest = int(timeline.periods[-1] - timeline.periods[0]) + 1
        first = -widest if self.min_e is None else self.min_e
        last = widest if self.max_e is None else self.max_e
        if self.balance is not None:
            # As far back as the last of the cohorts kept can be seen.
            compared = [int(timeline.periods[cell.period]) for cell in after if cell.comparison]
            start = int(timeline.periods[0 if self.base == "universal" else 1])
            first = max(first, self.balance - (max(compared, default=start) - start))
            last = min(last, self.balance)
        return range(first, last + 1)

    def _require_times(
        self, timeline: Timeline, plans: dict[int, tuple[list[GroupTime], list[GroupTime]]], window: range
    ) -> None:
        """Refuse a window of event times that no cohort has."""
        asked = {name: getattr(self, name) for name in ("min_e", "max_e", "balance") if getattr(self, name) is not None}
        cells = [cell for both in plans.values() for part in both for cell in part]
        times = [timeline.event_time(cell.cohort, cell.period) for cell in cells]
        if not asked or not times:
            return
        first, last = min(times), max(times)
        if self.balance is not None and self.balance > last:
            what, remedy = f"balance is {self.balance}", f"give a balance of at most {last}"
        elif not set(times).intersection(window):
            what = ", ".join(f"{name} is {value}" for name, value in asked.items())
            remedy = f"give event times from {first} to {last}"
        else:
            return
        raise DesignError(
            f"{what}, and cohorts are observed from event time {first} to {last}",
            where="CallawaySantAnna",
            remedy=remedy,
        )

    def _key(self, timeline: Timeline, cohort: int, period: int) -> _Key:
        """Name the average in which a cell stands, by what its term tells: event time, cohort, period, or cohort and period."""
        match self.aggregate:
            case "simple":
                return ()
            case "dynamic":
                return (timeline.event_time(cohort, period),)
            case "group":
                return (cohort,)
            case "calendar":
                return (period,)
            case _:
                return (cohort, period)

    def _overall(self, averages: _Averages, found: dict[_Key, _Average]) -> _Average | None:
        """Average what was averaged; None where there is no one number."""
        if self.aggregate == "simple":
            return found[()]
        if self.aggregate == "group":
            return averages.across_cohorts({cohort: one for (cohort,), one in found.items()})
        chosen = [found[key] for key in sorted(found) if self.aggregate != "dynamic" or key[0] >= 0]
        return _mean_of(chosen) if chosen and self.aggregate != "group_time" else None

    def _term(self, key: _Key, names: _CellNotes, is_effect: bool) -> Term:
        role: Literal["effect", "base"] = "effect" if is_effect else "base"
        match self.aggregate:
            case "dynamic":
                return Term(f"ATT(e={key[0]})", role, event_time=key[0])
            case "group":
                return Term(f"ATT(g={names.cohort(key[0])})", role, cohort=names.cohort(key[0]))
            case "calendar":
                return Term(f"ATT(t={names.period(key[0])})", role, period=names.period(key[0]))
            case _:
                cohort, period = names.cohort(key[0]), names.period(key[1])
                event_time = names.timeline.event_time(*key)
                return Term(f"ATT(g={cohort},t={period})", role, event_time, cohort, period)


# What an average is of: an event time, a cohort, a period, a cohort and a period, or all.
_Key = tuple[int, ...]


@dataclass(frozen=True)
class _Average:
    """An average effect and the influence (n,) of the units (or rows), in the arrangement's order.

    It is the plain mean of the `mixes` of cells.
    """

    value: float
    influence: Floats
    mixes: tuple[Mix, ...]


class _Averages:
    """Sums of effects under construction: cells are added one by one, so that only sums are held.

    With `by_size` a cell weighs as much as its cohort; the size of a cohort is estimated, and its influence is added.
    Source: Callaway and Sant'Anna, Journal of Econometrics 225 (2021), section 3.1 and corollary 2.
    """

    def __init__(self, arrangement: Arrangement, *, by_size: bool) -> None:
        self.arrangement = arrangement
        self.sizes = np.bincount(arrangement.cohort, weights=arrangement.shares)
        self.by_size = by_size
        self.cells: list[GroupTime] = []
        self._influence: dict[_Key, Floats] = {}
        self._effects: dict[_Key, list[tuple[int, int, float]]] = {}

    def add(self, key: _Key, estimated: Estimated) -> None:
        """Add a cell to the average named `key`."""
        if key not in self._influence:
            self._influence[key] = np.zeros(len(self.arrangement.order))
            self._effects[key] = []
        cohort = estimated.cell.cohort
        weight = self.sizes[cohort] if self.by_size else 1.0
        self._influence[key][estimated.at] += weight * estimated.effect.influence
        self._effects[key].append((len(self.cells), cohort, estimated.effect.value))
        self.cells.append(estimated.cell)

    def finish(self) -> dict[_Key, _Average]:
        """Divide by the weights; keys stand in the order in which they were first added."""
        return {key: self._finish(key) for key in self._influence}

    def _finish(self, key: _Key) -> _Average:
        cells = np.array([cell for cell, _, _ in self._effects[key]])
        cohorts = np.array([cohort for _, cohort, _ in self._effects[key]])
        effects = np.array([effect for _, _, effect in self._effects[key]])
        if not self.by_size:
            alike = Mix(cells, np.full(len(cells), 1.0 / len(cells)), by_size=False)
            return _Average(float(effects.mean()), self._influence[key] / len(effects), (alike,))
        return self._weighted(cohorts, effects, self._influence[key], [(cells, self.sizes[cohorts])])

    def across_cohorts(self, averages: dict[int, _Average]) -> _Average:
        """Average the averages of cohorts, each weighing as much as its cohort."""
        cohorts = np.array(list(averages))
        effects = np.array([one.value for one in averages.values()])
        summed = np.zeros(len(self.arrangement.order))
        mixed = []
        for cohort, one in averages.items():
            summed += self.sizes[cohort] * one.influence
            mixed += [(mix.cells, self.sizes[cohort] * mix.weights) for mix in one.mixes]
        return self._weighted(cohorts, effects, summed, mixed)

    def _weighted(self, cohorts: Ints, effects: Floats, summed: Floats, mixed: list[tuple[Ints, Floats]]) -> _Average:
        weights = self.sizes[cohorts]
        total = float(weights.sum())
        value = float(weights @ effects) / total
        # One more unit of a cohort moves the average towards the effects of that cohort.
        of_size = np.bincount(cohorts, weights=effects - value, minlength=len(self.sizes)) / total
        cells, masses = (np.concatenate(each) for each in zip(*mixed, strict=True))
        influence = summed / total + self.arrangement.shares * of_size[self.arrangement.cohort]
        return _Average(value, influence, (Mix(cells, masses / total, by_size=True),))


def _mean_of(averages: list[_Average]) -> _Average:
    """Average averages alike."""
    influence = np.zeros_like(averages[0].influence)
    for one in averages:
        influence += one.influence
    mixes = tuple(mix for one in averages for mix in one.mixes)
    return _Average(float(np.mean([one.value for one in averages])), influence / len(averages), mixes)


def _without_rounding(average: _Average, largest: float) -> _Average:
    """Set an influence to 0 that is rounding of outcomes as large as this: there is nothing to estimate an error from."""
    if np.sqrt(np.einsum("i,i->", average.influence, average.influence)) > OF_OUTCOME * largest:
        return average
    return replace(average, influence=np.zeros_like(average.influence))


@dataclass(frozen=True, eq=False)
class _RowInfluence:
    """Influence by row: values (k, n), and where in the sample each of the n rows stands."""

    values: Floats
    order: Ints

    __eq__ = same_content
    __repr__ = in_short

    def sum_within(self, groups: Ints, n_groups: int) -> Floats:
        """Sum the rows' influence within groups (n,), giving (n_groups, k)."""
        arranged = groups[self.order]
        return np.array([np.bincount(arranged, weights=row, minlength=n_groups) for row in self.values]).T


def _influence_of(averages: list[_Average], arrangement: Arrangement, sample: Sample) -> WithoutRounding:
    """Return the influence of units for panels, of rows for repeated cross-sections."""
    values = np.array([one.influence for one in averages])
    floor = np.maximum(OF_INFLUENCE * np.sqrt(np.einsum("ij,ij->i", values, values)), floor_of_outcome(sample))
    if sample.panel.unit is None:
        return WithoutRounding(_RowInfluence(values, arrangement.order), floor)
    place = np.empty(len(arrangement.order), dtype=np.int64)
    place[arrangement.order] = np.arange(len(place))
    return WithoutRounding(UnitInfluence(np.ascontiguousarray(values[:, place].T), sample), floor)


_LISTED = 12
# A regression extrapolates where the negative weights of its comparison sum to more than this. Two normal groups of one spread
# reach it where their means lie 2.3 standard deviations apart; see the docstring.
_EXTRAPOLATES = 0.5


@dataclass
class _CellNotes:
    """Notes under construction; `label` names a position on the time axis, `covariates` are the sample's."""

    timeline: Timeline
    label: Callable[[float], str]
    covariates: tuple[str, ...]
    failed: dict[Reason, list[GroupTime]] = field(default_factory=dict)
    read: dict[_Key, list[Estimated]] = field(default_factory=dict)
    trimmed: list[tuple[GroupTime, int]] = field(default_factory=list)
    extrapolated: list[tuple[GroupTime, float]] = field(default_factory=list)
    collinear: dict[str, list[GroupTime]] = field(default_factory=dict)

    def estimate(self, arrangement: Arrangement, cells: Iterable[GroupTime], method: Method) -> list[Estimated]:
        """Estimate cells; those that cannot be are kept for the notes."""
        done = []
        for cell in cells:
            found = arrangement.compare(cell, method)
            if isinstance(found, str):
                self.failed.setdefault(found, []).append(cell)
                continue
            done.append(found)
            if found.effect.trimmed:
                self.trimmed.append((cell, found.effect.trimmed))
            if found.effect.negative > _EXTRAPOLATES:
                self.extrapolated.append((cell, found.effect.negative))
            for j in found.collinear:
                self.collinear.setdefault(self.covariates[j], []).append(cell)
        return done

    def messages(self) -> tuple[Message, ...]:
        """Say it all, each kind once."""
        said = [
            message(f"note.cells_{reason}", number=len(cells), listed=self._list(cells))
            for reason, cells in sorted(self.failed.items())
        ]
        if self.trimmed:
            cells = [cell for cell, _ in self.trimmed]
            rows = sum(number for _, number in self.trimmed)
            said.append(message("note.cells_trimmed", rows=rows, number=len(cells), listed=self._list(cells)))
        if self.extrapolated:
            cells = [cell for cell, _ in self.extrapolated]
            largest = f"{max(negative for _, negative in self.extrapolated):.1f}"
            said.append(
                message("note.cells_extrapolated", number=len(cells), largest=largest, listed=self._list(cells))
            )
        # A lone unit matters where an effect is read from its comparisons alone.
        read = [ones for ones in self.read.values() if all(one.fewest <= 1 for one in ones)]
        single = [one.cell for ones in read for one in ones]
        if single:
            said.append(message("note.cells_single", number=len(single), listed=self._list(single)))
        for column, cells in self.collinear.items():
            said.append(message("note.cells_collinear", column=column, number=len(cells), listed=self._list(cells)))
        return tuple(said)

    def cohort(self, code: int) -> str:
        """Name a cohort by its date of adoption."""
        return self.label(float(self.timeline.cohorts[code]))

    def period(self, code: int) -> str:
        """Name a period."""
        return self.label(float(self.timeline.periods[code]))

    def _list(self, cells: list[GroupTime]) -> str:
        """Write cells as "2004: 2006, 2007; 2006: 2007", the first few of them."""
        by_cohort: dict[int, list[str]] = {}
        for cell in cells[:_LISTED]:
            by_cohort.setdefault(cell.cohort, []).append(self.period(cell.period))
        listed = [f"{self.cohort(cohort)}: {', '.join(periods)}" for cohort, periods in by_cohort.items()]
        return "; ".join(listed) + ("; …" if len(cells) > _LISTED else "")
