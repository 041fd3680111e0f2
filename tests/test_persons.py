"""Numbers that identify persons: found in any kind of file, named by column and rows, never shown, and replaced on demand.

All are synthetic: 9900 and 6599 are the beginnings of no place, so that none of the ids can be anybody's.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import random
import traceback
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import openpyxl
import pandas as pd
import pytest

from evalkit.errors import SourceError
from evalkit.panels.assembly import assemble
from evalkit.sources import Delimited, LoanLedger
from evalkit.sources.persons import find_persons
from evalkit.sources.pseudonyms import citizen_check, read_key
from evalkit.study.config import read_study

DRAW = random.Random(17)
KEY = hashlib.sha256(b"the key of these tests").hexdigest()


def born() -> str:
    return (dt.date(1945, 1, 1) + dt.timedelta(days=DRAW.randrange(18_000))).strftime("%Y%m%d")


def citizen(place: str = "990000") -> str:
    body = f"{place}{born()}{DRAW.randrange(1000):03d}"
    return body + citizen_check(body)


def old(place: str = "659900") -> str:
    return f"{place}{born()[2:]}{DRAW.randrange(1000):03d}"


def card() -> str:
    body = f"62{DRAW.randrange(10**16):016d}"
    double = [int(digit) * (2 - i % 2) for i, digit in enumerate(reversed(body))]
    return body + str(-sum(one // 10 + one % 10 for one in double) % 10)


IDS = [citizen() for _ in range(6)]
ENDS_IN_X = next(one for one in iter(citizen, "") if one.endswith("X"))
OLD = [old() for _ in range(6)]
CARDS = [card() for _ in range(6)]
PHONES = [f"1990000000{i}" for i in range(6)]
CODES = ["0101", "0102", "0103", "0104", "0105", "0106"]


def csv(folder: Path, values: Sequence[object], name: str = "farm", *, file: str = "farms.csv") -> Path:
    path = folder / "data" / file
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join([f"{name},y", *(f"{value},{i}.5" for i, value in enumerate(values))]), encoding="utf-8")
    return path


def sheet(folder: Path, values: Sequence[object]) -> Path:
    book = openpyxl.Workbook()
    assert book.active is not None
    for row in (("farm", "y"), *((value, i + 0.5) for i, value in enumerate(values))):
        book.active.append(row)
    book.save(folder / "farms.xlsx")
    return folder / "farms.xlsx"


def parquet(folder: Path, values: Sequence[object]) -> Path:
    path = folder / "data" / "farms.parquet"
    path.parent.mkdir(exist_ok=True)
    pd.DataFrame({"farm": values, "y": range(len(values))}).to_parquet(path, index=False)
    return path


def category(folder: Path, values: Sequence[object]) -> Path:
    return parquet(folder, pd.Categorical(values))  # type: ignore[arg-type]


def put_key(folder: Path, key: str = KEY) -> Path:
    path = folder / "study.key"
    path.write_text(key, encoding="utf-8")
    return path


def refused(source: Delimited) -> SourceError:
    """Load, and look for persons in all that the error could show."""
    with pytest.raises(SourceError) as caught:
        source.load()
    shown = repr(caught.value) + "".join(traceback.format_exception(caught.value))
    for person in (*IDS, ENDS_IN_X, *OLD, *CARDS, *PHONES):
        assert person[:10] not in shown
    return caught.value


# --- what is refused ---


@pytest.mark.parametrize("write", [csv, sheet, parquet, category])
@pytest.mark.parametrize(
    ("values", "kind", "rows"),
    [
        (IDS, "citizen ids", "rows 2-7"),
        ([*CODES[:4], ENDS_IN_X.lower(), CODES[5]], "citizen ids", "row 6"),
        ([f"户主 {IDS[0][:6]} {IDS[0][6:]}", *CODES[1:]], None, ""),  # in two parts within a text: not told
        ([f"户主({IDS[0]})", *CODES[1:]], "citizen ids", "row 2"),
        ([f"'{IDS[0][:6]} {IDS[0][6:14]} {IDS[0][14:]}", *CODES[1:]], "citizen ids", "row 2"),
        ([IDS[0].translate(str.maketrans("0123456789", "０１２３４５６７８９")), *CODES[1:]], "citizen ids", "row 2"),
        ([*IDS[:4], IDS[4][:17] + "?", CODES[0]], "citizen ids", "rows 2-5"),
        (OLD, "citizen ids of 15 digits", "rows 2-7"),
        ([*OLD[:4], *CODES[:2]], "citizen ids of 15 digits", "rows 2-5"),
        (CARDS, "numbers of bank cards", "rows 2-7"),
    ],
)
def test_numbers_of_persons_are_refused_by_column_and_row(
    tmp_path: Path, write: Callable[..., Path], values: list[str], kind: str | None, rows: str
) -> None:
    path = write(tmp_path, values)
    if kind is None:
        assert len(Delimited(path).load().frame) == len(values)
        return
    error = refused(Delimited(path))
    assert f"holds {kind}, which" in error.what
    assert f"{rows}, column 'farm'" in error.where
    assert path.name in error.where
    assert 'pseudonymise=("farm",)' in error.remedy


@pytest.mark.parametrize(
    "values",
    [[int(one) for one in OLD], [float(one) for one in OLD], [*map(int, OLD), None], [Decimal(one) for one in CARDS],
     [int(one) for one in IDS if not one.endswith("X")]],
)  # fmt: skip
def test_columns_of_numbers_are_looked_at(tmp_path: Path, values: list[Any]) -> None:
    error = refused(Delimited(parquet(tmp_path, values)))
    assert "which would stand in tables and figures as they are" in error.what
    assert "rows 2-" in error.where


def test_old_ids_in_a_csv_or_a_sheet_are_numbers_there(tmp_path: Path) -> None:
    assert "15 digits" in refused(Delimited(csv(tmp_path, [*OLD, ""]))).what
    assert "15 digits" in refused(Delimited(sheet(tmp_path, [*map(int, OLD), None]))).what


@pytest.mark.parametrize("write", ["floats", "as Excel shows them", "as pandas writes them beside a blank"])
def test_ids_that_became_floats_are_said_to_be_lost(tmp_path: Path, write: str) -> None:
    numbers = [float(citizen("659901")[:17] + "0") for _ in range(6)]
    path = {
        "floats": lambda: parquet(tmp_path, numbers),
        "as Excel shows them": lambda: csv(tmp_path, [f"{one:.5E}" for one in numbers]),
        "as pandas writes them beside a blank": lambda: csv(tmp_path, [f"{one:.1f}" for one in numbers]),
    }[write]()
    error = refused(Delimited(path))
    assert "turned into numbers: of their 18 digits, only the first are right" in error.what
    assert "rows 2-7, column 'farm'" in error.where
    assert "as text" in error.remedy
    assert "659901" not in str(error)


def test_a_sheet_says_that_long_numbers_lost_their_tail_without_showing_them(tmp_path: Path) -> None:
    error = refused(Delimited(sheet(tmp_path, [float(one[:17] + "0") for one in IDS])))
    assert "18 digits" in error.what
    assert "first 15 digits" in error.what
    assert "farms.xlsx, Sheet!A2" in error.where


def test_a_file_without_a_header_shows_nobody(tmp_path: Path) -> None:
    error = refused(Delimited(csv(tmp_path, CODES, IDS[0])))
    assert "the header holds citizen ids" in error.what
    assert "column 1 of the header" in error.where


def test_telephones_are_refused_where_the_header_says_so(tmp_path: Path) -> None:
    assert "telephone numbers" in refused(Delimited(csv(tmp_path, PHONES, "联系电话"))).what
    assert "telephone numbers" in refused(Delimited(csv(tmp_path, [f"+86 {one}" for one in PHONES], "Mobile no."))).what
    assert len(Delimited(csv(tmp_path, PHONES, "gdp")).load().frame) == len(PHONES)  # 19.9 billion yuan


# --- what is none of them ---


def digits(count: int) -> str:
    return str(DRAW.randrange(10 ** (count - 1), 10**count))


def loan_number() -> str:
    """County, day, running number: the form of an id, whose check digit one in eleven passes."""
    return f"6523{DRAW.choice(['01', '23'])}2019{DRAW.randrange(1, 13):02d}{DRAW.randrange(1, 29):02d}{digits(4)}"


def household() -> str:
    """The 12 digits of a village in the statistical code of places, and the number of a household: 15 digits."""
    town = DRAW.choice(["100", "101", "200", "500", "510"])
    return f"652301{town}{DRAW.choice('25')}{DRAW.randrange(1, 29):02d}{DRAW.randrange(1, 400):03d}"


def wrong_check() -> str:
    one = citizen()
    return one[:17] + "0123456789X"[("0123456789X".index(one[17]) + 1) % 11]


CODES_OF_NOBODY = {
    "18 digits": lambda: digits(18),
    "15 digits": lambda: digits(15),
    "loans": loan_number,
    "households": household,
    "a wrong check digit": wrong_check,
    "16 digits that begin with 62": lambda: "62" + digits(14),
}


@pytest.mark.parametrize("size", [8, 100])
@pytest.mark.parametrize("kind", CODES_OF_NOBODY)
def test_codes_and_amounts_pass(kind: str, size: int) -> None:
    """Of thirty columns of codes none is taken for persons; decision 0017 has the odds."""
    DRAW.seed(size)
    for _ in range(30):
        assert find_persons(CODES_OF_NOBODY[kind]() for _ in range(size)) is None


def test_amounts_in_floats_pass(tmp_path: Path) -> None:
    joules = [DRAW.uniform(1e17, 9e17) for _ in range(30)]
    yuan = [float(DRAW.randrange(10**14, 10**15)) for _ in range(30)]
    for values in (joules, yuan, [round(one, -12) for one in joules], [2.0**60, float("inf")]):
        assert len(Delimited(parquet(tmp_path, values)).load().frame) == len(values)


# --- pseudonyms ---


def test_pseudonyms_of_a_survey_join_the_loans_of_the_same_persons(tmp_path: Path) -> None:
    key = put_key(tmp_path)
    written = [IDS[0], f" {IDS[1][:6]} {IDS[1][6:]}", f"'{ENDS_IN_X.lower()}"]
    rows = "\n".join(f"{one},{year},1" for one in written for year in (2019, 2020))
    farms = csv(tmp_path, [])
    farms.write_text(f"farm,year,y\n{rows}\n", encoding="utf-8")
    loans = farms.with_name("loans.csv")
    loans.write_text(
        f"证件号码,贷款日期,贷款金额(元)\n{IDS[0]},20190301,5\n{ENDS_IN_X},20200301,7\n{IDS[1]},20190401,6\n",
        encoding="utf-8",
    )
    panel = assemble(
        Delimited(farms, pseudonymise=("farm",), key_file=key).load(),
        LoanLedger(loans, unit="证件号码", unit_as="farm", key_file=key).load(),
        unit="farm",
        time="year",
    )
    assert sorted(panel.frame["principal"]) == [0, 0, 0, 5, 6, 7]
    assert panel.frame["farm"].str.fullmatch("[0-9a-f]{32}").all()


def test_pseudonyms_of_numbers_codes_and_old_ids(tmp_path: Path) -> None:
    key = put_key(tmp_path)

    def ids(path: Path) -> list[Any]:
        table = Delimited(path, pseudonymise=("farm",), key_file=key).load()
        assert "replaced by pseudonyms in: farm" in table.provenance[0].notes
        return table.frame["farm"].tolist()

    long = [f"{one[:6]}19{one[6:]}" for one in OLD]
    assert ids(csv(tmp_path, OLD)) == ids(csv(tmp_path, [one + citizen_check(one) for one in long]))
    assert ids(parquet(tmp_path, [int(one) for one in OLD])) == ids(csv(tmp_path, OLD))
    mixed = ids(csv(tmp_path, [*CODES, ENDS_IN_X.lower()]))
    assert mixed == [*ids(csv(tmp_path, CODES)), *ids(csv(tmp_path, [ENDS_IN_X]))]
    codes = ids(csv(tmp_path, ["0101", "101", "a1", "A1", ""]))
    assert len(set(codes[:4])) == 4
    assert codes[4] is None or pd.isna(codes[4])


def test_ids_that_cannot_be_right_get_no_pseudonym(tmp_path: Path) -> None:
    key = put_key(tmp_path)
    wrong = IDS[3][:17] + str((int(IDS[3][17].replace("X", "0")) + 1) % 10)
    error = refused(Delimited(csv(tmp_path, [*IDS[:3], wrong]), pseudonymise=("farm",), key_file=key))
    assert "GB 11643" in error.what
    assert "row 5, column 'farm'" in error.where
    error = refused(Delimited(csv(tmp_path, ["6.5990E+17", "x"]), pseudonymise=("farm",), key_file=key))
    assert "turned into a number" in error.what


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"pseudonymise": ("farm",)}, "'farm' identifies persons or firms, and there is no key"),
        ({"pseudonymise": ("fram",), "key_file": "k"}, "pseudonymise= names column 'fram'"),
        ({"pseudonymise": "farm", "key_file": "k"}, "pseudonymise= is one word"),
        ({"key_file": "k"}, "no column to use it for"),
    ],
)
def test_settings_that_do_not_fit(tmp_path: Path, options: dict[str, Any], what: str) -> None:
    with pytest.raises(SourceError) as caught:
        Delimited(csv(tmp_path, IDS), **options).load()
    assert what in caught.value.what


def test_a_study_names_the_columns_and_the_key(tmp_path: Path) -> None:
    put_key(tmp_path)
    csv(tmp_path, IDS)
    (tmp_path / "study.toml").write_text(
        '[[source]]\nname="farms"\nkind="Delimited"\npath="data/farms.csv"\npseudonymise=["farm"]\nkey_file="study.key"\n'
        '[panel]\nsources=["farms"]\nunit="farm"\ntime="year"\n[design]\noutcome="y"\nadoption="a"\nassigned_at="farm"\n'
        '[[estimate]]\nname="main"\nestimator={kind="TwoWayFE"}\n',
        encoding="utf-8",
    )
    assert not set(read_study(tmp_path).sources["farms"].load().frame["farm"]) & set(IDS)


@pytest.mark.parametrize(
    "key", ["0" * 16, "a" * 40, "0123456789abcdef", "5f" * 32, "passwordpassword", "our secret password", "changji2022farms",
            "deadbeefcafebabe", "qwertyuiopasdfgh", "Password12345678", "昌吉州农户调查的密钥"],
)  # fmt: skip
def test_keys_that_can_be_guessed_are_refused(tmp_path: Path, key: str) -> None:
    error = refused(Delimited(csv(tmp_path, IDS), pseudonymise=("farm",), key_file=put_key(tmp_path, key)))
    assert "the key can be guessed" in error.what
    assert "secrets.token_hex(32)" in error.remedy
    assert key not in str(error)


def test_drawn_keys_are_taken(tmp_path: Path) -> None:
    for i in range(100):
        digest = hashlib.sha256(str(i).encode()).hexdigest()
        for key in (digest, digest[:32]):
            assert read_key(put_key(tmp_path, key), tmp_path / "data" / "farms.csv", "farm") == key.encode()
