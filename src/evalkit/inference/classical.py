"""Classical standard errors: independent errors of one variance."""

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
class Classical:
    """Assume independent errors of one variance; t with N - K degrees of freedom, K counting all absorbed effects.

    Subgroups of a split have a variance each and no covariance. Clusters are counted at the level of assignment.
    """

    def assess(self, fit: Fit, spec: Specification) -> Uncertainty:
        """Estimate the covariance from the residual variance of each part."""
        covariance = np.zeros((len(fit.terms), len(fit.terms)))
        df = np.full(len(fit.terms), np.nan)
        for part in fit.parts:
            regression = regression_of(part, "Classical")
            squares, weights = row_errors(regression)
            left = part.sample.n_obs - regression.n_slopes - regression.n_effects
            variance = float(weights @ squares) / left if left > 0 else np.nan
            covariance[np.ix_(part.positions, part.positions)] = variance * regression.bread
            df[part.positions] = left
        clusters = count_clusters(fit, assignment(fit))
        notes = independence_notes(fit, spec)
        return Uncertainty(covariance, df, message("method.classical"), smallest_p(fit), clusters, notes=notes)
