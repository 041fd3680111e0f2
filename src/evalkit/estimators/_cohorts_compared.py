"""What of a sample can enter comparisons of cohorts within two periods."""

from __future__ import annotations

import numpy as np

from evalkit.catalogue import Message, message
from evalkit.errors import DesignError
from evalkit.estimators._group_time import Timeline, draw_timeline
from evalkit.sample import Sample, leave_out


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
