"""Digits: how many a printed number shows."""

from __future__ import annotations

import numpy as np

from evalkit.numerics.arrays import Floats, Ints


def decimals(values: Floats) -> Ints:
    """Count the digits after the point of each number's shortest form; negative for zeros before it: 1.25 is 2, 1200 is -2.

    From -6 to 12; 0 for zero and what is not finite.
    """
    found = np.zeros(len(values), dtype=np.int64)
    left = np.flatnonzero(np.isfinite(values) & (values != 0))
    for digits in range(-6, 13):
        scaled = values[left] * 10.0**digits if digits >= 0 else values[left] / 10.0**-digits
        whole = (np.abs(scaled - np.rint(scaled)) <= 1e-14 * np.abs(scaled)) & (np.abs(scaled) >= 1)
        found[left[whole]] = digits
        left = left[~whole]
    found[left] = 12
    return found
