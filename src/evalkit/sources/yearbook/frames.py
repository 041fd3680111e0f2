"""Frames: readings of a yearbook as a long and as a wide table, and sentences on them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from fractions import Fraction
from itertools import groupby
from math import isnan
from pathlib import PurePosixPath

import pandas as pd

from evalkit.errors import SourceError
from evalkit.sources.files.cells import cell_name, column_letters
from evalkit.sources.yearbook.readings import Reading
from evalkit.sources.yearbook.words import WITHOUT_NUMBER
from evalkit.tables.units import unit_ratio

LONG = (
    *("region_code", "indicator", "value", "unit", "mark", "published_value", "published_unit", "note"),
    *("file", "sheet", "cell"),
)
"""Columns of the long frame, beside those of the region and the time."""


def make_long(readings: Sequence[Reading], region: str, time: str) -> pd.DataFrame:
    """Return one row per value, in the order of the file, indexed by the cells."""
    names = {file: PurePosixPath(file).name for file in {reading.page.file for reading in readings}}
    columns: dict[str, object] = {
        "region_code": pd.array([reading.code for reading in readings], dtype="str"),
        region: pd.array([reading.region for reading in readings], dtype="str"),
        time: pd.array([reading.year for reading in readings], dtype="int64"),
        "indicator": pd.array([reading.indicator for reading in readings], dtype="str"),
        "value": pd.array([reading.value for reading in readings], dtype="float64"),
        "unit": pd.array([reading.unit for reading in readings], dtype="str"),
        "mark": pd.array([reading.mark for reading in readings], dtype="str"),
        "published_value": pd.array([reading.published[0] for reading in readings], dtype="float64"),
        "published_unit": pd.array([reading.published[1] for reading in readings], dtype="str"),
        "note": pd.array([reading.note for reading in readings], dtype="str"),
        "file": pd.array([names[reading.page.file] for reading in readings], dtype="str"),
        "sheet": pd.array([reading.page.sheet for reading in readings], dtype="str"),
        "cell": pd.array([cell_name(reading.row, reading.column) for reading in readings], dtype="str"),
    }
    return pd.DataFrame(columns, index=pd.Index([reading.address for reading in readings], name="row", dtype="str"))


def make_wide(readings: Mapping[str, Sequence[Reading]], region: str, time: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return one row per region and year, regions in the order of the file, and the file, sheet and cell of each value beside.

    The column names are the keys of `readings`; the index is the cell of the first column that has one. Raises SourceError where
    two places give different values.
    """
    rows: dict[tuple[str, int], dict[str, Reading]] = {}
    for name, found in readings.items():
        for reading in found:
            row = rows.setdefault((reading.region, reading.year or 0), {})  # what lacks a year was refused before
            row[name] = _agree(row[name], reading) if name in row else reading
    order = {place: i for i, place in enumerate(dict.fromkeys(place for place, _ in rows))}
    keys = sorted(rows, key=lambda key: (order[key[0]], key[1]))
    columns: dict[str, object] = {
        region: pd.array([place for place, _ in keys], dtype="str"),
        time: pd.array([year for _, year in keys], dtype="int64"),
    }
    cells = dict(columns)
    for name in readings:
        found_of = [rows[key].get(name) for key in keys]
        columns[name] = pd.array([one.value if one else float("nan") for one in found_of], dtype="float64")
        sources = [f"{one.page.name} {one.address}" if one else None for one in found_of]
        cells[name] = pd.array(sources, dtype="str")
    index = pd.Index([next(iter(rows[key].values())).address for key in keys], name="row", dtype="str")
    return pd.DataFrame(columns, index=index), pd.DataFrame(cells, index=index)


def pick_unit(readings: Sequence[Reading]) -> str:
    """Return the one unit of a column; raise SourceError where two places give it in different ones."""
    first: dict[str, Reading] = {}
    for reading in readings:
        first.setdefault(str(reading.unit), reading)
    if len(first) > 1:
        one, other, *_ = first.values()
        raise SourceError(
            f"'{one.indicator}' is in {one.unit} in {one.address} and in {other.unit} in {other.address}",
            where=one.page.file,
            remedy=f'choose one by its unit, as columns={{"x": "{one.indicator} ({one.unit})"}}; or convert both: '
            f'convert={{"{one.indicator}": "{one.unit}"}}; or read the sheets of one unit by sheets=',
        )
    return next(iter(first))


def describe_readings(name: str, readings: Sequence[Reading]) -> list[str]:
    """Say from which cells a column came and which marks stand among them, one sentence per sheet."""
    sentences = []
    for page, group in groupby(readings, key=lambda reading: reading.page):
        found = list(group)
        marks = Counter(reading.mark for reading in found if isnan(reading.value))
        counted = [f"{marks[mark]} {said}" for mark, said in WITHOUT_NUMBER.items() if marks[mark]]
        flags = Counter(flag for one in found if one.mark and not isnan(one.value) for flag in one.mark.split())
        counted += [f"{number} {flag.replace('_', ' ')}" for flag, number in sorted(flags.items())]
        units = ", ".join(dict.fromkeys(_write_unit(reading) for reading in found))
        sheet = "" if page.sheet is None else f"sheet '{page.sheet}', "
        sentences.append(
            ("" if name == found[0].indicator else f"{name} is ")
            + f"'{found[0].indicator}' ({units}) from {sheet}cells {_range(found)}"
            + (f", of which {', '.join(counted)}" if counted else "")
        )
    return sentences


def convert_reading(reading: Reading, to: str) -> Reading:
    """Express a value in another unit, exactly: the number as it is printed times a fraction, rounded once.

    Raises DataError for a unit that is unknown or of another kind.
    """
    factor = unit_ratio(reading.unit or "", to, where=reading.page.place(reading.row, reading.column))
    value = reading.value if isnan(reading.value) else float(Fraction(repr(reading.value)) * factor)
    return reading._replace(value=value, unit=to)


def _write_unit(reading: Reading) -> str:
    published = str(reading.published[1])
    return published if reading.unit == published else f"{reading.unit}, published in {published}"


def _agree(one: Reading, other: Reading) -> Reading:
    """Keep the reading that says more; raise SourceError where two say different things."""
    if one.code and other.code and one.code != other.code:
        raise SourceError(
            f"two regions are called {one.region} ({one.code} in {one.address}, {other.code} in {other.address})",
            where=one.page.file,
            remedy="read the long form, without columns=, in which region_code tells them apart",
        )
    if other.mark == "missing" or one.value == other.value or (isnan(one.value) and one.mark == other.mark):
        return one
    if one.mark == "missing":
        return other
    said = [
        WITHOUT_NUMBER[reading.mark] if isnan(reading.value) else f"{reading.value:.15g}" for reading in (one, other)
    ]
    raise SourceError(
        f"'{one.indicator}' of {one.region} in {one.year} is {said[0]} in {one.address} and {said[1]} in {other.address}",
        where=one.page.file,
        remedy="find out which was published last, and read its sheets by sheets=",
    )


def _range(readings: Sequence[Reading]) -> str:
    top, bottom = min(reading.row for reading in readings), max(reading.row for reading in readings)
    columns = sorted({reading.column for reading in readings})
    runs = [[column for _, column in run] for _, run in groupby(enumerate(columns), key=lambda pair: pair[1] - pair[0])]
    return ", ".join(f"{column_letters(run[0])}{top}:{column_letters(run[-1])}{bottom}" for run in runs)
