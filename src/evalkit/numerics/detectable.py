"""Power of a two-sided t test, and the smallest effect that it finds with a given probability."""

from __future__ import annotations

from functools import cache

import numpy as np
from scipy import stats
from scipy.optimize import brentq

from evalkit.columns import Floats

_NODES, _TAIL = 400, 1e-15


def power_of_t(effect: float, *, std_error: float, df: float, alpha: float) -> float:
    """Probability that t rejects zero in either direction, when the estimate is normal with this true standard error.

    The noncentral t distribution, integrated over the estimated standard error: SciPy's own is NaN at some large effects.
    """
    critical, away = stats.t.ppf(1 - alpha / 2, df), effect / std_error
    spread = stats.chi(df, scale=1 / np.sqrt(df))  # estimated over true standard error
    low, high = spread.ppf(_TAIL), spread.isf(_TAIL)
    nodes, weights = _gauss()
    ratio = low + (high - low) * (nodes + 1) / 2
    rejects = stats.norm.sf(critical * ratio - away) + stats.norm.cdf(-critical * ratio - away)
    return float(min((high - low) / 2 * (weights * spread.pdf(ratio)) @ rejects, 1.0))


@cache
def _gauss() -> tuple[Floats, Floats]:
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    return nodes, weights


def detectable_effect(*, std_error: float, df: float, alpha: float, target: float) -> float:
    """The positive effect that t rejects with probability `target`, which must lie above alpha and below 1."""

    def lacking(ncp: float) -> float:
        return target - power_of_t(ncp, std_error=1.0, df=df, alpha=alpha)

    high = 4.0
    while lacking(high) > 0:
        high *= 2
    return float(brentq(lacking, 0.0, high, xtol=1e-12, rtol=1e-12)) * std_error
