"""The numbers of a yearbook table, each with its region, year, indicator, unit and cell."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass

from evalkit.errors import SourceError
from evalkit.sources._caption import is_caption, is_title
from evalkit.sources._cells import Cell, column_letters
from evalkit.sources._columns import write_number
from evalkit.sources._layout import Layout, data_column, find_layout, is_header_word, is_note, read_code
from evalkit.sources._pages import Page
from evalkit.sources._words import Mark, join, narrow, read_value, read_year

_NUMBERED = re.compile(r"\(?[0-9]{1,2}[.、)]|[①-⑳*#※]")  # a footnote


@dataclass(frozen=True)
class Reading:
    """One published value (NaN where a mark stands in its place) and its cell; `unit` is None where none is given."""

    page: Page
    row: int
    column: int
    code: str | None
    region: str
    year: int
    indicator: str
    unit: str | None
    value: float
    mark: Mark

    @property
    def address(self) -> str:
        """Name the cell within the file."""
        return self.page.address(self.row, self.column)


@dataclass(frozen=True)
class Readings:
    """All values of one page, the words above and below its table, and captions with more than one unit."""

    page: Page
    values: list[Reading]
    notes: list[str]
    several: list[str]


def read_page(page: Page) -> Readings | str:
    """Read the table of a page; where it holds none, say why. Raises SourceError for a cell that is not understood."""
    layout = find_layout(page)
    if isinstance(layout, str):
        return layout
    unit = layout.caption.unit()
    last = max(row for row in page.rows if data_column(page.grid.cells[row]) is not None)
    values, notes, filled = list[Reading](), list[str](), list[int]()
    for row in page.rows[bisect_left(page.rows, layout.first) :]:
        cells = page.grid.cells[row]
        if _is_text(cells, layout, is_below=row > last):
            notes.append(_read_note(page, row, is_below=row > last))
            continue
        code, region = _read_key(page, layout, row)
        for column, heading in layout.columns.items():
            value, mark = _read_value(page, row, column)
            year = heading.year or 0  # every heading of a layout has a year
            own = heading.unit or unit
            values.append(Reading(page, row, column, code, region, year, heading.indicator, own, value, mark))
        filled.append(row)
    _refuse_merged(page, layout, filled)
    _refuse_repeated(values)
    above = [f"{place}: {title}" for title, place in layout.caption.titles] + layout.caption.remarks
    return Readings(page, values, above + notes, layout.caption.several)


def _is_text(cells: Mapping[int, Cell], layout: Layout, *, is_below: bool) -> bool:
    """Tell a row of words: a note, or the name of a group of regions. A row with a code is a region without numbers."""
    name = cells.get(layout.region)
    if isinstance(name, str) and is_note(name):
        return True
    beside = {column: cell for column, cell in cells.items() if column > layout.region and column != layout.code}
    if any(read_value(cell) is not None for cell in beside.values()):
        return False
    if any(column in layout.columns for column in beside):
        return is_below and (name is None or (isinstance(name, str) and _NUMBERED.match(narrow(name)) is not None))
    return name is None or layout.code is None or read_code(cells.get(layout.code)) is None


def _read_note(page: Page, row: int, *, is_below: bool) -> str:
    cells = page.grid.cells[row]
    words = [write_number(cell) if isinstance(cell, float) else str(cell) for _, cell in sorted(cells.items())]
    if not is_below and any(is_title(word) or is_caption(word) or "续表" in word for word in words):
        raise _refuse_second(page, row, min(cells), words[0])
    return f"{page.address(row, min(cells))}: {' '.join(words)}"


def _read_key(page: Page, layout: Layout, row: int) -> tuple[str | None, str]:
    """Return the code and the name of the region of a row of values."""
    cells = page.grid.cells[row]
    name = cells.get(layout.region)
    place = page.place(row, layout.region)
    if not isinstance(name, str) or read_value(name) is not None:
        said = "no name of a region stands" if name is None else f"{name!r} stands instead of the name of a region"
        raise SourceError(f"{said} in a row with values", where=place, remedy="write the name, or delete the row")
    years = [read_year(cells.get(column)) for column in layout.columns]
    if is_header_word(name) or (len(years) > 1 and years == [heading.year for heading in layout.columns.values()]):
        raise _refuse_second(page, row, layout.region, name)
    if read_year(name) is not None:
        raise SourceError(
            f"the year '{name}' stands where the name of a region should be",
            where=place,
            remedy="turn the table, so that each row is a region, and each column a year or an indicator",
        )
    code = cells.get(layout.code) if layout.code is not None else None
    if code is not None and read_code(code) is None:
        what = f"'{code}' is not a region's code of six digits"
        raise SourceError(what, where=page.place(row, layout.code or 0), remedy="correct the code, or empty the cell")
    for column, cell in cells.items():
        if column not in (layout.region, layout.code) and column not in layout.columns:
            raise SourceError(
                f"'{cell}' stands in column {column_letters(column)}, which has no header",
                where=page.place(row, column),
                remedy="write a header above the column, or delete it",
            )
    return read_code(code), join(name)


def _read_value(page: Page, row: int, column: int) -> tuple[float, Mark]:
    cell = page.grid.cells[row].get(column)
    read = read_value(cell)
    if read is None:
        raise SourceError(
            f"'{cell}' is neither a number nor a mark in place of one",
            where=page.place(row, column),
            remedy='write a plain number, "…" (below the unit), "-" (does not apply), or leave the cell empty (missing)',
        )
    return read


def _refuse_second(page: Page, row: int, column: int, word: str) -> SourceError:
    return SourceError(
        f"a second table begins below the first ('{narrow(word).strip()}')",
        where=page.place(row, column),
        remedy="move it onto a sheet of its own, with its title, its unit and its header",
    )


def _refuse_merged(page: Page, layout: Layout, filled: list[int]) -> None:
    """Refuse merged cells that hold values, or that give several rows one name or code."""
    names = {layout.region, layout.code}
    for ref, top, left, bottom, right in page.grid.merged:
        at = bisect_left(filled, top)
        touches = at < len(filled) and filled[at] <= bottom
        over_values = any(left <= column <= right for column in layout.columns)
        over_names = bottom > top and any(column is not None and left <= column <= right for column in names)
        if touches and (top, left) != (bottom, right) and (over_values or over_names):
            raise SourceError(
                "the cells are merged, so it is not certain which regions and years their value is for",
                where=f"{page.where}!{ref}",
                remedy="unmerge them and write the value into each cell it is for",
            )


def _refuse_repeated(values: list[Reading]) -> None:
    seen: dict[tuple[str, int, str], Reading] = {}
    for value in values:
        other = seen.setdefault((value.region, value.year, value.indicator), value)
        if other is not value:
            raise SourceError(
                f"'{value.indicator}' of {value.region} in {value.year} stands twice, in {other.address} and {value.address}",
                where=value.page.where,
                remedy="delete one of them, or tell apart what they count by different names",
            )
