"""Candidates: the known names nearest to one that is unknown, those of the same area and province first."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable
from functools import cache, lru_cache

from evalkit.regions.registry import Region, bare, gazetteer

_MOST = 3  # candidates that are named
_CUTOFF = 0.5  # of the characters of both names, twice those in common
_RANKED = 12  # names that are looked up, nearest first


def rank_candidates(name: str, year: int, area: Region | None, fits: Callable[[Region], bool]) -> list[Region]:
    """Return up to three units of the year that fit, the nearest of the area first, then those of its province, then others."""
    lists = gazetteer()
    province = None if area is None else area.province
    found = dict[Region, tuple[int, int]]()
    for where in dict.fromkeys([province, None]):
        for rank, key in enumerate(_similar(name, where)):
            for region in lists.by_name[key]:
                if region.valid_from <= year <= region.last and region not in found and fits(region):
                    found[region] = (_distance(region, area), rank)
        if found:
            break
    return sorted(found, key=lambda region: found[region])[:_MOST]


def _distance(region: Region, area: Region | None) -> int:
    if area is None or area.code in (region.province, region.prefecture):
        return 0
    return 1 if region.province == area.province else 2


@lru_cache(maxsize=1 << 16)
def _similar(name: str, province: str | None) -> tuple[str, ...]:
    """Rank the known names, of one province or of all, by the share of characters in common, kinds of unit apart."""
    letters = set(bare(name))
    shared = Counter[str]()
    index = _by_letter(province)
    for letter in letters:
        shared.update(index.get(letter, ()))
    ratios = {key: 2 * number / (len(letters) + len(set(key))) for key, number in shared.items()}
    near = [key for key, ratio in ratios.items() if ratio >= _CUTOFF]
    return tuple(heapq.nsmallest(_RANKED, near, key=lambda key: (-ratios[key], -_same_places(name, key), key)))


def _same_places(name: str, key: str) -> int:
    return sum(one == other for one, other in zip(name, key, strict=False))


@cache
def _by_letter(province: str | None) -> dict[str, list[str]]:
    """Index the known names, of one province or of all, by the characters that they hold."""
    index: dict[str, list[str]] = {}
    for key, regions in gazetteer().by_name.items():
        if province is None or any(region.province == province for region in regions):
            for letter in set(key):
                index.setdefault(letter, []).append(key)
    return index
