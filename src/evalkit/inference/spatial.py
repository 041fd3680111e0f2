"""Standard errors for errors that are correlated with those nearby (Conley), or from period to period (Driscoll-Kraay)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import numpy as np
from scipy import sparse
from scipy.spatial import cKDTree

from evalkit.catalogue import Message, message
from evalkit.designs.sample import share_assignment
from evalkit.errors import DataError, InferenceError, nearest
from evalkit.numerics.arrays import Flags, Floats, Ints
from evalkit.reassignment.refits import rows_of
from evalkit.results.clusters import (
    Way,
    assignment,
    count_clusters,
    named,
    only_rounding,
    positive,
    smallest_p,
    summed_influence,
    without,
)
from evalkit.results.estimation import OnCells, Specification, no_columns
from evalkit.results.fit import Fit, Part
from evalkit.results.loadings import Always, ByExpectedSize, OneByOne, loadings_of
from evalkit.results.uncertainty import Doubt, JointDoubt, Uncertainty
from evalkit.tables.columns import name_rows, numbers

Kernel = Literal["bartlett", "uniform"]
_KERNELS: tuple[Kernel, ...] = get_args(Kernel)
# Up to so many degrees of freedom, t rejects a true null about twice as often as it should or more: one date of adoption, errors
# common to all places, independent over periods (2 of 4 periods treated: 3.0 degrees, .12; 2 of 5: 3.6, .10; 1 of 10: 3.2, .37;
# 3 of 6: 5.0, .08; 3 of 10: 5.2, .07; 10 of 20: 19, .06; 20,000 draws each).
_FEW_PLACES_DF = 4.5


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

    on_cells: ClassVar[OnCells] = "of_regressions"

    def columns(self) -> tuple[str, ...]:
        """Name the coordinates."""
        return self.latitude, self.longitude

    def assess(self, fit: Fit, spec: Specification) -> Uncertainty:
        """Sum influence at each place and period, then the products over neighbours."""
        used = np.flatnonzero(rows_of(fit, spec.panel))
        north, east = self._coordinates(spec, used)
        if self._is_everywhere:
            north, east = np.zeros(len(used)), np.zeros(len(used))
        cells = _group_cells(north, east, spec.panel.position[used])
        codes = np.full(len(spec.panel), -1)
        codes[used] = cells.codes
        way = Way("places", tuple(codes[part.sample.rows] for part in fit.parts), len(cells.period), False)
        weighed = _weigh(fit, way, self._near(cells))
        clusters, parts = count_clusters(fit, assignment(fit))
        loadings = loadings_of(fit, spec, assignment(fit))
        few = weighed.unsupported(fit, _FEW_PLACES_DF)
        joint = weighed.joint_unsupported(fit)
        doubt: Doubt | None = None if few is None else Always(few)
        joint_doubt: JointDoubt | None = None if joint is None else Always(joint)
        if few is None and any(share_assignment(part.sample) for part in fit.parts):
            doubt = ByExpectedSize(loadings, message("note.spatial_few", column=spec.design.assigned_at))
            joint_doubt = joint_doubt or OneByOne(doubt)
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
            loadings,
            doubt,
            joint_doubt,
            (message("note.spatial_only"), *weighed.notes),
        )

    @property
    def _is_everywhere(self) -> bool:
        """Whether all rows of a period count in full, wherever they are."""
        return self.cutoff == math.inf or (self.kernel == "uniform" and self.cutoff >= math.pi * _EARTH_RADIUS)

    def _near(self, cells: _Cells) -> Iterable[_Near]:
        if self.cutoff == 0 or len(cells.points) == 1:
            every = np.arange(len(cells.period))
            return (_Near(every, every, sparse.csr_array(sparse.eye_array(len(every)))),)
        return _near_in_period(cells, self.cutoff, self._weight)

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
                        where=name_rows(spec.panel.frame, at, column),
                        remedy=remedy,
                    )
            read.append(values[used])
        return read[0], read[1]


# With fewer periods, or up to so many effective degrees of freedom, t(T-1) rejects a true null about twice as often as it should
# or more: one date of adoption, independent errors, default lags (10 of 20 periods treated: 9.0 degrees, .10; 15 of 30: 10.5,
# .10; 10 of 30: 8.2, .12; 25 of 50: 17.8, .08; 10 of 50: 6.9, .13; 50 of 100: 29, .07; 20 of 100: 10.1, .10; 20,000 draws each).
_FEW_PERIODS, _FEW_PERIODS_DF = 20, 11.0


@dataclass(frozen=True)
class DriscollKraay:
    """Let errors be correlated between all units, up to `lags` periods apart: the long-run variance of each period's sum.

    lags  V = sum over s, t of max(0, 1 - |s-t|/(lags+1)) ψs ψt', where ψt is the influence summed over the rows of period t
          (Bartlett weights); by default 4 (T/100)^(2/9) rounded down, as in linearmodels, T being the number of periods with rows
          (of the subgroup with fewest).

    Distances are steps of the panel's time axis, so that a year without rows still counts (linearmodels counts it out). The
    factor is N/(N-K), K counting slopes and all absorbed effects, as linearmodels' cov_type="kernel" with debiased=True has it; 1
    for estimators that are no one regression. t has T-1 degrees of freedom. It needs many periods before and after adoption:
    where T is below 20, or the periods that carry an effect are so few that true nulls are rejected about twice as often as they
    should be (by Satterthwaite's degrees of freedom, as in Conley), the p-values count as unsupported. Errors that last reject
    more: with an autocorrelation of .5 .15 of true nulls where 25 of 50 periods are treated, .12 where 50 of 100 are. Effects of
    single periods of one cohort have no standard error, because their residuals sum to zero in every period. Clusters are counted
    at the level of assignment. Estimators that know the influence of whole units only are refused.
    Source: Driscoll and Kraay, Review of Economics and Statistics 80 (1998); weights: Newey and West, Econometrica 55 (1987).
    """

    lags: int | None = None

    columns = no_columns
    on_cells: ClassVar[OnCells] = "of_regressions"

    def __post_init__(self) -> None:
        if self.lags is not None and (not isinstance(self.lags, int) or isinstance(self.lags, bool) or self.lags < 0):
            raise InferenceError(
                f"lags is {self.lags!r}", where="DriscollKraay", remedy="give a whole number from 0 on, or leave it out"
            )

    def assess(self, fit: Fit, spec: Specification) -> Uncertainty:
        """Sum influence by period, then the products over neighbouring periods."""
        observed = np.unique(np.concatenate([part.sample.period for part in fit.parts]))
        way = Way(
            "periods", tuple(np.searchsorted(observed, part.sample.period) for part in fit.parts), len(observed), False
        )
        periods = min(way.sizes)
        lags = math.floor(4 * (periods / 100) ** (2 / 9)) if self.lags is None else self.lags
        if lags >= periods:
            raise InferenceError(
                f"there are {periods} periods, too few for {lags} lags",
                where="DriscollKraay",
                remedy=f"give lags below {periods}, or use Cluster()",
            )
        weighed = _weigh(fit, way, (_near(observed, lags),))
        df = np.full(len(fit.terms), np.nan)
        for part, size in zip(fit.parts, way.sizes, strict=True):
            df[part.positions] = size - 1
        few = message("note.few_periods", periods=periods) if periods < _FEW_PERIODS else None
        few = few or weighed.unsupported(fit, _FEW_PERIODS_DF)
        joint = few or weighed.joint_unsupported(fit)
        clusters, parts = count_clusters(fit, assignment(fit))
        return Uncertainty(
            weighed.covariance,
            df,
            message("method.driscoll_kraay", lags=lags, periods=periods),
            smallest_p(fit),
            clusters,
            parts,
            loadings_of(fit, spec, assignment(fit)),
            None if few is None else Always(few),
            None if joint is None else Always(joint),
            weighed.notes,
        )


def _near(observed: Ints, lags: int) -> _Near:
    """Bartlett weights of pairs of periods, at positions `observed` (T,) on the time axis, that are up to `lags` apart."""
    every = np.arange(len(observed))
    rows, columns, weights = [every], [every], [np.ones(len(observed))]
    for lag in range(1, lags + 1):
        at = np.searchsorted(observed, observed + lag)
        there = np.flatnonzero(observed[np.minimum(at, len(observed) - 1)] == observed + lag)
        weight = np.full(len(there), 1 - lag / (lags + 1))
        rows += [there, at[there]]
        columns += [at[there], there]
        weights += [weight, weight]
    pairs = (np.concatenate(rows), np.concatenate(columns))
    return _Near(every, every, sparse.csr_array((np.concatenate(weights), pairs), shape=(len(every), len(every))))


_ROUNDING = 1e-12  # share of the sum of absolute products
_FEW_FOR_JOINT_TESTS = 30.0  # as many as ByBothSides asks for


@dataclass(frozen=True)
class _Near:
    """How near cells are: weights (b, c) of cells `rows` (b,) with cells `columns` (c,), 1 for a cell with itself."""

    rows: Ints
    columns: Ints
    weights: sparse.csr_array


@dataclass(frozen=True)
class _Weighed:
    """Covariance (k, k), times N/(N-K) and mended; Satterthwaite's degrees of freedom (k,), NaN for a base; notes."""

    covariance: Floats
    df: Floats
    notes: tuple[Message, ...]

    def unsupported(self, fit: Fit, few: float) -> Message | None:
        """Say why t cannot be believed where up to `few` degrees of freedom are too few (None: it can)."""
        fewest = self._fewest(fit)
        return message("note.few_df", df=f"{fewest:.1f}") if fewest <= few else None

    def joint_unsupported(self, fit: Fit) -> Message | None:
        """Say why a joint test by F cannot be believed (None: it can)."""
        fewest = self._fewest(fit)
        return message("note.joint_few_df", df=f"{fewest:.1f}") if fewest < _FEW_FOR_JOINT_TESTS else None

    def _fewest(self, fit: Fit) -> float:
        """Smallest degrees of freedom of an effect with a standard error; infinite where none has any."""
        known = np.array([term.role == "effect" for term in fit.terms]) & (np.diag(self.covariance) > 0)
        return float(min(self.df[known], default=np.inf))


def _weigh(fit: Fit, way: Way, near: Iterable[_Near]) -> _Weighed:
    """Sum influence in cells, then its products over pairs of cells times how near these are.

    The factor is N/(N-K), K counting slopes and all absorbed effects; 1 for a part that is no one regression.
    """
    left = [_residual_df(part) for part in fit.parts]
    factors = [1.0 if np.isinf(df) else part.sample.n_obs / df for part, df in zip(fit.parts, left, strict=True)]
    summed, share = summed_influence(fit, way, factors), _shares(fit, way)
    k = len(fit.terms)
    covariance, size, linear, cross, square = np.zeros((k, k)), *(np.zeros(k) for _ in range(4))
    for one in near:
        here, own = summed[one.rows], share[one.rows]
        nearby = one.weights @ share[one.columns]
        covariance += np.einsum("ci,cj->ij", here, one.weights @ summed[one.columns])
        size += np.einsum("ci,ci->i", np.abs(here), one.weights @ np.abs(summed[one.columns]))
        linear += np.einsum("ci,ci->i", own, nearby)
        cross += np.einsum("ci,ci,ci->i", own, nearby, nearby)
        square += np.einsum("ci,ci->i", own, one.weights.power(2) @ share[one.columns])
    trace = 1 - linear
    trace[~(trace > _ROUNDING)] = np.nan
    df = trace**2 / (square - 2 * cross + linear**2)
    for part, most in zip(fit.parts, left, strict=True):
        df[part.positions] = np.minimum(df[part.positions], most)
    covariance = (covariance + covariance.T) / 2
    return _mended(fit, covariance, size, np.sqrt(np.einsum("ci,ci->i", summed, summed)), df)


def _residual_df(part: Part) -> float:
    """N - K; infinite where the estimator is no one regression, NaN where nothing is left."""
    if part.regression is None:
        return float("inf")
    left = part.sample.n_obs - part.regression.n_slopes - part.regression.n_effects
    return left if left > 0 else float("nan")


def _shares(fit: Fit, way: Way) -> Floats:
    """Share of cells (c, k) in the variance of each coefficient, were rows independent and errors of one variance; NaN: a base.

    Where there is no regression, squared influence stands for it, spread over the observations that a row counts for.
    """
    total = np.zeros((way.n_codes, len(fit.terms)))
    for part, codes in zip(fit.parts, way.codes, strict=True):
        regression, counts = part.regression, 1.0 if part.sample.counts is None else part.sample.counts
        rows = part.influence.sum_within(np.arange(len(codes)), len(codes)) if regression is None else None
        for i, position in enumerate(part.positions):
            if rows is not None:
                own = rows[:, i] ** 2 / counts
            else:
                assert regression is not None
                own = np.einsum("ij,j->i", regression.regressors, regression.bread @ part.loading(i)) ** 2
                own = own if regression.weights is None else own * regression.weights
            total[:, position] = np.bincount(codes, weights=own, minlength=way.n_codes)
    with np.errstate(invalid="ignore"):
        shares: Floats = total / total.sum(axis=0)
    return shares


def _mended(fit: Fit, covariance: Floats, size: Floats, scale: Floats, df: Floats) -> _Weighed:
    """Take out of a covariance what is rounding, then negative eigenvalues, and say so."""
    notes: tuple[Message, ...] = ()
    variances = np.abs(np.diag(covariance))
    empty = only_rounding(variances, fit) | ((size > 0) & (variances <= _ROUNDING * size))
    if empty.any():
        notes = (message("note.no_kernel_variance", terms=named(fit, empty)),)
    mended, was_negative = positive(without(covariance, empty), np.where(empty, 0.0, scale))
    if was_negative:
        notes = (*notes, message("note.not_positive_kernel"))
    return _Weighed(mended, df, notes)


_EARTH_RADIUS = 6371.0088  # km: the mean radius of the International Union of Geodesy and Geophysics
_AT_ONCE, _MOST = 2_000_000, 10_000_000_000  # pairs: in memory, and in all (half an hour)


@dataclass(frozen=True)
class _Cells:
    """Cells of period and place, in this order: period (c,), place (c,), and points (p, 3) of the places on the unit sphere.

    `codes` (n,) says in which cell a row is.
    """

    codes: Ints
    period: Ints
    place: Ints
    points: Floats


def _group_cells(latitude: Floats, longitude: Floats, period: Ints) -> _Cells:
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
    return _Cells(codes, cells // len(pairs), cells % len(pairs), points)


def _near_in_period(cells: _Cells, reach: float, weight: Callable[[Floats], Floats]) -> Iterator[_Near]:
    """Weigh pairs of cells of one period up to `reach` km apart by `weight` of their distance in km.

    A few million pairs are held at once. Raises InferenceError where there are too many to be gone through in half an hour.
    """
    chord = 2 * np.sin(min(reach / _EARTH_RADIUS, np.pi) / 2) * (1 + 1e-9)  # a little wider: weights decide at the edge
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
            yield _Near(first + rows, np.arange(first, last), weights)


def _weights(some: cKDTree, tree: cKDTree, chord: float, weight: Callable[[Floats], Floats]) -> sparse.csr_array:
    found = some.sparse_distance_matrix(tree, chord, output_type="coo_matrix")
    distance = 2 * _EARTH_RADIUS * np.arcsin(np.minimum(found.data / 2, 1.0))
    return sparse.csr_array((weight(distance), (found.row, found.col)), shape=(some.n, tree.n))


def _require_feasible(pairs: float, reach: float) -> None:
    if pairs > _MOST:
        raise InferenceError(
            f"about {pairs:.0e} pairs of places lie within {reach:g} km of each other in the same period",
            where="Conley",
            remedy="choose a smaller cutoff, coarser coordinates (such as those of towns), or cutoff=inf",
        )
