"""Conley errors: a double sum over rows written out, Robust and Cluster as its two ends, the globe, and what is refused."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from cases import event_columns, post
from evalkit import Design, Estimate, Panel, collapse, estimate
from evalkit.errors import DataError, InferenceError
from evalkit.estimators import CallawaySantAnna, EventStudy, Imputation, Split, Stacked, TwoWayFE
from evalkit.inference import Cluster, Conley, Robust, spatial
from oracles import dummy_regression

INF = float("inf")
RADIUS = 6371.0088


def conley(cutoff: float, kernel: Any = "bartlett") -> Conley:
    return Conley(latitude="lat", longitude="lon", cutoff=cutoff, kernel=kernel)


@cache
def _farms(places: int, units: int, years: int) -> pd.DataFrame:
    rng = np.random.default_rng(4)
    f = pd.DataFrame({"farm": np.repeat(np.arange(units), years), "year": np.tile(2000 + np.arange(years), units)})
    at = rng.permutation(np.arange(units) % places)
    f["lat"], f["lon"] = rng.uniform(42, 46, places)[at][f["farm"]], rng.uniform(85, 92, places)[at][f["farm"]]
    f["county"] = f["farm"] // 3
    f["first"] = f["county"].map(lambda c: (2004.0, 2005.0, np.nan)[c % 3])
    shock = rng.normal(size=(units, years))
    f["y"] = rng.normal(size=len(f)) + shock[f["county"], f["year"] - 2000]
    f["income"] = rng.normal(size=len(f))
    f["large"] = f["farm"] % 2
    f["w"] = rng.uniform(0.5, 2.0, len(f))
    return f


def farms(places: int = 40, units: int = 40, years: int = 8) -> pd.DataFrame:
    return _farms(places, units, years).copy()


def run(f: pd.DataFrame, inference: Any, estimator: Any = None, **change: Any) -> Estimate:
    design = Design(**{"outcome": "y", "adoption": "first", "assigned_at": "county", **change})
    return estimate(Panel.from_frame(f, unit="farm", time="year"), design, estimator or TwoWayFE(), inference=inference)


def cov(one: Estimate) -> Any:
    return one.uncertainty.covariance


def near(f: pd.DataFrame, cutoff: float, kernel: str) -> Any:
    """K (n, n) by the haversine formula, 0 for rows of different years."""
    north, east = np.radians(f["lat"].to_numpy(float)), np.radians(f["lon"].to_numpy(float))
    dn, de = north[:, None] - north, east[:, None] - east
    haversine = np.sin(dn / 2) ** 2 + np.cos(north)[:, None] * np.cos(north) * np.sin(de / 2) ** 2
    share = 2 * RADIUS * np.arcsin(np.sqrt(haversine)) / cutoff
    K = np.maximum(1 - share, 0.0) if kernel == "bartlett" else (share <= 1) * 1.0
    return K * (f["year"].to_numpy()[:, None] == f["year"].to_numpy())


def written_out(
    f: pd.DataFrame, K: Any, terms: dict[str, Any], weights: str | None = None, by: str | None = None
) -> tuple[Any, Any]:
    """The double sum over rows and Satterthwaite's degrees of freedom, from regressions with dummies and (n, n) matrices."""
    X = np.column_stack(list(terms.values()))
    groups = [np.ones(len(f), dtype=bool)] if by is None else [f[by].to_numpy() == g for g in sorted(f[by].unique())]
    k = X.shape[1]
    psi, df = np.zeros((len(f), k * len(groups))), np.zeros(k * len(groups))
    for g, rows in enumerate(groups):
        w = None if weights is None else f.loc[rows, weights]
        r = dummy_regression(f.loc[rows, "y"], X[rows], [f.loc[rows, "farm"], f.loc[rows, "year"]], weights=w)
        left = r.n - k - r.rank(r.every)
        at = slice(g * k, g * k + k)
        psi[rows, at] = np.sqrt(r.n / left) * (r.X * (r.w * r.u)[:, None]) @ r.bread
        for j in range(k):
            pull = r.X @ r.bread[:, j] * np.sqrt(r.w)
            pull /= np.linalg.norm(pull)
            residual_maker = np.eye(len(pull)) - np.outer(pull, pull)
            form = pull[:, None] * K[np.ix_(rows, rows)] * pull @ residual_maker
            df[g * k + j] = min(np.trace(form) ** 2 / np.trace(form @ form), left)
    return psi.T @ K @ psi, df


@pytest.mark.parametrize("kernel", ["bartlett", "uniform"])
@pytest.mark.parametrize("cutoff", [30.0, 120.0, 400.0])
@pytest.mark.parametrize("case", ["average", "path", "weighted, rows missing", "subgroups", "shared places"])
def test_it_is_the_double_sum_over_rows(case: str, cutoff: float, kernel: str) -> None:
    f = farms(places=11) if case == "shared places" else farms()
    change: dict[str, Any] = {"covariates": ("income",)}
    estimator: Any = TwoWayFE()
    if case == "weighted, rows missing":
        f = f[np.random.default_rng(1).random(len(f)) > 0.2].reset_index(drop=True)
        change["weights"] = "w"
    terms = {"ATT": post(f, "year", "first"), "income": f["income"].to_numpy()}
    if case == "path":
        estimator = EventStudy(leads=3, lags=2)
        terms = event_columns(f, "year", "first", 3, 2) | {"income": f["income"].to_numpy()}
    if case == "subgroups":
        estimator = Split(by="large", estimator=TwoWayFE())
    one = run(f, conley(cutoff, kernel), estimator, **change)
    by = "large" if case == "subgroups" else None
    expected, df = written_out(f, near(f, cutoff, kernel), terms, change.get("weights"), by)
    known = [i for i, term in enumerate(one.fit.terms) if term.role != "base"]
    mended = "note.not_positive_kernel" in [note.key for note in one.notes]
    assert mended == (np.linalg.eigvalsh(expected).min() < -1e-12 * np.diag(expected).max())
    if not mended:
        np.testing.assert_allclose(
            cov(one)[np.ix_(known, known)], expected, rtol=1e-8, atol=1e-13
        )  # variances of size .01
    np.testing.assert_allclose(one.uncertainty.df[known], df, rtol=1e-9)


@pytest.mark.parametrize(
    "estimator", [TwoWayFE(), EventStudy(leads=3, lags=2), Split(by="large", estimator=TwoWayFE())]
)
@pytest.mark.parametrize("weights", [None, "w"])
def test_cutoff_0_is_robust_where_every_row_has_its_place(estimator: Any, weights: str | None) -> None:
    one, other = (run(farms(), i, estimator, weights=weights) for i in (conley(0), Robust()))
    np.testing.assert_allclose(cov(one), cov(other), rtol=1e-11, atol=1e-15)  # sums in another order
    tiny = run(farms(), conley(1e-6, "uniform"), estimator, weights=weights)
    np.testing.assert_allclose(cov(tiny), cov(other), rtol=1e-11, atol=1e-15)


def test_degrees_of_freedom_are_at_most_those_of_the_residuals() -> None:
    """Eight rows that weigh alike in the effect: of independent rows Satterthwaite would have 7, of six coefficients."""
    f = farms(places=4, units=4, years=2)
    f["first"] = np.where(f["farm"] < 2, 2001.0, np.nan)
    f["county"] = f["farm"]
    one = run(f, conley(0))
    assert one.uncertainty.df.tolist() == [8 - (1 + 4 + 2 - 1)]
    left = stats.t.sf(abs(one.params["ATT"] / one.bse["ATT"]), 2)
    assert one.pvalues["ATT"] == pytest.approx(2 * left, rel=1e-12)


@pytest.mark.parametrize("estimator", [TwoWayFE(), EventStudy(leads=3, lags=2)])
@pytest.mark.parametrize(("cutoff", "kernel"), [(INF, "uniform"), (INF, "bartlett"), (20_100.0, "uniform")])
def test_infinite_cutoff_is_one_cluster_a_period(estimator: Any, cutoff: float, kernel: str) -> None:
    one = run(farms(), conley(cutoff, kernel), estimator)
    other = run(farms(), Cluster("year", correction="none"), estimator)
    (part,) = one.fit.parts
    factor = 320 / (320 - part.regression.n_slopes - 40 - 8 + 1)
    np.testing.assert_allclose(cov(one), factor * cov(other), rtol=1e-11, atol=1e-16)


def test_infinite_cutoff_has_at_most_as_many_degrees_of_freedom_as_periods_less_one() -> None:
    f = farms()
    f["first"] = f["first"].where(f["first"] != 2005, np.nan)  # 4 of 8 years treated: every year pulls alike
    assert run(f, conley(INF)).uncertainty.df[0] == pytest.approx(7.0, rel=1e-12)


@pytest.mark.parametrize(
    "estimator", [Imputation(), Imputation(aggregate="dynamic", leads=2), Stacked(leads=2, lags=1)]
)
def test_estimators_with_influence_by_row_are_taken_without_a_factor(estimator: Any) -> None:
    f = farms(places=9)
    f["cell"] = f.groupby(["lat", "year"]).ngroup()
    for inference, other in ((conley(INF), Cluster("year", correction="none")), (conley(0), Cluster("cell", "none"))):
        np.testing.assert_allclose(
            cov(run(f, inference, estimator)), cov(run(f, other, estimator)), rtol=1e-11, atol=1e-16
        )
    one = run(f, conley(150), estimator)
    (part,) = one.fit.parts
    psi = np.zeros((len(f), len(one.fit.terms)))
    psi[part.sample.rows[:, None], part.positions] = part.influence.sum_within(
        np.arange(len(part.sample.rows)), len(part.sample.rows)
    )
    np.testing.assert_allclose(cov(one), psi.T @ near(f, 150, "bartlett") @ psi, rtol=1e-9, atol=1e-15)
    df = one.uncertainty.df[~np.isnan(one.uncertainty.df)]
    assert ((df > 1) & (df < len(f))).all()


def test_an_estimator_that_knows_whole_units_only_is_refused() -> None:
    with pytest.raises(InferenceError, match="influence of whole units") as caught:
        run(farms(), conley(100), CallawaySantAnna())
    assert "cluster" in caught.value.remedy


def test_distances_are_great_circles_in_kilometres() -> None:
    f = farms(places=2)
    f["lat"], f["lon"] = np.where(f["lat"] == f["lat"].iloc[0], 44.0, 45.0), 87.0
    degree = 2 * np.pi * RADIUS / 360  # 111.195 km
    apart, together = cov(run(f, conley(0))), cov(run(f, conley(INF)))
    assert abs(apart / together - 1).max() > 0.05
    np.testing.assert_allclose(cov(run(f, conley(degree - 1e-6, "uniform"))), apart, rtol=1e-12)
    np.testing.assert_allclose(cov(run(f, conley(degree + 1e-6, "uniform"))), together, rtol=1e-12)
    half = cov(run(f, conley(2 * degree)))  # a weight of one half
    np.testing.assert_allclose(half, (apart + together) / 2, rtol=1e-9)


def test_the_globe_may_be_turned() -> None:
    f = farms()
    base = cov(run(f, conley(200)))
    turned = f.assign(lat=-f["lat"], lon=(f["lon"] + 91.5 + 180) % 360 - 180)  # over the date line
    assert turned["lon"].min() < -170
    assert turned["lon"].max() > 170
    np.testing.assert_allclose(cov(run(turned, conley(200))), base, rtol=1e-9)


def test_one_place_may_be_written_in_two_ways() -> None:
    f = farms(places=2)
    one_place = f["lat"] == f["lat"].iloc[0]
    for first, second in (((10.0, 180.0), (10.0, -180.0)), ((90.0, 3.0), (90.0, 120.0)), ((0.0, 0.0), (-0.0, -0.0))):
        f["lat"], f["lon"] = np.where(one_place, first[0], second[0]), np.where(one_place, first[1], second[1])
        np.testing.assert_array_equal(cov(run(f, conley(0))), cov(run(f, conley(INF))))


def test_order_of_rows_changes_no_bit() -> None:
    f = farms(places=12)
    for estimator in (TwoWayFE(), Imputation()):
        one, other = (run(g, conley(150), estimator) for g in (f, f.sample(frac=1, random_state=2)))
        np.testing.assert_array_equal(cov(one), cov(other))
        np.testing.assert_array_equal(one.uncertainty.df, other.uncertainty.df)


def test_rows_that_moved_count_where_they_are() -> None:
    f = farms(places=9)
    f["lat"] += 0.3 * (f["year"] >= 2004) * (f["farm"] % 4 == 0)
    terms = {"ATT": post(f, "year", "first")}
    expected, df = written_out(f, near(f, 100, "bartlett"), terms)
    one = run(f, conley(100))
    np.testing.assert_allclose(cov(one), expected, rtol=1e-9)
    np.testing.assert_allclose(one.uncertainty.df, df, rtol=1e-9)


def test_many_neighbours_are_gone_through_in_shares() -> None:
    f = farms(places=1600, units=1600, years=6)  # 2.6 million pairs a year, of which two million are held at once
    f = f[np.random.default_rng(1).random(len(f)) > 0.05 * (f["year"] == 2003)]
    one, other = run(f, conley(2_000, "uniform")), run(f, conley(INF))  # all lie within 800 km of each other
    np.testing.assert_allclose(cov(one), cov(other), rtol=1e-9)
    np.testing.assert_allclose(one.uncertainty.df, other.uncertainty.df, rtol=1e-9)


def test_more_pairs_than_can_be_gone_through_are_refused_at_once() -> None:
    f = farms(places=30_000, units=30_000, years=12)
    with pytest.raises(InferenceError, match="pairs of places lie within 2000 km") as caught:
        run(f, conley(2_000))
    assert "cutoff=inf" in caught.value.remedy


def test_repeated_cross_sections_are_correlated_by_place() -> None:
    f = farms(places=9).drop(columns="farm").sample(frac=0.8, random_state=1)
    design = Design(outcome="y", adoption="first", assigned_at="county")
    panel = Panel.from_frame(f, unit=None, time="year")
    one, other = (estimate(panel, design, TwoWayFE(), inference=i) for i in (conley(INF), Cluster("year", "none")))
    (part,) = one.fit.parts
    left = 256 - 1 - part.regression.n_effects
    np.testing.assert_allclose(cov(one), 256 / left * cov(other), rtol=1e-10)


@pytest.mark.parametrize("cutoff", [0.0, 150.0, INF])
def test_collapsed_rows_and_counts_are_exact(cutoff: float) -> None:
    f = farms(places=5)
    design = Design(outcome="y", adoption="first", assigned_at="county")
    cells = collapse(f, design, unit="farm", time="year", by=("lat", "lon"))
    assert len(cells) < len(f)
    one, other = estimate(cells, design, TwoWayFE(), inference=conley(cutoff)), run(f, conley(cutoff))
    np.testing.assert_allclose(cov(one), cov(other), rtol=1e-9)
    np.testing.assert_allclose(one.uncertainty.df, other.uncertainty.df, rtol=1e-9)
    f["times"] = f["farm"] % 3 + 1
    twice = f.loc[f.index.repeat(f["times"])]
    twice["farm"] = twice["farm"] * 10 + twice.groupby(["farm", "year"]).cumcount()
    counted = Panel.from_frame(f, unit="farm", time="year", counts="times")
    one, other = estimate(counted, design, TwoWayFE(), inference=conley(cutoff)), run(twice, conley(cutoff))
    np.testing.assert_allclose(cov(one), cov(other), rtol=1e-9)
    np.testing.assert_allclose(one.uncertainty.df, other.uncertainty.df, rtol=1e-9)


def uneven(seed: int) -> pd.DataFrame:
    """Three places in a row, the outer ones out of reach of each other, with outcomes that make the kernel negative."""
    f = farms()[["farm", "year", "county", "first", "income"]]
    rng = np.random.default_rng(seed)
    f["lat"], f["lon"] = 44.0 + f["farm"] % 3, 87.0
    shock = rng.normal(size=8)
    f["y"] = shock[f["year"] - 2000] * f["first"].notna() * np.array([1.0, -1.4, 1.0])[f["farm"] % 3]
    f["y"] += 0.1 * rng.normal(size=len(f))
    return f


def test_negative_eigenvalues_are_set_to_zero_and_said() -> None:
    f = uneven(0)
    f["income"] *= 1e6  # units of a covariate change no other term
    one = run(f, conley(120, "uniform"), covariates=("income",))
    terms = {"ATT": post(f, "year", "first"), "income": f["income"].to_numpy()}
    raw, _ = written_out(f, near(f, 120, "uniform"), terms)
    places, _ = written_out(f, near(f, 1e-6, "uniform"), terms)
    scale = np.sqrt(np.diag(places))
    values, vectors = np.linalg.eigh(raw / np.outer(scale, scale))
    assert values[0] < -0.1
    mended = vectors * np.maximum(values, 0) @ vectors.T * np.outer(scale, scale)
    np.testing.assert_allclose(cov(one), mended, rtol=1e-8)
    assert "negative eigenvalues are set to 0" in one.summary()
    assert "负特征值已置零" in one.summary("zh")
    alone = run(f, conley(120, "uniform"))
    assert written_out(f, near(f, 120, "uniform"), {"ATT": post(f, "year", "first")})[0] < 0
    assert np.isnan(alone.bse["ATT"])
    assert "negative eigenvalues are set to 0" in alone.summary()


@pytest.mark.parametrize("cutoff", [INF, 2_000.0])
def test_influence_that_cancels_among_neighbours_gives_no_standard_error(cutoff: float) -> None:
    f = farms()
    f["first"] = f["first"].where(f["first"] != 2005, np.nan)
    one = run(f, conley(cutoff, "uniform"), EventStudy(leads=4, lags=3))
    assert one.bse.isna().all()
    assert "cancels" in one.summary()


def test_the_reader_is_told_that_correlation_over_time_is_not_allowed_for() -> None:
    one = run(farms(), conley(100))
    assert "errors of different periods are taken as independent" in one.summary()
    assert "双重差分中这一假定很少成立" in one.summary("zh")
    assert "within 100 km in the same period (Conley, Bartlett kernel)" in one.summary()
    assert "any distance" in run(farms(), conley(INF)).summary()
    assert one.uncertainty.unsupported is None


def test_few_assigned_units_that_hold_many_are_marked() -> None:
    f = farms()
    f["first"] = np.where(f["county"] < 2, 2004.0, np.nan)
    marked = run(f, conley(100))
    assert marked.uncertainty.unsupported is not None
    assert "policy was assigned to so few county" in marked.summary()
    assert np.isnan(marked.wald(["ATT"]).p_value)
    own = run(f.assign(county=f["farm"]), conley(100))  # then each unit is assigned on its own: 6 of 40
    assert own.uncertainty.unsupported is None


def test_few_degrees_of_freedom_are_marked() -> None:
    few = farms()[lambda f: f["year"].between(2002, 2005)]
    few["first"] = few["first"].where(few["first"] != 2005, np.nan)
    one = run(few, conley(INF))
    assert one.uncertainty.df[0] == pytest.approx(3.0)
    assert one.uncertainty.unsupported is not None
    assert "effectively 3.0 degrees of freedom" in one.summary()
    path = run(farms(), conley(INF), EventStudy(leads=2, lags=1))
    assert np.isnan(path.wald(["ATT(e=0)", "ATT(e=1)"]).p_value)
    assert "degrees of freedom" in str(path.wald(["ATT(e=0)", "ATT(e=1)"]).reason)
    joint = run(farms(), conley(50), EventStudy(leads=2, lags=1)).wald(["ATT(e=0)", "ATT(e=1)"])
    assert 0 < joint.p_value < 1


def test_p_values_are_of_t_with_these_degrees_of_freedom() -> None:
    one = run(farms(), conley(300))
    row = one.tidy().iloc[0]
    df = one.uncertainty.df[0]
    assert 5 < df < 60
    assert row.p_value == pytest.approx(2 * stats.t.sf(abs(row.estimate / row.std_error), df), rel=1e-12)


def test_without_anything_left_there_is_no_standard_error() -> None:
    f = farms()[lambda f: f["farm"].isin([0, 8]) & f["year"].isin([2003, 2004])]
    one = run(f, conley(10_000))
    assert one.uncertainty.covariance.shape == (1, 1)
    assert np.isnan(one.bse["ATT"])


@pytest.mark.parametrize(
    ("column", "value", "says"),
    [
        ("lat", np.nan, "the coordinate is missing in 1 rows"),
        ("lon", np.nan, "the coordinate is missing in 1 rows"),
        ("lat", 90.5, "not between -90 and 90 in 1 rows"),
        ("lon", -181.0, "not between -180 and 180 in 1 rows"),
        ("lat", INF, "not between -90 and 90 in 1 rows"),
        ("lat", "44°12'", "'44°12'' is not a number"),
    ],
)
@pytest.mark.parametrize("cutoff", [0.0, 100.0, INF])
def test_wrong_coordinates_are_refused_by_row(column: str, value: Any, says: str, cutoff: float) -> None:
    f = farms()
    f.index = f.index + 1000
    f[column] = f[column].astype(object if isinstance(value, str) else float)
    f.loc[1057, column] = value
    with pytest.raises(DataError, match=says) as caught:
        run(f, conley(cutoff))
    assert column in caught.value.where
    assert "1057" in caught.value.where
    assert caught.value.remedy


def test_rows_that_the_design_leaves_out_need_no_coordinates() -> None:
    f = farms()
    f.loc[57, ["lat", "y"]] = np.nan
    one = run(f, conley(100))
    np.testing.assert_array_equal(cov(one), cov(run(f.drop(index=57), conley(100))))


def test_a_missing_column_is_named() -> None:
    with pytest.raises(DataError, match="no column 'latitude'") as caught:
        run(farms(), Conley(latitude="latitude", longitude="lon", cutoff=10))
    assert "lat" in caught.value.remedy


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"cutoff": -1}, "cutoff is -1"),
        ({"cutoff": float("nan")}, "cutoff is nan"),
        ({"cutoff": True}, "cutoff is True"),
        ({"cutoff": "100"}, "cutoff is '100'"),
        ({"cutoff": 10, "kernel": "barlett"}, "kernel 'barlett' is unknown"),
        ({"cutoff": 10, "latitude": "lon"}, "both 'lon'"),
    ],
)
def test_bad_settings_are_refused(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(InferenceError, match=says) as caught:
        Conley(**{"latitude": "lat", "longitude": "lon", **settings})
    assert caught.value.remedy


def villages() -> pd.DataFrame:
    f = farms(units=48, years=6)
    village = f["farm"] // 4
    f["lat"], f["lon"] = 42.0 + village % 4 + 0.01 * (f["farm"] % 4), 85.0 + village // 4  # within 4 km, 80 km apart
    f["county"], f["first"], f["cell"] = (
        f["farm"],
        np.where(village % 2 == 0, 2003.0, np.nan),
        village * 10_000 + f["year"],
    )
    f["y"] = np.random.default_rng(1).normal(size=len(f))
    return f


def test_places_within_reach_of_one_another_and_no_others_are_clusters_of_a_period() -> None:
    f = villages()
    one, other = run(f, conley(20, "uniform")), run(f, Cluster("cell", correction="none"))
    np.testing.assert_allclose(cov(one), 288 / (288 - 1 - 48 - 5) * cov(other), rtol=1e-11)


@pytest.mark.exhaustive
def test_shocks_shared_by_villages_and_not_over_time_are_allowed_for() -> None:
    f = villages()
    rng = np.random.default_rng(9)
    rejected = {"Conley": 0, "Robust": 0}
    for _ in range(200):
        f["y"] = (np.repeat(rng.normal(size=(12, 6)), 4, axis=0) + 0.5 * rng.normal(size=(48, 6))).ravel()
        for inference in (conley(20, "uniform"), Robust()):
            rejected[type(inference).__name__] += run(f, inference).pvalues["ATT"] < 0.05
    assert rejected["Conley"] <= 20  # of 200 at .05, more than 20 come up in one case of 1,000
    assert rejected["Robust"] >= 40


def test_pairs_are_of_places_not_of_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred thousand rows at a hundred places: ten billion pairs of rows would take minutes."""
    f = farms(places=100, units=5000, years=20)
    panel, design = (
        Panel.from_frame(f, unit="farm", time="year"),
        Design(outcome="y", adoption="first", assigned_at="county"),
    )
    weigh, pairs = spatial._weigh, []

    def note(fit: Any, way: Any, near: Any) -> Any:
        listed = list(near)
        pairs.extend(one.weights.nnz for one in listed)
        return weigh(fit, way, listed)

    monkeypatch.setattr(spatial, "_weigh", note)
    estimate(panel, design, TwoWayFE(), inference=conley(100))
    assert 20 * 100 <= sum(pairs) <= 20 * 100**2
