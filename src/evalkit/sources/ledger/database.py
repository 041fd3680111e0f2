"""A query of a bank's database: asked once, its result stored beside the data as text, and hashed as any other input."""

from __future__ import annotations

import codecs
import datetime as dt
import logging
import math
import os
import re
import tempfile
import uuid
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from evalkit.errors import EvalkitError, SourceError, explain_refusal
from evalkit.sources.files.bytes import read_bytes
from evalkit.sources.sidecar import read_sidecar
from evalkit.tables.table import file_sha256

if TYPE_CHECKING:
    from sqlalchemy import Connection

_ROWS = 10_000  # held in memory at a time
_KEEP_URL = "keep it outside data/ and out of version control, as the key is"
_MARK = "# written with the result of a query; add publisher, licence and units as you like, and keep the notes"
_RECORDED = re.compile(r"query [^;]* with sha256 ([0-9a-f]{64})")
# Comments and what stands in quotes are no words of the statement; what opens one and does not close it is an error.
_ASIDE = re.compile(
    r"--[^\n]*|/\*.*?\*/|'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|`[^`]*`|(?P<tag>\$\w*\$).*?(?P=tag)|(?P<open>['\"`]|/\*)",
    re.DOTALL,
)
_WRITES = re.compile(
    r"\b(?:insert|update|delete|merge|into|drop|create|alter|truncate|call|exec|execute|grant|attach|copy)\b",
    re.IGNORECASE,
)
_ONE_SELECT = "write one SELECT (or WITH … SELECT) that changes nothing, without others behind it"


def store_query(query: Path, database: Path, path: Path, where: str) -> list[str]:
    """Run the query in the file `query` and store its result as `path` (.parquet), where that is not there; return notes.

    `database` is a file with nothing but the URL of the database (SQLAlchemy's form), which lies neither with the data nor with
    the query. It is not opened where the result is stored already: then the query must be the one that made it, whose SHA-256
    the sidecar of the result records with its own, the day and the number of rows. The query is one statement that selects; it
    runs in a transaction that is rolled back. Every column is stored as text: numbers in full and as short as they are exact,
    dates as in ISO 8601, true and false as 1 and 0, NULL as missing. `where` names the result in errors. Raises SourceError,
    which shows neither the URL nor a value, for whatever else comes.
    """
    if path.suffix.lower() != ".parquet":
        raise SourceError("the result of a query is stored as .parquet", where=where, remedy='write path = "….parquet"')
    for beside, what in ((path, "the data"), (query, "the query")):
        if database.resolve().is_relative_to(beside.resolve().parent):
            raise SourceError(
                f"the URL of the database lies in the folder of {what}, and whoever is given the folder could log in",
                where=database.as_posix(),
                remedy=f"move it elsewhere; {_KEEP_URL}",
            )
    statement = _read_statement(query)
    sha256 = file_sha256(query)
    if path.exists():
        _require_same(path, query, sha256)
    else:
        _run(statement, query, sha256, database, path, where)
    return [f"every column of the query {query.name} was stored as text"]


def _require_same(path: Path, query: Path, sha256: str) -> None:
    """Raise SourceError where a stored result is not known to be of this query."""
    sidecar = read_sidecar(path)
    recorded = _RECORDED.search(sidecar.words.get("notes", ""))
    if recorded is None:
        raise SourceError(
            "this does not say which query the stored result is of",
            where=sidecar.where,
            remedy=f"put its notes back; or delete {path.name} and its sidecar, so that the query is run",
        )
    if recorded[1] != sha256:
        raise SourceError(
            f"the query has changed since its result was stored: its sha256 is {sha256}, not {recorded[1]}",
            where=query.as_posix(),
            remedy=f"delete {path.name} and its sidecar to run the new query, or restore the query",
        )


def _read_statement(query: Path) -> str:
    """Read the one statement of a file; raise SourceError for anything but a SELECT."""
    where = query.as_posix()
    text = _decode(read_bytes(query, where))
    if text is None:
        raise SourceError("the query is not UTF-8", where=where, remedy="save it as UTF-8")
    asides = list(_ASIDE.finditer(text))
    if any(one["open"] for one in asides):
        raise SourceError(
            "a quote or a comment is not closed", where=where, remedy="close it; double a quote within a text"
        )
    if any(one[0].startswith("/*!") for one in asides):
        raise SourceError("a comment /*! is carried out by MySQL", where=where, remedy="leave it out")
    bare = _ASIDE.sub(_blank, text)
    words = bare.rstrip().removesuffix(";")
    if ";" in words:
        raise SourceError("the query has more than one statement", where=where, remedy=_ONE_SELECT)
    first = re.match(r"[\s(]*(\w*)", words)
    if first is None or first[1].lower() not in ("select", "with"):
        raise SourceError("the query does not begin with SELECT or WITH", where=where, remedy=_ONE_SELECT)
    if writes := _WRITES.search(words):
        raise SourceError(
            f"the query has the word {writes[0].upper()}, which changes a database",
            where=f"{where}, line {text.count(chr(10), 0, writes.start()) + 1}",
            remedy=f'{_ONE_SELECT}; a column of that name stands in quotes: "{writes[0]}"',
        )
    return text[: len(words)] + re.sub(";", " ", bare[len(words) :])


def _blank(aside: re.Match[str]) -> str:
    """Write blanks for a comment, and what is neither blank nor word for a quote: as many, so that places stay the same."""
    return (" " if aside[0].startswith(("--", "/*")) else "\0") * len(aside[0])


def _decode(raw: bytes) -> str | None:
    """Read text as UTF-8, or UTF-16 with a byte order mark; None where it is neither."""
    try:
        if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            return raw.decode("utf-16")
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None  # and the error is raised outside, as this one holds the bytes


class _Kept:
    """Keeps errors to their class, ours to their words: what a driver says may hold the URL, a name or a cell, and so may frames.

    An `except` would need to name the errors of all drivers.
    """

    kind = ""
    own: SourceError | None = None

    def __enter__(self) -> _Kept:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if kind is None or not issubclass(kind, Exception):
            return False
        if isinstance(error, EvalkitError):
            self.own = SourceError(error.what, where=error.where, remedy=error.remedy)
        else:
            inner = getattr(error, "orig", None)
            self.kind = kind.__name__ if inner is None else type(inner).__name__
        return True


def _run(statement: str, query: Path, sha256: str, database: Path, path: Path, where: str) -> None:
    """Ask the database, and put the result and its sidecar in place: the result last, as it says that all is there."""
    _require_library(where)
    beside = path.with_name(path.name + ".provenance.toml")
    if beside.exists() and not beside.read_bytes().startswith(_MARK.encode()):
        raise SourceError(
            "there is a sidecar without its file, and that of the query's result would take its place",
            where=beside.as_posix(),
            remedy="move it away, and add its lines to the new one when the query has run",
        )
    part: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        os.close(handle)
        part = Path(name)
        rows = _ask(statement, database, part, query.as_posix())
        day = dt.date.today().isoformat()
        said = f"result of the query {query.name} with sha256 {sha256}, run on {day}; {rows} rows"
        text = f'{_MARK}\nsha256 = "{file_sha256(part)}"\nnotes = {_quote(said)}\n'
        beside.write_text(text, encoding="utf-8", newline="\n")
        part.chmod(0o644)  # a temporary file is its owner's alone
        part.replace(path)
    except OSError as error:
        raise explain_refusal(error, where) from error
    finally:
        if part is not None:
            part.unlink(missing_ok=True)


def _quote(text: str) -> str:
    """Write a text as TOML does."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _require_library(where: str) -> None:
    found = True
    try:
        import sqlalchemy  # noqa: F401  # whether it is there is all that is asked
    except ImportError:
        found = False
    if not found:
        remedy = 'install it, pip install "evalkit[db]", and the driver of your database; or use the stored result'
        raise SourceError("SQLAlchemy is not installed", where=where, remedy=remedy)


def _ask(statement: str, database: Path, part: Path, where: str) -> int:
    """Write the result of a statement as Parquet; return the number of rows."""
    kept, rows = _Kept(), 0
    with kept:
        rows = _stream(statement, database, part, where)
    if kept.own is not None:
        raise kept.own
    if kept.kind:
        raise SourceError(
            f"the database did not answer the query ({kept.kind}; its words are not shown, as they may hold the URL or data)",
            where=where,
            remedy=f"check the URL in {database.as_posix()}, that the driver is installed and the server is reached "
            "from here, and try the query in the database's own client",
        )
    return rows


def _stream(statement: str, database: Path, part: Path, where: str) -> int:
    """Open the database and write the result. Errors that leave here hold the URL in their frames."""
    from sqlalchemy import create_engine
    from sqlalchemy.pool import NullPool

    for name in ("sqlalchemy.engine.Engine.evalkit", "sqlalchemy.pool.impl.NullPool.evalkit"):
        logging.getLogger(name).disabled = True  # a log at the level of debugging has rows and connections
    url, kept, fault = _read_url(database), _Kept(), ""
    with kept:
        engine = create_engine(
            url, poolclass=NullPool, hide_parameters=True, logging_name="evalkit", pool_logging_name="evalkit"
        )
    if kept.kind in ("ArgumentError", "NoSuchModuleError", "ValueError"):
        fault = "the file holds no URL of a database that is known"
    elif kept.kind:
        fault = f"the driver of the database cannot be used ({kept.kind})"
    elif engine.dialect.name == "sqlite" and _is_lost(engine.url.database):
        fault = "the URL names a file of SQLite that is not there"
    if fault:
        remedy = f"write one line such as postgresql+psycopg://user:password@host/database; {_KEEP_URL}"
        raise SourceError(fault, where=database.as_posix(), remedy=remedy)
    with engine.connect() as connection:
        return _write(connection, statement, part, where)


def _is_lost(name: str | None) -> bool:
    """Say whether a file of SQLite is not there, which SQLite would make."""
    return bool(name) and name != ":memory:" and not str(name).startswith("file:") and not Path(str(name)).is_file()


def _read_url(database: Path) -> str:
    """Read a URL, which an editor's byte order mark, UTF-16 and white space around it do not change."""
    where = database.as_posix()
    if not database.is_file():
        raise SourceError(
            "there is no file with the URL of the database, which is asked because no result is stored",
            where=where,
            remedy=f"write the URL into it; {_KEEP_URL}; or put the stored result back",
        )
    try:
        text = (_decode(database.read_bytes()) or "").strip()
    except OSError as error:
        raise explain_refusal(error, where) from error
    if "://" not in text or len(text.splitlines()) > 1:
        raise SourceError(
            "the file does not hold the URL of a database, in one line and nothing else",
            where=where,
            remedy=f"write one line such as postgresql+psycopg://user:password@host/database; {_KEEP_URL}",
        )
    return text


def _write(connection: Connection, statement: str, part: Path, where: str) -> int:
    """Carry out a statement in a transaction that is rolled back, and write what it gives, some thousand rows at a time."""
    if connection.dialect.name == "sqlite":  # its driver would commit what it does not take for writing
        connection.exec_driver_sql("PRAGMA query_only = ON")
        connection.rollback()
    if connection.dialect.name == "postgresql":
        connection = connection.execution_options(postgresql_readonly=True)
    begun = connection.begin()
    try:
        connection = connection.execution_options(no_parameters=True, stream_results=True, max_row_buffer=_ROWS)
        found = connection.exec_driver_sql(statement)  # as it stands: no % and no colon is a parameter
        names = [str(one[0]) for one in found.cursor.description or ()] if found.cursor is not None else []
        _check_names(names, where)
        return _write_parts(found.partitions(_ROWS), names, part, where)
    finally:
        begun.rollback()


def _check_names(names: list[str], where: str) -> None:
    """Raise SourceError where the columns of a result cannot be told apart."""
    for at, name in enumerate(names):
        what = ""
        if not name.strip() or name == "?column?":
            what = f"column {at + 1} of the result has no name"
        elif name in names[:at]:
            what = f"columns {names.index(name) + 1} and {at + 1} of the result have the same name, '{name}'"
        if what:
            raise SourceError(what, where=where, remedy="name each column in the query: SELECT … AS principal")
    if not names:
        raise SourceError("the query gives no columns", where=where, remedy=_ONE_SELECT)


def _write_parts(parts: Iterator[Sequence[Sequence[Any]]], names: list[str], part: Path, where: str) -> int:
    """Write parts of a result as text; return the number of rows."""
    rows = 0
    schema = pa.schema([(name, pa.string()) for name in names])
    with pq.ParquetWriter(part, schema) as writer:
        for block in parts:
            columns = []
            for name, values in zip(names, zip(*block, strict=True), strict=True):
                texts, wrong = _as_text(values)
                if wrong:
                    raise SourceError(
                        f"the value is {wrong}, which is not written as text",
                        where=f"{where}, column '{name}', row {rows + len(texts) + 1} of the result",
                        remedy="leave the column out of the query, or turn it into text or a number there (CAST)",
                    )
                columns.append(pa.array(texts, pa.string()))
            writer.write_batch(pa.record_batch(columns, schema=schema))
            rows += len(block)
    if not rows:
        raise SourceError("the query gives no rows", where=where, remedy="check its conditions; nothing was stored")
    return rows


def _as_text(values: Sequence[Any]) -> tuple[list[str | None], str]:
    """Write the values of a column as text, up to the first that cannot be, and say what that is ("" where there is none)."""
    texts: list[str | None] = []
    for value in values:
        kind = type(value)
        if kind is str or value is None:
            texts.append(value)
            continue
        write = _WRITERS.get(kind) or next((made for base, made in _WRITERS.items() if isinstance(value, base)), None)
        text = None if write is None else write(value)
        if text is None:
            return texts, "no finite number" if isinstance(value, float | Decimal) else f"of the type {kind.__name__}"
        texts.append(text)
    return texts, ""


def _write_decimal(value: Decimal) -> str | None:
    """Write a number in full, without the zeros behind its last decimal; None where it is not finite."""
    if not value.is_finite():
        return None
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _write_float(value: float) -> str | None:
    return _write_decimal(Decimal(repr(float(value)))) if math.isfinite(value) else None


_WRITERS: dict[type, Callable[[Any], str | None]] = {
    bool: lambda value: "1" if value else "0",
    int: str,
    float: _write_float,
    Decimal: _write_decimal,
    dt.datetime: lambda value: value.isoformat(sep=" "),
    dt.date: lambda value: value.isoformat(),
    dt.time: lambda value: value.isoformat(),
    uuid.UUID: str,
    str: str,
}
