"""Breakdowns: sectors against their total, and sub-items against their head."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

import numpy as np
import pandas as pd

from evalkit.auditing.published import REGION, Published, row_codes, try_ratio
from evalkit.auditing.remark import Compared, Remark, Severity, write
from evalkit.catalogue import Message, message
from evalkit.numerics.arrays import Flags, Floats, Ints

_SUMS = re.compile("合计|总计|总量|总数")
_OFTEN = 0.2  # share of larger values from which on a part is none
_PART_OF = re.compile("(?:^|; )part of ([^;]+)")


@dataclass(frozen=True)
class Composition:
    """A total that is the sum of parts by definition; `optional` parts are counted in some years or not."""

    total: re.Pattern[str]
    parts: tuple[re.Pattern[str], ...]
    optional: tuple[re.Pattern[str], ...] = ()


COMPOSITIONS = (
    Composition(
        re.compile("(?:地区|国内)?生产总值|GDP"),
        tuple(re.compile(f"{sector}(?:增加值|生产总值)?") for sector in ("第?一产业", "第?二产业", "第?三产业")),
    ),
    Composition(
        re.compile("农林牧渔业?总产值"),
        tuple(re.compile(f"{branch}(?:总?产值)?") for branch in ("(?:种植|农)业", "林业", "畜?牧业", "渔业")),
        (re.compile("(?:农林牧渔业?)?(?:服务业|专业及辅助性活动)(?:总?产值)?"),),
    ),
    Composition(
        re.compile("(?:农用)?化肥(?:施|使)用(?:折纯)?量"),
        tuple(re.compile(f"{kind}(?:(?:施|使)用(?:折纯)?量)?") for kind in ("氮肥", "磷肥", "钾肥", "复合肥")),
    ),
)


def check_breakdowns(data: Published) -> Iterator[Remark | Compared]:
    """Check the sectors of GDP, the branches of farming and the kinds of fertiliser against their totals, parts against heads."""
    for one in COMPOSITIONS:
        for prefix, parts in _find_parts(data, one).items():
            for total in _find_totals(data, one, prefix):
                sums = _compose(data, total, parts, len(one.parts))
                keys = ("audit.sectors", "audit.sectors_often", "audit.sectors_none")
                yield from judge_sum(data, sums, "sectors", *(partial(message, key) for key in keys))
    yield from _check_parts(data)


def _find_parts(data: Published, one: Composition) -> dict[str, dict[int, int]]:
    """Find what stands before the parts of a composition ("就业人员 / "), and the number of the part that each series is."""
    found: dict[str, dict[int, int]] = {}
    for i, kind in enumerate(data.kinds):
        prefix, _, last = kind.indicator.rpartition(" / ")
        numbered = enumerate((*one.parts, *one.optional))
        number = next((number for number, part in numbered if kind.adds and part.fullmatch(last)), None)
        if number is not None:
            found.setdefault(prefix, {})[i] = number
    needed = range(len(one.parts))
    return {prefix: parts for prefix, parts in found.items() if {*needed} <= {*parts.values()}}


def _find_totals(data: Published, one: Composition, prefix: str) -> list[int]:
    """Find the series of the total: what stands before the parts, or the name of the total where nothing does."""
    found = []
    for i, kind in enumerate(data.kinds):
        head, _, last = kind.indicator.rpartition(" / ")
        named = not prefix and not head and one.total.fullmatch(last)
        is_head = prefix and (kind.indicator == prefix or (head == prefix and _SUMS.fullmatch(last)))
        if kind.adds and (named or is_head):
            found.append(i)
    return found


def _compose(data: Published, total: int, parts: Mapping[int, int], needed: int) -> Sums:
    """Add up the parts of each value of a total on the same sheet, else in the same file where each stands there once."""
    ratios = {series: try_ratio(data.kinds[series].unit, data.kinds[total].unit) for series in parts}
    number, factor = np.full(len(data), -1), data.factor.copy()
    for series, part in parts.items():
        if (ratio := ratios[series]) is not None:
            number[data.series == series] = part
            factor[data.series == series] *= float(ratio)
    heads = np.flatnonzero((data.series == total) & np.isfinite(data.value))
    ways = list[Sums]()
    for scope in (data.sheet, data.volume):
        slot = row_codes(scope, data.place, data.year)
        rows = pd.DataFrame({"slot": slot, "number": number})[number >= 0]
        rows = rows[~rows.duplicated(["slot", "number"], keep=False)]
        single = np.zeros(len(data), dtype=bool)
        single[rows.index.to_numpy()] = True
        required = np.bincount(slot[single & (number < needed)], minlength=int(slot.max(initial=0)) + 1)
        group, complete = row_codes(scope)[heads], np.zeros(len(heads), dtype=bool)
        for chosen in (single, single & (number < needed)):
            ways.append(add_up(data, slot, heads, chosen & (required[slot] == needed), group, complete, factor))
    return replace(nearest_of(data, ways), against=(_names(data, parts, needed),) * len(heads))


def _names(data: Published, parts: Mapping[int, int], needed: int) -> str:
    named = sorted((part, data.kinds[series].indicator.rpartition(" / ")[2]) for series, part in parts.items())
    return " + ".join(dict.fromkeys(name for part, name in named if part < needed))


def _check_parts(data: Published) -> Iterator[Remark | Compared]:
    """Check that no part is more than its head: "A / B" than "A", and a region listed as part of another than that one."""
    head, ratio = _heads(data)
    same_place = row_codes(data.sheet, data.place, data.year)
    rows = np.flatnonzero(head[data.series] >= 0)
    asked, series = data.series.copy(), data.series
    asked[rows] = head[series[rows]]
    yield from _compare(data, *_match(same_place, asked, series, rows), ratio)
    whole = data.frame["note"].fillna("").str.extract(_PART_OF, expand=False)
    rows = np.flatnonzero(whole.notna().to_numpy() & data.flags("adds") & (data.role == REGION))
    names = data.names.copy()
    names[rows] = whole.to_numpy(dtype=object)[rows]
    both = row_codes(np.concatenate([names, data.names]))
    same_column = row_codes(data.sheet, data.series, data.year)
    yield from _compare(data, *_match(same_column, both[: len(data)], both[len(data) :], rows), np.ones(len(ratio)))


def _heads(data: Published) -> tuple[Ints, Floats]:
    """Return for each series the one that it is part of, -1 if none, and what turns that one's unit into its own."""
    by_name = {kind.indicator: i for i, kind in reversed(list(enumerate(data.kinds)))}
    heads, ratios = np.full(len(data.kinds), -1), np.ones(len(data.kinds))
    for i, kind in enumerate(data.kinds):
        above, _, last = kind.indicator.rpartition(" / ")
        named = (above, *(f"{above} / {word}" for word in ("合计", "总计")))
        head = next((by_name[name] for name in named if above and name in by_name), None)
        if head is None or _SUMS.fullmatch(last) or not (kind.adds and data.kinds[head].adds):
            continue
        if (ratio := try_ratio(data.kinds[head].unit, kind.unit)) is not None:
            heads[i], ratios[i] = head, float(ratio)
    return heads, ratios


def _match(group: Ints, asked: Ints, known: Ints, rows: Ints) -> tuple[Ints, Ints]:
    """Match rows with the first row of the same group whose `known` is what they ask for; leave out those without one."""
    others = np.arange(len(group))
    both = row_codes(np.concatenate([group[rows], group[others]]), np.concatenate([asked[rows], known[others]]))
    wanted, found = both[: len(rows)], both[len(rows) :]
    order = np.argsort(found, kind="stable")
    at = np.searchsorted(found[order], wanted)
    hit = at < len(order)
    hit[hit] = found[order][at[hit]] == wanted[hit]
    return rows[hit], others[order][at[hit]]


def _compare(data: Published, parts: Ints, heads: Ints, ratio: Floats) -> Iterator[Remark | Compared]:
    """Remark on parts that are more than their heads; once where so many of a series are that they are no parts."""
    scale = data.factor[heads] * ratio[data.series[parts]] / data.factor[parts]
    head, tolerance = data.value[heads] * scale, data.half[parts] + data.half_of_totals(heads) * scale
    difference = data.value[parts] - head
    wrong = difference > tolerance  # False where either is missing
    yield Compared("part", parts[np.isfinite(difference)], wrong[np.isfinite(difference)])
    series, size = data.series[parts], len(data.kinds)
    comparable = np.bincount(series[np.isfinite(difference)], minlength=size)
    number = np.bincount(series[wrong], minlength=size)
    often = (number > 1) & (number > _OFTEN * comparable)
    seen = set[int]()
    for one in np.flatnonzero(wrong).tolist():
        kind, row, other = int(series[one]), int(parts[one]), int(heads[one])
        if often[kind] and kind in seen:
            continue
        seen.add(kind)
        values = {
            "region": data.region(row),
            "year": int(data.year[row]),
            "indicator": data.indicator(row),
            "value": write(data.value[row]),
            "unit": data.unit(row),
            "head": data.region(other) if data.series[other] == kind else data.indicator(other),
            "expected": write(head[one]),
            "tolerance": write(tolerance[one], 3),
        }
        if often[kind]:
            said = message("audit.part_often", **values, number=int(number[kind]), checked=int(comparable[kind]))
        else:
            said = message("audit.part", **values)
        yield Remark(
            "part",
            "warning" if often[kind] else "error",
            row,
            said,
            float(head[one]),
            float(difference[one]),
            float(tolerance[one]),
            against=data.address(other),
        )


_NOISE = 1e-12  # of a total: what floats lose in a sum


@dataclass(frozen=True)
class Sums:
    """Totals and what was added up for each; arrays are (k,).

    `total` is the row of the total, in whose unit the others are. Where parts are `missing`, the sum can only be too large.
    `group` numbers those that ought to add up alike; `is_complete` says that the parts are known to be all there are.
    """

    total: Ints
    sum: Floats
    tolerance: Floats
    number: Ints
    missing: Ints
    group: Ints
    is_complete: Flags
    against: tuple[str, ...] = ()

    def difference(self, data: Published) -> Floats:
        """Return the total less the sum."""
        found: Floats = data.value[self.total] - self.sum
        return found

    def is_comparable(self, data: Published) -> Flags:
        """Say where all parts are there, or those that are make more than the total."""
        known = (self.missing == 0) | ((self.difference(data) < 0) & (self.sum >= 0))
        found: Flags = known & (self.number > 1)
        return found

    def differs(self, data: Published) -> Flags:
        """Say where rounding does not explain the difference."""
        found: Flags = self.is_comparable(data) & (np.abs(self.difference(data)) > self.tolerance)
        return found


class Says(Protocol):
    """A sentence of the catalogue that waits for its values."""

    def __call__(self, **values: object) -> Message:
        """Make the Message."""
        ...


def add_up(
    data: Published,
    slot: Ints,
    heads: Ints,
    parts: Flags,
    group: Ints,
    is_complete: Flags,
    factor: Floats | None = None,
) -> Sums:
    """Add up the flagged parts of the slot (n,) of each head (k,).

    `factor` (n,) turns values into one unit for each slot, by default that of the series. A value below the unit counts as 0 to
    one unit of the last digit; one that does not apply as 0.
    """
    factor = data.factor if factor is None else factor
    size = int(slot.max(initial=0)) + 1
    known = parts & np.isfinite(data.value)
    lacking = parts & ~np.isfinite(data.value) & (data.frame["mark"] != "none").to_numpy(dtype=bool)

    def total(rows: Flags, weights: Floats) -> Floats:
        found: Floats = np.bincount(slot[rows], weights=weights[rows], minlength=size)[slot[heads]] / factor[heads]
        return found

    def count(rows: Flags) -> Ints:
        found: Ints = np.bincount(slot[rows], minlength=size)[slot[heads]]
        return found

    summed = total(known, data.value * factor)
    rounding = total(known, data.half * factor) + data.half_of_totals(heads)
    tolerance = rounding + _NOISE * np.abs(summed)
    return Sums(heads, summed, tolerance, count(known), count(lacking), group, is_complete)


def nearest_of(data: Published, ways: list[Sums]) -> Sums:
    """Take for each total the first way of adding up that explains it, else the one that comes nearest."""
    best, *others = ways
    for other in others:
        nearer = np.abs(other.difference(data)) < np.abs(best.difference(data))
        better = best.differs(data) & (other.number > 1) & (~other.differs(data) | nearer)
        best = Sums(
            best.total,
            np.where(better, other.sum, best.sum),
            np.where(better, other.tolerance, best.tolerance),
            np.where(better, other.number, best.number),
            np.where(better, other.missing, best.missing),
            best.group,
            np.where(better, other.is_complete, best.is_complete),
            best.against,
        )
    return best


_SOME, _SHARE = 4, 0.25  # differences of one sign, in number and of all comparisons, that are no errors any more
_FAR = 3.0  # times the usual difference of a total that is as a rule more than its parts: another error beside it


def judge_sum(
    data: Published, sums: Sums, kind: str, says: Says, says_often: Says, says_none: Says
) -> Iterator[Remark | Compared]:
    """Remark on the sums that differ, once for a group whose total seems to count something else.

    A difference is an error where the parts are complete or most of the group adds up, else a warning; a warning, too, where
    the total ends in zeros and rounding it to the digits that it shows would explain the difference. Of a group in which none
    adds up, or the total is in many cases more than the parts and never less, only differences far from the usual one are
    remarked on further.
    """
    wrong, difference = sums.differs(data), sums.difference(data)
    zeros = data.shown[sums.total] - data.half_of_totals(sums.total)
    is_doubtful = wrong & (np.abs(difference) <= sums.tolerance + zeros)
    comparable = sums.is_comparable(data)
    yield Compared(kind, sums.total[comparable], wrong[comparable])
    failures = wrong & ~is_doubtful
    checked = np.bincount(sums.group, minlength=1)
    failed = np.bincount(sums.group[failures], minlength=len(checked))
    more = np.bincount(sums.group[failures & (difference > 0)], minlength=len(checked))
    usual = pd.Series(np.where(failures, np.abs(difference), np.nan)).groupby(sums.group).transform("median").to_numpy()
    seen = set[int]()
    for one in np.flatnonzero(wrong).tolist():
        group, row = int(sums.group[one]), int(sums.total[one])
        none_adds = bool(failed[group] == checked[group] > 1)
        is_more = bool(failed[group] == more[group] >= _SOME and failed[group] > _SHARE * checked[group])
        often = none_adds or (is_more and bool(failures[one]))
        if often and group in seen and not abs(difference[one]) > _FAR * usual[one]:
            continue
        is_first = group not in seen
        seen.add(group)
        is_sure = bool(sums.is_complete[one] or failed[group] * 2 < checked[group])
        severity: Severity = "error" if is_sure and not often and not is_doubtful[one] else "warning"
        said = (says if not (often and is_first) else says_none if none_adds else says_often)(
            region=data.region(row),
            year=int(data.year[row]),
            indicator=data.indicator(row),
            value=write(data.value[row]),
            unit=data.unit(row),
            number=int(sums.number[one]),
            expected=write(sums.sum[one]),
            difference=write(abs(difference[one]), 6),
            tolerance=write(sums.tolerance[one], 3),
            checked=int(checked[group]),
            failed=int(failed[group]),
            parts=sums.against[one] if sums.against else "",
            zeros=message("audit.zeros", unit=write(2 * data.shown[row])) if is_doubtful[one] else "",
        )
        yield Remark(
            kind,
            severity,
            row,
            said,
            float(sums.sum[one]),
            float(difference[one]),
            float(sums.tolerance[one]),
            against=sums.against[one] if sums.against else f"{int(sums.number[one])} regions",
        )
