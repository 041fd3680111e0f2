"""The emission sources that accounting knows, from `sources.toml`: what each is called, how it is measured, what is plausible."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files


@dataclass(frozen=True)
class Plausible:
    """What is plausible per sown hectare in `unit`: the median between `low` and `high`, no row above `highest`."""

    unit: str
    low: float
    high: float
    highest: float
    source: str


@dataclass(frozen=True)
class EmissionSource:
    """One emission source: its label by language, the kinds of unit it is measured in, and its plausible use."""

    label: Mapping[str, str]
    kinds: tuple[str, ...]
    per_hectare: tuple[Plausible, ...]


@cache
def emission_sources() -> Mapping[str, EmissionSource]:
    """Read the closed vocabulary: name → emission source, in the order of the file."""
    text = files("evalkit").joinpath("accounting", "sources.toml").read_text(encoding="utf-8")
    return {
        name: EmissionSource(
            entry["label"], tuple(entry["kinds"]), tuple(Plausible(**line) for line in entry["per_hectare"])
        )
        for name, entry in tomllib.loads(text).items()
    }


@cache
def source_labels() -> Mapping[str, Mapping[str, str]]:
    """Return the readers' words for each emission source: name → language → words."""
    return {name: source.label for name, source in emission_sources().items()}
