"""The panels that the benchmarks run on, and how they take times and memory."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

UNITS, PERIODS, COUNTIES = 100_000, 10, 100


def simulate_panel(units: int = UNITS, periods: int = PERIODS) -> pd.DataFrame:
    """Units in 100 counties over 10 periods, three cohorts and never treated, two covariates (synthetic)."""
    rng = np.random.default_rng(1)
    unit, year = np.repeat(np.arange(units), periods), np.tile(np.arange(2010, 2010 + periods), units)
    county = unit % COUNTIES
    first = np.array([2013.0, 2015.0, 2017.0, np.nan])[county % 4]
    x1, x2 = rng.normal(size=(2, units * periods))
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


def with_codes(frame: pd.DataFrame) -> pd.DataFrame:
    """Add what peers ask for: the cohort as an integer, 0 for never treated, and event time, -1 (the base) for these."""
    event_time = (frame["year"] - frame["first"]).fillna(-1).astype(int)
    return frame.assign(cohort=frame["first"].fillna(0).astype(int), rel=event_time)


def read_columns(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """Read columns of a Parquet file one after the other, so that reading holds little more than the frame itself."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    read = {}
    for name in columns:
        read[name] = pq.read_table(path, columns=[name]).column(0).to_numpy()
        pa.default_memory_pool().release_unused()
    return pd.DataFrame(read, copy=False)


def measure(calls: dict[str, Callable[[], object]], rounds: int = 4, repeats: int = 2) -> dict[str, float]:
    """Median seconds of each call. In each round every tool runs several times in a row; the first run is not counted.

    Without it each tool would pay for returning the memory that the other one has just freed.
    """
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            call()
            times[name] += [once(call) for _ in range(repeats)]
    return {name: statistics.median(seconds) for name, seconds in times.items()}


def once(call: Callable[[], object]) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def peak_memory() -> float:
    """Peak memory of this process in GB; nan on Windows, which does not tell it."""
    if sys.platform == "win32":
        return float("nan")
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e9 if sys.platform == "darwin" else 1e9 / 2**10)
