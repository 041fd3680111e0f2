"""TwoStage agrees with R did2s, with both stages as one GMM and with a live peer; leads and base are what they say."""

from __future__ import annotations

import json
import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest

import cases
import untreated_oracle as oracle
from evalkit import Design, Estimate, Panel, collapse, estimate
from evalkit.errors import DesignError, InferenceError
from evalkit.estimators import Imputation, TwoStage
from evalkit.inference import Classical, Cluster

STORED = json.loads((cases.TESTS / "reference" / "r_imputation_two_stage_mpdta.json").read_text(encoding="utf-8"))
R = {entry["id"]: entry["results"] for entry in STORED["entries"]}
SANDWICH = Cluster(correction="none")


def run(
    frame: pd.DataFrame,
    estimator: Any,
    inference: Any = SANDWICH,
    *,
    unit: str | None = "farm",
    counts: str | None = None,
    **design: Any,
) -> Estimate:
    settings = {"outcome": "y", "adoption": "first", "assigned_at": "county", **design}
    panel = Panel.from_frame(frame, unit=unit, time="year", counts=counts)
    return estimate(panel, Design(**settings), estimator, inference=inference)


def run_mpdta(frame: pd.DataFrame, estimator: Any, inference: Any = SANDWICH, **design: Any) -> Estimate:
    return run(frame, estimator, inference, unit="countyreal", outcome="lemp", assigned_at="countyreal", **design)


@pytest.mark.parametrize(
    ("entry", "estimator"),
    [("two_stage", TwoStage()), ("two_stage_events", TwoStage(aggregate="dynamic", leads=4))],
)
def test_equals_r_did2s(entry: str, estimator: TwoStage) -> None:
    table = run_mpdta(cases.mpdta(), estimator).tidy().set_index("term")
    for row in R[entry]:
        ours = table.loc["ATT" if row["term"] == "d::1" else f"ATT(e={row['term'].removeprefix('rel::')})"]
        # fixest's first stage leaves a few 1e-9 in the outcome; leads are of size 0.01. did2s has no small-sample factor.
        assert ours["estimate"] == pytest.approx(row["estimate"], abs=1e-8)
        assert ours["std_error"] == pytest.approx(row["se"], rel=2e-7)
    assert len(table) == len(R[entry]) + (estimator.leads > 0)


DESIGNS: dict[str, dict[str, Any]] = {
    "plain": {},
    "weights and covariates": {"weights": "area", "covariates": ("rain", "price")},
    "further effects": {"covariates": ("rain",), "absorb": ("sector*year",)},
}


@pytest.mark.parametrize("design", DESIGNS)
@pytest.mark.parametrize("estimator", [TwoStage(), TwoStage(aggregate="dynamic", leads=3)], ids=str)
def test_equals_both_stages_as_one_gmm(estimator: TwoStage, design: str) -> None:
    f, settings = oracle.villages(), DESIGNS[design]
    treated = (f["year"] >= f["first"]).to_numpy()
    weights = f["area"].to_numpy() if "weights" in settings else np.ones(len(f))
    effects = [f["farm"], f["year"]] + ([f["sector"] * 10_000 + f["year"]] if "absorb" in settings else [])
    Z = oracle.first_stage(f, "y", effects, ~treated, settings.get("covariates", ())).Z
    since = f["year"] - f["first"]
    if estimator.leads:
        X2 = np.column_stack([(since == e).to_numpy(float) for e in (-3, -2, 0, 1, 2, 3, 4)])
    else:
        X2 = treated[:, None].astype(float)
    b, V = oracle.stacked_moments(f, "y", Z, ~treated, X2, weights, f["county"].to_numpy())
    one = run(f, estimator, **settings)
    terms = [term.name for term in one.fit.terms if term.role == "effect"]
    scale = np.sqrt(np.diag(V))
    # Double precision on both sides; the dummies' cross-products lose some five digits.
    assert (np.abs(one.params[terms] - b) / scale).max() < 1e-10
    assert (np.abs(one.vcov().loc[terms, terms] - V) / np.outer(scale, scale)).to_numpy().max() < 1e-9


@pytest.mark.parametrize("weights", [None, "size"])
def test_equals_pyfixest(weights: str | None) -> None:
    import pyfixest as pf

    f = cases.mpdta()
    f = f[f["first"] != 2004].reset_index(drop=True)  # it drops units with one untreated row, and then fails
    f["rain"] = np.random.default_rng(0).normal(size=len(f))
    data = f.assign(d=cases.post(f, "year", "first"), rel=np.where(f["first"] > 0, f["year"] - f["first"], -1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it calls pandas in ways that pandas 3 deprecates
        peer = pf.did2s(
            data,
            yname="lemp",
            first_stage="~rain|countyreal+year",
            second_stage="~i(rel,ref=-1.0)",
            treatment="d",
            cluster="countyreal",
            **({} if weights is None else {"weights": weights}),
        )
        b, se = peer.coef().to_numpy(), peer.se().to_numpy()
    one = run_mpdta(f, TwoStage(aggregate="dynamic", leads=4), covariates=("rain",), weights=weights)
    terms = [term.name for term in one.fit.terms if term.role == "effect"]
    np.testing.assert_allclose(one.params[terms], b, atol=5e-6)  # its demeaning stops at steps of 1e-6
    np.testing.assert_allclose(one.bse[terms], se, rtol=5e-5)


def test_points_equal_imputation_and_one_cohort_has_its_error() -> None:
    f = oracle.villages()
    for settings in DESIGNS.values():
        one, other = (
            run(f, TwoStage(aggregate="dynamic"), **settings),
            run(f, Imputation(aggregate="dynamic"), **settings),
        )
        np.testing.assert_array_equal(one.fit.coefficients, other.fit.coefficients)
    one_date = f[f["first"].isna() | (f["first"] == 2014)]
    first = one_date[one_date["year"] <= 2014]
    # With one treated period of one cohort, the group's mean is the effect.
    assert run(first, TwoStage()).bse["ATT"] == pytest.approx(run(first, Imputation()).bse["ATT"], rel=1e-12)
    assert run(f, TwoStage()).bse["ATT"] > run(f, Imputation()).bse["ATT"]  # effects differ between cohorts and periods


@pytest.mark.parametrize("weights", [None, "area"])
def test_influence_sums_to_zero(weights: str | None) -> None:
    one = run(oracle.villages(), TwoStage(aggregate="dynamic", leads=3), weights=weights, covariates=("rain",))
    (part,) = one.fit.parts
    n = len(part.sample.rows)
    rows = part.influence.sum_within(np.arange(n), n)
    assert np.abs(rows.sum(axis=0)).max() < 1e-13 * np.abs(rows).sum()


def test_leads_are_mean_residuals_and_the_base_is_listed() -> None:
    f = oracle.villages()
    untreated = ~(f["year"] >= f["first"]).to_numpy()
    residual = pd.Series(oracle.first_stage(f, "y", [f["farm"], f["year"]], untreated).error)
    means = residual[untreated].groupby((f["year"] - f["first"])[untreated]).mean()
    one = run(f, TwoStage(aggregate="dynamic", leads=3))
    assert one.tidy()["event_time"].tolist() == [-3, -2, -1, 0, 1, 2, 3, 4]
    np.testing.assert_allclose(
        one.params[["ATT(e=-3)", "ATT(e=-2)"]], means[[-3, -2]], atol=1e-12
    )  # outcomes of size 5
    base = one.tidy().set_index("term").loc["ATT(e=-1)"]
    assert base["estimate"] == 0.0
    assert np.isnan(base["std_error"])
    assert any("mean residuals of the first stage" in str(note) for note in one.notes)
    plain = run(f, TwoStage(aggregate="dynamic"))
    np.testing.assert_array_equal(one.params[plain.params.index], plain.params)  # leads change no effect


def test_the_base_moves_where_no_row_is_observed() -> None:
    f = oracle.villages()
    f = f[~(f["year"] - f["first"]).isin([-1, -3])]
    one = run(f, TwoStage(aggregate="dynamic", leads=4))
    assert [(term.event_time, term.role) for term in one.fit.terms][:3] == [(-4, "effect"), (-2, "base"), (0, "effect")]
    notes = [str(note) for note in one.notes]
    assert "the base period is event time -2, because -1 is not observed" in notes
    assert "no row is observed at event times -3" in notes
    with pytest.raises(DesignError, match="observed at an event time from -1 to -1"):
        run(f, TwoStage(aggregate="dynamic", leads=1))


def test_anticipation_shifts_base_and_leads() -> None:
    f = oracle.villages()
    path = run(f, TwoStage(aggregate="dynamic", leads=2), anticipation=1)
    assert [(t.event_time, t.role) for t in path.fit.terms][:4] == [
        (-3, "effect"),
        (-2, "base"),
        (-1, "effect"),
        (0, "effect"),
    ]
    earlier = run(f.assign(first=f["first"] - 1), TwoStage(aggregate="dynamic", leads=2))
    np.testing.assert_array_equal(path.fit.coefficients, earlier.fit.coefficients)


def test_rows_that_cannot_be_reached_are_left_out_and_named() -> None:
    f = oracle.villages()
    always = f.assign(first=f["first"].where(f["county"] != 0, 2009.0))
    one, other = run(always, TwoStage()), run(f[f["county"] != 0], TwoStage())
    pd.testing.assert_series_equal(one.params, other.params)
    pd.testing.assert_series_equal(one.bse, other.bse)
    lost = int((f["county"] == 0).sum())
    assert any(str(note).startswith(f"{lost} treated rows cannot be imputed") for note in one.notes)


def test_an_event_time_of_one_county_is_named() -> None:
    f = oracle.villages()
    f["first"] = f["first"].where(f["county"] != 1)  # only county 0 reaches event time 4
    one = run(f, TwoStage(aggregate="dynamic"))
    assert any("2013 [2017]" in str(note) and "standard errors are too small" in str(note) for note in one.notes)
    assert not any("too small" in str(note) for note in run(f, TwoStage()).notes)


def test_counts_and_collapsed_cells_are_rows() -> None:
    f = oracle.villages()
    repeated = f.loc[f.index.repeat(f["size"])].reset_index(drop=True)
    repeated["farm"] = repeated["farm"] * 10 + repeated.groupby(["farm", "year"]).cumcount()
    estimator = TwoStage(aggregate="dynamic", leads=3)
    one = run(f, estimator, counts="size", covariates=("rain",), weights="area")
    other = run(repeated, estimator, covariates=("rain",), weights="area")
    np.testing.assert_allclose(one.params, other.params, atol=1e-12)  # sums of products against sums of repeated terms
    np.testing.assert_allclose(one.vcov(), other.vcov(), atol=1e-13)
    design = Design(outcome="y", adoption="first", assigned_at="county")
    cells = collapse(f, design, unit="farm", time="year")
    collapsed = estimate(cells, design, estimator, inference=SANDWICH)
    np.testing.assert_allclose(collapsed.vcov(), run(f, estimator).vcov(), atol=1e-14)


@pytest.mark.parametrize("estimator", [TwoStage(), TwoStage(aggregate="dynamic", leads=3)], ids=str)
def test_what_must_not_change_a_number_and_what_must(estimator: TwoStage) -> None:
    f = oracle.villages()
    one = run(f, estimator, covariates=("rain",))
    same = run(f.sample(frac=1, random_state=1)[f.columns[::-1]], estimator, covariates=("rain",))
    np.testing.assert_array_equal(same.fit.coefficients, one.fit.coefficients)
    np.testing.assert_array_equal(same.uncertainty.covariance, one.uncertainty.covariance)
    permuted = np.random.default_rng(2).permutation(40)[f["farm"]]
    for changed in (f.assign(farm=permuted), f.assign(y=f["y"] + 3 * f["farm"] + (f["year"] - 2013) ** 2)):
        other = run(changed, estimator, covariates=("rain",))
        np.testing.assert_allclose(other.params, one.params, atol=1e-11)  # outcomes of size 100 at most
        np.testing.assert_allclose(other.bse, one.bse, rtol=1e-10)
    scaled = run(f.assign(y=-2.5 * f["y"] + 7), estimator)
    plain = run(f, estimator)
    np.testing.assert_allclose(scaled.params, -2.5 * plain.params, atol=1e-12)
    np.testing.assert_allclose(scaled.bse, 2.5 * plain.bse, rtol=1e-11)
    more = run(f.assign(y=f["y"] + 3 * (f["year"] >= f["first"])), estimator)
    shift = [3.0 * (term.event_time is None or term.event_time >= 0) for term in plain.fit.terms]
    np.testing.assert_allclose(more.params, plain.params + shift, atol=1e-12)
    np.testing.assert_allclose(more.bse, plain.bse, rtol=1e-11)


def test_what_it_cannot_do_is_refused() -> None:
    f = oracle.villages()
    with pytest.raises(DesignError, match="did you mean 'simple'"):
        TwoStage(aggregate="simpel")  # type: ignore[arg-type]
    with pytest.raises(DesignError, match="set aggregate='dynamic'"):
        TwoStage(leads=2)
    with pytest.raises(DesignError, match="TwoStage also learns from units before their own adoption"):
        run(f, TwoStage(), comparison="never_treated")
    with pytest.raises(InferenceError, match="needs the residuals of a regression"):
        run(f, TwoStage(), Classical())
