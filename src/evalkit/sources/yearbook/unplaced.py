"""Cells of a yearbook file that hold something and are not read, each with the reason."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pandas as pd

from evalkit.catalogue import say
from evalkit.errors import SourceError
from evalkit.sources.files.cells import MOST_ERRORS, Cell, cell_name
from evalkit.sources.yearbook.pages import Page
from evalkit.sources.yearbook.words import write_cell


@dataclass(frozen=True)
class Unplaced:
    """A cell, what it holds, and why it is not among the values."""

    page: Page
    row: int
    column: int
    cell: Cell | None
    why: str

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


def describe_unplaced(cells: Iterable[Unplaced], language: str = "en") -> list[str]:
    """Say in one line for each sheet and reason how many cells are not placed, which, and why."""
    found: dict[tuple[str, str], list[Unplaced]] = {}
    for one in cells:
        found.setdefault((one.page.where, one.why), []).append(one)
    return [
        say(
            f"yearbook.{'one_unplaced' if len(group) == 1 else 'unplaced'}",
            language,
            number=len(group),
            why=why,
            cells=_list(group),
        )
        for (_, why), group in found.items()
    ]


def refuse_unplaced(cells: Sequence[Unplaced], where: str) -> SourceError:
    """Make the error for cells that are not placed where all have to be."""
    said = "; ".join(describe_unplaced(cells))
    remedy = (
        'leave out strict=True to read the rest; correct a misprint in a layout ([[table.correct]] cell = "C7", value = 7.85, '
        'source = "…"), or say in it where things stand: layout="…"'
    )
    return SourceError(said, where=where, remedy=remedy)


def _list(group: Sequence[Unplaced]) -> str:
    shown = ", ".join(f"{one.page.address(one.row, one.column)} '{one.text}'" for one in group[:MOST_ERRORS])
    return shown + (", …" if len(group) > MOST_ERRORS else "")
