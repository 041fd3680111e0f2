"""Thousands of cells of cohort and period: averages by what rows put in are those of the regression on all indicators."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from evalkit import Design, Estimate, Panel, estimate, indicators
from evalkit.errors import DesignError, InferenceError
from evalkit.estimators import CallawaySantAnna, ExtendedTWFE, SunAbraham, _saturated
from evalkit.inference import BiasReduced, ByDesign, Cluster, Jackknife
from evalkit.numerics import absorb, level_systems
from evalkit.results.clusters import way_of
from evalkit.results.estimation import Estimator, Inference
from evalkit.results.loadings import loadings_of


def panel_of(
    *, units: int = 60, periods: int = 16, cohorts: int = 6, missing: float = 0.0, never: float = 0.2
) -> pd.DataFrame:
    """Synthetic: units of 20 counties that adopt together, with gaps if asked; seed fixed."""
    rng = np.random.default_rng(3)
    f = pd.DataFrame({"id": np.repeat(np.arange(units), periods), "t": np.tile(np.arange(2000, 2000 + periods), units)})
    f["county"] = f["id"] // max(1, units // 20)
    dates = rng.integers(2004, 2004 + cohorts, units).astype(float)
    dates[rng.random(units) < never] = np.nan
    f["g"] = dates[f["county"]]
    f["size"], f["sector"] = rng.integers(1, 4, units)[f["id"]].astype(float), f["id"] % 3
    f["x"] = rng.normal(size=len(f))
    f["kind"] = np.array(["东", "西", "中"])[(f["id"] + f["t"] // 2) % 3]
    effect = 0.1 * (f["t"] - f["g"]).clip(lower=0).fillna(0)
    f["y"] = rng.normal(size=len(f)) + rng.normal(size=units)[f["id"]] + 0.5 * f["x"] + effect
    return f[rng.random(len(f)) >= missing].reset_index(drop=True)


def run(f: pd.DataFrame, estimator: Estimator, inference: Inference, **change: Any) -> Estimate:
    settings = {"outcome": "y", "adoption": "g", "assigned_at": "county", **change}
    return estimate(Panel.from_frame(f, unit="id", time="t"), Design(**settings), estimator, inference=inference)


def sizes(one: Estimate) -> list[float]:
    loadings = loadings_of(one.fit, one.spec, way_of(None, one.fit, one.spec))
    each = np.eye(len(one.params))
    return [loadings.expected_size(w) for w in each] + [loadings.effective(w) for w in each]


CASES: dict[str, tuple[Estimator, dict[str, Any], dict[str, Any]]] = {
    "dynamic": (SunAbraham(), {}, {}),
    "every cell": (SunAbraham("cohort_time"), {"weights": "size"}, {}),
    "gaps": (SunAbraham("cohort"), {"weights": "size"}, {"missing": 0.15}),
    "covariates and effects": (SunAbraham(), {"covariates": ("x",), "absorb": ("sector*t",)}, {"missing": 0.1}),
    "categories": (SunAbraham(), {"covariates": ("x", indicators("kind"))}, {"missing": 0.1}),
    "anticipation": (SunAbraham(), {"anticipation": 1}, {}),
    "all treated": (SunAbraham("simple"), {}, {"never": 0.0}),
    "not yet treated": (ExtendedTWFE("dynamic"), {"weights": "size"}, {"missing": 0.1}),
    "never treated": (ExtendedTWFE("cohort"), {"comparison": "never_treated"}, {}),
}


@pytest.mark.parametrize("name", CASES)
def test_rows_put_in_what_the_regression_says(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    estimator, change, shape = CASES[name]
    f = panel_of(**shape)
    inferences: list[Inference] = [Cluster(), Cluster(correction="all_effects"), Jackknife()]
    whole = [run(f, estimator, inference, **change) for inference in inferences]
    before = sizes(whole[0])
    monkeypatch.setattr(_saturated, "_MANY", 0)
    many = [run(f, estimator, inference, **change) for inference in inferences]
    assert any(
        "cells of cohort and period are averaged by what each row puts into them" in str(n) for n in many[0].notes
    )
    assert many[0].params.index.tolist() == whole[0].params.index.tolist()
    for one, other in zip(many, whole, strict=True):
        np.testing.assert_allclose(one.params, other.params, atol=1e-11)
        np.testing.assert_allclose(one.bse, other.bse, rtol=1e-9)
        np.testing.assert_allclose(one.pvalues, other.pvalues, rtol=1e-8)
    np.testing.assert_allclose(sizes(many[0]), before, rtol=1e-9)


@pytest.mark.parametrize("name", ["covariates and effects", "not yet treated", "never treated"])
@pytest.mark.parametrize("most", [30, 2])
def test_rows_put_in_the_same_beside_wide_effects(name: str, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Systems without a factor take what is put into cells out of the rows without one."""
    estimator, change, shape = CASES[name]
    change = {**change, "absorb": ("lender*t",)}
    lender = np.random.default_rng(5).integers(0, 9, 960)
    f = panel_of(**shape).assign(lender=lambda f: lender[: len(f)])
    whole = run(f, estimator, Cluster(), **change)
    monkeypatch.setattr(_saturated, "_MANY", 0)
    for module in (absorb, level_systems):
        monkeypatch.setattr(module, "LARGEST_BLOCK", most)
    many = run(f, estimator, Cluster(), **change)
    np.testing.assert_allclose(many.params, whole.params, atol=1e-9)
    np.testing.assert_allclose(many.bse, whole.bse, rtol=1e-8)
    np.testing.assert_allclose(sizes(many), sizes(whole), rtol=1e-7)


def test_monthly_panel_with_sixty_cohorts_is_the_difference_of_means() -> None:
    """200 units, 72 months, 60 cohorts: 4,000 cells; each is a cohort's change since its base less that of the never treated."""
    f = panel_of(units=200, periods=72, cohorts=60, never=0.1).assign(county=lambda f: f["id"])
    one = run(f, SunAbraham(), Cluster())
    changes = f.pivot(index="id", columns="t", values="y")
    g = f.drop_duplicates("id").set_index("id")["g"]
    never = changes[g.isna()].mean()
    total, mass = 0.0, 0
    for date in g.dropna().unique():
        cohort = changes[g == date]
        if date + 5 in changes:
            total += len(cohort) * float((cohort.mean() - never)[date + 5] - (cohort.mean() - never)[date - 1])
            mass += len(cohort)
    assert one.params["ATT(e=5)"] == pytest.approx(total / mass, abs=1e-11)
    theirs = run(f, CallawaySantAnna(aggregate="dynamic"), Cluster(), comparison="never_treated")
    assert theirs.params["ATT(e=5)"] == pytest.approx(total / mass, abs=1e-11)
    judged = one.under(ByDesign())
    assert "It is judged by the cluster jackknife" in str(judged.uncertainty.sentence)
    with pytest.raises(InferenceError, match="regression"):
        one.under(BiasReduced())


def test_averages_that_the_rows_do_not_tell_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_saturated, "_MANY", 0)
    f = panel_of().assign(own=lambda f: f["county"])
    with pytest.raises(DesignError, match=r"the effect ATT\(e=.*\) cannot be told from the fixed effects"):
        run(f, SunAbraham(), Cluster(), absorb=("own*t",))


@pytest.mark.parametrize("missing", [0.0, 0.1])
@pytest.mark.parametrize("estimator", [SunAbraham(), ExtendedTWFE(aggregate="cohort")], ids=repr)
def test_what_some_cells_rest_on_is_the_same_by_regressors(
    estimator: Any, missing: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From 100 cells on it is found from what rows put into the averages."""
    rng = np.random.default_rng(5)
    farm, year = np.repeat(np.arange(60), 8), np.tile(np.arange(2010, 2018), 60)
    first = np.array([2013.0, 2015.0, np.nan])[farm % 12 % 3]
    f = pd.DataFrame({"farm": farm, "year": year, "county": farm % 12, "first": first, "y": rng.normal(size=480)})
    panel = Panel.from_frame(f[rng.random(480) >= missing], unit="farm", time="year")
    found = []
    for some in (0, 10**9):
        monkeypatch.setattr(_saturated, "_SOME", some)
        one = estimate(
            panel, Design(outcome="y", adoption="first", assigned_at="county"), estimator, inference=Cluster()
        )
        assert (one.fit.parts[0].response is not None) == (some == 0)
        weights = np.eye(len(one.fit.terms))[[term.role == "effect" for term in one.fit.terms]]
        reliance = one.uncertainty.reliance
        found.append([(reliance.effective(row), reliance.expected_size(row)) for row in weights])
    np.testing.assert_allclose(found[0], found[1], rtol=1e-8)
