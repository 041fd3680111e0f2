"""Let the design choose how its estimate is judged, and show the other methods beside it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import pandas as pd

from evalkit.catalogue import Message, message
from evalkit.designs.adoption import with_adoption
from evalkit.designs.design import Design
from evalkit.errors import EvalkitError, InferenceError
from evalkit.inference.bias_reduced import BiasReduced
from evalkit.inference.cluster import Cluster
from evalkit.inference.jackknife import Jackknife
from evalkit.inference.permutation import Permutation
from evalkit.inference.placebo import Placebo
from evalkit.inference.pooled_groups import PooledGroups
from evalkit.inference.wild_bootstrap import WildBootstrap
from evalkit.numerics.arrays import Floats
from evalkit.numerics.power import detectable_effect
from evalkit.panels.panel import Panel
from evalkit.results.clusters import count_clusters, way_of
from evalkit.results.estimation import Estimate, Inference, Specification, no_columns
from evalkit.results.fit import Fit
from evalkit.results.uncertainty import Clusters, Uncertainty
from evalkit.tables.contents import in_short

ALTERNATIVES = (
    "effect method level estimand headline estimate std_error df p_value conf_low conf_high supported smallest_p remark"
).split()
_MOST_REFITS = 300  # estimates anew that a headline may cost
# Below these, by share and number, CR2 rejects true nulls too often where shocks are those of clusters: with weights 6:1:1
# against seven .084, 6:1:1:1 against six .090, 6:1 against seven .116; with 3:1:1 .043 and 3:1 .034 (700 draws each).
_ALIKE, _ENOUGH = 0.7, 3.0


@dataclass(frozen=True, kw_only=True)
class ByDesign:
    """Choose the inference that the design supports, and carry the others beside it.

    m is the number of treated or of control clusters, whichever is smaller, in the subgroup where it is smallest; for estimators
    that tell cohorts apart, of the smallest cohort. With a regression BiasReduced is the headline from m = 2 on; without one
    Jackknife, which beyond 300 clusters gives way to Cluster. Where a few clusters carry most of the weight of the treated or of
    the others, Permutation comes first and then Jackknife. With m = 1 the residuals of the one cluster say nothing, and what
    is left is PooledGroups, if the effect is a difference of means of clusters that weigh alike, else Permutation. A method that
    refuses or calls itself unsupported gives way to the next; if none is left, the first stands and says that it is no guide.

    Where the design names what lies `above` the units of assignment, shocks may be shared there, and the headline is that one
    level up. `uncertainty.alternatives` holds the others, at both levels, with the estimate from means of clusters, which weigh
    alike; `uncertainty.sentence` says what the design can and cannot show. Methods that draw need `draws` and `seed`; those
    that enumerate do not. Sizes behind the choice: docs/inference.md.
    """

    draws: int | None = None
    seed: int | None = None

    columns = no_columns

    def __post_init__(self) -> None:
        if (self.draws is None) != (self.seed is None):
            raise InferenceError(
                "draws and seed go together",
                where="ByDesign",
                remedy="give both, for example draws=9999, seed=1, or neither",
            )
        WildBootstrap(draws=self.draws, seed=self.seed)  # refuses what no bootstrap takes

    def assess(self, fit: Fit, spec: Specification) -> Uncertainty:
        """Judge by the first method that stands, one level up if the design names it."""
        here = _Level(fit, spec, None, spec.design.assigned_at, self.draws, self.seed)
        levels = (here, *here.above())
        top = levels[-1]
        chosen, told = top.headline()
        sentence = top.sentence(chosen, told, here)
        return replace(
            told,
            method=message("method.by_design", method=told.method),
            notes=(*(() if sentence is None else (sentence,)), *told.notes),
            sentence=sentence,
            others=_Alternatives(levels, chosen, told),
        )


@dataclass(frozen=True)
class _Level:
    """A level at which shocks may be shared: the units of assignment (`by` None), or a column above them."""

    fit: Fit
    spec: Specification
    by: str | None
    name: str
    draws: int | None
    seed: int | None

    __repr__ = in_short

    def above(self) -> Iterator[_Level]:
        """Yield the level above, if the design names one: as assignment where it decides adoption, else for clustering only."""
        above = self.spec.design.above
        if above in (None, self.spec.design.assigned_at):
            return
        up = replace(self.spec, design=replace(self.spec.design, assigned_at=above, above=None))
        try:
            yield replace(self, fit=up.estimator.fit(up.panel, up.design), spec=up, name=above)
        except EvalkitError:  # the treated and others share a cluster there
            yield replace(self, by=above, name=above)

    def clusters(self) -> Clusters:
        """Count the clusters of the part in which the fewest are treated, or are not."""
        parts = count_clusters(self.fit, way_of(self.by, self.fit, self.spec))[1]
        return min(parts, key=self._smaller)

    def _smaller(self, one: Clusters) -> int:
        by_cohort = any(part.by_cohort for part in self.fit.parts)
        return min(one.smallest_cohort if by_cohort else one.treated, one.control)

    def fewest(self) -> int:
        """Say what m is."""
        return self._smaller(self.clusters())

    def is_dominated(self) -> bool:
        """Say whether the treated or the untreated units of assignment weigh so unequally that they count as far fewer.

        The number of equal units with the same sum of squared weights, compared with their own.
        """
        if self.by is not None:
            return False
        for part in self.fit.parts:
            sample = part.sample
            weights = np.ones(len(sample.rows)) if sample.weights is None else sample.weights
            mass = np.bincount(sample.cluster, weights=weights, minlength=len(sample.clusters))
            adoption = sample.cluster_adoption()
            for side in (mass[adoption <= sample.period.max()], mass[adoption > sample.period.max()]):
                if len(side) > 1 and side.sum() ** 2 / (side @ side) < min(_ALIKE * len(side), _ENOUGH):
                    return True
        return False

    def _is_regression(self) -> bool:
        return all(part.regression is not None for part in self.fit.parts)

    def candidates(self) -> list[Inference]:
        """List the methods that may be the headline, the best first."""
        draws, seed = self.draws, self.seed
        permutation = Permutation(draws=draws, seed=seed)
        if self.fewest() == 1:
            placebo = [] if draws is None or seed is None else [Placebo(draws=draws, seed=seed)]
            if self.by is not None:
                return [WildBootstrap(draws=draws, seed=seed, by=self.by)]
            return [PooledGroups(), permutation, *placebo, Jackknife(), Cluster()]
        if self._is_regression():
            if self.is_dominated():
                return [permutation, Jackknife(), BiasReduced()]
            return [BiasReduced(by=self.by), Jackknife(by=self.by), Cluster(by=self.by)]
        if self.by is not None:
            return [Cluster(by=self.by)]
        refitted = [] if self.clusters().total > _MOST_REFITS else [Jackknife()]
        return [*refitted, Cluster(), permutation]

    def headline(self) -> tuple[Inference, Uncertainty]:
        """Judge by the first candidate that is supported; by the first that judges at all, if none is."""
        doubtful: list[tuple[Inference, Uncertainty]] = []
        why = ""
        for method in self.candidates():
            try:
                told = method.assess(self.fit, self.spec)
            except InferenceError as error:
                why = why or str(error)
                continue
            if told.unsupported is None:
                return method, told
            doubtful.append((method, told))
        if not doubtful:
            raise InferenceError(
                f"no method can judge this estimate: {why}",
                where="ByDesign",
                remedy="add units of comparison, or give draws= and seed= so that permutations can be drawn",
            )
        return doubtful[0]

    def methods(self) -> list[Inference]:
        """List what stands in the table of alternatives."""
        draws, seed, by = self.draws, self.seed, self.by
        listed: list[Inference] = [Cluster(by=by), BiasReduced(by=by), Jackknife(by=by)]
        listed.append(WildBootstrap(draws=draws, seed=seed, by=by))
        return listed if by is not None else [*listed, PooledGroups(), Permutation(draws=draws, seed=seed)]

    def sentence(self, chosen: Inference, told: Uncertainty, below: _Level) -> Message:
        """Say what the design can and cannot show."""
        m, counted = self.fewest(), self.clusters()
        key = "none" if told.unsupported is not None else "one" if m == 1 else "two" if m == 2 else "some"
        values = {"treated": counted.treated, "control": counted.control, "level": self.name}
        parts = [message(f"by_design.{key}", **values, method=message(f"by_design.{type(chosen).__name__}"))]
        if told.unsupported is None and (effect := self._detectable(told)) is not None:
            parts.append(message("by_design.detectable", effect=f"{effect:.3g}"))
        if m > 1 and self._is_regression() and self.is_dominated():
            parts.append(message("by_design.dominated"))
        if m == 2 and (effect := self._pooled_detectable()) is not None:
            parts.append(message("by_design.pooled", effect=f"{effect:.3g}"))
        parts.append(_floor(told.smallest_p))
        if self.spec is not below.spec or self.by is not None:
            parts.append(message("by_design.above", level=self.name, below=below.name))
        joined = parts[0]
        for part in parts[1:]:
            joined = message("by_design.joined", first=joined, then=part)
        return joined

    def _detectable(self, told: Uncertainty) -> float | None:
        """The effect that t would find in four of five cases, given its standard error; None where draws judge."""
        judged = Estimate(self.fit, told, self.spec)
        weights = _effects(self.fit)[0][1]
        error, df = judged.distribution.std_error(weights), judged.distribution.df(weights)
        return error * _standard_errors_detected(df) if error > 0 and np.isfinite(df) else None

    def _pooled_detectable(self) -> float | None:
        try:
            return self._detectable(PooledGroups().assess(self.fit, self.spec))
        except InferenceError:
            return None


@lru_cache
def _standard_errors_detected(df: float) -> float:
    return detectable_effect(std_error=1.0, df=df, alpha=0.05, target=0.8)


def _floor(p: float) -> Message:
    if p < 0.001:
        return message("by_design.tiny")
    return message("by_design.floor" if p > 0.05 else "by_design.attainable", floor=f"{p:.3f}")


@dataclass(frozen=True)
class _Alternatives:
    """The levels at which shocks may be shared, and the headline: the method chosen at the last of them, and what it told."""

    levels: tuple[_Level, ...]
    chosen: Inference
    told: Uncertainty

    __repr__ = in_short

    def tabulate(self) -> pd.DataFrame:
        """Judge by every method at every level: one row for each and effect (average after adoption of each subgroup)."""
        rows: list[dict[str, object]] = []
        for level in self.levels:
            for method in level.methods():
                headline = level is self.levels[-1] and method == self.chosen
                rows += _rows(level, method, "as_specified", self.told if headline else None)
            if (alike := _weighed_alike(level)) is not None:
                rows += [
                    row for method in (BiasReduced(), PooledGroups()) for row in _rows(alike, method, "alike", None)
                ]
        return pd.DataFrame(rows, columns=ALTERNATIVES)


def _rows(level: _Level, method: Inference, estimand: str, told: Uncertainty | None) -> list[dict[str, object]]:
    fit, spec = level.fit, replace(level.spec, inference=method)
    remark: object = ""
    judged: Estimate | None = None
    try:
        judged = Estimate(fit, told or method.assess(fit, spec), spec)
    except EvalkitError as error:
        remark = error.what
    rows = []
    for name, weights in _effects(fit):
        row: dict[str, object] = {
            "effect": name,
            "method": type(method).__name__,
            "level": level.name,
            "estimand": estimand,
            "headline": told is not None,
            "estimate": float(weights @ fit.coefficients),
            "supported": judged is not None and judged.uncertainty.unsupported is None,
            "remark": remark,
        }
        if judged is not None:
            distribution, of = judged.distribution, judged.uncertainty
            low, high = distribution.interval(weights, 0.95)
            row |= {
                "std_error": distribution.std_error(weights),
                "df": distribution.df(weights),
                "p_value": distribution.p_value(weights),
            }
            row |= {"conf_low": low, "conf_high": high, "smallest_p": of.smallest_p, "remark": of.unsupported or ""}
        rows.append(row)
    return rows


def _effects(fit: Fit) -> list[tuple[str, Floats]]:
    """Name and weights (k,) of the average effect after adoption, of each subgroup and of the gap between two."""
    found: list[tuple[str, Floats]] = []
    for group in dict.fromkeys(term.subgroup for term in fit.terms):
        inside = [
            term.role == "effect" and term.subgroup == group and (term.event_time is None or term.event_time >= 0)
            for term in fit.terms
        ]
        names = [term.name for term, one in zip(fit.terms, inside, strict=True) if one]
        weights = np.array(inside) / max(sum(inside), 1)
        if names:
            found.append((names[0] if len(names) == 1 else f"mean of {names[0]} … {names[-1]}", weights))
    if len(found) == 2:
        (first, a), (second, b) = found
        found.append((f"{second} - {first}", b - a))
    return found


def _weighed_alike(level: _Level) -> _Level | None:
    """The estimate from means by unit of assignment and period, which then weigh alike.

    None where it is the same, where it cannot be had, or for subgroups and designs with more than an outcome.
    """
    (part, *others), design = level.fit.parts, level.spec.design
    more = design.covariates or design.absorb or design.dose or design.eligible
    if level.by is not None or others or more or part.regression is None:
        return None
    sample = part.sample
    weights = np.ones(len(sample.rows)) if sample.weights is None else sample.weights
    cell, row = np.unique(np.column_stack([sample.cluster, sample.period]), axis=0, return_inverse=True)
    adoption = sample.cluster_adoption()[cell[:, 0]]
    names = np.array(list(map(str, sample.clusters)), dtype=object)
    frame = pd.DataFrame(
        {
            level.name: names[cell[:, 0]],
            "period number": cell[:, 1],
            "mean outcome": np.bincount(row, weights=weights * sample.outcome) / np.bincount(row, weights=weights),
            "first period": adoption,
        }
    )
    panel = Panel.from_frame(frame, unit=level.name, time="period number")
    by_means = Design(
        outcome="mean outcome",
        adoption="first period",
        assigned_at=level.name,
        comparison=design.comparison,
        anticipation=design.anticipation,
    )
    # As positions on the new axis: read as dates, those before the data would be refused.
    first = panel.frame["first period"].to_numpy(dtype=np.float64)
    panel, by_means = with_adoption(panel, by_means, np.ceil((first - panel.periods.first) / panel.periods.step))
    try:
        fit = level.spec.estimator.fit(panel, by_means)
    except EvalkitError:
        return None
    if np.allclose(fit.coefficients, level.fit.coefficients, rtol=1e-9, atol=0.0):
        return None
    return replace(level, fit=fit, spec=replace(level.spec, panel=panel, design=by_means))
