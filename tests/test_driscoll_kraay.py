"""Driscoll-Kraay errors: linearmodels, Newey-West of a gap by statsmodels, gaps on the time axis, and when p is marked."""

from __future__ import annotations

import warnings
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from linearmodels import PanelOLS, PooledOLS
from scipy import stats

from cases import case, event_columns, post
from evalkit import Design, Estimate, Panel, collapse, estimate
from evalkit.errors import InferenceError
from evalkit.estimators import CallawaySantAnna, EventStudy, Imputation, Split, Stacked, TwoWayFE
from evalkit.inference import Cluster, DriscollKraay
from oracles import dummy_regression


@cache
def _farms(units: int, years: int) -> pd.DataFrame:
    rng = np.random.default_rng(4)
    f = pd.DataFrame({"farm": np.repeat(np.arange(units), years), "year": np.tile(2000 + np.arange(years), units)})
    f["county"] = f["farm"] // 3
    middle = 2000.0 + years // 2
    f["first"] = f["county"].map(lambda c: (middle, middle + 1, np.nan)[c % 3])
    shock = rng.normal(size=(units, years))
    f["y"] = rng.normal(size=len(f)) + shock[f["county"], f["year"] - 2000]
    f["income"] = rng.normal(size=len(f))
    f["large"] = f["farm"] % 2
    f["w"] = rng.uniform(0.5, 2.0, len(f))
    return f


def farms(units: int = 24, years: int = 12) -> pd.DataFrame:
    return _farms(units, years).copy()


def run(f: pd.DataFrame, inference: Any, estimator: Any = None, **change: Any) -> Estimate:
    design = Design(**{"outcome": "y", "adoption": "first", "assigned_at": "county", **change})
    return estimate(Panel.from_frame(f, unit="farm", time="year"), design, estimator or TwoWayFE(), inference=inference)


def cov(one: Estimate) -> Any:
    known = [i for i, term in enumerate(one.fit.terms) if term.role != "base"]
    return one.uncertainty.covariance[np.ix_(known, known)]


def by_linearmodels(frame: pd.DataFrame, case: Any, lags: int | None, weights: Any = None) -> Any:
    """PanelOLS with both effects; its defaults are N/(N-K), K counting all effects, and the same rule for lags."""
    f = frame.reset_index(drop=True)
    y, X = f[case.design.outcome], pd.DataFrame({name: np.asarray(x, float) for name, x in case.terms.items()})
    index = pd.MultiIndex.from_arrays([f[case.unit], f[case.time]])
    y.index = X.index = index
    if weights is not None:
        weights = pd.DataFrame({"w": f[weights].to_numpy(float)}, index=index)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it calls pandas in ways that pandas 3 deprecates
        model = PanelOLS(y, X, entity_effects=True, time_effects=True, weights=weights, singletons=True)
        return model.fit(cov_type="kernel", kernel="bartlett", bandwidth=lags)


@pytest.mark.parametrize("lags", [None, 0, 1, 3])
@pytest.mark.parametrize("name", ["mpdta_twfe", "ezunem", "ezunem_events", "mpdta_binned_weighted_unbalanced"])
def test_it_is_the_kernel_covariance_of_linearmodels(name: str, lags: int | None) -> None:
    one = case(name)
    got = estimate(one.panel, one.design, one.estimator, inference=DriscollKraay(lags))
    other = by_linearmodels(one.frame, one, lags, one.design.weights)
    names = list(one.terms)
    np.testing.assert_allclose(got.params[names], other.params[names], rtol=1e-8)
    # Variances of the same size; rounding of two ways to take out the effects.
    scale = np.sqrt(np.outer(np.diag(other.cov), np.diag(other.cov)))
    assert np.abs((got.vcov().loc[names, names] - other.cov) / scale).max().max() < 1e-9


def test_it_is_that_of_pooled_least_squares_with_dummies() -> None:
    f = farms()
    dummies = pd.get_dummies(f[["farm", "year"]].astype(str), drop_first=True).astype(float)
    X = pd.concat([pd.DataFrame({"ATT": post(f, "year", "first"), "one": 1.0}), dummies], axis=1)
    X.index = y_index = pd.MultiIndex.from_arrays([f["farm"], f["year"]])
    y = pd.Series(f["y"].to_numpy(), index=y_index, name="y")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it calls pandas in ways that pandas 3 deprecates
        other = PooledOLS(y, X).fit(cov_type="kernel", kernel="bartlett", bandwidth=2)
    assert run(f, DriscollKraay(2)).bse["ATT"] == pytest.approx(other.std_errors["ATT"], rel=1e-9)


@pytest.mark.parametrize("lags", [0, 2, 5])
def test_one_date_of_adoption_gives_newey_west_of_the_gap(lags: int) -> None:
    f = farms(years=30)
    f["first"] = f["first"].where(f["first"] == 2015)
    means = f.groupby([f["first"].notna(), "year"])["y"].mean().unstack(0)
    gap = (means[True] - means[False]).to_numpy()
    after = sm.add_constant((np.arange(2000, 2030) >= 2015).astype(float))
    other = sm.OLS(gap, after).fit(cov_type="HAC", cov_kwds={"maxlags": lags, "use_correction": False})
    one = run(f, DriscollKraay(lags))
    assert one.params["ATT"] == pytest.approx(other.params[1], rel=1e-10)
    factor = 720 / (720 - 1 - 24 - 29)
    assert one.bse["ATT"] ** 2 == pytest.approx(factor * other.cov_params()[1, 1], rel=1e-9)
    row = one.tidy().iloc[0]
    assert row.p_value == pytest.approx(2 * stats.t.sf(abs(row.statistic), 29), rel=1e-12)


@pytest.mark.parametrize("estimator", [TwoWayFE(), EventStudy(leads=3, lags=2)])
def test_without_lags_it_is_one_cluster_a_period(estimator: Any) -> None:
    one, other = run(farms(), DriscollKraay(0), estimator), run(farms(), Cluster("year", correction="none"), estimator)
    (part,) = one.fit.parts
    factor = 288 / (288 - part.regression.n_slopes - 24 - 11)
    np.testing.assert_allclose(cov(one), factor * cov(other), rtol=1e-11, atol=1e-16)


def written_out(f: pd.DataFrame, terms: dict[str, Any], lags: int, by: str | None = None) -> Any:
    """The double sum over periods, whose distance is that of their years."""
    X, years = np.column_stack(list(terms.values())), np.sort(f["year"].unique())
    K = np.maximum(0, 1 - np.abs(years[:, None] - years) / (lags + 1))
    sums = []
    for g in [None] if by is None else sorted(f[by].unique()):
        rows = np.ones(len(f), dtype=bool) if by is None else (f[by] == g).to_numpy()
        r = dummy_regression(f.loc[rows, "y"], X[rows], [f.loc[rows, "farm"], f.loc[rows, "year"]])
        psi = np.sqrt(r.n / (r.n - X.shape[1] - r.rank(r.every))) * (r.X * r.u[:, None]) @ r.bread
        sums.append(pd.DataFrame(psi).groupby(f.loc[rows, "year"].to_numpy()).sum().reindex(years, fill_value=0.0))
    S = np.hstack(sums)
    return S.T @ K @ S


@pytest.mark.parametrize("lags", [1, 3, 6])
def test_a_year_without_rows_is_still_a_lag(lags: int) -> None:
    f = farms()
    f = f[~f["year"].isin([2001, 2002, 2010])].reset_index(drop=True)
    terms = event_columns(f, "year", "first", 3, 2)
    one = run(f, DriscollKraay(lags), EventStudy(leads=3, lags=2))
    np.testing.assert_allclose(cov(one), written_out(f, terms, lags), rtol=1e-9, atol=1e-15)
    closed_up = f.assign(year=f["year"].rank(method="dense"))
    assert np.abs(written_out(closed_up, terms, lags) / cov(one) - 1).max() > 0.01


def test_a_panel_of_every_second_year_has_steps_of_two_years() -> None:
    f = farms()
    every_second = f.assign(year=2 * f["year"] - 2000, first=2 * f["first"] - 2000)
    np.testing.assert_array_equal(cov(run(every_second, DriscollKraay(2))), cov(run(f, DriscollKraay(2))))


def test_subgroups_have_their_covariance() -> None:
    f = farms()
    f = f[(f["large"] == 1) | (f["year"] > 2001)].reset_index(drop=True)
    one = run(f, DriscollKraay(2), Split(by="large", estimator=TwoWayFE()))
    expected = written_out(f, {"ATT": post(f, "year", "first")}, 2, by="large")
    np.testing.assert_allclose(cov(one), expected, rtol=1e-9)
    assert abs(expected[0, 1]) > 0.01 * expected[0, 0]
    assert one.uncertainty.df.tolist() == [9.0, 11.0]
    assert "2 lags (Bartlett kernel) over 10 periods" in run(f, DriscollKraay(), one.spec.estimator).summary()


@pytest.mark.parametrize("estimator", [Imputation(), Stacked(leads=2, lags=1)])
def test_estimators_with_influence_by_row_are_taken_without_a_factor(estimator: Any) -> None:
    f = farms()
    one, other = run(f, DriscollKraay(0), estimator), run(f, Cluster("year", correction="none"), estimator)
    np.testing.assert_allclose(cov(one), cov(other), rtol=1e-11, atol=1e-16)
    (part,) = one.fit.parts
    years = f["year"].to_numpy()[part.sample.rows] - 2000
    S = part.influence.sum_within(years, 12)
    K = np.maximum(0, 1 - np.abs(np.subtract.outer(np.arange(12), np.arange(12))) / 4)
    np.testing.assert_allclose(cov(run(f, DriscollKraay(3), estimator)), S.T @ K @ S, rtol=1e-10, atol=1e-16)


def test_an_estimator_that_knows_whole_units_only_is_refused() -> None:
    with pytest.raises(InferenceError, match="influence of whole units"):
        run(farms(), DriscollKraay(), CallawaySantAnna())


def test_order_of_rows_changes_no_bit_and_collapsed_rows_are_exact() -> None:
    f = farms()
    one, other = run(f, DriscollKraay()), run(f.sample(frac=1, random_state=2), DriscollKraay())
    np.testing.assert_array_equal(cov(one), cov(other))
    design = Design(outcome="y", adoption="first", assigned_at="county")
    cells = collapse(f, design, unit="farm", time="year")
    collapsed = estimate(cells, design, TwoWayFE(), inference=DriscollKraay())
    np.testing.assert_allclose(cov(collapsed), cov(one), rtol=1e-10)
    np.testing.assert_allclose(collapsed.uncertainty.df, one.uncertainty.df)


@pytest.mark.parametrize("lags", [4, 10])
def test_more_lags_than_periods_are_refused(lags: int) -> None:
    f = farms()[lambda f: f["year"].between(2004, 2007)]
    with pytest.raises(InferenceError, match=f"there are 4 periods, too few for {lags} lags") as caught:
        run(f, DriscollKraay(lags))
    assert "below 4" in caught.value.remedy
    assert run(f, DriscollKraay(3)).bse["ATT"] > 0


@pytest.mark.parametrize("lags", [-1, 1.5, True, "2"])
def test_bad_lags_are_refused(lags: Any) -> None:
    with pytest.raises(InferenceError, match="lags is") as caught:
        DriscollKraay(lags)
    assert caught.value.remedy


def test_few_periods_are_marked() -> None:
    one = run(farms(), DriscollKraay())
    assert one.uncertainty.unsupported is not None
    assert "need many periods; with 12" in one.summary()
    assert "仅有 12 期" in one.summary("zh")
    assert np.isnan(one.wald(["ATT"]).p_value)
    assert run(farms(years=60), DriscollKraay()).uncertainty.unsupported is None


def test_few_periods_after_adoption_are_marked() -> None:
    f = farms(years=60)
    f["first"] = np.where(f["first"].notna(), 2055.0, np.nan)
    one = run(f, DriscollKraay())
    assert one.uncertainty.df.tolist() == [59.0]
    assert "rests on so few places and periods" in one.summary()
    path = run(farms(years=60), DriscollKraay(), EventStudy(leads=3, lags=2))  # each effect rests on two cohorts' years
    assert path.uncertainty.unsupported is not None
    long = run(farms(years=60), DriscollKraay(), covariates=("income",))
    assert np.isnan(long.wald(["ATT", "income"]).p_value)


def test_effects_of_single_periods_of_one_cohort_have_no_standard_error() -> None:
    f = farms(years=24)
    f["first"] = f["first"].where(f["first"] == 2012)
    one = run(f, DriscollKraay(), EventStudy(leads=12, lags=11))
    assert one.bse.isna().all()
    assert "cancels among the rows that may be correlated" in one.summary()


@pytest.mark.exhaustive
def test_a_step_in_the_middle_of_many_years_rejects_about_as_often_as_it_should() -> None:
    """The size that the limits of `unsupported` rest on: .07 with 50 of 100 periods treated, .157 with 5 of 20."""
    rng = np.random.default_rng(3)

    def rejected(years: int, treated: int) -> tuple[float, bool]:
        f = pd.DataFrame({"farm": np.repeat(np.arange(30), years), "year": np.tile(np.arange(years), 30)})
        f["first"] = np.where(f["farm"] % 2 == 0, years - treated, np.nan)
        count = 0
        for _ in range(250):
            f["y"] = rng.normal(size=len(f))
            one = run(f, DriscollKraay(), assigned_at="farm")
            count += one.pvalues["ATT"] < 0.05
        return count / 250, one.uncertainty.unsupported is not None

    share, marked = rejected(100, 50)
    assert (share < 0.12, marked) == (True, False)  # .07 + 3 standard errors of 250 draws
    share, marked = rejected(20, 5)
    assert (share > 0.09, marked) == (True, True)  # .157 - 3 standard errors
