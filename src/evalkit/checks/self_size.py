"""Self-size: does the specification reject as often as it says, on its own design and outcomes without any effect?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Protocol
from zlib import crc32

import numpy as np
import pandas as pd
from scipy import stats

from evalkit.catalogue import Message, message
from evalkit.designs.adoption import read_assignment, read_eligible
from evalkit.designs.sample import Sample, draw_sample
from evalkit.errors import DesignError, EvalkitError
from evalkit.numerics.arrays import Floats, Ints
from evalkit.progress import watched
from evalkit.results.estimation import Specification
from evalkit.results.finding import Chart, Finding, Verdict, headline
from evalkit.tables.columns import numbers

NOMINAL = 0.05
_LEVEL = 0.99
_ENOUGH = 100  # draws; of fewer, the interval reaches beyond .13 where 5 % reject
_PERIODS = 3  # before adoption: changes over one period and over two tell what lasts
_UNITS = 5  # to draw from
_HEIGHT = 10.0  # of the level of an outcome, in its largest shock: none is negative, and all are small beside the level


@dataclass(frozen=True, kw_only=True)
class SelfSize:
    """Estimate the study's own design on outcomes without any effect, and count how often these are significant at 5 %.

    draws, seed  how many outcomes to draw in each of two worlds, and the seed, which is needed.

    Adoption, sample, weights, estimator and inference are the study's own; outcomes that are missing stay so. All rows of a
    unit of assignment have the same shock in a period (for a triple difference: those of each of its two groups). In the
    world "noise" it is standard normal, independent over units and periods. In the world "paths" it follows
    x(t) = r x(t-1) + e(t), from one observed period to the next: shocks last and differ in size as they do in the study, no
    matter who is treated. r, from 0 to 1, is fitted to the mean squared changes over 1, 2, … periods of the units' mean
    outcomes (weighted; less period means) before the first adoption and anticipation: unlike an autocorrelation of residuals,
    that is not biased by means over few periods. A unit has the e of a unit drawn with replacement (what r leaves there, less
    its mean), drawn in turn with replacement and random signs. This world is left out, and the sentence says why, with fewer
    than 3 such periods, or fewer than 5 units observed in all of them.

    Outcomes stand ten times the largest shock above 0: nothing to estimators linear in the outcome, while a Poisson
    regression sees shocks that are small beside the level. The average effect is judged, also where the inference calls
    itself unsupported. The check fails when the exact binomial 99 % interval of the share significant lies above 5 % in
    either world, and passes when in both it reaches down to 5 % or lies below ("conservative"); with fewer than 100 draws it
    cannot pass. `statistic` is the larger share.
    Source: Bertrand, Duflo and Mullainathan, Quarterly Journal of Economics 119 (2004), who deal out placebo laws.
    """

    draws: int = 200
    seed: int | None = None

    on_cells = True

    def __post_init__(self) -> None:
        for name, value, least in (("draws", self.draws, 20), ("seed", self.seed, 0)):
            if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < least):
                raise DesignError(
                    f"{name} is {value!r}", where="SelfSize", remedy=f"give a whole number from {least} on"
                )

    def run(self, spec: Specification) -> Finding:
        """Draw outcomes in both worlds, and judge the specification on each."""
        if self.seed is None:
            raise DesignError(
                "outcomes are drawn at random, and no seed is given",
                where="SelfSize",
                remedy=f"give seed=, for example SelfSize(draws={self.draws}, seed=1)",
            )
        places = _places(spec)
        worlds: list[Shocks] = [Noise(places.shape)]
        paths, why = _read_paths(places)
        if paths is not None:
            worlds.append(paths)
        tried = [_try(spec, places, world, self.draws, self.seed) for world in worlds]
        if not tried[0].judged:
            raise DesignError("no outcome that is drawn can be judged", where="SelfSize", remedy=tried[0].why)
        for other in tried[1:]:
            if not other.judged:
                why = message("self_size.not_judged", why=other.why)
        return _conclude(spec, places, [one for one in tried if one.judged], why, tried)


class Shocks(Protocol):
    """Where outcomes come from; `name` stands in the table, and in the keys of the words about it."""

    @property
    def name(self) -> str:
        """Its name."""
        ...

    def draw(self, rng: np.random.Generator) -> Floats:
        """Draw a shock for each place and period (P, T)."""
        ...


@dataclass(frozen=True)
class Noise:
    """Shocks that are independent standard normal, of so many places and periods."""

    shape: tuple[int, int]
    name = "noise"

    def draw(self, rng: np.random.Generator) -> Floats:
        """Draw (P, T)."""
        return rng.standard_normal(self.shape)


@dataclass(frozen=True, eq=False)
class Paths:
    """Shocks of which so much (0 to 1) is left after a period, to which come new ones, like those of some place (K, S)."""

    shape: tuple[int, int]
    lasting: float
    new: Floats
    name = "paths"

    def draw(self, rng: np.random.Generator) -> Floats:
        """Draw (P, T), of one variance in all periods where shocks fade."""
        like = rng.integers(len(self.new), size=self.shape[0])
        signs = rng.choice((-1.0, 1.0), size=self.shape)
        drawn: Floats = signs * self.new[like[:, None], rng.integers(self.new.shape[1], size=self.shape)]
        if self.lasting < 1:
            drawn[:, 0] /= np.sqrt(1 - self.lasting**2)
        for t in range(1, self.shape[1]):
            drawn[:, t] += self.lasting * drawn[:, t - 1]
        return drawn


def fit_lasting(paths: Floats) -> float:
    """What is left of a shock after a period, 0 to 1 in hundredths, in paths (K, S) of which only the changes count.

    The mean squared change over h periods is proportional to 1 + r + … + r^(h-1); fitted by least squares, each h weighted by the
    pairs of periods that it has.
    """
    lags = np.arange(1, paths.shape[1])
    pairs = (paths.shape[1] - lags).astype(np.float64)
    found = np.array([np.mean((paths[:, h:] - paths[:, :-h]) ** 2) for h in lags])
    tried = np.linspace(0.0, 1.0, 101)
    expected = np.cumsum(tried[:, None] ** np.arange(len(lags)), axis=1)
    explained = (expected @ (pairs * found)) ** 2 / (expected**2 @ pairs)
    return float(tried[np.argmax(explained)])


@dataclass(frozen=True, eq=False)
class Places:
    """Whose rows share shocks: the units of assignment, or the two groups of each that a triple difference compares.

    place and period (n,) place every row of the panel among `shape` places and periods; `sample` is what the design uses of it.
    """

    place: Ints
    period: Ints
    shape: tuple[int, int]
    sample: Sample


def _places(spec: Specification) -> Places:
    panel, design = spec.panel, spec.design
    assigned, _ = read_assignment(panel, design)
    place, n_places = assigned.values, len(assigned.labels)
    if design.eligible is not None:
        place, n_places = 2 * place + (read_eligible(panel, design.eligible) == 1), 2 * n_places
    periods, period = np.unique(panel.position, return_inverse=True)
    return Places(place, period, (n_places, len(periods)), draw_sample(panel, design))


def _read_paths(places: Places) -> tuple[Paths | None, Message | None]:
    """Read how shocks last and differ before adoption, or say why that cannot be told."""
    sample = places.sample
    later = sample.unit_adoption[sample.unit_adoption > sample.period.min()]
    first = later.min() - sample.design.anticipation
    early = (sample.period < first) & (sample.adoption > sample.period.min())
    place, outcome = places.place[sample.rows[early]], sample.outcome[early]
    weights = np.ones(len(outcome)) if sample.weights is None else sample.weights[early]
    periods, period = np.unique(sample.period[early], return_inverse=True)
    if len(periods) < _PERIODS:
        return None, message("self_size.short", periods=len(periods), least=_PERIODS)
    present, place = np.unique(place, return_inverse=True)
    at, shape = place * len(periods) + period, (len(present), len(periods))
    mass = np.bincount(at, weights=weights, minlength=shape[0] * shape[1]).reshape(shape)
    whole = (mass > 0).all(axis=1)
    if whole.sum() < _UNITS:
        return None, message(
            "self_size.incomplete", whole=int(whole.sum()), of=len(present), periods=len(periods), least=_UNITS
        )
    middle = float(np.average(outcome, weights=weights))  # so that a high level costs no digits
    sums = np.bincount(at, weights=weights * (outcome - middle), minlength=mass.size).reshape(shape)
    paths = sums[whole] / mass[whole]
    paths -= paths.mean(axis=0)
    lasting = fit_lasting(paths)
    new = paths[:, 1:] - lasting * paths[:, :-1]
    new -= new.mean(axis=1, keepdims=True)
    if np.abs(new).max() <= 1e-12 * np.abs(outcome).max():
        return None, message("self_size.alike")
    return Paths(places.shape, lasting, new), None


@dataclass(frozen=True, eq=False)
class Tried:
    """What a specification said of the outcomes of a world: one row of the table for each."""

    world: Shocks
    table: pd.DataFrame

    @property
    def judged(self) -> int:
        """How many could be judged."""
        return int(self.table["p_value"].notna().sum())

    @property
    def failed(self) -> int:
        """How many could not."""
        return len(self.table) - self.judged

    @property
    def share(self) -> float:
        """Share significant, of those that could be judged."""
        return int(self.table["significant"].sum()) / self.judged

    @property
    def interval(self) -> tuple[float, float]:
        """Exact binomial interval of the share."""
        found = stats.binomtest(int(self.table["significant"].sum()), self.judged).proportion_ci(_LEVEL, method="exact")
        return float(found.low), float(found.high)

    @property
    def why(self) -> str:
        """Why the first of those that could not be judged could not."""
        return str(self.table.loc[self.table["why"] != "", "why"].iloc[0])


def _try(spec: Specification, places: Places, world: Shocks, draws: int, seed: int) -> Tried:
    rows = [
        {"world": world.name, "draw": i + 1, **judged}
        for i, judged in enumerate(_judge(spec, places, world, draws, seed))
    ]
    return Tried(world, pd.DataFrame(rows))


def _judge(
    spec: Specification, places: Places, world: Shocks, draws: int, seed: int
) -> Iterator[dict[str, float | bool | str]]:
    """Draw outcomes, estimate and judge each."""
    missing = np.isnan(numbers(spec.panel.frame, spec.design.outcome))
    panel = spec.panel
    if panel.within is not None:
        panel = panel.with_column(panel.within, 0.0)  # rows that were collapsed into one share their shocks
    for i in watched(range(draws), "SelfSize", draws):
        rng = np.random.default_rng(np.random.SeedSequence([seed, crc32(f"self_size {world.name}".encode()), i]))
        shocks = world.draw(rng)
        outcome = (shocks + _HEIGHT * np.abs(shocks).max())[places.place, places.period]
        drawn = replace(spec, panel=panel.with_column(spec.design.outcome, np.where(missing, np.nan, outcome)))
        row: dict[str, float | bool | str] = {"significant": False, "why": ""}
        row |= dict.fromkeys(("estimate", "std_error", "p_value"), float("nan"))
        try:
            told = headline(drawn.run())
        except EvalkitError as error:
            yield row | {"why": str(error)}
            continue
        p = told["p_value"]
        row |= {"estimate": told["estimate"], "std_error": told["std_error"], "p_value": p, "significant": p < NOMINAL}
        yield row if p == p else row | {"why": f"{told['term']} has no p-value"}


def _conclude(
    spec: Specification, places: Places, tried: list[Tried], why: Message | None, every: list[Tried]
) -> Finding:
    above = [one for one in tried if one.interval[0] > NOMINAL]
    verdict: Verdict = "pass"
    key = "below" if all(one.interval[1] < NOMINAL for one in tried) else "within"
    if above:
        verdict, key = "fail", "above"
    elif min(one.judged for one in tried) < _ENOUGH:
        verdict, key = "inconclusive", "few"
    shares = _tell(tried[0])
    if len(tried) > 1:
        shares = message("self_size.and", first=shares, then=_tell(tried[1]))
    if why is not None:
        shares = message("self_size.left_out", shares=shares, why=why)
    adoption = places.sample.cluster_adoption()
    sentence = message(
        f"finding.self_size_{key}",
        treated=int((adoption <= places.sample.period.max()).sum()),
        clusters=int((~np.isnan(adoption)).sum()),
        level=spec.design.assigned_at,
        nominal=f"{100 * NOMINAL:g}",
        shares=shares,
        where=message(f"self_size.in_{'both' if len(above) > 1 else (above or tried)[0].world.name}"),
        verdict=message(f"verdict.{verdict}"),
    )
    axis = message("chart.p_value")
    chart = Chart("counts", message("chart.self_size"), value="p_value", axis=axis, marks=(NOMINAL,))
    table = pd.concat([one.table for one in every], ignore_index=True)
    largest = max(one.share for one in tried)
    null = message("null.self_size")
    return Finding("SelfSize", null, largest, float("nan"), NOMINAL, verdict, sentence, table, chart)


def _tell(one: Tried) -> Message:
    """Say the share of a world, with its interval."""
    low, high = one.interval
    values = {"size": f"{100 * one.share:.1f}", "low": f"{100 * low:.1f}", "high": f"{100 * high:.1f}"}
    if isinstance(one.world, Paths):
        lasting, periods = f"{one.world.lasting:.2f}", one.world.new.shape[1] + 1
        told = message("self_size.paths", draws=one.judged, lasting=lasting, periods=periods, **values)
    else:
        told = message("self_size.noise", draws=one.judged, **values)
    return message("self_size.failed", share=told, failed=one.failed) if one.failed else told
