"""A regression with many absorbed effects seen from its clusters by its rows: no table of effects by effects per cluster."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import sparse

from evalkit.numerics.absorb import Absorber, make_absorber
from evalkit.numerics.arrays import Flags, Floats, Ints, first_rows
from evalkit.numerics.clusters import DETERMINED, RegressionRows
from evalkit.numerics.level_systems import Factored, UnsolvedError
from evalkit.numerics.loadings import ShockMap, own_shocks

_PRECISE = 1e-13  # of a system's residual, as a share of the whole column; its rows are then right to 1e-10 or better
_MOST_STEPS = 200
_MOST_NUMBERS = 1e8  # of the vectors that stand at once: 0.8 GB
_COPIES = 6  # of loads, while they are solved
_VECTORS = 32  # kept where a system takes more steps than most


@dataclass(frozen=True)
class _Block:
    """Some clusters' rows, and the maker of residuals restricted to the rows of each cluster.

    rows (m,) positions among all; unit and cluster (m,) codes of their own, starts (U,) the first row of each unit.
    """

    absorber: Absorber
    rows: Ints
    regressors: Floats
    pull: Floats
    unit: Ints
    starts: Ints
    levels: tuple[Ints, ...]
    cluster: Ints
    n_clusters: int

    def dot(self, one: Floats, other: Floats) -> Floats:
        """Weighted product of two columns (m,) within each cluster, (g,)."""
        weighted = one * other * self.pull
        total: Floats = np.bincount(self.cluster, weights=weighted, minlength=self.n_clusters).astype(np.float64)
        return total

    def demean(self, column: Floats) -> Floats:
        """Take the mean of each unit out of a column (m,)."""
        means = np.add.reduceat(column * self.pull, self.starts) / np.add.reduceat(self.pull, self.starts)
        left: Floats = column - means[self.unit]
        return left

    def load(self, column: Floats) -> Floats:
        """Products (L, g) of the levels' indicators with a column (m,), cut into its clusters."""
        n_levels = len(self.absorber.level_mass)
        load = np.zeros(self.n_clusters * n_levels)
        weighted = column * self.pull
        for level in self.levels:
            load += np.bincount(self.cluster * n_levels + level, weights=weighted, minlength=len(load))
        return load.reshape(self.n_clusters, n_levels).T

    def leave(self, column: Floats, *, regressors: bool) -> Floats:
        """What the effects, and the regressors if asked, leave of each cluster's piece of a column (m,) in its own rows.

        The column is 0 on average in every unit, and 0 outside the cluster; each cluster has residuals of its own.
        """
        effects = self.absorber.system.solve(self.load(column), np.sqrt(self.dot(column, column)))
        fitted = np.zeros(len(column))
        for level in self.levels:
            fitted += effects[level, self.cluster]
        left = column - self.demean(fitted)
        if regressors:
            for one in self.regressors.T:
                left -= one * self.dot(one, column)[self.cluster]
        return left

    def raise_to(self, power: float, column: Floats, *, regressors: bool, without: tuple[Floats, ...] = ()) -> Floats:
        """Apply that restricted maker of residuals to a power to each cluster's piece of a column (m,): Lanczos' process.

        It is generalised: directions of which less than DETERMINED is left count as 0, and `without` names columns (m,), of
        length 1 in each cluster that has them, which are left out throughout. All vectors are kept and made orthogonal anew, and
        it ends when the system to the power -1 is solved; lesser powers then are more exactly.
        Source: Golub and Van Loan, Matrix Computations, 4th edition (2013), sections 10.1 and 10.2.
        """
        for one in without:
            column = column - one * self.dot(one, column)[self.cluster]
        length = np.sqrt(self.dot(column, column))
        there = length > _PRECISE
        basis = [column * _inverse(length, there)[self.cluster]]
        diagonal: list[Floats] = []
        beside: list[Floats] = []
        while len(basis) <= _MOST_STEPS:
            after = self.leave(basis[-1], regressors=regressors)
            diagonal.append(self.dot(basis[-1], after))
            for one in (*without, *basis):
                after -= one * self.dot(one, after)[self.cluster]
            step = np.sqrt(self.dot(after, after))
            values, vectors = np.linalg.eigh(_tridiagonal(diagonal, beside))
            left = values > DETERMINED
            safe = np.where(left, values, 1.0)
            inverse = np.einsum("gj,gj,gj->g", vectors[:, -1], np.where(left, 1 / safe, 0.0), vectors[:, 0])
            if (step * np.abs(inverse) * np.where(there, length, 0.0)).max() <= _PRECISE:
                scale = np.where(left, safe**power, 0.0) * vectors[:, 0] * length[:, None]
                shares = np.einsum("gij,gj->ig", vectors, scale)
                raised = np.zeros(len(column))
                for share, one in zip(shares, basis, strict=True):
                    raised += share[self.cluster] * one
                return raised
            beside.append(np.where(step > _PRECISE, step, 0.0))
            # A short step grows what rounding has left of units' means, and loads of such columns cannot be solved for.
            basis.append(self.demean(after * _inverse(step, step > _PRECISE)[self.cluster]))
        raise UnsolvedError(f"not solved after {_MOST_STEPS} steps")


def _inverse(lengths: Floats, there: Flags) -> Floats:
    return np.where(there, 1 / np.where(there, lengths, 1.0), 0.0)


def _tridiagonal(diagonal: list[Floats], beside: list[Floats]) -> Floats:
    n = len(diagonal)
    table = np.zeros((len(diagonal[0]), n, n))
    every = np.arange(n)
    table[:, every, every] = np.stack(diagonal, axis=1)
    if beside:
        table[:, every[1:], every[:-1]] = table[:, every[:-1], every[1:]] = np.stack(beside, axis=1)
    return table


@dataclass(frozen=True)
class WideRegression:
    """A regression seen from its clusters by its rows.

    M makes residuals on all effects and regressors, N on the effects alone; M_gg and N_gg are what they make of outcomes in the
    rows of cluster g that are 0 elsewhere, in those rows. Columns (n,) hold the pieces of all clusters side by side. With
    weights, M is symmetric in products that are weighted, which all here are.
    """

    of: RegressionRows

    @cached_property
    def absorber(self) -> Absorber:
        """The effects, ready to be swept out."""
        of = self.of
        return of.absorber or make_absorber(
            unit=of.unit, starts=first_rows(of.unit), factors=of.factors, weights=of.weights
        )

    @cached_property
    def residuals(self) -> Floats:
        """Residuals (n,), orthogonal to effects and regressors as well as their own size lets them be, not the outcome's."""
        left: Floats = self.absorber.sweep([self.of.residuals])[:, 0]
        products = np.array([np.sum(one * left * self.of.pull) for one in self.of.orthonormal.T])
        return np.asarray(left - self.of.orthonormal @ products, dtype=np.float64)

    @cached_property
    def alone(self) -> Floats:
        """N_gg^-1 times the orthonormal regressors, (n, k)."""
        return self._raise(-1.0, regressors=False, without=())

    @cached_property
    def left(self) -> tuple[Floats, Floats]:
        """What is left of the orthonormal regressors without each cluster: eigenvalues (G, k) and vectors (G, k, k) of I - C_g.

        C_g = X_g'N_gg^-1 X_g. Where a value is 0, the cluster alone determines that combination of the coefficients.
        """
        k = self.of.orthonormal.shape[1]
        explained = self._products(self.of.orthonormal, self.alone)
        values, vectors = np.linalg.eigh(np.eye(k) - (explained + explained.transpose(0, 2, 1)) / 2)
        return values, vectors

    @cached_property
    def halved(self) -> Floats:
        """M_gg^-1/2 times the orthonormal regressors, (n, k)."""
        values, vectors = self.left
        lost = values <= DETERMINED
        # What a cluster alone determines is, of its rows, in the span of effects and regressors: M_gg makes nothing of it.
        without: list[Floats] = []
        for j in range(int(lost.sum(axis=1).max(initial=0))):  # values ascend
            column = self._combine(self.alone, vectors[:, :, j] * lost[:, j, None])
            for one in without:
                column -= one * self._products(one[:, None], column[:, None])[self.of.cluster, 0, 0]
            length = np.sqrt(self._products(column[:, None], column[:, None])[:, 0, 0])
            without.append(column * _inverse(length, lost[:, j])[self.of.cluster])
        return self._raise(-0.5, regressors=True, without=tuple(without))

    def determined(self, directions: Floats) -> Floats:
        """Squared lengths (G, m) of the parts of directions (m, k) that a cluster alone determines."""
        values, vectors = self.left
        along = np.einsum("gkj,mk->gmj", vectors, directions) ** 2
        parts: Floats = np.einsum("gmj,gj->gm", along, np.where(values <= DETERMINED, 1.0, 0.0))
        return parts

    def adjust(self, power: float, direction: Floats) -> Floats:
        """M_gg^power times the regressors' combination (k,), a column (n,); power 0, -1/2 or -1."""
        if power == 0.0:
            return np.asarray(self.of.orthonormal @ direction, dtype=np.float64)
        if power == -0.5:
            return np.asarray(self.halved @ direction, dtype=np.float64)
        values, vectors = self.left  # M_gg = N_gg - X_g X_g', so that M_gg^-1 X_g = N_gg^-1 X_g (I - C_g)^-1
        scale = np.where(values > DETERMINED, 1 / np.maximum(values, DETERMINED), 0.0)
        return self._combine(self.alone, np.einsum("gij,gj,gkj,k->gi", vectors, scale, vectors, direction))

    def products(self, columns: Floats) -> tuple[Floats, Floats]:
        """Products of columns (n, m) with each other within clusters (G, m, m), and with a basis of all effects and regressors.

        The latter, (G, m, k + q), need no more than products with each other that are right: see LevelSystem.root.
        """
        loads = np.stack([self.loads(one) for one in columns.T], axis=2)  # (L, G, m)
        within = self._products(columns, columns)
        lengths = np.sqrt(np.einsum("gmm->gm", within))
        explained = self.absorber.system.root(loads.reshape(len(loads), -1), lengths).reshape(-1, *loads.shape[1:])
        of_regressors = self._products(columns, self.of.orthonormal)
        return within, np.concatenate([of_regressors, explained.transpose(1, 2, 0)], axis=2)

    def loads(self, column: Floats) -> Floats:
        """Products (L, G) of the levels' indicators with the clusters' pieces of a column (n,), 0 on average in every unit."""
        loads = np.empty((len(self.absorber.level_mass), self.of.n_clusters))
        for first, block in self._blocks(1):
            loads[:, first : first + block.n_clusters] = block.load(column[block.rows])
        return loads

    def sums(self, columns: Floats) -> Floats:
        """Products (G, m) of the clusters' pieces of columns (n, m) with the residuals."""
        return self._products(columns, self.residuals[:, None])[:, :, 0]

    def loadings(self, direction: Floats) -> Floats:
        """Products (G·T,) of a combination (k,) of the orthonormal regressors with a shock to each cluster and period."""
        return self._cells((self.of.orthonormal @ direction) * self.of.pull)

    @property
    def n_numbers(self) -> float:
        """How many numbers a map of shocks takes."""
        of = self.of
        loads = _COPIES * len(self.absorber.level_mass) * of.n_clusters
        return max(float(min(of.n_clusters, self._width)) * of.n_clusters * of.n_periods, float(loads))

    @property
    def _width(self) -> float:
        """Length of the basis of all effects and regressors; infinite where the system of the effects has no factor."""
        system, k = self.absorber.system, int(self.of.orthonormal.shape[1])
        return float(k + system.rank) if isinstance(system, Factored) else math.inf

    def shock_map(self, column: Floats) -> ShockMap:
        """Map shocks e to the products of the pieces of a column (n,) with Me: its row h is M times the piece of h, by shock.

        That is the piece less what the basis of effects and regressors explains of it in all clusters: by products of the basis
        with pieces and with shocks, (k + r, G·T); or, with fewer clusters than that, in a table (G, G·T).
        """
        of, absorber = self.of, self.absorber
        own = own_shocks(self._cells(column * of.pull).reshape(of.n_clusters, of.n_periods))
        if self._width < of.n_clusters:
            met = self._levels_met.toarray() - absorber.presence.T @ self._units_met.toarray()
            return ShockMap(
                own, self.products(column[:, None])[1][:, 0], np.concatenate([self._met, absorber.system.root(met)])
            )
        lengths = np.sqrt(self._products(column[:, None], column[:, None])[:, 0, 0])
        effects = absorber.system.solve(self.loads(column), lengths).T  # (G, L)
        reached = self._products(of.orthonormal, column[:, None])[:, :, 0] @ self._met
        reached += (self._levels_met.T @ effects.T).T
        reached -= (self._units_met.T @ (absorber.presence @ effects.T)).T
        return ShockMap(own, np.eye(of.n_clusters), reached)

    @cached_property
    def _met(self) -> Floats:
        """Products (k, G·T) of the orthonormal regressors with the shocks."""
        return np.stack([self._cells(one * self.of.pull) for one in self.of.orthonormal.T])

    @cached_property
    def _levels_met(self) -> sparse.csr_array:
        """Weight (L, G·T) of the rows of each level that meet each shock."""
        of, levels = self.of, self.absorber.levels
        place = np.tile(of.cluster * of.n_periods + of.period, len(levels))
        shape = (len(self.absorber.level_mass), of.n_clusters * of.n_periods)
        return sparse.csr_array((np.tile(of.pull, len(levels)), (np.concatenate(levels), place)), shape)

    @cached_property
    def _units_met(self) -> sparse.csr_array:
        """Share (U, G·T) of each unit's rows that meet each shock."""
        of, mass = self.of, self.absorber.mass
        place = of.cluster * of.n_periods + of.period
        shape = (len(mass), of.n_clusters * of.n_periods)
        return sparse.csr_array((of.pull / mass[of.unit], (of.unit, place)), shape)

    def _cells(self, weighted: Floats) -> Floats:
        of = self.of
        place = of.cluster * of.n_periods + of.period
        total = np.bincount(place, weights=weighted, minlength=of.n_clusters * of.n_periods)
        return total.astype(np.float64)

    def _products(self, one: Floats, other: Floats) -> Floats:
        """Weighted products (G, i, j) of columns (n, i) and (n, j) within clusters."""
        found = np.empty((self.of.n_clusters, one.shape[1], other.shape[1]))
        for i, left in enumerate(one.T):
            weighted = left * self.of.pull
            for j, right in enumerate(other.T):
                found[:, i, j] = np.bincount(self.of.cluster, weights=weighted * right, minlength=self.of.n_clusters)
        return found

    def _combine(self, columns: Floats, shares: Floats) -> Floats:
        """Combine columns (n, k) by shares (G, k) of each cluster's own."""
        combined = np.zeros(len(columns))
        for column, share in zip(columns.T, shares.T, strict=True):
            combined += column * share[self.of.cluster]
        return combined

    def _raise(self, power: float, *, regressors: bool, without: tuple[Floats, ...]) -> Floats:
        raised = np.empty_like(self.of.orthonormal)
        for _, block in self._blocks(_VECTORS):
            own = tuple(one[block.rows] for one in without)
            for j, column in enumerate(block.regressors.T):
                raised[block.rows, j] = block.raise_to(power, column, regressors=regressors, without=own)
        return raised

    def _blocks(self, vectors: int) -> Iterator[tuple[int, _Block]]:
        """Cut the clusters so that so many columns of their rows, and their levels, fit in memory: the first of each, and all."""
        of = self.of
        numbers = float(len(of.unit)) * vectors + 4.0 * of.n_clusters * len(self.absorber.level_mass)
        each = max(1, int(of.n_clusters / max(1.0, numbers / _MOST_NUMBERS)))
        for first in range(0, of.n_clusters, each):
            yield first, self._block(first, min(first + each, of.n_clusters))

    def _block(self, first: int, end: int) -> _Block:
        of, levels = self.of, self.absorber.levels
        pull, regressors, unit, cluster = of.pull, of.orthonormal, of.unit, of.cluster
        rows = np.flatnonzero((cluster >= first) & (cluster < end))
        if len(rows) < len(unit):
            pull, regressors, unit, cluster = pull[rows], np.asfortranarray(regressors[rows]), unit[rows], cluster[rows]
            levels = tuple(level[rows] for level in levels)
        starts = first_rows(unit)
        sizes = np.diff(np.append(starts, len(unit)))
        unit = np.repeat(np.arange(len(starts)), sizes)
        return _Block(self.absorber, rows, regressors, pull, unit, starts, levels, cluster - first, end - first)
