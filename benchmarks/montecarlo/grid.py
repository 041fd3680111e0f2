"""Few treated counties: differences of means of counties, by number, spread and law of the errors."""

from __future__ import annotations

import numpy as np

from evalkit import Design, estimate
from evalkit.estimators import TwoWayFE
from evalkit.inference import Cluster
from montecarlo.cells import Cell, Experiment, Outcome, Trial, cell
from montecarlo.judged import Headline, judge
from montecarlo.panels import Floats, adopting, after, lay_out

DRAWS = 2_000
DESIGN = Design(outcome="outcome", adoption="first", assigned_at="county")
METHODS = ("CR1", "CR2", "CV3", "pooled", "WCR", "WCU", "permutation")
RATIOS = {"1/4": 0.25, "1": 1.0, "4": 4.0}
_FURTHER = ((7, 1), (7, 2), (8, 7), (40, 1), (40, 2))


def cells() -> tuple[Cell, ...]:
    """6 to 12 counties with 1, 2, 3 and half of them treated; other laws of errors, and more counties, where all vary alike."""
    sizes = [(counties, treated) for counties in (6, 8, 10, 12) for treated in sorted({1, 2, 3, counties // 2})]
    found = [cell("grid", DRAWS, G=n, treated=m, ratio=ratio, errors="normal") for ratio in RATIOS for n, m in sizes]
    found += [cell("grid", DRAWS, G=n, treated=m, ratio="1", errors="t3") for n, m in sizes]
    found += [cell("grid", DRAWS, G=n, treated=m, ratio="1", errors="exponential") for n, m in sizes if n <= 8]
    found += [
        cell("grid", DRAWS, G=counties, treated=treated, ratio="1", errors="normal") for counties, treated in _FURTHER
    ]
    return tuple(found)


def draw_errors(law: str, size: int, rng: np.random.Generator) -> Floats:
    """Draw errors of mean 0 and variance 1."""
    if law == "normal":
        drawn: Floats = rng.standard_normal(size)
    elif law == "t3":
        drawn = rng.standard_t(3, size) / np.sqrt(3)
    else:
        drawn = rng.standard_exponential(size) - 1
    return drawn


def prepare(one: Cell) -> Trial:
    """Two periods: the outcome is 0 before and the county's draw after."""
    counties, treated = int(one["G"]), int(one["treated"])
    panel = lay_out(adopting(counties, treated), periods=2)
    spread = np.where(np.arange(counties) < treated, np.sqrt(RATIOS[one["ratio"]]), 1.0)
    headline = Headline()

    def trial(rng: np.random.Generator, i: int) -> dict[str, Outcome]:
        drawn = panel.with_column("outcome", after(spread * draw_errors(one["errors"], counties, rng)))
        return judge(estimate(drawn, DESIGN, TwoWayFE(), inference=Cluster()), METHODS, i, headline)

    return trial


EXPERIMENT = Experiment("grid", cells(), prepare)
