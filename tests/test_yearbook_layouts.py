"""Yearbook: the layouts of printed tables, each as synthetic rows with the quirks of real files, and what their words qualify."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from evalkit.sources.yearbook.words import is_place, split_part, split_translation
from yearbook_files import Rows, book, load, notes, put, read, refused, says, texts, unplaced

pytestmark = pytest.mark.filterwarnings("error")

TITLE = ["5-3 2019年各县市化肥"]


def cells(path: Path, **options: Any) -> list[tuple[str, int, str, float, str]]:
    frame = load(path, **options)
    return list(frame[["region", "year", "indicator", "value", "unit"]].itertuples(index=False, name=None))


def regions(frame: pd.DataFrame) -> list[tuple[str, int, float]]:
    return list(frame[["region", "year", "value"]].itertuples(index=False, name=None))


# --- several tables on a page ---

BESIDE: Rows = [  # of the rural yearbook: the second half starts a row higher, and its names have no header
    ["3-11 各地区化肥施用量", None, None, None, None, None, "3-11 续表"],
    ["(按折纯法计算)", None, None, None, None, None, "单位:万吨"],
    ["单位:万吨", None, None, None, None, None, None, "3.钾肥"],
    ["地 区", "化肥施用量", None, "1.氮肥", None, None, None, "2018 年", "2019 年"],
    [None, "2018 年", "2019 年", "2018 年", "2019 年", None, "全 国", "30.3", "31.1"],
    ["全 国", "5653.4", "5403.6", "2065.4", "1930.2", None, "甲 省", "0.4", "0.3"],
    ["甲 省", "7.3", "6.2", "3.0", "2.2", None, "新  疆", "20.9", "22.7"],
    ["新  疆", "255.0", "257.8", "109.9", "109.5"],
    ["注：含兵团。"],
]
BESIDE_MERGED = ("G3:G4", "H3:I3", "A4:A5", "B4:C4", "D4:E4")


def test_a_second_half_beside_that_starts_one_row_higher(tmp_path: Path) -> None:
    path = book(tmp_path, {"s": BESIDE_MERGED}, s=BESIDE)
    frame = load(path)
    assert frame["indicator"].drop_duplicates().tolist() == ["化肥施用量", "氮肥", "钾肥"]
    assert regions(frame[frame["indicator"] == "钾肥"]) == [
        ("全国", 2018, 30.3),
        ("全国", 2019, 31.1),
        ("甲省", 2018, 0.4),
        ("甲省", 2019, 0.3),
        ("新疆", 2018, 20.9),
        ("新疆", 2019, 22.7),
    ]
    assert len(frame) == 18
    assert frame.set_index(["region", "year", "indicator"]).loc[("新疆", 2019, "氮肥"), "cell"] == "E8"
    assert set(frame["unit"]) == {"万吨"}
    assert set(frame["note"]) == {"按折纯法计算; 含兵团"}  # of both halves
    assert "s!G5 and below go on with '3-11各地区化肥施用量'" in notes(path)


def test_a_second_half_beside_under_its_own_header_word(tmp_path: Path) -> None:
    rows: Rows = [
        ["5-3 粮食产量"],
        ["单位:吨"],
        ["地区", "代码", "2019年", "地区", "代码", "2019年"],
        ["昌吉市", 652301, 1, "木垒县", 652328, 2],
        ["全州", 652300, 3],
    ]
    frame = load(book(tmp_path, s=rows))
    assert regions(frame) == [("昌吉市", 2019, 1), ("全州", 2019, 3), ("木垒县", 2019, 2)]
    assert frame["region_code"].tolist() == ["652301", "652300", "652328"]
    before = [[row[1], row[0], row[2], row[4], row[3], row[5]] if len(row) == 6 else row for row in rows[:4]]
    assert regions(load(book(tmp_path, s=before))) == [("昌吉市", 2019, 1), ("木垒县", 2019, 2)]


def test_words_among_numbers_do_not_split_a_table(tmp_path: Path) -> None:
    rows: Rows = [
        TITLE,
        ["单位:吨"],
        ["地区", "粮食", "等级", "小麦"],
        ["昌吉市", 1, "一级", 5],
        ["木垒县", 2, "二级", 6],
    ]
    says(refused(book(tmp_path, s=rows)), "words stand among numbers in s!C4, s!C5", "年鉴.xlsx", "Delimited")
    rows = [TITLE, ["单位:吨"], ["地区", "粮食", None, "等级", "小麦"], ["昌吉市", 1, None, "一级", 5]]
    says(refused(book(tmp_path, s=rows)), "words stand among numbers in s!D4", "年鉴.xlsx", "Delimited")


def test_tables_below_one_another_with_notes_between(tmp_path: Path) -> None:
    rows: Rows = [
        ["2-1 各县市粮食产量"],
        ["单位:吨"],
        ["地区", 2016, 2017],
        ["昌吉市", 1, 2],
        ["木垒县", 3, 4],
        ["注：2016年起含兵团。"],
        ["2-1 续表"],
        ["单位:万吨"],
        ["地区", 2018, 2019],
        ["昌吉市", 5, 6],
        ["木垒县", 7, 8],
        ["资料来源：州统计局。"],
        ["2-2 2019年各县市棉花产量"],
        ["地区", "产量(吨)"],
        ["昌吉市", 9],
    ]
    path = book(tmp_path, s=rows)
    frame = load(path)
    assert regions(frame) == [
        ("昌吉市", 2016, 1),
        ("昌吉市", 2017, 2),
        ("木垒县", 2016, 3),
        ("木垒县", 2017, 4),
        ("昌吉市", 2018, 5),
        ("昌吉市", 2019, 6),
        ("木垒县", 2018, 7),
        ("木垒县", 2019, 8),
        ("昌吉市", 2019, 9),
    ]
    assert frame["indicator"].tolist() == ["粮食产量"] * 8 + ["产量"]
    assert frame["unit"].tolist() == ["吨"] * 4 + ["万吨"] * 4 + ["吨"]
    assert frame["note"].tolist() == ["2016年起含兵团"] * 8 + [""]
    assert "s!A12: 资料来源" in notes(path)


def test_an_unnumbered_title_begins_the_table_below_it(tmp_path: Path) -> None:
    rows: Rows = [
        ["2019年各县市投入"],
        ["地区", "化肥(吨)"],
        ["昌吉市", 1],
        ["注：含兵团。"],
        ["2020年各县市产出"],
        ["地区", "棉花(吨)"],
        ["昌吉市", 2],
    ]
    path = book(tmp_path, s=rows)
    assert cells(path) == [("昌吉市", 2019, "化肥", 1, "吨"), ("昌吉市", 2020, "棉花", 2, "吨")]
    assert load(path)["note"].tolist() == ["含兵团", ""]


def test_a_continuation_takes_from_the_table_that_it_goes_on_what_it_does_not_say(tmp_path: Path) -> None:
    rows: Rows = [["2-1 各县市粮食产量"], ["单位:吨"], ["地区", "2016年"], ["昌吉市", 1]]
    for title in ("续表", "2-1 续表", "2-1 各县市粮食产量(续)", "表2-1 续表1"):
        below = [*rows, [title], ["地区", "2017年"], ["昌吉市", 2]]
        assert cells(book(tmp_path, s=below)) == [
            ("昌吉市", 2016, "粮食产量", 1, "吨"),
            ("昌吉市", 2017, "粮食产量", 2, "吨"),
        ]
    other = [*rows, ["2-2 续表"], ["地区", "2017年"], ["昌吉市", 2]]
    path = book(tmp_path, s=other)
    error = refused(path)
    says(error, "the title '2-2续表' does not say what the numbers are", "年鉴.xlsx", 'indicator="…"')
    assert "for the numbers from s!B7 on; no unit is found" in error.what  # both at once
    assert 'units={"…": "…"}' in error.remedy


def test_a_numbered_continuation_goes_on_a_table_of_another_sheet(tmp_path: Path) -> None:
    first: Rows = [["2-1 各县市粮食产量"], ["单位:吨"], ["地区", "2016年"], ["昌吉市", 1]]
    path = book(tmp_path, a=first, b=[["2-1 续表"], ["地区", "2017年"], ["昌吉市", 2]])
    assert cells(path) == [("昌吉市", 2016, "粮食产量", 1, "吨"), ("昌吉市", 2017, "粮食产量", 2, "吨")]
    says(refused(path, sheets=("b",)), "the title '2-1续表' does not say what", "年鉴.xlsx", 'indicator="…"')
    assert cells(path, sheets=("b",), indicator="粮食产量", units={"粮食产量": "吨"}) == [
        ("昌吉市", 2017, "粮食产量", 2, "吨")
    ]
    path = book(tmp_path, a=first, b=[["续表"], ["地区", "2017年"], ["昌吉市", 2]])
    error = refused(path)
    says(error, "the title '续表' does not say what the numbers are", "年鉴.xlsx", 'indicator="…"')
    assert "from b!B3 on" in error.what
    assert "a!" not in error.what


def test_numbers_in_no_table_beside_one_that_is_read_are_listed(tmp_path: Path) -> None:
    rows: Rows = [["2-1 2016年各县市粮食产量"], ["地区", "产量(吨)"], ["昌吉市", 1], ["2-1 续表"], ["木垒县", 2]]
    path = book(tmp_path, s=rows)
    why = "it stands in no table that is understood: the row holds numbers, and no header stands above it"
    assert unplaced(path) == {"B5": why}
    assert read(path) == {"B3": 1}
    assert "s, row 5: the row holds numbers, and no header stands above it" in notes(path)


def test_a_title_after_the_last_table_is_a_note(tmp_path: Path) -> None:
    rows: Rows = [TITLE, ["地区", "产量(吨)"], ["昌吉市", 1], ["5-3 续表见下页"]]
    path = book(tmp_path, s=rows)
    assert len(load(path)) == 1
    assert "s!A4: 5-3 续表见下页" in notes(path)


# --- years or indicators beside the rows ---


@pytest.mark.parametrize(
    ("head", "years"), [("年 份", ("2019年", "2020年")), ("年份", (2019, 2020)), ("Year", ("2019", "2020"))]
)
def test_years_beside_the_rows_and_regions_above(tmp_path: Path, head: str, years: tuple[Any, Any]) -> None:
    rows: Rows = [
        ["2-1 粮食产量"],
        ["单位:吨"],
        [head, "昌吉市", "木垒县"],
        [years[0], 1, 2],
        [years[1], 3, "…"],
        ["注：x"],
    ]
    path = book(tmp_path, s=rows)
    assert cells(path)[:3] == [
        ("昌吉市", 2019, "粮食产量", 1, "吨"),
        ("木垒县", 2019, "粮食产量", 2, "吨"),
        ("昌吉市", 2020, "粮食产量", 3, "吨"),
    ]
    assert load(path)["mark"].tolist() == ["", "", "", "below_unit"]


def test_years_beside_the_rows_and_indicators_over_regions(tmp_path: Path) -> None:
    rows: Rows = [
        ["2-1 主要指标"],
        ["年份", "粮食产量(吨)", None, "播种面积(公顷)", None],
        [None, "昌吉市", "木垒县", "昌吉市", "木垒县"],
        [2019, 1, 2, 5, 6],
        [2020, 3, 4, 7, 8],
    ]
    found = cells(book(tmp_path, {"s": ("A2:A3", "B2:C2", "D2:E2")}, s=rows))
    assert found[:4] == [
        ("昌吉市", 2019, "粮食产量", 1, "吨"),
        ("木垒县", 2019, "粮食产量", 2, "吨"),
        ("昌吉市", 2019, "播种面积", 5, "公顷"),
        ("木垒县", 2019, "播种面积", 6, "公顷"),
    ]


def test_years_beside_the_rows_of_one_region(tmp_path: Path) -> None:
    rows: Rows = [
        ["2-1 主要指标"],
        ["地区：昌吉州"],
        ["年份", "粮食产量(吨)", "面积(公顷)"],
        [2019, 1, 2],
        [2020, 3, 4],
    ]
    assert cells(book(tmp_path, s=rows))[-1] == ("昌吉州", 2020, "面积", 4, "公顷")
    del rows[1]
    path = book(tmp_path, s=rows)
    says(refused(path), "the rows are not regions, and no region is named", "年鉴.xlsx", 'region="…"')
    assert cells(path, region="昌吉州")[-1] == ("昌吉州", 2020, "面积", 4, "公顷")


def test_a_column_of_years_beside_that_of_regions(tmp_path: Path) -> None:
    title = ["2-1 主要指标"]
    by_hand = [("昌吉市", 2019, 1), ("昌吉市", 2020, 3), ("木垒县", 2019, 5)]
    rows: Rows = [title, ["地区", "年份", "产量(吨)"], ["昌吉市", 2019, 1], ["昌吉市", 2020, 3], ["木垒县", 2019, 5]]
    assert regions(load(book(tmp_path, s=rows))) == by_hand
    merged: Rows = [
        title,
        ["地区", "年份", "产量(吨)"],
        ["昌吉市", "2019年", 1],
        [None, "2020年", 3],
        ["木垒县", "2019年", 5],
    ]
    assert regions(load(book(tmp_path, {"s": ("A3:A4",)}, s=merged))) == by_hand
    path = book(tmp_path, s=merged)
    assert unplaced(path) == {"C4": "no name of a region stands in the row"}
    assert regions(load(path)) == [by_hand[0], by_hand[2]]
    before: Rows = [title, ["年份", "地区", "产量(吨)"], [2019, "昌吉市", 1], [2020, "昌吉市", 3], [2019, "木垒县", 5]]
    assert regions(load(book(tmp_path, s=before))) == by_hand
    rows[4][1] = None
    path = book(tmp_path, s=rows)
    assert unplaced(path) == {"C5": "no year stands beside the name of the region"}
    assert regions(load(path)) == by_hand[:2]
    rows[4][1], rows[1][2] = 2019, "2018年"
    says(refused(book(tmp_path, s=rows)), "years stand above the column and beside the rows", "s, row 2", "layout=")


def test_indicators_beside_the_rows_of_one_region(tmp_path: Path) -> None:
    rows: Rows = [
        ["2-1 主要指标"],
        ["地区：昌吉州"],
        ["指标", "单位", "2019年", "2020年"],
        ["一、粮食产量", "吨", 1, 2],
        ["#小麦 Wheat", None, 0.5, "…"],
        ["播种面积", "公顷", 3, 4],
    ]
    frame = load(book(tmp_path, s=rows))
    assert frame["indicator"].tolist() == ["粮食产量"] * 2 + ["粮食产量 / 小麦"] * 2 + ["播种面积"] * 2
    assert frame["unit"].tolist() == ["吨"] * 4 + ["公顷"] * 2
    assert frame["note"].tolist() == ["", "", "part of 粮食产量", "part of 粮食产量", "", ""]
    assert regions(frame)[-1] == ("昌吉州", 2020, 4)


def test_an_export_of_one_region_names_it_above(tmp_path: Path) -> None:
    content = (
        "数据库：分省年度数据\r\n地区：甲自治区\r\n时间：最近2年\r\n指标,2024年,2023年\r\n"
        "地区生产总值(亿元),49670.2,47353.7\r\n年末常住人口(万人),2183,2186\r\n数据来源：国家统计局\r\n"
    )
    assert cells(put(tmp_path, content, "gb18030")) == [
        ("甲自治区", 2024, "地区生产总值", 49670.2, "亿元"),
        ("甲自治区", 2023, "地区生产总值", 47353.7, "亿元"),
        ("甲自治区", 2024, "年末常住人口", 2183, "万人"),
        ("甲自治区", 2023, "年末常住人口", 2186, "万人"),
    ]


def test_indicators_beside_the_rows_and_regions_above(tmp_path: Path) -> None:
    rows: Rows = [["2-1 2019年主要指标"], ["指标", "昌吉市", "木垒县"], ["粮食(吨)", 1, 2], ["面积(公顷)", 3, 4]]
    expected = [
        ("昌吉市", 2019, "粮食", 1, "吨"),
        ("木垒县", 2019, "粮食", 2, "吨"),
        ("昌吉市", 2019, "面积", 3, "公顷"),
        ("木垒县", 2019, "面积", 4, "公顷"),
    ]
    assert cells(book(tmp_path, s=rows)) == expected
    for word in ("类别", "地区\n指标"):
        rows[1][0] = word
        assert cells(book(tmp_path, s=rows)) == expected  # whatever stands above the indicators


def test_months_are_refused(tmp_path: Path) -> None:
    rows: Rows = [TITLE, ["月份", "产量(吨)"], ["一月", 1], ["二月", 2]]
    says(refused(book(tmp_path, s=rows)), "rows of the table are not regions: '月份'", "s, row 2", 'layout="…"')


# --- names ---


def test_words_of_the_header_that_are_broken_over_rows(tmp_path: Path) -> None:
    rows: Rows = [
        TITLE,
        ["地", "农用化肥", "农 药", "有效灌"],
        ["区", "施 用 量", "使用量", "溉面积"],
        [None, "(万吨)", "吨", "(千公顷)"],
        ["昌 吉 市", 10, 5, 4],
    ]
    assert cells(book(tmp_path, s=rows)) == [
        ("昌吉市", 2019, "农用化肥施用量", 10, "万吨"),
        ("昌吉市", 2019, "农药使用量", 5, "吨"),
        ("昌吉市", 2019, "有效灌溉面积", 4, "千公顷"),
    ]


def test_a_word_above_one_column_of_several_is_a_title(tmp_path: Path) -> None:
    rows: Rows = [TITLE, [None, "化肥施用量"], ["地区", "氮肥(吨)", "磷肥(吨)"], ["昌吉市", 1, 5]]
    path = book(tmp_path, s=rows)
    assert [one[2:] for one in cells(path)] == [("氮肥", 1, "吨"), ("磷肥", 5, "吨")]
    assert "s!B2: 化肥施用量" in notes(path)


def test_a_row_that_numbers_the_columns_is_passed_over(tmp_path: Path) -> None:
    rows: Rows = [TITLE, ["地区", "化肥(吨)", "农药(吨)"], ["甲", 1, 2], ["昌吉市", 3, 5]]
    assert [one[2:4] for one in cells(book(tmp_path, s=rows))] == [("化肥", 3), ("农药", 5)]


@pytest.mark.parametrize("below", [True, False])
def test_translations_in_cells_and_in_columns_of_their_own(tmp_path: Path, below: bool) -> None:
    head: Rows = [
        ["地 区\nRegion", "化肥施用量(万吨)\nFertilizer (10 000 tons)", "年末人口\n万人\nPopulation", "Region"]
    ]
    if below:
        head = [
            ["地 区", "化肥施用量(万吨)", "年末人口\n万人", "Region"],
            ["Region", "Fertilizer (10 000 tons)", "Population (10 000 persons)", None],
        ]
    rows: Rows = [
        ["5-3 2019年各县市化肥 Fertilizer by County"],
        ["5-3 Fertilizer by County (2019)"],
        *head,
        ["昌 吉 市\nChangji", 1, 2, "Changji City"],
        ["木垒县 Mulei", 3, 4, "Mulei"],
    ]
    path = book(tmp_path, s=rows)
    assert cells(path) == [
        ("昌吉市", 2019, "化肥施用量", 1, "万吨"),
        ("昌吉市", 2019, "年末人口", 2, "万人"),
        ("木垒县", 2019, "化肥施用量", 3, "万吨"),
        ("木垒县", 2019, "年末人口", 4, "万人"),
    ]
    assert "columns of translations were left out: D" in notes(path)
    rows[-1][3] = 7
    error = refused(book(tmp_path, s=rows))
    says(error, "'Region' stands above a second column, so two tables stand side by side", "s!D3", 'layout="…"')


def test_a_unit_that_only_the_translation_gives(tmp_path: Path) -> None:
    rows: Rows = [TITLE, ["地区", "化肥\nFertilizer (10 000 tons)"], ["昌吉市", 1]]
    assert cells(book(tmp_path, s=rows)) == [("昌吉市", 2019, "化肥", 1, "10 000 tons")]


@pytest.mark.parametrize(
    ("text", "split"),
    [
        ("昌吉市 Changji City", ("昌吉市", "Changji City")),
        ("昌吉市(Changji)", ("昌吉市", "(Changji)")),
        ("总产值/Total", ("总产值", "Total")),
        ("化肥(万吨) Fertilizer (10 000 tons)", ("化肥(万吨)", "Fertilizer (10 000 tons)")),
        ("农药 (10 000 tons)", ("农药 (10 000 tons)", "")),
        ("人均 GDP", ("人均 GDP", "")),
        ("单产(kg/ha)", ("单产(kg/ha)", "")),
        ("PM2.5浓度", ("PM2.5浓度", "")),
        ("GDP of Counties", ("GDP of Counties", "")),
    ],
)
def test_a_translation_behind_chinese_words(text: str, split: tuple[str, str]) -> None:
    assert split_translation(text) == split


@pytest.mark.parametrize(
    ("name", "is_one"),
    [("昌吉市", True), ("甲自治区", True), ("全国", True), ("新疆", True), ("粮食产量", False), ("小麦", False)],
)
def test_names_that_end_as_regions_do(name: str, is_one: bool) -> None:
    assert is_place(name) is is_one


@pytest.mark.parametrize("unit", ["单位：万吨(10 000 tons)", "单位：万吨 10 000 tons", "单位：万吨\nUnit: 10 000 tons"])
def test_a_caption_with_a_translation(tmp_path: Path, unit: str) -> None:
    rows: Rows = [TITLE, [unit], ["地区", "化肥"], ["昌吉市", 1]]
    assert cells(book(tmp_path, s=rows)) == [("昌吉市", 2019, "化肥", 1, "万吨")]


# --- parts ---


def test_columns_that_are_parts_of_the_column_before(tmp_path: Path) -> None:
    rows: Rows = [
        [*TITLE],
        ["单位:吨"],
        ["地区", "化肥施用量", "#氮肥", "其中：磷肥", "农药(公斤)", "#1.除草剂"],
        ["昌吉市", 10, 5, 4, 3, 2],
    ]
    path = book(tmp_path, s=rows)
    assert [one[2:] for one in cells(path)] == [
        ("化肥施用量", 10, "吨"),
        ("化肥施用量 / 氮肥", 5, "吨"),
        ("化肥施用量 / 磷肥", 4, "吨"),
        ("农药", 3, "公斤"),
        ("农药 / 除草剂", 2, "公斤"),
    ]
    assert "s!C3 is read as part of '化肥施用量'" in notes(path)
    rows[2][1] = "#化肥施用量"
    path = book(tmp_path, s=rows)
    assert [one[2:] for one in cells(path)][:2] == [("化肥施用量", 10, "吨"), ("氮肥", 5, "吨")]
    for place, name in (("B3", "化肥施用量"), ("C3", "氮肥")):
        assert f"s!{place}: '{name}' is part of something that stands in no column to its left" in notes(path)


def test_parts_below_a_merged_of_which(tmp_path: Path) -> None:
    rows: Rows = [
        TITLE,
        ["地区", "化肥施用量(吨)", None, None, "农药(吨)"],
        [None, "合计", "其中", None, None],
        [None, None, "氮肥", "磷肥", None],
        ["昌吉市", 10, 5, 4, 3],
    ]
    merged = ("A2:A4", "B2:D2", "B3:B4", "C3:D3", "E2:E4")
    assert [one[2:] for one in cells(book(tmp_path, {"s": merged}, s=rows))] == [
        ("化肥施用量 / 合计", 10, "吨"),
        ("化肥施用量 / 氮肥", 5, "吨"),
        ("化肥施用量 / 磷肥", 4, "吨"),
        ("农药", 3, "吨"),
    ]


def test_rows_that_are_parts_of_the_row_above(tmp_path: Path) -> None:
    rows: Rows = [TITLE, ["地区", "化肥(吨)"], ["昌吉市", 10], ["其中：市区", 6], ["#园 区", 3], ["木垒县", 2]]
    path = book(tmp_path, s=rows)
    frame = load(path)
    assert frame["region"].tolist() == ["昌吉市", "市区", "园区", "木垒县"]
    assert frame["note"].tolist() == ["", "part of 昌吉市", "part of 昌吉市", ""]
    assert "s!A4 is read as part of 昌吉市" in notes(path)
    del rows[2]
    path = book(tmp_path, s=rows)
    why = "'{}' is part of another row, and none stands above it"
    assert unplaced(path) == {"B3": why.format("市区"), "B4": why.format("园区")}
    assert read(path) == {"B5": 2}


def test_words_of_which_in_front_of_a_name() -> None:
    assert [split_part(name) for name in ("#氮肥", "其中:氮肥", "其 中:#氮肥", "其中", "其他")] == [
        (True, "氮肥"),
        (True, "氮肥"),
        (True, "氮肥"),
        (True, ""),
        (False, "其他"),
    ]


# --- notes and what they qualify ---


def test_footnotes_go_with_what_bears_their_mark(tmp_path: Path) -> None:
    rows: Rows = [
        ["5-3 2019年各县市化肥①"],
        ["地区", "化肥(吨)②", "农药(吨)"],
        ["昌 吉 市③", 1, "1,005.5*"],
        ["木垒县", 2, 6],
        ["注：①按折纯法计算。②不含有机肥；③含兵团。"],
        ["*为预计数。"],
    ]
    path = book(tmp_path, s=rows)
    assert cells(path) == [
        ("昌吉市", 2019, "化肥", 1, "吨"),
        ("昌吉市", 2019, "农药", 1005.5, "吨"),
        ("木垒县", 2019, "化肥", 2, "吨"),
        ("木垒县", 2019, "农药", 6, "吨"),
    ]
    assert load(path)["note"].tolist() == [
        "按折纯法计算; 含兵团; 不含有机肥",
        "按折纯法计算; 含兵团; 为预计数",
        "按折纯法计算; 不含有机肥",
        "按折纯法计算",
    ]


def test_numbered_notes_and_superscripts(tmp_path: Path) -> None:
    rows: Rows = [
        TITLE,
        ["地区", "化肥(吨)"],
        ["昌吉市¹", 1],
        ["木垒县2)", "2³"],
        ["注：1.含兵团。 2.含农场。"],
        ["3、预计数"],
    ]
    frame = load(book(tmp_path, s=rows))
    assert regions(frame) == [("昌吉市", 2019, 1), ("木垒县", 2019, 2)]
    assert frame["note"].tolist() == ["含兵团", "含农场; 预计数"]


def test_a_mark_that_no_note_explains(tmp_path: Path) -> None:
    rows: Rows = [TITLE, ["地区", "化肥(吨)"], ["昌吉市①", 1], ["木垒县", 2], ["注：含兵团。"]]
    path = book(tmp_path, s=rows)
    assert [one[0] for one in cells(path)] == ["昌吉市", "木垒县"]
    assert "s!A3: no note explains the mark ①" in notes(path)
    rows[3][1] = "2①"  # perhaps 21
    path = book(tmp_path, s=rows)
    assert unplaced(path) == {"B4": "it is neither a number nor a mark in place of one"}
    assert texts(path) == {"B4": "2①"}
    assert read(path) == {"B3": 1, "B4": "unread"}


def test_three_marks_stand_for_three_things(tmp_path: Path) -> None:
    rows: Rows = [
        TITLE,
        ["地区", "a(吨)", "b(吨)", "c(吨)", "d(吨)"],
        ["昌吉市", "…", "-", "空", None],
        ["木垒县", 1, 2, 3, 4],
    ]
    frame = load(book(tmp_path, s=rows))
    assert frame["mark"].tolist()[:4] == ["below_unit", "none", "none", "missing"]
    assert frame["value"].isna().tolist() == [True] * 4 + [False] * 4


def test_all_cells_that_are_not_read_are_listed(tmp_path: Path) -> None:
    rows: Rows = [
        TITLE,
        ["地区", "化肥(吨)", "农药(吨)"],
        ["昌吉市", 1, "5x"],
        ["木垒县", "y", 6, 7],
        [None, 8, 9],
        ["全州", 8, 9],
    ]
    path = book(tmp_path, s=rows)
    assert unplaced(path) == {
        "C3": "it is neither a number nor a mark in place of one",
        "B4": "it is neither a number nor a mark in place of one",
        "D4": "no header stands above the column",
        "B5": "no name of a region stands in the row",
        "C5": "no name of a region stands in the row",
    }
    assert texts(path) == {"C3": "5x", "B4": "y", "D4": "7", "B5": "8", "C5": "9"}
    assert read(path) == {"B3": 1, "C3": "unread", "B4": "unread", "C4": 6, "B6": 8, "C6": 9}
    where = "not placed, because"
    said = notes(path)
    assert f"2 cells are {where} it is neither a number nor a mark in place of one: s!C3 '5x', s!B4 'y'" in said
    assert f"1 cell is {where} no header stands above the column: s!D4 '7'" in said


def test_numbers_above_a_table(tmp_path: Path) -> None:
    rows: Rows = [[123], TITLE, ["地区", "化肥(吨)"], ["昌吉市", 1], [124]]
    path = book(tmp_path, s=rows)
    why = "it stands in no table that is understood"
    assert read(path) == {"B4": 1}
    assert unplaced(path) == {"A1": why, "A5": why}  # of the page
    rows[0] = [2019, 1.5]
    path = book(tmp_path, s=rows)
    assert unplaced(path) == {"B1": why, "A5": why}
    assert load(path)["year"].tolist() == [2019]


def test_totals_are_regions(tmp_path: Path) -> None:
    rows: Rows = [TITLE, ["地区", "化肥(吨)"], ["合  计", 3], ["昌吉市", 1], ["木垒县", 2]]
    assert [one[0] for one in cells(book(tmp_path, s=rows))] == ["合计", "昌吉市", "木垒县"]
