"""Entries of a TOML file read strictly: known keys only, texts, choices, whole numbers and quantities."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, cast, get_args

from evalkit.accounting.settling.rules import Quantity
from evalkit.catalogue import LANGUAGES
from evalkit.errors import SourceError, nearest

Word = TypeVar("Word", bound=str)
TOP = "top level"
COLUMN = re.compile(r"\{([^{}]+)\}")


@dataclass(frozen=True)
class Entry:
    """One table of a file, with its path in it for errors."""

    content: Mapping[str, Any]
    path: str
    section: str

    @property
    def where(self) -> str:
        """Name the file and the section."""
        return f"{self.path}, {self.section}"

    def error(self, what: str, remedy: str) -> SourceError:
        """Make the error for something wrong in this entry."""
        return SourceError(what, where=self.where, remedy=remedy)

    def known(self, valid: Iterable[str]) -> None:
        """Refuse a key that does not exist, naming the nearest."""
        keys = tuple(valid)
        for key in self.content:
            if key not in keys:
                raise self.error(f"unknown key '{key}'", nearest(key, keys))

    def text(self, key: str, default: str | None = None) -> str:
        """Return a text that is not empty, or the default if there is one."""
        text = self.content.get(key, default)
        if not isinstance(text, str) or (not text.strip() and text is not default):
            raise self.error(f"'{key}' is missing or not a text", f'write {key} = "…"')
        return text.strip()

    def choice(self, key: str, literal: Any, default: Word | None = None) -> Any:
        """Return one of the words of a Literal."""
        words = get_args(literal)
        given = self.content.get(key, default)
        if given not in words:
            shown = "missing" if given is None else repr(given)
            raise self.error(f"'{key}' is {shown}", nearest(str(given), words))
        return given

    def truth(self, key: str) -> bool:
        """Return true or false; false where nothing is said."""
        given = self.content.get(key, False)
        if not isinstance(given, bool):
            raise self.error(f"'{key}' is {given!r}", f"write {key} = true, or leave it out")
        return given

    def whole(self, key: str, default: int | None = None, least: int = 0) -> int:
        """Return a whole number that is at least `least`."""
        given = self.content.get(key, default)
        if type(given) is not int or given < least:
            shown = "missing" if given is None else repr(given)
            raise self.error(f"'{key}' is {shown}", f"write a whole number from {least} on: {key} = {max(least, 1)}")
        return given

    def words(self, key: str) -> dict[str, str]:
        """Return a text in every language."""
        given = self.content.get(key)
        fine = isinstance(given, dict) and set(given) == set(LANGUAGES)
        if not fine or not all(isinstance(text, str) and text.strip() for text in cast(dict[str, Any], given).values()):
            raise self.error(f"'{key}' is not given in each language", f'write {key} = {{ en = "…", zh = "…" }}')
        return dict(cast(dict[str, str], given))

    def number(self, key: str) -> float:
        """Return a finite number."""
        given = self.content.get(key)
        if isinstance(given, bool) or not isinstance(given, int | float) or not math.isfinite(given):
            shown = "missing" if given is None else repr(given)
            raise self.error(f"'{key}' is {shown}, not a number", f"write {key} = 0.8")
        return float(given)

    def span(self, key: str) -> tuple[float, float]:
        """Return two finite numbers, the first not above the second."""
        given: Any = self.content.get(key)
        fine = isinstance(given, list) and len(given) == 2 and all(type(one) in (int, float) for one in given)
        if not fine or not math.isfinite(sum(given)) or given[0] > given[1]:
            raise self.error(f"'{key}' is {given!r}", f"write the least and the most: {key} = [1, 6]")
        return float(given[0]), float(given[1])

    def quantity(self, key: str, figures: Iterable[str], unit: str) -> Quantity:
        """Return a number in `unit`, a figure by its name, or a column in braces."""
        given, where = self.content.get(key), f"{self.where}.{key}"
        if isinstance(given, str):
            if column := COLUMN.fullmatch(given):
                return Quantity(where, column=column[1])
            names = tuple(figures)
            if given not in names:
                remedy = f"{nearest(given, names)}; or write a number, or a column of the table in braces"
                raise self.error(f"there is no figure '{given}' for '{key}'", remedy)
            return Quantity(where, figure=given)
        return Quantity(where, value=self.number(key), unit=unit)

    def _inside(self, key: str) -> str:
        return key if self.section == TOP else f"{self.section}.{key}"

    def table(self, key: str) -> Entry:
        """Return a table inside this one; an empty one where it is not there."""
        content = self.content.get(key, {})
        if not isinstance(content, dict):
            raise self.error(f"'{key}' is not a section", f"write [{self._inside(key)}]")
        return Entry(content, self.path, self._inside(key))

    def tables(self, key: str) -> list[Entry]:
        """Return the tables of a list inside this one; none where it is not there."""
        given = self.content.get(key, [])
        if not isinstance(given, list) or not all(isinstance(one, dict) for one in given):
            raise self.error(f"'{key}' is not a list of tables", f"write [[{self._inside(key)}]]")
        return [Entry(one, self.path, f"{self._inside(key)}[{i}]") for i, one in enumerate(given, start=1)]
