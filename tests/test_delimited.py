"""Delimited: what each kind of file is read as, and every refusal with its what, where and remedy."""

from __future__ import annotations

import datetime as dt
import gzip
import hashlib
import io
import math
import struct
import zipfile
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import pandas as pd
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from evalkit.errors import EvalkitError, SourceError
from evalkit.sources import Delimited
from evalkit.sources.files import bytes as file_bytes
from evalkit.sources.files import sheet
from evalkit.sources.files.cells import column_letters, column_number, tell_format
from evalkit.sources.files.columns import write_number, write_runs
from evalkit.tables.table import Table
from sampling import inputs

pytestmark = pytest.mark.filterwarnings("error")


def put(folder: Path, content: str | bytes, name: str = "data.csv", encoding: str = "utf-8") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
    return path


def load(path: Path, **options: Any) -> pd.DataFrame:
    return Delimited(path, **options).load().frame


def refused(path: Path | str, **options: Any) -> SourceError:
    with pytest.raises(SourceError) as caught:
        Delimited(path, **options).load()
    return caught.value


def says(error: SourceError, what: str, where: str, remedy: str) -> None:
    assert what in error.what
    assert where in error.where
    assert remedy in error.remedy


# --- the table ---


def test_a_plain_file_becomes_a_table_with_rows_units_and_provenance(tmp_path: Path) -> None:
    path = put(tmp_path, "county,year,y\n木垒县,2011,1.5\n奇台县,2012,\n")
    table = Delimited(path, units={"y": "t"}).load()
    assert table.name == "data.csv"
    assert table.frame.index.tolist() == [2, 3]
    assert table.frame.index.name == "row"
    assert table.frame["county"].tolist() == ["木垒县", "奇台县"]
    assert table.frame["year"].dtype == np.int64
    assert table.frame["y"].dtype == np.float64
    assert math.isnan(table.frame["y"].loc[3])
    assert table.units == {"y": "t"}
    (provenance,) = table.provenance
    assert provenance.path == path.as_posix()
    assert provenance.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert not provenance.synthetic
    assert provenance.notes == ""


def test_paths_may_hold_chinese_and_spaces_and_be_text(tmp_path: Path) -> None:
    folder = tmp_path / "昌吉州 数据"
    folder.mkdir()
    path = put(folder, "a,b\n1,2\n", "农药 使用量.csv")
    assert Delimited(str(path)).load().name == "农药 使用量.csv"


def test_a_source_is_a_value() -> None:
    first, second = Delimited("a.csv", text=("id",)), Delimited("a.csv", text=["id"])  # type: ignore[arg-type]
    assert first == second
    assert hash(first) == hash(second)
    with pytest.raises(SourceError, match=r'text=\("id",\)'):
        Delimited("a.csv", text="id")  # type: ignore[arg-type]


# --- text: encoding, separators, rows ---

CHINESE = "县,年,数\n木垒县,2011,1\n新疆,2012,2\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "utf-16"])
def test_encodings(tmp_path: Path, encoding: str) -> None:
    table = Delimited(put(tmp_path, CHINESE, encoding=encoding)).load()
    assert list(table.frame.columns) == ["县", "年", "数"]
    assert table.frame["县"].tolist() == ["木垒县", "新疆"]
    assert ("GB18030" in table.provenance[0].notes) == (encoding == "gb18030")


def test_utf_16_big_endian(tmp_path: Path) -> None:
    assert load(put(tmp_path, b"\xfe\xff" + CHINESE.encode("utf-16-be")))["县"].tolist() == ["木垒县", "新疆"]


def test_bytes_that_are_no_text_are_named(tmp_path: Path) -> None:
    says(refused(put(tmp_path, b"a,b\n1,\xff\n")), "byte 7 is not text in GB18030", "line 2", "CSV UTF-8")
    odd = b"\xff\xfe" + "上,b\n上,2".encode("utf-16-le") + b"\x31"
    says(refused(put(tmp_path, odd)), "UTF-16", "line 2", "CSV UTF-8")


def test_utf_8_with_a_wrong_byte_is_not_read_as_gb18030(tmp_path: Path) -> None:
    damaged = CHINESE.encode().replace("新".encode(), "新".encode()[:2])
    says(refused(put(tmp_path, damaged)), "not text in UTF-8", "line 3", "correct that line")


def test_nul_and_web_pages_without_data_are_refused(tmp_path: Path) -> None:
    says(refused(put(tmp_path, b"a,b\n1,\0\n")), "NUL", "line 2", "CSV UTF-8")
    says(refused(put(tmp_path, "\n <table><tr><td>1</td></tr></table>", "t.xls")), "no data rows", "t.xls", "again")
    says(refused(put(tmp_path, "<html>", encoding="utf-16")), "HTML", "data.csv", "save the table itself")


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_separators(tmp_path: Path, separator: str) -> None:
    rows = [["name", "x", "y"], ['"a,b;c|d\te"', "1", "2"], ['""""', "3", "4"]]
    frame = load(put(tmp_path, "\n".join(separator.join(row) for row in rows)))
    assert frame["name"].tolist() == ["a,b;c|d\te", '"']
    assert frame["y"].tolist() == [2, 4]


def test_decimal_commas_do_not_mislead_the_separator(tmp_path: Path) -> None:
    frame = load(put(tmp_path, "a;b\n1,5;2,5\n3,5;4,5\n"))
    assert frame["b"].tolist() == ["2,5", "4,5"]
    assert frame["b"].dtype == "str"


def test_two_possible_separators_are_refused(tmp_path: Path) -> None:
    says(refused(put(tmp_path, "a,b;c\n1,2;3\n")), "comma or the semicolon", "data.csv", "quotes")


def test_a_ragged_row_does_not_make_a_rarer_separator_win(tmp_path: Path) -> None:
    error = refused(put(tmp_path, "a,b|c,d\n1,2|3,4\n1,2|3,4\n1,2|3\n"))
    says(error, "2 fields and the header 3", "row 4", "quotes around")


def test_one_column(tmp_path: Path) -> None:
    frame = load(put(tmp_path, 'x\n1\n\n""\n3\n'))
    assert frame.index.tolist() == [2, 4, 5]
    assert frame["x"].iloc[[0, 2]].tolist() == [1.0, 3.0]
    assert math.isnan(frame["x"].loc[4])


@pytest.mark.parametrize(("rows", "line", "count"), [("1,2\n3", 3, "1 field"), ("1,2\n\n3,4,5", 4, "3 fields")])
def test_ragged_rows_are_refused(tmp_path: Path, rows: str, line: int, count: str) -> None:
    says(refused(put(tmp_path, f"a,b\n{rows}\n")), f"{count} and the header 2", f"row {line}", "delete titles above")


def test_a_title_above_the_header_is_refused(tmp_path: Path) -> None:
    error = refused(put(tmp_path, "表1 农药使用量\n地区,2011,2012\n新疆,1,2\n"))
    says(error, "3 fields and the header 1", "row 2", "pass header=2")


def test_row_numbers_are_those_of_the_file(tmp_path: Path) -> None:
    frame = load(put(tmp_path, '\r\n"a","b\nc"\r\n\r\n1,"x\r\ny"\r\n   \r\n2,z\r\n'))
    assert list(frame.columns) == ["a", "b\nc"]
    assert frame.index.tolist() == [5, 8]
    assert frame["b\nc"].tolist() == ["x\r\ny", "z"]


def test_rows_of_separators_only_are_left_out_and_noted(tmp_path: Path) -> None:
    table = Delimited(put(tmp_path, "a,b\n1,2\n,\n3,4\n,\n,\n")).load()
    assert table.frame.index.tolist() == [2, 4]
    assert "left out: 3, 5-6" in table.provenance[0].notes


@pytest.mark.parametrize("quoted", ['a,b\n1,"x\n2,y\n', 'a,b\n1,"x"y\n'])
def test_quotes_that_do_not_match(tmp_path: Path, quoted: str) -> None:
    says(refused(put(tmp_path, quoted)), "quotes do not match", "row 2", "close the quote")


def test_header_names_are_checked_by_position(tmp_path: Path) -> None:
    assert list(load(put(tmp_path, " a ,\ufeffb\n1,2\n")).columns) == ["a", "b"]
    says(refused(put(tmp_path, "a,,c\n1,2,3\n")), "column 2 has no name", "row 1", "delete the column")
    error = refused(put(tmp_path, "a,b,a \n1,2,3\n"))
    says(error, "column 1 and column 3 are both called 'a'", "row 1", "rename")


def test_the_row_number_that_pandas_writes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    pd.DataFrame({"a": [5, 6], "b": [7, 8]}).to_csv(path)
    says(refused(path), "row number that pandas writes", "data.csv", "index=False")


@pytest.mark.parametrize("content", ["a,b\n", "a,b", "a,b\n\n,\n"])
def test_a_header_alone_is_refused(tmp_path: Path, content: str) -> None:
    says(refused(put(tmp_path, content)), "no data rows", "data.csv", "export")


def test_blank_files_are_refused(tmp_path: Path) -> None:
    says(refused(put(tmp_path, b"")), "0 bytes", "data.csv", "again")
    says(refused(put(tmp_path, "\ufeff\n \n")), "nothing but blank lines", "data.csv", "export")


# --- values ---


def column(folder: Path, *values: str, **options: Any) -> pd.Series[Any]:
    quoted = "".join(f'"{value}"\n' for value in values)
    return load(put(folder, f"x\n{quoted}"), **options)["x"]


@pytest.mark.parametrize("word", ["", "NA", "N/A", "NaN", "nan", "null", "NULL", ".", " NA "])
def test_words_that_mean_missing(tmp_path: Path, word: str) -> None:
    assert column(tmp_path, "1", word).isna().tolist() == [False, True]
    assert column(tmp_path, "a", word).isna().tolist() == [False, True]
    assert column(tmp_path, "1", word, text=("x",)).isna().tolist() == [False, True]
    assert column(tmp_path, word, word).dtype == np.float64


@pytest.mark.parametrize(
    "word", ["…", "-", "None", "#N/A", "inf", "1,234.5", "1 000", "5%", "1_000", "0x1f", "10²", "½"]
)
def test_what_is_no_plain_number_stays_text(tmp_path: Path, word: str) -> None:
    values = column(tmp_path, "1", word, "2")
    assert values.dtype == "str"
    assert values.tolist() == ["1", word, "2"]


@pytest.mark.parametrize("word", ["1e999", "-1e999", "1e-999", "0123", "-012", "00.5", "1234567890123456", "1\n2"])
def test_what_a_number_would_falsify_stays_text(tmp_path: Path, word: str) -> None:
    assert column(tmp_path, "1", word).tolist() == ["1", word]


@pytest.mark.parametrize(
    ("words", "numbers", "dtype"),
    [
        (["1", "-2", "+3", "0", "-0"], [1, -2, 3, 0, 0], np.int64),
        (["123456789012345", "1"], [123456789012345, 1], np.int64),
        (["1", "2", ""], [1.0, 2.0, math.nan], np.float64),
        (["1.", ".5", "+1.5e+3", "1E-2", "2"], [1.0, 0.5, 1500.0, 0.01, 2.0], np.float64),
        (["2011", "-1.5"], [2011.0, -1.5], np.float64),
        (["\uff11\uff12", "\uff0d3"], [12, -3], np.int64),
        (["\uff11\uff0e5", ""], [1.5, math.nan], np.float64),
        (["1000000000000000.0", "0e5", "-0.0"], [1e15, 0.0, -0.0], np.float64),
    ],
)
def test_plain_numbers(tmp_path: Path, words: list[str], numbers: list[float], dtype: type) -> None:
    values = column(tmp_path, *words)
    assert values.dtype == dtype
    np.testing.assert_array_equal(values.to_numpy(), np.array(numbers))


def test_truth_values(tmp_path: Path) -> None:
    assert column(tmp_path, "true", "FALSE", "True").tolist() == [True, False, True]
    assert column(tmp_path, "true", "FALSE").dtype == bool
    assert column(tmp_path, "true", "").dtype == "str"
    assert column(tmp_path, "true", "0").tolist() == ["true", "0"]


def test_columns_named_as_text_keep_what_was_written(tmp_path: Path) -> None:
    path = put(tmp_path, "id,y\n 1.50 ,1\ntrue,2\n,3\n")
    values = load(path, text=("id",))["id"]
    assert values.dropna().tolist() == ["1.50", "true"]
    assert values.dtype == "str"
    says(refused(path, text=("di",)), "text= names column 'di'", "data.csv", "did you mean 'id'")


@inputs(20, 60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.floats(allow_infinity=False, allow_nan=False), min_size=1, max_size=30))
def test_floats_come_back_bit_for_bit(tmp_path: Path, numbers: list[float]) -> None:
    path = put(tmp_path, "x,y\n" + "".join(f"{number!r},0\n" for number in numbers))
    assert load(path)["x"].to_numpy().tobytes() == np.array(numbers).tobytes()


@inputs(20, 60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.from_regex(r"[+-]?[1-9][0-9]{0,25}\.[0-9]{1,25}([eE][+-]?[0-9]{1,2})?", fullmatch=True), min_size=1))
def test_any_decimal_is_read_as_python_reads_it(tmp_path: Path, words: list[str]) -> None:
    frame = load(put(tmp_path, "x,y\n" + "".join(f"{word},0\n" for word in words)))
    assert frame["x"].to_numpy().tobytes() == np.array([float(word) for word in words]).tobytes()


def test_numbers_are_written_in_the_shortest_form() -> None:
    assert [write_number(n) for n in (5.0, 0.1, -3.0, 1e22, 1.5e-7)] == ["5", "0.1", "-3", "1e+22", "1.5e-07"]
    assert write_runs([3, 7, 8, 9, 12]) == "3, 7-9, 12"
    assert write_runs(list(range(0, 100, 2))).endswith("38 and 30 more")


# --- kinds of file ---


def test_a_missing_file_names_the_nearest(tmp_path: Path) -> None:
    put(tmp_path, "a\n1\n", "farms.csv")
    says(refused(tmp_path / "farm.csv"), "no such file", "farm.csv", "did you mean 'farms.csv'")
    (tmp_path / "raw").mkdir()
    says(refused(tmp_path / "rav" / "farms.csv"), "no such file", "rav", "there is no folder 'rav'")
    assert "did you mean 'raw'" in refused(tmp_path / "rav" / "farms.csv").remedy
    says(refused(tmp_path), "folder", tmp_path.name, "one file")
    says(refused(tmp_path / ("x" * 5000)), "cannot be read", "xxx", "check the path")
    says(refused(tmp_path / "a\0b"), "", "a\0b", "")


def test_damaged_old_workbooks_are_refused(tmp_path: Path) -> None:
    path = put(tmp_path, bytes.fromhex("D0CF11E0A1B11AE1") + bytes(600), "a.xlsx")
    says(refused(path), "workbook (.xls) is cut off or damaged", "a.xlsx", "save it as .xlsx")


def test_gzip(tmp_path: Path) -> None:
    packed = gzip.compress(CHINESE.encode("gb18030"))
    table = Delimited(put(tmp_path, packed, "data.csv.gz")).load()
    assert table.frame["县"].tolist() == ["木垒县", "新疆"]
    assert table.provenance[0].sha256 == hashlib.sha256(packed).hexdigest()
    assert load(put(tmp_path, packed + gzip.compress(b"x,1,2\n")))["年"].tolist() == [2011, 2012, 1]
    says(refused(put(tmp_path, packed[:-12])), "cut off", "data.csv", "again, whole")
    says(refused(put(tmp_path, packed[:-8] + bytes(8))), "damaged", "data.csv", "again")
    says(refused(put(tmp_path, gzip.compress(packed))), "other than text", "data.csv", "unpack")
    says(refused(put(tmp_path, gzip.compress(b""))), "holds nothing", "data.csv", "again")


def test_too_much_text_is_refused_while_it_unpacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_bytes, "TEXT_LIMIT", 3_000_000)
    path = put(tmp_path, gzip.compress(bytes(50_000_000), compresslevel=1))
    says(refused(path), "more than 0.003 GB", "data.csv", "Parquet")
    says(refused(put(tmp_path, b"a,b\n" + b"1,2\n" * 1_000_000)), "more than 0.003 GB", "data.csv", "Parquet")


def test_parquet_keeps_types(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"  # the extension is not trusted
    frame = pd.DataFrame(
        {
            "i": [1, 2],
            "x": [0.1, None],
            "s": ["0123", "NA"],
            "c": pd.Categorical(["a", "b"], categories=["a", "b", "unused"]),
            "n": pd.array([2**60 + 1, None], dtype="Int64"),
            "d": [Decimal("1.10"), None],
            "t": [pd.Timestamp("2011-01-01"), pd.NaT],
            "e": [None, None],
        }
    )
    frame.to_parquet(path)
    read = load(path)
    assert read.index.tolist() == [2, 3]
    assert read.index.name == "row"
    assert read["s"].tolist() == ["0123", "NA"]
    assert read["n"].iloc[0] == 2**60 + 1
    assert read["d"].iloc[0] == Decimal("1.10")
    assert list(read["c"].cat.categories) == ["a", "b", "unused"]
    assert read["t"].iloc[0] == pd.Timestamp("2011-01-01")
    assert read["e"].dtype == np.float64
    as_text = load(path, text=("i", "x", "t"))
    assert as_text["i"].tolist() == ["1", "2"]
    assert as_text["x"].iloc[0] == "0.1"
    assert as_text["t"].iloc[0] == "2011-01-01"


def test_parquet_index_becomes_a_column(tmp_path: Path) -> None:
    path = tmp_path / "p.parquet"
    pd.DataFrame({"y": [1.0, 2.0]}, index=pd.Index(["a", "b"], name="county")).to_parquet(path)
    assert load(path)["county"].tolist() == ["a", "b"]
    pd.DataFrame({"y": [1.0, 2.0]}, index=[7, 9]).to_parquet(path)
    assert load(path)["index"].tolist() == [7, 9]
    pd.DataFrame({"y": [1.0, 2.0]}, index=pd.RangeIndex(5, 7)).to_parquet(path)
    assert list(load(path).columns) == ["y"]


def test_parquet_long_whole_numbers_with_gaps_stay_exact(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"id": [2**53 + 1, None], "n": [1, None]}), tmp_path / "p.parquet")
    frame = load(tmp_path / "p.parquet")
    assert frame["id"].iloc[0] == 2**53 + 1
    assert frame["n"].dtype == np.float64
    pq.write_table(pa.table({"many": [[1], [2]]}), tmp_path / "p.parquet")
    says(refused(tmp_path / "p.parquet"), "column 'many'", "p.parquet", "leave it out")


def test_parquet_refusals(tmp_path: Path) -> None:
    path = tmp_path / "p.parquet"
    pd.DataFrame({"a": [1], "b": [2]}).to_parquet(path)
    whole = path.read_bytes()
    says(refused(put(tmp_path, whole[:-20])), "cut off or damaged", "data.csv", "whole")
    says(refused(put(tmp_path, whole), sheets=("S",)), "sheets= names 'S'", "data.csv", "leave sheets= out")
    says(refused(put(tmp_path, whole), text=("c",)), "column 'c'", "data.csv", "known are: a, b")
    pd.DataFrame({"a": [1]}).iloc[:0].to_parquet(path)
    says(refused(path), "no data rows", "p.parquet", "again")
    pd.DataFrame([[1, 2]], columns=pd.MultiIndex.from_tuples([("a", "x"), ("a", "y")])).to_parquet(path)
    says(refused(path), "several levels", "p.parquet", "join the levels")
    pd.DataFrame({"a": ["mulei"]}).to_parquet(path, compression=None)
    says(refused(put(tmp_path, path.read_bytes().replace(b"mulei", b"m\xfflei"))), "Invalid UTF8", "data.csv", "whole")


# --- Excel ---


def book(folder: Path, *rows: list[Any], name: str = "book.xlsx", **sheets: list[list[Any]]) -> Path:
    """Write a workbook: the rows go to Sheet1, each keyword to a sheet of that name."""
    workbook = openpyxl.Workbook()
    workbook.remove(workbook.worksheets[0])
    for title, lines in {**({"Sheet1": list(rows)} if rows else {}), **sheets}.items():
        sheet = workbook.create_sheet(title)
        for line in lines:
            sheet.append(line)
    workbook.save(folder / name)
    return folder / name


def edit(path: Path, change: Any) -> Path:
    """Open a workbook, change it and save it again."""
    workbook = openpyxl.load_workbook(path)
    change(workbook["Sheet1"] if "Sheet1" in workbook.sheetnames else workbook.worksheets[0])
    workbook.save(path)
    return path


def raw(
    folder: Path,
    cells: str,
    *,
    strings: str = "",
    styles: str = "",
    workbook: str = "",
    after: str = "",
    space: str = "http://schemas.openxmlformats.org/spreadsheetml/2006/main",
    more: dict[str, bytes] | None = None,
) -> Path:
    """Write the XML of a workbook by hand: what Excel writes and openpyxl does not."""
    relation = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    kinds = {"worksheet": "worksheets/sheet1.xml", "sharedStrings": "sharedStrings.xml", "styles": "/xl/styles.xml"}
    links = "".join(f'<Relationship Id="{k}" Type="{relation}/{k}" Target="{t}"/>' for k, t in kinds.items())
    parts: dict[str, str | bytes] = {
        "xl/workbook.xml": f'<workbook xmlns="{space}" xmlns:r="{relation}">{workbook}'
        '<sheets><sheet name="Sheet1" sheetId="1" r:id="worksheet"/></sheets></workbook>',
        "xl/_rels/workbook.xml.rels": f"<Relationships>{links}</Relationships>",
        "xl/sharedStrings.xml": f'<sst xmlns="{space}">{strings}</sst>',
        "xl/styles.xml": f'<styleSheet xmlns="{space}">{styles}</styleSheet>',
        "xl/worksheets/sheet1.xml": f'<worksheet xmlns="{space}"><sheetData>{cells}</sheetData>{after}</worksheet>',
    }
    with zipfile.ZipFile(folder / "raw.xlsx", "w", zipfile.ZIP_DEFLATED) as archive:
        for part, xml in {**parts, **(more or {})}.items():
            archive.writestr(part, xml)
    return folder / "raw.xlsx"


HEAD = '<row r="1"><c r="A1" t="inlineStr"><is><t>a</t></is></c><c r="B1" t="inlineStr"><is><t>b</t></is></c></row>'


def test_a_sheet_is_read_with_its_row_numbers(tmp_path: Path) -> None:
    path = book(
        tmp_path,
        [],
        [],
        [None, " county ", 2011, "when", "mix", "text", "flag", "id"],
        [None, "木垒县", 1, dt.datetime(2011, 1, 2), 1, "1.5", True, "0123"],
        [],
        [None, "奇台县", 0.1, None, "2.5", "NA", False, "2"],
        [None, " "],
    )
    table = Delimited(path).load()
    frame = table.frame
    assert list(frame.columns) == ["county", "2011", "when", "mix", "text", "flag", "id"]
    assert frame.index.tolist() == [4, 6]
    assert frame["2011"].tolist() == [1.0, 0.1]
    assert frame["when"].dtype == "datetime64[us]"
    assert frame["when"].iloc[0] == pd.Timestamp("2011-01-02")
    assert frame["mix"].tolist() == [1.0, 2.5]
    assert frame["text"].iloc[0] == 1.5
    assert math.isnan(frame["text"].iloc[1])
    assert frame["flag"].dtype == bool
    assert frame["id"].tolist() == ["0123", "2"]
    assert table.provenance[0].notes == ""


def test_numbers_beside_text_are_written_in_the_shortest_form(tmp_path: Path) -> None:
    frame = load(book(tmp_path, ["x", "n", "m"], [5.0, 1, 1], ["A12", 2, None], [0.1, 3, 2]))
    assert frame["x"].tolist() == ["5", "A12", "0.1"]
    assert frame["n"].dtype == np.int64
    assert frame["m"].dtype == np.float64
    as_text = load(
        book(tmp_path, ["n", "d"], [1, dt.datetime(2011, 1, 2)], [2, dt.datetime(2011, 1, 2, 3)]), text=("n", "d")
    )
    assert as_text["n"].tolist() == ["1", "2"]
    assert as_text["d"].tolist() == ["2011-01-02", "2011-01-02 03:00:00"]


def test_error_cells_are_refused_by_name(tmp_path: Path) -> None:
    path = book(tmp_path, ["a", "b", "c"], *[[1, 2, 3]] * 5, [1, 2, "#DIV/0!"])
    says(refused(path), "error #DIV/0!", "book.xlsx, Sheet1!C7", "correct the cell")


def test_formulas_are_not_evaluated(tmp_path: Path) -> None:
    path = book(tmp_path, ["a", "b"], [1, "=A2+1"])
    says(refused(path), "formula whose value was not calculated", "Sheet1!B2", "save it again")
    row = '<row r="2"><c r="A2"><v>1</v></c><c r="B2"{}><f>A2+1</f>{}</c></row>'
    assert load(raw(tmp_path, HEAD + row.format("", "<v>7</v>")))["b"].tolist() == [7]
    assert load(raw(tmp_path, HEAD + row.format(' t="str"', "<v></v>")))["b"].isna().all()
    says(refused(raw(tmp_path, HEAD + row.format("", ""))), "formula", "Sheet1!B2", "paste the formulas as values")
    says(refused(raw(tmp_path, HEAD + row.format("", "<v/>"))), "formula", "Sheet1!B2", "paste the formulas as values")
    says(refused(raw(tmp_path, HEAD + row.format(' t="e"', "<v>#N/A</v>"))), "#N/A", "Sheet1!B2", "correct")


def test_formula_values_written_by_a_program_that_does_not_calculate_are_refused(tmp_path: Path) -> None:
    row = '<row r="2"><c r="A2"><v>1</v></c><c r="B2"><f>A2+1</f><v>0</v></c></row>'
    path = raw(tmp_path, HEAD + row, workbook='<calcPr fullCalcOnLoad="1"/>')
    says(refused(path), "formula", "Sheet1!B2", "save it again")


def test_hidden_rows_and_columns_are_read_and_noted(tmp_path: Path) -> None:
    def hide(sheet: Any) -> None:
        for row in (3, 4, 9):
            sheet.row_dimensions[row].hidden = True
        sheet.column_dimensions["B"].hidden = True
        sheet.column_dimensions["F"].hidden = True

    table = Delimited(edit(book(tmp_path, ["a", "b"], [1, 2], [3, 4], [5, 6]), hide)).load()
    assert table.frame["b"].tolist() == [2, 4, 6]
    notes = table.provenance[0].notes
    assert "2 hidden rows of sheet 'Sheet1' were read: 3-4" in notes
    assert "1 hidden columns of sheet 'Sheet1' were read: B" in notes


def test_merged_cells_are_refused_by_range(tmp_path: Path) -> None:
    rows = (["a", "b", "c"], [1, 2, 3], [4, 5, 6])
    for ref in ("A1:B1", "B2:B3"):
        path = edit(book(tmp_path, *rows), lambda sheet, ref=ref: sheet.merge_cells(ref))
        says(refused(path), "merged", f"Sheet1!{ref}", "unmerge")
    beside = edit(book(tmp_path, *rows), lambda sheet: sheet.merge_cells("E1:F9"))
    assert load(beside)["c"].tolist() == [3, 6]
    whole = raw(tmp_path, HEAD + '<row r="2"><c><v>1</v></c></row>', after='<mergeCell ref="A1:XFD1048576"/>')
    says(refused(whole), "merged", "Sheet1!A1:XFD1048576", "unmerge")


def test_the_sheet_must_be_named_when_several_hold_data(tmp_path: Path) -> None:
    rows = [["a", "b"], [1, 2]]
    sheets: dict[str, Any] = {"2011 年": rows, "说明": [["x"], [3]], "empty": []}
    path = book(tmp_path, **sheets)
    says(refused(path), "2 sheets hold data", "book.xlsx", "'2011 年', '说明'")
    assert load(path, sheets=("说明",))["x"].tolist() == [3]
    says(refused(path, sheets=("2011年",)), "no sheet '2011年'", "book.xlsx", "did you mean '2011 年'")
    says(refused(path, sheets=("empty",)), "empty", "book.xlsx", "sheets=")
    says(refused(book(tmp_path, empty=[])), "no sheet holds any data", "book.xlsx", "export")


def test_hidden_sheets_are_not_read_unless_named(tmp_path: Path) -> None:
    workbook = openpyxl.load_workbook(book(tmp_path, ["a"], [1], back=[["b"], [2]], empty=[]))
    workbook["back"].sheet_state = "hidden"
    workbook.save(tmp_path / "book.xlsx")
    table = Delimited(tmp_path / "book.xlsx").load()
    assert table.frame["a"].tolist() == [1]
    assert "hidden sheets were not read: 'back'" in table.provenance[0].notes
    named = Delimited(tmp_path / "book.xlsx", sheets=("back",)).load()
    assert named.frame["b"].tolist() == [2]
    assert "sheet 'back' is hidden" in named.provenance[0].notes
    workbook["Sheet1"].sheet_state = "veryHidden"
    workbook.save(tmp_path / "book.xlsx")
    says(refused(tmp_path / "book.xlsx"), "only hidden sheets", "book.xlsx", "'Sheet1', 'back'")


def test_dates_mixed_with_other_values_are_refused_by_cell(tmp_path: Path) -> None:
    day = dt.datetime(2011, 1, 1)
    says(refused(book(tmp_path, ["d"], [day], [day], [3])), "not among the 2 dates", "Sheet1!A4", "same kind")
    says(refused(book(tmp_path, ["d"], ["x"], ["y"], [day])), "one of 1 dates", "Sheet1!A4", "text=")
    says(refused(book(tmp_path, ["d"], [True], [1], [2])), "one of 1 truth values", "Sheet1!A2", "same kind")
    assert load(book(tmp_path, ["d"], ["NA"], [day]))["d"].isna().tolist() == [True, False]
    says(refused(book(tmp_path, ["d"], [dt.time(3, 4)])), "time of day", "Sheet1!A2", "as text")
    says(refused(book(tmp_path, ["d"], [dt.timedelta(hours=30)])), "duration", "Sheet1!A2", "as text")


def test_dates_as_excel_stores_them(tmp_path: Path) -> None:
    styles = (
        "<cellXfs><xf numFmtId='0'/><xf numFmtId='31'/></cellXfs>"  # 31: 2011年1月2日, which has no code in the file
    )

    def rows(*serials: object) -> str:
        cells = (f'<row r="{i}"><c r="A{i}" s="1"><v>{v}</v></c></row>' for i, v in enumerate(serials, start=2))
        return HEAD.replace('<c r="B1" t="inlineStr"><is><t>b</t></is></c>', "") + "".join(cells)

    read = load(raw(tmp_path, rows(40545, 59, 61, 40545.5), styles=styles))["a"]
    assert read.astype(str).tolist() == [
        "2011-01-02 00:00:00",
        "1900-02-28 00:00:00",
        "1900-03-01 00:00:00",
        "2011-01-02 12:00:00",
    ]
    since_1904 = load(raw(tmp_path, rows(0, 39083), styles=styles, workbook='<workbookPr date1904="1"/>'))["a"]
    assert since_1904.tolist() == [pd.Timestamp("1904-01-01"), pd.Timestamp("2011-01-02")]
    for serial in (60, 3_000_000, 1e300):
        error = refused(raw(tmp_path, rows(serial), styles=styles))
        says(error, "number of no day", "Sheet1!A2", "as a number")
    iso = HEAD + '<row><c t="d"><v>2011-01-02T00:00:00Z</v></c></row>'
    assert load(raw(tmp_path, iso))["a"].tolist() == [pd.Timestamp("2011-01-02")]


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("General", ""),
        ("G/通用格式", ""),
        ("#,##0.00;[Red]-#,##0.00", ""),
        ("0.00E+00", ""),
        ('0.0"days"', ""),
        ("0\\d", ""),
        ('[$¥-804]#,##0.00_);"(y)"', ""),
        ("yyyy-mm-dd", "date"),
        ('yyyy"年"m"月"', "date"),
        ("[$-804]aaaa", "date"),
        ("mmm", "date"),
        ("m/d/yy h:mm", "date"),
        ("h:mm AM/PM", "time"),
        ("[h]:mm:ss", "time"),
        ("mm:ss.0", "time"),
    ],
)
def test_number_formats(code: str, kind: str) -> None:
    assert tell_format(code) == kind


def test_whole_numbers_that_lost_their_tail_are_refused(tmp_path: Path) -> None:
    path = book(tmp_path, ["id"], [999999999999999], [123456789012345678])
    says(refused(path), "first 15 digits", "Sheet1!A3", "store the column as text")
    says(refused(path, text=("id",)), "first 15 digits", "Sheet1!A3", "store the column as text")
    assert load(book(tmp_path, ["id"], ["652328198001011234"]))["id"].tolist() == ["652328198001011234"]
    huge = HEAD + '<row r="2"><c r="A2"><v>1e999</v></c></row>'
    says(refused(raw(tmp_path, huge)), "beyond what Excel can hold", "Sheet1!A2", "correct")


def test_headers_in_a_sheet_are_checked_by_cell(tmp_path: Path) -> None:
    says(refused(book(tmp_path, ["a", None, "c"], [1, 2, 3])), "column B (cell B1) has no name", "Sheet1", "delete")
    says(refused(book(tmp_path, ["title"], ["a", "b"], [1, 2])), "column B (cell B1)", "Sheet1", "pass header=2")
    says(refused(book(tmp_path, ["a", "a "], [1, 2])), "both called 'a'", "Sheet1", "rename")
    says(
        refused(book(tmp_path, ["a", dt.datetime(2011, 1, 1)], [1, 2])), "date or a truth value", "Sheet1!B1", "as text"
    )
    says(refused(book(tmp_path, ["a", "b"])), "no data rows", "Sheet1", "again")
    says(refused(book(tmp_path, ["a"], [1]), text=("b",)), "column 'b'", "Sheet1", "known are: a")


def test_shared_text_phonetics_and_escapes(tmp_path: Path) -> None:
    parts = ("<t>a</t>", "<r><t>木垒</t></r><r><t>县_x000D_</t></r><rPh><t>mulei</t></rPh>", "<t>_xD800_</t>")
    strings = "".join(f"<si>{part}</si>" for part in parts)
    cells = '<row><c t="s"><v>0</v></c></row><row><c t="s"><v>1</v></c></row><row><c t="s"><v>2</v></c></row>'
    for space in (
        "http://schemas.openxmlformats.org/spreadsheetml/2006/main",
        "http://purl.oclc.org/ooxml/spreadsheetml/main",
    ):
        assert load(raw(tmp_path, cells, strings=strings, space=space))["a"].tolist() == ["木垒县", "_xD800_"]


def test_a_sheet_reads_as_openpyxl_reads_it(tmp_path: Path) -> None:
    generator = np.random.default_rng(1)
    wanted = pd.DataFrame(
        {
            "farm": [f"农户{i}" for i in range(60)],
            "year": generator.integers(2011, 2023, 60),
            "y": generator.normal(size=60).round(12),
            "day": pd.date_range("1999-12-30", periods=60, freq="31h").as_unit("us"),
            "pilot": generator.integers(0, 2, 60).astype(bool),
        }
    )
    wanted.to_excel(tmp_path / "b.xlsx", index=False)
    values = list(openpyxl.load_workbook(tmp_path / "b.xlsx").active.values)  # type: ignore[union-attr]
    frame = load(tmp_path / "b.xlsx")
    assert [tuple(row) for row in frame.astype(object).itertuples(index=False)] == values[1:]
    pd.testing.assert_frame_equal(frame.reset_index(drop=True), wanted)


@pytest.mark.parametrize(
    "cells",
    [
        '<row r="0"><c><v>1</v></c></row>',
        '<row r="1"><c r="A1"><v>1</v></c><c r="A1"><v>2</v></c></row>',
        '<row r="1"><c><v>1</v></c></row><row r="1"><c><v>2</v></c></row>',
        '<row><c r="ZZZ1"><v>1</v></c></row>',
        '<row><c t="s"><v>9</v></c></row>',
        '<row><c s="9"><v>x</v></c></row>',
        "<row><c><v>1</v></c>",
    ],
)
def test_damaged_sheets_are_refused(tmp_path: Path, cells: str) -> None:
    says(refused(raw(tmp_path, cells)), "cut off or damaged", "raw.xlsx", "save it again")


def test_damaged_and_foreign_zips_are_refused(tmp_path: Path) -> None:
    whole = book(tmp_path, ["a"], [1]).read_bytes()
    says(refused(put(tmp_path, whole[:-30], "b.xlsx")), "cut off or damaged", "b.xlsx", "Excel")
    says(refused(put(tmp_path, whole[:300], "b.xlsx")), "cut off or damaged", "b.xlsx", "Excel")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("farms.csv", "a,b\n1,2\n")
    says(refused(put(tmp_path, buffer.getvalue(), "farms.csv")), "zip file, not an .xlsx", "farms.csv", "unpack it")
    says(
        refused(raw(tmp_path, HEAD, more={"xl/styles.xml": b"<!DOCTYPE x [<!ENTITY a 'b'>]><x/>"})),
        "entities",
        "raw",
        "Excel",
    )


@pytest.mark.parametrize("part", ["xl/workbook.xml", "xl/_rels/workbook.xml.rels", "xl/sharedStrings.xml", "xl/styles.xml",
                                  "xl/worksheets/sheet1.xml"])  # fmt: skip
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "iso-8859-1"])
def test_a_document_type_is_refused_in_any_encoding(tmp_path: Path, part: str, encoding: str) -> None:
    """It declares nothing here."""
    said = encoding.removesuffix("-sig").removesuffix("-le").removesuffix("-be")
    for prologue in ("", "<!-- a comment first -->"):
        xml = f'<?xml version="1.0" encoding="{said}"?>{prologue}<!DOCTYPE x><x/>'.encode(encoding)
        says(refused(raw(tmp_path, HEAD, more={part: xml})), f"{part} declares a document type", "raw.xlsx", "Excel")


def test_other_encodings_of_a_workbook_and_words_about_document_types_are_read(tmp_path: Path) -> None:
    cells = HEAD + '<row r="2"><c r="A2" t="inlineStr"><is><t><![CDATA[<!DOCTYPE x>]]></t></is></c></row>'
    with zipfile.ZipFile(raw(tmp_path, cells)) as archive:
        parts = {name: archive.read(name).decode() for name in archive.namelist()}
    for encoding in ("utf-8-sig", "utf-16"):
        with zipfile.ZipFile(tmp_path / "raw.xlsx", "w") as archive:
            for name, xml in parts.items():
                archive.writestr(name, xml.encode(encoding))
        assert load(tmp_path / "raw.xlsx")["a"].tolist() == ["<!DOCTYPE x>"]


def test_bombs_are_refused_before_they_are_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    says(refused(raw(tmp_path, HEAD, more={"x": bytes(11_000_000)})), "times its size", "raw.xlsx", "CSV UTF-8")
    many = {f"x{i}": b"" for i in range(2000)}
    says(refused(raw(tmp_path, HEAD, more=many)), "2005 parts", "raw.xlsx", "new workbook")
    path = raw(tmp_path, HEAD, more={"x": b"y" * 1000})
    declared = path.read_bytes().replace(struct.pack("<I", 1000), struct.pack("<I", 201_000_000))
    says(refused(put(tmp_path, declared, "b.xlsx")), "201 MB", "b.xlsx", "new workbook")
    monkeypatch.setattr(sheet, "_MAX_CELLS", 3)
    says(refused(book(tmp_path, ["a", "b"], [1, 2])), "more than 3 cells", "book.xlsx", "CSV")


def test_columns_are_counted_as_excel_counts_them() -> None:
    for letters, number in (("A", 1), ("Z", 26), ("AA", 27), ("XFD", 16384)):
        assert column_number(letters) == number
        assert column_letters(number) == letters


# --- the sidecar ---


def sidecar(path: Path, content: str, encoding: str = "utf-8") -> Path:
    path.with_name(path.name + ".provenance.toml").write_bytes(content.encode(encoding))
    return path


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_sidecar_gives_provenance_and_units(tmp_path: Path, encoding: str) -> None:
    path = put(tmp_path, "area,y\n1,2\n,\n")
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    content = (
        'publisher = "统计局"\ntitle = "年鉴"\nvintage = "2022"\nlicence = "CC0"\ncitation = "x"\nnotes = "含兵团"\n'
    )
    content += f'synthetic = true\nsha256 = "{sha256.upper()}"\n[units]\narea = "mu"\n'
    table = Delimited(sidecar(path, content, encoding), units={"y": "t", "area": "mu"}).load()
    (provenance,) = table.provenance
    assert (provenance.publisher, provenance.title, provenance.vintage) == ("统计局", "年鉴", "2022")
    assert (provenance.licence, provenance.citation, provenance.synthetic) == ("CC0", "x", True)
    assert provenance.notes == "含兵团; rows without any value were left out: 3"
    assert provenance.sha256 == sha256
    assert table.units == {"area": "mu", "y": "t"}


@pytest.mark.parametrize(
    ("content", "what", "remedy"),
    [
        ('publiser = "x"', "key 'publiser' is unknown", "did you mean 'publisher'"),
        ("vintage = 2022", "'vintage' cannot be 2022", 'vintage = "2022"'),
        ('synthetic = "yes"', "'synthetic' cannot be 'yes'", "synthetic = true"),
        ('units = "t"', "'units' cannot be 't'", "[units]"),
        ("[units]\na = 1", "'units.a' cannot be 1", 'a = "t"'),
        ('[units]\na = " "', "'units.a' cannot be ' '", 'a = "t"'),
        ('[units]\nc = "t"', "column 'c'", "known are: a, b"),
        ('title = "x"\npublisher = x', "line 2", "quotes"),
        ('sha256 = "00"', "has changed since", "restore the file"),
        ("x = " + "[" * 5000, "not valid TOML", "correct"),
    ],
)
def test_wrong_sidecars_are_refused(tmp_path: Path, content: str, what: str, remedy: str) -> None:
    path = sidecar(put(tmp_path, "a,b\n1,2\n"), content)
    says(refused(path), what, "data.csv.provenance.toml", remedy)


def test_a_sidecar_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    path = sidecar(put(tmp_path, "a,b\n1,2\n"), 'publisher = "统计局"', "gb18030")
    says(refused(path), "not UTF-8", "provenance.toml", "save it as UTF-8")


def test_units_are_declared_once_and_for_columns_that_exist(tmp_path: Path) -> None:
    path = sidecar(put(tmp_path, "area,b\n1,2\n"), '[units]\narea = "mu"\n')
    error = refused(path, units={"area": "ha"})
    says(error, "'mu' in the sidecar and 'ha' in units=", "provenance.toml", "declare it once")
    says(refused(path, units={"aera": "mu"}), "units= names column 'aera'", "data.csv", "did you mean 'area'")


# --- whatever the bytes, a Table or an EvalkitError ---


def survives(folder: Path, data: bytes) -> None:
    path = put(folder, data, "fuzz")
    with suppress(EvalkitError):
        assert isinstance(Delimited(path).load(), Table)


FUZZ = inputs(40, 120, suppress_health_check=[HealthCheck.function_scoped_fixture])
HEADS = [
    b"",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"\x1f\x8b\x08",
    b"PK\x03\x04",
    b"PAR1",
    b"a,b\n",
    "县,x\n".encode("gb18030"),
]


@FUZZ
@given(st.sampled_from(HEADS), st.binary(max_size=200))
def test_arbitrary_bytes(tmp_path: Path, head: bytes, rest: bytes) -> None:
    survives(tmp_path, head + rest)


@FUZZ
@given(st.text(alphabet='ab1.,;\t|"\n\r -e…县\uff11', max_size=60))
def test_arbitrary_text(tmp_path: Path, content: str) -> None:
    survives(tmp_path, content.encode())


@pytest.fixture(scope="module")
def valid(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("valid")
    frame = pd.DataFrame({"county": ["木垒县", "奇台县"], "year": [2011, 2012], "y": [0.5, None]})
    frame.to_parquet(folder / "p")
    cells = HEAD + '<row r="2"><c r="A2" s="1"><v>40545</v></c><c r="B2" t="s"><v>0</v></c></row>'
    strings, styles = "<si><t>x</t></si>", "<cellXfs><xf numFmtId='0'/><xf numFmtId='31'/></cellXfs>"
    return {
        "csv": frame.to_csv(index=False).encode("gb18030"),
        "gzip": gzip.compress(frame.to_csv(index=False).encode(), mtime=0),
        "parquet": (folder / "p").read_bytes(),
        "xlsx": raw(folder, cells, strings=strings, styles=styles, after='<mergeCell ref="D1:E2"/>').read_bytes(),
    }


EDITS = st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=4)


def spoil(data: bytes, edits: list[tuple[int, int]], cut: int) -> bytes:
    changed = bytearray(data)
    for at, byte in edits:
        changed[at % len(changed)] = byte
    return bytes(changed[: max(1, len(changed) - cut)])


@FUZZ
@given(st.sampled_from(["csv", "gzip", "parquet", "xlsx"]), EDITS, st.sampled_from([0, 0, 0, 1, 7, 90]))
def test_spoilt_files(
    tmp_path: Path, valid: dict[str, bytes], kind: str, edits: list[tuple[int, int]], cut: int
) -> None:
    survives(tmp_path, spoil(valid[kind], edits, cut))


@FUZZ
@given(st.integers(0, 4), EDITS)
def test_spoilt_parts_of_a_workbook(
    tmp_path: Path, valid: dict[str, bytes], part: int, edits: list[tuple[int, int]]
) -> None:
    """Spoil the XML inside the zip, where no checksum would show it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(valid["xlsx"])) as old, zipfile.ZipFile(buffer, "w") as new:
        for number, name in enumerate(old.namelist()):
            xml = old.read(name)
            new.writestr(name, spoil(xml, edits, 0) if number == part else xml)
    survives(tmp_path, buffer.getvalue())
