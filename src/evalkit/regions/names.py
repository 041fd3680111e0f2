"""Regions: which unit a name in a yearbook meant in its year, and why a name means none."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from evalkit.catalogue import checked_language
from evalkit.errors import DataError, nearest
from evalkit.numerics.arrays import Ints
from evalkit.regions.refusals import Refusal, refuse
from evalkit.regions.registry import Level, Region, fold, gazetteer
from evalkit.regions.search import find_region, spans_of_full_name
from evalkit.tables.columns import name_rows, numbers
from evalkit.tables.contents import in_short, same_content

_LEVELS: tuple[Level, ...] = ("province", "prefecture", "county", "xpcc")


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
    found = find_region(fold(name), operator.index(year), None if within is None else fold(within), level)
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

    Most names are the full name of one unit, which is told for all years at once, and without the many calls of `find_region`.
    """
    lists = gazetteer()
    found = np.full(len(text), -1, dtype=np.int64)
    pair = text * (len(areas) + 1) + place
    order = np.argsort(pair, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(pair[order])) + 1) if len(order) else ():
        name = names[text[rows[0]]] if text[rows[0]] >= 0 else None
        spans = (
            []
            if name is None
            else spans_of_full_name(name, areas[place[rows[0]]] if place[rows[0]] >= 0 else None, level)
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
        unit = find_region(name, int(year[row]), areas[place[row]] if place[row] >= 0 else None, level)
        if isinstance(unit, Region):
            found[row] = lists.position[unit.code, unit.valid_from]
        else:
            refusals[row] = unit
    return found, refusals


def find_code(name: str, year: int, within: str | None, level: Level | None) -> str | None:
    """Return the code of a name in a year, or None where `resolve` would refuse it."""
    found = find_region(fold(name), year, None if within is None else fold(within), level)
    return found.code if isinstance(found, Region) else None


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
