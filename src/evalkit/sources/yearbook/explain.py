"""The explanation of a reading: the grid of each page, with what each row and each column was taken for."""

from __future__ import annotations

import html
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from evalkit.catalogue import say
from evalkit.sources.files.cells import column_letters
from evalkit.sources.yearbook.headings import Heading
from evalkit.sources.yearbook.pages import Page
from evalkit.sources.yearbook.readings import PageRead, Readings
from evalkit.sources.yearbook.unplaced import describe_unplaced
from evalkit.sources.yearbook.words import write_cell

_WIDTH, _COLUMNS, _ENDS, _LISTED = (
    12,
    16,
    4,
    20,
)  # columns of a terminal, of the grid; rows at both ends of a table; cells listed


@dataclass(frozen=True)
class Explanation:
    """What a file was taken for. Printed, it is text with a grid of each page; in a notebook it shows itself."""

    text: str
    html: str = field(repr=False)

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        return self.html


def explain_pages(
    read: Sequence[tuple[Page, PageRead]], units: Mapping[str, str], refusal: str, language: str
) -> Explanation:
    """Explain the pages of a file as they were read.

    `units` are those declared of indicators; `refusal` is what load() says, "" where it reads the file.
    """
    text, parts = list[str](), list[str]()
    if refusal:
        text.append(say("yearbook.refused", language, error=refusal) + "\n")
        parts.append(f"<p><b>{html.escape(text[-1])}</b></p>")
    for page, found in read:
        name = page.name if page.sheet is None else say("yearbook.sheet", language, file=page.name, sheet=page.sheet)
        text.append(name)
        parts.append(f"<h3>{html.escape(name)}</h3>")
        why = "; ".join(dict.fromkeys([*(error.what for error in found.errors), *found.reasons]))
        lines = [line for i, table in enumerate(found.tables, 1) for line in _describe(table, i, units, language)]
        lines += [] if found.tables else [say("yearbook.none", language, why=why)]
        text += lines
        parts.append(f"<p>{'<br>'.join(map(html.escape, lines))}</p>")
        header, rows = _grid(page, found, language)
        text += _draw(header, rows)
        parts.append(_draw_html(header, rows))
        if found.unplaced:
            lines = describe_unplaced(found.unplaced, language)
            text += lines
            parts.append(f"<p>{'<br>'.join(map(html.escape, lines))}</p>")
        text.append("")
    return Explanation("\n".join(text).rstrip("\n"), "".join(parts))


def _describe(table: Readings, number: int, units: Mapping[str, str], language: str) -> list[str]:
    """Say what the rows and the columns of a table are."""
    layout = table.layout
    rows = say(f"yearbook.{layout.rows_are}", language)
    first, last = (table.rows[0], table.rows[-1]) if table.rows else (layout.first, layout.first)
    said = say("yearbook.table", language, number=number, first=first, last=last, rows=rows, values=len(table.values))
    roles = {layout.key: "key", layout.code: "code", layout.time: "time", layout.unit: "unit"}
    roles |= dict.fromkeys(layout.left_out, "left_out")
    roles.update(layout.told.items())
    told = {column: say(f"yearbook.{role}", language) for column, role in roles.items() if column is not None}
    told |= {column: say("yearbook.aside", language, why=why) for column, why in layout.aside.items()}
    of_column: dict[int, str | None] = {}
    for value in table.values if not layout.told else ():  # else it stands beside the rows
        of_column.setdefault(value.column, value.unit or units.get(value.indicator))
    for column, heading in layout.columns.items():
        told[column] = ", ".join(_of_values(heading, of_column.get(column), table, language))
    return [said, *(f"  {column_letters(column):3} {words}" for column, words in sorted(told.items()))]


def _of_values(heading: Heading, unit: str | None, table: Readings, language: str) -> list[str]:
    layout = table.layout
    beside = layout.rows_are == "indicators" or bool(layout.told)
    beside = beside and not any(noun == "indicator" for noun, _ in layout.lacking)
    said = [heading.region] if heading.region else []
    said.append(heading.indicator or say("yearbook.beside" if beside else "yearbook.no_indicator", language))
    said += [unit or say("yearbook.no_unit", language)] if layout.unit is None and not (beside and unit is None) else []
    if heading.year:
        said.append(str(heading.year))
    elif layout.rows_are != "years" and layout.time is None and not layout.blocks:
        said.append(say("yearbook.no_year", language))
    return said


def _grid(page: Page, found: PageRead, language: str) -> tuple[list[str], list[list[str]]]:
    """Return the header and the rows of the grid: what a row is, its number, its cells; the middle of a table is left out.

    Cells that are not placed are marked by "!" in front.
    """
    roles = dict.fromkeys(page.rows, "words")
    for table in found.tables:
        layout = table.layout
        right = max(layout.columns)
        above = [row for row in page.rows if row < layout.first and min(page.grid.cells[row]) <= right]
        roles |= {row: "above" for row in above if roles[row] == "words"}
        roles |= dict.fromkeys(layout.header, "header") | {row: "block" for row, _ in layout.blocks}
        roles |= dict.fromkeys(table.rows, "values")
    lost = {(one.row, one.column) for one in found.unplaced}
    if not found.tables:
        roles = dict.fromkeys(page.rows, "lost")
    columns = range(1, min(page.width, _COLUMNS) + 1)
    more = ["…"] if page.width > _COLUMNS else []
    rows, middle = list[list[str]](), _middle(page, roles, lost)
    skipped = list[int]()
    for row in [*page.rows, None]:
        if row in middle:
            skipped.append(row)
            continue
        if skipped:
            rows.append([say("yearbook.rows_skipped", language, first=skipped[0], last=skipped[-1])])
            skipped = []
        if row is not None:
            cells = page.grid.cells[row]
            shown = [("!" if (row, column) in lost else "") + write_cell(cells.get(column)) for column in columns]
            rows.append([say(f"yearbook.{roles[row]}", language), str(row), *shown, *more])
    return ["", "", *map(column_letters, columns), *more], rows


def _middle(page: Page, roles: Mapping[int, str], lost: set[tuple[int, int]]) -> set[int]:
    """Return rows of values that have such rows around them; those with cells that are not placed are shown."""
    rows = page.rows
    with_lost = {row for row, _ in lost}
    return {
        row
        for i, row in enumerate(rows)
        if _ENDS <= i < len(rows) - _ENDS and row not in with_lost
        if all(roles[one] == roles[row] for one in rows[i - _ENDS : i + _ENDS + 1])
    }


def _draw(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Draw a grid as text; Chinese characters are two columns of a terminal wide."""
    cut = [[_cut(cell) for cell in row] if len(row) > 1 else list(row) for row in (header, *rows)]
    widths = [max((_width(row[i]) for row in cut if len(row) > max(i, 1)), default=0) for i in range(len(header))]
    lines = []
    for row in cut:
        padded = [cell + " " * (widths[i] - _width(cell)) for i, cell in enumerate(row)] if len(row) > 1 else row
        lines.append(" ".join(padded).rstrip())
    return lines


def _draw_html(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    cells = "".join(f"<th>{html.escape(cell)}</th>" for cell in header)
    lines = [f"<tr>{cells}</tr>"]
    for row in rows:
        wide = f' colspan="{len(header)}"' if len(row) == 1 else ""
        lines.append("<tr>" + "".join(f"<td{wide}>{html.escape(_cut(cell))}</td>" for cell in row) + "</tr>")
    return f"<table>{''.join(lines)}</table>"


def _cut(cell: str) -> str:
    shown, width = "", 0
    for letter in " ".join(cell.split()):
        width += _width(letter)
        if width > _WIDTH:
            return f"{shown}…"
        shown += letter
    return shown


def _width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)
