"""Averages of the effects of very many cells of a saturated regression, without a table of rows by cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from evalkit.numerics.absorb import Absorber, find_patterns, gather_levels
from evalkit.numerics.arrays import Floats, Ints
from evalkit.numerics.least_squares import least_squares
from evalkit.numerics.level_systems import factorise_blocks

_IN_REACH = 1e-8  # by which an average of cells may be missed where the rows tell it


@dataclass(frozen=True)
class AveragedCells:
    """Averages of cells, and the slopes of covariates, with what each row puts into them.

    estimates (m + p,); a row's share of them is its weight times a line of `table` (c, m + p), the one that `cell` (n,) names;
    residuals (n,); bread (p, p) is that of the covariates, and `kept` (p,) are those that are not collinear; `untold` (u,) are
    the averages that the rows do not tell. absorber holds units, cells and further effects of the c rows that stand for all.
    """

    estimates: Floats
    table: Floats
    cell: Ints
    residuals: Floats
    bread: Floats
    kept: Ints
    untold: Ints
    absorber: Absorber


def average_cells(
    *,
    unit: Ints,
    starts: Ints,
    code: Ints,
    mapping: Floats,
    period: Ints,
    factors: tuple[Ints, ...],
    covariates: Sequence[Floats],
    reference: Floats,
    outcome: Floats,
    weights: Floats | None,
) -> AveragedCells:
    """Regress outcome (n,) on one indicator for each of k cells, effects and covariates; average cells by mapping (m, k).

    code (n,) gives each row's cell, -1 where it has none; unit (n,) is sorted, starts (U,) are its first rows; period and factors
    (each (n,)) are dense codes of further effects; reference (p,) is the length against which a covariate counts as collinear.
    Indicators are taken for one more fixed effect: the system of all levels is a block for each cohort, whose units share no cell
    with those of others, and a border of periods. An average is d'A^-1 Z'Wy with d its weights on the levels, A their system and
    Z their indicators, all de-meaned by unit; Z·A^-1·d is what rows put into it. Rows of units with the same sequence of periods
    and cells stand for each other.
    """
    k = mapping.shape[1]
    found = None
    if not covariates and not factors:
        found = find_patterns(key=period * (k + 1) + code + 1, starts=starts, weights=weights)
    if found is None:
        rows = cell = np.arange(len(unit))
        absorber = _absorb(unit, starts, code, (period, *factors), weights, k)
    else:
        rows, cell = found.rows, found.cell
        absorber = _absorb(found.unit, found.starts, code[rows], (dense_codes(period[rows]),), found.mass, k)
    wanted = np.zeros((len(absorber.level_mass), len(mapping)))
    wanted[:k] = mapping.T
    if (code < 0).any():  # what is put into cells is taken out of the rows without one
        wanted[k] = -mapping.sum(axis=1)
    table = absorber.fitted(absorber.system.solve(wanted))
    missed = absorber.load(table) - wanted
    untold = np.flatnonzero(np.abs(missed).max(axis=0) > _IN_REACH * np.abs(mapping).max(axis=1))
    y = outcome - outcome[len(outcome) // 2]  # a large constant would cost digits
    pulls = y if weights is None else y * weights
    means = np.bincount(cell, weights=pulls, minlength=len(rows)) / absorber.row_weights
    swept = absorber.sweep([*covariates, means])
    weighted = absorber.row_weights[:, None]
    solution = least_squares(X=swept[:, :-1], y=swept[:, -1], weights=absorber.weights, reference=reference)
    X = np.asfortranarray(swept[:, solution.kept])
    raw = [covariates[j] for j in solution.kept]
    if raw:  # what covariates take from the effects of cells
        table -= X @ (solution.bread @ (np.column_stack(raw).T @ (weighted * table)))
    estimates = table.T @ (weighted[:, 0] * means)
    table = np.concatenate([table, X @ solution.bread], axis=1)
    residuals = solution.residuals[cell] + (y - means[cell])
    residuals -= _unit_means(y - means[cell], unit, starts, weights)
    return AveragedCells(
        np.append(estimates, solution.coefficients),
        table,
        cell,
        residuals,
        solution.bread,
        solution.kept,
        untold,
        absorber,
    )


def dense_codes(codes: Ints) -> Ints:
    """Number codes (n,), 0 or more, anew from 0 on in the same order, without gaps."""
    dense: Ints = (np.cumsum(np.bincount(codes) > 0) - 1)[codes]
    return dense


def _absorb(
    unit: Ints, starts: Ints, code: Ints, factors: tuple[Ints, ...], weights: Floats | None, none: int
) -> Absorber:
    """Absorb cells and factors; rows without a cell have a level, `none`, that gets no effect, so that it joins no blocks."""
    absorber = gather_levels(
        unit=unit, starts=starts, factors=(np.where(code < 0, none, code), *factors), weights=weights
    )
    active = absorber.meetings.active
    return replace(absorber, factored=factorise_blocks(replace(absorber.meetings, active=active[active != none])))


def _unit_means(column: Floats, unit: Ints, starts: Ints, weights: Floats | None) -> Floats:
    pulls = column if weights is None else column * weights
    sizes = np.diff(np.append(starts, len(unit)))
    mass = sizes if weights is None else np.add.reduceat(weights, starts)
    means: Floats = (np.add.reduceat(pulls, starts) / mass)[unit]
    return means
