"""Callaway and Sant'Anna: effects by cohort and period against units not yet or never treated, and their averages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from evalkit.catalogue import Message, message
from evalkit.columns import Flags
from evalkit.design import Design
from evalkit.errors import DesignError, nearest
from evalkit.estimators._aggregate import Average, Averages, Key, influence_of, mean_of, without_rounding
from evalkit.estimators._arrangement import arrange
from evalkit.estimators._cell_notes import CellNotes
from evalkit.estimators._cohorts_compared import leave_out_without_base, note_pairs, refuse_absorbed
from evalkit.estimators._design import refuse_unused
from evalkit.estimators._drdid import Method
from evalkit.estimators._group_time import Cell, Timeline, draw_timeline, plan_cells
from evalkit.fit import Fit, Part, Term
from evalkit.panel import Panel
from evalkit.sample import draw_sample

Aggregate = Literal["simple", "dynamic", "group", "calendar", "group_time"]
Base = Literal["varying", "universal"]


@dataclass(frozen=True, kw_only=True)
class CallawaySantAnna:
    """Compare each cohort with units not yet (or never) treated, period by period, and average the effects.

    aggregate  "simple": "ATT", every effect from adoption on weighing as much as its cohort; "dynamic": "ATT(e=2)", with "ATT"
               their mean from e=0 on; "group": "ATT(g=2014)", means over a cohort's periods, with "ATT" weighing cohorts by
               size; "calendar": "ATT(t=2016)", with "ATT" their mean; "group_time": "ATT(g=2014,t=2016)", not averaged.
    method     how covariates adjust: "dr" doubly robust, "reg" regression of the comparison, "ipw" standardised weighting.
    base       of effects before adoption: "varying", the period before; "universal", the base of the effects from adoption on,
               the last period in which the cohort is observed before adoption and any anticipation (listed, effect 0).
    balance    keep, for "dynamic", the cohorts with effects at every event time from 0 to this, and no later event time.
    min_e, max_e  the first and last event time of "dynamic".

    Covariates and weights are those of the earlier of the two periods. Units with a row in both periods enter a comparison;
    of repeated cross-sections, rows of either. Never treated are also units that adopt after the last period (and its
    anticipation). What cannot be compared is named in the notes. Sources: Callaway and Sant'Anna, Journal of Econometrics 225
    (2021); Sant'Anna and Zhao, Journal of Econometrics 219 (2020). Numbers are those of the R package did.
    """

    aggregate: Aggregate = "simple"
    method: Method = "dr"
    base: Base = "varying"
    balance: int | None = None
    min_e: int | None = None
    max_e: int | None = None

    def __post_init__(self) -> None:
        for name, known in (("aggregate", Aggregate), ("method", Method), ("base", Base)):
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
        refuse_absorbed(sample, "CallawaySantAnna")
        timeline = draw_timeline(sample)
        arrangement = arrange(sample, timeline)
        cells = CellNotes(timeline, panel.periods.label, design.covariates)
        averages = Averages(arrangement, by_size=self.aggregate in ("simple", "dynamic", "calendar"))
        bases, more = self._estimate(averages, cells, never_treated=design.comparison == "never_treated")
        notes = (*sample.notes, *notes, *note_pairs(sample, timeline), *more, *cells.messages())
        largest = float(np.abs(sample.outcome).max())
        found = {key: without_rounding(one, largest) for key, one in averages.finish().items()}
        if not found:
            raise DesignError(
                "no effect of any cohort is identified",
                where="; ".join(map(str, notes)) or "CallawaySantAnna",
                remedy="use fewer covariates, the other comparison, or units that are treated later or never",
            )
        if not any(one.influence.any() for one in found.values()):
            notes = (*notes, message("note.no_residual", outcome=design.outcome))
        named: list[tuple[Term, Average | None]] = []
        overall = self._overall(averages, found)
        if overall is not None:
            named.append((Term("ATT"), overall))
        if self.aggregate != "simple":
            named += [(self._term(key, cells, key in found), found.get(key)) for key in sorted({*found, *bases})]
        effects = [(i, one) for i, (_, one) in enumerate(named) if one is not None]
        influence = influence_of([one for _, one in effects], arrangement, sample)
        part = Part(sample, np.array([i for i, _ in effects]), influence, by_cohort=True)
        values = np.array([0.0 if one is None else one.value for _, one in named])
        return Fit(tuple(term for term, _ in named), values, (part,), notes)

    def _estimate(
        self, averages: Averages, notes: CellNotes, *, never_treated: bool
    ) -> tuple[set[Key], tuple[Message, ...]]:
        """Add the effects of every cohort to the averages; return the keys of bases, and what is to be said of cohorts."""
        timeline, universal = notes.timeline, self.base == "universal"
        plans = {
            cohort: plan_cells(timeline, cohort, never_treated=never_treated, universal=universal)
            for cohort in timeline.treated()
        }
        window = self._window(timeline, [cell for after, _ in plans.values() for cell in after])
        bases: set[Key] = set()
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
                    averages.add(self._key(timeline, cohort, one.cell.period), one)
        said = []
        if without:
            said.append(message("note.cohort_unidentified", cohorts=", ".join(map(notes.cohort, without))))
        if unbalanced:
            cohorts = ", ".join(map(notes.cohort, unbalanced))
            said.append(message("note.cohort_unbalanced", cohorts=cohorts, balance=self.balance))
        return bases, (*said, *moved)

    def _window(self, timeline: Timeline, after: list[Cell]) -> range:
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

    def _key(self, timeline: Timeline, cohort: int, period: int) -> Key:
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

    def _overall(self, averages: Averages, found: dict[Key, Average]) -> Average | None:
        """Average what was averaged; None where there is no one number."""
        if self.aggregate == "simple":
            return found[()]
        if self.aggregate == "group":
            return averages.across_cohorts({cohort: one for (cohort,), one in found.items()})
        chosen = [found[key] for key in sorted(found) if self.aggregate != "dynamic" or key[0] >= 0]
        return mean_of(chosen) if chosen and self.aggregate != "group_time" else None

    def _term(self, key: Key, names: CellNotes, is_effect: bool) -> Term:
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
