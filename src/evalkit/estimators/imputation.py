"""Imputation: each treated row less what untreated rows say it would have been."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from evalkit.catalogue import Message, message
from evalkit.designs.design import Design
from evalkit.designs.sample import draw_sample
from evalkit.errors import DesignError
from evalkit.estimators._regression import RowsResponse, _length, told_as_refusal, without_rounding_of
from evalkit.estimators._untreated import (
    Averages,
    ImputedResponse,
    Joined,
    JoinedResponse,
    Means,
    Untreated,
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
from evalkit.numerics.arrays import Flags, Floats, Ints
from evalkit.numerics.least_squares import least_squares
from evalkit.panels.panel import Panel
from evalkit.results.estimation import no_columns
from evalkit.results.fit import Fit, MappedInfluence, Part, Regression, Response, Term

_Aggregate = Literal["simple", "dynamic", "cohort", "cohort_time"]
AverageBy = Literal["cohort_time", "cohort", "event_time"]


@dataclass(frozen=True, kw_only=True)
class Imputation:
    """Fit unit and period effects (and covariates) on untreated rows, impute the treated rows, and average what is left.

    aggregate   "simple": "ATT", over all treated rows; "dynamic": "ATT(e=2)"; "cohort": "ATT(g=2014)"; "cohort_time":
                "ATT(g=2014,t=2016)". Rows weigh as the design says.
    leads       coefficients of so many periods before adoption (and before any anticipation), in a regression of the untreated
                rows alone, against all earlier ones: a test of the assumption that treated rows do not touch.
    average_by  the groups of treated rows whose mean effect stands in for a row's own in the variance: of one cohort and period,
                one cohort, or one event time. Coarser groups are more conservative, and serve where cohorts are small.
    leave_out   take these means without the row's own unit of assignment: larger errors, closer to right where cohorts are small.

    Treated rows whose unit or period has no untreated row are left out, counted and named: the effects speak of the others. Rows
    within the anticipation window are imputed, too, and shown by "dynamic" and "cohort_time".
    The variance is conservative: effects that differ within a group count as noise. The influence of a row is its weight times
    its residual; for treated rows, times its effect less the group's mean. Without weights it sums to zero; with weights, or
    `leave_out`, it need not, because means weigh rows by the square of their weight in the estimate.
    Source: Borusyak, Jaravel, Spiess, Review of Economic Studies 91 (2024), section 4; means by rows as in R didimputation.
    """

    aggregate: _Aggregate = "simple"
    leads: int = 0
    average_by: AverageBy = "cohort_time"
    leave_out: bool = False

    columns = no_columns
    on_cells = True

    def __post_init__(self) -> None:
        check_choice(self.aggregate, ("simple", "dynamic", "cohort", "cohort_time"), "aggregate", "Imputation")
        check_choice(self.average_by, ("cohort_time", "cohort", "event_time"), "average_by", "Imputation")
        check_leads(self.leads, self.aggregate, "Imputation")

    def fit(self, panel: Panel, design: Design, keep: Flags | None = None) -> Fit:
        """Estimate on the panel's rows (those flagged in `keep`, if given)."""
        sample = draw_sample(panel, design, keep, without_anticipation=self.aggregate in ("simple", "cohort"))
        untreated = fit_untreated(sample, "Imputation")
        averages = average_effects(untreated, self.aggregate)
        effects = untreated.fit.errors[averages.rows]
        means, notes = self._group_means(untreated, averages)
        influence = influence_of_imputed(untreated, averages, effects - means.of(effects))
        notes = (*closing_notes(untreated, influence), *notes)

        terms = (*averages.terms, *slope_terms(untreated))
        coefficients = np.concatenate([averages.take(effects), untreated.fit.slopes])
        every = np.arange(len(untreated.sample.rows))
        joined = Joined(((every, influence.without_rounding(untreated.sample)),))
        response: Response = ImputedResponse(influence, averages, means, untreated.size)
        if self.leads:
            leads, values, own, of_leads, unseen = _regress_leads(untreated, self.leads)
            response = JoinedResponse(((len(leads), of_leads), (len(terms), response)))
            terms, notes = (*leads, *terms), (*notes, *unseen)
            coefficients = np.concatenate([values, coefficients])
            joined = Joined(((untreated.fit.base, own), *joined.members))
        part = Part(untreated.sample, np.arange(len(terms)), joined, response=response)
        return Fit(terms, coefficients, (part,), notes)

    def _group_means(self, untreated: Untreated, averages: Averages) -> tuple[Means, tuple[Message, ...]]:
        """Means of each treated row's group, rows weighing by the square of their share; and what to note of it."""
        sample, rows = untreated.sample, averages.rows
        cell = self._groups(untreated, averages)
        alone = alone_in(untreated, rows, cell)
        listed = list_rows(sample, rows[alone])
        level = sample.design.assigned_at
        if self.leave_out and alone.any():
            raise DesignError(
                f"leave_out needs two or more units of assignment ('{level}') in every group; alone are {listed}",
                where=f"Imputation(average_by='{self.average_by}'), cohort [periods]: rows",
                remedy="average over coarser groups (average_by='event_time'), or set leave_out=False",
            )
        weight = averages.share**2
        if sample.counts is not None:  # a collapsed row stands for several that share alike
            weight /= sample.counts[rows]
        if not self.leave_out:
            notes = (message("note.alone", level=level, listed=listed),) if alone.any() else ()
            return Means(cell, weight), notes
        _, pair = ranks((cell * len(sample.clusters) + sample.cluster[rows]).astype(np.float64))
        return Means(cell, weight, pair), ()

    def _groups(self, untreated: Untreated, averages: Averages) -> Ints:
        """Code (m,) of each treated row's group; groups do not cross terms."""
        sample, rows = untreated.sample, averages.rows
        _, cohort = ranks(sample.adoption[rows])
        _, time = ranks(untreated.event_time[rows])
        key = {"cohort_time": cohort * (int(time.max()) + 1) + time, "cohort": cohort, "event_time": time}
        return ranks((averages.term * (int(key[self.average_by].max()) + 1) + key[self.average_by]).astype(float))[1]


def _regress_leads(
    untreated: Untreated, leads: int
) -> tuple[tuple[Term, ...], Floats, MappedInfluence, RowsResponse, tuple[Message, ...]]:
    """Regress the untreated rows' outcome on indicators of the last periods before adoption, effects and covariates.

    Returns terms, coefficients, the influence of the base rows, their answer to shocks, and notes on event times without a row.
    Source: Borusyak, Jaravel, Spiess (2024), section 4, the test on untreated rows only.
    """
    sample, fit = untreated.sample, untreated.fit
    absorber, rows = fit.absorber, fit.base
    last = -1 - sample.design.anticipation
    wanted = range(last - leads + 1, last + 1)
    observed = set(np.unique(untreated.event_time[rows]).tolist())
    terms = tuple(Term(f"ATT(e={e})", event_time=e) for e in wanted if e in observed)
    unseen = ", ".join(str(e) for e in wanted if e not in observed)
    columns = [(untreated.event_time[rows] == term.event_time).astype(np.float64) for term in terms]
    columns += [sample.covariates[j][rows] for j in fit.kept]
    with told_as_refusal():
        swept = absorber.sweep([*columns, sample.outcome[rows]])
    reference = np.array([_length(column, absorber.weights) for column in columns])
    found = least_squares(X=swept[:, :-1], y=swept[:, -1], weights=absorber.weights, reference=reference)
    for j, term in enumerate(terms):
        if j not in found.kept:
            raise DesignError(
                f"the lead {term.name} cannot be told from the unit effects and the other leads",
                where=f"Imputation(leads={leads}), outcome '{sample.design.outcome}'",
                remedy="ask for fewer leads: some treated units must be observed earlier than the first of them",
            )
    counts = None if sample.counts is None else sample.counts[rows]
    X = swept[:, found.kept]
    factors = (absorber.unit, *(level - level.min() for level in absorber.levels))
    regression = Regression(
        found.coefficients, X, found.residuals, found.bread, absorber.weights, counts, absorber.rank, factors
    )
    mapping = np.eye(len(terms), len(found.kept))
    notes = (message("note.unseen", event_times=unseen),) if unseen else ()
    own = without_rounding_of(regression, sample, len(terms))
    response = RowsResponse(regression, rows, mapping)
    return terms, found.coefficients[: len(terms)], MappedInfluence(own, mapping), response, notes
