"""Synthetic difference-in-differences."""

from __future__ import annotations

from dataclasses import dataclass

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
class SyntheticDID:
    """Compare the treated with donors and periods weighed so that the paths before adoption are parallel.

    aggregate  "simple": "ATT", each treated unit-period weighing the same; "cohort": "ATT(g=2014)"; "dynamic": "ATT(e=2)",
               treated minus synthetic by event time, less its weighted mean before adoption, over the treated observed there.

    Units are the units of assignment, whose outcomes are averaged first; they must be observed in every period. Each cohort
    weighs the donors anew; these are never treated, whatever the design's comparison says. Covariates are refused: make the
    outcome a residual beforehand. Effects before adoption show the fit that the weights were made for and are no test.
    Constants added to periods move the weights a little, because the ridge follows the spread of one-period changes. There is no
    influence function: use Placebo, or Jackknife where several units are treated. The weights are those of R synthdid 0.0.9,
    whose 10,000 steps can end short of the minimum (on the cigarette panel by .09 in the effect, a hundredth of its standard
    error).
    Source: Arkhangelsky, Athey, Hirshberg, Imbens and Wager, American Economic Review 111 (2021), Algorithm 1; cohorts as in
    Clarke, Pailañir, Athey and Imbens, Stata Journal 24 (2024).
    """

    aggregate: Aggregate = "simple"

    def __post_init__(self) -> None:
        check_aggregate("SyntheticDID", self.aggregate)

    def fit(self, panel: Panel, design: Design, keep: Flags | None = None) -> Fit:
        """Estimate on the panel's rows (those flagged in `keep`, if given)."""
        return fit_synthesis(self._synthesise(panel, design, keep), self.aggregate)

    def weights(self, panel: Panel, design: Design, keep: Flags | None = None) -> pd.DataFrame:
        """List the weights of donors and periods: columns cohort, kind ("unit" or "period"), label, weight."""
        return tabulate_weights(self._synthesise(panel, design, keep))

    def _synthesise(self, panel: Panel, design: Design, keep: Flags | None) -> Synthesis:
        dynamic = self.aggregate == "dynamic"
        return synthesise(panel, design, keep, estimator="SyntheticDID", weigh=_weigh, dynamic=dynamic)


def _weigh(block: Block) -> tuple[Floats, Floats]:
    eta = float(block.n_treated * block.after.sum()) ** 0.25
    return block.unit_weights(eta=eta, intercept=True), block.period_weights()
