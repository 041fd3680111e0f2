"""Measure everything and write docs/montecarlo.csv and the tables of docs/inference.md (`make montecarlo`)."""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path

from montecarlo import page, results
from montecarlo.demands import unmet
from montecarlo.experiments import EXPERIMENTS
from montecarlo.running import measure

DOCS = Path(__file__).resolve().parents[2] / "docs"


def main() -> int:
    """Measure; exit 1 where something failed or an experiment does not bite."""
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument(
        "--only", help="measure these experiments (with commas between) and keep the results of the others"
    )
    ask.add_argument("--resume", action="store_true", help="keep the cells that the results already have")
    ask.add_argument("--draws", type=int, help="at most so many draws a cell; takes --results")
    ask.add_argument("--results", type=Path, help="a file of results other than that of docs/, whose page is then left")
    given = ask.parse_args()
    if given.draws is not None and given.results is None:
        ask.error("--draws takes --results: the page is made from all draws")
    path = given.results or DOCS / "montecarlo.csv"
    cells = [one for experiment in EXPERIMENTS.values() for one in experiment.cells]
    if given.draws is not None:
        cells = [replace(one, draws=min(one.draws, given.draws)) for one in cells]
    names = given.only.split(",") if given.only else list(EXPERIMENTS)
    start = time.perf_counter()
    failures = measure(cells, path, names=names, resume=given.resume)
    rows = results.read(path)
    if given.results is None:
        page.write(DOCS / "inference.md", rows)
    print(page.summary(rows), page.above(rows), sep="\n\n")
    print(f"\n{len(cells)} cells in {(time.perf_counter() - start) / 60:.1f} minutes")
    print("\n".join([*failures, *unmet(rows)]), file=sys.stderr)
    return 1 if failures or unmet(rows) else 0


if __name__ == "__main__":
    sys.exit(main())
