"""Credit and rewards tied to carbon accounts, against arithmetic by hand on the printed figures, and all that is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from evalkit.accounting import carbon_grade, carbon_points, presale_value, rate_discount, reduction_subsidy
from evalkit.errors import DataError
from evalkit.study.running import run_study
from evalkit.tables.table import Provenance, Table

NAN = float("nan")
STATED: dict[str, str] = {"source": "a decree", "status": "published"}
PRINTED = "Changji model"


def table(units: dict[str, str], **columns: list[Any]) -> Table:
    frame = pd.DataFrame(columns)
    frame.index = pd.RangeIndex(2, len(frame) + 2, name="row")
    return Table("accounts.csv", frame, (Provenance("accounts.csv", "0" * 64, notes="read", synthetic=True),), units)


def notes(of: Table) -> str:
    return of.provenance[0].notes


def refused(says: str, where: str, remedy: str, verb: Any, *given: Any, **options: Any) -> None:
    with pytest.raises(DataError) as caught:
        verb(*given, **options)
    assert says in caught.value.what
    assert where in caught.value.where
    assert remedy in caught.value.remedy


# --- rate discount

CUTS = {"reduction": "%", "rate": "% a year"}


def test_the_printed_rule_in_both_readings() -> None:
    """25 × 0.1 = 2.5 points = 250 bp; 25 × 0.1 % × 4.35 % = 0.10875 points = 10.875 bp. The printed 40 bp are neither."""
    points = rate_discount(25, reading="points", rate=4.35)
    assert (points.basis_points, points.percentage_points) == (250.0, 2.5)
    assert points.rate_after == pytest.approx(1.85, abs=1e-12)
    relative = rate_discount(25, reading="relative", rate=4.35)
    assert relative.basis_points == pytest.approx(10.875, abs=1e-12)
    assert relative.rate_after == pytest.approx(4.24125, abs=1e-12)
    assert 250 / 40 == 6.25  # as many times the rule exceeds what is printed
    for one, said in ((points, "0.1 percentage point"), (relative, "0.1 % of the rate")):
        assert said in one.notes
        assert PRINTED in one.notes
        assert "published" in one.notes


def test_a_table_of_discounts() -> None:
    of = table(CUTS, farm=["a", "b", "c", "d", "e"], reduction=[25.0, -3.0, NAN, 0.0, 10.0], rate=[4.35, 4, 4, 4, NAN])
    made = rate_discount(of, reading="relative", rate="rate", keys=("farm",))
    assert list(made.frame.columns) == ["farm", "rate_discount", "rate_discount_rate"]
    np.testing.assert_allclose(made.frame["rate_discount"], [10.875, 0, NAN, 0, NAN], atol=1e-12)
    np.testing.assert_allclose(made.frame["rate_discount_rate"], [4.24125, 4, NAN, 4, NAN], atol=1e-12)
    assert made.units == {"rate_discount": "bp", "rate_discount_rate": "% a year"}
    assert list(made.frame.index) == [2, 3, 4, 5, 6]
    for said in ("read; ", "1 rows have a reduction below 0", "missing in 2 of 5 rows", "reading='relative'", PRINTED):
        assert said in notes(made)
    assert made.provenance[0].synthetic
    assert made.provenance[1].path == "evalkit/accounting/credit/figures.toml"
    whole = rate_discount(of, reading="points", name="less")
    np.testing.assert_allclose(whole.frame["less"], [250, 0, NAN, 0, 100], atol=1e-12)
    assert list(whole.frame.columns) == ["farm", "reduction", "rate", "less"]
    assert "not looked at whether a discounted rate is below 0" in notes(whole)


def test_shares_and_percentages_are_the_same_reduction() -> None:
    of = table({"cut": "share", "rate": "share"}, cut=[0.25], rate=[0.0435])
    made = rate_discount(of, reading="relative", column="cut", rate="rate")
    assert made.frame["rate_discount"].iloc[0] == pytest.approx(10.875, abs=1e-12)
    assert made.frame["rate_discount_rate"].iloc[0] == pytest.approx(4.24125, abs=1e-12)
    assert rate_discount(0.25, reading="points", unit="share").basis_points == 250.0
    assert rate_discount(0.5, reading="points", unit="%").basis_points == 5.0
    refused("shares or small percentages", "reduction", 'unit="share"', rate_discount, 0.25, reading="points")


def test_arrays_of_reductions() -> None:
    found = rate_discount([10.0, 20.0, -5.0, NAN], reading="points", rate=[4.0, 2.0, 4.0, 4.0])
    np.testing.assert_allclose(found.basis_points, [100, 200, 0, NAN])
    np.testing.assert_allclose(found.rate_after, [3, 0, 4, NAN])  # 20 × 0.1 takes all of 2 %
    assert "1 rows have a reduction below 0" in found.notes
    refused("2 rates for 3", "rate=", "one for each", rate_discount, [1, 2, 3], reading="points", rate=[4, 4])


def test_another_rule_needs_its_source() -> None:
    """0.2 point for each 1 %: 10 × 0.2 = 2 points."""
    found = rate_discount(10, reading="points", per_percent=0.2, **STATED)
    assert found.basis_points == 200.0
    assert "0.2 percentage point less for each 1 % of reduction (reading='points'), published (a decree)" in found.notes
    rule = {"reading": "points", "per_percent": 0.2}
    refused("has no source", "source=", "who states it", rate_discount, 10, **rule)
    refused(
        "the status is 'sure'", "status=", "published, computed", rate_discount, 10, **rule, source="x", status="sure"
    )
    refused(
        "is no number from 0 up", "per_percent=", "", rate_discount, 10, reading="points", per_percent=-1.0, **STATED
    )
    name = {"reading": "points", "per_percent": "changji_rate_discont"}
    refused("no figure 'changji_rate_discont'", "", "did you mean 'changji_rate_discount'", rate_discount, 10, **name)
    own = {"reading": "points", "source": "x", "status": "assumed"}
    refused("has a source of its own", "per_percent=", "leave out", rate_discount, 10, **own)
    cap = {"reading": "points", "per_percent": "changji_machinery_cap"}
    refused("is in %, and per_percent= in per 1 %", "", "give a number", rate_discount, 10, **cap)


def test_what_is_no_discount_is_refused_with_its_rows() -> None:
    of = table(CUTS, reduction=[10.0, 60.0, 20.0], rate=[4.0, 4.35, -1.0])
    positive = table(CUTS, reduction=[10.0, 60.0], rate=[4.0, 4.35])  # 60 × 0.1 = 6 points of 4.35
    refused("below 0 in 1 rows", "row 3", 'reading="relative"', rate_discount, positive, reading="points", rate="rate")
    refused("'rate' is negative in 1 rows", "row 4", "correct", rate_discount, of, reading="points", rate="rate")
    above = table(CUTS, reduction=[101.0], rate=[4.0])
    refused("above 100 %", "row 2", "unit of the column", rate_discount, above, reading="points")
    bare = table({}, reduction=[10.0])
    refused("has no unit", "accounts.csv", "declare it", rate_discount, bare, reading="points")
    wrong = table({"reduction": "t"}, reduction=[10.0])
    refused("neither % nor share", "'reduction'", '"%" or "share"', rate_discount, wrong, reading="points")
    refused("no rate is given", "rate=", "column of rates", rate_discount, of, reading="relative")
    refused("is not known", "reading=", "'points', 'relative'", rate_discount, of, reading="absolute")
    refused("is not said", "reading=", "'points', 'relative'", rate_discount, of, reading="")
    refused("no column 'cut'", "accounts.csv", "known are", rate_discount, of, reading="points", column="cut")
    refused("unit= is for plain", "unit=", "declare", rate_discount, of, reading="points", unit="%")
    refused("rate= is no column", "rate=", "name", rate_discount, of, reading="points", rate=4.0)
    refused("below 0", "rate", "correct", rate_discount, 60, reading="points", rate=4.35)
    refused("is no number", "reduction", "numbers", rate_discount, "many", reading="points")
    twice = {"reading": "points", "keys": ("rate", "rate")}
    refused("names a column twice", "rate_discount", "once", rate_discount, positive, **twice)


@pytest.mark.parametrize("given", ["25", ["25", "10"], True, [True, 2.0], b"25"])
def test_texts_and_truths_are_no_reductions(given: Any) -> None:
    """NumPy reads "25" as 25 and True as 1."""
    refused("is no number", "reduction", "give numbers", rate_discount, given, reading="points", unit="%")


def test_a_rate_that_is_a_fraction_is_refused() -> None:
    """0.0435 read as % a year would be lowered by 0.1 bp, and not by 10.875; no loan costs 0.36 % a year or less."""
    refused("fractions", "rate=", "4.35", rate_discount, 25, reading="relative", rate=0.0435)
    assert rate_discount([25, 25], reading="relative", rate=[0.0, 4.0]).basis_points.tolist() == [0.0, 10.0]


def test_every_missing_number_is_counted() -> None:
    of = table(CUTS, reduction=[25.0, 10.0, NAN], rate=[NAN, 5.0, 5.0])
    made = rate_discount(of, reading="points", rate="rate")
    np.testing.assert_array_equal(made.frame["rate_discount"], [250.0, 100.0, NAN])
    np.testing.assert_array_equal(made.frame["rate_discount_rate"], [NAN, 4.0, NAN])
    assert "rate_discount is missing in 1 of 3 rows" in notes(made)
    assert "rate_discount_rate is missing in 2 of 3 rows" in notes(made)
    assert "the discount is missing in 1 of 2 rows" in rate_discount([25.0, NAN], reading="points").notes


def test_a_figure_may_be_a_number_of_numpy() -> None:
    """10 % by 1 point each are 1,000 bp."""
    assert rate_discount(10, reading="points", per_percent=np.int64(1), **STATED).basis_points == 1000.0


# --- what is sold in advance, points, subsidies


def test_the_printed_advance_sale() -> None:
    """500,000 t × 28 yuan = 14 million yuan, as printed; 100,000 t are 2.8 million, and not the 100 million that they backed."""
    of = table({"sold": "万吨"}, coop=["a", "b", "c"], sold=[50.0, 10.0, NAN])
    made = presale_value(of, tonnes="sold", price="changji_cotton_forward", keys=("coop",))
    np.testing.assert_allclose(made.frame["presale_value"], [14e6, 2.8e6, NAN], rtol=1e-15)
    assert made.units == {"presale_value": "yuan"}
    assert "price 28 yuan/t, published (李娟娟" in notes(made)
    assert PRINTED in notes(made)
    assert "presale_value is missing in 1 of 3 rows" in notes(made)


def test_an_advance_sale_at_another_price() -> None:
    of = table({"sold": "kg CO2e"}, sold=[1_500.0])  # 1.5 t × 30
    assert presale_value(of, tonnes="sold", price=30.0, **STATED).frame["presale_value"].iloc[0] == 45.0
    refused("has no source", "source=", "who states", presale_value, of, tonnes="sold", price=30.0)
    below = table({"sold": "t"}, sold=[1.0, -1.0])
    refused(
        "'sold' is negative", "row 3", "correct", presale_value, below, tonnes="sold", price="changji_cotton_forward"
    )
    carbon = table({"sold": "t C"}, sold=[1.0])
    refused("'t C' is unknown", "'sold'", "", presale_value, carbon, tonnes="sold", price=30.0, **STATED)
    area = table({"sold": "mu"}, sold=[1.0])
    refused("measures area", "'sold'", "", presale_value, area, tonnes="sold", price=30.0, **STATED)


def test_points_by_kilogram_and_by_tonne() -> None:
    """2 points a kg: 1.5 t are 3,000; 2 a tonne: 3."""
    of = table({"cut": "t CO2"}, cut=[1.5, 0.0, NAN])
    by_kg = carbon_points(of, reduction="cut", rate=2.0, per="kg", **STATED)
    np.testing.assert_allclose(by_kg.frame["carbon_points"], [3000, 0, NAN])
    by_t = carbon_points(of, reduction="cut", rate=2.0, per="t", **STATED)
    np.testing.assert_allclose(by_t.frame["carbon_points"], [3, 0, NAN])
    assert by_t.units["carbon_points"] == "points"
    assert "rate 2 points/t, published (a decree)" in notes(by_t)
    below = table({"cut": "t"}, cut=[-1.0])
    refused("negative", "row 2", "correct", carbon_points, below, reduction="cut", rate=2.0, per="kg", **STATED)
    refused("is not known", "per=", "'kg', 't'", carbon_points, of, reduction="cut", rate=2.0, per="mu", **STATED)
    refused("is text", "rate=", "printed", carbon_points, of, reduction="cut", rate="x", per="kg", **STATED)
    refused(
        "has no source", "source=", "", carbon_points, of, reduction="cut", rate=2.0, per="kg", source=" ", status="x"
    )


MACHINES = {"price": "万元", "cut": "t", "relative": "%"}


def test_a_subsidy_grows_up_to_its_cap() -> None:
    """5 % of the price a tonne: 4 t are 20 % of 80,000 = 16,000; 10 t reach 50 %, and 20 t stay there: 60,000 of 120,000."""
    of = table(MACHINES, price=[8.0, 8.0, 12.0, 8.0], cut=[4.0, 10.0, 20.0, NAN], relative=[0.0, 0.0, 0.0, 0.0])
    rule = {"price": "price", "reduction": "cut", "percent_per_unit": 5.0, "unit": "t", **STATED}
    made = reduction_subsidy(of, **rule)
    np.testing.assert_array_equal(made.frame["subsidy"], [16_000, 40_000, 60_000, NAN])
    np.testing.assert_array_equal(made.frame["subsidy_share"], [20, 50, 50, NAN])
    assert (made.units["subsidy"], made.units["subsidy_share"]) == ("yuan", "%")
    for said in (
        "growth 5 % of the price/t, published (a decree)",
        "cap 50 %, published (李娟娟",
        "2 of 4 rows are at the cap",
    ):
        assert said in notes(made)
    own = reduction_subsidy(of, **rule, cap=30.0, cap_source="a county", cap_status="assumed")
    np.testing.assert_array_equal(own.frame["subsidy_share"], [20, 30, 30, NAN])
    assert "cap 30 %, assumed (a county)" in notes(own)


def test_a_subsidy_by_relative_reduction_is_exact_at_its_cap() -> None:
    """0.1 × 3 is 0.30000000000000004 in floats: a cap of 0.3 % is reached, and paid as 0.3 %."""
    of = table(MACHINES, price=[10.0], cut=[0.0], relative=[3.0])
    rule = {"price": "price", "reduction": "relative", "percent_per_unit": 0.1, "unit": "%", **STATED}
    made = reduction_subsidy(of, **rule, cap=0.3, cap_source="a county", cap_status="assumed")
    assert made.frame["subsidy_share"].iloc[0] == 0.3
    assert "1 of 1 rows are at the cap" in notes(made)
    assert reduction_subsidy(of, **rule).frame["subsidy"].iloc[0] == pytest.approx(300.0)  # 0.3 % of 100,000


def test_a_share_has_the_same_names_in_every_rule() -> None:
    """0.3 is 30 %, of 100 yuan 30, whatever the share is called; a discount takes the same names."""
    for unit, cut in (("share", 0.3), ("比例", 0.3), ("％", 30.0), ("percent", 30.0)):
        of = table({"price": "元", "cut": unit}, price=[100.0], cut=[cut])
        rule = {"price": "price", "reduction": "cut", "percent_per_unit": 1.0, "unit": "%"}
        assert reduction_subsidy(of, **rule, **STATED).frame["subsidy"].tolist() == [30.0]
        assert rate_discount(of, reading="points", column="cut").frame["rate_discount"].tolist() == [300.0]


def test_what_is_no_subsidy_is_refused() -> None:
    of = table(MACHINES, price=[-1.0], cut=[-1.0], relative=[120.0])
    rule: dict[str, Any] = {"percent_per_unit": 5.0, "unit": "t", **STATED}
    refused("'price' is negative", "row 2", "", reduction_subsidy, of, price="price", reduction="cut", **rule)
    refused("measures mass, not money", "'cut'", "prices", reduction_subsidy, of, price="cut", reduction="cut", **rule)
    good = table(MACHINES, price=[1.0], cut=[-1.0], relative=[120.0])
    both = {"price": "price", "reduction": "cut"}
    refused("'cut' is negative", "row 2", "", reduction_subsidy, good, **both, **rule)
    by_part = {"price": "price", "reduction": "relative", **rule, "unit": "%"}
    refused("above 100 %", "row 2", "unit", reduction_subsidy, good, **by_part)
    refused("neither % nor share", "'cut'", "", reduction_subsidy, good, **{**by_part, "reduction": "cut"})
    refused(
        "the cap is 150 %",
        "cap=",
        "100",
        reduction_subsidy,
        good,
        **both,
        **rule,
        cap=150.0,
        cap_source="x",
        cap_status="assumed",
    )
    refused("has no source", "source=", "", reduction_subsidy, good, **both, **rule, cap=40.0)


# --- carbon grades

CODE: dict[str, Any] = {"footprint": "co2", "output": "crop", "unit": "kg CO2e/kg", "grades": ("A", "B", "C"), **STATED}
FOOTPRINTS = {"co2": "t CO2e", "crop": "t"}


@pytest.mark.parametrize(
    ("side", "expected"), [("better", ["A", "A", "B", "B", "C"]), ("worse", ["A", "B", "B", "C", "C"])]
)
def test_a_value_on_a_threshold_gets_the_grade_that_was_said(side: Any, expected: list[str]) -> None:
    """Thresholds 0.1 and 0.3. 0.3 / 3 is 0.09999999999999999 and 0.9 / 3 is 0.3 (floats), and both are on them."""
    of = table(FOOTPRINTS, co2=[0.2, 0.3, 0.6, 0.9, 1.2], crop=[3.0, 3.0, 3.0, 3.0, 3.0])
    made = carbon_grade(of, thresholds=(0.1, 0.3), on_threshold=side, **CODE)
    assert made.frame["carbon_grade"].tolist() == expected
    np.testing.assert_allclose(made.frame["carbon_intensity"], [0.2 / 3, 0.1, 0.2, 0.3, 0.4])
    assert made.units["carbon_intensity"] == "kg CO2e/kg"
    assert (
        f"fixed thresholds of 0.1, 0.3 kg CO2e/kg, published (a decree); a value on a threshold gets the {side}"
        in notes(made)
    )


def test_a_grade_does_not_depend_on_other_rows() -> None:
    few = table(FOOTPRINTS, co2=[0.2, 0.6], crop=[1.0, 1.0])
    many = table(FOOTPRINTS, co2=[0.2, 0.6, 9.0, 8.0], crop=[1.0, 1.0, 1.0, 1.0])
    grades = [carbon_grade(of, thresholds=(0.3, 7.0), on_threshold="better", **CODE).frame for of in (few, many)]
    assert grades[0]["carbon_grade"].tolist() == grades[1]["carbon_grade"].tolist()[:2] == ["A", "B"]


def test_thresholds_by_stage_in_other_units() -> None:
    """1,200 kg of CO2 over 10 mu are 120 kg a mu, 1,800 a hectare."""
    of = table(
        {"co2": "kg", "land": "mu"},
        stage=["sowing", "harvest", "harvest"],
        co2=[1200.0, 1200.0, NAN],
        land=[10.0, 10.0, 1.0],
    )
    by_stage = {"sowing": (1000.0,), "harvest": (2000.0,)}
    code = {**CODE, "output": "land", "unit": "kg CO2e/ha", "grades": ("low", "high")}
    made = carbon_grade(of, thresholds=by_stage, stage="stage", on_threshold="better", keys=(), **code)
    np.testing.assert_allclose(made.frame["carbon_intensity"], [1800, 1800, NAN])
    assert made.frame["carbon_grade"].iloc[:2].tolist() == ["high", "low"]
    assert pd.isna(made.frame["carbon_grade"].iloc[2])
    assert "sowing: 1000; harvest: 2000" in notes(made)
    short = {"thresholds": {"sowing": (1.0,), "harvesting": (1.0,)}, "stage": "stage", "on_threshold": "better"}
    refused("the stage 'harvest' has no thresholds", "rows 3, 4", "'harvesting'", carbon_grade, of, **short, **code)
    gap = table({"co2": "kg", "land": "mu"}, stage=[None, "sowing"], co2=[1.0, 1.0], land=[1.0, 1.0])
    refused(
        "the stage is missing",
        "row 2",
        "fill",
        carbon_grade,
        gap,
        thresholds=by_stage,
        stage="stage",
        on_threshold="better",
        **code,
    )


@pytest.mark.parametrize("quantiles", ["quartiles", 4, {"quantiles": (0.25, 0.5)}, {"四分位数": (0.25,)}])
def test_quantiles_are_refused_with_the_reason(quantiles: Any) -> None:
    of = table(FOOTPRINTS, co2=[1.0], crop=[1.0])
    why = "a new county would regrade the old ones"
    refused(why, "thresholds=", "fixed numbers", carbon_grade, of, thresholds=quantiles, on_threshold="better", **CODE)


@pytest.mark.parametrize(
    ("change", "says", "where", "remedy"),
    [
        ({"on_threshold": ""}, "is not said", "on_threshold=", "'better', 'worse'"),
        ({"thresholds": (0.3, 0.1)}, "do not ascend", "thresholds=", "lowest first"),
        ({"thresholds": (0.1,)}, "1 thresholds part 2 grades, and grades= names 3", "thresholds=", "one more"),
        ({"thresholds": ()}, "no positive numbers", "thresholds=", "write"),
        ({"thresholds": (0.1, NAN)}, "no positive numbers", "thresholds=", "write"),
        ({"thresholds": {"a": (0.1, 0.2)}}, "no column of stages", "thresholds=", "stage="),
        ({"stage": "crop"}, "one list for all", "thresholds=", "stage="),
        ({"grades": "ABC"}, "no different names", "grades=", "best first"),
        ({"grades": ("A", "A", "B")}, "no different names", "grades=", "best first"),
        ({"unit": "kg/kg"}, "no unit of a footprint", "unit=", "kg CO2e/kg"),
        ({"unit": "kg CO2e"}, "no unit of a footprint", "unit=", "kg CO2e/kg"),
        ({"unit": "kg CO2e/ha"}, "measures mass", "'crop'", ""),
        ({"source": ""}, "has no source", "source=", "who states"),
        ({"status": ""}, "the status is ''", "status=", "published"),
        ({"output": "none"}, "'none' is zero in 1 rows", "row 3", "empty cell"),
        ({"footprint": "minus"}, "'minus' is negative in 1 rows", "row 2", "correct"),
        ({"keys": ("farm",)}, "repeat a key", "row 3", "keep one row"),
        ({"name": "crop", "footprint": "crop_grade"}, "column 'crop_grade' already", "accounts.csv", "name="),
        ({"thresholds": 0.2}, "no positive numbers", "thresholds=", "(0.2, 0.5)"),
        ({"thresholds": None}, "no positive numbers", "thresholds=", "(0.2, 0.5)"),
        ({"thresholds": {"a": 0.2}, "stage": "farm"}, "no positive numbers", "of 'a'", "(0.2, 0.5)"),
        ({"grades": None}, "no different names", "grades=", "best first"),
        ({"footprint": "huge", "output": "tiny"}, "'huge' over 'tiny' is no number", "row 2", "correct"),
    ],
)  # fmt: skip
def test_what_is_no_grade_is_refused(change: dict[str, Any], says: str, where: str, remedy: str) -> None:
    units = {**FOOTPRINTS, "none": "t", "minus": "t", "crop_grade": "t", "huge": "t", "tiny": "t"}
    of = table(
        units,
        farm=["a", "a"],
        co2=[1.0, 1.0],
        crop=[1.0, 1.0],
        none=[1.0, 0.0],
        minus=[-1.0, 0.0],
        crop_grade=[1.0, 1.0],
        huge=[1e300, 1.0],
        tiny=[1e-300, 1.0],
    )
    refused(
        says, where, remedy, carbon_grade, of, **{"thresholds": (0.1, 0.3), "on_threshold": "better", **CODE, **change}
    )


def test_thresholds_may_be_an_array_and_the_unit_in_full_width() -> None:
    """1 t of 10 t is 0.1: below 1."""
    of = table({"co2": "t", "crop": "t"}, co2=[1.0], crop=[10.0])
    stated: dict[str, Any] = {
        "footprint": "co2",
        "output": "crop",
        "unit": "kg CO2e／kg",
        "grades": ("A", "B"),
        **STATED,
    }
    made = carbon_grade(of, thresholds=np.array([1]), on_threshold="better", **stated)
    assert made.frame["carbon_grade"].tolist() == ["A"]


def test_a_table_without_rows_is_refused() -> None:
    empty = table(CUTS, reduction=np.array([], dtype=float).tolist(), rate=[])
    empty = Table(empty.name, empty.frame.astype(float), empty.provenance, empty.units)
    refused("has no rows", "accounts.csv", "source", rate_discount, empty, reading="points")
    one = table(CUTS, farm=["a"], reduction=[1.0], rate=[1.0])
    refused("one word, not a tuple", "rate_discount", '("farm",)', rate_discount, one, reading="points", keys="farm")


# --- in a study

STUDY = """
[[source]]
name = "accounts"
kind = "Delimited"
path = "accounts.csv"
[[step]]
name = "less"
kind = "RateDiscount"
of = "accounts"
reading = "points"
rate = "rate"
keys = ["farm"]
[[step]]
name = "codes"
kind = "CarbonGrade"
of = "accounts"
keys = ["farm"]
footprint = "co2"
output = "crop"
unit = "kg CO2e/kg"
stage = "stage"
thresholds = { sowing = [0.2, 0.5], harvest = [0.1, 0.3] }
grades = ["A", "B", "C"]
on_threshold = "worse"
source = "a decree"
status = "published"
"""
ACCOUNTS = "farm,stage,reduction,rate,co2,crop\na,sowing,10,4.35,0.2,1\nb,harvest,-1,4,0.2,1\n"
SIDECAR = '[units]\nreduction = "%"\nrate = "% a year"\nco2 = "t CO2e"\ncrop = "t"\n'


def test_steps_of_a_study(tmp_path: Path) -> None:
    """10 × 0.1 = 1 point of 4.35 and nothing of an increase; 0.2 is on the threshold of sowing, and past the first of harvest."""
    home = tmp_path / "analyses" / "credit"
    home.mkdir(parents=True)
    (tmp_path / "pyproject.toml").write_text("", encoding="utf-8")
    texts = {"study.toml": STUDY, "accounts.csv": ACCOUNTS, "accounts.csv.provenance.toml": SIDECAR}
    for name, text in texts.items():
        (home / name).write_text(text, encoding="utf-8")
    run_study(home)
    made = tmp_path / "data/processed/credit"
    less, codes = (pd.read_csv(made / f"{name}.csv") for name in ("less", "codes"))
    np.testing.assert_allclose(less["rate_discount"], [100, 0])
    np.testing.assert_allclose(less["rate_discount_rate"], [3.35, 4])
    assert codes["carbon_grade"].tolist() == ["B", "B"]
    text = STUDY.replace("thresholds = { sowing = [0.2, 0.5], harvest = [0.1, 0.3] }", 'thresholds = "terciles"')
    (home / "study.toml").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match="a new county would regrade the old ones"):
        run_study(home)


def test_a_recalled_figure_is_named_for_reports() -> None:
    """Whoever uses a figure that nobody checked says so: the table carries its name to console, manifest and paper."""
    used = Table("t", pd.DataFrame({"t": [2.0]}), (Provenance("t.csv", "0" * 64),), {"t": "t"})
    found = presale_value(used, tonnes="t", price=30.0, source="memory", status="recalled")
    assert found.provenance[0].recalled == ("presale_value: 30 yuan/t",)
    assert presale_value(used, tonnes="t", price="changji_cotton_forward").provenance[0].recalled == ()
