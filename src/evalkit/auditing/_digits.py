"""Digits: to how many a number was published, and what rounding to them can hide."""

from __future__ import annotations

import numpy as np
import pandas as pd

from evalkit.columns import Floats, Ints

# Zeros at the end, and the share of numbers that may have them if the digits are the same for all: some more than by chance.
_ZEROS = ((1, 0.25), (2, 0.03))
_FEW = 8  # values in a column: trailing zeros of fewer may be chance


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


def half_units(value: Floats, column: Ints) -> Floats:
    """Return half a unit of the last digit published (n,).

    A float does not keep the zeros of 12.30. Where a column is printed with so many digits throughout, one number in ten ends
    in a zero and one in a hundred in two; where more do, it is not, and each number has the digits that it shows.
    """
    own = decimals(value)
    counted = np.isfinite(value) & (value != 0)
    grouped = pd.Series(np.where(counted, own, np.nan)).groupby(column)
    number = grouped.count().to_numpy()
    common = grouped.quantile(0.75, interpolation="lower").fillna(0).to_numpy(dtype=np.int64)
    common = np.where(number < _FEW, np.maximum(common, 0), common)
    shorter = [
        np.bincount(column[counted & (own <= common[column] - by)], minlength=len(common)) > 1 + share * number
        for by, share in _ZEROS
    ]
    shared = common[column]
    digits = np.where(counted, np.where(np.any(shorter, axis=0)[column], own, np.maximum(own, shared)), shared)
    half: Floats = 0.5 * 10.0 ** -digits.astype(np.float64)
    return half
