"""Emissions and intensities against arithmetic by hand, and everything that is refused."""

from __future__ import annotations

import hashlib
import math
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from evalkit.accounting import FactorSet, factor_set, intensity, inventory
from evalkit.accounting.factor_files import shipped_sets
from evalkit.accounting.vocabulary import vocabulary
from evalkit.errors import ConfigError, DataError, SourceError
from evalkit.sources import Delimited
from evalkit.tables.table import Provenance, Table

NAN = float("nan")
SETS = ("literature", "changji_2022", "ipcc_2006")
WITH_IRRIGATION = ("literature", "literature_irrigation_recalled")
UNITS = {"fertiliser": "kg", "diesel": "kg", "film": "kg", "pesticide": "kg", "irrigated_area": "ha", "sown_area": "ha"}
# One hectare of Xinjiang in 2023.
HECTARE: dict[str, list[Any]] = {"fertiliser": [362.0], "diesel": [131.0], "film": [46.0], "pesticide": [2.8],
                                 "irrigated_area": [1.0], "sown_area": [1.0]}  # fmt: skip


def table(name: str, units: dict[str, str] | None = None, synthetic: bool = False, **columns: list[Any]) -> Table:
    frame = pd.DataFrame(columns)
    frame.index = pd.RangeIndex(2, len(frame) + 2, name="row")
    declared = {column: unit for column, unit in (units or {}).items() if column in columns}
    return Table(name, frame, (Provenance(name, "0" * 64, synthetic=synthetic),), declared)


def farms(units: dict[str, str] | None = None, **columns: list[Any]) -> Table:
    rows = len(next(iter(columns.values())))
    return table("farms.csv", UNITS if units is None else units, farm=list(range(rows)), **columns)


def emissions(of: Table, *names: str, **options: Any) -> pd.DataFrame:
    frame = inventory(of, factor_set(*(names or WITH_IRRIGATION)), keys=("farm",), **options).frame
    return frame.set_index("source")["emissions"]


def notes(of: Table) -> str:
    return of.provenance[-1].notes


# --- factor sets


def test_a_hectare_of_xinjiang_emits_what_the_literature_says() -> None:
    """362 × 0.8956 + 131 × 0.5927 + 46 × 5.18 + 2.8 × 4.9341 + 20.476 + 3.126 = 677.54 kg of carbon."""
    found = emissions(farms(**HECTARE))
    by_hand = {"fertiliser": 324.2072, "diesel": 77.6437, "film": 238.28, "pesticide": 13.81548, "irrigated_area": 20.476,
               "sown_area": 3.126}  # fmt: skip
    assert (found / (44 / 12)).to_dict() == pytest.approx(by_hand, rel=1e-12)
    assert found.sum() * 12 / 44 / 1000 == pytest.approx(0.68, abs=0.005)  # the published figure, in t C


def test_the_sets_differ_as_much_as_the_claims_say() -> None:
    """Fertiliser: 3.284 against 0.8 kg CO2 a kg (4.1 times); diesel: 2.68 (IPCC) and 1.83 (literature) against 0.8 a litre."""
    literature, changji, ipcc = (factor_set(name) for name in SETS)
    assert literature.rate("fertiliser", "kg", where="") == pytest.approx(3.284, abs=5e-4)
    assert changji.rate("fertiliser", "kg", where="") == 0.8
    assert changji.rate("diesel", "L", where="") == 0.8
    assert ipcc.rate("diesel", "L", where="") == pytest.approx(2.68, abs=5e-3)
    assert literature.rate("diesel", "L", where="") == pytest.approx(1.83, abs=5e-3)
    assert ipcc.rate("diesel", "kg", where="") == pytest.approx(74.1 * 43.0 / 1000, rel=1e-12)


def test_nitrogen_counts_its_nitrous_oxide_by_the_gwp_of_the_set() -> None:
    """0.01 kg N2O-N × 44/28 × 265 = 4.164 kg CO2e a kg of nitrogen."""
    assert factor_set("ipcc_2006").rate("fertiliser_n", "t", where="") == pytest.approx(4164.3, abs=0.05)


def test_a_mass_of_diesel_becomes_litres_where_the_factor_is_per_litre() -> None:
    assert factor_set("changji_2022").rate("diesel", "kg", where="") == pytest.approx(0.8 / 0.84, rel=1e-15)
    assert factor_set("changji_2022").rate("diesel", "m3", where="") == pytest.approx(800, rel=1e-15)


@pytest.mark.parametrize("name", shipped_sets())
def test_a_set_of_the_package_is_whole_and_known_by_its_bytes(name: str) -> None:
    found = factor_set(name)
    data = files("evalkit").joinpath("accounting", "factor_sets", f"{name}.toml").read_bytes()
    assert found.name == name
    assert found.provenance[0].path == f"evalkit/accounting/factor_sets/{name}.toml"
    assert found.provenance[0].sha256 == hashlib.sha256(data).hexdigest()
    assert found.provenance[0].citation == found.source


def test_a_source_without_a_value_has_no_rate() -> None:
    with pytest.raises(DataError, match=r"the set 'ipcc_2006' has no one value for 'film' \(excluded\)"):
        factor_set("ipcc_2006").rate("film", "kg", where="")


def test_changji_counts_what_is_not_printed() -> None:
    changji = factor_set("changji_2022")
    published = [one for one in changji.factors.values() if one.status == "published"]
    assert (changji.coefficients_in_standard, changji.printed, len(published)) == (12, 2, 2)
    assert "Of the 12 coefficients of the standard 2 are printed." in changji.leaves_out()
    assert "No factor is printed for nitrogen in fertiliser, pesticide, plastic film" in changji.leaves_out("en")
    assert "该标准有 12 个系数，公开的只有 2 个。" in changji.leaves_out("zh")


def test_a_set_says_what_it_leaves_out_and_why() -> None:
    assert "Not counted: pesticide, plastic film, because manufacture belongs to industry." in factor_set(
        "ipcc_2006"
    ).leaves_out("en")
    said = factor_set("literature").leaves_out("zh")
    assert "不核算化肥中的氮：已计入化肥（折纯）。" in said
    assert "灌溉面积的系数未公开。" in said
    assert "灌溉面积的系数未与原文核对。" in factor_set(*WITH_IRRIGATION).leaves_out("zh")
    with pytest.raises(ConfigError, match="'fr' is unknown"):
        factor_set("literature").leaves_out("fr")


def test_an_unknown_set_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'literature'"):
        factor_set("litterature")
    with pytest.raises(SourceError, match="cannot be read") as caught:
        factor_set("nowhere/own.toml")
    assert caught.value.where == "nowhere/own.toml"


# --- an office's own file

OWN = """
name = "office"
title = { en = "Office factors", zh = "本单位系数" }
published_by = "office"
source = "letter of 2024"
status = "draft"
gases = ["CO2", "N2O"]
boundary = { en = "Farm gate.", zh = "农场边界。" }
[gwp100]
N2O = 273
source = "AR6"
[factors.diesel]
status = "published"
value = 2.6
unit = "kg CO2/kg"
source = "letter"
[factors.fertiliser_n]
status = "computed"
value = 5
unit = "g N2O/kg"
source = "measured"
"""


def own(folder: Path, text: str = OWN, old: str = "", new: str = "") -> FactorSet:
    assert old in text
    path = folder / "own factors.toml"
    path.write_text(text.replace(old, new, 1) if old else text, encoding="utf-8")
    return factor_set(path)


def test_an_office_reads_its_own_file(tmp_path: Path) -> None:
    found = own(tmp_path, "\ufeff" + OWN)  # as Notepad saves it
    assert found.rate("diesel", "t", where="") == 2600
    assert found.rate("fertiliser_n", "kg", where="") == pytest.approx(0.005 * 273, rel=1e-15)
    said = "The set says nothing of the manufacture of inputs, tillage, rice fields, livestock, straw burnt"
    assert said in found.leaves_out()
    assert found.provenance[0].path.endswith("own factors.toml")


@pytest.mark.parametrize(
    ("old", "new", "what", "remedy"),
    [
        ("value = 2.6", "vlaue = 2.6", "unknown key 'vlaue'", "did you mean 'value'"),
        ("[factors.diesel]", "[factors.deisel]", "unknown emission source 'deisel'", "did you mean 'diesel'"),
        ("status = \"draft\"", "stauts = \"draft\"", "unknown key 'stauts'", "did you mean 'status'"),
        ("value = 2.6", "value = 0", "'value' is 0", "above 0"),
        ("value = 2.6", "value = -2.6", "'value' is -2.6", "above 0"),
        ("value = 2.6", "value = nan", "'value' is nan", "above 0"),
        ("value = 2.6", "value = true", "'value' is True", "above 0"),
        ("value = 2.6", 'value = "2.6"', "'value' is '2.6'", "above 0"),
        ("value = 2.6", "", "'value' is missing", "value = 0.8"),
        ('source = "letter"', "", "'source' is missing", 'source = "…"'),
        ('status = "published"', 'status = "publisht"', "the status is 'publisht'", "did you mean 'published'"),
        ('status = "published"', 'status = "unknown"', "unknown key 'value'", "known are: status, source"),
        ('"kg CO2/kg"', '"kg/kg"', "'kg/kg' is not the unit of an emission factor", "kg CO2/L"),
        ('"kg CO2/kg"', '"kg CO3/kg"', "'kg CO3/kg' is not the unit", "N2O-N"),
        ('"kg CO2/kg"', '"L CO2/kg"', "'L CO2/kg' is not the unit", "write a mass"),
        ('"kg CO2/kg"', '"kg CO2/kgg"', "the unit 'kgg' is unknown", "did you mean 'kg'"),
        ('"kg CO2/kg"', '"kg CO2/ha"', "per 'ha', which measures area", "mass or volume"),
        ('["CO2", "N2O"]', '["CO2"]', "unknown key 'N2O'", "source"),
        ('["CO2", "N2O"]', '["N2O"]', "gases does not name CO2", 'add "CO2"'),
        ('["CO2", "N2O"]', '"CO2"', "the gases are not listed", '["CO2"]'),
        ("N2O = 273", "", "'N2O' is missing", "N2O = 0.8"),
        ('title = { en = "Office factors", zh = "本单位系数" }', "", "'title' is missing", "title = { en"),
        (', zh = "本单位系数"', "", "'title' is not given in each language", "zh"),
        ('name = "office"', 'name = "literature"', "belongs to a set of the package", "name of its own"),
        ('status = "draft"', 'status = "draft"\nprinted = 3', "printed 3", "or neither"),
        ('status = "draft"', 'status = "draft"\ncoefficients_in_standard = 2\nprinted = 3', "printed 3", "the smaller"),
        ('name = "office"', "name = ", "this is not TOML", "correct that line"),
        ("[gwp100]", "[density.diesel]\nvalue=1\nunit='kg'\nsource='x'\n[gwp100]", "measures mass", "mass/volume"),
        ("[gwp100]", "[density]\ndiesel=0.84\n[gwp100]", "'diesel' is not a section", "[density.diesel]"),
    ],
)  # fmt: skip
def test_an_own_file_is_read_strictly(tmp_path: Path, old: str, new: str, what: str, remedy: str) -> None:
    with pytest.raises(SourceError) as caught:
        own(tmp_path, OWN, old, new)
    assert what in caught.value.what
    assert remedy in caught.value.remedy
    assert "own factors.toml" in caught.value.where


def test_a_file_without_factors_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no factor is given"):
        own(tmp_path, OWN[: OWN.index("[factors.diesel]")])


def test_a_factor_file_in_gb18030_is_refused(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_bytes(OWN.encode("gb18030"))
    with pytest.raises(SourceError, match="not UTF-8"):
        factor_set(tmp_path / "own.toml")


def test_litres_for_a_factor_per_kg_need_a_density(tmp_path: Path) -> None:
    litres = farms({"diesel": "L"}, diesel=[156.0])
    with pytest.raises(DataError, match="has no density") as caught:
        inventory(litres, own(tmp_path), keys=("farm",))
    assert caught.value.where == "farms.csv, column 'diesel'"
    assert "[density.diesel]" in caught.value.remedy
    dense = OWN + '[density.diesel]\nvalue = 850\nunit = "kg/m3"\nsource = "supplier"\n'
    found = inventory(litres, own(tmp_path, dense), keys=("farm",))
    assert found.frame["emissions"].tolist() == pytest.approx([156 * 0.85 * 2.6], rel=1e-15)
    assert "diesel at 850 kg/m3 (supplier)" in notes(found)


# --- inventory


def test_the_inventory_is_long_with_the_rows_of_the_file() -> None:
    activity = farms(fertiliser=[400.0, NAN], sown_area=[1.0, 2.0])
    found = inventory(activity, factor_set("literature"), keys=("farm",))
    assert found.frame.columns.tolist() == "farm source activity activity_unit factor factor_unit emissions".split()
    assert found.frame.index.tolist() == [2, 2, 3, 3]
    assert found.frame["source"].tolist() == ["fertiliser", "sown_area"] * 2
    first = found.frame.iloc[0]
    assert (first["activity_unit"], first["factor_unit"]) == ("kg", "kg CO2e/kg")
    assert first["emissions"] == first["activity"] * first["factor"]
    assert np.isnan(found.frame["emissions"]).tolist() == [False, False, True, False]  # missing is not 0
    assert found.units == {"emissions": "kg CO2e"}
    assert activity.frame["fertiliser"].isna().tolist() == [False, True]


def test_units_of_a_yearbook_give_the_same_emissions() -> None:
    in_kg = farms(**{column: [1000 * values[0]] for column, values in HECTARE.items()})
    units = {
        "fertiliser": "t",
        "diesel": "吨",
        "film": "公斤",
        "pesticide": "t",
        "irrigated_area": "亩",
        "sown_area": "千公顷",
    }
    in_tonnes = farms(
        units,
        fertiliser=[362.0],
        diesel=[131.0],
        film=[46_000.0],
        pesticide=[2.8],
        irrigated_area=[15_000.0],
        sown_area=[1.0],
    )
    assert emissions(in_tonnes).to_dict() == pytest.approx(emissions(in_kg).to_dict(), rel=1e-12)


def test_provenance_lists_data_and_factors_and_what_was_left_out() -> None:
    activity = table("farms.csv", UNITS, synthetic=True, farm=[1], **HECTARE)
    found = inventory(activity, factor_set("ipcc_2006"), keys=("farm",), leave_out=("pesticide",))
    assert found.frame["source"].tolist() == ["diesel"]
    assert [one.path for one in found.provenance] == ["farms.csv", "evalkit/accounting/factor_sets/ipcc_2006.toml"]
    assert found.provenance[0].synthetic
    assert "diesel 3.1863 kg CO2/kg, computed (Volume 2: 74.1 kg CO2/GJ" in notes(found)
    assert "pesticide was left out knowingly" in notes(found)
    assert "film is excluded by the set: manufacture belongs to industry" in notes(found)
    assert "the table has no fertiliser_n" in notes(found)
    assert "GWP100 N2O 265" in notes(found)


def test_columns_may_bear_other_names() -> None:
    activity = table("yearbook.csv", {"化肥施用量": "万吨"}, county=["a"], year=[2023], 化肥施用量=[2.0])
    found = inventory(
        activity, factor_set("changji_2022"), keys=("county", "year"), sources={"fertiliser": "化肥施用量"}
    )
    assert found.frame["emissions"].tolist() == [2e7 * 0.8]
    assert "magnitudes could not be checked, because the table has no sown_area" in notes(found)


@pytest.mark.parametrize(
    ("activity", "options", "what", "where", "remedy"),
    [
        (farms(fertiliser=[1.0]), {"keys": ("frm",)}, "there is no column 'frm'", "farms.csv", "'farm'"),
        (farms(fertiliser=[1.0]), {"keys": "farm"}, "keys= is one word", "inventory", 'keys=("farm",)'),
        (farms(fertiliser=[1.0]), {"keys": ()}, "there are no keys", "farms.csv", "name the columns"),
        (farms(fertiliser=[]), {}, "the table has no rows", "farms.csv", "check the source"),
        (
            table("farms.csv", UNITS, farm=[1, 2, 1], fertiliser=[1.0, 2.0, 3.0]),
            {}, "1 rows repeat a key; the first has farm = 1", "farms.csv, row 4", "keep one row per farm",
        ),
        (table("farms.csv", UNITS, farm=["a", None], fertiliser=[1.0, 2.0]), {}, "'farm' is missing", "row 3", "fill it in"),
        (table("farms.csv", {}, farm=[1], factor=[2], fertiliser=[1.0]), {"keys": ("farm", "factor")}, "name of a column of",
         "farms.csv", "rename"),
        (farms({}, fertiliser=[1.0]), {}, "column 'fertiliser' has no unit", "farms.csv", "sidecar"),
        (farms({"fertiliser": "kgs"}, fertiliser=[1.0]), {}, "the unit 'kgs' is unknown", "column 'fertiliser'", "'kg'"),
        (farms({"fertiliser": "L"}, fertiliser=[1.0]), {}, "'L' measures volume; fertiliser is", "fertiliser", "unit"),
        (farms(fertiliser=[1.0, -2.0]), {}, "fertiliser is negative", "farms.csv, column 'fertiliser', row 3", "correct"),
        (farms(fertiliser=[1.0, math.inf]), {}, "infinite", "farms.csv, column 'fertiliser', row 3", "correct"),
        (farms(fertiliser=[1.0, "1,200"]), {}, "'1,200' is not a number", "column 'fertiliser', row 3", "plain numbers"),
        (farms(yield_=[1.0]), {}, "no column bears the name of an emission source", "farms.csv", "fertiliser"),
        (farms(fertilizer=[1.0], diesel=[1.0]), {}, "'fertilizer' resembles the emission", "farms.csv", "sources="),
        (farms(fertiliser=[1.0]), {"sources": {"fertilizer": "fertiliser"}}, "'fertilizer' is no emission source", "sources=",
         "'fertiliser'"),
        (farms(fertiliser=[1.0]), {"sources": {"film": "fertilisr"}}, "no column 'fertilisr'", "farms.csv", "'fertiliser'"),
        (farms(fertiliser=[1.0]), {"sources": {"film": "fertiliser", "fertiliser": "fertiliser"}}, "several", "sources=", "one"),
        (farms(fertiliser=[1.0]), {"leave_out": ("pestcide",)}, "'pestcide' is no emission source", "leave_out=", "'pesticide'"),
        (farms(fertiliser=[1.0]), {"leave_out": ("film",)}, "no source 'film' to leave out", "farms.csv", "leave_out"),
        (farms(fertiliser=[1.0]), {"leave_out": "film"}, "leave_out= is one word", "inventory", '("film",)'),
        (farms(fertiliser=[1.0]), {"leave_out": ("fertiliser",)}, "every source is left out", "farms.csv", "another factor set"),
    ],
)  # fmt: skip
def test_activity_data_that_cannot_be_used_are_refused(
    activity: Table, options: dict[str, Any], what: str, where: str, remedy: str
) -> None:
    with pytest.raises(DataError) as caught:
        inventory(activity, factor_set("literature"), **{"keys": ("farm",), **options})
    assert what in caught.value.what
    assert where in caught.value.where
    assert remedy in caught.value.remedy


def test_a_source_whose_factor_is_not_printed_is_refused_until_it_is_left_out() -> None:
    activity = farms(fertiliser=[362.0], pesticide=[2.8])
    with pytest.raises(DataError) as caught:
        inventory(activity, factor_set("changji_2022"), keys=("farm",))
    assert caught.value.what == "the factor set 'changji_2022' has no printed value for 'pesticide'"
    assert 'leave_out=("pesticide",)' in caught.value.remedy
    found = inventory(activity, factor_set("changji_2022"), keys=("farm",), leave_out=("pesticide",))
    assert found.frame["emissions"].tolist() == pytest.approx([289.6], rel=1e-15)


def test_a_source_that_the_set_does_not_know_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the factor set 'office' has no entry for 'film'"):
        inventory(farms(film=[46.0]), own(tmp_path), keys=("farm",))


def test_a_neighbouring_column_is_not_taken_for_a_source() -> None:
    """fertiliser_p resembles fertiliser_n, which is there: nothing is missed."""
    activity = table("farms.csv", {"fertiliser_n": "kg"}, farm=[1], fertiliser_n=[1.0], fertiliser_p=[1.0], price=[3.0])
    found = inventory(activity, factor_set("ipcc_2006"), keys=("farm",))
    assert found.frame["source"].tolist() == ["fertiliser_n"]


# --- magnitudes


@pytest.mark.parametrize(
    ("column", "declared", "fits"),
    [("fertiliser", "t", "'kg'"), ("diesel", "g", "'kg'"), ("film", "万吨", "'kg'"), ("pesticide", "t", "'kg'")],
)
def test_a_wrong_unit_of_mass_shows_per_hectare(column: str, declared: str, fits: str) -> None:
    with pytest.raises(DataError) as caught:
        emissions(farms({**UNITS, column: declared}, **HECTARE))
    assert caught.value.where == f"farms.csv, column '{column}'"
    assert f"is declared in '{declared}', so that its median is" in caught.value.what
    assert "Xinjiang 2023" in caught.value.what
    assert f"{fits} for '{column}' would give {HECTARE[column][0]:g}" in caught.value.remedy


def test_tonnes_declared_as_kg_are_refused_too() -> None:
    with pytest.raises(DataError, match=r"its median is 0\.362 kg per sown hectare; plausible is 18 to 2900"):
        emissions(farms(fertiliser=[0.362, 0.3, 0.5], sown_area=[1.0, 1.0, 1.0]))


def test_a_wrong_unit_of_area_shows_as_well() -> None:
    """One hectare declared as one mu multiplies use per hectare by 15."""
    with pytest.raises(DataError) as caught:
        emissions(farms({**UNITS, "sown_area": "mu"}, **{**HECTARE, "irrigated_area": [1 / 15]}))
    assert "'ha' for 'sown_area' would give 362" in caught.value.remedy


def test_litres_are_compared_with_litres() -> None:
    units = {"diesel": "L", "sown_area": "ha"}
    assert emissions(farms(units, diesel=[156.0], sown_area=[1.0]))["diesel"] > 0
    with pytest.raises(DataError, match="156,000 L per sown hectare"):
        emissions(farms({**units, "diesel": "m3"}, diesel=[156.0], sown_area=[1.0]))


def test_one_row_far_out_is_refused_by_its_row() -> None:
    fields = {"fertiliser": [362.0, 362.0, 362_000.0], "sown_area": [1.0, 1.0, 1.0]}
    with pytest.raises(DataError) as caught:
        emissions(farms(**fields))
    assert caught.value.where == "farms.csv, column 'fertiliser', row 4"
    fields["fertiliser"][2] = 14_000.0  # much, but a farm may be unusual
    assert len(emissions(farms(**fields))) == 6


def test_rows_without_use_or_land_say_nothing_of_units() -> None:
    activity = farms(fertiliser=[362.0, 0.0, 362.0], sown_area=[1.0, 1.0, 0.0], film=[0.0, 0.0, 0.0])
    found = inventory(activity, factor_set("literature"), keys=("farm",))
    assert "magnitudes were not checked for film" in notes(found)


def test_land_is_compared_although_the_set_excludes_tillage() -> None:
    with pytest.raises(DataError, match="column 'diesel' is declared in 't'"):
        emissions(farms({"diesel": "t", "sown_area": "ha"}, diesel=[131.0], sown_area=[1.0]), "ipcc_2006")


def test_plausible_ranges_hold_the_published_use_as_they_say() -> None:
    for name, used in {"fertiliser": 362, "diesel": 131, "film": 46, "pesticide": 2.8}.items():
        plausible = vocabulary().activities[name].per_hectare[0]
        assert plausible.low == pytest.approx(used / 20, rel=0.02)
        assert plausible.high == pytest.approx(used * 8, rel=0.02)
        assert plausible.highest == pytest.approx(used * 40, rel=0.02)


# --- intensity

SALES = {"sales": "万元"}


def counted(synthetic: bool = False) -> Table:
    """Two counties in three years, 1,000 kg of fertiliser each: 800 kg CO2 by the standard of Changji."""
    activity = table(
        "activity.csv", {"fertiliser": "kg", "diesel": "L"}, synthetic,
        county=["a", "a", "a", "b", "b", "b"], year=[2019, 2020, 2021] * 2, fertiliser=[1000.0] * 6,
        diesel=[0.0, 250.0, 0.0, 0.0, 0.0, NAN],
    )  # fmt: skip
    return inventory(activity, factor_set("changji_2022"), keys=("county", "year"))


def sold(values: list[Any] | None = None, units: dict[str, str] | None = None) -> Table:
    values = values or [2.0, 2.0, 4.0, 1.0, 1.0, 1.0]
    return table("sales.csv", units or SALES, county=list("aaabbb"), year=[2019, 2020, 2021] * 2, sales=values)


def test_intensity_by_hand() -> None:
    """(800 kg + 250 L × 0.8) / 20,000 yuan = 0.05 kg a yuan."""
    found = intensity(counted(), output=sold(), per="sales")
    assert found.frame.columns.tolist() == ["county", "year", "cei", "cei_emissions"]
    assert found.frame["cei"].tolist() == pytest.approx([0.04, 0.05, 0.02, 0.08, 0.08, NAN], nan_ok=True)
    assert found.frame["cei_emissions"].tolist() == pytest.approx([800, 1000, 800, 800, 800, NAN], nan_ok=True)
    assert found.frame.index.tolist() == [2, 3, 4, 5, 6, 7]
    assert found.units == {"cei": "kg CO2e/yuan", "cei_emissions": "kg CO2e"}


def test_the_unit_follows_from_the_column() -> None:
    found = intensity(counted(), output=sold(units={"sales": "万亩"}), per="sales", name="per_area")
    assert found.units["per_area"] == "kg CO2e/ha"
    assert found.frame["per_area"].iloc[0] == pytest.approx(800 / (2e4 / 15), rel=1e-15)


def test_missing_output_gives_missing_and_other_order_changes_nothing() -> None:
    output = sold([2.0, NAN, 4.0, 1.0, 1.0, 1.0])
    shuffled = Table("sales.csv", output.frame.iloc[::-1], output.provenance, output.units)
    found = intensity(counted(), output=shuffled, per="sales")
    assert found.frame["cei"].tolist() == pytest.approx([0.04, NAN, 0.02, 0.08, 0.08, NAN], nan_ok=True)


def test_a_key_without_output_is_missing_and_noted() -> None:
    output = sold()
    fewer = Table("sales.csv", output.frame.iloc[1:], output.provenance, output.units)
    found = intensity(counted(), output=fewer, per="sales")
    assert math.isnan(found.frame["cei"].iloc[0])
    assert "1 keys of the inventory have no row, such as county = a, year = 2019" in found.provenance[2].notes


def test_provenance_and_the_synthetic_mark_are_inherited_once() -> None:
    deflator = table("prices.csv", {"p": "2019=100"}, year=[2019, 2020, 2021], p=[100.0, 104.0, 106.6])
    found = intensity(counted(synthetic=True), output=sold(), per="sales", deflator=deflator, index="price")
    assert [one.path for one in found.provenance] == [
        "activity.csv", "evalkit/accounting/factor_sets/changji_2022.toml", "sales.csv", "prices.csv"
    ]  # fmt: skip
    assert any(one.synthetic for one in found.provenance)
    again = table("activity.csv", SALES, True, county=list("aaabbb"), year=[2019, 2020, 2021] * 2, sales=[1.0] * 6)
    assert len(intensity(counted(synthetic=True), output=again, per="sales").provenance) == 2


@pytest.mark.parametrize(
    ("output", "per", "what", "where"),
    [
        (sold([2.0, 0.0, 4.0, 1.0, -1.0, 1.0]), "sales", "zero or negative in 2 rows", "sales.csv, column 'sales', rows 3, 6"),
        (sold(), "sale", "there is no column 'sale'", "sales.csv"),
        (sold(units={"year": "1"}), "sales", "column 'sales' has no unit", "sales.csv"),
        (sold(units={"sales": "yuan of 2019"}), "sales", "the unit 'yuan of 2019' is unknown", "sales.csv, column 'sales'"),
        (sold(units={"sales": "元/亩"}), "sales", "emissions per money/area", "sales.csv, column 'sales'"),
        (table("sales.csv", SALES, county=["a", "a"], year=[2019, 2019], sales=[1.0, 2.0]), "sales", "repeat a key", "row 3"),
        (table("sales.csv", SALES, county=["a"], sales=[1.0]), "sales", "there is no column 'year'", "sales.csv"),
        (table("sales.csv", SALES, county=["a"], year=["2019"], sales=[1.0]), "sales", "'year' holds numbers in", "'year'"),
        (table("sales.csv", SALES, county=["x"], year=[2019], sales=[1.0]), "sales", "no key of the inventory", "sales.csv"),
    ],
)  # fmt: skip
def test_output_that_cannot_be_used_is_refused(output: Table, per: str, what: str, where: str) -> None:
    with pytest.raises(DataError) as caught:
        intensity(counted(), output=output, per=per)
    assert what in caught.value.what
    assert where in caught.value.where


def test_zero_output_of_a_key_without_emissions_does_no_harm() -> None:
    more = table(
        "sales.csv", SALES, county=[*"aaabbb", "c"], year=[2019, 2020, 2021] * 2 + [2019], sales=[1.0] * 6 + [0.0]
    )
    assert len(intensity(counted(), output=more, per="sales").frame) == 6


def test_only_a_whole_inventory_is_summed() -> None:
    whole = counted()
    part = Table("part", whole.frame.iloc[1:], whole.provenance, whole.units)
    with pytest.raises(
        DataError, match="1 keys lack an emission source that others have, such as county = a, year = 2019"
    ):
        intensity(part, output=sold(), per="sales")
    with pytest.raises(DataError, match="there is no column 'source'"):
        intensity(sold(), output=sold(), per="sales")
    with pytest.raises(DataError, match="emissions are in 'None'"):
        intensity(Table("bare", whole.frame, whole.provenance), output=sold(), per="sales")
    with pytest.raises(DataError, match="'year' is a key"):
        intensity(whole, output=sold(), per="sales", name="year")


# --- deflation


def deflated(deflator: Table, output: Table | None = None) -> Table:
    return intensity(counted(), output=output or sold([1.0] * 6), per="sales", deflator=deflator, index="price")


@pytest.mark.parametrize("unit", ["上年=100", "上年＝100", "previous year = 100", "Preceding year=100"])
def test_an_index_to_the_previous_year_is_chained_from_its_first_year(unit: str) -> None:
    """2019: 1; 2020: 1.10; 2021: 1.10 × 0.95 = 1.045. The first value is relative to 2018 and not used."""
    found = deflated(table("prices.csv", {"p": unit}, year=[2019, 2020, 2021], p=[103.0, 110.0, 95.0]))
    assert found.frame["cei"].tolist()[3:5] == pytest.approx([0.08, 0.08 * 1.10], rel=1e-14)
    assert found.frame["cei"].tolist()[2] == pytest.approx(0.08 * 1.045, rel=1e-14)
    assert found.units["cei"] == "kg CO2e/yuan of 2019"


def test_a_chain_may_begin_before_the_data_in_any_order_and_spelling() -> None:
    prices = table(
        "prices.csv", {"p": "上年=100"}, year=["2021年", "2018年", "2020年", "2019年"], p=[95.0, NAN, 110.0, 102.0]
    )
    output = sold([1.0] * 6)
    text = Table(
        "sales.csv", output.frame.assign(year=output.frame["year"].astype(str)), output.provenance, output.units
    )
    activity = counted()
    spelt = Table(
        "i", activity.frame.assign(year=activity.frame["year"].astype(str)), activity.provenance, activity.units
    )
    found = intensity(spelt, output=text, per="sales", deflator=prices, index="price")
    assert found.frame["cei"].iloc[2] == pytest.approx(0.08 * 1.02 * 1.10 * 0.95, rel=1e-14)
    assert found.units["cei"] == "kg CO2e/yuan of 2018"


def test_a_fixed_base_divides_by_the_index() -> None:
    found = deflated(table("prices.csv", {"p": "2020年=100"}, year=[2019, 2020, 2021], p=[80.0, 100.0, 125.0]))
    assert found.frame["cei"].tolist()[:5] == pytest.approx([0.064, 0.1, 0.1, 0.064, 0.08], rel=1e-14)
    assert found.units["cei"] == "kg CO2e/yuan of 2020"


def test_an_index_may_differ_by_county() -> None:
    prices = table(
        "prices.csv", {"p": "上年=100"}, year=[2019, 2020, 2021] * 2, county=list("bbbaaa"), p=[100, 120.0, 100, 100, 110.0, 100]
    )  # fmt: skip
    found = deflated(prices)
    assert found.frame["cei"].tolist()[:5] == pytest.approx([0.08, 0.11, 0.088, 0.08, 0.096], rel=1e-14)


P = {"p": "上年=100"}


@pytest.mark.parametrize(
    ("deflator", "what", "where"),
    [
        (table("p.csv", P, year=[2019, 2021], p=[100.0, 105.0]), "2020 is not there before 2021", "p.csv, row 3"),
        (table("p.csv", P, year=[2019, 2020], p=[100.0, 105.0]), "have no index value; the first has year = 2021", "p.csv"),
        (table("p.csv", P, year=[2020, 2021], p=[100.0, 105.0]), "have no index value; the first has year = 2019", "p.csv"),
        (table("p.csv", P, year=[2019, 2020, 2021], p=[100.0, NAN, 101.0]), "cannot pass a missing year", "'p', row 3"),
        (table("p.csv", P, year=[2019, 2020, 2020], p=[100.0, 105.0, 99.0]), "repeat a key", "p.csv, row 4"),
        (table("p.csv", P, year=[2019, 2020, 2021], p=[1.0, 1.03, 1.02]), "1.03 is not an index out of 100", "rows 3, 4"),
        (table("p.csv", P, year=[2019, 2020, 2021], p=[100.0, 105.0, 305.0]), "305 is not an index out of 100", "row 4"),
        (table("p.csv", {}, year=[2019], p=[100.0]), "column 'p' has no unit", "p.csv"),
        (table("p.csv", {"p": "%"}, year=[2019], p=[100.0]), "'%' is not a kind of index", "p.csv, column 'p'"),
        (table("p.csv", {"p": "2019=1"}, year=[2019], p=[1.0]), "'2019=1' is not a kind of index", "p.csv, column 'p'"),
        (table("p.csv", {"p": "2019=100"}, year=[2019, 2020], p=[101.0, 99.0]), "is not 100 in 2019", "'p', row 2"),
        (table("p.csv", {"p": "2019=100"}, year=[2019, 2020, 2021], p=[100.0, NAN, 99.0]), "first has year = 2020", "p.csv"),
        (table("p.csv", {"p": "2020=100"}, year=[2019], p=[0.98]), "0.98 is not an index out of 100", "'p', row 2"),
        (table("p.csv", P, yr=[2019], p=[100.0]), "shares no column with sales.csv", "p.csv"),
        (table("p.csv", P, year=[2019], p=[100.0], q=[1.0]), "shares year with sales.csv and has besides p, q", "p.csv"),
        (table("p.csv", P, year=[], p=[]), "in 0 rows", "p.csv"),
        (table("p.csv", P, county=["a", "b"], p=[100.0, 100.0]), "0 of the columns county hold years", "p.csv"),
        (table("p.csv", P, county=[1, 2], year=[2019, 2019], p=[100.0, 100.0]), "'county' holds text in sales.csv", "'county'"),
        (
            table("p.csv", P, county=list("aaab"), year=[2019, 2020, 2021, 2020], p=[100.0] * 4),
            "all years from 2019; 2019 is not there before 2020", "p.csv, row 5",
        ),
    ],
)  # fmt: skip
def test_an_index_that_cannot_be_used_is_refused(deflator: Table, what: str, where: str) -> None:
    with pytest.raises(DataError) as caught:
        deflated(deflator)
    assert what in caught.value.what
    assert where in caught.value.where


def test_only_money_has_prices() -> None:
    prices = table("prices.csv", P, year=[2019, 2020, 2021], p=[100.0, 101.0, 102.0])
    with pytest.raises(DataError, match="'sales' is not an amount of money"):
        deflated(prices, sold(units={"sales": "t"}))


def test_from_files_with_sidecars_to_an_intensity(tmp_path: Path) -> None:
    """362 kg × 0.8 + 156 L × 0.8 = 414.4 kg CO2 on 10,000 yuan."""
    (tmp_path / "农户.csv").write_text(
        "farm,year,fertiliser,diesel,sown_area,sales\nA1,2022,362,156,15,1\nA2,2022,724,312,30,4\n", encoding="utf-8"
    )
    (tmp_path / "农户.csv.provenance.toml").write_text(
        'synthetic = true\n[units]\nfertiliser = "公斤"\ndiesel = "升"\nsown_area = "亩"\nsales = "万元"\n',
        encoding="utf-8",
    )
    activity = Delimited(tmp_path / "农户.csv").load()
    counted_once = inventory(activity, factor_set("changji_2022"), keys=("farm", "year"), leave_out=("sown_area",))
    found = intensity(counted_once, output=activity, per="sales")
    assert found.frame["cei"].tolist() == pytest.approx([0.04144, 0.02072], rel=1e-14)
    assert [Path(one.path).name for one in found.provenance] == ["农户.csv", "changji_2022.toml"]
    assert "sown_area was left out knowingly" in notes(counted_once)
