"""How shocks reach an estimate: what its clustered variance can see of them, and how often its test then errs."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import optimize, sparse, stats

from evalkit.numerics.arrays import Flags, Floats, Ints

# What of the variance is seen below this share of it is rounding.
_NOTHING = 1e-12


@dataclass(frozen=True)
class ShockCells:
    """Where n rows meet the shocks, one of its own for each cluster in each period: cluster (n,) and period (n,) are codes."""

    cluster: Ints
    period: Ints
    n_clusters: int
    n_periods: int

    @property
    def code(self) -> Ints:
        """Number (n,) of the shock that each row meets, of `number`: cluster by cluster, period by period."""
        code: Ints = self.cluster * self.n_periods + self.period
        return code

    @property
    def number(self) -> int:
        """How many shocks there are, those without a row counted."""
        return self.n_clusters * self.n_periods

    def sum(self, values: Floats) -> Floats:
        """Sum the values (n,) of the rows that meet a shock, giving (G·T,)."""
        total: Floats = np.bincount(self.code, weights=values, minlength=self.number).astype(np.float64)
        return total


# From weights (m,) of coefficients and masses (V, C) of cohorts to the loadings (V, C, T) of their combination on the sums of
# outcomes times mass, by cohort and period.
LoadingsByMass = Callable[[Floats, Floats], Floats]


@dataclass(frozen=True)
class Masses:
    """Where clusters matter by their cohort and mass alone: cohort and mass (G,) of each, and the loadings of cohorts."""

    cohort: Ints
    mass: Floats
    loadings: LoadingsByMass

    def of_cohorts(self) -> Floats:
        """Mass of each cohort (C,)."""
        totals: Floats = np.bincount(self.cohort, weights=self.mass).astype(np.float64)
        return totals

    def without(self) -> Floats:
        """Masses of the cohorts without each cluster, (G, C)."""
        left = np.tile(self.of_cohorts(), (len(self.mass), 1))
        left[np.arange(len(self.mass)), self.cohort] -= self.mass
        return left


@dataclass(frozen=True)
class Alike:
    """Clusters that have the same part in a design: class (G,) of each, first member and size (K,) of each class."""

    classes: Ints
    first: Ints
    times: Floats


def find_alike(signature: Floats) -> Alike:
    """Put clusters with equal rows of a signature (G, m) into one class; classes are in the order of their first members."""
    _, first, classes, times = np.unique(signature, axis=0, return_index=True, return_inverse=True, return_counts=True)
    order = np.argsort(first)
    number = np.empty(len(order), dtype=np.int64)
    number[order] = np.arange(len(order))
    return Alike(number[classes.reshape(-1)], first[order].astype(np.int64), times[order].astype(np.float64))


@dataclass(frozen=True)
class ShockMap:
    """The map L = own - pull·functionals from S shocks to the sums of influence of G clusters.

    own (G, S) holds what a cluster's sum takes from its own shocks, pull (G, J) how it depends on J linear functionals of all
    shocks, functionals (J, S) these. So L never stands whole, however many shocks there are. With `alike`, the rows are those of
    one cluster of each class, and the columns its shocks; pull and functionals are then multiplied by the root of how many it
    stands for, so that their products are sums over all clusters.
    """

    own: sparse.csr_array
    pull: Floats
    functionals: Floats | sparse.csr_array
    alike: Alike | None = None

    def after(self, first: sparse.csr_array) -> ShockMap:
        """Map S' other shocks that make up these by `first` (S, S'), which must not mix clusters that stand for others."""
        return replace(self, own=sparse.csr_array(self.own @ first), functionals=self.functionals @ first)

    def times(self, factor: float) -> ShockMap:
        """Multiply all sums by a number."""
        return replace(self, own=sparse.csr_array(self.own * factor), pull=self.pull * factor)

    def of_rows(self, values: Any) -> Any:
        """Pick from values (G, ...) those of the clusters that have a row."""
        return values if self.alike is None else values[self.alike.first]

    def moments(self) -> tuple[float, float]:
        """Trace and sum of squares of LL', the covariance of the clusters' sums where shocks are independent of variance 1.

        With O = own, F = functionals, M = OF', U = (M, pull) it is OO' + UWU', W = (0, -I; -I, FF').
        """
        crossed = _dense(self.own @ self.functionals.T)
        shared = _dense(self.functionals @ self.functionals.T)
        within = sparse.csr_array(self.own @ self.own.T)
        n = shared.shape[0]
        both = np.hstack([crossed, self.pull])
        middle = np.block([[np.zeros((n, n)), -np.eye(n)], [-np.eye(n), shared]])
        turned = both @ middle
        gram = middle @ (both.T @ both)
        times = np.ones(within.shape[0]) if self.alike is None else self.alike.times
        trace = float(times @ within.diagonal()) + float(np.einsum("gj,gj->", turned, both))
        square = float(times @ within.multiply(within).sum(axis=1)) + 2 * float(
            np.einsum("gj,gj->", within @ both, turned)
        )
        return trace, square + float(np.einsum("ij,ji->", gram, gram))

    def expand(self) -> ShockMap:
        """Give every cluster a row, and its shocks columns, of their own."""
        if self.alike is None:
            return self
        classes, root = self.alike.classes, np.sqrt(self.alike.times)
        n_periods = self.own.shape[1] // len(root)
        columns = (classes[:, None] * n_periods + np.arange(n_periods)).ravel()
        own = own_shocks(_dense(self.own).reshape(len(root), len(root), n_periods)[classes, classes])
        functionals = _dense(self.functionals) / np.repeat(root, n_periods)
        return ShockMap(own, (self.pull / root[:, None])[classes], functionals[:, columns])


def own_shocks(values: Floats) -> sparse.csr_array:
    """Place values (G, T) so that each cluster meets its own T of the G·T shocks only: (G, G·T)."""
    n, periods = values.shape
    ends = np.arange(n + 1) * periods
    return sparse.csr_array((values.ravel(), np.arange(n * periods), ends), shape=(n, n * periods))


def join_maps(maps: list[ShockMap]) -> ShockMap:
    """Add maps of the same shocks to the same clusters."""
    if len(maps) == 1:
        return maps[0]
    maps = [one.expand() for one in maps]
    functionals = [one.functionals for one in maps]
    own = maps[0].own
    for one in maps[1:]:
        own = own + one.own
    pull = np.hstack([one.pull for one in maps])
    if all(isinstance(one, np.ndarray) for one in functionals):
        return ShockMap(sparse.csr_array(own), pull, np.vstack(list(map(_dense, functionals))))
    stacked = sparse.vstack(list(map(sparse.csr_array, functionals)))
    return ShockMap(sparse.csr_array(own), pull, sparse.csr_array(stacked))


def _dense(table: Any) -> Floats:
    return np.asarray(table.toarray() if isinstance(table, sparse.csr_array) else table, dtype=np.float64)


def count_effective(variances: Floats) -> float:
    """Number of equal clusters that would bring in the variances (G,) as unevenly: (Σv)²/Σv²; NaN where all are 0."""
    square = float(variances @ variances)
    return float(variances.sum()) ** 2 / square if square > 0 else float("nan")


@dataclass(frozen=True)
class Sight:
    """What a variance estimate sees: its mean over the true variance, `share`, and its degrees of freedom by Satterthwaite.

    Source: Bell and McCaffrey, Survey Methodology 28 (2002), with shocks in the place of errors of rows.
    """

    share: float
    df: float

    def p_value(self, t: float) -> float:
        """Two-sided p of a t statistic whose variance is seen so; 1 where nothing is seen."""
        if not self.share > 0:
            return 1.0
        return float(2 * stats.t.sf(abs(t) * math.sqrt(self.share), self.df))


def see_variance(moments: tuple[float, float], variance: float) -> Sight:
    """What sums with these moments of their covariance see of a true variance."""
    trace, square = moments
    if not trace > _NOTHING * variance:
        return Sight(0.0, float("nan"))
    return Sight(trace / variance, trace**2 / square)


def expect_size(seen: Sight, n_clusters: int) -> float:
    """How often CR1 with t(G-1) rejects a true null at 5 %: 2·P(t_ν > t(.975, G-1)·sqrt(κ·G/(G-1))), κ the share seen."""
    critical = float(stats.t.ppf(0.975, n_clusters - 1))
    return seen.p_value(critical * math.sqrt(n_clusters / (n_clusters - 1)))


def walk(n_periods: int) -> Floats:
    """Shocks that last: a random walk (T, T), each cell the sum of the steps so far."""
    return np.tril(np.ones((n_periods, n_periods), dtype=np.float64))


def trend(n_periods: int) -> Floats:
    """A linear trend (T, 1) about its mean."""
    middle = (n_periods - 1) / 2
    return np.arange(-middle, middle + 0.5, dtype=np.float64)[:, None]


def over_time(first: Floats, n_clusters: int) -> sparse.csr_array:
    """Give each of G clusters shocks that lie over time as `first` (T, q): (G·T, G·q)."""
    return sparse.csr_array(sparse.kron(sparse.eye_array(n_clusters), sparse.csr_array(first)))


def scaled(spread: Floats, n_periods: int) -> sparse.csr_array:
    """Give each cluster shocks with a standard deviation of its own (G,): (G·T, G·T)."""
    return sparse.csr_array(sparse.diags_array(np.repeat(spread, n_periods)))


def apart(n_clusters: int, n_periods: int, i: int, of: int) -> sparse.csr_array:
    """Let shocks be those to the i-th of so many subgroups, each with T of its own in every cluster: (G·T, G·(T·n))."""
    place = np.zeros((1, of))
    place[0, i] = 1.0
    own = sparse.kron(sparse.csr_array(place), sparse.eye_array(n_periods))
    return sparse.csr_array(sparse.kron(sparse.eye_array(n_clusters), own))


def shared_within(block: Ints, n_periods: int) -> sparse.csr_array:
    """Let clusters of the same block (G,) have the same shock in a period: (G·T, B·T)."""
    n = len(block)
    one = sparse.csr_array((np.ones(n), (np.arange(n), block)), shape=(n, int(block.max()) + 1))
    return sparse.csr_array(sparse.kron(one, sparse.eye_array(n_periods)))


_FARTHEST = 1000.0  # ratio of standard deviations up to which a turn is looked for
_STEPS = 121
_ALPHA = 0.05


def turning_noise(*, t: float, significant: bool, loadings: Floats, treated: Flags, of: ShockMap) -> float:
    """How many times the standard deviation of shocks to treated clusters would have to be that of the others for p to cross 5 %.

    loadings (G, T) of the effect, treated (G,); `of` maps shocks to the sums whose squares make the variance estimate, whatever
    factor it has included. At a ratio r the estimate sees a share of the variance with degrees of freedom that follow from
    both, and p is that of t times the root of the share. From 1 upwards where the effect is `significant` (inf: at no ratio is
    it not), else from 1 downwards (0: at no ratio is it).
    """
    n_periods = loadings.shape[1]
    v = np.einsum("gt,gt->g", loadings, loadings)
    sides = of.of_rows(treated), ~of.of_rows(treated)
    first, last = (of.after(scaled(side.astype(np.float64), n_periods)).moments() for side in sides)
    crossed = (of.moments()[1] - first[1] - last[1]) / 2

    def p_value(ratio: float) -> float:
        x = ratio**2
        moments = x * first[0] + last[0], x**2 * first[1] + 2 * x * crossed + last[1]
        return see_variance(moments, x * float(v[treated].sum()) + float(v[~treated].sum())).p_value(t)

    ratios = np.geomspace(1.0, _FARTHEST if significant else 1 / _FARTHEST, _STEPS)
    return _first_turn(p_value, ratios, significant, np.inf if significant else 0.0)


def turning_share(*, t: float, loadings: Floats, block: Ints, of: ShockMap) -> float:
    """Which share of the variance of shocks would have to be common to the clusters of a block for p to reach 5 %.

    block (G,); the rest as in turning_noise. inf where even common shocks alone leave it below.
    """
    shared, of = shared_within(block, loadings.shape[1]), of.expand()
    together = sparse.csr_array(sparse.hstack([sparse.eye_array(shared.shape[0]), shared]))
    first, last, both = of.moments(), of.after(shared).moments(), of.after(together).moments()
    crossed = (both[1] - first[1] - last[1]) / 2
    variances = float((loadings**2).sum()), float(((shared.T @ loadings.ravel()) ** 2).sum())

    def p_value(share: float) -> float:
        rest = 1 - share
        square = rest**2 * first[1] + 2 * share * rest * crossed + share**2 * last[1]
        moments = rest * first[0] + share * last[0], square
        return see_variance(moments, rest * variances[0] + share * variances[1]).p_value(t)

    return _first_turn(p_value, np.linspace(0.0, 1.0, _STEPS), True, np.inf)


def _first_turn(p_value: Callable[[float], float], grid: Floats, significant: bool, never: float) -> float:
    """The first place on a grid at which p is no longer on its side of 5 %, found by bisection between its points."""
    before = float(grid[0])
    for at in grid.tolist():
        if (p_value(at) < _ALPHA) != significant:
            if at == before:
                return before
            return float(optimize.brentq(lambda x: p_value(x) - _ALPHA, before, at, xtol=1e-6))
        before = at
    return never
