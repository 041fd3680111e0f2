"""Prices: levels from an index of prices or volumes that is chained, with the previous year as 100, or has a fixed base."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import Literal

import numpy as np
import pandas as pd

from evalkit.errors import DataError
from evalkit.numerics.arrays import Flags, Floats, Ints
from evalkit.tables.columns import name_rows, numbers
from evalkit.tables.periods import read_periods

_CHAINED = ("上年=100", "previous year=100", "preceding year=100")
_FIXED = re.compile(r"([12]\d{3})年?=100")
_FIRST_YEAR, _LAST_YEAR = 1900, 2100
# An index is out of 100: 1.03 is a ratio and 3.2 a growth rate. No year halves or doubles the prices or the volume of farm
# output.
_CHAINED_RANGE, _FIXED_RANGE = (50.0, 200.0), (10.0, 10_000.0)
_BASE_TOLERANCE = 0.05  # indices are published with one decimal


Index = Literal["price", "volume"]
INDEXES: tuple[Index, ...] = ("price", "volume")
# How headers call an index of volumes (in comparable prices), and one of prices. Both are "previous year = 100".
_COMPARABLE = re.compile(r"(?:可比|不变)价格?|(?:constant|comparable)[ _-]?prices?")
_VOLUME = re.compile(
    r"产值指数|增加值指数|生产总值指数|gdp指数|物量|产量指数|生产指数|发展速度|增长(?:指数|速度)"
    r"|(?:volume|quantity|quantum|output|production|gdp|growth|value)[ _-]?ind(?:ex|ices)"
    r"|^(?!.*price).*ind(?:ex|ices)of.*(?:volume|quantity|output|product|gdp|value)"
)
_PRICE = re.compile(
    r"价格总?指数|物价|平减|生产者价格|消费价格|prices?[ _-]?ind(?:ex|ices)|ind(?:ex|ices)of.*price|deflator"
    r"|(?<![a-z])(?:cpi|ppi)(?![a-z])"
)


def check_index(index: str, names: Iterable[str], *, where: str) -> None:
    """Raise DataError unless `index` says "price" or "volume", and none of the index's names says the other.

    An index of volumes and one of prices look alike (previous year = 100), and mean the opposite: output over prices is real
    output, output over volumes is nothing.
    """
    if index not in INDEXES:
        raise DataError(
            f"index = '{index}' says neither price nor volume"
            if index
            else "it is not said whether the index is of prices or volumes",
            where=where,
            remedy='write index = "price" for an index of prices (…价格指数), index = "volume" for one of output in comparable '
            "prices (…总产值指数)",
        )
    for name in names:
        plain = "".join(unicodedata.normalize("NFKC", name).casefold().split())
        rest = _COMPARABLE.sub("", plain)  # at comparable prices, which says of no price that it rises
        is_volume, is_price = rest != plain or bool(_VOLUME.search(rest)), bool(_PRICE.search(rest))
        if is_volume and not is_price and index == "price":
            raise DataError(
                f"'{name}' is an index of volumes, in comparable prices, and no index of prices",
                where=where,
                remedy='write index = "volume": real output is that of the first year times the chained index; or take another',
            )
        if is_price and not is_volume and index == "volume":
            raise DataError(
                f"'{name}' is an index of prices, and no index of volumes",
                where=where,
                remedy='write index = "price": output is divided by it; or take an index of output in comparable prices',
            )


def real_output(amount: Floats, level: Floats, years: Ints, unit: Ints) -> tuple[Floats, int, Flags]:
    """Return output (n,) in prices of the first year: that year's value times the level of an index of volumes over its own.

    `unit` (n,) numbers whose output it is. Also returns that year, and the rows of units without a value or level in it.
    """
    first = int(years.min())
    at_first = np.flatnonzero(years == first)
    base = np.full(int(unit.max()) + 1, np.nan)
    base[unit[at_first]] = amount[at_first] / level[at_first]
    found = base[unit] * level
    return found, first, np.isnan(base[unit])


def read_years(values: pd.Series) -> Ints:
    """Read years between 1900 and 2100; 0 where there is none."""
    try:
        years, missing, frequency = read_periods(values)
    except DataError:
        return np.zeros(len(values), dtype=np.int64)
    known = ~missing & (years >= _FIRST_YEAR) & (years <= _LAST_YEAR) & (frequency == "integer")
    return np.where(known, years, 0)


def index_levels(index: pd.Series, unit: str, years: Ints, group: Ints, *, name: str) -> tuple[Floats, int]:
    """Return the level of prices or volumes in each row (n,), and the year in which it is 1.

    `index` (n,) is an index out of 100 with its name and the labels of its rows; `unit` says to what: "上年=100" or
    "previous year=100" (chained within each `group` from the first year of all) or "2019=100" (fixed base). `name` is the
    table's, for errors. Raises DataError for another unit, values that are no index, and a chain that lacks a year.
    """
    plain = "".join(unicodedata.normalize("NFKC", unit).split())
    frame = index.to_frame()
    values = numbers(frame, str(index.name))
    if fixed := _FIXED.fullmatch(plain):
        base = int(fixed[1])
        _require_between(index, name, values, _FIXED_RANGE)
        at_base = (years == base) & (np.abs(values - 100) > _BASE_TOLERANCE)
        if at_base.any():
            raise DataError(
                f"the index is declared '{unit}' and is not 100 in {base}",
                where=_located(index, name, at_base),
                remedy="correct the value, or the unit: an index to the previous year is '上年=100'",
            )
        return values / 100, base
    if plain.casefold() not in ("".join(words.split()) for words in _CHAINED):
        raise DataError(
            f"'{unit}' is not a kind of index",
            where=f"{name}, column '{index.name}'",
            remedy=f"declare one of: {', '.join(_CHAINED)}, or a fixed base such as 2019=100",
        )
    return _chain(index, name, values, years, group), int(years.min())


def row_index_levels(
    index: pd.Series, unit: str, years: Ints, group: Ints, *, within: str | None
) -> tuple[Floats, int]:
    """Return the same for rows that repeat the index of their region and year, such as those of farms; NaN where it is missing.

    `group` (n,) numbers the regions, by the column `within`. Raises DataError also where one of them has two values in a year.
    """
    cells = index.reset_index(drop=True).groupby([group, years], sort=False)
    known = cells.transform("first").to_numpy(dtype=np.float64)  # the first that is not missing
    values = index.to_numpy(dtype=np.float64)
    differs = (values != known) & ~np.isnan(values)
    if differs.any():
        where = "a year" if within is None else f"one {within} and year"
        raise DataError(
            f"'{index.name}' is not one number in {where}, in {int(differs.sum())} rows",
            where=name_rows(index.to_frame(), differs, str(index.name)),
            remedy="name the column whose regions share an index: within = …" + (" (a finer one)" if within else ""),
        )
    cell = cells.ngroup().to_numpy()
    _, first = np.unique(cell, return_index=True)
    table = pd.Series(known[first], index=index.index[first], name=index.name)
    level, base = index_levels(table, unit, years[first], group[first], name=f"deflate by '{index.name}'")
    return level[cell], base


def _chain(index: pd.Series, name: str, values: Floats, years: Ints, group: Ints) -> Floats:
    """Multiply indices to the previous year, from the first year of all; that year's own index is not used."""
    first, level = int(years.min()), np.ones(len(years))
    _require_between(index, name, np.where(years == first, np.nan, values), _CHAINED_RANGE)
    for one in np.unique(group):
        rows = np.flatnonzero(group == one)
        rows = rows[np.argsort(years[rows], kind="stable")]
        broken = years[rows] != first + np.arange(len(rows))
        if broken.any():
            at = int(np.argmax(broken))
            raise DataError(
                f"an index to the previous year needs all years from {first}; {first + at} is not there before {years[rows[at]]}",
                where=f"{name}, row {index.index[rows[at]]}",
                remedy="add that year, or use an index with a fixed base",
            )
        missing = np.zeros(len(years), dtype=bool)
        missing[rows[1:]] = np.isnan(values[rows[1:]])
        if missing.any():
            raise DataError(
                "a chain of indices cannot pass a missing year",
                where=_located(index, name, missing),
                remedy="fill it in",
            )
        level[rows[1:]] = np.cumprod(values[rows[1:]] / 100)
    return level


def _require_between(index: pd.Series, name: str, values: Floats, bounds: tuple[float, float]) -> None:
    wrong = (values < bounds[0]) | (values > bounds[1])
    if wrong.any():
        raise DataError(
            f"{values[wrong][0]:g} is not an index out of 100",
            where=_located(index, name, wrong),
            remedy="write 103.2 for a rise of 3.2 %; correct the value or the unit",
        )


def _located(index: pd.Series, name: str, rows: Flags) -> str:
    return f"{name}, {name_rows(index.to_frame(), rows, str(index.name))}"
