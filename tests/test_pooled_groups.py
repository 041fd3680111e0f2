"""Pooled groups: a t test of county means, by scipy and by hand; and what it refuses."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from evalkit import Design, Panel, estimate
from evalkit.errors import InferenceError
from evalkit.estimators import EventStudy, ExtendedTWFE, Imputation, Split, TwoWayFE
from evalkit.inference import PooledGroups


def frame(treated: int, counties: int = 9, farms: int = 4) -> pd.DataFrame:
    rng = np.random.default_rng(3)
    rows = counties * farms * 6
    f = pd.DataFrame(
        {
            "farm": np.repeat(np.arange(counties * farms), 6),
            "year": np.tile(np.arange(2010, 2016), counties * farms),
            "y": rng.normal(size=rows),
        }
    )
    f["county"] = f["farm"] // farms
    f["y"] += rng.normal(size=(counties, 6))[f["county"], f["year"] - 2010]
    f["first"] = np.where(f["county"] < treated, 2013.0, np.nan)
    f["large"] = f["farm"] % 2
    f["w"] = 1.0 + f["large"]
    return f


def run(f: pd.DataFrame, estimator: object = None, **change: object):
    design = Design(**{"outcome": "y", "adoption": "first", "assigned_at": "county", **change})
    panel = Panel.from_frame(f, unit="farm", time="year")
    return estimate(panel, design, estimator or TwoWayFE(), inference=PooledGroups())


def differences(f: pd.DataFrame, weights: str | None = None, years: tuple[int, ...] = (2013, 2014, 2015)) -> pd.Series:
    """Each county's mean after less its mean before."""
    f = f.assign(w_=1.0 if weights is None else f[weights])

    def mean(g: pd.DataFrame) -> float:
        return float(np.average(g["y"], weights=g["w_"]))

    after = f[f["year"].isin(years)].groupby("county")[["y", "w_"]].apply(mean)
    return after - f[f["year"] < 2013].groupby("county")[["y", "w_"]].apply(mean)


@pytest.mark.parametrize("treated", [1, 2, 4, 8])
@pytest.mark.parametrize("weights", [None, "w"])
def test_it_is_the_pooled_t_test_of_county_differences(treated: int, weights: str | None) -> None:
    f = frame(treated)
    one = run(f, weights=weights)
    d = differences(f, weights)
    row = one.tidy().iloc[0]
    if 1 < treated < 8:
        test = stats.ttest_ind(d[:treated], d[treated:])
        assert (row.statistic, row.p_value) == pytest.approx((test.statistic, test.pvalue), rel=1e-10)  # rounding
        low, high = test.confidence_interval()
        assert (row.conf_low, row.conf_high) == pytest.approx((low, high), rel=1e-9)
    else:  # one county: the variance of the others around their mean, by hand
        alone, others = (d.iloc[0], d[1:]) if treated == 1 else (d.iloc[-1], d[:-1])
        error = np.sqrt(others.var(ddof=1) * (1 + 1 / 8))
        sign = 1 if treated == 1 else -1
        assert (row.estimate, row.std_error) == pytest.approx((sign * (alone - others.mean()), error), rel=1e-10)
    assert one.uncertainty.df.tolist() == [7.0]


def test_event_times_and_gaps_have_the_covariance_of_the_county_numbers() -> None:
    f = frame(3)
    path = run(f, EventStudy(leads=3, lags=2))
    base = f[f["year"] == 2012].groupby("county")["y"].mean()
    steps = pd.DataFrame({y: f[f["year"] == y].groupby("county")["y"].mean() - base for y in (2013, 2014)})
    centred = steps - steps.groupby(np.arange(9) < 3).transform("mean")
    V = centred.T @ centred / 7 * (1 / 3 + 1 / 6)
    names = ["ATT(e=0)", "ATT(e=1)"]
    np.testing.assert_allclose(path.vcov().loc[names, names], V, rtol=1e-9)
    gap = run(f, Split(by="large", estimator=TwoWayFE())).contrast("ATT [large=1]", "ATT [large=0]").iloc[0]
    apart = differences(f[f["large"] == 1]) - differences(f[f["large"] == 0])
    test = stats.ttest_ind(apart[:3], apart[3:])
    assert (gap.statistic, gap.p_value) == pytest.approx((test.statistic, test.pvalue), rel=1e-9)


def test_the_reader_is_told_what_is_presumed_and_joint_tests_are_withheld() -> None:
    one = run(frame(2), EventStudy(leads=3, lags=2))
    assert "2 treated and the 7 control clusters vary alike" in one.summary()
    assert "处理聚类" in one.summary("zh")
    joint = one.wald(["ATT(e=0)", "ATT(e=1)"])
    assert np.isnan(joint.p_value)
    assert "joint" in str(joint.reason)


def drop_a_row(f: pd.DataFrame) -> pd.DataFrame:
    return f.drop(index=5)


def lose_a_farm(f: pd.DataFrame) -> pd.DataFrame:
    return f[f["farm"] != 0]


def adopt_later(f: pd.DataFrame) -> pd.DataFrame:
    return f.assign(first=f["first"].where(f["county"] != 0, 2014.0))


def empty_a_subgroup(f: pd.DataFrame) -> pd.DataFrame:
    return f[(f["county"] != 8) | (f["large"] == 1)]


@pytest.mark.parametrize(
    ("spoil", "settings", "says"),
    [
        (drop_a_row, {}, "1 of 36 units are not observed"),
        (lose_a_farm, {}, r"treated units of assignment \(county\) do not weigh alike: from 3 to 4"),
        (adopt_later, {}, "2 dates of adoption"),
        (lambda f: f, {"covariates": ("w",)}, "covariates"),
        (lambda f: f, {"absorb": ("large*year",)}, "further fixed effects"),
        (
            empty_a_subgroup,
            {"estimator": Split(by="large", estimator=TwoWayFE())},
            "subgroups are not found in the same",
        ),
        (lambda f: f[f["county"].isin([0, 8])], {}, "only 1 treated and 1 control"),
    ],
)
def test_what_is_no_difference_of_means_is_refused(spoil, settings: dict[str, object], says: str) -> None:
    with pytest.raises(InferenceError, match=says) as caught:
        run(spoil(frame(3)), **settings)
    assert caught.value.remedy


@pytest.mark.parametrize("estimator", [ExtendedTWFE(family="poisson"), Imputation(leave_out=True)])
def test_an_estimator_that_is_no_regression_is_refused(estimator: object) -> None:
    f = frame(3)
    f["y"] = np.exp(f["y"])  # positive, for counts
    with pytest.raises(InferenceError, match="residuals of a regression"):
        run(f, estimator)


def test_equal_weights_make_unequal_counties_comparable() -> None:
    from evalkit.derivation import equal_weight

    f = frame(3)
    f = f[~f["farm"].isin([0, 1, 35])].reset_index(drop=True)
    f["even"] = equal_weight("county").compute(f, "year")
    d = differences(f)
    test = stats.ttest_ind(d[:3], d[3:])
    row = run(f, weights="even").tidy().iloc[0]
    assert (row.statistic, row.p_value) == pytest.approx((test.statistic, test.pvalue), rel=1e-9)
