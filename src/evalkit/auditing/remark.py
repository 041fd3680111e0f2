"""Remark: one line of an audit."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from evalkit.catalogue import Message
from evalkit.numerics.arrays import Flags, Ints

Severity = Literal["error", "warning", "note"]
"""Errors contradict what the same pages say; warnings are unusual; notes say what a reader has to know."""


@dataclass(frozen=True)
class Remark:
    """What is remarked on a value, which stands in a row of the audited frame.

    `is_table` says that it is about all regions of that indicator and year, of which the row is the first. `against` names what
    the value was compared with.
    """

    kind: str
    severity: Severity
    row: int
    said: Message
    expected: float = math.nan
    difference: float = math.nan
    tolerance: float = math.nan
    is_table: bool = False
    against: str = ""


@dataclass(frozen=True)
class Compared:
    """Which values a check compared, by their rows (k,), and which of them it found wanting."""

    kind: str
    rows: Ints
    wrong: Flags


def write_factor(value: float) -> str:
    """Write a ratio with four digits, however small: 0.0000982, 1.05, 10,000."""
    if value >= 1000:
        return f"{value:,.0f}"
    return np.format_float_positional(value, precision=4, unique=False, fractional=False, trim="-")


def write(value: float, digits: int = 12) -> str:
    """Write a number with at most so many digits, none of them the noise of a float."""
    return f"{value:.{digits}g}"
