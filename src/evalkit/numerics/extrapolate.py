"""Fit effects and slopes on some rows, extrapolate them to all rows, and say what each effect's error adds to an average."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy import sparse

from evalkit.numerics.absorb import Absorber, make_absorber
from evalkit.numerics.arrays import Flags, Floats, Ints, first_rows
from evalkit.numerics.least_squares import Solution, least_squares

# A column that the base rows determine is met by other rows up to this, where they follow the same rule (values of size 1).
_FOLLOWS = 1e-6
_SLOPE_FOLLOWS = 1e-8  # share of a covariate's range


@dataclass(frozen=True)
class Extrapolation:
    """Effects and slopes of base rows, laid over all rows.

    base (n0,) positions of the base rows; absorber of the base rows; unit (n,) and levels (each (n,)) the absorber's codes of all
    rows, -1 where no base row has the level; known (n,) flags the rows whose fit the base rows identify; columns (n, p) the
    covariates `kept`, less what the effects fit of them; errors (n,) outcome less fit; slopes (p,); bread (p, p) =
    (X'WX)^-1 over the base rows; weights (n,) or None. Of rows that are not known, columns and errors mean nothing.
    """

    base: Ints
    absorber: Absorber
    unit: Ints
    levels: tuple[Ints, ...]
    known: Flags
    kept: Ints
    columns: Floats
    errors: Floats
    slopes: Floats
    bread: Floats
    weights: Floats | None

    def take(self, rows: Flags) -> Extrapolation:
        """Keep the flagged rows (n,), all base rows among them."""
        return replace(
            self,
            base=np.flatnonzero(np.isin(np.flatnonzero(rows), self.base)) if not rows.all() else self.base,
            unit=self.unit[rows],
            levels=tuple(level[rows] for level in self.levels),
            known=self.known[rows],
            columns=self.columns[rows],
            errors=self.errors[rows],
            weights=None if self.weights is None else self.weights[rows],
        )


@dataclass(frozen=True)
class Pull:
    """What the fit puts into k averages of errors: for a base row, weight · (unit + its levels + columns · slope).

    unit (U, k), level (L, k), slope (p, k), by the codes of an Extrapolation.
    """

    unit: Floats
    level: Floats
    slope: Floats

    def on_rows(self, fit: Extrapolation, weights: Floats) -> Floats:
        """Pull (n0,) of the base rows, before their weight, at a combination (k,) of the averages."""
        absorber = fit.absorber
        pull = (self.unit @ weights)[absorber.unit]
        of_levels = self.level @ weights
        for level in absorber.levels:
            pull += of_levels[level]
        for column, slope in zip(fit.columns.T, self.slope @ weights, strict=True):
            pull += column[fit.base] * slope
        return pull


def extrapolate(
    *,
    unit: Ints,
    factors: tuple[Ints, ...],
    columns: Sequence[Floats],
    outcome: Floats,
    base: Flags,
    weights: Floats | None,
    reference: Floats,
) -> Extrapolation:
    """Regress outcome (n,) on effects and columns (each (n,)) over the base rows (n,), and subtract the fit from every row.

    `unit` (n,) is sorted, `factors` (each (n,)) are dense codes; `reference` (p,) is the length against which a column counts as
    collinear. A row is known where its unit and levels have base rows, in effects connected with its own, and where the columns
    that the base rows leave undetermined follow, in this row, the rule that determines them.
    """
    rows = np.flatnonzero(base)
    units, unit_codes = _recode(unit, base)
    recoded = [_recode(factor, base) for factor in factors]
    absorber = make_absorber(
        unit=units,
        starts=first_rows(units),
        factors=tuple(codes for codes, _ in recoded),
        weights=None if weights is None else weights[rows],
    )
    offsets = np.cumsum([0] + [int(codes.max()) + 1 for codes, _ in recoded])
    levels = tuple(
        np.where(codes < 0, -1, codes + offset) for (_, codes), offset in zip(recoded, offsets[:-1], strict=True)
    )
    seen = np.logical_and.reduce([unit_codes >= 0, *(level >= 0 for level in levels)])
    whole = Extrapolation(
        rows,
        absorber,
        unit_codes,
        levels,
        seen,
        np.zeros(0, dtype=np.int64),
        np.zeros((len(unit), 0)),
        np.zeros(0),
        np.zeros(0),
        np.zeros((0, 0)),
        weights,
    )
    return _solve(whole, columns, outcome, reference)


def weigh_errors(fit: Extrapolation, rows: Ints, average: Ints, share: Floats, n_averages: int) -> Pull:
    """Say how the fit's own error enters averages of errors: each of `rows` (m,) enters one `average` (m,) with a `share` (m,).

    An average changes by minus the sum over base rows of this pull times the row's error. Solved in one step: the effects of
    units are eliminated, the others solved by the absorber's factor.
    Source: Borusyak, Jaravel, Spiess, Review of Economic Studies 91 (2024), section 4 (the weights v of untreated rows).
    """
    absorber = fit.absorber
    unit = sum_cells(fit.unit[rows], average, share, (len(absorber.starts), n_averages))
    level = np.zeros((len(absorber.level_mass), n_averages))
    for codes in fit.levels:
        level += sum_cells(codes[rows], average, share, level.shape)
    apart = np.empty((fit.columns.shape[1], n_averages))
    for j, column in enumerate(fit.columns.T):
        apart[j] = np.bincount(average, weights=column[rows] * share, minlength=n_averages)
    shared = absorber.presence
    lengths = np.sqrt((level**2 / absorber.level_mass[:, None]).sum(axis=0))
    level = absorber.system.solve(level - shared.T @ (unit / absorber.mass[:, None]), lengths)
    unit = (unit - shared @ level) / absorber.mass[:, None]
    return Pull(unit, level, fit.bread @ apart)


@dataclass(frozen=True)
class Shocked:
    """How errors answer to S shocks, each of which raises the outcome of the rows of its `code` (n,) by 1.

    Errors of n rows are y - ȳ_u - (z - z̄_u)'θ - x'β: means are over the base rows of the row's unit, z the indicators of the
    absorber's L levels, x the `columns` (n, p), less what the effects fit of them. θ = A^-1 Z'W(y - ȳ_u) and
    β = bread·X'Wy come from the base rows, A being the absorber's system. The rest is as in an Extrapolation; for residuals of a
    regression all rows are base.
    """

    absorber: Absorber
    base: Ints
    unit: Ints
    levels: tuple[Ints, ...]
    columns: Floats
    bread: Floats
    code: Ints
    n_shocks: int

    @cached_property
    def slopes(self) -> Floats:
        """What each shock makes of θ and β, one below the other: (L + p, S)."""
        absorber, code = self.absorber, self.code[self.base]
        lengths = np.sqrt(np.bincount(code, weights=absorber.weights, minlength=self.n_shocks))
        effects = absorber.system.solve(absorber.level_products(code, self.n_shocks), lengths)
        met = np.empty((self.columns.shape[1], self.n_shocks))
        for j, column in enumerate(self.columns.T):
            pull = column[self.base] if absorber.weights is None else column[self.base] * absorber.weights
            met[j] = np.bincount(code, weights=pull, minlength=self.n_shocks)
        return np.vstack([effects, self.bread @ met])

    def pull(self, group: Ints, rows: Ints, share: Floats, n_groups: int) -> Floats:
        """Sum z and x of `rows` (m,) times their share (m,) by group (m,): (g, L + p)."""
        level = np.zeros((n_groups, len(self.absorber.level_mass)))
        for codes in self.levels:
            level += sum_cells(group, codes[rows], share, level.shape)
        column = np.empty((n_groups, self.columns.shape[1]))
        for j, values in enumerate(self.columns.T):
            column[:, j] = np.bincount(group, weights=values[rows] * share, minlength=n_groups)
        return np.hstack([level, column])

    def sum_errors(self, group: Ints, rows: Ints, share: Floats, n_groups: int) -> tuple[sparse.csr_array, Floats]:
        """Sum errors of `rows` (m,) times their share (m,) by group (m,): own (g, S) less pull (g, L + p) times `slopes`."""
        absorber, pull, unit = self.absorber, self.pull(group, rows, share, n_groups), self.unit[rows]
        of_means = sparse.csr_array((share / absorber.mass[unit], (group, unit)), (n_groups, len(absorber.starts)))
        own = sparse.csr_array((share, (group, self.code[rows])), (n_groups, self.n_shocks))
        own = own - of_means @ self._unit_masses
        pull[:, : len(absorber.level_mass)] -= (of_means @ absorber.presence).toarray()
        return sparse.csr_array(own), pull

    @cached_property
    def _unit_masses(self) -> sparse.csr_array:
        return self.absorber.unit_masses(self.code[self.base], self.n_shocks)


def _solve(fit: Extrapolation, columns: Sequence[Floats], outcome: Floats, reference: Floats) -> Extrapolation:
    """Find slopes, errors, and which rows are known."""
    rows, absorber = fit.base, fit.absorber
    swept = absorber.sweep([*(column[rows] for column in columns), outcome[rows]])
    X = swept[:, :-1]
    found = least_squares(X=X, y=swept[:, -1], weights=absorber.weights, reference=reference)
    kept = [columns[j] for j in found.kept]
    left = outcome - outcome[len(outcome) // 2]  # a large constant would cost digits
    for column, slope in zip(kept, found.coefficients, strict=True):
        left = left - slope * column
    errors = _less_effects(fit, left)
    errors[rows] = found.residuals
    apart = np.empty((len(outcome), len(kept)), order="F")
    for j, column in enumerate(kept):
        apart[:, j] = _less_effects(fit, column)
        apart[rows, j] = X[:, found.kept[j]]
    known = fit.known & _follow_levels(fit) & _follow_columns(fit, columns, X, found)
    known[rows] = True  # whatever a system of very unequal weights leaves of their digits
    return replace(
        fit, known=known, kept=found.kept, columns=apart, errors=errors, slopes=found.coefficients, bread=found.bread
    )


def _follow_levels(fit: Extrapolation) -> Flags:
    """Flag the rows (n,) in which the levels that were redundant among the base rows are so, too.

    A combination of levels that the base rows do not tell from its fit leaves no error in a row that can be told from them. Two
    random combinations stand for all of them: an error in any shows in both, except with probability of about _FOLLOWS each.
    """
    generator = np.random.default_rng(0x696D70)  # any fixed numbers serve
    follows = np.ones(len(fit.unit), dtype=bool)
    for _ in range(2):
        combination = generator.standard_normal(len(fit.absorber.level_mass))
        column = np.zeros(len(fit.unit))
        for level in fit.levels:
            column += combination[level]
        follows &= np.abs(_less_effects(fit, column)) <= _FOLLOWS
    return follows


def _follow_columns(fit: Extrapolation, columns: Sequence[Floats], X: Floats, found: Solution) -> Flags:
    """Flag the rows (n,) in which each collinear column is the same combination as among the base rows."""
    follows = np.ones(len(fit.unit), dtype=bool)
    weights = fit.absorber.weights
    for j in sorted(set(range(len(columns))) - set(found.kept.tolist())):
        left = columns[j]
        pull = X[:, j] if weights is None else X[:, j] * weights
        for i, slope in zip(found.kept, found.bread @ (X[:, found.kept].T @ pull), strict=True):
            left = left - slope * columns[i]
        bound = _SLOPE_FOLLOWS * np.ptp(columns[j]) + 1e-12 * np.abs(columns[j]).max()  # the second is rounding
        follows &= np.abs(_less_effects(fit, left)) <= bound
    return follows


def _less_effects(fit: Extrapolation, column: Floats) -> Floats:
    """Subtract from a column (n,) the effects that fit its base rows best."""
    absorber, weights = fit.absorber, fit.absorber.weights
    left = column[fit.base]
    units, levels = np.zeros(len(absorber.starts)), np.zeros(len(absorber.level_mass))
    length = np.sqrt(np.sum(left**2 * absorber.row_weights))
    for turn in range(3):  # the second solves what rounding left of the first; the last adjusts the units alone
        weighted = left if weights is None else left * weights
        step = np.add.reduceat(weighted, absorber.starts) / absorber.mass
        units += step
        left = left - step[absorber.unit]
        if turn == 2:
            break
        weighted = left if weights is None else left * weights
        load = np.zeros(len(levels))
        for level in absorber.levels:
            load += np.bincount(level, weights=weighted, minlength=len(levels))
        step = absorber.system.solve(load, np.atleast_1d(length))
        levels += step
        for level in absorber.levels:
            left -= step[level]
    rest = column - units[fit.unit]
    for level in fit.levels:
        rest -= levels[level]
    return rest


def _recode(codes: Ints, base: Flags) -> tuple[Ints, Ints]:
    """Number the codes found among the base rows 0, 1, …: those of the base rows (n0,) and of all rows (n,), -1 where absent."""
    found = np.zeros(int(codes.max()) + 1, dtype=bool)
    found[codes[base]] = True
    number = np.where(found, np.cumsum(found) - 1, -1)
    every: Ints = number[codes]
    return every[base], every


def sum_cells(row: Ints, column: Ints, values: Floats, shape: tuple[int, int]) -> Floats:
    """Sum values (m,) by row and column code, giving an array of this shape."""
    flat = np.zeros(shape[0] * shape[1])
    flat += np.bincount(row * shape[1] + column, weights=values, minlength=len(flat))
    return flat.reshape(shape)
