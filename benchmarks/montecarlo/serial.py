"""Serial correlation: laws that never were in 50 states over 20 years (Bertrand, Duflo and Mullainathan 2004)."""

from __future__ import annotations

import numpy as np

from evalkit import Design, estimate
from evalkit.estimators import TwoWayFE
from evalkit.inference import Classical, Cluster
from montecarlo.cells import Cell, Experiment, Outcome, Trial, cell
from montecarlo.judged import judge, tell
from montecarlo.panels import Floats, lay_out

DRAWS = 1_000
STATES, YEARS = 50, 20
DATES = tuple(range(6, 16))
"""The law begins in one of the ten years in the middle."""


def cells() -> tuple[Cell, ...]:
    """By autocorrelation."""
    return tuple(cell("serial", DRAWS, rho=rho) for rho in ("0", ".2", ".4", ".6", ".8"))


def draw_path(rho: float, rng: np.random.Generator) -> Floats:
    """Draw a stationary AR(1) for each state (S, T)."""
    path = rng.standard_normal((STATES, YEARS))
    path[:, 0] /= np.sqrt(1 - rho**2)
    for t in range(1, YEARS):
        path[:, t] += rho * path[:, t - 1]
    return path


def prepare(one: Cell) -> Trial:
    """Half of the states adopt, all in the same year, which every draw chooses anew."""
    rho = float(one["rho"])
    treated = np.arange(STATES) < STATES // 2
    laws = {f"law{year}": np.where(treated, float(year), np.nan) for year in DATES}
    panel = lay_out(np.full(STATES, np.nan), periods=YEARS, columns=laws)

    def trial(rng: np.random.Generator, i: int) -> dict[str, Outcome]:
        design = Design(outcome="outcome", adoption=f"law{rng.choice(DATES)}", assigned_at="county")
        drawn = panel.with_column("outcome", draw_path(rho, rng).ravel())
        made = estimate(drawn, design, TwoWayFE(), inference=Cluster())
        return {"Classical": tell(made, Classical()).outcome(), **judge(made, ("CR1", "CR2", "CV3", "WCR"), i)}

    return trial


EXPERIMENT = Experiment("serial", cells(), prepare)
