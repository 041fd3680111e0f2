"""Derived columns: their values by hand, their units, what is noted and what is refused."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats.mstats import winsorize

import evalkit as ek
from evalkit.errors import DataError
from evalkit.panels.derivation import VERBS, Derivation
from evalkit.panels.panel import Panel

NAN = float("nan")


def panel(units: dict[str, str] | None = None, **columns: list) -> Panel:
    frame = pd.DataFrame(columns)
    frame.index = pd.RangeIndex(2, len(frame) + 2, name="row")
    return Panel.from_frame(frame, unit="farm", time="year", units=units)


def values(rule: Derivation, given: Panel) -> list[float]:
    return rule.derive(given, "new").values.tolist()


# --- per


def test_a_quotient_has_the_unit_of_both_and_is_converted_exactly() -> None:
    given = panel({"f": "t", "a": "mu"}, farm=[1, 2, 3], year=[2020] * 3, f=[3.0, NAN, 1.0], a=[40.0, 1.0, 15.0])
    plain = ek.per("f", "a").derive(given, "new")
    assert plain.values.tolist() == pytest.approx([0.075, NAN, 1 / 15], nan_ok=True)
    assert plain.unit == "t/mu"
    converted = ek.per("f", "a", to="kg/ha").derive(given, "new")
    assert converted.values.tolist() == pytest.approx([1125.0, NAN, 1000.0], nan_ok=True)  # 3,000 kg on 40/15 ha
    assert converted.unit == "kg/ha"


def test_a_quotient_of_one_unit_is_a_share_and_without_units_has_none() -> None:
    given = panel({"f": "元", "a": "元"}, farm=[1], year=[2020], f=[1.0], a=[4.0], n=[2.0])
    assert ek.per("f", "a").derive(given, "new").unit == "share"
    assert ek.per("f", "n").derive(given, "new").unit is None
    with pytest.raises(DataError, match="'n' has no unit"):
        ek.per("f", "n", to="元/人").derive(given, "new")
    with pytest.raises(DataError, match="cannot be expressed in 'kg'"):
        ek.per("f", "a", to="kg").derive(given, "new")


def test_a_zero_below_the_line_is_refused_by_row() -> None:
    given = panel(farm=[1, 2, 3], year=[2020] * 3, f=[1.0] * 3, a=[2.0, 0.0, -1.0])
    with pytest.raises(DataError, match="'a' is zero or negative in 2 rows") as caught:
        ek.per("f", "a").derive(given, "new")
    assert caught.value.where == "column 'a', rows 3, 4"


# --- equal weight


def test_values_of_a_column_weigh_alike_in_each_period_however_many_rows_they_have() -> None:
    given = panel(
        farm=[1, 1, 2, 2, 3, 3, 4], year=[2020, 2021] * 3 + [2020], county=["a", "a", "b", "a", "b", "b", "b"],
        area=[5.0, 3.0, 1.0, 1.0, 1.0, 7.0, 2.0],
    )  # fmt: skip
    # Each county has the weight 1 in each year, shared by its farms; of seven rows with a sum of 4 the mean is 4/7.
    alike = np.array([1, 1 / 2, 1 / 3, 1 / 2, 1 / 3, 1, 1 / 3]) * 7 / 4
    assert values(ek.equal_weight("county"), given) == pytest.approx(alike.tolist())
    by_area = np.array([1, 3 / 4, 1 / 4, 1 / 4, 1 / 4, 1, 2 / 4]) * 7 / 4
    assert values(ek.equal_weight("county", times="area"), given) == pytest.approx(by_area.tolist())


# --- deflate


def nominal(unit: str = "上年=100", index: list[float] | None = None, **more: list) -> Panel:
    years = [2019, 2020, 2021]
    return panel(
        {"y": "万元", "p": unit, "q": "kg"},
        farm=[1] * 3 + [2] * 3,
        year=years * 2,
        county=["a"] * 3 + ["b"] * 3,
        y=[100.0, 110.0, 220.0] * 2,
        q=[1.0] * 6,
        p=(index or [103.0, 110.0, 95.0]) * 2,
        **more,
    )


def test_a_chained_index_gives_prices_of_the_first_year() -> None:
    """2020: 1.10; 2021: 1.10 × 0.95 = 1.045. The index of the first year is to the year before, and not used."""
    found = ek.deflate("y", "p", "price").derive(nominal(), "new")
    assert found.values.tolist() == pytest.approx([100.0, 100.0, 220.0 / 1.045] * 2, rel=1e-14)
    assert found.unit == "万元 of 2019"


def test_a_fixed_base_gives_prices_of_that_year() -> None:
    found = ek.deflate("y", "p", "price").derive(nominal("2020=100", [80.0, 100.0, 125.0]), "new")
    assert found.values.tolist() == pytest.approx([125.0, 110.0, 176.0] * 2, rel=1e-14)
    assert found.unit == "万元 of 2020"


def test_an_index_may_differ_by_county_and_a_farm_may_have_gaps() -> None:
    given = panel(
        {"y": "yuan", "p": "previous year=100"},
        farm=[1, 1, 1, 2, 2, 3, 3, 3],
        year=[2019, 2020, 2021, 2019, 2021, 2019, 2020, 2021],
        county=["a"] * 5 + ["b"] * 3,
        y=[121.0] * 8,
        p=[NAN, 110.0, 110.0, NAN, NAN, NAN, 100.0, 100.0],
    )
    found = values(ek.deflate("y", "p", "price", within="county"), given)
    assert found == pytest.approx([121.0, 110.0, 100.0, 121.0, 100.0, 121.0, 121.0, 121.0], rel=1e-14)
    with pytest.raises(DataError, match="'p' is not one number in a year, in 2 rows") as caught:
        ek.deflate("y", "p", "price").derive(given, "new")
    assert "rows 8, 9" in caught.value.where


@pytest.mark.parametrize(
    ("given", "rule", "what", "where"),
    [
        (nominal("%"), ek.deflate("y", "p", "price"), "'%' is not a kind of index", "column 'p'"),
        (nominal(), ek.deflate("q", "p", "price"), "'q' is in 'kg', which is not an amount of money", "column 'q'"),
        (nominal(), ek.deflate("y", "q", "price"), "'kg' is not a kind of index", "'q'"),
        (nominal(w=[1.0] * 6), ek.deflate("w", "p", "price"), "'w' has no unit", "column 'w'"),
        (nominal(index=[103.0, NAN, 95.0]), ek.deflate("y", "p", "price"), "cannot pass a missing year", "row 3"),
        (nominal(index=[103.0, 1.1, 95.0]), ek.deflate("y", "p", "price"), "1.1 is not an index out of 100", "row 3"),
        (nominal("2019=100", [100.0, NAN, 95.0]), ek.deflate("y", "p", "price"), "has no value in 2 rows", "rows 3, 6"),
        (nominal(), ek.deflate("y", "prices", "price"), "there is no column 'prices'", "table"),
    ],
)
def test_an_index_that_cannot_be_used_is_refused(given: Panel, rule: Derivation, what: str, where: str) -> None:
    with pytest.raises(DataError) as caught:
        rule.derive(given, "new")
    assert what in caught.value.what
    assert where in caught.value.where


def test_quarters_have_no_price_index_of_years() -> None:
    given = panel({"y": "元", "p": "上年=100"}, farm=[1, 1], year=["2020Q1", "2020Q2"], y=[1.0, 2.0], p=[100.0, 101.0])
    with pytest.raises(DataError, match="not years but quarters"):
        ek.deflate("y", "p", "price").derive(given, "new")


# --- winsorise


def test_extremes_move_to_the_quantiles_and_are_counted() -> None:
    x = np.random.default_rng(3).lognormal(size=201)
    given = panel({"x": "kg"}, farm=list(range(201)), year=[2020] * 201, x=x.tolist())
    found = ek.winsorise("x", 0.05, 0.9).derive(given, "new")
    # 201 values: both quantiles are values themselves, the 11th and the 181st, as trimming by counts gives them.
    np.testing.assert_array_equal(found.values, winsorize(x, limits=(10 / 201, 20 / 201)).data)
    assert found.unit == "kg"
    (note,) = found.notes
    said = "new: 30 of 201 values of x lie beyond the quantiles of 5 % and 90 % of all rows"
    assert str(note) == f"{said} and are moved to them (10 up, 20 down)"
    assert "30" in note.text("zh")


def test_quantiles_may_be_those_of_each_period_and_missing_stays_missing() -> None:
    given = panel(farm=[1, 2, 3, 1, 2, 3], year=[2020] * 3 + [2021] * 3, x=[0.0, 1.0, 10.0, 100.0, NAN, 300.0])
    found = values(ek.winsorise("x", 0.0, 0.5, each_period=True), given)
    assert found == pytest.approx([0.0, 100.0, 1.0, NAN, 1.0, 200.0], nan_ok=True)  # by farm: medians 1 and 200


@pytest.mark.parametrize("bounds", [(0.9, 0.1), (-0.1, 0.9), (0.1, 1.5), (0.5, 0.5)])
def test_quantiles_out_of_order_are_refused(bounds: tuple[float, float]) -> None:
    with pytest.raises(DataError, match="not a lower and an upper quantile"):
        ek.winsorise("x", *bounds)


# --- lag


def test_a_lag_follows_the_unit_and_gaps_are_missing() -> None:
    given = panel(
        {"x": "kg"},
        farm=[2, 1, 1, 1, 2, 1],
        year=[2020, 2018, 2019, 2021, 2021, 2022],
        x=[20.0, 18.0, 19.0, 21.0, 22.0, NAN],
    )
    found = ek.lag("x").derive(given, "new")
    # Farm 1: 2018, 2019, 2021, 2022; farm 2: 2020, 2021.
    assert found.values.tolist() == pytest.approx([NAN, 18.0, NAN, 21.0, NAN, 20.0], nan_ok=True)
    assert found.unit == "kg"
    said = "new is x of 1 periods before; it is missing in 3 rows that have none: 2 at the start of a unit, 1 at gaps"
    assert [str(note) for note in found.notes] == [said]
    assert values(ek.lag("x", 2), given) == pytest.approx([NAN, NAN, 19.0, NAN, NAN, NAN], nan_ok=True)
    shifted = given.frame.set_index(["farm", "year"])["x"].unstack().shift(1, axis=1)  # 2018 to 2022, all years there
    assert values(ek.lag("x"), given) == pytest.approx(
        [shifted.loc[farm, year] for farm, year in given.frame[["farm", "year"]].to_numpy()], nan_ok=True
    )


def test_a_lag_counts_steps_of_the_axis() -> None:
    given = panel(farm=[1, 1, 1], year=[2016, 2018, 2020], x=[1.0, 2.0, 3.0])
    assert values(ek.lag("x"), given) == pytest.approx([NAN, 1.0, 2.0], nan_ok=True)


def test_what_cannot_be_lagged_is_refused() -> None:
    with pytest.raises(DataError, match="looks ahead"):
        ek.lag("x", 0)
    crossed = Panel.from_frame(pd.DataFrame({"year": [1, 2], "x": [1.0, 2.0]}), unit=None, time="year")
    with pytest.raises(DataError, match="do not follow a unit"):
        ek.lag("x").derive(crossed, "new")


# --- share


def test_shares_add_up_to_one_in_each_group_and_period() -> None:
    given = panel(
        {"x": "万元"},
        farm=[1, 2, 3, 1, 2, 3],
        year=[2020] * 3 + [2021] * 3,
        county=["a", "a", "b"] * 2,
        x=[1.0, 3.0, 5.0, 2.0, 2.0, 0.0],
    )
    found = ek.share("x", within="county").derive(given, "new")
    assert found.values.tolist() == pytest.approx([0.25, 0.5, 0.75, 0.5, 1.0, NAN], nan_ok=True)  # by farm, then year
    assert found.unit == "share"
    assert [str(note) for note in found.notes] == [
        "new is missing where the total of x is not known (0 rows) or 0 (1 rows)"
    ]
    whole = ek.share("x").derive(given, "new")
    assert whole.values.tolist() == pytest.approx([1 / 9, 0.5, 3 / 9, 0.5, 5 / 9, 0.0])
    assert whole.notes == ()


def test_a_missing_part_makes_the_total_unknown() -> None:
    given = panel(farm=[1, 2], year=[2020] * 2, x=[1.0, NAN])
    assert np.isnan(values(ek.share("x"), given)).all()


def test_parts_below_zero_and_rows_without_a_group_are_refused() -> None:
    given = panel(farm=[1, 2], year=[2020] * 2, x=[1.0, -1.0], county=["a", None])
    with pytest.raises(DataError, match="'x' is negative or infinite in 1 rows") as caught:
        ek.share("x").derive(given, "new")
    assert caught.value.where == "column 'x', row 3"
    with pytest.raises(DataError, match="the group is missing in 1 rows"):
        ek.share("farm", within="county").derive(given, "new")


# --- all


@pytest.mark.parametrize("verb", sorted(set(VERBS) - {"equal_weight"}))
def test_text_is_refused_by_row_by_every_verb(verb: str) -> None:
    rules = {
        "log": ek.log("x"),
        "at_least": ek.at_least("x", 1),
        "per": ek.per("x", "farm"),
        "deflate": ek.deflate("x", "farm", "price"),
        "winsorise": ek.winsorise("x"),
        "lag": ek.lag("x"),
        "share": ek.share("x"),
    }
    assert isinstance(rules[verb], VERBS[verb])
    given = panel({"x": "元", "farm": "2019=100"}, farm=[1, 2], year=[2020] * 2, x=["1", "1 234"])
    with pytest.raises(DataError, match="is not a number") as caught:
        rules[verb].derive(given, "new")
    assert caught.value.where == "column 'x', row 3"
