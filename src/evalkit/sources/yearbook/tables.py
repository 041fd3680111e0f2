"""The tables of one page, each with its layout, its rows, its notes, and the table that it goes on."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field

from evalkit.errors import SourceError
from evalkit.sources.files.cells import Cell
from evalkit.sources.yearbook.captions import Caption, has_year, is_caption, is_title, known_unit
from evalkit.sources.yearbook.declared import Declared, lay_out_declared
from evalkit.sources.yearbook.headings import (
    REGION_WORDS,
    Given,
    header_word,
    is_aside,
    is_header_word,
    is_part_of_year,
)
from evalkit.sources.yearbook.layout import Layout, find_layout, is_headed, key_of, read_code
from evalkit.sources.yearbook.pages import Page
from evalkit.sources.yearbook.words import (
    is_chinese,
    is_foreign,
    is_note,
    is_numbered_note,
    is_place,
    is_translation,
    is_word,
    join_words,
    narrow,
    read_note,
    read_value,
    read_year,
    write_cell,
)


@dataclass
class PrintedTable:
    """A table found on a page: where things stand in it, its rows of words and of values, and what its notes say of all of it.

    Tables that go on in one another share `chain`.
    """

    page: Page
    layout: Layout
    chain: int
    rows: list[int] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    qualifications: list[str] = field(default_factory=list)
    breaks: dict[int, str] = field(default_factory=dict)  # rows below which others hold, such as 2019年1-9月, and why

    def sort_rows(self) -> None:
        """Tell notes from rows of values; raise SourceError for words between them that begin a table."""
        layout, page = self.layout, self.page
        end = layout.last or page.rows[-1]
        below = [row for row in page.rows[bisect_left(page.rows, layout.first) :] if row <= end]
        last = max((row for row in below if key_of(page, row) is not None), default=layout.first)
        for row in below:
            if any(row == block for block, _ in layout.blocks):
                continue
            if _is_text(page.grid.cells[row], layout, is_below=row > last):
                self._add_note(row, is_below=row > last)
            else:
                self.rows.append(row)

    def _add_note(self, row: int, *, is_below: bool) -> None:
        cells = self.page.grid.cells[row]
        words = [write_cell(cell) for _, cell in sorted(cells.items())]
        if not is_below and any(is_title(word) or is_caption(word) or "续表" in word for word in words):
            raise SourceError(
                f"a second table begins below the first ('{words[0]}')",
                where=self.page.place(row, min(cells)),
                remedy='say where each stands in a layout file: layout="…"',
            )
        text = " ".join(words)
        if not is_below and any(map(_holds_below, words)):
            self.breaks[row] = f"other words stand above it, in row {row} ('{text}')"
        self.notes.append(f"{self.page.address(row, min(cells))}: {text}")
        goes_on = is_below and bool(self.qualifications)
        if (is_note(text) or goes_on) and (said := read_note(text)):
            self.qualifications.append(said)


@dataclass(frozen=True)
class Found:
    """The tables of a page, errors for parts that hold a table that is not understood, and why other parts hold none."""

    tables: list[PrintedTable]
    errors: list[SourceError]
    reasons: list[str]


def find_tables(page: Page, known: MutableMapping[str, Caption], declared: Sequence[Declared], given: Given) -> Found:
    """Find the tables of a page, and say why parts of it hold none.

    `known` holds the captions of numbered tables on the pages before; those of this page are added. Tables that are `declared`
    for a page are all that is read of it.
    """
    if declared:
        tables = [PrintedTable(*lay_out_declared(page, one, given), chain) for chain, one in enumerate(declared)]
        for table in tables:
            table.sort_rows()
        return Found(tables, [], [])
    found = Found([], [], [])
    for zone in split(page):
        beside: list[PrintedTable] = []
        for strip in zone:
            tables = list[PrintedTable]()
            for part in strip:
                before = tables[-1] if tables else _beside(beside, part)
                try:
                    said = _find(part, before, known, given, chain=len(found.tables) + len(tables))
                except SourceError as error:
                    found.errors.append(error)
                    continue
                if isinstance(said, PrintedTable):
                    tables.append(said)
                else:
                    found.reasons.append(said)
            found.tables.extend(tables)
            beside = tables or beside
    return found


def _find(
    part: Page, before: PrintedTable | None, known: MutableMapping[str, Caption], given: Given, *, chain: int
) -> PrintedTable | str:
    """Find the table of a part; it may go on the table before it on the page, or one of the same number on another page."""
    layout = find_layout(part, before.layout.caption if before else None, known, given)
    if isinstance(layout, str):
        return layout
    known.setdefault(layout.caption.number, layout.caption)
    goes_on = before is not None and layout.caption.before is before.layout.caption
    table = PrintedTable(part, layout, before.chain if before and goes_on else chain)
    table.sort_rows()
    return table


def _holds_below(words: str) -> bool:
    """Tell words between rows that give those below another time or unit: 2019年, 1-9月, (万吨), 以下为上年数."""
    text = join_words(narrow(words)).strip()
    return (
        text.startswith(("以下", "下列"))
        or known_unit(text.strip("()")) is not None
        or is_part_of_year(text)
        or (not is_note(words) and (has_year(text.strip("()")) or read_year(text.strip("()")) is not None))
    )


def _beside(tables: Sequence[PrintedTable], part: Page) -> PrintedTable | None:
    """Return the table of the strip to the left that has the most rows in common."""

    def overlap(table: PrintedTable) -> int:
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


_END = 1 << 24  # beyond the last row and column of any sheet


def split(page: Page) -> list[list[list[Page]]]:
    """Split a page into its tables: zones from top to bottom, in each the strips side by side, in each the stacked tables.

    A strip begins at a second column of names, above which 地区 or the like stands, or which an empty column sets apart and
    nothing but a title stands above. A stacked table begins at its title, its unit or its header, after rows of data; the
    notes before it stay with the table above.
    """
    return [[_stack(strip) for strip in _strips(zone) if strip.rows] for zone in _zones(page) if zone.rows]


def _zones(page: Page) -> list[Page]:
    """Cut at a numbered title that is no continuation, once there was data: what stood side by side may end there."""
    starts, has_data = [0], False
    for row in page.rows:
        cells = page.grid.cells[row]
        first = cells[min(cells)]
        if _has_values(page, row):
            has_data = has_data or bool(_name_columns(page, row)) or key_of(page, row) is not None
        elif has_data and isinstance(first, str) and is_title(first) and "续" not in first:
            starts.append(row)
            has_data = False
    return _cut(page, starts)


def _strips(page: Page) -> list[Page]:
    first_rows: dict[int, int] = {}
    for row in page.rows:
        for column in _name_columns(page, row):
            first_rows.setdefault(column, row)
    lefts = [1]
    for column in sorted(first_rows)[1:]:
        left = _left_edge(page, column, first_rows[column])
        if left is not None and left > lefts[-1]:
            lefts.append(left)
    return [page.part(0, _END, left, right - 1) for left, right in zip(lefts, [*lefts[1:], _END], strict=True)]


def _left_edge(page: Page, column: int, first: int) -> int | None:
    """Return where the strip begins whose names stand in a column, with its codes; None if it is no strip for certain."""
    above = [row for row in page.rows if row < first]
    codes = [page.grid.cells[row].get(column - 1) for row in page.rows if row >= first]
    has_codes = any(cell is not None for cell in codes) and all(cell is None or read_code(cell) for cell in codes)
    left = column - 1 if has_codes else column
    if header_word(page, above, column) in REGION_WORDS or any(_stands_over(page, row, column) for row in above):
        return left
    words = [spot.cell for row in above if (spot := page.spread(row).get(column))]
    is_free = all(isinstance(word, str) and (is_title(word) or is_caption(word) or "续" in word) for word in words)
    is_apart = all(left - 1 not in cells for cells in page.grid.cells.values())
    return left if is_free and is_apart and left > 1 else None


def _stands_over(page: Page, row: int, column: int) -> bool:
    """Tell whether the row's cell in a column is a header word such as 地区, the table's title standing above it."""
    spot = page.spread(row).get(column)
    return spot is not None and isinstance(spot.cell, str) and is_header_word(spot.cell) and spot.column == column


def _name_columns(page: Page, row: int) -> list[int]:
    """Return the columns of words after which numbers or marks follow, in the order of the row."""
    cells = page.grid.cells[row]
    columns = sorted(cells)
    found = []
    for column, following in zip(columns, [*columns[1:], 0], strict=True):
        cell = cells[column]
        if not isinstance(cell, str) or not is_word(cell) or is_translation(cell):
            continue
        if is_foreign(cell) and isinstance(before := cells.get(column - 1), str) and is_chinese(before):
            continue
        if is_translation(cells.get(following)):
            following = next((one for one in columns if one > following), 0)
        follows = cells.get(following)
        is_name = not (is_note(cell) or is_title(cell) or is_caption(cell) or is_header_word(cell))
        if is_name and follows is not None and read_value(follows) is not None:
            found.append(column)
    return found


def _stack(page: Page) -> list[Page]:
    starts, has_data, gap = [0], False, list[int]()
    years = set[tuple[tuple[int, int], ...]]()
    above = 0
    for row in page.rows:
        header_years = _years(page, row, above)
        if has_data and _begins(page, row, years):
            gap.append(row)
            after = max((i + 1 for i, one in enumerate(gap) if _is_note_row(page, one)), default=0)
            starts.append(gap[after] if after < len(gap) else row)
            has_data, gap = False, []
        elif key_of(page, row) is not None and not (header_years and not has_data):
            has_data, gap = True, []
        elif _has_values(page, row):
            gap = []
        else:
            gap.append(row)
        if header_years and not has_data:
            years.add(header_years)
        above = row
    blocks = _cut(page, starts)
    while len(blocks) > 1 and not any(_has_values(blocks[-1], row) for row in blocks[-1].rows):
        del starts[-1]  # a title after the last table, such as "see the next page", is a note
        blocks = _cut(page, starts)
    return blocks


def _begins(page: Page, row: int, years: set[tuple[tuple[int, int], ...]]) -> bool:
    """Tell whether a row below data begins a table: by a title, a unit or 续表, by 地区, or by years in words or seen before."""
    cells = page.grid.cells[row]
    words = [cell for cell in cells.values() if isinstance(cell, str)]
    first = cells[min(cells)]
    if _years(page, row, 0) in years and not (isinstance(first, str) and is_place(join_words(first))):
        return True
    if _has_values(page, row):
        return False
    if any(is_title(word) or is_caption(word) or "续表" in word for word in words):
        return not _is_note_row(page, row)
    others = [cell for _, cell in sorted(cells.items())][1:]
    in_words = [isinstance(cell, str) and read_year(cell) is not None and read_value(cell) is None for cell in others]
    are_years = sum(in_words) > 1 and all(year or is_aside(cell) for year, cell in zip(in_words, others, strict=True))
    return are_years or (len(cells) > 1 and any(map(is_header_word, words)))


def _years(page: Page, row: int, above: int) -> tuple[tuple[int, int], ...]:
    """Return the years of a row that has no other numbers, by their columns; () below a header of its own (row `above`).

    One year is too few to be a header.
    """
    cells = page.grid.cells[row]
    key = key_of(page, row)
    if key is not None and is_headed(page, above, key, [column for column in cells if column > key]):
        return ()
    found = tuple((column, year) for column, cell in sorted(cells.items()) if (year := read_year(cell)) is not None)
    others = [cell for cell in cells.values() if read_year(cell) is None and read_value(cell) is not None]
    return found if len(found) > 1 and not others else ()


def _has_values(page: Page, row: int) -> bool:
    """Tell whether a row holds a number or a mark that is no year."""
    return any(read_value(cell) is not None and read_year(cell) is None for cell in page.grid.cells[row].values())


def _is_note_row(page: Page, row: int) -> bool:
    cells = page.grid.cells[row]
    first = cells[min(cells)]
    return isinstance(first, str) and is_note(first)


def _cut(page: Page, starts: Sequence[int]) -> list[Page]:
    ends = [start - 1 for start in starts[1:]] + [_END]
    parts = [page.part(top, bottom, 1, _END) for top, bottom in zip(starts, ends, strict=True)]
    return [part for part in parts if part.rows]
