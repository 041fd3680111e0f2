"""Effects by cohort and period: which comparisons there are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evalkit.columns import Flags, Floats, Ints
from evalkit.sample import Sample


@dataclass(frozen=True)
class Timeline:
    """Cohorts (C,) by first treated period, the last one inf where units stay untreated, and the periods (T,) observed.

    `seen` (C, T) says whether a cohort has rows in a period. Units that adopt too late to respond in the sample count as
    untreated.
    """

    cohorts: Floats
    periods: Ints
    seen: Flags
    anticipation: int

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
class Cell:
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
) -> tuple[list[Cell], list[Cell]]:
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

    def make(period: int, base: int) -> Cell:
        until = timeline.periods[max(period, base)] + timeline.anticipation
        least = np.inf if never_treated else until + 1
        later = np.flatnonzero(timeline.cohorts >= least)
        return Cell(cohort, period, base, tuple(c for c in later.tolist() if c != cohort))

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
