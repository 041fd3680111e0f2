"""The wild cluster bootstrap of a linear combination, from what each cluster contributes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Literal
from zlib import crc32

import numpy as np

from evalkit.numerics.arrays import Floats

Weights = Literal["rademacher", "webb"]
MAX_SIGNS = 10_000
_POINTS: dict[Weights, tuple[float, ...]] = {
    "rademacher": (-1.0, 1.0),
    "webb": (-(1.5**0.5), -1.0, -(0.5**0.5), 0.5**0.5, 1.0, 1.5**0.5),
}
_CHUNK = 1 << 20  # numbers in one block of weights
_CACHED, _FEWEST = 1 << 13, 32  # numbers, and draws, in one step
_FEW_CLUSTERS = 64  # up to which products of clusters with clusters are small
_TIE = 2e-9  # relative, of squares: statistics that differ by less are one
_NOTHING = 1e-24  # share of the sum of its terms below which a sum of squares is rounding
_CANCELLED = 1e-14  # the same of a polynomial whose coefficients were rounded before
_STEP, _STEPS = 1.5, (-4, 69)  # of the search for the end of an interval: a fifth of a standard error to 10^12 of them


def can_enumerate_signs(n_clusters: int, weights: Weights) -> bool:
    """Say whether all vectors of weights are few enough to be enumerated."""
    return n_clusters * math.log(len(_POINTS[weights])) <= math.log(MAX_SIGNS)


def count_weights(n_clusters: int, weights: Weights, draws: int | None) -> int:
    """Count the vectors that `draw_weights` yields."""
    points = len(_POINTS[weights])
    return points**n_clusters // 2 if draws is None else draws


def draw_weights(*, n_clusters: int, weights: Weights, draws: int | None, seed: int | None) -> Iterator[Floats]:
    """Yield blocks (B, G) of weights: all vectors, one of each pair of mirror images, where draws is None, else random ones."""
    points = np.array(_POINTS[weights])
    if draws is None:
        vectors = np.array(list(product(points, repeat=n_clusters)))
        yield vectors[vectors[:, 0] > 0]
        return
    generator = np.random.default_rng(np.random.SeedSequence([int(seed or 0), crc32(b"wild")]))
    block = max(1, _CHUNK // n_clusters)
    for first in range(0, draws, block):
        size = (min(block, draws - first), n_clusters)
        yield points[generator.integers(0, len(points), size=size, dtype=np.uint8)]


@dataclass(frozen=True)
class Replicates:
    """Bootstrap statistics of one combination v·Q'y as functions of the hypothesis.

    With tau = (estimate - null) / length, length = |v|², a draw has the `numerator` N0 + N1 tau and the squared denominator,
    `square`, D0 + D1 tau + D2 tau² (each (B,)); `variance` is that of the sample itself. Small-sample factors cancel and are left
    out. Without an imposed null only N0 and D0 count. Source: Roodman, Nielsen, MacKinnon and Webb, Stata Journal 19 (2019),
    section 5; the algebra in an orthonormal basis is ours.
    """

    numerator: tuple[Floats, Floats]
    square: tuple[Floats, Floats, Floats]
    length: float
    variance: float
    enumerated: bool

    @property
    def draws(self) -> int:
        return len(self.numerator[0])

    def p_restricted(self, distance: float) -> float:
        """Two-sided p of a null at this distance (estimate - null), the null imposed on the draws; ties count.

        The share of all vectors where they were enumerated, the actual one among them; else (1 + #)/(B + 1).
        """
        tau, excess = distance / self.length, self._excess[0].copy()
        for coefficient in self._excess[1:]:
            excess *= tau
            excess += coefficient
        count = int(np.count_nonzero(excess >= 0))
        return count / self.draws if self.enumerated else (1 + count) / (self.draws + 1)

    @cached_property
    def _excess(self) -> Floats:
        """Coefficients (5, B), of tau to the fourth first, of numerator² · variance - distance² · square.

        That is 0 or more where t is as large as the sample's.
        """
        (n0, n1), (d0, d1, d2) = self.numerator, self.square
        own, sample = self.variance, self.length**2 * (1 - _TIE)
        return np.stack([-sample * d2, -sample * d1, own * n1**2 - sample * d0, 2 * own * n0 * n1, own * n0**2])

    def p_unrestricted(self, distance: float) -> float:
        """Two-sided p from draws around the estimate, (1 + #)/(B + 1)."""
        statistics = self.statistics()
        limit = abs(distance) / np.sqrt(self.variance) if self.variance > 0 else np.inf
        return float((1 + np.count_nonzero(statistics >= limit * (1 - _TIE))) / (self.draws + 1))

    def statistics(self, distance: float = 0.0) -> Floats:
        """|t| (B,) of draws on which a null at this distance is imposed (0: around the estimate); infinite where divided by 0."""
        tau = distance / self.length
        ends = self.square[0] + self.square[2] * tau**2
        square = ends + self.square[1] * tau
        left = square > (_CANCELLED * ends if tau else 0.0)
        numerator = np.abs(self.numerator[0] + self.numerator[1] * tau)
        return np.where(left, numerator / np.sqrt(np.where(left, square, 1.0)), np.inf)

    def interval_restricted(self, level: float, error: float) -> tuple[float, float]:
        """Distances (below, above) from the estimate beyond which p is at most 1 - level; infinite where it never is.

        p need not fall steadily: what counts is the last crossing that steps of a half, in units of `error`, a standard error,
        come upon, so that nulls inside may be rejected, but none outside is kept.
        """
        steps = [0.0, *(error * _STEP**k for k in range(*_STEPS))]
        furthest = int(np.searchsorted(steps, self._bound(1 - level))) + 1
        ends = [self._crossing(side, 1 - level, steps, furthest) for side in (1.0, -1.0)]
        return -ends[0], -ends[1]

    def _crossing(self, side: float, alpha: float, steps: list[float], furthest: int) -> float:
        def kept(distance: float) -> bool:
            return self.p_restricted(side * distance) > alpha + 1e-12

        last = max(i for i, step in enumerate(steps[: furthest + 1]) if i == 0 or kept(step))
        if last == len(steps) - 1:
            return side * np.inf
        inner, outer = steps[last], steps[last + 1]
        for _ in range(36):
            middle = (inner + outer) / 2
            inner, outer = (middle, outer) if kept(middle) else (inner, middle)
        return side * outer

    def _bound(self, alpha: float) -> float:
        """A distance beyond which p is at most alpha: there too few draws can be as large as the sample.

        Source: Fujiwara, Tohoku Mathematical Journal 10 (1916), on the largest root of a polynomial.
        """
        leading = np.abs(self._excess[0])
        with np.errstate(divide="ignore", invalid="ignore"):
            roots = [np.abs(row / leading) ** (1 / k) for k, row in enumerate(self._excess[1:], start=1)]
        bounds = np.where(leading > 0, 2 * np.max(roots, axis=0), np.inf) * self.length
        allowed = int(alpha * self.draws) - 1  # of draws beyond the bound; one less than p lets pass
        return float(np.sort(bounds)[::-1][allowed]) if allowed >= 0 else np.inf

    def critical_unrestricted(self, level: float) -> float:
        """The |t| above which p is at most 1 - level; infinite where there is none."""
        return critical_of_largest(self.statistics()[None], level)


def critical_of_largest(statistics: Floats, level: float) -> float:
    """The |t| above which p, ranked among the largest of each draw (q, B), is at most 1 - level; infinite where there is none."""
    largest = statistics.max(axis=0)
    allowed = int(np.floor((1 - level) * (len(largest) + 1) + 1e-9)) - 1
    return float(np.sort(largest)[::-1][allowed]) if allowed >= 0 else float("inf")


def replicate(
    *, load: Floats, scores: Floats, direction: Floats, blocks: Iterator[Floats], enumerated: bool
) -> Replicates:
    """Replicate the statistic of a direction v (p,) of an orthonormal basis Q.

    load (G, p) holds Q_g'Q_g v and scores (G, p) Q_g'u_g, u being residuals; blocks yield weights (B, G).
    """
    own, pull = scores @ direction, load @ direction
    few = len(own) <= max(_FEW_CLUSTERS, len(direction))
    squares = (_few_squares if few else _many_squares)(scores, load, own, pull)
    tops, ends = [], []
    for w in _slices(blocks, 1):
        tops.append(_against(w, np.stack([own, pull])))
        ends.append(squares(w))
    numerator, square = np.concatenate(tops, axis=1), np.concatenate(ends, axis=1)
    return Replicates(
        (numerator[0], numerator[1]),
        (square[0], square[1], square[2]),
        float(direction @ direction),
        float(own @ own),
        enumerated,
    )


def _few_squares(scores: Floats, load: Floats, own: Floats, pull: Floats) -> Callable[[Floats], Floats]:
    """Make the coefficients (3, B) of a draw's squared denominator from the scores of its residuals in each cluster."""
    sides = scores @ load.T, load @ load.T

    def squares(w: Floats) -> Floats:
        left, per_tau = w * own - w @ sides[0], w * pull - w @ sides[1]
        terms = np.stack([_rows(left, left), 2 * _rows(left, per_tau), _rows(per_tau, per_tau)])
        # The sample itself and its mirror image have no part that grows with tau: what is left of it is rounding, which nulls far
        # away would magnify.
        w2 = w**2
        terms[1:, terms[2] <= _NOTHING * (w2 @ pull**2)] = 0.0
        terms[:2, terms[0] <= _NOTHING * (w2 @ own**2)] = 0.0
        return terms

    return squares


def _many_squares(scores: Floats, load: Floats, own: Floats, pull: Floats) -> Callable[[Floats], Floats]:
    """The same with the squares multiplied out, from sums over clusters alone; the sample is not among draws of so many."""
    sides = np.concatenate([scores, load, load * own[:, None], load * pull[:, None]], axis=1).T.copy()
    alone, crossed = np.stack([own**2, 2 * own * pull, pull**2]), load.T @ load

    def squares(w: Floats) -> Floats:
        z0, z1, y0, y1 = np.split(_against(w, sides), 4)
        k0, k1 = crossed @ z0, crossed @ z1
        left = [(k0 - 2 * y0) * z0, 2 * (k0 * z1 - y1 * z0 - y0 * z1), (k1 - 2 * y1) * z1]
        found: Floats = _against(w**2, alone) + np.sum(left, axis=1)
        return found

    return squares


def _against(w: Floats, sides: Floats) -> Floats:
    """Sums (p, B) of weights (B, G) times sides (p, G), without BLAS, whose threads would cost more than they save."""
    sums: Floats = np.einsum("bg,pg->pb", w, sides)
    return sums


def _slices(blocks: Iterator[Floats], per_weight: int) -> Iterator[Floats]:
    """Cut blocks so that what is computed of each, `per_weight` numbers for each weight, stays in the processor's cache."""
    for w in blocks:
        step = max(_FEWEST, _CACHED // (w.shape[1] * per_weight))
        for first in range(0, len(w), step):
            yield w[first : first + step]


def _rows(a: Floats, b: Floats) -> Floats:
    product: Floats = np.einsum("ij,ij->i", a, b)
    return product


def joint_p(
    *, loads: Floats, scores: Floats, directions: Floats, estimates: Floats, blocks: Iterator[Floats], enumerated: bool
) -> float:
    """p of the hypothesis that the coefficients of all directions (q, p) are 0, by Wald statistics with all of it imposed.

    loads (G, q, p) and scores (G, p) are as in replicate, estimates (q,) the coefficients; directions are independent. The
    variance of each draw is clustered, without a small-sample factor; ties count.
    """
    n_clusters, q = loads.shape[:2]
    load = np.ascontiguousarray(loads.transpose(2, 0, 1)).reshape(-1, n_clusters * q)  # (p, G q)
    shares_of = np.linalg.solve(directions @ directions.T, estimates)
    away = directions.T @ shares_of  # (p,): residuals under the null are u + Q away
    own, pull = scores @ directions.T, (away @ load).reshape(n_clusters, q)
    loads_away = np.einsum("q,gqp->gp", shares_of, loads)

    def shares(w: Floats, scores: Floats, own: Floats) -> Floats:
        """Scores (B, G, q) of the draws' residuals."""
        left = w[:, :, None] * own
        left -= (w @ scores @ load).reshape(left.shape)
        return left

    def statistics(w: Floats) -> Floats:
        left, more = shares(w, scores, own), shares(w, loads_away, pull)
        size = np.einsum("bg,gq->b", w**2, pull**2)
        more[np.einsum("bgq,bgq->b", more, more) <= _NOTHING * size] = 0.0  # as in replicate
        left += more
        return _solved(w @ (own + pull), left.transpose(0, 2, 1) @ left)

    actual = float(_solved(estimates[None], (own.T @ own)[None])[0])
    extreme = total = 0
    for w in _slices(blocks, q):
        found = statistics(w)
        extreme += int(np.count_nonzero(~(found < actual * (1 - _TIE))))
        total += len(found)
    return extreme / total if enumerated else (1 + extreme) / (total + 1)


def _solved(top: Floats, V: Floats) -> Floats:
    """Quadratic forms (B,) of top (B, q) in the inverses of V (B, q, q); infinite where V is singular."""
    scale = np.sqrt(np.maximum(np.einsum("bqq->bq", V), 1e-300))
    correlation = V / (scale[:, :, None] * scale[:, None, :])
    values, vectors = np.linalg.eigh(correlation)
    along = np.einsum("bqr,bq->br", vectors, top / scale)
    singular = values[:, 0] <= 1e-12 * values[:, -1]
    forms = np.einsum("br,br->b", along**2, 1 / np.where(singular[:, None], 1.0, values))
    return np.where(singular, np.inf, forms)


def replicate_scores(*, scores: Floats, n_clusters: int, blocks: Iterator[Floats], enumerated: bool) -> Replicates:
    """Multiply the clusters' scores (G,), whose sum is 0, by weights; their variance is taken around the mean of each draw.

    `n_clusters` of them belong to the sample, at most G; the others' scores are 0.
    Source: Kline and Santos, Journal of Econometric Methods 1 (2012), section 2.
    """
    tops, squares = [], []
    for w in blocks:
        top = w @ scores
        total = w**2 @ scores**2
        left = total - top**2 / n_clusters
        tops.append(top)
        squares.append(np.where(left > _CANCELLED * total, left, 0.0))
    numerator, square = np.concatenate(tops), np.concatenate(squares)
    none = np.zeros_like(numerator)
    return Replicates((numerator, none), (square, none, none), 1.0, float(scores @ scores), enumerated)
