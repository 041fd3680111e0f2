"""What the leads of an event study, tested one by one, can say of linear trends (Roth 2022)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evalkit.catalogue import Message, message
from evalkit.columns import Floats
from evalkit.estimation import Estimate
from evalkit.fit import Fit
from evalkit.numerics.linear_trend import Leads
from evalkit.periods import Periods

PROBABILITIES = (0.5, 0.8)


@dataclass(frozen=True)
class Trend:
    """A trend that the leads find with a probability, and what it adds to the average effect after adoption.

    slope, per period; bias, whether or not it is found; bias_unnoticed, where no lead is significant; leads (K,), its own values.
    """

    probability: float
    slope: float
    bias: float
    bias_unnoticed: float
    leads: Floats


def trends_found(one: Estimate, leads: list[int]) -> tuple[Trend, ...]:
    """The slopes that the leads (positions) find with 50 % and 80 % probability, some lead being significant at 5 %.

    A lead is significant where zero lies outside its interval by the law; estimates are jointly normal with their covariance.
    Empty where that is not known: no supported standard errors, leads that are no differences from one base, no lags, or as
    many leads as clusters. A binned end counts as its nearest event time.
    Source: Roth, American Economic Review: Insights 4 (2022), section I.
    """
    distance = _distances(one.fit)
    terms = one.fit.terms
    lags = [i for i, t in enumerate(terms) if t.role == "effect" and t.event_time is not None and t.event_time >= 0]
    if one.uncertainty.unsupported is not None or distance is None or not lags:
        return ()
    each = np.eye(len(terms))
    ends = [one.law.interval(each[i], 0.95) for i in leads]
    limits = np.array([(high - low) / 2 for low, high in ends])
    covariance = one.uncertainty.covariance
    if not (np.isfinite(limits).all() and np.isfinite(covariance[np.ix_([*leads, *lags], [*leads, *lags])]).all()):
        return ()
    tested = Leads(distance[leads], covariance[np.ix_(leads, leads)], limits)
    if tested.is_singular:
        return ()
    shared, away = covariance[np.ix_(lags, leads)].mean(axis=0), float(distance[lags].mean())
    found = []
    for probability in PROBABILITIES:
        slope = tested.slope_found(probability)
        bias = slope * away
        found.append(Trend(probability, slope, bias, bias + tested.mean_shift(slope, shared), slope * tested.distances))
    return tuple(found)


def _distances(fit: Fit) -> Floats | None:
    """Periods between each term and the base of its path (k,); None where a path does not have one base."""
    if any(note.key == "note.lead_residuals" for note in fit.notes):
        return None
    bases: dict[tuple[str | None, str | None], list[int]] = {}
    for term in fit.terms:
        if term.event_time is not None:
            known = bases.setdefault((term.subgroup, term.cohort), [])
            known += [term.event_time] if term.role == "base" else []
    if not bases or any(len(known) != 1 for known in bases.values()):
        return None
    return np.array(
        [
            np.nan if term.event_time is None else term.event_time - bases[term.subgroup, term.cohort][0]
            for term in fit.terms
        ]
    )


def name_step(periods: Periods) -> Message:
    """Name the step of a time axis: year, quarter, month, day, or period."""
    name: str = periods.frequency
    if name == "integer":
        name = "year" if 1000 <= periods.first <= 2999 else "period"
    return message(f"step.{name if periods.step == 1 else 'period'}")
