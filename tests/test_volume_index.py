"""Indices of volumes and of prices: alike to look at, and opposite in what they do; by hand, by name and in real figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import openpyxl
import pandas as pd
import pytest

import evalkit as ek
from evalkit.accounting import factor_set, intensity, inventory
from evalkit.errors import DataError
from evalkit.panels.assembly import assemble
from evalkit.panels.panel import Panel
from evalkit.panels.prices import check_index
from evalkit.sources import Delimited, Yearbook
from evalkit.tables.table import Provenance, Table

DATA = Path(__file__).parent / "data" / "china_crop_output.csv"
NAN = float("nan")
YEARS = [2019, 2020, 2021]


def table(name: str, units: dict[str, str], **columns: list[Any]) -> Table:
    frame = pd.DataFrame(columns)
    frame.index = pd.RangeIndex(2, len(frame) + 2, name="row")
    return Table(name, frame, (Provenance(name, "0" * 64),), units)


def counties(index: list[float], output: list[float], unit: str = "上年=100") -> Panel:
    frame = pd.DataFrame({"county": list("aaabbb"), "year": YEARS * 2, "y": output, "q": index})
    frame.index = pd.RangeIndex(2, 8, name="row")
    return Panel.from_frame(frame, unit="county", time="year", units={"y": "万元", "q": unit})


INDEX = [103.0, 110.0, 95.0, 99.0, 100.0, 120.0]
OUTPUT = [100.0, 130.0, 125.0, 40.0, 41.0, 60.0]
# a: 100, 100 × 1.10, 100 × 1.10 × 0.95; b: 40, 40 × 1.00, 40 × 1.00 × 1.20. What was sold for how much later does not matter.
REAL = [100.0, 110.0, 104.5, 40.0, 40.0, 48.0]


def test_real_output_of_two_counties_by_hand() -> None:
    found = ek.deflate("y", "q", "volume").derive(counties(INDEX, OUTPUT), "real")
    assert found.values.tolist() == pytest.approx(REAL, rel=1e-14)
    assert found.unit == "万元 of 2019"
    same = ek.deflate("y", "q", "volume", within="county").derive(counties(INDEX, OUTPUT), "real")
    assert same.values.tolist() == found.values.tolist()


def test_taken_for_prices_the_same_index_gives_another_answer_of_the_other_sign() -> None:
    """By prices: 130/1.10 and 125/1.045 of a; it grows by 19.6 % where output grew by 4.5 %."""
    found = ek.deflate("y", "q", "price", within="county").derive(counties(INDEX, OUTPUT), "real")
    assert found.values.tolist() == pytest.approx([100.0, 130 / 1.1, 125 / 1.045, 40.0, 41.0, 50.0], rel=1e-14)


def test_a_fixed_base_gives_the_same_volumes() -> None:
    """2020 = 100: a 100/1.10, 100, 95 of it; b 100, 100, 120. The prices are those of the panel's first year all the same."""
    fixed = counties([100 / 1.1, 100.0, 95.0, 100.0, 100.0, 120.0], OUTPUT, "2020=100")
    found = ek.deflate("y", "q", "volume").derive(fixed, "real")
    assert found.values.tolist() == pytest.approx(REAL, rel=1e-14)
    assert found.unit == "万元 of 2019"


def test_what_is_missing_stays_missing_and_a_later_value_does_not_matter() -> None:
    found = ek.deflate("y", "q", "volume").derive(counties(INDEX, [100.0, NAN, 125.0, 40.0, 0.0, 60.0]), "real")
    assert found.values.tolist() == pytest.approx([100.0, NAN, 104.5, 40.0, 40.0, 48.0], rel=1e-14, nan_ok=True)


@pytest.mark.parametrize(
    ("index", "output", "what", "where"),
    [
        (INDEX, [NAN, 130.0, 125.0, 40.0, 41.0, 60.0], "without a value in 2019", "rows 3, 4"),
        ([103.0, NAN, 95.0, 99.0, 100.0, 120.0], OUTPUT, "cannot pass a missing year", "row 3"),
        ([103.0, 1.1, 0.95, 99.0, 100.0, 120.0], OUTPUT, "is not an index out of 100", "rows 3, 4"),
        ([103.0, 10.0, 95.0, 99.0, 100.0, 120.0], OUTPUT, "10 is not an index out of 100", "row 3"),
    ],
)
def test_a_chain_of_volumes_that_breaks_is_refused(
    index: list[float], output: list[float], what: str, where: str
) -> None:
    with pytest.raises(DataError) as caught:
        ek.deflate("y", "q", "volume").derive(counties(index, output), "real")
    assert what in caught.value.what
    assert where in caught.value.where


def test_the_volumes_of_a_group_are_not_those_of_its_members() -> None:
    frame = pd.DataFrame(
        {"farm": [1, 1, 2, 2], "year": [2019, 2020] * 2, "county": list("aaaa"), "y": [1.0] * 4, "q": [100.0] * 4}
    )
    farms = Panel.from_frame(frame, unit="farm", time="year", units={"y": "yuan", "q": "上年=100"})
    with pytest.raises(DataError, match="what a group produces says nothing of the volumes of its members"):
        ek.deflate("y", "q", "volume", within="county").derive(farms, "real")
    crossed = Panel.from_frame(frame.drop(columns="farm"), unit=None, time="year", units={"y": "yuan", "q": "上年=100"})
    with pytest.raises(DataError, match="of one unit"):
        ek.deflate("y", "q", "volume").derive(crossed, "real")


def emitted() -> Table:
    activity = table("a.csv", {"fertiliser": "kg"}, county=list("aaabbb"), year=YEARS * 2, fertiliser=[1000.0] * 6)
    return inventory(activity, factor_set("changji_2022"), keys=("county", "year"))  # 800 kg CO2 each


def output_of(values: list[float]) -> Table:
    return table("sales.csv", {"sales": "万元"}, county=list("aaabbb"), year=YEARS * 2, sales=values)


def test_intensity_divides_by_real_output() -> None:
    index = table("v.csv", {"q": "上年=100"}, county=list("aaabbb"), year=YEARS * 2, q=INDEX)
    found = intensity(emitted(), output=output_of(OUTPUT), per="sales", deflator=index, index="volume")
    assert found.frame["cei"].tolist() == pytest.approx([800 / (one * 1e4) for one in REAL], rel=1e-14)
    assert found.units["cei"] == "kg CO2e/yuan of 2019"


def test_an_index_that_begins_earlier_is_counted_from_the_first_year_of_output() -> None:
    index = table(
        "v.csv",
        {"q": "上年=100"},
        county=list("aaaabbbb"),
        year=[2018, *YEARS] * 2,
        q=[98.0, *INDEX[:3], 97.0, *INDEX[3:]],
    )
    found = intensity(emitted(), output=output_of(OUTPUT), per="sales", deflator=index, index="volume")
    assert found.frame["cei"].tolist() == pytest.approx([800 / (one * 1e4) for one in REAL], rel=1e-14)
    assert found.units["cei"] == "kg CO2e/yuan of 2019"


def test_one_index_of_volumes_for_several_counties_is_refused() -> None:
    index = table("v.csv", {"q": "上年=100"}, year=YEARS, q=INDEX[:3])
    with pytest.raises(DataError, match="no index of each unit: what a group produces says nothing of its members"):
        intensity(emitted(), output=output_of(OUTPUT), per="sales", deflator=index, index="volume")
    by_price = intensity(emitted(), output=output_of(OUTPUT), per="sales", deflator=index, index="price")
    assert by_price.frame["cei"].tolist()[4] == pytest.approx(800 / (41e4 / 1.1), rel=1e-14)


# --- by name

VOLUMES = [
    "农林牧渔业总产值指数", "农业总产值（可比价）", "第一产业增加值指数", "地区生产总值指数", "GDP指数",
    "农林牧渔业总产值指数（按可比价格计算）", "可比价格指数", "农产品产量指数", "农业生产指数", "总产值发展速度",
    "Indices of Gross Output Value of Farming",
    "Index of gross output at comparable prices", "volume index", "real_output_index", "Output index (constant prices)",
]  # fmt: skip
PRICES = [
    "农产品生产者价格指数", "农业生产资料价格指数", "居民消费价格指数", "商品零售价格总指数", "GDP平减指数",
    "生产者价格（上年=100）", "price_index", "Producer price indices", "Index of producer prices",
    "Price Index of Agricultural Production", "cpi_rural",
    "CPI", "ppi2020", "GDP deflator",
]  # fmt: skip


@pytest.mark.parametrize(("names", "right", "wrong"), [(VOLUMES, "volume", "price"), (PRICES, "price", "volume")])
def test_names_that_say_the_other_are_refused(names: list[str], right: str, wrong: str) -> None:
    for name in names:
        check_index(right, ("p", name), where="p.csv")
        with pytest.raises(DataError) as caught:
            check_index(wrong, ("p", name), where="p.csv, column 'p'")
        assert f"'{name}' is an index of {right}s" in caught.value.what
        assert caught.value.where == "p.csv, column 'p'"
        assert f'write index = "{right}"' in caught.value.remedy


def test_names_that_say_neither_pass_as_either_and_the_kind_has_to_be_said() -> None:
    for name in ("p", "index_crops", "指数", "copies", "happiness"):
        check_index("price", (name,), where="")
        check_index("volume", (name,), where="")
    for index in ("", "prices", "Volume"):
        with pytest.raises(DataError) as caught:
            check_index(index, (), where="")
        assert 'index = "price"' in caught.value.remedy
        with pytest.raises(DataError):
            ek.deflate("y", "p", index)


@pytest.mark.parametrize(
    ("header", "right", "wrong"), [("农林牧渔业总产值指数", "volume", "price"), ("农产品价格指数", "price", "volume")]
)
def test_a_header_renamed_by_columns_is_remembered(tmp_path: Path, header: str, right: str, wrong: str) -> None:
    path = tmp_path / "index.csv"
    path.write_text(
        f"县,年份,{header}\na,2019,100\na,2020,110\na,2021,95\nb,2019,100\nb,2020,100\nb,2021,120\n", encoding="utf-8"
    )
    read = Delimited(path, columns={"county": "县", "year": "年份", "p": header}, units={"p": "上年=100"}).load()
    with pytest.raises(DataError, match=f"'{header}' is an index of {right}s"):
        intensity(emitted(), output=output_of(OUTPUT), per="sales", deflator=read, index=wrong)
    intensity(emitted(), output=output_of(OUTPUT), per="sales", deflator=read, index=right)
    panel = assemble(output_of(OUTPUT), read, unit="county", time="year")
    with pytest.raises(DataError, match=f"'{header}' is an index of {right}s"):
        ek.deflate("sales", "p", wrong, within="county").derive(panel, "real")
    assert len(ek.deflate("sales", "p", right, within="county").derive(panel, "real").values) == 6


def test_an_indicator_of_a_yearbook_renamed_by_columns_is_remembered(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    for row in (["3-1 农林牧渔业总产值指数"], ["（上年=100）"], ["地区", "2019年", "2020年", "2021年"],
                ["昌吉市", 103.0, 110.0, 95.0], ["阜康市", 99.0, 100.0, 120.0]):  # fmt: skip
        sheet.append(row)
    book.save(tmp_path / "book.xlsx")
    read = Yearbook(
        tmp_path / "book.xlsx", columns={"p": "农林牧渔业总产值指数"}, keys=("county", "year"),
        units={"农林牧渔业总产值指数": "上年=100"},
    ).load()  # fmt: skip
    output = table("sales.csv", {"sales": "万元"}, county=["昌吉市"] * 3 + ["阜康市"] * 3, year=YEARS * 2, sales=OUTPUT)
    panel = assemble(output, read, unit="county", time="year")
    with pytest.raises(DataError, match="'农林牧渔业总产值指数' is an index of volumes"):
        ek.deflate("sales", "p", "price", within="county").derive(panel, "real")
    assert ek.deflate("sales", "p", "volume").derive(panel, "real").values.tolist() == pytest.approx(REAL, rel=1e-14)


# --- the trap, in real figures


def test_nominal_output_over_the_index_of_volumes_is_no_real_output() -> None:
    """Crops of Xinjiang: 59.585 bn yuan in 2005, 399.142 in 2023; volumes rose 3.1008 times (18 indices multiplied).

    Real output of 2023 is 595.85 × 3.1008 = 1,847.6; nominal output over the index is 3991.42 / 3.1008 = 1,287.2, which would be
    a growth to 216 % where there was one to 310 %. In Jiangsu, 1,291.06 to 4,844.11 and 1.7593 times: 2,271.4 and 2,753.4.
    """
    panel = assemble(Delimited(DATA).load(), unit="province", time="year")
    last = {
        name: at
        for at, (name, year) in enumerate(panel.frame[["province", "year"]].itertuples(index=False))
        if year == 2023
    }
    real = ek.deflate("output_crops_100myuan", "index_crops", "volume").derive(panel, "real")
    wrong = ek.deflate("output_crops_100myuan", "index_crops", "price", within="province").derive(panel, "real")
    xinjiang, jiangsu = last["新疆维吾尔自治区"], last["江苏省"]
    assert real.unit == wrong.unit == "亿元 of 2005"
    assert real.values[xinjiang] == pytest.approx(1847.64, abs=0.01)
    assert wrong.values[xinjiang] == pytest.approx(1287.21, abs=0.01)
    # By real output Jiangsu is 1.23 times Xinjiang, by the wrong one 2.1 times.
    growth = 1.0
    for index in (105.4, 102.6, 103.2, 103.3, 103.8, 104.3, 104.5, 103.3, 104.0, 103.3, 100.5, 103.5, 100.8, 102.8, 102.8,
                  103.2, 103.3, 102.9):  # fmt: skip
        growth *= index / 100
    assert real.values[jiangsu] == pytest.approx(1291.06 * growth, rel=1e-12)
    assert wrong.values[jiangsu] == pytest.approx(4844.11 / growth, rel=1e-12)
    assert real.values[jiangsu] / real.values[xinjiang] < 1.3
    assert wrong.values[jiangsu] / wrong.values[xinjiang] > 2.0
