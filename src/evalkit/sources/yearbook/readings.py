"""The numbers of a yearbook table, each with its region, year, indicator, unit, cell, and the notes that qualify it."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from evalkit.errors import SourceError
from evalkit.sources.files.cells import MOST_ERRORS, Cell
from evalkit.sources.yearbook.captions import Caption, may_have
from evalkit.sources.yearbook.declared import Declared
from evalkit.sources.yearbook.headings import Given, Heading
from evalkit.sources.yearbook.keys import Key, Keys, SecondTable, UnreadRow
from evalkit.sources.yearbook.layout import Layout, counts_columns
from evalkit.sources.yearbook.notes import attach_notes, join_lines
from evalkit.sources.yearbook.pages import Page, refuse_too_many
from evalkit.sources.yearbook.tables import Found, PrintedTable, find_tables
from evalkit.sources.yearbook.unplaced import Unplaced
from evalkit.sources.yearbook.words import Mark, Marked, is_chinese, is_word, read_value, read_year, take_marks

_UNREAD: tuple[float, Mark] = (float("nan"), "unread")


class Reading(NamedTuple):
    """One published value (NaN where a mark stands in its place) and its cell; `unit` and `year` are None where none is given.

    `published` are the value and the unit as printed; the others may be converted.
    """

    page: Page
    row: int
    column: int
    code: str | None
    region: str
    year: int | None
    indicator: str
    unit: str | None
    value: float
    mark: Mark
    note: str
    published: tuple[float, str | None]

    @property
    def address(self) -> str:
        """Name the cell within the file."""
        return self.page.address(self.row, self.column)


@dataclass(frozen=True)
class Readings:
    """All values of one table, its layout and rows, and the words above and below it."""

    page: Page
    layout: Layout
    rows: list[int]
    values: list[Reading]
    notes: list[str]
    others: tuple[str, ...] = ()  # indicators of the table of which no values were made, as too many are there


@dataclass(frozen=True)
class PageRead:
    """The tables of a page, its cells that are not among their values, and why parts of it are not read."""

    tables: list[Readings]
    unplaced: list[Unplaced]
    errors: list[SourceError]
    reasons: list[str]

    @property
    def reason(self) -> str:
        """Say why the page holds no table."""
        return "; ".join(dict.fromkeys(self.reasons)) or "it is empty"


def read_page(
    page: Page,
    known: MutableMapping[str, Caption],
    declared: Sequence[Declared],
    given: Given,
    corrected: Mapping[tuple[int, int], str],
) -> PageRead:
    """Read the tables of a page.

    `known` holds the captions of numbered tables on the pages before, and takes in those of this one; `declared` are layouts of
    tables on this page; `corrected` holds what is noted of cells that were corrected. Every number of the page is among the
    values or among the cells that are not placed.
    """
    refuse_too_many(page)
    marked = take_marks(page)
    for at, said in corrected.items():
        marked.notes[at] = (*marked.notes.get(at, ()), said)
    found = find_tables(marked.page, known, declared, given)
    unplaced: dict[tuple[int, int], Unplaced] = {}
    read = [_read_table(table, marked, unplaced) for table in found.tables]
    _attach(found.tables, read, marked.listed)
    if read:
        read[0].notes.extend(marked.unexplained)
    set_repeated_aside(read, unplaced)
    _find_lost(marked.page, read, found, unplaced)
    return PageRead(read, [unplaced[at] for at in sorted(unplaced)], found.errors, found.reasons)


def _attach(tables: Sequence[PrintedTable], read: Sequence[Readings], listed: Sequence[str]) -> None:
    """Give the values what the notes below their table, and those that it goes on, say of their indicators.

    `listed` are notes of the page that no mark refers to.
    """
    for chain in dict.fromkeys(table.chain for table in tables):
        lines = [said for one in tables if one.chain == chain for said in join_lines(one.qualifications)] + [*listed]
        parts = [found for table, found in zip(tables, read, strict=True) if table.chain == chain]
        told = attach_notes(lines, list(dict.fromkeys(value.indicator for found in parts for value in found.values)))
        for found in parts if lines else ():
            scope = "; ".join(dict.fromkeys(found.layout.caption.scope()))
            for i, value in enumerate(found.values):
                own = value.note.removeprefix(scope).removeprefix("; ")
                note = "; ".join(dict.fromkeys(filter(None, [scope, *told[value.indicator], own])))
                found.values[i] = value._replace(note=note)


def _read_table(table: PrintedTable, marked: Marked, unplaced: dict[tuple[int, int], Unplaced]) -> Readings:
    """Read the values of a table; cells that are not understood go to `unplaced`."""
    page, layout = table.page, table.layout
    keys = Keys(page, layout)
    shared = [
        *layout.caption.scope(),
        *(note for cell in _told(table) for note in marked.notes.get(cell, ())),
    ]
    above = {
        c: [n for cell in heading.cells for n in marked.notes.get(cell, ())] for c, heading in layout.columns.items()
    }
    units = _units_above(layout)
    merged = find_merged(page, layout, table.rows)
    known = {layout.key, layout.code, layout.time, layout.unit, *layout.left_out}
    values, notes = list[Reading](), list[str]()
    ended = ""

    def set_aside(row: int, column: int, why: str) -> None:
        unread = page.unread.get((row, column))
        cell, remedy = page.grid.cells[row].get(column), unread.remedy if unread else ""
        unplaced[row, column] = Unplaced(page, row, column, cell, why, remedy)

    breaks = sorted(table.breaks.items())
    for row in table.rows:
        while breaks and breaks[0][0] < row:
            reason = breaks.pop(0)[1]
            ended = ended or reason
        cells = page.grid.cells[row]
        for column in cells.keys() - known - layout.columns.keys():
            set_aside(row, column, layout.aside.get(column, "no header stands above the column"))
        words = [cell for column, cell in cells.items() if column in layout.columns and is_word(cell)]
        if layout.key not in cells and _heads_others(cells, words, layout):
            ended = ended or f"other words stand above it, in row {row}"
        right = max(layout.columns)
        too_many = page.sheet is None and any(
            c > right and (read_value(cell) or (0, "none"))[1] == "" and c not in known | layout.aside.keys()
            for c, cell in cells.items()
        )
        try:
            if too_many:  # a comma within a number of a line of text moves those behind it
                raise UnreadRow("the row holds more numbers than the header has names")
            if ended or (row, 0) in merged:
                raise UnreadRow(ended or merged[row, 0])
            key = keys.read(row)
        except UnreadRow as error:
            ended = ended or (str(error) if isinstance(error, SecondTable) else "")
            for column in layout.columns.keys() & cells.keys():
                set_aside(row, column, str(error))
            if (value := read_value(cells.get(layout.key))) and value[1] == "" and layout.rows_are != "years":
                set_aside(row, layout.key, str(error))
            continue
        if layout.code is not None and layout.code in cells and key.code is None and layout.rows_are == "regions":
            set_aside(row, layout.code, "it is not a region's code of six digits")
        beside = [*shared, *marked.notes.get((row, layout.key), ())]
        if key.whole:
            beside.append(f"part of {key.whole}")
            notes.append(f"{page.address(row, layout.key)} is read as part of {key.whole}")
        common = "; ".join(dict.fromkeys(beside))
        for column, heading in layout.columns.items():
            cell = cells.get(column)
            unread = page.unread.get((row, column))
            read = None if unread or (row, column) in merged else read_value(cell)
            if read is None:
                why = f"the cell {unread.why}" if unread else "it is neither a number nor a mark in place of one"
                set_aside(row, column, merged.get((row, column), why))
            number, mark = read or _UNREAD
            own = [*above[column], *marked.notes.get((row, column), ())]
            own += [f"printed as {cell}"] if mark == "below_unit" and "<" in str(cell) else []
            note = "; ".join(dict.fromkeys([*beside, *own])) if own else common
            values.append(
                Reading(
                    page,
                    row,
                    column,
                    key.code,
                    key.region or heading.region,
                    key.year or heading.year,
                    key.indicator or heading.indicator,
                    printed := key.unit or _unit_of_row(key, heading, units[column], layout),
                    number,
                    mark,
                    note,
                    (number, printed),
                )
            )
    empty = {value.indicator for value in values} - {
        one.indicator for one in values if one.unit or one.mark != "missing"
    }
    notes += [f"'{indicator}' has neither numbers nor a unit" for indicator in sorted(empty)]
    values = [value for value in values if value.indicator not in empty]
    caption = layout.caption
    said = [f"{place}: {title}" for title, place in caption.titles] + caption.remarks
    if caption.before:
        said.append(f"{page.address(table.rows[0], layout.key)} and below go on with {_first_title(caption)}")
    return Readings(page, layout, table.rows, values, [*said, *layout.notes, *notes, *table.notes])


def _heads_others(cells: Mapping[int, Cell], words: Sequence[Cell], layout: Layout) -> bool:
    """Tell a row without a name that is the header of the rows below: words alone, or years alone."""
    chinese = sum(isinstance(cell, str) and is_chinese(cell) for cell in words)
    others = [cell for cell in cells.values() if read_year(cell) is None]
    return chinese > 1 or 0 < chinese == len(cells) or not others


def _units_above(layout: Layout) -> dict[int, str | None]:
    """Return the unit of each column: its own, or that of the whole table if its indicator can have it."""
    whole = layout.caption.unit()
    alone = len({heading.indicator for heading in layout.columns.values()}) == 1
    return {
        column: heading.unit
        or (whole if whole and (not heading.indicator or may_have(heading.indicator, whole, alone=alone)) else None)
        for column, heading in layout.columns.items()
    }


def _unit_of_row(key: Key, heading: Heading, unit: str | None, layout: Layout) -> str | None:
    """Return the unit above a column, where the indicator named beside the row can have it."""
    if not key.indicator or heading.unit or unit is None:
        return unit
    return unit if may_have(key.indicator, unit, alone=False) else None


def _told(table: PrintedTable) -> Iterator[tuple[int, int]]:
    """Give the cells above a table that are in none of its headings."""
    headed = {cell for heading in table.layout.columns.values() for cell in heading.cells}
    for row in table.page.rows:
        if row < table.layout.first:
            yield from ((row, column) for column in table.page.grid.cells[row] if (row, column) not in headed)


def _first_title(caption: Caption) -> str:
    while caption.before:
        caption = caption.before
    return f"'{caption.titles[0][0]}'" if caption.titles else "the table before"


def find_merged(page: Page, layout: Layout, filled: list[int]) -> dict[tuple[int, int], str]:
    """Return values that stand in merged cells, and, with column 0, rows to which merged cells give one name or code."""
    names = {None if layout.time else layout.key, layout.code}
    found: dict[tuple[int, int], str] = {}
    for ref, top, left, bottom, right in page.grid.merged:
        rows = filled[bisect_left(filled, top) : bisect_right(filled, bottom)]
        if not rows or (top, left) == (bottom, right):
            continue
        why = f"cells are merged ({ref}), so it is not certain which regions and years the value is for"
        if len(rows) > 1 and any(column is not None and left <= column <= right for column in names):
            found |= {(row, 0): why for row in rows}
        found |= {(row, column): why for row in rows for column in layout.columns if left <= column <= right}
    return found


def set_repeated_aside(
    tables: Sequence[Readings], unplaced: dict[tuple[int, int], Unplaced], *, by_code: bool = False
) -> None:
    """Read no value of those that stand twice and differ; one that is printed again as it is stays once.

    Series of one name in several units are several. With `by_code` so are regions of one name with several codes, as in exports,
    in which nobody typed the names.
    """
    groups = _group(tables, by_code=by_code)
    twice = [values for values in groups if len(values) > 1]
    differ = {_lines(values) for values in twice if len({(str(one.value), one.mark, one.unit) for one in values}) > 1}
    again, unread = set[int](), dict[int, Reading]()
    for values in twice:
        region, year, indicator = values[0].region, values[0].year, values[0].indicator
        same = _lines(values) not in differ
        for one in values[1:] if same else values:
            near = [other.address for other in values[: MOST_ERRORS + 1] if other is not one][:MOST_ERRORS]
            others = " and ".join(near) + (", …" if len(values) > MOST_ERRORS + 1 else "")
            when = "" if year is None else f" in {year}"
            why = f"'{indicator}' of {region}{when} stands in {others} as well" + (" (the same value)" if same else "")
            cell = one.page.grid.cells[one.row].get(one.column)
            unplaced[one.row, one.column] = Unplaced(one.page, one.row, one.column, cell, why)
            if same:
                again.add(id(one))
            else:
                number, mark = _UNREAD
                unread[id(one)] = one._replace(value=number, mark=mark, published=(number, one.published[1]))
    if again or unread:
        for table in tables:
            table.values[:] = [unread.get(id(value), value) for value in table.values if id(value) not in again]


def _group(tables: Sequence[Readings], *, by_code: bool) -> list[list[Reading]]:
    """Put together the values of one region, year and indicator, where all of them have one in one unit."""
    found: dict[tuple[str, int | None, str], list[Reading]] = {}
    for table in tables:
        for value in table.values:
            found.setdefault((value.region, value.year, value.indicator), []).append(value)
    groups = list[list[Reading]]()
    for values in found.values():
        coded, counted = by_code and all(one.code for one in values), all(one.unit for one in values)
        apart: dict[tuple[str | None, str | None], list[Reading]] = {}
        for one in values:
            apart.setdefault((one.code if coded else None, one.unit if counted else None), []).append(one)
        groups += apart.values()
    return groups


def _lines(values: Sequence[Reading]) -> tuple[object, ...]:
    """Return the rows, or in one row the columns, in which values stand: all that these lines hold stands twice."""
    rows = tuple(dict.fromkeys((id(one.page), one.row) for one in values))
    return rows if len(rows) > 1 else tuple((id(one.page), -one.column) for one in values)


def _find_lost(page: Page, tables: Sequence[Readings], found: Found, unplaced: dict[tuple[int, int], Unplaced]) -> None:
    """List the numbers that stand in no table that is read."""
    placed = {(value.row, value.column) for table in tables for value in table.values}
    aside = {
        (row, column)
        for table in found.tables
        for row in table.rows
        for column in (
            table.layout.key,
            table.layout.code,
            table.layout.time,
            table.layout.unit,
            *table.layout.left_out,
        )
        if column is not None
    }
    headed = {cell for table in found.tables for heading in table.layout.columns.values() for cell in heading.cells}
    headed |= {(row, column) for one in found.tables for row in one.layout.header for column in one.layout.columns}
    headers = {
        (row, column): reason
        for table in found.tables
        for row in table.layout.header
        for column, reason in table.layout.aside.items()
    }
    why = "it stands in no table that is understood"
    why += f": {found.errors[0].what}" if found.errors else ""
    for row in page.rows:
        cells = page.grid.cells[row]
        if counts_columns(cells):
            continue
        for column, cell in cells.items():
            at = (row, column)
            is_number = (read_value(cell) or (0, "none"))[1] == "" and read_year(cell) is None
            if is_number and at not in placed and at not in aside and at not in headed and at not in unplaced:
                unplaced[at] = Unplaced(page, row, column, cell, headers.get(at, why))
