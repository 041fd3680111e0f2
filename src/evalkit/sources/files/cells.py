"""The cells of a worksheet as values: numbers, text, truth values and dates, and the cells of an .xlsx as its XML."""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from xml.etree import ElementTree

from evalkit.errors import SourceError

Cell = float | str | bool | dt.datetime
"""What a cell holds. Text is stripped and never empty."""

_MAX_ROWS, _MAX_COLUMNS = 1_048_576, 16_384
MOST_ERRORS = 20  # cells that one error lists
_LONG = 1e15  # Excel keeps 15 digits: the rest of a longer whole number is already lost
# What number formats without a code in the file show. 27-36 and 50-58 are those of Chinese Excel.
BUILT_IN = {
    **dict.fromkeys([14, 15, 16, 17, 22, 27, 28, 29, 30, 31, 36, 50, 51, 52, 53, 54, 57, 58], "date"),
    **dict.fromkeys([18, 19, 20, 21, 32, 33, 34, 35, 45, 46, 47, 55, 56], "time"),
}
_NOT_A_CODE = re.compile(r'"[^"]*"|\\.|_.|\*.|\[(?!(?:h+|m+|s+)\])[^\]]*\]|General|E[+-]', re.IGNORECASE)
_ESCAPE = re.compile("_x([0-9A-Fa-f]{4})_")
_RAISED = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


class Formats:
    """Tell which cell styles show a number as a date or a time."""

    def __init__(self, styles: Iterable[ElementTree.Element], *, epoch_1904: bool) -> None:
        self.epoch_1904 = epoch_1904
        kinds: dict[int, str] = dict(BUILT_IN)
        self._styles: list[str] = []
        for element in styles:
            tag = element.tag.rpartition("}")[2]
            if tag == "numFmt":
                kinds[int(element.get("numFmtId", 0))] = tell_format(element.get("formatCode", ""))
            elif tag == "cellXfs":
                self._styles = [kinds.get(int(style.get("numFmtId", 0)), "") for style in element]

    def kind(self, style: str | None) -> str:
        """Return "date", "time" or "" for a cell's style number."""
        return self._styles[int(style)] if style and self._styles else ""


def tell_format(code: str) -> str:
    """Tell whether a number format shows a date ("date"), a time of day or a duration ("time"), or a number ("")."""
    letters = _NOT_A_CODE.sub("", code.split(";")[0]).lower()
    if "[" in letters:
        return "time"
    if "y" in letters or "d" in letters or "aaa" in letters:
        return "date"
    if "h" in letters or "s" in letters:
        return "time"
    return "date" if "m" in letters else ""


class NumberReader:
    """Read the numbers of one sheet, and name its cells in errors."""

    def __init__(self, where: str, sheet: str, *, epoch_1904: bool) -> None:
        self._where, self._sheet, self._epoch_1904 = where, sheet, epoch_1904

    def read(self, number: float, shown: str, row: int, column: int) -> Cell:
        """Return the number or, where the cell's format shows one (tell_format), the date."""
        if not math.isfinite(number):
            raise self.refuse(row, column, "holds a number beyond what Excel can hold", "correct the cell")
        if shown == "time" or (shown == "date" and number < 1 and not self._epoch_1904):
            remedy = "show the cell as a number, or write it as text"
            raise self.refuse(row, column, "holds a time of day or a duration", remedy)
        if shown == "date":
            return self._read_date(number, row, column)
        if abs(number) >= _LONG and number.is_integer():
            raise self.refuse(
                row,
                column,
                f"holds a whole number of {len(f'{abs(number):.0f}')} digits, and Excel has kept only its first 15 digits",
                "store the column as text in the source system and export it again",
            )
        return number

    def _read_date(self, serial: float, row: int, column: int) -> dt.datetime:
        """Turn a serial number into a date, to the millisecond; Excel's 29 February 1900 never was."""
        start = dt.datetime(1904, 1, 1) if self._epoch_1904 else dt.datetime(1899, 12, 30)
        try:
            if not self._epoch_1904 and serial < 61:
                if serial >= 60:
                    raise OverflowError
                start += dt.timedelta(days=1)
            return start + dt.timedelta(milliseconds=round(serial * 86_400_000))
        except OverflowError:
            what = f"is shown as a date, but {serial:g} is the number of no day"
            raise self.refuse(row, column, what, "correct the cell, or show it as a number") from None

    def refuse_error(self, row: int, column: int, error: str) -> SourceError:
        """Make the error for a cell with an error of Excel, such as #REF!."""
        return self.refuse(row, column, f"holds the error {error}", "correct the cell, or empty it if it is missing")

    def refuse_formula(self, row: int, column: int) -> SourceError:
        """Make the error for a formula without a value."""
        return self.refuse(
            row,
            column,
            "holds a formula whose value was not calculated when the file was saved",
            "open the file in Excel, save it again, or paste the formulas as values",
        )

    def refuse(self, row: int, column: int, what: str, remedy: str) -> SourceError:
        """Make an error that names the cell."""
        name = cell_name(row, column)
        return SourceError(f"the cell {what}", where=f"{self._where}, {self._sheet}!{name}", remedy=remedy)


class CellReader:
    """Read the rows of one sheet; errors name its cells. `stale` distrusts the stored values of formulas."""

    def __init__(self, texts: Sequence[str], formats: Formats, *, stale: bool, where: str, sheet: str) -> None:
        self._texts, self._formats, self._stale, self._sheet = texts, formats, stale, sheet
        self._numbers = NumberReader(where, sheet, epoch_1904=formats.epoch_1904)
        self._bad: list[SourceError] = []

    def refuse_bad_cells(self) -> None:
        """Raise one SourceError for all cells that could not be read, if there are any."""
        if self._bad:
            raise combine_cells(self._bad)

    def read_row(self, row: int, element: ElementTree.Element) -> dict[int, Cell]:
        """Return the cells of a row that hold something, by column number."""
        cells: dict[int, Cell] = {}
        column = 0
        for item in element:
            if item.tag.rpartition("}")[2] != "c":
                continue
            ref = item.get("r")
            column = column_number(ref.rstrip("0123456789")) if ref else column + 1
            if not (1 <= row <= _MAX_ROWS and 1 <= column <= _MAX_COLUMNS) or column in cells:
                raise ValueError(f"cell {ref} of row {row} in sheet '{self._sheet}' is out of place")
            try:
                value = self._read(item, row, column)
            except SourceError as error:
                self._bad.append(error)
                if len(self._bad) == MOST_ERRORS:
                    self.refuse_bad_cells()
                continue
            if value is not None and value != "":
                cells[column] = value
        return cells

    def _read(self, item: ElementTree.Element, row: int, column: int) -> Cell | None:
        kind = item.get("t", "n")
        stored: str | None = None
        formula = False
        for child in item:
            tag = child.tag.rpartition("}")[2]
            if tag == "v":
                stored = child.text or ""
            elif tag == "is":
                stored = read_cell_text(child)
            elif tag == "f":
                formula = True
        if formula and (self._stale or stored is None or (stored == "" and kind != "str")):
            raise self._numbers.refuse_formula(row, column)
        if not stored:
            return None
        if kind == "e":
            raise self._numbers.refuse_error(row, column, stored)
        if kind == "s":
            return self._texts[int(stored)].strip()
        if kind in ("str", "inlineStr"):
            return unescape(stored).strip()
        if kind == "b":
            return stored in ("1", "true")
        if kind == "d":
            return dt.datetime.fromisoformat(stored).replace(tzinfo=None)
        return self._numbers.read(float(stored), self._formats.kind(item.get("s")), row, column)


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


@lru_cache(maxsize=_MAX_COLUMNS)
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
