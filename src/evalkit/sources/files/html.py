"""A web page, often named .xls, as the cells of one sheet: lines of text and rows of tables, one below the other."""

from __future__ import annotations

import re
from collections.abc import Iterator

import lxml.etree
import lxml.html
from lxml.html import HtmlElement

from evalkit.errors import SourceError
from evalkit.sources.files.cells import Cell, cell_name, raise_digits
from evalkit.sources.files.xlsx import Grid

_SPREADSHEET = "urn:schemas-microsoft-com:office:spreadsheet"
_UNREAD = re.compile(r"<!--|<(script|style)\b", re.IGNORECASE)
_PROLOGUE = re.compile(r"^\s*<\?xml[^>]*\?>")
_CELL_TAG, _TABLE_OPEN, _TABLE_CLOSE = (
    re.compile(tag, re.IGNORECASE) for tag in (r"<t[dh]\b", r"<table\b", r"</table\s*>")
)
_LINES = {
    "p",
    "div",
    "br",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "li",
    "ul",
    "ol",
    "center",
    "hr",
    "caption",
    "table",
    "tr",
}
_SILENT = {"head", "script", "style", "title", "template", "select", "noscript"}
_NOT_SHOWN = re.compile(r"display\s*:\s*none", re.IGNORECASE)
_MAX_SPAN, _MAX_COLUMNS, _MAX_ROWS = 1_000, 1_000, 1_048_576
_SAVE = "open it in Excel, and save it as .xlsx"


def read_web(content: str, where: str, *, single: bool = False) -> Grid:
    """Read the visible words of a page: a line of text is a row with one cell, and a row of a table is a row.

    colspan and rowspan become merged cells. Raises SourceError where the page is cut off, is of another kind (frames, XML of
    Excel 2003), has no table (or, for a `single` one, several), or is not read to its end.
    """
    if _SPREADSHEET in content[:4_000] and "<html" not in content[:4_000].lower():
        raise SourceError("this is a spreadsheet in the XML of Excel 2003", where=where, remedy=_SAVE)
    text = _without_unread(content)
    if "<frameset" in text.lower():
        what = "this page only names others, which hold the sheets (frames)"
        raise SourceError(what, where=where, remedy=f"{_SAVE}, or give the path of the page with the table")
    opened, closed = len(_TABLE_OPEN.findall(text)), len(_TABLE_CLOSE.findall(text))
    if not opened:
        raise SourceError(
            "this is a web page (HTML or XML) without a table", where=where, remedy="save the table itself"
        )
    if closed < opened:
        what = "the web page is cut off: a table in it does not end"
        raise SourceError(what, where=where, remedy="download it again")
    body = _parse(_PROLOGUE.sub("", content), where)
    reader = _Reader(where)
    reader.walk(body)
    reader.end_line()
    if reader.cells_read != len(_CELL_TAG.findall(text)):
        what = f"the web page has {len(_CELL_TAG.findall(text))} cells, of which {reader.cells_read} stand in the rows of tables"
        raise SourceError(what, where=where, remedy=_SAVE)
    if single and reader.tables > 1:
        raise SourceError(
            f"the web page has {reader.tables} tables, and which is wanted is not said",
            where=where,
            remedy="open it in Excel, and save the table that is wanted as .xlsx",
        )
    return reader.grid


def _without_unread(content: str) -> str:
    """Leave out comments, scripts and styles; one that does not end goes on to the end of the page."""
    parts, at = list[str](), 0
    while found := _UNREAD.search(content, at):
        parts.append(content[at : found.start()])
        end = re.compile(f"</{found[1]}\\s*>" if found[1] else "-->", re.IGNORECASE).search(content, found.end())
        if end is None:
            return "".join(parts)
        at = end.end()
    return "".join(parts) + content[at:]


def _parse(content: str, where: str) -> HtmlElement:
    parser = lxml.html.HTMLParser(no_network=True, remove_comments=True, remove_pis=True)
    try:
        page = lxml.html.document_fromstring(content, parser=parser)
    except (lxml.etree.LxmlError, ValueError) as error:
        raise SourceError(f"the web page is not read ({error})", where=where, remedy=_SAVE) from error
    for problem in parser.error_log.filter_from_fatals():
        raise SourceError(f"the web page is not read ({problem.message})", where=where, remedy=_SAVE)
    return page


class _Reader:
    def __init__(self, where: str) -> None:
        self.where, self.grid, self.cells_read = where, Grid(), 0
        self.tables = 0  # with cells
        self._row = 0
        self._words: list[str] = []

    def walk(self, element: HtmlElement) -> None:
        """Take in an element and what it holds; a table around other tables only places them."""
        if element.tag in _SILENT or not isinstance(element.tag, str):
            return
        if element.tag in _LINES:
            self.end_line()
        if element.tag == "table" and element.find(".//table") is None:
            self._read_table(element)
        else:
            self.cells_read += element.tag in ("td", "th")
            self._words.append(element.text or "")
            for child in element:
                self.walk(child)
                self._words.append(child.tail or "")
        if element.tag in _LINES or element.tag in ("td", "th"):
            self.end_line()

    def end_line(self) -> None:
        """End a line of text outside tables."""
        text, self._words = " ".join("".join(self._words).split()), []
        if text:
            self._row += 1
            self.grid.cells[self._row] = {1: text}

    def _read_table(self, table: HtmlElement) -> None:
        for caption in table.iter("caption"):
            self._words.append(_text(caption))
            self.end_line()
        self.tables += next(table.iter("td", "th"), None) is not None
        left = 1
        for column in table.iter("col"):
            span = self._span(column, "span", left)
            if _NOT_SHOWN.search(column.get("style", "")):
                self.grid.hidden_columns.append((left, left + span - 1))
            left += span
        below: list[tuple[int, int, int]] = []  # columns that a cell above still covers: first, last, last row
        for line in table.iter("tr"):
            self._row += 1
            if self._row > _MAX_ROWS:
                raise SourceError("the web page has more rows than a sheet", where=self.where, remedy=_SAVE)
            if _NOT_SHOWN.search(line.get("style", "")):
                self.grid.hidden_rows.append(self._row)
            below = [one for one in below if one[2] >= self._row]
            below += self._read_row(line, sorted(below))

    def _read_row(self, line: HtmlElement, taken: list[tuple[int, int, int]]) -> Iterator[tuple[int, int, int]]:
        cells: dict[int, Cell] = {}
        started = []
        column = 1
        for item in line.iterchildren("td", "th"):
            self.cells_read += 1
            wide, high = self._span(item, "colspan", column), self._span(item, "rowspan", column)
            for first, last, _ in taken:
                if first < column + wide and column <= last:
                    column = last + 1
            if column + wide > _MAX_COLUMNS:
                raise SourceError("the web page has more columns than a sheet", where=self.where, remedy=_SAVE)
            if text := _text(item):
                cells[column] = text
            if wide > 1 or high > 1:
                ref = f"{cell_name(self._row, column)}:{cell_name(self._row + high - 1, column + wide - 1)}"
                self.grid.merged.append((ref, self._row, column, self._row + high - 1, column + wide - 1))
            if high > 1:
                started.append((column, column + wide - 1, self._row + high - 1))
            column += wide
        if cells:
            self.grid.cells[self._row] = cells
        return iter(started)

    def _span(self, element: HtmlElement, name: str, column: int) -> int:
        given = element.get(name, "1").strip()
        if not given.isascii() or not given.isdigit() or not 1 <= int(given[:9]) <= _MAX_SPAN:
            raise SourceError(
                f"{name}='{given[:20]}' does not say over how many rows or columns a cell stands",
                where=f"{self.where}, row {self._row}, column {column}",
                remedy=_SAVE,
            )
        return int(given)


def _text(element: HtmlElement) -> str:
    """Join the words of a cell; <br> and paragraphs break the line, digits in <sup> are superscripts."""
    parts: list[str] = []

    def walk(one: HtmlElement, *, raised: bool) -> None:
        if not isinstance(one.tag, str) or one.tag in _SILENT:
            return
        raised = raised or one.tag == "sup"
        parts.append("\n" if one.tag in ("br", "p", "div") else "")
        for text, child in [(one.text, None), *((child.tail, child) for child in one)]:
            if child is not None:
                walk(child, raised=raised)
            words = " ".join(f"·{text or ''}·".split())[1:-1]  # the dots keep the spaces at both ends
            parts.append(raise_digits(words) if raised else words)

    walk(element, raised=False)
    return "\n".join(filter(None, map(str.strip, "".join(parts).split("\n"))))
