"""Event studies: joint tests of leads, and bands that hold for all event times at once."""

from __future__ import annotations

import numpy as np

from evalkit import Design, Estimate, estimate
from evalkit.catalogue import Message
from evalkit.errors import EvalkitError
from evalkit.estimators import EventStudy
from evalkit.inference import BiasReduced, Cluster, Multiplier, WildBootstrap
from montecarlo.cells import NOMINAL, Cell, Experiment, Outcome, Trial, cell
from montecarlo.judged import DRAWS as BOOTSTRAP
from montecarlo.judged import weights_of
from montecarlo.panels import Floats, adopting, lay_out

DRAWS = 1_000
LEADS, LAGS = 4, 4
STUDY = EventStudy(leads=LEADS + 1, lags=LAGS - 1)
"""Event times -5 to 3 with base -1: four leads and four effects."""
DESIGN = Design(outcome="outcome", adoption="first", assigned_at="county")
TESTED = {"q=2": ("ATT(e=-3)", "ATT(e=-2)"), "q=4": tuple(f"ATT(e={e})" for e in range(-LEADS - 1, -1))}


def cells() -> tuple[Cell, ...]:
    """By number of counties, and of the treated."""
    return tuple(cell("paths", DRAWS, G=counties, treated=treated) for counties, treated in ((8, 4), (12, 6), (18, 3)))


def tell_jointly(one: Estimate, terms: tuple[str, ...]) -> Outcome:
    """Test terms jointly; where the law gives a p that the estimate withholds as unsupported, it counts and is marked."""
    weights = np.array([weights_of(one, term) for term in terms])
    try:
        p_value = one.distribution.judge_jointly(weights).p_value
    except EvalkitError as error:
        return Outcome(None, False, error.what)
    reason = _doubt(one, weights)
    return Outcome(p_value <= NOMINAL + 1e-12, reason is None, "" if reason is None else str(reason))


def leave_out_truth(one: Estimate) -> Outcome:
    """Say whether the 95 % bands of all effects leave out 0 anywhere."""
    bands = one.bands(level=0.95).dropna(subset=["critical"])
    missed = bool(((bands["conf_low"] > 0) | (bands["conf_high"] < 0)).any())
    effects = np.array([weights_of(one, term.name) for term in one.fit.terms if term.role == "effect"])
    return Outcome(missed, _doubt(one, effects) is None, measure="misses")


def _doubt(one: Estimate, weights: Floats) -> Message | None:
    """Why a joint test of the rows of weights (q, k) is no guide; None where it is one."""
    doubt = one.uncertainty.joint_doubt
    return None if doubt is None else doubt.of(weights)


def prepare(one: Cell) -> Trial:
    """Outcomes are independent standard normal in every county and period."""
    panel = lay_out(adopting(int(one["G"]), int(one["treated"]), LEADS + 1), periods=LEADS + 1 + LAGS)

    def trial(rng: np.random.Generator, i: int) -> dict[str, Outcome]:
        drawn = panel.with_column("outcome", rng.standard_normal(len(panel)))
        made = estimate(drawn, DESIGN, STUDY, inference=Cluster())
        wild = made.under(WildBootstrap(draws=BOOTSTRAP, seed=i))
        plain = made.under(Cluster(correction="none"))
        found = {"CR1 F": made, "F no factor": plain, "HTZ": made.under(BiasReduced()), "WCR": wild}
        tests = {
            f"{name}, {q}": tell_jointly(each, terms) for q, terms in TESTED.items() for name, each in found.items()
        }
        multiplied = made.under(Multiplier(draws=BOOTSTRAP, seed=i))
        return {**tests, "wild bands": leave_out_truth(wild), "multiplier bands": leave_out_truth(multiplied)}

    return trial


EXPERIMENT = Experiment("paths", cells(), prepare)
