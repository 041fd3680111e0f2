"""The cluster jackknife: leave out one unit of assignment at a time and estimate anew."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from evalkit.catalogue import Message, message
from evalkit.designs.adoption import read_assignment
from evalkit.errors import InferenceError
from evalkit.inference._basis import name_determined, see
from evalkit.numerics.arrays import Flags, Floats
from evalkit.reassignment.refits import refit, rounding, rows_of
from evalkit.results.clusters import Way, count_clusters, smallest_p, way_of
from evalkit.results.estimation import Specification
from evalkit.results.fit import Fit
from evalkit.results.uncertainty import Clusters, Uncertainty, few_clusters

# With up to so many treated (or control) clusters among at most so many in all, t(G-1) rejects a true null about twice as often
# as it should or more: differences of means of independent normal clusters, 400,000 draws each (2 of 8: .083, of 10: .100; 3 of
# 20: .088, of 30: .102; 4 of 100: .099, of 200: .103).
_TOO_FEW = ((9, 1), (29, 2), (150, 3), (math.inf, 4))


@dataclass(frozen=True)
class Jackknife:
    """Estimate anew without each unit of assignment: V = (G-1)/G · sum of (b₋g - b)(b₋g - b)', t(G-1); known as CV3.

    Works with every estimator, and everything is estimated anew, the weights of a synthetic control included (R synthdid keeps
    them); of a regression the estimates without a cluster follow in closed form. Clusters are the units of assignment, or
    column `by`, which takes a regression. Deviations are taken from the estimate with all clusters. A term that cannot be
    estimated without one of them has no standard error, which a note says; where that holds of every effect (one treated
    county), InferenceError says so.
    Of differences of means of normal clusters that vary alike, a test at 5 % rejects true nulls in .05 of cases with 3 treated of
    8, .09 with 3 of 20, .07 with 5 of 40; where it is .10 or more, the uncertainty says that t(G-1) is no guide. SyntheticDID
    rejects less (.02 to .05 with 3 to 10 treated of 10 and 20); for SyntheticControl the errors are far too wide (.01).
    Source: MacKinnon, Nielsen and Webb, Journal of Applied Econometrics 38 (2023), on CV3.
    """

    by: str | None = None

    def columns(self) -> tuple[str, ...]:
        """Name the column of the clusters."""
        return () if self.by is None else (self.by,)

    def assess(self, fit: Fit, spec: Specification) -> Uncertainty:
        """Estimate once per cluster."""
        way = way_of(self.by, fit, spec)
        # Weights of cohorts change with the clusters, so that averages over cohorts are estimated anew.
        plain = all(part.mapping is None for part in fit.parts)
        if self.by is not None and not plain:
            raise InferenceError(
                "averages over cohorts are estimated anew without each unit of assignment, not without values of a column",
                where=f"Jackknife(by='{self.by}')",
                remedy="leave out by=, or name that column as assigned_at in the design",
            )
        if self.by is not None or (plain and all(part.regression is not None for part in fit.parts)):
            moves, notes = _without_clusters(fit, spec, way, self.by)
        else:
            moves, notes = _deviations(fit, spec, way)
        df = np.full(len(fit.terms), np.nan)
        for part, size in zip(fit.parts, way.sizes, strict=True):
            df[part.positions] = size - 1
            moves[:, part.positions] *= np.sqrt((size - 1) / size)
        covariance = moves.T @ moves
        # What is left of a fit without residuals is rounding, and no standard error.
        none = np.array([term.role != "base" for term in fit.terms]) & (np.diag(covariance) <= rounding(fit) ** 2)
        if none.any():
            covariance[none[:, None] | none] = 0.0
            notes = (*notes, message("note.jackknife_still", terms=_names(fit, none)))
        clusters, parts = count_clusters(fit, way)
        return Uncertainty(
            covariance,
            df,
            message("method.jackknife", level=self.by or spec.design.assigned_at),
            smallest_p(fit),
            clusters,
            parts,
            _too_few(fit, parts),
            few_clusters(*parts, by_cohort=any(part.by_cohort for part in fit.parts))[1],
            notes,
        )


def _without_clusters(fit: Fit, spec: Specification, way: Way, by: str | None) -> tuple[Floats, tuple[Message, ...]]:
    """Change of a regression's coefficients without each cluster, (G, k), as of `_deviations`: -v'(I - Q_g Q_g')^-1 Q_g'u_g.

    Source: MacKinnon, Nielsen and Webb (2023), eq. 11, in an orthonormal basis.
    """
    seen = see(fit, way, "Jackknife")
    notes = name_determined(seen, spec, by, "Jackknife")
    moves: Floats = -seen.leverages.adjust(-1.0, seen.basis.scores) @ seen.directions.T
    return np.where(seen.determined(), np.nan, moves), notes


def _deviations(fit: Fit, spec: Specification, way: Way) -> tuple[Floats, tuple[Message, ...]]:
    """Change of the coefficients without each cluster, (G, k), NaN where a term cannot be estimated; notes name these terms."""
    used, assigned = rows_of(fit, spec.panel), read_assignment(spec.panel, spec.design)[0]
    effects = np.array([term.role == "effect" for term in fit.terms])
    present = np.unique(np.concatenate(way.codes))
    moves = np.zeros((len(present), len(fit.terms)))
    lost: dict[str, list[str]] = {}
    for row, code in enumerate(present):
        coefficients, why = refit(fit, spec, used & (assigned.values != code))
        moves[row] = coefficients - fit.coefficients
        gone = np.isnan(coefficients)
        if gone[effects].all():
            raise InferenceError(
                f"without {spec.design.assigned_at} {assigned.labels[code]} the effect cannot be estimated ({why})",
                where="Jackknife",
                remedy="use Placebo(draws=200, seed=1) or PooledGroups(), or the check PlaceboAssignment",
            )
        if gone.any():
            lost.setdefault(_names(fit, gone), []).append(str(assigned.labels[code]))
    return moves, tuple(
        message("note.jackknife_lost", terms=terms, level=spec.design.assigned_at, left_out=", ".join(names))
        for terms, names in lost.items()
    )


def _names(fit: Fit, chosen: Flags) -> str:
    return ", ".join(term.name for term, one in zip(fit.terms, chosen, strict=True) if one)


def _too_few(fit: Fit, parts: tuple[Clusters, ...]) -> Message | None:
    """Say which part has too few treated or control clusters for t(G-1).

    Effects of cohorts, told apart, need enough in the smallest; an average over cohorts holds its size from two in each on.
    """
    by_cohort = any(part.by_cohort for part in fit.parts)
    told_apart = any((t.cohort, t.event_time, t.period) != (None, None, None) for t in fit.terms if t.role == "effect")
    for clusters in parts:
        treated = clusters.smallest_cohort if by_cohort else clusters.treated
        decisive = treated if told_apart else clusters.treated
        too_few = next(few for total, few in _TOO_FEW if clusters.total <= total)
        if min(decisive, clusters.control) <= too_few or treated < 2:
            return message("note.few_clusters", treated=treated, control=clusters.control)
    return None
