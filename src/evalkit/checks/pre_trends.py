"""Pre-trends: did treated and comparison units move together before adoption?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from evalkit.catalogue import Message, message
from evalkit.checks._ranking import rank_among_assignments, tell_cost
from evalkit.errors import CostError, DesignError, InferenceError
from evalkit.numerics.arrays import Floats
from evalkit.numerics.power import Leads
from evalkit.reassignment.assignments import can_enumerate
from evalkit.reassignment.cost import ASIDE, Draws, require_draws
from evalkit.results.estimation import Estimate, Estimator, Inference, Specification
from evalkit.results.finding import Chart, Finding, Verdict
from evalkit.results.fit import Fit, Term
from evalkit.results.uncertainty import Wald
from evalkit.tables.periods import Periods


@dataclass(frozen=True, kw_only=True)
class PreTrends:
    """Test the leads of an event study jointly, and say which linear trends they would have found.

    estimator  an estimator with leads, such as EventStudy(leads=3, lags=2).
    bound      how large a difference before adoption would still be harmless, stated beforehand in the units of the outcome.
    joint      an inference whose joint test holds with few clusters, such as BiasReduced() or WildBootstrap(draws=999, seed=1):
               asked where that of the specification cannot test the leads jointly.
    draws, seed  how many random assignments to rank among where there are more than 10,000, or all of them would take longer
               than 5 s (foretold from the design); draws="all" takes all of up to 10,000, whatever it takes.

    The check passes only when the 90 % interval of every lead lies within ±bound: failing to reject is no proof of parallel
    trends. Where neither inference can test the leads jointly, the largest lead is ranked among all assignments of adoption, if
    that takes no longer, or among random ones, if `draws` and `seed` are given: a joint test, exact where any units could have
    adopted. Else the slope of the straight line fitted to the leads and their base (least squares, all weighed alike) is
    tested, a single contrast, by `joint` or else the specification's own inference, if it calls single p-values supported. It
    can fail the check, and never passes it: what is no straight line may have no slope. Where leads are no differences from
    one base, or neither inference can judge it, there is no p-value, and the sentence says so.

    The sentence and the table (slope_50, slope_80, …) tell which linear trends the leads, tested one by one at 5 %, find with
    50 % and 80 % probability, and the bias that such a trend leaves in the average effect over the lags: in general, and where
    no lead is significant (bias_unnoticed). trend_50 and trend_80 are the trends' values at the leads.
    Source: Roth, American Economic Review: Insights 4 (2022), on what such tests can and cannot show.
    """

    estimator: Estimator
    bound: float | None = None
    joint: Inference | None = None
    draws: Draws = None
    seed: int | None = None

    on_cells = True

    def __post_init__(self) -> None:
        require_draws(self.draws, self.seed, by="PreTrends")

    def run(self, spec: Specification) -> Finding:
        """Estimate the leads and judge them."""
        path = replace(spec.on_rows(), estimator=self.estimator).estimate()  # which may need other cells
        leads = _leads(path.fit)
        one, test, why = self._tested(path, [path.fit.terms[i].name for i in leads])
        how = "joint" if test is not None and test.reason is None else "no_joint" if why else "none"
        statistic, p = (test.statistic, test.p_value) if test is not None else (float("nan"), float("nan"))
        floor = float("nan")
        too_long: CostError | None = None
        if how != "joint" and (self.draws is not None or can_enumerate(path.spec)):
            names = {path.fit.terms[i].name for i in leads}
            try:
                ranked = rank_among_assignments(
                    path.fit,
                    path.spec,
                    lambda terms, coefficients: _largest_lead(terms, coefficients, names),
                    by="PreTrends",
                    draws=self.draws,
                    seed=self.seed,
                    budget=ASIDE,
                )
            except CostError as refused:
                too_long = refused
            else:
                statistic, p, floor = ranked.actual, ranked.p_value, ranked.floor
                how = "ranked" if ranked.exact else "drawn"
        line = self._slope(path, leads) if how in ("none", "no_joint") else None
        if line is not None:
            statistic, p = line.slope, line.p_value
        verdict: Verdict = "fail" if p < 0.05 else "inconclusive"
        if self.bound is not None and _all_within(one, leads, self.bound):
            verdict = "pass"
        table = _table(one, leads)
        largest = table.iloc[int(table["estimate"].abs().argmax())]
        sentence = message(
            f"finding.pre_trends_{how}" if line is None else f"finding.pre_trends_{how}_slope",
            leads=len(leads),
            largest=f"{largest.estimate:.4f}",
            event_time=int(largest.event_time),
            statistic=f"{statistic:.3f}",
            p=f"{p:.3f}",
            floor=f"{floor:.3f}",
            draws=self.draws,
            why=why,
            verdict=message(f"verdict.{verdict}"),
            **({} if line is None else line.told(path.spec.panel.periods)),
        )
        if how == "joint" and test is not None:
            sentence = _name_test(sentence, test, one)
        if too_long is not None:
            sentence = tell_cost(sentence, too_long, "PreTrends")
        trends = _trends_found(one, leads)
        if trends:
            sentence = _tell_trends(sentence, trends, one)
        bound = float("nan") if self.bound is None else self.bound
        return Finding(
            "PreTrends",
            message("null.pre_trends"),
            statistic,
            p,
            floor if how in ("ranked", "drawn") else bound,
            verdict,
            sentence,
            _with_slope(_with_trends(table, trends), line),
            _chart(one, self.bound),
        )

    def _tested(self, path: Estimate, leads: list[str]) -> tuple[Estimate, Wald | None, str]:
        """The estimate whose inference tests the leads jointly, and the test.

        Where none does: the path itself with what it has, and why a test was refused.
        """
        first: Wald | None = None
        refused = ""
        for inference in (path.spec.inference, self.joint):
            if inference is None:
                continue
            try:
                one = path if inference is path.spec.inference else path.under(inference)
                test = one.wald(leads)
            except InferenceError as error:
                refused = error.what
                continue
            if test.reason is None:
                return one, test, ""
            first = first or test
        return path, first, refused

    def _slope(self, path: Estimate, leads: list[int]) -> _Line | None:
        """The line through the leads, by `joint` or else the path's own inference, if one can judge it; None where none can."""
        weights = _weigh_slope(path.fit, leads)
        for inference in (self.joint, path.spec.inference):
            if weights is None or inference is None:
                continue
            try:
                one = path if inference is path.spec.inference else path.under(inference)
            except InferenceError:
                continue
            told = one.combination(weights, "slope before adoption").iloc[0]
            if told["supported"] and np.isfinite(told["p_value"]):
                return _Line(
                    slope=float(told["estimate"]),
                    std_error=float(told["std_error"]),
                    low=float(told["conf_low"]),
                    high=float(told["conf_high"]),
                    p_value=float(told["p_value"]),
                    method=one.uncertainty.method,
                )
        return None


@dataclass(frozen=True)
class _Line:
    """The slope of a straight line through leads and base, per period, and how it was judged."""

    slope: float
    std_error: float
    low: float
    high: float
    p_value: float
    method: Message

    def told(self, periods: Periods) -> dict[str, object]:
        """What the sentence says of it."""
        return {
            "step": _name_step(periods),
            "slope": f"{self.slope:.4g}",
            "low": f"{self.low:.4g}",
            "high": f"{self.high:.4g}",
            "method": self.method,
        }


def _weigh_slope(fit: Fit, leads: list[int]) -> dict[str, float] | None:
    """Weights of the leads in the least-squares slope of a line through them and their base; None without one base.

    A binned end counts as its nearest event time.
    """
    distance = _distances(fit)
    if distance is None or len({(fit.terms[i].subgroup, fit.terms[i].cohort) for i in leads}) > 1:
        return None
    away = np.append(distance[leads], 0.0)
    away -= away.mean()
    return {fit.terms[i].name: float(w) for i, w in zip(leads, away / (away @ away), strict=False)}


def _with_slope(table: pd.DataFrame, line: _Line | None) -> pd.DataFrame:
    """Add the line through the leads, the same in all rows."""
    if line is None:
        return table
    return table.assign(
        slope=line.slope,
        slope_std_error=line.std_error,
        slope_conf_low=line.low,
        slope_conf_high=line.high,
        slope_p_value=line.p_value,
    )


def _leads(fit: Fit) -> list[int]:
    """Positions of the effects before adoption; DesignError where there are none."""
    terms = enumerate(fit.terms)
    leads = [i for i, t in terms if t.role == "effect" and t.event_time is not None and t.event_time < 0]
    if not leads:
        raise DesignError(
            "the estimator has no leads besides the base",
            where="PreTrends",
            remedy="ask for more leads, or add earlier periods",
        )
    return leads


def _all_within(one: Estimate, leads: list[int], bound: float) -> bool:
    """Say whether the 90 % interval of every lead lies within ±bound: two one-sided tests at 5 % each (Schuirmann 1987)."""
    each = np.eye(len(one.fit.terms))
    if any(one.doubt(each[i]) is not None for i in leads):
        return False
    ends = [one.distribution.interval(each[i], 0.90) for i in leads]
    return all(-bound <= low and high <= bound for low, high in ends)  # NaN lies within nothing


def _chart(one: Estimate, bound: float | None) -> Chart:
    """Leads with the intervals that the design supports, between the bounds stated beforehand."""
    each = np.eye(len(one.fit.terms))
    drawn = any(one.doubt(each[i]) is None for i in _leads(one.fit))
    low, high = ("conf_low", "conf_high") if drawn else ("", "")
    marks = () if bound is None else (-bound, bound)
    title = message("chart.pre_trends")
    return Chart("intervals", title, value="estimate", label=("term",), low=low, high=high, marks=marks)


def _table(one: Estimate, leads: list[int]) -> pd.DataFrame:
    names = [one.fit.terms[i].name for i in leads]
    tidy = one.tidy()
    return tidy[tidy["term"].isin(names)].reset_index(drop=True)


def _with_trends(table: pd.DataFrame, trends: tuple[_Trend, ...]) -> pd.DataFrame:
    """Add each trend's value at the leads, its slope and its biases, which are the same in all rows."""
    for trend in trends:
        of = f"{100 * trend.probability:.0f}"
        table[f"trend_{of}"] = trend.leads
        table[f"slope_{of}"], table[f"bias_{of}"] = trend.slope, trend.bias
        table[f"bias_unnoticed_{of}"] = trend.bias_unnoticed
    return table


def _name_test(sentence: Message, test: Wald, one: Estimate) -> Message:
    q, df = test.df
    method = one.uncertainty.method
    if np.isnan(df):
        return message("finding.pre_trends_by_draws", sentence=sentence, method=method)
    return message("finding.pre_trends_by_f", sentence=sentence, q=q, df=f"{df:.4g}", method=method)


def _tell_trends(sentence: Message, trends: tuple[_Trend, ...], one: Estimate) -> Message:
    even, likely = trends
    sentence = message(
        "finding.pre_trends_power",
        sentence=sentence,
        step=_name_step(one.spec.panel.periods),
        slope=f"{likely.slope:.4g}",
        bias=f"{likely.bias:.4g}",
        unnoticed=f"{likely.bias_unnoticed:.4g}",
        even_slope=f"{even.slope:.4g}",
        even_bias=f"{even.bias:.4g}",
    )
    if any(term.binned for term in one.fit.terms):
        sentence = message("finding.pre_trends_binned", sentence=sentence)
    return sentence


def _largest_lead(terms: Sequence[Term], coefficients: Floats, leads: set[str]) -> Floats:
    chosen = [term.name in leads for term in terms]
    if not any(chosen):
        return np.full(len(coefficients), np.nan)
    largest: Floats = np.abs(coefficients[:, chosen]).max(axis=1)
    return largest


_PROBABILITIES = (0.5, 0.8)


@dataclass(frozen=True)
class _Trend:
    """A trend that the leads find with a probability, and what it adds to the average effect after adoption.

    slope, per period; bias, whether or not it is found; bias_unnoticed, where no lead is significant; leads (K,), its own values.
    """

    probability: float
    slope: float
    bias: float
    bias_unnoticed: float
    leads: Floats


def _trends_found(one: Estimate, leads: list[int]) -> tuple[_Trend, ...]:
    """The slopes that the leads (positions) find with 50 % and 80 % probability, some lead being significant at 5 %.

    A lead is significant where zero lies outside its interval; estimates are jointly normal with their covariance.
    Empty where that is not known: no supported standard errors, leads that are no differences from one base, no lags, or as
    many leads as clusters. A binned end counts as its nearest event time.
    Source: Roth, American Economic Review: Insights 4 (2022), section I.
    """
    distance = _distances(one.fit)
    terms = one.fit.terms
    lags = [i for i, t in enumerate(terms) if t.role == "effect" and t.event_time is not None and t.event_time >= 0]
    each = np.eye(len(terms))
    if distance is None or not lags or any(one.doubt(each[i]) is not None for i in (*leads, *lags)):
        return ()
    ends = [one.distribution.interval(each[i], 0.95) for i in leads]
    limits = np.array([(high - low) / 2 for low, high in ends])
    covariance = one.uncertainty.covariance
    if not (np.isfinite(limits).all() and np.isfinite(covariance[np.ix_([*leads, *lags], [*leads, *lags])]).all()):
        return ()
    tested = Leads(distance[leads], covariance[np.ix_(leads, leads)], limits)
    if tested.is_singular:
        return ()
    shared, away = covariance[np.ix_(lags, leads)].mean(axis=0), float(distance[lags].mean())
    found = []
    for probability in _PROBABILITIES:
        slope = tested.slope_found(probability)
        bias = slope * away
        found.append(
            _Trend(probability, slope, bias, bias + tested.mean_shift(slope, shared), slope * tested.distances)
        )
    return tuple(found)


def _distances(fit: Fit) -> Floats | None:
    """Periods between each term and the base of its path (k,); None where a path does not have one base."""
    if not all(part.leads_from_base for part in fit.parts):
        return None
    bases: dict[tuple[str | None, str | None], list[int]] = {}
    for term in fit.terms:
        if term.event_time is not None:
            known = bases.setdefault((term.subgroup, term.cohort), [])
            known += [term.event_time] if term.role == "base" else []
    if not bases or any(len(known) != 1 for known in bases.values()):
        return None
    return np.array(
        [
            np.nan if term.event_time is None else term.event_time - bases[term.subgroup, term.cohort][0]
            for term in fit.terms
        ]
    )


def _name_step(periods: Periods) -> Message:
    """Name the step of a time axis: year, quarter, month, day, or period."""
    name: str = periods.frequency
    if name == "integer":
        name = "year" if 1000 <= periods.first <= 2999 else "period"
    return message(f"step.{name if periods.step == 1 else 'period'}")
