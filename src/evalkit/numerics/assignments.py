"""All the ways in which cohorts could have been assigned to clusters."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

import numpy as np
from scipy.special import gammaln

from evalkit.columns import Floats, Ints

MAX_ENUMERATED = 10_000
_EXACT = 1000  # clusters up to which counts are exact integers


def count_assignments(cohort: Ints, strata: Ints | None = None) -> int:
    """Count the distinct assignments that keep how many clusters (G,) are in each cohort: a multinomial coefficient.

    With strata (G,) the numbers are kept in each stratum, and the counts of all strata multiply.
    """
    return math.prod(
        math.factorial(int(sizes.sum())) // math.prod(math.factorial(int(size)) for size in sizes)
        for sizes in _sizes(cohort, strata)
    )


def log10_assignments(cohort: Ints, strata: Ints | None = None) -> float:
    """Return the decimal logarithm of their count, which can have thousands of digits."""
    if len(cohort) <= _EXACT:
        return math.log10(count_assignments(cohort, strata))
    logs = (gammaln(sizes.sum() + 1) - gammaln(sizes + 1).sum() for sizes in _sizes(cohort, strata))
    return float(sum(logs) / math.log(10))


@dataclass(frozen=True)
class Assignments:
    """The assignments (G,) to go through: all of them while there are at most 10,000, else `draws` random ones by `seed`.

    Both are needed where `enumerated` and `drawn` would otherwise both be False.
    """

    cohort: Ints
    strata: Ints | None
    draws: int | None
    seed: int | None

    @cached_property
    def log10(self) -> float:
        """Decimal logarithm of how many there are in all."""
        return log10_assignments(self.cohort, self.strata)

    @property
    def enumerated(self) -> bool:
        return self.log10 <= math.log10(MAX_ENUMERATED) + 1e-12

    @property
    def drawn(self) -> bool:
        return not self.enumerated and self.draws is not None and self.seed is not None

    def __len__(self) -> int:
        return count_assignments(self.cohort, self.strata) if self.enumerated else int(self.draws or 0)

    def __iter__(self) -> Iterator[Ints]:
        if self.enumerated:
            return enumerate_assignments(self.cohort, self.strata)
        return draw_assignments(self.cohort, int(self.draws or 0), int(self.seed or 0), self.strata)


def enumerate_assignments(cohort: Ints, strata: Ints | None = None) -> Iterator[Ints]:
    """Yield every distinct assignment (G,) of the cohort codes (G,) to clusters, the given one among them."""
    groups = _groups(cohort, strata)

    def fill(whole: Ints, stratum: int) -> Iterator[Ints]:
        if stratum == len(groups):
            yield whole.copy()
            return
        for part in _arrangements(cohort[groups[stratum]]):
            whole[groups[stratum]] = part
            yield from fill(whole, stratum + 1)

    yield from fill(np.zeros(len(cohort), dtype=np.int64), 0)


def draw_assignments(cohort: Ints, draws: int, seed: int, strata: Ints | None = None) -> Iterator[Ints]:
    """Yield `draws` random permutations of the cohort codes (G,), within strata where these are given."""
    generator = np.random.default_rng(np.random.SeedSequence([seed, 0x61737367]))  # "assg"
    groups = _groups(cohort, strata)
    for _ in range(draws):
        drawn = np.empty_like(cohort)
        for group in groups:
            drawn[group] = generator.permutation(cohort[group])
        yield drawn


def _groups(cohort: Ints, strata: Ints | None) -> list[Ints]:
    """Positions of the clusters of each stratum."""
    if strata is None:
        return [np.arange(len(cohort))]
    return [np.flatnonzero(strata == stratum) for stratum in np.unique(strata)]


def _sizes(cohort: Ints, strata: Ints | None) -> Iterator[Floats]:
    """How many clusters are in each cohort, stratum by stratum."""
    for group in _groups(cohort, strata):
        yield np.unique(cohort[group], return_counts=True)[1].astype(np.float64)


def _arrangements(cohort: Ints) -> Iterator[Ints]:
    """Yield every distinct order of the codes (g,)."""
    labels, sizes = np.unique(cohort, return_counts=True)

    def fill(partial: Ints, free: tuple[int, ...], level: int) -> Iterator[Ints]:
        if level == len(labels) - 1:
            whole = partial.copy()
            whole[list(free)] = labels[level]
            yield whole
            return
        for chosen in combinations(free, int(sizes[level])):
            extended = partial.copy()
            extended[list(chosen)] = labels[level]
            taken = set(chosen)
            yield from fill(extended, tuple(i for i in free if i not in taken), level + 1)

    yield from fill(np.zeros(len(cohort), dtype=np.int64), tuple(range(len(cohort))), 0)
