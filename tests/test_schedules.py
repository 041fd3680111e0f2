"""What a settlement refuses: schedules that are wrong, and tables that cannot be settled. All values are invented."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from evalkit.accounting import schedule, settle
from evalkit.errors import ConfigError, DataError, EvalkitError, SourceError
from evalkit.tables.table import Table
from test_settling import FIXED, GRADED, HEAD, INDEX, LEVEL, OPEN_K0, PAID, ROUND, SHIPPED, classes, rows, table, write


@pytest.mark.parametrize(
    ("columns", "units", "says"),
    [
        ({"year": [2012, 2015], "q": [1.0, 1.0]}, {"q": "m3"}, "row 3.*'2015' is in no round"),
        ({"year": [2012, 2012], "q": [1.0, 1.0]}, {"q": "m3"}, "row 3.*repeat a key"),
        ({"year": ["2012", "2012年"], "q": [1.0, 1.0]}, {"q": "m3"}, "row 3 repeats the keys of row 2"),
        ({"year": [2012, 2013], "q": [1.0, -1.0]}, {"q": "m3"}, "row 3.*'q' is negative"),
        ({"year": [2012], "q": [1.0]}, {}, "'q' has no unit"),
        ({"year": [2012], "w": [1.0]}, {"w": "m3"}, "no column 'q'"),
        ({"year": ["2012Q1"], "q": [1.0]}, {"q": "m3"}, "settles by year, and the periods of the table are quarters"),
        (
            {"year": ["2012-01", "2012-02"], "q": [1.0, 2.0]},
            {"q": "m3"},
            "put the months of each year together first.*one row per year",
        ),
        ({"year": [], "q": []}, {"q": "m3"}, "no rows"),
        ({"year": [2012], "q": ["much"]}, {"q": "m3"}, "'much' is not a number"),
    ],
)
def test_tables_that_cannot_be_settled(
    tmp_path: Path, columns: dict[str, Any], units: dict[str, str], says: str
) -> None:
    read = schedule(write(tmp_path, ROUND, LEVEL, PAID))
    with pytest.raises(EvalkitError) as caught:
        settle(table(units, **columns), read)
    assert re.search(says, str(caught.value)), caught.value


def test_sections_are_named(tmp_path: Path) -> None:
    read = schedule("chishui_2018")
    with pytest.raises(DataError, match=r"section=\"…\""):
        settle(table(year=[2018], water_class=[2]), read)
    other = table(year=[2018, 2018], at=["清水铺", "鲢鱼"], water_class=[2, 2])
    with pytest.raises(DataError, match=r"no section '鲢鱼溪'.*did you mean '鲢鱼'"):
        settle(other, read, section="at")
    with pytest.raises(DataError, match="is of no section"):
        settle(table(year=[2012], at=["x"], P=[1.0]), schedule("xinanjiang_2012"), section="at")


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('status = "invented"\nsettles', "settles", "'status' is missing"),
        ('source = "invented for these tests"', "", "'source' is missing"),
        ('source = "invented"\n', "", "'source' is missing"),
        ("weight = 0.25", "weight = 0.3", "weights sum to 1.05"),
        ('compare = "ratio"', 'compare = "ration"', "did you mean 'ratio'"),
        ('factor = "K0"', 'factor = "K1"', "did you mean 'K0'"),
        ('indicator = "a"', 'indicatr = "a"', "did you mean 'indicator'"),
        ('kind = "graded"', 'kind = "grade"', "did you mean 'graded'"),
        (", base = 2.0", "", "what the term is compared with"),
        ('unit = "万元"', 'unit = "mu"', "is money"),
        ("at_most = 0.95", "at_most = 1.5", "do not ascend"),
        ('{ amount = 100, payer = "up", payee = "down" },', "", "do not cover every value"),
        ('payer = "up", payee = "down"', 'payer = "up"', "who pays whom"),
        ('status = "open"', 'status = "open"\nvalue = 1', "open figure has a value"),
        ("to = 2014", 'to = "2014-06"', "no whole years"),
        ("weight = 0.75", "weight = 0.75, within = [6, 1]", "within = .1, 6."),
        ("weight = 0.75", "weight = 0.75, within = 6", "'within' is 6"),
        ("weight = 0.75", "weight = 0.75, within = [0, inf]", "'within' is"),
        ("from = 2012", "from = 2020", "ends .2014. before it begins"),
        (
            'kind = "graded"',
            'kind = "graded"\nyears = [2013, 2015]',
            "2013 to 2015, are not all of this round.*2012 to 2014",
        ),
        ('name = "example"', 'name = "chishui_2018"', "belongs to a schedule of the package"),
    ],
)
def test_schedules_that_are_refused(tmp_path: Path, old: str, new: str, says: str) -> None:
    text = HEAD + ROUND + OPEN_K0 + INDEX + GRADED
    assert old in text
    (tmp_path / "example.toml").write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(SourceError, match=says) as caught:
        schedule(tmp_path / "example.toml")
    assert "example.toml" in caught.value.where


def test_rounds_do_not_overlap_and_differ(tmp_path: Path) -> None:
    """100 in round one, 30,000 in round two: each year by its own."""
    second = ROUND.replace("2012", "2015").replace("2014", "2016").replace('"one"', '"two"')
    read = schedule(write(tmp_path, ROUND, FIXED.replace("万元", "元").replace("= 3", "= 100"), second, FIXED))
    made = settle(table(year=[2016, 2013]), read)
    assert rows(made, "year", "round", "amount") == [(2016, "two", 3e4), (2013, "one", 100.0)]
    assert made.frame.index.tolist() == [2, 3]
    with pytest.raises(SourceError, match="overlap"):
        schedule(write(tmp_path, ROUND, FIXED, second.replace("2015", "2014"), FIXED))


def test_weights_need_not_sum_to_one_where_the_schedule_says_so(tmp_path: Path) -> None:
    """.75 + .3 = 1.05 at the base values."""
    free = INDEX.replace("weight = 0.25", "weight = 0.3").replace('factor = "K0"', 'weights = "free"')
    read = schedule(write(tmp_path, ROUND, free, GRADED))
    made = settle(table({"a": "kg/L", "b": "kg/L"}, year=[2012], a=[2.0], b=[0.5]), read)
    assert made.frame["index"].tolist() == pytest.approx([1.05], rel=1e-12)


def test_given_weights_are_held_to_one(tmp_path: Path) -> None:
    text = INDEX.replace("weight = 0.25", 'weight = "K0"').replace('factor = "K0"', "")
    read = schedule(write(tmp_path, ROUND, OPEN_K0, text, GRADED))
    monitored = table({"a": "kg/L", "b": "kg/L"}, year=[2012], a=[2.0], b=[0.5])
    with pytest.raises(DataError, match=r"weights sum to 1\.15"):
        settle(monitored, read, given={"K0": 0.4}, given_source="agreement")


def test_unknown_schedules_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'chishui_2018'"):
        schedule("chishui_2017")
    with pytest.raises(SourceError, match="cannot be read"):
        schedule(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_bytes(b"name = ")
    with pytest.raises(SourceError, match="this is not TOML"):
        schedule(tmp_path / "bad.toml")


def test_the_order_of_rows_changes_no_amount() -> None:
    forward = settle(classes([2, 3], [3, 2]), schedule("chishui_2018"), section="at",
                     given={"share_forfeited": 0.5}, given_source="x")  # fmt: skip
    mixed = classes([2, 3], [3, 2])
    shuffled = Table(mixed.name, mixed.frame.iloc[[3, 0, 2, 1]], mixed.provenance)
    again = settle(shuffled, schedule("chishui_2018"), section="at", given={"share_forfeited": 0.5}, given_source="x")
    by = ["year", "item", "payer", "payee"]
    one, other = (made.frame.sort_values(by).reset_index(drop=True) for made in (forward, again))
    pd.testing.assert_frame_equal(one, other)
    assert np.isfinite(one["amount"]).all()


def test_no_party_pays_itself_and_no_amount_is_negative(tmp_path: Path) -> None:
    monitored = table({"q": "m3"}, year=[2012, 2013], q=[1.0, 1.0], who=["x", "up"])
    read = schedule(write(tmp_path, ROUND, LEVEL, PAID.replace('"down"', '"{who}"')))
    with pytest.raises(DataError, match=r"row 3.*pay itself"):
        settle(monitored, read, keys=("who",))
    fixed = FIXED.replace("amount = 3", 'amount = "sum"')
    read = schedule(write(tmp_path, ROUND, OPEN_K0.replace("K0", "sum") + 'unit = "元"\n', fixed))
    with pytest.raises(DataError, match="amount is negative"):
        settle(table(year=[2012]), read, given={"sum": -1}, given_source="x")


def test_a_percentage_has_its_unit() -> None:
    """Without one, 10 could be a share or per cent."""
    monitored = table(county=["a"], year=[2019], above_target=[3.0])
    with pytest.raises(DataError, match="'above_target' has no unit"):
        settle(monitored, schedule("ningxia_recalled"), keys=("county",), given={"reward": 1}, given_source="x")


def test_years_without_a_payment_are_counted(tmp_path: Path) -> None:
    read = schedule(write(tmp_path, ROUND, FIXED, "years = [2013, 2014]\n"))
    made = settle(table(year=[2012, 2013]), read)
    assert rows(made, "year", "amount") == [(2013, 3e4)]
    assert "1 settlements have no payment" in made.provenance[-1].notes
    with pytest.raises(DataError, match="nothing is paid in these periods"):
        settle(table(year=[2012]), read)


POT = """
[[round.payments]]
item = "pot"
kind = "shares"
fund = "F"
total = 100
unit = "元"
contribute = { "a" = 1, "b" = 1, "c" = 1 }
receive = { "a" = 1, "b" = 1, "c" = 1 }
"""


@pytest.mark.parametrize(
    ("payment", "says"),
    [
        (LEVEL + PAID + "cap = 47.69\n", "'cap' has no unit.*cap_unit"),
        (LEVEL + PAID + "deductible = 0.1\n", "'deductible' has no unit.*deductible_unit"),
        (LEVEL + PAID + 'cap_unit = "元"\n', "'cap_unit' is given for no number"),
        (
            POT.replace('"b" = 1, "c" = 1 }\nreceive', '"ａ" = 1, "c" = 1 }\nreceive'),
            "contribute: a party is named twice",
        ),
        (POT.replace('"F"', '"a"'), "the fund is one of the parties"),
    ],
)
def test_payments_that_are_refused(tmp_path: Path, payment: str, says: str) -> None:
    with pytest.raises(SourceError, match=says):
        schedule(write(tmp_path, ROUND, payment))


@pytest.mark.parametrize(
    ("terms", "says"),
    [
        ('when_negative = "reverse"\npenalty_times = -5\n', "row 2.*penalty_times is negative"),
        ('deductible = -0.1\ndeductible_unit = "%"\n', "row 2.*deductible is negative"),
        ('deductible = -3\ndeductible_unit = "元"\n', "row 2.*deductible is negative"),
        ('cap = -3\ncap_unit = "元"\n', "row 2.*cap is negative"),
    ],
)
def test_negative_terms_are_refused(tmp_path: Path, terms: str, says: str) -> None:
    with pytest.raises(DataError, match=says):
        settle(table({"q": "m3"}, year=[2012], q=[10.0]), schedule(write(tmp_path, ROUND, LEVEL, PAID, terms)))


def test_what_is_given_is_given_once_and_makes_no_negative_index(tmp_path: Path) -> None:
    read = schedule(write(tmp_path, ROUND, OPEN_K0, INDEX, GRADED))
    monitored = table({"a": "kg/L", "b": "kg/L"}, year=[2012], a=[2.0], b=[0.5])
    with pytest.raises(ConfigError, match=r"'K0' and 'one\.K0' are the same figure.*once"):
        settle(monitored, read, given={"K0": 1, "one.K0": 2}, given_source="x")
    with pytest.raises(DataError, match="factor of a ratio is negative"):
        settle(monitored, read, given={"K0": -1}, given_source="x")
    weights = INDEX.replace("0.75", "1.5").replace("0.25", "-0.5")
    with pytest.raises(DataError, match=r"terms\[2\].*a weight is negative"):
        settle(monitored, schedule(write(tmp_path, ROUND, OPEN_K0, weights, GRADED)), given={"K0": 1}, given_source="x")


def test_parties_and_columns_are_named_once(tmp_path: Path) -> None:
    read = schedule(write(tmp_path, ROUND, LEVEL, PAID.replace('"down"', '"{who}"')))
    monitored = table({"q": "m3"}, year=[2012, 2013], q=[1.0, 1.0], who=["x", " "])
    with pytest.raises(DataError, match=r"'who', row 3.*the party 'who' is missing"):
        settle(monitored, read)
    same = table({"q": "m3"}, year=[2012, 2013], q=[1.0, 1.0], who=["x", "ｕp "])
    with pytest.raises(DataError, match=r"row 3.*pay itself"):
        settle(same, read)
    for options in ({"keys": ("who", "who")}, {"keys": ("year",)}, {"section": "year"}):
        with pytest.raises(DataError, match="is named twice"):
            settle(monitored, read, **options)


def test_a_unit_of_the_schedule_that_is_unknown_is_not_blamed_on_the_table(tmp_path: Path) -> None:
    read = schedule(write(tmp_path, ROUND, LEVEL.replace('unit = "m3" }', 'unit = "m33" }'), PAID))
    with pytest.raises(DataError, match=r"'q' \(the schedule reads it in 'm33'\): the unit 'm33' is unknown"):
        settle(table({"q": "m3"}, year=[2012], q=[1.0]), read)


@pytest.mark.parametrize("name", SHIPPED)
def test_the_page_names_what_each_schedule_needs(name: str) -> None:
    """Columns and open figures stand in the line of the schedule, so that nobody has to read its file."""
    page = Path(__file__).parents[1].joinpath("docs", "how-to-settle.md").read_text(encoding="utf-8")
    (line,) = (one for one in page.splitlines() if one.startswith(f"| `{name}` |"))
    text = files("evalkit").joinpath("accounting", "schedules", f"{name}.toml").read_text(encoding="utf-8")
    wanted = {*re.findall(r'indicator = "(\w+)"', text), *re.findall(r'"\{(\w+)\}"', text)}
    wanted |= {one.name for one in schedule(name).figures() if one.status == "open"}
    assert wanted
    assert {one for one in wanted if not re.search(rf"`(round_1\.)?{one}`", line)} == set()


def test_months_are_settled_by_month(tmp_path: Path) -> None:
    """The round is of six months; what falls due in December is paid in January."""
    monthly = ROUND.replace("from = 2012", 'from = "2012-07"').replace("to = 2014", 'to = "2012-12"')
    path = write(tmp_path, monthly, FIXED, "paid_after = 1\n", head=HEAD.replace('"year"', '"month"'))
    made = settle(table(month=["2012-07", "2012-12"]), schedule(path), period="month")
    assert rows(made, "month", "paid_in") == [("2012-07", "2012-08"), ("2012-12", "2013-01")]
    with pytest.raises(DataError, match=r"row 2.*'2013-01' is in no round"):
        settle(table(month=["2013-01"]), schedule(path), period="month")


def test_recalled_rules_and_figures_are_named_for_reports() -> None:
    """The five times of the penalty is from memory: tables that rest on it say so."""
    monitored = table({"above_target": "%"}, county=["a"], year=[2019], above_target=[3.0])
    made = settle(monitored, schedule("ningxia_recalled"), keys=("county",), given={"reward": 1}, given_source="x")
    (named,) = (one.recalled for one in made.provenance if one.recalled)
    assert "the rules" in named
    assert all("reward" not in one for one in named)  # given, with its source
