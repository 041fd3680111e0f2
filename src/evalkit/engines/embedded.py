"""DuckDB: the engine inside this process, for Parquet, CSV and DuckDB files and Arrow tables, larger than memory too."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import narwhals as nw
import pyarrow as pa

from evalkit.engines.engine import Frame, require_distinct_columns
from evalkit.engines.files import CSV, DATABASE, Scan, scan_files
from evalkit.errors import DataError, SourceError

_SAFE = ("Expected Number of Columns", "Invalid unicode", "Value with unterminated quote", "file = ")


@dataclass(frozen=True)
class DuckDB:
    """Read and group the rows in this process, by all cores.

    memory   what DuckDB may take, such as "1GB" (by default 80 % of the machine's); what is more goes to a folder of temporary
             files, which is removed in the end.
    spill    where that folder is made; by default where the system keeps temporary files.
    threads  cores to use (by default all). Results do not depend on them: sums are of whole numbers.
    """

    memory: str | None = None
    spill: str | Path | None = None
    threads: int | None = None

    def open(self, frame: Any, columns: tuple[str, ...]) -> EmbeddedEngine:
        """Make ready to group the rows of paths, an Arrow table or stream, or a DuckDB relation."""
        if self.spill is not None and not Path(self.spill).is_dir():
            remedy = "make it, or leave spill= out"
            raise SourceError("there is no such folder to spill to", where=str(self.spill), remedy=remedy)
        return EmbeddedEngine(self, frame, columns)


class EmbeddedEngine:
    """A DuckDB database that reads the rows of one frame, called c0, c1, … No extension is fetched."""

    def __init__(self, of: DuckDB, frame: Any, columns: tuple[str, ...]) -> None:
        self._of, self._kept, self._where = of, 0, f"a {type(frame).__name__}"
        self.is_text = False
        self._database: Any = None
        try:
            self._folder = tempfile.mkdtemp(prefix="evalkit-", dir=of.spill)
        except OSError as error:
            raise SourceError(
                f"no temporary folder can be made ({error.strerror or error})",
                where=str(of.spill or tempfile.gettempdir()),
                remedy="name a folder that you may write to: engine=DuckDB(spill=…)",
            ) from None
        with ExitStack() as undo:
            undo.callback(self.close)
            self.rows = self._open(frame, columns)
            undo.pop_all()

    def keep(self, frame: Frame) -> Frame:
        """Write a frame to a temporary table."""
        name = f"kept_{self._kept}"
        self._kept += 1
        with self._told():
            nw.to_native(frame).query(
                "asked", f"create temporary table {name} as from asked"
            )  # also beside what is only read
            kept: Frame = nw.from_native(self._database.table(name))
            return kept

    def lift(self, table: pa.Table) -> Frame:
        """Hand a small table over as a temporary table."""
        return self.keep(nw.from_native(self._database.from_arrow(table)))

    def fetch(self, frame: Frame) -> pa.Table:
        """Run a query and take its rows."""
        with self._told():
            found: pa.Table = nw.to_native(frame).to_arrow_table()
            return found

    def close(self) -> None:
        """Close the database, and remove what it spilled."""
        if self._database is not None:
            self._database.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _open(self, frame: Any, columns: tuple[str, ...]) -> Frame:
        if not isinstance(frame, str | Path | list | tuple):
            self._connect(":memory:")
            with self._told():
                return self._take(frame, columns)
        scan = scan_files(frame, columns)
        self._where, self.is_text = scan.where, scan.kind == CSV
        self._connect(scan.files[0] if scan.kind == DATABASE else ":memory:")
        with self._told():
            rows: Frame = nw.from_native(self._scan(scan))
            names = rows.collect_schema().names()
        if self.is_text:
            return rows.select(
                *(nw.col(f"all_{scan.header.index(name)}").alias(f"c{i}") for i, name in enumerate(columns))
            )
        require_distinct_columns(names, columns, self._where)
        return rows.select(*(nw.col(name).alias(f"c{i}") for i, name in enumerate(columns)))

    def _connect(self, path: str) -> None:
        import duckdb

        settings: dict[str, Any] = {
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "preserve_insertion_order": False,
            "temp_directory": self._folder,
            **({} if self._of.memory is None else {"memory_limit": self._of.memory}),
            **({} if self._of.threads is None else {"threads": self._of.threads}),
        }
        try:
            self._database = duckdb.connect(path, read_only=path != ":memory:", config=settings)
        except duckdb.Error as error:
            raise SourceError(
                f"DuckDB cannot open this ({_first_line(error)})",
                where=self._where,
                remedy='close the program that writes to it; write memory as "4GB", and threads as a whole number',
            ) from None

    def _scan(self, scan: Scan) -> Any:
        if scan.kind == CSV:
            return self._database.read_csv(  # as it is declared: left to itself, DuckDB guesses where the header stands
                list(scan.files),
                columns={f"all_{i}": "VARCHAR" for i in range(len(scan.header))},
                auto_detect=False,
                header=True,
                delimiter=scan.delimiter,
                quotechar='"',
                escapechar='"',
            )
        if scan.kind != DATABASE:
            return self._database.read_parquet(list(scan.files), hive_partitioning=scan.in_folders)
        names = sorted(name for (name,) in self._database.sql("select table_name from duckdb_tables()").fetchall())
        if len(names) != 1:
            raise SourceError(
                f"the file holds {len(names)} tables{': ' if names else ''}{', '.join(names[:12])}",
                where=scan.where,
                remedy="open it with duckdb and pass one of its tables, duckdb.connect(path, read_only=True).table(name)",
            )
        return self._database.table(names[0])

    def _take(self, frame: Any, columns: tuple[str, ...]) -> Frame:
        """Read an Arrow table where it is; copy what can be read only once, or belongs to another connection."""
        if hasattr(frame, "to_arrow_reader"):  # a relation
            frame = frame.to_arrow_reader()
        is_table = isinstance(frame, pa.Table | pa.RecordBatch) or hasattr(frame, "scanner")
        if not is_table and not hasattr(frame, "__arrow_c_stream__"):
            raise DataError(
                f"{self._where} is not a table",
                where="collapse",
                remedy="pass a path, or a pandas, polars, Arrow, DuckDB or Spark table",
            )
        if isinstance(frame, pa.RecordBatch):
            frame = pa.Table.from_batches([frame])
        if not is_table:
            frame = pa.RecordBatchReader.from_stream(frame)
        names = list(frame.schema.names)
        for column in columns:  # Arrow tells capitals apart, and the columns get names by their place
            if names.count(column) != 1:
                require_distinct_columns(names, columns, self._where)
        if isinstance(frame, pa.Table):
            chosen = frame.select(list(columns)).rename_columns([f"c{i}" for i in range(len(columns))])
            held: Frame = nw.from_native(self._database.from_arrow(chosen))
            return held
        if not isinstance(frame, pa.RecordBatchReader):
            require_distinct_columns(names, columns, self._where)
            rows: Frame = nw.from_native(self._database.from_arrow(frame))
            return rows.select(*(nw.col(name).alias(f"c{i}") for i, name in enumerate(columns)))
        places = [names.index(column) for column in columns]
        schema = pa.schema([frame.schema.field(at).with_name(f"c{i}") for i, at in enumerate(places)])
        batches = (pa.RecordBatch.from_arrays([batch.column(at) for at in places], schema=schema) for batch in frame)
        return self.keep(nw.from_native(self._database.from_arrow(pa.RecordBatchReader.from_batches(schema, batches))))

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Raise SourceError, with a remedy, for what DuckDB cannot do."""
        import duckdb

        try:
            yield
        except duckdb.OutOfMemoryException as error:
            raise SourceError(
                f"neither the memory nor the room for temporary files suffices ({_first_line(error)})",
                where=self._where,
                remedy="give DuckDB more memory, or a folder with more room: engine=DuckDB(memory=…, spill=…)",
            ) from None
        except (duckdb.Error, pa.ArrowException) as error:
            raise SourceError(
                f"DuckDB cannot read this ({_first_line(error)})",
                where=self._where,
                remedy="check that all files are whole, are not changed meanwhile, and hold what their header says"
                + (
                    "; evalkit.sources.Delimited reads other text files, too, and names the row" if self.is_text else ""
                ),
            ) from None


def _first_line(error: BaseException) -> str:
    """The first line of an error, and what else it says of a CSV file; not the row, which may tell of persons."""
    first, *others = str(error).splitlines() or [type(error).__name__]
    return ", ".join((first, *(one.strip() for one in others if one.strip().startswith(_SAFE))))
