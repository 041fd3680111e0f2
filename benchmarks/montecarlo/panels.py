"""The panels that are drawn on: laid out once for a cell, their outcome replaced in every draw."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from evalkit import Panel

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]


def lay_out(first: Floats, *, periods: int, units: int = 1, columns: Mapping[str, Floats] | None = None) -> Panel:
    """Make a balanced panel of counties with first treated periods (G,), NaN = never, and as many units in each.

    Columns unit, county, period, first and outcome (0), and those given for each county (G,). Rows are sorted by unit and
    period, so that an outcome (G, units, periods) is given by its `.ravel()`.
    """
    counties = len(first)
    county = np.repeat(np.arange(counties), units * periods)
    frame = pd.DataFrame(
        {
            "unit": np.repeat(np.arange(counties * units), periods),
            "county": county,
            "period": np.tile(np.arange(periods), counties * units),
            "first": first[county],
            "outcome": 0.0,
            **{name: values[county] for name, values in (columns or {}).items()},
        }
    )
    return Panel.from_frame(frame, unit="unit", time="period")


def adopting(counties: int, treated: int, when: int = 1) -> Floats:
    """First treated period (G,): the first counties adopt at once, the others never."""
    return np.where(np.arange(counties) < treated, float(when), np.nan)


def after(shocks: Floats) -> Floats:
    """Outcome of two periods for what units (…) have drawn: 0 before and the draw after, so that differences are the draws."""
    return np.stack([np.zeros_like(shocks), shocks], axis=-1).ravel()
