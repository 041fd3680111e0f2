"""A regression's effects with dates re-assigned, or labels exchanged, from sums by cluster, without its rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import solve_triangular

from evalkit.numerics.absorb import level_cross_product, number_jointly
from evalkit.numerics.arrays import Flags, Floats, Ints
from evalkit.numerics.clusters import level_grams
from evalkit.numerics.level_systems import independent_levels

_BLOCK = 1 << 21  # numbers in one block of gathered sums
# Shares, by squares, that are left of slopes once all else is absorbed: below the first only rounding is; below the second, less
# than nine digits would be right, and the rows must decide.
_ROUNDING, _CONDITION = 1e-13, 1e-6
_EMPTY = 1e-20  # share of the classical variance below which a clustered one is rounding


@dataclass(frozen=True)
class DateSums:
    """What each of G clusters contributes to a regression of m outcomes on k columns X that depend on its date, one of J.

    Outcomes are residuals on all effects and covariates. Q, never formed, is an orthonormal basis of the covariates and of the
    effects besides those of units, all de-meaned by unit. With cluster g at date j, pulled (G, J, k, m) holds X'y, masses
    (G, J, k) the squared lengths of X, lengths (G, J, k, k) its cross-products once de-meaned by unit, loads (G, J, k, p) X'Q;
    sums (G, p, m) Q_g'y_g, gram (G, p, p) Q_g'Q_g, squares (m,) the sum of squares of each outcome. All are weighted.
    """

    pulled: Floats
    masses: Floats
    lengths: Floats
    loads: Floats
    sums: Floats
    gram: Floats
    squares: Floats

    def effects(self, dates: Ints) -> tuple[Floats, Floats, Flags]:
        """Coefficients (B, k, m) and their influence (B, G, k, m) under assignments (B, G) of dates; NaN where there are none.

        Flags (B,) say where, of these, it takes the rows to tell whether there are any.
        With A = Σ loads, X keeps L = Σ lengths - AA' once all is absorbed; b = L⁻¹ Σ pulled, and the influence of a cluster is
        L⁻¹ (pulled_g - lengths_g b + loads_g v - A (sums_g - loads_g'b + gram_g v)) with v = A'b.
        """
        (n_clusters, _, k, p), m = self.loads.shape, self.pulled.shape[3]
        coefficients, influence = np.empty((len(dates), k, m)), np.empty((len(dates), n_clusters, k, m))
        doubtful = np.empty(len(dates), dtype=bool)
        step = max(1, _BLOCK // (n_clusters * k * (p + k + m)))
        for first in range(0, len(dates), step):
            block = slice(first, first + step)
            pulled, lengths, loads = (_gather(t, dates[block]) for t in (self.pulled, self.lengths, self.loads))
            A = loads.sum(axis=1)
            left, inverse, doubtful[block] = self._remaining(dates[block], lengths.sum(axis=1), A)
            b = inverse @ pulled.sum(axis=1)
            v = A.transpose(0, 2, 1) @ b  # (B, p, m)
            along = np.tensordot(v, self.gram, axes=([1], [1])).transpose(0, 2, 3, 1)  # (B, G, p, m)
            along += self.sums - loads.transpose(0, 1, 3, 2) @ b[:, None]
            scores = pulled - lengths @ b[:, None] + loads @ v[:, None] - A[:, None] @ along
            coefficients[block] = b
            influence[block] = inverse[:, None] @ scores
            influence[block] *= ~self._only_rounding(influence[block], b, left, inverse)[:, None]
        return coefficients, influence, doubtful

    def remaining(self, dates: Ints) -> Floats:
        """Cross-products (B, k, k) of X once all is absorbed; NaN where its columns cannot be told apart."""
        lengths, loads = (_gather(table, dates).sum(axis=1) for table in (self.lengths, self.loads))
        return self._remaining(dates, lengths, loads)[0]

    def _remaining(self, dates: Ints, lengths: Floats, A: Floats) -> tuple[Floats, Floats, Flags]:
        """Take AA' from cross-products (B, k, k), and invert; NaN where too little is left, and whether it is some."""
        left = lengths - A @ A.transpose(0, 2, 1)
        scale = np.sqrt(np.maximum(_gather(self.masses, dates).sum(axis=1), 1e-300))
        scale = scale[:, :, None] * scale[:, None, :]
        smallest = np.linalg.eigvalsh(left / scale)[:, 0]
        told = smallest > _CONDITION
        left = np.where(told[:, None, None], left, np.nan)
        inverse = np.full_like(left, np.nan)
        inverse[told] = np.linalg.inv(left[told] / scale[told]) / scale[told]
        return left, inverse, ~told & (smallest > _ROUNDING)

    def _only_rounding(self, influence: Floats, b: Floats, left: Floats, inverse: Floats) -> Flags:
        """Flag (B, k, m) an influence whose sum of squares is rounding."""
        noise = self.squares - np.einsum("bkm,bkl,blm->bm", b, left, b)
        noise = np.maximum(noise, 1e-13 * self.squares)
        floor = _EMPTY * np.einsum("bkk->bk", inverse)[:, :, None] * noise[:, None]
        flags: Flags = np.einsum("bgkm,bgkm->bkm", influence, influence) <= floor
        return flags


def _gather(table: Floats, dates: Ints) -> Floats:
    """Lines of a table (G, J, …) that belong to assignments (B, G), giving (B, G, …)."""
    n_clusters, n_dates = table.shape[:2]
    gathered: Floats = table.reshape(-1, *table.shape[2:])[np.arange(n_clusters) * n_dates + dates]
    return gathered


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
    columns: Floats,
) -> DateSums:
    """Sum by cluster and date.

    outcomes (n, m) are residuals on the covariates and all effects, covariates C (n, c) on the effects, bread (c, c) is
    (C'WC)^-1; unit and factors, the further effects, are codes (n,), those of unit sorted, those of the P periods the first of
    factors; cluster (n,) codes below n_clusters, none of which divides a unit; columns (J, P, k) say what X is in each period, of
    a cluster with each date.
    """
    pull = np.ones(len(unit)) if weights is None else weights
    # Residuals are orthogonal as well as the size of the outcome lets them be; made so to the digit, here and by `total` below.
    means = np.column_stack([np.bincount(unit, y * pull) for y in outcomes.T]) / np.bincount(unit, pull)[:, None]
    outcomes = outcomes - means[unit]
    levels, n_levels = number_jointly(factors)
    own = level_grams(unit, levels, n_levels, weights, cluster, n_clusters)

    def within(values: Floats, codes: tuple[Ints, ...], n_codes: int) -> Floats:
        """Sum weighted values (n, v) by cluster and code, giving (G, codes, v)."""
        total = np.zeros((n_clusters * n_codes, values.shape[1]))
        for j, column in enumerate(values.T):
            for code in codes:
                total[:, j] += np.bincount(cluster * n_codes + code, column * pull, len(total))
        return total.reshape(n_clusters, n_codes, values.shape[1])

    n_dates, n_periods, k = columns.shape
    by_date = columns.transpose(0, 2, 1).reshape(-1, n_periods)  # (J k, P)

    def at_dates(by_period: Floats) -> Floats:
        """From sums (G, P, v) by period, those of X times the values: (G, J, k, v)."""
        return (by_date @ by_period).reshape(n_clusters, n_dates, k, -1)

    reference = np.diag(level_cross_product(levels, n_levels, weights))
    kept, factor = independent_levels(own.sum(axis=0), reference)
    to_basis = solve_triangular(factor, np.eye(len(kept)), lower=True, check_finite=False)
    covariates = covariates @ np.linalg.cholesky(bread)  # orthonormal, with the weights between
    c, p = covariates.shape[1], covariates.shape[1] + len(kept)
    crossed = to_basis @ within(np.column_stack([covariates, outcomes]), levels, n_levels)[:, kept]  # (G, r, c + m)
    gram, sums = np.empty((n_clusters, p, p)), np.empty((n_clusters, p, outcomes.shape[1]))
    everywhere = (np.zeros_like(cluster),)
    for i in range(c):
        gram[:, i, :c] = within(covariates * covariates[:, [i]], everywhere, 1)[:, 0]
        sums[:, i] = within(outcomes * covariates[:, [i]], everywhere, 1)[:, 0]
    gram[:, c:, :c] = crossed[:, :, :c]
    gram[:, :c, c:] = crossed[:, :, :c].transpose(0, 2, 1)
    gram[:, c:, c:] = to_basis @ own[:, kept[:, None], kept] @ to_basis.T
    sums[:, c:] = crossed[:, :, c:]
    total = sums.sum(axis=0)
    of_covariates = at_dates(within(covariates, levels[:1], n_periods))
    of_levels = at_dates(own[:, :n_periods, kept]) @ to_basis.T
    loads = np.concatenate([of_covariates, of_levels], axis=3)
    return DateSums(
        pulled=at_dates(within(outcomes, levels[:1], n_periods)) - loads @ total,
        masses=np.tensordot(
            within(np.ones((len(unit), 1)), levels[:1], n_periods)[:, :, 0], columns**2, axes=([1], [1])
        ),
        lengths=at_dates(own[:, :n_periods, :n_periods]) @ columns,
        loads=loads,
        sums=sums - gram @ total,
        gram=gram,
        squares=np.einsum("im,im,i->m", outcomes, outcomes, pull),
    )


_MOST_NUMBERS = 2e7  # in the columns, and in the cross-products: 160 MB each
_MOST_LEVELS = 100  # more of them are quicker absorbed row by row
_EXCHANGE_BLOCK = 1 << 21  # numbers in one block of exchanges
# Eigenvalues, as shares of a level's own weight: below the first a level depends on others (as absorb.py has it); between
# _ROUNDING and the second rounding could decide, and the rows must.
_DEPENDENT, _CLEAR = 1e-10, 1e-7


@dataclass(frozen=True)
class GroupSums:
    """What each of G clusters contributes to one regression in each of two groups.

    crossed (G, 2, p, p) holds the cross-products of k regressors, of the dummies of L levels, and of the outcome, all de-meaned
    by unit and weighted; mass (G, 2, L) the weight on each level.
    """

    crossed: Floats
    mass: Floats
    k: int

    def gaps(self, exchanged: Flags, weights: Floats) -> tuple[Floats, Floats]:
        """Gap and clustered standard error (B,), without a factor, where the groups of flagged clusters (B, G) are exchanged.

        The gap is that of combinations of the slopes, weights (k,): second group less first. NaN where the sums cannot tell
        whether a slope can be estimated, or not to nine digits.
        """
        n_clusters, _, p, _ = self.crossed.shape
        step = max(1, _EXCHANGE_BLOCK // (p * max(p, n_clusters)))
        found = [self._some(exchanged[first : first + step], weights) for first in range(0, len(exchanged), step)]
        gaps, errors = (np.concatenate(part) for part in zip(*found, strict=True))
        return gaps, errors

    def _some(self, exchanged: Flags, weights: Floats) -> tuple[Floats, Floats]:
        (first, pulled), (second, drawn) = (self._combine(exchanged ^ (group == 1), weights) for group in (0, 1))
        return second - first, np.sqrt(((drawn - pulled) ** 2).sum(axis=1))

    def _combine(self, second: Flags, weights: Floats) -> tuple[Floats, Floats]:
        """Combination of slopes (B,) and its influence (B, G) in the rows of the second group where flagged, else the first."""
        taken = second.astype(np.float64)
        crossed = np.tensordot(1 - taken, self.crossed[:, 0], 1) + np.tensordot(taken, self.crossed[:, 1], 1)
        mass = (1 - taken) @ self.mass[:, 0] + taken @ self.mass[:, 1]
        solution, direction = self._solve(crossed, mass, weights)
        # A cluster's influence is direction'C_g(1, -slopes, -effects): the scores of its residuals.
        own = [
            np.einsum("bgp,bp->bg", np.tensordot(solution, self.crossed[:, group], axes=(1, 2)), direction)
            for group in (0, 1)
        ]
        combined = -(solution[:, : self.k] @ weights)
        return combined, np.where(second, own[1], own[0])

    def _solve(self, crossed: Floats, mass: Floats, weights: Floats) -> tuple[Floats, Floats]:
        """Minus slopes, minus effects and 1, and the direction that makes scores the combination's influence, both (B, p)."""
        k = self.k
        slopes, levels, outcome = slice(0, k), slice(k, -1), -1
        inverse, doubtful = _inverse_of_effects(crossed[:, levels, levels], mass)
        across = inverse @ crossed[:, levels]  # (B, L, p)
        left = crossed - crossed[:, :, levels] @ across
        length = np.sqrt(np.einsum("ghkk->k", self.crossed[:, :, slopes, slopes]))
        scaled = left[:, slopes, slopes] / np.outer(length, length)
        doubtful |= np.linalg.eigvalsh(scaled)[:, 0] < _CONDITION
        scaled[doubtful] = np.eye(k)
        right = np.stack([left[:, slopes, outcome], np.broadcast_to(weights, (len(left), k))], axis=2)
        found = np.linalg.solve(scaled, right / length[:, None]) / length[:, None]
        found[doubtful] = np.nan
        solution, direction = (np.zeros(crossed.shape[:2]) for _ in range(2))
        solution[:, slopes], direction[:, slopes] = -found[..., 0], found[..., 1]
        solution[:, outcome] = 1.0
        for one in (solution, direction):
            one[:, levels] = -np.einsum("blp,bp->bl", across, one)
        return solution, direction


def _inverse_of_effects(system: Floats, mass: Floats) -> tuple[Floats, Flags]:
    """Generalised inverses (B, L, L) of de-meaned cross-products, and which of them rounding could decide."""
    scale = np.where(mass > 0, 1 / np.sqrt(np.where(mass > 0, mass, 1.0)), 0.0)
    values, vectors = np.linalg.eigh(system * scale[:, :, None] * scale[:, None, :])
    kept = values > _DEPENDENT
    doubtful: Flags = np.any((values > _ROUNDING) & (values < _CLEAR), axis=1)
    half = vectors * np.where(kept, 1 / np.sqrt(np.where(kept, values, 1.0)), 0.0)[:, None, :] * scale[:, :, None]
    return half @ half.transpose(0, 2, 1), doubtful


def group_sums(
    *,
    regressors: Floats,
    outcome: Floats,
    weights: Floats | None,
    unit: Ints,
    factors: tuple[Ints, ...],
    cluster: Ints,
    n_clusters: int,
    second: Flags,
) -> GroupSums | None:
    """Sum by cluster and group; None where the rows are quicker, or that would take more memory than there is.

    regressors (n, k) and outcome (n,) may be residuals on all effects of both groups together: what is absorbed once more in
    each group alone stays the same. unit and factors, the further effects, are codes (n,); cluster (n,) codes below n_clusters,
    none of which divides a unit; `second` (n,) flags the rows of the second group, which may divide what `unit` names.
    """
    levels, n_levels = number_jointly(factors)
    n, k = regressors.shape
    p = k + n_levels + 1
    if n_levels > _MOST_LEVELS or max(n * p, 2 * n_clusters * p**2) > _MOST_NUMBERS:
        return None
    pull = np.ones(n) if weights is None else weights
    columns = np.zeros((n, p))
    columns[:, :k], columns[:, -1] = regressors, outcome
    for level in levels:
        columns[np.arange(n), k + level] = 1.0
    whose = 2 * unit + second
    total = np.maximum(np.bincount(whose, weights=pull), 1e-300)
    place = 2 * cluster + second
    mass = np.empty((2 * n_clusters, n_levels))
    for j in range(n_levels):
        mass[:, j] = np.bincount(place, weights=columns[:, k + j] * pull, minlength=2 * n_clusters)
    for column in columns.T:
        column -= (np.bincount(whose, weights=column * pull) / total)[whose]
    columns *= np.sqrt(pull)[:, None]
    crossed = np.zeros((2 * n_clusters, p, p))
    order = np.argsort(place, kind="stable")
    for rows in np.split(order, np.cumsum(np.bincount(place, minlength=2 * n_clusters))[:-1]):
        if len(rows):
            crossed[place[rows[0]]] = columns[rows].T @ columns[rows]
    return GroupSums(crossed.reshape(n_clusters, 2, p, p), mass.reshape(n_clusters, 2, n_levels), k)
