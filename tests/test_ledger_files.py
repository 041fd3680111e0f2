"""LoanLedger on files as banks export them: headers of their own, titles, units, totals, date forms, currencies, snapshots.

All ledgers are synthetic. What they should give is worked out by hand, or is what the plain ledger of test_loan_ledger gives.
"""

from __future__ import annotations

import datetime as dt
import gzip
import sqlite3
from decimal import Decimal
from pathlib import Path
from typing import Any

import openpyxl
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evalkit.errors import DataError, SourceError
from evalkit.panels.assembly import assemble
from evalkit.sources import Delimited, LoanLedger, Yearbook
from evalkit.sources.files import listing
from evalkit.study.config import read_study
from evalkit.tables.table import Table
from test_loan_ledger import (
    HEADER,
    NAMES,
    ROWS,
    A,
    add,
    cells,
    change,
    hashed,
    load,
    notes,
    put_key,
    refused,
    rename,
    says,
)

OWN = ("no", "farm", "given", "amount", "percent")
LOANS = (
    ("1", "F1", "2021-03-01", "1000", "4.5"),
    ("2", "F1", "2021-05-01", "500.5", "6"),
    ("3", "F2", "2022-01-31", "20", "5"),
)
DECLARED: dict[str, Any] = {
    "unit": "farm",
    "columns": {"loan_id": "no", "disbursement_date": "given", "principal": "amount", "rate": "percent"},
    "units": {"principal": "元", "rate": "% a year"},
}


def put(folder: Path, content: str | bytes, name: str = "loans.csv") -> Path:
    path = folder / "bank" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def lines(*rows: tuple[str, ...], separator: str = ",") -> str:
    return "".join(separator.join(row) + "\n" for row in rows)


def read(path: Path, **options: Any) -> Table:
    return LoanLedger(path, **{**DECLARED, **options}).load()


def same(table: Table) -> None:
    """It is the table of LOANS: F1 lent 1,500.5 at (1000 · 4.5 + 500.5 · 6) / 1500.5 in 2021, F2 20 at 5 in 2022."""
    assert table.frame.iloc[:, 0].tolist() == ["F1", "F2"]
    assert table.frame["year"].tolist() == [2021, 2022]
    assert table.frame["loans"].tolist() == [2, 1]
    assert table.frame["principal"].tolist() == [1500.5, 20.0]
    assert table.frame["rate"].tolist() == [7503.0 / 1500.5, 5.0]


# --- columns ---


def test_columns_are_named_by_settings_and_those_not_used_are_listed(tmp_path: Path) -> None:
    rows = [(*row, "x", "y") for row in LOANS]
    table = read(put(tmp_path, lines((*OWN, "branch", "officer"), *rows)))
    same(table)
    assert "'given' as disbursement date, 'amount' as principal" in notes(table)
    assert "columns that were not used: branch, officer" in notes(table)


def test_columns_stand_in_the_sidecar_too(tmp_path: Path) -> None:
    path = put(tmp_path, lines(OWN, *LOANS))
    beside = path.with_name(path.name + ".provenance.toml")
    beside.write_text(
        'synthetic = true\n[columns]\nloan_id = ["no"]\ndisbursement_date = "given"\nprincipal = "amount"\nrate = "percent"\n'
        '[units]\nprincipal = "元"\nrate = "% a year"\n',
        encoding="utf-8",
    )
    same(LoanLedger(path, unit="farm").load())
    same(LoanLedger(path, unit="farm", columns={"principal": "amount"}).load())
    with pytest.raises(SourceError, match="one in the sidecar and another in columns="):
        LoanLedger(path, unit="farm", columns={"principal": "percent"}).load()
    beside.write_text("[columns]\nprincipal = 3\n", encoding="utf-8")
    with pytest.raises(SourceError, match=r"columns\.principal"):
        LoanLedger(path, unit="farm").load()


def test_tables_take_columns_from_the_sidecar_and_yearbooks_refuse_them(tmp_path: Path) -> None:
    path = put(tmp_path, "农户,年,产量(吨)\nF1,2020,1.5\n", "table.csv")
    beside = path.with_name(path.name + ".provenance.toml")
    beside.write_text('[columns]\nfarm = "农户"\noutput = "产量"\n', encoding="utf-8")
    table = Delimited(path).load()
    assert list(table.frame.columns) == ["farm", "output"]
    assert table.units == {"output": "吨"}
    assert list(Delimited(path, columns={"year": "年"}).load().frame.columns) == ["farm", "output", "year"]
    with pytest.raises(SourceError, match="'farm' is one in the sidecar and another"):
        Delimited(path, columns={"farm": "年"}).load()
    with pytest.raises(SourceError, match="not beside a yearbook"):
        Yearbook(path).load()


@pytest.mark.parametrize(
    ("columns", "what", "remedy"),
    [
        ({"principle": "amount"}, "'principle', which is no field of a ledger", "did you mean 'principal'?"),
        ({"unit": "farm"}, "'unit', which is no field", 'unit="…"'),
        (
            {"principal": "amounts"},
            "header 'amounts' (for principal), which the file does not have",
            "did you mean 'amount'?",
        ),
        ({"principal": ("amount", "no")}, "names 2 headers for principal", "loan_id"),
        ({"rate": "percent", "contract_rate": "amount"}, "names the contract rate twice", "leave one"),
    ],
)
def test_columns_that_name_nothing(tmp_path: Path, columns: dict[str, Any], what: str, remedy: str) -> None:
    path = put(tmp_path, lines(OWN, *LOANS))
    error = refused(tmp_path, path, **{**DECLARED, "columns": {**DECLARED["columns"], **columns}})
    says(error, what, "loans.csv", remedy)


def test_headers_are_offered_where_none_is_known(tmp_path: Path) -> None:
    path = put(tmp_path, lines(("no", "farm", "day given", "sum", "rate(%)"), *LOANS))
    error = refused(tmp_path, path, unit="farm")
    says(
        error, "no column is known as the disbursement date", "loans.csv", 'columns={"disbursement_date": "day given"}'
    )
    assert "the headers are: no, farm, day given, sum, rate(%)" in error.remedy
    path = put(tmp_path, lines(("J1", "F1", "2021-03-01", "1000", "4.5"), *LOANS))
    error = refused(tmp_path, path, unit="farm")
    assert "J1" not in repr(error)


def test_a_loan_number_of_several_columns(tmp_path: Path) -> None:
    rows = [
        ("C1", "1", "F1", "2021-03-01", "1000"),
        ("C2", "1", "F1", "2021-05-01", "500"),
        ("C2", "1", "F1", "2021-05-01", "500"),
    ]
    path = put(tmp_path, lines(("contract", "no", "farm", "given", "amount"), *rows))
    columns = {"loan_id": ("contract", "no"), "disbursement_date": "given", "principal": "amount"}
    table = LoanLedger(path, unit="farm", columns=columns, units={"principal": "元"}).load()
    assert table.frame["loans"].tolist() == [2]
    assert "1 rows (500.00 yuan) repeat a loan" in notes(table)
    with pytest.raises(SourceError, match="the same loan number stands twice") as caught:
        LoanLedger(path, unit="farm", columns={**columns, "loan_id": "no"}, units={"principal": "元"}).load()
    assert '{"loan_id": ["…", "…"]}' in caught.value.remedy


# --- the file around the table ---


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("ending", ["", "trailing"])
def test_titles_units_and_notes_around_the_table(tmp_path: Path, separator: str, ending: str) -> None:
    more = ("",) if ending else ()
    content = (
        "某某农商行贷款明细表（合成）\n单位：元、%\n"
        + lines((*OWN, *more), ("", "", "", "元", "%", *more), *((*row, *more) for row in LOANS), separator=separator)
        + lines(("合计", "", "", "1520.5", "", *more), separator=separator)
        + "制表人：合成甲　　复核：合成乙\n\n"
    )
    for encoding in ("utf-8-sig", "gb18030", "utf-16"):
        path = put(tmp_path, content.encode(encoding))
        table = read(path, units={})
        same(table)
        assert "2 rows above the header in row 3 were left out" in notes(table)
        assert "rows 8, 9 below the table (totals and notes) were left out" in notes(table)
        assert "the total in row 8 is the sum of the rows above" in notes(table)
        assert table.frame.index.tolist() == [5, 7]
        assert "合成甲" not in repr(vars(table))
    same(read(put(tmp_path, gzip.compress(content.encode()), "loans.csv.gz"), units={}))


def test_a_row_of_units_that_contradicts_the_header_is_refused(tmp_path: Path) -> None:
    head = (*OWN[:3], "amount(元)", OWN[4])
    path = put(tmp_path, lines(head, ("", "", "", "万元", "%"), *LOANS))
    says(
        refused(tmp_path, path, **{**DECLARED, "units": {}}),
        "is not that in the row below",
        "'amount(元)'",
        "which is right",
    )
    same(read(put(tmp_path, lines(head, ("", "笔", "年月日", "元", "%"), *LOANS)), units={}))


def test_a_long_text_is_read_in_blocks_and_gives_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    title, rows = (
        "合成\n",
        [(str(i), f"F{i % 3}", f"202{i % 4}-01-{i % 28 + 1:02d}", f"{i}.25", "4.5") for i in range(1, 400)],
    )
    footer = "制表人：合成甲\n"
    quoted = [(*row[:1], f'"{row[1]}"', *row[2:]) for row in rows]
    broken = [(*row[:1], f'"{row[1]}\n"', *row[2:]) for row in rows[:50]]
    for content in (
        lines(OWN, *rows),
        title + lines(OWN, *rows) + footer,
        title + lines(OWN, *quoted).replace("\n", "\r\n") + footer + "\n\n",
        lines(OWN, *broken),
        lines(OWN, *rows[:9]) + "\n" + lines(*rows[9:]),
    ):
        for encoding in ("utf-8-sig", "gb18030"):
            path = put(tmp_path, content.encode(encoding))
            whole = read(path)
            with monkeypatch.context() as patch:
                patch.setattr(listing, "_BULK", 0)
                in_blocks = read(path)
            pd.testing.assert_frame_equal(whole.frame, in_blocks.frame)
            assert notes(whole) == notes(in_blocks)
    with monkeypatch.context() as patch:
        patch.setattr(listing, "_BULK", 0)
        path = put(tmp_path, lines(OWN, *rows[:9], ("1", "2"), *rows[9:]))
        says(refused(tmp_path, path, **DECLARED), "the row has 2 fields and the header 5", "row 11", "quotes")


def book(folder: Path, **sheets: list[list[Any]]) -> Path:
    made = openpyxl.Workbook()
    made.remove(made.worksheets[0])
    for name, rows in sheets.items():
        sheet = made.create_sheet(name)
        for row in rows:
            sheet.append(row)
    path = folder / "bank" / "loans.xlsx"
    path.parent.mkdir(exist_ok=True)
    made.save(path)
    return path


def test_a_sheet_with_title_units_percent_cells_and_totals(tmp_path: Path) -> None:
    rows: list[list[Any]] = [[no, farm, dt.datetime.fromisoformat(day), float(amount), float(rate) / 100]
                             for no, farm, day, amount, rate in LOANS]  # fmt: skip
    path = book(
        tmp_path,
        明细=[["贷款明细（合成）"], list(OWN), [None, None, None, "元", None], *rows, ["小计", None, None, 1520.5]],
    )
    made = openpyxl.load_workbook(path)
    for row in made["明细"].iter_rows(min_row=4, max_row=6, min_col=5, max_col=5):
        row[0].number_format = "0.00%"
    made["明细"].merge_cells("A1:E1")
    made.save(path)
    table = read(path, units={})  # 4.50% stands in the cell, .045 in the file
    same(table)
    assert "the total in row 7 is the sum of the rows above" in notes(table)
    says(
        refused(tmp_path, path, **{**DECLARED, "units": {"rate": "月‰"}}),
        "has a % behind its number",
        "'percent'",
        "which is right",
    )


def test_several_sheets_by_one_setting(tmp_path: Path) -> None:
    rows: list[list[Any]] = [list(row) for row in LOANS]
    back = [[row[1], row[0], *row[2:]] for row in ([*OWN], rows[2])]
    path = book(tmp_path, **{"2021": [list(OWN), *rows[:2]], "2022": [["title"], *back], "说明": [["合成"]]})
    error = refused(tmp_path, path, **DECLARED)
    says(error, "2 sheets hold a list", "loans.xlsx", 'sheets=("2021", "2022")')
    table = read(path, sheets=("2021", "2022"))
    same(table)
    assert table.frame.index.tolist() == ["2021!2", "2022!3"]
    assert read(path, sheets=("2021", "2022"), leave_out=("2021!3",)).frame["loans"].tolist() == [1, 1]
    wrong = book(
        tmp_path, **{"2021": [list(OWN), *rows[:2]], "2022": [list(OWN), ["3", "F2", "2022-01-31", "-20", "5"]]}
    )
    assert ", row 2022!2, column 'amount'" in refused(tmp_path, wrong, **{**DECLARED, "sheets": ("2021", "2022")}).where


def test_parquet_gives_the_same_from_types_and_from_text(tmp_path: Path) -> None:
    frame = pd.DataFrame(dict(zip(OWN, zip(*LOANS, strict=True), strict=True)))
    text = pa.table({name: pa.array(frame[name]) for name in OWN})
    typed = pa.table(
        {
            "no": pa.array([1, 2, 3], pa.int64()),
            "farm": pa.array(frame["farm"]).dictionary_encode(),
            "given": pa.array([dt.datetime.fromisoformat(day) for day in frame["given"]], pa.timestamp("us")),
            "amount": pa.array([Decimal(one) for one in frame["amount"]], pa.decimal128(12, 2)),
            "percent": pa.array([4.5, 6.0, 5.0], pa.float64()),
        }
    )
    floats = typed.set_column(3, "amount", pa.array([1000.0, 500.5, 20.0], pa.float64()))
    for table in (text, typed, floats):
        path = put(tmp_path, b"", "loans.parquet")
        pq.write_table(table, path)
        same(read(path))
    gaps = floats.set_column(3, "amount", pa.array([1000.0, None, -1.0], pa.float64()))
    pq.write_table(gaps, path)
    says(refused(tmp_path, path, **DECLARED), "the cell is empty", "row 3, column 'amount'", "leave_out=")
    pq.write_table(typed.set_column(1, "farm", pa.array([["F1"]] * 3)), path)
    says(refused(tmp_path, path, **DECLARED), "no cell of a table", "loans.parquet", "text, numbers or dates")


def test_decimals_in_floats_are_added_exactly(tmp_path: Path) -> None:
    """.1 three times is .3, not .30000000000000004; so are amounts with too many decimals for 64 bits."""
    for amounts, total in (
        ([0.1, 0.1, 0.1], 0.3),
        ([0.1, 0.2, 1e-13], 0.3000000000001),
        ([12345678901234.5, 0.25, 0.25], 12345678901235.0),
    ):
        path = put(tmp_path, b"", "loans.parquet")
        pq.write_table(
            pa.table({"no": [1, 2, 3], "farm": ["F"] * 3, "given": [dt.date(2021, 1, 1)] * 3, "amount": amounts}), path
        )
        columns = {name: header for name, header in DECLARED["columns"].items() if name != "rate"}
        table = read(path, columns=columns, units={"principal": "yuan"}, amounts=(1e-14, 1e15))
        assert table.frame["principal"].tolist() == [total]


# --- dates ---


@pytest.mark.parametrize(
    ("form", "texts"),
    [
        ("", ("2021.03.01", "2021-5", "31-Jan-2022")),
        ("", ("202103", "202105", "202201")),
        ("", ("Mar-2021", "May 2021", "01/2022".replace("01/2022", "2022/01"))),
        ("", ("01MAR2021", "May 1, 2021", "2022年1月")),
        ("dmy", ("1/3/2021", "01.05.21", "31012022")),
        ("mdy", ("3/1/2021", "05-01-21", "01312022")),
        ("ymd", ("21/3/1", "2021-05-01", "22.1.31")),
        ("yymmdd", ("210301", "20210501", "22-01-31")),
        ("days1960", ("22340", "22401.0", "22676")),
        ("days1970", ("18687", "18748", "19023")),
        ("days1904", ("42794", "42855", "43130")),
        ("days1900", ("44256", "44317.75", "44592")),
        ("", ("44256", "44317.75", "44592")),
    ],
)
def test_forms_of_dates(tmp_path: Path, form: str, texts: tuple[str, ...]) -> None:
    rows = [(*row[:2], f'"{text}"', *row[3:]) for row, text in zip(LOANS, texts, strict=True)]
    same(read(put(tmp_path, lines(OWN, *rows)), dates=form))


@pytest.mark.parametrize(
    ("texts", "what", "remedy"),
    [
        (("22340", "22401", "22676"), "counted from 1900 (Excel) 1961 to 1962; counted from 1904", 'dates="days1960"'),
        (("1/3/2021", "1/5/2021", "31/1/2022"), "whether the day or the month stands first", 'dates="dmy"'),
        (("21/3/1", "21/5/1", "22/1/31"), "a year of two digits", 'dates="ymd"'),
        (("200103", "200105", "200201"), "six digits may be", 'dates="yymmdd"'),
        (("930705", "930806", "930907"), "six digits may be", 'dates="yymmdd"'),
    ],
)
def test_dates_that_are_not_certain_ask(tmp_path: Path, texts: tuple[str, ...], what: str, remedy: str) -> None:
    rows = [(*row[:2], text, *row[3:]) for row, text in zip(LOANS, texts, strict=True)]
    says(refused(tmp_path, put(tmp_path, lines(OWN, *rows)), **DECLARED), what, "rows 2-4, column 'given'", remedy)


def test_rows_without_a_date_are_named_and_left_out_by_a_setting(tmp_path: Path) -> None:
    path = put(
        tmp_path,
        lines(OWN, *LOANS, ("4", "F2", "", "7", "5"), ("5", "F3", "NA", "8", "5"), ("6", "F1", "2021-06-01", "9", "5")),
    )
    says(
        refused(tmp_path, path, **DECLARED),
        "the cell is empty",
        "rows 5-6, column 'given'",
        'leave_out=("disbursement_date",)',
    )
    table = read(path, leave_out=("disbursement_date",))
    assert table.frame["loans"].tolist() == [3, 1]
    assert "2 rows (15.00 yuan) have no disbursement date and were left out" in notes(table)
    assert read(path, leave_out=(5, 6)).frame["loans"].tolist() == [3, 1]
    says(
        refused(tmp_path, path, **{**DECLARED, "leave_out": (99,)}),
        "row 99, which is no row",
        "loans.csv",
        "numbers of rows",
    )


# --- what is no new money ---


def test_loans_in_another_currency_are_refused_or_left_out(tmp_path: Path) -> None:
    table = [[*row[:8], "USD" if i == 2 else row[8], *row[9:]] for i, row in enumerate(cells())]
    for name in ("币种", "贷款币种", "CCY"):
        table[0][8] = name
        error = refused(tmp_path, table)
        says(error, "the currency is not the yuan", f"row 3, column '{name}'", 'currency="CNY"')
        loaded = load(tmp_path, table, currency="CNY")
        assert loaded.frame["loans"].tolist() == [1, 1, 2]
        assert "1 rows (30,000.00 yuan) are in another currency than yuan" in notes(loaded)
    says(refused(tmp_path, change(3, "币种", ""), currency="CNY"), "the cell is empty", "row 3", "leave_out=")


def test_a_ledger_in_another_currency(tmp_path: Path) -> None:
    table = [["no", "farm", "loan_date", "principal(thousand USD)", "rate(% a year)"], *map(list, LOANS)]
    says(refused(tmp_path, table, unit="farm"), "is not clear", "principal(thousand USD)", 'currency="USD"')
    loaded = load(tmp_path, table, unit="farm", currency="USD")
    assert loaded.frame["principal"].tolist() == [1500500.0, 20000.0]
    assert loaded.units["principal"] == "USD"
    table[0][3] = "principal"
    says(refused(tmp_path, table, unit="farm"), "does not say the unit", "principal", "currency=")
    other = load(tmp_path, table, unit="farm", currency="SEK", units={"principal": "SEK"})
    assert other.units["principal"] == "SEK"


@pytest.mark.parametrize("word", ["撤销", "已冲正", "作废", "Cancelled", "not disbursed"])
def test_cancelled_loans_are_left_out(tmp_path: Path, word: str) -> None:
    loaded = load(tmp_path, add("借据状态", "正常", word, "结清", "逾期", "", "正常"))
    assert loaded.frame["loans"].tolist() == [1, 1, 2]
    assert "1 rows (30,000.00 yuan) were cancelled or reversed (撤销, 冲正; '借据状态') and were left out" in notes(
        loaded
    )


def test_status_codes_are_named_and_reversals_flagged(tmp_path: Path) -> None:
    table = add("loan_status", "1", "9", "1", "1", "1", "1")
    assert "no word in 'loan_status' is known" in notes(load(tmp_path, table))
    assert load(tmp_path, table, cancelled=("9",)).frame["loans"].tolist() == [1, 1, 2]
    assert load(tmp_path, add("冲正标志", "否", "是", "", "0", "N", "")).frame["loans"].tolist() == [1, 1, 2]


def test_an_extension_that_names_its_loan_lends_nothing_new(tmp_path: Path) -> None:
    flagged = [
        [*row, one]
        for row, one in zip(
            add("是否展期", "否", "是", "", "否", "否", ""), ("原借据号", "", "J001", "", "", "", ""), strict=True
        )
    ]
    loaded = load(tmp_path, flagged)
    assert loaded.frame["loans"].tolist() == [1, 1, 2]
    assert "1 rows (30,000.00 yuan) extend a loan (展期)" in notes(loaded)


def test_a_flag_that_does_not_say_which_loan_it_extends_asks(tmp_path: Path) -> None:
    table = add("展期标志", "0", "1", "0", "1", "0", "0")
    error = refused(tmp_path, table)
    says(
        error,
        "may extend a loan and lend nothing new (展期), or say",
        "rows 3, 5, column '展期标志'",
        'columns={"extension_flag": ""}',
    )
    assert load(tmp_path, table, columns={"extension_flag": "展期标志"}).frame["loans"].tolist() == [1, 1, 1]
    assert load(tmp_path, table, columns={"extension_flag": ""}).frame["loans"].tolist() == [2, 1, 2]
    only = add("原借据号", "", "J001", "", "", "", "")
    says(
        refused(tmp_path, only),
        "names an earlier loan",
        "row 3, column '原借据号'",
        'columns={"original_loan_id": "原借据号"}',
    )
    assert load(tmp_path, only, columns={"original_loan_id": "原借据号"}).frame["loans"].tolist() == [1, 1, 2]


def test_of_monthly_snapshots_the_first_counts(tmp_path: Path) -> None:
    later = [tuple({**dict(zip(HEADER, row, strict=True)), "年利率(%)": "9"}.values()) for row in ROWS]
    table = [["2020-12-31", *row] for row in later] + [["2020-11-30", *row] for row in ROWS[:3]]
    table = [["数据日期", *HEADER], *table]
    loaded = load(tmp_path, table)
    assert loaded.frame["loans"].tolist() == [2, 1, 2]
    assert loaded.frame["rate"].tolist() == [4.96875, 5.0, 9.0]
    assert (
        "3 rows (105,000.00 yuan) repeat a loan at a later '数据日期': each loan counts once, as in its first snapshot"
        in notes(loaded)
    )
    table[7][5] = "6"
    error = refused(tmp_path, table)
    says(error, "stands twice with another principal", "rows 2 and 8", "snapshot")
    numberless = [[row[0], *row[2:]] for row in table]
    says(refused(tmp_path, numberless), "'数据日期' has 2 dates", "借据.csv", 'columns={"loan_id": "…"}')


# --- wrong amounts and dates ---


def test_amounts_far_from_the_median_are_not_believed(tmp_path: Path) -> None:
    error = refused(tmp_path, change(4, "贷款金额(万元)", "50000"))
    says(error, "10,000 times the median loan or more", "row 4, column '贷款金额(万元)'", "amounts=(")
    loaded = load(tmp_path, change(4, "贷款金额(万元)", "50000"), amounts=(1000, 1e9))
    assert loaded.frame["principal"].tolist() == [80_000.0, 500_000_000.0, 112_345.0]
    assert "row 4: the amount is 1,000 times the median loan or more" in notes(
        load(tmp_path, change(4, "贷款金额(万元)", "5000"))
    )
    small = change(4, "贷款金额(万元)", "0.0001")
    assert "less than 10,000th of the median" in refused(tmp_path, small).what
    says(refused(tmp_path, cells(), amounts=(30_000, 1e9)), "outside of amounts=", "rows 4, 6", "bounds")


def test_an_accountants_negative_is_called_one(tmp_path: Path) -> None:
    says(refused(tmp_path, change(4, "贷款金额(万元)", "(1,000.00)")), "in brackets", "row 4", "leave_out=")


def test_maturity_and_balance_are_compared_with_the_loan(tmp_path: Path) -> None:
    due = add("到期日期", "2020-03-15", "2018-11-02", "2021-01-05", "2021-07-01", "2021-03-10", "2021-06-01")
    error = refused(tmp_path, due)
    says(error, "falls due before it was lent", "row 3, column '到期日期'", 'columns={"maturity_date": ""}')
    assert load(tmp_path, due, columns={"maturity_date": ""}).frame["loans"].tolist() == [2, 1, 2]
    due[2][-1] = "2020-02-01"
    both = [[*row, one] for row, one in zip(due, ("结欠金额(元)", "60000", "5", "0", "0", "12345", "0"), strict=True)]
    loaded = load(tmp_path, both)
    assert "row 2: '结欠金额(元)' is above the amount of the loan" in notes(loaded)
    assert "2 loans fell due before 2020-07-01, and are not repaid" in notes(loaded)


def test_a_fraction_under_percent_is_declared_against_the_header(tmp_path: Path) -> None:
    table = [[*row[:5], f"{float(row[5]) / 100:g}", *row[6:]] for row in ROWS]
    error = refused(tmp_path, cells(table))
    says(error, "its unit is probably a fraction a year (4 to 6 % a year)", "rows 2-6", "units=")
    loaded = load(tmp_path, cells(table), units={"rate": "fraction a year"})
    pd.testing.assert_series_equal(loaded.frame["rate"], load(tmp_path).frame["rate"], rtol=1e-15)
    high = [[*row[:5], "0.18", *row[6:]] for row in ROWS]
    what = refused(tmp_path, cells(high)).what
    assert "% a month (2.16 % a year) or a fraction a year (18 % a year)" in what


def test_a_unit_for_a_rate_that_no_column_is_known_as_is_refused(tmp_path: Path) -> None:
    table = rename("年利率(%)", "价格")
    says(
        refused(tmp_path, table, units={"rate": "年%"}),
        "gives the unit of the contract rate, and no column",
        "借据.csv",
        "columns=",
    )
    assert load(tmp_path, table, units={"rate": "年%"}, columns={"rate": "价格"}).frame["rate"].iloc[0] == 4.96875


# --- persons, panels, studies ---


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (("甘拟名", "柳虚构", "甘拟名", "柳虚构", "甘虚拟", ""), "names"),
        (("Anna Musterfrau", "Max Beispiel", "Eva Probemann", "Anna Musterfrau", "Max Beispiel", ""), "names"),
        (("0991-1234567", "19900000001", "19900000002", "(0994)1234567", "19900000003", ""), "telephone"),
        (("a@example.org", "b@example.org", "c@example.org", "d@example.org", "e@example.org", ""), "e-mail"),
    ],
)
def test_persons_are_told_by_the_values_of_a_column(tmp_path: Path, values: tuple[str, ...], kind: str) -> None:
    table = add("标签", *values)
    error = refused(tmp_path, table, unit="标签")
    assert kind in error.what
    assert not [value for value in values if value and value in repr(error)]
    frame = load(tmp_path, table, unit="标签", key_file=put_key(tmp_path)).frame
    assert set(frame["标签"]) <= {hashed(value.replace(" ", "")) for value in values}


def test_a_column_that_is_only_suspected_asks_and_is_told(tmp_path: Path) -> None:
    table = add("标签", *(f"43011234567890{i}" for i in range(10, 16)))  # 16 digits, no check digit
    error = refused(tmp_path, table, unit="标签")
    says(error, "seems to hold", "'标签'", 'unit_kind="code"')
    assert len(load(tmp_path, table, unit="标签", unit_kind="code").frame) == 6
    persons = load(tmp_path, unit_kind="person", key_file=put_key(tmp_path))
    assert set(persons.frame["农户编号"]) == {hashed("0101"), hashed("0102")}
    assert persons.provenance[0].persons == ("农户编号",)
    assert load(tmp_path).provenance[0].persons == ()


def test_lost_leading_zeros_are_noticed(tmp_path: Path) -> None:
    table = change(3, "农户编号", "101")
    says(refused(tmp_path, table), "differ by leading zeros only", "rows 2-4, column '农户编号'", "as text")
    assert len(load(tmp_path, table, unit_kind="code").frame) == 4


def test_where_the_bank_does_not_lend_loans_are_unknown(tmp_path: Path) -> None:
    farms = pd.DataFrame(
        {
            "farm": ["0101", "0103", "0104"] * 2,
            "county": ["A", "A", "B"] * 2,
            "year": [2019] * 3 + [2020] * 3,
            "y": range(6),
        }
    )
    ledger = load(tmp_path, unit_as="farm", covers={"county": ("A",)})
    panel = assemble(Table("farms", farms, ()), ledger, unit="farm", time="year")
    found = panel.frame.set_index(["farm", "year"])["loans"]
    assert found.loc["0101"].tolist() == [2, 1]
    assert found.loc["0103"].tolist() == [0, 0]
    assert found.loc["0104"].isna().all()
    for covers, what in (({"country": ("A",)}, "'country'"), ({"county": ("C",)}, "'C'")):
        with pytest.raises(DataError, match=what):
            assemble(Table("farms", farms, ()), load(tmp_path, unit_as="farm", covers=covers), unit="farm", time="year")


def test_the_key_stands_in_no_query(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from evalkit.sources.ledger.store import Store

    asked: list[str] = []
    ask, run = Store.ask, Store.run
    monkeypatch.setattr(Store, "ask", lambda self, text: asked.append(text) or ask(self, text))
    monkeypatch.setattr(Store, "run", lambda self, text: asked.append(text) or run(self, text))
    key = put_key(tmp_path)
    table = load(tmp_path, unit="证件号码", purpose="有机肥", key_file=key)
    said = " ".join(asked) + repr(vars(table))
    for secret in (key.read_text(), A, NAMES[0], "有机肥", "证件号码", "贷款金额"):
        assert secret not in " ".join(asked)
    assert key.read_text() not in said


def test_settings_of_a_study(tmp_path: Path) -> None:
    put(tmp_path, lines(OWN, *LOANS))
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "study.toml").write_text(
        '[[source]]\nname = "loans"\nkind = "LoanLedger"\npath = "bank/loans.csv"\nunit = "farm"\ncurrency = "CNY"\n'
        'columns = { loan_id = ["no"], disbursement_date = "given", principal = "amount", rate = "percent" }\n'
        'units = { principal = "元", rate = "% a year" }\nleave_out = [3]\namounts = [1, 1e6]\ncovers = { farm = ["F1"] }\n'
        f'memory = "300MB"\n{REST}',
        encoding="utf-8",
    )
    source = read_study(tmp_path).sources["loans"]
    assert source.load().frame["loans"].tolist() == [1, 1]


REST = """
[panel]
sources = ["loans"]
unit = "farm"
time = "year"

[design]
outcome = "principal"
adoption = "first"
assigned_at = "farm"

[[estimate]]
name = "main"
estimator = { kind = "TwoWayFE" }
"""


@pytest.mark.parametrize("name", ["no.csv", "x" * 300, "a\0b"])
def test_a_file_that_cannot_be_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(SourceError) as caught:
        LoanLedger(tmp_path / name, unit="farm").load()
    assert caught.value.remedy


def test_settings_that_name_nothing(tmp_path: Path) -> None:
    for options, what in (
        ({"dates": "dym"}, "dates='dym'"),
        ({"currency": "yuan"}, "no code of a currency"),
        ({"unit_kind": "persons"}, "unit_kind='persons'"),
        ({"sheets": "2021"}, "one word, not a tuple"),
        ({"leave_out": ("rate",)}, "neither a row nor one of"),
        ({"amounts": (5, 1)}, "no smallest|not a smallest"),
        ({"query": "a.sql"}, "go together"),
        ({"header": 0}, "names no row"),
    ):
        with pytest.raises(SourceError, match=what):
            LoanLedger(tmp_path / "a.csv", **options)
    path = put(tmp_path, lines(OWN, *LOANS))
    says(refused(tmp_path, path, **{**DECLARED, "spill": tmp_path / "no"}), "no such folder", "no", "spill=")
    says(
        refused(tmp_path, path, **{**DECLARED, "memory": "much"}),
        "DuckDB does not take memory='much'",
        "memory=",
        "2GB",
    )


def test_a_ledger_that_a_query_gives_is_stored_and_read_without_the_database(tmp_path: Path) -> None:
    project, elsewhere = tmp_path / "project", tmp_path / "elsewhere"
    for folder in (project / "data", project / "queries", elsewhere):
        folder.mkdir(parents=True)
    with sqlite3.connect(elsewhere / "bank.sqlite") as bank:
        bank.execute("create table loans (no text, farm text, given text, amount real, percent real)")
        bank.executemany("insert into loans values (?, ?, ?, ?, ?)", LOANS)
    (project / "queries" / "loans.sql").write_text(
        "select no, farm, given, amount, percent from loans", encoding="utf-8"
    )
    (elsewhere / "bank.url").write_text(f"sqlite:///{(elsewhere / 'bank.sqlite').as_posix()}", encoding="utf-8")
    (project / "pyproject.toml").touch()
    (project / "study.toml").write_text(
        '[[source]]\nname = "loans"\nkind = "LoanLedger"\npath = "data/loans.parquet"\nunit = "farm"\nquery = '
        '"queries/loans.sql"\n'
        'database = "../elsewhere/bank.url"\n'
        'columns = { loan_id = "no", disbursement_date = "given", principal = "amount", rate = "percent" }\n'
        f'units = {{ principal = "元", rate = "% a year" }}\n{REST}',
        encoding="utf-8",
    )
    source = read_study(project).sources["loans"]
    same(source.load())
    assert (project / "data" / "loans.parquet") in source.files()
    (elsewhere / "bank.url").unlink()
    (elsewhere / "bank.sqlite").unlink()
    again = source.load()
    same(again)
    assert "bank.sqlite" not in repr(vars(again))
    (project / "queries" / "loans.sql").write_text("select * from loans where 1 = 1", encoding="utf-8")
    with pytest.raises(SourceError, match="query"):
        source.load()


def test_marks_beside_amounts_say_the_unit_of_the_column(tmp_path: Path) -> None:
    rows = [
        (*row[:3], f'"{amount}"', row[4]) for row, amount in zip(LOANS, ("￥1,000.00", "500.5元", "２０"), strict=True)
    ]
    same(read(put(tmp_path, lines(OWN, *rows))))
    rows[1] = (*rows[1][:3], "500.5万元", rows[1][4])
    says(
        refused(tmp_path, put(tmp_path, lines(OWN, *rows)), **DECLARED),
        "not a plain number",
        "row 3, column 'amount'",
        "50000",
    )
    dollars = [(*row[:3], f'"${float(row[3]):,.2f} "', row[4]) for row in LOANS]
    same(read(put(tmp_path, lines(OWN, *dollars)), units={"principal": "USD", "rate": "%"}, currency="USD"))


@pytest.mark.parametrize(
    ("form", "texts"),
    [
        ("dmy", ("01-Mar-21", "01-May-21", "31-Jan-22")),
        ("mdy", ("03/01/2021 12:00:00 AM", "05/01/2021 12:00 am", "01/31/2022 11:59:59 PM")),
        ("", ("03/2021", "05-2021", "1/2022")),
    ],
)
def test_dates_of_public_tables(tmp_path: Path, form: str, texts: tuple[str, ...]) -> None:
    rows = [(*row[:2], text, *row[3:]) for row, text in zip(LOANS, texts, strict=True)]
    path = put(tmp_path, lines(OWN, *rows))
    same(read(path, dates=form))
    if texts[0].endswith("-21"):
        says(refused(tmp_path, path, **DECLARED), "a year of two digits", "rows 2-4", 'dates="dmy"')


def test_what_parquet_leaves_out_is_missing(tmp_path: Path) -> None:
    path = put(tmp_path, b"", "loans.parquet")
    columns = {"no": ["1", "2", "3"], "farm": ["F1", "F1", "F2"], "given": [dt.date(2021, 3, 1)] * 3}
    pq.write_table(pa.table({**columns, "amount": [5.0, float("nan"), 7.0], "percent": pa.nulls(3)}), path)
    says(refused(tmp_path, path, **DECLARED), "the cell is empty", "row 3, column 'amount'", '"principal"')
    table = read(path, leave_out=("principal",))
    assert table.frame["loans"].tolist() == [1, 1]
    assert table.frame["rate"].isna().all()


def test_a_currency_that_no_loan_has_is_named(tmp_path: Path) -> None:
    error = refused(tmp_path, cells(), currency="USD", units={"principal": "USD"}, columns={"principal": "农户编号"})
    says(error, "no loan is in USD", "column '币种'", 'columns={"currency": ""}')
    table = [[*row[:8], "" if i else row[8], *row[9:]] for i, row in enumerate(cells())]
    assert "'币种' is empty: all amounts were taken for yuan" in notes(load(tmp_path, table))
