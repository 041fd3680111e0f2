"""Self-size: does the inference reject as often as it says, in laws that never were, on the study's own data?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import combinations
from math import comb
from zlib import crc32

import numpy as np
import pandas as pd
from scipy import stats

from evalkit.catalogue import Message, message
from evalkit.designs.adoption import read_assignment, with_adoption
from evalkit.designs.sample import draw_sample
from evalkit.errors import DesignError, EvalkitError
from evalkit.numerics.arrays import Flags, Ints
from evalkit.results.estimation import Estimate, Specification
from evalkit.results.finding import Chart, Finding, Verdict, headline

NOMINAL = 0.05
_LEVEL = 0.99
_ENOUGH = 100  # laws; of fewer, the interval reaches beyond .13 where 5 % reject
_COLUMNS = ["start", "treated", "estimate", "std_error", "p_value", "significant", "why"]


@dataclass(frozen=True, kw_only=True)
class SelfSize:
    """Give the policy to random places before it began, and count how often the specification finds it significant at 5 %.

    draws, seed  how many placebo laws to draw where there are more; `seed` is needed then. Where there are no more than `draws`
                 different ones, each is tried once.

    Only rows before the first true adoption (and anticipation) enter, of all units. A law treats as many units of assignment as
    were treated in truth, from a date on before which at least one period lies; the effect is the average after it, judged
    by the specification's estimator and inference, also where that calls itself unsupported. The check fails when the exact
    binomial 99 % interval of the share significant lies above 5 %, and passes when it reaches down to 5 % or lies below
    ("conservative"); with fewer than 100 laws it cannot pass. The interval tells the chance in the draws: all laws share
    one set of outcomes, whose own peculiarities they repeat, the more so the fewer units of assignment there are.
    Source: Bertrand, Duflo and Mullainathan, Quarterly Journal of Economics 119 (2004), section III.
    """

    draws: int = 200
    seed: int | None = None

    def __post_init__(self) -> None:
        for name, value, least in (("draws", self.draws, 20), ("seed", self.seed, 0)):
            if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < least):
                raise DesignError(
                    f"{name} is {value!r}", where="SelfSize", remedy=f"give a whole number from {least} on"
                )

    def run(self, spec: Specification) -> Finding:
        """Judge the placebo laws."""
        ground = _ground(spec)
        total = len(ground.dates) * comb(len(ground.clusters), ground.treated)
        if total <= self.draws:
            laws, how = ground.every_law(), message("self_size.enumerated")
        elif self.seed is None:
            raise DesignError(
                f"there are {total:.3g} placebo laws, more than draws = {self.draws}",
                where="SelfSize",
                remedy=f"give seed=, for example SelfSize(draws={self.draws}, seed=1)",
            )
        else:
            laws, how = ground.draw_laws(self.draws, self.seed), message("self_size.drawn")
        table = pd.DataFrame([_judge(spec, ground, date, chosen) for date, chosen in laws], columns=_COLUMNS)
        judged = table[table["p_value"].notna()]
        if judged.empty:
            raise DesignError("no placebo law can be judged", where="SelfSize", remedy=str(table["why"].iloc[0]))
        if len(judged) < len(table):
            how = message("self_size.failed", how=how, failed=len(table) - len(judged))
        return self._conclude(spec, ground, table, how)

    def _conclude(self, spec: Specification, ground: Ground, table: pd.DataFrame, how: Message) -> Finding:
        laws = int(table["p_value"].notna().sum())
        found = int(table["significant"].sum())
        interval = stats.binomtest(found, laws).proportion_ci(_LEVEL, method="exact")
        low, high = float(interval.low), float(interval.high)
        verdict: Verdict = "pass"
        key = "below" if high < NOMINAL else "within"
        if low > NOMINAL:
            verdict, key = "fail", "above"
        elif laws < _ENOUGH:
            verdict, key = "inconclusive", "few"
        sentence = message(
            f"finding.self_size_{key}",
            laws=laws,
            treated=ground.treated,
            clusters=len(ground.clusters),
            level=spec.design.assigned_at,
            periods=ground.periods,
            how=how,
            size=f"{100 * found / laws:.1f}",
            nominal=f"{100 * NOMINAL:g}",
            low=f"{100 * low:.1f}",
            high=f"{100 * high:.1f}",
            verdict=message(f"verdict.{verdict}"),
        )
        null = message("null.self_size")
        axis = message("chart.p_value")
        chart = Chart("counts", message("chart.self_size"), value="p_value", axis=axis, marks=(NOMINAL,))
        return Finding("SelfSize", null, found / laws, float("nan"), NOMINAL, verdict, sentence, table, chart)


@dataclass(frozen=True)
class Ground:
    """Where placebo laws can be passed.

    before (n,) flags the rows before the true adoption, of so many periods; dates are the positions at which a law can start,
    clusters the codes of the units of assignment there, of which a law treats so many.
    """

    before: Flags
    periods: int
    dates: Ints
    clusters: Ints
    treated: int

    def every_law(self) -> Iterator[tuple[int, Ints]]:
        """Yield every date with every choice of units of assignment."""
        for date in self.dates:
            for chosen in combinations(self.clusters.tolist(), self.treated):
                yield int(date), np.array(chosen)

    def draw_laws(self, draws: int, seed: int) -> Iterator[tuple[int, Ints]]:
        """Yield random ones, all equally likely."""
        rng = np.random.default_rng(np.random.SeedSequence([seed, crc32(b"self_size")]))
        for _ in range(draws):
            date = int(rng.choice(self.dates))
            yield date, np.sort(rng.choice(self.clusters, self.treated, replace=False))


def _ground(spec: Specification) -> Ground:
    """Find the rows before the first adoption; DesignError where these are too few for a law with a before and an after."""
    sample = draw_sample(spec.panel, spec.design)
    adoption = sample.cluster_adoption()
    adopters = adoption <= sample.period.max()
    first = adoption[adopters].min() - spec.design.anticipation
    early = sample.period < first
    periods = np.unique(sample.period[early])
    if len(periods) < 3:
        raise DesignError(
            f"there are {len(periods)} periods before the first adoption (and anticipation), and a placebo law needs 3",
            where="SelfSize",
            remedy="add earlier periods: two before a placebo law and one after it",
        )
    before = np.zeros(len(spec.panel), dtype=bool)
    before[sample.rows[early]] = True
    clusters = np.unique(sample.cluster[early])
    treated = int(adopters.sum())
    if treated >= len(clusters):
        raise DesignError(
            f"{treated} units of assignment are treated in the end, and {len(clusters)} are there before: a placebo law would "
            "leave none to compare with",
            where="SelfSize",
            remedy="add units that are not treated",
        )
    return Ground(before, len(periods), periods[1:], clusters, treated)


def _judge(spec: Specification, ground: Ground, date: int, chosen: Ints) -> dict[str, object]:
    """Estimate and judge one placebo law."""
    assigned, _ = read_assignment(spec.panel, spec.design)
    row: dict[str, object] = {
        "start": spec.panel.periods.label(date),
        "treated": ", ".join(str(assigned.labels[c]) for c in chosen),
        "significant": False,
        "why": "",
    }
    adoption = np.where(np.isin(assigned.values, chosen), float(date), np.inf)
    try:
        panel, design = with_adoption(spec.panel, replace(spec.design, anticipation=0), adoption)
        law = replace(spec, panel=panel, design=design)
        fit = spec.estimator.fit(panel, design, ground.before)
        told = headline(Estimate(fit, spec.inference.assess(fit, law), law))
    except EvalkitError as error:
        row["why"] = str(error)
        return row
    p = told["p_value"]
    row |= {"estimate": told["estimate"], "std_error": told["std_error"], "p_value": p, "significant": p < NOMINAL}
    return row
