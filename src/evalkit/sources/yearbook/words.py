"""What one cell of a statistical table says: a name, a year, a number, or a mark in place of one."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from evalkit.sources.files.cells import Cell
from evalkit.sources.files.columns import write_number
from evalkit.sources.files.xlsx import Grid
from evalkit.sources.yearbook.pages import Page

Mark = Literal["", "below_unit", "none", "missing", "unread"]
"""Why there is no number: "…" and "<0.01" are below the unit, "-" and "空" do not apply, an empty cell is missing, one that holds
something else is unread; "" is a number."""

_NARROW = str.maketrans({code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {0x3000: 0x20})
_CHINESE = "[\u3007\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003134f]"
_YEAR = re.compile("((?:19|20)[0-9]{2})\\s*(?:年度?)?")
_NUMBER = re.compile(
    r"[+-]?(?:0|[1-9][0-9]{0,2}(?:,[0-9]{3})+|[1-9][0-9]{0,2}(?:\s[0-9]{3})+|[1-9][0-9]*)(?:[.][0-9]+)?"
)
_LESS = re.compile(r"<\s*0?[.][0-9]+")
_BELOW_UNIT = re.compile("(?:…|⋯|[.]{3})+")
_NOT_APPLICABLE = re.compile("[-\u2013\u2014\u2015\u2500]{1,3}|空")
REMEMBERED = 1 << 16  # cells of text; a table is walked over several times
_DIGITS = 15  # of a float64; a longer number would lose its tail
_WORD = re.compile("[A-Za-z][a-z]{2,}")
_UNIT_WORDS = "(?:tons?|tonnes?|yuan|hectares?|persons?|million|[A-Za-z]{1,3}[0-9²³]?)(?![A-Za-z])"
_KEPT = re.compile(rf"[^\sA-Za-z(]*\)|\s*\((?:[^()A-Za-z]|{_UNIT_WORDS})*\)")  # a bracket behind Chinese words
_PART = re.compile(r"(?:#|其\s*中\s*:?\s*#?)\s*")
_PLACE = re.compile(
    ".*(?:省|市|县|区|州|盟|旗|兵团)(?:[(].*[)])?|(?:全国|全省|全市|全县|全州|全区|合计|总计|北京|天津|上海|重庆|河北|山西|辽宁|"
    "吉林|黑龙江|江苏|浙江|安徽|福建|江西|山东|河南|湖北|湖南|广东|海南|四川|贵州|云南|陕西|甘肃|青海|内蒙古|广西|西藏|宁夏|新疆)"
)


def narrow(text: str) -> str:
    """Write full-width letters, digits and punctuation in ASCII (not NFKC, which would read "①" as 1)."""
    return text if text.isascii() else text.translate(_NARROW)


def join_words(text: str) -> str:
    """Remove the spaces and line breaks that set Chinese words apart ("昌 吉 市"); one space stays between others."""
    return re.sub(f"(?<={_CHINESE}) | (?={_CHINESE})", "", " ".join(text.split()))


def fold_words(name: str) -> str:
    """Return a name as it is compared with another: however its spaces and brackets were typed."""
    return join_words(narrow(name))


def is_chinese(text: str) -> bool:
    """Tell whether a Chinese character occurs."""
    return re.search(_CHINESE, text) is not None


@lru_cache(REMEMBERED)
def split_translation(text: str) -> tuple[str, str]:
    """Split "昌吉市 Changji City" into the Chinese words and their translation, "" where there is none.

    A translation stands behind the Chinese words, as a word of three letters or more, most of them small: neither "GDP" nor
    "kg/ha" is one. Brackets behind the Chinese words stay with them unless they hold a word that is not a unit's.
    """
    chinese = list(re.finditer(_CHINESE, text))
    if not chinese:
        return text, ""
    end = chinese[-1].end()
    kept = _KEPT.match(text[end:])
    end += kept.end() if kept else 0
    found = re.search("[(]?[A-Za-z]", text[end:])
    if found is None or not _WORD.search(text[end:]):
        return text, ""
    end += found.start()
    return text[:end].rstrip(" \t\r\n/|-"), text[end:].strip()


def split_part(name: str) -> tuple[bool, str]:
    """Tell whether a name says that it is part of the one before ("#氮肥", "其中：氮肥"), and return it without these words."""
    found = _PART.match(name)
    return (found is not None, name[found.end() :] if found else name)


def is_place(name: str) -> bool:
    """Tell a name that ends as those of regions do."""
    return _PLACE.fullmatch(name) is not None


def read_year(cell: Cell | None) -> int | None:
    """Read 2019, "2019", "2019年" or "2018 年" (1900 to 2099); None for anything else."""
    if isinstance(cell, float):
        return int(cell) if cell.is_integer() and 1900 <= cell < 2100 else None
    return _year_in(cell) if isinstance(cell, str) else None


def read_value(cell: Cell | None) -> tuple[float, Mark] | None:
    """Read a number (also as text, "1,234.5", "1 912.59") or a mark, with NaN; None for what is neither."""
    if isinstance(cell, float):
        return cell, ""
    if cell is None:
        return float("nan"), "missing"
    return _value_in(cell) if isinstance(cell, str) else None


@lru_cache(REMEMBERED)
def _year_in(text: str) -> int | None:
    found = _YEAR.fullmatch(narrow(text).strip())
    return int(found[1]) if found else None


@lru_cache(REMEMBERED)
def _value_in(text: str) -> tuple[float, Mark] | None:
    text = narrow(text).replace("\u2212", "-")
    if _NUMBER.fullmatch(text) and sum(letter.isdigit() for letter in text) <= _DIGITS:
        return float(re.sub(r"[,\s]", "", text)), ""
    if _BELOW_UNIT.fullmatch(text) or _LESS.fullmatch(text.strip()):
        return float("nan"), "below_unit"
    return (float("nan"), "none") if _NOT_APPLICABLE.fullmatch(text) else None


def write_cell(cell: Cell | None) -> str:
    """Write what a cell holds: a whole number without a point, a date as 2019-07-01."""
    if isinstance(cell, float):
        return write_number(cell)
    if isinstance(cell, dt.datetime):
        return cell.date().isoformat() if cell.time() == dt.time() else str(cell)
    return "" if cell is None else str(cell)


def is_word(cell: Cell | None) -> bool:
    """Tell a cell that is neither a value nor a year."""
    return cell is not None and read_value(cell) is None and read_year(cell) is None


def is_foreign(cell: Cell | None) -> bool:
    """Tell words without a Chinese character, such as "USA", which are a translation where a Chinese name stands before them."""
    return (
        isinstance(cell, str) and not is_chinese(cell) and re.search("[A-Za-z]{2}", cell) is not None and is_word(cell)
    )


def is_translation(cell: Cell | None) -> bool:
    """Tell words in letters only, of which one has three: "Changji", but neither "x" nor "NA"."""
    return isinstance(cell, str) and not is_chinese(cell) and _WORD.search(cell) is not None and is_word(cell)


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
_TITLE = re.compile(
    r"(?:续?附?表\s*)?[0-9]{1,2}(?:\s*[-–—]\s*[0-9]{1,3})+(?![0-9岁月日年%])|续?附?表\s*[0-9]+(?![0-9])"
)
_CONTINUED = re.compile(
    r"[(\[]?(?:续(?:上?[表页]|完)?|[接见]上[表页]|[转见接]下[表页])\s*[0-9一二三四五六七八九十]*[)\]]?"
)
_PAGE = re.compile(r"[-—·.\s]*(?:第\s*)?[0-9]{1,4}(?:\s*页)?[-—·.\s]*|p(?:age)?[.\s]*[0-9]+", re.IGNORECASE)
_TIME = re.compile(r"[(]?(?:19|20)[0-9]{2}\s*年?(?:\s*[-–—~至]\s*(?:(?:19|20)[0-9]{2})?\s*年?)?(?:[0-9]{1,2}月)?[)]?")
_HEADER = re.compile(r"(?:地\s*区|单\s*位|指\s*标|项\s*目|年\s*份|名\s*称|序\s*号|代\s*码|计量单位)|单位\s*:.*")
_MOST_CELLS = 2  # of a row that holds a note; a row of more is a header


@dataclass(frozen=True)
class Marked:
    """A page without marks, the notes that explain them by the cells from which they were taken, and those without a note.

    `listed` are notes with a number to which no mark refers: "注：1. 本表按当年价格计算。2. …" is a list, said of the table.
    """

    page: Page
    notes: dict[tuple[int, int], tuple[str, ...]]
    unexplained: tuple[str, ...]
    listed: tuple[str, ...] = ()


def is_note(text: str) -> bool:
    """Tell a line such as "注：…" or "资料来源：…"."""
    plain = narrow(text).strip()
    return _NOTE.match(plain) is not None or _SOURCE.match(plain) is not None


def is_numbered_note(text: str) -> bool:
    """Tell a line that begins with a mark or a number, as the further notes below a table do."""
    return _BEFORE.match(narrow(text).strip()) is not None or narrow(text).strip().startswith("#")


def qualifies(words: str) -> bool:
    """Tell words that say something of numbers from furniture: 续表, page numbers, years, titles, header words, translations.

    Words without a Chinese character are a translation, of a note or of the unit ("item", "100 million yuan"), where the rest
    of a page is Chinese; the caller decides on pages that are not.
    """
    text = join_words(narrow(words)).strip(" ;:。,，")
    return (
        is_chinese(text)
        and not any(one.fullmatch(text) for one in (_CONTINUED, _PAGE, _TIME, _HEADER))
        and _TITLE.match(text) is None
    )


def read_note(text: str) -> str:
    """Return what a line below a table says of its numbers: without the word 注, and without what it says of marks.

    The 。 at its end stays, by which a note that goes on in the next line is told from another one; "" for furniture.
    """
    if _SOURCE.match(narrow(text).strip()):
        return ""
    said = _BEFORE.split(_SIGN.sub("", text, count=1) if is_note(text) else text)[0].strip(" ;；")
    return said if qualifies(said) else ""


def take_marks(page: Page) -> Marked:
    """Take the marks of footnotes off names, headers and numbers.

    A mark that is explained nowhere is taken off Chinese words only: behind a number it might be anything, and stays there.
    """
    explained = _explain(page)
    cells = {row: dict(values) for row, values in page.grid.cells.items()}
    notes: dict[tuple[int, int], tuple[str, ...]] = {}
    unexplained, used = list[str](), set[str]()
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
                used.update(keys)
            elif plain and is_word(cell) and is_chinese(cell):
                values[column] = cell[: plain.start()].rstrip()
                unexplained.append(f"{page.address(row, column)}: no note explains the mark {plain[0]}")
    listed = tuple(said for key, said in explained.items() if key.isdecimal() and key not in used and qualifies(said))
    grid = Grid(cells, page.grid.merged, unread=page.grid.unread)
    return Marked(Page(page.file, page.sheet, grid), notes, tuple(unexplained), listed)


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
