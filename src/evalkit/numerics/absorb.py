"""Absorb fixed effects: unit effects by de-meaning, all others by solving their system, or by pyfixest's demeaner."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from evalkit.numerics.arrays import Flags, Floats, Ints, cut_blocks, first_rows, in_blocks
from evalkit.numerics.least_squares import cross_products
from evalkit.numerics.level_systems import (
    LARGEST_BLOCK,
    Factored,
    Iterated,
    LevelSystem,
    Meetings,
    UnsolvedError,
    factorise_blocks,
    factorise_whole,
    independent_levels,
)

TOLERANCE = 1e-12  # of pyfixest's demeaner, as a share of the column
_SWEEPS, _FEW_STEPS, _STEPS = 4, 40, 2_000
_DENSE_LEVELS = 64
_BLOCK, _FEW_BLOCKS = (
    100_000,
    16,
)  # rows of a block whose units and levels are crossed; most blocks where levels are many
# |z'r| at most this share of |z||r|: residuals orthogonal to every level as well as rounding lets them be.
_ORTHOGONAL = 1e-13


@dataclass(frozen=True)
class Absorber:
    """Fixed effects made ready to be swept out of any column.

    starts (U,) first row and sizes (U,) number of rows of each unit (its rows are contiguous); unit (n,) its code; levels: a
    tuple of (n,) codes, one array for each further effect, offset so that all levels are numbered jointly 0..L-1; mass (U,) and
    level_mass (L,) the weight of each unit and level. `factored` is the de-meaned system of the levels (L, L), where its blocks
    are small; columns are swept with it to the last digit, and otherwise by pyfixest's demeaner up to `TOLERANCE`. `depth` is
    how many rows each unit has where all have the same levels in the same order, as in a balanced panel, else 0.
    """

    starts: Ints
    sizes: Ints
    unit: Ints
    levels: tuple[Ints, ...]
    weights: Floats | None
    mass: Floats
    level_mass: Floats
    factored: Factored | None = field(compare=False, repr=False)
    depth: int = 0

    @cached_property
    def system(self) -> LevelSystem:
        """The de-meaned system of the levels, to be solved for their effects."""
        return self.factored or Iterated(self.meetings)

    @cached_property
    def rank(self) -> int:
        """How many effects are independent, those of units included."""
        if self.factored is not None:
            return len(self.starts) + self.factored.rank
        return self.meetings.count_rank()

    @cached_property
    def meetings(self) -> Meetings:
        """How the levels meet in rows and units."""
        factors = [self.unit, *self.levels]
        active = [i for i in range(1, len(factors)) if not _is_spanned(i, factors)]
        number = np.concatenate([np.full(int(np.ptp(level)) + 1, i) for i, level in enumerate(self.levels)])
        crossed = sparse.csr_array((len(number), len(number)))
        for i in active:
            for j in active:
                place = (factors[i], factors[j])
                crossed = crossed + sparse.coo_array((self.row_weights, place), shape=crossed.shape).tocsr()
        chosen = np.flatnonzero(np.isin(number, np.array(active) - 1))
        return Meetings(sparse.csr_array(crossed), self.presence, self.mass, self.level_mass, number, chosen)

    @property
    def is_wide(self) -> bool:
        """Say whether there are more levels than are factorised whole."""
        return len(self.level_mass) > LARGEST_BLOCK

    @property
    def is_exact(self) -> bool:
        """Say whether columns are swept without a tolerance."""
        return self.factored is not None

    def sweep(self, columns: Sequence[Floats | Flags]) -> Floats:
        """Return the residuals (n, k), column by column in memory, of k columns (each (n,)) on all effects."""
        left = np.empty((len(self.unit), len(columns)), order="F")
        blocks = cut_blocks(len(self.unit), self.starts)

        def centre(rows: slice) -> Floats:
            measured = []
            for j, column in enumerate(columns):
                block, values = self._lay(left[rows, j]), column[rows]
                # a large constant would cost digits in every sum below
                np.subtract(self._turn(values), float(column[len(column) // 2]), out=block)
                measured.append(self._centre(block, rows))
            return np.array(measured)

        measured = np.sum(in_blocks(centre, blocks), axis=0)
        if self.factored is None:
            return self._demean(left, measured[:, -1])
        todo = np.arange(len(columns))
        for _ in range(3):  # once; again only where rounding has left more than it should
            effects = [self.system.solve(load) for load in measured[:, :-1]]
            measured = np.sum(in_blocks(partial(self._lessen, left, todo, effects), blocks), axis=0)
            again = [not self._is_orthogonal(one) for one in measured]
            todo, measured = todo[again], measured[again]
            if not len(todo):
                break
        if self.depth:
            in_blocks(partial(self._turn_back, left), blocks)
        return left

    def load(self, columns: Floats) -> Floats:
        """Products (L, m) of the levels' indicators with columns (n, m)."""
        loads = np.zeros((len(self.level_mass), columns.shape[1]))
        for j, column in enumerate(columns.T):
            for level in self.levels:
                loads[:, j] += np.bincount(level, weights=column * self.row_weights, minlength=len(loads))
        return loads

    def fitted(self, effects: Floats) -> Floats:
        """What effects (L, m) of the levels make of the rows, less its mean in each unit: (n, m)."""
        total = sum((effects[level] for level in self.levels[1:]), effects[self.levels[0]])
        means = np.add.reduceat(total * self.row_weights[:, None], self.starts, axis=0) / self.mass[:, None]
        fitted: Floats = total - means[self.unit]
        return fitted

    def unit_masses(self, code: Ints, n_codes: int) -> sparse.csr_array:
        """Weight of each unit's rows of each `code` (n,), (U, c)."""
        return sparse.csr_array((self.row_weights, (self.unit, code)), (len(self.starts), n_codes))

    @cached_property
    def presence(self) -> sparse.csr_array:
        """Weight of each unit on each level, (U, L)."""
        place = (np.tile(self.unit, len(self.levels)), np.concatenate(self.levels))
        shape = (len(self.starts), len(self.level_mass))
        return sparse.csr_array((np.tile(self.row_weights, len(self.levels)), place), shape)

    def level_products(self, code: Ints, n_codes: int) -> Floats:
        """Products (L, c) of the levels' indicators, de-meaned by unit, with columns that are 1 in rows of one `code` each."""
        products = np.zeros(len(self.level_mass) * n_codes)
        for level in self.levels:
            products += np.bincount(level * n_codes + code, weights=self.row_weights, minlength=len(products))
        shares = self.presence.multiply(1 / self.mass[:, None])
        within: Floats = (shares.T @ self.unit_masses(code, n_codes)).toarray()
        return products.reshape(-1, n_codes) - within

    @property
    def row_weights(self) -> Floats:
        """Weight (n,) of each row."""
        return np.ones(len(self.unit)) if self.weights is None else self.weights

    def _lay(self, block: Floats) -> Floats:
        """View memory (m,) for a block of a column as its rows (m,) or, where units have a `depth`, as (depth, units)."""
        return block.reshape(self.depth, -1) if self.depth else block

    def _turn(self, values: NDArray[Any]) -> NDArray[Any]:
        """View values (m,) of rows in the shape that _lay gives their block."""
        return values.reshape(-1, self.depth).T if self.depth else values

    def _turn_back(self, left: Floats, rows: slice) -> None:
        """Put the rows of a block of all columns (n, k) that _lay has laid out in order again."""
        for column in left[rows].T:
            column[:] = self._lay(column).T.ravel()

    def _lessen(self, left: Floats, todo: Ints, effects: Sequence[Floats], rows: slice) -> Floats:
        """Take the effects (each (L,)) out of a block of the columns `todo`, and measure what is left as _centre does."""
        scratch, measured = np.empty(rows.stop - rows.start), []  # fresh memory costs more than the arithmetic on it
        for j, effect in zip(todo, effects, strict=True):
            block = self._lay(left[rows, j])
            for level in self.levels:
                if self.depth:
                    block -= effect[level[: self.depth], None]
                else:
                    block -= np.take(effect, level[rows], out=scratch, mode="clip")
            measured.append(self._centre(block, rows))
        return np.array(measured)

    def _centre(self, block: Floats, rows: slice) -> Floats:
        """Take the means of its units out of a block of a column, and measure what is left.

        Its load on the levels and, last, its square: (L + 1,).
        """
        first, end = int(self.unit[rows.start]), int(self.unit[rows.stop - 1]) + 1
        weights = None if self.weights is None else self._turn(self.weights[rows])
        weighted = block if weights is None else block * weights
        if self.depth:
            block -= weighted.sum(axis=0) / self.mass[first:end]
        else:
            means = np.add.reduceat(weighted, self.starts[first:end] - rows.start) / self.mass[first:end]
            block -= np.take(means, self.unit[rows] - first, mode="clip")
        weighted = block if weights is None else block * weights
        measured = np.zeros(len(self.level_mass) + 1)
        for level in self.levels:
            if self.depth:
                own, sums = level[: self.depth], weighted.sum(axis=1)
            else:
                own, sums = level[rows], weighted
            measured[:-1] += np.bincount(own, weights=sums, minlength=len(self.level_mass))
        measured[-1] = np.einsum("i,i->", weighted.ravel(), block.ravel())
        return measured

    def _demean(self, left: Floats, squares: Floats) -> Floats:
        """Sweep columns, centred by unit and of `squares` (k,), by pyfixest's demeaners, until orthogonal to the levels."""
        # a third of a second, for those who absorb so much
        from pyfixest.core.demean import Preconditioner, demean, demean_within

        effects = [self.unit, *(level for level in self.levels if self.meetings.is_active(level))]
        codes = np.asfortranarray(np.stack(effects, axis=1).astype(np.uint32))
        whole = slice(0, len(self.unit))
        scale = np.sqrt(squares)
        scale[scale == 0] = 1.0
        left /= scale
        weights, near = self.row_weights, True
        preconditioner: Preconditioner | None = None
        for _ in range(_SWEEPS):
            if near:  # alternating projections, quick where levels are well connected
                swept, near = demean(left, codes.astype(np.uint64), weights, TOLERANCE, _FEW_STEPS)
            if not near:
                swept, solved, preconditioner = demean_within(
                    left, codes, self.weights, TOLERANCE, _STEPS, None, preconditioner or "additive"
                )
                if not solved:
                    raise UnsolvedError(f"not solved after {_STEPS} steps")
            left = np.asfortranarray(swept)
            measured = [self._centre(column, whole) for column in left.T]
            if all(map(self._is_orthogonal, measured)):
                break
        left *= scale
        return left

    def _is_orthogonal(self, measured: Floats) -> bool:
        """Say whether a column, as _centre measures it (L + 1,), is as orthogonal to the levels as rounding lets it be."""
        return bool((measured[:-1] ** 2 <= _ORTHOGONAL**2 * self.level_mass * measured[-1]).all())


def make_absorber(*, unit: Ints, starts: Ints, factors: tuple[Ints, ...], weights: Floats | None) -> Absorber:
    """Prepare to absorb `unit` and further effects `factors` (each (n,) dense codes).

    The codes of `unit` (n,) are sorted; `starts` (U,) are their first rows.

    The further effects, de-meaned by unit, have the cross-product M = Z'WZ - P' diag(1/mass) P with P (U, L) the weight of each
    unit on each level: L by L, however many rows. Of few levels it is factorised once, with pivoting, which also counts its rank;
    of many, block by block, where no unit connects them beyond small blocks.
    """
    levels, n_levels = number_jointly(factors)
    if n_levels > LARGEST_BLOCK:
        wide = gather_levels(unit=unit, starts=starts, factors=factors, weights=weights)
        return replace(wide, factored=factorise_blocks(wide.meetings))
    sizes = np.diff(np.append(starts, len(unit)))
    mass = sizes.astype(np.float64) if weights is None else np.add.reduceat(weights, starts)
    crossed = level_cross_product(levels, n_levels, weights)
    level_mass = np.diag(crossed).copy()
    depth = _depth(sizes, levels)
    if depth and weights is None:  # all units alike
        presence = sum(np.bincount(level[:depth], minlength=n_levels) for level in levels)
        shared = np.outer(presence, presence) * (len(starts) / depth)
    else:
        shared = _shared_within_units(starts, sizes, levels, n_levels, weights, mass)
    factored = factorise_whole(crossed - shared, level_mass)
    return Absorber(starts, sizes, unit, levels, weights, mass, level_mass, factored, depth)


def gather_levels(*, unit: Ints, starts: Ints, factors: tuple[Ints, ...], weights: Floats | None) -> Absorber:
    """Gather units and levels, as make_absorber does, without a factor of their system."""
    levels, n_levels = number_jointly(factors)
    sizes = np.diff(np.append(starts, len(unit)))
    mass = sizes.astype(np.float64) if weights is None else np.add.reduceat(weights, starts)
    level_mass = np.zeros(n_levels)
    for level in levels:
        level_mass += np.bincount(level, weights=weights, minlength=n_levels)
    return Absorber(starts, sizes, unit, levels, weights, mass, level_mass, None)


def _depth(sizes: Ints, levels: tuple[Ints, ...]) -> int:
    """How many rows each unit has where all have the same levels in the same order, else 0."""
    n, depth = len(levels[0]), int(sizes[0])
    if (sizes != depth).any():
        return 0

    def alike(rows: slice) -> bool:
        return all(bool((level[rows].reshape(-1, depth) == level[:depth]).all()) for level in levels)

    return depth if all(in_blocks(alike, cut_blocks(n, np.arange(0, n, depth)))) else 0


def _shared_within_units(
    starts: Ints, sizes: Ints, levels: tuple[Ints, ...], n_levels: int, weights: Floats | None, mass: Floats
) -> Floats:
    """P' diag(1/mass) P (L, L), where P (U, L) is the weight of each unit on each level."""
    n, dense = len(levels[0]), n_levels <= _DENSE_LEVELS

    def share(rows: slice) -> Floats:
        units = slice(*np.searchsorted(starts, [rows.start, rows.stop]))
        unit = np.repeat(np.arange(len(starts[units])), sizes[units])
        values = None if weights is None else weights[rows]
        root = np.sqrt(mass[units])
        if dense:
            presence = np.zeros(n_levels * len(root))
            for level in levels:
                presence += np.bincount(level[rows] * len(root) + unit, weights=values, minlength=len(presence))
            return cross_products(list(presence.reshape(n_levels, len(root)) / root))
        place = (np.concatenate([unit] * len(levels)), np.concatenate([level[rows] for level in levels]))
        table = sparse.csr_array(
            (np.concatenate([(1.0 if values is None else values) / root[unit]] * len(levels)), place),
            (len(root), n_levels),
        )
        shared: Floats = (table.T @ table).toarray()
        return shared

    # of many levels few blocks, for each of which there is a table of them
    blocks = cut_blocks(n, starts, least=_BLOCK if dense else max(_BLOCK, n // _FEW_BLOCKS))
    total: Floats = np.sum(in_blocks(share, blocks), axis=0)
    return total


def _is_spanned(i: int, factors: Sequence[Ints]) -> bool:
    """Say whether each level of a factor is made of whole levels of another one (of those that are equal, of the first)."""
    for j, other in enumerate(factors):
        if j != i and is_made_of(factors[i], other) and (j < i or not is_made_of(other, factors[i])):
            return True
    return False


def is_made_of(coarse: Ints, fine: Ints) -> bool:
    """Say whether all rows of a code in `fine` (n,) have one code in `coarse` (n,)."""
    of = np.zeros(int(fine.max()) + 1, dtype=np.int64)
    of[fine] = coarse
    return bool((of[fine] == coarse).all())


def number_jointly(factors: tuple[Ints, ...]) -> tuple[tuple[Ints, ...], int]:
    """Offset the codes of each factor so that all levels are numbered 0..L-1; return them and L."""
    offsets = np.concatenate([[0], np.cumsum([int(codes.max()) + 1 for codes in factors])])
    numbered = tuple(codes + offset if offset else codes for codes, offset in zip(factors, offsets[:-1], strict=True))
    return numbered, int(offsets[-1])


def effects_rank(factors: tuple[Ints, ...]) -> int:
    """Count the independent effects among a constant and these factors (each (n,) dense codes)."""
    if len(factors) < 2:
        return int(factors[0].max()) + 1 if factors else 1
    levels, n_levels = number_jointly(factors)
    if n_levels <= LARGEST_BLOCK:
        system = level_cross_product(levels, n_levels, None)
        return len(independent_levels(system, np.diag(system))[0])
    widest, *others = sorted(factors, key=lambda codes: -int(codes.max()))
    order = np.argsort(widest, kind="stable")
    rest = tuple(codes[order] for codes in others)
    return make_absorber(unit=widest[order], starts=first_rows(widest[order]), factors=rest, weights=None).rank


def level_cross_product(levels: tuple[Ints, ...], n_levels: int, weights: Floats | None) -> Floats:
    total = np.zeros((n_levels, n_levels))
    for i, one in enumerate(levels):
        for other in levels[: i + 1]:
            if one is other:
                total[np.diag_indices(n_levels)] += _mass_of_levels(one, n_levels, weights)
                continue
            values = np.ones(len(one)) if weights is None else weights
            cross = sparse.coo_array((values, (one, other)), shape=(n_levels, n_levels)).toarray()
            total += cross + cross.T
    return total


def _mass_of_levels(level: Ints, n_levels: int, weights: Floats | None) -> Floats:
    """Weight of the rows on each level of one factor, (L,)."""

    def count(rows: slice) -> Floats:
        held = None if weights is None else weights[rows]
        return np.bincount(level[rows], weights=held, minlength=n_levels).astype(np.float64)

    mass: Floats = np.sum(in_blocks(count, cut_blocks(len(level), least=_BLOCK)), axis=0)
    return mass


# Working with patterns pays where they have at most this share of the rows.
_WORTH = 0.25


@dataclass(frozen=True)
class Patterns:
    """The distinct sequences of keys, each stood for by the first unit that has it.

    rows (c,) the rows of those units; unit (c,) the code of each row's pattern, sorted, and starts (P,) its first row; cell (n,)
    says which of the c rows each row equals; mass (c,) is the weight of all rows that a row stands for.
    """

    rows: Ints
    unit: Ints
    starts: Ints
    cell: Ints
    mass: Floats


def find_patterns(*, key: Ints, starts: Ints, weights: Floats | None) -> Patterns | None:
    """Group units (their rows are contiguous, from `starts` (U,) on) by their sequence of keys (n,), integers from 0.

    None where weights (n,) vary within units, or where there are too many patterns to gain anything.
    """
    sizes = np.diff(np.append(starts, len(key)))
    if weights is not None and (np.repeat(weights[starts], sizes) != weights).any():
        return None
    _, first, pattern = np.unique(np.add.reduceat(_mix(key), starts), return_index=True, return_inverse=True)
    length = sizes[first]
    n_rows = int(length.sum())
    if n_rows > _WORTH * len(key) or (length[pattern] != sizes).any():
        return None
    offset = np.cumsum(length) - length
    rows = np.arange(n_rows) + np.repeat(starts[first] - offset, length)
    cell = np.arange(len(key)) + np.repeat(offset[pattern] - starts, sizes)
    if (key[rows][cell] != key).any():  # two sequences with one sum of hashes: as good as impossible, but exact
        return None
    mass = np.bincount(cell, weights=weights, minlength=n_rows).astype(np.float64)
    return Patterns(rows, np.repeat(np.arange(len(first)), length), offset, cell, mass)


def _mix(key: Ints) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    """Hash small integers to 64 bits. Source: Steele, Lea, Flood, OOPSLA (2014), figure 14 (SplitMix)."""
    few = int(key.max()) < len(key)  # then each is hashed once
    z = np.arange(1, int(key.max()) + 2, dtype=np.uint64) if few else (key + 1).astype(np.uint64)
    z = z * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    hashed: np.ndarray[tuple[int], np.dtype[np.uint64]] = z ^ (z >> np.uint64(31))
    return hashed[key] if few else hashed
