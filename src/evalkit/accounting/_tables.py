"""What tables of activity, emissions and output have in common: keys that identify rows, columns with units, places."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from evalkit.errors import DataError, nearest
from evalkit.numerics.arrays import Flags, Floats, Ints
from evalkit.tables.columns import name_rows, numbers
from evalkit.tables.table import Table

EMISSIONS = "kg CO2e"
# The columns that an inventory has beside its keys.
DETAIL = ("source", "activity", "activity_unit", "factor", "factor_unit", "emissions")


def located(table: Table, rows: Flags, column: str) -> str:
    """Name a table, a column and the flagged rows of its file."""
    return f"{table.name}, {name_rows(table.frame, rows, column)}"


def require_columns(table: Table, columns: Sequence[str]) -> None:
    """Raise DataError naming the nearest column when the table lacks one."""
    for column in columns:
        if column not in table.frame.columns:
            raise DataError(
                f"there is no column '{column}'",
                where=table.name,
                remedy=nearest(column, map(str, table.frame.columns)),
            )


def require_keys(table: Table, keys: Sequence[str]) -> None:
    """Raise DataError unless the columns `keys` identify the rows: all there, none missing, no row repeated."""
    require_columns(table, keys)
    for key in keys:
        missing = table.frame[key].isna().to_numpy(dtype=bool)
        if missing.any():
            raise DataError(
                f"the key '{key}' is missing in {int(missing.sum())} rows",
                where=located(table, missing, key),
                remedy="fill it in or leave these rows out",
            )
    repeated = table.frame.duplicated(list(keys)).to_numpy(dtype=bool)
    if repeated.any():
        raise DataError(
            f"{int(repeated.sum())} rows repeat a key; the first has {written(table.frame, keys, repeated)}",
            where=f"{table.name}, row {table.frame.index[int(np.argmax(repeated))]}",
            remedy=f"keep one row per {' and '.join(keys)}, or name all columns that identify a row",
        )


def match_rows(left: pd.DataFrame, left_name: str, right: Table, keys: Sequence[str]) -> Ints:
    """Return for each row of `left` the position of the row of `right` with the same keys, -1 where there is none.

    The keys must identify the rows of `right`. Raises DataError for keys that are text in one and numbers in the other.
    """
    for key in keys:
        kinds = ["numbers" if pd.api.types.is_numeric_dtype(frame[key]) else "text" for frame in (left, right.frame)]
        if kinds[0] != kinds[1]:
            raise DataError(
                f"'{key}' holds {kinds[0]} in {left_name} and {kinds[1]} in {right.name}",
                where=f"{right.name}, column '{key}'",
                remedy=f'read the column as text in both: Delimited(…, text=("{key}",))',
            )
    index = pd.MultiIndex.from_frame(right.frame[list(keys)])
    return np.asarray(index.get_indexer(pd.MultiIndex.from_frame(left[list(keys)])), dtype=np.int64)


def written(frame: pd.DataFrame, keys: Sequence[str], rows: Flags) -> str:
    """Write the keys of the first flagged row: county = 昌吉市, year = 2020."""
    first = int(np.argmax(rows))
    return ", ".join(f"{key} = {frame[key].iloc[first]}" for key in keys)


def values_of(table: Table, column: str) -> Floats:
    """Return a column as finite float64, NaN where missing; raise DataError naming table and rows for anything else."""
    require_columns(table, [column])
    try:
        values = numbers(table.frame, column)
    except DataError as error:
        raise DataError(error.what, where=f"{table.name}, {error.where}", remedy=error.remedy) from None
    if np.isinf(values).any():
        raise DataError(
            f"'{column}' is infinite", where=located(table, np.isinf(values), column), remedy="correct these rows"
        )
    return values


def unit_of(table: Table, column: str) -> str:
    """Return the declared unit of a column; raise DataError where none is declared."""
    if column not in table.units:
        raise DataError(
            f"column '{column}' has no unit",
            where=table.name,
            remedy=f'declare it in the sidecar of the file: [units], then {column} = "…", or in units=',
        )
    return table.units[column]
