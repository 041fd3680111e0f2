"""Effects estimated anew: on other rows, and under the assignments of a lottery.

`refit` estimates on other rows, and puts the coefficients in the order of a fit. `Refits` estimates under an assignment of a
lottery, and reads from that what a permutation test needs: effects and the influence of the units of assignment, of the outcome
and, where the estimator is linear in that, of the treatment in its place. Every estimator can be estimated anew; `sums` spares
regressions on the treatment or on event time that.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from evalkit.errors import EvalkitError, InferenceError
from evalkit.numerics.arrays import Flags, Floats, Ints
from evalkit.panels.panel import Panel
from evalkit.reassignment.assignments import Lottery
from evalkit.results.clusters import assignment, only_rounding, summed_influence
from evalkit.results.estimation import Specification
from evalkit.results.fit import Fit
from evalkit.tables.columns import numbers

TREATMENT = "treatment in the place of the outcome"
_AGREE = 1e-8  # relative: estimates that differ by less are one


def effects_of(fit: Fit) -> Ints:
    """Positions (E,) of the effects among a fit's terms."""
    return np.array([i for i, term in enumerate(fit.terms) if term.role == "effect"])


def part_of_effects(fit: Fit) -> Ints:
    """Which part (E,) estimated each effect."""
    owner = np.zeros(len(fit.terms), dtype=np.int64)
    for i, part in enumerate(fit.parts):
        owner[part.positions] = i
    return owner[effects_of(fit)]


def influence_of_assigned(fit: Fit) -> Floats | None:
    """Influence (C, k) of the units of assignment, by code; None where the estimator has none."""
    try:
        summed = summed_influence(fit, assignment(fit), [1.0] * len(fit.parts))
    except InferenceError:
        return None
    summed[:, only_rounding(np.einsum("ck,ck->k", summed, summed), fit)] = 0.0
    return summed


def rows_to_keep(fit: Fit, spec: Specification) -> Flags | None:
    """Flag the rows that estimates under other assignments start from: all (None) where the fit started from all, else its own.

    The estimator then leaves out, under each assignment, what its rules leave out.
    """
    rows = rows_of(fit, spec.panel)
    if rows.all():
        return None
    try:
        whole = spec.estimator.fit(spec.panel, spec.design)
    except EvalkitError:
        return rows
    return None if (rows_of(whole, spec.panel) == rows).all() else rows


@dataclass(frozen=True)
class Refits:
    """The estimator of a fit, on the rows flagged in `keep` (None: all), under the assignments of a lottery."""

    fit: Fit
    spec: Specification
    keep: Flags | None
    lottery: Lottery

    @cached_property
    def specs(self) -> tuple[Specification, ...]:
        """Of the outcome, and where the estimator is linear in that, of the treatment in its place."""
        both = self.spec, self._of_treatment(0.0)
        return both if self._is_linear(*both) else both[:1]

    def fit_under(self, assignment: Ints, spec: Specification) -> tuple[Fit | None, str]:
        """Estimate a specification under an assignment (G,): its fit, or why there is none."""
        moved = self.lottery.specify(spec, assignment)
        try:
            return moved.estimator.fit(moved.panel, moved.design, self.keep), ""
        except EvalkitError as error:
            return None, str(error)

    def effects_under(self, assignment: Ints, spec: Specification) -> tuple[Floats, Floats]:
        """Coefficients (E,) of the fit's effects and their influence (G, E); NaN for those that cannot be estimated."""
        present, effects = self.lottery.present, effects_of(self.fit)
        b, influence = np.full(len(effects), np.nan), np.full((len(present), len(effects)), np.nan)
        other, _ = self.fit_under(assignment, spec)
        if other is None:
            return b, influence
        at = find_terms(self.fit, other)[0][effects]
        there = at >= 0
        b[there] = other.coefficients[at[there]]
        summed = influence_of_assigned(other)
        influence[:, there] = 0.0 if summed is None else summed[np.ix_(present, at[there])]
        return b, influence

    def of_outcomes(self, assignment: Ints) -> tuple[Floats, Floats]:
        """Coefficients (E, m) and influence (G, E, m) of the m outcomes of `specs`."""
        found = [self.effects_under(assignment, one) for one in self.specs]
        return np.stack([b for b, _ in found], axis=-1), np.stack([influence for _, influence in found], axis=-1)

    def _is_linear(self, of_outcome: Specification, of_treatment: Specification) -> bool:
        """Say whether effects of outcome - r × treatment are those of the outcome less r times those of the treatment.

        Tried for one r, under the actual and another assignment.
        """
        lottery = self.lottery
        r = float(np.std(np.concatenate([part.sample.outcome for part in self.fit.parts]))) or 1.0
        both = self._of_treatment(r)
        for one in (lottery.actual, next(lottery.others(), lottery.actual)):
            (b, influence), (b1, influence1) = (self.effects_under(one, spec) for spec in (of_outcome, of_treatment))
            known = (np.isnan(b1) == np.isnan(b)).all()
            if not known or not alike((b - r * b1, influence - r * influence1), self.effects_under(one, both), size=r):
                return False
        return True

    def _of_treatment(self, r: float) -> Specification:
        """Put the actual treatment in the place of the outcome, or, with r > 0, the outcome less r times the treatment."""
        panel, design = self.spec.panel, self.spec.design
        outcome = numbers(panel.frame, design.outcome)
        treatment = (panel.position >= self.lottery.positions(self.lottery.actual)).astype(np.float64)
        if design.eligible is not None:
            treatment *= np.nan_to_num(numbers(panel.frame, design.eligible))
        column = outcome - r * treatment if r else np.where(np.isnan(outcome), np.nan, treatment)
        return replace(self.spec, panel=panel.with_column(TREATMENT, column), design=replace(design, outcome=TREATMENT))


def alike(one: tuple[Floats, Floats], other: tuple[Floats, Floats], size: float = 0.0) -> bool:
    """Say whether coefficients (E,) and influence (G, E) agree, in relation to standard errors, effects and `size`."""
    (b, influence), (b0, influence0) = one, other
    scale = np.sqrt(np.nansum(influence0**2, axis=0)) + 1e-3 * np.abs(b0) + size + 1e-300
    differences = np.vstack([b - b0, influence - influence0]) / scale
    same_gaps = (np.isnan(b) == np.isnan(b0)).all()
    return bool(same_gaps and np.abs(differences[~np.isnan(differences)]).max(initial=0.0) < _AGREE)


_ROUNDING = 1e-14  # share of the largest outcome that arithmetic alone can leave in a coefficient


def rows_of(fit: Fit, panel: Panel) -> Flags:
    """Flag the rows of the panel (n,) that some part of the fit rests on."""
    used = np.zeros(len(panel), dtype=bool)
    for part in fit.parts:
        used[part.sample.rows] = True
    return used


def refit(fit: Fit, spec: Specification, keep: Flags) -> tuple[Floats, str]:
    """Estimate on other rows or another design: coefficients (k,) in the order of `fit`, and why some are missing (NaN).

    A term counts as missing, too, where its subgroup has another base.
    """
    try:
        other = spec.estimator.fit(spec.panel, spec.design, keep)
    except EvalkitError as error:
        return np.full(len(fit.terms), np.nan), str(error)
    at, why = find_terms(fit, other)
    return np.where(at < 0, np.nan, other.coefficients[at]), why


def find_terms(fit: Fit, other: Fit) -> tuple[Ints, str]:
    """Positions (k,) of the terms of a fit in another one, -1 for those that are missing there, and why."""
    found = {(term.name, term.role): i for i, term in enumerate(other.terms)}
    moved = {group for group in {term.subgroup for term in fit.terms} if _bases(fit, group) != _bases(other, group)}
    at = np.array([-1 if t.subgroup in moved else found.get((t.name, t.role), -1) for t in fit.terms])
    if (at >= 0).all():
        return at, ""
    return at, "the base is then another" if moved else "the estimator then gives no such term"


def _bases(fit: Fit, group: str | None) -> set[str]:
    return {term.name for term in fit.terms if term.role == "base" and term.subgroup == group}


def rounding(fit: Fit) -> float:
    """Say how large a standard error rounding alone can make."""
    return _ROUNDING * max(float(np.abs(part.sample.outcome).max()) for part in fit.parts)
