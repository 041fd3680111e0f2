"""Claims of timing: was a period before a policy free of other policies?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from evalkit.catalogue import message
from evalkit.claims._worked import list_messages
from evalkit.claims.claim import Judgement, Mismatch, require_mismatch, require_numbers, require_some
from evalkit.errors import ConfigError
from evalkit.tables.table import Table


@dataclass(frozen=True, kw_only=True)
class CleanPeriod:
    """Count the years from `first` to `last` that fall in or after the start of another policy: name → first year.

    Such a policy is taken to run on. Consistent where it covers none of the years, `otherwise` where any. Computes the number of
    years covered.
    """

    first: int
    last: int
    others: dict[str, int] = field(hash=False)
    otherwise: Mismatch

    def __post_init__(self) -> None:
        require_some("CleanPeriod", others=self.others)
        require_numbers("CleanPeriod", first=self.first, last=self.last, others=self.others)
        require_mismatch("CleanPeriod", self.otherwise)
        if self.first > self.last:
            what = f"the period runs from {self.first} back to {self.last}"
            raise ConfigError(what, where="CleanPeriod", remedy="exchange first and last")

    def judge(self, tables: Mapping[str, Table]) -> Judgement:
        """Count the years covered."""
        covered = max(0, self.last - max(self.first, min(self.others.values())) + 1)
        sentence = message(
            f"claim.period_{'covered' if covered else 'clean'}",
            first=self.first,
            last=self.last,
            years=self.last - self.first + 1,
            covered=covered,
            others=list_messages(message("claim.period_policy", name=n, year=y) for n, y in self.others.items()),
        )
        return Judgement(float(covered), self.otherwise if covered else "consistent", sentence)
