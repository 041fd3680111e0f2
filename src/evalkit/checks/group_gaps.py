"""Gaps between groups: does the policy do more in one group than in another?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations, product
from typing import Protocol, runtime_checkable
from zlib import crc32

import numpy as np
import pandas as pd

from evalkit.catalogue import Message, message
from evalkit.designs.adoption import read_assignment
from evalkit.errors import DesignError, EvalkitError, InferenceError
from evalkit.numerics.arrays import Flags, Floats, Ints
from evalkit.numerics.reassigned import group_sums
from evalkit.panels.panel import Panel
from evalkit.progress import watched
from evalkit.reassignment.cost import BUDGET, Draws, costly, foretell_estimate, require_draws
from evalkit.results.estimation import Estimate, Estimator, Inference, Specification, describe_member
from evalkit.results.finding import Chart, Finding, weigh_after_adoption
from evalkit.results.fit import Fit

FISHER = "Fisher"
_LEVEL, _LEAST_DRAWS = 0.95, 99
_LARGE = 0.05  # p that even a very large gap can have by the permutation, above which that is said
_COLUMNS = (
    "gap first second method estimate std_error df p_value p_holm conf_low conf_high supported smallest_p why".split()
)


@runtime_checkable
class Grouping(Protocol):
    """An estimator that estimates by another one in subgroups of units: Split."""

    @property
    def by(self) -> str:
        """Column that tells the subgroups."""
        ...

    @property
    def estimator(self) -> Estimator:
        """What estimates in each."""
        ...

    def groups(self, panel: Panel) -> tuple[Ints, list[str]]:
        """Code (n,) of each row, -1 for none, and labels."""
        ...


@dataclass(frozen=True)
class GroupGaps:
    """Compare the effects of each two subgroups of a Split by several methods: second less first.

    under        inferences beside the specification's own. Cluster() sums influence over both groups within units of assignment
                 (seemingly unrelated estimation, suest); Cluster(correction="interacted") is the regression in which everything
                 is interacted with the group; WildBootstrap() draws for the gap itself.
    draws, seed  how many random exchanges of labels to rank the gap among where more than 10,000 are possible (14 units of
                 assignment or more), or all would take longer than a minute (60 s, foretold from the design); draws="all" takes
                 all of up to 10,000, whatever it takes.

    Of several effects in a subgroup the average after adoption counts. The table has one row per gap and method: estimate,
    std_error, df, p_value, interval, `supported`, and `why` a method refuses or is no guide. p_holm allows for the number of gaps
    (Holm), method by method; of one gap it is p_value. The finding's p_value is p_holm of the gap where it is smallest, by
    Fisher's permutation or, without one, by the first method that the design supports; its bound is the smallest p that the
    permutation can attain.

    Fisher's permutation ("Fisher") keeps or exchanges the two labels in each whole unit of assignment, and ranks the gap divided
    by its clustered standard error (no factor). It presumes that in each unit of assignment the groups' rows could as well
    have had each other's labels: same effect, and same path without the policy. Then it is exact, whatever shocks the rows of
    a group share there; where groups differ in size only, it holds as units of assignment grow many, which is why the gap is
    divided by its error. Where only one of the groups occurs, its rows move to the other group as a whole: the label counts
    as a toss of a coin for that place, and groups need not keep their number of places. Labellings that leave a group
    without an estimate count as extreme. With T treated places even a very large gap can have any p up to 2^(1-T), because
    what happens to the labels of the others hardly matters to it: with four, few gaps are found, with one, none.
    Relabelling single units inside places is not offered: with shocks that the units of a group share in a place and period,
    it rejects .35 of true nulls at 5 %.
    Sources: Fisher, The Design of Experiments, 1935; Janssen, Statistics and Probability Letters 36 (1997), on ranking the
    studentised difference; Holm, Scandinavian Journal of Statistics 6 (1979); Weesie, Stata Technical Bulletin 52 (1999), on
    suest.
    """

    under: tuple[Inference, ...] = ()
    draws: Draws = None
    seed: int | None = None

    on_cells = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "under", tuple(self.under))
        for inference in self.under:
            if isinstance(inference, type) or not hasattr(inference, "assess"):
                raise DesignError(
                    f"under holds {inference!r}",
                    where="GroupGaps",
                    remedy="give inferences, such as under=(Cluster(),)",
                )
        require_draws(self.draws, self.seed, by="GroupGaps", least=_LEAST_DRAWS)
        if self.draws != "all" and (self.draws is None) != (self.seed is None):
            raise DesignError(
                "draws and seed go together", where="GroupGaps", remedy="give both, for example draws=999, seed=1"
            )

    def run(self, spec: Specification) -> Finding:
        """Judge every gap by every method."""
        split = spec.estimator
        if not isinstance(split, Grouping):
            raise DesignError(
                f"{describe_member(split)} has no subgroups to compare",
                where="GroupGaps",
                remedy=f"use it on an estimate by Split, for example Split(by=…, estimator={describe_member(split)})",
            )
        one = spec.estimate()
        spec = one.spec
        groups = _averages(one.fit)
        if len(groups) < 2:
            raise DesignError(
                f"there is one subgroup only, {next(iter(groups), 'none')}",
                where=f"GroupGaps on Split(by='{split.by}')",
                remedy="; ".join(map(str, one.fit.notes)) or "split by a column with two values or more",
            )
        methods = [_Method.of(one, inference) for inference in (spec.inference, *self.under)]
        codes, labels = split.groups(spec.panel)
        rows: list[dict[str, object]] = []
        found: list[_Exchanged | None] = []
        for first, second in combinations(groups, 2):
            weights = groups[second] - groups[first]
            told: dict[str, object] = {"gap": f"{second} - {first}", "first": first, "second": second}
            told["estimate"] = float(weights @ one.fit.coefficients)
            rows += [told | method.judge(weights) for method in methods]
            which = np.select([codes == labels.index(first), codes == labels.index(second)], [0, 1], -1)
            ranked, row = self._fisher(Pair(split.estimator, spec, which))
            rows.append(told | row)
            found.append(ranked)
        table = pd.DataFrame(rows, columns=_COLUMNS)
        table["p_holm"] = _holm(table, len(methods) + 1)
        return _conclude(spec, one.fit, table, methods, found)

    def _fisher(self, pair: Pair) -> tuple[_Exchanged | None, dict[str, object]]:
        row: dict[str, object] = {"method": FISHER, "supported": False, "why": ""}
        try:
            ranked = pair.rank(self.draws, self.seed)
        except EvalkitError as error:
            return None, row | {"why": str(error)}
        return ranked, row | {"p_value": ranked.p_value, "smallest_p": ranked.floor, "supported": True}


@dataclass(frozen=True)
class _Method:
    """An inference with the estimate that it judges; without one, `why` it refuses."""

    name: str
    words: Message | str
    estimate: Estimate | None
    why: str

    @staticmethod
    def of(one: Estimate, inference: Inference) -> _Method:
        """Judge an estimate by an inference, if that can be."""
        name = describe_member(inference)
        try:
            judged = one if inference is one.spec.inference else one.under(inference)
        except EvalkitError as error:
            return _Method(name, name, None, str(error))
        reason = judged.uncertainty.unsupported
        return _Method(name, judged.uncertainty.method, judged, "" if reason is None else str(reason))

    def judge(self, weights: Floats) -> dict[str, object]:
        """Say of a combination (k,) what the method does."""
        row: dict[str, object] = {"method": self.name, "supported": False, "why": self.why}
        if self.estimate is None:
            return row
        distribution = self.estimate.distribution
        try:
            p, (low, high) = distribution.p_value(weights), distribution.interval(weights, _LEVEL)
        except EvalkitError as error:
            return row | {"why": str(error)}
        row |= {"std_error": distribution.std_error(weights), "df": distribution.df(weights), "p_value": p}
        supported = self.estimate.doubt(weights) is None and bool(np.isfinite(p))
        return row | {"conf_low": low, "conf_high": high, "supported": supported}


def _averages(fit: Fit) -> dict[str, Floats]:
    """Weights (k,) of the average effect after adoption in each subgroup that has one, by label."""
    found = {}
    for group in dict.fromkeys(term.subgroup for term in fit.terms if term.subgroup is not None):
        chosen = np.array(
            [
                term.role == "effect" and term.subgroup == group and (term.event_time is None or term.event_time >= 0)
                for term in fit.terms
            ]
        )
        if chosen.any():
            found[group] = chosen / chosen.sum()
    return found


def _holm(table: pd.DataFrame, n_methods: int) -> Floats:
    """Adjusted p (rows,) of each method over the gaps that it supports; NaN for the others."""
    adjusted = np.full(len(table), np.nan)
    p = np.where(table["supported"], table["p_value"].to_numpy(float), np.nan)
    for method in range(n_methods):
        at = np.arange(method, len(table), n_methods)
        at = at[~np.isnan(p[at])]
        at = at[np.argsort(p[at], kind="stable")]
        adjusted[at] = np.minimum(np.maximum.accumulate(p[at] * np.arange(len(at), 0, -1)), 1.0)
    return adjusted


def _conclude(
    spec: Specification, fit: Fit, table: pd.DataFrame, methods: list[_Method], found: list[_Exchanged | None]
) -> Finding:
    """Say the gap with the smallest p, by the permutation or the first method that gives one."""
    by_gap = table["p_holm"].to_numpy(float).reshape(len(found), len(methods) + 1)
    judging = next((m for m in (len(methods), *range(len(methods))) if not np.isnan(by_gap[:, m]).all()), None)
    at = int(table["estimate"].abs().argmax()) // (len(methods) + 1)
    if judging is not None:  # adjusted p tie where the plain ones do not
        plain = table["p_value"].to_numpy(float).reshape(by_gap.shape)[:, judging]
        at = int(np.nanargmin(np.where(np.isnan(by_gap[:, judging]), np.nan, plain)))
    gap, ranked = table.iloc[at * (len(methods) + 1)], found[at]
    told = [message("gap.method", method=m.words, p=_show(p)) for m, p in zip(methods, by_gap[at], strict=False)]
    told.append(message("gap.method", method=_fisher_in_words(ranked, spec), p=_show(by_gap[at, -1])))
    sentence = message(
        "finding.group_gaps" if len(found) == 1 else "finding.group_gaps_several",
        gaps=len(found),
        first=gap["first"],
        second=gap["second"],
        estimate=f"{gap['estimate']:.4f}",
        methods=_joined(told, "gap.and"),
    )
    for remark in _remarks(spec, fit, ranked):
        sentence = message("gap.remark", sentence=sentence, remark=remark)
    p = float("nan") if judging is None else float(by_gap[at, judging])
    floor = float("nan") if ranked is None else ranked.floor
    label = ("method",) if len(found) == 1 else ("gap", "method")
    title = message("chart.group_gaps", first=gap["first"], second=gap["second"])
    if len(found) > 1:
        title = message("chart.group_gaps_several")
    chart = Chart("intervals", title, value="estimate", label=label, low="conf_low", high="conf_high")
    null = message("null.group_gaps")
    return Finding("GroupGaps", null, float(gap["estimate"]), p, floor, "described", sentence, table, chart)


def _remarks(spec: Specification, fit: Fit, ranked: _Exchanged | None) -> Iterator[Message]:
    """Yield what the reader of a gap must know beside it."""
    level = spec.design.assigned_at
    if ranked is not None and ranked.alone:
        yield message("gap.alone", alone=ranked.alone, units=ranked.units, level=level)
    if ranked is not None and ranked.failed:
        yield message("gap.failed", failed=ranked.failed)
    if ranked is not None and ranked.large > _LARGE:
        yield message("gap.few_treated", level=level, large=f"{ranked.large:.2g}")
    times: dict[str | None, set[int | None]] = {}
    for term in fit.terms:
        if term.role == "effect" and (term.event_time is None or term.event_time >= 0):
            times.setdefault(term.subgroup, set()).add(term.event_time)
    if len({frozenset(one) for one in times.values()}) > 1:
        yield message("gap.unlike")
    for subgroup in fit.failed:
        yield message("gap.left_out", subgroup=subgroup)


def _fisher_in_words(ranked: _Exchanged | None, spec: Specification) -> Message:
    level = spec.design.assigned_at
    if ranked is None:
        return message("gap.fisher_refused", level=level)
    how = message("gap.enumerated" if ranked.enumerated else "gap.drawn", exchanges=ranked.exchanges)
    return message("gap.fisher", level=level, units=ranked.units, how=how, floor=f"{ranked.floor:.2g}")


def _joined(messages: Sequence[Message], key: str) -> Message:
    joined = messages[0]
    for one in messages[1:]:
        joined = message(key, first=joined, then=one)
    return joined


def _show(p: float) -> str:
    return "–" if np.isnan(p) else f"{p:.3f}"


_MAX_ENUMERATED = 10_000
_TIE = 1e-8  # relative: statistics that differ by less are one
_AGREE = 1e-8  # by how much t by sums and t by rows may differ, relative where above 1
_EMPTY = 1e-14  # share of the largest outcome below which a standard error is rounding


@dataclass(frozen=True)
class _Exchanged:
    """A gap among those under other labels.

    units counts the units of assignment with rows of either group, `alone` those with rows of one only, `exchanges` the other
    labellings (all of them, if `enumerated`, up to the mirror image), `failed` those without an estimate, which count as extreme.
    floor is the smallest p that can be attained; `large` the largest that a gap can have, however large it is: labels exchanged
    in all treated places, or in none, leave it as it is, whatever happens to the others.
    """

    p_value: float
    floor: float
    large: float
    units: int
    alone: int
    exchanges: int
    enumerated: bool
    failed: int


@dataclass(frozen=True)
class Pair:
    """Two subgroups of a panel, estimated apart: each row's code (n,) is 0 in the first, 1 in the second, -1 elsewhere."""

    estimator: Estimator
    spec: Specification
    codes: Ints

    @cached_property
    def fits(self) -> tuple[Fit, Fit]:
        """The actual ones."""
        return self._fit(self.codes == 0, self.codes == 1)

    @cached_property
    def units(self) -> Ints:
        """Codes (G,) of the units of assignment in which either group occurs."""
        first, second = self.fits
        return np.union1d(_units(first), _units(second))

    def rank(self, draws: Draws, seed: int | None) -> _Exchanged:
        """Rank the gap, divided by its clustered standard error, among those with labels kept or exchanged unit by unit.

        InferenceError where there are more than 10,000 labellings, or all would take longer than the budget, and draws or seed
        are missing; or where the gap has no error.
        """
        some = None if draws == "all" else draws
        exchanges, enumerated = list_exchanges(len(self.units), some, seed)
        if np.isnan(actual := _statistic(*self.fits)):
            raise InferenceError(
                "the units of assignment tell nothing of how the gap varies",
                where="GroupGaps",
                remedy="check that the outcome is not fitted without residual",
            )
        statistics = self._without_rows(exchanges, actual)
        if enumerated and draws != "all" and self._foretell(statistics) > BUDGET:
            if some is None:
                what = f"the {len(exchanges):,} exchanges of the labels of {len(self.units)} units of assignment"
                raise costly(what, len(exchanges), self._foretell(statistics), by="GroupGaps", budget=BUDGET)
            if some < len(exchanges):
                exchanges, enumerated = list_exchanges(len(self.units), some, seed, most=some)
                statistics = self._without_rows(exchanges, actual)
        unknown = np.flatnonzero(np.isnan(statistics))
        for i in watched(unknown, "GroupGaps", len(unknown)):
            statistics[i] = self.from_rows(exchanges[i])
        size = np.abs(statistics)
        size[np.isnan(size)] = np.inf  # what cannot be estimated counts as extreme
        ties = int((np.abs(size - size[0]) <= _TIE * size[0]).sum()) if enumerated else 1
        failed = int(np.isinf(size).sum())
        return _Exchanged(
            p_value=float((size >= size[0] * (1 - _TIE)).mean()),
            floor=(ties + failed) / len(size),
            large=min(1.0, 2.0 ** (1 - self._n_treated())),
            units=len(self.units),
            alone=len(self.units) - len(np.intersect1d(_units(self.fits[0]), _units(self.fits[1]))),
            exchanges=len(size) if enumerated else len(size) - 1,
            enumerated=enumerated,
            failed=failed,
        )

    def _without_rows(self, exchanges: Flags, actual: float) -> Floats:
        """Statistics (B,) of exchanges (B, G), the first of which is none; NaN where these take estimates anew."""
        statistics = self.from_sums(exchanges)
        if statistics is None:
            statistics = np.full(len(exchanges), np.nan)
            statistics[0] = actual
        return statistics

    def _foretell(self, statistics: Floats) -> float:
        """Seconds that the estimates anew will take which are still missing among the statistics (B,)."""
        spec = replace(self.spec, estimator=self.estimator)
        return int(np.isnan(statistics).sum()) * sum(foretell_estimate(fit, spec) for fit in self.fits)

    def from_rows(self, exchange: Flags) -> float:
        """Estimate with the labels in the flagged units (G,) exchanged; NaN where that cannot be."""
        assigned = read_assignment(self.spec.panel, self.spec.design)[0].values
        flip = np.isin(assigned, self.units[exchange])
        try:
            return _statistic(*self._fit((self.codes == 0) ^ flip, (self.codes == 1) ^ flip))
        except EvalkitError:
            return float("nan")

    def from_sums(self, exchanges: Flags) -> Floats | None:
        """Statistics (B,) of exchanges (B, G), the first of which is none, by sums over rows; NaN where only the rows can tell.

        None where estimates under other labels are no regression with the columns of the actual one.
        """
        design = self.spec.design
        # With a dose, or a restricted comparison, an estimator can refuse rows that have a solution.
        if design.dose is not None or design.eligible is not None or design.comparison != "not_yet_treated":
            return None
        try:
            both = self.estimator.fit(self.spec.panel, design, self.codes >= 0)
        except EvalkitError:
            return None
        part, regression = both.parts[0], both.parts[0].regression
        if regression is None or part.mapping is not None or len(both.parts) > 1:
            return None
        if not np.array_equal(_units(both), self.units):
            return None
        sums = group_sums(
            regressors=regression.regressors,
            outcome=regression.residuals + regression.regressors @ both.coefficients[part.positions],
            weights=regression.weights,
            unit=regression.factors[0],
            factors=regression.factors[1:],
            cluster=np.searchsorted(self.units, part.sample.cluster),
            n_clusters=len(self.units),
            second=self.codes[part.sample.rows] == 1,
        )
        if sums is None:
            return None
        gaps, errors = sums.gaps(exchanges, weigh_after_adoption(both.terms)[part.positions])
        statistics = np.full(len(exchanges), np.nan)
        known = errors > _EMPTY * np.abs(part.sample.outcome).max()
        statistics[known] = gaps[known] / errors[known]
        actual = _statistic(*self.fits)
        return statistics if abs(statistics[0] - actual) <= _AGREE * max(abs(actual), 1.0) else None

    def _n_treated(self) -> int:
        """Count the units of assignment that adopt in the periods observed."""
        samples = [part.sample for fit in self.fits for part in fit.parts]
        treated = [sample.cluster[sample.adoption <= sample.period.max()] for sample in samples]
        return len(np.unique(np.concatenate(treated)))

    def _fit(self, first: Flags, second: Flags) -> tuple[Fit, Fit]:
        panel, design, inside = self.spec.panel, self.spec.design, self.codes >= 0
        return self.estimator.fit(panel, design, first & inside), self.estimator.fit(panel, design, second & inside)


def _units(fit: Fit) -> Ints:
    """Codes of the units of assignment that a fit rests on."""
    return np.unique(np.concatenate([part.sample.cluster for part in fit.parts]))


def _statistic(first: Fit, second: Fit) -> float:
    """Gap of the average effects after adoption over its clustered standard error without a factor; NaN if that is rounding.

    The gap itself where the estimator has no influence.
    """
    weights = [weigh_after_adoption(fit.terms) for fit in (first, second)]
    gap = float(weights[1] @ second.coefficients - weights[0] @ first.coefficients)
    try:
        (pulled, size), (drawn, other) = (_influence(fit, w) for fit, w in zip((first, second), weights, strict=True))
    except InferenceError:
        return gap
    error = float(np.sqrt(((drawn - pulled) ** 2).sum()))
    return gap / error if error > _EMPTY * max(size, other) else float("nan")


def _influence(fit: Fit, weights: Floats) -> tuple[Floats, float]:
    """Influence (C,) of the units of assignment on a combination of effects, and the size of the largest outcome."""
    total = np.zeros(len(fit.parts[0].sample.clusters))
    for part in fit.parts:
        summed = part.influence.sum_within(part.sample.cluster, len(total))
        total += summed @ weights[part.positions]
    return total, max(float(np.abs(part.sample.outcome).max()) for part in fit.parts)


def list_exchanges(units: int, draws: int | None, seed: int | None, most: int = _MAX_ENUMERATED) -> tuple[Flags, bool]:
    """List flags (B, G) of the units whose labels are exchanged, first none, and whether these are all: of at most so many.

    All are one of each pair of mirror images, in which every label is the other one and the gap has the other sign.
    """
    if 2**units <= most:
        return np.array([(False, *rest) for rest in product((False, True), repeat=units - 1)]), True
    if draws is None or seed is None:
        raise InferenceError(
            f"the labels of {units} units of assignment can be exchanged in 2^{units} ways, too many to enumerate",
            where="GroupGaps",
            remedy="give draws= and seed=, for example draws=999, seed=1",
        )
    generator = np.random.default_rng(np.random.SeedSequence([seed, crc32(b"exchange")]))
    drawn = generator.integers(0, 2, size=(draws, units), dtype=np.uint8).astype(bool)
    return np.concatenate([np.zeros((1, units), dtype=bool), drawn]), False
