"""Poisson regression with fixed effects absorbed, by reweighted least squares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from evalkit.columns import Floats, Ints
from evalkit.numerics.absorb import Absorber, make_absorber
from evalkit.numerics.least_squares import least_squares

# Newton's error is squared by each step: after one that moved no index by more than this, what remains is rounding.
_SMALL = 1e-7
_STEPS = 100
# A mean below this share of its unit's average outcome is on its way to 0.
_VANISHING = 1e-12


@dataclass(frozen=True)
class Poisson:
    """Coefficients (r,) of the columns `kept`, the rows' means (n,), and what their uncertainty is made of.

    regressors (n, r) are residuals on the fixed effects with the weights (n,) of the last step, weight times mean; bread (r, r)
    is the inverse of their cross-product. `converged` is False where there is no maximum: a mean goes to 0 or to infinity.
    """

    kept: Ints
    coefficients: Floats
    means: Floats
    regressors: Floats
    bread: Floats
    weights: Floats
    absorber: Absorber
    converged: bool

    def project(self, column: Floats) -> Floats:
        """Project a column (n,) on the regressors and fixed effects, with the weights of the last step."""
        left = self.absorber.sweep([column])[:, 0]
        slopes = self.bread @ (self.regressors.T @ (self.weights * left))
        projected: Floats = column - left + self.regressors @ slopes
        return projected


def poisson(
    *, columns: Sequence[Floats], outcome: Floats, unit: Ints, starts: Ints, factors: tuple[Ints, ...], weights: Floats
) -> Poisson:
    """Fit the means of an outcome (n,), 0 or positive, exponential in columns (k of (n,)) and fixed effects, weighted by (n,).

    `unit`, `starts` and `factors` are those of `make_absorber`; every unit needs an outcome above 0. A column that is a
    combination of those before it and the effects is left out of `kept`.
    Source: McCullagh and Nelder, Generalized Linear Models, 1989, section 2.5.
    """
    share = np.add.reduceat(weights * outcome, starts) / np.add.reduceat(weights, starts)
    index = np.log((outcome + share[unit]) / 2.0)
    lengths = np.sqrt([weights @ (column - weights @ column / weights.sum()) ** 2 for column in columns])
    moved = np.inf
    for _ in range(_STEPS):
        means = np.exp(index)
        current = weights * means
        absorber = make_absorber(unit=unit, starts=starts, factors=factors, weights=current)
        working = index + (outcome - means) / means
        swept = absorber.sweep([*columns, working])
        reference = lengths * np.sqrt(current.sum() / weights.sum())
        solution = least_squares(X=swept[:, :-1], y=swept[:, -1], weights=current, reference=reference)
        settled = moved <= _SMALL
        step = working - solution.residuals - index
        moved = float(np.abs(step).max())
        vanishing = (means <= _VANISHING * share[unit]).any()
        if settled or vanishing or not np.isfinite(moved):
            break
        index = index + step * (5.0 / max(5.0, moved))  # a longer step overshoots
    return Poisson(
        solution.kept,
        solution.coefficients,
        means,
        swept[:, :-1][:, solution.kept],
        solution.bread,
        current,
        absorber,
        settled,
    )
