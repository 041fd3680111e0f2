"""Time TwoWayFE against pyfixest on 1 million rows, balanced and with 3 % of the rows missing, in the same run.

Rows are in memory and sorted, both tools warm, each called at its best; medians over alternating rounds. evalkit's time is
shown for `estimate` on a panel already verified, and with `Panel.from_frame` counted in. Exit status 1 when the two
disagree.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
import pandas as pd
import pyfixest as pf

from evalkit import Design, Panel, estimate
from evalkit.estimators import TwoWayFE
from evalkit.inference import Cluster

ROUNDS, TARGET = 4, 4.0
UNITS, PERIODS, COUNTIES = 100_000, 10, 100
COVARIATES = ("x1", "x2")


def simulate_panel() -> pd.DataFrame:
    """100,000 units in 100 counties over 10 periods, three cohorts and never treated, two covariates (synthetic)."""
    rng = np.random.default_rng(1)
    unit, year = np.repeat(np.arange(UNITS), PERIODS), np.tile(np.arange(2010, 2010 + PERIODS), UNITS)
    county = unit % COUNTIES
    first = np.array([2013.0, 2015.0, 2017.0, np.nan])[county % 4]
    x1, x2 = rng.normal(size=(2, UNITS * PERIODS))
    treated = (year >= first).astype(float)
    noise = (
        rng.normal(size=UNITS)[unit] + rng.normal(size=COUNTIES)[county] * (year > 2014) + rng.normal(size=len(unit))
    )
    y = 0.3 * treated + 0.5 * x1 - 0.2 * x2 + 0.1 * (year - 2010) + noise
    return pd.DataFrame(
        {"unit": unit, "year": year, "county": county, "first": first, "d": treated, "x1": x1, "x2": x2, "y": y}
    )


def measure(calls: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Median seconds of each call. In each round every tool runs three times in a row; the first run is not counted.

    Without it each tool would pay for returning the memory that the other one has just freed.
    """
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, call in calls.items():
            call()
            for _ in range(2):
                start = time.perf_counter()
                call()
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(seconds) for name, seconds in times.items()}


def main() -> int:
    """Run the comparison and print it."""
    whole = simulate_panel()
    thinned = whole[np.random.default_rng(2).random(len(whole)) > 0.03].reset_index(drop=True)
    print(
        f"{'panel':<12}{'covariates':>11}{'pyfixest':>10}{'evalkit':>10}{'ratio':>8}{'+ Panel':>10}{'ratio':>8}   ATT, s.e."
    )
    wrong = False
    for name, frame in (("balanced", whole), ("unbalanced", thinned)):
        for covariates in ((), COVARIATES):
            formula = "y ~ " + "+".join(("d", *covariates)) + " | unit+year"
            design = Design(outcome="y", adoption="first", assigned_at="county", covariates=covariates)
            panel = Panel.from_frame(frame, unit="unit", time="year")

            def peer(formula: str = formula, frame: pd.DataFrame = frame) -> object:
                return pf.feols(formula, frame, vcov={"CRV1": "county"}, copy_data=False, store_data=False)

            def ours(panel: Panel = panel, design: Design = design) -> object:
                return estimate(panel, design, TwoWayFE(), inference=Cluster())

            def ours_from_frame(frame: pd.DataFrame = frame, design: Design = design) -> object:
                return estimate(
                    Panel.from_frame(frame, unit="unit", time="year"), design, TwoWayFE(), inference=Cluster()
                )

            took = measure({"pyfixest": peer, "evalkit": ours, "with Panel": ours_from_frame})
            theirs, mine = peer(), ours()
            agree = (
                abs(theirs.coef()["d"] - mine.params["ATT"]) < 1e-8
                and abs(theirs.se()["d"] / mine.bse["ATT"] - 1) < 1e-6
            )
            ratio = took["pyfixest"] / took["evalkit"]
            wrong |= not agree
            print(
                f"{name:<12}{len(covariates):>11}{took['pyfixest']:>9.3f}s{took['evalkit']:>9.3f}s{ratio:>8.1f}"
                f"{took['with Panel']:>9.3f}s{took['pyfixest'] / took['with Panel']:>8.1f}   "
                f"{mine.params['ATT']:.6f}, {mine.bse['ATT']:.6f}  "
                f"{'reached' if ratio >= TARGET else 'missed'}{'' if agree else '  DISAGREES with pyfixest'}"
            )
    print(f"target: a ratio of at least {TARGET:g} for estimate() on a verified panel")
    return int(wrong)


if __name__ == "__main__":
    sys.exit(main())
