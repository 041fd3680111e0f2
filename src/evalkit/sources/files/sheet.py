"""The content of a file with one table in it, whichever kind of file it turns out to be."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from pandas.api.extensions import ExtensionArray

from evalkit.errors import SourceError, nearest
from evalkit.sources.files.bytes import check_size, inflate, read_bytes, sniff
from evalkit.sources.files.cells import Cell, cell_name, column_letters, refuse_unread
from evalkit.sources.files.columns import MISSING, check_names, parse_column, refuse_no_rows, write_number, write_runs
from evalkit.sources.files.text import read_text
from evalkit.sources.files.xlsx import Grid, Sheet, Workbook


@dataclass(frozen=True)
class Content:
    """A frame indexed by the file's row numbers, the hash of the bytes it was read from, what is to be noted, and the file
    (and sheet) that errors are to name."""

    frame: pd.DataFrame
    sha256: str
    notes: list[str]
    where: str


def read_content(path: Path, where: str, *, sheet: str | None, text: Collection[str]) -> Content:
    """Read text (plain or gzip), Parquet or .xlsx, going by the bytes and never by the extension."""
    data = read_bytes(path, where)
    sha256 = hashlib.sha256(data).hexdigest()
    kind = sniff(data, where)
    if kind == "zip":
        frame, notes, where = read_workbook(data, where, sheet, text)
        return Content(frame, sha256, notes, where)
    if sheet is not None:
        raise SourceError(
            f"sheet='{sheet}' was given, but this is no Excel workbook", where=where, remedy="leave sheet= out"
        )
    if kind == "parquet":
        from evalkit.sources.files.parquet import read_parquet  # pyarrow.parquet is only worth loading for Parquet

        frame, notes = read_parquet(data, where, text)
        return Content(frame, sha256, notes, where)
    if kind == "gzip":
        data = inflate(data, where)
        if sniff(data, where) != "text":
            remedy = "unpack it, and give the path of the file inside"
            raise SourceError("the gzip file holds something other than text", where=where, remedy=remedy)
    check_size(len(data), where)
    frame, notes = read_text(data, where, text)
    return Content(frame, sha256, notes, where)


_MAX_CELLS = 50_000_000


def read_workbook(
    data: bytes, where: str, sheet: str | None, text: Collection[str]
) -> tuple[pd.DataFrame, list[str], str]:
    """Read the one table of a sheet; say in notes what is hidden, and which sheet of which file it is.

    The table is the block of cells that hold something, its first row the header; rows without any value are skipped.
    """
    book = Workbook(data, where)
    chosen, notes = _choose(book, sheet, where)
    grid = book.read(chosen)
    where = f"{where}, {chosen.name}"
    refuse_unread(grid.unread, where)
    rows = sorted(grid.cells)
    if not rows:
        raise SourceError(f"sheet '{chosen.name}' is empty", where=where, remedy="name a sheet with data by sheet=")
    left = min(min(cells) for cells in grid.cells.values())
    right = max(max(cells) for cells in grid.cells.values())
    _refuse_merged(grid, rows[0], rows[-1], left, right, where)
    names = _read_header(grid.cells[rows[0]], rows[0], range(left, right + 1), where)
    if len(rows) == 1:
        raise refuse_no_rows(where)
    if len(rows) * len(names) > _MAX_CELLS:
        remedy = "save the sheet as CSV UTF-8"
        raise SourceError(f"the table has more than {_MAX_CELLS:,} cells", where=where, remedy=remedy)
    columns = {}
    for column, name in enumerate(names, start=left):
        cells = [grid.cells[row].get(column) for row in rows[1:]]
        columns[name] = _read_column(cells, rows[1:], column, where, as_text=name in text)
    notes += note_hidden(grid, rows, left, right, chosen)
    return pd.DataFrame(columns, index=pd.Index(rows[1:], name="row", dtype="int64")), notes, where


def _choose(book: Workbook, wanted: str | None, where: str) -> tuple[Sheet, list[str]]:
    if wanted is not None:
        for sheet in book.sheets:
            if sheet.name == wanted:
                return sheet, [] if sheet.visible else [f"sheet '{wanted}' is hidden"]
        raise SourceError(
            f"there is no sheet '{wanted}'", where=where, remedy=nearest(wanted, [sheet.name for sheet in book.sheets])
        )
    filled = [sheet for sheet in book.sheets if book.has_data(sheet)]
    visible = [sheet for sheet in filled if sheet.visible]
    hidden = ", ".join(f"'{sheet.name}'" for sheet in filled if not sheet.visible)
    if len(visible) == 1:
        return visible[0], [f"hidden sheets were not read: {hidden}"] if hidden else []
    if not visible:
        what = f"only hidden sheets hold data: {hidden}" if hidden else "no sheet holds any data"
        remedy = f"name one by sheet=, or show it in Excel ({hidden})" if hidden else "export the data again"
        raise SourceError(what, where=where, remedy=remedy)
    listed = ", ".join(f"'{sheet.name}'" for sheet in visible)
    raise SourceError(f"{len(visible)} sheets hold data", where=where, remedy=f"name one by sheet=: {listed}")


def _refuse_merged(grid: Grid, top: int, bottom: int, left: int, right: int, where: str) -> None:
    for ref, first_row, first_column, last_row, last_column in grid.merged:
        if first_row <= bottom and last_row >= top and first_column <= right and last_column >= left:
            raise SourceError(
                "the cells are merged, so it is not certain which rows and columns their value is for",
                where=f"{where}!{ref}",
                remedy="unmerge them and write the value into each cell it is for; delete title rows above the header",
            )


def _read_header(cells: dict[int, Cell], row: int, columns: range, where: str) -> list[str]:
    names = []
    for column in columns:
        cell = cells.get(column, "")
        if isinstance(cell, (bool, dt.datetime)):
            raise SourceError(
                "the header holds a date or a truth value where the name of a column should be",
                where=f"{where}!{cell_name(row, column)}",
                remedy="write the name as text",
            )
        names.append(write_number(cell) if isinstance(cell, float) else cell)
    places = [f"column {column_letters(column)} (cell {cell_name(row, column)})" for column in columns]
    return check_names(names, places, where)


def _read_column(
    cells: Sequence[Cell | None], rows: Sequence[int], column: int, where: str, *, as_text: bool
) -> ExtensionArray | NDArray[np.generic]:
    """Read a column as datetime64, number, truth value or text; raise SourceError on a mix that cannot be told."""
    cells = [None if isinstance(cell, str) and cell in MISSING else cell for cell in cells]
    kinds = {type(cell) for cell in cells if cell is not None}
    if not as_text:
        for odd, others in ((dt.datetime, "dates"), (bool, "truth values")):
            mixed = kinds - {odd} if odd is dt.datetime else kinds & {float}
            if odd in kinds and mixed:
                raise _refuse_mix(cells, rows, column, odd, others, where)
        if kinds == {dt.datetime}:
            return np.array(cells, dtype="datetime64[us]")
        if kinds == {float}:
            numbers = np.array(cells, dtype=np.float64)
            return numbers.astype(np.int64) if np.all(np.floor(numbers) == numbers) else numbers
    return parse_column(pa.chunked_array([pa.array([_write(cell) for cell in cells], pa.string())]), as_text=as_text)


def _refuse_mix(
    cells: Sequence[Cell | None], rows: Sequence[int], column: int, odd: type, others: str, where: str
) -> SourceError:
    alike = [isinstance(cell, odd) for cell in cells if cell is not None]
    fewer_odd = sum(alike) * 2 <= len(alike)
    row = next(r for r, c in zip(rows, cells, strict=True) if c is not None and isinstance(c, odd) == fewer_odd)
    said = f"is one of {sum(alike)} {others}" if fewer_odd else f"is not among the {sum(alike)} {others}"
    return SourceError(
        f"the cell {said} in a column of {len(alike)} values, so the column cannot be read as one kind",
        where=f"{where}!{cell_name(row, column)}",
        remedy="give every cell of the column the same kind of value, or name the column in text=",
    )


def _write(cell: Cell | None) -> str | None:
    """Write a cell as text; numbers in the shortest form that reads back the same."""
    if isinstance(cell, bool):
        return str(cell).upper()
    if isinstance(cell, float):
        return write_number(cell)
    if isinstance(cell, dt.datetime):
        return cell.date().isoformat() if cell.time() == dt.time() else str(cell)
    return cell


def note_hidden(grid: Grid, rows: list[int], left: int, right: int, sheet: Sheet) -> list[str]:
    """Say which rows and columns that were read are hidden."""
    notes = []
    read = set(rows)
    if hidden := sorted(row for row in grid.hidden_rows if row in read):
        notes.append(f"{len(hidden)} hidden rows of sheet '{sheet.name}' were read: {write_runs(hidden)}")
    spans = [range(max(first, left), min(last, right) + 1) for first, last in grid.hidden_columns]
    if letters := [column_letters(column) for span in spans for column in span]:
        notes.append(f"{len(letters)} hidden columns of sheet '{sheet.name}' were read: {', '.join(letters)}")
    return notes
