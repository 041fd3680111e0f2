"""Absorb fixed effects exactly: unit effects by de-meaning, all others by solving their small system directly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.linalg import lapack, solve_triangular

from evalkit.panel import Floats, Ints, first_rows

# A level whose remaining weight, after de-meaning, is below this share of its own is determined by the other levels.
_RANK_TOLERANCE = 1e-10
_DENSE_LEVELS = 64


@dataclass(frozen=True)
class Absorber:
    """Fixed effects made ready to be swept out of any column.

    starts (U,) first row of each unit (rows of a unit are contiguous); unit (n,) its code; levels: a tuple of (n,) codes, one
    array for each further effect, offset so that all levels are numbered jointly 0..L-1; mass (U,) the weight of each unit.
    `factor` (r, r) is the Cholesky factor of the r independent levels `kept` of the de-meaned system (L, L).
    `rank` counts all absorbed effects, units included.
    """

    starts: Ints
    unit: Ints
    levels: tuple[Ints, ...]
    n_levels: int
    weights: Floats | None
    mass: Floats
    kept: Ints
    factor: Floats

    @property
    def rank(self) -> int:
        return len(self.starts) + len(self.kept)

    def sweep(self, column: Floats) -> Floats:
        """Return the residual (n,) of a column on all effects."""
        # A constant far from zero would cost digits in every sum below.
        demeaned = self._demean(column - column[len(column) // 2])
        first = None
        for _ in range(3):  # once, and again only while rounding has left more than it should
            load = self._load(demeaned)
            size = float(np.abs(load).max(initial=0.0))
            if first is None:
                first = size
            elif size <= 1e-14 * first:
                break
            if size == 0.0:
                break
            effects = np.zeros(self.n_levels)
            half = solve_triangular(self.factor, load[self.kept], lower=True, check_finite=False)
            effects[self.kept] = solve_triangular(self.factor, half, lower=True, trans="T", check_finite=False)
            fitted = effects[self.levels[0]]
            for level in self.levels[1:]:
                fitted += effects[level]
            demeaned = self._demean(demeaned - fitted)
        return demeaned

    def _demean(self, column: Floats) -> Floats:
        weighted = column if self.weights is None else column * self.weights
        means = np.add.reduceat(weighted, self.starts) / self.mass
        return column - means[self.unit]

    def _load(self, column: Floats) -> Floats:
        weighted = column if self.weights is None else column * self.weights
        return sum(
            (np.bincount(level, weights=weighted, minlength=self.n_levels) for level in self.levels),
            start=np.zeros(self.n_levels),
        )


def make_absorber(*, unit: Ints, factors: tuple[Ints, ...], weights: Floats | None) -> Absorber:
    """Prepare to absorb `unit` (n,) (sorted dense codes) and further effects `factors` (each (n,) dense codes).

    The further effects, de-meaned by unit, have the cross-product M = Z'WZ - P' diag(1/mass) P with P (U, L) the weight of each
    unit on each level: L by L, however many rows. It is factorised once, with pivoting, which also counts its rank.
    """
    starts = first_rows(unit)
    n_units = len(starts)
    offsets = np.concatenate([[0], np.cumsum([int(codes.max()) + 1 for codes in factors])])
    levels = tuple(codes + offset for codes, offset in zip(factors, offsets[:-1], strict=True))
    n_levels = int(offsets[-1])
    mass = np.diff(np.append(starts, len(unit))).astype(np.float64) if weights is None else np.add.reduceat(weights, starts)
    if n_levels <= _DENSE_LEVELS:
        presence = sum(
            (
                np.bincount(unit * n_levels + level, weights=weights, minlength=n_units * n_levels)
                for level in levels
            ),
            start=np.zeros(n_units * n_levels),
        ).reshape(n_units, n_levels)
        shared = presence.T @ (presence / mass[:, None])
    else:
        rows = np.concatenate([unit] * len(levels))
        values = np.ones(len(rows)) if weights is None else np.concatenate([weights] * len(levels))
        table = sparse.csr_array((values, (rows, np.concatenate(levels))), shape=(n_units, n_levels))
        shared = (table.T @ sparse.diags_array(1.0 / mass) @ table).toarray()
    system = _level_cross_product(levels, n_levels, weights) - shared
    kept, factor = _independent(system, np.diag(_level_cross_product(levels, n_levels, weights)))
    return Absorber(starts, unit, levels, n_levels, weights, mass, kept, factor)


def effects_rank(factors: tuple[Ints, ...]) -> int:
    """Count the independent effects among a constant and these factors (each (n,) dense codes)."""
    if not factors:
        return 1
    offsets = np.concatenate([[0], np.cumsum([int(codes.max()) + 1 for codes in factors])])
    levels = tuple(codes + offset for codes, offset in zip(factors, offsets[:-1], strict=True))
    system = _level_cross_product(levels, int(offsets[-1]), None)
    return len(_independent(system, np.diag(system))[0])


def _level_cross_product(levels: tuple[Ints, ...], n_levels: int, weights: Floats | None) -> Floats:
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


def _independent(system: Floats, reference: Floats) -> tuple[Ints, Floats]:
    """Pivoted Cholesky of a positive semidefinite matrix, scaled by `reference`: the independent rows and their factor."""
    scale = 1.0 / np.sqrt(reference)
    scaled = system * scale[:, None] * scale[None, :]
    _, pivots, rank, _ = lapack.dpstrf(scaled, lower=1, tol=_RANK_TOLERANCE)
    kept = np.sort(pivots[:rank].astype(np.int64) - 1)
    factor = np.linalg.cholesky(system[np.ix_(kept, kept)]) if rank else np.zeros((0, 0))
    return kept, factor
