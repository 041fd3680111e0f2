"""Power: the smallest effect that a design can find, before any outcome is read."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pandas as pd

from evalkit.catalogue import Message, message
from evalkit.checks._drawn_outcomes import Layout, generator, lay_out, refuse_not_linear
from evalkit.checks._power_drawn import Drawn, draw_estimates
from evalkit.checks._power_exact import Exact, find_exact
from evalkit.columns import Floats
from evalkit.errors import DesignError
from evalkit.estimation import Estimate, Specification
from evalkit.finding import Finding, Verdict

_LEAST_DRAWS = 50
_MULTIPLES = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5)
_WITHOUT_END = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0)  # standard deviations of the estimate


@dataclass(frozen=True, kw_only=True)
class Power:
    """Find the smallest effect that the specification would find with probability `target` at the level `alpha`.

    noise_sd     standard deviation of what is new in each unit and period.
    place_sd     standard deviation of the shock common to a unit of assignment in a period.
    unit_sd      standard deviation of what is constant in a unit; it counts where units are not followed over time.
    target, alpha  the probability of finding the effect, and the level of the test.
    effect       the effect one hopes for, in the units of the outcome: the check passes if it is at least the smallest.
    draws, seed  how many outcomes to draw where there is no closed form.

    No outcome is read, only in which rows it is missing: the design leaves these out. The closed form is that of the pooled t
    test (noncentral t with G - 2 degrees of freedom): for PooledGroups, one date of adoption, units of assignment of equal size,
    and an estimator that compares their mean changes. Otherwise outcomes are drawn without an effect on these rows, estimated and
    judged as the specification says, and the effect is sought at which `target` of them reject: an effect, alike in all
    treated rows (per unit of dose), moves an estimate and leaves the rest as it is. The table has the power by effect: at 0 it
    is the size of the test. Shocks and noise are normal and drawn anew in every period, as by evalkit.simulate: where they
    last, only larger effects are found. p-values that the design cannot support have no power, and the sentence says so.
    Source: Bloom, Evaluation Review 19 (1995), on minimum detectable effects; Burlig, Preonas and Woerman, Journal of Development
    Economics 144 (2020), on panels.
    """

    noise_sd: float
    place_sd: float
    unit_sd: float = 0.0
    target: float = 0.8
    alpha: float = 0.05
    effect: float | None = None
    draws: int | None = None
    seed: int | None = None

    def __post_init__(self) -> None:
        for name in ("noise_sd", "place_sd", "unit_sd"):
            value = getattr(self, name)
            if not (isinstance(value, int | float) and math.isfinite(value) and value >= 0):
                raise _wrong(name, value, "give a standard deviation, 0 or positive")
        if self.noise_sd == self.place_sd == 0:
            raise DesignError("nothing varies", where="Power", remedy="give noise_sd or place_sd above 0")
        if not 0 < self.alpha < 0.5:
            raise _wrong("alpha", self.alpha, "give the level of the test, such as .05")
        if not 0.5 <= self.target < 1:
            raise _wrong("target", self.target, "give a probability from .5 up to below 1, such as .8")
        if self.effect is not None and not (math.isfinite(self.effect) and self.effect != 0):
            raise _wrong("effect", self.effect, "give a number other than 0")
        for name, least in (("draws", _LEAST_DRAWS), ("seed", 0)):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < least):
                raise _wrong(name, value, f"give a whole number from {least} on")

    def run(self, spec: Specification) -> Finding:
        """Draw outcomes on the design's rows, and solve for the effect."""
        layout = lay_out(spec, noise_sd=self.noise_sd, place_sd=self.place_sd, unit_sd=self.unit_sd)
        outcome = layout.draw(generator(self.seed or 0, 0))
        one = layout.estimate(outcome)
        if one.uncertainty.unsupported is not None:
            sentence = message("finding.power_unsupported", reason=one.uncertainty.unsupported)
            none = pd.DataFrame({"effect": [0.0], "power": [math.nan]})
            return self._finding(math.nan, "inconclusive", sentence, none)
        test: Exact | Drawn | None = find_exact(layout, one, self.alpha)
        if test is None:
            test = self._draw(layout, outcome, one)
        smallest = test.smallest(self.target)
        low, high = self._range(test, smallest)
        asked = [] if self.effect is None else [abs(self.effect)]
        step = (_MULTIPLES, smallest) if math.isfinite(smallest) else (_WITHOUT_END, test.unit)
        effects = sorted({*(multiple * step[1] for multiple in step[0]), *asked})
        table = pd.DataFrame({"effect": effects, "power": [test.power(effect) for effect in effects]})
        verdict: Verdict = "inconclusive"
        if asked and not low <= asked[0] < high:
            verdict = "pass" if asked[0] >= high else "fail"
        sentence = self._sentence(layout, smallest, self._how(test, low, high, one))
        if isinstance(test, Drawn) and (size := test.excessive_size()) is not None:
            sentence = message("finding.power_oversized", sentence=sentence, size=f"{100 * size:.0f}")
            verdict = "inconclusive"
        if asked:
            power = float(table.loc[table["effect"] == asked[0], "power"].iloc[0])
            sentence = message(
                "finding.power_asked",
                sentence=sentence,
                effect=f"{self.effect:.4g}",
                power=f"{100 * power:.0f}",
                verdict=message(f"verdict.{verdict}"),
            )
        return self._finding(smallest, verdict, sentence, table)

    def _draw(self, layout: Layout, outcome: Floats, one: Estimate) -> Drawn:
        if self.draws is None or self.seed is None:
            raise DesignError(
                "the power of this estimator and inference on these rows has no closed form",
                where="Power",
                remedy="give draws= and seed=, for example draws=500, seed=1",
            )
        refuse_not_linear(layout, outcome, one)
        return draw_estimates(layout, draws=self.draws, seed=self.seed, alpha=self.alpha)

    def _range(self, test: Exact | Drawn, smallest: float) -> tuple[float, float]:
        """Ends between which more draws would put the smallest effect, in 95 % of cases."""
        if isinstance(test, Exact):
            return smallest, smallest
        margin = 1.96 * math.sqrt(self.target * (1 - self.target) / test.draws)
        return test.smallest(self.target - margin), test.smallest(min(self.target + margin, 1.0))

    def _how(self, test: Exact | Drawn, low: float, high: float, one: Estimate) -> Message:
        if isinstance(test, Exact):
            return message("power.exact", df=test.df, level=one.spec.design.assigned_at)
        return message(
            "power.drawn_failed" if test.failed else "power.drawn",
            draws=test.draws,
            failed=test.failed,
            method=one.uncertainty.method,
            low=f"{low:.4g}",
            high=f"{high:.4g}",
        )

    def _sentence(self, layout: Layout, smallest: float, how: Message) -> Message:
        adoption = layout.sample.cluster_adoption()
        return message(
            "finding.power" if math.isfinite(smallest) else "finding.power_never",
            treated=int((adoption <= layout.sample.period.max()).sum()),
            control=int((adoption > layout.sample.period.max()).sum()),
            level=layout.spec.design.assigned_at,
            smallest=f"{smallest:.4g}",
            alpha=f"{100 * self.alpha:g}",
            target=f"{100 * self.target:g}",
            noise=f"{self.noise_sd:g}",
            place=f"{self.place_sd:g}",
            how=how,
        )

    def _finding(self, smallest: float, verdict: Verdict, sentence: Message, table: pd.DataFrame) -> Finding:
        if self.effect is None:
            return Finding("Power", None, smallest, math.nan, math.nan, "described", sentence, table)
        return Finding("Power", message("null.power"), smallest, math.nan, self.effect, verdict, sentence, table)


def _wrong(name: str, value: object, remedy: str) -> DesignError:
    return DesignError(f"{name} is {value!r}", where="Power", remedy=remedy)
