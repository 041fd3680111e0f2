"""An .xls workbook of Excel 97 to 2003 (BIFF8), read by xlrd from the records that _biff lets through."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise

import xlrd
from xlrd.biffh import XLRDError
from xlrd.sheet import Sheet as XlrdSheet

from evalkit.errors import SourceError
from evalkit.sources._biff import Part, scan
from evalkit.sources._cells import (
    BUILT_IN,
    MOST_ERRORS,
    Cell,
    NumberReader,
    cell_name,
    combine,
    raise_digits,
    tell_format,
)
from evalkit.sources._workbook import Grid, Sheet

_RAISED = 1  # the escapement of a superscript font
_DAMAGE = (
    XLRDError,
    struct.error,
    AssertionError,
    AttributeError,
    LookupError,
    ValueError,
    TypeError,
    ArithmeticError,
    RecursionError,
)


class LegacyWorkbook:
    """Open the Workbook stream of an .xls; raise SourceError when it is damaged or older than Excel 97."""

    def __init__(self, stream: bytes, where: str) -> None:
        self.where = where
        with self._damage_named():
            self._records = scan(stream, where)
            self._book = xlrd.open_workbook(
                file_contents=self._records.stream,
                formatting_info=True,
                on_demand=True,
                ragged_rows=True,
                logfile=io.StringIO(),
            )
            names = self._book.sheet_names()
            self.sheets = [
                Sheet(name, str(number), sheet.visible)
                for number, (name, sheet) in enumerate(zip(names, self._records.sheets, strict=True))
            ]

    def has_data(self, sheet: Sheet) -> bool:
        """Tell whether any cell of the sheet holds something."""
        return self._part(sheet).has_values

    def read(self, sheet: Sheet) -> Grid:
        """Read a sheet; raise SourceError on cells with an error or a formula without a stored value."""
        number = int(sheet.part)
        with self._damage_named():
            source = self._book.sheet_by_index(number)
            try:
                return self._read(source, sheet)
            finally:
                self._book.unload_sheet(number)

    def _read(self, source: XlrdSheet, sheet: Sheet) -> Grid:
        grid, bad = Grid(), list[SourceError]()
        reader = NumberReader(self.where, sheet.name, epoch_1904=self._book.datemode == 1)
        for row in range(source.nrows):
            cells: dict[int, Cell] = {}
            for column in range(source.row_len(row)):
                try:
                    cell = self._read_cell(source, row, column, sheet, reader)
                except SourceError as error:
                    bad.append(error)
                    if len(bad) == MOST_ERRORS:
                        raise combine(bad) from None
                    continue
                if cell is not None and cell != "":
                    cells[column + 1] = cell
            if cells:
                grid.cells[row + 1] = cells
        if bad:
            raise combine(bad)
        grid.hidden_rows = [row + 1 for row, info in source.rowinfo_map.items() if info.hidden]
        grid.hidden_columns = [(column + 1, column + 1) for column, info in source.colinfo_map.items() if info.hidden]
        for top, below, left, beyond in source.merged_cells:
            ref = f"{cell_name(top + 1, left + 1)}:{cell_name(below, beyond)}"
            grid.merged.append((ref, top + 1, left + 1, below, beyond))
        return grid

    def _read_cell(self, source: XlrdSheet, row: int, column: int, sheet: Sheet, reader: NumberReader) -> Cell | None:
        kind, value = source.cell_type(row, column), source.cell_value(row, column)
        if (row, column) in self._part(sheet).stale:
            raise reader.refuse_formula(row + 1, column + 1)
        if kind == xlrd.XL_CELL_TEXT:
            runs = source.rich_text_runlist_map.get((row, column))
            return (self._raise_runs(str(value), runs) if runs else str(value)).strip()
        if kind in (xlrd.XL_CELL_NUMBER, xlrd.XL_CELL_DATE):
            return reader.read(float(value), self._shown(source, row, column), row + 1, column + 1)
        if kind == xlrd.XL_CELL_BOOLEAN:
            return bool(value)
        if kind == xlrd.XL_CELL_ERROR:
            said = xlrd.error_text_from_code.get(int(value), f"number {value}")
            raise reader.refuse_error(row + 1, column + 1, said)
        return None

    def _raise_runs(self, text: str, runs: list[tuple[int, int]]) -> str:
        """Write the digits of superscript runs as superscripts; a run is where it starts and its font."""
        parts = pairwise([(0, None), *runs, (len(text), None)])
        return "".join(
            raise_digits(text[start:end])
            if font and self._book.font_list[font].escapement == _RAISED
            else text[start:end]
            for (start, font), (end, _) in parts
        )

    def _shown(self, source: XlrdSheet, row: int, column: int) -> str:
        key = self._book.xf_list[source.cell_xf_index(row, column)].format_key
        return BUILT_IN[key] if key in BUILT_IN else tell_format(str(self._book.format_map[key].format_str))

    def _part(self, sheet: Sheet) -> Part:
        return self._records.parts[self._records.sheets[int(sheet.part)].start]

    @contextmanager
    def _damage_named(self) -> Iterator[None]:
        try:
            yield
        except _DAMAGE as error:
            raise SourceError(
                f"the workbook (.xls) is cut off or damaged ({str(error) or type(error).__name__})",
                where=self.where,
                remedy="download or copy it again; if it opens in Excel, save it as .xlsx",
            ) from error
