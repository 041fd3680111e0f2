"""LoanLedger: exposures by hand, pseudonyms by hmac, and every refusal, none of which shows a person.

Borrowers are synthetic: their ids begin with 990000, which is no place, so that none can be anybody's.
"""

from __future__ import annotations

import csv
import datetime as dt
import hashlib
import hmac
import io
import math
import random
import re
import traceback
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import pandas as pd
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from evalkit.errors import EvalkitError, SourceError
from evalkit.panels.assembly import assemble
from evalkit.sources import LoanLedger
from evalkit.sources.ledger.fields import kind_of_field, plain
from evalkit.sources.ledger.values import read_day, read_number
from evalkit.sources.persons import citizen_check, read_document
from evalkit.tables.table import Table
from sampling import inputs

KEY = hashlib.sha256(b"the key of these tests").hexdigest()
ANOTHER = hashlib.sha256(b"another one").hexdigest()
# GB 11643 publishes the weights as these numbers; the code computes them as powers of 2.
WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)


def citizen(number: int, born: str = "19800101") -> str:
    body = f"990000{born}{number:03d}"
    return body + "10X98765432"[sum(int(d) * w for d, w in zip(body, WEIGHTS, strict=True)) % 11]


A, B, C = citizen(1), citizen(2), citizen(3)
PHONE, PLACE = "19900000001", "合成村合成路1号"
NAMES = tuple(f"合成农户{i:04d}" for i in range(1, 5))
HEADER = ("借据号", "客户名称", "证件号码", "贷款日期", "贷款金额(万元)", "年利率(%)", "贷款用途", "绿色贷款标识", "币种",
          "手机号码", "居住地址", "农户编号")  # fmt: skip
ROWS: tuple[tuple[str, ...], ...] = (
    ("J001", NAMES[0], A, "20190315", "5", "4.35", "购买农药", "否", "CNY", PHONE, PLACE, "0101"),
    ("J002", NAMES[0], A, "2019-11-02", "3", "6", "有机肥采购", "是", "CNY", PHONE, PLACE, "0101"),
    ("J003", NAMES[0], A, "2020/1/5", "2.5", "5", "购买种子", "", "CNY", PHONE, PLACE, "0101"),
    ("J004", NAMES[1], B, "2020年7月1日", "10", "4", "有机肥采购", "是", "CNY", PHONE, PLACE, "0102"),
    ("J005", NAMES[1], B, "43900", "1.2345", "4.5", "购买农机", "否", "CNY", PHONE, PLACE, "0102"),  # 10 March 2020
    ("J006", NAMES[3], "", "20200601", "7", "4", "购房", "否", "CNY", PHONE, PLACE, ""),
)
PEOPLE = (A, B, C, *NAMES, PHONE, PLACE)


def cells(rows: Any = ROWS, header: Any = HEADER) -> list[list[str]]:
    return [list(header), *(list(row) for row in rows)]


def write(folder: Path, table: list[list[str]], encoding: str = "utf-8", name: str = "借据.csv") -> Path:
    text = io.StringIO()
    csv.writer(text).writerows(table)
    path = folder / "data" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(text.getvalue().encode(encoding))
    return path


def write_sheet(folder: Path, table: list[list[Any]]) -> Path:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    for row in table:
        sheet.append(row)
    path = folder / "data" / "借据.xlsx"
    path.parent.mkdir(exist_ok=True)
    book.save(path)
    return path


def put_key(folder: Path, key: str | bytes = KEY, name: str = "study.key") -> Path:
    path = folder / name
    path.write_bytes(key if isinstance(key, bytes) else key.encode())
    return path


def hashed(identifier: str, key: str = KEY) -> str:
    return hmac.new(key.encode(), identifier.encode(), hashlib.sha256).hexdigest()[:32]


def load(folder: Path, table: list[list[str]] | None = None, **options: Any) -> Table:
    given = {"unit": "农户编号", **options}
    return LoanLedger(write(folder, cells() if table is None else table), **given).load()


def notes(table: Table) -> str:
    return table.provenance[0].notes


def refused(folder: Path, table: list[list[str]] | Path, **options: Any) -> SourceError:
    """Load, and look for persons and keys in all that the error could show."""
    path = table if isinstance(table, Path) else write(folder, table)
    with pytest.raises(SourceError) as caught:
        LoanLedger(path, **{"unit": "农户编号", **options}).load()
    shown = repr(caught.value) + "".join(traceback.format_exception(caught.value))
    assert not [person for person in (*PEOPLE, KEY, A[:15]) if person in shown]
    assert caught.value.__context__ is None
    return caught.value


def says(error: SourceError, what: str, where: str, remedy: str) -> None:
    assert what in error.what
    assert where in error.where
    assert remedy in error.remedy


def change(row: int, header: str, value: str) -> list[list[str]]:
    """The ledger with one cell changed; rows are counted as in the file, where the header is row 1."""
    table = cells()
    table[row - 1][HEADER.index(header)] = value
    return table


def rename(header: str, name: str) -> list[list[str]]:
    return cells(header=[name if one == header else one for one in HEADER])


def drop(*headers: str) -> list[list[str]]:
    keep = [i for i, one in enumerate(HEADER) if one not in headers]
    return [[row[i] for i in keep] for row in cells()]


def add(name: str, *values: str) -> list[list[str]]:
    return [[*row, one] for row, one in zip(cells(), (name, *values), strict=True)]


def append(*rows: dict[str, str]) -> list[list[str]]:
    """The ledger with rows added that differ from its first one as given."""
    return cells((*ROWS, *(tuple({**dict(zip(HEADER, ROWS[0], strict=True)), **row}.values()) for row in rows)))


# --- exposures ---


def test_exposures_equal_hand_arithmetic(tmp_path: Path) -> None:
    table = load(tmp_path, unit_as="farm", purpose="有机肥")
    frame = table.frame
    assert list(frame.columns) == [
        *("farm", "year", "loans", "principal", "rate"),
        *("green_loans", "green_principal", "purpose_loans", "purpose_principal"),
    ]
    assert frame["farm"].tolist() == ["0101", "0101", "0102"]
    assert frame["year"].tolist() == [2019, 2020, 2020]
    assert frame["loans"].tolist() == [2, 1, 2]
    assert frame["principal"].tolist() == [80_000.0, 25_000.0, 112_345.0]  # 5 + 3; 2.5; 10 + 1.2345, in 万元
    # (5 · 4.35 + 3 · 6) / 8 = 39.75 / 8; (10 · 4 + 1.2345 · 4.5) / 11.2345 = 45.55525 / 11.2345
    assert frame["rate"].tolist() == pytest.approx([4.96875, 5.0, 45.55525 / 11.2345], rel=1e-15)
    assert frame["green_loans"].tolist() == [1, 0, 1]
    assert frame["green_principal"].tolist() == [30_000.0, 0.0, 100_000.0]
    assert frame["purpose_loans"].tolist() == [1, 0, 1]
    assert frame["purpose_principal"].tolist() == [30_000.0, 0.0, 100_000.0]
    assert frame.index.tolist() == [2, 4, 5]
    assert frame.index.name == "row"
    assert {name: frame[name].dtype for name in ("year", "loans", "principal")} == {
        "year": np.int64,
        "loans": np.int64,
        "principal": np.float64,
    }


def test_units_absent_and_provenance(tmp_path: Path) -> None:
    table = load(tmp_path, purpose="有机肥")
    money = ("principal", "green_principal", "purpose_principal")
    assert table.units == {**dict.fromkeys(money, "yuan"), "rate": "% a year"}
    assert table.absent == dict.fromkeys(("loans", "green_loans", "purpose_loans", *money), 0)
    path = tmp_path / "data" / "借据.csv"
    assert table.name == "借据.csv"
    assert table.provenance[0].path == path.as_posix()
    assert table.provenance[0].sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert "'年利率(%)' as contract rate" in notes(table)
    assert "purpose_loans" not in load(tmp_path).frame.columns


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030"])
def test_encodings_give_the_same_table(tmp_path: Path, encoding: str) -> None:
    table = LoanLedger(write(tmp_path, cells(), encoding=encoding), unit="农户编号").load()
    pd.testing.assert_frame_equal(table.frame, load(tmp_path).frame)
    assert ("GB18030" in notes(table)) == (encoding == "gb18030")


def test_a_workbook_with_numbers_and_dates_gives_the_same_table(tmp_path: Path) -> None:
    table: list[list[Any]] = [list(row) for row in cells()]
    days = [20190315, dt.datetime(2019, 11, 2), "2020/1/5", dt.datetime(2020, 7, 1, 9, 30), 43900, 20200601]
    for row, day in zip(table[1:], days, strict=True):
        row[3], row[4], row[5] = day, float(row[4]), float(row[5])
    sheet = LoanLedger(write_sheet(tmp_path, table), unit="农户编号").load()
    pd.testing.assert_frame_equal(sheet.frame, load(tmp_path).frame)


def test_a_sheet_is_chosen_by_name(tmp_path: Path) -> None:
    path = write_sheet(tmp_path, [list(row) for row in cells()])
    book = openpyxl.load_workbook(path)
    book.create_sheet("说明").append(["本表为合成数据"])
    book.save(path)
    assert "sheets without a list were not read: '说明'" in notes(LoanLedger(path, unit="农户编号").load())
    other = book.create_sheet("2021")
    for row in cells()[:3]:
        other.append(row)
    book.save(path)
    says(refused(tmp_path, path), "2 sheets hold a list", "借据.xlsx", 'sheets=("Sheet", "2021")')
    assert len(LoanLedger(path, unit="农户编号", sheets=("Sheet",)).load().frame) == 3
    assert "there is no sheet '借据'" in refused(tmp_path, path, sheets=("借据",)).what


def test_the_order_of_rows_changes_no_bit(tmp_path: Path) -> None:
    rng = random.Random(3)
    rows = [(f"J{i:03d}", NAMES[0], A, f"20{i % 3 + 18}0101", str(rng.uniform(0.1, 30)), f"{rng.uniform(1, 9):.4f}",
             "", "", "CNY", PHONE, PLACE, str(i % 4 + 1)) for i in range(200)]  # fmt: skip
    one = load(tmp_path, cells(rows)).frame
    rng.shuffle(rows)
    other = load(tmp_path, cells(rows)).frame
    assert one.to_numpy().tobytes() == other.to_numpy().tobytes()
    assert len(one) == 12


def test_amounts_are_added_exactly(tmp_path: Path) -> None:
    rows = [[*row[:4], "0.07", *row[5:]] for row in ROWS[:3]]
    rows[2][3] = "20190101"
    assert load(tmp_path, cells(rows)).frame["principal"].tolist() == [2_100.0]  # 0.07 * 10000 is 700.0000000000001


def test_the_ledger_joins_a_panel_of_farms(tmp_path: Path) -> None:
    farms = pd.DataFrame({"farm": ["0101"] * 3 + ["0103"] * 3, "year": [2018, 2019, 2020] * 2, "y": range(6)})
    panel = assemble(Table("farms", farms, ()), load(tmp_path, unit_as="farm"), unit="farm", time="year")
    # The ledger speaks of 2019 and 2020 only: before, it is not known whether there were loans.
    assert panel.frame["loans"].tolist()[1:3] == [2, 1]
    assert panel.frame["loans"].tolist()[4:] == [0, 0]
    assert math.isnan(panel.frame["loans"].tolist()[0])
    assert panel.frame["rate"].isna().tolist() == [True, False, False, True, True, True]


def test_codes_that_are_numbers_are_numbers_as_in_a_panel_read_by_delimited(tmp_path: Path) -> None:
    table = load(tmp_path, cells([[*row[:-1], row[-1].lstrip("0")] for row in ROWS]))
    assert table.frame["农户编号"].dtype == np.int64
    assert table.frame["农户编号"].tolist() == [101, 101, 102]


# --- columns and units ---


def test_headers_are_known_by_many_names(tmp_path: Path) -> None:
    names = "Loan_ID customer_name id-number 放款日期 借据金额（万元） 执行利率(%) 资金用途 是否绿色贷款"
    header = [f" {name} " for name in f"{names} currency phone address 农户编号".split()]
    pd.testing.assert_frame_equal(load(tmp_path, cells(header=header)).frame, load(tmp_path).frame)


@pytest.mark.parametrize(
    ("header", "factor"),
    [
        ("贷款金额(元)", 1),
        ("贷款金额（单位：万元）", 1e4),
        ("principal (yuan)", 1),
        ("放款金额(千元)", 1e3),
        ("发放金额(亿元)", 1e8),
    ],
)
def test_units_of_amounts(tmp_path: Path, header: str, factor: float) -> None:
    frame = load(tmp_path, rename("贷款金额(万元)", header)).frame
    assert frame["principal"].tolist() == pytest.approx([8 * factor, 2.5 * factor, 11.2345 * factor], rel=1e-15)


@pytest.mark.parametrize(
    ("header", "factor"),
    [
        ("月利率(‰)", 1.2),  # 12 months of a thousandth
        ("月利率‰", 1.2),
        ("合同利率（％）", 1),
        ("执行利率(% a year)", 1),
        ("合同利率(‰/月)", 1.2),
        ("年利率(‰)", 0.1),
    ],
)
def test_units_of_rates(tmp_path: Path, header: str, factor: float) -> None:
    rate = load(tmp_path, rename("年利率(%)", header)).frame["rate"].tolist()
    assert rate == pytest.approx([4.96875 * factor, 5 * factor, 45.55525 / 11.2345 * factor], rel=1e-14)


def test_rates_of_a_month_in_percent_and_fractions(tmp_path: Path) -> None:
    table = [[*row[:5], rate, *row[6:]] for row, rate in zip(ROWS, [".4"] * 6, strict=True)]
    table = [[cell if cell != ".4" else "0.4" for cell in row] for row in table]
    header = [one if one != "年利率(%)" else "月利率(%)" for one in HEADER]
    assert load(tmp_path, cells(table, header)).frame["rate"].tolist() == pytest.approx([4.8] * 3)
    header = [one if one != "年利率(%)" else "年利率" for one in HEADER]
    table = [[cell if cell != "0.4" else "0.0435" for cell in row] for row in table]
    assert load(tmp_path, cells(table, header), units={"rate": "fraction a year"}).frame["rate"].tolist() == (
        pytest.approx([4.35] * 3, rel=1e-15)
    )


@pytest.mark.parametrize("key", ["principal", "贷款金额", "放款金额"])
def test_units_may_be_declared(tmp_path: Path, key: str) -> None:
    table = rename("贷款金额(万元)", "贷款金额")
    assert load(tmp_path, table, units={key: "万元"}).frame["principal"].tolist() == [80_000.0, 25_000.0, 112_345.0]
    sidecar = tmp_path / "data" / "借据.csv.provenance.toml"
    sidecar.write_text(f'publisher = "合成"\nsynthetic = true\n[units]\n"{key}" = "元"\n', encoding="utf-8")
    table_of_sidecar = load(tmp_path, table)
    assert table_of_sidecar.frame["principal"].tolist() == [8.0, 2.5, 11.2345]
    assert table_of_sidecar.provenance[0].synthetic
    says(
        refused(tmp_path, table, units={key: "万元"}),
        "'元' in one place and '万元'",
        "column '贷款金额'",
        "which is right",
    )


def test_a_unit_of_another_column_does_not_count(tmp_path: Path) -> None:
    loaded = load(tmp_path, add("放款金额", *["1"] * 6), units={"放款金额": "元", "农户编号": "code"})
    assert loaded.frame["principal"].tolist() == [80_000.0, 25_000.0, 112_345.0]


def test_units_that_are_missing_unclear_or_for_nothing_are_refused(tmp_path: Path) -> None:
    says(
        refused(tmp_path, rename("贷款金额(万元)", "贷款金额")),
        "does not say the unit",
        "column '贷款金额'",
        'principal = "yuan"',
    )
    says(
        refused(tmp_path, rename("年利率(%)", "合同利率")),
        "does not say the unit",
        "column '合同利率'",
        'rate = "% a year"',
    )
    says(refused(tmp_path, rename("年利率(%)", "合同利率(‰)")), "'‰' is not clear", "合同利率", "‰ a month")
    says(
        refused(tmp_path, rename("贷款金额(万元)", "贷款金额(吨)")),
        "'吨' is not clear",
        "贷款金额",
        "write one of: 元, ",
    )
    says(
        refused(tmp_path, cells(), units={"principal": "yuan"}),
        "'万元' in one place",
        "贷款金额(万元)",
        "which is right",
    )
    says(refused(tmp_path, cells(), units={"princpal": "yuan"}), "'princpal'", "借据.csv", "did you mean 'principal'?")


def test_the_canonical_name_goes_first_and_two_candidates_are_refused(tmp_path: Path) -> None:
    table = add("放款金额(元)", *["1"] * 6)
    assert load(tmp_path, table).frame["principal"].tolist() == [80_000.0, 25_000.0, 112_345.0]
    assert "'贷款金额(万元)' as principal" in notes(load(tmp_path, table))
    error = refused(tmp_path, add("贷款金额(元)", *["1"] * 6))
    says(
        error,
        "'贷款金额(万元)' and '贷款金额(元)' could both be the principal",
        "借据.csv",
        'columns={"principal": "贷款金额(万元)"}',
    )


@pytest.mark.parametrize(("gone", "field"), [("贷款日期", "disbursement date"), ("贷款金额(万元)", "principal")])
def test_columns_that_are_needed(tmp_path: Path, gone: str, field: str) -> None:
    says(refused(tmp_path, drop(gone)), f"no column is known as the {field}", "借据.csv", gone.split("(")[0])


def test_a_spread_without_a_rate_is_refused(tmp_path: Path) -> None:
    says(refused(tmp_path, rename("年利率(%)", "加点(BP)")), "gives a spread", "借据.csv", "合同利率(%)")
    says(refused(tmp_path, rename("年利率(%)", "加点(BP)")), "gives a spread", "借据.csv", 'benchmark="lpr"')
    assert len(load(tmp_path, add("LPR加点(BP)", *["50"] * 6)).frame) == 3


PRICED_HEADER = ("借据号", "县", "客户号", "贷款日期", "到期日期", "贷款金额(元)", "年利率(%)")
PRICED = (
    ("1", "X", "C1", "2022-03-01", "2023-03-01", "10000", "4.35"),  # LPR of 2022-02-21: 3.70 for one year
    ("2", "X", "C2", "2022-06-01", "2032-06-01", "30000", "4.60"),  # of 2022-05-20: 4.45 for five
    ("3", "X", "C1", "2022-07-01", "", "5000", "5"),
    ("4", "Y", "C3", "2024-03-01", "2025-03-01", "5000", "5"),  # the rate of 2024-02-20 is disputed
    ("5", "Y", "C3", "2018-03-01", "2019-03-01", "5000", "5"),  # no LPR yet; the benchmark is 4.35
    ("6", "Y", "C4", "2025-03-01", "2030-03-01", "5000", "5"),  # five years to the day: 3.10 for one year (recalled)
    ("7", "Y", "C4", "2025-03-01", "2030-03-02", "15000", "5"),  # a day more: 3.60
    ("8", "Y", "", "2026-03-01", "2030-03-02", "15000", "5"),  # after the end of the table
    ("9", "Y", "C5", "2022-02-21", "2022-12-21", "1000", ""),
)


def spreads(folder: Path, rows: Any = PRICED, **options: Any) -> Table:
    return load(folder, cells(rows, PRICED_HEADER), unit="县", **options)


def test_spreads_to_the_lpr_by_hand(tmp_path: Path) -> None:
    """X 2022: (10,000 × (4.35 - 3.70) + 30,000 × (4.60 - 4.45)) / 40,000; Y 2025: (5,000 × 1.9 + 15,000 × 1.4) / 20,000."""
    table = spreads(tmp_path, benchmark="lpr")
    found = table.frame.set_index(["县", "year"])["spread"]
    assert found["X", 2022] == 0.275
    assert found["Y", 2025] == 1.525
    assert found.drop([("X", 2022), ("Y", 2025)]).isna().all()
    assert (table.units["spread"], "spread" in table.absent) == ("percentage points", False)
    for said in (
        "for 4 of 9 loans",
        "1 have no date in '到期日期'",
        "1 were lent before its first date, 2019-08-20",
        "1 were lent while the rate in the table is disputed",
        "1 were lent while the table does not know the rate",
        "1 have no rate",
        "2 of these loans have a base rate that is recalled or assumed",
    ):
        assert said in notes(table)
    assert table.provenance[1].path == "evalkit/sources/ledger/lpr.csv"
    assert "spread" not in spreads(tmp_path).frame.columns


@pytest.mark.parametrize(
    ("day", "base"),
    [("2019-08-19", None), ("2019-08-20", 4.25), ("2020-04-19", 4.05), ("2020-04-20", 3.85), ("2024-02-19", 3.45),
     ("2024-02-20", None), ("2024-03-19", None), ("2024-03-20", 3.45), ("2026-01-19", 3.0), ("2026-01-20", None)],
)  # fmt: skip
def test_the_rate_in_force_is_the_last_one_published(tmp_path: Path, day: str, base: float | None) -> None:
    row = ("1", "X", "C1", day, str(int(day[:4]) + 1) + day[4:], "10000", "10")
    found = spreads(tmp_path, [row], benchmark="lpr").frame["spread"].iloc[0]
    assert math.isnan(found) if base is None else found == pytest.approx(10 - base, abs=1e-12)


@pytest.mark.parametrize(
    ("day", "end", "base"),
    [("2012-08-01", "2013-02-01", 5.6), ("2012-08-01", "2013-02-02", 6.0), ("2012-08-01", "2013-08-01", 6.0),
     ("2012-08-01", "2015-08-01", 6.15), ("2012-08-01", "2017-08-01", 6.4), ("2012-08-01", "2017-08-02", 6.55),
     ("2016-01-01", "2016-03-01", 4.35), ("2016-01-01", "2018-01-01", 4.75), ("2016-01-01", "2022-01-01", 4.9),
     ("2008-02-29", "2013-02-28", 7.74), ("2008-02-29", "2013-03-01", 7.83)],
)  # fmt: skip
def test_bands_of_the_benchmark(tmp_path: Path, day: str, end: str, base: float) -> None:
    """Up to six months, one, three, five years and more; from 2014-11-22 up to one, five and more."""
    table = spreads(tmp_path, [("1", "X", "C1", day, end, "10000", "10")], benchmark="pboc")
    assert table.frame["spread"].iloc[0] == pytest.approx(10 - base, abs=1e-12)
    assert "1 of these loans have a base rate that is recalled" in notes(table)
    assert table.provenance[1].recalled == ("base rates",)  # so that a report says it


def test_the_benchmark_ends_with_the_lpr(tmp_path: Path) -> None:
    """10 - 4.35 on 2019-08-19; from the day after nobody is compared with the rates of 2015."""
    rows = [(str(i), f"X{i}", "C1", day, "2020-06-01", "10000", "10") for i, day in
            enumerate(("2019-08-19", "2019-08-20", "2022-03-01"))]  # fmt: skip
    rows = [(*row[:4], "2022-06-01" if row[3] > "2022" else row[4], *row[5:]) for row in rows]
    table = spreads(tmp_path, rows, benchmark="pboc")
    found = table.frame["spread"].tolist()
    assert found[0] == pytest.approx(10 - 4.35, abs=1e-12)
    assert [math.isnan(one) for one in found] == [False, True, True]
    assert "for 1 of 3 loans; 2 were lent after its end, when loans were priced by another base rate" in notes(table)
    own = tmp_path / "base.csv"
    own.write_text("from_date,up_to_months,percent,status\n2019-01-01,,4,verified\n2019-08-20,,,ended\n", "utf-8")
    assert spreads(tmp_path, rows, benchmark=own).frame["spread"].tolist()[0] == 6.0


POINTS = (
    ("1", "X", "C1", "2022-03-01", "2023-03-01", "10000", "65"),  # 3.70 + 0.65 = 4.35
    ("2", "X", "C2", "2022-06-01", "2032-06-01", "30000", "-12.5"),  # 4.45 - 0.125 = 4.325
    ("3", "X", "C1", "2022-07-01", "", "5000", "30"),  # no base rate
    ("4", "Y", "C3", "2022-03-01", "2023-03-01", "5000", ""),  # no points
    ("5", "Y", "C3", "2024-03-01", "2025-03-01", "5000", "30"),  # disputed
)


@pytest.mark.parametrize(
    ("header", "units", "write"),
    [
        ("加点(BP)", {}, str), ("LPR加点（基点）", {}, str), ("加点", {"rate_spread": "basis points"}, str),
        ("加点值", {}, lambda one: one and f"{one}BP"), ("spread", {"spread": "BP"}, lambda one: one and f"{one} 个基点"),
        ("加点(百分点)", {}, lambda one: one and str(float(one) / 100)),
        ("rate_spread", {"rate_spread": "percentage points"}, lambda one: one and f"{float(one) / 100:+.6f}"),
    ],
)  # fmt: skip
def test_points_are_added_to_the_base_rate(tmp_path: Path, header: str, units: dict[str, str], write: Any) -> None:
    """X: (10,000 × 4.35 + 30,000 × 4.325) / 40,000 = 4.33125, of which (10,000 × .65 - 30,000 × .125) / 40,000 = .06875."""
    rows = [(*row[:-1], write(row[-1])) for row in POINTS]
    table = load(tmp_path, cells(rows, (*PRICED_HEADER[:-1], header)), unit="县", benchmark="lpr", units=units)
    assert table.frame["rate"].tolist()[0] == pytest.approx(4.33125, abs=1e-12)
    assert table.frame["spread"].tolist()[0] == pytest.approx(0.06875, abs=1e-12)
    assert table.frame[["rate", "spread"]].iloc[1:].isna().all(axis=None)
    assert table.frame["loans"].tolist() == [3, 1, 1]
    for said in (
        f"'{header}' as points on top of the base rate",
        f"the rate is that of 'lpr' and '{header}' on top of it",
        "for 2 of 5 loans",
        "1 have no date in '到期日期'",
        "1 were lent while the rate in the table is disputed",
        "1 have no points",
    ):
        assert said in notes(table)
    assert "have no rate" not in notes(table)
    assert table.units["rate"] == "% a year"


@pytest.mark.parametrize(
    ("header", "cell", "what", "where", "remedy"),
    [
        ("加点", "65", "does not say the unit", "'加点'", 'rate_spread = "BP"'),
        ("浮动比例(%)", "10", "the unit '%' is not clear", "'浮动比例(%)'", "contract rate"),
        ("加点(BP)", "上浮", "not a plain number of points", "row 2", "-20"),
        ("加点(百分点)", "65BP", "not a plain number of points", "row 2", "-20"),
        ("加点(百分点)", "65", "not between 0.36 and 36 % a year", "row 2", "rate_spread"),
        ("加点(BP)", "-350", "not between 0.36 and 36 % a year", "row 2", "rate_spread"),
        ("加点(BP)", "0.65", "below one basis point", "row 2", "percentage points"),
        ("加点(BP)", "1e9", "not a plain number of points", "row 2", "-20"),
        ("加点(BP)", "999999999999999", "not a plain number of points", "row 2", "-20"),
    ],
)  # fmt: skip
def test_points_that_are_not_clear_are_refused(
    tmp_path: Path, header: str, cell: str, what: str, where: str, remedy: str
) -> None:
    rows = [(*POINTS[0][:-1], cell)]
    error = refused(tmp_path, cells(rows, (*PRICED_HEADER[:-1], header)), unit="县", benchmark="lpr")
    says(error, what, where, remedy)


def test_points_with_all_the_digits_of_a_float(tmp_path: Path) -> None:
    """A third of 100 bp on 3.70 and two thirds on 4.45, of 10,000 each: the mean of the points is 0.5."""
    frame = pd.DataFrame([row[:-1] for row in POINTS[:2]], columns=list(PRICED_HEADER[:-1]))
    frame = frame.assign(**{"贷款金额(元)": [10_000, 10_000], "加点(BP)": [100 / 3, 200 / 3]})
    frame.to_parquet(tmp_path / "l.parquet")
    table = LoanLedger(tmp_path / "l.parquet", unit="县", benchmark="lpr").load()
    assert table.frame["spread"].iloc[0] == pytest.approx(0.5, abs=1e-12)
    assert table.frame["rate"].iloc[0] == pytest.approx((3.70 + 4.45) / 2 + 0.5, abs=1e-12)


def test_points_beside_a_rate_are_not_used(tmp_path: Path) -> None:
    rows = [(*row, "999") for row in PRICED]
    made = load(tmp_path, cells(rows, (*PRICED_HEADER, "加点(BP)")), unit="县", benchmark="lpr")
    assert made.frame.equals(spreads(tmp_path, benchmark="lpr").frame)
    assert re.search("columns that were not used: [^;]*加点", notes(made))


def test_a_month_alone_has_the_base_rate_of_its_first_day(tmp_path: Path) -> None:
    """May 2022 began with the 4.60 of 20 January and ended with the 4.45 of the 20th: 5 - 4.60 (ten years), and it is said."""
    row = ("1", "X", "C1", "2022-05", "2032-05-01", "10000", "5")
    table = spreads(tmp_path, [row], benchmark="lpr")
    assert table.frame["spread"].iloc[0] == pytest.approx(0.4, abs=1e-12)
    assert "1 of these loans name a month, and not a day: they have the base rate of its first day" in notes(table)
    assert "name a month" not in notes(spreads(tmp_path, [(*row[:3], "2022-05-20", *row[4:])], benchmark="lpr"))


def test_base_rates_of_a_file(tmp_path: Path) -> None:
    """4.35 - 4.125 = 0.225 for the first loan; the second is longer than every band, and the status of no rate is said."""
    own = tmp_path / "base.csv"
    own.write_text("from_date,up_to_months,percent\n2020-01-01,60,4.125\n", encoding="utf-8-sig")
    table = spreads(tmp_path, PRICED[:2], benchmark=own)
    assert table.frame["spread"].iloc[0] == pytest.approx(0.225, abs=1e-12)
    for said in ("1 have a term longer than every band", "does not say how sure its rates are", "for 1 of 2 loans"):
        assert said in notes(table)
    assert table.provenance[1].sha256 == hashlib.sha256(own.read_bytes()).hexdigest()
    ledger = LoanLedger(tmp_path / "l.csv", unit="县", benchmark=own)
    assert own in ledger.files()
    assert len(LoanLedger(tmp_path / "l.csv", unit="县", benchmark="lpr").files()) == 1


@pytest.mark.parametrize(
    ("text", "what", "where", "remedy"),
    [
        ("from_date,percent\n2020-01-01,4\n", "no column 'up_to_months'", "base.csv", "from_date, up_to_months, percent"),
        ("", "", "base.csv", ""),
        ("from_date,up_to_months,percent\n", "has no rows", "base.csv", "from_date"),
        ("from_date,up_to_months,percent\n2020-02,60,4\n", "from_date is no date", "row 2", "2019-08-20"),
        ("from_date,up_to_months,percent\n2020-01-01,5y,4\n", "no number of months", "row 2", "60"),
        ("from_date,up_to_months,percent\n2020-01-01,60,385bp\n", "no rate in % a year", "row 2", "4.85"),
        ("from_date,up_to_months,percent\n2020-01-01,60,4\n2020-01-01,60,5\n", "stand twice", "row 3", "keep"),
        ("from_date,up_to_months,percent,status\n2020-01-01,60,4,sure\n", "status is not known", "row 2", "verified"),
    ],
)  # fmt: skip
def test_base_rates_that_cannot_be_read_are_refused(
    tmp_path: Path, text: str, what: str, where: str, remedy: str
) -> None:
    own = tmp_path / "base.csv"
    own.write_text(text, encoding="utf-8")
    says(refused(tmp_path, cells(PRICED, PRICED_HEADER), unit="县", benchmark=own), what, where, remedy)


def test_a_spread_needs_what_it_is_computed_from(tmp_path: Path) -> None:
    table = cells(PRICED, PRICED_HEADER)
    for name, field in (("到期日期", "maturity date"), ("年利率(%)", "contract rate")):
        without = [[one for at, one in enumerate(row) if PRICED_HEADER[at] != name] for row in table]
        says(
            refused(tmp_path, without, unit="县", benchmark="lpr"), f"no column is known as the {field}", "借据.csv", ""
        )
    says(
        refused(tmp_path, table, unit="县", benchmark="lrp"), "no base rates 'lrp'", "benchmark=", "did you mean 'lpr'"
    )
    with pytest.raises(SourceError, match="rates of loans in yuan, and currency= is 'USD'"):
        LoanLedger(tmp_path / "l.csv", benchmark="lpr", currency="USD")


def test_spreads_of_large_sums_are_exact(tmp_path: Path) -> None:
    """Amounts whose products with rates have more than 53 bits: 4.35 - 3.70 = 0.65 to the last bit, as 65 / 100 is."""
    rows = [(str(i), "X", "C1", "2022-03-01", "2023-03-01", "123456789012.37", "4.3500") for i in range(3)]
    assert spreads(tmp_path, rows, benchmark="lpr").frame["spread"].iloc[0] == 65 / 100


def test_borrowers_are_counted_where_the_unit_is_another(tmp_path: Path) -> None:
    table = spreads(tmp_path, borrowers="customer_id")
    found = table.frame.set_index(["县", "year"])["borrowers"]
    # C1 (twice) and C2, and C5 not in that county; C4 twice; the loan of 2026 names nobody.
    assert (found["X", 2022], found["Y", 2022], found["Y", 2025], found["Y", 2026]) == (2, 1, 1, 0)
    assert "1 loans have none and count for no borrower" in notes(table)
    assert table.absent["borrowers"] == 0
    assert "C1" not in notes(table)
    wide = [(*row[:2], row[2].replace("C1", " Ｃ1") if row[0] == "3" else row[2], *row[3:]) for row in PRICED]
    assert spreads(tmp_path, wide, borrowers="客户号").frame["borrowers"].tolist() == found.tolist()
    error = refused(tmp_path, cells(PRICED, PRICED_HEADER), unit="县", borrowers="县")
    says(error, "names the column of the unit", "'县'", "leave it out")
    cut = [(*PRICED[0][:2], "1.23E+17", *PRICED[0][3:])]
    error = refused(tmp_path, cells(cut, PRICED_HEADER), unit="县", borrowers="客户号")
    says(error, "turned into a number", "'客户号'", "")


def test_what_the_ledger_does_not_tell_is_left_out_and_noted(tmp_path: Path) -> None:
    table = load(tmp_path, drop("年利率(%)", "绿色贷款标识", "借据号", "贷款用途", "币种"))
    assert list(table.frame.columns) == ["农户编号", "year", "loans", "principal"]
    for said in ("no contract rate", "no green flag", "no loan number", "no column tells refinancing"):
        assert said in notes(table)
    says(
        refused(tmp_path, drop("贷款用途"), purpose="化肥"), "no column is known as the purpose", "借据.csv", "资金用途"
    )


def test_a_ledger_without_a_header_shows_nobody(tmp_path: Path) -> None:
    says(refused(tmp_path, cells()[1:]), "no column is known as", "借据.csv", "name it in the first row")
    for person in (A, NAMES[0]):
        twice = [[person, person, *NAMES[1:]], ["1", "2", "3", "4", "5"]]
        says(refused(tmp_path, twice), "no column is known as", "借据.csv", "name it in the first row")
    says(refused(tmp_path, rename("币种", "借据号")), "are both called '借据号'", "借据.csv", "rename")


# --- dates, amounts, rates, flags ---


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("20190315", dt.date(2019, 3, 15)),
        ("2019-03-15", dt.date(2019, 3, 15)),
        ("2019-3-5 00:00:00", dt.date(2019, 3, 5)),
        ("2019/3/15 0:00", dt.date(2019, 3, 15)),
        ("２０１９年3月15日", dt.date(2019, 3, 15)),
        ("43539", dt.date(2019, 3, 15)),  # Excel: =DATE(2019,3,15) shown as a number
        ("43539.5", dt.date(2019, 3, 15)),
        ("20000", dt.date(1954, 10, 3)),
        ("60000", dt.date(2064, 4, 8)),
    ],
)
def test_dates(text: str, day: dt.date) -> None:
    assert read_day(text)[0] == day


@pytest.mark.parametrize(
    ("text", "what"),
    [
        *(
            (text, "not a date")
            for text in ("2019", "19999", "60001", "20190230", "20200115.0", "2019-13-01", "00200101")
        ),
        ("15/03/2019", "whether the day or the month stands first"),
        ("15/03/19", "a year of two digits"),
        ("190315", "six digits may be a year and a month"),
    ],
)
def test_other_dates_are_refused_by_row(tmp_path: Path, text: str, what: str) -> None:
    assert read_day(text)[0] is None
    error = refused(tmp_path, change(4, "贷款日期", text))
    says(error, what, "row 4, column '贷款日期'", "2020-01-15" if what == "not a date" else "dates=")


def test_numbers() -> None:
    assert [str(read_number(text)) for text in ("50,000.00", "１２．５", "5.", "-3")] == ["50000.00", "12.5", "5", "-3"]
    assert str(read_number("4.35%", "%")) == "4.35"
    assert [read_number(text) for text in ("4.35%", "5,00", "1.2E+06", "5万", "", "1e3", "٣", "NaN", "Infinity")] == [
        None
    ] * 9


@pytest.mark.parametrize(
    ("header", "value", "what"),
    [
        ("贷款金额(万元)", NAMES[3], "not a plain number"),
        ("贷款金额(万元)", "1.2E+06", "not a plain number"),
        ("贷款金额(万元)", "", "the cell is empty"),
        ("贷款金额(万元)", "0", "not positive"),
        ("贷款金额(万元)", "-5", "not positive"),
        ("贷款日期", "", "the cell is empty"),
        ("贷款日期", PLACE, "not a date"),
        ("年利率(%)", NAMES[0], "not a plain number"),
        ("年利率(%)", "-1", "the rate is negative"),
        ("年利率(%)", "36.5", "not between 0 and 36 % a year; its unit is probably ‰ a year"),
        ("年利率(%)", "435", "probably basis points"),
        ("年利率(%)", "0.0435", "not above 0.36 % a year; its unit is probably a fraction a year"),
        ("年利率(%)", "0.36", "probably % a month"),
        ("年利率(%)", PHONE, "not between 0 and 36 % a year"),
        ("绿色贷款标识", "2", "neither yes nor no"),
        ("币种", "USD", "not the yuan"),
        ("币种", "", "not the yuan"),
    ],
)
def test_cells_that_are_refused(tmp_path: Path, header: str, value: str, what: str) -> None:
    error = refused(tmp_path, change(5, header, value))
    says(error, what, f"借据.csv, row 5, column '{header}'", "")
    assert error.remedy


def test_all_rows_with_the_same_fault_are_named(tmp_path: Path) -> None:
    table = change(3, "币种", "USD")
    table[3][8] = table[5][8] = "HKD"
    assert ", rows 3-4, 6, column '币种'" in refused(tmp_path, table).where


@pytest.mark.parametrize("yuan", ["CNY", "cny", "人民币", "156", "001", "RMB"])
def test_the_yuan_has_several_names(tmp_path: Path, yuan: str) -> None:
    assert len(load(tmp_path, change(2, "币种", yuan)).frame) == 3


def test_rates_at_the_bounds_and_without_interest(tmp_path: Path) -> None:
    table = change(4, "年利率(%)", "36")
    table[1][5] = table[2][5] = "0"
    assert load(tmp_path, table).frame["rate"].tolist()[:2] == [0.0, 36.0]


def test_a_missing_rate_is_left_out_of_the_mean_and_noted(tmp_path: Path) -> None:
    table = change(3, "年利率(%)", "")
    table[3][5] = ""
    loaded = load(tmp_path, table)
    assert loaded.frame["rate"].iloc[0] == 4.35
    assert math.isnan(loaded.frame["rate"].iloc[1])
    assert loaded.frame["loans"].tolist() == [2, 1, 2]
    assert "2 loans have no rate" in notes(loaded)


def test_green_by_category_where_there_is_no_flag(tmp_path: Path) -> None:
    table = rename("绿色贷款标识", "绿色产业目录代码")
    for row, code in zip(table[1:], ["", "1.2.1", "否", "无", "节水灌溉", ""], strict=True):
        row[7] = code
    assert load(tmp_path, table).frame["green_loans"].tolist() == [1, 0, 1]
    with_flag = add("绿色产业目录代码", *["1.2.1"] * 6)
    assert load(tmp_path, with_flag).frame["green_loans"].tolist() == [1, 0, 1]
    assert "1 rows with an empty '绿色贷款标识' count as no" in notes(load(tmp_path, with_flag))


@pytest.mark.parametrize("word", ["合计", "小 计", "总计：", "Total", "合计（元）", "共5笔"])
def test_a_row_of_totals_is_left_out_below_the_table_and_refused_within(tmp_path: Path, word: str) -> None:
    total = {"借据号": word, "客户名称": "", "农户编号": "", "贷款金额(万元)": "28.7345"}
    loaded = load(tmp_path, append(total))
    pd.testing.assert_frame_equal(loaded.frame, load(tmp_path).frame)
    assert "row 8 below the table (totals) was left out" in notes(loaded)
    assert "the total in row 8 is the sum of the rows above" in notes(loaded)
    wrong = load(tmp_path, append({**total, "贷款金额(万元)": "28.8"}))
    assert "is not the sum of the rows above, which is 28.7345 and differs by 0.0655" in notes(wrong)
    error = refused(tmp_path, append(total, {"借据号": "J008"}))
    says(error, "a total, not a loan", "row 8, column '借据号'", "leave_out=")
    kept = load(tmp_path, append(total, {"借据号": "J008"}), leave_out=(8,))
    assert kept.frame["loans"].tolist() == [3, 1, 2]


# --- which rows are loans ---


def test_rows_without_a_unit_are_left_out_and_counted(tmp_path: Path) -> None:
    assert "1 rows (70,000.00 yuan) have no unit and were left out" in notes(load(tmp_path))
    table = [[*row[:-1], ""] for row in ROWS]
    says(refused(tmp_path, cells(table)), "no row has a unit", "column '农户编号'", "name another column")


def test_an_extension_that_repeats_a_loan_is_counted_once(tmp_path: Path) -> None:
    loaded = load(tmp_path, append({}, {}))
    pd.testing.assert_frame_equal(loaded.frame, load(tmp_path).frame)
    assert "2 rows (100,000.00 yuan) repeat a loan" in notes(loaded)


@pytest.mark.parametrize(
    ("header", "value", "what"),
    [
        ("贷款金额(万元)", "4", "principal"),
        ("贷款日期", "20200315", "day"),
        ("农户编号", "0102", "unit"),
        ("年利率(%)", "5", "rate"),
        ("绿色贷款标识", "是", "green"),
        ("贷款用途", "借新还旧", "kind"),
    ],
)
def test_a_repeated_loan_number_with_other_values_is_refused(
    tmp_path: Path, header: str, value: str, what: str
) -> None:
    error = refused(tmp_path, append({header: value}))
    says(error, f"stands twice with another {what}", "column '借据号', rows 2 and 8", "as it was disbursed")


@pytest.mark.parametrize("first", [True, False])
def test_a_row_marked_as_an_extension_gives_way_to_the_loan_it_extends(tmp_path: Path, first: bool) -> None:
    extension = {"年利率(%)": "9", "贷款用途": "展期"}
    table = append(extension)
    if first:
        table[1], table[7] = table[7], table[1]
    loaded = load(tmp_path, table)
    columns = ["loans", "principal", "rate"]
    pd.testing.assert_frame_equal(
        loaded.frame[columns].reset_index(drop=True), load(tmp_path).frame[columns].reset_index(drop=True)
    )
    assert "1 rows (50,000.00 yuan) repeat a loan" in notes(loaded)


@pytest.mark.parametrize(
    ("column", "value", "kind"),
    [
        ("贷款用途", "借新还旧", "refinance a loan"),
        ("贷款用途", "无还本续贷", "refinance a loan"),
        ("贷款用途", "非农经营，续贷", "refinance a loan"),
        ("贷款形式", "收回再贷", "refinance a loan"),
        ("是否借新还旧", "是", "refinance a loan"),
        ("续贷标志", "Y", "refinance a loan"),
        ("贷款发放类型", "展期", "extend a loan"),
    ],
)
def test_refinancing_and_extensions_lend_nothing_new(tmp_path: Path, column: str, value: str, kind: str) -> None:
    table = change(2, column, value) if column in HEADER else add(column, value, *["", "", "", "", ""])
    loaded = load(tmp_path, table)
    assert loaded.frame["loans"].tolist() == [1, 1, 2]
    assert loaded.frame["principal"].tolist() == [30_000.0, 25_000.0, 112_345.0]
    assert f"1 rows (50,000.00 yuan) {kind}" in notes(loaded)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("贷款用途", "非借新还旧"),
        ("贷款用途", "非无还本续贷"),
        ("是否续贷", "否"),
        ("贷款形式", "新增"),
        ("贷款形式", "未展期"),
    ],
)
def test_what_denies_refinancing_is_a_new_loan(tmp_path: Path, column: str, value: str) -> None:
    table = change(2, column, value) if column in HEADER else add(column, *[value] * 6)
    assert load(tmp_path, table).frame["loans"].tolist() == [2, 1, 2]


def test_a_ledger_of_refinancing_alone_is_refused(tmp_path: Path) -> None:
    says(refused(tmp_path, add("贷款形式", *["借新还旧"] * 6)), "every loan is a refinancing", "借据.csv", "new loans")


def test_loans_without_a_number_are_counted_and_noted(tmp_path: Path) -> None:
    loaded = load(tmp_path, append({"借据号": ""}, {"借据号": ""}))
    assert loaded.frame["loans"].tolist() == [4, 1, 2]
    assert "2 rows (100,000.00 yuan) have no loan number" in notes(loaded)


# --- persons ---


def test_pseudonyms_are_hmac_sha256(tmp_path: Path) -> None:
    frame = load(tmp_path, unit="证件号码", unit_as="person", key_file=put_key(tmp_path)).frame
    loans = {hashed(A): [2, 1], hashed(B): [2]}
    assert frame["person"].tolist() == sorted([hashed(A), hashed(A), hashed(B)])
    assert {unit: part["loans"].tolist() for unit, part in frame.groupby("person")} == loans
    other = load(tmp_path, unit="证件号码", unit_as="person", key_file=put_key(tmp_path, ANOTHER)).frame
    assert set(other["person"]) == {hashed(A, ANOTHER), hashed(B, ANOTHER)}
    assert not set(other["person"]) & set(frame["person"])


def test_pseudonyms_do_not_depend_on_how_the_id_is_written(tmp_path: Path) -> None:
    number = next(one for one in (citizen(i) for i in range(100)) if one.endswith("X"))
    old = "990000800101001"  # 15 digits, as issued before 1999: A without the century and the check character
    for row, written in ((2, number), (3, f"'{number.lower()}"), (4, f" {number[:6]} {number[6:]}")):
        table = change(row, "证件号码", written)
        assert hashed(number) in set(
            load(tmp_path, table, unit="id_number", key_file=put_key(tmp_path)).frame["id_number"]
        )
    table = change(4, "证件号码", old)
    assert load(tmp_path, table, unit="身份证号", key_file=put_key(tmp_path)).frame["loans"].tolist() in (
        [2, 1, 2],
        [2, 2, 1],
    )


def test_other_documents_are_taken_as_they_are(tmp_path: Path) -> None:
    table = change(2, "证件号码", "e00000000")
    assert hashed("E00000000") in set(
        load(tmp_path, table, unit="证件号码", key_file=put_key(tmp_path)).frame["证件号码"]
    )


def test_customer_ids_are_identifiers_and_the_default_unit(tmp_path: Path) -> None:
    path = write(tmp_path, add("客户编号", *["0007", "0007", "0007", "0008", "0008", ""]))
    frame = LoanLedger(path, key_file=put_key(tmp_path)).load().frame
    assert set(frame["customer_id"]) == {hashed("0007"), hashed("0008")}
    assert frame["customer_id"].dtype == "str"


def test_firms_have_social_credit_codes(tmp_path: Path) -> None:
    code = "91350100M000100Y43"  # the example printed in GB 32100-2015
    assert read_document(code) == (code, "")
    frame = load(tmp_path, change(2, "证件号码", code), unit="证件号码", key_file=put_key(tmp_path)).frame
    assert hashed(code) in set(frame["证件号码"])
    error = refused(tmp_path, change(2, "证件号码", code[:-1] + "4"), unit="证件号码", key_file=put_key(tmp_path))
    says(error, "GB 32100", "row 2, column '证件号码'", "correct the id")


def test_the_checksum_of_citizen_ids_is_that_of_the_standard() -> None:
    assert citizen_check("11010519491231002") == "X"  # the example printed in GB 11643-1999
    assert citizen_check("44052418800101001") == "4"  # likewise
    assert [citizen_check(citizen(i)[:17]) for i in range(50)] == [citizen(i)[17] for i in range(50)]


@pytest.mark.parametrize(
    ("wrong", "what"),
    [
        (A[:17] + str((int(A[17].replace("X", "0")) + 1) % 10), "GB 11643"),
        (A[:16] + str((int(A[16]) + 1) % 10) + A[17], "GB 11643"),
        (A[:6] + "19801301" + A[14:], "neither a citizen id with a date of birth"),
        (A[:17], "not the number of a document"),
        (A + "0", "not the number of a document"),
        (A[:6] + "********" + A[14:], "not the number of a document"),
        (NAMES[3], "not the number of a document"),
        ("9.90E+17", "turned into a number"),
        ("9.9000019800101e+17", "turned into a number"),
    ],
)
def test_ids_that_fail_are_refused_by_row_only(tmp_path: Path, wrong: str, what: str) -> None:
    error = refused(tmp_path, change(5, "证件号码", wrong), unit="证件号码", key_file=put_key(tmp_path))
    says(error, what, "借据.csv, row 5, column '证件号码'", "")
    assert wrong not in repr(error)
    assert wrong[:4] not in error.what


def test_ids_cut_by_excel_are_refused(tmp_path: Path) -> None:
    key = put_key(tmp_path)
    table = cells([[*row[:2], row[2] and row[2][:15] + "000", *row[3:]] for row in ROWS])
    says(
        refused(tmp_path, table, unit="证件号码", key_file=key),
        "first 15 digits",
        "rows 2-6",
        "store the column as text",
    )
    numbers: list[list[Any]] = [list(row) for row in cells()]
    for row in numbers[1:6]:
        row[2] = float(row[2][:17] + "0")
    error = refused(tmp_path, write_sheet(tmp_path, numbers), unit="证件号码", key_file=key)
    says(
        error,
        "a whole number of 18 digits, and Excel has kept only its first 15 digits",
        "Sheet!C2",
        "store the column as text",
    )
    floats = add("客户号", *["1000234.0"] * 5, "")
    says(
        refused(tmp_path, floats, unit="客户号", key_file=key),
        "turned into a number",
        "rows 2-6",
        "store the column as text",
    )
    says(
        refused(tmp_path, change(3, "借据号", "6.52E+17")), "turned into a number", "row 3, column '借据号'", "as text"
    )


def test_an_id_that_rightly_ends_in_zeros_passes_among_others(tmp_path: Path) -> None:
    number = next(
        one
        for one in (citizen(i * 100, f"198001{d:02d}") for i in range(10) for d in range(1, 29))
        if one[15:] == "000"
    )
    frame = load(tmp_path, change(2, "证件号码", number), unit="证件号码", key_file=put_key(tmp_path)).frame
    assert hashed(number) in set(frame["证件号码"])


def test_an_identifier_needs_a_key(tmp_path: Path) -> None:
    error = refused(tmp_path, cells(), unit="证件号码")
    says(error, "no key to replace it by pseudonyms", "key_file", 'secrets.token_hex(32))" > study.key')
    assert "outside data/" in error.remedy
    assert "version control" in error.remedy
    says(refused(tmp_path, cells(), unit="证件号码", key_file=tmp_path / "no.key"), "no key file", "no.key", "secrets")
    short = put_key(tmp_path, "  fifteen bytes..\n", "short.key")
    error = refused(tmp_path, cells(), unit="证件号码", key_file=short)
    says(error, "fewer than 16 bytes", "short.key", "secrets")
    assert "fifteen" not in repr(error)
    broken = put_key(tmp_path, b"\xff\xfe\x00", "broken.key")
    says(refused(tmp_path, cells(), unit="证件号码", key_file=broken), "cannot be read", "broken.key", "make a new key")


@pytest.mark.parametrize("place", ["data", "data/keys"])
def test_a_key_beside_the_ledger_is_refused(tmp_path: Path, place: str) -> None:
    (tmp_path / place).mkdir(parents=True)
    key = put_key(tmp_path / place)
    says(refused(tmp_path, cells(), unit="证件号码", key_file=key), "folder of the data", "study.key", "outside data/")


@pytest.mark.parametrize(
    "content", [f"{KEY}\r\n".encode(), f" {KEY}".encode("utf-8-sig"), f"{KEY}\r\n".encode("utf-16")]
)
def test_the_key_is_the_same_however_an_editor_saves_it(tmp_path: Path, content: bytes) -> None:
    frame = load(tmp_path, unit="证件号码", key_file=put_key(tmp_path, content)).frame
    assert set(frame["证件号码"]) == {hashed(A), hashed(B)}


def test_no_person_is_in_the_table(tmp_path: Path) -> None:
    for options in ({"unit": "证件号码", "key_file": put_key(tmp_path)}, {"unit": "农户编号"}):
        table = load(tmp_path, purpose="有机肥", **options)
        shown = repr(table) + table.frame.to_csv() + repr(vars(table))
        assert not [person for person in (*PEOPLE, KEY) if person in shown]


@pytest.mark.parametrize("unit", ["客户名称", "customer_name", "手机号码", "居住地址", "phone"])
def test_names_telephones_and_addresses_need_a_key(tmp_path: Path, unit: str) -> None:
    says(refused(tmp_path, cells(), unit=unit), "never used as they are", "借据.csv", "key_file=")
    frame = load(tmp_path, unit=unit, unit_as="person", key_file=put_key(tmp_path)).frame
    assert set(frame["person"]) <= {hashed(one) for one in PEOPLE}
    assert kind_of_field("农户姓名") == kind_of_field("户主电话") == "personal"


@pytest.mark.parametrize("values", [[A, "x", "y", "z", "", ""], [PHONE, PHONE[:-1] + "2", PHONE, PHONE, PHONE, ""]])
def test_ids_under_another_name_are_no_codes(tmp_path: Path, values: list[str]) -> None:
    says(refused(tmp_path, add("代码", *values), unit="代码"), "never used as they are", "'代码'", "key_file=")
    frame = load(tmp_path, add("代码", *values), unit="代码", key_file=put_key(tmp_path)).frame
    assert set(frame["代码"]) == {hashed(one.upper()) for one in values if one}


def test_a_key_that_is_not_needed_is_noted(tmp_path: Path) -> None:
    assert "the key was not used" in notes(load(tmp_path, key_file=put_key(tmp_path)))


def test_a_unit_that_is_not_there_is_named_with_the_nearest(tmp_path: Path) -> None:
    says(
        refused(tmp_path, cells(), unit="农户编码"),
        "no column for the unit '农户编码'",
        "借据.csv",
        "did you mean '农户编号'?",
    )
    says(refused(tmp_path, cells(), unit="customer_id"), "no column for the unit", "借据.csv", "客户编号")


@pytest.mark.parametrize(
    "options", [{"unit": "year"}, {"unit_as": "loans"}, {"time": "rate"}, {"unit_as": ""}, {"purpose": " "}]
)
def test_settings_that_contradict_each_other(options: dict[str, Any]) -> None:
    with pytest.raises(SourceError, match=r"names of their own|purpose= is empty"):
        LoanLedger("借据.csv", **options)


def test_a_source_is_a_value() -> None:
    assert LoanLedger("a.csv", units={"rate": "%"}) == LoanLedger("a.csv", units={"rate": "%"})
    assert len({LoanLedger("a.csv"), LoanLedger("a.csv")}) == 1


def test_plain_makes_headers_comparable() -> None:
    assert plain(" Loan-ID\n") == plain("loan_id") == plain("ＬＯＡＮ ＩＤ") == "loanid"


TEXT = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=12)
CELL = st.one_of(TEXT, st.sampled_from([*ROWS[0], *ROWS[3], "", "0", "-1", "1e5", "是", "展期", "合计", "20200101"]))


@inputs(40, 150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.lists(CELL, min_size=len(HEADER), max_size=len(HEADER)), min_size=1, max_size=4),
    st.booleans(),
    st.booleans(),
)
def test_any_text_gives_a_table_or_says_what_is_wrong_without_naming_anybody(
    tmp_path: Path, rows: list[list[str]], by_id: bool, headed: bool
) -> None:
    options = {"unit": "证件号码", "key_file": put_key(tmp_path)} if by_id else {"unit": "农户编号"}
    shown = ""
    try:
        table = load(tmp_path, cells(rows) if headed else rows, **options)
    except EvalkitError as error:
        shown = repr(error)
    else:
        assert (table.frame["principal"] > 0).all()
        assert (table.frame["loans"] >= 1).all()
    assert not [person for person in PEOPLE if person in shown]
