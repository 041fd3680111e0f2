"""Periods: the time axis, and the many ways in which people write a year."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from evalkit.errors import DataError
from evalkit.numerics.arrays import Flags, Ints
from evalkit.tables.columns import name_rows
from evalkit.tables.contents import in_short, same_content

Frequency = Literal["integer", "quarter", "month", "day"]

_KINDS: dict[str, Frequency] = {"YE": "integer", "QE": "quarter"}
_ENDS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_QUARTER = re.compile(r"(\d{4})\s*(?:年第?|[-/. ]?[Qq])\s*([1-4])\s*(?:季度?)?")
_MONTH = re.compile(r"(\d{4})\s*(?:年|[-/.M])\s*(\d{1,2})\s*月?")
_YEAR = re.compile(r"(-?\d{1,9})(?:\.0*)?\s*年?")
_A_YEAR: dict[Frequency, float] = {"integer": 1, "quarter": 4, "month": 12, "day": 365.25}
_CALENDAR = (1000, 2999)  # whole numbers between these are taken for years
_FAR, _SPANS = 50, 3  # years, and times the length of the axis, beyond which a date has nothing to do with it


@dataclass(frozen=True, eq=False)
class Periods:
    """The time axis: positions 0, 1, 2, … count steps from the first period; a step is the greatest common gap.

    `observed` holds the positions that have rows. Years, quarters, months and days are ordinals of their frequency. Years, and
    the quarters in them, end with the month `year_end`.
    """

    frequency: Frequency
    first: int
    step: int
    observed: Ints
    year_end: int = 12

    __eq__ = same_content
    __repr__ = in_short

    @property
    def start(self) -> int:
        """Ordinal of the first period observed."""
        return self.first + int(self.observed[0]) * self.step

    @property
    def end(self) -> int:
        """Ordinal of the last period observed."""
        return self.first + int(self.observed[-1]) * self.step

    @property
    def on_calendar(self) -> bool:
        """Say whether the axis is of dates, or of whole numbers that are all taken for years."""
        return self.frequency != "integer" or (_CALENDAR[0] <= self.first and self.end <= _CALENDAR[1])

    def far_off(self, ordinals: Ints) -> Flags:
        """Flag ordinals (n,) that can be no date of what happens on this axis: a slip, or a code such as -1, 9999 or 20066.

        They are negative numbers where the axis has none; what lies more than 50 years, and three times the length of the axis,
        after its end; and what lies as far before it, on a calendar only before the year 1000, because laws may be old.
        """
        far = max(_FAR * _A_YEAR[self.frequency], _SPANS * (self.end - self.first))
        early = ordinals < self.first - far
        if self.on_calendar:
            # Days are counted from 1970, the others from the year 0.
            early &= ordinals < (_CALENDAR[0] - (1970 if self.frequency == "day" else 0)) * _A_YEAR[self.frequency]
        negative = (ordinals < 0) & (self.frequency == "integer" and self.first >= 0)
        return early | negative | (ordinals > self.end + far)

    def label(self, position: float) -> str:
        """Name the period at a position as a reader writes it: 2011, 2011Q3, 2011-07, 2011-07-15."""
        return self.name(self.first + int(position) * self.step)

    def name(self, ordinal: int) -> str:
        """Name an ordinal, which need not lie on a step of the axis."""
        if self.frequency == "quarter":
            return f"{ordinal // 4}Q{ordinal % 4 + 1}"
        if self.frequency == "month":
            return f"{ordinal // 12}-{ordinal % 12 + 1:02d}"
        if self.frequency == "day":
            return str(np.datetime64(ordinal, "D"))
        return str(ordinal)


def read_periods(
    values: pd.Series, frequency: Frequency | None = None, *, year_end: int = 12
) -> tuple[Ints, Flags, Frequency]:
    """Read periods as integers of one frequency: ordinals (n,), which are missing (n,), and the frequency.

    Understands integers and whole floats (years or any integer period), Timestamps and Periods, and text such as 2011, 2011年,
    2011Q3, 2011年第3季度, 2011-07, 2011-07-15, all in one form. Dates that share their month in several years are years. Periods
    of fiscal years and quarters (Y-MAR, Q-MAR) are called as pandas calls them, by the year in which they end. A frequency given
    beforehand, and the month with which its years end, are used for dates (an adoption date in a panel of years).
    """
    name = str(values.name)
    frame = values.to_frame()
    missing = values.isna().to_numpy(dtype=bool)
    if isinstance(values.dtype, np.dtype) and values.dtype.kind in "iu":
        return values.to_numpy(dtype=np.int64), missing, "integer"
    if isinstance(values.dtype, np.dtype) and values.dtype.kind == "b":
        raise DataError(
            f"column '{name}' is true or false, not a period", where=f"column '{name}'", remedy="name the period"
        )
    if isinstance(values.dtype, pd.PeriodDtype):
        own, _ = _fiscal(values.dtype)
        if own is not None and frequency in (None, own):
            known = pd.PeriodIndex(values[~missing])
            return _fill(known.year if own == "integer" else known.qyear * 4 + known.quarter - 1, missing), missing, own
        values = values.dt.to_timestamp()
    if isinstance(values.dtype, pd.DatetimeTZDtype) or values.dtype.kind == "M":
        return _from_dates(pd.Series(pd.DatetimeIndex(values).tz_localize(None)), missing, frequency, year_end)
    if isinstance(values.dtype, np.dtype) and values.dtype.kind == "f":
        raw = values.to_numpy(dtype=np.float64)
        whole = missing | (np.isfinite(raw) & (raw == np.floor(raw)) & (np.abs(raw) < 2**53))
        _refuse_periods(frame, ~whole, name)
        return np.where(missing, 0, np.where(missing, 0.0, raw)).astype(np.int64), missing, "integer"
    texts = [("" if gone else as_text(value)) for value, gone in zip(values.tolist(), missing.tolist(), strict=True)]
    for pattern, kind, base in ((_YEAR, "integer", 1), (_QUARTER, "quarter", 4), (_MONTH, "month", 12)):
        found = [pattern.fullmatch(text) for text in texts]
        if all(match or gone for match, gone in zip(found, missing.tolist(), strict=True)):
            ordinals = [0 if m is None else int(m[1]) * base + (int(m[2]) - 1 if base > 1 else 0) for m in found]
            if kind == "month":
                _refuse_periods(frame, np.array([m is not None and not 1 <= int(m[2]) <= 12 for m in found]), name)
            return np.array(ordinals, dtype=np.int64), missing, kind  # type: ignore[return-value]  # mypy widens the tuple
    dates = pd.to_datetime(pd.Series(texts).where(~missing), format="ISO8601", errors="coerce")
    _refuse_periods(frame, dates.isna().to_numpy(dtype=bool) & ~missing, name)
    short = np.array([any(form.fullmatch(text) for form in (_YEAR, _QUARTER, _MONTH)) for text in texts])
    _refuse_periods(frame, short & ~missing, name)  # beside dates, among which pandas takes a year for its first day
    return _from_dates(dates, missing, frequency, year_end)


def end_of_year(values: pd.Series, frequency: Frequency) -> int:
    """Return the month with which the years of a time axis end, as read_periods() has read it.

    It is December, except for Periods of fiscal years and quarters, and for dates that share another month than January: what
    happens after the last day of a June shows in the June of the next year.
    """
    if isinstance(values.dtype, pd.PeriodDtype):
        return _fiscal(values.dtype)[1]
    if frequency != "integer" or pd.api.types.is_numeric_dtype(values.dtype):
        return 12
    first = as_text(values.dropna().iloc[0])
    month = 12 if _YEAR.fullmatch(first) else int(pd.Timestamp(first).month)
    return 12 if month == 1 else month


def _fiscal(dtype: pd.PeriodDtype) -> tuple[Frequency | None, int]:
    """Return the frequency of Periods that are years or quarters (else None), and the month with which their year ends."""
    kind, _, end = dtype.freq.rule_code.partition("-")  # YE-MAR, QE-DEC, ME, W-SUN
    return _KINDS.get(kind), _ENDS.index(end) + 1 if end in _ENDS else 12


def as_text(value: Any) -> str:
    """Write a value of a column as text: whole floats without their point, full-width digits as plain ones."""
    if isinstance(value, float | np.floating) and float(value).is_integer():
        value = int(value)
    return unicodedata.normalize("NFKC", str(value)).strip()


def _from_dates(
    dates: pd.Series, missing: Flags, frequency: Frequency | None, year_end: int
) -> tuple[Ints, Flags, Frequency]:
    known = pd.DatetimeIndex(dates[~missing])
    month = known.month
    first_of_month = bool((known.day == 1).all() or known.is_month_end.all())
    if frequency is None:
        share_month = len(known) > 0 and bool((month == month[0]).all())
        if share_month and ((first_of_month and month[0] in (1, 12)) or known.year.nunique() > 1):
            frequency = "integer"
        elif first_of_month and (known.is_quarter_start.all() or known.is_quarter_end.all()):
            frequency = "quarter"
        else:
            frequency = "month" if first_of_month else "day"
    year = known.year + (month > year_end)
    found = {
        "integer": year,
        "quarter": year * 4 + (month - year_end - 1) % 12 // 3,
        "month": known.year * 12 + month - 1,
        "day": known.to_numpy().astype("datetime64[D]").astype(np.int64),
    }[frequency]
    return _fill(found, missing), missing, frequency


def _fill(known: object, missing: Flags) -> Ints:
    """Place the ordinals that are known among the rows; 0 where missing."""
    ordinals = np.zeros(len(missing), dtype=np.int64)
    ordinals[~missing] = np.asarray(known, dtype=np.int64)
    return ordinals


def _refuse_periods(frame: pd.DataFrame, bad: Flags, name: str) -> None:
    if bad.any():
        example = frame[name].iloc[int(np.argmax(bad))]
        raise DataError(
            f"'{example}' cannot be read as a period",
            where=name_rows(frame, bad, name),
            remedy="write years as 2011, quarters as 2011Q3, months as 2011-07, days as 2011-07-15, all in one form",
        )
