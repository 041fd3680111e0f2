"""Two-way fixed effects: one average effect of being treated, or one slope per unit of dose."""

from __future__ import annotations

from dataclasses import dataclass, replace

from evalkit.designs.design import Design
from evalkit.designs.sample import draw_sample
from evalkit.estimators._regression import always_treated_notes, count_cohorts, refuse_unused, regress, slope_notes
from evalkit.numerics.arrays import Flags
from evalkit.panels.panel import Panel
from evalkit.results.estimation import no_columns
from evalkit.results.fit import Fit, Term


@dataclass(frozen=True)
class TwoWayFE:
    """Regress the outcome on treated × post with unit and period effects; the term is "ATT".

    It equals the average effect on the treated when all adopt at once; with staggered adoption it also compares with units
    already treated, and a note says how many treated rows get a negative weight. Source: Goodman-Bacon, Journal of
    Econometrics 225 (2021), eq. 10.

    With a dose in the design the regressor is the dose, which may change over time, and the term is "slope": the change per
    unit of dose. It is no ATT, and an average causal response only under strong parallel trends, which notes say. Source:
    Callaway, Goodman-Bacon and Sant'Anna, NBER Working Paper 32117 (2024).
    """

    columns = no_columns
    on_cells = True

    def fit(self, panel: Panel, design: Design, keep: Flags | None = None) -> Fit:
        """Estimate on the panel's rows (those flagged in `keep`, if given)."""
        refuse_unused(design, "TwoWayFE", "eligible")
        sample = draw_sample(panel, design, keep, without_anticipation=True)
        cohorts = count_cohorts(sample)
        treatment = sample.period >= sample.adoption if sample.dose is None else sample.dose
        term = Term("ATT" if sample.dose is None else "slope")
        fit = regress(sample, [(term, treatment)])
        return replace(fit, notes=(*fit.notes, *slope_notes(fit, treatment, cohorts), *always_treated_notes(sample)))
