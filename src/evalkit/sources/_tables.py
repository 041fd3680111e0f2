"""The tables of one page, each with its layout, its rows, its notes, and the table that it goes on."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field

from evalkit.errors import SourceError
from evalkit.sources._blocks import split
from evalkit.sources._caption import Caption, is_caption, is_title
from evalkit.sources._cells import Cell
from evalkit.sources._columns import write_number
from evalkit.sources._declared import Declared, lay_out
from evalkit.sources._footnotes import is_note, is_numbered_note, read_qualification
from evalkit.sources._keys import refuse_second
from evalkit.sources._layout import Layout, find_layout
from evalkit.sources._pages import Page
from evalkit.sources._rows import key_of, read_code
from evalkit.sources._words import read_value


@dataclass
class Table:
    """A table found on a page: where things stand in it, its rows of words and of values, and what its notes say of all of it.

    Tables that go on in one another share `chain`.
    """

    page: Page
    layout: Layout
    chain: int
    rows: list[int] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    qualifications: list[str] = field(default_factory=list)

    def sort_rows(self) -> None:
        """Tell notes from rows of values; raise SourceError for words between them that begin a table."""
        layout, page = self.layout, self.page
        end = layout.last or page.rows[-1]
        below = [row for row in page.rows[bisect_left(page.rows, layout.first) :] if row <= end]
        last = max((row for row in below if key_of(page, row) is not None), default=layout.first)
        for row in below:
            if _is_text(page.grid.cells[row], layout, is_below=row > last):
                self._add_note(row, is_below=row > last)
            else:
                self.rows.append(row)

    def _add_note(self, row: int, *, is_below: bool) -> None:
        cells = self.page.grid.cells[row]
        words = [write_number(cell) if isinstance(cell, float) else str(cell) for _, cell in sorted(cells.items())]
        if not is_below and any(is_title(word) or is_caption(word) or "续表" in word for word in words):
            raise refuse_second(self.page, row, min(cells), words[0])
        text = " ".join(words)
        self.notes.append(f"{self.page.address(row, min(cells))}: {text}")
        goes_on = is_below and bool(self.qualifications)
        if (is_note(text) or goes_on) and (said := read_qualification(text)):
            self.qualifications.append(said)


def find_tables(page: Page, known: MutableMapping[str, Caption], declared: Sequence[Declared]) -> list[Table] | str:
    """Find the tables of a page; where it holds none, say why. Raises SourceError for a table that is not understood.

    `known` holds the captions of numbered tables on the pages before; those of this page are added. Tables that are `declared`
    for a page are all that is read of it.
    """
    if declared:
        tables = [Table(*lay_out(page, one), chain) for chain, one in enumerate(declared)]
        for table in tables:
            table.sort_rows()
        return tables
    found, reasons = list[Table](), list[tuple[Page, str]]()
    for zone in split(page):
        beside: list[Table] = []
        for strip in zone:
            tables = list[Table]()
            for part in strip:
                before = tables[-1] if tables else _beside(beside, part)
                try:
                    said = _find(part, before, known, chain=len(found) + len(tables))
                except SourceError:
                    _refuse_lost(reasons)
                    raise
                if isinstance(said, Table):
                    tables.append(said)
                else:
                    reasons.append((part, said))
            found += tables
            beside = tables or beside
    if found:
        _refuse_lost(reasons)
    return found or "; ".join(dict.fromkeys(said for _, said in reasons)) or "it is empty"


def _refuse_lost(reasons: Sequence[tuple[Page, str]]) -> None:
    """Refuse a page of which one part is read, and another has names and numbers and is not."""
    for part, said in reasons:
        for row in part.rows:
            if (column := key_of(part, row)) is not None:
                raise SourceError(
                    f"the row holds numbers, and they are in no table that is understood: {said}",
                    where=part.place(row, column),
                    remedy="write a header above them, or delete numbers above the header; move a further table onto a sheet of "
                    "its own, with its title, its unit and its header",
                )


def _find(part: Page, before: Table | None, known: MutableMapping[str, Caption], *, chain: int) -> Table | str:
    """Find the table of a part; it may go on the table before it on the page, or one of the same number on another page."""
    layout = find_layout(part, before.layout.caption if before else None, known)
    if isinstance(layout, str):
        return layout
    known.setdefault(layout.caption.number, layout.caption)
    goes_on = before is not None and layout.caption.before is before.layout.caption
    table = Table(part, layout, before.chain if before and goes_on else chain)
    table.sort_rows()
    return table


def _beside(tables: Sequence[Table], part: Page) -> Table | None:
    """Return the table of the strip to the left that has the most rows in common."""

    def overlap(table: Table) -> int:
        rows = table.page.rows
        return min(rows[-1], part.rows[-1]) - max(rows[0], part.rows[0])

    return max(tables, key=overlap, default=None)


def _is_text(cells: Mapping[int, Cell], layout: Layout, *, is_below: bool) -> bool:
    """Tell a row of words: a note, or the name of a group of regions. A row with a code is a region without numbers."""
    name = cells.get(layout.key)
    if isinstance(name, str) and is_note(name):
        return True
    aside = (layout.code, layout.time, layout.unit)
    beside = {c: cell for c, cell in cells.items() if c != layout.key and c not in aside and c not in layout.left_out}
    if any(read_value(cell) is not None for cell in beside.values()):
        return False
    if any(column in layout.columns for column in beside):
        return is_below and (name is None or (isinstance(name, str) and is_numbered_note(name)))
    if layout.time is not None and cells.get(layout.time) is not None:
        return False
    return name is None or layout.code is None or read_code(cells.get(layout.code)) is None
