"""Power by simulation: on the panel's own layout, by the specification's own estimator and inference."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from scipy import stats

from evalkit.checks._drawn_outcomes import Layout, generator
from evalkit.checks._placebo import after_adoption
from evalkit.errors import EvalkitError
from evalkit.estimation import Estimate

_PRECISION = 1e-4  # of an effect, relative; Monte Carlo error is larger
_DOUBLINGS = 30


@dataclass(frozen=True)
class Drawn:
    """Estimates under no effect with their tests; an effect moves an estimate, and leaves the rest as it is.

    judged holds, for each draw that could be estimated, its estimate and the p-value of a null; `failed` draws find nothing.
    """

    judged: tuple[tuple[float, Callable[[float], float]], ...]
    failed: int
    alpha: float
    _known: dict[int, tuple[float, float]] = field(default_factory=dict, compare=False, repr=False)

    @property
    def draws(self) -> int:
        return len(self.judged) + self.failed

    @property
    def unit(self) -> float:
        """Standard deviation of the estimates."""
        return float(np.std([estimate for estimate, _ in self.judged]))

    def power(self, effect: float) -> float:
        """Share of draws in which an effect is found, in either direction."""
        return sum(p(-effect) < self.alpha for _, p in self.judged) / self.draws

    def excessive_size(self) -> float | None:
        """Share rejected without an effect where that is more than the level, surely (99 %); else None."""
        rejected = round(self.power(0.0) * self.draws)
        interval = stats.binomtest(rejected, self.draws).proportion_ci(0.99, method="exact")
        return rejected / self.draws if interval.low > self.alpha else None

    def smallest(self, target: float) -> float:
        """The positive effect that a share of the draws find, with its own sign; infinite where they find none."""
        high = self.unit
        for _ in range(_DOUBLINGS):
            if self._share(high) >= target:
                break
            high *= 2
        else:
            return float("inf")
        low = 0.0
        while high - low > _PRECISION * high:
            middle = (low + high) / 2
            if self._share(middle) >= target:
                high = middle
            else:
                low = middle
        return high

    def _share(self, effect: float) -> float:
        """Share that find a positive effect; a draw that finds one finds all larger ones, and is not asked again."""
        total = 0
        for i, (estimate, p) in enumerate(self.judged):
            missed, found = self._known.get(i, (-np.inf, np.inf))  # the largest effect missed, the smallest found
            if missed < effect < found:
                if estimate + effect > 0 and p(-effect) < self.alpha:
                    found = effect
                else:
                    missed = effect
                self._known[i] = missed, found
            total += found <= effect
        return total / self.draws


def draw_estimates(layout: Layout, *, draws: int, seed: int, alpha: float) -> Drawn:
    """Draw outcomes without an effect, and estimate each."""
    judged, failed = [], 0
    for i in range(draws):
        try:
            judged.append(_judge(layout.estimate(layout.draw(generator(seed, i)))))
        except EvalkitError:
            failed += 1
    return Drawn(tuple(judged), failed, alpha)


def _judge(one: Estimate) -> tuple[float, Callable[[float], float]]:
    weights, law = after_adoption(one.fit), one.law
    return float(weights @ one.fit.coefficients), lambda null: law.p_value(weights, null)
