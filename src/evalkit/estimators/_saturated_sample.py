"""The rows of a sample that can be compared: without cohorts always treated, and periods without a unit of comparison."""

from __future__ import annotations

import numpy as np

from evalkit.catalogue import Message, message
from evalkit.columns import Flags, Floats
from evalkit.sample import Sample, leave_out


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
