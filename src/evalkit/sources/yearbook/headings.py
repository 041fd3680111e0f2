"""What stands above the columns of a yearbook table: indicators, units, years or regions."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

from evalkit.errors import SourceError
from evalkit.sources.files.cells import Cell
from evalkit.sources.yearbook.captions import Caption, has_year, is_caption, known_unit, split_unit
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
_ORDINAL = re.compile(r"(?:[0-9]{1,2}[.、](?![0-9])|[一二三四五六七八九十]{1,2}、|\([一二三四五六七八九十]{1,2}\))\s*")


@dataclass(frozen=True)
class Heading:
    """What stands above one column: indicator and region ("" where none is named), unit and year where given.

    `cells` are those in which it stands, by row and column.
    """

    indicator: str = ""
    unit: str | None = None
    year: int | None = None
    region: str = ""
    cells: tuple[tuple[int, int], ...] = ()

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
    page: Page, header: Sequence[int], key: int, left_out: Collection[int] = ()
) -> tuple[dict[int, Heading], list[str]]:
    """Read the header above each column but that of the names, and say in notes what is read as part of what.

    Raises SourceError where a cell is not understood.
    """
    paths: dict[int, list[Spot]] = {}
    for row in header:
        for column, spot in heads(page, row, key, left_out).items():
            if column != key and spot not in paths.setdefault(column, []):
                paths[column].append(spot)
    read = {column: _Path(page, spots) for column, spots in sorted(paths.items())}
    notes = list[str]()
    for column, path in read.items():
        earlier = [read[other] for other in read if other < column and not read[other].is_aside]
        notes += path.resolve(earlier[::-1])
    return {column: path.heading for column, path in read.items()}, notes


class _Path:
    """The cells above one column from the top, read one by one; names are resolved against the columns to the left."""

    def __init__(self, page: Page, spots: Sequence[Spot]) -> None:
        self.page, self.spots = page, spots
        self.levels: list[tuple[bool, str]] = []
        self.full: list[list[str]] = []  # the names from the top down to each level
        years, unit, foreign = set[int](), None, None
        words = [spot for spot in spots if not (is_translation(spot.cell) and self._has_chinese())]
        above: Spot | None = None
        for spot in spots:
            year = read_year(spot.cell) or self._translated_year(spot.cell)
            if year is not None:
                years.add(year)
                above = None
                continue
            is_part, name, own = clean_name(self._check(spot))
            if spot not in words:
                foreign = own or foreign
                continue
            if self.levels and (written := known_unit(name)):
                own, name = written, ""  # a row of units without brackets
            unit = own or unit
            if not (name or is_part):
                continue
            if above and above.is_single and spot.is_single and spot.row == above.row + 1 and not is_part:
                self.levels[-1] = (self.levels[-1][0], join_words(f"{self.levels[-1][1]} {name}"))
            else:
                self.levels.append((is_part, name))
            above = spot
        if len(years) > 1:
            raise SourceError(
                f"two years stand above one column ({', '.join(map(str, sorted(years)))})",
                where=page.place(spots[-1].row, spots[-1].column),
                remedy="keep the right one",
            )
        cells = tuple((spot.row, spot.column) for spot in spots)
        self.heading = Heading(unit=unit or foreign, year=next(iter(years), None), cells=cells)

    def resolve(self, earlier: Sequence[_Path]) -> list[str]:
        """Name the column by its levels; a level that is part of another goes below the nearest column to the left."""
        names, notes, unit = list[str](), list[str](), self.heading.unit
        for level, (is_part, name) in enumerate(self.levels):
            if not is_part:
                names = [*names, name]
            else:
                whole = next((path for path in earlier if path.is_whole(self.levels[:level])), None)
                if whole is None:
                    raise SourceError(
                        f"'{self.spots[-1].cell}' is part of another column, and none stands to the left of it",
                        where=self.page.place(self.spots[-1].row, self.spots[-1].column),
                        remedy="write the full name of the indicator",
                    )
                base = whole.full[min(level, len(whole.full) - 1)] if whole.full else []
                base = base[:-1] if len(base) > 1 and base[-1] in _TOTALS else base
                names = [*base, name] if name else base
                unit = unit or whole.heading.unit
                place = self.page.address(self.spots[-1].row, self.spots[-1].column)
                notes.append(f"{place} is read as part of '{' / '.join(base)}'")
            self.full.append(names)
        self.heading = replace(self.heading, indicator=" / ".join(names), unit=unit)
        return notes

    def is_whole(self, levels: Sequence[tuple[bool, str]]) -> bool:
        """Tell whether a column below the same levels is itself no part of another there."""
        depth = len(levels)
        return self.levels[:depth] == levels and not (len(self.levels) > depth and self.levels[depth][0])

    @property
    def is_aside(self) -> bool:
        """Tell a column of codes, years or units."""
        return any(is_aside(spot.cell) for spot in self.spots)

    def _has_chinese(self) -> bool:
        return any(isinstance(spot.cell, str) and is_chinese(spot.cell) for spot in self.spots)

    def _translated_year(self, cell: Cell) -> int | None:
        return read_year(split_translation(cell)[0]) if isinstance(cell, str) else None

    def _check(self, spot: Spot) -> str:
        if isinstance(spot.cell, str) and read_value(spot.cell) is None and not has_year(spot.cell):
            return spot.cell
        mixed = isinstance(spot.cell, str) and has_year(spot.cell)
        said = "mixes a year with other words" if mixed else "is neither a year nor a name"
        raise SourceError(
            f"'{spot.cell}' in the header {said}",
            where=self.page.place(spot.row, spot.column),
            remedy="write the year, such as 2019年, and the indicator into two cells, one above the other",
        )


RowsAre = Literal["regions", "years", "indicators"]


def turn(
    page: Page,
    columns: dict[int, Heading],
    rows_are: RowsAre,
    caption: Caption,
    header: Sequence[int],
    first: int,
    key: int,
) -> dict[int, Heading]:
    """Read the innermost names above the columns as regions where the rows are years or indicators, and all end like one."""
    names = [heading.indicator.rpartition(" / ") for heading in columns.values()]
    places = all(is_place(name) for _, _, name in names)
    if rows_are == "regions":
        keys = [
            join_words(cell)
            for row in page.rows
            if row >= first and isinstance(cell := page.grid.cells[row].get(key), str)
        ]
        if places and len(names) > 1 and not any(map(is_place, keys)):
            raise SourceError(
                "regions stand above the columns, and what stands beside the rows is neither a year nor an indicator for certain",
                where=f"{page.where}, row {header[-1]}",
                remedy="write 指标 above the names of the rows if they are indicators, 年份 if they are years",
            )
        return columns
    if places:
        return {
            column: replace(heading, indicator=group, region=name)
            for (column, heading), (group, _, name) in zip(columns.items(), names, strict=True)
        }
    if caption.region is None:
        word = page.spread(header[0]).get(key)
        shown = word.cell if word else header_word(page, header, key)
        raise SourceError(
            f"the rows of the table are not regions: '{shown}' stands above them, and no region is named",
            where=page.place(word.row, word.column) if word else f"{page.where}, row {first}",
            remedy="turn the table, so that each row is a region, and each column a year or an indicator; or write the one "
            "region of the table above it (地区：昌吉州), or into a layout file",
        )
    return columns


def complete(
    page: Page, columns: Mapping[int, Heading], caption: Caption, last: int, *, rows_are: RowsAre, dated: bool
) -> dict[int, Heading]:
    """Take from the words above the table what its header (its last row is `last`) leaves out: year, indicator or region.

    `dated` says that a column beside the names holds the years.
    """
    dated = dated or rows_are == "years"
    undated = [column for column, heading in columns.items() if heading.year is None]
    unnamed = [column for column, heading in columns.items() if not heading.indicator and rows_are != "indicators"]
    for gap, noun in ((undated, "year"), (unnamed, "indicator")):
        if 0 < len(gap) < len(columns):
            raise SourceError(
                f"no {noun} stands above this column, while one stands above others",
                where=page.place(last, gap[0]),
                remedy=f"write the {noun} into the header, or merge the cell that holds it over all its columns; "
                "delete columns of other things, such as growth rates",
            )
    if dated and not undated:
        raise SourceError(
            "years stand both above the columns and beside the rows",
            where=f"{page.where}, row {last}",
            remedy="keep those that the numbers are for, or say which they are in a layout file",
        )
    for column, heading in columns.items():
        if rows_are == "indicators" and heading.indicator:
            raise SourceError(
                f"'{heading.indicator}' stands above a column while the rows are indicators",
                where=page.place(last, column),
                remedy="say in a layout file what the column is, or delete it",
            )
    year = None if dated or not undated else caption.year()
    plain = not caption.is_there and not any(heading.unit for heading in columns.values())
    if undated and year is None and (plain or not dated):
        raise _refuse_no_year(page, last, bare=plain)
    indicator = caption.indicator() if unnamed else ""
    return {
        column: replace(
            heading,
            indicator=heading.indicator or indicator,
            year=heading.year or year,
            region=heading.region or (caption.region or "" if rows_are != "regions" else ""),
        )
        for column, heading in columns.items()
    }


def _refuse_no_year(page: Page, last: int, *, bare: bool) -> SourceError:
    if bare:
        return SourceError(
            "this is an ordinary table, not one of a yearbook: nothing stands above its header, which has no year",
            where=page.where,
            remedy="read it with Delimited",
        )
    return SourceError(
        "no year is found, neither in the header nor in the title",
        where=f"{page.where}, row {last}",
        remedy="write the years into the header (2019年), or the one year of the whole table into its title (2022年)",
    )
