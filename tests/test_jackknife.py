"""The cluster jackknife of regressions in closed form: R clubSandwich, and estimating anew without each cluster."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import cases
import cluster_oracle
from evalkit import Design, Estimate, Panel, collapse, estimate
from evalkit.errors import DataError, EvalkitError, InferenceError
from evalkit.estimators import (
    CallawaySantAnna,
    EventStudy,
    ExtendedTWFE,
    Imputation,
    Split,
    SunAbraham,
    TripleDifference,
    TwoWayFE,
)
from evalkit.inference import BiasReduced, Cluster, Jackknife
from evalkit.inference.jackknife import EffectiveT, _estimate_anew, _without_clusters, _without_units
from evalkit.numerics.loadings import ShockMap
from evalkit.results.clusters import assignment, cluster_by
from evalkit.results.estimation import Estimator
from evalkit.results.loadings import loadings_of
from test_bias_reduced import CLUB, by_r, data, farms, few, ours, run, staggered, thin

CR3 = [name for name in CLUB if CLUB[name]["covariance"]["CR3"] is not None]


@pytest.mark.parametrize("name", CR3)
def test_clubsandwich_cr3_times_its_factor(name: str) -> None:
    """CR3 of demeaned rows holds for all weights: leaving out clusters needs no root of a matrix."""
    one, case, terms = by_r(name)
    one = one.under(Jackknife(by=case["cluster"]))
    clusters = case["n_clusters"]
    V = np.array(case["covariance"]["CR3"]) * (clusters - 1) / clusters
    scale = np.sqrt(np.diag(V))
    assert np.abs((one.vcov().loc[terms, terms] - V) / np.outer(scale, scale)).to_numpy().max() < 1e-9
    assert (one.uncertainty.df <= clusters - 1)[one.params.index.get_indexer(terms)].all()


@pytest.mark.parametrize("name", [name for name in CR3 if not name.endswith("false")])
def test_degrees_of_freedom_are_those_of_effective_clusters(name: str) -> None:
    """G* is that of loadings by dense matrices, and t is as wide as min(G, G*) - 1 makes it."""
    one, case, terms = by_r(name)
    one = one.under(Jackknife(by=case["cluster"]))
    f, events = data(case), [int(ours(t)[6:-1]) for t in case["terms"] if t.startswith(("lead", "lag"))]
    X = {"ATT": cases.post(f, case["time"], "first")}
    if events:
        X = cases.event_columns(f, case["time"], "first", -min(events), max(events))
    X |= {term: f[term] for term in case["terms"] if ours(term) == term}
    second = f[case["time"]] if case["dummies"][1] != "cell" else f.groupby(["group", case["time"]]).ngroup()
    w = None if case["weights"] is None else f[case["weights"]]
    effects = [f[case["unit"]], second]
    rows = cluster_oracle.rows_of(f[case["outcome"]], np.column_stack([*X.values()]), effects, f[case["cluster"]], w)
    told = one.tidy(covariates=True).set_index("term").loc[[*X]]
    assert sorted(X) == sorted(terms)
    for i, term in enumerate(X):
        effective = cluster_oracle.effective(rows.loadings(f[case["time"]])[:, i])
        df = one.uncertainty.df[one.params.index.get_loc(term)]
        assert df == pytest.approx(min(case["n_clusters"], effective) - 1, rel=1e-8)
        assert told["p_value"][term] == pytest.approx(2 * stats.t.sf(abs(told["statistic"][term]), df), rel=1e-9)


def test_degrees_of_freedom_of_a_combination_and_of_an_estimate_without_a_regression() -> None:
    """Refits with a unit shock to each county and year: of a difference of two averages, it is that of both together."""
    f = thin(farms())
    estimator = CallawaySantAnna(aggregate="dynamic")
    one = run(f, estimator, Jackknife())
    moved = []
    for _, rows in f.groupby(["county", "t"]).groups.items():
        shocked = f.assign(y=f["y"] + f.index.isin(rows))
        moved.append(run(shocked, estimator, Cluster()).params - one.params)
    loadings = np.array(moved).reshape(f["county"].nunique(), f["t"].nunique(), -1)
    late, soon = one.params.index.get_indexer(["ATT(e=2)", "ATT(e=0)"])
    for weights in (np.eye(len(one.params))[late], np.eye(len(one.params))[late] - np.eye(len(one.params))[soon]):
        effective = cluster_oracle.effective(loadings @ weights)
        assert 1 < effective < 9
        assert one.distribution.df(weights) == pytest.approx(effective - 1, rel=1e-6)
    row = one.contrast("ATT(e=2)", "ATT(e=0)").iloc[0]
    assert row["p_value"] == pytest.approx(2 * stats.t.sf(abs(row["statistic"]), effective - 1), rel=1e-6)


def anew(f: pd.DataFrame, one: Estimate, by: str) -> Any:
    """Estimate again without the rows of each cluster: changes (G, k), NaN for terms that are then missing."""
    moves = []
    for g in sorted(f[by].unique()):
        panel = Panel.from_frame(f[f[by] != g], unit=one.spec.panel.unit, time=one.spec.panel.time)
        try:
            again = one.spec.estimator.fit(panel, one.spec.design)
        except EvalkitError:
            moves.append(np.full(len(one.params), np.nan))
            continue
        found = dict(zip([term.name for term in again.terms], again.coefficients, strict=True))
        moves.append([found.get(name, np.nan) - b for name, b in one.params.items()])
    return np.array(moves)


@pytest.mark.parametrize("by", ["county", "zone"])
@pytest.mark.parametrize(
    ("estimator", "change"),
    [
        (TwoWayFE(), {"covariates": ("x1", "x2"), "weights": "size", "absorb": ("large*t",)}),
        (EventStudy(leads=3, lags=2), {"covariates": ("x1",)}),
        (Split(by="large", estimator=TwoWayFE()), {"covariates": ("x1",), "weights": "size"}),
        (TripleDifference(), {"eligible": "large"}),
    ],
    ids=["weighted, absorbed", "events", "subgroups", "triple"],
)
def test_estimating_anew_without_each_cluster(estimator: Estimator, change: dict[str, Any], by: str) -> None:
    f = thin(farms())
    one = run(f, estimator, Jackknife(by=by), **change)
    moves = anew(f, one, by)
    clusters = f[by].nunique()
    assert not np.isnan(moves).any()
    V = (clusters - 1) / clusters * moves.T @ moves
    scale = np.sqrt(np.diag(V))
    scale[scale == 0] = 1.0  # the base
    np.testing.assert_allclose(one.vcov() / np.outer(scale, scale), V / np.outer(scale, scale), atol=1e-9)


def test_dummies_in_place_of_absorbed_effects() -> None:
    f = thin(farms())
    one = run(f, TwoWayFE(), Jackknife(), covariates=("x1", "x2"), weights="size")
    rows = cluster_oracle.rows_of(f["y"], f[["d", "x1", "x2"]], [f["id"], f["t"]], f["county"], f["size"])
    moves = cluster_oracle.without_each(rows)
    V = 8 / 9 * moves.T @ moves
    np.testing.assert_allclose(one.vcov(), V, rtol=1e-9, atol=1e-12 * V.max())


def test_a_subgroup_missing_from_some_clusters_has_its_own_factor() -> None:
    f = thin(farms())
    f = f[~((f["large"] == 1) & f["county"].isin([0, 8]))].reset_index(drop=True)
    one = run(f, Split(by="large", estimator=TwoWayFE()), Jackknife())
    for value, clusters in ((0, 9), (1, 7)):
        alone = run(f[f["large"] == value].reset_index(drop=True), TwoWayFE(), Jackknife())
        assert one.bse[f"ATT [large={value}]"] == pytest.approx(alone.bse["ATT"], rel=1e-10)
        at = one.params.index.get_loc(f"ATT [large={value}]")
        part = f[f["large"] == value]
        X, effects = part["d"].to_numpy(float)[:, None], [part["id"], part["t"]]
        rows = cluster_oracle.rows_of(part["y"], X, effects, part["county"])
        df = min(clusters, cluster_oracle.effective(rows.loadings(part["t"])[:, 0])) - 1
        assert [one.uncertainty.df[at], alone.uncertainty.df[0]] == pytest.approx([df, df], rel=1e-9)
        assert one.pvalues.iloc[at] == pytest.approx(alone.pvalues.iloc[0], rel=1e-9)


def test_collapsed_rows_are_the_rows_they_stand_for() -> None:
    f = farms()
    design = Design(outcome="y", adoption="first", assigned_at="county")
    small, whole = collapse(f, design, unit="id", time="t"), Panel.from_frame(f, unit="id", time="t")
    one, other = (estimate(p, design, EventStudy(leads=3, lags=2), inference=Jackknife()) for p in (small, whole))
    np.testing.assert_allclose(one.bse, other.bse, rtol=1e-10)


def test_averages_over_cohorts_take_the_shares_of_the_clusters_that_are_left() -> None:
    f = cases.read("wooldridge_ezunem")
    f = f.assign(first=f["year"].where(f["ez"] == 1).groupby(f["city"]).transform("min"))
    design = Design(outcome="luclms", adoption="first", assigned_at="city")
    panel = Panel.from_frame(f, unit="city", time="year")
    one = estimate(panel, design, SunAbraham(aggregate="simple"), inference=Jackknife())
    moves = anew(f, one, "city")
    assert one.bse["ATT"] == pytest.approx(np.sqrt(21 / 22 * (moves**2).sum()), rel=1e-9)
    assert one.bse["ATT"] > 1.001 * one.under(BiasReduced()).bse["ATT"]  # which takes the shares as fixed


# ---- averages over cohorts in closed form -----------------------------------------------------------------------

KINDS: tuple[Literal["dynamic", "simple", "cohort", "cohort_time"], ...] = (
    "dynamic",
    "simple",
    "cohort",
    "cohort_time",
)
AVERAGES = [kind(aggregate=aggregate) for kind in (SunAbraham, ExtendedTWFE) for aggregate in KINDS]


def cohorts(farms_in: int = 1, lost: float = 0.0) -> pd.DataFrame:
    """Cohorts of three, two and one county in 2013, 2014 and 2015, and five never treated, over 2010-2016."""
    rng = np.random.default_rng(8)
    first = np.array([2013, 2013, 2013, 2014, 2014, 2015] + 5 * [np.nan])
    county = np.repeat(np.arange(11), 7 * farms_in)
    f = pd.DataFrame({"county": county, "farm": np.repeat(np.arange(11 * farms_in), 7)})
    f["year"] = np.tile(np.arange(2010, 2017), 11 * farms_in)
    f["first"], f["w"] = first[county], rng.uniform(0.5, 2.0, len(f))
    f["y"] = 100.0 + rng.normal(size=len(f)) + 0.3 * county + (f["year"] >= f["first"]) * (f["year"] - 2012.0)
    return f[rng.random(len(f)) >= lost].reset_index(drop=True)


def dense(one: ShockMap) -> Any:
    one = one.expand()
    functionals = one.functionals if isinstance(one.functionals, np.ndarray) else one.functionals.toarray()
    return one.own.toarray() - one.pull @ functionals


@pytest.mark.parametrize("estimator", AVERAGES, ids=lambda e: f"{type(e).__name__} {e.aggregate}")
@pytest.mark.parametrize(
    ("farms_in", "lost", "weights"), [(1, 0.0, None), (2, 0.0, None), (2, 0.15, "w")], ids=["cells", "farms", "gaps"]
)
def test_averages_in_closed_form_are_estimates_anew(
    estimator: Any, farms_in: int, lost: float, weights: str | None
) -> None:
    """Leaving out clusters in closed form, one of each class, and all by refits: changes, notes and maps of shocks."""
    f = cohorts(farms_in, lost)
    design = Design(outcome="y", adoption="first", assigned_at="county", weights=weights)
    panel = Panel.from_frame(f, unit="farm", time="year")
    one = estimate(panel, design, estimator, inference=Jackknife())
    fit, way = one.fit, assignment(one.fit)
    loadings = loadings_of(fit, one.spec, way)
    closed, units = _without_clusters(fit, one.spec, way, None), _without_units(fit, one.spec, way)
    every, notes = _estimate_anew(fit, one.spec, way, loadings, np.arange(11))
    moves = np.array([other.moved(fit) for _, other in every])
    np.testing.assert_allclose(moves, anew(f, one, "county"), rtol=1e-9, atol=1e-10)  # by panels without the rows
    for found in (closed, units):
        np.testing.assert_allclose(found.moves, moves, rtol=1e-9, atol=1e-10)
        assert [str(note) for note in found.notes] == [str(note) for note in notes]
    alone = np.isnan(moves).any(axis=0)
    leads = isinstance(estimator, SunAbraham) and estimator.aggregate == "dynamic"
    assert alone.any() == (leads or estimator.aggregate.startswith("cohort"))  # 2015 is one county
    np.testing.assert_array_equal(np.isnan(one.bse), alone | [term.role == "base" for term in fit.terms])
    mixed = np.where(alone, 0.0, np.random.default_rng(0).normal(size=len(alone)))
    whole = loadings.values @ mixed
    expected = np.array([(other.values(loadings, mixed) - whole).ravel() for _, other in every])
    scale = np.abs(expected).max()
    for found in (closed, units):
        np.testing.assert_allclose(dense(found.shock_map(mixed)), expected, rtol=0, atol=1e-9 * scale)
    if farms_in == 1:  # a linear estimate is its loadings times the outcomes
        y = f.pivot_table("y", "county", "year").to_numpy().ravel()
        assert whole.ravel() @ y == pytest.approx(mixed @ fit.coefficients, rel=1e-9)
        np.testing.assert_allclose(dense(closed.shock_map(mixed)) @ y, moves[:, ~alone] @ mixed[~alone], atol=1e-9)


def test_the_map_of_shocks_of_the_distribution_has_the_factor_of_the_variance() -> None:
    f = cohorts()
    design = Design(outcome="y", adoption="first", assigned_at="county")
    one = estimate(Panel.from_frame(f, unit="farm", time="year"), design, SunAbraham("simple"), inference=Jackknife())
    assert isinstance(one.distribution, EffectiveT)
    moved = dense(one.distribution.shock_map(np.ones(1))) @ f.pivot_table("y", "county", "year").to_numpy().ravel()
    assert np.linalg.norm(moved) == pytest.approx(one.bse["ATT"], rel=1e-9)


# ---- what one cluster alone determines --------------------------------------------------------------------------


def test_a_term_that_one_cluster_determines_is_named() -> None:
    f = staggered()
    design = Design(outcome="y", adoption="first", assigned_at="county")
    panel = Panel.from_frame(f, unit="county", time="year")
    one = estimate(panel, design, EventStudy(leads=2, lags=3), inference=Jackknife())
    moves = anew(f, one, "county")
    lost = np.isnan(moves).any(axis=0)
    assert one.params.index[lost].tolist() == ["ATT(e=3)"]
    assert np.isnan(one.bse["ATT(e=3)"])
    kept = moves[:, ~lost]
    V = one.vcov().to_numpy()[np.ix_(~lost, ~lost)]
    np.testing.assert_allclose(V, 8 / 9 * kept.T @ kept, rtol=1e-9, atol=1e-12)
    notes = [str(note) for note in one.notes]
    assert "ATT(e=3): cannot be estimated without county 1; there is no standard error" in notes
    assert np.isnan(one.average([2, 3])["std_error"].iloc[0])
    assert one.average([0, 1])["std_error"].iloc[0] > 0
    with pytest.raises(InferenceError, match="a term has no standard error"):
        one.wald(["ATT(e=0)", "ATT(e=3)"])


def test_a_covariate_that_one_cluster_determines_leaves_the_effect() -> None:
    """It takes another slope for county 4 alone: without the county there is nothing to find it from, and the effect stands."""
    f = thin(farms()).assign(own=lambda f: np.where(f["county"] == 4, f["x2"], 0.0))
    one = run(f, TwoWayFE(), Jackknife(), covariates=("x1", "own"))
    moves = anew(f, one, "county")[:, :2]
    assert np.isnan(one.bse["own"])
    np.testing.assert_allclose(one.vcov().iloc[:2, :2], 8 / 9 * moves.T @ moves, rtol=1e-9)
    assert [str(note) for note in one.uncertainty.notes] == [
        "own: cannot be estimated without county 4; there is no standard error"
    ]


def test_clusters_that_lose_the_same_terms_share_a_note() -> None:
    f = thin(farms()).assign(own=lambda f: np.where(f["county"] == 4, f["x2"], 0.0))
    f["other"] = np.where(f["county"] == 2, f["x1"], 0.0)
    f["less"] = f["own"] - f["other"]
    f["more"] = f["own"] + 2 * f["other"]
    one = run(f, TwoWayFE(), Jackknife(), covariates=("less", "more"))
    notes = [str(note) for note in one.uncertainty.notes]
    assert notes == ["less, more: cannot be estimated without county 2, 4; there is no standard error"]


def test_one_treated_cluster_is_refused() -> None:
    f = few()
    f = f[f["county"] != 2]
    design = Design(outcome="y", adoption="first", assigned_at="county")
    with pytest.raises(InferenceError, match="without county 1 the effect cannot be estimated") as raised:
        estimate(Panel.from_frame(f, unit="county", time="year"), design, TwoWayFE(), inference=Jackknife())
    assert "PooledGroups()" in raised.value.remedy


def test_one_control_cluster_is_refused() -> None:
    f = few()
    f = f[f["county"] < 4]
    design = Design(outcome="y", adoption="first", assigned_at="county")
    with pytest.raises(InferenceError, match="without county 3 the effect cannot be estimated"):
        estimate(Panel.from_frame(f, unit="county", time="year"), design, TwoWayFE(), inference=Jackknife())


# ---- settings and invariances -----------------------------------------------------------------------------------


def test_a_column_of_clusters_takes_a_regression() -> None:
    with pytest.raises(InferenceError, match="estimated anew without each unit of assignment, not without values"):
        run(farms(), CallawaySantAnna(), Jackknife(by="zone"))
    with pytest.raises(InferenceError, match="estimated anew without each unit of assignment, not") as raised:
        run(farms(), Imputation(), Jackknife(by="zone"))
    assert "assigned_at" in raised.value.remedy


@pytest.mark.parametrize("kind", [SunAbraham, ExtendedTWFE])
def test_averages_without_each_value_of_a_column(kind: Any) -> None:
    """Some zones hold a cohort alone, so that without them it is estimated anew: the rows of the zone leave, not of a county."""
    f = thin(farms())
    assert f.groupby("first")["zone"].nunique().min() == 1
    one = run(f, kind(aggregate="simple"), Jackknife(by="zone"), weights="size")
    moves = anew(f, one, "zone")
    assert one.bse["ATT"] == pytest.approx(np.sqrt(4 / 5 * (moves**2).sum()), rel=1e-9)
    assert isinstance(one.distribution, EffectiveT)
    way = cluster_by("zone", one.fit, one.spec)
    loadings = loadings_of(one.fit, one.spec, way)
    every, _ = _estimate_anew(one.fit, one.spec, way, loadings, np.arange(5))
    np.testing.assert_allclose([other.moved(one.fit) for _, other in every], moves, rtol=1e-9)
    expected = [(other.values(loadings, np.ones(1)) - loadings.values @ np.ones(1)).ravel() for _, other in every]
    told = dense(one.distribution.shock_map(np.ones(1))) / np.sqrt(4 / 5)
    np.testing.assert_allclose(told, expected, atol=1e-9 * np.abs(expected).max())


def test_columns_that_cannot_be_clusters() -> None:
    with pytest.raises(InferenceError, match="the clusters divide units"):
        run(farms(), TwoWayFE(), Jackknife(by="t"))
    with pytest.raises(DataError, match="did you mean 'county'"):
        run(farms(), TwoWayFE(), Jackknife(by="conty"))
    with pytest.raises(InferenceError, match="there is only one cluster"):
        run(farms(all=1), TwoWayFE(), Jackknife(by="all"))


def test_row_order_changes_no_bit() -> None:
    f = thin(farms())
    one = run(f, EventStudy(leads=3, lags=2), Jackknife(), weights="size")
    other = run(f.sample(frac=1, random_state=1), EventStudy(leads=3, lags=2), Jackknife(), weights="size")
    pd.testing.assert_frame_equal(one.tidy(), other.tidy(), check_exact=True)


@pytest.mark.parametrize("scale", [1e12, 1e-9])
def test_units_of_the_outcome(scale: float) -> None:
    f = thin(farms())
    one = run(f, TwoWayFE(), Jackknife(), covariates=("x1",))
    other = run(f.assign(y=scale * (f["y"] + 3)), TwoWayFE(), Jackknife(), covariates=("x1",))
    np.testing.assert_allclose(other.bse, scale * one.bse, rtol=1e-10)
    np.testing.assert_allclose(other.pvalues, one.pvalues, rtol=1e-8)


def test_a_fit_without_residuals_has_no_error() -> None:
    one = run(farms().assign(y=lambda f: 2.0 * f["d"] + f["t"] + f["id"]), TwoWayFE(), Jackknife())
    assert np.isnan(one.bse["ATT"])
    assert any("nothing changes whichever" in str(note) for note in one.notes)
