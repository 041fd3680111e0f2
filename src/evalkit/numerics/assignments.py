"""All the ways in which cohorts could have been assigned to clusters."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from math import factorial, prod

import numpy as np

from evalkit.columns import Ints


def count_assignments(cohort: Ints) -> int:
    """Count the distinct assignments that keep how many clusters (G,) are in each cohort: a multinomial coefficient."""
    _, sizes = np.unique(cohort, return_counts=True)
    return factorial(len(cohort)) // prod(factorial(int(size)) for size in sizes)


def enumerate_assignments(cohort: Ints) -> Iterator[Ints]:
    """Yield every distinct assignment (G,) of the cohort codes (G,) to clusters, the given one among them."""
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


def draw_assignments(cohort: Ints, draws: int, seed: int) -> Iterator[Ints]:
    """Yield `draws` random permutations of the cohort codes (G,)."""
    generator = np.random.default_rng(np.random.SeedSequence([seed, 0x61737367]))  # "assg"
    for _ in range(draws):
        yield generator.permutation(cohort)
