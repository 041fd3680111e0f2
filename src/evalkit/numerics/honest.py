"""Intervals under violations of parallel trends: by how much the trend may bend, or by how much it did before adoption."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, ndtri

from evalkit.numerics.arrays import Flags, Floats

ALPHA = 0.05
PRECISION = 1e-6  # of a breakdown value, relative

# Breakdown values are looked for between these multiples of what they are measured in, and above by doubling.
_HIGHEST, _LOWEST, _DOUBLINGS = 2.0**10, 2.0**-10, 40


@dataclass(frozen=True)
class Path:
    """Effects by event time, each against the last period before adoption, with the effect that is asked about.

    leads (P,) are those of event times -P-1 … -2, lags (T,) those of 0 … T-1, covariance (P+T, P+T) that of both, leads first.
    The effect asked about is the sum of lags times weights (T,).
    """

    leads: Floats
    lags: Floats
    covariance: Floats
    weights: Floats

    @property
    def estimates(self) -> Floats:
        """Leads and lags (P+T,)."""
        return np.concatenate([self.leads, self.lags])

    @property
    def loading(self) -> Floats:
        """Weights (P+T,) of leads and lags in the effect asked about."""
        return np.concatenate([np.zeros(len(self.leads)), self.weights])

    @property
    def effect(self) -> float:
        return float(self.weights @ self.lags)

    @property
    def std_error(self) -> float:
        return float(np.sqrt(self.loading @ self.covariance @ self.loading))


@dataclass(frozen=True)
class Interval:
    """The smallest interval that holds a 95 % confidence set."""

    low: float
    high: float

    @property
    def has_zero(self) -> bool:
        return self.low <= 0.0 <= self.high


def original_interval(path: Path) -> Interval:
    """Return the interval for parallel trends, by the normal distribution (as R HonestDiD, constructOriginalCS)."""
    margin = float(ndtri(1 - ALPHA / 2)) * path.std_error
    return Interval(path.effect - margin, path.effect + margin)


def breakdown(interval: Callable[[float], Interval], unit: float) -> float:
    """Find the largest bound on violations for which the interval leaves out zero, to a millionth of its size.

    `interval` is that of a bound from 0 on; `unit` says in what size of steps bounds count. NaN where no interval leaves out
    zero, infinite where all do. An interval for a larger bound holds for smaller ones, too: the last that leaves out zero counts.
    """
    reached = _HIGHEST * unit
    for _ in range(_DOUBLINGS):
        if interval(reached).has_zero:
            break
        reached *= 2
    else:
        return float("inf")
    clear = reached / 2
    while interval(clear).has_zero:
        if clear < _LOWEST * unit:
            if interval(0.0).has_zero:
                return float("nan")
            clear = 0.0
            break
        reached, clear = clear, clear / 2
    while reached - clear > PRECISION * max(clear, _LOWEST * unit):
        middle = (clear + reached) / 2
        if interval(middle).has_zero:
            reached = middle
        else:
            clear = middle
    return clear


_POINTS, _ZOOMS = 33, 9
_AT_ONCE = 1e-12  # two events of the path this close (relative) are one
_APART = 1e-9  # share of the largest slope by which slopes are moved, so that no two events are one
_MOST_KNOTS = 1_000  # about one for each number of z is usual


def smoothness_interval(path: Path, bound: float) -> Interval:
    """Return the shortest 95 % interval of fixed length if the slope of the violation changes by at most `bound` a period.

    The interval is centred on the effect plus weighted leads. The weights leave no bias where the violation is a straight line,
    and make sd · cv(bias / sd) least, cv(t) being the .95 quantile of |N(t, 1)|. The covariance of the leads and the effect must
    be positive definite.
    Sources: Rambachan and Roth, Review of Economic Studies 90 (2023), section 4; Armstrong and Kolesár, Quantitative Economics
    11 (2020), eq. 5; R HonestDiD 0.2.6, findOptimalFLCI, which simulates cv and searches less finely.
    """
    n_leads, n_lags, V = len(path.leads), len(path.lags), path.covariance
    reach = float(np.arange(1, n_lags + 1) @ path.weights)  # of a straight line with slope 1
    after = [np.arange(1, n_lags - k + 1) @ path.weights[k:] for k in range(1, n_lags)]  # of each bend after adoption
    fixed = abs(reach) + float(np.abs(after).sum())
    # The weights of the leads are second differences of what bends before adoption, the last of them first, do to the estimate.
    bends = np.diff(np.eye(n_leads + 2), n=2, axis=0)[::-1, 1:n_leads]
    start = path.loading
    start[n_leads - 1] = reach
    turn = np.vstack([bends, np.zeros((n_lags, n_leads - 1))])
    knots = _shrinkage_path(turn.T @ V @ turn, turn.T @ V @ start)
    moves = np.diff(knots, axis=0, append=knots[-1:])
    grows = bound * np.diff(np.abs(knots).sum(axis=1), append=np.abs(knots[-1]).sum())

    def judge(positions: Floats) -> tuple[Floats, Floats, Floats]:
        """Weights, margins, and how these change with the position (n,) on the path."""
        knot = positions.astype(np.int64)
        bend = knots[knot] + (positions - knot)[:, None] * moves[knot]
        weights = start + bend @ turn.T
        error = np.sqrt(np.einsum("ij,jk,ik->i", weights, V, weights))
        t = bound * (fixed + np.abs(bend).sum(axis=1)) / error
        c = _folded_quantile(t)
        per_bias = np.tanh(c * t)  # of cv, by the implicit function theorem
        error_grows = np.einsum("ij,jk,ik->i", weights, V, moves[knot] @ turn.T) / error
        return weights, error * c, per_bias * grows[knot] + (c - t * per_bias) * error_grows

    low, high, points = 0.0, len(knots) - 1.0, _POINTS * len(knots)
    for _ in range(_ZOOMS):
        positions = np.linspace(low, high, points)
        falls = judge(positions)[2] < 0
        falls[-1] = False
        first = int(falls.argmin())
        low, high, points = positions[max(first - 1, 0)], positions[first], _POINTS
    weights, margin, _ = judge(np.array([high]))
    centre = float(weights[0] @ path.estimates)
    return Interval(centre - float(margin[0]), centre + float(margin[0]))


def _folded_quantile(t: Floats) -> Floats:
    """Solve for the .95 quantile of |N(t, 1)|, t >= 0, by Newton's method from below, where the distribution is concave."""
    c = t + float(ndtri(1 - ALPHA))
    for _ in range(8):
        density = (np.exp(-0.5 * (c - t) ** 2) + np.exp(-0.5 * (c + t) ** 2)) / np.sqrt(2 * np.pi)
        c = c - (ndtr(c - t) - ndtr(-c - t) - (1 - ALPHA)) / density
    return c


def _shrinkage_path(Q: Floats, q: Floats) -> Floats:
    """Minimise z'Qz / 2 + q'z + λ·Σ|z| for all λ from where z = 0 down to 0: the knots (n, k) of a piecewise linear path.

    Every shortest interval is centred on a point of the path: of all z with that Σ|z|, one of least variance. Where several
    numbers of z would leave or reach 0 at once, as covariances with a pattern make them, q is moved apart by a billionth; an
    interval holds for whatever weights, and its length hardly notices.
    Source: Osborne, Presnell and Turlach, IMA Journal of Numerical Analysis 20 (2000); here with cross-products alone.
    """
    k = len(q)
    knots: list[Floats] = [np.zeros(k)]
    sign, left = np.zeros(k), -1
    apart = q + _APART * np.abs(q).max(initial=0.0) * np.sin(np.arange(1, k + 1))
    level = float(np.abs(apart).max(initial=0.0))
    if level > 0:
        first = int(np.abs(apart).argmax())
        sign[first] = -np.sign(apart[first])
    while level > 0 and len(knots) < _MOST_KNOTS:
        inside = np.flatnonzero(sign)
        u, v = np.linalg.solve(Q[np.ix_(inside, inside)], np.column_stack([apart[inside], sign[inside]])).T
        rest, pull = apart - Q[:, inside] @ u, Q[:, inside] @ v  # the slopes are rest - λ·pull
        with np.errstate(divide="ignore", invalid="ignore"):
            joins = np.array([rest / (1 + pull), rest / (pull - 1)])  # where they reach λ, and -λ
            leaves = -u / v
        joins[:, inside] = 0.0
        if left >= 0:
            joins[:, left] = np.where(joins[:, left] < level * (1 - _AT_ONCE), joins[:, left], 0.0)
        joins = np.where((joins > 0) & (joins <= level * (1 + _AT_ONCE)), joins, 0.0)
        leaves = np.where((leaves > 0) & (leaves < level * (1 - _AT_ONCE)), leaves, 0.0)
        level, left = min(level, max(float(joins.max()), float(leaves.max()))), -1
        z = np.zeros(k)
        z[inside] = -(u + level * v)
        if level > 0 and leaves.max() > joins.max():
            left = int(inside[leaves.argmax()])
            sign[left] = z[left] = 0.0
        elif level > 0:
            side, joined = divmod(int(joins.argmax()), k)
            sign[joined] = -1.0 if side == 0 else 1.0
        knots.append(z)
    return np.array([*knots[:-1], -np.linalg.solve(Q, q)], dtype=np.float64)


_FIRST = ALPHA / 10  # size of the first stage
_SECOND = (ALPHA - _FIRST) / (1 - _FIRST)
_ANGLES = 2048
_LEVELS, _LEVEL_ZOOM, _LEVEL_ZOOMS = 401, 17, 10
_STILL = 1e-10  # a moment whose slope on the largest one is this close to 1 moves with it


@dataclass(frozen=True)
class _Pieces:
    """The B = 2P polyhedra whose union the restriction is: which change before adoption is the largest, and its sign.

    In each the test rests on the two numbers gap = effect - hypothesised effect and `change` (B,), the largest change before
    adoption, through four moments, gap · on_gap + change · on_change (each (4, B)); variance (2, 2, B) is that of both numbers.
    """

    change: Floats
    on_gap: Floats
    on_change: Floats
    variance: Floats

    def moments(self, gap: Floats) -> Floats:
        """Moments (4, B, n) at gaps (B, n)."""
        found: Floats = self.on_gap[:, :, None] * gap + (self.on_change * self.change)[:, :, None]
        return found


def relative_magnitudes_interval(path: Path, bound: float) -> Interval:
    """Return the 95 % interval if no change of the violation after adoption exceeds `bound` times the largest one before it.

    Inverts, in each piece, the hybrid of conditional and least-favourable test on the moments of periods after adoption, with a
    first stage of size .005; the set is the union. Its ends are solved for, not read off a grid, and the critical value of the
    first stage, which R HonestDiD simulates, is integrated; hence no seed.
    Sources: Rambachan and Roth, Review of Economic Studies 90 (2023), sections 2.4.1 and 3; Andrews, Roth and Pakes, Review of
    Economic Studies 90 (2023), sections 4 to 6; R HonestDiD 0.2.6, computeConditionalCS_DeltaRM.
    """
    pieces = _cut(path, bound)
    critical = _least_favourable(pieces)
    # Beyond these gaps the first stage rejects.
    ends = (critical - pieces.on_change[:2] * pieces.change) / pieces.on_gap[:2]
    gaps = np.linspace(ends[1], ends[0], _LEVELS, axis=-1)
    accepted = ~_rejects(pieces, critical, gaps)
    some = accepted.any(axis=1)

    def accepts(gap: Floats) -> Flags:
        return ~_rejects(pieces, critical, gap)

    lowest = _edge(accepts, gaps, accepted)[some].min()
    highest = _edge(accepts, gaps[:, ::-1], accepted[:, ::-1])[some].max()
    return Interval(path.effect - float(highest), path.effect - float(lowest))


def _cut(path: Path, bound: float) -> _Pieces:
    """Write each piece's test by its four moments.

    The statistic is the smallest η with moments ≤ η times their standard errors, whatever the effects after adoption that leave
    the hypothesised one as it is. By duality it is the largest of weighted averages of the moments in which those effects
    cancel. Two moments bound each step after adoption, from above and below, so that these averages mix: all steps at their
    upper limits, each times its share in the effect; all at their lower limits; or one step at both limits. The last depend
    on the change before adoption alone, and the steps with the largest and smallest multiple of it outdo the others.
    """
    n_leads, beta, V = len(path.leads), path.estimates, path.covariance
    steps = np.diff(np.insert(np.eye(len(beta)), n_leads, 0.0, axis=0), axis=0)  # of the path with the base, 0, put in
    largest, after = np.vstack([steps[:n_leads], -steps[:n_leads]]), steps[n_leads:]
    share = np.cumsum(path.weights[::-1])[::-1]
    spread = np.einsum("ij,jk,ik->i", largest, V, largest)
    squares = np.einsum("ij,jk,ik->i", after, V, after)[:, None] + bound**2 * spread
    crossed = 2 * bound * after @ V @ largest.T
    above, below = (np.sqrt(np.maximum(squares + s * crossed, 0.0)) for s in (-1, 1))  # (T, B) errors of both moments
    rising = (share > 0)[:, None]
    up = np.abs(share) @ np.where(rising, above, below)
    down = np.abs(share) @ np.where(rising, below, above)
    both = 2 * bound / (above + below)
    reach, none = bound * np.abs(share).sum(), np.zeros(len(largest))
    with_effect = largest @ V @ path.loading
    own = np.full(len(largest), path.std_error**2)
    return _Pieces(
        largest @ beta,
        np.array([1 / up, -1 / down, none, none]),
        np.array([-reach / up, -reach / down, -both.max(axis=0), -both.min(axis=0)]),
        np.array([[own, with_effect], [with_effect, spread]]),
    )


def _least_favourable(pieces: _Pieces) -> Floats:
    """Critical values (B,) that the largest moment exceeds with probability _FIRST if all have mean 0.

    In polar coordinates of two independent normals the moments stay below c up to the radius c / h(angle), beyond which lies
    exp(-(c / h)² / 2) of the probability at that angle.
    """
    (own, crossed), (_, spread) = pieces.variance
    first = crossed / np.sqrt(own)
    second = np.sqrt(np.maximum(spread - first**2, 0.0))
    angle = np.arange(_ANGLES) * (2 * np.pi / _ANGLES)
    along = pieces.on_gap * np.sqrt(own) + pieces.on_change * first
    h = along[:, :, None] * np.cos(angle) + (pieces.on_change * second)[:, :, None] * np.sin(angle)
    height = np.maximum(h.max(axis=0), 1e-12)  # no moment grows at this angle
    low, high = np.zeros(len(own)), np.full(len(own), 4.0)  # moments have variance ≤ 1: beyond 4 lies less than .0002
    for _ in range(45):
        middle = (low + high) / 2
        beyond = np.exp(-0.5 * (middle[:, None] / height) ** 2).mean(axis=1)
        low, high = np.where(beyond > _FIRST, middle, low), np.where(beyond > _FIRST, high, middle)
    return high


def _rejects(pieces: _Pieces, critical: Floats, gap: Floats) -> Flags:
    """Test each gap (B, n) in its piece: first the largest moment, then given which it is and how far it could have moved."""
    X = pieces.moments(gap)
    loading = np.array([pieces.on_gap, pieces.on_change])
    variance = np.einsum("aib,acb,cjb->ijb", loading, pieces.variance, loading)  # (4, 4, B) of the moments
    at, piece = X.argmax(axis=0), np.arange(gap.shape[0])[:, None]
    largest = X.max(axis=0)
    own = variance[at, at, piece]
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = 1 - variance[:, at, piece] / own
        limit = (X - (1 - slope) * largest) / slope  # where another moment becomes the largest
        low = np.where(slope > _STILL, limit, -np.inf).max(axis=0)
        high = np.where(slope < -_STILL, limit, np.inf).min(axis=0)
        error = np.sqrt(own)
        beyond = ndtr(-np.minimum(high, critical[:, None]) / error)
        p = (ndtr(-largest / error) - beyond) / (ndtr(-low / error) - beyond)
    rejected: Flags = (largest > 0) & ((largest > critical[:, None]) | (p < _SECOND))
    return rejected


def _edge(accepts: Callable[[Floats], Flags], gaps: Floats, accepted: Flags) -> Floats:
    """Solve for the first accepted gap (B,) of each row of gaps (B, n); rows without one mean nothing."""
    for zoom in range(_LEVEL_ZOOMS + 1):
        if zoom:
            accepted = accepts(gaps)
            accepted[:, -1] = True
        first = np.maximum(accepted.argmax(axis=1), 1)[:, None]
        outside, inside = (np.take_along_axis(gaps, at, axis=1)[:, 0] for at in (first - 1, first))
        gaps = np.linspace(outside, inside, _LEVEL_ZOOM, axis=-1)
    return inside
