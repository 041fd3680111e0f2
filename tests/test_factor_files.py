"""Factor files: everything that is refused, with what, where and remedy; and the sets of the package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from evalkit.accounting import FactorSet, factor_set, inventory
from evalkit.accounting.factor_files import shipped_sets
from evalkit.accounting.warming import warming_potentials
from evalkit.errors import ConfigError, SourceError
from evalkit.tables.table import Provenance, Table

HEAD = """
name = "office"
title = { en = "Office factors", zh = "本单位系数" }
published_by = "office"
source = "letter of 2024"
status = "draft"
gases = ["CO2", "CH4", "N2O", "CO2e"]
gwp = "AR5"
boundary = { en = "Farm gate.", zh = "农场边界。" }
"""
PRODUCT = """
[parameters.share]
status = "published"
value = 0.8
unit = "ratio"
range = [0.7, 0.9]
source = "letter"
[parameters.burnt]
status = "quoted"
value = 2.7
unit = "g CH4/kg"
source = "letter"
[factors.straw_burnt]
status = "computed"
unit = "g CH4/kg"
product = ["burnt", "share"]
"""
CASES = """
[factors.electricity]
status = "published"
unit = "kg CO2/kWh"
source = "letter"
cases = [
  { province = ["新疆", "新疆维吾尔自治区"], year = 2021, value = 0.66 },
  { province = "北京", year = 2021, value = 0.57 },
]
"""


def factor(name: str, value: float, unit: str, more: str = "") -> str:
    return f'[factors.{name}]\nstatus = "published"\nvalue = {value}\nunit = "{unit}"\nsource = "letter"\n{more}\n'


def written(folder: Path, text: str, name: str = "own.toml", head: str = HEAD) -> Path:
    (folder / name).write_text(head + text, encoding="utf-8")
    return folder / name


def read(folder: Path, text: str, head: str = HEAD) -> FactorSet:
    return factor_set(written(folder, text, head=head))


def table(units: dict[str, str], **columns: list[Any]) -> Table:
    frame = pd.DataFrame(columns)
    frame.index = pd.RangeIndex(2, len(frame) + 2, name="row")
    return Table("farms.csv", frame, (Provenance("farms.csv", "0" * 64),), units)


# --- products, ranges, cases


@pytest.mark.parametrize(
    ("text", "old", "new", "what", "where", "remedy"),
    [
        (PRODUCT, "range", "rnage", "unknown key 'rnage'", "parameters.share", "'range'"),
        (PRODUCT, '["burnt", "share"]', '["burnt", "shaer"]', "unknown key 'shaer'", "straw_burnt.product", "'share'"),
        (PRODUCT, '["burnt", "share"]', "[]", "product does not list parameters", "straw_burnt.product", '["EF1"]'),
        (PRODUCT, '["burnt", "share"]', '"burnt"', "product does not list parameters", "straw_burnt.product", '["EF1"]'),
        (PRODUCT, '["burnt", "share"]', '["burnt"]\nover = ["share", 1]', "over does not list", "straw_burnt.over", '["EF1"]'),
        (PRODUCT, 'product = ["burnt", "share"]', 'source = "x"\nover = ["share"]', "the factor has over", "straw_burnt",
         "goes with product"),
        (PRODUCT, "product", "value = 2\nproduct", "the factor has value and product", "straw_burnt", "give one of them"),
        (PRODUCT, "product", "range = [1, 3]\nproduct", "a product has no range of its own", "straw_burnt.range", "parameters"),
        (PRODUCT, '["burnt", "share"]', '["burnt", "burnt"]', "measures mass of CH4 × mass of CH4 per mass per mass",
         "straw_burnt.unit", "list of parameters"),
        (PRODUCT, '["burnt", "share"]', '["share"]', "the product measures a number", "straw_burnt.unit", "correct the unit"),
        (PRODUCT, '"g CH4/kg"\nsource', '"g N2O/kg"\nsource', "measures mass of N2O per mass", "straw_burnt.unit", "unit"),
        (PRODUCT, '"g CH4/kg"\nsource', '"g CH4/ha"\nsource', "measures mass of CH4 per area", "straw_burnt.unit", "unit"),
        (PRODUCT, '"g CH4/kg"\nsource', '"g CH4/kgg"\nsource', "the unit 'kgg' is unknown", "parameters.burnt.unit", "'kg'"),
        (PRODUCT, '"ratio"', '"rato"', "the unit 'rato' is unknown", "parameters.share.unit", "did you mean"),
        (PRODUCT, '"ratio"', '""', "'unit' is missing", "parameters.share", 'unit = "…"'),
        (PRODUCT, '"quoted"', '"unknown"', "the status is 'unknown'", "parameters.burnt.status", "published"),
        (PRODUCT, "[0.7, 0.9]", "[0.85, 0.9]", "[0.85, 0.9] does not hold the value 0.8", "share.range", "95 %"),
        (PRODUCT, "[0.7, 0.9]", "[0.9, 0.7]", "does not hold the value 0.8", "share.range", "[low, high]"),
        (PRODUCT, "[0.7, 0.9]", "[70, 90]", "does not hold the value 0.8", "share.range", "in the unit of the value"),
        (PRODUCT, "[0.7, 0.9]", "[0.8, 0.8]", "does not hold", "share.range", "[low, high]"),
        (PRODUCT, "[0.7, 0.9]", "[-0.1, 0.9]", "does not hold", "share.range", "[low, high]"),
        (PRODUCT, "[0.7, 0.9]", "[0.7, inf]", "does not hold", "share.range", "[low, high]"),
        (PRODUCT, "[0.7, 0.9]", "[0.7, 0.8, 0.9]", "does not hold", "share.range", "[low, high]"),
        (PRODUCT, "[0.7, 0.9]", "0.1", "the range 0.1 does not hold", "share.range", "[low, high]"),
        (CASES, '"北京"', '"新疆"', "two cases are for 新疆, 2021", "electricity.cases, case 2", "keep one"),
        (CASES, '"北京", year = 2021', '"新疆", year = "2021年"', "two cases are for 新疆, 2021", "case 2", "keep one"),
        (CASES, '"北京", year = 2021', '"北京"', "does not name the columns of the first", "case 2", "the same in each case"),
        (CASES, '"北京", year', '"北京", yaer', "does not name the columns of the first", "case 2", "the same in each case"),
        (CASES, '"北京"', "[]", "[] is neither a word nor a whole number", "case 2", "or a list"),
        (CASES, "year = 2021, value = 0.57", "year = 2021.5, value = 0.57", "2021.5 is neither a word", "case 2", "or a list"),
        (CASES, "value = 0.57", "value = 0", "'value' is 0", "case 2", "above 0"),
        (CASES, "value = 0.57", "value = 570", "the factor of electricity is 570 kg CO2/kWh", "factors.electricity", "MWh"),
        (CASES, "cases", "range = [0.9, 1.1]\ncases", "cases have no one range", "electricity.range", "relative_range = ["),
        (CASES, "cases", "relative_range = [0.3, 0.8]\ncases", "does not hold the value 1", "relative_range",
         "relative_range = ["),
    ],
)  # fmt: skip
def test_products_ranges_and_cases_are_read_strictly(
    tmp_path: Path, text: str, old: str, new: str, what: str, where: str, remedy: str
) -> None:
    read(tmp_path, text)  # as it stands it is right
    assert old in text
    with pytest.raises(SourceError) as caught:
        read(tmp_path, text.replace(old, new, 1))
    assert what in caught.value.what
    assert where in caught.value.where
    assert "own.toml" in caught.value.where
    assert remedy in caught.value.remedy


def test_cases_are_a_list_that_is_not_empty(tmp_path: Path) -> None:
    for cases in ("[]", '"北京"', "[0.57]"):
        with pytest.raises(SourceError, match="cases is no list of cases"):
            read(tmp_path, CASES[: CASES.index("cases")] + f"cases = {cases}")


def test_a_product_by_hand_with_units_that_cancel(tmp_path: Path) -> None:
    """1.3 kg CH4 a hectare and day × 110 days × 0.6 / 0.5 = 171.6 kg CH4 a hectare, × 28."""
    figures = {"base": (1.3, "kg CH4/ha/day"), "days": (110, "day"), "water": (60, "%"), "half": (0.5, "ratio")}
    text = "".join(
        f'[parameters.{name}]\nstatus = "published"\nvalue = {value}\nunit = "{unit}"\nsource = "letter"\n'
        for name, (value, unit) in figures.items()
    )
    text += '[factors.rice_area]\nstatus = "computed"\nunit = "t CH4/km2"\nproduct = ["base", "days", "water"]\n'
    text += 'over = ["half"]\n'
    found = read(tmp_path, text)
    assert found.factors["rice_area"].value == pytest.approx(17.16, rel=1e-14)  # 0.1 t a km2 is 1 kg a ha
    assert found.rate("rice_area", "mu", where="") == pytest.approx(171.6 * 28 / 15, rel=1e-14)


def test_masses_of_different_substances_do_not_cancel(tmp_path: Path) -> None:
    """kg N a kg of fertiliser times kg N2O-N a kg N is kg N2O-N a kg; times kg N2O-N a kg of what is not N it is not."""
    text = """
[parameters.content]
status = "published"
value = 0.46
unit = "kg N/kg"
source = "letter"
[parameters.EF]
status = "published"
value = 0.01
unit = "kg N2O-N/kg N"
source = "letter"
[factors.manure_n]
status = "computed"
unit = "kg N2O-N/kg"
product = ["content", "EF"]
"""
    assert read(tmp_path, text).factors["manure_n"].value == pytest.approx(0.0046)
    with pytest.raises(SourceError, match="mass of N"):
        read(tmp_path, text.replace("kg N2O-N/kg N", "kg N2O-N/kg DM"))
    with pytest.raises(SourceError, match="'kg C/kg' measures mass of C per mass"):
        read(tmp_path, text.replace('"kg N2O-N/kg"\n', '"kg C/kg"\n').replace("manure_n", "urea"))


def test_a_parameter_may_not_be_called_as_a_factor(tmp_path: Path) -> None:
    """Both would go by one name, and the range of the one would be drawn for the other."""
    both = PRODUCT.replace("share", "diesel") + factor("diesel", 3.1, "kg CO2/kg")
    with pytest.raises(SourceError) as caught:
        read(tmp_path, both)
    assert caught.value.what == "'diesel' is a parameter and a factor"
    assert "parameters.diesel" in caught.value.where
    assert "another name" in caught.value.remedy


def test_a_factor_is_no_parameter_of_another(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="unknown key 'diesel'"):
        read(tmp_path, factor("diesel", 3.1, "kg CO2/kg") + PRODUCT.replace('"share"]', '"share", "diesel"]'))


def test_nothing_is_divided_by_what_may_be_zero(tmp_path: Path) -> None:
    text = PRODUCT.replace("[0.7, 0.9]", "[0.0, 0.9]")
    assert read(tmp_path, text).factors["straw_burnt"].value == pytest.approx(2.7 * 0.8)
    with pytest.raises(SourceError) as caught:
        read(tmp_path, text.replace('["burnt", "share"]', '["burnt"]\nover = ["share"]'))
    assert caught.value.what == "the range of 'share' begins at 0, and nothing is divided by 0"
    assert "straw_burnt.over" in caught.value.where


def test_a_product_is_as_weak_as_its_weakest_part(tmp_path: Path) -> None:
    def status(of_factor: str, of_burnt: str) -> str:
        text = PRODUCT.replace('"computed"', f'"{of_factor}"').replace('"quoted"', f'"{of_burnt}"')
        return read(tmp_path, text).factors["straw_burnt"].status

    assert status("computed", "published") == "computed"
    assert status("computed", "quoted") == "quoted"
    assert status("published", "recalled") == "recalled"
    assert status("recalled", "quoted") == "recalled"
    assert status("recalled", "published") == "recalled"


def test_a_name_with_a_dot_has_parameters(tmp_path: Path) -> None:
    found = read(tmp_path, PRODUCT, head=HEAD.replace('"office"', '"office.2024"', 1))
    assert found.factors["straw_burnt"].value == pytest.approx(2.16)


# --- sources of one's own, sinks, densities


def test_a_source_of_ones_own_needs_words(tmp_path: Path) -> None:
    text = factor("compost_heaps", 5, "kg CH4/t")
    with pytest.raises(SourceError) as caught:
        read(tmp_path, text)
    assert caught.value.what == "unknown emission source 'compost_heaps'"
    assert "a source of your own needs words: label = " in caught.value.remedy
    labelled = factor("compost_heaps", 5, "kg CH4/t", 'label = { en = "compost heaps", zh = "堆肥" }')
    assert read(tmp_path, labelled).rate("compost_heaps", "t", where="") == 140  # 5 × 28
    with pytest.raises(SourceError, match="'label' is not given in each language"):
        read(tmp_path, labelled.replace(', zh = "堆肥"', ""))
    with pytest.raises(SourceError, match="'dairy_cattle_enteric' is of the activity 'dairy_cattle'"):
        read(tmp_path, factor("dairy_cattle_enteric", 61, "kg CH4/head", 'activity = "pigs"'))


def test_what_emits_takes_nothing_up(tmp_path: Path) -> None:
    with pytest.raises(SourceError) as caught:
        read(tmp_path, factor("fertiliser", 0.9, "kg C/kg", "sink = true"))
    assert caught.value.what == "'fertiliser' takes up nothing"
    assert "factors.fertiliser.sink" in caught.value.where
    with pytest.raises(SourceError, match="sink is False"):
        read(tmp_path, factor("rice_harvest", 0.8, "kg C/kg", "sink = false"))
    assert read(tmp_path, factor("rice_harvest", 0.9, "kg C/kg")).rate("rice_harvest", "kg", where="") == pytest.approx(
        -3.3
    )
    own = factor("orchards", 0.9, "t C/ha", 'sink = true\nlabel = { en = "orchards", zh = "果园" }')
    assert read(tmp_path, own).rate("orchards", "ha", where="") == pytest.approx(-3300)


@pytest.mark.parametrize(("value", "unit"), [(840, "kg/L"), (0.84, "kg/m3"), (840, "t/m3")])
def test_a_fuel_is_neither_lead_nor_air(tmp_path: Path, value: float, unit: str) -> None:
    text = factor("diesel", 3.1, "kg CO2/kg") + '[density.diesel]\nvalue = 0.84\nunit = "kg/L"\nsource = "letter"\n'
    assert read(tmp_path, text).rate("diesel", "L", where="") == pytest.approx(3.1 * 0.84)
    with pytest.raises(SourceError, match="a litre of diesel would weigh") as caught:
        read(tmp_path, text.replace('0.84\nunit = "kg/L"', f'{value}\nunit = "{unit}"'))
    assert "density.diesel" in caught.value.where
    assert "840 kg/m3 is 0.84 kg/L" in caught.value.remedy


# --- warming potentials


@pytest.mark.parametrize(
    ("report", "methane", "nitrous_oxide"), [("SAR", 21, 310), ("AR4", 25, 298), ("AR5", 28, 265), ("AR6", 27.0, 273)]
)
def test_potentials_of_the_reports(tmp_path: Path, report: str, methane: float, nitrous_oxide: float) -> None:
    assert warming_potentials(report)[0] == {"CH4": methane, "N2O": nitrous_oxide}
    one = read(tmp_path, factor("pigs", 1, "kg CH4/head") + factor("fertiliser_n", 0.01, "kg N2O-N/kg N"))
    weighed = one.weighed_by(report)
    assert weighed.rate("pigs", "head", where="") == methane
    assert weighed.rate("fertiliser_n", "kg", where="") == pytest.approx(0.01 * 44 / 28 * nitrous_oxide, rel=1e-14)


def test_potentials_are_those_of_a_report_or_ones_own(tmp_path: Path) -> None:
    text = factor("pigs", 1, "kg CH4/head")
    figures = '[gwp100]\nCH4 = 25\nN2O = 298\nsource = "letter"\n'
    with pytest.raises(SourceError) as caught:
        read(tmp_path, figures + text)
    assert caught.value.what == "gwp is not one report of the IPCC"
    assert "no [gwp100] beside it" in caught.value.remedy
    with pytest.raises(SourceError, match="there are no warming potentials 'AR7'") as caught:
        read(tmp_path, text, head=HEAD.replace('"AR5"', '"AR7"'))
    assert "AR6" in caught.value.remedy
    bare = HEAD.replace('gwp = "AR5"\n', "")
    assert read(tmp_path, figures + text, head=bare).rate("pigs", "head", where="") == 25
    with pytest.raises(SourceError, match="'source' is missing"):
        read(tmp_path, figures.replace('source = "letter"\n', "") + text, head=bare)
    with pytest.raises(ConfigError, match="'ar5'"):
        factor_set("literature", gwp="ar5")


@pytest.mark.parametrize(
    ("old", "new"), [("CH4 = 25\nN2O = 298", "CH4 = 298\nN2O = 25"), ("CH4 = 25", "CH4 = 84"), ("298", "0.298")]
)
def test_potentials_swapped_or_of_twenty_years_are_refused(tmp_path: Path, old: str, new: str) -> None:
    figures = '[gwp100]\nCH4 = 25\nN2O = 298\nsource = "letter"\n'.replace(old, new)
    with pytest.raises(SourceError, match="over 100 years is") as caught:
        read(tmp_path, figures + factor("pigs", 1, "kg CH4/head"), head=HEAD.replace('gwp = "AR5"\n', ""))
    assert "gwp100." in caught.value.where
    assert "not 20" in caught.value.remedy


# --- factors far from what is usual


@pytest.mark.parametrize(
    ("name", "value", "unit", "remedy"),
    [
        ("fertiliser", 0.8956, "kg CO2/kg", "is it kg C/kg?"),  # C for CO2
        ("fertiliser", 3.284, "kg C/kg", "is it kg CO2/kg?"),
        ("diesel", 0.5927, "kg CO2/kg", "is it kg C/kg?"),
        ("diesel", 0.72, "kg CO2/L", "is it kg C/L?"),  # no density in the file: any a fuel may have
        ("film", 5.18, "kg CO2/kg", "is it kg C/kg?"),
        ("sown_area", 312.6, "kg C/ha", "is it kg C/km2?"),  # km2 for ha
        ("fertiliser", 895.6, "kg C/kg", "is it kg C/t?"),  # t for kg
        ("pesticide", 4934.1, "kg C/kg", "is it kg C/t?"),
        ("electricity", 581, "kg CO2/kWh", "is it kg CO2/MWh?"),
        ("compound_fertiliser", 380.97, "kg C/kg", "is it kg C/t?"),  # as a paper prints it
        ("straw_burnt", 2.7, "kg CH4/kg", "is it kg CH4/t?"),
        ("urea", 0.733, "kg C/kg", "is it kg CO2/kg?"),
        ("urea", 0.2, "kg CO2/kg", "is it kg C/kg?"),
        ("pesticide", 0.8956, "kg C/kg", "is it the factor of chemical fertiliser"),  # of another product
        ("pigs", 61, "kg CH4/head", "is it the factor of cattle?"),
        ("dairy_cattle", 1, "kg CH4/head", "is it the factor of pigs?"),
        ("fertiliser_n", 0.5, "kg N2O-N/kg N", "compare value and unit"),
        ("dairy_cattle", 61, "kg CO2e/head", "is it kg CH4/head?"),  # not weighed
        ("dairy_cattle", 61, "kg CO2/head", "is it kg CH4/head?"),
        ("diesel", 3.1, "kg CH4/kg", "is it kg CO2/kg?"),
        ("fertiliser_n", 0.01, "kg CO2e/kg", "is it kg N2O-N/kg?"),
    ],
)
def test_a_factor_far_from_usual_is_explained(tmp_path: Path, name: str, value: float, unit: str, remedy: str) -> None:
    with pytest.raises(SourceError) as caught:
        read(tmp_path, factor(name, value, unit))
    assert f"the factor of {name} is {value:g} {unit}; usual is " in caught.value.what
    assert caught.value.where.endswith(f"own.toml, factors.{name}")
    assert remedy in caught.value.remedy
    why = 'unusual = { en = "printed so", zh = "原文如此" }'
    assert 'unusual = { en = "…", zh = "…" }' in caught.value.remedy
    found = read(tmp_path, factor(name, value, unit, why))
    kinds = {"kg": "kg", "L": "L", "ha": "ha", "kWh": "kWh", "head": "head", "kg N": "kg"}
    used = table({name: kinds[unit.partition("/")[2]]}, farm=[1], **{name: [1.0]})
    counted = inventory(used, found, keys=("farm",))
    assert "; unusual: printed so" in counted.provenance[-1].notes
    with pytest.raises(SourceError, match="'unusual' is not given in each language"):
        read(tmp_path, factor(name, value, unit, 'unusual = { en = "printed so" }'))


@pytest.mark.parametrize(
    ("name", "value", "unit"),
    [
        ("dairy_cattle", 61 * 28, "kg CO2e/head"),
        ("dairy_cattle", 415.91, "kg C/head"),  # methane as carbon, 6.82 kg C a kg, as some papers print it
        ("diesel", 2.68, "kg CO2/L"),
        ("diesel", 1.83, "kg CO2/L"),
        ("sown_area", 3.126, "kg C/ha"),
        ("irrigated_area", 266.48, "kg C/ha"),
        ("phosphate_fertiliser", 0.636, "kg C/kg"),
        ("fertiliser_n", 4.16, "kg CO2e/kg"),
    ],
)
def test_what_papers_have_passes(tmp_path: Path, name: str, value: float, unit: str) -> None:
    assert read(tmp_path, factor(name, value, unit)).factors[name].value == value


@pytest.mark.parametrize(
    ("name", "value", "unit"),
    [("fertiliser", 1.74, "kg C/kg N"), ("compound_fertiliser", 1.74, "kg C/kg N"), ("urea", 0.3, "kg C/kg N"),
     ("fertiliser", 0.4, "kg C/kg P2O5"), ("nitrogen_fertiliser", 0.9, "kg C/kg K2O")],
)  # fmt: skip
def test_a_factor_per_nutrient_is_of_what_is_measured_in_it(tmp_path: Path, name: str, value: float, unit: str) -> None:
    """1.74 kg C a kg of nitrogen, times all nutrients, lies within what is usual and is twice too much."""
    with pytest.raises(SourceError) as caught:
        read(tmp_path, factor(name, value, unit))
    nutrient = unit.rpartition(" ")[2]
    assert caught.value.what == f"the factor is per kg of {nutrient}, and {name} is not measured in {nutrient}"
    assert caught.value.where.endswith(f"factors.{name}.unit")
    assert read(tmp_path, factor("nitrogen_fertiliser", 1.74, "kg C/kg N")).factors


# --- sets joined


def test_joined_sets_with_one_source_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        factor_set("literature", written(tmp_path, factor("diesel", 3.1, "kg CO2/kg")))
    assert caught.value.what == "the sets 'literature' and 'office' both have a factor for diesel"
    assert "take one of them" in caught.value.remedy


def test_joined_sets_of_one_name_are_refused(tmp_path: Path) -> None:
    """Figures go by the name of their set: the range of the one would be drawn for the other."""
    first = written(tmp_path, factor("diesel", 3.1, "kg CO2/kg"), "a.toml")
    second = written(tmp_path, factor("petrol", 3.1, "kg CO2/kg"), "b.toml")
    with pytest.raises(ConfigError, match="two of the sets are called 'office'"):
        factor_set(first, second)


def test_joined_sets_with_other_potentials_are_refused_until_a_report_is_named(tmp_path: Path) -> None:
    """ipcc_2006_straw has AR5 (28), ipcc_2019 AR6 (27)."""
    with pytest.raises(ConfigError) as caught:
        factor_set("ipcc_2006_straw", "ipcc_2019")
    assert caught.value.what == "the sets weigh CH4 by 28 and by 27"
    assert 'factor_set(…, gwp="AR5")' in caught.value.remedy
    joined = factor_set("ipcc_2006_straw", "ipcc_2019", gwp="AR5")
    assert joined.gwp100 == {"CH4": 28, "N2O": 265}
    assert joined.rate("dairy_cattle", "head", where="") == 78 * 28


def test_joined_sets_do_not_mix_reports_gas_by_gas() -> None:
    """The nitrous oxide of AR5 beside the methane of AR6: no gas has two potentials, and the account is of no report."""
    with pytest.raises(ConfigError) as caught:
        factor_set("ipcc_2006", "ipcc_2019")
    assert "Fifth Assessment Report" in caught.value.what
    assert "Sixth Assessment Report" in caught.value.what
    assert factor_set("ipcc_2006", "ipcc_2019", gwp="AR6").gwp100 == {"N2O": 273, "CH4": 27}


def test_joined_sets_weigh_a_litre_alike(tmp_path: Path) -> None:
    text = factor("petrol", 3.1, "kg CO2/kg") + '[density.diesel]\nvalue = 850\nunit = "kg/m3"\nsource = "letter"\n'
    with pytest.raises(ConfigError, match=r"a litre of diesel by 0\.84 and by 0\.85 kg"):
        factor_set("literature", written(tmp_path, text))
    assert factor_set("literature", written(tmp_path, text.replace("850", "840"))).density["diesel"].value == 0.84


def test_joined_sets_keep_what_one_of_them_counts(tmp_path: Path) -> None:
    joined = factor_set("literature", "literature_irrigation_recalled", "ipcc_2006_livestock")
    assert joined.factors["irrigated_area"].status == "recalled"  # unknown in the first
    assert "livestock" not in joined.excludes
    assert "rice" in joined.excludes


# --- the sets of the package


@pytest.mark.parametrize("name", shipped_sets())
def test_every_figure_of_the_package_has_a_status_and_a_source(name: str) -> None:
    found = factor_set(name)
    for one in found.factors.values():
        assert one.status in ("published", "computed", "quoted", "recalled", "unknown", "excluded")
        sources = [one.source, *(found.parameters[figure].source for figure, _ in one.parameters)]
        assert any(sources) or one.status in ("unknown", "excluded")
        assert one.is_valued == (one.status not in ("unknown", "excluded"))
        assert all(one.reason.get(language) for language in ("en", "zh")) == (one.status == "excluded")
    for figure in found.parameters.values():
        assert figure.source
        assert figure.status in ("published", "computed", "quoted", "recalled")
        assert figure.range is None or figure.range[0] <= figure.value <= figure.range[1]
    recalled = {one.name for one in (*found.factors.values(), *found.parameters.values()) if one.status == "recalled"}
    assert not recalled or name.endswith("_recalled")
    assert recalled or not name.endswith("_recalled")


def test_what_is_recalled_is_repeated_by_every_account() -> None:
    one = table({"irrigated_area": "ha"}, farm=[1], irrigated_area=[1.0])
    found = inventory(one, factor_set("literature", "literature_irrigation_recalled"), keys=("farm",))
    assert "NOT CHECKED against the publication (recalled): irrigated_area" in found.provenance[-1].notes
