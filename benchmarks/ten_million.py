"""Time and peak memory at 10 million rows, each tool in a process of its own (`python benchmarks/ten_million.py`).

The panel is written once and read by each process; what is timed is the second of two calls on rows in memory.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import pandas as pd
from panels import simulate_panel

UNITS = 1_000_000
RUNS = ("TwoWayFE evalkit", "TwoWayFE pyfixest", "CallawaySantAnna evalkit", "CallawaySantAnna diff-diff")
TARGETS = {"TwoWayFE": 12.0, "CallawaySantAnna": 4.0}


def run_one(run: str, path: Path) -> None:
    """Estimate twice, and print seconds of the second call, peak memory in GB, and the effect."""
    warnings.simplefilter("ignore")
    frame = pd.read_parquet(path)
    estimator, tool = run.split()
    if tool == "evalkit":
        from evalkit import Design, Panel, estimate
        from evalkit.estimators import CallawaySantAnna, TwoWayFE
        from evalkit.inference import Cluster

        panel = Panel.from_frame(frame, unit="unit", time="year")
        design = Design(outcome="y", adoption="first", assigned_at="county")
        chosen = TwoWayFE() if estimator == "TwoWayFE" else CallawaySantAnna()

        def call() -> float:
            return float(estimate(panel, design, chosen, inference=Cluster()).params["ATT"])

    elif tool == "pyfixest":
        import pyfixest as pf

        def call() -> float:
            fit = pf.feols("y ~ d | unit + year", frame, vcov={"CRV1": "county"}, copy_data=False, store_data=False)
            return float(fit.coef()["d"])

    else:
        import diff_diff as dd

        frame = frame.assign(cohort=frame["first"].fillna(0).astype(int))

        def call() -> float:
            model = dd.CallawaySantAnna(control_group="not_yet_treated", cluster="county", cband=False)
            return float(model.fit(frame, outcome="y", unit="unit", time="year", first_treat="cohort").overall_att)

    call()
    start = time.perf_counter()
    effect = call()
    seconds = time.perf_counter() - start
    print(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, effect)


def main() -> int:
    """Run every tool on the same panel, and compare."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "panel.parquet"
        simulate_panel(UNITS)[["unit", "year", "county", "first", "d", "y"]].to_parquet(path)
        found: dict[str, tuple[float, float, float]] = {}
        for run in RUNS:
            done = subprocess.run(
                [sys.executable, __file__, run, str(path)],
                capture_output=True,
                text=True,
                encoding="utf-8",
                check=False,
            )
            numbers = done.stdout.split()
            if done.returncode or len(numbers) != 3:
                print(f"{run:<28} failed: {done.stderr.strip().splitlines()[-1:] or done.returncode}")
                continue
            seconds, memory, effect = map(float, numbers)
            found[run] = seconds, memory, effect
            print(f"{run:<28}{seconds:>8.2f} s{memory:>8.1f} GB   {effect:.8f}", flush=True)
    for estimator, target in TARGETS.items():
        ours, others = (
            f"{estimator} evalkit",
            [r for r in found if r.startswith(estimator) and not r.endswith("evalkit")],
        )
        for other in others if ours in found else ():
            ratio = found[other][0] / found[ours][0]
            print(f"{estimator}: {ratio:.1f} times as fast as {other.split()[1]} (target {target:g})")
    return 0


if __name__ == "__main__":
    if len(sys.argv) == 3:
        run_one(sys.argv[1], Path(sys.argv[2]))
    else:
        sys.exit(main())
