"""Write yearbook files, and say what reading or refusing them gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import openpyxl
import pandas as pd
import pytest

from evalkit.errors import SourceError
from evalkit.sources import Yearbook
from evalkit.sources.files.cells import MOST_ERRORS

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


def unplaced(path: Path, **options: Any) -> dict[str, str]:
    """Return why each cell that is listed is not read. strict=True refuses if and only if there is one, and names them."""
    table = Yearbook(path, **options).load()
    cells = table.unplaced
    assert list(cells.columns) == ["file", "sheet", "cell", "text", "why"]
    assert set(cells["file"]) <= {path.name}
    why = dict(zip(cells["cell"], cells["why"], strict=True))
    assert len(why) == len(cells), "one cell is listed twice (or the sheets are several)"
    if not why:
        assert Yearbook(path, strict=True, **options).load().frame.equals(table.frame)
        return {}
    error = refused(path, strict=True, **options)
    for (sheet, reason), group in list(cells.groupby(["sheet", "why"], dropna=False, sort=False))[:MOST_ERRORS]:
        assert reason in error.what
        for cell, text in list(zip(group["cell"], group["text"], strict=True))[:MOST_ERRORS]:
            assert f"{'' if pd.isna(sheet) else f'{sheet}!'}{cell} '{text}'" in error.what
    assert "strict=True" in error.remedy
    assert "[[table.correct]]" in error.remedy
    return why


def texts(path: Path, **options: Any) -> dict[str, str]:
    """Return what the cells hold that are listed."""
    cells = Yearbook(path, **options).load().unplaced
    return dict(zip(cells["cell"], cells["text"], strict=True))


def read(path: Path, **options: Any) -> dict[str, float | str]:
    """Return the number, or the mark in place of one, that is read from each cell."""
    frame = load(path, **options)
    values = zip(frame["value"], frame["mark"], strict=True)
    return dict(zip(frame["cell"], (mark or value for value, mark in values), strict=True))


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
