"""Widening: a step from a long table to a wide one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from evalkit.tables.table import Table
from evalkit.tables.widening import widen


@dataclass(frozen=True, kw_only=True)
class Widen:
    """A row per combination of keys, a column per series: see `evalkit.widen`.

    of       the long table.
    keys     the columns that identify its rows afterwards.
    names    the columns whose words tell the series apart.
    value    the column of values.
    unit     the column of their units.
    columns  names in the study → series (its names joined by " / "); all series, if left out.
    convert  columns → the unit that they are put into.
    flag     a column of marks, which are counted.
    """

    of: str
    keys: tuple[str, ...]
    names: tuple[str, ...]
    value: str
    unit: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict, hash=False)
    convert: Mapping[str, str] = field(default_factory=dict, hash=False)
    flag: str | None = None

    def reads(self) -> tuple[str, ...]:
        """The long table."""
        return (self.of,)

    def files(self) -> tuple[Path, ...]:
        """None."""
        return ()

    def run(self, tables: Mapping[str, Table]) -> Table:
        """Widen. Raises as `evalkit.widen` does."""
        return widen(
            tables[self.of],
            keys=self.keys,
            names=self.names,
            value=self.value,
            unit=self.unit,
            columns=self.columns or None,
            convert=self.convert or None,
            flag=self.flag,
        )
