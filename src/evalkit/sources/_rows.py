"""Rows of a yearbook table: which begin with a name, and which with words that start or number a table."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from evalkit.sources._caption import is_caption, is_title, known_unit
from evalkit.sources._cells import Cell
from evalkit.sources._footnotes import is_note
from evalkit.sources._headings import is_header_word
from evalkit.sources._pages import Page
from evalkit.sources._words import is_chinese, is_translation, is_word, narrow, read_value, read_year


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
