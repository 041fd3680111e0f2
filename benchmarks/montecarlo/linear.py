"""t of many draws at once: all methods of estimators that are linear in the outcome are matrices.

An estimate is loadings · shocks, and its variance the sum of squares of what a ShockMap makes of the shocks. Whoever uses this
checks some draws against `estimate`, see `check`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import stats

from evalkit import Design, Estimate, Panel, estimate
from evalkit.catalogue import message
from evalkit.errors import InferenceError
from evalkit.inference import BiasReduced, ByDesign, Cluster, Jackknife
from evalkit.inference.bias_reduced import Satterthwaite
from evalkit.inference.jackknife import EffectiveT
from evalkit.numerics.loadings import ShockMap
from evalkit.results.estimation import Estimator, Inference
from evalkit.results.loadings import Loadings
from montecarlo.cells import NOMINAL
from montecarlo.panels import Floats, Ints

METHODS: Mapping[str, Inference] = {"CR1": Cluster(), "CR2": BiasReduced(), "CV3": Jackknife()}
BY_DESIGN = ByDesign()
_SAME = 1e-8


@dataclass(frozen=True, eq=False)
class Statistic:
    """t of a term by one method: loadings (S,), what its variance sees of shocks, a factor (G,), and degrees of freedom."""

    loadings: Floats
    seen: ShockMap
    factor: Floats
    df: float

    def errors(self, shocks: Floats) -> Floats:
        """Standard errors (R,) of draws of shocks (S, R)."""
        sums = self.seen.own @ shocks - self.seen.pull @ (self.seen.functionals @ shocks)
        found: Floats = np.sqrt(self.factor**2 @ sums**2)
        return found

    @property
    def critical(self) -> float:
        return float(stats.t.ppf(1 - NOMINAL / 2, self.df))

    def p_values(self, shocks: Floats) -> Floats:
        """Two-sided p (R,)."""
        p: Floats = 2 * stats.t.sf(np.abs(self.loadings @ shocks) / self.errors(shocks), self.df)
        return p


@dataclass(frozen=True, eq=False)
class Study:
    """A design with an estimator, judged once by each method: all that follows from the design alone."""

    panel: Panel
    design: Design
    estimator: Estimator
    judged: Mapping[str, Estimate]

    @property
    def loadings(self) -> Loadings:
        of = self.judged["CR1"].uncertainty.reliance
        assert isinstance(of, Loadings)
        return of

    @property
    def shape(self) -> tuple[int, int]:
        """Clusters and periods."""
        cells = self.loadings.cells[0]
        return cells.n_clusters, cells.n_periods

    def meet(self, shocks: Floats) -> Floats:
        """Shocks (G, T, R) as loadings (S,) meet them: (S, R), those of each subgroup of a split with the same."""
        parts = self.loadings.values.shape[1] // shocks.shape[1]
        return np.tile(shocks, (1, parts, 1)).reshape(-1, shocks.shape[2])

    def codes(self) -> list[Ints]:
        """Number of the shock (S,) that each row meets, part by part."""
        values, periods = self.loadings.values, self.shape[1]
        return [
            cells.cluster * values.shape[1] + (i * periods if values.shape[1] > periods else 0) + cells.period
            for i, cells in enumerate(self.loadings.cells)
        ]

    def outcome(self, shocks: Floats) -> Floats:
        """Outcome of the panel's rows under shocks (S,)."""
        outcome = np.zeros(len(self.panel))
        for part, code in zip(self.judged["CR1"].fit.parts, self.codes(), strict=True):
            outcome[part.sample.rows] = shocks[code]
        return outcome

    def draw(self, shocks: Floats, inference: Inference) -> Estimate:
        """Ask the public interface about one draw."""
        drawn = self.panel.with_column("outcome", self.outcome(shocks))
        return estimate(drawn, self.design, self.estimator, inference=inference)

    def statistics(self, weights: Floats) -> dict[str, Statistic]:
        """Give the t of a combination (k,) by each method that has one."""
        found = {}
        loadings = (self.loadings.values @ weights).ravel()
        for name, one in self.judged.items():
            error, seen = one.distribution.std_error(weights), _shock_map(one, self.loadings, weights)
            if error > 0 and seen is not None:
                counted = name == "CR1" or (name == "CV3" and len(one.fit.parts) > 1)
                factor = self._factor(one, weights) if counted else np.ones(self.shape[0])
                found[name] = Statistic(loadings, seen.expand(), factor, one.distribution.df(weights))
        return found

    def _factor(self, one: Estimate, weights: Floats) -> Floats:
        """What a method counts of clusters, rows and effects in each part: found in the first draw, to be checked in others."""
        factor = np.zeros(self.shape[0])
        for part, code, cells in zip(one.fit.parts, self.codes(), self.loadings.cells, strict=True):
            own, shocks = np.zeros_like(weights), np.zeros(self.loadings.values[:, :, 0].size)
            own[part.positions] = weights[part.positions]
            seen = _shock_map(one, self.loadings, own) if own.any() else None
            if seen is not None:
                shocks[code] = part.sample.outcome
                alone = Statistic(shocks, seen.expand(), np.ones(len(factor)), 1.0)
                found = one.distribution.std_error(own) / float(alone.errors(shocks[:, None])[0])
                factor[np.unique(cells.cluster)] = found
        return factor

    def chosen(self, told: Estimate) -> str:
        """Name what ByDesign took; "Permutation" where it asks for draws of them."""
        if told.uncertainty.unsupported is not None and not isinstance(told.distribution, EffectiveT):
            return "Permutation"
        said = str(told.uncertainty.method)
        named = [name for name, one in self.judged.items() if str(one.uncertainty.method) in said]
        if named:
            return max(named, key=lambda name: len(str(self.judged[name].uncertainty.method)))
        pooled = str(message("method.pooled_groups", level=self.design.assigned_at))
        return "PooledGroups" if pooled in said else "Permutation"


def _shock_map(one: Estimate, loadings: Loadings, weights: Floats) -> ShockMap | None:
    distribution = one.distribution
    if isinstance(distribution, Satterthwaite):
        return distribution.seen.shock_map(weights, -0.5)
    if isinstance(distribution, EffectiveT):
        return distribution.shock_map(weights)
    return loadings.shock_map(weights)


def study(panel: Panel, design: Design, estimator: Estimator, rng: np.random.Generator) -> Study:
    """Judge one draw by each method; those that refuse are left out."""
    county, period = panel.frame["county"].to_numpy(), panel.frame["period"].to_numpy()
    shocks = rng.standard_normal((int(county.max()) + 1, int(period.max()) + 1))
    first = estimate(panel.with_column("outcome", shocks[county, period]), design, estimator, inference=Cluster())
    judged = {"CR1": first}
    for name in ("CR2", "CV3"):
        try:
            judged[name] = first.under(METHODS[name])
        except InferenceError:
            continue
    return Study(panel, design, estimator, judged)


def check(
    of: Study, statistics: Mapping[str, Mapping[str, Statistic]], weights: Mapping[str, Floats], shocks: Floats
) -> None:
    """AssertionError unless `estimate` gives the same p, to 1e-8, of every term and method in each draw of shocks (S, R)."""
    for column in shocks.T:
        first = of.draw(column, Cluster())
        for method in of.judged:
            told = first if method == "CR1" else first.under(METHODS[method])
            for term, by_method in statistics.items():
                if method in by_method:
                    own = float(by_method[method].p_values(column[:, None])[0])
                    public = told.distribution.p_value(weights[term])
                    assert abs(own - public) < _SAME, f"{of.estimator}, {term}, {method}: {own} is not {public}"
