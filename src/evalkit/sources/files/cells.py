"""The cells of a worksheet as values: numbers, text, truth values and dates, and those that could not be read."""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from xml.etree import ElementTree

from evalkit.errors import SourceError

Cell = float | str | bool | dt.datetime
"""What a cell holds. Text is stripped and never empty."""


class Percent(float):
    """A number that its cell shows in per cent: .0435 stands there as 4.35%."""


MAX_ROWS, MAX_COLUMNS = 1_048_576, 16_384
MOST_ERRORS = 20  # cells that one error lists
_LONG = 1e15  # Excel keeps 15 digits: the rest of a longer whole number is already lost
# What number formats without a code in the file show. 27-36 and 50-58 are those of Chinese Excel.
BUILT_IN = {
    **dict.fromkeys([14, 15, 16, 17, 22, 27, 28, 29, 30, 31, 36, 50, 51, 52, 53, 54, 57, 58], "date"),
    **dict.fromkeys([9, 10], "percent"),
    **dict.fromkeys([18, 19, 20, 21, 32, 33, 34, 35, 45, 46, 47, 55, 56], "time"),
}
_NOT_A_CODE = re.compile(r'"[^"]*"|\\.|_.|\*.|\[(?!(?:h+|m+|s+)\])[^\]]*\]|General|E[+-]', re.IGNORECASE)
_ESCAPE = re.compile("_x([0-9A-Fa-f]{4})_")
_RAISED = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


class Formats:
    """Tell which cell styles show a number as a date, a time or in per cent."""

    def __init__(self, styles: Iterable[ElementTree.Element], *, epoch_1904: bool) -> None:
        self.epoch_1904 = epoch_1904
        kinds: dict[int, str] = dict(BUILT_IN)
        self._styles: dict[str, str] = {}
        for element in styles:
            tag = element.tag.rpartition("}")[2]
            if tag == "numFmt":
                kinds[int(element.get("numFmtId", 0))] = tell_format(element.get("formatCode", ""))
            elif tag == "cellXfs":
                shown = (kinds.get(int(style.get("numFmtId", 0)), "") for style in element)
                self._styles = {str(number): kind for number, kind in enumerate(shown)}

    def kind(self, style: str | None) -> str:
        """Return "date", "time", "percent" or "" for a cell's style number."""
        return self._styles[style] if style and self._styles else ""


def tell_format(code: str) -> str:
    """Tell what a number format shows: "date", "time" (of day, or a duration), "percent", or "" for a plain number."""
    letters = _NOT_A_CODE.sub("", code.split(";")[0]).lower()
    if "[" in letters:
        return "time"
    if "y" in letters or "d" in letters or "aaa" in letters:
        return "date"
    if "h" in letters or "s" in letters:
        return "time"
    return "date" if "m" in letters else "percent" if "%" in letters else ""


@dataclass(frozen=True, slots=True)
class UnreadCell:
    """A cell (row and column from 1) whose value is not known: what stands in it ("" where that is not told), why, what to do."""

    row: int
    column: int
    text: str
    why: str
    remedy: str

    def refuse(self, where: str) -> SourceError:
        """Make the error that names it; `where` is the file and the sheet."""
        return SourceError(
            f"the cell {self.why}", where=f"{where}!{cell_name(self.row, self.column)}", remedy=self.remedy
        )


def refuse_unread(unread: Sequence[UnreadCell], where: str) -> None:
    """Raise one SourceError for all cells of a sheet that could not be read, if there are any."""
    if unread:
        raise combine_cells([cell.refuse(where) for cell in unread[:MOST_ERRORS]])


class CellReader:
    """Read what is stored in the cells of a sheet; a cell that is not read is given as such, and never raises."""

    def __init__(self, *, epoch_1904: bool) -> None:
        self._epoch_1904 = epoch_1904

    def read_number(self, number: float, text: str, shown: str, row: int, column: int) -> Cell | UnreadCell:
        """Return the number or, where the cell's format shows one (tell_format), the date; `text` is how it is stored."""
        if not shown and -_LONG < number < _LONG:
            return number
        if shown == "percent" and -_LONG < number < _LONG:
            return Percent(number)
        if not math.isfinite(number):
            return UnreadCell(row, column, text, "holds a number beyond what Excel can hold", "correct the cell")
        if shown == "time" or (shown == "date" and number < 1 and not self._epoch_1904):
            remedy = "show the cell as a number, or write it as text"
            return UnreadCell(row, column, text, "holds a time of day or a duration", remedy)
        if shown == "date":
            return self._read_date(number, text, row, column)
        if number.is_integer():
            digits = len(f"{abs(number):.0f}")
            why = f"holds a whole number of {digits} digits, and Excel has kept only its first 15 digits"
            remedy = "store the column as text in the source system and export it again"
            return UnreadCell(row, column, text, why, remedy)
        return number

    def _read_date(self, serial: float, text: str, row: int, column: int) -> dt.datetime | UnreadCell:
        """Turn a serial number into a date, to the millisecond; Excel's 29 February 1900 never was."""
        start = dt.datetime(1904, 1, 1) if self._epoch_1904 else dt.datetime(1899, 12, 30)
        try:
            if not self._epoch_1904 and serial < 61:
                if serial >= 60:
                    raise OverflowError
                start += dt.timedelta(days=1)
            return start + dt.timedelta(milliseconds=round(serial * 86_400_000))
        except OverflowError:
            why = f"is shown as a date, but {serial:g} is the number of no day"
            return UnreadCell(row, column, text, why, "correct the cell, or show it as a number")

    def read_error(self, error: str, row: int, column: int) -> UnreadCell:
        """Give the cell with an error of Excel, such as #REF!."""
        remedy = "correct the cell, or empty it if it is missing"
        return UnreadCell(row, column, error, f"holds the error {error}", remedy)

    def read_formula(self, formula: str, row: int, column: int) -> UnreadCell:
        """Give the cell with a formula without a value; `formula` is "" where it is not told."""
        return UnreadCell(
            row,
            column,
            f"={formula}" if formula else "",
            "holds a formula whose value was not calculated when the file was saved",
            "open the file in Excel, save it again, or paste the formulas as values",
        )


def read_cell_text(element: ElementTree.Element) -> str:
    """Join the text of a shared or inline string, leaving out the phonetic guide of East Asian text."""
    parts: list[str] = []
    for child in element:
        tag = child.tag.rpartition("}")[2]
        if tag == "t":
            parts.append(child.text or "")
        elif tag == "r":
            run = "".join(part.text or "" for part in child if part.tag.rpartition("}")[2] == "t")
            is_raised = any(mark.get("val") == "superscript" for part in child for mark in part)
            parts.append(raise_digits(run) if is_raised else run)
    return unescape("".join(parts))


def raise_digits(text: str) -> str:
    """Write superscript digits as the characters that they are: the mark of a footnote is no digit of the number before."""
    return text.translate(_RAISED)


def unescape(text: str) -> str:
    """Undo Excel's way of writing control characters (_x000D_); surrogates and NUL stay as they are written."""
    if "_x" not in text:
        return text

    def restore(found: re.Match[str]) -> str:
        code = int(found[1], 16)
        return found[0] if code == 0 or 0xD800 <= code < 0xE000 else chr(code)

    return _ESCAPE.sub(restore, text)


def combine_cells(errors: Sequence[SourceError]) -> SourceError:
    """Make one error of several: it is the first, and lists the others by their cells."""
    first, *others = errors
    if not others:
        return first
    listed = "; ".join(f"{_last_place(error.where)}: {error.what}" for error in others)
    more = " or more" if len(errors) >= MOST_ERRORS else ""
    what = f"{first.what}; {len(others)}{more} further cells are not read: {listed}"
    return SourceError(what, where=first.where, remedy=first.remedy)


def _last_place(where: str) -> str:
    return where.rpartition("!")[2] if "!" in where else where.partition(", ")[2]


@lru_cache(maxsize=MAX_COLUMNS)
def column_number(letters: str) -> int:
    """Return 1 for "A", 28 for "AB"."""
    if not re.fullmatch("[A-Z]{1,3}", letters):
        raise ValueError(f"'{letters}' is not a column of a sheet")
    number = 0
    for letter in letters:
        number = number * 26 + ord(letter) - 64
    return number


def column_letters(number: int) -> str:
    """Return "A" for 1, "AB" for 28."""
    letters = ""
    while number:
        number, rest = divmod(number - 1, 26)
        letters = chr(65 + rest) + letters
    return letters


def cell_name(row: int, column: int) -> str:
    """Return "C7" for row 7, column 3."""
    return f"{column_letters(column)}{row}"
