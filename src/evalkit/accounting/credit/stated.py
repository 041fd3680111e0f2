"""Figures of a rule with who states them; and what the verbs of this folder ask of a table and say of what they did."""

from __future__ import annotations

import hashlib
import math
import re
import tomllib
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd

from evalkit.accounting._tables import located, require_keys, unit_of, values_of
from evalkit.errors import DataError, nearest
from evalkit.numerics.arrays import Flags, Floats
from evalkit.tables.table import Provenance, Table
from evalkit.tables.units import convert, kind_of_unit

STATUSES = ("published", "computed", "recalled", "assumed")
"""How sure a figure is: printed, worked out from what is printed, not checked against its source, or a supposition."""

PERCENT = {"%": 1.0, "percent": 1.0, "percentage": 1.0, "share": 100.0, "比例": 100.0}
"""Unit of a part of a whole → how many per cent one is."""

_EMISSIONS = re.compile(r"(.+?) *(?:CO2e?|二氧化碳(?:当量)?)")


@dataclass(frozen=True)
class Stated:
    """A figure of a rule, its unit, who states it and how sure it is; `origin` is the file of evalkit that it stands in."""

    value: float
    unit: str
    source: str
    status: str
    origin: Provenance | None = None

    def note(self, name: str) -> str:
        """Write the figure as a note has it."""
        return f"{name} {self.value:g} {self.unit}, {self.status} ({self.source})"


def state(given: float | str, unit: str, source: str, status: str, *, name: str) -> Stated:
    """Return a figure that is given with its source and status, or one of evalkit's by its name.

    Raises DataError for a figure without either, an unknown name, a negative or infinite number.
    """
    if isinstance(given, str):
        figure = _shipped(given, name)
        if source or status:
            raise DataError(
                f"'{given}' has a source of its own", where=f"{name}=", remedy="leave out source= and status="
            )
        if figure.unit != unit:
            raise DataError(
                f"'{given}' is in {figure.unit}, and {name}= in {unit}", where=f"{name}=", remedy="give a number"
            )
        return figure
    require_status(source, status, name)
    if isinstance(given, bool) or not isinstance(given, Real) or not math.isfinite(given) or given < 0:
        raise DataError(f"{name}={given!r} is no number from 0 up", where=f"{name}=", remedy=f"write it in {unit}")
    return Stated(float(given), unit, source.strip(), status)


def require_status(source: str, status: str, name: str) -> None:
    """Raise DataError for a figure without a source, or with a status that is not known."""
    if not isinstance(source, str) or not source.strip():
        raise DataError(
            f"{name}= has no source", where="source=", remedy="write who states it: a decree, a contract, a paper"
        )
    if status not in STATUSES:
        raise DataError(f"the status is {status!r}", where="status=", remedy=nearest(status, STATUSES))


def _shipped(key: str, name: str) -> Stated:
    data = files("evalkit").joinpath("accounting", "credit", "figures.toml").read_bytes()
    known: dict[str, Any] = tomllib.loads(data.decode("utf-8"))
    if key not in known:
        remedy = f"{nearest(key, known)}; or give a number with source= and status="
        raise DataError(f"evalkit has no figure '{key}'", where=f"{name}=", remedy=remedy)
    path, entry = "evalkit/accounting/credit/figures.toml", known[key]
    origin = Provenance(path, hashlib.sha256(data).hexdigest(), citation=entry["source"], notes=entry["status"])
    return Stated(entry["value"], entry["unit"], entry["source"], entry["status"], origin)


# --- what a table must have ---


def amounts(table: Table, column: str, unit: str, *, zero: bool = True) -> Floats:
    """Return a column in a unit; raise DataError naming the rows that are negative, or zero where that means nothing.

    Masses may be of CO2 or CO2e, "kg CO2e" being read as kg; carbon ("kg C") is another thing, and refused.
    """
    values, declared = values_of(table, column), unit_of(table, column)
    where = f"{table.name}, column '{column}'"
    refuse_rows(table, values < 0, column, f"'{column}' is negative", "correct these rows")
    if not zero:
        refuse_rows(
            table, values == 0, column, f"'{column}' is zero", "correct these rows; an unknown value is an empty cell"
        )
    return convert(values, plain_mass(declared), unit, where=where)


def plain_mass(unit: str) -> str:
    """Return the unit of a mass of CO2 or CO2e as that of a mass."""
    found = _EMISSIONS.fullmatch(unicodedata.normalize("NFKC", unit).replace("₂", "2").strip())
    return found[1] if found else unit


def part_of_whole(unit: str, where: str, known: Mapping[str, float] = PERCENT) -> float:
    """Return how many per cent one of a unit is; raise DataError for a unit that is no part of a whole."""
    plain = "".join(unicodedata.normalize("NFKC", unit).split())
    if plain not in known:
        remedy = 'write "%" or "share"' if known is PERCENT else 'write "% a year", "%" or "share"'
        raise DataError(f"the unit '{unit[:40]}' is neither % nor share", where=where, remedy=remedy)
    return known[plain]


def kind_of(table: Table, column: str) -> str:
    """Say what a column measures, by its declared unit."""
    return kind_of_unit(plain_mass(unit_of(table, column)), where=f"{table.name}, column '{column}'")


def refuse_rows(table: Table, wrong: Flags, column: str, what: str, remedy: str) -> None:
    """Raise DataError naming the flagged rows, if there are any."""
    if wrong.any():
        raise DataError(f"{what} in {int(wrong.sum())} rows", where=located(table, wrong, column), remedy=remedy)


def choose_from(name: str, given: object, known: Sequence[str]) -> None:
    """Raise DataError for a setting that is none of those known."""
    if given not in known:
        what = f"{name}={given!r} is not known" if given else f"{name}= is not said"
        raise DataError(what, where=f"{name}=", remedy=f"write one of: {', '.join(map(repr, known))}")


# --- what comes of it ---


def result(
    table: Table,
    keys: Sequence[str],
    made: dict[str, Any],
    units: dict[str, str],
    notes: Sequence[str],
    figures: Sequence[Stated],
    name: str,
) -> Table:
    """Put what was made beside the keys, or beside all columns where no keys are named; the notes go to the first provenance."""
    if isinstance(keys, str):
        raise DataError("keys= is one word, not a tuple", where=name, remedy=f'write keys=("{keys}",)')
    if len(set(keys)) < len(keys):
        raise DataError("keys= names a column twice", where=name, remedy="name each once")
    if not len(table.frame):
        raise DataError("the table has no rows", where=table.name, remedy="check the source")
    if keys:
        require_keys(table, keys)
    kept = list(keys) if keys else [str(column) for column in table.frame.columns]
    for column in made:
        if column in kept:
            raise DataError(
                f"the table has a column '{column}' already",
                where=table.name,
                remedy="rename it, or give another name=",
            )
    frame = table.frame[kept].assign(
        **{column: pd.Series(one, index=table.frame.index) for column, one in made.items()}
    )
    first, *others = table.provenance or (Provenance(table.name, ""),)
    unchecked = tuple(f"{name}: {one.value:g} {one.unit}" for one in figures if one.status == "recalled")
    said = "; ".join(filter(None, [first.notes, *notes]))
    noted = replace(first, notes=said, recalled=(*first.recalled, *unchecked))
    origins = [one.origin for one in figures if one.origin is not None]
    declared = {column: unit for column, unit in table.units.items() if column in kept} | units
    return Table(name, frame, tuple(dict.fromkeys([noted, *others, *origins])), declared)


def count_missing(values: Floats, column: str) -> list[str]:
    """Say how many rows are missing for want of what they are computed from."""
    missing = int(np.isnan(values).sum())
    return (
        [f"{column} is missing in {missing} of {len(values)} rows, where what it is computed from is"]
        if missing
        else []
    )
