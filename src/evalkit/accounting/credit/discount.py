"""Rate discount: by how much a loan gets cheaper for a reduction of emissions, in both readings of the printed rule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, overload

import numpy as np
import numpy.typing as npt

from evalkit.accounting._tables import unit_of, values_of
from evalkit.accounting.credit.stated import (
    PERCENT,
    Stated,
    choose_from,
    count_missing,
    part_of_whole,
    refuse_rows,
    result,
    state,
)
from evalkit.errors import DataError
from evalkit.numerics.arrays import Flags, Floats
from evalkit.tables.contents import in_short, same_content
from evalkit.tables.table import Table

_Reading = Literal["points", "relative"]
_READINGS = ("points", "relative")
_RATES = {"%": 1.0, "%ayear": 1.0, "年%": 1.0, "percent": 1.0, "share": 100.0}  # per cent a year that one is
_LEAST_RATE = 0.36  # % a year: every rate up to 36 % lies at or below this when it is written as a fraction


@dataclass(frozen=True, eq=False)
class Discount:
    """What comes of plain numbers: the discount in basis points and percentage points, of the shape of the reduction.

    `rate_after` is the discounted rate in % a year, None where no rate was given. `notes` names the reading, the rule and its
    source, and counts reductions below 0, which lower no rate, and those that are missing.
    """

    basis_points: float | Floats
    rate_after: float | Floats | None
    reading: str
    notes: str

    __eq__ = same_content
    __repr__ = in_short

    @property
    def percentage_points(self) -> float | Floats:
        """The discount in percentage points: basis points / 100."""
        return self.basis_points / 100


@overload
def rate_discount(
    reduction: Table,
    *,
    reading: _Reading,
    rate: str | None = None,
    column: str = "reduction",
    unit: str = "",
    per_percent: float | str = "changji_rate_discount",
    source: str = "",
    status: str = "",
    keys: tuple[str, ...] = (),
    name: str = "rate_discount",
) -> Table: ...


@overload
def rate_discount(
    reduction: npt.ArrayLike,
    *,
    reading: _Reading,
    rate: npt.ArrayLike | None = None,
    unit: str = "",
    per_percent: float | str = "changji_rate_discount",
    source: str = "",
    status: str = "",
) -> Discount: ...


def rate_discount(
    reduction: Table | npt.ArrayLike,
    *,
    reading: _Reading,
    rate: str | npt.ArrayLike | None = None,
    column: str = "reduction",
    unit: str = "",
    per_percent: float | str = "changji_rate_discount",
    source: str = "",
    status: str = "",
    keys: tuple[str, ...] = (),
    name: str = "rate_discount",
) -> Table | Discount:
    """Apply the rule "each 1 % of reduction lowers the loan rate by 0.1 percentage point", in a reading that must be named.

    `reading="points"`: 0.1 percentage point (10 bp) for each 1 %, so that 25 % are 2.5 points or 250 bp.
    `reading="relative"`: 0.1 % of the rate for each 1 %, so that 25 % lower a rate of 4.35 % by 2.5 % of itself, 10.875 bp;
    it needs `rate`. The 40 bp that the same source prints for a reduction of 25 % come of neither reading.

    Of a Table: `column` holds the reduction, in the declared unit "%" or "share", `rate` names the column of rates ("% a
    year", "%" or "share"). The result is a Table with `keys` (all columns, where none are named), `{name}` in bp and, where
    there is a rate, `{name}_rate`, the rate after the discount, in % a year. Of plain numbers: `reduction` and `rate` are
    numbers or arrays of one shape, the rate in % a year and the reduction in % or in `unit`; the result is a `Discount`.
    Reductions none of which is above 1 could be either, and need unit=; rates none of which is above 0.36 are fractions, and
    are refused.

    `per_percent` is the 0.1 of the printed rule, or a number of another rule with its `source` and `status` (published, computed,
    recalled, assumed). A reduction below 0 is an increase: it lowers nothing, and is counted in the notes. Missing stays missing.
    Raises DataError for a unit that is not declared, a reduction above 100 %, a negative rate, and a discounted rate below 0,
    naming the rows.
    """
    choose_from("reading", reading, _READINGS)
    figure = state(per_percent, "per 1 %", source, status, name="per_percent")
    if reading == "relative" and rate is None:
        raise DataError(
            'the reading "relative" lowers a rate by a part of itself, and no rate is given',
            where="rate=",
            remedy="name the column of rates, or give the rate in % a year",
        )
    if isinstance(reduction, Table):
        if unit:
            raise DataError(
                "unit= is for plain numbers", where="unit=", remedy=f"declare the unit of '{column}' in the table"
            )
        if not isinstance(rate, str | None):
            raise DataError(
                "rate= is no column", where="rate=", remedy="name the column of the table that has the rate"
            )
        return _of_table(reduction, reading, rate, column, figure, keys, name)
    return _of_numbers(reduction, reading, rate, unit, figure)


def _of_table(
    table: Table, reading: str, rate: str | None, column: str, figure: Stated, keys: tuple[str, ...], name: str
) -> Table:
    percent = values_of(table, column) * part_of_whole(unit_of(table, column), f"{table.name}, column '{column}'")
    rates = None
    if rate is not None:
        rates = values_of(table, rate) * part_of_whole(unit_of(table, rate), f"{table.name}, column '{rate}'", _RATES)
        refuse_rows(table, rates < 0, rate, f"'{rate}' is negative", "correct these rows")
    remedy = "correct these rows, or the unit of the column: nobody emits less than nothing"
    refuse_rows(table, percent > 100, column, f"'{column}' is above 100 %", remedy)
    points = _discount(percent, rates, reading, figure)
    made, units = {name: points}, {name: "bp"}
    missing = count_missing(points, name)
    if rate is not None and rates is not None:
        after = _lower(rates, points)
        refuse_rows(table, after < 0, rate, "the rate after the discount is below 0", _below(reading))
        made[f"{name}_rate"], units[f"{name}_rate"] = after, "% a year"
        if np.isnan(after).sum() > np.isnan(points).sum():
            missing += count_missing(after, f"{name}_rate")
    notes = [*_notes(reading, figure, percent < 0, rates is None), *missing]
    return result(table, keys, made, units, notes, [figure], name)


def _of_numbers(
    reduction: npt.ArrayLike, reading: str, rate: npt.ArrayLike | None, unit: str, figure: Stated
) -> Discount:
    percent = _array(reduction, "reduction")
    if unit:
        percent = percent * part_of_whole(unit, "unit=", PERCENT)
    elif (percent != 0).any() and not (np.abs(percent) > 1).any():
        raise DataError(
            "no reduction is above 1, so that they may be shares or small percentages",
            where="reduction",
            remedy='say which: unit="share" or unit="%"',
        )
    _refuse_places(percent > 100, "reduction", "is above 100 %", "write a reduction in %")
    rates = None
    if rate is not None:
        rates = _array(rate, "rate")
        if rates.shape not in ((), percent.shape):
            raise DataError(
                f"there are {rates.size} rates for {percent.size} reductions", where="rate=", remedy="give one for each"
            )
        _refuse_places(rates < 0, "rate", "is negative", "write the rate in % a year")
        if (rates > 0).any() and not (rates > _LEAST_RATE).any():
            raise DataError(
                f"no rate is above {_LEAST_RATE} % a year, so that they are fractions",
                where="rate=",
                remedy="write 4.35 for 4.35 % a year; rates that are so low belong into a Table with their unit",
            )
    points = _discount(percent, rates, reading, figure)
    after = None if rates is None else _lower(rates, points)
    if after is not None:
        _refuse_places(after < 0, "rate", "after the discount is below 0", _below(reading))
    missing = count_missing(points.ravel(), "the discount")
    notes = "; ".join([*_notes(reading, figure, percent < 0, rates is None), *missing])
    return Discount(_plain(points), None if after is None else _plain(after), reading, notes)


def _discount(percent: Floats, rates: Floats | None, reading: str, figure: Stated) -> Floats:
    """Return basis points: a point is 100 of them, and figure.value % of a rate in % is figure.value · rate of them."""
    counted = np.where(percent < 0, 0.0, percent)  # NaN is not below 0, and stays
    each = figure.value * 100 if reading == "points" or rates is None else figure.value * rates
    return np.asarray(counted * each, dtype=np.float64)


def _lower(rates: Floats, points: Floats) -> Floats:
    """Return the rate after the discount; what differs from 0 by rounding alone is 0."""
    after = rates - points / 100
    return np.where(np.abs(after) <= 1e-12 * np.maximum(rates, 1.0), 0.0, after)


def _notes(reading: str, figure: Stated, increased: Flags, unseen: bool) -> list[str]:
    meant = "percentage point" if reading == "points" else "% of the rate"
    said = f"{figure.value:g} {meant} less for each 1 % of reduction (reading='{reading}'), {figure.status} ({figure.source})"
    notes = [said]
    if increased.any():
        notes.append(f"{int(increased.sum())} rows have a reduction below 0, an increase: their rate is not lowered")
    if unseen:
        notes.append("no rate was given, so that it was not looked at whether a discounted rate is below 0")
    return notes


def _below(reading: str) -> str:
    other = 'the source may mean reading="relative"; ' if reading == "points" else ""
    return f"{other}correct the reduction or the rate, or leave these rows out"


def _array(given: npt.ArrayLike, name: str) -> Floats:
    raw = np.asarray(given, dtype=object)
    kinds: set[Any] = {type(one) for one in raw.ravel().tolist()}
    try:
        if any(
            issubclass(kind, str | bytes | bool | np.bool_) for kind in kinds
        ):  # NumPy reads "25" and True as numbers
            raise TypeError
        values = np.asarray(raw, dtype=np.float64)
    except (TypeError, ValueError):
        raise DataError(f"{name} is no number and no array of numbers", where=name, remedy="give numbers") from None
    _refuse_places(np.isinf(values), name, "is infinite", "give finite numbers")
    return values


def _refuse_places(wrong: Flags, name: str, what: str, remedy: str) -> None:
    if wrong.any():
        places = np.flatnonzero(wrong)
        where = name if wrong.ndim == 0 else f"{name}, places {', '.join(map(str, places[:3]))}"
        raise DataError(f"the {name} {what}", where=where, remedy=remedy)


def _plain(values: Floats) -> float | Floats:
    return float(values) if values.ndim == 0 else values
