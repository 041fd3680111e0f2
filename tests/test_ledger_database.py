"""Queries of a database, on SQLite: what is stored is what is there, and nothing shows the URL or a cell."""

from __future__ import annotations

import datetime as dt
import hashlib
import logging
import random
import sqlite3
import traceback
from decimal import Decimal
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from evalkit.errors import SourceError
from evalkit.sources import Delimited
from evalkit.sources.ledger.database import _as_text, store_query
from evalkit.sources.sidecar import read_sidecar

pytest.importorskip("sqlalchemy")
SECRETS = ("hunter2secret", "ledger_user", "db.bank.example", "hunter3")
SELECT = "-- the loans; of all branches\nSELECT * FROM loans ORDER BY loan_id;\n"


class Bank:
    """A project with a query, and outside of it a database of SQLite with a ledger (synthetic), and the file of its URL."""

    def __init__(self, root: Path, rows: int = 50) -> None:
        self.root = root
        for folder in ("project/data/raw", "project/analyses/s", "private"):
            (root / folder).mkdir(parents=True)
        self.query = root / "project/analyses/s/loans.sql"
        self.path = root / "project/data/raw/loans.parquet"
        self.url = root / "private/bank.url"
        self.file = root / "private/hunter3.db"
        draw = random.Random(3)
        self.rows = [
            (i, f"户{draw.randrange(10**6)}", draw.randrange(1, 10**7) / 100, 10**17 + i, f"2020-0{1 + i % 9}-15",
             None if i % 7 == 0 else 1e-7 * i, i % 2)
            for i in range(rows)
        ]  # fmt: skip
        with sqlite3.connect(self.file) as made:
            made.execute(
                "CREATE TABLE loans (loan_id INTEGER, borrower TEXT, principal REAL, big INTEGER, day TEXT, rate REAL, green INT)"
            )
            made.executemany("INSERT INTO loans VALUES (?,?,?,?,?,?,?)", self.rows)
        made.close()
        self.url.write_text(f"sqlite:///{self.file}\n", encoding="utf-8")
        self.ask(SELECT)

    def ask(self, text: str) -> None:
        self.query.write_text(text, encoding="utf-8")

    def store(self) -> list[str]:
        return store_query(self.query, self.url, self.path, "loans.parquet")

    def refused(self, *said: str) -> SourceError:
        """What is raised, with nothing of the URL and the rows in it, its chain and the frames that it came through."""
        with pytest.raises(SourceError) as caught:
            self.store()
        error = caught.value
        assert error.__context__ is None
        assert error.__cause__ is None
        trace = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
        for secret in (*SECRETS, "户"):
            assert secret not in trace.replace(str(self.root), "")
        for word in said:
            assert word in str(error)
        assert not list(self.path.parent.glob(".*"))
        return error

    def count(self) -> int:
        with sqlite3.connect(self.file) as made:
            (found,) = made.execute("SELECT count(*) FROM loans").fetchone()
        made.close()
        return int(found)


@pytest.fixture
def bank(tmp_path: Path) -> Bank:
    return Bank(tmp_path)


def test_what_is_stored_is_what_is_there(bank: Bank) -> None:
    notes = bank.store()
    stored = pq.read_table(bank.path)
    assert {str(one.type) for one in stored.schema} == {"string"}
    back = list(zip(*(stored.column(name).to_pylist() for name in stored.column_names), strict=True))
    assert [int(row[0]) for row in back] == list(range(50))
    for row, (_, borrower, principal, big, day, rate, green) in zip(back, bank.rows, strict=True):
        assert row[1:2] + row[3:5] == (borrower, str(big), day)
        assert float(row[2]) == principal
        assert "e" not in row[2] + (row[5] or "")
        assert (row[5] is None) if rate is None else float(row[5]) == rate
        assert row[6] == str(green)
    assert notes == ["every column of the query loans.sql was stored as text"]


def test_the_result_is_an_input_like_any_other(bank: Bank) -> None:
    bank.store()
    sidecar = read_sidecar(bank.path)
    assert sidecar.words["sha256"] == hashlib.sha256(bank.path.read_bytes()).hexdigest()
    said = sidecar.words["notes"]
    assert hashlib.sha256(bank.query.read_bytes()).hexdigest() in said
    assert "; 50 rows" in said
    assert dt.date.today().isoformat()[:4] in said
    table = Delimited(bank.path).load()
    assert len(table.frame) == 50
    assert said in table.provenance[0].notes
    bank.path.write_bytes(bank.path.read_bytes() + b" ")
    with pytest.raises(SourceError, match="has changed since its provenance"):
        read_sidecar(bank.path).describe("x", hashlib.sha256(bank.path.read_bytes()).hexdigest(), [])


def test_a_stored_result_needs_no_database(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    first = bank.store()
    content = bank.path.read_bytes()
    bank.url.unlink()
    bank.file.unlink()
    monkeypatch.setitem(__import__("sys").modules, "sqlalchemy", None)
    assert bank.store() == first
    assert bank.path.read_bytes() == content


def test_a_changed_query_does_not_pass_for_the_old_one(bank: Bank) -> None:
    bank.store()
    bank.ask(SELECT.replace("*", "loan_id"))
    bank.refused("the query has changed", "delete loans.parquet and its sidecar")
    bank.path.unlink()
    bank.store()
    assert pq.read_table(bank.path).column_names == ["loan_id"]
    bank.path.with_name("loans.parquet.provenance.toml").unlink()
    bank.refused("which query the stored result is of")
    bank.path.unlink()
    bank.path.with_name("loans.parquet.provenance.toml").write_text('publisher = "a bank"\n', encoding="utf-8")
    bank.refused("a sidecar without its file")


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://ledger_user:hunter2secret@db.bank.example/x",
        "mysql://ledger_user:hunter2secret@db.bank.example/x",
        "nonsense://ledger_user:hunter2secret@db.bank.example/x",
        "ledger_user:hunter2secret@db.bank.example",
        "postgresql://ledger_user:hunter2secret@db.bank.example:port/x",
        "sqlite:////nowhere/hunter2secret.db",
        "sqlite://ledger_user:hunter2secret@db.bank.example/x",
        "sqlite:///x\nhunter2secret",
        "",
    ],
)
def test_no_error_shows_the_url(bank: Bank, url: str) -> None:
    bank.url.write_text(url, encoding="utf-8")
    bank.refused("bank.url")
    assert not bank.path.exists()


def test_no_error_of_the_database_shows_a_cell(bank: Bank) -> None:
    with sqlite3.connect(bank.file) as made:  # text that is not UTF-8: the driver says it
        made.execute("INSERT INTO loans VALUES (99, CAST(X'68756E746572337EFF' AS TEXT), 1, 1, '2020-01-15', 1, 1)")
    made.close()
    bank.refused("OperationalError", "not shown")
    bank.ask("SELECT borrower FROM nothing")
    bank.refused("OperationalError")
    bank.ask("SELECT abs(-9223372036854775807 - 1) AS n")
    bank.refused("did not answer the query")


def test_no_log_shows_the_url_or_a_cell(bank: Bank, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        bank.store()
    assert "hunter3" not in caplog.text
    assert "户" not in caplog.text


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-8"])
def test_what_an_editor_puts_around_a_url_changes_nothing(bank: Bank, encoding: str) -> None:
    bank.url.write_bytes(f"  sqlite:///{bank.file}\r\n".encode(encoding))
    bank.query.write_bytes(SELECT.encode(encoding))
    bank.store()
    assert bank.path.is_file()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("DELETE FROM loans", "does not begin with SELECT"),
        ("", "empty"),
        ("-- SELECT\n", "does not begin with SELECT"),
        ("SELECT 1 AS a; DELETE FROM loans", "more than one statement"),
        ("SELECT 1 AS a;;", "more than one statement"),
        ("WITH x AS (SELECT 1) DELETE FROM loans", "the word DELETE"),
        ("WITH x AS (SELECT 1)\nINSERT INTO loans SELECT * FROM loans", "line 2"),
        ("SELECT * INTO copy FROM loans", "the word INTO"),
        ("SELECT 'a", "not closed"),
        ("SELECT 1 /* ", "not closed"),
        ("SELECT 1 /*! , 2 */ AS a", "MySQL"),
        ("PRAGMA table_info(loans)", "does not begin"),
        ("EXPLAIN SELECT 1", "does not begin"),
        ("SELECT loan_id, loan_id FROM loans", "columns 1 and 2 of the result have the same name"),
        ('SELECT 1 AS " "', "column 1 of the result has no name"),
        ("SELECT * FROM loans WHERE 0", "gives no rows"),
        ("SELECT loan_id, X'00' AS photo FROM loans", "column 'photo', row 1"),
        ("SELECT 9e999 AS big", "no finite number"),
    ],
)
def test_what_is_no_plain_query_is_refused(bank: Bank, text: str, said: str) -> None:
    bank.ask(text)
    bank.refused(said)
    assert bank.count() == 50
    assert not bank.path.exists()


def test_words_in_quotes_and_comments_are_no_words_of_the_statement(bank: Bank) -> None:
    bank.ask("/* delete; */ SELECT 'it''s; DROP ''' AS \"update\", '5 % :a %s' AS \"b;\" -- insert\n;\n-- into")
    bank.store()
    assert pq.read_table(bank.path).to_pylist() == [{"update": "it's; DROP '", "b;": "5 % :a %s"}]


def test_the_database_is_not_changed_even_by_what_is_not_seen(bank: Bank) -> None:
    """The driver of SQLite commits a WITH … INSERT, which it does not take for writing; the words are hidden here."""
    import evalkit.sources.ledger.database as module

    bank.ask("WITH x AS (SELECT 1) INSERT INTO loans SELECT * FROM loans")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_WRITES", __import__("re").compile("(?!)"))
        bank.refused("OperationalError")
    assert bank.count() == 50


def test_the_url_lies_neither_with_the_data_nor_with_the_query(bank: Bank) -> None:
    for folder, said in (
        (bank.path.parent, "the folder of the data"),
        (bank.query.parent / "deep", "the folder of the query"),
    ):
        folder.mkdir(exist_ok=True)
        bank.url = bank.url.rename(folder / "bank.url")
        bank.refused(said, "out of version control")
    bank.url = bank.root / "private/none.url"
    bank.refused("there is no file with the URL")
    bank.path = bank.path.with_suffix(".csv")
    bank.refused("stored as .parquet")


def test_sqlalchemy_is_asked_for_by_the_extra(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "sqlalchemy", None)
    with pytest.raises(SourceError, match=r'pip install "evalkit\[db\]"'):
        bank.store()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Decimal("1234567890123456789012345678901234567890.10"), "1234567890123456789012345678901234567890.1"),
        (Decimal("1E+3"), "1000"),
        (Decimal("100"), "100"),
        (Decimal("0.00"), "0"),
        (1e22, "10000000000000000000000"),
        (0.1, "0.1"),
        (5e-324, "0." + "0" * 323 + "5"),
        (True, "1"),
        (10**20, "1" + "0" * 20),
        (dt.date(2020, 1, 5), "2020-01-05"),
        (dt.datetime(2020, 1, 5, 6, 7, 8, 9), "2020-01-05 06:07:08.000009"),
        ("006", "006"),
        (None, None),
    ],
)
def test_values_as_text(value: object, text: str | None) -> None:
    assert _as_text([value]) == ([text], "")


def test_values_without_text_are_refused() -> None:
    for value in (b"x", bytearray(b"x"), memoryview(b"x"), dt.timedelta(1), [1], Decimal("NaN"), float("inf")):
        texts, wrong = _as_text(["a", value])
        assert texts == ["a"]
        assert wrong


def test_many_rows_stream(tmp_path: Path) -> None:
    bank = Bank(tmp_path, 200_000)
    bank.store()
    stored = pq.ParquetFile(bank.path)
    assert stored.metadata.num_rows == 200_000
    assert stored.metadata.num_row_groups == 20  # ten thousand are held at a time
    assert sum(map(float, stored.read(["principal"])["principal"].to_pylist())) == pytest.approx(
        sum(row[2] for row in bank.rows), rel=1e-12
    )
