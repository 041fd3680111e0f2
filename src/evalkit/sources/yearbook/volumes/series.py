"""The series of a yearbook: one indicator of one region over many volumes, joined where these agree or a splice is declared."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import pandas as pd

from evalkit.auditing.published import Published, read_published
from evalkit.auditing.volumes import find_power
from evalkit.errors import SourceError
from evalkit.sources.files.columns import check_known, write_number
from evalkit.sources.yearbook.volumes.choice import (
    NEWEST,
    Splice,
    Taken,
    choose_rows,
    find_ends,
    find_splices,
    leave_alike,
)
from evalkit.sources.yearbook.volumes.disagreements import (
    frame_rows,
    list_disagreements,
    list_renames,
    list_splices,
)
from evalkit.sources.yearbook.volumes.titles import qualify_names, spell_alike
from evalkit.tables.table import Table
from evalkit.tables.units import unit_ratio


@dataclass(frozen=True)
class JoinedVolumes:
    """Series over volumes. `frame` has one row per region, year and indicator, with columns as the long table of a volume, and
    "also": the other cells that print the same value. `unjoined` lists values that are not in it: file, sheet, cell, text, why.
    """

    frame: pd.DataFrame
    unjoined: pd.DataFrame
    disagreements: pd.DataFrame
    notes: list[str]


def join_volumes(
    tables: Sequence[Table],
    *,
    region: str,
    time: str,
    splice: Mapping[str, str | int],
    convert: Mapping[str, str],
    where: str,
    named: Collection[str] = (),
    renamed: Mapping[str, str] | None = None,
    is_wide: bool = False,
) -> JoinedVolumes:
    """Join the long tables of volumes, each with a column "table" (its title).

    Values of one region, year and indicator that agree to the rounding of both are one value, the one with most digits and of
    these the newest volume's. Where any two do not, the series of the region is not joined unless `splice` names its indicator:
    with "newest" each year is taken from the newest volume that prints it; with a year, that and later years so, and earlier
    ones from the oldest volume. Volumes are ranked by their last year with a number, then by the last year in their names; two of
    one rank that disagree cannot be spliced.

    An indicator under titles that are unlike, and that no values link, is called by title and name, and so is a name that alone
    does not say what is counted (合计) where the titles differ, or what `named` or `renamed` have so. Values are in the unit of
    the newest volume, or that of `convert`. What would be two rows of one region (in the long table: and code) and year is left
    out and listed, and so are totals (合计) of several areas.
    """
    renamed = renamed or {}
    tables = spell_alike(qualify_names(tables, {*named, *renamed, *splice, *convert}, renamed, region, time))
    data = read_published(tables, region, time, by_name=True)
    # Names that say nothing alone stand under one title here, so that they compare as others do.
    data = replace(data, kinds=tuple(replace(kind, is_generic=False) for kind in data.kinds))
    own = pd.concat([table.frame.reset_index(drop=True) for table in tables], ignore_index=True)
    names = np.array([data.kinds[code].indicator for code in data.series.tolist()], dtype=object)
    known = [kind.indicator for kind in data.kinds]
    for said, setting in ((splice, "splice="), (convert, "convert=")):
        check_known(said, known, where, setting, noun="indicator")
    choice = choose_rows(data, [splice.get(str(kind.indicator)) for kind in data.kinds])
    frame = _name_regions(own.assign(indicator=names), data, region)
    choice, alike = leave_alike(data, choice, frame[region], with_codes=not is_wide)
    splices = find_splices(data, choice)
    frame = _in_one_unit(frame.assign(also=_list_others(data, choice)), data, convert).take(choice.taken)
    frame.index = pd.Index(write_sources(frame), name="row", dtype="str")
    disagreements = frame_rows(
        [*list_disagreements(own, data, choice), *list_splices(data, splices), *list_renames(data)]
    )
    return JoinedVolumes(
        frame.drop(columns="table"),
        _list_unjoined(own, data, choice, alike),
        disagreements,
        _describe(data, choice, splices, alike),
    )


def write_sources(frame: pd.DataFrame) -> list[str]:
    """Name the source of each row of a long table: file, sheet and cell."""
    parts = zip(frame["file"], frame["sheet"], frame["cell"], strict=True)
    return [f"{file} {cell}" if pd.isna(sheet) else f"{file} {sheet}!{cell}" for file, sheet, cell in parts]


def _list_others(data: Published, choice: Taken) -> list[str]:
    """Name for each row the other cells that print its value."""
    same = choice.order[~choice.is_left[choice.order]]
    others: dict[int, list[str]] = {}
    for row in same[choice.chosen[same] != same].tolist():
        others.setdefault(int(choice.chosen[row]), []).append(data.place_of(row))
    return ["; ".join(others.get(row, ())) for row in range(len(data))]


def _in_one_unit(frame: pd.DataFrame, data: Published, convert: Mapping[str, str]) -> pd.DataFrame:
    """Express values in the unit asked for, else in that of the newest volume: the number as printed times a fraction."""
    wanted = np.array([convert.get(one.indicator, one.unit) for one in data.kinds], dtype=object)[data.series]
    value, unit = frame["value"].to_numpy(dtype=np.float64).copy(), frame["unit"].to_numpy(dtype=object).copy()
    for row in np.flatnonzero(unit != wanted).tolist():
        ratio = unit_ratio(str(unit[row]), str(wanted[row]), where=data.place_of(row))
        if math.isfinite(value[row]):
            value[row] = float(Fraction(repr(float(value[row]))) * ratio)
        unit[row] = wanted[row]
    return frame.assign(value=value, unit=pd.array(unit, dtype="str"))


def _name_regions(frame: pd.DataFrame, data: Published, region: str) -> pd.DataFrame:
    """Call a region as its newest volume does."""
    order = np.lexsort([np.arange(len(data)), -data.newness[data.volume]])
    newest, _ = find_ends(data.place, order)
    return frame.assign(**{region: frame[region].array.take(newest)})


def _list_unjoined(
    own: pd.DataFrame, data: Published, choice: Taken, alike: Mapping[int, tuple[int, int]]
) -> pd.DataFrame:
    """List the numbers that stand in no series: of lines that are not joined, and those that a splice leaves out."""
    left = np.sort(choice.order[~choice.is_joined[choice.order] | choice.is_left[choice.order]])
    example = {int(choice.line[row]): row for row in np.flatnonzero(choice.differs)[::-1].tolist()}
    title = own["table"].to_numpy(dtype=object)
    why = []
    for row in left.tolist():
        if choice.is_joined[row]:
            why.append(f"{_say_both(data, row, int(choice.chosen[row]))}, and splice= takes the other")
            continue
        if pair := alike.get(int(choice.line[row])):
            why.append(
                f"'{data.indicator(row)}' of {data.region(row)} is of different regions or totals of one name in "
                f"{data.place_of(pair[0])} and {data.place_of(pair[1])}: read the files of one area only"
            )
            continue
        other = row if choice.differs[row] else example[int(choice.line[row])]
        newest = int(choice.newest[other])
        said = f"{_say_both(data, other, newest)}, so that the volumes are not joined for this region"
        if title[other] != title[newest]:
            said += f"; they stand under '{title[other]}' and '{title[newest]}': read the files of one table only"
        elif data.volume[other] == data.volume[newest]:
            said += "; both stand in one file: find out what each counts, and read its sheets by sheets=, or leave out renamed="
        elif data.newness[data.volume[other]] == data.newness[data.volume[newest]]:
            said += "; neither volume is known to be the newer one: leave one of them out"
        elif power := find_power(data, other, newest):
            said += f", the same digits a factor of 10^{abs(power)} apart: one of the units is wrong, correct it in a layout"
        else:
            said += f'; splice={{"{data.indicator(other)}": "{NEWEST}"}} takes each year from the newest volume'
        why.append(said)
    columns: dict[str, object] = {name: own[name].take(left).array for name in ("file", "sheet", "cell")}
    columns["text"] = pd.array([write_number(float(data.value[row])) for row in left.tolist()], dtype="str")
    columns["why"] = pd.array(why, dtype="str")
    return pd.DataFrame(columns)


def _say_both(data: Published, row: int, other: int) -> str:
    said = [f"{_write(data, one)} in {data.place_of(one)}" for one in (row, other)]
    return f"'{data.indicator(row)}' of {data.region(row)} in {int(data.year[row])} is {' and '.join(said)}"


def _write(data: Published, row: int) -> str:
    return f"{data.value[row]:.12g} {data.unit(row)}".rstrip()


def _describe(data: Published, choice: Taken, splices: Sequence[Splice], alike: Collection[int]) -> list[str]:
    """Say how much was joined, what was not, and where series were spliced."""
    lines = int(choice.line.max(initial=-1)) + 1
    joined = int(np.unique(choice.line[choice.is_joined]).size)
    several = choice.order[(choice.newest[choice.order] != choice.order) & ~choice.differs[choice.order]]
    notes = [
        f"{len(np.unique(data.volume))} volumes joined to {joined} series of one region and indicator; "
        f"{len(several)} values stand in several volumes and agree to rounding"
    ]
    if alike:
        notes.append(f"{len(alike)} series of totals, or of regions, that have one name and are not one are left out")
    if lines > joined + len(alike):
        left = choice.order[~choice.is_joined[choice.order] & ~np.isin(choice.line[choice.order], list(alike))]
        named = dict.fromkeys(data.indicator(row) for row in left.tolist())
        notes.append(
            f"{lines - joined - len(alike)} series are not joined because their volumes disagree: {', '.join(list(named)[:5])}"
            + (", …" if len(named) > 5 else "")
        )
    if alone := _count_unlinked(data, choice):
        notes.append(f"{alone} series go over to a volume that shares no year with the one before")
    for name in dict.fromkeys(data.indicator(one.row) for one in splices):
        years = sorted({one.year for one in splices if data.indicator(one.row) == name})
        number = sum(data.indicator(one.row) == name for one in splices)
        notes.append(f"'{name}' is spliced in {', '.join(map(str, years))} ({number} times over all regions)")
    return notes


def _count_unlinked(data: Published, choice: Taken) -> int:
    """Count series in which a volume follows one with which it has no year in common."""
    rows = choice.order
    spans = pd.DataFrame({"line": choice.line[rows], "volume": data.volume[rows], "year": data.year[rows]})
    ends = (
        spans.groupby(["line", "volume"])["year"].agg(["min", "max"]).reset_index().sort_values(["line", "min", "max"])
    )
    reach = ends.groupby("line")["max"].cummax().groupby(ends["line"]).shift()
    apart = ends["line"][reach.notna() & (ends["min"] > reach)]
    return int(apart.nunique())


def make_wide_series(
    picked: Mapping[str, pd.DataFrame], region: str, time: str, where: str
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return one row per region and year with a column for each of the series, and the sources of its values beside.

    Rows stand in the order of the regions, then of the years; the index is the source of the first value of the row. Raises
    SourceError where two regions have one name.
    """
    for rows in picked.values():
        twice = rows.duplicated([region, time]).to_numpy()
        if twice.any():
            one = rows[twice].iloc[0]
            both = rows.index[((rows[region] == one[region]) & (rows[time] == one[time])).to_numpy()]
            raise SourceError(
                f"two regions are called '{one[region]}', in {' and '.join(both)}",
                where=where,
                remedy="load the long table, without columns=, and tell them apart by region_code",
            )
    keys = pd.concat([rows[[region, time]] for rows in picked.values()]).drop_duplicates()
    places = {name: i for i, name in enumerate(dict.fromkeys(keys[region]))}
    keys = keys.iloc[np.lexsort([keys[time].to_numpy(), keys[region].map(places).to_numpy()])].reset_index(drop=True)
    at = pd.MultiIndex.from_frame(keys)
    values, sources = keys.copy(), keys.copy()
    for name, rows in picked.items():
        found = rows.assign(source=rows.index).set_index([region, time])
        values[name] = found["value"].reindex(at).to_numpy(dtype=np.float64)
        sources[name] = found["source"].reindex(at).astype("str").array
    first = sources[list(picked)].bfill(axis=1).iloc[:, 0]
    index = pd.Index(first.to_numpy(dtype=object), name="row", dtype="str")
    return values.set_axis(index, axis=0), sources.set_axis(index, axis=0)
