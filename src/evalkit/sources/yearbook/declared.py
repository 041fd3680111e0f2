"""A declared layout: a TOML file that says where things stand on the pages of one awkward yearbook file."""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from evalkit.errors import SourceError, nearest
from evalkit.sources.files.cells import cell_name, column_letters, column_number
from evalkit.sources.yearbook.captions import Caption
from evalkit.sources.yearbook.headings import Given, Heading, RowsAre, complete, read_headings
from evalkit.sources.yearbook.layout import Layout, find_told
from evalkit.sources.yearbook.pages import Page
from evalkit.sources.yearbook.words import join_words, narrow, write_cell

_KEYS = ("sheet", "header", "first", "last", "region", "code", "year", "indicator", "unit", "columns", "correct")
_OF_ERRATUM = ("cell", "value", "source")
_OF_COLUMN = ("indicator", "unit", "year", "region")
_CELL = re.compile("([A-Z]{1,3})([1-9][0-9]{0,6})")
_LETTERS = re.compile("[A-Z]{1,3}")
_ROWS_ARE: Mapping[str, RowsAre] = {"region": "regions", "year": "years", "indicator": "indicators"}


@dataclass(frozen=True)
class Declared:
    """One [[table]]. `beside` are the columns that hold region, code, year, indicator or unit, by these words; `all` is what
    region, year, indicator or unit all values have in common. Rows and columns are counted from 1.
    """

    where: str
    sheet: str | None
    header: tuple[int, int] | None
    first: int
    last: int
    beside: Mapping[str, int]
    all: Heading
    columns: Mapping[int, Heading]


@dataclass(frozen=True)
class Erratum:
    """A number or a word that is to be read in place of what a cell holds, and who says so."""

    where: str
    sheet: str | None
    row: int
    column: int
    value: float | str
    source: str


@dataclass(frozen=True)
class Declarations:
    """All tables and errata of a layout file, and what is noted of it."""

    tables: Sequence[Declared] = ()
    errata: Sequence[Erratum] = ()
    notes: Sequence[str] = ()

    def of(self, sheet: str | None) -> list[Declared]:
        """Return the tables of a page."""
        return [one for one in self.tables if one.sheet == sheet]

    def correct(self, page: Page) -> tuple[Page, dict[tuple[int, int], str]]:
        """Return a page with its corrected cells, and what is noted of each; raise SourceError for a cell that holds nothing."""
        cells, notes = dict(page.grid.cells), dict[tuple[int, int], str]()
        for one in self.errata:
            if one.sheet != page.sheet:
                continue
            if (one.row, one.column) in notes:
                raise SourceError(
                    f"the cell {cell_name(one.row, one.column)} is corrected twice",
                    where=one.where,
                    remedy="leave one of the corrections",
                )
            held = cells.get(one.row, {}).get(one.column)
            if held is None:
                raise SourceError(
                    f"the cell {cell_name(one.row, one.column)} of {page.where} holds nothing to correct",
                    where=one.where,
                    remedy="correct the name of the cell, as Excel shows it (of text: the field's letter and the line)",
                )
            cells[one.row] = cells[one.row] | {one.column: one.value}
            notes[one.row, one.column] = f"corrected from '{write_cell(held)}' ({one.source})"
        unread = [one for one in page.grid.unread if (one.row, one.column) not in notes]
        return (replace(page, grid=replace(page.grid, cells=cells, unread=unread), keys={}) if notes else page), notes

    def check(self, sheets: Sequence[str | None]) -> None:
        """Raise SourceError for a table or a correction on a page that is not among those read."""
        declared: list[Declared | Erratum] = [*self.tables, *self.errata]
        for one in declared:
            if one.sheet not in sheets:
                names = [sheet for sheet in sheets if sheet is not None]
                said = "names no sheet" if one.sheet is None else f"is on sheet '{one.sheet}', which is not read"
                remedy = nearest(one.sheet or "", names) if names else "leave sheet out: the file has none"
                raise SourceError(f"the table {said}", where=one.where, remedy=remedy)


def read_layout(path: Path, beside: Path) -> Declarations:
    """Read a layout file, whose path may also be given from the folder of the yearbook (`beside`).

    Raises SourceError for a key that is unknown, missing or of the wrong kind.
    """
    where = path.as_posix()
    try:
        if not path.is_file() and not path.is_absolute():
            path = beside.parent / path
        where = path.as_posix()
        data = path.read_bytes()
    except (OSError, ValueError) as error:  # a name that is no path
        raise SourceError(f"the layout file cannot be read ({error})", where=where, remedy="check its path") from error
    try:
        content = tomllib.loads(data.decode("utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        remedy = "correct that line, and save the file as UTF-8"
        raise SourceError(f"the layout file is not valid TOML: {error}", where=where, remedy=remedy) from error
    tables = content.get("table")
    if set(content) != {"table"} or not isinstance(tables, list) or not tables:
        raise SourceError("the layout file holds no list of tables", where=where, remedy="begin each with [[table]]")
    sections = [_Section(f"{where}, table {i}", table) for i, table in enumerate(tables, start=1)]
    read = [one for section in sections if (one := section.read()) is not None]
    errata = [one for section in sections for one in section.errata]
    return Declarations(read, errata, [f"laid out by {path.name} (sha256 {hashlib.sha256(data).hexdigest()})"])


def lay_out_declared(page: Page, declared: Declared, given: Given) -> tuple[Page, Layout]:
    """Return the rows and columns of a declared table, and its layout; what it leaves open is read from the header rows."""
    used = [*declared.beside.values(), *declared.columns]
    part = page.part(0, declared.last, min(used), max(used) if declared.columns else max(page.width, *used))
    rows_are, key = next((kind, declared.beside[word]) for word, kind in _ROWS_ARE.items() if word in declared.beside)
    top, bottom = declared.header or (declared.first, declared.first - 1)
    header = [row for row in part.rows if top <= row <= bottom]
    rows = [row for row in part.rows if declared.first <= row <= declared.last]
    filled = {column for row in rows for column in part.grid.cells[row]}
    read, notes, bad = read_headings(part, header, key, filled - set(declared.beside.values()))
    for column, reason in bad:
        if column not in declared.columns:
            remedy = 'say what the column is below [table.columns]: B = { indicator = "…", year = 2019 }'
            raise SourceError(f"column {column_letters(column)}: {reason}", where=declared.where, remedy=remedy)
    beside = set(declared.beside.values())
    columns = {
        column: _override(read.get(column, Heading()), declared.columns.get(column, Heading()), declared.all)
        for column in (declared.columns or [column for column in read if column not in beside])
    }
    for noun, wanted in (("column", sorted({key, *columns} - filled)),):
        if wanted or not columns:
            letters = ", ".join(map(column_letters, wanted)) or "beside the names"
            raise SourceError(
                f"{noun} {letters} holds nothing in rows {declared.first} to {declared.last}",
                where=declared.where,
                remedy=f"correct the columns or rows; those of {page.where} are counted as Excel shows them",
            )
    caption = Caption(part, find_told(part, declared.first, top))
    time = declared.beside.get("year") if rows_are == "regions" else None
    ready = complete(part, columns, caption, given, rows_are=rows_are, dated=time is not None)
    if ready.aside:
        column, reason = next(iter(ready.aside.items()))
        remedy = 'say what the column is below [table.columns]: B = { indicator = "…", year = 2019 }'
        raise SourceError(f"column {column_letters(column)}: {reason}", where=declared.where, remedy=remedy)
    region = given.region if rows_are != "regions" else ""
    taken = ready.given | {"region" for one in ready.read.values() if region and not one.region}
    columns = {column: replace(one, region=one.region or region) for column, one in ready.read.items()}
    lacking = list(ready.lacking)
    if rows_are != "regions" and not all(heading.region for heading in columns.values()):
        lacking.append(("region", "the rows are not regions, and no region is named"))
    left_out = frozenset(filled - {*beside, *columns})
    if left_out:
        notes.append(f"columns {', '.join(map(column_letters, sorted(left_out)))} are left out by the layout")
    code, unit = declared.beside.get("code"), declared.beside.get("unit")
    return part, Layout(
        declared.first,
        declared.last,
        rows_are,
        key,
        code,
        time,
        unit,
        columns,
        left_out,
        caption,
        tuple(header),
        tuple(notes),
        lacking=tuple(lacking),
        given=taken,
    )


def _override(read: Heading, column: Heading, table: Heading) -> Heading:
    """Take each thing from the column's declaration, else from the table's, else from the header."""
    return replace(
        read,
        indicator=column.indicator or table.indicator or read.indicator,
        unit=column.unit or table.unit or read.unit,
        year=column.year or table.year or read.year,
        region=column.region or table.region,
    )


class _Section:
    """Read one [[table]] of a layout file."""

    def __init__(self, where: str, given: Any) -> None:
        self.where, self.given = where, given
        self.errata: list[Erratum] = []

    def read(self) -> Declared | None:
        """Return the table; None for a section that corrects cells of a table that is otherwise read as ever."""
        given = self._table(self.given, "", _KEYS)
        sheet = given.get("sheet")
        if sheet is not None and not isinstance(sheet, str):
            raise self._wrong("sheet", sheet, 'write its name in quotes: sheet = "5-3"')
        if "correct" in given:
            self.errata = self._read_errata(sheet, given["correct"])
            if set(given) <= {"sheet", "correct"}:
                return None
        first, last = (self._row(key, given.get(key)) for key in ("first", "last"))
        header = given.get("header")
        if header is not None:
            if not isinstance(header, list) or len(header) != 2:
                raise self._wrong("header", header, "write its first and last row: header = [3, 4]")
            header = (self._row("header", header[0]), self._row("header", header[1]))
        if not (header or (0, 0))[0] <= (header or (0, 0))[1] < first <= last:
            raise SourceError(
                "the rows of the header, the first and the last row of data do not follow one another",
                where=self.where,
                remedy="write them from top to bottom: header = [3, 4], first = 5, last = 20",
            )
        beside = {key: column_number(given[key]) for key in ("region", "code", "year", "indicator", "unit")
                  if _is_column(given.get(key))}  # fmt: skip
        if "code" in given and "code" not in beside:
            raise self._wrong("code", given["code"], 'write the letters of the column: code = "B"')
        if not set(_ROWS_ARE) & set(beside) or {"region", "indicator"} <= set(beside):
            raise SourceError(
                "no column holds the names of the rows, or two do",
                where=self.where,
                remedy='write region = "A" where column A names the regions, year = "A" where it holds years, or '
                'indicator = "A" where it names indicators',
            )
        columns = given.get("columns", {})
        if not isinstance(columns, dict) or not all(map(_is_column, columns)):
            raise self._wrong(
                "columns", columns, 'write B = { indicator = "农药使用量", year = 2019 } below [table.columns]'
            )
        if not columns and header is None:
            remedy = "write the rows of the header, or what each column is below [table.columns]"
            raise SourceError("neither header nor columns say what the columns are", where=self.where, remedy=remedy)
        things = {key: given[key] for key in _OF_COLUMN if key in given and key not in beside}
        read = {
            column_number(c): self._heading(self._table(one, f"columns.{c}", _OF_COLUMN)) for c, one in columns.items()
        }
        return Declared(self.where, sheet, header, first, last, beside, self._heading(things), read)

    def _read_errata(self, sheet: str | None, given: Any) -> list[Erratum]:
        written = '[[table.correct]] cell = "C7", value = 7.85, source = "erratum of 2023"'
        if not isinstance(given, list):
            raise self._wrong("correct", given, f"write it as a list of its own: {written}")
        found = []
        for one in given:
            one = self._table(one, "correct", _OF_ERRATUM)
            cell, value, source = (one.get(key) for key in _OF_ERRATUM)
            at = _CELL.fullmatch(cell) if isinstance(cell, str) else None
            if at is None:
                raise self._wrong("correct.cell", cell, f"write the name of one cell: {written}")
            if isinstance(value, bool) or not isinstance(value, int | float | str) or value == "":
                raise self._wrong("correct.value", value, f"write a number, or a word in quotes: {written}")
            if not isinstance(source, str) or not source.strip():
                raise self._wrong("correct.source", source, f"say where the right value is found: {written}")
            if not isinstance(value, str) and not -1e300 < value < 1e300:  # inf, nan, or more than a float64 holds
                raise self._wrong("correct.value", value, f"write a number: {written}")
            right = value.strip() if isinstance(value, str) else float(value)
            found.append(Erratum(self.where, sheet, int(at[2]), column_number(at[1]), right, " ".join(source.split())))
        return found

    def _heading(self, given: Mapping[str, Any]) -> Heading:
        year = given.get("year")
        if year is not None and (isinstance(year, bool) or not isinstance(year, int) or not 1900 <= year < 2100):
            raise self._wrong("year", year, 'write year = 2019, or the letters of the column of years: year = "B"')
        for key in ("indicator", "unit", "region"):
            if key in given and (not isinstance(given[key], str) or not given[key].strip()):
                raise self._wrong(key, given[key], f'write it in quotes: {key} = "…"')
        indicator, region = (join_words(narrow(given.get(key, ""))) for key in ("indicator", "region"))
        unit = "".join(narrow(given["unit"]).split()) if "unit" in given else None
        return Heading(indicator, unit, year, region)

    def _table(self, given: Any, name: str, known: Sequence[str]) -> dict[str, Any]:
        if not isinstance(given, dict):
            raise self._wrong(name, given, "write key = value")
        for key in given:
            if key not in known:
                raise SourceError(
                    f"the key '{name}{'.' if name else ''}{key}' is unknown",
                    where=self.where,
                    remedy=nearest(key, known),
                )
        return given

    def _row(self, key: str, given: Any) -> int:
        if isinstance(given, bool) or not isinstance(given, int) or given < 1:
            raise self._wrong(key, given, f"write the number of a row: {key} = 5")
        return given

    def _wrong(self, key: str, value: Any, remedy: str) -> SourceError:
        said = f"'{key}' is missing" if value is None else f"the value of '{key}' cannot be {value!r}"
        return SourceError(said, where=self.where, remedy=remedy)


def _is_column(given: Any) -> bool:
    return isinstance(given, str) and _LETTERS.fullmatch(given) is not None
