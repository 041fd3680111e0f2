"""The series of a yearbook: one indicator of one region over many volumes, joined where these agree or a splice is declared."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pandas as pd

from evalkit.auditing.published import GENERIC, REGION, Published, read_published, row_codes, try_ratio
from evalkit.auditing.remark import Remark
from evalkit.auditing.volumes import agree_to_rounding, check_volumes, find_power
from evalkit.catalogue import LANGUAGES, Message, message
from evalkit.errors import SourceError
from evalkit.numerics.arrays import Flags, Ints
from evalkit.sources.files.columns import check_known, write_number
from evalkit.sources.yearbook.words import fold_words
from evalkit.tables.table import Table
from evalkit.tables.units import unit_ratio

NEWEST = "newest"
"""What splice= says to take each year from the newest volume that prints it."""

DISAGREEMENTS = (
    *("kind", "region", "year", "indicator", "value", "unit", "other", "change", "joined", "file", "sheet", "cell"),
    *("against", "sentence_en", "sentence_zh"),
)
_LISTED = 5  # names that a sentence lists
_MOST_NAMES = 400  # indicators that are compared with one another by their words
_ALIKE = 0.6  # of two names of one thing, by difflib
_EMPTY_WORDS = re.compile("(?:19|20)[0-9]{2}年?|中国|全国|各地区|分地区|按地区|统计|情况|主要|数据|[0-9]")
_ALIKE_TITLES = 0.75  # the same of titles: 申请受理数 and 申请授权数 are less
_ROUNDED, _MOSTLY = 0.01, 0.8  # how near values are that link two titles, and how many of those that both print


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
    tables = _spell_alike(_qualify(tables, {*named, *renamed, *splice, *convert}, renamed, region, time))
    data = read_published(tables, region, time, by_name=True)
    # Names that say nothing alone stand under one title here, so that they compare as others do.
    data = replace(data, kinds=tuple(replace(kind, is_generic=False) for kind in data.kinds))
    own = pd.concat([table.frame.reset_index(drop=True) for table in tables], ignore_index=True)
    names = np.array([data.kinds[code].indicator for code in data.series.tolist()], dtype=object)
    known = [kind.indicator for kind in data.kinds]
    for said, setting in ((splice, "splice="), (convert, "convert=")):
        check_known(said, known, where, setting, noun="indicator")
    choice = _choose(data, [splice.get(str(kind.indicator)) for kind in data.kinds])
    frame = _name_regions(own.assign(indicator=names), data, region)
    choice, alike = _leave_alike(data, choice, frame[region], with_codes=not is_wide)
    splices = _find_splices(data, choice)
    frame = _in_one_unit(frame.assign(also=_list_others(data, choice)), data, convert).take(choice.taken)
    frame.index = pd.Index(write_sources(frame), name="row", dtype="str")
    disagreements = _as_frame(
        [*_list_disagreements(own, data, choice), *_list_splices(data, splices), *_list_renames(data)]
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


def _qualify(
    tables: Sequence[Table], named: Collection[str], renamed: Mapping[str, str], region: str, time: str
) -> list[Table]:
    """Put the title before the name of an indicator that stands under titles of several tables, or that is `named` so.

    A name that does not say what is counted stands under several where the titles differ; any other, where they are unlike and no
    values link them (see `_link_titles`).
    """
    said = {fold_words(one) for one in named}
    whole = pd.concat([table.frame for table in tables], ignore_index=True)
    titles: dict[tuple[str, str], str] = {}
    for name, rows in whole[whole["table"] != ""].groupby("indicator", sort=False):
        own = [*dict.fromkeys(rows["table"])]
        groups = [[one] for one in own] if is_generic(str(name)) else _link_titles(own, rows, region, time)
        asked = {one for one in own if fold_words(f"{one} / {name}") in said}
        if len(groups) > 1 or asked:
            for group in groups:
                called = min(group, key=lambda one: (one not in asked, len(one)))
                if called != name:
                    titles |= {(str(name), one): called for one in group}
    if not titles:
        return list(tables)
    found = []
    for table in tables:
        frame = table.frame
        pairs = zip(frame["indicator"], frame["table"], strict=True)
        full = [f"{titles[pair]} / {pair[0]}" if pair in titles else pair[0] for pair in pairs]
        called = [renamed.get(fold_words(one), one) for one in full]
        found.append(replace(table, frame=frame.assign(indicator=pd.array(called, dtype="str"))))
    return found


def _link_titles(titles: Sequence[str], rows: pd.DataFrame, region: str, time: str) -> list[list[str]]:
    """Return the titles in groups: those whose words are alike, or under which the numbers of common years are the same."""
    groups = list[list[str]]()
    for title in titles:
        linked = [group for group in groups if any(_are_one(title, one, rows, region, time) for one in group)]
        groups = [group for group in groups if group not in linked] + [
            [title, *(one for group in linked for one in group)]
        ]
    return groups


def _are_one(title: str, other: str, rows: pd.DataFrame, region: str, time: str) -> bool:
    plain = [_EMPTY_WORDS.sub("", one) for one in (title, other)]
    if difflib.SequenceMatcher(None, plain[0], plain[1], autojunk=False).ratio() >= _ALIKE_TITLES:
        return True
    own = [rows[rows["table"] == words].dropna(subset=["value"]) for words in (title, other)]
    both = own[0].merge(own[1], on=[region, time])
    units = zip(both["unit_x"], both["unit_y"], strict=True)
    ratio = np.array([math.nan if (found := try_ratio(*pair)) is None else float(found) for pair in units])
    values, others = both["value_x"].to_numpy() * ratio, both["value_y"].to_numpy()
    known = np.isfinite(values)
    away = np.abs(values - others)[known] <= _ROUNDED * np.maximum(np.abs(values), np.abs(others))[known]
    return len(away) > 0 and bool(away.mean() >= _MOSTLY)


def _spell_alike(tables: Sequence[Table]) -> list[Table]:
    """Call an indicator in all tables alike, however its spaces and brackets were typed: as it is typed with most spaces."""
    spelt: dict[str, str] = {}
    for name in sorted(
        {name for table in tables for name in table.frame["indicator"]}, key=lambda one: (len(one), one)
    ):
        spelt[fold_words(name)] = name
    return [
        replace(
            table, frame=table.frame.assign(indicator=table.frame["indicator"].map(lambda one: spelt[fold_words(one)]))
        )
        for table in tables
    ]


def is_generic(name: str) -> bool:
    """Tell names that do not say what is counted: 合计, 合计 / 发明."""
    return name.split(" / ")[0] in GENERIC


@dataclass(frozen=True)
class _Choice:
    """Which rows of the published values stand in the series. `key` (n,) numbers region, year and indicator, `line` region and
    indicator; `order` lists the rows that have a number from the newest volume to the oldest, `taken` those that are in the
    series, in the order of these; `newest` (n,) is for each row the newest with its key that has a number (-1: none), or one
    that agrees with it and shows more digits, `chosen`
    (n,) the one that stands in the series or would; `differs` (n,) from the newest, `is_left` (n,) from the chosen one.
    """

    key: Ints
    line: Ints
    order: Ints
    newest: Ints
    chosen: Ints
    taken: Ints
    is_joined: Flags
    differs: Flags
    is_left: Flags


def _choose(data: Published, splice: Sequence[str | int | None]) -> _Choice:
    """Choose a row for each region, year and indicator; of lines that are not joined none, unless one volume alone has them.

    `splice` says for each series (see `Published`) what is declared.
    """
    line = row_codes(data.series, data.place)
    key = row_codes(line, data.year)
    is_number = np.isfinite(data.value)
    order = np.lexsort([np.arange(len(data)), -data.newness[data.volume]])
    order = order[is_number[order]]
    ends = _ends(key, order)
    newest, oldest = (_prefer_finest(data, key, order, one) for one in ends)
    away = order[newest[order] != order]
    differs = np.zeros(len(data), dtype=bool)
    differs[away] = ~agree_to_rounding(data, away, newest[away])
    declared = np.array([-math.inf if one == NEWEST else math.inf if one is None else float(one) for one in splice])
    is_late = data.year >= declared[data.series]
    is_late |= np.isinf(declared[data.series])
    chosen, first_choice = np.where(is_late, newest, oldest), np.where(is_late, *ends)
    rank = data.newness[data.volume]
    others = order[chosen[order] != order]
    is_left = np.zeros(len(data), dtype=bool)
    is_left[others] = ~agree_to_rounding(data, others, chosen[others])
    # Two volumes of one rank that disagree leave open which of them is right.
    open_rows = others[(rank[others] == rank[first_choice[others]]) & is_left[others]]
    lines = int(line.max(initial=-1)) + 1
    disputed, is_open = np.zeros(lines, dtype=bool), np.zeros(lines, dtype=bool)
    disputed[line[differs]] = True
    is_open[line[open_rows]] = True
    is_declared = np.isfinite(declared) | (declared < 0)
    is_joined = ~disputed | (is_declared[data.series[_first_of(line, lines)]] & ~is_open)
    has_number = np.zeros(int(key.max(initial=-1)) + 1, dtype=bool)
    has_number[key[order]] = True
    marks = np.lexsort([np.arange(len(data)), -data.newness[data.volume]])
    marks = marks[~has_number[key[marks]]]
    marks = marks[np.sort(np.unique(key[marks], return_index=True)[1])]
    taken = np.concatenate([np.unique(chosen[order]), marks])
    taken = taken[is_joined[line[taken]]]
    first = pd.Series(np.arange(len(data))).groupby([data.series, data.place], sort=False).transform("min").to_numpy()
    taken = taken[np.lexsort([data.year[taken], first[taken]])]
    return _Choice(key, line, order, newest, chosen, taken, is_joined[line], differs, is_left)


def _prefer_finest(data: Published, key: Ints, order: Ints, chosen: Ints) -> Ints:
    """Take in place of a row the first in `order` of the same key that agrees with it and shows most digits.

    "…" says only that a number is less than half a unit, and 0.7 万吨 less than 7,174 吨.
    """
    rows = order[agree_to_rounding(data, order, chosen[order])]
    grain = np.round(np.log10(data.half[rows] * data.factor[rows]), 6).astype(np.float64)
    rows = rows[np.lexsort([np.arange(len(rows)), grain, key[rows]])]
    keys, at = np.unique(key[rows], return_index=True)
    finest = np.full(int(key.max(initial=-1)) + 1, -1, dtype=np.int64)
    finest[keys] = rows[at]
    return finest[key]


def _leave_alike(
    data: Published, choice: _Choice, shown: pd.Series, *, with_codes: bool
) -> tuple[_Choice, dict[int, tuple[int, int]]]:
    """Leave out lines whose regions have one name and are not one: totals of several areas, and what would be two rows of one
    year. Return the choice without them, and two rows of different places for each line that is left out.

    `shown` (n,) names the regions as the frame does. Regions whose tables give them codes are told apart by these, `with_codes`.
    """
    text = pd.factorize(shown)[0].astype(np.int64)
    codes = (
        pd.factorize(data.frame["region_code"].fillna(""))[0].astype(np.int64) if with_codes else np.zeros_like(text)
    )
    name = row_codes(data.series, text, codes)
    rows = choice.taken
    taken = pd.DataFrame({"name": name[rows], "year": data.year[rows], "place": data.place[rows]})
    taken["several"] = taken.groupby("name")["place"].transform("nunique") > 1
    twice = taken.duplicated(["name", "year"], keep=False) | (taken["several"] & (data.role[rows] != REGION))
    unclear = taken["name"].isin(set(taken["name"][twice])).to_numpy()
    if not unclear.any():
        return choice, {}
    pairs: dict[int, tuple[int, int]] = {}
    for _, group in taken[unclear].groupby("name"):
        first = group.drop_duplicates("place").index.to_numpy()
        for line in np.unique(choice.line[rows[group.index.to_numpy()]]).tolist():
            pairs[line] = (int(rows[first[0]]), int(rows[first[1]]))
    is_joined = choice.is_joined & ~np.isin(choice.line, list(pairs))
    return replace(choice, taken=rows[~unclear], is_joined=is_joined), pairs


def _ends(key: Ints, order: Ints) -> tuple[Ints, Ints]:
    """Return for each row the first and the last row of the same key in `order`, -1 where there is none."""
    ends = []
    for rows in (order, order[::-1]):
        keys, at = np.unique(key[rows], return_index=True)
        found = np.full(int(key.max(initial=-1)) + 1, -1, dtype=np.int64)
        found[keys] = rows[at]
        ends.append(found[key])
    return ends[0], ends[1]


def _first_of(codes: Ints, number: int) -> Ints:
    """Return a row of each code, 0 to number - 1."""
    found = np.zeros(number, dtype=np.int64)
    found[codes[::-1]] = np.arange(len(codes))[::-1]
    return found


@dataclass(frozen=True)
class _Splice:
    """A year from which a series goes on with another volume that disagrees with the one before."""

    row: int  # of the first value from the new volume
    year: int
    change: float  # what the new volume makes of the old one's value, less 1, in the nearest year that both print
    older: int  # a row of the old volume


def _find_splices(data: Published, choice: _Choice) -> list[_Splice]:
    """Find where a joined line changes to a volume that disagrees with the one before."""
    disputed = np.unique(choice.line[choice.differs & choice.is_joined])
    rows_of: dict[int, list[int]] = {line: [] for line in disputed.tolist()}
    for row in choice.order[np.isin(choice.line[choice.order], disputed)].tolist():
        rows_of[int(choice.line[row])].append(row)
    taken = set(choice.taken.tolist())
    pairs = list[
        tuple[int, int, int]
    ]()  # of the change: its first row, and two rows of one year, of the old and the new volume
    for rows in rows_of.values():
        by_volume: dict[int, dict[int, int]] = {}
        for row in rows:
            by_volume.setdefault(int(data.volume[row]), {}).setdefault(int(data.year[row]), row)
        path = sorted((row for row in rows if row in taken), key=lambda row: int(data.year[row]))
        for before, row in pairwise(path):
            old, new = by_volume[int(data.volume[before])], by_volume[int(data.volume[row])]
            shared = sorted(old.keys() & new.keys(), key=lambda year: abs(year - int(data.year[row])))
            pairs += [(row, old[year], new[year]) for year in shared if old[year] != new[year]]
    if not pairs:
        return []
    first, older, newer = np.array(pairs, dtype=np.int64).T
    unlike = np.flatnonzero(~agree_to_rounding(data, older, newer))
    _, nearest_year = np.unique(first[unlike], return_index=True)
    return [
        _Splice(
            int(first[at]), int(data.year[first[at]]), _change(data, int(older[at]), int(newer[at])), int(older[at])
        )
        for at in unlike[nearest_year].tolist()
    ]


def _change(data: Published, older: int, newer: int) -> float:
    was = data.value[older] * data.factor[older]
    return float(data.value[newer] * data.factor[newer] / was - 1) if was else math.nan


def _list_others(data: Published, choice: _Choice) -> list[str]:
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
    newest, _ = _ends(data.place, order)
    return frame.assign(**{region: frame[region].array.take(newest)})


def _list_unjoined(
    own: pd.DataFrame, data: Published, choice: _Choice, alike: Mapping[int, tuple[int, int]]
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


def _list_disagreements(own: pd.DataFrame, data: Published, choice: _Choice) -> list[dict[str, object]]:
    """List revisions, slips by a power of ten, units and remarks on scope, and names that stand under several titles."""
    rows = []
    for one in check_volumes(data):
        if isinstance(one, Remark) and not (one.kind == "duplicate" and one.severity == "note"):
            other = one.expected
            change = other / data.value[one.row] - 1 if data.value[one.row] else math.nan
            row = _as_row(data, one.kind, one.row, one.said, change, of_all=one.is_table)
            rows.append(row | {"other": other, "against": one.against, "joined": bool(choice.is_joined[one.row])})
    titles = pd.DataFrame({"series": data.series, "title": own["table"].to_numpy()}).drop_duplicates()
    titled: dict[int, dict[str, int]] = {}
    for row, series, title in titles[titles["title"] != ""].itertuples(name=None):
        titled.setdefault(series, {})[title] = row
    for series, said in titled.items():
        if len(said) > 1:
            values = {"indicator": data.kinds[series].indicator, "number": len(said)}
            words = message("series.titles", **values, titles=", ".join([*said][:_LISTED]))
            rows.append(_as_row(data, "scope", next(iter(said.values())), words, math.nan, of_all=True))
    return rows


def _list_splices(data: Published, splices: Sequence[_Splice]) -> list[dict[str, object]]:
    rows = []
    for one in splices:
        values = {
            "indicator": data.indicator(one.row),
            "region": data.region(one.row),
            "year": one.year,
            "newer": data.volumes[data.volume[one.row]],
            "older": data.volumes[data.volume[one.older]],
            "change": f"{100 * one.change:+.1f} %" if math.isfinite(one.change) else "?",
        }
        said = message("series.splice", **values)
        row = _as_row(data, "splice", one.row, said, one.change)
        rows.append(row | {"against": data.place_of(one.older)})
    return rows


def _as_row(
    data: Published, kind: str, row: int, said: Message, change: float, *, of_all: bool = False
) -> dict[str, object]:
    return {
        "kind": kind,
        "region": None if of_all else data.region(row),
        "year": int(data.year[row]),
        "indicator": data.indicator(row),
        "value": math.nan if of_all else float(data.value[row]),
        "unit": data.unit(row),
        "other": math.nan,
        "change": change,
        "joined": True,
        "file": data.volumes[data.volume[row]],
        "sheet": data.frame["sheet"].iloc[row],
        "cell": data.frame["cell"].iloc[row],
        "against": "",
        **{f"sentence_{language}": said.text(language) for language in LANGUAGES},
    }


def _as_frame(rows: Sequence[Mapping[str, object]]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=[*DISAGREEMENTS])
    texts = ("kind", "region", "indicator", "unit", "file", "sheet", "cell", "against", "sentence_en", "sentence_zh")
    kinds = dict.fromkeys(texts, "str") | {"year": "int64", "joined": "bool"}
    return frame.astype(kinds | dict.fromkeys(("value", "other", "change"), "float64"))


def _list_renames(data: Published) -> list[dict[str, object]]:
    """Offer indicators that may be one thing under two names: in no volume together, each most like the other in its words, in
    units of one kind, and not against the values of years that both print.
    """
    volumes: dict[int, set[int]] = {}
    for series, volume in np.unique(np.column_stack([data.series, data.volume]), axis=0).tolist():
        volumes.setdefault(series, set()).add(volume)
    everywhere = set(np.unique(data.volume).tolist())
    partly = [series for series, found in volumes.items() if found != everywhere][:_MOST_NAMES]
    best: dict[int, tuple[float, int]] = {}
    for at, one in enumerate(partly):
        for other in partly[at + 1 :]:
            if not volumes[one] & volumes[other] and (likeness := _likeness(data, one, other)) >= _ALIKE:
                best[one] = max(best.get(one, (0.0, -1)), (likeness, other))
                best[other] = max(best.get(other, (0.0, -1)), (likeness, one))
    rows = []
    for one, (_, other) in best.items():
        if one < other and best[other][1] == one:
            older, newer = sorted((one, other), key=lambda series: max(data.newness[list(volumes[series])]))
            rows += _offer(data, older, newer)
    return rows


def _likeness(data: Published, one: int, other: int) -> float:
    """Say how alike the names of two series are, from 0 to 1; 0 for units of different kinds."""
    first, second = data.kinds[one], data.kinds[other]
    if first.indicator == second.indicator:
        return 0.0
    matcher = difflib.SequenceMatcher(None, first.indicator, second.indicator, autojunk=False)
    is_part = first.indicator in second.indicator or second.indicator in first.indicator
    if not is_part and min(matcher.real_quick_ratio(), matcher.quick_ratio()) < _ALIKE:
        return 0.0
    if try_ratio(first.unit, second.unit) is None:
        return 0.0
    return max(_ALIKE, matcher.ratio()) if is_part else matcher.ratio()


def _offer(data: Published, older: int, newer: int) -> list[dict[str, object]]:
    """Say that two indicators may be one, unless most values of the years that both print say no."""
    rows = [np.flatnonzero((data.series == series) & np.isfinite(data.value)) for series in (older, newer)]
    cells = [
        dict(zip(zip(data.place[r].tolist(), data.year[r].tolist(), strict=True), r.tolist(), strict=True))
        for r in rows
    ]
    both = sorted(cells[0].keys() & cells[1].keys())
    ratio = float(try_ratio(data.kinds[older].unit, data.kinds[newer].unit) or 1)
    alike = 0
    for cell in both:
        a, b = cells[0][cell], cells[1][cell]
        scale = data.factor[a] * ratio
        away = abs(data.value[a] * scale - data.value[b] * data.factor[b])
        alike += bool(away <= (data.half[a] * scale + data.half[b] * data.factor[b]) * (1 + 1e-9))
    if 2 * alike < len(both):
        return []
    row = int(rows[0][0]) if len(rows[0]) else int(np.flatnonzero(data.series == older)[0])
    old, new = data.kinds[older].indicator, data.kinds[newer].indicator
    tells = message("series.rename_values", both=len(both), alike=alike) if both else ""
    setting = f'renamed={{"{old}": "{new}"}}'
    said = message("series.rename", older=old, newer=new, tells=tells, setting=setting)
    return [_as_row(data, "rename", row, said, math.nan, of_all=True) | {"against": new, "joined": False}]


def _describe(data: Published, choice: _Choice, splices: Sequence[_Splice], alike: Collection[int]) -> list[str]:
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


def _count_unlinked(data: Published, choice: _Choice) -> int:
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
