"""PooledMean: is the whole sample's estimate the mean of its groups'?"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from evalkit.catalogue import message
from evalkit.claim import Judgement, Mismatch
from evalkit.claims._arithmetic import given, half_unit, is_near
from evalkit.claims._stated import (
    require_decimals,
    require_equal_lengths,
    require_mismatch,
    require_numbers,
)
from evalkit.errors import ConfigError
from evalkit.table import Table

_MAX_GROUPS = 10  # the ends of their rounding intervals are tried in every combination


@dataclass(frozen=True, kw_only=True)
class PooledMean:
    """Compare the `printed` estimate of the whole with the inverse-variance mean of its groups (`rows`).

    Consistent where numbers that round to the printed ones (`decimals` digits) agree, `otherwise` where none do.
    Computes the mean.
    """

    rows: tuple[str, ...]
    estimates: tuple[float, ...]
    std_errors: tuple[float, ...]
    printed: float
    decimals: int
    otherwise: Mismatch

    def __post_init__(self) -> None:
        require_equal_lengths("PooledMean", rows=self.rows, estimates=self.estimates, std_errors=self.std_errors)
        require_numbers("PooledMean", estimates=self.estimates, printed=self.printed)
        require_numbers("PooledMean", positive=True, std_errors=self.std_errors)
        require_decimals("PooledMean", self.decimals)
        require_mismatch("PooledMean", self.otherwise)
        if not 2 <= len(self.rows) <= _MAX_GROUPS:
            what = f"{len(self.rows)} groups are given"
            raise ConfigError(what, where="PooledMean", remedy=f"give 2 to {_MAX_GROUPS} groups")

    def judge(self, tables: Mapping[str, Table]) -> Judgement:
        """Compute the mean, the weight of the first group, and the range that rounding leaves."""
        half = half_unit(self.decimals)
        computed, weight = _weighted(self.estimates, self.std_errors)
        # An error of 0.000 is at least something: a quarter of the last digit stands for it.
        corners = itertools.product(*((max(s - half, half / 2), s + half) for s in self.std_errors))
        reached = [_weighted(self.estimates, corner)[0] for corner in corners]
        low, high = min(reached) - 2 * half, max(reached) + 2 * half  # half for the groups, half for the whole
        fits = low <= self.printed <= high or is_near(self.printed, low, 0) or is_near(self.printed, high, 0)
        sentence = message(
            f"claim.pooled_{'agrees' if fits else 'differs'}",
            mean=f"{computed:.{self.decimals + 1}f}",
            row=self.rows[0],
            weight=f"{100 * weight:.0f}",
            printed=given(self.printed),
            low=f"{low:.{self.decimals + 1}f}",
            high=f"{high:.{self.decimals + 1}f}",
        )
        return Judgement(computed, "consistent" if fits else self.otherwise, sentence)


def _weighted(estimates: Sequence[float], std_errors: Sequence[float]) -> tuple[float, float]:
    """Return the inverse-variance mean and the first group's weight."""
    weights = [1 / error**2 for error in std_errors]
    mean = sum(w * b for w, b in zip(weights, estimates, strict=True)) / sum(weights)
    return mean, weights[0] / sum(weights)
