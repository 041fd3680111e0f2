"""The pages of a yearbook file as cells: the sheets of a workbook, or a text export as one page."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from evalkit.errors import SourceError, nearest
from evalkit.sources._cells import Cell, cell_name
from evalkit.sources._file import inflate, read_bytes, sniff
from evalkit.sources._sheet import note_hidden
from evalkit.sources._text import decode, find_separator, split_records
from evalkit.sources._workbook import Grid, Sheet, Workbook

_MAX_TEXT = 50_000_000  # bytes; a page is held cell by cell, and the largest yearbook tables have a hundredth of this


@dataclass(frozen=True)
class Spot:
    """A cell and the columns over which it stands, which are several where it is merged."""

    row: int
    column: int
    right: int
    cell: Cell

    def spans(self, column: int) -> bool:
        """Tell whether it stands in this column."""
        return self.column <= column <= self.right


@dataclass(frozen=True)
class Page:
    """One page: its sheet (None for a text file, whose rows are lines and whose columns are fields) and its cells."""

    file: str
    sheet: str | None
    grid: Grid

    @property
    def where(self) -> str:
        """Name the file, and the sheet where there is one."""
        return self.file if self.sheet is None else f"{self.file}, {self.sheet}"

    def place(self, row: int, column: int) -> str:
        """Name a cell for an error message."""
        if self.sheet is None:
            return f"{self.file}, row {row}, column {column}"
        return f"{self.where}!{cell_name(row, column)}"

    def address(self, row: int, column: int) -> str:
        """Name a cell within the file."""
        return cell_name(row, column) if self.sheet is None else f"{self.sheet}!{cell_name(row, column)}"

    def spread(self, row: int) -> dict[int, Spot]:
        """Return the cells of a row by column, a merged cell in each column that it covers."""
        spots = {column: Spot(row, column, column, cell) for column, cell in self.grid.cells.get(row, {}).items()}
        for _, top, left, bottom, right in self.grid.merged:
            cell = self.grid.cells.get(top, {}).get(left) if top <= row <= bottom else None
            if cell is not None:
                spot = Spot(top, left, right, cell)
                spots |= dict.fromkeys(range(left, min(right, self.width) + 1), spot)
        return spots

    @cached_property
    def rows(self) -> list[int]:
        """Rows that hold something, ascending."""
        return sorted(self.grid.cells)

    @cached_property
    def width(self) -> int:
        """Last column that holds something."""
        return max((max(cells) for cells in self.grid.cells.values()), default=0)


@dataclass(frozen=True)
class Pages:
    """The pages that were asked for, the hash of the bytes they were read from, and what is to be noted."""

    pages: list[Page]
    sha256: str
    notes: list[str]


def read_pages(path: Path, where: str, sheets: tuple[str, ...]) -> Pages:
    """Read the named sheets of an .xlsx (all visible ones with data where none is named), or a text file (plain or gzip)."""
    data = read_bytes(path, where)
    sha256 = hashlib.sha256(data).hexdigest()
    kind = sniff(data, where)
    if kind == "zip":
        pages, notes = _read_sheets(Workbook(data, where), sheets)
        return Pages(pages, sha256, notes)
    if sheets:
        raise SourceError(
            f"sheets={sheets} was given, but this is no Excel workbook", where=where, remedy="leave it out"
        )
    if kind == "gzip":
        data = inflate(data, where)
        kind = sniff(data, where)
    if kind != "text":
        raise SourceError(
            "a yearbook is read from an .xlsx workbook or from text, and this is neither",
            where=where,
            remedy="read Parquet with Delimited; unpack an archive, and give the path of the file inside",
        )
    if len(data) > _MAX_TEXT:
        raise SourceError(
            f"the file holds more than {_MAX_TEXT / 1e6:g} MB of text, far more than a table of a yearbook",
            where=where,
            remedy="read a table with one header row with Delimited",
        )
    content, notes = decode(data, where)
    grid = Grid()
    for line, record in split_records(content, find_separator(content, where), where):
        if cells := {column: text for column, field in enumerate(record, start=1) if (text := field.strip())}:
            grid.cells[line] = dict(cells)
    return Pages([Page(where, None, grid)], sha256, notes)


def _read_sheets(book: Workbook, wanted: tuple[str, ...]) -> tuple[list[Page], list[str]]:
    names = [sheet.name for sheet in book.sheets]
    for name in wanted:
        if name not in names:
            raise SourceError(f"there is no sheet '{name}'", where=book.where, remedy=nearest(name, names))
    notes, pages = list[str](), list[Page]()
    for sheet in book.sheets:
        if sheet.name not in wanted if wanted else not book.has_data(sheet):
            continue
        if not wanted and not sheet.visible:
            notes.append(f"hidden sheet '{sheet.name}' was not read")
            continue
        page = Page(book.where, sheet.name, book.read(sheet))
        notes += _note_hidden(page, sheet)
        pages.append(page)
    return pages, notes


def _note_hidden(page: Page, sheet: Sheet) -> list[str]:
    notes = [] if sheet.visible else [f"sheet '{sheet.name}' is hidden"]
    return notes + note_hidden(page.grid, page.rows, 1, page.width, sheet)
