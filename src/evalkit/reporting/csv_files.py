"""The CSV files of a run: numbers in full precision, and text that no spreadsheet takes for a formula."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

# What a spreadsheet calculates when it opens a file, in half and full width; and what it drops before it looks. The library of
# papers, evalkit.typ, has the same two patterns, to take the mark off again.
_LIVE = re.compile(r"'*(?:\s*[=+\-@＝＋－＠]|[\t\r\n])")
# A sign alone, or a signed number, also with a standard error, stars or a range behind it: -0.12 (0.03) ***; +5 %.
_FIGURES = re.compile(
    r"'*\s*[+\-＋－](?:[0-9]+\.?[0-9]*|\.[0-9]+)?(?:[eE][+\-]?[0-9]+)?\s?[%％]?(?:[\s;；,，][0-9\s.,;:()*%†+\-−–；，：（）％]*)?"
)


def write_csv(table: pd.DataFrame, path: Path) -> None:
    """Write a table (UTF-8, full precision, empty = missing), with formulas among its texts and headers marked as text.

    A text that a spreadsheet would calculate (it begins with =, +, -, @, a tab or a line break) gets an apostrophe in front. So
    does one that begins with apostrophes before these, so that taking one off gives every text back. Figures written as text
    (-0.12 (0.03) ***) stay, and columns of numbers are not touched. A carriage return, which begins a row in Excel and pandas
    even inside a cell, is written as a line feed.
    """
    marked = table.copy(deep=False)
    for at in range(table.shape[1]):
        if is_text(table.iloc[:, at]):
            cells = table.iloc[:, at].tolist()
            written = [_mark(cell) if isinstance(cell, str) else cell for cell in cells]
            if written != cells:
                marked.isetitem(at, written)
    header = [_mark(str(name)) for name in table.columns]
    marked.to_csv(path, index=False, header=header, encoding="utf-8", lineterminator="\n")


def list_texts(table: pd.DataFrame) -> list[str]:
    """Name the columns that hold text, whatever their texts look like: a county may be called "true" or "2013"."""
    return [str(name) for at, name in enumerate(table.columns) if is_text(table.iloc[:, at])]


def is_text(column: pd.Series) -> bool:
    """Tell whether any value of a column is text."""
    kind = column.dtype.kind if not isinstance(column.dtype, pd.CategoricalDtype) else "O"
    return kind not in "iufcbMm" and any(isinstance(cell, str) for cell in column.tolist())


def _mark(text: str) -> str:
    lines = text.replace("\r\n", "\n").replace("\r", "\n")
    return f"'{lines}" if _LIVE.match(lines) and not _FIGURES.fullmatch(lines) else lines
