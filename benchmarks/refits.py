"""Measure what one more estimate takes, under another assignment of adoption, and compare with what is foretold of it.

The constants of `evalkit/reassignment/cost.py` are fitted by eye to this table: the least seconds of processor of several
estimates, on one thread. A ratio above 1 says that the estimate is quicker than foretold. Panels: counties × periods × farms
in each, dates of adoption, treated counties.
"""

from __future__ import annotations

import time
from itertools import islice
from typing import Any

import numpy as np
import pandas as pd

from evalkit import Design, EvalkitError, Panel, Specification
from evalkit.designs.sample import draw_sample
from evalkit.estimators import (
    CallawaySantAnna,
    EventStudy,
    ExtendedTWFE,
    Imputation,
    Split,
    Stacked,
    SunAbraham,
    SyntheticControl,
    SyntheticDID,
    TwoStage,
    TwoWayFE,
)
from evalkit.inference import Cluster
from evalkit.reassignment.assignments import find_lottery
from evalkit.reassignment.cost import foretell_estimate

REPETITIONS = 12
PANELS = (
    (10, 5, 1, 1, 3),
    (10, 5, 1, 3, 5),
    (20, 8, 1, 2, 4),
    (20, 12, 1, 5, 10),
    (60, 10, 1, 1, 3),
    (150, 10, 1, 3, 30),
    (12, 5, 4, 3, 5),
    (20, 8, 25, 2, 4),
    (20, 8, 250, 2, 4),
)
PLAIN: dict[str, Any] = {
    "TwoWayFE": TwoWayFE(),
    "EventStudy": EventStudy(leads=2, lags=2),
    "CallawaySantAnna": CallawaySantAnna(),
    "SunAbraham": SunAbraham(),
    "Imputation": Imputation(),
    "TwoStage": TwoStage(),
    "Stacked": Stacked(leads=1, lags=1),
    "ExtendedTWFE": ExtendedTWFE(),
    "ExtendedTWFE poisson": ExtendedTWFE(family="poisson"),
    "SyntheticDID": SyntheticDID(),
    "SyntheticControl": SyntheticControl(),
    "Split of TwoWayFE": Split(by="large", estimator=TwoWayFE()),
    "Split of CallawaySantAnna": Split(by="large", estimator=CallawaySantAnna()),
}
WITH_COVARIATES = ("TwoWayFE", "CallawaySantAnna", "Imputation", "ExtendedTWFE", "ExtendedTWFE poisson")
ONLY_COLLAPSED = 10_000  # rows from which synthetic controls are not timed


def simulate(counties: int, periods: int, farms: int, dates: int, treated: int) -> Panel:
    """Draw a panel (synthetic)."""
    rng = np.random.default_rng(0)
    farm, year = (
        np.repeat(np.arange(counties * farms), periods),
        np.tile(np.arange(2010, 2010 + periods), counties * farms),
    )
    first = np.full(counties, np.nan)
    first[:treated] = 2010 + periods // 2 + np.arange(treated) % dates
    y = rng.normal(size=counties * farms)[farm] + rng.normal(size=len(farm)) + 8
    z = rng.normal(size=counties * farms)[farm]
    columns = {"farm": farm, "year": year, "county": farm // farms, "first": first[farm // farms], "y": y, "z": z}
    return Panel.from_frame(pd.DataFrame(columns | {"large": farm % 2}), unit="farm", time="year")


def measure(panel: Panel, estimator: Any, covariates: tuple[str, ...]) -> tuple[float, float]:
    """Seconds of processor of one estimate anew, and those foretold."""
    design = Design(outcome="y", adoption="first", assigned_at="county", covariates=covariates)
    spec = Specification(panel, design, estimator, Cluster())
    lottery = find_lottery(spec, draw_sample(panel, design), by="refits", draws=999, seed=1)
    fit, least = estimator.fit(panel, design), np.inf
    for one in islice(lottery.others(), REPETITIONS):
        start = time.process_time()
        moved = lottery.specify(spec, one)
        moved.estimator.fit(moved.panel, moved.design)
        least = min(least, time.process_time() - start)
    return least, foretell_estimate(fit, spec)


def main() -> None:
    """Print the table."""
    ratios = []
    for size in PANELS:
        panel = simulate(*size)
        print(f"\n{' x '.join(map(str, size))}: {len(panel):,} rows")
        for name, estimator in PLAIN.items():
            for covariates in ((), ("z",)) if name in WITH_COVARIATES else ((),):
                if name.startswith("Synthetic") and len(panel) > ONLY_COLLAPSED:
                    continue
                try:
                    found, foretold = measure(panel, estimator, covariates)
                except EvalkitError as error:
                    print(f"  {name:28} {error.what[:80]}")
                    continue
                ratios.append(foretold / found)
                label = name + (" with z" if covariates else "")
                print(f"  {label:28} {1e3 * found:8.1f} ms, foretold {1e3 * foretold:8.1f} ms: {ratios[-1]:.1f}")
    within = np.mean((np.array(ratios) >= 0.5) & (np.array(ratios) <= 2.0))
    print(f"\nforetold within half and twice of {100 * within:.0f} % of {len(ratios)}")


if __name__ == "__main__":
    main()
