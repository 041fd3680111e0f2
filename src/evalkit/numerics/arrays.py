"""The arrays that every kernel takes and gives: numbers, whole numbers, flags."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]


def first_rows(codes: Ints) -> Ints:
    """Positions where a run of equal codes begins."""
    return np.flatnonzero(np.concatenate([[True], codes[1:] != codes[:-1]]))
