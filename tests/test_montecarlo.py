"""The Monte Carlo: its draws, bands and comparisons; methods that must fail do; the page says what was measured."""

from __future__ import annotations

import importlib
import math
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from evalkit import Design, estimate
from evalkit.estimators import CallawaySantAnna, Split, TwoWayFE
from evalkit.inference import ByDesign, Cluster, Jackknife, Permutation

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "benchmarks"))
cells, grid, gaps, cohorts, judged, panels = (
    importlib.import_module(f"montecarlo.{name}") for name in "cells grid gaps cohorts judged panels".split()
)
beforehand, demands, page, results, running = (
    importlib.import_module(f"montecarlo.{name}") for name in "beforehand demands page results running".split()
)
linear, marks, marks_page, named, turning, worlds = (
    importlib.import_module(f"montecarlo.{name}") for name in "linear marks marks_page named turning worlds".split()
)
EXPERIMENTS = importlib.import_module("montecarlo.experiments").EXPERIMENTS
DESIGN = Design(outcome="outcome", adoption="first", assigned_at="county")


def one(draws: int = 100, treated: int = 1, **change: object):
    settings = {"G": 8, "treated": treated, "ratio": "1", "errors": "normal", **change}
    return cells.cell("grid", draws, **settings)


def measured(events: int, draws: int = 1000, method: str = "CR1"):
    label = "G=8; treated=1; ratio=1; errors=normal"
    return results.Result("grid", label, "rejects", method, draws, draws, events, draws, "")


@pytest.fixture(scope="module")
def eight_with_one_treated() -> dict[str, object]:
    cell = one(100)
    return cells.draw(cell, grid.prepare(cell), 0, 100).by_method


def test_with_one_treated_county_clustered_errors_reject_far_too_often_and_the_pooled_test_does_not(
    eight_with_one_treated,
) -> None:
    rates = {name: tally.events / tally.asked for name, tally in eight_with_one_treated.items()}
    assert rates["CR1"] > 0.3  # .41 in 2,000 draws
    assert rates["WCU"] > 0.3
    assert rates["WCR"] < 0.02
    assert cells.verdict(eight_with_one_treated["CR1"].events, 100) == "above"
    assert cells.verdict(eight_with_one_treated["pooled"].events, 100) == "inside"
    assert rates["permutation"] == 0  # 1/8 is the smallest p


def test_what_refuses_or_calls_itself_unsupported_is_counted(eight_with_one_treated) -> None:
    for name in ("CR2", "CV3"):
        assert eight_with_one_treated[name].judged == 0
        assert "without county" in eight_with_one_treated[name].why
    assert eight_with_one_treated["CR1"].supported == 0
    assert eight_with_one_treated["pooled"].supported == 100


def test_by_design_is_asked_itself_and_says_what_the_method_says_that_it_names(eight_with_one_treated) -> None:
    by_design, pooled = (eight_with_one_treated[name] for name in ("ByDesign", "pooled"))
    assert (by_design.asked, by_design.events) == (100, pooled.events)
    drawn = panels.lay_out(panels.adopting(8, 3), periods=2)
    headline = judged.Headline()
    for i in (0, 1):
        rng = np.random.default_rng(i)
        made = estimate(
            drawn.with_column("outcome", panels.after(rng.normal(size=8))), DESIGN, TwoWayFE(), inference=Cluster()
        )
        told = {name: judged.tell(made, judged.METHODS[name](i)) for name in ("CR1", "CR2", "pooled")}
        assert headline.among(made, told, i).p_value == made.under(ByDesign(draws=399, seed=i)).pvalues["ATT"]
        assert headline.known == "CR2"


def test_a_method_other_than_the_one_named_before_is_no_answer() -> None:
    headline = judged.Headline()
    headline.known = "CR1"
    drawn = panels.lay_out(panels.adopting(8, 3), periods=2).with_column("outcome", panels.after(np.arange(8.0) ** 2))
    made = estimate(drawn, DESIGN, TwoWayFE(), inference=Cluster())
    with pytest.raises(AssertionError, match="chose CR1"):
        headline.among(made, {"CR1": judged.tell(made, Cluster())}, 0)


def test_p_is_that_of_the_public_interface() -> None:
    drawn = panels.lay_out(panels.adopting(9, 4), periods=2).with_column("outcome", panels.after(np.arange(9.0) ** 3))
    made = estimate(drawn, DESIGN, TwoWayFE(), inference=Cluster())
    for name in ("CR1", "CR2", "CV3", "pooled", "WCR", "WCU", "permutation"):
        method = judged.METHODS[name](3)
        again = estimate(drawn, DESIGN, TwoWayFE(), inference=method)
        assert judged.tell(made, method).p_value == again.pvalues["ATT"]


def test_draws_do_not_depend_on_how_they_are_divided() -> None:
    cell = one(6, treated=2)
    whole = cells.draw(cell, grid.prepare(cell), 0, 6)
    parts = cells.draw(cell, grid.prepare(cell), 4, 6)
    parts.join(cells.draw(cell, grid.prepare(cell), 0, 4))
    assert whole.by_method == parts.by_method
    other = one(6, treated=3)
    assert cell.generator(0).random() != other.generator(0).random() != other.generator(1).random()


@pytest.mark.parametrize("draws", [150, 1000, 2000])
def test_the_band_leaves_out_one_in_a_thousand(draws: int) -> None:
    low, high = (round(end * draws) for end in cells.band(draws))

    def at_most(k: int) -> float:
        return math.fsum(math.comb(draws, j) * 0.05**j * 0.95 ** (draws - j) for j in range(k + 1))

    assert at_most(low - 1) < 0.0005 <= at_most(low)
    assert at_most(high - 1) < 0.9995 <= at_most(high)
    assert [cells.verdict(k, draws) for k in (low - 1, low, high, high + 1)] == ["below", "inside", "inside", "above"]


@pytest.mark.parametrize(
    ("name", "law"),
    [("normal", stats.norm()), ("t3", stats.t(3, scale=3**-0.5)), ("exponential", stats.expon(loc=-1))],
)
def test_errors_have_the_law_named_and_variance_one(name: str, law) -> None:
    drawn = grid.draw_errors(name, 20_000, np.random.default_rng(1))
    assert law.var() == pytest.approx(1)
    assert stats.kstest(drawn, law.cdf).pvalue > 0.01


def test_differences_of_counties_are_their_draws() -> None:
    drawn = np.array([3.0, 5.0, 1.0, 2.0, 6.0])
    panel = panels.lay_out(panels.adopting(5, 2), periods=2).with_column("outcome", panels.after(drawn))
    assert estimate(panel, DESIGN, TwoWayFE(), inference=Cluster()).params["ATT"] == pytest.approx(4 - 3, abs=1e-12)


@pytest.mark.parametrize(
    ("counties", "treated", "floor"),
    [(8, 1, "0.125"), (8, 2, "0.036"), (8, 4, "0.029"), (7, 1, "0.143"), (10, 5, "0.008"), (40, 1, "0.025")],
)
def test_the_smallest_p_of_permutation_is_that_measured_beforehand(counties: int, treated: int, floor: str) -> None:
    panel = panels.lay_out(panels.adopting(counties, treated), periods=2)
    drawn = panel.with_column("outcome", panels.after(np.random.default_rng(1).normal(size=counties)))
    one = estimate(drawn, DESIGN, TwoWayFE(), inference=Permutation())
    assert f"{one.uncertainty.smallest_p:.3f}" == floor


def test_of_staggered_cohorts_by_design_takes_the_jackknife() -> None:
    panel = panels.lay_out(cohorts.adopting_at((3, 3, 5, 5), 9), periods=8)
    drawn = panel.with_column("outcome", np.random.default_rng(1).normal(size=len(panel)))
    one = estimate(drawn, DESIGN, CallawaySantAnna(), inference=ByDesign())
    assert one.pvalues["ATT"] == one.under(Jackknife()).pvalues["ATT"]


def test_the_gap_relabelled_is_the_gap_estimated() -> None:
    rng = np.random.default_rng(1)
    outcome = rng.normal(size=gaps.LARGE.shape)
    panel = panels.lay_out(panels.adopting(gaps.COUNTIES, gaps.TREATED), periods=2, units=gaps.FARMS)
    panel = panel.with_column("outcome", panels.after(outcome)).with_column(
        "large", np.repeat(gaps.LARGE.ravel(), 2) * 1
    )
    made = estimate(panel, DESIGN, Split(by="large", estimator=TwoWayFE()), inference=Cluster())
    small, large = made.params
    assert gaps.gap(outcome, gaps.LARGE * 1.0) == pytest.approx(large - small, abs=1e-12)


def test_figures_measured_beforehand_differ_where_chance_does_not_explain_it() -> None:
    (same,) = beforehand.compare([measured(430)])
    (other,) = beforehand.compare([measured(330)])
    assert (same.before, same.differs, other.differs) == (0.412, False, True)


def test_an_experiment_that_does_not_bite_is_named() -> None:
    assert demands.unmet([measured(412)]) == []
    assert "does not bite" in demands.unmet([measured(250)])[0]


def test_results_are_read_as_they_were_written(tmp_path: Path) -> None:
    rows = [
        measured(412),
        results.Result("grid", "G=8; treated=1", "rejects", "CR2", 10, 0, 0, 0, "without county 0, …"),
    ]
    results.write(tmp_path / "r.csv", rows[:1])
    results.append(tmp_path / "r.csv", rows[1:])
    assert results.read(tmp_path / "r.csv") == rows


def test_cells_that_are_there_are_kept_and_others_belong_to_no_experiment(tmp_path: Path) -> None:
    kept, gone = measured(41, draws=100), results.Result("grid", "G=9; treated=1", "rejects", "CR1", 9, 9, 1, 9, "")
    results.write(tmp_path / "r.csv", [gone, kept])
    assert running.measure([one(100)], tmp_path / "r.csv", names=["grid"], resume=True) == []
    assert results.read(tmp_path / "r.csv") == [kept]


def test_a_cell_that_stops_says_why_and_the_others_go_on() -> None:
    done = running.work(running.Part(one(2, errors="normal", treated=0), 0, 2))
    assert "nobody is treated" in done.failure
    assert running.work(running.Part(one(2, treated=2), 0, 2)).failure == ""


def test_shares_are_marked_by_the_band() -> None:
    shown = [page.show(measured(k)) for k in (50, 412, 3)]
    assert shown == [".050", "**.412**", "*.003*"]
    refused = results.Result("grid", "G=8", "rejects", "CR2", 10, 0, 0, 0, "")
    missed = results.Result("cohorts", "G=8", "misses", "CV3", 1000, 1000, 132, 900, "")
    assert (page.show(refused), page.show(missed)) == ("–", "**.868**†")


def test_the_page_says_what_was_measured() -> None:
    rows, terms = results.read(ROOT / "docs/montecarlo.csv"), marks.read(ROOT / "docs/marks.csv")
    text = (ROOT / "docs/inference.md").read_text(encoding="utf-8")
    assert page.fill(text, page.render(rows) | marks_page.render(terms)) == text


def test_every_cell_is_published_with_all_its_draws_and_every_experiment_bites() -> None:
    rows = results.read(ROOT / "docs/montecarlo.csv")
    published = {(row.experiment, row.cell): 0 for row in rows}
    for row in rows:
        published[row.experiment, row.cell] = max(published[row.experiment, row.cell], row.draws)
    assert published == {(c.experiment, c.label): c.draws for e in EXPERIMENTS.values() for c in e.cells}
    assert demands.unmet(rows) == []


def test_a_page_without_its_markers_is_refused() -> None:
    with pytest.raises(ValueError, match="begin summary"):
        page.fill("# Inference", page.render([measured(50)]))


def case(*key: str):
    (found,) = (one for one in marks.cases() if one.key == key)
    return found


@pytest.fixture(scope="module")
def published() -> list[object]:
    return marks.read(ROOT / "docs/marks.csv")


@pytest.mark.parametrize(
    "key",
    [
        ("named", "one date 3/8", "TwoWayFE"),
        ("named", "gap 10/20 and 3/6", "gap, TwoWayFE"),
        ("named", "three of 2 + 12 never", "CallawaySantAnna"),
        ("named", "a control county holds half, 3/12", "TwoWayFE"),
        ("covariates", "one date 5/20", "TwoWayFE, changing covariate"),
    ],
)
def test_terms_measured_anew_are_those_published(published, key) -> None:
    known = {(one.term, one.law): one for one in published if (one.group, one.design, one.estimator) == key}
    found = marks.measure_case(case(*key), 200)
    assert {(one.term, one.law) for one in found} == set(known)
    for one in found:
        other = known[one.term, one.law]
        assert (one.said, one.takes, one.supported) == (other.said, other.takes, other.supported)
        assert one.size == pytest.approx(other.size, abs=1e-4)
        assert one.effective == pytest.approx(other.effective, abs=1e-3)
        for name in ("cr1", "cr2", "cv3"):
            events, rate = getattr(one, name), other.rate(name)
            assert (events is None) == (rate is None)
            if events is not None:
                assert stats.binomtest(events, 200, rate).pvalue > 1e-6


def test_a_matrix_that_is_not_what_the_public_interface_does_is_noticed() -> None:
    layout = named.NAMED["one date 3/8"]
    of = linear.study(layout.panel(), layout.design(), TwoWayFE(), np.random.default_rng(1))
    weights, shocks = {"ATT": np.ones(1)}, np.random.default_rng(2).standard_normal((64, 1))
    right = {"ATT": of.statistics(weights["ATT"])}
    linear.check(of, right, weights, shocks)
    wrong = replace(right["ATT"]["CR2"], factor=right["ATT"]["CR2"].factor * 1.001)
    with pytest.raises(AssertionError, match="CR2"):
        linear.check(of, {"ATT": {**right["ATT"], "CR2": wrong}}, weights, shocks)


@pytest.mark.parametrize(
    "key", [("counts", "one date 5/20", "ExtendedTWFE, linear"), ("jointly", "one date 15/50", "SunAbraham")]
)
def test_counts_and_joint_tests_are_asked_of_the_public_interface(published, key) -> None:
    (one,) = marks.measure_case(case(*key), 3)
    (known,) = (other for other in published if (other.group, other.design, other.estimator) == key)
    assert (one.term, one.takes, one.draws, one.asked) == (known.term, known.takes, 3, 3)
    assert 0 <= one.headline <= 3


def test_shocks_have_the_laws_named() -> None:
    rng = np.random.default_rng(1)
    shocks, block = worlds.draw_shocks(rng, 6, 9, 4000), np.array([0, 0, 0, 1, 1, 1])
    treated = np.arange(6) < 3

    def drawn(law: str):
        return {**worlds.LAWS, **worlds.STRAINED}[law](shocks, treated, block, rng)

    def correlation(a, b) -> float:
        return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])

    lasting = drawn("AR(1) .5")
    assert lasting.var() == pytest.approx(1, abs=0.02)
    assert correlation(lasting[:, 1:], lasting[:, :-1]) == pytest.approx(0.5, abs=0.02)
    assert drawn("treated sd × 3")[:3].std() / drawn("treated sd × 3")[3:].std() == pytest.approx(3, abs=0.05)
    shared = drawn("20 % shared by prefecture")
    assert correlation(shared[0], shared[1]) == pytest.approx(0.2, abs=0.03)
    assert correlation(shared[0], shared[3]) == pytest.approx(0, abs=0.03)
    trends = drawn("own linear trends") - shocks
    assert trends.var(axis=1).mean() == pytest.approx(1, abs=0.05)
    assert np.abs(np.diff(trends, 2, axis=1)).max() < 1e-12


@pytest.mark.parametrize(("p", "low", "high"), [(".06", 0.03, 0.07), (".045", 0.03, 0.07), (".01", 0.0, 0.045)])
def test_where_the_conclusion_turns_5_percent_of_draws_go_as_far(p: str, low: float, high: float) -> None:
    cell = cells.cell("turning", 2000, design="one date 5/20", estimator="TwoWayFE", p=p)
    tally = cells.draw(cell, turning.prepare(cell), 0, 2000).by_method["CR2, noise"]
    assert low < tally.events / tally.judged < high  # Monte Carlo error .005


def test_random_designs_have_cohorts_of_one_county() -> None:
    layouts = [named.random_layout(i) for i in range(marks.LOTS)]
    assert sum(any(n == 1 for n, _ in one.cohorts) for one in layouts) >= 20
    assert len({one.cohorts for one in layouts}) == marks.LOTS


def test_all_terms_are_published_and_none_that_prints_without_a_word_is_proven_to_fail(published) -> None:
    assert list(dict.fromkeys((one.group, one.design, one.estimator) for one in published)) == [
        one.key for one in marks.cases()
    ]
    keys = [(one.group, one.design, one.estimator, one.term, one.law) for one in published]
    assert len(set(keys)) == len(keys)
    rule = [one for one in published if one.group in ("named", "lot")]
    assert {one.draws for one in rule} == {marks.DRAWS}
    for law in worlds.LAWS:
        assert marks_page.misses([one for one in rule if one.law == law]) == []
        supported = [one for one in rule if one.law == law and one.supported and one.asked == marks.DRAWS]
        assert max(one.rate("headline") or 0.0 for one in supported) <= 0.065


def test_terms_are_read_as_they_were_written(tmp_path: Path, published) -> None:
    marks.write(tmp_path / "m.csv", published)
    assert (tmp_path / "m.csv").read_bytes() == (ROOT / "docs/marks.csv").read_bytes()
    assert list(map(repr, marks.read(tmp_path / "m.csv"))) == list(map(repr, published))


def test_a_share_is_proven_where_chance_does_not_explain_it() -> None:
    exact = math.fsum(math.comb(100, j) * 0.065**j * 0.935 ** (100 - j) for j in range(16, 101))
    assert exact < 0.01 / 5 < exact * 4
    events, draws = np.array([16, 7, 6, 5, 4]), np.full(5, 100)
    assert marks_page.proven(events, draws, 0.065, above=True).tolist() == [True, False, False, False, False]
    assert not marks_page.proven(np.tile(events, 10), np.tile(draws, 10), 0.065, above=True).any()
    assert marks_page.proven(np.array([300]), np.array([10_000]), 0.055, above=False).all()
