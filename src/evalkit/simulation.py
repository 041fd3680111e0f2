"""Simulation: a panel with effects that are known, because they were put in."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from zlib import crc32

import numpy as np
import pandas as pd

from evalkit.designs.design import Design
from evalkit.errors import DesignError, EvalkitError, nearest
from evalkit.numerics.arrays import Floats, Ints
from evalkit.panels.derivation import equal_weight
from evalkit.panels.panel import Panel
from evalkit.progress import watched
from evalkit.results.estimation import Estimate, Estimator, Inference
from evalkit.results.fit import Term
from evalkit.tables.contents import in_full, in_short
from evalkit.tables.table import Provenance
from evalkit.verbs import estimate

Effects = Mapping[str, tuple[float, ...]]
"""Effect at event time 0, 1, 2, … of each subgroup; the last one stays."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """A place to which a policy is assigned: its units by subgroup, its first treated period, and what it lies in.

    `above` names the larger place with which it may share shocks. `effects` replaces those of the world here.
    """

    name: str
    units: Mapping[str, int]
    adoption: int | None = None
    above: str = ""
    effects: Effects | None = None

    __repr__ = in_short


@dataclass(frozen=True, kw_only=True)
class World:
    """Say how a panel comes about: outcome = unit + period + shocks + effect + noise, all normal and independent.

    places       where the policy is assigned, with their units.
    periods      consecutive whole numbers, such as years.
    effects      on the outcome of treated units, by subgroup.
    weights      sampling weight of each subgroup (1 where left out).
    mean, trend  level of the outcome and its change per period, alike everywhere.
    unit_sd      spread of what is constant in a unit.
    noise_sd     spread of what is new in each unit and period.
    place_sd     spread of the shock common to a place in a period; `subgroup_sd` of that common to one subgroup there.
    shared       share of the variance of both shocks that all places of one `above` have in common, 0 to 1.

    Shocks and noise are drawn anew in every period: a pretest on them is the easiest case, not a typical one.
    """

    places: tuple[Place, ...]
    periods: tuple[int, ...]
    effects: Effects
    weights: Mapping[str, float] = field(default_factory=dict)
    mean: float = 0.0
    trend: float = 0.0
    unit_sd: float = 1.0
    noise_sd: float = 1.0
    place_sd: float = 0.0
    subgroup_sd: Mapping[str, float] = field(default_factory=dict)
    shared: float = 0.0

    __repr__ = in_short

    def __post_init__(self) -> None:
        names = [place.name for place in self.places]
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise DesignError(f"the place '{twice}' stands twice", where="World", remedy="give each its own name")
        if list(np.diff(self.periods)) != [1] * (len(self.periods) - 1) or len(self.periods) < 2:
            raise DesignError("periods are not consecutive", where="World", remedy="write them as 2019, 2020, 2021, …")
        if not 0 <= self.shared <= 1:
            raise DesignError(f"shared is {self.shared}", where="World", remedy="give a share between 0 and 1")
        spreads = (self.unit_sd, self.noise_sd, self.place_sd, *self.subgroup_sd.values(), *self.weights.values())
        if min(spreads) < 0:
            raise DesignError("a spread or weight is negative", where="World", remedy="give standard deviations")
        for place in self.places:
            if place.adoption is not None and place.adoption <= 0 and 0 <= self.periods[0] != place.adoption:
                raise DesignError(
                    f"{place.name} adopts in {place.adoption}, which periods from {self.periods[0]} on do not reach",
                    where="World",
                    remedy="leave adoption out for a place never treated; give the first period for one treated throughout",
                )
            effects = self.effects if place.effects is None else place.effects
            for subgroup in place.units if place.adoption is not None else ():
                if not effects.get(subgroup):
                    raise DesignError(
                        f"no effect is given for subgroup '{subgroup}' of {place.name}",
                        where="World",
                        remedy=f"add it to effects; {nearest(subgroup, effects)}",
                    )
        known = {subgroup for place in self.places for subgroup in place.units}
        for subgroup in (*self.weights, *self.subgroup_sd):
            if subgroup not in known:
                raise DesignError(
                    f"there is no subgroup '{subgroup}'", where="World", remedy=nearest(subgroup, sorted(known))
                )

    @property
    def design(self) -> Design:
        """The design of this world, treatment being assigned to places."""
        weights = "weight" if self.weights else None
        return Design(outcome="outcome", adoption="adoption", assigned_at="place", weights=weights)


def simulate(world: World, *, seed: int) -> Panel:
    """Draw a panel from a world.

    Columns: unit, place, above, subgroup, period, adoption (missing = never), weight, above_weight (the same, every `above`
    weighing alike), effect (the true one of that row) and outcome. Its provenance says that it is synthetic, and so does every
    figure and table made from it.
    """
    panel = lay_out_world(world, seed)
    rng = np.random.default_rng(np.random.SeedSequence([seed, crc32(b"simulate")]))
    return panel.with_column("outcome", draw_outcome(world, panel, rng))


def lay_out_world(world: World, seed: int) -> Panel:
    """Make the panel of a world without its outcome."""
    rows = [
        (place.name, place.above, subgroup, number, place.adoption)
        for place in world.places
        for subgroup, count in place.units.items()
        for number in range(1, count + 1)
    ]
    units = pd.DataFrame(rows, columns=["place", "above", "subgroup", "number", "adoption"])
    order = units.groupby("place", sort=False).cumcount() + 1
    units["unit"] = units["place"] + "-" + order.astype(str).str.zfill(len(str(order.max())))
    frame = units.loc[units.index.repeat(len(world.periods))].reset_index(drop=True).drop(columns="number")
    frame["period"] = np.tile(np.array(world.periods), len(units))
    frame["adoption"] = frame["adoption"].astype(np.float64)
    frame["weight"] = frame["subgroup"].map(dict(world.weights)).fillna(1.0).astype(np.float64)
    frame["above_weight"] = equal_weight("above", times="weight").compute(frame, "period")
    frame["effect"] = _true_effects(world, frame)
    described = in_full((world, seed)).encode()
    provenance = Provenance(
        path=f"simulate(…, seed={seed})",
        sha256=hashlib.sha256(described).hexdigest(),
        title="Synthetic panel",
        synthetic=True,
    )
    return Panel.from_frame(frame, unit="unit", time="period", provenance=(provenance,))


def draw_outcome(world: World, panel: Panel, rng: np.random.Generator) -> Floats:
    """Draw the outcome (n,) of the rows of a laid-out panel."""
    frame, unit, period = panel.frame, panel.unit_codes, panel.position
    assert unit is not None  # lay_out names the unit
    place, above, subgroup = (panel.codes(column) for column in ("place", "above", "subgroup"))
    n_periods = len(world.periods)
    owner = above.values[np.unique(place.values, return_index=True)[1]]  # of each place, by its code

    def shocks() -> Floats:
        """Draw one shock for each place and period (P, T), of variance 1, in part common to what lies above."""
        common = rng.standard_normal((len(above.labels), n_periods))[owner]
        own = rng.standard_normal((len(place.labels), n_periods))
        drawn: Floats = np.sqrt(world.shared) * common + np.sqrt(1 - world.shared) * own
        return drawn

    outcome: Floats = world.mean + world.trend * period + frame["effect"].to_numpy(dtype=np.float64)
    outcome = outcome + world.unit_sd * rng.standard_normal(len(unit.labels))[unit.values]
    outcome += world.place_sd * shocks()[place.values, period]
    for code, label in enumerate(subgroup.labels):
        inside = subgroup.values == code
        spread = world.subgroup_sd.get(str(label), 0.0)
        outcome[inside] += spread * shocks()[place.values[inside], period[inside]]
    outcome += world.noise_sd * rng.standard_normal(len(outcome))
    return outcome


def true_effect(panel: Panel, term: Term, *, last: bool = False) -> float:
    """Average the true effects of the rows of a simulated panel that a term is about, by sampling weight.

    `last` says that the term's event time stands for all later ones too. NaN where the panel has no such row; 0 before adoption.
    """
    frame = panel.frame
    since = frame["period"].to_numpy(dtype=np.float64) - frame["adoption"].to_numpy(dtype=np.float64)
    chosen = since >= 0
    if term.event_time is not None:
        if term.event_time < 0:
            return 0.0
        chosen = since >= term.event_time if last else since == term.event_time
    if term.subgroup is not None:
        column, _, value = term.subgroup.partition("=")
        if column != "subgroup":
            raise DesignError(
                f"'{term.subgroup}' is not a subgroup of the world",
                where="diagnose",
                remedy='use Split(by="subgroup", …)',
            )
        chosen = chosen & (frame["subgroup"] == value).to_numpy()
    if term.cohort is not None:
        chosen = chosen & (frame["adoption"] == float(term.cohort)).to_numpy()
    if term.period is not None:
        chosen = chosen & (frame["period"] == int(term.period)).to_numpy()
    weight = frame["weight"].to_numpy(dtype=np.float64)[chosen]
    effect = frame["effect"].to_numpy(dtype=np.float64)[chosen]
    return float(weight @ effect / weight.sum()) if weight.sum() > 0 else float("nan")


def _true_effects(world: World, frame: pd.DataFrame) -> Floats:
    """True effect (n,) of each row: 0 before adoption, then by event time and subgroup."""
    effect = np.zeros(len(frame))
    since = (frame["period"] - frame["adoption"]).to_numpy()
    for place in world.places:
        effects = world.effects if place.effects is None else place.effects
        for subgroup in place.units if place.adoption is not None else ():
            path = np.array(effects[subgroup])
            rows = (frame["place"] == place.name).to_numpy() & (frame["subgroup"] == subgroup).to_numpy() & (since >= 0)
            at: Ints = np.minimum(since[rows], len(path) - 1).astype(np.int64)
            effect[rows] = path[at]
    return effect


DIAGNOSIS = "term truth mean bias sd std_error coverage coverage_error rejected supported worlds failed".split()


def diagnose(
    world: World,
    estimator: Estimator,
    inference: Inference,
    *,
    seed: int,
    worlds: int = 500,
    level: float = 0.95,
    design: Design | None = None,
) -> pd.DataFrame:
    """Estimate in many panels drawn from one world, and compare with the truth.

    One row per effect, and for two subgroups one for their gap: truth, mean of the estimates, bias, their standard deviation
    (sd), the mean standard error, the share of intervals that cover the truth with its Monte Carlo error, the share that
    reject an effect of zero, the share in which the inference said that the design supports it, the number of worlds, and of
    those that could not be estimated (in none of the averages). `design` replaces the world's own, for example with another
    level of assignment. Raises DesignError where no world can be estimated.
    """
    if worlds < 2:
        raise DesignError(f"worlds is {worlds}", where="diagnose", remedy="draw at least 2, better 500")
    laid = lay_out_world(world, seed)
    drawn: list[pd.DataFrame] = []
    supported = failed = 0
    why = ""
    terms: list[Term] = []
    for i in watched(range(worlds), "diagnose", worlds):
        rng = np.random.default_rng(np.random.SeedSequence([seed, crc32(b"diagnose"), i]))
        panel = laid.with_column("outcome", draw_outcome(world, laid, rng))
        try:
            one = estimate(panel, design or world.design, estimator, inference=inference)
        except EvalkitError as error:
            failed, why = failed + 1, str(error)
            continue
        drawn.append(_found_effects(one, level))
        terms = [term for term in one.fit.terms if term.role == "effect"]
        supported += one.uncertainty.unsupported is None
    if not drawn:
        raise DesignError("no world can be estimated", where="diagnose", remedy=why)
    last = max((term.event_time for term in terms if term.event_time is not None), default=None)
    truth = [true_effect(laid, term, last=term.event_time == last) for term in terms]
    if len(drawn[0]) > len(terms):
        truth.append(truth[1] - truth[0])
    names = drawn[0]["term"]
    if any(list(one["term"]) != list(names) for one in drawn):
        raise DesignError("the worlds differ in their terms", where="diagnose", remedy="make the worlds larger")
    rows = [
        {
            "term": name,
            **_compare(pd.DataFrame([one.iloc[i] for one in drawn]), truth[i], 1 - level),
            "supported": supported / len(drawn),
            "worlds": worlds,
            "failed": failed,
        }
        for i, name in enumerate(names)
    ]
    return pd.DataFrame(rows, columns=DIAGNOSIS)


def _found_effects(one: Estimate, level: float) -> pd.DataFrame:
    """Rows of the effects, and of the gap between two subgroups (second less first)."""
    tidy = one.tidy(level=level)
    bases = {term.name for term in one.fit.terms if term.role == "base"}
    table = tidy[~tidy["term"].isin(bases)]
    if len(table) == 2 and table["subgroup"].notna().all():
        gap = one.contrast(table["term"].iloc[1], table["term"].iloc[0], level)
        table = pd.concat([table.astype(object), gap.astype(object)], ignore_index=True)
    return table[["term", "estimate", "std_error", "p_value", "conf_low", "conf_high"]]


def _compare(drawn: pd.DataFrame, truth: float, alpha: float) -> dict[str, float]:
    estimates, errors, p_values, low, high = (
        drawn[column].to_numpy(dtype=np.float64)
        for column in ("estimate", "std_error", "p_value", "conf_low", "conf_high")
    )
    covered = float(np.mean((low <= truth) & (truth <= high)))
    return {
        "truth": truth,
        "mean": float(estimates.mean()),
        "bias": float(estimates.mean() - truth),
        "sd": float(estimates.std(ddof=1)),
        "std_error": _mean(errors),
        "coverage": covered,
        "coverage_error": float(np.sqrt(covered * (1 - covered) / len(drawn))),
        "rejected": float(np.mean(p_values < alpha)),
    }


def _mean(values: Floats) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")
