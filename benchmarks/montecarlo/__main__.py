"""Measure and write docs/montecarlo.csv, docs/marks.csv and the tables of docs/inference.md (`make montecarlo`).

`python -m montecarlo grid marks` measures these experiments alone and keeps the results of the others.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path

from montecarlo import marks, marks_page, page, results
from montecarlo.demands import unmet
from montecarlo.experiments import EXPERIMENTS
from montecarlo.running import measure

DOCS = Path(__file__).resolve().parents[2] / "docs"
MARKS = "marks"


def main() -> int:
    """Measure; exit 1 where something failed or an experiment does not bite."""
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("names", nargs="*", help=f"experiments: {', '.join([*EXPERIMENTS, MARKS])}; all by default")
    ask.add_argument("--resume", action="store_true", help="keep the cells that the results already have")
    ask.add_argument("--draws", type=int, help="at most so many draws a cell; takes --results")
    ask.add_argument("--results", type=Path, help="a folder of results other than docs/, whose page is then left")
    given = ask.parse_args()
    names = given.names or [*EXPERIMENTS, MARKS]
    if unknown := sorted({*names} - {*EXPERIMENTS, MARKS}):
        ask.error(f"there is no experiment {', '.join(unknown)}; there are {', '.join([*EXPERIMENTS, MARKS])}")
    if given.draws is not None and given.results is None:
        ask.error("--draws takes --results: the page is made from all draws")
    folder = given.results or DOCS
    cells = [one for experiment in EXPERIMENTS.values() for one in experiment.cells]
    if given.draws is not None:
        cells = [replace(one, draws=min(one.draws, given.draws)) for one in cells]
    start = time.perf_counter()
    failures = measure(cells, folder / "montecarlo.csv", names=names, resume=given.resume)
    if MARKS in names:
        failures += marks.measure(
            folder / "marks.csv", resume=given.resume, draws=min(marks.DRAWS, given.draws or marks.DRAWS)
        )
    rows = results.read(folder / "montecarlo.csv")
    if given.results is None:
        at, terms = DOCS / "inference.md", marks.read(DOCS / "marks.csv")
        text = page.fill(at.read_text(encoding="utf-8"), page.render(rows) | marks_page.render(terms))
        at.write_text(text, encoding="utf-8", newline="\n")
    print(page.summary(rows), page.above(rows), sep="\n\n")
    print(f"\n{', '.join(names)} in {(time.perf_counter() - start) / 60:.1f} minutes")
    print("\n".join([*failures, *unmet(rows)]), file=sys.stderr)
    return 1 if failures or unmet(rows) else 0


if __name__ == "__main__":
    sys.exit(main())
