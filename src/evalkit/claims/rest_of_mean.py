"""RestOfMean: a mean and some of its parts say what the other parts must be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from evalkit.catalogue import message
from evalkit.claim import Judgement, Mismatch
from evalkit.claims._arithmetic import given, is_near, show
from evalkit.claims._stated import require_mismatch, require_numbers, require_some
from evalkit.errors import ConfigError
from evalkit.table import Table


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
