"""Finding: what a check of an estimate concluded, and the effect that checks are about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypedDict

import pandas as pd
from scipy import stats

from evalkit.catalogue import Labels, Message
from evalkit.errors import DesignError
from evalkit.numerics.arrays import Floats
from evalkit.results.estimation import Estimate, Specification
from evalkit.results.fit import Term, choose_after_adoption
from evalkit.tables.contents import cut_short, same_content

Verdict = Literal["pass", "fail", "inconclusive", "described"]


@dataclass(frozen=True)
class Chart:
    """How the table of a finding is drawn: which of its columns, and in which words. Drawing itself is left to `reporting`.

    kind    "intervals": a row of the figure for each of the table's, named by its `label` columns, a dot at `value` and a bar
            from `low` to `high`, left out where a column `supported` says so; "curve": `value` over the one `label`; "counts":
            how often the table has which `value`; "years": the same of years, or of numbers of them; or an exhibit that
            `reporting.finding_figures` draws for this check alone.
    title   what the figure shows.
    axis    what `value` is; None: the effect, in the unit of the outcome. `label_axis` says what `label` is, where a number.
    marks   values at which a line stands: a bound stated beforehand, a nominal size; 0 always has one among "intervals".
    A name of a column that is "" is not drawn.
    """

    kind: str
    title: Message
    value: str = ""
    label: tuple[str, ...] = ()
    low: str = ""
    high: str = ""
    axis: Message | None = None
    label_axis: Message | None = None
    marks: tuple[float, ...] = ()


@dataclass(frozen=True, eq=False)
class Finding:
    """The outcome of one check.

    check      its name; `null` says what would be true if the claim were sound, None where the check only describes.
    statistic  the test statistic or quantity the sentence is about (NaN where there is none).
    p_value    NaN where none can be supported.
    bound      the bound stated beforehand, or the smallest p attainable for a permutation (the sentence says which; NaN: none).
    verdict    "pass" and "fail" need a null or a bound; "inconclusive" says the data cannot tell; "described" claims nothing.
    sentence   the conclusion in words, in both languages.
    table      the numbers behind it, one row per term, cluster or assignment.
    chart      how the table is drawn.
    """

    check: str
    null: Message | None
    statistic: float
    p_value: float
    bound: float
    verdict: Verdict
    sentence: Message
    table: pd.DataFrame
    chart: Chart

    __eq__ = same_content

    def __repr__(self) -> str:
        return cut_short(f"Finding({self.verdict}, {self.summary()})")

    def summary(self, language: str = "en", labels: Labels | None = None) -> str:
        """Say the finding, in English ("en") or Chinese ("zh"), with the study's labels if given."""
        return f"{self.check}: {self.sentence.text(language, labels)}"


class Check(Protocol):
    """A challenge to a specification. Without the line `on_cells` it gets the rows of a large panel."""

    @property
    def on_cells(self) -> bool:
        """Say whether it finds the same on cells as on the rows that they stand for (see `Specification.on_cells`)."""
        ...

    def run(self, spec: Specification) -> Finding:
        """Carry it out."""
        ...


def judge_zero(estimate: float, std_error: float, df: float, p_value: float, bound: float | None) -> Verdict:
    """Judge an effect that should be zero.

    "pass" when its 90 % interval lies within ±bound, stated beforehand (two one-sided tests at 5 %, Schuirmann 1987), however
    surely it differs from zero: the bound says what is harmless. Else "fail" when its p-value is below .05, and "inconclusive"
    otherwise. A NaN standard error supports no pass.
    """
    margin = float(stats.t.ppf(0.95, df)) * std_error if std_error > 0 else float("nan")
    if bound is not None and abs(estimate) + margin <= bound:
        return "pass"
    return "fail" if p_value < 0.05 else "inconclusive"


def weigh_after_adoption(terms: Sequence[Term]) -> Floats:
    """Weights (k,) of the headline of a fit with these terms: its average over all, else that of effects after adoption."""
    chosen = choose_after_adoption(terms)
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
    weights = weigh_after_adoption(one.fit.terms)
    names = [term.name for term, weight in zip(one.fit.terms, weights, strict=True) if weight]
    distribution = one.distribution
    low, high = distribution.interval(weights, level)
    return {
        "term": names[0] if len(names) == 1 else f"mean of {names[0]} … {names[-1]}",
        "estimate": float(weights @ one.fit.coefficients),
        "std_error": distribution.std_error(weights),
        "df": distribution.df(weights),
        "p_value": distribution.p_value(weights),
        "conf_low": low,
        "conf_high": high,
    }
