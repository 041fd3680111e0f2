"""Yearbook: the layouts that are read, what each cell becomes, and every refusal with its what, where and remedy."""

from __future__ import annotations

import datetime as dt
import gzip
import hashlib
import math
from contextlib import suppress
from pathlib import Path
from typing import Any

import openpyxl
import pandas as pd
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from evalkit.errors import EvalkitError, SourceError
from evalkit.panels.assembly import assemble
from evalkit.sources import Delimited, Yearbook
from evalkit.sources.yearbook import pages
from evalkit.sources.yearbook.captions import name_indicator, split_unit
from evalkit.sources.yearbook.words import join_words, read_value, read_year
from evalkit.tables.table import Table
from sampling import inputs
from yearbook_files import Rows, book, edited, load, notes, put, read, refused, says, texts, unplaced

pytestmark = pytest.mark.filterwarnings("error")

INCOME: Rows = [
    ["5-3 各县市农村居民人均可支配收入"],
    [None, None, None, "单位：元"],
    ["县 市", "行政区划代码", "2018 年", 2019],
    ["全  州", 652300, 18000, 19500.5],
    ["昌 吉 市", "652301", "21,234.5", 23000],
    ["木垒\u3000县", "652328", "…", "-"],
    ["注：2019年起含兵团。"],
    ["资料来源：州统计局。"],
]
INCOME_READ = {"C4": 18000, "D4": 19500.5, "C5": 21234.5, "D5": 23000, "C6": "below_unit", "D6": "none"}
INPUTS: Rows = [
    ["6-1  各县（市、区）农业投入"],
    ["(按折纯法计算)"],
    ["地区", "农药使用量(吨)", None, "化肥施用量\n（万吨）", None],
    [None, "2019年", "2020年", "2019年", "2020年"],
    ["昌吉市", 10, 11, 1.5, 1.6],
    ["木垒县", 20, None, 2.5, "空"],
]
INPUTS_MERGED = ("A1:E1", "A3:A4", "B3:C3", "D3:E3")


def triples(frame: pd.DataFrame, column: str) -> list[tuple[str, int, float]]:
    return list(frame[["region", "year", column]].itertuples(index=False, name=None))


# --- the long table ---


def test_one_row_per_published_value(tmp_path: Path) -> None:
    path = book(tmp_path, 收入=INCOME)
    table = Yearbook(path).load()
    frame = table.frame
    said = "region_code region year indicator value unit mark published_value published_unit note file sheet cell"
    assert list(frame.columns) == said.split()
    assert frame["region"].tolist() == ["全州", "全州", "昌吉市", "昌吉市", "木垒县", "木垒县"]
    assert frame["region_code"].tolist() == ["652300", "652300", "652301", "652301", "652328", "652328"]
    assert frame["year"].tolist() == [2018, 2019] * 3
    assert frame["value"].tolist()[:4] == [18000, 19500.5, 21234.5, 23000]
    assert frame["value"].isna().tolist() == [False] * 4 + [True] * 2
    assert frame["mark"].tolist() == ["", "", "", "", "below_unit", "none"]
    assert set(frame["indicator"]) == {"农村居民人均可支配收入"}
    assert set(frame["unit"]) == set(frame["published_unit"]) == {"元"}
    assert frame["published_value"].equals(frame["value"])
    assert set(frame["note"]) == {"2019年起含兵团"}
    assert set(frame["file"]) == {path.name}  # its path stands in the provenance
    assert set(frame["sheet"]) == {"收入"}
    assert frame["cell"].tolist() == ["C4", "D4", "C5", "D5", "C6", "D6"]
    assert frame.index.tolist()[0] == "收入!C4"
    assert frame.index.is_unique
    assert (frame["year"].dtype, frame["value"].dtype, table.units, table.name) == ("int64", "float64", {}, "年鉴.xlsx")


def test_footnotes_and_remarks_are_kept_with_their_cells(tmp_path: Path) -> None:
    said = notes(book(tmp_path, {"投入": INPUTS_MERGED}, 收入=INCOME, 投入=INPUTS))
    for part in ("收入!A7: 注：2019年起含兵团。", "收入!A8: 资料来源：州统计局。", "投入!A2: (按折纯法计算)"):
        assert part in said
    assert "'农村居民人均可支配收入' (元) from sheet '收入', cells C4:D6" in said
    assert "of which 1 below the unit, 1 not applicable" in said
    assert "'化肥施用量' (万吨) from sheet '投入', cells D5:E6, of which 1 not applicable" in said


def test_indicators_over_years_in_merged_cells(tmp_path: Path) -> None:
    frame = load(book(tmp_path, {"投入": INPUTS_MERGED}, 投入=INPUTS))
    assert triples(frame[frame["indicator"] == "农药使用量"], "value")[:3] == [
        ("昌吉市", 2019, 10),
        ("昌吉市", 2020, 11),
        ("木垒县", 2019, 20),
    ]
    assert frame.loc[frame["indicator"] == "化肥施用量", "value"].tolist()[:3] == [1.5, 1.6, 2.5]
    assert dict(zip(frame["indicator"], frame["unit"], strict=True)) == {"农药使用量": "吨", "化肥施用量": "万吨"}
    assert frame["mark"].tolist() == ["", "", "", "", "", "missing", "", "none"]
    assert set(frame["note"]) == {"按折纯法计算"}
    assert frame["region_code"].isna().all()


@pytest.mark.parametrize("years", [(2019, 2020), ("2020年", "2019年")])
def test_years_over_indicators_in_merged_cells(tmp_path: Path, years: tuple[Any, Any]) -> None:
    rows: Rows = [
        ["表6-2 分县市投入"],
        ["地区", years[0], None, years[1], None],
        [None, "农药", "化肥", "农药", "化肥"],
        [None, "(吨)", "(万吨)", "(吨)", "(万吨)"],
        ["昌吉市", 1, 2, 3, 4],
    ]
    frame = load(book(tmp_path, {"s": ("A2:A4", "B2:C2", "D2:E2")}, s=rows))
    first, second = (int(str(year)[:4]) for year in years)
    assert list(zip(frame["year"], frame["indicator"], frame["unit"], frame["value"], strict=True)) == [
        (first, "农药", "吨", 1),
        (first, "化肥", "万吨", 2),
        (second, "农药", "吨", 3),
        (second, "化肥", "万吨", 4),
    ]


def test_indicators_in_one_row_with_the_year_in_the_title(tmp_path: Path) -> None:
    rows: Rows = [
        ["昌吉统计年鉴2023"],
        ["3-1 2022年各县市人口"],
        ["3-1 Population by County"],
        ["代码", "县市", "年末总人口", "城镇化率(%)"],
        [652301, "昌吉市", 36.5, 81],
        [652328, "木垒县", 6.8, 50.5],
    ]
    frame = load(book(tmp_path, s=rows), units={"年末总人口": "万人"})
    assert frame["year"].tolist() == [2022] * 4  # not 2023, in which the yearbook appeared
    assert frame["indicator"].tolist() == ["年末总人口", "城镇化率"] * 2
    assert frame["unit"].tolist() == ["万人", "%"] * 2
    assert frame["region_code"].tolist() == ["652301", "652301", "652328", "652328"]


def test_groups_of_indicators_are_joined(tmp_path: Path) -> None:
    rows: Rows = [
        ["6-3 化肥(2022年)"],
        ["单位:吨"],
        ["地区", "化肥施用量", None, "农药"],
        [None, "氮肥", "磷肥(万吨)", None],
        ["昌吉市", 1, 2, 3],
    ]
    frame = load(book(tmp_path, {"s": ("B3:C3", "D3:D4")}, s=rows))
    assert frame["indicator"].tolist() == ["化肥施用量 / 氮肥", "化肥施用量 / 磷肥", "农药"]
    assert frame["unit"].tolist() == ["吨", "万吨", "吨"]


def test_years_as_plain_numbers_are_a_header_and_values_like_years_are_not(tmp_path: Path) -> None:
    rows: Rows = [["人口"], ["单位:人"], ["各县", 2019, 2018], ["昌吉市", 2000, 1999], ["木垒县", 1900, 1901]]
    frame = load(book(tmp_path, s=rows))
    assert triples(frame, "value") == [
        ("昌吉市", 2019, 2000),
        ("昌吉市", 2018, 1999),
        ("木垒县", 2019, 1900),
        ("木垒县", 2018, 1901),
    ]
    rows = [["2022年人口"], ["单位:人"], ["各县", "人口", "户数(户)"], ["昌吉市", 2019, 2018], ["木垒县", 1900, 1901]]
    frame = load(book(tmp_path, s=rows))
    assert frame["value"].tolist() == [2019, 2018, 1900, 1901]
    assert set(frame["year"]) == {2022}


@pytest.mark.parametrize(
    "caption", ["单位：元", "单 位:元", "(单位：元)", "计量单位: 元  Unit: yuan", "单位:元 2022年", "（元）"]
)
@pytest.mark.parametrize("place", ["A2", "D2", "D1"])
def test_the_unit_stands_above_the_table(tmp_path: Path, caption: str, place: str) -> None:
    rows = edited(edited(INCOME, D2=None), **{place: caption})
    assert set(load(book(tmp_path, s=rows))["unit"]) == {"元"}


def test_an_english_caption_beside_the_chinese_one_is_no_title(tmp_path: Path) -> None:
    frame = load(book(tmp_path, s=edited(INCOME, A2="Unit: yuan")))
    assert (frame["unit"].iloc[0], frame["indicator"].iloc[0]) == ("元", "农村居民人均可支配收入")


def test_title_and_unit_in_one_cell(tmp_path: Path) -> None:
    rows = edited(INCOME, A1="5-3 各县市农村居民人均可支配收入\n单位：元", D2=None)
    frame = load(book(tmp_path, s=rows))
    assert (frame["unit"].iloc[0], frame["indicator"].iloc[0]) == ("元", "农村居民人均可支配收入")


@pytest.mark.parametrize("caption", ["（上年=100）", "单位:上年＝100", "单位：(上年=100)"])
def test_an_index_has_its_base_as_unit(tmp_path: Path, caption: str) -> None:
    frame = load(book(tmp_path, s=edited(INCOME, A1="9-3 各县市农产品生产者价格指数", D2=caption)))
    assert set(frame["unit"]) == {"上年=100"}
    assert set(frame["indicator"]) == {"农产品生产者价格指数"}


def test_a_unit_in_the_header_goes_before_the_caption(tmp_path: Path) -> None:
    rows: Rows = [
        ["2-1 2022年国民经济"],
        ["单位：万元、人"],
        ["地区", "增加值(亿元)", "人口（万人）", "GDP (万元/人)"],
        ["昌吉市", 1, 2, 3],
    ]
    frame = load(book(tmp_path, s=rows))
    assert list(zip(frame["indicator"], frame["unit"], strict=True)) == [
        ("增加值", "亿元"),
        ("人口", "万人"),
        ("GDP", "万元/人"),
    ]


def test_a_region_with_a_code_and_no_values_is_missing_and_a_name_alone_is_a_note(tmp_path: Path) -> None:
    rows = [*INCOME[:6], ["米东区", 650109], ["兵团"], ["奇台县", 652325, 1, 2]]
    path = book(tmp_path, s=rows)
    frame = load(path)
    assert frame.loc[frame["region"] == "米东区", "mark"].tolist() == ["missing", "missing"]
    assert "兵团" not in set(frame["region"])
    assert "s!A8: 兵团" in notes(path)


def test_footnotes_in_several_cells_are_notes(tmp_path: Path) -> None:
    rows = [*INCOME, ["1.含兵团", None, "按新口径"], [None, "续上"], ["注", None, "2018 年为旧口径"]]
    said = notes(book(tmp_path, s=rows))
    assert "s!A9: 1.含兵团 按新口径; s!B10: 续上; s!A11: 注 2018 年为旧口径" in said


# --- the wide table ---

WANTED = {"rural_income": "农村居民人均可支配收入", "pesticide": "农药使用量"}


def test_wanted_indicators_become_columns(tmp_path: Path) -> None:
    path = book(tmp_path, {"投入": INPUTS_MERGED}, 投入=INPUTS, 收入=INCOME)
    table = Yearbook(path, columns=WANTED, keys=("county", "t")).load()
    frame = table.frame
    assert list(frame.columns) == ["county", "t", "rural_income", "pesticide"]
    assert [(row.county, row.t) for row in frame.itertuples()] == [
        (county, year)
        for county in ("全州", "昌吉市", "木垒县")
        for year in (2018, 2019, 2020)
        if county != "全州" or year < 2020
    ]
    assert frame["rural_income"].tolist()[:4] == [18000, 19500.5, 21234.5, 23000]
    by_key = frame.set_index(["county", "t"])["pesticide"]
    assert by_key.dropna().to_dict() == {("昌吉市", 2019): 10, ("昌吉市", 2020): 11, ("木垒县", 2019): 20}
    assert table.units == {"rural_income": "元", "pesticide": "吨"}
    assert frame.index[0] == "收入!C4"
    said = table.provenance[0].notes
    assert "pesticide is '农药使用量' (吨) from sheet '投入', cells B5:C6, of which 1 missing" in said
    assert "化肥" not in said
    assert table.provenance[0].sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_yearbook_joins_a_table_of_farms(tmp_path: Path) -> None:
    farms = tmp_path / "farms.csv"
    farms.write_text(
        "farm,county,year,y\n1,昌吉市,2018,1\n1,昌吉市,2019,2\n2,木垒县,2018,3\n2,木垒县,2019,4\n", "utf-8"
    )
    yearbook = Yearbook(
        book(tmp_path, 收入=INCOME), columns={"income": WANTED["rural_income"]}, keys=("county", "year")
    )
    panel = assemble(Delimited(farms).load(), yearbook.load(), unit="farm", time="year")
    assert panel.frame["income"].tolist()[:2] == [21234.5, 23000]
    assert panel.units["income"] == "元"


def test_indicators_that_are_not_wanted_need_no_unit(tmp_path: Path) -> None:
    path = book(tmp_path, 收入=INCOME, 人口=edited(INCOME, A1="3-1 各县市人口", D2=None))
    assert Yearbook(path, columns={"x": WANTED["rural_income"]}).load().units == {"x": "元"}
    error = refused(path, columns={"x": "人口"})
    says(error, "no unit is found", "年鉴.xlsx", 'units={"人口": "…"}')
    assert "from 人口!C4 on" in error.what
    assert WANTED["rural_income"] not in error.remedy
    assert load(path, columns={"x": "人口"}, units={"人口": "人"})["x"].tolist()[:2] == [18000, 19500.5]


def test_full_width_brackets_and_spaces_in_a_wanted_name_do_not_matter(tmp_path: Path) -> None:
    path = book(tmp_path, s=edited(INCOME, A1="5-3 粮食产量（含 薯类）"))
    assert load(path)["indicator"].iloc[0] == "粮食产量(含薯类)"
    for name in ("粮食产量（含薯类）", "粮食 产量(含薯类)"):
        assert load(path, columns={"x": name})["x"].iloc[0] == 18000


def test_unknown_indicators_name_the_nearest(tmp_path: Path) -> None:
    error = refused(book(tmp_path, s=INCOME), columns={"x": "农村居民可支配收入"})
    says(error, "no table has the indicator '农村居民可支配收入'", "年鉴.xlsx", "did you mean '农村居民人均可支配收入'")


def test_a_value_in_two_places_must_be_the_same(tmp_path: Path) -> None:
    wanted = {"columns": {"x": "农村居民人均可支配收入"}}
    again = edited(INCOME, C5=21234.5, C6=None, D6="空", C4=None)
    assert len(load(book(tmp_path, a=INCOME, b=again), **wanted)) == 6
    assert load(book(tmp_path, a=again, b=INCOME), **wanted)["x"].iloc[0] == 18000
    error = refused(book(tmp_path, a=INCOME, b=edited(INCOME, D5=23001)), **wanted)
    says(error, "昌吉市 in 2019 is 23000 in a!D5 and 23001 in b!D5", "年鉴.xlsx", "sheets=")
    error = refused(book(tmp_path, a=INCOME, b=edited(INCOME, D6=3)), **wanted)
    says(error, "is not applicable in a!D6 and 3 in b!D6", "年鉴.xlsx", "sheets=")
    assert len(load(book(tmp_path, a=INCOME, b=edited(INCOME, D6=3)))) == 12


def test_one_column_has_one_unit(tmp_path: Path) -> None:
    path = book(tmp_path, a=INCOME, b=edited(INCOME, D2="单位:万元"))
    error = refused(path, columns={"x": "农村居民人均可支配收入"})
    says(error, "in 元 in a!C4 and in 万元 in b!C4", "年鉴.xlsx", "sheets=")
    assert Yearbook(path, columns={"x": "农村居民人均可支配收入"}, sheets=("b",)).load().units == {"x": "万元"}


# --- units ---


def test_a_unit_that_the_file_does_not_say_is_given(tmp_path: Path) -> None:
    path = book(tmp_path, s=edited(INCOME, D2=None))
    error = refused(path)
    says(error, "no unit is found", "年鉴.xlsx", 'units={"农村居民人均可支配收入": "…"}')
    assert "for the numbers from s!C4 on" in error.what
    assert set(load(path, units={"农村居民人均可支配收入": "元"})["unit"]) == {"元"}
    error = refused(path, units={"农村居民收入": "元"})
    says(error, "units= names indicator '农村居民收入'", "年鉴.xlsx", "did you mean '农村居民人均可支配收入'")


@pytest.mark.parametrize("caption", ["单位：元、人", "单位：元 人", "单位:元、人  Unit: yuan, person"])
def test_a_caption_with_several_units_is_the_unit_of_none(tmp_path: Path, caption: str) -> None:
    path = book(tmp_path, s=edited(INCOME, D2=caption))
    says(refused(path), "(the caption '元", "年鉴.xlsx", 'units={"农村居民人均可支配收入": "…"}')
    assert set(load(path, units={"农村居民人均可支配收入": "元"})["unit"]) == {"元"}


def test_units_that_contradict_are_asked_for(tmp_path: Path) -> None:
    asked = 'units={"农村居民人均可支配收入": "…"}'
    path = book(tmp_path, s=edited(INCOME, A2="单位:万元"))
    says(refused(path), "it is '万元' in s!A2 and it is '元' in s!D2", "年鉴.xlsx", asked)
    assert set(load(path, units={"农村居民人均可支配收入": "元"})["unit"]) == {"元"}
    path = book(tmp_path, s=edited(INCOME, A1="5-3 各县市农村居民人均可支配收入(万元)"))
    says(refused(path), "'万元' in s!A1 and it is '元' in s!D2", "年鉴.xlsx", asked)
    path = book(tmp_path, s=INCOME)
    error = refused(path, units={"农村居民人均可支配收入": "万元"})
    says(error, "is '元' in the file and '万元' in units=", "s!C4", "leave it out of units=")
    assert len(load(path, units={"农村居民人均可支配收入": "元"})) == 6


def test_the_sidecar_gives_provenance_and_units_of_indicators(tmp_path: Path) -> None:
    path = book(tmp_path, s=edited(INCOME, D2=None))
    beside = tmp_path / "年鉴.xlsx.provenance.toml"
    beside.write_text('publisher = "统计局"\nnotes = "合成"\n[units]\n"农村居民人均可支配收入" = "元"\n', "utf-8")
    table = Yearbook(path, columns={"x": "农村居民人均可支配收入"}).load()
    assert table.units == {"x": "元"}
    assert table.provenance[0].publisher == "统计局"
    assert table.provenance[0].notes.startswith("合成; x is")
    error = refused(path, units={"农村居民人均可支配收入": "万元"})
    says(error, "'元' in the sidecar and '万元' in units=", "provenance.toml", "declare it once")
    beside.write_text('[units]\nx = "元"\n', "utf-8")
    says(refused(path), "[units] names indicator 'x'", "provenance.toml", "known are: 农村居民人均可支配收入")


# --- sheets ---


def test_pages_without_a_table_are_noted(tmp_path: Path) -> None:
    contents: Rows = [["目  录"], ["表名", "页码"], ["人口", 1], ["收入", 3]]
    path = book(
        tmp_path,
        目录=[["目录"], ["5-1 各县市人口", 1], ["5-3 各县市收入", 3]],
        页=contents,
        说明=[["本年鉴"], ["口径", "按常住人口"]],
        无=[["昌吉市", 5]],
        码=[["县市", "代码"], ["昌吉市", 652301]],
        s=INCOME,
        e=[],
    )
    said = notes(path)
    for name, reason in (
        ("目录", "no row of it is the name of a region followed by numbers"),
        ("页", "it is a list of contents"),
        ("说明", "no row of it is"),
        ("无", "no header stands above its first numbers"),
        ("码", "no column of numbers has a header"),
    ):
        assert f"sheet '{name}' was not read: {reason}" in said
    assert "'e'" not in said
    says(refused(path, sheets=("s", "说明")), "the sheet holds no table: no row", "年鉴.xlsx, 说明", "leave it out")


def test_sheets_are_named_and_hidden_ones_left_out(tmp_path: Path) -> None:
    path = book(tmp_path, a=INCOME, b=edited(INCOME, D5=1))
    assert set(load(path, sheets=("b",))["sheet"]) == {"b"}
    says(refused(path, sheets=("c", "a")), "no sheet 'c'", "年鉴.xlsx", "known are: a, b")
    workbook = openpyxl.load_workbook(path)
    workbook["b"].sheet_state = "hidden"
    workbook["a"].row_dimensions[5].hidden = True
    workbook.save(path)
    assert set(load(path)["sheet"]) == {"a"}
    assert "hidden sheet 'b' was not read" in notes(path)
    assert "1 hidden rows of sheet 'a' were read: 5" in notes(path)
    assert "sheet 'b' is hidden" in notes(path, sheets=("b",))
    workbook["a"].sheet_state = "hidden"
    workbook.active = workbook.create_sheet("empty")
    workbook.save(path)
    says(refused(path), "no visible sheet holds any data", "年鉴.xlsx", "the yearbook's table")


def test_settings_are_checked() -> None:
    assert hash(Yearbook("a.xlsx", columns={"x": "y"})) == hash(Yearbook("a.xlsx", columns={"x": "z"}))
    for options, remedy in (
        ({"sheets": "5-3"}, r'sheets=\("5-3",\)'),
        ({"keys": ("value", "year")}, "own name"),
        ({"columns": {"year": "人口"}}, "own name"),
        ({"keys": ("year", "year")}, "own name"),
        ({"keys": "county"}, r'keys=\("region", "year"\)'),
        ({"keys": ("county",)}, r'keys=\("region", "year"\)'),
        ({"year": 1899}, 'year="file name"'),
        ({"year": True}, "year=2019"),
        ({"year": "2019"}, "year=2019"),
        ({"units": {"人口": "…"}}, "in place of …"),  # as the refusal spells it
    ):
        with pytest.raises(SourceError, match=remedy):
            Yearbook("a.xlsx", **options)  # type: ignore[arg-type]
    assert Yearbook("a.xlsx", columns={"value": "人口"}).columns


# --- text exports ---

EXPORT = (
    "数据库：分省年度数据\r\n指标：地区生产总值(亿元)\r\n时间：最近3年\r\n"
    "地区,2024年,2023年,2022年\r\n甲省,49670.2,47353.7,45222.4\r\n乙自治区,20492.4,19603.3,…\r\n"
    '"注：按新制度，对1992年-2023年数据进行了修订,下同。"\r\n数据来源：国家统计局\r\n'
)


@pytest.mark.parametrize(
    ("encoding", "separator"),
    [("gb18030", ","), ("utf-8-sig", ","), ("utf-8", "\t"), ("utf-8-sig", "\t"), ("utf-16", ",")],
)
def test_exports_of_the_statistical_bureau(tmp_path: Path, encoding: str, separator: str) -> None:
    path = put(tmp_path, EXPORT.replace(",", separator), encoding)
    frame = load(path)
    assert triples(frame, "value")[:5] == [
        ("甲省", 2024, 49670.2),
        ("甲省", 2023, 47353.7),
        ("甲省", 2022, 45222.4),
        ("乙自治区", 2024, 20492.4),
        ("乙自治区", 2023, 19603.3),
    ]
    assert set(frame["indicator"]) == {"地区生产总值"}
    assert set(frame["unit"]) == {"亿元"}
    assert frame["mark"].tolist() == [""] * 5 + ["below_unit"]
    assert frame["sheet"].isna().all()
    assert frame["cell"].tolist() == ["B5", "C5", "D5", "B6", "C6", "D6"]
    said = notes(path)
    for part in ("A7: 注：按新制度", "A8: 数据来源：国家统计局", "A1: 数据库:分省年度数据", "cells B5:D6"):
        assert part in said
    assert ("GB18030" in said) == (encoding == "gb18030")
    assert load(put(tmp_path, gzip.compress(path.read_bytes()))).equals(frame)


def test_an_export_of_several_indicators_has_its_year_above(tmp_path: Path) -> None:
    content = "数据库：分省年度数据\n时间：2022年\n地区,农药使用量(吨),粮食产量(万吨)\n甲省,1,2\n乙省,3,4\n"
    frame = load(put(tmp_path, content))
    assert list(zip(frame["year"], frame["indicator"], frame["unit"], frame["value"], strict=True))[:2] == [
        (2022, "农药使用量", "吨", 1),
        (2022, "粮食产量", "万吨", 2),
    ]
    path = put(tmp_path, content.replace("2022年", "2022年12月"))
    says(refused(path), "no year is found, neither in the header nor in the title", "export.csv", "year=…")
    assert set(load(path, year=2022)["year"]) == {2022}


def test_cells_of_text_are_named_by_line_and_field(tmp_path: Path) -> None:
    path = put(tmp_path, EXPORT.replace("19603.3", "19603.3x"))
    assert unplaced(path) == {"C6": "it is neither a number nor a mark in place of one"}
    assert texts(path) == {"C6": "19603.3x"}
    assert read(path) == {
        "B5": 49670.2,
        "C5": 47353.7,
        "D5": 45222.4,
        "B6": 20492.4,
        "C6": "unread",
        "D6": "below_unit",
    }


def test_rows_of_indicators_ask_for_their_region(tmp_path: Path) -> None:
    path = put(tmp_path, EXPORT.replace("地区,", "指标,"))
    says(refused(path), "the rows are not regions, and no region is named", "export.csv", 'region="…"')
    frame = load(path, region="全国", units={"甲省": "亿元", "乙自治区": "亿元"})
    assert set(frame["region"]) == {"全国"}
    assert frame["value"].tolist()[:3] == [49670.2, 47353.7, 45222.4]


# --- values ---


@pytest.mark.parametrize(
    ("cell", "value", "mark"),
    [
        (5.5, 5.5, ""),
        ("0", 0, ""),
        ("-3.20", -3.2, ""),
        ("1,234,567.8", 1234567.8, ""),
        ("１，２３４．５", 1234.5, ""),
        ("1 234", 1234, ""),
        ("1\u00a0912.59", 1912.59, ""),
        ("12 345 678.9", 12345678.9, ""),
        ("<0.01", math.nan, "below_unit"),
        ("＜.5", math.nan, "below_unit"),
        ("\u22125", -5, ""),
        ("…", math.nan, "below_unit"),
        ("...", math.nan, "below_unit"),
        ("……", math.nan, "below_unit"),
        ("-", math.nan, "none"),
        ("—", math.nan, "none"),
        ("——", math.nan, "none"),
        ("－", math.nan, "none"),
        ("空", math.nan, "none"),
        (None, math.nan, "missing"),
    ],
)
def test_values_and_marks(cell: Any, value: float, mark: str) -> None:
    read = read_value(cell)
    assert read is not None
    assert read[1] == mark
    assert read[0] == value or (math.isnan(read[0]) and math.isnan(value))


@pytest.mark.parametrize(
    "cell",
    [
        "12a",
        "1,23",
        "12,34",
        "5%",
        "0123",
        "1e5",
        "12①",
        "(3)",
        ".",
        "..",
        "NA",
        "1234567890123456",
        "7.8S",
        "lo",
        "1 23",
        "1234 567",
        "1  234",
        "<5",
        "<1.5",
        True,
        dt.datetime(2019, 1, 1),
    ],
)
def test_what_is_neither_number_nor_mark_is_listed_and_the_rest_read(tmp_path: Path, cell: Any) -> None:
    path = book(tmp_path, s=edited(INCOME, D5=cell))
    assert unplaced(path) == {"D5": "it is neither a number nor a mark in place of one"}
    assert texts(path) == {"D5": "2019-01-01" if isinstance(cell, dt.datetime) else str(cell)}
    assert read(path) == {**INCOME_READ, "D5": "unread"}
    frame = load(path)
    assert frame.loc[frame["mark"] == "unread", ["region", "year", "unit"]].to_numpy().tolist() == [
        ["昌吉市", 2019, "元"]
    ]
    said = notes(path)
    assert (
        f"1 cell is not placed, because it is neither a number nor a mark in place of one: s!D5 '{texts(path)['D5']}'"
        in said
    )
    assert "1 unread" in said


@pytest.mark.parametrize("rows", [(4,), (6,), (4, 5), (5, 6)])
def test_a_row_of_text_is_not_taken_for_header_or_note(tmp_path: Path, rows: tuple[int, ...]) -> None:
    wrong = [f"{column}{row}" for row in rows for column in "CD"]
    changed = edited(INCOME, **dict.fromkeys(wrong, "x"))
    listed = dict.fromkeys(wrong, "it is neither a number nor a mark in place of one")
    path = book(tmp_path, s=changed)
    assert unplaced(path) == listed
    assert read(path) == {**INCOME_READ, **dict.fromkeys(wrong, "unread")}
    path = book(tmp_path, s=edited(changed, A3=None, B3=None))
    assert unplaced(path) == {**dict.fromkeys(("B4", "B5", "B6"), "no header stands above the column"), **listed}
    assert read(path) == {**INCOME_READ, **dict.fromkeys(wrong, "unread")}


def test_words_in_the_first_row_of_data_do_not_make_it_a_header(tmp_path: Path) -> None:
    why = "it is neither a number nor a mark in place of one"
    for wrong in (("D4",), ("C4",), ("C4", "D4")):
        path = book(tmp_path, s=edited(INCOME, **dict.fromkeys(wrong, "不详")))
        assert unplaced(path) == dict.fromkeys(wrong, why)
        assert read(path) == {**INCOME_READ, **dict.fromkeys(wrong, "unread")}
        assert set(load(path)["indicator"]) == {"农村居民人均可支配收入"}
    for word in ("不详", "lo", "7.8S"):  # and none of its cells is a number
        rows: Rows = [["5-3 2019年各县市产量"], ["地区", "粮食(吨)"], ["全 州", word], ["昌吉市", 5], ["木垒县", 6]]
        path = book(tmp_path, s=rows)
        assert unplaced(path) == {"B3": why}
        assert read(path) == {"B3": "unread", "B4": 5, "B5": 6}
        assert load(path)[["region", "indicator"]].to_numpy().tolist()[0] == ["全州", "粮食"]
    path = book(tmp_path, s=edited(INCOME, E4="新增"))
    assert unplaced(path) == {"E4": "no header stands above the column"}
    assert read(path) == INCOME_READ
    path = book(tmp_path, {"s": INPUTS_MERGED}, s=edited(INPUTS, B5="无", C5="无", E5="无"))
    assert unplaced(path) == dict.fromkeys(("B5", "C5", "E5"), why)
    assert set(load(path)["indicator"]) == {"农药使用量", "化肥施用量"}


def test_error_cells_and_formulas_are_listed_and_the_rest_read(tmp_path: Path) -> None:
    path = book(tmp_path, s=edited(INCOME, C4="#REF!", D5="#DIV/0!", D4="=1+1"))
    assert unplaced(path) == {
        "C4": "the cell holds the error #REF!",
        "D4": "the cell holds a formula whose value was not calculated when the file was saved",
        "D5": "the cell holds the error #DIV/0!",
    }
    assert texts(path) == {"C4": "#REF!", "D4": "=1+1", "D5": "#DIV/0!"}
    assert read(path) == {**INCOME_READ, **dict.fromkeys(("C4", "D4", "D5"), "unread")}


@pytest.mark.parametrize(
    ("cell", "year"),
    [(2019.0, 2019), ("2019", 2019), ("2019年", 2019), ("2018 年", 2018), ("２０１９年", 2019), ("2019年度", 2019)]
    + [(one, None) for one in (2019.5, 1899.0, "2019年1月", "2018-2019", "19年", "2019年末", "201", None, True)],
)
def test_years(cell: Any, year: int | None) -> None:
    assert read_year(cell) == year


# --- names ---


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("5-3 各县市农村居民人均可支配收入", "农村居民人均可支配收入"),
        ("表5-3  各县（市、区）粮食产量（吨）", "粮食产量"),
        ("5—3分县市 农药使用量(续)", "农药使用量"),
        ("6.2 2022年各地区农药使用量", "农药使用量"),
        ("各地区农作物总播种面积 (2022年) (千公顷)", "农作物总播种面积"),
        ("续表 6-2 分地区化肥施用量(按折纯法计算)", "化肥施用量(按折纯法计算)"),
        ("0-14岁人口比重", "0-14岁人口比重"),
        ("各市场成交额", "各市场成交额"),
        ("GDP of Counties", "GDP of Counties"),
        ("续表1", ""),
    ],
)
def test_an_indicator_is_named_after_its_title(title: str, name: str) -> None:
    assert name_indicator(title) == name


@pytest.mark.parametrize(
    ("words", "split"),
    [
        ("农药使用量(吨)", ("农药使用量", "吨")),
        ("化肥施用量\n（万吨）", ("化肥施用量", "万吨")),
        ("单产（公斤/公顷）", ("单产", "公斤/公顷")),
        ("价格指数(上年＝100)", ("价格指数", "上年=100")),
        ("电力（单位：万千瓦时）", ("电力", "万千瓦时")),
        ("粮食(含薯类)", ("粮食(含薯类)", None)),
        ("人口(公顷、吨)", ("人口(公顷、吨)", None)),
        ("(千公顷)", ("", "千公顷")),
    ],
)
def test_a_unit_behind_a_name(words: str, split: tuple[str, str | None]) -> None:
    assert split_unit(words) == split


def test_spaces_between_chinese_characters_are_no_part_of_a_name() -> None:
    assert [join_words(name) for name in ("昌 吉 市", "新\u3000\u3000疆", "木垒\n县", "New  York", "昌吉 Changji")] == [
        "昌吉市",
        "新疆",
        "木垒县",
        "New York",
        "昌吉Changji",
    ]


# --- tables that are not understood ---


def test_a_header_without_a_year(tmp_path: Path) -> None:
    path = book(tmp_path, s=edited(INCOME, C3="收入", D3="支出"))
    says(refused(path), "no year is found, neither in the header nor in the title", "年鉴.xlsx", "year=…")
    assert load(path, year=2022)["year"].tolist() == [2022] * 6
    path = book(tmp_path, s=edited(INCOME, A1="5-3 2021-2022年收支", C3="收入", D3="支出"))
    says(refused(path), "several years (2021, 2022)", "年鉴.xlsx", "year=…")
    assert load(path, year=2021)["year"].tolist() == [2021] * 6
    says(
        refused(path, year=2020),
        "the title names several years (2021, 2022) and the header none",
        "",
        "year=…",
    )


@pytest.mark.parametrize(
    ("word", "why"),
    [
        ("2019①", "'2019①' in the header mixes a year with other words"),
        ("2019年1-6月", "'2019年1-6月' in the header mixes a year with other words"),
        ("2018年至今", "'2018年至今' in the header mixes a year with other words"),
        ("比2018年±%", "'比2018年±%' in the header mixes a year with other words"),
        ("2019年增长", "a growth rate, share or rank stands beside columns that have years alone above them"),
        ("7", "'7' in the header is neither a year nor a name"),
        ("-", "'-' in the header is neither a year nor a name"),
        (7, "'7' in the header is neither a year nor a name"),
        (dt.datetime(2019, 1, 1), "'2019-01-01' in the header is neither a year nor a name"),
        ("增长率(%)", "no year stands above the column, while one stands above others"),
        (None, "no header stands above the column"),
        ("#REF!", "the cell holds the error #REF!"),
    ],
)
def test_a_column_whose_header_is_not_understood_is_listed(tmp_path: Path, word: Any, why: str) -> None:
    path = book(tmp_path, s=edited(INCOME, D3=word))
    header = ["D3"] if word in ("7", 7) else []  # a number of the page, which is not lost either
    assert unplaced(path) == dict.fromkeys([*header, "D4", "D5", "D6"], why)
    assert read(path) == {"C4": 18000, "C5": 21234.5, "C6": "below_unit"}


def test_a_column_without_year_or_indicator_beside_others(tmp_path: Path) -> None:
    rest = {"B5": 10, "C5": 11, "B6": 20, "C6": "missing"}
    path = book(tmp_path, {"s": ("A3:A4", "B3:C3")}, s=edited(INPUTS, D3="2019年", E3="2020年", D4=None, E4=None))
    why = "no name of an indicator stands above the column, while one stands above others"
    assert unplaced(path) == dict.fromkeys(("D5", "E5", "D6", "E6"), why)
    assert read(path) == rest
    path = book(tmp_path, {"s": ("A3:A4", "B3:C3", "D3:E3")}, s=edited(INPUTS, D3="2018年"))
    why = "two years stand above the column (2018, {})"
    assert unplaced(path) == {c + r: why.format(y) for c, y in (("D", 2019), ("E", 2020)) for r in "56"}
    assert read(path) == rest


def test_a_name_stands_over_the_empty_cells_to_its_right(tmp_path: Path) -> None:
    path = book(tmp_path, s=INPUTS)
    assert not unplaced(path)
    assert load(path).equals(load(book(tmp_path, {"s": INPUTS_MERGED}, s=INPUTS)))
    years: Rows = [  # 2019 over 农药 alone, or over 化肥 as well? 2020 stands over one column
        ["投入"],
        ["地区", 2019, None, 2020],
        [None, "农药(吨)", "化肥(吨)", "农药(吨)"],
        ["昌吉市", 1, 2, 3],
    ]
    path = book(tmp_path, s=years)
    assert unplaced(path) == {"C4": "no year stands above the column, while one stands above others"}
    assert triples(load(path), "value") == [("昌吉市", 2019, 1), ("昌吉市", 2020, 3)]


def test_an_indicator_that_no_title_names_for_certain(tmp_path: Path) -> None:
    path = book(tmp_path, s=edited(INCOME, A1=None))
    says(refused(path), "no title above it says what the numbers are", "年鉴.xlsx", 'indicator="…"')
    assert set(load(path, indicator="收入")["indicator"]) == {"收入"}
    rows = [["城乡居民"], ["收入"], *INCOME[1:]]
    says(refused(book(tmp_path, s=rows)), "titles in s!A1 and s!A2 differ", "年鉴.xlsx", 'indicator="…"')
    rows = [["城乡居民"], *INCOME]
    assert load(book(tmp_path, s=rows))["indicator"].iloc[0] == "农村居民人均可支配收入"
    error = refused(book(tmp_path, s=edited(INCOME, A1="续表 2")))
    says(error, "the title '续表2' does not say what the numbers are", "年鉴.xlsx", 'indicator="…"')


def test_a_region_and_year_that_stand_twice_and_differ_are_read_in_neither_place(tmp_path: Path) -> None:
    path = book(tmp_path, s=edited(INCOME, A6="昌吉市"))
    why = "'农村居民人均可支配收入' of 昌吉市 in {} stands in s!{} as well"
    places = {"C5": (2018, "C6"), "D5": (2019, "D6"), "C6": (2018, "C5"), "D6": (2019, "D5")}
    assert unplaced(path) == {cell: why.format(*other) for cell, other in places.items()}
    assert read(path) == {**INCOME_READ, **dict.fromkeys(places, "unread")}
    error = refused(book(tmp_path, s=edited(INCOME, D3="2018")))  # all of them do
    says(error, "of 全州 in 2018 stands in s!D4 as well: s!C4 '18000'", "年鉴.xlsx", "[[table.correct]]")
    assert "of 木垒县 in 2018 stands in s!C6 as well: s!D6 '-'" in error.what


@pytest.mark.parametrize(
    ("ref", "wrong", "kept"),
    [
        ("C5:D5", "C5 D5", True),
        ("D5:D6", "D5 D6", True),
        ("C3:C4", "C4", True),
        ("A5:A6", "C5 D5 C6 D6", False),
        ("B5:B6", "C5 D5 C6 D6", False),
    ],
)
def test_merged_cells_among_the_values_are_listed(tmp_path: Path, ref: str, wrong: str, kept: bool) -> None:
    rows = edited(INCOME, D4=1, D6=3, C6=2)
    path = book(tmp_path, {"s": (ref,)}, s=rows)
    why = f"cells are merged ({ref}), so it is not certain which regions and years the value is for"
    assert unplaced(path) == dict.fromkeys(wrong.split(), why)
    rest = {"C4": 18000, "D4": 1, "C5": 21234.5, "D5": 23000, "C6": 2, "D6": 3}
    expected = {cell: "unread" if cell in wrong.split() else value for cell, value in rest.items()}
    # a row whose name is not known is not in the frame
    assert read(path) == (expected if kept else {c: v for c, v in expected.items() if v != "unread"})


def test_merged_notes_and_titles_are_read(tmp_path: Path) -> None:
    assert len(load(book(tmp_path, {"s": ("A1:D1", "A7:D7", "A8:D9")}, s=INCOME))) == 6


def test_the_same_table_below_or_beside_is_read_once(tmp_path: Path) -> None:
    same = "'农村居民人均可支配收入' of 全州 in 2018 stands in s!C4 as well (the same value)"
    for below in ([["5-3 续表"], *INCOME[2:6]], INCOME[2:6], [["各县市", "代码", "2018年", "2019年"], *INCOME[3:6]]):
        path = book(tmp_path, s=[*INCOME[:6], *below])
        row = 7 + len(below) - 3
        listed = unplaced(path)
        assert listed[f"C{row}"] == same
        assert set(listed) == {f"{column}{r}" for column in "CD" for r in range(row, row + 3)}
        assert read(path) == INCOME_READ
    path = book(tmp_path, s=[*INCOME[:6], ["各县", None, 2018, 2019], *INCOME[3:6]])
    listed = unplaced(path)  # 各县 might be the name of a region with 2,018 and 2,019
    assert listed == dict.fromkeys(
        (f"{column}{r}" for r in range(7, 11) for column in "CD"), "a second table begins below the first ('各县')"
    )
    assert read(path) == INCOME_READ
    path = book(tmp_path, s=[row + [None] * (4 - len(row)) + row for row in INCOME])
    assert unplaced(path)["G4"] == same
    assert set(unplaced(path)) == {f"{column}{r}" for column in "GH" for r in range(4, 7)}
    assert read(path) == INCOME_READ


def test_numbers_without_a_header_above_them(tmp_path: Path) -> None:
    error = refused(book(tmp_path, s=INCOME[:2] + INCOME[3:]))
    says(error, "the row holds numbers, and no header stands above it", "年鉴.xlsx, s, row 3", 'layout="…"')
    path = book(tmp_path, s=[INCOME[0], ["木垒县", 5], *INCOME[1:]])  # which parts the title from the table
    says(refused(path), "no title above it says what the numbers are", "年鉴.xlsx", 'indicator="…"')
    why = "it stands in no table that is understood: the row holds numbers, and no header stands above it"
    assert unplaced(path, indicator="收入") == {"B2": why}
    assert len(load(path, indicator="收入")) == 6


def test_rows_without_a_name_or_a_header_are_listed(tmp_path: Path) -> None:
    unnamed = {cell: value for cell, value in INCOME_READ.items() if cell not in ("C5", "D5")}
    for cells, listed, left in (
        ({"A5": None}, dict.fromkeys(("C5", "D5"), "no name of a region stands in the row"), unnamed),
        (
            {"A5": 7},
            dict.fromkeys(("A5", "C5", "D5"), "'7' stands instead of the name of a region in the row"),
            unnamed,
        ),
        ({"E5": 7}, {"E5": "no header stands above the column"}, INCOME_READ),
        ({"B5": "6523"}, {"B5": "it is not a region's code of six digits"}, INCOME_READ),
    ):
        path = book(tmp_path, s=edited(INCOME, **cells))
        assert unplaced(path) == listed
        assert read(path) == left
    assert load(book(tmp_path, s=edited(INCOME, B5="6523")))["region_code"].isna().tolist() == [
        *(False, False, True, True, False, False)
    ]
    rows = [[number, *row] if number > 3 else [None, *row] for number, row in enumerate(INCOME, 1)]
    says(refused(book(tmp_path, s=rows)), "words stand among numbers in s!B4, s!B5", "年鉴.xlsx", 'layout="…"')
    rows = [[652301 + i if 2 < i < 6 else None, *row] for i, row in enumerate(INCOME)]
    says(refused(book(tmp_path, s=rows)), "s!A4 and s!C4 both hold codes", "年鉴.xlsx, s", 'layout="…"')


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("farm,county,year,y\n1,木垒县,2011,1.5\n2,昌吉市,2011,2\n", "no table of a yearbook is found"),
        ("county,y\n木垒县,1.5\n昌吉市,2\n", "this is an ordinary table"),
        ("note\nonly words\n", "no table of a yearbook is found"),
    ],
)
def test_an_ordinary_table_is_sent_to_delimited(tmp_path: Path, content: str, what: str) -> None:
    says(refused(put(tmp_path, content)), what, "export.csv", "Delimited")


def test_an_ordinary_table_with_years_is_read_once_it_is_said_what_it_holds(tmp_path: Path) -> None:
    path = put(tmp_path, "county,year,y\n木垒县,2011,1.5\n昌吉市,2012,2\n")
    says(refused(path), "no unit is found", "export.csv", 'units={"y": "…"}')
    assert triples(load(path, units={"y": "吨"}), "value") == [("木垒县", 2011, 1.5), ("昌吉市", 2012, 2)]
    path = put(tmp_path, "county,2011,2012\n木垒县,5,1.5\n")
    error = refused(path)
    says(error, "no title above it", "export.csv", 'indicator="…" (what they count), units={')
    assert "no unit is found" in error.what
    frame = load(path, indicator="产量", units={"产量": "吨"})
    assert triples(frame, "value") == [("木垒县", 2011, 5), ("木垒县", 2012, 1.5)]


def test_files_of_other_kinds_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    says(refused(tmp_path / "no.xlsx"), "no such file", "no.xlsx", "there is no file")
    says(
        refused(put(tmp_path, bytes.fromhex("D0CF11E0A1B11AE1") + bytes(600))),
        "(.xls)",
        "export.csv",
        "save it as .xlsx",
    )
    says(refused(put(tmp_path, "\n<html><table></table>")), "it is empty", "export.csv", "the yearbook's table")
    pd.DataFrame({"a": [1]}).to_parquet(tmp_path / "p")
    says(refused(tmp_path / "p"), "this is neither", "p", "Parquet with Delimited")
    says(refused(put(tmp_path, EXPORT), sheets=("a",)), "this is no Excel workbook", "export.csv", "leave it out")
    says(refused(put(tmp_path, '地区,2019年\n"昌吉市,1\n')), "quotes do not match", "row 2", "close the quote")
    monkeypatch.setattr(pages, "_MAX_TEXT", 100)
    says(refused(put(tmp_path, EXPORT)), "more than 0.0001 MB", "export.csv", "Delimited")


# --- whatever the cells, a Table or an EvalkitError ---

WORDS = "地区 昌吉市 2019年 2020年 1,234 … - 空 x 单位：吨 单位:元 注：x 代码 农药(吨) 续表 (上年=100) 合计 2022年投入".split()
CELLS = st.sampled_from([None, None, 2019, 2020, 652301, 1.5, 7, True, "木 垒 县", "5-3 各县市农药使用量(吨)", *WORDS])
GRIDS = st.lists(st.lists(CELLS, max_size=5), max_size=8)
REFS = st.lists(st.sampled_from(["A1:C1", "A2:A3", "B2:C2", "B3:B5", "D2:E3"]), max_size=2, unique=True)


@inputs(40, 150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(GRIDS, REFS, st.booleans())
def test_any_grid_is_read_or_refused(tmp_path: Path, grid: Rows, refs: list[str], as_text: bool) -> None:
    lines = "\n".join("\t".join("" if cell is None else str(cell) for cell in row) for row in grid)
    refs = [] if "A2:A3" in refs and "B3:B5" in refs and "D2:E3" in refs else refs
    path = put(tmp_path, lines) if as_text else book(tmp_path, {"s": tuple(refs)}, s=grid)
    with suppress(EvalkitError):
        table = Yearbook(path).load()
        assert isinstance(table, Table)
        assert len(table.frame) > 0
        frame, listed = table.frame, set(table.unplaced["cell"])
        assert not frame[frame["mark"] != "unread"].duplicated(["region", "year", "indicator"]).any()
        assert (frame["value"].isna() == (frame["mark"] != "")).all()
        assert set(frame.loc[frame["mark"] == "unread", "cell"]) <= listed
        assert not set(frame.loc[frame["mark"] != "unread", "cell"]) & listed
        assert frame["unit"].notna().all()
        unplaced(path)


YEARS = (2019, 2020)  # in CELLS, where they may be a header
EDITS = st.lists(st.tuples(st.integers(1, 8), st.sampled_from("ABCDE"), CELLS), min_size=1, max_size=3)


@inputs(40, 150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(EDITS)
def test_an_edited_table_is_read_as_it_stands_and_no_number_is_lost(
    tmp_path: Path, edits: list[tuple[int, str, Any]]
) -> None:
    rows = edited(INCOME, **{f"{column}{row}": cell for row, column, cell in edits})
    rows = [row + [None] * (5 - len(row)) for row in rows]
    with suppress(EvalkitError):
        path = book(tmp_path, s=rows)
        frame, listed = load(path), unplaced(path)
        assert not frame[frame["mark"] != "unread"].duplicated(["region", "year", "indicator"]).any()
        for reading in frame.itertuples():
            row, column = int(reading.cell[1:]) - 1, ord(reading.cell[0]) - 65
            published = str(rows[row][column] or "")
            is_number = published.replace(",", "").replace(".", "").isdigit()
            assert (reading.mark == "unread") == (reading.cell in listed)
            assert (reading.mark == "") == (is_number and reading.cell not in listed)
            assert reading.mark or reading.value == float(published.replace(",", ""))
            assert reading.region in ["".join(str(cell).split()) for cell in rows[row][:column]]
            if reading.mark != "missing":  # a year stands over an empty cell to its right
                assert any(str(reading.year) in str(cell) for cell in (rows[2][column], *rows[0], *rows[1]))
        numbers = [
            (row, column)
            for row, cells in enumerate(rows)
            for column, cell in enumerate(cells)
            if isinstance(cell, float | int) and not isinstance(cell, bool) and 0 < cell < 100_000 and cell not in YEARS
        ]
        lost = {f"{'ABCDE'[column]}{row + 1}" for row, column in numbers} - set(frame["cell"]) - set(listed)
        assert not lost
