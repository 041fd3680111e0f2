"""ByDesign: the design chooses the inference, and the others stand beside it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from evalkit import Design, Panel, estimate
from evalkit.errors import InferenceError
from evalkit.estimators import CallawaySantAnna, EventStudy, Split, TwoWayFE
from evalkit.inference import BiasReduced, ByDesign, Cluster, Jackknife, Permutation, PooledGroups, WildBootstrap
from evalkit.results.estimation import Estimate


def counties(n: int, treated: int, *, seed: int = 1, farms: int = 1, first: Any = 2) -> pd.DataFrame:
    """`n` counties with as many farms each over four years, the first `treated` of them treated in year 2."""
    rng = np.random.default_rng(seed)
    farm = np.repeat(np.arange(n * farms), 4)
    f = pd.DataFrame({"farm": farm, "year": np.tile(np.arange(4), n * farms), "county": farm // farms})
    f["first"] = np.where(f["county"] < treated, first, np.nan)
    f["x"] = rng.normal(size=len(f))
    f["y"] = rng.normal(size=len(f)) + rng.normal(size=(n, 4))[f["county"], f["year"]]
    return f


def run(frame: pd.DataFrame, estimator: Any = None, inference: Any = None, **design: Any) -> Estimate:
    panel = Panel.from_frame(frame, unit="farm", time="year")
    settings = {"outcome": "y", "adoption": "first", "assigned_at": "county", **design}
    return estimate(panel, Design(**settings), estimator or TwoWayFE(), inference=inference or ByDesign())


def methods(one: Estimate) -> pd.DataFrame:
    table = one.uncertainty.alternatives
    assert table is not None
    return table


def chosen(one: Estimate) -> str:
    """Name and level of the headline, which is one method alone."""
    rows = methods(one)
    assert len(rows[rows["headline"]].groupby(["method", "level", "estimand"])) == 1
    row = rows[rows["headline"]].iloc[0]
    return f"{row['method']} by {row['level']}"


@pytest.mark.parametrize(
    ("n", "treated", "method"),
    [
        (9, 1, PooledGroups()),
        (9, 8, PooledGroups()),
        (9, 2, BiasReduced()),
        (9, 7, BiasReduced()),
        (12, 3, BiasReduced()),
        (40, 20, BiasReduced()),
    ],
)
def test_the_smaller_of_treated_and_controls_decides(n: int, treated: int, method: Any) -> None:
    one = run(counties(n, treated))
    assert chosen(one) == f"{type(method).__name__} by county"
    pd.testing.assert_frame_equal(one.tidy(), one.under(method).tidy())
    assert one.uncertainty.unsupported is None


def test_a_single_treated_county_with_a_covariate_is_ranked() -> None:
    one = run(counties(9, 1), covariates=("x",))
    assert chosen(one) == "Permutation by county"
    assert one.pvalues["ATT"] == one.under(Permutation()).pvalues["ATT"]
    assert one.uncertainty.smallest_p == pytest.approx(1 / 9)
    assert "could give a p below 0.111" in str(one.uncertainty.sentence)


def test_one_sentence_says_what_the_design_can_show() -> None:
    one, two, many = (run(counties(12, treated)) for treated in (1, 2, 4))
    for run_, words in ((one, "its own shock"), (two, "only large effects"), (many, "4 treated at one date, 8 not")):
        sentence = run_.uncertainty.sentence
        assert sentence is not None
        assert words in sentence.text("en")
        assert "处理" in sentence.text("zh")
        assert sentence in run_.notes
        assert words in run_.summary()


def test_the_effect_that_would_be_missed_follows_from_the_error_and_its_degrees_of_freedom() -> None:
    one = run(counties(9, 1))
    error = one.bse["ATT"]
    critical = stats.t.ppf(0.975, 7)
    words = str(one.uncertainty.sentence)
    effect = float(words.partition("below about ")[2].split()[0])
    power = stats.nct.sf(critical, 7, effect / error) + stats.nct.cdf(-critical, 7, effect / error)
    assert power == pytest.approx(0.8, abs=0.005)  # the effect is printed with three digits


def test_every_method_stands_in_the_table_with_what_it_says_or_why_it_refuses() -> None:
    frame = counties(9, 1)
    one = run(frame)
    table = methods(one).set_index("method")
    assert list(table.index) == ["Cluster", "BiasReduced", "Jackknife", "WildBootstrap", "PooledGroups", "Permutation"]
    assert not table.loc["Cluster", "supported"]
    assert np.isnan(table.loc["BiasReduced", "p_value"])
    assert "cannot be estimated" in str(table.loc["BiasReduced", "remark"])
    for method in (Cluster(), WildBootstrap(), PooledGroups(), Permutation()):
        own = one.under(method).tidy().iloc[0]
        row = table.loc[type(method).__name__]
        for column in ("estimate", "std_error", "p_value", "conf_low", "conf_high"):
            np.testing.assert_equal(row[column], own[column])


def test_draws_are_for_what_cannot_be_enumerated() -> None:
    frame = counties(20, 6)
    without, drawn = methods(run(frame)), methods(run(frame, inference=ByDesign(draws=199, seed=3)))
    refused = without.set_index("method").loc[["WildBootstrap", "Permutation"]]
    assert refused["p_value"].isna().all()
    assert drawn["p_value"].notna().all()


@pytest.mark.parametrize("setting", [{"draws": 99}, {"seed": 1}, {"draws": 5, "seed": 1}, {"draws": 99, "seed": -1}])
def test_bad_settings(setting: Any) -> None:
    with pytest.raises(InferenceError):
        ByDesign(**setting)


def test_shocks_shared_above_move_the_headline_up() -> None:
    frame = counties(18, 6)
    frame["prefecture"] = frame["county"] // 6  # all treated counties lie in one of three
    one = run(frame, above="prefecture")
    assert chosen(one) == "PooledGroups by prefecture"
    assert one.uncertainty.clusters.total == 3
    assert one.uncertainty.smallest_p == pytest.approx(1 / 3)
    assert "prefecture, the level above county" in str(one.uncertainty.sentence)
    by_county = run(frame)
    assert chosen(by_county) == "BiasReduced by county"
    assert one.params["ATT"] == pytest.approx(by_county.params["ATT"], rel=1e-12)
    own = methods(one)[lambda t: t["level"] == "county"].set_index("method")
    assert own.loc["BiasReduced", "p_value"] == by_county.pvalues["ATT"]


def test_a_level_above_that_holds_treated_and_others_is_clustered_by() -> None:
    frame = counties(24, 8)
    frame["prefecture"] = frame["county"] % 8  # in each, one treated county and two others
    one = run(frame, above="prefecture")
    assert chosen(one) == "BiasReduced by prefecture"
    assert one.pvalues["ATT"] == run(frame, inference=BiasReduced(by="prefecture")).pvalues["ATT"]


def test_one_county_that_adopts_by_itself_does_not_decide_for_all() -> None:
    frame = counties(14, 6, first=2)
    frame.loc[frame["county"] < 1, "first"] = 1
    one = run(frame, CallawaySantAnna())
    assert chosen(one) == "Jackknife by county"
    assert one.uncertainty.unsupported is None
    assert one.pvalues["ATT"] == one.under(Jackknife()).pvalues["ATT"]
    assert "6 treated at 2 dates, 8 not" in str(one.uncertainty.sentence)


def test_where_only_draws_can_judge_the_sentence_says_which() -> None:
    """One of 20 adopts at another date than any other: too many assignments to go through, and no method without draws."""
    frame = counties(60, 3, first=2)
    frame["first"] = frame["first"].mask(frame["county"] == 0, 1).mask(frame["county"] == 1, 3)
    frame["weight"] = np.where(frame["county"] == 0, 50.0, 1.0)
    one = run(frame, CallawaySantAnna(), weights="weight")
    assert chosen(one) == "Cluster by county"
    assert one.uncertainty.unsupported is not None
    assert "ByDesign(draws=9999, seed=1)" in str(one.uncertainty.sentence)
    assert "ByDesign(draws=9999, seed=1)" in one.summary("zh")
    assert "No method can judge" not in one.summary()
    drawn = run(frame, CallawaySantAnna(), ByDesign(draws=99, seed=1), weights="weight")
    assert chosen(drawn) == "Permutation by county"
    assert drawn.uncertainty.unsupported is None


def test_many_clusters_without_a_regression_are_not_estimated_anew_for_each() -> None:
    one = run(counties(310, 100), CallawaySantAnna())
    assert type(one.spec.inference).__name__ == "ByDesign"
    pd.testing.assert_frame_equal(one.tidy(), one.under(Cluster()).tidy())


def test_the_estimate_in_which_counties_weigh_alike_stands_beside_it() -> None:
    frame = counties(8, 3, farms=3)
    frame = frame[~((frame["county"] == 0) & (frame["farm"] % 3 > 0))]  # one treated county has a single farm
    one = run(frame)
    means = frame.assign(post=frame["year"] >= 2).groupby(["county", "post"])["y"].mean().unstack()
    change = means[True] - means[False]
    treated = change.index < 3
    alike = methods(one)[lambda t: t["estimand"] == "alike"].set_index("method")
    assert list(alike.index) == ["BiasReduced", "PooledGroups"]
    assert alike.loc["PooledGroups", "estimate"] == pytest.approx(
        change[treated].mean() - change[~treated].mean(), rel=1e-10
    )
    assert alike.loc["PooledGroups", "p_value"] == pytest.approx(
        stats.ttest_ind(change[treated], change[~treated]).pvalue, rel=1e-9
    )
    assert not (methods(run(counties(8, 3, farms=3)))["estimand"] == "alike").any()


def test_counties_treated_throughout_stay_treated_where_counties_weigh_alike() -> None:
    """From the first period on, and from before it: in means by county, too, they are no comparison."""
    f = counties(9, 3, farms=3, first=1).assign(year=lambda f: f["year"] + 2010, first=lambda f: f["first"] + 2010)
    f["first"] = f["first"].mask(f["county"] == 3, 2010).mask(f["county"] == 4, 1990)
    f = f[f["farm"] % 9 > 1]  # counties of unlike size
    alike = methods(run(f, EventStudy(leads=1, lags=1)))[lambda t: t["estimand"] == "alike"].set_index("method")
    means = f.groupby(["county", "year"], as_index=False)[["first", "y"]].mean()
    event = (means["year"] - means["first"]).clip(-1, 1)
    terms = np.column_stack([event == e for e in (0, 1)]).astype(float)
    X = pd.get_dummies(means[["county", "year"]].astype(str), drop_first=True, dtype=float)
    b = np.linalg.lstsq(np.column_stack([terms, np.ones(len(X)), X]), means["y"], rcond=None)[0]
    assert alike.loc["BiasReduced", "estimate"] == pytest.approx((b[0] + b[1]) / 2, rel=1e-9)


def test_subgroups_and_their_gap_are_judged() -> None:
    frame = counties(10, 4, farms=4)
    frame["large"] = frame["farm"] % 2
    one = run(frame, Split(by="large", estimator=TwoWayFE()))
    gap = methods(one)[lambda t: (t["effect"] == "ATT [large=1] - ATT [large=0]") & t["headline"]].iloc[0]
    direct = one.contrast("ATT [large=1]", "ATT [large=0]").iloc[0]
    assert (gap["estimate"], gap["p_value"]) == (direct["estimate"], direct["p_value"])


def test_an_event_study_is_judged_by_its_average_after_adoption() -> None:
    one = run(counties(10, 4), EventStudy(leads=2, lags=1))
    row = methods(one)[lambda t: t["headline"]].iloc[0]
    assert row["p_value"] == one.average([0, 1])["p_value"].iloc[0]


def test_a_county_with_most_of_the_weight_moves_the_headline_to_permutations() -> None:
    frame = counties(8, 3)
    frame["weight"] = np.where(frame["county"] == 0, 6.0, 1.0)
    one = run(frame, weights="weight")
    assert chosen(one) == "Permutation by county"
    assert "of its variance comes of county 0 alone" in str(one.uncertainty.sentence)
    frame["weight"] = np.where(frame["county"] == 0, 3.0, 1.0)
    assert chosen(run(frame, weights="weight")) == "BiasReduced by county"
    many = counties(20, 6)  # too many assignments to enumerate
    many["weight"] = np.where(many["county"] == 0, 20.0, 1.0)
    assert chosen(run(many, weights="weight")) == "Cluster by county"  # with a †, and what draws to ask for
    assert chosen(run(many, inference=ByDesign(draws=99, seed=1), weights="weight")) == "Permutation by county"


def test_an_event_time_that_one_county_carries_leaves_the_others_to_the_jackknife() -> None:
    """The first county to adopt is the only one that is seen two years after."""
    frame = counties(14, 6, first=2)
    frame.loc[frame["county"] < 1, "first"] = 1
    for estimator in (CallawaySantAnna(aggregate="dynamic"), EventStudy(leads=1, lags=2)):
        one = run(frame, estimator)
        assert chosen(one).startswith(("Jackknife", "BiasReduced"))
        tidy = one.tidy().set_index("term")
        assert np.isnan(tidy.loc["ATT(e=2)", "std_error"])
        assert tidy.loc[["ATT(e=0)", "ATT(e=1)"], "supported"].all()
        if "ATT" not in tidy.index:  # else the average over all is the estimator's own
            assert "ATT(e=2): rests on fewer than two units" in str(one.uncertainty.sentence)
            assert "mostly county 0" in str(one.uncertainty.sentence)
        assert np.isfinite(one.glance()["df"].iloc[0])
