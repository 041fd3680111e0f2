"""Restated: two figures of one source, set side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from evalkit.catalogue import message
from evalkit.claim import Judgement, Mismatch, Verdict
from evalkit.claims._arithmetic import given, is_near, ratio, show, worked
from evalkit.claims._stated import require_mismatch, require_numbers, require_some, require_tolerance
from evalkit.errors import ConfigError
from evalkit.table import Table


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
        computed = ratio(self.times, self.over)
        agree = is_near(computed, self.printed, self.relative * self.printed)
        same = self.of == self.printed_of
        verdict: Verdict = "consistent" if agree == same else self.otherwise if same else "ambiguous"
        sentence = message(
            f"claim.restated_{'same' if same else 'other'}_{'agrees' if agree else 'differs'}",
            worked=worked(self.times, self.over),
            of=self.of,
            printed=given(self.printed),
            printed_of=self.printed_of,
            factor=show(max(computed / self.printed, self.printed / computed)),
        )
        return Judgement(computed, verdict, sentence)
