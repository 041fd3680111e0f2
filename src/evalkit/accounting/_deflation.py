"""Deflation: output in the prices of one year, by an index of prices that is chained or has a fixed base."""

from __future__ import annotations

import numpy as np
import pandas as pd

from evalkit.accounting._tables import match_rows, require_keys, unit_of, values_of, written
from evalkit.columns import Floats
from evalkit.errors import DataError
from evalkit.prices import price_levels, read_years
from evalkit.table import Table
from evalkit.units import kind_of


def deflate(amount: Floats, output: Table, per: str, deflator: Table) -> tuple[Floats, int]:
    """Divide amounts of money, one for each row of `output`, by the level of prices; return them and the year of the prices."""
    where = f"{output.name}, column '{per}'"
    if kind_of(unit_of(output, per), where=where) != "money":
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
