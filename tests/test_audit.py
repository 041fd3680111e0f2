"""Audits of yearbook tables: what contradicts, what is unusual, what rounding explains; figures by hand."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from decimal import Decimal
from functools import partial
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

import evalkit as ek
from biff8 import XlsSheet, xls
from counting import count_calls
from evalkit.auditing import note_audit
from evalkit.auditing.changes import chances
from evalkit.auditing.published import are_rounder, decimals
from evalkit.errors import ConfigError, DataError
from evalkit.regions.registry import gazetteer
from evalkit.sources import Yearbook
from evalkit.tables.table import Provenance, Table
from sampling import inputs

NAN = float("nan")
COUNTIES = ["昌吉市", "阜康市", "呼图壁县", "玛纳斯县", "奇台县", "吉木萨尔县", "木垒县"]
PROVINCES = [one.name for one in gazetteer().regions if one.level == "province" and one.is_valid(2020)][:31]
COLUMNS = ["region", "year", "indicator", "value", "unit"]


def volume(rows: list[tuple], file: str = "年鉴.xls", sheet: str = "1", **more: list) -> Table:
    """Make the long table that a Yearbook gives, of rows of region, year, indicator, value and unit."""
    frame = pd.DataFrame(rows, columns=COLUMNS).assign(file=file, sheet=sheet)
    frame["cell"] = [f"B{i + 2}" for i in range(len(frame))]
    frame["mark"] = np.where(frame["value"].isna(), "missing", "")
    frame = frame.assign(**more)
    return Table(file, frame, (Provenance(file, "0" * 64, synthetic=True),))


def column(values: list[float], year: int = 2020, name: str = "化肥施用量", unit: str = "吨", total: str | None = None,
           regions: list[str] | None = None) -> list[tuple]:  # fmt: skip
    names = (regions or COUNTIES)[: len(values) - (total is not None)]
    names = [total, *names] if total else names
    return [(region, year, name, value, unit) for region, value in zip(names, values, strict=True)]


def found(*tables: Table, kind: str | None = None) -> pd.DataFrame:
    frame = ek.audit(*tables).frame
    assert (frame["sentence_en"] != "").all()
    assert (frame["sentence_zh"] != "").all()
    return frame if kind is None else frame[frame["kind"] == kind]


def history(years: range = range(2015, 2021), growth: float = 1.05, seed: int = 1) -> dict[tuple[str, int], float]:
    """Values of the counties with two decimals that grow steadily, with some noise."""
    rng = np.random.default_rng(seed)
    values = {}
    for region in COUNTIES:
        level = float(rng.uniform(500, 3000))
        for year in years:
            level *= growth * math.exp(rng.normal(0, 0.01))
            values[region, year] = round(level, 2)
    return values


def rows(values: dict[tuple[str, int], float], name: str = "农药使用量", unit: str = "吨") -> list[tuple]:
    return [(region, year, name, value, unit) for (region, year), value in values.items()]


# --- digits


@given(st.decimals(min_value=Decimal("0.0001"), max_value=Decimal("9999999"), places=4).map(lambda x: x.normalize()))
def test_decimals_are_those_of_the_shortest_form(number: Decimal) -> None:
    assert decimals(np.array([float(number)])).tolist() == [-int(number.as_tuple().exponent)]


def test_the_noise_of_a_float_is_no_digit() -> None:
    assert decimals(np.array([0.1 + 0.2, 12.299999999999999, 1200.0, 123456789.12, 0.0, NAN])).tolist() == [
        1,
        1,
        -2,
        2,
        0,
        0,
    ]


# --- regions against their total


def test_regions_that_add_up_within_rounding_are_not_remarked_on() -> None:
    """Seven numbers and their total, each to 0.1: rounding explains at most 8 × 0.05 = 0.4."""
    parts = [1.3, 2.1, 3.7, 4.9, 5.1, 6.3, 7.7]  # 31.1
    for total in (31.1, 31.5, 30.7):
        assert not len(found(volume(column([total, *parts], total="全州"))))
    (line,) = found(volume(column([31.6, *parts], total="全州"))).itertuples()
    assert (line.kind, line.severity, line.region, line.year) == ("sum", "warning", "全州", 2020)
    assert (line.value, line.expected) == (31.6, pytest.approx(31.1))
    assert (line.difference, line.tolerance) == (pytest.approx(0.5), pytest.approx(0.4))
    assert (line.file, line.sheet, line.cell, line.against) == ("年鉴.xls", "1", "B2", "7 regions")
    assert line.sentence_en == (
        "全州 2020, 化肥施用量: 31.6 吨 is printed, but the 7 regions listed add up to 31.1; "
        "they differ by 0.5, of which rounding explains at most 0.4"
    )
    assert "31.6吨" in line.sentence_zh


def test_a_difference_is_an_error_where_other_years_add_up() -> None:
    parts = [1.0, 2.5, 3.0, 4.0, 5.5, 6.0, 7.0]
    table = volume([row for year in (2018, 2019, 2020)
                    for row in column([29.0 + 9 * (year == 2020), *parts], year, total="合计")])  # fmt: skip
    (line,) = found(table, kind="sum").itertuples()
    assert (line.severity, line.year, line.difference) == ("error", 2020, pytest.approx(9.0))


def test_where_half_of_the_years_add_up_a_difference_is_no_more_than_a_warning() -> None:
    parts = [1.0, 2.5, 3.0, 4.0, 5.5, 6.0, 7.0]
    table = volume([row for year in (2017, 2018, 2019, 2020)
                    for row in column([29.0 + 9 * (year > 2018), *parts], year, total="合计")])  # fmt: skip
    lines = found(table, kind="sum")
    assert lines["year"].tolist() == [2019, 2020]
    assert set(lines["severity"]) == {"warning"}


def test_of_two_sums_as_far_from_a_total_the_first_is_told() -> None:
    """Branches of farming with and without services: 7 against 6 and 8."""
    names = ("农林牧渔业总产值", "农业产值", "林业产值", "牧业产值", "渔业产值", "农林牧渔服务业产值")
    values = (70.0, 30.0, 10.0, 10.0, 10.0, 20.0)
    sectors = found(volume([("昌吉市", 2020, *one, "亿元") for one in zip(names, values, strict=True)]), kind="sectors")
    (line,) = sectors.itertuples()
    assert (line.expected, line.difference) == (80.0, -10.0)  # all that is printed was added up first


def test_a_part_that_rounding_explains_is_not_more_than_its_head() -> None:
    """Whole numbers: 11 may be 10.5, and 10 as well."""

    def lines(part: float) -> pd.DataFrame:
        rows = [("昌吉市", 2020, "播种面积", 10.0, "亩"), ("昌吉市", 2020, "播种面积 / 小麦", part, "亩")]
        return found(volume([*rows, ("阜康市", 2020, "播种面积", 17.0, "亩")]), kind="part")

    assert not len(lines(11.0))
    assert len(lines(12.0)) == 1


def test_provinces_are_known_to_be_complete() -> None:
    values = [10.25 + i for i in range(31)]
    whole = round(sum(values), 2)
    assert not len(found(volume(column([whole, *values], total="全国", regions=PROVINCES))))
    (line,) = found(volume(column([whole + 1, *values], total="全国", regions=PROVINCES))).itertuples()
    assert (line.severity, line.difference) == ("error", pytest.approx(1.0))


def test_digits_of_a_column_count_not_those_of_one_number() -> None:
    """A total of 30 among numbers to 0.01 was printed as 30.00."""
    parts = [1.25, 2.13, 3.07, 4.01, 5.54, 6.0, 7.99]  # 29.99
    (line,) = found(volume(column([30.1, *parts], total="合计"))).itertuples()
    assert line.tolerance == pytest.approx(8 * 0.005)


FOUR = [1.2345, 2.3456, 3.4567, 4.5678, 5.6789, 6.7891, 7.8912]  # 31.9638


def test_a_total_rounder_than_its_parts_is_no_error_within_half_its_last_digit() -> None:
    """A total of 32.0, which Excel keeps as 32, over parts to 0.0001: half a unit, and 7 x 0.00005, explain 0.50035."""
    for total in (32.0, 32.4, 31.5):  # 32.4 differs by 0.4362, and shows one digit: half of it is 0.05
        lines = found(volume(column([total, *FOUR], total="合计")))
        assert len(lines) == (total == 32.4 or total == 31.5)
    (line,) = found(volume(column([33.0, *FOUR], total="合计"))).itertuples()
    assert (line.kind, line.difference) == ("sum", pytest.approx(1.0362))
    assert line.tolerance == pytest.approx(0.5 + 7 * 0.00005)


@pytest.mark.parametrize(("digits", "wrong"), [(-1, 6000), (-2, 6000), (-4, 60000)])
def test_totals_printed_to_tens_hundreds_or_ten_thousands_agree_with_whole_numbers(digits: int, wrong: int) -> None:
    rng = np.random.default_rng(3)
    years, table = range(2015, 2021), []
    for year in years:
        parts = [float(one) for one in rng.integers(10_000, 99_999, 7)]
        table += column([float(round(sum(parts), digits)), *parts], year, total="全州")
    assert not len(found(volume(table), kind="sum"))
    at = next(i for i, row in enumerate(table) if row[0] == "全州" and row[1] == 2018)
    table[at] = (*table[at][:3], table[at][3] + wrong, "吨")
    (line,) = found(volume(table), kind="sum").itertuples()
    assert (line.severity, line.year) == ("error", 2018)


def test_one_zero_of_a_lone_total_makes_a_warning_of_an_error_and_neighbours_decide() -> None:
    """Provinces are complete, so that a difference is an error; 31 x 0.005 explain 0.155, and half of 0.1 another 0.05."""
    values = [10.25 + i for i in range(31)]  # 782.75, of which some more end in no zero
    values = [round(value + 0.01 * (i % 7 + 1), 2) for i, value in enumerate(values)]
    total = math.floor(sum(values) * 10 + 0.5) / 10
    for off, severity in ((0.1, []), (0.2, ["warning"]), (0.3, ["error"])):
        lines = found(volume(column([round(total + off, 1), *values], total="全国", regions=PROVINCES)))
        assert lines["severity"].tolist() == severity
    assert (
        ", unless the total is printed to no more than 0.1"
        in found(volume(column([round(total + 0.2, 1), *values], total="全国", regions=PROVINCES)))[
            "sentence_en"
        ].item()
    )
    # In another column the same row has both digits: it is no rounder than its parts.
    exact = column([round(sum(values), 2) + 0.01, *values], total="全国", regions=PROVINCES, name="农药使用量")
    lone = column([round(total + 0.2, 1), *values], total="全国", regions=PROVINCES)
    assert found(volume([*lone, *exact]))["severity"].tolist() == ["warning"]
    # There it has one as well: it is rounder.
    rounder = column([total, *values], total="全国", regions=PROVINCES, name="农药使用量")
    assert not len(found(volume([*lone, *rounder])))


@pytest.mark.parametrize("digits", [1, 2])
def test_chance_seldom_makes_a_row_look_rounder(digits: int) -> None:
    """Of lone totals to 0.01 one in a hundred ends in two zeros; of two totals one pair in a hundred in one zero each."""
    rng = np.random.default_rng(digits)
    pairs = rng.integers(10_000, 99_999, (20_000, 2)) / 100
    used = pairs if digits == 1 else pairs[:, :1]
    shorter = 2.0 - np.clip(decimals(used.ravel()), 0, 2)
    row = np.repeat(np.arange(len(used)), used.shape[1])
    share = are_rounder(shorter, row, row)[:: used.shape[1]].mean()
    assert share == pytest.approx(0.01, abs=4 * math.sqrt(0.01 * 0.99 / len(used)))


def test_a_total_that_is_nearly_always_more_than_its_parts_is_told_once_and_a_misprint_beside_it() -> None:
    rng = np.random.default_rng(5)
    table = []
    for year in range(2010, 2021):
        values = [float(one) for one in rng.integers(1000, 9999, 31)]
        excess = 0 if year < 2014 else 7000 if year == 2018 else 400 + year % 5
        table += column([sum(values) + excess, *values], year, total="全国", regions=PROVINCES)
    lines = found(volume(table), kind="sum")
    assert lines["year"].tolist() == [2014, 2018]
    assert "in 7 of 11 comparisons it is more than the regions listed" in lines["sentence_en"].iloc[0]
    assert "differ by 7000" in lines["sentence_en"].iloc[1]


def test_regions_inside_others_and_the_xpcc_may_be_listed_beside() -> None:
    inside = [("昌吉州", 28.0), *zip(COUNTIES, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0], strict=True), ("塔城地区", 10.5)]
    listed = [(name, 2020, "化肥施用量", value, "吨") for name, value in [*inside, ("兵团", 50.5)]]
    for total in (38.5, 89.0):  # without, and with the XPCC
        assert not len(found(volume([("合计", 2020, "化肥施用量", total, "吨"), *listed])))
    (line,) = found(volume([("合计", 2020, "化肥施用量", 66.5, "吨"), *listed])).itertuples()
    assert line.expected in (pytest.approx(38.5), pytest.approx(89.0), pytest.approx(66.5 + 50.5))


def test_a_prefecture_is_checked_with_its_counties_on_another_sheet() -> None:
    years, parts = (2018, 2019, 2020), [1.5, 2.1, 3.2, 4.3, 5.4, 6.1, 7.2]  # 29.8
    one = volume([("昌吉州", year, "化肥施用量", 29.8 + (year == 2020), "吨") for year in years], sheet="州")
    two = volume([row for year in years for row in column(parts, year)], sheet="县")
    table = Table("年鉴.xls", pd.concat([one.frame, two.frame]), one.provenance)
    (line,) = found(table).itertuples()
    assert (line.region, line.year, line.severity) == ("昌吉州", 2020, "error")
    assert line.difference == pytest.approx(1.0)
    lacking = table.frame[table.frame["region"] != "木垒县"]
    assert not len(
        found(Table("年鉴.xls", lacking, one.provenance))
    )  # the counties of a part may be less than the whole
    more = lacking.assign(value=lacking["value"].where(lacking["region"] == "昌吉州", lacking["value"] * 2))
    assert found(Table("年鉴.xls", more, one.provenance))["severity"].tolist() == [
        "warning"
    ]  # but not more, in any year


WITHOUT_NUMBER = [
    ("missing", 9.0, False),
    ("missing", 2.5, True),
    ("none", 3.6, False),
    ("none", 4.5, True),
    ("below_unit", 3.7, False),
    ("below_unit", 4.5, True),
]


@pytest.mark.parametrize(("mark", "total", "wrong"), WITHOUT_NUMBER)
def test_a_part_without_a_number_is_counted_as_what_its_mark_says(mark: str, total: float, wrong: bool) -> None:
    """1.1 + 2.5 = 3.6; what is below the unit is between 0 and 0.1."""
    table = volume(column([total, 1.1, 2.5, NAN], total="合计"), mark=["", "", "", mark])
    assert len(found(table)) == wrong


def test_where_no_column_adds_up_it_is_said_once() -> None:
    table = volume(
        [row for year in range(2015, 2021) for row in column([90.5, 1, 2, 3, 4, 5, 6, 7.5], year, total="合计")]
    )
    (line,) = found(table, kind="sum").itertuples()
    assert line.severity == "warning"
    assert "in none of 6 comparisons" in line.sentence_en


RATIOS = [
    ("人均地区生产总值", "万元"),
    ("粮食单产", "公斤"),
    ("增长率", "%"),
    ("生产总值指数", "上年=100"),
    ("农村居民收入", "元"),
    ("人口密度", "人/平方公里"),
    ("降水量", "毫米"),
]


@pytest.mark.parametrize(("name", "unit"), RATIOS)
def test_ratios_and_means_are_not_added_up(name: str, unit: str) -> None:
    assert not len(found(volume(column([5.5, 1, 2, 3, 4, 5, 6, 7], name=name, unit=unit, total="全州"))))


# --- sectors and parts


def gdp(
    total: float, sectors: tuple[float, float, float], year: int = 2020, region: str = "昌吉市", prefix: str = ""
) -> list[tuple]:
    named = zip(("第一产业", "第二产业", "第三产业"), sectors, strict=True)
    return [(region, year, "地区生产总值", total, "亿元"),
            *((region, year, prefix + name, value, "亿元") for name, value in named)]  # fmt: skip


@pytest.mark.parametrize("prefix", ["", "地区生产总值 / "])
def test_sectors_are_added_up(prefix: str) -> None:
    """To 0.01: rounding explains at most 4 × 0.005."""
    right = [row for year in (2018, 2019) for row in gdp(100.25, (10.13, 40.05, 50.07), year, prefix=prefix)]
    assert not len(found(volume([*right, *gdp(100.27, (10.13, 40.05, 50.07), prefix=prefix)]), kind="sectors"))
    (line,) = found(volume([*right, *gdp(100.28, (10.13, 40.05, 50.07), prefix=prefix)]), kind="sectors").itertuples()
    assert (line.severity, line.expected, line.difference) == ("error", pytest.approx(100.25), pytest.approx(0.03))
    assert line.tolerance == pytest.approx(0.02)
    assert line.against == "第一产业 + 第二产业 + 第三产业"


def test_kinds_of_fertiliser_and_branches_with_services_are_added_up() -> None:
    kinds = [("化肥施用量", 10.5), ("氮肥", 4.1), ("磷肥", 2.2), ("钾肥", 1.1), ("复合肥", 3.1)]
    branches = [
        ("农林牧渔业总产值", 30.5),
        ("农业", 10.1),
        ("林业", 5.2),
        ("牧业", 10.1),
        ("渔业", 3.1),
        ("农林牧渔服务业", 2.0),
    ]
    table = [("昌吉市", 2020, name, value, "亿元") for name, value in branches]
    table += [("昌吉市", 2020, name, value, "吨") for name, value in kinds]
    assert not len(found(volume(table)))
    table[0] = (*table[0][:3], 31.5, "亿元")
    (line,) = found(volume(table)).itertuples()
    assert (line.indicator, line.difference) == ("农林牧渔业总产值", pytest.approx(1.0))


def test_sectors_of_employment_belong_to_employment() -> None:
    people = [("昌吉市", 2020, f"就业人员{part}", value, "万人")
              for part, value in (("", 10.0), (" / 第一产业", 3.1), (" / 第二产业", 3.4), (" / 第三产业", 3.5))]  # fmt: skip
    assert not len(found(volume([*people, *gdp(100.25, (10.13, 40.05, 50.07))])))


def test_a_part_is_not_more_than_its_head() -> None:
    table = [
        (region, 2020, name, value, "吨")
        for region in COUNTIES
        for name, value in (("农药", 10.5), ("农药 / 除草剂", 4.5))
    ]
    assert not len(found(volume(table)))
    table[1] = ("昌吉市", 2020, "农药 / 除草剂", 10.6, "吨")
    assert not len(found(volume(table)))  # 10.55 and 10.55 are possible
    table[1] = ("昌吉市", 2020, "农药 / 除草剂", 10.7, "吨")
    (line,) = found(volume(table)).itertuples()
    assert (line.kind, line.severity, line.region) == ("part", "error", "昌吉市")
    assert (line.expected, line.difference, line.tolerance) == (10.5, pytest.approx(0.2), pytest.approx(0.1))
    assert line.against == "1!B2"


def test_what_is_often_more_than_its_head_is_no_part_and_said_once() -> None:
    table = [
        (region, 2020, name, value, "吨") for region in COUNTIES for name, value in (("表", 1.5), ("表 / 数", 4.5))
    ]
    (line,) = found(volume(table)).itertuples()
    assert line.severity == "warning"
    assert "in 7 of 7 comparisons" in line.sentence_en


def test_a_region_listed_as_part_of_another_is_not_more_than_it() -> None:
    table = column([5.5, 7.5], regions=["新疆", "兵团直属"])
    (line,) = found(volume(table, note=["", "part of 新疆"])).itertuples()
    assert (line.kind, line.region, line.expected) == ("part", "兵团直属", 5.5)


# --- changes over time


def test_steady_series_are_not_remarked_on() -> None:
    assert not len(found(volume(rows(history()))))


def test_a_jump_is_judged_by_other_regions_and_other_years() -> None:
    values = history()
    for year in range(2018, 2021):
        values["奇台县", year] = round(values["奇台县", year] * 3, 2)
    (line,) = found(volume(rows(values))).itertuples()
    assert (line.kind, line.severity, line.region, line.year) == ("jump", "warning", "奇台县", 2018)
    assert line.expected == pytest.approx(values["奇台县", 2017] * 1.05, rel=0.02)
    assert line.value == values["奇台县", 2018]
    assert "(the median region in that year)" in line.sentence_en


def test_a_year_in_which_all_regions_jump_is_one_remark() -> None:
    values = {key: round(value * (2 if key[1] >= 2018 else 1), 2) for key, value in history().items()}
    (line,) = found(volume(rows(values))).itertuples()
    assert (line.kind, line.year) == ("jump", 2018)
    assert pd.isna(line.region)
    assert "the median of 7 regions changes by a factor of 2.1" in line.sentence_en


def test_a_value_that_is_off_for_one_year_is_one_remark() -> None:
    values = history()
    before, after = values["昌吉市", 2016], values["昌吉市", 2018]
    values["昌吉市", 2017] = round(values["昌吉市", 2017] / 10, 3)
    (line,) = found(volume(rows(values))).itertuples()
    assert (line.kind, line.region, line.year) == ("power_of_ten", "昌吉市", 2017)
    assert line.expected == pytest.approx(math.sqrt(before * after))
    assert "and back in the year after" in line.sentence_en
    assert "a factor of 0.1: the decimal point or the unit" in line.sentence_en


def test_coarse_digits_are_no_jumps() -> None:
    """0.1 and 0.2 may be 0.149 and 0.151."""
    table = [(region, year, "农药使用量", 0.1 if year < 2018 else 0.2, "万吨")
             for region in COUNTIES[:1] for year in range(2015, 2021)]  # fmt: skip
    assert not len(found(volume(table)))


COUNTS = [(2, 9, 0.0654), (1, 20, 2.1e-5), (20, 60, 8.58e-6), (9, 2, 0.0654)]


@pytest.mark.parametrize(("before", "after", "p"), COUNTS)
def test_the_chance_of_a_count_is_that_of_coins(before: int, after: int, p: float) -> None:
    """Heads among all of them, added up by hand: 2 x sum of C(n, k) / 2^n."""
    n, most = before + after, max(before, after)
    by_hand = 2 * sum(math.comb(n, k) for k in range(most, n + 1)) / 2**n
    (found_,) = chances(np.array([float(before)]), np.array([float(after)]), np.zeros(1))
    assert found_ == pytest.approx(by_hand, rel=1e-9)
    assert found_ == pytest.approx(p, rel=0.01)


def test_small_counts_do_not_jump_and_large_ones_do() -> None:
    def lines(start: int, end: int, unit: str) -> pd.DataFrame:
        table = [(region, year, "设施", float(end if (region, year) == ("昌吉市", 2018) else start), unit)
                 for region in COUNTIES for year in range(2012, 2020)]  # fmt: skip
        return found(volume(table))

    assert not len(lines(2, 9, "个"))
    assert not len(lines(0, 5, "所"))
    assert not len(lines(3, 20, "人"))
    assert lines(200, 2000, "台")["kind"].tolist() == ["power_of_ten"]
    assert lines(3, 20, "万人")["kind"].tolist() == ["jump"]  # 30,000 and 200,000 people
    assert lines(3, 20, "吨")["kind"].tolist() == ["jump"]  # one digit: 3 may be 3.49, and 20 is 15 to 25


def simulated(values: np.ndarray, unit: str) -> pd.DataFrame:
    """Audit values of provinces (31, years)."""
    rows_ = [(PROVINCES[i], 2010 + j, "指标", float(one), unit) for (i, j), one in np.ndenumerate(values)]
    frame = found(volume(rows_))
    return frame[frame["kind"].isin(["jump", "power_of_ten"])]


def test_stocks_of_small_counts_give_no_false_alarm() -> None:
    """Nine in ten stay as they are and the others are Poisson, means 1 to 60: 2 in 100 changes were remarked on before."""
    rng = np.random.default_rng(11)
    for _ in range(3):
        mean = np.exp(rng.uniform(0, math.log(60), (31, 1))) * np.ones(10)
        stays = rng.random(mean.shape) < 0.9
        assert not len(simulated(np.where(stays, np.rint(mean), rng.poisson(mean)), "个"))


def test_where_one_in_ten_doubles_a_doubling_is_usual_but_not_a_spike_that_is_taken_back() -> None:
    rng = np.random.default_rng(12)
    steps = rng.normal(0, 0.02, (31, 12)) + math.log(2) * rng.choice([-1, 0, 1], (31, 12), p=[0.08, 0.84, 0.08])
    values = np.round(1000 * np.exp(np.cumsum(steps, axis=1)), 2)
    before = simulated(values, "吨")
    values[4, 6] = round(values[4, 6] * 10, 2)
    after = simulated(values, "吨")
    assert len(before) < 10
    assert ((after["region"] == PROVINCES[4]) & (after["year"] == 2016)).any()


def test_the_tolerance_of_a_fall_is_no_more_than_what_there_was() -> None:
    values = history()
    values["奇台县", 2018] = round(values["奇台县", 2018] / 3, 2)
    (line,) = found(volume(rows(values))).itertuples()
    assert line.difference < 0
    assert line.tolerance < abs(line.difference) < line.expected


def test_a_round_number_that_repeats_has_few_digits() -> None:
    values = history()
    for year in (2017, 2018):
        values["玛纳斯县", year] = 1200.0
    assert not len(found(volume(rows(values)), kind="copied"))


def two_volumes(factor: float, unit: str, digits: int) -> tuple[Table, Table]:
    older, newer = history(range(2015, 2019)), history(range(2018, 2021), seed=2)
    scale = {region: older[region, 2018] / newer[region, 2018] for region in COUNTIES}
    later = {(region, year): round(value * scale[region] * factor, digits) for (region, year), value in newer.items()}
    return volume(rows(older), "年鉴2019.xls"), volume(rows(later, unit=unit), "年鉴2021.xls")


def test_a_unit_that_changes_with_its_heading_is_a_note_and_fewer_digits_agree() -> None:
    (line,) = found(*two_volumes(1e-4, "万吨", 3)).itertuples()
    assert (line.kind, line.severity, line.file) == ("unit", "note", "年鉴2021.xls")
    assert "1 万吨 is 10,000 吨" in line.sentence_en


def test_a_unit_that_changes_without_its_heading_is_named_with_the_factor() -> None:
    older, newer = two_volumes(1e-4, "吨", 3)
    lines = found(older, newer)
    assert set(lines["kind"]) == {"power_of_ten"}
    assert set(lines["severity"]) == {"error"}
    overlap = lines[lines["year"] == 2018]
    assert len(overlap) == 7  # the year that both volumes have, region by region
    assert "are the same digits, a factor of 0.0001 apart" in overlap["sentence_en"].iloc[0]
    apart = Table("年鉴2021.xls", newer.frame[newer.frame["year"] > 2018], newer.provenance)
    (line,) = found(older, apart).itertuples()
    assert (line.kind, line.year) == ("power_of_ten", 2019)
    assert "a power of ten (0.0001) off" in line.sentence_en
    assert "as if the numbers were in 万吨 from then on" in line.sentence_en
    assert "(from 年鉴2019.xls to 年鉴2021.xls)" in line.sentence_en


def test_a_value_copied_from_the_year_before_is_told_from_chance() -> None:
    values = history()
    values["玛纳斯县", 2018] = values["玛纳斯县", 2017]
    (line,) = found(volume(rows(values))).itertuples()
    assert (line.kind, line.severity, line.region, line.year) == ("copied", "warning", "玛纳斯县", 2018)
    few = {key: round(value / 100) for key, value in values.items()}  # two digits: equal numbers are no wonder
    assert not len(found(volume(rows(few))))


def test_what_repeats_as_a_rule_is_not_copied() -> None:
    values = history()
    for region in COUNTIES:
        for year in (2016, 2018, 2020):
            values[region, year] = values[region, year - 1]
    assert not len(found(volume(rows(values)), kind="copied"))


def test_a_column_copied_as_a_whole_is_one_remark() -> None:
    values = history(range(2010, 2021))
    for region in COUNTIES:
        values[region, 2018] = values[region, 2017]
    (line,) = found(volume(rows(values)), kind="copied").itertuples()
    assert "7 of 7 regions have exactly the value of the year before" in line.sentence_en


def test_a_copied_total_is_an_error_where_its_sectors_say_otherwise() -> None:
    """As in 2022 for the prefectures of Xinjiang in a compiled table of GDP."""
    table = []
    for i, region in enumerate(COUNTIES):
        for year in range(2018, 2022):
            parts = tuple(round((10 + i + j) * 1.07 ** (year - 2018), 2) for j in range(3))
            table += gdp(round(sum(parts), 2), parts, year, region)
    table = [
        (r, y, n, table[k - 4][3] if (r, y, n) == ("昌吉市", 2020, "地区生产总值") else v, u)
        for k, (r, y, n, v, u) in enumerate(table)
    ]
    lines = found(volume(table))
    assert lines[["kind", "severity", "region", "year"]].to_numpy().tolist() == [
        ["sectors", "error", "昌吉市", 2020],
        ["copied", "error", "昌吉市", 2020],
    ]


# --- volumes


def test_a_revision_lists_both_values_and_says_which_is_newer() -> None:
    older = volume([("昌吉市", 2019, "地区生产总值", 100.5, "亿元")], "年鉴2020.xls")
    newer = volume(
        [("昌吉市", 2019, "地区生产总值", 104.2, "亿元"), ("昌吉市", 2020, "地区生产总值", 110.2, "亿元")],
        "年鉴2021.xls",
    )
    for tables in ((older, newer), (newer, older)):
        (line,) = found(*tables).itertuples()
        assert (line.kind, line.severity, line.file, line.value, line.expected) == (
            "revision",
            "note",
            "年鉴2020.xls",
            100.5,
            104.2,
        )
        assert line.against == "年鉴2021.xls 1!B2"
        assert "revised to 104.2 亿元 in the newer 年鉴2021.xls" in line.sentence_en
    large = volume([("昌吉市", 2019, "地区生产总值", 154.2, "亿元")], "甲.xls")
    (line,) = found(volume([("昌吉市", 2019, "地区生产总值", 100.5, "亿元")], "乙.xls"), large).itertuples()
    assert line.severity == "warning"
    assert "which one is newer is not known" in line.sentence_en


@pytest.mark.parametrize(
    ("old", "new", "kind"), [(3, 30, "revision"), (0, 5, "revision"), (312.4, 3.124, "power_of_ten")]
)
def test_the_same_digits_need_digits(old: float, new: float, kind: str) -> None:
    older, newer = (
        volume([("昌吉市", 2019, "粮食", value, "吨")], f"{year}.xls") for year, value in ((2020, old), (2021, new))
    )
    (line,) = found(older, newer).itertuples()
    assert (line.kind, line.value, line.expected) == (kind, old, new)


def test_files_of_one_name_are_told_apart_by_their_paths() -> None:
    tables = [Table("表.xls", volume([("昌吉市", 2019, "粮食", value, "吨")], "表.xls").frame, (Provenance(path, path),))
              for value, path in ((100.5, "2020/表.xls"), (104.5, "2021/表.xls"))]  # fmt: skip
    (line,) = found(*tables).itertuples()
    assert "revised to 104.5 吨 in the newer 2021/表.xls" in line.sentence_en


def test_a_value_that_stands_twice_in_a_file_is_a_note_alike_and_an_error_unlike() -> None:
    one, two = volume(rows(history()), sheet="1"), volume(rows(history()), sheet="2")
    table = Table("年鉴.xls", pd.concat([one.frame, two.frame]), one.provenance)
    (line,) = found(table).itertuples()
    assert (line.kind, line.severity) == ("duplicate", "note")
    assert "42 values stand in two places alike" in line.sentence_en
    wrong = two.frame.copy()
    wrong.loc[3, "value"] += 1
    lines = found(Table("年鉴.xls", pd.concat([one.frame, wrong]), one.provenance), kind="duplicate")
    assert lines["severity"].tolist() == ["error", "note"]
    assert lines["difference"].iloc[0] == pytest.approx(1.0)


def test_sheets_whose_headers_say_no_more_than_a_total_are_not_compared() -> None:
    one, two = (volume(rows(history(seed=seed), name="合计"), sheet=str(seed)) for seed in (1, 2))
    assert not len(found(Table("年鉴.xls", pd.concat([one.frame, two.frame]), one.provenance)))


def test_the_same_table_twice_is_one() -> None:
    table = volume(rows(history()))
    assert not len(found(table, table))


def test_units_that_cannot_be_converted_are_noted_and_not_compared() -> None:
    tables = [volume([("昌吉市", 2019, "果树", 5.5, unit)], f"{unit}.xls") for unit in ("万株", "公顷")]
    (line,) = found(*tables).itertuples()
    assert (line.kind, line.severity) == ("unit", "note")
    assert "cannot be converted" in line.sentence_en


def test_a_note_on_scope_is_attached_to_what_it_qualifies() -> None:
    table = volume(rows(history()), note=["按折纯法计算; 2018年起含兵团"] * 42)
    (line,) = found(table).itertuples()
    assert (line.kind, line.severity, line.year, line.cell) == ("scope", "note", 2018, "B5")
    assert line.sentence_en.startswith("“2018年起含兵团” is said of 21 values from 2018 on")  # 7 counties, 3 years
    assert "农药使用量" in line.sentence_zh
    assert not len(found(volume(rows(history()), note=["按折纯法计算"] * 42)))


# --- the whole


def test_a_yearbook_is_audited_from_its_file(tmp_path: Path) -> None:
    header = [["3-1 各县市农药使用量"], [None, None, "单位：吨"], ["县市", "2019年", "2020年"]]
    body = [[name, 10.5 + i, 11.5 + i] for i, name in enumerate(COUNTIES)]
    sheet = XlsSheet([*header, ["全州", 94.5, 110.5], *body, ["注：2020年起含兵团。"]])
    table = Yearbook(xls(tmp_path, {"3-1": sheet})).load()
    lines = found(table)
    assert lines[["kind", "severity", "region", "year", "cell"]].to_numpy(dtype=object).tolist()[0] == [
        "sum",
        "warning",
        "全州",
        2020,
        "C4",
    ]
    assert lines["difference"].iloc[0] == pytest.approx(9.0)
    assert lines["kind"].tolist() == ["sum", "scope"]
    noted = note_audit(table)
    assert noted.provenance[0].notes.endswith("; audited: 0 errors, 1 warning, 1 note; list them with evalkit.audit(…)")
    assert noted.frame is table.frame
    assert note_audit(volume(rows(history()))).provenance[0].notes == "audited: 0 errors, 0 warnings, 0 notes"


def test_values_are_judged_as_printed_not_as_converted(tmp_path: Path) -> None:
    rows_ = [
        ["3-1 各县市农药使用量"],
        [None, "单位：万吨"],
        ["县市", "2020年"],
        ["全州", 3.4],
        ["昌吉市", 1.1],
        ["阜康市", 2.2],
    ]
    path = xls(tmp_path, {"3-1": XlsSheet(rows_)})
    assert not len(found(Yearbook(path).load()))  # to 0.1: rounding explains 0.15
    assert not len(found(Yearbook(path, convert={"农药使用量": "公斤"}).load()))


def test_the_table_carries_provenance_and_keys() -> None:
    table = volume(column([50.5, 1, 2, 3, 4, 5, 6, 7], total="全州"))
    audited = ek.audit(table)
    assert audited.provenance == table.provenance
    assert audited.provenance[0].synthetic
    renamed = Table("x", table.frame.rename(columns={"region": "county", "year": "年"}), table.provenance)
    assert ek.audit(renamed, region="county", time="年").frame["county"].tolist() == ["全州"]


# --- the page


def test_the_page_says_what_was_read_checked_and_found_of_each_volume() -> None:
    """Two years of seven counties; of two sums one fails, and no value is judged by the other years of its county."""
    parts = [1.5, 2.1, 3.2, 4.3, 5.4, 6.1, 7.2]  # 29.8
    table = volume([*column([29.8, *parts], 2019, total="全州"), *column([38.8, *parts], 2020, total="全州")])
    table = replace(
        table, unplaced=pd.DataFrame([("1", "C7", "7.8S", "no number")], columns=["sheet", "cell", "text", "why"])
    )
    audited = ek.audit(table)
    assert audited.volumes.iloc[0, 4:].tolist() == [1, 1, 8, 2, 16, 0]
    counted = audited.checks.set_index("kind")
    assert counted.loc["sum", ["compared", "failed"]].tolist() == [2, 1]
    page = str(audited.report())
    lines = page.splitlines()
    assert "## 年鉴.xls" in lines
    assert "| Regions add up to their total | 2 | 1 | 1 |" in lines
    assert "| 1 | 1 | 8 | 2 | 16 | 0 | 1 |" in lines
    (line,) = (line for line in lines if line.startswith("| 1!B10 |"))
    assert line.startswith("| 1!B10 | 全州 | 2020 | 化肥施用量 | 38.8 吨 | 29.8 | 9 | 0.4 | 全州 2020, ")
    assert "| 1!C7 | 7.8S | no number |" in lines
    assert "Synthetic data" in page
    assert "地区之和等于合计" in str(audited.report(language="zh"))


def test_errors_come_before_warnings_and_notes_on_the_page() -> None:
    sectors = (10.13, 40.05, 50.07)
    years = [*gdp(100.25, sectors, 2018), *gdp(130.0, sectors, 2019), *gdp(100.25, sectors)]
    trees = [("昌吉市", 2020, "果树", 5.5, "万株"), ("昌吉市", 2019, "果树", 5.5, "公顷")]
    table = volume([*years, *trees])
    heads = [line for line in str(ek.audit(table).report()).splitlines() if line.startswith("### ")]
    assert heads == [
        "### What was checked",
        "### Errors: the pages contradict themselves",
        "### Notes: what a reader has to know",
    ]


EVIL = '<script>alert("1")</script>|`x`'


def test_text_of_a_file_is_data_on_the_page() -> None:
    table = column([29.8, 1.5, 2.1], name=EVIL, total="全州")
    unplaced = pd.DataFrame([(EVIL, "C7", EVIL, "<b>")], columns=["sheet", "cell", "text", "why"])
    page = ek.audit(replace(volume(table, file=f"{EVIL}.xls", sheet=EVIL), unplaced=unplaced)).report()
    assert "<script" not in page.html
    assert "<b>" not in page.html
    assert "&lt;script&gt;" in page.html
    assert "<script" not in page.text.replace("\\<", "")
    for line in page.text.splitlines():
        if line.startswith("|"):
            assert len(re.findall(r"(?<!\\)[|]", line)) in (5, 8, 10, 3, 4)


def test_every_tag_of_the_page_is_closed() -> None:
    audited = ek.audit(volume(column([38.8, 1.5, 2.1], total="全州")))
    opened: list[str] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list) -> None:
            if tag != "meta":
                opened.append(tag)

        def handle_endtag(self, tag: str) -> None:
            assert opened.pop() == tag

    Reader().feed(audited.report().html)
    assert not opened
    assert audited._repr_html_() == audited.report()._repr_html_()


def test_a_page_is_written_in_the_form_of_its_ending(tmp_path: Path) -> None:
    audited = ek.audit(volume(column([38.8, 1.5, 2.1], total="全州")))
    page = audited.report(tmp_path / "a.html", language="zh")
    assert (tmp_path / "a.html").read_text(encoding="utf-8") == page.html
    audited.report(str(tmp_path / "a.md"), language="zh")
    assert (tmp_path / "a.md").read_text(encoding="utf-8") == str(page)
    with pytest.raises(ConfigError, match=r"the ending '\.pdf' is not one of a page") as caught:
        audited.report(tmp_path / "a.pdf")
    assert ".html" in caught.value.remedy
    with pytest.raises(ConfigError, match="language 'de' is unknown"):
        audited.report(language="de")


def test_a_page_of_many_remarks_says_how_many_it_leaves_out() -> None:
    older = volume([("昌吉市", 2019, f"甲{i}", 100.5 + i, "吨") for i in range(600)], "年鉴2020.xls")
    newer = volume([("昌吉市", 2019, f"甲{i}", 104.5 + i, "吨") for i in range(600)], "年鉴2021.xls")
    audited = ek.audit(older, newer)
    assert len(audited.frame) == 600
    assert "100 more are in the frame of the audit." in str(audited.report())


def test_nothing_to_compare_is_said_and_an_audit_equals_itself() -> None:
    table = volume([("昌吉市", 2019, "甲", 1.5, "吨")])
    assert "Nothing in this file can be compared" in str(ek.audit(table).report())
    assert ek.audit(table) == ek.audit(table)
    assert repr(ek.audit(table)).startswith("Audit(frame=DataFrame[0, 17]")
    empty = ek.audit(Table("空", table.frame.iloc[:0], table.provenance))
    assert "Errors: 0; warnings: 0; notes: 0" in str(empty.report())


def test_what_is_no_long_table_is_refused() -> None:
    wide = Table("宽表", pd.DataFrame({"region": ["昌吉市"], "year": [2020], "gdp": [1.0]}), ())
    with pytest.raises(DataError, match="there is no column 'indicator'") as caught:
        ek.audit(wide)
    assert "without columns=" in caught.value.remedy
    with pytest.raises(DataError, match="no tables"):
        ek.audit()
    empty = volume(rows(history()))
    lines = ek.audit(Table("空", empty.frame.iloc[:0], empty.provenance)).frame
    assert len(lines) == 0
    assert list(lines.columns) == list(ek.audit(volume(column([9.5, 1, 2], total="全州"))).frame.columns)


VALUES = st.one_of(st.just(NAN), st.floats(-1e9, 1e12), st.integers(0, 50), st.sampled_from([0.0, 1e-9, 5e307]))
NAMES = st.sampled_from(
    [*COUNTIES, *PROVINCES[:9], "全国", "全州", "合计", "小计", "兵团", "第六师", "其他", "", "昌吉州", "石河子市"]
)
INDICATORS = st.sampled_from(["地区生产总值", "第一产业", "第二产业", "第三产业", "甲", "甲 / 乙", "合计", "增长率"])


UNITS = st.sampled_from(["吨", "万吨", "%", "亿元", "怪", None])
LINES = st.lists(st.tuples(NAMES, st.integers(1900, 2099), INDICATORS, VALUES, UNITS), max_size=40)


@inputs(20, 60, suppress_health_check=[HealthCheck.too_slow])
@given(LINES, st.integers(0, 10))
@pytest.mark.filterwarnings("error")
def test_nothing_that_stands_in_a_table_stops_an_audit(lines: list[tuple], cut: int) -> None:
    whole = volume(lines, sheet="1")
    tables = [
        Table(f"{i}.xls", part.assign(file=f"{i}.xls"), ())
        for i, part in enumerate((whole.frame.iloc[:cut], whole.frame.iloc[cut:]))
    ]
    frame = found(*tables)
    assert set(frame["severity"]) <= {"error", "warning", "note"}


def annals(sheets: int) -> Table:
    """Sheets of 31 provinces and their total over 22 years that grow steadily."""
    rng = np.random.default_rng(7)
    frames = []
    for number in range(sheets):
        growth = np.exp(np.cumsum(rng.normal(0.05, 0.03, (31, 22)), axis=1)) * rng.lognormal(5, 1, (31, 1))
        values = np.round(growth, 2)
        frame = pd.DataFrame({"region": np.repeat(PROVINCES, 22), "year": np.tile(np.arange(2000, 2022), 31)})
        frame = frame.assign(value=values.ravel(), indicator=f"指标{number}", sheet=str(number))
        totals = pd.DataFrame({"region": "全国", "year": np.arange(2000, 2022), "value": values.sum(axis=0).round(2)})
        frames.append(pd.concat([frame, totals.assign(indicator=f"指标{number}", sheet=str(number))]))
    frame = pd.concat(frames, ignore_index=True).assign(unit="万吨", file="年鉴.xls", mark="")
    frame["cell"] = "B" + frame.index.astype("str")
    return Table("年鉴.xls", frame, ())


def test_a_yearbook_of_a_hundred_thousand_values_is_audited() -> None:
    """150 sheets; measured 0.6 s of processor time."""
    table = annals(150)
    assert len(table.frame) == 105_600
    assert len(ek.audit(table).frame) < 10  # chance alone


def test_what_an_audit_does_grows_with_the_sheets_and_no_faster() -> None:
    ek.audit(annals(1))  # what is read once
    calls = [count_calls(partial(ek.audit, annals(sheets))) for sheets in (3, 6, 12)]
    assert calls[2] - calls[1] < 2.5 * (calls[1] - calls[0])
