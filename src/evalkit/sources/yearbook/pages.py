"""The pages of a yearbook file as cells: the sheets of a workbook, a web page, or a text export."""

from __future__ import annotations

import hashlib
import re
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import NamedTuple, Protocol

from evalkit.errors import SourceError, nearest
from evalkit.sources.files.bytes import PICTURES, inflate, kind_of_file, open_compound, read_bytes
from evalkit.sources.files.cells import Cell, UnreadCell, cell_name
from evalkit.sources.files.html import read_web
from evalkit.sources.files.sheet import note_hidden
from evalkit.sources.files.text import SEPARATORS, decode_any, is_web, split_records
from evalkit.sources.files.xls import LegacyWorkbook
from evalkit.sources.files.xlsx import Grid, Sheet, Workbook

_MAX_TEXT = 50_000_000  # bytes; a page is held cell by cell, and the largest yearbook tables have a hundredth of this
MOST_CELLS = 200_000
"""Cells of a page, rows under its merged cells, or values of an export that are read at once; yearbooks have a tenth of it."""

_MOST_OF_EXPORT = 5_000_000  # cells of a page that holds an export, of which only the series wanted are read


_BULK = re.compile(
    r"[A-Za-z0-9_]+(?:,[A-Za-z0-9_]+)*\\[A-Za-z_]+\s*\t"
)  # unit,geo\time: fields end with tabs, codes with commas


class Book(Protocol):
    """A workbook of either kind."""

    where: str
    sheets: list[Sheet]

    def has_data(self, sheet: Sheet) -> bool:
        """Tell whether any cell of the sheet holds something."""

    def has_pictures(self, sheet: Sheet) -> bool:
        """Tell whether a picture lies on the sheet."""

    def read(self, sheet: Sheet) -> Grid:
        """Read a sheet."""


class Spot(NamedTuple):
    """A cell and the rows and columns over which it stands, which are several where it is merged."""

    row: int
    column: int
    bottom: int
    right: int
    cell: Cell

    def spans(self, column: int) -> bool:
        """Tell whether it stands in this column."""
        return self.column <= column <= self.right

    @property
    def is_single(self) -> bool:
        """Tell a cell that is not merged."""
        return (self.row, self.column) == (self.bottom, self.right)


class _Spread(Mapping[int, Spot]):
    """A row by column. Its cells are made as they are asked for: mostly one is, in a row that may have thousands."""

    def __init__(self, row: int, cells: Mapping[int, Cell], covered: Mapping[int, Spot]) -> None:
        self._row, self._cells, self._covered = row, cells, covered

    def __getitem__(self, column: int) -> Spot:
        if (spot := self._covered.get(column)) is not None:
            return spot
        return Spot(self._row, column, self._row, column, self._cells[column])

    def __contains__(self, column: object) -> bool:
        return column in self._cells or column in self._covered

    def __iter__(self) -> Iterator[int]:
        return iter(dict.fromkeys([*self._cells, *self._covered]))

    def __len__(self) -> int:
        return len(self._cells.keys() | self._covered.keys())


@dataclass(frozen=True, eq=False)
class Page:
    """One page: its sheet (None for text and web pages, whose rows are lines and whose columns are fields) and its cells.

    `keys` remembers in which column the name of a row stands, as far as that was looked up.
    """

    file: str
    sheet: str | None
    grid: Grid
    keys: dict[int, int | None] = field(default_factory=dict, repr=False)

    @property
    def name(self) -> str:
        """Return the name of the file, without its folder."""
        return PurePosixPath(self.file).name

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

    def spread(self, row: int) -> Mapping[int, Spot]:
        """Return the cells of a row by column, a merged cell in each column that it covers."""
        covered: dict[int, Spot] = {}
        for spot in self._merged.get(row, ()):
            covered |= dict.fromkeys(range(spot.column, min(spot.right, self.width) + 1), spot)
        return _Spread(row, self.grid.cells.get(row, {}), covered)

    def part(self, top: int, bottom: int, left: int, right: int) -> Page:
        """Return the cells of some rows and columns, at the places where they stand; merged cells are cut to them."""
        cells, is_whole = {}, left <= 1 and right >= self.width
        for row in self.rows[bisect_left(self.rows, top) : bisect_right(self.rows, bottom)]:
            if is_whole:
                cells[row] = self.grid.cells[row]
            elif inside := {column: cell for column, cell in self.grid.cells[row].items() if left <= column <= right}:
                cells[row] = inside
        merged = [
            (ref, first, one, min(last, bottom), min(other, right))
            for ref, first, one, last, other in self.grid.merged
            if top <= first <= bottom and left <= one <= right
        ]
        unread = [one for one in self.grid.unread if top <= one.row <= bottom and left <= one.column <= right]
        return Page(self.file, self.sheet, Grid(cells, merged, unread=unread), self.keys if is_whole else {})

    @cached_property
    def unread(self) -> dict[tuple[int, int], UnreadCell]:
        """Cells whose value is not known, by row and column; what they show stands among the others."""
        return {(one.row, one.column): one for one in self.grid.unread}

    @cached_property
    def rows(self) -> list[int]:
        """Rows that hold something, ascending."""
        return sorted(self.grid.cells)

    @cached_property
    def width(self) -> int:
        """Last column that holds something."""
        return max((max(cells) for cells in self.grid.cells.values()), default=0)

    @cached_property
    def _merged(self) -> dict[int, list[Spot]]:
        """Merged cells that hold something, by the rows under them; a row that holds nothing else counts as empty."""
        found: dict[int, list[Spot]] = {}
        size = 0
        for ref, top, left, bottom, right in self.grid.merged:
            cell = self.grid.cells.get(top, {}).get(left)
            if cell is None:
                continue
            under = self.rows[bisect_left(self.rows, top) : bisect_right(self.rows, bottom)]
            size += len(under)
            if size > MOST_CELLS:
                remedy = "copy the table alone into a new workbook"
                raise SourceError("there are too many merged cells", where=f"{self.where}!{ref}", remedy=remedy)
            for row in under:
                found.setdefault(row, []).append(Spot(top, left, bottom, right, cell))
        return found


@dataclass(frozen=True)
class Pages:
    """The pages that were asked for, the hash of the bytes they were read from, and what is to be noted."""

    pages: list[Page]
    sha256: str
    notes: list[str]


def read_pages(path: Path, where: str, sheets: Sequence[str]) -> Pages:
    """Read the named sheets of a workbook (all visible ones with data where none is named), a web page or a text file.

    The kind of file is told from its bytes: .xlsx and .xls, both also encrypted under Excel's default password, HTML, and text
    with separators, which may be gzipped.
    """
    data = read_bytes(path, where)
    sha256 = hashlib.sha256(data).hexdigest()
    kind = kind_of_file(data, where)
    notes = list[str]()
    if kind in ("zip", "ole2"):
        book: Book
        if kind == "ole2":
            inner, data, notes = open_compound(data, where)
            book = Workbook(data, where) if inner == "xlsx" else LegacyWorkbook(data, where)
        else:
            book = Workbook(data, where)
        pages, said = _read_sheets(book, sheets)
        return Pages(pages, sha256, notes + said)
    if sheets:
        raise SourceError(
            f"sheets={tuple(sheets)} was given, but this is no Excel workbook", where=where, remedy="leave it out"
        )
    if kind == "gzip":
        data = inflate(data, where, _MAX_TEXT)
        kind = kind_of_file(data, where)
    if kind != "text":
        raise SourceError(
            "a yearbook is read from a workbook, a web page or text, and this is neither",
            where=where,
            remedy="read Parquet with Delimited; unpack an archive, and give the path of the file inside",
        )
    if len(data) > _MAX_TEXT:
        raise SourceError(
            f"the file holds more than {_MAX_TEXT / 1e6:g} MB of text, far more than a table of a yearbook",
            where=where,
            remedy="read a table with one header row with Delimited",
        )
    content, notes = decode_any(data, where)
    grid = read_web(content, where) if is_web(content) else _read_lines(content, where)
    page = Page(where, None, grid)
    _refuse_beyond(page, _MOST_OF_EXPORT)
    notes += note_hidden(grid, page.rows, 1, page.width, Sheet(path.name, "", visible=True))
    return Pages([page], sha256, notes)


def _read_lines(content: str, where: str) -> Grid:
    grid, known = Grid(), dict[str, str]()  # words that stand in many cells are held once
    for line, record in split_records(*_separate(content), where):
        cells: dict[int, Cell] = {
            c: known.setdefault(text, text) for c, word in enumerate(record, 1) if (text := word.strip())
        }
        if cells:
            grid.cells[line] = cells
            grid.widths[line] = len(record)
    return grid


def _separate(content: str) -> tuple[str, str]:
    """Return the text and its separator. Some sites end each field with a tab and a comma, which become one tab."""
    lines = [line.rstrip() for line in content.splitlines() if "\t," in line]
    paired = sum(line.count("\t,") == line.count("\t") == line.count(",") for line in lines)
    if paired * 2 > len(lines):
        content = content.replace("\t,", "\t")
    return content, _find_separator(content)


def _find_separator(content: str) -> str:
    """Choose the separator that stands equally often in most lines, a tab before others; titles and notes have none.

    A tab before a comma is none: it stands behind codes, so that Excel takes them for text. Eurostat's fields end with tabs.
    """
    if _BULK.match(content):
        return "\t"
    lines = content.replace("\t,", ",").splitlines()
    found: dict[str, tuple[int, bool, int]] = {}
    for separator in SEPARATORS:
        counts = Counter(number for line in lines if (number := line.count(separator)))
        number, times = max(counts.items(), key=lambda item: (item[1], item[0]), default=(0, 0))
        found[separator] = (times, separator == "\t", number)
    return max(found, key=lambda separator: found[separator])


def _read_sheets(book: Book, wanted: Sequence[str]) -> tuple[list[Page], list[str]]:
    names = [sheet.name for sheet in book.sheets]
    for name in wanted:
        if name not in names:
            raise SourceError(f"there is no sheet '{name}'", where=book.where, remedy=nearest(name, names))
    notes, pages, pictured = list[str](), list[Page](), list[str]()
    for sheet in book.sheets:
        if wanted and sheet.name not in wanted:
            continue
        if not (wanted or sheet.visible):
            notes += [f"hidden sheet '{sheet.name}' was not read"] if book.has_data(sheet) else []
            continue
        grid = book.read(sheet)
        for one in grid.unread:  # what they show keeps their place
            grid.cells.setdefault(one.row, {})[one.column] = one.text or "?"
        page = Page(book.where, sheet.name, grid)
        if not page.grid.cells:
            if book.has_pictures(sheet):
                pictured.append(f"sheet '{sheet.name}' holds pictures and no cells")
            if pictured or not wanted:
                continue
        _refuse_beyond(page, _MOST_OF_EXPORT)
        notes += _note_hidden(page, sheet)
        pages.append(page)
    if pictured and (wanted or not pages):
        raise SourceError("; ".join(pictured), where=book.where, remedy=PICTURES)
    return pages, notes + pictured


def refuse_too_many(page: Page) -> None:
    """Raise SourceError for a page that holds more cells than a printed table could."""
    _refuse_beyond(page, MOST_CELLS)


def _refuse_beyond(page: Page, most: int) -> None:
    if sum(map(len, page.grid.cells.values())) > most:
        raise SourceError(
            f"there are more than {most:,} cells, far more than in a table of a yearbook",
            where=page.where,
            remedy="read a table with one header row with Delimited",
        )


def _note_hidden(page: Page, sheet: Sheet) -> list[str]:
    notes = [] if sheet.visible else [f"sheet '{sheet.name}' is hidden"]
    return notes + note_hidden(page.grid, page.rows, 1, page.width, sheet)
