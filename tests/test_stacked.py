"""Stacked experiments: the trimmed average by hand, the authors' regression, dummies on the repeated rows, what is left out."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest

import cases
import oracles
from evalkit import Design, Estimate, Panel, estimate
from evalkit.errors import DesignError, InferenceError
from evalkit.estimators import EventStudy, Stacked
from evalkit.inference import Classical, Cluster, Robust
from evalkit.results.clusters import way_of
from evalkit.results.loadings import loadings_of

LEADS, LAGS = 1, 1


def run(frame: pd.DataFrame, estimator: Any = None, **design: Any) -> Estimate:
    inference = design.pop("inference", Cluster())
    settings = {"outcome": "lemp", "adoption": "first", "assigned_at": "countyreal", **design}
    panel = Panel.from_frame(frame, unit="countyreal", time="year")
    return estimate(panel, Design(**settings), estimator or Stacked(leads=LEADS, lags=LAGS), inference=inference)


def counties() -> pd.DataFrame:
    """A third of the counties; half of the cohort of 2007 adopts in 2005, so that three cohorts have the whole window."""
    f = cases.every_third(cases.mpdta())
    f["first"] = f["first"].where((f["first"] != 2007) | (f["countyreal"] % 2 == 0), 2005)
    return f


def stack(f: pd.DataFrame, cohorts: list[int], weights: str | None = None, never: bool = False) -> pd.DataFrame:
    """Write the stack out: one copy of the rows for each cohort, with event time and corrective weights by event time."""
    pieces = []
    for g in cohorts:
        clean = (f["first"] == 0) | ((f["first"] > g + LAGS) & (not never))
        window = f["year"].between(g - LEADS, g + LAGS)
        piece = f[window & ((f["first"] == g) | clean)]
        pieces.append(piece.assign(stack=g, e=piece["year"] - g, D=(piece["first"] == g).astype(float)))
    s = pd.concat(pieces, ignore_index=True)
    s["w"] = 1.0 if weights is None else s[weights]
    mass = s.groupby(["e", "stack", "D"])["w"].transform("sum")
    share = mass / s.groupby(["e", "D"])["w"].transform("sum")
    treated = share.where(s["D"] == 1).groupby([s["e"], s["stack"]]).transform("max")
    s["w"] *= np.where(s["D"] == 1, 1.0, treated / share)
    return s


def test_is_the_trimmed_average_of_differences() -> None:
    f = counties()
    mean = f.groupby(["first", "year"])["lemp"].mean()
    size = f[f["year"] == 2003]["first"].value_counts()
    one = run(f, comparison="never_treated")
    for e in (0, 1):
        each = {g: mean[g, g + e] - mean[g, g - 1] - mean[0, g + e] + mean[0, g - 1] for g in (2004, 2005, 2006)}
        by_hand = sum(size[g] * effect for g, effect in each.items()) / sum(size[g] for g in each)
        assert one.params[f"ATT(e={e})"] == pytest.approx(by_hand, abs=1e-12)  # outcomes of size 10


@pytest.mark.parametrize("comparison", ["not_yet_treated", "never_treated"])
@pytest.mark.parametrize("weights", [None, "heavy"])
def test_coefficients_are_those_of_the_authors_regression(comparison: str, weights: str | None) -> None:
    f = counties().assign(heavy=lambda f: 1.0 + f["countyreal"] % 3)
    s = stack(f, [2004, 2005, 2006], weights, comparison == "never_treated")
    event = [(s["e"] == e).to_numpy(float) for e in (0, 1)]
    X = np.column_stack([np.ones(len(s)), s["D"], *event, *(s["D"] * one for one in event)])
    root = np.sqrt(s["w"].to_numpy())
    b = np.linalg.lstsq(X * root[:, None], s["lemp"] * root, rcond=None)[0]
    one = run(f, comparison=comparison, weights=weights)
    np.testing.assert_allclose(one.params[["ATT(e=0)", "ATT(e=1)"]], b[-2:], atol=1e-12)
    assert one.params["ATT(e=-1)"] == 0.0
    assert np.isnan(one.bse["ATT(e=-1)"])


@pytest.mark.parametrize(
    ("share", "weights", "covariates"), [(0.0, None, ()), (0.1, "size", ()), (0.1, None, ("lpop2005", "lpop2006"))]
)
def test_equals_dummies_on_the_repeated_rows(share: float, weights: str | None, covariates: tuple[str, ...]) -> None:
    f = cases.thinned(counties(), share)
    s = stack(f, [2004, 2005, 2006], weights)
    columns = [s["D"] * (s["e"] == e) for e in (0, 1)] + [s[name] for name in covariates]
    effects = [s["stack"] * 100_000 + s["countyreal"], s["stack"] * 10_000 + s["year"]]
    r = oracles.dummy_regression(s["lemp"], np.column_stack(columns), effects, s["w"])
    V, _ = oracles.clustered(r, [s["countyreal"]], "none")
    groups = s["countyreal"].nunique()
    one = run(f, weights=weights, covariates=covariates)
    terms = ["ATT(e=0)", "ATT(e=1)", *covariates]
    scale = np.sqrt(np.diag(V))
    assert (np.abs(one.params[terms] - r.b) / scale).max() < 1e-10  # the same equations in double precision
    ours = one.vcov().loc[terms, terms] * (groups - 1) / groups
    assert (np.abs(ours - V) / np.outer(scale, scale)).to_numpy().max() < 1e-10
    plain = run(f, weights=weights, covariates=covariates, inference=Cluster(correction="none"))
    assert (np.abs(plain.vcov().loc[terms, terms] - V) / np.outer(scale, scale)).to_numpy().max() < 1e-10


@pytest.mark.parametrize("by", ["countyreal", "region"])
@pytest.mark.parametrize(
    ("share", "weights", "covariates"), [(0.0, None, ()), (0.1, None, ()), (0.1, "heavy", ("lpop2005", "lpop2006"))]
)
def test_effects_by_group_are_the_authors_regression_in_pyfixest(
    share: float, weights: str | None, covariates: tuple[str, ...], by: str
) -> None:
    f = cases.thinned(counties(), share).reset_index(drop=True)
    f = f.assign(region=f["countyreal"] // 1000, heavy=1.0 + f["countyreal"] % 3)
    for year in (2005, 2006):
        f[f"lpop{year}"] = f["lpop"] * (f["year"] == year)
    s = stack(f, [2004, 2005, 2006], weights)
    s["e0"], s["e1"] = s["D"] * (s["e"] == 0), s["D"] * (s["e"] == 1)
    formula = " + ".join(["lemp ~ e0 + e1", *covariates]) + " | D + e"
    b, V = oracles.pyfixest_fit(formula, s, weights="w", vcov={"CRV1": by}, k_fixef="full")
    estimator = Stacked(leads=LEADS, lags=LAGS, effects="group")
    one = run(f, estimator, weights=weights, covariates=covariates, inference=Cluster(by))
    terms = ["ATT(e=0)", "ATT(e=1)", *covariates]
    scale = np.sqrt(np.diag(V))
    assert (np.abs(one.params[terms] - b) / scale).max() < 1e-8  # de-meaned by alternating projections
    assert (np.abs(one.vcov().loc[terms, terms] - V) / np.outer(scale, scale)).to_numpy().max() < 1e-8
    plain = run(f, weights=weights, covariates=covariates, inference=Cluster(by))
    assert (np.abs(plain.params[terms[:2]] - one.params[terms[:2]]).max() < 1e-12) == (share == 0)
    assert any(str(note).startswith("effects of group and event time alone") for note in one.notes)


def test_of_one_sub_experiment_only_the_factor_differs() -> None:
    f = counties().query("first in (0, 2005)")
    one, other = (run(f, Stacked(leads=1, lags=1, effects=effects)) for effects in ("group", "unit"))  # type: ignore[arg-type]
    np.testing.assert_allclose(one.params, other.params, atol=1e-12)
    n = len(f.query("2004 <= year <= 2006"))
    kept = ["ATT(e=0)", "ATT(e=1)"]
    ratio = one.vcov().loc[kept, kept] / other.vcov().loc[kept, kept]
    np.testing.assert_allclose(ratio, (n - 1) / (n - 6), rtol=1e-9)


@pytest.mark.parametrize("share", [0.0, 0.1])
def test_effects_by_group_are_those_of_diff_diff(share: float) -> None:
    from diff_diff import StackedDiD

    f = cases.thinned(cases.mpdta(), share).astype({"first": int})
    one = run(f, Stacked(leads=1, lags=0, effects="group"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of things that it will rename
        theirs = StackedDiD(kappa_pre=1, kappa_post=0).fit(
            f, outcome="lemp", unit="countyreal", time="year", first_treat="first"
        )
    assert one.params["ATT(e=0)"] == pytest.approx(theirs.overall_att, abs=1e-12)
    assert one.bse["ATT(e=0)"] == pytest.approx(theirs.overall_se, rel=1e-10)


def test_counts_are_repeated_rows_by_group_too() -> None:
    f = counties()
    times = 1 + f["countyreal"] % 3
    repeated = f.loc[f.index.repeat(times)]
    repeated["copy"] = repeated["countyreal"] * 10 + repeated.groupby(["countyreal", "year"]).cumcount()
    panels = (
        Panel.from_frame(f.assign(times=times), unit="countyreal", time="year", counts="times"),
        Panel.from_frame(repeated, unit="copy", time="year"),
    )
    design = Design(outcome="lemp", adoption="first", assigned_at="countyreal")
    one, other = (estimate(p, design, Stacked(leads=1, lags=1, effects="group"), inference=Cluster()) for p in panels)
    np.testing.assert_allclose(one.params, other.params, atol=1e-12)
    np.testing.assert_allclose(one.vcov(), other.vcov(), rtol=1e-10)


def test_loadings_by_group_reproduce_the_estimate_and_rows_may_stand_in_any_order() -> None:
    f = cases.thinned(counties(), 0.1).assign(heavy=lambda f: 1.0 + f["countyreal"] % 3)
    estimator = Stacked(leads=1, lags=1, effects="group")
    one = run(f, estimator, weights="heavy", covariates=("lpop",))
    found = loadings_of(one.fit, one.spec, way_of("countyreal", one.fit, one.spec))
    (part,), (response,), (cells,) = found.parts, found.responses, found.cells
    told = response.loadings(cells).T @ cells.sum(part.sample.outcome)
    np.testing.assert_allclose(told, one.fit.coefficients[part.positions], atol=1e-11)
    other = run(f.sample(frac=1, random_state=3), estimator, weights="heavy", covariates=("lpop",))
    assert one.params.to_numpy().tobytes() == other.params.to_numpy().tobytes()
    assert one.vcov().to_numpy().tobytes() == other.vcov().to_numpy().tobytes()


def test_effects_are_of_unit_or_group() -> None:
    with pytest.raises(DesignError, match="did you mean 'group'"):
        Stacked(leads=1, lags=1, effects="groups")  # type: ignore[arg-type]


def test_clusters_above_the_unit_are_summed_over_the_stack() -> None:
    f = counties().assign(region=lambda f: f["countyreal"] // 1000)
    s = stack(f, [2004, 2005, 2006])
    columns = [s["D"] * (s["e"] == e) for e in (0, 1)]
    effects = [s["stack"] * 100_000 + s["countyreal"], s["stack"] * 10_000 + s["year"]]
    r = oracles.dummy_regression(s["lemp"], np.column_stack(columns), effects, s["w"])
    V, _ = oracles.clustered(r, [s["region"]], "none")
    one = run(f, inference=Cluster("region", correction="none"))
    terms = ["ATT(e=0)", "ATT(e=1)"]
    np.testing.assert_allclose(one.vcov().loc[terms, terms], V, rtol=1e-9)  # as above


def test_one_cohort_is_an_event_study_of_the_window() -> None:
    f = cases.mpdta().query("first in (0, 2006)")
    one = run(f, Stacked(leads=2, lags=1))
    other = run(f.query("year >= 2004"), EventStudy(leads=2, lags=1))
    np.testing.assert_allclose(one.params, other.params, atol=1e-13)
    ratio = one.vcov().to_numpy()[2:, 2:] / other.vcov().to_numpy()[2:, 2:]
    # CR1 without a regression is G/(G-1): of 349 counties and 1,396 rows, with 3 slopes and 4 periods.
    np.testing.assert_allclose(ratio, (1396 - 7) / 1395, rtol=1e-10)


def test_rows_are_counted() -> None:
    f = cases.mpdta()
    one = run(f)  # cohorts of 20, 40 and 131 counties, 309 never treated; 2007 has no second year
    s = stack(f, [2004, 2006])
    used = len(s[["countyreal", "year"]].drop_duplicates())
    assert len(s) == 3 * (20 + 309 + 40 + 131) + 3 * (40 + 309)
    assert one.glance()["n_obs"].iloc[0] == used
    assert [(line.rows, line.units) for line in one.ledger] == [(2500 - used, 0)]
    notes = " ".join(map(str, one.notes))
    assert f"2 sub-experiments of {len(s)} rows in all are made of {used} rows; {len(s) - used} of these serve" in notes
    assert "not observed at each event time from -1 to 1: cohorts 2007" in notes
    assert "2007" in " ".join(note.text("zh") for note in one.notes)


def test_cohorts_without_clean_controls_are_left_out_by_name() -> None:
    f = counties().query("first > 0")
    f["first"] = f["first"].replace(2007, 2006)
    one = run(f, Stacked(leads=1, lags=0))
    assert any("no clean control at each event time from -1 to 0: cohorts 2006" in str(note) for note in one.notes)
    assert any(str(note).startswith("2 sub-experiments") for note in one.notes)


def test_a_window_that_nobody_has_is_refused() -> None:
    with pytest.raises(
        DesignError, match="no cohort is observed, with clean controls, at each event time from -3 to 3"
    ):
        run(cases.mpdta(), Stacked(leads=3, lags=3))


def test_anticipation_moves_base_and_controls() -> None:
    f = cases.mpdta()
    one = run(f, Stacked(leads=2, lags=0), anticipation=1)
    assert [(term.event_time, term.role) for term in one.fit.terms] == [(-2, "base"), (-1, "effect"), (0, "effect")]
    mean = f.groupby(["first", "year"])["lemp"].mean()
    # 2007 anticipates in 2006 and is no control of the cohort of 2006, whose window ends there.
    change = {g: mean[g, g] - mean[g, g - 2] - mean[0, g] + mean[0, g - 2] for g in (2006, 2007)}
    assert one.params["ATT(e=0)"] == pytest.approx((40 * change[2006] + 131 * change[2007]) / 171, abs=1e-12)
    with pytest.raises(DesignError, match="give leads of at least 3"):
        run(f, Stacked(leads=2, lags=0), anticipation=2)


@pytest.mark.parametrize("settings", [{"leads": 0, "lags": 1}, {"leads": 1, "lags": -1}, {"leads": True, "lags": 1}])
def test_windows_are_checked(settings: dict[str, Any]) -> None:
    with pytest.raises(DesignError, match="give a whole number"):
        Stacked(**settings)


@pytest.mark.parametrize("inference", [Classical(), Robust(), Cluster(correction="all_effects")])
def test_repeated_rows_are_not_taken_as_independent(inference: Any) -> None:
    with pytest.raises(InferenceError, match=r"use Cluster\(\)"):
        run(counties(), inference=inference)


def test_units_seen_once_in_a_window_are_noted() -> None:
    f = counties()
    lonely = f["countyreal"] == f.loc[f["first"] == 0, "countyreal"].iloc[0]
    one = run(f[~lonely | (f["year"] == 2005)])
    assert any(str(note).startswith("3 times a unit is observed only once") for note in one.notes)


def test_invariances() -> None:
    f = cases.thinned(counties(), 0.05)
    base = run(f)
    shuffled = run(f.sample(frac=1, random_state=3))
    assert base.params.to_numpy().tobytes() == shuffled.params.to_numpy().tobytes()
    assert base.vcov().to_numpy().tobytes() == shuffled.vcov().to_numpy().tobytes()
    treated = (f["first"] > 0) & (f["year"] >= f["first"])
    shifted = run(f.assign(lemp=-2.0 * f["lemp"] + 3 * treated + (f["year"] - 2005) ** 2 + f["countyreal"] / 7e3))
    later = np.array([3.0 * (term.role == "effect" and (term.event_time or 0) >= 0) for term in base.fit.terms])
    np.testing.assert_allclose(shifted.params, -2.0 * base.params + later, atol=1e-12)
    np.testing.assert_allclose(shifted.bse, 2.0 * base.bse, rtol=1e-10)
    weighted, scaled = (run(f.assign(w=k * f["size"]), weights="w") for k in (1.0, 1e6))
    np.testing.assert_allclose(scaled.vcov(), weighted.vcov(), rtol=1e-10)
    same = run(f.assign(w=0.3), weights="w")
    assert base.params.to_numpy().tobytes() == same.params.to_numpy().tobytes()


def test_counts_are_repeated_rows() -> None:
    f = counties()
    times = 1 + f["countyreal"] % 3
    design = Design(outcome="lemp", adoption="first", assigned_at="countyreal")
    counted = Panel.from_frame(f.assign(times=times), unit="countyreal", time="year", counts="times")
    repeated = f.loc[f.index.repeat(times)]
    repeated["copy"] = repeated["countyreal"] * 10 + repeated.groupby(["countyreal", "year"]).cumcount()
    one, other = (
        estimate(panel, design, Stacked(leads=1, lags=1), inference=Cluster())
        for panel in (counted, Panel.from_frame(repeated, unit="copy", time="year"))
    )
    np.testing.assert_allclose(one.params, other.params, atol=1e-12)
    np.testing.assert_allclose(one.vcov(), other.vcov(), rtol=1e-10)


def test_repeated_cross_sections_are_compared_by_group() -> None:
    f = cases.mpdta().query("first in (0, 2006)").assign(group=lambda f: f["first"] + f["countyreal"] % 2)
    design = Design(outcome="lemp", adoption="first", assigned_at="group")
    panel = Panel.from_frame(f, unit=None, time="year")
    one = estimate(panel, design, Stacked(leads=1, lags=1), inference=Cluster())
    mean = f.groupby(["first", "year"])["lemp"].mean()
    by_hand = mean[2006, 2007] - mean[2006, 2005] - mean[0, 2007] + mean[0, 2005]
    assert one.params["ATT(e=1)"] == pytest.approx(by_hand, abs=1e-12)


@pytest.mark.parametrize("covariates", [(), ("lpop",)])
def test_units_seen_once_are_told_in_words_of_their_own(covariates: tuple[str, ...]) -> None:
    f = counties()
    never = f.loc[f["first"] == 0, "countyreal"].iloc[0]
    f = f[(f["countyreal"] != never) | (f["year"] == 2005)]
    told = [str(note) for note in run(f, covariates=covariates).notes]
    # The sub-experiments of 2004, 2005 and 2006 all have the year 2005.
    assert sum(note.startswith("3 times a unit is observed only once within a sub-experiment") for note in told) == 1
    assert not any("are observed once" in note for note in told)
