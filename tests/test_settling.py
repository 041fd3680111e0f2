"""Settlements against arithmetic by hand. Monitored values, and the schedules written here, are invented."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from evalkit.accounting import schedule, settle
from evalkit.errors import ConfigError, DataError
from evalkit.tables.table import Provenance, Table

NAN = float("nan")
SHIPPED = sorted(
    item.name.removesuffix(".toml") for item in files("evalkit").joinpath("accounting", "schedules").iterdir()
)
HEAD = """
name = "example"
title = { en = "An example", zh = "示例" }
published_by = "tests"
source = "invented for these tests"
status = "invented"
settles = "year"
"""
ROUND = """
[[round]]
name = "one"
from = 2012
to = 2014
source = "invented"
status = "invented"
"""
OPEN_K0 = '[round.figures.K0]\nstatus = "open"\nsource = "article 5"\n'
INDEX = """
[round.indices.P]
compare = "ratio"
factor = "K0"
terms = [
  { indicator = "a", unit = "kg/L", weight = 0.75, base = 2.0 },
  { indicator = "b", unit = "kg/L", weight = 0.25, base = 0.5 },
]
"""
GRADED = """
[[round.payments]]
item = "quality"
kind = "graded"
index = "P"
unit = "万元"
grades = [
  { at_most = 0.95, amount = 200, payer = "down", payee = "up" },
  { at_most = 1, amount = 100, payer = "down", payee = "up" },
  { amount = 100, payer = "up", payee = "down" },
]
"""
LEVEL = '[round.indices.q]\ncompare = "level"\nunit = "m3"\nterms = [{ indicator = "q", unit = "m3" }]\n'
PAID = """
[[round.payments]]
item = "water"
kind = "proportional"
index = "q"
rate = 0.5
unit = "元/m3"
payer = "down"
payee = "up"
"""
FIXED = '[[round.payments]]\nitem = "fixed"\nkind = "fixed"\namount = 3\nunit = "万元"\npayer = "x"\npayee = "y"\n'


def table(units: dict[str, str] | None = None, **columns: list[Any]) -> Table:
    frame = pd.DataFrame(columns)
    frame.index = pd.RangeIndex(2, len(frame) + 2, name="row")
    return Table("monitored.csv", frame, (Provenance("monitored.csv", "0" * 64),), units or {})


def write(folder: Path, *parts: str, head: str = HEAD) -> Path:
    path = folder / "example.toml"
    path.write_text(head + "".join(parts), encoding="utf-8")
    return path


def rows(made: Table, *columns: str) -> list[tuple[Any, ...]]:
    return list(made.frame[list(columns)].itertuples(index=False, name=None))


def net(made: Table) -> dict[str, float]:
    """What each party gets less what it pays."""
    frame = made.frame
    gets, pays = frame.groupby("payee")["amount"].sum(), frame.groupby("payer")["amount"].sum()
    return gets.sub(pays, fill_value=0.0).to_dict()


def notes(made: Table) -> str:
    return made.provenance[-1].notes


# --- shipped schedules: only verified figures are asserted


@pytest.mark.parametrize("name", SHIPPED)
def test_what_is_recalled_is_called_so(name: str) -> None:
    read = schedule(name)
    assert read.name == name
    statuses = {read.status, *(one.status for one in read.rounds), *(one.status for one in read.figures())}
    assert ("recalled" in statuses) == name.endswith("_recalled")
    assert "invented" not in statuses


XINANJIANG = {"year": [2012, 2013, 2014], "P": [1.0, 1.0000001, 0.8]}


def test_round_one_of_the_xinanjiang() -> None:
    """P ≤ 1: Zhejiang pays 100 million, P > 1: Anhui does; 300 million of the centre in either case. P is invented."""
    made = settle(table(**XINANJIANG), schedule("xinanjiang_2012"))
    assert rows(made, "year", "payer", "payee", "amount") == [
        (2012, "浙江", "安徽", 1e8), (2012, "中央", "安徽", 3e8), (2013, "安徽", "浙江", 1e8), (2013, "中央", "安徽", 3e8),
        (2014, "浙江", "安徽", 1e8), (2014, "中央", "安徽", 3e8),
    ]  # fmt: skip
    assert net(made) == {"浙江": -1e8, "安徽": 1e8 + 3 * 3e8, "中央": -9e8}
    assert made.units == {"amount": "yuan"}
    assert "verified (新浪新闻, 27 October 2017" in notes(made)
    assert not made.provenance[-1].synthetic


def classes(upper: list[Any], lower: list[Any]) -> Table:
    """Classes of water at 清水铺 and 鲢鱼溪, from 2018 on (invented)."""
    n = len(upper)
    return table(year=[*range(2018, 2018 + n)] * 2, at=["清水铺"] * n + ["鲢鱼溪"] * n, water_class=[*upper, *lower])


def test_the_pot_of_the_chishui() -> None:
    """Of 200 million 20, 100 and 80 are paid in, 60, 80 and 60 shared out: Yunnan gets 40, the others give 20 each."""
    made = settle(classes([2], [1]), schedule("chishui_2018"), section="at")
    assert net(made) == {"云南": 4e7, "贵州": -2e7, "四川": -2e7, "赤水河流域水环境横向补偿资金": 0.0}
    assert len(made.frame) == 6
    assert "the section above Maotai" in notes(made)


def test_missed_sections_forfeit() -> None:
    """清水铺 missed in 2018: Yunnan's 60 go 30 and 30. 鲢鱼溪 in 2019: Guizhou's 80 to Sichuan. Both in 2020."""
    given = {"given": {"share_forfeited": 1}, "given_source": "invented"}
    made = settle(classes([3, 2, 3], [2, 3, 3]), schedule("chishui_2018"), section="at", **given)
    out = made.frame[made.frame["item"] == "pot, shared out"].pivot_table(
        index="year", columns="payee", values="amount"
    )
    assert out[["云南", "贵州", "四川"]].to_numpy().tolist() == [
        [0.0, 80e6 + 30e6, 60e6 + 30e6],
        [60e6, 0.0, 60e6 + 80e6],
        [0.0, 30e6, 60e6 + 30e6 + 80e6],
    ]
    assert (out.sum(axis=1) == 2e8).all()
    with pytest.raises(DataError, match=r"share_forfeited' is open.*given=\{\"share_forfeited\": …\}"):
        settle(classes([3], [2]), schedule("chishui_2018"), section="at")


@pytest.mark.parametrize("wrong", [0, 7, 99])
def test_a_class_that_is_none_keeps_no_section(wrong: int) -> None:
    """Classes are I to V and worse than V: 0 and 99 are codes for what is not known, and 0 would be the best water of all."""
    with pytest.raises(DataError, match="'water_class', row 2: 'water_class' is not within 1 and 6"):
        settle(classes([wrong], [2]), schedule("chishui_2018"), section="at")


def test_an_unknown_class_leaves_open_who_gets_what() -> None:
    """清水铺 unknown: what comes of it is missing for all three; paying in is not."""
    given = {"given": {"share_forfeited": 0.5}, "given_source": "invented"}
    made = settle(classes([NAN], [2]), schedule("chishui_2018"), section="at", **given)
    assert made.frame["amount"].isna().tolist() == [False] * 3 + [True] * 3
    assert "3 of 6 payments are missing" in notes(made)


def test_the_xinanjiang_as_recalled_says_so() -> None:
    """Round 3 with bases of 1 (invented): P = 0.9 × (.22 × 1 + .22 × 1 + .28 × 1 + .28 × 2) = 0.9 × 1.28 = 1.152."""
    bases = {f"round_3.base_{name}": 1.0 for name in ("permanganate", "ammonia", "phosphorus", "nitrogen")}
    columns = {"permanganate": [1.0], "ammonia": [1.0], "phosphorus": [1.0], "nitrogen": [2.0]}
    monitored = table(dict.fromkeys(columns, "mg/L"), year=[2019], **columns)
    made = settle(monitored, schedule("xinanjiang_recalled"), given=bases, given_source="invented bases")
    assert made.frame["index"].tolist() == pytest.approx([0.9 * 1.28], rel=1e-12)
    assert made.frame["payer"].tolist() == ["安徽"]
    assert "K0 0.9, recalled" in notes(made)
    assert "base_nitrogen 1 mg/L, given (invented bases)" in notes(made)
    with pytest.raises(ConfigError, match=r"figure of 3 rounds.*round_1\.K0"):
        settle(monitored, schedule("xinanjiang_recalled"), given={"K0": 1}, given_source="x")


def test_water_above_the_mean_and_an_advance() -> None:
    """2018: 4 of 3 hundred million m3 at 0.5 yuan, TN down 10 % at 50,000: due 5e7 + 5e5 in 2019, of which 2e8 were advanced."""
    given = {"mean_inflow": 3, "price_of_water": 0.5, "reward_of_nitrogen": 5}
    monitored = table({"inflow": "亿立方米", "nitrogen_fall": "%"}, year=[2018, 2019], inflow=[4.0, 2.0],
                      nitrogen_fall=[10.0, -1.0])  # fmt: skip
    made = settle(monitored, schedule("chaobai_2018"), given=given, given_source="invented")
    assert rows(made, "year", "item", "payer", "amount", "paid_in") == [
        (2018, "advance", "北京", 2e8, 2018), (2018, "advance, set off", "河北", 2e8, 2019), (2018, "water", "北京", 5e7, 2019),
        (2018, "nitrogen", "北京", 5e5, 2019), (2019, "water", "北京", 0.0, 2020), (2019, "nitrogen", "北京", 0.0, 2020),
    ]  # fmt: skip
    assert net(made) == {"北京": -5.05e7, "河北": 5.05e7}


QUARTERS = {"city": ["济南", "济南", "青岛", "青岛"], "quarter": ["2015Q1", "2016Q1"] * 2, "dispersal": [1.0, 1.0, 1.5, 1.5],
            "pm25": [100.0, 90.0, 50.0, 52.0], "pm10": [150.0, 150.0, 90.0, 90.0], "so2": [60.0, 40.0, 20.0, 20.0],
            "no2": [50.0, 50.0, 30.0, 30.0]}  # fmt: skip


def test_air_of_cities_is_rewarded_and_penalised() -> None:
    """济南: .6 × 10 + .15 × 20 = 9, × 400,000 = 3.6 million. 青岛: 1.5 × .6 × -2 = -1.8: it pays 720,000.

    The first quarter of 2015 has no quarter before it: its payment is missing.
    """
    units = dict.fromkeys(("pm25", "pm10", "so2", "no2"), "μg/m3")
    made = settle(table(units, **QUARTERS), schedule("shandong_air"), period="quarter", keys=("city",))
    paid = made.frame[made.frame["quarter"] == "2016Q1"]
    assert paid["index"].tolist() == pytest.approx([9.0, -1.8], rel=1e-12)
    assert paid["amount"].tolist() == pytest.approx([3.6e6, 7.2e5], rel=1e-12)
    assert paid[["payer", "payee"]].to_numpy().tolist() == [["山东省", "济南"], ["青岛", "山东省"]]
    assert made.frame["amount"].isna().sum() == 2
    assert made.frame["paid_in"].tolist() == ["2015Q1", "2016Q1"] * 2
    assert "2 of 4 payments are missing" in notes(made)


def test_a_miss_costs_five_times_the_reward() -> None:
    """Reward 10,000 a per cent: 3 % above gets 30,000, 3 % below pays 150,000."""
    monitored = table({"above_target": "%"}, county=["a", "b"], year=[2019, 2019], above_target=[3.0, -3.0])
    made = settle(
        monitored, schedule("ningxia_recalled"), keys=("county",), given={"reward": 1}, given_source="invented"
    )
    assert rows(made, "payer", "payee", "amount") == [("宁夏回族自治区", "a", 3e4), ("b", "宁夏回族自治区", 15e4)]
    assert "penalty_times 5, recalled" in notes(made)


def test_gep_is_exchanged_at_a_coefficient() -> None:
    """2 × 100 million at 0.03 are 6 million."""
    monitored = table({"gep_r_exchanged": "亿元"}, buyer=["平原"], seller=["山区"], year=[2025], gep_r_exchanged=[2.0])
    source = schedule("beijing_gep_recalled")
    made = settle(monitored, source, keys=("seller",), given={"coefficient": 0.03}, given_source="invented")
    assert rows(made, "payer", "payee", "amount") == [("平原", "山区", pytest.approx(6e6))]


FOREST = {"buyer": ["渝中", "渝中"], "seller": ["巫溪", "巫溪"], "year": [2020, 2021], "forest_cover": [20.0, 45.0],
          "target": [45.0, 45.0], "area_bought": [11190.0, 10.0], "area_managed": [0.0, 11190.0],
          "price": [2500.0, 2500.0]}  # fmt: skip
FOREST_UNITS = {"forest_cover": "%", "target": "%", "area_bought": "mu", "area_managed": "亩", "price": "元/亩"}


def test_forest_cover_is_bought_below_the_target() -> None:
    """11,190 mu at 2,500 are 27.975 million, as printed. At the target itself (45 of 45 %) nothing is bought."""
    given = {"given": {"management": 100}, "given_source": "invented"}
    made = settle(table(FOREST_UNITS, **FOREST), schedule("chongqing_forest"), keys=("buyer",), **given)
    assert rows(made, "year", "item", "amount") == [
        (2020, "area", 27_975_000.0), (2020, "management", 0.0), (2021, "area", 0.0), (2021, "management", 1_119_000.0),
    ]  # fmt: skip
    short = {**FOREST_UNITS, "price": "元/公顷"}
    made = settle(table(short, **FOREST), schedule("chongqing_forest"), keys=("buyer",), **given)
    assert made.frame["amount"].iloc[0] == pytest.approx(27_975_000 / 15)


def test_an_insurance_pays_up_to_its_cap() -> None:
    """35 yuan × 10 % of 10,000 t less 20 %: 28,000. Of all 100,000 t: 2.8 million, more than the 476,900 insured."""
    columns: dict[str, Any] = {"insured": ["a", "b"], "year": [2023, 2023], "agreed_sink": [1e4, 1e5]}
    source = schedule("gaochun_carbon_insurance")
    given: dict[str, Any] = {"given": {"deductible": 0.2}, "given_source": "invented"}
    for unit, mass, lost in (("share", "t", [0.1, 1.0]), ("％", "t CO2e", [10.0, 100.0]), ("‰", "吨", [100.0, 1000.0])):
        monitored = table({"agreed_sink": mass, "loss_share": unit}, **columns, loss_share=lost)
        made = settle(monitored, source, keys=("insured",), **given)
        assert made.frame["amount"].tolist() == pytest.approx([28_000.0, 476_900.0], rel=1e-12)
    bare = table({"agreed_sink": "t"}, **columns, loss_share=[10.0, 100.0])  # 10 may be a share or per cent
    over = table({"agreed_sink": "t", "loss_share": "share"}, **columns, loss_share=[0.07, 1.4])
    with pytest.raises(DataError, match="'loss_share', row 3: 'loss_share' is not within 0 and 100 %"):
        settle(over, source, keys=("insured",), **given)
    with pytest.raises(DataError, match="'loss_share' has no unit"):
        settle(bare, source, keys=("insured",), **given)


def test_a_standard_rises_by_a_step() -> None:
    """10 yuan in 2015 and 2 more each year: 16 in 2018, on 100 mu 1,600."""
    monitored = table({"area": "亩"}, owner=["v", "v"], year=[2015, 2018], area=[100.0, 100.0])
    given = {"standard_2015": 10, "step": 2}
    made = settle(monitored, schedule("per_mu_recalled"), keys=("owner",), given=given, given_source="invented")
    assert made.frame["amount"].tolist() == [1000.0, 1600.0]


# --- the engine, on an invented schedule


def quality(folder: Path, a: list[float], b: list[float], k0: float = 1.0, unit: str = "kg/L") -> Table:
    read = schedule(write(folder, ROUND, OPEN_K0, INDEX, GRADED))
    monitored = table({"a": unit, "b": unit}, year=list(range(2012, 2012 + len(a))), a=a, b=b)
    return settle(monitored, read, given={"K0": k0}, given_source="agreement")


def test_bounds_count_as_they_are_written(tmp_path: Path) -> None:
    """P = .75 a / 2 + .25 b / .5: 1 at a = 2, b = .5; .75 + .25 × .8 = .95 at b = .4; 1.0005 at b = .501."""
    made = quality(tmp_path, [2.0, 2.0, 2.0], [0.5, 0.4, 0.501])
    assert made.frame["index"].tolist() == pytest.approx([1.0, 0.95, 1.0005], rel=1e-12)
    assert rows(made, "payer", "amount") == [("down", 1e6), ("down", 2e6), ("up", 1e6)]
    assert quality(tmp_path, [2.0], [0.4001]).frame["amount"].tolist() == [1e6]
    assert made.provenance[-1].synthetic  # the schedule is invented
    text = write(tmp_path, ROUND, OPEN_K0, INDEX, GRADED.replace("at_most = 1,", "below = 1,")).read_text(
        encoding="utf-8"
    )
    (tmp_path / "below.toml").write_text(text, encoding="utf-8")
    monitored = table({"a": "kg/L", "b": "kg/L"}, year=[2012], a=[2.0], b=[0.5])
    made = settle(monitored, schedule(tmp_path / "below.toml"), given={"K0": 1}, given_source="agreement")
    assert made.frame["payer"].tolist() == ["up"]


def test_rounding_turns_no_payment_round(tmp_path: Path) -> None:
    """0.1 + 0.2 is 0.30000000000000004 in binary, and at most 0.3."""
    parts = INDEX.replace('"ratio"', '"level"').replace('factor = "K0"', 'weights = "free"').replace("0.75", "1.0")
    parts = parts.replace("0.25", "1.0").replace(", base = 2.0", "").replace(", base = 0.5", "")
    read = schedule(write(tmp_path, ROUND, parts, GRADED.replace("0.95", "0.3")))
    made = settle(table({"a": "kg/L", "b": "kg/L"}, year=[2012], a=[0.1], b=[0.2]), read)
    assert made.frame["amount"].tolist() == [2e6]


def test_units_are_converted(tmp_path: Path) -> None:
    assert quality(tmp_path, [2000.0], [500.0], unit="g/L").frame["index"].tolist() == pytest.approx([1.0], rel=1e-12)
    with pytest.raises(DataError, match="measures area, which cannot be expressed"):
        quality(tmp_path, [1.0], [1.0], unit="mu")


def test_missing_stays_missing_and_is_counted(tmp_path: Path) -> None:
    made = quality(tmp_path, [2.0, NAN], [0.5, 0.5])
    assert made.frame["amount"].isna().tolist() == [False, True]
    assert made.frame["payer"].isna().tolist() == [False, True]
    assert "1 of 2 payments are missing" in notes(made)


def test_an_open_figure_is_refused_by_name(tmp_path: Path) -> None:
    read = schedule(write(tmp_path, ROUND, OPEN_K0, INDEX, GRADED))
    monitored = table({"a": "kg/L", "b": "kg/L"}, year=[2012], a=[2.0], b=[0.5])
    with pytest.raises(
        DataError, match=r"'K0' is open: nobody has printed it; article 5.*given=\{\"K0\": …\}, given_source"
    ):
        settle(monitored, read)
    for given, source, says in (
        ({"K": 1.0}, "x", "did you mean 'K0'"),
        ({"K0": NAN}, "x", "'K0' is nan"),
        ({"K0": 1.0}, " ", "without a source"),
    ):
        with pytest.raises(ConfigError, match=says):
            settle(monitored, read, given=given, given_source=source)


def test_a_payment_that_may_turn_is_said_to(tmp_path: Path) -> None:
    """0.5 yuan × 10 m3; an index below 0 is refused where the rule does not say what then."""
    made = settle(table({"q": "m3"}, year=[2012], q=[10.0]), schedule(write(tmp_path, ROUND, LEVEL, PAID)))
    assert rows(made, "amount", "index", "index_unit") == [(5.0, 10.0, "m3")]
    rise = LEVEL.replace('"level"', '"rise"').replace('unit = "m3" }', 'unit = "m3", base = 20 }')
    read = schedule(write(tmp_path, ROUND, rise, PAID))
    with pytest.raises(DataError, match="does not say what then"):
        settle(table({"q": "m3"}, year=[2012], q=[10.0]), read)


def test_a_deductible_in_money(tmp_path: Path) -> None:
    """0.5 × 10 - 3 = 2; 0.5 × 4 - 3 is nothing."""
    read = schedule(write(tmp_path, ROUND, LEVEL, PAID, 'deductible = 3\ndeductible_unit = "元"\n'))
    made = settle(table({"q": "m3"}, year=[2012, 2013, 2014], q=[10.0, 4.0, NAN]), read)
    assert made.frame["amount"].tolist()[:2] == [2.0, 0.0]
    assert made.frame["amount"].isna().tolist() == [False, False, True]


def test_a_deductible_comes_before_the_cap(tmp_path: Path) -> None:
    """0.5 × 10 less 10 % is 4.5, 0.5 × 6 less 10 % is 2.7; of each 3 at most."""
    terms = 'deductible = 10\ndeductible_unit = "％"\ncap = 0.0003\ncap_unit = "万元"\n'
    made = settle(
        table({"q": "m3"}, year=[2012, 2013], q=[10.0, 6.0]), schedule(write(tmp_path, ROUND, LEVEL, PAID, terms))
    )
    assert made.frame["amount"].tolist() == pytest.approx([3.0, 2.7], rel=1e-12)


def test_a_bound_that_is_missing_leaves_the_grade_open(tmp_path: Path) -> None:
    """P = 1 × (.75 + .25) = 1 in both years. With the first bound unknown it is not known whether 200 or 100 are due."""
    bound = GRADED.replace("at_most = 0.95", 'at_most = "{lim}"').replace("at_most = 1,", "at_most = 1.5,")
    monitored = table({"a": "kg/L", "b": "kg/L"}, year=[2012, 2013], a=[2.0, 2.0], b=[0.5, 0.5], lim=[NAN, 1.2])
    read = schedule(write(tmp_path, ROUND, OPEN_K0, INDEX, bound))
    made = settle(monitored, read, given={"K0": 1}, given_source="x")
    assert made.frame["amount"].isna().tolist() == [True, False]
    assert made.frame["amount"].iloc[1] == 2e6
    assert made.frame["payer"].isna().tolist() == [True, False]
    assert "1 of 2 payments are missing" in notes(made)


def test_a_rate_in_full_width(tmp_path: Path) -> None:
    """10 m3 at 2 yuan are 20; a price per nothing is refused by its column."""
    read = schedule(write(tmp_path, ROUND, LEVEL, PAID.replace("rate = 0.5", 'rate = "{p}"')))
    made = settle(table({"q": "m3", "p": "元／立方米"}, year=[2012], q=[10.0], p=[2.0]), read)
    assert made.frame["amount"].tolist() == pytest.approx([20.0], rel=1e-12)
    with pytest.raises(DataError, match=r"column 'p'.*the rate is in '元', and its index in 'm3'.*元/m3"):
        settle(table({"q": "m3", "p": "元"}, year=[2012], q=[10.0], p=[2.0]), read)


def test_what_is_wrong_in_other_years_is_not_the_concern_of_a_payment(tmp_path: Path) -> None:
    """From 2013 on: 0.5 + 0.1 yuan in 2014. The index is below 0 in 2012, of which the rule does not speak."""
    below = LEVEL.replace('unit = "m3" }', 'unit = "m3", may_be_negative = true }')
    stepped = "step = 0.1\nstep_from = 2013\n"
    monitored = table({"q": "m3"}, year=[2012, 2014], q=[-10.0, 10.0])
    made = settle(monitored, schedule(write(tmp_path, ROUND, below, PAID, stepped, "years = [2013, 2014]\n")))
    assert rows(made, "year", "amount") == [(2014, pytest.approx(6.0, rel=1e-12))]
    with pytest.raises(DataError, match=r"row 2; .*step_from is 2013, and the rate of the years before is not said"):
        settle(monitored, schedule(write(tmp_path, ROUND, below, PAID, stepped)))


def test_the_xinanjiang_by_hand_in_an_invented_year() -> None:
    """Round 2: P = .89 × (.25 × 2.1/2 + .25 × .12/.15 + .25 × .04/.05 + .25 × 1.3/1.25)
    = .89 × .25 × (1.05 + .8 + .8 + 1.04) = .2225 × 3.69 = .821025, at most .95: 浙江 pays 200 million.
    """
    bases = {"permanganate": 2.0, "ammonia": 0.15, "phosphorus": 0.05, "nitrogen": 1.25}
    columns = {"permanganate": [2.1], "ammonia": [0.12], "phosphorus": [0.04], "nitrogen": [1.3]}
    monitored = table({**dict.fromkeys(columns, "mg/L"), "nitrogen": "g/m3"}, year=[2016], **columns)
    given = {f"round_2.base_{name}": value for name, value in bases.items()}
    made = settle(monitored, schedule("xinanjiang_recalled"), given=given, given_source="invented")
    assert made.frame["index"].tolist() == pytest.approx([0.821025], rel=1e-12)
    assert rows(made, "payer", "payee", "amount") == [("浙江", "安徽", 2e8)]


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_money_is_conserved(share: float) -> None:
    """Whatever is forfeited, the fund keeps nothing, and what some pay others get."""
    given = {"given": {"share_forfeited": share}, "given_source": "invented"}
    made = settle(classes([3, 2, 3], [2, 3, 3]), schedule("chishui_2018"), section="at", **given)
    assert net(made)["赤水河流域水环境横向补偿资金"] == pytest.approx(0.0, abs=1e-6)
    assert sum(net(made).values()) == pytest.approx(0.0, abs=1e-6)
    assert (made.frame["amount"] >= 0).all()
