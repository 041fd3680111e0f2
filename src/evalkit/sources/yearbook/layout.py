"""The layout of a yearbook table: in which rows and columns its header, its names and its numbers stand."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from evalkit.errors import SourceError
from evalkit.sources.files.cells import MOST_ERRORS, Cell, column_letters
from evalkit.sources.yearbook.captions import Caption, is_caption, is_title, known_unit
from evalkit.sources.yearbook.headings import (
    INDICATOR_WORDS,
    NO_RANK,
    YEAR_WORDS,
    Given,
    Heading,
    RowsAre,
    clean_name,
    complete,
    header_word,
    heads,
    is_aside,
    is_header_word,
    is_unit_header,
    rank_of,
    read_headings,
    top_of_names,
    turn,
)
from evalkit.sources.yearbook.pages import Page, Spot
from evalkit.sources.yearbook.words import (
    is_chinese,
    is_foreign,
    is_note,
    is_place,
    is_translation,
    is_word,
    join_words,
    narrow,
    read_value,
    read_year,
    split_part,
    split_translation,
)


@dataclass(frozen=True)
class Layout:
    """Where things stand: the first row of data; the columns of row names, codes, years, units and values; what is above.

    `last` is the last row of data, None for the end of the page. Columns that are `left_out` may hold anything; those `aside`
    hold numbers and are not read, for the reason given. `lacking` is what nothing on the page says of all values; of "year",
    "region" and "indicator", `given` are those that were taken from what the user says.
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
    header: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()
    aside: Mapping[int, str] = field(default_factory=dict)
    lacking: tuple[tuple[str, str], ...] = ()
    given: frozenset[str] = frozenset()
    blocks: tuple[tuple[int, int], ...] = ()  # rows with a year alone above blocks of rows, and these years
    told: Mapping[int, str] = field(default_factory=dict)  # further columns beside the rows, and what they hold


def find_layout(page: Page, before: Caption | None, known: Mapping[str, Caption], given: Given) -> Layout | str:
    """Find the table of a page; where it holds none, say why. Raises SourceError for a table that is not understood.

    It may go on the table on the same page whose caption is `before`, or one of those `known` by their numbers.
    """
    found = _find_first(page)
    if found is None:
        return "no row of it is the name of a region followed by numbers" + _list_words(page)
    first, key = _begin_above(page, *found), found[1]
    left_out = _find_translations(page, first, key)
    filled = {
        column
        for row in page.rows
        if row >= first
        for column, cell in page.grid.cells[row].items()
        if column > key and column not in left_out and read_value(cell) is not None
    }
    header = _find_header(page, first, key, filled, left_out)
    top = header[0] if header else first
    caption = Caption(page, find_told(page, first, top), before, known)
    if caption.is_contents():
        return "it is a list of contents"
    if not header:
        if caption.is_there and (caption.unit() or caption.titles):
            raise _refuse(page, "the row holds numbers, and no header stands above it", first)
        return "no header stands above its first numbers"
    time, unit = _find_aside(page, header, first, key)
    headings, notes, bad = read_headings(page, header, key, filled, left_out)
    _refuse_others(page, header, key, left_out)
    code = _find_code(page, first, key, headings, time)
    columns = {c: one for c, one in headings.items() if c > key and c not in (code, time, unit)}
    aside = {column: reason for column, reason in bad if column in filled}
    rows_are = _tell_rows(page, header, first, key, columns)
    turned = turn(columns, rows_are, caption, given)
    blocks = () if rows_are == "years" or time is not None else _find_blocks(page, header[-1], first, key)
    ready = complete(page, turned.read, caption, given, rows_are=rows_are, dated=time is not None or bool(blocks))
    aside |= dict(turned.aside) | dict(ready.aside)
    if not ready.read:
        reason = next(iter(aside.values()), "no column of numbers has a header")
        if not columns and not bad:
            return reason
        raise _refuse(page, f"no column is understood: {reason}", header[-1])
    lacking = (*turned.lacking, *ready.lacking)
    plain = not caption.is_there and not any(heading.unit for heading in columns.values())
    if plain and any(noun == "year" for noun, _ in lacking):
        raise SourceError(
            "this is an ordinary table, not one of a yearbook: nothing stands above its header, which has no year",
            where=page.where,
            remedy="read it with Delimited",
        )
    if left_out:
        letters = ", ".join(map(column_letters, left_out))
        notes.append(f"columns of translations were left out: {letters}")
    return Layout(
        first,
        None,
        rows_are,
        key,
        code,
        time,
        unit,
        ready.read,
        frozenset(left_out),
        caption,
        tuple(header),
        tuple(notes),
        aside,
        lacking,
        turned.given | ready.given,
        blocks,
    )


def _refuse(page: Page, what: str, row: int) -> SourceError:
    return SourceError(
        what, where=f"{page.where}, row {row}", remedy='say where things stand in a layout file: layout="…"'
    )


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


def _begin_above(page: Page, first: int, key: int) -> int:
    """Return the first of the rows right above that are rows of data as well, but for words among their numbers (无, 不详).

    A header of several cells stands above them; one that holds no number at all names a region below a word such as 地区.
    """
    above = [row for row in page.rows if row < first]
    top = top_of_names(page, above, key) or first
    for row in reversed([row for row in above if len(page.grid.cells[row]) > 1][1:]):
        cells = page.grid.cells[row]
        numbers = [cell for c, cell in cells.items() if c != key and (read_value(cell) or (0, "none"))[1] == ""]
        is_data = any(read_year(cell) is None for cell in numbers) or (
            row > top and is_place(join_words(str(cells.get(key)))) and not numbers
        )
        if not (is_data and _names_row(cells.get(key))):
            break
        first = row
    return first


def _names_row(cell: Cell | None) -> bool:
    """Tell whether a cell may hold the name of a row: words, and none that stand above rows or below them."""
    told = not isinstance(cell, str) or is_header_word(cell) or is_note(cell) or is_title(cell) or is_caption(cell)
    return is_word(cell) and not told


def _is_dated(page: Page, above: int, cells: Mapping[int, Cell]) -> bool:
    """Tell a row of numbers that begins with a year below the word 年份."""
    head = page.spread(above).get(min(cells))
    is_years = head is not None and isinstance(head.cell, str) and header_word(page, [above], head.column) in YEAR_WORDS
    are_values = all(read_value(cell) is not None for cell in cells.values())
    return is_years and are_values and len(cells) > 1 and read_year(cells[min(cells)]) is not None


def _find_translations(page: Page, first: int, key: int) -> list[int]:
    """Return the columns that hold nothing but translations beside names in Chinese."""
    found: dict[int, list[Cell]] = {}
    for row in page.rows:
        cells = page.grid.cells[row]
        if row >= first and isinstance(name := cells.get(key), str) and is_chinese(name) and key_of(page, row) == key:
            for column, cell in cells.items():
                found.setdefault(column, []).append(cell)
    return sorted(c for c, cells in found.items() if all(map(is_foreign, cells)) and any(map(is_translation, cells)))


def _find_header(page: Page, first: int, key: int, filled: Collection[int], left_out: Sequence[int]) -> list[int]:
    """Return the rows of the header: those from the word above the names, such as 地区, down to the data, and those above it
    that name columns. One cell alone above them is a title, unless nothing else names its column.
    """
    above = [row for row in page.rows if row < first]
    start = top_of_names(page, above, key) or first
    header: list[int] = []
    for row in reversed(above):
        cells = page.grid.cells[row]
        if all(isinstance(cell, str) and is_caption(cell) for cell in cells.values()) or counts_columns(cells):
            continue
        spots = {column: spot for column, spot in heads(page, row, key, left_out).items() if column > key}
        if any(isinstance(cell, str) and is_title(cell) for cell in cells.values()):
            break
        if not header and read_year_of_block(cells, key) is not None:
            continue
        if not spots and row >= start and header:
            continue  # 地区 alone, below names of columns
        if not spots or (header and row < start and not _names_columns(page, row, spots, header, key, filled)):
            break
        header.insert(0, row)
    return header


def _names_columns(
    page: Page, row: int, spots: Mapping[int, Spot], header: Sequence[int], key: int, filled: Collection[int]
) -> bool:
    """Tell a row above the word that heads the names, or above all rows that are a header for certain, which names columns."""
    if any(_is_told(spot.cell) for spot in spots.values()):
        return False
    alone = list(dict.fromkeys(spots.values()))
    if len(alone) > 1 or set(spots) >= set(filled):
        return True
    words = narrow(str(alone[0].cell))
    below = [one.cell for r in header if (one := heads(page, r, key).get(alone[0].column))]
    named = any(read_year(cell) is not None or (isinstance(cell, str) and is_chinese(cell)) for cell in below)
    is_bracket = words.startswith("(") and words.endswith(")")
    is_counted = rank_of(words) < NO_RANK
    alone_names = not (named or is_bracket or page.grid.cells[row].keys() - spots.keys())
    return is_counted or split_part(words) == (True, "") or alone_names


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


def _tell_rows(page: Page, header: Sequence[int], first: int, key: int, columns: Mapping[int, Heading]) -> RowsAre:
    """Tell what the names of the rows are by the word above them, by their being years, or by regions above all columns."""
    word = header_word(page, header, key)
    named = [page.grid.cells[row].get(key) for row in page.rows if row >= first and key in page.grid.cells[row]]
    are_years = read_year(page.grid.cells[first].get(key)) is not None
    if word in YEAR_WORDS or (are_years and sum(read_year(cell) is not None for cell in named) * 2 > len(named)):
        return "years"
    above = [heading.indicator.rpartition(" / ")[2] for heading in columns.values()]
    beside = [join_words(cell) for cell in named if isinstance(cell, str)]
    if len(above) > 1 and all(map(is_place, above)) and not any(map(is_place, beside)):
        return "indicators"
    are_places = sum(map(is_place, beside)) * 2 > len(named)  # 项目 stands above them as well
    return "indicators" if word in INDICATOR_WORDS and not are_places else "regions"


def _find_blocks(page: Page, header: int, first: int, key: int) -> tuple[tuple[int, int], ...]:
    """Return the rows that hold a year in the column of names and nothing else, if one stands above the first row of data."""
    found = [(row, read_year_of_block(page.grid.cells[row], key)) for row in page.rows if row > header]
    blocks = tuple((row, year) for row, year in found if year is not None)
    return blocks if blocks and blocks[0][0] < first else ()


def read_year_of_block(cells: Mapping[int, Cell], key: int) -> int | None:
    """Return the year of a row that holds a year in the column of names and nothing else."""
    return read_year(cells[key]) if set(cells) == {key} else None


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
        remedy = 'say in a layout file which of them holds the codes: layout="…"'
        raise SourceError(f"{places} both hold codes", where=page.where, remedy=remedy)
    return found[0] if found else None


def _refuse_others(page: Page, header: Sequence[int], key: int, left_out: Sequence[int]) -> None:
    """Refuse rows of months and quarters, and a second half beside."""
    word = header_word(page, header, key)
    if word in ("月份", "季度"):
        raise _refuse(page, f"the rows of the table are not regions: '{word}' stands above them", header[0])
    for row in header:
        for column, spot in heads(page, row, key, left_out).items():
            if column > key and isinstance(spot.cell, str) and is_header_word(spot.cell) and not is_aside(spot.cell):
                what = f"'{spot.cell}' stands above a second column, so two tables stand side by side"
                raise SourceError(
                    what,
                    where=page.place(spot.row, spot.column),
                    remedy='say where each stands in a layout file: layout="…"',
                )


def _is_told(cell: Cell) -> bool:
    """Tell whether a cell above a table is certainly no part of its header."""
    words = split_translation(narrow(cell))[0] if isinstance(cell, str) else ""
    return isinstance(cell, str) and (
        (":" in words and not clean_name(words)[0]) or is_title(cell) or not (is_chinese(cell) or read_year(cell))
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
    return names[0] if _names_row(name) else None


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
