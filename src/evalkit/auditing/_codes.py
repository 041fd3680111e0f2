"""Combinations of values as integers."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from evalkit.columns import Ints

Objects = NDArray[np.object_]


def row_codes(*columns: Ints | Objects) -> Ints:
    """Number the combinations of values of columns (n,), from 0 in order of appearance."""
    first, *others = (pd.factorize(column)[0].astype(np.int64) for column in columns)
    for other in others:
        first = pd.factorize(first * (int(other.max(initial=0)) + 1) + other)[0].astype(np.int64)
    return first
