"""What is measured: cells, the outcomes of their draws, and the tally of these."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal, NamedTuple, Protocol
from zlib import crc32

import numpy as np
from scipy import stats

SEED = 20261121
NOMINAL = 0.05
BAND = 0.999
Measure = Literal["rejects", "misses"]


class Outcome(NamedTuple):
    """What one method said of one draw: whether it rejected the true null, or its interval missed the truth.

    `event` is None where the method refuses, and `why` says so; `supported` is False where it calls itself unsupported.
    """

    event: bool | None
    supported: bool = True
    why: str = ""
    measure: Measure = "rejects"


Trial = Callable[[np.random.Generator, int], dict[str, Outcome]]


class AtOnce(Protocol):
    """Draws that are made together, by matrices."""

    def tally(self, rng: np.random.Generator, draws: int) -> Tallies:
        """Tally so many draws."""
        ...


@dataclass(frozen=True)
class Cell:
    """One world: its settings, which the table shows, and how often it is drawn."""

    experiment: str
    settings: tuple[tuple[str, str], ...]
    draws: int

    @property
    def label(self) -> str:
        return "; ".join(f"{name}={value}" for name, value in self.settings)

    def __getitem__(self, name: str) -> str:
        return dict(self.settings)[name]

    def generator(self, i: int) -> np.random.Generator:
        """Draw number i has a generator of its own, so that neither the number of draws nor their division changes it."""
        name = f"{self.experiment}: {self.label}".encode()
        return np.random.default_rng(np.random.SeedSequence([SEED, crc32(name), i]))


def cell(experiment: str, draws: int, **settings: object) -> Cell:
    """Make a cell; settings are shown as they are written."""
    return Cell(experiment, tuple((name, str(value)) for name, value in settings.items()), draws)


@dataclass(frozen=True)
class Experiment:
    """Cells, and how a cell is made ready to be drawn (the panel once, not in every draw)."""

    name: str
    cells: tuple[Cell, ...]
    prepare: Callable[[Cell], Trial | AtOnce]


@dataclass
class Tally:
    """How one method fared: draws it was asked about, those it judged, rejections (or misses), and those it called supported."""

    measure: Measure = "rejects"
    asked: int = 0
    judged: int = 0
    events: int = 0
    supported: int = 0
    why: str = ""

    def add(self, one: Outcome) -> None:
        """Count one draw."""
        self.measure, self.why = one.measure, self.why or one.why
        self.asked += 1
        if one.event is not None:
            self.judged += 1
            self.events += one.event
            self.supported += one.supported

    def join(self, other: Tally) -> None:
        """Add the draws of another part of the cell, whose order does not matter."""
        self.measure, self.why = other.measure, min(filter(None, (self.why, other.why)), default="")
        for name in ("asked", "judged", "events", "supported"):
            setattr(self, name, getattr(self, name) + getattr(other, name))


@dataclass
class Tallies:
    """The tallies of one cell by method, in the order in which the methods were asked."""

    by_method: dict[str, Tally] = field(default_factory=dict)

    def add(self, outcomes: Mapping[str, Outcome]) -> None:
        """Count one draw."""
        for method, one in outcomes.items():
            self.by_method.setdefault(method, Tally()).add(one)

    def join(self, other: Tallies) -> None:
        """Add another part of the cell."""
        for method, tally in other.by_method.items():
            self.by_method.setdefault(method, Tally()).join(tally)


def draw(one: Cell, trial: Trial | AtOnce, first: int, last: int) -> Tallies:
    """Tally the draws first … last - 1 of a cell; those made together share the generator of the first."""
    if not callable(trial):
        return trial.tally(one.generator(first), last - first)
    found = Tallies()
    for i in range(first, last):
        found.add(trial(one.generator(i), i))
    return found


@lru_cache
def band(draws: int) -> tuple[float, float]:
    """Shares of rejections between which a test of size 5 % stays in 99.9 % of runs with so many draws (exact binomial)."""
    low, high = (float(stats.binom.ppf(share, draws, NOMINAL)) / draws for share in ((1 - BAND) / 2, (1 + BAND) / 2))
    return low, high


def verdict(events: int, draws: int) -> str:
    """Say whether a count lies "inside" the band of the nominal size, "above" or "below" it."""
    low, high = band(draws)
    rate = events / draws
    return "above" if rate > high else "below" if rate < low else "inside"
