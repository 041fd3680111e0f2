"""Power: the smallest effect that a design can find, before any outcome is read."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from zlib import crc32

import numpy as np
import pandas as pd
from scipy import stats

from evalkit.catalogue import Message, message
from evalkit.designs.sample import Sample, draw_sample
from evalkit.errors import DesignError, EvalkitError
from evalkit.numerics.arrays import Flags, Floats
from evalkit.numerics.power import detectable_effect, power_of_t
from evalkit.progress import watched
from evalkit.results.estimation import Estimate, Specification
from evalkit.results.finding import Chart, Finding, Verdict, weigh_after_adoption
from evalkit.tables.columns import numbers

_LEAST_DRAWS = 50
_MULTIPLES = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5)
_WITHOUT_END = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0)  # standard deviations of the estimate


@dataclass(frozen=True, kw_only=True)
class Power:
    """Find the smallest effect that the specification would find with probability `target` at the level `alpha`.

    noise_sd     standard deviation of what is new in each unit and period.
    place_sd     standard deviation of the shock common to a unit of assignment in a period.
    unit_sd      standard deviation of what is constant in a unit; it counts where units are not followed over time.
    target, alpha  the probability of finding the effect, and the level of the test.
    effect       the effect one hopes for, in the units of the outcome: the check passes if it is at least the smallest.
    draws, seed  how many outcomes to draw where there is no closed form.

    No outcome is read, only in which rows it is missing: the design leaves these out. The closed form is that of the pooled t
    test (noncentral t with G - 2 degrees of freedom): for PooledGroups, one date of adoption, units of assignment of equal size,
    and an estimator that compares their mean changes. Otherwise outcomes are drawn without an effect on these rows, estimated and
    judged as the specification says, and the effect is sought at which `target` of them reject: an effect, alike in all
    treated rows (per unit of dose), moves an estimate and leaves the rest as it is. The table has the power by effect: at 0 it
    is the size of the test. Shocks and noise are normal and drawn anew in every period, as by evalkit.simulate: where they
    last, only larger effects are found. p-values that the design cannot support have no power, and the sentence says so.
    Source: Bloom, Evaluation Review 19 (1995), on minimum detectable effects; Burlig, Preonas and Woerman, Journal of Development
    Economics 144 (2020), on panels.
    """

    noise_sd: float
    place_sd: float
    unit_sd: float = 0.0
    target: float = 0.8
    alpha: float = 0.05
    effect: float | None = None
    draws: int | None = None
    seed: int | None = None

    on_cells = False

    def __post_init__(self) -> None:
        for name in ("noise_sd", "place_sd", "unit_sd"):
            value = getattr(self, name)
            if not (isinstance(value, int | float) and math.isfinite(value) and value >= 0):
                raise _wrong(name, value, "give a standard deviation, 0 or positive")
        if self.noise_sd == self.place_sd == 0:
            raise DesignError("nothing varies", where="Power", remedy="give noise_sd or place_sd above 0")
        if not 0 < self.alpha < 0.5:
            raise _wrong("alpha", self.alpha, "give the level of the test, such as .05")
        if not 0.5 <= self.target < 1:
            raise _wrong("target", self.target, "give a probability from .5 up to below 1, such as .8")
        if self.effect is not None and not (math.isfinite(self.effect) and self.effect != 0):
            raise _wrong("effect", self.effect, "give a number other than 0")
        for name, least in (("draws", _LEAST_DRAWS), ("seed", 0)):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < least):
                raise _wrong(name, value, f"give a whole number from {least} on")

    def run(self, spec: Specification) -> Finding:
        """Draw outcomes on the design's rows, and solve for the effect."""
        layout = _lay_out(spec.on_rows(), noise_sd=self.noise_sd, place_sd=self.place_sd, unit_sd=self.unit_sd)
        outcome = layout.draw(_generator(self.seed or 0, 0))
        one = layout.estimate(outcome)
        if one.uncertainty.unsupported is not None:
            sentence = message("finding.power_unsupported", reason=one.uncertainty.unsupported)
            none = pd.DataFrame({"effect": [0.0], "power": [math.nan]})
            return self._finding(math.nan, "inconclusive", sentence, none)
        test: _Exact | _Drawn | None = _find_exact(layout, one, self.alpha)
        if test is None:
            test = self._draw(layout, outcome, one)
        smallest = test.smallest(self.target)
        low, high = self._range(test, smallest)
        asked = [] if self.effect is None else [abs(self.effect)]
        step = (_MULTIPLES, smallest) if math.isfinite(smallest) else (_WITHOUT_END, test.unit)
        effects = sorted({*(multiple * step[1] for multiple in step[0]), *asked})
        table = pd.DataFrame({"effect": effects, "power": [test.power(effect) for effect in effects]})
        verdict: Verdict = "inconclusive"
        if asked and not low <= asked[0] < high:
            verdict = "pass" if asked[0] >= high else "fail"
        sentence = self._sentence(layout, smallest, self._how(test, low, high, one))
        if isinstance(test, _Drawn) and (size := test.excessive_size()) is not None:
            sentence = message("finding.power_oversized", sentence=sentence, size=f"{100 * size:.0f}")
            verdict = "inconclusive"
        if asked:
            power = float(table.loc[table["effect"] == asked[0], "power"].iloc[0])
            sentence = message(
                "finding.power_asked",
                sentence=sentence,
                effect=f"{self.effect:.4g}",
                power=f"{100 * power:.0f}",
                verdict=message(f"verdict.{verdict}"),
            )
        return self._finding(smallest, verdict, sentence, table)

    def _draw(self, layout: _DrawnOutcomes, outcome: Floats, one: Estimate) -> _Drawn:
        if self.draws is None or self.seed is None:
            raise DesignError(
                "the power of this estimator and inference on these rows has no closed form",
                where="Power",
                remedy="give draws= and seed=, for example draws=500, seed=1",
            )
        _refuse_not_linear(layout, outcome, one)
        return draw_estimates(layout, draws=self.draws, seed=self.seed, alpha=self.alpha)

    def _range(self, test: _Exact | _Drawn, smallest: float) -> tuple[float, float]:
        """Ends between which more draws would put the smallest effect, in 95 % of cases."""
        if isinstance(test, _Exact):
            return smallest, smallest
        margin = 1.96 * math.sqrt(self.target * (1 - self.target) / test.draws)
        return test.smallest(self.target - margin), test.smallest(min(self.target + margin, 1.0))

    def _how(self, test: _Exact | _Drawn, low: float, high: float, one: Estimate) -> Message:
        if isinstance(test, _Exact):
            return message("power.exact", df=test.df, level=one.spec.design.assigned_at)
        return message(
            "power.drawn_failed" if test.failed else "power.drawn",
            draws=test.draws,
            failed=test.failed,
            method=one.uncertainty.method,
            low=f"{low:.4g}",
            high=f"{high:.4g}",
        )

    def _sentence(self, layout: _DrawnOutcomes, smallest: float, how: Message) -> Message:
        adoption = layout.sample.cluster_adoption()
        return message(
            "finding.power" if math.isfinite(smallest) else "finding.power_never",
            treated=int((adoption <= layout.sample.period.max()).sum()),
            control=int((adoption > layout.sample.period.max()).sum()),
            level=layout.spec.design.assigned_at,
            smallest=f"{smallest:.4g}",
            alpha=f"{100 * self.alpha:g}",
            target=f"{100 * self.target:g}",
            noise=f"{self.noise_sd:g}",
            place=f"{self.place_sd:g}",
            how=how,
        )

    def _finding(self, smallest: float, verdict: Verdict, sentence: Message, table: pd.DataFrame) -> Finding:
        power, effect = message("chart.power_axis"), message("chart.power_effect")
        title, marks = message("chart.power", alpha=f"{100 * self.alpha:g}"), (self.alpha, self.target)
        chart = Chart("curve", title, "power", ("effect",), axis=power, label_axis=effect, marks=marks)
        if self.effect is None:
            return Finding("Power", None, smallest, math.nan, math.nan, "described", sentence, table, chart)
        return Finding("Power", message("null.power"), smallest, math.nan, self.effect, verdict, sentence, table, chart)


def _wrong(name: str, value: object, remedy: str) -> DesignError:
    return DesignError(f"{name} is {value!r}", where="Power", remedy=remedy)


_PRECISION = 1e-4  # of an effect, relative; Monte Carlo error is larger
_DOUBLINGS = 30


@dataclass(frozen=True)
class _Drawn:
    """Estimates under no effect with their tests; an effect moves an estimate, and leaves the rest as it is.

    judged holds, for each draw that could be estimated, its estimate and the p-value of a null; `failed` draws find nothing.
    """

    judged: tuple[tuple[float, Callable[[float], float]], ...]
    failed: int
    alpha: float
    _known: dict[int, tuple[float, float]] = field(default_factory=dict, compare=False, repr=False)

    @property
    def draws(self) -> int:
        return len(self.judged) + self.failed

    @property
    def unit(self) -> float:
        """Standard deviation of the estimates."""
        return float(np.std([estimate for estimate, _ in self.judged]))

    def power(self, effect: float) -> float:
        """Share of draws in which an effect is found, in either direction."""
        return sum(p(-effect) < self.alpha for _, p in self.judged) / self.draws

    def excessive_size(self) -> float | None:
        """Share rejected without an effect where that is more than the level, surely (99 %); else None."""
        rejected = round(self.power(0.0) * self.draws)
        interval = stats.binomtest(rejected, self.draws).proportion_ci(0.99, method="exact")
        return rejected / self.draws if interval.low > self.alpha else None

    def smallest(self, target: float) -> float:
        """The positive effect that a share of the draws find, with its own sign; infinite where they find none."""
        high = self.unit
        for _ in range(_DOUBLINGS):
            if self._share(high) >= target:
                break
            high *= 2
        else:
            return float("inf")
        low = 0.0
        while high - low > _PRECISION * high:
            middle = (low + high) / 2
            if self._share(middle) >= target:
                high = middle
            else:
                low = middle
        return high

    def _share(self, effect: float) -> float:
        """Share that find a positive effect; a draw that finds one finds all larger ones, and is not asked again."""
        total = 0
        for i, (estimate, p) in enumerate(self.judged):
            missed, found = self._known.get(i, (-np.inf, np.inf))  # the largest effect missed, the smallest found
            if missed < effect < found:
                if estimate + effect > 0 and p(-effect) < self.alpha:
                    found = effect
                else:
                    missed = effect
                self._known[i] = missed, found
            total += found <= effect
        return total / self.draws


def draw_estimates(layout: _DrawnOutcomes, *, draws: int, seed: int, alpha: float) -> _Drawn:
    """Draw outcomes without an effect, and estimate each."""
    judged, failed = [], 0
    for i in watched(range(draws), "Power", draws):
        try:
            judged.append(_judge(layout.estimate(layout.draw(_generator(seed, i)))))
        except EvalkitError:
            failed += 1
    return _Drawn(tuple(judged), failed, alpha)


def _judge(one: Estimate) -> tuple[float, Callable[[float], float]]:
    weights, distribution = weigh_after_adoption(one.fit.terms), one.distribution
    return float(weights @ one.fit.coefficients), lambda null: distribution.p_value(weights, null)


_SAME = 1e-8  # relative; estimates that are the same number by two ways


@dataclass(frozen=True)
class _Exact:
    """A t test at the level alpha, with this true standard error and degrees of freedom."""

    std_error: float
    df: int
    alpha: float

    @property
    def unit(self) -> float:
        """The standard error."""
        return self.std_error

    def smallest(self, target: float) -> float:
        """The effect found with probability `target`."""
        return detectable_effect(std_error=self.std_error, df=self.df, alpha=self.alpha, target=target)

    def power(self, effect: float) -> float:
        """The probability that an effect is found."""
        return power_of_t(effect, std_error=self.std_error, df=self.df, alpha=self.alpha)


def _find_exact(layout: _DrawnOutcomes, one: Estimate, alpha: float) -> _Exact | None:
    """See whether `one`, estimated from a drawn outcome, is a pooled t test; None where it is not.

    That needs one date of adoption, and as many rows in every period and unit of assignment. Then the estimate, its standard
    error and degrees of freedom are computed as the mean change of the treated less that of the others (Donald and Lang, Review
    of Economics and Statistics 89 (2007), section III), and must be the same numbers.
    """
    if len(one.fit.parts) != 1:
        return None
    sample = one.fit.parts[0].sample
    cells, means = _cells(sample)
    after = _after(sample)
    if after is None or cells is None:
        return None
    treated = sample.cluster_adoption()
    treated = treated[~np.isnan(treated)] <= sample.period.max()
    change = means[:, after].mean(axis=1) - means[:, ~after].mean(axis=1)
    n_treated, n_control = int(treated.sum()), int((~treated).sum())
    df = n_treated + n_control - 2
    if min(n_treated, n_control) < 1 or df < 1:
        return None
    inside = sum(float(((change[side] - change[side].mean()) ** 2).sum()) for side in (treated, ~treated))
    root = np.sqrt(1 / n_treated + 1 / n_control)
    by_hand = (change[treated].mean() - change[~treated].mean(), root * np.sqrt(inside / df), df)
    weights = weigh_after_adoption(one.fit.terms)
    found = (float(weights @ one.fit.coefficients), one.distribution.std_error(weights), one.distribution.df(weights))
    size = by_hand[1]
    if not all(abs(a - b) <= _SAME * size for a, b in zip(found[:2], by_hand[:2], strict=True)) or found[2] != df:
        return None
    drawn_anew = layout.noise_sd**2
    if sample.panel.unit_codes is None:
        drawn_anew += layout.unit_sd**2
    variance = (layout.place_sd**2 + drawn_anew / cells) * (1 / after.sum() + 1 / (~after).sum())
    return _Exact(float(root * np.sqrt(variance)), df, alpha)


def _cells(sample: Sample) -> tuple[float | None, Floats]:
    """Rows in each period and unit of assignment, None where their numbers differ; and means (G, T) of the outcome."""
    present, cluster = np.unique(sample.cluster, return_inverse=True)
    periods, period = np.unique(sample.period, return_inverse=True)
    at, shape = cluster * len(periods) + period, (len(present), len(periods))
    counts = np.bincount(at, minlength=shape[0] * shape[1])
    totals = np.bincount(at, weights=sample.outcome, minlength=shape[0] * shape[1])
    means = (totals / np.maximum(counts, 1)).reshape(shape)
    return (float(counts[0]) if counts.min() == counts.max() else None), means


def _after(sample: Sample) -> Flags | None:
    """Flag the periods (T,) from the one date of adoption on; None where there are several dates, or weights."""
    adoption = sample.unit_adoption
    dates = np.unique(adoption[adoption <= sample.period.max()])
    if len(dates) != 1 or sample.weights is not None or sample.dose is not None:
        return None
    after: Flags = np.unique(sample.period) >= dates[0]
    return after


@dataclass(frozen=True)
class _DrawnOutcomes:
    """The rows that a design uses, for which outcomes are drawn: normal, independent over periods, without any effect.

    `sample` holds no outcome; of the panel's, only which values are missing was read.
    """

    spec: Specification
    sample: Sample
    noise_sd: float
    place_sd: float
    unit_sd: float

    def draw(self, rng: np.random.Generator) -> Floats:
        """Draw an outcome for the rows of the sample (n,): unit + place in a period + noise, as evalkit.simulate does."""
        sample = self.sample
        n = len(sample.rows)
        unit = np.arange(n) if sample.panel.unit_codes is None else sample.unit
        places = rng.standard_normal((len(sample.clusters), int(sample.period.max()) + 1))
        drawn: Floats = self.unit_sd * rng.standard_normal(int(unit.max()) + 1)[unit]
        drawn += self.place_sd * places[sample.cluster, sample.period]
        drawn += self.noise_sd * rng.standard_normal(n)
        return drawn

    def estimate(self, outcome: Floats) -> Estimate:
        """Estimate by the specification as if this (n,) were the outcome of the sample's rows."""
        panel, design = self.spec.panel, self.spec.design
        column = np.full(len(panel), np.nan)
        column[self.sample.rows] = outcome
        spec = Specification(
            panel.with_column(design.outcome, column), design, self.spec.estimator, self.spec.inference
        )
        return spec.run()

    def add_effect(self, outcome: Floats, effect: float) -> Floats:
        """Add an effect to treated rows; times the dose, and of the eligible alone, where the design names these."""
        sample = self.sample
        added = effect * (sample.period >= sample.adoption)
        if sample.dose is not None:
            added = added * sample.dose
        if sample.eligible is not None:
            added = added * sample.eligible
        changed: Floats = outcome + added
        return changed


def _lay_out(spec: Specification, *, noise_sd: float, place_sd: float, unit_sd: float) -> _DrawnOutcomes:
    """Find the rows that the design uses; refuse collapsed panels, whose rows stand for several."""
    panel, design = spec.panel, spec.design
    if panel.counts is not None:
        raise DesignError(
            "the rows are collapsed, and stand for several each",
            where="Power",
            remedy="plan on the rows before they are collapsed",
        )
    missing = np.isnan(numbers(panel.frame, design.outcome))
    blank = panel.with_column(design.outcome, np.where(missing, np.nan, 0.0))
    return _DrawnOutcomes(spec, draw_sample(blank, design), noise_sd, place_sd, unit_sd)


def _generator(seed: int, draw: int) -> np.random.Generator:
    """Make the generator of one draw."""
    return np.random.default_rng(np.random.SeedSequence([seed, crc32(b"power"), draw]))


def _refuse_not_linear(layout: _DrawnOutcomes, outcome: Floats, one: Estimate) -> None:
    """Raise DesignError where an effect added to the outcome does not move the estimate by as much."""
    size = float(np.std(outcome)) or 1.0
    other = layout.estimate(layout.add_effect(outcome, size)).fit
    moved = (
        weigh_after_adoption(other.terms) @ other.coefficients
        - weigh_after_adoption(one.fit.terms) @ one.fit.coefficients
    )
    if abs(moved - size) > 1e-6 * size:
        raise DesignError(
            f"an effect of {size:.3g} in every treated row moves the estimate by {moved:.3g}: it is no average of effects",
            where="Power",
            remedy="use an estimator of effects on the outcome itself, such as TwoWayFE()",
        )
