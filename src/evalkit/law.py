"""Law: the reference distribution by which linear combinations of coefficients are judged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from scipy import stats

from evalkit.catalogue import Message
from evalkit.columns import Floats
from evalkit.errors import InferenceError


@dataclass(frozen=True)
class Joint:
    """A joint test: statistic (F), its degrees of freedom (NaN where draws judge it) and p."""

    statistic: float
    df: tuple[int, float]
    p_value: float


@dataclass(frozen=True)
class Wald:
    """A joint test that coefficients are zero: F with its degrees of freedom; p is NaN where the design cannot support it."""

    terms: tuple[str, ...]
    statistic: float
    df: tuple[int, float]
    p_value: float
    reason: Message | None


@dataclass(frozen=True)
class Ranks:
    """|t| of hypotheses, `actual` (q,), and those `drawn` (q, B) among which they rank; `whole`: their own are included."""

    actual: Floats
    drawn: Floats
    whole: bool


class Law(Protocol):
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
class Simultaneous(Law, Protocol):
    """A law with draws that all combinations share, so that it knows how they vary together."""

    def critical(self, weights: Floats, level: float) -> float:
        """The number of standard errors within which all rows of weights (q, k) lie at once in `level` of draws; may be inf."""
        ...


@runtime_checkable
class Ranking(Law, Protocol):
    """A law that ranks statistics among draws; where sources are equal, so are the draws, one by one, whatever the outcome."""

    @property
    def source(self) -> object:
        """What the draws were made of."""
        ...

    def ranked(self, weights: Floats) -> Ranks:
        """Rank the hypotheses that rows of weights (q, k) give 0."""
        ...


@dataclass(frozen=True)
class StudentT:
    """Student's t on standard errors from a covariance (k, k), with degrees of freedom (k,) of each coefficient.

    A combination has the smallest degrees of freedom of its coefficients; a joint test is F(q, these).
    """

    coefficients: Floats
    covariance: Floats
    dfs: Floats

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


def t_interval(law: Law, coefficients: Floats, weights: Floats, level: float) -> tuple[float, float]:
    """Estimate ± quantile of t times the standard error, both by the law."""
    value, margin = float(weights @ coefficients), _quantile(law, weights, level) * law.std_error(weights)
    return value - margin, value + margin


def _quantile(law: Law, weights: Floats, level: float) -> float:
    return float(stats.t.ppf((1 + level) / 2, law.df(weights)))


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
