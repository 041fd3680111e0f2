"""One county that holds half of the rows."""

from __future__ import annotations

import numpy as np

from evalkit import Design, estimate
from evalkit.estimators import TwoWayFE
from evalkit.inference import Cluster
from montecarlo.cells import Cell, Experiment, Outcome, Trial, cell
from montecarlo.judged import Headline, judge
from montecarlo.panels import adopting, after, lay_out

DRAWS = 1_000
TREATED, FARMS = 3, 100.0
DESIGN = Design(outcome="outcome", adoption="first", assigned_at="county", weights="farms")
ASKED = ("CR1", "CR2", "CV3", "pooled", "WCR", "WCU", "permutation")


def cells() -> tuple[Cell, ...]:
    """By number of counties, which of them is large, and what the noise is: the county's, or its farms'."""
    return tuple(
        cell("unequal", DRAWS, G=counties, treated=TREATED, large=large, noise=noise)
        for noise in ("county", "farm")
        for large in ("treated", "control")
        for counties in (8, 12)
    )


def prepare(one: Cell) -> Trial:
    """Counties are rows weighted by their farms: 100 each, and as many as all others together in one."""
    counties = int(one["G"])
    farms = np.full(counties, FARMS)
    farms[0 if one["large"] == "treated" else -1] = FARMS * (counties - 1)
    panel = lay_out(adopting(counties, TREATED), periods=2, columns={"farms": farms})
    spread = np.ones(counties) if one["noise"] == "county" else 1 / np.sqrt(farms)
    headline = Headline()

    def trial(rng: np.random.Generator, i: int) -> dict[str, Outcome]:
        drawn = panel.with_column("outcome", after(spread * rng.standard_normal(counties)))
        return judge(estimate(drawn, DESIGN, TwoWayFE(), inference=Cluster()), ASKED, i, headline)

    return trial


EXPERIMENT = Experiment("unequal", cells(), prepare)
