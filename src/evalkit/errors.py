"""Errors that say what is wrong, where, and the remedy."""

from __future__ import annotations

import difflib
import errno
import os
from collections.abc import Iterable
from functools import partial
from pathlib import Path
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
    """A file cannot be read or written, or does not hold what it should."""


class DataError(EvalkitError):
    """A table or panel holds values that cannot be used as they are."""


class DesignError(EvalkitError):
    """The design cannot be carried out on this panel, or contradicts itself."""


class InferenceError(EvalkitError):
    """This method of inference cannot be applied to this fit."""


class CostError(InferenceError):
    """A call would take longer than is begun unasked: `assignments` estimates anew, about so many `seconds`."""

    assignments = 0
    seconds = 0.0


class ConfigError(EvalkitError):
    """A setting in `study.toml` or on the command line is unknown or wrong."""


def nearest(name: object, valid: Iterable[str]) -> str:
    """Say which valid name is nearest to a misspelt one (or to what stands in its place), and which others there are."""
    known = [str(item) for item in valid]
    plain = {item.casefold(): item for item in reversed(known)}  # a capital is not worth a letter
    word = str(name).casefold()
    alike = difflib.get_close_matches(word, plain, n=len(plain) or 1, cutoff=0.5)
    first = {item: at for at, item in enumerate(known)}
    # Of names that are equally near, the one that is listed first: the most common.
    alike.sort(key=lambda item: (-difflib.SequenceMatcher(None, item, word).ratio(), first[plain[item]]))
    close = [plain[item] for item in alike[:1]]
    listed = ", ".join(known[:12]) + (", …" if len(known) > 12 else "")
    return f"did you mean '{close[0]}'? Known are: {listed}" if close else f"known are: {listed or 'none'}"


_REFUSALS = {
    errno.ENOSPC: ("the disk is full", "make room on it and run again"),
    errno.EDQUOT: ("your share of the disk is used up", "delete what you need no more and run again"),
    errno.EROFS: ("this disk can only be read", "copy the project to a folder that you may write to"),
    errno.EXDEV: ("this is another disk than that of data/processed", "keep the whole project on one disk"),
    errno.EISDIR: ("a folder stands where a file belongs", "move or rename that folder"),
    **dict.fromkeys(
        (errno.EACCES, errno.EPERM),
        (
            "the system does not allow to open or change this",
            "close the programs that have it open, such as Excel, or ask for the right to change it, and run again",
        ),
    ),
    **dict.fromkeys(
        (errno.ENOTDIR, errno.EEXIST),
        ("a file stands where a folder belongs", "move or rename that file"),
    ),
}


def explain_refusal(error: OSError, where: str = "") -> SourceError:
    """Say in one sentence what the system refused, where (the error's own file, if it names one), and the remedy."""
    named = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes | os.PathLike) else where
    long = error.errno == errno.ENAMETOOLONG or (os.name == "nt" and error.errno == errno.ENOENT and len(named) > 247)
    if long:
        what = f"this path of {len(named)} letters is too long for the system"
        return SourceError(what, where=named, remedy="shorten the names in it, or move the project to a shorter path")
    if error.errno == errno.ENOENT:
        return SourceError("there is no such file or folder", where=named, remedy="put it back, or correct the path")
    what, remedy = _REFUSALS.get(error.errno or 0, (error.strerror or str(error), "see that the disk is still there"))
    if error.errno in (errno.ENOTDIR, errno.EEXIST):
        path = Path(named)
        named = next((str(one) for one in (path, *path.parents) if one.is_file()), named)
    return SourceError(what, where=named, remedy=remedy)
