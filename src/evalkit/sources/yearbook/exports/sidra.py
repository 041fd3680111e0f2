"""SIDRA of IBGE: a title, a variable with its unit, and the dimensions in words ("Ano x Produto"), each in a row of its own."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from evalkit.errors import SourceError
from evalkit.sources.files.cells import Cell
from evalkit.sources.yearbook.captions import Caption
from evalkit.sources.yearbook.exports.form import NOT_READ, CellRead, Export, read_double
from evalkit.sources.yearbook.headings import Given, Heading
from evalkit.sources.yearbook.keys import Key, UnreadRow
from evalkit.sources.yearbook.layout import Layout
from evalkit.sources.yearbook.pages import Page
from evalkit.sources.yearbook.words import read_year, write_cell

_TITLE = re.compile(r"Tabela\s+[0-9]+\s+-\s+\S")
_VARIABLE = re.compile(r"Variável\s+-\s+(.*\S)", re.DOTALL)
_UNIT = re.compile(r"(.*\S)\s*\(([^()]+)\)", re.DOTALL)
_SOURCE = re.compile(r"Fonte\s*:")
_END = ("Notas", "Legenda")
_CODE, _LEVEL, _YEARS, _NAMES = "Cód.", "Nível", "Ano", "Variável"
_PARTS = ("Mês", "Trimestre", "Trimestre Móvel", "Semestre", "Bimestre")
_MARKS = {"-": "none", "..": "none", "...": "missing", "X": "suppressed", "x": "suppressed"}
_TOTAL = "Total"
_COMMA = re.compile(r"[+-]?(?:[0-9]+|[0-9]{1,3}(?:[.][0-9]{3})+),[0-9]+")
_POINT = re.compile(r"[+-]?(?:[0-9]+|[0-9]{1,3}(?:,[0-9]{3})+)[.][0-9]+")
_EITHER = re.compile(r"[+-]?[1-9][0-9]{0,2}[.,][0-9]{3}")  # a thousand, or a number with three decimals


@dataclass(frozen=True)
class _Block:
    """The rows of one table of a page: the variable above it, the row of its dimensions, and its rows of values."""

    variable: str
    head: int
    rows: list[int]


def find_sidra(page: Page, given: Given) -> list[Export] | None:
    """Tell the form by its first words, "Tabela 1612 - …"; a page that begins with Notas or Legenda holds words alone."""
    if not page.rows:
        return None
    first = _only(page, page.rows[0])
    if first in _END and any(_only(page, row) == "Legenda" for row in page.rows):
        return []
    if first is None or not _TITLE.match(first):
        return None
    blocks = list(_blocks(page))
    if not blocks:
        raise _refuse(page, page.rows[0], "no row of dimensions ('Ano x …') stands below the title")
    variables = {block.variable for block in blocks}
    alone = len(variables) == 1 and page.sheet in (None, "Tabela")
    comma = _reads_commas(page, blocks)
    return [_lay_out(page, block, alone=alone, comma=comma) for block in blocks]


def _blocks(page: Page) -> Iterator[_Block]:
    rows = page.rows
    ends = next((i for i, row in enumerate(rows) if _only(page, row) in _END), len(rows))
    starts = [i for i, row in enumerate(rows[:ends]) if _TITLE.match(_only(page, row) or "")]
    for start, end in zip(starts, [*starts[1:], ends], strict=True):
        variable, head = "", None
        for i in range(start + 1, end):
            only = _only(page, rows[i])
            if only and (said := _VARIABLE.fullmatch(only)):
                variable = said[1]
            elif head is None and _dimensions(page, rows[i]):
                head = i
        if head is not None:
            body = [row for row in rows[head + 1 : end] if not _SOURCE.match(_only(page, row) or "")]
            yield _Block(variable, rows[head], body)


def _lay_out(page: Page, block: _Block, *, alone: bool, comma: bool) -> Export:
    """Lay out one block; raise SourceError where its rows of dimensions do not say what the first of them announces."""
    names = _dimensions(page, block.head)
    left = max(page.grid.cells[block.head])
    beside = {c: _word(spot.cell) for c, spot in page.spread(block.head).items() if c < left}
    header, body = block.rows[: len(names)], block.rows[len(names) :]
    if len(header) < len(names) or not body:
        raise _refuse(page, block.head, f"no values stand below {len(names)} rows of {' x '.join(names)}")
    if parts := [name for name in (*names, *beside.values()) if name in _PARTS]:
        raise SourceError(
            f"the table is by '{parts[0]}', and the tables of a yearbook are by year",
            where=f"{page.where}, row {block.head}",
            remedy="read it with Delimited, and sum or average the periods of each year",
        )
    body = [row for row in body if max(page.grid.cells[row]) >= left]  # others are words
    if not body:
        raise _refuse(page, block.head, "no values stand below it")
    right = max(max(page.grid.cells[row]) for row in body)
    over = {name: _fill(page, row, left, right) for name, row in zip(names, header, strict=True)}
    for row in header:
        for c, word in beside.items():
            if (spot := page.spread(row).get(c)) and _word(spot.cell) != word:
                raise _refuse(
                    page, row, f"'{_word(spot.cell)}' stands below '{word}', so the rows of the header disagree"
                )
    years = {c: read_year(word) for c, word in over.get(_YEARS, {}).items()}
    in_rows = next((c for c, word in beside.items() if word == _YEARS), None)
    if in_rows is None and (not years or None in years.values()):
        raise _refuse(page, block.head, "no row of years stands where the dimensions announce it")
    code = next((c for c, word in beside.items() if word == _CODE), None)
    level = next((c for c, word in beside.items() if word == _LEVEL), None)
    region = next((c for c in range(1, left) if c not in (code, in_rows, level)), None)
    if region is None:
        raise _refuse(page, block.head, "no column of regions stands beside the values")
    classes = [c for c in range(1, left) if c not in (code, in_rows, level, region) and beside.get(c, "")]
    of_rows = {c: [write_cell(page.grid.cells[row].get(c)) for row in body] for c in classes}
    levels = [name for name in names if name not in (_YEARS, _NAMES)]
    all_totals = {
        *(w for name in levels for w in over[name].values()),
        *(w for words in of_rows.values() for w in words),
    }
    named = next((c for c in classes if beside[c] == _NAMES), None)
    told = block.variable and not (alone and all_totals - {_TOTAL})  # Cana says it all, Total does not
    columns = dict[int, Heading]()
    for c in range(left, right + 1):
        variable, unit = _split_unit(over.get(_NAMES, {}).get(c, block.variable))
        path = [variable] if told or _NAMES in names else []
        path += [over[name][c] for name in levels]
        year = years.get(c) if in_rows is None else None
        if named is None and not path:
            path = [variable or "…"]
        columns[c] = Heading(" / ".join(filter(None, path)), unit, year, cells=((header[-1], c),))

    def read_key(row: int) -> Key:
        cells = page.grid.cells[row]
        name = write_cell(cells.get(region)).strip()
        if not name:
            raise UnreadRow("no name of a region stands in the row")
        year = None
        if in_rows is not None and (year := read_year(cells.get(in_rows))) is None:
            raise UnreadRow(f"'{write_cell(cells.get(in_rows))}' is not a whole year")
        unit, said = None, list[str]()
        for c in classes:
            word = write_cell(cells.get(c)).strip()
            if c == named:
                word, unit = _split_unit(word)
            said.append(word)
        number = write_cell(cells.get(code)).strip() if code is not None else ""
        return Key(number or None, name, year, " / ".join(filter(None, said)), unit)

    layout = Layout(
        body[0],
        body[-1],
        "regions",
        region,
        code,
        in_rows,
        None,
        columns,
        frozenset({*classes, *([] if level is None else [level])}),
        Caption(page, []),
        (block.head, *header),
        told=dict.fromkeys(classes, "indicator"),
    )
    return Export(page, layout, body, read_key, lambda row, cell: _read_cell(cell, comma=comma), legend=_legend(page))


def _legend(page: Page) -> list[int]:
    """Return the rows that say what the marks mean, among them "0"."""
    start = next((row for row in page.rows if _only(page, row) == "Legenda"), None)
    return [] if start is None else [row for row in page.rows if row >= start]


def _only(page: Page, row: int) -> str | None:
    """Return the words of a row that holds one cell, or one that is merged over it."""
    cells = page.grid.cells[row]
    return " ".join(str(cells[1]).split()) if set(cells) == {1} and isinstance(cells[1], str) else None


def _word(cell: Cell) -> str:
    return " ".join(write_cell(cell).split())


def _splits(cell: Cell) -> bool:
    names = _word(cell).split(" x ")
    return any(name in (_YEARS, _NAMES, *_PARTS) for name in names)


def _dimensions(page: Page, row: int) -> list[str]:
    """Return the names of the dimensions across ("Ano x Produto"), which stand in the last cell of their row."""
    cells = page.grid.cells[row]
    if len(cells) == 1 and 1 in cells:
        return []
    last = cells[max(cells)]
    beside = [cell for c, cell in cells.items() if c < max(cells)]
    if isinstance(last, str) and (_splits(last) or any(_word(cell) == _YEARS for cell in beside)):
        return _word(last).split(" x ")
    return []


def _fill(page: Page, row: int, left: int, right: int) -> dict[int, str]:
    """Return the words over each column; one stands over the empty ones to its right."""
    spots, found, word = page.spread(row), dict[int, str](), ""
    for column in range(left, right + 1):
        word = _word(spots[column].cell) if column in spots else word
        found[column] = word
    return found


def _split_unit(words: str) -> tuple[str, str | None]:
    found = _UNIT.fullmatch(words.strip())
    return (" ".join(found[1].split()), " ".join(found[2].split())) if found else (" ".join(words.split()), None)


def _reads_commas(page: Page, blocks: Sequence[_Block]) -> bool:
    """Tell whether commas stand before the decimals; raise SourceError where nothing in the file decides it."""
    said: dict[str, tuple[int, int]] = {}
    for block in blocks:
        for row in block.rows:
            for column, cell in page.grid.cells[row].items():
                if isinstance(cell, str):
                    comma, point = _COMMA.fullmatch(cell) is not None, _POINT.fullmatch(cell) is not None
                    kind = "either" if _EITHER.fullmatch(cell) else "comma" if comma else "point" if point else ""
                    if kind:
                        said.setdefault(kind, (row, column))
    if "comma" in said and "point" in said:
        places = " and ".join(page.address(*said[kind]) for kind in ("comma", "point"))
        raise _refuse(page, said["comma"][0], f"decimals stand behind a comma and behind a point ({places})")
    if "either" in said and len(said) == 1:
        row, column = said["either"]
        raise SourceError(
            f"'{page.grid.cells[row][column]}' is a thousand or a number with three decimals, and no other number tells which",
            where=page.place(row, column),
            remedy="download the table as .xlsx, in which numbers are numbers",
        )
    return "comma" in said


def _read_cell(cell: Cell | None, *, comma: bool) -> CellRead | str:
    if cell is None:
        return CellRead(float("nan"), "missing")
    if isinstance(cell, str):
        if cell in _MARKS:
            return CellRead(float("nan"), _MARKS[cell])
        if re.fullmatch("[A-WYZ]", cell):
            return f"it is a range of values, which the legend calls '{cell}'"
        cell = cell.replace(".", "").replace(",", ".") if comma else cell
    value = read_double(cell)
    return NOT_READ if value is None else CellRead(value)


def _refuse(page: Page, row: int, what: str) -> SourceError:
    return SourceError(
        what,
        where=f"{page.where}, row {row}",
        remedy='download it again; or say where things stand in a layout file: layout="…"',
    )
