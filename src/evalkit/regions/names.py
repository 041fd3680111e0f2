"""Regions: which unit a name in a yearbook meant in its year, and why a name means none."""

from __future__ import annotations

import operator
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd

from evalkit.catalogue import Message, checked_language, message
from evalkit.errors import DataError, nearest
from evalkit.numerics.arrays import Ints
from evalkit.regions.candidates import rank_candidates
from evalkit.regions.pinyin import read_spelling
from evalkit.regions.refusals import Refusal, follow, refuse, refuse_former, refuse_several
from evalkit.regions.registry import AREAS, FIRST, LAST, Level, Region, fold, gazetteer
from evalkit.regions.registry import lineage as lineage
from evalkit.regions.traditional import simplify
from evalkit.tables.columns import name_rows, numbers
from evalkit.tables.contents import in_short, same_content

_LEVELS: tuple[Level, ...] = ("province", "prefecture", "county", "xpcc")
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
    r"矿区管理局|农场|牧场|林场|团场|林业局|街道|办事处|行政委员会|管委会筹备处|西沙群岛|南沙群岛|中沙群岛的岛礁及其海域|"
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


@dataclass(frozen=True, eq=False)
class ResolvedColumn:
    """The codes of a column of names, on its index, missing where a name was refused; a report; and its row for each name (n,).

    `report` has one row for each name, year and area: name, year, within, rows, code, region, level, list, reason, problem,
    remedy. `list` is the year of the list that has the unit: that year, or the one before (see `resolve`); 0 where refused.
    `reason` is a `RefusalReason`, the same in every language; it, problem and remedy are empty where the name was resolved; code,
    region and level are where it was not.
    """

    codes: pd.Series
    report: pd.DataFrame
    lines: Ints

    __eq__ = same_content
    __repr__ = in_short


def resolve(name: str, *, year: int, within: str | None = None, level: Level | None = None, where: str = "") -> Region:
    """Find the region that a name meant in a year, as in the list of that year's 31 December.

    A full name or code that this list has no more, and the list before had, is that of the unit until it was renamed, upgraded or
    merged in the course of the year: lists and tables as of the middle of a year have it.

    `name` is a full name, a short name in use (昌吉州, 木垒县), a bare name (玛纳斯), a code, or units from the larger to the
    smaller in one (昌吉州玛纳斯县, 北京市市辖区东城区); spaces, invisible characters, full width and traditional characters do
    not matter. Within a province or prefecture pinyin is read, too (Changji Shi, Yutian County), if only one unit is spelled so.
    `within` names the province or prefecture that it lies in, `level` says of which level it is; both decide between namesakes.
    The cities of the XPCC are county-level units, and so is a prefecture-level city without counties (东莞市) where
    `level="county"`. `where` names the place in errors. Raises DataError for totals, zones and whatever is no unit; for names of
    another year, saying which name the unit then had; for names that several units of China can be short for, naming them; and
    for unknown names, naming the nearest, those of the same area and province first.
    """
    if level is not None and level not in _LEVELS:
        raise DataError(f"there is no level '{level}'", where="level", remedy=nearest(level, _LEVELS))
    found = _find(fold(name), operator.index(year), None if within is None else fold(within), level)
    if isinstance(found, Region):
        return found
    raise DataError(str(found.what), where=where or f"region '{name}' of {year}", remedy=str(found.remedy))


def resolve_column(
    names: pd.Series,
    years: pd.Series | int,
    *,
    within: pd.Series | str | None = None,
    level: Level | None = None,
    language: str = "en",
) -> ResolvedColumn:
    """Find the code of each name in its year; report what each name and year is, or why it was refused (see `resolve`).

    `names` (n,) is text, `years` (n,) whole numbers in the same order, or one year for all; `within` (n,) names the province or
    prefecture of each row (a missing one says nothing), or is one for all. Names are refused in the report, in this language,
    not raised. Raises DataError for another number of years or areas than names, and for a year that is no whole number.
    """
    checked_language(language)
    if level is not None and level not in _LEVELS:
        raise DataError(f"there is no level '{level}'", where="level", remedy=nearest(level, _LEVELS))
    year = _whole_years(years, names)
    texts, labels = pd.factorize(names.to_numpy(dtype=object))
    places, areas = _read_areas(within, names)
    keys = pd.DataFrame({"text": texts, "place": places, "year": year})
    group = keys.groupby(["text", "place", "year"], sort=False).ngroup().to_numpy()
    _, first, rows = np.unique(group, return_index=True, return_counts=True)
    text, place, at = texts[first], places[first], year[first]
    unit, refusals = _look_up(
        text, place, at, [fold(one) if isinstance(one, str) else None for one in labels], areas, level
    )
    held = gazetteer().table.take(unit)
    said = [(one.reason, one.what.text(language), one.remedy.text(language)) for one in refusals.values()]
    which = np.full(len(unit), -1)
    which[[*refusals]] = np.arange(len(refusals))
    report = pd.DataFrame(
        {
            "name": pd.Series(np.array([*labels, None], dtype=object)[text], dtype=object),
            "year": at,
            "within": pd.array([*areas, ""], dtype="str").take(place),
            "rows": rows,
            **{name: held[name].array for name in ("code", "region", "level")},
            "list": np.where(unit < 0, 0, np.minimum(at, held["last"])),
            **{
                name: pd.array([*(one[i] for one in said), ""], dtype="str").take(which)
                for i, name in enumerate(("reason", "problem", "remedy"))
            },
        }
    )
    codes = report["code"].replace("", pd.NA).take(group)
    return ResolvedColumn(codes.set_axis(names.index), report, group.astype(np.int64))


def _look_up(
    text: Ints, place: Ints, year: Ints, names: Sequence[str | None], areas: Sequence[str], level: Level | None
) -> tuple[Ints, dict[int, Refusal]]:
    """Find names (n,), numbered as in `names`, in their areas and years: the position of each among all units, -1 and why not.

    Most names are the full name of one unit, which is told for all years at once, and without the many calls of `_find`.
    """
    lists = gazetteer()
    found = np.full(len(text), -1, dtype=np.int64)
    pair = text * (len(areas) + 1) + place
    order = np.argsort(pair, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(pair[order])) + 1) if len(order) else ():
        name = names[text[rows[0]]] if text[rows[0]] >= 0 else None
        spans = (
            [] if name is None else _with_full_name(name, areas[place[rows[0]]] if place[rows[0]] >= 0 else None, level)
        )
        times = np.zeros(len(rows), dtype=np.int64)
        for start, end, one in spans:
            then = (start <= year[rows]) & (year[rows] <= end)
            times += then
            found[rows[then]] = lists.position[one.code, one.valid_from]
        found[rows[times != 1]] = -1
    refusals: dict[int, Refusal] = {}
    for row in np.flatnonzero(found < 0).tolist():
        name = names[text[row]] if text[row] >= 0 else None
        if name is None:
            refusals[row] = refuse("missing" if text[row] < 0 else "no_text")
            continue
        unit = _find(name, int(year[row]), areas[place[row]] if place[row] >= 0 else None, level)
        if isinstance(unit, Region):
            found[row] = lists.position[unit.code, unit.valid_from]
        else:
            refusals[row] = unit
    return found, refusals


_Span = tuple[int, int, Region]
"""First and last year, and a unit."""


def _with_full_name(name: str, area: str | None, level: Level | None) -> list[_Span]:
    """Return what a full name, alone or after the names of areas, means in an area, with the years.

    The only one of a year is what `_find` finds; none are returned where that may not be so.
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


def _full_names(name: str, inside: list[_Span] | None) -> list[_Span]:
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


def _cut(found: list[_Span], inside: list[_Span], *, itself: bool = False) -> list[_Span]:
    """Keep the units that lie in one of the areas (or are it, with `itself`), in the years of both."""
    return [
        (max(first, start), min(last, end), one)
        for first, last, one in found
        for start, end, area in inside
        if (area.code in (one.province, one.prefecture) and area.code != one.code) or (itself and area is one)
    ]


def find_code(name: str, year: int, within: str | None, level: Level | None) -> str | None:
    """Return the code of a name in a year, or None where `resolve` would refuse it."""
    found = _find(fold(name), year, None if within is None else fold(within), level)
    return found.code if isinstance(found, Region) else None


def is_no_unit(name: str) -> bool:
    """Tell what tables list among regions and is none: totals and headings, the XPCC and its divisions."""
    folded = fold(name)
    return bool(folded) and (folded in _TOTALS or _no_unit(folded, LAST) is not None)


def _read_areas(within: pd.Series | str | None, names: pd.Series) -> tuple[Ints, list[str]]:
    """Return the number of the area of each row, -1 for none, and the folded names of the areas."""
    if within is None:
        return np.full(len(names), -1, dtype=np.int64), []
    if isinstance(within, str):
        return np.zeros(len(names), dtype=np.int64), [fold(within)]
    if len(within) != len(names):
        raise DataError(
            f"there are {len(names)} names and {len(within)} areas",
            where="resolve_column",
            remedy="give one area per name, or one for all",
        )
    places, labels = pd.factorize(within.to_numpy(dtype=object))
    areas = [fold(str(label)) for label in labels]
    is_blank = np.array([not area for area in areas] + [True], dtype=bool)
    return np.where(is_blank[places], -1, places).astype(np.int64), areas


def _whole_years(years: pd.Series | int, names: pd.Series) -> Ints:
    if not isinstance(years, pd.Series):
        return np.full(len(names), operator.index(years), dtype=np.int64)
    if len(years) != len(names):
        raise DataError(
            f"there are {len(names)} names and {len(years)} years",
            where="resolve_column",
            remedy="give one year per name",
        )
    frame = years.to_frame("year")
    values = numbers(frame, "year")
    wrong = ~np.isfinite(values) | (values != np.floor(values))
    if wrong.any():
        raise DataError(
            f"the year is missing or not a whole number in {int(wrong.sum())} rows",
            where=name_rows(frame, wrong, "year"),
            remedy="a name means a region only in a year: fill the years in",
        )
    return values.astype(np.int64)


@lru_cache(maxsize=1 << 16)
def _find(name: str, year: int, within: str | None, level: Level | None) -> Region | Refusal:
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
    if len(then) == 1:
        return _unless_former(name, year, then[0], fits)
    if then:
        return refuse_several(name, year, then)
    if len(other) == 1:
        return other[0]
    ended = [region for region in fits if region.last == year - 1 and name in (region.name, region.code)]
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
