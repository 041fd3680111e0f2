"""The arrays that every kernel takes and gives: numbers, whole numbers, flags."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

_T = TypeVar("_T")

# Rows of a block: few enough for what a step touches to stay in the processor's cache, and enough for its threads seldom to meet.
BLOCK = 65_536
# Rows from which starting threads pays.
_WORTH_THREADS = 250_000

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]


def first_rows(codes: Ints) -> Ints:
    """Positions where a run of equal codes begins."""
    return np.flatnonzero(np.concatenate([[True], codes[1:] != codes[:-1]]))


def cut_blocks(n: int, starts: Ints | None = None, *, least: int = BLOCK) -> list[slice]:
    """Cut n rows into blocks of about `least` rows, which divide no unit where their first rows `starts` (U,) are given."""
    ends = np.append(np.arange(least, n, least), n)
    if starts is not None:
        ends = np.unique(np.append(starts, n)[np.searchsorted(starts, ends)])
    return [slice(first, end) for first, end in zip([0, *ends[:-1].tolist()], ends.tolist(), strict=True)]


def in_blocks(work: Callable[[slice], _T], blocks: Sequence[slice]) -> list[_T]:
    """Do the work of each block of rows, on threads where there are rows enough; the results are in the order of the blocks.

    The blocks, too, are the same however many threads there are, so that their number changes no bit.
    """
    workers = min(os.cpu_count() or 1, len(blocks)) if blocks[-1].stop >= _WORTH_THREADS else 1
    if workers == 1:
        return [work(rows) for rows in blocks]
    with ThreadPoolExecutor(workers) as pool:
        shares = list(pool.map(lambda first: [work(rows) for rows in blocks[first::workers]], range(workers)))
    return [shares[i % workers][i // workers] for i in range(len(blocks))]
