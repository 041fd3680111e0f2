"""What estimates anew cost, told from the design before any is made, and what is begun unasked.

Nothing here looks at a clock: the same panel gives the same result, or the same refusal, on every machine. The constants are
seconds of processor on one core of the machine that evalkit is developed on (a server of 2026, one thread), fitted by eye to
`python benchmarks/refits.py`, which measures 18 estimates anew on each of 9 panels of 50 to 40,000 rows: what they foretell is
within half and twice of nine in ten of them. An estimator of the reader's own counts as one of ours of its size.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, Protocol, runtime_checkable

import numpy as np

from evalkit.errors import CostError, DesignError
from evalkit.numerics.permutation import Assignments
from evalkit.numerics.reassigned import DateSums
from evalkit.results.estimation import Specification
from evalkit.results.fit import Fit
from evalkit.results.uncertainty import Uncertainty

BUDGET = 60.0  # seconds of what is asked for by name: a longer enumeration waits for draws
ASIDE = 5.0  # of what a method turns to by itself


@runtime_checkable
class Enumerates(Protocol):
    """An inference that goes through all assignments, and can be held to take no longer than so many seconds, as foretold."""

    def assess_within(self, budget: float, fit: Fit, spec: Specification) -> Uncertainty:
        """State the uncertainty of a fit, as `assess` does."""
        ...


Draws = int | Literal["all"] | None
"""How many random assignments; "all" for every one, whatever it takes; None for every one within the budget."""

_FIXED, _PER_ROW = 1.5e-3, 1.5e-7  # of any estimate: the panel with other dates, the rows drawn from it
_PER_PART, _PER_TERM, _PER_CELL, _PER_ROW_AND_TERM = 2.5e-3, 3e-4, 1e-4, 3e-8
_PER_LEVEL = 4e-5  # of the design's further effects
_WITH_COVARIATES = {"CallawaySantAnna": 5.0, "ExtendedTWFE": 3.0}  # times as much for a cell
_ITERATED = 3.0  # times as much, and of rows and terms ten times, where the outcome is fitted by steps (Poisson)
_PER_SUMS, _PER_NUMBER = 5e-5, 2e-8  # of an assignment, and of each number of its clusters, where sums tell
# More for each unit of assignment and cell, where weights of units are sought.
_PER_WEIGHT = {"SyntheticDID": 6e-5, "SyntheticControl": 2e-6}
# The same where they are sought for many assignments together.
_AT_ONCE = {"SyntheticDID": 4e-6, "SyntheticControl": 1e-6}


def is_of_design(fit: Fit) -> bool:
    """Say whether the effects are linear in the outcome, as far as the parts of a fit tell."""
    return all(part.regression is not None or part.response is None or part.response.of_design for part in fit.parts)


def foretell_estimate(fit: Fit, spec: Specification) -> float:
    """Seconds that one more estimate like this one takes: from rows, terms, and cells (dates of adoption × periods)."""
    total, name, n_rows = _FIXED + _PER_ROW * len(spec.panel), _innermost(spec.estimator), len(spec.panel)
    per_cell = _PER_CELL * (_WITH_COVARIATES.get(name, 1.0) if spec.design.covariates else 1.0)
    for part in fit.parts:
        sample, n_terms = part.sample, len(part.positions)
        adoption = sample.unit_adoption
        cells = len(np.unique(adoption[np.isfinite(adoption)])) * len(np.unique(sample.period))
        own = _PER_PART + _PER_TERM * n_terms + per_cell * cells
        own += _PER_LEVEL * sum(int(codes.max()) + 1 for codes in sample.absorb)
        by_rows = _PER_ROW_AND_TERM * n_terms * n_rows
        if name in _PER_WEIGHT:
            own += _PER_WEIGHT[name] * cells * len(np.unique(sample.cluster))
        elif part.response is not None and not part.response.of_design:
            own, by_rows = _ITERATED * own, 10 * by_rows
        total += own + by_rows
    return total


def foretell_sums(n_assignments: int, sums: DateSums) -> float:
    """Seconds that effects under so many assignments take from sums by cluster and date."""
    n_clusters, _, k, p = sums.loads.shape
    return n_assignments * (_PER_SUMS + _PER_NUMBER * float(n_clusters * k * (p + k + 2)))


def foretell_weights(fit: Fit, spec: Specification) -> float:
    """Seconds that one more estimate takes among many whose weights of units are sought together."""
    total, name = 0.0, _innermost(spec.estimator)
    for part in fit.parts:
        adoption = part.sample.unit_adoption
        cells = len(np.unique(adoption[np.isfinite(adoption)])) * len(np.unique(part.sample.period))
        total += _AT_ONCE.get(name, _PER_WEIGHT["SyntheticDID"]) * cells * len(np.unique(part.sample.cluster))
    return total


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


def require_draws(draws: Draws, seed: int | None, *, by: str, least: int = 1) -> None:
    """Raise DesignError, in the name of `by`, unless draws are a whole number from `least` on, "all" or None, and so the seed."""
    for name, value, smallest in (("draws", None if draws == "all" else draws, least), ("seed", seed, 0)):
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < smallest):
            remedy = f"give a whole number from {smallest} on" + (', or "all"' if name == "draws" else "")
            raise DesignError(f"{name} is {value!r}", where=by, remedy=remedy)


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
