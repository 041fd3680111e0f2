"""Widening: a long table, with one value per row, as a wide one, with a column per series."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from evalkit.errors import DataError, nearest
from evalkit.numerics.arrays import Flags, Floats, Ints
from evalkit.tables.columns import Codes, factorise, name_rows, numbers, require_column, write_label
from evalkit.tables.table import Provenance, Table
from evalkit.tables.units import same_unit, unit_of_header, unit_ratio

_NO_UNIT = "no unit"  # stands behind a series in the place of its unit
_SHOWN = 3  # series, or pairs of rows, that an error names


def widen(
    table: Table,
    *,
    keys: Sequence[str],
    names: Sequence[str],
    value: str,
    unit: str | None = None,
    columns: Mapping[str, str] | None = None,
    convert: Mapping[str, str] | None = None,
    flag: str | None = None,
) -> Table:
    """Turn a long table into a wide one: a row per combination of `keys`, a column per series, which `names` tell apart.

    A series is called by its names joined by " / ", with its unit in brackets behind where it has several. `columns` says which
    are wanted, by what they are to be called; without it all are, under their names. `unit` is the column of units, which become
    those of the columns; `convert` puts a column into another unit, exactly, whatever units its values have. `flag` is a column
    of marks, counted by series in the notes. Rows keep the order and the index of their first value; a cell without a row is
    missing. A row with the keys, the series and the value of another (in the same unit) is left out and counted.

    Raises DataError for columns and series that are not there, keys that are missing, several units in one column, and repeated
    keys with different values.
    """
    frame = table.frame
    given = [*keys, *names, value, *(one for one in (unit, flag) if one is not None)]
    _check_settings(table, given, keys, names)
    series = _series(table, names)
    units = _units(frame, unit)
    picked = _pick(table, series, units, columns)
    key_codes = [_complete(table, key, "key") for key in keys]
    values = _numbers(table, value)
    group = _combine([one.values for one in key_codes])
    notes: list[str] = []
    chosen = np.zeros(len(frame), dtype=bool)
    column_of = np.full(len(frame), -1, dtype=np.int64)
    found: dict[str, str] = {}
    _check_convert(table, convert or {}, picked, unit)
    for at, (name, rows) in enumerate(picked.items()):
        chosen |= rows
        column_of[rows] = at
        found[name] = _unit_of(table, name, rows, units, unit or "", (convert or {}).get(name), values)
    kept, repeats = _drop_repeats(table, chosen, group, column_of, values)
    if repeats:
        notes.append(f"{repeats} rows that repeat another were left out")
    if (left := int((~chosen).sum())) > 0:
        unasked = sorted({series.labels[code] for code in np.unique(series.values[~chosen])})
        listed = ", ".join(unasked[:10]) + (f" and {len(unasked) - 10} more" if len(unasked) > 10 else "")
        notes.append(f"{left} rows of series that were not asked for were left out: {listed}")
    if others := [str(name) for name in frame.columns if name not in given]:
        notes.append(f"columns that were left out: {', '.join(others)}")
    if flag is not None:
        notes += _count_flags(frame[flag], kept, column_of, list(picked))
    wide = _spread(frame, keys, kept, group, column_of, values, list(picked))
    said = f"widened by {', '.join(keys)} from {int(kept.sum())} of {len(frame)} rows of {table.name}"
    first, *rest = table.provenance or (Provenance(table.name, ""),)
    first = replace(first, notes="; ".join(filter(None, [first.notes.rstrip("."), said, *notes])))
    kept_units = {name: one for name, one in table.units.items() if name in keys}
    kept_units |= {name: one for name, one in found.items() if one}
    return Table(table.name, wide, (first, *rest), kept_units, unplaced=table.unplaced)


def _check_settings(table: Table, given: Sequence[str], keys: Sequence[str], names: Sequence[str]) -> None:
    """Raise DataError where a column is not there, or is named twice or not at all."""
    for setting, columns in (("keys", keys), ("names", names)):
        if isinstance(columns, str) or not columns:
            raise DataError(f"{setting}= names no columns", where=table.name, remedy=f'write {setting}=("…",)')
    for column in given:
        try:
            require_column(table.frame, column)
        except DataError as error:
            raise DataError(error.what, where=table.name, remedy=error.remedy) from None
    if twice := [one for i, one in enumerate(given) if one in given[:i]]:
        raise DataError(f"'{twice[0]}' is named twice", where=table.name, remedy="give each column one part")


def _complete(table: Table, column: str, noun: str) -> Codes:
    codes = factorise(table.frame[column])
    if (missing := codes.values < 0).any():
        raise DataError(
            f"the {noun} is missing in {int(missing.sum())} rows",
            where=f"{table.name}, {name_rows(table.frame, missing, column)}",
            remedy="fill it in, or leave these rows out of the file",
        )
    return codes


def _numbers(table: Table, value: str) -> Floats:
    try:
        return numbers(table.frame, value).copy()  # a copy: units are converted in place
    except DataError as error:
        raise DataError(error.what, where=f"{table.name}, {error.where}", remedy=error.remedy) from None


def _series(table: Table, names: Sequence[str]) -> Codes:
    """Number the series of the rows, in the order in which they first occur."""
    parts = [_complete(table, name, "name of the series") for name in names]
    combined = _combine([one.values for one in parts])
    codes, _ = pd.factorize(combined)
    where = np.unique(codes, return_index=True)[1]
    labels = tuple(" / ".join(write_label(one.labels[one.values[at]]) for one in parts) for at in where.tolist())
    if len(set(labels)) < len(labels):
        twice = next(one for i, one in enumerate(labels) if one in labels[:i])
        raise DataError(
            f"two series would be called '{twice}'",
            where=table.name,
            remedy="correct the names in the file, or name other columns",
        )
    return Codes(codes.astype(np.int64), labels)


def _combine(parts: Sequence[Ints]) -> Ints:
    """Number the combinations of several codes."""
    combined = parts[0]
    for part in parts[1:]:
        combined = pd.factorize(combined * (int(part.max(initial=0)) + 1) + part)[0].astype(np.int64)
    return combined


def _units(frame: pd.DataFrame, unit: str | None) -> Codes | None:
    """Number the units of the rows, "" where there is none; t and tonnes are one, under the spelling that comes first."""
    if unit is None:
        return None
    codes, found = pd.factorize(frame[unit].astype("str").str.strip().fillna(""))
    labels = list[str]()
    merged = []
    for label in found.tolist():
        at = next((i for i, one in enumerate(labels) if one and label and same_unit(one, label)), len(labels))
        labels += [label] * (at == len(labels))
        merged.append(at)
    return Codes(np.array(merged, dtype=np.int64)[codes], tuple(labels))


def _pick(table: Table, series: Codes, units: Codes | None, columns: Mapping[str, str] | None) -> dict[str, Flags]:
    """Return the rows of each column; raise DataError for a series that is not there."""
    held = [(code, unit) for code, unit in _pairs(series, units)]
    if columns is None:
        names = _names_of_all(series, units, held)
        picked = {name: _rows(series, units, code, unit) for name, (code, unit) in names.items()}
    else:
        picked = {}
        for name, wanted in columns.items():
            rows = _find(series, units, held, wanted)
            if rows is None:
                known = [*series.labels, *_names_of_all(series, units, held)]
                raise DataError(
                    f"columns= names series '{wanted}' (for '{name}'), which the table does not have",
                    where=table.name,
                    remedy=nearest(wanted, dict.fromkeys(known)),
                )
            picked[name] = rows
        _refuse_shared(table, picked)
    return picked


def _pairs(series: Codes, units: Codes | None) -> list[tuple[int, int | None]]:
    """List which series has which units, in their order."""
    if units is None:
        return [(code, None) for code in range(len(series.labels))]
    both = (
        pd.DataFrame({"series": series.values, "unit": units.values})
        .drop_duplicates()
        .sort_values("series", kind="stable")
    )
    return [(int(code), int(unit)) for code, unit in both.itertuples(index=False)]


def _names_of_all(
    series: Codes, units: Codes | None, held: Sequence[tuple[int, int | None]]
) -> dict[str, tuple[int, int | None]]:
    """Name every series; one that has several units by each of them."""
    times = pd.Series([code for code, _ in held]).value_counts()
    names: dict[str, tuple[int, int | None]] = {}
    for code, unit in held:
        label = series.labels[code]
        if units is not None and unit is not None and times[code] > 1:
            label = f"{label} ({units.labels[unit] or _NO_UNIT})"
        names[label] = (code, unit)
    return names


def _rows(series: Codes, units: Codes | None, code: int, unit: int | None) -> Flags:
    rows: Flags = series.values == code
    return rows if units is None or unit is None else rows & (units.values == unit)


def _find(series: Codes, units: Codes | None, held: Sequence[tuple[int, int | None]], wanted: str) -> Flags | None:
    """Find a series by its name, or by its name with one of its units in brackets behind."""
    if wanted in series.labels:
        return _rows(series, units, series.labels.index(wanted), None)
    name, _, behind = wanted.removesuffix(")").rpartition(" (")
    behind = "" if behind == _NO_UNIT else behind
    for code, unit in held:
        if (
            units is not None
            and unit is not None
            and name == series.labels[code]
            and same_unit(units.labels[unit], behind)
        ):
            return _rows(series, units, code, unit)
    return None


def _refuse_shared(table: Table, picked: Mapping[str, Flags]) -> None:
    """Raise DataError where two columns would take the same rows."""
    taken = np.zeros(len(table.frame), dtype=bool)
    for name, rows in picked.items():
        if (taken & rows).any():
            other = next(one for one, flags in picked.items() if (flags & rows).any())
            raise DataError(
                f"columns= takes the same series for '{other}' and '{name}'",
                where=table.name,
                remedy="leave one of them out, or write its unit behind the series",
            )
        taken |= rows


def _unit_of(
    table: Table,
    name: str,
    rows: Flags,
    units: Codes | None,
    column: str,
    to: str | None,
    values: Floats,
) -> str:
    """Return the unit of a column, "" where there is none; convert its values in place where that is asked."""
    if units is None:
        return ""
    held = [(code, units.labels[code]) for code in np.unique(units.values[rows]).tolist()]
    if to is not None:
        for code, one in held:
            at = rows & (units.values == code)
            known = unit_of_header(one) or one
            ratio = unit_ratio(known, to, where=f"{table.name}, series '{name}', {name_rows(table.frame, at, column)}")
            values[at] = values[at] * float(ratio.numerator) / float(ratio.denominator)
        return to
    if len(held) > 1:
        listed = ", ".join(f"{one or 'none'} ({int((rows & (units.values == code)).sum())} rows)" for code, one in held)
        raise DataError(
            f"the series '{name}' has several units: {listed}",
            where=table.name,
            remedy=f'convert them, convert={{"{name}": "…"}}, or choose one by writing it behind the series in columns=, '
            f'"… ({next(one for _, one in held if one)})"',
        )
    return str(held[0][1])


def _check_convert(table: Table, convert: Mapping[str, str], picked: Mapping[str, Flags], unit: str | None) -> None:
    if convert and unit is None:
        raise DataError("convert= is given, and no column of units", where=table.name, remedy="name it by unit=")
    for name in convert:
        if name not in picked:
            raise DataError(
                f"convert= names column '{name}', which the wide table does not have",
                where=table.name,
                remedy=nearest(name, picked),
            )


def _drop_repeats(
    table: Table,
    chosen: Flags,
    group: Ints,
    column_of: Ints,
    values: Floats,
) -> tuple[Flags, int]:
    """Return the rows that are kept, and how many repeat one of them; raise DataError on repeats that differ."""
    at = np.flatnonzero(chosen)
    cells = pd.Series(group[at] * (int(column_of.max(initial=0)) + 1) + column_of[at])
    repeats = cells.duplicated().to_numpy()
    kept = chosen.copy()
    if not repeats.any():
        return kept, 0
    first = pd.Series(at).groupby(cells).transform("first").to_numpy()
    one, other = values[at], values[first]
    differ = repeats & ~((one == other) | (np.isnan(one) & np.isnan(other)))
    if differ.any():
        index = table.frame.index
        pairs = [f"{index[first[i]]} and {index[at[i]]}" for i in np.flatnonzero(differ)[:_SHOWN]]
        more = int(differ.sum()) - len(pairs)
        raise DataError(
            f"{int(differ.sum())} rows have the keys and the series of another and a different value",
            where=f"{table.name}, rows {'; '.join(pairs)}{f' and {more} more pairs' if more else ''}",
            remedy="name more columns by keys=, or by names= those that tell further series apart; else correct the file",
        )
    kept[at[repeats]] = False
    return kept, int(repeats.sum())


def _count_flags(flags: pd.Series[Any], kept: Flags, column_of: Ints, names: Sequence[str]) -> list[str]:
    """Say how often each mark stands in each series."""
    notes = []
    words = flags.astype("str").str.strip().fillna("").to_numpy(dtype=object)
    for at, name in enumerate(names):
        counts = pd.Series(words[kept & (column_of == at)]).value_counts(sort=False)
        said = [f"{word or 'none'} {counts[word]}" for word in sorted(counts.index)]
        notes.append(f"{flags.name} of {name}: {', '.join(said)}")
    return notes


def _spread(
    frame: pd.DataFrame,
    keys: Sequence[str],
    kept: Flags,
    group: Ints,
    column_of: Ints,
    values: Floats,
    names: Sequence[str],
) -> pd.DataFrame:
    """Put every value into its row and column."""
    rows = np.flatnonzero(kept)
    number, _ = pd.factorize(group[rows])
    first = rows[np.unique(number, return_index=True)[1]]
    cells = np.full((len(first), len(names)), np.nan)
    cells[number, column_of[rows]] = values[rows]
    wide = frame[list(keys)].iloc[first].copy()
    if taken := [name for name in names if name in wide.columns]:
        raise DataError(
            f"a series is called '{taken[0]}', as a key is",
            where="columns",
            remedy="name the series otherwise by columns=",
        )
    columns = {name: cells[:, at] for at, name in enumerate(names)}
    return pd.concat([wide, pd.DataFrame(columns, index=wide.index)], axis=1)
