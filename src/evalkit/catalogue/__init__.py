"""Every sentence, heading and label that a reader sees, in English and Chinese: one file of words per family, read here."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal, get_args

from evalkit.errors import ConfigError, nearest

Language = Literal["en", "zh"]
LANGUAGES: tuple[Language, ...] = get_args(Language)
_LONGEST = 400  # characters of a sentence in a repr


@cache
def entries() -> Mapping[str, Mapping[str, str]]:
    """Read the catalogue, all files of words together: key → language → text with {placeholders}."""
    found: dict[str, Mapping[str, str]] = {}
    for family in sorted(words_by_family()):
        found |= words_by_family()[family]
    return found


@cache
def words_by_family() -> Mapping[str, Mapping[str, Mapping[str, str]]]:
    """Read each file of words: family → key → language → text."""
    return {
        file.name.removesuffix(".toml"): tomllib.loads(file.read_text(encoding="utf-8"))
        for file in files("evalkit.catalogue").iterdir()
        if file.name.endswith(".toml")
    }


def checked_language(language: str) -> Language:
    """Return the language if the catalogue has it; raise ConfigError otherwise."""
    for known in LANGUAGES:
        if language == known:
            return known
    raise ConfigError(f"language '{language}' is unknown", where="language", remedy=nearest(language, LANGUAGES))


Labels = Mapping[str, Mapping[str, str]]


def say(key: str, language: str = "en", labels: Labels | None = None, /, **values: object) -> str:
    """Fill one entry of the catalogue. A value that is itself a Message is said in the same language.

    `labels` gives columns (and other names of the study) their readers' words: name → language → words.
    """
    chosen = checked_language(language)
    filled = {name: _in_words(value, chosen, labels or {}) for name, value in values.items()}
    return entries()[key][chosen].format(**filled)


def _in_words(value: object, language: Language, labels: Labels) -> object:
    if isinstance(value, Message):
        return value.text(language, labels)
    return labels.get(value, {}).get(language, value) if isinstance(value, str) else value


@dataclass(frozen=True)
class Message:
    """A sentence of the catalogue with its values, not yet in any language."""

    key: str
    values: tuple[tuple[str, object], ...] = ()

    def text(self, language: str = "en", labels: Labels | None = None) -> str:
        """Say it in English ("en") or Chinese ("zh"), with the study's labels for its columns."""
        return say(self.key, language, labels, **dict(self.values))

    def __str__(self) -> str:
        return self.text("en")

    def __repr__(self) -> str:
        said = str(self)
        return f"Message({self.key}: {said if len(said) <= _LONGEST else said[:_LONGEST] + '…'})"


def message(key: str, **values: object) -> Message:
    """Make a Message; the key must stand in the catalogue."""
    if key not in entries():
        raise KeyError(f"the catalogue has no entry {key!r}")
    return Message(key, tuple(sorted(values.items())))
