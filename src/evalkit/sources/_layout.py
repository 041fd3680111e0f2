"""The layout of a yearbook table: in which rows and columns its header, its regions and its numbers stand."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from evalkit.errors import SourceError
from evalkit.sources._caption import Caption, is_caption, is_title
from evalkit.sources._cells import Cell
from evalkit.sources._headings import (
    HEADER_WORDS,
    Heading,
    check_words,
    complete,
    find_code,
    heads,
    is_code_header,
    read_headings,
)
from evalkit.sources._pages import Page
from evalkit.sources._words import is_chinese, join, narrow, read_value, read_year

_NOTE = re.compile(r"(?:备|附)?注\s*(?:[:0-9①-⑳.、一二三(]|$)|说明\s*:|资料来源|数据来源|来源\s*:|摘编自|本表")


@dataclass(frozen=True)
class Layout:
    """The first row of data, the columns of names, of codes and of values, and what is written above them."""

    first: int
    region: int
    code: int | None
    columns: Mapping[int, Heading]
    caption: Caption


def find_layout(page: Page) -> Layout | str:
    """Find the table of a page; where it holds none, say why. Raises SourceError for a table that is not understood."""
    found = _find_first(page)
    if found is None:
        _refuse_years(page, "the row below the years is not the name of a region followed by numbers", None)
        return "no row of it is the name of a region followed by numbers"
    first, region = found
    header = _find_header(page, first, region)
    top = header[0] if header else first
    told = [
        (cell, page.address(row, column))
        for row in page.rows
        if row < first
        for column, cell in sorted(page.grid.cells[row].items())
        if isinstance(cell, str) and (row < top or is_caption(cell))
    ]
    caption = Caption(page, told)
    if caption.is_contents():
        return "it is a list of contents"
    if not header:
        what = "the row holds numbers, and no header stands above it"
        _refuse_years(page, what, first)
        if caption.unit() is not None:
            remedy = "write the header into the row above, years or indicators over the numbers"
            raise SourceError(what, where=f"{page.where}, row {first}", remedy=remedy)
        return "no header stands above its first numbers"
    _refuse_half_header(page, top)
    check_words(page, header, region)
    _refuse_other_names(page, header, region)
    headings = read_headings(page, header, region)
    code = find_code(page, first, region, headings)
    columns = {column: heading for column, heading in headings.items() if column > region and column != code}
    if not columns:
        return "no column of numbers has a header"
    return Layout(first, region, code, complete(page, columns, caption, header[-1], bare=not told), caption)


def data_column(cells: Mapping[int, Cell]) -> int | None:
    """Return the column of the name where a row is a name, with at most a code in front, then numbers and marks only."""
    columns = sorted(cells)
    words = [column for column in columns if read_value(cells[column]) is None]
    if len(words) != 1 or words[0] == columns[-1]:
        return None
    name, before = cells[words[0]], columns[: columns.index(words[0])]
    if len(before) > 1 or any(read_code(cells[column]) is None for column in before):
        return None
    told = not isinstance(name, str) or is_header_word(name) or is_note(name) or is_title(name) or is_caption(name)
    return None if told else words[0]


def is_header_word(text: str) -> bool:
    """Tell a word such as 地区, which stands above the names of regions."""
    return join(narrow(text)).lower() in HEADER_WORDS


def is_note(text: str) -> bool:
    """Tell a line such as "注：…" or "资料来源：…"."""
    return _NOTE.match(narrow(text).strip()) is not None


def read_code(cell: Cell | None) -> str | None:
    """Read a six-digit code of a region; None for anything else."""
    if isinstance(cell, float) and cell.is_integer() and 100_000 <= cell < 1_000_000:
        return str(int(cell))
    return cell if isinstance(cell, str) and re.fullmatch("[1-9][0-9]{5}", cell) else None


def _find_first(page: Page) -> tuple[int, int] | None:
    """Return the first row of data and the column of its name. A name and years are a header, unless they have one."""
    above: int | None = None
    for row in page.rows:
        cells = page.grid.cells[row]
        region = data_column(cells)
        if region is not None:
            values = [column for column in cells if column > region]
            are_years = all(read_year(cells[column]) is not None for column in values)
            if not are_years or (above is not None and _is_headed(page, above, region, values)):
                return row, region
        if not all(isinstance(cell, str) and is_caption(cell) for cell in cells.values()):
            above = row
    return None


def _is_headed(page: Page, row: int, region: int, values: list[int]) -> bool:
    """Tell whether a row has a header of its own over the names and over each of the values."""
    spots = page.spread(row)
    name = spots.get(region)
    if name is None or (isinstance(name.cell, str) and is_title(name.cell)):
        return False
    return all(column in spots and not spots[column].spans(region) for column in values)


def _find_header(page: Page, first: int, region: int) -> list[int]:
    """Return the rows of the header: the last one above the data, and those above it that stand over all its columns."""
    header: list[int] = []
    needed: set[int] = set()
    for row in reversed([row for row in page.rows if row < first]):
        if all(isinstance(cell, str) and is_caption(cell) for cell in page.grid.cells[row].values()):
            continue
        spots = {column: spot for column, spot in heads(page, row, region).items() if column > region}
        titled = any(isinstance(cell, str) and is_title(cell) for cell in page.grid.cells[row].values())
        if not spots or titled or not needed <= set(spots):
            break
        header.insert(0, row)
        needed |= {column for column, spot in spots.items() if not is_code_header(spot.cell)}
    return header


def _refuse_years(page: Page, what: str, row: int | None) -> None:
    """Refuse a page with a header of years; it is a table, not a page of text. `row` is the row below it where None."""
    for header, below in zip(page.rows, page.rows[1:], strict=False):
        cells, values = page.grid.cells[header].values(), page.grid.cells[below].values()
        are_years = [read_year(cell) is not None for cell in cells if read_year(cell) or read_value(cell)]
        if len(are_years) > 1 and all(are_years) and any(read_value(cell) is not None for cell in values):
            raise SourceError(
                what,
                where=f"{page.where}, row {row or below}",
                remedy="delete columns of serial numbers or English names and numbers above the header, "
                "and correct cells that hold no number",
            )


def _refuse_half_header(page: Page, top: int) -> None:
    """Refuse a row right above the header (from row `top`) that is neither a title nor a header of all columns."""
    for row in reversed([row for row in page.rows if row < top]):
        cells = {column: cell for column, cell in page.grid.cells[row].items() if not _is_told(cell)}
        years = [column for column, cell in cells.items() if read_year(cell) is not None]
        if len(years) > 1 or len(cells) - len(years) > 1:
            raise SourceError(
                "the row above the header is neither a title nor a header of all columns",
                where=page.place(row, max(cells)),
                remedy="merge each of its cells over the columns it is for, or write its words into each of them",
            )
        if cells:
            return


def _refuse_other_names(page: Page, header: list[int], region: int) -> None:
    """Refuse a row below the first of the header that has a name of its own: it is a region with cells of text."""
    for row in header[1:]:
        name = page.grid.cells[row].get(region)
        if name is not None and not (isinstance(name, str) and is_header_word(name)):
            raise SourceError(
                f"the row of '{name}' is neither part of the header nor a name followed by numbers",
                where=f"{page.where}, row {row}",
                remedy="correct the cells of the row that hold no number; if it is part of the header, "
                "merge the cell above the names over all rows of the header",
            )


def _is_told(cell: Cell) -> bool:
    """Tell whether a cell above a table is certainly no part of its header."""
    return isinstance(cell, str) and (
        ":" in narrow(cell) or is_title(cell) or not (is_chinese(cell) or read_year(cell))
    )
