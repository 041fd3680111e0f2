"""The layout of a yearbook table: in which rows and columns its header, its names and its numbers stand."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from evalkit.errors import SourceError
from evalkit.sources.files.cells import MOST_ERRORS, Cell
from evalkit.sources.yearbook.captions import Caption, is_caption, is_title, known_unit
from evalkit.sources.yearbook.headings import (
    HEADER_WORDS,
    INDICATOR_WORDS,
    YEAR_WORDS,
    Heading,
    RowsAre,
    complete,
    header_word,
    heads,
    is_aside,
    is_header_word,
    is_unit_header,
    read_headings,
    turn,
)
from evalkit.sources.yearbook.pages import Page
from evalkit.sources.yearbook.words import is_chinese, is_note, is_translation, is_word, narrow, read_value, read_year


@dataclass(frozen=True)
class Layout:
    """Where things stand: the first row of data; the columns of row names, codes, years, units and values; what is above.

    `last` is the last row of data, None for the end of the page; columns that are `left_out` may hold anything.
    """

    first: int
    last: int | None
    rows_are: RowsAre
    key: int
    code: int | None
    time: int | None
    unit: int | None
    columns: Mapping[int, Heading]
    left_out: frozenset[int]
    caption: Caption
    notes: tuple[str, ...] = ()


def find_layout(page: Page, before: Caption | None, known: Mapping[str, Caption]) -> Layout | str:
    """Find the table of a page; where it holds none, say why. Raises SourceError for a table that is not understood.

    It may go on the table on the same page whose caption is `before`, or one of those `known` by their numbers.
    """
    found = _find_first(page)
    if found is None:
        _refuse_years(page, "the row below the years is not the name of a region followed by numbers", None)
        return "no row of it is the name of a region followed by numbers" + _list_words(page)
    first, key = found
    left_out = _find_translations(page, first, key)
    header = _find_header(page, first, key, left_out)
    top = header[0] if header else first
    caption = Caption(page, find_told(page, first, top), before, known)
    if caption.is_contents():
        return "it is a list of contents"
    if not header:
        what = "the row holds numbers, and no header stands above it"
        _refuse_years(page, what, first)
        if caption.unit() is not None:
            remedy = "write the header into the row above, years or indicators over the numbers"
            raise SourceError(what, where=f"{page.where}, row {first}", remedy=remedy)
        return "no header stands above its first numbers"
    _refuse_half_header(page, top, key, caption)
    rows_are = _tell_rows(page, header, first, key)
    _refuse_other_words(page, header, key, left_out)
    headings, notes = read_headings(page, header, key, left_out)
    time, unit = _find_aside(page, header, first, key)
    code = _find_code(page, first, key, headings, time)
    columns = {c: heading for c, heading in headings.items() if c > key and c not in (code, time, unit)}
    if not columns:
        return "no column of numbers has a header"
    columns = turn(page, columns, rows_are, caption, header, first, key)
    columns = complete(page, columns, caption, header[-1], rows_are=rows_are, dated=time is not None)
    if left_out:
        letters = ", ".join(page.address(first, column).rpartition("!")[2].rstrip("0123456789") for column in left_out)
        notes.append(f"columns of translations were left out: {letters}")
    notes += _find_lone_numbers(page, first)
    return Layout(first, None, rows_are, key, code, time, unit, columns, frozenset(left_out), caption, tuple(notes))


def _find_first(page: Page) -> tuple[int, int] | None:
    """Return the first row of data and the column of its name. A name and years are a header, unless they have one."""
    above: int | None = None
    for row in page.rows:
        cells = page.grid.cells[row]
        key = key_of(page, row)
        if key is None and above is not None and _is_dated(page, above, cells):
            return row, min(cells)
        if key is not None:
            values = [column for column in cells if column > key and not is_translation(cells[column])]
            are_years = all(read_year(cells[column]) is not None for column in values)
            if not are_years or (above is not None and is_headed(page, above, key, values)):
                return row, key
        if not all(isinstance(cell, str) and is_caption(cell) for cell in cells.values()):
            above = row
    return None


def _is_dated(page: Page, above: int, cells: Mapping[int, Cell]) -> bool:
    """Tell a row of numbers that begins with a year below the word 年份."""
    head = page.spread(above).get(min(cells))
    is_years = head is not None and isinstance(head.cell, str) and header_word(page, [above], head.column) in YEAR_WORDS
    are_values = all(read_value(cell) is not None for cell in cells.values())
    return is_years and are_values and len(cells) > 1 and read_year(cells[min(cells)]) is not None


def _find_translations(page: Page, first: int, key: int) -> list[int]:
    """Return the columns that hold nothing but translations beside names in Chinese."""
    found: dict[int, bool] = {}
    for row in page.rows:
        cells = page.grid.cells[row]
        if row >= first and isinstance(name := cells.get(key), str) and is_chinese(name) and key_of(page, row) == key:
            for column, cell in cells.items():
                found[column] = found.get(column, True) and is_translation(cell)
    return sorted(column for column, are in found.items() if are)


def _find_header(page: Page, first: int, key: int, left_out: Sequence[int]) -> list[int]:
    """Return the rows of the header: the last one above the data, and those above it that stand over all its columns."""
    header: list[int] = []
    needed: set[int] = set()
    for row in reversed([row for row in page.rows if row < first]):
        cells = page.grid.cells[row]
        if all(isinstance(cell, str) and is_caption(cell) for cell in cells.values()) or counts_columns(cells):
            continue
        spots = {column: spot for column, spot in heads(page, row, key, left_out).items() if column > key}
        titled = any(isinstance(cell, str) and is_title(cell) for cell in cells.values())
        if not spots or titled or not needed <= set(spots):
            break
        header.insert(0, row)
        needed |= {column for column, spot in spots.items() if not is_aside(spot.cell)}
    return header


def _list_words(page: Page) -> str:
    """Name the cells of words among numbers, which may be why the rows are not understood."""
    found = []
    for row in page.rows:
        cells = page.grid.cells[row]
        has_numbers = any(read_value(cell) is not None and read_year(cell) is None for cell in cells.values())
        found += [page.address(row, column) for column in sorted(cells)[1:] if has_numbers and is_word(cells[column])]
    more = "" if len(found) <= MOST_ERRORS else " and more"
    return f", and words stand among numbers in {', '.join(found[:MOST_ERRORS])}{more}" if found else ""


def find_told(page: Page, first: int, top: int) -> list[tuple[str, str]]:
    """Return the words above a table whose header begins in row `top` and whose data in row `first`, with their cells."""
    return [
        (cell, page.address(row, column))
        for row in page.rows
        if row < first
        for column, cell in sorted(page.grid.cells[row].items())
        if isinstance(cell, str) and (row < top or is_caption(cell))
    ]


def _tell_rows(page: Page, header: Sequence[int], first: int, key: int) -> RowsAre:
    """Tell what the names of the rows are by the word above them, or by their being years."""
    word = header_word(page, header, key)
    named = [page.grid.cells[row].get(key) for row in page.rows if row >= first and key in page.grid.cells[row]]
    are_years = read_year(page.grid.cells[first].get(key)) is not None
    if word in YEAR_WORDS or (are_years and sum(read_year(cell) is not None for cell in named) * 2 > len(named)):
        return "years"
    return "indicators" if word in INDICATOR_WORDS else "regions"


def _find_aside(page: Page, header: Sequence[int], first: int, key: int) -> tuple[int | None, int | None]:
    """Return the column of years, and that of units, which stand beside the names."""
    rows = [page.grid.cells[row] for row in page.rows if row >= first and key_of(page, row) == key]
    time = unit = None
    for column in sorted({column for cells in rows for column in cells} - {key}):
        word = header_word(page, header, column)
        found = [cells[column] for cells in rows if column in cells]
        if word in YEAR_WORDS and all(read_year(cell) is not None for cell in found):
            time = column
        elif is_unit_header(word):
            unit = column
    return time, unit


def _find_code(page: Page, first: int, key: int, headings: Mapping[int, Heading], time: int | None) -> int | None:
    """Return the column of codes: the one with that header, else one before the names."""
    named = [column for column, heading in headings.items() if heading.is_code]
    cells = page.grid.cells[first]
    before = [column for column in cells if column < key and column != time and not is_translation(cells[column])]
    found = sorted({*named, *before})
    if len(found) > 1:
        places = " and ".join(page.address(first, column) for column in found)
        raise SourceError(f"{places} both hold codes", where=page.where, remedy="keep one column of codes")
    return found[0] if found else None


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


def _refuse_half_header(page: Page, top: int, key: int, caption: Caption) -> None:
    """Refuse a row right above the header (from row `top`) that is neither a title nor a header of all columns."""
    above = [row for row in reversed(page.rows) if row < top]
    for row in above:
        cells = {column: cell for column, cell in page.grid.cells[row].items() if not _is_told(cell)}
        years = [column for column, cell in cells.items() if read_year(cell) is not None]
        beside = [column for column in cells if column > key and page.spread(row)[column].is_single]
        is_second_title = len(cells) == 1 and beside and len(caption.titles) > 1 and row == above[0]
        if len(years) > 1 or len(cells) - len(years) > 1 or is_second_title:
            raise SourceError(
                "the row above the header is neither a title nor a header of all columns",
                where=page.place(row, max(cells)),
                remedy="merge each of its cells over the columns it is for, or write its words into each of them",
            )
        if cells:
            return


def _find_lone_numbers(page: Page, first: int) -> list[str]:
    """Return numbers that stand alone above a table, such as that of a page; refuse others that are neither years nor counted."""
    found = []
    for row in (row for row in page.rows if row < first):
        cells = page.grid.cells[row]
        for column, cell in sorted(cells.items()):
            if (read_value(cell) or (0, "none"))[1] or read_year(cell) is not None or counts_columns(cells):
                continue
            if len(cells) > 1:
                raise SourceError(
                    f"the number '{cell}' stands above the table or in its header",
                    where=page.place(row, column),
                    remedy="write the name of its region beside it, below the header; or delete it",
                )
            found.append(f"{page.address(row, column)}: {cell}")
    return found


def _refuse_other_words(page: Page, header: Sequence[int], key: int, left_out: Sequence[int]) -> None:
    """Refuse a row of the header that has a name of its own, which is a region with cells of text, and a second half beside."""
    word = header_word(page, header, key)
    if word in ("月份", "季度"):
        raise SourceError(
            f"the rows of the table are not regions: '{word}' stands above them",
            where=f"{page.where}, row {header[0]}",
            remedy="give a table of years",
        )
    for row in header[1:]:
        name = page.grid.cells[row].get(key)
        if name is None or word in HEADER_WORDS or is_translation(name):
            continue
        if not (isinstance(name, str) and is_header_word(name)):
            raise SourceError(
                f"the row of '{name}' is neither part of the header nor a name followed by numbers",
                where=f"{page.where}, row {row}",
                remedy="correct the cells of the row that hold no number; if it is part of the header, "
                "merge the cell above the names over all rows of the header",
            )
    for row in header:
        for column, spot in heads(page, row, key, left_out).items():
            is_second = column > key and isinstance(spot.cell, str) and is_header_word(spot.cell)
            if is_second and not is_aside(spot.cell):
                raise SourceError(
                    f"'{spot.cell}' stands above a second column, so two tables stand side by side",
                    where=page.place(spot.row, spot.column),
                    remedy="move the second half below the first, or onto a sheet of its own with its title and header",
                )


def _is_told(cell: Cell) -> bool:
    """Tell whether a cell above a table is certainly no part of its header."""
    return isinstance(cell, str) and (
        ":" in narrow(cell) or is_title(cell) or not (is_chinese(cell) or read_year(cell))
    )


def key_of(page: Page, row: int) -> int | None:
    """Return key_column() of a row, which is looked up once."""
    if row not in page.keys:
        page.keys[row] = key_column(page.grid.cells[row])
    return page.keys[row]


def key_column(cells: Mapping[int, Cell]) -> int | None:
    """Return the column of the name where a row is a name, then numbers and marks only; its translation may stand anywhere.

    In front there may be a code and a year, between a year; a year in words ("2019年") before numbers is a name as well.
    """
    columns = sorted(cells)
    words = [column for column in columns if is_word(cells[column])]
    names = [column for column in words if not is_translation(cells[column])] or words
    if len(names) > 1 and not any(_may_be_name(cells[column]) for column in names[1:]):
        names = names[:1]  # the others are units, or errors that are named when the row is read
    values = [column for column in columns if read_value(cells[column]) is not None]
    if not words:
        is_named = isinstance(cells[columns[0]], str) and read_value(cells[columns[0]]) is None
        all_years = all(read_year(cells[column]) is not None for column in columns)
        return columns[0] if is_named and not all_years and len(values) == len(columns) - 1 else None
    if len(names) != 1 or not any(column > names[0] for column in values):
        return None
    name, before = cells[names[0]], [column for column in columns if column < names[0] and column not in words]
    if len(before) > 2 or any(read_code(cells[c]) is None and read_year(cells[c]) is None for c in before):
        return None
    told = not isinstance(name, str) or is_header_word(name) or is_note(name) or is_title(name) or is_caption(name)
    return None if told else names[0]


def _may_be_name(cell: Cell) -> bool:
    return not isinstance(cell, str) or (is_chinese(cell) and known_unit(narrow(cell)) is None)


def read_code(cell: Cell | None) -> str | None:
    """Read a six-digit code of a region; None for anything else."""
    if isinstance(cell, float) and cell.is_integer() and 100_000 <= cell < 1_000_000:
        return str(int(cell))
    return cell if isinstance(cell, str) and re.fullmatch("[1-9][0-9]{5}", cell) else None


def is_headed(page: Page, row: int, key: int, values: Collection[int]) -> bool:
    """Tell whether a row has a header of its own over the names and over each of the values."""
    spots = page.spread(row)
    name = spots.get(key)
    if name is None or (isinstance(name.cell, str) and is_title(name.cell)):
        return False
    return all(column in spots and not spots[column].spans(key) for column in values)


def counts_columns(cells: Mapping[int, Cell]) -> bool:
    """Tell the row 甲 1 2 3 …, which numbers the columns."""
    columns = sorted(cells)
    numbers = [read_value(cells[column]) for column in columns[1:]]
    counted = [number is not None and number[0] == place for place, number in enumerate(numbers, start=1)]
    return len(counted) > 1 and all(counted) and cells[columns[0]] in ("甲", "乙", "栏次")
