"""Errors that say what is wrong, where, and the remedy."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from functools import partial
from typing import Any


class EvalkitError(Exception):
    """Root of every error that evalkit raises on purpose.

    `what` says what is wrong, `where` names the file, sheet, row, column or setting, `remedy` says what to do about it.
    """

    def __init__(self, what: str, *, where: str = "", remedy: str) -> None:
        self.what, self.where, self.remedy = what, where, remedy
        super().__init__(f"{where + ': ' if where else ''}{what}. Remedy: {remedy}.")

    def __reduce__(self) -> tuple[Any, ...]:
        """Say how to make it anew, so that it comes back whole from another process."""
        return partial(type(self), self.what, where=self.where, remedy=self.remedy), (), self.__dict__


class SourceError(EvalkitError):
    """A file cannot be read, or does not hold what it should."""


class DataError(EvalkitError):
    """A table or panel holds values that cannot be used as they are."""


class DesignError(EvalkitError):
    """The design cannot be carried out on this panel, or contradicts itself."""


class InferenceError(EvalkitError):
    """This method of inference cannot be applied to this fit."""


class ConfigError(EvalkitError):
    """A setting in `study.toml` or on the command line is unknown or wrong."""


def nearest(name: str, valid: Iterable[str]) -> str:
    """Say which valid name is nearest to a misspelt one, and which others there are."""
    known = [str(item) for item in valid]
    plain = {item.casefold(): item for item in reversed(known)}  # a capital is not worth a letter
    close = [plain[item] for item in difflib.get_close_matches(name.casefold(), plain, n=1, cutoff=0.5)]
    listed = ", ".join(known[:12]) + (", …" if len(known) > 12 else "")
    return f"did you mean '{close[0]}'? Known are: {listed}" if close else f"known are: {listed or 'none'}"
