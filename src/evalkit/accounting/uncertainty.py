"""Uncertainty of factors: drawn once each for a whole account, to first order and by Monte Carlo."""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from evalkit.accounting._tables import DETAIL, EMISSIONS, require_columns, require_keys, values_of
from evalkit.accounting.factors import FactorSet, Parameter
from evalkit.errors import DataError, nearest
from evalkit.numerics.arrays import Floats, Ints
from evalkit.tables.table import Provenance, Table

_Z = 1.959963984540054  # the 97.5 % point of the normal
_BLOCK = 2_000_000  # numbers drawn at a time


@dataclass(frozen=True)
class SourceEmissions:
    """Emissions (rows, sources) in kg CO2e of an inventory, one row per key, NaN where missing; `frame` has the keys."""

    frame: pd.DataFrame
    sources: tuple[str, ...]
    emissions: Floats


def factor_uncertainty(
    inventory: Table,
    factors: FactorSet,
    *,
    by: tuple[str, ...] | None = None,
    draws: int = 2000,
    seed: int = 0,
    name: str = "uncertainty",
) -> Table:
    """Say how uncertain emissions are, because factors are: a standard deviation to first order, and a range by Monte Carlo.

    `inventory` is the table that inventory(…) made with `factors`. `by` are those of its keys over which emissions are summed
    (none of them: the whole account); by default all. Result: the keys of `by`, `emissions` (kg CO2e), `emissions_sd`,
    `emissions_low` and `emissions_high` (2.5 and 97.5 %).

    Each figure of the set that has a range is drawn once, by its name, for all rows, sources and tables: the error of a
    factor is the same in all counties and does not average out. A figure is its value in the median and has 2.5 % of its
    draws below and above its range, on the logarithmic scale where the range is above 0, else on its own, at least 0. To
    first order it is half the range / 1.96, and independent figures add in squares (approach 1 of the IPCC's guidelines,
    2006, volume 1, chapter 3). Figures without a range, activity data and warming potentials count as certain, which the
    provenance says.

    Raises DataError for another table, other factors, and keys that it does not have.
    """
    if isinstance(by, str):
        raise DataError("by= is one word, not a tuple", where=name, remedy=f'write by=("{by}",)')
    found = emissions_by_source(inventory)
    keys = [str(column) for column in found.frame.columns]
    wanted = keys if by is None else list(by)
    for key in wanted:
        if key not in keys:
            raise DataError(f"'{key}' is no key of the inventory", where=inventory.name, remedy=nearest(key, keys))
    frame, sums = _sum_by(found, list(dict.fromkeys(wanted)))
    shares = ranged_shares(found.sources, factors, inventory)
    low, high = monte_carlo(sums, found.sources, factors, draws=draws, seed=seed)
    made = frame.assign(
        emissions=sums.sum(axis=1),
        emissions_sd=first_order(sums, shares, factors),
        emissions_low=low,
        emissions_high=high,
    )
    units = dict.fromkeys(("emissions", "emissions_sd", "emissions_low", "emissions_high"), EMISSIONS)
    provenance = note_certain(inventory.provenance, found.sources, factors)
    return Table(name, made, provenance, units)


def draw_factors(sources: Sequence[str], factors: FactorSet, *, draws: int, seed: int) -> Floats:
    """Draw the factors of emission sources, over their values: (sources, draws), 1 where no range is printed.

    A figure's draws depend on `seed` and its name alone: they are the same in another table, another process, another set of
    sources.
    """
    if draws < 1:
        raise DataError(f"draws = {draws}", where="draws", remedy="ask for some hundreds")
    if seed < 0:
        raise DataError(f"seed = {seed}", where="seed", remedy="give a whole number, 0 or above")
    drawn: dict[str, Floats] = {}
    found = np.ones((len(sources), draws))
    for at, source in enumerate(sources):
        for parameter, power in _parameters_of(source, factors):
            if parameter.name not in drawn:
                drawn[parameter.name] = _draw(parameter, draws, seed)
            found[at] *= drawn[parameter.name] ** power
    return found


def monte_carlo(
    emissions: Floats, sources: Sequence[str], factors: FactorSet, *, draws: int, seed: int
) -> tuple[Floats, Floats]:
    """Return the 2.5 and 97.5 % quantiles (rows,) of the sums over sources of emissions (rows, sources) under drawn factors."""
    ratios = draw_factors(sources, factors, draws=draws, seed=seed)
    low, high = np.empty(len(emissions)), np.empty(len(emissions))
    step = max(1, _BLOCK // draws)
    for start in range(0, len(emissions), step):
        totals = emissions[start : start + step] @ ratios
        rows = slice(start, start + step)
        low[rows], high[rows] = np.quantile(totals, (0.025, 0.975), axis=1)
    return low, high


def first_order(emissions: Floats, shares: Mapping[str, Ints], factors: FactorSet) -> Floats:
    """Return the standard deviation (rows,) of sums over sources: the errors of a figure add up, those of figures in squares."""
    variance = np.zeros(len(emissions))
    for name, powers in shares.items():
        variance += (emissions @ powers * _relative_sd(factors.parameters[name])) ** 2
    return np.asarray(np.sqrt(variance))


def ranged_shares(sources: Sequence[str], factors: FactorSet, inventory: Table) -> Mapping[str, Ints]:
    """Return for each figure that has a range how often each source's factor contains it: figure → (sources,).

    Raises DataError where the inventory was made with other factors than these.
    """
    found: dict[str, Ints] = {}
    for at, source in enumerate(sources):
        for parameter, power in _parameters_of(source, factors):
            found.setdefault(parameter.name, np.zeros(len(sources), dtype=np.int64))[at] += power
    _refuse_other_factors(inventory, factors)
    return found


def _refuse_other_factors(inventory: Table, factors: FactorSet) -> None:
    """Raise DataError unless the first row of each source has the factor of the set, whose range would else be another's."""
    require_columns(inventory, ("source", "activity_unit", "factor"))
    frame = inventory.frame[["source", "activity_unit", "factor"]]
    first = frame[frame["factor"].notna()].drop_duplicates("source")  # of what is unknown no factor was asked
    for source, unit, used in zip(first["source"], first["activity_unit"], first["factor"], strict=True):
        one = factors.factors[str(source)]
        values = one.by_words().values() if one.value is None else [one.value]
        weight = factors.weigh(one, str(unit), where=f"{inventory.name}, {source}")
        if not any(math.isclose(value * weight, used, rel_tol=1e-9) for value in values):
            raise DataError(
                f"the inventory has {used:g} kg CO2e/{unit} for '{source}', and the set '{factors.name}' has another factor",
                where=inventory.name,
                remedy="give the factor set that the inventory was made with, and the same gwp=",
            )


def _parameters_of(source: str, factors: FactorSet) -> list[tuple[Parameter, int]]:
    """Return the figures with a range that a source's factor is made of, and their powers."""
    if source not in factors.factors or not factors.factors[source].is_valued:
        raise DataError(
            f"the set '{factors.name}' has no factor for '{source}'",
            where="factors",
            remedy="give the factor set that the inventory was made with",
        )
    figures = [(factors.parameters[name], power) for name, power in factors.factors[source].parameters]
    return [(one, power) for one, power in figures if one.range is not None]


def _draw(parameter: Parameter, draws: int, seed: int) -> Floats:
    """Draw a figure, over its value: two half distributions that meet in the value."""
    assert parameter.range is not None
    low, high = (end / parameter.value for end in parameter.range)
    generator = np.random.default_rng(np.random.SeedSequence([seed, zlib.crc32(parameter.name.encode())]))
    z = generator.standard_normal(draws) / _Z
    if low > 0:
        return np.asarray(np.where(z < 0, low ** np.abs(z), high ** np.abs(z)))
    return np.asarray(np.maximum(1 + np.where(z < 0, (1 - low) * z, (high - 1) * z), 0))


def _relative_sd(parameter: Parameter) -> float:
    assert parameter.range is not None
    low, high = parameter.range
    return (high - low) / (2 * _Z * parameter.value)


def emissions_by_source(inventory: Table) -> SourceEmissions:
    """Turn a long inventory into one row per key and a column per source, rows in the order of their keys' first.

    Raises DataError for another table, repeated keys, and an inventory in which a key lacks a source that others have.
    """
    keys = [str(column) for column in inventory.frame.columns if column not in DETAIL]
    require_columns(inventory, ("source", "emissions"))
    unit = inventory.units.get("emissions")
    if unit != EMISSIONS or not keys or not len(inventory.frame):
        what = f"emissions are in '{unit}', not in {EMISSIONS}" if unit != EMISSIONS else "there are no keys or no rows"
        raise DataError(what, where=inventory.name, remedy="pass the table that inventory(…) returns")
    frame = inventory.frame
    of_source, names = pd.factorize(frame["source"])
    values, number = values_of(inventory, "emissions"), len(names)
    if _is_regular(of_source, frame, keys, number):
        first = np.arange(0, len(frame), number)
        return SourceEmissions(frame[keys].iloc[first], tuple(map(str, names)), values.reshape(-1, number))
    require_keys(inventory, [*keys, "source"])
    codes = frame.groupby(keys, sort=False).ngroup().to_numpy(dtype=np.int64)
    _, first, counted = np.unique(codes, return_index=True, return_counts=True)
    short = counted < number
    if short.any():
        lacking = frame.iloc[first[short]]
        said = ", ".join(f"{key} = {lacking[key].iloc[0]}" for key in keys)
        raise DataError(
            f"{len(lacking)} keys lack an emission source that others have, such as {said}",
            where=f"{inventory.name}, row {lacking.index[0]}",
            remedy="make one inventory of all rows with the same sources",
        )
    found = np.empty((len(first), number))
    found[codes, of_source] = values
    return SourceEmissions(frame[keys].iloc[first], tuple(map(str, names)), found)


def _is_regular(of_source: Ints, frame: pd.DataFrame, keys: list[str], number: int) -> bool:
    """Tell whether rows stand as inventory(…) puts them: the sources of a row of the file one below the other."""
    if len(frame) % number or not np.array_equal(of_source, np.tile(np.arange(number), len(frame) // number)):
        return False
    at_first = frame.iloc[::number]
    if at_first.duplicated(keys).any() or at_first[keys].isna().to_numpy().any():
        return False
    inside = np.arange(1, len(frame)) % number != 0  # a row and the one above it are of one key
    return all(
        bool(np.asarray(frame[key].array[1:] == frame[key].array[:-1], dtype=bool)[inside].all()) for key in keys
    )


def _sum_by(found: SourceEmissions, wanted: list[str]) -> tuple[pd.DataFrame, Floats]:
    """Sum emissions over the keys that are not wanted; missing where any part is."""
    if not wanted:
        return pd.DataFrame(index=pd.RangeIndex(1, 2, name="row")), found.emissions.sum(axis=0, keepdims=True)
    if len(wanted) == found.frame.shape[1]:
        return found.frame[wanted], found.emissions
    codes = found.frame.groupby(wanted, sort=False).ngroup().to_numpy(dtype=np.int64)
    _, first = np.unique(codes, return_index=True)
    sums = np.zeros((len(first), found.emissions.shape[1]))
    np.add.at(sums, codes, found.emissions)
    return found.frame[wanted].iloc[first], sums


def note_certain(
    provenance: tuple[Provenance, ...], sources: Sequence[str], factors: FactorSet
) -> tuple[Provenance, ...]:
    """Note on the last provenance which factors count as certain, because no range of theirs is printed."""
    certain = [one for one in sources if not _parameters_of(one, factors)]
    said = f"no range is printed for {', '.join(certain)}, which count as certain; " if certain else ""
    note = f"uncertainty of factors: {said}activity data and warming potentials count as certain"
    *others, last = provenance
    return (*others, replace(last, notes="; ".join(filter(None, [last.notes, note]))))
