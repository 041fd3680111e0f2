"""The cells of a loan ledger: its rows as text, and the dates, numbers and flags that text stands for.

No message made here shows the content of a cell: in a ledger whose columns have slipped, any cell may hold a name or an id.
"""

from __future__ import annotations

import datetime as dt
import re
import unicodedata
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TypeVar

import pandas as pd

from evalkit.errors import SourceError
from evalkit.sources._columns import write_runs
from evalkit.sources._content import Content, read_content
from evalkit.sources._ledger_fields import field_of, known_words, plain

T = TypeVar("T")

_DAY = re.compile(
    r"([0-9]{4})(?:([0-9]{2})([0-9]{2})|-([0-9]{1,2})-([0-9]{1,2})|/([0-9]{1,2})/([0-9]{1,2})|年([0-9]{1,2})月([0-9]{1,2})日)"
    r"(?:[ T][0-2]?[0-9]:[0-5][0-9](?::[0-5][0-9](?:\.[0-9]+)?)?)?"
)
_SERIAL = re.compile(r"([0-9]{5})(?:\.[0-9]+)?")
_SERIALS = range(20_000, 60_001)  # 1954 to 2064, counted from 1900 as Excel does by default
_NUMBER = re.compile(r"[+-]?(?:[0-9]{1,15}|[0-9]{1,3}(?:,[0-9]{3}){1,4})(?:\.[0-9]{0,20})?")


class _Everything(Collection[str]):
    """Every name there is: the ledger is read as text before it is known how its columns are called."""

    def __contains__(self, name: object) -> bool:
        return True

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


def read_cells(path: Path, where: str, sheet: str | None) -> Content:
    """Read a ledger with every column as text; what is wrong with the file is said without what stands in its cells."""
    try:
        return read_content(path, where, sheet=sheet, text=_Everything())
    except SourceError as error:
        refusal = error
    shown = re.sub(
        r"(['\"])(.*)\1",
        lambda found: found[0] if found[2] == sheet or field_of(found[2]) else "'…'",
        refusal.what,
        flags=re.DOTALL,
    )
    shown = re.sub("[0-9]{6,}", "…", shown)
    # Outside the handler, so that no traceback shows the first message.
    raise SourceError(shown, where=refusal.where, remedy=refusal.remedy)


@dataclass(frozen=True)
class Rows:
    """Some rows of a ledger as text, indexed by the rows of the file."""

    frame: pd.DataFrame
    where: str

    def cells(self, header: str) -> list[str | None]:
        """Return a column, None where a cell is empty."""
        return [cell if isinstance(cell, str) else None for cell in self.frame[header].tolist()]

    def read(self, header: str, parse: Callable[[str], T | None], what: str, remedy: str) -> list[T]:
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


def each(cells: Sequence[str | None], read: Callable[[str | None], T]) -> list[T]:
    """Read every cell, and those that say the same once."""
    known = {cell: read(cell) for cell in set(cells)}
    return [known[cell] for cell in cells]


def refuse_totals(rows: Rows) -> None:
    """Raise SourceError on a row of totals, which would be counted as a loan."""
    totals = known_words("total")
    for header in rows.frame.columns:
        wrong = each(rows.cells(header), lambda cell: plain(cell or "").rstrip(":") in totals)
        rows.refuse(wrong, header, "the row holds a total, not a loan", "delete rows of totals")


def read_day(text: str) -> dt.date | None:
    """Read 20200115, 2020-01-15, 2020/1/15, 2020年1月15日, each also with a time of day, or an Excel serial number."""
    text = unicodedata.normalize("NFKC", text)
    if (serial := _SERIAL.fullmatch(text)) and int(serial[1]) in _SERIALS:
        return dt.date(1899, 12, 30) + dt.timedelta(days=int(serial[1]))
    found = _DAY.fullmatch(text)
    if found is None:
        return None
    year, month, day = (int(part) for part in found.groups() if part is not None)
    try:
        return dt.date(year, month, day) if 1954 <= year <= 2064 else None
    except ValueError:
        return None


def read_number(text: str, mark: str = "") -> Decimal | None:
    """Read 1234.5 or 1,234.5 exactly, with the unit's mark behind it or not. 1.2E+06 is not read: digits may be lost."""
    text = unicodedata.normalize("NFKC", text).replace(" ", "")
    if mark:
        text = text.removesuffix(mark)
    return Decimal(text.replace(",", "")) if _NUMBER.fullmatch(text) else None


def read_flag(text: str) -> bool | None:
    """Read a yes or a no, as the words in loan_ledger_fields.toml have it."""
    word = plain(text)
    return True if word in known_words("on") else False if word in known_words("off") else None


def kind_said(text: str | None) -> str:
    """Return "refinancing" or "extension" where a text speaks of it and does not deny it (非借新还旧), "" otherwise."""
    said = plain(text or "")
    for kind in ("refinancing", "extension"):
        for word in known_words(kind):
            for denial in known_words("denial"):
                said = said.replace(denial + word, "")
    return next((kind for kind in ("refinancing", "extension") if any(word in said for word in known_words(kind))), "")
