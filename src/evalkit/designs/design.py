"""Design: the identification argument."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from evalkit.designs.indicators import Indicators
from evalkit.errors import DesignError, nearest
from evalkit.tables.contents import in_short

Comparison = Literal["not_yet_treated", "never_treated"]


@dataclass(frozen=True, kw_only=True)
class Design:
    """Say whose outcome is compared with whose, and what assigned the treatment.

    outcome       column of the outcome.
    adoption      column with the first treated period of each unit. Empty or infinite means never treated; so does 0, unless the
                  time axis reaches 0: there 0 is a period.
    never         what else means never treated in that column: a number or text, or several, such as -1 or ("无", 9999).
    treated       instead of `adoption`: a 0/1 column, 1 from the first treated period on; it must not switch off.
    assigned_at   column of the units to which the treatment was assigned (counties); adoption is constant within each.
    covariates    numeric columns, entered linearly, and columns of categories, as `ek.indicators("region")`.
    absorb        further fixed effects: columns, or interactions such as "sector*year". Unit and period are always absorbed.
    weights       column of sampling or analytic weights.
    comparison    "not_yet_treated", or "never_treated" where the estimator can tell them apart.
    anticipation  periods before adoption in which units may already respond; they are no basis of comparison.
    dose          column of how much treatment a row gets (a loan, a share of the area), 0 or positive; before adoption, and where
                  never treated, 0 or empty. Effects are then slopes per unit of it.
    eligible      0/1 column of who inside a unit of assignment the treatment is for, the same in all rows of a unit
                  (for TripleDifference).

    above         column of what the units of assignment lie in (prefectures), where shocks may be shared there; ByDesign then
                  judges at that level.

    An estimator that does not use dose or eligible refuses a design that names it.
    """

    outcome: str
    assigned_at: str
    adoption: str | None = None
    treated: str | None = None
    covariates: tuple[str | Indicators, ...] = ()
    absorb: tuple[str, ...] = ()
    weights: str | None = None
    comparison: Comparison = "not_yet_treated"
    anticipation: int = 0
    dose: str | None = None
    eligible: str | None = None
    above: str | None = None
    never: str | int | float | tuple[str | int | float, ...] = ()

    __repr__ = in_short

    def __post_init__(self) -> None:
        if (self.adoption is None) == (self.treated is None):
            raise DesignError(
                "the design needs either adoption or treated, and not both",
                where="Design",
                remedy="name the column of the first treated period (adoption) or the 0/1 column (treated)",
            )
        for name in ("covariates", "absorb"):
            value = getattr(self, name)
            if isinstance(value, str):
                raise DesignError(f"{name} is the text '{value}'", where="Design", remedy=f"write {name}=('{value}',)")
            if isinstance(value, Indicators):
                raise DesignError(
                    f"{name} is one value, not several",
                    where="Design",
                    remedy=f'write covariates=(ek.indicators("{value.of}"),)',
                )
            object.__setattr__(self, name, tuple(value))
        object.__setattr__(self, "never", self._checked_never())
        if self.comparison not in ("not_yet_treated", "never_treated"):
            raise DesignError(
                f"comparison '{self.comparison}' is unknown",
                where="Design",
                remedy=nearest(self.comparison, ("not_yet_treated", "never_treated")),
            )
        if self.anticipation < 0:
            raise DesignError("anticipation is negative", where="Design", remedy="count the periods before adoption")
        for one in self.covariates:
            if not isinstance(one, str | Indicators):
                raise DesignError(
                    f"a covariate is {one!r}",
                    where="Design",
                    remedy='name a numeric column, or write ek.indicators("…") for a column of categories',
                )
        read = self.covariate_columns()
        if len(set(read)) < len(read) or self.outcome in read:
            raise DesignError(
                "a covariate is named twice, or is the outcome", where="Design", remedy="name each column once"
            )
        for name in ("dose", "eligible"):
            value = getattr(self, name)
            if value is not None and value in (self.outcome, self.adoption, self.treated, *read):
                raise DesignError(
                    f"{name} = '{value}' is also the outcome, the adoption or a covariate",
                    where="Design",
                    remedy=f"name a column of its own as {name}, or leave {name} out",
                )

    def _checked_never(self) -> tuple[str | float, ...]:
        """Return what means never treated as a tuple of plain values."""
        given = tuple(self.never) if isinstance(self.never, tuple | list) else (self.never,)
        codes = tuple(code.item() if isinstance(code, np.generic) else code for code in given)
        for code in codes:
            if isinstance(code, bool) or not isinstance(code, str | int | float) or code != code:
                raise DesignError(
                    f"never = {code!r} is neither a number nor text",
                    where="Design",
                    remedy="give what the adoption column writes for never treated, such as -1 or 'never'; empty cells need not "
                    "be declared",
                )
        if codes and self.adoption is None:
            raise DesignError(
                f"never = {codes[0]!r} speaks of the adoption column, and the design names none",
                where="Design",
                remedy="name the column of the first treated period (adoption), or leave never out",
            )
        return codes

    def never_codes(self) -> tuple[str | float, ...]:
        """List what is declared to mean never treated."""
        return self.never if isinstance(self.never, tuple) else (self.never,)

    def covariate_columns(self) -> tuple[str, ...]:
        """List the panel's columns that the covariates are read from; a Sample names the columns that are made of them."""
        return tuple(one if isinstance(one, str) else one.of for one in self.covariates)

    def columns(self) -> tuple[str, ...]:
        """List the panel's columns that the design reads."""
        single = (
            self.outcome,
            self.assigned_at,
            self.adoption,
            self.treated,
            self.weights,
            self.dose,
            self.eligible,
            self.above,
        )
        crossed = (part.strip() for effect in self.absorb for part in effect.split("*"))
        return tuple(dict.fromkeys(c for c in (*single, *self.covariate_columns(), *crossed) if c is not None))
