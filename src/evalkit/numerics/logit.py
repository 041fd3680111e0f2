"""Logit by Newton's method, for propensities."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from evalkit.columns import Floats

# Newton stops after the step before which the likelihood per unit of weight was this close to its maximum: as the error is then
# squared, what remains is rounding. A separated sample loses a factor of e a step and gets there in about 35.
_GAP = 1e-14
_STEPS = 100
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
    for _ in range(_STEPS):
        probabilities = expit(index)
        gradient = products(columns, weights * (outcome - probabilities))
        inverse = _invert(columns, weights * probabilities * (1.0 - probabilities))
        if inverse is None:
            break
        step = inverse @ gradient
        gap = float(gradient @ step) / total
        for _ in range(_HALVINGS):  # a full step can overshoot far from the maximum
            index = combine(coefficients + step, columns)
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


def combine(coefficients: Floats, columns: Floats) -> Floats:
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
