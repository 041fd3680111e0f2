"""What estimates anew cost, told from the design before any is made, and what is begun unasked.

Nothing here looks at a clock: the same panel gives the same result, or the same refusal, on every machine. The constants are
seconds of processor on one core of the machine that evalkit is developed on (a server of 2026, one thread), fitted by eye to
`python benchmarks/refits.py`, which measures 18 estimators on 9 panels of 50 to 40,000 rows; what they foretell is within half
and twice of most of what is measured there. An estimator of the reader's own counts as one of ours of its size.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np

from evalkit.errors import CostError
from evalkit.numerics.permutation import Assignments
from evalkit.numerics.reassigned import DateSums
from evalkit.results.estimation import Specification
from evalkit.results.fit import Fit

BUDGET = 60.0  # seconds of what is asked for by name: a longer enumeration waits for draws
ASIDE = 5.0  # of what a method turns to by itself
Draws = int | Literal["all"] | None
"""How many random assignments; "all" for every one, whatever it takes; None for every one within the budget."""

_FIXED, _PER_ROW, _PER_TERM, _PER_CELL = 3.5e-3, 2e-7, 3e-4, 1e-4
_WITH_COVARIATES = 5.0  # times as much for a cell
_ITERATED = 3.0  # times as much where the outcome is fitted by steps (Poisson)
_PER_SUMS, _PER_NUMBER = 5e-5, 2e-8  # of an assignment, and of each number of its clusters, where sums tell
# More for each unit of assignment and cell, where weights of units are sought.
_PER_WEIGHT = {"SyntheticDID": 6e-5, "SyntheticControl": 5e-6}


def is_of_design(fit: Fit) -> bool:
    """Say whether the effects are linear in the outcome, as far as the parts of a fit tell."""
    return all(part.regression is not None or part.response is None or part.response.of_design for part in fit.parts)


def foretell_estimate(fit: Fit, spec: Specification) -> float:
    """Seconds that one more estimate like this one takes: from rows, terms, and cells (dates of adoption × periods)."""
    total, covariates = _PER_ROW * len(spec.panel), bool(spec.design.covariates)
    for part in fit.parts:
        sample = part.sample
        adoption = sample.unit_adoption
        dates, periods = len(np.unique(adoption[np.isfinite(adoption)])), len(np.unique(sample.period))
        cells = dates * periods
        own = _FIXED + _PER_TERM * len(part.positions) + _PER_CELL * cells * (_WITH_COVARIATES if covariates else 1.0)
        per_weight = _PER_WEIGHT.get(_innermost(spec.estimator), 0.0)
        if per_weight:
            own += per_weight * cells * len(np.unique(sample.cluster))
        elif part.response is not None and not part.response.of_design:
            own *= _ITERATED
        total += own
    return total


def foretell_sums(n_assignments: int, sums: DateSums) -> float:
    """Seconds that effects under so many assignments take from sums by cluster and date."""
    n_clusters, _, k, p = sums.loads.shape
    return n_assignments * (_PER_SUMS + _PER_NUMBER * n_clusters * k * (p + k + 2))


def _innermost(estimator: object) -> str:
    """Name the class of an estimator, or of what estimates inside it, such as in each subgroup of a split."""
    inner = getattr(estimator, "estimator", None)
    return type(estimator).__name__ if inner is None else _innermost(inner)


def choose_assignments(
    assignments: Assignments, seconds: float, *, by: str, level: str, draws: Draws, seed: int | None, budget: float
) -> Assignments:
    """Return the assignments to go through, given what all of them would take: all within the budget, else random ones.

    Where these were not asked for, CostError says what all would take and how to ask, in the name of `by`. With "all", or as many
    draws as there are assignments, all are gone through.
    """
    many = len(assignments)
    if seconds <= budget or draws == "all" or not assignments.enumerated:
        return assignments
    if isinstance(draws, int) and seed is not None:
        return replace(assignments, draws=draws, seed=seed, many=draws)
    raise costly(f"the {many:,} assignments of adoption to {level}", many, seconds, by=by, budget=budget)


def costly(what: str, many: int, seconds: float, *, by: str, budget: float) -> CostError:
    """Say what it would take to go through all of something, and how to ask for draws or insist on all."""
    error = CostError(
        f"to estimate anew under all of {what} would take about {seconds:.0f} s, and what takes more than {budget:.0f} s "
        "is not begun unasked",
        where=by,
        remedy=f'give {by} draws=999, seed=1 to take random ones, or draws="all" to take all of them',
    )
    error.assignments, error.seconds = many, seconds
    return error
