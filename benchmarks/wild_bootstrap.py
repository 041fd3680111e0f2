"""Time the wild cluster bootstrap against pyfixest and diff-diff on a small panel, and measure its memory with many clusters.

540 rows, 9 counties, two covariates, 9,999 draws of Webb's weights: each tool once from the panel to the p-value; evalkit and
diff-diff find the interval as well, pyfixest has none. pyfixest takes the draws from wildboottest, which is not among the
requirements; where it is not installed, its line says so. diff-diff's kernel is called with the dummies already made. Medians
of alternating rounds in the same process. Before that, 100,000 rows with their 10,000 units as clusters: seconds and peak
memory of evalkit in a process of its own (pyfixest makes a dummy for every unit, 19 GB). Exit status 1 when the p-values
disagree.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from panels import measure, once, peak_memory, simulate_panel

from evalkit import Design, Estimate, Panel, estimate
from evalkit.estimators import TwoWayFE
from evalkit.inference import Cluster, WildBootstrap
from evalkit.results.estimation import Inference

FARMS = Path(__file__).parent.parent / "tests" / "data" / "farm9x60.csv"
DRAWS, MANY_DRAWS, UNITS, TARGET = 9_999, 999, 10_000, 10.0
COVARIATES = ("x1", "x2")


def by_evalkit(frame: pd.DataFrame) -> Callable[[], tuple[float, float, float]]:
    """p and interval of the effect, from a panel already verified."""
    panel = Panel.from_frame(frame.assign(first=frame["g"].where(frame["g"] > 0)), unit="id", time="t")
    design = Design(outcome="y", adoption="first", assigned_at="county", covariates=COVARIATES)
    inference = WildBootstrap(draws=DRAWS, seed=1, weights="webb")

    def call() -> tuple[float, float, float]:
        told = estimate(panel, design, TwoWayFE(), inference=inference).combination({"ATT": 1.0}, "ATT").iloc[0]
        return float(told["p_value"]), float(told["conf_low"]), float(told["conf_high"])

    return call


def by_pyfixest(frame: pd.DataFrame) -> Callable[[], tuple[float, float, float]]:
    """p alone: it inverts no test."""
    import pyfixest as pf

    def call() -> tuple[float, float, float]:
        fit = pf.feols("y ~ d + x1 + x2 | id + t", frame, vcov={"CRV1": "county"}, copy_data=False)
        told = fit.wildboottest(param="d", reps=DRAWS, seed=1, weights_type="webb")
        return float(told["Pr(>|t|)"]), np.nan, np.nan

    return call


def by_diff_diff(frame: pd.DataFrame) -> Callable[[], tuple[float, float, float]]:
    """p and interval of its kernel."""
    from diff_diff.utils import wild_bootstrap_se

    dummies = [pd.get_dummies(frame["id"]), pd.get_dummies(frame["t"]).iloc[:, 1:]]
    X = np.column_stack([frame[["d", *COVARIATES]], *dummies]).astype(float)
    y, county = frame["y"].to_numpy(), frame["county"].to_numpy()

    def call() -> tuple[float, float, float]:
        told = wild_bootstrap_se(X, y, y, county, 0, n_bootstrap=DRAWS, weight_type="webb", seed=1)
        return told.p_value, told.ci_lower, told.ci_upper

    return call


def compare() -> bool:
    """Print the times of all tools; say whether their p-values disagree."""
    warnings.simplefilter("ignore")  # the peers call pandas in ways that pandas 3 deprecates
    frame = pd.read_csv(FARMS)
    calls = {"evalkit": by_evalkit(frame), "diff-diff": by_diff_diff(frame)}
    if importlib.util.find_spec("wildboottest"):
        calls["pyfixest"] = by_pyfixest(frame)
    else:
        print("pyfixest: wildboottest is not installed")
    took = measure(dict(calls), rounds=4, repeats=3)
    told = {name: call() for name, call in calls.items()}
    p = told["evalkit"][0]
    error = 4 * np.sqrt(2 * p * (1 - p) / DRAWS)
    for name, (found, low, high) in told.items():
        remark = "" if abs(found - p) < error else "  DISAGREES"
        ratio = took[name] / took["evalkit"]
        print(f"{name:<12}{1000 * took[name]:>9.1f} ms{ratio:>8.1f}   p {found:.4f} [{low:.4f}, {high:.4f}]{remark}")
    fastest = min(took[name] for name in took if name != "evalkit") / took["evalkit"]
    print(f"the fastest peer takes {fastest:.1f} times as long (target {TARGET:g})")
    return any(abs(found - p) >= error for found, _, _ in told.values())


def run_many(inference: Inference) -> None:
    """Estimate twice with every unit a cluster; print seconds of the second call, and peak memory before and after in GB."""
    frame = simulate_panel(UNITS)
    panel = Panel.from_frame(frame, unit="unit", time="year")
    design = Design(outcome="y", adoption="first", assigned_at="unit", covariates=COVARIATES)

    def call() -> Estimate:
        one = estimate(panel, design, TwoWayFE(), inference=inference)
        one.tidy(covariates=True)
        return one

    before = peak_memory()
    one = call()
    seconds = once(call)
    print(seconds, before, peak_memory(), one.pvalues["ATT"])


def main() -> int:
    """Run both parts: memory first, because a process starts with the peak of the one that made it."""
    print(f"{10 * UNITS:,} rows, {UNITS:,} clusters, {MANY_DRAWS} draws, p and intervals of 3 coefficients")
    for name in ("Cluster", "WildBootstrap"):
        done = subprocess.run([sys.executable, __file__, name], capture_output=True, text=True, check=True)
        seconds, before, after, p = map(float, done.stdout.split())
        print(f"{name:<14}{seconds:>7.2f} s   {before:.3f} GB before, at most {after:.3f} GB   p {p:.4f}", flush=True)
    print(f"\n540 rows, 9 clusters, {DRAWS} draws, p and interval of 1 coefficient")
    return int(compare())


if __name__ == "__main__":
    if len(sys.argv) == 2:
        run_many({"Cluster": Cluster(), "WildBootstrap": WildBootstrap(draws=MANY_DRAWS, seed=1)}[sys.argv[1]])
    else:
        sys.exit(main())
