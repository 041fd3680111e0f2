"""Tables joined on the columns they share."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

import evalkit as ek
from evalkit.errors import ConfigError, DataError
from evalkit.study.config import read_study
from evalkit.study.running import build_panel, load_tables
from evalkit.tables.table import Provenance, Table


def table(name: str, units: dict[str, str] | None = None, **columns: list) -> Table:
    frame = pd.DataFrame(columns)
    frame.index = pd.RangeIndex(2, len(frame) + 2, name="row")
    return Table(name, frame, (Provenance(name, "0" * 64),), units or {})


def farms(counties: list[str] | None = None) -> Table:
    return table(
        "farms.csv",
        {"y": "t"},
        farm=[1, 1, 2, 2],
        year=[2020, 2021, 2020, 2021],
        county=counties or ["昌吉市", "昌吉市", "玛纳斯县", "玛纳斯县"],
        y=[1.0, 2.0, 3.0, 4.0],
    )


def policy(counties: list[str]) -> Table:
    return table("policy.csv", county=counties, first_year=[2021.0] + [None] * (len(counties) - 1))


def test_policy_joins_on_county_and_keeps_rows_units_and_provenance() -> None:
    panel = ek.assemble(farms(), policy(["昌吉市", "玛纳斯县"]), unit="farm", time="year")
    assert panel.frame["first_year"].tolist()[:2] == [2021.0, 2021.0]
    assert panel.frame["first_year"].isna().tolist() == [False, False, True, True]
    assert panel.frame.index.tolist() == [2, 3, 4, 5]  # rows of the first file
    assert panel.units == {"y": "t"}
    assert [one.path for one in panel.provenance] == ["farms.csv", "policy.csv"]
    assert panel.notes == ()


def test_a_county_without_a_policy_line_is_noted_not_silent() -> None:
    panel = ek.assemble(farms(), policy(["昌吉市"]), unit="farm", time="year")
    assert "1 keys (county) of farms.csv match no row of policy.csv: 玛纳斯县" in str(panel.notes[0])
    assert "玛纳斯县" in panel.notes[0].text("zh")


def test_a_key_of_another_volume_is_noted() -> None:
    panel = ek.assemble(farms(), policy(["昌吉市", "玛纳斯县", "Urumqi"]), unit="farm", time="year")
    assert "of policy.csv match no row of farms.csv: Urumqi" in str(panel.notes[0])


def test_a_misspelt_county_is_refused_with_its_row_and_the_likely_name() -> None:
    with pytest.raises(DataError) as caught:
        ek.assemble(farms(), policy(["昌吉市", "玛纳县"]), unit="farm", time="year")
    assert caught.value.where == "policy.csv, row 3"
    assert "玛纳县" in caught.value.what
    assert "玛纳斯县" in caught.value.remedy


@pytest.mark.parametrize(
    ("other", "says", "where"),
    [
        (policy(["昌吉市", "昌吉市"]), "several rows for county = 昌吉市", "policy.csv, row 3"),
        (table("prices.csv", month=[1], price=[2.0]), "shares no column", "prices.csv"),
        (
            table("policy.csv", county=[652301, 652324], first_year=[2021, None]),
            "text in farms.csv and numbers",
            "county",
        ),
        (
            table("policy.csv", county=["昌吉市", None], first_year=[2021, None]),
            "'county' is missing in 1 rows",
            "row 3",
        ),
    ],
)
def test_what_cannot_be_joined_is_refused(other: Table, says: str, where: str) -> None:
    with pytest.raises(DataError) as caught:
        ek.assemble(farms(), other, unit="farm", time="year")
    assert says in caught.value.what
    assert where in caught.value.where
    assert caught.value.remedy


def test_where_enters_the_ledger() -> None:
    panel = ek.assemble(farms(), unit="farm", time="year", where={"county": "昌吉市"})
    (line,) = panel.ledger
    assert (line.step, line.rows, line.units) == ("panel", 2, 1)
    with pytest.raises(DataError, match="no row has county"):
        ek.assemble(farms(), unit="farm", time="year", where={"county": "昌吉"})
    with pytest.raises(DataError, match="did you mean 'county'"):
        ek.assemble(farms(), unit="farm", time="year", where={"conty": "昌吉"})


# --- keys without a match, and why


def notes_of(*tables: Table, **options: object) -> list[str]:
    return [str(note) for note in ek.assemble(*tables, unit="farm", time="year", **options).notes]  # type: ignore[arg-type]


def renamed() -> Table:
    """沙湾县 (654223) became 沙湾市 (654203) in 2021: Ministry of Civil Affairs, 国函〔2021〕."""
    return table(
        "farms.csv",
        farm=[1, 1, 2, 2],
        year=[2019, 2021, 2019, 2021],
        county=["沙湾县", "沙湾市", "乌苏市", "乌苏市"],
        y=[1.0, 2.0, 3.0, 4.0],
    )


def incomes() -> Table:
    """A volume of 2021 calls the county by its new name in all years, and has a total row."""
    counties = ["沙湾市", "沙湾市", "乌 苏 市", "乌 苏 市", "合计"]
    return table("income.xls", county=counties, year=[2019, 2021, 2019, 2021, 2021], income=[1.0, 2.0, 3.0, 4.0, 5.0])


def test_a_missing_volume_is_named_as_the_cause() -> None:
    yearbook = table("income.xls", county=["昌吉市", "玛纳斯县"], year=[2020, 2020], income=[1.0, 2.0])
    said = notes_of(farms(), yearbook)
    assert said[0].startswith(
        "2 keys (county × year) of farms.csv match no row of income.xls: 昌吉市 2021, 玛纳斯县 2021"
    )
    assert said[1] == "income.xls has no row at all of 2021: that volume may be missing"
    assert len(said) == 2


def test_a_rename_is_named_as_the_cause_and_codes_join_over_it() -> None:
    yearbook = table("income.xls", county=["沙湾市", "沙湾市"], year=[2019, 2021], income=[1.0, 2.0])
    said = notes_of(renamed(), yearbook)
    assert "沙湾县 (654223) → 沙湾市 (654203), rename of 2021: join by code" in said[-1]
    panel = ek.assemble(
        renamed(), incomes(), unit="farm", time="year", regions={"county": ek.Area("county", "塔城地区")}
    )
    assert panel.frame["county_code"].tolist() == ["654203", "654203", "654202", "654202"]
    assert panel.frame["income"].tolist() == [1.0, 2.0, 3.0, 4.0]
    assert panel.frame["county"].tolist() == ["沙湾县", "沙湾市", "乌苏市", "乌苏市"]  # the first table's, as written
    (note,) = panel.notes
    assert "1 rows of income.xls are left out" in str(note)
    assert "合计" in note.text("zh")


def test_a_merger_is_named_as_the_cause_and_no_code_joins_it() -> None:
    """米泉市 (652303) and 东山区 became 米东区 (650109) in 2007: 国函〔2007〕65号."""
    here = table("a.csv", farm=[1, 2], year=[2006, 2006], county=["米泉市", "昌吉市"])
    there = table("b.csv", county=["米东区", "昌吉市"], year=[2006, 2006], z=[1.0, 2.0])
    said = notes_of(here, there)
    assert "米泉市 in a.csv and 米东区 in b.csv (2006)" in said[-1]
    assert "米泉市 (652303) → 米东区 (650109), merger of 2007" in said[-1]
    assert "join by code" not in said[-1]
    panel = ek.assemble(here, there, unit="farm", time="year", regions={"county": ek.Area()})
    assert panel.frame["z"].isna().tolist() == [True, False]


def test_a_policy_without_years_reaches_the_county_under_both_names() -> None:
    first_year = table("policy.csv", county=["沙湾市", "乌苏市"], first_year=[2021.0, None])
    panel = ek.assemble(renamed(), first_year, unit="farm", time="year", regions={"county": ek.Area()})
    assert panel.frame["first_year"].tolist()[:2] == [2021.0, 2021.0]
    assert panel.notes == ()


@pytest.mark.parametrize(
    ("one", "other"), [("昌吉回族自治州", "昌吉州"), ("昌吉市", "昌 吉 市"), ("玛纳斯县", "玛纳斯")]
)
def test_another_name_of_the_same_unit_is_refused_with_both(one: str, other: str) -> None:
    here = table("a.csv", farm=[1, 2], year=[2019, 2019], county=[one, "伊宁县"])
    there = table("b.csv", county=[other, "伊宁县"], z=[1.0, 2.0])
    with pytest.raises(DataError, match=one) as caught:
        ek.assemble(here, there, unit="farm", time="year")
    assert other in caught.value.what
    assert caught.value.where == "b.csv, row 2"
    assert "regions=" in caught.value.remedy
    panel = ek.assemble(here, there, unit="farm", time="year", regions={"county": ek.Area()})
    assert panel.frame["z"].tolist() == [1.0, 2.0]


def test_two_units_with_similar_names_are_no_misspelling() -> None:
    here = table("a.csv", farm=[1, 2], year=[2019, 2019], county=["伊宁市", "昌吉市"])
    said = notes_of(here, table("b.csv", county=["伊宁县", "昌吉市"], z=[1.0, 2.0]))
    assert len(said) == 2
    said = notes_of(Table("c.csv", here.frame.assign(id=["A01", "A02"]), here.provenance),
                    table("b.csv", id=["A01", "A03"], z=[1.0, 2.0]))  # fmt: skip
    assert "A03" in said[1]


@pytest.mark.parametrize(
    ("years", "other", "says"),
    [
        ([2019, 2020], ["2019年", "2020年"], "write it alike in both: 2019"),
        (["2019", "2020"], ["2019年", "2020年"], "write the same periods in two ways, 2019 and 2019年"),
        ([2019, 2020], [2011, 2012], "has no row at all of 2019, 2020"),
    ],
)
def test_years_that_never_match_are_refused_with_the_cause(years: list, other: list, says: str) -> None:
    here = table("a.csv", farm=[1, 1], year=years, y=[1.0, 2.0])
    with pytest.raises(DataError) as caught:
        ek.assemble(here, table("prices.csv", year=other, price=[1.0, 2.0]), unit="farm", time="year")
    assert says in caught.value.remedy
    assert "prices.csv, row 2" in caught.value.where


def test_names_without_a_code_are_refused_in_the_first_table_and_where_they_look_misspelt() -> None:
    with pytest.raises(DataError, match="'玛纳县' is no known region") as caught:
        ek.assemble(farms(["玛纳县"] * 4), unit="farm", time="year", regions={"county": ek.Area()})
    assert caught.value.where == "farms.csv, row 2"
    assert "玛纳斯县" in caught.value.remedy
    with pytest.raises(
        DataError, match=r"'玛纳县' has no code, and '玛纳斯县' of farms\.csv is without a match"
    ) as caught:
        ek.assemble(farms(), policy(["昌吉市", "玛纳县"]), unit="farm", time="year", regions={"county": ek.Area()})
    assert caught.value.where == "policy.csv, row 3, column 'county'"


def test_totals_of_a_yearbook_leave_the_panel_with_a_note() -> None:
    yearbook = table(
        "年鉴.xls", county=["全州", "昌吉市", "木垒县", "第六师"], year=[2020] * 4, x=[10.0, 4.0, 6.0, 1.0]
    )
    panel = ek.assemble(yearbook, unit="county_code", time="year", regions={"county": ek.Area(within="昌吉州")})
    assert panel.frame["county_code"].tolist() == ["652301", "652328"]
    assert "2 rows of 年鉴.xls are left out" in str(panel.notes[0])
    assert "全州, 第六师" in str(panel.notes[0])


@pytest.mark.parametrize(
    ("first", "says"),
    [
        (farms(), "policy.csv has a column 'county_code' already"),
        (table("a.csv", farm=[1], year=[2030], county=["昌吉市"]), "the lists of regions from 1980 to 2024"),
        (table("a.csv", farm=[1], year=["2019Q1"], county=["昌吉市"]), "does not hold a year in each row"),
        (table("a.csv", farm=[1], year=[2019], place=["昌吉市"]), "there is no column 'county'"),
    ],
)
def test_what_has_no_year_or_room_for_codes_is_refused(first: Table, says: str) -> None:
    more = {"county_code": ["652301"]} if first.name == "farms.csv" else {}
    other = table("policy.csv", county=["昌吉市"], **more)
    with pytest.raises(DataError, match=says):
        ek.assemble(first, other, unit="farm", time="year", regions={"county": ek.Area()})


def test_a_finer_table_is_told_to_go_first() -> None:
    with pytest.raises(DataError) as caught:
        ek.assemble(policy(["昌吉市"]), farms(), unit="county", time="year")
    assert "give farms.csv before policy.csv" in caught.value.remedy


def test_a_panel_that_is_not_balanced_says_so() -> None:
    lacking = table("farms.csv", farm=[1, 1, 2], year=[2020, 2021, 2020], y=[1.0, 2.0, 3.0])
    (said,) = notes_of(lacking)
    assert said == "the panel is not balanced: 1 of 4 unit-periods are missing, in 1 of 2 units (the first: 2 in 2021)"
    assert notes_of(farms()) == []


def test_an_error_in_a_derived_column_names_its_file_and_the_row_of_the_first() -> None:
    prices = table("prices.csv", {"index": "2020=100"}, year=[2020, 2021], index=[100.0, 1.1])
    money = table("farms.csv", {"y": "yuan"}, farm=[1, 1], year=[2020, 2021], y=[1.0, 0.0])
    with pytest.raises(DataError) as caught:
        ek.assemble(money, prices, unit="farm", time="year", derive={"log_y": ek.log("y")})
    assert caught.value.where == "derived column 'log_y', farms.csv, column 'y', row 3"
    with pytest.raises(DataError) as caught:
        ek.assemble(money, prices, unit="farm", time="year", derive={"flag": ek.per("y", "index"), "l": ek.log("flag")})
    assert caught.value.where == "derived column 'l', farms.csv, prices.csv, column 'flag', row 3 of farms.csv"


def test_a_derived_column_rests_on_the_files_of_its_columns() -> None:
    prices = table("prices.csv", {"index": "2020=100"}, year=[2020, 2021], index=[100.0, 110.0])
    money = table("farms.csv", {"y": "yuan"}, farm=[1, 1], year=[2020, 2021], y=[1.0, 1.1])
    panel = ek.assemble(money, prices, unit="farm", time="year", derive={"real": ek.deflate("y", "index", "price")})
    assert panel.origins["real"] == "farms.csv, prices.csv"
    assert panel.units["real"] == "yuan of 2020"


# --- from a study.toml

STUDY = """
[[source]]
name = "farms"
kind = "Delimited"
path = "farms.csv"
[[source]]
name = "prices"
kind = "Delimited"
path = "prices.csv"
units = { index = "上年=100" }
[panel]
sources = ["farms", "prices"]
unit = "farm"
time = "year"
[panel.regions]
county = { level = "county", within = "塔城地区" }
[panel.derive]
real = { verb = "deflate", of = "income", by = "index", index = "price" }
per_mu = { verb = "per", of = "real", by = "area" }
before = { verb = "lag", of = "per_mu" }
calm = { verb = "winsorise", of = "per_mu", lower = 0.0, upper = 0.5 }
part = { verb = "share", of = "area", within = "county_code" }
[design]
outcome = "per_mu"
adoption = "first_year"
assigned_at = "county_code"
[[estimate]]
name = "main"
estimator = { kind = "TwoWayFE" }
inference = { kind = "Cluster" }
"""


def study(folder: Path, old: str = "", new: str = "") -> Path:
    (folder / "farms.csv").write_text(
        "farm,year,county,income,area,first_year\n1,2020,沙湾县,100,10,2021\n1,2021,沙湾市,110,10,2021\n"
        "2,2020,乌苏市,300,30,\n2,2021,乌苏市,330,10,\n",
        encoding="utf-8",
    )
    (folder / "farms.csv.provenance.toml").write_text('[units]\nincome = "yuan"\narea = "mu"\n', encoding="utf-8")
    (folder / "prices.csv").write_text("year,index\n2020,101\n2021,110\n", encoding="utf-8")
    assert old in STUDY
    (folder / "study.toml").write_text(STUDY.replace(old, new), encoding="utf-8")
    return folder


def test_a_study_names_regions_and_verbs(tmp_path: Path) -> None:
    config = read_study(study(tmp_path))
    assert config.panel.regions == {"county": ek.Area("county", "塔城地区")}
    panel = build_panel(config, load_tables(config))
    assert panel.frame["county_code"].tolist() == ["654203", "654203", "654202", "654202"]
    assert panel.frame["real"].tolist() == pytest.approx([100.0, 100.0, 300.0, 300.0])
    assert panel.frame["per_mu"].tolist() == pytest.approx([10.0, 10.0, 10.0, 30.0])
    assert panel.frame["before"].isna().tolist() == [True, False, True, False]
    assert panel.frame["calm"].tolist() == pytest.approx([10.0] * 4)
    assert panel.frame["part"].tolist() == pytest.approx([1.0] * 4)
    assert {name: panel.units[name] for name in ("real", "per_mu", "before", "part")} == {
        "real": "yuan of 2020",
        "per_mu": "yuan of 2020/mu",
        "before": "yuan of 2020/mu",
        "part": "share",
    }
    assert panel.origins["real"] == "farms.csv, prices.csv"
    said = [str(note) for note in panel.notes]
    assert "missing in 2 rows that have none: 2 at the start of a unit, 0 at gaps" in said[0]
    assert "1 of 4 values of per_mu lie beyond" in said[1]


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('level = "county"', 'level = "township"', ["panel.regions.county.level", "township"]),
        ("within =", "in =", ["panel.regions.county", "unknown key 'in'", "'within'"]),
        ('[panel.regions]\ncounty = { level = "county", within = "塔城地区" }', "", None),
        ("lower = 0.0", "lower = 0.9", ["panel.derive.calm", "not a lower and an upper quantile"]),
        ('verb = "lag"', 'verb = "lead"', ["panel.derive.before", "deflate, winsorise, lag, share"]),
    ],
)
def test_a_wrong_setting_of_the_panel_is_named(tmp_path: Path, old: str, new: str, says: list[str] | None) -> None:
    path = study(tmp_path, old, new)
    if says is None:  # without regions, there is no column of codes to share out by
        config = read_study(path)
        with pytest.raises(DataError, match="there is no column 'county_code'"):
            build_panel(config, load_tables(config))
        return
    with pytest.raises(ConfigError) as caught:
        read_study(path)
    assert [word for word in says if word not in str(caught.value)] == []


def test_a_total_that_counts_as_a_unit_is_noted() -> None:
    rows = {"county": ["昌吉市", "合 计", "Total"], "year": [2020] * 3, "y": [1.0, 2.0, 3.0]}
    panel = ek.assemble(table("farms.csv", **rows), unit="county", time="year")
    assert [str(note) for note in panel.notes if "total" in str(note)] == [
        "Total, 合 计 in county is the name of a total and counts as a unit of its own; leave its rows out of the file, or name "
        "the column in regions="
    ]
    assert "合计的名称" in panel.notes[0].text("zh")
    assert ek.assemble(table("farms.csv", **rows), unit="county", time="year", where={"county": "昌吉市"}).notes == ()


def test_a_name_of_several_units_of_its_year_is_not_that_of_another_year() -> None:
    counties = table(
        "A", {}, county=["东山区", "东山区"], year=[2004, 2024], y=[1.0, 2.0]
    )  # of Urumqi, Guangzhou, Hegang; Hegang
    with pytest.raises(DataError, match="'东山区' of 2004 can be"):
        ek.assemble(
            counties,
            table("B", {}, county=["东山区"], x=[1.0]),
            unit="county",
            time="year",
            regions={"county": ek.Area()},
        )


def test_a_column_names_the_area_of_each_row() -> None:
    where = {"city": ["南京市", "徐州市", "南京市", "徐州市"], "year": [2010, 2010, 2011, 2011]}
    here = table("A", {}, county=["鼓楼区"] * 4, y=[1.0, 2.0, 3.0, 4.0], **where)
    there = table("B", {}, county=["鼓楼区", "徐州鼓楼区"], city=["江苏省南京市", "徐州"], x=[10.0, 20.0])
    regions = {"county": ek.Area(level="county", column="city")}
    panel = ek.assemble(here, there, unit="county_code", time="year", regions=regions)
    assert panel.frame[["county_code", "y", "x"]].to_numpy().tolist() == [
        ["320106", 1.0, 10.0], ["320106", 3.0, 10.0], ["320302", 2.0, 20.0], ["320302", 4.0, 20.0],
    ]  # fmt: skip
    with pytest.raises(DataError, match="'鼓楼区' of 2010 can be 江苏省南京市鼓楼区"):
        ek.assemble(here, there, unit="county_code", time="year", regions={"county": ek.Area(level="county")})


def test_a_name_of_a_later_year_is_that_of_the_unit_in_its_own() -> None:
    early = table("A", {}, county=["沙湾市", "沙湾市"], year=[2005, 2006], y=[1.0, 2.0])  # a city from 2021 on
    panel = ek.assemble(early, unit="county_code", time="year", regions={"county": ek.Area()})
    assert panel.frame["county_code"].tolist() == ["654223", "654223"]
