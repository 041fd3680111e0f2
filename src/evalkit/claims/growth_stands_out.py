"""GrowthStandsOut: is the growth of the policy's year unlike other years and other places?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from evalkit.catalogue import message
from evalkit.claim import Judgement, Mismatch
from evalkit.claims._arithmetic import listed
from evalkit.claims._stated import require_mismatch
from evalkit.columns import numbers, place, require_column
from evalkit.errors import ConfigError, DataError, nearest
from evalkit.table import Table


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
            others=listed(parts),
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
            raise DataError("a value is not positive", where=place(frame, wrong, self.value), remedy=remedy)
        wrong = rows & (years != np.round(years))
        if wrong.any():
            remedy = "give whole years"
            raise DataError("a year is missing or no whole number", where=place(frame, wrong, self.time), remedy=remedy)
        wrong = rows & pd.Series(years).where(rows).duplicated().to_numpy()
        if wrong.any():
            remedy = "keep one row for a unit and year"
            raise DataError(f"'{unit}' has a year twice", where=place(frame, wrong, self.time), remedy=remedy)
        used = rows & ~missing
        return {int(year): float(value) for year, value in zip(years[used], values[used], strict=True)}

    def _growth(self, series: dict[int, float], unit: str, year: int) -> float:
        for needed in (year - 1, year):
            if needed not in series:
                what = f"column '{self.value}' has no value of '{unit}' for {needed}"
                raise ConfigError(what, where=f"table '{self.table}'", remedy=f"growth in {year} needs it: add the row")
        return 100 * (series[year] / series[year - 1] - 1)
