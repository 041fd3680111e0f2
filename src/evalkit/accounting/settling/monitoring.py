"""Monitored values by keys and period: each settlement's numbers, in the unit that a rule asks for."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from copy import copy

import numpy as np

from evalkit.accounting._tables import located, require_columns, require_keys, unit_of, values_of
from evalkit.accounting.credit.stated import plain_mass
from evalkit.errors import DataError, nearest
from evalkit.numerics.arrays import Flags, Floats, Ints
from evalkit.tables.columns import name_rows
from evalkit.tables.periods import Frequency, read_periods
from evalkit.tables.table import Table
from evalkit.tables.units import convert, same_unit

_SHARES = {"": 1.0, "1": 1.0, "share": 1.0, "比例": 1.0, "%": 0.01, "percent": 0.01, "‰": 0.001}


def bare_unit(unit: str) -> str:
    """Write a unit in half width without blanks."""
    return "".join(unicodedata.normalize("NFKC", unit).split())


def is_share(unit: str) -> bool:
    """Tell whether a unit is that of a part of a whole: none, share, % or ‰."""
    return bare_unit(unit) in _SHARES


def in_unit(values: Floats, unit: str, to: str, *, where: str) -> Floats:
    """Convert numbers, shares (without a unit, share, % and ‰) among them; units that are written alike need not be known."""
    if is_share(unit) and is_share(to):
        one, other = _SHARES[bare_unit(unit)], _SHARES[bare_unit(to)]
        return values * one / other if one != other else values
    if not unit or not to:
        shown = " and ".join(f"'{one}'" if one else "no unit" for one in (unit, to))
        raise DataError(f"{shown} do not compare", where=where, remedy="declare the unit in both places, or in neither")
    return values if same_unit(unit, to) else convert(values, unit, to, where=where)


_LENGTHS = ("day", "month", "quarter", "year")  # from the shortest


class Monitor:
    """The rows of a table, grouped by `keys` and period into the settlements, n of them, in the order of the table."""

    def __init__(
        self, table: Table, keys: Sequence[str], period: str, section: str | None, settles: str, kind: Frequency
    ) -> None:
        self.table, self.keys, self.period, self.section, self.kind = table, tuple(keys), period, section, kind
        by = [*keys, period, *([] if section is None else [section])]
        if not len(table.frame):
            raise DataError("the table has no rows", where=table.name, remedy="check the source")
        require_keys(table, by)
        ordinals, _, frequency = read_periods(table.frame[period])
        if frequency != kind:
            found = {"integer": "year"}.get(frequency, frequency)
            finer = _LENGTHS.index(found) < _LENGTHS.index(settles)
            remedy = f"the schedule needs a row for each {settles}, which cannot be made of {found}s"
            if finer:
                remedy = (
                    f"put the {found}s of each {settles} together first, by their mean or their sum as the agreement says, and "
                    f"give one row per {settles}"
                )
            raise DataError(
                f"the schedule settles by {settles}, and the periods of the table are {found}s",
                where=f"{table.name}, column '{period}'",
                remedy=remedy,
            )
        columns = [table.frame[key].tolist() for key in keys]
        groups = list(zip(*columns, ordinals.tolist(), strict=True))
        sections = [None] * len(groups) if section is None else table.frame[section].tolist()
        self._rows: dict[tuple[object, ...], int] = {}
        for row, found_at in enumerate(zip(groups, sections, strict=True)):
            if found_at in self._rows:  # 2012 and "2012年" are one year
                raise DataError(
                    f"row {table.frame.index[row]} repeats the keys of row {table.frame.index[self._rows[found_at]]}",
                    where=f"{table.name}, column '{period}'",
                    remedy=f"keep one row per {' and '.join(by)}",
                )
            self._rows[found_at] = row
        self.groups = list(dict.fromkeys(groups))
        first = {group: row for row, group in reversed(list(enumerate(groups)))}
        self.first = np.array([first[group] for group in self.groups], dtype=np.int64)
        self.ordinals: Ints = np.array([group[-1] for group in self.groups], dtype=np.int64)
        self.sections = set(sections)

    def at(self, positions: Ints) -> Monitor:
        """Keep some of the settlements; what lies periods before is still found."""
        part = copy(self)
        part.groups = [self.groups[i] for i in positions.tolist()]
        part.first, part.ordinals = self.first[positions], self.ordinals[positions]
        return part

    def rows(self, settlements: Flags) -> str:
        """Name the table and the first row of up to three of the flagged settlements."""
        first = self.first[settlements]
        listed = ", ".join(str(self.table.frame.index[row]) for row in first[:3].tolist())
        return f"{self.table.name}, row{'s' if len(first) > 1 else ''} {listed}{', …' if len(first) > 3 else ''}"

    def numbers(
        self,
        column: str,
        unit: str,
        section: str = "",
        *,
        before: int = 0,
        negative: bool = False,
        within: tuple[float, float] | None = None,
    ) -> Floats:
        """Return a column in `unit` for each settlement (n,), NaN where there is no row or no value.

        Of a section, if one is named, and so many periods before. Raises DataError for a column or section that the table does
        not have, negative numbers, those not `within` two bounds (in `unit`), and a unit that does not convert.
        """
        if bool(section) != (self.section is not None):
            what = f"'{column}' is of no section" if not section else f"'{column}' is of the section '{section}'"
            remedy = 'name the column of sections: section="…"' if section else "leave out section="
            raise DataError(what, where=self.table.name, remedy=remedy)
        if section and section not in self.sections:
            raise DataError(
                f"there is no section '{section}'",
                where=f"{self.table.name}, column '{self.section}'",
                remedy=nearest(section, map(str, self.sections)),
            )
        values = values_of(self.table, column)
        if not negative and (values < 0).any():
            where = located(self.table, values < 0, column)
            raise DataError(
                f"'{column}' is negative", where=where, remedy="correct these rows, or leave the cells empty"
            )
        declared = self.table.units.get(column, "") if unit in ("", "1") else unit_of(self.table, column)
        of_rule = f" (the schedule reads it in '{unit}')" if unit else ""
        values = in_unit(
            values, plain_mass(declared), plain_mass(unit), where=f"{self.table.name}, column '{column}'{of_rule}"
        )
        if within is not None:
            slack = 1e-12 * max(map(abs, within))  # 0.07 × 100 is not 7 in binary
            outside = (values < within[0] - slack) | (values > within[1] + slack)
            if outside.any():
                raise DataError(
                    f"'{column}' is not within {within[0]:g} and {within[1]:g}{f' {unit}' if unit else ''}",
                    where=located(self.table, outside, column),
                    remedy="correct these rows, or the unit of the column; an unknown value is an empty cell",
                )
        wanted = [((*group[:-1], group[-1] - before), section or None) for group in self.groups]
        at = np.array([self._rows.get(key, -1) for key in wanted], dtype=np.int64)
        return np.where(at >= 0, values[at], np.nan)

    def names(self, column: str) -> list[str]:
        """Return a column of names for each settlement; a missing one is refused by row."""
        require_columns(self.table, [column])
        if self.section is not None and column not in self.keys:
            remedy = "name it among keys=, or name the party in the schedule"
            raise DataError(f"'{column}' may differ between sections", where=self.table.name, remedy=remedy)
        cells = self.table.frame[column]
        missing = (cells.isna() | (cells.astype(str).str.strip() == "")).to_numpy(dtype=bool)
        if missing.any():
            where = f"{self.table.name}, {name_rows(self.table.frame, missing, column)}"
            raise DataError(f"the party '{column}' is missing", where=where, remedy="fill it in")
        named = cells.astype(str).tolist()
        return [named[row] for row in self.first.tolist()]
