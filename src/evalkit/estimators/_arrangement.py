"""The observations of comparisons by cohort and period, in an order that puts those of one together, and their effects."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from evalkit.columns import Floats, Ints
from evalkit.estimators._drdid import Adjustment, Effect, Method, Reason, adjust, compare_changes, compare_levels
from evalkit.estimators._group_time import Cell, Timeline, codes_of, cohort_of_units
from evalkit.sample import Sample


@dataclass(frozen=True)
class Estimated:
    """The effect of a cell: the observations that it rests on (positions in the arrangement), and their influence, both (n,).

    `fewest` counts the units (or rows) of the smaller side; `collinear` lists the covariates that add nothing in the cell.
    """

    cell: Cell
    effect: Effect
    at: Ints
    fewest: float
    collinear: tuple[int, ...]


@dataclass(frozen=True)
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
    _kept: dict[object, tuple[Ints, int, Adjustment | Reason]] = field(default_factory=dict, repr=False)

    def compare(self, cell: Cell, method: Method) -> Estimated | Reason:
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

    def _adjustment(self, cell: Cell, method: Method) -> tuple[Ints, int, Adjustment | Reason]:
        """Units of a cell, how many are treated, and their adjustment, which cells with the same units and covariates share."""
        pair = () if self.balanced else (cell.period, cell.base)
        key = (cell.cohort, cell.comparison, cell.earlier, pair, method)
        if key not in self._kept:
            self._kept.clear()  # one is enough: a cohort's cells follow one another, and each is as large as the sample
            self._kept[key] = self._adjust(cell, method)
        return self._kept[key]

    def _adjust(self, cell: Cell, method: Method) -> tuple[Ints, int, Adjustment | Reason]:
        ends = np.searchsorted(self.cohort, np.arange(len(self.timeline.cohorts) + 1))
        at = np.concatenate([np.arange(ends[c], ends[c + 1]) for c in (cell.cohort, *cell.comparison)])
        treated = int(ends[cell.cohort + 1] - ends[cell.cohort])
        if not self.balanced:
            both = ~np.isnan(self.outcome[cell.period, at] - self.outcome[cell.base, at])
            at, treated = at[both], int(both[:treated].sum())
        if treated == 0 or treated == len(at):
            return at, treated, "no_comparison" if treated else "no_treated"
        weights = None if self.weights is None else self.weights[cell.earlier, at]
        return at, treated, adjust([x[cell.earlier, at] for x in self.covariates], weights, treated, method)


@dataclass(frozen=True)
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

    def compare(self, cell: Cell, method: Method) -> Estimated | Reason:
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
