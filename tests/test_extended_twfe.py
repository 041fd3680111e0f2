"""Extended two-way fixed effects: imputation, dummies, figures printed for R's etwfe, Poisson by its likelihood, bad designs."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest

import cases
import oracles
from evalkit import Design, Estimate, Panel, estimate
from evalkit.errors import DataError, DesignError, InferenceError
from evalkit.estimators import ExtendedTWFE, SunAbraham, TwoWayFE
from evalkit.inference import Classical, Cluster, Robust

# Introduction to etwfe (the package's vignette; R, etwfe with fixest), section "emfx" and the table "Event study".
ETWFE = {
    "ATT": (-0.0506, 0.0125),
    "ATT(e=0)": (-0.0332, 0.0134),
    "ATT(e=1)": (-0.0573, 0.0171),
    "ATT(e=2)": (-0.1379, 0.0308),
    "ATT(e=3)": (-0.1095, 0.0323),
}
ETWFE_NEVER = {
    "ATT(e=-4)": (0.007, 0.025),
    "ATT(e=-3)": (0.028, 0.018),
    "ATT(e=-2)": (0.023, 0.015),
    "ATT(e=0)": (-0.021, 0.011),
    "ATT(e=1)": (-0.053, 0.016),
    "ATT(e=2)": (-0.141, 0.032),
    "ATT(e=3)": (-0.108, 0.033),
}


def run(frame: pd.DataFrame, aggregate: Any = "simple", family: Any = "linear", **design: Any) -> Estimate:
    inference = design.pop("inference", Cluster())
    settings = {"outcome": "lemp", "adoption": "first", "assigned_at": "countyreal", **design}
    panel = Panel.from_frame(frame, unit="countyreal", time="year")
    return estimate(panel, Design(**settings), ExtendedTWFE(aggregate, family), inference=inference)


def treated(f: pd.DataFrame) -> Any:
    return ((f["first"] > 0) & (f["year"] >= f["first"])).to_numpy()


def test_equals_imputation_on_balanced_panels() -> None:
    f = cases.every_third(cases.mpdta()).reset_index(drop=True)
    D = treated(f)
    dummies = np.column_stack([pd.get_dummies(f["countyreal"]), pd.get_dummies(f["year"])]).astype(float)
    b = np.linalg.lstsq(dummies[~D], f["lemp"].to_numpy()[~D], rcond=None)[0]
    f["gap"] = f["lemp"] - dummies @ b
    f["event"] = f["year"] - f["first"]
    dynamic, simple = run(f, "dynamic").params, run(f).params
    for e, gap in f[D].groupby("event")["gap"].mean().items():
        assert dynamic[f"ATT(e={e})"] == pytest.approx(gap, abs=1e-12)  # outcomes of size 10
    assert simple["ATT"] == pytest.approx(f["gap"][D].mean(), abs=1e-12)
    cohorts = run(f, "cohort").params
    for g, gap in f[D].groupby("first")["gap"].mean().items():
        assert cohorts[f"ATT(g={int(g)})"] == pytest.approx(gap, abs=1e-12)


def test_figures_printed_for_r() -> None:
    for aggregate, names in (("simple", ["ATT"]), ("dynamic", list(ETWFE)[1:])):
        table = run(cases.mpdta(), aggregate, covariates=("lpop",)).tidy().set_index("term")
        assert list(table.index) == names
        for name in names:
            value, error = ETWFE[name]
            assert round(table.loc[name, "estimate"], 4) == value
            # Without unit effects, R counts 30 parameters, here there are 23 besides the counties.
            assert round(table.loc[name, "std_error"] * np.sqrt((2500 - 23) / (2500 - 30)), 4) == error


def test_figures_printed_for_r_with_the_never_treated() -> None:
    one = run(cases.mpdta(), "dynamic", covariates=("lpop",), comparison="never_treated")
    table = one.tidy().set_index("term")
    assert set(table.index) == {*ETWFE_NEVER, "ATT(e=-1)"}
    for name, (value, error) in ETWFE_NEVER.items():
        assert round(table.loc[name, "estimate"], 3) == value
        assert round(table.loc[name, "std_error"], 3) == error


def test_without_covariates_the_never_treated_give_sun_and_abraham() -> None:
    f = cases.thinned(cases.mpdta(), 0.1)
    for aggregate in ("dynamic", "simple", "cohort", "cohort_time"):
        one = run(f, aggregate, comparison="never_treated", weights="size")
        other = estimate(one.spec.panel, one.spec.design, SunAbraham(aggregate), inference=Cluster())  # type: ignore[arg-type]
        pd.testing.assert_series_equal(one.params, other.params, check_exact=True)
        pd.testing.assert_frame_equal(one.vcov(), other.vcov(), check_exact=True)


def test_one_cohort_without_covariates_is_two_way_effects() -> None:
    f = cases.mpdta().query("first in (0, 2006)")
    one = run(f)
    other = estimate(one.spec.panel, one.spec.design, TwoWayFE(), inference=Cluster())
    assert one.params["ATT"] == pytest.approx(other.params["ATT"], abs=1e-13)


@pytest.mark.parametrize("weights", [None, "size"])
@pytest.mark.parametrize("covariates", [(), ("lpop",), ("x",), ("lpop", "x")])
def test_equals_dummies(covariates: tuple[str, ...], weights: str | None) -> None:
    f = cases.thinned(cases.every_third(cases.mpdta()), 0.1)
    f["x"] = np.random.default_rng(3).normal(size=len(f)) + f["year"] % 3
    w = np.ones(len(f)) if weights is None else f[weights].to_numpy()
    years, cohorts = range(2004, 2008), (2004, 2006, 2007)
    cells = [(g, t) for g in cohorts for t in years if t >= g]
    flags = [((f["first"] == g) & (f["year"] == t)).to_numpy(float) for g, t in cells]
    columns = list(flags)
    for name in covariates:
        x = f[name].to_numpy()
        columns += [x * (f["year"] == t) for t in years]
        columns += [] if name == "lpop" else [x, *(x * (f["first"] == g) for g in cohorts)]
        columns += [flag * (x - np.average(x, weights=w * flag)) for flag in flags]
    r = oracles.dummy_regression(f["lemp"], np.column_stack(columns), [f["countyreal"], f["year"]], w)
    V, _ = oracles.clustered(r, [f["countyreal"]], "cr1")
    one = run(f, "cohort_time", covariates=covariates, weights=weights)
    terms = [f"ATT(g={g},t={t})" for g, t in cells]
    scale = np.sqrt(np.diag(V))[: len(cells)]
    assert (np.abs(one.params[terms] - r.b[: len(cells)]) / scale).max() < 1e-9  # the dummies' condition number, 1e5
    np.testing.assert_allclose(one.bse[terms], scale, rtol=1e-9)
    sizes = np.array([w @ flag for flag in flags])
    share = sizes / sizes.sum()
    simple = run(f, covariates=covariates, weights=weights)
    assert simple.params["ATT"] == pytest.approx(share @ r.b[: len(cells)], rel=1e-9)
    error = np.sqrt(share @ V[: len(cells), : len(cells)] @ share)
    assert simple.bse["ATT"] == pytest.approx(error, rel=1e-9)
    assert len(simple.tidy(covariates=True)) == len(columns) - len(cells) + 1


def test_a_covariate_that_shifts_all_changes_nothing() -> None:
    f = cases.every_third(cases.mpdta())
    one = run(f, "cohort_time", covariates=("lpop",))
    far = run(f.assign(lpop=lambda f: 1e6 + 100 * f["lpop"]), "cohort_time", covariates=("lpop",))
    terms = [term.name for term in one.fit.terms if term.role == "effect"]
    np.testing.assert_allclose(
        far.params[terms], one.params[terms], atol=1e-10
    )  # six digits of the covariate are spent
    np.testing.assert_allclose(far.bse[terms], one.bse[terms], rtol=1e-8)


def test_without_never_treated_later_periods_are_left_out() -> None:
    f = cases.mpdta().query("first > 0")
    one = run(f, "cohort_time")
    other = run(f.query("year < 2007").assign(first=lambda f: f["first"].where(f["first"] < 2007, 0)), "cohort_time")
    pd.testing.assert_series_equal(one.params, other.params, check_exact=True)
    assert any("last cohort (2007)" in str(note) for note in one.notes)
    assert [(line.rows, line.units) for line in one.ledger] == [(191, 0)]


def test_cohorts_always_treated_are_left_out() -> None:
    f = cases.mpdta().query("year >= 2004")
    one = run(f, "cohort")
    assert list(one.params.index) == ["ATT(g=2006)", "ATT(g=2007)"]
    assert [(line.rows, line.units) for line in one.ledger] == [(80, 20)]


def test_anticipating_periods_are_no_comparison() -> None:
    f = cases.mpdta()
    one = run(f, "dynamic", anticipation=1)
    assert [term.event_time for term in one.fit.terms] == [-1, 0, 1]
    moved = run(f.assign(first=f["first"] - (f["first"] > 0)), "dynamic")  # 2004 becomes 2003, always treated
    np.testing.assert_allclose(one.params, moved.params, atol=1e-13)
    simple = run(f, anticipation=1)
    assert simple.params["ATT"] == pytest.approx((171 * one.params["ATT(e=0)"] + 40 * one.params["ATT(e=1)"]) / 211)


def test_unknown_settings_are_refused() -> None:
    with pytest.raises(DesignError, match="did you mean 'simple'"):
        ExtendedTWFE("simpel")  # type: ignore[arg-type]
    with pytest.raises(DesignError, match="did you mean 'poisson'"):
        ExtendedTWFE(family="Poisson")  # type: ignore[arg-type]


def test_invariances() -> None:
    f = cases.thinned(cases.every_third(cases.mpdta()), 0.05)
    f["x"] = np.random.default_rng(3).normal(size=len(f))
    for family in ("linear", "poisson"):
        one = run(f, "dynamic", family, covariates=("x",))
        shuffled = run(f.sample(frac=1, random_state=3), "dynamic", family, covariates=("x",))
        assert one.params.to_numpy().tobytes() == shuffled.params.to_numpy().tobytes()
        assert one.vcov().to_numpy().tobytes() == shuffled.vcov().to_numpy().tobytes()
        scaled = run(f.assign(lemp=1e9 * f["lemp"]), "dynamic", family, covariates=("x",))
        terms = [term.name for term in one.fit.terms if term.role == "effect"]
        np.testing.assert_allclose(scaled.params[terms], 1e9 * one.params[terms], rtol=1e-9)
        np.testing.assert_allclose(scaled.bse[terms], 1e9 * one.bse[terms], rtol=1e-9)
        relabelled = run(f.assign(countyreal=99999 - f["countyreal"]), "dynamic", family, covariates=("x",))
        np.testing.assert_allclose(relabelled.params[terms], one.params[terms], atol=1e-11)
        equal = run(f.assign(w=2.5), "dynamic", family, covariates=("x",), weights="w")
        assert equal.params.to_numpy().tobytes() == one.params.to_numpy().tobytes()
    shifted = run(f.assign(lemp=f["lemp"] + 3 * treated(f)))
    assert shifted.params["ATT"] == pytest.approx(run(f).params["ATT"] + 3, abs=1e-12)


def employment(share: float = 0.0) -> pd.DataFrame:
    f = cases.thinned(cases.every_third(cases.mpdta()), share)
    return f.assign(emp=np.exp(f["lemp"]), x=np.random.default_rng(4).normal(size=len(f)), heavy=1 + f["year"] % 2)


def by_likelihood(f: pd.DataFrame, covariates: tuple[str, ...], weights: str | None) -> tuple[Any, Any]:
    """Cell effects on the mean with a parameter for each effect, and their clustered covariance by the whole Jacobian."""
    w = np.ones(len(f)) if weights is None else f[weights].to_numpy(float)
    years, cohorts = range(2004, 2008), (2004, 2006, 2007)
    flags = [((f["first"] == g) & (f["year"] == t)).to_numpy(float) for g in cohorts for t in years if t >= g]
    columns = list(flags)
    switches = [[j] for j in range(len(flags))]
    for name in covariates:
        x = f[name].to_numpy()
        columns += [x * (f["year"] == t) for t in years] + [x, *(x * (f["first"] == g) for g in cohorts)]
        for j, flag in enumerate(flags):
            switches[j].append(len(columns))
            columns.append(flag * (x - np.average(x, weights=w * flag)))
    fixed = np.column_stack([pd.get_dummies(f["countyreal"]), pd.get_dummies(f["year"]).iloc[:, 1:]])
    X = np.column_stack([*columns, fixed]).astype(float)
    y = f["emp"].to_numpy()
    b = np.linalg.lstsq(X, np.log(y), rcond=None)[0]
    for _ in range(12):  # Newton: the steps are of size 1e-14 from about the eighth on
        mean = np.exp(X @ b)
        bread = np.linalg.inv(X.T @ (X * (w * mean)[:, None]))
        b = b + bread @ X.T @ (w * (y - mean))
    groups = pd.factorize(f["countyreal"])[0]
    scores = pd.DataFrame(X * (w * (y - mean))[:, None]).groupby(groups).sum().to_numpy()
    V = bread @ scores.T @ scores @ bread * len(scores) / (len(scores) - 1)
    effects, jacobian = [], []
    for j, flag in enumerate(flags):
        without = X.copy()
        without[:, switches[j]] = 0.0
        other = np.exp(without @ b)
        share = w * flag / (w @ flag)
        effects.append(share @ (mean - other))
        jacobian.append(X.T @ (share * mean) - without.T @ (share * other))
    return np.array(effects), np.array(jacobian) @ V @ np.array(jacobian).T


@pytest.mark.parametrize(
    ("share", "covariates", "weights"),
    [(0.0, (), None), (0.1, (), "heavy"), (0.1, ("x",), None), (0.1, ("x",), "heavy")],
)
def test_poisson_equals_the_likelihood_with_all_dummies(
    share: float, covariates: tuple[str, ...], weights: str | None
) -> None:
    f = employment(share)
    effects, V = by_likelihood(f, covariates, weights)
    one = run(f, "cohort_time", "poisson", outcome="emp", covariates=covariates, weights=weights)
    terms = [term.name for term in one.fit.terms if term.role == "effect"]
    scale = np.sqrt(np.diag(V))
    # The dummies' information has a condition number of about 1e6.
    assert (np.abs(one.params[terms] - effects) / scale).max() < 1e-9
    assert (np.abs(one.vcov().loc[terms, terms] - V) / np.outer(scale, scale)).to_numpy().max() < 1e-9


def test_poisson_patterns_of_units_change_nothing() -> None:
    f = cases.mpdta().assign(emp=lambda f: np.exp(f["lemp"]))
    fast = run(f, "dynamic", "poisson", outcome="emp")
    whole = run(f, "dynamic", "poisson", outcome="emp", absorb=("countyreal",))  # adds nothing, but needs all rows
    np.testing.assert_allclose(fast.params, whole.params, rtol=1e-10)
    np.testing.assert_allclose(fast.vcov(), whole.vcov(), rtol=1e-9)


def test_poisson_of_two_groups_is_a_ratio_of_ratios() -> None:
    f = cases.mpdta().query("first in (0, 2006)").assign(emp=lambda f: np.exp(f["lemp"]))
    one = run(f.query("year in (2005, 2006)"), "simple", "poisson", outcome="emp")
    mean = f.groupby(["first", "year"])["emp"].mean()
    by_hand = mean[2006, 2006] - mean[2006, 2005] * mean[0, 2006] / mean[0, 2005]
    assert one.params["ATT"] == pytest.approx(by_hand, rel=1e-12)
    assert any("same ratio" in str(note) for note in one.notes)


def test_poisson_log_effects_equal_pyfixest() -> None:
    import warnings

    import pyfixest as pf

    f = employment()
    names = []
    for g in (2004, 2006, 2007):
        for t in range(g, 2008):
            names.append(f"d{g}{t}")
            f[names[-1]] = ((f["first"] == g) & (f["year"] == t)).astype(float)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it calls pandas in ways that pandas 3 deprecates
        peer = pf.fepois(f"emp ~ {' + '.join(names)} | countyreal + year", f, iwls_tol=1e-13).coef()
    one = run(f, "cohort_time", "poisson", outcome="emp")
    for name in names:
        g, t = name[1:5], name[5:]
        mean = f.loc[f[name] == 1, "emp"].mean()
        # The fitted mean of a cell is its mean, of which exp(-effect) would be there without treatment.
        expected = mean * (1 - np.exp(-peer[name]))
        assert one.params[f"ATT(g={g},t={t})"] == pytest.approx(expected, rel=1e-6)  # its tolerance for fixed effects


def test_poisson_leaves_out_units_that_are_always_zero() -> None:
    f = employment()
    gone = f["countyreal"].isin(f["countyreal"].unique()[:3])
    one = run(f.assign(emp=f["emp"].where(~gone, 0.0)), "dynamic", "poisson", outcome="emp")
    other = run(f[~gone], "dynamic", "poisson", outcome="emp")
    pd.testing.assert_series_equal(one.params, other.params, check_exact=True)
    assert [(line.rows, line.units) for line in one.ledger] == [(15, 3)]


def test_poisson_needs_outcomes_that_are_not_negative() -> None:
    f = employment()
    f.loc[f.index[7], "emp"] = -1.0
    with pytest.raises(DataError, match="negative in 1 rows") as error:
        run(f, "simple", "poisson", outcome="emp")
    assert f"row {f.index[7]}" in str(error.value)


@pytest.mark.parametrize(
    ("rows", "named"),
    [
        ("first == 2006 and year == 2007", r"every row of ATT\(g=2006,t=2007\)"),
        ("year == 2004 and (first != 2004)", "every untreated row of 2004"),
        ("first == 2006 and year < 2006", "every untreated row of cohort 2006"),
    ],
)
def test_poisson_names_what_is_always_zero(rows: str, named: str) -> None:
    f = employment()
    f.loc[f.query(rows).index, "emp"] = 0.0
    with pytest.raises(DesignError, match=named):
        run(f, "simple", "poisson", outcome="emp")


def test_poisson_refuses_a_likelihood_without_maximum() -> None:
    f = employment()
    never = f["first"] == 0
    f.loc[never & (f["x"] > 0), "emp"] = 0.0
    f.loc[never & (f["x"] <= 0), "x"] = -1.0
    f.loc[~never, "x"] = -1.0
    f["x"] = (f["x"] > 0).astype(float)  # where x is 1, the outcome is 0: its coefficient runs to minus infinity
    with pytest.raises(DesignError, match="has no solution"):
        run(f, "simple", "poisson", outcome="emp", covariates=("x",))


@pytest.mark.parametrize("inference", [Classical(), Robust(), Cluster(correction="all_effects")])
def test_poisson_has_no_residuals_of_a_regression(inference: Any) -> None:
    with pytest.raises(InferenceError, match="residuals of a regression"):
        run(employment(), "simple", "poisson", outcome="emp", inference=inference)


# Where diff-diff differs


def peer(frame: pd.DataFrame, **settings: Any) -> Any:
    from diff_diff import WooldridgeDiD

    names = {"outcome": "lemp", "unit": "countyreal", "time": "year", "first_treat": "first"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names that will change
        return WooldridgeDiD().fit(frame, **names, **settings)


@pytest.mark.parametrize("share", [0.0, 0.1])
def test_diff_diff_takes_the_covariate_itself_less_its_mean_by_cohort_and_period(share: float) -> None:
    f = cases.thinned(cases.mpdta(), share).astype({"first": int}).reset_index(drop=True)
    f["z"] = f["lpop"] + np.sin(1.7 * np.arange(len(f)))
    x = f["z"] - f["z"].mean()
    less = x - x.groupby([f["first"], f["year"]]).transform("mean")
    cells = [(f["first"] == g) & (f["year"] == t) for g in (2004, 2006, 2007) for t in range(g, 2008)]
    columns = [cell.to_numpy(float) for cell in cells] + [(cell * less).to_numpy() for cell in cells]
    columns += [(x * (f["year"] == t)).to_numpy() for t in range(2004, 2008)]
    columns += [(x * (f["first"] == g)).to_numpy() for g in (2004, 2006, 2007)]
    rows = [cell.sum() for cell in cells]
    found = []
    for regressors in ([*columns, x.to_numpy()], [*columns, less.to_numpy()]):
        fit = oracles.dummy_regression(f["lemp"], np.column_stack(regressors), [f["countyreal"], f["year"]], None)
        found.append(np.average(fit.b[: len(cells)], weights=rows))
    one = run(f, "simple", outcome="lemp", covariates=("z",))
    assert one.params["ATT"] == pytest.approx(found[0], abs=1e-10)
    assert peer(f, xtvar=["z"]).overall_att == pytest.approx(found[1], abs=1e-8)  # de-meaned in steps


def test_diff_diff_weighs_cells_by_rows_where_rows_have_weights() -> None:
    from diff_diff import SurveyDesign

    f = cases.mpdta().astype({"first": int}).assign(size=lambda f: np.exp(f["lpop"]))
    theirs = peer(f, survey_design=SurveyDesign(weights="size"))
    cells = run(f, "cohort_time", outcome="lemp", weights="size").params
    of = [(g, t) for g in (2004, 2006, 2007) for t in range(g, 2008)]
    effects = [cells[f"ATT(g={g},t={t})"] for g, t in of]
    at = f.groupby(["first", "year"])["size"].agg(["size", "sum"])
    ours = run(f, "simple", outcome="lemp", weights="size").params["ATT"]
    for value, by in ((theirs.overall_att, "size"), (ours, "sum")):
        assert value == pytest.approx(np.average(effects, weights=[at[by][cell] for cell in of]), abs=1e-12)
