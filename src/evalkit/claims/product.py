"""Product: does a printed figure follow from others by multiplication and division?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from evalkit.catalogue import message
from evalkit.claim import Judgement, Mismatch
from evalkit.claims._arithmetic import given, is_near, ratio, show, worked
from evalkit.claims._stated import require_mismatch, require_numbers, require_some, require_tolerance
from evalkit.table import Table


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
        computed = ratio(self.times, self.over)
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
