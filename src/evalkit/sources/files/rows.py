"""The rows of a table as text, and refusals that name them without showing what stands in them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import pandas as pd

from evalkit.errors import SourceError
from evalkit.sources.files.columns import write_runs

_T = TypeVar("_T")


@dataclass(frozen=True)
class Rows:
    """Some rows of a table as text, indexed by the rows of the file."""

    frame: pd.DataFrame
    where: str

    def cells(self, header: str) -> list[str | None]:
        """Return a column, None where a cell is empty."""
        return [cell if isinstance(cell, str) else None for cell in self.frame[header].tolist()]

    def read(self, header: str, parse: Callable[[str], _T | None], what: str, remedy: str) -> list[_T]:
        """Parse a column in which every cell must say something that is understood; raise SourceError otherwise."""
        cells = self.cells(header)
        self.refuse([cell is None for cell in cells], header, "the cell is empty", remedy)
        read = each(cells, lambda cell: parse(cell or ""))
        self.refuse([value is None for value in read], header, what, remedy)
        return [value for value in read if value is not None]

    def refuse(self, wrong: Sequence[bool], header: str, what: str, remedy: str) -> None:
        """Raise SourceError naming the rows that are wrong, if there are any."""
        rows = [int(row) for row, bad in zip(self.frame.index, wrong, strict=True) if bad]
        if rows:
            named = f"row{'s' if len(rows) > 1 else ''} {write_runs(rows)}"
            raise SourceError(what, where=f"{self.where}, {named}, column '{header}'", remedy=remedy)


def each(cells: Sequence[str | None], read: Callable[[str | None], _T]) -> list[_T]:
    """Read every cell, and those that say the same once."""
    known = {cell: read(cell) for cell in set(cells)}
    return [known[cell] for cell in cells]
