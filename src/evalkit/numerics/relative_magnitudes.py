"""Robust intervals where changes after adoption are bounded by the largest one before it (relative magnitudes)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

from evalkit.columns import Flags, Floats
from evalkit.numerics.honest import ALPHA, Interval, Path

_FIRST = ALPHA / 10  # size of the first stage
_SECOND = (ALPHA - _FIRST) / (1 - _FIRST)
_ANGLES = 2048
_POINTS, _ZOOM, _ZOOMS = 401, 17, 10
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
    gaps = np.linspace(ends[1], ends[0], _POINTS, axis=-1)
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
    for zoom in range(_ZOOMS + 1):
        if zoom:
            accepted = accepts(gaps)
            accepted[:, -1] = True
        first = np.maximum(accepted.argmax(axis=1), 1)[:, None]
        outside, inside = (np.take_along_axis(gaps, at, axis=1)[:, 0] for at in (first - 1, first))
        gaps = np.linspace(outside, inside, _ZOOM, axis=-1)
    return inside
