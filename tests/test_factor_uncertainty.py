"""The uncertainty of factors: to first order by hand, by Monte Carlo against printed ranges, drawn once for a whole account."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from evalkit import steps
from evalkit.accounting import FactorSet, factor_set, factor_uncertainty, intensity, inventory
from evalkit.accounting.uncertainty import draw_factors
from evalkit.errors import DataError
from evalkit.tables.table import Provenance, Table

Z = 1.959963984540054  # the 97.5 % point of the normal
# EF1 of dry soils, 0.005 (0 to 0.011), is shared by three sources; of the first, 0.11 are volatilised, times EF4, the same.
DRY = factor_set("ipcc_2019_soils_dry")
SOILS = ("fertiliser_n", "manure_n", "straw_n")
KG = 44 / 28 * 273  # kg CO2e a kg of N2O-N, AR6


def table(units: dict[str, str], **columns: list[Any]) -> Table:
    frame = pd.DataFrame(columns)
    frame.index = pd.RangeIndex(2, len(frame) + 2, name="row")
    return Table("farms.csv", frame, (Provenance("farms.csv", "0" * 64),), units)


def soils(**columns: list[Any]) -> Table:
    given = [one for one in SOILS if one in columns]
    rows = len(columns[given[0]])
    keys = {key: columns.pop(key) for key in list(columns) if key not in SOILS} or {"county": list(range(rows))}
    made = table(dict.fromkeys(given, "kg"), **keys, **columns)
    return inventory(
        made, DRY, keys=tuple(keys), leave_out=("fertiliser_n_deposition_n2o",) if "fertiliser_n" in given else ()
    )


def own(folder: Path, factors: str) -> FactorSet:
    path = folder / "own.toml"
    head = 'name = "office"\ntitle = { en = "Office", zh = "本单位" }\npublished_by = "office"\n'
    head += 'source = "letter"\nstatus = "draft"\n'
    head += 'gases = ["CO2"]\nboundary = { en = "Farm gate.", zh = "农场边界。" }\n'
    path.write_text(head + factors, encoding="utf-8")
    return factor_set(path)


def diesel(ends: str) -> str:
    return f'[factors.diesel]\nstatus = "published"\nvalue = 3\nunit = "kg CO2/kg"\nrange = {ends}\nsource = "letter"\n'


# --- to first order


def test_a_parameter_that_three_sources_share_adds_up_linearly() -> None:
    """(0.011 - 0) / (2 × 1.96 × 0.005) = 56.1 % of the sum of all three, not of the root of their squares."""
    found = factor_uncertainty(soils(fertiliser_n=[100.0], manure_n=[40.0], straw_n=[60.0]), DRY).frame
    relative = 0.011 / (2 * Z * 0.005)
    together = (100 + 40 + 60) * 0.005 * KG
    assert found["emissions"].iloc[0] == pytest.approx(together, rel=1e-12)
    assert found["emissions_sd"].iloc[0] == pytest.approx(relative * together, rel=1e-12)
    in_squares = relative * math.sqrt(100**2 + 40**2 + 60**2) * 0.005 * KG
    assert found["emissions_sd"].iloc[0] > 1.6 * in_squares  # 200 over 123.3


def test_different_figures_add_in_squares_and_the_powers_count() -> None:
    """Direct emissions of 100 kg N, and 0.11 × EF4 of the same: two figures, each of 56.1 %."""
    one = table({"fertiliser_n": "kg"}, county=["a"], fertiliser_n=[100.0])
    found = factor_uncertainty(inventory(one, DRY, keys=("county",)), DRY).frame
    direct, indirect = 100 * 0.005 * KG, 100 * 0.11 * 0.005 * KG
    by_hand = 0.011 / (2 * Z * 0.005) * math.hypot(direct, indirect)
    assert found["emissions_sd"].iloc[0] == pytest.approx(by_hand, rel=1e-12)


def test_a_product_adds_the_squares_of_its_parts() -> None:
    """Rice: 1.32 (0.89 to 1.96), 112 (73 to 147), 0.6 (0.44 to 0.78), 1.22 (1.08 to 1.37)."""
    rice = factor_set("ipcc_2019")
    made = inventory(table({"rice_area": "ha"}, county=["a"], rice_area=[1.0]), rice, keys=("county",))
    found = factor_uncertainty(made, rice).frame
    parts = [(1.96 - 0.89) / 1.32, (147 - 73) / 112, (0.78 - 0.44) / 0.6, (1.37 - 1.08) / 1.22]
    relative = math.sqrt(sum(one**2 for one in parts)) / (2 * Z)
    assert found["emissions"].iloc[0] == pytest.approx(1.32 * 112 * 0.6 * 1.22 * 27, rel=1e-12)
    assert found["emissions_sd"].iloc[0] == pytest.approx(relative * 1.32 * 112 * 0.6 * 1.22 * 27, rel=1e-12)


def test_what_divides_and_what_multiplies_by_one_figure_cancels(tmp_path: Path) -> None:
    """A source that rises with a figure and one that falls with it: their errors offset each other to first order."""
    text = '[parameters.x]\nstatus = "published"\nvalue = 2\nunit = "ratio"\nrange = [1.8, 2.2]\nsource = "letter"\n'
    text += '[parameters.c]\nstatus = "published"\nvalue = 1.5\nunit = "kg CO2/kg"\nsource = "letter"\n'
    text += '[factors.diesel]\nstatus = "computed"\nunit = "kg CO2/kg"\nproduct = ["c", "x"]\n'
    text += '[parameters.d]\nstatus = "published"\nvalue = 6\nunit = "kg CO2/kg"\nsource = "letter"\n'
    text += '[factors.petrol]\nstatus = "computed"\nunit = "kg CO2/kg"\nproduct = ["d"]\nover = ["x"]\n'
    factors = own(tmp_path, text)
    made = inventory(table({"diesel": "kg", "petrol": "kg"}, farm=[1, 2], diesel=[1.0, 1.0], petrol=[1.0, 0.0]), factors,
                     keys=("farm",))  # fmt: skip
    found = factor_uncertainty(made, factors).frame
    assert found["emissions_sd"].iloc[0] == pytest.approx(0, abs=1e-12)
    assert found["emissions_sd"].iloc[1] == pytest.approx(3 * 0.4 / (2 * Z * 2), rel=1e-12)
    # Beyond the first order 3x/2 + 6/x has its least where x is 2: all draws lie above.
    assert found["emissions_low"].iloc[0] >= 6
    drawn = draw_factors(("diesel", "petrol"), factors, draws=50, seed=1)
    np.testing.assert_allclose(drawn[0] * drawn[1], 1, rtol=1e-12)


# --- by Monte Carlo


@pytest.mark.parametrize(("low", "high"), [(2.4, 3.75), (2.9, 3.9), (0.0, 6.0), (3.0, 3.6), (2.4, 3.0)])
def test_the_quantiles_of_one_factor_are_its_printed_range(tmp_path: Path, low: float, high: float) -> None:
    """Of 200,000 draws 2.5 % lie below and above, within four standard errors; the median is the value."""
    factors = own(tmp_path, diesel(f"[{low}, {high}]"))
    made = inventory(table({"diesel": "kg"}, farm=[1], diesel=[10.0]), factors, keys=("farm",))
    drawn = draw_factors(("diesel",), factors, draws=200_000, seed=3)[0] * 3
    error = 4 * math.sqrt(0.025 * 0.975 / 200_000)
    if low < 3:
        assert (drawn < low * (1 + 1e-12) + 1e-12).mean() == pytest.approx(0.025, abs=error)
    if high > 3:
        assert (drawn > high).mean() == pytest.approx(0.025, abs=error)
    assert (drawn < 3).mean() == pytest.approx(0.5 if low < 3 else 0, abs=4 * math.sqrt(0.25 / 200_000))
    assert (drawn >= 0).all()
    found = factor_uncertainty(made, factors, draws=200_000, seed=3).frame
    assert found["emissions_low"].iloc[0] == pytest.approx(10 * low, rel=0.01, abs=0.3)
    assert found["emissions_high"].iloc[0] == pytest.approx(10 * high, rel=0.01)


def test_the_range_of_cases_is_over_each_of_them(tmp_path: Path) -> None:
    text = '[factors.electricity]\nstatus = "published"\nunit = "kg CO2/kWh"\nsource = "letter"\nrelative_range = [0.8, 1.25]\n'
    text += 'cases = [{ province = "新疆", value = 0.6 }, { province = "云南", value = 0.1 }]\n'
    factors = own(tmp_path, text)
    made = inventory(
        table({"electricity": "kWh"}, province=["新疆", "云南"], electricity=[10.0, 10.0]), factors, keys=("province",)
    )
    found = factor_uncertainty(made, factors, draws=50_000).frame
    assert found["emissions_sd"].tolist() == pytest.approx([6 * 0.45 / (2 * Z), 1 * 0.45 / (2 * Z)], rel=1e-12)
    assert found["emissions_low"].tolist() == pytest.approx([6 * 0.8, 1 * 0.8], rel=0.01)
    assert found["emissions_high"].iloc[0] == pytest.approx(6 * found["emissions_high"].iloc[1], rel=1e-12)  # one error


def test_draws_are_the_same_in_another_table_and_another_order() -> None:
    one = soils(fertiliser_n=[100.0, 7.0], manure_n=[5.0, 0.0])
    other = soils(county=[9, 1, 0], manure_n=[0.0, 0.0, 5.0], fertiliser_n=[3.0, 7.0, 100.0])
    first = factor_uncertainty(one, DRY, seed=5).frame.set_index("county")
    again = factor_uncertainty(other, DRY, seed=5).frame.set_index("county")
    pd.testing.assert_frame_equal(first, again.loc[[0, 1]], check_exact=False, rtol=1e-12)
    alone = factor_uncertainty(soils(county=[1], fertiliser_n=[7.0]), DRY, seed=5).frame.set_index("county")
    assert alone.loc[1].tolist() == pytest.approx(first.loc[1].tolist(), rel=1e-12)
    elsewhere = factor_uncertainty(one, DRY, seed=6).frame
    assert elsewhere["emissions_high"].iloc[0] != first["emissions_high"].iloc[0]


def test_draws_are_the_same_in_another_process_and_beside_other_sources() -> None:
    program = (
        "from evalkit.accounting import factor_set\n"
        "from evalkit.accounting.uncertainty import draw_factors\n"
        "print(draw_factors(('straw_n',), factor_set('ipcc_2019_soils_dry'), draws=5, seed=7)[0].tolist())"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "11", "PYTHONPATH": os.pathsep.join(sys.path)}
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment)
    here = draw_factors(("fertiliser_n_deposition_n2o", "manure_n", "straw_n"), DRY, draws=500, seed=7)
    assert here[2, :5].tolist() == json.loads(said.stdout)
    assert (here[1] == here[2]).all()  # one figure
    assert abs(np.corrcoef(here[0], here[1])[0, 1]) < 0.2  # another: four standard errors of 500 draws


def test_a_hundred_counties_are_as_uncertain_as_one() -> None:
    """The error of a factor is the same everywhere: it does not shrink by the root of 100."""
    amounts = np.random.default_rng(4).uniform(50, 150, 100).tolist()
    made = soils(county=list(range(100)), fertiliser_n=amounts)
    each = factor_uncertainty(made, DRY).frame
    total = factor_uncertainty(made, DRY, by=()).frame
    assert total["emissions"].iloc[0] == pytest.approx(sum(amounts) * 0.005 * KG, rel=1e-12)
    for column in ("emissions_sd", "emissions_low", "emissions_high"):
        of_one = (each[column] / each["emissions"]).to_numpy()
        assert total[column].iloc[0] / total["emissions"].iloc[0] == pytest.approx(of_one[0], rel=1e-9, abs=1e-12)
        np.testing.assert_allclose(of_one, of_one[0], rtol=1e-9, atol=1e-12)
    assert total["emissions_sd"].iloc[0] / total["emissions"].iloc[0] == pytest.approx(
        0.011 / (2 * Z * 0.005), rel=1e-9
    )


# --- sums, notes, refusals


def test_sums_by_year_and_over_all_have_what_their_rows_have() -> None:
    made = soils(county=["a", "b", "a", "b"], year=[2021, 2021, 2020, 2020], fertiliser_n=[1.0, 2.0, 10.0, math.nan])
    by_year = factor_uncertainty(made, DRY, by=("year",))
    assert by_year.frame.columns.tolist() == ["year", "emissions", "emissions_sd", "emissions_low", "emissions_high"]
    assert by_year.frame["year"].tolist() == [2021, 2020]
    assert by_year.frame["emissions"].tolist() == pytest.approx([3 * 0.005 * KG, math.nan], nan_ok=True)
    assert by_year.frame.iloc[1, 1:].isna().all()  # missing where any part is
    assert factor_uncertainty(made, DRY, by=()).frame.iloc[0].isna().all()
    assert set(by_year.units.values()) == {"kg CO2e"}
    whole = soils(county=["a", "b"], year=[2021, 2021], fertiliser_n=[1.0, 2.0])
    assert factor_uncertainty(whole, DRY, by=()).frame["emissions"].tolist() == pytest.approx([3 * 0.005 * KG])


def test_sources_without_a_range_are_named() -> None:
    with_range = table({"fertiliser_n": "kg"}, farm=[1], fertiliser_n=[1.0])
    one = factor_set("ipcc_2006")
    said = factor_uncertainty(inventory(with_range, one, keys=("farm",)), one).provenance[-1].notes
    assert "uncertainty of factors: activity data and warming potentials count as certain" in said
    literature = factor_set("literature")
    both = table({"fertiliser": "kg", "film": "kg"}, farm=[1], fertiliser=[1.0], film=[1.0])
    found = factor_uncertainty(inventory(both, literature, keys=("farm",)), literature)
    assert "no range is printed for fertiliser, film, which count as certain" in found.provenance[-1].notes
    row = found.frame.iloc[0]
    assert (row["emissions_sd"], row["emissions_low"], row["emissions_high"]) == (0, row["emissions"], row["emissions"])


def test_sinks_and_sources_of_one_account_are_drawn_with_their_signs(tmp_path: Path) -> None:
    text = (
        diesel("[2.4, 3.75]")
        + '[factors.rice_harvest]\nstatus = "published"\nvalue = 0.9\nunit = "kg C/kg"\nrange = [0.6, 1.35]\n'
    )
    factors = own(tmp_path, text + 'source = "letter"\n')
    made = inventory(
        table({"diesel": "kg", "rice_harvest": "kg"}, farm=[1], diesel=[0.0], rice_harvest=[10.0]),
        factors,
        keys=("farm",),
    )
    found = factor_uncertainty(made, factors, draws=100_000).frame.iloc[0]
    assert found["emissions"] == pytest.approx(-33)
    assert found["emissions_sd"] == pytest.approx(33 * 0.75 / (2 * Z * 0.9), rel=1e-12)
    assert found["emissions_low"] == pytest.approx(-33 * 1.5, rel=0.01)
    assert found["emissions_high"] == pytest.approx(-33 / 1.5, rel=0.01)


def test_intensities_have_the_range_of_their_emissions() -> None:
    made = soils(county=["a", "b"], fertiliser_n=[100.0, 50.0])
    output = table({"grain": "t"}, county=["b", "a"], grain=[1.0, 4.0])
    found = intensity(made, output=output, per="grain", factors=DRY, draws=500, seed=2).frame.set_index("county")
    whole = factor_uncertainty(made, DRY, draws=500, seed=2).frame.set_index("county")
    for ending in ("sd", "low", "high"):
        assert found[f"cei_{ending}"].to_dict() == pytest.approx(
            {"a": whole.loc["a", f"emissions_{ending}"] / 4000, "b": whole.loc["b", f"emissions_{ending}"] / 1000},
            rel=1e-12,
        )
    farms = table({"fertiliser_n": "kg", "grain": "t"}, county=["a"], fertiliser_n=[100.0], grain=[4.0])
    counted = steps.Inventory(activity="farms", factors="ipcc_2019_soils_dry", keys=("county",), gwp="AR5").run(
        {"farms": farms}
    )
    tables = {"emissions": counted, "farms": farms}
    step = steps.Intensity(emissions="emissions", output="farms", per="grain", factors="ipcc_2019_soils_dry", gwp="AR5")
    assert step.run(tables).frame["cei_sd"].iloc[0] > 0


def test_the_factors_of_another_inventory_are_refused() -> None:
    """Dry and wet soils have the same sources: the range of the one would stand beside the emissions of the other."""
    made = soils(manure_n=[100.0])
    with pytest.raises(DataError) as caught:
        factor_uncertainty(made, factor_set("ipcc_2019_soils_wet"))
    assert "the inventory has 2.145 kg CO2e/kg for 'manure_n'" in caught.value.what  # 0.005 × 44/28 × 273
    assert "the same gwp=" in caught.value.remedy
    with pytest.raises(DataError, match="has another factor"):
        factor_uncertainty(made, factor_set("ipcc_2019_soils_dry", gwp="AR5"))
    with pytest.raises(DataError, match="the set 'literature' has no factor for 'manure_n'"):
        factor_uncertainty(made, factor_set("literature"))
    output = table({"grain": "t"}, county=[0], grain=[1.0])
    with pytest.raises(DataError, match="has another factor"):
        intensity(made, output=output, per="grain", factors=factor_set("ipcc_2019_soils_wet"))


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"by": ("yaer",)}, "'yaer' is no key of the inventory"),
        ({"by": "county"}, "by= is one word, not a tuple"),
        ({"draws": 0}, "draws = 0"),
        ({"seed": -1}, "seed = -1"),
    ],
)
def test_settings_that_mean_nothing_are_refused(options: dict[str, Any], what: str) -> None:
    with pytest.raises(DataError) as caught:
        factor_uncertainty(soils(manure_n=[100.0]), DRY, **options)
    assert caught.value.what == what
