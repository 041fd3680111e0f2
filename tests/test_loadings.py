"""What an estimate rests on: loadings, effective clusters, the expected size of clustered errors, and what turns a conclusion."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import sparse, stats

from evalkit import Design, Estimate, Panel, estimate
from evalkit.estimators import (
    CallawaySantAnna,
    EventStudy,
    ExtendedTWFE,
    Imputation,
    Split,
    SunAbraham,
    SyntheticDID,
    TwoStage,
    TwoWayFE,
)
from evalkit.inference import BiasReduced, ByDesign, Cluster, Jackknife, WildBootstrap
from evalkit.inference.by_design import _write_ratio
from evalkit.inference.jackknife import EffectiveT
from evalkit.numerics.loadings import Alike, ShockMap, find_alike, own_shocks, shared_within, turning_noise
from evalkit.results.basis import see
from evalkit.results.clusters import assignment, way_of
from evalkit.results.estimation import Specification
from evalkit.results.fit import headline_effects
from evalkit.results.loadings import Loadings, _RefitResponse, loadings_of


def staggered(cohorts: list[tuple[int, int | None]], periods: int = 11, seed: int = 1) -> pd.DataFrame:
    """One row per county and year; so many counties adopt at each date (None: never)."""
    first = [date for size, date in cohorts for _ in range(size)]
    rng = np.random.default_rng(seed)
    county = np.repeat(np.arange(len(first)), periods)
    frame = pd.DataFrame({"county": county, "year": np.tile(np.arange(2000, 2000 + periods), len(first))})
    frame["first"] = np.array([np.nan if date is None else date for date in first])[county]
    return frame.assign(y=rng.normal(size=len(frame)), x=rng.normal(size=len(frame)), district=county // 4)


DESIGN = Design(outcome="y", adoption="first", assigned_at="county")
CASTLE = [(1, 2005), (13, 2006), (4, 2007), (2, 2008), (1, 2009), (29, None)]
FIVE_OF_ONE = [*((1, 2002 + i) for i in range(5)), (15, None)]


def run(frame: pd.DataFrame, estimator: Any, inference: Any = None, design: Design = DESIGN) -> Estimate:
    panel = Panel.from_frame(frame, unit="county", time="year")
    return estimate(panel, design, estimator, inference=inference or Cluster())


def rests(one: Estimate) -> Loadings:
    return loadings_of(one.fit, one.spec, assignment(one.fit))


# Sizes, effective clusters and shares seen of an independent Monte Carlo of 34 designs, to the printed digits; measured sizes of
# CR1 there: .059 (castle, two-way effects), .059, .071, .081; 60 + 1 + 60 .053 and .055.
PRINTED = [
    ("one date 2/8", [(2, 2005), (6, None)], TwoWayFE(), 3.4, 0.177),
    ("one date 3/20", [(3, 2005), (17, None)], TwoWayFE(), 4.1, 0.166),
    ("one date 10/50", [(10, 2005), (40, None)], TwoWayFE(), 15.4, 0.072),
    ("castle", CASTLE, TwoWayFE(), 39.6, 0.055),
    ("castle", CASTLE, CallawaySantAnna(), 31.6, 0.056),
    ("castle", CASTLE, Imputation(), 38.9, 0.069),
    ("castle", CASTLE, SunAbraham("simple"), 32.2, 0.073),
]


@pytest.mark.parametrize(("name", "cohorts", "estimator", "effective", "size"), PRINTED)
def test_designs_of_an_independent_monte_carlo(
    name: str, cohorts: Any, estimator: Any, effective: float, size: float
) -> None:
    tidy = (one := run(staggered(cohorts), estimator)).tidy()
    assert round(one.glance()["effective_clusters"].iloc[0], 1) == effective, name
    assert round(tidy["expected_size"].iloc[0], 3) == size


def dense(one: ShockMap | None) -> np.ndarray:
    """The map written out, (G, S)."""
    assert one is not None
    full = one.expand()
    functionals = full.functionals.toarray() if sparse.issparse(full.functionals) else full.functionals
    return full.own.toarray() - full.pull @ functionals


def simulate(one: Estimate, draws: int = 6000, seed: int = 7) -> np.ndarray:
    """Share of worlds without effect in which CR1 with t(G-1) rejects, by the maps from shocks."""
    found = rests(one)
    (weights,) = [w for _, w in headline_effects(one.fit)]
    c, shocks = (found.values @ weights).ravel(), found.shock_map(weights)
    assert shocks is not None
    n = len(found.treated)
    L = dense(shocks)
    e = np.random.default_rng(seed).normal(size=(len(c), draws))
    t = c @ e / np.sqrt(n / (n - 1) * ((L @ e) ** 2).sum(axis=0))
    return np.mean(np.abs(t) > stats.t.ppf(0.975, n - 1))


@pytest.mark.parametrize("estimator", [CallawaySantAnna(), Imputation(), SunAbraham("simple"), TwoWayFE()])
def test_the_expected_size_is_that_of_worlds_without_effect(estimator: Any) -> None:
    one = run(staggered(FIVE_OF_ONE, periods=10), estimator)
    expected = float(one.tidy()["expected_size"].iloc[0])
    measured = simulate(one)
    # Satterthwaite overstates large sizes by up to a quarter; and chance, 4 standard errors.
    chance = 4 * np.sqrt(expected / 6000)
    assert 0.75 * expected - chance < measured < 1.05 * expected + chance


def test_one_late_adopter_marks_nothing_but_what_is_read_from_it() -> None:
    f = staggered([(60, 2004), (1, 2006), (60, None)], periods=8)
    for estimator in (CallawaySantAnna(), Imputation(), TwoWayFE()):
        assert run(f, estimator).uncertainty.unsupported is None
    cohorts = run(f, CallawaySantAnna(aggregate="group")).tidy().set_index("term")
    assert cohorts["supported"].to_dict() == {"ATT": True, "ATT(g=2004)": True, "ATT(g=2006)": False}
    late = run(f, CallawaySantAnna(aggregate="group"), Jackknife()).tidy().set_index("term").loc["ATT(g=2006)"]
    assert np.isnan(late["std_error"])
    assert not late["supported"]


def test_single_counties_that_carry_the_effect_are_marked() -> None:
    f = staggered(FIVE_OF_ONE, periods=10)
    for estimator in (CallawaySantAnna(), Imputation(), SunAbraham("simple")):
        one = run(f, estimator)
        assert "of cases, not 5 %" in str(one.uncertainty.unsupported)
        assert not one.tidy()["supported"].any()
        assert run(f, estimator, ByDesign()).tidy()["supported"].all()


def test_marks_are_graded() -> None:
    alone, words, marked = (run(staggered([(k, 2005), (50 - k, None)]), TwoWayFE()) for k in (15, 10, 5))
    assert [one.tidy()["supported"].iloc[0] for one in (alone, words, marked)] == [True, True, False]
    assert [round(one.tidy()["expected_size"].iloc[0], 3) for one in (alone, words, marked)] == [0.059, 0.072, 0.124]
    assert "should be 5 %" not in alone.summary()
    assert "should be 5 %: ATT 7 %" in words.summary()
    assert "†" not in words.summary().splitlines()[2]
    line = next(line for line in marked.summary().splitlines() if line.startswith("  ATT"))
    assert line.count("†") == 2
    by_design = run(staggered([(5, 2005), (45, None)]), TwoWayFE(), ByDesign())
    assert f"by design p = {by_design.pvalues['ATT']:.4f}" in line
    assert f"按设计 p = {by_design.pvalues['ATT']:.4f}" in marked.summary("zh")


def test_every_combination_is_judged_in_its_own_right() -> None:
    one = run(staggered(CASTLE), CallawaySantAnna(aggregate="dynamic"))
    tidy = one.tidy().set_index("term")
    assert not tidy.loc["ATT(e=5)", "supported"]  # from one county alone
    assert tidy.loc["ATT(e=1)", "supported"]
    assert one.average([0, 1, 2])["supported"].iloc[0]
    assert not one.contrast("ATT(e=5)", "ATT(e=0)")["supported"].iloc[0]
    found = rests(one)
    weights = np.zeros(len(one.fit.terms))
    weights[[list(tidy.index).index(name) for name in ("ATT(e=5)", "ATT(e=0)")]] = 1.0, -1.0
    assert one.contrast("ATT(e=5)", "ATT(e=0)")["expected_size"].iloc[0] == found.expected_size(weights)
    assert one.wald(["ATT(e=5)"]).reason == one.doubt(np.eye(len(weights))[list(tidy.index).index("ATT(e=5)")])


def test_a_gap_of_subgroups_counts_the_clusters_that_they_share() -> None:
    f = staggered([(8, 2004), (10, None)], periods=8)
    rows = pd.concat([f.assign(farm=f["county"] * 2 + k, large=k, y=f["y"] + k * f["x"]) for k in (0, 1)])
    panel = Panel.from_frame(rows, unit="farm", time="year")
    one = estimate(panel, DESIGN, Split(by="large", estimator=TwoWayFE()), inference=Cluster())
    found = rests(one)
    gap = np.array([1.0, -1.0])
    # Each subgroup has shocks of its own in every county and year; those of both come from the same county.
    np.testing.assert_allclose(found.variances(gap), found.variances(gap[:1].repeat(2)), rtol=1e-12)
    assert found.effective(gap) == pytest.approx(found.effective(np.array([1.0, 0.0])), rel=1e-12)
    few = estimate(
        Panel.from_frame(rows[(rows["large"] == 0) | (rows["county"] % 4 == 0)], unit="farm", time="year"),
        DESIGN,
        Split(by="large", estimator=TwoWayFE()),
        inference=Cluster(),
    )
    table = few.contrast("ATT [large=1]", "ATT [large=0]")
    assert table["expected_size"].iloc[0] == rests(few).expected_size(-gap)
    assert rests(few).effective(gap) < rests(one).effective(gap)


@pytest.mark.parametrize("estimator", [TwoWayFE(), EventStudy(leads=2, lags=2), SunAbraham(), ExtendedTWFE("dynamic")])
def test_regressions_answer_to_shocks_as_estimates_anew_do(estimator: Any) -> None:
    f = staggered([(2, 2003), (3, 2004), (4, None)], periods=6)
    f = pd.concat([f.assign(farm=f["county"] * 3 + k, y=f["y"] + k * f["x"]) for k in range(3)])
    f = f.assign(w=1.0 + f["farm"] % 4)[np.random.default_rng(3).uniform(size=len(f)) > 0.15]
    design = Design(outcome="y", adoption="first", assigned_at="county", weights="w", covariates=("x",))
    one = estimate(Panel.from_frame(f, unit="farm", time="year"), design, estimator, inference=Cluster())
    found = rests(one)
    (part,), (cells,) = found.parts, found.cells
    names = tuple(one.fit.terms[i].name for i in part.positions)
    anew = _RefitResponse(part, one.spec, names)
    np.testing.assert_allclose(found.responses[0].loadings(cells), anew.loadings(cells), atol=1e-9)
    weights = np.random.default_rng(4).normal(size=len(names))
    maps = [dense(response.shock_map(weights, cells)) for response in (found.responses[0], anew)]
    np.testing.assert_allclose(maps[0], maps[1], atol=1e-9)


def test_moments_and_classes_are_those_of_the_map_written_out() -> None:
    rng = np.random.default_rng(0)
    own, pull, functionals = rng.normal(size=(3, 2)), rng.normal(size=(3, 2)), rng.normal(size=(2, 6))
    one = ShockMap(own_shocks(own), pull, functionals)
    whole = dense(one)
    trace, square = np.trace(whole @ whole.T), ((whole @ whole.T) ** 2).sum()
    np.testing.assert_allclose(one.moments(), (trace, square), rtol=1e-12)
    classes = np.array([0, 1, 1, 2, 1, 0])
    root = np.sqrt(np.array([2.0, 3.0, 1.0]))
    alike = Alike(classes, np.array([0, 1, 3]), root**2)
    few = ShockMap(own_shocks(own), pull * root[:, None], functionals * np.repeat(root, 2), alike)
    many = ShockMap(own_shocks(own[classes]), pull[classes], functionals.reshape(2, 3, 2)[:, classes].reshape(2, 12))
    np.testing.assert_allclose(few.moments(), many.moments(), rtol=1e-12)
    np.testing.assert_allclose(dense(few), dense(many), rtol=1e-12)
    found = find_alike(np.array([[2.0], [1.0], [2.0]]))
    assert (found.classes.tolist(), found.first.tolist(), found.times.tolist()) == ([0, 1, 0], [0, 1], [2.0, 1.0])


def test_cells_answer_as_rows_do() -> None:
    """20,000 rows and more are put into cells first."""
    f = staggered([(3, 2003), (4, 2004), (5, None)], periods=8)
    f = pd.concat([f.assign(farm=f["county"] * 300 + k, y=f["y"] + k % 7 * f["x"]) for k in range(240)])
    f = f[(f["county"] % 3 > 0) | (f["farm"] % 300 < 180)]  # counties of two sizes
    panel = Panel.from_frame(f, unit="farm", time="year")
    for estimator in (CallawaySantAnna(), Imputation(), TwoStage()):
        one = Specification(panel, DESIGN, estimator, Jackknife()).run()  # on the rows, as estimate() would not
        found = rests(one)
        assert found.in_cells is not None
        rows = Loadings(one.fit, found.way, one.spec)
        object.__setattr__(rows, "in_cells", None)
        np.testing.assert_allclose(found.values, rows.values, atol=1e-12)
        weights = np.ones(1)
        assert found.expected_size(weights) == pytest.approx(rows.expected_size(weights), rel=1e-9)
        counties = np.arange(12)
        without = [estimator.fit(panel, DESIGN, panel.codes("county").values != g).coefficients[0] for g in counties]
        moves = np.array(without) - one.params["ATT"]
        assert one.bse["ATT"] == pytest.approx(np.sqrt(11 / 12 * (moves**2).sum()), rel=1e-9)


def with_t(frame: pd.DataFrame, t: float) -> pd.DataFrame:
    """Add the constant effect that makes the bias-reduced t statistic of one date of adoption this large."""
    tidy = run(frame, TwoWayFE(), BiasReduced()).tidy().iloc[0]
    effect = t * tidy["std_error"] - tidy["estimate"]
    return frame.assign(y=frame["y"] + effect * (frame["year"] >= frame["first"]))


def test_errors_too_wide_for_even_noise_are_called_wide() -> None:
    """The jackknife of a synthetic unit: not significant, where |t| this large is rare with treated as noisy as the others."""
    f = staggered([(3, 2014), (27, None)], periods=20, seed=5)
    known = run(f, SyntheticDID(), Jackknife())
    df = float(known.distribution.df(np.ones(1)))
    effect = stats.t.isf(0.035, df) * known.bse["ATT"] - known.params["ATT"]  # p = .07
    one = run(f.assign(y=f["y"] + effect * (f["year"] >= f["first"])), SyntheticDID(), ByDesign())
    turning = one.uncertainty.turning
    assert turning is not None
    assert turning.noise == 1
    assert one.pvalues["ATT"] == pytest.approx(0.07)
    assert isinstance(one.distribution, EffectiveT)
    c, of = rests(one).values[:, :, 0].ravel(), one.distribution.shock_map(np.ones(1))
    assert of is not None
    L = dense(of)
    e = np.random.default_rng(3).normal(size=(len(c), 20_000))
    drawn = c @ e / np.sqrt(((L @ e) ** 2).sum(axis=0))
    assert np.mean(np.abs(drawn) >= abs(one.tidy()["statistic"].iloc[0])) < 0.05
    sentence = one.uncertainty.sentence
    assert sentence is not None
    assert "errors of the right width would find it significant" in sentence.text("en")
    assert "times as noisy" not in sentence.text("en")
    assert "宽度恰当的标准误会判其显著" in sentence.text("zh")


@pytest.mark.parametrize(("ratio", "said"), [(0.55, "0.55"), (0.997, "0.997"), (1.004, "1.004"), (12.34, "12")])
def test_a_ratio_is_told_from_one(ratio: float, said: str) -> None:
    assert _write_ratio(ratio) == said


def test_the_default_says_how_noisy_the_treated_may_be() -> None:
    f = with_t(staggered([(4, 2005), (16, None)]), 3.05)
    one = run(f, TwoWayFE(), ByDesign())
    turning = one.uncertainty.turning
    assert turning is not None
    assert turning.noise is not None
    assert turning.noise > 1
    assert f"more than {turning.noise:.2g} times as noisy" in str(one.uncertainty.sentence)
    assert turning.shared is None
    # In worlds without effect whose treated are that noisy, |t| is as large as this in 5 % of cases.
    found = rests(one)
    t = one.tidy()["statistic"].iloc[0]
    c, L = (
        found.values[:, :, 0].ravel(),
        dense(see(one.fit, assignment(one.fit), "BiasReduced").shock_map(np.ones(1), -0.5)),
    )
    noise = np.where(found.treated, turning.noise, 1.0)
    e = np.random.default_rng(3).normal(size=(len(c), 20_000)) * np.repeat(noise, 11)[:, None]
    drawn = c @ e / np.sqrt(((L @ e) ** 2).sum(axis=0))
    assert np.mean(np.abs(drawn) >= t) == pytest.approx(0.05, abs=0.008)


def test_the_default_says_how_far_shocks_may_be_shared() -> None:
    f = staggered([(6, 2005), (18, None)])
    f["district"] = np.where(f["county"] < 6, f["county"] % 3, 3 + f["county"] % 5)
    f = with_t(f, 4.0)
    one = run(f, TwoWayFE(), ByDesign(), Design(outcome="y", adoption="first", assigned_at="county", above="district"))
    turning = one.uncertainty.turning
    assert turning is not None
    assert turning.shared is not None
    assert 0 < turning.shared < 1
    assert f"more than {100 * turning.shared:.0f} % of shocks are shared within district" in str(
        one.uncertainty.sentence
    )
    below = run(f, TwoWayFE(), BiasReduced())
    found, t = rests(below), below.tidy()["statistic"].iloc[0]
    c, L = (
        found.values[:, :, 0].ravel(),
        dense(see(below.fit, assignment(below.fit), "BiasReduced").shock_map(np.ones(1), -0.5)),
    )
    block = f.drop_duplicates("county")["district"].to_numpy()
    rng = np.random.default_rng(5)
    own, shared = rng.normal(size=(len(c), 20_000)), shared_within(block, 11) @ rng.normal(size=(8 * 11, 20_000))
    e = np.sqrt(1 - turning.shared) * own + np.sqrt(turning.shared) * shared
    drawn = c @ e / np.sqrt(((L @ e) ** 2).sum(axis=0))
    # Of blocks the distribution is further from t than of single counties: below 5 %, never above by more than chance.
    assert 0.03 < np.mean(np.abs(drawn) >= abs(t)) < 0.056


def test_a_conclusion_that_never_turns() -> None:
    """With as many treated as others the variance estimate sees all of the treated, however noisy."""
    treated = np.repeat([True, False], 30)
    values = np.where(treated, 1.0, -1.0)[:, None] / 30
    sides = np.stack([treated, ~treated]).astype(float)
    of = ShockMap(own_shocks(values), sides.T * values, sides / 30)  # deviations from the mean of the own side
    assert turning_noise(t=4.0, significant=True, loadings=values, treated=treated, of=of) == np.inf
    assert 1 < turning_noise(t=2.04, significant=True, loadings=values, treated=treated, of=of) < 5
    assert turning_noise(t=0.2, significant=False, loadings=values, treated=treated, of=of) == 0


def test_shocks_that_last_are_noted_where_the_estimate_then_rests_on_few() -> None:
    """Five cohorts of five and four never treated: compared with the not yet treated, own trends leave little but these four."""
    f = staggered([*((5, 2004 + i) for i in range(5)), (4, None)], periods=10)
    one = run(f, CallawaySantAnna(), ByDesign())
    size, effective = rests(one).lasting(np.ones(1))
    assert size > 0.1 > rests(one).expected_size(np.ones(1))
    assert f"rests on about {effective:.2g} clusters" in str(one.uncertainty.sentence)
    assert effective < rests(one).effective(np.ones(1))


def test_clusters_above_and_clusters_of_rows() -> None:
    f = staggered([(8, 2005), (16, None)])
    coarse = run(f, TwoWayFE(), Cluster("district"))
    found = loadings_of(coarse.fit, coarse.spec, way_of("district", coarse.fit, coarse.spec))
    assert found.values.shape == (6, 11, 1)
    assert coarse.tidy()["expected_size"].iloc[0] == found.expected_size(np.ones(1))
    by_year = run(f, TwoWayFE(), Cluster("year"))  # divides units: shocks stay those of the counties
    assert by_year.tidy()["expected_size"].iloc[0] == run(f, TwoWayFE()).tidy()["expected_size"].iloc[0]


def test_an_unrestricted_bootstrap_without_regression_is_marked_as_clustered_errors_are() -> None:
    one = run(staggered(FIVE_OF_ONE, periods=10), Imputation(), WildBootstrap(draws=199, seed=1))
    assert one.uncertainty.unsupported is not None
