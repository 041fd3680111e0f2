"""The laws of the wild bootstrap: how combinations are ranked among draws, and where the draws come from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from evalkit.columns import Flags, Floats
from evalkit.errors import InferenceError
from evalkit.inference._basis import Seen
from evalkit.law import Joint, Ranks, covariance_of, quadratic_form
from evalkit.numerics.wild import (
    Replicates,
    Weights,
    critical_of_largest,
    draw_weights,
    joint_p,
    replicate,
    replicate_scores,
)


@dataclass(frozen=True)
class Source:
    """Where the weights come from: all vectors (draws None), or random ones, the same each time they are asked for.

    `clusters` are the labels, in order, of the clusters at `level`: equal sources give the same weights to the same clusters.
    """

    level: str
    clusters: tuple[Any, ...]
    weights: Weights
    draws: int | None
    seed: int | None

    @property
    def n_clusters(self) -> int:
        return len(self.clusters)

    @property
    def enumerated(self) -> bool:
        """Say whether all vectors are taken."""
        return self.draws is None

    def blocks(self) -> Iterator[Floats]:
        """Yield blocks (B, G)."""
        return draw_weights(n_clusters=self.n_clusters, weights=self.weights, draws=self.draws, seed=self.seed)


def _error(covariance: Floats, weights: Floats) -> float:
    error = float(np.sqrt(max(float(covariance_of(weights[None], covariance)[0, 0]), 0.0)))
    return error if error > 0 else float("nan")


@dataclass(frozen=True)
class WildLaw:
    """The bootstrap of a regression seen from its clusters.

    Combinations that rest on one cluster have no standard error, unless `alone` says that all effects do.
    """

    coefficients: Floats
    covariance: Floats
    floors: Floats
    seen: Seen
    source: Source
    restricted: bool
    alone: bool
    _made: dict[bytes, Replicates] = field(default_factory=dict, compare=False, repr=False)

    def std_error(self, weights: Floats) -> float:
        """Clustered standard error with the factor G/(G-1)."""
        if not self.alone and self.seen.rests_on_one(weights):
            return float("nan")
        error = _error(self.covariance, weights)
        return error if error > float(np.abs(weights) @ np.maximum(self.floors, 0.0)) else float("nan")

    def df(self, weights: Floats) -> float:
        """None: draws take the place of a distribution."""
        return float("nan")

    def replicates(self, weights: Floats) -> Replicates:
        """Draw the statistics of a combination, once."""
        key = weights.tobytes()
        if key not in self._made:
            self._made[key] = replicate(
                gram=self.seen.basis.gram,
                scores=self.seen.basis.scores,
                direction=weights @ self.seen.directions,
                blocks=self.source.blocks(),
                enumerated=self.source.enumerated,
            )
        return self._made[key]

    def p_value(self, weights: Floats, null: float = 0.0) -> float:
        """Share of draws whose |t| is at least the actual one."""
        if np.isnan(self.std_error(weights)):
            return float("nan")
        made, distance = self.replicates(weights), float(weights @ self.coefficients) - null
        return made.p_restricted(distance) if self.restricted else made.p_unrestricted(distance)

    def interval(self, weights: Floats, level: float) -> tuple[float, float]:
        """The nulls that the test does not reject at 1 - level."""
        value, error = float(weights @ self.coefficients), self.std_error(weights)
        if np.isnan(error):
            return error, error
        made = self.replicates(weights)
        if self.restricted:
            below, above = made.interval_restricted(level, error)
        else:
            above = made.critical_unrestricted(level) * float(np.sqrt(made.variance))
            below = -above
        return value + below, value + above

    def judge_jointly(self, weights: Floats) -> Joint:
        """Rank the Wald statistic among draws on which all hypotheses are imposed."""
        q = len(weights)
        if any(np.isnan(self.std_error(row)) for row in weights):
            raise InferenceError(
                "a term has no standard error",
                where="wald",
                remedy="leave out reference terms, and those that a note names",
            )
        estimates = weights @ self.coefficients
        statistic = quadratic_form(estimates, covariance_of(weights, self.covariance), self.source.n_clusters - 1) / q
        p = joint_p(
            gram=self.seen.basis.gram,
            scores=self.seen.basis.scores,
            directions=weights @ self.seen.directions,
            estimates=estimates,
            blocks=self.source.blocks(),
            enumerated=self.source.enumerated,
        )
        return Joint(statistic, (q, float("nan")), p)

    def statistics(self, weights: Floats) -> Floats:
        """|t| of draws around the estimates, (q, B), the same draws for all rows of weights (q, k); errors as of std_error."""
        return np.stack([self._scaled(row) for row in weights])

    def critical(self, weights: Floats, level: float) -> float:
        """The number of standard errors within which the largest |t| of a draw around the estimates stays."""
        return critical_of_largest(self.statistics(weights), level)

    def ranked(self, weights: Floats) -> Ranks:
        """|t| and those of draws, on each of which its own null is imposed where that is the law's rule."""
        values = weights @ self.coefficients
        actual = np.abs(values) / np.array([self.std_error(row) for row in weights])
        nulls = values if self.restricted else np.zeros(len(values))
        drawn = np.stack([self._scaled(row, float(null)) for row, null in zip(weights, nulls, strict=True)])
        return Ranks(actual, drawn, whole=self.restricted and self.source.enumerated)

    def _scaled(self, weights: Floats, distance: float = 0.0) -> Floats:
        made = self.replicates(weights)
        return made.statistics(distance) * float(np.sqrt(made.variance) / self.std_error(weights))


@dataclass(frozen=True)
class ScoreLaw:
    """The bootstrap of influence (G, k) that the clusters have on the coefficients; `there` (G, k) flags those with any rows."""

    coefficients: Floats
    covariance: Floats
    influence: Floats
    there: Flags
    source: Source
    _made: dict[bytes, Replicates] = field(default_factory=dict, compare=False, repr=False)

    def std_error(self, weights: Floats) -> float:
        """Clustered standard error with the factor G/(G-1)."""
        return _error(self.covariance, weights)

    def df(self, weights: Floats) -> float:
        """None: draws take the place of a distribution."""
        return float("nan")

    def replicates(self, weights: Floats) -> Replicates:
        """Draw the statistics of a combination, once."""
        key = weights.tobytes()
        if key not in self._made:
            self._made[key] = replicate_scores(
                scores=self.influence @ weights,
                n_clusters=int(self.there[:, weights != 0].any(axis=1).sum()),
                blocks=self.source.blocks(),
                enumerated=self.source.enumerated,
            )
        return self._made[key]

    def p_value(self, weights: Floats, null: float = 0.0) -> float:
        """Share of draws whose |t| is at least the actual one."""
        if np.isnan(self.std_error(weights)):
            return float("nan")
        return self.replicates(weights).p_unrestricted(float(weights @ self.coefficients) - null)

    def interval(self, weights: Floats, level: float) -> tuple[float, float]:
        """The nulls that the test does not reject at 1 - level."""
        if np.isnan(self.std_error(weights)):
            return float("nan"), float("nan")
        value, made = float(weights @ self.coefficients), self.replicates(weights)
        margin = made.critical_unrestricted(level) * float(np.sqrt(made.variance))
        return value - margin, value + margin

    def judge_jointly(self, weights: Floats) -> Joint:
        """Refuse: without residuals no null can be imposed."""
        raise InferenceError(
            "this estimator has no residuals on which to impose several hypotheses at once",
            where="wald",
            remedy="use Jackknife() or Cluster(), or judge the terms one by one by simultaneous bands",
        )

    def statistics(self, weights: Floats) -> Floats:
        """|t| of draws around the estimates, (q, B), the same draws for all rows of weights (q, k); errors as of std_error."""
        return np.stack([self._scaled(row) for row in weights])

    def critical(self, weights: Floats, level: float) -> float:
        """The number of standard errors within which the largest |t| of a draw around the estimates stays."""
        return critical_of_largest(self.statistics(weights), level)

    def ranked(self, weights: Floats) -> Ranks:
        """|t| and those of draws around the estimates."""
        actual = np.abs(weights @ self.coefficients) / np.array([self.std_error(row) for row in weights])
        return Ranks(actual, self.statistics(weights), whole=False)

    def _scaled(self, weights: Floats, distance: float = 0.0) -> Floats:
        made = self.replicates(weights)
        return made.statistics(distance) * float(np.sqrt(made.variance) / self.std_error(weights))
