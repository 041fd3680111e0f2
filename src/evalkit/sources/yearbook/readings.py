"""The numbers of a yearbook table, each with its region, year, indicator, unit, cell, and the notes that qualify it."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, MutableMapping, Sequence
from dataclasses import dataclass

from evalkit.errors import SourceError
from evalkit.sources.files.cells import MOST_ERRORS, combine_cells
from evalkit.sources.yearbook.captions import Caption
from evalkit.sources.yearbook.declared import Declared
from evalkit.sources.yearbook.keys import Keys
from evalkit.sources.yearbook.layout import Layout
from evalkit.sources.yearbook.pages import Page
from evalkit.sources.yearbook.tables import PrintedTable, find_tables
from evalkit.sources.yearbook.words import Mark, Marked, read_value, take_marks


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
