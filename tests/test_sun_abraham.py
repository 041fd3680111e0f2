"""Sun and Abraham's estimator: R's figures, dummies in NumPy, collapses to simpler estimators, designs that lack something."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest

import cases
import oracles
from evalkit import Design, Estimate, Panel, estimate
from evalkit.errors import DesignError
from evalkit.estimators import EventStudy, SunAbraham
from evalkit.inference import Classical, Cluster, Robust
from evalkit.numerics.absorb import find_patterns

SUNAB = {
    e["id"]: e["results"]
    for e in json.loads((cases.TESTS / "reference" / "r_sunab_mpdta.json").read_text(encoding="utf-8"))["entries"]
}
AGGREGATES = {"dynamic": "dynamic", "period": "dynamic", "ATT": "simple", "cohort": "cohort"}


def run(frame: pd.DataFrame, estimator: Any = None, inference: Any = None, **design: Any) -> Estimate:
    settings = {"outcome": "lemp", "adoption": "first", "assigned_at": "countyreal", **design}
    panel = Panel.from_frame(frame, unit="countyreal", time="year")
    return estimate(panel, Design(**settings), estimator or SunAbraham(), inference=inference or Cluster())


@pytest.mark.parametrize("entry", SUNAB)
def test_equals_r_fixest(entry: str) -> None:
    table = run(cases.mpdta(), SunAbraham(AGGREGATES[entry])).tidy().set_index("term")  # type: ignore[arg-type]
    assert len(table) == len(SUNAB[entry]) + (AGGREGATES[entry] == "dynamic")  # R does not list the base
    for row in SUNAB[entry]:
        kind, _, label = row["term"].partition("::")
        ours = table.loc[{"year": f"ATT(e={label})", "cohort": f"ATT(g={label})"}.get(kind, "ATT")]
        # On mpdta fixest's digits hold to about 1e-9; p magnifies the relative error of t.
        assert ours["estimate"] == pytest.approx(row["estimate"], rel=1e-8)
        assert ours["std_error"] == pytest.approx(row["se"], rel=1e-8)
        assert ours["p_value"] == pytest.approx(row["p"], rel=1e-7)


@cache
def by_dummies(share: float, weights: str | None, covariates: tuple[str, ...]) -> tuple[Any, Any, Any, Any, Any]:
    """Cohort × event-time regression with dummies: frame, cells (cohort, event time), coefficients, CR1 covariance, sizes."""
    f = cases.thinned(cases.every_third(cases.mpdta()), share)
    event = f["year"] - f["first"].where(f["first"] > 0)
    cells = sorted({(g, e) for g, e in zip(f["first"], event, strict=True) if g > 0 and e != -1})
    columns = [((f["first"] == g) & (event == e)).to_numpy(float) for g, e in cells]
    w = np.ones(len(f)) if weights is None else f[weights].to_numpy()
    sizes = np.array([w @ column for column in columns])
    X = np.column_stack([*columns, *(f[name] for name in covariates)])
    r = oracles.dummy_regression(f["lemp"], X, [f["countyreal"], f["year"]], w)
    V, _ = oracles.clustered(r, [f["countyreal"]], "cr1")
    k = len(cells)
    return f, cells, r.b[:k], V[:k, :k], sizes


@pytest.mark.parametrize("aggregate", ["dynamic", "simple", "cohort", "cohort_time"])
@pytest.mark.parametrize(
    ("share", "weights", "covariates"),
    [(0.0, None, ()), (0.15, "size", ()), (0.1, None, ("lpop2005",)), (0.1, "size", ("lpop2005", "lpop2006"))],
)
def test_equals_dummies(aggregate: Any, share: float, weights: str | None, covariates: tuple[str, ...]) -> None:
    f, cells, b, V, sizes = by_dummies(share, weights, covariates)
    one = run(f, SunAbraham(aggregate), weights=weights, covariates=covariates)
    for term in one.fit.terms:
        if term.role != "effect":
            continue
        inside = np.array(
            [
                (aggregate in ("dynamic", "cohort_time") or e >= 0)
                and (aggregate != "dynamic" or e == term.event_time)
                and (aggregate not in ("cohort", "cohort_time") or str(int(g)) == term.cohort)
                and (aggregate != "cohort_time" or str(int(g + e)) == term.period)
                for g, e in cells
            ]
        )
        a = np.where(inside, sizes, 0.0) / sizes[inside].sum()
        error = np.sqrt(a @ V @ a)
        # The same equations in double precision, as in test_agreement.
        assert abs(one.params[term.name] - a @ b) / error < 1e-10
        assert one.bse[term.name] == pytest.approx(error, rel=1e-9)


def test_one_cohort_is_an_event_study() -> None:
    f = cases.mpdta().query("first in (0, 2006)")
    for inference in (Classical(), Robust(), Cluster(), Cluster(correction="all_effects")):
        one, other = run(f, SunAbraham(), inference), run(f, EventStudy(leads=3, lags=1), inference)
        assert one.params.index.tolist() == other.params.index.tolist()
        # Solved on patterns of counties instead of on counties: rounding.
        np.testing.assert_allclose(one.params, other.params, atol=1e-13)
        np.testing.assert_allclose(one.bse, other.bse, rtol=1e-11)


@pytest.mark.parametrize("weights", [None, "heavy"])
@pytest.mark.parametrize("inference", [Classical(), Robust(), Cluster(), Cluster(("countyreal", "year"))])
def test_patterns_of_units_change_nothing(weights: str | None, inference: Any) -> None:
    f = cases.thinned(cases.every_third(cases.mpdta()), 0.02).assign(heavy=lambda f: 1.0 + f["countyreal"] % 3)
    fast = run(f, SunAbraham(), inference, weights=weights)
    whole = run(f, SunAbraham(), inference, weights=weights, absorb=("countyreal",))  # adds nothing, but needs all rows
    np.testing.assert_allclose(fast.params, whole.params, atol=1e-13)
    np.testing.assert_allclose(fast.vcov(), whole.vcov(), atol=1e-15)  # variances of about 1e-4
    assert fast.uncertainty.df.tolist() == pytest.approx(whole.uncertainty.df.tolist(), nan_ok=True)


def test_patterns_group_units_with_the_same_keys() -> None:
    starts = np.arange(0, 40, 4)
    key = np.tile([3, 1, 4, 1, 3, 1, 4, 2], 5)
    found = find_patterns(key=key, starts=starts, weights=None)
    assert found is not None
    assert sorted(found.mass.tolist()) == [5.0] * 8
    np.testing.assert_array_equal(key[found.rows][found.cell], key)
    assert find_patterns(key=np.arange(40), starts=starts, weights=None) is None
    assert find_patterns(key=key, starts=starts, weights=np.arange(40.0)) is None


def test_without_never_treated_the_last_cohort_is_the_comparison() -> None:
    f = cases.mpdta().query("first > 0")
    one = run(f, SunAbraham("cohort_time"))
    early = f.query("year < 2007").assign(first=lambda f: f["first"].where(f["first"] < 2007, 0))
    other = run(early, SunAbraham("cohort_time"))
    pd.testing.assert_series_equal(one.params, other.params, check_exact=True)
    assert any("2007" in str(note) and "last cohort" in str(note) for note in one.notes)
    assert [(line.rows, line.units) for line in one.ledger] == [(191, 0)]  # 2007 of 191 counties


def test_cohorts_always_treated_are_left_out() -> None:
    f = cases.mpdta().query("year >= 2004")
    one, other = run(f), run(f.query("first != 2004"))
    pd.testing.assert_series_equal(one.params, other.params, check_exact=True)
    assert [(line.rows, line.units) for line in one.ledger] == [(80, 20)]  # 20 counties of 2004 in four years
    assert any("2004" in str(note) for note in one.notes)


def test_a_cohort_without_its_base_gets_another() -> None:
    f = cases.mpdta().query("not (first == 2007 and year == 2006)")
    one = run(f, SunAbraham("cohort_time"))
    assert "ATT(g=2007,t=2005)" not in one.params.index
    assert "ATT(g=2006,t=2004)" in one.params.index
    assert any("cohort 2007 is event time -2" in str(note) for note in one.notes)
    means = f.groupby(["first", "year"])["lemp"].mean()
    by_hand = means[2007, 2007] - means[2007, 2005] - means[0, 2007] + means[0, 2005]
    assert one.params["ATT(g=2007,t=2007)"] == pytest.approx(by_hand, abs=1e-13)


def test_anticipation_moves_the_base() -> None:
    one = run(cases.mpdta(), SunAbraham("dynamic"), anticipation=1)
    terms = {term.event_time: term.role for term in one.fit.terms}
    assert terms[-2] == "base"
    assert terms[-1] == "effect"
    means = cases.mpdta().groupby(["first", "year"])["lemp"].mean()
    change = {g: means[g, g] - means[g, g - 2] - means[0, g] + means[0, g - 2] for g in (2006, 2007)}
    # Cohort 2004 has no period before its anticipation; 40 and 131 counties remain.
    assert one.params["ATT(e=0)"] == pytest.approx((40 * change[2006] + 131 * change[2007]) / 171, abs=1e-13)


def test_periods_without_comparison_are_left_out() -> None:
    f = cases.mpdta().query("not (first == 0 and year == 2005)")
    one, other = run(f), run(f.query("year != 2005"))
    pd.testing.assert_series_equal(one.params, other.params, check_exact=True)
    assert [line.rows for line in one.ledger] == [191]


def test_an_effect_that_is_not_identified_is_named() -> None:
    f = cases.mpdta().assign(early=lambda f: f["first"] == 2004)
    with pytest.raises(DesignError, match=r"ATT\(g=2004,t=2004\) cannot be told"):
        run(f, absorb=("early*year",))


def test_what_is_not_used_is_refused() -> None:
    f = cases.mpdta().assign(share=lambda f: 0.5 * (f["first"] > 0) * (f["year"] >= f["first"]))
    with pytest.raises(DesignError, match="SunAbraham does not use it"):
        run(f, dose="share")
    with pytest.raises(DesignError, match="did you mean 'cohort'"):
        SunAbraham("cohorts")  # type: ignore[arg-type]


def test_cells_that_no_table_of_rows_could_hold_are_differences_of_means() -> None:
    """520,000 rows × 1,990 cells: a table of both would take 8 GB."""
    f = pd.DataFrame({"countyreal": np.repeat(np.arange(2600), 200), "year": np.tile(np.arange(200), 2600)})
    f["first"] = np.where(f["countyreal"] < 20, 190 + f["countyreal"] % 10, np.nan)  # 0 is a period here
    f["lemp"] = np.random.default_rng(4).normal(size=len(f))
    one = run(f, SunAbraham("cohort"))
    wide = f.pivot(index="countyreal", columns="year", values="lemp")
    change = wide.loc[:, 193:].mean(axis=1) - wide[192]
    by_hand = change.loc[[3, 13]].mean() - change.loc[20:].mean()
    assert one.params["ATT(g=193)"] == pytest.approx(by_hand, abs=1e-12)


def test_repeated_cross_sections_compare_means() -> None:
    f = cases.mpdta().query("first in (0, 2006)").assign(group=lambda f: f["first"] + f["countyreal"] % 2)
    design = Design(outcome="lemp", adoption="first", assigned_at="group")
    one = estimate(Panel.from_frame(f, unit=None, time="year"), design, SunAbraham(), inference=Cluster())
    means = f.groupby(["first", "year"])["lemp"].mean()
    by_hand = means[2006, 2007] - means[2006, 2005] - means[0, 2007] + means[0, 2005]
    assert one.params["ATT(e=1)"] == pytest.approx(by_hand, abs=1e-12)


def test_invariances() -> None:
    f = cases.every_third(cases.mpdta()).assign(treated=lambda f: (f["first"] > 0) & (f["year"] >= f["first"]))
    base = run(f)
    shuffled = run(f.sample(frac=1, random_state=3))
    assert base.params.to_numpy().tobytes() == shuffled.params.to_numpy().tobytes()
    assert base.vcov().to_numpy().tobytes() == shuffled.vcov().to_numpy().tobytes()
    shifted = run(f.assign(lemp=-2.0 * f["lemp"] + 3 * f["treated"] + f["year"] ** 2 + f["countyreal"] / 7e3))
    later = np.array([3.0 * (term.role == "effect" and term.event_time >= 0) for term in base.fit.terms])
    # Outcomes of size 4e6 (the squares of years): rounding of 1e-16 of that.
    np.testing.assert_allclose(shifted.params, -2.0 * base.params + later, atol=1e-8)
    np.testing.assert_allclose(shifted.bse, 2.0 * base.bse, rtol=1e-6)
    same = run(f.assign(w=0.3), weights="w")
    assert base.params.to_numpy().tobytes() == same.params.to_numpy().tobytes()
    counted = estimate(
        Panel.from_frame(f.assign(times=1 + f["countyreal"] % 3), unit="countyreal", time="year", counts="times"),
        base.spec.design,
        SunAbraham("simple"),
        inference=Cluster(),
    )
    repeated = f.loc[f.index.repeat(1 + f["countyreal"] % 3)]
    repeated["copy"] = repeated["countyreal"] * 10 + repeated.groupby(["countyreal", "year"]).cumcount()
    rows = estimate(
        Panel.from_frame(repeated, unit="copy", time="year"),
        base.spec.design,
        SunAbraham("simple"),
        inference=Cluster(),
    )
    assert counted.params["ATT"] == pytest.approx(rows.params["ATT"], abs=1e-13)
    assert counted.bse["ATT"] == pytest.approx(rows.bse["ATT"], rel=1e-11)


def test_a_fit_without_residual_has_no_standard_error() -> None:
    f = cases.every_third(cases.mpdta())
    f["lemp"] = f["countyreal"] / 1e3 + (f["year"] - 2003) ** 2 + 2.0 * ((f["first"] > 0) & (f["year"] >= f["first"]))
    one = run(f, SunAbraham("simple"))
    assert one.params["ATT"] == pytest.approx(2.0, abs=1e-12)
    assert np.isnan(one.bse["ATT"])
    assert any("without residual" in str(note) for note in one.notes)
