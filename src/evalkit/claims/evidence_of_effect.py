"""Claims of an effect: do stars, gaps between groups and growth say what the source takes them to say?"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from evalkit.catalogue import Message, message
from evalkit.claims._worked import critical, half_unit, list_messages, show, show_p, two_sided
from evalkit.claims.claim import (
    ClaimVerdict,
    Judgement,
    Mismatch,
    require_clusters,
    require_decimals,
    require_equal_lengths,
    require_mismatch,
    require_numbers,
    require_some,
)
from evalkit.errors import ConfigError, DataError, nearest
from evalkit.tables.columns import name_rows, numbers, require_column
from evalkit.tables.table import Table

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
        sentence = message("claim.stars", rows=list_messages(self._row(i, math.inf) for i in range(len(self.rows))))
        if self.clusters is not None:
            df = self.clusters - 1
            rows = list_messages(self._row(i, df) for i in range(len(self.rows)))
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
        verdict: ClaimVerdict = (
            "consistent" if high < self.level else self.otherwise if low >= self.level else "ambiguous"
        )
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


@dataclass(frozen=True, kw_only=True)
class GrowthStandsOut:
    """Compare a series' growth in `year` with that of every earlier year, and with that of the units `against` it in `year`.

    `table` has a column of units (`of` and `against` name some), of whole years (`time`) and of positive values (`value`).
    Consistent where the growth exceeds all of them, `otherwise` where any is as large: the series then shows no effect of what
    happened in `year`. Computes the growth, in per cent of the year before.
    """

    table: str
    unit: str
    time: str
    value: str
    of: str
    year: int
    against: tuple[str, ...] = ()
    otherwise: Mismatch

    def __post_init__(self) -> None:
        require_mismatch("GrowthStandsOut", self.otherwise)
        if self.of in self.against:
            raise ConfigError(
                f"'{self.of}' is set against itself", where="GrowthStandsOut", remedy="name other units in against"
            )

    def judge(self, tables: Mapping[str, Table]) -> Judgement:
        """Compute growth rates from the table and rank them."""
        if self.table not in tables:
            remedy = f"name a source of the study; {nearest(self.table, tables)}"
            raise ConfigError(f"there is no table '{self.table}'", remedy=remedy)
        frame = tables[self.table].frame
        own = self._series(frame, self.of)
        growth = self._growth(own, self.of, self.year)
        earlier = {y: self._growth(own, self.of, y) for y in sorted(own) if y < self.year and y - 1 in own}
        others = {unit: self._growth(self._series(frame, unit), unit, self.year) for unit in self.against}
        if not earlier and not others:
            what = f"no earlier year and no other unit can be compared with {self.year}"
            raise ConfigError(what, where=f"table '{self.table}'", remedy="add earlier years, or name units in against")
        parts = []
        if earlier:
            when = max(earlier, key=lambda y: earlier[y])
            largest = f"{earlier[when]:.1f}"
            parts.append(message("claim.growth_earlier", unit=self.of, year=when, growth=largest, years=len(earlier)))
        parts += [
            message("claim.growth_unit", unit=unit, year=self.year, growth=f"{value:.1f}")
            for unit, value in others.items()
        ]
        stands_out = growth > max([*earlier.values(), *others.values()])
        sentence = message(
            f"claim.growth_{'stands_out' if stands_out else 'is_ordinary'}",
            told=message("claim.growth_unit", unit=self.of, year=self.year, growth=f"{growth:.1f}"),
            others=list_messages(parts),
        )
        return Judgement(growth, "consistent" if stands_out else self.otherwise, sentence)

    def _series(self, frame: pd.DataFrame, unit: str) -> dict[int, float]:
        """Return a unit's values by year, those that are not missing."""
        require_column(frame, self.unit)
        names = frame[self.unit].astype(str).to_numpy()
        rows = names == unit
        if not rows.any():
            remedy = nearest(unit, dict.fromkeys(names.tolist()))
            raise ConfigError(f"column '{self.unit}' has no '{unit}'", where=f"table '{self.table}'", remedy=remedy)
        years, values = numbers(frame, self.time), numbers(frame, self.value)
        missing = np.isnan(values)
        wrong = rows & ~missing & ~((values > 0) & np.isfinite(values))
        if wrong.any():
            remedy = "growth needs values above 0"
            raise DataError("a value is not positive", where=name_rows(frame, wrong, self.value), remedy=remedy)
        wrong = rows & (years != np.round(years))
        if wrong.any():
            remedy = "give whole years"
            raise DataError(
                "a year is missing or no whole number", where=name_rows(frame, wrong, self.time), remedy=remedy
            )
        wrong = rows & pd.Series(years).where(rows).duplicated().to_numpy()
        if wrong.any():
            remedy = "keep one row for a unit and year"
            raise DataError(f"'{unit}' has a year twice", where=name_rows(frame, wrong, self.time), remedy=remedy)
        used = rows & ~missing
        return {int(year): float(value) for year, value in zip(years[used], values[used], strict=True)}

    def _growth(self, series: dict[int, float], unit: str, year: int) -> float:
        for needed in (year - 1, year):
            if needed not in series:
                what = f"column '{self.value}' has no value of '{unit}' for {needed}"
                raise ConfigError(what, where=f"table '{self.table}'", remedy=f"growth in {year} needs it: add the row")
        return 100 * (series[year] / series[year - 1] - 1)
