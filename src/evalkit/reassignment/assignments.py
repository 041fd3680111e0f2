"""Who could have adopted when: adoption as a lottery of dates among the units of assignment.

`find_lottery` reads from a design who takes part and which dates there are; the `Lottery` lists the assignments, all or random
ones, and rewrites a specification as it would stand under one of them. Nothing is estimated here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np

from evalkit.designs.adoption import read_assignment, with_adoption
from evalkit.designs.sample import Sample, draw_sample
from evalkit.errors import DataError, InferenceError
from evalkit.numerics.arrays import Flags, Floats, Ints
from evalkit.numerics.permutation import Assignments
from evalkit.results.estimation import Specification
from evalkit.tables.columns import Codes, name_rows


@dataclass(frozen=True)
class Lottery:
    """Dates of adoption as lots: the units of assignment `present` (G,), given by their codes, could have drawn others.

    dates (J,) are positions on the time axis, sorted, inf = never; an assignment (G,) indexes them, and `assignments` lists those
    to go through. codes (n,) are the units of assignment of the panel's rows.
    """

    present: Ints
    dates: Floats
    assignments: Assignments
    codes: Ints

    @property
    def actual(self) -> Ints:
        """The assignment that took place (G,)."""
        return self.assignments.cohort

    def blocks(self, size: int) -> Iterator[Ints]:
        """Yield blocks (B, G) of assignments."""
        each = iter(self.assignments)
        while block := list(islice(each, size)):
            yield np.array(block)

    def others(self) -> Iterator[Ints]:
        """Yield assignments (G,) besides the actual one."""
        return (one for one in self.assignments if (one != self.actual).any())

    def positions(self, assignment: Ints) -> Floats:
        """Adoption (n,) of every row of the panel; never, for units of assignment that do not take part."""
        everywhere = np.full(int(self.codes.max()) + 1, np.inf)
        everywhere[self.present] = self.dates[assignment]
        adoption: Floats = everywhere[self.codes]
        return adoption

    def specify(self, spec: Specification, assignment: Ints) -> Specification:
        """Rewrite a specification as it would stand under an assignment (G,)."""
        panel, design = with_adoption(spec.panel, spec.design, self.positions(assignment))
        return replace(spec, panel=panel, design=design)


def find_lottery(
    spec: Specification,
    sample: Sample,
    *,
    by: str,
    draws: int | None,
    seed: int | None,
    strata: str | None = None,
    alike: bool = False,
) -> Lottery:
    """List the assignments that keep how many adopt when, among the units of assignment in the rows that the design draws.

    `by` names the member that asks. `alike`: adoption after the last period, and before all others, count as none, where they
    are none to the estimator. Raises InferenceError where there are too many to enumerate, or only one; DataError where a
    stratum is missing.
    """
    present, adoption = _adoption(sample)
    if alike:
        adoption[(adoption > sample.period.max()) | (adoption <= sample.period.min())] = np.inf
    dates, cohort = np.unique(adoption, return_inverse=True)
    assigned = read_assignment(spec.panel, spec.design)[0]
    stratum = None if strata is None else _strata(spec, assigned, present, strata, by)
    assignments = Assignments(cohort.astype(np.int64), stratum, draws, seed)
    level = spec.design.assigned_at
    if not (assignments.enumerated or assignments.drawn):
        raise InferenceError(
            f"there are about 10^{assignments.log10:.0f} ways to assign adoption to {len(present)} {level}, "
            "too many to enumerate",
            where=by,
            remedy=f"give {by} draws= and seed=, for example draws=999, seed=1",
        )
    if assignments.enumerated and len(assignments) == 1:
        raise InferenceError(
            f"the actual assignment of adoption to {level} is the only one"
            + ("" if strata is None else f" within {strata}: in each, all adopt at once or none does"),
            where=by,
            remedy="permute within larger strata, or without"
            if strata is not None
            else "add units that adopt at other dates",
        )
    return Lottery(present, dates, assignments, assigned.values)


def can_enumerate(spec: Specification, keep: Flags | None = None) -> bool:
    """Say whether all assignments of adoption are few enough to be enumerated, on the rows flagged in `keep` (n,), if given."""
    _, adoption = _adoption(draw_sample(spec.panel, spec.design, keep))
    cohort = np.unique(adoption, return_inverse=True)[1]
    return Assignments(cohort.astype(np.int64), None, None, None).enumerated


def _adoption(sample: Sample) -> tuple[Ints, Floats]:
    """Units of assignment (G,) in a sample, by code, and their adoption."""
    adoption = sample.cluster_adoption()
    present = np.flatnonzero(~np.isnan(adoption))
    return present, adoption[present]


def _strata(spec: Specification, assigned: Codes, present: Ints, column: str, by: str) -> Ints:
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
            where=f"{by}(strata='{column}')",
            remedy=f"name a column that is the same in all rows of a {level}, such as its prefecture",
        )
    chosen: Ints = lowest[present]
    return chosen
