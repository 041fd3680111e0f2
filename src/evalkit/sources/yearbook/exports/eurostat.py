"""Eurostat's bulk download (.tsv): codes of all dimensions in the first field, years or regions across, flags behind numbers."""

from __future__ import annotations

import re
from dataclasses import replace

from evalkit.sources.files.cells import Cell, column_letters
from evalkit.sources.yearbook.captions import Caption
from evalkit.sources.yearbook.exports.flags import mark_without_number, name_flags
from evalkit.sources.yearbook.exports.form import NOT_READ, CellRead, Export, read_double, refuse_periods, rows_below
from evalkit.sources.yearbook.headings import Given, Heading
from evalkit.sources.yearbook.keys import Key, UnreadRow
from evalkit.sources.yearbook.layout import Layout
from evalkit.sources.yearbook.pages import Page
from evalkit.sources.yearbook.words import read_year, write_cell

_HEAD = re.compile(r"([A-Za-z0-9_]+(?:,[A-Za-z0-9_]+)*)\\([A-Za-z_]+)")
_TIMES = ("time", "time_period")
_CELL = re.compile(r"(:|[+-]?[0-9]+(?:[.][0-9]+)?(?:[eE][+-]?[0-9]+)?)?\s*([a-z](?:\s?[a-z])*)?")
_OWN = ("unit", "geo", "freq", *_TIMES)
_PERIOD = re.compile(r"(?:19|20)[0-9]{2}-?(?:[QMSWD][0-9]*|[0-9]{1,2})")


def find_eurostat(page: Page, given: Given) -> list[Export] | None:
    """Tell the form by its first field: codes of dimensions set apart by commas, then a backslash and the dimension across."""
    row = page.rows[0] if page.rows else 0
    first = page.grid.cells.get(row, {}).get(1)
    head = _HEAD.fullmatch(first.strip()) if isinstance(first, str) else None
    if head is None:
        return None
    names, across = [name.lower() for name in head[1].split(",")], head[2].lower()
    time = next((name for name in (*names, across) if name in _TIMES), None)
    if time is None or "geo" not in (*names, across) or across not in ("geo", *_TIMES):
        return None
    labels = {c: write_cell(cell).strip() for c, cell in page.grid.cells[row].items() if c > 1}
    aside = dict[int, str]()
    columns = {c: Heading(region=word, cells=((row, c),)) for c, word in sorted(labels.items())}
    if across in _TIMES:
        columns = {c: replace(one, region="", year=read_year(labels[c])) for c, one in columns.items()}
        aside = {c: f"'{labels[c]}' is not a whole year" for c, one in columns.items() if one.year is None}
        if aside and len(aside) == len(columns):
            raise refuse_periods(page, row, min(columns), labels[min(columns)])
        columns = {c: one for c, one in columns.items() if c not in aside}
    at = {name: i for i, name in enumerate(names)}
    dimensions = [i for name, i in at.items() if name not in _OWN]
    rows = rows_below(page, row, 1)
    if across == "geo" and rows and _PERIOD.fullmatch(said := _codes(page, rows[0])[at[time]].strip()):
        raise refuse_periods(page, rows[0], 1, said)

    def read_key(one: int) -> Key:
        codes = _codes(page, one)
        if len(codes) != len(names):
            raise UnreadRow(f"{len(codes)} codes stand in front of it, and the header names {len(names)} dimensions")
        if "freq" in at and codes[at["freq"]] != "A":
            raise UnreadRow(f"its frequency is '{codes[at['freq']]}', and the tables of a yearbook are by year")
        year = None
        if across == "geo" and (year := read_year(codes[at[time]])) is None:
            raise UnreadRow(f"'{codes[at[time]]}' is not a whole year")
        geo = codes[at["geo"]] if "geo" in at else ""
        indicator = " / ".join([*([given.indicator] if given.indicator else []), *(codes[i] for i in dimensions)])
        return Key(geo or None, geo, year, indicator, codes[at["unit"]] if "unit" in at else None)

    why = f"{first} names no dimension that says what the numbers are"
    lacking = () if dimensions or given.indicator else (("indicator", why),)
    layout = Layout(
        rows[0] if rows else row + 1,
        None,
        "regions",
        1,
        None,
        None,
        None,
        columns,
        frozenset(),
        Caption(page, []),
        (row,),
        aside=aside,
        lacking=lacking,
        given=frozenset({"indicator"} if given.indicator else ()),
        told={1: "codes"},
    )
    last = column_letters(max(columns, default=1))
    notes = [f"columns B to {last} are read by the codes {', '.join(names)} of each row; flags are in mark"]
    hint = 'indicator="…" may put the title of the data set in front of these names'
    return [Export(page, layout, rows, read_key, read_flagged, notes, hint)]


def read_flagged(row: int, cell: Cell | None) -> CellRead | str:
    """Read a number with flags behind it, or ":" where there is none: "25.1 bu", ": c"."""
    if cell is None:
        return CellRead(float("nan"), "missing")
    if isinstance(cell, float):
        return CellRead(cell)
    found = _CELL.fullmatch(cell.strip()) if isinstance(cell, str) else None
    if found is None:
        return NOT_READ
    flags = name_flags(found[2] or "")
    if flags is None:
        return f"the flag '{found[2]}' is none that Eurostat uses"
    if found[1] in (None, ":"):
        mark = mark_without_number(flags)
        rest = [flag for flag in flags if flag not in ("suppressed", "not_applicable")]
        return CellRead(float("nan"), mark, f"flagged {' '.join(rest)}" if rest else "")
    value = read_double(found[1])
    return NOT_READ if value is None else CellRead(value, " ".join(flags))


def _codes(page: Page, row: int) -> list[str]:
    return write_cell(page.grid.cells[row].get(1)).split(",")
