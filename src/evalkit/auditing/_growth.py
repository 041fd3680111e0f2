"""Growth: changes from one year to the next, and the usual ones that they are judged by."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from evalkit.auditing._codes import row_codes
from evalkit.auditing._published import Published
from evalkit.columns import Flags, Floats, Ints

ENOUGH = 4  # regions, or years, whose median says what is usual
TO_SD = 1.4826  # of a median absolute deviation, under normal errors


@dataclass(frozen=True)
class Growth:
    """Changes of a value since the year before; arrays are (k,), logarithms where a rate of growth is meant.

    `before` and `after` are rows. `others` and `own` are the medians over the regions in that year and over the years of that
    region, NaN where fewer than four are known; `scale` the usual spread around them, as a standard deviation. `rounding` is
    what rounding of both values can change. `cell` numbers series and year, `path` series and region.
    """

    before: Ints
    after: Ints
    change: Floats
    rounding: Floats
    others: Floats
    own: Floats
    scale: Floats
    cell: Ints
    path: Ints

    def __len__(self) -> int:
        return len(self.after)

    @property
    def typical(self) -> Floats:
        """Return what is usual in that year, else for that region."""
        return np.where(np.isnan(self.others), self.own, self.others)

    def exceeds(self, bound: Floats) -> Flags:
        """Say where a change lies further than the bound from all that is known to be usual, whatever the rounding."""
        away = np.fmin(np.abs(self.change - self.others), np.abs(self.change - self.own))
        found: Flags = away - self.rounding > bound  # False where nothing is known
        return found


def read_growth(data: Published) -> Growth:
    """Pair the positive values of consecutive years: of one sheet if there is one with both, else of the newest volumes."""
    before, after = _pair(data)
    at, was = data.value[after] * data.factor[after], data.value[before] * data.factor[before]
    change = np.log(at / was)
    rounding = data.half[after] / data.value[after] + data.half[before] / data.value[before]
    cell = row_codes(data.series[after], data.year[after])
    path = row_codes(data.series[after], data.place[after])
    others, own = _medians(change, cell), _medians(change, path)
    away = np.abs(change - np.where(np.isnan(others), own, others))
    spread = pd.Series(away).groupby(data.series[after]).transform("median").to_numpy(dtype=np.float64)
    own_spread = pd.Series(np.abs(change - own)).groupby(path).transform("median").to_numpy(dtype=np.float64)
    scale = TO_SD * np.fmax(spread, own_spread)
    return Growth(before, after, change, rounding, others, own, scale, cell, path)


def _medians(change: Floats, group: Ints) -> Floats:
    grouped = pd.Series(change).groupby(group)
    median = grouped.transform("median").to_numpy(dtype=np.float64)
    found: Floats = np.where(grouped.transform("size").to_numpy() >= ENOUGH, median, np.nan)
    return found


def _pair(data: Published) -> tuple[Ints, Ints]:
    usable = np.flatnonzero((data.value > 0) & ~data.flags("is_rate"))
    newness = data.newness[data.volume]
    # Within a sheet, the newest volume first.
    order = usable[np.lexsort([data.year[usable], *(one[usable] for one in (data.place, data.series, data.sheet))])]
    same = [np.diff(one[order]) == 0 for one in (data.sheet, data.series, data.place)]
    inside = np.flatnonzero(same[0] & same[1] & same[2] & (np.diff(data.year[order]) == 1))
    before, after = order[inside], order[inside + 1]
    rank = np.argsort(-newness[after], kind="stable")
    before, after = before[rank], after[rank]
    # Across sheets, where each volume says one thing and the name alone says what is counted.
    free = usable[~data.flags("is_generic")[usable] & ~contradicted(data)[usable]]
    free = free[np.lexsort([free, -newness[free], data.year[free], data.place[free], data.series[free]])]
    key = row_codes(data.series[free], data.place[free], data.year[free])
    free = free[np.concatenate([[True], np.diff(key) != 0])] if len(free) else free
    same = [np.diff(one[free]) == 0 for one in (data.series, data.place)]
    across = np.flatnonzero(same[0] & same[1] & (np.diff(data.year[free]) == 1))
    before, after = np.concatenate([before, free[across]]), np.concatenate([after, free[across + 1]])
    _, first = np.unique(row_codes(data.series[after], data.place[after], data.year[after]), return_index=True)
    first.sort()
    return before[first], after[first]


def contradicted(data: Published) -> Flags:
    """Say of which values the same file has another one, further off than rounding explains."""
    value, half = data.value * data.factor, data.half * data.factor
    grouped = pd.DataFrame({"low": value - half, "high": value + half}).groupby(
        row_codes(data.volume, data.series, data.place, data.year)
    )
    found: Flags = (grouped["low"].transform("max") > grouped["high"].transform("min")).to_numpy(dtype=bool)
    return found
