"""The content of a file with one table in it, whichever kind of file it turns out to be."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from evalkit.errors import SourceError
from evalkit.sources._file import check_size, inflate, read_bytes, sniff
from evalkit.sources._text import read_text


@dataclass(frozen=True)
class Content:
    """A frame indexed by the file's row numbers, the hash of the bytes it was read from, and what is to be noted."""

    frame: pd.DataFrame
    sha256: str
    notes: list[str]


def read_content(path: Path, where: str, *, sheet: str | None, text: Collection[str]) -> Content:
    """Read text (plain or gzip), Parquet or .xlsx, going by the bytes and never by the extension."""
    data = read_bytes(path, where)
    sha256 = hashlib.sha256(data).hexdigest()
    kind = sniff(data, where)
    if kind == "zip":
        from evalkit.sources._sheet import read_workbook

        frame, notes = read_workbook(data, where, sheet, text)
        return Content(frame, sha256, notes)
    if sheet is not None:
        raise SourceError(
            f"sheet='{sheet}' was given, but this is no Excel workbook", where=where, remedy="leave sheet= out"
        )
    if kind == "parquet":
        from evalkit.sources._parquet import read_parquet  # pyarrow.parquet is only worth loading for Parquet

        frame, notes = read_parquet(data, where, text)
        return Content(frame, sha256, notes)
    if kind == "gzip":
        data = inflate(data, where)
        if sniff(data, where) != "text":
            remedy = "unpack it, and give the path of the file inside"
            raise SourceError("the gzip file holds something other than text", where=where, remedy=remedy)
    check_size(len(data), where)
    frame, notes = read_text(data, where, text)
    return Content(frame, sha256, notes)
