"""Treated counties in one prefecture, which share part of their shocks."""

from __future__ import annotations

import numpy as np

from evalkit import Design, estimate
from evalkit.estimators import TwoWayFE
from evalkit.inference import Cluster, PooledGroups
from evalkit.inference.by_design import ByDesign
from montecarlo.cells import Cell, Experiment, Outcome, Trial, cell
from montecarlo.judged import DRAWS as ENUMERATED
from montecarlo.judged import Headline, judge, tell
from montecarlo.panels import adopting, after, lay_out

DRAWS = 1_000
COUNTIES = (7, 4, 4, 3)
"""In each prefecture; all of the first are treated, none of the others."""
BY_COUNTY = Design(outcome="outcome", adoption="first", assigned_at="county")
ABOVE = Design(outcome="outcome", adoption="first", assigned_at="county", above="prefecture")
ALIKE = Design(outcome="outcome", adoption="first", assigned_at="prefecture", weights="alike")


def cells() -> tuple[Cell, ...]:
    """By the share of the variance that is common to a prefecture."""
    return tuple(cell("prefectures", DRAWS, shared=shared) for shared in ("0", ".1", ".2", ".4"))


def prepare(one: Cell) -> Trial:
    """Two periods, as in the grid; shocks of variance 1, in part the prefecture's."""
    shared = float(one["shared"])
    sizes = np.array(COUNTIES)
    prefecture = np.repeat(np.arange(len(sizes)), sizes)
    columns = {"prefecture": prefecture.astype(float), "alike": 1 / sizes[prefecture]}
    headline = Headline()
    panel = lay_out(adopting(sum(COUNTIES), COUNTIES[0]), periods=2, columns=columns)

    def trial(rng: np.random.Generator, i: int) -> dict[str, Outcome]:
        common, own = rng.standard_normal(len(sizes))[prefecture], rng.standard_normal(len(prefecture))
        drawn = panel.with_column("outcome", after(np.sqrt(shared) * common + np.sqrt(1 - shared) * own))
        made = estimate(drawn, BY_COUNTY, TwoWayFE(), inference=Cluster())
        up = estimate(drawn, ABOVE, TwoWayFE(), inference=Cluster())
        alike = estimate(drawn, ALIKE, TwoWayFE(), inference=Cluster())
        return {
            **judge(made, ("CR1", "CR2", "pooled", "WCR"), i, headline),
            "ByDesign, one level up": tell(up, ByDesign(draws=ENUMERATED, seed=i)).outcome(),
            "pooled, one level up": tell(alike, PooledGroups()).outcome(),
        }

    return trial


EXPERIMENT = Experiment("prefectures", cells(), prepare)
