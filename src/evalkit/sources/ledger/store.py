"""Store: the cells of a ledger in a DuckDB database of its own, asked by text that holds none of the user's words.

Columns are called by their places (c0, c1, …). What a cell means is found once for each distinct cell of a column, and joined.
"""

from __future__ import annotations

import datetime as dt
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from evalkit.errors import SourceError
from evalkit.sources.files.columns import write_number, write_rows
from evalkit.sources.files.listing import Listing
from evalkit.tables.text_columns import MISSING

_MISSING = pa.array([*MISSING], pa.string())
_SHOWN = 2_000  # rows that one error names, in runs
_UNFIT = "neither the memory nor the room for temporary files suffices"


@dataclass(frozen=True)
class Memory:
    """What reading may take: memory such as "1GB", the folder for what is more (None: the system's), cores."""

    limit: str
    spill: str | Path | None = None
    threads: int | None = None


@dataclass
class Store:
    """The cells of the columns that are read. `places` are those of the file, in the order of c0, c1, …

    `coded` columns hold, of text, the number of a distinct cell in `words`; Parquet stays as it is stored.
    """

    listing: Listing
    where: str
    database: Any
    places: Sequence[int]
    coded: frozenset[int]
    words: dict[int, dict[str, int]] = field(default_factory=dict)
    kinds: dict[int, str] = field(default_factory=dict)
    rows_read: int = 0
    omits: bool = False
    noted: list[str] = field(default_factory=list)
    _distinct: dict[int, tuple[pa.Array, list[str]]] = field(default_factory=dict)

    def column(self, place: int) -> str:
        """Return the name of a column of the file in `cells`."""
        return f"c{self.places.index(place)}"

    def kind(self, place: int) -> str:
        """Return "text", "whole", "float", "decimal", "day", "truth" for how a column is stored."""
        return self.kinds.get(place, "text")

    def ask(self, text: str) -> pa.Table:
        """Carry out a query."""
        table: pa.Table = tell(self.where, lambda: self.database.sql(text).to_arrow_table())
        return table

    def stream(self, text: str) -> Iterator[pa.RecordBatch]:
        """Carry out a query, and take its rows in batches."""
        reader = tell(self.where, lambda: self.database.sql(text).to_arrow_reader(1_000_000))
        while (batch := tell(self.where, lambda: next(reader, None))) is not None:
            yield batch

    def sum_exactly(self, query: Callable[[str], str]) -> pa.Table:
        """Carry out a query with sums of whole numbers: in 64 bits, or as text where they are larger."""
        import duckdb

        def sum_as(money: str) -> pa.Table:
            return tell(self.where, lambda: self.database.sql(query(money)).to_arrow_table(), passes=_TOO_LARGE)

        for money in ("bigint", "varchar"):
            with suppress(duckdb.ConversionException, duckdb.OutOfRangeException):
                return sum_as(money)
        raise SourceError(
            "the amounts and rates have so many digits that their sum cannot be told exactly",
            where=self.where,
            remedy="write amounts to four decimals, and rates to eight",
        )

    def run(self, text: str) -> None:
        """Carry out a statement."""
        tell(self.where, lambda: self.database.execute(text))

    def lift(self, name: str, columns: Mapping[str, Any]) -> None:
        """Make a small table."""
        table = pa.table(dict(columns))

        def make() -> None:
            self.database.register("lifted", table)
            self.database.execute(f"create or replace temp table {name} as from lifted")
            self.database.unregister("lifted")

        tell(self.where, make)

    def fill(self) -> None:
        """Take the columns from the file."""
        if self.listing.parquet is not None:
            self._attach(self.listing.parquet)
            return
        self.words = {place: {} for place in self.coded}
        kinds = [pa.int32() if place in self.coded else pa.string() for place in self.places]
        schema = pa.schema([pa.field("row", pa.int64()), *(pa.field(f"c{i}", kind) for i, kind in enumerate(kinds))])

        refusals: list[SourceError] = []  # DuckDB would put an error of its own in their place

        def batches() -> Iterator[pa.RecordBatch]:
            taken = self.listing.take(self.places)
            while True:
                try:
                    batch = next(taken, None)
                except SourceError as refusal:
                    refusals.append(refusal)
                    return
                if batch is None:
                    return
                columns = [batch.column(0)]
                for i, place in enumerate(self.places):
                    cells = batch.column(i + 1)
                    columns.append(_encode(cells, self.words[place]) if place in self.coded else _tidy(cells))
                self.rows_read += batch.num_rows
                yield pa.RecordBatch.from_arrays(columns, schema=schema)

        def take() -> None:
            stream = pa.RecordBatchReader.from_batches(schema, batches())
            self.database.from_arrow(stream).query("asked", "create temp table cells as from asked")

        tell(self.where, take)
        pa.default_memory_pool().release_unused()
        if refusals:
            raise refusals[0]

    def _attach(self, path: Path) -> None:
        """Make a view of a Parquet file; times of day are left out of dates, each in the time zone of its column."""
        import duckdb
        import pyarrow.parquet as pq

        named = "".join(f"[{one}]" if one in "*?[" else one for one in str(path))  # or it would name other files, too
        schema = pq.read_schema(path)
        rows = tell(
            self.where, lambda: self.database.read_parquet(named, file_row_number=True, hive_partitioning=False)
        )
        chosen = [
            (duckdb.ColumnExpression("file_row_number") + duckdb.ConstantExpression(2)).cast("BIGINT").alias("row")
        ]
        for i, place in enumerate(self.places):
            stored = str(rows.types[place]).upper()
            self.kinds[place] = kind = _kind(stored)
            if not kind:
                raise SourceError(
                    f"column '{self.listing.headers[place]}' holds {stored.lower()}, which is no cell of a table",
                    where=self.where,
                    remedy="write it as text, numbers or dates",
                )
            # DuckDB compares names without case, and calls the second of two Amount_1
            one = duckdb.ColumnExpression(rows.columns[place])
            zone = getattr(schema.field(place).type, "tz", None)
            if zone:  # DuckDB knows the moment alone, and would show it in the time zone of this computer
                one = _in_zone(one, zone)
            if kind == "float":
                # isnan() believes the file's smallest and largest value, which do not tell of a NaN
                is_nan = one.cast("VARCHAR") == duckdb.ConstantExpression("nan")
                ends = duckdb.CaseExpression(is_nan, duckdb.ConstantExpression(None)).otherwise(one)
                one = duckdb.CaseExpression(duckdb.FunctionExpression("isfinite", one), one).otherwise(ends)
            cast = {"day": "DATE", "nothing": "VARCHAR"}.get(kind)
            chosen.append((one if cast is None else one.cast(cast)).alias(f"c{i}"))
        tell(self.where, lambda: rows.select(*chosen).create_view("cells"))

    def distinct(self, place: int) -> tuple[pa.Array, list[str]]:
        """Return the distinct cells of a column that hold something, as they are joined and as text."""
        if place not in self._distinct:
            self._distinct[place] = self._find_distinct(place)
        return self._distinct[place]

    def _find_distinct(self, place: int) -> tuple[pa.Array, list[str]]:
        if place in self.words:
            words = self.words[place]
            return pa.array(range(len(words)), pa.int32()), list(words)
        keys = self.find_keys(place)
        texts = [_write(one) for one in keys.to_pylist()]
        known = [i for i, text in enumerate(texts) if text not in MISSING]
        if len(known) < len(texts):
            keys, texts = keys.take(pa.array(known)), [texts[i] for i in known]
        return keys, texts

    def find_keys(self, place: int) -> pa.Array:
        """Return the distinct cells of a column as they are stored, those that may be blank, too."""
        name = self.column(place)
        chunks = self.ask(f"select distinct {name} as k from cells where {name} is not null").column("k")
        return pa.concat_arrays(chunks.chunks) if chunks.num_chunks else pa.array([], chunks.type)

    def count(self, condition: str = "true", of: str = "cells") -> int:
        """Count the rows for which something holds."""
        return int(self.ask(f"select count(*) as n from {of} where {condition}").column("n")[0].as_py())

    def rows(self, condition: str, of: str = "cells") -> tuple[list[int], int]:
        """Return the first rows for which something holds, and how many there are."""
        count = self.count(condition, of)
        if not count:
            return [], 0
        found = self.ask(f"select row from {of} where {condition} order by row limit {_SHOWN}")
        return [int(row) for row in found.column("row").to_pylist()], count

    def refuse(self, condition: str, header: str, what: str, remedy: str, of: str = "cells") -> None:
        """Raise SourceError naming the rows for which something holds, if there are any."""
        rows, count = self.rows(condition, of)
        if rows:
            raise SourceError(what, where=f"{self.where}, {self.say(rows, count)}, column '{header}'", remedy=remedy)

    def say(self, rows: Sequence[int], count: int | None = None) -> str:
        """Name rows as in the file."""
        said = write_rows([self.listing.label(row) for row in rows])
        return f"{said} and {count - len(rows)} more" if count is not None and count > len(rows) else said

    def refuse_cells(
        self, place: int, wrong: NDArray[np.bool_] | Sequence[bool], what: str, remedy: str, among: str = "true"
    ) -> None:
        """Raise SourceError naming the rows whose cell is one of the distinct ones that are marked."""
        marked = np.asarray(wrong, dtype=bool)
        if marked.any():
            self.refuse_keys(place, self.distinct(place)[0].filter(pa.array(marked)), what, remedy, among)

    def refuse_keys(self, place: int, keys: pa.Array, what: str, remedy: str, among: str = "true") -> None:
        """Raise SourceError naming the rows whose cell is one of some distinct ones."""
        self.lift("marked", {"k": keys})
        name = self.column(place)
        self.refuse(f"{name} in (select k from marked) and {among}", self.header(place), what, remedy)

    def header(self, place: int) -> str:
        """Return the header of a column."""
        return "".join(self.listing.headers[place].splitlines()) or f"column {place + 1}"


@contextmanager
def open_store(
    listing: Listing, where: str, places: Sequence[int], coded: frozenset[int], memory: Memory
) -> Iterator[Store]:
    """Open a database for a ledger; what it writes to a folder of its own, for this user alone, is removed in the end."""
    import duckdb

    if memory.spill is not None and not Path(memory.spill).is_dir():
        remedy = "make it, or leave spill= out"
        raise SourceError("there is no such folder to spill to", where=str(memory.spill), remedy=remedy)
    try:
        folder = tempfile.mkdtemp(prefix="evalkit-", dir=memory.spill)
    except OSError as error:
        raise SourceError(
            f"no temporary folder can be made ({error.strerror or error})",
            where=str(memory.spill or tempfile.gettempdir()),
            remedy="name a folder that you may write to by spill=",
        ) from None
    database, refusal = None, None
    try:
        try:
            database = duckdb.connect(
                ":memory:",
                config={
                    "autoinstall_known_extensions": False,
                    "autoload_known_extensions": False,
                    "preserve_insertion_order": False,
                    "temp_directory": folder,
                    "memory_limit": memory.limit,
                    **({} if memory.threads is None else {"threads": memory.threads}),
                },
            )
        except duckdb.Error as error:
            refusal = SourceError(
                f"DuckDB does not take memory='{memory.limit}' ({type(error).__name__})",
                where="memory=",
                remedy='write an amount such as memory="2GB"',
            )
        if refusal is not None:
            raise refusal
        yield Store(listing, where, database, places, coded)
    finally:
        if database is not None:
            database.close()
        shutil.rmtree(folder, ignore_errors=True)


_T = TypeVar("_T")
_TOO_LARGE = ("ConversionException", "OutOfRangeException")


def tell(where: str, act: Callable[[], _T], *, passes: Sequence[str] = ()) -> _T:
    """Act; raise SourceError for what DuckDB cannot do, without its words, which may hold a cell.

    Errors of DuckDB whose class `passes` names are raised as they are, for who asks for them.
    """
    import duckdb

    try:
        return act()
    except duckdb.OutOfMemoryException:
        refusal = SourceError(
            _UNFIT, where=where, remedy='give more memory (memory="4GB"), or a folder with more room (spill=…)'
        )
    except (duckdb.Error, pa.ArrowException) as error:
        if type(error).__name__ in passes:
            raise
        refusal = SourceError(
            f"DuckDB cannot read this ({type(error).__name__})",
            where=where,
            remedy="check that the file is whole and is not changed meanwhile; write it again",
        )
    raise refusal  # here, where no error of DuckDB is its context


def _in_zone(moment: Any, zone: str) -> Any:
    """Write a moment as the clock of a time zone, which Arrow calls by its name or by its offset, shows it."""
    import duckdb

    found = re.fullmatch("([+-])([0-9]{2}):?([0-9]{2})", zone)
    name = duckdb.ConstantExpression("UTC" if found else zone)
    clock = duckdb.FunctionExpression("timezone", name, moment)
    if found is None:
        return clock
    offset = dt.timedelta(hours=int(found[2]), minutes=int(found[3]))
    return clock + duckdb.ConstantExpression(-offset if found[1] == "-" else offset)


def _encode(cells: pa.Array, words: dict[str, int]) -> pa.Array:
    """Number distinct cells, in the order in which they are first seen; null where there is no value."""
    encoded = cells.dictionary_encode()
    texts = [None if one is None else one.strip() for one in encoded.dictionary.to_pylist()]
    codes = [None if text is None or text in MISSING else words.setdefault(text, len(words)) for text in texts]
    return pa.array(codes, pa.int32()).take(encoded.indices)


def _tidy(cells: pa.Array) -> pa.Array:
    """Trim cells; null where there is no value."""
    trimmed = pc.utf8_trim_whitespace(cells)
    gaps = pc.is_in(trimmed, value_set=_MISSING)
    return pc.if_else(gaps, None, trimmed) if pc.any(gaps).as_py() else trimmed


_KINDS = {
    "text": ("VARCHAR", "ENUM"),
    "whole": ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "HUGEINT"),
    "float": ("FLOAT", "DOUBLE"),
    "decimal": ("DECIMAL",),
    "day": ("DATE", "TIMESTAMP"),
    "truth": ("BOOLEAN",),
    "nothing": ("NULL", '"NULL"'),
}


def _kind(stored: str) -> str:
    if stored.endswith("]"):
        return ""  # a list
    return next((kind for kind, names in _KINDS.items() if stored.startswith(names)), "")


def _write(value: Any) -> str:
    """Write a value of Parquet as a cell of text."""
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, float):
        return write_number(value)
    return str(value).strip()
