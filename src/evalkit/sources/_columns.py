"""Columns: their names, and the values that text stands for."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api.extensions import ExtensionArray

from evalkit.errors import SourceError, nearest

MISSING = frozenset({"", "NA", "N/A", "NaN", "nan", "null", "NULL", "."})
"""Words that mean "no value". "…" is not among them: in a yearbook it says that the number is below the unit."""

_FULL_WIDTH = {0xFF10 + digit: 0x30 + digit for digit in range(10)} | str.maketrans(
    "\uff0b\uff0d\uff0e\uff25\uff45",
    "+-.Ee",
)
_PLAIN = b"0123456789+-.eE\n"
_CODE = re.compile(r"^[+-]?(?:0[0-9]|[0-9]{16,}$)", re.MULTILINE)
_NOT_ZERO = re.compile(r"[^eE]*[1-9]")


def check_names(cells: Sequence[str], places: Sequence[str], where: str) -> list[str]:
    """Strip the header's cells and return them; raise SourceError on an empty or a repeated one, naming its place."""
    names = [cell.replace("\ufeff", "").strip() for cell in cells]
    first: dict[str, str] = {}
    for name, place in zip(names, places, strict=True):
        if not name:
            raise SourceError(
                f"{place} has no name in the header",
                where=where,
                remedy="write a name into the header, or delete the column; delete title lines above the header",
            )
        if name in first:
            raise SourceError(
                f"{first[name]} and {place} are both called '{name}'", where=where, remedy="rename one of them"
            )
        first[name] = place
    return names


def check_known(wanted: Collection[str], names: Collection[str], where: str, setting: str) -> None:
    """Raise SourceError when `setting` speaks of a column that the file does not have."""
    for column in wanted:
        if column not in names:
            raise SourceError(
                f"{setting} names column '{column}', which the file does not have",
                where=where,
                remedy=nearest(column, names),
            )


def refuse_no_rows(where: str) -> SourceError:
    """Make the error for a file that ends after its header."""
    return SourceError("the file has a header but no data rows", where=where, remedy="export the data again")


def parse_column(cells: Sequence[str | None], *, as_text: bool) -> ExtensionArray | NDArray[np.generic]:
    """Read a column of text as int64, float64, bool or str; `as_text` allows str only.

    Words in MISSING and None become missing. Numbers are digits with at most a sign, a decimal point and an exponent,
    in ASCII or full width; they get the value that Python's float() gives. A column stays text when one value is not
    a number, has a leading zero ("0123"), is an integer of more than 15 digits, or is beyond what a float64 can hold.
    """
    values = [None if cell is None or (word := cell.strip()) in MISSING else word for cell in cells]
    present = [value for value in values if value is not None]
    if as_text:
        return pd.array(values, dtype="str")
    whole = len(present) == len(values)
    if whole and _are_truths(present):
        return np.array([value.lower() == "true" for value in present])
    numbers = _parse_numbers(present)
    if numbers is None:
        return pd.array(values, dtype="str")
    if whole:
        return numbers
    column = np.full(len(values), np.nan)
    column[[value is not None for value in values]] = numbers
    return column


def write_number(number: float) -> str:
    """Write a number in the shortest form that reads back as the same float64: 5.0 as "5", .1 as "0.1"."""
    return str(int(number)) if number.is_integer() and abs(number) < 1e15 else repr(number)


def write_runs(numbers: Sequence[int]) -> str:
    """Write ascending whole numbers with runs joined: "3, 7-9, 12"; after 20 runs, how many numbers follow."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1][1:] = [number]
        else:
            runs.append([number])
    rest = sum(run[-1] - run[0] + 1 for run in runs[20:])
    return ", ".join("-".join(map(str, run)) for run in runs[:20]) + (f" and {rest} more" if rest else "")


def _are_truths(present: list[str]) -> bool:
    return bool(present) and present[0].lower() in ("true", "false") and {v.lower() for v in present} <= {"true", "false"}


def _parse_numbers(present: list[str]) -> NDArray[np.int64] | NDArray[np.float64] | None:
    """Return the numbers, or None when the column is text.

    The text is checked as one string, several times faster than value by value: with these characters only, int() and
    float() accept exactly the plain numbers ("inf", "1_000" and inner blanks are out).
    """
    if not present:
        return np.empty(0)
    if present[0][0] not in "+-.+-." and not present[0][0].isdigit():
        return None  # most columns of text end here
    joined = "\n".join(present)
    if not joined.isascii():
        joined = joined.translate(_FULL_WIDTH)
    if joined.encode().translate(None, delete=_PLAIN) or joined.count("\n") != len(present) - 1 or _CODE.search(joined):
        return None
    words = joined.split("\n")
    try:
        if not any(mark in joined for mark in ".eE"):
            return np.array([int(word) for word in words], dtype=np.int64)
        numbers = [float(word) for word in words]
    except ValueError:
        return None
    lost = (not math.isfinite(n) or (n == 0 and _NOT_ZERO.match(w)) for n, w in zip(numbers, words, strict=True))
    return None if any(lost) else np.array(numbers)
