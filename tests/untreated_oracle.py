"""Imputation and two stages written out with dummies and matrices in NumPy: no code of evalkit, for a few hundred rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Fitted:
    """First stage on untreated rows: Z (n, c) all regressors, base (n,) untreated rows, w (n,) weights, error (n,) y - Z θ."""

    Z: Array
    base: Array
    w: Array
    error: Array
    slopes: Array

    def row_weights(self, share: Array) -> Array:
        """Weights v (n, k) of all rows' outcomes in averages of treated rows with shares (n, k)."""
        Z0 = self.Z[self.base] * self.w[self.base, None]
        v = np.array(share, dtype=float)
        v[self.base] -= Z0 @ np.linalg.pinv(Z0.T @ self.Z[self.base], rcond=1e-13) @ (self.Z.T @ share)
        return v


def first_stage(
    f: pd.DataFrame, y: str, effects: list[Any], base: Array, covariates: tuple[str, ...] = (), weights: Any = None
) -> Fitted:
    """Fit by least squares with one dummy per level, and predict every row."""
    w = np.ones(len(f)) if weights is None else np.asarray(weights, dtype=float)
    X = f[list(covariates)].to_numpy(float)
    Z = np.column_stack([*(pd.get_dummies(effect).to_numpy(float) for effect in effects), X])
    root = np.sqrt(w[base])
    theta = np.linalg.lstsq(Z[base] * root[:, None], f[y].to_numpy(float)[base] * root, rcond=1e-13)[0]
    return Fitted(Z, base, w, f[y].to_numpy(float) - Z @ theta, theta[Z.shape[1] - X.shape[1] :])


def shares(fitted: Fitted, keys: Any) -> tuple[list[Any], Array]:
    """Labels of the averages and the share (n, k) of each row, by key; rows with a missing key are in none."""
    labels = sorted(pd.unique(keys.dropna()))
    share = np.column_stack([(keys == label).to_numpy(float) * fitted.w for label in labels])
    return labels, share / share.sum(axis=0)


def conservative(
    fitted: Fitted, share: Array, groups: Any, counts: Any = None, clusters: Any = None
) -> tuple[Array, Array]:
    """Averages (k,) and influence by row (n, k): v times the residual, for treated rows less their group's mean.

    With `clusters`, the mean is taken over the rows of other clusters. Loops on purpose.
    """
    v = fitted.row_weights(share)
    n = np.ones(len(v)) if counts is None else np.asarray(counts, dtype=float)
    influence = v * fitted.error[:, None]
    for j in range(share.shape[1]):
        for i in np.flatnonzero(share[:, j] > 0):
            same = (groups == groups[i]) & (share[:, j] > 0)
            if clusters is not None:
                same &= clusters != clusters[i]
            q = v[same, j] ** 2 / n[same]
            influence[i, j] = v[i, j] * (fitted.error[i] - q @ fitted.error[same] / q.sum())
    return share.T @ fitted.error, influence


def stacked_moments(
    f: pd.DataFrame, y: str, Z: Array, base: Array, X2: Array, w: Array, cluster: Array
) -> tuple[Array, Array]:
    """Two stages as one just-identified GMM: coefficients of the second stage and their clustered covariance, no factor.

    Moments are Z0'w(y - Zγ) and X2'w(y - Zγ - X2β); the covariance is A^-1 B A^-1' of both stages together.
    """
    outcome = f[y].to_numpy(float)
    Z = Z[
        :, np.abs(np.linalg.qr(Z[base] * np.sqrt(w[base])[:, None])[1].diagonal()) > 1e-8
    ]  # independent columns, in order
    Z0 = Z * (base * w)[:, None]
    gamma = np.linalg.solve(Z0.T @ Z, Z0.T @ outcome)
    rest = outcome - Z @ gamma
    W2 = X2 * w[:, None]
    beta = np.linalg.solve(W2.T @ X2, W2.T @ rest)
    moments = np.column_stack([Z0 * rest[:, None], W2 * (rest - X2 @ beta)[:, None]])
    c = Z.shape[1]
    A = np.zeros((moments.shape[1], moments.shape[1]))
    A[:c, :c], A[c:, :c], A[c:, c:] = Z0.T @ Z, W2.T @ Z, W2.T @ X2
    summed = pd.DataFrame(moments).groupby(cluster).sum().to_numpy()
    root = np.linalg.solve(A, summed.T)
    return beta, (root @ root.T)[c:, c:]


def covariance(influence: Array, cluster: Any) -> Array:
    """Outer products of the influence summed within clusters."""
    summed = pd.DataFrame(influence).groupby(np.asarray(cluster)).sum().to_numpy()
    return np.asarray(summed.T @ summed)


def villages(seed: int = 3) -> pd.DataFrame:
    """40 farms in 10 counties, 2010-2017, cohorts 2013, 2014 and 2016, an eighth of the rows absent; weights and covariates."""
    rng = np.random.default_rng(seed)
    f = pd.DataFrame({"farm": np.repeat(np.arange(40), 8), "year": np.tile(np.arange(2010, 2018), 40)})
    f["county"] = f["farm"] // 4
    f["first"] = f["county"].map({0: 2013.0, 1: 2013.0, 2: 2014.0, 3: 2014.0, 4: 2016.0, 5: 2016.0})
    f["sector"] = f["farm"] % 2
    f["rain"], f["price"] = rng.normal(size=len(f)), rng.normal(size=len(f)) + 0.3 * (f["year"] - 2010)
    f["area"] = np.exp(rng.normal(size=len(f)) / 2)
    f["size"] = rng.integers(1, 4, 40)[f["farm"]]
    treated = f["year"] >= f["first"]
    since = (f["year"] - f["first"]).where(treated, 0.0)
    f["y"] = rng.normal(size=len(f)) + 0.1 * f["farm"] + 0.3 * (f["year"] - 2010) ** 1.5 + 0.4 * f["rain"]
    f["y"] += treated * (0.5 + 0.3 * since + 0.2 * (f["first"] == 2014))
    return f[rng.random(len(f)) > 0.125].reset_index(drop=True)
