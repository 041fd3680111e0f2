"""What Classical and Robust share: rows taken as independent, part by part."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from evalkit.catalogue import message
from evalkit.columns import Floats
from evalkit.estimation import Specification
from evalkit.fit import Fit, Regression
from evalkit.inference._clusters import assignment, count_clusters, regression_of, smallest_p
from evalkit.sample import Sample
from evalkit.uncertainty import Uncertainty, few_clusters

# From a regression, N and N - K to the covariance (k, k) of its coefficients.
CovarianceOf = Callable[[Regression, float, float], Floats]


def assess_independent(fit: Fit, spec: Specification, name: str, covariance_of: CovarianceOf) -> Uncertainty:
    """Take each part's covariance, none between parts, and t(N - K).

    A note says so where several units share an assignment; with at most two treated or control units of assignment the p-values
    then count as unsupported, because no amount of rows tells an effect from a shock to the few.
    """
    covariance = np.zeros((len(fit.terms), len(fit.terms)))
    df = np.full(len(fit.terms), np.nan)
    for part in fit.parts:
        regression = regression_of(part, name)
        left = part.sample.n_obs - regression.n_slopes - regression.n_effects
        at = np.ix_(part.positions, part.positions)
        covariance[at] = part.of_slopes(covariance_of(regression, part.sample.n_obs, left)) if left > 0 else np.nan
        df[part.positions] = left
    clusters, parts = count_clusters(fit, assignment(fit))
    shared = any(share_assignment(part.sample) for part in fit.parts)
    independent = message("note.independent", column=spec.design.assigned_at) if shared else None
    few = few_clusters(*parts, by_cohort=any(part.by_cohort for part in fit.parts))[0] is not None
    method = message(f"method.{name.lower()}")
    if independent is not None and few:
        return Uncertainty(covariance, df, method, smallest_p(fit), clusters, parts, independent, independent)
    notes = () if independent is None else (independent,)
    return Uncertainty(covariance, df, method, smallest_p(fit), clusters, parts, notes=notes)


def share_assignment(sample: Sample) -> bool:
    """Say whether several units (rows, for repeated cross-sections) belong to one unit of assignment."""
    units = len(sample.rows) if sample.panel.unit is None else sample.n_units
    return len(np.unique(sample.cluster[sample.starts])) < units


def row_errors(regression: Regression) -> tuple[Floats, Floats]:
    """Squared residuals summed over the original rows of each row (n,), and the weight of one original row (n,)."""
    counts = np.ones(len(regression.residuals)) if regression.counts is None else regression.counts
    squares = counts * regression.residuals**2
    if regression.within is not None:
        squares = squares + regression.within
    weights = np.ones(len(squares)) if regression.weights is None else regression.weights / counts
    return squares, weights
