"""GroupGap: do two groups differ, as far as their printed estimates and standard errors can tell?"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass

from evalkit.catalogue import Message, message
from evalkit.claim import Judgement, Mismatch, Verdict
from evalkit.claims._arithmetic import critical, half_unit, show, show_p, two_sided
from evalkit.claims._stated import (
    require_clusters,
    require_decimals,
    require_equal_lengths,
    require_mismatch,
    require_numbers,
)
from evalkit.errors import ConfigError
from evalkit.table import Table


@dataclass(frozen=True, kw_only=True)
class GroupGap:
    """Test the first group's estimate against the second's, whose covariance is not printed, at `level`, two-sided.

    The groups are taken as independent, unless `pooled_std_error` (of both together) is given: if the pooled estimate is their
    inverse-variance mean, that error implies their correlation, which is used instead. Consistent where p < level whatever the
    numbers were before rounding to `decimals` digits, `otherwise` where p >= level, ambiguous where rounding decides (taken at
    the ends of each rounding interval). By the normal distribution, which favours the source; with `clusters` the sentence adds
    t(clusters - 1). Computes the gap.
    """

    estimates: tuple[float, ...]
    std_errors: tuple[float, ...]
    decimals: int
    level: float = 0.05
    pooled_std_error: float | None = None
    clusters: int | None = None
    otherwise: Mismatch

    def __post_init__(self) -> None:
        require_equal_lengths("GroupGap", 2, estimates=self.estimates, std_errors=self.std_errors)
        require_numbers("GroupGap", estimates=self.estimates)
        pooled = () if self.pooled_std_error is None else (self.pooled_std_error,)
        require_numbers(
            "GroupGap", positive=True, std_errors=self.std_errors, pooled_std_error=pooled, level=self.level
        )
        require_decimals("GroupGap", self.decimals)
        require_clusters("GroupGap", self.clusters)
        require_mismatch("GroupGap", self.otherwise)
        if self.level >= 1:
            raise ConfigError(f"level is {self.level}", where="GroupGap", remedy="give a share, such as 0.05")

    def judge(self, tables: Mapping[str, Table]) -> Judgement:
        """Compute gap, p-value and the correlation that significance needs."""
        gap = self.estimates[0] - self.estimates[1]
        first, second = self.std_errors
        error = math.hypot(first, second)
        sentence = message("claim.gap", gap=show(gap), std_error=show(error), p=show_p(two_sided(gap / error)))
        low, high = self._p_range(gap)
        if self.pooled_std_error is not None:
            correlation = _implied_correlation(first, second, self.pooled_std_error)
            if abs(correlation) > 1:
                what = f"the printed errors imply a correlation of {correlation:.2f} between the groups, which none can have"
                remedy = "leave pooled_std_error out: the pooled estimate is no weighted mean of these groups"
                raise ConfigError(what, where="GroupGap", remedy=remedy)
            p = two_sided(gap / _gap_error(first, second, correlation))
            sentence = message(
                "claim.gap_pooled",
                sentence=sentence,
                correlation=f"{correlation:.2f}",
                p=show_p(p),
                low=f"{low:.3f}",
                high=f"{high:.3f}",
            )
        verdict: Verdict = "consistent" if high < self.level else self.otherwise if low >= self.level else "ambiguous"
        return Judgement(gap, verdict, self._needed(gap, sentence))

    def _p_range(self, gap: float) -> tuple[float, float]:
        """Return the smallest and largest p-value of numbers that round to the printed ones."""
        half = half_unit(self.decimals)
        found = []
        errors = (*self.std_errors, *([] if self.pooled_std_error is None else [self.pooled_std_error]))
        for signs in itertools.product((-half, 0.0, half), repeat=len(errors)):
            first, second, *pooled = (max(e + s, half / 2) for e, s in zip(errors, signs, strict=True))
            correlation = _implied_correlation(first, second, pooled[0]) if pooled else 0.0
            error = _gap_error(first, second, correlation) if abs(correlation) <= 1 else 0.0
            if error > 0:
                found += [two_sided(max(abs(gap) + shift, 0.0) / error) for shift in (-2 * half, 0.0, 2 * half)]
        return (min(found), max(found)) if found else (math.nan, math.nan)

    def _needed(self, gap: float, sentence: Message) -> Message:
        """Add the correlation of the two estimates above which the gap is significant."""
        percent = f"{100 * self.level:g}"
        normal = f"{self._needed_correlation(gap, math.inf):.2f}"
        if self.clusters is None:
            return message("claim.gap_needed", sentence=sentence, level=percent, normal=normal)
        df = self.clusters - 1
        t = f"{self._needed_correlation(gap, df):.2f}"
        return message("claim.gap_needed_t", sentence=sentence, level=percent, normal=normal, t=t, df=df)

    def _needed_correlation(self, gap: float, df: float) -> float:
        first, second = self.std_errors
        largest = gap / critical(self.level, df)  # the standard error at which the gap is just significant
        return (first**2 + second**2 - largest**2) / (2 * first * second)


def _gap_error(first: float, second: float, correlation: float) -> float:
    return math.sqrt(max(first**2 + second**2 - 2 * correlation * first * second, 0.0))


def _implied_correlation(first: float, second: float, pooled: float) -> float:
    """Solve the variance of an inverse-variance mean for the correlation of its two parts."""
    share = second**2 / (first**2 + second**2)
    own = (share * first) ** 2 + ((1 - share) * second) ** 2
    return (pooled**2 - own) / (2 * share * (1 - share) * first * second)
