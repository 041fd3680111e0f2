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
    columns: dict[str, object] = {
        "file": pd.array([one.page.name for one in cells], dtype="str"),
        "sheet": pd.array([one.page.sheet for one in cells], dtype="str"),
        "cell": pd.array([cell_name(one.row, one.column) for one in cells], dtype="str"),
        "text": pd.array([one.text for one in cells], dtype="str"),
        "why": pd.array([one.why for one in cells], dtype="str"),
    }
    return pd.DataFrame(columns)


def describe_unplaced(cells: Iterable[Unplaced], language: str = "en") -> list[str]:
    """Say in one line for each sheet and reason, if they are not too many, how many cells are not placed, which, and why."""
    found: dict[tuple[str, str], list[Unplaced]] = {}
    for one in cells:
        found.setdefault((one.page.where, one.why), []).append(one)
    groups = [(why, group) for (_, why), group in found.items()]
    said = [
        say(
            f"yearbook.{'one_unplaced' if len(group) == 1 else 'unplaced'}",
            language,
            number=len(group),
            why=why,
            cells=_list(group),
        )
        for why, group in groups[:MOST_ERRORS]
    ]
    if rest := sum(len(group) for _, group in groups[MOST_ERRORS:]):
        said.append(say("yearbook.unplaced_rest", language, number=rest))
    return said


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


def _list(group: Sequence[Unplaced]) -> str:
    shown = ", ".join(f"{one.page.address(one.row, one.column)} '{one.text}'" for one in group[:MOST_ERRORS])
    return shown + (", …" if len(group) > MOST_ERRORS else "")
