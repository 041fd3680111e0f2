"""Extended two-way fixed effects: one effect for each cohort and period from adoption on, in one regression."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np

from evalkit.catalogue import Message
from evalkit.columns import Flags, Floats
from evalkit.design import Design
from evalkit.errors import DesignError, nearest
from evalkit.estimators._design import refuse_unused
from evalkit.estimators._poisson import regress_means, without_zeros
from evalkit.estimators._regression import regress
from evalkit.estimators._saturated import Aggregate, Cells, average, check_aggregate, find_cells, regress_codes
from evalkit.estimators._saturated_sample import keep_comparable
from evalkit.fit import Fit
from evalkit.panel import Panel
from evalkit.sample import Sample, draw_sample

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
            sample, more = keep_comparable(without_zeros(sample), never_only=never_only)
            notes = (*notes, *more)
        cells, moved = find_cells(sample, leads=never_only)
        notes = (*notes, *moved)
        covariates = _interact(sample, cells)
        if self.family == "poisson":
            fit = regress_means(sample, cells, covariates, notes)
        elif covariates:
            fit = _regress_with(sample, cells, covariates, notes)
        else:
            fit = regress_codes(sample, cells.code, cells.terms(), notes)
        return average(fit, cells, self.aggregate, sample)


def _interact(sample: Sample, cells: Cells) -> list[tuple[str, Floats, int]]:
    """Interact each covariate with periods, cohorts and cells: name, column (n,), and the number of the cell, else -1.

    What unit effects hold already is left out, and so are cells in which a covariate is constant: there is nothing to adjust.
    """
    label = sample.panel.periods.label
    weights = np.ones(len(sample.rows)) if sample.weights is None else sample.weights
    found: list[tuple[str, Floats, int]] = []
    for name, values in zip(sample.design.covariates, sample.covariates, strict=True):
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
    interacted = replace(sample, covariates=columns, design=replace(sample.design, covariates=names))
    return regress(
        interacted,
        [(term, (cells.code == j).astype(np.float64)) for j, term in enumerate(cells.terms())],
        notes,
    )
