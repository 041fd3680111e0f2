"""Codes for the names of regions in several tables, so that they can be joined by code and year."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from evalkit.catalogue import Message, message
from evalkit.errors import DataError
from evalkit.numerics.arrays import Ints
from evalkit.regions.names import is_no_unit, resolve
from evalkit.regions.registry import FIRST, LAST, Level, lineage
from evalkit.tables.columns import require_column
from evalkit.tables.periods import read_periods
from evalkit.tables.table import Table


@dataclass(frozen=True)
class Area:
    """Where the regions lie that a column names, and of which level they are; both decide between namesakes (see `resolve`)."""

    level: Level | None = None
    within: str | None = None


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
    frame = table.frame.assign(**{f"{column}_code": codes})[known].drop(columns=column)
    return replace(table, frame=frame, units={n: unit for n, unit in table.units.items() if n != column}), notes


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
    """Return the code of each row, missing where there is none, and the names and years without one."""
    at = np.zeros(len(table.frame), dtype=np.int64) if years is None else years
    keys = list(zip(table.frame[column].tolist(), at.tolist(), strict=True))
    found: dict[tuple[object, int], str | _Unknown] = {}
    for row, (name, year) in zip(table.frame.index, keys, strict=True):
        if (name, year) not in found:
            found[name, year] = _find_code(name, None if years is None else year, area, span, row)
    codes = [code if isinstance(code := found[key], str) else None for key in keys]
    unknown = [one for one in found.values() if isinstance(one, _Unknown)]
    return pd.Series(codes, index=table.frame.index, dtype="str"), unknown


def _find_code(name: object, year: int | None, area: Area, span: tuple[int, int], row: object) -> str | _Unknown:
    """Find the code of a name in its year, else in another year of the span in which it was the name of that territory."""
    if not isinstance(name, str):
        return _Unknown(str(name), row, "the name is missing or not text", "write the region's name")
    first, last = span
    refusal: DataError | None = None
    for tried in dict.fromkeys([last if year is None else year, *range(last, first - 1, -1)]):
        try:
            code = resolve(name, year=tried, level=area.level, within=area.within).code
        except DataError as error:
            refusal = refusal or error
            continue
        if year is not None and not lineage(code, tried, year).same_territory:
            continue
        line = lineage(code, tried, last)
        return line.end[0].code if line.same_territory else code
    assert refusal is not None
    return _Unknown(name, row, refusal.what, refusal.remedy)
