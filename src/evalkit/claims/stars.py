"""Stars: do the printed stars follow from the printed coefficients and standard errors?"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from evalkit.catalogue import Message, message
from evalkit.claim import Judgement, Mismatch
from evalkit.claims._arithmetic import half_unit, listed, show_p, two_sided
from evalkit.claims._stated import (
    require_clusters,
    require_decimals,
    require_equal_lengths,
    require_mismatch,
    require_numbers,
    require_some,
)
from evalkit.errors import ConfigError
from evalkit.table import Table

LEVELS = (0.10, 0.05, 0.01)


@dataclass(frozen=True, kw_only=True)
class Stars:
    """Compare stars (* p < .10, ** p < .05, *** p < .01, "" none) with the t ratios of a table's `rows`.

    Consistent where, by the normal distribution, each row's stars can arise from numbers that round to the printed ones
    (`decimals` digits); `otherwise` where a row's cannot. With `clusters` the sentence adds what t(clusters - 1) would say; the
    verdict stays with the normal, which favours the source. Computes the t ratio nearest to 0.
    """

    rows: tuple[str, ...]
    estimates: tuple[float, ...]
    std_errors: tuple[float, ...]
    stars: tuple[str, ...]
    decimals: int
    clusters: int | None = None
    otherwise: Mismatch

    def __post_init__(self) -> None:
        require_some("Stars", rows=self.rows)
        require_equal_lengths(
            "Stars", rows=self.rows, estimates=self.estimates, std_errors=self.std_errors, stars=self.stars
        )
        require_numbers("Stars", estimates=self.estimates)
        require_numbers("Stars", positive=True, std_errors=self.std_errors)
        require_decimals("Stars", self.decimals)
        require_clusters("Stars", self.clusters)
        require_mismatch("Stars", self.otherwise)
        for one in self.stars:
            if one not in ("", "*", "**", "***"):
                raise ConfigError(f"stars holds {one!r}", where="Stars", remedy='give "", "*", "**" or "***"')

    def judge(self, tables: Mapping[str, Table]) -> Judgement:
        """Compute t ratios and p-values and compare the stars."""
        ratios = [b / s for b, s in zip(self.estimates, self.std_errors, strict=True)]
        kept = all(self._fits(i, math.inf) for i in range(len(self.rows)))
        sentence = message("claim.stars", rows=listed(self._row(i, math.inf) for i in range(len(self.rows))))
        if self.clusters is not None:
            df = self.clusters - 1
            rows = listed(self._row(i, df) for i in range(len(self.rows)))
            sentence = message("claim.stars_clusters", sentence=sentence, clusters=self.clusters, df=df, rows=rows)
        return Judgement(min(ratios, key=abs), "consistent" if kept else self.otherwise, sentence)

    def _row(self, i: int, df: float) -> Message:
        t = self.estimates[i] / self.std_errors[i]
        p = two_sided(t, df)
        values = {"row": self.rows[i], "t": f"{t:.2f}", "p": show_p(p), "printed": _words(len(self.stars[i]))}
        if self._fits(i, df):
            return message("claim.stars_kept", **values)
        return message("claim.stars_changed", now=_words(_count(p)), **values)

    def _fits(self, i: int, df: float) -> bool:
        """Say whether numbers that round to the printed ones can earn the printed stars."""
        b, s, half = abs(self.estimates[i]), self.std_errors[i], half_unit(self.decimals)
        fewest = _count(two_sided(max(b - half, 0.0) / (s + half), df))
        most = _count(two_sided((b + half) / (s - half), df)) if s > half else len(LEVELS)
        return fewest <= len(self.stars[i]) <= most


def _count(p: float) -> int:
    return sum(p < level for level in LEVELS)


def _words(number: int) -> str | Message:
    return "*" * number if number else message("claim.no_star")
