"""The sidecar of a raw file: who published it, under which licence, what its columns are, and in which units."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evalkit.errors import SourceError, nearest
from evalkit.sources.files.columns import check_known
from evalkit.tables.table import Provenance

_WORDS = ("publisher", "title", "vintage", "licence", "citation", "notes", "sha256")
_KEYS = (*_WORDS, "synthetic", "units", "columns")


@dataclass(frozen=True)
class Sidecar:
    """What stands in `<file>.provenance.toml`; all of it empty where there is no such file."""

    where: str
    words: Mapping[str, str] = field(default_factory=dict)
    synthetic: bool = False
    units: Mapping[str, str] = field(default_factory=dict)
    columns: Mapping[str, str | tuple[str, ...]] = field(default_factory=dict)

    def describe(self, path: str, sha256: str, notes: list[str]) -> Provenance:
        """Make the provenance of a file; raise SourceError when the file is not the one that the sidecar describes."""
        words: dict[str, Any] = dict(self.words)
        recorded = words.pop("sha256", sha256)
        if recorded.lower() != sha256:
            raise SourceError(
                f"'{path}' has changed since its provenance was recorded: its sha256 is {sha256}, not {recorded}",
                where=self.where,
                remedy="restore the file as published, or record the new file's publisher, vintage and sha256",
            )
        said = [words.pop("notes", "").rstrip("."), *notes]
        return Provenance(
            path=path, sha256=sha256, notes="; ".join(filter(None, said)), synthetic=self.synthetic, **words
        )

    def refuse_columns(self) -> None:
        """Raise SourceError where columns are declared beside a file whose source does not read them from here."""
        if self.columns:
            raise SourceError(
                "[columns] is read beside a table or a ledger, and not beside a yearbook",
                where=self.where,
                remedy="write columns= where the yearbook is named",
            )

    def merge_units(
        self, declared: Mapping[str, str], columns: list[str], where: str, *, noun: str = "column"
    ) -> dict[str, str]:
        """Add the units that were declared in code; raise SourceError on an unknown column and on a contradiction."""
        check_known(self.units, columns, self.where, "[units]", noun=noun)
        check_known(declared, columns, where, "units=", noun=noun)
        for column, unit in declared.items():
            if self.units.get(column, unit) != unit:
                raise SourceError(
                    f"the unit of {noun} '{column}' is '{self.units[column]}' in the sidecar and '{unit}' in units=",
                    where=self.where,
                    remedy="find out which is right and declare it once",
                )
        return {**self.units, **declared}


def with_sidecar(path: Path) -> tuple[Path, ...]:
    """Name a file, and the sidecar next to it if there is one."""
    beside = _beside(path)
    return (path, beside) if _is_there(beside) else (path,)


def _beside(path: Path) -> Path:
    return path.with_name(path.name + ".provenance.toml")


def _is_there(beside: Path) -> bool:
    try:
        return beside.is_file()
    except (OSError, ValueError):  # too long a name, a NUL in it: what reads the file itself says so
        return False


def read_sidecar(path: Path) -> Sidecar:
    """Read the sidecar next to a file, if there is one."""
    beside = _beside(path)
    where = beside.as_posix()
    if not _is_there(beside):
        return Sidecar(where)
    try:
        # Notepad on Windows puts a byte order mark in front, which TOML does not allow.
        entries = tomllib.loads(beside.read_bytes().decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise SourceError("the sidecar is not UTF-8", where=where, remedy="save it as UTF-8") from error
    except OSError as error:
        raise SourceError(f"the sidecar cannot be read ({error})", where=where, remedy="check its rights") from error
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        remedy = 'correct that line; a text stands in quotes: publisher = "…"'
        raise SourceError(f"the sidecar is not valid TOML: {error}", where=where, remedy=remedy) from error
    _check(entries, where)
    units = {column: unit.strip() for column, unit in entries.get("units", {}).items()}
    words = {key: entries[key].strip() for key in _WORDS if key in entries}
    columns = {
        name: said if isinstance(said, str) else tuple(said) for name, said in entries.get("columns", {}).items()
    }
    return Sidecar(where, words, entries.get("synthetic", False), units, columns)


def _check(entries: dict[str, Any], where: str) -> None:
    for key, value in entries.items():
        if key not in _KEYS:
            raise SourceError(f"the key '{key}' is unknown", where=where, remedy=nearest(key, _KEYS))
        if key in _WORDS and not isinstance(value, str):
            raise _wrong_type(key, value, f'put it in quotes: {key} = "{value}"', where)
        if key == "synthetic" and not isinstance(value, bool):
            raise _wrong_type(key, value, "write synthetic = true or synthetic = false, without quotes", where)
        if key == "units" and not isinstance(value, dict):
            raise _wrong_type(key, value, 'write a table: [units], then lines such as area = "mu"', where)
        if key == "columns" and not isinstance(value, dict):
            raise _wrong_type(key, value, 'write a table: [columns], then lines such as principal = "amount"', where)
    for column, unit in entries.get("units", {}).items():
        if not isinstance(unit, str) or not unit.strip():
            raise _wrong_type(f"units.{column}", unit, f'write the unit in quotes: {column} = "t"', where)
    for name, said in entries.get("columns", {}).items():
        if not isinstance(said, str) and not (isinstance(said, list) and all(isinstance(one, str) for one in said)):
            remedy = f'write the header in quotes: {name} = "…"; a loan number may be a list of headers'
            raise _wrong_type(f"columns.{name}", said, remedy, where)


def _wrong_type(key: str, value: object, remedy: str, where: str) -> SourceError:
    return SourceError(f"the value of '{key}' cannot be {value!r}", where=where, remedy=remedy)
