"""The wild cluster bootstrap of a linear combination, from what each cluster contributes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Literal
from zlib import crc32

import numpy as np

from evalkit.columns import Flags, Floats

Weights = Literal["rademacher", "webb"]
MAX_ENUMERATED = 10_000
_POINTS: dict[Weights, tuple[float, ...]] = {
    "rademacher": (-1.0, 1.0),
    "webb": (-(1.5**0.5), -1.0, -(0.5**0.5), 0.5**0.5, 1.0, 1.5**0.5),
}
_CHUNK = 1 << 21  # numbers in one block of weights
_TIE = 2e-9  # relative, of squares: statistics that differ by less are one
_EMPTY = 1e-20  # share of the sum of its terms below which a square is rounding


def can_enumerate(n_clusters: int, weights: Weights) -> bool:
    """Say whether all vectors of weights are few enough to be enumerated."""
    return n_clusters * math.log(len(_POINTS[weights])) <= math.log(MAX_ENUMERATED)


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
        tau = distance / self.length
        numerator = self.numerator[0] + self.numerator[1] * tau
        square = self.square[0] + self.square[1] * tau + self.square[2] * tau**2
        extreme = numerator**2 * self.variance >= distance**2 * square * (1 - _TIE)
        count = int(np.count_nonzero(extreme | self._empty(square, tau)))
        return count / self.draws if self.enumerated else (1 + count) / (self.draws + 1)

    def p_unrestricted(self, distance: float) -> float:
        """Two-sided p from draws around the estimate, (1 + #)/(B + 1)."""
        statistics = self.statistics()
        limit = abs(distance) / np.sqrt(self.variance) if self.variance > 0 else np.inf
        return float((1 + np.count_nonzero(statistics >= limit * (1 - _TIE))) / (self.draws + 1))

    def statistics(self) -> Floats:
        """|t| (B,) of draws around the estimate; infinite where nothing is left to divide by."""
        square, empty = self.square[0], self._empty(self.square[0], 0.0)
        return np.where(empty, np.inf, np.abs(self.numerator[0]) / np.sqrt(np.where(empty, 1.0, square)))

    def _empty(self, square: Floats, tau: float) -> Flags:
        empty: Flags = square <= _EMPTY * (self.variance + (self.length * tau) ** 2)
        return empty

    def interval_restricted(self, level: float, error: float) -> tuple[float, float]:
        """Distances (below, above) from the estimate at which p falls to 1 - level; infinite where it never does.

        `error` is a standard error, the step of the search; the first crossing on either side counts.
        """
        ends = [self._crossing(side, 1 - level, error) for side in (1.0, -1.0)]
        return -ends[0], -ends[1]

    def _crossing(self, side: float, alpha: float, error: float) -> float:
        if self.p_restricted(side * error * 2.0**40) > alpha + 1e-12:
            return side * np.inf
        inner, outer = 0.0, side * error
        while self.p_restricted(outer) > alpha + 1e-12:
            inner, outer = outer, outer * 1.5
        for _ in range(50):
            middle = (inner + outer) / 2
            if self.p_restricted(middle) > alpha + 1e-12:
                inner = middle
            else:
                outer = middle
        return outer

    def critical_unrestricted(self, level: float) -> float:
        """The |t| above which p is at most 1 - level; infinite where there is none."""
        allowed = int(np.floor((1 - level) * (self.draws + 1) + 1e-9)) - 1
        return float(np.sort(self.statistics())[::-1][allowed]) if allowed >= 0 else float("inf")


def replicate(
    *, gram: Floats, scores: Floats, direction: Floats, blocks: Iterator[Floats], enumerated: bool
) -> Replicates:
    """Replicate the statistic of a direction (p,) of an orthonormal basis.

    gram (G, p, p) and scores (G, p) are those of numerics.clusters; blocks yield weights (B, G).
    """
    load = gram @ direction  # (G, p)
    own, pull = scores @ direction, load @ direction
    crossed = load.T @ load
    numerators: list[tuple[Floats, Floats]] = []
    squares: list[tuple[Floats, Floats, Floats]] = []
    sides = np.concatenate([scores, load, load * own[:, None], load * pull[:, None]], axis=1)
    p = len(direction)
    for w in blocks:
        z0, z1, y0, y1 = np.split(w @ sides, (p, 2 * p, 3 * p), axis=1)
        k0, k1 = z0 @ crossed, z1 @ crossed
        w2 = w**2
        numerators.append((z0 @ direction, z1 @ direction))
        squares.append(
            (
                w2 @ own**2 - 2 * _rows(y0, z0) + _rows(k0, z0),
                2 * (w2 @ (own * pull) - _rows(y1, z0) - _rows(y0, z1) + _rows(k0, z1)),
                w2 @ pull**2 - 2 * _rows(y1, z1) + _rows(k1, z1),
            )
        )
    first, second = zip(*numerators, strict=True)
    d0, d1, d2 = zip(*squares, strict=True)
    return Replicates(
        (np.concatenate(first), np.concatenate(second)),
        (np.concatenate(d0), np.concatenate(d1), np.concatenate(d2)),
        float(direction @ direction),
        float(own @ own),
        enumerated,
    )


def _rows(a: Floats, b: Floats) -> Floats:
    product: Floats = np.einsum("ij,ij->i", a, b)
    return product


def joint_p(
    *, gram: Floats, scores: Floats, directions: Floats, estimates: Floats, blocks: Iterator[Floats], enumerated: bool
) -> tuple[float, float]:
    """Wald statistic of directions (q, p) whose coefficients are all 0 under the null, and its p, the null imposed.

    estimates (q,) are the coefficients. The variance of each draw is clustered, without a small-sample factor; ties count.
    """
    load = np.einsum("gpr,qr->gpq", gram, directions)
    cross = directions @ directions.T
    away = directions.T @ np.linalg.solve(cross, estimates)  # (p,): residuals under the null are u + Q·away
    restricted = scores + gram @ away
    own = restricted @ directions.T  # (G, q)

    def statistics(w: Floats) -> Floats:
        z = w @ restricted  # (B, p)
        top = z @ directions.T
        left = w[:, :, None] * own - np.einsum("gpq,bp->bgq", load, z)
        V = np.einsum("bgq,bgr->bqr", left, left)
        return _solved(top, V)

    unrestricted = scores @ directions.T
    actual = float(_solved(estimates[None], (unrestricted.T @ unrestricted)[None])[0])
    extreme = total = 0
    for w in blocks:
        share = max(1, _CHUNK // (w.shape[1] * len(directions) * 4))
        for first in range(0, len(w), share):
            found = statistics(w[first : first + share])
            extreme += int(np.count_nonzero(~(found < actual * (1 - _TIE))))
            total += len(found)
    return actual, extreme / total if enumerated else (1 + extreme) / (total + 1)


def _solved(top: Floats, V: Floats) -> Floats:
    """Quadratic forms (B,) of top (B, q) in the inverses of V (B, q, q); infinite where V is singular."""
    scale = np.sqrt(np.maximum(np.einsum("bqq->bq", V), 1e-300))
    correlation = V / (scale[:, :, None] * scale[:, None, :])
    values, vectors = np.linalg.eigh(correlation)
    along = np.einsum("bqr,bq->br", vectors, top / scale)
    singular = values[:, 0] <= 1e-12 * values[:, -1]
    forms = np.einsum("br,br->b", along**2, 1 / np.where(singular[:, None], 1.0, values))
    return np.where(singular, np.inf, forms)


def replicate_scores(*, scores: Floats, blocks: Iterator[Floats], enumerated: bool) -> Replicates:
    """Multiply the clusters' scores (G,), whose sum is 0, by weights; their variance is taken around the mean of each draw.

    Source: Kline and Santos, Journal of Econometric Methods 1 (2012), section 2.
    """
    tops, squares = [], []
    for w in blocks:
        top = w @ scores
        tops.append(top)
        squares.append(w**2 @ scores**2 - top**2 / len(scores))
    numerator, square = np.concatenate(tops), np.concatenate(squares)
    none = np.zeros_like(numerator)
    return Replicates((numerator, none), (square, none, none), 1.0, float(scores @ scores), enumerated)
