"""Codes for the names of regions in several tables, so that they can be joined by code and year."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import pandas as pd

from evalkit.catalogue import Message, message
from evalkit.errors import DataError
from evalkit.numerics.arrays import Ints
from evalkit.regions.names import find_code, resolve_column
from evalkit.regions.registry import FIRST, LAST, Level, lineage
from evalkit.regions.search import is_no_unit
from evalkit.tables.columns import require_column
from evalkit.tables.periods import read_periods
from evalkit.tables.table import Table

# A name refused for one of these reasons may be that of the unit in another year. One that several units had in its own year is
# not that of the one that has it in another: 东山区 of 2004 is not that of Hegang, the only one of 2024.
_MAYBE_OF_ANOTHER_YEAR = ("former", "elsewhere", "ambiguous", "year")


@dataclass(frozen=True)
class Area:
    """Where the regions lie that a column names, and of which level they are; both decide between namesakes (see `resolve`).

    `within` is one province or prefecture for all; `column` names the column with that of each row, in the tables that have it.
    """

    level: Level | None = None
    within: str | None = None
    column: str | None = None


@dataclass(frozen=True)
class _Unknown:
    """A name without a code: its first row, and why."""

    name: str
    row: object
    problem: str
    remedy: str


def add_codes(tables: Sequence[Table], regions: Mapping[str, Area], time: str) -> tuple[list[Table], list[Message]]:
    """Add to each table a column of codes, "county_code", for each column of names in `regions` that it has.

    A code is that of the unit in the last year of the first table where only its name or code changed up to then, else that of
    its own year: a county that became a city stays one unit, and may be called by either name in any year. In a table without
    years a name means the unit that last had it. Only the first table keeps the names. Rows of totals and of the XPCC have no
    code; they are left out and noted. Any other name without a code is refused in the first table, and in another one where it
    resembles a name of the first that is left without a match; else (a unit of elsewhere) it is left out and noted.
    """
    placed, notes = list(tables), list[Message]()
    for column, area in regions.items():
        require_column(placed[0].frame, column)
        for table in placed:
            if f"{column}_code" in table.frame.columns:
                raise DataError(
                    f"{table.name} has a column '{column}_code' already, which regions= would add",
                    where=table.name,
                    remedy="rename it, or join on it and leave out regions=",
                )
        years = _years(placed[0], time)
        span = (int(years.min()), int(years.max()))
        if span[0] < FIRST or span[1] > LAST:
            raise DataError(
                f"the years run from {span[0]} to {span[1]}, and the lists of regions from {FIRST} to {LAST}",
                where=f"{placed[0].name}, column '{time}'",
                remedy="leave out regions= and join on names or codes as they are",
            )
        codes, unknown = _find_codes(placed[0], column, area, years, span)
        wrong = [one for one in unknown if not is_no_unit(one.name)]
        if wrong:
            raise DataError(
                f"{len(wrong)} names in '{column}' have no code; the first: {wrong[0].problem}",
                where=f"{placed[0].name}, row {wrong[0].row}",
                remedy=wrong[0].remedy,
            )
        if unknown:
            notes.append(_left_out(placed[0], column, codes, unknown))
        known = codes.notna().to_numpy()
        placed[0] = replace(placed[0], frame=placed[0].frame.assign(**{f"{column}_code": codes})[known])
        for i, table in enumerate(placed[1:], start=1):
            if column in table.frame.columns:
                placed[i], found = _place(table, column, area, placed[0], time, span)
                notes += found
    return placed, notes


def _place(
    table: Table, column: str, area: Area, first: Table, time: str, span: tuple[int, int]
) -> tuple[Table, list[Message]]:
    """Replace the names of a further table by codes, and say which of its rows have none."""
    years = _years(table, time) if time in table.frame.columns else None
    codes, unknown = _find_codes(table, column, area, years, span)
    lacking = first.frame[~first.frame[f"{column}_code"].isin(codes)][column].astype("str").unique().tolist()
    for one in unknown:
        close = difflib.get_close_matches(one.name, lacking, n=1)
        if close:
            raise DataError(
                f"'{one.name}' has no code, and '{close[0]}' of {first.name} is without a match: {one.problem}",
                where=f"{table.name}, row {one.row}, column '{column}'",
                remedy=f"write '{close[0]}' if that is meant; {one.remedy}",
            )
    notes = [_left_out(table, column, codes, unknown)] if unknown else []
    known = codes.notna().to_numpy()
    told = [column, *([area.column] if area.column in table.frame.columns else [])]  # the code says both
    frame = table.frame.assign(**{f"{column}_code": codes})[known].drop(columns=told)
    return replace(table, frame=frame, units={n: unit for n, unit in table.units.items() if n not in told}), notes


def _left_out(table: Table, column: str, codes: pd.Series, unknown: Sequence[_Unknown]) -> Message:
    names = list(dict.fromkeys(one.name for one in unknown))
    listed = ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
    return message("note.no_code", rows=int(codes.isna().sum()), here=table.name, names=listed, column=column)


def _years(table: Table, time: str) -> Ints:
    require_column(table.frame, time)
    years, missing, frequency = read_periods(table.frame[time])
    if missing.any() or frequency != "integer":
        raise DataError(
            f"'{time}' does not hold a year in each row, so that it is not known what a name meant",
            where=table.name,
            remedy="write years, or leave out regions=",
        )
    return years


def _find_codes(
    table: Table, column: str, area: Area, years: Ints | None, span: tuple[int, int]
) -> tuple[pd.Series, list[_Unknown]]:
    """Return the code of each row, missing where there is none, and the names and years without one.

    A name is looked up in its year, or in the last one where the table has none; else in the other years of the span, for the
    territory whose name it then was.
    """
    names = table.frame[column]
    own = pd.Series(np.full(len(names), span[1]) if years is None else years, index=names.index)
    within = table.frame[area.column] if area.column in table.frame.columns else area.within
    found = resolve_column(names, own, within=within, level=area.level)
    codes, unknown, last = list[str | None](), list[_Unknown](), span[1]
    _, first = np.unique(found.lines, return_index=True)
    report = [
        found.report[name].tolist()
        for name in ("name", "year", "within", "code", "list", "reason", "problem", "remedy")
    ]
    for row, name, year, place, code, listed, reason, problem, remedy in zip(names.index[first], *report, strict=True):
        then: str | None = _latest(code, listed, last) if code else None
        if reason in _MAYBE_OF_ANOTHER_YEAR and (years is None or reason != "ambiguous"):
            then = _find_elsewhen(name, None if years is None else year, place or None, area.level, span)
        if then is None:
            unknown.append(_Unknown(str(name), row, problem, remedy))
        codes.append(then)
    return pd.Series(codes, dtype="str").take(found.lines).set_axis(names.index), unknown


def _find_elsewhen(
    name: str, year: int | None, within: str | None, level: Level | None, span: tuple[int, int]
) -> str | None:
    """Return the code of a name in the last other year of the span in which it was the name of that year's territory.

    Where that was in no year of the span, in those before and after it, if it is one unit: tables made later have later names.
    """
    inside = range(span[1], span[0] - 1, -1)
    for tried in inside:
        if (code := _as_of(name, tried, year, within, level, span[1])) is not None:
            return code
    outside = (tried for tried in range(FIRST, LAST + 1) if tried not in inside)
    found = {code for tried in outside if (code := _as_of(name, tried, year, within, level, span[1])) is not None}
    return found.pop() if len(found) == 1 else None


def _as_of(name: str, tried: int, year: int | None, within: str | None, level: Level | None, last: int) -> str | None:
    """Return the code, up to the last year, of the unit of `year` whose territory had this name in the year that is tried."""
    code = find_code(name, tried, within, level)
    if code is None:
        return None
    if year is None:
        return _latest(code, tried, last)
    line = lineage(code, tried, year)
    return _latest(line.end[0].code, year, last) if line.same_territory else None


@lru_cache(maxsize=1 << 16)
def _latest(code: str, year: int, last: int) -> str:
    """Return the code of the last year where only the name or code changed up to then, else the code itself."""
    line = lineage(code, year, last)
    return line.end[0].code if line.same_territory else code
