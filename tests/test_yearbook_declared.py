"""Yearbook: a declared layout in place of the heuristics, and values converted into one unit."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from evalkit.errors import DataError
from evalkit.sources import Yearbook
from test_yearbook import EXPORT, INCOME
from yearbook_files import Rows, book, edited, load, notes, put, read, refused, says, unplaced

pytestmark = pytest.mark.filterwarnings("error")

AWKWARD: Rows = [  # years in two digits, a group above one of its columns, words among the numbers, a sum beside
    ["农业投入情况"],
    [None, "化肥施用量", None, "农药"],
    ["县", "18", "19", "19"],
    ["昌 吉 市", 1, 2, "3", "良"],
    ["小计"],
    ["木垒县", 4, "…", 6, "优"],
    [None, None, None, None, 99],
    ["县", "棉花"],
    ["昌吉市", 7],
]
LAYOUT = """
[[table]]
sheet = "s"
first = 4
last = 6
region = "A"
unit = "吨"

[table.columns]
B = { indicator = "化肥施用量", year = 2018 }
C = { indicator = "化肥施用量", year = 2019, unit = "万吨" }
D = { indicator = "农药", year = 2019 }

[[table]]
sheet = "s"
header = [8, 8]
first = 9
last = 9
region = "A"
year = 2019
unit = "吨"
"""


def layout(folder: Path, text: str) -> Path:
    path = folder / "awkward.layout.toml"
    path.write_text(text, "utf-8")
    return path


def test_a_declared_layout_is_read_as_it_says(tmp_path: Path) -> None:
    path = book(tmp_path, s=AWKWARD, t=INCOME)
    error = refused(path)
    says(error, "no year is found", "年鉴.xlsx", "year=…")
    assert "for the numbers from s!B3 on; no unit is found" in error.what
    assert 'units={"化肥施用量": "…", "农药": "…"}' in error.remedy
    options = {"layout": layout(tmp_path, LAYOUT)}
    frame = load(path, **options)
    by_hand = [
        ("昌吉市", 2018, "化肥施用量", 1, "吨", "", "B4"),
        ("昌吉市", 2019, "化肥施用量", 2, "万吨", "", "C4"),
        ("昌吉市", 2019, "农药", 3, "吨", "", "D4"),
        ("木垒县", 2018, "化肥施用量", 4, "吨", "", "B6"),
        ("木垒县", 2019, "化肥施用量", -1, "万吨", "below_unit", "C6"),
        ("木垒县", 2019, "农药", 6, "吨", "", "D6"),
        ("昌吉市", 2019, "棉花", 7, "吨", "", "B9"),
    ]
    wanted = frame[["region", "year", "indicator", "value", "unit", "mark", "cell"]].fillna({"value": -1})
    assert list(wanted.itertuples(index=False, name=None))[:7] == by_hand
    assert set(frame["sheet"].iloc[7:]) == {"t"}  # sheets that it does not name are read as ever
    assert len(frame) == 13
    said = notes(path, **options)
    assert "laid out by awkward.layout.toml (sha256 " in said
    assert "s!A5: 小计" in said
    assert load(path, layout="awkward.layout.toml").equals(frame)  # beside the yearbook
    listed = unplaced(path, **options)
    assert listed == dict.fromkeys(("B3", "C3", "D3", "E7"), "it stands in no table that is understood")
    headed = LAYOUT.replace("first = 4", "header = [2, 3]\nfirst = 4", 1)
    assert set(unplaced(path, layout=layout(tmp_path, headed))) == {"E7"}


def test_a_header_that_is_declared_says_what_the_columns_do_not(tmp_path: Path) -> None:
    rows: Rows = [["x"], ["地区", "化肥(吨)", "农药(公斤)", "注"], ["昌吉市", 1, 2, "好"], ["木垒县", 3, 4, "坏"]]
    path = book(tmp_path, s=rows)
    toml = '[[table]]\nsheet = "s"\nheader = [2, 2]\nfirst = 3\nlast = 4\nregion = "A"\nyear = 2019\n'
    toml += '[table.columns]\nB = {}\nC = {unit = "吨"}\n'
    frame = load(path, layout=layout(tmp_path, toml))
    assert frame["indicator"].tolist() == ["化肥", "农药"] * 2
    assert frame["unit"].tolist() == ["吨"] * 4
    toml = toml.replace("C =", "D =")
    why = "it is neither a number nor a mark in place of one"
    assert unplaced(path, layout=layout(tmp_path, toml)) == {"D3": why, "D4": why}
    assert read(path, layout=layout(tmp_path, toml)) == {"B3": 1, "D3": "unread", "B4": 3, "D4": "unread"}
    path = book(tmp_path, s=edited(rows, D3=5, D4=6))
    assert "columns C are left out by the layout" in notes(path, layout=layout(tmp_path, toml))
    assert not unplaced(path, layout=layout(tmp_path, toml))  # what is left out on purpose is no doubt


@pytest.mark.parametrize(
    ("rows", "toml", "expected"),
    [
        (
            [["x"], [2018, 1, 2], [2019, 3, 4]],
            'first = 2\nlast = 3\nyear = "A"\nregion = "昌吉州"\nunit = "吨"\n[table.columns]\n'
            'B = { indicator = "化肥" }\nC = { indicator = "农药", region = "木垒县" }\n',
            [
                ("昌吉州", 2018, "化肥", 1),
                ("木垒县", 2018, "农药", 2),
                ("昌吉州", 2019, "化肥", 3),
                ("木垒县", 2019, "农药", 4),
            ],
        ),
        (
            [["化肥", "吨", 1], ["#氮肥", "吨", 2]],
            'first = 1\nlast = 2\nindicator = "A"\nunit = "B"\nregion = "昌吉州"\nyear = 2019\n[table.columns]\nC = {}\n',
            [("昌吉州", 2019, "化肥", 1), ("昌吉州", 2019, "化肥 / 氮肥", 2)],
        ),
        (
            [["昌吉市", 652301, 2018, 1], ["昌吉市", 652301, 2019, 2]],
            'first = 1\nlast = 2\nregion = "A"\ncode = "B"\nyear = "C"\nindicator = "化肥"\nunit = "吨"\n'
            "[table.columns]\nD = {}\n",
            [("昌吉市", 2018, "化肥", 1), ("昌吉市", 2019, "化肥", 2)],
        ),
    ],
)
def test_what_stands_beside_the_rows_is_declared(
    tmp_path: Path, rows: Rows, toml: str, expected: list[tuple[str, int, str, float]]
) -> None:
    frame = load(book(tmp_path, s=rows), layout=layout(tmp_path, f'[[table]]\nsheet = "s"\n{toml}'))
    assert list(frame[["region", "year", "indicator", "value"]].itertuples(index=False, name=None)) == expected
    assert set(frame["unit"]) == {"吨"}


def test_text_has_no_sheet_and_its_fields_are_columns(tmp_path: Path) -> None:
    path = put(tmp_path, EXPORT)
    toml = '[[table]]\nheader = [4, 4]\nfirst = 5\nlast = 6\nregion = "A"\n[table.columns]\nB = {}\nD = {}\n'
    frame = load(path, layout=layout(tmp_path, toml))
    assert frame["cell"].tolist() == ["B5", "D5", "B6", "D6"]
    assert set(frame["indicator"]) == {"地区生产总值"}
    error = refused(path, layout=layout(tmp_path, toml.replace("header", 'sheet = "s"\nheader')))
    says(error, "the table is on sheet 's', which is not read", "table 1", "leave sheet out")


TABLE = '[[table]]\nsheet = "s"\nfirst = 4\nlast = 6\nregion = "A"\n'
COLUMN = '[table.columns]\nB = { indicator = "x", unit = "吨", year = 2018 }\n'


@pytest.mark.parametrize(
    ("toml", "what", "remedy"),
    [
        ("", "holds no list of tables", "[[table]]"),
        ("table = 1", "holds no list of tables", "[[table]]"),
        ("[[table]", "not valid TOML", "correct that line"),
        ("[[table]]", "'first' is missing", "first = 5"),
        (TABLE + "frist = 1", "the key 'frist' is unknown", "did you mean 'first'"),
        (TABLE + "header = 3", "the value of 'header' cannot be 3", "header = [3, 4]"),
        (TABLE + "header = [5, 5]\n", "do not follow one another", "from top to bottom"),
        (TABLE.replace("6", "3") + COLUMN, "do not follow one another", "from top to bottom"),
        (TABLE.replace("4", "true") + COLUMN, "the value of 'first' cannot be True", "first = 5"),
        (TABLE.replace('"A"', '"昌吉州"') + COLUMN, "no column holds the names of the rows", 'region = "A"'),
        (TABLE + 'indicator = "B"\n' + COLUMN, "or two do", 'indicator = "A"'),
        (TABLE, "neither header nor columns say", "[table.columns]"),
        (TABLE.replace('"s"', "7") + COLUMN, "the value of 'sheet' cannot be 7", "in quotes"),
        (TABLE.replace('"s"', '"S1"') + COLUMN, "the table is on sheet 'S1', which is not read", "did you mean 's'"),
        (TABLE.replace('sheet = "s"', "") + COLUMN, "the table names no sheet", "known are: s"),
        (TABLE + 'code = "x"\n' + COLUMN, "the value of 'code' cannot be 'x'", 'code = "B"'),
        (TABLE + COLUMN.replace("2018", '"2018"'), "the value of 'year' cannot be '2018'", "year = 2019"),
        (TABLE + COLUMN.replace('"x"', '""'), "the value of 'indicator' cannot be ''", "in quotes"),
        (TABLE + COLUMN.replace("year", "jahr"), "the key 'columns.B.jahr' is unknown", "did you mean 'year'"),
        (TABLE + COLUMN.replace("B =", "b2 ="), "the value of 'columns' cannot be", "[table.columns]"),
        (TABLE + COLUMN.replace("B =", "Z ="), "column Z holds nothing in rows 4 to 6", "counted as Excel shows them"),
    ],
)  # fmt: skip
def test_wrong_layouts_are_refused_by_key(tmp_path: Path, toml: str, what: str, remedy: str) -> None:
    path = book(tmp_path, s=AWKWARD)
    says(refused(path, layout=layout(tmp_path, toml)), what, "awkward.layout.toml", remedy)


def test_a_layout_of_years_names_their_region(tmp_path: Path) -> None:
    path = book(tmp_path, s=[["x"], [2018, 1], [2019, 3]])
    toml = '[[table]]\nsheet = "s"\nfirst = 2\nlast = 3\nyear = "A"\n' + COLUMN.replace(", year = 2018", "")
    says(refused(path, layout=layout(tmp_path, toml)), "no region is named", "年鉴.xlsx", 'region="…"')
    frame = load(path, layout=layout(tmp_path, toml), region="昌吉州")
    assert list(zip(frame["region"], frame["year"], frame["value"], strict=True)) == [
        ("昌吉州", 2018, 1),
        ("昌吉州", 2019, 3),
    ]
    toml = TABLE.replace("region", "year") + COLUMN.replace(", year = 2018", "")
    error = refused(book(tmp_path, s=AWKWARD), layout=layout(tmp_path, toml))
    says(error, "'昌 吉 市' stands instead of a year: s!B4 '1'", "年鉴.xlsx", 'layout="…"')


def test_a_layout_that_is_not_there(tmp_path: Path) -> None:
    says(refused(book(tmp_path, s=AWKWARD), layout="no.toml"), "cannot be read", "no.toml", "check its path")
    path = layout(tmp_path, TABLE)
    path.write_bytes(TABLE.replace("A", "昌").encode("gb18030"))
    says(refused(book(tmp_path, s=AWKWARD), layout=path), "not valid TOML", "awkward.layout.toml", "UTF-8")


# --- units ---

VOLUMES: dict[str, Rows] = {
    "2021": [
        ["5-3 各地区农药使用量"],
        ["单位：吨"],
        ["地区", "2020年"],
        ["甲省", 2149],
        ["乙省", 70_500],
        ["丙省", "…"],
    ],
    "2022": [
        ["5-3 各地区农药使用量"],
        ["单位：万吨"],
        ["地区", "2021年"],
        ["甲省", 0.23],
        ["乙省", 7.07],
        ["丙省", "…"],
    ],
}


def test_volumes_in_different_units_become_one_column(tmp_path: Path) -> None:
    path = book(tmp_path, **VOLUMES)
    wanted = {"columns": {"pesticide": "农药使用量"}}
    says(
        refused(path, **wanted), "in 吨 in 2021!B4 and in 万吨 in 2022!B4", "年鉴.xlsx", 'convert={"农药使用量": "吨"}'
    )
    table = Yearbook(path, convert={"农药使用量": "吨"}, **wanted).load()  # type: ignore[arg-type]
    assert table.units == {"pesticide": "吨"}
    assert table.frame["pesticide"].tolist()[:4] == [2149, 2300, 70_500, 70_700]
    said = table.provenance[0].notes
    assert "(吨) from sheet '2021'" in said
    assert "(吨, published in 万吨) from sheet '2022'" in said


def test_the_published_value_and_unit_stand_beside_the_converted_one(tmp_path: Path) -> None:
    frame = load(book(tmp_path, **VOLUMES), convert={"农药 使用量": " 万吨 "})
    assert frame["value"].tolist()[:2] == [0.2149, 7.05]
    assert frame["published_value"].tolist()[:2] == [2149, 70_500]
    assert frame["published_unit"].tolist() == ["吨"] * 3 + ["万吨"] * 3
    assert set(frame["unit"]) == {"万吨"}
    assert frame["mark"].tolist() == ["", "", "below_unit"] * 2
    assert frame["value"].isna().tolist() == [False, False, True] * 2


@pytest.mark.parametrize(
    ("published", "unit", "to", "factor"),
    [
        ("0.07", "万吨", "吨", Fraction(10_000)),  # 0.07 * 10_000 is 700.0000000000001
        ("1.1", "千公顷", "公顷", Fraction(1_000)),
        ("7", "亩", "公顷", Fraction(1, 15)),
        ("17.3", "万亩", "公顷", Fraction(10_000, 15)),
        ("8.21", "亿元", "元", Fraction(10**8)),
        ("4.35", "万元", "元", Fraction(10_000)),
        ("2.3", "万立方米", "立方米", Fraction(10_000)),
        ("57.9", "公斤/亩", "吨/公顷", Fraction(15, 1_000)),
    ],
)
def test_conversions_are_exact_in_the_decimals_that_are_printed(
    tmp_path: Path, published: str, unit: str, to: str, factor: Fraction
) -> None:
    rows: Rows = [
        ["5-3 2019年投入"],
        ["地区", f"数量({unit})", "其他(吨)"],
        ["昌吉市", published, 1],
        ["木垒县", float(published), 1],
    ]
    frame = load(book(tmp_path, s=rows), convert={"数量": to})
    assert frame["value"].tolist()[::2] == [float(Fraction(published) * factor)] * 2


def test_conversions_that_cannot_be_are_refused(tmp_path: Path) -> None:
    path = book(tmp_path, s=INCOME)
    with pytest.raises(DataError, match="measures money, which cannot be expressed in '吨'") as caught:
        load(path, convert={"农村居民人均可支配收入": "吨"})
    assert caught.value.where.endswith("s!C4")
    error = refused(path, convert={"农村居民收入": "万元"})
    says(error, "convert= names indicator '农村居民收入'", "年鉴.xlsx", "did you mean '农村居民人均可支配收入'")


def test_a_unit_that_is_given_can_be_converted(tmp_path: Path) -> None:
    path = book(tmp_path, s=edited(INCOME, D2=None))
    frame = load(path, units={"农村居民人均可支配收入": "元"}, convert={"农村居民人均可支配收入": "万元"})
    assert frame["value"].tolist()[:2] == [1.8, 1.95005]
    assert frame["published_unit"].tolist()[:2] == ["元"] * 2
