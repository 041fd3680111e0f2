"""Polars: the engine of frames that polars holds or reads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import narwhals as nw
import pyarrow as pa

from evalkit.engines.engine import Frame, require_distinct_columns
from evalkit.errors import SourceError


class PolarsEngine:
    """Groups the rows of a polars frame by polars itself, in its streaming engine."""

    is_text = False

    def __init__(self, frame: Any, columns: tuple[str, ...]) -> None:
        rows = nw.from_native(frame.lazy())
        with _told():
            names = rows.collect_schema().names()
        if not set(columns) <= set(names):  # polars tells capitals apart
            require_distinct_columns(names, columns, f"a {type(frame).__name__}")
        self.rows = rows.select(*(nw.col(name).alias(f"c{i}") for i, name in enumerate(columns)))

    def keep(self, frame: Frame) -> Frame:
        """Hold a frame in memory."""
        kept: Frame = nw.from_native(self._collect(frame).lazy())
        return kept

    def lift(self, table: pa.Table) -> Frame:
        """Read an Arrow table."""
        import polars as pl

        held: Any = pl.from_arrow(table)
        lifted: Frame = nw.from_native(held.lazy())
        return lifted

    def fetch(self, frame: Frame) -> pa.Table:
        """Collect a frame."""
        found: pa.Table = self._collect(frame).to_arrow()
        return found

    def close(self) -> None:
        """There is nothing to let go of."""

    def _collect(self, frame: Frame) -> Any:
        with _told():
            return nw.to_native(frame).collect(engine="streaming")


@contextmanager
def _told() -> Iterator[None]:
    """Raise SourceError, with a remedy, for what polars cannot do."""
    import polars as pl

    try:
        yield
    except (pl.exceptions.PolarsError, OSError) as error:
        raise SourceError(
            f"polars cannot carry this out ({str(error).splitlines()[0]})",
            where="a LazyFrame",
            remedy="check what the frame reads",
        ) from None
