"""Wanted: the series that are asked for, and what is said of indicators by their names."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence

import pandas as pd

from evalkit.errors import SourceError, nearest
from evalkit.sources.yearbook.captions import known_unit
from evalkit.sources.yearbook.readings import Reading, Readings
from evalkit.sources.yearbook.whole import FileRead
from evalkit.sources.yearbook.words import fold_words, is_chinese, join_words, narrow


def find_wanted(columns: Mapping[str, str], indicators: list[str], where: str, *, lacks: bool) -> dict[str, str]:
    """Return the indicator of each column; without `columns`, every indicator under its own name."""
    names = {fold_words(name): name for name in indicators}
    wanted = {name: names.get(fold_words(indicator), indicator) for name, indicator in columns.items()}
    for indicator in wanted.values():
        if indicator not in indicators and fold_words(split_wanted(indicator)[0]) not in names and not lacks:
            raise SourceError(
                f"no table has the indicator '{indicator}'", where=where, remedy=nearest(indicator, indicators)
            )
    return wanted or {indicator: indicator for indicator in indicators}


def split_wanted(name: str) -> tuple[str, str | None]:
    """Split "B6N (EUR_HAB)" into the indicator and the unit in which it is wanted."""
    found = re.fullmatch(r"(.*\S)\s*\((.*)\)", name, re.DOTALL)
    return (found[1], found[2]) if found else (name, None)


def pick_readings(readings: Mapping[str, list[Reading]], said: str, where: str) -> list[Reading]:
    """Return the values of an indicator, or of "indicator (unit)" where no indicator is called so.

    Raises SourceError where the indicator has no values in that unit.
    """
    name, unit = split_wanted(said)
    if said in readings or unit is None or name not in readings:
        return readings.get(said, [])
    units = dict.fromkeys(str(one) for value in readings[name] for one in (value.unit, value.published[1]))
    found = [
        value
        for value in readings[name]
        if _squeeze(unit) in (_squeeze(str(value.unit)), _squeeze(str(value.published[1])))
    ]
    if not found:
        raise SourceError(f"no value of '{name}' is in '{unit}'", where=where, remedy=nearest(unit, list(units)))
    return found


def pick_rows(joined: pd.DataFrame, said: str, where: str) -> pd.DataFrame:
    """Return the rows of an indicator, or of "indicator (unit)"; raise SourceError for none, or for several units."""
    name, unit = split_wanted(said)
    rows = joined[joined["indicator"] == said]
    if rows.empty and unit is not None:
        rows = joined[joined["indicator"] == name]
        units = [*dict.fromkeys(rows["unit"])]
        rows = rows[[_squeeze(one) == _squeeze(unit) for one in rows["unit"]]]
        if rows.empty and units:
            raise SourceError(f"no value of '{name}' is in '{unit}'", where=where, remedy=nearest(unit, units))
    if titled := [one for one in dict.fromkeys(joined["indicator"]) if rows.empty and one.endswith(f" / {said}")]:
        raise SourceError(
            f"'{said}' stands under titles that differ, and no values link them",
            where=where,
            remedy=f"write one of {', '.join(map(repr, titled[:5]))}; or say that they are one: "
            + f"renamed={json.dumps(dict.fromkeys(titled[:5], said), ensure_ascii=False)}",
        )
    if rows.empty:
        remedy = "see why in load().unplaced, without columns="
        raise SourceError(f"'{said}' is joined for no region", where=where, remedy=remedy)
    if (units := [*dict.fromkeys(rows["unit"])])[1:]:
        raise SourceError(
            f"'{said}' is in {' and in '.join(units)}, of which neither is so many of the other",
            where=where,
            remedy=f'choose one by writing it behind the name: "{said} ({units[0]})"',
        )
    return rows


def with_units(table: Readings, asked: Collection[str], declared: Mapping[str, str]) -> list[Reading]:
    """Return the values of these indicators, with the units declared; raise SourceError where one contradicts the file."""
    found = []
    for value in table.values:
        if value.indicator not in asked:
            continue
        unit = declared.get(value.indicator)
        if unit and value.unit and _squeeze(value.unit) != _squeeze(unit):
            raise SourceError(
                f"the unit of '{value.indicator}' is '{value.unit}' in the file and '{unit}' in units=",
                where=value.page.place(value.row, value.column),
                remedy="leave it out of units= and of the sidecar, or say the unit of the table in a layout file",
            )
        found.append(value if value.unit or not unit else value._replace(unit=unit, published=(value.value, unit)))
    return found


def by_part(said: Mapping[str, str], read: FileRead) -> dict[str, str]:
    """Return what is said of units by indicator; what is said of a head is said of its parts that have no unit."""
    without = dict.fromkeys(one.indicator for table in read.tables for one in table.values if not one.unit)
    own = by_indicator(said, read.indicators)
    found = dict[str, str]()
    for name, unit in own.items():
        parts = [one for one in without if one.startswith(f"{name} / ") and one not in own]
        found |= dict.fromkeys(parts if parts and name not in read.indicators else [name], unit)
    return found


def by_indicator(said: Mapping[str, str], indicators: Sequence[str]) -> dict[str, str]:
    """Return what is said of indicators by their names as read, however the spaces and brackets in them were typed."""
    names = {fold_words(name): name for name in indicators}
    return {names.get(fold_words(name), name): value for name, value in said.items()}


def plain_units(units: Mapping[str, str]) -> dict[str, str]:
    return {indicator: plain_unit(unit) for indicator, unit in units.items()}


def plain_unit(unit: str) -> str:
    """Write a unit without spaces, but for those between words that are no unit of a yearbook: "constant 2015 US$"."""
    squeezed = _squeeze(narrow(unit))
    return squeezed if is_chinese(squeezed) or known_unit(squeezed) else join_words(narrow(unit))


def _squeeze(unit: str) -> str:
    return "".join(unit.split())
