"""What stands above the columns of a yearbook table: indicators, units, years or regions."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

from evalkit.sources.files.cells import Cell
from evalkit.sources.yearbook.captions import (
    Caption,
    has_year,
    is_caption,
    is_rate,
    known_unit,
    may_have,
    split_unit,
)
from evalkit.sources.yearbook.pages import Page, Spot
from evalkit.sources.yearbook.words import (
    REMEMBERED,
    is_chinese,
    is_place,
    is_translation,
    join_words,
    narrow,
    read_value,
    read_year,
    split_part,
    split_translation,
    write_cell,
)

REGION_WORDS = frozenset(
    "地区 区域 县市 县(市) 县(市、区) 县、市(区) 县市区 市县 市县区 省份 省市 省市区 地州市 州市 名称 地区名称 县市名称 行政区划 "
    "甲 乙 栏次 region county province area".split()
)
"""What stands above the names of regions, and so is the name of none."""

YEAR_WORDS = frozenset("年份 年度 年 时间 year".split())
INDICATOR_WORDS = frozenset("项目 指标 指标名称 item indicator".split())
HEADER_WORDS = REGION_WORDS | YEAR_WORDS | INDICATOR_WORDS | {"月份"}

_UNIT_WORDS = frozenset("单位 计量单位 unit".split())
_TOTALS = ("合计", "总计", "小计", "计")
_CODE_HEADER = re.compile(r".*(?:代码|编码)|code", re.IGNORECASE)
_COUNTED = "一二三四五六七八九十"
_RANKS = (f"[{_COUNTED}]{{1,2}}、", rf"\([{_COUNTED}]{{1,2}}\)", "[0-9]{1,2}[.、](?![0-9])", r"\([0-9]{1,2}\)", "[①-⑳]")
_ORDINAL = re.compile(rf'["“]?(?:{"|".join(_RANKS)})\s*')
NO_RANK = len(_RANKS)
"""The rank of a name without an ordinal number."""

_SAID_YEAR = re.compile(
    r"((?:19|20)[0-9]{2})年(?:末|底|度)?(?!.*(?:[价基=比较月季]|半年|至今|以来|(?:19|20)[0-9]{2}))(?=\D)(.+)", re.DOTALL
)
_MISREAD_YEAR = re.compile("(?=.*[OoIl.])[12Il][09Oo][0-9OoIl.]{2}\\s*(?:年度?)?")  # 2O18, 202.年
_RELATIVE = re.compile(  # 上年结余 is money of this year
    r"(?:^| / )(?:(?:[本上去]年|[本上]期|上年同期|去年同期)(?:末|底|数|实际)?$|(?:[上去]年|上期)(?!.*(?:结[余转存]|滚存|=)))"
)
_PART_OF_YEAR = re.compile(
    r"(?:^| / )(?:(?:[0-9]{1,2}|[一二三四五六七八九十]{1,2})(?:[-–—~至、](?:[0-9]{1,2}|[一二三四五六七八九十]{1,2}))?月份?|"
    r"第?[一二三四1-4]季度?|[上下]半年)(?:累计)?$"
)
_SPAN = re.compile(r"(?:(?:19|20)[0-9]{2}年?\s*[-–—~～至]|截[至止])\s*((?:19|20)[0-9]{2})年?(.*)", re.DOTALL)


_FIRST_VOLUME = 1949  # a sheet called 1905 holds table 19-05


def is_part_of_year(words: str) -> bool:
    """Tell a month, a quarter or a half-year: 1-9月, 第三季度, 上半年."""
    return _PART_OF_YEAR.search(words) is not None


@dataclass(frozen=True)
class Heading:
    """What stands above one column: indicator and region ("" where none is named), unit and year where given.

    `cells` are those in which it stands, by row and column; `in_words` says that the year stands among other words.
    """

    indicator: str = ""
    unit: str | None = None
    year: int | None = None
    region: str = ""
    cells: tuple[tuple[int, int], ...] = ()
    in_words: bool = False

    @property
    def is_code(self) -> bool:
        """Tell the header of a column of region codes."""
        return _CODE_HEADER.fullmatch(self.indicator) is not None


def heads(page: Page, row: int, key: int, left_out: Collection[int] = ()) -> dict[int, Spot]:
    """Return what stands over each column, leaving out captions and titles (merged over names and values alike)."""
    return {
        column: spot
        for column, spot in page.spread(row).items()
        if not (column != key and spot.spans(key))
        and not (isinstance(spot.cell, str) and is_caption(spot.cell))
        and column not in left_out
    }


def top_of_names(page: Page, rows: Sequence[int], key: int) -> int | None:
    """Return the first row of the word that heads the names, such as 地区, of a column up to theirs; None where there is none."""
    spots = (page.spread(row).get(column) for row in rows for column in range(1, key + 1))
    return min(
        (spot.row for spot in spots if spot and isinstance(spot.cell, str) and is_header_word(spot.cell)), default=None
    )


def header_word(page: Page, header: Sequence[int], column: int) -> str:
    """Return the Chinese words above a column as one, in small letters: "地" over "区" is 地区."""
    spots = list(dict.fromkeys(spots[column] for row in header if column in (spots := page.spread(row))))
    words = [split_translation(narrow(spot.cell))[0] for spot in spots if isinstance(spot.cell, str)]
    chinese = [word for word in words if is_chinese(word)] or words
    return join_words("".join(word if is_chinese(word) else f"{word} " for word in chinese)).lower().strip()


@lru_cache(REMEMBERED)
def is_header_word(text: str) -> bool:
    """Tell a word such as 地区, which stands above the names of regions."""
    return join_words(split_translation(narrow(text))[0]).lower() in HEADER_WORDS


def is_aside(cell: Cell) -> bool:
    """Tell what stands above codes, years or units, often in one row of the header only."""
    word = join_words(split_translation(narrow(cell))[0]).lower() if isinstance(cell, str) else ""
    return word in YEAR_WORDS or word in _UNIT_WORDS or _CODE_HEADER.fullmatch(word) is not None


def is_unit_header(word: str) -> bool:
    """Tell what stands above a column of units."""
    return word in _UNIT_WORDS


def clean_name(words: str) -> tuple[bool, str, str | None]:
    """Return whether a name says that it is part of another, the name without ordinal number and translation, and its unit."""
    name, unit = split_unit(_ORDINAL.sub("", narrow(words).strip(), count=1))
    is_part, name = split_part(name)
    return is_part, _ORDINAL.sub("", name, count=1), unit


def read_headings(
    page: Page, header: Sequence[int], key: int, columns: Collection[int], left_out: Collection[int] = ()
) -> tuple[dict[int, Heading], list[str], list[tuple[int, str]]]:
    """Read the header above each column but that of the names, of which `columns` hold numbers.

    Returns the headings, notes on what is read as part of what, and the columns whose header is not understood, with the reason.
    """
    paths = {column: spots for column, spots in _stand_over(page, header, key, columns, left_out).items() if spots}
    units = _rows_of_units(header, paths)
    read, notes, bad = dict[int, _Path](), list[str](), list[tuple[int, str]]()
    for column, spots in sorted(paths.items()):
        try:
            path = _Path(page, spots, units)
        except _NotUnderstood as reason:
            bad.append((column, str(reason)))
            continue
        notes += path.resolve([read[other] for other in reversed(read) if not read[other].is_aside])
        read[column] = path
    return {column: path.heading for column, path in read.items()}, notes, bad


def _stand_over(
    page: Page, header: Sequence[int], key: int, columns: Collection[int], left_out: Collection[int]
) -> dict[int, list[Spot]]:
    """Return what stands over each column, from the top.

    A name stands over the empty cells to its right as well, where all that stands above them is the same and they have names of
    their own below: printers set a total (合计) and the name of a group over its parts without merging the cells. A name that is
    merged sideways stands over its columns alone, and one with an ordinal number ends before the next of its level. In rows above
    the word that heads the names (地区) only a total does so, whose own column has nothing but a translation below it.
    """
    heading = {row: heads(page, row, key, left_out) for row in header}
    every = sorted({column for spots in heading.values() for column in spots} | set(columns))
    over: dict[int, list[Spot]] = {column: [] for column in every if column != key}
    named = top_of_names(page, header, key) or 0
    for row, spots in heading.items():
        below = {column: [one[column] for r, one in heading.items() if r > row and column in one] for column in over}
        reach = _reach(row, spots, below, over, taken=page.spread(row), totals=row < named)
        right = {spot: column for column, spot in reach.items()}  # the last column of each
        for column, stack in over.items():
            if (spot := spots.get(column) or reach.get(column)) and all(_at(one) != _at(spot) for one in stack):
                stack.append(spot._replace(right=max(spot.right, right.get(spot, 0))))
    return over


def _reach(
    row: int,
    spots: Mapping[int, Spot],
    below: Mapping[int, Sequence[Spot]],
    over: Mapping[int, Sequence[Spot]],
    taken: Collection[int],
    totals: bool,
) -> dict[int, Spot]:
    """Return the names that reach over empty cells of a row, by these columns; those `taken` are not empty. With `totals`, only
    names that have no other below them do.
    """
    go_on = {column for column, spot in spots.items() if column in over and _goes_on_below(spot, below[column])}
    is_broken = len(go_on) > sum(column not in spots and any(map(_is_name, below[column])) for column in over)
    wide: Spot | None = None
    reach = dict[int, Spot]()
    first = min((column for column in over if column in spots or column in taken), default=0)
    if any(column < first and not over[column] and any(map(_is_name, below[column])) for column in over):
        return reach  # 粮食 in the middle of its columns: it stands over some to its left as well, and ends nobody knows where
    for column, stack in over.items():
        if column in spots or column in taken:
            spot = spots.get(column)
            is_alone = spot is not None and spot.column == spot.right and _is_name(spot)
            is_alone = is_alone and not (totals and any(map(_is_name, below[column])))
            wide = spot if is_alone and not (is_broken and column in go_on) else None
        elif wide is not None:
            same = list(map(_at, stack)) == [at for at in map(_at, over[wide.column]) if at != _at(wide)]
            own = [one for one in below[column] if one != wide and _is_name(one)]
            rank = rank_of(wide.cell)
            if same and own and not (rank < NO_RANK and any(rank_of(one.cell) <= rank for one in below[column])):
                reach[column] = wide
            else:
                wide = None
    return reach


def _at(spot: Spot) -> tuple[int, int]:
    return spot.row, spot.column


def _is_name(spot: Spot) -> bool:
    """Tell a name or a year from a unit and from a translation."""
    if not isinstance(spot.cell, str) or read_year(spot.cell) is not None:
        return True
    words = split_translation(narrow(spot.cell))[0].strip()
    return is_chinese(words) and known_unit(words.strip("()")) is None


def _goes_on_below(spot: Spot, below: Sequence[Spot]) -> bool:
    """Tell a cell whose words may go on in the one right below it; those with a translation behind them are whole."""
    is_whole = isinstance(spot.cell, str) and split_translation(narrow(spot.cell))[1] != ""
    return (
        spot.is_single
        and not is_whole
        and any(one.is_single and one.row == spot.row + 1 and _is_name(one) for one in below)
    )


def rank_of(cell: Cell) -> int:
    """Return the level of the ordinal number in front of a name, the highest first: 一、 (一) 1. (1) ①."""
    words = narrow(cell).strip().lstrip('"“') if isinstance(cell, str) else ""
    return next((level for level, one in enumerate(_RANKS) if re.match(one, words)), NO_RANK)


def _rows_of_units(header: Sequence[int], paths: Mapping[int, Sequence[Spot]]) -> frozenset[int]:
    """Return the rows of the header that hold units alone. In others a unit is a name as well: 幢 beside 面积.

    So it is where columns would share one name without it: 户 and 人 below 住户.
    """
    found = set[int]()
    for row in header:
        cells = [spot.cell for spots in paths.values() for spot in spots if spot.row == row]
        rest = [tuple(spot for spot in spots if spot.row != row) for spots in paths.values()]
        are_units = all(isinstance(cell, str) and known_unit(narrow(cell).strip(" ()")) for cell in cells)
        found |= {row} if are_units and len(set(rest)) == len(rest) else set()
    return frozenset(found)


class _NotUnderstood(Exception):  # noqa: N818 - a reason, which is listed and never reaches the user
    """Why the cells above a column are not understood."""


class _Path:
    """The cells above one column from the top, read one by one; names are resolved against the columns to the left.

    `levels` are the names, each with whether it is part of another and the rank of its ordinal number.
    """

    def __init__(self, page: Page, spots: Sequence[Spot], units: Collection[int]) -> None:
        self.page, self.spots = page, spots
        self.levels: list[tuple[bool, str, int]] = []
        self.full: list[list[str]] = []  # the names from the top down to each level
        self.base: list[list[str]] = []  # the whole of which each level is part
        self.unit_level = 0  # of the name with which the unit stands
        years, unit, foreign, in_words = set[int](), None, None, False
        foreign_from = next(
            (i for i, spot in enumerate(spots) if is_translation(spot.cell) and self._has_chinese()), len(spots)
        )
        words = [
            spot for i, spot in enumerate(spots) if i < foreign_from or _is_name(spot)
        ]  # "in 2009" ends a translation
        above: Spot | None = None
        for spot in spots:
            if unread := page.unread.get(_at(spot)):
                raise _NotUnderstood(f"the cell {unread.why}")
            year, said = _read_cell(spot.cell)
            years |= set() if year is None else {year}
            in_words |= year is not None and said != ""
            if not said:
                above = None
                continue
            is_part, name, own = clean_name(said)
            if spot not in words:
                foreign = own or foreign
                continue
            if written := known_unit(name):
                own, name = written, "" if spot.row in units else name
            unit = own or unit
            if not (name or is_part):
                self.unit_level = len(self.levels) - 1 if own else self.unit_level
                continue
            if self.levels and self.levels[-1][:2] == (True, ""):  # 其中 above #医生
                self.levels[-1] = (True, name, self.levels[-1][2])
            elif above and _goes_on_below(above, [spot]) and not is_part and rank_of(spot.cell) == NO_RANK:
                self.levels[-1] = (self.levels[-1][0], join_words(f"{self.levels[-1][1]} {name}"), self.levels[-1][2])
            else:
                self.levels.append((is_part, name, rank_of(spot.cell)))
            self.unit_level = len(self.levels) - 1 if own else self.unit_level
            above = spot
        if len(years) > 1:
            raise _NotUnderstood(f"two years stand above the column ({', '.join(map(str, sorted(years)))})")
        self.unit_level = len(self.levels) if foreign and not unit else self.unit_level
        cells = tuple((spot.row, spot.column) for spot in spots)
        self.heading = Heading(unit=unit or foreign, year=next(iter(years), None), cells=cells, in_words=in_words)

    def resolve(self, earlier: Sequence[_Path]) -> list[str]:
        """Name the column by its levels; a level that is part of another goes below the nearest column to the left.

        One with an ordinal number is part of what the one before it is part of; where neither is on the page it stands alone.
        """
        names, notes = list[str](), list[str]()
        unit = self.heading.unit if self._may_have(self.heading.unit, self.unit_level + 1) else None
        for level, (is_part, name, rank) in enumerate(self.levels):
            self.base.append(names)
            if not is_part:
                names = [*names, name]
            else:
                whole = next((path for path in earlier if path.is_whole(self.levels[:level], rank)), None)
                sibling = next((path for path in earlier if path.is_sibling(self.levels[: level + 1])), None)
                is_first = rank == NO_RANK or self._counts_one(level)
                place = self.page.address(self.spots[-1].row, self.spots[-1].column)
                if sibling is not None and not is_first:
                    base = sibling.base[level]
                elif whole is not None and is_first:
                    base = whole.full[min(level, len(whole.full) - 1)] if whole.full else []
                    base = base[:-1] if len(base) > 1 and base[-1] in _TOTALS else base
                    of_whole = whole.heading.unit if self._may_have(whole.heading.unit, level) else None
                    nearer = whole.heading.unit if self.unit_level < level else None
                    unit = of_whole if nearer else unit or of_whole
                else:
                    base = names
                    notes.append(f"{place}: '{name}' is part of something that stands in no column to its left")
                self.base[level] = base
                names = [*base, name] if name else base
                if base:
                    notes.append(f"{place} is read as part of '{' / '.join(base)}'")
            self.full.append(names)
        self.heading = replace(self.heading, indicator=" / ".join(names), unit=unit)
        return notes

    def _may_have(self, unit: str | None, level: int) -> bool:
        """Tell whether a unit above a level can be that of what is named from there on: 亿元 is none of 生产总值 / 人均."""
        below = " / ".join(name for _, name, _ in self.levels[level:] if name)
        return unit is None or not below or may_have(below, unit, alone=False)

    def is_whole(self, levels: Sequence[tuple[bool, str, int]], rank: int) -> bool:
        """Tell whether a column below the same levels is itself no part of another there; a numbered part is one of a name whose
        number is of a higher `rank`, if it has one.
        """
        depth = len(levels)
        below = self.levels[depth : depth + 1]
        return self.levels[:depth] == levels and not any(is_part or own <= rank < NO_RANK for is_part, _, own in below)

    def is_sibling(self, levels: Sequence[tuple[bool, str, int]]) -> bool:
        """Tell whether a column below the same levels is part of the same, by an ordinal number of the same rank."""
        depth = len(levels)
        same = len(self.levels) >= depth and self.levels[: depth - 1] == levels[: depth - 1]
        return same and self.levels[depth - 1][0] and self.levels[depth - 1][2] == levels[-1][2]

    @property
    def is_aside(self) -> bool:
        """Tell a column of codes, years or units."""
        return any(is_aside(spot.cell) for spot in self.spots)

    def _has_chinese(self) -> bool:
        return any(isinstance(spot.cell, str) and is_chinese(spot.cell) for spot in self.spots)

    def _counts_one(self, level: int) -> bool:
        """Tell whether the ordinal number in front of a level is the first."""
        name = self.levels[level][1]
        cell = next((str(spot.cell) for spot in self.spots if name and name in join_words(narrow(str(spot.cell)))), "")
        return re.match(r'["“(\s]*[1一①]', narrow(cell)) is not None


def _read_cell(cell: Cell) -> tuple[int | None, str]:
    """Return the year that a cell of a header says, and its other words."""
    year = read_year(cell)
    if year is None and isinstance(cell, str):
        year = read_year(split_translation(narrow(cell))[0])
    if year is not None:
        return year, ""
    if isinstance(cell, str) and _MISREAD_YEAR.fullmatch(narrow(cell).strip()):
        raise _NotUnderstood(f"'{cell}' in the header looks like a year that was misread")
    if not isinstance(cell, str) or read_value(cell) is not None:
        raise _NotUnderstood(f"'{write_cell(cell)}' in the header is neither a year nor a name")
    if not has_year(cell):
        return None, cell
    words = narrow(cell).strip()
    if found := _SPAN.fullmatch(words):  # a sum over years belongs to the last
        return int(found[1]), words if is_chinese(words) else ""  # else it is that of the translation
    if found := _SAID_YEAR.fullmatch(split_translation(words)[0]):
        return int(found[1]), found[2]
    raise _NotUnderstood(f"'{cell}' in the header mixes a year with other words")


RowsAre = Literal["regions", "years", "indicators"]


@dataclass(frozen=True)
class Given:
    """What the user says of all values of a file, where the file does not; `of_name` says that the year is in its name."""

    year: int | None = None
    region: str = ""
    indicator: str = ""
    of_name: bool = False


@dataclass(frozen=True)
class ColumnsRead:
    """The columns that are read, those that are not with the reason, and what nothing says of those read.

    `lacking` holds pairs of "year", "region" or "indicator" and a sentence on where it was looked for; `given` names those of
    the three that were taken from what the user says.
    """

    read: Mapping[int, Heading]
    aside: Mapping[int, str]
    lacking: Sequence[tuple[str, str]] = ()
    given: frozenset[str] = frozenset()


def turn(columns: Mapping[int, Heading], rows_are: RowsAre, caption: Caption, given: Given) -> ColumnsRead:
    """Read the innermost names above the columns as regions where the rows are years or indicators and these are places.

    Other columns beside them, such as growth rates, are not read.
    """
    if rows_are == "regions":
        return ColumnsRead(columns, {})
    names = {column: heading.indicator.rpartition(" / ") for column, heading in columns.items()}
    places = [column for column, (_, _, name) in names.items() if is_place(name)]
    if len(places) * 2 > len(columns) and not (rows_are == "years" and len(places) < len(columns)):
        named = [
            c for c, (_, _, name) in names.items() if c in places or (name and not is_rate(name))
        ]  # 产业园 among counties
        read = {c: replace(columns[c], indicator=names[c][0], region=names[c][2]) for c in named}
        aside = {
            c: "no region stands above the column, while regions stand above others" for c in columns if c not in read
        }
        return ColumnsRead(read, aside)
    region = caption.region or given.region
    lacking = [] if region else [("region", "the rows are not regions, and no region is named")]
    used = frozenset() if caption.region or not region else frozenset({"region"})
    return ColumnsRead({c: replace(heading, region=region) for c, heading in columns.items()}, {}, lacking, used)


def complete(
    page: Page, columns: Mapping[int, Heading], caption: Caption, given: Given, *, rows_are: RowsAre, dated: bool
) -> ColumnsRead:
    """Take from what is said of the whole table what its header leaves out: the year and the indicator.

    `dated` says that a column beside the names, or rows among them, hold the years.
    """
    dated = dated or rows_are == "years"
    aside = {
        c: f"'{h.indicator}' is the year of no calendar" for c, h in columns.items() if _RELATIVE.search(h.indicator)
    }
    aside |= {c: f"'{h.indicator}' is not a whole year" for c, h in columns.items() if is_part_of_year(h.indicator)}
    if rows_are == "indicators":
        aside |= {
            column: f"'{heading.indicator}' stands above the column while the rows are indicators"
            for column, heading in columns.items()
            if heading.indicator and not heading.region
        }
    lacking, used = list[tuple[str, str]](), set[str]()
    if dated and any(heading.year for heading in columns.values()):
        reason = "years stand above the column and beside the rows"
        aside |= {column: reason for column, heading in columns.items() if heading.year}
    left = {column: heading for column, heading in columns.items() if column not in aside}
    if not dated and left and all(heading.year is None or heading.in_words for heading in left.values()):
        year, said = _year_of(page, caption, given)  # 1991-2015年核准注册 beside 申请数
        undated = any(heading.year is None for heading in left.values())
        lacking += [("year", said)] if year is None and undated else []
        used |= {"year"} if said == "year" and undated else set()
        left = {column: replace(heading, year=heading.year or year) for column, heading in left.items()}
    elif not dated and len({heading.year is None for heading in left.values()}) > 1:
        aside |= {
            c: "no year stands above the column, while one stands above others" for c, h in left.items() if not h.year
        }
    left = {column: heading for column, heading in left.items() if column not in aside}
    if rows_are != "indicators" and len({bool(heading.indicator) for heading in left.values()}) > 1:
        if caption.indicator()[0] and all(is_rate(h.indicator) for h in left.values() if h.indicator):
            reason = "a growth rate, share or rank stands beside columns that have years alone above them"
            aside |= {column: reason for column, heading in left.items() if heading.indicator}
        else:
            reason = "no name of an indicator stands above the column, while one stands above others"
            aside |= {column: reason for column, heading in left.items() if not heading.indicator}
    left = {column: heading for column, heading in left.items() if column not in aside}
    indicator = ""
    if rows_are != "indicators" and left and not any(heading.indicator for heading in left.values()):
        indicator, said = caption.indicator()
        used |= {"indicator"} if given.indicator and not indicator else set()
        indicator = indicator or given.indicator
        lacking += [] if indicator else [("indicator", said)]
    read = {column: replace(heading, indicator=heading.indicator or indicator) for column, heading in left.items()}
    return ColumnsRead(read, aside, lacking, frozenset(used))


def _year_of(page: Page, caption: Caption, given: Given) -> tuple[int | None, str]:
    """Return the one year of a table, from what stands above it or the name of its sheet, else as it is given; or why none.

    A year that is given comes with the word "year".
    """
    years = caption.years() or ({year} if (year := read_year(page.sheet)) and year >= _FIRST_VOLUME else set())
    if len(years) == 1:
        return next(iter(years)), ""
    if given.year is not None and (not years or given.year in years):
        return given.year, "year"
    if years:
        return None, f"the title names several years ({', '.join(map(str, sorted(years)))}) and the header none"
    return None, "no year is found, neither in the header nor in the title"
