"""A fit's regressions seen from its clusters, in one orthonormal basis: what inference with few clusters works on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from evalkit.catalogue import Message, message
from evalkit.errors import InferenceError
from evalkit.numerics.absorb import find_patterns
from evalkit.numerics.arrays import Flags, Floats, Ints
from evalkit.numerics.clusters import (
    DETERMINED,
    ClusterBasis,
    Leverages,
    RegressionRows,
    ShockBasis,
    block_diagonal,
    cluster_basis,
    leverages,
    shock_basis,
)
from evalkit.numerics.level_systems import UnsolvedError
from evalkit.numerics.loadings import ShockMap, apart, join_maps, own_shocks
from evalkit.numerics.wide import WideRegression
from evalkit.results.clusters import Way, nested, period_codes, regression_of
from evalkit.results.estimation import Specification
from evalkit.results.fit import MOST_MAPPED, Fit, Regression
from evalkit.tables.contents import in_short, same_content

_MOST_NUMBERS = 2e8  # of a cluster's Gram matrices: 1.6 GB
_MANY_LEVELS, _FEW_SLOPES = 150, 20  # from which, and up to which, the rows are quicker than these
_DETERMINED = 1e-7  # share of a direction, by its square, that rests on one cluster alone


@dataclass(frozen=True, eq=False)
class Seen:
    """A fit seen from the clusters that it has: their basis, and directions (k, p), whose products with Q'y are coefficients."""

    fit: Fit
    way: Way
    basis: ClusterBasis
    directions: Floats

    __eq__ = same_content
    __repr__ = in_short

    @cached_property
    def leverages(self) -> Leverages:
        """How much of each direction rests on each cluster."""
        return leverages(self.basis.gram)

    def determined(self) -> Flags:
        """Flag (G, k): without this cluster, this coefficient cannot be estimated."""
        chosen, leverages_of = self._heavy
        flags = np.zeros((len(self.basis.gram), len(self.directions)), dtype=bool)
        flags[chosen] = leverages_of.determined(self.directions) > _DETERMINED
        return flags

    def determines_slope(self) -> Flags:
        """Flag (G,): without this cluster, some slope of a regression cannot be estimated."""
        chosen, leverages_of = self._heavy
        flags = np.zeros(len(self.basis.gram), dtype=bool)
        flags[chosen] = (leverages_of.determined(self.basis.slopes) > _DETERMINED).any(axis=1)
        return flags

    @cached_property
    def shocks(self) -> Floats:
        """Products (G, T, p) of the basis with a shock to each cluster and period; each part has T periods of its own."""
        bases, rows = shock_bases(self.fit, self.way), _rows_of(self.fit, self.way, "loadings")
        each = [_turned(basis, every)[basis.alike.classes] for basis, every in zip(bases, rows, strict=True)]
        n_clusters, n_periods, _ = each[0].shape
        found = np.zeros((n_clusters, len(each) * n_periods, sum(one.shape[2] for one in each)))
        column = 0
        for i, one in enumerate(each):
            found[:, i * n_periods : (i + 1) * n_periods, column : column + one.shape[2]] = one
            column += one.shape[2]
        return found

    def summed(self, power: float) -> Floats:
        """Scores (G, k) of the coefficients, each adjusted by (I - Q_g Q_g')^power."""
        return np.asarray(self.leverages.adjust(power, self.basis.scores) @ self.directions.T, dtype=np.float64)

    def moments(self, weights: Floats, power: float) -> tuple[Floats, Floats]:
        """Of combinations (q, k), products of the a_g within clusters (G, q, q), and Q_g'a_g (G, q, p).

        a_g = (I - Q_g Q_g')^power Q_g v is the column whose product with the residuals is the adjusted score of cluster g.
        """
        adjusted = np.stack([self.leverages.adjust(power, row @ self.directions) for row in weights], axis=1)
        shared = adjusted @ self.basis.gram
        return shared @ adjusted.transpose(0, 2, 1), shared

    def loads(self, weights: Floats) -> tuple[Floats, Floats, Floats]:
        """Of combinations v (q, k): Q_g'Q_g v (G, q, p), the scores Q_g'u_g (G, p), and v in the basis (q, p)."""
        directions = weights @ self.directions
        return directions @ self.basis.gram, self.basis.scores, directions

    def shock_map(self, weights: Floats, power: float) -> ShockMap:
        """Map shocks (G·T,) to the clusters' scores of a combination, each adjusted by (I - Q_g Q_g')^power."""
        shocks, direction = self.shocks, weights @ self.directions
        adjusted = self.leverages.adjust(power, direction)
        own = np.einsum("gtp,gp->gt", shocks, adjusted)
        pull = np.einsum("gpq,gq->gp", self.basis.gram, adjusted)
        return ShockMap(own_shocks(own), pull, shocks.reshape(-1, len(direction)).T)

    def rests_on_one(self, weights: Floats) -> bool:
        """Say whether a combination of coefficients cannot be estimated without some cluster."""
        direction = weights @ self.directions
        return bool((self._heavy[1].determined(direction[None]) > _DETERMINED).any())

    @cached_property
    def _heavy(self) -> tuple[Ints, Leverages]:
        """The clusters that can determine a direction at all: their leverages sum to 1 or more."""
        chosen = np.flatnonzero(np.einsum("gpp->g", self.basis.gram) > 1 - 2 * DETERMINED)
        return chosen, leverages(self.basis.gram[chosen])


@dataclass(frozen=True, eq=False)
class SeenByRows:
    """A fit with too many effects for a basis seen from its clusters: the same as Seen tells, found from the rows.

    `wide` are its regressions, part by part; `method` asks, and is named where a system cannot be solved.
    """

    fit: Fit
    way: Way
    wide: tuple[WideRegression, ...]
    method: str

    __eq__ = same_content
    __repr__ = in_short

    def determined(self) -> Flags:
        """Flag (G, k): without this cluster, this coefficient cannot be estimated."""
        return self._determined(np.eye(len(self.fit.terms)))

    def rests_on_one(self, weights: Floats) -> bool:
        """Say whether a combination of coefficients cannot be estimated without some cluster."""
        return bool(self._determined(weights[None]).any())

    def summed(self, power: float) -> Floats:
        """Scores (G, k) of the coefficients, each adjusted by (I - Q_g Q_g')^power."""
        found = np.zeros((len(self.way.present), len(self.fit.terms)))
        for wide, directions in zip(self.wide, self._directions(np.eye(len(self.fit.terms))), strict=True):
            there = np.flatnonzero(directions.any(axis=1))
            with self._told():
                found[:, there] = wide.sums(self._adjusted(wide, power, directions[there]))
        return found

    def moments(self, weights: Floats, power: float) -> tuple[Floats, Floats]:
        """As of Seen: products of the a_g of combinations (q, k) within clusters (G, q, q), and Q_g'a_g (G, q, p)."""
        own = np.zeros((len(self.way.present), len(weights), len(weights)))
        shared = []
        for wide, directions in zip(self.wide, self._directions(weights), strict=True):
            with self._told():
                within, explained = wide.products(self._adjusted(wide, power, directions))
            own += within
            shared.append(explained)
        return own, np.concatenate(shared, axis=2)

    def loads(self, weights: Floats) -> tuple[Floats, Floats, Floats]:
        """As of Seen, in a basis of the space that these columns and the residuals span with all effects and regressors."""
        loads, scores = [], []
        for wide, directions in zip(self.wide, self._directions(weights), strict=True):
            with self._told():
                columns = np.column_stack([self._adjusted(wide, 0.0, directions), wide.residuals])
                explained = wide.products(columns)[1]
            loads.append(explained[:, :-1])
            scores.append(explained[:, -1])
        every = np.concatenate(loads, axis=2)
        return every, np.concatenate(scores, axis=1), every.sum(axis=0)

    def shock_map(self, weights: Floats, power: float) -> ShockMap | None:
        """Map shocks (G·T,) to the clusters' adjusted scores of a combination; None where that is more than memory holds."""
        if sum(wide.n_numbers for wide in self.wide) > MOST_MAPPED:
            return None
        n, n_clusters, n_periods = len(self.wide), len(self.way.present), period_codes(self.fit)[1]
        maps = []
        for i, (wide, rows) in enumerate(zip(self.wide, self._directions(weights[None]), strict=True)):
            if rows.any():
                with self._told():
                    one = wide.shock_map(self._adjusted(wide, power, rows)[:, 0])
                maps.append(one if n == 1 else one.after(apart(n_clusters, n_periods, i, n)))
        return join_maps(maps)

    def _determined(self, weights: Floats) -> Flags:
        lengths, parts = np.zeros(len(weights)), np.zeros((len(self.way.present), len(weights)))
        for wide, rows in zip(self.wide, self._directions(weights), strict=True):
            lengths += (rows**2).sum(axis=1)
            with self._told():
                parts += wide.determined(rows)
        flags: Flags = parts / np.maximum(lengths, 1e-300) > _DETERMINED
        return flags

    def _adjusted(self, wide: WideRegression, power: float, directions: Floats) -> Floats:
        return np.stack([wide.adjust(power, row) for row in directions], axis=1)

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Raise InferenceError where systems cannot be solved."""
        try:
            yield
        except UnsolvedError as error:
            raise InferenceError(
                "the systems that tell what rests on one cluster among "
                f"{sum(_count(self.fit, self.method))} effects were {error}",
                where=self.method,
                remedy="absorb fewer effects, or leave out levels that few rows tell from the others; Cluster() needs none",
            ) from None

    def _directions(self, weights: Floats) -> list[Floats]:
        """Combinations (q, k) of coefficients as those of each part's orthonormal regressors."""
        found = []
        for part, wide in zip(self.fit.parts, self.wide, strict=True):
            loading = np.array([part.loading(i) for i in range(len(part.positions))])
            found.append(weights[:, part.positions] @ loading @ wide.of.slopes)
        return found


def see(fit: Fit, way: Way, method: str) -> Seen | SeenByRows:
    """See the regressions of a fit from its clusters: in a basis, or by their rows where they have too many effects for one.

    InferenceError where it has none, or clusters divide units. What is found is found once, however many inferences ask.
    """
    if too_wide(fit, way, method):
        return SeenByRows(fit, way, wide_regressions(fit, way, method), method)
    key = f"seen {way.name}"
    if key not in fit.views:
        fit.views[key] = _see(fit, way, method)
    seen: Seen = fit.views[key]
    return seen


def too_wide(fit: Fit, way: Way, method: str) -> bool:
    """Say whether clusters times effects squared is more than memory holds, or the rows are quicker than a basis."""
    slopes, levels = _count(fit, method)
    if len(way.present) * float(slopes + levels) ** 2 > _MOST_NUMBERS:
        return True
    return levels > _MANY_LEVELS and slopes <= _FEW_SLOPES


def _count(fit: Fit, method: str) -> tuple[int, int]:
    """Count the slopes, and the levels of effects besides those of units."""
    regressions = [regression_of(part, method) for part in fit.parts]
    levels = sum(int(codes.max()) + 1 for one in regressions for codes in one.factors[1:])
    return sum(one.n_slopes for one in regressions), levels


def wide_regressions(fit: Fit, way: Way, method: str) -> tuple[WideRegression, ...]:
    """The regressions of a fit to be seen by their rows, part by part, made once."""
    key = f"wide {way.name}"
    if key not in fit.views:
        fit.views[key] = tuple(WideRegression(rows) for rows in _rows_of(fit, way, method))
    wide: tuple[WideRegression, ...] = fit.views[key]
    return wide


def _see(fit: Fit, way: Way, method: str) -> Seen:
    bases = [cluster_basis(rows) for rows in _rows_of(fit, way, method)]
    basis = block_diagonal(bases)
    directions = np.zeros((len(fit.terms), basis.slopes.shape[1]))
    row = 0
    for part, own in zip(fit.parts, bases, strict=True):
        slopes = basis.slopes[row : row + len(own.slopes)]
        for i, position in enumerate(part.positions):
            directions[position] = part.loading(i) @ slopes
        row += len(own.slopes)
    return Seen(fit, way, basis, directions)


def shock_bases(fit: Fit, way: Way) -> tuple[ShockBasis, ...]:
    """How shocks to clusters reach the regressions of a fit, part by part, found once."""
    key = f"shocks {way.name}"
    if key not in fit.views:
        fit.views[key] = tuple(shock_basis(rows) for rows in _rows_of(fit, way, "loadings"))
    bases: tuple[ShockBasis, ...] = fit.views[key]
    return bases


def _turned(basis: ShockBasis, every: RegressionRows) -> Floats:
    """Products (K, T, p) of shocks with the basis of all rows: of the rows of K clusters, others of equal levels may be kept."""
    of = basis.of
    if of is every:
        return basis.shocks
    (own_kept, own_turn), (kept, turn) = of.independent, every.independent
    times = np.ones(of.n_clusters) if of.times is None else of.times
    crossed = np.einsum("g,glm->lm", times, of.own)[np.ix_(own_kept, kept)]
    slopes, levels = np.split(basis.shocks, [of.orthonormal.shape[1]], axis=2)
    return np.concatenate([slopes, levels @ (own_turn @ crossed @ turn.T)], axis=2)


def _rows_of(fit: Fit, way: Way, method: str) -> tuple[RegressionRows, ...]:
    """The rows of each part's regression, as few of them as stand for all."""
    key = f"rows {way.name}"
    if key in fit.views:
        known: tuple[RegressionRows, ...] = fit.views[key]
        return known
    periods, n_periods = period_codes(fit)
    found = []
    for part, codes, period in zip(fit.parts, way.codes, periods, strict=True):
        regression = regression_of(part, method)
        if not (way.nests_units or nested(regression.factors[0], codes)):
            raise InferenceError(
                "the clusters divide units",
                where=method,
                remedy="cluster by units or by what they belong to, such as counties; Cluster() takes any column",
            )
        cluster = np.searchsorted(way.present, codes)
        regression, first = _few_rows(regression, cluster, part.sample.starts)
        unit, *factors = regression.factors
        found.append(
            RegressionRows(
                regression.regressors,
                regression.residuals,
                regression.bread,
                regression.weights,
                unit,
                tuple(factors),
                cluster[first],
                len(way.present),
                period[first],
                n_periods,
                absorber=regression.absorber,
            )
        )
    fit.views[key] = tuple(found)
    return tuple(found)


_LARGEST_KEY = 5_000_000
_SAME = 1e-10  # share of the largest number by which rows of one cell may differ through rounding


def _few_rows(regression: Regression, cluster: Ints, starts: Ints) -> tuple[Regression, Ints]:
    """Let one unit of each cluster and pattern of effects stand for all, where they have the same regressors.

    What a cluster contributes is a sum over its rows, in which they enter by their summed weight and mean residual. Returned are
    the regression on these rows and their positions (n',) among all.
    """
    every = np.arange(len(regression.residuals))
    key = cluster
    for factor in regression.factors[1:]:
        key = key * (int(factor.max()) + 1) + factor
        if int(key.max()) > _LARGEST_KEY:
            return regression, every
    found = find_patterns(key=key, starts=starts, weights=regression.weights)
    if found is None:
        return regression, every
    X = regression.regressors
    # Any fixed numbers serve: rows that differ do so in a random combination of the columns, too.
    mixed = X @ (np.random.default_rng(0x726F77).standard_normal(X.shape[1]) * np.sqrt(np.diag(regression.bread)))
    if np.abs(mixed[found.rows][found.cell] - mixed).max() > _SAME * np.abs(mixed).max():
        return regression, every
    weighted = regression.residuals if regression.weights is None else regression.residuals * regression.weights
    mean = np.bincount(found.cell, weights=weighted, minlength=len(found.rows)) / found.mass
    factors = (found.unit, *(factor[found.rows] for factor in regression.factors[1:]))
    few = replace(
        regression, regressors=X[found.rows], residuals=mean, weights=found.mass, factors=factors, absorber=None
    )
    return few, found.rows


def name_determined(seen: Seen | SeenByRows, spec: Specification, by: str | None, method: str) -> tuple[Message, ...]:
    """Note the coefficients that one cluster alone determines; InferenceError where these are all effects."""
    determined, terms = seen.determined(), seen.fit.terms
    effects = np.array([term.role == "effect" for term in terms])
    lost = np.any(determined, axis=0)
    level = by or spec.design.assigned_at
    if lost[effects].all():
        g = int(np.flatnonzero(np.any(determined[:, effects], axis=1))[0])
        raise InferenceError(
            f"without {level} {_label(seen, spec, by, g)} the effect cannot be estimated, so that its residuals say nothing of "
            "how it varies",
            where=method,
            remedy="use ByDesign(), PooledGroups(), Permutation() or Placebo(draws=200, seed=1)",
        )
    found: dict[str, list[str]] = {}
    for row in np.flatnonzero(np.any(determined, axis=1)):
        names = ", ".join(term.name for term, one in zip(terms, determined[row], strict=True) if one)
        found.setdefault(names, []).append(_label(seen, spec, by, row))
    return tuple(
        message("note.jackknife_lost", terms=names, level=level, left_out=", ".join(labels))
        for names, labels in found.items()
    )


def _label(seen: Seen | SeenByRows, spec: Specification, by: str | None, g: Any) -> str:
    code = int(seen.way.present[g])
    labels = seen.fit.parts[0].sample.clusters if by in (None, spec.design.assigned_at) else spec.panel.codes(by).labels
    return str(labels[code])
