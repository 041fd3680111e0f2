"""Intensity: emissions per unit of output, in constant prices where a price index is given."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from evalkit.accounting._tables import (
    DETAIL,
    EMISSIONS,
    located,
    match_rows,
    require_columns,
    require_keys,
    unit_of,
    values_of,
    written,
)
from evalkit.errors import DataError
from evalkit.numerics.arrays import Floats
from evalkit.panels.prices import price_levels, read_years
from evalkit.tables.table import Provenance, Table
from evalkit.tables.units import convert, kind_of_unit

# Output is expressed in one unit of each kind, so that intensities of different tables compare.
_PER = {"money": "yuan", "mass": "kg", "area": "ha", "volume": "L", "energy": "kWh", "people": "person"}


def intensity(inventory: Table, *, output: Table, per: str, deflator: Table | None = None, name: str = "cei") -> Table:
    """Divide the emissions of each key, summed over sources, by a column of `output`.

    `output` has one row per key of the inventory; `per` is its column, with a declared unit. The result has the keys, `name`
    (kg CO2e per yuan, kg, ha, L, kWh or person) and `{name}_emissions` (kg CO2e). Missing emissions or output give a missing
    intensity; so does a key without output, which the provenance notes.

    `deflator` is a table of price indices: columns it shares with `output` (a year, perhaps regions) and one further, whose unit
    is "上年=100" or "previous year=100" (chained from its first year) or "2019=100" (fixed base). Output is then in prices of
    that year, and the unit says so.

    Raises DataError for output that is zero or negative, repeated keys, an inventory in which a key lacks a source that others
    have, an index of another kind, and rows without an index.
    """
    keys = [str(column) for column in inventory.frame.columns if column not in DETAIL]
    emissions = _total(inventory, keys)
    require_keys(output, keys)
    at = match_rows(emissions, inventory.name, output, keys)
    found = at >= 0
    if not found.any():
        example = written(emissions, keys, ~found)
        raise DataError(
            f"no key of the inventory stands in {output.name}; the first is {example}",
            where=output.name,
            remedy="write the keys alike in both",
        )
    used = replace(output, frame=output.frame.iloc[at[found]])
    amount, unit = _output(used, per)
    if deflator is not None:
        amount, year = _deflate(amount, used, per, deflator)
        unit = f"{unit} of {year}"
    quantity = np.full(len(emissions), np.nan)
    quantity[found] = amount
    total, total_name = emissions["emissions"].to_numpy(dtype=np.float64), f"{name}_emissions"
    for column in (name, total_name):
        if column in keys:
            raise DataError(f"'{column}' is a key of the inventory", where=inventory.name, remedy="give another name=")
    frame = emissions[keys].assign(**{name: total / quantity, total_name: total})
    provenance = (*inventory.provenance, *_noted(output, emissions, keys, found))
    if deflator is not None:
        provenance += deflator.provenance
    units = {name: f"{EMISSIONS}/{unit}", total_name: EMISSIONS}
    return Table(name=name, frame=frame, provenance=tuple(dict.fromkeys(provenance)), units=units)


def _total(inventory: Table, keys: list[str]) -> pd.DataFrame:
    """Sum emissions over sources: one row per key, with the row number of the file; missing where any source is."""
    require_columns(inventory, ("source", "emissions"))
    unit = inventory.units.get("emissions")
    if unit != EMISSIONS or not keys or not len(inventory.frame):
        what = f"emissions are in '{unit}', not in {EMISSIONS}" if unit != EMISSIONS else "there are no keys or no rows"
        raise DataError(what, where=inventory.name, remedy="pass the table that inventory(…) returns")
    frame = inventory.frame
    require_keys(inventory, [*keys, "source"])
    codes = frame.groupby(keys, sort=False).ngroup().to_numpy(dtype=np.int64)
    _, first, number = np.unique(codes, return_index=True, return_counts=True)
    short = number < frame["source"].nunique()
    if short.any():
        lacking = frame.iloc[first[short]]
        raise DataError(
            f"{len(lacking)} keys lack an emission source that others have, such as "
            + written(lacking, keys, np.ones(len(lacking), dtype=bool)),
            where=f"{inventory.name}, row {lacking.index[0]}",
            remedy="make one inventory of all rows with the same sources",
        )
    total = np.bincount(codes, weights=values_of(inventory, "emissions"))
    return frame.iloc[first][keys].assign(emissions=total)


def _output(output: Table, per: str) -> tuple[np.ndarray, str]:
    """Return output in the unit of its kind, and that unit."""
    values, declared = values_of(output, per), unit_of(output, per)
    where = f"{output.name}, column '{per}'"
    kind = kind_of_unit(declared, where=where)
    if kind not in _PER:
        raise DataError(
            f"emissions per {kind} are no intensity", where=where, remedy=f"divide by a column of {', '.join(_PER)}"
        )
    if (values <= 0).any():
        raise DataError(
            f"'{per}' is zero or negative in {int((values <= 0).sum())} rows, where no intensity exists",
            where=located(output, values <= 0, per),
            remedy="correct these rows or leave them out; an unknown output is an empty cell",
        )
    return convert(values, declared, _PER[kind], where=where), _PER[kind]


def _noted(output: Table, emissions: pd.DataFrame, keys: list[str], found: np.ndarray) -> tuple[Provenance, ...]:
    """Return the provenance of the output with a note on the keys that it does not have."""
    if found.all() or not output.provenance:
        return output.provenance
    first, *others = output.provenance
    note = f"{int((~found).sum())} keys of the inventory have no row, such as {written(emissions, keys, ~found)}"
    return (replace(first, notes="; ".join(filter(None, [first.notes, note]))), *others)


def _deflate(amount: Floats, output: Table, per: str, deflator: Table) -> tuple[Floats, int]:
    """Divide amounts of money, one for each row of `output`, by the level of prices; return them and the year of the prices."""
    where = f"{output.name}, column '{per}'"
    if kind_of_unit(unit_of(output, per), where=where) != "money":
        raise DataError(f"'{per}' is not an amount of money", where=where, remedy="leave out deflator=")
    keys, index = _columns(output, deflator)
    require_keys(deflator, keys)
    year = _year_column(deflator, keys)
    years = read_years(deflator.frame[year])
    values = pd.Series(values_of(deflator, index), index=deflator.frame.index, name=index)
    regions = [key for key in keys if key != year]
    cells = deflator.frame.groupby(regions).ngroup() if regions else np.zeros(len(years))
    group = np.asarray(cells, dtype=np.int64)
    level, base = price_levels(values, unit_of(deflator, index), years, group, name=deflator.name)
    left = output.frame[keys].assign(**{year: read_years(output.frame[year])})
    right = Table(deflator.name, deflator.frame[keys].assign(**{year: years}), deflator.provenance)
    require_keys(right, keys)  # 2019 and "2019年" are one year
    at = match_rows(left, output.name, right, keys)
    found = np.where(at >= 0, level[at], np.nan)
    lacking = np.isnan(found)
    if lacking.any():
        raise DataError(
            f"{int(lacking.sum())} rows of {output.name} have no index value; the first has "
            + written(output.frame, keys, lacking),
            where=deflator.name,
            remedy="add it to the table of the index, or leave these rows out",
        )
    return amount / found, base


def _columns(output: Table, deflator: Table) -> tuple[list[str], str]:
    """Return the columns that an index shares with the output, and the one that holds it."""
    columns = [str(column) for column in deflator.frame.columns]
    keys = [column for column in columns if column in output.frame.columns]
    others = [column for column in columns if column not in keys]
    if not keys or len(others) != 1 or not len(deflator.frame):
        raise DataError(
            f"the index shares {', '.join(keys) or 'no column'} with {output.name} and has besides "
            f"{', '.join(others) or 'none'}, in {len(deflator.frame)} rows",
            where=deflator.name,
            remedy="it needs columns that both have (the year, perhaps regions) and exactly one further, the index",
        )
    return keys, others[0]


def _year_column(deflator: Table, keys: list[str]) -> str:
    found = [key for key in keys if (read_years(deflator.frame[key]) > 0).all()]
    if len(found) != 1:
        raise DataError(
            f"{len(found)} of the columns {', '.join(keys)} hold years",
            where=deflator.name,
            remedy="the index needs exactly one column of years",
        )
    return found[0]
