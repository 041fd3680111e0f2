"""CR2 with Satterthwaite's degrees of freedom: R clubSandwich, and the whole hat matrix in NumPy."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import cases
import cluster_oracle
from evalkit import Design, Estimate, Panel, collapse, estimate
from evalkit.errors import DataError, InferenceError
from evalkit.estimators import CallawaySantAnna, EventStudy, ExtendedTWFE, Split, SunAbraham, TripleDifference, TwoWayFE
from evalkit.inference import BiasReduced, Cluster, WildBootstrap
from evalkit.inference.bias_reduced import Satterthwaite
from evalkit.results.estimation import Estimator

CLUB: dict[str, Any] = json.loads((cases.TESTS / "reference" / "r_clubsandwich.json").read_text(encoding="utf-8"))[
    "cases"
]
# Weights of one cluster all alike; else clubSandwich takes another root (see BiasReduced).
SAME = [n for n, c in CLUB.items() if not c["weights"] and n != "one_treated_att"]
SAME += ["mpdta_events_weighted_inverse_var_true"]
OTHER_ROOT = [n for n, c in CLUB.items() if c["weights"] and c["inverse_var"] and n not in SAME]


def ours(term: str) -> str:
    """Translate the name of a term of the stored cases."""
    if term.startswith(("lead", "lag")):
        return f"ATT(e={term.replace('lead', '-').replace('lag', '')})"
    return "ATT" if term in ("d", "att", "ez") else term


def data(case: dict[str, Any]) -> pd.DataFrame:
    """Rows of a stored case, as tests/reference/r_clubsandwich.R makes them; `first` is missing where never treated."""
    kind = case["data"]
    if kind == "farm":
        f = cases.read("farm9x60").assign(first=lambda f: f["g"], group=lambda f: f["id"] % 2)
    elif kind == "mpdta":
        f = cases.every_third(cases.mpdta())
        f = f.assign(coarse=f["first"] * 10 + f["countyreal"] % 5, group=f["countyreal"] % 3)
        f["population"] = np.exp(f["lpop"])
    elif kind == "ezunem":
        f = cases.read("wooldridge_ezunem")
        f = f.assign(first=f["year"].where(f["ez"] == 1).groupby(f["city"]).transform("min").fillna(0))
    else:
        f = cases.read("few_treated_9x6")
        f = f[f["county"] != 2] if kind == "one" else f
    if ";" in case["rows"]:
        f = f.sort_values([case["unit"], case["time"]])
        f = f[np.arange(len(f)) % 7 != 3]
    assert len(f) == case["n_rows"]
    return f.assign(first=f["first"].where(f["first"] > 0)).reset_index(drop=True)


@cache
def by_r(name: str) -> tuple[Estimate, dict[str, Any], list[str]]:
    """Estimate a stored case."""
    case = CLUB[name]
    leads, lags = ([int(t[n:]) for t in case["terms"] if t[:n] == kind] for kind, n in (("lead", 4), ("lag", 3)))
    estimator: Estimator = EventStudy(leads=max(leads), lags=max(lags)) if leads else TwoWayFE()
    design = Design(
        outcome=case["outcome"],
        adoption="first",
        assigned_at=case["unit"] if case["data"] != "farm" else "county",
        covariates=tuple(term for term in case["terms"] if ours(term) == term),
        weights=case["weights"],
        absorb=(f"group*{case['time']}",) if case["dummies"][1] == "cell" else (),
    )
    panel = Panel.from_frame(data(case), unit=case["unit"], time=case["time"])
    one = estimate(panel, design, estimator, inference=BiasReduced(by=case["cluster"]))
    return one, case, [ours(term) for term in case["terms"]]


def weighted(one: Estimate, weights: dict[str, float]) -> Any:
    return np.array([weights.get(name, 0.0) for name in one.params.index])


def df_of_rows(one: Estimate, weights: Any) -> float:
    """Degrees of freedom under errors of rows alone, which are clubSandwich's."""
    assert isinstance(one.distribution, Satterthwaite)
    return one.distribution.df_of_rows(weights)


@pytest.mark.parametrize("name", SAME)
def test_clubsandwich_coefficients_errors_df_and_p(name: str) -> None:
    one, case, terms = by_r(name)
    V = np.array(case["covariance"]["CR2"])
    scale = np.sqrt(np.diag(V))
    assert (np.abs(one.params[terms] - list(case["coefficients"].values())) / scale).max() < 1e-9
    assert np.abs((one.vcov().loc[terms, terms] - V) / np.outer(scale, scale)).to_numpy().max() < 1e-9
    told = one.tidy(covariates=True).set_index("term").loc[terms]
    satterthwaite = pd.DataFrame(case["satterthwaite"].values(), index=terms)
    np.testing.assert_allclose(told["std_error"], satterthwaite["se"], rtol=1e-9)
    rows = np.array([df_of_rows(one, weighted(one, {term: 1.0})) for term in terms])
    np.testing.assert_allclose(rows, satterthwaite["df"], rtol=1e-9)
    np.testing.assert_allclose(2 * stats.t.sf(abs(told["statistic"]), rows), satterthwaite["p"], atol=1e-9)
    # Shocks to clusters and periods may leave fewer; with one unit and one weight to a cluster they are errors of rows.
    df = one.uncertainty.df[one.params.index.get_indexer(terms)]
    assert (df <= rows).all()
    if case["cluster"] == case["unit"] and not case["weights"]:
        np.testing.assert_allclose(df, rows, rtol=1e-9)
    np.testing.assert_allclose(told["p_value"], 2 * stats.t.sf(abs(told["statistic"]), df), rtol=1e-12)
    margin = stats.t.ppf(0.95, df) * satterthwaite["se"]
    interval = one.conf_int(0.9).loc[terms]
    np.testing.assert_allclose((interval["conf_high"] - interval["conf_low"]) / 2, margin, rtol=1e-9)


@pytest.mark.parametrize("name", [n for n in SAME if CLUB[n]["contrasts"]])
def test_clubsandwich_contrasts(name: str) -> None:
    one, case, _ = by_r(name)
    for found in case["contrasts"].values():
        weights = {ours(term): w for term, w in found["weights"].items()}
        told = one.combination(weights, "c").iloc[0]
        rows, df = df_of_rows(one, weighted(one, weights)), one.distribution.df(weighted(one, weights))
        np.testing.assert_allclose(
            [told["estimate"], told["std_error"], rows, 2 * stats.t.sf(abs(told["statistic"]), rows)],
            [found["estimate"], found["se"], found["df"], found["p"]],
            rtol=1e-8,  # the difference of two effects, in units of the effects, has lost a digit
        )
        assert df <= rows
        assert told["p_value"] == pytest.approx(2 * stats.t.sf(abs(told["statistic"]), df), rel=1e-12)


JOINT = [(n, group) for n in SAME for group in CLUB[n]["joint"]]


@pytest.mark.parametrize(("name", "group"), [at for at in JOINT if CLUB[at[0]]["joint"][at[1]]["HTZ"]["p"] is not None])
def test_clubsandwich_joint_test(name: str, group: str) -> None:
    one, case, _ = by_r(name)
    found = case["joint"][group]
    joint = one.wald([ours(term) for term in found["terms"]])
    assert joint.reason is None
    assert joint.df[0] == len(found["terms"])
    got = [joint.statistic, joint.df[1], joint.p_value]
    np.testing.assert_allclose(got, [found["HTZ"][key] for key in ("Fstat", "df_denom", "p")], rtol=1e-9)


def test_joint_test_without_degrees_of_freedom_is_refused() -> None:
    none = [at for at in JOINT if CLUB[at[0]]["joint"][at[1]]["HTZ"]["p"] is None]
    assert none == [("few_events", "lags"), ("few_events_covariate", "lags")]
    for name, group in none:
        one, case, _ = by_r(name)
        with pytest.raises(InferenceError, match=r"3 terms cannot be tested jointly with 1\.[69] degrees of freedom"):
            one.wald([ours(term) for term in case["joint"][group]["terms"]])


def test_one_treated_cluster_is_refused_where_clubsandwich_gives_p() -> None:
    stored = CLUB["one_treated_att"]["satterthwaite"]["att"]
    assert stored["df"] == pytest.approx(6)
    assert stored["p"] < 0.002
    with pytest.raises(InferenceError, match="without county 1 the effect cannot be estimated"):
        by_r("one_treated_att")


# ---- the hat matrix ---------------------------------------------------------------------------------------------


def fewer(club: cluster_oracle.Adjusted, weights: Any, shocks: Any) -> float:
    """The fewer degrees of freedom: under errors of rows, or under shocks (n, S) to each cluster and period."""
    return min(club.df(weights), club.df(weights, shocks))


def assert_adjusted(
    one: Estimate, rows: cluster_oracle.Rows, loadings: Any, terms: list[str], period: Any
) -> cluster_oracle.Adjusted:
    """Coefficients, covariance and degrees of freedom are those of loadings (m, k) of the regression's coefficients."""
    tolerance = 1e-9
    club = cluster_oracle.bias_reduced(rows)
    V = loadings @ club.covariance @ loadings.T
    scale = np.sqrt(np.diag(V))
    assert (np.abs(one.params[terms] - loadings @ rows.b) / scale).max() < tolerance
    assert np.abs((one.vcov().loc[terms, terms] - V) / np.outer(scale, scale)).to_numpy().max() < tolerance
    of_rows = [df_of_rows(one, weighted(one, {term: 1.0})) for term in terms]
    np.testing.assert_allclose(of_rows, [club.df(row) for row in loadings], rtol=tolerance)
    df, shocks = one.uncertainty.df[one.params.index.get_indexer(terms)], rows.shocks(period)
    np.testing.assert_allclose(df, [fewer(club, row, shocks) for row in loadings], rtol=tolerance)
    return club


@pytest.mark.parametrize("name", OTHER_ROOT)
def test_weights_that_vary_within_clusters(name: str) -> None:
    one, case, terms = by_r(name)
    f = data(case)
    X = {"ATT": cases.post(f, "year", "first")}
    if len(terms) > 1:
        X = cases.event_columns(f, "year", "first", 4, 3)
    second = f["year"] if case["dummies"][1] != "cell" else f.groupby(["group", "year"]).ngroup()
    rows = cluster_oracle.rows_of(
        f[case["outcome"]], np.column_stack([*X.values()]), [f["countyreal"], second], f["coarse"], f[case["weights"]]
    )
    club = assert_adjusted(one, rows, np.eye(len(terms)), [*X], f["year"])
    for group in case["joint"].values():
        chosen = [ours(term) for term in group["terms"]]
        joint = one.wald(chosen)
        expected = club.hotelling(rows.b, np.eye(len(terms))[[[*X].index(term) for term in chosen]])
        np.testing.assert_allclose([joint.statistic, joint.df[1], joint.p_value], expected, rtol=1e-9)
    # clubSandwich's root is another one: near, not equal.
    stored = np.sqrt(np.diag(case["covariance"]["CR2"]))
    assert 1e-4 < np.abs(one.bse[terms] / stored - 1).max() < 0.1


def farms(**change: Any) -> pd.DataFrame:
    """The synthetic panel of 54 farms in 9 counties, with groups of farms, towns and weights."""
    f = cases.read("farm9x60")
    f = f.assign(first=f["g"].where(f["g"] > 0), large=f["id"] % 3 // 2, town=f["id"] // 2, **change)
    f["size"] = 1.0 + f["id"] % 4 + 0.1 * f["t"]
    f["zone"] = np.array([0, 1, 2, 3, 0, 1, 2, 3, 4])[f["county"]]  # treated and control counties in most
    return f


def run(
    f: pd.DataFrame, estimator: Estimator, inference: Any = None, *, panel: Panel | None = None, **change: Any
) -> Estimate:
    design = Design(**{"outcome": "y", "adoption": "first", "assigned_at": "county", **change})
    where = panel or Panel.from_frame(f, unit="id", time="t")
    return estimate(where, design, estimator, inference=inference or BiasReduced())


def thin(f: pd.DataFrame) -> pd.DataFrame:
    return f[np.random.default_rng(3).random(len(f)) > 0.15].reset_index(drop=True)


@pytest.mark.parametrize("estimator", [TwoWayFE(), EventStudy(leads=3, lags=2)], ids=["average", "events"])
def test_split_is_the_stacked_regression_with_dummies_by_subgroup(estimator: Estimator) -> None:
    f = thin(farms())
    f = f[~((f["large"] == 1) & (f["county"] == 7))].reset_index(drop=True)  # no large farm there
    one = run(f, Split(by="large", estimator=estimator), weights="size", covariates=("x1",))
    columns = {"ATT": f["d"]} if isinstance(estimator, TwoWayFE) else cases.event_columns(f, "t", "first", 3, 2)
    X = {
        f"{name} [large={v}]": np.asarray(x, float) * (f["large"] == v)
        for v in (0, 1)
        for name, x in (columns | {"x1": f["x1"]}).items()
    }
    effects = [f["id"], f.groupby(["large", "t"]).ngroup()]
    rows = cluster_oracle.rows_of(f["y"], np.column_stack([*X.values()]), effects, f["county"], f["size"])
    of_group = f.groupby(
        ["large", "t"]
    ).ngroup()  # each group of farms has shocks of its own in every county and period
    club = assert_adjusted(one, rows, np.eye(len(X)), [*X], of_group)
    term = next(iter(columns))
    gap = one.contrast(f"{term} [large=1]", f"{term} [large=0]").iloc[0]
    at = np.zeros(len(X))
    at[[[*X].index(f"{term} [large={v}]") for v in (1, 0)]] = 1.0, -1.0
    weights = weighted(one, {f"{term} [large=1]": 1.0, f"{term} [large=0]": -1.0})
    assert gap["std_error"] == pytest.approx(club.std_error(at), rel=1e-9)
    assert df_of_rows(one, weights) == pytest.approx(club.df(at), rel=1e-9)
    df = fewer(club, at, rows.shocks(of_group))
    assert one.distribution.df(weights) == pytest.approx(df, rel=1e-9)
    assert gap["p_value"] == pytest.approx(2 * stats.t.sf(abs(gap["statistic"]), df), rel=1e-9)


def test_triple_difference_with_eligible_by_period_effects() -> None:
    f = thin(farms())
    one = run(f, TripleDifference(), eligible="large")
    group = f["county"] * 10 + f["large"]
    crossed = [f["id"], f.groupby(["large", "t"]).ngroup(), f.groupby(["county", "t"]).ngroup()]
    assert group.nunique() == 18
    X = (f["d"] * f["large"]).to_numpy(float)[:, None]
    rows = cluster_oracle.rows_of(f["y"], X, crossed, f["county"])
    club = cluster_oracle.bias_reduced(rows)
    # Effects by county and period take up every shock to one; the eligible and the others have shocks of their own.
    assert np.abs(club.vectors[..., 0] @ rows.shocks(f["t"])).max() < 1e-12 * np.abs(club.vectors).max()
    term = next(t.name for t in one.fit.terms if t.role == "effect")
    assert one.bse[term] == pytest.approx(club.std_error(np.ones(1)), rel=1e-9)
    df = fewer(club, np.ones(1), rows.shocks(f.groupby(["large", "t"]).ngroup()))
    assert one.glance()["df"].iloc[0] == pytest.approx(df, rel=1e-9)


def cells(f: pd.DataFrame, leads: bool) -> dict[tuple[int, int], Any]:
    """Indicators of cohort and year: all but the last before adoption, or those from adoption on."""
    cohorts = sorted(f["first"].dropna().astype(int).unique())
    pairs = [(g, t) for g in cohorts for t in sorted(f["year"].unique()) if (leads and t != g - 1) or t >= g]
    return {(g, t): ((f["first"] == g) & (f["year"] == t)).to_numpy(float) for g, t in pairs}


@pytest.mark.parametrize("weights", [None, "size"])
@pytest.mark.parametrize("estimator", [SunAbraham(aggregate="simple"), ExtendedTWFE(aggregate="simple"), SunAbraham()])
def test_averages_over_cohorts_map_the_regression(estimator: Any, weights: str | None) -> None:
    f = thin(cases.every_third(cases.mpdta()).assign(first=lambda f: f["first"].where(f["first"] > 0)))
    design = Design(outcome="lemp", adoption="first", assigned_at="countyreal", weights=weights)
    one = estimate(Panel.from_frame(f, unit="countyreal", time="year"), design, estimator, inference=BiasReduced())
    columns = cells(f, leads=isinstance(estimator, SunAbraham))
    w = np.ones(len(f)) if weights is None else f[weights].to_numpy(float)
    X, effects = np.column_stack([*columns.values()]), [f["countyreal"], f["year"]]
    rows = cluster_oracle.rows_of(f["lemp"], X, effects, f["countyreal"], w)
    mass = np.array([column @ w for column in columns.values()])
    e = np.array([t - g for g, t in columns])
    simple = {"ATT": e >= 0}
    groups = simple if estimator.aggregate == "simple" else {f"ATT(e={at})": e == at for at in np.unique(e)}
    loadings = np.array([mass * chosen / mass[chosen].sum() for chosen in groups.values()])
    club = assert_adjusted(one, rows, loadings, [*groups], f["year"])
    if len(groups) > 1:
        chosen = [2, 4]
        joint = one.wald([[*groups][i] for i in chosen])
        expected = club.hotelling(rows.b, loadings[chosen])
        np.testing.assert_allclose([joint.statistic, joint.df[1], joint.p_value], expected, rtol=1e-9)


@pytest.mark.parametrize("effect", ["large*t", "county*large", "zone*t"])
def test_further_absorbed_effects(effect: str) -> None:
    f = thin(farms())
    one = run(f, TwoWayFE(), absorb=(effect,), covariates=("x1", "x2"), weights="size")
    effects = [f["id"], f["t"], f.groupby(effect.split("*")).ngroup()]
    rows = cluster_oracle.rows_of(f["y"], f[["d", "x1", "x2"]], effects, f["county"], f["size"])
    assert_adjusted(one, rows, np.eye(3), ["ATT", "x1", "x2"], f["t"])


def test_repeated_cross_sections_absorb_the_units_of_assignment() -> None:
    f = thin(farms())
    design = Design(outcome="y", adoption="first", assigned_at="county", covariates=("x1",), weights="size")
    one = estimate(Panel.from_frame(f, unit=None, time="t"), design, TwoWayFE(), inference=BiasReduced())
    rows = cluster_oracle.rows_of(f["y"], f[["d", "x1"]], [f["county"], f["t"]], f["county"], f["size"])
    assert_adjusted(one, rows, np.eye(2), ["ATT", "x1"], f["t"])
    found = cluster_oracle.wild_statistics(rows, np.array([1.0, 0.0]), cluster_oracle.all_vectors((-1.0, 1.0), 9))
    assert one.under(WildBootstrap(weights="rademacher")).pvalues["ATT"] == cluster_oracle.share(found)


def test_many_levels_of_which_a_cluster_has_few() -> None:
    f = thin(cases.every_third(cases.mpdta()).assign(first=lambda f: f["first"].where(f["first"] > 0)))
    f["region"] = f["countyreal"] % 19  # by year nearly 90 levels
    design = Design(outcome="lemp", adoption="first", assigned_at="countyreal", absorb=("region*year",), weights="size")
    one = estimate(Panel.from_frame(f, unit="countyreal", time="year"), design, TwoWayFE(), inference=BiasReduced())
    effects = [f["countyreal"], f.groupby(["region", "year"]).ngroup()]
    X = cases.post(f, "year", "first")[:, None]
    rows = cluster_oracle.rows_of(f["lemp"], X, effects, f["countyreal"], f["size"])
    assert_adjusted(one, rows, np.eye(1), ["ATT"], f["year"])


def test_an_effect_nested_in_the_clusters_that_says_more_than_units_do() -> None:
    f = thin(farms())
    f["stage"] = f["id"] * 10 + (f["t"] > 5)  # each farm has two levels
    one = run(f, TwoWayFE(), absorb=("stage",), covariates=("x1",))
    rows = cluster_oracle.rows_of(f["y"], f[["d", "x1"]], [f["id"], f["t"], f["stage"]], f["county"])
    assert_adjusted(one, rows, np.eye(2), ["ATT", "x1"], f["t"])


def test_a_coarser_column_of_clusters() -> None:
    f = thin(farms())
    one = run(f, TwoWayFE(), BiasReduced(by="zone"), weights="size", covariates=("x1",))
    rows = cluster_oracle.rows_of(f["y"], f[["d", "x1"]], [f["id"], f["t"]], f["zone"], f["size"])
    assert_adjusted(one, rows, np.eye(2), ["ATT", "x1"], f["t"])
    assert one.glance()["n_clusters"].iloc[0] == 5
    assert "zone" in str(one.uncertainty.method)


def test_the_units_themselves_as_clusters() -> None:
    f = thin(farms())
    one = run(f, TwoWayFE(), BiasReduced(by="id"), covariates=("x1",))
    rows = cluster_oracle.rows_of(f["y"], f[["d", "x1"]], [f["id"], f["t"]], f["id"])
    assert_adjusted(one, rows, np.eye(2), ["ATT", "x1"], f["t"])


def test_collapsed_rows_are_the_rows_they_stand_for() -> None:
    f = farms()
    whole = Panel.from_frame(f, unit="id", time="t")
    design = Design(outcome="y", adoption="first", assigned_at="county")
    small = collapse(f, design, unit="id", time="t")
    assert len(small) == 90
    for estimator in (TwoWayFE(), EventStudy(leads=3, lags=2)):
        one, other = (estimate(panel, design, estimator, inference=BiasReduced()) for panel in (small, whole))
        np.testing.assert_allclose(one.bse, other.bse, rtol=1e-10)
        np.testing.assert_allclose(one.uncertainty.df, other.uncertainty.df, rtol=1e-9)
    leads = ["ATT(e=-3)", "ATT(e=-2)"]
    assert one.wald(leads).p_value == pytest.approx(other.wald(leads).p_value, rel=1e-9)


def test_frequencies_are_repeated_rows() -> None:
    f = farms()
    f["n"] = 1 + f["id"] % 3
    repeated = f.loc[f.index.repeat(f["n"])]
    repeated["id"] = repeated["id"] * 10 + repeated.groupby(["id", "t"]).cumcount()
    one = run(f, TwoWayFE(), panel=Panel.from_frame(f, unit="id", time="t", counts="n"))
    other = run(repeated, TwoWayFE())
    assert one.bse["ATT"] == pytest.approx(other.bse["ATT"], rel=1e-10)
    assert one.uncertainty.df[0] == pytest.approx(other.uncertainty.df[0], rel=1e-9)


def test_difference_of_means_is_hc2_with_welch_degrees_of_freedom() -> None:
    """One difference for each of G clusters: the variance of two means, and Welch's t without equal variances."""
    rng = np.random.default_rng(1)
    county = np.repeat(np.arange(11), 6)
    f = pd.DataFrame({"county": county, "year": np.tile(np.arange(2001, 2007), 11), "y": rng.normal(size=66)})
    f["first"] = np.where(county < 4, 2004.0, np.nan)
    panel = Panel.from_frame(f, unit="county", time="year")
    one = estimate(
        panel, Design(outcome="y", adoption="first", assigned_at="county"), TwoWayFE(), inference=BiasReduced()
    )
    wide = f.assign(post=f["year"] >= 2004).pivot_table("y", "county", "post")
    gain = (wide[True] - wide[False]).to_numpy()
    error = np.sqrt(gain[:4].var(ddof=1) / 4 + gain[4:].var(ddof=1) / 7)
    assert one.bse["ATT"] == pytest.approx(error, rel=1e-11)
    # Of equal variances Welch's degrees of freedom: (1/4 + 1/7)² / (1/16/3 + 1/49/6).
    assert one.uncertainty.df[0] == pytest.approx((1 / 4 + 1 / 7) ** 2 / (1 / 48 + 1 / 294), rel=1e-11)


# ---- shocks to each cluster and period --------------------------------------------------------------------------


def lopsided(treated: int, counties: int, heavy: int = 0) -> pd.DataFrame:
    """Farms of counties over six years, with outcomes that are nothing; county `heavy` holds half of all."""
    farms_in = np.full(counties, 2)
    farms_in[heavy] = 2 * (counties - 1)
    county = np.repeat(np.arange(counties), farms_in)
    f = pd.DataFrame({"id": np.repeat(np.arange(len(county)), 6), "t": np.tile(np.arange(6), len(county))})
    f["county"] = county[f["id"]]
    return f.assign(first=np.where(f["county"] < treated, 3.0, np.nan), y=np.random.default_rng(0).normal(size=len(f)))


@pytest.mark.parametrize(
    ("treated", "counties", "by_shocks", "by_rows"), [(3, 8, 0.054, 0.09), (3, 12, 0.057, 0.16), (6, 20, 0.018, 0.18)]
)
def test_one_treated_county_with_half_of_the_rows(
    treated: int, counties: int, by_shocks: float, by_rows: float
) -> None:
    """Shares of true nulls rejected at 5 % where shocks are to counties and years, as measured by another program.

    The estimate and the scores of counties are linear in the outcome: draws of county means are draws of shocks.
    """
    f = lopsided(treated, counties)
    one = run(f, TwoWayFE())
    in_county = f["county"].value_counts().sort_index().to_numpy()
    # With one date every county enters by its mean before and after, weighted by its farms (Frisch-Waugh, Lovell).
    w, treats = in_county / in_county.sum(), np.arange(counties) < treated
    a = np.where(treats, w / w[treats].sum(), -w / w[~treats].sum())
    side = np.where(treats, w[treats].sum(), w[~treats].sum())
    draws = np.random.default_rng(5).normal(size=(20_000, counties))  # of changes between the means of two periods
    b = draws @ a
    means = np.stack([draws[:, s] @ w[s] / w[s].sum() for s in (~treats, treats)], axis=1)
    # I - H_gg of the direction of the estimate in county g is 1 - w_g / w of its side.
    scores = a * (draws - means[:, treats.astype(int)]) / np.sqrt(1 - w / side)
    t = np.abs(b) / np.sqrt((scores**2).sum(axis=1))
    change = f.assign(after=f["t"] >= 3).pivot_table("y", "county", "after")
    gain = (change[True] - change[False]).to_numpy()
    left = a * (gain - np.array([gain[s] @ w[s] / w[s].sum() for s in (~treats, treats)])[treats.astype(int)])
    assert one.params["ATT"] == pytest.approx(a @ gain, rel=1e-9)
    assert one.bse["ATT"] == pytest.approx(np.sqrt((left**2 / (1 - w / side)).sum()), rel=1e-9)
    rows = cluster_oracle.rows_of(f["y"], cases.post(f, "t", "first")[:, None], [f["id"], f["t"]], f["county"])
    assert_adjusted(one, rows, np.eye(1), ["ATT"], f["t"])
    noted = ((one.uncertainty.df[0], by_shocks, 0.0005), (df_of_rows(one, np.ones(1)), by_rows, 0.005))
    for df, expected, rounded in noted:
        error = np.sqrt(expected * (1 - expected) * (1 / 4000 + 1 / 20_000))  # 4,000 draws there, 20,000 here
        assert np.mean(2 * stats.t.sf(t, df) < 0.05) == pytest.approx(expected, abs=3 * error + rounded)


def test_shocks_are_errors_of_rows_where_a_cluster_has_one_row_a_period() -> None:
    f = lopsided(3, 8)
    means = f.groupby(["county", "t"], as_index=False)[["y", "first"]].mean().assign(id=lambda f: f["county"])
    one = run(means, EventStudy(leads=2, lags=2))
    for term in one.fit.terms:
        if term.role != "base":
            at = weighted(one, {term.name: 1.0})
            assert one.distribution.df(at) == pytest.approx(df_of_rows(one, at), rel=1e-10)


# ---- what one cluster alone determines --------------------------------------------------------------------------


def few(f: pd.DataFrame | None = None, **change: Any) -> pd.DataFrame:
    f = cases.read("few_treated_9x6") if f is None else f
    return f.assign(first=f["first"].where(f["first"] > 0), **change)


def staggered() -> pd.DataFrame:
    """Counties 1 to 3 are treated; county 1 a year before, so that the last lag rests on it alone."""
    f = few()
    return f.assign(first=f["county"].map({1: 2020.0, 2: 2021.0, 3: 2021.0}))


def test_a_term_that_rests_on_one_cluster_has_no_error_and_a_note() -> None:
    f = staggered()
    panel = Panel.from_frame(f, unit="county", time="year")
    design = Design(outcome="y", adoption="first", assigned_at="county")
    one = estimate(panel, design, EventStudy(leads=2, lags=3), inference=BiasReduced())
    assert np.isnan(one.bse["ATT(e=3)"])
    assert np.isnan(one.pvalues["ATT(e=3)"])
    assert np.isnan(one.conf_int().loc["ATT(e=3)"]).all()
    assert one.vcov().loc["ATT(e=3)"].isna().all()
    notes = [str(note) for note in one.notes]
    assert any(note.startswith("ATT(e=3): cannot be estimated without county 1") for note in notes)
    rows = cluster_oracle.rows_of(
        f["y"],
        np.column_stack([*cases.event_columns(f, "year", "first", 2, 3).values()]),
        [f["county"], f["year"]],
        f["county"],
    )
    terms = ["ATT(e=-2)", "ATT(e=0)", "ATT(e=1)", "ATT(e=2)"]
    assert_adjusted(one, rows, np.eye(5)[:4], terms, f["year"])
    assert np.isnan(one.average([2, 3])["p_value"].iloc[0])
    assert np.isfinite(one.average([1, 2])["p_value"].iloc[0])
    with pytest.raises(InferenceError, match="rests on one cluster alone"):
        one.wald(["ATT(e=2)", "ATT(e=3)"])
    with pytest.raises(InferenceError, match="reference term"):
        one.wald(["ATT(e=-1)", "ATT(e=2)"])


def test_a_subgroup_with_one_treated_cluster() -> None:
    f = farms()
    f = f[~((f["large"] == 1) & (f["first"].notna()) & (f["county"] != f.loc[f["first"].notna(), "county"].min()))]
    one = run(f.reset_index(drop=True), Split(by="large", estimator=TwoWayFE()))
    assert np.isnan(one.bse["ATT [large=1]"])
    assert one.bse["ATT [large=0]"] > 0
    gap = one.contrast("ATT [large=1]", "ATT [large=0]").iloc[0]
    assert np.isfinite(gap["estimate"])
    assert np.isnan(gap[["std_error", "p_value", "conf_low"]].astype(float)).all()
    assert any("ATT [large=1]: cannot be estimated without county" in str(note) for note in one.notes)


def test_one_cluster_that_carries_the_variance_is_named_in_a_note() -> None:
    f = few()
    farms_in = f["county"].map({1: 4, 2: 1}).fillna(10).astype(int)  # of independent farms; county 3 stays untreated
    f = f.loc[f.index.repeat(farms_in)].assign(first=lambda f: f["first"].where(f["county"] < 3))
    f["farm"] = f["county"] * 100 + f.groupby(["county", "year"]).cumcount()
    f["y"] += np.random.default_rng(0).normal(size=len(f))
    design = Design(outcome="y", adoption="first", assigned_at="county")
    one = estimate(Panel.from_frame(f, unit="farm", time="year"), design, TwoWayFE(), inference=BiasReduced())
    rows = cluster_oracle.rows_of(f["y"], cases.post(f, "year", "first")[:, None], [f["farm"], f["year"]], f["county"])
    p = (cluster_oracle.bias_reduced(rows).vectors[..., 0] ** 2).sum(axis=1)
    share = round(100 * p.max() / p.sum())
    assert share > 50
    assert any(f"one cluster carries {share} % of the variance" in str(note) for note in one.notes)
    assert not any("one cluster carries" in str(note) for note in run(farms(), TwoWayFE()).notes)


# ---- settings and invariances -----------------------------------------------------------------------------------


def test_clusters_that_divide_units_are_refused() -> None:
    for by in ("t", "x1"):
        with pytest.raises(InferenceError, match="the clusters divide units"):
            run(farms(), TwoWayFE(), BiasReduced(by=by))


def test_unknown_and_missing_clusters() -> None:
    with pytest.raises(DataError, match="did you mean 'county'"):
        run(farms(), TwoWayFE(), BiasReduced(by="conty"))
    f = farms()
    f.loc[f["id"] == 4, "zone"] = np.nan
    with pytest.raises(DataError, match="the cluster is missing in 10 rows"):
        run(f, TwoWayFE(), BiasReduced(by="zone"))
    with pytest.raises(InferenceError, match="there is only one cluster"):
        run(farms(all=1), TwoWayFE(), BiasReduced(by="all"))


def test_an_estimator_without_a_regression_is_refused() -> None:
    with pytest.raises(InferenceError, match="residuals of a regression"):
        run(farms(), CallawaySantAnna())


def test_joint_test_with_many_clusters_needs_little_memory() -> None:
    """Pairs of 3,000 clusters and 4 terms would be 144 million numbers; the df is that of the same rows by blocks."""
    rng = np.random.default_rng(2)
    n = 3000
    f = pd.DataFrame({"unit": np.repeat(np.arange(n), 6), "year": np.tile(np.arange(2001, 2007), n)})
    f["first"] = np.array([2003.0, 2004.0, np.nan])[f["unit"] % 3]
    f["y"] = rng.normal(size=len(f))
    design = Design(outcome="y", adoption="first", assigned_at="unit")
    panel = Panel.from_frame(f, unit="unit", time="year")
    one = estimate(panel, design, EventStudy(leads=2, lags=3), inference=BiasReduced())
    robust = one.under(Cluster(correction="none"))
    terms = ["ATT(e=0)", "ATT(e=1)", "ATT(e=2)", "ATT(e=3)"]
    joint = one.wald(terms)
    assert joint.statistic == pytest.approx(robust.wald(terms).statistic, rel=0.01)
    assert 500 < joint.df[1] < 3000


def test_row_order_changes_no_bit_and_input_is_not_modified() -> None:
    f = thin(farms())
    before = f.copy()
    one = run(f, EventStudy(leads=3, lags=2), weights="size")
    other = run(f.sample(frac=1, random_state=1), EventStudy(leads=3, lags=2), weights="size")
    pd.testing.assert_frame_equal(f, before)
    pd.testing.assert_frame_equal(one.tidy(), other.tidy(), check_exact=True)
    lags = ["ATT(e=0)", "ATT(e=1)"]
    assert one.wald(lags).p_value == other.wald(lags).p_value


def test_units_of_outcome_and_covariate() -> None:
    f = thin(farms())
    one = run(f, TwoWayFE(), covariates=("x1",))
    for scale in (1e12, 1e-9):
        other = run(f.assign(y=scale * f["y"] + 3 * scale, x1=1e6 * f["x1"]), TwoWayFE(), covariates=("x1",))
        assert other.bse["ATT"] == pytest.approx(scale * one.bse["ATT"], rel=1e-10)
        np.testing.assert_allclose(other.uncertainty.df, one.uncertainty.df, rtol=1e-10)
        np.testing.assert_allclose(other.pvalues, one.pvalues, rtol=1e-8)


def test_a_fit_without_residuals_has_no_error() -> None:
    f = farms().assign(y=lambda f: 2.0 * f["d"] + f["t"] + f["id"])
    one = run(f, TwoWayFE())
    assert one.params["ATT"] == pytest.approx(2.0)
    assert np.isnan(one.bse["ATT"])
    assert np.isnan(one.pvalues["ATT"])


def test_method_in_words() -> None:
    one = run(farms(), TwoWayFE())
    assert (
        str(one.uncertainty.method)
        == "clustered by county, bias-reduced (CR2), t with Satterthwaite's degrees of freedom"
    )
    assert one.uncertainty.unsupported is None
    assert one.uncertainty.doubt is None
    assert one.uncertainty.joint_doubt is None
    assert "CR2" in one.summary("zh")


@pytest.mark.parametrize("never", [12, 13])
def test_shocks_that_are_mapped_to_adjusted_scores_give_the_standard_error(never: int) -> None:
    # With 12 the period that is left out of the basis is a matter of rounding: it must be one and the same throughout.
    first = np.repeat([3.0, 5.0, 6.0, np.nan], [2, 2, 2, never])
    shocks = np.random.default_rng(1).standard_normal((len(first), 8))
    county = np.repeat(np.arange(len(first)), 8)
    frame = pd.DataFrame({"county": county, "year": np.tile(np.arange(8), len(first)), "first": first[county]})
    panel = Panel.from_frame(frame.assign(y=shocks.ravel()), unit="county", time="year")
    one = estimate(
        panel, Design(outcome="y", adoption="first", assigned_at="county"), TwoWayFE(), inference=BiasReduced()
    )
    found: Any = one.distribution
    of = found.seen.shock_map(np.ones(1), -0.5)
    sums = of.own @ shocks.ravel() - of.pull @ (of.functionals @ shocks.ravel())
    assert np.linalg.norm(sums) == pytest.approx(one.bse["ATT"], rel=1e-10)
