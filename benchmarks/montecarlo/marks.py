"""Marks and headline: how often they fail true nulls, term by term, in designs by name and in others.

Everything that is linear in the outcome is drawn by matrices (see `linear`), each cell checked against `estimate` in some draws;
counts, joint tests and what permutes go through the public interface, in fewer draws.
"""

from __future__ import annotations

import csv
import multiprocessing
import time
import traceback
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np

from evalkit import Design, Estimate, Panel, estimate
from evalkit.errors import EvalkitError
from evalkit.estimators import CallawaySantAnna, ExtendedTWFE, Imputation, SunAbraham, TwoWayFE
from evalkit.inference import BiasReduced, Cluster, Permutation, PooledGroups
from evalkit.results.estimation import Estimator
from evalkit.results.loadings import IN_WORDS, STANDS
from montecarlo.cells import NOMINAL, SEED
from montecarlo.linear import BY_DESIGN, METHODS, Statistic, Study, check, study
from montecarlo.named import CASTLE, NAMED, Layout, random_layout, sparse
from montecarlo.panels import Floats
from montecarlo.running import PROCESSES
from montecarlo.worlds import INDEPENDENT, LAWS, STRAINED, Law, draw_shocks

DRAWS, AT_ONCE = 10_000, 1_000
ASKED = {PooledGroups: 1_000, Permutation: 200}
"""Draws in which the public interface is asked, where a method is no matrix."""
ASKED_OF_COUNTS, ASKED_JOINTLY = 300, 400
POWERS = (3, 4, 6)
LOTS = 30
_CHECKED = 2
_COUNTS, _COUNT_MEAN, _COUNT_SHAPE = "counts", 20.0, 10.0


@dataclass(frozen=True)
class Term:
    """One term under one law of shocks: what is expected, what is printed, and how often each method rejects a true null.

    group    which part of the experiment; `law` is that of the shocks.
    size     expected size s of CR1; `effective` clusters G*, and those of the two sides.
    said     of CR1: nothing, "words" or "†". `takes` is the method of ByDesign, `supported` whether it prints p without a †.
    cr1 …    rejections at 5 % in `draws` draws; None where the method refuses or has no standard error. `headline` are those of
             ByDesign, in `asked` draws. power_3 … are its rejections in `draws` draws of an effect of 3 … standard errors.
    """

    group: str
    design: str
    estimator: str
    term: str
    law: str
    treated: int
    smallest: int
    size: float
    effective: float
    treated_effective: float
    control_effective: float
    said: str
    takes: str
    supported: bool
    draws: int
    cr1: int | None
    cr2: int | None
    cv3: int | None
    headline: int | None
    asked: int
    power_3: int | None = None
    power_4: int | None = None
    power_6: int | None = None

    def rate(self, method: str) -> float | None:
        """Share of true nulls that a method rejects: cr1, cr2, cv3, headline or power_3 …."""
        events = getattr(self, method)
        return None if events is None else float(events / (self.asked if method == "headline" else self.draws))


COLUMNS = tuple(one.name for one in fields(Term))
_WHOLE = {"treated", "smallest", "draws", "asked"}
_EVENTS = {"cr1", "cr2", "cv3", "headline", "power_3", "power_4", "power_6"}
_REAL = {"size", "effective", "treated_effective", "control_effective"}


@dataclass(frozen=True, eq=False)
class Case:
    """A design and an estimator, with each of its aggregates."""

    group: str
    layout: Layout
    name: str
    estimators: tuple[Estimator, ...]
    design: Design

    @property
    def key(self) -> tuple[str, str, str]:
        return self.group, self.layout.name, self.name

    def generator(self) -> np.random.Generator:
        """The generator of its draws."""
        return np.random.default_rng([SEED, crc32(" ".join(self.key).encode())])


def cases() -> tuple[Case, ...]:
    """All of them, in the order of the page."""
    found = [
        Case("named", of, name, each, of.design()) for of in NAMED.values() for name, each in of.estimators().items()
    ]
    for of in map(random_layout, range(LOTS)):
        for name, whole in of.estimators().items():
            if name != "Stacked":
                found.append(Case("lot", of, name, whole if name == "CallawaySantAnna" else whole[:1], of.design()))
    three = NAMED["three of 4 + 28 never"]
    for missing in (0.1, 0.3):
        for of in (sparse(CASTLE, missing), sparse(three, missing), sparse(NAMED["one date 10/50"], missing)):
            for name, whole in of.estimators().items():
                if name != "Stacked":
                    found.append(Case("missing", of, name, whole[:1], of.design()))
    ten, fifty = NAMED["three of 10 + 70 never"], NAMED["one date 10/50"]
    for of in (ten, fifty, NAMED["one date 15/50"]):
        design = replace(of.design(), covariates=("fixed",))
        found.append(Case("covariates", of, "CallawaySantAnna, dr", (CallawaySantAnna(),), design))
    for of in (CASTLE, NAMED["one date 5/20"], fifty, three):
        design = replace(of.design(), covariates=("moving",))
        found.append(Case("covariates", of, "TwoWayFE, changing covariate", (TwoWayFE(),), design))
    many = Layout("80/70/50 + 200 never", ((80, 3), (70, 5), (50, 6)), 200)
    few = Layout("10/5/2 + 383 never", ((10, 3), (5, 5), (2, 6)), 383)
    for of in (many, few):
        each: tuple[Estimator, ...] = (CallawaySantAnna(), Imputation(), TwoWayFE())
        found += [Case("many", of, type(one).__name__, (one,), of.design()) for one in each]
    lot = replace(fifty, name="one date 10/50, prefectures by lot", lot=True)
    found += [Case("by lot", lot, "TwoWayFE", (TwoWayFE(),), lot.design())]
    for of in (NAMED["one date 5/20"], three):
        for name, estimator in (("Poisson", ExtendedTWFE(family="poisson")), ("linear", ExtendedTWFE())):
            found.append(Case(_COUNTS, of, f"ExtendedTWFE, {name}", (estimator,), of.design()))
    for of in (CASTLE, ten, NAMED["57/46/25 + 103 never"], NAMED["one date 15/50"], many):
        found.append(Case("jointly", of, "SunAbraham", (SunAbraham(),), of.design()))
    return tuple(found)


def measure_case(one: Case, draws: int = DRAWS) -> list[Term]:
    """Measure a case; one with an aggregate that cannot be estimated there goes without that."""
    panel = one.layout.panel()
    if one.group == _COUNTS:
        return _counts(one, panel, min(draws, ASKED_OF_COUNTS))
    if one.group == "jointly":
        return _jointly(one, panel, min(draws, ASKED_JOINTLY))
    return [term for estimator in one.estimators for term in _linear(one, panel, estimator, draws)]


def _linear(one: Case, panel: Panel, estimator: Estimator, draws: int) -> list[Term]:
    rng = one.generator()
    of = study(panel, one.design, estimator, rng)
    first = of.judged["CR1"]
    weights = _weights(first)
    statistics = {term: of.statistics(w) for term, w in weights.items()}
    check(of, statistics, weights, of.meet(draw_shocks(rng, *of.shape, _CHECKED)))
    takes, supported = _headline(of, statistics, weights, rng)
    laws = {**LAWS, **(STRAINED if len(weights) == 1 or one.layout.large else {})} if one.group != "lot" else LAWS
    counted = {(law, term): _Count() for law in laws for term in weights}
    county = np.array([int(label) for label in of.loadings.labels])
    prefecture = panel.frame.groupby("county")["prefecture"].first().to_numpy(dtype=np.int64)[county]
    for start in range(0, draws, AT_ONCE):
        shocks = draw_shocks(rng, *of.shape, min(AT_ONCE, draws - start))
        for law, apply in laws.items():
            drawn = of.meet(apply(shocks, of.loadings.treated, prefecture, rng))
            for term, by_method in statistics.items():
                counted[law, term].add(by_method, drawn, takes if law == INDEPENDENT else "")
    found = []
    for (law, term), count in counted.items():
        events = count.events
        own = Term(
            one.group, one.layout.name, one.name, term, law, **_expected(one, first, weights[term]),
            takes=takes, supported=supported[term], draws=draws,
            cr1=events.get("CR1"), cr2=events.get("CR2"), cv3=events.get("CV3"),
            headline=events.get(takes), asked=draws,
            power_3=count.found.get(3), power_4=count.found.get(4), power_6=count.found.get(6),
        )  # fmt: skip
        quick = isinstance(estimator, TwoWayFE) or takes == "PooledGroups"
        if takes in ASKED_NAMES and len(weights) == 1 and quick and law == INDEPENDENT:
            own = _ask(own, of, weights[term], laws[law], prefecture, rng, draws)
        found.append(own)
    return found


ASKED_NAMES = {kind.__name__: kind for kind in ASKED}


class _Count:
    """Rejections of a term by method, and those of effects that are there."""

    def __init__(self) -> None:
        self.events: dict[str, int] = {}
        self.found: dict[int, int] = {}

    def add(self, by_method: Mapping[str, Statistic], drawn: Floats, takes: str) -> None:
        """Count draws of shocks (S, R); with power where `takes` names a method."""
        for method, one in by_method.items():
            value, error = one.loadings @ drawn, one.errors(drawn)
            self.events[method] = self.events.get(method, 0) + int((np.abs(value) >= one.critical * error).sum())
            if method == takes:
                effect = float(np.linalg.norm(one.loadings))
                for at in POWERS:
                    rejected = int((np.abs(value + at * effect) >= one.critical * error).sum())
                    self.found[at] = self.found.get(at, 0) + rejected


def _weights(one: Estimate) -> dict[str, Floats]:
    """Weights (k,) of each effect by name, and of the gap between two subgroups in their place."""
    each = np.eye(len(one.fit.terms))
    if len(one.fit.parts) > 1:
        a, b = each
        return {"gap": b - a}
    effects = {term.name: w for term, w in zip(one.fit.terms, each, strict=True) if term.role == "effect"}
    aggregate = getattr(one.spec.estimator, "aggregate", "")  # the ATT beside other terms is another one
    return {f"{name}, {aggregate}" if name == "ATT" and len(effects) > 1 else name: w for name, w in effects.items()}


def _expected(one: Case, first: Estimate, weights: Floats) -> dict[str, Any]:
    of = first.uncertainty.reliance
    size, sides = of.expected_size(weights), of.sides(weights)
    words = "words" if STANDS < size <= IN_WORDS else ""
    return {
        "treated": one.layout.treated,
        "smallest": min(n for n, _ in one.layout.cohorts),
        "size": size,
        "effective": of.effective(weights),
        "treated_effective": sides[0],
        "control_effective": sides[1],
        "said": "†" if first.doubt(weights) is not None else words,
    }


def _headline(
    of: Study,
    statistics: Mapping[str, Mapping[str, Statistic]],
    weights: Mapping[str, Floats],
    rng: np.random.Generator,
) -> tuple[str, dict[str, bool]]:
    """Name what ByDesign takes, and which terms it supports; its p must be that of the method, which one draw shows."""
    shocks = of.meet(draw_shocks(rng, *of.shape, 1))[:, 0]
    told = of.draw(shocks, BY_DESIGN)
    takes = of.chosen(told)
    if takes == "Permutation":  # which has no †
        return takes, dict.fromkeys(weights, True)
    for term, by_method in statistics.items():
        if takes in by_method:
            own = float(by_method[takes].p_values(shocks[:, None])[0])
            public = told.distribution.p_value(weights[term])
            assert abs(own - public) < 1e-8, f"ByDesign says {public} of {term}, {takes} {own}"
    return takes, {term: told.doubt(w) is None for term, w in weights.items()}


def _ask(own: Term, of: Study, weights: Floats, law: Law, prefecture: Any, rng: np.random.Generator, most: int) -> Term:
    """Ask the method itself, draw by draw."""
    kind = ASKED_NAMES[own.takes]
    asked, events = min(most, ASKED[kind]), 0
    shocks = draw_shocks(rng, *of.shape, asked)
    drawn = of.meet(law(shocks, of.loadings.treated, prefecture, rng))
    for i in range(asked):
        method = PooledGroups() if kind is PooledGroups else Permutation(draws=99, seed=i)
        try:
            told = of.draw(drawn[:, i], method)
        except EvalkitError:
            return own
        events += bool(told.distribution.p_value(weights) <= NOMINAL + 1e-12)
    return replace(own, headline=events, asked=asked)


def _counts(one: Case, panel: Panel, draws: int) -> list[Term]:
    """Counts: Poisson around a county's mean times a gamma shock of variance .1 to county and period; the effect is 0."""
    rng = one.generator()
    county, period = panel.frame["county"].to_numpy(), panel.frame["period"].to_numpy()
    shape = int(county.max()) + 1, int(period.max()) + 1
    means = _COUNT_MEAN * np.exp(0.5 * rng.standard_normal(shape[0]))[:, None]
    events, cr1, sizes = 0, 0, []
    takes = ""
    for _ in range(draws):
        outcome = rng.poisson(means * rng.gamma(_COUNT_SHAPE, 1 / _COUNT_SHAPE, shape))[county, period].astype(float)
        drawn = panel.with_column("outcome", outcome)
        first = estimate(drawn, one.design, one.estimators[0], inference=Cluster())
        ((term, weights),) = _weights(first).items()
        if not takes:  # what ByDesign takes follows from the design, and is asked alone in the other draws
            told, judged = first.under(BY_DESIGN), {"CV3": first.under(METHODS["CV3"])}
            takes = Study(drawn, one.design, one.estimators[0], judged).chosen(told)
            assert told.pvalues[term] == judged[takes].pvalues[term]
            supported, expected = told.doubt(weights) is None, _expected(one, first, weights)
        events += bool(first.under(METHODS[takes]).distribution.p_value(weights) <= NOMINAL)
        cr1 += bool(first.distribution.p_value(weights) <= NOMINAL)
        sizes.append(first.uncertainty.reliance.expected_size(weights))
    expected["size"] = float(np.mean(sizes))
    return [
        Term(
            one.group, one.layout.name, one.name, term, "counts", **expected,
            takes=takes, supported=supported,
            draws=draws, cr1=cr1, cr2=None, cv3=None, headline=events, asked=draws,
        )
    ]  # fmt: skip


def _jointly(one: Case, panel: Panel, draws: int) -> list[Term]:
    """All leads at once: F from Cluster where that gives a p, else HTZ from BiasReduced, else none."""
    rng = one.generator()
    county, period = panel.frame["county"].to_numpy(), panel.frame["period"].to_numpy()
    counted: dict[str, list[bool]] = {"cr1": [], "cr2": []}
    printed = ""
    for _ in range(draws):
        shocks = rng.standard_normal((int(county.max()) + 1, int(period.max()) + 1))
        drawn = panel.with_column("outcome", shocks[county, period])
        first = estimate(drawn, one.design, one.estimators[0], inference=Cluster())
        leads = [
            t.name for t in first.fit.terms if t.role == "effect" and t.event_time is not None and t.event_time < -1
        ]
        wald = first.wald(leads)
        counted["cr1"].append(bool(first.distribution.judge_jointly(_rows(first, leads)).p_value <= NOMINAL))
        printed = "CR1" if wald.reason is None else printed
        try:
            counted["cr2"].append(bool(first.under(BiasReduced()).wald(leads).p_value <= NOMINAL))
        except EvalkitError:
            continue
    takes = printed or ("CR2" if counted["cr2"] else "none")
    weights = _rows(first, leads)
    worst = min(weights, key=lambda w: min(first.uncertainty.reliance.sides(w)))
    expected = {**_expected(one, first, worst), "said": "" if printed else "†"}
    events = {name: sum(found) if len(found) == draws else None for name, found in counted.items()}
    return [
        Term(
            one.group, one.layout.name, one.name, f"{len(leads)} leads", INDEPENDENT, **expected,
            takes=takes, supported=takes != "none", draws=draws, cr1=events["cr1"], cr2=events["cr2"], cv3=None,
            headline=events.get(takes.lower()), asked=draws,
        )
    ]  # fmt: skip


def _rows(one: Estimate, terms: Sequence[str]) -> Floats:
    names = [term.name for term in one.fit.terms]
    rows: Floats = np.eye(len(names))[[names.index(term) for term in terms]]
    return rows


@dataclass(frozen=True)
class _Job:
    """The number of a case, and how often it is drawn."""

    number: int
    draws: int


def _work(job: _Job) -> tuple[list[Term], str, str]:
    one, start = cases()[job.number], time.process_time()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found, failure = measure_case(one, job.draws), ""
    except Exception:
        found, failure = [], f"{' | '.join(one.key)}\n{traceback.format_exc()}"
    return found, failure, f"{' | '.join(one.key)}: {len(found)} terms, {time.process_time() - start:.1f} s"


def measure(path: Path, *, resume: bool = False, draws: int = DRAWS) -> list[str]:
    """Measure all cases in two processes, write them to a file, in order, and return what failed, in words."""
    known = {one.key: i for i, one in enumerate(cases())}
    there = read(path) if resume and path.exists() else []
    kept = {key for one in there if (key := (one.group, one.design, one.estimator)) in known}
    found = [one for one in there if (one.group, one.design, one.estimator) in known]
    jobs = [_Job(i, draws) for key, i in known.items() if key not in kept]
    failures = []
    with multiprocessing.get_context("spawn").Pool(PROCESSES) as pool:
        for told, failure, line in pool.imap_unordered(_work, jobs):
            print(line, flush=True)
            found += told
            failures += [failure] if failure else []
            write(path, sorted(found, key=lambda one: known[one.group, one.design, one.estimator]))
    return failures


def write(path: Path, terms: Iterable[Term]) -> None:
    """Write all terms."""
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(COLUMNS)
        table.writerows([_text(name, getattr(one, name)) for name in COLUMNS] for one in terms)


def _text(name: str, value: object) -> str:
    if value is None or value != value:
        return ""
    return f"{value:.4f}" if name in _REAL else str(value)


def read(path: Path) -> list[Term]:
    """Read terms again."""
    with path.open(encoding="utf-8", newline="") as file:
        return [Term(**{name: _value(name, text) for name, text in row.items()}) for row in csv.DictReader(file)]


def _value(name: str, text: str) -> Any:
    if name in _EVENTS:
        return int(text) if text else None
    if name in _REAL:
        return float(text) if text else float("nan")
    if name == "supported":
        return text == "True"
    return int(text) if name in _WHOLE else text
