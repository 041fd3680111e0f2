"""What stands above the columns of a yearbook table: indicators, units and years, and which column holds codes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from evalkit.errors import SourceError
from evalkit.sources._caption import Caption, has_year, is_caption, split_unit
from evalkit.sources._cells import Cell
from evalkit.sources._pages import Page, Spot
from evalkit.sources._words import join, narrow, read_value, read_year

HEADER_WORDS = frozenset(
    "地区 区域 县市 县(市) 县(市、区) 县、市(区) 县市区 市县 市县区 省份 省市 省市区 地州市 州市 名称 地区名称 县市名称 行政区划 "
    "甲 乙 栏次 项目 指标 指标名称 年份 年度 region county province area".split()
)
"""What stands above the names of regions, and so is the name of none."""

_NOT_REGIONS = ("项目", "指标", "指标名称", "年份", "年度", "年", "月份", "year")
_CODE_HEADER = re.compile(r".*(?:代码|编码)|code", re.IGNORECASE)


@dataclass(frozen=True)
class Heading:
    """What stands above one column: the indicator ("" where only a year does), and its unit and year where given."""

    indicator: str
    unit: str | None
    year: int | None


def heads(page: Page, row: int, region: int) -> dict[int, Spot]:
    """Return what stands over each column, leaving out captions and titles (merged over names and values alike)."""
    return {
        column: spot
        for column, spot in page.spread(row).items()
        if not (column != region and spot.spans(region)) and not (isinstance(spot.cell, str) and is_caption(spot.cell))
    }


def is_code_header(cell: Cell) -> bool:
    """Tell the header of a column of region codes."""
    return isinstance(cell, str) and _CODE_HEADER.fullmatch(join(narrow(cell))) is not None


def read_headings(page: Page, header: list[int], region: int) -> dict[int, Heading]:
    """Read the header above each column but that of the names; raise SourceError where it is not understood."""
    paths: dict[int, list[Spot]] = {}
    for row in header:
        for column, spot in heads(page, row, region).items():
            if column != region and spot not in paths.setdefault(column, []):
                paths[column].append(spot)
    return {column: _read_path(page, spots) for column, spots in sorted(paths.items())}


def check_words(page: Page, header: list[int], region: int) -> None:
    """Refuse a table whose rows are not regions, and one that goes on in a second half beside the first."""
    for row in header:
        for column, spot in heads(page, row, region).items():
            word = join(narrow(spot.cell)).lower() if isinstance(spot.cell, str) else ""
            if column == region and word in _NOT_REGIONS:
                raise SourceError(
                    f"the rows of the table are not regions: '{spot.cell}' stands above them",
                    where=page.place(spot.row, spot.column),
                    remedy="turn the table, so that each row is a region, and each column a year or an indicator",
                )
            if column != region and word in HEADER_WORDS:
                raise SourceError(
                    f"'{spot.cell}' stands above a second column, so two tables stand side by side",
                    where=page.place(spot.row, spot.column),
                    remedy="move the second half below the first, or onto a sheet of its own with its title and header",
                )


def find_code(page: Page, first: int, region: int, headings: Mapping[int, Heading]) -> int | None:
    """Return the column of codes: the one with that header, else one before the names."""
    named = [column for column, heading in headings.items() if is_code_header(heading.indicator)]
    before = [column for column in page.grid.cells[first] if column < region]
    found = sorted({*named, *before})
    if len(found) > 1:
        places = " and ".join(page.address(first, column) for column in found)
        raise SourceError(f"{places} both hold codes", where=page.where, remedy="keep one column of codes")
    return found[0] if found else None


def complete(
    page: Page, columns: Mapping[int, Heading], caption: Caption, last: int, *, bare: bool
) -> dict[int, Heading]:
    """Take from the words above the table what its header (its last row is `last`) leaves out: the year or the indicator.

    `bare` says that nothing stands above the header.
    """
    undated = [column for column, heading in columns.items() if heading.year is None]
    unnamed = [column for column, heading in columns.items() if not heading.indicator]
    for gap, noun in ((undated, "year"), (unnamed, "indicator")):
        if 0 < len(gap) < len(columns):
            raise SourceError(
                f"no {noun} stands above this column, while one stands above others",
                where=page.place(last, gap[0]),
                remedy=f"write the {noun} into the header, or merge the cell that holds it over all its columns; "
                "delete columns of other things, such as growth rates",
            )
    year = caption.year() if undated else None
    if undated and year is None:
        raise _refuse_no_year(page, last, bare=bare)
    indicator = caption.indicator() if unnamed else ""
    return {
        column: replace(heading, indicator=heading.indicator or indicator, year=heading.year or year)
        for column, heading in columns.items()
    }


def _read_path(page: Page, spots: list[Spot]) -> Heading:
    """Read the cells above one column, from the top."""
    names, unit, years = list[str](), None, set[int]()
    for spot in spots:
        year = read_year(spot.cell)
        if year is not None:
            years.add(year)
        elif isinstance(spot.cell, str) and read_value(spot.cell) is None and not has_year(spot.cell):
            name, own = split_unit(spot.cell)
            names += [name] if name else []
            unit = own or unit
        else:
            mixed = isinstance(spot.cell, str) and has_year(spot.cell)
            said = "mixes a year with other words" if mixed else "is neither a year nor a name"
            raise SourceError(
                f"'{spot.cell}' in the header {said}",
                where=page.place(spot.row, spot.column),
                remedy="write the year, such as 2019年, and the indicator into two cells, one above the other",
            )
    if len(years) > 1:
        raise SourceError(
            f"two years stand above one column ({', '.join(map(str, sorted(years)))})",
            where=page.place(spots[-1].row, spots[-1].column),
            remedy="keep the right one",
        )
    return Heading(" / ".join(names), unit, next(iter(years), None))


def _refuse_no_year(page: Page, last: int, *, bare: bool) -> SourceError:
    if bare:
        return SourceError(
            "this is an ordinary table, not one of a yearbook: nothing stands above its header, which names no year",
            where=page.where,
            remedy="read it with Delimited",
        )
    return SourceError(
        "no year is found, neither in the header nor in the title",
        where=f"{page.where}, row {last}",
        remedy="write the years into the header (2019年), or the one year of the whole table into its title (2022年)",
    )
