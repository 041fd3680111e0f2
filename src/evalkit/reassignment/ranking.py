"""A statistic ranked among its values under other assignments of adoption, each estimated anew."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from evalkit.designs.adoption import read_assignment, with_adoption
from evalkit.designs.sample import draw_sample
from evalkit.errors import DesignError, EvalkitError
from evalkit.numerics.arrays import Flags
from evalkit.numerics.permutation import Assignments
from evalkit.results.estimation import Specification
from evalkit.results.fit import Fit


@dataclass(frozen=True)
class Permuted:
    """A statistic under every assignment (or under random draws).

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
    n_assignments: int
    n_failed: int
    exact: bool


def can_enumerate(spec: Specification, keep: Flags | None = None) -> bool:
    """Say whether all assignments of adoption are few enough to be enumerated."""
    adoption = draw_sample(spec.panel, spec.design, keep).cluster_adoption()
    _, cohort = np.unique(adoption[~np.isnan(adoption)], return_inverse=True)
    return Assignments(cohort.astype(np.int64), None, None, None).enumerated


def permute_assignment(
    spec: Specification,
    statistic: Callable[[Fit], float],
    *,
    keep: Flags | None = None,
    draws: int | None = None,
    seed: int | None = None,
) -> Permuted:
    """Re-estimate with adoption dates permuted over the units of assignment, keeping how many adopt when.

    All assignments are enumerated while there are at most 10,000; beyond that `draws` and `seed` are needed, and
    p = (1 + #)/(draws + 1). Exact under random assignment and the sharp null that no unit is affected.
    """
    sample = draw_sample(spec.panel, spec.design, keep)
    adoption = sample.cluster_adoption()
    present = np.flatnonzero(~np.isnan(adoption))
    dates, cohort = np.unique(adoption[present], return_inverse=True)
    cohort = cohort.astype(np.int64)
    assignments = Assignments(cohort, None, draws, seed)
    exact = assignments.enumerated
    if not exact and not assignments.drawn:
        raise DesignError(
            f"there are about 10^{assignments.log10:.0f} ways to assign adoption to {len(present)} units of assignment, "
            "too many to enumerate",
            where="permutation",
            remedy="give draws= and seed=, for example draws=999, seed=1",
        )
    rows = []
    everywhere = np.full(len(adoption), np.inf)
    with_adoption(spec.panel, spec.design, np.full(len(spec.panel), np.inf))  # refuses what no assignment could change
    units_in = np.bincount(sample.cluster[sample.starts], minlength=len(adoption))
    rows_in = np.bincount(sample.cluster, minlength=len(adoption))
    assigned = read_assignment(spec.panel, spec.design)[0].values
    for placebo in assignments:
        everywhere[present] = dates[placebo]
        treated = present[np.isfinite(dates[placebo])]
        row: dict[str, object] = {
            "treated": ", ".join(str(sample.clusters[c]) for c in treated),
            "n_units": int(units_in[treated].sum()),
            "n_obs": int(rows_in[treated].sum()),
            "statistic": np.nan,
            "actual": bool((placebo == cohort).all()),
            "why": "",
        }
        try:
            panel, design = with_adoption(spec.panel, spec.design, everywhere[assigned])
            fit = spec.estimator.fit(panel, design, keep)
            row["statistic"] = statistic(fit)
            row |= {t.name: c for t, c in zip(fit.terms, fit.coefficients, strict=True) if t.role != "covariate"}
        except EvalkitError as error:
            row["why"] = str(error)
        rows.append(row)
    fit = spec.estimator.fit(spec.panel, spec.design, keep)
    actual = statistic(fit)
    effects = [term.name for term in fit.terms if term.role != "covariate"]
    table = pd.DataFrame(rows, columns=["treated", "n_units", "n_obs", "statistic", "actual", "why", *effects])
    # An assignment that cannot be estimated counts as extreme: the p-value must not gain from it.
    size = table["statistic"].abs().fillna(np.inf)
    extreme = int((size >= abs(actual) * (1 - 1e-9)).sum())
    p = extreme / len(table) if exact else (1 + extreme) / (len(table) + 1)
    ties = int(((size >= abs(actual) * (1 - 1e-9)) & (size <= abs(actual) * (1 + 1e-9))).sum())
    failed = int(table["statistic"].isna().sum())
    floor = (max(ties, 1) + failed) / len(table) if exact else (1 + failed) / (len(table) + 1)
    rank = 1 + int((size > abs(actual) * (1 + 1e-9)).sum())
    return Permuted(table, actual, p, floor, rank, len(table), failed, exact)
