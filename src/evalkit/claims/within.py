"""Within: does a figure lie in the range that other figures leave it?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from evalkit.catalogue import message
from evalkit.claim import Judgement, Mismatch
from evalkit.claims._arithmetic import is_near, ratio, show, worked
from evalkit.claims._stated import require_mismatch, require_numbers, require_some
from evalkit.errors import ConfigError
from evalkit.table import Table


@dataclass(frozen=True, kw_only=True)
class Within:
    """Compare the product of `times` divided by `over` with a range; `low` and `high` are products too, all positive.

    Consistent within the range, its ends included; `otherwise` outside. Computes the figure.
    """

    times: tuple[float, ...]
    over: tuple[float, ...] = ()
    low: tuple[float, ...]
    high: tuple[float, ...]
    otherwise: Mismatch

    def __post_init__(self) -> None:
        require_some("Within", times=self.times, low=self.low, high=self.high)
        require_numbers("Within", positive=True, times=self.times, over=self.over, low=self.low, high=self.high)
        require_mismatch("Within", self.otherwise)
        if ratio(self.low) > ratio(self.high):
            raise ConfigError(
                f"the range runs from {ratio(self.low):g} down to {ratio(self.high):g}",
                where="Within",
                remedy="exchange low and high",
            )

    def judge(self, tables: Mapping[str, Table]) -> Judgement:
        """Compute the figure and place it."""
        computed, low, high = ratio(self.times, self.over), ratio(self.low), ratio(self.high)
        values = {"worked": worked(self.times, self.over), "low": worked(self.low), "high": worked(self.high)}
        if low <= computed <= high or is_near(computed, low, 0) or is_near(computed, high, 0):
            return Judgement(computed, "consistent", message("claim.range_inside", **values))
        below = computed < low
        near, far = (low / computed, high / computed) if below else (computed / high, computed / low)
        sentence = message(f"claim.range_{'below' if below else 'above'}", near=show(near), far=show(far), **values)
        return Judgement(computed, self.otherwise, sentence)
