"""Absorb fixed effects exactly: unit effects by de-meaning, all others by solving their small system directly."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import sparse
from scipy.linalg import lapack, solve_triangular

from evalkit.numerics.arrays import Floats, Ints
from evalkit.numerics.least_squares import cross_products

# A level whose remaining weight, after de-meaning, is below this share of its own is determined by the other levels.
_RANK_TOLERANCE = 1e-10
_DENSE_LEVELS = 64
_BLOCK = 8192
# |z'r| at most this share of |z||r|: residuals orthogonal to every level as well as rounding lets them be.
_ORTHOGONAL = 1e-13
# Numbers to sweep above which starting threads pays.
_WORTH_THREADS = 500_000


@dataclass(frozen=True)
class Absorber:
    """Fixed effects made ready to be swept out of any column.

    starts (U,) first row and sizes (U,) number of rows of each unit (its rows are contiguous); unit (n,) its code; levels: a
    tuple of (n,) codes, one array for each further effect, offset so that all levels are numbered jointly 0..L-1; mass (U,) and
    level_mass (L,) the weight of each unit and level. `factor` (r, r) is the Cholesky factor of the r independent levels `kept`
    of the de-meaned system (L, L). `rank` counts all absorbed effects, units included.
    """

    starts: Ints
    sizes: Ints
    unit: Ints
    levels: tuple[Ints, ...]
    weights: Floats | None
    mass: Floats
    level_mass: Floats
    kept: Ints
    factor: Floats

    @property
    def rank(self) -> int:
        return len(self.starts) + len(self.kept)

    def sweep(self, columns: Sequence[Floats]) -> Floats:
        """Return the residuals (n, k), column by column in memory, of k columns (each (n,)) on all effects."""
        residuals = np.empty((len(self.unit), len(columns)), order="F")
        workers = min(len(columns), os.cpu_count() or 1) if residuals.size > _WORTH_THREADS else 1

        def sweep_share(first: int) -> None:
            scratch = np.empty(len(self.unit))  # fresh memory costs more than the arithmetic on it
            for j in range(first, len(columns), workers):
                self._sweep_into(residuals[:, j], columns[j], scratch)

        if workers == 1:
            sweep_share(0)
        else:  # each column is one thread's from first to last: how many there are changes no bit
            with ThreadPoolExecutor(workers) as pool:
                list(pool.map(sweep_share, range(workers)))
        return residuals

    def unit_masses(self, code: Ints, n_codes: int) -> sparse.csr_array:
        """Weight of each unit's rows of each `code` (n,), (U, c)."""
        return sparse.csr_array((self._row_weights, (self.unit, code)), (len(self.starts), n_codes))

    @cached_property
    def presence(self) -> sparse.csr_array:
        """Weight of each unit on each level, (U, L)."""
        place = (np.tile(self.unit, len(self.levels)), np.concatenate(self.levels))
        shape = (len(self.starts), len(self.level_mass))
        return sparse.csr_array((np.tile(self._row_weights, len(self.levels)), place), shape)

    def level_products(self, code: Ints, n_codes: int) -> Floats:
        """Products (L, c) of the levels' indicators, de-meaned by unit, with columns that are 1 in rows of one `code` each."""
        products = np.zeros(len(self.level_mass) * n_codes)
        for level in self.levels:
            products += np.bincount(level * n_codes + code, weights=self._row_weights, minlength=len(products))
        shares = self.presence.multiply(1 / self.mass[:, None])
        within: Floats = (shares.T @ self.unit_masses(code, n_codes)).toarray()
        return products.reshape(-1, n_codes) - within

    @property
    def _row_weights(self) -> Floats:
        return np.ones(len(self.unit)) if self.weights is None else self.weights

    def _sweep_into(self, left: Floats, column: Floats, scratch: Floats) -> None:
        np.subtract(column, column[len(column) // 2], out=left)  # a large constant would cost digits in every sum below
        left -= np.take(self._means(left, scratch), self.unit, out=scratch, mode="clip")
        load = self._load(left, scratch)
        for _ in range(3):  # once; again only where rounding has left more than it should
            effects = np.zeros(len(self.level_mass))
            half = solve_triangular(self.factor, load[self.kept], lower=True, check_finite=False)
            effects[self.kept] = solve_triangular(self.factor, half, lower=True, trans="T", check_finite=False)
            for level in self.levels:
                left -= np.take(effects, level, out=scratch, mode="clip")
            left -= np.take(self._means(left, scratch), self.unit, out=scratch, mode="clip")
            load = self._load(left, scratch)
            if (load**2 <= _ORTHOGONAL**2 * self.level_mass * self._square(left)).all():
                break

    def _weighted(self, column: Floats, scratch: Floats) -> Floats:
        return column if self.weights is None else np.multiply(column, self.weights, out=scratch)

    def _means(self, column: Floats, scratch: Floats) -> Floats:
        means: Floats = np.add.reduceat(self._weighted(column, scratch), self.starts) / self.mass
        return means

    def _load(self, column: Floats, scratch: Floats) -> Floats:
        weighted = self._weighted(column, scratch)
        load = np.zeros(len(self.level_mass))
        for level in self.levels:
            load += np.bincount(level, weights=weighted, minlength=len(load))
        return load

    def _square(self, column: Floats) -> float:
        if self.weights is None:
            return float(np.einsum("i,i->", column, column))
        return float(np.einsum("i,i,i->", column, column, self.weights))


def make_absorber(*, unit: Ints, starts: Ints, factors: tuple[Ints, ...], weights: Floats | None) -> Absorber:
    """Prepare to absorb `unit` and further effects `factors` (each (n,) dense codes).

    The codes of `unit` (n,) are sorted; `starts` (U,) are their first rows.

    The further effects, de-meaned by unit, have the cross-product M = Z'WZ - P' diag(1/mass) P with P (U, L) the weight of each
    unit on each level: L by L, however many rows. It is factorised once, with pivoting, which also counts its rank.
    """
    levels, n_levels = number_jointly(factors)
    sizes = np.diff(np.append(starts, len(unit)))
    mass = sizes.astype(np.float64) if weights is None else np.add.reduceat(weights, starts)
    crossed = level_cross_product(levels, n_levels, weights)
    level_mass = np.diag(crossed).copy()
    kept, factor = independent_levels(
        crossed - _shared_within_units(starts, sizes, levels, n_levels, weights, mass), level_mass
    )
    return Absorber(starts, sizes, unit, levels, weights, mass, level_mass, kept, factor)


def _shared_within_units(
    starts: Ints, sizes: Ints, levels: tuple[Ints, ...], n_levels: int, weights: Floats | None, mass: Floats
) -> Floats:
    """P' diag(1/mass) P (L, L), where P (U, L) is the weight of each unit on each level."""
    ends = starts + sizes
    shared = np.zeros((n_levels, n_levels))
    for first in range(0, len(starts), _BLOCK):  # blocks stay in the processor's cache
        units = slice(first, min(first + _BLOCK, len(starts)))
        rows = slice(int(starts[units][0]), int(ends[units][-1]))
        unit = np.repeat(np.arange(len(starts[units])), sizes[units])
        values = None if weights is None else weights[rows]
        root = np.sqrt(mass[units])
        if n_levels <= _DENSE_LEVELS:
            presence = np.zeros(n_levels * len(root))
            for level in levels:
                presence += np.bincount(level[rows] * len(root) + unit, weights=values, minlength=len(presence))
            shared += cross_products((presence.reshape(n_levels, len(root)) / root).T)
        else:
            place = (np.concatenate([unit] * len(levels)), np.concatenate([level[rows] for level in levels]))
            table = sparse.csr_array(
                (np.concatenate([(1.0 if values is None else values) / root[unit]] * len(levels)), place),
                (len(root), n_levels),
            )
            shared += (table.T @ table).toarray()
    return shared


def number_jointly(factors: tuple[Ints, ...]) -> tuple[tuple[Ints, ...], int]:
    """Offset the codes of each factor so that all levels are numbered 0..L-1; return them and L."""
    offsets = np.concatenate([[0], np.cumsum([int(codes.max()) + 1 for codes in factors])])
    numbered = tuple(codes + offset if offset else codes for codes, offset in zip(factors, offsets[:-1], strict=True))
    return numbered, int(offsets[-1])


def effects_rank(factors: tuple[Ints, ...]) -> int:
    """Count the independent effects among a constant and these factors (each (n,) dense codes)."""
    if not factors:
        return 1
    system = level_cross_product(*number_jointly(factors), None)
    return len(independent_levels(system, np.diag(system))[0])


def level_cross_product(levels: tuple[Ints, ...], n_levels: int, weights: Floats | None) -> Floats:
    total = np.zeros((n_levels, n_levels))
    for i, one in enumerate(levels):
        for other in levels[: i + 1]:
            if one is other:
                total[np.diag_indices(n_levels)] += np.bincount(one, weights=weights, minlength=n_levels)
                continue
            values = np.ones(len(one)) if weights is None else weights
            cross = sparse.coo_array((values, (one, other)), shape=(n_levels, n_levels)).toarray()
            total += cross + cross.T
    return total


def independent_levels(system: Floats, reference: Floats) -> tuple[Ints, Floats]:
    """Pivoted Cholesky of a positive semidefinite matrix, scaled by `reference`: the independent rows and their factor."""
    scale = 1.0 / np.sqrt(reference)
    scaled = system * scale[:, None] * scale[None, :]
    _, pivots, rank, _ = lapack.dpstrf(scaled, lower=1, tol=_RANK_TOLERANCE)
    kept = np.sort(pivots[:rank].astype(np.int64) - 1)
    factor = np.linalg.cholesky(system[np.ix_(kept, kept)]) if rank else np.zeros((0, 0))
    return kept, factor


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
    z = np.arange(1, int(key.max()) + 2, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    hashed: np.ndarray[tuple[int], np.dtype[np.uint64]] = (z ^ (z >> np.uint64(31)))[key]
    return hashed
