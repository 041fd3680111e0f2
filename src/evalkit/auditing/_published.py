"""Published values: the rows of yearbook tables, with what their digits, units and names of regions say."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from evalkit.auditing._codes import Objects, row_codes
from evalkit.auditing._digits import half_units
from evalkit.auditing._places import read_places
from evalkit.auditing._series import Series, read_series
from evalkit.columns import Flags, Floats, Ints, numbers
from evalkit.errors import DataError, nearest
from evalkit.table import Table

_NEEDED = ("indicator", "value", "unit", "file", "sheet", "cell")


@dataclass(frozen=True)
class Published:
    """Values as printed, one per row of `frame`; arrays are (n,). `names` are the regions', `units` and `cells` (with the sheet)
    those of the values.

    `volume` and `sheet` number the files and their sheets; `place` the regions, by code where it is known, else by name.
    `code` is 0 where there is none. `half` is half a unit of the last digit published; `factor` turns `value` into the unit of
    its series. `newness` (V,) ranks the volumes, equal where it is not known which one is newer.
    """

    frame: pd.DataFrame
    names: Objects
    units: Objects
    cells: Objects
    volumes: tuple[str, ...]
    newness: Ints
    volume: Ints
    sheet: Ints
    place: Ints
    code: Ints
    role: Ints
    year: Ints
    series: Ints
    kinds: tuple[Series, ...]
    value: Floats
    half: Floats
    factor: Floats

    def __len__(self) -> int:
        return len(self.frame)

    def region(self, row: int) -> str:
        """Name the region of a row."""
        return str(self.names[row])

    def indicator(self, row: int) -> str:
        """Name the indicator of a row."""
        return self.kinds[int(self.series[row])].indicator

    def unit(self, row: int) -> str:
        """Return the unit in which a value is printed, "" where none is known."""
        return str(self.units[row])

    def address(self, row: int) -> str:
        """Name the cell of a row: sheet and cell, without the file."""
        return str(self.cells[row])

    def place_of(self, row: int) -> str:
        """Name the file and the cell of a row."""
        return f"{self.volumes[self.volume[row]]} {self.address(row)}"

    def flags(self, name: str) -> Flags:
        """Say for each row whether its series `adds`, `is_rate` or `is_generic`."""
        return np.array([getattr(one, name) for one in self.kinds], dtype=bool)[self.series]


def read_published(tables: Sequence[Table], region: str, time: str) -> Published:
    """Join long tables of yearbooks and read what stands behind their numbers.

    Raises DataError for a table without the columns of the long form.
    """
    frame, volume, volumes = _stack(tables, region, time)
    texts = {name: frame[name].fillna("").to_numpy(dtype=object) for name in (region, "indicator", "unit", "sheet")}
    year, value = numbers(frame, time).astype(np.int64), numbers(frame, "value")
    sheet = row_codes(volume, texts["sheet"])
    role, code, place = read_places(texts[region], frame["region_code"], year, sheet)
    newness = _rank(volumes, volume, np.where(np.isfinite(value), year, 0))
    series, kinds, factor = read_series(texts["indicator"], texts["unit"], newness[volume])
    half = half_units(value, row_codes(sheet, series, year))
    below = (frame["mark"] == "below_unit").to_numpy(dtype=bool)
    cells = frame["cell"].astype("str").where(texts["sheet"] == "", frame["sheet"] + "!" + frame["cell"])
    return Published(
        frame,
        texts[region],
        texts["unit"],
        cells.to_numpy(dtype=object),
        volumes,
        newness,
        volume,
        sheet,
        place,
        code,
        role,
        year,
        series,
        kinds,
        np.where(below, 0.0, value),
        np.where(below, 2 * half, half),
        factor,
    )


def _stack(tables: Sequence[Table], region: str, time: str) -> tuple[pd.DataFrame, Ints, tuple[str, ...]]:
    """Put the rows of all tables below one another; number their files, and name each, by its path where names repeat."""
    parts, volume, names = list[pd.DataFrame](), list[Ints](), list[tuple[str, str]]()
    for table in tables:
        for column in (region, time, *_NEEDED):
            if column not in table.frame.columns:
                raise DataError(
                    f"there is no column '{column}': this is not the long table of a yearbook",
                    where=table.name,
                    remedy="load it without columns=, as Yearbook(path).load() does; "
                    + nearest(column, map(str, table.frame.columns)),
                )
        found = table.frame.reset_index(drop=True)
        # The digits are those of the page: a conversion adds some.
        printed = [(as_read, column) for as_read, column in (("published_value", "value"), ("published_unit", "unit"))]
        found = found.assign(**{column: found[as_read] for as_read, column in printed if as_read in found.columns})
        for column, missing in (("region_code", None), ("mark", ""), ("note", "")):
            if column not in found.columns:
                found[column] = pd.Series(missing, index=found.index, dtype="str")
        codes, files = pd.factorize(found["file"].fillna(table.name))
        path = table.provenance[0].path if len(files) == 1 and table.provenance else ""
        volume.append(codes.astype(np.int64) + len(names))
        names += [(str(file), path) for file in files]
        wanted = [region, time, "region_code", "mark", "note", *_NEEDED]
        parts.append(found[[*dict.fromkeys(wanted)]])
    plain = [name for name, _ in names]
    shown = tuple(path if plain.count(name) > 1 and path else name for name, path in names)
    return pd.concat(parts, ignore_index=True), np.concatenate(volume), shown


def _rank(volumes: tuple[str, ...], volume: Ints, year: Ints) -> Ints:
    """Rank volumes by their last year with a number, then by the last year in their names."""
    last = pd.Series(year).groupby(volume).max()
    named = [max([0, *map(int, re.findall(r"(?<!\d)(?:19|20)\d\d(?!\d)", name))]) for name in volumes]
    keys = [(int(last.get(i, 0)), named[i]) for i in range(len(volumes))]
    order = sorted(set(keys))
    return np.array([order.index(key) for key in keys], dtype=np.int64)
