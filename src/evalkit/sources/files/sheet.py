"""The content of a file with one table in it, whichever kind of file it turns out to be."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from pandas.api.extensions import ExtensionArray

from evalkit.errors import SourceError, nearest
from evalkit.sources.files.bytes import check_size, inflate, kind_of_file, open_compound, read_bytes
from evalkit.sources.files.cells import MAX_ROWS, Cell, cell_name, column_letters, refuse_unread
from evalkit.sources.files.columns import (
    Gaps,
    is_blank,
    refuse_marks,
    refuse_no_rows,
    strip_name,
    write_number,
    write_runs,
)
from evalkit.sources.files.form import (
    Chosen,
    ColumnHead,
    Ending,
    Form,
    Selection,
    choose,
    count_notes,
    holds_words,
    quote_lines,
    read_unit_cell,
    refuse_number,
    refuse_unit_row,
)
from evalkit.sources.files.html import read_web
from evalkit.sources.files.text import TextTable, decode_any, is_web, read_text
from evalkit.sources.files.xls import LegacyWorkbook
from evalkit.sources.files.xlsx import Grid, Sheet, Workbook
from evalkit.tables.text_columns import MISSING, Marks, are_mostly_numbers, parse_column

_LOOKED_AT = 100  # rows that are looked at to tell a header or a note


@dataclass(frozen=True)
class Content:
    """A frame indexed by the file's row numbers, the hash of the bytes it was read from, what is to be noted, the file (and
    sheet) that errors are to name, and which columns were chosen.

    Of several sheets, the index holds "sheet!row".
    """

    frame: pd.DataFrame
    sha256: str
    notes: list[str]
    where: str
    choice: Selection


def read_content(path: Path, where: str, form: Form) -> Content:
    """Read text (plain or gzip), a web page, Parquet, .xlsx or .xls, going by the bytes and never by the extension."""
    data = read_bytes(path, where)
    sha256 = hashlib.sha256(data).hexdigest()
    kind = kind_of_file(data, where)
    if kind in ("zip", "ole2"):
        frame, choice, notes, where = read_workbook(data, where, form)
        return Content(frame, sha256, notes, where, choice)
    if form.sheets:
        raise SourceError(
            f"sheets= names '{form.sheets[0]}', but this is no Excel workbook",
            where=where,
            remedy="leave sheets= out",
        )
    if kind == "parquet":
        from evalkit.sources.files.parquet import read_parquet  # pyarrow.parquet is only worth loading for Parquet

        frame, choice, notes = read_parquet(data, where, form)
        return Content(frame, sha256, notes, where, choice)
    if kind == "gzip":
        data = inflate(data, where)
        if kind_of_file(data, where) != "text":
            remedy = "unpack it, and give the path of the file inside"
            raise SourceError("the gzip file holds something other than text", where=where, remedy=remedy)
    check_size(len(data), where)
    content, notes = decode_any(data, where)
    if is_web(content):
        block = _find_block(read_web(content, where, single=True), where, form, "", Sheet(path.name, "", visible=True))
        frame, choice, said = _read_blocks([block], form)
    else:
        frame, choice, said = _read_text_table(read_text(content, where, form), where, form)
    return Content(frame, sha256, notes + said, where, choice)


_MAX_CELLS = 50_000_000


def _read_text_table(table: TextTable, where: str, form: Form) -> tuple[pd.DataFrame, Selection, list[str]]:
    head = f"{where}, row {table.header_line}"
    choice = choose(table.headings, form, head, lambda at: is_blank(table.columns[at]), table.remedy)
    if not table.lines:
        raise refuse_no_rows(where)
    columns, gaps = dict[str, Any](), Gaps(form.marks)
    for one in choice.read:
        cells, as_text = table.columns[one.at], one.name in form.text
        if not as_text:
            refuse_marks(cells, form.marks, partial(_name_field, where, table.lines, one.name))
        gaps.count(cells, one.name, as_text=as_text)
        columns[one.name] = parse_column(cells, as_text=as_text, marks=form.marks)
    frame = pd.DataFrame(columns, index=pd.Index(table.lines, name="row", dtype="int64"))
    return frame, choice, [*table.notes, *choice.notes, *gaps.notes(where)]


def _name_field(where: str, lines: Sequence[int], column: str, i: int) -> str:
    return f"{where}, row {lines[i]}, column '{column}'"


def read_workbook(data: bytes, where: str, form: Form) -> tuple[pd.DataFrame, Selection, list[str], str]:
    """Read the one table of a sheet, or of several; say in notes what is hidden, and return which sheet of which file it is.

    The table is the block of cells that hold something, its first row the header unless another is declared; rows without any
    value are skipped.
    """
    book, notes = open_book(data, where)
    sheets, said = _choose_sheets(book, form, where)
    blocks = [_find_block(book.read(sheet), f"{where}, {sheet.name}", form, sheet.name, sheet) for sheet in sheets]
    frame, choice, read = _read_blocks(blocks, form)
    return frame, choice, [*notes, *said, *read], where if len(blocks) > 1 else blocks[0].where


def open_book(data: bytes, where: str) -> tuple[Workbook | LegacyWorkbook, list[str]]:
    """Open a workbook of either kind; return what is to be noted, too."""
    if kind_of_file(data, where) == "zip":
        return Workbook(data, where), []
    inner, data, notes = open_compound(data, where)
    return (Workbook if inner == "xlsx" else LegacyWorkbook)(data, where), notes


def _choose_sheets(book: Workbook | LegacyWorkbook, form: Form, where: str) -> tuple[list[Sheet], list[str]]:
    """Find the sheets that are named; without a name, the one visible sheet that holds data."""
    if form.sheets:
        known = {sheet.name: sheet for sheet in book.sheets}
        for name in form.sheets:
            if name not in known:
                raise SourceError(f"there is no sheet '{name}'", where=where, remedy=nearest(name, known))
        chosen = [known[name] for name in form.sheets]
        return chosen, [f"sheet '{sheet.name}' is hidden" for sheet in chosen if not sheet.visible]
    filled = [sheet for sheet in book.sheets if book.has_data(sheet)]
    visible = [sheet for sheet in filled if sheet.visible]
    hidden = ", ".join(f"'{sheet.name}'" for sheet in filled if not sheet.visible)
    if len(visible) == 1:
        return visible, [f"hidden sheets were not read: {hidden}"] if hidden else []
    if not visible:
        what = f"only hidden sheets hold data: {hidden}" if hidden else "no sheet holds any data"
        remedy = f"name one by sheets=, or show it in Excel ({hidden})" if hidden else "export the data again"
        raise SourceError(what, where=where, remedy=remedy)
    listed = ", ".join(f"'{sheet.name}'" for sheet in visible)
    raise SourceError(f"{len(visible)} sheets hold data", where=where, remedy=f"name one by sheets=: {listed}")


@dataclass(frozen=True)
class _Block:
    """The table of one sheet or page: its cells, the rows of its data, its columns, and what stands above them.

    `sheet` is "" where the file has none. `remedy` says where else the header may stand.
    """

    grid: Grid
    where: str
    sheet: str
    rows: list[int]
    left: int
    headings: list[ColumnHead]
    bottom: int
    remedy: str
    notes: list[str]
    drawn: Sheet

    def place(self, row: int, at: int) -> str:
        """Name a cell for an error message."""
        return _name_cell(self.where, self.sheet, row, self.left + at)


def _name_cell(where: str, sheet: str, row: int, column: int) -> str:
    return f"{where}!{cell_name(row, column)}" if sheet else f"{where}, row {row}, column {column}"


def _find_block(grid: Grid, where: str, form: Form, sheet: str, drawn: Sheet) -> _Block:
    """Find header, data and notes on a sheet; raise SourceError where they are not where they were declared."""
    every = sorted(grid.cells)
    if not every:
        refuse_unread(grid.unread, where)
        remedy = "name a sheet with data by sheets=" if sheet else "export the data again"
        raise SourceError(f"sheet '{sheet}' is empty" if sheet else "the page is empty", where=where, remedy=remedy)
    top, bottom = form.header or (every[0], every[0])
    for row in (top, bottom):
        if row not in grid.cells:
            raise SourceError(
                f"header= names row {row}, which is empty",
                where=where,
                remedy=f"count its rows from 1, empty ones too; the first that holds something is row {every[0]}",
            )
    titles = [" ".join(map(_show, grid.cells[row].values())) for row in every if row < top]
    notes = [f"rows above the header were left out: {quote_lines(titles)}"] if titles else []
    rows = [row for row in every if row > bottom]
    levels = [row for row in every if top <= row <= bottom and row != form.unit_row]
    if form.unit_row is not None and not top <= form.unit_row <= bottom:
        if not rows or rows[0] != form.unit_row:
            raise refuse_unit_row(form.unit_row, rows[0] if rows else 0, bottom, where)
        rows = rows[1:]
    rows, said = _end_rows(grid, rows, levels, form, where, bottom)
    used = [*levels, *rows]
    left = min(min(grid.cells[row]) for row in used)
    right = max(max(grid.cells[row]) for row in used)
    if len(used) * (right - left + 1) > _MAX_CELLS:
        remedy = "save the sheet as CSV UTF-8"
        raise SourceError(f"the table has more than {_MAX_CELLS:,} cells", where=where, remedy=remedy)
    propose = _propose(grid, rows, bottom)
    remedy = f"if the names stand in row {propose}, below a title, pass header={propose}" if propose else ""
    spread = _spread_header(grid, (top, bottom), rows[-1] if rows else bottom, (left, right), where, form, remedy)
    refuse_unread([one for one in grid.unread if top <= one.row <= bottom and left <= one.column <= right], where)
    headings = []
    for column in range(left, right + 1):
        stack = (_read_heading(grid, spread, row, column, where, sheet) for row in levels)
        place = f"column {column_letters(column)} (cell {cell_name(bottom, column)})" if sheet else f"column {column}"
        heading = ColumnHead(place, tuple(name for name in stack if name))
        if form.unit_row is not None:
            at = _name_cell(where, sheet, form.unit_row, column)
            cell = _show(grid.cells.get(form.unit_row, {}).get(column, ""))
            refuse_number(cell, at)
            heading = ColumnHead(place, heading.levels, read_unit_cell(cell, heading, at))
        headings.append(heading)
    return _Block(grid, where, sheet, rows, left, headings, bottom, remedy, [*notes, *said], drawn)


def _end_rows(
    grid: Grid, rows: list[int], levels: list[int], form: Form, where: str, bottom: int
) -> tuple[list[int], list[str]]:
    """Leave out what stands below the table; say in notes what it is."""
    if form.last is not None:
        if form.last not in rows:
            known = f"the data stand in rows {rows[0]} to {rows[-1]}" if rows else f"the header ends in row {bottom}"
            raise SourceError(
                f"last= names row {form.last}, which is no row of the data", where=where, remedy=f"correct it; {known}"
            )
        kept = [row for row in rows if row <= form.last]
        return kept, [f"{len(rows) - len(kept)} rows below row {form.last} were left out (last=)"] * (
            len(kept) < len(rows)
        )
    width = len({column for row in [*levels, *rows[:_LOOKED_AT]] for column in grid.cells[row]})
    if width == 1:
        return rows, []
    endings: list[Ending] = []
    for i in range(len(rows) - 1, -1, -1):
        cells = grid.cells[rows[i]]
        column, cell = next(iter(cells.items()))
        if len(cells) != 1 or not isinstance(cell, str) or not holds_words(cell):
            break
        if len(endings) >= _LOOKED_AT:
            return rows, []
        above = (grid.cells[row].get(column) for row in rows[max(0, i - _LOOKED_AT) : i])
        endings.insert(0, Ending(rows[i], cell, [_show(one) for one in above if one is not None]))
    above_them = [row for row in rows if not endings or row < endings[0].row]
    count = count_notes(endings, where, above_them[-1] if above_them else bottom)
    if not count:
        return rows, []
    texts = [one.text for one in endings[len(endings) - count :]]
    return rows[: len(rows) - count], [f"notes below the table were left out: {quote_lines(texts)}"]


def _propose(grid: Grid, rows: list[int], bottom: int) -> int | None:
    """Return the first row with more filled cells than the header, and about as many as any of the first rows."""
    sizes = [(row, len(grid.cells[row])) for row in rows[:_LOOKED_AT]]
    most = max((size for _, size in sizes), default=0)
    return next((row for row, size in sizes if size >= max(most - 1, 2) and size > len(grid.cells[bottom])), None)


def _spread_header(
    grid: Grid,
    header: tuple[int, int],
    bottom: int,
    columns: tuple[int, int],
    where: str,
    form: Form,
    remedy: str,
) -> dict[tuple[int, int], tuple[int, int]]:
    """Return which cell of the header stands over which of its cells, where they are merged; refuse merged cells elsewhere."""
    covered = {}
    (top, last), (left, right) = header, columns
    for ref, first_row, first_column, last_row, last_column in grid.merged:
        if not (first_row <= bottom and last_row >= top and first_column <= right and last_column >= left):
            continue
        if form.header is not None and top <= first_row and last_row <= last:
            for row in range(first_row, last_row + 1):
                for column in range(first_column, min(last_column, right) + 1):
                    covered[row, column] = (first_row, first_column)
            continue
        several = "; a header of several rows is declared by header=(first, last)"
        raise SourceError(
            "the cells are merged, so it is not certain which rows and columns their value is for",
            where=f"{where}!{ref}",
            remedy="unmerge them and write the value into each cell it is for; "
            + (remedy or "delete title rows above the header")
            + several,
        )
    return covered


def _read_heading(
    grid: Grid, spread: Mapping[tuple[int, int], tuple[int, int]], row: int, column: int, where: str, sheet: str
) -> str:
    from_row, from_column = spread.get((row, column), (row, column))
    if from_row != row:
        return ""  # merged downwards: it was read in the first of these rows
    cell = grid.cells[row].get(from_column, "")
    if isinstance(cell, (bool, dt.datetime)):
        raise SourceError(
            "the header holds a date or a truth value where the name of a column should be",
            where=_name_cell(where, sheet, row, column),
            remedy="write the name as text",
        )
    return strip_name(_show(cell))


def _read_blocks(blocks: Sequence[_Block], form: Form) -> tuple[pd.DataFrame, Selection, list[str]]:
    """Read the columns of one or several tables with the same header, one below the other."""
    several = len(blocks) > 1
    choices, notes = list[Selection](), list[str]()
    for block in blocks:
        empty = _emptiness(block)
        choices.append(choose(block.headings, form, block.where, empty, block.remedy))
        notes += [f"{block.sheet}: {note}" if several else note for note in [*block.notes, *choices[-1].notes]]
    picks = [{one.name: one for one in choice.read} for choice in choices]
    _refuse_different(blocks, picks)
    names = list(picks[0])
    where = blocks[0].where
    for block, pick in zip(blocks, picks, strict=True):
        used = {block.left + one.at for one in pick.values()}
        last = block.rows[-1] if form.last is not None and block.rows else MAX_ROWS
        refuse_unread(
            [one for one in block.grid.unread if block.bottom < one.row <= last and one.column in used], block.where
        )
        if not block.rows:
            raise refuse_no_rows(block.where)
        notes += note_hidden(
            _columns_only(block.grid, used), [block.bottom, *block.rows], min(used), max(used), block.drawn
        )
    spots = [(block, row) for block in blocks for row in block.rows]
    columns, gaps = dict[str, Any](), Gaps(form.marks)
    if several:
        if "sheet" in names:
            raise SourceError(
                "the sheets have a column 'sheet', which is what the column with their names would be called",
                where=where,
                remedy='read it under another name: columns={"…": "sheet", …}',
            )
        columns["sheet"] = pd.array([block.sheet for block, _ in spots], dtype="str")
    for name in names:
        cells = [
            block.grid.cells[row].get(block.left + pick[name].at)
            for block, pick in zip(blocks, picks, strict=True)
            for row in block.rows
        ]
        ats = {id(block): pick[name].at for block, pick in zip(blocks, picks, strict=True)}
        place = _Placed(spots, ats)
        columns[name] = _read_column(cells, place, name, form, gaps)
    labels = [f"{block.sheet}!{row}" for block, row in spots] if several else [row for _, row in spots]
    index = pd.Index(labels, name="row", dtype="str" if several else "int64")
    return pd.DataFrame(columns, index=index), choices[0], notes + gaps.notes(where)


@dataclass(frozen=True)
class _Placed:
    """Name the cells of a column that stands in one or several sheets."""

    spots: Sequence[tuple[_Block, int]]
    ats: Mapping[int, int]

    def __call__(self, i: int) -> str:
        """Name the cell of the i-th row."""
        block, row = self.spots[i]
        return block.place(row, self.ats[id(block)])


def _emptiness(block: _Block) -> Callable[[int], bool]:
    filled = {column - block.left for row in block.rows for column in block.grid.cells[row]}
    return lambda at: at not in filled


def _columns_only(grid: Grid, used: Collection[int]) -> Grid:
    hidden = [(c, c) for first, last in grid.hidden_columns for c in range(first, last + 1) if c in used]
    return Grid(hidden_rows=grid.hidden_rows, hidden_columns=hidden)


def _refuse_different(blocks: Sequence[_Block], picks: Sequence[Mapping[str, Chosen]]) -> None:
    """Raise SourceError where the sheets do not have the same columns in the same units."""
    first, names = blocks[0], picks[0]
    for block, pick in zip(blocks[1:], picks[1:], strict=True):
        lacking = [name for name in names if name not in pick]
        more = [name for name in pick if name not in names]
        if lacking or more:
            said = [f"lacks {', '.join(map(repr, lacking))}"] * bool(lacking) + [
                f"has {', '.join(map(repr, more))}"
            ] * bool(more)
            raise SourceError(
                f"sheet '{block.sheet}' {' and '.join(said)}, unlike sheet '{first.sheet}'",
                where=block.where,
                remedy="choose by columns= those that all sheets have, or read the sheets apart",
            )
        for name, one in pick.items():
            if (one.unit or "") != (names[name].unit or ""):
                raise SourceError(
                    f"'{name}' is in {names[name].unit or 'no unit'} in sheet '{first.sheet}' and in {one.unit or 'no unit'} in "
                    f"sheet '{block.sheet}'",
                    where=block.where,
                    remedy="read the sheets apart, and convert one of them",
                )


def _read_column(
    cells: Sequence[Cell | None], place: Callable[[int], str], name: str, form: Form, gaps: Gaps
) -> ExtensionArray | NDArray[np.generic]:
    """Read a column as datetime64, number, truth value or text; raise SourceError on a mix that cannot be told."""
    marks, as_text = form.marks, name in form.text
    if marks.missing:
        missing = gaps.count(_texts(cells), name, as_text=as_text)
        cells = [None if (show_cell(cell) or "").strip() in missing else cell for cell in cells]
    cells = [None if isinstance(cell, str) and cell in MISSING else cell for cell in cells]
    kinds = _kinds(cells)
    if not as_text:
        if str in kinds and not marks.are_usual:
            cells = _read_marks(cells, place, marks)
            kinds = _kinds(cells)
        for odd, others in ((dt.datetime, "dates"), (bool, "truth values")):
            mixed = kinds - {odd} if odd is dt.datetime else kinds & {float}
            if odd in kinds and mixed:
                raise _refuse_mix(cells, place, odd, others)
        if kinds == {dt.datetime}:
            return np.array(cells, dtype="datetime64[us]")
        if kinds == {float}:
            numbers = np.array(cells, dtype=np.float64)
            return numbers.astype(np.int64) if np.all(np.floor(numbers) == numbers) else numbers
    return parse_column(_texts(cells), as_text=as_text)


def _kinds(cells: Sequence[Cell | None]) -> set[type]:
    return {float if isinstance(cell, float) else type(cell) for cell in cells if cell is not None}


def _read_marks(cells: Sequence[Cell | None], place: Callable[[int], str], marks: Marks) -> list[Cell | None]:
    """Write the numbers among the texts of a column without their marks, where most of the column are numbers then."""
    texts = pa.chunked_array([pa.array([cell if isinstance(cell, str) else None for cell in cells], pa.string())])
    refuse_marks(texts, marks, place)
    plain = [cell if word is None else word for cell, word in zip(cells, marks.read(texts)[0].to_pylist(), strict=True)]
    return plain if are_mostly_numbers(_texts(plain)) else list(cells)


def _texts(cells: Sequence[Cell | None]) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array([show_cell(cell) for cell in cells], pa.string())])


def _refuse_mix(cells: Sequence[Cell | None], place: Callable[[int], str], odd: type, others: str) -> SourceError:
    alike = [isinstance(cell, odd) for cell in cells if cell is not None]
    fewer_odd = sum(alike) * 2 <= len(alike)
    at = next(i for i, cell in enumerate(cells) if cell is not None and isinstance(cell, odd) == fewer_odd)
    said = f"is one of {sum(alike)} {others}" if fewer_odd else f"is not among the {sum(alike)} {others}"
    return SourceError(
        f"the cell {said} in a column of {len(alike)} values, so the column cannot be read as one kind",
        where=place(at),
        remedy="give every cell of the column the same kind of value, or name the column in text=",
    )


def _show(cell: Cell) -> str:
    return show_cell(cell) or ""


def show_cell(cell: Cell | None) -> str | None:
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
