"""The numbers that figures draw, and that the CSV beside each figure holds."""

from __future__ import annotations

import numpy as np
import pandas as pd

from evalkit.results.estimation import Estimate


def is_synthetic(estimate: Estimate) -> bool:
    """Say whether any input of an estimate is synthetic."""
    return any(source.synthetic for source in estimate.spec.panel.provenance)


def has_event_times(estimate: Estimate) -> bool:
    """Say whether an estimate is a path over event times."""
    return any(term.event_time is not None for term in estimate.fit.terms)


def path_terms(estimate: Estimate) -> list[int]:
    """Positions of the terms of one path over event times, in order; empty where there is none, or several."""
    terms = estimate.fit.terms
    at = [i for i, term in enumerate(terms) if term.event_time is not None]
    times = [terms[i].event_time for i in at]
    return sorted(at, key=lambda i: terms[i].event_time or 0) if len(set(times)) == len(times) else []


def tabulate_estimate(estimate: Estimate) -> pd.DataFrame:
    """The numbers drawn for an estimate, one row per effect; intervals are missing where the design supports none."""
    table = estimate.tidy()
    table["base"] = table["term"].isin({term.name for term in estimate.fit.terms if term.role == "base"})
    if estimate.uncertainty.unsupported is not None:
        table[["conf_low", "conf_high"]] = np.nan
    return table[["term", "event_time", "cohort", "period", "subgroup", "base", "estimate", "conf_low", "conf_high"]]


def binned_ends(estimate: Estimate) -> set[int]:
    """Event times into which rows beyond the window were binned."""
    return {term.event_time for term in estimate.fit.terms if term.binned and term.event_time is not None}
