"""Effects under many assignments at once, for estimates that rest on weights of donors: what a fit's `donors` tell.

`see_at_once` says whether they tell all that `Refits` would, and compares with an estimate made anew under another assignment.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from evalkit.designs.sample import Sample
from evalkit.numerics.arrays import Flags, Floats, Ints
from evalkit.reassignment.cost import foretell_weights
from evalkit.reassignment.refits import Refits, effects_of
from evalkit.results.fit import Donors, Fit

_AGREE = 1e-8  # of the outcome's spread


@dataclass(frozen=True)
class AtOnce:
    """The parts of a fit whose E terms are all effects, each with what its donors tell, under the assignments of `refits`."""

    refits: Refits
    donors: tuple[Donors, ...]

    def effects(self, assignments: Ints) -> tuple[Floats, Floats, Flags]:
        """Coefficients (B, E, 1), influence (B, G, E, 1), of which there is none, and where (B,) to estimate anew."""
        lottery, parts = self.refits.lottery, self.refits.fit.parts
        adoption = np.full((len(assignments), len(parts[0].sample.clusters)), np.nan)
        adoption[:, lottery.present] = lottery.dates[assignments]
        b = np.empty((len(assignments), len(self.refits.fit.terms), 1))
        for part, donors in zip(parts, self.donors, strict=True):
            b[:, part.positions, 0] = donors.under(adoption)
        return b, np.zeros((*assignments.shape, *b.shape[1:])), np.asarray(np.isnan(b[:, :, 0]).any(axis=1))

    def foretell(self, n_assignments: int) -> float:
        """Seconds that so many assignments take."""
        return n_assignments * foretell_weights(self.refits.fit, self.refits.spec)

    def drawing(self, refits: Refits) -> AtOnce:
        """The same under the assignments of another lottery."""
        return replace(self, refits=refits)

    def is_right(self) -> bool:
        """Say whether this is what the estimator gives under another assignment, and of the outcome only."""
        if len(self.refits.specs) > 1:
            return False
        spread = max(float(np.std(part.sample.outcome)) for part in self.refits.fit.parts)
        for one in self.refits.lottery.others():
            b, _, anew = self.effects(one[None])
            if not anew[0]:
                known = self.refits.effects_under(one, self.refits.spec)[0]
                return bool(np.abs(b[0, :, 0] - known).max() <= _AGREE * spread)
        return False


def see_at_once(fit: Fit, sample: Sample, refits: Refits) -> AtOnce | None:
    """See whether the donors of a fit's parts start from the rows of `sample`, and tell its effects under other assignments."""
    donors = tuple(part.donors for part in fit.parts if part.donors is not None)
    if len(donors) < len(fit.parts) or len(effects_of(fit)) < len(fit.terms):
        return None
    rows = np.sort(np.concatenate([one.whole.rows for one in donors]))
    found = AtOnce(refits, donors)
    return found if np.array_equal(rows, np.sort(sample.rows)) and found.is_right() else None
