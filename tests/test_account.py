"""Accounts of sets that are joined, worked by hand, and what no account does: count twice, by half, or another product."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from evalkit import steps
from evalkit.accounting import factor_set, inventory
from evalkit.errors import ConfigError, DataError
from evalkit.sources import Delimited
from evalkit.tables.table import Provenance, Table

CONVENTION = ("literature", "literature_irrigation_recalled")


def table(units: dict[str, str], *headers: tuple[str, str], **columns: list[Any]) -> Table:
    frame = pd.DataFrame(columns)
    frame.index = pd.RangeIndex(2, len(frame) + 2, name="row")
    return Table("farms.csv", frame, (Provenance("farms.csv", "0" * 64, headers=headers),), units)


def account(of: Table, *sets: str, gwp: str | None = None, **options: Any) -> dict[str, float]:
    frame = inventory(of, factor_set(*sets, gwp=gwp), keys=options.pop("keys", ("farm",)), **options).frame
    return frame.set_index("source")["emissions"].to_dict()


def notes(of: Table) -> str:
    return "; ".join(one.notes for one in of.provenance)


# --- worked by hand


def test_the_account_of_a_household() -> None:
    """Ten mu, 200 kg of nutrients, five pigs, a tonne of straw burnt, 600 kWh in Xinjiang in 2022."""
    farm = table(
        {"fertiliser": "公斤", "pesticide": "kg", "film": "kg", "diesel": "升", "sown_area": "亩", "rice_area": "亩",
         "pigs": "头", "rice_straw_burnt": "吨", "electricity": "度"},
        farm=["A"], province=["新疆"], year=[2022], fertiliser=[200.0], pesticide=[2.0], film=[30.0], diesel=[100.0],
        sown_area=[10.0], rice_area=[3.0], pigs=[5.0], rice_straw_burnt=[1.0], electricity=[600.0],
    )  # fmt: skip
    sets = ("literature", "ipcc_2019", "ipcc_2006_livestock", "ipcc_2006_straw", "grid_china_provinces")
    with pytest.raises(ConfigError, match="both have a factor for buffalo, other_cattle"):
        account(farm, *sets, gwp="AR5")
    # Rice is counted on its own, with the refinement that has other factors of cattle.
    found = account(farm, "literature", "ipcc_2006_livestock", "ipcc_2006_straw", "grid_china_provinces",
                    leave_out=("rice_area",))  # fmt: skip
    c = 44 / 12
    by_hand = {
        "fertiliser": 200 * 0.8956 * c,
        "pesticide": 2 * 4.9341 * c,
        "film": 30 * 5.18 * c,
        "diesel": 100 * 0.84 * 0.5927 * c,  # litres, of 0.84 kg
        "sown_area": 10 / 15 * 312.6 / 100 * c,  # per km2
        "electricity": 600 * 0.6231,
        "pigs": 5 * 1 * 28,
        "rice_straw_burnt": 1000 * 2.7e-3 * 0.8 * 28,
        "rice_straw_burnt_burning_n2o": 1000 * 0.07e-3 * 0.8 * 265,
    }
    assert found == pytest.approx(by_hand, rel=1e-12)
    assert sum(found.values()) == pytest.approx(
        656.773 + 36.183 + 569.8 + 182.552 + 7.641 + 373.86 + 140 + 60.48 + 14.84, abs=5e-3
    )
    rice = account(farm, "ipcc_2019", leave_out=tuple(one for one in by_hand if "n2o" not in one))
    assert rice == pytest.approx({"rice_area": 3 / 15 * 1.32 * 112 * 0.6 * 1.22 * 27}, rel=1e-12)  # 584.4 kg CO2e, AR6


def test_the_account_of_a_county_joins_sets_under_one_report() -> None:
    """Wet soils and cattle of the refinement (AR6) with straw of 2006 (AR5), all at 28 and 265."""
    county = table(
        {"fertiliser_n": "吨", "manure_n": "t", "dairy_cattle": "万头", "other_cattle": "头", "straw_burnt": "万吨"},
        county=["a"], fertiliser_n=[5000.0], manure_n=[800.0], dairy_cattle=[0.3], other_cattle=[9000.0], straw_burnt=[0.5],
    )  # fmt: skip
    found = account(county, "ipcc_2019", "ipcc_2019_soils_wet", "ipcc_2006_straw", gwp="AR5", keys=("county",))
    n2o = 44 / 28 * 265
    by_hand = {
        "fertiliser_n": 5e6 * 0.016 * n2o,
        "fertiliser_n_deposition_n2o": 5e6 * 0.11 * 0.014 * n2o,
        "fertiliser_n_leaching_n2o": 5e6 * 0.24 * 0.011 * n2o,
        "manure_n": 8e5 * 0.006 * n2o,
        "dairy_cattle": 3000 * 78 * 28,
        "other_cattle": 9000 * 54 * 28,
        "straw_burnt": 5e6 * 2.7e-3 * 0.85 * 28,
        "straw_burnt_burning_n2o": 5e6 * 0.07e-3 * 0.85 * 265,
    }
    assert found == pytest.approx(by_hand, rel=1e-12)


def test_the_step_joins_sets_as_the_function_does() -> None:
    county = table({"straw_burnt": "t", "dairy_cattle": "头"}, county=["a"], straw_burnt=[1.0], dairy_cattle=[1.0])
    step = steps.Inventory(activity="farms", factors=("ipcc_2019", "ipcc_2006_straw"), keys=("county",), gwp="AR5")
    found = step.run({"farms": county}).frame.set_index("source")["emissions"]
    assert found.to_dict() == pytest.approx(
        {"straw_burnt": 2.7 * 0.85 * 28, "straw_burnt_burning_n2o": 0.07 * 0.85 * 265, "dairy_cattle": 78 * 28},
        rel=1e-12,
    )
    assert step.files() == ()


def test_sinks_are_negative_and_net_emissions_may_be() -> None:
    farm = table({"wheat_harvest": "t", "diesel": "kg"}, farm=[1], wheat_harvest=[1.0], diesel=[10.0])
    found = account(farm, "crop_sinks_recalled", "literature")
    taken = -1000 * 0.485 * 0.88 / 0.4 * 44 / 12
    assert found == pytest.approx({"wheat_harvest": taken, "diesel": 10 * 0.5927 * 44 / 12}, rel=1e-12)
    assert sum(found.values()) < 0


# --- cases by province and year

USED = {"electricity": "kWh"}


@pytest.mark.parametrize("year", [2021, "2021", "2021年", "2021 年", 2021.0])
@pytest.mark.parametrize("province", ["新疆", "新疆维吾尔自治区", " 新疆 "])
def test_a_case_is_found_by_short_and_full_names(province: str, year: Any) -> None:
    farm = table(USED, farm=[1, 2], province=[province, "北京市"], year=[year, year], electricity=[100.0, 100.0])
    found = inventory(farm, factor_set("grid_china_provinces"), keys=("farm",)).frame
    assert found["emissions"].tolist() == pytest.approx([65.77, 56.88], rel=1e-12)
    assert found["factor"].tolist() == [0.6577, 0.5688]
    assert "electricity by province and year, quoted" in notes(
        inventory(farm, factor_set("grid_china_provinces"), keys=("farm",))
    )


def test_each_row_has_the_factor_of_its_own_case_whatever_the_order_and_the_type() -> None:
    rows = [
        ("北京", 2022, 0.558),
        ("新疆", 2021, 0.6577),
        ("北京", 2021, 0.5688),
        ("新疆", 2022, 0.6231),
        ("北京", 2022, 0.558),
    ]
    farm = table(
        USED,
        farm=list(range(5)),
        province=[one for one, _, _ in rows],
        year=[one for _, one, _ in rows],
        electricity=[1.0] * 5,
    )
    farm.frame["province"] = pd.Categorical(
        farm.frame["province"], categories=["上海", "新疆", "北京"]
    )  # one is unused
    found = inventory(farm, factor_set("grid_china_provinces"), keys=("farm",)).frame
    assert found["factor"].tolist() == [one for _, _, one in rows]


@pytest.mark.parametrize(
    ("province", "year", "what"),
    [
        ("西藏", 2021, "province = 西藏, year = 2021"),
        ("北京", 2020, "province = 北京, year = 2020"),
        (None, 2021, "province = nan, year = 2021"),
        ("乌鲁木齐", 2021, "province = 乌鲁木齐, year = 2021"),
    ],
)
def test_a_row_without_a_case_is_refused_by_its_number(province: str | None, year: int, what: str) -> None:
    farm = table(
        USED,
        farm=[1, 2, 3],
        province=["新疆", province, province],
        year=[2021, year, year],
        electricity=[1.0, 1.0, 0.0],
    )
    with pytest.raises(DataError) as caught:
        account(farm, "grid_china_provinces")
    assert caught.value.what == f"electricity has no factor for {what}, and 2 rows lack one"
    assert "rows 3, 4" in caught.value.where
    assert "add a case in a file of your own" in caught.value.remedy


def test_cases_need_their_columns() -> None:
    farm = table(USED, farm=[1], province=["新疆"], electricity=[1.0])
    with pytest.raises(DataError, match="there is no column 'year'"):
        account(farm, "grid_china_provinces")


# --- counted twice, by half, for another


@pytest.mark.parametrize(
    ("units", "sets", "what"),
    [
        ({"fertiliser": "kg", "nitrogen_fertiliser": "kg", "compound_fertiliser": "kg"},
         ("literature", "literature_by_nutrient"), "'fertiliser' and 'nitrogen_fertiliser' would be counted twice"),
        ({"irrigated_area": "ha", "electricity": "kWh"}, (*CONVENTION, "grid_china_provinces"),
         "'irrigated_area' and 'electricity' would be counted twice: the one is in the factor of the other"),
    ],
)  # fmt: skip
def test_what_would_be_counted_twice_is_refused(units: dict[str, str], sets: tuple[str, ...], what: str) -> None:
    farm = table(units, farm=[1], province=["新疆"], year=[2021], **{one: [1.0] for one in units})
    with pytest.raises(DataError) as caught:
        account(farm, *sets)
    assert what in caught.value.what
    assert 'leave_out=("' in caught.value.remedy
    left = caught.value.remedy.partition('leave_out=("')[2].partition('"')[0]
    rest = account(
        farm, *sets, leave_out=(left,) if left == "electricity" else ("nitrogen_fertiliser", "compound_fertiliser")
    )
    assert left not in rest


def test_a_part_without_a_factor_beside_its_whole_is_noted_and_not_added() -> None:
    farm = table(
        {"fertiliser": "kg", "phosphate_fertiliser": "kg"}, farm=[1], fertiliser=[10.0], phosphate_fertiliser=[3.0]
    )
    found = inventory(farm, factor_set("literature"), keys=("farm",))
    assert found.frame["emissions"].tolist() == pytest.approx([10 * 0.8956 * 44 / 12])
    assert "phosphate_fertiliser is not counted beside fertiliser" in notes(found)


def own(folder: Path, *factors: str) -> Path:
    path = folder / "own.toml"
    head = (
        'name = "office"\ntitle = { en = "Office", zh = "本单位" }\npublished_by = "office"\nsource = "letter"\n'
        'status = "draft"\ngases = ["CO2", "CO2e"]\nboundary = { en = "Farm gate.", zh = "农场边界。" }\n'
    )
    path.write_text(head + "".join(factors), encoding="utf-8")
    return path


def test_a_source_of_ones_own_beside_another_of_the_same_activity_is_noted(tmp_path: Path) -> None:
    """Whether it is transport on top or the manufacture once more only its author knows."""
    more = (
        '[factors.fertiliser_transport]\nactivity = "fertiliser"\nlabel = { en = "transport", zh = "运输" }\n'
        'status = "published"\nvalue = 0.1\nunit = "kg CO2/kg"\nsource = "letter"\n'
    )
    farm = table({"fertiliser": "kg"}, farm=[1], fertiliser=[10.0])
    found = inventory(farm, factor_set("literature", own(tmp_path, more)), keys=("farm",))
    assert found.frame["emissions"].tolist() == pytest.approx([10 * 0.8956 * 44 / 12, 1.0])
    assert "fertiliser and fertiliser_transport are all CO2 of fertiliser: check that they are not the same" in notes(
        found
    )


def test_what_its_publisher_weighed_is_not_weighed_again_and_the_notes_say_so(tmp_path: Path) -> None:
    rice = '[factors.rice_area]\nstatus = "published"\nvalue = 5000\nunit = "kg CO2e/ha"\nsource = "letter"\n'
    farm = table({"rice_area": "ha"}, farm=[1], rice_area=[1.0])
    found = inventory(farm, factor_set(own(tmp_path, rice), gwp="AR6"), keys=("farm",))
    assert found.frame["emissions"].tolist() == [5000.0]
    assert "weighed by their publishers, and not by these potentials: rice_area" in notes(found)


def test_straight_nitrogen_without_compound_fertiliser_is_half_of_it() -> None:
    kinds = ("nitrogen_fertiliser", "phosphate_fertiliser", "potash_fertiliser")
    units = dict.fromkeys((*kinds, "compound_fertiliser", "fertiliser_n"), "kg")
    given: dict[str, list[Any]] = {one: [100.0] for one in kinds}
    with pytest.raises(DataError) as caught:
        account(table(dict.fromkeys(kinds, "kg"), farm=[1], **given), "literature_by_nutrient")
    assert (
        caught.value.what
        == "'nitrogen_fertiliser' is counted without 'compound_fertiliser', which holds the same nutrient"
    )
    assert 'leave_out=("compound_fertiliser",)' in caught.value.remedy
    # The nitrogen of all fertiliser is counted on soils: that is no manufacture of compound fertiliser.
    with pytest.raises(DataError, match="is counted without 'compound_fertiliser'"):
        account(
            table(dict.fromkeys((*kinds, "fertiliser_n"), "kg"), farm=[1], fertiliser_n=[150.0], **given),
            "literature_by_nutrient",
            "ipcc_2006",
        )
    whole = table(units, farm=[1], compound_fertiliser=[200.0], fertiliser_n=[150.0], **given)
    found = account(whole, "literature_by_nutrient", "ipcc_2006")
    carbon_kg = 100 * 1.74 + 100 * 0.16509 + 100 * 0.12028 + 200 * 0.38097
    assert sum(found.values()) - found["fertiliser_n"] == pytest.approx(carbon_kg * 44 / 12, rel=1e-12)
    assert found["fertiliser_n"] == pytest.approx(150 * 0.01 * 44 / 28 * 265, rel=1e-12)


@pytest.mark.parametrize(
    ("counted", "header", "unit", "named"),
    [
        ("fertiliser", "农药使用量", "t", "pesticide"),
        ("pesticide", "农用塑料薄膜使用量", "t", "plastic film"),
        (
            "fertiliser",
            "复合肥施用折纯量",
            "t",
            "compound fertiliser (nutrient content) is, and is named for 'fertiliser', of which",
        ),
        (
            "nitrogen_fertiliser",
            "农用化肥施用折纯量",
            "t",
            "chemical fertiliser (nutrient content) is, and is named for",
        ),
        ("fertiliser_n", "氮肥施用折纯量", "t", "nitrogen fertiliser (straight, nutrient content)"),
        ("sown_area", "有效灌溉面积", "千公顷", "irrigated area"),
        ("dairy_cattle", "牛年末存栏", "万头", "cattle is, and is named for 'dairy_cattle', which is only a part"),
        ("pigs", "羊年末存栏", "万只", "sheep and goats"),
        ("fertiliser", "film_t", "t", "plastic film"),
        ("fertiliser", "fertiliser_n_10kt", "万吨", "nitrogen fertiliser"),
        ("nitrogen_fertiliser", "fertiliser_10kt", "万吨", "chemical fertiliser"),
        ("other_cattle", "dairy_cattle", "头", "dairy cattle"),
    ],
)
@pytest.mark.parametrize("renamed", [False, True])
def test_a_column_called_as_another_product_is_refused(
    counted: str, header: str, unit: str, named: str, renamed: bool
) -> None:
    """Also where it was given another name, here or when it was read: the header in the file is what it holds."""
    column = "x" if renamed else header
    farm = table({column: unit}, *([("x", header)] if renamed else []), farm=[1], **{column: [1.0]})
    sets = ("literature_by_nutrient", "ipcc_2006_livestock", "ipcc_2006") if counted not in (
        "fertiliser", "pesticide", "sown_area") else ("literature",)  # fmt: skip
    if counted == "dairy_cattle":
        sets = ("ipcc_2019",)
    with pytest.raises(DataError) as caught:
        account(
            farm,
            *sets,
            sources={counted: column},
            gwp="AR5",
            leave_out=("compound_fertiliser",) if counted.startswith("nitrogen") else (),
        )
    assert f"column '{header}' is called as {named}" in caught.value.what
    assert caught.value.where == f"farms.csv, column '{column}'"
    assert "name it for that: sources=" in caught.value.remedy


def test_a_renamed_column_of_a_file_keeps_its_header(tmp_path: Path) -> None:
    path = tmp_path / "yearbook.csv"
    path.write_text("地区,农药使用量\n昌吉州,500\n", encoding="utf-8")
    read = Delimited(path, columns={"county": "地区", "fertiliser": "农药使用量"}, units={"fertiliser": "t"}).load()
    with pytest.raises(DataError, match="column '农药使用量' is called as pesticide is, and is named for 'fertiliser'"):
        account(read, "literature", keys=("county",))


@pytest.mark.parametrize(
    ("counted", "header"),
    [
        ("fertiliser", "农用化肥施用折纯量"), ("nitrogen_fertiliser", "化肥施用量（氮肥）"), ("nitrogen_fertiliser", "农用氮肥"),
        ("nitrogen_fertiliser", "fertiliser_n_10kt"), ("fertiliser_n", "fertiliser_n"), ("fertiliser", "fertiliser_nutrients_kg"),
        ("phosphate_fertiliser", "fertiliser_p_10kt"), ("potash_fertiliser", "fertiliser_k_10kt"),
        ("compound_fertiliser", "fertiliser_compound_10kt"), ("film", "农用塑料薄膜使用量_地膜"), ("diesel", "农用柴油使用量"),
    ],
)  # fmt: skip
def test_a_column_called_as_what_it_holds_passes(counted: str, header: str) -> None:
    sets = ("literature_by_nutrient",) if counted.endswith("_fertiliser") else ("literature",)
    if counted == "fertiliser_n":
        sets = ("ipcc_2006",)
    farm = table({header: "t"}, farm=[1], **{header: [1.0]})
    left = ("compound_fertiliser",) if counted == "nitrogen_fertiliser" else ()
    assert account(farm, *sets, sources={counted: header}, leave_out=left)[counted] > 0


def test_negative_activity_is_refused_by_its_row() -> None:
    farm = table({"wheat_harvest": "t"}, farm=[1, 2], wheat_harvest=[1.0, -1.0])
    with pytest.raises(DataError) as caught:
        account(farm, "crop_sinks_recalled")
    assert caught.value.what == "wheat_harvest is negative"
    assert caught.value.where == "farms.csv, column 'wheat_harvest', row 3"
