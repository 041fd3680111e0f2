"""The numbers of a yearbook table, each with its region, year, indicator, unit, cell, and the notes that qualify it."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, replace

from evalkit.errors import SourceError
from evalkit.sources.files.cells import MOST_ERRORS, Cell, column_letters, combine_cells
from evalkit.sources.yearbook.captions import Caption
from evalkit.sources.yearbook.declared import Declared
from evalkit.sources.yearbook.headings import clean_name, is_header_word
from evalkit.sources.yearbook.layout import Layout, read_code
from evalkit.sources.yearbook.pages import Page
from evalkit.sources.yearbook.tables import PrintedTable, find_tables
from evalkit.sources.yearbook.words import (
    Mark,
    Marked,
    join_words,
    narrow,
    read_value,
    read_year,
    split_part,
    split_translation,
    take_marks,
)


@dataclass(frozen=True, slots=True)
class Reading:
    """One published value (NaN where a mark stands in its place) and its cell; `unit` is None where none is given.

    `published` are the value and the unit as printed; the others may be converted.
    """

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
    note: str
    published: tuple[float, str | None]

    @property
    def address(self) -> str:
        """Name the cell within the file."""
        return self.page.address(self.row, self.column)


@dataclass(frozen=True)
class Readings:
    """All values of one table, the words above and below it, and captions with more than one unit."""

    page: Page
    values: list[Reading]
    notes: list[str]
    several: list[str]


def read_page(page: Page, known: MutableMapping[str, Caption], declared: Sequence[Declared]) -> list[Readings] | str:
    """Read the tables of a page; where it holds none, say why.

    `known` holds the captions of numbered tables on the pages before, and takes in those of this one; `declared` are layouts of
    tables on this page. Raises SourceError for what is not understood, and for a value that stands twice.
    """
    marked = take_marks(page)
    tables = find_tables(marked.page, known, declared)
    if isinstance(tables, str):
        return tables
    read = [
        _read_table(table, marked, [said for one in tables if one.chain == table.chain for said in one.qualifications])
        for table in tables
    ]
    read[0].notes.extend(marked.unexplained)
    _refuse_repeated([value for one in read for value in one.values])
    return read


def _read_table(table: PrintedTable, marked: Marked, qualifications: Sequence[str]) -> Readings:
    """Read the values of a table; raise one SourceError for all cells that are not understood.

    `qualifications` are what the notes say of this table and of those that it goes on.
    """
    page, layout = table.page, table.layout
    keys = Keys(page, layout)
    unit = layout.caption.unit()
    shared = [
        *layout.caption.scope(),
        *qualifications,
        *(note for cell in _told(table) for note in marked.notes.get(cell, ())),
    ]
    above = {
        c: [n for cell in heading.cells for n in marked.notes.get(cell, ())] for c, heading in layout.columns.items()
    }
    values, notes, bad = list[Reading](), list[str](), list[SourceError]()
    for row in table.rows:
        try:
            key = keys.read(row)
        except SourceError as error:
            bad.append(error)
            continue
        beside = [*shared, *marked.notes.get((row, layout.key), ())]
        if key.whole:
            beside.append(f"part of {key.whole}")
            notes.append(f"{page.address(row, layout.key)} is read as part of {key.whole}")
        common = "; ".join(dict.fromkeys(beside))
        for column, heading in layout.columns.items():
            read = read_value(page.grid.cells[row].get(column))
            if read is None:
                bad.append(_refuse_value(page, row, column))
                continue
            own = (*above[column], *marked.notes.get((row, column), ()))
            note = "; ".join(dict.fromkeys([*beside, *own])) if own else common
            values.append(
                Reading(
                    page,
                    row,
                    column,
                    key.code,
                    key.region or heading.region,
                    key.year or heading.year or 0,  # every heading of a layout has a year, or every row
                    key.indicator or heading.indicator,
                    printed := key.unit or heading.unit or unit,
                    *read,
                    note,
                    (read[0], printed),
                )
            )
        if len(bad) >= MOST_ERRORS:
            break
    if bad:
        raise combine_cells(bad[:MOST_ERRORS])
    _refuse_merged(page, layout, table.rows)
    caption = layout.caption
    said = [f"{place}: {title}" for title, place in caption.titles] + caption.remarks
    if caption.before:
        said.append(f"{page.address(table.rows[0], layout.key)} and below go on with {_first_title(caption)}")
    return Readings(page, values, [*said, *layout.notes, *notes, *table.notes], caption.several)


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


def _refuse_value(page: Page, row: int, column: int) -> SourceError:
    return SourceError(
        f"'{page.grid.cells[row].get(column)}' is neither a number nor a mark in place of one",
        where=page.place(row, column),
        remedy='write a plain number, "…" (below the unit), "-" (does not apply), or leave the cell empty (missing)',
    )


def _refuse_merged(page: Page, layout: Layout, filled: list[int]) -> None:
    """Refuse merged cells that hold values, or that give several rows one name or code."""
    names = {None if layout.time else layout.key, layout.code}
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


def _refuse_repeated(values: Sequence[Reading]) -> None:
    seen: dict[tuple[str, int, str], Reading] = {}
    for value in values:
        other = seen.setdefault((value.region, value.year, value.indicator), value)
        if other is not value:
            raise SourceError(
                f"'{value.indicator}' of {value.region} in {value.year} stands twice, in {other.address} and {value.address}",
                where=value.page.where,
                remedy="delete one of them, or tell apart what they count by different names",
            )


@dataclass(frozen=True)
class Key:
    """What the names of one row say; "" and None where the columns say it. `whole` is what the row says that it is part of."""

    code: str | None = None
    region: str = ""
    year: int | None = None
    indicator: str = ""
    unit: str | None = None
    whole: str = ""


class Keys:
    """Read the names of rows one after the other; a name that is part of another belongs to the last that is none."""

    def __init__(self, page: Page, layout: Layout) -> None:
        self.page, self.layout = page, layout
        self._whole: Key | None = None
        self._years = [heading.year for heading in layout.columns.values()]

    def read(self, row: int) -> Key:
        """Return what the names of a row say; raise SourceError where they are not understood."""
        cells, layout = self.page.grid.cells[row], self.layout
        name = self._name(row)
        self._refuse_others(cells, row)
        if layout.rows_are == "years":
            year = read_year(name)
            if year is None:
                raise self._refuse(
                    row, layout.key, f"'{name}' stands instead of a year", "write the year, such as 2019年"
                )
            return Key(year=year)
        if not isinstance(name, str) or read_value(name) is not None:
            said = "no name of a region stands" if name is None else f"{name!r} stands instead of the name of a region"
            raise self._refuse(row, layout.key, f"{said} in a row with values", "write the name, or delete the row")
        years = [read_year(cells.get(column)) for column in layout.columns]
        if is_header_word(name) or (any(self._years) and len(years) > 1 and years == self._years):
            raise refuse_second(self.page, row, layout.key, name)
        if read_year(name) is not None:
            raise self._refuse(
                row,
                layout.key,
                f"the year '{name}' stands where the name of a region should be",
                "turn the table, so that each row is a region, and each column a year or an indicator",
            )
        return self._read_indicator(row, name) if layout.rows_are == "indicators" else self._read_region(row, name)

    def _name(self, row: int) -> Cell | None:
        """Return the name of a row; where a column of years stands beside it, a merged one is that of all its rows."""
        if self.layout.time is None:
            return self.page.grid.cells[row].get(self.layout.key)
        spot = self.page.spread(row).get(self.layout.key)
        return spot.cell if spot else None

    def _read_region(self, row: int, words: str) -> Key:
        layout, cells = self.layout, self.page.grid.cells[row]
        chinese = words[: len(split_translation(narrow(words))[0])]
        is_part, _ = split_part(narrow(chinese))
        name = join_words(chinese[len(chinese) - len(split_part(narrow(chinese))[1]) :])
        code = cells.get(layout.code) if layout.code is not None else None
        if code is not None and read_code(code) is None:
            what = f"'{code}' is not a region's code of six digits"
            raise self._refuse(row, layout.code or 0, what, "correct the code, or empty the cell")
        year = None
        if layout.time is not None and (year := read_year(cells.get(layout.time))) is None:
            raise self._refuse(
                row, layout.time, "no year stands beside the name of a region", "write it, or delete the row"
            )
        key = Key(code=read_code(code), region=name, year=year, unit=self._unit_beside(row))
        return self._place_part(row, name, key, is_part=is_part)

    def _read_indicator(self, row: int, words: str) -> Key:
        is_part, name, unit = clean_name(words)
        unit = self._unit_beside(row) or unit
        key = Key(indicator=name, unit=unit)
        if is_part and self._whole:
            whole = self._whole
            key = replace(key, indicator=f"{whole.indicator} / {name}", unit=unit or whole.unit)
        return self._place_part(row, name, key, is_part=is_part)

    def _unit_beside(self, row: int) -> str | None:
        cell = self.page.grid.cells[row].get(self.layout.unit) if self.layout.unit is not None else None
        return "".join(narrow(cell).split()) or None if isinstance(cell, str) else None

    def _place_part(self, row: int, name: str, key: Key, *, is_part: bool) -> Key:
        if not name:
            what = "no name stands behind the words 'of which'"
            raise self._refuse(row, self.layout.key, what, "write the name, or delete the row")
        if not is_part:
            self._whole = key
            return key
        if self._whole is None:
            what = f"'{name}' is part of another row, and none stands above it"
            raise self._refuse(row, self.layout.key, what, "write the row of the whole above it, or its full name")
        whole = self._whole.region or self._whole.indicator
        return replace(key, whole=whole)

    def _refuse_others(self, cells: Mapping[int, Cell], row: int) -> None:
        layout = self.layout
        known = {layout.key, layout.code, layout.time, layout.unit, *layout.columns, *layout.left_out}
        for column, cell in cells.items():
            if column not in known:
                what = f"'{cell}' stands in column {column_letters(column)}, which has no header"
                raise self._refuse(row, column, what, "write a header above the column, or delete it")

    def _refuse(self, row: int, column: int, what: str, remedy: str) -> SourceError:
        return SourceError(what, where=self.page.place(row, column), remedy=remedy)


def refuse_second(page: Page, row: int, column: int, word: str) -> SourceError:
    """Make the error for words among the data that begin another table."""
    return SourceError(
        f"a second table begins below the first ('{narrow(word).strip()}')",
        where=page.place(row, column),
        remedy="move it onto a sheet of its own, with its title, its unit and its header",
    )
