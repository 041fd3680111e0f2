"""Joint tests of leads with few clusters, equivalence by any distribution, and Roth's power against linear trends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import cases
import cluster_oracle
import oracles
from evalkit import Design, Estimate, Finding, Panel, check, estimate
from evalkit.checks import PreTrends, Sensitivity
from evalkit.errors import DesignError
from evalkit.estimators import CallawaySantAnna, EventStudy, Split, TwoStage, TwoWayFE
from evalkit.inference import BiasReduced, ByDesign, Cluster, WildBootstrap
from evalkit.numerics.power import Leads
from evalkit.study.config import read_study

TWFE = TwoWayFE()
CLUSTER = Cluster()
STUDY = EventStudy(leads=4, lags=2)

# He and Wang (2017), Figure 2: covariance of event times -4, -3, -2, 0, …, 3 as the Stata package pretrends prints it.
HE_WANG = np.array(
    [
        [0.0089065712, 0.0044883136, 0.0014587025, 0.0012157689, 0.0020327645, 0.0013225015, 0.0019617728],
        [0.0044883136, 0.0059369169, 0.0027500791, 0.0013505858, 0.0014315459, 0.0012067792, 0.0013847158],
        [0.0014587025, 0.0027500791, 0.0030386248, 0.0009056166, 0.0006791299, 0.0010167636, 0.0007090144],
        [0.0012157689, 0.0013505858, 0.0009056166, 0.0039247409, 0.0025961180, 0.0017326149, 0.0022345525],
        [0.0020327645, 0.0014315459, 0.0006791299, 0.0025961180, 0.0080658970, 0.0058753751, 0.0037414359],
        [0.0013225015, 0.0012067792, 0.0010167636, 0.0017326149, 0.0058753751, 0.0078815790, 0.0036507095],
        [0.0019617728, 0.0013847158, 0.0007090144, 0.0022345525, 0.0037414359, 0.0036507095, 0.0097884266],
    ]
)


def he_wang(threshold: float = float(stats.norm.ppf(0.975))) -> Leads:
    sigma = HE_WANG[:3, :3]
    return Leads(np.array([-3.0, -2.0, -1.0]), sigma, threshold * np.sqrt(np.diag(sigma)))


def counties(total: int, treated: int, *, years: int = 7, seed: int = 1, start: int = 2014) -> pd.DataFrame:
    """One row per county and year from 2010 on; the first counties adopt in `start`."""
    rng = np.random.default_rng(seed)
    f = pd.DataFrame({"county": np.repeat(np.arange(total), years), "year": np.tile(2010 + np.arange(years), total)})
    f["first"] = np.where(f["county"] < treated, float(start), np.nan)
    f["y"] = rng.normal(size=len(f)) + 0.1 * f["county"]
    return f


def fitted(frame: pd.DataFrame, inference: Any, estimator: Any = TWFE) -> Estimate:
    panel = Panel.from_frame(frame, unit="county", time="year")
    design = Design(outcome="y", adoption="first", assigned_at="county")
    return estimate(panel, design, estimator, inference=inference)


def run(frame: pd.DataFrame, one: PreTrends, inference: Any = CLUSTER) -> Finding:
    (found,) = check(fitted(frame, inference), one)
    return found


def test_slope_for_half_power_of_he_and_wang() -> None:
    # README of R pretrends prints .0520569; its root is sought to 1.2e-4.
    assert he_wang(1.96).slope_found(0.5) == pytest.approx(0.0520569, abs=1.2e-4)


def test_power_and_means_of_he_and_wang() -> None:
    # README of stata-pretrends 0.5: power at this slope, and the ratio of the probabilities to pass; its draws give 4 digits.
    leads = he_wang()
    passing, _ = leads.passing(0.0520258592463583)
    assert 1 - passing == pytest.approx(0.49949, abs=5e-5)
    assert passing / leads.passing(0.0)[0] == pytest.approx(0.5696, abs=5e-5)
    # README of R pretrends: means at the slope above where no lead is significant; they have the error of its integrals.
    slope = 0.0520569
    leads = he_wang(1.96)
    np.testing.assert_allclose(leads.passing(slope)[1], [-0.09229763, -0.05554763, -0.02790685], rtol=2e-4)
    after = [slope * (1 + lag) + leads.mean_shift(slope, HE_WANG[3 + lag, :3]) for lag in range(4)]
    np.testing.assert_allclose(after, [0.06489968, 0.12084228, 0.16945912, 0.22453004], rtol=2e-4)


@pytest.mark.parametrize("slope", [0.0, 0.3, -1.0])
def test_one_lead_is_a_truncated_normal(slope: float) -> None:
    leads = Leads(np.array([-2.0]), np.array([[0.25]]), np.array([1.0]))
    truncated = stats.truncnorm((-1 + 2 * slope) / 0.5, (1 + 2 * slope) / 0.5, loc=-2 * slope, scale=0.5)
    inside = stats.norm.cdf(1, -2 * slope, 0.5) - stats.norm.cdf(-1, -2 * slope, 0.5)
    probability, mean = leads.passing(slope)
    assert probability == pytest.approx(inside, rel=1e-12)
    assert mean[0] == pytest.approx(float(truncated.mean()), abs=1e-12)
    assert leads.mean_shift(slope, np.array([0.1])) == pytest.approx((mean[0] + 2 * slope) * 0.1 / 0.25, abs=1e-12)


def test_one_lead_is_found_half_the_time_at_its_limit() -> None:
    leads = Leads(np.array([-2.0]), np.array([[0.25]]), np.array([1.96 * 0.5]))
    # P(|Z + 1.96| > 1.96) is 1/2 and the other tail, Φ(-3.92).
    assert leads.slope_found(0.5) == pytest.approx(0.49, rel=1e-3)
    assert leads.slope_found(0.5 + stats.norm.cdf(-3.92)) == pytest.approx(0.49, rel=1e-9)


def test_five_leads_against_scipy_and_draws() -> None:
    rng = np.random.default_rng(3)
    root = rng.normal(size=(6, 6))
    V = root @ root.T
    scale = np.sqrt(np.diag(V))
    distances = np.arange(-6.0, -1.0)
    leads = Leads(distances, V[:5, :5], 2.1 * scale[:5])
    slope = leads.slope_found(0.8)
    box = 2.1 * scale[:5]
    law = stats.multivariate_normal(slope * distances, V[:5, :5], abseps=1e-6, releps=1e-6, maxpts=500_000, seed=1)
    assert 1 - law.cdf(box, lower_limit=-box) == pytest.approx(0.8, abs=1e-4)
    drawn = rng.multivariate_normal(np.append(slope * distances, 0.0), V, size=400_000)
    passed = drawn[(np.abs(drawn[:, :5]) <= box).all(axis=1)]
    error = passed.std(axis=0) / np.sqrt(len(passed))
    assert (np.abs(leads.passing(slope)[1] - passed[:, :5].mean(axis=0)) < 4 * error[:5]).all()
    assert leads.mean_shift(slope, V[5, :5]) == pytest.approx(passed[:, 5].mean(), abs=4 * error[5])


def test_many_leads_find_more_than_half_without_any_trend() -> None:
    leads = Leads(-np.arange(20.0, 0.0, -1.0) - 1, np.eye(20), np.full(20, 1.96))
    assert 1 - leads.passing(0.0)[0] == pytest.approx(1 - 0.95**20, abs=1e-4)
    assert leads.slope_found(0.5) == 0.0
    assert leads.slope_found(0.8) > 0


def test_leads_that_depend_on_one_another_are_singular() -> None:
    V = np.array([[1.0, 0.5], [0.5, 1.0]])
    to = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    assert Leads(np.array([-4.0, -3.0, -2.0]), to @ V @ to.T, np.ones(3)).is_singular
    assert not Leads(np.array([-3.0, -2.0]), V, np.ones(2)).is_singular
    assert Leads(np.array([-3.0, -2.0]), np.diag([1.0, 0.0]), np.ones(2)).is_singular


@pytest.mark.parametrize("inference", [BiasReduced(), WildBootstrap()])
def test_few_clusters_are_judged_by_the_inference_itself(inference: Any) -> None:
    f = counties(12, 5)
    found = run(f, PreTrends(estimator=STUDY), inference)
    test = fitted(f, inference, STUDY).wald(["ATT(e=-4)", "ATT(e=-3)", "ATT(e=-2)"])
    assert (found.statistic, found.p_value) == (test.statistic, test.p_value)
    assert 0 < found.p_value < 1


def test_few_clusters_take_the_joint_inference_given() -> None:
    f = counties(12, 5)
    for joint, words in ((BiasReduced(), ("CR2", "CR2")), (WildBootstrap(), ("wild cluster bootstrap", "野自助法"))):
        found = run(f, PreTrends(estimator=STUDY, joint=joint))
        direct = run(f, PreTrends(estimator=STUDY), joint)
        assert (found.statistic, found.p_value, found.verdict) == (direct.statistic, direct.p_value, direct.verdict)
        pd.testing.assert_frame_equal(found.table, direct.table, check_exact=True)
        assert words[0] in found.summary("en")
        assert words[1] in found.summary("zh")
    assert "F(3, " in run(f, PreTrends(estimator=STUDY, joint=BiasReduced())).summary()
    assert "ranks F among draws" in run(f, PreTrends(estimator=STUDY, joint=WildBootstrap())).summary()


def test_many_clusters_keep_their_own_joint_test() -> None:
    f = counties(60, 30)
    one, other = (run(f, PreTrends(estimator=STUDY, joint=joint)) for joint in (None, BiasReduced()))
    assert (one.statistic, one.p_value) == (other.statistic, other.p_value)
    assert "The joint test is F(3, 59), standard errors clustered by county (CR1)" in other.summary()


def test_the_largest_lead_is_ranked_where_the_joint_inference_cannot_either() -> None:
    one_treated = run(counties(9, 1), PreTrends(estimator=STUDY, joint=WildBootstrap()))  # it says so itself
    assert one_treated.bound == 1 / 9
    no_regression = PreTrends(estimator=CallawaySantAnna(aggregate="dynamic"), joint=BiasReduced())  # it refuses
    assert run(counties(8, 3), no_regression).bound == 1 / 56
    untestable = run(counties(40, 6), PreTrends(estimator=CallawaySantAnna(aggregate="dynamic"), joint=BiasReduced()))
    assert np.isnan(untestable.p_value)
    assert "there is no joint test, because BiasReduced needs the residuals" in untestable.summary()


MANY = EventStudy(
    leads=9, lags=1
)  # 8 leads, which HTZ cannot test jointly with 5 treated of 20; nor can these be enumerated


def drifting(slope: float, *, total: int = 20, treated: int = 5, seed: int = 1) -> pd.DataFrame:
    """Counties over 12 years, those that adopt in 2019 on a trend of their own."""
    f = counties(total, treated, years=12, start=2019, seed=seed)
    return f.assign(y=f["y"] + slope * f["first"].notna() * (f["year"] - 2010))


def line_of(event_times: Any) -> Any:
    """Weights of values at these event times in the slope that polyfit finds."""
    return np.array([np.polyfit(event_times, one, 1)[0] for one in np.eye(len(event_times))])


def slope_by_hand(f: pd.DataFrame) -> tuple[cluster_oracle.Rows, cluster_oracle.Adjusted, Any]:
    """The regression of MANY by dummies, its CR2 by matrices, and the weights of the slope of a line by polyfit."""
    columns = cases.event_columns(f, "year", "first", 9, 1)
    rows = cluster_oracle.rows_of(f["y"], np.column_stack([*columns.values()]), [f["county"], f["year"]], f["county"])
    return rows, cluster_oracle.bias_reduced(rows), np.append(line_of(np.arange(-9, 0))[:-1], [0.0, 0.0])


@pytest.mark.parametrize("inference", [BiasReduced(), ByDesign()])
def test_the_slope_of_the_leads_fails_where_no_joint_test_holds(inference: Any) -> None:
    f = drifting(0.25)
    found = run(f, PreTrends(estimator=MANY), inference)
    rows, adjusted, w = slope_by_hand(f)
    slope, error, df = float(w @ rows.b), adjusted.std_error(w), adjusted.df(w)
    row = found.table.iloc[0]
    assert found.statistic == row["slope"] == pytest.approx(slope, rel=1e-9)
    assert row["slope_std_error"] == pytest.approx(error, rel=1e-8)
    assert found.p_value == row["slope_p_value"] == pytest.approx(2 * stats.t.sf(abs(slope) / error, df), rel=1e-7)
    away = stats.t.ppf(0.975, df) * error
    np.testing.assert_allclose(
        row[["slope_conf_low", "slope_conf_high"]].astype(float), [slope - away, slope + away], rtol=1e-7
    )
    assert found.verdict == "fail"
    for words in (
        "there is no joint test of them, because 8 terms cannot be tested jointly with 6.9 degrees of freedom",
        f"has a slope of {slope:.4g} per year (95 % interval {slope - away:.4g} to {slope + away:.4g}, p = 0.002; ",
        "bias-reduced (CR2), t with Satterthwaite's degrees of freedom): failed",
        "cannot show that trends are parallel",
    ):
        assert words in found.summary("en")
    assert f"斜率为每年 {slope:.4g}" in found.summary("zh")
    assert "不能证明趋势平行" in found.summary("zh")


def test_the_slope_never_passes() -> None:
    found = run(drifting(0.0, seed=3), PreTrends(estimator=MANY), BiasReduced())
    assert found.p_value > 0.05
    assert found.verdict == "inconclusive"
    assert np.isnan(found.bound)


def test_a_supported_slope_is_told_where_the_joint_test_of_clustered_errors_is_not() -> None:
    f = drifting(0.0, total=40, treated=6)
    found = run(f, PreTrends(estimator=STUDY))
    one = fitted(f, CLUSTER, STUDY)
    direct = one.combination(
        dict(zip(["ATT(e=-4)", "ATT(e=-3)", "ATT(e=-2)"], line_of([-4, -3, -2, -1]), strict=False)), "slope"
    )
    assert found.p_value == pytest.approx(direct["p_value"].iloc[0], rel=1e-9)
    assert "with so few clusters no joint test of them holds. A straight line" in found.summary("en")
    assert "聚类数太少，没有可靠的联合检验。对各期效应与基期拟合直线" in found.summary("zh")


def test_the_joint_inference_judges_the_slope_before_the_own_one() -> None:
    f = drifting(0.25)
    alone, found = (run(f, PreTrends(estimator=MANY, joint=joint)) for joint in (None, BiasReduced()))
    assert "(CR1), t(G-1)): failed" in alone.summary()
    direct = run(f, PreTrends(estimator=MANY), BiasReduced())
    assert (found.statistic, found.p_value, found.verdict) == (direct.statistic, direct.p_value, "fail")
    assert found.p_value > 10 * alone.p_value
    other = run(counties(40, 5), PreTrends(estimator=CallawaySantAnna(aggregate="dynamic"), joint=BiasReduced()))
    assert np.isnan(other.p_value)  # five of 40 are too few for t(39) on CR1, and CR2 refuses
    assert other.table.filter(regex="^slope").empty


def test_the_slope_rejects_parallel_trends_as_often_as_it_says() -> None:
    f = drifting(0.0)
    rows, adjusted, w = slope_by_hand(f)
    df, pull = adjusted.df(w), adjusted.vectors @ w
    worlds = [drifting(0.0, seed=seed)["y"].to_numpy() for seed in range(300)]
    p = [2 * stats.t.sf(abs(w @ rows.P @ y) / np.linalg.norm(pull @ y), df) for y in worlds]
    for seed in (0, 100):  # the check is that test
        assert run(drifting(0.0, seed=seed), PreTrends(estimator=MANY), BiasReduced()).p_value == pytest.approx(
            p[seed], rel=1e-7
        )
    low, high = (stats.binom.ppf(end, 300, 0.05) for end in (0.0005, 0.9995))
    assert low <= np.sum(np.array(p) < 0.05) <= high


def test_a_ranking_stands_before_the_slope() -> None:
    found = run(drifting(0.25, total=20, treated=5), PreTrends(estimator=MANY, draws=99, seed=1), BiasReduced())
    assert found.bound == 1 / 100
    assert "slope" not in found.summary()


@pytest.mark.parametrize(
    "estimator",
    [
        TwoStage(aggregate="dynamic", leads=3),
        CallawaySantAnna(aggregate="dynamic"),  # each lead is a change from the period before
        Split(by="half", estimator=STUDY),  # two paths
    ],
)
def test_no_slope_where_leads_are_no_path_from_one_base(estimator: Any) -> None:
    f = counties(40, 12).assign(half=lambda f: f["county"] % 2)
    found = run(f, PreTrends(estimator=estimator))
    assert np.isnan(found.p_value)
    assert "straight line" not in found.summary()


def test_equivalence_takes_the_degrees_of_freedom_of_each_lead() -> None:
    f = counties(12, 4)
    one = fitted(f, BiasReduced(), STUDY)
    each = np.eye(len(one.fit.terms))[:3]
    df = np.array([one.distribution.df(w) for w in each])
    error = np.array([one.distribution.std_error(w) for w in each])
    assert (df < 11).all()  # t(G-1) would be another interval
    reach = float((np.abs(one.fit.coefficients[:3]) + stats.t.ppf(0.95, df) * error).max())
    assert run(f, PreTrends(estimator=STUDY, bound=reach * 1.0001), BiasReduced()).verdict == "pass"
    assert run(f, PreTrends(estimator=STUDY, bound=reach * 0.9999), BiasReduced()).verdict == "inconclusive"


def test_equivalence_by_bootstrap_rejects_both_bounds_for_every_lead() -> None:
    f = counties(14, 7)
    inference = WildBootstrap(draws=999, seed=1)
    one = fitted(f, inference, STUDY)
    verdicts = []
    for bound in np.arange(2.0, 4.5, 0.25):
        far = [
            one.distribution.p_value(w, null=side * bound) <= 0.1 and abs(w @ one.fit.coefficients) < bound
            for w in np.eye(len(one.fit.terms))[:3]
            for side in (-1, 1)
        ]
        found = run(f, PreTrends(estimator=STUDY, bound=float(bound)), inference)
        verdicts.append(found.verdict)
        assert (found.verdict == "pass") == all(far)
    assert {"pass", "inconclusive"} <= set(verdicts)


def test_no_equivalence_where_standard_errors_do_not_hold() -> None:
    f = counties(12, 2)  # t(11) on CR1 is no guide with two treated
    assert run(f, PreTrends(estimator=STUDY, bound=100.0)).verdict != "pass"
    assert run(f, PreTrends(estimator=STUDY, bound=100.0), BiasReduced()).verdict == "pass"


def test_trends_are_those_of_the_regression_by_dummies() -> None:
    f = counties(60, 30)
    found = run(f, PreTrends(estimator=STUDY))
    columns = cases.event_columns(f, "year", "first", 4, 2)
    r = oracles.dummy_regression(f["y"], np.column_stack([*columns.values()]), [f["county"], f["year"]])
    V, _ = oracles.clustered(r, [f["county"]], "cr1")
    box = stats.t.ppf(0.975, 59) * np.sqrt(np.diag(V)[:3])
    away = np.array([-3.0, -2.0, -1.0])
    for power in (50, 80):
        slope = found.table[f"slope_{power}"].iloc[0]
        law = stats.multivariate_normal(slope * away, V[:3, :3], abseps=1e-7, releps=1e-7, maxpts=500_000, seed=1)
        assert 1 - law.cdf(box, lower_limit=-box) == pytest.approx(power / 100, abs=1e-4)
        np.testing.assert_allclose(found.table[f"trend_{power}"], slope * away, rtol=1e-12)
        assert (found.table[f"bias_{power}"] == found.table[f"bias_{power}"].iloc[0]).all()
        assert found.table[f"bias_{power}"].iloc[0] == pytest.approx(slope * (1 + 2 + 3) / 3, rel=1e-12)
        drawn = np.random.default_rng(1).multivariate_normal(slope * np.array([-3, -2, -1, 1, 2, 3]), V, size=400_000)
        passed = drawn[(np.abs(drawn[:, :3]) <= box).all(axis=1), 3:].mean(axis=1)
        error = passed.std() / np.sqrt(len(passed))
        assert found.table[f"bias_unnoticed_{power}"].iloc[0] == pytest.approx(passed.mean(), abs=4 * error)
    row = found.table.iloc[0]
    assert row["bias_unnoticed_80"] > row["bias_80"] > row["bias_50"] > 0  # leads and lags share the base
    for text in (
        f"{row['slope_80']:.4g} per year would be found with 80 %",
        f"bias the average effect by {row['bias_80']:.4g}",
    ):
        assert text in found.summary("en")
    assert f"每年 {row['slope_80']:.4g} 的线性趋势有 80 % 的概率被发现" in found.summary("zh")


def test_a_trend_of_the_slope_is_found_as_often_as_it_says() -> None:
    f = counties(60, 30)
    found = run(f, PreTrends(estimator=STUDY))
    spread = found.table["std_error"].to_numpy()
    limit = stats.t.ppf(0.975, 59) * spread
    # The leads of y are noise around 0; over many panels with the trend put in, some lead is significant in 80 %.
    slope, hits, worlds = float(found.table["slope_80"].iloc[0]), 0, 400
    for seed in range(worlds):
        rng = np.random.default_rng(seed)
        y = rng.normal(size=(60, 7))
        y[:30] += slope * np.arange(-4, 3)
        leads = y[:30].mean(axis=0) - y[30:].mean(axis=0)
        hits += bool((np.abs(leads[:3] - leads[3]) > limit).any())
    assert hits / worlds == pytest.approx(0.8, abs=0.09)  # 4 Monte Carlo errors; the covariance is an estimate, too


def test_trends_scale_with_the_outcome() -> None:
    f = counties(60, 30)
    one, other = (run(frame, PreTrends(estimator=STUDY)) for frame in (f, f.assign(y=f["y"] * -1e6)))
    columns = [c for c in one.table if c.startswith(("slope", "bias", "trend"))]
    assert len(columns) == 8
    np.testing.assert_allclose(other.table[columns], 1e6 * one.table[columns], rtol=1e-7)  # the solver's tolerance


def test_steps_are_called_by_their_name() -> None:
    f = counties(60, 30)
    f["year"] = (f["year"] - 2010).map(lambda q: f"{2010 + q // 4}Q{q % 4 + 1}")
    f["first"] = f["first"].map(lambda y: None if np.isnan(y) else "2011Q1")
    found = run(f, PreTrends(estimator=STUDY))
    assert " per quarter would be found" in found.summary("en")
    assert "每季度" in found.summary("zh")


@pytest.mark.parametrize(("leads", "binned"), [(4, False), (3, True)])
def test_binned_ends_are_mentioned(leads: int, binned: bool) -> None:
    found = run(counties(60, 30), PreTrends(estimator=EventStudy(leads=leads, lags=2)))
    assert ("Binned event times count as the nearest one" in found.summary()) == binned


@pytest.mark.parametrize(
    ("frame", "estimator"),
    [
        (counties(12, 2), STUDY),  # no standard errors that hold
        (counties(60, 30), EventStudy(leads=4, lags=2, reference=(-1, -4))),  # a line through both bases is no trend
        (
            counties(60, 30),
            TwoStage(aggregate="dynamic", leads=3),
        ),  # leads are residuals, not differences from the base
    ],
)
def test_no_trend_is_told_where_leads_cannot_tell(frame: pd.DataFrame, estimator: Any) -> None:
    found = run(frame, PreTrends(estimator=estimator))
    assert "linear trend" not in found.summary()
    assert not [column for column in found.table if column.startswith("slope")]


def with_an_empty_group(total: int, treated: int) -> pd.DataFrame:
    """Counties of group 0, and others of group 1, of which none adopts: there is nothing to estimate."""
    f = counties(total, treated).assign(group=0)
    others = counties(4, 0).assign(group=1)
    return pd.concat([f, others.assign(county=others["county"] + total)], ignore_index=True)


def test_facts_of_a_fit_stay_with_it_where_one_of_several_subgroups_is_left() -> None:
    """Its notes are then those of a subgroup, wrapped in the words that say so."""
    f = with_an_empty_group(60, 30)
    binned, residuals = (
        Split(by="group", estimator=one)
        for one in (EventStudy(leads=3, lags=2), TwoStage(aggregate="dynamic", leads=3))
    )
    assert "Binned event times count as the nearest one" in run(f, PreTrends(estimator=binned)).summary()
    found = run(f, PreTrends(estimator=residuals))
    assert "linear trend" not in found.summary()
    fit = fitted(f, CLUSTER, binned).fit
    assert fit.failed == ("group=1",)
    assert {term.event_time for term in fit.terms if term.binned} == {-3}
    assert not any(part.leads_from_base for part in fitted(f, CLUSTER, residuals).fit.parts)
    within = Sensitivity().run(fitted(f, CLUSTER, binned).spec)
    assert "binned into its ends" in within.summary()
    with pytest.raises(DesignError, match="the leads are not differences from the base"):
        Sensitivity().run(fitted(f, CLUSTER, residuals).spec)


def test_a_base_can_be_binned_too() -> None:
    fit = fitted(counties(60, 30), CLUSTER, EventStudy(leads=2, lags=1, reference=-2)).fit
    assert {(term.event_time, term.role) for term in fit.terms if term.binned} == {(-2, "base"), (1, "effect")}
    whole = fitted(counties(60, 30), CLUSTER, EventStudy(leads=2, lags=1, bin=False)).fit
    assert not any(term.binned for term in whole.terms)


def test_the_joint_inference_can_be_named_in_a_study(tmp_path: Path) -> None:
    study = """
        [[source]]
        name = "counties"
        kind = "Delimited"
        path = "counties.csv"
        [panel]
        sources = ["counties"]
        unit = "county"
        time = "year"
        [design]
        outcome = "y"
        adoption = "first"
        assigned_at = "county"
        [[estimate]]
        name = "main"
        estimator = { kind = "TwoWayFE" }
        inference = { kind = "Cluster" }
        [[check]]
        kind = "PreTrends"
        on = "main"
        estimator = { kind = "EventStudy", leads = 4, lags = 2 }
        joint = { kind = "WildBootstrap", draws = 999, seed = 1 }
    """
    (tmp_path / "study.toml").write_text(study, encoding="utf-8")
    (one,) = read_study(tmp_path).checks
    assert (one.on, one.check) == ("main", PreTrends(estimator=STUDY, joint=WildBootstrap(draws=999, seed=1)))
