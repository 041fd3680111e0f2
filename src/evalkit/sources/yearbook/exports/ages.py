"""Population by age: ages in rows, in blocks of one year or with years across, as Japan's statistical offices print it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from evalkit.sources.files.cells import Cell
from evalkit.sources.yearbook.captions import Caption, known_unit
from evalkit.sources.yearbook.exports.form import HEADER_ROWS, NOT_READ, CellRead, Export, read_double
from evalkit.sources.yearbook.headings import Given, Heading
from evalkit.sources.yearbook.keys import Key, UnreadRow
from evalkit.sources.yearbook.layout import Layout
from evalkit.sources.yearbook.pages import Page
from evalkit.sources.yearbook.words import is_note, join_words, narrow, read_value, read_year, take_marks, write_cell

_AGE = re.compile(r"[0-9]{1,3}\s*(?:[~～〜\-–—]\s*[0-9]{0,3}\s*)?(?:歳|才|岁)?(?:以上|以下|未満|及以上)?\+?")
_TOTALS = ("総数", "総計", "合計", "計", "总数", "合计", "不詳", "年齢不詳")
_HEADS = ("年齢階級", "年齢", "年齢各歳", "年齢5歳階級", "年龄", "年龄组")
_SEXES = ("男女計", "総数", "男", "女", "男性", "女性", "男女合计")
_BLOCK = re.compile(
    r"(?:\([0-9]+\)\s*)?(?:[^0-9()]{0,4}[0-9]{1,2}\s*)?\(?((?:19|20)[0-9]{2})\)?\s*年(?:\s*\([^()]*\))?"
)
_UNIT = re.compile(r"(.*?)\s*\(([^()]+)\)")
_MANY = re.compile(r"[0-9]{1,3}(?:,[0-9]{3})*\s*[人世帯戸]{1,2}|千?人|百?万人")
_RAISED = re.compile(r"[⁰¹²³⁴-⁹]+\)")
_PLAIN = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789")
_FEWEST = 5  # ages below one another


def find_ages(page: Page, given: Given) -> list[Export] | None:
    """Tell the form by a column of ages below 年齢階級 or the like, or below a sex with years beside it."""
    start = next(
        (row for row in page.rows[:HEADER_ROWS] if _word(page.grid.cells[row].get(1)) in (*_HEADS, *_SEXES)), None
    )
    if start is None:
        return None
    below = [row for row in page.rows if row > start]
    ages = [row for row in below if _is_age(page.grid.cells[row].get(1)) and len(page.grid.cells[row]) > 1]
    if sum(_word(page.grid.cells[row].get(1)) not in _TOTALS for row in ages) < _FEWEST:
        return None
    marked = take_marks(_lower_marks(page))
    plain = marked.page
    first = ages[0]
    blocks = tuple(
        (row, int(said[1]))
        for row in below
        if set(plain.grid.cells[row]) == {1} and (said := _BLOCK.fullmatch(narrow(_word(plain.grid.cells[row][1]))))
    )
    header = [row for row in plain.rows if start <= row < first and row not in [row for row, _ in blocks]]
    columns = _read_header(plain, header)
    across = {heading.year for heading in columns.values()}
    if not columns or (None in across) == (not blocks) or (blocks and blocks[0][0] > first):
        return None
    others = [row for row in below if row > first and row not in ages and len(plain.grid.cells[row]) > 1]
    if others:
        return None  # something else stands between the ages
    captions = [_word(cell) for row in page.rows if row < start for cell in page.grid.cells[row].values()]
    whole, unit = _read_title(captions)
    word = _word(plain.grid.cells[start].get(1))
    prefix = [*filter(None, [whole]), *([word] if word in _SEXES else [])]
    columns = {
        c: replace(
            one,
            indicator=" / ".join(filter(None, [*prefix, one.indicator])),
            unit=one.unit or (unit if not one.indicator else None),
            region=given.region,
        )
        for c, one in columns.items()
    }
    if not all(one.indicator for one in columns.values()) and not given.indicator:
        lacking = [("indicator", "no title and no header says what the numbers of the ages are")]
    else:
        lacking = []
        columns = {c: replace(one, indicator=one.indicator or given.indicator) for c, one in columns.items()}
    lacking += [] if given.region else [("region", "the rows are ages, and no region is named")]
    notes = {c: [n for at in one.cells for n in marked.notes.get(at, ())] for c, one in columns.items()}

    def read_key(row: int) -> Key:
        year = next((year for at, year in reversed(blocks) if at < row), None)
        name = re.sub(r"\s*([~～〜])\s*", r"\1", _word(plain.grid.cells[row].get(1)))
        if blocks and year is None:
            raise UnreadRow("no year stands above its block")
        return Key(year=year, indicator=name)

    layout = Layout(
        first,
        ages[-1],
        "indicators",
        1,
        None,
        None,
        None,
        columns,
        frozenset(),
        Caption(page, []),
        tuple(header),
        tuple(f"{page.address(header[0], c)}: {'; '.join(said)}" for c, said in notes.items() if said),
        lacking=tuple(lacking),
        given=frozenset({"region"} if given.region else ()),
        blocks=blocks,
    )
    return [Export(plain, layout, ages, read_key, _read_cell)]


def _lower_marks(page: Page) -> Page:
    """Write "¹)" behind a name as "1)", as the note below the table does."""
    lowered = {
        row: {c: _RAISED.sub(_lower, cell) if isinstance(cell, str) else cell for c, cell in cells.items()}
        for row, cells in page.grid.cells.items()
    }
    return replace(page, grid=replace(page.grid, cells=lowered), keys={})


def _lower(found: re.Match[str]) -> str:
    return found[0].translate(_PLAIN)


def _read_header(page: Page, header: Sequence[int]) -> dict[int, Heading]:
    """Return what stands over each column: names from the top, joined by " / ", the unit in brackets, or a year alone."""
    found = dict[int, Heading]()
    for column in sorted({c for row in header for c in page.spread(row)} - {1}):
        spots = list(dict.fromkeys(spot for row in header if (spot := page.spread(row).get(column))))
        year, unit, names = None, None, list[str]()
        for spot in spots:
            if read_year(spot.cell) is not None:
                year = read_year(spot.cell)
                continue
            name, own = _split_unit(_word(spot.cell))
            unit = own or unit
            names.append(name)
        cells = tuple((spot.row, spot.column) for spot in spots)
        found[column] = Heading(" / ".join(names), unit, year, cells=cells)
    return found


def _read_title(words: Sequence[str]) -> tuple[str, str | None]:
    """Return the name and the unit of a line such as 総人口(千人) above the table."""
    for word in reversed(words):
        name, unit = _split_unit(word)
        if unit and not is_note(word):
            return name, unit
    return "", None


def _split_unit(words: str) -> tuple[str, str | None]:
    found = _UNIT.fullmatch(narrow(words))
    if found and (_MANY.fullmatch(found[2]) or known_unit(found[2])):
        return found[1], found[2]
    return words, None


def _word(cell: Cell | None) -> str:
    return join_words(write_cell(cell).replace("\u3000", " "))


def _is_age(cell: Cell | None) -> bool:
    word = _word(cell)
    return word in _TOTALS or (isinstance(cell, str) and _AGE.fullmatch(narrow(word)) is not None)


def _read_cell(row: int, cell: Cell | None) -> CellRead | str:
    if (value := read_double(cell)) is not None:
        return CellRead(value)
    found = read_value(cell)
    return CellRead(found[0], found[1]) if found else NOT_READ
