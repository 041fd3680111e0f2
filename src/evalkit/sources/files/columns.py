"""Columns: their names, the values that text stands for, and rows that errors can name."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Hashable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from evalkit.errors import SourceError, nearest
from evalkit.tables.text_columns import DIGIT, Marks

_OF_PERSONS = 11  # digits that may be a telephone number, and are not shown


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
            f"'{'…' if len(re.findall(DIGIT, word)) >= _OF_PERSONS else word[:40]}' is no number under {declared}{more}",
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
