"""Time 1,000 permutations of a two-way effect at 100,000 rows against pyfixest's `ritest`, in the same run.

10,000 units in 200 counties over 10 periods, three cohorts and never treated. evalkit permutes the dates of adoption over
counties and studentises. `ritest` cannot: it draws a treatment anew, with replacement, constant within its clusters, and one
that is constant within counties is absorbed; drawn by county and year it makes a regression with clustered errors for each
repetition, too. Its draws take long, so that bare calls of `feols` say what these regressions alone take. pyfixest's times are
extrapolated from a few repetitions. Medians; exit status 1 when the two disagree on the effect or its standard error.

The check PlaceboAssignment goes through the same assignments as the inference, and is timed against it in the same run, each with
its estimate counted in: here, and where 1,140 assignments of 28,800 rows are enumerated.
"""

from __future__ import annotations

import io
import statistics
import sys
import warnings
from collections.abc import Callable
from contextlib import redirect_stderr

import numpy as np
import pandas as pd
import pyfixest as pf
from panels import once

from evalkit import Design, Estimate, Panel, check, estimate
from evalkit.checks import PlaceboAssignment
from evalkit.estimators import EventStudy, TwoWayFE
from evalkit.inference import Cluster, Permutation

UNITS, PERIODS, COUNTIES = 10_000, 10, 200
PERMUTATIONS, REPETITIONS, ROUNDS = 1_000, 4, 3
TARGET, CHECK_TARGET = 100.0, 1.5


def simulate() -> pd.DataFrame:
    """Draw the panel (synthetic)."""
    rng = np.random.default_rng(1)
    unit, year = np.repeat(np.arange(UNITS), PERIODS), np.tile(np.arange(2010, 2010 + PERIODS), UNITS)
    county = unit % COUNTIES
    first = np.array([2013.0, 2015.0, 2017.0, np.nan])[county % 4]
    shock = rng.normal(size=(COUNTIES, PERIODS))[county, year - 2010]
    y = 0.1 * (year >= first) + rng.normal(size=UNITS)[unit] + shock + rng.normal(size=len(unit))
    frame = pd.DataFrame({"unit": unit, "year": year, "county": county, "first": first, "y": y})
    return frame.assign(d=(year >= first).astype(float), cell=county * PERIODS + year - 2010)


def simulate_few() -> pd.DataFrame:
    """Draw 3,600 farms in 20 counties over 8 years, of which 3 counties adopt at once (synthetic)."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"unit": np.repeat(np.arange(3600), 8), "year": np.tile(np.arange(2010, 2018), 3600)})
    frame["county"] = frame["unit"] % 20
    frame["first"] = np.where(frame["county"] < 3, 2014.0, np.nan)
    return frame.assign(y=rng.normal(size=len(frame)))


def take(call: Callable[[], object], per: float = 1.0) -> float:
    """Median seconds of a call over the rounds after the first, times `per`."""
    return per * statistics.median([once(call) for _ in range(ROUNDS + 1)][1:])


def main() -> int:
    """Run the comparison and print it."""
    warnings.simplefilter("ignore")  # pyfixest calls pandas in ways that pandas 3 deprecates
    frame = simulate()
    panel = Panel.from_frame(frame, unit="unit", time="year")
    design = Design(outcome="y", adoption="first", assigned_at="county")
    many = Permutation(draws=PERMUTATIONS, seed=1)

    def feols() -> pf.estimation.Feols:
        ssc = pf.ssc(k_adj=False, G_adj=False)
        return pf.feols(
            "y ~ d | unit + year", frame, vcov={"CRV1": "county"}, ssc=ssc, copy_data=False, store_data=False
        )

    def ritest(kind: str) -> Callable[[], object]:
        fit = pf.feols("y ~ d | unit + year", frame, vcov={"CRV1": "cell"})

        def call() -> object:
            with redirect_stderr(io.StringIO()):  # its progress bar
                return fit.ritest("d", cluster="cell", reps=REPETITIONS, type=kind, rng=np.random.default_rng(1))

        return call

    def judged(one: Estimate) -> Callable[[], object]:
        return lambda: one.under(many).tidy()

    def ranked(panel: Panel, inference: Permutation) -> Callable[[], object]:
        return lambda: estimate(panel, design, TwoWayFE(), inference=inference).pvalues

    def checked(panel: Panel, one: PlaceboAssignment) -> Callable[[], object]:
        return lambda: check(estimate(panel, design, TwoWayFE(), inference=Cluster()), one)

    ours, path = (estimate(panel, design, e, inference=Cluster()) for e in (TwoWayFE(), EventStudy(leads=4, lags=4)))
    per = PERMUTATIONS / REPETITIONS
    took = {
        "evalkit": take(judged(ours)),
        "evalkit, the estimate counted in": take(lambda: estimate(panel, design, TwoWayFE(), inference=many).tidy()),
        "evalkit, an event study of 8 terms": take(judged(path)),
        "pyfixest ritest, t": take(ritest("randomization-t"), per),
        "pyfixest ritest, coefficient": take(ritest("randomization-c"), per),
        "pyfixest feols alone": take(feols, PERMUTATIONS),
    }
    print(f"{PERMUTATIONS} permutations, {len(frame):,} rows, {COUNTIES} counties; medians of {ROUNDS} rounds")
    print(f"pyfixest's are {per:g} times those of {REPETITIONS} repetitions, or {PERMUTATIONS} times one call\n")
    for name, seconds in took.items():
        print(f"{name:<38}{seconds:>9.2f} s{seconds / took['evalkit']:>9.1f}")
    theirs, one = feols(), ours.under(many)
    agree = abs(theirs.coef()["d"] - one.params["ATT"]) < 1e-8 and abs(theirs.se()["d"] / one.bse["ATT"] - 1) < 1e-6
    row = one.tidy().iloc[0]
    few = Panel.from_frame(simulate_few(), unit="unit", time="year")
    ratios = {
        f"{PERMUTATIONS} random assignments": take(checked(panel, PlaceboAssignment(draws=PERMUTATIONS, seed=1)))
        / take(ranked(panel, many)),
        "1,140 assignments of 28,800 rows": take(checked(few, PlaceboAssignment())) / take(ranked(few, Permutation())),
    }
    ratio = took["pyfixest ritest, t"] / took["evalkit"]
    print(
        f"\nATT {row['estimate']:.6f}, s.e. {row['std_error']:.6f}, p = {row['p_value']:.4f}, [{row['conf_low']:.4f}, "
        f"{row['conf_high']:.4f}]{'' if agree else '  DISAGREES with pyfixest'}"
    )
    print(f"ritest, t / evalkit: {ratio:.0f}; target at least {TARGET:g}: {'reached' if ratio >= TARGET else 'missed'}")
    for name, found in ratios.items():
        reached = "reached" if found <= CHECK_TARGET else "missed"
        print(f"PlaceboAssignment / Permutation, {name}: {found:.2f}; target at most {CHECK_TARGET:g}: {reached}")
    return int(not agree)


if __name__ == "__main__":
    sys.exit(main())
