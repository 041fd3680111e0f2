"""PercentEffect: a coefficient read as a per cent."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from evalkit.catalogue import Message, message
from evalkit.claim import Judgement, Mismatch, Verdict
from evalkit.claims._arithmetic import given, is_near, listed
from evalkit.claims._stated import require_mismatch, require_numbers, require_some, require_tolerance
from evalkit.errors import ConfigError, nearest
from evalkit.table import Table

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
        order: tuple[Verdict, ...] = (self.otherwise, "ambiguous", "consistent")
        verdict = next(one for one in order if one in found)
        how = verdict if verdict in ("ambiguous", "consistent") else "otherwise"
        sentence = message(f"claim.percent_{how}", rows=listed(self._row(row) for row in self.coefficients))
        return Judgement(_as_log(self.coefficients[next(iter(self.printed))]), verdict, sentence)

    def _verdict(self, row: str) -> Verdict:
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
