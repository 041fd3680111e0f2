"""Two-way fixed effects: one average effect of being treated."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evalkit.columns import Flags
from evalkit.design import Design
from evalkit.estimators._regression import regress, staggered_notes
from evalkit.fit import Fit, Term
from evalkit.panel import Panel
from evalkit.sample import draw_sample


@dataclass(frozen=True)
class TwoWayFE:
    """Regress the outcome on treated × post with unit and period effects; the term is "ATT".

    It equals the average effect on the treated when all adopt at once; with staggered adoption it also compares with units
    already treated, which a note says. Source: Goodman-Bacon, Journal of Econometrics 225 (2021), eq. 10.
    """

    def fit(self, panel: Panel, design: Design, keep: Flags | None = None) -> Fit:
        """Estimate on the panel's rows (those flagged in `keep`, if given)."""
        sample = draw_sample(panel, design, keep, without_anticipation=True)
        post = (sample.period >= sample.adoption).astype(np.float64)
        return regress(sample, [(Term("ATT"), post)], staggered_notes(sample))
