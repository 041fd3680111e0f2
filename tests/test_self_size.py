"""Placebo laws on the study's own periods before adoption, against the same written with dummies, and known sizes."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import oracles
from evalkit import Design, EvalkitError, Finding, Panel, check, estimate
from evalkit.checks import SelfSize
from evalkit.estimators import EventStudy, TwoWayFE
from evalkit.inference import BiasReduced, Classical, Cluster

TWFE = TwoWayFE()
CLUSTER = Cluster()


def counties(total: int, treated: int, *, years: int = 6, start: int = 2014, seed: int = 1) -> pd.DataFrame:
    """One row per county and year from 2010 on; the first counties adopt in `start`."""
    rng = np.random.default_rng(seed)
    f = pd.DataFrame({"county": np.repeat(np.arange(total), years), "year": np.tile(2010 + np.arange(years), total)})
    f["first"] = np.where(f["county"] < treated, float(start), np.nan)
    f["y"] = rng.normal(size=len(f)) + 0.1 * f["county"] + 5.0 * (f["year"] >= f["first"])
    return f


def farms(total: int, treated: int, *, shock: float, per_county: int = 10, years: int = 7) -> pd.DataFrame:
    """Farms in counties that share a shock in each year, 2010 on; adoption in 2015."""
    rng = np.random.default_rng(4)
    n = total * per_county
    f = pd.DataFrame({"farm": np.repeat(np.arange(n), years), "year": np.tile(2010 + np.arange(years), n)})
    f["county"] = f["farm"] // per_county
    f["first"] = np.where(f["county"] < treated, 2015.0, np.nan)
    own = rng.normal(size=len(f))
    own -= pd.Series(own).groupby([f["county"], f["year"]]).transform("mean").to_numpy()
    f["y"] = own + shock * rng.normal(size=(total, years))[f["county"], f["year"] - 2010]
    return f


def run(
    f: pd.DataFrame,
    one: SelfSize,
    inference: Any = CLUSTER,
    estimator: Any = TWFE,
    **design: Any,
) -> Finding:
    panel = Panel.from_frame(f, unit="farm" if "farm" in f else "county", time="year")
    settings = {"outcome": "y", "adoption": "first", "assigned_at": "county", **design}
    (found,) = check(estimate(panel, Design(**settings), estimator, inference=inference), one)
    return found


def test_every_law_is_the_regression_by_dummies() -> None:
    f = counties(7, 3)
    found = run(f, SelfSize())
    before = f[f["year"] < 2014]
    laws = [(date, chosen) for date in (2011, 2012, 2013) for chosen in combinations(range(7), 3)]
    assert found.table[["start", "treated"]].to_numpy().tolist() == [[str(d), ", ".join(map(str, c))] for d, c in laws]
    expected = []
    for date, chosen in laws:
        D = (before["county"].isin(chosen) & (before["year"] >= date)).to_numpy(float)
        r = oracles.dummy_regression(before["y"], D[:, None], [before["county"], before["year"]])
        error = float(np.sqrt(oracles.clustered(r, [before["county"]], "cr1")[0][0, 0]))
        expected.append([float(r.b[0]), error, float(2 * stats.t.sf(abs(r.b[0]) / error, 6))])
    np.testing.assert_allclose(found.table[["estimate", "std_error", "p_value"]], expected, rtol=1e-8, atol=1e-12)
    rejected = int((np.array(expected)[:, 2] < 0.05).sum())
    assert found.statistic == rejected / 105
    assert found.table["significant"].sum() == rejected > 0
    # The exact binomial interval by quantiles of beta.
    low, high = stats.beta.ppf(0.005, rejected, 106 - rejected), stats.beta.ppf(0.995, rejected + 1, 105 - rejected)
    assert f"(99 % interval {100 * low:.1f} to {100 * high:.1f} %)" in found.summary()
    assert f"{100 * rejected / 105:.1f} % are significant at the 5 % level" in found.summary("en")
    assert f"{100 * rejected / 105:.1f} % 在 5 % 水平上显著" in found.summary("zh")
    assert "7 units of assignment, county; 4 periods before adoption; all that there are" in found.summary()
    assert found.bound == 0.05


def test_outcomes_after_adoption_are_not_looked_at() -> None:
    f = counties(7, 3)
    other = f.assign(y=f["y"].where(f["year"] < 2014, 1e6 * f["county"]))
    pd.testing.assert_frame_equal(run(f, SelfSize()).table, run(other, SelfSize()).table, check_exact=True)


def test_the_anticipation_window_and_earlier_cohorts_leave() -> None:
    f = counties(7, 3, years=8, start=2015)
    short = counties(7, 3, years=8, start=2015)
    short["first"] = short["first"].where(short["county"] > 0, 2014.0)  # the first cohort decides for all
    for frame, design in ((f, {"anticipation": 1}), (short, {})):
        found = run(frame, SelfSize(), **design)
        assert "4 periods before adoption" in found.summary()
        assert sorted(found.table["start"].unique()) == ["2011", "2012", "2013"]


def test_laws_are_drawn_by_seed() -> None:
    f = counties(14, 5)
    one, again, shuffled, other = (
        run(frame, SelfSize(draws=40, seed=seed))
        for frame, seed in ((f, 1), (f, 1), (f.sample(frac=1, random_state=2), 1), (f, 2))
    )
    pd.testing.assert_frame_equal(one.table, again.table, check_exact=True)
    pd.testing.assert_frame_equal(one.table, shuffled.table, check_exact=True)
    assert not one.table["treated"].equals(other.table["treated"])
    assert len(one.table) == 40
    assert {len(chosen.split(", ")) for chosen in one.table["treated"]} == {5}
    assert set(one.table["start"]) == {"2011", "2012", "2013"}
    assert "drawn at random" in one.summary("en")
    assert "随机抽取" in one.summary("zh")


def test_shocks_of_counties_unmask_independent_errors() -> None:
    f = farms(14, 6, shock=1.0)
    wrong = run(f, SelfSize(draws=150, seed=1), Classical())
    assert wrong.statistic > 0.2  # Bertrand, Duflo and Mullainathan found .45 to .68
    assert wrong.verdict == "fail"
    assert "rejects true nulls too often" in wrong.summary("en")
    assert "过度拒绝" in wrong.summary("zh")
    right = run(f, SelfSize(draws=150, seed=1), BiasReduced())
    assert right.verdict == "pass"
    np.testing.assert_allclose(right.table["estimate"], wrong.table["estimate"], rtol=1e-9)


def test_errors_that_cancel_within_counties_make_it_conservative() -> None:
    found = run(farms(14, 6, shock=0.01), SelfSize(draws=150, seed=1), Classical())
    assert found.statistic == 0.0
    assert found.verdict == "pass"
    assert "conservative" in found.summary("en")
    assert "偏保守" in found.summary("zh")


def test_few_laws_cannot_pass() -> None:
    found = run(counties(6, 1), SelfSize(), Classical())
    assert len(found.table) == 18  # six counties, three dates
    assert found.verdict == "inconclusive"
    assert "too few to tell" in found.summary("en")
    assert "无法判断" in found.summary("zh")


def test_p_values_called_unsupported_are_counted() -> None:
    found = run(
        counties(20, 1, years=9, start=2018), SelfSize(), Cluster()
    )  # one treated county: CR1 rejects .4 and more
    assert len(found.table) == 20 * 7
    assert found.statistic > 0.3
    assert found.verdict == "fail"


def test_the_average_after_adoption_is_judged() -> None:
    f = counties(7, 3)
    found = run(f, SelfSize(), estimator=EventStudy(leads=2, lags=1))
    law = f[f["year"] < 2014].assign(first=np.where(f.loc[f["year"] < 2014, "county"] < 3, 2012.0, np.nan))
    one = estimate(
        Panel.from_frame(law, unit="county", time="year"),
        Design(outcome="y", adoption="first", assigned_at="county"),
        EventStudy(leads=2, lags=1),
        inference=Cluster(),
    )
    average = one.average([0, 1]).iloc[0]
    row = found.table[(found.table["start"] == "2012") & (found.table["treated"] == "0, 1, 2")].iloc[0]
    assert (row["estimate"], row["p_value"]) == pytest.approx((average["estimate"], average["p_value"]), rel=1e-9)


def test_laws_that_cannot_be_estimated_are_counted_apart() -> None:
    f = counties(6, 1)
    f = f[(f["county"] != 5) | (f["year"] >= 2013)]  # there in one period before adoption only
    found = run(f, SelfSize(), Classical())
    assert found.table["why"].str.contains("before its adoption").sum() == 3
    assert "15 placebo laws" in found.summary()
    assert "3 more could not be estimated" in found.summary()


def test_bias_reduced_with_one_treated_judges_nothing() -> None:
    f = counties(9, 2)
    panel = Panel.from_frame(f, unit="county", time="year")
    one = estimate(
        panel, Design(outcome="y", adoption="first", assigned_at="county"), TwoWayFE(), inference=BiasReduced()
    )
    fewer = Panel.from_frame(f.assign(first=f["first"].where(f["county"] != 1)), unit="county", time="year")
    with pytest.raises(EvalkitError, match="no placebo law can be judged"):
        SelfSize().run(replace(one.spec, panel=fewer))


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (counties(8, 3, start=2012), "there are 2 periods before the first adoption"),
        (counties(14, 5), "more than draws = 200"),
        (counties(6, 6).assign(first=lambda f: 2013.0 + f["county"] % 2), "leave none to compare with"),
    ],
)
def test_what_cannot_be_done_is_refused(frame: pd.DataFrame, words: str) -> None:
    with pytest.raises(EvalkitError, match=words):
        run(frame, SelfSize())


@pytest.mark.parametrize("settings", [{"draws": 5}, {"draws": 2.5}, {"seed": -1}, {"seed": True}])
def test_settings_are_checked(settings: dict[str, Any]) -> None:
    with pytest.raises(EvalkitError, match="give a whole number"):
        SelfSize(**settings)
