"""The names beside the rows of a yearbook table: regions with their codes, years, or indicators."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from evalkit.errors import SourceError
from evalkit.sources.files.cells import Cell, column_letters
from evalkit.sources.yearbook.headings import clean_name, is_header_word
from evalkit.sources.yearbook.layout import Layout, read_code
from evalkit.sources.yearbook.pages import Page
from evalkit.sources.yearbook.words import join_words, narrow, read_value, read_year, split_part, split_translation


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
        """Return what the names of a row say; raise SourceError where they are not understood."""
        cells, layout = self.page.grid.cells[row], self.layout
        name = self._name(row)
        self._refuse_others(cells, row)
        if layout.rows_are == "years":
            year = read_year(name)
            if year is None:
                raise self._refuse(
                    row, layout.key, f"'{name}' stands instead of a year", "write the year, such as 2019年"
                )
            return Key(year=year)
        if not isinstance(name, str) or read_value(name) is not None:
            said = "no name of a region stands" if name is None else f"{name!r} stands instead of the name of a region"
            raise self._refuse(row, layout.key, f"{said} in a row with values", "write the name, or delete the row")
        years = [read_year(cells.get(column)) for column in layout.columns]
        if is_header_word(name) or (any(self._years) and len(years) > 1 and years == self._years):
            raise refuse_second(self.page, row, layout.key, name)
        if read_year(name) is not None:
            raise self._refuse(
                row,
                layout.key,
                f"the year '{name}' stands where the name of a region should be",
                "turn the table, so that each row is a region, and each column a year or an indicator",
            )
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
        if code is not None and read_code(code) is None:
            what = f"'{code}' is not a region's code of six digits"
            raise self._refuse(row, layout.code or 0, what, "correct the code, or empty the cell")
        year = None
        if layout.time is not None and (year := read_year(cells.get(layout.time))) is None:
            raise self._refuse(
                row, layout.time, "no year stands beside the name of a region", "write it, or delete the row"
            )
        key = Key(code=read_code(code), region=name, year=year, unit=self._unit_beside(row))
        return self._place_part(row, name, key, is_part=is_part)

    def _read_indicator(self, row: int, words: str) -> Key:
        is_part, name, unit = clean_name(words)
        unit = self._unit_beside(row) or unit
        key = Key(indicator=name, unit=unit)
        if is_part and self._whole:
            whole = self._whole
            key = replace(key, indicator=f"{whole.indicator} / {name}", unit=unit or whole.unit)
        return self._place_part(row, name, key, is_part=is_part)

    def _unit_beside(self, row: int) -> str | None:
        cell = self.page.grid.cells[row].get(self.layout.unit) if self.layout.unit is not None else None
        return "".join(narrow(cell).split()) or None if isinstance(cell, str) else None

    def _place_part(self, row: int, name: str, key: Key, *, is_part: bool) -> Key:
        if not name:
            what = "no name stands behind the words 'of which'"
            raise self._refuse(row, self.layout.key, what, "write the name, or delete the row")
        if not is_part:
            self._whole = key
            return key
        if self._whole is None:
            what = f"'{name}' is part of another row, and none stands above it"
            raise self._refuse(row, self.layout.key, what, "write the row of the whole above it, or its full name")
        whole = self._whole.region or self._whole.indicator
        return replace(key, whole=whole)

    def _refuse_others(self, cells: Mapping[int, Cell], row: int) -> None:
        layout = self.layout
        known = {layout.key, layout.code, layout.time, layout.unit, *layout.columns, *layout.left_out}
        for column, cell in cells.items():
            if column not in known:
                what = f"'{cell}' stands in column {column_letters(column)}, which has no header"
                raise self._refuse(row, column, what, "write a header above the column, or delete it")

    def _refuse(self, row: int, column: int, what: str, remedy: str) -> SourceError:
        return SourceError(what, where=self.page.place(row, column), remedy=remedy)


def refuse_second(page: Page, row: int, column: int, word: str) -> SourceError:
    """Make the error for words among the data that begin another table."""
    return SourceError(
        f"a second table begins below the first ('{narrow(word).strip()}')",
        where=page.place(row, column),
        remedy="move it onto a sheet of its own, with its title, its unit and its header",
    )
