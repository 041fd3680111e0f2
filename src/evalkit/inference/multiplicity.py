"""Multiplicity: p-values that allow for how many hypotheses were tested."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from evalkit.catalogue import Message, message
from evalkit.errors import DataError, InferenceError, nearest
from evalkit.numerics.arrays import Floats
from evalkit.results.estimation import Estimate
from evalkit.results.uncertainty import Ranks, SharedRanking

ADJUSTED = "name term estimate std_error p_value p_holm p_romano_wolf".split()
_TIE = 1e-9  # relative: statistics that differ by less are one


def adjust(estimates: Mapping[str, Estimate], terms: Sequence[str] = ("ATT",)) -> pd.DataFrame:
    """Adjust the p-values of all these terms of all these estimates, as one family: the chance of one false finding or more.

    One row for each estimate and term, with the p-value by its inference; p_holm, which holds however the tests depend on one
    another; and p_romano_wolf, which uses how they do and is mostly smaller. The latter needs wild bootstraps whose draws are the
    same, one by one: same clusters, weights, draws and seed, on whatever outcomes or rows. On each draw every hypothesis is
    imposed on its own regression where its WildBootstrap is restricted, as by R wildrwolf and pyfixest (which count the sample
    once more where all vectors of weights are enumerated); else draws are around the estimates. One hypothesis alone keeps its p.
    Where p_romano_wolf cannot be had it is NaN, and where the p-values of an estimate are unsupported both are;
    `frame.attrs["reason"]` says why (else None). Raises DataError for an unknown term, InferenceError for one without a p-value.
    Sources: Holm, Scandinavian Journal of Statistics 6 (1979); Romano and Wolf, Econometrica 73 (2005), and Statistics and
    Probability Letters 113 (2016) on p-values.
    """
    if not isinstance(estimates, Mapping) or not estimates or isinstance(terms, str) or not terms:
        raise InferenceError(
            "there is nothing to adjust"
            if not estimates or not terms
            else "these are not estimates by name and a list of terms",
            where="adjust",
            remedy='write, for example, adjust({"yield": one, "income": two}, ["ATT"])',
        )
    family = [(name, one, _position(name, one, term)) for name, one in estimates.items() for term in terms]
    frame = pd.DataFrame([_row(*hypothesis) for hypothesis in family])
    unsupported = [one.uncertainty.unsupported for one in estimates.values() if one.uncertainty.unsupported is not None]
    shared = unsupported[0] if unsupported else _share_draws(estimates)
    frame["p_holm"] = np.nan if unsupported else _holm(frame["p_value"].to_numpy(float))
    frame["p_romano_wolf"] = np.nan
    if not isinstance(shared, Message):
        frame["p_romano_wolf"] = _romano_wolf([shared[name].ranked(_alone(one, at)) for name, one, at in family])
    frame.attrs["reason"] = shared if isinstance(shared, Message) else None
    return frame[ADJUSTED]


def _alone(one: Estimate, position: int) -> Floats:
    """Weights (1, k) of one term."""
    return np.eye(len(one.fit.terms))[[position]]


def _row(name: str, one: Estimate, position: int) -> dict[str, object]:
    term, weights = one.fit.terms[position], _alone(one, position)[0]
    p = float("nan") if term.role == "base" else one.distribution.p_value(weights)
    if np.isnan(p):
        raise InferenceError(f"term '{term.name}' of '{name}' has no p-value", where="adjust", remedy="leave it out")
    told = {
        "estimate": float(one.fit.coefficients[position]),
        "std_error": one.distribution.std_error(weights),
        "p_value": p,
    }
    return {"name": name, "term": term.name, **told}


def _position(name: str, one: Estimate, term: str) -> int:
    known = [own.name for own in one.fit.terms]
    if term not in known:
        raise DataError(f"'{name}' has no term '{term}'", where="adjust", remedy=nearest(term, known))
    return known.index(term)


def _holm(p: Floats) -> Floats:
    """Multiply the smallest of m by m, the next by m - 1, and so on; never less than the one before, at most 1."""
    order = np.argsort(p, kind="stable")
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1.0)
    return adjusted


def _share_draws(estimates: Mapping[str, Estimate]) -> Mapping[str, SharedRanking] | Message:
    """The distributions of the estimates, whose draws are the same; or why they are not."""
    distributions = {name: one.distribution for name, one in estimates.items()}
    ranking = {
        name: distribution for name, distribution in distributions.items() if isinstance(distribution, SharedRanking)
    }
    if len(ranking) < len(distributions):
        return message("note.adjust_no_draws", names=", ".join(name for name in distributions if name not in ranking))
    first = next(iter(ranking))
    apart = [name for name, distribution in ranking.items() if distribution.source != ranking[first].source]
    return message("note.adjust_other_draws", names=", ".join(apart), first=first) if apart else ranking


def _romano_wolf(ranks: Sequence[Ranks]) -> Floats:
    """Rank the largest |t| among the largest of each draw, then the next among those of the hypotheses not yet passed.

    A p-value is never less than that of a larger |t|. The sample counts as a draw where it is not among them for all.
    """
    actual, drawn = np.concatenate([one.actual for one in ranks]), np.concatenate([one.drawn for one in ranks])
    extra = 0 if all(one.whole for one in ranks) else 1
    adjusted, so_far = np.empty(len(actual)), 0.0
    left = list(np.argsort(-actual, kind="stable"))
    while left:
        extreme = np.count_nonzero(drawn[left].max(axis=0) >= actual[left[0]] * (1 - _TIE))
        so_far = max(so_far, (extreme + extra) / (drawn.shape[1] + extra))
        adjusted[left.pop(0)] = so_far
    return adjusted
