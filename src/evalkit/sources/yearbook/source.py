"""Yearbook: the tables of a statistical yearbook, in a workbook (.xls, .xlsx), a web page or a text export."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import partial
from itertools import groupby
from math import isnan
from pathlib import Path, PurePosixPath

import pandas as pd

from evalkit.auditing import note_audit
from evalkit.errors import EvalkitError, SourceError, nearest
from evalkit.sources.files.cells import MOST_ERRORS, cell_name, column_letters, combine_cells
from evalkit.sources.files.columns import check_known
from evalkit.sources.sidecar import Sidecar, read_sidecar, with_sidecar
from evalkit.sources.yearbook.captions import Caption, known_unit, name_indicator
from evalkit.sources.yearbook.declared import Declarations, read_layout
from evalkit.sources.yearbook.explain import Explanation, explain_pages
from evalkit.sources.yearbook.exports.registry import read_export
from evalkit.sources.yearbook.headings import Given
from evalkit.sources.yearbook.lacks import FILE_NAME, find_lacks, refuse_lacks, years_in_name
from evalkit.sources.yearbook.pages import Page, Pages, read_pages
from evalkit.sources.yearbook.readings import PageRead, Reading, Readings, read_page
from evalkit.sources.yearbook.series import NEWEST, join_volumes, make_wide_series
from evalkit.sources.yearbook.unplaced import Unplaced, describe_unplaced, make_unplaced, refuse_unplaced
from evalkit.sources.yearbook.volumes import (
    Volume,
    describe_outcomes,
    find_apart,
    find_files,
    list_apart,
    list_contents,
    make_catalogue,
    read_volumes,
)
from evalkit.sources.yearbook.words import WITHOUT_NUMBER, fold_words, is_chinese, join_words, narrow
from evalkit.tables.table import Table
from evalkit.tables.units import unit_ratio


@dataclass(frozen=True)
class Yearbook:
    """Name a file with tables of a statistical yearbook or an export of a statistical site, or many, and what is wanted of them.

    `path` is a file; or a folder (with the folders in it), a pattern ("data/raw/*/6-2.xls") or a list of files, whose values
    become one series for each region and indicator. Values of one year that stand in several volumes have to agree to rounding;
    a series of which any do not is left out, and listed in `Table.unplaced`, unless `splice` names its indicator:
    {"化肥施用量": "newest"} takes each year from the newest volume that prints it, {"化肥施用量": 2016} that and later years so,
    and earlier ones from the oldest. `renamed` joins indicators that changed their names, {old: new}; likely ones are offered in
    `Table.disagreements`.

    `columns` maps names of your own to indicators: `{"rural_income": "农村居民人均可支配收入"}`, where one name is in several
    units with the unit in brackets (`"B6N (EUR_HAB)"`); without it the table is long. `sheets` names the sheets to read;
    none means every visible one with data. `keys` names the key columns, of regions and of years, so that they match those
    of other tables. `convert` gives the unit in which an indicator is wanted, whatever it was published in: `{"农药使用量":
    "吨"}`.

    What the file does not say is said here: `year`, `region` and `indicator` are the one year, region and indicator of all
    values of tables that name none, `units` gives indicators their units, or the parts of one ("A / B") that have none. One that
    no table needs is refused. With `year="file name"` the year is taken from the name of the file where nothing in it says one.
    `strict` refuses a file with any cell that is not placed, and of many volumes all if one is refused; else such cells are
    listed and the rest is read.

    `layout` names a TOML file that says where things stand in a file that is not understood, or not rightly. It counts rows
    from 1 and names columns by letters, as Excel does (for text and web pages: lines, fields). The sheets that it names are
    read by it alone, all others as ever::

        [[table]]                  # one for each table; several may be on one sheet
        sheet = "3-11"             # left out for text and web pages
        header = [3, 4]            # first and last row of the header; may be left out if [table.columns] says it all
        first = 5                  # first and last row of data; rows of words between them are notes
        last = 37
        region = "A"               # the column of the names of regions, or the one region of all rows: "昌吉州"
        code = "B"                 # the column of region codes, if there is one
        year = 2019                # the one year of all values, or the column of years: "B"
        indicator = "农药使用量"    # the one indicator of all values, or the column that names indicators: "A"
        unit = "吨"                # the one unit of all values, or the column of units: "B"

        [table.columns]            # which columns to read; if left out, all that have a header
        C = { indicator = "农用化肥施用量", unit = "万吨", year = 2018 }
        D = { year = 2019 }        # what is not said here is as said above, or else as in the header

        [[table.correct]]          # a misprint; a [[table]] that holds nothing else is read as ever
        cell = "C7"
        value = 7.85
        source = "errata of 2020"

    At least one of region, indicator and year is a column, that of the names of the rows; a year beside a region is another.
    """

    path: str | Path | tuple[str | Path, ...]
    columns: Mapping[str, str] = field(default_factory=dict, hash=False)
    sheets: tuple[str, ...] = ()
    units: Mapping[str, str] = field(default_factory=dict, hash=False)
    year: int | str | None = None
    region: str = ""
    indicator: str = ""
    keys: tuple[str, str] = ("region", "year")
    convert: Mapping[str, str] = field(default_factory=dict, hash=False)
    layout: str | Path | None = None
    strict: bool = False
    splice: Mapping[str, str | int] = field(default_factory=dict, hash=False)
    renamed: Mapping[str, str] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        if not isinstance(self.path, (str, Path)):
            object.__setattr__(self, "path", tuple(self.path))
        where = self._where
        if isinstance(self.sheets, str):
            remedy = f'write sheets=("{self.sheets}",)'
            raise SourceError("sheets= is one word, not a tuple of names of sheets", where=where, remedy=remedy)
        object.__setattr__(self, "sheets", tuple(self.sheets))
        if isinstance(self.keys, str) or len(self.keys) != 2:
            remedy = 'write keys=("region", "year")'
            raise SourceError(
                "keys= does not name two columns, those of regions and of years", where=where, remedy=remedy
            )
        object.__setattr__(self, "keys", tuple(self.keys))
        names = [*self.keys, *(self.columns or LONG)]
        for name in names:
            if names.count(name) > 1:
                remedy = "give each column of the table its own name"
                raise SourceError(f"two columns would be called '{name}'", where=where, remedy=remedy)
        is_year = isinstance(self.year, int) and not isinstance(self.year, bool) and 1900 <= self.year < 2100
        if self.year is not None and self.year != FILE_NAME and not is_year:
            remedy = f'write year=2019, or year="{FILE_NAME}" to take it from there'
            raise SourceError(f"year={self.year!r} is neither a year nor '{FILE_NAME}'", where=where, remedy=remedy)
        for indicator, since in self.splice.items():
            if since != NEWEST and not (isinstance(since, int) and 1900 <= since < 2100):
                raise SourceError(
                    f"splice= of '{indicator}' is {since!r}, neither a year nor '{NEWEST}'",
                    where=where,
                    remedy=f'write "{NEWEST}" to take each year from the newest volume, or the year from which to do so',
                )
        if not isinstance(self.units, Mapping):
            remedy = 'write units={"农药使用量": "吨"}'
            raise SourceError("units= does not map indicators to units", where=where, remedy=remedy)
        said = {"region=": self.region, "indicator=": self.indicator}
        for name, words in (
            said | {f"units= of '{indicator}'": unit for indicator, unit in self.units.items()}
        ).items():
            if not isinstance(words, str):
                raise SourceError(f"{name} is {words!r} and not a word", where=where, remedy="write it in quotes")
            if words and not words.strip(" .…"):
                raise SourceError(f"{name} says nothing", where=where, remedy="write it in place of …")

    def files(self) -> tuple[Path, ...]:
        """Every volume, its sidecar if there is one, and the declared layout if one is named."""
        files = find_files(self.path)
        layout = () if self.layout is None else (Path(self.layout),)
        volumes = [Path(self._where)] if files is None else files
        return (*(one for volume in volumes for one in with_sidecar(volume)), *layout)

    def load(self) -> Table:
        """Read the file into a Table, indexed by cells; or all volumes into one, indexed by file, sheet and cell.

        The kind of file is told from its bytes: .xls of Excel 97 and later and .xlsx, also encrypted under Excel's default
        password, as most yearbooks on sale are; HTML, whatever it is called; text with separators, plain or gzipped.

        With `columns`: one row per region and year, a column per name, its unit in `units`. Without: one row per published
        value with columns region_code (missing where the sheet has none), region, year, indicator, value, unit, mark,
        published_value, published_unit (before any conversion), note, file, sheet (missing for text) and cell; the file by its
        name, whose path is in the provenance. Where there is no number the value is NaN and the mark says why: "below_unit"
        for "…" and "<0.01", "none" for "-" and "空", "missing" for an empty cell, "suppressed" for one that is confidential,
        "unread" for a cell that holds something else. The mark of a number is "", or the flags that its publisher set, such
        as "break provisional". The note is what footnotes (注) and remarks say of the indicator, of the row, of the column
        and of the cell; "part of X" marks 其中 and "#".

        An indicator is called as in the header, without the unit in brackets, ordinal numbers and translations, levels and
        parts (其中) joined by " / "; where the header holds only years, as in the title, without the table number, the year and
        words such as 各县市 in front, and the unit behind. A name in the header stands over empty cells to its right as well.
        Regions, years or indicators may stand beside the rows. Names of regions lose the spaces inside them; totals (合计,
        全州) are regions. Tables side by side and below one another, and continuations (续表), are read one by one.

        Every number of the file is in the frame or in `unplaced`, with the reason. The notes of the provenance say from which
        cells each column came, what stood above and below the tables, which sheets hold none, and what an audit of the values
        found (`evalkit.audit` lists it). Raises SourceError where nothing is read, and, with the settings that answer it, for
        all that the file does not say: a unit or two, a year, a region, an indicator.

        Of several volumes, one that is refused is reported and the others are read: `Table.catalogue` says what became of each
        (see `catalogue`). The long table has one row per region, year and indicator, in the unit of the newest volume or that of
        `convert`, and a further column "also": the other cells that print the same value. `Table.cells` has the source of each
        value of the wide one. `Table.disagreements` has one row for each value or name on which volumes disagree: kind (revision,
        duplicate, power_of_ten, unit, scope, rename; splice where one was declared), region, year, indicator, value, unit, other
        (what the newer volume says), change (what it makes of the value, less 1), joined (whether the series is in the table),
        file, sheet, cell, against, sentence_en, sentence_zh, and, beside `columns`, column. Raises SourceError where no volume is
        read, and for settings that none needs.
        """
        if (files := find_files(self.path)) is not None:
            return self._load_series(files)
        for setting, said in (("splice=", self.splice), ("renamed=", self.renamed)):
            if said:
                raise SourceError(
                    f"{setting} is about several volumes, and this is one file",
                    where=self._where,
                    remedy="leave it out, or name the folder of the volumes",
                )
        read = self._read(path := Path(self._where), self.columns.values())
        wanted = _find_wanted(
            self.columns, read.indicators, self._where, lacks=any(table.layout.lacking for table in read.tables)
        )
        sidecar = read_sidecar(path)
        units = self._merge_units(sidecar, read)
        converted = _by_indicator(_plain_units(self.convert), read.indicators)
        check_known(converted, read.indicators, self._where, "convert=", noun="indicator")
        asked = {said if said in read.indicators else _without_unit(said)[0] for said in wanted.values()}
        used = self._use(read, asked, units)
        self._refuse_unused(read.tables)
        values, notes = list[Reading](), [*read.notes, *describe_unplaced(read.unplaced)]
        for table, found in zip(read.tables, used, strict=True):
            values += [convert_reading(one, to) if (to := converted.get(one.indicator)) else one for one in found]
            notes += table.notes if found else []
        by_indicator: dict[str, list[Reading]] = {}
        for one in values:
            by_indicator.setdefault(one.indicator, []).append(one)
        by_name = {name: _pick(by_indicator, said, self._where) for name, said in wanted.items()}
        notes = [note for name, readings in by_name.items() for note in describe_readings(name, readings)] + notes
        provenance = (sidecar.describe(self._where, read.sha256, notes),)
        unplaced = make_unplaced(read.unplaced)
        region, time = self.keys
        long = Table(path.name, make_long(values, region, time), provenance, unplaced=unplaced)
        if not self.columns:
            return note_audit(long, region=region, time=time)
        of_columns = {name: pick_unit(readings) for name, readings in by_name.items()}
        frame = make_wide(by_name, region, time)
        wide = Table(path.name, frame, provenance, of_columns, unplaced=unplaced)
        return note_audit(wide, long, region=region, time=time)

    def catalogue(self) -> pd.DataFrame:
        """List what is in the volumes: one row per table, and one per file of which none is read.

        Columns: volume (the path from the folder that holds all), table (its title), cells, years, indicators, regions (how
        many), level ("province", "prefecture", "county" where the lists of regions tell), units, values (how many numbers),
        outcome ("read"; "without": it has none of the indicators wanted; "refused"; "twin": the bytes are those of another
        file) and why. Raises SourceError only where there is no file.
        """
        files = find_files(self.path)
        return make_catalogue(self._read_volumes([Path(self._where)] if files is None else files))

    def _load_series(self, files: Sequence[Path]) -> Table:
        """Read all volumes and join their values to series."""
        volumes = self._read_volumes(files)
        self._refuse_unanswered(volumes)
        apart = find_apart(volumes) if self.columns else {}
        tables = [one.table for one in volumes if one.table is not None and one.name not in apart]
        region, time = self.keys
        joined = join_volumes(
            tables,
            region=region,
            time=time,
            splice=self.splice,
            convert=_plain_units(self.convert),
            where=self._where,
            named={fold_words(indicator) for indicator in self.columns.values()},
            renamed={fold_words(old): fold_words(new) for old, new in self.renamed.items()},
            is_wide=bool(self.columns),
        )
        notes = [*joined.notes, *describe_outcomes(volumes, apart)]
        provenance = (*(one for table in tables for one in table.provenance),)
        provenance = (replace(provenance[0], notes="; ".join([*notes, provenance[0].notes])), *provenance[1:])
        unplaced = [one.table.unplaced for one in volumes if one.table is not None]
        left = list_apart(volumes, apart)
        made = Table(
            Path(self._where).name,
            joined.frame,
            provenance,
            unplaced=pd.concat([joined.unjoined, left, *unplaced], ignore_index=True),
            catalogue=make_catalogue(volumes),
            disagreements=joined.disagreements,
        )
        if not self.columns:
            return note_audit(made, region=region, time=time)
        known = dict.fromkeys([*joined.frame["indicator"], *(name for one in volumes for name in one.indicators)])
        wanted = _find_wanted(self.columns, [*known], self._where, lacks=False)
        picked = {name: _pick_rows(joined.frame, said, self._where) for name, said in wanted.items()}
        frame, cells = make_wide_series(picked, region, time, self._where)
        names = {rows["indicator"].iloc[0]: name for name, rows in picked.items()}
        columns = joined.disagreements["indicator"].map(names).fillna("").astype("str")
        wide = replace(
            made,
            frame=frame,
            cells=cells,
            units={name: str(rows["unit"].iloc[0]) for name, rows in picked.items()},
            disagreements=joined.disagreements.assign(column=columns),
        )
        return note_audit(wide, made, region=region, time=time)

    @property
    def _where(self) -> str:
        """Name the file, the folder or the pattern for an error; of a list, its first file."""
        if isinstance(self.path, tuple):
            return (
                Path(self.path[0]).as_posix() + (" and others" if len(self.path) > 1 else "")
                if self.path
                else "Yearbook"
            )
        return Path(self.path).as_posix()

    def _read_volumes(self, files: Sequence[Path]) -> list[Volume]:
        return read_volumes(files, partial(_read_volume, self))

    def _refuse_unanswered(self, volumes: Sequence[Volume]) -> None:
        """Refuse where no volume has what is wanted, and settings that no volume needs."""
        read = [one for one in volumes if one.table is not None]
        if not read:
            said = "; ".join(one.why for one in volumes[:MOST_ERRORS]) + ("; …" if len(volumes) > MOST_ERRORS else "")
            without = sorted({self._call(name) for one in volumes for name in one.indicators})
            raise SourceError(
                f"none of the {len(volumes)} files is read: {said}",
                where=self._where,
                remedy=nearest(next(iter(self.columns.values())), without)
                if without and self.columns
                else "see what catalogue() says of each, and pass what they do not say",
            )
        if self.strict and (refused := [one.why for one in volumes if one.outcome == "refused"]):
            raise SourceError(
                f"{len(refused)} of {len(volumes)} files are not read: {'; '.join(refused[:MOST_ERRORS])}",
                where=self._where,
                remedy="leave out strict=True to read the others",
            )
        answered = {name for one in read for name in one.answered}
        given = {
            "year=": self.year is not None,
            "region=": self.region,
            "indicator=": self.indicator,
            **{f"units= of '{fold_words(name)}'": True for name in self.units},
            **{f"renamed= of '{fold_words(name)}'": True for name in self.renamed},
        }
        for setting, is_given in given.items():
            if is_given and setting not in answered:
                of = setting.partition("'")[2].rstrip("'")
                known = sorted({name for one in volumes for name in one.indicators})
                unread = [
                    one.why for one in volumes if one.outcome == "refused" and of in map(fold_words, one.indicators)
                ]
                raise SourceError(
                    f"{setting} is given, and no volume that is read needs it"
                    + "".join(f"; {one}" for one in unread[:1]),
                    where=self._where,
                    remedy="leave it out" + (f"; {nearest(of, known)}" if of and not unread else ""),
                )

    def _call(self, indicator: str) -> str:
        """Return the name of an indicator, which may be a new one."""
        renamed = {fold_words(old): fold_words(new) for old, new in self.renamed.items()}
        return renamed.get(fold_words(indicator), indicator)

    def _merge_units(self, sidecar: Sidecar, read: _AllRead) -> dict[str, str]:
        """Join the units of the sidecar and of units=, by the indicators of a file; the unit of a head is that of its parts."""
        sidecar = replace(sidecar, units=_by_part(_plain_units(sidecar.units), read))
        declared = _by_part(_plain_units(self.units), read)
        return sidecar.merge_units(declared, read.indicators, self._where, noun="indicator")

    def _use(self, read: _AllRead, asked: Collection[str], units: Mapping[str, str]) -> list[list[Reading]]:
        """Return the values of the indicators asked for, by table; raise SourceError for what is not said of them."""
        used = [_with_units(table, asked, units) for table in read.tables]
        if lacks := find_lacks(list(zip(read.tables, used, strict=True)), Path(self._where).name):
            raise refuse_lacks(lacks, self._where)
        if self.strict and read.unplaced:
            raise refuse_unplaced(read.unplaced, self._where, strict=True)
        return used

    def explain(self, *, language: str = "en") -> Explanation:
        """Show the grid of each page, with what each row and column is taken for and which cells are not placed.

        It shows as much where `load` refuses the file, and what it says. Raises SourceError where the file cannot be opened.
        """
        if find_files(self.path) is not None:
            raise SourceError(
                "explain() shows one file", where=self._where, remedy="name one file; catalogue() lists what is in all"
            )
        read = self._read(Path(self._where), self.columns.values(), whole=True)
        try:
            self.load()
            refusal = ""
        except EvalkitError as error:
            refusal = str(error)
        declared = {**read_sidecar(Path(self._where)).units, **self.units}
        units = _by_indicator(_plain_units(declared), read.indicators)
        return explain_pages(read.pages, units, refusal, language)

    def _read(self, path: Path, wanted: Collection[str], *, whole: bool = False, among: str = "") -> _AllRead:
        """Read all tables of a file; raise SourceError where there are none, unless the `whole` file is to be explained.

        A file `among` others, named by its path from their folder, may have the year there, or none where none is needed.
        """
        where = path.as_posix()
        declared = Declarations() if self.layout is None else read_layout(Path(self.layout), path)
        pages = read_pages(path, where, self.sheets)
        read = _read_all(pages, declared, self._given(path.name, among=among), wanted)
        if not whole:
            _refuse_nothing(read, where, named=bool(self.sheets))
        return read

    def _refuse_unused(self, tables: Sequence[Readings]) -> None:
        """Refuse what is said of all values where every table says it itself, and so perhaps something else."""
        said = {
            "year": self.year if self.year != FILE_NAME else None,
            "region": self.region,
            "indicator": self.indicator,
        }
        for noun, value in said.items():
            if value and not any(noun in table.layout.given for table in tables):
                own = dict.fromkeys(str(getattr(one, noun)) for table in tables for one in table.values)
                if set(own) == {str(value)}:
                    continue
                raise SourceError(
                    f"{noun}={value!r} is said of all values, and every table says its own ({', '.join(list(own)[:5])})",
                    where=self._where,
                    remedy=f'leave {noun}= out, or say what is right in a layout file: layout="…"',
                )

    def _given(self, name: str, *, among: str) -> Given:
        """Return what is said of all values; raise SourceError where the year is to come from a name that has none, or two."""
        region, indicator = fold_words(self.region), fold_words(self.indicator)
        if self.year != FILE_NAME:
            return Given(self.year if isinstance(self.year, int) else None, region, indicator)
        years = years_in_name(name)
        if len(years) != 1 and among:
            years = years_in_name(among)
        if len(years) != 1 and among:
            return Given(None, region, indicator)
        if len(years) != 1:
            said = f"has {' and '.join(map(str, years))}" if years else "has no year"
            raise SourceError(
                f"the name of the file {said}", where=self._where, remedy="write the year itself: year=2019"
            )
        return Given(years[0], region, indicator, of_name=True)


@dataclass(frozen=True)
class _AllRead:
    """What was read of each page of a file, the hash of its bytes, and what is to be noted."""

    pages: list[tuple[Page, PageRead]]
    sha256: str
    notes: list[str]

    @property
    def tables(self) -> list[Readings]:
        return [table for _, found in self.pages for table in found.tables]

    @property
    def unplaced(self) -> list[Unplaced]:
        return [one for _, found in self.pages for one in found.unplaced]

    @property
    def indicators(self) -> list[str]:
        return list(dict.fromkeys(one for table in self.tables for one in _names(table)))


def _read_volume(book: Yearbook, path: Path, name: str) -> Volume:
    """Read one file among others: what it holds, and the values of the indicators wanted, called as `renamed` says."""
    own = replace(book, path=path, columns={}, convert={}, splice={}, renamed={})
    renamed = {fold_words(old): fold_words(new) for old, new in book.renamed.items()}
    tables: list[Readings] = []
    indicators: tuple[str, ...] = ()
    try:
        olds = [old for old, new in book.renamed.items() if fold_words(new) in map(fold_words, book.columns.values())]
        read = own._read(path, [*book.columns.values(), *olds], among=name)
        tables, indicators = read.tables, tuple(read.indicators)
        units = {one: unit for one, unit in own.units.items() if set(_by_part({one: unit}, read)) <= set(indicators)}
        own = replace(own, units=units)
        called = {one: book._call(one) for one in indicators}
        wanted = {fold_words(said) for one in book.columns.values() for said in (one, _without_unit(one)[0])}
        titles = [
            name_indicator(one.layout.caption.titles[0][0]) if one.layout.caption.titles else "" for one in tables
        ]
        by_title = {
            (title, value.indicator): fold_words(f"{title} / {called[value.indicator]}")
            for title, table in zip(titles, tables, strict=True)
            for value in table.values
        }
        asked = {
            one
            for (_, one), full in by_title.items()
            if not wanted or {fold_words(called[one]), full, renamed.get(full, full)} & wanted
        }
        if not asked:
            lacking = [one for one in book.columns.values() if fold_words(one) not in called.values()]
            why = f"it has none of the indicators wanted; {nearest(lacking[0], list(dict.fromkeys(called.values())))}"
            return Volume(
                path, name, "without", why, list_contents(name, tables, "without", why), indicators=indicators
            )
        sidecar = read_sidecar(path)
        used = own._use(read, asked, own._merge_units(sidecar, read))
        region, time = book.keys
        values = [one for found in used for one in found]
        frame = make_long(values, region, time)
        frame["file"] = pd.array([name] * len(frame), dtype="str")
        frame["indicator"] = pd.array([called[one.indicator] for one in values], dtype="str")
        of_values = [title for title, found in zip(titles, used, strict=True) for _ in found]
        frame["table"] = pd.array(of_values, dtype="str")
        notes = [*read.notes, *describe_unplaced(read.unplaced)]
        notes += [note for table, found in zip(tables, used, strict=True) if found for note in table.notes]
        notes += [f"'{old}' is called '{new}' (renamed=)" for old, new in called.items() if old != new and old in asked]
        unplaced = make_unplaced(read.unplaced).assign(file=name)
        table = Table(name, frame, (sidecar.describe(own._where, read.sha256, notes),), unplaced=unplaced)
    except EvalkitError as error:
        why = str(error).replace(path.as_posix(), name)
        if "year=" in error.remedy and book.year is None:
            why += f' Where each volume has its year in its name: year="{FILE_NAME}".'
        return Volume(path, name, "refused", why, list_contents(name, tables, "refused", why), indicators=indicators)
    answered = {f"{noun}=" for one in tables for noun in one.layout.given}
    answered |= {f"units= of '{fold_words(one)}'" for one in units}
    answered |= {f"renamed= of '{fold_words(old)}'" for old in called if called[old] != old}
    answered |= {f"renamed= of '{full}'" for (_, one), full in by_title.items() if full in renamed}
    contents = list_contents(name, tables, "read", "")
    return Volume(path, name, "read", "", contents, table, frozenset(answered), indicators)


def _read_all(pages: Pages, declared: Declarations, given: Given, wanted: Collection[str]) -> _AllRead:
    """Read the tables of the pages; a page without one, and a part of one that is not understood, is noted."""
    read = _AllRead([], pages.sha256, [*pages.notes, *declared.notes])
    declared.check([page.sheet for page in pages.pages])
    known: dict[str, Caption] = {}
    for published in pages.pages:
        page, corrected = declared.correct(published)
        read.notes.extend(f"{page.address(*at)} is {said}" for at, said in corrected.items())
        laid_out = declared.of(page.sheet)
        found = None if laid_out else read_export(page, given, wanted, corrected)
        found = found or read_page(page, known, laid_out, given, corrected)
        read.pages.append((page, found))
        read.notes.extend(f"{error.where}: {error.what}" for error in found.errors)
        if not (found.tables or found.errors):
            read.notes.append(f"sheet '{page.sheet}' was not read: {found.reason}")
    if given.of_name:
        read.notes.append(f"the year {given.year} is that of the file's name, where nothing else says one")
    return read


def _refuse_nothing(read: _AllRead, where: str, *, named: bool) -> None:
    """Raise SourceError where no value is read, or none of a sheet that was `named`."""
    for page, found in read.pages:
        if named and not (found.tables or found.errors):
            what = f"the sheet holds no table: {found.reason}"
            raise SourceError(what, where=page.where, remedy="leave it out of sheets=")
    if any(table.others for table in read.tables) or any(
        value.mark != "unread" for table in read.tables for value in table.values
    ):
        return
    if errors := [error for _, found in read.pages for error in found.errors]:
        raise combine_cells(errors)
    if unread := [one.refuse(page.where) for page, _ in read.pages for one in page.grid.unread]:
        raise combine_cells(unread[:MOST_ERRORS])
    if read.unplaced and read.tables:
        raise refuse_unplaced(read.unplaced, where, strict=False)
    said = [f"{'' if page.sheet is None else f'{page.sheet}: '}{found.reason}" for page, found in read.pages]
    raise SourceError(
        f"no table of a yearbook is found ({'; '.join(said[:5]) or 'no visible sheet holds any data'})",
        where=where,
        remedy='give the file of the yearbook\'s table, or say where it stands in a layout file (layout="…"); read an ordinary '
        "table, with one header row, with Delimited",
    )


def _find_wanted(columns: Mapping[str, str], indicators: list[str], where: str, *, lacks: bool) -> dict[str, str]:
    """Return the indicator of each column; without `columns`, every indicator under its own name."""
    names = {fold_words(name): name for name in indicators}
    wanted = {name: names.get(fold_words(indicator), indicator) for name, indicator in columns.items()}
    for indicator in wanted.values():
        if indicator not in indicators and fold_words(_without_unit(indicator)[0]) not in names and not lacks:
            raise SourceError(
                f"no table has the indicator '{indicator}'", where=where, remedy=nearest(indicator, indicators)
            )
    return wanted or {indicator: indicator for indicator in indicators}


def _names(table: Readings) -> list[str]:
    return [*(value.indicator for value in table.values), *table.others]


def _without_unit(name: str) -> tuple[str, str | None]:
    """Split "B6N (EUR_HAB)" into the indicator and the unit in which it is wanted."""
    found = re.fullmatch(r"(.*\S)\s*\((.*)\)", name, re.DOTALL)
    return (found[1], found[2]) if found else (name, None)


def _pick(readings: Mapping[str, list[Reading]], said: str, where: str) -> list[Reading]:
    """Return the values of an indicator, or of "indicator (unit)" where no indicator is called so.

    Raises SourceError where the indicator has no values in that unit.
    """
    name, unit = _without_unit(said)
    if said in readings or unit is None or name not in readings:
        return readings.get(said, [])
    units = dict.fromkeys(str(one) for value in readings[name] for one in (value.unit, value.published[1]))
    found = [
        value
        for value in readings[name]
        if _squeeze(unit) in (_squeeze(str(value.unit)), _squeeze(str(value.published[1])))
    ]
    if not found:
        raise SourceError(f"no value of '{name}' is in '{unit}'", where=where, remedy=nearest(unit, list(units)))
    return found


def _pick_rows(joined: pd.DataFrame, said: str, where: str) -> pd.DataFrame:
    """Return the rows of an indicator, or of "indicator (unit)"; raise SourceError for none, or for several units."""
    name, unit = _without_unit(said)
    rows = joined[joined["indicator"] == said]
    if rows.empty and unit is not None:
        rows = joined[joined["indicator"] == name]
        units = [*dict.fromkeys(rows["unit"])]
        rows = rows[[_squeeze(one) == _squeeze(unit) for one in rows["unit"]]]
        if rows.empty and units:
            raise SourceError(f"no value of '{name}' is in '{unit}'", where=where, remedy=nearest(unit, units))
    if titled := [one for one in dict.fromkeys(joined["indicator"]) if rows.empty and one.endswith(f" / {said}")]:
        raise SourceError(
            f"'{said}' stands under titles that differ, and no values link them",
            where=where,
            remedy=f"write one of {', '.join(map(repr, titled[:5]))}; or say that they are one: "
            + f"renamed={json.dumps(dict.fromkeys(titled[:5], said), ensure_ascii=False)}",
        )
    if rows.empty:
        remedy = "see why in load().unplaced, without columns="
        raise SourceError(f"'{said}' is joined for no region", where=where, remedy=remedy)
    if (units := [*dict.fromkeys(rows["unit"])])[1:]:
        raise SourceError(
            f"'{said}' is in {' and in '.join(units)}, of which neither is so many of the other",
            where=where,
            remedy=f'choose one by writing it behind the name: "{said} ({units[0]})"',
        )
    return rows


def _with_units(table: Readings, asked: Collection[str], declared: Mapping[str, str]) -> list[Reading]:
    """Return the values of these indicators, with the units declared; raise SourceError where one contradicts the file."""
    found = []
    for value in table.values:
        if value.indicator not in asked:
            continue
        unit = declared.get(value.indicator)
        if unit and value.unit and _squeeze(value.unit) != _squeeze(unit):
            raise SourceError(
                f"the unit of '{value.indicator}' is '{value.unit}' in the file and '{unit}' in units=",
                where=value.page.place(value.row, value.column),
                remedy="leave it out of units= and of the sidecar, or say the unit of the table in a layout file",
            )
        found.append(value if value.unit or not unit else value._replace(unit=unit, published=(value.value, unit)))
    return found


def _by_part(said: Mapping[str, str], read: _AllRead) -> dict[str, str]:
    """Return what is said of units by indicator; what is said of a head is said of its parts that have no unit."""
    without = dict.fromkeys(one.indicator for table in read.tables for one in table.values if not one.unit)
    own = _by_indicator(said, read.indicators)
    found = dict[str, str]()
    for name, unit in own.items():
        parts = [one for one in without if one.startswith(f"{name} / ") and one not in own]
        found |= dict.fromkeys(parts if parts and name not in read.indicators else [name], unit)
    return found


def _by_indicator(said: Mapping[str, str], indicators: Sequence[str]) -> dict[str, str]:
    """Return what is said of indicators by their names as read, however the spaces and brackets in them were typed."""
    names = {fold_words(name): name for name in indicators}
    return {names.get(fold_words(name), name): value for name, value in said.items()}


def _plain_units(units: Mapping[str, str]) -> dict[str, str]:
    return {indicator: _plain_unit(unit) for indicator, unit in units.items()}


def _plain_unit(unit: str) -> str:
    """Write a unit without spaces, but for those between words that are no unit of a yearbook: "constant 2015 US$"."""
    squeezed = _squeeze(narrow(unit))
    return squeezed if is_chinese(squeezed) or known_unit(squeezed) else join_words(narrow(unit))


def _squeeze(unit: str) -> str:
    return "".join(unit.split())


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


def make_wide(readings: Mapping[str, Sequence[Reading]], region: str, time: str) -> pd.DataFrame:
    """Return one row per region and year, regions in the order of the file; the column names are the keys of `readings`.

    The index is the cell of the first column that has one. Raises SourceError where two places give different values.
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
    for name in readings:
        values = [rows[key][name].value if name in rows[key] else float("nan") for key in keys]
        columns[name] = pd.array(values, dtype="float64")
    index = [next(iter(rows[key].values())).address for key in keys]
    return pd.DataFrame(columns, index=pd.Index(index, name="row", dtype="str"))


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
