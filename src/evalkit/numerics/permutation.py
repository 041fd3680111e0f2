"""Ranking a statistic among its values under other assignments, the nulls not rejected, and the assignments themselves."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

import numpy as np
from scipy.special import gammaln

from evalkit.numerics.arrays import Flags, Floats, Ints

_TIE = 2e-9  # relative, of squares: statistics that differ by less are one
_EMPTY = 1e-20  # share of the sum of its terms below which a square is rounding
_FAR = 1e6  # standard errors beyond which an interval has no end
_SINGULAR = 1e-10  # of the eigenvalues of a correlation matrix


@dataclass(frozen=True)
class Moments:
    """E effects under B assignments, estimated from the outcome and, where m = 2, from the actual treatment in its place.

    coefficients (m, B, E); squares (m(m+1)/2, B, E, E) sum the products of the clusters' influence: of the outcome with itself,
    of the outcome with the treatment, of the treatment with itself. NaN where an effect cannot be estimated; squares is None
    where the estimator has no influence.
    """

    coefficients: Floats
    squares: Floats | None

    def along(self, weights: Floats, pattern: Floats) -> Line:
        """A combination of effects (E,), as effects r times `pattern` (E,) are taken away from the outcome."""
        at = np.flatnonzero(weights)
        w, u = weights[at], (weights * pattern)[at]
        top = self.coefficients[:, :, at]
        slope = top[1] @ u if len(top) == 2 else np.zeros(top.shape[1])
        none = np.zeros_like(slope)
        if self.squares is None:
            return Line(top[0] @ w, slope, none + 1.0, none, none)
        squares = self.squares[:, :, at[:, None], at]
        rest = (_form(squares[1], w, u), _form(squares[2], u, u)) if len(top) == 2 else (none, none)
        return Line(top[0] @ w, slope, _form(squares[0], w, w), *rest)

    def wald(self, weights: Floats) -> tuple[Floats, Floats]:
        """Wald statistics (B,) of several combinations (q, E), NaN where their covariance is singular; their largest t² (B,)."""
        at = np.flatnonzero(np.any(weights != 0, axis=0))
        w, top = weights[:, at], self.coefficients[0][:, at]
        estimates = top @ w.T
        if self.squares is None:
            return np.full(len(top), np.nan), np.max(estimates**2, axis=1)
        V = w @ self.squares[0][:, at[:, None], at] @ w.T
        scale = np.sqrt(np.maximum(np.einsum("bqq->bq", V), 0.0))
        usable = np.isfinite(estimates).all(axis=1) & (scale > 0).all(axis=1)
        forms, largest = np.full(len(top), np.nan), np.full(len(top), np.nan)
        z, scale = estimates[usable] / scale[usable], scale[usable]
        values, vectors = np.linalg.eigh(V[usable] / (scale[:, :, None] * scale[:, None, :]))
        along = np.einsum("bqr,bq->br", vectors, z)
        regular = values[:, 0] > _SINGULAR * values[:, -1]
        forms[usable] = np.where(regular, (along**2 / np.where(regular[:, None], values, 1.0)).sum(axis=1), np.nan)
        largest[usable] = np.max(z**2, axis=1)
        return forms, largest


def _form(squares: Floats, left: Floats, right: Floats) -> Floats:
    product: Floats = np.einsum("bij,i,j->b", squares, left, right)
    return product


@dataclass(frozen=True)
class Line:
    """A statistic's numerator n0 - r n1 and squared denominator d0 - 2 r d1 + r² d2 under B assignments, (B,) each.

    r is the effect taken away from the outcome beforehand.
    """

    n0: Floats
    n1: Floats
    d0: Floats
    d1: Floats
    d2: Floats

    def at(self, r: float) -> tuple[Floats, Floats]:
        """Numerator and squared denominator (B,), the latter 0 where it is rounding."""
        if r == 0:  # asks nothing of the slopes, which may be unknown
            return self.n0, self.d0
        square = self.d0 - 2 * r * self.d1 + r**2 * self.d2
        return self.n0 - r * self.n1, np.where(square > _EMPTY * (self.d0 + r**2 * self.d2), square, 0.0)

    def moved(self, centre: float, scale: float) -> Line:
        """The same as a function of (r - centre) / scale."""
        d1 = self.d1 - centre * self.d2
        d0 = self.d0 - 2 * centre * self.d1 + centre**2 * self.d2
        return Line(self.n0 - centre * self.n1, scale * self.n1, d0, scale * d1, scale**2 * self.d2)


@dataclass(frozen=True)
class Ranked:
    """The actual statistic (a Line of one) among those of B assignments: all, the actual one among them, or random ones."""

    actual: Line
    others: Line
    enumerated: bool

    def p_value(self, r: float = 0.0) -> float:
        """Share of assignments whose |t| is at least the actual one's, once r is taken away; ties and failures count.

        (1 + #)/(B + 1) where they are random.
        """
        return float(self._share(int(np.count_nonzero(self._extreme(r)))))

    def floor(self) -> float:
        """Smallest p that could be attained: as many assignments as tie with the actual one, or fail."""
        failed = int(np.isnan(self.others.n0).sum())
        if not self.enumerated:
            return float(self._share(failed))
        ties = int(np.count_nonzero(self._extreme(0.0) & ~self._beyond())) - failed
        return float(self._share(max(ties, 1) + failed))

    def rank(self) -> int:
        """Rank of the actual statistic: 1 where none is larger; those that fail are before it."""
        return 1 + int(np.count_nonzero(self._beyond() | np.isnan(self.others.n0)))

    def interval(self, level: float) -> tuple[float, float]:
        """Outermost effects whose p exceeds 1 - level; infinite where p does so at a million standard errors.

        An assignment changes sides where a polynomial of degree 4 in r, or 2 without standard errors, is zero.
        """
        centre = float(self.actual.n0[0] / self.actual.n1[0])
        square = float(self.actual.at(centre)[1][0])
        plain = bool((self.others.d2 == 0).all() and (self.others.d1 == 0).all())
        scale = float(np.nanmax(np.abs(self.others.n0))) if plain else np.sqrt(square) / abs(float(self.actual.n1[0]))
        coefficients = self._polynomials(centre, scale)
        ends = [self._end(coefficients * np.array([1.0, side, 1.0, side, 1.0]), 1 - level) for side in (1.0, -1.0)]
        return centre - scale * ends[1], centre + scale * ends[0]

    def _extreme(self, r: float) -> Flags:
        n, square = self.others.at(r)
        own, own_square = self.actual.at(r)
        return ~(n**2 * own_square < own**2 * square * (1 - _TIE))  # NaN counts

    def _beyond(self) -> Flags:
        n, square = self.others.at(0.0)
        own, own_square = self.actual.at(0.0)
        beyond: Flags = n**2 * own_square > own**2 * square * (1 + _TIE)
        return beyond

    def _share(self, count: int | Ints) -> Floats:
        total = len(self.others.n0)
        share: Floats = np.asarray(count) / total if self.enumerated else (1 + np.asarray(count)) / (total + 1)
        return share

    def _polynomials(self, centre: float, scale: float) -> Floats:
        """Coefficients (B, 5), ascending, of n²·(actual square) - (actual n)²·square in units of `scale` around `centre`."""
        own, others = self.actual.moved(centre, scale), self.others.moved(centre, scale)

        def product(a: Floats, b: Floats) -> Floats:
            whole = np.zeros((max(len(a), len(b)), 5))
            for i in range(a.shape[1]):
                for j in range(b.shape[1]):
                    if i + j < 5:
                        whole[:, i + j] += a[:, i] * b[:, j]
            return whole

        def parts(line: Line) -> tuple[Floats, Floats]:
            n = np.column_stack([line.n0, -line.n1])
            return product(n, n)[:, :3], np.column_stack([line.d0, -2 * line.d1, line.d2])

        (own_n, own_d), (n, d) = parts(own), parts(others)
        own_n[:, :2] = 0.0  # at the estimate itself nothing is left
        return product(n, own_d) - (1 - _TIE) * product(d, own_n)

    def _end(self, coefficients: Floats, alpha: float) -> float:
        """Outermost v > 0 at which p exceeds alpha, given polynomials (B, 5) in v that are not negative where extreme."""
        far = ~(np.polynomial.polynomial.polyval(_FAR, coefficients.T) < 0)
        if self._share(int(np.count_nonzero(far))) > alpha + 1e-12:
            return float("inf")
        moving = np.flatnonzero(~far)  # whoever is extreme so far out is taken to be so all the way
        roots, owner = positive_roots(coefficients[moving])
        order = np.argsort(roots)[::-1]
        roots, owner = roots[order], moving[owner[order]]
        rising = np.einsum("ij,ij->i", coefficients[owner, 1:], np.arange(1, 5) * roots[:, None] ** np.arange(4)) > 0
        counts = np.count_nonzero(far) + np.cumsum(np.where(rising, -1, 1))
        return float(roots[np.argmax(self._share(counts) > alpha + 1e-12)])


def joint_rank(actual: Moments, others: Moments, weights: Floats, *, enumerated: bool) -> tuple[float, float]:
    """Rank the Wald statistic of q combinations (q, E): the statistic over q, and its p as of Ranking.

    Where the actual covariance is singular, and without standard errors, the largest t² is ranked. Assignments under which
    only theirs is singular count as extreme.
    """
    (form,), (largest,) = actual.wald(weights)
    forms, all_largest = others.wald(weights)
    own, found = (largest, all_largest) if np.isnan(form) else (form / len(weights), forms / len(weights))
    count = int(np.count_nonzero(~(found < own * (1 - _TIE))))
    return float(own), count / len(found) if enumerated else (1 + count) / (len(found) + 1)


def positive_roots(coefficients: Floats) -> tuple[Floats, Ints]:
    """Positive real roots of polynomials (B, 5), ascending, of degree 4 or 2, and the rows that have them."""
    both = coefficients, coefficients[:, 1:] * np.arange(1, 5)
    quartic = coefficients[:, 4] != 0
    rows = np.flatnonzero(quartic)
    companion = np.zeros((len(rows), 4, 4))
    companion[:, 1:, :3] = np.eye(3)
    companion[:, :, 3] = -coefficients[rows, :4] / coefficients[rows, 4:]
    found = np.linalg.eigvals(companion) if len(rows) else np.zeros((0, 4), dtype=complex)
    owner = [np.repeat(rows, 4)]
    rows = np.flatnonzero(~quartic)
    c, b, a = coefficients[rows, :3].T
    with np.errstate(invalid="ignore", divide="ignore"):
        root = np.sqrt((b**2 - 4 * a * c).astype(complex))
        # Not the textbook's formula alone, which loses the smaller root: their product is c / a.
        larger = -(b + np.where(b >= 0, 1.0, -1.0) * root) / 2
        pair = np.column_stack([larger / a, c / larger])
    owner.append(np.repeat(rows, 2))
    every, owners = np.concatenate([found.ravel(), pair.ravel()]), np.concatenate(owner)
    real = (every.imag == 0) & (every.real > 0) & np.isfinite(every.real)
    roots, owners = every.real[real], owners[real]
    for _ in range(2):  # Newton's steps: eigenvalues are exact only in relation to the largest
        value, slope = (np.einsum("ij,ij->i", c[owners], roots[:, None] ** np.arange(c.shape[1])) for c in both)
        step = np.divide(value, slope, out=np.zeros_like(value), where=slope != 0)
        roots = np.where(np.abs(step) < 1e-3 * roots, roots - step, roots)
    return roots, owners


MAX_ENUMERATED = 10_000
_EXACT = 1000  # clusters up to which counts are exact integers


def count_assignments(cohort: Ints, strata: Ints | None = None) -> int:
    """Count the distinct assignments that keep how many clusters (G,) are in each cohort: a multinomial coefficient.

    With strata (G,) the numbers are kept in each stratum, and the counts of all strata multiply.
    """
    return math.prod(
        math.factorial(int(sizes.sum())) // math.prod(math.factorial(int(size)) for size in sizes)
        for sizes in _sizes(cohort, strata)
    )


def log10_assignments(cohort: Ints, strata: Ints | None = None) -> float:
    """Return the decimal logarithm of their count, which can have thousands of digits."""
    if len(cohort) <= _EXACT:
        return math.log10(count_assignments(cohort, strata))
    logs = (gammaln(sizes.sum() + 1) - gammaln(sizes + 1).sum() for sizes in _sizes(cohort, strata))
    return float(sum(logs) / math.log(10))


@dataclass(frozen=True)
class Assignments:
    """The assignments (G,) to go through: all of them while there are at most so `many`, else `draws` random ones by `seed`.

    Both are needed where `enumerated` and `drawn` would otherwise both be False.
    """

    cohort: Ints
    strata: Ints | None
    draws: int | None
    seed: int | None
    many: int = MAX_ENUMERATED

    @cached_property
    def log10(self) -> float:
        """Decimal logarithm of how many there are in all."""
        return log10_assignments(self.cohort, self.strata)

    @property
    def enumerated(self) -> bool:
        return self.log10 <= math.log10(self.many) + 1e-12

    @property
    def drawn(self) -> bool:
        return not self.enumerated and self.draws is not None and self.seed is not None

    def __len__(self) -> int:
        return count_assignments(self.cohort, self.strata) if self.enumerated else int(self.draws or 0)

    def __iter__(self) -> Iterator[Ints]:
        if self.enumerated:
            return enumerate_assignments(self.cohort, self.strata)
        return draw_assignments(self.cohort, int(self.draws or 0), int(self.seed or 0), self.strata)


def enumerate_assignments(cohort: Ints, strata: Ints | None = None) -> Iterator[Ints]:
    """Yield every distinct assignment (G,) of the cohort codes (G,) to clusters, the given one among them."""
    groups = _groups(cohort, strata)

    def fill(whole: Ints, stratum: int) -> Iterator[Ints]:
        if stratum == len(groups):
            yield whole.copy()
            return
        for part in _arrangements(cohort[groups[stratum]]):
            whole[groups[stratum]] = part
            yield from fill(whole, stratum + 1)

    yield from fill(np.zeros(len(cohort), dtype=np.int64), 0)


def draw_assignments(cohort: Ints, draws: int, seed: int, strata: Ints | None = None) -> Iterator[Ints]:
    """Yield `draws` random permutations of the cohort codes (G,), within strata where these are given."""
    generator = np.random.default_rng(np.random.SeedSequence([seed, 0x61737367]))  # "assg"
    groups = _groups(cohort, strata)
    for _ in range(draws):
        drawn = np.empty_like(cohort)
        for group in groups:
            drawn[group] = generator.permutation(cohort[group])
        yield drawn


def _groups(cohort: Ints, strata: Ints | None) -> list[Ints]:
    """Positions of the clusters of each stratum."""
    if strata is None:
        return [np.arange(len(cohort))]
    return [np.flatnonzero(strata == stratum) for stratum in np.unique(strata)]


def _sizes(cohort: Ints, strata: Ints | None) -> Iterator[Floats]:
    """How many clusters are in each cohort, stratum by stratum."""
    for group in _groups(cohort, strata):
        yield np.unique(cohort[group], return_counts=True)[1].astype(np.float64)


def _arrangements(cohort: Ints) -> Iterator[Ints]:
    """Yield every distinct order of the codes (g,)."""
    labels, sizes = np.unique(cohort, return_counts=True)

    def fill(partial: Ints, free: tuple[int, ...], level: int) -> Iterator[Ints]:
        if level == len(labels) - 1:
            whole = partial.copy()
            whole[list(free)] = labels[level]
            yield whole
            return
        for chosen in combinations(free, int(sizes[level])):
            extended = partial.copy()
            extended[list(chosen)] = labels[level]
            taken = set(chosen)
            yield from fill(extended, tuple(i for i in free if i not in taken), level + 1)

    yield from fill(np.zeros(len(cohort), dtype=np.int64), tuple(range(len(cohort))), 0)
