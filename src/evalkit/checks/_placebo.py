"""What the placebo checks share: adoption re-assigned over the units of assignment, and the verdict on a placebo effect."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypedDict

import numpy as np
import pandas as pd
from scipy import stats

from evalkit.adoption import read_assignment, with_adoption
from evalkit.columns import Flags, Floats
from evalkit.errors import DesignError, EvalkitError
from evalkit.estimation import Estimate, Specification
from evalkit.finding import Verdict
from evalkit.fit import Fit
from evalkit.numerics.assignments import Assignments
from evalkit.sample import draw_sample


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


def judge(estimate: float, std_error: float, df: float, p_value: float, bound: float | None) -> Verdict:
    """Judge an effect that should be zero.

    "pass" when its 90 % interval lies within ±bound, stated beforehand (two one-sided tests at 5 %, Schuirmann 1987), however
    surely it differs from zero: the bound says what is harmless. Else "fail" when its p-value is below .05, and "inconclusive"
    otherwise. A NaN standard error supports no pass.
    """
    margin = float(stats.t.ppf(0.95, df)) * std_error if std_error > 0 else float("nan")
    if bound is not None and abs(estimate) + margin <= bound:
        return "pass"
    return "fail" if p_value < 0.05 else "inconclusive"


def after_adoption(fit: Fit) -> Floats:
    """Weights (k,) of a fit's headline: the average of its effects at or after adoption (of one ATT, itself)."""
    chosen = np.array([t.role == "effect" and (t.event_time is None or t.event_time >= 0) for t in fit.terms])
    if not chosen.any():
        raise DesignError("the fit has no effect after adoption", where="check", remedy="ask for lags")
    weights: Floats = chosen / chosen.sum()
    return weights


class Headline(TypedDict):
    """One effect with its inference."""

    term: str
    estimate: float
    std_error: float
    df: float
    p_value: float
    conf_low: float
    conf_high: float


def headline(one: Estimate, level: float = 0.95) -> Headline:
    """Term, estimate, std_error, df, p_value and interval of the average effect after adoption."""
    weights = after_adoption(one.fit)
    names = [term.name for term, weight in zip(one.fit.terms, weights, strict=True) if weight]
    law = one.law
    low, high = law.interval(weights, level)
    return {
        "term": names[0] if len(names) == 1 else f"mean of {names[0]} … {names[-1]}",
        "estimate": float(weights @ one.fit.coefficients),
        "std_error": law.std_error(weights),
        "df": law.df(weights),
        "p_value": law.p_value(weights),
        "conf_low": low,
        "conf_high": high,
    }
