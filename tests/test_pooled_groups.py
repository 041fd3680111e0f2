"""Pooled groups: a t test of county means, by scipy and by hand; what turns it, what sizes change, and what it refuses."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.optimize import brentq

from evalkit import Design, Panel, estimate
from evalkit.errors import DataError, InferenceError
from evalkit.estimators import EventStudy, ExtendedTWFE, Imputation, Split, TwoWayFE
from evalkit.inference import PooledGroups
from evalkit.numerics.group_means import compare, fit_by_size, significant_ratios


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


def run(f: pd.DataFrame, estimator: object = None, sizes: str | None = None, **change: object):
    design = Design(**{"outcome": "y", "adoption": "first", "assigned_at": "county", **change})
    panel = Panel.from_frame(f, unit="farm", time="year")
    return estimate(panel, design, estimator or TwoWayFE(), inference=PooledGroups(sizes=sizes))


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
    f = frame(3)
    f = f[~f["farm"].isin([0, 1, 35])].reset_index(drop=True)
    f["even"] = 1 / f.groupby("county")["farm"].transform("nunique")
    d = differences(f)
    test = stats.ttest_ind(d[:3], d[3:])
    row = run(f, weights="even").tidy().iloc[0]
    assert (row.statistic, row.p_value) == pytest.approx((test.statistic, test.pvalue), rel=1e-9)


# The ratio of variances at which the conclusion turns


def p_at(ratio: float, d: pd.Series, treated: int) -> float:
    """p of the difference of means if the variance of the treated is `ratio` times that of the controls, by hand."""
    one, other = d[:treated], d[treated:]
    squares = sum((side - side.mean()) ** 2 @ np.ones(len(side)) / r for side, r in ((one, ratio), (other, 1.0)))
    error = np.sqrt(squares / 7 * (ratio / treated + 1 / (9 - treated)))
    return float(2 * stats.t.sf(abs(one.mean() - other.mean()) / error, 7))


def said(one, key: str) -> dict[str, object]:
    """The values of the only note with this key, those of its ratio included."""
    (note,) = [note for note in one.notes if note.key == key]
    values = dict(note.values)
    return {**values, **dict(values["ratio"].values), "key": values["ratio"].key}


def shifted(treated: int, effect: float) -> pd.DataFrame:
    """The effect made so large, in years after adoption."""
    f = frame(treated)
    now = differences(f)
    after = (f["county"] < treated) & (f["year"] >= 2013)
    f["y"] += after * (effect - now[:treated].mean() + now[treated:].mean())
    return f


@pytest.mark.parametrize(("treated", "key"), [(1, "ratio.above"), (3, "ratio.outside"), (8, "ratio.below")])
def test_significance_is_lost_at_the_ratio_that_is_said(treated: int, key: str) -> None:
    f = shifted(treated, 3.0)
    d, one = differences(f), run(f)
    assert one.pvalues["ATT"] < 0.05
    values = said(one, "note.ratio_lost")
    assert values["key"] == key
    if key != "ratio.below":
        high = brentq(lambda r: p_at(r, d, treated) - 0.05, 1, 1e6)
        assert float(values["high"]) == pytest.approx(
            high, rel=0.05 if high >= 10 else 0.005
        )  # as many digits are said
    if key != "ratio.above":
        low = brentq(lambda r: p_at(r, d, treated) - 0.05, 1e-9, 1)
        assert float(values["low"]) == pytest.approx(low, rel=0.005)


def test_significance_is_won_at_the_ratio_that_is_said_or_never() -> None:
    one = run(shifted(1, 0.9))
    assert one.pvalues["ATT"] > 0.05
    values = said(one, "note.ratio_won")
    assert values["key"] == "ratio.below"
    turning = brentq(lambda r: p_at(r, differences(shifted(1, 0.9)), 1) - 0.05, 1e-9, 1)
    assert float(values["bound"]) == pytest.approx(turning, rel=0.005)
    nothing = run(shifted(3, 0.01))
    assert "ATT: the effect is not significant at 5 %, whatever the ratio" in nothing.summary()
    d = differences(shifted(3, 0.01))
    assert min(p_at(r, d, 3) for r in np.geomspace(1e-6, 1e6, 200)) > 0.05


def test_ratios_by_the_quadratic_are_those_by_search_on_either_side_of_1() -> None:
    rng = np.random.default_rng(12)
    kinds = set()
    for _ in range(150):
        own, pull, square = (tuple(np.exp(1.5 * rng.normal(size=n))) for n in (2, 2, 1))
        grid = np.geomspace(1e-7, 1e7, 20_001)
        inside = grid[(own[0] / grid + own[1]) * (grid * pull[0] + pull[1]) < square[0]]
        found = significant_ratios(own, pull, square[0])
        assert (found is None) == (len(inside) == 0)
        if found is not None:
            assert found == pytest.approx((inside[0], inside[-1]), rel=2e-3)  # a step of the grid
            kinds.add(int(found[0] > 1) - int(found[1] < 1))
    assert kinds == {-1, 0, 1}


def test_the_reader_is_told_in_both_languages_of_averages_or_of_the_first_effect_after_adoption() -> None:
    one = run(shifted(1, 3.0))
    ratio = said(one, "note.ratio_lost")["bound"]
    assert f"variance of the treated were more than {ratio} times that of the control clusters" in one.summary()
    assert f"处理聚类的方差超过对照聚类的 {ratio} 倍" in one.summary("zh")
    split = run(frame(3), Split(by="large", estimator=TwoWayFE()))
    told = [dict(note.values)["term"] for note in split.notes if note.key.startswith("note.ratio")]
    assert told == ["ATT [large=0]", "ATT [large=1]"]
    path = run(frame(3), EventStudy(leads=3, lags=2))
    assert [dict(n.values)["term"] for n in path.notes if n.key.startswith("note.ratio")] == ["ATT(e=0)"]


# Sizes: variances A + B/size


SIZES = np.array([5, 8, 12, 20, 30, 40, 60, 80, 100.0])


def sized(treated: int) -> pd.DataFrame:
    """Counties of unequal sizes, whose shocks fall with size."""
    f = frame(treated)
    f["size"] = SIZES[f["county"]]
    f["y"] = f["y"] + np.random.default_rng(5).normal(size=(9, 6))[f["county"], f["year"] - 2010] * 6 / np.sqrt(
        f["size"]
    )
    return f


def variances_by_hand(d: np.ndarray, treated: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """A + B/size by least squares on squared residuals Pd, whose expectation is diag(P V P); the best with none, A or B at 0."""
    same = np.equal.outer(treated, treated)
    P = np.eye(len(d)) - same / same.sum(axis=1)
    squares, inverse = (P @ d) ** 2, 1 / sizes
    X = np.column_stack([P**2 @ np.ones(len(d)), P**2 @ inverse])
    fits = []
    for columns in ([0, 1], [0], [1]):
        b = np.zeros(2)
        b[columns] = np.linalg.lstsq(X[:, columns], squares, rcond=None)[0]
        if (b >= 0).all():
            fits.append((float(((squares - X @ b) ** 2).sum()), b))
    a, b = min(fits, key=lambda pair: pair[0])[1]
    return a + b * inverse


def t_by_hand(d: np.ndarray, treated: np.ndarray, variance: np.ndarray) -> tuple[float, float]:
    """Standard error and p of the difference of plain means; the factor of the variances from weighted least squares."""
    scale = 0.0
    for side in (treated, ~treated):
        centre = np.average(d[side], weights=1 / variance[side])
        scale += ((d[side] - centre) ** 2 / variance[side]).sum() / 7
    error = np.sqrt(scale * sum(variance[side].sum() / side.sum() ** 2 for side in (treated, ~treated)))
    return float(error), float(2 * stats.t.sf(abs(d[treated].mean() - d[~treated].mean()) / error, 7))


@pytest.mark.parametrize("treated", [1, 3, 8])
def test_variances_by_size_are_fitted_and_used_as_by_hand(treated: int) -> None:
    f = sized(treated)
    d, mine = differences(f).to_numpy(), np.arange(9) < treated
    one = run(f, sizes="size")
    error, p = t_by_hand(d, mine, variances_by_hand(d, mine, SIZES))
    assert (one.bse["ATT"], one.pvalues["ATT"]) == pytest.approx((error, p), rel=1e-8)  # rounding
    assert one.params["ATT"] == pytest.approx(d[mine].mean() - d[~mine].mean(), rel=1e-9)
    assert one.bse["ATT"] != pytest.approx(run(f).bse["ATT"], rel=0.01)
    (note,) = [note for note in one.notes if note.key == "note.p_by_size"]
    values = dict(note.values)
    expected = [p, run(f).pvalues["ATT"], t_by_hand(d, mine, 1 / SIZES)[1]]
    assert [float(values[key]) for key in ("fitted", "flat", "inverse")] == pytest.approx(expected, abs=6e-4)
    assert re.search("variances fall with size as A \\+ B/size", one.summary())
    assert "方差按 A + B/规模（size）拟合" in one.summary("zh")


def test_ratios_with_sizes_are_those_at_which_p_crosses_5_percent() -> None:
    f = sized(3)
    f["y"] += 9.0 * (f["year"] >= f["first"])
    d, mine = differences(f).to_numpy(), np.arange(9) < 3
    variance = variances_by_hand(d, mine, SIZES)
    values = said(run(f, sizes="size"), "note.ratio_lost")
    high = brentq(lambda r: t_by_hand(d, mine, variance * np.where(mine, r, 1.0))[1] - 0.05, 1, 1e6)
    assert float(values["high"]) == pytest.approx(high, rel=0.05)


def test_equal_sizes_change_nothing() -> None:
    f = frame(3).assign(size=40.0)
    for estimator in (TwoWayFE(), EventStudy(leads=3, lags=2), Split(by="large", estimator=TwoWayFE())):
        np.testing.assert_allclose(run(f, estimator, "size").vcov(), run(f, estimator).vcov(), rtol=1e-9, atol=1e-18)


def test_rows_count_the_farms_of_each_county() -> None:
    f = frame(3)
    f = f[~f["farm"].isin([0, 1, 4, 30, 33, 34])].reset_index(drop=True)
    f["even"] = 1 / f.groupby("county")["farm"].transform("nunique")
    f["farms"] = f.groupby("county")["farm"].transform("nunique")
    f["y"] += np.random.default_rng(1).normal(size=(9, 6))[f["county"], f["year"] - 2010] * (9 / f["farms"] ** 2)
    counted, named = run(f, sizes="rows", weights="even"), run(f, sizes="farms", weights="even")
    assert counted.bse["ATT"] == named.bse["ATT"]
    assert counted.bse["ATT"] != run(f, weights="even").bse["ATT"]
    assert "(number of rows)" in counted.summary()
    assert run(f.assign(rows=5), sizes="rows", weights="even").bse["ATT"] == pytest.approx(
        run(f, weights="even").bse["ATT"]
    )
    with pytest.raises(InferenceError, match="do not weigh alike"):
        run(f, sizes="rows")  # sizes excuse unequal variances, not unequal weights
    f["even"] = 1 / f.groupby(["county", "large"])["farm"].transform("nunique")
    split = run(f, Split(by="large", estimator=TwoWayFE()), "rows", weights="even")
    for large in (0, 1):
        alone = run(f[f["large"] == large], sizes="rows", weights="even")
        assert split.bse[f"ATT [large={large}]"] == pytest.approx(alone.bse["ATT"], rel=1e-9)


def test_sizes_do_not_depend_on_the_order_of_rows_or_on_units_of_measurement() -> None:
    f = sized(3)
    one = run(f, EventStudy(leads=3, lags=2), "size")
    shuffled = run(f.sample(frac=1, random_state=3), EventStudy(leads=3, lags=2), "size")
    pd.testing.assert_frame_equal(one.vcov(), shuffled.vcov(), check_exact=True)
    other = run(f.assign(y=f["y"] * 1e9, size=f["size"] * 1000), EventStudy(leads=3, lags=2), "size")
    np.testing.assert_allclose(other.vcov(), one.vcov() * 1e18, rtol=1e-6, atol=1e3)
    np.testing.assert_allclose(other.pvalues, one.pvalues, rtol=1e-6)


def test_true_nulls_are_rejected_near_5_percent_or_safely_less() -> None:
    rng = np.random.default_rng(21)
    mine, sizes = np.arange(9) < 1, np.repeat(SIZES[:, None], 2000, axis=1)
    for share, plain_at_least, fitted_at_most in (
        (0.3, 0.08, 0.10),
        (1.0, 0.2, 0.17),
    ):  # of the variance that falls with size
        variance = (1 - share) + share * (1 / SIZES) / (1 / SIZES).mean()
        d = rng.normal(size=(9, 2000)) * np.sqrt(variance)[:, None]
        effects, p = d[mine].mean(axis=0) - d[~mine].mean(axis=0), {}
        for name, relative in (
            ("plain", np.ones_like(d)),
            ("fitted", fit_by_size(d, mine, sizes)),
            ("inverse", 1 / sizes),
        ):
            errors = np.concatenate(
                [
                    np.sqrt(np.diag(compare(d[:, at], mine, relative[:, at]).covariance))
                    for at in np.split(np.arange(2000), 20)
                ]
            )
            p[name] = 2 * stats.t.sf(np.abs(effects) / errors, 7)
        rejected = {name: float(np.mean(values < 0.05)) for name, values in p.items()}
        assert rejected["plain"] > plain_at_least
        assert rejected["fitted"] < fitted_at_most
        assert np.mean(np.max(list(p.values()), axis=0) < 0.05) < 0.065  # .05 and three Monte Carlo standard errors


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda f: f.assign(size=f["size"].where(f["county"] != 2)), "is missing or not above 0 in 24 rows"),
        (lambda f: f.assign(size=f["size"] - 5), "is missing or not above 0 in 24 rows"),
        (lambda f: f.assign(size=f["size"] + (f["year"] == 2012) * (f["county"] == 4)), r"differs within .*\(county\)"),
        (lambda f: f.rename(columns={"size": "sizes"}), "there is no column 'size'"),
    ],
)
def test_sizes_that_are_none_are_refused_with_their_rows(spoil, says: str) -> None:
    with pytest.raises(DataError, match=says) as caught:
        run(spoil(sized(3)), sizes="size")
    assert caught.value.remedy


@pytest.mark.parametrize("sizes", ["", 3])
def test_a_setting_that_names_no_column_is_refused(sizes: object) -> None:
    with pytest.raises(InferenceError, match="sizes is"):
        PooledGroups(sizes=sizes)  # type: ignore[arg-type]
