"""Region, year and indicator of each column: from its header, the names of the rows, and the words above the table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

from evalkit.errors import SourceError
from evalkit.sources._caption import Caption
from evalkit.sources._headings import Heading, header_word
from evalkit.sources._pages import Page
from evalkit.sources._words import is_place, join

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
            join(cell) for row in page.rows if row >= first and isinstance(cell := page.grid.cells[row].get(key), str)
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
