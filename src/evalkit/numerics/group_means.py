"""Differences between the means of treated and of control groups, whose variances may depend on their sizes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls

from evalkit.numerics.arrays import Flags, Floats


@dataclass(frozen=True)
class Differences:
    """Covariance (k, k) of k differences of means, and what each side adds to the variances.

    The variance of a difference is (own_treated + own_control) · (pull_treated + pull_control), each (k,): `own` are the sides'
    sums of squared normalised residuals over g - 2, `pull` the summed variances of their means where a variance is 1.
    """

    covariance: Floats
    own_treated: Floats
    own_control: Floats
    pull_treated: Floats
    pull_control: Floats


def compare(numbers: Floats, treated: Flags, relative: Floats) -> Differences:
    """Compare the plain means of treated and control groups from their numbers (g, k).

    relative (g, k) are the variances up to a factor for each column. Residuals are taken around weighted means, so that the
    factor is unbiased and chi-square with g - 2 degrees of freedom, and divided by the roots of the variances. Correlations of
    columns are those of the normalised residuals.
    """
    g = len(numbers)
    normalised = np.empty_like(numbers)
    pulls = np.empty_like(numbers)
    for side in (treated, ~treated):
        centre = np.average(numbers[side], axis=0, weights=1 / relative[side])
        normalised[side] = (numbers[side] - centre) / np.sqrt(relative[side])
        pulls[side] = np.sqrt(relative[side]) / side.sum()
    covariance = normalised.T @ normalised / (g - 2) * (pulls.T @ pulls)
    squares, spread = normalised**2 / (g - 2), pulls**2
    return Differences(
        covariance,
        squares[treated].sum(axis=0),
        squares[~treated].sum(axis=0),
        spread[treated].sum(axis=0),
        spread[~treated].sum(axis=0),
    )


def fit_by_size(numbers: Floats, treated: Flags, sizes: Floats) -> Floats:
    """Fit the variance of a group as A + B/size to the squared deviations from the means of the sides.

    numbers and sizes are (g, k); A and B, of each column, are at least 0. Deviations of n numbers have expected squares
    (1 - 2/n) times their variance plus 1/n times the mean variance, which is what is fitted, so that small sides count for what
    they tell (one group alone: nothing). Returned are variances (g, k) up to a factor, of mean 1.
    """
    relative = np.ones_like(numbers)
    for j, (column, inverse) in enumerate(zip(numbers.T, 1 / sizes.T, strict=True)):
        inverse = inverse / inverse.mean()
        squares, regressors = np.empty(len(column)), np.empty((len(column), 2))
        for side in (treated, ~treated):
            n = side.sum()
            squares[side] = (column[side] - column[side].mean()) ** 2
            regressors[side, 0] = 1 - 1 / n
            regressors[side, 1] = (1 - 2 / n) * inverse[side] + inverse[side].mean() / n
        if squares.max() > 0:
            (a, b), _ = nnls(regressors, squares / squares.max())
            fitted = a + b * inverse
            relative[:, j] = fitted / fitted.mean()
    return relative


def significant_ratios(
    own: tuple[float, float], pull: tuple[float, float], square: float
) -> tuple[float, float] | None:
    """Ratios (low, high) of the treated to the control variance between which a difference is significant; None for none.

    own and pull are those of `Differences`, treated first; square is (difference / critical value)². At a ratio r the variance
    (own_treated/r + own_control) (r·pull_treated + pull_control) must be less than it: a quadratic in r.
    """
    highest = own[1] * pull[0]
    middle = own[0] * pull[0] + own[1] * pull[1] - square
    lowest = own[0] * pull[1]
    inside = middle**2 - 4 * highest * lowest
    if middle >= 0 or inside < 0:
        return None
    root = (-middle + inside**0.5) / 2
    return lowest / root, root / highest if highest > 0 else float("inf")
