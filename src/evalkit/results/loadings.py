"""What an estimate rests on: its loadings on shocks to clusters, their effective number, and how often a clustered test errs."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from evalkit.catalogue import Message, message
from evalkit.designs import collapsing
from evalkit.errors import EvalkitError, InferenceError
from evalkit.numerics.arrays import Flags, Floats, Ints
from evalkit.numerics.clusters import ShockBasis
from evalkit.numerics.level_systems import UnsolvedError
from evalkit.numerics.loadings import (
    ShockCells,
    ShockMap,
    apart,
    count_effective,
    expect_size,
    find_alike,
    join_maps,
    over_time,
    own_shocks,
    see_variance,
    trend,
    walk,
)
from evalkit.numerics.wide import WideRegression
from evalkit.progress import watched
from evalkit.results.basis import shock_bases, too_wide, wide_regressions
from evalkit.results.clusters import Way, assignment, nested, period_codes
from evalkit.results.estimation import Specification
from evalkit.results.fit import MOST_MAPPED, Fit, Part, Response, headline_effects, not_by_mass
from evalkit.results.uncertainty import Doubt
from evalkit.tables.columns import numbers
from evalkit.tables.contents import in_short, same_content

# Expected sizes of a test at 5 %: up to the first a p stands alone, up to the second with the size in words, above with a †.
STANDS, IN_WORDS = 0.065, 0.10
# Below so many effective clusters nothing tells the shock of one from an effect.
LEAST_EFFECTIVE = 2.0
SHOCK = "outcome after a shock"
_MOST_REFITS = 3000
_ROUNDING = 1e-11


@dataclass(frozen=True, eq=False)
class Loadings:
    """How much each coefficient of a fit moves when the outcome of a cluster rises by 1 in a period.

    Shocks are thought independent over clusters, periods and the subgroups of a split, and alike in all; then a coefficient has
    the variance Σv, v (G,) being its squared loadings summed over periods. All follows from the design, nothing from the
    outcome, and is found when it is first asked for. Clusters are those of `way`.
    """

    fit: Fit
    way: Way
    spec: Specification = field(compare=False)
    _variances: dict[bytes, Floats] = field(init=False, default_factory=dict, repr=False, compare=False)
    _sizes: dict[bytes, float] = field(init=False, default_factory=dict, repr=False, compare=False)

    __eq__ = same_content
    __repr__ = in_short

    @cached_property
    def in_cells(self) -> tuple[Specification, Fit] | None:
        """The specification on cells, which carry the same loadings, and its fit; None where it does not pay, or rows differ."""
        return _collapse(self.fit, self.spec) if self.way.name == "" else None

    @cached_property
    def _source(self) -> tuple[Fit, Way]:
        """The fit that answers to shocks: that on cells, where there is one with the same clusters."""
        if self.in_cells is not None:
            small = self.in_cells[1]
            if [str(one) for one in small.parts[0].sample.clusters] == list(self.labels):
                return small, assignment(small)
        return self.fit, self.way

    @cached_property
    def cells(self) -> tuple[ShockCells, ...]:
        """The shock that each row of what answers meets, part by part."""
        fit, way = self._source
        periods, n_periods = period_codes(fit)
        return tuple(
            ShockCells(np.searchsorted(way.present, codes), period, len(way.present), n_periods)
            for codes, period in zip(way.codes, periods, strict=True)
        )

    @property
    def parts(self) -> tuple[Part, ...]:
        """The parts of what answers."""
        return self._source[0].parts

    @cached_property
    def responses(self) -> tuple[Response, ...]:
        """What answers to shocks, part by part."""
        fit, way = self._source
        return tuple(_respond(fit, i, self.spec, way) for i in range(len(fit.parts)))

    @cached_property
    def values(self) -> Floats:
        """Loadings (G, T, k), with the T periods of one part (or group) after those of another; 0 of a base."""
        n_clusters, n_periods = self.cells[0].n_clusters, self.cells[0].n_periods
        found = np.zeros((n_clusters, len(self.parts), n_periods, len(self.fit.terms)))
        for i, (part, response, at) in enumerate(zip(self.parts, self.responses, self.cells, strict=True)):
            found[:, i, :, part.positions] = np.moveaxis(response.loadings(at).reshape(n_clusters, n_periods, -1), 2, 0)
        return found.reshape(n_clusters, -1, len(self.fit.terms))

    @cached_property
    def treated(self) -> Flags:
        """Flag the clusters (G,) that hold units that get treated; where all do in the end, before the last ones."""
        found = np.zeros(self.cells[0].n_clusters, dtype=bool)
        for part, cells in zip(self.parts, self.cells, strict=True):
            sample = part.sample
            adoption = np.where(sample.unit_adoption > sample.period.max(), np.inf, sample.unit_adoption)
            found[cells.cluster[sample.starts[adoption < adoption.max()]]] = True
        return found

    @cached_property
    def observed(self) -> Ints:
        """The periods (T,), as ordinals of their frequency."""
        periods = self.fit.parts[0].sample.panel.periods
        positions = np.unique(np.concatenate([np.unique(part.sample.period) for part in self.fit.parts]))
        return periods.first + positions * periods.step

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """Names of the clusters (G,)."""
        by = self.way.name
        named = self.fit.parts[0].sample.clusters if not by else self.spec.panel.codes(by).labels
        return tuple(str(named[code]) for code in self.way.present)

    def variances(self, weights: Floats) -> Floats:
        """The variance (G,) that each cluster's shocks bring into a combination (k,) of coefficients."""
        key = weights.tobytes()
        if key not in self._variances:
            chosen = np.flatnonzero(weights)
            one = len(chosen) == 1  # of very many coefficients, each is asked for by itself
            loadings = self.values[:, :, chosen[0]] * weights[chosen[0]] if one else self.values @ weights
            self._variances[key] = np.einsum("gt,gt->g", loadings, loadings)
        return self._variances[key]

    def effective(self, weights: Floats) -> float:
        """Number of equal clusters on which a combination rests as much: G* = (Σv)²/Σv²."""
        return count_effective(self.variances(weights))

    def sides(self, weights: Floats) -> tuple[float, float]:
        """Effective numbers of treated and of untreated clusters, each among themselves; inf for a side without a part in it."""
        v = self.variances(weights)
        treated, control = count_effective(v[self.treated]), count_effective(v[~self.treated])
        return (np.inf if np.isnan(treated) else treated), (np.inf if np.isnan(control) else control)

    def largest(self, weights: Floats) -> tuple[str, float]:
        """The cluster that brings in most of the variance, and its share."""
        v = self.variances(weights)
        return self.labels[int(v.argmax())], float(v.max() / v.sum()) if v.any() else float("nan")

    def shock_map(self, weights: Floats) -> ShockMap | None:
        """Map shocks to the clusters' sums of influence on a combination; None where an estimator has no influence."""
        maps = []
        for i, (part, response, cells) in enumerate(zip(self.parts, self.responses, self.cells, strict=True)):
            own = weights[part.positions]
            if own.any():
                try:
                    one = response.shock_map(own, cells)
                except UnsolvedError:
                    return None
                if one is None:
                    return None
                if len(self.parts) > 1:
                    one = one.after(apart(one.own.shape[0], cells.n_periods, i, len(self.parts)))
                maps.append(one)
        return join_maps(maps) if maps else None

    def expected_size(self, weights: Floats) -> float:
        """How often clustered errors (CR1) with t(G-1) reject a true null of a combination at 5 %; NaN without influence."""
        key = weights.tobytes()
        if key not in self._sizes:
            self._sizes[key] = self._size(weights)
        return self._sizes[key]

    def _size(self, weights: Floats) -> float:
        variance = float(self.variances(weights).sum())
        found = self.shock_map(weights) if variance > 0 else None
        if found is None:
            return float("nan")
        return expect_size(see_variance(found.moments(), variance), self._n_clusters(weights))

    def lasting(self, weights: Floats) -> tuple[float, float]:
        """Expected size and effective clusters where shocks last: the worse of random walks and of own linear trends."""
        loadings, found = self.values @ weights, self.shock_map(weights)
        n_periods = len(self.observed)
        worst = (float("nan"), float("nan"))
        for one in (walk(n_periods), trend(n_periods)):
            first = np.asarray(np.kron(np.eye(loadings.shape[1] // n_periods), one), dtype=np.float64)
            v = ((loadings @ first) ** 2).sum(axis=1)
            if found is None or not v.sum() > 0:
                continue
            moments = found.after(over_time(first, found.own.shape[0])).moments()
            size = expect_size(see_variance(moments, float(v.sum())), self._n_clusters(weights))
            if not worst[0] >= size:
                worst = (size, count_effective(v))
        return worst

    def _n_clusters(self, weights: Floats) -> int:
        parts = zip(self.fit.parts, self.way.sizes, strict=True)
        return min(size for part, size in parts if weights[part.positions].any())


def loadings_of(fit: Fit, spec: Specification, way: Way) -> Loadings:
    """Find the loadings of a fit on shocks to clusters, once for each way of clustering.

    Where the clusters divide units or unit-periods, shocks are those of the units of assignment.
    """
    if not (way.nests_units or all(nested(p.sample.unit, c) for p, c in zip(fit.parts, way.codes, strict=True))):
        way = assignment(fit)
    key = f"loadings {way.name}"
    if key not in fit.views:
        fit.views[key] = Loadings(fit, way, spec)
    found: Loadings = fit.views[key]
    return found


def exchangeable(loadings: Loadings) -> tuple[Ints, Floats]:
    """Classes (G,) of clusters that have the same part in the design, and their mean outcomes by period (G, T).

    They adopt at the same time and weigh the same in every period, in a panel of one part in which the units of a cluster are
    observed in the same periods with constant weights, without anything else that tells them apart; and the loadings must
    follow from that alone. Otherwise each cluster is a class of its own, and there are no means.
    """
    n_clusters = loadings.cells[0].n_clusters
    apart = np.arange(n_clusters), np.full((n_clusters, loadings.cells[0].n_periods), np.nan)
    (part, *others), (response, *_), (cells, *_) = loadings.parts, loadings.responses, loadings.cells
    sample, design = part.sample, part.sample.design
    more = design.covariates or design.absorb or design.dose or design.eligible
    if others or more or not response.of_design or sample.panel.unit_codes is None:
        return apart
    weights = np.ones(len(sample.rows)) if sample.weights is None else sample.weights
    owner = cells.cluster[sample.starts]
    n_units, n_rows = np.bincount(owner, minlength=n_clusters), cells.sum(np.ones(len(weights))).reshape(n_clusters, -1)
    same = (n_rows == 0) | (n_rows == n_units[:, None])
    if (
        not same.all()
        or (weights != np.repeat(weights[sample.starts], np.diff(np.append(sample.starts, len(weights))))).any()
    ):
        return apart
    mass = cells.sum(weights).reshape(n_clusters, -1)
    adoption = np.empty(n_clusters)
    adoption[owner] = sample.unit_adoption
    return find_alike(np.column_stack([adoption, mass])).classes, cluster_means(loadings)


def cluster_means(loadings: Loadings) -> Floats:
    """Mean outcomes of the clusters by period, (G, T); 0 where there is no row."""
    cells, sample = loadings.cells[0], loadings.parts[0].sample
    weights = np.ones(len(sample.rows)) if sample.weights is None else sample.weights
    mass, totals = cells.sum(weights), cells.sum(weights * sample.outcome)
    means: Floats = np.divide(totals, mass, out=np.zeros_like(totals), where=mass > 0)
    return means.reshape(cells.n_clusters, -1)


def _collapse(fit: Fit, spec: Specification) -> tuple[Specification, Fit] | None:
    """Estimate on cells of a panel's rows where a linear estimator then gives the same from far fewer.

    Regressions need it not: their rows are summed by cluster as it is. Nor do estimates that are on cells already.
    """
    panel = spec.panel
    linear = all(part.response is not None and part.response.of_design for part in fit.parts)
    n_rows = max(len(part.sample.rows) for part in fit.parts)
    if (
        not linear
        or len(fit.parts) > 1
        or panel.unit is None
        or panel.counts is not None
        or n_rows < collapsing.WORTH_CELLS
    ):
        return None
    used = np.zeros(len(panel), dtype=bool)
    used[fit.parts[0].sample.rows] = True
    try:
        cells = collapsing.collapse_panel(panel, spec.design, keep=used)
        small = spec.estimator.fit(cells, spec.design)
    except EvalkitError:
        return None
    same = collapsing.FEWER * len(cells) <= n_rows and [term.name for term in small.terms] == [
        term.name for term in fit.terms
    ]
    return (replace(spec, panel=cells), small) if same else None


def _respond(fit: Fit, i: int, spec: Specification, way: Way) -> Response:
    part = fit.parts[i]
    if part.response is not None:
        return part.response
    if part.regression is not None:
        if too_wide(fit, way, "loadings"):
            return _WideResponse(wide_regressions(fit, way, "loadings")[i], part)
        return _RegressionResponse(shock_bases(fit, way)[i], part)
    return _RefitResponse(part, spec, tuple(fit.terms[p].name for p in part.positions))


@dataclass(frozen=True, eq=False)
class _RegressionResponse:
    """A regression's answer to shocks, from its basis."""

    basis: ShockBasis
    part: Part
    of_design = True
    by_mass = not_by_mass

    __eq__ = same_content
    __repr__ = in_short

    def loadings(self, cells: ShockCells) -> Floats:
        """Products of the coefficients' directions with the shocks, (G·T, m)."""
        found: Floats = self.basis.shocks @ (self._mapping @ self.basis.directions).T
        # Where other effects absorb all shocks to clusters, what is left is rounding of the rows' pulls.
        pulls = np.sqrt(np.einsum("ik,kl,il->i", self._mapping, self.basis.of.bread, self._mapping))
        found[:, :, np.abs(found).max(axis=(0, 1)) <= _ROUNDING * pulls] = 0.0
        return found[self.basis.alike.classes].reshape(cells.number, -1)

    def shock_map(self, weights: Floats, cells: ShockCells) -> ShockMap:
        """A cluster's scores take its own shocks less what the basis explains of all."""
        of_slopes = weights @ self._mapping @ self.basis.of.slopes
        own, root = self.basis.shocks[:, :, : len(of_slopes)] @ of_slopes, np.sqrt(self.basis.alike.times)
        shocks = (self.basis.shocks * root[:, None, None]).reshape(-1, self.basis.shocks.shape[2])
        return ShockMap(own_shocks(own), self.basis.pull(of_slopes) * root[:, None], shocks.T, self.basis.alike)

    @property
    def _mapping(self) -> Floats:
        return np.array([self.part.loading(i) for i in range(len(self.part.positions))])


@dataclass(frozen=True, eq=False)
class _WideResponse:
    """A regression's answer to shocks where it has too many effects for a basis, from its rows."""

    wide: WideRegression
    part: Part
    of_design = True
    by_mass = not_by_mass

    __eq__ = same_content
    __repr__ = in_short

    def loadings(self, cells: ShockCells) -> Floats:
        """Sums of the rows' pulls by cluster and period, (G·T, m)."""
        each = np.eye(len(self.part.positions))
        return np.stack([self.wide.loadings(self._direction(row)) for row in each], axis=1)

    def shock_map(self, weights: Floats, cells: ShockCells) -> ShockMap | None:
        """A cluster's scores take its rows' pulls less what is explained of them in all clusters; None beyond memory."""
        if self.wide.n_numbers > MOST_MAPPED:
            return None
        return self.wide.shock_map(self.wide.adjust(0.0, self._direction(weights)))

    def _direction(self, weights: Floats) -> Floats:
        mapping = np.array([self.part.loading(i) for i in range(len(self.part.positions))])
        direction: Floats = weights @ mapping @ self.wide.of.slopes
        return direction


@dataclass(frozen=True, eq=False)
class _RefitResponse:
    """Any estimator's answer to shocks, by estimating anew with each of them added to the outcome.

    The shocks are a hundredth of the outcome's spread: of an estimator that is not linear in it these are its derivatives.
    """

    part: Part
    spec: Specification
    names: tuple[str, ...]
    of_design = False
    by_mass = not_by_mass
    _found: list[tuple[Floats, Floats | None]] = field(init=False, default_factory=list, repr=False, compare=False)

    __eq__ = same_content
    __repr__ = in_short

    def loadings(self, cells: ShockCells) -> Floats:
        """Change of the coefficients, (G·T, m)."""
        return self._answer(cells)[0]

    def shock_map(self, weights: Floats, cells: ShockCells) -> ShockMap | None:
        """Change of the clusters' influence, whole."""
        moved = self._answer(cells)[1]
        if moved is None:
            return None
        nothing = own_shocks(np.zeros((cells.n_clusters, cells.n_periods)))
        return ShockMap(nothing, -np.eye(cells.n_clusters), (moved @ weights).T)

    def _answer(self, cells: ShockCells) -> tuple[Floats, Floats | None]:
        """Change of the coefficients (S, m) and of the clusters' influence (S, G, m) by each shock; None without influence."""
        if not self._found:
            if cells.number > _MOST_REFITS:
                raise InferenceError(
                    f"what the estimate rests on would take {cells.number} estimates anew",
                    where=type(self.spec.estimator).__name__,
                    remedy="collapse the panel to fewer periods, or give the estimator a Response",
                )
            self._found.append(self._estimate(cells))
        return self._found[0]

    def _estimate(self, cells: ShockCells) -> tuple[Floats, Floats | None]:
        panel, column = self.spec.panel, self.spec.design.outcome
        rows, code = self.part.sample.rows, cells.code
        step = 0.01 * float(np.std(self.part.sample.outcome)) or 1.0
        moved = np.zeros((cells.number, len(self.names)))
        influence = np.zeros((cells.number, cells.n_clusters, len(self.names)))
        outcome = numbers(panel.frame, column)
        design = replace(self.spec.design, outcome=SHOCK)
        start: tuple[Floats, Floats | None] | None = None
        shocks = (None, *np.unique(code).tolist())
        for shock in watched(shocks, type(self.spec.estimator).__name__, len(shocks)):
            shocked = outcome.copy()
            shocked[rows[code == shock]] += step
            fit = self.spec.estimator.fit(panel.with_column(SHOCK, shocked), design)
            at = [[term.name for term in fit.terms].index(name) for name in self.names]
            found = fit.coefficients[at], _summed(fit, self.part, cells, at)
            if shock is None:
                start = found
                continue
            assert start is not None
            moved[shock] = (found[0] - start[0]) / step
            if found[1] is not None and start[1] is not None:
                influence[shock] = (found[1] - start[1]) / step
        return moved, None if start is None or start[1] is None else influence


def _summed(fit: Fit, part: Part, cells: ShockCells, at: list[int]) -> Floats | None:
    """Influence (G, m) of the clusters on the coefficients at these positions; None where the estimator has none."""
    cluster = np.zeros(len(part.sample.panel), dtype=np.int64)
    cluster[part.sample.rows] = cells.cluster
    summed = np.zeros((cells.n_clusters, len(fit.terms)))
    try:
        for one in fit.parts:
            own = one.influence.sum_within(cluster[one.sample.rows], cells.n_clusters)
            summed[:, one.positions] += own
    except InferenceError:
        return None
    return summed[:, at]


@dataclass(frozen=True, eq=False)
class Always:
    """The p-values of a fit, all of them, come from a distribution that the design cannot support, for one reason."""

    reason: Message

    __eq__ = same_content

    def of(self, weights: Floats) -> Message | None:
        """Say why the p of a combination is no guide."""
        return self.reason

    def headline(self) -> Message | None:
        """Say why that of the average effect after adoption is none."""
        return self.reason

    def tell(self) -> tuple[Message, ...]:
        """Say it of all terms."""
        return (self.reason,)


@dataclass(frozen=True, eq=False)
class ByExpectedSize:
    """The p of clustered errors with t(G-1) is no guide where they are expected to reject true nulls in over 10 % of cases."""

    loadings: Loadings
    reason: Message | None = None

    __eq__ = same_content

    def of(self, weights: Floats) -> Message | None:
        """Say how often a true null of a combination would be rejected, where that is over 10 %; or the reason given."""
        size = self.loadings.expected_size(weights)
        if not size > IN_WORDS:
            return None
        return self.reason or message("note.expected_size", size=_percent(size))

    def headline(self) -> Message | None:
        """Say it of the average effect after adoption, of the subgroup for which it is worst."""
        headlines = [weights for _, weights in headline_effects(self.loadings.fit)]
        return self.of(max(headlines, key=self.loadings.expected_size)) if headlines else None

    def tell(self) -> tuple[Message, ...]:
        """Name the terms that carry a †, then those whose p needs a word, each with its size."""
        sizes = [
            (term.name, self.loadings.expected_size(weights))
            for term, weights in zip(self.loadings.fit.terms, np.eye(len(self.loadings.fit.terms)), strict=True)
            if term.role == "effect"
        ]
        above = [(name, size) for name, size in sizes if size > IN_WORDS]
        if self.reason is not None:
            return (self.reason,) if above else ()
        between = [(name, size) for name, size in sizes if STANDS < size <= IN_WORDS]
        said = [("note.expected_sizes", above), ("note.expected_in_words", between)]
        told = tuple(message(key, listed=_list(found)) for key, found in said if found)
        unknown = ", ".join(name for name, size in sizes if np.isnan(size))
        return (*told, message("note.expected_unknown", listed=unknown)) if unknown and self._beyond_memory() else told

    def _beyond_memory(self) -> bool:
        """Say whether there is influence to map shocks to, but not the memory for it."""
        loadings = self.loadings
        parts = zip(loadings.parts, loadings.responses, loadings.cells, strict=True)
        return any(r.of_design and r.shock_map(np.ones(len(part.positions)), at) is None for part, r, at in parts)


@dataclass(frozen=True, eq=False)
class ByEffective:
    """The p of a method is no guide for terms that rest on fewer than two clusters of equal weight, or on a side on one."""

    loadings: Loadings
    says: str
    least: float = LEAST_EFFECTIVE
    by_side: bool = False

    __eq__ = same_content

    def of(self, weights: Floats) -> Message | None:
        """Say on how many clusters a combination rests, where they are too few."""
        found = self._too_few(weights)
        return None if found is None else message(self.says, listed=f"{found:.1f}")

    def _too_few(self, weights: Floats) -> float | None:
        found = min(self.loadings.sides(weights)) if self.by_side else self.loadings.effective(weights)
        return found if found < self.least - 1e-9 else None

    def headline(self) -> Message | None:
        """Say it of the average effect after adoption."""
        reasons = (self.of(weights) for _, weights in headline_effects(self.loadings.fit))
        return next((reason for reason in reasons if reason is not None), None)

    def tell(self) -> tuple[Message, ...]:
        """Name the terms, each with the number on which it rests."""
        found = []
        for term, weights in zip(self.loadings.fit.terms, np.eye(len(self.loadings.fit.terms)), strict=True):
            if term.role == "effect" and (few := self._too_few(weights)) is not None:
                found.append(f"{term.name} ({few:.1f})")
        return (message(self.says, listed=", ".join(found)),) if found else ()


def _percent(size: float) -> str:
    return f"{100 * size:.0f}"


def _list(found: list[tuple[str, float]]) -> str:
    return ", ".join(f"{name} {_percent(size)} %" for name, size in found)


_ENOUGH_FOR_JOINT_TESTS = 30


@dataclass(frozen=True, eq=False)
class ByBothSides:
    """A joint F test is no guide where a term of it rests on fewer than 30 treated or untreated clusters: decision 0004."""

    loadings: Loadings

    __eq__ = same_content

    def of(self, weights: Floats) -> Message | None:
        """Say on how many the terms, rows of weights (q, k), rest."""
        fewest = np.array([self.loadings.sides(row) for row in weights]).min(axis=0)
        if round(fewest.min()) >= _ENOUGH_FOR_JOINT_TESTS:
            return None
        return message("note.joint_few_clusters", treated=f"{fewest[0]:.0f}", control=f"{fewest[1]:.0f}")


@dataclass(frozen=True, eq=False)
class OneByOne:
    """A joint test is no guide where one of its terms is none."""

    single: Doubt

    __eq__ = same_content

    def of(self, weights: Floats) -> Message | None:
        """Say why, of the first such row of weights (q, k)."""
        return next((reason for row in weights if (reason := self.single.of(row)) is not None), None)
