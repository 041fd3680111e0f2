"""Doses: slopes against hand arithmetic, dummies and pyfixest; what a dose must be; what the notes say of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

import evalkit as ek
import oracles
from evalkit import Design, Estimate, Panel, estimate
from evalkit.errors import DataError, DesignError, EvalkitError
from evalkit.estimators import EventStudy, Split, TripleDifference, TwoWayFE
from evalkit.inference import Classical, Cluster, Robust
from evalkit.results.estimation import Inference

PATH = EventStudy(leads=3, lags=2)


def farms(*, missing: float = 0.1, seed: int = 9) -> pd.DataFrame:
    """60 farms in 12 counties, 2010-2016, adopting in 2013 and 2014 or never, with loans; synthetic.

    `loan` changes from year to year, `line` is one number for each farm.
    """
    rng = np.random.default_rng(seed)
    farm, year = np.repeat(np.arange(60), 7), np.tile(np.arange(2010, 2017), 60)
    county = farm // 5
    first = np.array([2013.0, 2014.0, np.nan])[county % 3]
    post = year >= first
    f = pd.DataFrame({"farm": farm, "year": year, "county": county, "first": first, "large": farm % 2})
    f["loan"] = np.where(post, rng.gamma(2.0, 1.5, len(f)), 0.0)
    f["line"] = np.where(post, rng.gamma(2.0, 1.5, 60)[farm].round(2), np.nan)
    f["income"], f["w"] = rng.normal(size=len(f)), rng.uniform(1, 3, 60)[farm]
    f["y"] = rng.normal(size=len(f)) + 0.1 * farm - 0.4 * f["loan"] + 0.2 * f["income"]
    return f[rng.random(len(f)) >= missing].reset_index(drop=True)


def run(f: Any, estimator: Any = None, inference: Inference | None = None, **design: Any) -> Estimate:
    dose = "line" if isinstance(estimator, EventStudy) else "loan"
    settings = {"outcome": "y", "adoption": "first", "assigned_at": "county", "dose": dose, **design}
    panel = f if isinstance(f, Panel) else Panel.from_frame(f, unit="farm", time="year")
    return estimate(panel, Design(**settings), estimator or TwoWayFE(), inference=inference or Cluster())


def keys(one: Estimate) -> list[str]:
    return [note.key for note in one.notes]


def two_periods(dose: list[float]) -> pd.DataFrame:
    n = len(dose)
    f = pd.DataFrame({"farm": np.repeat(np.arange(n), 2), "year": np.tile([1, 2], n)})
    f["county"], f["first"] = f["farm"], np.where(np.repeat(dose, 2) > 0, 2, 0)
    f["loan"] = np.repeat(dose, 2) * (f["year"] == 2)
    f["y"] = np.random.default_rng(3).normal(size=2 * n)
    return f


def test_two_periods_give_the_slope_of_the_changes() -> None:
    """The covariance of change and dose over the variance of the dose (Callaway, Goodman-Bacon, Sant'Anna 2024)."""
    dose = [0.0, 0.0, 0.0, 1.0, 1.5, 4.0, 2.5]
    f = two_periods(dose)
    change = f["y"].to_numpy().reshape(-1, 2) @ [-1.0, 1.0]
    one = run(f)
    assert one.tidy()["term"].tolist() == ["slope"]
    assert one.params["slope"] == pytest.approx(np.cov(change, dose)[0, 1] / np.var(dose, ddof=1), rel=1e-12)


def test_weights_of_doses_by_hand() -> None:
    """Doses 0, 0, 1, 4 with mean 1.25: weights (1 - 1.25)·1 and (4 - 1.25)·4 over their sum, 10.75."""
    one = run(two_periods([0.0, 0.0, 1.0, 4.0]), inference=Classical())
    (note,) = [note for note in one.notes if note.key == "note.dose_weights"]
    assert dict(note.values) == {"share": "50.0", "total": "-0.023"}  # -.25 / 10.75
    assert "strong parallel trends" in " ".join(map(str, one.notes))
    assert "强平行趋势" in one.summary("zh")


@pytest.mark.parametrize("design", [{}, {"covariates": ("income",), "weights": "w"}, {"absorb": ("large*year",)}])
def test_a_slope_equals_dummies(design: dict[str, Any]) -> None:
    f = farms()
    X = np.column_stack([f["loan"], *(f[name] for name in design.get("covariates", ()))])
    effects = [f["farm"], f["year"], *([f["large"] * 10_000 + f["year"]] if "absorb" in design else [])]
    r = oracles.dummy_regression(f["y"], X, effects, f["w"] if "weights" in design else None)
    for inference, (V, df) in (
        (Classical(), oracles.classical(r)),
        (Robust(), oracles.robust(r)),
        (Cluster(), oracles.clustered(r, [f["county"]], "cr1")),
        (Cluster(correction="none"), oracles.clustered(r, [f["county"]], "none")),
    ):
        one = run(f, inference=inference, **design)
        # The same equations in double precision; 1e-10 leaves room for the condition number of the dummies.
        assert one.params["slope"] == pytest.approx(r.b[0], abs=1e-10 * np.sqrt(V[0, 0]))
        assert one.bse["slope"] == pytest.approx(np.sqrt(V[0, 0]), rel=1e-10)
        assert one.uncertainty.df[0] == df


def test_slopes_by_event_time_equal_pyfixest() -> None:
    f = farms()
    dose = f["farm"].map(f.groupby("farm")["line"].max()).fillna(0.0)
    event = (f["year"] - f["first"]).clip(-3, 2)
    times = [-3, -2, 0, 1, 2]
    data = f[["y", "farm", "year", "county"]].assign(**{f"x{i}": dose * (event == e) for i, e in enumerate(times)})
    b, V = oracles.pyfixest_fit("y~x0+x1+x2+x3+x4|farm+year", data, weights=None, vcov={"CRV1": "county"}, k_fixef=None)
    one = run(f, PATH, Cluster(correction="none"))
    terms = [f"slope(e={e})" for e in times]
    scale = np.sqrt(np.diag(V))
    # pyfixest de-means by alternating projections until a step is below 1e-14.
    assert np.abs((one.params[terms] - b) / scale).max() < 1e-8
    assert (np.abs(one.vcov().loc[terms, terms] - V) / np.outer(scale, scale)).to_numpy().max() < 1e-8
    assert one.params["slope(e=-1)"] == 0.0
    assert one.tidy()["event_time"].tolist() == [-3, -2, -1, 0, 1, 2]
    assert "note.dose" in keys(one)


@pytest.mark.parametrize("estimator", [TwoWayFE(), PATH, EventStudy(leads=3, lags=1, bin=False, reference=(-1, -3))])
def test_a_dose_of_one_is_no_dose(estimator: Any) -> None:
    f = farms().assign(one=lambda f: (f["year"] >= f["first"]).astype(float))
    one, other = run(f, estimator, dose="one"), run(f, estimator, dose=None)
    np.testing.assert_array_equal(one.vcov(), other.vcov())
    np.testing.assert_array_equal(one.fit.coefficients, other.fit.coefficients)
    assert [t.name.replace("slope", "ATT") for t in one.fit.terms] == [t.name for t in other.fit.terms]
    assert one.ledger == other.ledger


@pytest.mark.parametrize("estimator", [TwoWayFE(), PATH])
def test_units_of_dose_and_outcome(estimator: Any) -> None:
    f = farms()
    one = run(f, estimator, covariates=("income",))
    effects = [t.name for t in one.fit.terms if t.role == "effect"]
    other = run(
        f.assign(y=5 - 2 * f["y"], loan=1000 * f["loan"], line=1000 * f["line"]), estimator, covariates=("income",)
    )
    np.testing.assert_allclose(other.params[effects], one.params[effects] * -2 / 1000, rtol=1e-10)
    np.testing.assert_allclose(other.bse[effects], one.bse[effects] * 2 / 1000, rtol=1e-10)


@pytest.mark.parametrize("estimator", [TwoWayFE(), PATH])
def test_an_added_slope_is_found(estimator: Any) -> None:
    f = farms()
    one = run(f, estimator)
    dose = f["line" if estimator is PATH else "loan"].fillna(0.0)
    more = run(f.assign(y=f["y"] + 3 * dose), estimator)
    shift = [3.0 * (t.role == "effect" and (t.event_time is None or t.event_time >= 0)) for t in one.fit.terms]
    np.testing.assert_allclose(more.fit.coefficients, one.fit.coefficients + shift, atol=1e-11)  # outcomes of size 30
    np.testing.assert_allclose(more.vcov(), one.vcov(), atol=1e-12)


@pytest.mark.parametrize("estimator", [TwoWayFE(), PATH])
def test_order_labels_and_equal_weights_change_nothing(estimator: Any) -> None:
    f = farms()
    one, before = run(f, estimator), f.copy(deep=True)
    for other in (f.sample(frac=1, random_state=3), f.assign(farm="户" + f["farm"].map("{:03d}".format))):
        np.testing.assert_array_equal(run(other, estimator).vcov(), one.vcov())
    np.testing.assert_array_equal(run(f.assign(w=2.5), estimator, weights="w").vcov(), one.vcov())
    filled = f.assign(loan=f["loan"].where(f["loan"] > 0), line=f["line"].fillna(0.0))
    np.testing.assert_array_equal(run(filled, estimator).vcov(), one.vcov())  # 0 or empty before adoption
    pd.testing.assert_frame_equal(f, before)


def test_order_of_rows_of_repeated_cross_sections() -> None:
    f = farms().drop(columns="farm").assign(y=lambda f: f["y"].round(0))  # ties in every key but the dose
    one, other = (
        run(Panel.from_frame(g, unit=None, time="year"))
        for g in (f, f.sample(frac=1, random_state=2).reset_index(drop=True))
    )
    np.testing.assert_array_equal(one.vcov(), other.vcov())
    r = oracles.dummy_regression(f["y"], f[["loan"]], [f["county"], f["year"]])
    assert one.params["slope"] == pytest.approx(r.b[0], rel=1e-10)


@pytest.mark.parametrize("estimator", [TwoWayFE(), PATH])
def test_counts_are_repeated_rows(estimator: Any) -> None:
    f = farms().assign(n=lambda f: 1 + f["farm"] % 3)
    repeated = f.loc[f.index.repeat(f["n"])]
    repeated["farm"] = repeated["farm"] * 10 + repeated.groupby(["farm", "year"]).cumcount()
    one, other = run(Panel.from_frame(f, unit="farm", time="year", counts="n"), estimator), run(repeated, estimator)
    np.testing.assert_allclose(one.params, other.params, rtol=1e-10)
    np.testing.assert_allclose(one.vcov(), other.vcov(), rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("inference", [Classical(), Robust(), Cluster()], ids=repr)
@pytest.mark.parametrize("estimator", [TwoWayFE(), EventStudy(leads=2, lags=1)])
def test_cells_equal_rows(estimator: Any, inference: Inference) -> None:
    f = farms(missing=0.02)
    f["loan"] = np.where(f["year"] >= f["first"], 1.0 + f["farm"] % 2 * (f["year"] % 3), 0.0)
    f["line"] = np.where(f["year"] >= f["first"], 1.0 + f["farm"] % 2, np.nan)
    dose = "line" if isinstance(estimator, EventStudy) else "loan"
    design = Design(outcome="y", adoption="first", assigned_at="county", dose=dose)
    cells = ek.collapse(f, design, unit="farm", time="year")
    assert len(cells) < 0.8 * len(f)
    one, other = run(cells, estimator, inference), run(f, estimator, inference)
    np.testing.assert_allclose(one.params, other.params, rtol=1e-10)  # sums of the same numbers in another order
    np.testing.assert_allclose(one.vcov(), other.vcov(), rtol=1e-9, atol=1e-13)


def test_units_with_different_doses_stay_in_different_cells() -> None:
    f = farms(missing=0.0)
    design = Design(outcome="y", adoption="first", assigned_at="county", dose="loan")
    treated = f[f["first"].notna()]["farm"].nunique()
    assert len(ek.collapse(f, design, unit="farm", time="year")) == 7 * (treated + 4)  # 4 counties without
    halves = Design(outcome="y", adoption="first", assigned_at="county", eligible="large")
    assert len(ek.collapse(f, halves, unit="farm", time="year")) == 7 * 12 * 2


def test_treated_rows_without_a_dose_leave_through_the_ledger() -> None:
    f = farms()
    rows = f.index[f["loan"] > 0][::9]
    one, other = run(f.assign(loan=f["loan"].where(~f.index.isin(rows)))), run(f.drop(index=rows))
    assert one.params.equals(other.params)
    (line,) = one.ledger
    assert (line.rows, str(line.reason)) == (len(rows), "loan is missing")


def test_treated_rows_of_dose_zero_are_said() -> None:
    f = farms()
    treated = f["year"] >= f["first"]
    none = treated & ((f["county"] == 0) | (f["farm"] % 5 == 4))
    (note,) = [note for note in run(f.assign(loan=f["loan"].where(~none, 0.0))).notes if note.key == "note.dose_zero"]
    assert dict(note.values) == {"rows": int(none.sum()), "clusters": 1}
    assert "note.dose_zero" not in keys(run(f))


def test_units_that_adopt_after_the_end_count_as_untreated() -> None:
    f = farms()
    late = f["county"].isin([2, 5])  # never treated so far
    one = run(f.assign(first=f["first"].mask(late, 2020.0)), PATH)
    assert one.params.equals(run(f, PATH).params)
    (note,) = [note for note in one.notes if note.key == "note.dose_unknown"]
    assert dict(note.values) == {"units": 10}


def test_works_inside_a_split() -> None:
    f = farms()
    one = run(f, Split(by="large", estimator=TwoWayFE()))
    assert one.params["slope [large=1]"] == run(f[f["large"] == 1]).params["slope"]


def put(f: pd.DataFrame, rows: Any, value: Any, column: str = "loan") -> pd.DataFrame:
    return f.assign(**{column: f[column].astype(object).mask(rows, value)})


REFUSED: dict[str, tuple[Any, type[EvalkitError], tuple[str, ...]]] = {
    "negative": (lambda f: run(put(f, f["loan"] > 9, -1)), DataError, ("a dose is negative: -1", "'loan', row")),
    "infinite": (lambda f: run(put(f, f["loan"] > 9, np.inf)), DataError, ("'loan' is infinite",)),
    "text": (lambda f: run(put(f, f["loan"] > 9, "none")), DataError, ("'none' is not a number",)),
    "before adoption": (
        lambda f: run(put(f, (f["farm"] == 0) & (f["year"] == 2012), 2.0)),
        DesignError,
        ("1 rows have a dose above 0 without treatment", "of 2012", "treated from 2013 on", "first period with a dose"),
    ),
    "of the never treated": (
        lambda f: run(put(f, (f["county"] == 2) & (f["year"] == 2015), 2.0)),
        DesignError,
        ("without treatment", "treated never"),
    ),
    "all zero": (
        lambda f: run(f.assign(loan=0.0)),
        DesignError,
        ("no treated row has a dose above 0", "dose = 'loan'"),
    ),
    "changes in an event study": (
        lambda f: run(f, PATH, dose="loan"),
        DesignError,
        ("the dose changes within a unit", "'loan', rows", "TwoWayFE"),
    ),
    "no such column": (lambda f: run(f, dose="loans"), DataError, ("no column 'loans'", "did you mean 'loan'")),
    "the outcome": (lambda f: run(f, dose="y"), DesignError, ("dose = 'y' is also the outcome",)),
    "a triple difference": (
        lambda f: run(f, TripleDifference(), eligible="large"),
        DesignError,
        ("TripleDifference does not use it", "TwoWayFE or EventStudy"),
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_by_name(case: str) -> None:
    make, error, words = REFUSED[case]
    with pytest.raises(error) as caught:
        make(farms())
    for word in words:
        assert word in str(caught.value)
