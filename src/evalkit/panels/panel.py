"""Panel: units over periods, one row per unit-period, its key verified once, with the ledger of rows left out on the way."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeVar

import narwhals as nw
import numpy as np
import pandas as pd
import pyarrow as pa

from evalkit.catalogue import Message
from evalkit.errors import DataError
from evalkit.numerics.arrays import Flags, Ints, cut_blocks, first_rows, in_blocks
from evalkit.tables.columns import Codes, count_lost_units, factorise, name_rows, numbers, require_column, require_ids
from evalkit.tables.contents import cut_short, hash_columns, in_full, same_content
from evalkit.tables.periods import Periods, end_of_year, read_periods
from evalkit.tables.table import Provenance

_T = TypeVar("_T")

_LONGEST = 10_000_000  # steps on a time axis: memory is taken for each


@dataclass(frozen=True)
class Dropped:
    """One line of the ledger: how many rows and units a step left out, and why."""

    step: str
    reason: Message
    rows: int
    units: int


@dataclass(frozen=True, eq=False)
class Panel:
    """Rows sorted by unit and period, with the key verified; make one with `Panel.from_frame`.

    `position` (n,) places each row on `periods`; `unit_codes` is None for repeated cross-sections. `counts` names the column
    of frequencies of collapsed rows, `within` the column with the squares inside each collapsed row (see `collapse`). `origins`
    says of which file a column is, where the panel was assembled from several. `boundaries` is the year whose boundaries
    the units have in all periods, where the panel was carried to one (see `carry`). `rows` is the panel whose rows these are
    the cells of, where `estimate` went over to cells by itself.
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
    origins: Mapping[str, str] = field(default_factory=dict)
    boundaries: int | None = None
    rows: Panel | None = field(default=None, repr=False, compare=False)
    _cache: dict[tuple[str, ...], Any] = field(init=False, default_factory=dict, repr=False, compare=False)

    __eq__ = same_content

    def __repr__(self) -> str:
        rows, columns = self.frame.shape
        units = (
            "repeated cross-sections" if self.unit_codes is None else f"{len(self.unit_codes.labels)} × {self.unit!r}"
        )
        first, last = (self.periods.label(position) for position in self.periods.observed[[0, -1]])
        return cut_short(f"Panel({rows} rows, {columns} columns; {units}; {self.time!r} from {first} to {last})")

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

        `frame` is anything that narwhals reads (pandas, polars, Arrow, DuckDB, …) or that offers an Arrow stream; a stream
        such as a RecordBatchReader is read to its end, and can be read only once. `unit=None` declares repeated
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
                where=name_rows(table, missing, time),
                remedy="fill in the period or leave these rows out",
            )
        codes = factorise(table[unit]) if unit is not None else None
        if codes is not None:
            require_ids(table, str(unit), codes, "unit")
        first, last = int(ordinals.min()), int(ordinals.max())
        position = ordinals - first
        distinct = first + _distinct(position, last - first)
        step = int(np.gcd.reduce(np.diff(distinct))) if len(distinct) > 1 else 1
        if step > 1:
            position //= step
        periods = Periods(frequency, first, step, (distinct - first) // step, end_of_year(table[time], frequency))
        if periods.observed[-1] > _LONGEST:
            raise DataError(
                f"{len(distinct)} periods lie up to {int(periods.observed[-1])} steps apart",
                where=f"column '{time}'",
                remedy="write periods as years, quarters, months or days, not as moments",
            )
        if codes is not None:
            if _least_step(codes.values, position, periods) < 0:
                order = np.lexsort([position, codes.values])
                table, position, codes = table.iloc[order], position[order], replace(codes, values=codes.values[order])
            if _least_step(codes.values, position, periods) == 0:
                repeats = (np.diff(codes.values) == 0) & (np.diff(position) == 0)
                _refuse_duplicates(table, str(unit), time, repeats)
        if counts is not None:
            times = numbers(table, counts)
            if not (np.isfinite(times) & (times > 0)).all():
                raise DataError(
                    f"counts in '{counts}' must be positive numbers",
                    where=name_rows(table, ~(np.isfinite(times) & (times > 0)), counts),
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

    @property
    def places(self) -> Ints:
        """Positions (n,) of all rows; nobody may change them."""

        def count() -> Ints:
            rows = np.arange(len(self.frame))
            rows.flags.writeable = False
            return rows

        return self.once("rows", (), count)

    def codes(self, column: str) -> Codes:
        """Return a column as sorted integer codes (computed once)."""

        def read() -> Codes:
            require_column(self.frame, column)
            values = self.frame[column]
            if self.unit_codes is None or not self.is_constant(column):
                return factorise(values)
            of_units = factorise(values.iloc[self.starts])
            return Codes(of_units.values[self.unit_codes.values], of_units.labels)

        return self.once("codes", (column,), read)

    def is_constant(self, column: str) -> bool:
        """Say whether all rows of a unit hold one value, where the column is of numbers or categories; of others it says no."""

        def read() -> bool:
            if self.unit_codes is None:
                return True
            values = self.frame[column]
            held = values.cat.codes if isinstance(values.dtype, pd.CategoricalDtype) else values
            if not isinstance(held.dtype, np.dtype) or held.dtype.kind not in "iufb" or held.dtype.itemsize > 8:
                return False
            raw = held.to_numpy().view(f"u{held.dtype.itemsize}")  # what is alike in all bits is alike, if missing
            unit, of_units = self.unit_codes.values, raw[self.starts]
            blocks = cut_blocks(len(raw))
            return all(in_blocks(lambda rows: np.array_equal(raw[rows], of_units[unit[rows]]), blocks))

        return self.once("constant", (column,), read)

    def once(self, what: str, columns: tuple[str, ...], read: Callable[[], _T]) -> _T:
        """Return what is read of these columns, reading it once; nobody may change it."""
        key = (what, *columns)
        if key not in self._cache:
            self._cache[key] = read()
        kept: _T = self._cache[key]
        return kept

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
        if not rows.any():
            raise DataError("no rows are left", where=str(reason), remedy="check the filter")
        if self.within is not None and self.unit_codes is not None:
            kept = np.bincount(self.unit_codes.values, weights=rows)[self.unit_codes.values]
            if (rows & (kept < np.bincount(self.unit_codes.values)[self.unit_codes.values])).any():
                raise DataError(
                    "the filter cuts collapsed cells in time, whose spread is known for all their periods together",
                    where=str(reason),
                    remedy="filter the rows before they are collapsed",
                )
        lost = count_lost_units(self.unit_codes.values, rows) if self.unit_codes is not None else 0
        return replace(
            self,
            frame=self.frame[rows],
            position=self.position[rows],
            # The axis stays: dropping every second year must not turn two years into one step.
            periods=replace(self.periods, observed=np.unique(self.position[rows])),
            unit_codes=None if self.unit_codes is None else _subset(self.unit_codes, rows),
            ledger=(*self.ledger, Dropped(step, reason, int((~rows).sum()), lost)),
            rows=None,
        )

    def with_column(self, column: str, values: Any) -> Panel:
        """Return the panel with one column added or replaced (values in the panel's row order)."""
        changed = replace(self, frame=self.frame.assign(**{column: values}), rows=None)
        changed._cache.update((key, kept) for key, kept in self._cache.items() if column not in key[1:])
        return changed

    def fingerprint(self, columns: Iterable[str]) -> str:
        """Hash what numbers can come from: the rows, what these columns hold, the time axis and the ledger (SHA-256).

        It does not change with the order of the rows that the panel was made from, nor with the types that hold the values
        (see `hash_columns`), nor because rows were replaced by cells that give the same. A column that the panel lacks is as
        good as not named.
        """
        if self.rows is not None:
            return self.rows.fingerprint(columns)
        own = (self.unit, self.time, self.counts, self.within)
        named = dict.fromkeys(name for name in (*own, *columns) if name is not None and name in self.frame.columns)
        rows = {f"column {name}": self.frame[name] for name in named}
        rows["position"] = pd.Series(self.position)
        if self.unit_codes is not None:
            rows["unit"] = pd.Series(self.unit_codes.values)
        axis = (
            self.unit,
            self.time,
            self.counts,
            self.within,
            self.periods.frequency,
            self.periods.first,
            self.periods.step,
        )
        held = hash_columns(rows, ordered=self.unit_codes is not None)
        return hashlib.sha256(f"{in_full((axis, self.ledger))} {held}".encode()).hexdigest()


def _subset(codes: Codes, rows: Flags) -> Codes:
    present, values = np.unique(codes.values[rows], return_inverse=True)
    return Codes(values.astype(np.int64), tuple(codes.labels[code] for code in present))


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
        return _read_stream(frame)
    return native.collect().to_pandas() if isinstance(native, nw.LazyFrame) else native.to_pandas()


def _read_stream(frame: Any) -> pd.DataFrame:
    """Read what offers an Arrow stream, such as the RecordBatchReader that DuckDB's .arrow() gives, to its end."""
    kind = type(frame).__name__
    if not hasattr(frame, "__arrow_c_stream__"):
        raise DataError(
            f"a {kind} is not a table",
            where="Panel.from_frame",
            remedy="pass a pandas, polars, Arrow or DuckDB table",
        )
    try:
        table: pd.DataFrame = pa.RecordBatchReader.from_stream(frame).read_all().to_pandas()
    except pa.ArrowException as error:  # a column instead of a table, or a query that fails while it is read
        raise DataError(
            f"a {kind} cannot be read as a table ({error})",
            where="Panel.from_frame",
            remedy="pass a pandas, polars, Arrow or DuckDB table",
        ) from None
    if table.empty:
        raise DataError(
            f"the {kind} has no rows, or none any more",
            where="Panel.from_frame",
            remedy="a stream can be read only once: make it again, or keep its table (.read_all()) and use that each time",
        )
    return table


def _distinct(since: Ints, last: int) -> Ints:
    """Sort the different values among those from 0 to `last`."""
    if last < max(1_000_000, len(since)):
        return np.flatnonzero(np.bincount(since))  # no sort of a long column
    return np.unique(since)


def _least_step(unit: Ints, position: Ints, periods: Periods) -> int:
    """Least step from one row's key to the next: below 0 where rows are not sorted by unit and period, 0 where two share one."""
    n_periods = int(periods.observed[-1]) + 1

    def step(rows: slice) -> int:
        across = slice(rows.start, rows.stop + 1)  # the first row of the next block, too
        return int(np.diff(unit[across] * n_periods + position[across]).min(initial=1))

    return min(in_blocks(step, cut_blocks(len(unit))))
