"""Diagnosis: how an estimator and its inference fare in worlds whose effects are known."""

from __future__ import annotations

from zlib import crc32

import numpy as np
import pandas as pd

from evalkit.columns import Floats
from evalkit.design import Design
from evalkit.errors import DesignError, EvalkitError
from evalkit.estimation import Estimate, Estimator, Inference, estimate
from evalkit.fit import Term
from evalkit.simulation import World, draw_outcome, lay_out, true_effect

COLUMNS = "term truth mean bias sd std_error coverage coverage_error rejected supported worlds failed".split()


def diagnose(
    world: World,
    estimator: Estimator,
    inference: Inference,
    *,
    seed: int,
    worlds: int = 500,
    level: float = 0.95,
    design: Design | None = None,
) -> pd.DataFrame:
    """Estimate in many panels drawn from one world, and compare with the truth.

    One row per effect, and for two subgroups one for their gap: truth, mean of the estimates, bias, their standard deviation
    (sd), the mean standard error, the share of intervals that cover the truth with its Monte Carlo error, the share that
    reject an effect of zero, the share in which the inference said that the design supports it, the number of worlds, and of
    those that could not be estimated (in none of the averages). `design` replaces the world's own, for example with another
    level of assignment. Raises DesignError where no world can be estimated.
    """
    if worlds < 2:
        raise DesignError(f"worlds is {worlds}", where="diagnose", remedy="draw at least 2, better 500")
    laid = lay_out(world, seed)
    drawn: list[pd.DataFrame] = []
    supported = failed = 0
    why = ""
    terms: list[Term] = []
    for i in range(worlds):
        rng = np.random.default_rng(np.random.SeedSequence([seed, crc32(b"diagnose"), i]))
        panel = laid.with_column("outcome", draw_outcome(world, laid, rng))
        try:
            one = estimate(panel, design or world.design, estimator, inference=inference)
        except EvalkitError as error:
            failed, why = failed + 1, str(error)
            continue
        drawn.append(_effects(one, level))
        terms = [term for term in one.fit.terms if term.role == "effect"]
        supported += one.uncertainty.unsupported is None
    if not drawn:
        raise DesignError("no world can be estimated", where="diagnose", remedy=why)
    last = max((term.event_time for term in terms if term.event_time is not None), default=None)
    truth = [true_effect(laid, term, last=term.event_time == last) for term in terms]
    if len(drawn[0]) > len(terms):
        truth.append(truth[1] - truth[0])
    names = drawn[0]["term"]
    if any(list(one["term"]) != list(names) for one in drawn):
        raise DesignError("the worlds differ in their terms", where="diagnose", remedy="make the worlds larger")
    rows = [
        {
            "term": name,
            **_compare(pd.DataFrame([one.iloc[i] for one in drawn]), truth[i], 1 - level),
            "supported": supported / len(drawn),
            "worlds": worlds,
            "failed": failed,
        }
        for i, name in enumerate(names)
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def _effects(one: Estimate, level: float) -> pd.DataFrame:
    """Rows of the effects, and of the gap between two subgroups (second less first)."""
    tidy = one.tidy(level=level)
    bases = {term.name for term in one.fit.terms if term.role == "base"}
    table = tidy[~tidy["term"].isin(bases)]
    if len(table) == 2 and table["subgroup"].notna().all():
        gap = one.contrast(table["term"].iloc[1], table["term"].iloc[0], level)
        table = pd.concat([table.astype(object), gap.astype(object)], ignore_index=True)
    return table[["term", "estimate", "std_error", "p_value", "conf_low", "conf_high"]]


def _compare(drawn: pd.DataFrame, truth: float, alpha: float) -> dict[str, float]:
    estimates, errors, p_values, low, high = (
        drawn[column].to_numpy(dtype=np.float64)
        for column in ("estimate", "std_error", "p_value", "conf_low", "conf_high")
    )
    covered = float(np.mean((low <= truth) & (truth <= high)))
    return {
        "truth": truth,
        "mean": float(estimates.mean()),
        "bias": float(estimates.mean() - truth),
        "sd": float(estimates.std(ddof=1)),
        "std_error": _mean(errors),
        "coverage": covered,
        "coverage_error": float(np.sqrt(covered * (1 - covered) / len(drawn))),
        "rejected": float(np.mean(p_values < alpha)),
    }


def _mean(values: Floats) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")
