"""References that share no code with evalkit: least squares with dummies in NumPy, and live calls of pyfixest."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class DummyRegression:
    """Least squares with one column per level of every effect.

    b (k,), X (n, k) and u (n,) residualised on the dummies, bread (k, k), w (n,), effects (each (n,) labels), and
    n observations.
    """

    b: Array
    X: Array
    u: Array
    bread: Array
    w: Array
    effects: tuple[Array, ...]
    n: float
    counts: Array
    _ranks: dict[tuple[int, ...], int] = field(default_factory=dict)

    def rank(self, which: tuple[int, ...]) -> int:
        """Independent columns among a constant and the dummies of some of the effects."""
        if which not in self._ranks:
            self._ranks[which] = count_effects([self.effects[i] for i in which])
        return self._ranks[which]

    @property
    def every(self) -> tuple[int, ...]:
        return tuple(range(len(self.effects)))


def dummy_regression(
    y: Any, X: Any, effects: Sequence[Any], weights: Any = None, counts: Any = None
) -> DummyRegression:
    """Regress y (n,) on X (n, k) and dummies of all effects, weighted; counts are frequencies of the rows."""
    y, X = np.asarray(y, dtype=float), np.asarray(X, dtype=float)
    freq = np.ones(len(y)) if counts is None else np.asarray(counts, dtype=float)
    w = freq if weights is None else freq * np.asarray(weights, dtype=float)
    labels = tuple(np.asarray(effect) for effect in effects)
    root = np.sqrt(w)[:, None]
    D = _dummies(labels) * root
    target = np.column_stack([y - y.mean(), X]) * root
    left = target - D @ np.linalg.lstsq(D, target, rcond=1e-12)[0]
    left -= D @ np.linalg.lstsq(D, left, rcond=1e-12)[0]
    ry, rX = left[:, 0], left[:, 1:]
    length = np.sqrt((rX**2).sum(axis=0))  # columns of very different size would cost digits
    b = np.linalg.lstsq(rX / length, ry, rcond=None)[0] / length
    u = (ry - rX @ b) / root[:, 0]
    bread = np.linalg.inv((rX / length).T @ (rX / length)) / np.outer(length, length)
    return DummyRegression(b, rX / root, u, bread, w, labels, float(freq.sum()), freq)


def count_effects(effects: Sequence[Array]) -> int:
    """Independent columns among a constant and the dummies of the effects, by the eigenvalues of their cross-product.

    Entries are counts, so that a zero eigenvalue comes out below 1e-12 of the largest; the others are well above 1e-9.
    """
    if not effects:
        return 1
    D = _dummies(effects)
    values = np.linalg.eigvalsh(D.T @ D)
    return int((values > 1e-9 * values.max()).sum())


def classical(r: DummyRegression) -> tuple[Array, float]:
    """s² (X'WX)^-1 with N - K degrees of freedom, K counting all columns."""
    df = r.n - r.X.shape[1] - r.rank(r.every)
    return float(r.w @ r.u**2) / df * r.bread, df


def robust(r: DummyRegression) -> tuple[Array, float]:
    """HC1: N/(N - K) times the sandwich over original rows."""
    df = r.n - r.X.shape[1] - r.rank(r.every)
    scores = r.X * (r.w * r.u / np.sqrt(r.counts))[:, None]
    return r.n / df * r.bread @ (scores.T @ scores) @ r.bread, df


def clustered(r: DummyRegression, groups: Sequence[Any], correction: str) -> tuple[Array, float]:
    """V1 (+ V2 - V12), not mended, min G in the factor; K counts slopes and effects not nested in any cluster."""
    ways = [pd.factorize(np.asarray(group))[0] for group in groups]
    g = min(len(np.unique(way)) for way in ways)
    loose = tuple(
        i
        for i, effect in enumerate(r.effects)
        if all(pd.Series(way).groupby(effect).nunique().max() > 1 for way in ways)
    )
    k = r.X.shape[1] + r.rank(r.every if correction == "all_effects" else loose)
    factor = 1.0 if correction == "none" else g / (g - 1) * (r.n - 1) / (r.n - k)
    meat = sum((_meat(r, way) for way in ways), start=np.zeros_like(r.bread))
    if len(ways) == 2:
        meat = meat - _meat(r, ways[0] * (ways[1].max() + 1) + ways[1])
    return factor * r.bread @ meat @ r.bread, g - 1.0


def _meat(r: DummyRegression, way: Array) -> Array:
    scores = pd.DataFrame(r.X * (r.w * r.u)[:, None]).groupby(way).sum().to_numpy()
    return np.asarray(scores.T @ scores)


def _dummies(effects: Sequence[Array]) -> Array:
    columns = []
    for effect in effects:
        codes = pd.factorize(effect)[0]
        block = np.zeros((len(codes), codes.max() + 1))
        block[np.arange(len(codes)), codes] = 1.0
        columns.append(block)
    return np.column_stack(columns)


def pyfixest_fit(
    formula: str, data: pd.DataFrame, *, weights: str | None, vcov: Any, k_fixef: str | None
) -> tuple[Array, Array]:
    """Return coefficients and covariance of pyfixest, keeping singletons, demeaned to 1e-14.

    k_fixef=None asks for no small-sample factor.
    k_fixef="nonnested" is never asked for: with nested effects its count of effects depends on PYTHONHASHSEED.
    """
    import pyfixest as pf

    ssc = pf.ssc(k_adj=False, G_adj=False) if k_fixef is None else pf.ssc(k_fixef=k_fixef)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it calls pandas in ways that pandas 3 deprecates
        fit = pf.feols(
            formula,
            data,
            vcov=vcov,
            weights=weights,
            ssc=ssc,
            fixef_rm="none",
            demeaner=pf.MapDemeaner(fixef_tol=1e-14, fixef_maxiter=100_000),
        )
    return np.asarray(fit._beta_hat).reshape(-1), np.asarray(fit._vcov)
