"""A regression in each of two groups, with the groups exchanged in some clusters: from sums by cluster, without the rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evalkit.columns import Flags, Floats, Ints
from evalkit.numerics.absorb import number_jointly

_MOST_NUMBERS = 2e7  # in the columns, and in the cross-products: 160 MB each
_MOST_LEVELS = 100  # more of them are quicker absorbed row by row
_BLOCK = 1 << 21  # numbers in one block of exchanges
# Eigenvalues, as shares of a level's own weight: below the first a level depends on others (as absorb.py has it); between the
# outer two rounding could decide, and the rows must.
_DEPENDENT, _ROUNDING, _CLEAR = 1e-10, 1e-13, 1e-7
_CONDITION = 1e-6  # of the slopes, by squares: below, less than nine digits would be right


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
        step = max(1, _BLOCK // (p * max(p, n_clusters)))
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
