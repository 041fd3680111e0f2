"""Panel: units over periods, one row per unit-period, its key verified once, with the ledger of rows left out on the way."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import narwhals as nw
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from evalkit.catalogue import Message
from evalkit.errors import DataError, nearest
from evalkit.table import Provenance

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]
Frequency = Literal["integer", "quarter", "month", "day"]

_LONGEST = 10_000_000  # steps on a time axis: memory is taken for each

_QUARTER = re.compile(r"(\d{4})\s*(?:年第?|[-/. ]?[Qq])\s*([1-4])\s*(?:季度?)?")
_MONTH = re.compile(r"(\d{4})\s*(?:年|[-/.M])\s*(\d{1,2})\s*月?")
_YEAR = re.compile(r"(-?\d{1,9})(?:\.0*)?\s*年?")


@dataclass(frozen=True)
class Dropped:
    """One line of the ledger: how many rows and units a step left out, and why."""

    step: str
    reason: Message
    rows: int
    units: int


@dataclass(frozen=True)
class Codes:
    """A column as integers: `values` (n,) index `labels`, which are sorted; -1 where the column is missing."""

    values: Ints
    labels: tuple[Any, ...]


@dataclass(frozen=True)
class Periods:
    """The time axis: positions 0, 1, 2, … count steps from the first period; a step is the greatest common gap.

    `observed` holds the positions that have rows. Years, quarters, months and days are ordinals of their frequency.
    """

    frequency: Frequency
    first: int
    step: int
    observed: Ints

    def label(self, position: float) -> str:
        """Name the period at a position as a reader writes it: 2011, 2011Q3, 2011-07, 2011-07-15."""
        ordinal = self.first + int(position) * self.step
        if self.frequency == "quarter":
            return f"{ordinal // 4}Q{ordinal % 4 + 1}"
        if self.frequency == "month":
            return f"{ordinal // 12}-{ordinal % 12 + 1:02d}"
        if self.frequency == "day":
            return str(np.datetime64(ordinal, "D"))
        return str(ordinal)


@dataclass(frozen=True)
class Panel:
    """Rows sorted by unit and period, with the key verified; make one with `Panel.from_frame`.

    `position` (n,) places each row on `periods`; `unit_codes` is None for repeated cross-sections. `counts` names the column
    of frequencies of collapsed rows, `within` the column with the squares inside each collapsed row (see `collapse`).
    """

    frame: pd.DataFrame
    unit: str | None
    time: str
    position: Ints
    periods: Periods
    unit_codes: Codes | None
    counts: str | None = None
    within: str | None = None
    units: Mapping[str, str] = field(default_factory=dict)
    provenance: tuple[Provenance, ...] = ()
    ledger: tuple[Dropped, ...] = ()
    notes: tuple[Message, ...] = ()
    _cache: dict[str, Codes] = field(default_factory=dict, repr=False, compare=False)

    @staticmethod
    def from_frame(
        frame: Any,
        *,
        unit: str | None,
        time: str,
        counts: str | None = None,
        units: Mapping[str, str] | None = None,
        provenance: tuple[Provenance, ...] = (),
    ) -> Panel:
        """Verify the key of a frame and sort it; the input is not modified.

        `frame` is anything that narwhals reads (pandas, polars, Arrow, DuckDB, …). `unit=None` declares repeated
        cross-sections. `counts` names a column with how many original rows each row stands for.
        Raises DataError for missing or duplicate keys, an unreadable period, an empty table, a missing column.
        """
        table = _to_pandas(frame)
        if table.columns.duplicated().any():
            twice = table.columns[table.columns.duplicated()][0]
            raise DataError(f"column '{twice}' stands twice in the table", remedy="rename or drop one of them")
        for column in (unit, time, counts):
            if column is not None:
                require_column(table, column)
        if not len(table):
            raise DataError("the table has no rows", remedy="check the source and the filters before this step")
        ordinals, missing, frequency = read_periods(table[time])
        if missing.any():
            raise DataError(
                f"the period is missing in {int(missing.sum())} rows",
                where=place(table, missing, time),
                remedy="fill in the period or leave these rows out",
            )
        codes = factorise(table[unit]) if unit is not None else None
        if codes is not None:
            require_ids(table, str(unit), codes, "unit")
        first, last = int(ordinals.min()), int(ordinals.max())
        distinct = _distinct(ordinals, first, last)
        step = int(np.gcd.reduce(np.diff(distinct))) if len(distinct) > 1 else 1
        position = (ordinals - first) // step
        periods = Periods(frequency, first, step, (distinct - first) // step)
        if periods.observed[-1] > _LONGEST:
            raise DataError(
                f"{len(distinct)} periods lie up to {int(periods.observed[-1])} steps apart",
                where=f"column '{time}'",
                remedy="write periods as years, quarters, months or days, not as moments",
            )
        if codes is not None:
            key = codes.values * (int(periods.observed[-1]) + 1) + position
            steps = np.diff(key)
            if (steps < 0).any():
                order = np.argsort(key, kind="stable")
                table, position, codes = table.iloc[order], position[order], replace(codes, values=codes.values[order])
                steps = np.diff(key[order])
            if (steps == 0).any():
                _refuse_duplicates(table, str(unit), time, steps == 0)
        if counts is not None:
            times = numbers(table, counts)
            if not (np.isfinite(times) & (times > 0)).all():
                raise DataError(
                    f"counts in '{counts}' must be positive numbers",
                    where=place(table, ~(np.isfinite(times) & (times > 0)), counts),
                    remedy="leave out rows that stand for no observation",
                )
            if codes is not None and ((np.diff(codes.values) == 0) & (np.diff(times) != 0)).any():
                raise DataError(
                    f"counts in '{counts}' change within a unit",
                    where=f"column '{counts}'",
                    remedy="a row of a panel stands for the same number of units in each period",
                )
        return Panel(table, unit, time, position, periods, codes, counts, None, dict(units or {}), provenance)

    def __len__(self) -> int:
        return len(self.frame)

    @cached_property
    def starts(self) -> Ints:
        """First row of each unit (U,); every row, for repeated cross-sections."""
        return np.arange(len(self.frame)) if self.unit_codes is None else first_rows(self.unit_codes.values)

    def codes(self, column: str) -> Codes:
        """Return a column as sorted integer codes (computed once)."""
        if column not in self._cache:
            require_column(self.frame, column)
            self._cache[column] = factorise(self.frame[column])
        return self._cache[column]

    def where(self, column: str, equals: Any) -> Panel:
        """Keep the rows in which `column` equals a value; the rest enter the ledger."""
        require_column(self.frame, column)
        keep = (self.frame[column] == equals).fillna(False).to_numpy(dtype=bool)
        if not keep.any():
            found = ", ".join(map(str, factorise(self.frame[column]).labels[:8]))
            raise DataError(f"no row has {column} = {equals!r}", where=column, remedy=f"choose one of: {found}")
        reason = Message("ledger.where", (("column", column), ("equals", equals)))
        return self.keep(keep, "panel", reason)

    def keep(self, rows: Flags, step: str, reason: Message) -> Panel:
        """Keep the flagged rows; count the others in the ledger under a step and a reason."""
        if rows.all():
            return self
        kept = Panel.from_frame(
            self.frame[rows],
            unit=self.unit,
            time=self.time,
            counts=self.counts,
            units=self.units,
            provenance=self.provenance,
        )
        lost = count_lost_units(self.unit_codes.values, rows) if self.unit_codes is not None else 0
        line = Dropped(step, reason, int((~rows).sum()), lost)
        return replace(kept, within=self.within, ledger=(*self.ledger, line), notes=self.notes)

    def with_column(self, column: str, values: Any) -> Panel:
        """Return the panel with one column added or replaced (values in the panel's row order)."""
        cache = {name: codes for name, codes in self._cache.items() if name != column}
        return replace(self, frame=self.frame.assign(**{column: values}), _cache=cache)


def first_rows(codes: Ints) -> Ints:
    """Positions where a run of equal codes begins."""
    return np.flatnonzero(np.concatenate([[True], codes[1:] != codes[:-1]]))


def count_lost_units(unit: Ints, kept: Flags) -> int:
    """Count units of which no row is kept."""
    return len(np.unique(unit)) - len(np.unique(unit[kept]))


def require_column(frame: pd.DataFrame, column: str) -> None:
    """Raise DataError naming the nearest column when the frame lacks this one."""
    if column not in frame.columns:
        raise DataError(
            f"there is no column '{column}'", where="table", remedy=nearest(column, map(str, frame.columns))
        )


def require_ids(frame: pd.DataFrame, column: str, codes: Codes, noun: str) -> None:
    """Raise DataError where an identifier is missing, or an infinite number."""
    wrong, how = codes.values < 0, "missing"
    infinite = [i for i, label in enumerate(codes.labels) if isinstance(label, float) and math.isinf(label)]
    if infinite and not wrong.any():
        wrong, how = np.isin(codes.values, infinite), "infinite"
    if wrong.any():
        raise DataError(
            f"the {noun} is {how} in {int(wrong.sum())} rows",
            where=place(frame, wrong, column),
            remedy=f"fill in the {noun} or leave these rows out",
        )


def place(frame: pd.DataFrame, rows: Flags, column: str) -> str:
    """Name up to three of the flagged rows by their index label (the row in the file, for a loaded table)."""
    labels = frame.index[rows]
    listed = ", ".join(str(label) for label in labels[:3]) + (", …" if len(labels) > 3 else "")
    return f"column '{column}', row{'s' if len(labels) > 1 else ''} {listed}"


def numbers(frame: pd.DataFrame, column: str) -> Floats:
    """Return a column as float64, NaN where missing; raise DataError for text where a number should be."""
    require_column(frame, column)
    values = frame[column]
    if isinstance(values.dtype, np.dtype) and values.dtype.kind in "iufb":
        return values.to_numpy(dtype=np.float64)
    if isinstance(values.dtype, pd.CategoricalDtype) or values.dtype.kind in "Mm":
        raise DataError(
            f"column '{column}' holds {values.dtype}, not numbers",
            where=f"column '{column}'",
            remedy="use a numeric column; categories go into absorb=(…)",
        )
    missing = values.isna().to_numpy(dtype=bool)
    converted = np.full(len(values), np.nan)
    bad = np.zeros(len(values), dtype=bool)
    for i, value in enumerate(values.tolist()):
        if missing[i]:
            continue
        if isinstance(value, str):
            bad[i] = True
            continue
        try:
            converted[i] = float(value)
        except (TypeError, ValueError):
            bad[i] = True
    if bad.any():
        example = values.iloc[int(np.argmax(bad))]
        raise DataError(
            f"'{example}' is not a number; {int(bad.sum())} of {len(values)} values are text",
            where=place(frame, bad, column),
            remedy="write plain numbers such as 1234.5 (no thousands separators, no notes), or leave the cell empty",
        )
    return converted


def factorise(values: pd.Series) -> Codes:
    """Turn a column into sorted integer codes; -1 where missing. Text and numbers in one column are refused."""
    if isinstance(values.dtype, np.dtype) and values.dtype.kind in "iu" and len(values):
        raw = values.to_numpy(dtype=np.int64)
        steps = np.diff(raw)
        if (steps >= 0).all():  # already sorted: no hashing
            starts = np.concatenate([[True], steps > 0])
            return Codes(np.cumsum(starts) - 1, tuple(raw[starts].tolist()))
    if isinstance(values.dtype, pd.CategoricalDtype):
        levels = factorise(pd.Series(values.cat.categories, name=values.name))
        raw = values.cat.codes.to_numpy(dtype=np.int64)
        ranked = np.append(levels.values, -1)[raw]  # code -1, missing, takes the last
        used = np.unique(ranked[raw >= 0])
        found = np.where(raw < 0, -1, np.searchsorted(used, ranked))
        return Codes(found, tuple(levels.labels[level] for level in used))
    try:
        codes, labels = pd.factorize(values, sort=True)
        tuple(sorted(labels.tolist()))  # pandas sorts mixed types with a rule of its own; Python refuses them
    except TypeError:
        raise DataError(
            f"column '{values.name}' mixes text and numbers",
            where=f"column '{values.name}'",
            remedy="write all of its values as text or all as numbers, or '1' and 1 count as two",
        ) from None
    return Codes(codes.astype(np.int64), tuple(labels.tolist()))


def read_periods(values: pd.Series, frequency: Frequency | None = None) -> tuple[Ints, Flags, Frequency]:
    """Read periods as integers of one frequency: ordinals (n,), which are missing (n,), and the frequency.

    Understands integers and whole floats (years or any integer period), Timestamps and Periods, and text such as 2011, 2011年,
    2011Q3, 2011年第3季度, 2011-07, 2011-07-15. A frequency given beforehand is used for dates (an adoption date in a panel of
    years).
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
        values = values.dt.to_timestamp()
    if isinstance(values.dtype, pd.DatetimeTZDtype) or values.dtype.kind == "M":
        return _from_dates(pd.Series(pd.DatetimeIndex(values).tz_localize(None)), missing, frequency)
    if isinstance(values.dtype, np.dtype) and values.dtype.kind == "f":
        raw = values.to_numpy(dtype=np.float64)
        whole = missing | (np.isfinite(raw) & (raw == np.floor(raw)) & (np.abs(raw) < 2**53))
        _refuse_periods(frame, ~whole, name)
        return np.where(missing, 0, np.where(missing, 0.0, raw)).astype(np.int64), missing, "integer"
    texts = [("" if gone else _as_text(value)) for value, gone in zip(values.tolist(), missing.tolist(), strict=True)]
    for pattern, kind, base in ((_YEAR, "integer", 1), (_QUARTER, "quarter", 4), (_MONTH, "month", 12)):
        found = [pattern.fullmatch(text) for text in texts]
        if all(match or gone for match, gone in zip(found, missing.tolist(), strict=True)):
            ordinals = [0 if m is None else int(m[1]) * base + (int(m[2]) - 1 if base > 1 else 0) for m in found]
            if kind == "month":
                _refuse_periods(frame, np.array([m is not None and not 1 <= int(m[2]) <= 12 for m in found]), name)
            return np.array(ordinals, dtype=np.int64), missing, kind  # type: ignore[return-value]  # mypy widens the tuple
    dates = pd.to_datetime(pd.Series(texts).where(~missing), format="ISO8601", errors="coerce")
    _refuse_periods(frame, dates.isna().to_numpy(dtype=bool) & ~missing, name)
    return _from_dates(dates, missing, frequency)


def _as_text(value: Any) -> str:
    if isinstance(value, float | np.floating) and float(value).is_integer():
        value = int(value)
    return unicodedata.normalize("NFKC", str(value)).strip()


def _from_dates(dates: pd.Series, missing: Flags, frequency: Frequency | None) -> tuple[Ints, Flags, Frequency]:
    known = pd.DatetimeIndex(dates[~missing])
    first_of_month = bool((known.day == 1).all() or known.is_month_end.all())
    if frequency is None:
        if first_of_month and len(set(known.month)) == 1 and known.month.isin([1, 12]).all():
            frequency = "integer"
        elif first_of_month and (known.is_quarter_start.all() or known.is_quarter_end.all()):
            frequency = "quarter"
        else:
            frequency = "month" if first_of_month else "day"
    found = {
        "integer": known.year,
        "quarter": known.year * 4 + known.quarter - 1,
        "month": known.year * 12 + known.month - 1,
        "day": known.to_numpy().astype("datetime64[D]").astype(np.int64),
    }[frequency]
    ordinals = np.zeros(len(dates), dtype=np.int64)
    ordinals[~missing] = np.asarray(found, dtype=np.int64)
    return ordinals, missing, frequency


def _refuse_periods(frame: pd.DataFrame, bad: Flags, name: str) -> None:
    if bad.any():
        example = frame[name].iloc[int(np.argmax(bad))]
        raise DataError(
            f"'{example}' cannot be read as a period",
            where=place(frame, bad, name),
            remedy="write years as 2011, quarters as 2011Q3, months as 2011-07, days as 2011-07-15, all in one form",
        )


def _refuse_duplicates(table: pd.DataFrame, unit: str, time: str, repeats: Flags) -> None:
    at = int(np.argmax(repeats))
    pair = table.iloc[at : at + 2]
    same = "identical" if pair.iloc[0].equals(pair.iloc[1]) else "different"
    raise DataError(
        f"{int(repeats.sum())} rows repeat a unit-period; the first is {unit} {pair[unit].iloc[0]} in {pair[time].iloc[0]}, "
        f"with {same} values",
        where=f"rows {pair.index[0]} and {pair.index[1]}",
        remedy=f"keep one row per {unit} and {time}, or pass unit=None if these are repeated cross-sections",
    )


def _to_pandas(frame: Any) -> pd.DataFrame:
    if isinstance(frame, pd.DataFrame):
        return frame
    try:
        native = nw.from_native(frame)
    except TypeError:
        raise DataError(
            f"a {type(frame).__name__} is not a table",
            where="Panel.from_frame",
            remedy="pass a pandas, polars, Arrow or DuckDB table",
        ) from None
    return native.collect().to_pandas() if isinstance(native, nw.LazyFrame) else native.to_pandas()


def _distinct(ordinals: Ints, first: int, last: int) -> Ints:
    if last - first < max(1_000_000, len(ordinals)) and math.isfinite(last - first):
        return np.flatnonzero(np.bincount(ordinals - first)) + first  # no sort of a long column
    return np.unique(ordinals)
