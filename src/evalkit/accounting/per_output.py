"""Intensity: emissions per unit of output, in constant prices where a price index is given."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from evalkit.accounting._tables import (
    EMISSIONS,
    located,
    match_rows,
    require_keys,
    unit_of,
    values_of,
    written,
)
from evalkit.accounting.factors import FactorSet
from evalkit.accounting.uncertainty import (
    SourceEmissions,
    emissions_by_source,
    first_order,
    monte_carlo,
    note_certain,
    ranged_shares,
)
from evalkit.errors import DataError
from evalkit.numerics.arrays import Floats, Ints
from evalkit.panels.prices import check_index, index_levels, read_years, real_output
from evalkit.tables.table import Provenance, Table
from evalkit.tables.units import convert, kind_of_unit

# Output is expressed in one unit of each kind, so that intensities of different tables compare.
_PER = {"money": "yuan", "mass": "kg", "area": "ha", "volume": "L", "energy": "kWh", "people": "person"}


def intensity(
    inventory: Table,
    *,
    output: Table,
    per: str,
    deflator: Table | None = None,
    index: str = "",
    by_source: bool = False,
    factors: FactorSet | None = None,
    draws: int = 2000,
    seed: int = 0,
    name: str = "cei",
) -> Table:
    """Divide the emissions of each key, summed over sources, by a column of `output`.

    `output` has one row per key of the inventory; `per` is its column, with a declared unit. The result has the keys, `name`
    (kg CO2e per yuan, kg, ha, L, kWh or person) and `{name}_emissions` (kg CO2e, net of sinks); with `by_source`, those of
    each source as well, `{name}_emissions_{source}`. Missing emissions or output give a missing intensity; so does a key
    without output, which the provenance notes.

    `deflator` is a table of indices: columns it shares with `output` (a year, perhaps regions) and one further, whose unit is
    "上年=100" or "previous year=100" (chained from its first year) or "2019=100" (fixed base). `index` has to say of what.
    "price": output is divided by the level of prices, and is then in prices of the base. "volume" (an index of output in
    comparable prices): output is that of its first year times the unit's own index since. The unit says the year.

    With `factors`, the set that the inventory was made with, the uncertainty of its factors stands beside: `{name}_sd` (first
    order), `{name}_low` and `{name}_high` (2.5 and 97.5 % of `draws`, see factor_uncertainty); output counts as certain.

    Raises DataError for output that is zero or negative, repeated keys, an inventory in which a key lacks a source that others
    have, an index of another kind or whose name says the other, and rows without an index.
    """
    found_emissions = emissions_by_source(inventory)
    emissions = found_emissions.frame
    keys = [str(column) for column in emissions.columns]
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
    amount, unit = _output(replace(output, frame=output.frame.iloc[at[found]]), per)
    if deflator is None and index:
        raise DataError(
            f"index = '{index}' speaks of no table", where="intensity", remedy="name the table of the index: deflator="
        )
    if deflator is not None:
        amount, year = _deflate(amount, output, at[found], per, deflator, index)
        unit = f"{unit} of {year}"
    quantity = np.full(len(emissions), np.nan)
    quantity[found] = amount
    columns = _columns_of(found_emissions, quantity, name, by_source)
    units = dict.fromkeys(columns, EMISSIONS) | {name: f"{EMISSIONS}/{unit}"}
    provenance = (*inventory.provenance, *_noted(output, emissions, keys, found))
    if factors is not None:
        shares = ranged_shares(found_emissions.sources, factors, inventory)
        low, high = monte_carlo(found_emissions.emissions, found_emissions.sources, factors, draws=draws, seed=seed)
        deviation = first_order(found_emissions.emissions, shares, factors)
        uncertain = {f"{name}_sd": deviation, f"{name}_low": low, f"{name}_high": high}
        columns |= {column: values / quantity for column, values in uncertain.items()}
        units |= dict.fromkeys(uncertain, units[name])
        before = note_certain(inventory.provenance, found_emissions.sources, factors)
        provenance = (*before, *provenance[len(before) :])
    for column in columns:
        if column in keys:
            raise DataError(f"'{column}' is a key of the inventory", where=inventory.name, remedy="give another name=")
    if deflator is not None:
        provenance += deflator.provenance
    return Table(name, emissions.assign(**columns), tuple(dict.fromkeys(provenance)), units)


def _columns_of(found: SourceEmissions, quantity: Floats, name: str, by_source: bool) -> dict[str, Floats]:
    total = found.emissions.sum(axis=1)
    columns = {name: total / quantity, f"{name}_emissions": total}
    if by_source:
        columns |= {f"{name}_emissions_{one}": found.emissions[:, at] for at, one in enumerate(found.sources)}
    return columns


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


def _deflate(amount: Floats, output: Table, at: Ints, per: str, deflator: Table, index: str) -> tuple[Floats, int]:
    """Put amounts of money, those of the rows `at` of `output`, into prices of one year; return them and the year."""
    where = f"{output.name}, column '{per}'"
    if kind_of_unit(unit_of(output, per), where=where) != "money":
        raise DataError(f"'{per}' is not an amount of money", where=where, remedy="leave out deflator=")
    keys, column = _columns(output, deflator)
    headers = [header for one in deflator.provenance for name, header in one.headers if name == column]
    check_index(index, (column, *headers), where=f"{deflator.name}, column '{column}'")
    require_keys(deflator, keys)
    year = _year_column(deflator, keys)
    years = read_years(deflator.frame[year])
    values = pd.Series(values_of(deflator, column), index=deflator.frame.index, name=column)
    regions = [key for key in keys if key != year]
    cells = deflator.frame.groupby(regions).ngroup() if regions else np.zeros(len(years))
    group = np.asarray(cells, dtype=np.int64)
    level, base = index_levels(values, unit_of(deflator, column), years, group, name=deflator.name)
    right = Table(deflator.name, deflator.frame[keys].assign(**{year: years}), deflator.provenance)
    require_keys(right, keys)  # 2019 and "2019年" are one year
    if index == "volume":
        return _by_volume(output, at, per, right, regions, year, level)
    used = replace(output, frame=output.frame.iloc[at])
    return amount / _levels_of(used, right, keys, year, level), base


def _levels_of(used: Table, right: Table, keys: list[str], year: str, level: Floats) -> Floats:
    """Return the level of the index in each row; raise DataError where there is none."""
    left = used.frame[keys].assign(**{year: read_years(used.frame[year])})
    at = match_rows(left, used.name, right, keys)
    found = np.where(at >= 0, level[at], np.nan)
    lacking = np.isnan(found)
    if lacking.any():
        raise DataError(
            f"{int(lacking.sum())} rows of {used.name} have no index value; the first has "
            + written(used.frame, keys, lacking),
            where=right.name,
            remedy="add it to the table of the index, or leave these rows out",
        )
    return found


def _by_volume(
    output: Table, at: Ints, per: str, right: Table, regions: list[str], year: str, level: Floats
) -> tuple[Floats, int]:
    """Chain the output of the first year by each unit's own index of volumes, over all rows of the output."""
    units = [str(column) for column in output.frame.columns if column in regions]
    amount, _ = _output(output, per)
    years = read_years(output.frame[year])
    found = _levels_of(output, right, [*units, year], year, level)
    cells = output.frame.groupby(units, sort=False).ngroup() if units else np.zeros(len(years))
    unit = np.asarray(cells, dtype=np.int64)
    repeated = pd.DataFrame({"unit": unit, "year": years}).duplicated().to_numpy()
    if repeated.any():
        said = " and ".join(units) or "the whole table"
        raise DataError(
            f"an index of volumes by {said} is no index of each unit: what a group produces says nothing of its members",
            where=located(output, repeated, per),
            remedy="give each unit its own index of volumes, or take an index of prices",
        )
    real, first, lacking = real_output(amount, found, years, unit)
    if lacking.any():
        raise DataError(
            f"{int(lacking.sum())} rows are of units without output in {first}, from which an index of volumes would chain it",
            where=located(output, lacking, per),
            remedy="add that year, or leave these units out",
        )
    real[np.isnan(amount)] = np.nan
    return real[at], first


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
