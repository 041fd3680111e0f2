"""Kinds of units: what the passes over the rows of a large frame find, and who of it is one cell."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from evalkit.numerics.arrays import Ints
from evalkit.tables.columns import factorise
from evalkit.tables.periods import Periods

_WORD = 31  # bits that mark the periods in a whole number, so that 2**32 rows of one unit-period do not overflow it


@dataclass(frozen=True, eq=False)
class Census:
    """What a first pass over the rows finds: the periods as they are written (T,), and how many rows each reason leaves out.

    Outcomes that are used are below 2**exponent, and lie less than 2**spread apart.
    """

    written: pa.Array
    lost: Ints
    exponent: int
    spread: int


@dataclass(frozen=True, eq=False)
class Axis:
    """The periods as the frame writes them (T,), their values as read (T,), and their positions (T,) on the axis."""

    written: pa.Array
    values: pd.Series
    position: Ints
    periods: Periods

    @property
    def words(self) -> list[str]:
        """Columns of whole numbers that mark a set of periods."""
        return [f"w{w}" for w in range(int(self.position.max()) // _WORD + 1)]

    def table(self, paths: Iterable[ValuePath]) -> pa.Table:
        """Place each period as it is written, and mark it in one of the words, and in one of each path."""
        word, bit = np.divmod(self.position, _WORD)
        marks = {name: np.where(word == w, 1 << bit, 0) for w, name in enumerate(self.words)}
        for path in paths:
            word, number = np.divmod(self.position, path.each)
            marks |= {name: np.where(word == w, 1 << path.bits * number, 0) for w, name in enumerate(path.words(self))}
        return pa.table({"c1": self.written, "position": self.position, **marks})

    def values_at(self, position: Ints) -> Any:
        """Values (n,) of positions (n,)."""
        of = np.zeros(int(self.position.max()) + 1, dtype=np.int64)
        of[self.position] = np.arange(len(self.position))
        return self.values.array.take(of[position])


@dataclass(frozen=True, eq=False)
class ValuePath:
    """A column whose values (k,) are numbered from 1, so that few whole numbers hold what a unit has in each of its periods."""

    at: str
    values: pa.Array

    @property
    def bits(self) -> int:
        """Bits that a number takes."""
        return len(self.values).bit_length()

    @property
    def each(self) -> int:
        """Periods in one whole number."""
        return _WORD // self.bits

    def words(self, axis: Axis) -> list[str]:
        """Columns of whole numbers that hold the path."""
        return [f"p{w}_{self.at}" for w in range(int(axis.position.max()) // self.each + 1)]

    def table(self) -> pa.Table:
        """Number the values."""
        return pa.table({self.at: self.values, f"number_{self.at}": np.arange(1, len(self.values) + 1)})


@dataclass(frozen=True, eq=False)
class Kinds:
    """Units that are alike in everything but their outcomes: `table` (k,) as the engine gives it, `frame` (k,) as values.

    Its columns: `units` so many of them, such as `example`; of their `rows`, `used` are used; `last` is the reason that left out
    the last of the others; `moves_…` says what changes within them. `keys` are columns by their names, and where they stand.
    """

    table: pa.Table
    frame: pd.DataFrame
    keys: dict[str, str]
    words: list[str]

    @cached_property
    def cell(self) -> Ints:
        """Cell (k,) of each kind, numbered in the order of what tells them apart; -1 where no row is used."""
        used = self.frame["used"].to_numpy() > 0
        named = [self.frame[at].rename(name) for name, at in self.keys.items()]
        ranks = [factorise(one).values[used] for one in (*named, *(self.frame[word] for word in self.words))]
        numbered = np.full(len(self.frame), -1, dtype=np.int64)
        numbered[used] = np.unique(np.stack(ranks, axis=1), axis=0, return_inverse=True)[1].reshape(-1)
        return numbered

    @cached_property
    def first(self) -> Ints:
        """One kind of each cell (C,)."""
        return np.unique(self.cell, return_index=True)[1][int((self.cell < 0).any()) :]

    @cached_property
    def units(self) -> Ints:
        """Units in each cell (C,)."""
        inside = self.cell >= 0
        counted = np.bincount(self.cell[inside], weights=self.frame["units"].to_numpy()[inside])
        return np.rint(counted).astype(np.int64)

    @cached_property
    def example(self) -> Any:
        """The first unit (C,) of each cell."""
        inside = self.frame["example"][self.cell >= 0]
        return inside.groupby(self.cell[self.cell >= 0]).min().array

    def of_cells(self, at: str) -> Any:
        """Values (C,) of a key."""
        return self.frame[at].array.take(self.first)
