"""Farms in counties: more farms are no more counties."""

from __future__ import annotations

import numpy as np

from evalkit import Design, estimate
from evalkit.estimators import TwoWayFE
from evalkit.inference import Cluster
from montecarlo.cells import Cell, Experiment, Outcome, Trial, cell
from montecarlo.judged import Headline, judge
from montecarlo.panels import adopting, lay_out

DRAWS = 1_000
COUNTIES, TREATED, PERIODS = 10, 4, 4
COUNTY_SD = 0.3
DESIGN = Design(outcome="outcome", adoption="first", assigned_at="county")


def cells() -> tuple[Cell, ...]:
    """By the number of farms in a county."""
    return tuple(cell("farms", DRAWS, farms=farms) for farms in (5, 50, 200))


def prepare(one: Cell) -> Trial:
    """A county's shock in a year has sd .3, a farm's noise in a year sd 1; two years before adoption, two after."""
    farms = int(one["farms"])
    panel = lay_out(adopting(COUNTIES, TREATED, PERIODS // 2), periods=PERIODS, units=farms)
    headline = Headline()

    def trial(rng: np.random.Generator, i: int) -> dict[str, Outcome]:
        shocks = COUNTY_SD * rng.standard_normal((COUNTIES, 1, PERIODS))
        drawn = panel.with_column("outcome", (shocks + rng.standard_normal((COUNTIES, farms, PERIODS))).ravel())
        made = estimate(drawn, DESIGN, TwoWayFE(), inference=Cluster())
        return judge(made, ("Robust", "CR1", "CR2"), i, headline)

    return trial


EXPERIMENT = Experiment("farms", cells(), prepare)
