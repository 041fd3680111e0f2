"""An .xlsx workbook as its XML stands: openpyxl tells neither a formula without a stored value from an empty text, nor
the date formats of Chinese Excel from numbers, and it can be made to fill the memory by one merged range."""

from __future__ import annotations

import io
import posixpath
import re
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from xml.etree import ElementTree
from xml.parsers.expat import ExpatError

from evalkit.errors import SourceError
from evalkit.sources.files.bytes import refuse_doctype
from evalkit.sources.files.cells import Cell, CellReader, Formats, column_number, read_cell_text

_MAX_BYTES, _MAX_RATIO, _RATIO_FROM, _MAX_ENTRIES = 200_000_000, 100, 10_000_000, 2_000
_RESAVE = "open the file in Excel, save it again as .xlsx, and close it before copying"
_OTHERS = (
    ("word/document.xml", "a Word document (.docx)"),
    ("ppt/presentation.xml", "a PowerPoint presentation (.pptx)"),
    ("xl/workbook.bin", "a binary workbook (.xlsb)"),
    ("content.xml", "an OpenDocument file (.ods or .odt)"),
)
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
    """The cells of one sheet that hold something, by row and column (1-based), and what hides or joins them."""

    cells: dict[int, dict[int, Cell]] = field(default_factory=dict)
    merged: list[tuple[str, int, int, int, int]] = field(default_factory=list)
    hidden_rows: list[int] = field(default_factory=list)
    hidden_columns: list[tuple[int, int]] = field(default_factory=list)


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
            self._refuse_bomb(len(data))
            self._refuse_others()
            self._read_parts()

    def has_data(self, sheet: Sheet) -> bool:
        """Tell whether any cell of the sheet holds something."""
        with self._damage_named():
            cells = (element for element in self._parse(sheet.part) if _tag(element) == "c")
            return any(_tag(child) == "f" or "".join(child.itertext()) for cell in cells for child in cell)

    def read(self, sheet: Sheet) -> Grid:
        """Read a sheet; raise SourceError on cells with an error or a formula without a stored value."""
        grid = Grid()
        reader = CellReader(self._texts, self._formats, stale=self._stale, where=self.where, sheet=sheet.name)
        with self._damage_named():
            row = 0
            for element in self._parse(sheet.part):
                tag = _tag(element)
                if tag == "row":
                    row = int(element.get("r", row + 1))
                    if cells := reader.read_row(row, element):
                        if row in grid.cells:
                            raise ValueError(f"row {row} stands twice in sheet '{sheet.name}'")
                        grid.cells[row] = cells
                    if _is_on(element.get("hidden")):
                        grid.hidden_rows.append(row)
                elif tag == "col" and _is_on(element.get("hidden")):
                    grid.hidden_columns.append((int(element.get("min", 0)), int(element.get("max", 0))))
                elif tag == "mergeCell":
                    grid.merged.append(_read_range(element.get("ref", "")))
        reader.refuse_bad_cells()
        return grid

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
        names = self._zip.namelist()
        if "xl/workbook.xml" in names:
            return
        said = next((said for part, said in _OTHERS if part in names), "a zip file")
        raise SourceError(
            f"this is {said}, not an .xlsx workbook",
            where=self.where,
            remedy="copy the table into Excel and save it as .xlsx, as .xlsb and .ods are; unpack it where it is an archive, "
            "and give the path of the file inside",
        )

    def _read_parts(self) -> None:
        targets, kinds = {}, {}
        for link in self._parse("xl/_rels/workbook.xml.rels"):
            if _tag(link) == "Relationship":
                part = posixpath.normpath(posixpath.join("/xl", link.get("Target", ""))).lstrip("/")
                targets[link.get("Id")] = part
                kinds[link.get("Id")] = link.get("Type", "").rpartition("/")[2]
        self.sheets: list[Sheet] = []
        epoch_1904 = self._stale = False
        for element in self._parse("xl/workbook.xml"):
            if _tag(element) == "sheet":
                link_id = next((v for k, v in element.attrib.items() if k.endswith("}id")), None)
                if kinds[link_id] == "worksheet":
                    visible = element.get("state", "visible") == "visible"
                    self.sheets.append(Sheet(element.get("name", ""), targets[link_id], visible))
            elif _tag(element) == "workbookPr":
                epoch_1904 = _is_on(element.get("date1904"))
            elif _tag(element) == "calcPr":
                # Written by programs that store formulas but do not calculate them; Excel removes it when it saves.
                self._stale = _is_on(element.get("fullCalcOnLoad")) or element.get("calcCompleted") in ("0", "false")
        part_of = {kinds[key]: targets[key] for key in kinds}
        self._texts = [read_cell_text(e) for e in self._parse(part_of.get("sharedStrings")) if _tag(e) == "si"]
        self._formats = Formats(self._parse(part_of.get("styles")), epoch_1904=epoch_1904)

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
            if _tag(element) in ("row", "si") and parents:
                parents[-1].clear()  # else every row read would stay in memory

    @contextmanager
    def _damage_named(self) -> Iterator[None]:
        try:
            yield
        except _DAMAGE as error:
            raise SourceError(
                f"the workbook is cut off or damaged ({error})", where=self.where, remedy=_RESAVE
            ) from error


def _tag(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2]


def _is_on(flag: str | None) -> bool:
    return flag in ("1", "true")


def _read_range(ref: str) -> tuple[str, int, int, int, int]:
    found = re.fullmatch(r"([A-Z]{1,3})([0-9]{1,7})(?::([A-Z]{1,3})([0-9]{1,7}))?", ref)
    if found is None:
        raise ValueError(f"'{ref}' is not a range of cells")
    left, top, right, bottom = found.groups()
    return ref, int(top), column_number(left), int(bottom or top), column_number(right or left)
