"""Accounts worked by hand: a household, a county and provinces; each figure is written out beside the code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from evalkit.accounting import factor_set, intensity, inventory
from evalkit.errors import DataError
from evalkit.sources import Delimited
from evalkit.tables.table import Provenance, Table

DATA = Path(__file__).parent / "data" / "china_farm_inputs.csv"
INPUTS = {
    "fertiliser": "fertiliser_10kt", "pesticide": "pesticide_10kt", "film": "film_t", "diesel": "diesel_10kt",
    "irrigated_area": "irrigated_area_kha", "sown_area": "sown_area_kha",
}  # fmt: skip


def table(units: dict[str, str], **columns: Any) -> Table:
    frame = pd.DataFrame(columns)
    frame.index = pd.RangeIndex(2, len(frame) + 2, name="row")
    return Table("account.csv", frame, (Provenance("account.csv", "0" * 64, synthetic=True),), units)


def by_source(of: Table, *sets: str, gwp: str | None = None, **options: Any) -> dict[str, float]:
    made = inventory(of, factor_set(*sets, gwp=gwp), keys=("id", "year"), **options)
    return dict(zip(made.frame["source"].astype(str), made.frame["emissions"], strict=True))


# --- a household


def test_a_household_with_rice_pigs_and_a_stove() -> None:
    """6 mu of rice, 40 kg of nitrogen, 3 pigs, a buffalo, 500 kg of straw burnt, 800 kWh in Sichuan in 2022, 20 kg of diesel."""
    household = table(
        {"rice_area": "亩", "fertiliser_n": "公斤", "pigs": "头", "buffalo": "头", "rice_straw_burnt": "斤",
         "electricity": "度", "diesel": "kg"},
        id=["h1"], year=[2022], province=["四川省"], rice_area=[6.0], fertiliser_n=[40.0], pigs=[3], buffalo=[1],
        rice_straw_burnt=[1000.0], electricity=[800.0], diesel=[20.0],
    )  # fmt: skip
    found = by_source(
        household, "ipcc_2019", "ipcc_2019_soils_wet", "ipcc_2006_straw", "grid_china_provinces", gwp="AR6",
        leave_out=("pigs", "diesel"),
    )  # fmt: skip
    by_hand = {
        # 6 mu are 0.4 ha; 1.32 kg a day × 112 days × 0.6 × 1.22; a kg of CH4 counts 27.
        "rice_area": 0.4 * 1.32 * 112 * 0.6 * 1.22 * 27,
        # Mineral nitrogen in a wet climate: 0.016; 11 % volatilises (0.014), 24 % leaches (0.011); 44/28, a kg of N2O counts 273.
        "fertiliser_n": 40 * 0.016 * 44 / 28 * 273,
        "fertiliser_n_deposition_n2o": 40 * 0.11 * 0.014 * 44 / 28 * 273,
        "fertiliser_n_leaching_n2o": 40 * 0.24 * 0.011 * 44 / 28 * 273,
        "buffalo": 68 * 27,
        # 1,000 jin are 500 kg; 0.8 of it burns; 2.7 g of CH4 and 0.07 g of N2O a kg.
        "rice_straw_burnt": 500 * 0.8 * 0.0027 * 27,
        "rice_straw_burnt_burning_n2o": 500 * 0.8 * 0.00007 * 273,
        "electricity": 800 * 0.1404,
    }
    assert found == pytest.approx(by_hand, rel=1e-12)


def test_a_household_by_the_package_of_2006() -> None:
    """20 kg of diesel at 74.1 kg CO2/GJ and 43 GJ/t; 3 pigs at 1 kg of CH4, which counts 28 by AR5; 40 kg of nitrogen at 0.01."""
    household = table(
        {"fertiliser_n": "kg", "pigs": "头", "diesel": "kg"},
        id=["h1"], year=[2022], fertiliser_n=[40.0], pigs=[3], diesel=[20.0],
    )  # fmt: skip
    found = by_source(household, "ipcc_2006", "ipcc_2006_livestock", "ipcc_2006_indirect")
    by_hand = {
        "diesel": 20 * 74.1 * 43.0 / 1000,
        "pigs": 3 * 1 * 28,
        "fertiliser_n": 40 * 0.01 * 44 / 28 * 265,
        "fertiliser_n_deposition_n2o": 40 * 0.1 * 0.01 * 44 / 28 * 265,
        "fertiliser_n_leaching_n2o": 40 * 0.3 * 0.0075 * 44 / 28 * 265,
    }
    assert found == pytest.approx(by_hand, rel=1e-12)


# --- a county


def test_a_county_in_the_units_of_its_office() -> None:
    """Two years of a county: 万吨 of fertiliser by kind, 万头 of cattle and sheep, 万度, 千公顷, a harvest as a sink."""
    county = table(
        {"nitrogen_fertiliser": "万吨", "phosphate_fertiliser": "万吨", "potash_fertiliser": "吨", "compound_fertiliser": "kt",
         "other_cattle": "万头", "sheep": "万只", "goats": "万只", "electricity": "万度", "wheat_harvest": "万吨"},
        id=["c", "c"], year=["2021年", "2022年"], grid=["西北", "西北电网"], nitrogen_fertiliser=[1.5, 1.4],
        phosphate_fertiliser=[0.6, 0.6], potash_fertiliser=[900.0, 800.0], compound_fertiliser=[7.0, np.nan],
        other_cattle=[4.0, 4.1], sheep=[30.0, 31.0], goats=[5.0, 5.0], electricity=[6000.0, 6400.0], wheat_harvest=[12.0, 11.0],
    )  # fmt: skip
    made = inventory(
        county,
        factor_set("literature_by_nutrient", "ipcc_2006_livestock", "grid_china_regions", "crop_sinks_recalled"),
        keys=("id", "year"),
    )
    wide = made.frame.pivot(index="year", columns="source", values="emissions")
    first = wide.loc["2021年"].to_dict()
    by_hand = {
        "nitrogen_fertiliser": 1.5e7 * 1.74 * 44 / 12,
        "phosphate_fertiliser": 0.6e7 * 0.16509 * 44 / 12,
        "potash_fertiliser": 900e3 * 0.12028 * 44 / 12,
        "compound_fertiliser": 7e6 * 0.38097 * 44 / 12,
        "other_cattle": 4e4 * 47 * 28,
        "sheep": 30e4 * 5 * 28,
        "goats": 5e4 * 5 * 28,
        "electricity": 6000e4 * 0.5951,
        # A sink: 0.485 of dry matter is carbon, 12 % is water, and the grain is 0.4 of the plant.
        "wheat_harvest": -12e7 * 0.485 * 0.88 / 0.4 * 44 / 12,
    }
    assert first == pytest.approx(by_hand, rel=1e-12)
    assert wide.loc["2022年", "electricity"] == pytest.approx(6400e4 * 0.5857, rel=1e-12)
    assert np.isnan(wide.loc["2022年", "compound_fertiliser"])  # what is unknown is not 0
    per_output = intensity(
        made,
        output=table({"output": "亿元"}, id=["c", "c"], year=["2021年", "2022年"], output=[40.0, 42.0]),
        per="output",
    )
    assert per_output.frame["cei"].iloc[0] == pytest.approx(sum(by_hand.values()) / 40e8, rel=1e-12)
    assert np.isnan(per_output.frame["cei"].iloc[1])
    said = " ".join(one.notes for one in made.provenance)
    assert "NOT CHECKED against the publication (recalled): wheat_harvest" in said
    recalled = [one.recalled for one in made.provenance if one.recalled]
    assert recalled == [("wheat_harvest",)]


# --- provinces: published figures


def provinces() -> Table:
    return Delimited(DATA).load()


def tonnes_of_carbon(of: Table) -> pd.Series:
    """Emissions by province and year in 10,000 t of carbon, by the six sources of the Chinese convention."""
    made = inventory(
        of,
        factor_set("literature", "literature_irrigation_recalled"),
        keys=("province", "year"),
        sources=INPUTS,
    )
    return made.frame.groupby(["province", "year"], sort=False)["emissions"].sum() * 12 / 44 / 1e7


def test_xinjiang_in_2023_and_the_nation_in_2008() -> None:
    """462.1 and 7,844.2 (10,000 t of carbon), by the factors written out again."""
    found = tonnes_of_carbon(provinces())
    f = provinces().frame.set_index(["province", "year"])
    by_hand = (
        0.8956 * f["fertiliser_10kt"] + 4.9341 * f["pesticide_10kt"] + 5.18 * f["film_t"] / 1e4 + 0.5927 * f["diesel_10kt"]
        + 20.476 * f["irrigated_area_kha"] / 1e4 + 3.126 * f["sown_area_kha"] / 1e4
    )  # fmt: skip
    np.testing.assert_allclose(found, by_hand, rtol=1e-12)
    assert round(found["新疆维吾尔自治区", 2023], 1) == 462.1
    nation = found[found.index.get_level_values("year") == 2008]
    assert len(nation) == 31
    assert round(nation.sum(), 1) == 7844.2


def test_irrigation_is_counted_only_knowingly() -> None:
    with pytest.raises(DataError, match="no printed value for 'irrigated_area'") as caught:
        inventory(provinces(), factor_set("literature"), keys=("province", "year"), sources=INPUTS)
    assert "literature_irrigation_recalled" in caught.value.remedy


def test_an_index_of_volumes_is_no_price_index() -> None:
    """Xinjiang: real crop output is that of 2019 times the chained index; dividing by it is refused."""
    f = provinces()
    xinjiang = Table(f.name, f.frame[f.frame["year"] >= 2019], f.provenance, f.units)
    made = inventory(
        xinjiang, factor_set("literature"), keys=("province", "year"), sources={"fertiliser": "fertiliser_10kt"}
    )
    index = Table(
        "index", xinjiang.frame[["province", "year", "index_crops"]], f.provenance, {"index_crops": "上年=100"}
    )
    output = Table(
        "output", xinjiang.frame.drop(columns="index_crops"), f.provenance, {"output_crops_100myuan": "亿元"}
    )
    cei = intensity(made, output=output, per="output_crops_100myuan", deflator=index, index="volume")
    one = xinjiang.frame.set_index("year")
    level, real = 1.0, one.loc[2019, "output_crops_100myuan"]
    for at, year in enumerate(range(2019, 2024)):
        level *= 1.0 if year == 2019 else one.loc[year, "index_crops"] / 100
        kilograms = one.loc[year, "fertiliser_10kt"] * 1e7 * 0.8956 * 44 / 12
        assert cei.frame["cei"].iloc[at] == pytest.approx(kilograms / (real * level * 1e8), rel=1e-12)
    assert cei.units["cei"] == "kg CO2e/yuan of 2019"


def test_the_name_in_the_file_counts_where_a_column_was_renamed(tmp_path: Path) -> None:
    """农业总产值指数 under a name of one's own is an index of volumes still."""
    (tmp_path / "a.csv").write_text("id,year,农业总产值指数\nx,2021,100\nx,2022,105.0\n", encoding="utf-8")
    index = Delimited(
        tmp_path / "a.csv", columns={"id": "id", "year": "year", "p": "农业总产值指数"}, units={"p": "上年=100"}
    ).load()
    used = table(
        {"fertiliser": "kg", "output": "yuan"},
        id=["x", "x"],
        year=[2021, 2022],
        fertiliser=[9.0, 9.0],
        output=[2.0, 3.0],
    )
    made = inventory(used, factor_set("literature"), keys=("id", "year"))
    with pytest.raises(DataError, match="'农业总产值指数' is an index of volumes") as caught:
        intensity(made, output=used, per="output", deflator=index, index="price")
    assert 'index = "volume"' in caught.value.remedy
    cei = intensity(made, output=used, per="output", deflator=index, index="volume")
    assert cei.frame["cei"].tolist() == pytest.approx([9 * 0.8956 * 44 / 12 / 2, 9 * 0.8956 * 44 / 12 / (2 * 1.05)])


def test_straight_nitrogen_is_not_all_nitrogen() -> None:
    """In yearbooks 氮肥 stands beside 复合肥, which holds nitrogen as well: who counts the one alone loses the other."""
    yearbook = {"氮肥": "万吨", "复合肥": "万吨", "n": "万吨", "nitrogen_fertiliser": "万吨"}

    def counted(
        sets: str, sources: dict[str, str], leave_out: tuple[str, ...] = (), **columns: Any
    ) -> dict[str, float]:
        units = {name: unit for name, unit in yearbook.items() if name in columns}
        return by_source(table(units, id=["x"], year=[2023], **columns), sets, sources=sources, leave_out=leave_out)

    with pytest.raises(DataError, match=r"is called as nitrogen fertiliser .straight.*of which that is only a part"):
        counted("ipcc_2006", {"fertiliser_n": "氮肥"}, 氮肥=[90.0])
    with pytest.raises(
        DataError, match="has '复合肥' beside 'n', which is counted as nitrogen in fertiliser"
    ) as caught:
        counted("ipcc_2006", {"fertiliser_n": "n"}, n=[90.0], 复合肥=[60.0])
    assert 'leave_out=("compound_fertiliser",)' in caught.value.remedy
    whole = counted("ipcc_2006", {"fertiliser_n": "n"}, ("compound_fertiliser",), n=[110.0], 复合肥=[60.0])
    assert whole == {"fertiliser_n": pytest.approx(110e7 * 0.01 * 44 / 28 * 265, rel=1e-12)}
    with pytest.raises(DataError, match="'nitrogen_fertiliser' is counted without 'compound_fertiliser'"):
        counted("literature_by_nutrient", {"nitrogen_fertiliser": "氮肥"}, 氮肥=[90.0])


def test_what_is_unknown_asks_for_no_factor() -> None:
    """Nothing is known of a year that has no factor: missing, not refused; what is known is refused."""
    years = {"id": ["x", "x"], "year": [2021, 2019], "province": ["新疆", "新疆"]}
    made = inventory(
        table({"electricity": "kWh"}, electricity=[10.0, np.nan], **years),
        factor_set("grid_china_provinces"),
        keys=("id", "year"),
    )
    assert made.frame["emissions"].iloc[0] == pytest.approx(6.577, rel=1e-12)
    assert np.isnan(made.frame["emissions"].iloc[1])
    with pytest.raises(DataError, match="no factor for province = 新疆, year = 2019") as caught:
        inventory(
            table({"electricity": "kWh"}, electricity=[10.0, 1.0], **years),
            factor_set("grid_china_provinces"),
            keys=("id", "year"),
        )
    assert "row 3" in caught.value.where
