"""Mismatch: why keys of two tables have no match, where that can be told."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd

from evalkit.catalogue import Message, message
from evalkit.errors import DataError
from evalkit.regions.registry import FIRST, LAST, Lineage, Region, fold, gazetteer, lineage
from evalkit.tables.periods import read_periods

_LISTED = 12  # periods that a sentence names
_MOST = 500  # names of a column that are looked at

Dated = Sequence[tuple[str, int]]
"""Names, each with a year."""


@dataclass(frozen=True)
class KeyPair:
    """Two names that are not written alike; `line` is what became of the one that is not a name of that year.

    `is_one` says that they mean one unit, so that a row without a match is a mistake, not a gap.
    """

    one: str
    other: str
    year: int
    region: Region | None = None
    line: Lineage | None = None

    @property
    def is_one(self) -> bool:
        """Say whether both are names of one territory."""
        return self.line is None or self.line.same_territory

    def cause(self, here: str, there: str) -> Message:
        """Say what the two are, given the names of their tables."""
        values = {"one": self.one, "other": self.other, "here": here, "there": there}
        if self.region is None:
            return message("note.cause_spelling", **values)
        if self.line is None:
            return message("note.cause_same", **values, unit=str(self.region), hint=message("note.by_code"))
        return message("note.cause_lineage", **values, year=self.year, **_change(self.line, (self.one, self.other)))


def explain_unmatched(
    left: pd.DataFrame, right: pd.DataFrame, known: tuple[pd.DataFrame, pd.DataFrame], here: str, there: str, time: str
) -> list[Message]:
    """Say why the keys `left` of one table have no match among the `known` ones of the other, and the other way round.

    Causes are periods that a table lacks altogether or writes otherwise, and names of one unit, or of units of which one became
    the other; names are looked at in their year, or in the last of the first table where the keys have none.
    """
    causes, sides, last = list[Message](), [left, right], None
    if time in known[0].columns:
        last = last_year(known[0][time])
    if time in left.columns:
        if _are_written_otherwise(known[0][time], known[1][time]):
            one, other = known[0][time].iloc[0], known[1][time].iloc[0]
            return [message("note.cause_written", one=one, other=other, here=here, there=there)]
        for i, (lacking, name) in enumerate(((1, there), (0, here))):
            absent = ~sides[i][time].isin(known[lacking][time])
            periods = [str(period) for period in sorted(sides[i][time][absent].unique().tolist(), key=str)]
            if periods:
                listed = ", ".join(periods[:_LISTED]) + (", …" if len(periods) > _LISTED else "")
                causes.append(message("note.cause_period", there=name, periods=listed))
            sides[i] = sides[i][~absent]
    for key in left.columns:
        if key == time or pd.api.types.is_numeric_dtype(known[0][key]):
            continue
        ours, theirs = (date_names(side, key, time, last) for side in sides)
        pairs = list(pair_names(ours, theirs))
        causes += [pair.cause(here, there) for pair in pairs]
        told = {name for pair in pairs for name in (pair.one, pair.other)}
        for dated, name in ((ours, here), (theirs, there)):
            causes += [
                message("note.cause_not_then", one=one, here=name, year=year, **_change(line, (one,)))
                for one, year in dict(dated).items()
                if one not in told and (line := identify(one, year)[1]) is not None and line.steps
            ]
    return causes


def date_names(side: pd.DataFrame, key: str, time: str, last: int | None) -> Dated:
    """Return the distinct names of a column with their years, or the year `last` where the keys have none; else nothing."""
    years = np.full(len(side), last or 0)
    if time in side.columns and len(side):
        try:
            years, _, frequency = read_periods(side[time])
        except DataError:
            return []
        last = None if frequency != "integer" else 1
    if last is None:
        return []
    pairs = dict.fromkeys(zip(side[key].astype("str").tolist(), years.tolist(), strict=True))
    return [(name, min(max(year, FIRST), LAST)) for name, year in list(pairs)[:_MOST]]


def pair_names(ours: Dated, theirs: Dated) -> Iterator[KeyPair]:
    """Pair names of the same year that are one name, one unit, or units of which one became the other; each pair once."""
    by_text: dict[tuple[str, int], str] = {}
    by_code: dict[tuple[str, int], str] = {}
    for name, year in theirs:
        by_text.setdefault((fold(name), year), name)
        for code in _codes(name, year):
            by_code.setdefault((code, year), name)
    seen = set[tuple[str, str]]()
    for name, year in ours:
        if (other := by_text.get((fold(name), year))) is not None:
            found = KeyPair(name, other, year)
        else:
            region, line = identify(name, year)
            other = next((by_code[code, year] for code in _codes(name, year) if (code, year) in by_code), None)
            if other is None:
                continue
            line = line or identify(other, year)[1]
            found = KeyPair(name, other, year, region, line if line is not None and line.steps else None)
        if (name, other) not in seen:
            seen.add((name, other))
            yield found


@lru_cache(maxsize=1 << 14)
def identify(name: str, year: int) -> tuple[Region | None, Lineage | None]:
    """Return the only unit of that name in the year, or that of another year with what it was or became in this one.

    Neither where units of several provinces had the name (南市区 of Shanghai and of Baoding).
    """
    found = gazetteer().by_name.get(fold(name), ())
    then = [region for region in found if region.is_valid(year)]
    if then or len({region.province for region in found}) != 1:
        return (then[0] if len(then) == 1 else None), None
    region = min(found, key=lambda one: min(abs(year - one.valid_from), abs(year - one.last)))
    ended = region.valid_to is not None and region.valid_to < year
    return region, lineage(region.code, region.last if ended else region.valid_from, year)


def _codes(name: str, year: int) -> list[str]:
    """Return the codes of the units that hold in that year what a name means."""
    region, line = identify(name, year)
    if region is None:
        return []
    return [region.code] if line is None else [unit.code for unit in line.end]


def _change(line: Lineage, names: Sequence[str]) -> dict[str, Message | str]:
    """Say the change that concerns the names: 沙湾县 (654223) → 沙湾市 (654203), rename of 2021; and what helps, if anything."""
    folded = {fold(name) for name in names}
    step = max(line.steps, key=lambda one: len(folded & {unit.name for unit in (one.before, *one.after)}))
    after = ", ".join(map(str, step.after))
    kind = message(f"change.{step.kind}")
    said = message("note.change", before=str(step.before), after=after, kind=kind, year=step.year)
    return {"change": said, "hint": message("note.by_code") if line.same_territory else ""}


def last_year(values: pd.Series) -> int | None:
    """Return the last year of a column; None where it holds none."""
    try:
        years, missing, frequency = read_periods(values)
    except DataError:
        return None
    return int(years[~missing].max()) if frequency == "integer" and not missing.all() else None


def _are_written_otherwise(left: pd.Series, right: pd.Series) -> bool:
    """Tell periods that are the same, written in two ways: 2011 and 2011年."""
    if left.isin(right).any():
        return False
    try:
        (one, _, here), (other, _, there) = read_periods(left), read_periods(right)
    except DataError:
        return False
    return here == there and bool(np.isin(one, other).any())
