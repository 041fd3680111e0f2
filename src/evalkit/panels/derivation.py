"""Derivation: columns computed from others by a closed list of verbs, with their units and what has to be noted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pandas as pd

from evalkit.catalogue import Message, message
from evalkit.errors import DataError
from evalkit.numerics.arrays import Flags, Floats, Ints
from evalkit.panels.panel import Panel
from evalkit.panels.prices import INDEXES, check_index, real_output, row_index_levels
from evalkit.tables.columns import name_rows, numbers, require_column, require_ids
from evalkit.tables.units import convert, kind_of_unit

_SHARE = "share"  # the unit of a part of a whole


@dataclass(frozen=True)
class Derived:
    """A column's values (n,) in the panel's order, its unit (None: it has none), the columns it rests on, and notes."""

    values: Floats
    unit: str | None
    of: tuple[str, ...]
    notes: tuple[Message, ...] = ()


class Derivation(Protocol):
    """A rule that makes one column from others."""

    def derive(self, panel: Panel, name: str) -> Derived:
        """Compute the column `name`; missing stays missing. Raises DataError by row for values that cannot be used."""
        ...


@dataclass(frozen=True)
class Log:
    """The natural logarithm of a column; see `log`."""

    of: str

    def derive(self, panel: Panel, name: str) -> Derived:
        values = numbers(panel.frame, self.of)
        what = "is zero or negative in {rows} rows and has no logarithm there"
        _refuse(panel, self.of, values <= 0, what, "leave these rows out by name, or choose another outcome")
        return Derived(np.log(values), "log points", (self.of,))


@dataclass(frozen=True)
class AtLeast:
    """1 where a column is at least a value, else 0; see `at_least`."""

    of: str
    value: float

    def derive(self, panel: Panel, name: str) -> Derived:
        values = numbers(panel.frame, self.of)
        reached = np.where(np.isnan(values), np.nan, (values >= self.value).astype(np.float64))
        return Derived(reached, None, (self.of,))


@dataclass(frozen=True)
class EqualWeight:
    """Weights under which each value of a column weighs alike in each period; see `equal_weight`."""

    of: str
    times: str | None = None

    def derive(self, panel: Panel, name: str) -> Derived:
        return Derived(self.compute(panel.frame, panel.time), None, (self.of, *filter(None, [self.times])))

    def compute(self, frame: pd.DataFrame, time: str) -> Floats:
        """Compute the weights (n,) of the rows of a frame, 1 on average."""
        require_column(frame, self.of)
        base = np.ones(len(frame)) if self.times is None else numbers(frame, self.times)
        groups = [frame[self.of].to_numpy(), frame[time].to_numpy()]
        total = pd.Series(base).groupby(groups, dropna=False).transform("sum").to_numpy(dtype=np.float64)
        weight = np.where(frame[self.of].isna(), np.nan, base / total)
        scaled: Floats = weight / np.nanmean(weight)
        return scaled


@dataclass(frozen=True)
class Per:
    """A column over another; see `per`."""

    of: str
    by: str
    to: str | None = None

    def derive(self, panel: Panel, name: str) -> Derived:
        above, below = numbers(panel.frame, self.of), numbers(panel.frame, self.by)
        what = "is zero or negative in {rows} rows, which cannot be divided by"
        _refuse(
            panel, self.by, below <= 0, what, "correct these rows or leave them out; what is unknown is an empty cell"
        )
        values, unit = above / below, self._unit(panel)
        if self.to is not None:
            if unit is None:
                lacking = self.of if self.of not in panel.units else self.by
                raise DataError(
                    f"'{lacking}' has no unit, so that '{name}' cannot be expressed in '{self.to}'",
                    where=f"column '{lacking}'",
                    remedy="declare it with the source, in units= or its sidecar, or leave out to=",
                )
            values, unit = convert(values, unit, self.to, where=f"column '{name}'"), self.to
        return Derived(values, unit, (self.of, self.by))

    def _unit(self, panel: Panel) -> str | None:
        above, below = panel.units.get(self.of), panel.units.get(self.by)
        if above is None or below is None:
            return None
        return _SHARE if above == below and self.to is None else f"{above}/{below}"


@dataclass(frozen=True)
class Deflate:
    """Amounts of money in the prices of one year; see `deflate`."""

    of: str
    by: str
    index: str = ""
    within: str | None = None

    def __post_init__(self) -> None:
        if self.index not in INDEXES:
            check_index(self.index, (), where=f"deflate '{self.of}' by '{self.by}'")

    def derive(self, panel: Panel, name: str) -> Derived:
        amount = numbers(panel.frame, self.of)
        headers = [header for one in panel.provenance for column, header in one.headers if column == self.by]
        check_index(self.index, (self.by, *headers), where=f"column '{self.by}'")
        for column in (self.of, self.by):
            require_column(panel.frame, column)
            if column not in panel.units:
                raise DataError(
                    f"'{column}' has no unit",
                    where=f"column '{column}'",
                    remedy='declare it with the source: yuan, 万元, …; "上年=100" or "2019=100" for an index',
                )
        unit = panel.units[self.of]
        if not kind_of_unit(unit, where=f"column '{self.of}'").startswith("money"):
            raise DataError(
                f"'{self.of}' is in '{unit}', which is not an amount of money",
                where=f"column '{self.of}'",
                remedy="deflate a column in yuan, 万元, 元/亩 and the like",
            )
        periods = panel.periods
        if periods.frequency != "integer":
            raise DataError(
                f"the panel's periods are not years but {periods.frequency}s",
                where=f"column '{panel.time}'",
                remedy="deflate before the years are divided",
            )
        years = periods.first + panel.position * periods.step
        group = self._group_of_index(panel)
        index = pd.Series(numbers(panel.frame, self.by), index=panel.frame.index, name=self.by)
        level, base = row_index_levels(index, panel.units[self.by], years, group, within=self.within)
        _refuse(
            panel,
            self.by,
            np.isnan(level) & ~np.isnan(amount),
            f"has no value in {{rows}} rows in which '{self.of}' has one",
            "add it to the table of the index, or leave these rows out",
        )
        if self.index == "price":
            return Derived(amount / level, f"{unit} of {base}", (self.of, self.by))
        found, first, lacking = real_output(amount, level, years, group)
        _refuse(
            panel,
            self.of,
            lacking & ~np.isnan(amount),
            f"is in {{rows}} rows of units without a value in {first}, from which an index of volumes would chain it",
            "add that year, or leave these units out",
        )
        return Derived(np.where(np.isnan(amount), np.nan, found), f"{unit} of {first}", (self.of, self.by))

    def _group_of_index(self, panel: Panel) -> Ints:
        """Number the rows that share an index; one of volumes is a unit's own."""
        if self.index == "price":
            return _group(panel, self.within)
        if panel.unit_codes is None or self.within not in (None, panel.unit):
            raise DataError(
                "an index of volumes is that of one unit; what a group produces says nothing of the volumes of its members",
                where=f"column '{self.by}'",
                remedy=f"give each {panel.unit or 'unit'} its own index of volumes, or take an index of prices",
            )
        return panel.unit_codes.values


@dataclass(frozen=True)
class Winsorise:
    """A column whose extremes are moved to quantiles; see `winsorise`."""

    of: str
    lower: float = 0.01
    upper: float = 0.99
    each_period: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.lower < self.upper <= 1:
            raise DataError(
                f"{self.lower} and {self.upper} are not a lower and an upper quantile",
                where="winsorise",
                remedy="give fractions such as 0.01 and 0.99",
            )

    def derive(self, panel: Panel, name: str) -> Derived:
        values = numbers(panel.frame, self.of)
        _refuse(panel, self.of, np.isinf(values), "is infinite in {rows} rows", "correct these rows")
        cells = pd.Series(values).groupby(panel.position if self.each_period else np.zeros(len(values)))
        low, high = (cells.transform("quantile", q).to_numpy(dtype=np.float64) for q in (self.lower, self.upper))
        below, above = values < low, values > high
        note = message(
            "note.winsorised",
            column=name,
            of=self.of,
            low=f"{100 * self.lower:g} %",
            high=f"{100 * self.upper:g} %",
            number=int(below.sum() + above.sum()),
            below=int(below.sum()),
            above=int(above.sum()),
            total=int((~np.isnan(values)).sum()),
            scope=message("note.winsorised_each" if self.each_period else "note.winsorised_all"),
        )
        moved = np.where(np.isnan(values), np.nan, np.clip(values, low, high))
        return Derived(moved, panel.units.get(self.of), (self.of,), (note,))


@dataclass(frozen=True)
class Lag:
    """A column's value of an earlier period; see `lag`."""

    of: str
    periods: int = 1

    def __post_init__(self) -> None:
        if self.periods < 1:
            raise DataError(f"periods = {self.periods} looks ahead", where="lag", remedy="give 1 or more")

    def derive(self, panel: Panel, name: str) -> Derived:
        values = numbers(panel.frame, self.of)
        if panel.unit_codes is None:
            raise DataError(
                "repeated cross-sections do not follow a unit, so that nothing can be lagged",
                where=f"column '{self.of}'",
                remedy="name the unit",
            )
        unit, position = panel.unit_codes.values, panel.position
        width = int(position.max()) + 1 + self.periods
        key = unit * width + position + self.periods  # sorted, as the panel is
        at = np.minimum(np.searchsorted(key, key - self.periods), len(key) - 1)
        known = key[at] == key - self.periods
        too_early = position - self.periods < position[panel.starts][unit]
        note = message(
            "note.lagged",
            column=name,
            of=self.of,
            periods=self.periods,
            number=int((~known).sum()),
            early=int((~known & too_early).sum()),
            gaps=int((~known & ~too_early).sum()),
        )
        return Derived(np.where(known, values[at], np.nan), panel.units.get(self.of), (self.of,), (note,))


@dataclass(frozen=True)
class Share:
    """A column as a share of its total in a group and period; see `share`."""

    of: str
    within: str | None = None

    def derive(self, panel: Panel, name: str) -> Derived:
        values = numbers(panel.frame, self.of)
        what = "is negative or infinite in {rows} rows and is no part of a total"
        _refuse(panel, self.of, (values < 0) | np.isinf(values), what, "correct these rows, or leave them out")
        cells = [_group(panel, self.within), panel.position]
        total = pd.Series(values).groupby(cells).transform("sum").to_numpy(dtype=np.float64)
        lacking = pd.Series(np.isnan(values)).groupby(cells).transform("any").to_numpy(dtype=bool)
        none = (total == 0) & ~lacking
        found = np.where(lacking | none, np.nan, values / np.where(total > 0, total, 1.0))
        note = message("note.share", column=name, of=self.of, lacking=int(lacking.sum()), none=int(none.sum()))
        notes = (note,) if np.isnan(found).any() else ()
        return Derived(found, _SHARE, (self.of, *filter(None, [self.within])), notes)


def _group(panel: Panel, within: str | None) -> Ints:
    """Number the groups of rows; a row without one is refused."""
    if within is None:
        return np.zeros(len(panel), dtype=np.int64)
    require_ids(panel.frame, within, panel.codes(within), "group")
    return panel.codes(within).values


def _refuse(panel: Panel, column: str, rows: Flags, what: str, remedy: str) -> None:
    """Raise DataError naming the flagged rows, if there are any."""
    if rows.any():
        raise DataError(
            f"'{column}' {what.format(rows=int(rows.sum()))}", where=name_rows(panel.frame, rows, column), remedy=remedy
        )


def log(of: str) -> Log:
    """Derive the natural logarithm of a column; zero and negative values are refused by row, never made infinite."""
    return Log(of)


def at_least(of: str, value: float) -> AtLeast:
    """Derive 1 where a column is at least `value` and 0 where it is less."""
    return AtLeast(of, value)


def equal_weight(of: str, times: str | None = None) -> EqualWeight:
    """Derive weights, 1 on average, under which each value of column `of` weighs alike in each period.

    `times` names a column of weights that are kept in proportion within it. With them an estimate lets counties (say) count
    equally, however many farms were observed in each: another estimand than the average farm's.
    """
    return EqualWeight(of, times)


def per(of: str, by: str, to: str | None = None) -> Per:
    """Derive a column over another, in the unit of the one per that of the other, or in the unit `to` ("kg/ha").

    Zero and negative values below the line are refused by row.
    """
    return Per(of, by, to)


def deflate(of: str, by: str, index: str = "", within: str | None = None) -> Deflate:
    """Derive an amount of money in constant prices by the column `by`, an index of prices or of volumes: `index` has to say.

    "price" (…价格指数): the amount is divided by the level of prices. The index has one number in each year, or in each year and
    region of column `within`. "volume" (…总产值指数, in comparable prices): the amount of the panel's first year is multiplied by
    the unit's own index since then. Its unit is "上年=100" or "previous year=100" (chained: prices of the panel's first year) or
    "2019=100" (prices of that year; volumes: of the panel's first). Every year has to be there. A column whose name, here or in
    its file, says the other kind is refused.
    """
    return Deflate(of, by, index, within)


def winsorise(of: str, lower: float = 0.01, upper: float = 0.99, each_period: bool = False) -> Winsorise:
    """Derive a column in which values beyond two quantiles are moved to them; a note says how many.

    Quantiles are over all rows, or in each period, each row weighing alike; between two values they are interpolated linearly.
    """
    return Winsorise(of, lower, upper, each_period)


def lag(of: str, periods: int = 1) -> Lag:
    """Derive a unit's value so many periods before, along the panel's time axis; missing where the unit has no row there."""
    return Lag(of, periods)


def share(of: str, within: str | None = None) -> Share:
    """Derive a column as a share of its total over the rows of a period, or of a period and value of `within`.

    Shares add up to 1. Where a value is missing or the total is 0, the shares of that total are missing, and a note says so.
    """
    return Share(of, within)


VERBS = {
    "log": Log,
    "at_least": AtLeast,
    "equal_weight": EqualWeight,
    "per": Per,
    "deflate": Deflate,
    "winsorise": Winsorise,
    "lag": Lag,
    "share": Share,
}
