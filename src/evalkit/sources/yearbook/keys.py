"""The names beside the rows of a yearbook table: regions with their codes, years, or indicators."""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass, replace

from evalkit.sources.files.cells import Cell
from evalkit.sources.yearbook.headings import clean_name, is_header_word, is_part_of_year
from evalkit.sources.yearbook.layout import Layout, read_code
from evalkit.sources.yearbook.pages import Page
from evalkit.sources.yearbook.words import (
    join_words,
    narrow,
    read_value,
    read_year,
    split_part,
    split_translation,
    write_cell,
)


@dataclass(frozen=True)
class Key:
    """What the names of one row say; "" and None where the columns say it. `whole` is what the row says that it is part of."""

    code: str | None = None
    region: str = ""
    year: int | None = None
    indicator: str = ""
    unit: str | None = None
    whole: str = ""


class Keys:
    """Read the names of rows one after the other; a name that is part of another belongs to the last that is none."""

    def __init__(self, page: Page, layout: Layout) -> None:
        self.page, self.layout = page, layout
        self._whole: Key | None = None
        self._years = [heading.year for heading in layout.columns.values()]

    def read(self, row: int) -> Key:
        """Return what the names of a row say; raise UnreadRow where they are not understood."""
        cells, layout = self.page.grid.cells[row], self.layout
        for column in (layout.key, layout.time):
            if column is not None and (unread := self.page.unread.get((row, column))):
                raise UnreadRow(f"the cell of its name {unread.why}")
        name = self._name(row)
        if layout.rows_are == "years":
            year = read_year(name)
            if year is None:
                raise UnreadRow(f"'{name}' stands instead of a year")
            return Key(year=year)
        if not isinstance(name, str) or read_value(name) is not None:
            said = (
                "no name of a region stands"
                if name is None
                else f"'{write_cell(name)}' stands instead of the name of a region"
            )
            raise UnreadRow(f"{said} in the row")
        years = [read_year(cells.get(column)) for column in layout.columns]
        if is_header_word(name) or (any(self._years) and len(years) > 1 and years == self._years):
            raise SecondTable(f"a second table begins below the first ('{narrow(name).strip()}')")
        if read_year(name) is not None:
            raise SecondTable(f"the year '{name}' stands where the name of a region should be")
        if is_part_of_year(join_words(narrow(name))):
            raise UnreadRow(f"'{name}' is not a whole year")
        return self._read_indicator(row, name) if layout.rows_are == "indicators" else self._read_region(row, name)

    def _name(self, row: int) -> Cell | None:
        """Return the name of a row; where a column of years stands beside it, a merged one is that of all its rows."""
        if self.layout.time is None:
            return self.page.grid.cells[row].get(self.layout.key)
        spot = self.page.spread(row).get(self.layout.key)
        return spot.cell if spot else None

    def _read_region(self, row: int, words: str) -> Key:
        layout, cells = self.layout, self.page.grid.cells[row]
        chinese = words[: len(split_translation(narrow(words))[0])]
        is_part, _ = split_part(narrow(chinese))
        name = join_words(chinese[len(chinese) - len(split_part(narrow(chinese))[1]) :])
        code = cells.get(layout.code) if layout.code is not None else None
        year = None
        if layout.time is not None and (year := read_year(cells.get(layout.time))) is None:
            raise UnreadRow("no year stands beside the name of the region")
        year = year or self._year_of_block(row)
        key = Key(code=read_code(code), region=name, year=year, unit=self._unit_beside(row))
        return self._place_part(row, name, key, is_part=is_part)

    def _read_indicator(self, row: int, words: str) -> Key:
        is_part, name, unit = clean_name(words)
        unit = self._unit_beside(row) or unit
        key = Key(indicator=name, unit=unit, year=self._year_of_block(row))
        if is_part and self._whole:
            whole = self._whole
            key = replace(key, indicator=f"{whole.indicator} / {name}", unit=unit or whole.unit)
        return self._place_part(row, name, key, is_part=is_part)

    def _unit_beside(self, row: int) -> str | None:
        cell = self.page.grid.cells[row].get(self.layout.unit) if self.layout.unit is not None else None
        return "".join(narrow(cell).split()) or None if isinstance(cell, str) else None

    def _place_part(self, row: int, name: str, key: Key, *, is_part: bool) -> Key:
        if not name:
            raise UnreadRow("no name stands behind the words 'of which'")
        if name.startswith("#"):
            raise UnreadRow(f"'{name}' is part of a part, and it is not certain of which")
        if not re.search(r"\w", name):
            raise UnreadRow(f"'{name}' stands instead of the name of a region")
        if not is_part:
            self._whole = key
            return key
        if self._whole is None:
            raise UnreadRow(f"'{name}' is part of another row, and none stands above it")
        whole = self._whole.region or self._whole.indicator
        return replace(key, whole=whole)

    def _year_of_block(self, row: int) -> int | None:
        at = bisect_right(self.layout.blocks, row, key=lambda block: block[0])
        return self.layout.blocks[at - 1][1] if at else None


class UnreadRow(Exception):  # noqa: N818 - a reason, which is listed and not raised to the user
    """Why the names of a row are not understood."""


class SecondTable(UnreadRow):
    """Another table begins among the rows of one; the rows below are not read."""
