"""Effects by cohort and period: which comparisons there are."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from evalkit.catalogue import Message, message
from evalkit.designs.sample import Sample, leave_out
from evalkit.errors import DesignError
from evalkit.numerics.arrays import Flags, Floats, Ints
from evalkit.numerics.doubly_robust import (
    Adjustment,
    Effect,
    Linear,
    Method,
    Reason,
    adjust_untreated,
    compare_changes,
    compare_levels,
    linear_changes,
    linear_levels,
    linear_mean,
)
from evalkit.tables.contents import in_short, same_content


@dataclass(frozen=True, eq=False)
class Timeline:
    """Cohorts (C,) by first treated period, the last one inf where units stay untreated, and the periods (T,) observed.

    `seen` (C, T) says whether a cohort has rows in a period. Units that adopt too late to respond in the sample count as
    untreated.
    """

    cohorts: Floats
    periods: Ints
    seen: Flags
    anticipation: int

    __eq__ = same_content
    __repr__ = in_short

    def base(self, cohort: int) -> int | None:
        """Code of the last period in which a cohort is seen before it adopts or may respond; None where there is none."""
        before = np.flatnonzero(self.seen[cohort] & (self.periods < self.cohorts[cohort] - self.anticipation))
        return int(before[-1]) if len(before) else None

    def treated(self) -> list[int]:
        """Codes of the cohorts that adopt within the periods."""
        return np.flatnonzero(self.cohorts <= self.periods[-1]).tolist()

    def event_time(self, cohort: int, period: int) -> int:
        """Steps since a cohort adopted."""
        return int(self.periods[period] - self.cohorts[cohort])


@dataclass(frozen=True)
class GroupTime:
    """One comparison: a cohort in a period and its base, against the cohorts of comparison; all are codes of the timeline."""

    cohort: int
    period: int
    base: int
    comparison: tuple[int, ...]

    @property
    def earlier(self) -> int:
        """The earlier of the two periods; covariates and weights are those of it."""
        return min(self.period, self.base)


def draw_timeline(sample: Sample) -> Timeline:
    """Find cohorts and periods of a sample."""
    periods = np.flatnonzero(np.bincount(sample.period))
    cohorts = np.unique(settled_adoption(sample))
    seen = np.zeros((len(cohorts), len(periods)), dtype=bool)
    seen[cohort_of_units(sample, cohorts)[sample.unit], codes_of(periods)[sample.period]] = True
    return Timeline(cohorts, periods, seen, sample.design.anticipation)


def plan_cells(
    timeline: Timeline, cohort: int, *, never_treated: bool, universal: bool
) -> tuple[list[GroupTime], list[GroupTime]]:
    """List a cohort's cells from adoption on, and those before it.

    Before adoption the base is the period before, or the one base of the cohort where it is universal. Not yet treated are the
    cohorts that adopt after both periods and their anticipation, save the cohort itself.
    """
    base = timeline.base(cohort)
    assert base is not None
    adopts = timeline.cohorts[cohort]
    seen = np.flatnonzero(timeline.seen[cohort]).tolist()
    pairs = [(t, base) for t in seen if timeline.periods[t] >= adopts]
    before = [t for t in seen if timeline.periods[t] < adopts]
    earlier = [(t, base) for t in before if t != base] if universal else list(zip(before[1:], before, strict=False))

    def make(period: int, base: int) -> GroupTime:
        until = timeline.periods[max(period, base)] + timeline.anticipation
        least = np.inf if never_treated else until + 1
        later = np.flatnonzero(timeline.cohorts >= least)
        return GroupTime(cohort, period, base, tuple(c for c in later.tolist() if c != cohort))

    return [make(*pair) for pair in pairs], [make(*pair) for pair in earlier]


def settled_adoption(sample: Sample) -> Floats:
    """Return adoption (U,), inf where it is too late for any response within the sample's periods."""
    last = int(sample.period.max()) + sample.design.anticipation
    return np.where(sample.unit_adoption > last, np.inf, sample.unit_adoption)


def cohort_of_units(sample: Sample, cohorts: Floats) -> Ints:
    """Return the code (U,) of each unit's cohort."""
    return np.searchsorted(cohorts, settled_adoption(sample))


def codes_of(periods: Ints) -> Ints:
    """Map positions on the time axis to codes of the periods observed."""
    codes = np.zeros(int(periods[-1]) + 1, dtype=np.int64)
    codes[periods] = np.arange(len(periods))
    return codes


@dataclass(frozen=True)
class Estimated:
    """The effect of a cell: the observations that it rests on (positions in the arrangement), and their influence, both (n,).

    `fewest` counts the units (or rows) of the smaller side; `collinear` lists the covariates that add nothing in the cell.
    """

    cell: GroupTime
    effect: Effect
    at: Ints
    fewest: float
    collinear: tuple[int, ...]


@dataclass(frozen=True)
class Strand:
    """Observations that enter cells in one way, which cells share: by their mean, or with a `comparison` adjusted for covariates.

    They are those of `cohorts` and of the comparison that are observed in all of `observed`, with weights and covariates of the
    period `weighed`; all are codes of the timeline, and `weighed` is None where weights never change. Of repeated cross-sections
    they are rows of the periods `observed`, of which only those of `weighed` bring in their outcomes.
    """

    cohorts: tuple[int, ...]
    comparison: tuple[int, ...] = ()
    observed: tuple[int, ...] = ()
    weighed: int | None = None


# The periods whose outcomes make up an observation, each with its sign.
Steps = tuple[tuple[int, float], ...]


@dataclass(frozen=True, eq=False)
class Changes:
    """A panel: units (U,) by cohort, with outcome, weights and covariates each (T, U), NaN where a unit is not observed.

    `order` (U,) are their positions in the sample, `cohort` (U,) their codes, `shares` (U,) their weights in the size of a
    cohort; `counts` (U,) says how many units each stands for, where they were collapsed.
    """

    timeline: Timeline
    order: Ints
    cohort: Ints
    shares: Floats
    outcome: Floats
    covariates: tuple[Floats, ...]
    weights: Floats | None
    counts: Floats | None
    balanced: bool
    _kept: dict[object, tuple[Ints, int, Adjustment | Reason]] = field(default_factory=dict, repr=False, compare=False)

    __eq__ = same_content
    __repr__ = in_short

    def compare(self, cell: GroupTime, method: Method) -> Estimated | Reason:
        """Compare the changes of the units observed in both periods."""
        t, b = cell.period, cell.base
        at, n_treated, adjusted = self._adjustment(cell, method)
        if isinstance(adjusted, str):
            return adjusted
        effect = compare_changes(self.outcome[t, at] - self.outcome[b, at], adjusted)
        sizes = [n_treated, len(at) - n_treated]
        if self.counts is not None:
            sizes = [self.counts[at[:n_treated]].sum(), self.counts[at[n_treated:]].sum()]
        return Estimated(cell, effect, at, float(min(sizes)), adjusted.collinear)

    def strands(self, cell: GroupTime) -> list[tuple[Strand, Steps]]:
        """What the effect of a cell is the sum of."""
        change, back = ((cell.period, 1.0), (cell.base, -1.0)), ((cell.period, -1.0), (cell.base, 1.0))
        observed = () if self.balanced else (cell.earlier, max(cell.period, cell.base))
        weighed = None if not self.covariates and self.weighs_alike else cell.earlier
        if self.covariates:
            return [(Strand((cell.cohort,), cell.comparison, observed, weighed), change)]
        sides = ((cell.cohort,), change), (cell.comparison, back)
        return [(Strand(cohorts, (), observed, weighed), steps) for cohorts, steps in sides]

    def linear(self, strand: Strand, method: Method) -> tuple[Ints, Linear]:
        """Observations of a strand (positions in the arrangement), and how they enter."""
        at = self._units((*strand.cohorts, *strand.comparison), strand.observed)
        weights = None if self.weights is None else self.weights[strand.weighed or 0, at]
        if not strand.comparison:
            return at, linear_mean(len(at), weights)
        n_treated = int((self.cohort[at] == strand.cohorts[0]).sum())
        adjusted = adjust_untreated([x[strand.weighed, at] for x in self.covariates], weights, n_treated, method)
        assert isinstance(adjusted, Adjustment)  # only cells that were estimated have strands
        return at, linear_changes(adjusted)

    def _adjustment(self, cell: GroupTime, method: Method) -> tuple[Ints, int, Adjustment | Reason]:
        """Units of a cell, how many are treated, and their adjustment, which cells with the same units and covariates share."""
        pair = () if self.balanced else (cell.period, cell.base)
        key = (cell.cohort, cell.comparison, cell.earlier, pair, method)
        if key not in self._kept:
            self._kept.clear()  # one is enough: a cohort's cells follow one another, and each is as large as the sample
            self._kept[key] = self._adjust(cell, method)
        return self._kept[key]

    def _adjust(self, cell: GroupTime, method: Method) -> tuple[Ints, int, Adjustment | Reason]:
        at = self._units((cell.cohort, *cell.comparison), () if self.balanced else (cell.period, cell.base))
        treated = int((self.cohort[at] == cell.cohort).sum())
        if treated == 0 or treated == len(at):
            return at, treated, "no_comparison" if treated else "no_treated"
        weights = None if self.weights is None else self.weights[cell.earlier, at]
        return at, treated, adjust_untreated([x[cell.earlier, at] for x in self.covariates], weights, treated, method)

    @cached_property
    def weighs_alike(self) -> bool:
        """Whether weights never change."""
        return self.weights is None or bool((self.weights == self.weights[0]).all())

    def _units(self, cohorts: tuple[int, ...], observed: tuple[int, ...]) -> Ints:
        """Positions of the units of cohorts, in this order, that are observed in all of these periods."""
        ends = np.searchsorted(self.cohort, np.arange(len(self.timeline.cohorts) + 1))
        at = np.concatenate([np.arange(ends[c], ends[c + 1]) for c in cohorts])
        for period in observed:
            at = at[~np.isnan(self.outcome[period, at])]
        return at


@dataclass(frozen=True, eq=False)
class Levels:
    """Repeated cross-sections: rows (n,) by cohort and period, `block` (n,) numbering the pairs of both; else as Changes."""

    timeline: Timeline
    order: Ints
    cohort: Ints
    shares: Floats
    block: Ints
    outcome: Floats
    covariates: tuple[Floats, ...]
    weights: Floats | None
    counts: Floats | None

    __eq__ = same_content
    __repr__ = in_short

    def compare(self, cell: GroupTime, method: Method) -> Estimated | Reason:
        """Compare the levels of the rows in the two periods."""
        sides = [self._rows(cohorts, period) for cohorts in ((cell.cohort,), cell.comparison)
                 for period in (cell.period, cell.base)]  # fmt: skip
        sizes = [len(side) for side in sides]
        if 0 in sizes:
            return "no_comparison" if 0 in sizes[2:] else "no_treated"
        at = np.concatenate(sides)
        weights = None if self.weights is None else self.weights[at]
        found = compare_levels(
            self.outcome[at],
            [x[at] for x in self.covariates],
            weights,
            (sizes[0], sizes[1], sizes[2], sizes[3]),
            method,
        )
        if isinstance(found, str):
            return found
        fewest = min(sizes) if self.counts is None else min(self.counts[side].sum() for side in sides)
        return Estimated(cell, found[0], at, float(fewest), found[1])

    def strands(self, cell: GroupTime) -> list[tuple[Strand, Steps]]:
        """What the effect of a cell is the sum of."""
        if self.covariates:
            both = cell.period, cell.base
            return [(Strand((cell.cohort,), cell.comparison, both, period), ((period, 1.0),)) for period in both]
        sides = ((cell.cohort,), 1.0), (cell.comparison, -1.0)
        return [(Strand(cohorts, (), (period,), period), ((period, side * sign),)) for cohorts, side in sides
                for period, sign in ((cell.period, 1.0), (cell.base, -1.0))]  # fmt: skip

    def linear(self, strand: Strand, method: Method) -> tuple[Ints, Linear]:
        """Observations of a strand (positions in the arrangement), and how they enter."""
        both = [of for of in (strand.cohorts, strand.comparison) if of]
        sides = [self._rows(cohorts, period) for cohorts in both for period in strand.observed]
        at = np.concatenate(sides)
        weights = None if self.weights is None else self.weights[at]
        if not strand.comparison:
            return at, linear_mean(len(at), weights)
        after, before, other_after, other_before = map(len, sides)
        sizes = after, before, other_after, other_before
        linear = linear_levels([x[at] for x in self.covariates], weights, sizes, method)
        here = self.block[at] % len(self.timeline.periods) == strand.weighed
        return at, Linear(linear.own * here, linear.pull, linear.functionals * here)

    def _rows(self, cohorts: tuple[int, ...], period: int) -> Ints:
        blocks = np.array(cohorts, dtype=np.int64) * len(self.timeline.periods) + period
        starts, ends = np.searchsorted(self.block, blocks), np.searchsorted(self.block, blocks + 1)
        spans = [np.arange(start, end) for start, end in zip(starts, ends, strict=True)]
        return np.concatenate([np.zeros(0, dtype=np.int64), *spans])


Arrangement = Changes | Levels


def arrange(sample: Sample, timeline: Timeline) -> Arrangement:
    """Arrange a sample for its comparisons: by unit for panels, by row for repeated cross-sections."""
    make = _arrange_rows if sample.panel.unit is None else _arrange_units
    return make(sample, timeline, cohort_of_units(sample, timeline.cohorts))


def _arrange_units(sample: Sample, timeline: Timeline, cohort: Ints) -> Changes:
    order = np.argsort(cohort, kind="stable")
    n_units, n_periods = len(order), len(timeline.periods)
    balanced = len(sample.rows) == n_units * n_periods
    place = np.empty(n_units, dtype=np.int64)
    place[order] = np.arange(n_units)
    target = None if balanced else (codes_of(timeline.periods)[sample.period], place[sample.unit])

    def spread(values: Floats) -> Floats:
        if target is None:
            return np.ascontiguousarray(values.reshape(n_units, n_periods)[order].T)
        wide = np.full((n_periods, n_units), np.nan)
        wide[target] = values
        return wide

    return Changes(
        timeline,
        order,
        cohort[order],
        np.ones(n_units) if sample.weights is None else sample.weights[sample.starts][order],
        spread(sample.outcome),
        tuple(spread(column) for column in sample.covariates),
        None if sample.weights is None else spread(sample.weights),
        None if sample.counts is None else sample.counts[sample.starts][order],
        balanced,
    )


def _arrange_rows(sample: Sample, timeline: Timeline, cohort: Ints) -> Levels:
    block = cohort[sample.unit] * len(timeline.periods) + codes_of(timeline.periods)[sample.period]
    order = np.argsort(block, kind="stable")
    return Levels(
        timeline,
        order,
        cohort[sample.unit][order],
        np.ones(len(order)) if sample.weights is None else sample.weights[order],
        block[order],
        (sample.outcome - sample.outcome[0])[order],  # an outcome far from zero would cost the means their digits
        tuple(column[order] for column in sample.covariates),
        None if sample.weights is None else sample.weights[order],
        None if sample.counts is None else sample.counts[order],
    )


def leave_out_without_base(sample: Sample) -> tuple[Sample, tuple[Message, ...]]:
    """Leave out cohorts that are not observed before adoption and any anticipation: they are no comparison, either."""
    timeline = draw_timeline(sample)
    treated = timeline.treated()
    without = [cohort for cohort in treated if timeline.base(cohort) is None]
    if not without:
        return sample, ()
    cohorts = timeline.cohorts[without]
    listed = ", ".join(map(sample.panel.periods.label, cohorts.tolist()))
    if len(without) == len(treated):
        raise DesignError(
            "no cohort is observed before adoption and its anticipation",
            where=f"cohorts {listed}, anticipation {timeline.anticipation}",
            remedy="add earlier periods, or shorten the anticipation",
        )
    left = leave_out(sample, np.isin(sample.adoption, cohorts), message("ledger.no_period_before"))
    return left, (message("note.no_period_before", cohorts=listed),)


def leave_out_incomplete(sample: Sample) -> Sample:
    """Leave out the units of a panel that are not observed in every period."""
    if sample.panel.unit is None:
        raise DesignError(
            "repeated cross-sections follow no unit, and none of them is complete",
            where="CallawaySantAnna(units='complete')",
            remedy="leave units out, or name the unit of the panel",
        )
    periods = int((np.bincount(sample.period) > 0).sum())
    incomplete = sample.ends - sample.starts + 1 < periods
    if incomplete.all():
        raise DesignError(
            f"no unit is observed in all of the {periods} periods",
            where="CallawaySantAnna(units='complete')",
            remedy="use units='pairs', or leave out periods in which few are observed",
        )
    return leave_out(sample, incomplete[sample.unit], message("ledger.incomplete", periods=periods))


def refuse_absorbed(sample: Sample, estimator: str) -> None:
    """Refuse effects that do not cancel from changes of units (from differences of cohorts, where rows are no panel)."""
    within = sample.unit if sample.panel.unit is not None else np.unique(sample.adoption, return_inverse=True)[1]
    for name, codes in zip(sample.design.absorb, sample.absorb, strict=True):
        for groups in (within, sample.period):
            one = np.zeros(int(groups.max()) + 1, dtype=np.int64)
            one[groups] = codes
            if (one[groups] == codes).all():
                break
        else:
            raise DesignError(
                f"{estimator} compares units within two periods and cannot absorb '{name}'",
                where="absorb",
                remedy=f"leave '{name}' out and estimate within its levels with Split, or use an estimator that absorbs it",
            )


def note_pairs(sample: Sample, timeline: Timeline) -> tuple[Message, ...]:
    """Say how many units of a panel are not observed throughout."""
    if sample.panel.unit is None:
        return ()
    incomplete = sample.ends - sample.starts + 1 < len(timeline.periods)
    times = np.ones(len(incomplete)) if sample.counts is None else sample.counts[sample.starts]
    units = round(float(times[incomplete].sum()))
    return (message("note.pairs", units=units, total=sample.n_units),) if units else ()
