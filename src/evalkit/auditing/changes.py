"""Changes over time that nobody expects: jumps, slips by a power of ten, and values copied from the year before."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import betainc

from evalkit.auditing.published import REGION, Published, row_codes
from evalkit.auditing.remark import Compared, Remark, Severity, write, write_factor
from evalkit.catalogue import Message, message
from evalkit.numerics.arrays import Flags, Floats, Ints

_LEAST = math.log(1.5)  # a change that differs by less from the usual one is no jump, however steady the series
_SPREADS = 6.0  # standard deviations: with normal errors one change in 500 million
_RARE = 2e-9  # the same, as a chance
_OFF = math.log10(1.25)  # how far a slip may be from a power of ten, given the usual change
_CHANCE = 0.5  # expected number of coincidences in all that is audited from which on equal values prove nothing
_USUAL = 0.2  # share of repeated values from which on a series repeats its values as a rule
_SQRT_2PI = math.sqrt(2 * math.pi)
_PREFIXES = {
    "": 0,
    "十": 1,
    "百": 2,
    "千": 3,
    "万": 4,
    "十万": 5,
    "百万": 6,
    "千万": 7,
    "亿": 8,
    "百亿": 10,
    "千亿": 11,
}
_UNIT = re.compile("([十百千万亿]*)((?:千瓦小?时|千瓦|千克|[^十百千万亿/]).*)")


def check_changes(data: Published, doubted: Collection[int]) -> Iterator[Remark | Compared]:
    """Remark on tables and on single values that jump, slip by a power of ten, or repeat the year before.

    A jump is further from the usual change than rounding and six standard deviations explain, at least a factor of 1.5, and,
    of what is counted in pieces or people, more than events vary by chance (`chances`). `doubted` are rows of totals that their
    parts contradict.
    """
    growth = read_growth(data)
    if not len(growth):
        return
    tables, slipped = _check_tables(data, growth)
    yield from tables
    yield from _check_values(data, growth, slipped)
    yield from _check_copies(data, growth, doubted)


def _check_tables(data: Published, growth: Growth) -> tuple[list[Remark], Flags]:
    """Remark on the years in which the median region jumps; return the remarks, and which changes lie in a slip."""
    columns = {"cell": growth.cell, "change": growth.change, "series": data.series[growth.after], "wide": growth.widest}
    by_cell = pd.DataFrame(columns).groupby("cell")
    cells = by_cell.agg(
        median=("change", "median"), n=("change", "size"), series=("series", "first"), wide=("wide", "median")
    )
    by_series = cells["median"].groupby(cells["series"])
    known = (by_series.transform("size") >= ENOUGH).to_numpy()
    usual = np.where(known, by_series.transform("median"), 0.0)
    away: Floats = cells["median"].to_numpy(dtype=np.float64) - usual
    spread = TO_SD * pd.Series(np.abs(away)).groupby(cells["series"].to_numpy()).transform("median").to_numpy()
    spread = np.fmax(spread, _OF_MEDIAN * cells["wide"].to_numpy() / np.sqrt(cells["n"].to_numpy()))
    power, enough = _powers(away), (cells["n"] >= ENOUGH).to_numpy()
    slips = (power != 0) & (enough | (np.abs(power) > 1))
    jumps = enough & known & (np.abs(away) > np.maximum(_LEAST, _SPREADS * spread))
    for at in np.flatnonzero(jumps | slips).tolist():
        inside = np.flatnonzero(growth.cell == cells.index[at])
        counted = np.array([data.pieces(rows).sum() for rows in (growth.before[inside], growth.after[inside])])
        rare = bool(chances(counted[:1], counted[1:], usual[at : at + 1])[0] < _RARE)
        jumps[at], slips[at] = jumps[at] and rare, slips[at] and rare
    remarks = list[Remark]()
    for at in np.flatnonzero(jumps | slips).tolist():
        inside = np.flatnonzero(growth.cell == cells.index[at])
        row, before = int(growth.after[inside].min()), int(growth.before[inside].min())
        values = {
            "indicator": data.indicator(row),
            "year": int(data.year[row]),
            "number": int((data.role[growth.after[inside]] == REGION).sum()) or len(inside),
            "factor": _times(cells["median"].iloc[at]),
            "volumes": _volumes(data, before, row),
        }
        if slips[at]:
            meant = _meant(data.kinds[data.series[row]].unit, -int(power[at]))
            said = message("audit.power_all", **values, power=_times(power[at] * math.log(10)), meant=meant)
            remarks.append(Remark("power_of_ten", "error", row, said, is_table=True))
        else:
            said = message("audit.jump_all", **values, usual=_times(usual[at]))
            remarks.append(Remark("jump", "warning", row, said, is_table=True))
    return remarks, np.isin(growth.cell, cells.index[slips])


def _check_values(data: Published, growth: Growth, slipped: Flags) -> Iterator[Remark | Compared]:
    """Remark on values whose change is far from the usual one; once where the next change takes it back.

    Where wide changes are usual (`widest`), those that the next year takes back are still judged by the usual spread.
    """
    bound, widest = (np.maximum(_LEAST, _SPREADS * np.nan_to_num(one)) for one in (growth.scale, growth.widest))
    away, is_wide = growth.change - growth.typical, growth.exceeds(widest)
    flagged = np.flatnonzero(growth.exceeds(bound) & ~slipped)
    flagged = flagged[_chance(data, growth, flagged) < _RARE]
    years = data.year[growth.after]
    at = {(int(growth.path[one]), int(years[one])): int(one) for one in flagged}
    power, taken_back, wrong, remarks = _powers(away), set[int](), slipped.copy(), list[Remark]()
    for one in sorted(flagged.tolist(), key=lambda one: int(years[one])):
        if one in taken_back:
            continue
        following = at.get((int(growth.path[one]), int(years[one]) + 1))
        if following is not None and abs(away[one] + away[following]) < bound[one]:
            taken_back.add(following)
        elif is_wide[one]:
            following = None
        else:
            continue
        wrong[one] = True
        limit = bound if following is not None else widest
        remarks.append(_remark_on_value(data, growth, one, following, int(power[one]), float(limit[one])))
    comparable = ~np.isnan(growth.typical)
    yield Compared("jump", growth.after[comparable], wrong[comparable])
    yield from remarks


def _remark_on_value(
    data: Published, growth: Growth, one: int, following: int | None, power: int, bound: float
) -> Remark:
    row, before = int(growth.after[one]), int(growth.before[one])
    was = data.value[before] * data.factor[before] / data.factor[row]
    expected, others, own = was * math.exp(growth.typical[one]), growth.others[one], growth.own[one]
    if following is not None:
        after = int(growth.after[following])
        expected = math.sqrt(was * data.value[after] * data.factor[after] / data.factor[row])
    basis = (
        message("audit.basis_own", own=_times(own))
        if math.isnan(others)
        else message("audit.basis_others", others=_times(others))
        if math.isnan(own)
        else message("audit.basis_both", others=_times(others), own=_times(own))
    )
    values = {
        "region": data.region(row),
        "year": int(data.year[row]),
        "indicator": data.indicator(row),
        "before": write(was),
        "value": write(data.value[row]),
        "unit": data.unit(row),
        "factor": _times(growth.change[one]),
        "basis": basis,
        "volumes": _volumes(data, before, row),
        "back": message("audit.back") if following is not None else "",
    }
    slip = message("audit.slip", power=_times(power * math.log(10))) if power else ""
    said = message("audit.jump", **values, slip=slip)
    return Remark(
        "power_of_ten" if power else "jump",
        "warning",
        row,
        said,
        expected,
        float(data.value[row]) - expected,
        expected * abs(math.expm1(math.copysign(bound, float(data.value[row]) - expected))),
        against=data.address(before),
    )


def _check_copies(data: Published, growth: Growth, doubted: Collection[int]) -> Iterator[Remark | Compared]:
    """Remark on values that equal those of the year before to the last digit, where that is no coincidence."""
    before, after, series = growth.before, growth.after, data.series[growth.after]
    equal = (data.value[before] == data.value[after]) & (data.factor[before] == data.factor[after])
    by_series = pd.Series(equal).groupby(series)
    is_usual = by_series.transform("mean").to_numpy() >= _USUAL
    by_cell = pd.Series(equal).groupby(growth.cell)
    share, number = by_cell.transform("mean").to_numpy(), by_cell.transform("size").to_numpy()
    whole = equal & (number >= ENOUGH) & (share > 0.5) & ~is_usual
    contradicted = equal & np.isin(after, list(doubted))
    unlikely = ~is_usual & (_coincidences(data, growth, equal & ~is_usual) < _CHANCE)
    single = equal & ~whole & (unlikely | contradicted)
    yield Compared("copied", after, whole | single)
    seen = set[int]()
    for one in np.flatnonzero(whole | single).tolist():
        row, cell = int(after[one]), int(growth.cell[one])
        values = {"indicator": data.indicator(row), "year": int(data.year[row])}
        if whole[one]:
            if cell not in seen:
                of = int(number[one])
                said = message("audit.copied_all", **values, number=round(share[one] * of), of=of)
                yield Remark("copied", "warning", row, said, is_table=True)
            seen.add(cell)
            continue
        values |= {"region": data.region(row), "value": write(data.value[row]), "unit": data.unit(row)}
        if contradicted[one]:
            said = message("audit.copied_contradicted", **values)
        else:
            said = message("audit.copied", **values, usual=_times(growth.typical[one]))
        expected = float(data.value[before[one]]) * math.exp(growth.typical[one])
        away = float(data.value[row]) - expected
        severity: Severity = "error" if contradicted[one] else "warning"
        yield Remark("copied", severity, row, said, expected, away, against=data.address(int(before[one])))


def _coincidences(data: Published, growth: Growth, equal: Flags) -> Floats:
    """Return how many values in all would equal the year before by chance, were all like this one (k,).

    The chance follows from the digits that a value shows (3700 are two) and the usual spread of its changes. Where several
    indicators of a region repeat in one year, all of them have to be chance.
    """
    after = growth.after
    with np.errstate(divide="ignore"):
        one = np.minimum(2 * data.shown[after] / data.value[after] / (_SQRT_2PI * growth.scale), 1.0)
    together = row_codes(data.volume[after], data.place[after], data.year[after])
    logs = pd.Series(np.where(equal, np.log(one), 0.0)).groupby(together).transform("sum").to_numpy(dtype=np.float64)
    found: Floats = np.where(len(after) * one < 10, np.exp(logs), one) * len(after)
    return found


def _chance(data: Published, growth: Growth, ones: Ints) -> Floats:
    """Return how likely chance makes counts change as these did (m,), given the usual change that comes nearest."""
    before, after = data.pieces(growth.before[ones]), data.pieces(growth.after[ones])
    both = [chances(before, after, usual[ones]) for usual in (growth.others, growth.own)]
    found: Floats = np.fmax(*both)
    return np.nan_to_num(found)


def chances(before: Floats, after: Floats, usual: Floats) -> Floats:
    """Return how likely a count of events changes so much by chance alone (m,); 0 of what is not counted, NaN where `usual` is.

    Were both Poisson, with means in the ratio exp(`usual`), the second of their sum would be binomial (Przyborowski and
    Wilenski 1940): twice the smaller tail. From 2 to 9 has p = 0.065, from 20 to 60 0.000008, from 200 to 20 1e-38.
    """
    share = 1 / (1 + np.exp(-usual))
    up, down = betainc(after, before + 1, share), betainc(before, after + 1, 1 - share)
    found: Floats = np.where(np.isnan(before), 0.0, np.minimum(2 * np.minimum(up, down), 1.0))
    return np.where(np.isnan(usual), np.nan, found)


def _powers(away: Floats) -> Ints:
    """Return the power of ten by which a change is off, 0 where it is off by none."""
    digits = np.nan_to_num(away / math.log(10))
    nearest = np.rint(digits)
    return np.where(np.abs(digits - nearest) < _OFF, nearest, 0).astype(np.int64)


def _times(log: float) -> str:
    return write_factor(math.exp(min(log, 700.0)))


def _volumes(data: Published, before: int, row: int) -> Message | str:
    one, other = data.volumes[data.volume[before]], data.volumes[data.volume[row]]
    return "" if one == other else message("audit.between", one=one, other=other)


def _meant(unit: str, power: int) -> Message | str:
    """Name the unit that is so many powers of ten larger: 万吨 for 吨 and 4; nothing where it has no name."""
    found = _UNIT.fullmatch(unit)
    if found is None or found[1] not in _PREFIXES:
        return ""
    wanted = _PREFIXES[found[1]] + power
    prefix = next((prefix for prefix, digits in _PREFIXES.items() if digits == wanted), None)
    return "" if prefix is None else message("audit.meant", unit=f"{prefix}{found[2]}")


ENOUGH = 4  # regions, or years, whose median says what is usual
TO_SD = 1.4826  # of a median absolute deviation, under normal errors
_OF_MEDIAN = 1.2533  # standard error of a median of normal errors, times the root of their number
_NINE_TENTHS = 1.6449  # standard deviations within which nine tenths of normal errors lie
_MANY = 20  # changes of a series, whose largest tenth are not the errors that are looked for


@dataclass(frozen=True)
class Growth:
    """Changes of a value since the year before; arrays are (k,), logarithms where a rate of growth is meant.

    `before` and `after` are rows. `others` and `own` are the medians over the regions in that year and over the years of that
    region, NaN where fewer than four are known; `scale` the usual spread around them, as a standard deviation, from its median.
    `widest` is the same, or what a tenth of all changes of the series exceed, if that is more than of normal errors: where one
    in ten doubles, a doubling is no surprise. `rounding` is what the digits that both values show leave open. `cell` numbers
    series and year, `path` series and region.
    """

    before: Ints
    after: Ints
    change: Floats
    rounding: Floats
    others: Floats
    own: Floats
    scale: Floats
    widest: Floats
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
    with np.errstate(divide="ignore"):  # 1 may be 0.5, and anything above 0 where a mark stands for it
        left = [-np.log1p(-np.minimum(data.shown[one] / data.value[one], 1.0)) for one in (before, after)]
    rounding = left[0] + left[1]
    cell = row_codes(data.series[after], data.year[after])
    path = row_codes(data.series[after], data.place[after])
    others, own = _medians(change, cell), _medians(change, path)
    away = np.abs(change - np.where(np.isnan(others), own, others))
    spread = pd.Series(away).groupby(data.series[after]).transform("median").to_numpy(dtype=np.float64)
    own_spread = pd.Series(np.abs(change - own)).groupby(path).transform("median").to_numpy(dtype=np.float64)
    scale = TO_SD * np.fmax(spread, own_spread)
    by_series = pd.Series(away).groupby(data.series[after])
    tail = by_series.transform("quantile", 0.9).to_numpy(dtype=np.float64) / _NINE_TENTHS
    many = by_series.transform("count").to_numpy() >= _MANY
    widest = np.where(many, np.fmax(scale, tail), scale)
    return Growth(before, after, change, rounding, others, own, scale, widest, cell, path)


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
