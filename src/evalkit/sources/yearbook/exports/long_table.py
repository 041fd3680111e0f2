"""Long tables: one row a value, as FAOSTAT, e-Stat, SDMX-CSV and the databases CSMAR and EPS export them."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from evalkit.errors import SourceError
from evalkit.sources.files.cells import Cell
from evalkit.sources.yearbook.captions import Caption
from evalkit.sources.yearbook.exports.flags import mark_without_number, name_flags
from evalkit.sources.yearbook.exports.form import (
    NOT_READ,
    CellRead,
    Export,
    find_header,
    read_double,
    refuse_periods,
    rows_below,
)
from evalkit.sources.yearbook.headings import Given, Heading
from evalkit.sources.yearbook.keys import Key, UnreadRow
from evalkit.sources.yearbook.layout import Layout
from evalkit.sources.yearbook.pages import Page
from evalkit.sources.yearbook.words import join_words, narrow, read_value, read_year, write_cell

_VALUES = frozenset("value obs_value 数值 数据值 指标值 数据 値".split())
_TIMES = re.compile(r"year|time_period|time|年|年份|年度|时间|時点|時間軸(?:\(.*\)|_.*)?")
_REGIONS = re.compile(
    r"area|country|country or area|reference area|geo|region|ref_area|location|territory|province|county|"
    r"地区|地区名称|地区名|省份|省份名称|省市|城市|县市|区县|地域(?:\(.*\)|_.*)?"
)
_UNITS = frozenset("unit|units|unit of measure|unit_measure|单位|计量单位|計量単位|単位|指标单位".split("|"))
_INDICATORS = re.compile(
    r"element|item|indicator|series|variable|measure|na_item|指标|指标名称|项目|表章項目(?:\(.*\)|_.*)?"
)
_FLAGS = frozenset("flag flags obs_flag obs_status 标记".split())
_NOTES = frozenset("flag description|note|notes|value footnotes|comment|备注|注释|注記".split("|"))
_FREQUENCIES = frozenset("freq frequency 频度".split())
_POWERS = ("unit_mult", "powercode")
_ASIDE = re.compile(
    r".*(?:\bcode(?:s|\s*\(.*\))?|代码|编码|コード)|[a-z0-9]*_code|code|id|"
    r"序号|no[.]?|dataflow|structure(?:_id)?|last[ _]update|conf_status|decimals"
)
_PERIOD = re.compile(
    r"(?:19|20)[0-9]{2}(?:-?[QMSWDH][0-9]+|[-/.][01]?[0-9](?:[-/.][0-3]?[0-9])?|年[0-9]{1,2}月.*|年?第?[一二三四1-4]季度?)"
)


@dataclass(frozen=True)
class _Columns:
    """The columns of a long table: those of the value, the time and the region, and what else stands beside the value."""

    value: int
    time: int
    region: int
    code: int | None
    unit: int | None
    flag: int | None
    note: int | None
    frequency: int | None
    power: int | None
    aside: tuple[int, ...]
    dimensions: Mapping[int, str]


def find_long(page: Page, given: Given) -> list[Export] | None:
    """Tell the form by a header with one column of values, one of time, one of regions, and what the values are beside them."""
    found = find_header(page, lambda words: _sort_columns(words) is not None)
    columns = _sort_columns(found[1]) if found else None
    if found is None or columns is None:
        return None
    header = found[0]
    head = {c: write_cell(cell).strip() for c, cell in page.grid.cells[header].items()}
    below = rows_below(page, header, columns.value)
    rows = [row for row in below if columns.time in page.grid.cells[row] and len(page.grid.cells[row]) > 1]
    if not rows:
        return None
    if refused := _find_period(page, rows, columns.time):
        raise refused
    constant, varying, aside = _split_dimensions(page, rows, columns)
    kept = [c for c in columns.dimensions if c in varying or _INDICATORS.fullmatch(columns.dimensions[c])]
    notes = [
        f"'{head[c]}' is '{said}' in all rows, and left out of the names of the indicators"
        for c, said in constant.items()
        if c not in kept
    ]
    why = "no column says what the values are"
    lacking = () if kept or given.indicator else (("indicator", why),)
    layout = Layout(
        rows[0],
        None,
        "regions",
        columns.region,
        columns.code,
        columns.time,
        columns.unit,
        {columns.value: Heading(cells=((header, columns.value),), indicator="")},
        frozenset({*columns.aside, *columns.dimensions, *_beside(columns)} - aside.keys()),
        Caption(page, []),
        (header,),
        aside=aside,
        lacking=lacking,
        given=frozenset({"indicator"} if given.indicator and not kept else ()),
        told=_tell(columns, {*constant, *varying}),
    )
    read_key = _make_reader(page, columns, kept, given)
    return [
        Export(
            page,
            layout,
            rows,
            read_key,
            lambda row, cell: _read_cell(page.grid.cells[row], columns, cell),
            notes,
            "or read it with Delimited, and turn it with ek.widen",
        )
    ]


def _sort_columns(words: Mapping[str, int]) -> _Columns | None:
    """Tell the columns by the words above them; None where it is not certain which is which."""
    values = [c for word, c in words.items() if word in _VALUES]
    times = [c for word, c in words.items() if _TIMES.fullmatch(word)]
    regions = {word: c for word, c in words.items() if _REGIONS.fullmatch(word)}
    codes = dict[str, int]()
    if len(regions) == 2 and regions.keys() & {"location", "ref_area"}:  # the code, beside the name
        codes = {word: regions.pop(word) for word in [*regions] if word in ("location", "ref_area")}
    if len(times) == 2:
        times = [c for word, c in words.items() if word in ("time_period", "year") and c in times]
    if not len(values) == len(times) == len(regions) == 1:
        return None
    (name, region), taken = next(iter(regions.items())), {values[0], times[0], *regions.values(), *codes.values()}
    bare = re.sub(r"(?:名称|名)$", "", name)
    for word, c in words.items():
        if (
            c not in taken
            and _ASIDE.fullmatch(word)
            and (word.startswith((f"{name} ", bare)) or word in ("iso3", "code"))
        ):
            codes.setdefault(word, c)
    code = next(iter(codes.values()), None)
    one: dict[str, int | None] = {}
    for kind, known in (
        ("unit", _UNITS),
        ("flag", _FLAGS),
        ("note", _NOTES),
        ("freq", _FREQUENCIES),
        ("power", _POWERS),
    ):
        named = [c for word, c in words.items() if word in known and c not in taken]
        one[kind] = named[0] if named else None
        taken |= set(named[:1])
    aside = tuple(c for word, c in words.items() if c not in taken and c != code and _ASIDE.fullmatch(word))
    aside += tuple(c for word, c in words.items() if _TIMES.fullmatch(word) and c != times[0])
    dimensions = {c: word for word, c in words.items() if c not in {*taken, *aside, code}}
    if not dimensions and one["unit"] is None and one["flag"] is None:
        return None  # an ordinary table of one column
    return _Columns(
        values[0],
        times[0],
        region,
        code,
        one["unit"],
        one["flag"],
        one["note"],
        one["freq"],
        one["power"],
        aside,
        dict(sorted(dimensions.items())),
    )


def _beside(columns: _Columns) -> set[int]:
    found = (columns.flag, columns.note, columns.frequency, columns.power)
    return {c for c in found if c is not None}


def _tell(columns: _Columns, dimensions: Collection[int]) -> dict[int, str]:
    told = dict.fromkeys(columns.aside, "codes") | dict.fromkeys(dimensions, "indicator")
    told |= dict.fromkeys(_beside(columns), "flag")
    return told


def _split_dimensions(
    page: Page, rows: list[int], columns: _Columns
) -> tuple[dict[int, str], set[int], dict[int, str]]:
    """Return the dimensions that say one thing in all rows, those that vary, and columns of further numbers."""
    constant, varying, aside = dict[int, str](), set[int](), dict[int, str]()
    for column in columns.dimensions:
        said = {cell for row in rows if (cell := page.grid.cells[row].get(column)) is not None}
        if any(read_value(cell) is not None and read_year(cell) is None for cell in said):
            aside[column] = "it stands beside the column of values, and may be another one"
        elif len(said) == 1:
            constant[column] = write_cell(next(iter(said)))
        elif said:
            varying.add(column)
    return constant, varying, aside


def _find_period(page: Page, rows: list[int], time: int) -> SourceError | None:
    """Return the refusal of a table in which no row is of a year, and some are of months or quarters."""
    first: int | None = None
    for row in rows:
        cell = page.grid.cells[row][time]
        if read_year(cell) is not None:
            return None
        if first is None and isinstance(cell, str) and _PERIOD.fullmatch(narrow(cell).strip()):
            first = row
    return None if first is None else refuse_periods(page, first, time, write_cell(page.grid.cells[first][time]))


def _make_reader(page: Page, columns: _Columns, kept: list[int], given: Given) -> Callable[[int], Key]:
    names = dict[tuple[Cell | None, ...], str]()

    def read_key(row: int) -> Key:
        cells = page.grid.cells[row]
        if (year := read_year(cells.get(columns.time))) is None:
            raise UnreadRow(f"'{write_cell(cells.get(columns.time))}' is not a whole year")
        region = join_words(write_cell(cells.get(columns.region)))
        if not region:
            raise UnreadRow("no name of a region stands in its row")
        if columns.frequency is not None:
            said = write_cell(cells.get(columns.frequency)).partition(":")[0].strip()
            if said not in ("A", "Annual", "annual", "年", "年度", ""):
                raise UnreadRow(f"its frequency is '{said}', and the tables of a yearbook are by year")
        parts = tuple(cells.get(c) for c in kept)
        if parts not in names:
            names[parts] = " / ".join(join_words(narrow(write_cell(part))) for part in parts if part is not None)
        code = None if columns.code is None else write_cell(cells.get(columns.code)) or None
        return Key(code, region, year, names[parts] or given.indicator, _read_unit(cells, columns))

    return read_key


def _read_unit(cells: Mapping[int, Cell], columns: _Columns) -> str | None:
    """Return the unit, with the power of ten in which SDMX says that it is counted."""
    unit = join_words(narrow(write_cell(cells.get(columns.unit)))) if columns.unit is not None else ""
    power = write_cell(cells.get(columns.power)).strip() if columns.power is not None else ""
    if power in ("", "0", "Units"):
        return unit or None
    return f"{f'10^{power}' if power.lstrip('-').isdigit() else power} {unit}".strip()


def _read_cell(cells: Mapping[int, Cell], columns: _Columns, cell: Cell | None) -> CellRead | str:
    """Read a value with the flag beside it; one that is flagged as missing is none, whatever is printed."""
    said = write_cell(cells.get(columns.flag)).strip() if columns.flag is not None else ""
    flags = name_flags(said)
    note = join_words(write_cell(cells.get(columns.note))) if columns.note is not None else ""
    if flags is None:
        flags, note = ("flagged",), f"{said}: {note}" if note else said
    if not flags and said:
        note = ""  # official figure
    value = read_double(cell)
    if value is not None and "missing" not in flags:
        return CellRead(value, " ".join(flags), note)
    if value:
        return f"it is flagged as missing ({said})"
    if value is not None:
        return CellRead(
            float("nan"), "missing", f"{write_cell(cell)} is printed, flagged {said}{f': {note}' if note else ''}"
        )
    if cell is None or cell in (":", "..", "...", "NA", "NaN", "nan"):
        return CellRead(float("nan"), mark_without_number(flags), note)
    found = read_value(cell)
    return CellRead(found[0], found[1], note) if found else NOT_READ
