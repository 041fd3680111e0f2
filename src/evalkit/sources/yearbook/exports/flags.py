"""The flags that statistical offices set beside numbers, and the marks that they become."""

from __future__ import annotations

from collections.abc import Mapping

EUROSTAT: Mapping[str, str] = {
    "b": "break",
    "c": "suppressed",
    "d": "definition",
    "e": "estimated",
    "f": "forecast",
    "i": "see_metadata",
    "n": "not_significant",
    "p": "provisional",
    "r": "revised",
    "s": "eurostat_estimate",
    "u": "low_reliability",
    "z": "not_applicable",
}
"""Eurostat, "Statistical symbols, abbreviations and units of measurement": flags in small letters, several in a row."""

SDMX: Mapping[str, str] = {
    "A": "",
    "B": "break",
    "D": "definition",
    "E": "estimated",
    "F": "forecast",
    "G": "experimental",
    "I": "imputed",
    "K": "in_another_category",
    "L": "missing",
    "M": "missing",
    "N": "not_significant",
    "O": "missing",
    "P": "provisional",
    "Q": "suppressed",
    "S": "strike",
    "T": "unofficial",
    "U": "low_reliability",
    "V": "unvalidated",
    "W": "in_another_category",
    "X": "international_organisation",
}
"""SDMX code list CL_OBS_STATUS 2.2, of which FAOSTAT uses A, E, I, M, T and X; A is an official or normal value."""


def name_flags(said: str) -> tuple[str, ...] | None:
    """Return the marks of flags such as "b", "bu", "b u", "E" or "E,P"; None for one that is not known."""
    words = said.replace(",", " ").replace(";", " ").split()
    if all(word in SDMX for word in words):
        return tuple(SDMX[word] for word in words if SDMX[word])
    letters = "".join(words)
    return tuple(EUROSTAT[letter] for letter in letters) if all(letter in EUROSTAT for letter in letters) else None


def mark_without_number(flags: tuple[str, ...]) -> str:
    """Return the mark of a cell that holds flags and no number: suppressed, none (not applicable) or missing."""
    if "suppressed" in flags:
        return "suppressed"
    return "none" if "not_applicable" in flags else "missing"
