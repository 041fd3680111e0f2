"""Indicators: a column of categories as a covariate, one 0/1 column for each of its values but one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from evalkit.catalogue import Message, message
from evalkit.errors import DataError, DesignError, nearest
from evalkit.numerics.arrays import Flags, Floats, Ints
from evalkit.panels.panel import Panel
from evalkit.tables.columns import Codes, name_rows, numbers, write_label

_MOST = 200  # columns of one category
_UNITS_EACH = 3  # units for each of them


@dataclass(frozen=True)
class Indicators:
    """A column of categories among a design's covariates; see `indicators`."""

    of: str
    base: str | int | float | bool | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.of, str):
            raise DesignError(
                f"of is {self.of!r}, and no name of a column",
                where="indicators",
                remedy='name one column, such as ek.indicators("region")',
            )
        if self.base is not None and not isinstance(self.base, str | int | float | bool | np.generic):
            raise DesignError(
                f"base is {self.base!r}, and no value of a column",
                where=f'indicators("{self.of}")',
                remedy="give one value as it stands in the column, or leave base out",
            )

    def name(self, label: Any) -> str:
        """Name the column of a value: "region=东"."""
        return f"{self.of}={write_label(label)}"

    def codes(self, panel: Panel) -> Codes:
        """Read the column's values, -1 where missing; raise DataError for infinite ones."""
        codes = panel.codes(self.of)
        infinite = [i for i, label in enumerate(codes.labels) if isinstance(label, float) and math.isinf(label)]
        if infinite:
            raise DataError(
                f"'{self.of}' is infinite, which is no category",
                where=name_rows(panel.frame, np.isin(codes.values, infinite), self.of),
                remedy="leave these cells empty, or give them a value of their own",
            )
        return codes

    def shares(self, panel: Panel, rows: Ints) -> dict[str, Floats]:
        """Name and 0/1 column (m,) of every value that these rows (m,) of the panel have, NaN where it is missing."""
        codes = self.codes(panel)
        here = codes.values[rows]
        there = np.unique(here[here >= 0]).tolist()
        return {self.name(codes.labels[k]): np.where(here < 0, np.nan, here == k) for k in there}

    def category(self, panel: Panel, rows: Flags) -> Category:
        """Choose the reference and the columns by the flagged rows (n,) of the panel.

        Raises DesignError where there are too many values, or none of them is the base that was asked for.
        """
        codes = self.codes(panel)
        counts = None if panel.counts is None else numbers(panel.frame, panel.counts)[rows]
        often = np.bincount(codes.values[rows], weights=counts, minlength=len(codes.labels))
        there = np.flatnonzero(often)
        units = _count_units(panel, rows, counts)
        most = min(_MOST, units // _UNITS_EACH)
        if len(there) - 1 > most:
            raise DesignError(
                f"'{self.of}' has {len(there)} values, which make {len(there) - 1} indicators, in {units} units; at most "
                f"{most} are taken (one for {_UNITS_EACH} units, and no more than {_MOST})",
                where=f'covariates, indicators("{self.of}")',
                remedy=f"absorb it instead (absorb=('{self.of}',), with an estimator that absorbs), or name a coarser column",
            )
        base = there[np.argmax(often[there])]  # the first of those as frequent: labels are sorted
        if self.base is not None:
            asked = [k for k in there if codes.labels[k] == self.base or write_label(codes.labels[k]) == str(self.base)]
            if not asked:
                known = [write_label(codes.labels[k]) for k in there]
                raise DesignError(
                    f"base is {self.base!r}, and no row that the design uses has {self.of} = {self.base!r}",
                    where=f'covariates, indicators("{self.of}")',
                    remedy=nearest(str(self.base), known),
                )
            base = asked[0]
        return Category(self, codes, int(base), tuple(int(k) for k in there if k != base))


@dataclass(frozen=True)
class Category:
    """The values of a category that have a column, and that of reference, `base`; both as codes."""

    indicators: Indicators
    codes: Codes
    base: int
    others: tuple[int, ...]

    def columns(self, rows: Ints) -> list[tuple[str, Floats]]:
        """Name and 0/1 column (m,) of each value that some of these rows (m,) of the panel have."""
        here = self.codes.values[rows]
        present = np.bincount(here, minlength=len(self.codes.labels)) > 0
        return [
            (self.indicators.name(self.codes.labels[k]), (here == k).astype(np.float64))
            for k in self.others
            if present[k]
        ]

    def note(self) -> Message:
        """Say which value is the reference."""
        told = {"column": self.indicators.of, "base": write_label(self.codes.labels[self.base])}
        if not self.others:
            return message("note.one_category", **told)
        return message("note.indicators", number=len(self.others) + 1, **told)


def _count_units(panel: Panel, rows: Flags, counts: Floats | None) -> int:
    """Count the units (rows, for repeated cross-sections) of flagged rows (n,), as often as these count (m,)."""
    if panel.unit_codes is None:
        return int(rows.sum()) if counts is None else round(float(counts.sum()))
    _, first = np.unique(panel.unit_codes.values[rows], return_index=True)
    return len(first) if counts is None else round(float(counts[first].sum()))


def indicators(of: str, base: str | int | float | bool | None = None) -> Indicators:
    """Take a column of categories (text, codes, truths) as covariate: one 0/1 column for each value but the reference.

    Columns are called `region=东`. The reference is `base`, or else the most frequent value of the rows that the design uses,
    the first in order of those as frequent. Missing values are left out as of any covariate.
    """
    return Indicators(of, base)
