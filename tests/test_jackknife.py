"""The cluster jackknife of regressions in closed form: R clubSandwich, and estimating anew without each cluster."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

import cases
import cluster_oracle
from evalkit import Design, Estimate, Panel, collapse, estimate
from evalkit.errors import DataError, EvalkitError, InferenceError
from evalkit.estimators import CallawaySantAnna, EventStudy, Split, SunAbraham, TripleDifference, TwoWayFE
from evalkit.inference import BiasReduced, Jackknife
from evalkit.results.estimation import Estimator
from test_bias_reduced import CLUB, by_r, farms, few, run, staggered, thin

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
    assert (one.uncertainty.df == clusters - 1)[one.params.index.get_indexer(terms)].all()


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
        assert one.uncertainty.df[at] == clusters - 1 == alone.uncertainty.df[0]
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
    with pytest.raises(InferenceError, match="residuals of a regression"):
        run(farms(), CallawaySantAnna(), Jackknife(by="zone"))
    f = cases.mpdta().assign(first=lambda f: f["first"].where(f["first"] > 0))
    design = Design(outcome="lemp", adoption="first", assigned_at="countyreal")
    with pytest.raises(InferenceError, match="averages over cohorts are estimated anew") as raised:
        estimate(
            Panel.from_frame(f, unit="countyreal", time="year"), design, SunAbraham(), inference=Jackknife(by="group")
        )
    assert "assigned_at" in raised.value.remedy


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
