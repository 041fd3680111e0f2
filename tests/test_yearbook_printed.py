"""Yearbook: one rule of printed pages per test, each as a small table such as yearbooks hold, with invented numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from evalkit.sources import Yearbook
from yearbook_files import Rows, book, load, notes, put, read, refused, says, texts, unplaced

pytestmark = pytest.mark.filterwarnings("error")

Cell = tuple[str, int, str, float, str]
NOT_A_VALUE = "it is neither a number nor a mark in place of one"


def cells(path: Path, **options: Any) -> list[Cell]:
    """Return region, year, indicator, value and unit of what is read, all of which is placed."""
    assert not unplaced(path, **options)
    frame = load(path, **options)
    return list(frame[["region", "year", "indicator", "value", "unit"]].itertuples(index=False, name=None))


def of_first(path: Path, **options: Any) -> list[tuple[str, str]]:
    """Return the indicators of the first row of data with their units."""
    frame = load(path, **options)
    first = frame[(frame["region"] == frame["region"].iloc[0]) & (frame["year"] == frame["year"].iloc[0])]
    return list(zip(first["indicator"], first["unit"], strict=True))


def asked(path: Path, *settings: str, **options: Any) -> str:
    """Return what is said to be lacking, where the remedy spells these settings and no others."""
    error = refused(path, **options)
    for name in ("year=", "region=", "indicator=", "units="):
        said = [one for one in settings if one.startswith(name)]
        assert (name in error.remedy) == bool(said), error.remedy
        assert all(one in error.remedy for one in said), error.remedy
    return error.what


# --- names over several columns ---


@pytest.mark.parametrize("merged", [(), ("A3:A4", "B3:B4"), ("A3:A4", "B3:B4", "F3:F4")])
def test_a_total_stands_over_its_parts(tmp_path: Path, merged: tuple[str, ...]) -> None:
    rows: Rows = [
        ["8-8 三种证书按地区分布(2021)"],
        ["单位:件"],
        ["地 区", "合 计", None, None, None, "代理"],
        [None, None, "发 明", "实用新型", "外观设计"],
        ["呼图壁县", 60, 10, 20, 30, 7],
    ]
    names = ["合计", "合计 / 发明", "合计 / 实用新型", "合计 / 外观设计", "代理"]
    assert of_first(book(tmp_path, {"s": merged}, s=rows)) == [(name, "件") for name in names]


def test_names_are_nested_to_five_levels(tmp_path: Path) -> None:
    rows: Rows = [
        ["3-1 2019年各县播种面积"],
        ["单位：公顷"],
        ["地区", "合计"],
        [None, None, "粮食", None, None, None, "经济作物"],
        [None, None, None, "谷物", None, None, None, "棉花"],
        [None, None, None, None, "小麦", None],
        [None, None, None, None, None, "冬小麦"],
        ["奇台县", 9, 8, 7, 6, 5, 4, 3],
    ]
    names = [
        "合计",
        "合计 / 粮食",
        "合计 / 粮食 / 谷物",
        "合计 / 粮食 / 谷物 / 小麦",
        "合计 / 粮食 / 谷物 / 小麦 / 冬小麦",
    ]
    names += ["合计 / 经济作物", "合计 / 经济作物 / 棉花"]
    path = book(tmp_path, s=rows)
    assert of_first(path) == [(name, "公顷") for name in names]
    assert load(path)["value"].tolist() == [9, 8, 7, 6, 5, 4, 3]


def test_a_name_merged_sideways_stands_over_its_columns_alone(tmp_path: Path) -> None:
    rows: Rows = [
        ["3-1 2019年各县产量"],
        ["单位：吨"],
        ["地区", "粮食", None, None],
        [None, "小麦", "玉米", "棉花"],
        ["奇台县", 1, 2, 3],
    ]
    names = [("粮食 / 小麦", "吨"), ("粮食 / 玉米", "吨"), ("棉花", "吨")]
    assert of_first(book(tmp_path, {"s": ("B3:C3",)}, s=rows)) == names


def test_of_which_over_a_part_is_one_level(tmp_path: Path) -> None:
    rows: Rows = [
        ["表20.13 各区、县学校基本情况（2012）"],
        ["地  区", "学  校", "教职员工", "其  中"],
        [None, "（所）", "（人）", "# 专任教师"],
        ["总  计", 9, 90, 60],
    ]
    path = book(tmp_path, s=rows)
    assert of_first(path) == [("学校", "所"), ("教职员工", "人"), ("教职员工 / 专任教师", "人")]
    assert "stands in no column" not in notes(path)


def test_a_part_has_the_unit_of_its_whole_before_that_of_the_group_above_both(tmp_path: Path) -> None:
    rows: Rows = [
        ["3-1 2019年各县投入"],
        ["地区", "投入\n(吨)", None, None],
        [None, "化肥\n(万吨)", "其  中", "农药"],
        [None, None, "# 氮肥", None],
        ["奇台县", 4, 3, 2],
    ]
    merged = {"s": ("B2:D2",)}
    names = [("投入 / 化肥", "万吨"), ("投入 / 化肥 / 氮肥", "万吨"), ("投入 / 农药", "吨")]
    assert of_first(book(tmp_path, merged, s=rows)) == names
    rows[3][2] = "# 氮肥\n(公斤)"  # its own before both
    assert of_first(book(tmp_path, merged, s=rows))[1] == ("投入 / 化肥 / 氮肥", "公斤")


def test_a_name_with_an_ordinal_number_ends_at_the_next_of_its_level(tmp_path: Path) -> None:
    rows: Rows = [
        ["2-1 各县收支(2020)"],
        ["单位:万元"],
        ["地区", "一、收入", None, None, None, "二、支出", None],
        [None, None, "1.税收", None, "2.其他收入", None, "1.工资"],
        [None, None, None, "(1)增值税", None, None, None],
        ["奇台县", 9, 5, 3, 4, 8, 7],
    ]
    names = ["收入", "收入 / 税收", "收入 / 税收 / 增值税", "收入 / 其他收入", "支出", "支出 / 工资"]
    assert of_first(book(tmp_path, s=rows)) == [(name, "万元") for name in names]


def test_names_and_headers_in_two_languages(tmp_path: Path) -> None:
    rows: Rows = [
        ["7-3 各地区技术改造支出(2018)"],
        ["Expenditure on Renovation by Region(2018)"],
        ["单位:万元"],
        ["(10 000 yuan)"],
        ["地 区", "Region", "改造支出\nRenovation", "购买支出\nPurchase"],
        ["全 国", "National Total", 30, 12],
        ["新 疆", "Xinjiang", 20, 7],
    ]
    assert cells(book(tmp_path, s=rows)) == [
        ("全国", 2018, "改造支出", 30, "万元"),
        ("全国", 2018, "购买支出", 12, "万元"),
        ("新疆", 2018, "改造支出", 20, "万元"),
        ("新疆", 2018, "购买支出", 7, "万元"),
    ]
    below: Rows = [
        *rows[:4],
        ["地 区", None, "改造支出", "购买支出"],
        ["Region", None, "Renovation", "Purchase"],
        *rows[5:],
    ]
    assert cells(book(tmp_path, s=below)) == cells(book(tmp_path, s=rows))


# --- units ---


def two(*header: Any, caption: Any = None, title: str = "2-1 各地区情况(2020)") -> Rows:
    """Return a table of two regions under a header, and under a caption where there is one."""
    numbers = [
        [region, *(10 * r + c for c in range(len(header)))] for r, region in enumerate(("全省", "甲县"), start=1)
    ]
    return [[title], *([[caption]] if caption else []), ["地区", *header], *numbers]


@pytest.mark.parametrize(
    "caption",
    [
        "单位:个.亿元",
        "单位:万元 %",
        "单位：人、‰",
        "单位：万人(户)",
        "单位:万元，%",
        "单位：公顷、吨",
        "单位：人;所",
        "单位：个·万元",
    ],
)
def test_a_caption_of_several_units_is_that_of_none(tmp_path: Path, caption: str) -> None:
    path = book(tmp_path, s=two("甲数值", "乙数值", caption=caption))
    said = asked(path, 'units={"甲数值": "…", "乙数值": "…"}')
    assert "names several" in said
    assert of_first(path, units={"甲数值": "个", "乙数值": "亿元"}) == [("甲数值", "个"), ("乙数值", "亿元")]


RATES = "比上年增长 增长率 出生率 税率 产值位次 排名 价格指数 占全省比重 构成 增减 同比 发展速度 性别比 弹性系数 涨幅".split()


@pytest.mark.parametrize("name", RATES)
def test_a_rate_a_rank_or_a_share_has_no_unit_of_money(tmp_path: Path, name: str) -> None:
    for caption in ("单位：万元", "单位：元"):
        path = book(tmp_path, s=two("产值", name, caption=caption))
        asked(path, f'units={{"{name}": "…"}}')
        assert of_first(path, units={name: "%"}) == [("产值", caption[3:]), (name, "%")]
    assert of_first(book(tmp_path, s=two("产值", f"{name}(%)", caption="单位：万元")))[1] == (name, "%")


@pytest.mark.parametrize("name", "人均产值 户均收入 每公顷产值 平均每户支出 每百户支出 职工平均工资 平均价格".split())
def test_what_is_per_head_has_no_large_unit(tmp_path: Path, name: str) -> None:
    path = book(tmp_path, s=two("产值", name, caption="单位：亿元"))
    asked(path, f'units={{"{name}": "…"}}')
    assert of_first(book(tmp_path, s=two("产值", name, caption="单位：元"))) == [("产值", "元"), (name, "元")]
    title = f"2-1 各地区{name}(2020)"  # and it is all that the caption can mean
    assert of_first(book(tmp_path, s=two(name, caption="单位：万元", title=title))) == [(name, "万元")]


@pytest.mark.parametrize("name", "年末人口 企业数 从业人员 户数 播种面积 粮食产量 学校数量".split())
def test_a_number_of_things_has_no_unit_of_money(tmp_path: Path, name: str) -> None:
    path = book(tmp_path, s=two("产值", name, caption="单位：万元"))
    asked(path, f'units={{"{name}": "…"}}')
    assert of_first(path, units={name: "个"})[0] == ("产值", "万元")


def test_a_unit_in_english_is_a_translation_unless_it_is_of_another_size(tmp_path: Path) -> None:
    for english in ("(10 000 yuan)", "Unit: 10 000 yuan", "(10000 yuan)"):
        rows = two("产值", caption="单位：万元")
        rows.insert(2, [english])
        assert of_first(book(tmp_path, s=rows)) == [("产值", "万元")]
    rows[2] = ["(100 million yuan)"]
    path = book(tmp_path, s=rows)
    said = asked(path, 'units={"产值": "…"}')
    assert "it is '万元' in s!A2 and it is '100 million yuan' in s!A3" in said
    assert of_first(path, units={"产值": "亿元"}) == [("产值", "亿元")]


def test_a_word_of_the_header_may_be_a_name_and_a_unit(tmp_path: Path) -> None:
    rows: Rows = [
        ["表11.7 各区、县高层房屋分布（2012）"],
        ["单位：万平方米"],
        ["地  区", "合  计", None, "8～10层", None],
        [None, "幢", "面  积", "幢", "面  积"],
        ["总  计", 320, 305, 43, 29],
    ]
    names = [("合计 / 幢", "幢"), ("合计 / 面积", "万平方米"), ("8~10层 / 幢", "幢"), ("8~10层 / 面积", "万平方米")]
    assert of_first(book(tmp_path, {"s": ("A3:A4", "B3:C3", "D3:E3")}, s=rows)) == names
    rows = [["2-1 2020年住户"], ["地区", "住户", None], [None, "户", "人"], ["奇台县", 3, 9]]
    names = [("住户 / 户", "户"), ("住户 / 人", "人")]  # which share a name without it
    assert of_first(book(tmp_path, {"s": ("B2:C2",)}, s=rows)) == names
    rows = [["2-1 2020年产量"], ["地区", "粮食", "肉类"], [None, "万吨", "(吨)"], ["奇台县", 3, 9]]
    assert of_first(book(tmp_path, s=rows)) == [("粮食", "万吨"), ("肉类", "吨")]  # units and nothing else


def test_units_that_contradict_the_file_are_refused(tmp_path: Path) -> None:
    path = book(tmp_path, s=two("产值(万元)", "人口"))
    error = refused(path, units={"产值": "亿元", "人口": "人"})
    says(error, "the unit of '产值' is '万元' in the file and '亿元' in units=", "s!B3", "leave it out of units=")
    assert of_first(path, units={"产值": "万元", "人口": "人"}) == [("产值", "万元"), ("人口", "人")]


# --- years ---


def test_a_year_that_only_the_name_of_the_file_has_is_offered(tmp_path: Path) -> None:
    rows: Rows = [["各地区养殖场情况(一)"], ["地区", "养殖场(个)", None], [None, "总数", "猪场"], ["全国", 50, 30]]
    path = book(tmp_path, {"1": ("A2:A3", "B2:C2")}, **{"1": rows}).rename(tmp_path / "养殖场_2011.xlsx")
    error = refused(path)
    assert "year=2011 (the one year of all these numbers; the name of the file has it" in error.remedy
    expected = [("全国", 2011, "养殖场 / 总数", 50, "个"), ("全国", 2011, "养殖场 / 猪场", 30, "个")]
    assert cells(path, year=2011) == cells(path, year="file name") == expected
    assert "the year 2011 is that of the file's name" in notes(path, year="file name")
    assert "file's name" not in notes(path, year=2011)
    both = path.rename(tmp_path / "养殖场_2011_2012.xlsx")
    assert "year=2011 or year=2012" in refused(both).remedy
    says(refused(both, year="file name"), "the name of the file has 2011 and 2012", both.name, "year=2019")
    none = both.rename(tmp_path / "养殖场.xlsx")
    assert "year=… (" in refused(none).remedy
    says(refused(none, year="file name"), "the name of the file has no year", none.name, "year=2019")


def test_the_year_of_the_file_name_gives_way_to_what_the_file_says(tmp_path: Path) -> None:
    path = book(tmp_path, s=two("产值(万元)")).rename(tmp_path / "年鉴2021.xlsx")  # the yearbook of 2021 on 2020
    assert set(load(path, year="file name")["year"]) == {2020}


def test_a_year_that_contradicts_the_title_is_refused(tmp_path: Path) -> None:
    path = book(tmp_path, s=two("产值(万元)", title="2-1 各地区情况(2012)"))
    says(
        refused(path, year=2011),
        "year=2011 is said of all values, and every table says its own (2012)",
        "",
        "leave year= out",
    )
    assert set(load(path, year=2012)["year"]) == {2012}


def test_years_alone_in_a_row_head_blocks_of_rows(tmp_path: Path) -> None:
    rows: Rows = [["2-1 各县产值"], ["单位:万元"], ["地区", "产值"], [2018], ["奇台县", 1], ["木垒县", 2], ["2019年"]]
    rows += [["奇台县", 3], ["木垒县", 4]]
    assert cells(book(tmp_path, s=rows)) == [
        ("奇台县", 2018, "产值", 1, "万元"),
        ("木垒县", 2018, "产值", 2, "万元"),
        ("奇台县", 2019, "产值", 3, "万元"),
        ("木垒县", 2019, "产值", 4, "万元"),
    ]


def test_sheets_named_by_years(tmp_path: Path) -> None:
    rows = two("产值(万元)", title="各地区情况")
    path = book(tmp_path, **{"2021": rows, "2022年": rows})
    frame = load(path)
    assert list(zip(frame["sheet"], frame["year"], strict=True)) == [("2021", 2021)] * 2 + [("2022年", 2022)] * 2
    asked(book(tmp_path, **{"2021续": rows}), "year=…")


def test_a_year_before_a_name_and_a_sum_over_years(tmp_path: Path) -> None:
    rows: Rows = [
        ["各地区专利"],
        ["单位:件"],
        ["地区", "2009年申请", "2009年授权", "1999-2009年累计"],
        ["新疆", 9, 1, 20],
    ]
    assert cells(book(tmp_path, s=rows)) == [
        ("新疆", 2009, "申请", 9, "件"),
        ("新疆", 2009, "授权", 1, "件"),
        ("新疆", 2009, "1999-2009年累计", 20, "件"),
    ]


@pytest.mark.parametrize(
    "title",
    [
        "2-1 各地区产值(2015年价)",
        "2-1 各地区产值(按2015年不变价计算)",
        "2-1 各地区产值 2015年可比价格",
        "2-1 2015年以来各地区产值",
        "2-1 各地区产值(以2015年为基期)",
        "2-1 各地区产值指数(2015=100)",
    ],
)
def test_the_year_of_prices_is_not_that_of_the_numbers(tmp_path: Path, title: str) -> None:
    path = book(tmp_path, s=two("产值(万元)", title=title))
    asked(path, "year=…")
    assert set(load(path, year=2020)["year"]) == {2020}
    assert set(load(book(tmp_path, s=two("产值(万元)", title=f"{title} 2018年")))["year"]) == {2018}


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("上年", "'上年' is the year of no calendar"),
        ("上年末人口", "'上年末人口' is the year of no calendar"),
        ("去年同期产值", "'去年同期产值' is the year of no calendar"),
        ("1-2月", "'1-2月' is not a whole year"),
        ("一季度", "'一季度' is not a whole year"),
        ("上半年", "'上半年' is not a whole year"),
    ],
)
def test_columns_of_another_year_or_of_part_of_one_are_listed(tmp_path: Path, name: str, why: str) -> None:
    path = book(tmp_path, s=two("产值", name, caption="单位：元"))
    assert unplaced(path) == {"C4": why, "C5": why}
    assert read(path) == {"B4": 10, "B5": 20}
    money = book(tmp_path, s=two("收入", "上年结余", caption="单位：元"))  # what was left over is money of this year
    assert of_first(money) == [("收入", "元"), ("上年结余", "元")]


# --- regions ---


def test_the_one_region_of_a_national_table(tmp_path: Path) -> None:
    rows = "指标,2022年,2021年\n国民总收入(亿元),120,110\n人均国内生产总值(元),870,\n"
    path = put(tmp_path, f"数据库：年度数据\n时间：最近2年\n{rows}")
    assert cells(path)[:2] == [
        ("全国", 2022, "国民总收入", 120, "亿元"),
        ("全国", 2021, "国民总收入", 110, "亿元"),
    ]
    asked(put(tmp_path, f"数据库：分省年度数据\n时间：最近2年\n{rows}"), 'region="…"')  # which province?


def test_regions_above_the_columns_and_growth_beside_them(tmp_path: Path) -> None:
    growth = "比2021年±%"
    rows: Rows = [["各县主要指标"], ["指标", "单位", "奇台县", growth, "木垒县", growth], ["粮食", "吨", 9, 1, 20, 2]]
    path = book(tmp_path, s=[*rows, ["棉花", "担", 8, 1, 30, 2]])
    why = f"'{growth}' in the header mixes a year with other words"
    assert unplaced(path, year=2022) == dict.fromkeys(("D3", "F3", "D4", "F4"), why)
    frame = load(path, year=2022)
    assert frame[["region", "year", "indicator", "value", "unit"]].to_numpy().tolist() == [
        ["奇台县", 2022, "粮食", 9, "吨"],
        ["木垒县", 2022, "粮食", 20, "吨"],
        ["奇台县", 2022, "棉花", 8, "担"],
        ["木垒县", 2022, "棉花", 30, "担"],
    ]


def test_a_column_among_regions_may_be_of_no_known_place(tmp_path: Path) -> None:
    rows: Rows = [
        ["2022年各县主要指标"],
        ["指标", "奇台县", "木垒县", "产业园", "玛纳斯县", "增长率"],
        ["粮食(吨)", 9, 1, 20, 3, 2],
    ]
    path = book(tmp_path, s=rows)
    assert unplaced(path) == {"F3": "no region stands above the column, while regions stand above others"}
    assert load(path)["region"].tolist() == ["奇台县", "木垒县", "产业园", "玛纳斯县"]


# --- what is lacking is asked for at once ---


def test_one_refusal_names_all_that_is_lacking_and_its_settings_load_the_file(tmp_path: Path) -> None:
    path = book(tmp_path, s=[["主要指标"], ["年份", "粮食", "棉花"], [2019, 9, 1], [2020, 8, 2]])
    said = asked(path, 'region="…"', 'units={"粮食": "…", "棉花": "…"}')
    assert said.count("for the numbers from s!B3 on") == 2
    assert cells(path, region="奇台县", units={"粮食": "吨", "棉花": "担"})[-1] == ("奇台县", 2020, "棉花", 2, "担")
    path = book(tmp_path, s=two("产值", "人口", title="各地区情况"))
    said = asked(path, "year=…", 'units={"产值": "…", "人口": "…"}')
    assert "no year is found" in said
    assert "no unit is found" in said
    assert cells(path, year=2020, units={"产值": "万元", "人口": "人"})[0] == ("全省", 2020, "产值", 10, "万元")
    path = book(tmp_path, s=[["地区", "2019年"], ["全省", 3], ["甲县", 1]])
    asked(path, 'indicator="…"', 'units={"…": "…"}')
    assert cells(path, indicator="产值", units={"产值": "万元"})[0] == ("全省", 2019, "产值", 3, "万元")


def test_settings_name_the_key_columns(tmp_path: Path) -> None:
    path = book(tmp_path, s=two("产值(万元)"))
    assert {"county", "t"} < set(load(path, keys=("county", "t")).columns)
    assert list(load(path, keys=("county", "t"), columns={"x": "产值"}).columns) == ["county", "t", "x"]


# --- cells ---


def test_numbers_and_marks_as_printed(tmp_path: Path) -> None:
    rows: Rows = [["2-1 各地区机械动力(2021)"], ["单位:万千瓦"], ["地区", "总动力", "其中:柴油"]]
    rows += [["全国", "1 912.59", "910 708.27"], ["新疆", "<0.01", "912.59"], ["甘肃", "1\u00a0000.00", "19 12.5"]]
    path = book(tmp_path, s=rows)
    assert read(path) == {
        **{"B4": 1912.59, "C4": 910708.27, "B5": "below_unit", "C5": 912.59},
        **{"B6": 1000, "C6": "unread"},
    }
    assert unplaced(path) == {"C6": NOT_A_VALUE}
    frame = load(path).set_index("cell")
    assert frame.loc["B5", "note"] == "printed as <0.01"
    assert (frame["note"].drop("B5") == "").all()
    assert set(frame["unit"]) == {"万千瓦"}
    assert set(frame["indicator"]) == {"总动力", "总动力 / 柴油"}


def test_misprints_are_listed_and_fifteen_years_read(tmp_path: Path) -> None:
    years = list(range(2005, 2020))
    rows: Rows = [
        ["2-1 各县产值"],
        ["单位:万元"],
        ["地区", *years],
        ["奇台县", *years],
        ["木垒县", *(y + 0.5 for y in years)],
    ]
    rows[3][3], rows[4][1] = "7.8S", "lo"
    path = book(tmp_path, s=rows)
    assert unplaced(path) == {"D4": NOT_A_VALUE, "B5": NOT_A_VALUE}
    assert texts(path) == {"D4": "7.8S", "B5": "lo"}
    found = read(path)
    assert len(found) == 30
    assert [cell for cell, value in found.items() if value == "unread"] == ["D4", "B5"]
    table = Yearbook(path).load()
    assert table.unplaced.to_numpy().tolist()[0] == [path.name, "s", "D4", "7.8S", NOT_A_VALUE]


def test_a_value_that_stands_twice(tmp_path: Path) -> None:
    table = two("产值(万元)", "利润(万元)")
    again = [["2-1 续表"], *two("产值(万元)", "利润(万元)")[1:]]
    path = book(tmp_path, s=[*table, *again])
    listed = unplaced(path)
    assert set(listed) == {"B7", "C7", "B8", "C8"}
    assert listed["B7"] == "'产值' of 全省 in 2020 stands in s!B3 as well (the same value)"
    assert read(path) == {"B3": 10, "C3": 11, "B4": 20, "C4": 21}
    again[-1][1] = 99  # of 甲县: the row is believed in neither place
    path = book(tmp_path, s=[*table, *again])
    listed = unplaced(path)
    assert listed["B4"] == "'产值' of 甲县 in 2020 stands in s!B8 as well"
    assert listed["B8"] == "'产值' of 甲县 in 2020 stands in s!B4 as well"
    found = read(path)
    assert (found["B3"], found["B4"], found["B8"]) == (10, "unread", "unread")


def test_a_column_without_a_header_and_numbers_beside_are_listed(tmp_path: Path) -> None:
    rows = two("产值(万元)", None, "利润(万元)")
    rows[2] += [7]
    path = book(tmp_path, s=rows)
    why = "no header stands above the column"
    assert unplaced(path) == {"C3": why, "C4": why, "E3": why}
    assert read(path) == {"B3": 10, "D3": 12, "B4": 20, "D4": 22}


def test_two_tables_that_share_a_row(tmp_path: Path) -> None:
    rows: Rows = [
        ["5-3 2019年各县产量", None, None, "5-4 2018年各县棉花"],
        ["地区", "粮食(吨)", None, "地区", "棉花(担)"],
        ["奇台县", 1, None, "木垒县", 7],
        ["木垒县", 2, None, "奇台县", 8],
    ]
    assert sorted(cells(book(tmp_path, s=rows))) == [
        ("奇台县", 2018, "棉花", 8, "担"),
        ("奇台县", 2019, "粮食", 1, "吨"),
        ("木垒县", 2018, "棉花", 7, "担"),
        ("木垒县", 2019, "粮食", 2, "吨"),
    ]


# --- corrections ---


def correct(path: Path, *said: str, sheet: str = 'sheet = "s"\n') -> dict[str, Any]:
    """Write a layout of corrections beside a file, and return it as an option."""
    toml = f"[[table]]\n{sheet}" + "".join(f"[[table.correct]]\n{one}\n" for one in said)
    (path.parent / "c.toml").write_text(toml, "utf-8")
    return {"layout": path.parent / "c.toml"}


SOURCE = 'source = "州统计局 2023年更正"'


def test_a_cell_is_corrected_by_a_number_or_a_word(tmp_path: Path) -> None:
    rows = two("产值(万元)", "利润(万元)")
    rows[2][1], rows[3][0] = "7.8S", "甲具"
    path = book(tmp_path, s=rows)
    options = correct(path, f'cell = "B3"\nvalue = 7.85\n{SOURCE}', f'cell = "A4"\nvalue = "甲县"\n{SOURCE}')
    assert not unplaced(path, **options)
    assert read(path, **options) == {"B3": 7.85, "C3": 11, "B4": 20, "C4": 21}
    frame = load(path, **options).set_index("cell")
    assert frame["region"].tolist() == ["全省", "全省", "甲县", "甲县"]
    assert frame.loc["B3", "note"] == "corrected from '7.8S' (州统计局 2023年更正)"
    assert frame.loc["C3", "note"] == ""
    assert frame.loc["B4", "note"] == "corrected from '甲具' (州统计局 2023年更正)"
    assert "s!B3 is corrected from '7.8S' (州统计局 2023年更正)" in notes(path, **options)
    assert unplaced(path) == {"B3": NOT_A_VALUE}  # the file is as it was


def test_a_cell_of_the_header_and_an_error_are_corrected(tmp_path: Path) -> None:
    rows = two("产值(万元)", "利闰(元)")
    rows[3][2] = "#REF!"
    path = book(tmp_path, s=rows)
    options = correct(path, f'cell = "C2"\nvalue = "利润(万元)"\n{SOURCE}', f'cell = "C4"\nvalue = 21\n{SOURCE}')
    assert of_first(path, **options) == [("产值", "万元"), ("利润", "万元")]
    assert read(path, **options)["C4"] == 21
    assert not unplaced(path, **options)
    assert load(path, **options).set_index("cell").loc["C3", "note"].startswith("corrected from '利闰(元)'")


@pytest.mark.parametrize(
    ("said", "what"),
    [
        (f'cell = "Z9"\nvalue = 1\n{SOURCE}', "the cell Z9 of"),
        (f'cell = "3B"\nvalue = 1\n{SOURCE}', "the value of 'correct.cell' cannot be '3B'"),
        ('cell = "B3"\nvalue = 1', "'correct.source' is missing"),
        ('cell = "B3"\nvalue = 1\nsource = " "', "the value of 'correct.source' cannot be ' '"),
        (f'cell = "B3"\n{SOURCE}', "'correct.value' is missing"),
        (f'cell = "B3"\nvalue = true\n{SOURCE}', "the value of 'correct.value' cannot be True"),
        (f'cell = "B3"\nvalue = ""\n{SOURCE}', "the value of 'correct.value' cannot be ''"),
        (f'cell = "B3"\nvalue = 1\nwhy = "x"\n{SOURCE}', "the key 'correct.why' is unknown"),
    ],
)
def test_corrections_that_cannot_be_are_refused(tmp_path: Path, said: str, what: str) -> None:
    path = book(tmp_path, s=two("产值(万元)"))
    assert what in refused(path, **correct(path, said)).what
    good = f'cell = "B3"\nvalue = 1\n{SOURCE}'
    assert "is on sheet 't', which is not read" in refused(path, **correct(path, good, sheet='sheet = "t"\n')).what
    assert "names no sheet" in refused(path, **correct(path, good, sheet="")).what


# --- what a hostile reader tried ---


def test_a_unit_of_a_group_is_none_of_its_rates_and_averages(tmp_path: Path) -> None:
    rows: Rows = [
        ["3-1 2019年各县经济"],
        ["地区", "生产总值(亿元)", None, None, "产量(吨)", None],
        [None, "总量", "人均", "增长率", "总产", "单产"],
        ["奇台县", 9, 8, 7, 6, 5],
    ]
    path = book(tmp_path, {"s": ("B2:D2", "E2:F2")}, s=rows)
    names = ("人均", "增长率")
    asked(path, 'units={"生产总值 / 人均": "…", "生产总值 / 增长率": "…", "产量 / 单产": "…"}')
    given = {f"生产总值 / {name}": unit for name, unit in zip(names, ("元", "%"), strict=True)}
    units = [unit for _, unit in of_first(path, units=given | {"产量 / 单产": "公斤/亩"})]
    assert units == ["亿元", "元", "%", "吨", "公斤/亩"]
    parts: Rows = [rows[0], ["地区", "生产总值(亿元)", "#工业", "#人均", "其中:比重"], ["奇台县", 9, 8, 7, 6]]
    asked(book(tmp_path, s=parts), 'units={"生产总值 / 人均": "…", "生产总值 / 比重": "…"}')


@pytest.mark.parametrize("words", ["2019年", "2019年(预计)", "2019年1-9月", "1-9月", "(万吨)", "以下为上年数"])
def test_rows_below_words_of_another_time_or_unit_are_listed(tmp_path: Path, words: str) -> None:
    rows: Rows = [
        ["3-1 2018年各县产量"],
        ["单位:吨"],
        ["地区", "粮食", "棉花"],
        ["奇台县", 1, 2],
        ["玛纳斯县", 3, 4],
        [words],
        ["沙湾县", 5, 6],
        ["乌苏市", 7, 8],
    ]
    path = book(tmp_path, s=rows)
    assert load(path)["value"].tolist() == [1, 2, 3, 4]
    assert list(unplaced(path)) == ["B7", "C7", "B8", "C8"]


@pytest.mark.parametrize("header", [(2019, 2020), ("2019年", "2020年"), (None, "油料"), ("油料", "油料")])
def test_rows_below_another_header_without_its_word_are_listed(tmp_path: Path, header: tuple[object, object]) -> None:
    rows: Rows = [
        ["3-1 各县产量"],
        ["单位:吨"],
        ["地区", 2017, 2018],
        ["奇台县", 1, 2],
        ["玛纳斯县", 3, 4],
        [None, *header],
        ["沙湾县", 5, 6],
        ["乌苏市", 7, 8],
    ]
    path = book(tmp_path, s=rows)
    assert load(path)["value"].tolist() == [1, 2, 3, 4]
    assert {"B7", "C7", "B8", "C8"} <= set(unplaced(path))


def test_a_year_or_a_month_in_place_of_a_region_is_listed(tmp_path: Path) -> None:
    rows: Rows = [
        ["3-1 2018年各县产量"],
        ["单位:吨"],
        ["地区", "粮食"],
        ["奇台县", 1],
        ["1月", 2],
        ["玛纳斯县", 3],
        ["2019年", 4],
        ["沙湾县", 5],  # of 2019, as far as the page says
    ]
    path = book(tmp_path, s=rows)
    assert load(path)["region"].tolist() == ["奇台县", "玛纳斯县"]
    assert list(unplaced(path)) == ["B5", "B7", "B8"]


@pytest.mark.parametrize("title", ["2018、2019年各县产量", "2018,2019年各县产量", "2018和2019年各县产量"])
def test_two_years_listed_in_a_title_are_the_year_of_no_number(tmp_path: Path, title: str) -> None:
    rows: Rows = [[f"3-1 {title}"], ["单位:吨"], ["地区", "粮食", "棉花"], ["奇台县", 1, 2]]
    assert "2018, 2019" in asked(book(tmp_path, s=rows), "year=…")


@pytest.mark.parametrize("line", ["更新于2020年", "2020年编印", "(根据2010年普查资料)"])
def test_the_year_of_a_printing_or_of_a_source_is_not_that_of_the_numbers(tmp_path: Path, line: str) -> None:
    rows: Rows = [["3-1 各县产量"], [line], ["单位:吨"], ["地区", "粮食", "棉花"], ["奇台县", 1, 2]]
    asked(book(tmp_path, s=rows), "year=…")


@pytest.mark.parametrize(
    ("caption", "names"),
    [
        ("亿元", ["三次产业结构", "汽车保有量", "在校学生", "中学教师数"]),
        ("吨", ["产值", "价格", "农机总动力", "用电量"]),
        ("万人", ["平均年龄", "家庭户规模", "工资"]),
        ("个", ["投资", "金额"]),
    ],
)
def test_a_unit_above_the_table_is_none_of_what_cannot_have_it(tmp_path: Path, caption: str, names: list[str]) -> None:
    rows: Rows = [
        ["3-1 2019年各县情况"],
        [f"单位:{caption}"],
        ["地区", "某项", *names],
        ["奇台县", *range(1, len(names) + 2)],
    ]
    path = book(tmp_path, s=rows)
    asked(path, "units={" + ", ".join(f'"{name}": "…"' for name in names) + "}")
    assert of_first(path, units=dict.fromkeys(names, "某"))[0] == ("某项", caption)


@pytest.mark.parametrize("lines", [["单位:万元 (100 million yuan)"], ["单位:万元", "Unit: 100 million yuan"]])
def test_an_english_unit_of_another_size_leaves_the_unit_open(tmp_path: Path, lines: list[str]) -> None:
    rows: Rows = [["3-1 2019年各县产值"], *([line] for line in lines), ["地区", "产值"], ["奇台县", 1]]
    assert "100 million yuan" in asked(book(tmp_path, s=rows), 'units={"产值": "…"}')
    rows = [[cell.replace("100 million", "10 000") if isinstance(cell, str) else cell for cell in row] for row in rows]
    assert of_first(book(tmp_path, s=rows)) == [("产值", "万元")]


def test_an_english_unit_in_a_line_of_its_own_hides_none_in_chinese(tmp_path: Path) -> None:
    rows: Rows = [
        ["3-1 2019年各县产值"],
        ["单位:万元"],
        ["地区", "工业产值\n(亿元)\n(100 million yuan)", "农业产值\n(10 000 yuan)"],
        ["奇台县", 1, 2],
    ]
    assert of_first(book(tmp_path, s=rows)) == [("工业产值", "亿元"), ("农业产值", "10 000 yuan")]


def test_a_name_in_the_middle_of_its_columns_is_none_of_others(tmp_path: Path) -> None:
    rows: Rows = [
        ["3-1 2019年各县产量"],
        ["单位:吨"],
        ["地区", None, "粮食", None, None, "油料", None],
        [None, "小麦", "玉米", "大豆", "花生", "葵花", "胡麻"],
        ["奇台县", 1, 2, 3, 4, 5, 6],
    ]
    names = [name for name, _ in of_first(book(tmp_path, s=rows))]
    assert (names[0], names[2], names[3], names[5]) == ("小麦", "大豆", "花生", "胡麻")


def test_a_part_of_a_part_and_a_row_named_by_a_speck_are_listed(tmp_path: Path) -> None:
    rows: Rows = [
        ["3-1 2019年各县产量"],
        ["单位:吨"],
        ["地区", "粮食"],
        ["全州", 10],
        ["#市辖区", 4],
        ["##东区", 1],
        [".", 2],
        ["奇台县", 3],
    ]
    path = book(tmp_path, s=rows)
    assert load(path)["region"].tolist() == ["全州", "市辖区", "奇台县"]
    assert list(unplaced(path)) == ["B6", "B7"]


def test_a_line_of_text_with_a_field_too_many_is_listed(tmp_path: Path) -> None:
    path = tmp_path / "book.csv"
    path.write_text("3-1 2019年各县产量\n单位:吨\n地区,粮食,棉花\n奇台县,1,234,2\n玛纳斯县,3,4\n", encoding="utf-8")
    assert load(path)["value"].dropna().tolist() == [3, 4]
    assert list(unplaced(path)) == ["B4", "C4", "D4"]


@pytest.mark.parametrize("value", ["inf", "nan", "1" + "0" * 400])
def test_a_correction_that_is_no_number_is_refused(tmp_path: Path, value: str) -> None:
    path = book(tmp_path, s=[["3-1 2019年各县产量"], ["单位:吨"], ["地区", "粮食"], ["奇台县", 1]])
    one = f'[[table.correct]]\ncell = "B4"\nvalue = {value}\nsource = "x"\n'
    layout = tmp_path / "layout.toml"
    layout.write_text(f'[[table]]\nsheet = "s"\n{one}', encoding="utf-8")
    assert "correct.value" in refused(path, layout=layout).what
    layout.write_text(f'[[table]]\nsheet = "s"\n{one.replace(value, "2")}{one.replace(value, "3")}', encoding="utf-8")
    assert "twice" in refused(path, layout=layout).what


@pytest.mark.parametrize("layout", ["\0", "x" * 5000])
def test_a_layout_whose_name_is_no_path_is_refused(tmp_path: Path, layout: str) -> None:
    path = book(tmp_path, s=[["3-1 2019年各县产量"], ["单位:吨"], ["地区", "粮食"], ["奇台县", 1]])
    assert "cannot be read" in refused(path, layout=layout).what


@pytest.mark.parametrize("wrong", [{"units": ["吨"]}, {"units": {"粮食": 5}}, {"region": 5}, {"indicator": 5}])
def test_settings_of_another_kind_are_refused(tmp_path: Path, wrong: dict[str, Any]) -> None:
    path = book(tmp_path, s=[["3-1 2019年各县产量"], ["单位:吨"], ["地区", "粮食"], ["奇台县", 1]])
    refused(path, **wrong)


@pytest.mark.parametrize("misread", ["2O18", "202.年", "20l8年", "I998"])
def test_a_misread_year_in_the_header_is_no_name(tmp_path: Path, misread: str) -> None:
    rows: Rows = [["3-1 2018年各县产量"], ["单位:吨"], ["地区", "粮食", misread], ["昌吉市", 5, 7], ["阜康市", 6, 8]]
    path = book(tmp_path, s=rows)
    why = f"'{misread}' in the header looks like a year that was misread"
    assert unplaced(path) == {"C4": why, "C5": why}
    assert load(path)[["indicator", "value"]].to_numpy().tolist() == [["粮食", 5], ["粮食", 6]]


def test_a_sheet_called_by_the_number_of_its_table_says_no_year(tmp_path: Path) -> None:
    rows: Rows = [["各县产量"], ["单位:吨"], ["地区", "粮食", "棉花"], ["昌吉市", 5, 7]]
    assert "no year is found" in refused(book(tmp_path, **{"1905": rows})).what
    assert load(book(tmp_path, **{"1978": rows}))["year"].tolist() == [1978, 1978]
