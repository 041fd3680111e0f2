"""Let the design choose how its estimate is judged, and show the other methods beside it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import ClassVar

import numpy as np
import pandas as pd

from evalkit.catalogue import Message, message
from evalkit.designs.adoption import with_adoption
from evalkit.designs.design import Design
from evalkit.errors import CostError, EvalkitError, InferenceError
from evalkit.inference.bias_reduced import BiasReduced
from evalkit.inference.cluster import Cluster
from evalkit.inference.jackknife import EffectiveT, Jackknife
from evalkit.inference.permutation import Permutation
from evalkit.inference.placebo import Placebo
from evalkit.inference.pooled_groups import PooledGroups
from evalkit.inference.wild_bootstrap import WildBootstrap
from evalkit.numerics.arrays import Floats, Ints
from evalkit.numerics.loadings import ShockMap, turning_noise, turning_share
from evalkit.numerics.power import detectable_effect
from evalkit.panels.panel import Panel
from evalkit.reassignment.assignments import can_enumerate
from evalkit.reassignment.cost import ASIDE
from evalkit.reassignment.effects import reassign
from evalkit.reassignment.refits import rows_to_keep
from evalkit.results.basis import see
from evalkit.results.clusters import count_clusters, way_of
from evalkit.results.estimation import Estimate, Inference, OnCells, Specification, no_columns
from evalkit.results.fit import Fit, headline_effects
from evalkit.results.loadings import IN_WORDS, LEAST_EFFECTIVE, STANDS, Loadings, loadings_of
from evalkit.results.uncertainty import ReferenceDistribution, Turning, Uncertainty
from evalkit.tables.contents import in_short

ALTERNATIVES = (
    "effect method level estimand headline estimate std_error df p_value conf_low conf_high supported smallest_p remark"
).split()
_MOST_JUDGED_ALONE = 300  # clusters beyond which clustered errors judge, where they are expected to hold
_PERMUTATION_BESIDE = (
    4.0  # effective clusters below which the jackknife finds only effects of 4 standard errors or more
)
_FEW = 2.5  # effective clusters of a side below which bias-reduced errors reject under .01 of true nulls
_MOSTLY = 0.5  # share of the variance from which one cluster is named
_ALPHA = 0.05


@dataclass(frozen=True, kw_only=True)
class ByDesign:
    """Choose the inference that the design supports, and carry the others beside it.

    What decides is G*, the number of equal clusters on which the average effect after adoption rests as much, in the subgroup for
    which it is smallest. Where that is below 2, or the effect cannot be estimated without one of the clusters, the data cannot
    tell its own shock from an effect; what is left is PooledGroups, if the effect is a difference of means of clusters that
    weigh alike, else Permutation. With more, BiasReduced is the headline for regressions, else Jackknife, whatever a permutation
    says; beyond 300 clusters Cluster, where its errors are expected to hold. A method that refuses gives way to the next, and
    the sentence names it with its reason. Where no method is left without draws, Cluster stands with a † and the sentence says
    which draws to ask for.

    Where the design names what lies `above` the units of assignment, shocks may be shared there, and the headline is that one
    level up. `uncertainty.alternatives` holds the others, at both levels, with the estimate from means of clusters, which weigh
    alike; `uncertainty.sentence` says what the design can and cannot show; `uncertainty.turning` what would turn the conclusion.
    Methods that draw need `draws` and `seed`; those that enumerate do not. Permutations that are not asked for by name are begun
    only where all take no longer than 5 s, foretold from the design; where more would be needed, the sentence and the table say
    how long, and how to ask. Sizes behind the choice: docs/inference.md.
    """

    draws: int | None = None
    seed: int | None = None

    columns = no_columns
    on_cells: ClassVar[OnCells] = "always"

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
        return self.assess_within(ASIDE, fit, spec)

    def assess_within(self, budget: float, fit: Fit, spec: Specification) -> Uncertainty:
        """The same, with permutations of at most so many seconds, as foretold, and never of more than 5."""
        here = _Level(fit, spec, None, spec.design.assigned_at, self.draws, self.seed, min(budget, ASIDE))
        levels = (here, *here.above())
        top = levels[-1]
        chosen = top.headline()
        method = message("method.by_design", method=chosen.told.method)
        return replace(chosen.told, method=method, choice=_Choice(levels, chosen))


@dataclass(frozen=True)
class _Chosen:
    """The headline: the method, what it told, and the methods before it that refused, each with its reason."""

    method: Inference
    told: Uncertainty
    refused: tuple[tuple[Inference, str | Message], ...]


@dataclass(frozen=True)
class _Level:
    """A level at which shocks may be shared: the units of assignment (`by` None), or a column above them."""

    fit: Fit
    spec: Specification
    by: str | None
    name: str
    draws: int | None
    seed: int | None
    budget: float

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

    @cached_property
    def loadings(self) -> Loadings:
        """What the fit rests on at this level."""
        return loadings_of(self.fit, self.spec, way_of(self.by, self.fit, self.spec))

    @cached_property
    def weights(self) -> Floats:
        """Weights (k,) of the average effect after adoption, of the subgroup for which it rests on the fewest.

        An average of event times leaves out those that rest on fewer than two treated or untreated clusters, unless all do.
        """
        return min(
            map(self._leave_out_lone, (own for _, own in headline_effects(self.fit))), key=self.loadings.effective
        )

    def _leave_out_lone(self, weights: Floats) -> Floats:
        kept = weights.copy()
        kept[self._lone(weights)] = 0.0
        return kept / kept.sum() if kept.any() else weights

    def _lone(self, weights: Floats) -> Ints:
        """Positions of the terms in a combination of several that rest on fewer than two clusters of a side."""
        at = np.flatnonzero(weights)
        each = np.eye(len(weights))
        return at[[min(self.loadings.sides(each[i])) < LEAST_EFFECTIVE - 1e-6 for i in at]] if len(at) > 1 else at[:0]

    @cached_property
    def effective(self) -> float:
        """How many clusters that effect rests on."""
        return self.loadings.effective(self.weights)

    def candidates(self) -> list[Inference]:
        """List the methods that may be the headline, the best first; the last ones judge what rests on one cluster."""
        draws, seed, by = self.draws, self.seed, self.by
        placebo = [] if draws is None or seed is None else [Placebo(draws=draws, seed=seed)]
        alone: list[Inference] = [PooledGroups(), Permutation(draws=draws, seed=seed), *placebo]
        if by is not None:
            alone = [WildBootstrap(draws=draws, seed=seed, by=by)]
        if self.effective < LEAST_EFFECTIVE:
            return alone
        many = len(self.loadings.treated) > _MOST_JUDGED_ALONE
        if many and self.loadings.expected_size(self.weights) <= STANDS:
            return [Cluster(by=by)]
        if all(part.regression is not None and part.mapping is None for part in self.fit.parts) and not many:
            return [BiasReduced(by=by), Jackknife(by=by), *alone]
        return [Jackknife(by=by), *alone]

    def headline(self) -> _Chosen:
        """Judge by the first candidate that can; else by clustered errors, which then carry a †."""
        refused: list[tuple[Inference, str | Message]] = []
        for method in self.candidates():
            try:
                told = self.assess(method)
            except CostError as error:
                refused.append((method, _tell_cost(error)))
                continue
            except InferenceError as error:
                refused.append((method, error.what))
                continue
            distribution = Estimate(self.fit, told, self.spec).distribution
            if np.isfinite(distribution.p_value(self.weights)):
                return _Chosen(method, told, tuple(refused))
            refused.append((method, "the effect has no standard error"))
        try:
            return _Chosen(Cluster(by=self.by), Cluster(by=self.by).assess(self.fit, self.spec), tuple(refused))
        except InferenceError as error:
            why = "; ".join(f"{type(method).__name__}: {reason}" for method, reason in refused) or error.what
            raise InferenceError(
                f"this estimate cannot be judged ({why})",
                where="ByDesign",
                remedy="give draws=9999, seed=1 so that permutations can be drawn, or add units of comparison",
            ) from None

    def assess(self, method: Inference, spec: Specification | None = None) -> Uncertainty:
        """Judge by a method; permutations, which may take long, only where they take seconds, or random ones are asked for."""
        if isinstance(method, Permutation):
            return method.assess_within(self.budget, self.fit, spec or self.spec)
        return method.assess(self.fit, spec or self.spec)

    @cached_property
    def _permutes(self) -> bool:
        """Say whether the permutations of the table of alternatives go through all assignments."""
        if not can_enumerate(self.spec):
            return False
        try:
            keep = rows_to_keep(self.fit, self.spec)
            reassign(
                self.fit,
                self.spec,
                keep,
                by="Permutation",
                draws=None,
                seed=None,
                alike=True,
                of_treatment=True,
                budget=self.budget,
            )
        except CostError:
            return False
        except InferenceError:  # which says in the table why it gives nothing
            return True
        return True

    def methods(self) -> list[Inference]:
        """List what stands in the table of alternatives."""
        draws, seed, by = self.draws, self.seed, self.by
        listed: list[Inference] = [Cluster(by=by), BiasReduced(by=by), Jackknife(by=by)]
        listed.append(WildBootstrap(draws=draws, seed=seed, by=by))
        return listed if by is not None else [*listed, PooledGroups(), Permutation(draws=draws, seed=seed)]

    def sentence(self, chosen: _Chosen, below: _Level, turning: Turning) -> Message:
        """Say what the design can and cannot show."""
        parts = [self._counted(), self._judged(chosen)]
        parts += [
            message("by_design.refused", method=message(f"by_design.{type(method).__name__}"), why=why)
            for method, why in chosen.refused
            if not isinstance(method, Placebo | PooledGroups)
        ]
        if isinstance(chosen.method, BiasReduced | Jackknife):
            parts += self._told_lone()
        effective = self.effective
        if isinstance(chosen.method, Jackknife) and effective < _PERMUTATION_BESIDE:
            parts.append(message("by_design.permutation_beside", draws=self._ask_for_draws()))
        if isinstance(chosen.method, Cluster) and self._doubt(chosen.told) is not None:
            parts.append(message("by_design.draws"))
        if self._doubt(chosen.told) is None and (effect := self._detectable(chosen.told)) is not None:
            parts.append(message("by_design.detectable", effect=f"{effect:.3g}"))
        if self.fewest() < _FEW and (effect := self._pooled_detectable(chosen)) is not None:
            parts.append(message("by_design.pooled", effect=f"{effect:.3g}"))
        if isinstance(chosen.method, BiasReduced) and self.fewest() < _FEW:
            parts.append(message("by_design.rarely"))
        parts.append(_floor(chosen.told.smallest_p))
        if isinstance(chosen.method, Permutation | Placebo):
            parts.append(message("by_design.exact", level=self.name))
        parts += self._turns(chosen, below, turning)
        if isinstance(chosen.method, BiasReduced | Jackknife | Cluster) and self._doubt(chosen.told) is None:
            parts.append(message("by_design.condition", level=self.name))
            size, lasting = self.loadings.lasting(self.weights)
            if self.loadings.expected_size(self.weights) <= STANDS and size > IN_WORDS:
                parts.append(message("by_design.lasting", level=self.name, effective=f"{lasting:.2g}"))
        if self.spec is not below.spec or self.by is not None:
            parts.append(message("by_design.above", level=self.name, below=below.name))
        joined = parts[0]
        for part in parts[1:]:
            joined = message("by_design.joined", first=joined, then=part)
        return joined

    def _told_lone(self) -> list[Message]:
        """Name the terms that the average leaves out, by the cluster on which they mostly rest."""
        each = np.eye(len(self.weights))
        found: dict[str, list[str]] = {}
        for weights in (own for _, own in headline_effects(self.fit)):
            for i in self._lone(weights):
                found.setdefault(self.loadings.largest(each[i])[0], []).append(self.fit.terms[i].name)
        return [
            message("by_design.lone", terms=", ".join(terms), level=self.name, cluster=cluster)
            for cluster, terms in found.items()
        ]

    def fewest(self) -> float:
        """The smaller of the effective numbers of treated and of untreated clusters."""
        return min(self.loadings.sides(self.weights))

    def _counted(self) -> Message:
        """Say how many are treated, at how many dates, and on how many the effect rests."""
        counted = count_clusters(self.fit, self.loadings.way)[0]
        adoption = np.concatenate(
            [p.sample.unit_adoption[p.sample.unit_adoption <= p.sample.period.max()] for p in self.fit.parts]
        )
        treated, control = self.loadings.sides(self.weights)
        largest, share = self.loadings.largest(self.weights)
        dates = len(np.unique(adoption))
        known = np.isfinite(treated) and np.isfinite(control)  # not so where other effects absorb all shocks to a side
        said = message(
            "by_design.counted" if known else "by_design.only_counted",
            level=self.name,
            treated=counted.treated,
            control=counted.control,
            dates=message("by_design.one_date" if dates == 1 else "by_design.dates", dates=dates),
            **({"treated_effective": f"{treated:.0f}", "control_effective": f"{control:.0f}"} if known else {}),
        )
        if not share > _MOSTLY:
            return said
        mostly = message("by_design.mostly", level=self.name, largest=largest, share=f"{100 * share:.0f}")
        return message("by_design.joined", first=said, then=mostly)

    def _judged(self, chosen: _Chosen) -> Message:
        method = message(f"by_design.{type(chosen.method).__name__}")
        if self._doubt(chosen.told) is not None:
            return message("by_design.no_guide", method=method)
        if self.effective < LEAST_EFFECTIVE:
            return message("by_design.alone", method=method)
        df = Estimate(self.fit, chosen.told, self.spec).distribution.df(self.weights)
        return (
            message("by_design.judged", method=method, df=f"{df:.3g}")
            if np.isfinite(df)
            else message("by_design.ranked", method=method)
        )

    def _ask_for_draws(self) -> Message:
        if self.draws is None and not self._permutes:
            return message("by_design.with_draws")
        return message("by_design.no_draws")

    def _turns(self, chosen: _Chosen, below: _Level, turning: Turning) -> list[Message]:
        """Say at which noise of the treated, and at which share of common shocks, the conclusion turns."""
        noise, shared = turning.noise, turning.shared
        if noise is None:
            return [message("by_design.no_turning")]
        told = Estimate(self.fit, chosen.told, self.spec)
        stands = told.distribution.p_value(self.weights) < _ALPHA
        said = []
        if stands:
            said.append(
                message("by_design.noise_any", level=self.name)
                if np.isinf(noise)
                else message("by_design.noise", level=self.name, ratio=_write_ratio(noise))
            )
        elif noise >= 1:
            said.append(message("by_design.noise_even", level=self.name))
        elif noise > 0:
            said.append(message("by_design.noise_less", level=self.name, ratio=_write_ratio(noise)))
        if shared is not None and stands:
            above = below.spec.design.above
            said.append(
                message("by_design.shared_any", level=below.name, above=above)
                if np.isinf(shared)
                else message("by_design.shared", level=below.name, above=above, share=f"{100 * shared:.0f}")
            )
        return said

    def noise_ratio(self, chosen: _Chosen) -> float | None:
        """How many times as noisy the treated would have to be to turn the conclusion: see Turning."""
        found = self._see(chosen)
        if found is None:
            return None
        t, of, significant = found
        values = self.loadings.values @ self.weights
        return turning_noise(t=t, significant=significant, loadings=values, treated=self.loadings.treated, of=of)

    def shared_share(self, chosen: _Chosen | None) -> float | None:
        """Which share of shocks would have to be common to what lies above for the conclusion to turn: see Turning.

        It asks of the judgement at this level, also where the headline is that of the level above.
        """
        above = self.spec.design.above
        if above in (None, self.spec.design.assigned_at):
            return None
        try:
            found = self._see(chosen or self.headline())
        except InferenceError:
            return None
        if found is None or not found[2]:
            return None
        t, of, _ = found
        blocks = self._blocks(str(above))
        if blocks is None:
            return None
        values = self.loadings.values @ self.weights
        return turning_share(t=t, loadings=values, block=blocks, of=of)

    def _blocks(self, above: str) -> Ints | None:
        """Code (G,) of what each unit of assignment lies in; None where some lie in several."""
        codes = self.spec.panel.codes(above).values
        found = np.full(len(self.loadings.treated), -1)
        for part, cells in zip(self.fit.parts, self.loadings.cells, strict=True):
            own = codes[part.sample.rows]
            found[cells.cluster] = own
            if (found[cells.cluster] != own).any():
                return None
        return np.unique(found, return_inverse=True)[1].astype(np.int64) if found.min() >= 0 else None

    def _see(self, chosen: _Chosen) -> tuple[float, ShockMap, bool] | None:
        """The t statistic of the effect, what its variance sees of shocks, and whether p is below 5 %; None where no t judges."""
        if not isinstance(chosen.method, BiasReduced | Jackknife | Cluster) or self._doubt(chosen.told) is not None:
            return None
        told = Estimate(self.fit, chosen.told, self.spec).distribution
        of = self._shock_map(chosen.method, told)
        error = told.std_error(self.weights)
        if of is None or not error > 0 or not self.loadings.variances(self.weights).any():
            return None
        return float(self.weights @ self.fit.coefficients) / error, of, told.p_value(self.weights) < _ALPHA

    def _shock_map(self, method: Inference, distribution: ReferenceDistribution) -> ShockMap | None:
        """Map shocks to the sums whose squares the method adds up."""
        if isinstance(method, BiasReduced):
            return see(self.fit, self.loadings.way, "BiasReduced").shock_map(self.weights, -0.5)
        if isinstance(distribution, EffectiveT):
            return distribution.shock_map(self.weights)
        n, found = len(self.loadings.treated), self.loadings.shock_map(self.weights)
        return None if found is None else found.times(np.sqrt(n / (n - 1)))

    def _doubt(self, told: Uncertainty) -> Message | None:
        return None if told.doubt is None else told.doubt.of(self.weights)

    def _detectable(self, told: Uncertainty) -> float | None:
        """The effect that t would find in four of five cases, given its standard error; None where draws judge."""
        distribution = Estimate(self.fit, told, self.spec).distribution
        error, df = distribution.std_error(self.weights), distribution.df(self.weights)
        return error * _standard_errors_detected(df) if error > 0 and np.isfinite(df) else None

    def _pooled_detectable(self, chosen: _Chosen) -> float | None:
        if isinstance(chosen.method, PooledGroups):
            return None
        try:
            return self._detectable(PooledGroups().assess(self.fit, self.spec))
        except InferenceError:
            return None


@lru_cache
def _standard_errors_detected(df: float) -> float:
    return detectable_effect(std_error=1.0, df=df, alpha=_ALPHA, target=0.8)


def _tell_cost(error: CostError) -> Message:
    """Say why permutations were not begun, and how to have them."""
    return message("by_design.costly", assignments=f"{error.assignments:,}", seconds=f"{error.seconds:.0f}")


def _write_ratio(ratio: float) -> str:
    """Write a ratio to two digits, or to as many more as tell it from 1."""
    return next((said for digits in (2, 3, 4) if float(said := f"{ratio:.{digits}g}") != 1), "1")


def _floor(p: float) -> Message:
    if p < 0.001:
        return message("by_design.tiny")
    return message("by_design.floor" if p > 0.05 else "by_design.attainable", floor=f"{p:.3f}")


@dataclass(frozen=True)
class _Choice:
    """The levels at which shocks may be shared, and the headline, chosen at the last of them."""

    levels: tuple[_Level, ...]
    chosen: _Chosen

    __repr__ = in_short

    @cached_property
    def _turning(self) -> Turning:
        here, top = self.levels[0], self.levels[-1]
        return Turning(top.noise_ratio(self.chosen), here.shared_share(self.chosen if top is here else None))

    def weights(self) -> Floats:
        """Weights of the average effect after adoption for which the headline was chosen."""
        return self.levels[-1].weights

    def turning(self) -> Turning:
        """At which noise of the treated, and at which share of common shocks, the conclusion turns."""
        return self._turning

    def sentence(self) -> Message:
        """Say what the design can and cannot show at the highest level."""
        return self.levels[-1].sentence(self.chosen, self.levels[0], self._turning)

    def tabulate(self) -> pd.DataFrame:
        """Judge by every method at every level: one row for each and effect (average after adoption of each subgroup)."""
        rows: list[dict[str, object]] = []
        for level in self.levels:
            for method in level.methods():
                headline = level is self.levels[-1] and method == self.chosen.method
                rows += _rows(level, method, "as_specified", self.chosen.told if headline else None)
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
        judged = Estimate(fit, told or level.assess(method, spec), spec)
    except CostError as error:
        remark = _tell_cost(error)
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
            "supported": judged is not None and judged.doubt(weights) is None,
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
            row |= {
                "conf_low": low,
                "conf_high": high,
                "smallest_p": of.smallest_p,
                "remark": judged.doubt(weights) or "",
            }
        rows.append(row)
    return rows


def _effects(fit: Fit) -> list[tuple[str, Floats]]:
    """Name and weights (k,) of the average effect after adoption, of each subgroup and of the gap between two."""
    found = headline_effects(fit)
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
