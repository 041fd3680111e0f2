"""Columns: their names, the values that text stands for, and rows that errors can name."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Hashable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pandas.api.extensions import ExtensionArray

from evalkit.errors import SourceError, nearest

MISSING = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", ".")
"""Words that mean "no value". "…" is not among them: in a yearbook it says that the number is below the unit."""

_MISSING = pa.array(MISSING, pa.string())
_WIDE = "".join(map(chr, range(0xFF10, 0xFF1A))) + "\uff0b\uff0d\uff0e\uff25\uff45"
_FULL_WIDTH = str.maketrans(_WIDE, "0123456789+-.Ee")  # not NFKC, which would also read "10²" as 102
_DIGIT, _POINT, _SIGN = "[0-9\uff10-\uff19]", "[.\uff0e]", "[+\uff0b\uff0d-]"
_NUMBER = f"{_SIGN}?(?:{_DIGIT}+{_POINT}?{_DIGIT}*|{_POINT}{_DIGIT}+)(?:[eE\uff25\uff45]{_SIGN}?{_DIGIT}+)?"
_IS_NUMBER = re.compile(_NUMBER, re.ASCII).fullmatch
_OF_PERSONS = 11  # digits that may be a telephone number, and are not shown
_CODE = "^[+-]?(?:0[0-9]|[0-9]{16,}$)"
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
                if _IS_NUMBER(narrow) and not re.match(_CODE, narrow):
                    for word in (one for one, value in values.items() if value == float(narrow) and cell != one):
                        spelt[word].append(cell)
        return spelt

    def read(self, values: pa.ChunkedArray) -> tuple[pa.ChunkedArray, list[int]]:
        """Write the numbers that have these marks as a program does; return where a cell has marks as no such number has them.

        "1,234.5" becomes 1234.5 under thousands=",", "1,5" becomes 1.5 under decimal=","; "12,34" has the first mark in vain.
        """
        point = re.escape(self.decimal)
        whole = f"{_DIGIT}+"
        if self.thousands:
            whole = f"(?:{_DIGIT}{{1,3}}(?:{_THOUSANDS[self.thousands]}{_DIGIT}{{3}})+|{whole})"
        number = f"^{_SIGN}?(?:{whole}(?:{point}{_DIGIT}*)?|{point}{_DIGIT}+)(?:[eE]{_SIGN}?{_DIGIT}+)?$"
        marks = "".join(dict.fromkeys((_THOUSANDS.get(self.thousands, "")[1:-1], re.escape(self.decimal), "\\.")))
        marked = f"^{_SIGN}?[{marks}0-9\uff10-\uff19]*[{marks}][{marks}0-9\uff10-\uff19]*$"
        fits = pc.match_substring_regex(values, number)
        wrong = pc.and_not(pc.match_substring_regex(values, marked), fits)
        wrong = pc.and_(wrong, pc.match_substring_regex(values, _DIGIT))
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


def strip_name(cell: str) -> str:
    """Strip a cell of the header."""
    return cell.replace("\ufeff", "").strip()


def check_names(cells: Sequence[str], places: Sequence[str], where: str, remedy: str = "") -> list[str]:
    """Strip the header's cells and return them; raise SourceError on an empty or a repeated one, naming its place.

    `remedy` says what else may be done about a name that is missing.
    """
    names = [strip_name(cell) for cell in cells]
    first: dict[str, str] = {}
    for name, place in zip(names, places, strict=True):
        if not name:
            raise SourceError(
                f"{place} has no name in the header",
                where=where,
                remedy="write a name into the header, or delete the column; "
                + (remedy or "delete title rows above the header"),
            )
        if name in first:
            raise SourceError(
                f"{first[name]} and {place} are both called '{name}'",
                where=where,
                remedy="rename one of them",
            )
        first[name] = place
    return names


def check_known(
    wanted: Collection[str], names: Collection[str], where: str, setting: str, *, noun: str = "column"
) -> None:
    """Raise SourceError when `setting` speaks of a column (or what `noun` says) that the file does not have."""
    for column in wanted:
        if column not in names:
            raise SourceError(
                f"{setting} names {noun} '{column}', which the file does not have",
                where=where,
                remedy=nearest(column, names),
            )


def refuse_no_rows(where: str) -> SourceError:
    """Make the error for a file that ends after its header."""
    return SourceError("the file has a header but no data rows", where=where, remedy="export the data again")


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


def write_rows(labels: Sequence[Hashable]) -> str:
    """Name rows by the labels of an index: "row 3", "rows 3, 7-9"; of several sheets "rows 2019!3, 2020!3"."""
    numbers = [label for label in labels if isinstance(label, int)]
    if len(numbers) == len(labels):
        listed = write_runs(numbers)
    else:
        listed = ", ".join(map(str, labels[:20])) + (f" and {len(labels) - 20} more" if len(labels) > 20 else "")
    return f"row{'s' if len(labels) > 1 else ''} {listed}"


def _parse_numbers(values: pa.ChunkedArray) -> NDArray[np.generic] | None:
    """Return the numbers, or None when the column is text."""
    if not _all_match(values, _NUMBER):
        return None
    if pc.all(pc.string_is_ascii(values)).as_py() is False:
        narrow = [value and value.translate(_FULL_WIDTH) for value in values.to_pylist()]
        values = pa.chunked_array([pa.array(narrow, pa.string())])
    if pc.any(pc.match_substring_regex(values, _CODE)).as_py():
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


_T = TypeVar("_T")


@dataclass(frozen=True)
class Rows:
    """Some rows of a table as text, indexed by the rows of the file."""

    frame: pd.DataFrame
    where: str

    def cells(self, header: str) -> list[str | None]:
        """Return a column, None where a cell is empty."""
        return [cell if isinstance(cell, str) else None for cell in self.frame[header].tolist()]

    def read(self, header: str, parse: Callable[[str], _T | None], what: str, remedy: str) -> list[_T]:
        """Parse a column in which every cell must say something that is understood; raise SourceError otherwise."""
        cells = self.cells(header)
        self.refuse([cell is None for cell in cells], header, "the cell is empty", remedy)
        read = each(cells, lambda cell: parse(cell or ""))
        self.refuse([value is None for value in read], header, what, remedy)
        return [value for value in read if value is not None]

    def refuse(self, wrong: Sequence[bool], header: str, what: str, remedy: str) -> None:
        """Raise SourceError naming the rows that are wrong, if there are any."""
        rows = [row for row, bad in zip(self.frame.index.tolist(), wrong, strict=True) if bad]
        if rows:
            raise SourceError(what, where=f"{self.where}, {write_rows(rows)}, column '{header}'", remedy=remedy)


def each(cells: Sequence[str | None], read: Callable[[str | None], _T]) -> list[_T]:
    """Read every cell, and those that say the same once."""
    known = {cell: read(cell) for cell in set(cells)}
    return [known[cell] for cell in cells]


def are_mostly_numbers(values: pa.ChunkedArray) -> bool:
    """Tell whether more than half of the values that are not missing are plain numbers."""
    found = pc.sum(pc.match_substring_regex(values, f"^(?:{_NUMBER})$")).as_py() or 0
    return bool(2 * found > len(values) - values.null_count)


def is_blank(cells: pa.ChunkedArray) -> bool:
    """Tell whether no cell of a column holds anything."""
    return pc.any(pc.not_equal(pc.utf8_trim_whitespace(cells), "")).as_py() is not True


def refuse_marks(cells: pa.ChunkedArray, marks: Marks, place: Callable[[int], str]) -> None:
    """Raise SourceError naming the first cell whose marks contradict those that were declared for numbers."""
    if marks.are_usual:
        return
    values = pc.utf8_trim_whitespace(cells)
    _, wrong = marks.read(values)
    if wrong:
        declared = f"decimal='{marks.decimal}'" + (f" and thousands='{marks.thousands}'" if marks.thousands else "")
        word = values[wrong[0]].as_py()
        more = f", nor are {len(wrong) - 1} others" if len(wrong) > 1 else ""
        raise SourceError(
            f"'{'…' if len(re.findall(_DIGIT, word)) >= _OF_PERSONS else word[:40]}' is no number under {declared}{more}",
            where=place(wrong[0]),
            remedy="correct the cell, or the mark that is declared; columns of codes and dates are named in text=",
        )


class Gaps:
    """How often each word that was declared to mean "no value" stands in which column."""

    def __init__(self, marks: Marks) -> None:
        self._marks = marks
        self._found: dict[str, dict[str, int]] = {word: {} for word in marks.missing}

    def count(self, cells: pa.ChunkedArray, column: str, *, as_text: bool) -> set[str]:
        """Count the words among the cells of a column; return how they are written there."""
        if not self._found:
            return set()
        values = pc.utf8_trim_whitespace(cells)
        spelt = self._marks.spell_missing(cells, as_text=as_text)
        for word, found in self._found.items():
            if number := pc.sum(pc.is_in(values, value_set=pa.array(spelt[word], pa.string()))).as_py():
                found[column] = number
        return {one for found in spelt.values() for one in found}

    def notes(self, where: str) -> list[str]:
        """Say what was counted; raise SourceError on a word that stands nowhere."""
        for word, found in self._found.items():
            if not found:
                raise SourceError(
                    f"missing= names '{word}', which no cell of the columns that are read holds",
                    where=where,
                    remedy="correct the word, or leave it out",
                )
        said = {
            word: ", ".join(f"{name} {number}" for name, number in found.items()) for word, found in self._found.items()
        }
        return [f"'{word}' was read as missing: {listed}" for word, listed in said.items()]
