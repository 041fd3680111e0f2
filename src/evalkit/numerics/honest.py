"""What intervals under violations of parallel trends share: the path of effects they start from, and where they reach zero."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from evalkit.columns import Floats

ALPHA = 0.05
PRECISION = 1e-6  # of a breakdown value, relative

# Breakdown values are looked for between these multiples of what they are measured in, and above by doubling.
_HIGHEST, _LOWEST, _DOUBLINGS = 2.0**10, 2.0**-10, 40


@dataclass(frozen=True)
class Path:
    """Effects by event time, each against the last period before adoption, with the effect that is asked about.

    leads (P,) are those of event times -P-1 … -2, lags (T,) those of 0 … T-1, covariance (P+T, P+T) that of both, leads first.
    The effect asked about is the sum of lags times weights (T,).
    """

    leads: Floats
    lags: Floats
    covariance: Floats
    weights: Floats

    @property
    def estimates(self) -> Floats:
        """Leads and lags (P+T,)."""
        return np.concatenate([self.leads, self.lags])

    @property
    def loading(self) -> Floats:
        """Weights (P+T,) of leads and lags in the effect asked about."""
        return np.concatenate([np.zeros(len(self.leads)), self.weights])

    @property
    def effect(self) -> float:
        return float(self.weights @ self.lags)

    @property
    def std_error(self) -> float:
        return float(np.sqrt(self.loading @ self.covariance @ self.loading))


@dataclass(frozen=True)
class Interval:
    """The smallest interval that holds a 95 % confidence set."""

    low: float
    high: float

    @property
    def has_zero(self) -> bool:
        return self.low <= 0.0 <= self.high


def original_interval(path: Path) -> Interval:
    """Return the interval for parallel trends, by the normal distribution (as R HonestDiD, constructOriginalCS)."""
    margin = float(ndtri(1 - ALPHA / 2)) * path.std_error
    return Interval(path.effect - margin, path.effect + margin)


def breakdown(interval: Callable[[float], Interval], unit: float) -> float:
    """Find the largest bound on violations for which the interval leaves out zero, to a millionth of its size.

    `interval` is that of a bound from 0 on; `unit` says in what size of steps bounds count. NaN where no interval leaves out
    zero, infinite where all do. An interval for a larger bound holds for smaller ones, too: the last that leaves out zero counts.
    """
    reached = _HIGHEST * unit
    for _ in range(_DOUBLINGS):
        if interval(reached).has_zero:
            break
        reached *= 2
    else:
        return float("inf")
    clear = reached / 2
    while interval(clear).has_zero:
        if clear < _LOWEST * unit:
            if interval(0.0).has_zero:
                return float("nan")
            clear = 0.0
            break
        reached, clear = clear, clear / 2
    while reached - clear > PRECISION * max(clear, _LOWEST * unit):
        middle = (clear + reached) / 2
        if interval(middle).has_zero:
            reached = middle
        else:
            clear = middle
    return clear
