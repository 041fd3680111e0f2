"""Apache Spark: the engine of frames that have outgrown one machine (the extra `spark`; it needs Java 17)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import narwhals as nw
import pyarrow as pa

from evalkit.engines.engine import Frame, require_distinct_columns
from evalkit.engines.files import CSV, DATABASE, scan_files
from evalkit.errors import SourceError


class SparkEngine:
    """Groups the rows of a Spark frame in its session."""

    is_text = False

    def __init__(self, frame: Any, columns: tuple[str, ...]) -> None:
        self._session, self._kept = frame.sparkSession, list[Any]()
        require_distinct_columns(list(frame.columns), columns, "a Spark DataFrame")
        # Columns are chosen by their place: a dot in a name would be read as a field of a structure.
        places = [frame.columns.index(name) for name in columns]
        every = frame.toDF(*(f"all_{i}" for i in range(len(frame.columns))))
        self.rows: Frame = nw.from_native(every).select(
            *(nw.col(f"all_{at}").alias(f"c{i}") for i, at in enumerate(places))
        )

    def keep(self, frame: Frame) -> Frame:
        """Persist a frame over the cluster."""
        self._kept.append(nw.to_native(frame).persist())
        kept: Frame = nw.from_native(self._kept[-1])
        return kept

    def lift(self, table: pa.Table) -> Frame:
        """Send a small table."""
        lifted: Frame = nw.from_native(self._session.createDataFrame(table))
        return lifted

    def fetch(self, frame: Frame) -> pa.Table:
        """Run a job and collect its rows."""
        from pyspark.errors import PySparkException

        try:
            found: pa.Table = nw.to_native(frame).toArrow()
            return found
        except PySparkException as error:
            raise SourceError(
                f"Spark cannot carry this out ({str(error).splitlines()[0]})",
                where="a Spark DataFrame",
                remedy="see the log of the Spark session; check that all files of the frame are there and have one schema",
            ) from None

    def close(self) -> None:
        """Let go of what was persisted; the session is the user's."""
        for frame in self._kept:
            frame.unpersist()


def open_spark(path: Path, columns: tuple[str, ...]) -> SparkEngine:
    """Read files in the session of Spark that there is, or else a new one, on this machine or as `spark-submit` says."""
    scan = scan_files(path, columns)
    if scan.kind == DATABASE:
        raise SourceError("Spark does not read DuckDB files", where=scan.where, remedy="export the table as Parquet")
    try:
        from pyspark.sql import SparkSession
    except ImportError:
        remedy = 'install it, pip install "evalkit[spark]", and Java 17; or write engine = "duckdb"'
        raise SourceError("Apache Spark is not installed", where="engine = spark", remedy=remedy) from None
    reader = SparkSession.builder.appName("evalkit").getOrCreate().read
    if scan.kind == CSV:
        engine = SparkEngine(reader.csv(list(scan.files), sep=scan.delimiter, header=True, escape='"'), columns)
        engine.is_text = True
        return engine
    return SparkEngine(reader.parquet(*scan.files), columns)
