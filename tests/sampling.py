"""How much of a grid a run goes through: a covering sample, or with --exhaustive (make test-all) everything.

What the sample leaves out is deselected by name, so that the run says how many; fuzz tests try fewer examples.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import settings

exhaustive = False  # set by conftest.py, before any test file is read


def inputs(few: int, many: int, **options: Any) -> settings:
    """Settings of a fuzz test: `few` inputs by default, `many` in make test-all."""
    return settings(max_examples=many if exhaustive else few, deadline=None, **options)


def cover(grid: Iterable[Any], name: str, costly: Callable[..., bool] = lambda *values: False) -> list[Any]:
    """Mark what a small sample of the grid leaves out, which has every value of every axis at least once.

    `name` shuffles the grid, so that other tests come upon other combinations. What is costly comes in last.
    """
    points = [point if hasattr(point, "values") else pytest.param(*point) for point in grid]
    shuffled = random.Random(name).sample(range(len(points)), len(points))
    kept: set[int] = set()
    seen: set[tuple[int, Any]] = set()
    for late in (False, True):
        for wanted in range(len(points[0].values), 0, -1):  # what brings most that is new comes first
            for place in shuffled:
                new = set(enumerate(points[place].values)) - seen
                if len(new) >= wanted and costly(*points[place].values) == late:
                    kept.add(place)
                    seen |= new
    return [
        point
        if place in kept
        else pytest.param(*point.values, id=point.id, marks=[*point.marks, pytest.mark.exhaustive])
        for place, point in enumerate(points)
    ]
