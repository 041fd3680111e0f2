"""Simultaneous intervals: the multiplier bootstrap by hand and against diff-diff, bands by every distribution that has draws."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm

import cases
from evalkit import Design, Estimate, Panel, estimate
from evalkit.errors import DataError, InferenceError
from evalkit.estimators import CallawaySantAnna, EventStudy, Split, TwoWayFE
from evalkit.inference import Classical, Cluster, Multiplier, WildBootstrap
from evalkit.numerics.wild import draw_weights

YEARS = np.arange(2010, 2016)


def frame(counties: int = 40, treated: int = 15, farms: int = 2) -> pd.DataFrame:
    """Farms in counties, every one in every year, shocks by county and year; adoption in 2013."""
    rng = np.random.default_rng(8)
    f = pd.DataFrame({"farm": np.repeat(np.arange(counties * farms), 6), "year": np.tile(YEARS, counties * farms)})
    f["county"] = f["farm"] // farms
    f["large"] = f["farm"] % 2
    f["income"] = rng.normal(size=len(f))
    f["first"] = np.where(f["county"] < treated, 2013.0, np.nan)
    f["y"] = rng.normal(size=len(f)) + rng.normal(size=(counties, 6))[f["county"], f["year"] - 2010]
    return f


def run(f: pd.DataFrame, estimator: object = None, inference: object = None, **change: object) -> Estimate:
    design = Design(**{"outcome": "y", "adoption": "first", "assigned_at": "county", **change})
    panel = Panel.from_frame(f, unit="farm", time="year")
    return estimate(panel, design, estimator or EventStudy(leads=3, lags=2), inference=inference or multiplier())


def multiplier(draws: int = 999, **change: object) -> Multiplier:
    return Multiplier(**{"draws": draws, "seed": 4, **change})


def county_steps(f: pd.DataFrame) -> pd.DataFrame:
    """Each county's mean in a year less that of 2012: an effect is a difference of means of these over the counties."""
    means = f.pivot_table(index="county", columns="year", values="y")
    return means.sub(means[2012], axis=0).drop(columns=2012)


def influence_by_hand(f: pd.DataFrame) -> np.ndarray:
    steps, treated = county_steps(f), f.groupby("county")["first"].first().notna().to_numpy()
    side = np.where(treated, 1.0, -1.0)
    deviations = steps - steps.groupby(treated).transform("mean")
    return deviations.to_numpy() * (side / np.where(treated, treated.sum(), (~treated).sum()))[:, None]


def test_intervals_are_those_of_signs_on_the_influence_of_counties_by_hand() -> None:
    f = frame()
    one = run(f).tidy().dropna(subset="std_error")
    influence = influence_by_hand(f)
    error = np.sqrt((influence**2).sum(axis=0))
    (signs,) = draw_weights(n_clusters=40, weights="rademacher", draws=999, seed=4)
    largest = np.abs(signs @ influence / error).max(axis=1)
    critical = np.sort(largest)[-50]  # 50 of 999 draws are as large, which makes p = 51/1000
    np.testing.assert_allclose(one["std_error"], error, rtol=1e-10)  # rounding
    np.testing.assert_allclose((one["conf_high"] - one["estimate"]) / one["std_error"], critical, rtol=1e-10)
    np.testing.assert_allclose((one["estimate"] - one["conf_low"]) / one["std_error"], critical, rtol=1e-10)


def test_the_critical_value_is_that_of_the_normal_vector_with_the_same_correlations() -> None:
    f = frame(counties=400, treated=200, farms=1)
    one = run(f, inference=multiplier(draws=9999))
    V = one.vcov().drop(index="ATT(e=-1)", columns="ATT(e=-1)").to_numpy()
    correlation = V / np.sqrt(np.outer(np.diag(V), np.diag(V)))
    drawn = np.random.default_rng(1).multivariate_normal(np.zeros(len(V)), correlation, size=200_000)
    expected = np.quantile(np.abs(drawn).max(axis=1), 0.95)
    # 9,999 draws place the quantile within 1.5 % (two Monte Carlo standard errors).
    assert one.bands()["critical"].dropna().unique() == pytest.approx(expected, rel=0.02)


def test_bands_are_as_wide_as_those_of_diff_diff() -> None:
    from diff_diff import CallawaySantAnna as Peer

    f = cases.mpdta()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peer = Peer(estimation_method="reg", n_bootstrap=4999, seed=1, control_group="never_treated").fit(
            f, outcome="lemp", unit="countyreal", time="year", first_treat="first", aggregate="event_study"
        )
    design = Design(outcome="lemp", adoption="first", assigned_at="countyreal", comparison="never_treated")
    panel = Panel.from_frame(f.assign(first=f["first"].where(f["first"] > 0)), unit="countyreal", time="year")
    estimator = CallawaySantAnna(aggregate="dynamic", method="reg")
    one = estimate(panel, design, estimator, inference=multiplier(draws=4999))
    bands = one.bands([term for term in one.params.index if term != "ATT"]).set_index("event_time")
    assert len(bands) == 7
    for event_time, theirs in peer.event_study_effects.items():
        row = bands.loc[event_time]
        assert row["estimate"] == pytest.approx(theirs["effect"], rel=1e-8)
        # Both are drawn, and theirs divides by the spread of its draws: 4 % is three Monte Carlo standard errors.
        low, high = theirs["cband_conf_int"]
        assert row["conf_high"] - row["conf_low"] == pytest.approx(high - low, rel=0.04)


@pytest.mark.parametrize("estimator", [TwoWayFE(), EventStudy(leads=3, lags=2), CallawaySantAnna(aggregate="dynamic")])
@pytest.mark.parametrize("by", [None, "farm"])
def test_errors_and_p_values_are_those_of_cluster_without_a_factor(estimator: object, by: str | None) -> None:
    one = run(frame(), estimator, multiplier(by=by))
    plain = one.under(Cluster(by, correction="none"))
    pd.testing.assert_frame_equal(one.vcov(), plain.vcov(), rtol=1e-12)
    pd.testing.assert_series_equal(one.pvalues, plain.pvalues, rtol=1e-10)
    assert one.glance()["df"].tolist() == plain.glance()["df"].tolist() == [39.0 if by is None else 79.0]


def test_a_combination_has_a_critical_value_of_its_own_and_a_multiple_of_an_effect_that_of_all() -> None:
    one = run(frame())
    wide = one.bands()["critical"].max()
    mean = one.average([0, 1, 2]).iloc[0]
    alone = (mean["conf_high"] - mean["estimate"]) / mean["std_error"]
    weights = one.params.index.isin(["ATT(e=0)", "ATT(e=1)", "ATT(e=2)"]) / 3
    assert alone == pytest.approx(one.distribution.critical(weights[None], 0.95))
    assert 2.0 < alone < wide - 0.2
    double = one.combination({"ATT(e=1)": 2.0}, "double").iloc[0]
    single = one.tidy().set_index("term").loc["ATT(e=1)"]
    assert [double["conf_low"], double["conf_high"]] == pytest.approx([2 * single["conf_low"], 2 * single["conf_high"]])
    gap = one.contrast("ATT(e=1)", "ATT(e=0)").iloc[0]
    assert (gap["conf_high"] - gap["estimate"]) / gap["std_error"] < wide


def test_one_effect_has_the_interval_of_t_where_signs_alone_would_give_less() -> None:
    f = frame(counties=10, treated=5)
    one, plain = run(f, TwoWayFE()), run(f, TwoWayFE(), Cluster(correction="none"))
    np.testing.assert_allclose(one.conf_int(), plain.conf_int(), rtol=1e-10)
    steep = one.distribution.statistics(np.ones((1, 1)))
    assert np.quantile(steep, 0.95) < 2.262  # t(9)


def test_a_covariate_is_judged_alone() -> None:
    one = run(frame(), covariates=("income",))
    table = one.tidy(covariates=True).set_index("term")
    widths = (table["conf_high"] - table["estimate"]) / table["std_error"]
    assert widths["income"] < widths["ATT(e=0)"] - 0.3
    assert widths["ATT(e=0)"] == pytest.approx(widths["ATT(e=2)"])


def test_subgroups_are_covered_together() -> None:
    one = run(frame(), Split(by="large", estimator=TwoWayFE()))
    widths = ((one.conf_int()["conf_high"] - one.params) / one.bse).to_numpy()
    influence = np.column_stack(
        [
            one.fit.parts[i].influence.sum_within(one.fit.parts[i].sample.cluster, 40)[:, 0]
            for i in range(len(one.fit.parts))
        ]
    )
    (signs,) = draw_weights(n_clusters=40, weights="rademacher", draws=999, seed=4)
    largest = np.abs(signs @ influence / np.sqrt((influence**2).sum(axis=0))).max(axis=1)
    np.testing.assert_allclose(widths, np.sort(largest)[-50], rtol=1e-9)


def test_few_clusters_are_marked_as_by_cluster_and_wild_bands_recommended() -> None:
    few = run(frame(counties=12, treated=2))
    plain = few.under(Cluster())
    assert few.uncertainty.unsupported == plain.uncertainty.unsupported
    assert few.uncertainty.unsupported is not None
    assert np.isnan(few.wald(["ATT(e=0)", "ATT(e=1)"]).p_value)
    assert "take the bands of WildBootstrap()" in few.summary()
    assert "WildBootstrap() 的联合置信带" in few.summary("zh")
    many = run(frame(counties=64, treated=32, farms=1))
    assert many.uncertainty.unsupported is None
    assert "WildBootstrap" not in many.summary()
    assert np.isfinite(many.wald(["ATT(e=0)", "ATT(e=1)"]).p_value)


def test_the_order_of_rows_changes_no_bit_and_the_seed_does() -> None:
    f = frame()
    one, shuffled = run(f), run(f.sample(frac=1, random_state=3))
    pd.testing.assert_frame_equal(one.tidy(), shuffled.tidy(), check_exact=True)
    pd.testing.assert_frame_equal(one.bands(), shuffled.bands(), check_exact=True)
    assert run(f, inference=multiplier(seed=5)).bands()["critical"].max() != one.bands()["critical"].max()


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"draws": 50}, "draws is 50"),
        ({"draws": True}, "draws is True"),
        ({"seed": -1}, "seed is -1"),
        ({"seed": 1.5}, "seed"),
    ],
)
def test_bad_settings_are_refused(settings: dict[str, object], says: str) -> None:
    with pytest.raises(InferenceError, match=says) as caught:
        multiplier(**settings)
    assert "whole number" in caught.value.remedy


# Bands by any distribution


def test_bands_of_the_wild_bootstrap_are_those_of_regressions_on_drawn_outcomes() -> None:
    f = frame(counties=8, treated=4)
    one = run(f, inference=WildBootstrap())  # 128 vectors of signs, enumerated
    event = (f["year"] - f["first"]).clip(-3, 2)
    terms = {e: (event == e).to_numpy(float) for e in (-3, -2, 0, 1, 2)}
    dummies = [pd.get_dummies(f[c], dtype=float).iloc[:, 1:] for c in ("farm", "year")]
    X = np.column_stack([*terms.values(), np.ones(len(f)), *dummies])
    y, county = f["y"].to_numpy(), f["county"].to_numpy()
    fitted = sm.OLS(y, X).fit()
    pull = np.linalg.pinv(X)[:5].T

    def t(outcome: np.ndarray, around: np.ndarray) -> np.ndarray:
        again = sm.OLS(outcome, X).fit()
        scores = np.array([(again.resid[:, None] * pull)[county == c].sum(axis=0) for c in range(8)])
        error = np.sqrt((scores**2).sum(axis=0) * 8 / 7)
        return np.abs(again.params[:5] - around) / error

    (signs,) = draw_weights(n_clusters=8, weights="rademacher", draws=None, seed=None)
    largest = [t(fitted.fittedvalues + s[county] * fitted.resid, fitted.params[:5]).max() for s in signs]
    critical = np.sort(largest)[-6]  # 6 of 128 as large: p = 7/129 is above .05
    bands = one.bands()
    assert bands["critical"].dropna().to_numpy() == pytest.approx(np.full(5, critical), rel=1e-7)  # rounding
    widths = (bands["conf_high"] - bands["estimate"]).dropna() / one.bse.dropna().to_numpy()
    assert widths.to_numpy() == pytest.approx(np.full(5, critical), rel=1e-7)


@pytest.mark.parametrize("estimator", [EventStudy(leads=3, lags=2), CallawaySantAnna(aggregate="dynamic")])
def test_the_band_of_one_term_is_its_interval_without_an_imposed_null(estimator: object) -> None:
    one = run(frame(), estimator, WildBootstrap(draws=999, seed=2, restricted=False))
    for term in ("ATT(e=0)", "ATT(e=2)"):
        alone = one.bands([term], level=0.9).iloc[0]
        assert [alone["conf_low"], alone["conf_high"]] == pytest.approx(one.conf_int(0.9).loc[term].tolist(), rel=1e-9)


def test_more_terms_or_a_higher_level_make_bands_wider_and_imposing_nulls_changes_none() -> None:
    one = run(frame(), inference=WildBootstrap(draws=999, seed=2))
    critical = [one.bands(terms, level)["critical"].max() for terms, level in
                ((["ATT(e=0)"], 0.9), (["ATT(e=0)", "ATT(e=1)"], 0.9), (None, 0.9), (None, 0.99))]  # fmt: skip
    assert critical == sorted(critical)
    assert len(set(critical)) == 4
    loose = one.under(WildBootstrap(draws=999, seed=2, restricted=False))
    pd.testing.assert_frame_equal(one.bands(), loose.bands(), check_exact=True)


@pytest.mark.parametrize("inference", [multiplier(), WildBootstrap(draws=999, seed=2)])
def test_the_base_is_shown_at_0_without_an_interval_and_covariates_only_when_named(inference: object) -> None:
    one = run(frame(), inference=inference, covariates=("income",))
    bands = one.bands().set_index("term")
    assert bands.index.tolist() == [f"ATT(e={e})" for e in (-3, -2, -1, 0, 1, 2)]
    assert bands["event_time"].tolist() == [-3, -2, -1, 0, 1, 2]
    base = bands.loc["ATT(e=-1)"]
    assert base["estimate"] == 0.0
    assert base[["conf_low", "conf_high", "critical"]].isna().all()
    assert one.bands(["ATT(e=-1)"])["critical"].isna().all()
    assert one.bands(["income", "ATT(e=0)"])["term"].tolist() == ["income", "ATT(e=0)"]


def test_bands_are_infinite_where_the_draws_are_too_few_for_the_level() -> None:
    one = run(frame(), inference=WildBootstrap(draws=99, seed=2))
    row = one.bands(["ATT(e=0)"], level=0.995).iloc[0]
    assert (row["conf_low"], row["conf_high"], row["critical"]) == (-np.inf, np.inf, np.inf)
    assert np.isfinite(one.bands(["ATT(e=0)"], level=0.98)["critical"]).all()


@pytest.mark.parametrize("inference", [Cluster(), Classical()])
def test_an_inference_without_draws_refuses_bands(inference: object) -> None:
    with pytest.raises(InferenceError, match="no draws") as caught:
        run(frame(), inference=inference).bands()
    assert "WildBootstrap(" in caught.value.remedy


def test_bad_terms_and_levels_are_refused() -> None:
    one = run(frame())
    with pytest.raises(DataError, match=r"no term 'ATT\(e=7\)'"):
        one.bands(["ATT(e=7)"])
    with pytest.raises(InferenceError, match="level is 95"):
        one.bands(level=95)
