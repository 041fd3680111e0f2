"""Power: of a two-sided t test, and of a joint test of leads against a linear trend."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
from scipy import stats
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri
from scipy.stats import qmc

from evalkit.numerics.arrays import Floats

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


_POINTS = 13  # log2 of the number of points; more moves a probability by less than 1e-5
_SEED = 20220901
_SINGULAR = 1e-10
_DOUBLINGS = 60


@dataclass(frozen=True)
class Leads:
    """Estimates before adoption, jointly normal, of which none may exceed its limit in absolute value.

    distances (K,) from the base in periods, negative before it; covariance (K, K); limits (K,), such as 1.96 standard errors.
    A trend of slope s has the means s times distances.
    """

    distances: Floats
    covariance: Floats
    limits: Floats

    @cached_property
    def is_singular(self) -> bool:
        """Say whether some lead is a combination of the others, or has no variance."""
        scale = np.sqrt(np.diag(self.covariance))
        if not (scale > 0).all():
            return True
        return bool(np.linalg.eigvalsh(self.covariance / np.outer(scale, scale))[0] <= _SINGULAR)

    def passing(self, slope: float) -> tuple[float, Floats]:
        """Probability that no lead exceeds its limit under a trend, and the mean (K,) of the leads given that.

        By the separation of variables of Genz, Journal of Computational and Graphical Statistics 1 (1992), section 2, on points
        that are always the same; the mean is weighed by importance on them. The last lead is integrated exactly.
        """
        means, n = slope * self.distances, len(self.distances)
        factor = self._factor
        z = np.zeros((1 << _POINTS, n))
        weight = np.ones(len(z))
        for k in range(n):
            centre = means[k] + z[:, :k] @ factor[k, :k]
            low, high = (-self.limits[k] - centre) / factor[k, k], (self.limits[k] - centre) / factor[k, k]
            below, inside = ndtr(low), ndtr(high) - ndtr(low)
            weight *= inside
            if k < n - 1:
                z[:, k] = ndtri(np.clip(below + self._points[:, k] * inside, 1e-300, 1 - 1e-16))
            else:
                density = (np.exp(-(low**2) / 2) - np.exp(-(high**2) / 2)) / np.sqrt(2 * np.pi)
                z[:, k] = density / np.maximum(inside, 1e-300)
        probability = float(weight.mean())
        mean: Floats = means + factor @ (weight @ z) / weight.sum()
        return probability, mean

    def slope_found(self, probability: float) -> float:
        """The slope, 0 or positive, at which some lead exceeds its limit with a probability; 0 where it does without a trend."""

        def lacking(slope: float) -> float:
            return probability - 1 + self.passing(slope)[0]

        if lacking(0.0) <= 0:
            return 0.0
        high = float(np.min(self.limits / np.abs(self.distances)))
        for _ in range(_DOUBLINGS):
            if lacking(high) < 0:
                break
            high *= 2
        return float(brentq(lacking, 0.0, high, xtol=1e-9 * high, rtol=1e-9))

    def mean_shift(self, slope: float, covariances: Floats) -> float:
        """How far an estimate with these covariances (K,) with the leads is moved, on average, by their all passing."""
        away = self.passing(slope)[1] - slope * self.distances
        scale = np.sqrt(np.diag(self.covariance))
        correlation = self.covariance / np.outer(scale, scale)
        return float((covariances / scale) @ np.linalg.solve(correlation, away / scale))

    @cached_property
    def _factor(self) -> Floats:
        return np.linalg.cholesky(self.covariance).astype(np.float64)

    @cached_property
    def _points(self) -> Floats:
        """Points (2^13, K-1) that fill the unit cube evenly."""
        n = max(len(self.distances) - 1, 1)
        points: Floats = qmc.Sobol(n, rng=np.random.default_rng(_SEED)).random_base2(_POINTS)
        return points
