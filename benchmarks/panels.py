"""The panel that the benchmarks run on, and how they take times."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np
import pandas as pd

UNITS, PERIODS, COUNTIES = 100_000, 10, 100


def simulate_panel(units: int = UNITS) -> pd.DataFrame:
    """Units in 100 counties over 10 periods, three cohorts and never treated, two covariates (synthetic)."""
    rng = np.random.default_rng(1)
    unit, year = np.repeat(np.arange(units), PERIODS), np.tile(np.arange(2010, 2010 + PERIODS), units)
    county = unit % COUNTIES
    first = np.array([2013.0, 2015.0, 2017.0, np.nan])[county % 4]
    x1, x2 = rng.normal(size=(2, units * PERIODS))
    treated = (year >= first).astype(float)
    noise = (
        rng.normal(size=units)[unit] + rng.normal(size=COUNTIES)[county] * (year > 2014) + rng.normal(size=len(unit))
    )
    y = 0.3 * treated + 0.5 * x1 - 0.2 * x2 + 0.1 * (year - 2010) + noise
    return pd.DataFrame(
        {"unit": unit, "year": year, "county": county, "first": first, "d": treated, "x1": x1, "x2": x2, "y": y}
    )


def thin(frame: pd.DataFrame) -> pd.DataFrame:
    """Leave out 3 % of the rows at random."""
    return frame[np.random.default_rng(2).random(len(frame)) > 0.03].reset_index(drop=True)


def measure(calls: dict[str, Callable[[], object]], rounds: int = 4, repeats: int = 2) -> dict[str, float]:
    """Median seconds of each call. In each round every tool runs several times in a row; the first run is not counted.

    Without it each tool would pay for returning the memory that the other one has just freed.
    """
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            call()
            for _ in range(repeats):
                start = time.perf_counter()
                call()
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(seconds) for name, seconds in times.items()}
