"""Deflation: output in the prices of one year, by an index of prices that is chained or has a fixed base."""

from __future__ import annotations

import re
import unicodedata

import numpy as np
import pandas as pd

from evalkit.accounting._tables import located, match_rows, require_keys, unit_of, values_of, written
from evalkit.columns import Floats, Ints
from evalkit.errors import DataError
from evalkit.periods import read_periods
from evalkit.table import Table
from evalkit.units import kind_of

_CHAINED = ("上年=100", "previous year=100", "preceding year=100")
_FIXED = re.compile(r"([12]\d{3})年?=100")
_FIRST_YEAR, _LAST_YEAR = 1900, 2100
# An index is out of 100: 1.03 is a ratio and 3.2 a growth rate. No year halves or doubles the prices of farm output.
_CHAINED_RANGE, _FIXED_RANGE = (50.0, 200.0), (10.0, 10_000.0)
_BASE_TOLERANCE = 0.05  # indices are published with one decimal


def deflate(amount: Floats, output: Table, per: str, deflator: Table) -> tuple[Floats, int]:
    """Divide amounts of money, one for each row of `output`, by the level of prices; return them and the year of the prices."""
    where = f"{output.name}, column '{per}'"
    if kind_of(unit_of(output, per), where=where) != "money":
        raise DataError(f"'{per}' is not an amount of money", where=where, remedy="leave out deflator=")
    keys, index = _columns(output, deflator)
    require_keys(deflator, keys)
    year = _year_column(deflator, keys)
    years, level, base = _levels(deflator, keys, year, index)
    left = output.frame[keys].assign(**{year: _years(output.frame[year])})
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
    found = [key for key in keys if (_years(deflator.frame[key]) > 0).all()]
    if len(found) != 1:
        raise DataError(
            f"{len(found)} of the columns {', '.join(keys)} hold years",
            where=deflator.name,
            remedy="the index needs exactly one column of years",
        )
    return found[0]


def _years(values: pd.Series) -> Ints:
    """Read years between 1900 and 2100; 0 where there is none."""
    try:
        years, missing, frequency = read_periods(values)
    except DataError:
        return np.zeros(len(values), dtype=np.int64)
    known = ~missing & (years >= _FIRST_YEAR) & (years <= _LAST_YEAR) & (frequency == "integer")
    return np.where(known, years, 0)


def _levels(deflator: Table, keys: list[str], year: str, index: str) -> tuple[Ints, Floats, int]:
    """Return for each row of the index its year and the level of prices, 1 in the year that is returned last."""
    values, years = values_of(deflator, index), _years(deflator.frame[year])
    unit = unit_of(deflator, index)
    plain = "".join(unicodedata.normalize("NFKC", unit).split())
    if fixed := _FIXED.fullmatch(plain):
        base = int(fixed[1])
        _require_between(deflator, index, values, _FIXED_RANGE)
        at_base = (years == base) & (np.abs(values - 100) > _BASE_TOLERANCE)
        if at_base.any():
            raise DataError(
                f"the index is declared '{unit}' and is not 100 in {base}",
                where=located(deflator, at_base, index),
                remedy="correct the value, or the unit: an index to the previous year is '上年=100'",
            )
        return years, values / 100, base
    if plain.casefold() not in ("".join(words.split()) for words in _CHAINED):
        raise DataError(
            f"'{unit}' is not a kind of price index",
            where=f"{deflator.name}, column '{index}'",
            remedy=f"declare one of: {', '.join(_CHAINED)}, or a fixed base such as 2019=100",
        )
    regions = [key for key in keys if key != year]
    group = deflator.frame.groupby(regions).ngroup().to_numpy() if regions else np.zeros(len(years))
    return years, _chain(deflator, index, values, years, group), int(years.min())


def _chain(deflator: Table, index: str, values: Floats, years: Ints, group: np.ndarray) -> Floats:
    """Multiply indices to the previous year, from the first year of all; that year's own index is not used."""
    first, level = int(years.min()), np.ones(len(years))
    _require_between(deflator, index, np.where(years == first, np.nan, values), _CHAINED_RANGE)
    for one in np.unique(group):
        rows = np.flatnonzero(group == one)
        rows = rows[np.argsort(years[rows], kind="stable")]
        broken = years[rows] != first + np.arange(len(rows))
        if broken.any():
            at = int(np.argmax(broken))
            raise DataError(
                f"an index to the previous year needs all years from {first}; {first + at} is not there before {years[rows[at]]}",
                where=f"{deflator.name}, row {deflator.frame.index[rows[at]]}",
                remedy="add that year, or use an index with a fixed base",
            )
        missing = np.zeros(len(years), dtype=bool)
        missing[rows[1:]] = np.isnan(values[rows[1:]])
        if missing.any():
            raise DataError(
                "a chain of indices cannot pass a missing year",
                where=located(deflator, missing, index),
                remedy="fill it in",
            )
        level[rows[1:]] = np.cumprod(values[rows[1:]] / 100)
    return level


def _require_between(deflator: Table, index: str, values: Floats, bounds: tuple[float, float]) -> None:
    wrong = (values < bounds[0]) | (values > bounds[1])
    if wrong.any():
        raise DataError(
            f"{values[wrong][0]:g} is not a price index out of 100",
            where=located(deflator, wrong, index),
            remedy="write 103.2 for a rise of 3.2 %; correct the value or the unit",
        )
