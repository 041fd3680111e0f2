"""Cells of a frame that need not fit into memory: two group-bys that an engine carries out, and what they find, checked."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import narwhals as nw
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from evalkit.catalogue import Message, message
from evalkit.designs.collapsing import COUNT, WITHIN, NotCellsError
from evalkit.designs.design import Design
from evalkit.designs.indicators import Indicators
from evalkit.designs.kinds import Axis, Census, Kinds, ValuePath
from evalkit.designs.sample import draw_sample
from evalkit.engines.engine import Engine, Frame, Prepared, known_numbers
from evalkit.engines.text import type_columns
from evalkit.engines.whole_numbers import WholeNumbers
from evalkit.errors import DataError, DesignError
from evalkit.numerics.arrays import Ints, first_rows
from evalkit.panels.panel import Dropped, Panel
from evalkit.tables.columns import refuse_blanks
from evalkit.tables.periods import Periods, end_of_year, read_periods
from evalkit.tables.text_columns import BLANKS, CODE, PLAIN_NUMBER

_OF_OUTCOME = 90  # binary digits: a number 2**37 times smaller than the largest keeps all of its own
_OF_SQUARE = 128  # as squares are spread twice as far
_MOST_PERIODS = 10_000
_MOST_VALUES = 10_000  # of a dose or a category, of which cells have one path each
_SMALLEST, _LARGEST = 1e-120, 1e150  # outcomes whose squares are still numbers
_LISTED = 5  # units that a note names
_GROUPED = (nw.String, nw.Categorical, nw.Enum, nw.Boolean, nw.Date, nw.Datetime)

_Expr = Any  # narwhals' expressions of any engine


def aggregate(
    engine: Engine,
    names: tuple[str, ...],
    design: Design,
    *,
    unit: str,
    time: str,
    by: tuple[str, ...],
    constant: tuple[str, ...] = (),
    squares: bool = True,
) -> Panel:
    """Collapse the rows of an engine, whose columns c0, c1, … are called `names`, as `collapse` says.

    `constant` are columns, such as those of clusters, that tell cells apart and must not change within a unit. Without `squares`
    the variation inside cells is not known (NaN).
    """
    if engine.is_text:
        engine = Prepared(engine, type_columns(engine, [f"c{i}" for i in range(len(names))]))
    work = _Aggregation(engine, names, design, unit, time, by, constant, squares)
    try:
        return work.collapse()
    except NotCellsError as rows_needed:
        return work.take_rows(rows_needed.why)


@dataclass(frozen=True, eq=False)
class _Aggregation:
    engine: Engine
    names: tuple[str, ...]
    design: Design
    unit: str
    time: str
    by: tuple[str, ...]
    constant: tuple[str, ...]
    squares: bool

    # ---- columns -------------------------------------------------------------------------------------------------

    @cached_property
    def _settled(self) -> tuple[str, ...]:
        """Columns in which a unit counts where its first row places it."""
        above = () if self.design.above is None else (self.design.above,)
        return tuple(dict.fromkeys((self.design.assigned_at, *above, *self.by)))

    @cached_property
    def _crossed(self) -> tuple[str, ...]:
        parts = (part for effect in self.design.absorb for part in self._parts(effect))
        return tuple(dict.fromkeys(part for part in parts if part != self.unit))

    def _parts(self, effect: str) -> list[str]:
        return [part.strip() for part in effect.split("*") if part.strip() != self.time]

    @cached_property
    def _constant(self) -> tuple[str, ...]:
        """Columns that have to be constant within units."""
        single = (self.design.adoption, self.design.weights, self.design.eligible, *self._crossed, *self.constant)
        return tuple(dict.fromkeys(one for one in single if one is not None and one not in self._settled))

    @cached_property
    def _whole(self) -> tuple[str, ...]:
        """Those of them that have to be so in all rows, also where they are missing."""
        crossed = set(self._crossed)
        return tuple(one for one in (self.design.adoption, *self.constant) if one is not None and one not in crossed)

    @cached_property
    def _followed(self) -> tuple[str, ...]:
        """Columns by whose values in each period units are told apart."""
        categories = (one.of for one in self.design.covariates if isinstance(one, Indicators))
        taken = (*self._settled, *self._constant)
        return tuple(dict.fromkeys(one for one in (self.design.dose, *categories) if one and one not in taken))

    @cached_property
    def _alike(self) -> tuple[str, ...]:
        """Columns that have to be the same in all rows of a cell and period."""
        single = (self.design.treated, self.design.dose, *self.design.covariate_columns())
        taken = (*self._settled, *self._constant, self.time)
        return tuple(dict.fromkeys(one for one in single if one is not None and one not in taken))

    @cached_property
    def _numeric(self) -> tuple[str, ...]:
        plain = tuple(one for one in self.design.covariates if isinstance(one, str))
        of = self.design
        single = (of.outcome, *plain, of.weights, of.dose, of.eligible, of.treated)
        return tuple(dict.fromkeys(one for one in single if one is not None))

    @cached_property
    def _needed(self) -> tuple[tuple[list[str], Message], ...]:
        """Columns without a value of which a row is left out, in the order in which this is counted, and the reason."""
        of = self.design
        single = dict.fromkeys(filter(None, (of.outcome, *of.covariate_columns(), of.weights, of.eligible)))
        effects = {effect: parts for effect in of.absorb if (parts := self._parts(effect))}
        needed = {**{one: [one] for one in single}, **effects}
        return tuple((columns, message("ledger.missing", column=name)) for name, columns in needed.items())

    @cached_property
    def _reasons(self) -> tuple[Message, ...]:
        zero = () if self.design.weights is None else (message("ledger.zero_weight", column=self.design.weights),)
        return (*(reason for _, reason in self._needed), *zero)

    @cached_property
    def _rows(self) -> Frame:
        """The rows: numbers as float64, what is missing as null whatever an engine takes NaN for, and who is left out why."""
        found = self.engine.rows.collect_schema()
        rows = self.engine.rows.with_columns(
            *(self._clean(name, found[f"c{i}"]).alias(f"c{i}") for i, name in enumerate(self.names)),
        )
        reason = nw.lit(len(self._reasons))
        if self.design.weights is not None:
            reason = nw.when(nw.col(self._at(self.design.weights)) == 0).then(len(self._needed)).otherwise(reason)
        for i, (columns, _) in reversed(list(enumerate(self._needed))):
            missing = nw.any_horizontal(*(nw.col(self._at(one)).is_null() for one in columns), ignore_nulls=True)
            reason = nw.when(missing).then(i).otherwise(reason)
        return rows.with_columns(reason.cast(nw.Int64()).alias("reason"))

    def _clean(self, name: str, kind: Any) -> _Expr:
        cell = nw.col(self._at(name))
        where = f"column '{name}'"
        is_number = kind.is_numeric() or isinstance(kind, nw.Boolean)
        if not is_number and not isinstance(kind, _GROUPED):
            raise DataError(
                f"the column holds {'no value' if isinstance(kind, nw.Unknown) else kind}: neither text, numbers nor dates",
                where=where,
                remedy="write it as one of these before; periods of pandas as text, such as 2011Q3",
            )
        if name in self._numeric:
            if not is_number:
                if isinstance(kind, nw.String):
                    raise self._refuse_words(name)
                raise DataError(
                    f"the column holds {kind}, not numbers",
                    where=where,
                    remedy='write it as numbers before; of a covariate of categories say so: ek.indicators("…")',
                )
            cell = cell.cast(nw.Float64())
        if kind.is_float():
            cell = known_numbers(cell)
        return cell.cast(nw.String()) if isinstance(kind, nw.Categorical | nw.Enum) else cell

    # ---- passes over the rows ------------------------------------------------------------------------------------

    def collapse(self) -> Panel:
        """Make the panel of cells."""
        audit = self._audit()
        axis = self._read_axis(audit)
        if self.unit in (*self._settled, *self._constant, *self._alike):
            raise NotCellsError(message("cells.none"))
        paths = [self._number(name) for name in self._followed]
        rows = self._rows.join(self.engine.lift(axis.table(paths)), on="c1", how="inner")
        for path in paths:
            rows = rows.join(self.engine.lift(path.table()), on=path.at, how="left")
        units, kinds = self._group_units(rows, axis, audit, paths)
        moved: tuple[Message, ...] = ()
        moving = [name for name in self._settled if kinds.frame[f"moves_{self._at(name)}"].any()]
        if moving:
            of = self.design
            for name in moving:
                if name in (*self._crossed, *of.covariate_columns(), of.weights, of.dose, of.eligible, of.treated):
                    raise NotCellsError(message("cells.changes", column=name))
            rows, moved = self._settle(rows, moving, axis)
            units, kinds = self._group_units(rows, axis, audit, paths)
        if (kinds.units == 1).all():
            raise NotCellsError(message("cells.none"))
        panel = self._panel(self._group_cells(rows, units, kinds, audit), kinds, axis, audit)
        sample = draw_sample(panel, self.design)
        if len(sample.rows) < len(panel):  # treated rows without a dose
            raise NotCellsError(message("cells.gaps", column=str(self.design.dose)))
        used = int((kinds.frame["used"] * kinds.frame["units"]).sum())
        told = message("note.collapsed", rows=used, cells=len(panel))
        without = () if self.squares else (message("note.without_squares"),)
        notes = (*sample.notes, *moved, told, *without)
        return replace(panel, within=WITHIN, ledger=self._ledger(kinds, audit), notes=notes)

    def take_rows(self, why: Message) -> Panel:
        """Take the rows as they are, with the columns needed, and say why."""
        table = self.engine.fetch(self.engine.rows)
        frame = self._to_pandas(table, {f"c{i}": name for i, name in enumerate(self.names)})
        frame.index = pd.MultiIndex.from_arrays(
            [frame[self.unit].array, frame[self.time].array]
        )  # engines number no rows
        panel = Panel.from_frame(frame, unit=self.unit, time=self.time)
        return replace(panel, notes=(message("note.not_collapsed", why=why),))

    def _number(self, name: str) -> ValuePath:
        """Number the values that a column has in rows that are used."""
        used = self._rows.filter(nw.col("reason") == len(self._reasons))
        at = self._at(name)
        found = self.engine.fetch(used.filter(~nw.col(at).is_null()).select(at).unique(at).head(_MOST_VALUES + 1))
        if found.num_rows > _MOST_VALUES:
            raise NotCellsError(message("cells.values", column=name, most=_MOST_VALUES))
        return ValuePath(at, found.sort_by(at).column(at).combine_chunks())

    def _audit(self) -> Census:
        """Count rows, gaps and what cannot be used, by period."""
        flags = {
            "unit": nw.col("c0").is_null(),
            "assigned": nw.col(self._at(self.design.assigned_at)).is_null(),
            **{f"lost {i}": nw.col("reason") == i for i in range(len(self._reasons))},
        }
        for name in self._numeric:
            cell = nw.col(self._at(name))
            flags[f"infinite {name}"] = cell.abs() == math.inf
        kind = self._rows.collect_schema()["c0"]
        if kind.is_float():
            flags["endless"] = nw.col("c0").abs() == math.inf
        if isinstance(kind, nw.String):
            flags["blanks"] = nw.col("c0") != nw.col("c0").str.strip_chars(BLANKS)
        sums = {name: f"s{i}" for i, name in enumerate(flags)}
        outcome = nw.when(nw.col("reason") == len(self._reasons)).then(nw.col("c2"))
        flagged = self._rows.with_columns(_as_number(flag).alias(sums[name]) for name, flag in flags.items())
        found = self.engine.fetch(
            flagged.group_by("c1")
            .agg(
                nw.len().alias("rows"),
                *(getattr(outcome, end)().alias(end) for end in ("min", "max")),
                *(nw.col(one).sum().alias(one) for one in sums.values()),
            )
            .head(_MOST_PERIODS + 1)
        )
        if found.num_rows > _MOST_PERIODS:
            raise self._refuse_moments(f"'{self.time}' has more than {_MOST_PERIODS:,} values")
        if not found.num_rows:
            raise DataError("the table has no rows", remedy="check the source and the filters before this step")
        counts = {name: int(pc.sum(found.column(one)).as_py()) for name, one in sums.items()}
        written = found.column("c1").combine_chunks()
        if counts.get("blanks"):
            self._refuse_blanks()
        every = int(pc.sum(found.column("rows")).as_py())
        self._refuse_counts(counts, int(pc.sum(pc.if_else(written.is_null(), found.column("rows"), 0)).as_py()))
        lost = np.array([counts[f"lost {i}"] for i in range(len(self._reasons))], dtype=np.int64)
        if lost.sum() == every:
            listed = [
                f"{reason} ({rows} rows)" for reason, rows in zip(self._reasons, lost.tolist(), strict=True) if rows
            ]
            raise DesignError("no rows are left", where="; ".join(listed), remedy="check these columns")
        low, high = float(pc.min(found.column("min")).as_py()), float(pc.max(found.column("max")).as_py())
        largest = max(-low, high)
        if largest > _LARGEST or 0 < largest < _SMALLEST:
            raise DataError(
                f"'{self.design.outcome}' is at most {largest:.3g}, of which no squares can be taken",
                where=f"column '{self.design.outcome}'",
                remedy=f"express it in {'larger' if largest > 1 else 'smaller'} units",
            )
        exponent = math.frexp(largest)[1]
        # Means of units are right to some 2**-53 of the largest outcome; two bits for them, and for what is rounded.
        spread = max(math.frexp(high - low)[1], exponent - 50) + 2
        return Census(written, lost, exponent, spread)

    def _refuse_counts(self, counts: dict[str, int], timeless: int) -> None:
        """Raise DataError for keys that are missing, and numbers that are infinite."""
        for column, rows, noun in (
            (self.time, timeless, "period"),
            (self.unit, counts["unit"], "unit"),
            (self.design.assigned_at, counts["assigned"], "unit of assignment"),
        ):
            if rows:
                raise DataError(
                    f"the {noun} is missing in {rows} rows",
                    where=f"column '{column}'",
                    remedy=f"fill in the {noun} or leave these rows out",
                )
        if counts.get("endless"):
            raise DataError(
                f"the unit is infinite in {counts['endless']} rows",
                where=f"column '{self.unit}'",
                remedy="fill in the unit or leave these rows out",
            )
        for name in self._numeric:
            if counts[f"infinite {name}"]:
                raise DataError(
                    f"'{name}' is infinite in {counts[f'infinite {name}']} rows",
                    where=f"column '{name}'",
                    remedy="was a logarithm taken of 0? Leave these rows out, or choose another transformation",
                )

    def _refuse_blanks(self) -> None:
        """Raise DataError where two units differ by blanks around their names alone."""
        names = self._rows.select("c0").unique("c0").with_columns(nw.col("c0").str.strip_chars(BLANKS).alias("plain"))
        both = names.group_by("plain").agg(nw.col("c0").min().alias("one"), nw.col("c0").max().alias("other"))
        found = self.engine.fetch(both.filter(nw.col("one") != nw.col("other")).sort("plain").head(1)).to_pylist()
        if found:
            raise refuse_blanks(self.unit, found[0]["one"], found[0]["other"])

    def _refuse_words(self, name: str) -> DataError:
        """Make the error for a column of text where numbers should be, naming a word."""
        cell = nw.col(self._at(name))
        is_word = ~cell.str.contains(PLAIN_NUMBER) | cell.str.contains(CODE)
        found = self.engine.fetch(
            self.engine.rows.filter(is_word).select(nw.len().alias("n"), cell.min().alias("word"))
        )
        rows, word = found.column("n")[0].as_py(), str(found.column("word")[0].as_py())
        shown = "…" if sum(map(str.isdigit, word)) >= 11 else word[:40]  # as long as a telephone number
        what = f"'{shown}' is not a number; {rows} values of the column are none" if rows else "all values are text"
        return DataError(
            what,
            where=f"column '{name}'",
            remedy="write plain numbers such as 1234.5 into the cells, or leave them empty; a file with other marks is read by "
            "evalkit.sources.Delimited, which takes thousands= and missing=; of a covariate of categories say so: "
            'ek.indicators("…")',
        )

    def _refuse_moments(self, what: str) -> DataError:
        return DataError(
            what,
            where=f"column '{self.time}'",
            remedy="write periods as years, quarters, months or days, not as moments",
        )

    def _read_axis(self, audit: Census) -> Axis:
        values = self._to_pandas(pa.table({"c1": audit.written}), {"c1": self.time})[self.time]
        ordinals, _, frequency = read_periods(values)
        observed = np.unique(ordinals)
        step = int(np.gcd.reduce(np.diff(observed))) if len(observed) > 1 else 1
        position = (ordinals - observed[0]) // step
        if position.max() > _MOST_PERIODS:
            raise self._refuse_moments(f"{len(observed)} periods lie up to {position.max():,} steps apart")
        end = end_of_year(values, frequency)
        periods = Periods(frequency, int(observed[0]), step, np.unique(position), end)
        return Axis(audit.written, values, position, periods)

    def _group_units(self, rows: Frame, axis: Axis, audit: Census, paths: list[ValuePath]) -> tuple[Frame, Kinds]:
        """Group the rows by unit, and the units by kind.

        The words w0, w1, … mark the periods of used rows, a0, a1, … those of all (where they differ), p0_c7, … the values of c7
        in them; y0, y1, … are the whole numbers that make up the sum of outcomes.
        """
        some_lost = bool(audit.lost.any())
        used = nw.col("reason") == len(self._reasons)
        outcomes = WholeNumbers.summed("y", _MOST_PERIODS, _OF_OUTCOME)
        sums = outcomes.names if self.squares else []
        keys = self._named((*self._settled, *self._constant))
        varied = [at for name, at in keys.items() if name in self._constant and name not in self._whole]
        all_words = [f"a{word[1:]}" for word in axis.words] if some_lost else []
        path_words = {word: f"number_{path.at}" for path in paths for word in path.words(axis)}
        words = [*axis.words, *path_words]
        rows = rows.with_columns(
            _as_number(used).alias("used"),
            *(nw.col(f"w{word[1:]}").alias(word) for word in all_words),
            *(nw.when(used).then(nw.col(at)).alias(at) for at in varied if some_lost),
            *((nw.col(word) * nw.col(number).fill_null(0)).alias(word) for word, number in path_words.items()),
        )
        outcome = nw.col("c2")
        if some_lost:
            rows = rows.with_columns(nw.when(used).then(nw.col(word)).otherwise(0).alias(word) for word in words)
            outcome = nw.when(used).then(outcome).otherwise(0.0)
        if self.squares:
            rows = outcomes.split(rows, outcome, audit.exponent)
        whole = [*words, *all_words, *sums]
        gaps = [at for at in keys.values() if at not in (*varied, self._at(self.design.assigned_at))]
        units = rows.group_by("c0").agg(
            nw.len().alias("rows"),
            *([nw.col("reason").max().alias("last"), nw.col("used").sum().alias("used")] if some_lost else []),
            *(nw.col(one).sum().alias(one) for one in whole),
            *(nw.col(at).min().alias(at) for at in keys.values()),
            *(nw.col(at).max().alias(f"high_{at}") for at in keys.values()),
            *(nw.col(at).count().alias(f"known_{at}") for at in gaps),
        )
        if not some_lost:
            units = units.with_columns(nw.col("rows").alias("used"), nw.lit(len(self._reasons)).alias("last"))
        units = units.with_columns(
            *(nw.col(one).cast(nw.Int64()).alias(one) for one in ("rows", "used", "last", *whole)),
            *(_as_number(_changes(at, at in gaps)).alias(f"moves_{at}") for at in keys.values()),
        )
        moves = [f"moves_{at}" for at in keys.values()]
        of_kind = ["rows", "used", "last", *words, *all_words, *keys.values(), *moves]
        mean = outcomes.total(audit.exponent) / nw.col("used") if self.squares else nw.lit(0.0)
        units = self.engine.keep(units.select("c0", *of_kind, nw.when(nw.col("used") > 0).then(mean).alias("mean")))
        found = self.engine.fetch(
            units.group_by(*of_kind).agg(nw.len().alias("units"), nw.col("c0").min().alias("example"))
        )
        frame = self._to_pandas(found, {})
        self._refuse_kinds(frame, all_words or axis.words)
        return units, Kinds(found, frame, keys, words)

    def _refuse_kinds(self, kinds: pd.DataFrame, words: list[str]) -> None:
        """Raise DataError for repeated unit-periods, and for what changes within units but must not."""
        # As many powers of two add up to a number with as many bits set only if no two are the same.
        marked = np.sum([np.bitwise_count(kinds[word].to_numpy()) for word in words], axis=0, dtype=np.int64)
        repeated = kinds[marked != kinds["rows"].to_numpy()]
        if len(repeated):
            raise DataError(
                f"{int(repeated['units'].sum())} units have several rows for one period; the first is {self.unit} "
                f"{repeated['example'].min()}",
                where=f"columns '{self.unit}' and '{self.time}'",
                remedy=f"keep one row per {self.unit} and {self.time}; repeated cross-sections are not collapsed: load them, "
                "and pass unit=None to Panel.from_frame",
            )
        for name in self._constant:
            wrong = kinds[kinds[f"moves_{self._at(name)}"] == 1]
            if not len(wrong):
                continue
            example, where = wrong["example"].min(), f"column '{name}'"
            if name == self.design.adoption:
                raise DataError(
                    f"adoption varies within {self.unit} {example}",
                    where=where,
                    remedy="write the same first treated period in every row of a unit, or leave all empty (never treated)",
                )
            if name == self.design.eligible:
                raise DesignError(
                    f"{self.unit} {example} has both 0 and 1: eligible must not change within a {self.unit}",
                    where=where,
                    remedy="take the group from before the treatment, such as the unit's first row",
                )
            raise NotCellsError(message("cells.changes", column=name))

    def _settle(self, rows: Frame, moving: list[str], axis: Axis) -> tuple[Frame, tuple[Message, ...]]:
        """Let units that move stay where their first row places them; say which of them change their unit of assignment."""
        at = self._named(moving)
        first = rows.group_by("c0").agg(nw.col("position").min().alias("position"))
        first = rows.join(first, on=["c0", "position"], how="inner").select(
            "c0", *(nw.col(one).alias(f"first_{one}") for one in at.values())
        )
        rows = rows.join(self.engine.keep(first), on="c0", how="inner")
        settled = rows.with_columns(*(nw.col(f"first_{one}").alias(one) for one in at.values()))
        level = self.design.assigned_at
        if level not in moving:
            return settled, ()
        gone = rows.filter(nw.col(at[level]) != nw.col(f"first_{at[level]}"))
        when = gone.group_by("c0").agg(nw.col("position").min().alias("position"))
        told = gone.join(when, on=["c0", "position"], how="inner")
        movers = self._to_pandas(
            self.engine.fetch(told.select("c0", "position", f"first_{at[level]}", at[level])),
            {"c0": "who", "position": "when", f"first_{at[level]}": "here", at[level]: "there"},
        ).sort_values("who")
        head = movers.head(_LISTED)
        listed = [
            f"{who}: {here} → {there} ({axis.periods.label(when)})"
            for who, here, there, when in zip(head["who"], head["here"], head["there"], head["when"], strict=True)
        ]
        more = "; …" if len(movers) > _LISTED else ""
        return settled, (message("note.moved", units=len(movers), column=level, listed="; ".join(listed) + more),)

    def _group_cells(self, rows: Frame, units: Frame, kinds: Kinds, audit: Census) -> pa.Table:
        """Group the used rows by cell and period.

        Of each: how many there are (n), the whole numbers that make up the sums of outcomes (y0, …) and of squared distances from
        the units' means (d0, …), and the lowest and highest of what must be alike.
        """
        keys = [*kinds.keys.values(), *kinds.words]
        lifted = kinds.table.take(kinds.first).select(keys)
        on = []
        for at in keys:
            column = lifted.column(at)
            if column.null_count == len(column):
                continue  # it tells nothing apart
            on.append(at)
            if column.null_count:  # a join takes no missing value for equal to another
                gap, filled = f"gap_{at}", pc.min(column)
                on.append(gap)
                lifted = lifted.append_column(gap, pc.cast(column.is_null(), pa.int64()))
                lifted = lifted.set_column(lifted.column_names.index(at), at, pc.fill_null(column, filled))
                units = units.with_columns(_as_number(nw.col(at).is_null()).alias(gap))
                units = units.with_columns(nw.col(at).fill_null(filled.as_py()))
        lifted = lifted.select(on).append_column("cell", pa.array(np.arange(len(kinds.first))))
        placed = units.filter(nw.col("used") > 0).join(self.engine.lift(lifted), on=on, how="inner")
        placed = self.engine.keep(placed.select("c0", "cell", "mean"))
        alike = self._named(self._alike)
        used = rows.filter(nw.col("reason") == len(self._reasons)) if audit.lost.any() else rows
        used = used.select("c0", "c2", "position", *alike.values())
        used = used.join(placed, on="c0", how="inner")
        distance = nw.col("c2") - nw.col("mean")
        outcomes, squares = _summed(kinds)
        used = outcomes.split(used, nw.col("c2"), audit.exponent)
        if self.squares:
            used = squares.split(used, distance * distance, 2 * audit.spread)
        sums = (*outcomes.names, *(squares.names if self.squares else ()))
        cells = used.group_by("cell", "position").agg(
            nw.len().alias("n"),
            *(nw.col(one).sum().alias(one) for one in sums),
            *(nw.col(at).min().alias(at) for at in alike.values()),
            *(nw.col(at).max().alias(f"high_{at}") for at in alike.values()),
            *(nw.col(at).count().alias(f"known_{at}") for at in alike.values()),
        )
        found = self.engine.fetch(cells.with_columns(nw.col(one).cast(nw.Int64()).alias(one) for one in ("n", *sums)))
        return found.sort_by([("cell", "ascending"), ("position", "ascending")])

    def _panel(self, cells: pa.Table, kinds: Kinds, axis: Axis, audit: Census) -> Panel:
        """Make the panel: a row for each cell and period."""
        cell, position, n = (cells.column(one).to_numpy() for one in ("cell", "position", "n"))
        if (n != kinds.units[cell]).any():
            raise DataError(
                "the rows changed while they were read", where="collapse", remedy="let nothing write to them meanwhile"
            )
        outcomes, distances = _summed(kinds)
        total = outcomes.join(cells, audit.exponent)
        squares = distances.join(cells, 2 * audit.spread) if self.squares else np.full(len(cell), np.nan)
        starts = first_rows(cell)
        length = np.diff(np.append(starts, len(cell)))
        # Units of a cell are observed in the same periods, so that the sum of their means is the mean of these sums.
        apart = total - np.repeat(np.add.reduceat(total, starts) / length, length)
        when = axis.values_at(position)
        columns = {self.unit: cell, self.time: when, self.design.outcome: total / n}
        columns |= {name: kinds.of_cells(at).take(cell) for name, at in kinds.keys.items()}
        for name, at in self._named(self._alike).items():
            columns[name] = self._alike_values(cells, name, at, n)
        columns |= {COUNT: n.astype(np.float64), WITHIN: np.maximum(squares - apart**2 / n, 0.0)}
        frame = pd.DataFrame(columns)
        who = kinds.example.take(cell)
        frame.index = pd.Index([f"of {self.unit} {one} in {at}" for one, at in zip(who, when, strict=True)])
        return Panel.from_frame(frame, unit=self.unit, time=self.time, counts=COUNT)

    def _alike_values(self, cells: pa.Table, name: str, at: str, n: Ints) -> Any:
        """Values of a column that is the same in all rows of a cell and period (c,)."""
        known = cells.column(f"known_{at}").to_numpy()
        differs = pc.fill_null(pc.not_equal(cells.column(at), cells.column(f"high_{at}")), False).to_numpy()
        if (differs | ((known > 0) & (known < n))).any():
            raise NotCellsError(message("cells.differs", column=name))
        return self._to_pandas(cells.select([at]), {at: name})[name].array

    def _ledger(self, kinds: Kinds, audit: Census) -> tuple[Dropped, ...]:
        """Count the rows that each reason leaves out, and the units that lose their last rows by it."""
        frame = kinds.frame
        last = np.bincount(frame["last"], weights=frame["units"], minlength=len(self._reasons) + 1)
        return tuple(
            Dropped("collapse", reason, int(rows), round(float(units)))
            for reason, rows, units in zip(self._reasons, audit.lost, last[:-1], strict=True)
            if rows
        )

    # ---- names and values ----------------------------------------------------------------------------------------

    def _at(self, column: str) -> str:
        return f"c{self.names.index(column)}"

    def _named(self, columns: Iterable[str]) -> dict[str, str]:
        return {column: self._at(column) for column in columns}

    def _to_pandas(self, table: pa.Table, names: dict[str, str]) -> pd.DataFrame:
        """Rename columns, and read them as values."""
        named = table.rename_columns([names.get(one, one) for one in table.column_names])
        frame: pd.DataFrame = named.to_pandas(date_as_object=False)
        return frame


def _summed(kinds: Kinds) -> tuple[WholeNumbers, WholeNumbers]:
    """Choose the whole numbers for outcomes and squares that are summed over the units of a cell."""
    most = int(kinds.units.max())
    return WholeNumbers.summed("y", most, _OF_OUTCOME), WholeNumbers.summed("d", most, _OF_SQUARE)


def _as_number(flag: _Expr) -> _Expr:
    return nw.when(flag).then(1).otherwise(0).cast(nw.Int64())


def _changes(at: str, gaps: bool) -> _Expr:
    """Say whether a column has several values in the rows of a unit; also a value in some and none in others, where `gaps`."""
    several = nw.col(at) != nw.col(f"high_{at}")
    known = nw.col(f"known_{at}")
    return several | ((known > 0) & (known < nw.col("rows"))) if gaps else several
