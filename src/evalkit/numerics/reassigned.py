"""A regression on "treated from here on" with the dates re-assigned: from sums by cluster and date, without its rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import solve_triangular

from evalkit.columns import Floats, Ints
from evalkit.numerics.absorb import independent_levels, level_cross_product, number_jointly
from evalkit.numerics.clusters import _level_grams

_BLOCK = 1 << 21  # numbers in one block of gathered sums
# A treatment of which less than this share, by its square, is left once the effects are absorbed cannot be told from them.
_LEFT = 1e-12
_EMPTY = 1e-20  # share of the classical variance below which a clustered one is rounding


@dataclass(frozen=True)
class DateSums:
    """What each of G clusters contributes to a regression of m outcomes on one treatment that starts at one of J dates.

    Outcomes are residuals on all effects and covariates. Q, never formed, is an orthonormal basis of the covariates and of the
    effects besides those of units, all de-meaned by unit. pulled (G, J, m) holds sums of outcomes from each date on, lengths
    (G, J) the squared length of the treatment de-meaned by unit, loads (G, J, p) its products with Q_g, sums (G, p, m) Q_g'y_g,
    gram (G, p, p) Q_g'Q_g, squares (m,) the sum of squares of each outcome. All are weighted.
    """

    pulled: Floats
    lengths: Floats
    loads: Floats
    sums: Floats
    gram: Floats
    squares: Floats

    def effects(self, dates: Ints) -> tuple[Floats, Floats]:
        """Coefficients (B, m) and their influence (B, G, m) under assignments (B, G) of dates; NaN where there are none.

        With a = Σ loads, the treatment keeps the square d = Σ lengths - a'a once all is absorbed; b = Σ pulled / d, and the
        influence of a cluster is (pulled_g - a'sums_g - b (length_g - 2 a'load_g + a'gram_g a)) / d.
        """
        lengths, pulled = self._gather(self.lengths[..., None], dates)[..., 0], self._gather(self.pulled, dates)
        coefficients, influence = np.empty(pulled[:, 0].shape), np.empty(pulled.shape)
        step = max(1, _BLOCK // max(1, dates.shape[1] * self.loads.shape[2]))
        for first in range(0, len(dates), step):
            block = slice(first, first + step)
            left = self.remaining(dates[block])
            loads = self._gather(self.loads, dates[block])
            a = loads.sum(axis=1)
            b = pulled[block].sum(axis=1) / left[:, None]
            own = lengths[block] - 2 * np.einsum("bgp,bp->bg", loads, a) + self._quadratic(a)
            scores = pulled[block] - np.einsum("bp,gpm->bgm", a, self.sums) - b[:, None, :] * own[:, :, None]
            influence[block] = self._clear(scores / left[:, None, None], b, left)
            coefficients[block] = b
        return coefficients, influence

    def remaining(self, dates: Ints) -> Floats:
        """Squared length (B,) of the treatment once all is absorbed; NaN where that is nothing."""
        a = self._gather(self.loads, dates).sum(axis=1)
        whole = self._gather(self.lengths[..., None], dates).sum(axis=(1, 2))
        left = whole - np.einsum("bp,bp->b", a, a)
        return np.where(left > _LEFT * whole, left, np.nan)

    def _gather(self, table: Floats, dates: Ints) -> Floats:
        """Lines of a table (G, J, m) that belong to assignments (B, G), giving (B, G, m)."""
        n_clusters, n_dates, m = table.shape
        gathered: Floats = table.reshape(-1, m)[np.arange(n_clusters) * n_dates + dates]
        return gathered

    def _quadratic(self, a: Floats) -> Floats:
        """Return a'gram_g a, (B, G)."""
        n_clusters, p, _ = self.gram.shape
        forms = np.empty((len(a), n_clusters))
        for g in range(n_clusters) if p > n_clusters else ():
            forms[:, g] = np.einsum("bp,bp->b", a @ self.gram[g], a)
        if p <= n_clusters:
            forms = (a[:, :, None] * a[:, None, :]).reshape(len(a), -1) @ self.gram.reshape(n_clusters, -1).T
        return forms

    def _clear(self, influence: Floats, b: Floats, left: Floats) -> Floats:
        """Set an influence (B, G, m) to 0 whose sum of squares is rounding."""
        noise = np.maximum(self.squares - b**2 * left[:, None], 1e-13 * self.squares)
        small = np.einsum("bgm,bgm->bm", influence, influence) <= _EMPTY * noise / left[:, None]
        return np.where(small[:, None, :], 0.0, influence)


def date_sums(
    *,
    outcomes: Floats,
    covariates: Floats,
    bread: Floats,
    weights: Floats | None,
    unit: Ints,
    factors: tuple[Ints, ...],
    cluster: Ints,
    n_clusters: int,
    since: Ints,
    n_dates: int,
) -> DateSums:
    """Sum by cluster and date.

    outcomes (n, m) are residuals on the covariates and all effects, covariates X (n, k) on the effects, bread (k, k) is
    (X'WX)^-1; unit and factors, the further effects, are codes (n,), those of unit sorted; cluster (n,) codes below n_clusters,
    none of which divides a unit; since (n,) says how many of the n_dates dates, in order, have come by the row's period.
    """
    pull = np.ones(len(unit)) if weights is None else weights
    levels, n_levels = number_jointly(factors)
    own = _level_grams(unit, (*levels, since + n_levels), n_levels + n_dates + 1, weights, cluster, n_clusters)

    def within(columns: Floats, codes: tuple[Ints, ...], n_codes: int) -> Floats:
        """Sum weighted columns (n, c) by cluster and code, giving (G, codes, c)."""
        total = np.zeros((n_clusters * n_codes, columns.shape[1]))
        for j, column in enumerate(columns.T):
            for code in codes:
                total[:, j] += np.bincount(cluster * n_codes + code, column * pull, len(total))
        return total.reshape(n_clusters, n_codes, columns.shape[1])

    def from_date_on(table: Floats, axis: int) -> Floats:
        """From sums by how many dates have come, those of each date and all later ones."""
        turned = np.flip(np.cumsum(np.flip(table, axis), axis=axis), axis)
        return np.take(turned, np.arange(1, n_dates + 1), axis=axis)

    lengths = np.einsum("gjj->gj", from_date_on(from_date_on(own[:, n_levels:, n_levels:], 1), 2))
    reference = np.diag(level_cross_product(levels, n_levels, weights))
    kept, factor = independent_levels(own[:, :n_levels, :n_levels].sum(axis=0), reference)
    to_basis = solve_triangular(factor, np.eye(len(kept)), lower=True, check_finite=False)
    covariates = covariates @ np.linalg.cholesky(bread)  # orthonormal, with the weights between
    k, p = covariates.shape[1], covariates.shape[1] + len(kept)
    crossed = to_basis @ within(np.column_stack([covariates, outcomes]), levels, n_levels)[:, kept]  # (G, r, k + m)
    gram = np.empty((n_clusters, p, p))
    for i in range(k):
        gram[:, i, :k] = within(covariates * covariates[:, [i]], (np.zeros_like(cluster),), 1)[:, 0]
    gram[:, k:, :k] = crossed[:, :, :k]
    gram[:, :k, k:] = crossed[:, :, :k].transpose(0, 2, 1)
    gram[:, k:, k:] = to_basis @ own[:, kept[:, None], kept] @ to_basis.T
    of_covariates = [within(covariates[:, [i]] * outcomes, (np.zeros_like(cluster),), 1) for i in range(k)]
    return DateSums(
        pulled=from_date_on(within(outcomes, (since,), n_dates + 1), 1),
        lengths=lengths,
        loads=np.concatenate(
            [
                from_date_on(within(covariates, (since,), n_dates + 1), 1),
                from_date_on(own[:, n_levels:, kept], 1) @ to_basis.T,
            ],
            axis=2,
        ),
        sums=np.concatenate([*of_covariates, crossed[:, :, k:]], axis=1),
        gram=gram,
        squares=np.einsum("im,im,i->m", outcomes, outcomes, pull),
    )
