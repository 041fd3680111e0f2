"""Yearbook: every form of file that is read, told by its bytes, and every bad one with its what, where and remedy."""

from __future__ import annotations

import datetime as dt
import gzip
import io
import re
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msoffcrypto.format.ooxml
import openpyxl
import openpyxl.chart
import openpyxl.drawing.image
import pandas as pd
import pytest
from openpyxl.cell.rich_text import CellRichText, TextBlock
from openpyxl.cell.text import InlineFont
from PIL import Image

from biff8 import DEFAULT_PASSWORD, Formatted, Formula, Raised, Rows, XlsSheet, ole2, record, xls, xls_bytes
from evalkit.sources.files import bytes as file_bytes
from evalkit.sources.files.bytes import open_compound
from evalkit.sources.files.xls import LegacyWorkbook
from evalkit.sources.files.xlsx import Grid, Workbook
from evalkit.sources.yearbook import pages
from test_yearbook import EXPORT, INCOME, INCOME_READ, INPUTS, INPUTS_MERGED
from yearbook_files import book, edited, load, notes, page, put, read, refused, says, texts, unplaced

pytestmark = pytest.mark.filterwarnings("error")

UNCALCULATED = "the cell holds a formula whose value was not calculated when the file was saved"

MERGED = [(0, 0, 0, 4), (2, 3, 0, 0), (2, 2, 1, 2), (2, 2, 3, 4)]


def values(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.drop(columns=["file", "sheet"]).reset_index(drop=True)


# --- .xls ---


@pytest.mark.parametrize(
    ("password", "options"), [("", {}), (DEFAULT_PASSWORD, {}), (DEFAULT_PASSWORD, {"crypto_api": True})]
)
def test_an_xls_gives_what_the_same_xlsx_gives(tmp_path: Path, password: str, options: dict[str, bool]) -> None:
    path = xls(tmp_path, {"收入": XlsSheet(INCOME), "投入": XlsSheet(INPUTS, merged=MERGED)}, password, **options)
    same = book(tmp_path, {"投入": INPUTS_MERGED}, 收入=INCOME, 投入=INPUTS)
    pd.testing.assert_frame_equal(values(load(path)), values(load(same)))
    assert load(path).index.tolist() == load(same).index.tolist()
    assert ("the file is encrypted under the default password of Excel" in notes(path)) == bool(password)
    assert "收入!A7: 注：2019年起含兵团。" in notes(path)
    renamed = path.rename(tmp_path / "年鉴.csv")  # the name of a file says nothing
    pd.testing.assert_frame_equal(values(load(renamed)), values(load(same)))


def test_numbers_formulas_and_superscripts_of_an_xls(tmp_path: Path) -> None:
    rows = edited(
        INCOME, C4=Formula(18000.5), D4=-3, C5=2.0**40, D5=Formula("…"), A6=Raised("木垒县", "1"), C6=Formula("1.5")
    )
    rows[6] = ["注：1.含兵团。"]
    frame = load(xls(tmp_path, {"s": XlsSheet(rows)}))
    assert frame["value"].tolist()[:3] == [18000.5, -3, 2.0**40]
    assert frame["mark"].tolist() == ["", "", "", "below_unit", "", "none"]
    assert frame["value"].tolist()[4] == 1.5
    assert frame["region"].tolist()[4:] == ["木垒县"] * 2
    assert frame["note"].tolist() == [""] * 4 + ["含兵团"] * 2


@pytest.mark.parametrize("form", ["xls", "xlsx", "html"])
def test_a_raised_figure_is_no_digit_of_the_number_before(tmp_path: Path, form: str) -> None:
    if form == "xls":
        path = xls(tmp_path, {"s": XlsSheet(edited(INCOME, D5=Raised("2300", "1")))})
    elif form == "html":
        path = put(
            tmp_path, page([["地区", "2018年", "2019年"], ["昌吉市", "5", "2300<sup>1</sup>"]], above="5-3 收入(元)")
        )
    else:
        path = book(tmp_path, s=edited(INCOME, D5="2300"))
        workbook = openpyxl.load_workbook(path)
        workbook["s"]["D5"] = CellRichText("2300", TextBlock(InlineFont(vertAlign="superscript"), "1"))
        workbook.save(path)
    cell = "C3" if form == "html" else "D5"
    assert unplaced(path) == {cell: "it is neither a number nor a mark in place of one"}
    assert texts(path) == {cell: "2300¹"}
    assert read(path)[cell] == "unread"


def test_what_an_xls_hides_is_noted(tmp_path: Path) -> None:
    sheets = {
        "a": XlsSheet(INCOME, hidden_rows=(4,), hidden_columns=(3,)),
        "b": XlsSheet(INCOME, visible=False),
        "c": XlsSheet([], chart=True),
        "d": XlsSheet([]),
    }
    path = xls(tmp_path, sheets)
    assert set(load(path)["sheet"]) == {"a"}
    said = notes(path)
    for part in (
        "hidden sheet 'b' was not read",
        "1 hidden rows of sheet 'a' were read: 5",
        "hidden columns of sheet 'a' were read: D",
    ):
        assert part in said
    assert "sheet 'b' is hidden" in notes(path, sheets=("b",))
    says(refused(path, sheets=("e",)), "there is no sheet 'e'", "年鉴.xls", "known are: a, b, d")


@pytest.mark.parametrize(
    ("cell", "text", "why", "remedy"),
    [
        ("#REF!", "#REF!", "the cell holds the error #REF!", "correct the cell"),
        ("#DIV/0!", "#DIV/0!", "the cell holds the error #DIV/0!", "correct the cell"),
        (Formula(None), "?", UNCALCULATED, "save it again"),
        (Formula(5.0, flags=2), "?", UNCALCULATED, "save it again"),
        (
            652301199001011232.0,
            "6.52301199001011e+17",
            "the cell holds a whole number of 18 digits, and Excel has kept only its first 15 digits",
            "as text",
        ),
        (Formatted(43466.0, "yyyy-mm-dd"), "2019-01-01", "it is neither a number nor a mark in place of one", ""),
        (Formatted(0.5, "h:mm"), "0.5", "the cell holds a time of day or a duration", "show the cell as a number"),
        (True, "True", "it is neither a number nor a mark in place of one", ""),
    ],
)
def test_cells_of_an_xls_that_are_no_numbers_are_listed(
    tmp_path: Path, cell: Any, text: str, why: str, remedy: str
) -> None:
    path = xls(tmp_path, {"s": XlsSheet(edited(INCOME, D5=cell))})
    assert unplaced(path) == {"D5": why}
    assert texts(path) == {"D5": text}
    assert read(path) == {**INCOME_READ, "D5": "unread"}
    assert remedy in refused(path, strict=True).remedy


def test_all_bad_cells_of_a_workbook_are_listed(tmp_path: Path) -> None:
    why = {"C5": "the cell holds the error #REF!", "D5": "the cell holds the error #DIV/0!", "D6": UNCALCULATED}
    bad = xls(tmp_path, {"s": XlsSheet(edited(INCOME, C5="#REF!", D5="#DIV/0!", D6=Formula(None)))})
    for path in (bad, book(tmp_path, s=edited(INCOME, C5="#REF!", D5="#DIV/0!", D6="=1+1"))):
        assert unplaced(path) == why
        assert read(path) == {**INCOME_READ, **dict.fromkeys(why, "unread")}


def test_a_workbook_without_any_value_is_refused_by_cell(tmp_path: Path) -> None:
    many: Rows = [["#N/A"] * 30]
    for path in (xls(tmp_path, {"s": XlsSheet(many)}), book(tmp_path, s=many)):
        says(refused(path), "the cell holds the error #N/A; 19 or more further cells", "s!A1", "correct the cell")
    rows = edited(INCOME, **{f"{column}{row}": "=1+1" for column in "CD" for row in (4, 5, 6)})
    error = refused(book(tmp_path, s=rows))  # all numbers are formulas that no program has calculated
    says(error, "was not calculated when the file was saved; 5 further cells", "年鉴.xlsx, s!C4", "save it again")
    rows = edited(INCOME, **{f"{column}{row}": "?" for column in "CD" for row in (4, 5)}, C6="?", D6="l")
    says(refused(book(tmp_path, s=rows)), "'?', s!C6 '?', s!D6 'l'", "年鉴.xlsx", 'layout="…"')
    error = refused(book(tmp_path, s=edited(INCOME, D3="2018")))  # every value contradicts another one
    says(error, "stands in s!D4 as well: s!C4 '18000'", "年鉴.xlsx", "[[table.correct]]")
    assert "strict" not in error.remedy


def test_a_sheet_that_was_saved_uncalculated(tmp_path: Path) -> None:
    rows = edited(INCOME, D5=Formula(5.0))
    assert read(xls(tmp_path, {"s": XlsSheet(rows)})) == {**INCOME_READ, "D5": 5}
    path = xls(tmp_path, {"s": XlsSheet(rows, uncalculated=True)})
    assert unplaced(path) == {"D5": UNCALCULATED}
    assert read(path) == {**INCOME_READ, "D5": "unread"}
    assert "save it again" in refused(path, strict=True).remedy


def test_dates_count_from_1904_where_the_workbook_says_so(tmp_path: Path) -> None:
    rows = edited(INCOME, D5=Formatted(42004.0, "yyyy-mm-dd"))
    path = xls(tmp_path, {"s": XlsSheet(rows)}, epoch_1904=True)
    assert unplaced(path) == {"D5": "it is neither a number nor a mark in place of one"}
    assert texts(path) == {"D5": "2019-01-01"}


def test_a_long_xls_with_texts_over_several_records(tmp_path: Path) -> None:
    rows = [*INCOME[:6], *([f"第{i}个长长的县名字", 652400 + i, str(i), "…"] for i in range(1, 1500)), *INCOME[6:]]
    frame = load(xls(tmp_path, {"s": XlsSheet(rows)}, DEFAULT_PASSWORD))
    assert len(frame) == 6 + 2 * 1499
    assert frame["value"].tolist()[6::2] == list(range(1, 1500))


# --- bad .xls ---


def test_another_password(tmp_path: Path) -> None:
    path = xls(tmp_path, {"s": XlsSheet(INCOME)}, "123456")
    says(refused(path), "protected by a password that is not the default one", "年鉴.xls", "without a password")


def test_a_cut_off_xls_is_refused_wherever_it_is_cut(tmp_path: Path) -> None:
    whole = xls_bytes({"s": XlsSheet(INCOME)})
    for length in (9, 100, 511, 513, 2000, 4096, len(whole) - 513, len(whole) - 1024):
        says(refused(put(tmp_path, whole[:length])), "cut off or damaged", "export.csv", "download or copy it again")


def test_sheets_that_are_not_where_the_workbook_says_are_refused(tmp_path: Path) -> None:
    whole = xls_bytes({"s": XlsSheet(INCOME), "t": XlsSheet(INCOME)})
    first, second = (whole.index(b"\1\0" + name) - 6 for name in (b"s", b"t"))
    for start, what in (
        (struct.pack("<I", 8), "ends before its last sheet"),
        (whole[first : first + 4], "do not stand one after the other"),
    ):
        moved = bytearray(whole)
        moved[second : second + 4] = start
        says(refused(put(tmp_path, bytes(moved))), what, "export.csv", "download")
    long = bytearray(whole)
    at = long.rindex(struct.pack("<HH", 0x23E, 18))
    long[at + 2 : at + 4] = struct.pack("<H", 60_000)
    says(refused(put(tmp_path, bytes(long))), "ends in the middle of a record", "export.csv", "download")


def test_an_xls_that_would_fill_the_memory_is_refused(tmp_path: Path) -> None:
    whole = bytearray(xls_bytes({"s": XlsSheet(INCOME)}))
    at = whole.index(struct.pack("<H", 0xFC), 512)
    whole[at + 8 : at + 12] = struct.pack("<I", 2**31 - 1)
    says(refused(put(tmp_path, bytes(whole))), "more texts than it can hold", "export.csv", "download")
    header = bytearray(xls_bytes({"s": XlsSheet(INCOME)}))
    header[44:48] = struct.pack("<I", 2**31)
    says(refused(put(tmp_path, bytes(header))), "larger than the file", "export.csv", "download")


@pytest.mark.parametrize(
    ("streams", "what"),
    [
        (("WordDocument",), "a Word document (.doc)"),
        (("Current User", "PowerPoint Document"), "a PowerPoint presentation (.ppt)"),
        (("Book",), "without a workbook of Excel 97"),
        (("Contents",), "without a workbook of Excel 97"),
    ],
)
def test_other_ole2_files_named_xls(tmp_path: Path, streams: tuple[str, ...], what: str) -> None:
    path = tmp_path / "年鉴.xls"
    path.write_bytes(ole2(bytes(5000), *streams))
    says(refused(path), what, "年鉴.xls", ".xlsx")


def test_an_older_workbook_in_a_stream_of_the_new_name(tmp_path: Path) -> None:
    stream = record(0x809, struct.pack("<HHHH", 0x500, 5, 0, 0)) + record(0x0A)
    says(refused(put(tmp_path, ole2(stream, "Workbook"))), "older than Excel 97", "export.csv", "save it as .xlsx")


# --- .xlsx under a password ---


def protect(path: Path, password: str) -> Path:
    plain, sealed = io.BytesIO(path.read_bytes()), io.BytesIO()
    msoffcrypto.format.ooxml.OOXMLFile(plain).encrypt(password, sealed)
    path.write_bytes(sealed.getvalue())
    return path


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_document_type_in_the_description_of_the_encryption_is_refused(tmp_path: Path, encoding: str) -> None:
    """It declares nothing here."""
    xml = "<!DOCTYPE encryption><encryption/>".encode(encoding)
    stream = struct.pack("<HHI", 4, 4, 0x40) + xml + " ".encode(encoding)[-2:] * 2500
    says(
        refused(put(tmp_path, ole2(stream, "EncryptionInfo"))),
        "declares a document type",
        "export.csv",
        "save it as .xlsx",
    )


def test_an_xlsx_under_the_default_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = book(tmp_path, s=INCOME)
    plain = load(path)
    path = protect(path, DEFAULT_PASSWORD)
    assert load(path).equals(plain)
    assert "encrypted under the default password" in notes(path)
    monkeypatch.setattr(file_bytes, "_MOST_ROUNDS", 1000)
    says(refused(path), "hashed more often than Excel does", "年鉴.xlsx", "download")
    path = protect(book(tmp_path, s=INCOME), "123456")
    monkeypatch.undo()
    says(refused(path), "password that is not the default one", "年鉴.xlsx", "without a password")


# --- web pages ---

SPANS = {(0, 0): 'rowspan="2"', (0, 1): 'colspan="2"', (0, 3): "colspan=2"}
WEB: Rows = [
    ["地区", "农药使用量(吨)", None, "化肥施用量<br>（万吨）"],
    [None, "2019年", "2020&nbsp;年", "2019年", "2020年"],
    ["昌 吉 市", "10", "11", "1.5", "<b>1,001.6</b>"],
    ["木垒县", "20", "&nbsp;", "…", "-"],
]


@pytest.mark.parametrize(
    ("charset", "encoding", "read_as"),
    [
        ("utf-8", "utf-8", ""),
        ("gb2312", "gb18030", "GB18030"),
        ("gb2312", "utf-8", ""),  # what pages say of themselves is often wrong
        ("utf-8", "gb18030", "GB18030"),
        ("utf-8", "utf-8-sig", ""),
        ("utf-16", "utf-16", ""),
    ],
)
def test_a_web_page_named_xls(tmp_path: Path, charset: str, encoding: str, read_as: str) -> None:
    path = tmp_path / "页.xls"
    content = page(WEB, above="中国2020年投入", below="摘编自《年鉴》", charset=charset, spans=SPANS)
    path.write_bytes(content.encode(encoding))
    frame = load(path)
    assert list(frame[["region", "year", "indicator", "unit"]].itertuples(index=False, name=None))[:4] == [
        ("昌吉市", 2019, "农药使用量", "吨"),
        ("昌吉市", 2020, "农药使用量", "吨"),
        ("昌吉市", 2019, "化肥施用量", "万吨"),
        ("昌吉市", 2020, "化肥施用量", "万吨"),
    ]
    assert frame["value"].tolist()[:5] == [10, 11, 1.5, 1001.6, 20]
    assert frame["mark"].tolist()[5:] == ["missing", "below_unit", "none"]
    assert frame["cell"].tolist()[:4] == ["B4", "C4", "D4", "E4"]  # below the title and two rows of the header
    assert "A6: 摘编自《年鉴》" in notes(path)
    assert (f"the text was read as {read_as}" in notes(path)) == bool(read_as)


def test_a_web_page_in_traditional_characters(tmp_path: Path) -> None:
    content = page([["縣市", "2019年"], ["甲縣", "1"]], above="2-1 產量(吨)", charset="big5").replace("吨", "噸")
    content = content.replace("以上这行设定本网页为excel格式的网页", "x")
    path = put(tmp_path, content, "big5")
    frame = load(path, units={"產量(噸)": "吨"})
    assert (frame["region"].tolist(), frame["value"].tolist()) == (["甲縣"], [1])
    assert "the text was read as BIG5" in notes(path, units={"產量(噸)": "吨"})


def test_a_page_with_titles_units_and_tables_in_tables(tmp_path: Path) -> None:
    inner = page(WEB, spans=SPANS)
    inner = inner[inner.index("<table") : inner.index("</table>") + 8].replace("(吨)", "").replace("<br>（万吨）", "")
    content = (
        '<?xml version="1.0" encoding="utf-8"?><!DOCTYPE html><html><body><script>var t = "<table>";</script>'
        f"<table><tr><td><p>5-3 各县市投入</p><p>单位：吨</p></td></tr><tr><td>{inner}</td></tr></table>"
        "<p>注：含<i>兵团</i>。</p></body></html>"
    )
    frame = load(put(tmp_path, content))
    assert frame["value"].tolist()[:5] == [10, 11, 1.5, 1001.6, 20]
    assert set(frame["unit"]) == {"吨"}
    assert set(frame["note"]) == {"含兵团"}
    assert frame["cell"].tolist()[0] == "B5"


def test_a_merged_name_and_hidden_parts_of_a_web_page(tmp_path: Path) -> None:
    rows: Rows = [
        ["地区", "年份", "产量(吨)"],
        ["昌吉市", "2019年", "1"],
        [None, "2020年", "2"],
        ["木垒县", "2019年", "3"],
    ]
    content = page(rows, above="5-3 产量", spans={(1, 0): "rowspan=2"}).replace(
        "<table", "<table><col span=2><col style='display:none'", 1
    )
    content = content.replace("<tr><td >木", "<tr style='display: none'><td >木")
    frame = load(put(tmp_path, content))
    assert list(frame[["region", "year", "value"]].itertuples(index=False, name=None)) == [
        ("昌吉市", 2019, 1),
        ("昌吉市", 2020, 2),
        ("木垒县", 2019, 3),
    ]
    said = notes(put(tmp_path, content))
    assert "1 hidden rows" in said
    assert "1 hidden columns" in said


@pytest.mark.parametrize(
    ("content", "what", "remedy"),
    [
        (page(WEB).partition("木垒县")[0], "cut off: a table in it does not end", "download it again"),
        ("<html><body><p>错误</p></body></html>", "without a table", "save the table"),
        ("<html><frameset><frame src='a.htm'></frameset></html>", "only names others", "the page with the table"),
        (
            '<?xml version="1.0"?><?mso-application progid="Excel.Sheet"?>'
            '<Workbook xmlns="urn:schemas-microsoft-com:office:spreadsheet"><Worksheet><Table/></Worksheet></Workbook>',
            "the XML of Excel 2003",
            "save it as .xlsx",
        ),
        (page(WEB, spans={(0, 1): "colspan=100000000"}), "colspan='100000000' does not say", ".xlsx"),
        (page(WEB, spans={(0, 1): "rowspan=0"}), "rowspan='0' does not say", ".xlsx"),
        (page([["x"] * 3], spans={(0, 0): "colspan=1000"}), "more columns than a sheet", ".xlsx"),
        ("<table><tr><td>1</td></tr><td>2</td></table>" + "<div>" * 300 + "<table></table>", "not read", ".xlsx"),
        ("<table><tr><td>1</td></tr></table><table><td>2</td></table>", "has 2 cells, of which 1", ".xlsx"),
        ("<html><!-- <table></table>", "without a table", "save the table"),
    ],
)
def test_web_pages_that_are_refused(tmp_path: Path, content: str, what: str, remedy: str) -> None:
    says(refused(put(tmp_path, content)), what, "export.csv", remedy)


# --- text ---


def test_the_separator_is_that_of_most_lines(tmp_path: Path) -> None:
    content = (
        "5-3 收入,支出,和,其他(元)\n地区\t2018年\t2019年\n昌吉市\t1,001\t1,002\n木垒县\t\t…\n注：甲,乙,丙,丁,戊,己\n"
    )
    for encoding in ("utf-8-sig", "utf-16", "gb18030"):
        frame = load(put(tmp_path, content, encoding))
        assert frame["value"].tolist()[:2] == [1001, 1002]
        assert frame["mark"].tolist()[2:] == ["missing", "below_unit"]


def test_fields_that_end_with_a_tab_and_a_comma(tmp_path: Path) -> None:
    """As a site writes them; a title, notes, empty fields and thousands with a comma do not change it."""
    lines = [["5-3 农药使用量,按地区"], ["单位：吨"], ["地区", "2018年", "2019年"], ["昌吉市", "1,234.5", "7.25"]]
    lines += [["木垒县", "", "3"], ["玛纳斯县", "4", "5"], ["奇台县", "6", "7"], ["注：甲,乙,丙,丁"]]
    ends = "".join("".join(f"{field}\t," for field in line) + "\n" for line in lines)
    between = "".join("\t,".join(line) + "\r\n" for line in lines)
    quoted = "".join("".join(f'"{field}"\t,' for field in line) + "\n" for line in lines)
    plain = load(put(tmp_path, "".join("\t".join(line) + "\n" for line in lines)))
    assert plain["value"].tolist()[:2] == [1234.5, 7.25]
    for content in (ends, between, quoted):
        for encoding in ("utf-8-sig", "gb18030"):
            pd.testing.assert_frame_equal(load(put(tmp_path, content, encoding)), plain)


@pytest.mark.parametrize(
    ("content", "cells"),
    [
        ("甲,乙,地区\t2018年\n甲,乙,昌吉市\t1\n甲,乙,木垒县\t2\n", {1: "甲,乙,昌吉市", 2: "1"}),
        ("代码\t,地区,2018年\n652301\t,昌吉市,1\n652328\t,木垒县,2\n", {1: "652301", 2: "昌吉市", 3: "1"}),
        ("代码\t,2018年,2019年\n652301\t,101,102\n652328\t,201,202\n", {1: "652301", 2: "101", 3: "102"}),
        ("地区\t,2018年\n昌吉市\t,1\n木垒县\t,2\n", {1: "昌吉市", 2: "1"}),
    ],
)
def test_a_tab_is_taken_before_a_comma_but_not_where_it_stands_behind_codes(
    tmp_path: Path, content: str, cells: dict[int, str]
) -> None:
    assert pages.read_pages(put(tmp_path, content), "f", ()).pages[0].grid.cells[2] == cells


# --- other files under the name of a yearbook ---


@pytest.mark.parametrize(
    ("data", "what", "remedy"),
    [
        (b"", "the file is empty", "download it again"),
        (b"%PDF-1.7\n1 0 obj", "a PDF document, which holds pages and no cells", "Excel edition of the publisher"),
        (b"CAJ\0\0\0", "a document of CNKI (CAJ)", "Excel edition of the publisher"),
        (b"HN\0\0\xc8", "a document of CNKI (CAJ)", "Excel edition of the publisher"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "a picture", "OCR"),
        (b"\xff\xd8\xff\xe0\0\x10JFIF", "a picture", "OCR"),
        (b"GIF89a\1\0", "a picture", "OCR"),
        (b"II*\0\x08\0\0\0", "a picture", "OCR"),
        (b"MM\0*\0\0\0\x08", "a picture", "OCR"),
        (b"RIFF\x24\0\0\0WEBPVP8 ", "a picture", "OCR"),
        (b"BM\x36\n\0\0\0\0\0\0\x36\0", "a picture", "OCR"),
        (b"\0\0\0\x18ftypheic", "a picture", "OCR"),
        (b"{\\rtf1\\ansi x}", "a Word document in rich text", "save it as .xlsx"),
        (b"MIME-Version: 1.0\nContent-Type: multipart/related", "a web archive (MHTML)", "save it as .xlsx"),
        (b"\x09\x08\x08\x00\x00\x05\x05\x00", "older than Excel 97", "save it as .xlsx"),
        (b"Rar!\x1a\x07\x01\x00", "a RAR archive", "unpack it"),
        (b"\x00\x01\x02", "NUL character", "CSV UTF-8"),
    ],
)
def test_strangers_are_named(tmp_path: Path, data: bytes, what: str, remedy: str) -> None:
    path = tmp_path / "年鉴.xls"
    path.write_bytes(data)
    says(refused(path), what, "年鉴.xls", remedy)


@pytest.mark.parametrize(
    ("part", "what", "remedy"),
    [
        ("word/document.xml", "a Word document (.docx)", "copy its table into Excel"),
        ("ppt/presentation.xml", "a PowerPoint presentation (.pptx)", "copy its table into Excel"),
        ("xl/workbook.bin", "a binary workbook (.xlsb)", "open it in Excel, and save it as .xlsx"),
        ("content.xml", "an OpenDocument file", "open it in Excel, and save it as .xlsx"),
        ("Index/Document.iwa", "Apple Numbers", "export it for Excel"),
        ("other.txt", "a zip file, not an .xlsx workbook; it holds 'other.txt'", "unpack it"),
    ],
)
def test_other_zip_files_are_named(tmp_path: Path, part: str, what: str, remedy: str) -> None:
    path = tmp_path / "年鉴.xls"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(part, "x")
    says(refused(path), what, "年鉴.xls", remedy)


def test_an_archive_of_yearbook_files_is_to_be_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "年鉴.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("年鉴/", "")
        for number in range(1, 8):
            archive.writestr(f"年鉴/5-{number}.xls", xls_bytes({"s": XlsSheet(INCOME)}))
    held = "; it holds '年鉴/5-1.xls', '年鉴/5-2.xls', '年鉴/5-3.xls', '年鉴/5-4.xls', '年鉴/5-5.xls' and 2 more"
    says(refused(path), held, "年鉴.zip", "unpack it, and give the path of one file inside")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("12345.xls", "x")  # five letters of ASCII, of which the bytes of two names in GBK are put
    data = path.read_bytes().replace(b"12345", "年鉴".encode("gbk") + b"5")
    says(refused(put(tmp_path, data)), "it holds '年鉴5.xls'", "export.csv", "unpack it")
    with zipfile.ZipFile(path, "w"):
        pass
    says(refused(path), "it holds nothing", "年鉴.zip", "unpack it")


def test_a_cut_off_xlsx_is_refused_wherever_it_is_cut(tmp_path: Path) -> None:
    whole = book(tmp_path, s=INCOME).read_bytes()
    for length in (4, 30, 300, len(whole) // 2, len(whole) - 30, len(whole) - 1):
        says(refused(put(tmp_path, whole[:length])), "cut off or damaged", "export.csv", "download or copy it again")


# --- pictures ---


def pictured(path: Path, *sheets: str) -> Path:
    """Lay a picture on some sheets, and a chart on the others."""
    stored = io.BytesIO()
    Image.new("L", (4, 4)).save(stored, "png")
    workbook = openpyxl.load_workbook(path)
    for sheet in workbook.worksheets:
        if sheet.title in sheets:
            sheet.add_image(openpyxl.drawing.image.Image(io.BytesIO(stored.getvalue())))
        else:
            sheet.add_chart(openpyxl.chart.BarChart())
    workbook.save(path)
    return path


@pytest.mark.parametrize("form", ["xls", "xlsx"])
def test_a_sheet_of_pictures_is_noted_and_refused_where_it_is_all(tmp_path: Path, form: str) -> None:
    def write(**sheets: Rows) -> Path:
        if form == "xlsx":
            return pictured(book(tmp_path, **sheets), "p", "q", "s")
        return xls(tmp_path, {n: XlsSheet(r, objects=(5, 8) if n in "pqs" else (5,)) for n, r in sheets.items()})

    path = write(s=INCOME, p=[], c=[], q=[])
    assert len(load(path)) == 6
    assert load(path, sheets=("s",)).equals(load(path))
    said = notes(path)
    assert "sheet 'p' holds pictures and no cells" in said
    assert "sheet 'q' holds pictures and no cells" in said
    assert "'c'" not in said
    says(refused(path, sheets=("s", "p")), "sheet 'p' holds pictures and no cells", path.name, "OCR")
    both = "sheet 'p' holds pictures and no cells; sheet 'q' holds pictures and no cells"
    says(refused(write(p=[], c=[], q=[])), both, path.name, "OCR")
    says(refused(write(c=[])), "no visible sheet holds any data", path.name, "give the file of the yearbook's table")


# --- cells that are not read ---

BAD: dict[
    str, tuple[str, Any, Any, str]
] = {  # the text of it, the cell in an .xls, that in an .xlsx, and why it is not read
    "B4": ("#REF!", "#REF!", "#REF!", "holds the error #REF!"),
    "C5": ("0.5", Formatted(0.5, "h:mm"), dt.time(12), "holds a time of day"),
    "D5": ("", Formula(None), "=B4/0", "holds a formula whose value was not calculated"),
    "C6": ("6.52301199001011e+17", 652301199001011232.0, 652301199001011232.0, "holds a whole number of 18 digits"),
}


def grid(path: Path) -> Grid:
    """Read the first sheet of a workbook."""
    data = path.read_bytes()
    one = Workbook(data, "f") if path.suffix == ".xlsx" else LegacyWorkbook(open_compound(data, "f")[1], "f")
    return one.read(one.sheets[0])


def test_cells_that_are_not_read_are_recorded_beside_the_others(tmp_path: Path) -> None:
    whole = grid(book(tmp_path, s=INCOME)).cells
    old = grid(xls(tmp_path, {"s": XlsSheet(edited(INCOME, **{name: bad[1] for name, bad in BAD.items()}))}))
    new = grid(book(tmp_path, s=edited(INCOME, **{name: bad[2] for name, bad in BAD.items()})))
    at = {name: (int(name[1:]), ord(name[0]) - 64) for name in BAD}
    rest = {r: {c: cell for c, cell in cells.items() if (r, c) not in at.values()} for r, cells in whole.items()}
    for one in (old, new):
        assert one.cells == rest
        assert [(cell.row, cell.column) for cell in one.unread] == list(at.values())
        for cell, (name, bad) in zip(one.unread, BAD.items(), strict=True):
            assert cell.why.startswith(bad[3])
            says(cell.refuse("f, s"), f"the cell {bad[3]}", f"f, s!{name}", cell.remedy)
    assert [cell.text for cell in old.unread] == [bad[0] for bad in BAD.values()]
    assert [cell.text for cell in new.unread] == ["#REF!", "0.5", "=B4/0", "6.523011990010112e+17"]


def test_a_part_of_a_page_has_the_unread_cells_inside_it(tmp_path: Path) -> None:
    page = pages.Page("f", "s", grid(book(tmp_path, s=edited(INCOME, **{name: bad[2] for name, bad in BAD.items()}))))
    for top, bottom, left, right in (
        (1, 99, 1, 99),
        (1, 99, 3, 3),
        (5, 5, 1, 99),
        (5, 6, 3, 3),
        (5, 5, 4, 4),
        (1, 2, 1, 9),
    ):
        inside = [c for c in page.grid.unread if top <= c.row <= bottom and left <= c.column <= right]
        assert page.part(top, bottom, left, right).grid.unread == inside


def test_only_named_sheets_and_each_sheet_once_is_parsed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = book(tmp_path, a=INCOME, b=edited(INCOME, D5="#REF!"), c=[])
    parsed, feed = list[str](), Workbook._feed

    def count(one: Workbook, part: str, reader: Any) -> Iterator[None]:
        parsed.append(part)
        return feed(one, part, reader)

    monkeypatch.setattr(Workbook, "_feed", count)
    says(refused(path, strict=True), "holds the error #REF!: b!D5 '#REF!'", "年鉴.xlsx", "correct the cell")
    assert sorted(parsed) == [f"xl/worksheets/sheet{number}.xml" for number in (1, 2, 3)]
    parsed.clear()
    assert len(load(path, sheets=("a",))) == 6
    assert parsed == ["xl/worksheets/sheet1.xml"]


def rewritten(path: Path, change: Callable[[str], str]) -> Path:
    """Change the XML of the first sheet, and take back that formulas are to be calculated."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    part = "xl/worksheets/sheet1.xml"
    parts[part] = change(parts[part].decode()).encode()
    parts["xl/workbook.xml"] = parts["xl/workbook.xml"].replace(b'fullCalcOnLoad="1"', b"")
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in parts.items():
            archive.writestr(name, data)
    return path


def test_values_that_excel_never_writes_are_recorded(tmp_path: Path) -> None:
    bad = (
        '<c r="A2"><v>x</v></c>',
        '<c r="B2" t="s"><v>99</v></c>',
        '<c r="C2" s="99"><v>1</v></c>',
        '<c r="D2" t="d"><v>x</v></c>',
    )
    path = book(tmp_path, s=[["a", 1]])
    one = grid(rewritten(path, lambda xml: xml.replace("</row>", f'</row><row r="2">{"".join(bad)}</row>')))
    assert one.cells == {1: {1: "a", 2: 1.0}}
    assert [(cell.column, cell.text) for cell in one.unread] == [(1, "x"), (2, "99"), (3, "1"), (4, "x")]
    says(refused(path), "the workbook is cut off or damaged", "s!A2", "download or copy it again")


def test_the_xml_of_a_sheet_is_read_whoever_wrote_it(tmp_path: Path) -> None:
    """With a prefix, spaces between elements, text in the cell itself, parts that are no cells, and text across two pieces."""
    inline = (
        '<c r="A3" t="inlineStr"><is><r><t>昌吉</t></r><r><rPr><vertAlign val="superscript"/></rPr><t>1</t></r>'
        '<rPh sb="0" eb="1"><t>x</t></rPh></is></c><c t="str"><f>"a"&amp;"b"</f><v>a&lt;b</v></c>'
        '<c><v>7</v><extLst><ext><c r="Z9"><v>8</v></c></ext></extLst></c><c t="b"><v>1</v></c>'
        '<c t="d"><v>2019-01-02T00:00:00Z</v></c><c t="e"><f>1/0</f><v>#DIV/0!</v></c><c s="0"/><c><f>A1</f></c>'
        f'<c t="inlineStr"><is><t>{"长" * 70_000}</t></is></c>'
    )
    path = book(tmp_path, {"s": ("C1:D2",)}, s=[["a", 1], [2.5, "b"]])
    row, more = (
        f'<row r="3" hidden="1">{inline}</row></sheetData>',
        "<extLst><ext><c><v>1</v></c></ext></extLst></worksheet>",
    )
    path = rewritten(path, lambda xml: xml.replace("</sheetData>", row).replace("</worksheet>", more))
    plain = grid(path)
    assert plain.cells == {
        1: {1: "a", 2: 1.0},
        2: {1: 2.5, 2: "b"},
        3: {1: "昌吉¹", 2: "a<b", 3: 7.0, 4: True, 5: dt.datetime(2019, 1, 2), 9: "长" * 70_000},
    }
    assert (plain.merged, plain.hidden_rows) == ([("C1:D2", 1, 3, 2, 4)], [3])
    assert [(cell.column, cell.text) for cell in plain.unread] == [(6, "#DIV/0!"), (8, "=A1")]
    names = "worksheet|sheetData|row|c|v|f|is|t|r|rPr|vertAlign|rPh|extLst|ext|mergeCells|mergeCell"

    def put_apart(xml: str) -> str:
        xml = re.sub(f"<(?=(?:{names})[ />])", r"\n <x:", xml)
        return re.sub(f"</(?=(?:{names})>)", "</x:", xml).replace("xmlns=", "xmlns:x=")

    spaced = rewritten(path, put_apart)
    assert b"<x:row" in zipfile.ZipFile(spaced).read("xl/worksheets/sheet1.xml")
    other = grid(spaced)
    assert (other.merged, other.hidden_rows, other.unread) == (plain.merged, plain.hidden_rows, plain.unread)
    assert other.cells == plain.cells


def test_a_bomb_in_a_protected_workbook_and_in_gzip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = book(tmp_path, s=INCOME)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/bomb.xml", bytes(201_000_000))
    path = protect(path, DEFAULT_PASSWORD)
    says(refused(path), "not opened because it would unpack to 201 MB", "年鉴.xlsx", "copy the table alone")
    monkeypatch.setattr(pages, "_MAX_TEXT", 5_000_000)
    says(
        refused(put(tmp_path, gzip.compress(bytes(6_000_000)))), "more than 0.005 GB of text", "export.csv", "keep only"
    )


def test_more_cells_than_a_yearbook_has_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "MOST_CELLS", 20)
    says(refused(book(tmp_path, s=edited(INCOME, E4="x"))), "more than 20 cells", "年鉴.xlsx, s", "with Delimited")
    monkeypatch.setattr(pages, "MOST_CELLS", 33)
    merged = tuple(f"{column}4:{column}6" for column in "EFGHIJKLMNOP")
    rows = edited(INCOME, **{f"{column}4": "x" for column in "EFGHIJKLMNOP"})
    says(refused(book(tmp_path, {"s": merged}, s=rows)), "too many merged cells", "年鉴.xlsx, s!", "table alone")


def test_exports_of_text_still_are_read(tmp_path: Path) -> None:
    assert len(load(put(tmp_path, EXPORT, "gb18030"))) == 6
