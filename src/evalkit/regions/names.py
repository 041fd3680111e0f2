"""Regions: which unit a name in a yearbook meant in its year, and what became of it."""

from __future__ import annotations

import difflib
import operator
import re
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd

from evalkit.errors import DataError, nearest
from evalkit.numerics.arrays import Ints
from evalkit.regions.registry import FIRST, LAST, Level, Region, bare, fold, gazetteer, list_regions
from evalkit.regions.registry import lineage as lineage
from evalkit.tables.columns import name_rows, numbers
from evalkit.tables.contents import in_short, same_content

_LEVELS: tuple[Level, ...] = ("province", "prefecture", "county", "xpcc")
_WITH_COUNTIES = "650000"  # the province whose county-level units are in the lists
_SUMS = frozenset("全国 全国总计 全国合计 合计 总计 小计 共计 全省 全区 全市 全州 全县 全疆".split())
_TOTALS = _SUMS | frozenset(
    "平均 其他 其它 东部 中部 西部 东部地区 中部地区 "
    "西部地区 东北地区 南疆 北疆 东疆 市辖区 县级市 省直辖县级行政区划 省直辖县级行政单位 自治区直辖县级行政区划 "
    "自治区直辖县级行政单位".split()
)
_CORPS = re.compile(r"(?:新疆)?(?:生产建设)?兵团(?:本级|合计|直属)?")
_DIVISION = re.compile(
    r"(?:(?:新疆)?(?:生产建设)?兵团)?(?:农业建设第|农|第)?(十[一二三四]|[一二三四五六七八九十])师(?:.{2,5}市)?"
)
_ILI_PROPER = re.compile(r"伊犁(?:哈萨克自治)?州直(?:属|辖)?(?:县|市|县市|县\(市\)|县、市)?")


def is_sum(name: str) -> bool:
    """Tell the name of a row that adds others up, such as 合计, 全省 or Total, from that of a unit."""
    return fold(name) in _SUMS or name.strip().casefold() in ("total", "grand total", "sum")


@dataclass(frozen=True, eq=False)
class ResolvedColumn:
    """The codes of a column of names, on its index, missing where a name was refused; and a report.

    `report` has one row for each name and year: name, year, rows, code, region, level, problem, remedy. Problem and remedy are
    empty where the name was resolved; code, region and level are where it was not.
    """

    codes: pd.Series
    report: pd.DataFrame

    __eq__ = same_content
    __repr__ = in_short


@dataclass(frozen=True)
class _Refusal:
    what: str
    remedy: str


def resolve(name: str, *, year: int, within: str | None = None, level: Level | None = None, where: str = "") -> Region:
    """Find the region that a name meant in a year, as in the list of that year's 31 December.

    `name` is a full name, a short name in use (昌吉州, 木垒县), a bare name (玛纳斯) or a code; spaces and full width do not
    matter. `within` names the province or prefecture that it lies in, `level` says of which level it is; both decide between
    namesakes. `where` names the place in errors. Raises DataError for totals; for names of another year, saying which name the
    unit then had; for names that several units of China can be short for, naming them; and for unknown names, naming the nearest.
    """
    if level is not None and level not in _LEVELS:
        raise DataError(f"there is no level '{level}'", where="level", remedy=nearest(level, _LEVELS))
    levels = _LEVELS if level is None else (level,)
    found = _find(fold(name), operator.index(year), None if within is None else fold(within), levels)
    if isinstance(found, Region):
        return found
    raise DataError(found.what, where=where or f"region '{name}' of {year}", remedy=found.remedy)


def resolve_column(
    names: pd.Series, years: pd.Series | int, *, within: str | None = None, level: Level | None = None
) -> ResolvedColumn:
    """Find the code of each name in its year; report what each name and year is, or why it was refused.

    `names` (n,) is text, `years` (n,) whole numbers in the same order, or one year for all. Names are refused in the report, not
    raised. Raises DataError for another number of years than names, and for a year that is missing or not a whole number.
    """
    year = _whole_years(years, names)
    texts, labels = pd.factorize(names.to_numpy(dtype=object))
    group = pd.DataFrame({"text": texts, "year": year}).groupby(["text", "year"], sort=False).ngroup().to_numpy()
    _, first, rows = np.unique(group, return_index=True, return_counts=True)
    lines = []
    for position, count in zip(first.tolist(), rows.tolist(), strict=True):
        text = labels[texts[position]] if texts[position] >= 0 else None
        lines.append((text, int(year[position]), count, *_report(text, int(year[position]), within, level)))
    columns = ["name", "year", "rows", "code", "region", "level", "problem", "remedy"]
    report = pd.DataFrame(lines, columns=columns).astype(dict.fromkeys(columns[3:], "str"))
    codes = report["code"].replace("", pd.NA).take(group)
    return ResolvedColumn(codes.set_axis(names.index), report)


def is_no_unit(name: str) -> bool:
    """Tell what tables list among regions and is none: totals and headings, the XPCC and its divisions."""
    folded = fold(name)
    return bool(folded) and _no_unit(folded, LAST) is not None


def _whole_years(years: pd.Series | int, names: pd.Series) -> Ints:
    if isinstance(years, int):
        return np.full(len(names), years, dtype=np.int64)
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


def _report(text: object, year: int, within: str | None, level: Level | None) -> tuple[str, str, str, str, str]:
    if not isinstance(text, str):
        return "", "", "", "the name is missing" if text is None else "the name is not text", "write the region's name"
    try:
        region = resolve(text, year=year, within=within, level=level)
    except DataError as refusal:
        return "", "", "", refusal.what, refusal.remedy
    return region.code, region.name, region.level, "", ""


@lru_cache(maxsize=1 << 17)
def _find(name: str, year: int, within: str | None, levels: tuple[Level, ...]) -> Region | _Refusal:
    """Find the one unit of that name, year, area and levels, or say why there is none or not one."""
    if not FIRST <= year <= LAST:
        return _Refusal(f"there is no list of regions for {year}", f"names can be looked up from {FIRST} to {LAST}")
    refusal = _no_unit(name, year)
    if refusal is not None:
        return refusal
    area = _find(within, year, None, ("province", "prefecture")) if within is not None else None
    if isinstance(area, _Refusal):
        return _Refusal(f"the area is not clear: {area.what}", area.remedy)
    lists = gazetteer()
    held, elsewhere = lists.by_code.get(name, lists.by_name.get(name, ())), lists.elsewhere.get(name, ())
    fits = [region for region in (*held, *elsewhere) if _lies_in(region, area) and region.level in levels]
    then = [region for region in fits if region.is_valid(year)]
    if len(then) > 1:
        listing = ", ".join(_placed(region, year) if region in elsewhere else str(region) for region in then)
        return _Refusal(
            f"'{name}' of {year} can be {listing}",
            "write the full name, or say in which province or prefecture it lies (within=…) or of which level it is (level=…)",
        )
    if then and then[0] in elsewhere:
        return _Refusal(
            f"'{name}' is the county-level unit {_placed(then[0], year)} in {year}, which these lists do not hold",
            f"they hold the county-level units of {lists.at(_WITH_COUNTIES, year)}: use another source for its code",
        )
    if then:
        return then[0]
    fits = [region for region in fits if region not in elsewhere]
    if fits:
        return _of_another_year(year, fits)
    namesakes = [region for region in held if region.is_valid(year)]
    asked = (f" in {area}" if area is not None else "") + (f" of level {levels[0]}" if len(levels) == 1 else "")
    if namesakes:
        lie = ", ".join(f"{_placed(region, year)}, level {region.level}" for region in namesakes)
        return _Refusal(f"there is no '{name}'{asked} in {year}", f"there is {lie}: correct what was asked for")
    return _unknown(name, year, area, levels, asked)


def _no_unit(name: str, year: int) -> _Refusal | None:
    """Refuse what tables list among regions and is none: totals, divisions of the XPCC, the counties of Ili proper."""
    if not name:
        return _Refusal("the name is empty", "write the region's name")
    if name in _TOTALS:
        return _Refusal(
            f"'{name}' is a total or a heading, not a region", "leave the row out, or check the sum with it"
        )
    if _CORPS.fullmatch(name):
        return _Refusal(
            f"'{name}' is the XPCC, which has no code in GB/T 2260", "keep it apart under a name of your own"
        )
    division = _DIVISION.fullmatch(name)
    if division:
        city = gazetteer().at(gazetteer().divisions[division[1]], year)
        return _Refusal(
            f"'{name}' is a division of the XPCC, which has no code in GB/T 2260"
            + (f" and is not its city {city}" if city else ""),
            "keep it apart under a name of your own"
            + (f", or write {city.name} if the row is the city's" if city else ""),
        )
    if _ILI_PROPER.fullmatch(name):
        return _Refusal(
            f"'{name}' is 伊犁哈萨克自治州 without 塔城地区 and 阿勒泰地区, which has no code of its own",
            "write 伊犁哈萨克自治州 if no row of the table is the whole prefecture, and say so in the notes",
        )
    return None


def _lies_in(region: Region, area: Region | None) -> bool:
    return area is None or (region != area and area.code in (region.province, region.prefecture))


def _placed(region: Region, year: int) -> str:
    """Name a unit with the units that it lies in."""
    lists = gazetteer()
    above = [lists.at(code, year) for code in (region.province, region.prefecture) if code and code != region.code]
    return f"{region} in {' '.join(unit.name for unit in above if unit is not None)}" if any(above) else str(region)


def _of_another_year(year: int, fits: list[Region]) -> _Refusal:
    """Say what the unit of this name was called in the year: the one nearest in time, where several had the name."""
    region = min(fits, key=lambda one: min(abs(year - one.valid_from), abs(year - (one.valid_to or LAST))))
    ended = region.valid_to is not None and region.valid_to < year
    line = lineage(region.code, region.valid_to if ended and region.valid_to else region.valid_from, year)
    if not line.end:
        return _Refusal(
            f"{region} is {region.span}; from which units it was made is not recorded",
            "leave the row out, or correct the year",
        )
    what = (
        f"{region} is {region.span}; in {year} its territory {'lies' if ended else 'lay'} in {list_regions(line.end)}"
    )
    if line.same_territory:
        return _Refusal(f"{what} ({line.causes})", f"write {line.end[0].name}, or correct the year")
    return _Refusal(
        f"{what} ({line.causes})", "the units are not the same: add up what belongs together, or end the series"
    )


def _unknown(name: str, year: int, area: Region | None, levels: tuple[Level, ...], asked: str) -> _Refusal:
    lists = gazetteer()
    ranked = [
        region
        for key in _similar(name)
        for region in lists.by_name[key]
        if region.is_valid(year) and _lies_in(region, area) and region.level in levels
    ]
    found = list(dict.fromkeys(ranked))[:3]
    held = f"the lists hold provinces, prefectures and the county-level units of {lists.at(_WITH_COUNTIES, year)}"
    return _Refusal(
        f"'{name if len(name) <= 40 else name[:40] + '…'}' is no known region{asked} in {year}",
        f"the nearest: {list_regions(found)}; {held}" if found else held,
    )


@lru_cache(maxsize=1 << 14)
def _similar(name: str) -> tuple[str, ...]:
    """Rank the known names that share at least half of their characters with this one, kinds of unit apart."""
    letters = set(bare(name))
    near = [key for key in gazetteer().by_name if 2 * len(letters & set(key)) >= len(letters)]
    return tuple(difflib.get_close_matches(name, near, n=12, cutoff=0.5))
