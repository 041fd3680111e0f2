"""Pre-trends: did treated and comparison units move together before adoption?"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from evalkit.catalogue import message
from evalkit.checks._placebo import can_enumerate, judge, permute_assignment
from evalkit.errors import DesignError, InferenceError
from evalkit.estimation import Estimator, Specification
from evalkit.finding import Finding, Verdict
from evalkit.fit import Fit


@dataclass(frozen=True, kw_only=True)
class PreTrends:
    """Test the leads of an event study jointly.

    estimator  an estimator with leads, such as EventStudy(leads=3, lags=2).
    bound      how large a difference before adoption would still be harmless, stated beforehand in the units of the outcome.
    draws, seed  how many random assignments to rank among where there are more than 10,000.

    The check passes only when the 90 % interval of every lead lies within ±bound: failing to reject is no proof of parallel
    trends. Where the F distribution cannot be believed (few clusters), the largest lead is ranked among all assignments of
    adoption, if they can be enumerated, or among random ones, if `draws` and `seed` are given: a joint test, exact where any
    units could have adopted. Else there is no p-value, and the sentence says so.
    Source: Roth, American Economic Review: Insights 4 (2022), on what such tests can and cannot show.
    """

    estimator: Estimator
    bound: float | None = None
    draws: int | None = None
    seed: int | None = None

    def run(self, spec: Specification) -> Finding:
        """Estimate the leads and judge them."""
        path = replace(spec, estimator=self.estimator).run()
        leads = [t.name for t in path.fit.terms if t.role == "effect" and t.event_time is not None and t.event_time < 0]
        if not leads:
            raise DesignError(
                "the estimator has no leads besides the base",
                where="PreTrends",
                remedy="ask for more leads, or add earlier periods",
            )
        tidy = path.tidy()
        table = tidy[tidy["term"].isin(leads)].reset_index(drop=True)
        largest = table.iloc[int(table["estimate"].abs().argmax())]
        statistic = p = floor = float("nan")
        how, why = "none", ""
        try:
            joint = path.wald(leads)
            statistic, p = joint.statistic, joint.p_value
            how = "joint" if joint.reason is None else "none"
        except InferenceError as error:
            how, why = "no_joint", error.what
        if how != "joint" and (self.draws is not None or can_enumerate(spec)):
            ranked = permute_assignment(
                path.spec, lambda fit: _largest_lead(fit, leads), draws=self.draws, seed=self.seed
            )
            statistic, p, floor = ranked.actual, ranked.p_value, ranked.floor
            how = "ranked" if ranked.exact else "drawn"
        verdict: Verdict = "fail" if p < 0.05 else "inconclusive"
        if self.bound is not None and path.uncertainty.unsupported is None:
            df = float(np.nanmin(path.uncertainty.df))
            each = zip(table["estimate"], table["std_error"], strict=True)
            if all(judge(float(value), float(error), df, p, self.bound) == "pass" for value, error in each):
                verdict = "pass"
        sentence = message(
            f"finding.pre_trends_{how}",
            leads=len(leads),
            largest=f"{largest.estimate:.4f}",
            event_time=int(largest.event_time),
            statistic=f"{statistic:.3f}",
            p=f"{p:.3f}",
            floor=f"{floor:.3f}",
            draws=self.draws,
            why=why,
            verdict=message(f"verdict.{verdict}"),
        )
        bound = float("nan") if self.bound is None else self.bound
        return Finding(
            "PreTrends",
            message("null.pre_trends"),
            statistic,
            p,
            floor if how in ("ranked", "drawn") else bound,
            verdict,
            sentence,
            table,
        )


def _largest_lead(fit: Fit, leads: list[str]) -> float:
    sizes = [abs(float(c)) for t, c in zip(fit.terms, fit.coefficients, strict=True) if t.name in leads]
    return max(sizes, default=float("nan"))
