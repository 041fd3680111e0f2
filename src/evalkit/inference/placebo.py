"""The placebo variance: what adoption would seem to do to units that never adopt."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from evalkit.catalogue import message
from evalkit.designs.adoption import read_assignment, with_adoption
from evalkit.errors import InferenceError
from evalkit.numerics.arrays import Floats, Ints
from evalkit.numerics.permutation import count_assignments, draw_assignments, enumerate_assignments
from evalkit.reassignment.refits import refit, rows_of
from evalkit.results.clusters import assignment, count_clusters, smallest_p
from evalkit.results.estimation import Specification, no_columns
from evalkit.results.fit import Fit
from evalkit.results.uncertainty import Uncertainty

_LEAST_DRAWS, _LEAST_LEFT = 50, 2


@dataclass(frozen=True, kw_only=True)
class Placebo:
    """Give the adoption dates to units that never adopt, estimate on these alone, and take the variance of the effects.

    draws  how many random assignments at most; where there are no more in all, each is taken once.
    seed   of the random assignments.

    Works with every estimator and with one treated unit. It presumes that treated units vary as the others do, which a note says.
    t has as many degrees of freedom as there are untreated units of assignment, less one: for a difference of means the variance
    is that of these units. InferenceError where fewer than two would remain untreated. R synthdid reports the standard error
    alone, starts from the weights of the actual estimate and keeps its ridge; here each placebo is estimated from scratch.
    Source: Arkhangelsky, Athey, Hirshberg, Imbens and Wager, American Economic Review 111 (2021), Algorithm 4.
    """

    draws: int
    seed: int

    columns = no_columns

    def __post_init__(self) -> None:
        for name, value, least in (("draws", self.draws, _LEAST_DRAWS), ("seed", self.seed, 0)):
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise InferenceError(
                    f"{name} is {value!r}", where="Placebo", remedy=f"give a whole number from {least} on"
                )

    def assess(self, fit: Fit, spec: Specification) -> Uncertainty:
        """Estimate once per placebo assignment."""
        way = assignment(fit)
        dates, cohort, controls = _untreated(fit, spec, way.n_codes)
        total = count_assignments(cohort)
        exact = total <= self.draws
        assignments = enumerate_assignments(cohort) if exact else draw_assignments(cohort, self.draws, self.seed)
        effects = _placebo_effects(fit, spec, dates, controls, assignments)
        spread = effects - effects.mean(axis=0)
        clusters, parts = count_clusters(fit, way)
        df = np.full(len(fit.terms), np.nan)
        for part, counted in zip(fit.parts, parts, strict=True):
            df[part.positions] = counted.control - 1
        level = spec.design.assigned_at
        method = message(
            "method.placebo_enumerated" if exact else "method.placebo_drawn",
            level=level,
            controls=len(controls),
            assignments=len(effects),
        )
        return Uncertainty(
            spread.T @ spread / len(effects),
            df,
            method,
            smallest_p(fit),
            clusters,
            parts,
            joint_unsupported=message("note.joint_placebo"),
            notes=(message("note.placebo_alike", treated=clusters.treated, control=clusters.control, level=level),),
        )


def _untreated(fit: Fit, spec: Specification, n_codes: int) -> tuple[Floats, Ints, Ints]:
    """Dates of adoption, inf last; how many of the controls get which, as their codes (N0,); and the controls (N0,)."""
    adoption = np.full(n_codes, np.nan)
    for part in fit.parts:
        own = part.sample.cluster_adoption()
        adoption = np.where(np.isnan(own), adoption, own)
    last = max(float(part.sample.period.max()) for part in fit.parts)
    treated, controls = adoption[adoption <= last], np.flatnonzero(adoption > last)
    if len(controls) - len(treated) < _LEAST_LEFT:
        raise InferenceError(
            f"{len(treated)} {spec.design.assigned_at} are treated, and only {len(controls)} never are",
            where="Placebo",
            remedy=f"at least {_LEAST_LEFT} must remain untreated in a placebo: use Jackknife(), or the check PlaceboAssignment",
        )
    dates, cohort = np.unique(treated, return_inverse=True)
    spare = np.full(len(controls) - len(treated), len(dates))
    return np.append(dates, np.inf), np.concatenate([cohort, spare]).astype(np.int64), controls


def _placebo_effects(
    fit: Fit, spec: Specification, dates: Floats, controls: Ints, assignments: Iterable[Ints]
) -> Floats:
    """Coefficients (B, k) under each placebo assignment."""
    assigned = read_assignment(spec.panel, spec.design)[0].values
    keep = rows_of(fit, spec.panel) & np.isin(assigned, controls)
    position = np.full(int(assigned.max()) + 1, np.inf)
    effects = []
    for placebo in assignments:
        position[controls] = dates[placebo]
        panel, design = with_adoption(spec.panel, spec.design, position[assigned])
        coefficients, why = refit(fit, replace(spec, panel=panel, design=design), keep)
        if why:
            raise InferenceError(
                f"a placebo among the untreated {spec.design.assigned_at} cannot be estimated as the actual effect is ({why})",
                where="Placebo",
                remedy="use Jackknife(), or estimate fewer effects",
            )
        effects.append(coefficients)
    return np.array(effects)
