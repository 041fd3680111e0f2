"""The wild cluster bootstrap: stored enumerations, every vector of weights with regressions estimated anew, diff-diff."""

from __future__ import annotations

import json
import warnings
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
from diff_diff.utils import wild_bootstrap_se

import cases
import cluster_oracle
from cluster_oracle import all_vectors, share, wild_statistics
from evalkit import Design, Estimate, Panel, collapse, estimate
from evalkit.errors import InferenceError
from evalkit.estimators import CallawaySantAnna, EventStudy, Split, SunAbraham, TwoWayFE
from evalkit.inference import Cluster, WildBootstrap
from evalkit.numerics.wild import draw_weights, replicate
from test_bias_reduced import farms, few, run, staggered, thin, weighted

STORED = {
    one["dataset"]: one["results"]
    for one in json.loads((cases.TESTS / "reference" / "enumerated_wild_bootstrap.json").read_text(encoding="utf-8"))
}
SIGNS = all_vectors((-1.0, 1.0), 9)
HALF = SIGNS[SIGNS[:, 0] > 0]  # |t| of a vector and of its mirror image are the same
EVENTS = EventStudy(leads=3, lags=2)


def test_the_stored_enumeration_of_a_panel() -> None:
    stored = STORED["farm9x60"]
    one = run(farms(), TwoWayFE(), WildBootstrap(weights="rademacher"), covariates=("x1", "x2"))
    assert one.params["ATT"] == pytest.approx(stored["beta"], rel=1e-12)
    assert one.pvalues["ATT"] == stored["p_ge"] == 0.2265625
    factor = (stored["n"] - 1) / (stored["n"] - stored["k"])  # the other one, G/(G-1), is ours as well
    assert one.params["ATT"] / one.bse["ATT"] / np.sqrt(factor) == pytest.approx(stored["t"], rel=1e-11)
    method = "wild cluster bootstrap by county, null imposed (WCR), Rademacher weights, all vectors enumerated"
    assert str(one.uncertainty.method) == method


@pytest.mark.parametrize("name", ["wcb_G9", "wcb_G12"])
def test_the_stored_enumerations_of_cross_sections(name: str) -> None:
    f, stored = cases.read(name), STORED[name]
    X = np.column_stack([np.ones(len(f)), f["d"], f["x"]])
    Q, R = np.linalg.qr(X)
    inverse = np.linalg.inv(R)
    beta = inverse @ (Q.T @ f["y"].to_numpy())
    u = f["y"].to_numpy() - X @ beta
    members = [(f["county"] == g).to_numpy() for g in range(stored["G"])]
    made = replicate(
        load=np.array([Q[g].T @ Q[g] @ inverse[1] for g in members]),
        scores=np.array([Q[g].T @ u[g] for g in members]),
        direction=inverse[1],
        blocks=draw_weights(n_clusters=stored["G"], weights="rademacher", draws=None, seed=None),
        enumerated=True,
    )
    assert beta[1] == pytest.approx(stored["beta"], rel=1e-11)
    assert 2 * made.draws == stored["n_draws"]
    assert made.p_restricted(beta[1]) == stored["p_ge"]


# ---- every vector, estimated anew -------------------------------------------------------------------------------


def average(f: pd.DataFrame, extra: tuple[Any, ...] = (), weights: str | None = None) -> cluster_oracle.Rows:
    effects = [f["id"], f["t"], *extra]
    return cluster_oracle.rows_of(f["y"], f[["d", "x1"]], effects, f["county"], f[weights] if weights else None)


@cache
def small() -> pd.DataFrame:
    """Every farm of even number, a seventh of the rows left out: estimating 512 times is quick."""
    f = thin(farms())
    return f[f["id"] % 2 == 0].reset_index(drop=True)


@cache
def path(restricted: bool = True) -> tuple[Estimate, cluster_oracle.Rows, list[str]]:
    f = small()
    inference = WildBootstrap(weights="rademacher", restricted=restricted)
    one = run(f, EVENTS, inference, covariates=("x1",), weights="size")
    columns = cases.event_columns(f, "t", "first", 3, 2)
    X = np.column_stack([*columns.values(), f["x1"]])
    return one, cluster_oracle.rows_of(f["y"], X, [f["id"], f["t"]], f["county"], f["size"]), [*columns, "x1"]


def unit(names: list[str], weights: dict[str, float]) -> Any:
    return np.array([weights.get(name, 0.0) for name in names])


@pytest.mark.parametrize("term", ["ATT(e=-3)", "ATT(e=0)", "ATT(e=2)", "x1"])
def test_terms_of_a_weighted_unbalanced_event_study(term: str) -> None:
    one, rows, names = path()
    assert one.pvalues[term] == share(wild_statistics(rows, unit(names, {term: 1.0}), SIGNS))


@pytest.mark.parametrize("term", ["ATT(e=-3)", "ATT(e=0)", "x1"])
def test_without_an_imposed_null(term: str) -> None:
    one, rows, names = path(restricted=False)
    found = wild_statistics(rows, unit(names, {term: 1.0}), HALF, restricted=False)
    assert one.pvalues[term] == (1 + share(found) * 256) / 257
    low, high = one.conf_int(0.9).loc[term]
    t = np.sort(np.sqrt(found[1:]))[::-1][int(0.1 * 257) - 1]
    assert (high - low) / 2 == pytest.approx(t * one.bse[term] * np.sqrt(8 / 9), rel=1e-9)
    assert "null not imposed" in str(one.uncertainty.method)


def test_a_contrast_and_an_average() -> None:
    one, rows, names = path()
    contrast = one.contrast("ATT(e=2)", "ATT(e=0)").iloc[0]
    weights = unit(names, {"ATT(e=2)": 1.0, "ATT(e=0)": -1.0})
    assert contrast["p_value"] == share(wild_statistics(rows, weights, SIGNS))
    mean = one.average([0, 1, 2]).iloc[0]
    assert mean["p_value"] == share(wild_statistics(rows, np.isin(names, [f"ATT(e={e})" for e in range(3)]) / 3, SIGNS))


@pytest.mark.parametrize("null", [0.4, -2.0, 30.0, 1e6])
def test_a_null_other_than_zero(null: float) -> None:
    one, rows, names = path()
    weights = unit(names, {"ATT(e=1)": 1.0})
    p = one.distribution.p_value(weighted(one, {"ATT(e=1)": 1.0}), null)
    # From a null of a million on, what is left of the outcome has no digits for explicit residuals: p is then its limit.
    expected = share(wild_statistics(rows, weights, SIGNS, null=min(null, 3000.0)))
    assert p == expected
    assert p >= 2 / 512


def test_a_further_absorbed_effect_and_weights() -> None:
    f = small()
    one = run(
        f, TwoWayFE(), WildBootstrap(weights="rademacher"), covariates=("x1",), absorb=("zone*t",), weights="size"
    )
    rows = average(f, (f.groupby(["zone", "t"]).ngroup(),), "size")
    assert one.pvalues["ATT"] == share(wild_statistics(rows, np.array([1.0, 0.0]), SIGNS))


def test_fewer_effects_than_clusters() -> None:
    f = small()
    f = f[f["t"].isin([2, 5, 8])].reset_index(drop=True)  # two periods and two slopes: four numbers for nine clusters
    one = run(f, TwoWayFE(), WildBootstrap(weights="rademacher"), covariates=("x1",))
    assert one.pvalues["ATT"] == share(wild_statistics(average(f), np.array([1.0, 0.0]), SIGNS))


def subgroups() -> tuple[pd.DataFrame, cluster_oracle.Rows]:
    f = thin(farms())
    f = f[(f["id"] % 2 == 0) & ~((f["large"] == 1) & (f["county"] == 8))].reset_index(drop=True)
    X = np.column_stack([f["d"] * (f["large"] == value) for value in (0, 1)])
    return f, cluster_oracle.rows_of(f["y"], X, [f["id"], f.groupby(["large", "t"]).ngroup()], f["county"])


def test_subgroups_and_their_gap_share_clusters() -> None:
    f, rows = subgroups()
    one = run(f, Split(by="large", estimator=TwoWayFE()), WildBootstrap(weights="rademacher"))
    gap = one.contrast("ATT [large=1]", "ATT [large=0]").iloc[0]
    assert gap["p_value"] == share(wild_statistics(rows, np.array([-1.0, 1.0]), SIGNS))
    joint = one.wald(["ATT [large=0]", "ATT [large=1]"])
    assert joint.p_value == share(wild_statistics(rows, np.eye(2), SIGNS))
    for value in (0, 1):
        alone = run(f[f["large"] == value].reset_index(drop=True), TwoWayFE(), WildBootstrap(weights="rademacher"))
        assert one.pvalues[f"ATT [large={value}]"] == alone.pvalues["ATT"]
        assert one.bse[f"ATT [large={value}]"] == pytest.approx(alone.bse["ATT"], rel=1e-11)
    assert one.wald(["ATT [large=1]"]).statistic == pytest.approx((one.params / one.bse).iloc[1] ** 2, rel=1e-11)


@pytest.mark.parametrize("terms", [["ATT(e=-3)", "ATT(e=-2)"], ["ATT(e=0)", "ATT(e=1)", "ATT(e=2)"]])
def test_joint_tests_impose_all_hypotheses(terms: list[str]) -> None:
    one, rows, names = path()
    weights = np.array([unit(names, {term: 1.0}) for term in terms])
    joint, plain = one.wald(terms), one.under(Cluster(correction="none")).wald(terms)
    assert joint.p_value == share(wild_statistics(rows, weights, SIGNS))
    assert joint.statistic == pytest.approx(plain.statistic * 8 / 9, rel=1e-10)
    assert joint.df[0] == len(terms)
    assert np.isnan(joint.df[1])
    assert path(restricted=False)[0].wald(terms).p_value == joint.p_value


def test_one_hypothesis_is_a_joint_test_of_one() -> None:
    one, _, _ = path()
    for term in ("ATT(e=0)", "ATT(e=-2)"):
        joint = one.wald([term])
        assert joint.p_value == one.pvalues[term]
        assert joint.statistic == pytest.approx((one.params[term] / one.bse[term]) ** 2, rel=1e-11)


def drawn(draws: int, seed: int, weights: Any, clusters: int = 9) -> Any:
    return np.concatenate([*draw_weights(n_clusters=clusters, weights=weights, draws=draws, seed=seed)])


def test_webb_weights_with_the_vectors_that_were_drawn() -> None:
    f = small()
    _, rows, names = path()
    for restricted in (True, False):
        inference = WildBootstrap(draws=299, seed=4, weights="webb", restricted=restricted)
        one = run(f, EVENTS, inference, covariates=("x1",), weights="size")
        vectors = drawn(299, 4, "webb")
        for term in ("ATT(e=0)", "ATT(e=-3)"):
            found = wild_statistics(rows, unit(names, {term: 1.0}), vectors, restricted=restricted)
            assert one.pvalues[term] == pytest.approx((1 + 299 * share(found)) / 300, abs=1e-15)
    terms = ["ATT(e=-3)", "ATT(e=-2)"]
    found = wild_statistics(rows, np.array([unit(names, {term: 1.0}) for term in terms]), vectors)
    assert one.wald(terms).p_value == pytest.approx((1 + 299 * share(found)) / 300, abs=1e-15)
    assert "Webb weights, 299 draws" in str(one.uncertainty.method)


def test_webb_weights_of_five_clusters_are_enumerated() -> None:
    f = few()
    f = f[f["county"].isin([1, 2, 4, 5, 6])].reset_index(drop=True)
    design = Design(outcome="y", adoption="first", assigned_at="county", covariates=("x",))
    one = estimate(Panel.from_frame(f, unit="county", time="year"), design, TwoWayFE(), inference=WildBootstrap())
    points = [sign * np.sqrt(size) for sign in (-1, 1) for size in (0.5, 1.0, 1.5)]
    X = np.column_stack([cases.post(f, "year", "first"), f["x"]])
    rows = cluster_oracle.rows_of(f["y"], X, [f["county"], f["year"]], f["county"])
    vectors = all_vectors(points, 5)
    vectors = vectors[vectors[:, 0] > 0]
    assert one.pvalues["ATT"] == pytest.approx(share(wild_statistics(rows, np.array([1.0, 0.0]), vectors)), abs=1e-15)
    assert "Webb weights, all vectors enumerated" in str(one.uncertainty.method)


def test_draws_in_several_blocks() -> None:
    """A thousand clusters: weights are drawn and used in blocks, and p is that of all of them."""
    rng = np.random.default_rng(1)
    n = 1000
    f = pd.DataFrame(
        {"id": np.repeat(np.arange(n), 3), "t": np.tile([1, 2, 3], n), "county": np.repeat(np.arange(n), 3)}
    )
    f["first"] = np.where(f["id"] % 3 == 0, 2.0, np.nan)
    f["y"] = rng.normal(size=len(f)) + 0.08 * (f["t"] >= f["first"])
    f["x1"] = rng.normal(size=len(f))
    vectors = drawn(1500, 3, "rademacher", n)
    assert len([*draw_weights(n_clusters=n, weights="rademacher", draws=1500, seed=3)]) > 1
    one = run(f, TwoWayFE(), WildBootstrap(draws=1500, seed=3), covariates=("x1",))
    wide = np.column_stack([f["t"] >= f["first"], f["x1"], f["t"] == 2, f["t"] == 3]).astype(float)

    def within(columns: Any) -> Any:
        return columns - columns.reshape(n, 3, -1).mean(axis=1).repeat(3, axis=0)

    X, y = within(wide), within(f[["y"]].to_numpy())
    P = np.linalg.pinv(X)
    u = y - X[:, 1:] @ np.linalg.pinv(X[:, 1:]) @ y  # ATT = 0 imposed
    draws = u * vectors.T.repeat(3, axis=0)  # (rows, B)
    b = P @ draws
    left = draws - X @ b
    scores = (P[0][:, None] * left).reshape(n, 3, -1).sum(axis=1)
    t = b[0] ** 2 / (scores**2).sum(axis=0)
    own = (P[0][:, None] * (y - X @ (P @ y))).reshape(n, 3, -1).sum(axis=1)
    own_t = (P @ y)[0, 0] ** 2 / (own**2).sum()
    assert one.pvalues["ATT"] == pytest.approx((1 + np.sum(t >= own_t)) / 1501, abs=1e-15)


def test_seventy_clusters_of_unequal_size() -> None:
    rng = np.random.default_rng(4)
    farms_in = np.r_[40, 25, 15, 10, rng.integers(1, 4, 66)]
    county = np.repeat(np.arange(70), farms_in).repeat(3)
    f = pd.DataFrame({"id": np.arange(len(county)) // 3, "t": np.arange(len(county)) % 3 + 1, "county": county})
    f["first"] = np.where(f["county"] % 5 == 1, 2.0, np.nan)
    f["x1"] = rng.normal(size=len(f)) + (f["county"] == 0) * f["t"]
    f["y"] = rng.normal(size=len(f)) + 2 * rng.normal(size=(70, 4))[f["county"], f["t"]]
    one = run(f, TwoWayFE(), WildBootstrap(draws=499, seed=1), covariates=("x1",))
    X = np.column_stack([f["t"] >= f["first"], f["x1"]])
    rows = cluster_oracle.rows_of(f["y"], X, [f["id"], f["t"]], f["county"])
    vectors = drawn(499, 1, "rademacher", 70)
    for term, weights in (("ATT", [1.0, 0.0]), ("x1", [0.0, 1.0])):
        for null in one.params[term] - one.bse[term] * np.array([-4.0, -1.5, 0.7, 1.2, 2.5, 8.0]):
            found = share(wild_statistics(rows, weights, vectors, null=null))
            assert p_at(one, term, null) == pytest.approx((1 + 499 * found) / 500, abs=1e-15)


# ---- intervals --------------------------------------------------------------------------------------------------


def p_at(one: Estimate, term: str, null: float) -> float:
    return one.distribution.p_value(weighted(one, {term: 1.0}), null)


@pytest.mark.parametrize("level", [0.9, 0.95])
@pytest.mark.parametrize("weights", ["rademacher", "webb"])
def test_intervals_hold_the_nulls_that_are_not_rejected(weights: Any, level: float) -> None:
    inference = WildBootstrap(weights=weights, draws=999, seed=2)
    alpha = round(1 - level, 2)
    one = run(small(), EVENTS, inference, covariates=("x1",), weights="size")
    for term in ("ATT(e=-3)", "ATT(e=1)", "x1"):
        low, high = one.conf_int(level).loc[term]
        b, width = one.params[term], one.bse[term]
        assert low < b < high
        for end, side in ((low, -1), (high, 1)):
            assert p_at(one, term, end - side * 1e-9 * width) > alpha >= p_at(one, term, end + side * 1e-9 * width)
        outside = [b + side * d for side in (-1, 1) for d in np.geomspace(0.01, 1e4, 300) * width]
        assert all(p_at(one, term, null) <= alpha for null in outside if not low <= null <= high)


def test_nulls_beyond_a_gap_are_kept() -> None:
    """p need not fall steadily: in some of these samples it is below .05, and above it again further out."""
    rng = np.random.default_rng(0)
    found = 0
    for _ in range(60):
        scores = rng.normal(size=(7, 2)) * rng.exponential(size=(7, 1))
        scores -= scores.mean(axis=0)
        root = rng.normal(size=(7, 2, 2)) * rng.exponential(size=(7, 1, 1))
        gram = np.einsum("gij,gkj->gik", root, root)
        change = np.linalg.inv(np.linalg.cholesky(gram.sum(axis=0)))
        blocks = draw_weights(n_clusters=7, weights="rademacher", draws=None, seed=None)
        v = np.array([1.0, 0.3])
        load = change @ gram @ change.T @ v
        made = replicate(load=load, scores=scores, direction=v, blocks=blocks, enumerated=True)
        error = float(np.sqrt(made.variance))
        grid = np.geomspace(0.05, 50, 400) * error
        kept = np.array([made.p_restricted(d) for d in grid]) > 0.05
        if not kept[np.argmin(kept) :].any() or kept[-1]:
            continue
        found += 1
        assert -made.interval_restricted(0.95, error)[0] > grid[kept].max() / 1.5
    assert found > 1


def test_five_clusters_set_no_end_with_signs_and_six_do() -> None:
    f = few()
    design = Design(outcome="y", adoption="first", assigned_at="county")
    for counties, finite in (([1, 2, 4, 5, 6], False), ([1, 2, 4, 5, 6, 7], True)):
        panel = Panel.from_frame(f[f["county"].isin(counties)], unit="county", time="year")
        one = estimate(panel, design, TwoWayFE(), inference=WildBootstrap(weights="rademacher"))
        least = 2 / 2 ** len(counties)  # the sample and its mirror image
        assert p_at(one, "ATT", 1e9) == least
        assert np.isfinite(one.conf_int().loc["ATT"]).all() == finite == (least <= 0.05)
        assert np.isfinite(one.conf_int(0.9).loc["ATT"]).all()
        assert "inf" in one.summary() or finite


def test_a_draw_without_residuals_sets_no_end() -> None:
    """Two treated and two control counties: signs that differ within both sides leave nothing to divide by, in 2 of 8 draws."""
    f = few()
    panel = Panel.from_frame(f[f["county"].isin([1, 2, 4, 5])], unit="county", time="year")
    design = Design(outcome="y", adoption="first", assigned_at="county")
    inference = WildBootstrap(weights="rademacher", restricted=False)
    one = estimate(panel, design, TwoWayFE(), inference=inference)
    assert np.isinf(one.conf_int(0.7).loc["ATT"]).all()  # the second largest of 8: p is (1 + 1) / 9
    assert np.isfinite(one.conf_int(0.5).loc["ATT"]).all()


@pytest.mark.parametrize("noise", [1.0, 1e-4, 1e-8, 1e-11])
def test_the_sample_is_among_its_draws_however_large_the_effect(noise: float) -> None:
    f = farms()
    f["y"] = (f["d"] if noise < 1 else 0.0) + noise * f["y"]
    one = run(f, TwoWayFE(), WildBootstrap(weights="rademacher"))
    b, error = one.params["ATT"], one.bse["ATT"]
    assert (one.pvalues["ATT"] == 2 / 512) == (noise < 1)
    for far in np.geomspace(1e2, 1e13, 12) * error:
        assert p_at(one, "ATT", b - far) == p_at(one, "ATT", b + far) == 2 / 512
    assert p_at(one, "ATT", b) == 1.0
    events = run(f, EVENTS, WildBootstrap(weights="rademacher"))
    for terms in ([0, 1], [0, 2], [1, 2], [0, 1, 2], [-3, 0], [-2, 1], [-3, 2, 1]):
        assert events.wald([f"ATT(e={e})" for e in terms]).p_value >= 2 / 512


@pytest.mark.parametrize("restricted", [True, False])
def test_shift_and_scale_of_the_outcome(restricted: bool) -> None:
    f = small()
    inference = WildBootstrap(draws=999, seed=2, weights="webb", restricted=restricted)
    one = run(f, TwoWayFE(), inference, covariates=("x1",))
    low, high = one.conf_int().loc["ATT"]
    for scale, shift in ((1e12, 0.0), (-1e-9, 0.0), (1.0, 2.5)):
        other = run(
            f.assign(y=scale * (f["y"] + shift * f["d"]) + 7 * scale), TwoWayFE(), inference, covariates=("x1",)
        )
        ends = sorted([scale * (low + shift), scale * (high + shift)])
        np.testing.assert_allclose(other.conf_int().loc["ATT"], ends, rtol=1e-8)
        assert p_at(other, "ATT", scale * shift) == one.pvalues["ATT"]


# ---- diff-diff --------------------------------------------------------------------------------------------------


def by_diff_diff(f: pd.DataFrame, **change: Any) -> Any:
    """Its kernel takes a regression with dummies; p counts draws strictly above |t|."""
    dummies = [pd.get_dummies(f[column]).to_numpy(float)[:, first:] for column, first in (("id", 0), ("t", 1))]
    X = np.column_stack([f["d"], f["x1"], *dummies])
    y = f["y"].to_numpy()
    return wild_bootstrap_se(X, y, y, f["county"].to_numpy(), 0, **change)


def test_diff_diff_enumerates_the_same_p_and_interval() -> None:
    f = small()
    ties = 2 / 512
    theirs = by_diff_diff(f, n_bootstrap=512, alpha=0.05 - ties + 1e-6)
    one = run(f, TwoWayFE(), WildBootstrap(weights="rademacher"), covariates=("x1",))
    assert theirs.n_bootstrap == 512
    assert one.pvalues["ATT"] == pytest.approx(theirs.p_value + ties, abs=1e-12)
    np.testing.assert_allclose(one.conf_int().loc["ATT"], [theirs.ci_lower, theirs.ci_upper], rtol=1e-7)


def many() -> pd.DataFrame:
    """Twenty counties of three farms, too many vectors to enumerate."""
    rng = np.random.default_rng(5)
    f = pd.DataFrame({"id": np.repeat(np.arange(60), 6), "t": np.tile(np.arange(1, 7), 60)})
    f["county"] = f["id"] // 3
    f["first"] = np.where(f["county"] < 7, 4.0, np.nan)
    f["d"] = (f["t"] >= f["first"]).astype(float)
    f["x1"] = rng.normal(size=len(f))
    f["y"] = rng.normal(size=len(f)) + rng.normal(size=(20, 6))[f["county"], f["t"] - 1] + 0.5 * f["d"]
    return f


@pytest.mark.parametrize("weights", ["rademacher", "webb"])
def test_diff_diff_draws_a_p_within_the_error_of_draws(weights: Any) -> None:
    f, draws = many(), 9999
    theirs = by_diff_diff(f, n_bootstrap=draws, weight_type=weights, seed=1)
    one = run(f, TwoWayFE(), WildBootstrap(draws=draws, seed=1, weights=weights), covariates=("x1",))
    p = one.pvalues["ATT"]
    assert 0.02 < p < 0.5
    assert abs(p - theirs.p_value) < 4 * np.sqrt(2 * p * (1 - p) / draws)
    width = one.bse["ATT"]
    np.testing.assert_allclose(one.conf_int().loc["ATT"], [theirs.ci_lower, theirs.ci_upper], atol=0.12 * width)


# ---- the score bootstrap ----------------------------------------------------------------------------------------


def cohort() -> pd.DataFrame:
    """One county, one unit: nine counties of which four adopt at once."""
    f = cases.read("few_treated_9x6")
    return f.assign(first=np.where(f["county"] <= 4, 2021.0, np.nan))


def test_scores_of_a_difference_of_means() -> None:
    """Callaway and Sant'Anna's influence is then each county's change less the mean of its side, over the side's number."""
    f = cohort()
    design = Design(outcome="y", adoption="first", assigned_at="county")
    one = estimate(
        Panel.from_frame(f, unit="county", time="year"),
        design,
        CallawaySantAnna(aggregate="simple"),
        inference=WildBootstrap(weights="rademacher"),
    )
    wide = f.pivot_table("y", "county", "year")
    change = (wide[[2021, 2022, 2023]].mean(axis=1) - wide[2020]).to_numpy()
    treated = np.arange(9) < 4
    psi = np.where(treated, (change - change[treated].mean()) / 4, -(change - change[~treated].mean()) / 5)
    assert one.params["ATT"] == pytest.approx(change[treated].mean() - change[~treated].mean(), rel=1e-12)
    assert one.bse["ATT"] == pytest.approx(np.sqrt(9 / 8 * (psi**2).sum()), rel=1e-12)
    top = HALF @ psi
    t = np.abs(top) / np.sqrt(((HALF * psi - top[:, None] / 9) ** 2).sum(axis=1))
    actual = abs(one.params["ATT"]) / np.sqrt((psi**2).sum())
    assert one.pvalues["ATT"] == (1 + np.sum(t >= actual * (1 - 1e-9))) / 257
    low, high = one.conf_int().loc["ATT"]
    critical = np.sort(t)[::-1][int(0.05 * 257) - 1]
    assert (high - low) / 2 == pytest.approx(critical * np.sqrt((psi**2).sum()), rel=1e-10)
    assert any("score bootstrap" in str(note) for note in one.notes)
    with pytest.raises(InferenceError, match="no residuals on which to impose"):
        one.wald(["ATT"])


def test_scores_of_subgroups_are_those_of_each_alone() -> None:
    f = thin(farms())
    f = f[~((f["large"] == 1) & f["county"].isin([0, 8]))].reset_index(drop=True)
    inference = WildBootstrap(weights="rademacher")
    one = run(f, Split(by="large", estimator=CallawaySantAnna(method="reg")), inference)
    for value in (0, 1):
        alone = run(f[f["large"] == value].reset_index(drop=True), CallawaySantAnna(method="reg"), inference)
        vectors = 2 ** alone.glance()["n_clusters"].iloc[0] / 2
        count = alone.pvalues["ATT"] * (vectors + 1) - 1  # of vectors; among all nine clusters' as a share
        assert one.pvalues[f"ATT [large={value}]"] == pytest.approx((1 + count / vectors * 256) / 257, abs=1e-12)
        assert one.bse[f"ATT [large={value}]"] == pytest.approx(alone.bse["ATT"], rel=1e-11)


# ---- collapsed panels and averages over cohorts -----------------------------------------------------------------


def test_collapsed_rows_are_the_rows_they_stand_for() -> None:
    f = farms()
    design = Design(outcome="y", adoption="first", assigned_at="county")
    small, whole = collapse(f, design, unit="id", time="t"), Panel.from_frame(f, unit="id", time="t")
    inference = WildBootstrap(weights="rademacher")
    one, other = (estimate(panel, design, EVENTS, inference=inference) for panel in (small, whole))
    pd.testing.assert_series_equal(one.pvalues, other.pvalues)
    np.testing.assert_allclose(one.conf_int(), other.conf_int(), rtol=1e-8)


def test_averages_over_cohorts_are_combinations_of_the_regression() -> None:
    f = cases.read("wooldridge_ezunem")
    f = f.assign(first=f["year"].where(f["ez"] == 1).groupby(f["city"]).transform("min"))
    design = Design(outcome="luclms", adoption="first", assigned_at="city")
    panel = Panel.from_frame(f, unit="city", time="year")
    one = estimate(panel, design, SunAbraham(aggregate="simple"), inference=WildBootstrap(draws=399, seed=1))
    cohorts = sorted(f["first"].dropna().unique())
    cells = [(g, t) for g in cohorts for t in sorted(f["year"].unique()) if t != g - 1]
    X = np.column_stack([(f["first"] == g) & (f["year"] == t) for g, t in cells]).astype(float)
    rows = cluster_oracle.rows_of(f["luclms"], X, [f["city"], f["year"]], f["city"])
    weights = X.sum(axis=0) * [t >= g for g, t in cells]
    vectors = drawn(399, 1, "rademacher", f["city"].nunique())
    found = wild_statistics(rows, weights / weights.sum(), vectors)
    assert one.params["ATT"] == pytest.approx(rows.b @ weights / weights.sum(), rel=1e-9)
    assert one.pvalues["ATT"] == pytest.approx((1 + 399 * share(found)) / 400, abs=1e-15)


# ---- what the design cannot support -----------------------------------------------------------------------------


@pytest.mark.parametrize("restricted", [True, False])
def test_one_treated_cluster_is_marked(restricted: bool) -> None:
    f = few()
    f = f[f["county"] != 2]
    design = Design(outcome="y", adoption="first", assigned_at="county")
    panel = Panel.from_frame(f, unit="county", time="year")
    inference = WildBootstrap(weights="rademacher", restricted=restricted)
    one = estimate(panel, design, TwoWayFE(), inference=inference)
    assert "fewer than two clusters of equal weight" in str(one.uncertainty.unsupported)
    assert str(one.notes[0]) == str(one.uncertainty.unsupported)
    assert "†" in one.summary()
    assert np.isnan(one.wald(["ATT"]).p_value)
    if not restricted:
        assert one.pvalues["ATT"] < 0.05  # however true the null


@pytest.mark.parametrize(("restricted", "marked"), [(True, False), (False, True)])
def test_two_treated_clusters_are_too_few_without_an_imposed_null(restricted: bool, marked: bool) -> None:
    design = Design(outcome="y", adoption="first", assigned_at="county")
    panel = Panel.from_frame(few(), unit="county", time="year")
    one = estimate(panel, design, TwoWayFE(), inference=WildBootstrap(weights="rademacher", restricted=restricted))
    assert (one.uncertainty.unsupported is not None) == marked
    joint = one.uncertainty.joint_doubt
    assert joint is not None
    assert (joint.of(np.eye(1)) is not None) == marked


@pytest.mark.parametrize("restricted", [True, False])
def test_a_term_that_rests_on_one_cluster_has_no_error_and_a_note(restricted: bool) -> None:
    f = staggered()
    design = Design(outcome="y", adoption="first", assigned_at="county")
    panel = Panel.from_frame(f, unit="county", time="year")
    inference = WildBootstrap(weights="rademacher", restricted=restricted)
    one = estimate(panel, design, EventStudy(leads=2, lags=3), inference=inference)
    assert one.bse[one.bse.isna()].index.tolist() == ["ATT(e=-1)", "ATT(e=3)"]
    assert one.pvalues[one.pvalues.isna()].index.tolist() == ["ATT(e=-1)", "ATT(e=3)"]
    assert np.isnan(one.conf_int().loc["ATT(e=3)"]).all()
    assert one.vcov().loc["ATT(e=3)"].isna().all()
    assert np.isnan(one.average([2, 3])["p_value"].iloc[0])
    assert one.average([1, 2])["p_value"].iloc[0] > 0
    assert one.wald(["ATT(e=0)", "ATT(e=2)"]).statistic > 0
    with pytest.raises(InferenceError, match="a term has no standard error"):
        one.wald(["ATT(e=2)", "ATT(e=3)"])
    assert any(str(note).startswith("ATT(e=3): cannot be estimated without county 1") for note in one.notes)


def test_a_fit_without_residuals_has_no_error() -> None:
    f = farms().assign(y=lambda f: 2.0 * f["d"] + f["t"] + f["id"])
    one = run(f, TwoWayFE(), WildBootstrap(weights="rademacher"))
    assert np.isnan(one.bse["ATT"])
    assert np.isnan(one.pvalues["ATT"])
    assert np.isnan(one.conf_int().loc["ATT"]).all()


def test_joint_tests_that_cannot_be_made() -> None:
    one, _, _ = path()
    with pytest.raises(InferenceError, match="a term has no standard error"):
        one.wald(["ATT(e=-1)", "ATT(e=0)"])
    with pytest.raises(InferenceError, match="singular"):
        one.wald(["ATT(e=0)", "ATT(e=0)"])
    f = farms()
    f = f[f["county"].isin([0, 1, 3, 4, 5])].reset_index(drop=True)
    five = run(f, EVENTS, WildBootstrap(weights="rademacher"))
    with pytest.raises(InferenceError, match="4 terms cannot be tested jointly"):
        five.wald(["ATT(e=-2)", "ATT(e=0)", "ATT(e=1)", "ATT(e=2)"])


# ---- settings and invariances -----------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_bits_in_any_order_of_rows() -> None:
    f = thin(farms())
    inference = WildBootstrap(draws=999, seed=3, weights="webb")
    one = run(f, EVENTS, inference, weights="size")
    other = run(f.sample(frac=1, random_state=1), EVENTS, inference, weights="size")
    pd.testing.assert_frame_equal(one.tidy(), other.tidy(), check_exact=True)
    lags = ["ATT(e=0)", "ATT(e=1)"]
    assert one.wald(lags).p_value == other.wald(lags).p_value
    another = run(f, EVENTS, WildBootstrap(draws=999, seed=4, weights="webb"), weights="size")
    assert (another.pvalues.dropna() != one.pvalues.dropna()).any()
    np.testing.assert_allclose(another.pvalues, one.pvalues, atol=0.1)


def test_the_units_themselves_as_clusters() -> None:
    f = small()
    one = run(f, TwoWayFE(), WildBootstrap(by="id", draws=499, seed=1), covariates=("x1",))
    rows = cluster_oracle.rows_of(f["y"], f[["d", "x1"]], [f["id"], f["t"]], f["id"])
    found = wild_statistics(rows, np.array([1.0, 0.0]), drawn(499, 1, "rademacher", f["id"].nunique()))
    assert one.pvalues["ATT"] == pytest.approx((1 + 499 * share(found)) / 500, abs=1e-15)
    assert "wild cluster bootstrap by id" in str(one.uncertainty.method)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"draws": 50}, "draws is 50"),
        ({"draws": 999.0}, "draws is 999.0"),
        ({"draws": True}, "draws is True"),
        ({"seed": -1}, "seed is -1"),
        ({"seed": "1"}, "seed is '1'"),
        ({"weights": "Webb"}, "weights 'Webb' are unknown.*did you mean 'webb'"),
        ({"weights": 6}, "weights 6 are unknown"),
        ({"restricted": "no"}, "restricted is 'no'"),
    ],
)
def test_bad_settings_name_a_remedy(change: dict[str, Any], what: str) -> None:
    with pytest.raises(InferenceError, match=what):
        WildBootstrap(**change)


def test_draws_and_seed_are_asked_for_where_vectors_cannot_be_enumerated() -> None:
    for inference in (WildBootstrap(), WildBootstrap(draws=999), WildBootstrap(seed=1)):
        with pytest.raises(InferenceError, match="the weights of 20 clusters are too many to enumerate"):
            run(many(), TwoWayFE(), inference)
    with pytest.raises(InferenceError, match="the weights of 9 clusters"):
        run(farms(), TwoWayFE(), WildBootstrap(weights="webb"))


def test_clusters_that_divide_units_are_refused() -> None:
    with pytest.raises(InferenceError, match="the clusters divide units"):
        run(farms(), TwoWayFE(), WildBootstrap(by="t", draws=99, seed=1))


def test_the_same_fit_under_another_inference() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        one = run(farms(), TwoWayFE(), Cluster(), covariates=("x1", "x2")).under(WildBootstrap(weights="rademacher"))
    assert one.pvalues["ATT"] == 0.2265625
    assert np.isnan(one.glance()["df"].iloc[0])
    assert np.isnan(one.tidy()["p_value"]).sum() == 0
