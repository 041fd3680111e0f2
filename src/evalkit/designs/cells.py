"""Collapse: the rows of a frame, in memory or not, to the few cells that carry the same regression."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pandas as pd

from evalkit.catalogue import message
from evalkit.designs.aggregation import aggregate
from evalkit.designs.collapsing import NotCellsError, collapse_panel
from evalkit.designs.design import Design
from evalkit.engines.distributed import SparkEngine
from evalkit.engines.embedded import DuckDB
from evalkit.engines.engine import Engine
from evalkit.engines.in_memory import PolarsEngine
from evalkit.errors import DataError
from evalkit.panels.panel import Panel


def collapse(
    frame: Any,
    design: Design,
    *,
    unit: str,
    time: str,
    by: tuple[str, ...] = (),
    engine: DuckDB | None = None,
    squares: bool = True,
) -> Panel:
    """Replace units by cells of the same assignment, adoption, dose, group, weight, absorbed levels and periods observed.

    Each cell and period becomes one row with the mean outcome, how many rows it stands for, and the squares of the rows'
    variation inside it. Regressions on the cells then equal those on the rows exactly: coefficients, clustered covariances at or
    above the cell, and, through the squares, Classical and Robust. Units of a cell have the same dose and the same `indicators`
    in every period, so that many values leave many cells. `by` names columns that Split will use; a unit counts where its first
    row places it.

    `frame` is a table of pandas, polars, Arrow, DuckDB or Spark, or a path: of a Parquet, CSV or DuckDB file, a folder of Parquet
    parts, a pattern such as "farms/*.parquet", or several paths. Rows that are not in memory are grouped where they are, in
    three passes: by DuckDB (`engine`: its memory, threads and folder to spill to), polars or Spark. Sums are of whole numbers, so
    that no order of the rows, no number of threads and no engine changes a bit. `squares=False` leaves out the variation inside
    cells, which takes a third of the time and which only Classical and Robust need: they then have no standard errors.

    Where cells would not carry the same regression (a covariate varies inside a cell, a weight or absorbed column changes within
    a unit), the rows are taken as they are, and a note says why. Raises DataError and SourceError for rows and files that
    cannot be used, naming the file and the column.
    """
    if isinstance(frame, pd.DataFrame):
        panel = Panel.from_frame(frame, unit=unit, time=time)
        try:
            return collapse_panel(panel, design, by=by)
        except NotCellsError as needed:
            return replace(panel, notes=(*panel.notes, message("note.not_collapsed", why=needed.why)))
    if time in (*by, design.assigned_at, design.above):
        raise DataError(
            f"'{time}' is the period, and says of no unit where it belongs",
            where="by, assigned_at and above",
            remedy="name columns of the units",
        )
    if len({unit, time, design.outcome}) < 3:
        raise DataError(
            "unit, time and outcome are not three columns",
            where=f"unit = '{unit}', time = '{time}', outcome = '{design.outcome}'",
            remedy="name a column of its own for each",
        )
    names = tuple(dict.fromkeys((unit, time, design.outcome, *design.columns(), *by)))
    opened = _open(frame, names, engine or DuckDB())
    try:
        return aggregate(opened, names, design, unit=unit, time=time, by=by, squares=squares)
    finally:
        opened.close()


def _open(frame: Any, names: tuple[str, ...], engine: DuckDB) -> Engine:
    """Choose the engine of a frame: its own library, or DuckDB."""
    home = type(frame).__module__.split(".")[0]
    if home == "pyspark":
        return SparkEngine(frame, names)
    if home == "polars":
        return PolarsEngine(frame, names)
    return engine.open(frame, names)
