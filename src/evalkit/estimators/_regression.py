"""The regression shared by the estimators that are one: absorb the effects, solve, name what was dropped."""

from __future__ import annotations

import math

import numpy as np

from evalkit.catalogue import Message, message
from evalkit.columns import Floats, Ints, numbers
from evalkit.errors import DesignError
from evalkit.fit import Fit, Part, Regression, Term
from evalkit.numerics.absorb import make_absorber
from evalkit.numerics.least_squares import COLLINEAR, least_squares
from evalkit.sample import Sample

# The levels besides the units make one dense system: 5,000 of them take 200 MB a copy.
MAX_LEVELS = 5_000


def regress(sample: Sample, effects: list[tuple[Term, Floats]], notes: tuple[Message, ...] = ()) -> Fit:
    """Regress the outcome on effect columns (each (n,)) and the covariates, absorbing unit, period and the design's effects.

    A collinear covariate is dropped by name and noted; an effect that cannot be told from the rest is refused.
    """
    factors = (_dense_period(sample), *sample.absorb)
    n_levels = sum(int(codes.max()) + 1 for codes in factors)
    if n_levels > MAX_LEVELS:
        raise DesignError(
            f"periods and absorbed effects have {n_levels} levels, and their system is solved whole",
            where="absorb",
            remedy=f"absorb fewer or coarser effects, at most {MAX_LEVELS} levels besides the units",
        )
    absorber = make_absorber(unit=sample.unit, starts=sample.starts, factors=factors, weights=sample.weights)
    columns = [column for _, column in effects] + list(sample.covariates)
    terms = [term for term, _ in effects] + [Term(name, "covariate") for name in sample.design.covariates]
    swept = absorber.sweep([*columns, sample.outcome])
    X, y = swept[:, :-1], swept[:, -1]
    reference = np.array([_length(column, sample.weights) for column in columns])
    solution = least_squares(X=X, y=y, weights=sample.weights, reference=reference)

    lost = sorted(set(range(len(columns))) - set(solution.kept.tolist()))
    for j in lost:
        if j < len(effects):
            raise DesignError(
                f"the effect {terms[j].name} cannot be told from the fixed effects and the other effects",
                where=f"outcome '{sample.design.outcome}', {len(sample.rows)} rows",
                remedy="add units that are never treated, fix a second reference period (fewer leads), or absorb fewer effects",
            )
    notes = (*sample.notes, *notes, *(message("note.collinear", column=terms[j].name) for j in lost))
    if len(lost):
        X = np.asfortranarray(X[:, solution.kept])

    residuals = solution.residuals
    if max(residuals.max(), -residuals.min()) <= 1e-13 * max(sample.outcome.max(), -sample.outcome.min()):
        residuals = np.zeros_like(residuals)
        notes = (*notes, message("note.no_residual", outcome=sample.design.outcome))
    n_singletons = int((sample.starts == sample.ends).sum())
    if n_singletons and sample.panel.unit is not None:
        notes = (*notes, message("note.singletons", units=n_singletons))
    regression = Regression(
        X,
        residuals,
        solution.bread,
        sample.weights,
        sample.counts,
        absorber.rank - len(absorber.starts) + sample.n_units,
        (sample.unit, *factors),
        None if sample.panel.within is None else numbers(sample.panel.frame, sample.panel.within)[sample.rows],
    )
    kept_terms = tuple(terms[j] for j in solution.kept)
    part = Part(sample, np.arange(len(kept_terms)), regression, regression)
    return Fit(kept_terms, solution.coefficients, (part,), notes)


def _dense_period(sample: Sample) -> Ints:
    observed = np.zeros(int(sample.period.max()) + 1, dtype=bool)
    observed[sample.period] = True
    if observed.all():
        return sample.period
    dense: Ints = (np.cumsum(observed) - 1)[sample.period]
    return dense


def _length(column: Floats, weights: Floats | None) -> float:
    """Length of a column about its mean, raised to what rounding alone can leave of a large constant."""
    if weights is not None:
        column = column * np.sqrt(weights)
    square = float(np.einsum("i,i->", column, column))
    spread = square - len(column) * float(column.mean()) ** 2
    rounding = 1e-15 / COLLINEAR
    return math.sqrt(max(spread, rounding**2 * square, 0.0))


def staggered_notes(sample: Sample) -> tuple[Message, ...]:
    """Say whether cohorts adopt at different dates, and whether some are treated from their first row on."""
    adoption = sample.unit_adoption
    cohorts = np.unique(adoption[adoption <= sample.period[sample.ends].max()])
    if sample.design.comparison == "never_treated" and len(cohorts) > 1:
        raise DesignError(
            f"comparison is 'never_treated', but {len(cohorts)} cohorts adopt at different dates and a regression with "
            "two-way effects compares them with each other",
            where="comparison",
            remedy="use comparison='not_yet_treated', or an estimator made for staggered adoption",
        )
    notes: tuple[Message, ...] = ()
    if len(cohorts) > 1:
        notes = (message("note.staggered", cohorts=len(cohorts)),)
    always = int((sample.period[sample.starts] >= adoption).sum())
    if always:
        notes = (*notes, message("note.always_treated", units=always))
    return notes
