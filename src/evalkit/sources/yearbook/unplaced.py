"""Cells of a yearbook file that hold something and are not read, each with the reason."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pandas as pd

from evalkit.errors import SourceError
from evalkit.sources.files.cells import MOST_ERRORS, Cell, cell_name
from evalkit.sources.yearbook.pages import Page
from evalkit.sources.yearbook.words import write_cell


@dataclass(frozen=True)
class Unplaced:
    """A cell, what it holds, why it is not among the values, and what to do, where that is special to it."""

    page: Page
    row: int
    column: int
    cell: Cell | None
    why: str
    remedy: str = ""

    @property
    def text(self) -> str:
        """Write what the cell holds."""
        return write_cell(self.cell)


def make_unplaced(cells: Sequence[Unplaced]) -> pd.DataFrame:
    """Return one row per cell: file, sheet (missing for text), cell, text, why."""
    columns = {
        "file": [one.page.name for one in cells],
        "sheet": [one.page.sheet for one in cells],
        "cell": [cell_name(one.row, one.column) for one in cells],
        "text": [one.text for one in cells],
        "why": [one.why for one in cells],
    }
    return pd.DataFrame({name: pd.array(values, dtype="str") for name, values in columns.items()})


def describe_unplaced(cells: Iterable[Unplaced]) -> list[str]:
    """Say in one line for each sheet and reason, if they are not too many, how many cells are not placed, and name the first."""
    found: dict[tuple[str, str], list[Unplaced]] = {}
    for one in cells:
        found.setdefault((one.page.where, one.why), []).append(one)
    said = [f"{_count(group)} not placed, because {why}: {_list(group)}" for (_, why), group in found.items()]
    rest = [one for group in list(found.values())[MOST_ERRORS:] for one in group]
    return [*said[:MOST_ERRORS], f"{_count(rest)} not placed for further reasons"] if rest else said


def refuse_unplaced(cells: Sequence[Unplaced], where: str, *, strict: bool) -> SourceError:
    """Make the error for cells that are not placed where all have to be (`strict`), or where no value is left."""
    said = "; ".join(describe_unplaced(cells))
    remedy = "leave out strict=True to read the rest; " if strict else ""
    remedy += (
        'correct a misprint in a layout ([[table.correct]] cell = "C7", value = 7.85, '
        'source = "…"), or say in it where things stand: layout="…"'
    )
    own = dict.fromkeys(one.remedy for one in cells if one.remedy)
    return SourceError(said, where=where, remedy="; ".join([*own, remedy]))


def _count(group: Sequence[Unplaced]) -> str:
    return "1 cell is" if len(group) == 1 else f"{len(group)} cells are"


def _list(group: Sequence[Unplaced]) -> str:
    shown = ", ".join(f"{one.page.address(one.row, one.column)} '{one.text}'" for one in group[:MOST_ERRORS])
    return shown + (", …" if len(group) > MOST_ERRORS else "")
