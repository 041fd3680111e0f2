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

import numpy as np
import openpyxl
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalkit.errors import SourceError
from evalkit.panels.assembly import assemble
from evalkit.regions.registry import gazetteer
from evalkit.sources import Delimited, LoanLedger
from evalkit.sources.persons import (
    JudgedUnit,
    Shorn,
    citizen_check,
    find_persons,
    judge_unit,
    read_key,
    shorn_of_zeros,
)
from evalkit.sources.persons.forms import Texts
from evalkit.sources.persons.numbers import is_date
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


def test_emails_and_landlines_are_refused(tmp_path: Path) -> None:
    emails = [f"{name}@example.org" for name in "abcd"]
    error = refused(Delimited(csv(tmp_path, [*emails, "-", "-"])))
    assert "e-mail addresses" in error.what
    assert "rows 2-5" in error.where
    assert "example" not in str(error).replace("@example", "")
    assert len(Delimited(csv(tmp_path, [*emails, *CODES])).load().frame) == 10  # not more than half
    mixed = [*PHONES[:2], "0991-1234567", "(0994)2345678", "0102-1", "x"]
    assert "telephone numbers" in refused(Delimited(csv(tmp_path, mixed, "联系电话"))).what
    assert len(Delimited(csv(tmp_path, mixed, "code")).load().frame) == 6
    assert len(Delimited(csv(tmp_path, ["1234.5", "98.76", "23456789"], "移动电话用户")).load().frame) == 3


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


# --- the unit of a table ---

VILLAGES = [f"652301{town}{village:03d}" for town in (100, 101, 200, 201) for village in range(25)]
OF_PLACE = [f"65230119{year}0{month}15{year}3" for year, month in ((45, 1), (52, 2), (67, 3), (71, 4), (88, 5))]
LANDLINES = ["0991-1234567", "(0994)2345678", "0994 2345678 转 12", "+86 199 0000 0002", "+49 30 1234567"]


def fails(number: str) -> str:
    return number + "0123456789X"[("0123456789X".index(citizen_check(number)) + 3) % 11]


MISTYPED = [fails(one) for one in OF_PLACE]
PERSONS: dict[str, tuple[list[str], str]] = {
    "ids": (IDS, "citizen ids"),
    "ids in texts": ([f"户主({one})" for one in IDS], "citizen ids"),
    "old ids": (OLD, "citizen ids of 15 digits"),
    "a wrong check digit": (MISTYPED, "damaged or mistyped citizen ids"),
    "17 digits": (OF_PLACE, "damaged or mistyped citizen ids"),
    "masked": (["6599****1234", "659900********1234", "6599XXXXXXXXXX0012"], "damaged or mistyped citizen ids"),
    "floats": (["6.59901E+17", "6.599E+17"], "damaged or mistyped citizen ids"),
    "cards": (CARDS, "numbers of bank cards"),
    "spaced cards": ([f"{one[:4]} {one[4:8]} {one[8:12]} {one[12:]}" for one in CARDS], "numbers of bank cards"),
    "long accounts": (["7000000000000001", "70000000000000023"], "numbers of bank cards"),
    "mobiles": (PHONES, "telephone numbers"),
    "mobiles in parts": (["199 0000 0001", "199-0000-0002", "+8619900000003", "0086 199 0000 0004"], "telephone numbers"),
    "landlines": (LANDLINES, "telephone numbers"),
    "telephones of all kinds": ([*PHONES, *LANDLINES, "22345678"], "telephone numbers"),
    "e-mail": (["a@example.org", "b.c@mail.example.org"], "e-mail addresses"),
    "two names": (["甘拟名", "柳虚构"], "names of persons"),
    "names": (["张拟", "欧阳虚构", "司马 拟", "李 拟", "王虚构(户主)", "陳擬"], "names of persons"),
    "names with a dot": (["虚构·拟名", "拟名•虚构", "合成・拟名", "虚拟．合成"], "names of persons"),
    "Latin names": (["Anna Musterfrau", "Max Beispiel", "BEISPIEL, MAX", "J. Müster", "O'Beispiel, P.", "Zoë van Müster"],
                    "names of persons"),
    "addresses": (["虚构市拟名路12号", "拟名县虚构镇合成村3组15号", "虚构小区3栋501室"], "addresses"),
    "Latin addresses": (["12 Main Street", "Rue de l'Exemple 4", "P.O. Box 12", "Musterstraße 5"], "addresses"),
    "some of each": ([IDS[0], *PHONES[:2], "甘拟名"], "citizen ids"),
}  # fmt: skip


@pytest.mark.parametrize("case", PERSONS)
def test_persons_are_seen_under_any_header(case: str) -> None:
    values, kind = PERSONS[case]
    for header in ("", "unit", "编号"):
        judged = judge_unit(values, header)
        assert judged is not None
        assert judged.kind == kind


@pytest.mark.parametrize(
    ("case", "header"),
    [("ids", "unit"), ("cards", "unit"), ("e-mail", "unit"), ("telephones of all kinds", "unit"), ("two names", "户主"),
     ("Latin names", "Borrower"), ("names", "客户名称"), ("mobiles", "手机"), ("landlines", "phone"), ("addresses", "住址"),
     ("a wrong check digit", "身份证号"), ("masked", "ID card"), ("names with a dot", "farmer_name")],
)  # fmt: skip
def test_certain(case: str, header: str) -> None:
    judged = judge_unit(PERSONS[case][0], header)
    assert judged is not None
    assert judged.certain


@pytest.mark.parametrize(
    "case", ["two names", "Latin names", "addresses", "long accounts", "a wrong check digit", "masked"]
)
def test_suspected(case: str) -> None:
    values, kind = PERSONS[case]
    assert judge_unit(values, "unit") == JudgedUnit(kind, certain=False)


def test_numbers_of_cards_are_certain_by_their_check_digit_and_header() -> None:
    assert judge_unit(["6200000000000000000", "6200000000000000018"], "还款卡号") == JudgedUnit(
        "numbers of bank cards", True
    )
    assert judge_unit(["6200000000000000001", "6200000000000000019"], "还款卡号") == JudgedUnit(
        "numbers of bank cards", False
    )


@pytest.mark.parametrize(
    ("few", "kind"),
    [(PHONES[:5], "telephone numbers"), (LANDLINES[:3], "telephone numbers"), (IDS[:3], "citizen ids"), (IDS[:1], "citizen ids"),
     (MISTYPED[:2], "damaged or mistyped citizen ids"), (["6599****1234"], "damaged or mistyped citizen ids"),
     (["x@example.org"], "e-mail addresses"), (CARDS[:3], "numbers of bank cards"),
     (["甘拟名", "柳虚构", "张拟", "李合成", "王虚"], "names of persons"),
     (["虚构市拟名路12号", "虚构市拟名路3号", "虚构市合成街4号"], "addresses")],
)  # fmt: skip
def test_a_few_persons_among_codes_are_seen(few: list[str], kind: str) -> None:
    assert judge_unit(VILLAGES, "village") is None
    for header in ("", "unit", "编号"):
        judged = judge_unit([*VILLAGES, *few], header)
        assert judged is not None
        assert judged.kind == kind
    many = [f"652301{i:06d}" for i in range(100_000)]
    judged = judge_unit(
        pa.chunked_array([many[:70_000], few, many[70_000:]]), "unit"
    )  # the n-th of which need not be one
    assert judged is not None
    assert judged.kind == kind


UNITS: dict[str, list[str]] = {
    "provinces": ["江苏", "安徽", "云南", "江苏省", "宁夏回族自治区"],
    "a province": ["云南"],
    "counties": ["石河子", "和田", "安宁", "石河子市", "昌吉州", "阿克苏"],
    "villages": ["王庄", "李家村", "张家沟", "马场", "石桥镇", "高家湾", "黄河乡", "柳树屯", "安宁渠镇"],
    "groups": ["红旗村1组", "红旗村2组", "建国一队", "三连", "六团"],
    "firms": ["金虚构公司", "张拟合作社", "拟名农场", "江南银行", "石桥支行", "石桥信用社", "华虚厂"],
    "states": ["NY", "CA", "TX", "AL"],
    "names of states": ["New York", "California", "North Dakota", "Texas", "Rhode Island", "Ohio"],
    "countries": ["South Africa", "Germany", "New Zealand", "Costa Rica", "France"],
    "Chinese countries": ["安哥拉", "巴西", "韩国", "德国", "古巴"],
    "pinyin": ["Changji Shi", "Manas Xian", "Qitai"],
    "letters": ["F1", "A0012", "B0013"],
    "households": ["农户0001", "农户0002", "农户0003"],
    "codes": [f"C{i:04d}" for i in range(60)],
    "villages by code": VILLAGES,
    "counties by code": ["652301", "652302", "652323", "652324"],
    "towns by code": ["652301100", "652301101", "652301200"],
    "years": [str(year) for year in range(2000, 2024)],
    "1 to n": [str(i) for i in range(1, 500)],
    "1 to n, padded": [f"{i:012d}" for i in range(1, 500)],
    "decimals": ["1.5", "0.25", "1234567.5"],
    "contracts by day": [f"19{month:02d}{day:02d}00{day}12" for month in (1, 7, 11) for day in range(10, 29)],
    "contracts": [f"20190301{i:05d}" for i in range(50)],
    "crops": "小麦 玉米 棉花 水稻 高粱 大豆 花生 马铃薯".split(),
    "industries": "农业 林业 牧业 渔业 采矿业 制造业 建筑业".split(),
    "totals": ["合计", "其他"],
    "nothing": [],
}


@pytest.mark.parametrize("case", UNITS)
@pytest.mark.parametrize("header", ["unit", "借款人", "户主", "name", "县", "账号"])
def test_units_that_are_nobody(case: str, header: str) -> None:
    assert judge_unit(UNITS[case], header) is None


def test_codes_of_households_are_nobody() -> None:
    DRAW.seed(3)
    for size in (3, 5, 30, 300):
        for _ in range(10):
            assert judge_unit([household() for _ in range(size)], "household") is None


def test_no_region_is_a_person() -> None:
    """All names of regions in one column, and ten at a time under a header that speaks of persons."""
    names = sorted(gazetteer().by_name)
    assert judge_unit(names, "unit") is None
    for start in range(0, len(names), 500):
        assert judge_unit(names[start : start + 10], "户主") is None


@settings(max_examples=40, deadline=None)
@given(
    st.sets(st.text("0123456789", min_size=1, max_size=10), min_size=1, max_size=40),
    st.sampled_from(["", "unit", "借款人", "账号", "id"]),
)
def test_up_to_ten_digits_are_nobody(values: set[str], header: str) -> None:
    assert judge_unit(sorted(values), header) is None


def test_a_large_column_is_judged_as_a_small_one() -> None:
    """Of 50,000 values, a third is looked at; strings, large strings, chunks, slices and lists are the same column."""
    DRAW.seed(5)
    for draw in (citizen, lambda: f"199{digits(8)}", lambda: f"红旗{digits(6)}村"):
        values = [draw() for _ in range(50_000)]
        small = judge_unit(values[:300], "unit")
        array = pa.array(values, pa.string())
        for large in (
            values,
            array,
            array[1:],
            array.cast(pa.large_string()),
            pa.chunked_array([array[:9], array[9:]]),
        ):
            assert judge_unit(large, "unit") == small


def test_masks_agree_with_the_rules_for_single_numbers() -> None:
    """Days and check digits in whole columns, against those that work number by number."""
    DRAW.seed(7)
    numbers = [digits(18) for _ in range(200)] + IDS + [loan_number() for _ in range(200)]
    numbers += [
        f"652301{year}{day}0016"
        for year in (1899, 1900, 2000, 2023, 2024)
        for day in ("0228", "0229", "0230", "1331", "0400")
    ]
    ids = Texts(pa.array(numbers, pa.large_string())).ids
    assert ids.shaped.all()
    assert ids.dated.tolist() == [is_date(one[6:14]) for one in numbers]
    assert ids.valid.tolist() == [is_date(one[6:14]) and citizen_check(one) == one[17] for one in numbers]
    firms = ["91350100M000100Y43", "91350100M000100Y44"]  # the example of GB 32100-2015, and a misprint of it
    assert Texts(pa.array(firms, pa.large_string())).firms.tolist() == [True, False]


# --- leading zeros ---


def test_the_same_code_with_and_without_its_zeros() -> None:
    assert shorn_of_zeros(["0101", "x", "101", "102", "00101", "0", "000", "A01", "A1"]).pairs == (
        (0, 2),
        (0, 4),
        (5, 6),
    )
    assert not shorn_of_zeros(["0101", "102", "A", "0.5", ".5"])
    assert not shorn_of_zeros([])


def test_pairs_are_those_of_a_search_through_all() -> None:
    draw = random.Random(3)
    values = sorted({f"{draw.randrange(300):0{draw.randrange(1, 6)}d}" for _ in range(400)}, key=lambda one: one[::-1])
    first: dict[int, int] = {}
    wanted: set[tuple[int, int]] = set()
    for i, value in enumerate(values):
        other = first.setdefault(int(value), i)
        wanted |= {(other, i)} if other != i else set()
    assert set(shorn_of_zeros(values).pairs) == wanted
    assert set(shorn_of_zeros(pa.chunked_array([values[:50], values[50:]])).pairs) == wanted


def test_codes_that_lost_zeros_are_counted() -> None:
    rng = np.random.default_rng(1)
    drawn = np.unique(rng.integers(0, 10**8, 3000))
    codes = [str(one) for one in drawn]
    assert shorn_of_zeros(codes) == Shorn((), int((drawn < 10**7).sum()), 8)
    assert not shorn_of_zeros([f"{one:08d}" for one in drawn])
    assert not shorn_of_zeros([str(one) for one in range(1, 100_000)])  # counted
    assert not shorn_of_zeros([f"{one}" for one in drawn % 10_000])  # four digits
    assert not shorn_of_zeros([*codes, "A"])
    assert not shorn_of_zeros([*VILLAGES, "652301", "652302"])  # codes of counties among those of villages
