"""The placebo variance: what adoption would seem to do to units that never adopt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from evalkit.catalogue import message
from evalkit.designs.adoption import read_assignment
from evalkit.errors import InferenceError
from evalkit.numerics.arrays import Floats
from evalkit.numerics.permutation import Assignments
from evalkit.progress import watched
from evalkit.reassignment.assignments import Lottery
from evalkit.reassignment.refits import refit, rows_of
from evalkit.results.clusters import assignment, count_clusters, smallest_p
from evalkit.results.estimation import OnCells, Specification, no_columns
from evalkit.results.fit import Fit
from evalkit.results.loadings import Always, loadings_of
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
    on_cells: ClassVar[OnCells] = "always"

    def __post_init__(self) -> None:
        for name, value, least in (("draws", self.draws, _LEAST_DRAWS), ("seed", self.seed, 0)):
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise InferenceError(
                    f"{name} is {value!r}", where="Placebo", remedy=f"give a whole number from {least} on"
                )

    def assess(self, fit: Fit, spec: Specification) -> Uncertainty:
        """Estimate once per placebo assignment."""
        way = assignment(fit)
        lottery = _among_untreated(fit, spec, way.n_codes, self.draws, self.seed)
        effects = _placebo_effects(fit, spec, lottery)
        spread = effects - effects.mean(axis=0)
        clusters, parts = count_clusters(fit, way)
        df = np.full(len(fit.terms), np.nan)
        for part, counted in zip(fit.parts, parts, strict=True):
            df[part.positions] = counted.control - 1
        level = spec.design.assigned_at
        method = message(
            "method.placebo_enumerated" if lottery.assignments.enumerated else "method.placebo_drawn",
            level=level,
            controls=len(lottery.present),
            assignments=len(effects),
        )
        return Uncertainty(
            spread.T @ spread / len(effects),
            df,
            method,
            smallest_p(fit),
            clusters,
            parts,
            loadings_of(fit, spec, assignment(fit)),
            joint_doubt=Always(message("note.joint_placebo")),
            notes=(message("note.placebo_alike", treated=clusters.treated, control=clusters.control, level=level),),
        )


def _among_untreated(fit: Fit, spec: Specification, n_codes: int, draws: int, seed: int) -> Lottery:
    """The dates of those that adopt, as lots among the units of assignment that never do."""
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
    assignments = Assignments(np.concatenate([cohort, spare]).astype(np.int64), None, draws, seed, many=draws)
    return Lottery(controls, np.append(dates, np.inf), assignments, read_assignment(spec.panel, spec.design)[0].values)


def _placebo_effects(fit: Fit, spec: Specification, lottery: Lottery) -> Floats:
    """Coefficients (B, k) under each placebo assignment."""
    keep = rows_of(fit, spec.panel) & np.isin(lottery.codes, lottery.present)
    effects = []
    for placebo in watched(lottery.assignments, "Placebo", len(lottery.assignments)):
        coefficients, why = refit(fit, lottery.specify(spec, placebo), keep)
        if why:
            raise InferenceError(
                f"a placebo among the untreated {spec.design.assigned_at} cannot be estimated as the actual effect is ({why})",
                where="Placebo",
                remedy="use Jackknife(), or estimate fewer effects",
            )
        effects.append(coefficients)
    return np.array(effects)
