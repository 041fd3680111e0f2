"""Whole numbers: how sums come out the same to the last bit, whatever the order of the rows, the threads and the engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import narwhals as nw
import numpy as np
import pyarrow as pa

from evalkit.engines.engine import Frame
from evalkit.numerics.arrays import Floats, Ints

_SUMMED = 62  # bits that a sum may take, besides its sign


@dataclass(frozen=True)
class WholeNumbers:
    """Columns `name0`, `name1`, … of whole numbers of `bits` bits that make up a number, the first its leading digits."""

    name: str
    bits: int
    number: int

    @classmethod
    def summed(cls, name: str, most: int, digits: int) -> WholeNumbers:
        """Choose them for sums of at most `most` rows, and for so many binary digits below the largest number."""
        bits = min(50, _SUMMED - most.bit_length())  # floats hold the parts, and have 53
        return cls(name, bits, -(-digits // bits))

    @property
    def names(self) -> list[str]:
        """Names of the columns."""
        return [f"{self.name}{i}" for i in range(self.number)]

    def split(self, rows: Frame, value: Any, exponent: int) -> Frame:
        """Write a number below 2**exponent in them, all with its sign.

        Every step is exact: a power of two only moves the point, and a number cut off there has fewer digits than it had.
        """
        side = nw.when(value < 0).then(-1).otherwise(1).cast(nw.Int64())
        rows = rows.with_columns((value.abs() * 2.0 ** (self.bits - exponent)).alias("left"), side.alias("side"))
        for name in self.names:  # one by one: the floor of a double is a whole number of 64 bits in Spark
            rows = rows.with_columns(nw.col("left").floor().alias(name))
            rows = rows.with_columns(
                ((nw.col("left") - nw.col(name)) * 2.0**self.bits).alias("left"),
                (nw.col(name).cast(nw.Int64()) * nw.col("side")).alias(name),
            )
        return rows

    def total(self, exponent: int) -> Any:
        """Add up their sums to one number, in an engine; right to some digits of the largest."""
        parts = [nw.col(name) * 2.0 ** (exponent - self.bits * (i + 1)) for i, name in enumerate(self.names)]
        return sum(reversed(parts[:-1]), parts[-1])

    def join(self, table: pa.Table, exponent: int) -> Floats:
        """Add up their sums (c,) to the sums of the numbers that they make up, right to the last digit."""
        parts = self._carry([table.column(name).to_numpy() for name in self.names])
        sign = np.where(parts[0] < 0, -1, 1)
        parts = self._carry([part * sign for part in parts])  # none is negative, so that nothing cancels
        total = np.zeros(table.num_rows)
        for i, part in reversed(list(enumerate(parts))):
            total += part * 2.0 ** (exponent - self.bits * (i + 1))
        return total * sign

    def _carry(self, parts: list[Ints]) -> list[Ints]:
        """Carry what is above their bits to the whole number (c,) before, so that only the first has a sign."""
        carried, over = list[Ints](), np.zeros_like(parts[0])
        for part in reversed(parts[1:]):
            carried.append((part + over) & ((1 << self.bits) - 1))
            over = (part + over) >> self.bits
        return [parts[0] + over, *reversed(carried)]
