"""Triple difference: the eligible against the others in the same places, where treated and where not."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from evalkit.catalogue import message
from evalkit.designs.design import Design
from evalkit.designs.sample import Sample, draw_sample, leave_out
from evalkit.errors import DesignError
from evalkit.estimators._regression import (
    always_treated_notes,
    count_cohorts,
    refuse_unused,
    regress,
    slope_notes,
)
from evalkit.numerics.arrays import Flags, Ints
from evalkit.panels.panel import Panel
from evalkit.results.estimation import no_columns
from evalkit.results.fit import Fit, Term


@dataclass(frozen=True, kw_only=True)
class TripleDifference:
    """Regress the outcome on adopted × eligible × post with unit and period effects; the term is "ATT".

    The design's `eligible` says whom inside a unit of assignment the treatment is for. What the eligible gained over the others
    where the treatment came is compared with what they gained over them elsewhere, so that neither a shock to a place nor
    one to the eligible everywhere is taken for an effect.

    saturated  True: each unit of assignment has its own period effects, and so has each of the two groups; units of
               assignment that hold only one group say nothing then, and are left out through the ledger. False: only adopted ×
               post and eligible × post, which needs one date of adoption and presumes that paths part at that date alone.

    With staggered adoption it also compares with units already treated, as TwoWayFE does, and the same note says so. Repeated
    cross-sections absorb unit of assignment × group in place of the unit.
    Source: Olden and Moen, The Econometrics Journal 25 (2022).
    """

    saturated: bool = True

    columns = no_columns
    on_cells = True

    def fit(self, panel: Panel, design: Design, keep: Flags | None = None) -> Fit:
        """Estimate on the panel's rows (those flagged in `keep`, if given)."""
        if design.eligible is None:
            raise DesignError(
                "the design does not say who is eligible",
                where="TripleDifference",
                remedy="name a 0/1 column as eligible, 1 for those whom the treatment is for",
            )
        refuse_unused(design, "TripleDifference", "dose")
        sample = draw_sample(panel, design, keep, without_anticipation=True)
        if self.saturated:
            sample = _with_both_groups(sample)
        eligible = _eligible(sample)
        whose = eligible[sample.starts] if panel.unit is not None else None
        cohorts = count_cohorts(sample, whose)
        post = sample.period >= sample.adoption
        n_periods = int(sample.period.max()) + 1
        absorbed: list[Ints | Flags]
        if self.saturated:
            absorbed = [sample.cluster * n_periods + sample.period, eligible * n_periods + sample.period]
        else:
            absorbed = [post, eligible & (sample.period >= _one_date(sample))]
        if panel.unit is None:
            absorbed.append(sample.cluster * 2 + eligible)
        codes = tuple(np.unique(levels, return_inverse=True)[1].astype(np.int64) for levels in absorbed)
        sample = replace(sample, absorb=(*sample.absorb, *codes))
        treatment = (post & eligible).astype(np.float64)
        fit = regress(sample, [(Term("ATT"), treatment)])
        return replace(
            fit, notes=(*fit.notes, *slope_notes(fit, treatment, cohorts), *always_treated_notes(sample, whose))
        )


def _eligible(sample: Sample) -> Flags:
    assert sample.eligible is not None  # the design names it
    return sample.eligible


def _with_both_groups(sample: Sample) -> Sample:
    """Leave out the units of assignment in which all or none are eligible: their own period effects absorb them."""
    design, n_clusters = sample.design, len(sample.clusters)
    n_rows = np.bincount(sample.cluster, minlength=n_clusters)
    n_eligible = np.bincount(sample.cluster[_eligible(sample)], minlength=n_clusters)
    one_group = (n_eligible == 0) | (n_eligible == n_rows)
    adoption = sample.cluster_adoption()[~one_group]
    adopts = adoption <= sample.period.max()
    whose = "which adopts" if not adopts.any() else "to compare with"
    if not adopts.any() or (adopts.all() and len(np.unique(adoption)) == 1):
        raise DesignError(
            f"no {design.assigned_at} {whose} holds both eligible and other units",
            where=f"eligible = '{design.eligible}'",
            remedy="compare the eligible alone by TwoWayFE, or use TripleDifference(saturated=False)",
        )
    reason = message("ledger.one_group", level=design.assigned_at, eligible=design.eligible)
    return leave_out(sample, one_group[sample.cluster], reason)


def _one_date(sample: Sample) -> float:
    """Return the one period in which all adopt, after checking that each of the four groups is there."""
    adopts = sample.adoption <= sample.period.max()
    dates = np.unique(sample.adoption[adopts])
    if len(dates) > 1:
        raise DesignError(
            f"there are {len(dates)} dates of adoption, and eligible × post is one column only where there is one",
            where="TripleDifference(saturated=False)",
            remedy="use TripleDifference(), or keep one cohort and its comparison",
        )
    eligible = _eligible(sample)
    for rows, who in (
        (adopts & eligible, "eligible units where it is adopted"),
        (adopts & ~eligible, "other units where it is adopted"),
        (~adopts & eligible, "eligible units where it is not adopted"),
        (~adopts & ~eligible, "other units where it is not adopted"),
    ):
        if not rows.any():
            raise DesignError(
                f"there are no {who}",
                where=f"eligible = '{sample.design.eligible}'",
                remedy="a triple difference needs both groups on both sides; compare the eligible alone by TwoWayFE",
            )
    return float(dates[0])
