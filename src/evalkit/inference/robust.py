"""Heteroskedasticity-robust standard errors (HC1)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evalkit.columns import Floats
from evalkit.estimation import Specification
from evalkit.fit import Fit, Regression
from evalkit.inference._independent import assess_independent, row_errors
from evalkit.uncertainty import Uncertainty


@dataclass(frozen=True)
class Robust:
    """Assume independent errors of any variance: the sandwich times N/(N - K), K counting all absorbed effects; t(N - K).

    Source: MacKinnon and White, Journal of Econometrics 29 (1985), HC1. Clusters are counted at the level of assignment.
    """

    def assess(self, fit: Fit, spec: Specification) -> Uncertainty:
        """Estimate the covariance from squared residuals, part by part."""
        return assess_independent(fit, spec, "Robust", _any_variance)


def _any_variance(regression: Regression, n_obs: float, left: float) -> Floats:
    squares, weights = row_errors(regression)
    scores = regression.regressors * (weights * np.sqrt(squares))[:, None]
    influence = scores @ regression.bread
    covariance: Floats = n_obs / left * (influence.T @ influence)  # one array with itself: exactly symmetric
    return covariance
