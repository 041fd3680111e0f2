"""Least squares over the simplex by Frank-Wolfe, step for step as in R synthdid."""

from __future__ import annotations

import numpy as np

from evalkit.numerics.arrays import Floats

ROUGH_STEPS, MAX_STEPS = 100, 10_000
_HELD = 2_000  # columns whose products (k, k) are held at once: 32 MB


def simplex_weights(*, differences: Floats, zeta: float, least_gain: float) -> Floats:
    """Minimise |D x|² / n + zeta² |x|² over weights x (k,), none negative, that sum to one.

    D (n, k) holds the difference between each column and the target; `zeta` and `least_gain` are in its units. From equal weights
    on, 100 Frank-Wolfe steps with exact line search are taken; weights of at most a quarter of the largest are set to 0; then up
    to 10,000 steps follow, until one lowers the objective by at most least_gain². They can end before the minimum is reached, so
    the path belongs to the definition. Rounding aside, the weights are those of R synthdid.
    Source: Arkhangelsky, Athey, Hirshberg, Imbens and Wager, American Economic Review 111 (2021), eq. 4 and 6; R synthdid 0.0.9,
    sc.weight.fw and fw.step, where A and b count only as A - b because weights sum to one.
    """
    n, k = differences.shape
    if n > k:  # only the length of D x matters, and a triangle of k rows gives the same
        differences = np.asarray(np.linalg.qr(differences, mode="r"))
    rough = _descend(differences, np.full(k, 1 / k), n, zeta, least_gain, ROUGH_STEPS)
    rough[rough <= rough.max() / 4] = 0.0
    return _descend(differences, rough / rough.sum(), n, zeta, least_gain, MAX_STEPS)


def _descend(D: Floats, x: Floats, n: int, zeta: float, least_gain: float, steps: int) -> Floats:
    """Take Frank-Wolfe steps from x until the second or a later one gains at most least_gain², or none are left."""
    eta, columns = n * zeta**2, np.ascontiguousarray(D.T)
    products = columns @ D if len(x) <= _HELD else None
    squares = np.einsum("ij,ij->i", columns, columns) + eta
    x = x.copy()
    gradient = columns @ (D @ x) + eta * x  # half of it; moves with x, so that a step is a few passes over k numbers
    value = float(gradient @ x)
    for step in range(steps):
        i = int(gradient.argmin())
        lowest, square = float(gradient[i]), float(squares[i])
        slope, curvature = value - lowest, value - 2.0 * lowest + square
        length = min(1.0, max(0.0, slope / curvature)) if curvature > 0 else 0.0
        rest = 1.0 - length
        x *= rest
        x[i] += length
        gradient *= rest
        gradient += length * (columns @ columns[i] if products is None else products[i])
        gradient[i] += length * eta
        value = rest * (rest * value + 2.0 * length * lowest) + length**2 * square
        # The gain in closed form: two values of the objective are too alike to be subtracted.
        if step > 0 and length * (2.0 * slope - length * curvature) / n <= least_gain**2:
            break
    return x
