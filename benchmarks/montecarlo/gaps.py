"""Gaps between large and small farms, whose groups share shocks inside a county."""

from __future__ import annotations

import numpy as np

from evalkit import Design
from evalkit.checks import GroupGaps
from evalkit.estimators import Split, TwoWayFE
from evalkit.inference import Cluster, WildBootstrap
from evalkit.results.estimation import Specification
from montecarlo.cells import NOMINAL, Cell, Experiment, Outcome, Trial, cell
from montecarlo.judged import DRAWS as BOOTSTRAP
from montecarlo.panels import Floats, Ints, adopting, after, lay_out

DRAWS = 1_000
COUNTIES, TREATED, FARMS = 10, 5, 20
"""Half of the farms of a county are large."""
LARGE = np.tile(np.arange(FARMS) >= FARMS // 2, (COUNTIES, 1))
DESIGN = Design(outcome="outcome", adoption="first", assigned_at="county")
_RELABELLINGS = 399
_NAMES = {"Cluster()": "Cluster", "Fisher": "Fisher by county"}


def cells() -> tuple[Cell, ...]:
    """By the spread of the shock that the farms of a group share in a county, beside noise of 1 in each farm."""
    return tuple(cell("gaps", DRAWS, sd=spread) for spread in ("0", ".3", ".6"))


def gap(outcome: Floats, large: Floats) -> Floats:
    """Effect on large farms less that on small ones of outcomes (G, F), for labels (…, G, F): differences of means."""
    groups = [(large * outcome, large), ((1 - large) * outcome, 1 - large)]
    sides = (slice(0, TREATED), slice(TREATED, COUNTIES))
    means = [[y[..., s, :].sum((-1, -2)) / n[..., s, :].sum((-1, -2)) for s in sides] for y, n in groups]
    difference: Floats = (means[0][0] - means[0][1]) - (means[1][0] - means[1][1])
    return difference


def relabel_farms(outcome: Floats, rng: np.random.Generator) -> bool:
    """Say whether a test of the gap rejects that relabels single farms inside counties, as is often done."""
    order: Ints = rng.permuted(np.tile(np.arange(FARMS), (_RELABELLINGS, COUNTIES, 1)), axis=-1)
    drawn = np.abs(gap(outcome, (order >= FARMS // 2).astype(float)))
    extreme = np.count_nonzero(drawn >= abs(float(gap(outcome, LARGE.astype(float)))) * (1 - 1e-9))
    return bool((1 + extreme) / (_RELABELLINGS + 1) <= NOMINAL + 1e-12)


def prepare(one: Cell) -> Trial:
    """Two periods; a farm's draw is the sum of a shock to its group in its county and noise of its own."""
    spread = float(one["sd"])
    panel = lay_out(adopting(COUNTIES, TREATED), periods=2, units=FARMS)
    panel = panel.with_column("large", np.repeat(LARGE.ravel(), 2).astype(int))

    def trial(rng: np.random.Generator, i: int) -> dict[str, Outcome]:
        shocks = spread * rng.standard_normal((COUNTIES, 2)).repeat(FARMS // 2, axis=1)
        outcome = shocks + rng.standard_normal((COUNTIES, FARMS))
        drawn = panel.with_column("outcome", after(outcome))
        check = GroupGaps(under=(WildBootstrap(draws=BOOTSTRAP, seed=i),))
        found = check.run(Specification(drawn, DESIGN, Split(by="large", estimator=TwoWayFE()), Cluster())).table
        told = zip(found["method"], found["p_value"], found["supported"], strict=True)
        tests = {_name(method): Outcome(bool(p <= NOMINAL + 1e-12), bool(ok)) for method, p, ok in told}
        return {**tests, "Fisher by farm": Outcome(relabel_farms(outcome, rng))}

    return trial


def _name(method: str) -> str:
    return _NAMES.get(method, "WCR" if method.startswith("WildBootstrap") else method)


EXPERIMENT = Experiment("gaps", cells(), prepare)
