"""Delimited on files as people have them: titles, levels, units, notes, chosen columns, old workbooks, and bad cells by name."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import msoffcrypto.format.ooxml
import numpy as np
import openpyxl
import pandas as pd
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from biff8 import DEFAULT_PASSWORD, XlsSheet, xls_bytes
from evalkit.errors import ConfigError, DataError, EvalkitError, SourceError
from evalkit.sources import Delimited, LoanLedger
from evalkit.study.config import read_study
from evalkit.study.running import run_study
from evalkit.tables.columns import numbers
from evalkit.tables.table import Table
from evalkit.tables.units import same_unit, unit_of_header
from sampling import inputs

pytestmark = pytest.mark.filterwarnings("error")

Rows = list[list[Any]]
IDS = ["11010519491231002X", "440524188001010014", "652328198001011230"]


def put(folder: Path, content: str | bytes, name: str = "data.csv") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def book(folder: Path, *merged: str, name: str = "book.xlsx", **sheets: Rows) -> Path:
    """Write a workbook with a sheet per keyword; the ranges are merged in the first."""
    workbook = openpyxl.Workbook()
    workbook.remove(workbook.worksheets[0])
    for title, rows in sheets.items():
        sheet = workbook.create_sheet(title)
        for row in rows:
            sheet.append(row)
    for ref in merged:
        workbook.worksheets[0].merge_cells(ref)
    workbook.save(folder / name)
    return folder / name


def load(path: Path, **options: Any) -> Table:
    return Delimited(path, **options).load()


def note(path: Path, **options: Any) -> str:
    return load(path, **options).provenance[0].notes


def refused(path: Path, **options: Any) -> SourceError:
    with pytest.raises(SourceError) as caught:
        Delimited(path, **options).load()
    return caught.value


def says(error: EvalkitError, what: str, where: str, remedy: str) -> None:
    assert what in error.what
    assert where in error.where
    assert remedy in error.remedy


# --- chosen columns ---

WIDE = "县\t年份\t化肥 施用量（吨）\t备注\n木垒县\t2011\t5\tx\n奇台县\t2012\t6\ty\n"


@pytest.mark.parametrize(
    "header",
    ["化肥 施用量（吨）", "化肥施用量(吨)", "化肥\n施用量", "化肥施用量 【吨】", "化肥施用量［吨］", "化肥施用量"],
)
def test_columns_are_found_however_their_header_was_typed(tmp_path: Path, header: str) -> None:
    table = load(put(tmp_path, WIDE), columns={"y": header, "county": "县"})
    assert list(table.frame.columns) == ["y", "county"]
    assert table.frame["y"].tolist() == [5, 6]
    assert table.units == {"y": "吨"}
    assert table.provenance[0].notes == "columns that were not read: 年份, 备注"


def test_full_width_letters_and_line_breaks_in_the_file_do_not_matter(tmp_path: Path) -> None:
    path = book(tmp_path, A=[["ＧＤＰ\n(万元)", "year"], [1.5, 2011]])
    assert load(path, columns={"gdp": "GDP"}).frame["gdp"].tolist() == [1.5]
    assert load(path, columns={"gdp": "GDP(万元)"}).units == {"gdp": "万元"}


def test_an_unknown_header_is_refused_with_the_nearest(tmp_path: Path) -> None:
    says(
        refused(put(tmp_path, WIDE), columns={"y": "化肥使用量"}),
        "header '化肥使用量' (for 'y')",
        "data.csv",
        "did you mean '化肥 施用量（吨）'",
    )
    says(refused(put(tmp_path, WIDE), columns={"y": "施用量"}), "'施用量'", "row 1", "did you mean '化肥 施用量（吨）'")


def test_a_repeated_header_matters_only_where_it_is_asked_for(tmp_path: Path) -> None:
    path = put(tmp_path, "id,x,x,面积(亩),面积(公顷)\n1,2,3,15,1\n")
    says(refused(path), "both called 'x'", "row 1", "rename")
    assert load(path, columns={"n": "id"}).frame["n"].tolist() == [1]
    says(refused(path, columns={"n": "x"}), "column 2 ('x') and column 3 ('x')", "row 1", "rename one of them")
    says(refused(path, columns={"n": "面积"}), "column 4 ('面积(亩)') and column 5", "row 1", "with its unit")
    assert load(path, columns={"n": "面积(公顷)"}).frame["n"].tolist() == [1]
    says(refused(path, columns={"a": "id", "b": "id"}), "both 'a' and 'b'", "row 1", "leave one")
    says(refused(path, columns={"": "id"}), "empty name", "data.csv", "columns=")


def test_other_settings_go_by_the_names_in_the_study(tmp_path: Path) -> None:
    path = put(tmp_path, "编码,产量\n01,5\n02,6\n")
    table = load(path, columns={"code": "编码", "y": "产量"}, text=("code",), units={"y": "t"})
    assert table.frame["code"].tolist() == ["01", "02"]
    assert table.units == {"y": "t"}
    says(refused(path, columns={"y": "产量"}, text=("编码",)), "text= names column '编码'", "data.csv", "known are: y")
    path.with_name("data.csv.provenance.toml").write_text('[units]\ny = "kg"\n"编码" = "t"\n', encoding="utf-8")
    assert load(path, columns={"y": "产量"}).units == {"y": "kg"}  # that of a column that is not read is left aside
    assert "编码" in refused(path, columns={"y": "产量", "code": "编码"}).what


def test_persons_in_columns_that_are_not_read_are_neither_shown_nor_refused(tmp_path: Path) -> None:
    rows = "".join(f"{one},{i}\n" for i, one in enumerate(IDS))
    path = put(tmp_path, "证件号码,y\n" + rows)
    assert "citizen ids" in refused(path).what
    table = load(path, columns={"y": "y"})
    assert table.frame["y"].tolist() == [0, 1, 2]
    assert not any(one in str(table.provenance) for one in IDS)
    says(refused(path, columns={"who": "证件号码"}), "citizen ids", "column 'who'", 'pseudonymise=("who",)')
    for options in ({"columns": {"y": "x"}}, {}, {"header": 2, "columns": {"y": "1"}}):  # a file without a header
        error = refused(put(tmp_path, rows), **options)
        assert "header holds citizen ids" in error.what
        assert not any(one in str(error) for one in IDS)


def test_telephones_are_found_by_their_header_whatever_the_study_calls_them(tmp_path: Path) -> None:
    for path in (
        put(tmp_path, "联系电话,y\n13812345678,1\n13912345678,2\n"),
        book(tmp_path, A=[["联系电话", "y"], ["13812345678", 1], [13912345678, 2]]),
    ):
        error = refused(path, columns={"contact": "联系电话"})
        says(error, "telephone numbers", "column 'contact'", 'pseudonymise=("contact",)')
        assert load(path, columns={"y": "y"}).frame["y"].tolist() == [1, 2]


def test_pseudonyms_go_by_the_names_in_the_study(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    path = put(tmp_path / "data", "证件号码,y\n" + "".join(f"{one},1\n" for one in IDS))
    key = put(tmp_path, "5d41402abc4b2a76b9719d911017c592", "study.key")
    table = load(path, columns={"who": "证件号码"}, pseudonymise=("who",), key_file=key)
    assert table.frame["who"].str.fullmatch("[0-9a-f]{32}").all()


def test_cells_that_cannot_be_read_matter_in_columns_that_are_read(tmp_path: Path) -> None:
    path = book(tmp_path, A=[["a", "b"], [1, 2], [3, "#REF!"]])
    says(refused(path), "#REF!", "A!B3", "correct")
    assert load(path, columns={"x": "a"}).frame["x"].tolist() == [1, 3]


def test_columns_of_parquet_are_chosen_too(tmp_path: Path) -> None:
    path = tmp_path / "p.parquet"
    pd.DataFrame({"产量(吨)": [1.0, 2.0], "b": ["-", "x"]}).to_parquet(path)
    table = load(path, columns={"y": "产量"})
    assert (list(table.frame.columns), table.units) == (["y"], {"y": "吨"})
    assert load(path, missing=("-",)).frame["b"].isna().tolist() == [True, False]
    for options in ({"header": 2}, {"unit_row": 2}, {"last": 3}):
        says(refused(path, **options), f"{next(iter(options))}= is given", "p.parquet", "leave")
    says(refused(path, thousands=","), "thousands=", "p.parquet", "leave it out")


# --- the header ---

WORLD = '"Data Source","World indicators",\n\n"Last Updated","2022-12-22",\n\n"Country","Code","1960","1961",\n'
WORLD += '"Aruba","ABW","","1.5",\n"Zambia","ZMB","2","",\n'


def test_titles_above_the_header_are_declared_and_noted(tmp_path: Path) -> None:
    path = put(tmp_path, WORLD)
    says(refused(path), "5 fields and the header 3", "row 5", "pass header=5")
    table = load(path, header=5)
    assert list(table.frame.columns) == ["Country", "Code", "1960", "1961"]
    assert table.frame.index.tolist() == [6, 7]
    notes = table.provenance[0].notes
    assert "above the header were left out: 'Data Source World indicators'; 'Last Updated 2022-12-22'" in notes
    assert "column 5 has neither a name nor values and was left out" in notes
    says(refused(path, header=3), "5 fields and the header 3", "row 5", "pass header=5")
    says(refused(path, header=4), "row 4, which is blank", "data.csv", "row 5 is the next")
    says(refused(path, header=99), "row 99", "data.csv", "count the lines")
    assert "column 5" in refused(put(tmp_path, WORLD.replace('"1.5",', '"1.5",7')), header=5).what


def test_titles_with_as_many_separators_as_the_table(tmp_path: Path) -> None:
    path = put(tmp_path, "表1 化肥,,\n单位：吨,,\n地区,2011,2012\n新疆,1,2\n")
    says(refused(path), "column 2 has no name", "row 1", "pass header=3")
    assert load(path, header=3).frame["2012"].tolist() == [2]


def test_a_title_on_a_sheet(tmp_path: Path) -> None:
    rows: Rows = [["表1 化肥施用量"], ["地区", "2011", "2012"], ["新疆", 1, 2]]
    says(refused(book(tmp_path, A=rows)), "no name in the header", "book.xlsx, A", "pass header=2")
    merged = book(tmp_path, "A1:C1", A=rows)
    says(refused(merged), "merged", "A!A1:C1", "pass header=2")
    table = load(merged, header=2)
    assert table.frame["2011"].tolist() == [1]
    assert "left out: '表1 化肥施用量'" in table.provenance[0].notes
    says(refused(merged, header=9), "row 9, which is empty", "A", "row 1")


LEVELS: Rows = [
    ["表1"],
    ["地区", "产量（吨）", None, "面积", None],
    [None, "2011", "2012", "2011", "2012"],
    ["新疆", 1, 2, 3, 4],
]
NAMES = ["地区", "产量（吨） / 2011", "产量（吨） / 2012", "面积 / 2011", "面积 / 2012"]


def test_a_header_of_several_levels_on_a_sheet_goes_by_merged_cells(tmp_path: Path) -> None:
    path = book(tmp_path, "A1:E1", "A2:A3", "B2:C2", "D2:E2", A=LEVELS)
    table = load(path, header=(2, 3))
    assert list(table.frame.columns) == NAMES
    assert table.units == dict.fromkeys(NAMES[1:3], "吨")
    chosen = load(path, header=(2, 3), columns={"y": "产量 / 2012", "where": "地区"})
    assert chosen.frame["y"].tolist() == [2]
    says(refused(path, header=(2, 3), columns={"y": "产量"}), "stands over 2 columns", "A", "levels")
    apart = book(tmp_path, "B2:C2", A=LEVELS)  # an empty cell that is not merged has no name
    assert list(load(apart, header=(2, 3)).frame.columns) == [*NAMES[:4], "2012"]
    says(refused(path, header=2), "both called '产量（吨）'", "A", "rename")
    down = book(tmp_path, "B3:B4", A=LEVELS)
    says(refused(down, header=(2, 3)), "merged", "A!B3:B4", "unmerge")


def test_a_header_of_several_levels_in_text_goes_by_the_name_to_the_left(tmp_path: Path) -> None:
    lines = [",".join("" if cell is None else str(cell) for cell in row) for row in LEVELS]
    path = put(tmp_path, "\n".join(lines))
    table = load(path, header=(2, 3))
    assert list(table.frame.columns) == NAMES
    assert table.frame.index.tolist() == [4]
    assert load(path, header=(2, 3), columns={"where": "地区"}).frame["where"].tolist() == ["新疆"]


CODES = "Stkcd,Year,ROA\n证券代码,年份,资产收益率\n没有单位,没有单位,%\n1,2011,0.5\n2,2011,0.7\n"


def test_rows_of_codes_names_and_units(tmp_path: Path) -> None:
    path = put(tmp_path, CODES)
    table = load(path, header=(1, 2), unit_row=3)
    assert list(table.frame.columns) == ["Stkcd / 证券代码", "Year / 年份", "ROA / 资产收益率"]
    assert table.units == {"ROA / 资产收益率": "%"}
    assert table.frame.dtypes.astype(str).tolist() == ["int64", "int64", "float64"]
    assert list(load(path, header=2, unit_row=3).frame.columns) == ["证券代码", "年份", "资产收益率"]
    for name in ("ROA", "资产收益率", "ROA/资产收益率"):
        assert load(path, header=(1, 2), unit_row=3, columns={"y": name}).units == {"y": "%"}
    says(refused(path, unit_row=3), "row 2 stands between the header and the row of units", "data.csv", "header=(1, 2)")
    says(refused(path, header=2, unit_row=4), "row 3 stands between", "data.csv", "header=(2, 3)")
    says(refused(path, header=(1, 3), unit_row=4), "holds numbers", "row 4, column 1", "row with the units")
    sheet = book(tmp_path, A=[line.split(",") for line in CODES.splitlines()])
    again = load(sheet, header=(1, 2), unit_row=3)
    assert again.units == table.units
    pd.testing.assert_frame_equal(again.frame, table.frame)
    says(refused(sheet, header=(1, 3), unit_row=4), "holds numbers", "A!A4", "row with the units")
    says(refused(sheet, unit_row=3), "row 2 stands between", "A", "header=(1, 2)")
    within = put(tmp_path, "a,b\nt,ha\n2011,2011\n1,2\n")
    assert load(within, header=(1, 3), unit_row=2).units == {"a / 2011": "t", "b / 2011": "ha"}


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"header": 0}, "header=0"),
        ({"header": (3, 2)}, "header=(3, 2)"),
        ({"header": (1, 2, 3)}, "header=(1, 2, 3)"),
        ({"unit_row": 1}, "not below the header"),
        ({"header": 2, "unit_row": 2}, "not below the header"),
        ({"last": 1}, "stands above the data"),
        ({"header": (1, 2), "unit_row": 3, "last": 3}, "stands above the data"),
        ({"last": 0}, "last=0 names no row"),
        ({"decimal": "·"}, "no mark before decimals"),
        ({"thousands": "."}, "cannot stand between thousands"),
        ({"missing": (" ",)}, "empty word"),
        ({"missing": "不详"}, "one word, not a tuple"),
        ({"sheets": "A"}, "one word, not a tuple"),
        ({"sheets": ("A", "A")}, "'A' twice"),
    ],
)
def test_settings_that_cannot_be_meant(options: dict[str, Any], what: str) -> None:
    with pytest.raises(SourceError) as caught:
        Delimited("a.csv", **options)
    assert what in caught.value.what
    assert caught.value.where == "a.csv"


# --- units in headers ---


@pytest.mark.parametrize(
    ("inner", "unit"),
    [
        ("吨", "吨"),
        ("单位：万元", "万元"),
        ("％", "%"),
        ("Percent", "%"),
        ("kg/ha", "kg/ha"),
        ("Kg per ha", "kg/ha"),
        ("tons", "tons"),
        ("Tonnes", "tonnes"),
        ("元 / 亩", "元/亩"),
        ("hm²", "hm2"),
    ],
)
def test_units_in_the_last_brackets_are_known_and_the_name_stays(tmp_path: Path, inner: str, unit: str) -> None:
    header = f"x (of all) ({inner})"
    table = load(put(tmp_path, f'"{header}";b\n1;2\n'))
    assert list(table.frame.columns) == [header, "b"]
    assert table.units == {header: unit}
    assert load(put(tmp_path, f'"{header}";b\n1;2\n'), columns={"x": "x (of all)"}).units == {"x": unit}


@pytest.mark.parametrize(
    "header", ["x (Millimeters)", "x (2010)", "x", "(t)", "气温(度)", "x (T)", "x (kg/ha/year)", "x () "]
)
def test_other_brackets_hold_no_unit(tmp_path: Path, header: str) -> None:
    assert load(put(tmp_path, f"{header};b\n1;2\n")).units == {}


def test_the_list_of_units_is_found_in_headers_with_its_own_size() -> None:
    for written, listed in (("KG", "kg"), ("ＴＯＮＳ", "t"), ("10000 T".lower(), "万吨"), ("Mu", "亩"), ("KWH", "kWh")):
        found = unit_of_header(written)
        assert found is not None
        assert same_unit(found, listed)
    assert same_unit("t", "kg") is False
    assert same_unit("t", "barrels") is None
    assert unit_of_header("Mt") is None


def test_a_unit_that_contradicts_the_header_is_refused(tmp_path: Path) -> None:
    path = put(tmp_path, "产量(吨),b\n1,2\n")
    assert load(path, units={"产量(吨)": "t"}).units == {"产量(吨)": "t"}
    for unit in ("kg", "亩", "barrels"):
        error = refused(path, columns={"y": "产量"}, units={"y": unit})
        says(error, f"is '吨' in the file and '{unit}' in units=", "data.csv", "find out which")
    assert load(path, units={"产量(吨)": "吨 of grain"}).units == {"产量(吨)": "吨 of grain"}
    path.with_name("data.csv.provenance.toml").write_text('[units]\n"产量(吨)" = "kg"\n', encoding="utf-8")
    assert "in the sidecar" in refused(path).what
    path.with_name("data.csv.provenance.toml").unlink()
    says(
        refused(put(tmp_path, "产量(吨),b\nkg,\n1,2\n"), unit_row=2), "'吨' in the header and 'kg'", "row 2", "correct"
    )


# --- notes below ---


@pytest.mark.parametrize(
    "line",
    [
        "数据来源：国家统计局",
        "注：2022年起含兵团",
        "注1：含兵团",
        "Source: World Bank",
        "Fonte: IBGE",
        "* provisional",
        "首发论坛：www.example.org",
        "downloaded from data.example.gov on 1 May",
        "(1) 含兵团",
        "本表由各县上报。",
    ],
)
@pytest.mark.parametrize("fields", [1, 3])
def test_notes_below_the_table_are_left_out_and_said(tmp_path: Path, line: str, fields: int) -> None:
    content = f"county,year,y\n木垒县,2011,1\n奇台县,2012,2\n\n{line}{',' * (fields - 1)}\nand more of it\n"
    if fields > 1:
        content = content.replace("it\n", "it,,\n")
    table = load(put(tmp_path, content))
    assert table.frame.index.tolist() == [2, 3]
    assert table.frame["y"].dtype == np.int64
    assert table.provenance[0].notes == f"notes below the table were left out: '{line}'; 'and more of it'"
    sheet = book(
        tmp_path, "A5:C5", A=[["county", "year", "y"], ["木垒县", 2011, 1], ["奇台县", 2012, 2], [], [line], ["more"]]
    )
    again = load(sheet)
    assert again.frame.index.tolist() == [2, 3]
    assert again.provenance[0].notes == f"notes below the table were left out: '{line}'; 'more'"


def test_a_note_that_may_be_a_record_is_refused_with_what_to_pass(tmp_path: Path) -> None:
    body = "county,year,y\n木垒县,2011,1\n奇台县,2012,2\n"
    path = put(tmp_path, f"{body}共两个县上报了数据,,\n")
    says(
        refused(path), "may be a note below the table, or a record", "row 4", "last=3 leaves out this row and all below"
    )
    assert load(path, last=3).frame.index.tolist() == [2, 3]
    assert "1 rows below row 3 were left out (last=)" in note(path, last=3)
    assert load(path, last=4).frame["county"].tolist()[-1] == "共两个县上报了数据"
    short = put(tmp_path, f"{body}吉木萨尔县\n")
    says(refused(short), "may be a note", "row 4", "last=3 leaves out this line")
    assert load(short, last=3).frame.index.tolist() == [2, 3]
    starred = put(tmp_path, "county,y\n* 木垒县,1\n奇台县,2\n* 新疆,\n")  # a star that others have is no sign of a note
    says(refused(starred), "may be a note", "row 4", "last=3")
    for wrong in (5, 99):
        says(refused(path, last=wrong), f"row {wrong}, which is no row of the data", "data.csv", "rows 2 to 4")


def test_a_last_record_with_a_name_and_nothing_else_is_a_record(tmp_path: Path) -> None:
    policy = "county,pilot_year\n木垒县,2011\n奇台县,\n昌吉市,\n"  # never treated: the cell is empty
    assert load(put(tmp_path, policy)).frame["county"].tolist() == ["木垒县", "奇台县", "昌吉市"]
    assert load(book(tmp_path, A=[["county", "y"], ["木垒县", 1], ["昌吉市"]])).frame["county"].tolist() == [
        "木垒县",
        "昌吉市",
    ]
    assert load(put(tmp_path, "name\na\nSource: b\n")).frame["name"].tolist() == ["a", "Source: b"]  # one column


def test_a_header_with_a_line_below_and_no_data(tmp_path: Path) -> None:
    says(refused(put(tmp_path, "a,b\nx y\n")), "1 field and the header 2", "row 2", "quotes")
    assert "no data rows" in refused(book(tmp_path, A=[["a", "b"], ["注：x"]])).what


def test_notes_do_not_show_long_numbers(tmp_path: Path) -> None:
    path = put(tmp_path, f"a,b\n1,2\n注：联系人 {IDS[0]}，电话 13812345678\n")
    notes = note(path)
    assert "注：联系人 …，电话 …" in notes


def test_a_line_with_one_field_within_the_table_is_refused(tmp_path: Path) -> None:
    says(refused(put(tmp_path, "a,b\n1,2\nSource: x\n3,4\n")), "1 field and the header 2", "row 3", "last=2")


# --- kinds of workbook ---

TABLE: Rows = [["县", "产量(吨)"], ["木垒县", 1.5], ["奇台县", 2.0]]


@pytest.mark.parametrize("password", ["", DEFAULT_PASSWORD])
def test_old_workbooks_are_read_by_their_bytes(tmp_path: Path, password: str) -> None:
    sheets = {"S": XlsSheet(TABLE), "back": XlsSheet([["x"]], visible=False)}
    path = put(tmp_path, xls_bytes(sheets, password), "data.csv")
    table = load(path, columns={"county": "县", "y": "产量"})
    assert table.frame["y"].tolist() == [1.5, 2.0]
    assert table.frame.index.tolist() == [2, 3]
    assert table.units == {"y": "吨"}
    assert ("default password" in table.provenance[0].notes) == bool(password)
    assert "hidden sheets were not read: 'back'" in table.provenance[0].notes
    says(refused(path, sheets=("T",)), "no sheet 'T'", "data.csv", "known are: S, back")


def test_merged_levels_of_an_old_workbook(tmp_path: Path) -> None:
    sheet = XlsSheet(LEVELS, merged=[(0, 0, 0, 4), (1, 2, 0, 0), (1, 1, 1, 2), (1, 1, 3, 4)])
    assert list(load(put(tmp_path, xls_bytes({"S": sheet})), header=(2, 3)).frame.columns) == NAMES


def test_a_workbook_under_the_default_password(tmp_path: Path) -> None:
    sealed = io.BytesIO()
    plain = book(tmp_path, A=TABLE).read_bytes()
    msoffcrypto.format.ooxml.OOXMLFile(io.BytesIO(plain)).encrypt(DEFAULT_PASSWORD, sealed)
    table = load(put(tmp_path, sealed.getvalue(), "a.xls"))
    assert table.frame["产量(吨)"].tolist() == [1.5, 2.0]
    assert "default password" in table.provenance[0].notes
    sealed = io.BytesIO()
    msoffcrypto.format.ooxml.OOXMLFile(io.BytesIO(plain)).encrypt("other", sealed)
    says(refused(put(tmp_path, sealed.getvalue(), "a.xls")), "protected by a password", "a.xls", "without a password")


PAGE = """<html><body><h1>表1</h1><table><tr><th rowspan=2>县</th><th colspan=2>产量(吨)</th></tr>
<tr><td>2011</td><td>2012</td></tr><tr><td>木垒县</td><td>1.5</td><td>1,234</td></tr></table><p>数据来源：统计局</p></body></html>"""


def test_a_web_page_with_one_table(tmp_path: Path) -> None:
    path = put(tmp_path, PAGE, "a.xls")
    says(refused(path), "merged", "a.xls!A2:A3", "pass header=2")
    table = load(path, header=(2, 3), thousands=",")
    assert list(table.frame.columns) == ["县", "产量(吨) / 2011", "产量(吨) / 2012"]
    assert table.frame["产量(吨) / 2012"].tolist() == [1234]
    assert "数据来源：统计局" in table.provenance[0].notes
    two = PAGE.replace("<p>", "<table><tr><td>1</td></tr></table><p>")
    says(refused(put(tmp_path, two, "a.xls")), "2 tables", "a.xls", "save the table")
    says(refused(path, sheets=("A",)), "no Excel workbook", "a.xls", "leave sheets= out")
    says(refused(put(tmp_path, PAGE.replace("1,234", "1,23"), "a.xls"), header=(2, 3), thousands=","),
         "'1,23' is no number", "a.xls, row 4, column 3", "correct")  # fmt: skip


def test_ledgers_read_old_workbooks_and_keep_their_own_rules(tmp_path: Path) -> None:
    rows: Rows = [
        ["农户编号", "借据号", "放款日期", "贷款金额(元)"],
        ["F1", "L1", "2020-01-01", 5.0],
        ["合计：", None, None, None],
    ]
    path = put(tmp_path, xls_bytes({"S": XlsSheet(rows[:2])}), "loans.xls")
    assert LoanLedger(path, unit="农户编号").load().frame["principal"].tolist() == [5]
    path = put(tmp_path, xls_bytes({"S": XlsSheet(rows)}), "loans.xls")
    with_total = LoanLedger(path, unit="农户编号").load()
    assert with_total.frame["principal"].tolist() == [5]
    assert "row 3 below the table (totals) was left out" in with_total.provenance[0].notes


# --- several sheets ---


def test_sheets_with_the_same_header_are_put_below_one_another(tmp_path: Path) -> None:
    path = book(tmp_path, **{"2019": TABLE, "2020": [TABLE[0], ["木垒县", "不详"], ["昌吉市", 3.0]], "x": [["a"], [1]]})
    table = load(path, sheets=("2020", "2019"))
    assert table.frame["sheet"].tolist() == ["2020", "2020", "2019", "2019"]
    assert table.frame.index.tolist() == ["2020!2", "2020!3", "2019!2", "2019!3"]
    assert table.units == {"产量(吨)": "吨"}
    with pytest.raises(DataError) as caught:
        numbers(table.frame, "产量(吨)")
    says(
        caught.value, "'不详' is not a number (row 2020!2), while 3 of 4 values are", "row 2020!2", 'missing=("不详",)'
    )
    read = load(path, sheets=("2020", "2019"), missing=("不详",))
    assert read.frame["产量(吨)"].tolist()[1:] == [3.0, 1.5, 2.0]
    assert "'不详' was read as missing: 产量(吨) 1" in read.provenance[0].notes
    says(
        refused(path, sheets=("2019", "x")), "lacks '县', '产量(吨)' and has 'a', unlike sheet '2019'", "x", "columns="
    )
    says(refused(path), "3 sheets hold data", "book.xlsx", "sheets=: '2019', '2020', 'x'")


def test_sheets_in_different_units_are_not_mixed(tmp_path: Path) -> None:
    path = book(tmp_path, a=TABLE, b=[["县", "产量(公斤)"], ["木垒县", 1500]])
    says(refused(path, sheets=("a", "b")), "lacks '产量(吨)' and has '产量(公斤)'", "b", "columns=")
    error = refused(path, sheets=("a", "b"), columns={"y": "产量"})
    says(error, "'y' is in 吨 in sheet 'a' and in 公斤 in sheet 'b'", "b", "convert")
    same = book(tmp_path, a=[["sheet", "y"], ["u", 1]], b=[["sheet", "y"], ["v", 2]])
    assert "have a column 'sheet'" in refused(same, sheets=("a", "b")).what
    people = book(tmp_path, a=[["id"], [IDS[0]]], b=[["id"], [IDS[1]]])
    says(refused(people, sheets=("a", "b")), "citizen ids", "rows a!2, b!2", "pseudonymise")


# --- cells that are no numbers ---


def big(folder: Path, *cells: str) -> Path:
    return put(folder, "farm;y\n" + "".join(f"{i};{cell}\n" for i, cell in enumerate(cells)))


def why(path: Path, **options: Any) -> DataError:
    with pytest.raises(DataError) as caught:
        numbers(load(path, **options).frame, "y")
    return caught.value


def test_the_few_cells_that_are_no_numbers_are_named(tmp_path: Path) -> None:
    path = big(tmp_path, *["1.5"] * 3000, "不详", *["2"] * 1000, "不详", "3*")
    error = why(path)
    assert (
        error.what == "'不详' is not a number (rows 3002, 4003), nor '3*' (row 4004), while 4,000 of 4,003 values are"
    )
    says(error, "", "column 'y', rows 3002, 4003, 4004", 'missing=("不详",)')
    assert "is not a number (row 4004), while 4,000 of 4,001 values are" in why(path, missing=("不详",)).what
    read = load(path, missing=("不详", "3*"))
    assert int(read.frame["y"].isna().sum()) == 3
    assert read.provenance[0].notes == "'不详' was read as missing: y 2; '3*' was read as missing: y 1"
    says(refused(path, missing=("不祥",)), "'不祥', which no cell", "data.csv", "correct the word")


def test_a_column_of_words_keeps_a_short_message(tmp_path: Path) -> None:
    assert why(big(tmp_path, "a", "b", "c", "1")).what == "'a' is not a number; 4 of 4 values are text"
    assert why(big(tmp_path, "1", "2"), text=("y",)).what == "'1' is not a number; 2 of 2 values are text"


def test_cells_that_may_identify_a_person_are_not_shown(tmp_path: Path) -> None:
    assert "'…' is not a number (row 4)" in why(big(tmp_path, "1", "2", "13812345678x", "3")).what
    assert "13812345678" not in str(why(big(tmp_path, "1", "2", "13812345678x", "3")))
    assert "'…' is no number" in refused(big(tmp_path, "1", "138,0013,8000"), thousands=",").what


@pytest.mark.parametrize(
    ("options", "cells", "values"),
    [
        ({"thousands": ","}, ["1,234.5", "12", "-1,000,000", ".5"], [1234.5, 12, -1e6, 0.5]),
        ({"thousands": " "}, ["1 234", "1\u00a0234\u202f567", "3"], [1234, 1234567, 3]),
        ({"decimal": ","}, ["1,5", "2", "-0,25"], [1.5, 2, -0.25]),
        ({"decimal": ",", "thousands": "."}, ["1.234,5", "2", "1.000"], [1234.5, 2, 1000]),
        ({"decimal": ",", "thousands": " "}, ["1 234,5", "2,", ""], [1234.5, 2, math.nan]),
        ({"thousands": ","}, ["\uff11，\uff12\uff13\uff14", "1e3"], [1234, 1000]),
    ],
)
def test_marks_in_numbers_are_read_where_they_are_declared(
    tmp_path: Path, options: dict[str, str], cells: list[str], values: list[float]
) -> None:
    for path in (
        big(tmp_path, *cells),
        book(tmp_path, A=[["farm", "y"], *([i, cell] for i, cell in enumerate(cells))]),
    ):
        read = load(path, **options).frame["y"]
        np.testing.assert_array_equal(read.to_numpy(dtype=float), values)
    if any(set(cell) & set(",. ") - {"."} for cell in cells if cell.isascii()):
        assert load(big(tmp_path, *cells)).frame["y"].dtype == "str"  # never guessed


@pytest.mark.parametrize(
    ("options", "cell"),
    [
        ({"thousands": ","}, "12,34"),
        ({"thousands": ","}, "1,2345"),
        ({"thousands": " "}, "1 23"),
        ({"decimal": ","}, "1.5"),
        ({"decimal": ","}, "1,5,2"),
        ({"decimal": ",", "thousands": "."}, "1,234.5"),
        ({"thousands": ","}, "1.234,5"),
    ],
)
def test_a_number_that_contradicts_what_is_declared_is_refused_by_row(
    tmp_path: Path, options: dict[str, str], cell: str
) -> None:
    says(refused(big(tmp_path, "1", cell, "2"), **options), f"'{cell}' is no number", "row 3, column 'y'", "text=")
    path = book(tmp_path, A=[["farm", "y"], [1, 1], [2, cell]])
    says(refused(path, **options), f"'{cell}' is no number", "A!B3", "text=")
    assert load(big(tmp_path, "1", cell), text=("y",), **options).frame["y"].tolist() == ["1", cell]


def test_words_beside_marked_numbers_stay_what_they_are(tmp_path: Path) -> None:
    read = load(big(tmp_path, "1,234", "Smith, John", "2011-01-05"), thousands=",").frame["y"]
    assert read.tolist() == ["1,234", "Smith, John", "2011-01-05"]
    typed = load(book(tmp_path, A=[["y"], [12.5], ["1,5"], [3]]), decimal=",").frame["y"]
    assert typed.tolist() == [12.5, 1.5, 3.0]  # a number of Excel has no marks


def test_declared_marks_are_offered(tmp_path: Path) -> None:
    assert 'thousands=","; before decimals' not in why(big(tmp_path, "a", "b")).remedy
    remedy = why(big(tmp_path, "1,234.5", "1,000", "2")).remedy
    assert 'thousands=","' in remedy
    assert 'decimal=","' in remedy
    assert 'thousands=" "' in why(big(tmp_path, "1 234", "1", "2")).remedy


@pytest.mark.parametrize("word", ["-99", "—"])
def test_a_number_may_be_a_word_for_no_value(tmp_path: Path, word: str) -> None:
    cells: list[Any] = [1.5, float(word) if word == "-99" else word, 3]
    path = book(tmp_path, A=[["y"], *([cell] for cell in cells)])
    assert load(path, missing=(word,)).frame["y"].isna().tolist() == [False, True, False]


def test_a_number_for_no_value_goes_by_its_value(tmp_path: Path) -> None:
    """-99.0 beside -99 is no number of minus 99; a code such as 099 is not 99, and what is kept as text goes by its letters."""
    cells = ("-99", "-99.0", " -99.00 ", "－99", "-99.5", "7")
    table = load(big(tmp_path, *cells), missing=("-99",))
    assert table.frame["y"].dropna().tolist() == [-99.5, 7]
    assert "'-99' was read as missing: y 4" in table.provenance[0].notes
    assert load(big(tmp_path, *cells), missing=("-99",), text=("y",)).frame["y"].isna().sum() == 1
    assert load(big(tmp_path, "099", "99", "x"), missing=("99",)).frame["y"].isna().tolist() == [False, True, False]
    assert load(big(tmp_path, "-9,999", "1,234"), missing=("-9999",), thousands=",").frame["y"].isna().sum() == 1
    path = book(tmp_path, A=[["y"], [-99.0], ["-99.0"], [1.5]])
    assert load(path, missing=("-99",)).frame["y"].isna().tolist() == [True, True, False]


@inputs(20, 100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(-(10**12), 10**12), min_size=1, max_size=20), st.sampled_from(", ."))
def test_any_whole_number_comes_back_from_its_marks(tmp_path: Path, values: list[int], mark: str) -> None:
    path = big(tmp_path, *(f"{value:,}".replace(",", mark) for value in values))
    read = load(path, thousands=mark, decimal="," if mark == "." else ".").frame["y"]
    assert read.tolist() == values


# --- in a study ---

STUDY = """
[[source]]
name = "farms"
kind = "Delimited"
path = "farms.xlsx"
sheets = ["a", "b"]
header = [2, 3]
unit_row = 4
last = 28
columns = { farm = "农户", county = "县", year = "年", y = "产出", first = "试点年" }
missing = ["不详"]
thousands = ","
decimal = "."
text = ["county"]
[panel]
sources = ["farms"]
unit = "farm"
time = "year"
[design]
outcome = "y"
adoption = "first"
assigned_at = "county"
[[estimate]]
name = "main"
estimator = { kind = "TwoWayFE" }
inference = { kind = "Cluster" }
"""


def farms(folder: Path, *, bad: str = "不详") -> Path:
    """Two sheets, each with titles, two levels, units, six farms in three counties over four years, and a note (synthetic)."""
    head: Rows = [
        ["表1"],
        ["标识", None, None, "结果", None, "其他"],
        ["农户", "县", "年", "产出（万元）", "试点年", "电话"],
    ]
    sheets: dict[str, Rows] = {}
    for sheet, offset in (("a", 0), ("b", 6)):
        rows: Rows = [*head, [None, None, None, "万元", None, None]]
        for farm in range(offset, offset + 6):
            for year in range(2018, 2022):
                y = 1000 + 10 * farm + 3 * year % 7 + 50 * (farm % 3 == 0 and year >= 2020) + farm * year % 5
                first = 2020 if farm % 3 == 0 else None
                rows.append([f"f{farm}", f"0{farm % 3}{sheet}", year, f"{y:,}", first, "13812345678"])
        sheets[sheet] = [*rows, ["数据来源：合成"]]
    sheets["b"][10][3] = bad
    return book(folder, "A2:C2", "D2:E2", name="farms.xlsx", **sheets)


def study(folder: Path, text: str = STUDY, **options: Any) -> Path:
    farms(folder, **options)
    (folder / "study.toml").write_text(text, encoding="utf-8")
    return folder


def test_a_study_runs_on_such_a_file(tmp_path: Path) -> None:
    folder = study(tmp_path)
    evidence = run_study(folder)
    main = evidence.estimates["main"]
    table = read_study(folder).sources["farms"].load()
    assert table.units == {"y": "万元"}
    assert len(table.frame) == 48
    assert int(table.frame["y"].isna().sum()) == 1
    frame = table.frame.assign(on=(table.frame["year"] >= table.frame["first"]).astype(float)).dropna(subset=["y"])
    dummies = pd.get_dummies(frame[["farm", "year"]].astype(str), drop_first=True, dtype=float).to_numpy()
    design = np.column_stack([np.ones(len(frame)), frame["on"], dummies])
    slope = np.linalg.lstsq(design, frame["y"].to_numpy(), rcond=None)[0][1]
    assert main.params.iloc[0] == pytest.approx(slope, rel=1e-9)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("header = [2, 3]", 'header = "2"', ("header",)),
        ("header = [2, 3]", "header = [3, 2]", ("header=(3, 2)",)),
        ('sheets = ["a", "b"]', 'sheet = "a"', ("unknown key 'sheet'", "did you mean 'sheets'")),
        ('sheets = ["a", "b"]', 'sheets = "a"', ("sheets",)),
        ('thousands = ","', 'thousands = "x"', ("thousands='x'",)),
        ('decimal = "."', 'decimal = "x"', ("decimal",)),
        ("unit_row = 4", "unit_row = 2.5", ("unit_row",)),
    ],
)
def test_a_study_names_the_key_that_is_wrong(tmp_path: Path, old: str, new: str, words: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError) as caught:
        read_study(study(tmp_path, STUDY.replace(old, new)))
    assert all(word in str(caught.value) for word in (*words, "source 'farms'"))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("产出", "产值", ("columns= names header '产值' (for 'y')", "产出（万元）")),
        ("last = 28", "last = 99", ("last= names row 99",)),
        ('missing = ["不详"]', 'missing = ["无"]', ("missing= names '无'",)),
        ('missing = ["不详"]\n', "", ("'不详' is not a number", "row b!11", "missing=")),
        ("unit_row = 4\n", "", ("the period is missing", "rows a!4, b!4")),
    ],
)
def test_a_run_names_the_key_and_the_row(tmp_path: Path, old: str, new: str, words: tuple[str, ...]) -> None:
    with pytest.raises(EvalkitError) as caught:
        run_study(study(tmp_path, STUDY.replace(old, new)))
    assert all(word in str(caught.value) for word in words), str(caught.value)


# --- whatever is declared, a Table or an EvalkitError ---

FORMS = st.fixed_dictionaries(
    {},
    optional={
        "header": st.one_of(st.integers(1, 4), st.tuples(st.integers(1, 3), st.integers(1, 4))),
        "unit_row": st.integers(1, 5),
        "last": st.integers(1, 6),
        "columns": st.dictionaries(st.sampled_from("xy"), st.sampled_from(["a", "县", "b(t)", "2"])),
        "missing": st.lists(st.sampled_from(["-", "a", "1"]), unique=True),
        "thousands": st.sampled_from(["", ",", " ", "."]),
        "decimal": st.sampled_from([".", ","]),
    },
)


@inputs(60, 400, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(alphabet='ab12.,;\t"\n -：注县(t)', max_size=60), FORMS)
def test_arbitrary_text_in_arbitrary_form(tmp_path: Path, content: str, form: dict[str, Any]) -> None:
    survives(lambda: load(put(tmp_path, content), **form))


CELLS = st.one_of(
    st.none(), st.sampled_from(["a", "县", "b(t)", "注：x", "1,5", "-"]), st.integers(-9, 9), st.booleans()
)


@inputs(20, 150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(CELLS, max_size=4), max_size=6), FORMS, st.sampled_from([(), ("A1:B1",), ("A2:A3", "B1:C1")]))
def test_arbitrary_sheets_in_arbitrary_form(
    tmp_path: Path, rows: Rows, form: dict[str, Any], merged: tuple[str, ...]
) -> None:
    path = book(tmp_path, *merged, A=rows)
    survives(lambda: load(path, **form))


def survives(read: Callable[[], Table]) -> None:
    with suppress(EvalkitError):
        assert isinstance(read(), Table)
