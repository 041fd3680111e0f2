"""Time and peak memory of an account of a million synthetic farm-years with twenty sources: `python benchmarks/account.py`.

Three cases, each in a process of its own, medians of `--rounds`: the inventory (twenty million rows) and the intensities by
evalkit; the inventory by pandas alone (melt, map the factor, multiply), without units, checks or provenance. Totals are compared
before any time is printed; the exit status is 1 where they differ.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys

ROWS = 1_000_000
SETS = ("literature", "literature_irrigation_recalled", "ipcc_2006_livestock", "ipcc_2019_soils_wet", "ipcc_2006_straw")
# What a hectare or a farm uses, in the unit of the column.
USED = {
    "fertiliser": ("kg", 900), "pesticide": ("kg", 7), "film": ("kg", 110), "diesel": ("L", 380), "sown_area": ("mu", 37),
    "irrigated_area": ("mu", 30), "fertiliser_n": ("kg", 400), "manure_n": ("kg", 50), "other_cattle": ("head", 5),
    "sheep": ("head", 20), "goats": ("head", 9), "pigs": ("head", 30), "horses": ("head", 1), "camels": ("head", 1),
    "asses_and_mules": ("head", 1), "buffalo": ("head", 2), "straw_burnt": ("kg", 900),
}  # fmt: skip


def run(case: str) -> dict[str, float]:
    """Carry out one case; return seconds, CPU seconds, peak in GB, and the total of emissions in kg CO2e."""
    import resource
    import time

    import numpy as np
    import pandas as pd

    from evalkit.accounting import factor_set, intensity, inventory
    from evalkit.tables.table import Provenance, Table

    rng = np.random.default_rng(1)
    farms = np.repeat(np.char.mod("f%06d", np.arange(ROWS // 10)), 10)
    frame = pd.DataFrame({"farm": farms, "year": np.tile(np.arange(2013, 2023), ROWS // 10)})
    for name, (_, size) in USED.items():
        frame[name] = rng.uniform(0.5, 1.5, ROWS) * size
    frame["output"] = rng.uniform(1e3, 1e5, ROWS)
    units = {name: unit for name, (unit, _) in USED.items()} | {"output": "yuan"}
    table = Table("synthetic farms", frame, (Provenance("synthetic farms", "0" * 64, synthetic=True),), units)
    factors = factor_set(*SETS, gwp="AR5")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start, used = time.perf_counter(), time.process_time()
    if case == "pandas":
        rates = {one.name: factors.rate(one.name, USED[one.activity][0], where="") for one in factors.factors.values()
                 if one.is_valued and one.activity in USED}  # fmt: skip
        wide = frame[["farm", "year"]].copy()
        for name in rates:
            wide[name] = frame[factors.factors[name].activity]
        long = wide.melt(["farm", "year"], var_name="source", value_name="activity")
        long["emissions"] = long["activity"] * long["source"].map(rates)
        total, sources = float(long["emissions"].sum()), len(rates)
    else:
        made = inventory(table, factors, keys=("farm", "year"))
        total, sources = float(made.frame["emissions"].sum()), made.frame["source"].nunique()
        if case == "intensity":
            start, used = time.perf_counter(), time.process_time()
            intensity(made, output=table, per="output")
    seconds, cpu = time.perf_counter() - start, time.process_time() - used
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "seconds": seconds,
        "cpu": cpu,
        "peak": peak / 1e6,
        "before": before / 1e6,
        "total": total,
        "sources": sources,
    }


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--case")
    given = parser.parse_args()
    if given.case:
        print(json.dumps(run(given.case)))
        return 0
    found: dict[str, list[dict[str, float]]] = {}
    for _ in range(given.rounds):
        for case in ("inventory", "intensity", "pandas"):
            done = subprocess.run(
                [sys.executable, __file__, "--case", case], capture_output=True, text=True, check=True
            )
            found.setdefault(case, []).append(json.loads(done.stdout))
    totals = [one["total"] for runs in found.values() for one in runs]
    if max(totals) - min(totals) > 1e-9 * max(totals):
        print(f"the totals differ: {totals}")
        return 1
    print(f"{ROWS:,} farm-years, {found['inventory'][0]['sources']:g} sources (synthetic); medians of {given.rounds}")
    for case, runs in found.items():
        middle = {name: statistics.median(one[name] for one in runs) for name in ("seconds", "cpu", "peak")}
        print(f"{case:10} {middle['seconds']:6.2f} s {middle['cpu']:6.2f} CPU s {middle['peak']:6.2f} GB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
