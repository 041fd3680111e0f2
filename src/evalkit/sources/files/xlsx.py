"""An .xlsx workbook as its XML stands: openpyxl tells neither a formula without a stored value from an empty text, nor
the date formats of Chinese Excel from numbers, and it can be made to fill the memory by one merged range."""

from __future__ import annotations

import datetime as dt
import io
import posixpath
import re
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from xml.etree import ElementTree
from xml.parsers.expat import ExpatError

from evalkit.errors import SourceError
from evalkit.sources.files.bytes import make_parser, refuse_doctype
from evalkit.sources.files.cells import (
    MAX_COLUMNS,
    MAX_ROWS,
    Cell,
    CellReader,
    Formats,
    UnreadCell,
    column_number,
    read_cell_text,
    unescape,
)

_MAX_BYTES, _MAX_RATIO, _RATIO_FROM, _MAX_ENTRIES = 200_000_000, 100, 10_000_000, 2_000
_PIECE = 1 << 16  # bytes of a sheet that are parsed at a time
_RESAVE = "download or copy it again; if it opens in Excel, save it again as .xlsx, and close it before copying"
_COPY, _SAVE = "copy its table into Excel and save that as .xlsx", "open it in Excel, and save it as .xlsx"
_OTHERS = (
    ("word/document.xml", "a Word document (.docx)", _COPY),
    ("ppt/presentation.xml", "a PowerPoint presentation (.pptx)", _COPY),
    ("xl/workbook.bin", "a binary workbook (.xlsb)", _SAVE),
    ("content.xml", "an OpenDocument file (.ods or .odt)", _SAVE),
    ("Index/Document.iwa", "a document of Apple Numbers or Pages", _SAVE.replace("open it in", "export it for")),
)
_LISTED = 5  # files of an archive that are named
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    ElementTree.ParseError,
    ExpatError,
    EOFError,
    OSError,
    ValueError,
    LookupError,
    ArithmeticError,
    RuntimeError,  # an entry is encrypted, or compressed in a way that Excel does not use
)


@dataclass
class Grid:
    """The cells of one sheet that hold something, by row and column (1-based), those not read, and what hides or joins them."""

    cells: dict[int, dict[int, Cell]] = field(default_factory=dict)
    merged: list[tuple[str, int, int, int, int]] = field(default_factory=list)
    hidden_rows: list[int] = field(default_factory=list)
    hidden_columns: list[tuple[int, int]] = field(default_factory=list)
    unread: list[UnreadCell] = field(default_factory=list)
    widths: dict[int, int] = field(default_factory=dict)  # of a text: fields of each row, empty ones too


@dataclass(frozen=True)
class Sheet:
    """The name of a worksheet, the part that holds it, and whether the workbook shows it."""

    name: str
    part: str
    visible: bool


class Workbook:
    """Open an .xlsx from its bytes; raise SourceError when it is a bomb, is damaged or is another kind of zip."""

    def __init__(self, data: bytes, where: str) -> None:
        self.where = where
        with self._damage_named():
            self._zip = zipfile.ZipFile(io.BytesIO(data))
            self._names = frozenset(self._zip.namelist())
            self._refuse_bomb(len(data))
            self._refuse_others()
            self._read_parts()

    def has_data(self, sheet: Sheet) -> bool:
        """Tell whether any cell of the sheet holds something."""
        with self._damage_named():
            reader = self._reader(sheet)
            return any(reader.holds_something for _ in self._feed(sheet.part, reader))

    def has_pictures(self, sheet: Sheet) -> bool:
        """Tell whether a picture lies on the sheet."""
        folder, _, name = sheet.part.rpartition("/")
        with self._damage_named():
            drawings = {part for part, kind in self._links(folder, name).values() if kind == "drawing"}
            parsed = (element for drawing in drawings & self._names for element in self._parse(drawing))
            return any(_tag(element) == "pic" for element in parsed)

    def read(self, sheet: Sheet) -> Grid:
        """Read a sheet; cells with an error or a formula without a stored value are among those that are `unread`."""
        with self._damage_named():
            reader = self._reader(sheet)
            for _ in self._feed(sheet.part, reader):
                pass
        return reader.grid

    def _reader(self, sheet: Sheet) -> _SheetReader:
        return _SheetReader(self._texts, self._formats, stale=self._stale, sheet=sheet.name)

    def _feed(self, part: str, reader: _SheetReader) -> Iterator[None]:
        """Parse a sheet piece by piece, and stop after each."""
        parser = make_parser(part)
        parser.buffer_text = True
        parser.StartElementHandler, parser.EndElementHandler = reader.start, reader.end
        parser.CharacterDataHandler = reader.take_text
        with self._zip.open(part) as stream:
            while piece := stream.read(_PIECE):
                parser.Parse(piece, False)
                yield
        parser.Parse(b"", True)

    def _refuse_bomb(self, size: int) -> None:
        entries = self._zip.infolist()
        declared = sum(entry.file_size for entry in entries)
        if len(entries) > _MAX_ENTRIES:
            what = f"it has {len(entries)} parts, more than {_MAX_ENTRIES}"
        elif declared > _MAX_BYTES:
            what = f"it would unpack to {declared / 1e6:.0f} MB, more than {_MAX_BYTES / 1e6:.0f}"
        elif declared > _RATIO_FROM and declared > _MAX_RATIO * size:
            what = f"it would unpack to {declared / size:.0f} times its size, more than {_MAX_RATIO}"
        else:
            return
        raise SourceError(
            f"the workbook is not opened because {what}",
            where=self.where,
            remedy="copy the table alone into a new workbook, or save it as CSV UTF-8",
        )

    def _refuse_others(self) -> None:
        if "xl/workbook.xml" in self._names:
            return
        for part, said, remedy in _OTHERS:
            if part in self._names:
                raise SourceError(f"this is {said}, not an .xlsx workbook", where=self.where, remedy=remedy)
        names = [_name(entry) for entry in self._zip.infolist() if not entry.is_dir()]
        more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
        held = ", ".join(f"'{name}'" for name in names[:_LISTED]) + more or "nothing"
        raise SourceError(
            f"this is a zip file, not an .xlsx workbook; it holds {held}",
            where=self.where,
            remedy="unpack it, and give the path of one file inside",
        )

    def _read_parts(self) -> None:
        links = self._links("xl", "workbook.xml")
        self.sheets: list[Sheet] = []
        epoch_1904 = self._stale = False
        for element in self._parse("xl/workbook.xml"):
            if _tag(element) == "sheet":
                link_id = next((v for k, v in element.attrib.items() if k.endswith("}id")), None)
                part, kind = links[link_id]
                if kind == "worksheet":
                    visible = element.get("state", "visible") == "visible"
                    self.sheets.append(Sheet(element.get("name", ""), part, visible))
            elif _tag(element) == "workbookPr":
                epoch_1904 = _is_on(element.get("date1904"))
            elif _tag(element) == "calcPr":
                # Written by programs that store formulas but do not calculate them; Excel removes it when it saves.
                self._stale = _is_on(element.get("fullCalcOnLoad")) or element.get("calcCompleted") in ("0", "false")
        part_of = {kind: part for part, kind in links.values()}
        self._texts = [read_cell_text(e) for e in self._parse(part_of.get("sharedStrings")) if _tag(e) == "si"]
        self._formats = Formats(self._parse(part_of.get("styles")), epoch_1904=epoch_1904)

    def _links(self, folder: str, name: str) -> dict[str | None, tuple[str, str]]:
        """Return the parts to which a part is linked, and as what, by the name of the link."""
        links, part = {}, f"{folder}/_rels/{name}.rels"
        for link in self._parse(part if part in self._names else None):
            if _tag(link) == "Relationship":
                target = posixpath.normpath(posixpath.join(f"/{folder}", link.get("Target", ""))).lstrip("/")
                links[link.get("Id")] = (target, link.get("Type", "").rpartition("/")[2])
        return links

    def _parse(self, part: str | None) -> Iterator[ElementTree.Element]:
        """Give the elements of a part as they end; a part that is not there gives none."""
        if part is None:
            return
        xml = self._zip.read(part)
        refuse_doctype(xml, part)
        parents: list[ElementTree.Element] = []
        for event, element in ElementTree.iterparse(io.BytesIO(xml), ("start", "end")):
            if event == "start":
                parents.append(element)
                continue
            parents.pop()
            yield element
            if _tag(element) == "si" and parents:
                parents[-1].clear()  # else every text read would stay in memory

    @contextmanager
    def _damage_named(self) -> Iterator[None]:
        try:
            yield
        except _DAMAGE as error:
            raise SourceError(
                f"the workbook is cut off or damaged ({error})", where=self.where, remedy=_RESAVE
            ) from error


class _SheetReader:
    """Take in the XML of a sheet as it is parsed. A tree of it takes longer, and there may be millions of elements."""

    __slots__ = (
        *("grid", "holds_something", "_texts", "_formats", "_stale", "_sheet", "_cells", "_row", "_column", "_found"),
        *("_cell", "_text", "_stored", "_formula", "_inline", "_depth"),
    )

    def __init__(self, texts: Sequence[str], formats: Formats, *, stale: bool, sheet: str) -> None:
        self.grid, self.holds_something = Grid(), False
        self._texts, self._formats, self._stale, self._sheet = texts, formats, stale, sheet
        self._cells = CellReader(epoch_1904=formats.epoch_1904)
        self._row = self._column = 0
        self._found: dict[int, Cell] | None = None  # of the row that is open
        self._cell: dict[str, str] | None = None  # attributes of the cell that is open
        self._text: str | None = None  # of the value or formula that is open
        self._stored: str | None = None
        self._formula: str | None = None
        self._inline: ElementTree.TreeBuilder | None = None  # of a text that stands in the cell itself
        self._depth = 0  # of what is open inside a cell and is neither a value nor a formula

    def start(self, name: str, attributes: dict[str, str]) -> None:
        """Take in the start of an element."""
        tag = name.rpartition(":")[2]
        if self._depth:
            self._depth += 1
            if self._inline is not None:
                self._inline.start(tag, attributes)
        elif self._cell is not None:
            if tag in ("v", "f"):
                self._text = ""
            else:
                self._depth = 1
                if tag == "is":
                    self._inline = ElementTree.TreeBuilder()
                    self._inline.start(tag, {})
        elif self._found is not None:
            if tag == "c":
                self._cell, self._stored, self._formula = attributes, None, None
            else:
                self._depth = 1
        elif tag == "row":
            self._row, self._column = int(attributes.get("r", self._row + 1)), 0
            self._found = {}
            if _is_on(attributes.get("hidden")):
                self.grid.hidden_rows.append(self._row)
        elif tag == "col" and _is_on(attributes.get("hidden")):
            self.grid.hidden_columns.append((int(attributes.get("min", 0)), int(attributes.get("max", 0))))
        elif tag == "mergeCell":
            self.grid.merged.append(_read_range(attributes.get("ref", "")))

    def take_text(self, text: str) -> None:
        """Take in characters."""
        if self._text is not None:
            self._text += text
        elif self._inline is not None:
            self._inline.data(text)

    def end(self, name: str) -> None:
        """Take in the end of an element."""
        if self._depth:
            self._depth -= 1
            if self._inline is not None:
                element = self._inline.end(name.rpartition(":")[2])
                if not self._depth:
                    self._stored, self._inline = read_cell_text(element), None
        elif self._text is not None:
            if name.endswith("v"):
                self._stored = self._text
            else:
                self._formula = self._text
            self._text = None
        elif self._found is not None:
            if self._cell is not None:
                self._end_cell(self._cell, self._found)
                self._cell = None
                return
            if self._found:
                if self._row in self.grid.cells:
                    raise ValueError(f"row {self._row} stands twice in sheet '{self._sheet}'")
                self.grid.cells[self._row] = self._found
            self._found = None

    def _end_cell(self, attributes: dict[str, str], found: dict[int, Cell]) -> None:
        ref, row = attributes.get("r"), self._row
        column = self._column = column_number(ref.rstrip("0123456789")) if ref else self._column + 1
        if not (1 <= row <= MAX_ROWS and 1 <= column <= MAX_COLUMNS) or column in found:
            raise ValueError(f"cell {ref} of row {row} in sheet '{self._sheet}' is out of place")
        if self._stored or self._formula is not None:
            self.holds_something = True
            value = self._read(attributes, row, column)
            if isinstance(value, UnreadCell):
                self.grid.unread.append(value)
            elif value is not None and value != "":
                found[column] = value

    def _read(self, attributes: dict[str, str], row: int, column: int) -> Cell | UnreadCell | None:
        kind, stored, formula = attributes.get("t", "n"), self._stored, self._formula
        if formula is not None and (self._stale or stored is None or (stored == "" and kind != "str")):
            return self._cells.read_formula(formula, row, column)
        if not stored:
            return None
        try:
            if kind == "n":
                shown = self._formats.kind(attributes.get("s"))
                return self._cells.read_number(float(stored), stored, shown, row, column)
            if kind == "s":
                return self._texts[int(stored)].strip()
            if kind in ("str", "inlineStr"):
                return unescape(stored).strip()
            if kind == "e":
                return self._cells.read_error(stored, row, column)
            if kind == "b":
                return stored in ("1", "true")
            if kind == "d":
                return dt.datetime.fromisoformat(stored).replace(tzinfo=None)
            raise ValueError
        except (ValueError, LookupError):
            why = f"holds '{stored[:20]}', which is none of what Excel writes there: the workbook is cut off or damaged"
            return UnreadCell(row, column, stored, why, _RESAVE)


def _tag(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2]


def _name(entry: zipfile.ZipInfo) -> str:
    """Return the name of a file in an archive; where it does not say that it is UTF-8, Chinese Windows has written GBK."""
    if entry.flag_bits & 0x800:
        return entry.filename
    try:
        return entry.filename.encode("cp437").decode("gb18030")
    except UnicodeError:
        return entry.filename


def _is_on(flag: str | None) -> bool:
    return flag in ("1", "true")


def _read_range(ref: str) -> tuple[str, int, int, int, int]:
    found = re.fullmatch(r"([A-Z]{1,3})([0-9]{1,7})(?::([A-Z]{1,3})([0-9]{1,7}))?", ref)
    if found is None:
        raise ValueError(f"'{ref}' is not a range of cells")
    left, top, right, bottom = found.groups()
    return ref, int(top), column_number(left), int(bottom or top), column_number(right or left)
