"""Extended two-way fixed effects: one effect for each cohort and period from adoption on, in one regression."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
from scipy import sparse

from evalkit.catalogue import Message, message
from evalkit.designs.design import Design
from evalkit.designs.sample import Sample, draw_sample, leave_out
from evalkit.errors import DataError, DesignError, nearest
from evalkit.estimators._regression import (
    OF_INFLUENCE,
    WithoutRounding,
    floor_of_outcome,
    refuse_unused,
    regress,
    told_as_refusal,
)
from evalkit.estimators._saturated import (
    Aggregate,
    Cells,
    TableInfluence,
    average,
    check_aggregate,
    find_cells,
    keep_comparable,
    regress_cells,
)
from evalkit.numerics.absorb import Patterns, find_patterns
from evalkit.numerics.arrays import Flags, Floats, Ints
from evalkit.numerics.glm import Poisson, poisson
from evalkit.numerics.loadings import ShockCells, ShockMap, own_shocks
from evalkit.numerics.saturated import dense_codes
from evalkit.panels.panel import Panel
from evalkit.results.estimation import no_columns
from evalkit.results.fit import Fit, Part, Term, not_by_mass
from evalkit.tables.columns import name_rows
from evalkit.tables.contents import in_short, same_content

Family = Literal["linear", "poisson"]


@dataclass(frozen=True)
class ExtendedTWFE:
    """Regress the outcome on cohort × period indicators of treatment with unit and period effects, and average them.

    aggregate  "simple": "ATT", over all rows from adoption on; "dynamic": "ATT(e=2)"; "cohort": "ATT(g=2014)"; "cohort_time":
               every indicator, "ATT(g=2014,t=2016)".
    family     "linear", or "poisson" for an outcome that is 0 or positive: trends are then parallel in ratios, and effects are
               differences of means, in the units of the outcome.

    Compared with are units not yet treated; with comparison="never_treated" the periods before adoption, too, have indicators,
    but for the last before adoption and anticipation. Covariates enter interacted with periods, with cohorts where they change
    over time, and, less their mean in the cell, with the indicators, so that effects are those at the covariates of the treated.
    Averages weigh cells by their rows (weights); shares and covariates are taken as fixed. On balanced panels without
    covariates it equals imputation. Sources: Wooldridge, Empirical Economics 69 (2025); Econometrics Journal 26 (2023).
    """

    aggregate: Aggregate = "simple"
    family: Family = "linear"

    columns = no_columns

    @property
    def on_cells(self) -> bool:
        """A Poisson regression leaves out units whose outcome is always 0, and refuses negative ones: it needs the rows."""
        return self.family == "linear"

    def __post_init__(self) -> None:
        check_aggregate(self.aggregate, "ExtendedTWFE")
        if self.family not in get_args(Family):
            raise DesignError(
                f"family '{self.family}' is unknown",
                where="ExtendedTWFE",
                remedy=nearest(self.family, get_args(Family)),
            )

    def fit(self, panel: Panel, design: Design, keep: Flags | None = None) -> Fit:
        """Estimate on the panel's rows (those flagged in `keep`, if given)."""
        refuse_unused(design, "ExtendedTWFE", "dose", "eligible")
        never_only = design.comparison == "never_treated"
        sample, notes = keep_comparable(draw_sample(panel, design, keep), never_only=never_only)
        n_before = 0
        while (
            self.family == "poisson" and len(sample.rows) != n_before
        ):  # fewer periods can leave a unit with zeros only
            n_before = len(sample.rows)
            sample, more = keep_comparable(_without_zeros(sample), never_only=never_only)
            notes = (*notes, *more)
        cells, moved = find_cells(sample, leads=never_only)
        notes = (*notes, *moved)
        covariates = _interact(sample, cells)
        if self.family == "poisson":
            return average(_regress_means(sample, cells, covariates, notes), cells, self.aggregate)
        if covariates:
            return average(_regress_with(sample, cells, covariates, notes), cells, self.aggregate)
        return regress_cells(sample, cells, self.aggregate, notes)


def _interact(sample: Sample, cells: Cells) -> list[tuple[str, Floats, int]]:
    """Interact each covariate with periods, cohorts and cells: name, column (n,), and the number of the cell, else -1.

    What unit effects hold already is left out, and so are cells in which a covariate is constant: there is nothing to adjust.
    """
    label = sample.panel.periods.label
    weights = np.ones(len(sample.rows)) if sample.weights is None else sample.weights
    found: list[tuple[str, Floats, int]] = []
    for name, values in zip(sample.covariate_names, sample.covariates, strict=True):
        x = values - weights @ values / weights.sum()
        if (np.maximum.reduceat(x, sample.starts) > np.minimum.reduceat(x, sample.starts)).any():
            found.append((name, x, -1))
            found += [(f"{name} (g={label(g)})", x * (sample.adoption == g), -1) for g in cells.cohorts]
        found += [(f"{name} (t={label(t)})", x * (sample.period == t), -1) for t in np.unique(sample.period)[1:]]
        for j, term in enumerate(cells.terms()):
            rows = np.flatnonzero(cells.code == j)
            if np.ptp(x[rows]) > 0:
                column = np.zeros(len(x))
                column[rows] = x[rows] - weights[rows] @ x[rows] / weights[rows].sum()
                found.append((f"{name} (g={term.cohort},t={term.period})", column, j))
    return found


def _regress_with(
    sample: Sample, cells: Cells, covariates: list[tuple[str, Floats, int]], notes: tuple[Message, ...]
) -> Fit:
    names, columns, _ = zip(*covariates, strict=True)
    interacted = replace(sample, covariates=columns, covariate_names=names)
    return regress(
        interacted,
        [(term, (cells.code == j).astype(np.float64)) for j, term in enumerate(cells.terms())],
        notes,
    )


_ROUNDING = 1e-13  # deviations below this share of the largest outcome are none
_DENSE = 20_000_000  # numbers; more are held without their zeros


@dataclass(frozen=True, eq=False)
class _MeansResponse:
    """How effects on means, and the influence on them, answer to shocks while means stay so near that nothing bends.

    cell (n,) names the pattern of each row, one of c; weights w and means (n,) are the rows'; table (c, m) is that of their
    influence v·w·(y - mean), v = table[cell]. Let h = w·mean, P the projection on fixed effects and regressors with weights h,
    and dy a change of outcomes. An effect moves by v·(w dy), its derivative; as effects are in the units of the outcome, these
    products with the outcomes themselves sum to it (to 0 for a covariate's coefficient, which has no unit). Means move by
    mean·P(dy/mean), and the influence, v held, by v·(w dy - h·P(dy/mean)): exactly where outcomes equal their means, else without
    what v moves. In P unit effects stay within clusters; less the means by unit of v and of the dummies D of the other effects,
    these have the functionals D'(w dy), and the regressors X theirs, X'(w dy).
    """

    fitted: Poisson
    cell: Ints
    weights: Floats
    means: Floats
    table: Floats
    of_design = False
    by_mass = not_by_mass

    __eq__ = same_content
    __repr__ = in_short

    def loadings(self, cells: ShockCells) -> Floats:
        """Derivatives of the effects, (G·T, m)."""
        return np.asarray(self._meet(cells) @ self.table)

    def shock_map(self, weights: Floats, cells: ShockCells) -> ShockMap:
        """Own shocks less the projection's."""
        fitted, absorber = self.fitted, self.fitted.absorber
        met = self._meet(cells)
        share = fitted.weights / absorber.mass[absorber.unit]
        v = self.table @ weights
        v = v - np.add.reduceat(share * v, absorber.starts)[absorber.unit]
        each = np.tile(np.arange(len(v)), len(absorber.levels))
        shape = (len(v), len(absorber.level_mass))
        dummies = _sum_at(np.ones(len(each)), each, np.concatenate(absorber.levels), shape)
        n_patterns = len(absorber.starts)
        of_unit = _sum_at(share, absorber.unit, np.arange(len(v)), (n_patterns, len(v))) @ dummies
        dummies = sparse.csr_array(dummies - of_unit[absorber.unit])
        own = np.asarray(met @ v).reshape(cells.n_clusters, cells.n_periods)
        # The weight of a unit is that of its pattern, times a factor; so is its pull.
        first = np.isin(self.cell, absorber.starts)
        factor = (self.weights * self.means)[first] / fitted.weights[self.cell[first]]
        held = _sum_at(factor, cells.cluster[first], absorber.unit[self.cell[first]], (cells.n_clusters, n_patterns))
        pulls = _sum_at(fitted.weights * v, absorber.unit, np.arange(len(v)), (n_patterns, len(v)))
        few = n_patterns <= dummies.shape[1] + fitted.regressors.shape[1]
        pulls = pulls if few else sparse.csr_array(held @ pulls)
        on_levels = absorber.system.solve((pulls @ dummies).toarray().T).T
        on_slopes = pulls @ fitted.regressors @ fitted.bread
        if few:
            lines = dummies @ on_levels.T + fitted.regressors @ on_slopes.T
            return ShockMap(own_shocks(own), held.toarray(), (met @ lines).T)
        met_by = sparse.csr_array(sparse.hstack([met @ dummies, sparse.csr_array(met @ fitted.regressors)]).T)
        small = met_by.shape[0] * met_by.shape[1] <= _DENSE
        return ShockMap(own_shocks(own), np.hstack([on_levels, on_slopes]), met_by.toarray() if small else met_by)

    def _meet(self, cells: ShockCells) -> sparse.csr_array:
        """Summed weights (G·T, c) of the rows that meet a shock and have a pattern."""
        return _sum_at(self.weights, cells.code, self.cell, (cells.number, len(self.table)))


def _sum_at(values: Floats, row: Ints, column: Ints, shape: tuple[int, int]) -> sparse.csr_array:
    """Sum values (n,) that belong to the same row and column of a table."""
    return sparse.csr_array((values, (row, column)), shape=shape)


def _without_zeros(sample: Sample) -> Sample:
    """Leave out units whose outcome is always 0, which say nothing of a ratio; raise DataError for negative outcomes."""
    negative = sample.outcome < 0
    if negative.any():
        flagged = np.zeros(len(sample.panel), dtype=bool)
        flagged[sample.rows[negative]] = True
        raise DataError(
            f"the outcome is negative in {int(negative.sum())} rows, and a Poisson regression is of 0 or positive ones",
            where=name_rows(sample.panel.frame, flagged, sample.design.outcome),
            remedy="use family='linear'",
        )
    zero = np.add.reduceat(sample.outcome, sample.starts) == 0
    return leave_out(sample, zero[sample.unit], message("ledger.always_zero", column=sample.design.outcome))


def _regress_means(
    sample: Sample, cells: Cells, covariates: Sequence[tuple[str, Floats, int]], notes: tuple[Message, ...]
) -> Fit:
    """Fit means exponential in the cells' indicators, covariates and fixed effects; return each cell's effect on the mean.

    A covariate has a name, a column (n,) and the cell whose indicator it is interacted with, or -1. The effect of a cell is the
    mean over its rows of the fitted mean less what it would be without treatment: the indicator and its interactions off. Its
    influence is that of all parameters, fixed effects included; rows, cells and covariates are taken as fixed.
    Source: Wooldridge, Econometrics Journal 26 (2023), section 3.
    """
    _refuse_separated(sample, cells)
    n, k = len(sample.rows), len(cells.mass)
    weights = np.ones(n) if sample.weights is None else sample.weights
    patterns = None
    if not covariates and not sample.absorb:
        key = sample.period * (k + 1) + cells.code + 1
        patterns = find_patterns(key=key, starts=sample.starts, weights=sample.weights)
    if patterns is None:
        patterns = Patterns(np.arange(n), sample.unit, sample.starts, np.arange(n), weights)
    code = cells.code[patterns.rows]
    columns = [(code == j).astype(np.float64) for j in range(k)] + [column for _, column, _ in covariates]
    with told_as_refusal():
        fitted = poisson(
            columns=columns,
            outcome=np.bincount(patterns.cell, weights=weights * sample.outcome) / patterns.mass,
            unit=patterns.unit,
            starts=patterns.starts,
            factors=tuple(dense_codes(codes[patterns.rows]) for codes in (sample.period, *sample.absorb)),
            weights=patterns.mass,
        )
    terms = cells.terms()
    lost = np.setdiff1d(np.arange(len(columns)), fitted.kept)
    if not fitted.converged:
        _refuse(sample, "the Poisson regression has no solution: fitted means of some rows go to 0 or to infinity")
    if (lost < k).any():
        _refuse(sample, f"the effect {terms[lost[0]].name} cannot be told from the fixed effects and the other effects")
    dropped = tuple(message("note.collinear", column=covariates[j - k][0]) for j in lost)
    kept = [covariates[j - k] for j in fitted.kept if j >= k]
    with told_as_refusal():
        effects, table = _effects(fitted, code, patterns.mass, k, kept)
    # A pattern's units share the path of their means, up to a factor that gives each its own total.
    means = fitted.means[patterns.cell]
    total = np.add.reduceat(weights * sample.outcome, sample.starts) / np.add.reduceat(weights * means, sample.starts)
    deviation = weights * (sample.outcome - total[sample.unit] * means)
    shown = (*terms, *(Term(name, "covariate") for name, _, _ in kept))
    notes = (*sample.notes, *notes, *dropped, message("note.poisson"))
    if np.abs(deviation).max() <= _ROUNDING * float((weights * sample.outcome).max()):
        deviation, notes = np.zeros(n), (*notes, message("note.no_residual", outcome=sample.design.outcome))
    floor = OF_INFLUENCE * np.abs(table).max(axis=0) * np.sqrt(np.einsum("i,i->", deviation, deviation))
    floor[:k] = np.maximum(floor[:k], floor_of_outcome(sample))  # slopes of covariates have other units
    influence = WithoutRounding(TableInfluence(table, patterns.cell, deviation), floor)
    response = _MeansResponse(fitted, patterns.cell, weights, total[sample.unit] * means, table)
    return Fit(shown, effects, (Part(sample, np.arange(len(shown)), influence, response=response),), notes)


def _effects(
    fitted: Poisson, code: Ints, mass: Floats, k: int, covariates: Sequence[tuple[str, Floats, int]]
) -> tuple[Floats, Floats]:
    """Effects of the k cells on the mean, then the covariates' coefficients; and the table (c, ...) of their influence.

    For a cell with rows of weight w: sum w·mean·(1 - r), r = exp(-(delta + x·rho)). Means move with the index, whose change is
    the projection of the deviations; delta and rho move r besides.
    """
    slopes = fitted.regressors @ fitted.bread
    effects, lines = [], []
    for j in range(k):
        rows = np.flatnonzero(code == j)
        own = [(j, np.ones(len(rows)))]
        own += [(k + i, column[rows]) for i, (_, column, of) in enumerate(covariates) if of == j]
        without = np.exp(-sum(fitted.coefficients[at] * values for at, values in own))
        counterfactual = mass[rows] * fitted.means[rows] * without
        total = mass[rows].sum()
        effects.append((mass[rows] @ fitted.means[rows] - counterfactual.sum()) / total)
        change = np.zeros(len(code))
        change[rows] = 1.0 - without
        line = fitted.project(change)
        for at, values in own:
            line = line + slopes[:, at] * (counterfactual @ values)
        lines.append(line / total)
    table = np.column_stack([*lines, slopes[:, k:]])
    return np.append(effects, fitted.coefficients[k:]), table


def _refuse_separated(sample: Sample, cells: Cells) -> None:
    """Raise DesignError where outcomes are all 0 in a cell, or in the untreated rows of a cohort or a period."""
    label, periods = sample.panel.periods.label, np.arange(int(sample.period.max()) + 1)
    in_cell = np.bincount(cells.code + 1, weights=sample.outcome, minlength=len(cells.mass) + 1)[1:]
    for term, total in zip(cells.terms(), in_cell, strict=True):
        if total == 0:
            _refuse(sample, f"the outcome is 0 in every row of {term.name}")
    free = cells.code < 0
    for t in periods[np.bincount(sample.period, minlength=len(periods)) > 0]:
        if not (sample.outcome[free & (sample.period == t)] > 0).any():
            _refuse(sample, f"the outcome is 0 in every untreated row of {label(t)}")
    for g in cells.cohorts:
        if not (sample.outcome[free & (sample.adoption == g)] > 0).any():
            _refuse(sample, f"the outcome is 0 in every untreated row of cohort {label(g)}")


def _refuse(sample: Sample, what: str) -> None:
    raise DesignError(
        what,
        where=f"outcome '{sample.design.outcome}', family = 'poisson'",
        remedy="use family='linear', or leave these cohorts or periods out",
    )
