"""The wild cluster bootstrap: residuals change sign by whole clusters."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from evalkit.catalogue import Message, message
from evalkit.errors import InferenceError, nearest
from evalkit.numerics.arrays import Flags, Floats
from evalkit.numerics.wild import (
    Replicates,
    Weights,
    can_enumerate_signs,
    count_weights,
    critical_of_largest,
    draw_weights,
    joint_p,
    replicate,
    replicate_scores,
)
from evalkit.progress import show_progress
from evalkit.results.basis import Seen, SeenByRows, name_determined, see
from evalkit.results.clusters import (
    Way,
    count_clusters,
    floors,
    named,
    only_rounding,
    outer,
    smallest_p,
    summed_influence,
    way_of,
    without,
)
from evalkit.results.estimation import OnCells, Specification
from evalkit.results.fit import Fit
from evalkit.results.loadings import Always, ByEffective, ByExpectedSize, OneByOne, loadings_of
from evalkit.results.uncertainty import Doubt, Joint, Ranks, Uncertainty, covariance_of, quadratic_form
from evalkit.tables.contents import in_short, same_content

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

    p counts ties; enumerated, the actual sample and its mirror image are among the draws, so that p is never 0. Without an
    imposed null p is (1 + #)/(B + 1), enumerated of the B vectors that are no mirror images of each other. Intervals invert the
    test: no null outside is kept, and they may have no end where the clusters are too few. Any combination of coefficients is
    tested in its own right: contrasts, averages, joint tests (on which all hypotheses are imposed, whatever `restricted` says).
    Standard errors are those of Cluster without a factor for parameters, G/(G-1) alone. Estimators without a regression get the
    score bootstrap: their influence is multiplied, the null is not imposed, and they have no joint test. With one treated cluster
    the restricted bootstrap never rejects and the unrestricted nearly always: then p counts as unsupported. Where that holds of
    some terms only, these have no standard error, and a note names them.
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
                f"weights {self.weights!r} are unknown",
                where="WildBootstrap",
                remedy=nearest(str(self.weights), ("rademacher", "webb")),
            )
        if not isinstance(self.restricted, bool):
            raise InferenceError(
                f"restricted is {self.restricted!r}", where="WildBootstrap", remedy="give True (WCR) or False (WCU)"
            )

    on_cells: ClassVar[OnCells] = "always"

    def columns(self) -> tuple[str, ...]:
        """Name the column of the clusters."""
        return () if self.by is None else (self.by,)

    def assess(self, fit: Fit, spec: Specification) -> Uncertainty:
        """Prepare the draws; each combination of coefficients is judged when it is asked for."""
        way = way_of(self.by, fit, spec)
        influence = summed_influence(fit, way, [1.0] * len(fit.parts))
        present = np.unique(np.concatenate(way.codes))
        level = self.by or spec.design.assigned_at
        named_at = spec.design.assigned_at == level
        labels = fit.parts[0].sample.clusters if named_at else spec.panel.codes(level).labels
        source = self._source(level, tuple(labels[code] for code in present))
        sizes = np.full(len(fit.terms), len(present))
        for part, size in zip(fit.parts, way.sizes, strict=True):
            sizes[part.positions] = size
        root = np.sqrt(sizes / (sizes - 1))
        covariance = outer(influence * root)
        empty = only_rounding(np.diag(covariance), fit)
        covariance = without(covariance, empty)
        notes: tuple[Message, ...] = ()
        if empty.any():
            notes = (message("note.no_cluster_variance", terms=named(fit, empty)),)
        clusters, parts = count_clusters(fit, way)
        plain = all(part.regression is not None for part in fit.parts)
        kind = "restricted" if self.restricted and plain else "unrestricted"
        loadings = loadings_of(fit, spec, way)
        doubt: Doubt = ByEffective(loadings, "note.wild_few", by_side=True)
        if kind == "unrestricted":
            doubt = ByExpectedSize(loadings)
        distribution: _WildDistribution | _ScoreDistribution
        if plain:
            seen = see(fit, way, "WildBootstrap")
            lost = np.any(seen.determined(), axis=0)
            alone = all(lost[i] for i, term in enumerate(fit.terms) if term.role == "effect")
            if alone:  # one treated cluster: p is given, but counts as unsupported
                doubt = Always(message("note.wild_few", listed=min(clusters.treated, clusters.control)))
            else:
                notes = (*notes, *name_determined(seen, spec, self.by, "WildBootstrap"))
            distribution = _WildDistribution(
                fit.coefficients, covariance, floors(fit), seen, source, self.restricted, alone
            )
            covariance = covariance if alone else np.where(lost[:, None] | lost, np.nan, covariance)
        else:
            distribution = _ScoreDistribution(
                fit.coefficients, covariance, influence[present], _members(fit, way)[present], source
            )
            notes = (*notes, message("note.score_bootstrap"))
        method = message(
            f"method.wild_{kind}",
            level=level,
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
            loadings,
            doubt,
            OneByOne(doubt),
            notes,
            distribution,
        )

    def _source(self, level: str, clusters: tuple[Any, ...]) -> _Source:
        n_clusters = len(clusters)
        weights: Weights = self.weights or ("webb" if n_clusters < _FEW_FOR_RADEMACHER else "rademacher")
        if can_enumerate_signs(n_clusters, weights):
            return _Source(level, clusters, weights, None, None)
        if self.draws is None or self.seed is None:
            raise InferenceError(
                f"the weights of {n_clusters} clusters are too many to enumerate",
                where="WildBootstrap",
                remedy="give draws= and seed=, for example WildBootstrap(draws=9999, seed=1)",
            )
        return _Source(level, clusters, weights, self.draws, self.seed)


def _members(fit: Fit, way: Way) -> Flags:
    """Flag (G, k) the clusters that have rows in the part that estimated a coefficient."""
    there = np.zeros((way.n_codes, len(fit.terms)), dtype=bool)
    for part, codes in zip(fit.parts, way.codes, strict=True):
        there[np.ix_(np.unique(codes), part.positions)] = True
    return there


@dataclass(frozen=True)
class _Source:
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

    @contextmanager
    def blocks(self) -> Iterator[Iterator[Floats]]:
        """Give blocks (B, G), and show how far they have been dealt with."""
        blocks = draw_weights(n_clusters=self.n_clusters, weights=self.weights, draws=self.draws, seed=self.seed)
        with show_progress("WildBootstrap", count_weights(self.n_clusters, self.weights, self.draws)) as advance:

            def counted() -> Iterator[Floats]:
                for block in blocks:
                    yield block
                    advance(len(block))

            yield counted()


def _error(covariance: Floats, weights: Floats) -> float:
    error = float(np.sqrt(max(float(covariance_of(weights[None], covariance)[0, 0]), 0.0)))
    return error if error > 0 else float("nan")


@dataclass(frozen=True, eq=False)
class _WildDistribution:
    """The bootstrap of a regression seen from its clusters.

    Combinations that rest on one cluster have no standard error, unless `alone` says that all effects do.
    """

    coefficients: Floats
    covariance: Floats
    floors: Floats
    seen: Seen | SeenByRows
    source: _Source
    restricted: bool
    alone: bool
    _made: dict[bytes, Replicates] = field(default_factory=dict, compare=False, repr=False)

    __eq__ = same_content
    __repr__ = in_short

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
            loads, scores, directions = self.seen.loads(weights[None])
            with self.source.blocks() as blocks:
                self._made[key] = replicate(
                    load=loads[:, 0],
                    scores=scores,
                    direction=directions[0],
                    blocks=blocks,
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
        loads, scores, directions = self.seen.loads(weights)
        with self.source.blocks() as blocks:
            p = joint_p(
                loads=loads,
                scores=scores,
                directions=directions,
                estimates=estimates,
                blocks=blocks,
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
        """|t| and those of draws, on each of which its own null is imposed where that is the distribution's rule."""
        values = weights @ self.coefficients
        actual = np.abs(values) / np.array([self.std_error(row) for row in weights])
        nulls = values if self.restricted else np.zeros(len(values))
        drawn = np.stack([self._scaled(row, float(null)) for row, null in zip(weights, nulls, strict=True)])
        return Ranks(actual, drawn, whole=self.restricted and self.source.enumerated)

    def _scaled(self, weights: Floats, distance: float = 0.0) -> Floats:
        made = self.replicates(weights)
        return made.statistics(distance) * float(np.sqrt(made.variance) / self.std_error(weights))


@dataclass(frozen=True, eq=False)
class _ScoreDistribution:
    """The bootstrap of influence (G, k) that the clusters have on the coefficients; `there` (G, k) flags those with any rows."""

    coefficients: Floats
    covariance: Floats
    influence: Floats
    there: Flags
    source: _Source
    _made: dict[bytes, Replicates] = field(default_factory=dict, compare=False, repr=False)

    __eq__ = same_content
    __repr__ = in_short

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
            with self.source.blocks() as blocks:
                self._made[key] = replicate_scores(
                    scores=self.influence @ weights,
                    n_clusters=int(self.there[:, weights != 0].any(axis=1).sum()),
                    blocks=blocks,
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
