"""Effects under all assignments of a lottery: the one engine of permutations, for inference and for checks.

`reassign` finds the lottery of a fit and whether sums give its effects; `Reassigned.moments` are what an inference ranks, effects
and their covariances, and `Reassigned.estimates` what checks rank and list, the terms and coefficients of each assignment. Both
take from the sums what these tell and estimate the rest anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from evalkit.designs.adoption import with_adoption
from evalkit.designs.sample import Sample, draw_sample
from evalkit.numerics.arrays import Flags, Floats, Ints
from evalkit.numerics.permutation import Moments
from evalkit.progress import show_progress
from evalkit.reassignment.assignments import Lottery, find_lottery
from evalkit.reassignment.at_once import AtOnce, see_at_once
from evalkit.reassignment.cost import BUDGET, Draws, choose_assignments, foretell_estimate, is_of_design
from evalkit.reassignment.refits import Refits, effects_of
from evalkit.reassignment.sums import Summed, is_on_treatment, may_be_summed, sum_parts
from evalkit.results.estimation import Specification
from evalkit.results.fit import Fit, Term

_BLOCK = 1 << 21  # numbers in one block of influence


@dataclass(frozen=True)
class Reestimated:
    """Terms besides covariates and their coefficients (k,), estimated anew under one assignment, or `why` there are none."""

    terms: tuple[Term, ...]
    coefficients: Floats
    why: str = ""


@dataclass(frozen=True)
class AssignedEffects:
    """What assignments (B, G) give: coefficients (B, k) of `terms`, those of the fit besides covariates.

    NaN under the assignments that were estimated anew, which `anew` holds by their position: they may give other terms, or none.
    """

    assignments: Ints
    terms: tuple[Term, ...]
    coefficients: Floats
    anew: dict[int, Reestimated]


@dataclass(frozen=True)
class Reassigned:
    """A fit of the rows of `sample`, and its effects under the assignments of a lottery: by sums or at once, if not None.

    `by` names the member that asks.
    """

    sample: Sample
    refits: Refits
    sums: Summed | AtOnce | None
    by: str

    @property
    def lottery(self) -> Lottery:
        """The assignments."""
        return self.refits.lottery

    def moments(self, *, studentised: bool) -> tuple[Moments, Moments]:
        """Moments of the actual and of all assignments; without squares where they are not studentised."""

        def moments(block: Ints, advance: Callable[[int], object]) -> Moments:
            whole = _moments_of(*self._of_outcomes(block, advance))
            return whole if studentised else replace(whole, squares=None)

        with show_progress(self.by, len(self.lottery.assignments) + 1) as advance:
            every = [moments(block, advance) for block in self._blocks()]
            return moments(self.lottery.actual[None], advance), _stack(every)

    def estimates(self) -> Iterator[AssignedEffects]:
        """Yield what each assignment gives, block by block: the fit's own coefficients for the actual one."""
        own = _without_covariates(self.refits.fit)
        effects = np.flatnonzero([term.role == "effect" for term in own.terms])
        with show_progress(self.by, len(self.lottery.assignments)) as advance:
            for block in self._blocks():
                coefficients, unknown = np.zeros((len(block), len(own.terms))), np.ones(len(block), dtype=bool)
                if self.sums is not None:
                    b, _, unknown = self.sums.effects(block)
                    coefficients[:, effects] = b[:, :, 0]  # that of a base is 0
                    unknown |= np.isnan(coefficients).any(axis=1)
                is_actual = (block == self.lottery.actual).all(axis=1)
                coefficients[unknown] = np.nan
                coefficients[is_actual] = own.coefficients
                chosen = np.flatnonzero(unknown & ~is_actual)
                advance(len(block) - len(chosen))
                anew = {int(i): self._estimate_anew(block[i], advance) for i in chosen}
                yield AssignedEffects(block, own.terms, coefficients, anew)

    def _estimate_anew(self, assignment: Ints, advance: Callable[[int], object]) -> Reestimated:
        other, why = self.refits.fit_under(assignment, self.refits.spec)
        advance(1)
        return Reestimated((), np.empty(0), why) if other is None else _without_covariates(other)

    def _blocks(self) -> Iterator[Ints]:
        """Assignments (B, G), so many at a time that the influence of two outcomes fits in a block."""
        return self.lottery.blocks(max(1, _BLOCK // (len(self.lottery.present) * 2 * len(effects_of(self.refits.fit)))))

    def _of_outcomes(self, assignments: Ints, advance: Callable[[int], object]) -> tuple[Floats, Floats]:
        """Coefficients (B, E, m) and influence (B, G, E, m) under assignments (B, G)."""
        if self.sums is None:
            found = []
            for one in assignments:
                found.append(self.refits.of_outcomes(one))
                advance(1)
            return np.array([b for b, _ in found]), np.array([influence for _, influence in found])
        b, influence, anew = self.sums.effects(assignments)
        advance(len(assignments) - int(anew.sum()))
        for i in np.flatnonzero(anew):
            own, own_influence = self.refits.of_outcomes(assignments[i])
            m = own.shape[-1]
            b[i, :, :m], influence[i, :, :, :m] = own, own_influence
            b[i, :, m:] = influence[i, :, :, m:] = np.nan
            advance(1)
        return b, influence

    def within(self, budget: float, *, draws: Draws, seed: int | None, of_treatment: bool = False) -> Reassigned:
        """Go through all assignments, or, where that would take longer than the budget (in seconds), through random ones.

        `of_treatment` says that the treatment in the place of the outcome is estimated anew, too. Nothing is estimated here.
        Raises CostError where random ones were not asked for.
        """
        lottery, fit = self.lottery, self.refits.fit
        each = foretell_estimate(fit, self.refits.spec) * (2 if of_treatment and is_of_design(fit) else 1)
        n = n_anew = len(lottery.assignments)
        seconds = 0.0
        if self.sums is not None:
            seconds, n_anew = self.sums.foretell(n), 0
            may_tell = (
                seconds <= budget < seconds + n * each
            )  # else all or none could be taken, whatever is estimated anew
            if may_tell and lottery.assignments.enumerated:
                n_anew = sum(int(self.sums.effects(block)[2].sum()) for block in self._blocks())
        chosen = choose_assignments(
            lottery.assignments,
            seconds + n_anew * each,
            by=self.by,
            level=self.refits.spec.design.assigned_at,
            draws=draws,
            seed=seed,
            budget=budget,
        )
        if chosen is lottery.assignments:
            return self
        drawn = replace(lottery, assignments=chosen)
        refits = replace(self.refits, lottery=drawn)
        return replace(self, refits=refits, sums=None if self.sums is None else self.sums.drawing(refits))


def reassign(
    fit: Fit,
    spec: Specification,
    keep: Flags | None,
    *,
    by: str,
    draws: Draws,
    seed: int | None,
    strata: str | None = None,
    alike: bool = False,
    of_treatment: bool = False,
    budget: float = BUDGET,
) -> Reassigned:
    """Find the other assignments of adoption of a fit, which started from the rows flagged in `keep` (None: all).

    All are enumerated while there are at most 10,000 and they take no longer than the budget (see `Reassigned.within`); beyond
    that `draws` and `seed` are needed. Adoption dates are exchanged over the units of assignment, within `strata`, if given; how
    many adopt when is kept. `by` names the member that asks. With `alike`, adoption after the last period, and before all
    others, count as none where that changes no effect. Raises DesignError where each unit has a dose of its own.
    """
    with_adoption(spec.panel, spec.design, np.full(len(spec.panel), np.inf))  # refuses what no assignment could change
    sample = draw_sample(spec.panel, spec.design, keep)

    def lottery(*, alike: bool) -> Lottery:
        some = None if draws == "all" else draws
        return find_lottery(spec, sample, by=by, draws=some, seed=seed, strata=strata, alike=alike)

    if may_be_summed(fit, spec, sample.rows):
        refits = Refits(fit, spec, keep, lottery(alike=alike and is_on_treatment(fit)))
        sums = sum_parts(fit, refits.lottery)
        if sums.is_right(refits):
            found = Reassigned(sample, refits, sums, by)
            return found.within(budget, draws=draws, seed=seed, of_treatment=of_treatment)
    refits = Refits(fit, spec, keep, lottery(alike=False))
    found = Reassigned(sample, refits, see_at_once(fit, sample, refits), by)
    return found.within(budget, draws=draws, seed=seed, of_treatment=of_treatment)


def _without_covariates(fit: Fit) -> Reestimated:
    shown = [i for i, term in enumerate(fit.terms) if term.role != "covariate"]
    return Reestimated(tuple(fit.terms[i] for i in shown), fit.coefficients[shown])


def _moments_of(coefficients: Floats, influence: Floats) -> Moments:
    """From coefficients (B, E, m) and influence (B, G, E, m) of m = 1 or 2 outcomes."""
    pairs = [(i, j) for i in range(influence.shape[3]) for j in range(i, influence.shape[3])]
    squares = [influence[..., i].transpose(0, 2, 1) @ influence[..., j] for i, j in pairs]
    return Moments(np.moveaxis(coefficients, 2, 0), np.array(squares))


def _stack(blocks: list[Moments]) -> Moments:
    """Put blocks of assignments one after the other."""
    squares = [one.squares for one in blocks if one.squares is not None]
    coefficients = np.concatenate([one.coefficients for one in blocks], axis=1)
    return Moments(coefficients, np.concatenate(squares, axis=1) if squares else None)
