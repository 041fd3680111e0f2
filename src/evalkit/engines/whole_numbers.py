"""Whole numbers: sums of numbers that neither the order of the rows, the number of threads nor the engine changes by a bit."""

from __future__ import annotations

from typing import Any

import narwhals as nw
import numpy as np
import pyarrow as pa

from evalkit.engines.engine import Frame
from evalkit.numerics.arrays import Floats, Ints

LIMB = 30
"""Bits of a whole number that is summed: the sum of 2**32 of them fits into 64 bits."""


def split_values(rows: Frame, value: Any, exponent: int, names: tuple[str, ...]) -> Frame:
    """Write a number below 2**exponent as whole numbers of 30 bits, all with its sign, whose sums no order changes.

    Every step is exact: a power of two only moves the point, and a number cut off there has fewer digits than it had.
    """
    side = nw.when(value < 0).then(-1).otherwise(1).cast(nw.Int64())
    rows = rows.with_columns((value.abs() * 2.0 ** (LIMB - exponent)).alias("left"), side.alias("side"))
    for name in names:  # one by one: the floor of a double is a whole number of 64 bits in Spark
        rows = rows.with_columns(nw.col("left").floor().alias(name))
        rows = rows.with_columns(
            ((nw.col("left") - nw.col(name)) * 2.0**LIMB).alias("left"),
            (nw.col(name).cast(nw.Int64()) * nw.col("side")).alias(name),
        )
    return rows


def join_sums(table: pa.Table, exponent: int, names: tuple[str, ...]) -> Floats:
    """Add up sums of whole numbers (c,) to the sums of the numbers that `split_values` wrote with them."""
    limbs = _carry([table.column(name).to_numpy() for name in names])
    sign = np.where(limbs[0] < 0, -1, 1)
    limbs = _carry([limb * sign for limb in limbs])  # none is negative, so that nothing cancels
    total = np.zeros(table.num_rows)
    for i, limb in reversed(list(enumerate(limbs))):
        total += limb * 2.0 ** (exponent - LIMB * (i + 1))
    return total * sign


def _carry(limbs: list[Ints]) -> list[Ints]:
    """Carry what is above 30 bits to the whole number (c,) before, so that only the first has a sign."""
    carried, over = list[Ints](), np.zeros_like(limbs[0])
    for limb in reversed(limbs[1:]):
        carried.append((limb + over) & ((1 << LIMB) - 1))
        over = (limb + over) >> LIMB
    return [limbs[0] + over, *reversed(carried)]
