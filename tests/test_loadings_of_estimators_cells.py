"""What estimators that are no regression rest on, against their own estimates, estimates anew after shocks, and a known table."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from evalkit import Design, Panel, collapse
from evalkit.estimators import CallawaySantAnna, ExtendedTWFE, Split, SyntheticControl, SyntheticDID
from evalkit.inference import Cluster
from evalkit.numerics.arrays import Floats, Ints
from evalkit.numerics.loadings import ShockMap
from evalkit.results.clusters import assignment
from evalkit.results.estimation import Estimator, Specification
from evalkit.results.loadings import Loadings, _RefitResponse, loadings_of

YEARS = 5


def world(farms: int = 1, missing: float = 0.0) -> pd.DataFrame:
    """Seven counties in five years, adopting in 3 (two), 4 and 5 (one): covariate, weights of farms and of rows, noise."""
    rng = np.random.default_rng(20)
    first = [3.0, 3.0, 4.0, 5.0, np.nan, np.nan, np.nan]
    county = np.repeat(np.arange(7), farms * YEARS)
    farm = np.repeat(np.arange(7 * farms), YEARS)
    f = pd.DataFrame({"county": county, "farm": farm, "year": np.tile(np.arange(1, YEARS + 1), 7 * farms)})
    f["first"] = np.array(first)[county]
    f["x"] = rng.normal(size=7 * farms)[farm] + 0.3 * rng.normal(size=len(f))
    f["size"] = rng.uniform(0.5, 2.0, 7 * farms)[farm]
    f["hours"] = rng.uniform(0.5, 2.0, len(f))
    f["y"] = rng.normal(size=len(f)) + 0.5 * f["x"] + (f["year"] >= f["first"])
    return f[rng.random(len(f)) >= missing].reset_index(drop=True)


def rest(f: pd.DataFrame, estimator: Estimator, *, unit: str | None = "farm", **design: Any) -> Loadings:
    made = Design(outcome="y", adoption="first", assigned_at="county", **design)
    return rest_of(Panel.from_frame(f, unit=unit, time="year"), made, estimator)


def rest_of(panel: Panel, design: Design, estimator: Estimator) -> Loadings:
    fit = estimator.fit(panel, design)
    assert all(part.response is not None for part in fit.parts)
    return loadings_of(fit, Specification(panel, design, estimator, Cluster()), assignment(fit))


def whole(of: ShockMap) -> Floats:
    lines = of.functionals.toarray() if sparse.issparse(of.functionals) else of.functionals
    found: Floats = of.own.toarray() - of.pull @ lines
    return found


def assert_equals_refits(found: Loadings, spec: Specification) -> None:
    """Compare loadings, and maps of the first and last coefficient and of an uneven combination.

    Outcomes and shocks are of size 1: two estimates a hundredth apart round to about 1e-13.
    """
    for part, response, cells in zip(found.fit.parts, found.responses, found.cells, strict=True):
        anew = _RefitResponse(part, spec, tuple(found.fit.terms[p].name for p in part.positions))
        m = len(part.positions)
        np.testing.assert_allclose(response.loadings(cells), anew.loadings(cells), rtol=0, atol=1e-10)
        for weights in (np.eye(m)[0], np.eye(m)[-1], np.linspace(1.0, 2.0, m) ** 2):
            one, other = response.shock_map(weights, cells), anew.shock_map(weights, cells)
            assert one is not None
            assert other is not None
            np.testing.assert_allclose(whole(one), whole(other), rtol=0, atol=1e-10)


def compare(f: pd.DataFrame, estimator: Estimator, *, unit: str | None = "farm", **design: Any) -> None:
    made = Design(outcome="y", adoption="first", assigned_at="county", **design)
    spec = Specification(Panel.from_frame(f, unit=unit, time="year"), made, estimator, Cluster())
    assert_equals_refits(rest_of(spec.panel, made, estimator), spec)


def group_times(**settings: Any) -> CallawaySantAnna:
    return CallawaySantAnna(**settings)


@pytest.mark.parametrize("missing", [0.0, 0.1])
@pytest.mark.parametrize(
    ("settings", "design"),
    [
        ({"aggregate": "simple"}, {"weights": "hours"}),
        ({"aggregate": "dynamic", "base": "universal", "min_e": -3}, {"weights": "size"}),
        ({"aggregate": "dynamic", "balance": 1}, {"comparison": "never_treated"}),
        ({"aggregate": "group"}, {"anticipation": 1}),
        ({"aggregate": "calendar"}, {}),
        ({"aggregate": "group_time"}, {"anticipation": 1, "comparison": "never_treated", "weights": "hours"}),
    ],
)
def test_group_times_without_covariates(settings: dict[str, Any], design: dict[str, Any], missing: float) -> None:
    compare(world(2, missing), group_times(**settings), **design)


@pytest.mark.parametrize(
    ("method", "aggregate", "missing", "design"),
    [
        ("dr", "simple", 0.0, {}),
        ("dr", "calendar", 0.05, {"weights": "hours"}),
        ("reg", "group", 0.05, {}),
        ("ipw", "simple", 0.0, {"weights": "size"}),
    ],
)
def test_group_times_with_covariates(method: Any, aggregate: Any, missing: float, design: dict[str, Any]) -> None:
    f = world(3, missing)
    f["x"] *= 0.3  # propensities stay away from 0 and 1
    compare(f, group_times(aggregate=aggregate, method=method), covariates=("x",), **design)


@pytest.mark.parametrize("aggregate", ["simple", "dynamic", "group_time"])
def test_repeated_cross_sections(aggregate: Any) -> None:
    compare(world(3, 0.2), group_times(aggregate=aggregate), unit=None, weights="hours")


@pytest.mark.parametrize(("method", "aggregate"), [("dr", "simple"), ("reg", "group")])
def test_repeated_cross_sections_with_covariates(method: Any, aggregate: Any) -> None:
    f = world(4)
    f["x"] *= 0.3
    compare(f, group_times(aggregate=aggregate, method=method), unit=None, covariates=("x",), weights="hours")


def test_parts_of_a_split_answer_for_themselves() -> None:
    f = world(4)
    f["large"] = f["farm"] % 2
    compare(f, Split(by="large", estimator=group_times()))


def test_collapsed_rows_answer_as_the_rows_that_they_stand_for() -> None:
    f = world(3)
    design = Design(outcome="y", adoption="first", assigned_at="county")
    rows = rest_of(Panel.from_frame(f, unit="farm", time="year"), design, group_times(aggregate="dynamic"))
    few = rest_of(collapse(f, design, unit="farm", time="year"), design, group_times(aggregate="dynamic"))
    assert len(few.fit.parts[0].sample.rows) < len(f)
    np.testing.assert_allclose(few.values, rows.values, atol=1e-14)
    weights = np.eye(len(rows.fit.terms))[0]
    assert few.expected_size(weights) == pytest.approx(rows.expected_size(weights), rel=1e-12)


def test_functionals_without_their_zeros_say_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    found = rest(world(2, 0.1), group_times(), weights="hours")
    dense = found.shock_map(np.ones(1))
    monkeypatch.setattr("evalkit.estimators.callaway_santanna.response._DENSE", 0)
    thin = found.shock_map(np.ones(1))
    assert dense is not None
    assert thin is not None
    assert sparse.issparse(thin.functionals)
    assert not sparse.issparse(dense.functionals)
    np.testing.assert_allclose(whole(thin), whole(dense), atol=1e-15)
    assert thin.moments() == pytest.approx(dense.moments(), rel=1e-12)


SYNTHETIC = [
    estimator(aggregate=aggregate)
    for estimator in (SyntheticControl, SyntheticDID)
    for aggregate in ("simple", "cohort", "dynamic")
]


def linear_in_outcomes() -> list[tuple[Estimator, dict[str, Any]]]:
    cells: list[CallawaySantAnna] = [group_times(aggregate=one) for one in ("simple", "dynamic", "group", "calendar")]
    adjusted = [
        (one, {"covariates": ("x",)})
        for one in (group_times(method="reg"), group_times(aggregate="group_time", method="reg"))
    ]
    return [*((one, {"weights": "hours"}) for one in cells), *adjusted, *((one, {}) for one in SYNTHETIC)]


@pytest.mark.parametrize(("estimator", "design"), linear_in_outcomes())
def test_products_with_outcomes_sum_to_the_estimate(estimator: Estimator, design: dict[str, Any]) -> None:
    f = world()
    if design.get("covariates"):
        f = f[f["county"] != 5]
        f["x"] = f["x"] + np.arange(len(f)) % 3
    f["y"] = f["y"] + 10.0
    found = rest(f, estimator, unit="farm", **design)
    outcomes = f["y"].to_numpy().reshape(found.values.shape[:2])
    np.testing.assert_allclose(np.einsum("gtk,gt->k", found.values, outcomes), found.fit.coefficients, atol=1e-11)


@pytest.mark.parametrize("estimator", SYNTHETIC)
@pytest.mark.parametrize("design", [{"weights": "hours"}, {"anticipation": 1}])
def test_synthetic_units_answer_to_means_of_counties(estimator: Estimator, design: dict[str, Any]) -> None:
    f = world(3)
    if "anticipation" in design:
        f["first"] = f["first"] + 1
    found = rest(f, estimator, **design)
    of_row = f["hours"] if "weights" in design else f["hours"] ** 0
    sums = (f["y"] * of_row).groupby([f["county"], f["year"]]).sum() / of_row.groupby([f["county"], f["year"]]).sum()
    part, shape = found.fit.parts[0], found.values.shape[:2]
    here = np.unique(part.sample.cluster), np.unique(part.sample.period)
    means = sums.unstack().to_numpy()[np.ix_(*here)].reshape(shape)
    np.testing.assert_allclose(np.einsum("gtk,gt->k", found.values, means), found.fit.coefficients, atol=1e-12)
    assert found.shock_map(np.ones(len(found.fit.terms))) is None
    assert np.isnan(found.expected_size(np.eye(len(found.fit.terms))[0]))


def poisson_world(noise: float, farms: int, missing: float) -> pd.DataFrame:
    f, rng = world(farms, missing), np.random.default_rng(3)
    of_farm, of_year = rng.normal(0, 0.5, 7 * farms), rng.normal(0, 0.3, 7)
    lift = np.where(f["year"] >= f["first"], 0.2 + 0.1 * (f["year"] - f["first"]), 0.0)
    f["y"] = np.exp(1 + of_farm[f["farm"]] + of_year[f["year"]] + lift + noise * rng.normal(size=len(f)))
    f["region"] = 10 * (f["county"] % 2) + f["year"] // 3
    return f


def derivatives(found: Loadings, spec: Specification, shocks: Ints) -> tuple[Floats, Floats]:
    """Derivatives of coefficients (S, k) and of the clusters' influence (S, G, k) to some shocks, by central differences."""
    (part,), (cells,) = found.fit.parts, found.cells
    step, moved = 1e-4, []
    for shock in shocks:
        both = []
        for sign in (step, -step):
            outcome = spec.panel.frame["y"].to_numpy().copy()
            outcome[part.sample.rows[cells.code == shock]] += sign
            design = replace(spec.design, outcome="shocked")
            fit = spec.estimator.fit(spec.panel.with_column("shocked", outcome), design)
            influence = fit.parts[0].influence.sum_within(cells.cluster, cells.n_clusters)
            both.append(np.vstack([fit.coefficients[part.positions], influence]))
        moved.append((both[0] - both[1]) / (2 * step))
    every = np.array(moved)
    return every[:, 0], every[:, 1:]


SHOCKS = np.array([0, 8, 12, 21, 34])  # of clusters and periods of every kind


def assert_near(found: Floats, moved: Floats) -> None:
    """Differences round to 1e-9; what they leave out is of the size of a third derivative, times 1e-8."""
    np.testing.assert_allclose(found, moved, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    ("farms", "missing", "design"),
    [
        (4, 0.0, {"weights": "hours"}),  # every unit is a pattern
        (4, 0.0, {}),  # a pattern stands for several units
        (2, 0.1, {"absorb": ("region",)}),
        (1, 0.1, {"covariates": ("x",)}),
    ],
)
def test_poisson_answers_exactly_where_outcomes_are_means(farms: int, missing: float, design: dict[str, Any]) -> None:
    made = Design(outcome="y", adoption="first", assigned_at="county", **design)
    panel = Panel.from_frame(poisson_world(0.0, farms, missing), unit="farm", time="year")
    spec = Specification(panel, made, ExtendedTWFE(aggregate="dynamic", family="poisson"), Cluster())
    found = rest_of(panel, made, spec.estimator)
    moved, influence = derivatives(found, spec, SHOCKS)
    m = moved.shape[1]
    assert_near(found.values.reshape(-1, m)[SHOCKS], moved)
    for weights in (np.eye(m)[0], np.linspace(1.0, 2.0, m)):
        one = found.shock_map(weights)
        assert one is not None
        assert_near(whole(one)[:, SHOCKS], (influence @ weights).T)


def test_poisson_with_noise_is_exact_in_loadings_and_near_in_what_the_variance_sees() -> None:
    made = Design(outcome="y", adoption="first", assigned_at="county", weights="hours")
    panel = Panel.from_frame(poisson_world(0.3, 1, 0.0), unit="farm", time="year")
    spec = Specification(panel, made, ExtendedTWFE(family="poisson"), Cluster())
    found = rest_of(panel, made, spec.estimator)
    moved, influence = derivatives(found, spec, SHOCKS)
    assert_near(found.values.reshape(-1, 1)[SHOCKS], moved)
    one = found.shock_map(np.ones(1))
    assert one is not None
    # What v moves is left out: of the order of the noise (.3) in L, of its square in the trace.
    assert float((whole(one)[:, SHOCKS] ** 2).sum()) == pytest.approx(float((influence**2).sum()), rel=0.3**2)
    outcomes = panel.frame["y"].to_numpy().reshape(found.values.shape[:2])
    assert float(np.sum(found.values[:, :, 0] * outcomes)) == pytest.approx(found.fit.coefficients[0], rel=1e-9)


CASTLE = {6: 1, 7: 13, 8: 4, 9: 2, 10: 1}


@pytest.mark.parametrize(
    ("cohorts", "never", "periods", "aggregate", "term", "size", "effective", "seen"),
    [
        (CASTLE, 29, 11, "simple", "ATT", 0.056, 31.6, 0.96),
        (CASTLE, 29, 11, "dynamic", "ATT(e=4)", 0.060, 26.0, 0.94),
        (CASTLE, 29, 11, "dynamic", "ATT(e=5)", 0.718, 1.1, 0.03),
        (CASTLE, 29, 11, "group", "ATT(g=9)", 0.339, 2.3, 0.53),
        (dict.fromkeys(range(5, 10), 1), 15, 10, "simple", "ATT", 0.135, 4.3, 0.79),
        (dict(zip(range(2, 8), (1, 2, 3, 5, 8, 8), strict=True)), 13, 9, "simple", "ATT", 0.052, 33.3, 0.97),
        (dict.fromkeys(range(2, 11), 2), 22, 11, "simple", "ATT", 0.066, 14.6, 0.95),
        (dict.fromkeys(range(6, 10), 5), 1, 10, "simple", "ATT", 0.242, 2.0, 0.32),
    ],
)
def test_known_designs(
    cohorts: dict[int, int],
    never: int,
    periods: int,
    aggregate: Any,
    term: str,
    size: float,
    effective: float,
    seen: float,
) -> None:
    """Figures of an independent implementation (its own estimator, influence and Gram matrix), to the digits printed there."""
    first = np.repeat([*map(float, cohorts), np.nan], [*cohorts.values(), never])
    n = len(first)
    f = pd.DataFrame({"county": np.repeat(np.arange(n), periods), "year": np.tile(np.arange(1, periods + 1), n)})
    f["first"] = np.repeat(first, periods)
    f["y"] = np.random.default_rng(1).normal(size=len(f))
    found = rest(f, group_times(aggregate=aggregate), unit="county")
    weights = np.eye(len(found.fit.terms))[[one.name for one in found.fit.terms].index(term)]
    moments = found.shock_map(weights)
    assert moments is not None
    assert found.expected_size(weights) == pytest.approx(size, abs=0.00051)
    assert found.effective(weights) == pytest.approx(effective, abs=0.051)
    assert moments.moments()[0] / found.variances(weights).sum() == pytest.approx(seen, abs=0.0051)
