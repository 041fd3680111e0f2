"""An .xls workbook of Excel 97 to 2003 (BIFF8), read by xlrd from the records that _biff lets through."""

from __future__ import annotations

import io
import struct
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise

import xlrd
from xlrd.biffh import XLRDError
from xlrd.sheet import Sheet as XlrdSheet

from evalkit.errors import SourceError
from evalkit.sources.files.cells import (
    BUILT_IN,
    Cell,
    CellReader,
    UnreadCell,
    cell_name,
    raise_digits,
    tell_format,
)
from evalkit.sources.files.xlsx import Grid, Sheet

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
            self._cells = CellReader(epoch_1904=self._book.datemode == 1)
            self._kinds: dict[int, str] = {}

    def has_data(self, sheet: Sheet) -> bool:
        """Tell whether any cell of the sheet holds something."""
        return self._part(sheet).has_values

    def has_pictures(self, sheet: Sheet) -> bool:
        """Tell whether a picture lies on the sheet."""
        return self._part(sheet).has_pictures

    def read(self, sheet: Sheet) -> Grid:
        """Read a sheet; cells with an error or a formula without a stored value are among those that are `unread`."""
        number = int(sheet.part)
        with self._damage_named():
            source = self._book.sheet_by_index(number)
            try:
                return self._read(source, self._part(sheet).stale)
            finally:
                self._book.unload_sheet(number)

    def _read(self, source: XlrdSheet, stale: Collection[tuple[int, int]]) -> Grid:
        grid = Grid()
        for row in range(source.nrows):
            cells: dict[int, Cell] = {}
            for column, (kind, value) in enumerate(zip(source.row_types(row), source.row_values(row), strict=True)):
                if kind in (xlrd.XL_CELL_EMPTY, xlrd.XL_CELL_BLANK):
                    continue
                if (row, column) in stale:
                    cell: Cell | UnreadCell = self._cells.read_formula("", row + 1, column + 1)
                else:
                    cell = self._read_cell(source, row, column, kind, value)
                if isinstance(cell, UnreadCell):
                    grid.unread.append(cell)
                elif cell != "":
                    cells[column + 1] = cell
            if cells:
                grid.cells[row + 1] = cells
        grid.hidden_rows = [row + 1 for row, info in source.rowinfo_map.items() if info.hidden]
        grid.hidden_columns = [(column + 1, column + 1) for column, info in source.colinfo_map.items() if info.hidden]
        for top, below, left, beyond in source.merged_cells:
            ref = f"{cell_name(top + 1, left + 1)}:{cell_name(below, beyond)}"
            grid.merged.append((ref, top + 1, left + 1, below, beyond))
        return grid

    def _read_cell(self, source: XlrdSheet, row: int, column: int, kind: int, value: float | str) -> Cell | UnreadCell:
        if kind in (xlrd.XL_CELL_NUMBER, xlrd.XL_CELL_DATE):
            number, shown = float(value), self._shown(source.cell_xf_index(row, column))
            return self._cells.read_number(number, f"{number:.15g}", shown, row + 1, column + 1)
        if kind == xlrd.XL_CELL_BOOLEAN:
            return bool(value)
        if kind == xlrd.XL_CELL_ERROR:
            said = xlrd.error_text_from_code.get(int(value), f"number {value}")
            return self._cells.read_error(said, row + 1, column + 1)
        runs = source.rich_text_runlist_map.get((row, column))
        return (self._raise_runs(str(value), runs) if runs else str(value)).strip()

    def _raise_runs(self, text: str, runs: list[tuple[int, int]]) -> str:
        """Write the digits of superscript runs as superscripts; a run is where it starts and its font."""
        parts = pairwise([(0, None), *runs, (len(text), None)])
        return "".join(
            raise_digits(text[start:end])
            if font and self._book.font_list[font].escapement == _RAISED
            else text[start:end]
            for (start, font), (end, _) in parts
        )

    def _shown(self, style: int) -> str:
        """Tell what a cell style shows a number as, which is found out once."""
        if style not in self._kinds:
            key = self._book.xf_list[style].format_key
            code = "" if key in BUILT_IN else str(self._book.format_map[key].format_str)
            self._kinds[style] = BUILT_IN[key] if key in BUILT_IN else tell_format(code)
        return self._kinds[style]

    def _part(self, sheet: Sheet) -> _Stretch:
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


_BOF, _EOF, _CONTINUE, _BOUNDSHEET, _SST, _FORMULA, _STRING, _UNCALCED = (
    0x809,
    0x0A,
    0x3C,
    0x85,
    0xFC,
    0x06,
    0x207,
    0x5E,
)
_VALUES = {
    0x203,
    0x27E,
    0xBD,
    0xFD,
    0x204,
    0xD6,
    _FORMULA,
    0x205,
}  # NUMBER, RK, MULRK, LABELSST, LABEL, RSTRING, …, BOOLERR
_OF_BOOK = {_SST, _BOUNDSHEET, 0x31, 0x41E, 0xE0, 0x22, 0x42}  # and FONT, FORMAT, XF, DATEMODE, CODEPAGE
_OF_SHEET = {
    *_VALUES,
    _STRING,
    0x4BC,
    0x221,
    0x236,
    0x208,
    0x7D,
    0xE5,
}  # and SHRFMLA, ARRAY, TABLE, ROW, COLINFO, MERGEDCELLS
_LONG = {_SST, _STRING}  # records that may go on in a CONTINUE
_BOOK, _BIFF8 = 0x0005, 0x0600
_OBJ, _PICTURE = 0x5D, struct.pack("<H", 8)  # an object on a sheet, and the type of one that is a picture
_PASSED_OVER = struct.pack("<H", 0xE1)  # a record that the reader knows and makes nothing of
_ON_LOAD = 0x2  # a formula that is to be calculated when the file is opened
_MOST_SHEETS = 2_000


@dataclass
class _Stretch:
    """One sheet in the stream: what lies on it, and the cells (counted from 0) whose formulas have no value."""

    has_values: bool = False
    has_pictures: bool = False
    stale: set[tuple[int, int]] = field(default_factory=set)


@dataclass(frozen=True)
class BoundSheet:
    """What the workbook says of one worksheet: where in the stream it starts, and whether it is shown."""

    start: int
    visible: bool


@dataclass
class Records:
    """The stream with all other records passed over, its worksheets in order, and what stands in it by where it starts."""

    stream: bytes
    sheets: list[BoundSheet] = field(default_factory=list)
    parts: dict[int, _Stretch] = field(default_factory=dict)


def scan(stream: bytes, where: str) -> Records:
    """Walk over all records once; raise ValueError or struct.error where the stream is cut off or damaged.

    A formula has no value where its sheet was saved uncalculated, where it is to be calculated on opening, and where an empty
    text stands in place of one, which programs write that do not calculate. Raises SourceError for Excel 95 and older.
    """
    walk = _Walk(stream, where)
    position = 0
    while position + 4 <= len(stream) and (walk.depth or stream[position : position + 2] == b"\x09\x08"):
        code, size = struct.unpack_from("<HH", stream, position)
        if position + 4 + size > len(stream):
            raise ValueError("it ends in the middle of a record")
        walk.step(code, position, size)
        position += 4 + size
    found = Records(bytes(walk.kept), walk.sheets, walk.parts)
    starts = [sheet.start for sheet in found.sheets]
    if walk.depth or not found.parts or not set(starts) <= set(found.parts):
        raise ValueError("it ends before its last sheet")
    if len(set(starts)) < len(starts) or len(starts) > _MOST_SHEETS:
        raise ValueError("its sheets do not stand one after the other")
    return found


class _Walk:
    def __init__(self, stream: bytes, where: str) -> None:
        self.stream, self.where, self.kept = stream, where, bytearray(stream)
        self.sheets: list[BoundSheet] = []
        self.parts: dict[int, _Stretch] = {}
        self.depth = 0
        self._start = self._kind = self._before = 0
        self._formulas: set[tuple[int, int]] = set()
        self._uncalculated = False

    def step(self, code: int, position: int, size: int) -> None:
        """Take in one record; charts inside a sheet, and records that say nothing of cells, are passed over."""
        if code == _BOF:
            self.depth += 1
        is_kept = self.depth == 1 and self._is_kept(code)
        if not is_kept:
            self.kept[position : position + 2] = _PASSED_OVER
            self._uncalculated |= self.depth == 1 and code == _UNCALCED
            if code == _OBJ and self.depth == 1 and self._kind != _BOOK:
                self.parts[self._start].has_pictures |= self.stream[position + 8 : position + 10] == _PICTURE
        elif code == _BOF:
            self._begin(position)
        elif code == _EOF:
            self.parts[self._start].stale |= self._formulas if self._uncalculated else set()
        elif code in _VALUES:
            self._read_value(code, position + 4)
        elif code == _BOUNDSHEET:
            start, shown, kind = struct.unpack_from("<IBB", self.stream, position + 4)
            self.sheets += [BoundSheet(start, shown & 3 == 0)] if kind == 0 else []
        elif code == _SST and struct.unpack_from("<I", self.stream, position + 8)[0] * 3 > len(self.stream):
            raise ValueError("it announces more texts than it can hold")
        if code == _EOF:
            self.depth -= 1
        if code != _CONTINUE:
            self._before = code

    def _is_kept(self, code: int) -> bool:
        if code == _CONTINUE:
            return self._before in _LONG
        return code in (_BOF, _EOF) or code in (_OF_BOOK if self._kind == _BOOK else _OF_SHEET)

    def _begin(self, position: int) -> None:
        version, self._kind = struct.unpack_from("<HH", self.stream, position + 4)
        if position == 0 and version != _BIFF8:
            raise SourceError(
                "this is an Excel workbook older than Excel 97",
                where=self.where,
                remedy="open it in Excel, and save it as .xlsx",
            )
        if (self._kind == _BOOK) != (position == 0):
            raise ValueError("it does not begin as a workbook does")
        self._start, self._formulas, self._uncalculated = position, set(), False
        self.parts[position] = _Stretch()

    def _read_value(self, code: int, body: int) -> None:
        part = self.parts[self._start]
        part.has_values = True
        if code == _FORMULA:
            row, column, result, flags = struct.unpack_from("<HH2x8sH", self.stream, body)
            self._formulas.add((row, column))
            if flags & _ON_LOAD or (result[0] == 3 and result[6:] == b"\xff\xff"):
                part.stale.add((row, column))
