"""carry: panels on the boundaries of one year, against sums by hand, against lineage(), and as properties of random panels."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import evalkit as ek
from evalkit.catalogue import message
from evalkit.errors import DataError
from evalkit.panels.carrying import CarryRule
from evalkit.panels.panel import Dropped
from evalkit.regions.registry import LAST, Gazetteer, Region, Succession, gazetteer, lineage
from evalkit.tables.table import Provenance
from sampling import inputs

pytestmark = pytest.mark.filterwarnings("error")

RULES: dict[str, CarryRule] = {"name": "name", "output": "sum", "rate": ek.mean_of("output")}
MIDONG = [
    ("652303", 2005, "米泉", 10.0, 2.0),
    ("650108", 2005, "东山", 30.0, 4.0),
    ("652303", 2006, "米泉", 12.0, 2.0),
    ("650108", 2006, "东山", 36.0, 4.0),
    ("650109", 2007, "米东", 64.0, 3.0),
]
CHAOHU = [
    ("341400", 2010, "巢湖", 460.0, 1.0),
    ("340100", 2010, "合肥", 500.0, 2.0),
    ("340200", 2010, "芜湖", 230.0, 3.0),
    ("340500", 2010, "马鞍山", 130.0, 4.0),
    ("340100", 2011, "合肥", 710.0, 5.0),
    ("340200", 2011, "芜湖", 384.0, 6.0),
    ("340500", 2011, "马鞍山", 236.0, 7.0),
]
CHAOHU_PARTS = pd.DataFrame(
    {"code": ["341400"] * 3, "to_code": ["340100", "340200", "340500"], "share": [0.5, 0.3, 0.2]}
)
XINXING = [
    ("650502", 2020, "伊州", 100.0, 1.0),
    ("650502", 2021, "伊州", 95.0, 1.0),
    ("659011", 2021, "新星", 5.0, 9.0),
]


def panel(rows: list[tuple[Any, ...]], **more: Any) -> ek.Panel:
    frame = pd.DataFrame(rows, columns=["code", "year", "name", "output", "rate"])
    return ek.Panel.from_frame(frame.assign(**more), unit="code", time="year", units={"output": "t"})


def carried(rows: list[tuple[Any, ...]], to_year: int, **options: Any) -> ek.Panel:
    return ek.carry(panel(rows), to_year=to_year, **{"rules": RULES, **options})


def rows_of(found: ek.Panel) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in found.frame[["code", "year", "name", "output", "rate"]].itertuples(index=False)]


def said(found: ek.Panel) -> str:
    return "\n".join(str(note) for note in found.notes)


def refused(rows: list[tuple[Any, ...]], to_year: int, **options: Any) -> DataError:
    with pytest.raises(DataError) as caught:
        carried(rows, to_year, **options)
    return caught.value


def test_a_merger_sums_amounts_and_weighs_rates() -> None:
    found = carried(MIDONG, 2010)
    assert rows_of(found) == [
        ("650109", 2005, "米东区", 40.0, (10 * 2 + 30 * 4) / 40),
        ("650109", 2006, "米东区", 48.0, (12 * 2 + 36 * 4) / 48),
        ("650109", 2007, "米东区", 64.0, 3.0),
    ]
    assert found.units == {"output": "t"}
    assert (
        "merger of 2007: 东山区 (650108) + 米泉市 (652303) → 米东区 (650109), 国函〔2007〕65号 (its parts are put together)"
        in said(found)
    )
    assert "2007年合并" in "".join(note.text("zh") for note in found.notes)
    assert not found.ledger


def test_a_unit_that_changes_its_name_and_code_goes_on() -> None:
    rows = [("652326", 1991, "阜康县", 7.0, 1.5), ("652302", 1992, "阜康市", 8.0, 1.5)]
    assert rows_of(carried(rows, 2020)) == [
        ("652302", 1991, "阜康市", 7.0, 1.5),
        ("652302", 1992, "阜康市", 8.0, 1.5),
    ]
    assert rows_of(carried(rows, 1985)) == [
        ("652326", 1991, "阜康县", 7.0, 1.5),
        ("652326", 1992, "阜康县", 8.0, 1.5),
    ]
    assert "rename of 1992: 阜康县 (652326) → 阜康市 (652302)" in said(carried(rows, 2020))


def test_codes_that_regions_gives_are_read_as_those_of_the_year() -> None:
    of_regions = [("652302", 1991, "阜康", 7.0, 1.5), ("652302", 1992, "阜康", 8.0, 1.5)]
    found = carried(of_regions, 1992)
    assert rows_of(found) == [("652302", 1991, "阜康市", 7.0, 1.5), ("652302", 1992, "阜康市", 8.0, 1.5)]
    assert "1 rows have a code of another year" in said(found)
    error = refused([*of_regions, ("652326", 1991, "阜康县", 1.0, 1.0)], 1992)
    assert "two rows of 1991 are of one unit, 阜康县 (652326)" in error.what


def test_a_split_goes_by_population_in_the_nearest_year() -> None:
    """2000: 亳州 (341600) was made of a part of 阜阳 (341200), which went on."""
    rows = [
        ("341200", 1999, "阜阳", 100.0, 2.0),
        ("341200", 2000, "阜阳", 60.0, 3.0),  # 亳州 has none in this year
        ("341200", 2001, "阜阳", 66.0, 3.0),
        ("341600", 2001, "亳州", 44.0, 4.0),
        ("341200", 2002, "阜阳", 90.0, 3.0),
        ("341600", 2002, "亳州", 10.0, 4.0),
    ]
    found = carried(rows, 2005, population="output")
    assert rows_of(found)[0] == ("341200", 1999, "阜阳市", pytest.approx(60.0), 2.0)
    assert rows_of(found)[4] == ("341600", 1999, "亳州市", pytest.approx(40.0), 2.0)
    assert "divided by output of 2001: 阜阳市 (341200) 0.6000, 亳州市 (341600) 0.4000" in said(found)
    back = carried(rows, 1999)
    assert [row[3] for row in rows_of(back)] == [100.0, 110.0, 100.0]  # of 2000 a part is absent
    assert back.ledger == (Dropped("carry", message("ledger.carried_incomplete", year=1999), 1, 0),)
    assert "阜阳市 (341200) 2000 (亳州市 (341600))" in said(back)


def test_a_merged_unit_is_divided_backwards_by_population_of_its_parts() -> None:
    found = carried(MIDONG, 2006, population="output")
    assert rows_of(found) == [
        ("650108", 2005, "东山区", 30.0, 4.0),
        ("650108", 2006, "东山区", 36.0, 4.0),
        ("650108", 2007, "东山区", pytest.approx(64 * 36 / 48), 3.0),
        ("652303", 2005, "米泉市", 10.0, 2.0),
        ("652303", 2006, "米泉市", 12.0, 2.0),
        ("652303", 2007, "米泉市", pytest.approx(64 * 12 / 48), 3.0),
    ]


def test_parts_that_join_other_units_count_with_what_these_gained() -> None:
    gains = {"340100": 710 - 500, "340200": 384 - 230, "340500": 236 - 130}
    had = {"340100": 500.0, "340200": 230.0, "340500": 130.0}
    of_2010 = {row[0]: row for row in rows_of(carried(CHAOHU, 2012, population="output")) if row[1] == 2010}
    for code, gain in gains.items():
        part = 460 * gain / sum(gains.values())
        assert of_2010[code][3] == pytest.approx(had[code] + part, rel=1e-12)
        own = {"340100": 2.0, "340200": 3.0, "340500": 4.0}[code]
        assert of_2010[code][4] == pytest.approx((had[code] * own + part * 1.0) / (had[code] + part), rel=1e-12)
    lost = [
        (code, year, name, 400.0 if (code, year) == ("340100", 2011) else x, r) for code, year, name, x, r in CHAOHU
    ]
    assert "合肥市 (340100) did not gain in 'output'" in refused(lost, 2012, population="output").what
    assert "lies in several units" in refused(CHAOHU, 2010, population="output").what  # 巢湖 is a part of each


def test_shares_that_are_given_are_used_and_checked() -> None:
    of_2010 = [row for row in rows_of(carried(CHAOHU, 2012, shares=CHAOHU_PARTS)) if row[1] == 2010]
    assert [row[3] for row in of_2010] == [500 + 230.0, 230 + 138.0, 130 + 92.0]
    for change, what in (
        ({"share": [0.5, 0.3, 0.1]}, "the shares of 341400 add up to 0.9"),
        ({"share": [0.5, 0.7, -0.2]}, "a share is not between 0 and 1"),
        ({"to_code": ["340100", "340200", "340300"]}, "its parts in the change of 2011 are 合肥市"),
        ({"to_code": ["340100", "340200", "340200"]}, "the share of 340200 in 341400 is given twice"),
        ({"to_code": ["340100", "340200", None]}, "a code is not text"),
    ):
        assert what in refused(CHAOHU, 2012, shares=CHAOHU_PARTS.assign(**change)).what
    assert rows_of(carried(CHAOHU, 2012, shares=CHAOHU_PARTS.assign(year=2011))) == rows_of(
        carried(CHAOHU, 2012, shares=CHAOHU_PARTS)
    )
    assert "not be divided here: 341400" in said(carried(MIDONG, 2010, shares=CHAOHU_PARTS))


def test_shares_of_a_unit_that_is_divided_twice_name_the_year() -> None:
    """和田县 (653221) gave land to 和田市 in 2006, and a part of it became 和安县 in 2024."""
    rows = [("653221", 2005, "", 8.0, 1.0), ("653201", 2005, "", 1.0, 1.0)]
    shares = pd.DataFrame({"code": "653221", "to_code": ["653221", "653229"], "share": [0.75, 0.25]})
    found = carried(rows, 2024, shares=shares)  # only the change of 2024 has these parts
    assert [row[:4:3] for row in rows_of(found)] == [("653201", 1.0), ("653221", 6.0), ("653229", 2.0)]
    whole = pd.DataFrame({"code": ["653221"], "to_code": ["653221"], "share": [1.0]})
    assert "653221 is divided in 2006 and 2024, and its shares name no year" in refused(rows, 2024, shares=whole).what
    found = carried(rows, 2024, shares=whole.assign(year=2024))
    assert [row[:4:3] for row in rows_of(found)] == [("653201", 1.0), ("653221", 8.0)]


def test_an_undivided_unit_is_refused_combined_or_left_out() -> None:
    error = refused(CHAOHU, 2012)
    assert "1 units would have to be divided" in error.what
    assert "巢湖市 (341400) in 2011: " in error.what
    assert "国函〔2011〕84号" in error.what
    for word in ("population=", "shares=", '"combine"', '"leave out"'):
        assert word in error.remedy
    joint = carried(CHAOHU, 2012, undivided="combine")
    assert rows_of(joint)[0][:4] == ("340100+340200+340500", 2010, "合肥市+芜湖市+马鞍山市", 1320.0)
    assert rows_of(joint)[1][3] == 710 + 384 + 236
    assert rows_of(carried(CHAOHU, 2010, undivided="combine"))[1][:4] == (
        "340100+340200+340500+341400",
        2011,
        "合肥市+芜湖市+马鞍山市+巢湖市",
        1330.0,
    )
    without = carried(CHAOHU, 2012, undivided="leave out")
    assert [row[1] for row in rows_of(without)] == [2011] * 3
    assert without.ledger == (Dropped("carry", message("ledger.carried_undivided", year=2012), 4, 1),)
    assert "shares unknown; its rows are left out" in said(without)
    with pytest.raises(DataError, match="did you mean 'combine'"):
        carried(CHAOHU, 2012, undivided="combined")


def test_a_part_that_is_declared_negligible_makes_no_row() -> None:
    whole = pd.DataFrame({"code": ["650502"], "to_code": ["650502"], "share": [1.0]})
    assert [row[:4] for row in rows_of(carried(XINXING, 2021, shares=whole))] == [
        ("650502", 2020, "伊州区", 100.0),
        ("650502", 2021, "伊州区", 95.0),
        ("659011", 2021, "新星市", 5.0),
    ]
    assert rows_of(carried(XINXING, 2020))[1] == ("650502", 2021, "伊州区", 100.0, (95 + 45) / 100)


def test_a_unit_made_of_parts_of_several_is_not_divided_by_population() -> None:
    """2023: 白杨市 was made of parts of three counties that went on."""
    rows = [(code, 2022, "", 10.0, 1.0) for code in ("654201", "654221", "654225")]
    rows += [(code, 2023, "", 9.0, 1.0) for code in ("654201", "654221", "654225")] + [("659012", 2023, "", 3.0, 1.0)]
    assert "白杨市 (659012) is made of parts of several units" in refused(rows, 2023, population="output").what
    joint = carried(rows, 2023, undivided="combine")
    assert [row[:4:3] for row in rows_of(joint)] == [("654201+654221+654225+659012", 30.0)] * 2


def test_land_that_went_to_a_unit_that_goes_on_stays_where_it_was_counted() -> None:
    """2006: 和田县 and 洛浦县 gave land to 和田市, all of which went on."""
    rows = [(code, year, "", 10.0, 1.0) for code in ("653201", "653221", "653224") for year in (2005, 2006)]
    found = carried(rows, 2006)
    assert [row[3] for row in rows_of(found)] == [10.0] * 6
    assert "transfer of land of 2006: 和田县 (653221) → 和田市 (653201)" in said(found)
    assert "each number stays with the unit for which it was counted" in said(found)
    given_up = pd.DataFrame({"code": ["653224"] * 2, "to_code": ["653224", "653201"], "share": [0.75, 0.25]})
    assert [row[3] for row in rows_of(carried(rows, 2006, shares=given_up))] == [12.5, 10, 10, 10, 7.5, 10]


def test_a_part_without_a_row_leaves_its_unit_out() -> None:
    found = carried(MIDONG[1:], 2010)
    assert [row[1] for row in rows_of(found)] == [2006, 2007]
    assert found.ledger == (Dropped("carry", message("ledger.carried_incomplete", year=2010), 1, 0),)
    assert "1 unit-years get no row" in said(found)
    assert "米东区 (650109) 2005 (米泉市 (652303))" in said(found)
    assert "no row can be carried to 2010" in refused(MIDONG[:1], 2010).what


def test_a_unit_that_was_made_of_nothing_recorded_is_left_out() -> None:
    rows = [("659005", 2015, "北屯", 1.0, 1.0), ("652302", 2015, "阜康", 2.0, 1.0)]
    found = carried(rows, 2005)
    assert [row[0] for row in rows_of(found)] == ["652302"]
    assert found.ledger == (Dropped("carry", message("ledger.carried_nowhere", year=2005), 1, 1),)


def test_missing_parts_make_sums_and_means_missing_and_are_counted() -> None:
    rows = [("652303", 2005, "", np.nan, 2.0), *MIDONG[1:]]
    found = carried(rows, 2010)
    assert np.isnan(found.frame["output"].iloc[0])
    assert np.isnan(found.frame["rate"].iloc[0])
    assert found.frame["output"].tolist()[1:] == [48.0, 64.0]
    assert "output is missing in 1 carried rows" in said(found)
    weightless = [("652303", 2005, "", 0.0, np.nan), *MIDONG[1:]]  # a rate of nothing
    assert carried(weightless, 2010).frame["rate"].iloc[0] == 4.0


def test_what_has_to_be_the_same_is_and_what_comes_first_is_found() -> None:
    of = dict(zip([row[:2] for row in MIDONG], [2010, 2008, 2010, 2008, 2008], strict=True))
    start = [of[row[:2]] for row in MIDONG]
    one = panel(MIDONG, start=start)
    with pytest.raises(DataError, match=re.escape("米东区 (650109) in 2005 (650108: 2008, 652303: 2010)")):
        ek.carry(one, to_year=2010, rules={**RULES, "start": "same"})
    early: dict[str, CarryRule] = {**RULES, "start": "earliest"}
    late: dict[str, CarryRule] = {**RULES, "start": "latest"}
    assert ek.carry(one, to_year=2010, rules=early).frame["start"].tolist() == [2008, 2008, 2008]
    assert ek.carry(one, to_year=2010, rules=late).frame["start"].tolist() == [2010, 2010, 2008]
    same: dict[str, CarryRule] = {**RULES, "start": "same"}
    north = ek.carry(panel(MIDONG, start="北疆"), to_year=2010, rules=same)
    assert north.frame["start"].tolist() == ["北疆"] * 3
    gaps = panel(MIDONG, start=[np.nan, 2008.0, 2008.0, 2008.0, 2008.0])
    for rules in (same, early, late):
        with pytest.raises(DataError, match="652303: missing"):
            ek.carry(gaps, to_year=2010, rules=rules)


@pytest.mark.parametrize(
    ("rules", "what"),
    [
        ({"name": "name", "output": "sum"}, "there is no rule for 'rate'"),
        ({**RULES, "rate": "mean"}, "the rule of 'rate' is 'mean', which is none"),
        ({**RULES, "rate": ek.mean_of("area")}, "there is no column 'area'"),
        ({**RULES, "area": "sum"}, "there is no column 'area'"),
        ({**RULES, "output": "same"}, "'output' is to weigh or to divide, and is not carried as a sum"),
        ({**RULES, "code": "name"}, "rules= names 'code', which is the unit or the time"),
        ({**RULES, "name": "sum"}, "'东山' is not a number"),
    ],
)
def test_rules_are_complete(rules: Any, what: str) -> None:
    assert what in refused(MIDONG, 2010, rules=rules).what


def test_what_cannot_be_carried_is_refused() -> None:
    error = refused([("652303", 2010, "米泉", 1.0, 1.0)], 2012)
    assert "the list of 2010 has no unit with code '652303'" in error.what
    assert "listed from 1996 to 2006" in error.remedy
    assert "resolve_column()" in error.remedy
    assert "regions=" in error.remedy
    assert "no list of regions for 1949" in refused(MIDONG, 1949).what
    assert "no list of regions for 1950" in refused([("652302", 1950, "", 1.0, 1.0)], 2010).what
    assert "the codes are not text" in refused([(652303, *row[1:]) for row in MIDONG[:1]], 2010).what
    frame = panel(MIDONG).frame
    quarters = frame.assign(year=frame["year"].astype("str") + "Q1")
    with pytest.raises(DataError, match="the periods are not years"):
        ek.carry(ek.Panel.from_frame(quarters, unit="code", time="year"), to_year=2010, rules=RULES)
    with pytest.raises(DataError, match="have no units to carry"):
        ek.carry(ek.Panel.from_frame(frame, unit=None, time="year"), to_year=2010, rules=RULES)
    cells = ek.Panel.from_frame(frame.assign(n=1), unit="code", time="year", counts="n")
    with pytest.raises(DataError, match="collapsed"):
        ek.carry(cells, to_year=2010, rules={**RULES, "n": "sum"})
    negative = [("652303", 2005, "", -1.0, 1.0), *MIDONG[1:]]
    assert "'output' is negative and can neither weigh nor divide" in refused(negative, 2010).what


def test_years_and_shares_of_another_kind_are_refused() -> None:
    for to_year in ("2010", 2010.0, True, None):
        with pytest.raises(DataError, match="is not a whole number"):
            ek.carry(panel(MIDONG), to_year=to_year, rules=RULES)  # type: ignore[arg-type]  # what an office may write
    of_numpy: Any = np.int64(2010)
    assert ek.carry(panel(MIDONG), to_year=of_numpy, rules=RULES) == carried(MIDONG, 2010)
    assert "shares is a dict" in refused(CHAOHU, 2012, shares={"code": ["341400"]}).what
    error = refused(CHAOHU, 2012, shares=CHAOHU_PARTS.assign(year=2010))  # the change was in 2011
    assert "shares are given for units that need not be divided here: 341400" in error.what
    negative = [("341400", 2009, "", -1.0, 1.0), *CHAOHU]
    assert "negative and can neither weigh nor divide" in refused(negative, 2012, population="output").what


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int64", "Int64", "int64[pyarrow]"])
def test_whole_numbers_are_added_exactly(dtype: Any) -> None:
    """100 + 100 does not fit eight bits, nor 2**53 + 1 a float."""
    large = 2**53 + 1 if "64" in dtype else 100
    one = panel(MIDONG, count=pd.array([large, 100, 3, 4, large], dtype=dtype))
    found = ek.carry(one, to_year=2010, rules={**RULES, "count": "sum"})
    assert found.frame["count"].tolist() == [large + 100, 7, large]
    assert found.frame["count"].dtype == np.int64
    parts = ek.carry(one, to_year=2006, rules={**RULES, "count": "sum"}, population="output")
    assert parts.frame["count"].dtype == np.float64


def counties(years: Iterable[int], provinces: str) -> list[tuple[Any, ...]]:
    """A row for each county of these provinces and years, and for each prefecture-level city without any."""
    draw, lists = np.random.default_rng(1), gazetteer()
    return [
        (one.code, year, "", draw.gamma(2.0), draw.normal())
        for year in years
        for one in lists.regions
        if one.code[:2] in provinces.split() and one.is_valid(year)
        if one.level in ("county", "xpcc") or lists.stands_for_county(one, year)
    ]


def test_cities_without_counties_are_counties_while_they_have_none() -> None:
    """东莞县 and 中山市 became cities without counties; 三亚市 had none until 2014; 东川市 became a district."""
    rows = counties((1984, 2010, 2016), "44 46 53 65")
    found = carried(rows, 2010, undivided="combine")
    value = {row[:2]: row[3] for row in rows}
    got = {row[:2]: row[3] for row in rows_of(found)}
    for then, now in (("442527", "441900"), ("449002", "442000")):
        assert got[now, 1984] == value[then, 1984]
        assert got[now, 2016] == value[now, 2016]
    assert got["460200", 2010] == value["460200", 2010]
    # its first districts, of 2014, make it up
    assert got["460200", 2016] == sum(value[code, 2016] for code in ("460202", "460203", "460204", "460205"))
    assert ("530100", 1984) not in got  # 昆明市 has counties
    back = carried(rows, 2016, undivided="combine")
    assert {code for code, *_ in rows_of(back) if re.fullmatch(r"\d{4}00", code)} == {
        "441900",
        "442000",
        "460300",
        "460400",
    }
    assert any(
        code == "650502" and year == 1984 for code, year, *_ in rows_of(carried(rows, 2020, undivided="combine"))
    )
    for one in (found, back):
        carried_on = one.frame["output"].sum()
        left = sum(line.rows for line in one.ledger)
        assert left < 60
        assert 0 < sum(value.values()) - carried_on < sum(sorted(value.values())[-left:])


@pytest.mark.parametrize(("province", "year", "to_year"), [("34", 1990, 1982), ("46", 2010, 1982), ("45", 2010, 1982)])
def test_no_part_of_a_row_is_lost_unsaid(province: str, year: int, to_year: int) -> None:
    """Parts of some of these counties were made of nothing recorded: what they are combined with is left out, and counted."""
    rows = [(code, year, "", 1.0, 1.0) for code, *_ in counties((year,), province)]
    found = carried(rows, to_year, undivided="combine")
    left = sum(line.rows for line in found.ledger)
    assert found.frame["output"].sum() == pytest.approx(len(rows) - left, rel=1e-12)
    assert left > 0
    assert "note.carried_partly" not in [note.key for note in found.notes]


def test_counties_of_chongqing_go_back_to_sichuan() -> None:
    rows = counties((1998,), "50")
    found = carried(rows, 1995, undivided="combine")
    assert not found.ledger
    assert found.frame["output"].sum() == pytest.approx(sum(row[3] for row in rows), rel=1e-12)
    assert {code[:2] for code in found.frame["code"]} == {"51"}


def test_a_unit_and_one_that_it_lies_in_are_refused_together() -> None:
    for whole, said_so in (
        ("652300", "米泉市 (652303) in 昌吉回族自治州"),
        ("650000", "东山区 (650108) in 新疆维吾尔自治区"),
    ):
        error = refused([*MIDONG, (whole, 2005, "", 90.0, 1.0)], 2010)
        assert f"{said_so} ({whole}), 2005" in error.what
        assert "keep one level" in error.remedy
    apart = [*MIDONG, ("650200", 2005, "克拉玛依", 90.0, 1.0)]  # none of its districts has a row
    assert ("650200", 2005, "克拉玛依市", 90.0, 1.0) in rows_of(carried(apart, 2010))


def test_many_changes_are_told_in_short() -> None:
    rows = counties(range(1995, 2023, 9), "13 32 35 44 45")
    for how in ({"undivided": "combine"}, {"undivided": "leave out"}, {"undivided": "combine", "population": "output"}):
        found = carried(rows, 2022, **how)
        for language in ("en", "zh"):
            assert len(found.notes) <= 20
            assert max(len(note.text(language)) for note in found.notes) < 1500
    told = [note for note in found.notes if note.key == "note.carried_changes"]
    by_population = [str(note) for note in told if "divided by output" in str(note)]
    assert re.match(
        r"\d+ changes of \d{4} to \d{4}, split: each unit is divided by output of its parts", by_population[-1]
    )
    assert any("年更名共" in note.text("zh") for note in told)


def test_carrying_twice_is_once() -> None:
    for rows, to_year, how in ((MIDONG, 2010, "refuse"), (MIDONG, 2006, "combine"), (CHAOHU, 2012, "combine")):
        once = carried(rows, to_year, undivided=how)
        assert once.boundaries == to_year
        assert ek.carry(once, to_year=to_year, rules=RULES) == once
        assert ek.carry(once.where("year", rows[0][1]), to_year=to_year, rules=RULES).boundaries == to_year
    with pytest.raises(DataError, match="carried to the boundaries of 2010 already"):
        ek.carry(carried(MIDONG, 2010), to_year=2006, rules=RULES)


def test_what_does_not_change_is_as_it_was() -> None:
    given_rows = panel([row for row in MIDONG if row[1] < 2007], count=[1, 2, 3, 4])
    before = given_rows.frame.copy()
    rules: dict[str, CarryRule] = {**RULES, "name": "same", "count": "sum"}
    found = ek.carry(given_rows, to_year=2005, rules=rules)
    pd.testing.assert_frame_equal(found.frame, before)
    pd.testing.assert_frame_equal(given_rows.frame, before)
    assert [note.key for note in found.notes] == ["note.carried"]
    whole = ek.carry(given_rows, to_year=2010, rules={**rules, "name": "name"})
    assert whole.frame["count"].dtype == before["count"].dtype


def test_provenance_ledger_notes_and_the_axis_go_along() -> None:
    one = replace(
        panel([("652302", 2000 + 2 * i, "", 1.0, 1.0) for i in range(4)]),
        provenance=(Provenance("a.csv", "0" * 64),),
        ledger=(Dropped("panel", message("ledger.where", column="a", equals=1), 3, 1),),
        notes=(message("note.sums", units="合计", column="code"),),
        origins={"output": "a.csv"},
    )
    kept = one.keep(np.array([True, False, True, True]), "panel", message("ledger.where", column="b", equals=1))
    found = ek.carry(kept, to_year=2010, rules=RULES)
    assert (found.provenance, found.ledger, found.origins) == (kept.provenance, kept.ledger, kept.origins)
    assert found.notes[0] == one.notes[0]
    assert found.periods == kept.periods
    assert found.position.tolist() == [0, 2, 3]


@cache
def prefectures(year: int) -> tuple[str, ...]:
    return tuple(one.code for one in gazetteer().regions if one.level == "prefecture" and one.is_valid(year))


def random_rows(seed: int, years: Iterable[int], lacking: float) -> list[tuple[Any, ...]]:
    draw = np.random.default_rng(seed)
    rows = [(code, year, "", draw.gamma(2.0), draw.normal()) for year in years for code in prefectures(year)]
    return [row for row in rows if draw.random() >= lacking]


@given(st.integers(0, 10**6), st.integers(1992, 2020), st.lists(st.integers(1992, 2020), min_size=1, max_size=3))
@inputs(8, 60)
def test_totals_stay_and_the_order_of_rows_does_not_matter(seed: int, to_year: int, years: list[int]) -> None:
    rows = random_rows(seed, sorted(set(years)), 0.0)
    found = carried(rows, to_year, undivided="combine")
    # Of the others the lists know no origin, or a county that lies in a prefecture, of which the panel has none.
    ends = {row[:2]: lineage(row[0], row[1], to_year).end for row in rows}
    known = [row for row in rows if any(one.level != "county" or one.prefecture is None for one in ends[row[:2]])]
    totals = pd.DataFrame(known).groupby(1)[3].sum()
    pd.testing.assert_series_equal(
        found.frame.groupby("year")["output"].sum(), totals, check_names=False, rtol=1e-12, check_index_type=False
    )
    assert sum(line.rows for line in found.ledger) == len(rows) - len(known)
    spent = pd.DataFrame(known).assign(spent=lambda one: one[3] * one[4]).groupby(1)["spent"].sum()
    after = (found.frame["output"] * found.frame["rate"]).groupby(found.frame["year"]).sum()
    np.testing.assert_allclose(after, spent, rtol=1e-9, atol=1e-9)
    assert found.frame.equals(found.frame.sort_values(["code", "year"]))
    shuffled = [rows[at] for at in np.random.default_rng(seed).permutation(len(rows))]
    assert rows_of(carried(shuffled, to_year, undivided="combine")) == rows_of(found)


@given(st.integers(0, 10**6), st.integers(1992, 2020), st.integers(1992, 2020))
@inputs(8, 60)
def test_units_get_what_lineage_says_belongs_together(seed: int, year: int, to_year: int) -> None:
    """Brute force: where no unit is divided on the way, a unit is the sum of those that lineage() finds behind it."""
    rows = random_rows(seed, [year], 0.03)
    value = {row[0]: row[3] for row in rows}
    try:
        found = carried(rows, to_year, undivided="leave out")
    except DataError:
        pytest.fail("some unit is whole in any year")
    got = dict(zip(found.frame["code"], found.frame["output"], strict=True))
    compared = 0
    for code in prefectures(to_year):
        behind = lineage(code, to_year, year)
        if not behind.end or any(lineage(one.code, year, to_year).end != (behind.start,) for one in behind.end):
            continue
        compared += 1
        parts = [one.code for one in behind.end]
        if all(part in value for part in parts):
            assert got[code] == pytest.approx(sum(value[part] for part in parts), rel=1e-12)
        else:
            assert code not in got
    assert compared > 200


@given(st.integers(0, 10**6), st.integers(1992, 2020))
@inputs(5, 40)
def test_rows_are_carried_or_counted(seed: int, to_year: int) -> None:
    rows = random_rows(seed, [1996, 2012], 0.05)
    for how in ("combine", "leave out"):
        found = carried(rows, to_year, undivided=how, rules={**RULES, "rate": "latest"})
        left = sum(line.rows for line in found.ledger)
        totals = pd.DataFrame(rows)[3].sum()
        assert found.frame["output"].sum() <= totals + 1e-9
        largest = pd.DataFrame(rows)[3].nlargest(left).sum()
        assert found.frame["output"].sum() >= totals - largest - 1e-9
        assert not found.frame.duplicated(["code", "year"]).any()


Lives = Mapping[str, tuple[int, int]]
Changes = Iterable[tuple[int, str, tuple[str, ...]]]


def invent(monkeypatch: pytest.MonkeyPatch, lives: Lives, changes: Changes) -> None:
    """Put invented lists in the place of China's: first and last year of each code, and what became of which."""
    units = {
        code: Region(code, f"unit {code}", "county", "990000", None, first, None if last == LAST else last)
        for code, (first, last) in lives.items()
    }
    successions = {
        (year, code): Succession(year, units[code], tuple(units[to] for to in becomes), (), "")
        for year, code, becomes in changes
    }
    lists = Gazetteer(tuple(units.values()), {code: (one,) for code, one in units.items()}, {}, {}, {}, {}, {})
    vars(lists).update(successions=successions, origins={})  # in the place of what is read when it is first asked for
    for module in ("boundaries", "carrying"):
        monkeypatch.setattr(f"evalkit.panels.{module}.gazetteer", lambda: lists)


def test_a_unit_with_a_part_of_unknown_origin_has_no_earlier_years(monkeypatch: pytest.MonkeyPatch) -> None:
    lives = {"990101": (1980, 2009), "990102": (2005, 2009), "990103": (2010, LAST)}
    invent(monkeypatch, lives, [(2010, "990101", ("990103",)), (2010, "990102", ("990103",))])
    rows = [("990101", 2004, "", 1.0, 1.0), ("990101", 2006, "", 1.0, 1.0), ("990102", 2006, "", 2.0, 1.0)]
    found = carried(rows, 2010)
    assert [row[:2] for row in rows_of(found)] == [("990103", 2006)]
    assert found.ledger == (Dropped("carry", message("ledger.carried_incomplete", year=2010), 1, 0),)


def test_a_part_that_arrives_nowhere_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    lives = {"990101": (1980, 2009), "990102": (2010, LAST), "990103": (2010, 2011)}
    invent(monkeypatch, lives, [(2010, "990101", ("990102", "990103")), (2012, "990103", ())])
    rows = [("990101", 2009, "", 8.0, 1.0), ("990102", 2010, "", 6.0, 1.0), ("990103", 2010, "", 2.0, 1.0)]
    found = carried(rows, 2015, population="output")
    assert [row[:4:3] for row in rows_of(found)] == [("990102", 6.0), ("990102", 6.0)]
    assert "1 rows are carried in part: of the rest no unit of 2015 is known" in said(found)
    assert found.ledger == (Dropped("carry", message("ledger.carried_nowhere", year=2015), 1, 1),)
    with pytest.raises(DataError, match="no unit has all of its parts"):
        carried(rows[:1], 2015, undivided="combine")


def test_what_is_kept_as_one_is_not_rounded(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = tuple(f"99010{i}" for i in range(1, 7))  # six sixths, added up, are less than one
    lives = {"990199": (1980, 2009)} | dict.fromkeys(parts, (2010, LAST))
    invent(monkeypatch, lives, [(2010, "990199", parts)])
    one = panel([("990199", 2009, "", 1.0, 1.0)], count=7)
    found = ek.carry(one, to_year=2010, rules={**RULES, "count": "sum"}, undivided="combine")
    assert found.frame["count"].tolist() == [7]
    assert found.frame["count"].dtype == np.int64


@given(st.integers(0, 10**6), st.integers(2000, 2008))
@inputs(25, 300)
def test_invented_histories_are_carried_as_their_land(seed: int, to_year: int) -> None:
    """Brute force: land in cells of known amounts, units as sets of cells; what a unit gets is what lies on its cells."""
    draw = np.random.default_rng(seed)
    amount = draw.gamma(2.0, size=12)
    codes = (f"99{number:04d}" for number in range(1, 10_000))
    land = {next(codes): frozenset(cells.tolist()) for cells in np.array_split(draw.permutation(12), 5)}
    lives, at, changes, shares = dict.fromkeys(land, (1980, LAST)), {2000: dict(land)}, [], []

    def total(cells: Iterable[int]) -> float:
        return float(sum(amount[cell] for cell in cells))

    for year in range(2001, 2009):
        unit = str(draw.choice(sorted(land)))
        cells, kind = sorted(land.pop(unit)), draw.choice(["rename", "merger", "split", "part"])
        before, after = {unit: frozenset(cells)}, {}
        if kind in ("split", "part") and len(cells) > 1:
            cut = int(draw.integers(1, len(cells)))
            after = {
                next(codes) if kind == "split" else unit: frozenset(cells[:cut]),
                next(codes): frozenset(cells[cut:]),
            }
        else:
            if kind == "merger" and len(land) > 1:
                other = str(draw.choice(sorted(land)))
                before[other] = land.pop(other)
            after = {next(codes): frozenset().union(*before.values())}
        land |= after
        lives |= {code: (lives[code][0], year - 1) for code in before if code not in after}
        lives |= {code: (year, LAST) for code in after if code not in before}
        changes += [(year, code, tuple(after)) for code in before]
        sources, targets = (before, after) if year <= to_year else (after, before)
        if len(targets) > 1:
            whole = {code: total(cells) for code, cells in sources.items()}
            shares += [(code, to, total(targets[to]) / whole[code], year) for code in sources for to in targets]
        at[year] = dict(land)
    rows = [(code, year, "", total(cells), 1.0) for year, units in at.items() for code, cells in units.items()]
    frame = pd.DataFrame(shares, columns=["code", "to_code", "share", "year"])
    with pytest.MonkeyPatch.context() as patch:
        invent(patch, lives, changes)
        found = carried(rows, to_year, shares=frame)
        joint = carried(rows, to_year, undivided="combine")
    expected = {(code, year): total(cells) for code, cells in at[to_year].items() for year in at}
    got = {(row[0], row[1]): row[3] for row in rows_of(found)}
    assert got == pytest.approx(expected, rel=1e-12)
    assert not found.ledger
    assert not joint.ledger
    for code, _, _, value, _ in rows_of(joint):
        assert value == pytest.approx(sum(total(at[to_year][one]) for one in code.split("+")), rel=1e-12)


def test_a_unit_that_ended_in_the_year_of_its_row_is_refused_unless_it_was_renamed() -> None:
    merged = [("310106", 2014, "", 1.0, 1.0), ("310108", 2014, "", 2.0, 1.0), ("310108", 2015, "", 2.0, 1.0)]
    with pytest.raises(
        DataError, match=r"闸北区 \(310108\) is in the list of 2014 and not in that of 2015: .* → 静安区"
    ):
        carried(merged, 2020)
    renamed = [("110228", 2014, "", 1.0, 1.0), ("110228", 2015, "", 2.0, 1.0), ("110118", 2016, "", 3.0, 1.0)]
    assert [row[:2] for row in rows_of(carried(renamed, 2020))] == [("110118", year) for year in (2014, 2015, 2016)]
