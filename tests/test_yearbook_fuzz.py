"""Yearbook: whatever happens to the bytes of a file, it gives a Table or an EvalkitError; and tables that are laid out at
random in one of the printed forms are read as they were meant."""

from __future__ import annotations

import gzip
import io
from contextlib import suppress
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
from yearbook_files import Rows, book, load, page

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


@inputs(25, 80, **SLOW)
@given(st.lists(ROWS, min_size=3, max_size=10))
def test_no_number_is_lost_where_a_page_is_read(tmp_path: Path, rows: Rows) -> None:
    with suppress(EvalkitError):
        read = set(load(book(tmp_path, s=rows))["cell"])
        for row, cells in enumerate(rows, start=1):
            for column, cell in enumerate(cells):
                alone = sum(one is not None for one in cells) == 1  # the number of a page, which is a note
                assert not isinstance(cell, float) or alone or f"{'ABCDEF'[column]}{row}" in read
