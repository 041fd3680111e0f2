"""Engines: where the rows of a large frame are read and grouped; DuckDB by default, polars and Apache Spark."""
