"""Standard errors for errors that are correlated with those nearby (spatial HAC)."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from scipy import sparse

from evalkit.catalogue import Message, message
from evalkit.columns import Flags, Floats, Ints, numbers, place
from evalkit.errors import DataError, InferenceError, nearest
from evalkit.estimation import Specification
from evalkit.fit import Fit
from evalkit.inference._clusters import Way, assignment, count_clusters, smallest_p
from evalkit.inference._independent import share_assignment
from evalkit.inference._kernels import Near, Weighed, weigh
from evalkit.inference._places import EARTH_RADIUS, Cells, group_cells, near_in_period
from evalkit.inference._refit import rows_of
from evalkit.uncertainty import Clusters, Uncertainty, few_clusters

Kernel = Literal["bartlett", "uniform"]
_KERNELS: tuple[Kernel, ...] = get_args(Kernel)
# Up to so many degrees of freedom, t rejects a true null about twice as often as it should or more: one date of adoption, errors
# common to all places, independent over periods (2 of 4 periods treated: 3.0 degrees, .12; 2 of 5: 3.6, .10; 1 of 10: 3.2, .37;
# 3 of 6: 5.0, .08; 3 of 10: 5.2, .07; 10 of 20: 19, .06; 20,000 draws each).
_FEW_DF = 4.5


@dataclass(frozen=True, kw_only=True)
class Conley:
    """Let errors of one period be correlated between places up to `cutoff` km apart: V = sum of K(distance/cutoff) ψ ψ'.

    latitude, longitude  columns of coordinates in degrees (WGS 84, as GPS gives them); they may change within a unit.
    cutoff               km along the surface of a sphere with the Earth's mean radius, 6371.0088 km. 0: only rows at the very
                         same place; inf: all rows of a period.
    kernel               "bartlett": 1 - distance/cutoff; "uniform": 1 up to the cutoff.

    The sum runs over all pairs of rows of one period, those of different subgroups too, times N/(N-K) as in Robust, which it
    equals with cutoff 0 where each row has a place of its own; with cutoff inf it is Cluster on the period. The factor is 1 for
    estimators that are no one regression. A collapsed row stands for rows at its own place. Negative eigenvalues, which both
    kernels can leave, are set to 0, as a note says. Errors of different periods are taken as independent, which is rarely
    credible in a difference-in-differences; a note says that, too.

    t has the degrees of freedom of Satterthwaite for each coefficient, tr(KΩ)²/tr(KΩKΩ) but at most N-K, were rows independent
    with errors of one variance: Ω = diag(q) - qq', where q are the shares of the cells of period and place in the coefficient's
    squared pull, and qq' comes of residuals that are orthogonal to what pulls. Where there is no regression, squared influence
    stands for squared pull. The p-values count as unsupported where these degrees are few, and where units share an assignment
    and the assigned units are few. Clusters are counted at the level of assignment. Estimators that know the influence of whole
    units only are refused.
    Source: Conley, Journal of Econometrics 92 (1999), the estimator with weights; for panels, period by period, Hsiang,
    Proceedings of the National Academy of Sciences 107 (2010). Degrees of freedom: Satterthwaite, Biometrics Bulletin 2 (1946).
    """

    latitude: str
    longitude: str
    cutoff: float
    kernel: Kernel = "bartlett"

    def __post_init__(self) -> None:
        number = isinstance(self.cutoff, int | float) and not isinstance(self.cutoff, bool)
        if not number or not self.cutoff >= 0:
            raise InferenceError(
                f"cutoff is {self.cutoff!r}", where="Conley", remedy="give kilometres from 0 on, such as 100"
            )
        if self.kernel not in _KERNELS:
            raise InferenceError(
                f"kernel '{self.kernel}' is unknown", where="Conley", remedy=nearest(str(self.kernel), _KERNELS)
            )
        if self.latitude == self.longitude:
            raise InferenceError(
                f"latitude and longitude are both '{self.latitude}'", where="Conley", remedy="name two columns"
            )

    def assess(self, fit: Fit, spec: Specification) -> Uncertainty:
        """Sum influence at each place and period, then the products over neighbours."""
        used = np.flatnonzero(rows_of(fit, spec.panel))
        north, east = self._coordinates(spec, used)
        if self._is_everywhere:
            north, east = np.zeros(len(used)), np.zeros(len(used))
        cells = group_cells(north, east, spec.panel.position[used])
        codes = np.full(len(spec.panel), -1)
        codes[used] = cells.codes
        way = Way(tuple(codes[part.sample.rows] for part in fit.parts), len(cells.period), False)
        weighed = weigh(fit, way, self._near(cells))
        clusters, parts = count_clusters(fit, assignment(fit))
        unsupported = _unsupported(fit, spec, weighed, parts)
        method = message(
            "method.conley_everywhere" if self._is_everywhere else "method.conley",
            cutoff=f"{self.cutoff:g}",
            kernel=message(f"kernel.{self.kernel}"),
        )
        return Uncertainty(
            weighed.covariance,
            weighed.df,
            method,
            smallest_p(fit),
            clusters,
            parts,
            unsupported,
            unsupported or weighed.joint_unsupported(fit),
            (message("note.spatial_only"), *weighed.notes),
        )

    @property
    def _is_everywhere(self) -> bool:
        """Whether all rows of a period count in full, wherever they are."""
        return self.cutoff == math.inf or (self.kernel == "uniform" and self.cutoff >= math.pi * EARTH_RADIUS)

    def _near(self, cells: Cells) -> Iterable[Near]:
        if self.cutoff == 0 or len(cells.points) == 1:
            every = np.arange(len(cells.period))
            return (Near(every, every, sparse.csr_array(sparse.eye_array(len(every)))),)
        return near_in_period(cells, self.cutoff, self._weight)

    def _weight(self, distance: Floats) -> Floats:
        if self.kernel == "uniform":
            return (distance <= self.cutoff).astype(np.float64)
        return np.maximum(1 - distance / self.cutoff, 0.0)

    def _coordinates(self, spec: Specification, used: Ints) -> tuple[Floats, Floats]:
        """Read the coordinates of the rows used; raise DataError where one is missing or no coordinate."""
        read = []
        for column, limit in ((self.latitude, 90), (self.longitude, 180)):
            values = numbers(spec.panel.frame, column)
            for wrong, how, remedy in (
                (np.isnan(values), "is missing", "fill it in, or leave these rows out"),
                (~(np.abs(values) <= limit), f"is not between -{limit} and {limit}", "give degrees, as GPS does"),
            ):
                at: Flags = np.zeros(len(values), dtype=bool)
                at[used] = wrong[used]
                if at.any():
                    raise DataError(
                        f"the coordinate {how} in {int(at.sum())} rows",
                        where=place(spec.panel.frame, at, column),
                        remedy=remedy,
                    )
            read.append(values[used])
        return read[0], read[1]


def _unsupported(fit: Fit, spec: Specification, weighed: Weighed, parts: tuple[Clusters, ...]) -> Message | None:
    """Say why t cannot be believed: shocks to few assigned units, or few degrees of freedom (None: it can)."""
    few = few_clusters(*parts, by_cohort=any(part.by_cohort for part in fit.parts))[0] is not None
    if few and any(share_assignment(part.sample) for part in fit.parts):
        return message("note.spatial_few", column=spec.design.assigned_at)
    return weighed.unsupported(fit, _FEW_DF)
