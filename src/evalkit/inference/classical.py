"""Classical standard errors: independent errors of one variance."""

from __future__ import annotations

from dataclasses import dataclass

from evalkit.columns import Floats
from evalkit.estimation import Specification
from evalkit.fit import Fit, Regression
from evalkit.inference._independent import assess_independent, row_errors
from evalkit.uncertainty import Uncertainty


@dataclass(frozen=True)
class Classical:
    """Assume independent errors of one variance; t with N - K degrees of freedom, K counting all absorbed effects.

    Subgroups of a split have a variance each and no covariance. Clusters are counted at the level of assignment.
    """

    def assess(self, fit: Fit, spec: Specification) -> Uncertainty:
        """Estimate the covariance from the residual variance of each part."""
        return assess_independent(fit, spec, "Classical", _one_variance)


def _one_variance(regression: Regression, n_obs: float, left: float) -> Floats:
    squares, weights = row_errors(regression)
    covariance: Floats = float(weights @ squares) / left * regression.bread
    return covariance
