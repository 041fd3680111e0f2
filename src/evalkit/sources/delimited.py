"""Delimited: one table in a CSV, TSV, Parquet or .xlsx file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from evalkit.errors import SourceError
from evalkit.sources.files.columns import check_known
from evalkit.sources.files.rows import Rows
from evalkit.sources.files.sheet import read_content
from evalkit.sources.persons import refuse_headers, refuse_persons, replace_identifiers
from evalkit.sources.pseudonyms import read_key
from evalkit.sources.sidecar import read_sidecar, with_sidecar
from evalkit.tables.table import Table


@dataclass(frozen=True)
class Delimited:
    """Name a file that holds one table: a header row, then data rows.

    `units` gives columns their unit of measurement, beside those in the sidecar `<file name>.provenance.toml`.
    `sheet` is for Excel, and needed where several visible sheets hold data. `text` names columns (ids, codes) that are
    kept as text whatever they hold. `pseudonymise` names columns whose ids are replaced, under the key in `key_file`, by the
    pseudonyms that LoanLedger gives, so that a survey of the same persons joins their loans.
    """

    path: str | Path
    units: Mapping[str, str] = field(default_factory=dict, hash=False)
    sheet: str | None = None
    text: tuple[str, ...] = ()
    pseudonymise: tuple[str, ...] = ()
    key_file: str | Path | None = None

    def __post_init__(self) -> None:
        for name in ("text", "pseudonymise"):
            given = getattr(self, name)
            if isinstance(given, str):  # a string is a sequence of one-letter names, which nobody means
                remedy = f'write {name}=("{given}",)'
                raise SourceError(
                    f"{name}= is one word, not a tuple of column names", where=str(self.path), remedy=remedy
                )
            object.__setattr__(self, name, tuple(given))
        if self.key_file is not None and not self.pseudonymise:
            raise SourceError(
                "key_file= is given, and no column to use it for",
                where=str(self.path),
                remedy='name the columns of ids by pseudonymise=("…",), or leave key_file= out',
            )

    def files(self) -> tuple[Path, ...]:
        """The file, its sidecar if there is one, and the key of pseudonyms if one is named."""
        key = () if self.key_file is None else (Path(self.key_file),)
        return (*with_sidecar(Path(self.path)), *key)

    def load(self) -> Table:
        """Read the file into a Table, indexed by the rows of the file.

        The kind of file is told from its bytes. Text is UTF-8, UTF-16 with a byte order mark or GB18030, separated by
        comma, semicolon, tab or bar, plain or gzip. "", NA, N/A, NaN, nan, null, NULL and "." are missing; "…" is text.
        A column becomes int64, float64 or bool where every value says so, datetime64 where every cell of a sheet is a
        date, and text otherwise ("1,234.5" is text, and so are codes such as "0123" and whole numbers of more than 15
        digits). Formulas are never evaluated: the values that Excel stored are read. The provenance's notes say which
        hidden rows were read and what was left out. Raises SourceError on anything that cannot be read for certain, and,
        without showing them, on numbers that identify persons (citizen ids, bank cards, telephones) outside `pseudonymise`.
        """
        path = Path(self.path)
        where = path.as_posix()
        content = read_content(path, where, sheet=self.sheet, text=(*self.text, *self.pseudonymise))
        frame, notes = content.frame, content.notes
        refuse_headers(list(frame.columns), content.where)
        check_known(self.text, list(frame.columns), content.where, "text=")
        check_known(self.pseudonymise, list(frame.columns), content.where, "pseudonymise=")
        if self.pseudonymise:
            key = read_key(self.key_file, path, "', '".join(self.pseudonymise))
            rows = Rows(frame, content.where)
            replaced = {name: replace_identifiers(rows, name, key) for name in self.pseudonymise}
            frame = frame.assign(**{name: pd.array(ids, dtype="str") for name, ids in replaced.items()})
            notes = [*notes, f"ids were replaced by pseudonyms in: {', '.join(self.pseudonymise)}"]
        refuse_persons(frame, content.where)
        sidecar = read_sidecar(path)
        units = sidecar.merge_units(self.units, list(frame.columns), where)
        provenance = sidecar.describe(where, content.sha256, notes)
        return Table(name=path.name, frame=frame, provenance=(provenance,), units=units)
