"""Two-stage difference-in-differences: effects of units and periods from untreated rows, then a regression on what they leave."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from evalkit.catalogue import Message, message
from evalkit.designs.design import Design
from evalkit.designs.sample import draw_sample
from evalkit.errors import DesignError
from evalkit.estimators._untreated import (
    Averages,
    ImputedResponse,
    Means,
    Untreated,
    add_averages,
    alone_in,
    average_effects,
    check_choice,
    check_leads,
    closing_notes,
    fit_untreated,
    influence_of_imputed,
    list_rows,
    ranks,
    slope_terms,
)
from evalkit.numerics.arrays import Flags
from evalkit.panels.panel import Panel
from evalkit.results.estimation import no_columns
from evalkit.results.fit import Fit, Part, Term


@dataclass(frozen=True, kw_only=True)
class TwoStage:
    """Fit unit and period effects (and covariates) on untreated rows, subtract them everywhere, regress the rest on treatment.

    aggregate  "simple": "ATT", on being treated; "dynamic": "ATT(e=2)", on event times.
    leads      the second stage of "dynamic" also has indicators of so many periods before adoption (and before any anticipation),
               the last of them being the base, listed with 0. As the second stage has no constant, a lead is the mean
               first-stage residual of its rows, not a difference from the base; earlier rows have no indicator.

    Points equal those of Imputation; the errors differ: an effect that is not the average one counts as noise, whatever the
    cohort. The influence is the second stage's score less what the first stage's error puts into it (GMM), and sums to zero.
    R did2s clusters without a small-sample factor: Cluster(correction="none").
    Treated rows whose unit or period has no untreated row are left out, counted and named.
    Source: Gardner, Two-stage differences in differences, arXiv:2207.05943 (2022); Butts and Gardner, R Journal 14 (2022).
    """

    aggregate: Literal["simple", "dynamic"] = "simple"
    leads: int = 0

    columns = no_columns
    on_cells = True

    def __post_init__(self) -> None:
        check_choice(self.aggregate, ("simple", "dynamic"), "aggregate", "TwoStage")
        check_leads(self.leads, self.aggregate, "TwoStage")

    def fit(self, panel: Panel, design: Design, keep: Flags | None = None) -> Fit:
        """Estimate on the panel's rows (those flagged in `keep`, if given)."""
        sample = draw_sample(panel, design, keep, without_anticipation=self.aggregate == "simple")
        untreated = fit_untreated(sample, "TwoStage")
        effects = averages = average_effects(untreated, self.aggregate)
        base: tuple[Term, ...] = ()
        notes: tuple[Message, ...] = ()
        if self.leads:
            averages, base, notes = _with_leads(untreated, effects, self.leads)
        n_leads = len(averages.terms) - len(effects.terms)
        treated = averages.term >= n_leads
        alone = treated & alone_in(untreated, averages.rows, averages.term)
        if alone.any():
            listed = list_rows(untreated.sample, averages.rows[alone])
            notes = (*notes, message("note.alone", level=design.assigned_at, listed=listed))
        errors = untreated.fit.errors[averages.rows]
        values = averages.take(errors)
        influence = influence_of_imputed(untreated, averages, errors - values[averages.term])
        means = Means(averages.term, averages.share)
        terms = (*averages.terms[:n_leads], *base, *averages.terms[n_leads:], *slope_terms(untreated))
        estimated = np.flatnonzero([term not in base for term in terms])
        coefficients = np.zeros(len(terms))
        coefficients[estimated] = np.concatenate([values, untreated.fit.slopes])
        part = Part(
            untreated.sample,
            estimated,
            influence.without_rounding(untreated.sample),
            response=ImputedResponse(influence, averages, means, untreated.size),
            leads_from_base=not self.leads,
        )
        return Fit(terms, coefficients, (part,), (*closing_notes(untreated, influence), *notes))


def _with_leads(
    untreated: Untreated, effects: Averages, leads: int
) -> tuple[Averages, tuple[Term, ...], tuple[Message, ...]]:
    """Put the leads before the effects; return the base, the last observed event time before adoption, and what to note."""
    rows = untreated.fit.base
    time = untreated.event_time[rows]
    last = -1 - untreated.sample.design.anticipation
    inside = time >= last - leads + 1
    if not inside.any():
        raise DesignError(
            f"no treated unit is observed at an event time from {last - leads + 1} to {last}",
            where=f"TwoStage(leads={leads})",
            remedy="ask for more leads, or add earlier periods",
        )
    base = int(time[inside].max())
    notes: tuple[Message, ...] = (message("note.lead_residuals", base=base),)
    if base != last:
        notes = (message("note.base_moved", base=base, wanted=last), *notes)
    inside &= time < base
    times, code = ranks(time[inside])
    unseen = ", ".join(str(e) for e in range(last - leads + 1, base) if e not in times)
    if unseen:
        notes = (*notes, message("note.unseen", event_times=unseen))
    terms = tuple(Term(f"ATT(e={e:.0f})", event_time=int(e)) for e in times)
    averages = add_averages(untreated, effects, terms, rows[inside], code)
    return averages, (Term(f"ATT(e={base})", "base", event_time=base),), notes
