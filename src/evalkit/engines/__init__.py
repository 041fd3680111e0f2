"""Engines: where the rows of a large frame are read and grouped; DuckDB by default, polars and Apache Spark."""

from evalkit.engines.embedded import DuckDB as DuckDB

__all__ = sorted(name for name in dir() if name[0].isupper())
