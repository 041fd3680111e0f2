"""Yearbook: the tables of a statistical yearbook, in a workbook (.xls, .xlsx), a web page or a text export."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import pandas as pd

from evalkit.auditing import note_audit
from evalkit.errors import EvalkitError, SourceError, nearest
from evalkit.sources.files.cells import MOST_ERRORS
from evalkit.sources.files.columns import check_known
from evalkit.sources.sidecar import Sidecar, read_sidecar, with_sidecar
from evalkit.sources.yearbook.captions import name_indicator
from evalkit.sources.yearbook.declared import Declarations, read_layout
from evalkit.sources.yearbook.explain import Explanation, explain_pages
from evalkit.sources.yearbook.frames import LONG, convert_reading, describe_readings, make_long, make_wide, pick_unit
from evalkit.sources.yearbook.headings import Given
from evalkit.sources.yearbook.lacks import FILE_NAME, find_lacks, refuse_lacks, years_in_name
from evalkit.sources.yearbook.pages import read_pages
from evalkit.sources.yearbook.readings import Reading, Readings
from evalkit.sources.yearbook.unplaced import describe_unplaced, make_unplaced, refuse_unplaced
from evalkit.sources.yearbook.volumes.choice import NEWEST
from evalkit.sources.yearbook.volumes.files import (
    Volume,
    describe_outcomes,
    find_apart,
    find_files,
    list_apart,
    list_contents,
    make_catalogue,
    read_volumes,
)
from evalkit.sources.yearbook.volumes.series import join_volumes, make_wide_series
from evalkit.sources.yearbook.wanted import (
    by_indicator,
    by_part,
    find_wanted,
    pick_readings,
    pick_rows,
    plain_units,
    split_wanted,
    with_units,
)
from evalkit.sources.yearbook.whole import FileRead, read_tables, refuse_nothing
from evalkit.sources.yearbook.words import fold_words
from evalkit.tables.table import Table


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
        value of a wide one. `Table.disagreements` has one row for each value or name on which volumes disagree: kind (revision,
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
        wanted = find_wanted(
            self.columns, read.indicators, self._where, lacks=any(table.layout.lacking for table in read.tables)
        )
        sidecar = read_sidecar(path)
        sidecar.refuse_columns()
        units = self._merge_units(sidecar, read)
        converted = by_indicator(plain_units(self.convert), read.indicators)
        check_known(converted, read.indicators, self._where, "convert=", noun="indicator")
        asked = {said if said in read.indicators else split_wanted(said)[0] for said in wanted.values()}
        used = self._use(read, asked, units)
        self._refuse_unused(read.tables)
        values, notes = list[Reading](), [*read.notes, *describe_unplaced(read.unplaced)]
        for table, found in zip(read.tables, used, strict=True):
            values += [convert_reading(one, to) if (to := converted.get(one.indicator)) else one for one in found]
            notes += table.notes if found else []
        found_of: dict[str, list[Reading]] = {}
        for one in values:
            found_of.setdefault(one.indicator, []).append(one)
        by_name = {name: pick_readings(found_of, said, self._where) for name, said in wanted.items()}
        notes = [note for name, readings in by_name.items() for note in describe_readings(name, readings)] + notes
        described = sidecar.describe(self._where, read.sha256, notes)
        provenance = (replace(described, headers=tuple(self.columns.items())),)
        unplaced = make_unplaced(read.unplaced)
        region, time = self.keys
        long = Table(path.name, make_long(values, region, time), provenance, unplaced=unplaced)
        if not self.columns:
            return note_audit(long, region=region, time=time)
        of_columns = {name: pick_unit(readings) for name, readings in by_name.items()}
        frame, cells = make_wide(by_name, region, time)
        wide = Table(path.name, frame, provenance, of_columns, unplaced=unplaced, cells=cells)
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
            convert=plain_units(self.convert),
            where=self._where,
            named={fold_words(indicator) for indicator in self.columns.values()},
            renamed={fold_words(old): fold_words(new) for old, new in self.renamed.items()},
            is_wide=bool(self.columns),
        )
        notes = [*joined.notes, *describe_outcomes(volumes, apart)]
        provenance = (*(one for table in tables for one in table.provenance),)
        noted = "; ".join([*notes, provenance[0].notes])
        provenance = (
            replace(provenance[0], notes=noted, headers=tuple(self.columns.items())),
            *provenance[1:],
        )
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
        wanted = find_wanted(self.columns, [*known], self._where, lacks=False)
        picked = {name: pick_rows(joined.frame, said, self._where) for name, said in wanted.items()}
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

    def _merge_units(self, sidecar: Sidecar, read: FileRead) -> dict[str, str]:
        """Join the units of the sidecar and of units=, by the indicators of a file; the unit of a head is that of its parts."""
        sidecar = replace(sidecar, units=by_part(plain_units(sidecar.units), read))
        declared = by_part(plain_units(self.units), read)
        return sidecar.merge_units(declared, read.indicators, self._where, noun="indicator")

    def _use(self, read: FileRead, asked: Collection[str], units: Mapping[str, str]) -> list[list[Reading]]:
        """Return the values of the indicators asked for, by table; raise SourceError for what is not said of them."""
        used = [with_units(table, asked, units) for table in read.tables]
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
        units = by_indicator(plain_units(declared), read.indicators)
        return explain_pages(read.pages, units, refusal, language)

    def _read(self, path: Path, wanted: Collection[str], *, whole: bool = False, among: str = "") -> FileRead:
        """Read all tables of a file; raise SourceError where there are none, unless the `whole` file is to be explained.

        A file `among` others, named by its path from their folder, may have the year there, or none where none is needed.
        """
        where = path.as_posix()
        declared = Declarations() if self.layout is None else read_layout(Path(self.layout), path)
        pages = read_pages(path, where, self.sheets)
        read = read_tables(pages, declared, self._given(path.name, among=among), wanted)
        if not whole:
            refuse_nothing(read, where, named=bool(self.sheets))
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
        units = {one: unit for one, unit in own.units.items() if set(by_part({one: unit}, read)) <= set(indicators)}
        own = replace(own, units=units)
        called = {one: book._call(one) for one in indicators}
        wanted = {fold_words(said) for one in book.columns.values() for said in (one, split_wanted(one)[0])}
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
        sidecar.refuse_columns()
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
