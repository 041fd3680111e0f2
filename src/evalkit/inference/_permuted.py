"""A fit's effects under other assignments of adoption: from sums by cluster and date where these do, else estimated anew."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from evalkit.adoption import with_adoption
from evalkit.columns import Flags, Floats, Ints, numbers
from evalkit.errors import EvalkitError, InferenceError
from evalkit.estimation import Specification
from evalkit.fit import Fit, Part
from evalkit.inference._assignments import Reassigned
from evalkit.inference._clusters import assignment, summed_influence
from evalkit.inference._covariance import only_rounding
from evalkit.inference._refit import find_terms, rows_of
from evalkit.numerics.permutation import Moments
from evalkit.numerics.reassigned import DateSums, date_sums

TREATMENT = "treatment in the place of the outcome"
_BLOCK = 1 << 21  # numbers in one block of influence
_MOST_NUMBERS = 5e7  # of sums by cluster, and of squares by assignment: 400 MB
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


def influence_of(fit: Fit) -> Floats | None:
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


def require_memory(n_assignments: int, n_effects: int) -> None:
    """Raise InferenceError where the covariances of all assignments are more than memory holds."""
    if 3 * n_assignments * n_effects**2 > _MOST_NUMBERS:
        raise InferenceError(
            f"{n_assignments} assignments times {n_effects} effects squared is more than memory holds",
            where="Permutation",
            remedy="give fewer draws, or estimate fewer effects",
        )


def moments_of(coefficients: Floats, influence: Floats) -> Moments:
    """From coefficients (B, E, m) and influence (B, G, E, m) of m = 1 or 2 outcomes."""
    pairs = [(i, j) for i in range(influence.shape[3]) for j in range(i, influence.shape[3])]
    squares = [influence[..., i].transpose(0, 2, 1) @ influence[..., j] for i, j in pairs]
    return Moments(np.moveaxis(coefficients, 2, 0), np.array(squares))


def join(blocks: list[Moments]) -> Moments:
    """Put blocks of assignments one after the other."""
    squares = [one.squares for one in blocks if one.squares is not None]
    return Moments(
        np.concatenate([one.coefficients for one in blocks], axis=1),
        np.concatenate(squares, axis=1) if squares else None,
    )


@dataclass(frozen=True)
class Summed:
    """Parts that are regressions on one treatment each, as sums by cluster and date."""

    parts: tuple[DateSums, ...]

    def under(self, assignments: Ints) -> tuple[Floats, Floats]:
        """Coefficients (B, E, 2) and influence (B, G, E, 2) under assignments (B, G)."""
        found = [sums.effects(assignments) for sums in self.parts]
        return np.stack([b for b, _ in found], axis=1), np.stack([influence for _, influence in found], axis=2)

    def moments(self, to: Reassigned) -> tuple[Moments, Moments]:
        """Moments of the actual and of all assignments."""
        size = max(1, _BLOCK // (len(to.present) * len(self.parts) * 2))
        every = [moments_of(*self.under(block)) for block in to.blocks(size)]
        return moments_of(*self.under(to.actual[None])), join(every)


def may_be_summed(fit: Fit) -> bool:
    """Say whether each part could be a regression on one treatment, the same in all periods from adoption on."""
    if fit.parts[0].sample.design.comparison == "never_treated" and len(fit.parts) > 1:
        return False  # which subgroups can then be estimated depends on the assignment
    if part_of_effects(fit).tolist() != list(range(len(fit.parts))):
        return False
    for part in fit.parts:
        plain = part.mapping is None and part.sample.dose is None and part.sample.eligible is None
        if not plain or part.regression is None:
            return False
        levels = part.regression.n_slopes + sum(int(codes.max()) + 1 for codes in part.regression.factors[1:])
        if len(part.sample.clusters) * float(levels) ** 2 > _MOST_NUMBERS:
            return False
    return True


def sum_parts(fit: Fit, spec: Specification, keep: Flags | None, to: Reassigned) -> Summed | None:
    """Sum the parts by cluster and date; None where that does not give what the estimator gives.

    It must do so under the actual assignment, whose treatment must be the regression's column, and under another one.
    """
    summed = Summed(tuple(_sum_part(fit, part, to) for part in fit.parts))
    own = [1 - one.squares[1] / one.remaining(to.actual[None]) for one in summed.parts]
    if not np.abs(own).max() < _AGREE:
        return None
    candidates = (one for block in to.blocks(8) for one in block if (one != to.actual).any())
    other = next((one for one in candidates if np.isfinite(summed.under(one[None])[0]).all()), to.actual)
    for assigned, expected in ((to.actual, fit), (other, _fit_under(spec, keep, to, other))):
        b, influence = (found[0, ..., :1] for found in summed.under(assigned[None]))
        if not _alike((b, influence), _found_in(fit, expected, to)):
            return None
    return summed


def _sum_part(fit: Fit, part: Part, to: Reassigned) -> DateSums:
    regression, sample = part.regression, part.sample
    assert regression is not None
    j = next(i for i, p in enumerate(part.positions) if fit.terms[p].role == "effect")
    rest = np.delete(np.arange(regression.n_slopes), j)
    bread = regression.bread
    treatment = regression.regressors @ (bread[:, j] / bread[j, j])  # less the covariates
    outcome = regression.residuals + fit.coefficients[part.positions[j]] * treatment
    return date_sums(
        outcomes=np.column_stack([outcome, treatment]),
        covariates=regression.regressors[:, rest],
        bread=bread[np.ix_(rest, rest)] - np.outer(bread[rest, j], bread[j, rest]) / bread[j, j],
        weights=regression.weights,
        unit=regression.factors[0],
        factors=regression.factors[1:],
        cluster=np.searchsorted(to.present, sample.cluster),
        n_clusters=len(to.present),
        since=np.searchsorted(to.dates[np.isfinite(to.dates)], sample.period, side="right"),
        n_dates=len(to.dates),
    )


def refit_all(
    fit: Fit, spec: Specification, keep: Flags | None, to: Reassigned, *, studentised: bool
) -> tuple[Moments, Moments]:
    """Estimate under each assignment; where the estimator is linear in the outcome, from the treatment in its place, too."""
    specs = (spec, _of_treatment(spec, to, 0.0)) if _is_linear(fit, spec, keep, to) else (spec,)

    def moments(assigned: Ints) -> Moments:
        found = [_found_in(fit, _fit_under(one, keep, to, assigned), to) for one in specs]
        b, influence = (np.concatenate(both, axis=-1)[None] for both in zip(*found, strict=True))
        whole = moments_of(b, influence)
        return whole if studentised else replace(whole, squares=None)

    every = [moments(one) for block in to.blocks(1) for one in block]
    return moments(to.actual), join(every)


def _is_linear(fit: Fit, spec: Specification, keep: Flags | None, to: Reassigned) -> bool:
    """Say whether effects of outcome - r × treatment are those of the outcome less r times those of the treatment.

    Tried for one r, under the actual and another assignment.
    """
    other = next((one for block in to.blocks(8) for one in block if (one != to.actual).any()), to.actual)
    r = float(np.std(np.concatenate([part.sample.outcome for part in fit.parts]))) or 1.0
    for assigned in (to.actual, other):
        of_outcome, of_treatment, of_both = (
            _found_in(fit, _fit_under(one, keep, to, assigned), to)
            for one in (spec, _of_treatment(spec, to, 0.0), _of_treatment(spec, to, r))
        )
        expected = tuple(a - r * b for a, b in zip(of_outcome, of_treatment, strict=True))
        if not _alike(expected, of_both, size=r):
            return False
    return True


def _of_treatment(spec: Specification, to: Reassigned, r: float) -> Specification:
    """Put the actual treatment in the place of the outcome, or, with r > 0, the outcome less r times the treatment."""
    panel, design = spec.panel, spec.design
    outcome = numbers(panel.frame, design.outcome)
    treatment = (panel.position >= to.positions(to.actual)).astype(np.float64)
    if design.eligible is not None:
        treatment *= np.nan_to_num(numbers(panel.frame, design.eligible))
    column = outcome - r * treatment if r else np.where(np.isnan(outcome), np.nan, treatment)
    return replace(spec, panel=panel.with_column(TREATMENT, column), design=replace(design, outcome=TREATMENT))


def _fit_under(spec: Specification, keep: Flags | None, to: Reassigned, assigned: Ints) -> Fit | None:
    """Estimate with adoption assigned so; None where that cannot be."""
    panel, design = with_adoption(spec.panel, spec.design, to.positions(assigned))
    try:
        return spec.estimator.fit(panel, design, keep)
    except EvalkitError:
        return None


def _found_in(fit: Fit, other: Fit | None, to: Reassigned) -> tuple[Floats, Floats]:
    """Coefficients (E, 1) of the effects of `fit` in another one, and their influence (G, E, 1): NaN where it lacks them."""
    effects = effects_of(fit)
    b, influence = np.full((len(effects), 1), np.nan), np.full((len(to.present), len(effects), 1), np.nan)
    if other is None:
        return b, influence
    at = find_terms(fit, other)[0][effects]
    there = at >= 0
    b[there, 0] = other.coefficients[at[there]]
    found = influence_of(other)
    influence[:, there, 0] = 0.0 if found is None else found[np.ix_(to.present, at[there])]
    return b, influence


def _alike(one: tuple[Floats, ...], other: tuple[Floats, ...], size: float = 0.0) -> bool:
    """Say whether coefficients (E, 1) and influence (G, E, 1) agree, in relation to standard errors, effects and `size`."""
    (b, influence), (b0, influence0) = one, other
    scale = np.sqrt(np.nansum(influence0**2, axis=(0, 2))) + 1e-3 * np.abs(b0[:, 0]) + size + 1e-300
    differences = np.concatenate([b[None] - b0[None], influence - influence0])[..., 0] / scale
    same_gaps = (np.isnan(b) == np.isnan(b0)).all()
    return bool(same_gaps and np.abs(differences[~np.isnan(differences)]).max(initial=0.0) < _AGREE)
