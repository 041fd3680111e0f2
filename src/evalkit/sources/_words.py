"""What one cell of a statistical table says: a name, a year, a number, or a mark in place of one."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal

from evalkit.sources._cells import Cell

Mark = Literal["", "below_unit", "none", "missing"]
"""Why there is no number: "…" is below the unit, "-" and "空" do not apply, an empty cell is missing; "" is a number."""

_NARROW = str.maketrans({code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {0x3000: 0x20})
_CHINESE = "[\u3007\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003134f]"
_YEAR = re.compile("((?:19|20)[0-9]{2})\\s*(?:年度?)?")
_NUMBER = re.compile("[+-]?(?:0|[1-9][0-9]{0,2}(?:,[0-9]{3})+|[1-9][0-9]*)(?:[.][0-9]+)?")
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
    return text.translate(_NARROW)


def join(text: str) -> str:
    """Remove the spaces and line breaks that set Chinese words apart ("昌 吉 市"); one space stays between others."""
    return re.sub(f"(?<={_CHINESE}) | (?={_CHINESE})", "", " ".join(text.split()))


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
    """Read a number (also as text, "1,234.5") or a mark, with NaN; None for what is neither."""
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
        return float(text.replace(",", "")), ""
    if _BELOW_UNIT.fullmatch(text):
        return float("nan"), "below_unit"
    return (float("nan"), "none") if _NOT_APPLICABLE.fullmatch(text) else None


def is_word(cell: Cell | None) -> bool:
    """Tell a cell that is neither a value nor a year."""
    return cell is not None and read_value(cell) is None and read_year(cell) is None


def is_translation(cell: Cell | None) -> bool:
    """Tell words in letters only, of which one has three: "Changji", but neither "x" nor "NA"."""
    return isinstance(cell, str) and not is_chinese(cell) and _WORD.search(cell) is not None and is_word(cell)
