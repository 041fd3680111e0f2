"""Errors of factors are shared: by counties, by the sources that rest on one figure, and by processes that never met."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from evalkit.accounting import factor_set, factor_uncertainty, intensity, inventory
from evalkit.accounting.uncertainty import draw_factors
from evalkit.errors import DataError
from evalkit.tables.table import Provenance, Table

Z = 1.959963984540054
UNITS = {"diesel": "kg", "fertiliser_n": "kg", "manure_n": "kg", "straw_n": "kg"}
FIGURES = """
name = "own"
title = { en = "Own", zh = "自有" }
published_by = "office"
source = "letter"
status = "draft"
gases = ["CO2", "N2O"]
gwp = "AR5"
boundary = { en = "Farm gate.", zh = "农场。" }
[parameters.EF1]
status = "published"
value = 0.01
unit = "kg N2O-N/kg N"
range = [0.004, 0.016]
source = "letter"
[parameters.lost]
status = "published"
value = 0.2
unit = "ratio"
range = [0.1, 0.4]
source = "letter"
[factors.diesel]
status = "published"
value = 3.0
unit = "kg CO2/kg"
range = [2.4, 3.3]
source = "letter"
[factors.fertiliser_n]
status = "published"
unit = "kg N2O-N/kg N"
product = ["EF1"]
[factors.manure_n]
status = "published"
unit = "kg N2O-N/kg N"
product = ["EF1"]
[factors.straw_n]
status = "published"
unit = "kg N2O-N/kg N"
product = ["EF1", "lost"]
"""


@pytest.fixture
def own(tmp_path: Path) -> Any:
    (tmp_path / "own.toml").write_text(FIGURES, encoding="utf-8")
    return factor_set(tmp_path / "own.toml")


def table(**columns: Any) -> Table:
    frame = pd.DataFrame(columns)
    frame.index = pd.RangeIndex(2, len(frame) + 2, name="row")
    units = {name: unit for name, unit in UNITS.items() if name in columns}
    return Table("t.csv", frame, (Provenance("t.csv", "0" * 64),), units)


def counties(number: int) -> Table:
    rng = np.random.default_rng(2)
    use = {name: rng.uniform(50, 150, number) for name in UNITS}
    return table(county=[f"c{one}" for one in range(number)], year=[2020 + one % 2 for one in range(number)], **use)


def test_first_order_by_hand(own: Any) -> None:
    """Three sources share EF1: its errors add up; those of diesel, of EF1 and of what is lost add in squares."""
    made = inventory(
        table(county=["a"], diesel=[100.0], fertiliser_n=[50.0], manure_n=[20.0], straw_n=[30.0]), own, keys=("county",)
    )
    found = factor_uncertainty(made, own).frame.iloc[0]
    n2o = 44 / 28 * 265 * 0.01
    diesel, nitrogen, straw = 100 * 3.0, (50 + 20) * n2o, 30 * 0.2 * n2o
    assert found["emissions"] == pytest.approx(diesel + nitrogen + straw, rel=1e-12)
    of_diesel = diesel * (3.3 - 2.4) / 3.0
    of_ef1 = (nitrogen + straw) * (0.016 - 0.004) / 0.01
    of_lost = straw * (0.4 - 0.1) / 0.2
    by_hand = np.sqrt(of_diesel**2 + of_ef1**2 + of_lost**2) / (2 * Z)
    assert found["emissions_sd"] == pytest.approx(by_hand, rel=1e-12)
    apart = np.sqrt(of_diesel**2 + ((50 * n2o) ** 2 + (20 * n2o) ** 2 + straw**2) * 1.2**2 + of_lost**2) / (2 * Z)
    assert found["emissions_sd"] > 1.2 * apart  # what drawing each source by itself would give


def test_a_figure_keeps_its_value_and_its_range(own: Any) -> None:
    """Half of the draws lie below the value, 2.5 % beyond either end, on both scales."""
    ratios = draw_factors(("diesel", "fertiliser_n"), own, draws=200_000, seed=4)
    for at, (low, high) in enumerate(((2.4 / 3, 3.3 / 3), (0.4, 1.6))):
        assert np.quantile(ratios[at], (0.025, 0.5, 0.975)) == pytest.approx((low, 1, high), rel=0.01)
    dry = factor_set("ipcc_2019_soils_dry")  # a range that begins at 0
    drawn = draw_factors(("fertiliser_n",), dry, draws=200_000, seed=4)[0]
    assert np.quantile(drawn, (0.5, 0.975)) == pytest.approx((1, 0.011 / 0.005), rel=0.01)
    assert drawn.min() == 0
    assert (drawn == 0).mean() == pytest.approx(0.025, abs=0.002)


def test_sources_that_rest_on_one_figure_are_drawn_together(own: Any) -> None:
    fertiliser, manure, straw, diesel = draw_factors(
        ("fertiliser_n", "manure_n", "straw_n", "diesel"), own, draws=500, seed=1
    )
    np.testing.assert_array_equal(fertiliser, manure)
    assert np.corrcoef(np.log(fertiliser), np.log(straw))[0, 1] > 0.5
    assert abs(np.corrcoef(fertiliser, diesel)[0, 1]) < 0.2


def test_the_error_of_a_hundred_counties_is_not_a_tenth_of_that_of_one(own: Any) -> None:
    made = inventory(counties(100), own, keys=("county", "year"))
    each = factor_uncertainty(made, own, draws=4000, seed=3).frame
    whole = factor_uncertainty(made, own, by=(), draws=4000, seed=3).frame.iloc[0]
    relative = (each["emissions_sd"] / each["emissions"]).median()
    assert whole["emissions_sd"] / whole["emissions"] == pytest.approx(relative, rel=0.1)
    width = (whole["emissions_high"] - whole["emissions_low"]) / whole["emissions"]
    assert width == pytest.approx(
        ((each["emissions_high"] - each["emissions_low"]) / each["emissions"]).median(), rel=0.1
    )
    assert whole["emissions"] == pytest.approx(each["emissions"].sum(), rel=1e-12)
    by_year = factor_uncertainty(made, own, by=("year",), draws=4000, seed=3).frame
    assert by_year["year"].tolist() == [2020, 2021]
    assert by_year["emissions"].sum() == pytest.approx(whole["emissions"], rel=1e-12)
    # All move together, so that standard deviations to first order nearly add up.
    assert by_year["emissions_sd"].sum() == pytest.approx(whole["emissions_sd"], rel=0.01)


def test_draws_depend_on_the_seed_and_the_name_alone(own: Any, tmp_path: Path) -> None:
    """Another process, another table, other sources beside it, another order: the same errors."""
    here = draw_factors(("diesel",), own, draws=5, seed=9)[0].tolist()
    assert draw_factors(("manure_n", "diesel"), own, draws=5, seed=9)[1].tolist() == here
    assert draw_factors(("diesel",), own, draws=5, seed=8)[0].tolist() != here
    script = (
        "from evalkit.accounting import factor_set; from evalkit.accounting.uncertainty import draw_factors; import sys; "
        "print(draw_factors(('diesel',), factor_set(sys.argv[1]), draws=5, seed=9)[0].tolist())"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "own.toml")], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == str(here)
    made = inventory(counties(7), own, keys=("county", "year"))
    shuffled = Table("t", made.frame.sample(frac=1, random_state=1), made.provenance, made.units)
    columns = ["county", "emissions_low", "emissions_high"]
    one, other = (
        factor_uncertainty(each, own, seed=2).frame[columns].sort_values("county", ignore_index=True)
        for each in (made, shuffled)
    )
    pd.testing.assert_frame_equal(one, other, rtol=1e-12)


def test_the_uncertainty_of_intensities_is_that_of_emissions_over_output(own: Any) -> None:
    used = counties(5)
    made = inventory(used, own, keys=("county", "year"))
    output = Table(
        "o", used.frame[["county", "year"]].assign(output=[10.0, 20, 40, 50, np.nan]), used.provenance, {"output": "元"}
    )
    cei = intensity(made, output=output, per="output", factors=own, draws=500, seed=6)
    of_emissions = factor_uncertainty(made, own, draws=500, seed=6).frame
    for name in ("sd", "low", "high"):
        np.testing.assert_allclose(
            cei.frame[f"cei_{name}"], of_emissions[f"emissions_{name}"] / output.frame["output"], rtol=1e-12
        )
        assert cei.units[f"cei_{name}"] == "kg CO2e/yuan"
    assert np.isnan(cei.frame["cei_low"].iloc[-1])


def test_what_counts_as_certain_is_said() -> None:
    made = inventory(table(county=["a"], diesel=[100.0]), factor_set("literature"), keys=("county",))
    found = factor_uncertainty(made, factor_set("literature"))
    assert "no range is printed for diesel, which count as certain" in found.provenance[-1].notes
    assert "activity data and warming potentials count as certain" in found.provenance[-1].notes
    row = found.frame.iloc[0]
    assert (row["emissions_sd"], row["emissions_low"], row["emissions_high"]) == (0, row["emissions"], row["emissions"])


def test_another_set_or_key_is_refused(own: Any) -> None:
    made = inventory(counties(3), own, keys=("county", "year"))
    with pytest.raises(DataError, match="the set 'literature' has no factor for 'fertiliser_n'"):
        factor_uncertainty(made, factor_set("literature"))
    with pytest.raises(DataError, match="'province' is no key of the inventory"):
        factor_uncertainty(made, own, by=("province",))
    with pytest.raises(DataError, match="draws = 0"):
        factor_uncertainty(made, own, draws=0)
