"""Assembly: tables joined on the columns they share, into a panel."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from evalkit.catalogue import Message, message
from evalkit.columns import require_column
from evalkit.derivation import Derivation
from evalkit.errors import DataError
from evalkit.panel import Panel
from evalkit.table import Table


def assemble(
    *tables: Table,
    unit: str | None,
    time: str,
    where: Mapping[str, Any] | None = None,
    counts: str | None = None,
    derive: Mapping[str, Derivation] | None = None,
) -> Panel:
    """Join tables to the first one, whose rows the panel keeps, and verify the key.

    Each further table is joined on all columns it shares with the tables before it, and must have one row for each value of
    these (a policy table with one row per county, a price table with one row per year). Rows of the first table without a match
    stay, with missing values, and are noted; a table that says what a key absent from it means (no loan is 0 loans) gives that
    value instead, within the periods it covers. A name that matches nothing but resembles one that is left over is refused as a
    likely misspelling; others are noted. `derive` adds columns, each of which may use those before it: log, at_least,
    equal_weight. `where` keeps the rows in which columns equal values; the rest enter the ledger.
    Raises DataError for tables without a shared column, repeated keys, keys of different types, and names already taken.
    """
    if not tables:
        raise DataError("no tables are given", where="assemble", remedy="load at least one source")
    first, *others = tables
    frame, units, notes = first.frame, dict(first.units), list[Message]()
    provenance = first.provenance
    origins = dict.fromkeys(map(str, frame.columns), _file(first))
    for table in others:
        origins = dict.fromkeys(map(str, table.frame.columns), _file(table)) | origins
        frame, joined_notes = _join(frame, first.name, table, time)
        notes += joined_notes
        units |= table.units
        provenance += table.provenance
    for column in (unit, time):
        if column is not None:
            require_column(frame, column)
    for name, derivation in (derive or {}).items():
        if name in frame.columns:
            raise DataError(
                f"a column '{name}' is derived, but the tables have one already",
                where=origins[name],
                remedy="give the derived column another name",
            )
        frame = frame.assign(**{name: derivation.compute(frame, time)})
        said = derivation.unit(units)
        units |= {name: said} if said is not None else {}
        origins[name] = _file(first)
    panel = Panel.from_frame(
        frame, unit=unit, time=time, counts=counts, units=units, provenance=tuple(dict.fromkeys(provenance))
    )
    panel = replace(panel, notes=tuple(notes), origins=origins)
    for column, value in (where or {}).items():
        panel = panel.where(column, value)
    return panel


def _file(table: Table) -> str:
    return table.provenance[0].path if table.provenance else table.name


def _join(frame: pd.DataFrame, name: str, table: Table, time: str) -> tuple[pd.DataFrame, list[Message]]:
    keys = [column for column in table.frame.columns if column in frame.columns]
    if not keys:
        raise DataError(
            f"{table.name} shares no column with {name}",
            where=table.name,
            remedy=f"rename its key to one of: {', '.join(map(str, frame.columns[:12]))}",
        )
    right = table.frame
    for key in keys:
        _check_key(frame, right, key, name, table.name)
    repeated = right.duplicated(keys)
    if repeated.any():
        values = right[keys].iloc[int(np.argmax(repeated))]
        raise DataError(
            f"{table.name} has several rows for " + ", ".join(f"{k} = {values[k]}" for k in keys),
            where=f"{table.name}, row {repeated.idxmax()}",
            remedy=f"keep one row per {' and '.join(keys)}",
        )
    if not table.absent:  # where many keys are rightly absent, one that resembles another tells nothing
        for key in keys:
            _refuse_misspelt(frame, right, key, name, table.name)
    left_keys = pd.MultiIndex.from_frame(frame[keys])
    right_keys = pd.MultiIndex.from_frame(right[keys])
    matched = left_keys.isin(right_keys)
    merged = frame.merge(right, on=keys, how="left", validate="many_to_one")
    merged.index = frame.index  # a left join keeps rows and order, so that errors can still name rows of the first file
    notes = []
    if table.absent:
        covered = ~matched
        if time in keys:
            covered &= frame[time].between(right[time].min(), right[time].max()).to_numpy()
        for column, value in table.absent.items():
            merged[column] = merged[column].where(~covered, value)
        if covered.any():
            columns = ", ".join(table.absent)
            notes.append(message("note.absent", rows=int(covered.sum()), here=name, there=table.name, columns=columns))
        matched |= covered
    unmatched_left, unmatched_right = left_keys[~matched].unique(), right_keys[~right_keys.isin(left_keys)]
    for unmatched, here, there in ((unmatched_left, name, table.name), (unmatched_right, table.name, name)):
        if len(unmatched):
            listed = ", ".join(_written(key) for key in unmatched[:5]) + (", …" if len(unmatched) > 5 else "")
            notes.append(
                message(
                    "note.unmatched", here=here, there=there, keys=listed, number=len(unmatched), on=" × ".join(keys)
                )
            )
    return merged, notes


def _check_key(left: pd.DataFrame, right: pd.DataFrame, key: str, left_name: str, right_name: str) -> None:
    for frame, name in ((left, left_name), (right, right_name)):
        if frame[key].isna().any():
            raise DataError(
                f"'{key}' is missing in {int(frame[key].isna().sum())} rows of {name}, which is joined on it",
                where=f"{name}, row {frame[key].isna().idxmax()}",
                remedy="fill it in, or leave these rows out",
            )
    numeric = [pd.api.types.is_numeric_dtype(frame[key]) for frame in (left, right)]
    if numeric[0] != numeric[1]:
        kinds = ["numbers" if is_number else "text" for is_number in numeric]
        frame, name = (right, right_name) if numeric[0] else (left, left_name)
        text = pd.to_numeric(frame[key], errors="coerce").isna()
        example = f", such as '{frame[key][text].iloc[0]}'" if text.any() else ""
        raise DataError(
            f"'{key}' holds {kinds[0]} in {left_name} and {kinds[1]} in {right_name}{example}",
            where=f"{name}, row {frame.index[int(np.argmax(text))]}, column '{key}'",
            remedy=f'correct that value, or read the column as text in both: Delimited(…, text=("{key}",))',
        )


def _refuse_misspelt(left: pd.DataFrame, right: pd.DataFrame, key: str, left_name: str, right_name: str) -> None:
    """Refuse a text of the right table that the left one lacks, and that resembles one that the right one lacks."""
    if pd.api.types.is_numeric_dtype(right[key]):
        return
    here, there = set(map(str, left[key].unique())), set(map(str, right[key].unique()))
    for name in sorted(there - here):
        close = difflib.get_close_matches(name, sorted(here - there), n=1, cutoff=0.6)
        if close:
            raise DataError(
                f"{key} '{name}' matches no row of {left_name}, where '{close[0]}' is without a match",
                where=f"{right_name}, row {right.index[(right[key].astype(str) == name).to_numpy()][0]}",
                remedy=f"write '{close[0]}' if that is meant",
            )


def _written(key: Any) -> str:
    return " ".join(str(part) for part in key)
