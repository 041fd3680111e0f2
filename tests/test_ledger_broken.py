"""LoanLedger under what broke it: wrong sums, errors of engines, cells in tracebacks, remedies that did not work."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from pathlib import Path
from typing import Any

import openpyxl
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evalkit.errors import SourceError
from evalkit.sources import LoanLedger
from evalkit.sources.files import listing
from test_ledger_files import put
from test_loan_ledger import notes, says

DECLARED: dict[str, Any] = {
    "unit": "farm",
    "columns": {"disbursement_date": "given", "principal": "amount"},
    "units": {"principal": "yuan"},
}
DAYS = [dt.date(2021, 1, 1)] * 3
HEAD = "no,farm,given,amount,state\n"


def read(path: Path, **options: Any) -> Any:
    return LoanLedger(path, **{**DECLARED, **options}).load()


def refused(path: Path, **options: Any) -> SourceError:
    with pytest.raises(SourceError) as caught:
        read(path, **options)
    assert caught.value.__context__ is None
    return caught.value


def store(folder: Path, name: str = "loans.parquet", **columns: Any) -> Path:
    """A Parquet file of three loans of 1, 2 and 3, of farms A, A and B, with columns of its own."""
    path = put(folder, b"", name)
    pq.write_table(
        pa.table({**columns, **{"farm": ["A", "A", "B"], "given": DAYS, "amount": [1, 2, 3]}, **columns}), path
    )
    return path


# --- Parquet ---


@pytest.mark.parametrize("name", ["loans*.parquet", "loans[12].parquet", "loans?.parquet"])
def test_the_name_of_a_file_names_no_other_files(tmp_path: Path, name: str) -> None:
    store(tmp_path, "loans1.parquet", amount=[100, 100, 100])
    assert read(store(tmp_path, name)).frame["principal"].tolist() == [3.0, 3.0]


def test_names_that_differ_in_case_are_two_columns(tmp_path: Path) -> None:
    path = store(tmp_path, Amount=[10, 20, 30])
    assert read(path).frame["principal"].tolist() == [3.0, 3.0]
    other = {"disbursement_date": "given", "principal": "Amount"}
    assert (
        read(store(tmp_path, Amount=[10, 20, 30]), columns={**other, "principal": "amount"}).frame["loans"].sum() == 3
    )


@pytest.mark.parametrize(("zone", "year"), [("UTC", 2020), ("Asia/Shanghai", 2021), ("+08:00", 2021), ("-05:30", 2020)])
def test_moments_are_dated_in_the_time_zone_of_their_column(tmp_path: Path, zone: str, year: int) -> None:
    """As pandas has them; a session of DuckDB would take the zone of the computer."""
    moment = dt.datetime(2020, 12, 31, 16, 30, tzinfo=dt.UTC)
    given = pa.array([moment] * 3, pa.timestamp("us", zone))
    assert pd.Series(given.to_pandas()).dt.year.tolist() == [year] * 3
    assert read(store(tmp_path, given=given)).frame["year"].tolist() == [year] * 2


def test_gaps_in_floats_are_gaps(tmp_path: Path) -> None:
    nan = float("nan")
    table = read(store(tmp_path, loan_id=[1.0, 2.0, nan]))
    assert "1 rows (3.00 yuan) have no loan number" in notes(table)
    days = store(tmp_path, given=[44197.0, 44198.0, nan])
    says(refused(days), "the cell is empty", "row 4, column 'given'", "leave_out=")
    assert read(days, leave_out=("disbursement_date",)).frame["loans"].tolist() == [2]


@pytest.mark.parametrize("amount", [1e300, 1e-300, float("inf")])
def test_amounts_that_no_whole_number_holds_are_refused_by_row(tmp_path: Path, amount: float) -> None:
    error = refused(store(tmp_path, amount=[1.0, amount, 2.0]), amounts=(0, 1e305))
    assert "row 3, column 'amount'" in error.where
    assert "1e+300" not in repr(error)


def test_sums_beyond_64_bits_are_exact(tmp_path: Path) -> None:
    most = 2**63 - 1
    path = store(tmp_path, amount=pa.array([most, most, 2**62], pa.int64()))
    assert read(path).frame["principal"].tolist() == [float(2 * most), float(2**62)]
    tenths = store(tmp_path, amount=pa.array([Decimal("0.1"), Decimal("0.2"), Decimal(1)], pa.decimal128(20, 4)))
    assert read(tenths).frame["principal"].tolist() == [0.3, 1.0]


def test_what_duckdb_says_stands_in_no_traceback(tmp_path: Path) -> None:
    path = store(tmp_path)
    data = bytearray(path.read_bytes())
    data[8:30] = b"\xff" * 22
    path.write_bytes(data)
    assert "cannot read" in refused(path).what
    says(refused(store(tmp_path), memory="1KB"), "the memory", "loans.parquet", "memory=")


# --- text: rows that are no records ---


@pytest.mark.parametrize("bulk", [False, True])
@pytest.mark.parametrize("row", ["2,F1,2021-01-02,7", "2,F1,2021-01-02,7,x,y"])
@pytest.mark.parametrize("at", [0, 1, 3])
def test_a_loan_of_another_width_is_refused_wherever_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bulk: bool, row: str, at: int
) -> None:
    """A long text lost a short one at its end; another, of few rows, was padded, so that a field might be another's."""
    if bulk:
        monkeypatch.setattr(listing, "_BULK", 0)
    rows = [f"{i},F1,2021-01-01,5,ok" for i in (1, 3, 4)]
    rows.insert(at, row)
    path = put(tmp_path, HEAD + "\n".join(rows) + "\n")
    error = refused(path)
    assert "and the header 5" in error.what
    assert error.where.endswith(f"row {at + 2}")
    assert read(path, leave_out=(at + 2,)).frame["principal"].tolist() == [15.0]


def test_a_line_of_words_within_the_table_has_no_unit(tmp_path: Path) -> None:
    text = HEAD + "1,F1,2021-01-01,5,ok\nloans of another policy\n2,F1,2021-01-01,5,ok\n\nTotal funded: 10\n"
    table = read(put(tmp_path, text))
    assert table.frame["principal"].tolist() == [10.0]
    assert "1 rows (0.00 yuan) have no unit" in notes(table)


def test_a_last_loan_for_what_is_called_a_total_counts(tmp_path: Path) -> None:
    rows = "1,F1,2021-01-01,5,ok\n2,F1,2021-01-01,7,汇总\n"
    assert read(put(tmp_path, HEAD + rows)).frame["principal"].tolist() == [12.0]
    total = read(put(tmp_path, HEAD + rows + "3,合计,2021-01-01,12,\n"))
    assert total.frame["principal"].tolist() == [12.0]
    assert "the total in row 4 is the sum" in notes(total)


def test_a_comma_in_an_amount_does_not_hide_in_the_last_field(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where each line ends in a separator, one with a comma more and no such end is as wide, and holds another amount."""
    monkeypatch.setattr(listing, "_BULK", 0)
    path = put(tmp_path, HEAD + "1,F1,2021-01-01,5,ok,\n2,F1,2021-01-01,7,000,ok\n3,F1,2021-01-01,5,ok,\n")
    assert "6 fields and the header 5" in refused(path).what


CELLS = st.sampled_from(["", "x", "z", '"a,b"', '"a""b"', '"a\nb"', "甲", "é", "NA", " y "])
ROWS = st.tuples(
    st.integers(1, 9).map(str),
    st.sampled_from(["F1", "F2", '"F1"', "甲村", " F1 "]),
    st.sampled_from(["2021-01-05", "20220101", '"2021-01-01"']),
    st.sampled_from(["100", "250.5", '"1,000"']),
    CELLS,
)
OTHERS = st.sampled_from(
    ["", "  ", ",,,,", "t", "合计,,,100,", "a,b", "制表人：甲", '"', "1,F1,2021-01-01,100", "7,F1,2021-01-01,3,000,"]
)


@settings(deadline=None, suppress_health_check=list(HealthCheck), max_examples=25)
@given(
    rows=st.lists(ROWS, min_size=1, max_size=10),
    others=st.lists(st.tuples(st.integers(0, 12), OTHERS), max_size=2),
    form=st.tuples(
        st.sampled_from(["\n", "\r\n", "\r"]),
        st.sampled_from(["utf-8", "utf-8-sig", "gb18030", "utf-16"]),
        st.sampled_from(["", ","]),
    ),
    titled=st.booleans(),
)
def test_blocks_give_what_the_whole_text_gives(
    tmp_path_factory: pytest.TempPathFactory, rows: Any, others: Any, form: Any, titled: bool
) -> None:
    ending, encoding, trail = form
    lines = [",".join(row) + trail for row in rows]
    for at, other in others:
        lines.insert(at, other)
    lines = [*(["title"] if titled else []), HEAD.strip() + trail, *lines]
    path = tmp_path_factory.getbasetemp() / "fuzz.csv"
    path.write_bytes(ending.join(lines).encode(encoding))

    def outcome() -> Any:
        try:
            table = read(path, columns={**DECLARED["columns"], "loan_id": ""})
        except SourceError as error:
            return str(error)
        return table.frame.to_dict("list"), table.frame.index.tolist(), notes(table)

    whole = outcome()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(listing, "_BULK", 0)
        assert outcome() == whole


# --- headers ---


def test_the_first_loan_is_no_header(tmp_path: Path) -> None:
    """Its cells would be named as columns, and its amount be lost."""
    path = put(tmp_path, "1|F1|02/2000|280000|x\n2|F2|01/2000|150000|y\n")
    says(refused(path, unit="farm", columns={}), "no column is known", "loans.csv", "above its first loan")
    error = refused(path, unit="F1", columns={"disbursement_date": "02/2000", "principal": "280000"})
    says(error, "holds a loan", "loans.csv", "names above the first loan")


def test_a_unit_that_stands_over_two_columns_is_refused(tmp_path: Path) -> None:
    path = put(tmp_path, "farm,given,amount,farm\nF1,2021-01-01,5,F9\n")
    says(refused(path), "2 columns are called 'farm'", "loans.csv", "rename")


# --- dates, currencies ---


@pytest.mark.parametrize(("form", "text"), [("mdy", "Dec-11"), ("dmy", "Dec 11"), ("ymd", "11-Dec")])
def test_months_with_two_digits_of_a_year_are_declared(tmp_path: Path, form: str, text: str) -> None:
    path = put(tmp_path, HEAD + f"1,F1,{text},5,ok\n")
    says(refused(path), "a month's name and two digits", "row 2, column 'given'", 'dates="mdy"')
    table = read(path, dates=form)
    assert table.frame["year"].tolist() == [2011]
    assert "names months, and not days" in notes(table)


def test_day_numbers_before_the_first_year_are_refused(tmp_path: Path) -> None:
    path = put(tmp_path, HEAD + "1,F1,-999999,5,ok\n")
    assert "row 2, column 'given'" in refused(path, dates="days1900").where


def test_a_name_in_the_column_of_currencies_is_not_offered_as_one(tmp_path: Path) -> None:
    for word in ("王五", "Lee"):
        path = put(tmp_path, f"farm,given,amount,currency\nF1,2021-01-01,5,CNY\nF2,2021-01-01,6,{word}\n")
        error = refused(path)
        assert word not in str(error)
        assert word.upper() not in str(error)
    path = put(tmp_path, "farm,given,amount,currency\nF1,2021-01-01,5,USD\nF2,2021-01-01,6,\n")
    says(refused(path, currency="USD", units={"principal": "USD"}), "is empty", "row 3", 'columns={"currency": ""}')
    read(path, currency="USD", units={"principal": "USD"}, columns={**DECLARED["columns"], "currency": ""})


@pytest.mark.parametrize("text", ['"¥1,000.00"', "1000元", "￥１０００", '" 1,000 元 "', "RMB 1000"])
def test_marks_beside_amounts_agree_with_the_unit(tmp_path: Path, text: str) -> None:
    path = put(tmp_path, HEAD + f"1,F1,2021-01-01,{text},ok\n2,F1,2021-01-01,1000,ok\n")
    assert read(path).frame["principal"].tolist() == [2000.0]
    says(refused(path, units={"principal": "万元"}), "not a plain number", "row 2, column 'amount'", "leave_out=")


def test_amounts_that_all_have_three_decimals_are_worth_a_word(tmp_path: Path) -> None:
    rows = "1;F1;2021-01-01;1.234;ok\n2;F1;2021-01-01;12.345;ok\n"
    word = "all amounts in 'amount' have three decimals"
    assert word in notes(read(put(tmp_path, HEAD.replace(",", ";") + rows)))
    assert word not in notes(read(put(tmp_path, HEAD.replace(",", ";") + rows.replace("1.234", "1234"))))
    assert word not in notes(read(put(tmp_path, HEAD.replace(",", ";") + rows), units={"principal": "万元"}))


# --- loans that were taken back; snapshots ---


def ledger(*rows: str) -> str:
    return "loan_id,farm,given,amount,status,as_of\n" + "".join(row + "\n" for row in rows)


def test_a_reversal_under_the_number_of_a_loan_takes_it_back(tmp_path: Path) -> None:
    lent, other = "1,F1,2021-01-01,1000,正常,2021-01-31", "2,F2,2021-01-01,500,正常,2021-01-31"
    for amount in ("1000", "-1000"):
        table = read(put(tmp_path, ledger(lent, other, f"1,F1,2021-01-01,{amount},冲正,2021-01-31")))
        assert table.frame["principal"].tolist() == [500.0]
        assert "1 rows (1,000.00 yuan) are taken back by a row with the same loan number" in notes(table)
        assert "1 other words in 'status' are not known" in notes(table)
    part = put(tmp_path, ledger(lent, other, "1,F1,2021-01-01,-400,冲正,2021-01-31"))
    says(refused(part), "does not take back this one alone", "row 2, column 'loan_id'", "leave_out=")
    assert read(part, leave_out=(2, 4)).frame["principal"].tolist() == [500.0]
    assert read(part, leave_out=(4,)).frame["principal"].tolist() == [1000.0, 500.0]
    again = put(tmp_path, ledger(lent, "1,F1,2021-01-01,1000,撤销,2021-01-31", lent))
    assert "rows 2, 4" in refused(again).where
    none = put(tmp_path, ledger(lent, "1,F1,2021-01-01,1000,撤销,2021-01-31"))
    assert "no row is left that counts" in refused(none).what


def test_of_snapshots_the_last_says_whether_a_loan_was_cancelled(tmp_path: Path) -> None:
    cancelled = ("1,F1,2021-01-01,1000,Fully Cancelled,2021-02-28", "1,F1,2021-01-01,1000,Approved,2021-01-31")
    lent = ("2,F2,2021-01-01,500,未放款,2021-01-31", "2,F2,2021-01-01,500,正常,2021-02-28")
    table = read(put(tmp_path, ledger(*cancelled, *lent)))
    assert table.frame["farm"].tolist() == ["F2"]
    assert table.frame["principal"].tolist() == [500.0]


def test_a_row_of_a_later_snapshot_needs_its_number(tmp_path: Path) -> None:
    rows = (
        "1,F1,2021-01-01,10,正常,2021-01-31",
        ",F2,2021-01-01,20,正常,2021-01-31",
        "1,F1,2021-01-01,10,正常,2021-02-28",
    )
    assert read(put(tmp_path, ledger(*rows))).frame["principal"].tolist() == [10.0, 20.0]
    path = put(tmp_path, ledger(*rows, ",F2,2021-01-01,20,正常,2021-02-28"))
    says(refused(path), "has no loan number", "row 5, column 'loan_id'", "leave_out=")
    assert read(path, leave_out=(5,)).frame["principal"].tolist() == [10.0, 20.0]


def test_a_number_of_two_columns_may_lack_one(tmp_path: Path) -> None:
    path = put(tmp_path, "a,b,farm,given,amount\nC1,,F1,2021-01-01,5\nC1,,F1,2021-01-01,5\nC1,1,F1,2021-01-01,5\n")
    table = read(path, columns={**DECLARED["columns"], "loan_id": ("a", "b")})
    assert table.frame["principal"].tolist() == [10.0]
    assert "1 rows (5.00 yuan) repeat a loan" in notes(table)


# --- sheets, settings ---


def test_each_sheet_has_totals_of_its_own(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    book.remove(book.worksheets[0])
    for name, amounts in (("2021", (5, 6)), ("2022", (7,))):
        sheet = book.create_sheet(name)
        sheet.append(["no", "farm", "given", "amount"])
        for i, amount in enumerate(amounts):
            sheet.append([f"{name}{i}", "F1", dt.datetime(int(name), 1, 1), amount])
        sheet.append(["合计", None, None, sum(amounts)])
        sheet.append(["制表人：合成甲"])
    path = put(tmp_path, b"", "loans.xlsx")
    book.save(path)
    table = read(path, sheets=("2021", "2022"))
    assert table.frame["principal"].tolist() == [11.0, 7.0]
    assert "rows 2021!4, 2021!5, 2022!3, 2022!4 below the table" in notes(table)
    assert "the total in row 2021!4 is the sum" in notes(table)
    assert "the total in row 2022!3 is the sum" in notes(table)


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"sheets": ("a", "a")}, "names a sheet twice"),
        ({"amounts": (0, float("inf"))}, "not a smallest"),
        ({"amounts": ("a", "b")}, "not a smallest"),
        ({"covers": {"county": "甲县"}}, "does not list values"),
        ({"columns": {"loan_id": None}}, "does not give 'loan_id' as text"),
        ({"units": {"principal": 1}}, "does not give 'principal' as text"),
        ({"covers": {"county": 5}}, "does not list values"),
        ({"covers": {"county": ()}}, "does not list values"),
    ],
)
def test_settings_that_cannot_be(tmp_path: Path, options: dict[str, Any], what: str) -> None:
    assert what in refused(tmp_path / "a.csv", **options).what
