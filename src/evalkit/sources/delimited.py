"""Delimited: one table in a text file, a workbook, a web page or Parquet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from evalkit.errors import SourceError
from evalkit.sources.files.columns import Rows, check_known
from evalkit.sources.files.form import Form
from evalkit.sources.files.sheet import Content, read_content
from evalkit.sources.persons import read_key, refuse_headers, refuse_persons, replace_identifiers
from evalkit.sources.sidecar import Sidecar, read_sidecar, with_sidecar
from evalkit.tables.table import Table
from evalkit.tables.text_columns import THOUSANDS, Marks
from evalkit.tables.units import same_unit


@dataclass(frozen=True)
class Delimited:
    """Name a file that holds one table: a header, then data rows.

    columns       names in the study → headers in the file: only these columns are read, under these names. Spaces, line breaks,
                  full-width letters, kinds of brackets and a unit in brackets behind do not matter. If empty, all are
                  read, under their headers.
    units         units of columns, beside those in the sidecar `<file name>.provenance.toml` and in the headers.
    sheets        of a workbook with several sheets that hold data; several with the same header are put one below the other,
                  with a column `sheet`.
    header        the row of the header, or its first and last row: the levels are then joined by " / ". Rows above it are titles.
                  By default, the first row that holds something.
    unit_row      the row of units, right below the header or within it.
    last          the last row of the data. By default, the last that holds something and is no note ("Source: …", "注：…").
    text          columns (ids, codes) that are kept as text whatever they hold.
    missing       words that mean "no value" in this file, beside the usual ones.
    thousands     what stands between thousands ("," or " " or "."); by default nothing does.
    decimal       what stands before decimals: "." by default, or ",".
    pseudonymise  columns whose ids are replaced, under the key in `key_file`, by the pseudonyms that LoanLedger gives, so that
                  a survey of the same persons joins their loans.

    Rows are those of the file, from 1, as errors and the index of the table name them. Settings that name columns name them as in
    the study.
    """

    path: str | Path
    columns: Mapping[str, str] = field(default_factory=dict, hash=False)
    units: Mapping[str, str] = field(default_factory=dict, hash=False)
    sheets: tuple[str, ...] = ()
    header: int | tuple[int, int] | None = None
    unit_row: int | None = None
    last: int | None = None
    text: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    thousands: str = ""
    decimal: Literal[".", ","] = "."
    pseudonymise: tuple[str, ...] = ()
    key_file: str | Path | None = None

    def __post_init__(self) -> None:
        for name, noun in (
            ("sheets", "names of sheets"),
            ("text", "column names"),
            ("missing", "words"),
            ("pseudonymise", "column names"),
        ):
            given = getattr(self, name)
            if isinstance(given, str):  # a string is a sequence of one-letter names, which nobody means
                raise self._error(f"{name}= is one word, not a tuple of {noun}", f'write {name}=("{given}",)')
            object.__setattr__(self, name, tuple(given))
            twice = [one for i, one in enumerate(getattr(self, name)) if one in given[:i]]
            if twice:
                raise self._error(f"{name}= names '{twice[0]}' twice", "leave one of them out")
        if isinstance(self.header, list):
            object.__setattr__(self, "header", tuple(self.header))
        self._check_rows()
        self._check_marks()
        if self.key_file is not None and not self.pseudonymise:
            raise self._error(
                "key_file= is given, and no column to use it for",
                'name the columns of ids by pseudonymise=("…",), or leave key_file= out',
            )

    def _error(self, what: str, remedy: str) -> SourceError:
        return SourceError(what, where=str(self.path), remedy=remedy)

    def _check_rows(self) -> None:
        header = self._header
        if self.header is not None and (header is None or not 1 <= header[0] <= header[1]):
            remedy = "write the row of the header, header=3, or its first and last row, header=(3, 4)"
            raise self._error(f"header={self.header!r} names no rows", remedy)
        for name, row in (("unit_row", self.unit_row), ("last", self.last)):
            if row is not None and not _is_row(row):
                raise self._error(f"{name}={row!r} names no row", "count the rows of the file from 1")
        above = header[1] if header else 1
        if self.last is not None and self.last <= max(above, self.unit_row or 0):
            remedy = "name the last row of the data, which stand below the header and the row of units"
            raise self._error(f"last={self.last} stands above the data", remedy)
        if self.unit_row is not None and (
            self.unit_row < (header[0] if header else 2) or header == (self.unit_row,) * 2
        ):
            raise self._error(
                f"unit_row={self.unit_row} is not below the header", "name the row of the header by header="
            )

    def _check_marks(self) -> None:
        if self.decimal not in (".", ","):
            raise self._error(
                f"decimal={self.decimal!r} is no mark before decimals", 'write decimal="." or decimal=","'
            )
        if self.thousands and (self.thousands not in THOUSANDS or self.thousands == self.decimal):
            known = [mark for mark in THOUSANDS if mark != self.decimal]
            remedy = f"write one of {', '.join(map(repr, known))}, or leave it out"
            raise self._error(
                f"thousands={self.thousands!r} cannot stand between thousands beside decimal={self.decimal!r}", remedy
            )
        if any(not word.strip() for word in self.missing):
            raise self._error("missing= names an empty word", "leave it out: empty cells are missing anyway")
        for name, header in self.columns.items():
            if not name.strip() or not str(header).strip():
                raise self._error(
                    f"columns= has an empty name: '{name}' = '{header}'",
                    'write columns={"name in the study": "header in the file"}',
                )

    @property
    def _header(self) -> tuple[int, int] | None:
        given: Any = self.header
        if isinstance(given, tuple):
            return (given[0], given[1]) if len(given) == 2 and all(map(_is_row, given)) else None
        return (given, given) if _is_row(given) else None

    def files(self) -> tuple[Path, ...]:
        """The file, its sidecar if there is one, and the key of pseudonyms if one is named."""
        key = () if self.key_file is None else (Path(self.key_file),)
        return (*with_sidecar(Path(self.path)), *key)

    def load(self) -> Table:
        """Read the file into a Table, indexed by the rows of the file ("sheet!row" where several sheets are read).

        The kind of file is told from its bytes. Text is UTF-8, UTF-16 with a byte order mark or GB18030, separated by
        comma, semicolon, tab or bar, plain or gzip; workbooks are .xlsx and .xls (Excel 97 to 2003), both also under Excel's
        default password; a web page has one table. "", NA, N/A, NaN, nan, null, NULL and "." are missing; "…" is text.
        A column becomes int64, float64 or bool where every value says so, datetime64 where every cell of a sheet is a
        date, and text otherwise ("1,234.5" is text unless thousands="," is declared, and so are codes such as "0123" and whole
        numbers of more than 15 digits). A unit in the last brackets of a header is the unit of its column. Formulas are never
        evaluated: the values that Excel stored are read. The provenance's notes say which hidden rows were read and what was
        left out. Raises SourceError on anything that cannot be read for certain, and, without showing them, on numbers that
        identify persons (citizen ids, bank cards, telephones) outside `pseudonymise`.
        """
        path = Path(self.path)
        where = path.as_posix()
        sidecar = read_sidecar(path)
        content = read_content(path, where, self._form(self._columns(sidecar)))
        frame, notes = content.frame, content.notes
        check_known(self.text, list(frame.columns), content.where, "text=")
        check_known(self.pseudonymise, list(frame.columns), content.where, "pseudonymise=")
        if self.pseudonymise:
            key = read_key(self.key_file, path, "', '".join(self.pseudonymise))
            rows = Rows(frame, content.where)
            replaced = {name: replace_identifiers(rows, name, key) for name in self.pseudonymise}
            frame = frame.assign(**{name: pd.array(ids, dtype="str") for name, ids in replaced.items()})
            notes = [*notes, f"ids were replaced by pseudonyms in: {', '.join(self.pseudonymise)}"]
        headers = {one.name: one.header for one in content.choice.read}
        refuse_persons(frame, content.where, {"sheet": "", **headers})
        units = self._units(content, sidecar)
        provenance = replace(
            sidecar.describe(where, content.sha256, notes),
            persons=self.pseudonymise,
            headers=tuple(self._columns(sidecar).items()),
        )
        return Table(name=path.name, frame=frame, provenance=(provenance,), units=units)

    def _columns(self, sidecar: Sidecar) -> dict[str, str]:
        """Return the columns that are declared in the setting or in the sidecar; raise SourceError where both speak of one."""
        for name, header in sidecar.columns.items():
            if self.columns.get(name, header) != header or not isinstance(header, str):
                raise SourceError(
                    f"the column '{name}' is one in the sidecar and another in columns=, or several",
                    where=sidecar.where,
                    remedy="find out which is right, and declare it once, by one header",
                )
        return {**{name: str(header) for name, header in sidecar.columns.items()}, **self.columns}

    def _form(self, columns: Mapping[str, str]) -> Form:
        return Form(
            columns=columns,
            text=(*self.text, *self.pseudonymise),
            sheets=self.sheets,
            header=self._header,
            unit_row=self.unit_row,
            last=self.last,
            marks=Marks(self.missing, self.thousands, self.decimal),
            vet=refuse_headers,
        )

    def _units(self, content: Content, sidecar: Sidecar) -> dict[str, str]:
        """Join the units of the headers and those declared; raise SourceError where they contradict each other."""
        names = list(content.frame.columns)
        others = {
            name: unit for name, unit in sidecar.units.items() if name not in names and name in content.choice.unread
        }
        sidecar = replace(sidecar, units={name: unit for name, unit in sidecar.units.items() if name not in others})
        declared = sidecar.merge_units(self.units, names, Path(self.path).as_posix())
        for name, unit in content.choice.units.items():
            same = same_unit(declared.get(name, unit), unit)
            if same is False or (same is None and unit not in declared[name]):
                setting = "units=" if name in self.units else "the sidecar"
                raise SourceError(
                    f"the unit of column '{name}' is '{unit}' in the file and '{declared[name]}' in {setting}",
                    where=content.where,
                    remedy="find out which is right; leave the other out, or correct the header",
                )
        return {**content.choice.units, **declared}


def _is_row(row: Any) -> bool:
    return isinstance(row, int) and not isinstance(row, bool) and row >= 1
