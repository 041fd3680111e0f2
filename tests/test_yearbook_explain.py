"""Explaining a yearbook file: what each row and column is taken for, whether it is read or refused, in both languages."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from evalkit.errors import ConfigError, SourceError
from evalkit.sources import Yearbook
from yearbook_files import Rows, book, put

ROWS: Rows = [
    ["7-1 各县市种植面积"],
    ["地区", "Region", "合计\nTotal", None, None, "比重"],
    [None, None, None, "小麦\nWheat", "棉花\nCotton", None],
    *([f"第{i}县", f"County {i}", 3 * i, i, 2 * i, 50] for i in range(1, 31)),
    ["昌吉市", "Changji", 9, "4x", 5, 50],
    ["注：不含兵团。"],
]
MERGED = ("A2:A3", "B2:B3", "C2:C3", "F2:F3")


def lines(text: object) -> list[str]:
    return [line.rstrip() for line in str(text).splitlines()]


def test_rows_columns_and_cells_are_told_apart(tmp_path: Path) -> None:
    path = book(tmp_path, {"7-1": MERGED}, **{"7-1": ROWS})
    units = {"合计": "亩", "合计 / 小麦": "亩", "合计 / 棉花": "亩", "比重": "%"}
    said = lines(Yearbook(path, year=2020, units=units).explain())
    assert said[:8] == [
        "年鉴.xlsx, sheet 7-1",
        "Table 1: rows 4 to 34 are regions, 124 values",
        "  A   names",
        "  B   translations or left out by the layout",
        "  C   合计, 亩, 2020",
        "  D   合计 / 小麦, 亩, 2020",
        "  E   合计 / 棉花, 亩, 2020",
        "  F   比重, %, 2020",
    ]
    roles = [line.split()[:2] for line in said[9:-1]]
    assert roles[:7] == [["title", "1"], ["header", "2"], ["header", "3"], *(["values", str(i)] for i in range(4, 8))]
    assert roles[7] == ["…", "rows"]
    assert "… rows 8 to 30 likewise" in said
    assert roles[-2:] == [["values", "34"], ["words", "35"]]
    assert "!4x" in next(line for line in said if line.startswith("values 34"))
    assert said[-1] == "1 cell is not placed, because it is neither a number nor a mark in place of one: 7-1!D34 '4x'"


def test_columns_of_the_grid_line_up(tmp_path: Path) -> None:
    path = book(tmp_path, {"7-1": MERGED}, **{"7-1": ROWS})
    said = lines(Yearbook(path).explain())
    grid = said[said.index(next(line for line in said if line.startswith("title"))) - 1 : -1]
    cells = [line for line in grid if line.startswith("values")]

    def place(line: str, part: str) -> int:  # Chinese characters are two columns wide
        before = line[: line.index(part)]
        return len(before) + len(re.findall("[\u2e80-\uffff]", before))

    column = place(grid[0], "B")
    assert {place(line, "C") for line in cells} == {column}


def test_what_is_refused_is_explained_with_the_refusal(tmp_path: Path) -> None:
    path = book(tmp_path, {"7-1": MERGED}, **{"7-1": ROWS})
    with pytest.raises(SourceError) as caught:
        Yearbook(path).load()
    said = lines(Yearbook(path).explain())
    assert said[0] == f"As it is, load() refuses: {caught.value}"
    assert "  C   合计, unit?, year?" in said


def test_a_page_without_a_table_says_why(tmp_path: Path) -> None:
    said = lines(Yearbook(book(tmp_path, 说明=[["编者说明"], ["本年鉴……"]])).explain())
    assert said[1:] == [
        "",
        "年鉴.xlsx, sheet 说明",
        "no table is read of it: no row of it is the name of a region followed by numbers",
        "           A",
        "not read 1 编者说明",
        "not read 2 本年鉴……",
    ]


def test_indicators_beside_the_rows_units_years_and_growth(tmp_path: Path) -> None:
    rows: Rows = [
        ["指标", "单位", "昌吉市", "比2019年±%", "阜康市"],
        ["粮食产量", "吨", 5, 1.5, 6],
        ["人口", "人", 7, 2.5, 8],
    ]
    said = lines(Yearbook(book(tmp_path, **{"2020年": rows})).explain(language="zh"))
    assert said[0] == "年鉴.xlsx，工作表2020年"
    assert said[1] == "表1：第2至3行为指标，共4个数值"
    assert said[2:7] == [
        "  A   名称",
        "  B   计量单位",
        "  C   昌吉市, 指标见行首, 2020",
        "  D   未读：'比2019年±%' in the header mixes a year with other words",
        "  E   阜康市, 指标见行首, 2020",
    ]
    assert said[-1].startswith("有2个单元格未能归位")


def test_text_of_a_file_is_data_in_html(tmp_path: Path) -> None:
    path = put(
        tmp_path, "5-1 <b>2019年</b>各县市产量,,\n单位：吨,,\n地区,<script>alert(1)</script>粮食,棉花\n昌吉市,1,2\n"
    )
    shown = Yearbook(path).explain()._repr_html_()
    assert "<script>" not in shown
    assert "&lt;script&gt;" in shown


def test_an_unknown_language_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="language 'fr' is unknown"):
        Yearbook(book(tmp_path, s=[["注"]])).explain(language="fr")
