"""Outcomes without any effect on the study's own design: known sizes, by draws outside the package; shocks as they were given."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from evalkit import Design, EvalkitError, Finding, Panel, check, collapse, estimate
from evalkit.checks import SelfSize
from evalkit.checks.self_size import Paths, fit_lasting
from evalkit.errors import InferenceError
from evalkit.estimators import CallawaySantAnna, EventStudy, ExtendedTWFE, Imputation, TripleDifference, TwoWayFE
from evalkit.inference import BiasReduced, Classical, Cluster, Robust

TWFE = TwoWayFE()
CLUSTER = Cluster()


def counties(total: int, treated: int, *, years: int = 6, start: int = 2014, seed: int = 1) -> pd.DataFrame:
    """One row per county and year from 2010 on; the first counties adopt in `start`."""
    rng = np.random.default_rng(seed)
    f = pd.DataFrame({"county": np.repeat(np.arange(total), years), "year": np.tile(2010 + np.arange(years), total)})
    f["first"] = np.where(f["county"] < treated, float(start), np.nan)
    f["y"] = rng.normal(size=len(f)) + 0.1 * f["county"] + 5.0 * (f["year"] >= f["first"])
    return f


def cohorts(sizes: dict[int, int], never: int, *, years: int, seed: int = 1) -> pd.DataFrame:
    """Counties by year of adoption, and so many that never adopt, 2010 on."""
    starts = [float(start) for start, size in sizes.items() for _ in range(size)] + [np.nan] * never
    f = counties(len(starts), 0, years=years, seed=seed)
    return f.assign(first=np.array(starts)[f["county"]])


def lasting(total: int, treated: int, rho: float, *, years: int, start: int, seed: int = 3) -> pd.DataFrame:
    """Counties whose shocks last: x(t) = rho x(t-1) + e(t), which has run for 60 years before."""
    rng = np.random.default_rng(seed)
    x = np.zeros((total, years + 60))
    for t in range(1, years + 60):
        x[:, t] = rho * x[:, t - 1] + rng.normal(size=total)
    return counties(total, treated, years=years, start=start).assign(y=x[:, -years:].ravel())


def farms(total: int, treated: int, *, per_county: int = 5, years: int = 7) -> pd.DataFrame:
    """Farms in counties, 2010 on; adoption in 2015. Their outcomes are their own."""
    rng = np.random.default_rng(4)
    n = total * per_county
    f = pd.DataFrame({"farm": np.repeat(np.arange(n), years), "year": np.tile(2010 + np.arange(years), n)})
    f["county"] = f["farm"] // per_county
    f["first"] = np.where(f["county"] < treated, 2015.0, np.nan)
    return f.assign(y=rng.normal(size=len(f)))


def run(f: pd.DataFrame, one: SelfSize, inference: Any = CLUSTER, estimator: Any = TWFE, **design: Any) -> Finding:
    panel = Panel.from_frame(f, unit="farm" if "farm" in f else "county", time="year")
    settings = {"outcome": "y", "adoption": "first", "assigned_at": "county", **design}
    (found,) = check(estimate(panel, Design(**settings), estimator, inference=inference), one)
    return found


def share(found: Finding, world: str) -> float:
    return float(found.table.loc[found.table["world"] == world, "significant"].mean())


# Of 20,000 draws by the linear maps of tests/untreated_oracle.py .4006 reject, and of 6,000 of castle .056: t(G-1) on CR1 errors.
FIVE = cohorts({2014 + i: 1 for i in range(5)}, 15, years=10)
CASTLE = cohorts({2014: 1, 2015: 13, 2016: 4, 2017: 2, 2018: 1}, 29, years=11)


@pytest.mark.parametrize(
    ("frame", "estimator", "truth", "verdict"),
    [(FIVE, Imputation(), 0.401, "fail"), (CASTLE, CallawaySantAnna(), 0.056, "pass")],
    ids=["five single counties", "castle"],
)
def test_the_true_dates_of_adoption_decide_the_size(
    frame: pd.DataFrame, estimator: Any, truth: float, verdict: str
) -> None:
    found = run(frame, SelfSize(draws=120, seed=1), estimator=estimator)
    for world in ("noise", "paths"):  # the outcomes are independent noise: both worlds are alike
        rejected = round(120 * share(found, world))
        assert stats.binomtest(rejected, 120, truth).pvalue > 0.001
    assert found.verdict == verdict
    assert found.statistic == max(share(found, "noise"), share(found, "paths"))


class Watched:
    """An estimator that keeps the outcomes that it sees."""

    def __init__(self, estimator: Any) -> None:
        self.estimator, self.seen = estimator, list[Any]()

    def fit(self, panel: Panel, design: Design, keep: Any = None) -> Any:
        self.seen.append(panel.frame["y"].to_numpy())
        return self.estimator.fit(panel, design, keep)

    def columns(self) -> tuple[str, ...]:
        return ()


def test_outcomes_are_noise_on_the_rows_of_the_study() -> None:
    f = counties(9, 4)
    f = f[(f["county"] != 8) | (f["year"] != 2012)]
    f.loc[f["county"].eq(2) & f["year"].eq(2015), "y"] = np.nan
    watched = Watched(TWFE)
    run(f, SelfSize(draws=20, seed=1), estimator=watched)
    outcomes, present = np.array(watched.seen[1:]), f["y"].notna().to_numpy()  # the first is the study's own
    assert outcomes.shape == (40, len(f))
    assert (np.isnan(outcomes) == ~present).all()
    assert (outcomes[:, present] > 0).all()
    noise = outcomes[:20, present] - outcomes[:20, present].mean(axis=1, keepdims=True)
    assert noise.std() == pytest.approx(1.0, abs=4 / np.sqrt(2 * noise.size))
    together = np.corrcoef(noise.T)[np.triu_indices(present.sum(), 1)]
    assert np.sqrt(np.mean(together**2)) == pytest.approx(1 / np.sqrt(19), rel=0.1)  # of rows, in 20 independent draws


@pytest.mark.parametrize("estimator", [TWFE, EventStudy(leads=3, lags=1)])
def test_the_average_effect_after_adoption_is_judged(estimator: Any) -> None:
    f, watched = counties(9, 4), Watched(estimator)
    found = run(f, SelfSize(draws=20, seed=1), estimator=watched)
    for i in (0, 25):
        drawn = Panel.from_frame(f.assign(y=watched.seen[1 + i]), unit="county", time="year")
        design = Design(outcome="y", adoption="first", assigned_at="county")
        one = estimate(drawn, design, estimator, inference=CLUSTER)
        average = one.average([0, 1] if isinstance(estimator, EventStudy) else ["ATT"]).iloc[0]
        row = found.table.iloc[i]
        assert (row["world"], row["draw"]) == (("noise", 1), ("paths", 6))[i > 0]
        for column in ("estimate", "std_error", "p_value"):
            assert row[column] == pytest.approx(average[column], rel=1e-9)
        assert row["significant"] == (average["p_value"] < 0.05)


def test_shocks_that_last_unmask_errors_that_presume_they_do_not() -> None:
    f = lasting(40, 20, 0.8, years=12, start=2016)
    found = run(f, SelfSize(draws=120, seed=1), Robust())
    assert share(found, "noise") < 0.12
    assert share(found, "paths") > 0.2  # Bertrand, Duflo and Mullainathan: .45 to .68 in wages, over 21 years
    assert found.verdict == "fail"
    assert "rejects true nulls too often under shocks like the units' own" in found.summary("en")
    assert "在与各单位自身相似的冲击下过度拒绝" in found.summary("zh")
    right = run(f, SelfSize(draws=120, seed=1), Cluster())
    assert right.verdict == "pass"
    np.testing.assert_allclose(right.table["estimate"], found.table["estimate"], rtol=1e-9)


def test_lasting_shocks_are_rejected_as_often_as_in_truth() -> None:
    rejected = 0
    for seed in range(300):
        y = lasting(20, 8, 0.7, years=7, start=2014, seed=seed)
        wide = y["y"].to_numpy().reshape(20, 7)
        # TWFE with one date is the difference of mean changes; HC1 is that of the regression by dummies, written out.
        treated = (np.arange(20) < 8).astype(float)
        D = np.outer(treated - treated.mean(), (np.arange(7) >= 4) - 3 / 7)
        clean = wide - wide.mean(axis=1, keepdims=True) - wide.mean(axis=0) + wide.mean()
        b = (D * clean).sum() / (D**2).sum()
        error = np.sqrt(((D * (clean - b * D)) ** 2).sum() * 140 / (140 - 27)) / (D**2).sum()
        rejected += int(2 * stats.t.sf(abs(b) / error, 140 - 27) < 0.05)
    truth = rejected / 300
    assert truth > 0.1
    shares = [
        share(
            run(lasting(20, 8, 0.7, years=7, start=2014, seed=seed), SelfSize(draws=40, seed=seed), Robust()), "paths"
        )
        for seed in range(5)
    ]
    # Binomial errors of 300 and 200 draws, and that of r, which one panel of 20 counties knows to about .15.
    assert np.mean(shares) == pytest.approx(truth, abs=3.3 * np.sqrt(truth * (1 - truth) * (1 / 300 + 1 / 200)) + 0.04)


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("periods", [3, 6])
def test_what_lasts_is_found_from_few_periods(rho: float, periods: int) -> None:
    rng = np.random.default_rng(1)
    now = rng.normal(scale=1 / np.sqrt(1 - rho**2) if rho < 1 else 1.0, size=200_000)
    levels = rng.normal(scale=9.0, size=200_000)  # which say nothing
    x = np.empty((200_000, periods))
    for t in range(periods):
        x[:, t] = levels + now
        now = rho * now + rng.normal(size=200_000)
    assert fit_lasting(x) == pytest.approx(rho, abs=0.02)


def test_paths_have_the_variance_and_autocorrelation_that_they_say() -> None:
    new = np.array([[1.0, -1.0], [3.0, -3.0]])
    drawn = Paths((40_000, 6), 0.6, new).draw(np.random.default_rng(1))
    assert drawn.mean() == pytest.approx(0.0, abs=0.05)
    np.testing.assert_allclose(
        drawn.var(axis=0), 5 / (1 - 0.36), rtol=0.03
    )  # stationary: the mean square of new over 1 - r²
    np.testing.assert_allclose(
        [(drawn[:, h:] * drawn[:, : 6 - h]).mean() / drawn.var() for h in (1, 2, 3)], 0.6 ** np.arange(1, 4), atol=0.02
    )
    steps = np.abs(drawn[:, 1:] - 0.6 * drawn[:, :-1])
    assert (
        np.isclose(steps, 1).all(axis=1) | np.isclose(steps, 3).all(axis=1)
    ).all()  # a unit is like one unit throughout
    walk = Paths((5, 6), 1.0, new).draw(np.random.default_rng(1))
    assert set(np.abs(np.diff(walk)).round(9).ravel()) == {1.0, 3.0}


def test_only_what_came_before_adoption_is_read_and_noise_reads_nothing() -> None:
    f = counties(10, 4)
    other = f.assign(y=f["y"].where(f["year"] < 2014, 1e6 * f["county"]))
    one = run(f, SelfSize(draws=20, seed=1))
    pd.testing.assert_frame_equal(one.table, run(other, SelfSize(draws=20, seed=1)).table, check_exact=True)
    anew = run(f.assign(y=f["y"] ** 3), SelfSize(draws=20, seed=1)).table
    pd.testing.assert_frame_equal(one.table[:20], anew[:20], check_exact=True)
    assert not np.allclose(one.table["p_value"][20:], anew["p_value"][20:])


def test_levels_units_and_scale_of_the_outcome_change_nothing() -> None:
    f = counties(10, 4)
    other = f.assign(y=1e5 + 1e-3 * f["y"] + 50.0 * f["county"] + (f["year"] - 2010) ** 2)
    one, moved = (run(frame, SelfSize(draws=20, seed=1)).table for frame in (f, other))
    np.testing.assert_allclose(one["p_value"], moved["p_value"], rtol=1e-6)
    np.testing.assert_allclose(one["estimate"][20:] * 1e-3, moved["estimate"][20:], rtol=1e-6)


def test_anticipation_and_the_first_cohort_set_the_periods_that_are_read() -> None:
    f = counties(10, 3, years=8, start=2015)
    short = f.assign(first=f["first"].where(f["county"] > 0, 2014.0))
    for frame, design, periods in ((f, {}, 5), (f, {"anticipation": 1}, 4), (short, {}, 4)):
        assert f"in {periods} periods before adoption" in run(frame, SelfSize(draws=20, seed=1), **design).summary()
    always = f.assign(first=f["first"].where(f["county"] > 0, 2010.0))  # has no period before, and is not waited for
    assert "in 5 periods before adoption" in run(always, SelfSize(draws=20, seed=1)).summary()


def test_outcomes_are_drawn_by_seed() -> None:
    f = counties(14, 5)
    one, again, shuffled, other = (
        run(frame, SelfSize(draws=20, seed=seed)).table
        for frame, seed in ((f, 1), (f, 1), (f.sample(frac=1, random_state=2), 1), (f, 2))
    )
    pd.testing.assert_frame_equal(one, again, check_exact=True)
    pd.testing.assert_frame_equal(one, shuffled, check_exact=True)
    assert not np.isclose(one["p_value"], other["p_value"]).any()
    assert one.groupby("world").size().to_dict() == {"noise": 20, "paths": 20}


def test_rows_of_a_county_share_its_shock_also_when_they_are_collapsed() -> None:
    f = farms(14, 6)
    f = f[(f["farm"] % 7 != 0) | (f["year"] != 2016)]
    design = Design(outcome="y", adoption="first", assigned_at="county")
    for inference in (Cluster(), Classical()):
        rows = estimate(Panel.from_frame(f, unit="farm", time="year"), design, TWFE, inference=inference)
        cells = estimate(collapse(f, design, unit="farm", time="year"), design, TWFE, inference=inference)
        one, other = (SelfSize(draws=20, seed=1).run(both.spec).table for both in (rows, cells))
        np.testing.assert_allclose(one["estimate"], other["estimate"], rtol=1e-8)
        np.testing.assert_allclose(one["p_value"], other["p_value"], rtol=1e-6)
    wrong = run(f, SelfSize(draws=100, seed=1), Classical())
    assert wrong.statistic > 0.3  # as if each farm had a shock of its own
    assert "under independent shocks and under shocks like the units' own" in wrong.summary("en")
    assert "在独立冲击以及与各单位自身相似的冲击下过度拒绝" in wrong.summary("zh")


def test_a_triple_difference_draws_for_each_group() -> None:
    f = farms(16, 8).assign(large=lambda f: f["farm"] % 2)
    found = run(f, SelfSize(draws=20, seed=1), estimator=TripleDifference(), eligible="large")
    assert found.table["p_value"].notna().all()
    assert (found.table["std_error"] > 1e-3).all()


def test_a_poisson_regression_sees_small_shocks_around_a_level() -> None:
    f = counties(20, 8).assign(y=lambda f: np.exp(f["y"] / 10))
    found = run(f, SelfSize(draws=20, seed=1), estimator=ExtendedTWFE(family="poisson"))
    assert found.table["p_value"].notna().all()
    linear = run(f, SelfSize(draws=20, seed=1), estimator=ExtendedTWFE())
    np.testing.assert_allclose(found.table["p_value"], linear.table["p_value"], atol=0.1)


def test_a_test_that_hardly_rejects_is_conservative() -> None:
    found = run(counties(20, 2), SelfSize(draws=150, seed=1), BiasReduced())  # .003, with two treated of 20
    assert found.statistic < 0.03
    assert found.verdict == "pass"
    assert "it is conservative" in found.summary("en")
    assert "偏保守" in found.summary("zh")


def test_few_draws_cannot_pass() -> None:
    found = run(counties(20, 10), SelfSize(draws=60, seed=1), BiasReduced())
    assert found.verdict == "inconclusive"
    assert "too few draws to tell" in found.summary("en")
    assert "无法判断" in found.summary("zh")


def test_p_values_called_unsupported_are_counted() -> None:
    found = run(counties(20, 1), SelfSize(draws=100, seed=1))  # one treated county: CR1 rejects .65
    assert found.statistic > 0.4
    assert found.verdict == "fail"
    low, high = (
        100 * stats.beta.ppf(p, a, b)
        for k in [round(100 * share(found, "noise"))]
        for p, a, b in ((0.005, k, 101 - k), (0.995, k + 1, 100 - k))
    )
    told = f"{100 * share(found, 'noise'):.1f} % of 100 draws of independent shocks (99 % interval {low:.1f} to {high:.1f} %)"
    assert told in found.summary("en")
    assert "1 of 20 units of assignment, county" in found.summary("en")


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (counties(8, 3, start=2012), "2 periods lie before the first adoption and anticipation, and 3 are needed"),
        (counties(4, 2), "4 of 4 are observed in all 4 periods before adoption, and 5 are needed"),
        (counties(8, 3).assign(y=lambda f: f["county"] * (f["year"] - 2000.0)), "before adoption all units move alike"),
    ],
)
def test_without_paths_the_check_rests_on_noise(frame: pd.DataFrame, words: str) -> None:
    panel = Panel.from_frame(frame, unit="county", time="year")
    spec = replace(
        estimate(
            Panel.from_frame(
                frame.assign(y=np.random.default_rng(1).normal(size=len(frame))), unit="county", time="year"
            ),
            Design(outcome="y", adoption="first", assigned_at="county"),
            TWFE,
            inference=CLUSTER,
        ).spec,
        panel=panel,
    )
    found = SelfSize(draws=20, seed=1).run(spec)
    assert f"(shocks like the units' own are not drawn: {words}" in found.summary("en")
    assert "未模拟与各单位自身相似的冲击" in found.summary("zh")
    assert set(found.table["world"]) == {"noise"}


class Moody(Cluster):
    """Refuses where the estimate is negative, and in the world of paths, whose scale is far larger, always."""

    def assess(self, fit: Any, spec: Any) -> Any:
        if fit.coefficients[0] < 0 or abs(fit.coefficients[0]) > 100:
            raise InferenceError("not today", remedy="wait")
        return super().assess(fit, spec)


def test_draws_that_cannot_be_judged_are_counted_apart() -> None:
    f = counties(10, 4)
    spec = estimate(
        Panel.from_frame(f, unit="county", time="year"),
        Design(outcome="y", adoption="first", assigned_at="county"),
        TWFE,
        inference=CLUSTER,
    ).spec
    found = SelfSize(draws=40, seed=1).run(replace(spec, inference=Moody()))
    for world in ("noise", "paths"):
        of = found.table[found.table["world"] == world]
        failed = int((of["why"] == "not today. Remedy: wait.").sum())
        assert 0 < failed == int(of["p_value"].isna().sum()) < 40
        assert f"{40 - failed} draws of" in found.summary("en")
        assert f"; {failed} more could not be judged" in found.summary("en")
        assert f"另有 {failed} 次无法判断" in found.summary("zh")
    far = f.assign(y=f["y"] * 1e6)
    found = SelfSize(draws=40, seed=1).run(
        replace(spec, inference=Moody(), panel=Panel.from_frame(far, unit="county", time="year"))
    )
    assert "shocks like the units' own are not drawn: none can be judged (not today" in found.summary()
    assert found.statistic == found.table["significant"][:40].sum() / found.table["p_value"][:40].notna().sum()


def test_what_nothing_can_judge_is_refused() -> None:
    one = estimate(
        Panel.from_frame(counties(9, 2), unit="county", time="year"),
        Design(outcome="y", adoption="first", assigned_at="county"),
        TWFE,
        inference=BiasReduced(),
    )
    fewer = Panel.from_frame(counties(9, 1), unit="county", time="year")
    with pytest.raises(EvalkitError, match="no outcome that is drawn can be judged"):
        SelfSize(draws=20, seed=1).run(replace(one.spec, panel=fewer))


def test_a_seed_is_asked_for() -> None:
    with pytest.raises(
        EvalkitError, match=r"no seed is given. Remedy: give seed=, for example SelfSize\(draws=200, seed=1\)"
    ):
        run(counties(8, 3), SelfSize())


@pytest.mark.parametrize("settings", [{"draws": 5}, {"draws": 2.5}, {"seed": -1}, {"seed": True}])
def test_settings_are_checked(settings: dict[str, Any]) -> None:
    with pytest.raises(EvalkitError, match="give a whole number"):
        SelfSize(**settings)
