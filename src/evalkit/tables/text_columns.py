"""Columns of text as numbers, truths or text: the one reader of numbers, the one list of blanks, of words for "no value"."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pandas.api.extensions import ExtensionArray

MISSING = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", ".")
"""Words that mean "no value". "…" is not among them: in a yearbook it says that the number is below the unit."""

BLANKS = (
    "\t\n\x0b\x0c\r\x1c\x1d\x1e\x1f \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)
"""What is taken off the ends of a cell: all that Python and Arrow take for blank. Engines left to themselves take off less."""

PLAIN_NUMBER = r"^[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?$"
"""A number as an engine reads it from text."""

_MISSING = pa.array(MISSING, pa.string())
_WIDE = "".join(map(chr, range(0xFF10, 0xFF1A))) + "\uff0b\uff0d\uff0e\uff25\uff45"
_FULL_WIDTH = str.maketrans(_WIDE, "0123456789+-.Ee")  # not NFKC, which would also read "10²" as 102
DIGIT, _POINT, _SIGN = "[0-9\uff10-\uff19]", "[.\uff0e]", "[+\uff0b\uff0d-]"
_NUMBER = f"{_SIGN}?(?:{DIGIT}+{_POINT}?{DIGIT}*|{_POINT}{DIGIT}+)(?:[eE\uff25\uff45]{_SIGN}?{DIGIT}+)?"
_IS_NUMBER = re.compile(_NUMBER, re.ASCII).fullmatch
CODE = "^[+-]?(?:0[0-9]|[0-9]{16,}$)"
"""Digits that are a code and no number: with a leading zero, or more than a float64 holds."""
_NOT_ZERO = "^[^eE]*[1-9]"


@dataclass(frozen=True)
class Marks:
    """How gaps and numbers are written in a file, beside the usual way: words for "no value", and marks within numbers."""

    missing: tuple[str, ...] = ()
    thousands: str = ""
    decimal: str = "."

    @property
    def are_usual(self) -> bool:
        """Tell whether numbers are written as in a program."""
        return not self.thousands and self.decimal == "."

    def spell_missing(self, cells: pa.ChunkedArray, *, as_text: bool) -> dict[str, list[str]]:
        """Return how each word for "no value" is written in a column; where it is a number, so is what has its value (-99.0)."""
        spelt = {word: [word] for word in self.missing}
        values = {word: float(word) for word in self.missing if not as_text and _IS_NUMBER(word)}
        if values:
            written = pa.chunked_array([pc.unique(pc.utf8_trim_whitespace(cells)).cast(pa.string())])
            plain = written if self.are_usual else self.read(written)[0]
            for cell, number in zip(written.to_pylist(), plain.to_pylist(), strict=True):
                narrow = (number or "").translate(_FULL_WIDTH)
                if _IS_NUMBER(narrow) and not re.match(CODE, narrow):
                    for word in (one for one, value in values.items() if value == float(narrow) and cell != one):
                        spelt[word].append(cell)
        return spelt

    def read(self, values: pa.ChunkedArray) -> tuple[pa.ChunkedArray, list[int]]:
        """Write the numbers that have these marks as a program does; return where a cell has marks as no such number has them.

        "1,234.5" becomes 1234.5 under thousands=",", "1,5" becomes 1.5 under decimal=","; "12,34" has the first mark in vain.
        """
        point = re.escape(self.decimal)
        whole = f"{DIGIT}+"
        if self.thousands:
            whole = f"(?:{DIGIT}{{1,3}}(?:{_THOUSANDS[self.thousands]}{DIGIT}{{3}})+|{whole})"
        number = f"^{_SIGN}?(?:{whole}(?:{point}{DIGIT}*)?|{point}{DIGIT}+)(?:[eE]{_SIGN}?{DIGIT}+)?$"
        marks = "".join(dict.fromkeys((_THOUSANDS.get(self.thousands, "")[1:-1], re.escape(self.decimal), "\\.")))
        marked = f"^{_SIGN}?[{marks}0-9\uff10-\uff19]*[{marks}][{marks}0-9\uff10-\uff19]*$"
        fits = pc.match_substring_regex(values, number)
        wrong = pc.and_not(pc.match_substring_regex(values, marked), fits)
        wrong = pc.and_(wrong, pc.match_substring_regex(values, DIGIT))
        plain = values
        if self.thousands:
            plain = pc.replace_substring_regex(plain, _THOUSANDS[self.thousands], "")
        if self.decimal != ".":
            plain = pc.replace_substring(plain, self.decimal, ".")
        at = np.flatnonzero(pc.fill_null(wrong, False).to_numpy()).tolist()
        return pc.if_else(pc.fill_null(fits, False), plain, values), at


USUAL = Marks()
_THOUSANDS = {",": "[,\uff0c]", " ": "[ \u00a0\u2009\u202f\u3000]", ".": "[.]"}
THOUSANDS = tuple(_THOUSANDS)
"""What may be declared to stand between thousands."""


def parse_column(
    cells: pa.ChunkedArray, *, as_text: bool, marks: Marks = USUAL
) -> ExtensionArray | NDArray[np.generic]:
    """Read a column of text as int64, float64, bool or str; `as_text` allows str only.

    Words in MISSING and nulls become missing. Numbers are digits with at most a sign, a decimal point and an exponent,
    in ASCII or full width; they get the value that Python's float() gives. A column stays text when one value is not
    a number, has a leading zero ("0123"), is an integer of more than 15 digits, or is beyond what a float64 can hold.
    With `marks` that are not the usual ones, numbers written with them are numbers too, and the words that they name are missing.
    """
    trimmed = pc.utf8_trim_whitespace(cells)
    words = _MISSING
    if marks.missing:
        spelt = marks.spell_missing(cells, as_text=as_text).values()
        words = pa.array((*MISSING, *(one for found in spelt for one in found)), pa.string())
    values = pc.if_else(pc.is_in(trimmed, value_set=words), None, trimmed)
    if not as_text:
        if values.null_count == 0 and _all_match(values, "(?i:true|false)"):
            return _to_numpy(pc.equal(pc.utf8_lower(values), "true"))
        plain = values if marks.are_usual else marks.read(values)[0]
        numbers = _parse_numbers(plain)
        if numbers is not None:
            return numbers
        if not marks.are_usual and are_mostly_numbers(plain):
            values = plain  # so that errors accuse the others alone
    text: ExtensionArray = pd.array(values, dtype="str")
    return text


def are_mostly_numbers(values: pa.ChunkedArray) -> bool:
    """Tell whether more than half of the values that are not missing are plain numbers."""
    found = pc.sum(pc.match_substring_regex(values, f"^(?:{_NUMBER})$")).as_py() or 0
    return bool(2 * found > len(values) - values.null_count)


def _parse_numbers(values: pa.ChunkedArray) -> NDArray[np.generic] | None:
    """Return the numbers, or None when the column is text."""
    if not _all_match(values, _NUMBER):
        return None
    if pc.all(pc.string_is_ascii(values)).as_py() is False:
        narrow = [value and value.translate(_FULL_WIDTH) for value in values.to_pylist()]
        values = pa.chunked_array([pa.array(narrow, pa.string())])
    if pc.any(pc.match_substring_regex(values, CODE)).as_py():
        return None
    numbers = pc.cast(values, pa.float64())  # rounds to the nearest float64, as float() does
    zeros = values.filter(pc.equal(numbers, 0.0))
    if pc.all(pc.is_finite(numbers)).as_py() is False or pc.any(pc.match_substring_regex(zeros, _NOT_ZERO)).as_py():
        return None
    if values.null_count == 0 and _all_match(values, "[+-]?[0-9]+"):
        numbers = pc.cast(numbers, pa.int64())  # 15 digits at most, hence exact
    return _to_numpy(numbers)


def _all_match(values: pa.ChunkedArray, pattern: str) -> bool:
    """Tell whether every value that is not missing is described by the pattern from its first letter to its last."""
    return pc.all(pc.match_substring_regex(values, f"^(?:{pattern})$")).as_py() is not False


def _to_numpy(values: pa.ChunkedArray) -> NDArray[np.generic]:
    column: NDArray[np.generic] = values.to_numpy()
    return column
