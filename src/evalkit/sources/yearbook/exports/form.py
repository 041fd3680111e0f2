"""One table of an export: where its header says that things stand, and how its values are read."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from evalkit.errors import SourceError
from evalkit.sources.files.cells import Cell
from evalkit.sources.yearbook.keys import Key, UnreadRow
from evalkit.sources.yearbook.layout import Layout
from evalkit.sources.yearbook.pages import MOST_CELLS, Page
from evalkit.sources.yearbook.readings import Reading, Readings, find_merged
from evalkit.sources.yearbook.unplaced import Unplaced
from evalkit.sources.yearbook.words import Mark, fold_words, read_value, read_year, write_cell

HEADER_ROWS = 20
"""How far down the header of an export may stand."""

_SHOWN = 3  # series that are named where the values are too many
_DIGITS = 17  # of a float64 as programs write it: the number read is the one that was written
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:[.][0-9]+)?|[.][0-9]+)(?:[eE][+-]?[0-9]{1,3})?")
NOT_READ = "it is neither a number nor a mark in place of one"


@dataclass(frozen=True)
class CellRead:
    """What a cell holds: a number (NaN where there is none), its flags or why there is none, and what is noted of it."""

    value: float
    mark: Mark = ""
    note: str = ""


@dataclass(frozen=True)
class Export:
    """The rows of an export's table, and how they are read.

    `read_key` says of a row what its names say, and raises UnreadRow; `read_cell` reads a value, or returns why it is not one.
    `hint` is what the refusal of too many values says of this form; the rows of the `legend` say what marks mean.
    """

    page: Page
    layout: Layout
    rows: Sequence[int]
    read_key: Callable[[int], Key]
    read_cell: Callable[[int, Cell | None], CellRead | str]
    notes: Sequence[str] = ()
    hint: str = ""
    legend: Sequence[int] = ()


@dataclass
class ExportRead:
    """What was read of a form: the values, and cells that are not understood."""

    readings: Readings
    unplaced: list[Unplaced] = field(default_factory=list)


def read_table(form: Export, wanted: Collection[str], corrected: Mapping[tuple[int, int], str]) -> ExportRead:
    """Read the values of a form. Where they are more than `MOST_CELLS`, only the series `wanted` are made, by their names or by
    "name (unit)"; raises SourceError where none are wanted, and names some.
    """
    page, layout = form.page, form.layout
    rows, columns = form.rows, layout.columns
    _refuse_cut(page, layout, rows)
    many = sum(len(columns.keys() & page.grid.cells[row].keys()) for row in rows)
    if many > MOST_CELLS and not wanted:
        raise _refuse_many(form, many)
    names = {fold_words(one) for one in wanted}
    picked: dict[tuple[str, str | None], bool] = {}
    is_picked = many > MOST_CELLS
    series = dict[str, None]()
    merged = find_merged(page, layout, list(rows))
    known = {layout.key, layout.code, layout.time, layout.unit, *layout.left_out, *columns}
    values, unplaced = list[Reading](), list[Unplaced]()

    def set_aside(row: int, column: int, why: str) -> None:
        unread = page.unread.get((row, column))
        cell, remedy = page.grid.cells[row].get(column), unread.remedy if unread else ""
        unplaced.append(Unplaced(page, row, column, cell, why, remedy))

    for row in rows:
        cells = page.grid.cells[row]
        for column in sorted(cells.keys() - known):
            if _is_number(cells[column]) or column in layout.aside:
                set_aside(row, column, layout.aside.get(column, "no header stands above the column"))
        try:
            if (row, 0) in merged:
                raise UnreadRow(merged[row, 0])
            key = form.read_key(row)
        except UnreadRow as error:
            for column in sorted(columns.keys() & cells.keys()):
                set_aside(row, column, str(error))
            continue
        for column, heading in columns.items():
            indicator = " / ".join(filter(None, (heading.indicator, key.indicator)))
            unit = key.unit or heading.unit
            if is_picked:
                which = (indicator, unit)
                if which not in picked:
                    series[indicator] = None
                    picked[which] = fold_words(indicator) in names or fold_words(f"{indicator} ({unit})") in names
                if not picked[which]:
                    continue
            at = (row, column)
            unread = page.unread.get(at)
            cell = cells.get(column)
            found = f"the cell {unread.why}" if unread else merged.get(at) or form.read_cell(row, cell)
            if isinstance(found, str):
                set_aside(row, column, found)
                found = CellRead(float("nan"), "unread")
            note = "; ".join(filter(None, (found.note, corrected.get(at, "")))) if corrected else found.note
            values.append(
                Reading(
                    page,
                    row,
                    column,
                    key.code,
                    key.region or heading.region,
                    key.year or heading.year,
                    indicator,
                    unit,
                    found.value,
                    found.mark,
                    note,
                    (found.value, unit),
                )
            )
    return ExportRead(Readings(page, layout, list(rows), values, [*form.notes, *layout.notes], tuple(series)), unplaced)


def read_words(page: Page, rows: Sequence[int]) -> tuple[list[str], list[Unplaced]]:
    """Return what rows of words above, between and below tables say, and the numbers among them."""
    notes, lost = list[str](), list[Unplaced]()
    for row in rows:
        cells = page.grid.cells[row]
        notes.append(
            f"{page.address(row, min(cells))}: {' '.join(write_cell(cell) for _, cell in sorted(cells.items()))}"
        )
        why = "it stands outside the table"
        lost += [Unplaced(page, row, c, cell, why) for c, cell in sorted(cells.items()) if _is_number(cell)]
    return notes, lost


def lost_in_header(form: Export) -> list[Unplaced]:
    """Return numbers in the rows of a header that are neither years nor words over a column that is read."""
    page, read = form.page, {*form.layout.columns, *form.layout.told}
    return [
        Unplaced(page, row, column, cell, "it stands in the header, and is no year")
        for row in form.layout.header
        for column, cell in sorted(page.grid.cells[row].items())
        if column not in read and _is_number(cell)
    ]


def read_double(cell: Cell | None) -> float | None:
    """Read a number as a program writes it, also in scientific notation, or with commas between thousands."""
    if isinstance(cell, float):
        return cell
    if not isinstance(cell, str):
        return None
    if _NUMBER.fullmatch(cell):
        digits = re.sub(r"[eE].*|[^0-9]", "", cell).lstrip("0")
        return float(cell) if len(digits) <= _DIGITS else None
    found = read_value(cell)
    return found[0] if found and found[1] == "" else None


def find_header(page: Page, is_header: Callable[[Mapping[str, int]], bool]) -> tuple[int, dict[str, int]] | None:
    """Return the first row whose words, in small letters, are a header, and the columns of the words; none may stand twice."""
    for row in page.rows[:HEADER_ROWS]:
        words = {c: fold_words(cell).lower() for c, cell in page.grid.cells[row].items() if isinstance(cell, str)}
        columns = {word: column for column, word in words.items()}
        if len(columns) == len(words) and is_header(columns):
            return row, columns
    return None


def rows_below(page: Page, header: int, key: int) -> list[int]:
    """Return the rows below a header. One that repeats it, as in files put together, is left out; one that begins as it does and
    goes on otherwise is refused.
    """
    head, found = page.grid.cells[header], list[int]()
    for row in page.rows[page.rows.index(header) + 1 :]:
        cells = page.grid.cells[row]
        if cells.get(key) == head.get(key):
            if cells != head:
                raise SourceError(
                    f"the header in row {row} differs from the one in row {header}",
                    where=page.place(row, key),
                    remedy="download the table again in one piece, or split the file at that row into two",
                )
            continue
        found.append(row)
    return found


def refuse_periods(page: Page, row: int, column: int, said: str) -> SourceError:
    """Make the error for a table of months, quarters or other parts of years."""
    return SourceError(
        f"the periods are parts of years ('{said}'), and the tables of a yearbook are by year",
        where=page.place(row, column),
        remedy="download the annual table; or read it with Delimited, and sum or average the periods of each year",
    )


def _is_number(cell: Cell) -> bool:
    return read_year(cell) is None and read_double(cell) is not None


def _refuse_cut(page: Page, layout: Layout, rows: Sequence[int]) -> None:
    """Refuse a text that ends within a row: its download broke off, and nobody knows what else is missing."""
    widths = page.grid.widths
    last = page.rows[-1]
    if not rows or last != rows[-1] or not layout.header:
        return
    have, need = widths.get(last, 0), min(widths.get(row, 0) for row in (layout.header[-1], rows[0]))
    if last != rows[0] and have < need:
        raise SourceError(
            f"the last row has {have} fields and the first {need}: the file ends within it",
            where=f"{page.where}, row {last}",
            remedy="download it again",
        )


def _refuse_many(form: Export, many: int) -> SourceError:
    names = list(dict.fromkeys(_series(form)))
    shown = json.dumps({f"name_{i}": name for i, name in enumerate(names, start=1)}, ensure_ascii=False)
    remedy = f"name the series that are wanted, as columns={shown}"
    return SourceError(
        f"there are {many:,} values, and no more than {MOST_CELLS:,} are read at once",
        where=form.page.where,
        remedy=remedy + (f"; {form.hint}" if form.hint else ""),
    )


def _series(form: Export) -> Iterator[str]:
    """Give the names of the first series, with their units where several have one name."""
    found: dict[str, set[str]] = {}
    for row in form.rows:
        try:
            key = form.read_key(row)
        except UnreadRow:
            continue
        for heading in form.layout.columns.values():
            name = " / ".join(filter(None, (heading.indicator, key.indicator)))
            found.setdefault(name, set()).add(key.unit or heading.unit or "")
        if len(found) > _SHOWN:
            break
    for name, units in list(found.items())[:_SHOWN]:
        yield from [name] if len(units) == 1 else sorted(f"{name} ({unit})" for unit in units)[:_SHOWN]
