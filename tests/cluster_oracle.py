"""Few-cluster inference written out a second time, with every dummy in the regression and the whole hat matrix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Rows:
    """A regression with dummies on rows multiplied by the root of their weights.

    y (n,); X (n, k) the terms; D (n, d) the dummies; groups (n,) the clusters; P (k, n) makes the coefficients of the terms;
    M (n, n) the residuals; root (n,) that of the weights.
    """

    y: Array
    X: Array
    D: Array
    groups: Array
    P: Array
    M: Array
    root: Array

    def shocks(self, period: Any) -> Array:
        """Indicators (n, S) of each cluster and period, on rows multiplied by the root of their weights."""
        cell = pd.DataFrame({"group": self.groups, "period": np.asarray(period)}).groupby(["group", "period"]).ngroup()
        return np.asarray(np.eye(int(cell.max()) + 1)[cell] * self.root[:, None])

    def loadings(self, period: Any) -> Array:
        """How much each coefficient moves (G, k, T) when the outcome of a cluster rises by 1 in a period."""
        codes = pd.factorize(np.asarray(period), sort=True)[0]
        moved = self.P * self.root
        return np.array([[np.bincount(codes[g], row[g], codes.max() + 1) for row in moved] for g in self.members])

    @property
    def b(self) -> Array:
        return self.P @ self.y

    @property
    def u(self) -> Array:
        return self.M @ self.y

    @property
    def members(self) -> list[Array]:
        return [np.flatnonzero(self.groups == g) for g in np.unique(self.groups)]


def rows_of(y: Any, X: Any, effects: Sequence[Any], groups: Any, weights: Any = None) -> Rows:
    """Make the regression of y (n,) on X (n, k) and dummies of the effects, each (n,) labels."""
    y, X = np.asarray(y, dtype=float), np.asarray(X, dtype=float)
    root = np.ones(len(y)) if weights is None else np.sqrt(np.asarray(weights, dtype=float))
    D = np.column_stack([pd.get_dummies(pd.Series(pd.factorize(np.asarray(e))[0])).to_numpy(float) for e in effects])
    y, X, D = y * root, X * root[:, None], D * root[:, None]
    basis, lengths, _ = np.linalg.svd(D, full_matrices=False)
    basis = basis[:, lengths > 1e-10 * lengths[0]]
    free = np.eye(len(y)) - basis @ basis.T
    left = free @ (free @ X)
    scale = np.sqrt((left**2).sum(axis=0))
    Q, R = np.linalg.qr(left / scale)
    return Rows(y, X, D, np.asarray(groups), np.linalg.solve(R, Q.T) / scale[:, None], free - Q @ Q.T, root)


def effective(loadings: Array) -> float:
    """Number of equal clusters, (Σv)²/Σv², v = Σ c² over the periods of loadings (G, T)."""
    v = (loadings**2).sum(axis=1)
    return float(v.sum() ** 2 / (v**2).sum())


def power(block: Array, exponent: float) -> Array:
    """Raise a symmetric matrix to a power, leaving out what it has lost."""
    values, vectors = np.linalg.eigh(block)
    raised = np.where(values > 1e-9, np.maximum(values, 1e-9) ** exponent, 0.0)
    return np.asarray(vectors * raised @ vectors.T)


@dataclass(frozen=True)
class Adjusted:
    """CR2 of a regression: its scores (G, k) and, for each cluster, the vectors (n, k) whose products with errors they are."""

    scores: Array
    vectors: Array

    @property
    def covariance(self) -> Array:
        return np.asarray(self.scores.T @ self.scores)

    def std_error(self, weights: Array) -> float:
        return float(np.linalg.norm(self.scores @ weights))

    def df(self, weights: Array, errors: Array | None = None) -> float:
        """(Σ p_g'Ωp_g)² / Σ (p_g'Ωp_h)², Ω = zz' of errors z (n, S), or of one for each row."""
        p = self.vectors @ weights
        p = p if errors is None else p @ errors
        pairs = p @ p.T
        return float(np.trace(pairs) ** 2 / (pairs**2).sum())

    def hotelling(self, b: Array, weights: Array) -> tuple[float, float, float]:
        """F, its denominator degrees of freedom and p of the hypotheses weights (q, k) · b = 0."""
        q = len(weights)
        p = self.vectors @ weights.T  # (G, n, q)
        expected = np.einsum("gns,gnt->st", p, p)
        values, vectors = np.linalg.eigh(expected)
        p = p @ (vectors / np.sqrt(values) @ vectors.T)
        flat = p.transpose(0, 2, 1).reshape(-1, p.shape[1])
        pairs = (flat @ flat.T).reshape(len(p), q, len(p), q)  # E[r_gs r_ht]
        # Var of element (s, t) of Σ r_g r_g', r normal: Σ_gh E[r_gs r_hs] E[r_gt r_ht] + E[r_gs r_ht] E[r_gt r_hs]
        total = np.einsum("gshs,gtht->", pairs, pairs) + np.einsum("gsht,gths->", pairs, pairs)
        eta = q * (q + 1) / total
        r = weights @ b
        statistic = (eta - q + 1) / (eta * q) * r @ np.linalg.solve(weights @ self.covariance @ weights.T, r)
        return float(statistic), float(eta - q + 1), float(stats.f.sf(statistic, q, eta - q + 1))


def bias_reduced(rows: Rows) -> Adjusted:
    """Multiply each cluster's residuals by (M_gg)^-1/2."""
    scores, vectors = [], []
    for g in rows.members:
        pull = rows.P[:, g] @ power(rows.M[np.ix_(g, g)], -0.5)  # (k, n_g)
        scores.append(pull @ rows.u[g])
        vectors.append((pull @ rows.M[g]).T)
    return Adjusted(np.array(scores), np.array(vectors))


def without_each(rows: Rows) -> Array:
    """Estimate anew without each cluster: changes (G, k) of the coefficients."""
    whole = np.column_stack([rows.X, rows.D])
    moves = []
    for g in rows.members:
        kept = np.setdiff1d(np.arange(len(rows.y)), g)
        moves.append(np.linalg.lstsq(whole[kept], rows.y[kept], rcond=1e-12)[0][: rows.X.shape[1]] - rows.b)
    return np.array(moves)


def all_vectors(points: Sequence[float], n_clusters: int) -> Array:
    """Every vector of weights, (B, G)."""
    return np.array(list(product(points, repeat=n_clusters)))


def wild_statistics(rows: Rows, weights: Any, vectors: Array, *, null: Any = 0.0, restricted: bool = True) -> Array:
    """Wald statistics, the sample's own first, of draws (B, G), each estimated anew; what they test is weights (q, k) · b = null.

    Residuals are those of the regression on which the hypotheses are imposed, or its own; a clustered covariance without factors.
    """
    weights = np.atleast_2d(np.asarray(weights, dtype=float))
    r = np.broadcast_to(np.asarray(null, dtype=float), len(weights))
    whole = np.column_stack([rows.X, rows.D])
    fitted, at = rows.y - rows.u, weights @ rows.b
    if restricted:  # b = particular + free · c
        particular = np.linalg.lstsq(weights, r, rcond=None)[0]
        free = np.linalg.svd(weights)[2][len(weights) :].T
        narrow = np.column_stack([rows.X @ free, rows.D])
        rest = rows.y - rows.X @ particular
        fitted = rows.X @ particular + narrow @ np.linalg.lstsq(narrow, rest, rcond=1e-12)[0]
        at = r
    members = rows.members
    sign = np.empty((len(rows.y), len(vectors)))
    for g, column in zip(members, vectors.T, strict=True):
        sign[g] = column
    y = fitted[:, None] + sign * (rows.y - fitted)[:, None]
    b = np.linalg.lstsq(whole, y, rcond=1e-12)[0]
    left = y - whole @ b
    own = statistic(rows, weights, rows.b[:, None], rows.u[:, None], r)
    return np.append(own, statistic(rows, weights, b[: rows.X.shape[1]], left, at))


def statistic(rows: Rows, weights: Array, b: Array, left: Array, null: Array) -> Array:
    """Wald statistics (B,) of coefficients (k, B) with residuals (n, B)."""
    scores = np.array([weights @ rows.P[:, g] @ left[g] for g in rows.members])  # (G, q, B)
    covariance = np.einsum("gqb,grb->bqr", scores, scores)
    away = (weights @ b - null[:, None]).T
    return np.einsum("bq,bq->b", away, np.linalg.solve(covariance, away[..., None])[..., 0])


def share(statistics: Array) -> float:
    """Share of draws at least as large as the sample's own, which comes first; those within 1e-9 of it count as ties."""
    return float(np.mean(statistics[1:] >= statistics[0] * (1 - 2e-9)))
