"""Search: which unit a folded name means in its year, area and level, or why it means none."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache

from evalkit.catalogue import Message, message
from evalkit.regions.candidates import rank_candidates
from evalkit.regions.pinyin import read_spelling
from evalkit.regions.refusals import Refusal, follow, refuse, refuse_former, refuse_several
from evalkit.regions.registry import AREAS, FIRST, LAST, Level, Region, fold, gazetteer
from evalkit.regions.traditional import simplify

_SUMS = frozenset("全国 全国总计 全国合计 合计 总计 小计 共计 全省 全区 全市 全州 全县 全疆".split())
_SUMS_OF_AREAS = frozenset("合计 总计 小计 共计".split())  # after the name of one; 全州 may be a county
_HEADINGS = tuple(
    "省直辖县级行政区划 省直辖县级行政单位 自治区直辖县级行政区划 自治区直辖县级行政单位 省直辖行政单位 直辖县级 省直辖 市辖区 "
    "市辖县 县级市 直辖县 县".split()
)
_TOTALS = _SUMS | frozenset(
    [*_HEADINGS[:-1], *"平均 其他 其它 东部 中部 西部 东部地区 中部地区 西部地区 东北地区 南疆 北疆 东疆".split()]
)
_CORPS = re.compile(r"(?:新疆)?(?:(?:生产)?建设)?兵团(?:本级|合计|直属)?")
_DIVISION = re.compile(
    r"(?:(?:新疆)?(?:生产建设)?兵团)?(?:农业建设第|农|第)?(十[一二三四]|[一二三四五六七八九十])师(?:.{2,5}市)?"
)
_ILI_PROPER = re.compile(r"伊犁(?:哈萨克自治)?州直(?:属|辖)?(?:县|市|县市|县\(市\)|县、市)?")
_MAYBE_NO_UNIT = re.compile("[团师直]")  # one of the three may fit
# Endings of what tables list beside counties and GB/T 2260 does not have; names of units that end so are found before.
_ZONES = re.compile(
    r"(?:开发区|高新区|经开区|新区|园区|保税区|示范区|试验区|管理区|管委会|度假区|风景区|名胜区|实验区|合作区|保护区|工业区|"
    r"矿区管理局|农场|牧场|林场|团场|林业局|街道|办事处|镇|乡|苏木|产业园|生态园|聚集区|新城|行政委员会|管委会筹备处|西沙群岛|南沙群岛|中沙群岛的岛礁及其海域|"
    r"加格达奇区|松岭区|新林区|呼中区)(?:\(.*\))?"  # the last four: of 大兴安岭地区, in tables of the Bureau of Statistics only
)
_LETTERS = re.compile(r"(?=.*[A-Za-zÀ-ɏ])[A-Za-zÀ-ɏ'’\-. ]+")
_CODE_OF_TOWNS = re.compile(r"(\d{6})0{3}(?:0{3})?")  # the same codes as the Bureau of Statistics writes them
_BETWEEN = "-–—_/\\|>·•,,、;:"
_MOST = 100  # characters of what can be a name: a province, a prefecture and a county with a heading have some 60
_LONGEST = 14  # characters of a name that begins another one: 新疆维吾尔自治区, 海西蒙古族藏族哈萨克族自治州


def is_sum(name: str) -> bool:
    """Tell the name of a row that adds others up, such as 合计, 全省 or Total, from that of a unit."""
    return fold(name) in _SUMS or name.strip().casefold() in ("total", "grand total", "sum")


def is_no_unit(name: str) -> bool:
    """Tell what tables list among regions and is none: totals and headings, the XPCC and its divisions."""
    folded = fold(name)
    return bool(folded) and (folded in _TOTALS or _no_unit(folded, LAST) is not None)


@lru_cache(maxsize=1 << 16)
def find_region(name: str, year: int, within: str | None, level: Level | None) -> Region | Refusal:
    """Find the one unit of that name, year, area and level, or say why there is none or not one."""
    if not FIRST <= year <= LAST:
        return refuse("year", year=year, first=FIRST, last=LAST)
    if not name:
        return refuse("empty")
    if name in _TOTALS:
        return refuse("total", name=name)
    area = None
    if within is not None:
        place = _find_area(within, year)
        if isinstance(place, Refusal):
            return refuse("area", problem=place.what, advice=place.remedy)
        area = place
    return _find_in(name, year, area, level)


@lru_cache(maxsize=1 << 12)
def _find_area(name: str, year: int) -> Region | Refusal:
    """Find the area that a column names; 湖北省省直辖县级行政区划 is 湖北省, 襄樊市 of 2015 is 襄阳市."""
    found = _find_in(name, year, None, None, are_areas=True)
    if isinstance(found, Refusal) and found.reason == "former":
        lists = gazetteer()
        known = [one for one in lists.by_code.get(name) or lists.areas.get(name, ()) if one.level in AREAS]
        areas = _areas_of(known, year)
        return areas[0] if len(areas) == 1 else found
    return found


def _find_in(
    name: str, year: int, area: Region | None, level: Level | None, *, are_areas: bool = False
) -> Region | Refusal:
    """Find a name in an area: as it stands, in simplified characters, or as units from the larger to the smaller."""
    if len(name) > _MOST:
        return refuse("unknown", name=_shorten(name), year=year, asked="")
    found = _find_whole(name, year, area, level, are_areas=are_areas)
    if found is not None:
        return found
    refusal = _no_unit(name, year)
    if refusal is not None:
        return refusal
    plain = simplify(name)
    if plain != name:
        return _find_in(plain, year, area, level, are_areas=are_areas)
    if _LETTERS.fullmatch(name):
        return _find_spelling(name, year, area, level, are_areas=are_areas)
    refusal = _not_readable(name)
    if refusal is not None:
        return refusal
    found = _find_in_parts(name, year, area, level, are_areas=are_areas)
    return found or _unknown(name, year, area, level)


def _find_whole(
    name: str, year: int, area: Region | None, level: Level | None, *, are_areas: bool = False
) -> Region | Refusal | None:
    """Find the unit that has this name or code in the year; or the reason, where units of that name are known; else None."""
    lists = gazetteer()
    if name.isdigit() and (long := _CODE_OF_TOWNS.fullmatch(name)):
        name = long[1]
    held = lists.by_code.get(name) or (lists.areas if are_areas else lists.by_name).get(name, ())
    if are_areas:
        held = tuple(region for region in held if region.level in AREAS)
    then = list[Region]()
    for region in held:  # most names take this way alone: no calls where they can be spared
        if region.valid_from <= year <= region.last and _fits(region, area, level, year):
            then.append(region)
    if len(then) > 1:
        full = [region for region in then if region.name == name]
        then = full if len(full) == 1 else then
    if len(then) == 1 and then[0].name == name:
        return then[0]
    named = [lists.at(one.code, year) for one in lists.aliases.get(name, ()) if one.first <= year <= one.last]
    other = [unit for unit in named if unit is not None and _fits(unit, area, level, year)] if not are_areas else []
    if name.isdigit() and then and other:  # the Bureau of Statistics gave the code to another unit
        return refuse_several(name, year, [*then, *other])
    fits = [region for region in held if _fits(region, area, level, year)]
    ended = [region for region in fits if region.last == year - 1 and name in (region.name, region.code)]
    if len(then) == 1:  # 赣县 is short for 赣县区, and its full name until that was made in the year
        known = [region for region in ended if region.name == name and _became(region, year, then[0])]
        return known[0] if known else _unless_former(name, year, then[0], fits)
    if then:
        return refuse_several(name, year, then)
    if len(other) == 1:
        return other[0]
    if ended:
        return ended[0] if len(ended) == 1 else refuse_several(name, year, ended)
    if fits:
        return refuse_former(name, year, fits)
    namesakes = [region for region in held if region.is_valid(year)]
    if not namesakes or are_areas:
        return None
    near = (
        rank_candidates(name, year, area, lambda region: _fits(region, area, level, year)) if area is not None else ()
    )
    return refuse("not_there", name=name, year=year, asked=_asked(area, level), known=namesakes, near=near)


def _unless_former(name: str, year: int, found: Region, fits: list[Region]) -> Region | Refusal:
    """Return the unit, unless the name is only short for it and was the full name of another one in another year.

    东乡县 is short for 东乡族自治县 in Gansu, and was a county of Jiangxi until 2016.
    """
    others = [region for region in fits if region.name == name and not _became(region, year, found)]
    others.sort(key=lambda region: region.valid_from)
    latest = {region.province: region for region in others}  # one unit had several codes
    return refuse_several(name, year, [found, *latest.values()]) if others else found


def _became(region: Region, year: int, found: Region) -> bool:
    """Say whether a unit of another year is that one, under another name or code."""
    line = follow(region, year)
    return line.same_territory and line.end[0] == found


def _fits(region: Region, area: Region | None, level: Level | None, year: int) -> bool:
    if area is not None and region is not area and area.code not in (region.province, region.prefecture):
        return False
    if level is None:
        return region is not area or gazetteer().stands_for_county(region, year)
    if level == "county":
        return region.level in ("county", "xpcc") or gazetteer().stands_for_county(region, year)
    return region.level == level and region is not area


def _find_in_parts(
    name: str, year: int, area: Region | None, level: Level | None, *, are_areas: bool
) -> Region | Refusal | None:
    """Read units from the larger to the smaller in one name, each by the longest name that is there, never by a shorter one."""
    named = gazetteer().areas
    for size in range(min(len(name) - 1, _LONGEST), 1, -1):
        head = name[:size]
        if head not in named or not (known := [one for one in named[head] if _is_part(one, area)]):
            continue
        rest = name[size:].lstrip(_BETWEEN)
        heads = _areas_of(known, year)
        if not heads:
            return refuse_former(head, year, known) if len(rest) > 1 else None
        if rest in _SUMS_OF_AREAS:
            return refuse("total", name=name)
        if rest in _HEADINGS or not rest:
            if are_areas and len(heads) == 1:
                return heads[0]
            return refuse("heading", name=name, heads=heads)
        inside = [area if area is not None and one.code == area.province else one for one in heads]
        found = [_find_rest(rest, year, one, level, are_areas=are_areas) for one in inside]
        units = list(dict.fromkeys(one for one in found if isinstance(one, Region)))
        if len(units) == 1:
            return units[0]
        if units:
            return refuse_several(name, year, units)
        return found[0] if len(rest) > 1 else None
    return None


def _find_rest(rest: str, year: int, head: Region, level: Level | None, *, are_areas: bool) -> Region | Refusal:
    """Find what follows the name of an area, in it; a heading between the two (北京市市辖区东城区) says nothing."""
    found = _find_in(rest, year, head, level, are_areas=are_areas)
    if isinstance(found, Refusal):
        for heading in _HEADINGS:
            if rest.startswith(heading) and len(rest) > len(heading) + 1:
                after = _find_in(rest[len(heading) :], year, head, level, are_areas=are_areas)
                return after if isinstance(after, Region) else found
    return found


def _areas_of(known: Sequence[Region], year: int) -> list[Region]:
    """Return the areas of that name; in other years' names only where nothing but the name or code changed (襄樊市 is 襄阳市)."""
    then = [one for one in known if one.is_valid(year)]
    if then:
        return then
    lines = [follow(one, year) for one in known]
    return list(dict.fromkeys(line.end[0] for line in lines if line.same_territory))


def _is_part(region: Region, area: Region | None) -> bool:
    """Say whether a name may begin with that region where an area is given: it is the area, lies in it, or holds it."""
    return (
        area is None or area.code in (region.code, region.province, region.prefecture) or area.province == region.code
    )


def _no_unit(name: str, year: int) -> Refusal | None:
    """Refuse what tables list among regions and is none: divisions of the XPCC, the counties of Ili proper, zones."""
    if not _MAYBE_NO_UNIT.search(name):
        return None
    if _CORPS.fullmatch(name):
        return refuse("corps", name=name)
    division = _DIVISION.fullmatch(name)
    if division:
        city = gazetteer().at(gazetteer().divisions[division[1]], year)
        return refuse("division", name=name) if city is None else refuse("division_of", name=name, city=city)
    if _ILI_PROPER.fullmatch(name):
        return refuse("ili_proper", name=name)
    return None


def _asked(area: Region | None, level: Level | None) -> Message | str:
    """Say what was asked for beside the name."""
    if area is not None and level is not None:
        return message("region.asked_both", area=str(area), level=message(f"level.{level}"))
    if area is not None:
        return message("region.asked_area", area=str(area))
    return "" if level is None else message("region.asked_level", level=message(f"level.{level}"))


def _find_spelling(
    name: str, year: int, area: Region | None, level: Level | None, *, are_areas: bool
) -> Region | Refusal:
    """Find the only unit of an area that has this spelling in pinyin; of areas, the only one of China."""
    found = [_find_whole(one, year, area, level, are_areas=are_areas) for one in read_spelling(name)]
    units = list(dict.fromkeys(one for one in found if isinstance(one, Region)))
    if len(units) == 1 and (area is not None or are_areas):
        return units[0]
    return refuse("letters", name=_shorten(name), known=units, year=year)


def _not_readable(name: str) -> Refusal | None:
    """Refuse names with characters that mean nothing: of a font's own, or of a wrong encoding."""
    if name.isalpha():
        return None
    strange = [letter for letter in name if unicodedata.category(letter) in ("Co", "Cn", "So")]
    if strange:
        return refuse(
            "unreadable", name=_shorten(name), letters=", ".join(f"U+{ord(letter):04X}" for letter in strange)
        )
    return None


def _shorten(name: str) -> str:
    return name if len(name) <= 40 else name[:40] + "…"


def _unknown(name: str, year: int, area: Region | None, level: Level | None) -> Refusal:
    shown = _shorten(name)
    if name.isdigit():
        return refuse("no_code", name=shown, year=year)
    zone = _ZONES.search(name)
    if zone and zone.end() == len(name):
        return refuse("zone", name=shown)
    near = rank_candidates(name, year, area, lambda region: _fits(region, None, level, year))
    return refuse("unknown", name=shown, year=year, asked=_asked(area, level), known=near)


UnitSpan = tuple[int, int, Region]
"""First and last year, and a unit."""


def spans_of_full_name(name: str, area: str | None, level: Level | None) -> list[UnitSpan]:
    """Return what a full name, alone or after the names of areas, means in an area, with the years.

    The only one of a year is what `find_region` finds; none are returned where that may not be so.
    """
    lists = gazetteer()
    inside = None
    if len(name) > _MOST:
        return []
    if area is not None:
        if area in lists.aliases or len({one.code for one in lists.areas.get(area, ())}) != 1:
            return []
        inside = [(one.valid_from, one.last, one) for one in lists.areas[area]]
    levels = ("county", "xpcc") if level == "county" else (level,)
    return [span for span in _full_names(name, inside) if level is None or span[2].level in levels]


def _full_names(name: str, inside: list[UnitSpan] | None) -> list[UnitSpan]:
    lists = gazetteer()
    if name in lists.by_name:
        found = [(one.valid_from, one.last, one) for one in lists.by_name[name] if one.name == name]
        return found if inside is None else _cut(found, inside)
    if name in lists.aliases or _MAYBE_NO_UNIT.search(name):
        return []
    for size in range(min(len(name) - 1, _LONGEST), 1, -1):
        if (known := lists.areas.get(name[:size])) is not None:
            heads = [(one.valid_from, one.last, one) for one in known]
            if inside is not None:
                heads = _cut(heads, inside, itself=True)
            if heads:
                return _full_names(name[size:].lstrip(_BETWEEN), heads)
    return []


def _cut(found: list[UnitSpan], inside: list[UnitSpan], *, itself: bool = False) -> list[UnitSpan]:
    """Keep the units that lie in one of the areas (or are it, with `itself`), in the years of both."""
    return [
        (max(first, start), min(last, end), one)
        for first, last, one in found
        for start, end, area in inside
        if (area.code in (one.province, one.prefecture) and area.code != one.code) or (itself and area is one)
    ]
