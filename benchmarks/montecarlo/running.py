"""Run cells in two processes, and write each as soon as it is finished."""

from __future__ import annotations

import multiprocessing
import time
import traceback
import warnings
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from montecarlo import results
from montecarlo.cells import AtOnce, Cell, Tallies, Trial, draw
from montecarlo.experiments import EXPERIMENTS
from montecarlo.results import Result, result

PROCESSES = 2
PART = 100
"""Draws that a process takes at once."""


@dataclass(frozen=True)
class Part:
    """Draws first … last - 1 of a cell."""

    cell: Cell
    first: int
    last: int


@dataclass(frozen=True)
class Done:
    """A part's tallies, or why it stopped, and the seconds of work that it took."""

    part: Part
    tallies: Tallies
    failure: str
    seconds: float


def work(part: Part) -> Done:
    """Draw a part of a cell; a failure is handed back in words, so that the other cells go on."""
    start, tallies, failure = time.process_time(), Tallies(), ""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            tallies = draw(part.cell, _prepare(part.cell), part.first, part.last)
    except Exception:
        failure = traceback.format_exc()
    return Done(part, tallies, failure, time.process_time() - start)


@lru_cache(maxsize=2)
def _prepare(one: Cell) -> Trial | AtOnce:
    return EXPERIMENTS[one.experiment].prepare(one)


def divide(cells: Sequence[Cell]) -> list[Part]:
    """Divide cells into parts."""
    return [Part(one, i, min(i + PART, one.draws)) for one in cells for i in range(0, one.draws, PART)]


def measure(cells: Sequence[Cell], path: Path, *, names: Collection[str], resume: bool) -> list[str]:
    """Measure the cells of the named experiments, write all results to a file, in order, and return what failed, in words.

    Results of other experiments that the file already has are kept; with `resume` also those of cells with as many draws.
    """
    there = results.read(path) if path.exists() else []
    cell_of = {(one.experiment, one.label): one for one in cells}
    order = {key: i for i, key in enumerate(cell_of)}
    kept = {key for one in there if (key := (one.experiment, one.cell)) in order and one.experiment not in names}
    if resume:  # the first method of a cell is asked in all draws
        kept |= {
            key for one in there if (key := (one.experiment, one.cell)) in order and one.draws == cell_of[key].draws
        }
    results.write(path, [one for one in there if (one.experiment, one.cell) in kept])
    wanted = [one for key, one in cell_of.items() if key not in kept and one.experiment in names]
    failures = _draw_all(wanted, path) if wanted else []
    results.write(path, sorted(results.read(path), key=lambda one: order[one.experiment, one.cell]))
    return failures


def _draw_all(cells: Sequence[Cell], path: Path) -> list[str]:
    """Draw cells and append the results of each when it is finished."""
    parts = divide(cells)
    left = Counter(part.cell for part in parts)
    found: dict[Cell, Tallies] = defaultdict(Tallies)
    seconds: dict[Cell, float] = defaultdict(float)
    failures: list[str] = []
    with multiprocessing.get_context("spawn").Pool(PROCESSES) as pool:
        for done in pool.imap_unordered(work, parts):
            one = done.part.cell
            found[one].join(done.tallies)
            seconds[one] += done.seconds
            left[one] -= 1
            if done.failure:
                failures.append(f"{one.experiment}: {one.label}, draws from {done.part.first}\n{done.failure}")
            if not left[one]:
                told = [result(one, method, tally) for method, tally in found.pop(one).by_method.items()]
                results.append(path, told)
                print(_line(one, told, seconds[one]), flush=True)
    return failures


def _line(one: Cell, told: Sequence[Result], seconds: float) -> str:
    shown = ", ".join(
        f"{each.method} –" if not each.judged else f"{each.method} {each.rate:.3f} {each.verdict}" for each in told
    )
    return f"{one.experiment}: {one.label} ({one.draws} draws, {1000 * seconds / one.draws:.1f} ms each): {shown}"
