"""Delimited: one table in a CSV, TSV, Parquet or .xlsx file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from evalkit.errors import SourceError
from evalkit.sources.files.sheet import read_content
from evalkit.sources.sidecar import read_sidecar, with_sidecar
from evalkit.tables.table import Table


@dataclass(frozen=True)
class Delimited:
    """Name a file that holds one table: a header row, then data rows.

    `units` gives columns their unit of measurement, beside those in the sidecar `<file name>.provenance.toml`.
    `sheet` is for Excel, and needed where several visible sheets hold data. `text` names columns (ids, codes) that are
    kept as text whatever they hold.
    """

    path: str | Path
    units: Mapping[str, str] = field(default_factory=dict, hash=False)
    sheet: str | None = None
    text: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if isinstance(self.text, str):  # a string is a sequence of one-letter names, which nobody means
            remedy = f'write text=("{self.text}",)'
            raise SourceError("text= is one word, not a tuple of column names", where=str(self.path), remedy=remedy)
        object.__setattr__(self, "text", tuple(self.text))

    def files(self) -> tuple[Path, ...]:
        """The file, and its sidecar if there is one."""
        return with_sidecar(Path(self.path))

    def load(self) -> Table:
        """Read the file into a Table, indexed by the rows of the file.

        The kind of file is told from its bytes. Text is UTF-8, UTF-16 with a byte order mark or GB18030, separated by
        comma, semicolon, tab or bar, plain or gzip. "", NA, N/A, NaN, nan, null, NULL and "." are missing; "…" is text.
        A column becomes int64, float64 or bool where every value says so, datetime64 where every cell of a sheet is a
        date, and text otherwise ("1,234.5" is text, and so are codes such as "0123" and whole numbers of more than 15
        digits). Formulas are never evaluated: the values that Excel stored are read. The provenance's notes say which
        hidden rows were read and what was left out. Raises SourceError on anything that cannot be read for certain.
        """
        path = Path(self.path)
        where = path.as_posix()
        content = read_content(path, where, sheet=self.sheet, text=self.text)
        sidecar = read_sidecar(path)
        units = sidecar.merge_units(self.units, list(content.frame.columns), where)
        provenance = sidecar.describe(where, content.sha256, content.notes)
        return Table(name=path.name, frame=content.frame, provenance=(provenance,), units=units)
