"""The system of the levels of fixed effects, de-meaned by unit: factorised where its blocks are small, else iterated."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from scipy import sparse
from scipy.linalg import lapack, solve_triangular
from scipy.sparse.csgraph import connected_components

from evalkit.numerics.arrays import Floats, Ints

# A level whose remaining weight, after de-meaning, is below this share of its own is determined by the other levels.
RANK_TOLERANCE = 1e-10
LARGEST_BLOCK = 800  # levels of a block that is factorised whole
_MOST_COUNTED, _MOST_SHARED = 2_000, 3_000  # levels, or directions that they share, whose rank is counted whole
_PRECISE, _ROUNDING, _MOST_STEPS = 1e-14, 1e-11, 3_000  # of conjugate gradients
_IN_VAIN = 30  # steps that gain nothing, after which what is left below _ROUNDING is taken for that


class UnsolvedError(ArithmeticError):
    """The systems of fixed effects are too ill-conditioned to be solved step by step."""


class LevelSystem(Protocol):
    """The symmetric, positive semidefinite system A (L, L) of all levels."""

    def solve(self, load: Floats, lengths: Floats | None = None) -> Floats:
        """Return effects (L, m) with A·effects = load (L, m), a load being products of the levels' indicators with columns.

        lengths (m,) are those of the columns: a load far below is what rounding left of columns that no level explains.
        """
        ...

    def root(self, load: Floats, lengths: Floats | None = None) -> Floats:
        """Return columns (q, m) whose products with each other are load'·A^-1·load."""
        ...


@dataclass(frozen=True)
class Meetings:
    """Levels and how they meet: of L levels, which share rows, `crossed` (L, L), and which units, `presence` (U, L).

    Both hold weights; mass (U,) is that of each unit, level_mass (L,) that of each level; factor (L,) is a level's factor.
    active (a,) lists the levels of all factors but those made of whole levels of another one, or of units.
    """

    crossed: sparse.csr_array
    presence: sparse.csr_array
    mass: Floats
    level_mass: Floats
    factor: Ints
    active: Ints

    def is_active(self, level: Ints) -> bool:
        """Say whether a factor's levels (n,) are among the active ones."""
        return bool(np.isin(level[0], self.active))

    def groups(self, chosen: Ints) -> tuple[int, Ints]:
        """Number the groups of chosen levels (c,) that units connect; of each level its group (c,)."""
        of_units = sparse.csr_array(self.presence[:, chosen])
        meets = of_units.tocoo()
        n, place = len(self.mass) + len(chosen), (meets.row, len(self.mass) + meets.col)
        n_groups, group = connected_components(sparse.csr_array((np.ones(meets.nnz), place), (n, n)), directed=False)
        return int(n_groups), group[len(self.mass) :].astype(np.int64)

    @property
    def is_counted(self) -> bool:
        """Say whether the rank is counted, not bounded from above: see count_rank."""
        return len(np.unique(self.factor[self.active])) <= 1 or len(self.active) <= _MOST_COUNTED

    def count_rank(self) -> int:
        """Count the independent effects, those of units included.

        Two sets of effects share one direction in each group of levels that rows connect; what the shared directions of all pairs
        span is redundant. Of units and one more factor that is exact. Of more, effects can depend on each other in threes without
        doing so in pairs; then this counts too many, but for systems of no more than 2,000 levels, which are counted whole.
        """
        own = [self.active[self.factor[self.active] == i] for i in np.unique(self.factor[self.active])]
        if len(own) > 1 and len(self.active) <= _MOST_COUNTED:
            of_units = sparse.csr_array(self.presence[:, self.active].multiply(1 / np.sqrt(self.mass)[:, None]))
            system = self.crossed[self.active][:, self.active] - of_units.T @ of_units
            return len(self.mass) + len(independent_levels(system.toarray(), self.level_mass[self.active])[0])
        n_units, n = len(self.mass), len(self.mass) + len(self.level_mass)
        shared: list[sparse.csr_array] = []
        for i, one in enumerate(own):
            group = self.groups(one)[1]
            units = np.zeros(n_units, dtype=np.int64)
            of_units = self.presence[:, one].tocoo()
            units[of_units.row] = group[of_units.col]
            shared.append(_contrasts((np.arange(n_units), units), (n_units + one, group), n))
            for other in own[:i]:
                met = self.crossed[one][:, other].tocoo()
                place, size = (met.row, len(one) + met.col), len(one) + len(other)
                both = connected_components(sparse.csr_array((met.data, place), (size, size)), directed=False)[1]
                first, second = np.split(both.astype(np.int64), [len(one)])
                shared.append(_contrasts((n_units + one, first), (n_units + other, second), n))
        if not shared:
            return n_units
        every = sparse.csr_array(sparse.hstack(shared))
        if every.shape[1] > _MOST_SHARED:
            return n_units + sum(len(one) - self.groups(one)[0] for one in own)
        gram = (every.T @ every).toarray()
        return n_units + len(self.active) - len(independent_levels(gram, np.diag(gram))[0])


def _contrasts(one: tuple[Ints, Ints], other: tuple[Ints, Ints], n: int) -> sparse.csr_array:
    """Difference (n, groups) of two sets of effects in each group, each given by places among n and groups."""
    values = np.repeat([1.0, -1.0], [len(one[0]), len(other[0])])
    place = (np.concatenate([one[0], other[0]]), np.concatenate([one[1], other[1]]))
    table = sparse.csr_array((values, place), (n, int(place[1].max()) + 1))
    return sparse.csr_array(table[:, np.diff(table.tocsc().indptr) > 0])


def factorise_blocks(levels: Meetings) -> Factored | None:
    """Factorise the system; None where a block of it is large.

    Blocks are levels of the factor with most levels (of all active ones, if the others are many) that no unit connects; the other
    levels, few, are its border. Each is factorised with pivoting, which counts its rank.
    """
    active = levels.active
    factor = levels.factor[active]
    sizes = np.bincount(factor, minlength=1)
    inside = np.ones(len(active), dtype=bool)
    if len(active) - sizes.max() <= LARGEST_BLOCK:
        inside = factor == sizes.argmax()
    place, border = np.flatnonzero(inside), np.flatnonzero(~inside)
    group = np.unique(levels.groups(active[place])[1], return_inverse=True)[1]
    if len(place) and np.bincount(group).max() > LARGEST_BLOCK:
        return None
    presence = levels.presence[:, active].multiply(1 / np.sqrt(levels.mass)[:, None]).tocsr()
    system = sparse.csr_array(levels.crossed[active][:, active] - presence.T @ presence)
    reference = levels.level_mass[active]
    order = np.argsort(group, kind="stable")
    kept: list[Ints] = [np.zeros(0, dtype=np.int64)]
    roots: list[Floats] = []
    for members in np.split(place[order], np.flatnonzero(np.diff(group[order])) + 1):
        own, root = independent_levels(system[members][:, members].toarray(), reference[members])
        if len(own):
            kept.append(members[own])
            # small; SciPy's triangular solver wakes threads for it
            roots.append(np.asarray(np.linalg.inv(root), dtype=np.float64))
    inner = np.concatenate(kept)
    all_roots = sparse.csr_array(sparse.block_diag(roots or [np.zeros((0, 0))], format="csr"))
    across = (all_roots @ system[inner][:, border]).toarray()
    own, last = independent_levels(system[border][:, border].toarray() - across.T @ across, reference[border])
    return Factored(len(levels.level_mass), active[inner], all_roots, active[border[own]], across[:, own], last)


def factorise_whole(system: Floats, level_mass: Floats) -> Factored:
    """Factorise the system (L, L) of few levels, as a border without blocks."""
    kept, last = independent_levels(system, level_mass)
    none = np.zeros(0, dtype=np.int64)
    return Factored(len(system), none, sparse.csr_array((0, 0)), kept, np.zeros((0, len(kept))), last)


@dataclass(frozen=True)
class Factored:
    """The Cholesky factor of the independent levels: first those of blocks, `inner` (r,), then of their border, `outer` (e,).

    root_inner (r, r) is the inverse of the blocks' factor; across (r, e) is that times the columns of the border; last (e, e) is
    the factor of what the blocks leave of the border.
    """

    n_levels: int
    inner: Ints
    root_inner: sparse.csr_array
    outer: Ints
    across: Floats
    last: Floats

    @property
    def rank(self) -> int:
        """How many levels are independent."""
        return len(self.inner) + len(self.outer)

    def root(self, load: Floats, lengths: Floats | None = None) -> Floats:
        """Solve with the factor: (r + e, m)."""
        inner, outer = load[self.inner], load[self.outer]
        if len(self.inner):
            inner = self.root_inner @ inner
            outer = outer - self.across.T @ inner
        outer = solve_triangular(self.last, outer, lower=True, check_finite=False)
        return np.concatenate([inner, outer]) if len(self.inner) else np.asarray(outer)

    def solve(self, load: Floats, lengths: Floats | None = None) -> Floats:
        """Solve with the factor and its transpose; levels that others determine get 0."""
        half = self.root(load)
        inner, outer = half[: len(self.inner)], half[len(self.inner) :]
        effects = np.zeros((self.n_levels, *load.shape[1:]))
        effects[self.outer] = last = solve_triangular(self.last, outer, lower=True, trans="T", check_finite=False)
        if len(self.inner):
            effects[self.inner] = self.root_inner.T @ (inner - self.across @ last)
        return effects


@dataclass(frozen=True)
class Iterated:
    """The system solved by conjugate gradients, scaled by the mass of the levels, for all columns at once.

    Source: Golub and Van Loan, Matrix Computations, 4th edition (2013), algorithm 11.5.1.
    """

    levels: Meetings

    @cached_property
    def _members(self) -> sparse.csr_array:
        """Which of the groups of levels of one factor that units connect each level is in, (a, groups)."""
        active, factor = self.levels.active, self.levels.factor[self.levels.active]
        group, n_groups = np.empty(len(active), dtype=np.int64), 0
        for i in np.unique(factor):
            count, group[factor == i] = self.levels.groups(active[factor == i])
            group[factor == i] += n_groups
            n_groups += count
        return sparse.csr_array((np.ones(len(group)), (np.arange(len(group)), group)), (len(group), n_groups))

    @cached_property
    def _parts(self) -> tuple[sparse.csr_array, sparse.csr_array, sparse.csr_array]:
        active = self.levels.active
        presence = sparse.csr_array(self.levels.presence[:, active])
        means = sparse.csr_array(presence.multiply(1 / self.levels.mass[:, None]))
        return sparse.csr_array(self.levels.crossed[active][:, active]), presence, sparse.csr_array(means.T)

    def _times(self, x: Floats) -> Floats:
        crossed, presence, means = self._parts
        product: Floats = crossed @ x - means @ (presence @ x)
        return product

    def solve(self, load: Floats, lengths: Floats | None = None) -> Floats:
        """Step until residuals are below 1e-14 of loads or lengths, or, of 1e-11, gain no more; else UnsolvedError."""
        active = self.levels.active
        effects = np.zeros((len(self.levels.level_mass), *load.shape[1:]))
        columns = load[active].reshape(len(active), -1)
        least = np.zeros(columns.shape[1]) if lengths is None else lengths.reshape(-1)
        effects[active] = self._descend(columns, least).reshape(len(active), *load.shape[1:])
        return effects

    def _descend(self, load: Floats, lengths: Floats) -> Floats:
        scale = 1 / self.levels.level_mass[self.levels.active][:, None]
        effects, left = np.zeros_like(load), load.copy()
        # Loads sum to 0 in each of these groups; what rounding leaves of that could never be solved.
        left -= self._members @ ((self._members.T @ left) / self._members.sum(axis=0)[:, None])
        ahead = scale * left
        square = np.einsum("lm,lm->m", left, ahead)
        whole = np.maximum(square, lengths**2)
        enough, rounding = _PRECISE**2 * whole, _ROUNDING**2 * whole
        # Rounding of loads in directions without curvature stays, and makes steps grow again: the best of each column counts.
        best, kept, in_vain = square.copy(), effects.copy(), np.zeros(len(square), dtype=np.int64)
        for _ in range(_MOST_STEPS):
            going = (best > enough) & ((best > rounding) | (in_vain < _IN_VAIN))
            if not going.any():
                return kept
            after = self._times(ahead)
            curvature = np.einsum("lm,lm->m", ahead, after)
            going &= curvature > 0
            length = np.divide(square, curvature, out=np.zeros_like(square), where=going)
            effects += length * ahead
            left -= length * after
            scaled = scale * left
            now = np.einsum("lm,lm->m", left, scaled)
            ahead = scaled + np.divide(now, square, out=np.zeros_like(now), where=square > 0) * ahead
            square, better = now, now < best
            in_vain = np.where(better, 0, in_vain + 1)
            best = np.minimum(best, now)
            near = better & (now <= rounding)
            kept[:, near] = effects[:, near]
        if (best <= rounding).all():
            return kept
        raise UnsolvedError(f"not solved after {_MOST_STEPS} steps")

    def root(self, load: Floats, lengths: Floats | None = None) -> Floats:
        """Take the root of the columns' products (m, m) themselves."""
        columns = load.reshape(len(load), -1)
        products = columns.T @ self.solve(columns, lengths)
        scale = np.sqrt(np.maximum(np.diag(products), 0.0))  # columns of very different size would cost digits
        scale[scale == 0] = 1.0
        products = products / scale / scale[:, None]
        values, vectors = np.linalg.eigh((products + products.T) / 2)
        found: Floats = (vectors * np.sqrt(np.maximum(values, 0.0))).T * scale
        return found.reshape(len(found), *load.shape[1:])


def independent_levels(system: Floats, reference: Floats) -> tuple[Ints, Floats]:
    """Pivoted Cholesky of a positive semidefinite matrix, scaled by `reference`: the independent rows and their factor."""
    scale = 1.0 / np.sqrt(reference)
    if (np.diag(system) * scale**2).max(initial=0.0) <= RANK_TOLERANCE:  # the first pivot is not held against it
        return np.zeros(0, dtype=np.int64), np.zeros((0, 0))
    scaled = system * scale[:, None] * scale[None, :]
    _, pivots, rank, _ = lapack.dpstrf(scaled, lower=1, tol=RANK_TOLERANCE)
    kept = np.sort(pivots[:rank].astype(np.int64) - 1)
    factor = np.linalg.cholesky(system[np.ix_(kept, kept)]) if rank else np.zeros((0, 0))
    return kept, factor
