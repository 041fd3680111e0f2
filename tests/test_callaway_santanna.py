"""Callaway and Sant'Anna against R did, textbook formulas in statsmodels, derivatives by hand, and on designs that go wrong."""

from __future__ import annotations

import json
import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm

import cases
from evalkit import Design, Estimate, Panel, collapse, estimate
from evalkit.errors import DesignError, InferenceError
from evalkit.estimators import CallawaySantAnna, Split
from evalkit.inference import Cluster
from evalkit.numerics.glm import logit

STORED = json.loads((cases.TESTS / "reference" / "r_did_mpdta.json").read_text(encoding="utf-8"))
DID = {entry["id"]: entry for entry in STORED["entries"]}
AGGREGATES = {"simple": "", "dynamic": "e", "group": "g", "calendar": "t"}
METHODS = ("dr", "reg", "ipw")
UNCORRECTED = Cluster(correction="none")


def settings_of(entry: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read the design and the estimator from the stored call."""
    call = DID[entry]["call"]
    design: dict[str, Any] = {
        "covariates": ("lpop",) if "xformla = ~lpop" in call else (),
        "comparison": "not_yet_treated" if "notyettreated" in call else "never_treated",
        "anticipation": 1 if "anticipation = 1" in call else 0,
    }
    settings: dict[str, Any] = {"base": "universal" if "universal" in call else "varying"}
    settings["method"] = next((m for m in METHODS if f'est_method = "{m}"' in call), "dr")
    return design, settings


def mpdta_estimate(entry: str, aggregate: str) -> Estimate:
    frame = cases.mpdta()
    frame["row"] = np.arange(len(frame))
    design, settings = settings_of(entry)
    rows = entry == "cross_sections"
    if entry == "balance":
        settings["balance"] = 1
    return estimate(
        Panel.from_frame(frame, unit=None if rows else "countyreal", time="year"),
        Design(outcome="lemp", adoption="first", assigned_at="countyreal", **design),
        CallawaySantAnna(aggregate=aggregate, **settings),  # type: ignore[arg-type]
        inference=Cluster("row", correction="none") if rows else UNCORRECTED,
    )


def assert_equal_to_stored(row: pd.Series, value: float, error: float | None) -> None:
    # Both in double precision, but R stops its logit at a deviance known to 1e-8, which leaves up to 2e-9 here.
    assert row["estimate"] == pytest.approx(value, rel=1e-8, abs=1e-10)
    if error is None:
        assert np.isnan(row["std_error"])
    else:
        assert row["std_error"] == pytest.approx(error, rel=1e-8)


@pytest.mark.parametrize("entry", [name for name in DID if name != "balance"])
def test_effects_by_cohort_and_period_equal_r_did(entry: str) -> None:
    table = mpdta_estimate(entry, "group_time").tidy().set_index("term")
    stored = DID[entry]["results"]["attgt"]
    assert len(table) == len(stored)
    for one in stored:
        row = table.loc[f"ATT(g={one['group']},t={one['time']})"]
        assert_equal_to_stored(row, one["att"], one["se"])
        assert (row["cohort"], row["period"], row["event_time"]) == (
            str(one["group"]),
            str(one["time"]),
            one["time"] - one["group"],
        )


@pytest.mark.parametrize(
    ("entry", "aggregate"), [(entry, kind) for entry in DID for kind in DID[entry]["results"]["aggte"]]
)
def test_averages_equal_r_did(entry: str, aggregate: str) -> None:
    table = mpdta_estimate(entry, aggregate).tidy().set_index("term")
    stored = DID[entry]["results"]["aggte"][aggregate]
    assert table.index[0] == "ATT"
    assert_equal_to_stored(table.iloc[0], stored["overall_att"], stored["overall_se"])
    inner = list(zip(stored["egt"] or [], stored["att_egt"] or [], stored["se_egt"] or [], strict=True))
    assert table.index[1:].tolist() == [f"ATT({AGGREGATES[aggregate]}={key})" for key, _, _ in inner]
    for key, value, error in inner:
        assert_equal_to_stored(table.loc[f"ATT({AGGREGATES[aggregate]}={key})"], value, error)


# A staggered panel with covariates and weights that change over time


def staggered(seed: int = 3, per_cohort: int = 14, missing: float = 0.0) -> pd.DataFrame:
    """Four cohorts (2013, 2014, 2016, never) over 2011-2016, counties of 7 units; adoption depends on x."""
    rng = np.random.default_rng(seed)
    n = 4 * per_cohort
    unit = np.repeat(np.arange(n), 6)
    f = pd.DataFrame({"unit": unit, "year": np.tile(np.arange(2011, 2017), n), "county": unit // 7})
    f["first"] = np.repeat([2013.0, 2014.0, 2016.0, np.nan], per_cohort * 6)
    f["x"] = np.repeat(rng.normal(size=n) + 0.4 * (np.arange(n) < 2 * per_cohort), 6) + 0.1 * rng.normal(size=6 * n)
    f["z"] = rng.normal(size=6 * n)
    f["w"] = np.repeat(rng.uniform(0.5, 2.0, n), 6) * rng.uniform(0.9, 1.1, 6 * n)
    f["treated"] = (f["year"] >= f["first"]).astype(float)
    f["y"] = rng.normal(size=6 * n) + 0.2 * f["x"] * (f["year"] - 2011) + 0.5 * f["treated"] + 0.05 * f["unit"]
    return f[rng.random(len(f)) >= missing].reset_index(drop=True)


def run(
    frame: pd.DataFrame,
    estimator: Any = None,
    *,
    unit: str | None = "unit",
    inference: Any = UNCORRECTED,
    **design: Any,
) -> Estimate:
    counts = design.pop("counts", None)
    panel = Panel.from_frame(frame, unit=unit, time="year", counts=counts)
    settings = {"outcome": "y", "adoption": "first", "assigned_at": "county", **design}
    return estimate(panel, Design(**settings), estimator or CallawaySantAnna(), inference=inference)


def said(one: Estimate) -> str:
    """All notes in one text; each can be said in Chinese, too."""
    assert all(note.text("zh") for note in one.notes)
    return "\n".join(map(str, one.notes))


def rows_of(frame: pd.DataFrame, year: int, cohort: float | None, later_than: int | None = None) -> pd.DataFrame:
    """Rows of a year, of a cohort (None: of those who adopt after a year, or never), by unit."""
    at = frame[frame["year"] == year].set_index("unit")
    return at[at["first"] == cohort] if cohort is not None else at[~(at["first"] <= (later_than or 0))]


def by_hand(frame: pd.DataFrame, cohort: int, year: int, base: int, method: str, x: list[str], w: bool) -> float:
    """One comparison by the formulas of Sant'Anna and Zhao, with models from statsmodels."""
    change, regressors, treated, weights = [], [], [], []
    latest = max(year, base)
    for group, flag in ((cohort, 1.0), (None, 0.0)):
        now, then = (rows_of(frame, t, group, latest) for t in (year, base))
        now, then = (part[part["first"] != cohort] if flag == 0 else part for part in (now, then))
        both = now.index.intersection(then.index)
        early = rows_of(frame, min(year, base), group, latest).loc[both]
        change.append((now.loc[both, "y"] - then.loc[both, "y"]).to_numpy())
        regressors.append(np.column_stack([np.ones(len(both)), early[x]]))
        treated.append(np.full(len(both), flag))
        weights.append(early["w"].to_numpy() if w else np.ones(len(both)))
    dy, X, D, v = (np.concatenate(parts) for parts in (change, regressors, treated, weights))
    fitted = np.zeros(len(dy))
    if method != "ipw":
        fitted = X @ sm.WLS(dy[D == 0], X[D == 0], weights=v[D == 0]).fit().params
    left = dy - fitted
    effect = np.average(left[D == 1], weights=v[D == 1])
    if method == "reg":
        return float(effect)
    p = sm.GLM(D, X, family=sm.families.Binomial(), freq_weights=v).fit(tol=1e-14, tol_criterion="params").mu
    return float(effect - np.average(left[D == 0], weights=(v * p / (1 - p))[D == 0]))


@pytest.mark.parametrize(
    ("base", "missing", "weighted"), [("varying", 0.0, False), ("varying", 0.15, True), ("universal", 0.15, True)]
)
@pytest.mark.parametrize("method", METHODS)
def test_each_comparison_equals_its_formula(method: str, base: str, missing: float, weighted: bool) -> None:
    f = staggered(missing=missing)
    one = run(
        f,
        CallawaySantAnna(aggregate="group_time", method=method, base=base),  # type: ignore[arg-type]
        covariates=("x", "z"),
        weights="w" if weighted else None,
    )
    for cohort in (2013, 2014, 2016):
        for year in range(2011, 2017):
            before = cohort - 1 if year >= cohort or base == "universal" else year - 1
            term = f"ATT(g={cohort},t={year})"
            if before == 2010:
                assert term not in one.params
            elif before == year:
                assert one.params[term] == 0.0
            else:
                expected = by_hand(f, cohort, year, before, method, ["x", "z"], weighted)
                assert one.params[term] == pytest.approx(expected, abs=1e-10)  # two solvers; outcomes of size 3


def levels_by_hand(frame: pd.DataFrame, cohort: int, year: int, base: int, method: str) -> float:
    """One comparison of repeated cross-sections by eq. 3.4 of Sant'Anna and Zhao, as it is printed there."""
    f = frame[frame["year"].isin([year, base]) & ((frame["first"] == cohort) | ~(frame["first"] <= max(year, base)))]
    D, after, y, v = ((f["first"] == cohort).to_numpy(float), (f["year"] == year).to_numpy(), f["y"], f["w"])
    X = np.column_stack([np.ones(len(f)), f[["x", "z"]]])

    def line(group: int, post: bool) -> Any:
        at = (group == D) & (after == post)
        return X @ sm.WLS(y[at], X[at], weights=v[at]).fit().params.to_numpy()

    def mean(of: Any, group: int, post: bool | None, odds: Any) -> float:
        at = (group == D) & ((after == post) if post is not None else True)
        return float(np.average(of[at], weights=(v * odds)[at]))

    p = sm.GLM(D, X, family=sm.families.Binomial(), freq_weights=v).fit(tol=1e-14, tol_criterion="params").mu
    one = np.ones(len(f))
    if method == "ipw":
        return (mean(y, 1, True, one) - mean(y, 1, False, one)) - (
            mean(y, 0, True, p / (1 - p)) - mean(y, 0, False, p / (1 - p))
        )
    m0, m1 = ({post: line(group, post) for post in (True, False)} for group in (0, 1))
    if method == "reg":
        return mean(y, 1, True, one) - mean(y, 1, False, one) - mean(m0[True] - m0[False], 1, None, one)
    own = np.where(after, m0[True], m0[False])
    effect = (mean(y - own, 1, True, one) - mean(y - own, 1, False, one)) - (
        mean(y - own, 0, True, p / (1 - p)) - mean(y - own, 0, False, p / (1 - p))
    )
    for post, sign in ((True, 1), (False, -1)):
        gap = m1[post] - m0[post]
        effect += sign * (mean(gap, 1, None, one) - mean(gap, 1, post, one))
    return float(effect)


@pytest.mark.parametrize("method", METHODS)
def test_each_comparison_of_cross_sections_equals_its_formula(method: str) -> None:
    f = staggered(missing=0.1)
    one = run(
        f,
        CallawaySantAnna(aggregate="group_time", method=method),  # type: ignore[arg-type]
        unit=None,
        covariates=("x", "z"),
        weights="w",
    )
    for cohort in (2013, 2014, 2016):
        for year in range(2012, 2017):
            expected = levels_by_hand(f, cohort, year, min(cohort, year) - 1, method)
            assert one.params[f"ATT(g={cohort},t={year})"] == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize(
    ("aggregate", "method", "covariates"),
    [(kind, "dr", ("x",)) for kind in (*AGGREGATES, "group_time")]
    + [("group_time", "reg", ("x",)), ("group_time", "ipw", ("x",)), ("dynamic", "dr", ())],
)
@pytest.mark.parametrize("unit", ["unit", None])
def test_influence_is_the_derivative_by_weights(
    unit: str | None, method: str, covariates: tuple[str, ...], aggregate: str
) -> None:
    f = staggered(missing=0.1, per_cohort=7)
    f["row"] = np.arange(len(f))
    estimator = CallawaySantAnna(aggregate=aggregate, method=method)  # type: ignore[arg-type]
    one = run(f, estimator, unit=unit, covariates=covariates, weights="w")
    (part,) = one.fit.parts
    level = unit or "row"
    rows = part.sample.rows
    codes = one.spec.panel.frame[level].to_numpy()[rows]
    influence = part.influence.sum_within(codes, int(codes.max()) + 1)
    step = 1e-4
    for at in np.unique(codes)[:: 9 if unit else 41]:
        sides = []
        for sign in (1, -1):
            moved = f.assign(w=f["w"] * np.where(f[level] == at, 1 + sign * step, 1.0))
            sides.append(run(moved, estimator, unit=unit, covariates=covariates, weights="w").fit.coefficients)
        # A central difference: errors of step**2 = 1e-8 and of rounding 1e-16/step = 1e-12, of influences of size 0.1.
        np.testing.assert_allclose((sides[0] - sides[1]) / (2 * step), influence[at], atol=2e-8)


def test_logit_equals_statsmodels() -> None:
    rng = np.random.default_rng(0)
    X = np.column_stack([np.ones(300), rng.normal(size=(300, 3))])
    y = (rng.random(300) < 1 / (1 + np.exp(-X @ [0.3, 1.0, -2.0, 0.5]))).astype(float)
    w = rng.uniform(0.2, 3.0, 300)
    ours = logit(columns=np.ascontiguousarray(X.T), outcome=y, weights=w)
    theirs = sm.GLM(y, X, family=sm.families.Binomial(), freq_weights=w).fit(tol=1e-14, tol_criterion="params")
    assert ours.converged
    np.testing.assert_allclose(ours.coefficients, theirs.params, rtol=1e-10)  # both end Newton's method at rounding
    np.testing.assert_allclose(ours.probabilities, theirs.mu, rtol=1e-10)
    np.testing.assert_allclose(ours.inverse, theirs.cov_params(), rtol=1e-8)  # theirs is of the step before


def test_logit_runs_to_the_bounds_where_the_outcome_is_separated() -> None:
    x = np.linspace(-1, 1, 40)
    separated = logit(columns=np.array([np.ones(40), x]), outcome=(x > 0).astype(float), weights=np.ones(40))
    assert not separated.converged or separated.probabilities.max() > 0.999
    # A covariate that only controls have takes their propensity to 0, and leaves that of the others as without them.
    only = np.repeat([1.0, 0.0], [10, 30])
    y = np.concatenate([np.zeros(10), np.tile([0.0, 1.0, 0.0], 10)])
    fit = logit(columns=np.array([np.ones(40), only]), outcome=y, weights=np.ones(40))
    assert fit.converged
    np.testing.assert_allclose(fit.probabilities, np.where(only, 0.0, 1 / 3), atol=1e-12)


def test_logit_of_collinear_columns_does_not_converge() -> None:
    ones = np.ones(10)
    assert not logit(columns=np.array([ones, ones]), outcome=np.arange(10.0) % 2, weights=ones).converged


# What the choices mean


def test_simple_averages_by_size_of_cohort_and_group_by_period() -> None:
    f = staggered()
    f = f[~((f["first"] == 2014) & (f["unit"] % 2 == 0))]  # half of a cohort
    cells = run(f, CallawaySantAnna(aggregate="group_time")).tidy()
    cells = cells[cells["event_time"] >= 0].assign(size=lambda c: c["cohort"].map({"2013": 14, "2014": 7, "2016": 14}))
    assert run(f).params["ATT"] == pytest.approx(np.average(cells["estimate"], weights=cells["size"]), rel=1e-12)
    group = run(f, CallawaySantAnna(aggregate="group")).params
    means = cells.groupby("cohort")["estimate"].mean()
    for cohort, mean in means.items():
        assert group[f"ATT(g={cohort})"] == pytest.approx(mean, rel=1e-12)
    assert group["ATT"] == pytest.approx(np.average(means, weights=[14, 7, 14]), rel=1e-12)
    calendar = run(f, CallawaySantAnna(aggregate="calendar")).params
    assert calendar["ATT"] == pytest.approx(calendar.iloc[1:].mean(), rel=1e-12)


def test_limits_of_event_times_select_terms_and_what_the_mean_is_of() -> None:
    f = staggered()
    whole = run(f, CallawaySantAnna(aggregate="dynamic")).params
    part = run(f, CallawaySantAnna(aggregate="dynamic", min_e=-1, max_e=1)).params
    assert part.index.tolist() == ["ATT", "ATT(e=-1)", "ATT(e=0)", "ATT(e=1)"]
    assert part.iloc[1:].tolist() == whole[part.index[1:]].tolist()
    assert part["ATT"] == pytest.approx(whole[["ATT(e=0)", "ATT(e=1)"]].mean(), rel=1e-12)


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"min_e": 30}, "min_e is 30, and cohorts are observed from event time -4 to 3.*event times from -4 to 3"),
        ({"balance": 4}, "balance is 4, and cohorts are observed from event time -4 to 3.*a balance of at most 3"),
        ({"min_e": 2, "balance": 1}, "min_e is 2, balance is 1"),
    ],
)
def test_event_times_that_nobody_has_are_refused_with_those_there_are(settings: dict[str, int], what: str) -> None:
    with pytest.raises(DesignError, match=what):
        run(staggered(), CallawaySantAnna(aggregate="dynamic", **settings))  # type: ignore[arg-type]


def test_balanced_event_times_are_of_the_same_cohorts() -> None:
    f = staggered()
    one = run(f, CallawaySantAnna(aggregate="dynamic", balance=2))
    without = run(f[f["first"] != 2016], CallawaySantAnna(aggregate="dynamic", max_e=2), comparison="never_treated")
    both = run(f, CallawaySantAnna(aggregate="dynamic", balance=2), comparison="never_treated")
    assert "cohorts 2016 do not have effects at every event time from 0 to 2" in said(one)
    assert one.params.index.tolist() == ["ATT", *(f"ATT(e={e})" for e in range(-2, 3))]
    for e in range(3):
        assert both.params[f"ATT(e={e})"] == pytest.approx(without.params[f"ATT(e={e})"], rel=1e-12)
    with pytest.raises(DesignError, match="balance is 5, and cohorts are observed from event time -4 to 3"):
        run(f, CallawaySantAnna(aggregate="dynamic", balance=5))


def test_universal_base_is_listed_without_error() -> None:
    one = run(staggered(), CallawaySantAnna(aggregate="dynamic", base="universal"), anticipation=1)
    row = one.tidy().set_index("term").loc["ATT(e=-2)"]
    assert (row["estimate"], np.isnan(row["std_error"])) == (0.0, True)
    assert one.bse.drop("ATT(e=-2)").notna().all()


def test_anticipation_moves_the_base_and_the_comparison() -> None:
    f = staggered()
    one = run(f, CallawaySantAnna(aggregate="group_time"), anticipation=1)
    y = f.pivot(index="unit", columns="year", values="y")
    first = f.groupby("unit")["first"].first()
    change = y[2014] - y[2012]
    expected = change[first == 2014].mean() - change[~(first <= 2015)].mean()  # 2016 may respond in 2015, not in 2014
    assert one.params["ATT(g=2014,t=2014)"] == pytest.approx(expected, rel=1e-12)
    change = y[2015] - y[2012]
    expected = change[first == 2014].mean() - change[first.isna()].mean()
    assert one.params["ATT(g=2014,t=2015)"] == pytest.approx(expected, rel=1e-12)


def test_units_that_adopt_after_the_panel_are_never_treated_in_it() -> None:
    f = staggered()
    late = f.assign(first=f["first"].fillna(2030.0).where(f["county"] % 2 == 0, f["first"]))
    for comparison in ("never_treated", "not_yet_treated"):
        one, other = (run(g, comparison=comparison) for g in (late, f))
        assert one.params["ATT"] == other.params["ATT"]


def test_covariates_after_the_earlier_period_play_no_part() -> None:
    f = staggered()
    f = f[f["first"].isna() | (f["first"] == 2014)]
    later = f.assign(x=f["x"].where(f["year"] <= 2013, 99.0))
    for method in METHODS:
        one, other = (
            run(g, CallawaySantAnna(method=method), covariates=("x",))  # type: ignore[arg-type]
            for g in (later, f)
        )
        assert one.params["ATT"] == other.params["ATT"]


def test_a_collinear_covariate_changes_nothing_and_is_named() -> None:
    f = staggered().assign(twice=lambda f: 2 * f["x"] + 3)
    one, two = (run(f, covariates=covariates) for covariates in (("x",), ("x", "twice")))
    assert two.params["ATT"] == one.params["ATT"]
    assert "twice adds nothing to the covariates before it in 8 comparisons" in said(two)


# Designs that cannot be carried out whole


def test_cohorts_without_a_base_leave_through_the_ledger() -> None:
    f = staggered()
    one = run(f, CallawaySantAnna(aggregate="dynamic"), anticipation=1, covariates=("x",))
    early = f.assign(first=f["first"].replace(2013.0, 2011.0))
    two = run(early, CallawaySantAnna(aggregate="dynamic"), anticipation=1)
    assert "no_period_before" not in [note.key for note in one.notes]
    assert "2011" in said(two)
    (line,) = two.ledger
    assert (line.rows, line.units) == (84, 14)
    other = run(f[f["first"] != 2013], CallawaySantAnna(aggregate="dynamic"), anticipation=1)
    assert two.params.tolist() == other.params.tolist()
    assert two.glance()["n_units"].tolist() == [42]
    with pytest.raises(DesignError, match="no cohort is observed before adoption"):
        run(f[f["first"].isin([2013.0]) | f["first"].isna()], anticipation=2)


def test_the_last_cohort_is_only_a_comparison_where_all_are_treated() -> None:
    f = staggered().dropna(subset="first")
    one = run(f, CallawaySantAnna(aggregate="group_time"))
    assert "no effect of cohorts 2016 is identified" in said(one)
    assert "3 comparisons have no units to compare with" in said(one)
    assert "2013: 2016; 2014: 2016; 2016: 2016" in said(one)
    assert {term.cohort for term in one.fit.terms} == {"2013", "2014"}
    y = f.pivot(index="unit", columns="year", values="y")
    first = f.groupby("unit")["first"].first()
    change = y[2015] - y[2012]
    expected = change[first == 2013].mean() - change[first == 2016].mean()
    assert one.params["ATT(g=2013,t=2015)"] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("unit", ["unit", None])
def test_a_cohort_without_overlap_is_named_and_the_others_stand(unit: str | None) -> None:
    f = staggered()
    f["x"] += 50.0 * (f["first"] == 2013)
    one = run(f, CallawaySantAnna(aggregate="group"), unit=unit, covariates=("x",), comparison="never_treated")
    assert [term.name for term in one.fit.terms] == ["ATT", "ATT(g=2014)", "ATT(g=2016)"]
    assert "4 comparisons lack overlap" in said(one)
    assert "2013: 2013, 2014, 2015, 2016" in said(one)
    assert "no effect of cohorts 2013 is identified" in said(one)
    with pytest.raises(DesignError, match="lack overlap"):
        run(f[(f["first"] == 2013) | f["first"].isna()], unit=unit, covariates=("x",))


@pytest.mark.parametrize("unit", ["unit", None])
@pytest.mark.parametrize("method", ["reg", "dr"])
def test_a_comparison_that_does_not_span_the_covariates_is_named(method: str, unit: str | None) -> None:
    f = staggered()
    f["only"] = ((f["unit"] % 3 == 0) & (f["first"] == 2014)).astype(float)  # no unit of comparison has it
    one = run(
        f,
        CallawaySantAnna(aggregate="group", method=method),  # type: ignore[arg-type]
        unit=unit,
        covariates=("only",),
        comparison="never_treated",
    )
    assert [term.name for term in one.fit.terms] == ["ATT", "ATT(g=2013)", "ATT(g=2016)"]
    reason = "have too few units for the covariates" if method == "reg" else "lack overlap"
    assert f"3 comparisons {reason} and are left out" in said(one)


@pytest.mark.parametrize("unit", ["unit", None])
@pytest.mark.parametrize("weights", [None, "w"])
def test_a_regression_that_extrapolates_says_where_and_how_far(unit: str | None, weights: str | None) -> None:
    f = staggered()
    f["x"] += 3.0 * (f["first"] == 2013)
    one = run(
        f,
        CallawaySantAnna(aggregate="group_time", method="reg"),
        unit=unit,
        covariates=("x", "z"),
        weights=weights,
        comparison="never_treated",
    )
    negative = []
    for year in range(2012, 2017):
        base = min(year - 1, 2012)
        # Units have covariates of the earlier period; of cross-sections the treated of both are held against each.
        mine = f[(f["first"] == 2013) & f["year"].isin([base] if unit else [base, year])]
        for at in (base,) if unit else (base, year):
            other = f[f["first"].isna() & (f["year"] == at)]
            X, v = (
                np.column_stack([np.ones(len(other)), other[["x", "z"]]]),
                other["w"] if weights else np.ones(len(other)),
            )
            centre = np.average(np.column_stack([np.ones(len(mine)), mine[["x", "z"]]]), axis=0,
                                weights=mine["w"] if weights else None)  # fmt: skip
            implied = centre @ np.linalg.solve(X.T @ (X * np.asarray(v)[:, None]), (X * np.asarray(v)[:, None]).T)
            assert implied.sum() == pytest.approx(1.0)
            negative.append(-implied[implied < 0].sum())
    assert min(negative) > 0.5
    (note,) = (str(note) for note in one.notes if note.key == "note.cells_extrapolated")
    assert "in 5 comparisons the regression extrapolates" in note
    assert f"as much as -{max(negative):.1f} (" in note
    assert note.endswith("2013: 2013, 2014, 2015, 2016, 2012")


def test_an_extrapolating_regression_can_be_far_off_where_the_others_refuse() -> None:
    rng = np.random.default_rng(2)
    x = np.concatenate([rng.uniform(2, 3, 40), rng.uniform(0, 1, 80)])
    f = pd.DataFrame({"unit": np.repeat(np.arange(120), 2), "year": np.tile([2010, 2011], 120), "x": np.repeat(x, 2)})
    f["county"], f["first"] = f["unit"], np.where(f["unit"] < 40, 2011.0, np.nan)
    f["y"] = rng.normal(scale=0.1, size=240) + (f["year"] == 2011) * (3.5 * (f["unit"] < 40) - 2 * f["x"] ** 2)
    one = run(f, CallawaySantAnna(method="reg"), covariates=("x",))
    assert one.params["ATT"] < -3  # the truth is 3.5; a line through 0 to 1 does not follow the curve to 2.5
    assert "extrapolates" in said(one)
    for method in ("dr", "ipw"):
        with pytest.raises(DesignError, match="lack overlap"):
            run(f, CallawaySantAnna(method=method), covariates=("x",))  # type: ignore[arg-type]


def test_a_regression_within_its_comparison_raises_no_alarm() -> None:
    # Groups drawn alike, or one standard deviation apart: of 30 panels none is told to extrapolate.
    for seed in range(15):
        for apart in (0.0, 1.0):
            f = staggered(seed, per_cohort=42)
            f["x"] += apart * (f["first"] == 2013)
            assert "extrapolates" not in said(run(f, CallawaySantAnna(method="reg"), covariates=("x", "z")))


def test_comparison_units_at_the_edge_of_overlap_are_left_out() -> None:
    rng = np.random.default_rng(4)
    n = 1500
    x = np.concatenate([rng.normal(3.0, 1.0, 1000), rng.normal(-1.0, 1.0, n - 1000)])
    x = np.clip(x, -3, 2.6)
    unit = np.repeat(np.arange(n), 2)
    f = pd.DataFrame({"unit": unit, "county": unit, "year": np.tile([2010, 2011], n), "x": np.repeat(x, 2)})
    f["first"] = np.where(unit < 1000, 2011.0, np.nan)
    f["y"] = rng.normal(size=2 * n) + f["x"] * (f["year"] == 2011)
    D = (np.arange(n) < 1000).astype(float)
    p = sm.GLM(D, sm.add_constant(x), family=sm.families.Binomial()).fit(tol=1e-14, tol_criterion="params").mu
    assert p.max() < 0.999
    edge = (p >= 0.995) & (D == 0)
    assert edge.sum() > 0
    change = f.pivot(index="unit", columns="year", values="y").diff(axis=1)[2011].to_numpy()
    kept = (D == 0) & ~edge
    expected = change[D == 1].mean() - np.average(change[kept], weights=(p / (1 - p))[kept])
    one = run(f, CallawaySantAnna(method="ipw"), covariates=("x",))
    assert one.params["ATT"] == pytest.approx(expected, rel=1e-9)  # two solvers of one logit
    assert f"{edge.sum()} observations of comparison, over 1 comparisons" in said(one)


def test_a_single_unit_on_one_side_is_named() -> None:
    f = staggered()
    f = f[(f["first"] != 2014) | (f["unit"] == 14)]
    one = run(f, CallawaySantAnna(aggregate="group"))
    assert "read from 3 comparisons with a single unit on one side" in said(one)
    assert "2014: 2014, 2015, 2016" in said(one)


def test_a_cohort_of_one_county_limits_what_is_said_of_it_alone() -> None:
    f = staggered(per_cohort=70)
    few = f[(f["first"] != 2014) | (f["unit"] < 77)]  # one county of that cohort, ten of each other
    assert run(f).uncertainty.unsupported is None
    assert run(few).uncertainty.unsupported is None  # 21 treated, which all count in the average
    apart = run(few, CallawaySantAnna(aggregate="group"), inference=Cluster(), comparison="never_treated")
    doubt, n = apart.uncertainty.doubt, len(apart.params)
    assert doubt is not None
    marked = {name: doubt.of(np.eye(n)[i]) is not None for i, name in enumerate(apart.params.index)}
    assert marked == {"ATT": False, "ATT(g=2013)": False, "ATT(g=2014)": True, "ATT(g=2016)": False}
    loadings, at = apart.uncertainty.reliance, apart.params.index.get_loc("ATT(g=2014)")
    # One treated county against the mean of ten never treated: shocks to each of these bring in 1/10² of the same.
    assert loadings.sides(np.eye(n)[at]) == pytest.approx((1.0, 10.0))
    assert loadings.effective(np.eye(n)[at]) == pytest.approx((1 + 10 / 100) ** 2 / (1 + 10 / 10_000))


def test_units_of_an_unbalanced_panel_enter_where_they_have_both_periods() -> None:
    f = staggered()
    gone = f.drop(f.index[(f["unit"] == 0) & (f["year"] == 2012)])
    one = run(gone, CallawaySantAnna(aggregate="group_time"))
    assert "1 of 56 units are not observed in every period" in said(one)
    y = gone.pivot(index="unit", columns="year", values="y")
    first = gone.groupby("unit")["first"].first()
    for year in (2013, 2015):  # the base of cohort 2013 is 2012, which unit 0 lacks
        change = y[year] - y[2012]
        expected = change[first == 2013].mean() - change[~(first <= year)].mean()
        assert one.params[f"ATT(g=2013,t={year})"] == pytest.approx(expected, rel=1e-12)


def test_a_base_period_that_nobody_has_moves_back_and_is_named() -> None:
    f = staggered()
    one = run(f[f["year"] != 2013], CallawaySantAnna(aggregate="dynamic", base="universal"))
    assert "the base of cohort 2014 is event time -2, because -1 is not observed there" in said(one)
    y = f.pivot(index="unit", columns="year", values="y")
    first = f.groupby("unit")["first"].first()
    table = run(f[f["year"] != 2013], CallawaySantAnna(aggregate="group_time")).params
    change = y[2014] - y[2012]
    assert table["ATT(g=2014,t=2014)"] == pytest.approx(
        change[first == 2014].mean() - change[~(first <= 2014)].mean(), rel=1e-12
    )


def test_outcomes_without_noise_have_no_standard_error() -> None:
    f = staggered().assign(y=lambda f: 0.3 * f["unit"] + 0.7 * f["year"] + 2.0 * f["treated"])
    one = run(f, CallawaySantAnna(aggregate="dynamic"))
    assert one.params["ATT"] == pytest.approx(2.0, rel=1e-12)
    assert one.bse.isna().all()
    assert "without residual" in said(one)


def test_effects_that_do_not_cancel_are_refused() -> None:
    f = staggered().assign(region=lambda f: f["unit"] % 2, cohort=lambda f: f["first"].fillna(0))
    one = run(f, absorb=("unit", "region", "year", "county"))
    assert one.params["ATT"] == run(f).params["ATT"]
    with pytest.raises(DesignError, match=r"cannot absorb 'region\*year'"):
        run(f, absorb=("region*year",))
    with pytest.raises(DesignError, match="cannot absorb 'region'"):
        run(f, absorb=("region",), unit=None)  # regions can weigh differently in two cross-sections
    assert run(f, absorb=("year", "cohort"), unit=None).params["ATT"] == run(f, unit=None).params["ATT"]


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"aggregate": "dynamik"}, "did you mean 'dynamic'"),
        ({"method": "drdid"}, "method is 'drdid'"),
        ({"base": "first"}, "base is 'first'"),
        ({"balance": 1}, "aggregate is 'simple'"),
        ({"aggregate": "dynamic", "balance": -1}, "balance is -1"),
        ({"aggregate": "dynamic", "max_e": True}, "max_e is True"),
        ({"aggregate": "dynamic", "min_e": 2, "max_e": 1}, "min_e is after max_e"),
    ],
)
def test_settings_are_checked(settings: dict[str, Any], problem: str) -> None:
    with pytest.raises(DesignError, match=problem):
        CallawaySantAnna(**settings)


def test_clusters_may_not_divide_units() -> None:
    with pytest.raises(InferenceError, match="divide units"):
        run(staggered(), inference=Cluster("year"))


def test_designs_with_a_dose_are_refused() -> None:
    with pytest.raises(DesignError, match="dose"):
        run(staggered().assign(loan=lambda f: f["treated"]), dose="loan")


# What must not change a number

EVERY = [
    pytest.param(CallawaySantAnna(aggregate=kind, method=method), unit, id=f"{kind}, {method}, {unit}")  # type: ignore[arg-type]
    for kind, method in (
        ("simple", "dr"),
        ("dynamic", "reg"),
        ("group_time", "ipw"),
        ("calendar", "dr"),
        ("group", "dr"),
    )
    for unit in ("unit", None)
]


def plain(estimator: CallawaySantAnna, unit: str | None, frame: pd.DataFrame | None = None, **design: Any) -> Estimate:
    frame = staggered(missing=0.1) if frame is None else frame
    return run(frame, estimator, unit=unit, **{"covariates": ("x",), **design})


def assert_near(one: Estimate, other: Estimate, tolerance: float, a: float = 1.0) -> None:
    """`one` has a times the effects of `other`, and its errors; differences are judged in standard errors."""
    scale = a * np.sqrt(np.diag(other.uncertainty.covariance))
    assert np.abs((one.fit.coefficients - a * other.fit.coefficients) / scale).max() < tolerance
    gap = one.uncertainty.covariance - a**2 * other.uncertainty.covariance
    assert np.abs(gap / np.outer(scale, scale)).max() < tolerance


@pytest.mark.parametrize(("estimator", "unit"), EVERY)
def test_order_of_rows_changes_no_bit(estimator: CallawaySantAnna, unit: str | None) -> None:
    f = staggered(missing=0.1)
    f["y"] = f["y"].round(1)
    one = plain(estimator, unit, f)
    other = plain(estimator, unit, f.sample(frac=1, random_state=1).reset_index(drop=True))
    np.testing.assert_array_equal(one.fit.coefficients, other.fit.coefficients)
    np.testing.assert_array_equal(one.uncertainty.covariance, other.uncertainty.covariance)


@pytest.mark.parametrize(("estimator", "unit"), EVERY)
def test_names_sizes_and_units_of_measurement(estimator: CallawaySantAnna, unit: str | None) -> None:
    f = staggered(missing=0.1)
    one = plain(estimator, unit, f)
    rng = np.random.default_rng(2)
    renamed = f.assign(unit=rng.permutation(56)[f["unit"]] + 100, county=rng.permutation(8)[f["county"]])
    assert_near(plain(estimator, unit, renamed), one, 1e-11)  # sums run in another order
    assert_near(plain(estimator, unit, f.assign(y=-2.5e6 * f["y"] + 7e6)), one, 1e-9, -2.5e6)  # the sum is rounded
    assert_near(plain(estimator, unit, f.assign(x=1e8 * f["x"] + 3e8)), one, 1e-9)  # the covariate's digits are
    np.testing.assert_array_equal(
        plain(estimator, unit, f.assign(v=0.37), weights="v").fit.coefficients, one.fit.coefficients
    )
    v, w = (plain(estimator, unit, f.assign(v=a * f["w"]), weights="v") for a in (1e6, 1.0))
    assert_near(v, w, 1e-11)
    far = f.assign(y=f["y"] + 1e9)  # exact from here on
    assert_near(plain(estimator, unit, far), plain(estimator, unit, far.assign(y=far["y"] - 1e9)), 1e-10)


@pytest.mark.parametrize(("estimator", "unit"), EVERY)
def test_an_added_effect_is_found(estimator: CallawaySantAnna, unit: str | None) -> None:
    f = staggered(missing=0.1)
    one, other = plain(estimator, unit, f), plain(estimator, unit, f.assign(y=f["y"] + 3 * f["treated"]))
    shift = [3.0 * (term.event_time is None or term.event_time >= 0) for term in one.fit.terms]
    np.testing.assert_allclose(other.fit.coefficients, one.fit.coefficients + shift, atol=1e-12)  # outcomes of size 5
    np.testing.assert_allclose(other.uncertainty.covariance, one.uncertainty.covariance, atol=1e-13)


@pytest.mark.parametrize(("estimator", "unit"), EVERY)
def test_counts_are_repeated_rows(estimator: CallawaySantAnna, unit: str | None) -> None:
    f = staggered(missing=0.1)
    f["times"] = f["unit"] % 3 + 1
    repeated = f.loc[f.index.repeat(f["times"])]
    repeated["unit"] = repeated["unit"] * 10 + repeated.groupby(["unit", "year"]).cumcount()
    one, other = plain(estimator, unit, f, counts="times"), plain(estimator, unit, repeated)
    assert_near(one, other, 1e-11)  # sums of products against sums of repeated terms
    sizes = ["n_obs", "n_clusters"]
    assert one.glance()[sizes].to_numpy().tolist() == other.glance()[sizes].to_numpy().tolist()


@pytest.mark.parametrize(("estimator", "unit"), EVERY)
def test_influence_sums_to_zero_and_makes_the_covariance(estimator: CallawaySantAnna, unit: str | None) -> None:
    one = plain(estimator, unit)
    (part,) = one.fit.parts
    n = len(part.sample.rows)
    finest = part.sample.unit if unit else np.arange(n)
    found = part.influence.sum_within(finest, n)
    assert np.abs(found.sum(axis=0)).max() < 1e-13 * np.abs(found).sum()  # rounding of about 300 terms
    summed = np.zeros((8, found.shape[1]))
    np.add.at(summed, part.sample.cluster, found[finest] / np.bincount(finest)[finest][:, None])
    np.testing.assert_allclose(one.uncertainty.covariance, summed.T @ summed, atol=1e-15)  # variances of size 0.05


@pytest.mark.parametrize(("estimator", "unit"), EVERY)
def test_duplicated_clusters_halve_the_variance(estimator: CallawaySantAnna, unit: str | None) -> None:
    f = staggered(missing=0.1)
    one = plain(estimator, unit, f)
    two = plain(estimator, unit, pd.concat([f, f.assign(unit=f["unit"] + 100, county=f["county"] + 100)]))
    np.testing.assert_allclose(two.fit.coefficients, one.fit.coefficients, atol=1e-12)  # outcomes of size 5
    np.testing.assert_allclose(two.uncertainty.covariance, one.uncertainty.covariance / 2, rtol=1e-9, atol=1e-14)


def test_collapsed_units_give_the_same_effects_and_errors() -> None:
    f = staggered()
    design = Design(outcome="y", adoption="first", assigned_at="county")
    cells = collapse(f, design, unit="unit", time="year")
    assert len(cells) == 8 * 6
    one = estimate(cells, design, CallawaySantAnna(aggregate="dynamic"), inference=UNCORRECTED)
    assert_near(one, run(f, CallawaySantAnna(aggregate="dynamic")), 1e-11)  # means of cells, and sums of rows
    assert "single unit" not in said(one)


def test_unit_and_period_constants_change_nothing_in_a_panel() -> None:
    f = staggered(missing=0.1)
    moved = f.assign(y=f["y"] + 3.0 * f["unit"] + (f["year"] - 2013) ** 2)
    assert_near(plain(CallawaySantAnna(), "unit", moved), plain(CallawaySantAnna(), "unit", f), 1e-11)


def test_split_estimates_in_each_subgroup() -> None:
    f = staggered(per_cohort=28).assign(large=lambda f: f["unit"] % 2)
    one = run(f, Split(by="large", estimator=CallawaySantAnna(aggregate="dynamic")))
    alone = run(f[f["large"] == 1], CallawaySantAnna(aggregate="dynamic"))
    assert one.params["ATT(e=1) [large=1]"] == alone.params["ATT(e=1)"]
    assert one.bse["ATT [large=1]"] == pytest.approx(alone.bse["ATT"], rel=1e-12)


def test_input_is_not_modified() -> None:
    f = staggered(missing=0.1).sample(frac=1, random_state=2)
    f.loc[f.index[3], "y"] = np.nan
    before = f.copy(deep=True)
    plain(CallawaySantAnna(aggregate="dynamic"), "unit", f, weights="w").summary("zh")
    pd.testing.assert_frame_equal(f, before)


# Panels with gaps, and where diff-diff differs


def gaps() -> pd.DataFrame:
    f = cases.mpdta().astype({"first": int})
    return f[np.random.default_rng(0).random(len(f)) >= 0.1].reset_index(drop=True)


def peer(frame: pd.DataFrame, **settings: Any) -> Any:
    from diff_diff import CallawaySantAnna as Peer

    columns: list[str] | None = settings.pop("covariates", None)
    names = {"outcome": "lemp", "unit": "countyreal", "time": "year", "first_treat": "first"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of gaps and of few units
        return Peer(**{"control_group": "not_yet_treated", **settings}).fit(frame, **names, covariates=columns)


def of_counties(
    frame: pd.DataFrame, estimator: Any, inference: Any = UNCORRECTED, unit: str | None = "countyreal", **design: Any
) -> Estimate:
    panel = Panel.from_frame(frame, unit=unit, time="year")
    named = Design(outcome="lemp", adoption="first", assigned_at="countyreal", **design)
    return estimate(panel, named, estimator, inference=inference)


def test_complete_units_are_those_that_r_did_keeps() -> None:
    f = gaps()
    complete = f.groupby("countyreal")["year"].transform("size") == 5
    one = of_counties(f, CallawaySantAnna(units="complete"))
    other = of_counties(f[complete], CallawaySantAnna())
    assert one.params.tolist() == other.params.tolist()
    assert one.bse["ATT"] == pytest.approx(other.bse["ATT"], rel=1e-14)  # sums of other zeros
    theirs = peer(f[complete])
    assert one.params["ATT"] == pytest.approx(theirs.overall_att, abs=1e-14)
    assert one.bse["ATT"] == pytest.approx(theirs.overall_se, rel=1e-12)
    (line,) = one.ledger
    assert (line.rows, line.units) == (int((~complete).sum()), f.loc[~complete, "countyreal"].nunique())
    assert str(line.reason) == "the unit is not observed in each of the 5 periods"
    assert "units='complete'" in said(of_counties(f, CallawaySantAnna()))
    assert "note.pairs" not in [note.key for note in one.notes]
    with pytest.raises(DesignError, match="no unit is observed in all of the 5 periods"):
        of_counties(f[f["year"] != 2003 + f["countyreal"] % 5], CallawaySantAnna(units="complete"))
    with pytest.raises(DesignError, match="repeated cross-sections follow no unit"):
        of_counties(f, CallawaySantAnna(units="complete"), unit=None)


@pytest.mark.parametrize(("method", "covariates"), [("dr", ()), ("reg", ("lpop",)), ("ipw", ("lpop",))])
def test_pairs_are_those_of_diff_diff_which_weighs_cells_by_the_treated_observed(
    method: str, covariates: tuple[str, ...]
) -> None:
    f = gaps()
    theirs = peer(f, estimation_method=method, covariates=list(covariates) or None)
    cells = of_counties(f, CallawaySantAnna(method=method, aggregate="group_time"), covariates=covariates)  # type: ignore[arg-type]
    for (g, t), cell in theirs.group_time_effects.items():
        assert cells.params[f"ATT(g={g},t={t})"] == pytest.approx(cell["effect"], abs=1e-12)
        assert cells.bse[f"ATT(g={g},t={t})"] == pytest.approx(cell["se"], rel=1e-10)
    after = [cell for cell in theirs.group_time_effects if cell[1] >= cell[0]]
    effects = [cells.params[f"ATT(g={g},t={t})"] for g, t in after]
    seen = [theirs.group_time_effects[cell]["n_treated"] for cell in after]
    size = f.groupby("first")["countyreal"].nunique()
    one = of_counties(f, CallawaySantAnna(method=method), covariates=covariates)  # type: ignore[arg-type]
    assert theirs.overall_att == pytest.approx(np.average(effects, weights=seen), abs=1e-12)
    assert one.params["ATT"] == pytest.approx(np.average(effects, weights=[size[g] for g, _ in after]), abs=1e-12)
    assert abs(one.params["ATT"] - theirs.overall_att) > 5e-4


def test_rows_as_cross_sections_are_those_of_allow_unbalanced_panel() -> None:
    f = gaps()
    theirs = peer(f, allow_unbalanced_panel=True)
    settings = {"inference": Cluster("countyreal"), "unit": None}
    cells = of_counties(f, CallawaySantAnna(aggregate="group_time"), **settings)  # type: ignore[arg-type]
    for (g, t), cell in theirs.group_time_effects.items():
        assert cells.params[f"ATT(g={g},t={t})"] == pytest.approx(cell["effect"], abs=1e-12)
        assert cells.bse[f"ATT(g={g},t={t})"] == pytest.approx(cell["se"], rel=1e-10)
    # Averages weigh cohorts by rows, theirs (and those of R did) by units.
    after = [cell for cell in theirs.group_time_effects if cell[1] >= cell[0]]
    effects = [cells.params[f"ATT(g={g},t={t})"] for g, t in after]
    sizes = f.groupby("first")["countyreal"].agg(["size", "nunique"])
    one = of_counties(f, CallawaySantAnna(), **settings)  # type: ignore[arg-type]
    for value, by in ((one.params["ATT"], "size"), (theirs.overall_att, "nunique")):
        assert value == pytest.approx(np.average(effects, weights=[sizes[by][g] for g, _ in after]), abs=1e-12)


def test_doubly_robust_weights_are_divided_by_their_sum_and_those_of_diff_diff_by_the_treated() -> None:
    f = cases.mpdta().astype({"first": int})
    theirs = peer(f, control_group="never_treated", covariates=["lpop"]).group_time_effects[2006, 2004]["effect"]
    one = of_counties(f, CallawaySantAnna(aggregate="group_time"), covariates=("lpop",), comparison="never_treated")
    y = f[f["first"].isin([0, 2006])].pivot(index="countyreal", columns="year", values="lemp")
    at = f.drop_duplicates("countyreal").set_index("countyreal").loc[y.index]
    D, X, change = (at["first"] == 2006).to_numpy(float), sm.add_constant(at["lpop"].to_numpy()), y[2004] - y[2003]
    p = sm.GLM(D, X, family=sm.families.Binomial()).fit(tol=1e-14, tol_criterion="params").mu
    left = change - X @ np.linalg.lstsq(X[D == 0], change[D == 0], rcond=None)[0]
    odds = np.where(D == 0, p / (1 - p), 0.0)
    for value, total in ((one.params["ATT(g=2006,t=2004)"], odds.sum()), (theirs, D.sum())):
        assert value == pytest.approx(left[D == 1].mean() - odds @ left / total, abs=1e-10)
