"""Robust intervals where the violation of parallel trends may bend only so much from period to period (smoothness)."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr, ndtri

from evalkit.columns import Floats
from evalkit.numerics.honest import ALPHA, Interval, Path

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
