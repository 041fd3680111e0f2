"""Joining: a table added to others on the columns they share."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from evalkit.catalogue import Message, message
from evalkit.errors import DataError, nearest
from evalkit.numerics.arrays import Ints
from evalkit.regions.causes import date_names, explain_unmatched, identify, last_year, pair_names
from evalkit.regions.registry import LAST
from evalkit.tables.digits import decimals
from evalkit.tables.periods import read_periods
from evalkit.tables.table import Table

_LISTED = 5  # keys that a note names
_MOST = 500  # names that are compared with one another
_DIGIT = re.compile(r"\d")


def join_table(frame: pd.DataFrame, name: str, table: Table, time: str) -> tuple[pd.DataFrame, list[Message]]:
    """Add the columns of a table to the rows with the same keys; return the frame, and notes on keys without a match.

    Raises DataError for tables without a shared column, repeated keys, keys of different types, keys of which none matches, and
    names that are another spelling, or another name, of one that is left over.
    """
    right = table.frame
    keys = [column for column in right.columns if column in frame.columns]
    if not keys:
        raise DataError(
            f"{table.name} shares no column with {name}",
            where=table.name,
            remedy=f"rename its key to one of: {', '.join(map(str, frame.columns[:12]))}",
        )
    for key in keys:
        _check_key(frame, right, key, name, table.name)
    _refuse_repeated(frame, name, table, keys)
    if not table.absent:  # where many keys are rightly absent, one that resembles another tells nothing
        for key in keys:
            _refuse_misspelt(frame, right, key, name, table.name, time)
    left_keys, right_keys = pd.MultiIndex.from_frame(frame[keys]), pd.MultiIndex.from_frame(right[keys])
    matched, wanted = left_keys.isin(right_keys), right_keys.isin(left_keys)
    if not matched.any() and len(right):
        causes = explain_unmatched(frame[keys], right[keys], (frame, right), name, table.name, time)
        raise DataError(
            f"no row of {table.name} matches one of {name} by {' and '.join(map(str, keys))}",
            where=f"{table.name}, row {right.index[0]}",
            remedy="; ".join(map(str, causes)) or "write the keys alike in both, or leave this table out",
        )
    merged = frame.merge(right, on=keys, how="left", validate="many_to_one")
    merged.index = frame.index  # a left join keeps rows and order, so that errors can still name rows of the first file
    notes = list[Message]()
    if table.absent:
        covered = ~matched
        if time in keys:
            covered &= frame[time].between(right[time].min(), right[time].max()).to_numpy()
        covered &= _find_served(frame, table, name)
        for column, value in table.absent.items():
            merged[column] = merged[column].where(~covered, value)
        if covered.any():
            columns = ", ".join(table.absent)
            notes.append(message("note.absent", rows=int(covered.sum()), here=name, there=table.name, columns=columns))
        matched = matched | covered
    left_over, right_over = frame[keys][~matched], right[keys][~wanted]
    notes += [*_list_unmatched(left_over, name, table.name), *_list_unmatched(right_over, table.name, name)]
    return merged, notes + explain_unmatched(left_over, right_over, (frame, right), name, table.name, time)


def _find_served(frame: pd.DataFrame, table: Table, name: str) -> NDArray[np.bool_]:
    """Tell for which rows a table says what an absent key means; raise DataError where the panel has no such column or value."""
    served = np.ones(len(frame), dtype=bool)
    for column, values in table.covers.items():
        if column not in frame.columns:
            raise DataError(
                f"covers= names column '{column}', which {name} does not have",
                where=table.name,
                remedy=nearest(column, map(str, frame.columns)),
            )
        for value in values:
            if not frame[column].eq(value).any():
                raise DataError(
                    f"covers= names '{value}', which column '{column}' of {name} does not hold",
                    where=table.name,
                    remedy=nearest(value, map(str, frame[column].dropna().unique()[:200])),
                )
        served &= frame[column].isin(list(values)).to_numpy()
    return served


def is_volume(frame: pd.DataFrame, table: Table, keys: tuple[str, str]) -> bool:
    """Tell a further volume of tables before it: it has their unit and period, numbers beside them, and no column of its own."""
    right = table.frame
    if not set(keys) <= set(right.columns) or not set(right.columns) <= set(frame.columns):
        return False
    values = [column for column in right.columns if column not in keys]
    return any(all(_is_number(side[column]) for side in (frame, right)) for column in values)


def _is_number(values: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)


def add_volume(
    frame: pd.DataFrame, units: Mapping[str, str], name: str, table: Table, keys: tuple[str, str]
) -> tuple[pd.DataFrame, Message]:
    """Add the rows of a further volume; return the frame, and a note on what was added.

    Where both have a value of a unit and period, the one before stays. Raises DataError for units that differ, repeated keys, and
    values that do not agree to the rounding of both.
    """
    right = table.frame
    for column, unit in table.units.items():
        if units.get(column, unit) != unit:
            raise DataError(
                f"'{column}' is in {units[column]} in {name} and in {unit} in {table.name}",
                where=table.name,
                remedy="load both in one unit: convert=",
            )
    for key in keys:
        _check_key(frame, right, key, name, table.name)
    _refuse_repeated(frame, name, table, list(keys))
    left_keys, right_keys = (pd.MultiIndex.from_frame(side[list(keys)]) for side in (frame, right))
    at = left_keys.get_indexer(right_keys) if left_keys.is_unique else None
    if at is None:
        raise DataError(
            f"{name} has several rows for one {' and '.join(keys)}",
            where=name,
            remedy="keep one row per unit and period",
        )
    both = at >= 0
    filled = frame.copy()
    for column in right.columns.difference(list(keys), sort=False):
        if _is_number(frame[column]) and _is_number(right[column]):
            _refuse_other_values(frame, right, column, at, (name, table.name), keys)
        gaps = both & filled[column].isna().to_numpy()[at] & right[column].notna().to_numpy()
        known = filled[column].array.copy()
        known[at[gaps]] = right[column].array[gaps]
        filled[column] = known
    rows = right[~both]
    rows = rows.set_axis([f"{table.name} {row}" for row in rows.index], axis=0)
    joined = pd.concat([filled.set_axis(filled.index.astype("str"), axis=0), rows])
    joined.index.name = frame.index.name
    return joined, message("note.volume", there=table.name, here=name, added=len(rows), both=int(both.sum()))


def _refuse_other_values(
    left: pd.DataFrame,
    right: pd.DataFrame,
    column: str,
    at: Ints,
    names: tuple[str, str],
    keys: tuple[str, str],
) -> None:
    """Refuse values of one unit and period that no rounding explains: the coarser of two is within half of its last digit."""
    both = np.flatnonzero(at >= 0)
    one, other = left[column].to_numpy(np.float64)[at[both]], right[column].to_numpy(np.float64)[both]
    digits = np.minimum(decimals(one), decimals(other))
    apart = np.abs(one - other) > np.where(one == other, np.inf, 0.5 * 10.0**-digits * (1 - 1e-9))
    wrong = both[apart & np.isfinite(one) & np.isfinite(other)]
    if len(wrong):
        row = right.iloc[wrong[0]]
        of = " and ".join(f"{key} {row[key]}" for key in keys)
        number = f", and {len(wrong) - 1} more differ" if len(wrong) > 1 else ""
        raise DataError(
            f"'{column}' of {of} is {left[column].iloc[at[wrong[0]]]:.12g} in {names[0]} and {row[column]:.12g} in {names[1]}"
            + number,
            where=f"{names[1]}, row {right.index[wrong[0]]}",
            remedy="read the volumes as one series, and declare where it goes over to the other: "
            'Yearbook(["…", "…"], columns={…}, splice={"…": "newest"})',
        )


def _list_unmatched(keys: pd.DataFrame, here: str, there: str) -> list[Message]:
    found = keys.drop_duplicates()
    if not len(found):
        return []
    listed = ", ".join(" ".join(map(str, key)) for key in found.iloc[:_LISTED].itertuples(index=False))
    listed += ", …" if len(found) > _LISTED else ""
    on = " × ".join(map(str, keys.columns))
    return [message("note.unmatched", here=here, there=there, keys=listed, number=len(found), on=on)]


def _check_key(left: pd.DataFrame, right: pd.DataFrame, key: str, left_name: str, right_name: str) -> None:
    for frame, name in ((left, left_name), (right, right_name)):
        if frame[key].isna().any():
            raise DataError(
                f"'{key}' is missing in {int(frame[key].isna().sum())} rows of {name}, which is joined on it",
                where=f"{name}, row {frame[key].isna().idxmax()}",
                remedy="fill it in, or leave these rows out",
            )
    numeric = [pd.api.types.is_numeric_dtype(frame[key]) for frame in (left, right)]
    if numeric[0] == numeric[1]:
        return
    kinds = ["numbers" if is_number else "text" for is_number in numeric]
    frame, name = (right, right_name) if numeric[0] else (left, left_name)
    text = pd.to_numeric(frame[key], errors="coerce").isna()
    example = f", such as '{frame[key][text].iloc[0]}'" if text.any() else ""
    remedy = f'correct that value, or read the column as text in both: Delimited(…, text=("{key}",))'
    if text.all() and (period := _first_period(frame[key])) is not None:
        remedy = f"write it alike in both: {period}"
    raise DataError(
        f"'{key}' holds {kinds[0]} in {left_name} and {kinds[1]} in {right_name}{example}",
        where=f"{name}, row {frame.index[int(np.argmax(text))]}, column '{key}'",
        remedy=remedy,
    )


def _first_period(values: pd.Series) -> int | None:
    """Return the first value as a number, where text such as 2011年 stands for years."""
    try:
        ordinals, _, frequency = read_periods(values)
    except DataError:
        return None
    return int(ordinals[0]) if frequency == "integer" else None


def _refuse_repeated(frame: pd.DataFrame, name: str, table: Table, keys: list[str]) -> None:
    repeated = table.frame.duplicated(keys)
    if repeated.any():
        values = table.frame[keys].iloc[int(np.argmax(repeated))]
        is_finer = not frame.duplicated(keys).any()
        raise DataError(
            f"{table.name} has several rows for " + ", ".join(f"{k} = {values[k]}" for k in keys),
            where=f"{table.name}, row {repeated.idxmax()}",
            remedy=f"keep one row per {' and '.join(keys)}"
            + (f", or give {table.name} before {name}, whose rows are coarser" if is_finer else ""),
        )


def _refuse_misspelt(
    left: pd.DataFrame, right: pd.DataFrame, key: str, left_name: str, right_name: str, time: str
) -> None:
    """Refuse a text of the right table that the left one lacks, and that is, or resembles, one that the right one lacks.

    Codes and numbers always resemble one another, and so do the names of different units, which are left alone.
    """
    if pd.api.types.is_numeric_dtype(right[key]):
        return
    here, there = ({one for one in map(str, side[key].unique()) if not _DIGIT.search(one)} for side in (left, right))
    ours = left[left[key].astype("str").isin(here - there)]
    theirs = right[right[key].astype("str").isin(there - here)]
    last = last_year(left[time]) if time in left.columns else None
    pairs = pair_names(date_names(ours, key, time, last), date_names(theirs, key, time, last))
    for pair in (one for one in pairs if one.is_one):
        raise DataError(
            f"{key} '{pair.other}' matches no row of {left_name}, where '{pair.one}' is without a match: "
            f"{pair.cause(left_name, right_name)}",
            where=f"{right_name}, row {_row(right, key, pair.other)}",
            remedy=f"write '{pair.one}', or name the column in regions= ([panel.regions] of a study.toml)",
        )
    lacking = sorted(map(str, ours[key].unique()))[:_MOST]
    for name in sorted(map(str, theirs[key].unique()))[:_MOST]:
        is_unit = identify(name, last or LAST)[0] is not None
        others = [one for one in lacking if not (is_unit and identify(one, last or LAST)[0] is not None)]
        close = difflib.get_close_matches(name, others, n=1, cutoff=0.6)
        if close:
            raise DataError(
                f"{key} '{name}' matches no row of {left_name}, where '{close[0]}' is without a match",
                where=f"{right_name}, row {_row(right, key, name)}",
                remedy=f"write '{close[0]}' if that is meant",
            )


def _row(frame: pd.DataFrame, key: str, name: str) -> object:
    return frame.index[(frame[key].astype("str") == name).to_numpy()][0]
