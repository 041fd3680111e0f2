"""Heteroskedasticity-robust standard errors (HC1)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evalkit.catalogue import message
from evalkit.estimation import Specification, Uncertainty
from evalkit.fit import Fit
from evalkit.inference._clusters import (
    assignment,
    count_clusters,
    independence_notes,
    regression_of,
    row_errors,
    smallest_p,
)


@dataclass(frozen=True)
class Robust:
    """Assume independent errors of any variance: the sandwich times N/(N - K), K counting all absorbed effects; t(N - K).

    Source: MacKinnon and White, Journal of Econometrics 29 (1985), HC1. Clusters are counted at the level of assignment.
    """

    def assess(self, fit: Fit, spec: Specification) -> Uncertainty:
        """Estimate the covariance from squared residuals, part by part."""
        covariance = np.zeros((len(fit.terms), len(fit.terms)))
        df = np.full(len(fit.terms), np.nan)
        for part in fit.parts:
            regression = regression_of(part, "Robust")
            squares, weights = row_errors(regression)
            left = part.sample.n_obs - regression.n_slopes - regression.n_effects
            X = regression.regressors
            meat = X.T @ (X * (weights**2 * squares)[:, None])
            factor = part.sample.n_obs / left if left > 0 else np.nan
            covariance[np.ix_(part.positions, part.positions)] = factor * regression.bread @ meat @ regression.bread
            df[part.positions] = left
        clusters = count_clusters(fit, assignment(fit))
        notes = independence_notes(fit, spec)
        return Uncertainty(covariance, df, message("method.robust"), smallest_p(fit), clusters, notes=notes)
