"""Regions against the total of their table, and against the prefecture or province in which they lie."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from evalkit.auditing._codes import row_codes
from evalkit.auditing._places import CORPS, REGION, TOTAL
from evalkit.auditing._published import Published
from evalkit.auditing._remark import Remark
from evalkit.auditing._sums import Sums, add_up, judge, nearest_of
from evalkit.catalogue import message
from evalkit.columns import Flags, Ints
from evalkit.gazetteer import Region, gazetteer

_PROVINCES = 31  # that tables of the mainland list
_PREFECTURE, _PROVINCE = 100, 10_000  # what a code is divided by


def check_regions(data: Published) -> Iterator[Remark]:
    """Check each total row against the regions of its sheet, and each area against those of its file that lie in it."""
    listed_as_part = data.frame["note"].fillna("").str.contains("part of ", regex=False).to_numpy(dtype=bool)
    usable = data.flags("adds") & ~listed_as_part
    for sums in (_of_total_rows(data, usable), *(_of_areas(data, usable, width) for width in (_PREFECTURE, _PROVINCE))):
        yield from judge(data, sums, "sum", partial(message, "audit.sum"), partial(message, "audit.sum_none"))


def _of_total_rows(data: Published, usable: Flags) -> Sums:
    """Add up what a sheet lists with its one total row: without regions inside others, without the XPCC, all, coded ones only."""
    slot = row_codes(data.sheet, data.series, data.year)
    size = int(slot.max(initial=0)) + 1
    heads = np.flatnonzero(usable & (data.role == TOTAL) & np.isfinite(data.value))
    heads = heads[np.bincount(slot[heads], minlength=size)[slot[heads]] == 1]
    group = row_codes(data.sheet, data.series)[heads]
    listed = usable & ((data.role == REGION) | (data.role == CORPS))
    free = listed & ~_is_nested(data, slot, listed)
    provinces = free & (data.code > 0) & (data.code % _PROVINCE == 0)
    national = np.array([str(name).startswith("全国") for name in data.names[heads]], dtype=bool)
    complete = national & (np.bincount(slot[provinces], minlength=size)[slot[heads]] >= _PROVINCES)
    ways = (free, free & (data.role == REGION), listed, free & (data.code > 0))
    return nearest_of(data, [add_up(data, slot, heads, way, group, complete) for way in ways])


def _is_nested(data: Published, slot: Ints, listed: Flags) -> Flags:
    """Tell regions that lie in another region of the same list."""
    present = np.unique(slot[listed] * 1_000_000 + data.code[listed])
    nested = np.zeros(len(data), dtype=bool)
    for width in (_PREFECTURE, _PROVINCE):
        above = data.code // width * width
        nested |= (above != data.code) & np.isin(slot * 1_000_000 + above, present)
    return nested & (data.code > 0)


def _of_areas(data: Published, usable: Flags, width: int) -> Sums:
    """Add up the counties of each prefecture of a file, or the prefectures (and what lies in none) of each province.

    Where the lists of regions do not say that all are there, the sum can only be too large.
    """
    usable = usable & (data.code > 0) & ~data.flags("is_generic")
    first = np.zeros(len(data), dtype=bool)
    _, at = np.unique(
        row_codes(data.volume, data.series, data.year, data.code, (~usable).astype(np.int64)), return_index=True
    )
    first[at] = True
    usable = usable & first
    area = data.code // width * width
    is_area = (data.code == area) & (width == _PROVINCE or data.code % _PROVINCE != 0)
    inside = (data.code != area) & (data.code % _PROVINCE != 0)
    if width == _PROVINCE:
        inside &= (data.code % _PREFECTURE == 0) | (data.code // _PREFECTURE % 100 == 90)
    slot = row_codes(data.volume, data.series, data.year, area)
    heads = np.flatnonzero(usable & is_area & np.isfinite(data.value))
    heads = heads[np.bincount(slot[usable & inside], minlength=int(slot.max(initial=0)) + 1)[slot[heads]] > 0]
    group = row_codes(data.volume, data.series, area)[heads]
    found = add_up(data, slot, heads, usable & inside, group, np.ones(len(heads), dtype=bool))
    lacking = np.maximum(_units_in(data, heads, width) - found.number - found.missing, 0)
    complete = (found.missing + lacking) == 0
    return Sums(found.total, found.sum, found.tolerance, found.number, found.missing + lacking, group, complete)


def _units_in(data: Published, heads: Ints, width: int) -> Ints:
    """Count what the lists have in each area in its year; more than any table has where they do not hold its units."""
    inside: dict[str | None, list[Region]] = {}
    for region in gazetteer().regions:
        if width == _PREFECTURE and region.level == "county":
            inside.setdefault(region.prefecture, []).append(region)
        elif width == _PROVINCE and region.level in ("prefecture", "xpcc"):
            inside.setdefault(region.province, []).append(region)
    pairs = list(zip(data.code[heads].tolist(), data.year[heads].tolist(), strict=True))
    counts = {(code, year): sum(one.is_valid(year) for one in inside.get(str(code), [])) for code, year in {*pairs}}
    return np.array([counts[pair] or 1_000_000 for pair in pairs], dtype=np.int64)
