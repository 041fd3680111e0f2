"""Listing: a long list in a file, found below its title, whose columns are taken in batches of text."""

from __future__ import annotations

import codecs
import csv
import hashlib
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from evalkit.errors import SourceError, nearest
from evalkit.sources.files.bytes import check_size, inflate, kind_of_file, read_bytes
from evalkit.sources.files.cells import Cell, Percent, UnreadCell, refuse_unread
from evalkit.sources.files.columns import is_blank, strip_name, write_runs
from evalkit.sources.files.html import read_web
from evalkit.sources.files.sheet import note_hidden, open_book, show_cell
from evalkit.sources.files.text import SEPARATORS, decode_any, find_separator, is_web, split_records
from evalkit.sources.files.xlsx import Grid, Sheet

SHEET = 10_000_000
"""Rows of the second sheet are numbered from here on, of the third from twice this on; a sheet has 1,048,576 rows at most."""

_BULK = 8_000_000  # bytes of text from which on it is not held as a whole
_BLOCK = 1 << 19
_HEAD, _TAIL = 60, 200  # records in which the header and what stands below the table are looked for
_TAIL_BYTES = 1 << 18
_BATCH = 20_000


@dataclass(frozen=True)
class Sought:
    """How to know a list: `header` tells its row of headers, `units` whether the row below the header holds units.

    `row` is the row of the header where it was declared, `last` the last row of the data, `sheets` are those that were named.
    """

    header: Callable[[Sequence[str]], bool]
    units: Callable[[Sequence[str]], bool]
    row: int | None = None
    last: int | None = None
    sheets: tuple[str, ...] = ()


@dataclass(frozen=True)
class Listing:
    """A list of a file: its headers, the cells of its row of units, what is to be noted, and the records in batches.

    `take(places)` gives the columns at these places as the text of the file, behind the rows' numbers; it can be asked again, and
    `holds()` is False afterwards where a long text turned out not to be one record a line. `tail` are the last records,
    whole. Of several `sheets`, rows are numbered on from SHEET. `ragged` has the refusals of records with more or fewer
    fields than the header, which may stand below the table, but are no records of it; of a long text, `beyond` are those at its
    end that are not taken. `parquet` is the path of a Parquet file, whose columns
    are taken as they are stored: `take` is not there.
    """

    where: str
    sha256: str
    headers: tuple[str, ...]
    units: tuple[str, ...]
    notes: tuple[str, ...]
    tail: Sequence[tuple[int, list[str]]]
    take: Callable[[Sequence[int]], Iterator[pa.RecordBatch]]
    sheets: tuple[str, ...] = ()
    parquet: Path | None = None
    size: int = 0
    holds: Callable[[], bool] = lambda: True
    ragged: Mapping[int, SourceError] = field(default_factory=dict)
    beyond: frozenset[int] = frozenset()

    def label(self, row: int) -> int | str:
        """Name a row as errors and the index of a table do."""
        return f"{self.sheets[row // SHEET]}!{row % SHEET}" if self.sheets else row

    def number(self, label: int | str) -> int | None:
        """Return the number of a row that is so named, None where there can be none."""
        if not self.sheets:
            return label if isinstance(label, int) else None
        sheet, _, row = str(label).rpartition("!")
        return self.sheets.index(sheet) * SHEET + int(row) if sheet in self.sheets and row.isdecimal() else None


def open_listing(path: Path, where: str, sought: Sought, *, whole: bool = False) -> Listing:
    """Find the list in a file, by the bytes of the file and not by its name; `whole` has a long text held in memory.

    Raises SourceError where there is none to be read.
    """
    sha256, head, size = _hash(path, where)
    kind = kind_of_file(head, where)
    if kind in ("zip", "ole2"):
        return _open_workbook(read_bytes(path, where), where, sha256, sought)
    if sought.sheets:
        raise SourceError(
            f"sheets= names '{sought.sheets[0]}', but this is no Excel workbook",
            where=where,
            remedy="leave sheets= out",
        )
    if kind == "parquet":
        return _open_parquet(path, where, sha256, sought, size)
    if (
        kind == "text"
        and size > _BULK
        and not whole
        and (found := _open_bulk(path, where, sha256, head, size, sought)) is not None
    ):
        return found
    data = read_bytes(path, where)
    if kind == "gzip":
        data = inflate(data, where)
        if kind_of_file(data, where) != "text":
            remedy = "unpack it, and give the path of the file inside"
            raise SourceError("the gzip file holds something other than text", where=where, remedy=remedy)
    check_size(len(data), where)
    content, notes = decode_any(data, where)
    if is_web(content):
        grid = read_web(content, where, single=True)
        part = _find_on_sheet(grid, where, Sheet(path.name, "", visible=True), sought, web=True)
        return _from_sheets([part], where, sha256, notes, size)
    return _from_text(content, where, sha256, notes, sought, size)


def _hash(path: Path, where: str) -> tuple[str, bytes, int]:
    """Return the hash of a file, its first bytes and its size, without holding it; errors are those of `read_bytes`."""
    try:
        if not path.is_file():  # a pipe would be waited for
            read_bytes(path, where)
        with path.open("rb") as handle:
            head = handle.read(_TAIL_BYTES)
            handle.seek(0)
            found = hashlib.file_digest(handle, "sha256").hexdigest()
    except (OSError, ValueError):
        data = read_bytes(path, where)  # says what is wrong
        return hashlib.sha256(data).hexdigest(), data[:_TAIL_BYTES], len(data)
    if not head:
        read_bytes(path, where)
    return found, head, path.stat().st_size


# --- text ---


@dataclass(frozen=True)
class _Head:
    """Where a list of text begins: what separates its fields, the line of its header, the first line of its records."""

    separator: str
    line: int
    first: int
    headers: list[str]
    units: list[str]
    width: int
    titles: int


def _find_head(content: str, where: str, sought: Sought) -> _Head:
    """Find the header in the first lines of a text."""
    fits = []
    for separator in SEPARATORS:
        with suppress(SourceError):
            found = _seek(_records(content, separator, where), sought)
            if found is not None:
                fits.append((separator, found))
    separator = fits[0][0] if fits else find_separator(content, where, (sought.row or 1) - 1)
    records = list(islice(split_records(content, separator, where), _HEAD))
    if not records:
        raise SourceError("the file holds nothing but blank lines", where=where, remedy="export the data again")
    at = fits[0][1] if fits else _guess(records, sought, where)
    line, cells = records[at]
    headers = [strip_name(cell) for cell in cells]
    below = records[at + 1 :]
    units = [""] * len(headers)
    if below and sought.units([cell.strip() for cell in below[0][1]]):
        units = [cell.strip() for cell in below[0][1]]
        below = below[1:]
    # A separator at the end of every line is no further column.
    width = max(len(headers), *(len(cells) for _, cells in below[:_HEAD]), 0) if below else len(headers)
    if any(cell.strip() for _, cells in below for cell in cells[len(headers) :]):
        width = len(headers)
    while (
        headers and not headers[-1] and all(not any(c.strip() for c in cells[len(headers) - 1 :]) for _, cells in below)
    ):
        headers.pop()
    first = below[0][0] if below else line + 1
    return _Head(separator, line, first, headers, units[: len(headers)], width, at)


def _records(content: str, separator: str, where: str) -> list[tuple[int, list[str]]]:
    return list(islice(split_records(content, separator, where), _HEAD))


def _seek(records: Sequence[tuple[int, list[str]]], sought: Sought) -> int | None:
    """Return which of the records is the header: the one declared, or the first that is known as one."""
    for i, (line, cells) in enumerate(records):
        if sought.row is not None:
            if line == sought.row and len(cells) > 1:
                return i
        elif sought.header([strip_name(cell) for cell in cells]):
            return i
    return None


def _guess(records: Sequence[tuple[int, list[str]]], sought: Sought, where: str) -> int:
    """Return the record that is most likely the header, where none is known as one: the first as wide as most, with names."""
    if sought.row is not None:
        at = next((i for i, (line, _) in enumerate(records) if line == sought.row), None)
        if at is None:
            remedy = (
                f"count the lines of the file from 1, blank ones too; the first that holds something is {records[0][0]}"
            )
            raise SourceError(f"header= names row {sought.row}, which is not there", where=where, remedy=remedy)
        return at
    filled = [sum(bool(cell.strip()) for cell in cells) for _, cells in records]
    return next(i for i, count in enumerate(filled) if 2 * count >= max(filled))


def _from_text(content: str, where: str, sha256: str, notes: list[str], sought: Sought, size: int) -> Listing:
    head = _find_head(content, where, sought)
    notes = [*notes, *_note_titles(head.titles, head.line)]
    width = len(head.headers)
    records: list[tuple[int, list[str]]] = []
    blank: list[int] = []
    ragged: dict[int, SourceError] = {}
    for line, cells in split_records(content, head.separator, where):
        if line < head.first or (sought.last is not None and line > sought.last):
            continue
        cells = [cell.strip() for cell in cells]
        if not any(cells):
            blank.append(line)
            continue
        if any(cells[width:]) or len(cells) < width:
            ragged[line] = _ragged(line, len(cells), width, head.separator, where)
        records.append((line, (cells + [""] * width)[:width]))
    if not records:
        raise SourceError("the file has a header but no data rows", where=where, remedy="export the data again")
    if blank and records and blank[0] < records[-1][0]:
        notes.append(
            f"rows without any value were left out: {write_runs([one for one in blank if one < records[-1][0]])}"
        )
    return Listing(
        where,
        sha256,
        tuple(head.headers),
        tuple(head.units),
        tuple(notes),
        records[-_TAIL:],
        lambda places: _take_records(records, places),
        size=size,
        ragged=ragged,
    )


def _take_records(records: Sequence[tuple[int, list[str]]], places: Sequence[int]) -> Iterator[pa.RecordBatch]:
    for start in range(0, len(records), _BATCH):
        part = records[start : start + _BATCH]
        yield _batch(
            [row for row, _ in part], [pa.array([cells[at] for _, cells in part], pa.string()) for at in places]
        )


def _batch(rows: Sequence[int] | np.ndarray, columns: Sequence[pa.Array]) -> pa.RecordBatch:
    names = ["row", *(f"c{i}" for i in range(len(columns)))]
    return pa.RecordBatch.from_arrays([pa.array(rows, pa.int64()), *columns], names=names)


def _note_titles(count: int, row: int) -> list[str]:
    """Say that rows stand above the header, and not what they say: they may name somebody."""
    if not count:
        return []
    return [
        f"{count} row{'s' if count > 1 else ''} above the header in row {row} {'were' if count > 1 else 'was'} left out"
    ]


def _ragged(line: int, width: int, expected: int, separator: str, where: str) -> SourceError:
    fields = "1 field" if width == 1 else f"{width} fields"
    return SourceError(
        f"the row has {fields} and the header {expected}, separated by the {SEPARATORS[separator]}",
        where=f"{where}, row {line}",
        remedy=f"put quotes around a value that holds a {SEPARATORS[separator]}; where the data end above, name their last row "
        "by last=; a row that is no loan is left out by leave_out=",
    )


# --- text that is too long to be held ---


@dataclass
class _Scan:
    """What one walk over a long text tells: its lines, quotes and characters, and how it is encoded."""

    lines: int = 0
    quotes: bool = False
    nul: bool = False
    encoding: str = "utf-8"


def _open_bulk(path: Path, where: str, sha256: str, head: bytes, size: int, sought: Sought) -> Listing | None:
    """Open a long text that is as regular as a program writes it; None where it must be looked at record by record."""
    scan = _scan(path, head)
    if scan is None or scan.nul:
        return None
    start = head[: head.rfind(b"\n") + 1].decode(scan.encoding, "replace").lstrip("\ufeff")
    if is_web(start):
        return None
    try:
        found = _find_head(start, where, sought)
    except SourceError:  # what is wrong is said where the whole text is read
        return None
    with path.open("rb") as handle:
        handle.seek(-min(_TAIL_BYTES, size), io.SEEK_END)
        end = handle.read()
    last_lines = end[end.find(b"\n") + 1 :].decode(scan.encoding, "replace")
    total = (
        scan.lines - last_lines[len(last_lines.rstrip("\r\n")) :].count("\n") + 1
    )  # the last line that holds something
    tail = _read_tail(last_lines, found, total)
    if tail is None or sought.last is not None:
        return None
    good = max((line for line, cells in tail if len(cells) >= len(found.headers)), default=0)
    if not good:
        return None
    width = len(found.headers)
    notes = [*_note_titles(found.titles, found.line)]
    if scan.encoding != "utf-8":
        notes.insert(0, f"the text was read as {scan.encoding.upper()}")
    bulk = _Bulk(path, where, found, scan, good, total)
    padded = [(line, ([cell.strip() for cell in cells] + [""] * width)[:width]) for line, cells in tail]
    return Listing(
        where,
        sha256,
        tuple(found.headers),
        tuple(found.units),
        tuple(notes),
        [one for one in padded if any(one[1])],
        bulk.take,
        size=size,
        holds=lambda: bulk.regular,
        beyond=frozenset(line for line, cells in padded if line > good and any(cells)),
    )


def _scan(path: Path, head: bytes) -> _Scan | None:
    """Walk over a file once; None where it is neither UTF-8 nor GB18030, or is UTF-16."""
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return None
    for encoding in ("utf-8", "gb18030"):
        scan = _Scan(encoding=encoding)
        decoder = codecs.getincrementaldecoder(encoding)()
        try:
            with path.open("rb") as handle:
                while block := handle.read(_BLOCK):
                    if encoding != "utf-8" or not block.isascii() or decoder.getstate()[0]:
                        decoder.decode(block)
                    scan.lines += block.count(b"\n")
                    scan.quotes = scan.quotes or b'"' in block
                    scan.nul = scan.nul or b"\0" in block
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            continue
        return scan
    return None


def _read_tail(text: str, head: _Head, total: int) -> list[tuple[int, list[str]]] | None:
    """Split the last lines of a text; None where a quoted field runs over lines, so that lines are not records."""
    lines = text.rstrip("\r\n").split("\n")
    lines = lines[-_TAIL:]
    try:
        records = list(csv.reader(lines, delimiter=head.separator, strict=True))
    except csv.Error:
        return None
    if len(records) != len(lines):
        return None
    first = total - len(lines) + 1
    return [(first + i, record) for i, record in enumerate(records) if first + i >= head.first]


@dataclass
class _Bulk:
    """The records of a long text, one a line, read in blocks; `regular` no longer where they turn out not to be."""

    path: Path
    where: str
    head: _Head
    scan: _Scan
    last: int
    total: int
    regular: bool = True

    def take(self, places: Sequence[int]) -> Iterator[pa.RecordBatch]:
        """Give the columns at some places."""
        row = self.head.first
        for batch in self._read(places):
            yield _batch(np.arange(row, row + batch.num_rows), batch.columns)
            row += batch.num_rows
        self.regular = self.regular and row == self.last + 1

    def _read(self, places: Sequence[int]) -> Iterator[pa.RecordBatch]:
        from pyarrow import csv as arrow_csv

        names = [f"f{i}" for i in range(self.head.width)]
        wanted = [names[at] for at in places]
        beyond = names[len(self.head.headers) :]  # the fields that a separator at the end of every line makes
        skipped: list[int] = []

        def skip(row: arrow_csv.InvalidRow) -> str:
            skipped.append(row.actual_columns)
            return "skip"

        try:
            reader = arrow_csv.open_csv(
                self.path,
                read_options=arrow_csv.ReadOptions(
                    use_threads=False,
                    block_size=_BLOCK,
                    skip_rows=self.head.first - 1,
                    column_names=names,
                    encoding=self.scan.encoding,
                ),
                parse_options=arrow_csv.ParseOptions(
                    delimiter=self.head.separator, newlines_in_values=self.scan.quotes, invalid_row_handler=skip
                ),
                convert_options=arrow_csv.ConvertOptions(
                    include_columns=list(dict.fromkeys([*wanted, *beyond])),
                    column_types=dict.fromkeys(names, pa.string()),
                    strings_can_be_null=False,
                ),
            )
            for batch in reader:
                if not all(is_blank(pa.chunked_array([batch.column(name)])) for name in beyond):
                    self.regular = False
                if _has_blank_rows([batch.column(name) for name in wanted]):
                    self.regular = False
                yield pa.RecordBatch.from_arrays(
                    [batch.column(name) for name in wanted], names=[f"p{i}" for i in range(len(wanted))]
                )
        except pa.ArrowException:
            self.regular = False
        if len(skipped) != self.total - self.last:
            self.regular = False


def _has_blank_rows(columns: Sequence[pa.Array]) -> bool:
    """Tell whether all columns are blank in some row."""
    blank: pa.Array | None = None
    for cells in columns:
        here = pc.equal(pc.utf8_trim_whitespace(cells), "")
        blank = here if blank is None else pc.and_(blank, here)
        if pc.any(blank).as_py() is not True:
            return False
    return True


# --- sheets and pages ---


@dataclass(frozen=True)
class _Part:
    """The list on one sheet: where its header stands, which rows are its records."""

    grid: Grid
    where: str
    sheet: Sheet
    top: int
    columns: list[int]
    headers: list[str]
    units: list[str]
    rows: list[int]
    notes: list[str] = field(default_factory=list)


def _open_workbook(data: bytes, where: str, sha256: str, sought: Sought) -> Listing:
    book, notes = open_book(data, where)
    known = {sheet.name: sheet for sheet in book.sheets}
    for name in sought.sheets:
        if name not in known:
            raise SourceError(f"there is no sheet '{name}'", where=where, remedy=nearest(name, known))
    if sought.sheets:
        chosen = [known[name] for name in sought.sheets]
        notes += [f"sheet '{sheet.name}' is hidden" for sheet in chosen if not sheet.visible]
        grids = [book.read(sheet) for sheet in chosen]
    else:
        chosen, grids, said = _find_sheets(book, where, sought)
        notes += said
    parts = [
        _find_on_sheet(grid, f"{where}, {sheet.name}", sheet, sought) for sheet, grid in zip(chosen, grids, strict=True)
    ]
    return _from_sheets(parts, where, sha256, notes, len(data))


def _find_sheets(book: object, where: str, sought: Sought) -> tuple[list[Sheet], list[Grid], list[str]]:
    """Find the one visible sheet that holds a list; without any, the one visible sheet that holds something."""
    from evalkit.sources.files.xls import LegacyWorkbook
    from evalkit.sources.files.xlsx import Workbook

    assert isinstance(book, Workbook | LegacyWorkbook)
    filled = [sheet for sheet in book.sheets if book.has_data(sheet)]
    visible = [sheet for sheet in filled if sheet.visible]
    hidden = ", ".join(f"'{sheet.name}'" for sheet in filled if not sheet.visible)
    if not visible:
        what = f"only hidden sheets hold data: {hidden}" if hidden else "no sheet holds any data"
        remedy = f"name one by sheets=, or show it in Excel ({hidden})" if hidden else "export the data again"
        raise SourceError(what, where=where, remedy=remedy)
    grids = {sheet.name: book.read(sheet) for sheet in visible}
    lists = [sheet for sheet in visible if _seek(_rows_of(grids[sheet.name])[:_HEAD], sought) is not None]
    chosen = lists or visible
    if len(chosen) > 1:
        listed = ", ".join(f'"{sheet.name}"' for sheet in chosen)
        raise SourceError(
            f"{len(chosen)} sheets hold {'a list' if lists else 'data'}",
            where=where,
            remedy=f"name one or several by sheets=: sheets=({listed}) reads all, one below the other",
        )
    notes = [f"hidden sheets were not read: {hidden}"] if hidden else []
    others = ", ".join(f"'{sheet.name}'" for sheet in visible if sheet is not chosen[0])
    notes += [f"sheets without a list were not read: {others}"] if others else []
    return chosen, [grids[chosen[0].name]], notes


def _rows_of(grid: Grid) -> list[tuple[int, list[str]]]:
    """Write the rows of a sheet as records, from its first filled column on."""
    if not grid.cells:
        return []
    left = min(min(cells) for cells in grid.cells.values())
    right = max(max(cells) for cells in grid.cells.values())
    return [
        (row, [_show(grid.cells[row].get(column)) for column in range(left, right + 1)])
        for row in sorted(grid.cells)[:_HEAD]
    ]


def _find_on_sheet(grid: Grid, where: str, sheet: Sheet, sought: Sought, *, web: bool = False) -> _Part:
    if not grid.cells:
        refuse_unread(grid.unread, where)
        raise SourceError("the sheet is empty", where=where, remedy="name a sheet with data by sheets=")
    records = _rows_of(grid)
    at = _seek(records, sought)
    if at is None:
        at = _guess(records, sought, where)
    top = records[at][0]
    for ref, first, _, last, _ in grid.merged:
        if first <= top <= last and last > first:
            raise SourceError(
                "the header is merged over several rows",
                where=f"{where}!{ref}",
                remedy="name the row of the header in which every column has its own name: header=…",
            )
    left = min(min(cells) for cells in grid.cells.values())
    columns = [left + i for i in range(len(records[at][1]))]
    headers = [strip_name(cell) for cell in records[at][1]]
    rows = [row for row in sorted(grid.cells) if row > top and (sought.last is None or row <= sought.last)]
    units = [""] * len(headers)
    if rows and sought.units(cells := [_show(grid.cells[rows[0]].get(column)) for column in columns]):
        units, rows = cells, rows[1:]
    if not rows:
        raise SourceError("the file has a header but no data rows", where=where, remedy="export the data again")
    while headers and not headers[-1] and not any(columns[-1] in grid.cells[row] for row in rows):
        headers.pop()
        columns.pop()
        units.pop()
    for ref, first, _, last, _ in grid.merged:
        if last > top and first <= rows[-1] and last > first:
            raise SourceError(
                "the cells are merged, so it is not certain which rows their value is for",
                where=f"{where}!{ref}",
                remedy="unmerge them and write the value into each cell it is for; where the data end above, name their last "
                "row by last=",
            )
    return _Part(grid, where, sheet, top, columns, headers, units, rows, _note_titles(at, top))


def _from_sheets(parts: Sequence[_Part], where: str, sha256: str, notes: list[str], size: int) -> Listing:
    """Put the lists of several sheets one below the other, whose headers must be the same, in any order."""
    first = parts[0]
    several = len(parts) > 1
    notes = [*notes, *(f"{part.sheet.name}: {note}" if several else note for part in parts for note in part.notes)]
    orders = [_order(part, first) for part in parts]

    def take(places: Sequence[int]) -> Iterator[pa.RecordBatch]:
        for number, (part, order) in enumerate(zip(parts, orders, strict=True)):
            columns = [part.columns[order[at]] for at in places]
            _refuse_unread(part, columns)
            for start in range(0, len(part.rows), _BATCH):
                rows = part.rows[start : start + _BATCH]
                texts = [
                    pa.array([_show(part.grid.cells[row].get(one)) for row in rows], pa.string()) for one in columns
                ]
                yield _batch(np.asarray(rows) + number * SHEET, texts)

    tail = []
    for number, (part, order) in enumerate(zip(parts, orders, strict=True)):
        columns = [part.columns[at] for at in order]
        for row in part.rows[-_TAIL:]:
            tail.append((row + number * SHEET, [_show(part.grid.cells[row].get(one)) for one in columns]))
        notes += note_hidden(
            Grid(hidden_rows=part.grid.hidden_rows), [part.top, *part.rows], min(columns), max(columns), part.sheet
        )
    return Listing(
        where if several else first.where,
        sha256,
        tuple(first.headers),
        tuple(first.units),
        tuple(notes),
        tail,
        take,
        tuple(part.sheet.name for part in parts) if several else (),
        size=size,
    )


def _order(part: _Part, first: _Part) -> list[int]:
    """Return where each column of the first sheet stands on another."""
    if part.headers == first.headers and part.units == first.units:
        return list(range(len(first.headers)))
    lacking = [name for name in first.headers if name not in part.headers]
    more = [name for name in part.headers if name not in first.headers]
    if lacking or more:
        raise SourceError(
            f"the sheet has other headers than sheet '{first.sheet.name}'",
            where=part.where,
            remedy="read the sheets apart, as sources of their own, or give them the same headers",
        )
    order = [part.headers.index(name) for name in first.headers]
    if [part.units[at] for at in order] != first.units:
        raise SourceError(
            f"the row of units is not that of sheet '{first.sheet.name}'",
            where=part.where,
            remedy="read the sheets apart, as sources of their own",
        )
    return order


def _refuse_unread(part: _Part, columns: Iterable[int]) -> None:
    used = set(columns)
    rows = range(part.top, part.rows[-1] + 1)
    unread: list[UnreadCell] = [one for one in part.grid.unread if one.column in used and one.row in rows]
    refuse_unread(unread, part.where)


def _show(cell: Cell | None) -> str:
    """Write a cell; a number that is shown in per cent as it is shown."""
    if isinstance(cell, Percent):
        return f"{(Decimal(repr(float(cell))) * 100).normalize():f}%"
    return (show_cell(cell) or "").strip()


# --- Parquet ---


def _open_parquet(path: Path, where: str, sha256: str, sought: Sought, size: int) -> Listing:
    import pyarrow.parquet as pq

    for name, given in (("header", sought.row), ("last", sought.last)):
        if given is not None:
            what = f"{name}= is given, but Parquet has no rows above or below its table"
            raise SourceError(what, where=where, remedy=f"leave {name}= out")
    try:
        names = pq.read_schema(path).names
    except (pa.ArrowException, OSError) as error:
        raise SourceError(
            f"the Parquet file is cut off or damaged ({type(error).__name__})",
            where=where,
            remedy="download or write the file again, whole",
        ) from None

    def take(places: Sequence[int]) -> Iterator[pa.RecordBatch]:
        raise NotImplementedError("Parquet is read as it is stored")

    return Listing(where, sha256, tuple(names), ("",) * len(names), (), [], take, parquet=path, size=size)
