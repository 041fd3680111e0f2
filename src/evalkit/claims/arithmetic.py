"""Claims by arithmetic: do printed figures follow from one another, and from what was printed elsewhere?"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from evalkit.catalogue import Message, message
from evalkit.claims._worked import given, half_unit, is_near, list_messages, quotient, show, worked
from evalkit.claims.claim import (
    ClaimVerdict,
    Judgement,
    Mismatch,
    require_decimals,
    require_equal_lengths,
    require_mismatch,
    require_numbers,
    require_some,
    require_tolerance,
)
from evalkit.errors import ConfigError, nearest
from evalkit.tables.table import Table


@dataclass(frozen=True, kw_only=True)
class Product:
    """Compare `printed` with the product of `times` divided by `over`, all positive and in units that fit.

    Consistent where they differ by at most `relative` of the computed figure, `otherwise` elsewhere. Computes the product.
    """

    times: tuple[float, ...]
    over: tuple[float, ...] = ()
    printed: float
    relative: float
    otherwise: Mismatch

    def __post_init__(self) -> None:
        require_some("Product", times=self.times)
        require_numbers("Product", positive=True, times=self.times, over=self.over, printed=self.printed)
        require_tolerance("Product", relative=self.relative)
        require_mismatch("Product", self.otherwise)

    def judge(self, tables: Mapping[str, Table]) -> Judgement:
        """Compute the product and compare."""
        computed = quotient(self.times, self.over)
        arithmetic, printed = worked(self.times, self.over), given(self.printed)
        if is_near(self.printed, computed, self.relative * computed):
            share = show(100 * abs(self.printed / computed - 1))
            return Judgement(
                computed, "consistent", message("claim.product_agrees", worked=arithmetic, printed=printed, share=share)
            )
        how = "high" if self.printed > computed else "low"
        factor = show(max(self.printed / computed, computed / self.printed))
        sentence = message(f"claim.product_{how}", worked=arithmetic, printed=printed, factor=factor)
        return Judgement(computed, self.otherwise, sentence)


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


@dataclass(frozen=True, kw_only=True)
class RestOfMean:
    """Compute what the parts that are not printed must average, given a `mean` over `number` equal parts and the `known` ones.

    Consistent where that lies within `low` to `high`, stated beforehand; `otherwise` outside. Computes the average of the rest.
    """

    mean: float
    number: int
    known: tuple[float, ...]
    low: float
    high: float
    otherwise: Mismatch

    def __post_init__(self) -> None:
        require_some("RestOfMean", known=self.known)
        require_numbers(
            "RestOfMean", mean=self.mean, number=self.number, known=self.known, low=self.low, high=self.high
        )
        require_mismatch("RestOfMean", self.otherwise)
        if self.number <= len(self.known):
            what = f"{len(self.known)} of {self.number} parts are known, so that none is left"
            raise ConfigError(what, where="RestOfMean", remedy="number counts all parts, known and unknown")
        if self.low > self.high:
            what = f"the range runs from {self.low} down to {self.high}"
            raise ConfigError(what, where="RestOfMean", remedy="exchange low and high")

    def judge(self, tables: Mapping[str, Table]) -> Judgement:
        """Compute the average of the rest and place it."""
        rest = self.number - len(self.known)
        computed = (self.number * self.mean - sum(self.known)) / rest
        inside = self.low <= computed <= self.high or any(is_near(computed, end, 0) for end in (self.low, self.high))
        taken = "".join(f" - {given(value)}" if value >= 0 else f" + {given(-value)}" for value in self.known)
        sentence = message(
            f"claim.rest_{'inside' if inside else 'outside'}",
            worked=f"({self.number} × {given(self.mean)}{taken}) / {rest} = {show(computed)}",
            rest=rest,
            low=given(self.low),
            high=given(self.high),
        )
        return Judgement(computed, "consistent" if inside else self.otherwise, sentence)


Scale = Literal["log", "unstated"]


@dataclass(frozen=True, kw_only=True)
class PercentEffect:
    """Compare printed per cents with the coefficients that they stand for: row → coefficient, row → per cent.

    If the outcome is a logarithm the effect is 100 (exp(b) - 1) per cent, not 100 b. A printed per cent that equals the former
    within `tolerance` (percentage points) is consistent. One that equals 100 b only is ambiguous where the source does not state
    its scale. `otherwise` elsewhere; the worst row decides. Computes 100 (exp(b) - 1) of the first printed row.
    """

    coefficients: dict[str, float] = field(hash=False)
    printed: dict[str, float] = field(hash=False)
    scale: Scale
    tolerance: float
    otherwise: Mismatch

    def __post_init__(self) -> None:
        require_some("PercentEffect", coefficients=self.coefficients, printed=self.printed)
        require_numbers("PercentEffect", coefficients=self.coefficients, printed=self.printed)
        require_tolerance("PercentEffect", tolerance=self.tolerance)
        require_mismatch("PercentEffect", self.otherwise)
        if self.scale not in get_args(Scale):
            what = f"scale is {self.scale!r}"
            raise ConfigError(what, where="PercentEffect", remedy=nearest(str(self.scale), get_args(Scale)))
        for row in self.printed:
            if row not in self.coefficients:
                what = f"a per cent is printed for '{row}', which has no coefficient"
                raise ConfigError(what, where="PercentEffect", remedy=nearest(row, self.coefficients))

    def judge(self, tables: Mapping[str, Table]) -> Judgement:
        """Compute both readings of every coefficient and compare the printed ones."""
        found = {self._verdict(row) for row in self.printed}
        order: tuple[ClaimVerdict, ...] = (self.otherwise, "ambiguous", "consistent")
        verdict = next(one for one in order if one in found)
        how = verdict if verdict in ("ambiguous", "consistent") else "otherwise"
        sentence = message(f"claim.percent_{how}", rows=list_messages(self._row(row) for row in self.coefficients))
        return Judgement(_as_log(self.coefficients[next(iter(self.printed))]), verdict, sentence)

    def _verdict(self, row: str) -> ClaimVerdict:
        b, printed = self.coefficients[row], self.printed[row]
        if is_near(printed, _as_log(b), self.tolerance):
            return "consistent"
        return "ambiguous" if self.scale == "unstated" and is_near(printed, 100 * b, self.tolerance) else self.otherwise

    def _row(self, row: str) -> Message:
        b = self.coefficients[row]
        told = message("claim.percent_row", row=row, linear=given(100 * b), log=f"{_as_log(b):.1f}")
        if row not in self.printed:
            return told
        return message("claim.percent_printed", told=told, printed=given(self.printed[row]))


def _as_log(b: float) -> float:
    return 100 * math.expm1(b)


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
        if quotient(self.low) > quotient(self.high):
            raise ConfigError(
                f"the range runs from {quotient(self.low):g} down to {quotient(self.high):g}",
                where="Within",
                remedy="exchange low and high",
            )

    def judge(self, tables: Mapping[str, Table]) -> Judgement:
        """Compute the figure and place it."""
        computed, low, high = quotient(self.times, self.over), quotient(self.low), quotient(self.high)
        values = {"worked": worked(self.times, self.over), "low": worked(self.low), "high": worked(self.high)}
        if low <= computed <= high or is_near(computed, low, 0) or is_near(computed, high, 0):
            return Judgement(computed, "consistent", message("claim.range_inside", **values))
        below = computed < low
        near, far = (low / computed, high / computed) if below else (computed / high, computed / low)
        sentence = message(f"claim.range_{'below' if below else 'above'}", near=show(near), far=show(far), **values)
        return Judgement(computed, self.otherwise, sentence)


@dataclass(frozen=True, kw_only=True)
class Restated:
    """Compare a figure (`times` over `over`, positive), which is `of` one quantity, with `printed`, which is `printed_of` one.

    They agree where they differ by at most `relative` of `printed`. For one quantity: consistent where they agree, `otherwise`
    where not. For two quantities: consistent where they differ, as neither bears on the other; ambiguous where they are the same
    figure, which may belong to one of the two only. Quantities are the same when their names are. Computes the figure.
    """

    times: tuple[float, ...]
    over: tuple[float, ...] = ()
    of: str
    printed: float
    printed_of: str
    relative: float
    otherwise: Mismatch

    def __post_init__(self) -> None:
        require_some("Restated", times=self.times)
        require_numbers("Restated", positive=True, times=self.times, over=self.over, printed=self.printed)
        require_tolerance("Restated", relative=self.relative)
        require_mismatch("Restated", self.otherwise)
        if not self.of.strip() or not self.printed_of.strip():
            raise ConfigError(
                "a quantity has no name", where="Restated", remedy="say what each figure is of: of, printed_of"
            )

    def judge(self, tables: Mapping[str, Table]) -> Judgement:
        """Compute the figure and compare."""
        computed = quotient(self.times, self.over)
        agree = is_near(computed, self.printed, self.relative * self.printed)
        same = self.of == self.printed_of
        verdict: ClaimVerdict = "consistent" if agree == same else self.otherwise if same else "ambiguous"
        sentence = message(
            f"claim.restated_{'same' if same else 'other'}_{'agrees' if agree else 'differs'}",
            worked=worked(self.times, self.over),
            of=self.of,
            printed=given(self.printed),
            printed_of=self.printed_of,
            factor=show(max(computed / self.printed, self.printed / computed)),
        )
        return Judgement(computed, verdict, sentence)
