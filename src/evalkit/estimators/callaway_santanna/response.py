"""How averages of effects by cohort and period, and the influence on them, answer to shocks."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy import sparse

from evalkit.designs.sample import Sample
from evalkit.estimators.callaway_santanna.group_time import Arrangement, Changes, GroupTime, Strand, codes_of
from evalkit.numerics.arrays import Floats, Ints
from evalkit.numerics.doubly_robust import Method
from evalkit.numerics.loadings import Masses, ShockCells, ShockMap, own_shocks
from evalkit.tables.contents import in_short, same_content

# Functionals with more numbers than this are held without their zeros.
_DENSE = 5_000_000


@dataclass(frozen=True, eq=False)
class Mix:
    """A weighted mean of cells: their numbers (j,) and weights (j,), which sum to 1.

    With `by_size` they follow from the sizes of cohorts, which are estimated.
    """

    cells: Ints
    weights: Floats
    by_size: bool

    __eq__ = same_content
    __repr__ = in_short


@dataclass(frozen=True, eq=False)
class CellResponse:
    """Each of m coefficients is the mean of its mixes of the J cells; with propensities as they are all is linear in the outcome.

    A strand s takes of the outcome at the periods of its cells: with x_j the weight of cell j, k_s(t) sums x_j times the sign
    with which t enters j. Let a_s, P_s, F_s be the sums by cluster of what it has of its own, its pull and its functionals. Then
    the combination is Σ a_s(g)·k_s(t)·y(g, t), and its influence has own a_s(g)·k_s(t) less P_s times F_s(g)·k_s(t). To the
    influence, the estimated size n_c of a cohort adds, for each mix, its shares times ω_c(mean_c - mean)/n_c, where ω_c is the
    weight of the cohort's cells in the mix and mean_c the mean effect there.
    """

    arrangement: Arrangement
    sample: Sample
    method: Method
    cells: tuple[GroupTime, ...]
    mixes: tuple[tuple[Mix, ...], ...]
    _found: list[tuple[ShockCells, _Strands]] = field(init=False, default_factory=list, repr=False, compare=False)
    of_design = True

    __eq__ = same_content
    __repr__ = in_short

    def loadings(self, cells: ShockCells) -> Floats:
        """Sum what the strands have of their own, (G·T, m)."""
        which = [np.concatenate([mix.cells for mix in own]) for own in self.mixes]
        share = [np.concatenate([mix.weights for mix in own]) / len(own) for own in self.mixes]
        ends = np.cumsum([0, *map(len, which)])
        shape = (len(self.mixes), len(self.cells))
        weights = sparse.csr_array((np.concatenate(share), np.concatenate(which), ends), shape=shape)
        return self._strands(cells).effects(weights).reshape(shape[0], -1).T

    def shock_map(self, weights: Floats, cells: ShockCells) -> ShockMap:
        """Map shocks to the clusters' sums of influence on a combination."""
        strands = self._strands(cells)
        of_cell = np.zeros(len(self.cells))
        cohort = np.array([cell.cohort for cell in self.cells])
        sizes = np.bincount(self.arrangement.cohort, weights=self.arrangement.shares)
        by_size = np.zeros((len(sizes), len(self.cells)))
        for weight, own in zip(weights, self.mixes, strict=True):
            for mix in own if weight else ():
                share = weight / len(own) * mix.weights
                of_cell[mix.cells] += share
                if mix.by_size:
                    by_size[cohort[mix.cells], mix.cells] += share
                    by_size[:, mix.cells] -= np.outer(
                        np.bincount(cohort[mix.cells], weights=mix.weights, minlength=len(sizes)), share
                    )
        moved = np.flatnonzero(by_size.any(axis=1))
        place = strands.cluster * len(sizes) + self.arrangement.cohort
        mass = np.bincount(place, weights=self.arrangement.shares, minlength=cells.n_clusters * len(sizes))
        share = mass.reshape(cells.n_clusters, -1)[:, moved] / sizes[moved]
        return strands.map(of_cell, -share, by_size[moved])

    def by_mass(self, cells: ShockCells) -> Masses | None:
        """Cohorts enter by their masses and means alone where units are observed throughout, without covariates."""
        found = self.arrangement
        if not isinstance(found, Changes) or not found.balanced or found.covariates:
            return None
        if not found.weighs_alike:
            return None
        owner = cells.cluster[self.sample.starts][found.order]
        cohort, mass = np.zeros(cells.n_clusters, dtype=np.int64), np.zeros(cells.n_clusters)
        cohort[owner] = found.cohort
        if (cohort[owner] != found.cohort).any():
            return None
        np.add.at(mass, owner, found.shares)
        return Masses(cohort, mass, self._by_mass)

    def _by_mass(self, weights: Floats, masses: Floats) -> Floats:
        """Loadings (V, C, T) on sums of outcomes by cohort and period, with the masses (V, C) of cohorts; see Masses."""
        timeline = self.arrangement.timeline
        sizes = np.bincount(self.arrangement.cohort, weights=self.arrangement.shares)
        relative = masses / sizes
        cohort = np.array([cell.cohort for cell in self.cells])
        of_cell = np.zeros((len(masses), len(self.cells)))
        for weight, own in zip(weights, self.mixes, strict=True):
            for mix in own if weight else ():
                share = mix.weights * (relative[:, cohort[mix.cells]] if mix.by_size else np.ones((len(masses), 1)))
                of_cell[:, mix.cells] += weight / len(own) * share / share.sum(axis=1, keepdims=True)
        found = np.zeros((len(masses), len(timeline.cohorts), len(timeline.periods)))
        for j in np.flatnonzero(of_cell.any(axis=0)):
            cell, comparison = self.cells[j], list(self.cells[j].comparison)
            treated, control = of_cell[:, j] / masses[:, cell.cohort], of_cell[:, j] / masses[:, comparison].sum(axis=1)
            for period, sign in ((cell.period, 1.0), (cell.base, -1.0)):
                found[:, cell.cohort, period] += sign * treated
                found[:, comparison, period] -= sign * control[:, None]
        return found

    def _strands(self, cells: ShockCells) -> _Strands:
        """Sum the strands of all cells by cluster, once."""
        if not (self._found and self._found[0][0] is cells):
            self._found[:] = [(cells, _sum_strands(self, cells))]
        return self._found[0][1]


@dataclass(frozen=True)
class _Strands:
    """The strands of J cells, summed by cluster.

    cluster (U,) is that of each unit (or row) of the arrangement; own (G, S) what S strands have of their own; pull and
    functionals (G, R) belong to the strands `of` (R,); steps (J, T·S) hold the sign with which a period enters a cell in a
    strand.
    """

    cluster: Ints
    own: Floats
    pull: Floats
    functionals: Floats
    of: Ints
    steps: sparse.csr_array

    def effects(self, weights: sparse.csr_array) -> Floats:
        """Combinations (m, J) of effects as functionals of the shocks, (m, G, T)."""
        n_clusters, n_strands = self.own.shape
        n_periods = self.steps.shape[1] // n_strands
        steps = sparse.csr_array((weights @ self.steps).reshape((weights.shape[0] * n_periods, n_strands)))
        return (steps @ self.own.T).reshape(weights.shape[0], n_periods, n_clusters).transpose(0, 2, 1)

    def map(self, weights: Floats, shares: Floats, by_size: Floats) -> ShockMap:
        """The map of a combination (J,), and of effects by_size (C, J) that pull by shares (G, C)."""
        steps = (self.steps.T @ weights).reshape(-1, self.own.shape[1])
        own = self.own @ steps.T
        used = np.flatnonzero(steps[:, self.of].any(axis=0))
        effects = self.effects(sparse.csr_array(by_size)).reshape(len(by_size), own.size)
        functionals, over = self.functionals[:, used].T, steps[:, self.of[used]].T
        lines: Floats | sparse.csr_array
        if (len(used) + len(effects)) * own.size <= _DENSE:
            lines = np.vstack([(functionals[:, :, None] * over[:, None, :]).reshape(-1, own.size), effects])
        else:
            lines = sparse.csr_array(sparse.vstack([_products(functionals, over), sparse.csr_array(effects)]))
        return ShockMap(own_shocks(own), np.hstack([self.pull[:, used], shares]), lines)


def _products(first: Floats, second: Floats) -> sparse.csr_array:
    """Products of each row of (r, g) with the same row of (r, t), (r, g·t)."""
    columns, values = [], []
    for one, other in zip(first, second, strict=True):
        g, t = np.flatnonzero(one), np.flatnonzero(other)
        columns.append((g[:, None] * second.shape[1] + t).ravel())
        values.append(np.outer(one[g], other[t]).ravel())
    ends = np.cumsum([0, *map(len, columns)])
    shape = (len(first), first.shape[1] * second.shape[1])
    return sparse.csr_array((np.concatenate(values), np.concatenate(columns), ends), shape=shape)


def _sum_strands(of: CellResponse, cells: ShockCells) -> _Strands:
    sample, arrangement = of.sample, of.arrangement
    rows = arrangement.order if sample.panel.unit is None else sample.starts[arrangement.order]
    cluster = cells.cluster[rows]
    periods = arrangement.timeline.periods
    shock_period = np.zeros(len(periods), dtype=np.int64)
    shock_period[codes_of(periods)[sample.period]] = cells.period
    place: dict[Strand, int] = {}
    entries = []
    for j, cell in enumerate(of.cells):
        for strand, steps in arrangement.strands(cell):
            s = place.setdefault(strand, len(place))
            entries += [(j, shock_period[period], s, sign) for period, sign in steps]

    def by_cluster(at: Ints, line: Floats) -> Floats:
        return np.asarray(np.bincount(cluster[at], weights=line, minlength=cells.n_clusters), dtype=np.float64)

    own = np.empty((cells.n_clusters, len(place)))
    pull: list[Floats] = []
    functionals: list[Floats] = []
    owner: list[int] = []
    for strand, s in place.items():
        at, linear = arrangement.linear(strand, of.method)
        own[:, s] = by_cluster(at, linear.own)
        pull += [by_cluster(at, line) for line in linear.pull]
        functionals += [by_cluster(at, line) for line in linear.functionals]
        owner += [s] * len(linear.pull)
    number, time, at_strand, signs = map(np.array, zip(*entries, strict=True))
    shape = (len(of.cells), cells.n_periods * len(place))
    steps_of_cells = sparse.csr_array((signs, (number, time * len(place) + at_strand)), shape=shape)
    return _Strands(cluster, own, np.column_stack(pull), np.column_stack(functionals), np.array(owner), steps_of_cells)
