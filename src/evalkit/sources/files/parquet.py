"""Parquet: typed columns as they were stored."""

from __future__ import annotations

import datetime as dt
import math
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from evalkit.errors import SourceError
from evalkit.sources.files.columns import Gaps, check_names, refuse_no_rows, write_number
from evalkit.sources.files.form import ColumnHead, Form, Selection, choose

_EXACT = 2**53  # the whole numbers up to here are exact in a float64
_HOLDABLE = (
    pa.types.is_integer,
    pa.types.is_floating,
    pa.types.is_boolean,
    pa.types.is_string,
    pa.types.is_large_string,
    pa.types.is_string_view,
    pa.types.is_decimal,
    pa.types.is_timestamp,
    pa.types.is_date,
    pa.types.is_null,
)


def read_parquet(data: bytes, where: str, form: Form) -> tuple[pd.DataFrame, Selection, list[str]]:
    """Read a Parquet file as pandas would, with a stored index turned into columns.

    The first data row is row 2. Only null is missing, and the words that are declared: those that mean "missing" in a text file
    are values here. Rows, and marks within numbers, cannot be declared.
    """
    form.refuse_rows("Parquet has no rows above or below its table", where)
    if not form.marks.are_usual:
        what = "thousands= or decimal= is given, but Parquet holds numbers as numbers"
        raise SourceError(what, where=where, remedy="leave it out, or write the columns as numbers into the file")
    try:
        table = pq.ParquetFile(pa.BufferReader(data)).read()
        table.validate(full=True)  # else text that is not UTF-8 would be found by whoever looks at it first
        check_names(table.schema.names, [f"column {i + 1}" for i in range(table.num_columns)], where)
        for field in table.schema:
            _check_type(field, where)
        frame = table.to_pandas(date_as_object=False)
        if not isinstance(frame.index, pd.RangeIndex):
            frame = frame.reset_index()
    # Damaged metadata surfaces as whichever of these the reader happens to meet first.
    except (pa.ArrowException, OSError, ValueError, TypeError, LookupError, AttributeError, MemoryError) as error:
        raise SourceError(
            f"the Parquet file is cut off or damaged ({_first_line(error)})",
            where=where,
            remedy="download or write the file again, whole",
        ) from error
    if isinstance(frame.columns, pd.MultiIndex):
        remedy = "join the levels into one name before writing the file"
        raise SourceError("the header has several levels", where=where, remedy=remedy)
    names = [str(name) for name in frame.columns]
    frame.columns = pd.Index(check_names(names, [f"column {i + 1}" for i in range(len(names))], where))
    if frame.empty:
        raise refuse_no_rows(where)
    headings = [ColumnHead(f"column {i + 1}", (name,)) for i, name in enumerate(frame.columns)]
    choice = choose(headings, form, where, lambda at: False)
    given = [names[one.at] for one in choice.read]
    frame = frame.iloc[:, [one.at for one in choice.read]].set_axis([one.name for one in choice.read], axis=1)
    gaps = Gaps(form.marks)
    for name, stored in zip(given, frame.columns, strict=True):
        if name in table.schema.names and _would_round(table.column(name), frame[stored]):
            frame[stored] = pd.array(table.column(name).to_pylist(), dtype="Int64")
        if name in table.schema.names and pa.types.is_null(table.schema.field(name).type):
            frame[stored] = math.nan
        if stored in form.text:
            frame[stored] = pd.array([_write(value) for value in frame[stored]], dtype="str")
        if form.marks.missing:
            written = [_write(value) for value in frame[stored]]
            cells = pa.chunked_array([pa.array(written, pa.string())])
            missing = gaps.count(cells, stored, as_text=stored in form.text)
            frame[stored] = frame[stored].mask([(one or "").strip() in missing for one in written])
    frame.index = pd.RangeIndex(2, len(frame) + 2, name="row")
    return frame, choice, choice.notes + gaps.notes(where)


def _check_type(field: pa.Field, where: str) -> None:
    stored = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
    if not any(holds(stored) for holds in _HOLDABLE):
        raise SourceError(
            f"column '{field.name}' holds values of type {field.type}, which are neither numbers, text nor dates",
            where=where,
            remedy="write the column as numbers, text or dates, or leave it out",
        )


def _would_round(column: pa.ChunkedArray, read: pd.Series[Any]) -> bool:
    """Tell whether whole numbers with gaps became floats although some are too long for a float."""
    if not (pa.types.is_integer(column.type) and column.null_count and pd.api.types.is_float_dtype(read.dtype)):
        return False
    span = pc.min_max(column).as_py()
    return span["min"] is not None and max(-span["min"], span["max"]) > _EXACT


def _write(value: Any) -> str | None:
    if pd.isna(value):
        return None
    if isinstance(value, float):
        return write_number(float(value))
    if isinstance(value, dt.datetime) and value.time() == dt.time():
        return value.date().isoformat()
    return str(value).strip()


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
