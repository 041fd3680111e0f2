"""What checks rank among all assignments of adoption, and the table of what each of these gives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import compress

import numpy as np
import pandas as pd

from evalkit.catalogue import Message, message
from evalkit.errors import CostError, EvalkitError
from evalkit.numerics.arrays import Flags, Floats
from evalkit.numerics.permutation import Line, Ranked
from evalkit.reassignment.cost import BUDGET, Draws
from evalkit.reassignment.effects import Reassigned, Reestimated, reassign
from evalkit.results.estimation import Specification
from evalkit.results.finding import weigh_after_adoption
from evalkit.results.fit import Fit, Term

Statistic = Callable[[Sequence[Term], Floats], Floats]
"""From k terms besides covariates, and their coefficients (B, k) under assignments, its values (B,)."""


@dataclass(frozen=True)
class Ranking:
    """A statistic among its values under all assignments (or under random ones).

    `table` has one row per assignment: treated (labels), their n_units and n_obs (rows of the sample), statistic, actual, why
    where it cannot be computed, and one column for each effect of the estimator. `p_value` is the share of assignments whose
    absolute statistic is at least the actual one's, ties and failures included; `floor` the smallest value it can take;
    `rank` 1 for the most extreme.
    """

    table: pd.DataFrame
    actual: float
    p_value: float
    floor: float
    rank: int
    n_failed: int
    exact: bool


def rank_among_assignments(
    fit: Fit,
    spec: Specification,
    statistic: Statistic,
    *,
    by: str,
    keep: Flags | None = None,
    draws: Draws,
    seed: int | None,
    budget: float = BUDGET,
) -> Ranking:
    """Rank the statistic of a fit of the rows flagged in `keep` (None: all); `by` names the check.

    CostError where all assignments would take longer than the budget, in seconds as foretold, and draws are not given.
    Exact under random assignment and the sharp null that no unit is affected.
    """
    own = [i for i, term in enumerate(fit.terms) if term.role != "covariate"]
    actual = statistic([fit.terms[i] for i in own], fit.coefficients[None, own])
    found = reassign(fit, spec, keep, by=by, draws=draws, seed=seed, budget=budget)
    table = _tabulate(found, statistic, [fit.terms[i].name for i in own])
    values = table["statistic"].to_numpy()
    exact = found.lottery.assignments.enumerated
    ranked = Ranked(_line(actual), _line(values), exact)
    return Ranking(
        table, float(actual[0]), ranked.p_value(), ranked.floor(), ranked.rank(), int(np.isnan(values).sum()), exact
    )


def tell_cost(sentence: Message, error: CostError, check: str) -> Message:
    """Add what a ranking would take that a check did not begin."""
    many, seconds = f"{error.assignments:,}", f"{error.seconds:.0f}"
    return message("finding.ranking_costly", sentence=sentence, assignments=many, seconds=seconds, check=check)


def average_after_adoption(terms: Sequence[Term], coefficients: Floats) -> Floats:
    """Average the effects after adoption."""
    weights = weigh_after_adoption(terms)
    return np.array([weights @ one for one in coefficients])  # one by one, so that their number changes no bit


def _line(values: Floats) -> Line:
    """A statistic that is ranked as it is: over a standard error of 1, with no effect taken away."""
    none = np.zeros(len(values))
    return Line(values, none, none + 1.0, none, none)


def _tabulate(found: Reassigned, statistic: Statistic, names: list[str]) -> pd.DataFrame:
    """One row per assignment."""
    sample, lottery = found.sample, found.lottery
    of_units, of_rows = (None, None) if sample.counts is None else (sample.counts[sample.starts], sample.counts)
    many, of_unit = len(sample.clusters), sample.cluster[sample.starts]
    units_in = np.bincount(of_unit, of_units, minlength=many)[lottery.present].round().astype(np.int64)
    rows_in = np.bincount(sample.cluster, of_rows, minlength=many)[lottery.present].round().astype(np.int64)
    labels = [str(sample.clusters[code]) for code in lottery.present]
    blocks = []
    for block in found.estimates():
        treated = np.isfinite(lottery.dates)[block.assignments]
        values, why, coefficients = statistic(block.terms, block.coefficients), [""] * len(treated), block.coefficients
        for i, other in block.anew.items():
            values[i], why[i] = _value(statistic, other)
            given = {} if why[i] else dict(zip((t.name for t in other.terms), other.coefficients, strict=True))
            coefficients[i] = [given.get(name, np.nan) for name in names]
        columns = {
            "treated": [", ".join(compress(labels, chosen)) for chosen in treated.tolist()],
            "n_units": treated @ units_in,
            "n_obs": treated @ rows_in,
            "statistic": values,
            "actual": (block.assignments == lottery.actual).all(axis=1),
            "why": why,
        }
        blocks.append(pd.DataFrame(columns | dict(zip(names, coefficients.T, strict=True))))
    return pd.concat(blocks, ignore_index=True)


def _value(statistic: Statistic, other: Reestimated) -> tuple[float, str]:
    """Value of the statistic under an assignment, or why there is none."""
    if other.why:
        return np.nan, other.why
    try:
        return float(statistic(other.terms, other.coefficients[None])[0]), ""
    except EvalkitError as error:
        return np.nan, str(error)
