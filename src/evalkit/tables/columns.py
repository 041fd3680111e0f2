"""Columns of a frame as arrays: numbers, integer codes, and errors that name the row."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from evalkit.errors import DataError, nearest
from evalkit.numerics.arrays import Flags, Floats, Ints
from evalkit.tables.contents import in_short, same_content


@dataclass(frozen=True, eq=False)
class Codes:
    """A column as integers: `values` (n,) index `labels`, which are sorted; -1 where the column is missing."""

    values: Ints
    labels: tuple[Any, ...]

    __eq__ = same_content
    __repr__ = in_short


def require_column(frame: pd.DataFrame, column: str) -> None:
    """Raise DataError naming the nearest column when the frame lacks this one."""
    if column not in frame.columns:
        if column in frame.index.names:
            raise DataError(
                f"'{column}' stands in the index, not in a column",
                where="table",
                remedy="make columns of the index first: frame.reset_index()",
            )
        raise DataError(
            f"there is no column '{column}'", where="table", remedy=nearest(column, map(str, frame.columns))
        )


def require_ids(frame: pd.DataFrame, column: str, codes: Codes, noun: str) -> None:
    """Raise DataError where an identifier is missing, or an infinite number."""
    wrong, how = codes.values < 0, "missing"
    infinite = [i for i, label in enumerate(codes.labels) if isinstance(label, float) and math.isinf(label)]
    if infinite and not wrong.any():
        wrong, how = np.isin(codes.values, infinite), "infinite"
    if wrong.any():
        raise DataError(
            f"the {noun} is {how} in {int(wrong.sum())} rows",
            where=name_rows(frame, wrong, column),
            remedy=f"fill in the {noun} or leave these rows out",
        )


def name_rows(frame: pd.DataFrame, rows: Flags, column: str) -> str:
    """Name up to three of the flagged rows by their index label (the row in the file, for a loaded table)."""
    labels = frame.index[rows]
    listed = ", ".join(str(label) for label in labels[:3]) + (", …" if len(labels) > 3 else "")
    return f"column '{column}', row{'s' if len(labels) > 1 else ''} {listed}"


def numbers(frame: pd.DataFrame, column: str) -> Floats:
    """Return a column as float64, NaN where missing; raise DataError for text where a number should be."""
    require_column(frame, column)
    values = frame[column]
    if isinstance(values.dtype, np.dtype) and values.dtype.kind in "iufb":
        return values.to_numpy(dtype=np.float64)
    if isinstance(values.dtype, pd.CategoricalDtype) or values.dtype.kind in "Mm":
        raise DataError(
            f"column '{column}' holds {values.dtype}, not numbers",
            where=f"column '{column}'",
            remedy="use a numeric column; categories go into absorb=(…)",
        )
    missing = values.isna().to_numpy(dtype=bool)
    converted = np.full(len(values), np.nan)
    bad = np.zeros(len(values), dtype=bool)
    for i, value in enumerate(values.tolist()):
        if missing[i]:
            continue
        if isinstance(value, str):
            bad[i] = True
            continue
        try:
            converted[i] = float(value)
        except (TypeError, ValueError):
            bad[i] = True
    if bad.any():
        example = values.iloc[int(np.argmax(bad))]
        raise DataError(
            f"'{example}' is not a number; {int(bad.sum())} of {len(values)} values are text",
            where=name_rows(frame, bad, column),
            remedy="write plain numbers such as 1234.5 (no thousands separators, no notes), or leave the cell empty",
        )
    return converted


def factorise(values: pd.Series) -> Codes:
    """Turn a column into sorted integer codes; -1 where missing. Text and numbers in one column are refused."""
    if isinstance(values.dtype, np.dtype) and values.dtype.kind in "iu" and len(values):
        raw = values.to_numpy(dtype=np.int64)
        steps = np.diff(raw)
        if (steps >= 0).all():  # already sorted: no hashing
            starts = np.concatenate([[True], steps > 0])
            return Codes(np.cumsum(starts) - 1, tuple(raw[starts].tolist()))
    if isinstance(values.dtype, pd.CategoricalDtype):
        levels = factorise(pd.Series(values.cat.categories, name=values.name))
        raw = values.cat.codes.to_numpy(dtype=np.int64)
        ranked = np.append(levels.values, -1)[raw]  # code -1, missing, takes the last
        used = np.unique(ranked[raw >= 0])
        found = np.where(raw < 0, -1, np.searchsorted(used, ranked))
        return Codes(found, tuple(levels.labels[level] for level in used))
    try:
        codes, labels = pd.factorize(values, sort=True)
        tuple(sorted(labels.tolist()))  # pandas sorts mixed types with a rule of its own; Python refuses them
    except TypeError:
        raise DataError(
            f"column '{values.name}' mixes text and numbers",
            where=f"column '{values.name}'",
            remedy="write all of its values as text or all as numbers, or '1' and 1 count as two",
        ) from None
    return Codes(codes.astype(np.int64), tuple(labels.tolist()))


def write_label(label: Any) -> str:
    """Write a label of `Codes` as a reader would: 3 for 3.0."""
    return str(int(label)) if isinstance(label, float) and label.is_integer() else str(label)


def count_lost_units(unit: Ints, kept: Flags) -> int:
    """Count units of which no row is kept."""
    return len(np.unique(unit)) - len(np.unique(unit[kept]))
