"""Units that go through the same cells in the same order, found so that a regression can be solved on one of each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evalkit.columns import Floats, Ints

# Working with patterns pays where they have at most this share of the rows.
_WORTH = 0.25


@dataclass(frozen=True)
class Patterns:
    """The distinct sequences of keys, each stood for by the first unit that has it.

    rows (c,) the rows of those units; unit (c,) the code of each row's pattern, sorted, and starts (P,) its first row; cell (n,)
    says which of the c rows each row equals; mass (c,) is the weight of all rows that a row stands for.
    """

    rows: Ints
    unit: Ints
    starts: Ints
    cell: Ints
    mass: Floats


def find_patterns(*, key: Ints, starts: Ints, weights: Floats | None) -> Patterns | None:
    """Group units (their rows are contiguous, from `starts` (U,) on) by their sequence of keys (n,), integers from 0.

    None where weights (n,) vary within units, or where there are too many patterns to gain anything.
    """
    sizes = np.diff(np.append(starts, len(key)))
    if weights is not None and (np.repeat(weights[starts], sizes) != weights).any():
        return None
    _, first, pattern = np.unique(np.add.reduceat(_mix(key), starts), return_index=True, return_inverse=True)
    length = sizes[first]
    n_rows = int(length.sum())
    if n_rows > _WORTH * len(key) or (length[pattern] != sizes).any():
        return None
    offset = np.cumsum(length) - length
    rows = np.arange(n_rows) + np.repeat(starts[first] - offset, length)
    cell = np.arange(len(key)) + np.repeat(offset[pattern] - starts, sizes)
    if (key[rows][cell] != key).any():  # two sequences with one sum of hashes: as good as impossible, but exact
        return None
    mass = np.bincount(cell, weights=weights, minlength=n_rows).astype(np.float64)
    return Patterns(rows, np.repeat(np.arange(len(first)), length), offset, cell, mass)


def _mix(key: Ints) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    """Hash small integers to 64 bits. Source: Steele, Lea, Flood, OOPSLA (2014), figure 14 (SplitMix)."""
    z = np.arange(1, int(key.max()) + 2, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    hashed: np.ndarray[tuple[int], np.dtype[np.uint64]] = (z ^ (z >> np.uint64(31)))[key]
    return hashed
