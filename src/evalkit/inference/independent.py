"""Classical and robust standard errors: rows taken as independent, part by part."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from evalkit.catalogue import message
from evalkit.designs.sample import share_assignment
from evalkit.numerics.arrays import Floats
from evalkit.results.clusters import assignment, count_clusters, regression_of, smallest_p
from evalkit.results.estimation import OnCells, Specification, no_columns
from evalkit.results.fit import Fit, Regression
from evalkit.results.loadings import ByExpectedSize, OneByOne, loadings_of
from evalkit.results.uncertainty import Uncertainty

# From a regression, N and N - K to the covariance (k, k) of its coefficients.
_CovarianceOf = Callable[[Regression, float, float], Floats]


def _assess_independent(fit: Fit, spec: Specification, name: str, covariance_of: _CovarianceOf) -> Uncertainty:
    """Take each part's covariance, none between parts, and t(N - K).

    A note says so where several units share an assignment; p-values for which not even clustered errors would be a guide then
    count as unsupported, because no amount of rows tells an effect from a shock to the few.
    """
    covariance = np.zeros((len(fit.terms), len(fit.terms)))
    df = np.full(len(fit.terms), np.nan)
    for part in fit.parts:
        regression = regression_of(part, name)
        left = part.sample.n_obs - regression.n_slopes - regression.n_effects
        at = np.ix_(part.positions, part.positions)
        covariance[at] = part.of_slopes(covariance_of(regression, part.sample.n_obs, left)) if left > 0 else np.nan
        df[part.positions] = left
    way = assignment(fit)
    clusters, parts = count_clusters(fit, way)
    loadings = loadings_of(fit, spec, way)
    shared = any(share_assignment(part.sample) for part in fit.parts)
    independent = message("note.independent", column=spec.design.assigned_at) if shared else None
    return Uncertainty(
        covariance,
        df,
        message(f"method.{name.lower()}"),
        smallest_p(fit),
        clusters,
        parts,
        loadings,
        None if independent is None else ByExpectedSize(loadings, independent),
        None if independent is None else OneByOne(ByExpectedSize(loadings, independent)),
        () if independent is None else (independent,),
    )


def _row_errors(regression: Regression) -> tuple[Floats, Floats]:
    """Squared residuals summed over the original rows of each row (n,), and the weight of one original row (n,)."""
    counts = np.ones(len(regression.residuals)) if regression.counts is None else regression.counts
    squares = counts * regression.residuals**2
    if regression.within is not None:
        squares = squares + regression.within
    weights = np.ones(len(squares)) if regression.weights is None else regression.weights / counts
    return squares, weights


@dataclass(frozen=True)
class Classical:
    """Assume independent errors of one variance; t with N - K degrees of freedom, K counting all absorbed effects.

    Subgroups of a split have a variance each and no covariance. Clusters are counted at the level of assignment.
    """

    columns = no_columns
    on_cells: ClassVar[OnCells] = "with_squares"

    def assess(self, fit: Fit, spec: Specification) -> Uncertainty:
        """Estimate the covariance from the residual variance of each part."""
        return _assess_independent(fit, spec, "Classical", _one_variance)


def _one_variance(regression: Regression, n_obs: float, left: float) -> Floats:
    squares, weights = _row_errors(regression)
    covariance: Floats = float(weights @ squares) / left * regression.bread
    return covariance


@dataclass(frozen=True)
class Robust:
    """Assume independent errors of any variance: the sandwich times N/(N - K), K counting all absorbed effects; t(N - K).

    Source: MacKinnon and White, Journal of Econometrics 29 (1985), HC1. Clusters are counted at the level of assignment.
    """

    columns = no_columns
    on_cells: ClassVar[OnCells] = "with_squares"

    def assess(self, fit: Fit, spec: Specification) -> Uncertainty:
        """Estimate the covariance from squared residuals, part by part."""
        return _assess_independent(fit, spec, "Robust", _any_variance)


def _any_variance(regression: Regression, n_obs: float, left: float) -> Floats:
    squares, weights = _row_errors(regression)
    scores = regression.regressors * (weights * np.sqrt(squares))[:, None]
    influence = scores @ regression.bread
    covariance: Floats = n_obs / left * (influence.T @ influence)  # one array with itself: exactly symmetric
    return covariance
