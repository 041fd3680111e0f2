"""Rows at places: cells of period and place, and which of these lie within a distance of one another on the globe."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.spatial import cKDTree

from evalkit.columns import Floats, Ints
from evalkit.errors import InferenceError
from evalkit.inference._kernels import Near

EARTH_RADIUS = 6371.0088  # km: the mean radius of the International Union of Geodesy and Geophysics
_AT_ONCE, _MOST = 2_000_000, 10_000_000_000  # pairs: in memory, and in all (half an hour)


@dataclass(frozen=True)
class Cells:
    """Cells of period and place, in this order: period (c,), place (c,), and points (p, 3) of the places on the unit sphere.

    `codes` (n,) says in which cell a row is.
    """

    codes: Ints
    period: Ints
    place: Ints
    points: Floats


def group_cells(latitude: Floats, longitude: Floats, period: Ints) -> Cells:
    """Group rows (n,), in degrees, by period and place; the same place has the same coordinates."""
    at_pole = np.abs(latitude) == 90
    longitude = np.where(
        at_pole, 0.0, np.where(longitude == -180, 180.0, longitude)
    )  # one place, written in several ways
    latitudes, of_latitude = np.unique(latitude, return_inverse=True)
    longitudes, of_longitude = np.unique(longitude, return_inverse=True)
    pairs, place = np.unique(of_latitude * len(longitudes) + of_longitude, return_inverse=True)
    cells, codes = np.unique(period * len(pairs) + place, return_inverse=True)
    north, east = np.radians(latitudes[pairs // len(longitudes)]), np.radians(longitudes[pairs % len(longitudes)])
    points = np.column_stack([np.cos(north) * np.cos(east), np.cos(north) * np.sin(east), np.sin(north)])
    return Cells(codes, cells // len(pairs), cells % len(pairs), points)


def near_in_period(cells: Cells, reach: float, weight: Callable[[Floats], Floats]) -> Iterator[Near]:
    """Weigh pairs of cells of one period up to `reach` km apart by `weight` of their distance in km.

    A few million pairs are held at once. Raises InferenceError where there are too many to be gone through in half an hour.
    """
    chord = 2 * np.sin(min(reach / EARTH_RADIUS, np.pi) / 2) * (1 + 1e-9)  # a little wider: weights decide at the edge
    starts = np.flatnonzero(np.diff(cells.period, prepend=-1))
    known: Ints | None = None
    for first, last in zip(starts, [*starts[1:], len(cells.period)], strict=True):
        here = cells.place[first:last]
        if known is None or not np.array_equal(here, known):  # most panels have the same places in every period
            known, points = here, cells.points[here]
            tree = cKDTree(points)
            within = np.cumsum(tree.query_ball_point(points, chord, return_length=True))
            _require_feasible(float(within[-1]) * len(starts), reach)
            shares = np.split(np.arange(len(here)), np.flatnonzero(np.diff(within // _AT_ONCE)) + 1)
            weights: sparse.csr_array | None = None
        for rows in shares:
            if weights is None or len(shares) > 1:
                weights = _weights(cKDTree(points[rows]), tree, chord, weight)
            yield Near(first + rows, np.arange(first, last), weights)


def _weights(some: cKDTree, tree: cKDTree, chord: float, weight: Callable[[Floats], Floats]) -> sparse.csr_array:
    found = some.sparse_distance_matrix(tree, chord, output_type="coo_matrix")
    distance = 2 * EARTH_RADIUS * np.arcsin(np.minimum(found.data / 2, 1.0))
    return sparse.csr_array((weight(distance), (found.row, found.col)), shape=(some.n, tree.n))


def _require_feasible(pairs: float, reach: float) -> None:
    if pairs > _MOST:
        raise InferenceError(
            f"about {pairs:.0e} pairs of places lie within {reach:g} km of each other in the same period",
            where="Conley",
            remedy="choose a smaller cutoff, coarser coordinates (such as those of towns), or cutoff=inf",
        )
