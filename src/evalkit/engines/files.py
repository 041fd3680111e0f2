"""Files of a large table: Parquet in one or many parts, CSV, a DuckDB database; their parts checked before anything is read."""

from __future__ import annotations

import csv
import glob
import gzip
import re
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from evalkit.engines.engine import require_distinct_columns
from evalkit.errors import SourceError
from evalkit.tables.text_columns import BLANKS

PARQUET, CSV, DATABASE = "Parquet", "CSV", "DuckDB"
_KINDS = {
    **dict.fromkeys((".parquet", ".parq", ".pq"), PARQUET),
    **dict.fromkeys((".csv", ".tsv", ".csv.gz", ".tsv.gz"), CSV),
    **dict.fromkeys((".duckdb", ".ddb", ".db"), DATABASE),
}
_DELIMITERS = (",", "\t", ";", "|")
_LONGEST_HEADER = 10_000_000  # characters
_SUMMARY = "_metadata"  # of a folder: which parts it has
_LEADING_ZERO = re.compile(r"[^=/\\]+=0\d+")


@dataclass(frozen=True)
class Scan:
    """Files to read as one table: their kind, what errors call them, and whether folders `column=value` add columns.

    Of CSV files, also the columns of their header, and what separates them.
    """

    kind: str
    files: tuple[str, ...]
    where: str
    delimiter: str = ","
    header: tuple[str, ...] = ()
    in_folders: bool = False


def scan_files(path: Any, columns: tuple[str, ...]) -> Scan:
    """Find the files of a path (a file, a folder, a pattern such as "farms/*.parquet", or several paths), and check them.

    Raises SourceError where a file is missing, empty or no such file, where parts are of different kinds, and where one lacks a
    column, or holds it in another type than the first.
    """
    given = [path] if isinstance(path, str | Path) else list(path)
    if not given:
        raise SourceError("no paths are given", where="collapse", remedy="name at least one file")
    where = Path(given[0]).as_posix() + (f" and {len(given) - 1} more" if len(given) > 1 else "")
    root = Path(given[0]) if len(given) == 1 and Path(given[0]).is_dir() else None
    files = [file for one in given for file in _find(Path(one))]
    kinds = {_kind(file) for file in files}
    if len(kinds) > 1:
        raise SourceError(
            f"the files are of several kinds: {', '.join(sorted(kinds))}", where=where, remedy="name files of one kind"
        )
    (kind,) = kinds
    for file in files:
        if not file.stat().st_size:
            raise SourceError("the file is empty", where=file.as_posix(), remedy="write it again, or remove it")
    names = tuple(file.as_posix() for file in files)
    if kind == DATABASE and len(files) > 1:
        raise SourceError(
            "several databases are named", where=where, remedy="name one, or export their tables as Parquet"
        )
    if kind == CSV:
        return Scan(kind, names, where, *_check_headers(files, columns))
    if kind == DATABASE:
        return Scan(kind, names, where)
    below = [file.relative_to(root).as_posix() if root is not None else "" for file in files]
    in_folders = any("=" in name for name in below)
    for name in below:
        if _LEADING_ZERO.search(name):
            raise SourceError(
                f"the folder of '{name}' names a value with a leading zero, which DuckDB would read as a number",
                where=where,
                remedy="keep that column in the files, not in names of folders",
            )
    _check_parts(files, () if in_folders else columns, root, where)
    return Scan(kind, names, where, in_folders=in_folders)


def list_names(scan: Scan) -> list[str]:
    """List the columns of the first file, by its own header."""
    if scan.kind == PARQUET:
        return list(pq.read_schema(scan.files[0]).names)
    if scan.kind == CSV:
        opened = gzip.open if scan.files[0].endswith(".gz") else open
        with opened(scan.files[0], "rt", encoding="utf-8-sig", newline="") as handle:
            return [name.strip() for name in next(csv.reader(handle, delimiter=scan.delimiter), [])]
    raise SourceError(
        "the columns of a database are not listed", where=scan.where, remedy="export the table as Parquet"
    )


def _find(path: Path) -> list[Path]:
    """List the files that a path names, in order."""
    if path.is_dir():
        inside = sorted(one for one in path.rglob("*") if one.is_file() and not one.name.startswith(("_", ".")))
        found = [one for one in inside if _suffix(one) in (".parquet", ".parq", ".pq")]
        if not found:
            raise SourceError(
                "the folder holds no Parquet file", where=path.as_posix(), remedy="name the files themselves"
            )
        return found
    if path.is_file():
        return [path]
    if glob.has_magic(str(path)):
        found = sorted(Path(one) for one in glob.glob(str(path), recursive=True) if Path(one).is_file())
        if found:
            return found
        raise SourceError("no file has such a name", where=path.as_posix(), remedy="check the folder and the pattern")
    raise SourceError("there is no such file", where=path.as_posix(), remedy="check the name and the folder")


def _suffix(file: Path) -> str:
    """The ending that tells the kind: the last, or the last two of a compressed file."""
    name = file.name.lower()
    return next((one for one in sorted(_KINDS, key=len, reverse=True) if name.endswith(one)), file.suffix.lower())


def _kind(file: Path) -> str:
    kind = _KINDS.get(_suffix(file))
    if kind is None:
        raise SourceError(
            f"files that end with '{file.suffix}' are not read in this way",
            where=file.as_posix(),
            remedy="name a Parquet, CSV or DuckDB file; load others with evalkit.sources, and pass the frame",
        )
    return kind


def _check_headers(files: list[Path], columns: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """Read the header of every CSV file: what separates its columns, and their names, which have to be the same in all."""
    lines = [_first_line(file) for file in files]
    split = {
        mark: tuple(name.strip(BLANKS) for name in next(csv.reader([lines[0]], delimiter=mark))) for mark in _DELIMITERS
    }
    delimiter = max(split, key=lambda mark: len(set(columns) & set(split[mark])))
    header = split[delimiter]
    require_distinct_columns(list(header), columns, files[0].as_posix())
    for file, line in zip(files, lines, strict=True):
        here = tuple(name.strip(BLANKS) for name in next(csv.reader([line], delimiter=delimiter)))
        if here != header:
            raise SourceError(
                f"the header is not that of {files[0].name}, column by column",
                where=file.as_posix(),
                remedy="write all files with the same columns in one order",
            )
    return delimiter, header


def _first_line(file: Path) -> str:
    """Read the header of a CSV file, which may be compressed; names in quotes may hold line breaks."""
    read = gzip.open if file.name.lower().endswith(".gz") else open
    try:
        with read(file, "rt", encoding="utf-8-sig", newline="") as lines:
            line = lines.readline(_LONGEST_HEADER)
            while line.count('"') % 2 and len(line) < _LONGEST_HEADER and (more := lines.readline(_LONGEST_HEADER)):
                line += more
    except UnicodeDecodeError:
        raise SourceError(
            "the text is not UTF-8",
            where=file.as_posix(),
            remedy="save it as UTF-8, or load it by evalkit.sources.Delimited, which reads GB18030, too, and pass the frame",
        ) from None
    except (EOFError, OSError, zlib.error) as error:
        raise SourceError(
            f"the file cannot be read ({error})", where=file.as_posix(), remedy="write or copy it again, whole"
        ) from None
    return line.rstrip("\r\n") or " "


def _check_parts(files: list[Path], columns: tuple[str, ...], root: Path | None, where: str) -> None:
    """Read the schema of every part, and compare the columns wanted with those of the first."""
    if root is not None and (root / _SUMMARY).is_file():
        _require_listed(files, root)
    first: pa.Schema | None = None
    for file in files:
        try:
            schema = pq.read_schema(file)
        except (pa.ArrowException, OSError) as error:
            raise SourceError(
                f"this is no whole Parquet file ({str(error).splitlines()[0]})",
                where=file.as_posix(),
                remedy="write or copy it again, whole",
            ) from None
        require_distinct_columns(schema.names, columns, file.as_posix())
        if first is None:
            first = schema
            continue
        for column in columns:
            here, there = (_plain(one.field(column).type) for one in (schema, first))
            if here != there:
                raise SourceError(
                    f"column '{column}' holds {here}, and {there} in {files[0].name}",
                    where=file.as_posix(),
                    remedy="write all parts with one schema",
                )


def _plain(kind: pa.DataType) -> pa.DataType:
    """The type of a column's values: text is text however it is stored."""
    stored = kind.value_type if pa.types.is_dictionary(kind) else kind
    return pa.string() if pa.types.is_large_string(stored) or pa.types.is_string_view(stored) else stored


def _require_listed(files: list[Path], root: Path) -> None:
    """Raise SourceError where the summary of a folder lists a part that is not there."""
    try:
        listed = pq.read_metadata(root / _SUMMARY)
    except (pa.ArrowException, OSError):
        return  # a summary is no part of the data
    named = {listed.row_group(i).column(0).file_path for i in range(listed.num_row_groups)} - {""}
    missing = sorted(named - {file.relative_to(root).as_posix() for file in files})
    if missing:
        raise SourceError(
            f"{len(missing)} of the parts that '{_SUMMARY}' lists are missing: {', '.join(missing[:5])}",
            where=root.as_posix(),
            remedy="copy the folder again, whole",
        )
