"""Choice: which of the values that volumes print of one region, year and indicator stands in the series, and the splices."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pandas as pd

from evalkit.auditing.published import REGION, Published, row_codes
from evalkit.auditing.volumes import agree_to_rounding
from evalkit.numerics.arrays import Flags, Ints

NEWEST = "newest"
"""What splice= says to take each year from the newest volume that prints it."""


@dataclass(frozen=True)
class Taken:
    """Which rows of the published values stand in the series. `key` (n,) numbers region, year and indicator, `line` region and
    indicator; `order` lists the rows that have a number from the newest volume to the oldest, `taken` those that are in the
    series, in the order of these; `newest` (n,) is for each row the newest with its key that has a number (-1: none), or one
    that agrees with it and shows more digits, `chosen`
    (n,) the one that stands in the series or would; `differs` (n,) from the newest, `is_left` (n,) from the chosen one.
    """

    key: Ints
    line: Ints
    order: Ints
    newest: Ints
    chosen: Ints
    taken: Ints
    is_joined: Flags
    differs: Flags
    is_left: Flags


def choose_rows(data: Published, splice: Sequence[str | int | None]) -> Taken:
    """Choose a row for each region, year and indicator; of lines that are not joined none, unless one volume alone has them.

    `splice` says for each series (see `Published`) what is declared.
    """
    line = row_codes(data.series, data.place)
    key = row_codes(line, data.year)
    is_number = np.isfinite(data.value)
    order = np.lexsort([np.arange(len(data)), -data.newness[data.volume]])
    order = order[is_number[order]]
    ends = find_ends(key, order)
    newest, oldest = (_prefer_finest(data, key, order, one) for one in ends)
    away = order[newest[order] != order]
    differs = np.zeros(len(data), dtype=bool)
    differs[away] = ~agree_to_rounding(data, away, newest[away])
    declared = np.array([-math.inf if one == NEWEST else math.inf if one is None else float(one) for one in splice])
    is_late = data.year >= declared[data.series]
    is_late |= np.isinf(declared[data.series])
    chosen, first_choice = np.where(is_late, newest, oldest), np.where(is_late, *ends)
    rank = data.newness[data.volume]
    others = order[chosen[order] != order]
    is_left = np.zeros(len(data), dtype=bool)
    is_left[others] = ~agree_to_rounding(data, others, chosen[others])
    # Two volumes of one rank that disagree leave open which of them is right.
    open_rows = others[(rank[others] == rank[first_choice[others]]) & is_left[others]]
    lines = int(line.max(initial=-1)) + 1
    disputed, is_open = np.zeros(lines, dtype=bool), np.zeros(lines, dtype=bool)
    disputed[line[differs]] = True
    is_open[line[open_rows]] = True
    is_declared = np.isfinite(declared) | (declared < 0)
    is_joined = ~disputed | (is_declared[data.series[_first_of(line, lines)]] & ~is_open)
    has_number = np.zeros(int(key.max(initial=-1)) + 1, dtype=bool)
    has_number[key[order]] = True
    marks = np.lexsort([np.arange(len(data)), -data.newness[data.volume]])
    marks = marks[~has_number[key[marks]]]
    marks = marks[np.sort(np.unique(key[marks], return_index=True)[1])]
    taken = np.concatenate([np.unique(chosen[order]), marks])
    taken = taken[is_joined[line[taken]]]
    first = pd.Series(np.arange(len(data))).groupby([data.series, data.place], sort=False).transform("min").to_numpy()
    taken = taken[np.lexsort([data.year[taken], first[taken]])]
    return Taken(key, line, order, newest, chosen, taken, is_joined[line], differs, is_left)


def _prefer_finest(data: Published, key: Ints, order: Ints, chosen: Ints) -> Ints:
    """Take in place of a row the first in `order` of the same key that agrees with it and shows most digits.

    "…" says only that a number is less than half a unit, and 0.7 万吨 less than 7,174 吨.
    """
    rows = order[agree_to_rounding(data, order, chosen[order])]
    grain = np.round(np.log10(data.half[rows] * data.factor[rows]), 6).astype(np.float64)
    rows = rows[np.lexsort([np.arange(len(rows)), grain, key[rows]])]
    keys, at = np.unique(key[rows], return_index=True)
    finest = np.full(int(key.max(initial=-1)) + 1, -1, dtype=np.int64)
    finest[keys] = rows[at]
    return finest[key]


def leave_alike(
    data: Published, choice: Taken, shown: pd.Series, *, with_codes: bool
) -> tuple[Taken, dict[int, tuple[int, int]]]:
    """Leave out lines whose regions have one name and are not one: totals of several areas, and what would be two rows of one
    year. Return the choice without them, and two rows of different places for each line that is left out.

    `shown` (n,) names the regions as the frame does. Regions whose tables give them codes are told apart by these, `with_codes`.
    """
    text = pd.factorize(shown)[0].astype(np.int64)
    codes = (
        pd.factorize(data.frame["region_code"].fillna(""))[0].astype(np.int64) if with_codes else np.zeros_like(text)
    )
    name = row_codes(data.series, text, codes)
    rows = choice.taken
    taken = pd.DataFrame({"name": name[rows], "year": data.year[rows], "place": data.place[rows]})
    taken["several"] = taken.groupby("name")["place"].transform("nunique") > 1
    twice = taken.duplicated(["name", "year"], keep=False) | (taken["several"] & (data.role[rows] != REGION))
    unclear = taken["name"].isin(set(taken["name"][twice])).to_numpy()
    if not unclear.any():
        return choice, {}
    pairs: dict[int, tuple[int, int]] = {}
    for _, group in taken[unclear].groupby("name"):
        first = group.drop_duplicates("place").index.to_numpy()
        for line in np.unique(choice.line[rows[group.index.to_numpy()]]).tolist():
            pairs[line] = (int(rows[first[0]]), int(rows[first[1]]))
    is_joined = choice.is_joined & ~np.isin(choice.line, list(pairs))
    return replace(choice, taken=rows[~unclear], is_joined=is_joined), pairs


def find_ends(key: Ints, order: Ints) -> tuple[Ints, Ints]:
    """Return for each row the first and the last row of the same key in `order`, -1 where there is none."""
    ends = []
    for rows in (order, order[::-1]):
        keys, at = np.unique(key[rows], return_index=True)
        found = np.full(int(key.max(initial=-1)) + 1, -1, dtype=np.int64)
        found[keys] = rows[at]
        ends.append(found[key])
    return ends[0], ends[1]


def _first_of(codes: Ints, number: int) -> Ints:
    """Return a row of each code, 0 to number - 1."""
    found = np.zeros(number, dtype=np.int64)
    found[codes[::-1]] = np.arange(len(codes))[::-1]
    return found


@dataclass(frozen=True)
class Splice:
    """A year from which a series goes on with another volume that disagrees with the one before."""

    row: int  # of the first value from the new volume
    year: int
    change: float  # what the new volume makes of the old one's value, less 1, in the nearest year that both print
    older: int  # a row of the old volume


def find_splices(data: Published, choice: Taken) -> list[Splice]:
    """Find where a joined line changes to a volume that disagrees with the one before."""
    disputed = np.unique(choice.line[choice.differs & choice.is_joined])
    rows_of: dict[int, list[int]] = {line: [] for line in disputed.tolist()}
    for row in choice.order[np.isin(choice.line[choice.order], disputed)].tolist():
        rows_of[int(choice.line[row])].append(row)
    taken = set(choice.taken.tolist())
    pairs = list[
        tuple[int, int, int]
    ]()  # of the change: its first row, and two rows of one year, of the old and the new volume
    for rows in rows_of.values():
        by_volume: dict[int, dict[int, int]] = {}
        for row in rows:
            by_volume.setdefault(int(data.volume[row]), {}).setdefault(int(data.year[row]), row)
        path = sorted((row for row in rows if row in taken), key=lambda row: int(data.year[row]))
        for before, row in pairwise(path):
            old, new = by_volume[int(data.volume[before])], by_volume[int(data.volume[row])]
            shared = sorted(old.keys() & new.keys(), key=lambda year: abs(year - int(data.year[row])))
            pairs += [(row, old[year], new[year]) for year in shared if old[year] != new[year]]
    if not pairs:
        return []
    first, older, newer = np.array(pairs, dtype=np.int64).T
    unlike = np.flatnonzero(~agree_to_rounding(data, older, newer))
    _, nearest_year = np.unique(first[unlike], return_index=True)
    return [
        Splice(int(first[at]), int(data.year[first[at]]), _change(data, int(older[at]), int(newer[at])), int(older[at]))
        for at in unlike[nearest_year].tolist()
    ]


def _change(data: Published, older: int, newer: int) -> float:
    was = data.value[older] * data.factor[older]
    return float(data.value[newer] * data.factor[newer] / was - 1) if was else math.nan
