"""Volumes: what several files, or several sheets, say of the same region, year and indicator; and notes on scope."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

import numpy as np
import pandas as pd
from scipy import stats

from evalkit.auditing.published import Published, row_codes
from evalkit.auditing.remark import Compared, Remark, Severity, write, write_factor
from evalkit.catalogue import message
from evalkit.numerics.arrays import Flags, Ints

_ALIKE = 0.01  # what rounding may hide of two numbers that are said to have the same digits
_BY_CHANCE = 0.1  # the share of volumes that are accused although all their edges were rounded twice
_MUCH = 0.1  # a revision by more than a tenth is unusual
_NAMED = 3  # indicators, and regions, that a sentence lists
_SINCE = "(?:起|以来|以后|之后|及以后|开始)"
_CHANGED = "(?:含|包括|口径|调整|并入|划入|划归|划出|改为|改按|不再)"
_BODIES = "(?:新疆)?(?:生产建设)?(?:兵团|各?师|农垦|国有农场|国营农场)"
_SCOPE = re.compile(rf"((?:19|20)\d{{2}})年?{_SINCE}[^。;；]*?{_CHANGED}|口径|(?:包括|包含|含){_BODIES}")


def check_volumes(data: Published) -> Iterator[Remark | Compared]:
    """Remark on units that change, values that stand twice, revisions between volumes, and notes about scope."""
    yield from _check_units(data)
    yield from _check_repeats(data)
    yield from _check_revisions(data)
    yield from _check_scope(data)


def _check_units(data: Published) -> Iterator[Remark]:
    """Remark on indicators that are printed in several units, once for each further unit."""
    columns = {"name": data.frame["indicator"], "unit": data.frame["unit"].fillna("")}
    first = pd.DataFrame(columns).drop_duplicates().index.to_numpy()
    known: dict[str, int] = {}
    for row in first.tolist():
        other = known.setdefault(data.indicator(row), row)
        if other == row or data.kinds[data.series[row]].is_generic:
            continue
        values = {
            "indicator": data.indicator(row),
            "unit": data.unit(row),
            "place": data.place_of(row),
            "other": data.unit(other),
            "elsewhere": data.place_of(other),
        }
        against = data.address(other)
        if data.series[row] == data.series[other]:
            said = message("audit.units", **values, factor=write_factor(data.factor[row] / data.factor[other]))
            yield Remark("unit", "note", row, said, is_table=True, against=against)
        else:
            said = message("audit.units_unlike", **values)
            yield Remark("unit", "note", row, said, is_table=True, against=against)


def _check_repeats(data: Published) -> Iterator[Remark | Compared]:
    """Remark on values that stand twice in one file: unlike, each; alike, once for two sheets and an indicator."""
    key = row_codes(data.volume, data.series, data.place, data.year)
    rows = np.flatnonzero(np.isfinite(data.value))
    row, one = _with_first(key, rows)
    comparable = (data.sheet[row] == data.sheet[one]) | ~data.flags("is_generic")[row]
    row, one = row[comparable], one[comparable]
    alike = agree_to_rounding(data, row, one)
    yield Compared("duplicate", row, ~alike)
    for at in np.flatnonzero(~alike).tolist():
        yield _on_two(data, int(row[at]), int(one[at]), "duplicate", "error", "audit.contradicted")
    row, one = row[alike], one[alike]
    _, first, number = np.unique(
        row_codes(data.sheet[row], data.sheet[one], data.series[row]), return_index=True, return_counts=True
    )
    for at, count in zip(first.tolist(), number.tolist(), strict=True):
        values = {"indicator": data.indicator(int(row[at])), "number": count, "place": data.address(int(row[at]))}
        said = message("audit.repeated", **values, elsewhere=data.address(int(one[at])))
        yield Remark("duplicate", "note", int(row[at]), said, is_table=True, against=data.address(int(one[at])))


def _check_revisions(data: Published) -> Iterator[Remark | Compared]:
    """Remark on values that a newer volume gives otherwise."""
    rows = np.flatnonzero(np.isfinite(data.value) & ~data.flags("is_generic"))
    rows = rows[np.argsort(-data.newness[data.volume[rows]], kind="stable")]
    row, newest = _with_first(row_codes(data.series, data.place, data.year), rows)
    is_other = data.volume[row] != data.volume[newest]
    row, newest = row[is_other], newest[is_other]
    differs = ~agree_to_rounding(data, row, newest)
    yield Compared("revision", row, differs)
    for older, newer in zip(row[differs].tolist(), newest[differs].tolist(), strict=True):
        was, scale = data.value[older], data.factor[older] / data.factor[newer]
        change = data.value[newer] / (was * scale) if was * scale else math.inf
        if power := find_power(data, older, newer):
            yield _on_two(
                data, older, newer, "power_of_ten", "error", "audit.power_volumes", power=write_factor(10.0**power)
            )
            continue
        known = data.newness[data.volume[older]] < data.newness[data.volume[newer]]
        key = "audit.revised" if known else "audit.revised_unordered"
        yield _on_two(data, older, newer, "revision", "note" if abs(change - 1) <= _MUCH else "warning", key)


def find_power(data: Published, older: int, newer: int) -> int:
    """Return the power of ten by which two values of the same digits are apart, 0 where they are not."""
    was = data.value[older] * data.factor[older] / data.factor[newer]
    change = data.value[newer] / was if was else 0.0
    power = round(math.log10(change)) if 0 < change < math.inf else 0
    rounding = data.half[newer] + data.half[older] * data.factor[older] / data.factor[newer] * 10.0**power
    is_alike = abs(was * 10.0**power - data.value[newer]) <= rounding < _ALIKE * data.value[newer]
    return power if is_alike else 0


def _with_first(key: Ints, rows: Ints) -> tuple[Ints, Ints]:
    """Pair each of the rows with the first of those that have the same key, leaving out the first ones themselves."""
    found = pd.Series(rows).groupby(key[rows]).transform("first").to_numpy(dtype=np.int64)
    return rows[rows != found], found[rows != found]


def agree_to_rounding(data: Published, one: Ints, other: Ints) -> Flags:
    """Say where two values (k,) are the same up to the rounding of both.

    A number that lies half a unit of the coarser one above it rounds up: 5.5 is no 5, unless it was rounded itself (5.46 printed
    as 5.5 and as 5). That happens to one pair in twenty where the digits differ by one; between two volumes and in one indicator
    as many as that explains (p > 0.1) agree, and where there are more of them, none does.
    """
    gap = data.value[one] * data.factor[one] - data.value[other] * data.factor[other]
    half_one, half_other = data.half[one] * data.factor[one], data.half[other] * data.factor[other]
    coarse, fine = np.maximum(half_one, half_other), np.minimum(half_one, half_other)
    exact = data.factor[one] == data.factor[other]  # rounded to another unit, else to fewer digits
    same = exact & (data.half[one] == data.half[other])
    agree: Flags = np.where(same, gap == 0, np.abs(gap) <= (coarse + fine) * (1 + 1e-9))
    above = np.where(half_one > half_other, -gap, gap) * np.sign(data.value[one])  # of the finer one over the coarser
    on_edge = agree & ~same & (above >= coarse * (1 - 1e-9))
    if on_edge.any():
        group = row_codes(data.volume[one], data.volume[other], data.series[one])
        unlike = (agree & ~same).astype(np.float64)
        pairs, edges = np.bincount(group, unlike), np.bincount(group, on_edge)
        each = np.bincount(group, unlike * fine / coarse) / np.maximum(pairs, 1) / 2
        too_many = stats.binom.sf(edges - 1, pairs, each) < _BY_CHANCE
        agree &= ~(on_edge & np.asarray(too_many)[group])
    return agree


def _on_two(data: Published, row: int, other: int, kind: str, severity: Severity, key: str, **more: object) -> Remark:
    """Remark on a value that stands elsewhere as another one."""
    scale = data.factor[other] / data.factor[row]
    expected, tolerance = data.value[other] * scale, data.half[row] + data.half[other] * scale
    said = message(
        key,
        region=data.region(row),
        year=int(data.year[row]),
        indicator=data.indicator(row),
        value=write(data.value[row]),
        unit=data.unit(row),
        place=data.place_of(row),
        expected=write(data.value[other]),
        other_unit=data.unit(other),
        elsewhere=data.place_of(other),
        tolerance=write(tolerance, 3),
        **more,
    )
    difference = float(data.value[row] - expected)
    return Remark(kind, severity, row, said, expected, difference, tolerance, against=data.place_of(other))


def _check_scope(data: Published) -> Iterator[Remark]:
    """Remark on notes that say what is counted, once for each sheet, with what they qualify."""
    codes, texts = pd.factorize(data.frame["note"].fillna(""))
    said: dict[tuple[int, str, int], list[Ints]] = {}
    for code, text in enumerate(texts):
        for words in str(text).split("; "):
            if found := _SCOPE.search(words):
                since, rows = int(found[1] or 0), np.flatnonzero(codes == code)
                for sheet in np.unique(data.sheet[rows]).tolist():
                    inside = rows[(data.sheet[rows] == sheet) & (data.year[rows] >= since)]
                    said.setdefault((sheet, words, since), []).append(inside)
    for (_, words, since), parts in said.items():
        rows = np.sort(np.concatenate(parts))
        if len(rows):
            indicators = [data.kinds[series].indicator for series in dict.fromkeys(data.series[rows].tolist())]
            regions = list(dict.fromkeys(data.names[rows].tolist()))
            values = {
                "words": words,
                "number": len(rows),
                "indicators": ", ".join(indicators[:_NAMED]) + (", …" if len(indicators) > _NAMED else ""),
                "regions": ", ".join(regions[:_NAMED]) + (", …" if len(regions) > _NAMED else ""),
                "since": message("audit.since", year=since) if since else "",
            }
            yield Remark("scope", "note", int(rows[0]), message("audit.scope", **values), is_table=True)
