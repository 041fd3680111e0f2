"""How shocks reach imputation, two stages and the stack: as estimating anew says, and as a program of its own found."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from evalkit import Design, Panel, collapse
from evalkit.estimators import Imputation, Split, Stacked, TwoStage
from evalkit.numerics.arrays import Floats
from evalkit.numerics.loadings import ShockMap
from evalkit.results.clusters import assignment, cluster_by
from evalkit.results.estimation import Specification
from evalkit.results.fit import Fit, headline_effects
from evalkit.results.loadings import Loadings, _RefitResponse, loadings_of

FIRST = (2012, 2012, 2013, 2013, 0, 0, 0)  # of seven counties
LATE = (2012, 2012, 2013, 2013, 2014, 2014, 2014)  # all in the end: the last cohort is comparison until it adopts
ONE = (2013, 2013, 2013, 0, 0, 0, 0)


def farms(first: tuple[int, ...] = FIRST, lost: float = 0.0, seed: int = 1) -> pd.DataFrame:
    """Two or three farms in each county over 2010-2014, some rows lost, weights and covariates that vary by row."""
    rng = np.random.default_rng(seed)
    county = np.repeat(np.arange(7), [2, 3, 2, 3, 2, 2, 3])
    f = pd.DataFrame(
        {"farm": np.repeat(np.arange(len(county)), 5), "year": np.tile(np.arange(2010, 2015), len(county))}
    )
    f["county"] = county[f["farm"]]
    f["region"], f["sector"] = np.array([0, 1, 0, 2, 1, 2, 3])[f["county"]], f["farm"] % 2
    f["first"] = np.array(first)[f["county"]]
    f["x"], f["z"] = rng.normal(size=(2, len(f)))
    f["w"] = rng.uniform(0.5, 2.0, len(f))
    f["large"] = (f["farm"] % 3 > 0).astype(int)
    f["y"] = 1e3 + rng.normal(size=len(f)) + f["x"] + (f["first"] > 0) * (f["year"] >= f["first"])
    kept = rng.uniform(size=len(f)) >= lost
    return f[kept].reset_index(drop=True)


def prepare(estimator: Any, f: pd.DataFrame, unit: str | None = "farm", **design: Any) -> tuple[Specification, Fit]:
    settings = {"outcome": "y", "adoption": "first", "assigned_at": "county", **design}
    panel = Panel.from_frame(f, unit=unit, time="year")
    spec = Specification(panel, Design(**settings), estimator, inference=None)  # type: ignore[arg-type]  # none is asked
    return spec, estimator.fit(panel, spec.design)


def dense(one: ShockMap | None) -> Floats:
    assert one is not None
    functionals = one.functionals if isinstance(one.functionals, np.ndarray) else one.functionals.toarray()
    whole: Floats = one.own.toarray() - one.pull @ functionals
    return whole


def assert_as_estimated_anew(spec: Specification, fit: Fit, by: str | None = None) -> None:
    """Loadings, and the map from shocks to the clusters' influence on each coefficient and on a sum of all of them."""
    way = assignment(fit) if by is None else cluster_by(by, fit, spec)
    found = loadings_of(fit, spec, way)
    for part, response, cells in zip(fit.parts, found.responses, found.cells, strict=True):
        assert part.response is response
        anew = _RefitResponse(part, spec, tuple(fit.terms[p].name for p in part.positions))
        expected = anew.loadings(cells)
        assert np.abs(response.loadings(cells) - expected).max() < 1e-8 * np.abs(expected).max()
        m = len(part.positions)
        for weights in (*np.eye(m), np.random.default_rng(2).normal(size=m)):
            whole = dense(anew.shock_map(weights, cells))
            assert np.abs(dense(response.shock_map(weights, cells)) - whole).max() < 1e-8 * np.abs(whole).max()


SIMPLE, PATH = Imputation(), Imputation(aggregate="dynamic", leads=1)
GRID: list[tuple[Any, dict[str, Any], dict[str, Any]]] = [
    (SIMPLE, {}, {}),
    (PATH, {"lost": 0.1}, {"weights": "w", "covariates": ("x", "z")}),
    (PATH, {"lost": 0.1}, {"absorb": ("sector*year",)}),
    (Imputation(aggregate="cohort"), {"lost": 0.15}, {"weights": "w", "anticipation": 1}),
    (Imputation(aggregate="cohort_time"), {"lost": 0.1}, {"covariates": ("x",)}),
    (Imputation(aggregate="dynamic"), {"first": LATE}, {"weights": "w", "anticipation": 1}),
    (Imputation(average_by="cohort", leave_out=True), {"lost": 0.1}, {"weights": "w", "covariates": ("x",)}),
    (Imputation(aggregate="dynamic", average_by="event_time"), {"first": LATE, "lost": 0.1}, {}),
    (SIMPLE, {"first": ONE}, {"comparison": "never_treated", "absorb": ("sector",), "covariates": ("x",)}),
    (TwoStage(), {"lost": 0.15}, {"weights": "w", "covariates": ("x", "z")}),
    (TwoStage(aggregate="dynamic", leads=2), {"lost": 0.1}, {"covariates": ("x",), "absorb": ("sector*year",)}),
    (TwoStage(aggregate="dynamic", leads=1), {"first": LATE}, {"weights": "w", "anticipation": 1}),
    (Stacked(leads=2, lags=1), {}, {}),
    (Stacked(leads=2, lags=1), {"lost": 0.05}, {"weights": "w", "covariates": ("x", "z")}),
    (Stacked(leads=2, lags=0), {"first": LATE}, {"anticipation": 1, "absorb": ("sector*year",)}),
    (Stacked(leads=1, lags=1), {}, {"comparison": "never_treated", "weights": "w"}),
]


@pytest.mark.parametrize(("estimator", "rows", "design"), GRID, ids=str)
def test_is_what_estimating_anew_with_each_shock_says(estimator: Any, rows: Any, design: Any) -> None:
    assert_as_estimated_anew(*prepare(estimator, farms(**rows), **design))


@pytest.mark.parametrize("estimator", [Imputation(leave_out=True), Stacked(leads=1, lags=1)], ids=str)
@pytest.mark.parametrize("by", ["farm", "region"])
def test_clusters_may_be_finer_or_coarser_than_the_assignment(estimator: Any, by: str) -> None:
    assert_as_estimated_anew(*prepare(estimator, farms(lost=0.1)), by)


@pytest.mark.parametrize("estimator", [PATH, TwoStage(), Stacked(leads=1, lags=1)], ids=str)
def test_collapsed_rows_cross_sections_and_subgroups(estimator: Any) -> None:
    f = farms(lost=0.05)
    spec, fit = prepare(estimator, f, unit=None)
    assert_as_estimated_anew(spec, fit)
    spec, fit = prepare(Split(by="large", estimator=estimator), f)
    assert len(fit.parts) == 2
    assert_as_estimated_anew(spec, fit)
    cells = collapse(f, spec.design, unit="farm", time="year")
    one, collapsed = (replace(spec, panel=panel, estimator=estimator) for panel in (spec.panel, cells))
    fits = [s.estimator.fit(s.panel, s.design) for s in (one, collapsed)]
    assert_as_estimated_anew(collapsed, fits[1])
    rows, found = (loadings_of(fit, s, assignment(fit)) for s, fit in zip((one, collapsed), fits, strict=True))
    assert np.abs(rows.values - found.values).max() < 1e-12
    for weights in np.eye(len(fits[0].terms))[fits[0].parts[0].positions]:
        assert np.abs(dense(rows.shock_map(weights)) - dense(found.shock_map(weights))).max() < 1e-12


@pytest.mark.parametrize("estimator", [PATH, TwoStage(aggregate="dynamic", leads=2), Stacked(leads=1, lags=1)], ids=str)
@pytest.mark.parametrize("weights", [None, "w"])
def test_products_with_outcomes_sum_to_the_coefficients(estimator: Any, weights: str | None) -> None:
    f = farms().drop_duplicates(["county", "year"])
    f["y"] -= f["y"].mean()
    spec, fit = prepare(estimator, f, unit="county", weights=weights)
    found = loadings_of(fit, spec, assignment(fit))
    (part,), (cells,) = fit.parts, found.cells
    outcome = cells.sum(part.sample.outcome)
    assert (
        np.abs(np.einsum("s,sk->k", outcome, found.values.reshape(len(outcome), -1)) - fit.coefficients).max() < 1e-12
    )


def judge(estimator: Any, periods: int, cohorts: list[tuple[int, int]], never: int) -> tuple[float, float, float]:
    """Expected size, effective clusters and share seen of one county each, so many in each cohort (counties, period)."""
    first = np.repeat([0, *(2000 + at for _, at in cohorts)], [never, *(n for n, _ in cohorts)])
    n = len(first)
    f = pd.DataFrame({"county": np.repeat(np.arange(n), periods), "year": np.tile(2000 + np.arange(periods), n)})
    f["first"] = first[f["county"]]
    f["y"] = np.random.default_rng(3).normal(size=len(f))
    spec, fit = prepare(estimator, f, unit="county")
    found: Loadings = loadings_of(fit, spec, assignment(fit))
    ((_, weights),) = headline_effects(fit)
    mapped = found.shock_map(weights)
    assert mapped is not None
    share = mapped.moments()[0] / found.variances(weights).sum()
    return found.expected_size(weights), found.effective(weights), share


CASTLE = (11, [(1, 5), (13, 6), (4, 7), (2, 8), (1, 9)], 29)
FIVE = (8, [(1, 2), (1, 3), (1, 4), (1, 5), (1, 6)], 15)


@pytest.mark.parametrize(
    ("design", "size", "effective", "share"),
    [
        (CASTLE, 0.069, 38.9, 0.85),
        (FIVE, 0.419, 4.6, 0.15),
        ((8, [(1, 3), (1, 4), (5, 5), (1, 6)], 30), 0.185, 9.0, 0.49),
        ((11, [(60, 5), (1, 8)], 60), 0.051, 121.0, 0.98),
    ],
)
def test_imputation_in_designs_whose_sizes_were_simulated(
    design: Any, size: float, effective: float, share: float
) -> None:
    """To the digits (the share: to a unit of them) that a program of its own printed.

    In its 4,000 draws of each design .071, .425, .171 and .055 were rejected.
    """
    found = judge(Imputation(), *design)
    assert found[0] == pytest.approx(size, abs=5.1e-4)
    assert found[1] == pytest.approx(effective, abs=0.051)
    assert found[2] == pytest.approx(share, abs=0.01)


def test_stack_rests_on_as_many_counties_as_was_simulated() -> None:
    assert judge(Stacked(leads=2, lags=2), *CASTLE)[1] == pytest.approx(31.1, abs=0.05)
