"""Engine: reads a frame larger than memory, groups its rows, and gives back the few that are left."""

from __future__ import annotations

import math
from typing import Any, Protocol

import narwhals as nw
import pyarrow as pa

from evalkit.errors import DataError, nearest

Frame = nw.LazyFrame[Any]
"""A frame that an engine has not carried out yet."""


class Engine(Protocol):
    """Carries out what is asked of a lazy frame; made for one frame, and closed when it is done with.

    `rows` are the rows of the frame, with the columns asked for; `is_text` says that every column is text as it stands in a file.
    """

    rows: Frame
    is_text: bool

    def keep(self, frame: Frame) -> Frame:
        """Carry out a frame now, so that what uses it twice pays once; it stays with the engine, not in this process."""
        ...

    def lift(self, table: pa.Table) -> Frame:
        """Hand a small table to the engine, to be joined there."""
        ...

    def fetch(self, frame: Frame) -> pa.Table:
        """Carry out a frame and take its rows; they must be few. Raises SourceError where the engine cannot."""
        ...

    def close(self) -> None:
        """Let go of everything that was kept."""
        ...


class Prepared:
    """An engine whose rows have been worked on: joined, derived, read from text."""

    is_text = False

    def __init__(self, engine: Engine, rows: Frame) -> None:
        self.rows = rows
        self.keep, self.lift, self.fetch, self.close = engine.keep, engine.lift, engine.fetch, engine.close


def known_numbers(cell: nw.Expr) -> nw.Expr:
    """Make NaN missing, and leave what is infinite.

    Not by is_nan(): DuckDB 2.0 takes it for false in a Parquet file whose statistics leave NaN out, as pyarrow writes them
    (`findings/duckdb_isnan_is_false_by_parquet_statistics.sh`).
    """
    return nw.when(cell.is_finite() | (cell.abs() == math.inf)).then(cell)


def require_distinct_columns(names: list[str], wanted: tuple[str, ...], where: str) -> None:
    """Raise DataError where a wanted column is missing, or another differs from it by capitals alone.

    DuckDB and Spark do not tell such names apart: DuckDB answers with whichever column stands first.
    """
    for column in wanted:
        if column not in names:
            raise DataError(f"there is no column '{column}'", where=where, remedy=nearest(column, names))
    folded: dict[str, list[str]] = {}
    for name in names:
        folded.setdefault(name.casefold(), []).append(name)
    for column in wanted:
        alike = folded[column.casefold()]
        if names.count(column) > 1:
            raise DataError(f"column '{column}' stands twice", where=where, remedy="rename or drop one of them")
        if len(alike) > 1:
            listed = " and ".join(f"'{name}'" for name in alike[:3])
            raise DataError(
                f"the columns {listed} differ in their capitals only, which DuckDB and Spark do not tell apart",
                where=where,
                remedy="rename one of them in the file",
            )
