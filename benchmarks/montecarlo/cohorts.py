"""Staggered adoption: cohorts of few counties, judged by influence, by the jackknife and by what the design supports."""

from __future__ import annotations

import numpy as np

from evalkit import Design, Estimate, Panel, estimate
from evalkit.estimators import CallawaySantAnna, Imputation
from evalkit.inference import Cluster, Jackknife
from evalkit.inference.by_design import ByDesign
from evalkit.results.estimation import Estimator
from montecarlo.cells import Cell, Experiment, Outcome, Trial, cell
from montecarlo.judged import tell, weights_of
from montecarlo.panels import Floats, lay_out

PERIODS = 8
ESTIMATORS: dict[str, Estimator] = {"CallawaySantAnna": CallawaySantAnna(), "Imputation": Imputation()}
DESIGN = Design(outcome="outcome", adoption="first", assigned_at="county")
INFLUENCE = Cluster(correction="none")
DRAWS = 1_000
# The jackknife estimates anew once for each county, and is therefore asked in the first draws only.
SIZES = {(18, 2): 1_000, (40, 4): 500, (100, 10): 200}
DATES = (3, 5, 6)
ALONE = {"five of 1 county": (2, 3, 4, 5, 6), "one of 5 counties": (4,) * 5}
ALONE_DRAWS = 1_000
ALONE_ASKED = {"five of 1 county": 100, "one of 5 counties": 500}
_PERMUTED = 99


def cells() -> tuple[Cell, ...]:
    """By estimator and size of the cohorts, three of them beside counties never treated."""
    return tuple(
        cell("cohorts", DRAWS, estimator=name, G=counties, cohort=size)
        for name in ESTIMATORS
        for counties, size in SIZES
    )


def adopting_at(dates: tuple[int, ...], counties: int) -> Floats:
    """First treated period (G,) of counties of which the first adopt at these dates, the others never."""
    return np.array([*map(float, dates), *[np.nan] * (counties - len(dates))])


def misses(one: Estimate, weights: Floats) -> Outcome:
    """Say whether the 95 % interval of a combination (k,) of terms leaves out the truth, 0: whether t rejects at 5 %."""
    low, high = one.distribution.interval(weights, 0.95)
    if np.isnan(low):
        return Outcome(None, why="no standard error", measure="misses")
    why = one.uncertainty.unsupported
    return Outcome(bool(low > 0 or high < 0), why is None, "" if why is None else str(why), "misses")


def miss_with_fixed_weights(drawn: Panel) -> Outcome:
    """The same of the plain mean of Callaway and Sant'Anna's effects from adoption on, whose weights then are no estimates.

    Cohorts are of one size, so that it is the "ATT" of "simple".
    """
    one = estimate(drawn, DESIGN, CallawaySantAnna(aggregate="group_time"), inference=INFLUENCE)
    after = np.array([float(term.event_time is not None and term.event_time >= 0) for term in one.fit.terms])
    return misses(one, after / after.sum())


def prepare(one: Cell) -> Trial:
    """Outcomes are independent standard normal in every county and period; the effect is 0 everywhere."""
    counties, size = int(one["G"]), int(one["cohort"])
    estimator, refitted = ESTIMATORS[one["estimator"]], SIZES[counties, size]
    panel = lay_out(adopting_at(tuple(date for date in DATES for _ in range(size)), counties), periods=PERIODS)

    def trial(rng: np.random.Generator, i: int) -> dict[str, Outcome]:
        drawn = panel.with_column("outcome", rng.standard_normal(len(panel)))
        made = estimate(drawn, DESIGN, estimator, inference=INFLUENCE)
        att = weights_of(made, "ATT")
        found = {"influence": misses(made, att)}
        if one["estimator"] == "CallawaySantAnna":
            found["fixed weights"] = miss_with_fixed_weights(drawn)
        if i < refitted:
            found["CV3"] = misses(made.under(Jackknife()), att)
        return found

    return trial


def alone_cells() -> tuple[Cell, ...]:
    """20 counties: five cohorts of one county each, or one cohort of five."""
    return tuple(cell("alone", ALONE_DRAWS, cohorts=name) for name in ALONE)


def prepare_alone(one: Cell) -> Trial:
    """The same outcomes; ByDesign, which estimates anew many times, is asked in the first draws."""
    panel = lay_out(adopting_at(ALONE[one["cohorts"]], 20), periods=PERIODS)

    def trial(rng: np.random.Generator, i: int) -> dict[str, Outcome]:
        drawn = panel.with_column("outcome", rng.standard_normal(len(panel)))
        made = estimate(drawn, DESIGN, CallawaySantAnna(), inference=INFLUENCE)
        found = {
            "influence": tell(made, INFLUENCE).outcome(),
            "fixed weights": miss_with_fixed_weights(drawn)._replace(measure="rejects"),
        }
        if i < ALONE_ASKED[one["cohorts"]]:
            found["ByDesign"] = tell(made, ByDesign(draws=_PERMUTED, seed=i)).outcome()
        return found

    return trial


EXPERIMENT = Experiment("cohorts", cells(), prepare)
ALONE_EXPERIMENT = Experiment("alone", alone_cells(), prepare_alone)
