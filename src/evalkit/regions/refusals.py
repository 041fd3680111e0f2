"""Refusal: why a name means no region in its year, with what to do about it, in both languages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, reduce
from typing import Literal

from evalkit.catalogue import Message, message
from evalkit.regions.registry import FIRST, LAST, Lineage, Region, gazetteer, lineage, list_regions

RefusalReason = Literal[
    "missing",  # no name, or no text
    "year",  # no list of that year
    "area",  # what was said of the area is itself refused
    "total",  # a sum, or a heading of a table
    "no_unit",  # the XPCC, a zone, a farm: no code in GB/T 2260
    "ambiguous",  # several units
    "former",  # a unit of other years
    "elsewhere",  # a unit of another area or level
    "letters",  # pinyin or English
    "unreadable",  # characters without a meaning
    "unknown",
]
_REASONS: dict[str, RefusalReason] = {
    "no_text": "missing",
    "empty": "missing",
    "heading": "total",
    "corps": "no_unit",
    "division": "no_unit",
    "division_of": "no_unit",
    "ili_proper": "no_unit",
    "zone": "no_unit",
    "not_there": "elsewhere",
    "not_there_near": "elsewhere",
    "no_code": "unknown",
    "unknown_near": "unknown",
    "letters_known": "letters",
    "former_same": "former",
    "former_other": "former",
    "former_lost": "former",
    "former_several": "former",
}
_LISTED = 4  # units that a sentence names


@dataclass(frozen=True)
class Refusal:
    """Why a name is refused: `reason` for a program, the problem and the remedy for a reader."""

    reason: RefusalReason
    what: Message
    remedy: Message


def refuse(
    key: str, *, known: Sequence[Region] = (), near: Sequence[Region] = (), year: int = LAST, **values: object
) -> Refusal:
    """Make the refusal that the catalogue has under a key ("region.zone" and "region.zone_remedy")."""
    if key == "unknown" and known:
        key = "unknown_near"
    if key == "not_there" and near:
        key = "not_there_near"
    if key == "letters" and known:
        key = "letters_known"
    filled = {"year": year, "known": list_places(known, year), "near": list_places(near, year), **values}
    if "heads" in filled:
        filled["heads"] = list_places(list(values["heads"]), year)  # type: ignore[call-overload]  # a list of regions
    reason = _REASONS.get(key) or key
    return Refusal(reason, message(f"region.{key}", **filled), message(f"region.{key}_remedy", **filled))  # type: ignore[arg-type]  # the keys are reasons, but for those of the table


def refuse_several(name: str, year: int, found: Sequence[Region]) -> Refusal:
    """Refuse a name that several units have, naming them with what they lie in, and the years of those of other years."""
    listed = _list(found, year)
    return Refusal(
        "ambiguous",
        message("region.ambiguous", name=name, year=year, listed=listed),
        message("region.ambiguous_remedy"),
    )


def refuse_former(name: str, year: int, fits: Sequence[Region]) -> Refusal:
    """Refuse the name of a unit of other years, saying what became of it or what it was before."""
    full = [region for region in fits if region.name == name] or list(fits)
    full.sort(key=lambda one: min(abs(year - one.valid_from), abs(year - (one.last))))
    nearest = list({one.province: one for one in reversed(full)}.values())[::-1]  # one unit has had several codes
    if len(nearest) > 1:
        what = message("region.former_several", name=name, year=year, listed=_list(nearest, year))
        return Refusal("former", what, message("region.former_several_remedy"))
    line = follow(full[0], year)
    key = "former_same" if line.same_territory else "former_other" if line.end else "former_lost"
    now = list_regions(line.end)
    return refuse(key, year=year, unit=str(line.start), span=_span(line.start), now=now, causes=_causes(line))


@lru_cache(maxsize=1 << 16)
def place(region: Region, year: int) -> str:
    """Name a unit after the units that it lies in, with its code: 江苏省南京市鼓楼区 (320106)."""
    lists = gazetteer()
    codes = [code for code in (region.province, region.prefecture) if code and code != region.code]
    above = [next((unit for unit in lists.by_code.get(code, ()) if unit.is_valid(year)), None) for code in codes]
    return "".join(unit.name for unit in above if unit is not None) + str(region)


def list_places(regions: Sequence[Region], year: int) -> str:
    """Name some units with what they lie in, in a sentence."""
    return ", ".join(place(one, year) for one in regions[:_LISTED]) + (", …" if len(regions) > _LISTED else "")


def _list(regions: Sequence[Region], year: int) -> Message | str:
    """Name units with what they lie in, and those that are not of the year with their years."""
    said: list[Message | str] = [
        place(one, year)
        if one.is_valid(year)
        else message("region.unit_of_years", unit=place(one, year), span=_span(one))
        for one in regions[:_LISTED]
    ]
    said += ["…"] if len(regions) > _LISTED else []
    return reduce(lambda one, other: message("region.join", one=one, other=other), said)


def follow(region: Region, year: int) -> Lineage:
    """Say what a unit of other years was or became in a year."""
    return lineage(region.code, region.valid_from if region.valid_from > year else region.last, year)


def _span(region: Region) -> Message:
    if region.valid_to is None:
        return message("region.span_from", first=region.valid_from)
    if region.valid_from == FIRST:
        return message("region.span_until", last=region.valid_to)
    return message("region.span_both", first=region.valid_from, last=region.valid_to)


def _causes(line: Lineage) -> Message | str:
    said = [
        message(
            "region.cause",
            kind=message(f"change.{kind}"),
            year=year,
            units=message("region.cause_units", units=" + ".join(names)) if names else "",
            authority=f", {authority}" if authority else "",
        )
        for kind, year, names, authority in line.changes
    ]
    return reduce(lambda one, other: message("region.and", one=one, other=other), said) if said else ""
