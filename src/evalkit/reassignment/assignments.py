"""Who could have adopted when: the units of assignment, their dates, the strata within which dates are exchanged."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np

from evalkit.designs.adoption import read_assignment
from evalkit.designs.sample import Sample
from evalkit.errors import DataError, InferenceError
from evalkit.numerics.arrays import Floats, Ints
from evalkit.numerics.permutation import Assignments
from evalkit.results.estimation import Specification
from evalkit.tables.columns import Codes, name_rows


@dataclass(frozen=True)
class Reassigned:
    """Assignments of adoption to the units of assignment `present` (G,), given by their codes.

    dates (J,) are positions on the time axis, sorted, inf = never; an assignment (G,) indexes them. codes (n,) are those of the
    panel's rows.
    """

    present: Ints
    dates: Floats
    source: Assignments
    codes: Ints

    @property
    def actual(self) -> Ints:
        """The assignment that took place (G,)."""
        return self.source.cohort

    def blocks(self, size: int) -> Iterator[Ints]:
        """Yield blocks (B, G) of assignments."""
        each = iter(self.source)
        while block := list(islice(each, size)):
            yield np.array(block)

    def others(self) -> Iterator[Ints]:
        """Yield assignments (G,) besides the actual one."""
        return (one for one in self.source if (one != self.actual).any())

    def positions(self, assignment: Ints) -> Floats:
        """Adoption (n,) of every row of the panel; never, for units of assignment that are not present."""
        everywhere = np.full(int(self.codes.max()) + 1, np.inf)
        everywhere[self.present] = self.dates[assignment]
        adoption: Floats = everywhere[self.codes]
        return adoption


def reassign(
    spec: Specification,
    sample: Sample,
    *,
    draws: int | None,
    seed: int | None,
    strata: str | None,
    alike: bool,
) -> Reassigned:
    """List the assignments that keep how many adopt when, among the units of assignment in the rows that the design draws.

    `alike`: adoption after the last period, and before all others, count as none, where they are none to the estimator.
    Raises InferenceError where there are too many to enumerate, or only one; DataError where a stratum is missing.
    """
    adoption = sample.cluster_adoption()
    present = np.flatnonzero(~np.isnan(adoption))
    if alike:
        adoption[(adoption > sample.period.max()) | (adoption <= sample.period.min())] = np.inf
    dates, cohort = np.unique(adoption[present], return_inverse=True)
    assigned = read_assignment(spec.panel, spec.design)[0]
    stratum = None if strata is None else _strata(spec, assigned, present, strata)
    source = Assignments(cohort.astype(np.int64), stratum, draws, seed)
    level = spec.design.assigned_at
    if not (source.enumerated or source.drawn):
        raise InferenceError(
            f"there are about 10^{source.log10:.0f} ways to assign adoption to {len(present)} {level}, too many to enumerate",
            where="Permutation",
            remedy="give draws= and seed=, for example Permutation(draws=999, seed=1)",
        )
    if source.enumerated and len(source) == 1:
        raise InferenceError(
            f"the actual assignment of adoption to {level} is the only one"
            + ("" if strata is None else f" within {strata}: in each, all adopt at once or none does"),
            where="Permutation",
            remedy="permute within larger strata, or without"
            if strata is not None
            else "add units that adopt at other dates",
        )
    return Reassigned(present, dates, source, assigned.values)


def _strata(spec: Specification, assigned: Codes, present: Ints, column: str) -> Ints:
    """Stratum (G,) of each unit of assignment; a unit that moves counts where it was assigned."""
    panel, level = spec.panel, spec.design.assigned_at
    strata = panel.codes(column)
    rows = np.flatnonzero(np.isin(assigned.values, present) & (panel.codes(level).values == assigned.values))
    here, cluster = strata.values[rows], assigned.values[rows]
    if (here < 0).any():
        missing = np.zeros(len(panel), dtype=bool)
        missing[rows[here < 0]] = True
        raise DataError(
            f"the stratum is missing in {int(missing.sum())} rows",
            where=name_rows(panel.frame, missing, column),
            remedy="fill it in, or leave these rows out",
        )
    lowest = np.full(len(assigned.labels), len(strata.labels))
    np.minimum.at(lowest, cluster, here)
    varies = here != lowest[cluster]
    if varies.any():
        at = int(np.argmax(varies))
        code = int(cluster[at])
        raise InferenceError(
            f"{level} {assigned.labels[code]} lies in two strata: {strata.labels[lowest[code]]} and {strata.labels[here[at]]}",
            where=f"Permutation(strata='{column}')",
            remedy=f"name a column that is the same in all rows of a {level}, such as its prefecture",
        )
    chosen: Ints = lowest[present]
    return chosen
