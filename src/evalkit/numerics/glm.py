"""Logit, for propensities, and Poisson with unit effects, both by Newton's method."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from evalkit.numerics.absorb import Absorber, make_absorber
from evalkit.numerics.arrays import Floats, Ints
from evalkit.numerics.least_squares import least_squares

# Newton stops after the step before which the likelihood per unit of weight was this close to its maximum: as the error is then
# squared, what remains is rounding. A separated sample loses a factor of e a step and gets there in about 35.
_GAP = 1e-14
_LOGIT_STEPS = 100
_HALVINGS = 30


@dataclass(frozen=True)
class Logit:
    """Coefficients (k,), probabilities (n,) and the inverse (k, k) of the information, X' W p(1 - p) X.

    `converged` is False where the likelihood has no maximum that can be computed, as where columns are collinear.
    """

    coefficients: Floats
    probabilities: Floats
    inverse: Floats
    converged: bool


def logit(*, columns: Floats, outcome: Floats, weights: Floats) -> Logit:
    """Maximise the likelihood of a 0/1 outcome (n,) on columns (k, n), one of them constant, with weights (n,).

    Where columns separate the outcomes, probabilities run to 0 or 1 and stop within rounding of them. Columns should be of
    similar size and far from collinear. Source: Sant'Anna and Zhao, Journal of Econometrics 219 (2020), assumption 4.
    """
    k = len(columns)
    total = float(weights.sum())
    coefficients, index = np.zeros(k), np.zeros(len(outcome))
    likelihood = _likelihood(index, outcome, weights)
    for _ in range(_LOGIT_STEPS):
        probabilities = expit(index)
        gradient = products(columns, weights * (outcome - probabilities))
        inverse = _invert(columns, weights * probabilities * (1.0 - probabilities))
        if inverse is None:
            break
        step = inverse @ gradient
        gap = float(gradient @ step) / total
        for _ in range(_HALVINGS):  # a full step can overshoot far from the maximum
            index = combine_columns(coefficients + step, columns)
            found = _likelihood(index, outcome, weights)
            if found >= likelihood - 1e-12 * abs(likelihood):
                break
            step = step / 2
        coefficients, likelihood = coefficients + step, found
        if gap <= _GAP:
            probabilities = expit(index)
            inverse = _invert(columns, weights * probabilities * (1.0 - probabilities))
            if inverse is None:
                break
            return Logit(coefficients, probabilities, inverse, True)
    return Logit(coefficients, expit(index), np.full((k, k), np.nan), False)


def products(columns: Floats, values: Floats) -> Floats:
    """Return the products (k,) of columns (k, n) with values (n,), by sums whose bits depend on no number of threads."""
    return np.array([np.einsum("i,i->", column, values) for column in columns])


def combine_columns(coefficients: Floats, columns: Floats) -> Floats:
    """Return the combination (n,) of columns (k, n) with coefficients (k,)."""
    combined: Floats = coefficients[0] * columns[0]
    for coefficient, column in zip(coefficients[1:], columns[1:], strict=True):
        combined += coefficient * column
    return combined


def cross(columns: Floats, weights: Floats) -> Floats:
    """Return the weighted cross-products (k, k) of columns (k, n) with weights (n,)."""
    k = len(columns)
    found = np.empty((k, k))
    for i in range(k):
        weighted = columns[i] * weights
        for j in range(i + 1):
            found[i, j] = found[j, i] = np.einsum("i,i->", weighted, columns[j])
    return found


def _likelihood(index: Floats, outcome: Floats, weights: Floats) -> float:
    found = outcome * index - np.maximum(index, 0.0) - np.log1p(np.exp(-np.abs(index)))
    return float(np.einsum("i,i->", weights, found))


def _invert(columns: Floats, weights: Floats) -> Floats | None:
    """Invert the cross-products; None where they are singular."""
    information = cross(columns, weights)
    scale = float(np.trace(information))
    if not scale > 0.0:
        return None
    values, vectors = np.linalg.eigh(information / scale)
    if values[0] <= 1e-15:
        return None
    inverse: Floats = (vectors / values) @ vectors.T / scale
    return inverse


# Newton's error is squared by each step: after one that moved no index by more than this, what remains is rounding.
_SMALL = 1e-7
_POISSON_STEPS = 100
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
    for _ in range(_POISSON_STEPS):
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
