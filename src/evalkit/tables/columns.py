"""Columns of a frame as arrays: numbers, integer codes, and errors that name the row."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from evalkit.errors import DataError, nearest
from evalkit.numerics.arrays import Flags, Floats, Ints, first_rows
from evalkit.tables.contents import cut_short, in_short, same_content

_NAMED = 5  # texts that an error names
_PLAIN_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_CODE = re.compile(r"[+-]?(?:0[0-9].*|[0-9]{16,})")
_MARKED_NUMBER = re.compile(r"[+-]?[0-9]{1,3}(?:[, \u00a0\u202f][0-9]{3})+(?:[.,][0-9]*)?|[+-]?[0-9]+,[0-9]+")
_OF_PERSONS = re.compile(r"[0-9](?:[ -]?[0-9]){10}|[0-9a-f]{32}")  # as long as a telephone number; a pseudonym


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
    infinite = [i for i, label in enumerate(codes.labels) if isinstance(label, float) and math.isinf(label)]
    missing = bool(codes.values.min(initial=0) < 0)
    if missing or infinite:
        wrong = codes.values < 0 if missing else np.isin(codes.values, infinite)
        how = "missing" if missing else "infinite"
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
        raise _refuse_text(frame, column, values.tolist(), bad)
    return converted


def _refuse_text(frame: pd.DataFrame, column: str, values: list[Any], bad: Flags) -> DataError:
    """Make the error for a column with text: where most of it are numbers, it names what is none; else it is short.

    Numbers that identify persons, and pseudonyms, are not shown.
    """
    text = {i: str(values[i]).strip() for i in np.flatnonzero(bad).tolist()}
    odd = {i: word for i, word in text.items() if not _is_plain_number(word)}
    marked = {i for i, word in odd.items() if _MARKED_NUMBER.fullmatch(word)}
    total = int((~pd.isna(pd.Series(values, dtype="object"))).sum())
    if not odd or 2 * (len(odd) - len(marked)) > total:
        example = _show(next(iter(text.values())))
        return DataError(
            f"{example} is not a number; {len(text)} of {len(values)} values are text",
            where=name_rows(frame, bad, column),
            remedy="write plain numbers such as 1234.5 (no thousands separators, no notes), or leave the cell empty",
        )
    rows: dict[str, list[str]] = {}
    for i, word in odd.items():
        rows.setdefault(word, []).append(str(frame.index[i]))
    first, *others = [
        (_show(word), f"(row{'s' if len(at) > 1 else ''} {', '.join(at[:3])}{', …' if len(at) > 3 else ''})")
        for word, at in list(rows.items())[:_NAMED]
    ]
    nor = "".join(f", nor {shown} {where}" for shown, where in others)
    more = f", nor {len(rows) - _NAMED} other texts" if len(rows) > _NAMED else ""
    flags = np.zeros(len(values), dtype=bool)
    flags[list(odd)] = True
    return DataError(
        f"{first[0]} is not a number {first[1]}{nor}{more}, while {total - len(odd):,} of {total:,} values are",
        where=name_rows(frame, flags, column),
        remedy=_correct(list(rows)),
    )


def _correct(words: list[str]) -> str:
    """Say what to declare of a file so that it is read as numbers."""
    remedies = []
    if gaps := [word for word in words if not any(map(str.isdecimal, word)) and '"' not in word][:_NAMED]:
        listed = "".join(f'"{word}", ' for word in gaps).rstrip()
        remedies.append(
            f"where {'this means' if len(gaps) == 1 else 'these mean'} that there is no value, missing=({listed})"
        )
    if any("," in word for word in words if _MARKED_NUMBER.fullmatch(word)):
        remedies.append('where commas are thousands separators, thousands=","; before decimals, decimal=","')
    if any(" " in " ".join(word.split()) for word in words if _MARKED_NUMBER.fullmatch(word)):
        remedies.append('where blanks are thousands separators, thousands=" "')
    declared = f"declare of the file, {'; '.join(remedies)}; or " if remedies else ""
    return f"{declared}write plain numbers such as 1234.5 into the cells, or leave them empty"


def _is_plain_number(word: str) -> bool:
    """Tell a number that Delimited would read as one: codes such as 0123 and whole numbers of more than 15 digits are none."""
    return _PLAIN_NUMBER.fullmatch(word) is not None and _CODE.fullmatch(word) is None


def _show(word: str) -> str:
    return "'…'" if _OF_PERSONS.search(word) else f"'{cut_short(word)}'"


def factorise(values: pd.Series) -> Codes:
    """Turn a column into sorted integer codes; -1 where missing. Text and numbers in one column are refused."""
    if isinstance(values.dtype, np.dtype) and values.dtype.kind in "iu" and len(values):
        raw = values.to_numpy(dtype=np.int64)
        if (raw[1:] >= raw[:-1]).all():  # already sorted: no hashing
            starts = first_rows(raw)
            sizes = np.diff(np.append(starts, len(raw)))
            return Codes(np.repeat(np.arange(len(starts)), sizes), tuple(raw[starts].tolist()))
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
    _require_no_blanks_apart(str(values.name), labels.tolist())
    return Codes(codes.astype(np.int64), tuple(labels.tolist()))


def _require_no_blanks_apart(column: str, labels: list[Any]) -> None:
    """Raise DataError where two labels of text differ by blanks around them alone, and would count as two."""
    blank = [label for label in labels if isinstance(label, str) and label != label.strip()]
    known = {label: label for label in labels} if blank else {}
    for label in blank:
        other = known.setdefault(label.strip(), label)
        if other != label:
            raise refuse_blanks(column, other, label)


def refuse_blanks(column: str, one: str, other: str) -> DataError:
    """Make the error for two values that differ by blanks around them alone; those of persons are not shown."""
    return DataError(
        f"{_show(one)} and {_show(other)} differ by blanks around them alone, and would count as two",
        where=f"column '{column}'",
        remedy=f'take the blanks off before: frame["{column}"].str.strip() in pandas; Delimited and LoanLedger take them off',
    )


def write_label(label: Any) -> str:
    """Write a label of `Codes` as a reader would: 3 for 3.0."""
    return str(int(label)) if isinstance(label, float) and label.is_integer() else str(label)


def count_lost_units(unit: Ints, kept: Flags) -> int:
    """Count units of which no row is kept."""
    return len(np.unique(unit)) - len(np.unique(unit[kept]))
