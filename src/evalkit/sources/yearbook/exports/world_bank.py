"""The World Bank: World Development Indicators, and DataBank; years across, a country and a series in each row."""

from __future__ import annotations

import re
from collections.abc import Mapping

from evalkit.sources.files.cells import Cell
from evalkit.sources.yearbook.captions import Caption
from evalkit.sources.yearbook.exports.form import NOT_READ, CellRead, Export, find_header, read_double, rows_below
from evalkit.sources.yearbook.headings import Given, Heading
from evalkit.sources.yearbook.keys import Key, UnreadRow
from evalkit.sources.yearbook.layout import Layout
from evalkit.sources.yearbook.pages import Page
from evalkit.sources.yearbook.words import fold_words, write_cell

_YEAR = re.compile(r"((?:19|20)[0-9]{2})(?:[.]0)?(?: ?\[YR\1\])?")
_MISSING = (None, "..", "")
_BRACKET = re.compile(r"\s*\(((?:[^()]|\([^()]*\))*)\)")
_UNIT = re.compile(
    r"[%$=]|\b(?:LCU|per|kg|kt|kW|kWh|Mt|GWh|TJ|TEU|tons?|tonnes?|hectares?|sq\.|cubic|km|mm|years?|months?|weeks?|days?|hours?|"
    r"minutes?|births|deaths|people|persons|thousands?|millions?|billions?|scale|euros?|degrees|litres?|liters?|"
    r"ton-km|route-km|passenger-km|number)\b",
    re.IGNORECASE,
)
_HOW = re.compile(
    r"estimate|projection|cumulative|modell?ed|definition", re.IGNORECASE
)  # how it was found, not in what


def find_world_bank(page: Page, given: Given) -> list[Export] | None:
    """Tell the form by Country Name, Country Code, and Indicator Name with its code or Series Name with its code."""
    found = find_header(page, lambda words: _series_word(words) is not None)
    if found is None:
        return None
    row, words = found
    series = _series_word(words) or ""
    region, code = words["country name"], words["country code"]
    name, other = words[f"{series} name"], words[f"{series} code"]
    head = page.grid.cells[row]
    labels = {c: cell for c, cell in head.items() if c not in (region, code, name, other)}
    years = {c: int(said[1]) for c, cell in labels.items() if (said := _YEAR.fullmatch(write_cell(cell).strip()))}
    if not years:
        return None
    aside = {
        c: f"'{write_cell(cell)}' stands above the column, which is no year"
        for c, cell in labels.items()
        if c not in years
    }
    columns = {column: Heading(year=year, cells=((row, column),)) for column, year in sorted(years.items())}
    below = rows_below(page, row, region)
    rows = [one for one in below if {region, name} <= (held := page.grid.cells[one].keys()) or columns.keys() & held]
    split = dict[str, tuple[str, str | None]]()

    def read_key(one: int) -> Key:
        cells = page.grid.cells[one]
        said = {c: write_cell(cells[c]).strip() for c in (region, code, name) if c in cells}
        if region not in said or name not in said:
            raise UnreadRow("no name of a country and of a series stand beside it")
        if said[name] not in split:
            split[said[name]] = split_series(said[name])
        indicator, unit = split[said[name]]
        return Key(code=said.get(code), region=said[region], indicator=indicator, unit=unit)

    layout = Layout(
        rows[0] if rows else row + 1,
        None,
        "regions",
        region,
        code,
        None,
        None,
        columns,
        frozenset({name, other}),
        Caption(page, []),
        (row,),
        aside=aside,
        told={name: "indicator", other: "codes"},
    )
    return [Export(page, layout, rows, read_key, _read_cell)]


def split_series(name: str) -> tuple[str, str | None]:
    """Split the name of a series from its unit, its last bracket that is one: (current US$), not (World Bank estimate).

    A bracket that says how the number was found may stand behind the unit, and stays with the name.
    """
    name = " ".join(name.split())
    for found in reversed(list(_BRACKET.finditer(name))):
        rest = _BRACKET.sub("", name[found.end() :]).strip()
        if rest:
            break
        if _UNIT.search(found[1]) and not _HOW.search(found[1]):
            return (name[: found.start()] + name[found.end() :]).strip(), found[1].strip()
    return name, None


def _series_word(words: Mapping[str, int]) -> str | None:
    if "country name" not in words or "country code" not in words:
        return None
    return next((one for one in ("indicator", "series") if {f"{one} name", f"{one} code"} <= words.keys()), None)


def _read_cell(row: int, cell: Cell | None) -> CellRead | str:
    if cell is None or (isinstance(cell, str) and fold_words(cell) in _MISSING):
        return CellRead(float("nan"), "missing")
    value = read_double(cell)
    return NOT_READ if value is None else CellRead(value)
