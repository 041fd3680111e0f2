"""What each cluster contributes to a regression, in an orthonormal basis: all that few-cluster inference needs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy import sparse

from evalkit.numerics.absorb import Absorber, level_cross_product, number_jointly
from evalkit.numerics.arrays import Floats, Ints
from evalkit.numerics.level_systems import independent_levels
from evalkit.numerics.loadings import Alike, find_alike

# A cluster determines a direction where less than this share of it is left without the cluster.
DETERMINED = 1e-9
_BLOCK = 256
_SMALL = 64  # levels


@dataclass(frozen=True)
class RegressionRows:
    """The rows of a regression whose effects were absorbed, and the cluster and period of each.

    regressors (n, k) and residuals (n,) are residuals on all effects; bread (k, k) is (X'WX)^-1; unit and factors, the further
    effects, are codes (n,), those of unit sorted; cluster (n,) codes below n_clusters, none of which divides a unit; period (n,)
    codes below n_periods. times (G,) says for how many clusters each stands (None: for itself); absorber has the effects ready to
    be swept out, where it is known.
    """

    regressors: Floats
    residuals: Floats
    bread: Floats
    weights: Floats | None
    unit: Ints
    factors: tuple[Ints, ...]
    cluster: Ints
    n_clusters: int
    period: Ints
    n_periods: int
    times: Floats | None = None
    absorber: Absorber | None = None

    @property
    def pull(self) -> Floats:
        """Weight (n,) of each row."""
        return np.ones(len(self.unit)) if self.weights is None else self.weights

    @cached_property
    def slopes(self) -> Floats:
        """Root (k, k) of the bread: the coefficients as combinations of the products of `orthonormal` with outcomes."""
        return np.asarray(np.linalg.cholesky(self.bread), dtype=np.float64)

    @cached_property
    def orthonormal(self) -> Floats:
        """Regressors (n, k) that are orthonormal with the weights between."""
        return np.asfortranarray(self.regressors @ self.slopes)

    @cached_property
    def levels(self) -> tuple[tuple[Ints, ...], int]:
        """The codes of the factors, numbered jointly, and how many levels there are."""
        return number_jointly(self.factors)

    @cached_property
    def own(self) -> Floats:
        """Cross-products (G, L, L) of the levels' dummies, de-meaned by unit, within each cluster."""
        return level_grams(self.unit, *self.levels, self.weights, self.cluster, self.n_clusters)

    @cached_property
    def independent(self) -> tuple[Ints, Floats]:
        """The r independent levels, and the matrix (r, r) that turns their de-meaned dummies into orthonormal columns."""
        times = np.ones(self.n_clusters) if self.times is None else self.times
        reference = np.diag(level_cross_product(*self.levels, self.pull * times[self.cluster]))
        kept, factor = independent_levels(np.einsum("g,glm->lm", times, self.own), reference)
        inverse = np.linalg.inv(factor)  # small; SciPy's triangular solver wakes threads for it
        return kept, np.asarray(inverse, dtype=np.float64)

    def within(self, columns: Floats) -> Floats:
        """Sum weighted columns (n, m), each 0 on average in every unit, by cluster and basis of the levels, giving (G, r, m)."""
        levels, n_levels = self.levels
        total = np.zeros((self.n_clusters * n_levels, columns.shape[1]))
        for j, column in enumerate(columns.T):
            for level in levels:
                place = self.cluster * n_levels + level
                total[:, j] += np.bincount(place, weights=column * self.pull, minlength=len(total))
        kept, to_basis = self.independent
        summed: Floats = np.einsum("rs,gsm->grm", to_basis, total.reshape(self.n_clusters, n_levels, -1)[:, kept])
        return summed


@dataclass(frozen=True)
class ClusterBasis:
    """A regression seen from its clusters.

    Q (n, p), never formed whole, is an orthonormal basis of the regressors and of the effects besides the unit effects, all
    de-meaned by unit and multiplied by the root of the weights. gram (G, p, p) holds Q_g'Q_g, which sum to I; scores (G, p)
    Q_g'u_g of the residuals, which sum to 0; slopes (k, p) the coefficients as combinations of Q'y. Units lie within clusters, so
    that unit effects need no place in it (Pustejovsky and Tipton, Journal of Business and Economic Statistics 36 (2018),
    theorem 2).
    """

    gram: Floats
    scores: Floats
    slopes: Floats


def cluster_basis(of: RegressionRows) -> ClusterBasis:
    """Make the basis of a regression."""
    regressors, pull, cluster, n_clusters = of.orthonormal, of.pull, of.cluster, of.n_clusters
    k = regressors.shape[1]
    kept, to_basis = of.independent
    crossed = of.within(np.column_stack([regressors, of.residuals]))  # (G, r, k + 1)
    p = k + len(kept)
    gram = np.empty((n_clusters, p, p))
    for i in range(k):
        for j in range(i + 1):
            product = np.bincount(cluster, weights=regressors[:, i] * regressors[:, j] * pull, minlength=n_clusters)
            gram[:, i, j] = gram[:, j, i] = product
    gram[:, k:, :k] = crossed[:, :, :k]
    gram[:, :k, k:] = crossed[:, :, :k].transpose(0, 2, 1)
    if len(kept) <= _SMALL:
        gram[:, k:, k:] = to_basis @ of.own[:, kept[:, None], kept] @ to_basis.T
    else:  # of many levels a cluster has few
        for g, place in enumerate(of.own):
            there = np.flatnonzero(np.diag(place)[kept])
            gram[g, k:, k:] = to_basis[:, there] @ place[np.ix_(kept[there], kept[there])] @ to_basis[:, there].T
    scores = np.empty((n_clusters, p))
    for j in range(k):
        scores[:, j] = np.bincount(cluster, weights=regressors[:, j] * of.residuals * pull, minlength=n_clusters)
    scores[:, k:] = crossed[:, :, k]
    scores -= gram @ scores.sum(axis=0)  # residuals are orthogonal to Q as well as the size of the outcome lets them be
    return ClusterBasis(gram, scores, np.concatenate([of.slopes, np.zeros((k, len(kept)))], axis=1))


@dataclass(frozen=True)
class ShockBasis:
    """How shocks reach a regression: products (K, T, p) of its basis Q with outcomes 1 in one cluster and period, 0 elsewhere.

    The residuals of a cluster take from the outcome its own shocks less what Q explains of all of them. One cluster stands for
    those that are `alike`; the rows are of these K alone.
    """

    of: RegressionRows
    shocks: Floats
    alike: Alike

    @property
    def directions(self) -> Floats:
        """The coefficients (k, p) as combinations of Q'y."""
        return np.hstack([self.of.slopes, np.zeros((len(self.of.slopes), self.shocks.shape[2] - len(self.of.slopes)))])

    def pull(self, direction: Floats) -> Floats:
        """Q_g'Q_g v (G, p) of a combination v of coefficients, given by its products (k,) with `orthonormal`."""
        of = self.of
        row = of.orthonormal @ direction
        weighted = row * of.pull
        own = [
            np.bincount(of.cluster, weights=column * weighted, minlength=of.n_clusters) for column in of.orthonormal.T
        ]
        return np.hstack([np.column_stack(own), of.within(row[:, None])[:, :, 0]])


def shock_basis(every: RegressionRows) -> ShockBasis:
    """Let a shock to each cluster and period meet the basis."""
    alike = _find_alike(every)
    of = every if len(alike.first) == every.n_clusters else _only(every, alike)
    kept, to_basis = of.independent
    k = of.orthonormal.shape[1]
    shocks = np.empty((of.n_clusters, of.n_periods, k + len(kept)))
    place = of.cluster * of.n_periods + of.period
    for i, column in enumerate(of.orthonormal.T):
        met = np.bincount(place, weights=column * of.pull, minlength=of.n_clusters * of.n_periods)
        shocks[:, :, i] = met.reshape(shocks.shape[:2])
    shocks[:, :, k:] = _levels_met(of, place)[:, :, kept] @ to_basis.T
    return ShockBasis(of, shocks, alike)


def _levels_met(of: RegressionRows, place: Ints) -> Floats:
    """Products (G, T, L) of the levels' dummies, de-meaned by unit, with shocks, whose numbers are `place` (n,)."""
    (levels, n_levels), number = of.levels, of.n_clusters * of.n_periods
    total = np.zeros(n_levels * number)
    for level in levels:
        total += np.bincount(level * number + place, weights=of.pull, minlength=len(total))
    n_units = int(of.unit.max()) + 1
    part = of.pull / np.sqrt(np.bincount(of.unit, weights=of.pull, minlength=n_units))[of.unit]
    each = (np.tile(of.unit, len(levels)), np.concatenate(levels))
    held = sparse.coo_array((np.tile(part, len(levels)), each), shape=(n_units, n_levels)).tocsr()
    met = sparse.coo_array((part, (of.unit, place)), shape=(n_units, number)).tocsr()
    found = total.reshape(n_levels, number) - (held.T @ met).toarray()
    return found.T.reshape(of.n_clusters, of.n_periods, n_levels)


def _find_alike(of: RegressionRows) -> Alike:
    """Find clusters whose rows are the same, by sums of random combinations of all that they hold, with fixed seeds.

    Sums by period of weights, regressors, levels, and of the periods in which a row's unit is observed.
    """
    random = np.random.default_rng(0x616C6B)  # any fixed numbers serve
    place, number = of.cluster * of.n_periods + of.period, of.n_clusters * of.n_periods
    held = [np.ones(len(of.unit)), np.einsum("ik,k->i", of.regressors, random.standard_normal(of.regressors.shape[1]))]
    for factor in of.factors:
        tag = random.standard_normal(int(factor.max()) + 1)[factor] * of.pull
        held += [tag, np.bincount(of.unit, weights=tag)[of.unit]]
    sums = [np.bincount(place, weights=one * of.pull, minlength=number).reshape(of.n_clusters, -1) for one in held]
    return find_alike(np.hstack(sums))


def _only(of: RegressionRows, alike: Alike) -> RegressionRows:
    """Keep the rows of the first cluster of each class."""
    number = np.full(of.n_clusters, -1)
    number[alike.first] = np.arange(len(alike.first))
    rows = np.flatnonzero(number[of.cluster] >= 0)
    unit = np.unique(of.unit[rows], return_inverse=True)[1].astype(np.int64)
    return replace(
        of,
        regressors=of.regressors[rows],
        residuals=of.residuals[rows],
        weights=None if of.weights is None else of.weights[rows],
        unit=unit,
        factors=tuple(factor[rows] for factor in of.factors),
        cluster=number[of.cluster[rows]],
        n_clusters=len(alike.first),
        period=of.period[rows],
        times=alike.times,
        absorber=None,
    )


def level_grams(
    unit: Ints, levels: tuple[Ints, ...], n_levels: int, weights: Floats | None, cluster: Ints, n_clusters: int
) -> Floats:
    """Cross-products (G, L, L) of the dummies of the levels, de-meaned by unit, within each cluster."""
    n_units = int(unit.max()) + 1
    values = np.ones(len(unit)) if weights is None else weights
    mass = np.bincount(unit, weights=values, minlength=n_units)
    owner = np.zeros(n_units, dtype=np.int64)
    owner[unit] = cluster
    grams = np.zeros((n_clusters, n_levels, n_levels))
    flat = grams.reshape(-1)
    for one in levels:
        for other in levels:
            place = (cluster * n_levels + one) * n_levels + other
            if len(flat) > len(place):
                np.add.at(flat, place, values)
            else:
                flat += np.bincount(place, weights=values, minlength=len(flat))
    table = sparse.coo_array(
        (
            np.concatenate([values / np.sqrt(mass[unit])] * len(levels)),
            (np.tile(unit, len(levels)), np.concatenate(levels)),
        ),
        shape=(n_units, n_levels),
    ).tocsr()
    order = np.argsort(owner, kind="stable")
    ends = np.searchsorted(owner[order], np.arange(n_clusters + 1))
    if n_units == len(np.unique(owner)):  # one unit each: all at once
        for first in range(0, n_units, _BLOCK):
            units = np.arange(first, min(first + _BLOCK, n_units))
            presence = table[units].toarray()
            grams[owner[units]] -= presence[:, :, None] * presence[:, None, :]
        return grams
    for g in range(n_clusters):
        inside = table[order[ends[g] : ends[g + 1]]]
        grams[g] -= (inside.T @ inside).toarray()
    return grams


def block_diagonal(bases: list[ClusterBasis]) -> ClusterBasis:
    """Join the bases of regressions on different rows, seen from the same clusters."""
    if len(bases) == 1:
        return bases[0]
    sizes = [basis.gram.shape[1] for basis in bases]
    p, n_clusters = sum(sizes), len(bases[0].gram)
    gram, scores = np.zeros((n_clusters, p, p)), np.zeros((n_clusters, p))
    slopes = np.zeros((sum(len(basis.slopes) for basis in bases), p))
    at = row = 0
    for basis, size in zip(bases, sizes, strict=True):
        gram[:, at : at + size, at : at + size] = basis.gram
        scores[:, at : at + size] = basis.scores
        slopes[row : row + len(basis.slopes), at : at + size] = basis.slopes
        at, row = at + size, row + len(basis.slopes)
    return ClusterBasis(gram, scores, slopes)


@dataclass(frozen=True)
class Leverages:
    """Eigenvalues (G, p) and vectors (G, p, p) of the clusters' grams: how much of each direction rests on each cluster."""

    shares: Floats
    vectors: Floats

    def determined(self, directions: Floats) -> Floats:
        """Share (G, k) of each direction (k, p) that a cluster alone determines; 0 but for rounding where none does."""
        along = np.einsum("gpq,kp->gkq", self.vectors, directions) ** 2
        alone = np.where(self._left() > 0, 0.0, 1.0)
        share: Floats = np.einsum("gkq,gq->gk", along, alone) / np.maximum((directions**2).sum(axis=1), 1e-300)
        return share

    def adjust(self, power: float, columns: Floats) -> Floats:
        """Multiply columns (G, p) or (p,) by (I - gram_g)^power, generalised: 0 where a cluster determines a direction."""
        left = self._left()
        scale = np.where(left > 0, np.maximum(left, DETERMINED) ** power, 0.0)
        along = np.einsum("gpq,gp->gq", self.vectors, np.broadcast_to(columns, self.shares.shape))
        adjusted: Floats = np.einsum("gpq,gq->gp", self.vectors, scale * along)
        return adjusted

    def _left(self) -> Floats:
        left: Floats = np.where(1.0 - self.shares > DETERMINED, 1.0 - self.shares, 0.0)
        return left


def leverages(gram: Floats) -> Leverages:
    """Decompose the grams (G, p, p) of all clusters."""
    shares, vectors = np.linalg.eigh(gram)
    return Leverages(shares, vectors)
