"""Collapse equals rows, exactly, and leaves as rows what it cannot carry."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import evalkit as ek
from evalkit.estimators import EventStudy, Split, TwoWayFE
from evalkit.inference import Classical, Cluster, Robust

JIANGXI = Path(__file__).parents[1] / "data/raw/jiangxi_insurance/cai2016_jiangxi_tobacco_insurance.csv.gz"
INFERENCES = (
    Classical(),
    Robust(),
    Cluster(),
    Cluster(correction="none"),
    Cluster(correction="all_effects"),
    Cluster(("county", "year")),
)


def households() -> pd.DataFrame:
    frame = pd.read_csv(JIANGXI)
    frame["first_year"] = np.where(frame["county"] == 3, 2003, np.nan)
    return frame


def staggered(seed: int = 3, missing: float = 0.15) -> pd.DataFrame:
    """400 farms in 12 counties, three cohorts, unbalanced, with integer weights (synthetic)."""
    rng = np.random.default_rng(seed)
    farm, year = np.repeat(np.arange(400), 7), np.tile(np.arange(2015, 2022), 400)
    county = farm % 12
    first = np.array([2018.0, 2019.0, 2020.0, np.nan])[county % 4]
    y = rng.normal(size=400)[farm] + 0.4 * (year >= first) + rng.normal(size=12)[county] * (year - 2015) / 6
    frame = pd.DataFrame({"farm": farm, "year": year, "county": county, "first": first, "big": farm // 12 % 2})
    frame["y"] = y + rng.normal(size=len(frame))
    frame["w"] = 1.0 + farm % 3
    frame["price"] = rng.normal(size=(12, 7))[county, year - 2015]
    frame.loc[rng.random(len(frame)) < missing / 2, "y"] = np.nan
    return frame[rng.random(len(frame)) > missing]


def assert_same(rows: ek.Estimate, cells: ek.Estimate) -> None:
    # Both are sums of the same numbers in another order: agreement to rounding, taken at 1e-10 of each figure.
    np.testing.assert_allclose(cells.params, rows.params, rtol=1e-10, atol=1e-13)
    # Covariances against the largest: where negative eigenvalues are set to 0, rounding spreads over all entries.
    np.testing.assert_allclose(cells.vcov(), rows.vcov(), rtol=1e-9, atol=1e-9 * rows.vcov().abs().to_numpy().max())
    np.testing.assert_allclose(cells.uncertainty.df, rows.uncertainty.df)
    columns = ["n_obs", "n_units", "n_clusters", "n_treated_clusters", "smallest_p"]
    assert cells.glance()[columns].equals(rows.glance()[columns])


@pytest.mark.parametrize("inference", INFERENCES, ids=repr)
@pytest.mark.parametrize(
    "estimator",
    [TwoWayFE(), EventStudy(leads=3, lags=4), Split(by="sector", estimator=TwoWayFE())],
    ids=lambda e: type(e).__name__,
)
def test_cells_equal_rows_on_real_households(estimator: object, inference: object) -> None:
    design = ek.Design(outcome="checksaving_ratio", adoption="first_year", assigned_at="county")
    rows = ek.Panel.from_frame(households(), unit="hhno", time="year")
    cells = ek.collapse(households(), design, unit="hhno", time="year", by=("sector",))
    assert len(cells) < len(rows) / 20
    assert_same(
        ek.estimate(rows, design, estimator, inference=inference),
        ek.estimate(cells, design, estimator, inference=inference),
    )


@pytest.mark.parametrize("inference", [Classical(), Robust(), Cluster()], ids=repr)
@pytest.mark.parametrize(
    "extra",
    [{}, {"weights": "w"}, {"covariates": ("price",)}, {"absorb": ("big*year",)}],
    ids=lambda e: next(iter(e), "plain"),
)
def test_cells_equal_rows_when_staggered_unbalanced_and_weighted(extra: dict[str, object], inference: object) -> None:
    design = ek.Design(outcome="y", adoption="first", assigned_at="county", **extra)
    rows = ek.Panel.from_frame(staggered(), unit="farm", time="year")
    cells = ek.collapse(staggered(), design, unit="farm", time="year")
    assert_same(
        ek.estimate(rows, design, TwoWayFE(), inference=inference),
        ek.estimate(cells, design, TwoWayFE(), inference=inference),
    )


def test_a_large_constant_costs_no_digits() -> None:
    frame = staggered()
    design = ek.Design(outcome="y", adoption="first", assigned_at="county")
    shifted = frame.assign(y=frame["y"] + 1e9)
    one, other = (
        ek.estimate(ek.collapse(f, design, unit="farm", time="year"), design, TwoWayFE(), inference=Cluster())
        for f in (frame, shifted)
    )
    # Adding 1e9 to values of order 1 rounds each of them at 1e-7; means of many rounded values differ by less.
    assert abs(one.params["ATT"] - other.params["ATT"]) < 1e-7


def test_the_ledger_says_what_was_left_out() -> None:
    frame = staggered()
    design = ek.Design(outcome="y", adoption="first", assigned_at="county")
    cells = ek.collapse(frame, design, unit="farm", time="year")
    (line,) = cells.ledger
    assert (line.rows, str(line.reason)) == (int(frame["y"].isna().sum()), "y is missing")
    assert "collapsed" in str(cells.notes[-1])


def test_the_input_is_not_modified() -> None:
    frame = staggered()
    before = frame.copy()
    ek.collapse(frame, ek.Design(outcome="y", adoption="first", assigned_at="county"), unit="farm", time="year")
    pd.testing.assert_frame_equal(frame, before)


@pytest.mark.parametrize(
    ("change", "design", "says"),
    [
        ({"w": lambda f: f["year"] - 2014.0}, {"weights": "w"}, "'w' changes within a unit"),
        ({"x": lambda f: f["farm"] * 0.1}, {"covariates": ("x",)}, "'x' differs between units of one cell"),
        ({"s": lambda f: f["year"] % 2}, {"absorb": ("s*county",)}, "'s' changes within a unit"),
    ],
)
def test_what_cells_cannot_carry_is_left_as_rows(change: dict, design: dict, says: str) -> None:
    frame = staggered().assign(**change)
    chosen = ek.Design(outcome="y", adoption="first", assigned_at="county", **design)
    panel = ek.collapse(frame, chosen, unit="farm", time="year")
    (note,) = panel.notes
    assert says in str(note)
    assert len(panel) == len(frame)
    rows = ek.Panel.from_frame(frame, unit="farm", time="year")
    assert_same(ek.estimate(rows, chosen, TwoWayFE()), ek.estimate(panel, chosen, TwoWayFE()))
