"""Filing: which names can become the names of files, on every system."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from pathlib import Path

from evalkit.errors import ConfigError

MOST_LETTERS = 64  # with what a run puts before and behind it, a name in Chinese stays below the 255 bytes of Linux
_MARKS = " _-.+()（）"
_ALLOWED = (
    f"letters and digits of any script, spaces and {' '.join(_MARKS[1:])} between them, at most {MOST_LETTERS} in all"
)
_DEVICES = {"CON", "PRN", "AUX", "NUL", *(f"{port}{i}" for port in ("COM", "LPT") for i in range(10))}


def require_file_name(name: str, where: str, *, taken: Iterable[str] = ()) -> str:
    """Return a name that can become a file's on Windows, macOS and Linux; raise ConfigError for any other.

    `taken` are the names beside it: those that differ only in capitals, or in how an accent is encoded, are one file on
    Windows and macOS.
    """
    reason = _fault(name)
    if reason:
        shown = name if len(name) <= MOST_LETTERS else f"{name[:20]}…"
        what = f"'{shown}' cannot become the name of a file: {reason}"
        raise ConfigError(what, where=where, remedy=f"rename it; allowed are {_ALLOWED}")
    for other in taken:
        if fold_name(other) == fold_name(name):
            what = f"'{name}' and '{other}' would be one file on Windows and macOS"
            raise ConfigError(what, where=where, remedy="give each a name that differs in more than capitals")
    return name


def _fault(name: str) -> str:
    """Say why a name cannot be a file's; nothing where it can."""
    wrong = sorted({letter for letter in name if not (unicodedata.category(letter)[0] in "LMN" or letter in _MARKS)})
    if not name:
        return "it is empty"
    if len(name) > MOST_LETTERS:
        return f"it has {len(name)} letters"
    if wrong:
        shown = " ".join(letter if letter.isprintable() else f"U+{ord(letter):04X}" for letter in wrong)
        return f"{shown} may not stand in it"
    if unicodedata.category(name[0])[0] not in "LN" and name[0] != "_":
        return "it must begin with a letter, a digit or _"
    if name[-1] in " .":
        return "Windows drops the dot or space at its end"
    if unicodedata.normalize("NFKC", name).split(".")[0].strip().upper() in _DEVICES:
        return "Windows keeps it for a device"
    return ""


def fold_name(name: str) -> str:
    """Return what a system that tells neither capitals nor encodings of an accent apart compares."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def file_inside(folder: Path, name: str) -> Path:
    """Return the path of a file of a folder; ConfigError where the name would lead out of it."""
    if Path(name).name != name or "\\" in name:
        raise ConfigError(f"'{name}' cannot be a file's name", where=str(folder), remedy=f"use {_ALLOWED}")
    return folder / name
