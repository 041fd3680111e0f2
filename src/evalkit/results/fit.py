"""Fit: effects and their influence, before any statement of uncertainty."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, Protocol

import numpy as np

from evalkit.catalogue import Message
from evalkit.designs.sample import Sample
from evalkit.errors import DesignError, InferenceError
from evalkit.numerics.absorb import Absorber
from evalkit.numerics.arrays import BLOCK, Flags, Floats, Ints, cut_blocks, in_blocks
from evalkit.numerics.least_squares import cross_products
from evalkit.numerics.loadings import Masses, ShockCells, ShockMap
from evalkit.tables.contents import in_short, same_content

MOST_MAPPED = 2e8  # numbers of a map of shocks: 1.6 GB


@dataclass(frozen=True)
class Term:
    """One coefficient with its coordinates. `role` is "effect", "covariate", or "base" (the reference, 0 by definition).

    `binned` says that its event time stands for all beyond it, too.
    """

    name: str
    role: Literal["effect", "covariate", "base"] = "effect"
    event_time: int | None = None
    cohort: str | None = None
    period: str | None = None
    subgroup: str | None = None
    binned: bool = False


class Influence(Protocol):
    """The influence of each row on k coefficients: their sum over all rows is zero, its outer product the sandwich."""

    def sum_within(self, groups: Ints, n_groups: int) -> Floats:
        """Sum the rows' influence within groups (n,), giving (n_groups, k)."""
        ...


@dataclass(frozen=True, eq=False)
class Regression:
    """A least-squares fit after fixed effects were absorbed.

    coefficients (k,) are the slopes; regressors (n, k) and residuals (n,) are residuals on the effects; bread (k, k) is
    (X'WX)^-1; weights (n,) or None;
    n_effects counts the independent absorbed effects; factors are the codes (n,) of each absorbed effect, the unit first;
    within (n,) holds, for collapsed rows, the sum of squared residual variation of the original rows inside each; absorber
    has the effects ready to be swept out, where there are so many that this takes time.
    """

    coefficients: Floats
    regressors: Floats
    residuals: Floats
    bread: Floats
    weights: Floats | None
    counts: Floats | None
    n_effects: int
    factors: tuple[Ints, ...]
    within: Floats | None = None
    absorber: Absorber | None = None

    __eq__ = same_content
    __repr__ = in_short

    @property
    def n_slopes(self) -> int:
        return int(self.regressors.shape[1])

    @cached_property
    def noise(self) -> float:
        """Sum of squared residuals, weighted."""
        return float(cross_products([self.residuals], self.weights)[0, 0])

    def sum_within(self, groups: Ints, n_groups: int) -> Floats:
        """Sum the influence bread·x·w·u within groups."""

        def score(rows: slice) -> Floats:
            pull = self.residuals[rows] if self.weights is None else self.residuals[rows] * self.weights[rows]
            scores = np.empty((n_groups, self.n_slopes))
            for j, column in enumerate(self.regressors[rows].T):
                scores[:, j] = np.bincount(groups[rows], weights=column * pull, minlength=n_groups)
            return scores

        blocks = cut_blocks(len(groups), least=max(BLOCK, 32 * n_groups))  # sums take little beside rows
        influence: Floats = np.sum(in_blocks(score, blocks), axis=0) @ self.bread
        return influence


@dataclass(frozen=True, eq=False)
class Parameters:
    """What was estimated: n_slopes, n_effects, the independent absorbed effects, and factors, the codes (n,) of each of them."""

    n_slopes: int
    n_effects: int
    factors: tuple[Ints, ...]

    __eq__ = same_content
    __repr__ = in_short


@dataclass(frozen=True, eq=False)
class UnitInfluence:
    """Influence by unit: values (U, k), a row for each unit of the sample in the order of `sample.starts`."""

    values: Floats
    sample: Sample

    __eq__ = same_content
    __repr__ = in_short

    def sum_within(self, groups: Ints, n_groups: int) -> Floats:
        """Sum the units' influence within groups (n,) of rows, which must not divide a unit, giving (n_groups, k)."""
        owner = groups[self.sample.starts]
        if (np.repeat(owner, np.diff(np.append(self.sample.starts, len(groups)))) != groups).any():
            raise InferenceError(
                "this estimator knows the influence of whole units, and the clusters divide units",
                where="inference",
                remedy="cluster by units or by what they belong to, such as counties",
            )
        summed = np.empty((n_groups, self.values.shape[1]))
        for j, column in enumerate(self.values.T):
            summed[:, j] = np.bincount(owner, weights=column, minlength=n_groups)
        return summed


@dataclass(frozen=True, eq=False)
class MappedInfluence:
    """Influence of linear combinations: that of k coefficients, times a mapping (m, k)."""

    of: Influence
    mapping: Floats

    __eq__ = same_content
    __repr__ = in_short

    def sum_within(self, groups: Ints, n_groups: int) -> Floats:
        """Sum within groups (n,), giving (n_groups, m)."""
        summed: Floats = self.of.sum_within(groups, n_groups) @ self.mapping.T
        return summed


class Response(Protocol):
    """How m coefficients that are linear in the outcome, and the influence on them, answer to shocks.

    A shock raises the outcome of all rows of a cluster in a period by 1; the cells say which rows of the sample meet which.
    `of_design` says that loadings follow from the design alone, not from the outcome as the weights of a synthetic control do.
    """

    @property
    def of_design(self) -> bool:
        """Say so."""
        ...

    def loadings(self, cells: ShockCells) -> Floats:
        """Change of each coefficient (G·T, m) by each shock: with one row in each cell, its products with outcomes sum to it."""
        ...

    def shock_map(self, weights: Floats, cells: ShockCells) -> ShockMap | None:
        """Map shocks to the clusters' sums of influence on the combination weights (m,); None where there is no influence."""
        ...

    def by_mass(self, cells: ShockCells) -> Masses | None:
        """Say how loadings follow from the masses of cohorts alone, for estimates without a cluster; None where they do not."""
        ...


def not_by_mass(response: object, cells: ShockCells) -> Masses | None:
    """Say that loadings need more than the masses of cohorts: the line `by_mass = not_by_mass` of a response."""
    return None


class Donors(Protocol):
    """The weights of donors on which m coefficients rest: made anew under other assignments, or kept without a unit."""

    @property
    def whole(self) -> Sample:
        """All rows that the design draws from where the estimate started."""
        ...

    def under(self, adoption: Floats) -> Floats:
        """Coefficients (B, m) when the units of assignment, by code, adopt at adoption (B, C); NaN where it does not tell."""
        ...

    def without(self, unit: int) -> Floats:
        """Coefficients (m,) without a unit of assignment and with the weights as they are; NaN for those that are lost."""
        ...


@dataclass(frozen=True, eq=False)
class Part:
    """Coefficients estimated on one sample: `positions` (m,) says which of the fit's coefficients they are.

    They are the slopes of `regression`, or, with `mapping` (m, k), linear combinations of its k slopes; where each combination
    weighs its slopes by their rows, `averaged` (n,) says for which slope each row counts, -1 for none. `response` says what they
    rest on where there is no regression (None: it is found by estimating anew). `leads_from_base` says that effects before
    adoption, if any, are differences from the base of their path. `parameters` counts what one regression estimated whose
    regressors are not held; `counted` are the observations and parameters in the factor of CR1 where the regression is of
    repeated rows, and therefore not `regression`. `donors` are there where weights of donors make the estimate.
    """

    sample: Sample
    positions: Ints
    influence: Influence
    regression: Regression | None = None
    mapping: Floats | None = None
    response: Response | None = None
    averaged: Ints | None = None
    leads_from_base: bool = True
    parameters: Parameters | None = None
    counted: tuple[float, int] | None = None
    donors: Donors | None = None

    __eq__ = same_content
    __repr__ = in_short

    def of_slopes(self, covariance: Floats) -> Floats:
        """Turn a covariance of the regression's slopes (k, k) into that of this part's coefficients (m, m)."""
        if self.mapping is None:
            return covariance
        mapped = self.mapping @ covariance @ self.mapping.T
        symmetric: Floats = (mapped + mapped.T) / 2
        return symmetric

    def loading(self, i: int) -> Floats:
        """Weights (k,) of the regression's slopes in this part's i-th coefficient."""
        if self.mapping is not None:
            row: Floats = self.mapping[i]
            return row
        unit: Floats = np.zeros(len(self.positions))
        unit[i] = 1.0
        return unit


@dataclass(frozen=True, eq=False)
class Fit:
    """Terms and coefficients (k,), and the parts that estimated them.

    One sample gives one part; a split by subgroup has one part each, so that a cluster straddling subgroups enters the
    covariance between them. Notes say what was left out, binned or dropped, and why; `failed` names the subgroups that could
    not be estimated. `views` keeps what inferences have worked out of this fit, so that the next need not.
    """

    terms: tuple[Term, ...]
    coefficients: Floats
    parts: tuple[Part, ...]
    notes: tuple[Message, ...] = ()
    failed: tuple[str, ...] = ()
    views: dict[str, Any] = field(init=False, default_factory=dict, repr=False, compare=False)

    __eq__ = same_content
    __repr__ = in_short

    def __post_init__(self) -> None:
        names = [term.name for term in self.terms]
        if len(set(names)) < len(names):
            twice = next(name for i, name in enumerate(names) if name in names[:i])
            raise DesignError(
                f"two terms of the estimate would be called '{twice}'",
                where=f"term '{twice}'",
                remedy="rename the column of the covariate that has this name",
            )

    def part_of(self, position: int) -> Part | None:
        """Return the part that estimated a coefficient; None for a reference term."""
        return next((part for part in self.parts if position in part.positions), None)


def choose_after_adoption(terms: Sequence[Term]) -> Flags:
    """Flag the effects whose mean is the headline: one average over all, where there is one, else the effects after adoption."""
    effects = np.array([term.role == "effect" for term in terms])
    overall = effects & [(t.event_time, t.cohort, t.period) == (None, None, None) for t in terms]
    after = effects & [t.event_time is None or t.event_time >= 0 for t in terms]
    chosen: Flags = overall if overall.any() else after
    return chosen


def headline_effects(fit: Fit) -> list[tuple[str, Floats]]:
    """Name and weights (k,) of the average effect after adoption of each subgroup: what a fit is first asked for."""
    found: list[tuple[str, Floats]] = []
    for group in dict.fromkeys(term.subgroup for term in fit.terms):
        here = np.array([term.subgroup == group for term in fit.terms])
        inside = np.zeros(len(here), dtype=bool)
        inside[here] = choose_after_adoption([term for term in fit.terms if term.subgroup == group])
        names = [term.name for term, one in zip(fit.terms, inside, strict=True) if one]
        if names:
            name = names[0] if len(names) == 1 else f"mean of {names[0]} … {names[-1]}"
            found.append((name, inside / len(names)))
    return found


def stack_fits(fits: list[tuple[str, Fit]]) -> Fit:
    """Join fits of subgroups into one, each term labelled with its subgroup: "ATT [large_farm=1]".

    A note that all of them share is about the panel, and is said once.
    """
    terms: list[Term] = []
    parts: list[Part] = []
    shared = [note for note in fits[0][1].notes if len(fits) > 1 and all(note in fit.notes for _, fit in fits)]
    notes = list(shared)
    for label, fit in fits:
        offset = len(terms)
        terms += [replace(term, name=f"{term.name} [{label}]", subgroup=label) for term in fit.terms]
        parts += [replace(part, positions=part.positions + offset) for part in fit.parts]
        own = [note for note in fit.notes if note not in shared]
        notes += [Message("note.in_subgroup", (("note", note), ("subgroup", label))) for note in own]
    coefficients = np.concatenate([fit.coefficients for _, fit in fits])
    failed = tuple(f"{one} [{label}]" for label, fit in fits for one in fit.failed)
    return Fit(tuple(terms), coefficients, tuple(parts), tuple(notes), failed)
