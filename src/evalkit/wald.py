"""Wald: a joint test of several coefficients."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from evalkit.catalogue import Message
from evalkit.columns import Floats
from evalkit.errors import InferenceError


@dataclass(frozen=True)
class Wald:
    """A joint test that coefficients are zero: F with its degrees of freedom; p is NaN where the design cannot support it."""

    terms: tuple[str, ...]
    statistic: float
    df: tuple[int, float]
    p_value: float
    reason: Message | None


def judge_jointly(terms: tuple[str, ...], b: Floats, V: Floats, df: Floats, reason: Message | None) -> Wald:
    """Test that coefficients b (q,) with covariance V (q, q) are zero, by F(q, the smallest of df (q,)).

    p is NaN where a `reason` says that F does not hold. Correlations are solved, so that units of measurement do not matter.
    """
    if not terms:
        raise InferenceError("no terms are given", where="wald", remedy="name at least one term of .params")
    scale = np.sqrt(np.diag(V))
    if not (scale > 0).all():
        raise InferenceError(
            "a term has no standard error", where=", ".join(terms), remedy="leave out the reference term"
        )
    smallest = float(np.min(df))
    if len(terms) >= smallest:
        raise InferenceError(
            f"{len(terms)} terms cannot be tested jointly with {smallest:g} degrees of freedom",
            where="wald",
            remedy="test fewer terms, or bin event times",
        )
    correlation = V / np.outer(scale, scale)
    if np.linalg.matrix_rank(correlation, tol=1e-10) < len(terms):
        raise InferenceError(
            f"the covariance of these {len(terms)} terms is singular", where="wald", remedy="test fewer terms"
        )
    z = b / scale
    statistic = float(z @ np.linalg.solve(correlation, z)) / len(terms)
    p = float(stats.f.sf(statistic, len(terms), smallest)) if reason is None else float("nan")
    return Wald(terms, statistic, (len(terms), smallest), p, reason)
