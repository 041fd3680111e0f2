"""What one cell of a statistical table says: a name, a year, a number, or a mark in place of one."""

from __future__ import annotations

import re
from typing import Literal

from evalkit.sources._cells import Cell

Mark = Literal["", "below_unit", "none", "missing"]
"""Why there is no number: "…" is below the unit, "-" does not apply, an empty cell or "空" is missing; "" is a number."""

_NARROW = str.maketrans({code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {0x3000: 0x20})
_CHINESE = "[\u3007\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003134f]"
_YEAR = re.compile("((?:19|20)[0-9]{2})\\s*(?:年度?)?")
_NUMBER = re.compile("[+-]?(?:0|[1-9][0-9]{0,2}(?:,[0-9]{3})+|[1-9][0-9]*)(?:[.][0-9]+)?")
_BELOW_UNIT = re.compile("(?:…|⋯|[.]{3})+")
_NOT_APPLICABLE = re.compile("[-\u2013\u2014\u2015\u2500]{1,3}")
_DIGITS = 15  # of a float64; a longer number would lose its tail


def narrow(text: str) -> str:
    """Write full-width letters, digits and punctuation in ASCII (not NFKC, which would read "①" as 1)."""
    return text.translate(_NARROW)


def join(text: str) -> str:
    """Remove the spaces and line breaks that set Chinese words apart ("昌 吉 市"); one space stays between others."""
    return re.sub(f"(?<={_CHINESE}) | (?={_CHINESE})", "", " ".join(text.split()))


def is_chinese(text: str) -> bool:
    """Tell whether a Chinese character occurs."""
    return re.search(_CHINESE, text) is not None


def read_year(cell: Cell | None) -> int | None:
    """Read 2019, "2019", "2019年" or "2018 年" (1900 to 2099); None for anything else."""
    if isinstance(cell, float):
        return int(cell) if cell.is_integer() and 1900 <= cell < 2100 else None
    found = _YEAR.fullmatch(narrow(cell).strip()) if isinstance(cell, str) else None
    return int(found[1]) if found else None


def read_value(cell: Cell | None) -> tuple[float, Mark] | None:
    """Read a number (also as text, "1,234.5") or a mark, with NaN; None for what is neither."""
    if isinstance(cell, float):
        return cell, ""
    if cell is None or cell == "空":
        return float("nan"), "missing"
    if not isinstance(cell, str):
        return None
    text = narrow(cell).replace("\u2212", "-")
    if _NUMBER.fullmatch(text) and sum(letter.isdigit() for letter in text) <= _DIGITS:
        return float(text.replace(",", "")), ""
    if _BELOW_UNIT.fullmatch(text):
        return float("nan"), "below_unit"
    return (float("nan"), "none") if _NOT_APPLICABLE.fullmatch(text) else None
