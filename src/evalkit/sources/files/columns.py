"""Columns: their names, the values that text stands for, and rows that errors can name."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
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
_CODE = "^[+-]?(?:0[0-9]|[0-9]{16,}$)"
_NOT_ZERO = "^[^eE]*[1-9]"


def check_names(cells: Sequence[str], places: Sequence[str], where: str) -> list[str]:
    """Strip the header's cells and return them; raise SourceError on an empty or a repeated one, naming its place."""
    names = [cell.replace("\ufeff", "").strip() for cell in cells]
    first: dict[str, str] = {}
    for name, place in zip(names, places, strict=True):
        if not name:
            raise SourceError(
                f"{place} has no name in the header",
                where=where,
                remedy="write a name into the header, or delete the column; delete title rows above the header",
            )
        if name in first:
            raise SourceError(
                f"{first[name]} and {place} are both called '{name}'", where=where, remedy="rename one of them"
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


def parse_column(cells: pa.ChunkedArray, *, as_text: bool) -> ExtensionArray | NDArray[np.generic]:
    """Read a column of text as int64, float64, bool or str; `as_text` allows str only.

    Words in MISSING and nulls become missing. Numbers are digits with at most a sign, a decimal point and an exponent,
    in ASCII or full width; they get the value that Python's float() gives. A column stays text when one value is not
    a number, has a leading zero ("0123"), is an integer of more than 15 digits, or is beyond what a float64 can hold.
    """
    trimmed = pc.utf8_trim_whitespace(cells)
    values = pc.if_else(pc.is_in(trimmed, value_set=_MISSING), None, trimmed)
    if not as_text:
        if values.null_count == 0 and _all_match(values, "(?i:true|false)"):
            return _to_numpy(pc.equal(pc.utf8_lower(values), "true"))
        numbers = _parse_numbers(values)
        if numbers is not None:
            return numbers
    words: ExtensionArray = pd.array(values, dtype="str")
    return words


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
        rows = [int(row) for row, bad in zip(self.frame.index, wrong, strict=True) if bad]
        if rows:
            named = f"row{'s' if len(rows) > 1 else ''} {write_runs(rows)}"
            raise SourceError(what, where=f"{self.where}, {named}, column '{header}'", remedy=remedy)


def each(cells: Sequence[str | None], read: Callable[[str | None], _T]) -> list[_T]:
    """Read every cell, and those that say the same once."""
    known = {cell: read(cell) for cell in set(cells)}
    return [known[cell] for cell in cells]
