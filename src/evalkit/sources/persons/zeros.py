"""Leading zeros that a program took off codes which it held for numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

_SHORTEST_CODE = 5  # digits of codes of which shorter ones are missed: those of fewer are often mere numbers
_MOST_SHORTER = 0.2  # one in ten codes that are drawn at random begins with a zero


@dataclass(frozen=True)
class Shorn:
    """Codes without their leading zeros.

    `pairs` are positions of two values that differ by leading zeros only, the first of its kind and each further one; `shorter`
    counts the values that have fewer digits than the `length` that most have (0 and 0 where nothing of the kind is seen).
    """

    pairs: tuple[tuple[int, int], ...] = ()
    shorter: int = 0
    length: int = 0

    def __bool__(self) -> bool:
        """Whether anything was noticed."""
        return bool(self.pairs or self.shorter)


def shorn_of_zeros(values: pa.Array | pa.ChunkedArray | Sequence[str]) -> Shorn:
    """Notice leading zeros that were lost from codes of digits among the distinct texts of one column.

    Two values that are the same code with and without its zeros are a pair. Codes are called shorter where all values are digits,
    more than half have one length of five or more and none has more, at most a fifth has less, and most of these lack one digit,
    as lost zeros do; where most numbers between the least and the greatest are there, they were counted, and lost nothing.
    """
    texts = values if isinstance(values, pa.Array | pa.ChunkedArray) else pa.array(values, pa.large_string())
    if isinstance(texts, pa.ChunkedArray):
        texts = texts.combine_chunks()
    are_digits = pc.fill_null(pc.ascii_is_decimal(texts), False).to_numpy(zero_copy_only=False)
    where = np.flatnonzero(are_digits)
    digits = texts if len(where) == len(texts) else texts.filter(pa.array(are_digits))
    zeros = pc.starts_with(digits, "0")
    stripped = pc.ascii_ltrim(digits.filter(zeros), characters="0")
    alike = pc.or_(zeros, pc.is_in(digits, value_set=stripped))
    pairs = _pair(pc.ascii_ltrim(digits.filter(alike), characters="0"), where[alike.to_numpy(zero_copy_only=False)])
    present = int(np.count_nonzero(pc.fill_null(pc.not_equal(texts, ""), False).to_numpy(zero_copy_only=False)))
    lengths = pc.binary_length(digits).to_numpy(zero_copy_only=False)
    counts = np.bincount(lengths, minlength=2)
    length = int(counts.argmax())
    shorter = int(counts[:length].sum())
    most = present == len(digits) and 2 * counts[length] > present and shorter + counts[length] == present
    if not most or not 0 < shorter <= _MOST_SHORTER * present or length < _SHORTEST_CODE or length > 18:
        return Shorn(pairs)
    if 2 * counts[length - 1] < shorter or _are_counted_off(pc.cast(digits, pa.int64())):
        return Shorn(pairs)
    return Shorn(pairs, shorter, length)


def _pair(stripped: pa.Array, where: NDArray[np.intp]) -> tuple[tuple[int, int], ...]:
    """Return the positions of texts that are the same without zeros: the first, and each further one."""
    codes = stripped.dictionary_encode().indices.to_numpy()
    again = np.flatnonzero(np.bincount(codes)[codes] > 1)
    order = again[np.argsort(codes[again], kind="stable")]
    starts = np.flatnonzero(np.diff(codes[order], prepend=-1))
    first = np.repeat(order[starts], np.diff(starts, append=len(order)))
    further = first != order
    return tuple(zip(where[first[further]].tolist(), where[order[further]].tolist(), strict=True))


def _are_counted_off(numbers: pa.Array) -> bool:
    """Tell whether most whole numbers between the least and the greatest are there."""
    ends = pc.min_max(numbers)
    return bool(2 * len(numbers) > ends["max"].as_py() - ends["min"].as_py())
