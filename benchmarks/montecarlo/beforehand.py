"""Shares of rejections that were measured before any of this code was written, and what the same cells give now.

The figures stand as they were handed over, in three digits; each is taken to rest on 2,000 draws. Two shares differ where
Fisher's exact test of the two counts rejects at .001 (a band of 99.9 %).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy import stats

from montecarlo.cells import BAND
from montecarlo.results import Result

DRAWS = 2_000
_METHODS = ("CR1", "CR2", "CV3", "pooled", "WCR", "WCU")
_GRID: dict[tuple[int, int], tuple[float | None, ...]] = {
    (8, 1): (0.412, None, None, 0.052, 0.001, 0.412),
    (8, 7): (0.412, None, None, 0.052, 0.001, 0.412),
    (8, 2): (0.125, 0.011, 0.086, 0.050, 0.030, 0.095),
    (8, 3): (0.071, 0.043, 0.051, 0.052, 0.062, 0.052),
    (8, 4): (0.064, 0.056, 0.048, 0.056, 0.070, 0.058),
    (7, 1): (0.369, None, None, 0.052, 0.001, 0.349),
    (7, 2): (0.108, 0.018, 0.073, 0.053, 0.035, 0.073),
    (10, 5): (0.055, 0.049, 0.044, 0.049, 0.059, 0.049),
    (12, 6): (0.052, 0.049, 0.042, 0.049, 0.046, 0.040),
    (40, 1): (0.744, None, None, 0.049, None, None),
    (40, 2): (0.312, 0.003, 0.183, 0.053, None, None),
}
_CS = "estimator=CallawaySantAnna; "
_OTHERS: dict[tuple[str, str, str], float] = {
    ("cohorts", _CS + "G=18; cohort=2", "influence"): 1 - 0.867,
    ("cohorts", _CS + "G=40; cohort=4", "influence"): 1 - 0.91,
    ("cohorts", _CS + "G=100; cohort=10", "influence"): 1 - 0.936,
    ("alone", "cohorts=five of 1 county", "influence"): 0.49,
    ("alone", "cohorts=one of 5 counties", "influence"): 0.087,
    ("prefectures", "shared=.1", "CR2"): 0.11,
    ("prefectures", "shared=.2", "CR2"): 0.18,
    ("prefectures", "shared=.4", "CR2"): 0.31,
    ("paths", "G=8; treated=4", "CR1 F, q=2"): 0.12,
    ("paths", "G=8; treated=4", "CR1 F, q=4"): 0.34,
    ("paths", "G=18; treated=3", "CR1 F, q=2"): 0.26,
}


def measured_beforehand() -> dict[tuple[str, str, str], float]:
    """Give share of rejections (or misses) by experiment, cell and method."""
    grid = {
        ("grid", f"G={counties}; treated={treated}; ratio=1; errors=normal", method): share
        for (counties, treated), shares in _GRID.items()
        for method, share in zip(_METHODS, shares, strict=True)
        if share is not None
    }
    return grid | _OTHERS


@dataclass(frozen=True)
class Pair:
    """What was measured beforehand, and the result of now."""

    before: float
    now: Result

    @property
    def differs(self) -> bool:
        """Say whether chance explains the two counts badly."""
        then, events = round(self.before * DRAWS), self.now.events
        counts = np.array([[then, DRAWS - then], [events, self.now.judged - events]])
        return bool(stats.fisher_exact(counts).pvalue < 1 - BAND)


def compare(results: Iterable[Result]) -> list[Pair]:
    """Pair every figure with the result of the same cell and method, if it has been measured."""
    known = {(one.experiment, one.cell, one.method): one for one in results}
    return [Pair(share, known[key]) for key, share in measured_beforehand().items() if key in known]
