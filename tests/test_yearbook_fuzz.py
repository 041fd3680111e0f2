"""Yearbook: whatever happens to the bytes of a file, it gives a Table or an EvalkitError; and tables that are laid out at
random in one of the printed forms are read as they were meant."""

from __future__ import annotations

import gzip
import io
import re
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import msoffcrypto.format.ooxml
import openpyxl.utils
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from biff8 import DEFAULT_PASSWORD, Formula, Raised, XlsSheet, xls, xls_bytes
from evalkit.errors import EvalkitError
from evalkit.sources import Yearbook
from evalkit.tables.table import Table
from sampling import inputs
from test_yearbook import EXPORT, INCOME, INPUTS, INPUTS_MERGED
from yearbook_files import Rows, book, load, page, refused, unplaced

pytestmark = pytest.mark.filterwarnings("error")

SLOW = {"suppress_health_check": [HealthCheck.function_scoped_fixture]}
KINDS = ("xls", "rc4", "cryptoapi", "xlsx", "protected", "html", "gb18030", "utf-16", "gzip")


@cache
def seed(kind: str, folder: Path) -> bytes:
    """Return a file of a kind, which is read when nothing happens to it."""
    rows = [
        *INCOME[:4],
        ["昌 吉 市", "652301", Formula("21,234.5"), Formula(3.0)],
        [Raised("木垒县", "1"), 652328, "…", "-"],
    ]
    sheets = {
        "a": XlsSheet([*rows, ["注：1.含兵团。"]], hidden_rows=(4,), hidden_columns=(3,)),
        "b": XlsSheet(INPUTS, merged=[(2, 3, 0, 0), (2, 2, 1, 2), (2, 2, 3, 4)]),
        "c": XlsSheet([], chart=True),
    }
    if kind in ("xls", "rc4", "cryptoapi"):
        return xls_bytes(sheets, "" if kind == "xls" else DEFAULT_PASSWORD, crypto_api=kind == "cryptoapi")
    if kind in ("xlsx", "protected"):
        plain = book(folder, {"b": INPUTS_MERGED}, a=INCOME, b=INPUTS).read_bytes()
        sealed = io.BytesIO()
        msoffcrypto.format.ooxml.OOXMLFile(io.BytesIO(plain)).encrypt(DEFAULT_PASSWORD, sealed)
        return plain if kind == "xlsx" else sealed.getvalue()
    if kind == "html":
        head: Rows = [["地区", "农药(吨)", None, "化肥(万吨)"], [None, "2019年", "2020年", "2019年", "2020年"]]
        spans = {(0, 0): "rowspan=2", (0, 1): "colspan=2", (0, 3): "colspan=2"}
        return page(
            [*head, ["昌吉市", 10, 11, 1.5, 1.6], ["木垒县", 20, "", 2.5, "空"]], below="注：x", spans=spans
        ).encode()
    return gzip.compress(EXPORT.encode(), mtime=0) if kind == "gzip" else EXPORT.encode(kind)


CHANGES = st.lists(
    st.tuples(
        st.floats(0, 1, exclude_max=True),
        st.sampled_from(["set", "flip", "cut", "copy", "end"]),
        st.binary(min_size=1, max_size=40),
    ),
    min_size=1,
    max_size=6,
)


def change(data: bytes, changes: list[tuple[float, str, bytes]]) -> bytes:
    for place, how, piece in changes:
        at = int(place * len(data))
        if how == "set":
            data = data[:at] + piece + data[at + len(piece) :]
        elif how == "flip":
            data = data[:at] + bytes([data[at] ^ (piece[0] or 1)]) + data[at + 1 :] if data else b""
        elif how == "cut":
            data = data[:at] + data[at + len(piece) :]
        elif how == "copy":
            data = data[:at] + data[at // 2 : at // 2 + len(piece)] + data[at:]
        else:
            data = data[:at]
    return data


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_file_is_a_table_or_an_error(tmp_path: Path, kind: str) -> None:
    whole = seed(kind, tmp_path)
    path = tmp_path / "年鉴.xls"
    path.write_bytes(whole)
    assert len(Yearbook(path).load().frame) >= 6

    @inputs(*((6, 6) if kind == "protected" else (15, 50)), **SLOW)
    @given(CHANGES)
    def damage(changes: list[tuple[float, str, bytes]]) -> None:
        path.write_bytes(change(whole, changes))
        with suppress(EvalkitError):
            table = Yearbook(path).load()
            assert isinstance(table, Table)
            assert (table.frame["value"].isna() == (table.frame["mark"] != "")).all()

    damage()


# --- tables laid out at random ---

World = tuple[list[str], list[int], list[tuple[str, str]], dict[tuple[int, int, int], Any]]
REGIONS = ["全州", "昌吉市", "木 垒\u3000县", "呼图壁县", "奇 台 县", "玛纳斯县", "阜康市 Fukang"]
INDICATORS = [("农药使用量", "吨"), ("农用化肥施用量", "万吨"), ("有效灌溉面积", "千公顷")]
VALUES = st.one_of(
    st.floats(0, 1e6).map(lambda value: round(value, 2)),
    st.floats(1, 1e6).map(lambda value: f"{round(value, 1):,}"),
    st.integers(1900, 2099),
    st.sampled_from(["…", "-", None]),
)


@st.composite
def worlds(draw: Any) -> World:
    regions = draw(st.lists(st.sampled_from(REGIONS), min_size=2, max_size=6, unique=True))
    years = draw(st.lists(st.sampled_from([2017, 2018, 2019, 2020]), min_size=2, max_size=3, unique=True))
    indicators = draw(st.lists(st.sampled_from(INDICATORS), min_size=1, max_size=3, unique=True))
    keys = [(r, t, i) for r in range(len(regions)) for t in range(len(years)) for i in range(len(indicators))]
    values = {key: draw(VALUES) for key in keys}
    for r in range(len(regions)):
        values[r, 0, 0] = draw(
            st.floats(0.01, 0.99).map(lambda value: round(value, 2))
        )  # a row of no numbers is a note
    return regions, years, indicators, values


def ref(top: int, bottom: int, left: int, right: int) -> str:
    """Write a range counted from 1: A2:B3."""
    return f"{chr(64 + left)}{top}:{chr(64 + right)}{bottom}"


def block(world: World, form: str, written: bool, rows: range, top: int, left: int) -> tuple[Rows, list[str]]:
    """Print some regions: two rows of header and the data, and the cells that are merged when they begin at `top`, `left`."""
    regions, years, indicators, values = world
    shown = [f"{year} 年" if written else year for year in years]
    names = [f"{name}\n({unit})" for name, unit in indicators]
    wide, many = len(years), len(indicators)
    if form == "indicators over years":
        groups, below, size = names, shown * many, wide
        order = [(t, i) for i in range(many) for t in range(wide)]
    else:
        groups, below, size = shown, names * wide, many
        order = [(t, i) for t in range(wide) for i in range(many)]
    head: Rows = [["地 区", *(cell for group in groups for cell in [group, *[None] * (size - 1)])], [None, *below]]
    merged = [ref(top, top + 1, left, left)]
    starts = range(left + 1, left + 1 + size * len(groups), size)
    merged += [ref(top, top, start, start + size - 1) for start in starts if size > 1]
    return [*head, *([regions[r], *(values[r, t, i] for t, i in order)] for r in rows)], merged


def lay_out(world: World, form: str, written: bool, split: str) -> tuple[Rows, list[str]]:
    """Print a world in one of the forms of yearbooks, with the merged cells of its header."""
    regions, years, indicators, values = world
    title = ["6-1 各县市农业投入"]
    note = ["注：含兵团。"]
    if form == "regions and years beside":
        names = [f"{name}({unit})" for name, unit in indicators]
        years_shown = [f"{year}年" if written else year for year in years]
        cells = [(r, t) for r in range(len(regions)) for t in range(len(years))]
        rows = [[regions[r], years_shown[t], *(values[r, t, i] for i in range(len(indicators)))] for r, t in cells]
        return [title, ["地区", "年份", *names], *rows, note], []
    if form == "years beside":
        places = len(regions)
        head: Rows = [["年 份", *(c for name, unit in indicators for c in [f"{name}({unit})", *[None] * (places - 1)])]]
        head.append([None, *regions * len(indicators)])
        merged = [ref(2, 3, 1, 1), *(ref(2, 2, 2 + places * i, 1 + places * (i + 1)) for i in range(len(indicators)))]
        order = [(i, r) for i in range(len(indicators)) for r in range(places)]
        rows = [
            [f"{year}年" if written else year, *(values[r, t, i] for i, r in order)] for t, year in enumerate(years)
        ]
        return [title, *head, *rows, note], merged
    half = (len(regions) + 1) // 2
    if split == "whole":
        rows, merged = block(world, form, written, range(len(regions)), 2, 1)
        return [title, *rows, note], merged
    first, merged = block(world, form, written, range(half), 2, 1)
    if split == "below":
        second, more = block(world, form, written, range(half, len(regions)), len(first) + 4, 1)
        return [title, *first, note, ["6-1 续表"], *second], merged + more
    raised = split == "beside, a row higher"
    gap = len(first[0]) + 1
    second, more = block(world, form, written, range(half, len(regions)), 1 if raised else 2, gap + 1)
    rows = [title, *first, note]
    for place, cells in enumerate(second):
        row = rows[place + (0 if raised else 1)]
        row += [None] * (gap - len(row)) + cells
    return rows, merged + more


FORMS = ["regions and years beside", "years beside", "indicators over years", "years over indicators"]
SPLITS = ["whole", "below", "beside", "beside, a row higher"]


@inputs(15, 50, **SLOW)
@given(worlds(), st.sampled_from(FORMS), st.sampled_from(SPLITS), st.booleans(), st.booleans())
def test_a_table_in_any_printed_form_is_read_as_it_was_meant(
    tmp_path: Path, world: World, form: str, split: str, written: bool, old: bool
) -> None:
    rows, merged = lay_out(world, form, written, split)
    regions, years, indicators, values = world
    if old:
        bounds = [openpyxl.utils.range_boundaries(one) for one in merged]
        spans = [(top - 1, bottom - 1, left - 1, right - 1) for left, top, right, bottom in bounds]
        frame = load(xls(tmp_path, {"s": XlsSheet(rows, merged=spans)}))
    else:
        frame = load(book(tmp_path, {"s": tuple(merged)}, s=rows))
    found = {
        (reading.region, reading.year, reading.indicator, reading.unit): (
            reading.value if not reading.mark else reading.mark
        )
        for reading in frame.itertuples()
    }
    marks = {"…": "below_unit", "-": "none", None: "missing"}
    expected = {}
    for (r, t, i), value in values.items():
        region = "".join(regions[r].removesuffix("Fukang").split())
        number = float(value.replace(",", "")) if isinstance(value, str) and value not in marks else value
        expected[region, years[t], *indicators[i]] = (
            marks.get(value, number) if not isinstance(number, float) else number
        )
    assert found == expected
    assert len(frame) == len(expected)


ROWS = st.one_of(
    st.lists(
        st.sampled_from([None, None, 2019, 652301, 1.5, 7.25, "…", "地区", "昌吉市", "粮食(吨)", "2020年"]),
        min_size=1,
        max_size=6,
    ),
    st.tuples(
        st.sampled_from(["昌吉市", "木垒县", "全州"]), st.sampled_from([1.5, 7.25]), st.sampled_from([3.5, None, "…"])
    ).map(list),
    st.sampled_from(
        [
            ["地区", 2019, 2020],
            ["地区", "粮食(吨)", "棉花(亩)"],
            ["地区", "粮食(吨)", None, "地区", "粮食(吨)"],
            ["昌吉市", 1.5, None, "木垒县", 2.5],
            ["5-3 2019年各县市产量"],
            ["5-3 续表"],
            ["单位：吨"],
            ["注：x"],
        ]
    ),
)


@inputs(40, 200, **SLOW)
@given(st.lists(ROWS, min_size=3, max_size=10))
def test_no_number_is_lost_where_a_page_is_read(tmp_path: Path, rows: Rows) -> None:
    with suppress(EvalkitError):
        path = book(tmp_path, s=rows)
        frame, listed = load(path), unplaced(path)
        for row, cells in enumerate(rows, start=1):
            for column, cell in enumerate(cells):
                name = f"{'ABCDEF'[column]}{row}"
                assert not isinstance(cell, float) or (name in set(frame["cell"])) or name in listed
        for reading in frame.itertuples():
            held = rows[int(reading.cell[1:]) - 1]
            cell = held[column] if (column := "ABCDEF".index(reading.cell[0])) < len(held) else None
            assert (reading.mark == "unread") == (reading.cell in listed)
            assert reading.mark or reading.value == cell  # of its own cell, and of no other
            assert reading.region in [str(one) for line in rows for one in line]


# --- pages as they are printed ---

NAMES = "粮食 小麦 稻谷 玉米 豆类 薯类 棉花 油料 花生 甜菜 烟叶 蔬菜 瓜果 化肥 农药 农膜 柴油 发明 实用新型".split()
MISPRINTS = ["lo", "7.8S", "l2", "1.2.3", "5O", "无", "12①", "1 23"]
STYLES = ["blank", "merged down", "merged sideways", "over its parts", "#", "其中"]


@dataclass
class Branch:
    """A name of a header: the column of its own below it, if it has one, its parts, and how these are printed."""

    name: str
    unit: str
    own: bool
    style: str
    parts: list[Branch] = field(default_factory=list)


@dataclass(frozen=True)
class Printed:
    """A printed page: its rows and merged cells, and what its numbers are (region, year, indicator, value, unit), by cell."""

    rows: Rows
    merged: list[str]
    expected: dict[str, tuple[str, int, str, Any, str]]
    listed: set[str]
    sheet: str
    options: dict[str, Any]


@st.composite
def branches(draw: Any, depth: int, names: list[str]) -> Branch:
    """Draw a name of a header with its parts, of which none has the name of another."""
    name, unit = names.pop(), draw(st.sampled_from(["", "吨", "万吨"]))
    if depth == 0 or len(names) < 3 or draw(st.integers(0, 2)) == 0:
        return Branch(name, unit, own=True, style="blank")
    style = draw(st.sampled_from(STYLES))
    below = 0 if style in ("#", "其中") else depth - 1
    parts = [draw(branches(below, names)) for _ in range(draw(st.integers(2, 3))) if names]
    if style not in ("#", "其中") and draw(st.booleans()):
        parts[0] = total(parts[0])
    own = style not in ("merged sideways", "over its parts")
    return Branch(name, unit, own, style, parts)


def total(branch: Branch) -> Branch:
    """Call a name that has a column of its own 合计."""
    return replace(branch, name="合计") if branch.own and branch.style != "其中" else branch


def depth_of(branch: Branch) -> int:
    if branch.style == "#":
        return 1
    return 1 + max((depth_of(part) for part in branch.parts), default=0)


def print_header(roots: list[Branch], units: str, top: int) -> tuple[Rows, list[str], list[tuple[str, str]]]:
    """Print names over columns from B on, from row `top`: the rows, the merged cells, and the indicator and unit of each column.

    Units stand behind the names (`units` is "brackets"), or they are all the one of the caption.
    """
    deep = max(map(depth_of, roots))
    rows: Rows = [["地  区" if level == 0 else None] for level in range(deep)]
    merged, columns = list[str](), list[tuple[str, str]]()

    def put(level: int, column: int, text: str) -> None:
        rows[level] += [None] * (column + 1 - len(rows[level]))
        rows[level][column] = text

    def go(branch: Branch, level: int, path: list[str], unit: str) -> None:
        unit = branch.unit or unit if units == "brackets" else unit
        said = f"{branch.name}\n({branch.unit})" if units == "brackets" and branch.unit else branch.name
        start, names = len(columns) + 1, [*path, branch.name]
        put(level, start, said)
        if branch.own:
            columns.append((" / ".join(names), unit))
        if branch.style == "merged down" and branch.parts and deep > level + 1:
            merged.append(ref(top + level, top + deep - 1, start + 1, start + 1))
        if branch.style == "其中":
            put(level, len(columns) + 1, "其  中")
        for part in branch.parts:
            if branch.style == "#":
                go(replace(part, name=f"#{part.name}"), level, path, unit)
            else:
                go(replace(part, name=f"# {part.name}") if branch.style == "其中" else part, level + 1, names, unit)
            if branch.style in ("#", "其中"):
                own = part.unit if units == "brackets" and part.unit else unit
                whole = names[:-1] if len(names) > 1 and branch.name == "合计" else names
                columns[-1] = (" / ".join([*whole, part.name]), own)
        if branch.style == "merged sideways":
            merged.append(ref(top + level, top + level, start + 1, len(columns) + 1))

    for root in roots:
        go(root, 0, [], "")
    return rows, merged, columns


@st.composite
def pages(draw: Any) -> Printed:
    """Draw a page of one of the printed forms."""
    names = draw(st.permutations(NAMES))
    roots = [draw(branches(4, names)) for _ in range(draw(st.integers(1, 3))) if len(names) > 3]
    roots[0] = total(roots[0]) if draw(st.booleans()) else roots[0]
    units = draw(st.sampled_from(["caption", "caption", "two languages", "brackets", "row", "asked"]))
    years = draw(st.sampled_from(["title", "sheet", "given", "file name", "blocks"]))
    english = draw(st.booleans())
    title = f"8-8 各地区农业投入{'(2019)' if years == 'title' else ''}"
    rows: Rows = [[title]]
    rows += [["8-8 Inputs by Region"]] if english else []
    rows += [["单位：万吨"]] if units in ("caption", "two languages") else []
    rows += [["(10 000 tons)"]] if units == "two languages" else []
    header, merged, columns = print_header(roots, units, len(rows) + 1)
    if units == "row":
        header.append([None, *("(公顷)" for _ in columns)])
        merged = [m for m in merged if m.split(":")[0][0] != m.split(":")[1][0] or units != "row"]
    if units != "brackets":
        unit = {"row": "公顷", "asked": "担"}.get(units, "万吨")
        columns = [(name, unit) for name, _ in columns]
    rows += header
    wide = len(columns)
    bare = draw(st.booleans())  # a column without a header
    regions = draw(st.lists(st.sampled_from(REGIONS), min_size=2, max_size=5, unique=True))
    shown = [2018, 2019] if years == "blocks" else [2019]
    value = st.one_of(
        st.floats(0.01, 1e6).map(lambda number: round(number, 2)),
        st.floats(1e3, 1e7).map(
            lambda number: f"{round(number, 1):,}".replace(",", draw(st.sampled_from([" ", ",", "\u00a0"])))
        ),
        st.sampled_from(["…", "-", None, "<0.01"]),
    )
    marks = {"…": "below_unit", "<0.01": "below_unit", "-": "none", None: "missing"}
    expected, listed = dict[str, tuple[str, int, str, Any, str]](), set[str]()
    for year in shown:
        if years == "blocks":
            rows.append([f"{year}年" if english else year])
        for r, region in enumerate(regions):
            cells = [draw(value) for _ in columns]
            if units in ("asked", "brackets"):  # a column without a number and a unit is left out, with a note
                cells = ["-" if cell is None else cell for cell in cells]
            cells[0] = 0.5 + r  # a row of no numbers may be a note
            wrong = draw(st.sampled_from([None, None, *range(wide)])) if wide > 1 and r + 1 < len(regions) else None
            if wrong is not None:
                cells[wrong] = draw(st.sampled_from(MISPRINTS))
            rows.append([region, *cells, *([7.25] if bare else [])])
            for column, (cell, (name, unit)) in enumerate(zip(cells, columns, strict=True)):
                place = f"{openpyxl.utils.get_column_letter(column + 2)}{len(rows)}"
                number = (
                    float(re.sub(r"[,\s]", "", cell))
                    if isinstance(cell, str) and cell not in marks and column != wrong
                    else cell
                )
                found = "unread" if column == wrong else marks.get(cell, number)
                plain = "".join(region.removesuffix("Fukang").split())
                expected[place] = (plain, year, name, found, unit)
                listed |= {place} if column == wrong else set()
            listed |= {f"{openpyxl.utils.get_column_letter(wide + 2)}{len(rows)}"} if bare else set()
    options: dict[str, Any] = {"given": {"year": 2019}, "file name": {"year": "file name"}}.get(years, {})
    if units == "asked" or any(not unit for _, unit in columns):
        options = options | {"units": {name: unit or "担" for name, unit in columns if not unit or units == "asked"}}
        expected = {cell: (*one[:4], one[4] or "担") for cell, one in expected.items()}
    sheet = "2019" if years == "sheet" else "表"
    return Printed([*rows, ["注：含兵团。"]], merged, expected, listed, sheet, options)


@inputs(60, 400, **SLOW)
@given(pages())
def test_a_page_is_read_as_it_is_printed_and_what_is_not_is_listed(tmp_path: Path, printed: Printed) -> None:
    path = book(tmp_path, {printed.sheet: tuple(printed.merged)}, **{printed.sheet: printed.rows})
    path = path.rename(path.with_stem("年鉴2019"))
    frame = load(path, **printed.options)
    found = {
        one.cell: (one.region, one.year, one.indicator, one.mark or one.value, one.unit) for one in frame.itertuples()
    }
    assert found == printed.expected
    assert set(unplaced(path, **printed.options)) == printed.listed
    assert set(frame["note"]) <= {"含兵团", "含兵团; printed as <0.01"}
    if printed.options:  # what is asked for is what is lacking, and nothing else
        error = refused(path)
        assert ("year=" in error.remedy) == ("year" in printed.options)
        assert ("units=" in error.remedy) == ("units" in printed.options)
