"""Permutation: the actual effect ranked among those under other assignments of adoption."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from evalkit.catalogue import Message, message
from evalkit.errors import InferenceError
from evalkit.numerics.arrays import Flags, Floats, Ints
from evalkit.numerics.permutation import Moments, Ranked, joint_rank
from evalkit.reassignment.cost import BUDGET, Draws
from evalkit.reassignment.effects import reassign
from evalkit.reassignment.refits import effects_of, influence_of_assigned, part_of_effects, rows_to_keep
from evalkit.results.clusters import assignment, count_clusters, named, only_rounding, smallest_p
from evalkit.results.estimation import OnCells, Specification
from evalkit.results.fit import Fit
from evalkit.results.loadings import loadings_of
from evalkit.results.uncertainty import Joint, Uncertainty
from evalkit.tables.contents import in_short, same_content

_LEAST_DRAWS = 99
_MOST_NUMBERS = 5e7  # of covariances by assignment: 400 MB
_NONE = 1e-9  # response of an effect to the treatment itself below which it is rounding


@dataclass(frozen=True, kw_only=True)
class Permutation:
    """Permute the dates of adoption over the units of assignment, keeping how many adopt when, and rank the actual effect.

    draws, seed  needed where there are more than 10,000 assignments, or all of them would take longer than a minute (60 s,
                 foretold from the design): then p = (1 + #)/(draws + 1); else all are enumerated. draws="all" enumerates up to
                 10,000, whatever it takes.
    strata       a column that is constant in each unit of assignment, such as the prefecture: dates are exchanged within.

    The statistic is |b| over its clustered standard error without factors, both of the same assignment; where the estimator has
    no influence (SyntheticControl, SyntheticDID), |b|. Any combination of effects is ranked in its own right, several jointly by
    their Wald statistic, or by the largest |t| where clusters are too few for it; a coefficient of a covariate has no p. Ties
    count, and so do assignments that cannot be estimated, which a note counts. Standard errors shown are those of the ranking.

    Intervals hold the constant effects r whose p exceeds 1 - level once r times the treatment is taken from the outcome; for a
    gap, half of it is taken from either side. They are exact, and have no end where no p can be that small. Leads, on which a
    constant effect does not show, and estimators that are not linear in the outcome have none. A regression on one treatment or
    on event time needs no new estimates; others are estimated anew, twice per assignment.

    p is exact if adoption was assigned at random (within strata) and no unit is affected under the null; otherwise it says how
    unusual the treated are. With units of unequal size or spread, and a null that holds on average only, a test at 5 % rejects
    from .00 to .13. Where so few could have adopted that p cannot be .05, a note says how small it can be.
    Sources: Fisher, The Design of Experiments (1935), on exactness; MacKinnon and Webb, Journal of Econometrics 218 (2020), on
    ranking t with few treated clusters; Wu and Ding, Journal of the American Statistical Association 116 (2021), on why t.
    """

    draws: Draws = None
    seed: int | None = None
    strata: str | None = None

    def __post_init__(self) -> None:
        draws = None if self.draws == "all" else self.draws
        for name, value, least in (("draws", draws, _LEAST_DRAWS), ("seed", self.seed, 0)):
            if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < least):
                remedy = f"give a whole number from {least} on" + (', or "all"' if name == "draws" else "")
                raise InferenceError(f"{name} is {value!r}", where="Permutation", remedy=remedy)

    on_cells: ClassVar[OnCells] = "always"

    def columns(self) -> tuple[str, ...]:
        """Name the column of the strata."""
        return () if self.strata is None else (self.strata,)

    def assess(self, fit: Fit, spec: Specification) -> Uncertainty:
        """Estimate under each assignment; each combination of effects is ranked when it is asked for."""
        return self.assess_within(BUDGET, fit, spec)

    def assess_within(self, budget: float, fit: Fit, spec: Specification) -> Uncertainty:
        """The same; CostError where all assignments take longer than so many seconds, as foretold, and no draws are given."""
        influence, effects = influence_of_assigned(fit), effects_of(fit)
        k = len(fit.terms)
        covariance = np.full((k, k), np.nan) if influence is None else influence.T @ influence
        permuted = reassign(
            fit,
            spec,
            rows_to_keep(fit, spec),
            by="Permutation",
            draws=self.draws,
            seed=self.seed,
            strata=self.strata,
            alike=True,
            of_treatment=True,
            budget=budget,
        )
        assignments = permuted.lottery.assignments
        if 3 * len(assignments) * len(effects) ** 2 > _MOST_NUMBERS:
            raise InferenceError(
                f"{len(assignments)} assignments times {len(effects)} effects squared is more than memory holds",
                where="Permutation",
                remedy="give fewer draws, or estimate fewer effects",
            )
        actual, others = permuted.moments(studentised=influence is not None)
        covariates = np.array([term.role == "covariate" for term in fit.terms])
        distribution = _PermutationTest(
            covariance, effects, covariates, part_of_effects(fit), actual, others, assignments.enumerated
        )
        clusters, parts = count_clusters(fit, assignment(fit))
        smallest, notes = self._told(fit, spec, distribution)
        method = message(
            "method.permutation" if self.strata is None else "method.permutation_strata",
            level=spec.design.assigned_at,
            strata=self.strata,
            how=message(
                "permutation.all" if distribution.enumerated else "permutation.drawn", assignments=len(assignments)
            ),
            statistic=message("permutation.effect" if influence is None else "permutation.t"),
        )
        nan = np.full(k, np.nan)
        loadings = loadings_of(fit, spec, assignment(fit))
        return Uncertainty(
            covariance, nan, method, smallest, clusters, parts, loadings, notes=notes, distribution=distribution
        )

    def _told(self, fit: Fit, spec: Specification, distribution: _PermutationTest) -> tuple[float, tuple[Message, ...]]:
        """Smallest attainable p, and what must be said besides."""
        each = np.eye(len(fit.terms))[distribution.effects]
        smallest = max(
            (distribution.floor(weights) for weights in each if distribution.can_rank(weights)), default=smallest_p(fit)
        )
        failed = int(np.isnan(distribution.others.coefficients[0]).any(axis=1).sum())
        empty = only_rounding(np.diag(distribution.covariance), fit)
        notes: tuple[Message, ...] = ()
        if empty.any():
            notes = (message("note.no_cluster_variance", terms=named(fit, empty)),)
        if smallest > 0.05:
            notes = (*notes, message("note.permutation_floor", level=spec.design.assigned_at, floor=f"{smallest:.3f}"))
        if failed:
            total = distribution.others.coefficients.shape[1]
            notes = (*notes, message("note.permutation_failed", failed=failed, assignments=total))
        if not distribution.is_linear:
            notes = (*notes, message("note.permutation_not_linear"))
        leads = [
            fit.terms[distribution.effects[i]].name
            for i in range(len(each))
            if distribution.is_linear and distribution.pattern(each[i]) is None
        ]
        if leads:
            notes = (*notes, message("note.permutation_leads", terms=", ".join(leads)))
        if any(term.role == "covariate" for term in fit.terms):
            notes = (*notes, message("note.permutation_covariates"))
        return smallest, notes


@dataclass(frozen=True, eq=False)
class _PermutationTest:
    """The permutation test of combinations of k coefficients.

    E of them, at positions `effects` (E,) and from parts `part` (E,) of the fit, are effects; `covariates` (k,) flags those of
    covariates. covariance (k, k) is the actual one; `others` are the moments of all assignments, the actual one among them where
    they are enumerated.
    """

    covariance: Floats
    effects: Ints
    covariates: Flags
    part: Ints
    actual: Moments
    others: Moments
    enumerated: bool

    __eq__ = same_content
    __repr__ = in_short

    @property
    def is_linear(self) -> bool:
        """Say whether constant effects can be taken away."""
        return len(self.others.coefficients) == 2

    def std_error(self, weights: Floats) -> float:
        """Clustered standard error of the actual estimate, without factors; NaN where the estimator has none."""
        square = float(weights @ self.covariance @ weights)
        return float(np.sqrt(square)) if square > 0 else float("nan")

    def df(self, weights: Floats) -> float:
        """None: assignments take the place of a distribution."""
        return float("nan")

    def p_value(self, weights: Floats, null: float = 0.0) -> float:
        """Share of assignments with as large a statistic, once a constant effect is taken away that makes the combination `null`.

        NaN for covariates, and, but for a null of 0, where there is no interval.
        """
        pattern = self.pattern(weights)
        if not self.can_rank(weights) or (null != 0 and pattern is None):
            return float("nan")
        return self._ranking(weights, pattern).p_value(null)

    def interval(self, weights: Floats, level: float) -> tuple[float, float]:
        """Outermost nulls that the test does not reject at 1 - level."""
        pattern = self.pattern(weights)
        if not self.can_rank(weights) or pattern is None:
            return float("nan"), float("nan")
        return self._ranking(weights, pattern).interval(level)

    def floor(self, weights: Floats) -> float:
        """Smallest p that a combination that can be ranked can attain."""
        return self._ranking(weights, None).floor()

    def judge_jointly(self, weights: Floats) -> Joint:
        """Rank the Wald statistic over q; where the covariance is singular (too few clusters), or there is none, the largest t².

        Without standard errors that is the largest squared effect.
        """
        if not all(self.can_rank(row) for row in weights):
            raise InferenceError(
                "a term has no standard error, or is a covariate, of which permuting adoption says nothing",
                where="wald",
                remedy="leave out the reference term and covariates",
            )
        statistic, p = joint_rank(self.actual, self.others, weights[:, self.effects], enumerated=self.enumerated)
        return Joint(statistic, (len(weights), float("nan")), p)

    def pattern(self, weights: Floats) -> Floats | None:
        """Effects (E,), constant in each part, that make the combination 1; None where none do."""
        if not self.is_linear:
            return None
        response = self.actual.coefficients[1, 0]
        response = np.where(np.abs(response) > _NONE, response, 0.0)
        moved = np.bincount(self.part, weights=weights[self.effects] * response)
        return (moved / (moved @ moved))[self.part] if moved.any() else None

    def can_rank(self, weights: Floats) -> bool:
        """Say whether a combination is of effects, and has the standard error that is needed."""
        of_effects = weights[self.effects].any() and not weights[self.covariates].any()
        return bool(of_effects) and (self.others.squares is None or not np.isnan(self.std_error(weights)))

    def _ranking(self, weights: Floats, pattern: Floats | None) -> Ranked:
        w = weights[self.effects]
        along = np.zeros(len(w)) if pattern is None else pattern
        return Ranked(self.actual.along(w, along), self.others.along(w, along), self.enumerated)
