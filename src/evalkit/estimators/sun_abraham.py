"""Sun and Abraham: one effect for each cohort and event time, averaged with the cohorts' shares."""

from __future__ import annotations

from dataclasses import dataclass

from evalkit.designs.design import Design
from evalkit.designs.sample import draw_sample
from evalkit.estimators._regression import refuse_unused
from evalkit.estimators._saturated import (
    Aggregate,
    check_aggregate,
    find_cells,
    keep_comparable,
    regress_cells,
)
from evalkit.numerics.arrays import Flags
from evalkit.panels.panel import Panel
from evalkit.results.estimation import no_columns
from evalkit.results.fit import Fit


@dataclass(frozen=True)
class SunAbraham:
    """Regress the outcome on cohort × event-time indicators with unit and period effects, and average over cohorts.

    aggregate  "dynamic": one term for each event time, "ATT(e=2)"; "simple": "ATT", over all rows from adoption on; "cohort":
               "ATT(g=2014)"; "cohort_time": every indicator, "ATT(g=2014,t=2016)".

    Compared with are units never treated in the sample, whatever the design's comparison; where there are none, the last cohort
    until it adopts. The base is the last event time before adoption and anticipation (-1), or the last one observed in the
    cohort. Cohorts are averaged with their shares of the rows (of the weights, if there are any), which the standard errors
    take as fixed. Cohorts treated in every period observed are left out.
    Source: Sun and Abraham, Journal of Econometrics 225 (2021), section 4.1; shares and standard errors as in R fixest's sunab.
    """

    aggregate: Aggregate = "dynamic"

    columns = no_columns
    on_cells = True

    def __post_init__(self) -> None:
        check_aggregate(self.aggregate, "SunAbraham")

    def fit(self, panel: Panel, design: Design, keep: Flags | None = None) -> Fit:
        """Estimate on the panel's rows (those flagged in `keep`, if given)."""
        refuse_unused(design, "SunAbraham", "dose", "eligible")
        sample, notes = keep_comparable(draw_sample(panel, design, keep), never_only=True)
        cells, moved = find_cells(sample, leads=True)
        return regress_cells(sample, cells, self.aggregate, (*notes, *moved))
