"""Event studies with chosen references and windows, averages of their effects, and the weights of two-way effects."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import cases
import evalkit as ek
import oracles
from evalkit import Design, Estimate, Panel, estimate
from evalkit.errors import DataError, DesignError, EvalkitError, InferenceError
from evalkit.estimators import EventStudy, Split, TwoWayFE
from evalkit.inference import Classical, Cluster

DESIGN = Design(outcome="y", adoption="first", assigned_at="county")


def farms(*, never: bool = True, seed: int = 4) -> pd.DataFrame:
    """60 farms in 12 counties, 2010-2017, adopting in 2013, 2014, 2015 (and never); synthetic."""
    rng = np.random.default_rng(seed)
    farm, year = np.repeat(np.arange(60), 8), np.tile(np.arange(2010, 2018), 60)
    county = farm // 5
    first = np.array([2013.0, 2014.0, 2015.0, np.nan if never else 2015.0])[county % 4]
    f = pd.DataFrame({"farm": farm, "year": year, "county": county, "first": first, "large": farm % 2})
    f["income"] = rng.normal(size=len(f))
    f["w"] = rng.uniform(1, 3, 60)[farm]
    since = np.where(year >= first, year - first + 1, 0.0)
    f["y"] = rng.normal(size=len(f)) + 0.1 * farm + 0.3 * since + 0.2 * f["income"]
    return f


def run(f: pd.DataFrame, estimator: Any, inference: Any = None, **design: Any) -> Estimate:
    settings = {"outcome": "y", "adoption": "first", "assigned_at": "county", **design}
    panel = Panel.from_frame(f, unit="farm", time="year")
    return estimate(panel, Design(**settings), estimator, inference=inference or Cluster())


def columns(f: pd.DataFrame, leads: int, lags: int, base: tuple[int, ...]) -> dict[str, Any]:
    """Indicators of binned event time without the references, under the names of the terms."""
    event = (f["year"] - f["first"]).clip(-leads, lags)
    return {f"ATT(e={e})": (event == e).to_numpy(float) for e in range(-leads, lags + 1) if e not in base}


@pytest.mark.parametrize("weights", [None, "w"])
@pytest.mark.parametrize(("never", "base"), [(False, (-5, -1)), (True, (-3, -2)), (True, (0, -1))])
def test_several_references_equal_dummies_and_pyfixest(never: bool, base: tuple[int, ...], weights: str | None) -> None:
    f = farms(never=never)
    f = f[np.random.default_rng(1).random(len(f)) > 0.1].reset_index(drop=True)
    terms = columns(f, 5, 4, base)
    r = oracles.dummy_regression(
        f["y"], np.column_stack([*terms.values()]), [f["farm"], f["year"]], f[weights] if weights else None
    )
    V, _ = oracles.clustered(r, [f["county"]], "none")
    one = run(f, EventStudy(leads=5, lags=4, reference=base), Cluster(correction="none"), weights=weights)
    scale = np.sqrt(np.diag(V))
    # The same equations in double precision: 1e-10 standard errors leave room for the dummies' condition number.
    assert np.abs(one.params[list(terms)] - r.b).max() < 1e-10 * scale.min()
    assert (np.abs(one.vcov().loc[list(terms), list(terms)] - V) / np.outer(scale, scale)).to_numpy().max() < 1e-10
    data = f.assign(
        **{f"x{i}": column for i, column in enumerate(terms.values())}, weight=f[weights] if weights else 1.0
    )
    b, V = oracles.pyfixest_fit(
        f"y~{'+'.join(f'x{i}' for i in range(len(terms)))}|farm+year",
        data[["y", "farm", "year", "county", "weight", *(f"x{i}" for i in range(len(terms)))]],
        weights="weight" if weights else None,
        vcov={"CRV1": "county"},
        k_fixef=None,
    )
    # pyfixest de-means by alternating projections until a step is below 1e-14.
    assert np.abs(one.params[list(terms)] - b).max() < 1e-8 * scale.min()
    assert (np.abs(one.vcov().loc[list(terms), list(terms)] - V) / np.outer(scale, scale)).to_numpy().max() < 1e-8


def test_references_are_listed_in_order_with_effect_zero() -> None:
    table = run(farms(), EventStudy(leads=3, lags=2, reference=(-1, -3)), covariates=("income",)).tidy(covariates=True)
    assert table["event_time"].tolist()[:6] == [-3, -2, -1, 0, 1, 2]
    assert table["term"].iloc[-1] == "income"
    assert table.set_index("term").loc[["ATT(e=-3)", "ATT(e=-1)"], "estimate"].tolist() == [0.0, 0.0]
    assert table["std_error"].isna().tolist() == [True, False, True, False, False, False, False]


def test_one_reference_only_shifts_the_path() -> None:
    """Effects against -2 are differences of those against -1, standard errors included."""
    one, other = (run(farms(), EventStudy(leads=3, lags=2, reference=e)) for e in (-1, -2))
    for e in (-3, -1, 0, 1, 2):
        told = one.contrast(f"ATT(e={e})", "ATT(e=-2)").iloc[0]
        assert other.params[f"ATT(e={e})"] == pytest.approx(told["estimate"], rel=1e-11)  # rounding of a difference
        assert other.bse[f"ATT(e={e})"] == pytest.approx(told["std_error"], rel=1e-11)
        assert other.pvalues[f"ATT(e={e})"] == pytest.approx(told["p_value"], rel=1e-10)


def test_the_default_reference_is_the_last_before_adoption() -> None:
    one, other = run(farms(), EventStudy(leads=3, lags=2)), run(farms(), EventStudy(leads=3, lags=2, reference=-1))
    np.testing.assert_array_equal(one.vcov(), other.vcov())
    assert one.params.equals(other.params)


def test_two_references_recover_a_path_where_all_adopt_in_the_end() -> None:
    f = farms(never=False)
    event = f["year"] - f["first"]
    path = pd.Series({e: 0.0 if e in (-5, -1) else float(e) ** 2 for e in range(-5, 5)})
    f["y"] = 0.1 * f["farm"] + 0.7 * (f["year"] - 2010) + event.map(path)
    one = run(f, EventStudy(leads=5, lags=4, reference=(-1, -5)))
    # Values of size 20 are fitted without residual: 1e-12 is their rounding.
    assert one.params.to_numpy() == pytest.approx(path.to_numpy(), abs=1e-11)
    with pytest.raises(DesignError, match="second reference event time"):
        run(f, EventStudy(leads=5, lags=4))


def test_rows_beyond_the_window_are_left_out_through_the_ledger() -> None:
    f = farms()
    event = f["year"] - f["first"]
    inside = event.isna() | event.between(-2, 1)
    one = run(f, EventStudy(leads=2, lags=1, bin=False))
    other = run(f[inside], EventStudy(leads=2, lags=1))
    assert one.params.equals(other.params)
    np.testing.assert_array_equal(one.vcov(), other.vcov())
    (line,) = one.ledger
    assert (line.rows, str(line.reason)) == (int((~inside).sum()), "event time outside -2 to 1")
    assert line.units == 0
    assert not any("binned" in str(note) for note in one.notes)
    assert run(f, EventStudy(leads=5, lags=4, bin=False)).params.equals(run(f, EventStudy(leads=5, lags=4)).params)


@pytest.mark.parametrize(("estimator", "anticipation"), [(EventStudy(leads=2, lags=1, bin=False), 0), (TwoWayFE(), 1)])
def test_cells_that_lose_periods_cluster_as_rows_do_and_give_no_other_errors(estimator: Any, anticipation: int) -> None:
    f = farms()
    design = replace(DESIGN, anticipation=anticipation)
    cells = ek.collapse(f, design, unit="farm", time="year")
    one, other = estimate(cells, design, estimator, inference=Cluster()), run(f, estimator, anticipation=anticipation)
    np.testing.assert_allclose(one.params, other.params, rtol=1e-10)  # sums of the same numbers in another order
    np.testing.assert_allclose(one.vcov(), other.vcov(), rtol=1e-9, atol=1e-13)
    rowwise = estimate(cells, design, estimator, inference=Classical())
    assert rowwise.bse.isna().all()
    (note,) = [note for note in rowwise.notes if note.key == "note.within_lost"]
    assert dict(note.values) == {"cells": 9}  # of 12 counties those that adopt


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"reference": 3}, "reference is 3"),
        ({"reference": ()}, r"reference is \(\)"),
        ({"reference": (-1, -1)}, "reference is"),
        ({"reference": (-1, True)}, "reference is"),
        ({"reference": -1.0}, "reference is -1.0"),
    ],
)
def test_references_are_checked(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(DesignError, match=says) as caught:
        EventStudy(leads=3, lags=2, **settings)
    assert "-3 to 2" in caught.value.remedy


@pytest.mark.parametrize(
    ("settings", "says", "remedy"),
    [
        ({"leads": 9, "lags": 4, "reference": -9}, "no treated unit is observed at the reference -9", "-5, -4"),
        ({"leads": 1, "lags": 0, "reference": (-1, 0)}, "no event time besides the reference -1, 0", "-1, 0"),
    ],
)
def test_references_that_leave_nothing_are_refused(settings: dict[str, Any], says: str, remedy: str) -> None:
    with pytest.raises(DesignError, match=says) as caught:
        run(farms(), EventStudy(**settings))
    assert remedy in caught.value.remedy


def test_unusual_references_are_said() -> None:
    late = run(farms(), EventStudy(leads=3, lags=2, reference=(-2, -1)), anticipation=1)
    assert any("taken to be 0 at event times -1" in str(note) for note in late.notes)
    unseen = run(farms(), EventStudy(leads=9, lags=2, reference=(-9, -1)))
    assert any("event times -9, -8, -7, -6" in str(note) for note in unseen.notes)
    usual = run(farms(), EventStudy(leads=3, lags=2, reference=(-3, -1)))
    assert not any("taken to be 0" in note.text(language) for note in usual.notes for language in ("en", "zh"))


def test_an_average_of_event_times_counts_their_covariance() -> None:
    one = run(farms(), EventStudy(leads=3, lags=4))
    row = one.average([1, 2, 3]).iloc[0]
    terms = ["ATT(e=1)", "ATT(e=2)", "ATT(e=3)"]
    V = one.vcov().loc[terms, terms].to_numpy()
    assert row["term"] == "average of ATT(e=1), ATT(e=2), ATT(e=3)"
    assert row["estimate"] == pytest.approx(one.params[terms].mean(), rel=1e-13)
    assert row["std_error"] == pytest.approx(np.sqrt(V.mean()), rel=1e-13)
    t = row["estimate"] / row["std_error"]
    assert row["p_value"] == pytest.approx(2 * stats.t.sf(abs(t), 11), rel=1e-12)  # 12 counties
    margin = stats.t.ppf(0.95, 11) * row["std_error"]
    narrow = one.average(terms, level=0.9).iloc[0]
    assert narrow["conf_low"] == pytest.approx(row["estimate"] - margin, rel=1e-12)
    assert narrow["conf_high"] == pytest.approx(row["estimate"] + margin, rel=1e-12)
    assert list(one.average(terms).columns) == list(one.tidy().columns)


def test_a_regression_on_the_average_gives_the_same_average() -> None:
    """With one cohort the mean of its effects is the coefficient of one indicator for all of them."""
    f = farms()
    f = f[f["first"].isna() | (f["first"] == 2014)]
    f = f[f["year"].between(2013, 2016)]
    path, whole = run(f, EventStudy(leads=1, lags=2)), run(f, TwoWayFE())
    assert path.average([0, 1, 2])["estimate"].iloc[0] == pytest.approx(whole.params["ATT"], rel=1e-11)


def test_combinations_are_sums_of_terms() -> None:
    one = run(farms(), EventStudy(leads=3, lags=2))
    row = one.combination({"ATT(e=0)": 1, "ATT(e=1)": 1, "ATT(e=-2)": -2.5}, "gained by the second year").iloc[0]
    w = np.array([-2.5, 1, 1])
    terms = ["ATT(e=-2)", "ATT(e=0)", "ATT(e=1)"]
    assert row["term"] == "gained by the second year"
    assert row["estimate"] == pytest.approx(w @ one.params[terms], rel=1e-13)
    assert row["std_error"] == pytest.approx(np.sqrt(w @ one.vcov().loc[terms, terms] @ w), rel=1e-13)
    single, tidy = one.combination({"ATT(e=1)": 1}, "ATT(e=1)").iloc[0], one.tidy().set_index("term").loc["ATT(e=1)"]
    for column in ("estimate", "std_error", "p_value", "conf_low", "conf_high"):
        assert single[column] == pytest.approx(tidy[column], rel=1e-14)
    pd.testing.assert_frame_equal(
        one.contrast("ATT(e=1)", "ATT(e=0)"), one.combination({"ATT(e=1)": 1, "ATT(e=0)": -1}, "ATT(e=1) - ATT(e=0)")
    )
    assert one.contrast("ATT(e=1)", "ATT(e=1)")["estimate"].iloc[0] == 0.0


def test_the_base_counts_as_zero_in_averages() -> None:
    one = run(farms(), EventStudy(leads=3, lags=2))
    assert one.average([-2, -1])["estimate"].iloc[0] == pytest.approx(one.params["ATT(e=-2)"] / 2, rel=1e-14)
    assert one.combination({"ATT(e=-1)": 1.0}, "base")["std_error"].isna().all()


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (lambda one: one.average([7]), DataError, "no terms have event time 7"),
        (lambda one: one.average(["ATT(e=1)", "ATT(e=8)"]), DataError, "no term 'ATT"),
        (lambda one: one.average([1, 1]), InferenceError, "named twice"),
        (lambda one: one.average([]), InferenceError, "the weights are"),
        (lambda one: one.combination({"ATT(e=1)": np.nan}, "x"), InferenceError, "nan"),
        (lambda one: one.combination({}, "x"), InferenceError, "the weights are"),
    ],
)
def test_combinations_are_checked(make: Any, error: type[EvalkitError], says: str) -> None:
    with pytest.raises(error, match=says):
        make(run(farms(), EventStudy(leads=3, lags=2)))


def test_an_event_time_of_several_subgroups_must_be_named() -> None:
    one = run(farms(), Split(by="large", estimator=EventStudy(leads=3, lags=2)))
    with pytest.raises(DataError, match="2 terms have event time 1"):
        one.average([1])
    row = one.average(["ATT(e=1) [large=0]", "ATT(e=1) [large=1]"]).iloc[0]
    assert row["estimate"] == pytest.approx(one.params[["ATT(e=1) [large=0]", "ATT(e=1) [large=1]"]].mean(), rel=1e-13)


def weight_note(one: Estimate) -> tuple[float, float]:
    """Share in per cent and sum of the negative weights, as the note prints them."""
    (note,) = [note for note in one.notes if note.key == "note.staggered"]
    values = dict(note.values)
    assert f"{values['share']} %" in str(note)
    assert str(values["total"]) in note.text("zh")
    return float(str(values["share"])), float(str(values["total"]))


def test_negative_weights_as_published() -> None:
    """Two groups that adopt in periods 3 and 2 of three: weights 1/2, 1, -1/2 (de Chaisemartin, D'Haultfoeuille 2020)."""
    f = pd.DataFrame({"farm": [1, 1, 1, 2, 2, 2], "year": [1, 2, 3] * 2, "first": [3] * 3 + [2] * 3})
    f["county"], f["y"] = f["farm"], [1.0, 2.0, 5.0, 1.0, 4.0, 9.0]
    assert weight_note(run(f, TwoWayFE(), Classical())) == (33.3, -0.5)


@pytest.mark.parametrize("design", [{}, {"covariates": ("income",)}, {"weights": "w"}, {"absorb": ("large*year",)}])
def test_negative_weights_are_what_a_row_does_to_the_estimate(design: dict[str, Any]) -> None:
    """An outcome one higher in one treated row moves the estimate by that row's weight."""
    f = farms(never=False)
    f = f[f["county"] < 4].reset_index(drop=True)
    panel = Panel.from_frame(f, unit="farm", time="year")
    settings = Design(**{"outcome": "y", "adoption": "first", "assigned_at": "county", **design})
    before = TwoWayFE().fit(panel, settings).coefficients[0]
    treated = np.flatnonzero(f["year"] >= f["first"])
    weights = np.array(
        [
            TwoWayFE().fit(panel.with_column("y", f["y"] + (np.arange(len(f)) == row)), settings).coefficients[0]
            - before
            for row in treated
        ]
    )
    assert weights.sum() == pytest.approx(1.0, abs=1e-12)
    assert (weights < -1e-12).any()
    share, total = weight_note(run(f, TwoWayFE(), **design))
    assert share == round(100 * float((weights < -1e-12).mean()), 1)
    assert total == round(float(weights[weights < -1e-12].sum()), 3)


def test_the_share_of_negative_weights_counts_what_rows_stand_for() -> None:
    f = farms(never=False).assign(n=lambda f: 1 + f["farm"] % 3)
    repeated = f.loc[f.index.repeat(f["n"])]
    repeated["farm"] = repeated["farm"] * 10 + repeated.groupby(["farm", "year"]).cumcount()
    counted = estimate(
        Panel.from_frame(f, unit="farm", time="year", counts="n"), DESIGN, TwoWayFE(), inference=Cluster()
    )
    assert weight_note(counted) == weight_note(run(repeated, TwoWayFE()))
    assert weight_note(counted)[1] < 0


def test_nothing_is_said_of_weights_when_all_adopt_at_once() -> None:
    f = farms()
    once = run(f[f["first"].isna() | (f["first"] == 2014)], TwoWayFE())
    assert not any(note.key.startswith("note.staggered") for note in once.notes)
    path = run(f, EventStudy(leads=3, lags=2))
    assert [note.key for note in path.notes if note.key.startswith("note.staggered")] == ["note.staggered_path"]


def test_negative_weights_of_mpdta_by_hand() -> None:
    """Balanced: the residual is D less its mean by county and by year, plus its mean: 1 - 4/5 - 191/500 + 291/2500 < 0."""
    cells = {2004: (20, 4), 2006: (40, 2), 2007: (131, 1)}  # counties, treated years out of five
    treated_in = {year: sum(n for first, (n, _) in cells.items() if year >= first) for year in range(2004, 2008)}
    residual = {
        (first, year): n * (1 - years / 5 - treated_in[year] / 500 + 291 / 2500)
        for first, (n, years) in cells.items()
        for year in range(first, 2008)
    }
    negative = {cell: value for cell, value in residual.items() if value < 0}
    assert list(negative) == [(2004, 2007)]
    case = cases.case("mpdta_twfe")
    one = estimate(case.panel, case.design, case.estimator, inference=Cluster())
    assert weight_note(one) == (round(100 * 20 / 291, 1), round(sum(negative.values()) / sum(residual.values()), 3))
