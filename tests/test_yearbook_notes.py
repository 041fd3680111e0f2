"""Notes of yearbook tables: what qualifies numbers, and of which indicators a note says it."""

from __future__ import annotations

import pytest

from evalkit.sources.files.xlsx import Grid
from evalkit.sources.yearbook.notes import attach_notes, join_lines, named_in
from evalkit.sources.yearbook.pages import Page
from evalkit.sources.yearbook.words import qualifies, read_note, take_marks

FURNITURE = [
    *("续表", "(续)", "（续表 2）", "续表1", "5-4 续表", "3-6 续表1 continued", "接上表", "转下页", "continued"),
    *("125", "· 125 ·", "第 12 页", "— 7 —", "page 12"),
    *("item", "unit,100 million yuan", "piece", "Note: the ratio has been revised."),
    *(
        "3-11 各地区农用化肥施用量",
        "表2.8 各区、县计划生育基本情况",
        "地 区",
        "单位：万元",
        "2018年",
        "（2019-2020年）",
        "",
    ),
]
NOTES = [
    *(
        "按折纯法计算",
        "2018年起含兵团",
        "本表按当年价格计算",
        "2005年、2015年为1%人口抽样调查样本数据",
        "续建项目不计入",
    ),
    *("0-14岁人口为抽样推算", "R&D经费含大中型企业", "页岩气产量为折算数"),
]


@pytest.mark.parametrize("words", FURNITURE)
def test_furniture_says_nothing_of_numbers(words: str) -> None:
    assert not qualifies(words)
    assert read_note(words) == ""


@pytest.mark.parametrize("words", NOTES)
def test_what_is_said_of_numbers_qualifies_them(words: str) -> None:
    assert qualifies(words)
    assert read_note(f"注：{words}。") == f"{words}。"


MACHINES = ("农用机械总动力", "拖拉机", "拖拉机配套农具", "水泵")
NAMED = [
    ("2016年起拖拉机统计口径变化", MACHINES, ("拖拉机",)),
    ("2016年起拖拉机配套农具口径变化", MACHINES, ("拖拉机配套农具",)),
    ("拖拉机和水泵的口径变化", MACHINES, ("拖拉机", "水泵")),
    ("拖拉机配套农具及拖拉机口径变化", MACHINES, ("拖拉机", "拖拉机配套农具")),
    ("2016年起统计口径变化", MACHINES, MACHINES),
    ("本表数据含兵团的拖拉机", MACHINES, MACHINES),
    ("各项均不含农垦的水泵", MACHINES, MACHINES),
    ("与58.8千瓦及以上拖拉机配套", MACHINES, ("拖拉机",)),
    ("人均指标按常住人口计算", ("常住人口", "人均地区生产总值"), ("常住人口", "人均地区生产总值")),
    ("工业总产值不含个体户", ("工业总产值", "个体户"), ("工业总产值",)),
    ("R&D经费与国内生产总值之比已修订", ("R&D经费", "投入强度"), ("R&D经费", "投入强度")),
    ("发明专利口径变化", ("专利 / 发明专利", "专利 / 外观设计"), ("专利 / 发明专利",)),
    ("专利口径变化", ("专利 / 发明", "专利 / 外观", "商标"), ("专利 / 发明", "专利 / 外观")),
    ("专利申请数中发明专利为估计数", ("专利申请数", "专利申请数 / 发明专利"), ("专利申请数 / 发明专利",)),
    ("女性数为估计", ("人口 / 男", "人口 / 女"), ("人口 / 男", "人口 / 女")),
    ("合计不等于各部分之和", ("人口 / 合计", "户数"), ("人口 / 合计", "户数")),
    ("化 肥施用量为折纯量", ("化肥施用量(万吨)", "农药"), ("化肥施用量(万吨)",)),
]


@pytest.mark.parametrize(("note", "indicators", "concerned"), NAMED)
def test_a_note_concerns_what_it_names(note: str, indicators: tuple[str, ...], concerned: tuple[str, ...]) -> None:
    assert named_in(note, indicators) == concerned


def test_each_sentence_is_attached_by_itself() -> None:
    found = attach_notes(["本表按折纯法计算。拖拉机口径2016年变化；水泵为估计数。"], MACHINES)
    assert found["拖拉机"] == ("本表按折纯法计算", "拖拉机口径2016年变化")
    assert found["水泵"] == ("本表按折纯法计算", "水泵为估计数")
    assert found["农用机械总动力"] == ("本表按折纯法计算",)
    assert attach_notes([], MACHINES) == dict.fromkeys(MACHINES, ())


def test_a_note_over_several_lines_is_one() -> None:
    """A name that the line breaks is found only when the lines are joined; a note that begins anew is another one."""
    lines = [
        "2016年起，拖拉",
        "机口径变化。",
        "2018年起水泵口径变化",
        "注：含兵团",
        "2.按折纯法计算",
        "资料来源：统计局",
    ]
    joined = join_lines(lines)
    assert joined == [
        "2016年起，拖拉机口径变化。",
        "2018年起水泵口径变化",
        "注：含兵团",
        "2.按折纯法计算",
        "资料来源：统计局",
    ]
    assert attach_notes(joined[:1], MACHINES)["水泵"] == ()
    assert attach_notes(joined[:1], MACHINES)["拖拉机"] == ("2016年起，拖拉机口径变化",)


def test_numbered_notes_without_marks_are_a_list_and_those_with_marks_explain_them() -> None:
    def listed(name: str) -> tuple[str, ...]:
        cells = {1: {1: "地区", 2: name}, 2: {1: "甲县", 2: 5.5}, 3: {1: "注：1. 按折纯法计算。2. 含兵团。"}}
        return take_marks(Page("f.xls", "1", Grid(cells, ()))).listed

    assert listed("化肥") == ("按折纯法计算", "含兵团")
    assert listed("化肥¹") == ("含兵团",)
    assert listed("化肥1)") == ("含兵团",)
