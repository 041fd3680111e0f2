"""Footnotes: which words of a page explain which marks, and the page without the marks behind names and numbers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from evalkit.sources._pages import Page
from evalkit.sources._words import is_chinese, is_word, narrow, read_value, read_year
from evalkit.sources._workbook import Grid

_MARK = r"[①-⑳※]|\*{1,3}|[⁰¹²³⁴-⁹]{1,2}|\(?[0-9a-z]\)"
_BEHIND = re.compile(rf"(?<=\S)\s*((?:{_MARK}\s*)+)$")
_UNEXPLAINED = re.compile(r"(?<=[^A-Za-z①-⑳※*⁰¹²³⁴-⁹])[①-⑳※*⁰¹²³⁴-⁹]+$")
_LAST = frozenset("①②③④⑤⑥⑦⑧⑨⑩⑪⑫⑬⑭⑮⑯⑰⑱⑲⑳※*⁰¹²³⁴⁵⁶⁷⁸⁹)）＊")
_EACH = re.compile(_MARK)
_BEFORE = re.compile(rf"(?:^|(?<=[\s;。:]))({_MARK}|[0-9]{{1,2}}[.、](?![0-9]))\s*")
_SIGN = re.compile(r"\s*(?:备|附)?注\s*[:：]?\s*")
_NOTE = re.compile(r"(?:备|附)?注\s*(?:[:0-9①-⑳*※.、一二三(]|$)|说明\s*:|本表")
_SOURCE = re.compile(r"资料来源|数据来源|来源\s*:|摘编自")
_PLAIN = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789", "().、")
_MOST_CELLS = 2  # of a row that holds a note; a row of more is a header


@dataclass(frozen=True)
class Marked:
    """A page without marks, the notes that explain them by the cells from which they were taken, and those without a note."""

    page: Page
    notes: Mapping[tuple[int, int], tuple[str, ...]]
    unexplained: tuple[str, ...]


def is_note(text: str) -> bool:
    """Tell a line such as "注：…" or "资料来源：…"."""
    plain = narrow(text).strip()
    return _NOTE.match(plain) is not None or _SOURCE.match(plain) is not None


def is_numbered_note(text: str) -> bool:
    """Tell a line that begins with a mark or a number, as the further notes below a table do."""
    return _BEFORE.match(narrow(text).strip()) is not None or narrow(text).strip().startswith("#")


def read_qualification(text: str) -> str:
    """Return what a note says of the whole table: without the word 注, and without what it says of marks."""
    if _SOURCE.match(narrow(text).strip()):
        return ""
    return _BEFORE.split(_SIGN.sub("", text, count=1) if is_note(text) else text)[0].strip(" ;；。")


def take_marks(page: Page) -> Marked:
    """Take the marks of footnotes off names, headers and numbers.

    A mark that is explained nowhere is taken off Chinese words only: behind a number it might be anything, and stays there.
    """
    explained = _explain(page)
    cells = {row: dict(values) for row, values in page.grid.cells.items()}
    notes: dict[tuple[int, int], tuple[str, ...]] = {}
    unexplained = list[str]()
    for row, values in cells.items():
        for column, cell in values.items():
            if (
                not isinstance(cell, str)
                or cell[-1] not in _LAST
                or (found := _BEHIND.search(narrow(cell))) is None
                or is_note(cell)
            ):
                continue
            keys = [_key(mark) for mark in _EACH.findall(found[1])]
            plain = _UNEXPLAINED.search(cell)
            if all(key in explained for key in keys):
                values[column] = cell[: found.start()]
                notes[row, column] = tuple(explained[key] for key in keys)
            elif plain and is_word(cell) and is_chinese(cell):
                values[column] = cell[: plain.start()].rstrip()
                unexplained.append(f"{page.address(row, column)}: no note explains the mark {plain[0]}")
    return Marked(Page(page.file, page.sheet, Grid(cells, page.grid.merged)), notes, tuple(unexplained))


def _explain(page: Page) -> dict[str, str]:
    """Find the notes below the first numbers that begin with a mark, or hold several: "注：①…；②…"."""
    explained: dict[str, str] = {}
    below = False
    for row in page.rows:
        cells = page.grid.cells[row]
        for _, cell in sorted(cells.items()):
            if not isinstance(cell, str):
                continue
            words = narrow(cell).strip()
            if not below or len(cells) > _MOST_CELLS or not (is_note(words) or is_numbered_note(words)):
                continue
            parts = _BEFORE.split(_SIGN.sub("", words, count=1) if is_note(words) else words)
            for mark, text in zip(parts[1::2], parts[2::2], strict=True):
                if said := text.strip(" ;。"):
                    explained.setdefault(_key(mark), said)
        below = below or any(read_value(cell) is not None and read_year(cell) is None for cell in cells.values())
    return explained


def _key(mark: str) -> str:
    """Return the same for "¹", "1)" and "1.", and each other mark as it is."""
    return mark.translate(_PLAIN)
