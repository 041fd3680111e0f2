"""Derivation: columns computed from others by a closed list of verbs, with their units."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pandas as pd

from evalkit.columns import Floats, numbers, place, require_column
from evalkit.errors import DataError


class Derivation(Protocol):
    """A rule that makes one column from others."""

    def compute(self, frame: pd.DataFrame, time: str) -> Floats:
        """Compute the column's values (n,); missing stays missing."""
        ...

    def unit(self, units: dict[str, str]) -> str | None:
        """Say the unit of the result, given the units of the columns; None where it has none."""
        ...


@dataclass(frozen=True)
class Log:
    """The natural logarithm of a column; see `log`."""

    of: str

    def compute(self, frame: pd.DataFrame, time: str) -> Floats:
        values = numbers(frame, self.of)
        wrong = values <= 0
        if wrong.any():
            raise DataError(
                f"'{self.of}' is zero or negative in {int(wrong.sum())} rows and has no logarithm there",
                where=place(frame, wrong, self.of),
                remedy="leave these rows out by name, or choose another outcome",
            )
        result: Floats = np.log(values)
        return result

    def unit(self, units: dict[str, str]) -> str | None:
        return "log points"


@dataclass(frozen=True)
class AtLeast:
    """1 where a column is at least a value, else 0; see `at_least`."""

    of: str
    value: float

    def compute(self, frame: pd.DataFrame, time: str) -> Floats:
        values = numbers(frame, self.of)
        return np.where(np.isnan(values), np.nan, (values >= self.value).astype(np.float64))

    def unit(self, units: dict[str, str]) -> str | None:
        return None


@dataclass(frozen=True)
class EqualWeight:
    """Weights under which each value of a column weighs alike in each period; see `equal_weight`."""

    of: str
    times: str | None = None

    def compute(self, frame: pd.DataFrame, time: str) -> Floats:
        require_column(frame, self.of)
        base = np.ones(len(frame)) if self.times is None else numbers(frame, self.times)
        groups = [frame[self.of].to_numpy(), frame[time].to_numpy()]
        total = pd.Series(base).groupby(groups, dropna=False).transform("sum").to_numpy(dtype=np.float64)
        weight = np.where(frame[self.of].isna(), np.nan, base / total)
        scaled: Floats = weight / np.nanmean(weight)
        return scaled

    def unit(self, units: dict[str, str]) -> str | None:
        return None


def log(of: str) -> Log:
    """Derive the natural logarithm of a column; zero and negative values are refused by row, never made infinite."""
    return Log(of)


def at_least(of: str, value: float) -> AtLeast:
    """Derive 1 where a column is at least `value` and 0 where it is less."""
    return AtLeast(of, value)


def equal_weight(of: str, times: str | None = None) -> EqualWeight:
    """Derive weights, 1 on average, under which each value of column `of` weighs alike in each period.

    `times` names a column of weights that are kept in proportion within it. With them an estimate lets counties (say) count
    equally, however many farms were observed in each: another estimand than the average farm's.
    """
    return EqualWeight(of, times)


VERBS = {"log": Log, "at_least": AtLeast, "equal_weight": EqualWeight}
