"""Every sentence, heading and label that a reader sees, in English and Chinese, from one file (`catalogue.toml`)."""

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


@cache
def entries() -> Mapping[str, Mapping[str, str]]:
    """Read the catalogue: key → language → text with {placeholders}."""
    return tomllib.loads(files("evalkit").joinpath("catalogue.toml").read_text(encoding="utf-8"))


def checked_language(language: str) -> Language:
    """Return the language if the catalogue has it; raise ConfigError otherwise."""
    for known in LANGUAGES:
        if language == known:
            return known
    raise ConfigError(f"language '{language}' is unknown", where="language", remedy=nearest(language, LANGUAGES))


def say(key: str, language: str = "en", **values: object) -> str:
    """Fill one entry of the catalogue; a value that is itself a Message is said in the same language."""
    chosen = checked_language(language)
    filled = {name: value.text(chosen) if isinstance(value, Message) else value for name, value in values.items()}
    return entries()[key][chosen].format(**filled)


@dataclass(frozen=True)
class Message:
    """A sentence of the catalogue with its values, not yet in any language."""

    key: str
    values: tuple[tuple[str, object], ...] = ()

    def text(self, language: str = "en") -> str:
        """Say it in English ("en") or Chinese ("zh")."""
        return say(self.key, language, **dict(self.values))

    def __str__(self) -> str:
        return self.text("en")


def message(key: str, **values: object) -> Message:
    """Make a Message; the key must stand in the catalogue."""
    if key not in entries():
        raise KeyError(f"the catalogue has no entry {key!r}")
    return Message(key, tuple(sorted(values.items())))
