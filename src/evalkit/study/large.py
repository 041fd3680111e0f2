"""Large panels of a study: the first table is read by an engine, joined and derived there, and collapsed for each design."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import narwhals as nw
import pandas as pd
import pyarrow as pa

from evalkit.catalogue import Message, message
from evalkit.designs.aggregation import aggregate
from evalkit.designs.design import Design
from evalkit.engines.distributed import open_spark
from evalkit.engines.embedded import DuckDB
from evalkit.engines.engine import Engine, Frame, Prepared, known_numbers
from evalkit.engines.files import Scan, list_names, scan_files
from evalkit.engines.text import type_columns
from evalkit.errors import ConfigError, DataError, nearest
from evalkit.panels.derivation import AtLeast, Derivation, Log, Per
from evalkit.panels.joining import join_table
from evalkit.panels.panel import Dropped, Panel
from evalkit.sources.delimited import Delimited
from evalkit.sources.persons import refuse_headers, refuse_persons
from evalkit.sources.sidecar import read_sidecar
from evalkit.study.config import PanelConfig, StudyConfig
from evalkit.tables.table import Table, file_sha256
from evalkit.tables.units import unit_ratio

_MOST_KEYS = 1_000_000  # values on which a table is joined
_LOOKED_AT = 10_000  # rows in which numbers of persons are looked for


def large_source(config: StudyConfig) -> str | None:
    """Name the source that an engine reads: the first of the panel, where the study names an engine."""
    return config.panel.sources[0] if config.panel is not None and config.panel.engine is not None else None


def describe_large(config: StudyConfig, name: str) -> Table:
    """Describe the source that an engine reads: its columns, units and provenance, and no row.

    Raises ConfigError for what an engine does not carry out.
    """
    source, settings = config.sources.get(name), config.panel
    assert settings is not None
    refused = {
        "repeated cross-sections": settings.repeated_cross_sections,
        "counts": settings.counts is not None,
        "regions": bool(settings.regions),
    }
    for what, is_given in refused.items():
        if is_given:
            raise _refuse(config, what, "leave that out, or leave engine out")
    if not isinstance(source, Delimited) or replace(source, path="", columns={}, units={}) != Delimited(""):
        remedy = 'let it be a source of kind = "Delimited" with path, columns and units alone'
        raise _refuse(config, f"'{name}' as its first table, which is no plain file", remedy)
    for step, one in config.steps.items():
        if name in one.reads():
            remedy = "let the step read other tables, or write its columns into the file beforehand"
            raise _refuse(config, f"a step ('{step}') that reads '{name}'", remedy)
    for column, derivation in config.derive.items():
        if not isinstance(derivation, Log | AtLeast | Per):
            what = f"the verb of '{column}', which is neither log, per nor at_least"
            raise _refuse(config, what, "write that column into the file beforehand")
    path = Path(source.path)
    scan = scan_files(path, ())
    given = list_names(scan)
    refuse_headers(given, scan.where)
    columns = dict(source.columns) or {one: one for one in given}
    for study_name, header in columns.items():
        if header not in given:
            raise DataError(
                f"there is no column '{header}', which is to be '{study_name}'",
                where=scan.where,
                remedy=nearest(header, given),
            )
    sidecar = read_sidecar(path)
    units = sidecar.merge_units(source.units, list(columns), scan.where)
    return Table(
        path.name, pd.DataFrame(columns=list(columns)), (sidecar.describe(scan.where, _hash(scan), []),), units
    )


def _refuse(config: StudyConfig, what: str, remedy: str) -> ConfigError:
    return ConfigError(f"a panel with engine does not take {what}", where=f"{config.file.name}, panel", remedy=remedy)


def _hash(scan: Scan) -> str:
    """Hash a file; of several, the names and hashes of all."""
    if len(scan.files) == 1:
        return file_sha256(Path(scan.files[0]))
    listed = "\n".join(f"{Path(one).name} {file_sha256(Path(one))}" for one in scan.files)
    return hashlib.sha256(listed.encode()).hexdigest()


@dataclass(eq=False)
class LargePanel:
    """A panel that is nowhere whole: `of` makes its cells for a design, and keeps them for the next estimate.

    `first` describes the table that the engine reads, `others` are joined to it.
    """

    config: StudyConfig
    first: Table
    others: tuple[Table, ...]
    _kept: dict[tuple[Design, tuple[str, ...], tuple[str, ...], bool], Panel] = field(default_factory=dict)

    def of(
        self, design: Design, by: tuple[str, ...] = (), clusters: tuple[str, ...] = (), squares: bool = False
    ) -> Panel:
        """Collapse the rows for a design, with the columns by which subgroups and clusters are made, and squares if needed."""
        assert self.config.panel is not None
        known = (self.config.panel.time, *design.columns())
        by, clusters = (tuple(one for one in dict.fromkeys(columns) if one not in known) for columns in (by, clusters))
        key = (design, by, clusters, squares)
        if key not in self._kept:
            self._kept[key] = self._collapse(self.config.panel, *key)
        return self._kept[key]

    def _collapse(
        self, settings: PanelConfig, design: Design, by: tuple[str, ...], clusters: tuple[str, ...], squares: bool
    ) -> Panel:
        unit, time = str(settings.unit), settings.time
        wanted = tuple(dict.fromkeys((unit, time, design.outcome, *design.columns(), *by, *clusters)))
        needed = (*wanted, *settings.where, *(one for made in self.config.derive.values() for one in _inputs(made)))
        source = self.config.sources[settings.sources[0]]
        assert isinstance(source, Delimited)
        rows = _open(
            settings, source, self.first, (*needed, *(one for two in self.others for one in two.frame.columns))
        )
        try:
            for table in self.others:
                rows.join(table, needed, time)
            for name, derivation in self.config.derive.items():
                if name in needed:
                    rows.derive(name, derivation)
            for column, value in settings.where.items():
                rows.filter(column, value, unit)
            panel = aggregate(
                rows.chosen(wanted), wanted, design, unit=unit, time=time, by=by, constant=clusters, squares=squares
            )
        finally:
            rows.engine.close()
        provenance = (*self.first.provenance, *(one for table in self.others for one in table.provenance))
        return replace(
            panel,
            units={name: one for name, one in rows.units.items() if name in wanted},
            provenance=tuple(dict.fromkeys(provenance)),
            origins={name: rows.origins[name] for name in wanted},
            ledger=(*rows.ledger, *panel.ledger),
            notes=(*rows.notes, *panel.notes),
        )


def _inputs(derivation: Derivation) -> tuple[str, ...]:
    return (derivation.of, derivation.by) if isinstance(derivation, Per) else (derivation.of,)  # type: ignore[attr-defined]


def _open(settings: PanelConfig, source: Delimited, first: Table, needed: tuple[str, ...]) -> _Rows:
    """Open the columns of the file that are needed."""
    names = [name for name in map(str, first.frame.columns) if name in needed]
    headers = tuple(source.columns.get(name, name) for name in names)
    engine: Engine = (
        open_spark(Path(source.path), headers) if settings.engine == "spark" else DuckDB().open(source.path, headers)
    )
    places = [f"c{i}" for i in range(len(names))]
    frame = type_columns(engine, places) if engine.is_text else engine.rows
    looked_at = engine.fetch(frame.head(_LOOKED_AT)).rename_columns(names).to_pandas(date_as_object=False)
    refuse_persons(looked_at, first.provenance[0].path, dict(zip(names, headers, strict=True)))
    return _Rows(engine, frame, first, dict(zip(names, places, strict=True)))


class _Rows:
    """The rows of the first table on their way to the cells; `at` says where each column of the study stands."""

    def __init__(self, engine: Engine, frame: Frame, first: Table, at: dict[str, str]) -> None:
        self.engine, self.frame, self.first, self.at = engine, frame, first, at
        self.units = dict(first.units)
        self.origins = dict.fromkeys(map(str, first.frame.columns), first.provenance[0].path)
        self.ledger: tuple[Dropped, ...] = ()
        self.notes: tuple[Message, ...] = ()

    def join(self, table: Table, needed: tuple[str, ...], time: str) -> None:
        """Join a table as `assemble` does, on the values of the keys: each once, however many rows have it."""
        if table.absent:
            raise DataError(
                f"{table.name} says what an absent key means, which an engine does not carry out",
                where=table.name,
                remedy="join it to the file beforehand, or leave engine out",
            )
        keys = [one for one in map(str, table.frame.columns) if one in self.origins]
        for key in keys:
            gaps = self.frame.filter(nw.col(self._place(key)).is_null()).select(nw.len().alias("n"))
            missing = int(self.engine.fetch(gaps).column("n")[0].as_py())
            if missing:
                raise DataError(
                    f"'{key}' is missing in {missing} rows of {self.first.name}, on which {table.name} is joined",
                    where=f"{self.first.name}, column '{key}'",
                    remedy="fill it in, or leave these rows out",
                )
        places = [self._place(key) for key in keys]
        distinct = self.engine.fetch(self.frame.select(*places).unique().head(_MOST_KEYS + 1)) if keys else pa.table({})
        if distinct.num_rows > _MOST_KEYS:
            raise DataError(
                f"{table.name} is joined on more than {_MOST_KEYS:,} values",
                where=table.name,
                remedy="join it to the file beforehand",
            )
        left = distinct.rename_columns(keys).to_pandas(date_as_object=False) if keys else self.first.frame
        left = left.sort_values(keys, ignore_index=True) if keys else left
        joined, notes = join_table(left, self.first.name, table, time)
        self.notes += tuple(notes)
        added = [one for one in map(str, table.frame.columns) if one not in keys]
        lifted = pa.Table.from_pandas(left[keys], preserve_index=False).rename_columns(
            [f"k{i}" for i in range(len(keys))]
        )
        for name in added:
            self.origins[name] = table.provenance[0].path if table.provenance else table.name
            if name in needed:
                self.at[name] = f"c{len(self.at)}"
                values = pa.Table.from_pandas(joined[[name]], preserve_index=False).column(name)
                lifted = lifted.append_column(self.at[name], values)
        self.units |= {name: unit for name, unit in table.units.items() if name in added}
        right = self.engine.lift(lifted)
        on = [f"k{i}" for i in range(len(keys))]
        self.frame = self.frame.join(right, left_on=places, right_on=on, how="left")

    def derive(self, name: str, derivation: Derivation) -> None:
        """Add a column by one of the verbs that an engine carries out."""
        if name in self.origins:
            raise DataError(
                f"a column '{name}' is derived, but the tables have one already",
                where=self.origins[name],
                remedy="give the derived column another name",
            )
        inputs = _inputs(derivation)
        cells = [self._number(one) for one in inputs]
        unit: str | None = None
        if isinstance(derivation, AtLeast):
            value = nw.when(~cells[0].is_null()).then(nw.when(cells[0] >= derivation.value).then(1.0).otherwise(0.0))
        else:
            below = "has no logarithm there" if isinstance(derivation, Log) else "cannot be divided by"
            self._refuse_low(inputs[-1], cells[-1], below)
            unit = "log points"
            value = cells[0].log()
            if isinstance(derivation, Per):
                value = cells[0] / cells[1]
                unit = self._unit_of_ratio(derivation)
                if derivation.to is not None:
                    ratio = unit_ratio(str(unit), derivation.to, where=f"column '{name}'")
                    value, unit = value * float(ratio.numerator) / float(ratio.denominator), derivation.to
        self.at[name] = f"c{len(self.at)}"
        self.frame = self.frame.with_columns(value.alias(self.at[name]))
        self.units |= {} if unit is None else {name: unit}
        self.origins[name] = ", ".join(dict.fromkeys(self.origins[one] for one in inputs))

    def filter(self, column: str, value: Any, unit: str) -> None:
        """Keep the rows in which a column equals a value; count the others."""
        place = self._place(column)
        kept = self.frame.filter(nw.col(place) == value)
        before, after = (
            self.engine.fetch(one.select(nw.len().alias("n"), nw.col(self._place(unit)).n_unique().alias("u")))
            for one in (self.frame, kept)
        )
        rows, units = (
            int(before.column(one)[0].as_py()) - int(after.column(one)[0].as_py() or 0) for one in ("n", "u")
        )
        if not after.column("n")[0].as_py():
            raise DataError(
                f"no row has {column} = {value!r}", where=self.origins[column], remedy="correct where, or the column"
            )
        if rows:
            reason = message("ledger.where", column=column, equals=value)
            self.ledger += (Dropped("panel", reason, rows, units),)
        self.frame = kept

    def chosen(self, wanted: tuple[str, ...]) -> Engine:
        """The engine with these columns alone, called c0, c1, …"""
        return Prepared(
            self.engine, self.frame.select(*(nw.col(self._place(n)).alias(f"c{i}") for i, n in enumerate(wanted)))
        )

    def _place(self, column: str) -> str:
        if column not in self.at:
            raise DataError(
                f"there is no column '{column}'",
                where=self.first.provenance[0].path,
                remedy=nearest(column, self.origins),
            )
        return self.at[column]

    def _number(self, column: str) -> Any:
        kind = self.frame.collect_schema()[self._place(column)]
        if not kind.is_numeric():
            raise DataError(
                f"the column holds {kind}, not numbers",
                where=f"{self.origins[column]}, column '{column}'",
                remedy="write plain numbers such as 1234.5 (no thousands separators, no notes), or leave the cell empty",
            )
        cell = nw.col(self._place(column)).cast(nw.Float64())
        return known_numbers(cell)

    def _refuse_low(self, column: str, cell: Any, what: str) -> None:
        low = int(self.engine.fetch(self.frame.filter(cell <= 0).select(nw.len().alias("n"))).column("n")[0].as_py())
        if low:
            raise DataError(
                f"'{column}' is zero or negative in {low} rows and {what}",
                where=f"{self.origins[column]}, column '{column}'",
                remedy="correct these rows or leave them out; what is unknown is an empty cell",
            )

    def _unit_of_ratio(self, derivation: Per) -> str | None:
        above, below = self.units.get(derivation.of), self.units.get(derivation.by)
        if above is None or below is None:
            if derivation.to is None:
                return None
            lacking = derivation.of if above is None else derivation.by
            raise DataError(
                f"'{lacking}' has no unit, so that the ratio cannot be expressed in '{derivation.to}'",
                where=f"column '{lacking}'",
                remedy="declare it with the source, in units= or its sidecar, or leave out to=",
            )
        return "share" if above == below and derivation.to is None else f"{above}/{below}"
