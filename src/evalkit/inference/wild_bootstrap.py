"""The wild cluster bootstrap: residuals change sign by whole clusters."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from evalkit.catalogue import Message, message
from evalkit.columns import Floats
from evalkit.errors import InferenceError, nearest
from evalkit.estimation import Specification
from evalkit.fit import Fit
from evalkit.inference._basis import Seen, see, way_of
from evalkit.inference._clusters import count_clusters, smallest_p, summed_influence
from evalkit.inference._covariance import floors, named, only_rounding, without
from evalkit.law import Joint
from evalkit.numerics.wild import Replicates, Weights, can_enumerate, draw_weights, joint_p, replicate, replicate_scores
from evalkit.uncertainty import Clusters, Uncertainty

_LEAST_DRAWS = 99
_FEW_FOR_RADEMACHER = 8


@dataclass(frozen=True, kw_only=True)
class WildBootstrap:
    """Draw outcomes with the residuals of each cluster multiplied by one random weight, and rank the actual t among theirs.

    draws, seed  needed where not all vectors of weights can be enumerated (more than 10,000: from 14 clusters on, or with Webb's
                 weights from 6 on).
    restricted   impose the null hypothesis on the residuals (WCR, the default), or not (WCU).
    weights      "rademacher" (±1), or "webb" (six points); by default the latter below 8 clusters, of which ±1 makes too few.
    by           column of the clusters; by default the units of assignment.

    p counts ties; enumerated, the actual sample and its mirror image are among the draws, so that p is never 0. Intervals invert
    the test, and may have no end where the clusters are too few. Any combination of coefficients is tested in its own right:
    contrasts, averages, joint tests (the null of all of them imposed). Standard errors are those of Cluster without a factor
    for parameters, G/(G-1) alone. Estimators without a regression get the score bootstrap: their influence is multiplied, the
    null is not imposed, and they have no joint test. With one treated cluster the restricted bootstrap never rejects and the
    unrestricted nearly always: then p counts as unsupported.
    Sources: Cameron, Gelbach and Miller, Review of Economics and Statistics 90 (2008); Webb, Canadian Journal of Economics 56
    (2023); Roodman, Nielsen, MacKinnon and Webb, Stata Journal 19 (2019); Kline and Santos, Journal of Econometric Methods 1
    (2012), on scores; MacKinnon and Webb, Econometrics Journal 21 (2018), on few treated clusters.
    """

    draws: int | None = None
    seed: int | None = None
    restricted: bool = True
    weights: Weights | None = None
    by: str | None = None

    def __post_init__(self) -> None:
        for name, value, least in (("draws", self.draws, _LEAST_DRAWS), ("seed", self.seed, 0)):
            if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < least):
                raise InferenceError(
                    f"{name} is {value!r}", where="WildBootstrap", remedy=f"give a whole number from {least} on"
                )
        if self.weights not in (None, "rademacher", "webb"):
            raise InferenceError(
                f"weights '{self.weights}' are unknown",
                where="WildBootstrap",
                remedy=nearest(self.weights, ("rademacher", "webb")),
            )

    def assess(self, fit: Fit, spec: Specification) -> Uncertainty:
        """Prepare the draws; each combination of coefficients is judged when it is asked for."""
        way = way_of(self.by, fit, spec)
        influence = summed_influence(fit, way, [1.0] * len(fit.parts))
        present = np.unique(np.concatenate(way.codes))
        source = self._source(len(present))
        sizes = np.full(len(fit.terms), len(present))
        for part, size in zip(fit.parts, way.sizes, strict=True):
            sizes[part.positions] = size
        root = np.sqrt(sizes / (sizes - 1))
        covariance = (influence * root).T @ (influence * root)
        empty = only_rounding(np.diag(covariance), fit)
        covariance = without(covariance, empty)
        notes: tuple[Message, ...] = ()
        if empty.any():
            notes = (message("note.no_cluster_variance", terms=named(fit, empty)),)
        law: WildLaw | ScoreLaw
        plain = all(part.regression is not None for part in fit.parts)
        if plain:
            law = WildLaw(
                fit.coefficients, covariance, floors(fit), see(fit, way, "WildBootstrap"), source, self.restricted
            )
        else:
            law = ScoreLaw(fit.coefficients, covariance, influence[present], source)
            notes = (*notes, message("note.score_bootstrap"))
        clusters, parts = count_clusters(fit, way)
        kind = "restricted" if self.restricted and plain else "unrestricted"
        method = message(
            f"method.wild_{kind}",
            level=self.by or spec.design.assigned_at,
            weights=message(f"wild.{source.weights}"),
            draws=message("wild.enumerated" if source.draws is None else "wild.drawn", draws=source.draws),
        )
        return Uncertainty(
            covariance,
            np.full(len(fit.terms), np.nan),
            method,
            smallest_p(fit),
            clusters,
            parts,
            _too_few(parts, by_cohort=any(part.by_cohort for part in fit.parts), restricted=kind == "restricted"),
            _too_few(parts, by_cohort=any(part.by_cohort for part in fit.parts), restricted=kind == "restricted"),
            notes,
            law,
        )

    def _source(self, n_clusters: int) -> Source:
        weights: Weights = self.weights or ("webb" if n_clusters < _FEW_FOR_RADEMACHER else "rademacher")
        if can_enumerate(n_clusters, weights):
            return Source(n_clusters, weights, None, None)
        if self.draws is None or self.seed is None:
            raise InferenceError(
                f"the weights of {n_clusters} clusters are too many to enumerate",
                where="WildBootstrap",
                remedy="give draws= and seed=, for example WildBootstrap(draws=9999, seed=1)",
            )
        return Source(n_clusters, weights, self.draws, self.seed)


def _too_few(parts: tuple[Clusters, ...], *, by_cohort: bool, restricted: bool) -> Message | None:
    """Say which part has too few treated or control clusters: one, or two where the null is not imposed."""
    for clusters in parts:
        treated = clusters.smallest_cohort if by_cohort else clusters.treated
        if min(treated, clusters.control) <= (1 if restricted else 2):
            return message("note.wild_few", treated=treated, control=clusters.control)
    return None


@dataclass(frozen=True)
class Source:
    """Where the weights come from: all vectors (draws None), or random ones, the same each time they are asked for."""

    n_clusters: int
    weights: Weights
    draws: int | None
    seed: int | None

    @property
    def enumerated(self) -> bool:
        """Say whether all vectors are taken."""
        return self.draws is None

    def blocks(self) -> Iterator[Floats]:
        """Yield blocks (B, G)."""
        return draw_weights(n_clusters=self.n_clusters, weights=self.weights, draws=self.draws, seed=self.seed)


def _error(covariance: Floats, weights: Floats) -> float:
    error = float(np.sqrt(max(float(weights @ covariance @ weights), 0.0)))
    return error if error > 0 else float("nan")


@dataclass(frozen=True)
class WildLaw:
    """The bootstrap of a regression seen from its clusters."""

    coefficients: Floats
    covariance: Floats
    floors: Floats
    seen: Seen
    source: Source
    restricted: bool
    _made: dict[bytes, Replicates] = field(default_factory=dict, compare=False, repr=False)

    def std_error(self, weights: Floats) -> float:
        """Clustered standard error with the factor G/(G-1)."""
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
            raise InferenceError("a term has no standard error", where="wald", remedy="leave out the reference term")
        if q >= self.source.n_clusters - 1:
            raise InferenceError(
                f"{q} terms cannot be tested jointly with {self.source.n_clusters} clusters",
                where="wald",
                remedy="test fewer terms, or bin event times",
            )
        statistic, p = joint_p(
            gram=self.seen.basis.gram,
            scores=self.seen.basis.scores,
            directions=weights @ self.seen.directions,
            estimates=weights @ self.coefficients,
            blocks=self.source.blocks(),
            enumerated=self.source.enumerated,
        )
        factor = (self.source.n_clusters - 1) / self.source.n_clusters
        return Joint(statistic * factor / q, (q, float("nan")), p)

    def statistics(self, weights: Floats) -> Floats:
        """Absolute t of draws around the estimates, (q, B), the same draws for all rows of weights (q, k)."""
        return np.stack([self.replicates(row).statistics() for row in weights])


@dataclass(frozen=True)
class ScoreLaw:
    """The bootstrap of influence (G, k) that the clusters have on the coefficients."""

    coefficients: Floats
    covariance: Floats
    influence: Floats
    source: Source

    def std_error(self, weights: Floats) -> float:
        """Clustered standard error with the factor G/(G-1)."""
        return _error(self.covariance, weights)

    def df(self, weights: Floats) -> float:
        """None: draws take the place of a distribution."""
        return float("nan")

    def replicates(self, weights: Floats) -> Replicates:
        """Draw the statistics of a combination."""
        return replicate_scores(
            scores=self.influence @ weights, blocks=self.source.blocks(), enumerated=self.source.enumerated
        )

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
        """Absolute t of draws around the estimates, (q, B), the same draws for all rows of weights (q, k)."""
        return np.stack([self.replicates(row).statistics() for row in weights])
