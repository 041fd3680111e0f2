"""Arithmetic that the checks of claims share, and how it is written out for a reader."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from scipy import stats

from evalkit.catalogue import Message, message

_ROUNDING = 1e-9  # of binary fractions: 0.1 x 3 is 0.3 here


def quotient(times: Sequence[float], over: Sequence[float] = ()) -> float:
    """Multiply `times` and divide by `over`."""
    return math.prod(times) / math.prod(over)


def is_near(value: float, target: float, tolerance: float) -> bool:
    """Say whether two numbers differ by at most the tolerance, in their own units."""
    return abs(value - target) <= tolerance + _ROUNDING * max(abs(value), abs(target))


def worked(times: Sequence[float], over: Sequence[float] = ()) -> str:
    """Write a product out with its result: "750,000 × 0.57 / 1,000 = 427.5"; a single number as it stands."""
    if len(times) == 1 and not over:
        return given(times[0])
    product = " × ".join(given(value) for value in times)
    divided = "".join(f" / {given(value)}" for value in over)
    return f"{product}{divided} = {show(quotient(times, over))}"


def given(value: float) -> str:
    """Write a stated number with all its digits."""
    return f"{value:,.12g}"


def show(value: float) -> str:
    """Write a computed number with four significant digits, in full from 1,000 on."""
    return f"{value:,.0f}" if abs(value) >= 999.95 else f"{value:.4g}"


def show_p(p: float) -> str:
    """Write a p-value with its sign of relation."""
    return "< 0.0001" if p < 1e-4 else f"= {p:.2g}" if p < 0.01 else f"= {p:.3f}"


def two_sided(t: float, df: float = math.inf) -> float:
    """Two-sided p-value of a t ratio; by the normal distribution without degrees of freedom."""
    return float(2 * stats.t.sf(abs(t), df))


def critical(level: float, df: float = math.inf) -> float:
    """Return the absolute t ratio above which the two-sided p-value is below `level`."""
    return float(stats.t.isf(level / 2, df))


def half_unit(decimals: int) -> float:
    """Half a unit of the last printed digit: how far the unrounded number can lie away."""
    return 0.5 * 10.0**-decimals


def list_messages(parts: Iterable[Message]) -> Message:
    """Join messages into one list in the reader's language."""
    first, *rest = parts
    for part in rest:
        first = message("claim.listed", before=first, after=part)
    return first
