"""Table: a tidy frame, the unit of each column, and where it came from; and the two ways to one, Source and Step."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pandas as pd

from evalkit.errors import DataError, nearest
from evalkit.tables.contents import in_short, same_content


@dataclass(frozen=True)
class Provenance:
    """Where a table came from. `sha256` is of the file as read; `synthetic` marks data that no agency published.

    `persons` names the columns of the table that hold pseudonyms of persons or firms: results show no group of few of them.
    `recalled` names the figures in it, such as emission factors, that were not checked against a publication: reports say so.
    `headers` says how the file calls columns that were given another name: (column, header).
    """

    path: str
    sha256: str
    publisher: str = ""
    title: str = ""
    vintage: str = ""
    licence: str = ""
    citation: str = ""
    notes: str = ""
    synthetic: bool = False
    persons: tuple[str, ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    recalled: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "recalled", tuple(self.recalled))
        object.__setattr__(self, "persons", tuple(self.persons))  # JSON gives lists back
        object.__setattr__(self, "headers", tuple((column, header) for column, header in self.headers))


@dataclass(frozen=True, eq=False)
class Table:
    """A tidy frame with the unit of measurement of each column that has one, and its provenance.

    The frame's index holds the row numbers of the file (a header without titles is row 1), or "sheet!row" where several sheets
    were read, so that an error found later can name them.
    `absent` says what a key that the table does not list means for a column: no loan is 0 loans, not an unknown number.
    Columns it does not name are missing there. `covers` says for which rows of a panel that holds, by values of its columns:
    where a bank does not lend, loans are unknown. `unplaced` lists the cells of the file that hold something and are not in the
    frame, one per row: file, sheet, cell, text, why; it is empty where the whole file was placed.

    Of a wide table of a yearbook, `cells` has the rows and columns of the frame, and in place of each value the file, sheet and
    cell that it is from. Of one from several volumes, `catalogue` lists what is in them, and `disagreements` what they say
    otherwise of one another, and where series were spliced (see `Yearbook`).
    """

    name: str
    frame: pd.DataFrame
    provenance: tuple[Provenance, ...]
    units: Mapping[str, str] = field(default_factory=dict)
    absent: Mapping[str, float] = field(default_factory=dict)
    covers: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    unplaced: pd.DataFrame = field(default_factory=pd.DataFrame, repr=False)
    catalogue: pd.DataFrame = field(default_factory=pd.DataFrame, repr=False)
    disagreements: pd.DataFrame = field(default_factory=pd.DataFrame, repr=False)
    cells: pd.DataFrame = field(default_factory=pd.DataFrame, repr=False)

    __eq__ = same_content
    __repr__ = in_short

    def __post_init__(self) -> None:
        for what, columns in (("a unit", self.units), ("a value of absent keys", self.absent)):
            for column in columns:
                if column not in self.frame.columns:
                    raise DataError(
                        f"{what} is declared for column '{column}', which the table does not have",
                        where=self.name,
                        remedy=nearest(column, map(str, self.frame.columns)),
                    )


class Source(Protocol):
    """Files of one kind, and how to read them into a Table: a frozen value whose fields say which and how."""

    def files(self) -> tuple[Path, ...]:
        """Every file that `load` reads, sidecars and keys included; of a study, none may lie outside the project."""
        ...

    def load(self) -> Table:
        """Read the files. Raises SourceError on whatever cannot be read for certain."""
        ...


class Step(Protocol):
    """A rule from tables, by their names in a study, to another table: a frozen value. It changes none of them."""

    def reads(self) -> tuple[str, ...]:
        """Names of the tables that `run` takes: sources, and steps before this one."""
        ...

    def files(self) -> tuple[Path, ...]:
        """Every file that `run` reads; of a study, none may lie outside the project."""
        ...

    def run(self, tables: Mapping[str, Table]) -> Table:
        """Make the table. What it reads and the files determine it wholly."""
        ...


def file_sha256(path: Path) -> str:
    """Hash a file's bytes."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
