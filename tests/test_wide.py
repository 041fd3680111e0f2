"""Regressions with too many absorbed effects for a basis: seen by their rows, they tell what the basis and brute force tell."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import cluster_oracle
from evalkit import Design, Estimate, Panel, estimate
from evalkit.errors import InferenceError
from evalkit.estimators import EventStudy, Split, SunAbraham, TripleDifference, TwoWayFE
from evalkit.inference import BiasReduced, ByDesign, Cluster, Jackknife, WildBootstrap
from evalkit.numerics import wide
from evalkit.results import basis, loadings
from evalkit.results.basis import Seen, SeenByRows, see
from evalkit.results.clusters import way_of
from evalkit.results.estimation import Estimator, Inference
from evalkit.results.loadings import loadings_of
from test_bias_reduced import farms, few, run, staggered, thin


@pytest.fixture
def by_rows(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Let every regression count as too wide for a basis from the call on."""
    return lambda: monkeypatch.setattr(basis, "_MOST_NUMBERS", 0.0)


SAME: dict[str, tuple[Estimator, dict[str, Any]]] = {
    "weighted, absorbed": (TwoWayFE(), {"covariates": ("x1", "x2"), "weights": "size", "absorb": ("large*t",)}),
    "nested levels": (TwoWayFE(), {"absorb": ("stage",), "weights": "size"}),
    "events": (EventStudy(leads=3, lags=2), {"covariates": ("x1",), "absorb": ("zone*t",)}),
    "subgroups": (Split(by="large", estimator=TwoWayFE()), {"covariates": ("x1",), "weights": "size"}),
    "triple": (TripleDifference(), {"eligible": "large"}),
    "cohorts": (SunAbraham(), {}),
}


def under(frame: pd.DataFrame, name: str, by: str | None) -> Estimate:
    estimator, change = SAME[name]
    return run(frame, estimator, BiasReduced(by=by), **change)


CASES = [(name, by) for name in SAME for by in (None, "id")]  # fewer clusters than effects, and more
CASES.remove(("cohorts", None))  # effects of one county


@pytest.mark.parametrize(("name", "by"), CASES)
def test_rows_tell_what_the_basis_tells(name: str, by: str | None, by_rows: Callable[[], None]) -> None:
    f = thin(farms()).assign(stage=lambda f: f["id"] * 10 + (f["t"] > 5))
    one = under(f, name, by)
    way = way_of(by, one.fit, one.spec)
    seen, ours = see(one.fit, way, "test"), loadings_of(one.fit, one.spec, way)
    plain = [[*row] for row in (ours.values.ravel(), one.uncertainty.df)]
    by_rows()
    other = under(f, name, by)
    again, theirs = see(other.fit, way, "test"), loadings_of(other.fit, other.spec, way)
    assert isinstance(seen, Seen)
    assert isinstance(again, SeenByRows)
    scale = np.sqrt(np.where(np.diag(one.vcov()) > 0, np.diag(one.vcov()), 1.0))
    np.testing.assert_allclose(other.vcov() / np.outer(scale, scale), one.vcov() / np.outer(scale, scale), atol=1e-9)
    np.testing.assert_allclose(other.uncertainty.df, plain[1], rtol=1e-8)
    np.testing.assert_array_equal(again.determined(), seen.determined())
    np.testing.assert_allclose(theirs.values.ravel(), plain[0], atol=1e-10 * np.abs(plain[0]).max() + 1e-14)
    moves = seen.summed(-1.0)
    np.testing.assert_allclose(again.summed(-1.0), moves, atol=1e-9 * np.abs(moves).max())
    each = np.eye(len(one.fit.terms))[[term.role == "effect" for term in one.fit.terms]]
    for weights in (each[-1], each.sum(axis=0)):
        for power in (-0.5, -1.0):
            found = again.shock_map(weights, power)
            assert found is not None
            np.testing.assert_allclose(found.moments(), seen.shock_map(weights, power).moments(), rtol=1e-8)
        assert theirs.expected_size(weights) == pytest.approx(ours.expected_size(weights), rel=1e-8)
        np.testing.assert_allclose(theirs.lasting(weights), ours.lasting(weights), rtol=1e-8)
    if len(each) > 1:
        joint = [e.distribution.judge_jointly(each[:2]) for e in (one, other)]
        np.testing.assert_allclose([joint[1].statistic, *joint[1].df], [joint[0].statistic, *joint[0].df], rtol=1e-8)


def test_the_hat_matrix_and_estimating_anew(by_rows: Callable[[], None]) -> None:
    f = thin(farms())
    by_rows()
    one = run(f, TwoWayFE(), BiasReduced(), absorb=("large*t",), covariates=("x1", "x2"), weights="size")
    effects = [f["id"], f.groupby(["large", "t"]).ngroup()]
    rows = cluster_oracle.rows_of(f["y"], f[["d", "x1", "x2"]], effects, f["county"], f["size"])
    club = cluster_oracle.bias_reduced(rows)
    np.testing.assert_allclose(one.vcov(), club.covariance, rtol=1e-8, atol=1e-11 * club.covariance.max())
    moves = cluster_oracle.without_each(rows)
    V = 8 / 9 * moves.T @ moves
    np.testing.assert_allclose(one.under(Jackknife()).vcov(), V, rtol=1e-8, atol=1e-11 * V.max())


def test_what_one_cluster_determines(by_rows: Callable[[], None]) -> None:
    """An event time of one county and the slope that only county 4 has are named, and what is left is as in the basis."""
    panel = Panel.from_frame(staggered(), unit="county", time="year")
    design = Design(outcome="y", adoption="first", assigned_at="county")
    f = thin(farms()).assign(own=lambda f: np.where(f["county"] == 4, f["x2"], 0.0))
    told: list[tuple[Estimate, ...]] = []
    for wide_ones in (False, True):
        if wide_ones:
            by_rows()
        for inference in (Jackknife(), BiasReduced()):
            one = estimate(panel, design, EventStudy(leads=2, lags=3), inference=inference)
            assert "ATT(e=3): cannot be estimated without county 1; there is no standard error" in map(str, one.notes)
            told.append((one, run(f, TwoWayFE(), inference, covariates=("x1", "own"))))
    for before, after in zip(told[:2], told[2:], strict=True):
        for one, other in zip(before, after, strict=True):
            assert np.isnan(one.vcov().to_numpy()).any()
            np.testing.assert_allclose(other.vcov(), one.vcov(), rtol=1e-8, atol=1e-11)
            np.testing.assert_allclose(other.uncertainty.df, one.uncertainty.df, rtol=1e-8)


@pytest.mark.parametrize("inference", [Jackknife(), BiasReduced()])
def test_one_treated_cluster_is_refused(inference: Inference, by_rows: Callable[[], None]) -> None:
    f = few()
    f = f.assign(first=f["first"].where(f["county"] == 1))
    by_rows()
    with pytest.raises(InferenceError, match="without county 1 the effect cannot be estimated"):
        estimate(
            Panel.from_frame(f, unit="county", time="year"),
            Design(outcome="y", adoption="first", assigned_at="county"),
            TwoWayFE(),
            inference=inference,
        )


def test_blocks_of_clusters_change_nothing(by_rows: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> None:
    by_rows()
    f = thin(farms())
    whole = under(f, "weighted, absorbed", None)
    monkeypatch.setattr(wide, "_MOST_NUMBERS", 4000.0)
    blocks = under(f, "weighted, absorbed", None)
    assert not np.array_equal(blocks.vcov(), whole.vcov())  # sums of other lengths round otherwise
    np.testing.assert_allclose(blocks.vcov(), whole.vcov(), rtol=1e-10)
    np.testing.assert_allclose(blocks.uncertainty.df, whole.uncertainty.df, rtol=1e-9)


def test_a_refusal_is_named(by_rows: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> None:
    by_rows()
    monkeypatch.setattr(wide, "_MOST_STEPS", 1)
    one = run(thin(farms()), TwoWayFE(), ByDesign(), absorb=("large*t",))
    said = str(one.uncertainty.sentence)
    assert "clustered errors (CR1)" in said
    for method in ("bias-reduced clustered errors", "the cluster jackknife"):
        assert f"Not judged by {method}" in said
    assert said.count("were not solved after 1 steps") == 2


def test_maps_of_shocks_beyond_memory(by_rows: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> None:
    by_rows()
    for module in (basis, loadings):
        monkeypatch.setattr(module, "MOST_MAPPED", 10.0)
    one = run(thin(farms()), TwoWayFE(), Cluster(), absorb=("large*t",))
    assert any(
        str(note).startswith("ATT: how often clustered errors reject a true null is not known") for note in one.notes
    )
    with pytest.raises(InferenceError, match="shocks to each cluster and period are more than memory holds"):
        one.under(BiasReduced())
    said = str(one.under(ByDesign()).uncertainty.sentence)
    assert "It is judged by the cluster jackknife" in said
    assert "Not judged by bias-reduced clustered errors" in said


def test_two_years_are_hc2_and_hc3_of_the_changes() -> None:
    """1,500 units in 400 groups by year: 1,500 clusters times 802 effects squared, more than a basis takes."""
    n = 1500
    rng = np.random.default_rng(0)
    f = pd.DataFrame({"unit": np.repeat(np.arange(n), 2), "year": np.tile([1, 2], n)})
    f["first"] = np.where(f["unit"] % 2, 2.0, np.nan)
    f["group"] = f["unit"] // 2 % 400
    f["y"] = rng.normal(size=len(f))
    design = Design(outcome="y", adoption="first", assigned_at="unit", absorb=("group*year",))
    one = estimate(Panel.from_frame(f, unit="unit", time="year"), design, TwoWayFE(), inference=BiasReduced())
    dy, d = np.diff(f["y"].to_numpy().reshape(n, 2))[:, 0], (np.arange(n) % 2).astype(float)
    D = np.eye(400)[f["group"].to_numpy()[::2]]
    free = np.eye(n) - D @ np.diag(1 / D.sum(axis=0)) @ D.T
    x = free @ d
    M = free - np.outer(x, x) / (x @ x)
    score, left = x / (x @ x) * (M @ dy), np.diag(M)
    assert one.bse["ATT"] == pytest.approx(np.sqrt(np.sum(score**2 / left)), rel=1e-9)
    pairs = np.outer(x / np.sqrt(left), x / np.sqrt(left)) * M
    df = np.trace(pairs) ** 2 / (pairs**2).sum()
    assert one.uncertainty.df[0] == pytest.approx(df, rel=1e-9)
    assert one.under(Jackknife()).bse["ATT"] == pytest.approx(
        np.sqrt((n - 1) / n * np.sum((score / left) ** 2)), rel=1e-9
    )
    assert 0 < one.under(WildBootstrap(draws=99, seed=1)).pvalues["ATT"] <= 1


def test_many_absorbed_effects_are_judged_without_a_silent_second_best() -> None:
    """Synthetic: 60 counties, 12,000 rows, 100 banks by 20 months beside firms; two counties are left out as a check."""
    rng = np.random.default_rng(7)
    counties, firms, months, banks = 60, 10, 20, 100
    firm = np.repeat(np.arange(counties * firms), months)
    f = pd.DataFrame({"firm": firm, "county": firm // firms, "month": np.tile(np.arange(months), counties * firms)})
    f["bank"] = rng.integers(0, banks, counties * firms)[firm]
    f["first"] = np.where(f["county"] < 10, 10.0, np.nan)
    f["y"] = rng.normal(size=len(f)) + 0.3 * rng.normal(size=(counties, months))[f["county"], f["month"]]
    panel = Panel.from_frame(f, unit="firm", time="month")
    one = estimate(
        panel, Design(outcome="y", adoption="first", assigned_at="county", absorb=("bank*month",)), TwoWayFE()
    )
    said = str(one.uncertainty.sentence)
    assert "It is judged by bias-reduced clustered errors" in said
    assert "Not judged" not in said
    seen = see(one.fit, way_of(None, one.fit, one.spec), "test")
    assert isinstance(seen, SeenByRows)
    moves = -seen.summed(-1.0)[:, 0]
    for county in (0, 59):
        left_out = one.spec.estimator.fit(panel, one.spec.design, (f["county"] != county).to_numpy())
        assert left_out.coefficients[0] - one.params["ATT"] == pytest.approx(moves[county], rel=1e-8)
    jackknife = one.under(Jackknife())
    assert jackknife.bse["ATT"] == pytest.approx(np.sqrt(59 / 60 * np.sum(moves**2)), rel=1e-10)
    assert jackknife.bse["ATT"] > one.bse["ATT"] > one.under(Cluster(correction="none")).bse["ATT"]
    assert jackknife.pvalues["ATT"] == pytest.approx(
        2 * stats.t.sf(one.params["ATT"] / jackknife.bse["ATT"], jackknife.uncertainty.df[0]), rel=1e-9
    )
