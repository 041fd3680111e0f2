"""The vocabulary of farm accounts: what is counted, by which process it emits, and what is plausible of it."""

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
class Usual:
    """Between which values, in `unit`, the factor of an emission source usually lies, and who says so."""

    unit: str
    low: float
    high: float
    source: str


@dataclass(frozen=True)
class Activity:
    """What is counted: its label by language, the kinds of unit that it is measured in, and how it relates to others.

    `process` is the one by which the bare name emits. `contains` are activities that are part of it, `overlaps` those whose
    emissions its factor holds as well, `beside` those without which it is only part of what it seems. `words` are how headers
    call it.
    """

    label: Mapping[str, str]
    group: str
    process: str
    kinds: tuple[str, ...]
    contains: tuple[str, ...] = ()
    overlaps: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    doubted_by: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    per_hectare: tuple[Plausible, ...] = ()


@dataclass(frozen=True)
class _Vocabulary:
    groups: Mapping[str, Mapping[str, str]]
    processes: Mapping[str, Mapping[str, str]]
    activities: Mapping[str, Activity]
    usual: Mapping[str, Usual]


@cache
def vocabulary() -> _Vocabulary:
    """Read `emission_sources.toml`; everything in the order of the file."""
    text = files("evalkit").joinpath("accounting", "emission_sources.toml").read_text(encoding="utf-8")
    content = tomllib.loads(text)
    return _Vocabulary(
        content["groups"],
        content["processes"],
        {name: _activity(entry) for name, entry in content["activities"].items()},
        {name: Usual(**entry) for name, entry in content["usual"].items()},
    )


def split_source(name: str) -> tuple[str, str] | None:
    """Split the name of an emission source into activity and process; None where it is no name of the vocabulary."""
    known = vocabulary()
    if name in known.activities:
        return name, known.activities[name].process
    for process in known.processes:
        activity = name.removesuffix(f"_{process}")
        if activity != name and activity in known.activities:
            return activity, process
    return None


def usual_of(activity: str, process: str) -> Usual | None:
    """Return the usual range of the factors of an activity by a process; None where none is at hand."""
    known = vocabulary()
    return known.usual.get(activity) if known.activities[activity].process == process else None


def label_of(activity: str, process: str) -> Mapping[str, str]:
    """Return readers' words for an emission source of the vocabulary: language → words."""
    known = vocabulary()
    label = known.activities[activity].label
    if known.activities[activity].process == process:
        return label
    return {
        language: f"{words}（{known.processes[process][language]}）"
        if language == "zh"
        else f"{words} ({known.processes[process][language]})"
        for language, words in label.items()
    }


def count_the_same(one: str, other: str) -> bool:
    """Tell whether two activities of the vocabulary are the same, one is part of the other, or they share a part."""
    return not _parts(one).isdisjoint(_parts(other))


def holds_emissions_of(one: str, other: str) -> bool:
    """Tell whether the factor of an activity usually holds the emissions of another as well."""
    known = vocabulary().activities
    return one in known and other in known[one].overlaps


def _parts(activity: str) -> set[str]:
    """Return the smallest activities that an activity consists of; itself where it has no parts."""
    known = vocabulary().activities.get(activity)
    return {activity} if known is None or not known.contains else set().union(*map(_parts, known.contains))


def _activity(entry: Mapping[str, object]) -> Activity:
    given = {name: tuple(value) if isinstance(value, list) else value for name, value in entry.items()}
    given["per_hectare"] = tuple(Plausible(**line) for line in entry.get("per_hectare", ()))  # type: ignore[attr-defined]
    return Activity(**given)  # type: ignore[arg-type]
