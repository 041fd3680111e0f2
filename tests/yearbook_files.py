"""Write yearbook files, and say what reading or refusing them gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import openpyxl
import pandas as pd
import pytest

from evalkit.errors import SourceError
from evalkit.sources import Yearbook

Rows = list[list[Any]]


def book(folder: Path, merged: dict[str, tuple[str, ...]] | None = None, /, **sheets: Rows) -> Path:
    """Write a workbook with a sheet per keyword, and merge cells of some."""
    workbook = openpyxl.Workbook()
    workbook.remove(workbook.worksheets[0])
    for title, rows in sheets.items():
        sheet = workbook.create_sheet(title)
        for row in rows:
            sheet.append(row)
        for ref in (merged or {}).get(title, ()):
            sheet.merge_cells(ref)
    workbook.save(folder / "年鉴.xlsx")
    return folder / "年鉴.xlsx"


def edited(rows: Rows, **cells: Any) -> Rows:
    """Return a copy with some cells changed: B4=7."""
    copy = [list(row) for row in rows]
    for name, value in cells.items():
        row, column = int(name[1:]) - 1, ord(name[0]) - 65
        copy[row] += [None] * (column + 1 - len(copy[row]))
        copy[row][column] = value
    return copy


def put(folder: Path, content: str | bytes, encoding: str = "utf-8") -> Path:
    path = folder / "export.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
    return path


def load(path: Path, **options: Any) -> pd.DataFrame:
    return Yearbook(path, **options).load().frame


def notes(path: Path, **options: Any) -> str:
    return Yearbook(path, **options).load().provenance[0].notes


def refused(path: Path | str, **options: Any) -> SourceError:
    with pytest.raises(SourceError) as caught:
        Yearbook(path, **options).load()
    return caught.value


def says(error: SourceError, what: str, where: str, remedy: str) -> None:
    assert what in error.what
    assert where in error.where
    assert remedy in error.remedy


def page(
    rows: Rows,
    above: str = "",
    below: str = "",
    charset: str = "utf-8",
    spans: dict[tuple[int, int], str] | None = None,
) -> str:
    """Return a web page with one table, as sites export them under the name .xls.

    Cells that are None are left out, others are HTML; `spans` gives attributes of cells, counted from 0.
    """
    lines = []
    for i, row in enumerate(rows):
        cells = (f"<td {(spans or {}).get((i, j), '')}>{cell}</td>\n" for j, cell in enumerate(row) if cell is not None)
        lines.append(f"<tr>{''.join(cells)}</tr>")
    return (
        "\n\n\n<!-- 以上这行设定本网页为excel格式的网页 -->\n\n<html>\n<head>\n<title>Excel</title>\n"
        f'<meta http-equiv="Content-Type" content="text/html; charset={charset}">\n'
        '<style type="text/css">table tr td{height:25px;}</style></head>\n<body>\n'
        f'<div id="tti" style="text-align:center">{above}</div>\n<table id="tab0" class="tb">\n{"".join(lines)}</table>\n'
        f"<div>{below}</div>\n</body>\n</html>\n"
    )
