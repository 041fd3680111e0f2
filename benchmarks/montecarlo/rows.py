"""Rows that share a shock: 30 rows in each of 5 to 30 clusters (Cameron, Gelbach and Miller 2008)."""

from __future__ import annotations

import numpy as np

from evalkit import Design, estimate
from evalkit.estimators import TwoWayFE
from evalkit.inference import Cluster
from montecarlo.cells import Cell, Experiment, Outcome, Trial, cell
from montecarlo.judged import METHODS, tell
from montecarlo.panels import adopting, after, lay_out

DRAWS = 1_000
ROWS = 30
ASKED = ("Robust", "CR1", "CR2", "CV3", "WCR")
DESIGN = Design(outcome="outcome", adoption="first", assigned_at="county", covariates=("x",))
TERMS = {"treatment": "ATT", "covariate": "x"}


def cells() -> tuple[Cell, ...]:
    """By number of clusters and coefficient; both coefficients are judged in the same draws."""
    return tuple(cell("rows", DRAWS, G=counties) for counties in (5, 10, 15, 20, 25, 30))


def prepare(one: Cell) -> Trial:
    """Errors and a covariate are each the sum of a cluster's draw and a row's own, all standard normal; half are treated."""
    counties = int(one["G"])
    panel = lay_out(adopting(counties, counties // 2), periods=2, units=ROWS)

    def trial(rng: np.random.Generator, i: int) -> dict[str, Outcome]:
        y, x = (rng.standard_normal((counties, 1)) + rng.standard_normal((counties, ROWS)) for _ in range(2))
        drawn = panel.with_column("outcome", after(y)).with_column("x", after(x))
        made = estimate(drawn, DESIGN, TwoWayFE(), inference=Cluster())
        return {
            f"{method}, {shown}": tell(made, METHODS[method](i), term).outcome()
            for shown, term in TERMS.items()
            for method in ASKED
        }

    return trial


EXPERIMENT = Experiment("rows", cells(), prepare)
