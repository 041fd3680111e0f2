"""Assembly: tables joined on the columns they share, into a panel."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from evalkit.catalogue import Message, message
from evalkit.errors import DataError
from evalkit.panels.derivation import Derivation
from evalkit.panels.joining import add_volume, is_volume, join_table
from evalkit.panels.panel import Panel
from evalkit.regions.codes import Area, add_codes
from evalkit.regions.search import is_sum
from evalkit.tables.columns import require_column
from evalkit.tables.table import Table


def assemble(
    *tables: Table,
    unit: str | None,
    time: str,
    where: Mapping[str, Any] | None = None,
    counts: str | None = None,
    regions: Mapping[str, Area] | None = None,
    derive: Mapping[str, Derivation] | None = None,
) -> Panel:
    """Join tables to the first one, whose rows the panel keeps, and verify the key.

    Each further table is joined on all columns it shares with the tables before it, and must have one row for each value of
    these (a policy table with one row per county, a price table with one row per year). Rows of the first table without a match
    stay, with missing values, and are noted with the likely cause: a volume that is missing, a unit that was renamed, merged or
    split; a table that says what a key absent from it means (no loan is 0 loans) gives that value instead, within the periods it
    covers. Keys are equal or not; none is guessed. A name that matches nothing but is another name of one that is left over, or
    resembles one, is refused. A table with the unit, the period and no column of its own is a further volume of those before it:
    its rows are added, and where both have a value of one unit and period, these have to agree to the rounding of both.

    `regions` names columns of names of regions, `{"county": Area(level="county", within="昌吉州")}`: each table gets a column
    "county_code" beside, and is joined on that; `Area(column="prefecture")` names the area of each row. `derive` adds columns,
    each of which may use those before it: see `log`, `per`, `deflate`, `winsorise`, `lag`, `share`, `at_least`, `equal_weight`.
    `where` keeps the rows in which columns equal values; the rest enter the ledger. A note says which unit-periods are missing,
    if any are.

    Raises DataError for tables without a shared column, repeated keys, keys of different types or without any match, and names
    already taken. A unit that is called as a total is (合计, Total) is noted.
    """
    if not tables:
        raise DataError("no tables are given", where="assemble", remedy="load at least one source")
    placed, notes = add_codes(tables, regions, time) if regions else (list(tables), list[Message]())
    first, *others = placed
    frame, units, provenance = first.frame, dict(first.units), first.provenance
    origins = dict.fromkeys(map(str, frame.columns), _file(first))
    for table in others:
        if unit is not None and is_volume(frame, table, (unit, time)):
            frame, of_volume = add_volume(frame, units, first.name, table, (unit, time))
            notes.append(of_volume)
            origins |= {column: f"{origins[column]}, {_file(table)}" for column in map(str, table.frame.columns)}
            provenance += table.provenance
            continue
        origins = origins | dict.fromkeys(set(map(str, table.frame.columns)) - set(origins), _file(table))
        frame, joined_notes = join_table(frame, first.name, table, time)
        notes += joined_notes
        units |= table.units
        provenance += table.provenance
    for column in (unit, time):
        if column is not None:
            require_column(frame, column)
    panel = Panel.from_frame(
        frame, unit=unit, time=time, counts=counts, units=units, provenance=tuple(dict.fromkeys(provenance))
    )
    panel = replace(panel, notes=tuple(notes), origins=origins)
    for name, derivation in (derive or {}).items():
        panel = _derive(panel, name, derivation)
    for column, value in (where or {}).items():
        panel = panel.where(column, value)
    return replace(panel, notes=(*panel.notes, *_find_sums(panel), *_balance(panel)))


def _file(table: Table) -> str:
    return table.provenance[0].path if table.provenance else table.name


def _derive(panel: Panel, name: str, derivation: Derivation) -> Panel:
    """Add one derived column, with its unit, its notes and the files that it rests on."""
    if name in panel.frame.columns:
        raise DataError(
            f"a column '{name}' is derived, but the tables have one already",
            where=panel.origins[name],
            remedy="give the derived column another name",
        )
    try:
        found = derivation.derive(panel, name)
    except DataError as error:
        raise DataError(error.what, where=_located(panel, name, error.where), remedy=error.remedy) from None
    files = dict.fromkeys(panel.origins[column] for column in found.of)
    return replace(
        panel.with_column(name, found.values),
        units={**panel.units, **({name: found.unit} if found.unit is not None else {})},
        origins={**panel.origins, name: ", ".join(files)},
        notes=(*panel.notes, *found.notes),
    )


def _located(panel: Panel, name: str, where: str) -> str:
    """Name the file of the column that cannot be used; rows are counted in the first file, whatever file it is of."""
    column = re.match(r"column '([^']*)'", where)
    if column is None or column[1] not in panel.origins:
        return f"derived column '{name}', {where}"
    file, first = panel.origins[column[1]], next(iter(panel.origins.values()))
    return f"derived column '{name}', {file}, {where}" + (f" of {first}" if file != first else "")


def _find_sums(panel: Panel) -> list[Message]:
    """Say which units are called as rows are that add others up: they count as units of their own."""
    labels = [] if panel.unit_codes is None else [one for one in panel.unit_codes.labels if isinstance(one, str)]
    found = [one for one in labels if is_sum(one)]
    return [message("note.sums", units=", ".join(found), column=str(panel.unit))] if found else []


def _balance(panel: Panel) -> list[Message]:
    """Say which unit-periods are missing, among the periods that any unit has."""
    if panel.unit_codes is None:
        return []
    periods, units = panel.periods.observed, len(panel.unit_codes.labels)
    missing = units * len(periods) - len(panel)
    if not missing:
        return []
    present = np.bincount(panel.unit_codes.values, minlength=units)
    short = np.flatnonzero(present < len(periods))
    unit = int(short[0])
    lacking = np.setdiff1d(periods, panel.position[panel.unit_codes.values == unit])
    return [
        message(
            "note.unbalanced",
            missing=missing,
            cells=units * len(periods),
            units=len(short),
            of=units,
            unit=str(panel.unit_codes.labels[unit]),
            period=panel.periods.label(lacking[0]),
        )
    ]
