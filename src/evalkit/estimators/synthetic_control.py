"""Synthetic control."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from evalkit.columns import Flags, Floats
from evalkit.design import Design
from evalkit.estimators._synthetic import (
    Aggregate,
    Block,
    Synthesis,
    check_aggregate,
    fit_synthesis,
    synthesise,
    tabulate_weights,
)
from evalkit.fit import Fit
from evalkit.panel import Panel


@dataclass(frozen=True, kw_only=True)
class SyntheticControl:
    """Compare the treated with donors weighed so that they have the same outcomes before adoption.

    aggregate  "simple": "ATT", each treated unit-period weighing the same; "cohort": "ATT(g=2014)"; "dynamic": "ATT(e=2)",
               treated minus synthetic by event time, over the treated observed there.

    All outcomes before adoption are matched, and nothing else. Treated units beyond the reach of the donors are fitted badly,
    which the note on the fit shows. Units are the units of assignment, whose outcomes are averaged first; they must be observed
    in every period. Donors are never treated, whatever the design's comparison says; the treated of a cohort share one synthetic
    unit. Covariates are refused. There is no influence function: use Placebo; Jackknife makes errors far too wide.
    Source: Abadie, Diamond and Hainmueller, Journal of the American Statistical Association 105 (2010); weights as in
    sc_estimate of R synthdid 0.0.9.
    """

    aggregate: Aggregate = "simple"

    def __post_init__(self) -> None:
        check_aggregate("SyntheticControl", self.aggregate)

    def fit(self, panel: Panel, design: Design, keep: Flags | None = None) -> Fit:
        """Estimate on the panel's rows (those flagged in `keep`, if given)."""
        return fit_synthesis(self._synthesise(panel, design, keep), self.aggregate)

    def weights(self, panel: Panel, design: Design, keep: Flags | None = None) -> pd.DataFrame:
        """List the weights of donors: columns cohort, kind ("unit"), label, weight."""
        return tabulate_weights(self._synthesise(panel, design, keep))

    def _synthesise(self, panel: Panel, design: Design, keep: Flags | None) -> Synthesis:
        dynamic = self.aggregate == "dynamic"
        return synthesise(panel, design, keep, estimator="SyntheticControl", weigh=_weigh, dynamic=dynamic)


def _weigh(block: Block) -> tuple[Floats, Floats]:
    return block.unit_weights(eta=1e-6, intercept=False), np.zeros(int(block.before.sum()))
