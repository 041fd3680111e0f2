"""How often 95 % intervals cover the truth in the worlds of this study (`make montecarlo`); the paper shows the result."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pandas as pd
import world as worlds

from evalkit import Design, diagnose
from evalkit.estimators import Split, TwoWayFE
from evalkit.inference import Cluster, PooledGroups

HERE = Path(__file__).resolve().parent
WORLDS = 500
SEED = worlds.SEED


def measure() -> pd.DataFrame:
    """One row per world, share of shocks in common, method and effect."""
    by_size = Split(by="subgroup", estimator=TwoWayFE())
    above: Design = replace(worlds.changji().design, assigned_at="above", weights="above_weight")
    runs = []
    for shared in (0.0, worlds.SHARED):
        seven, three = worlds.changji(shared), worlds.three_pilots(shared)
        for name, world, design, method, inference in (
            ("seven pilots", seven, None, "county, clustered", Cluster()),
            ("seven pilots", seven, None, "county, pooled", PooledGroups()),
            ("seven pilots", seven, above, "prefecture, pooled", PooledGroups()),
            ("three pilots", three, None, "county, clustered", Cluster()),
            ("three pilots", three, None, "county, pooled", PooledGroups()),
        ):
            for estimator in (TwoWayFE(), by_size):
                found = diagnose(world, estimator, inference, seed=SEED, worlds=WORLDS, design=design)
                runs.append(found.assign(world=name, shared=shared, method=method))
    table = pd.concat(runs, ignore_index=True)
    return table[["world", "shared", "method", *(c for c in table.columns if c not in ("world", "shared", "method"))]]


def main() -> None:
    """Measure, print, and write coverage.csv with its sidecar."""
    table = measure()
    path = HERE / "coverage.csv"
    table.round(6).to_csv(path, index=False, encoding="utf-8", lineterminator="\n")
    sidecar = [
        f'title = "Coverage of 95 % intervals in {WORLDS} synthetic worlds"',
        'publisher = "evalkit, analyses/changji/coverage.py"',
        f'vintage = "seed {SEED}"',
        'licence = "MIT"',
        f'sha256 = "{hashlib.sha256(path.read_bytes()).hexdigest()}"',
        "synthetic = true",
    ]
    text = "\n".join(sidecar) + "\n"
    path.with_name("coverage.csv.provenance.toml").write_text(text, encoding="utf-8", newline="\n")
    print(table.round(4).to_string(index=False))


if __name__ == "__main__":
    main()
