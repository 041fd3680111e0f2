"""Uncertainty: what an inference says of a fit, and the reference distribution by which combinations are judged."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol, runtime_checkable

import numpy as np
import pandas as pd
from scipy import stats

from evalkit.catalogue import Message
from evalkit.errors import InferenceError
from evalkit.numerics.arrays import Floats
from evalkit.tables.contents import cut_short, in_short, same_content


@dataclass(frozen=True, eq=False)
class Clusters:
    """The clusters of a covariance: how many, how many have treated rows, and how many have rows of comparison."""

    total: int
    treated: int
    control: int

    __eq__ = same_content


class Choice(Protocol):
    """Why a method was chosen, and what others say; found when it is first asked for."""

    def weights(self) -> Floats:
        """Weights (k,) of the effect for which it was chosen."""
        ...

    def sentence(self) -> Message:
        """Say what the design can and cannot show."""
        ...

    def turning(self) -> Turning:
        """Find what it takes to turn the conclusion."""
        ...

    def tabulate(self) -> pd.DataFrame:
        """Judge by each of the methods: one row for each method and effect."""
        ...


class Reliance(Protocol):
    """On how many clusters combinations w·b of the coefficients rest, given their weights w (k,)."""

    def effective(self, weights: Floats) -> float:
        """Number of equal clusters on which a combination rests as much."""
        ...

    def sides(self, weights: Floats) -> tuple[float, float]:
        """The same of treated clusters and of untreated ones, each among themselves; inf for a side that has no part in it."""
        ...

    def expected_size(self, weights: Floats) -> float:
        """How often clustered errors (CR1) with t(G-1) reject a true null at 5 %; NaN without influence."""
        ...


class Doubt(Protocol):
    """Which p-values, although computed as named, come from a reference distribution that the design cannot support."""

    def of(self, weights: Floats) -> Message | None:
        """Say why the p of a combination (k,) is no guide; None where it is one."""
        ...

    def headline(self) -> Message | None:
        """Say it of the average effect after adoption."""
        ...

    def tell(self) -> tuple[Message, ...]:
        """Name the terms that are no guide, then those whose p needs a word."""
        ...


class JointDoubt(Protocol):
    """Which joint tests are no guide."""

    def of(self, weights: Floats) -> Message | None:
        """Say why a joint test of the rows of weights (q, k) is no guide; None where it is one."""
        ...


@dataclass(frozen=True, eq=False)
class Turning:
    """What it takes to turn a conclusion: each None where it is not defined.

    noise  how many times the standard deviation of shocks to the treated would have to be that of the others, for an effect
           significant at 5 % to be so no longer, or for another to become so; inf or 0 where no such ratio does.
    shared  which share of the variance of shocks would have to be common to what lies above the units of assignment; inf
           where even all of it does not.
    """

    noise: float | None
    shared: float | None


@dataclass(frozen=True, eq=False)
class Uncertainty:
    """What an inference says of a fit: covariance (k, k), t degrees of freedom (k,), and the method in words.

    `clusters` counts those of all parts of the fit together, `part_clusters` those of each (a subgroup can lack treated clusters
    that the whole has). `smallest_p` is the smallest p that any permutation of adoption could give. `reliance` says on how many
    clusters each term rests; `doubt` which p-values the design cannot support, and `joint_doubt` which joint tests; both leave
    the p-value of `wald` empty. `distribution` judges combinations of coefficients (None: Student's t with this covariance and
    these degrees of freedom). `choice` says why the method was chosen, where it was; then `sentence` says what the design can and
    cannot show, `turning` what it takes to turn the conclusion, and `alternatives` what other methods say.
    """

    covariance: Floats
    df: Floats
    method: Message
    smallest_p: float
    clusters: Clusters
    part_clusters: tuple[Clusters, ...]
    reliance: Reliance
    doubt: Doubt | None = None
    joint_doubt: JointDoubt | None = None
    notes: tuple[Message, ...] = ()
    distribution: ReferenceDistribution | None = None
    choice: Choice | None = field(default=None, repr=False)

    __eq__ = same_content

    def __repr__(self) -> str:
        supported = "" if self.unsupported is None else ", unsupported"
        return cut_short(f"Uncertainty({len(self.df)} terms, {self.method}, {self.clusters}{supported})")

    @cached_property
    def unsupported(self) -> Message | None:
        """Why the p of the average effect after adoption is no guide; None where it is one."""
        return None if self.doubt is None else self.doubt.headline()

    @cached_property
    def alternatives(self) -> pd.DataFrame | None:
        """One row for each method that was tried and each effect, made when it is first asked for; None of a single method."""
        return None if self.choice is None else self.choice.tabulate()

    @cached_property
    def sentence(self) -> Message | None:
        """What the design can and cannot show; None of a method that was asked for by name."""
        return None if self.choice is None else self.choice.sentence()

    @cached_property
    def turning(self) -> Turning | None:
        """What it takes to turn the conclusion; None of a method that was asked for by name."""
        return None if self.choice is None else self.choice.turning()


@dataclass(frozen=True, eq=False)
class Joint:
    """A joint test: statistic (F), its degrees of freedom (NaN where draws judge it) and p."""

    statistic: float
    df: tuple[int, float]
    p_value: float

    __eq__ = same_content


@dataclass(frozen=True, eq=False)
class Wald:
    """A joint test that coefficients are zero: F with its degrees of freedom; p is NaN where the design cannot support it."""

    terms: tuple[str, ...]
    statistic: float
    df: tuple[int, float]
    p_value: float
    reason: Message | None

    __eq__ = same_content


@dataclass(frozen=True, eq=False)
class Ranks:
    """|t| of hypotheses, `actual` (q,), and those `drawn` (q, B) among which they rank; `whole`: their own are included."""

    actual: Floats
    drawn: Floats
    whole: bool

    __eq__ = same_content
    __repr__ = in_short


class ReferenceDistribution(Protocol):
    """What an inference says of combinations w·b of the coefficients b, given their weights w (k,).

    Everything is NaN for a combination without a standard error.
    """

    def std_error(self, weights: Floats) -> float:
        """Standard error."""
        ...

    def df(self, weights: Floats) -> float:
        """Degrees of freedom of t; NaN where p comes from draws or permutations."""
        ...

    def p_value(self, weights: Floats, null: float = 0.0) -> float:
        """Two-sided p of the hypothesis that the combination is `null`."""
        ...

    def interval(self, weights: Floats, level: float) -> tuple[float, float]:
        """Lower and upper end of the interval at a level between 0 and 1; infinite where the data set no end."""
        ...

    def judge_jointly(self, weights: Floats) -> Joint:
        """Test that all rows of weights (q, k) give 0; InferenceError where that cannot be tested."""
        ...


@runtime_checkable
class Simultaneous(ReferenceDistribution, Protocol):
    """A reference distribution with draws that all combinations share, so that it knows how they vary together."""

    def critical(self, weights: Floats, level: float) -> float:
        """The number of standard errors within which all rows of weights (q, k) lie at once in `level` of draws; may be inf."""
        ...


@runtime_checkable
class SharedRanking(ReferenceDistribution, Protocol):
    """It ranks statistics among draws; where sources are equal, so are the draws, one by one, whatever the outcome."""

    @property
    def source(self) -> object:
        """What the draws were made of."""
        ...

    def ranked(self, weights: Floats) -> Ranks:
        """Rank the hypotheses that rows of weights (q, k) give 0."""
        ...


@dataclass(frozen=True, eq=False)
class StudentT:
    """Student's t on standard errors from a covariance (k, k), with degrees of freedom (k,) of each coefficient.

    A combination has the smallest degrees of freedom of its coefficients; a joint test is F(q, these).
    """

    coefficients: Floats
    covariance: Floats
    dfs: Floats

    __eq__ = same_content
    __repr__ = in_short

    def std_error(self, weights: Floats) -> float:
        """Root of the quadratic form; a standard error of 0 is none: nothing was left to estimate it from."""
        error = float(np.sqrt(max(float(covariance_of(weights[None], self.covariance)[0, 0]), 0.0)))
        return error if error > 0 else float("nan")

    def df(self, weights: Floats) -> float:
        """Smallest of the coefficients' own."""
        known = self.dfs[weights != 0]
        return float(min(known[~np.isnan(known)], default=np.inf))  # a base alone has none

    def p_value(self, weights: Floats, null: float = 0.0) -> float:
        """Two-sided p from t."""
        away = abs(float(weights @ self.coefficients) - null)
        return float(2 * stats.t.sf(away / self.std_error(weights), self.df(weights)))

    def interval(self, weights: Floats, level: float) -> tuple[float, float]:
        """Estimate ± quantile of t times the standard error."""
        return t_interval(self, self.coefficients, weights, level)

    def judge_jointly(self, weights: Floats) -> Joint:
        """F from the covariance of the combinations."""
        q, smallest = len(weights), min(self.df(row) for row in weights)
        statistic = quadratic_form(weights @ self.coefficients, covariance_of(weights, self.covariance), smallest) / q
        return Joint(statistic, (q, smallest), float(stats.f.sf(statistic, q, smallest)))


def require_level(level: float, where: str) -> None:
    """Raise InferenceError unless a level of confidence lies between 0 and 1."""
    if not 0 < level < 1:
        raise InferenceError(f"level is {level}", where=where, remedy="give a number between 0 and 1, such as .95")


def t_interval(
    distribution: ReferenceDistribution, coefficients: Floats, weights: Floats, level: float
) -> tuple[float, float]:
    """Estimate ± quantile of t times the standard error, both by the distribution."""
    value, margin = (
        float(weights @ coefficients),
        _quantile(distribution, weights, level) * distribution.std_error(weights),
    )
    return value - margin, value + margin


def _quantile(distribution: ReferenceDistribution, weights: Floats, level: float) -> float:
    return float(stats.t.ppf((1 + level) / 2, distribution.df(weights)))


def covariance_of(weights: Floats, covariance: Floats) -> Floats:
    """Covariance (q, q) of combinations (q, k) of coefficients; unknown (NaN) only where one of theirs is."""
    used = np.flatnonzero((weights != 0).any(axis=0))
    combined: Floats = weights[:, used] @ covariance[np.ix_(used, used)] @ weights[:, used].T
    return combined


def quadratic_form(b: Floats, V: Floats, df: float) -> float:
    """Return b' V^-1 b of combinations b (q,) with covariance V (q, q), of which there must be fewer than df.

    Correlations are solved, so that units of measurement do not matter.
    """
    scale = np.sqrt(np.diag(V))
    if not (scale > 0).all():
        raise InferenceError(
            "a term has no standard error",
            where="wald",
            remedy="leave out reference terms, and those that a note names",
        )
    if len(b) >= df:
        raise InferenceError(
            f"{len(b)} terms cannot be tested jointly with {df:g} degrees of freedom",
            where="wald",
            remedy="test fewer terms, or bin event times",
        )
    correlation = V / np.outer(scale, scale)
    if np.linalg.matrix_rank(correlation, tol=1e-10) < len(b):
        raise InferenceError(
            f"the covariance of these {len(b)} terms is singular", where="wald", remedy="test fewer terms"
        )
    z = b / scale
    return float(z @ np.linalg.solve(correlation, z))
