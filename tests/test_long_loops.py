"""Loops that last: what they cost is told before, how far they are is shown, and stopped they leave everything as it was."""

from __future__ import annotations

import io
import os
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from math import factorial
from typing import Any

import numpy as np
import pandas as pd
import pytest

from evalkit import Design, Estimate, Panel, Place, World, check, diagnose, estimate, progress
from evalkit.checks import GroupGaps, LeaveOneOut, PlaceboAdoption, PlaceboAssignment, Power, PreTrends, SelfSize
from evalkit.errors import CostError, DesignError, EvalkitError, InferenceError
from evalkit.estimators import CallawaySantAnna, EventStudy, Imputation, Split, SyntheticControl, TwoWayFE
from evalkit.inference import ByDesign, Cluster, Jackknife, Multiplier, Permutation, Placebo, WildBootstrap
from evalkit.numerics.permutation import count_assignments
from evalkit.reassignment.cost import ASIDE, BUDGET, foretell_estimate
from evalkit.reassignment.effects import reassign
from evalkit.results.fit import Fit


def counties(*sizes: int, periods: int = 6, seed: int = 1) -> pd.DataFrame:
    """Counties over some years from 2010: the first so many adopt in 2013, the next in 2014, …, the last of the sizes never."""
    rng = np.random.default_rng(seed)
    first = np.repeat([*(2013.0 + i for i in range(len(sizes) - 1)), np.nan], sizes)
    county = np.repeat(np.arange(len(first)), periods)
    f = pd.DataFrame({"county": county, "year": np.tile(np.arange(2010, 2010 + periods), len(first))})
    f["first"], f["older"] = first[county], county % 2
    f["y"] = 5 + rng.normal(size=len(first))[county] + rng.normal(size=len(f)) + (f["year"] >= f["first"])
    return f


def two_groups(*sizes: int, periods: int = 6) -> pd.DataFrame:
    """The same with two farms in each county, the second of them older."""
    f = pd.concat(
        [counties(*sizes, periods=periods, seed=seed).assign(older=seed) for seed in (0, 1)], ignore_index=True
    )
    return f.assign(farm=2 * f["county"] + f["older"])


def run(f: pd.DataFrame, estimator: Any, inference: Any, unit: str = "county") -> Estimate:
    panel = Panel.from_frame(f, unit=unit, time="year")
    return estimate(panel, Design(outcome="y", adoption="first", assigned_at="county"), estimator, inference=inference)


@dataclass(frozen=True)
class Counting:
    """An estimator that counts how often it is asked, and may stop then; `estimator` is what estimates."""

    estimator: Any
    asked: list[int] = field(default_factory=lambda: [0], compare=False)
    until: list[float] = field(default_factory=lambda: [np.inf], compare=False)

    def columns(self) -> tuple[str, ...]:
        return ()

    def fit(self, panel: Panel, design: Design, keep: Any = None) -> Fit:
        self.asked[0] += 1
        if self.asked[0] > self.until[0]:
            raise KeyboardInterrupt
        return self.estimator.fit(panel, design, keep)


# 11 counties, 3 in each of two cohorts: 11!/(3! 3! 5!) assignments, each of which is estimated anew twice.
MANY, N_MANY = (3, 3, 5), factorial(11) // (6 * 6 * 120)


def many() -> tuple[Estimate, Counting]:
    estimator = Counting(CallawaySantAnna())
    one = run(counties(*MANY), estimator, Cluster())
    estimator.asked[0] = 0
    return one, estimator


def test_a_long_enumeration_is_refused_before_anything_is_estimated() -> None:
    one, estimator = many()
    with pytest.raises(CostError) as refused:
        one.under(Permutation())
    assert estimator.asked == [0]
    error = refused.value
    assert (error.assignments, error.assignments) == (N_MANY, 9240)
    assert error.seconds == pytest.approx(N_MANY * 2 * foretell_estimate(one.fit, one.spec))
    assert error.seconds > BUDGET
    assert f"all of the 9,240 assignments of adoption to county would take about {error.seconds:.0f} s" in str(error)
    assert "more than 60 s is not begun unasked" in str(error)
    assert 'give Permutation draws=999, seed=1 to take random ones, or draws="all" to take all of them' in str(error)


def test_draws_are_a_choice_and_so_is_all(monkeypatch: pytest.MonkeyPatch) -> None:
    one, estimator = many()
    drawn = one.under(Permutation(draws=99, seed=1))
    assert "99 random assignments" in str(drawn.uncertainty.method)
    assert 2 * 99 <= estimator.asked[0] <= 2 * 99 + 10
    with pytest.raises(CostError):
        one.under(Permutation(draws=99))  # of what seed?
    estimator.asked[0], estimator.until[0] = 0, 20
    with pytest.raises(KeyboardInterrupt):  # it has begun
        one.under(Permutation(draws="all"))
    for draws, seed, enumerated in ((N_MANY, 1, True), (N_MANY - 1, 1, False), ("all", None, True)):
        found = reassign(one.fit, one.spec, None, by="test", draws=draws, seed=seed, of_treatment=True)
        assert found.lottery.assignments.enumerated is enumerated
        assert len(found.lottery.assignments) == (N_MANY if enumerated else draws)


def test_all_is_no_more_than_ten_thousand_and_a_word_apart() -> None:
    with pytest.raises(InferenceError, match="too many to enumerate"):
        run(counties(3, 3, 9), TwoWayFE(), Permutation(draws="all"))
    for wrong in ("some", True, 98):
        with pytest.raises(InferenceError, match='from 99 on, or "all"'):
            Permutation(draws=wrong)
        with pytest.raises(DesignError, match='from 99 on, or "all"'):
            GroupGaps(draws=wrong, seed=1)
    few = run(counties(2, 4), CallawaySantAnna(), Permutation())
    pd.testing.assert_frame_equal(few.under(Permutation(draws="all")).tidy(), few.tidy())


def test_within_the_budget_all_are_gone_through_even_if_draws_are_given() -> None:
    one = run(counties(2, 4), CallawaySantAnna(), Permutation())
    assert "all 15 assignments" in str(one.uncertainty.method)
    pd.testing.assert_frame_equal(one.under(Permutation(draws=999, seed=1)).tidy(), one.tidy())


def test_sums_are_not_charged_for_estimates_that_they_spare() -> None:
    estimator = Counting(EventStudy(leads=1, lags=1))
    one = run(counties(*MANY), estimator, Cluster())
    estimator.asked[0] = 0
    found = reassign(one.fit, one.spec, None, by="test", draws=None, seed=None, of_treatment=True)
    assert found.sums is not None
    assert len(found.lottery.assignments) == N_MANY
    assert estimator.asked[0] <= 3  # to see that the sums are right
    f = counties(1, 6)
    uneven = run(f[(f["county"] > 2) | (f["year"] < 2014)], EventStudy(leads=2, lags=1), Cluster())
    sums = reassign(uneven.fit, uneven.spec, None, by="test", draws="all", seed=None)
    assert sums.sums is not None
    anew = sum(int(sums.sums.effects(block)[2].sum()) for block in sums.lottery.blocks(500))
    assert 0 < anew < 7  # those under which other event times are observed
    with pytest.raises(CostError) as refused:
        reassign(uneven.fit, uneven.spec, None, by="test", draws=None, seed=None, budget=0.005)
    assert refused.value.seconds == pytest.approx(anew * foretell_estimate(uneven.fit, uneven.spec), rel=0.1)


def test_what_is_foretold_follows_from_the_design_alone() -> None:
    f = counties(*MANY)
    one = run(f, CallawaySantAnna(), Cluster())
    foretold = foretell_estimate(one.fit, one.spec)
    for other in (
        f.sample(frac=1, random_state=1),
        f.assign(y=7 * f["y"] + 3),
        f.assign(county=f["county"].map("c{}".format)),
    ):
        again = run(other, CallawaySantAnna(), Cluster())
        assert foretell_estimate(again.fit, again.spec) == foretold
    larger = [
        run(counties(*MANY, periods=9), CallawaySantAnna(), Cluster()),
        run(counties(3, 2, 1, 5), CallawaySantAnna(), Cluster()),
    ]
    larger.append(run(f, CallawaySantAnna(aggregate="dynamic"), Cluster()))
    larger.append(run(f, Split(by="older", estimator=CallawaySantAnna()), Cluster()))
    assert all(foretell_estimate(each.fit, each.spec) > foretold for each in larger)


def test_by_design_says_what_it_has_not_begun_and_what_would_do_it() -> None:
    # Two counties adopt, one of them in the last year: too few for a jackknife, and 32·31 assignments.
    estimator = Counting(CallawaySantAnna())
    f = counties(1, 0, 0, 0, 1, 30, periods=8)
    one = run(f, estimator, ByDesign())
    seconds = 992 * 2 * foretell_estimate(one.fit, one.spec)
    assert ASIDE < seconds < BUDGET
    assert estimator.asked[0] < 40
    told = f"all 992 assignments would take about {seconds:.0f} seconds"
    (english, chinese) = (one.uncertainty.sentence.text(language) for language in ("en", "zh"))
    assert f"Not judged by permutations of the treatment: {told}" in english
    assert "ByDesign(draws=999, seed=1)" in english
    assert f"枚举全部 992 种分配约需 {seconds:.0f} 秒" in chinese
    table = one.uncertainty.alternatives
    assert str(table.loc[table["method"] == "Permutation", "remark"].item()).startswith(told)
    drawn = run(f, CallawaySantAnna(), ByDesign(draws=99, seed=1))
    assert "judged by permutations of the treatment" in drawn.uncertainty.sentence.text("en")
    # Where the jackknife judges, permutations stand beside it only if they are asked for.
    beside = run(counties(1, 1, 30, periods=8), CallawaySantAnna(), ByDesign())
    assert "with ByDesign(draws=9999, seed=1) permutations of the treatment stand beside it" in str(
        beside.uncertainty.sentence
    )


def test_checks_that_rank_by_the_way_say_so_too() -> None:
    f = counties(1, 1, 1, 8, periods=8)
    one = run(f, CallawaySantAnna(aggregate="group"), Cluster())
    (placebo,) = check(one, PlaceboAdoption())
    (leads,) = check(one, PreTrends(estimator=CallawaySantAnna(aggregate="dynamic", base="universal")))
    for finding, name in ((placebo, "PlaceboAdoption"), (leads, "PreTrends")):
        assert "Ranking among all 990 assignments would take about" in finding.summary()
        assert f'give {name} draws=999, seed=1 for random ones, or draws="all"' in finding.summary()
        assert "在全部 990 种分配中排序约需" in finding.summary("zh")
    (drawn,) = check(one, PlaceboAdoption(draws=99, seed=1))
    assert "ranked against 99 random assignments" in drawn.summary()


def test_without_each_unit_an_enumeration_has_a_share_of_the_budget() -> None:
    estimator = Counting(CallawaySantAnna())
    one = run(counties(6, 6, periods=30), estimator, Cluster())
    each = 2 * foretell_estimate(one.fit, one.spec)
    assert (
        BUDGET / 12 < factorial(11) // factorial(5) // factorial(6) * each < 924 * each < BUDGET
    )  # all 12 may be permuted
    estimator.asked[0] = 0
    with pytest.raises(CostError, match=r"of the 462 assignments .* more than 5 s is not begun"):
        LeaveOneOut().run(replace(one.spec, inference=Permutation()))
    assert estimator.asked[0] <= 2  # without the first, which rows it started from, and nothing under other assignments
    few = replace(run(FEW, estimator, Cluster()).spec, inference=Permutation())
    estimator.asked[0] = 0
    shared, drawn = (
        LeaveOneOut().run(few).table,
        LeaveOneOut().run(replace(few, inference=Permutation(draws="all"))).table,
    )
    pd.testing.assert_frame_equal(shared, drawn)


def test_checks_that_rank_by_name_refuse_or_draw() -> None:
    one, estimator = many()
    estimator = Counting(Imputation(aggregate="dynamic", leads=1))
    one = run(counties(3, 3, 5, periods=40), estimator, Cluster())
    estimator.asked[0] = 0
    with pytest.raises(CostError, match="give PlaceboAssignment draws=999, seed=1"):
        check(one, PlaceboAssignment())
    assert estimator.asked == [1]  # the actual one
    # 13 counties, each with a farm of either group: 4,096 exchanges, two estimates each.
    f, inner = two_groups(3, 10, periods=12), Counting(CallawaySantAnna(aggregate="dynamic"))
    split = run(f, Split(by="older", estimator=inner), Cluster(), unit="farm")
    inner.asked[0] = 0
    (finding,) = check(split, GroupGaps())
    assert inner.asked[0] < 10
    why = finding.table.set_index("method").loc["Fisher", "why"]
    assert "the 4,096 exchanges of the labels of 13 units of assignment would take about" in why
    assert 'give GroupGaps draws=999, seed=1 to take random ones, or draws="all"' in why
    inner.asked[0] = 0
    (drawn,) = check(split, GroupGaps(draws=99, seed=1))
    assert inner.asked[0] < 2 * 99 + 10
    assert "99 random exchanges" in drawn.summary()


class Bar:
    """A bar that keeps what it is told, and may stop the loop at some step."""

    made: list[Bar] = []  # noqa: RUF012
    until = np.inf

    def __init__(self, *, total: int, desc: str, **looks: Any) -> None:
        assert all(bar.closed for bar in self.made)
        self.total, self.of, self.done, self.closed = total, desc, 0, False
        self.made.append(self)

    def update(self, steps: int) -> None:
        self.done += steps
        if self.done > self.until:
            raise KeyboardInterrupt

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def bars(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Bar]]:
    """What bars are shown, as if on a terminal."""
    monkeypatch.setattr(progress, "_is_watched", lambda: True)
    monkeypatch.setattr(progress, "_bar", lambda: Bar)
    monkeypatch.setattr(Bar, "made", [])
    monkeypatch.setattr(Bar, "until", np.inf)
    yield Bar
    assert not progress._shown.bar


@dataclass(frozen=True)
class Plain:
    """An estimator that says nothing of what its effects rest on: they are found by estimating anew."""

    def columns(self) -> tuple[str, ...]:
        return ()

    def fit(self, panel: Panel, design: Design, keep: Any = None) -> Fit:
        fit = CallawaySantAnna().fit(panel, design, keep)
        return replace(fit, parts=tuple(replace(part, response=None) for part in fit.parts))


FEW, NINE = counties(2, 1, 2), counties(2, 1, 6)
GROUPS = two_groups(2, 3)
POWER = Power(noise_sd=1.0, place_sd=1.0, draws=50, seed=1)
SPLIT = Split(by="older", estimator=CallawaySantAnna())
PLACES = tuple(Place(name=f"p{i}", units={"a": 2}, adoption=2013 if i < 2 else None) for i in range(5))
WORLD = World(places=PLACES, periods=tuple(range(2010, 2016)), effects={"a": (1.0,)})


def judged(f: pd.DataFrame, estimator: Any, inference: Any) -> Callable[[], Callable[[], pd.DataFrame]]:
    """Make an estimate, and what judges it again and again."""

    def made() -> Callable[[], pd.DataFrame]:
        one = run(f, estimator, Cluster())
        return lambda: one.under(inference).tidy()

    return made


def asked(f: pd.DataFrame, estimator: Any, inference: Any, of: Any) -> Callable[[], Callable[[], pd.DataFrame]]:
    """Make an estimate whose distribution is asked again and again."""

    def made() -> Callable[[], pd.DataFrame]:
        one = run(f, estimator, inference)
        return lambda: of(one)

    return made


def checked(f: pd.DataFrame, estimator: Any, challenge: Any) -> Callable[[], Callable[[], pd.DataFrame]]:
    """Make an estimate that is challenged again and again."""

    def made() -> Callable[[], pd.DataFrame]:
        one = run(f, estimator, Cluster(), unit="farm" if "farm" in f else "county")
        return lambda: check(one, challenge)[0].table

    return made


LOOPS: dict[str, tuple[str, Callable[[], Callable[[], pd.DataFrame]]]] = {
    "Permutation anew": ("Permutation", judged(FEW, CallawaySantAnna(), Permutation())),
    "Permutation by sums": ("Permutation", judged(FEW, TwoWayFE(), Permutation())),
    "Permutation by design": (
        "Permutation",
        judged(counties(1, 0, 0, 1, 5), CallawaySantAnna(), ByDesign()),
    ),
    "Placebo": ("Placebo", judged(NINE, CallawaySantAnna(), Placebo(draws=50, seed=1))),
    "Jackknife": ("Jackknife", asked(NINE, SyntheticControl(), Jackknife(), lambda one: one.under(Jackknife()).tidy())),
    "shocks": ("Plain", judged(counties(2, 3), Plain(), Cluster())),
    "WildBootstrap": ("WildBootstrap", asked(NINE, TwoWayFE(), WildBootstrap(), lambda one: one.tidy())),
    "WildBootstrap of scores": ("WildBootstrap", asked(NINE, Imputation(), WildBootstrap(), lambda one: one.tidy())),
    "WildBootstrap jointly": (
        "WildBootstrap",
        asked(
            counties(4, 5), EventStudy(leads=1, lags=1), WildBootstrap(), lambda one: one.wald(["ATT(e=0)", "ATT(e=1)"])
        ),
    ),
    "Multiplier": ("Multiplier", asked(FEW, TwoWayFE(), Multiplier(draws=99, seed=1), lambda one: one.tidy())),
    "PlaceboAssignment anew": ("PlaceboAssignment", checked(FEW, CallawaySantAnna(), PlaceboAssignment())),
    "PlaceboAssignment by sums": ("PlaceboAssignment", checked(FEW, TwoWayFE(), PlaceboAssignment())),
    "LeaveOneOut": ("LeaveOneOut", checked(FEW, CallawaySantAnna(), LeaveOneOut())),
    "GroupGaps": ("GroupGaps", checked(GROUPS, SPLIT, GroupGaps())),
    "SelfSize": ("SelfSize", checked(FEW, TwoWayFE(), SelfSize(draws=20, seed=1))),
    "Power": ("Power", checked(counties(8, 8, 16), TwoWayFE(), POWER)),
    "diagnose": ("diagnose", lambda: lambda: diagnose(WORLD, TwoWayFE(), Cluster(), seed=1, worlds=9)),
}


def shown(found: Any) -> str:
    return found.to_csv() if isinstance(found, pd.DataFrame) else repr(found)


@pytest.mark.parametrize("name", LOOPS)
def test_a_stopped_loop_leaves_nothing_half_done(name: str, bars: type[Bar], monkeypatch: pytest.MonkeyPatch) -> None:
    of, made = LOOPS[name]
    expected = shown(made()())
    (bar, *_) = [bar for bar in bars.made if bar.of == of]
    assert all((one.done, one.closed) == (one.total, True) for one in bars.made)  # what is counted is what there is
    again = made()
    for until in (0, bar.total // 2):
        monkeypatch.setattr(bars, "until", until)
        bars.made.clear()
        with pytest.raises(KeyboardInterrupt):
            again()
        assert all(one.closed for one in bars.made)
    monkeypatch.setattr(bars, "until", np.inf)
    assert shown(again()) == expected
    assert threading.active_count() == 1


@pytest.mark.parametrize("name", ["Permutation by sums", "Placebo", "LeaveOneOut", "GroupGaps"])
def test_no_number_depends_on_who_watches(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = shown(LOOPS[name][1]()())
    monkeypatch.setattr(progress, "_is_watched", lambda: True)
    monkeypatch.setattr(progress, "_bar", lambda: Bar)
    monkeypatch.setattr(Bar, "made", [])
    assert shown(LOOPS[name][1]()()) == alone
    assert Bar.made


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def three(advance_inside: bool = True) -> None:
    for _ in progress.watched(range(3), "Outer", 3):
        for _ in progress.watched(range(5), "Inner", 5) if advance_inside else ():
            pass


def test_nothing_is_shown_where_nobody_watches(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "_AFTER", 0.0)
    three()
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr(sys, "stderr", None)  # as of programs without a console
    three()


def test_a_terminal_shows_the_outermost_loop_once_it_has_lasted_two_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(np.arange(1000) * 0.9)
    monkeypatch.setattr("tqdm.std.time", lambda: float(next(clock)))
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    for _ in progress.watched(range(2), "Short", 2):
        pass
    assert terminal.getvalue() == ""
    for _ in progress.watched(range(20), "Outer", 20):
        three()
    told = terminal.getvalue()
    assert "Inner" not in told
    assert "Outer:  50% |" in told
    assert "| 10/20 [00:" in told
    assert told.endswith("\r")
    assert threading.active_count() == 1


@pytest.mark.skipif(os.name == "nt", reason="Windows has no pseudo-terminals; the test above has one of its own")
def test_a_pseudo_terminal_shows_it_too(monkeypatch: pytest.MonkeyPatch) -> None:
    import pty  # Windows has none

    ours, theirs = pty.openpty()
    monkeypatch.setattr(progress, "_AFTER", 0.0)  # at once
    with os.fdopen(theirs, "w", encoding="utf-8") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        three()
        terminal.flush()
        told = os.read(ours, 4096).decode()
    os.close(ours)
    assert "Outer:   0% |" in told
    assert "Inner" not in told


def test_a_cell_of_a_notebook_counts_as_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = type("OutStream", (io.StringIO,), {"__module__": "ipykernel.iostream"})()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(progress, "_AFTER", 0.0)
    three()
    assert "Outer:   0% |" in stream.getvalue()


def test_a_cost_error_goes_through_other_processes_whole() -> None:
    import pickle

    one, _ = many()
    with pytest.raises(EvalkitError) as refused:
        one.under(Permutation())
    again = pickle.loads(pickle.dumps(refused.value))
    assert (type(again), str(again), again.assignments) == (CostError, str(refused.value), N_MANY)
    assert count_assignments(np.repeat([0, 1, 2], MANY)) == N_MANY
