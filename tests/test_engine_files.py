"""Files that engines read: every fault is refused in words that help, and nothing is left behind."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import evalkit as ek
from evalkit.engines.embedded import DuckDB
from evalkit.errors import DataError, DesignError, EvalkitError, SourceError
from evalkit.sources import Delimited
from evalkit.tables.text_columns import BLANKS

DESIGN = ek.Design(outcome="y", adoption="first", assigned_at="county")


def farms() -> pd.DataFrame:
    """40 farms in 4 counties over 5 years (synthetic)."""
    rng = np.random.default_rng(7)
    farm, year = np.repeat(np.arange(40), 5), np.tile(np.arange(2015, 2020), 40)
    frame = pd.DataFrame({"farm": farm, "year": year, "county": farm % 4, "y": rng.normal(size=200)})
    frame["first"] = np.array([2017.0, 2018.0, np.nan, np.nan])[farm % 4]
    return frame


def parts(folder: Path, frame: pd.DataFrame) -> Path:
    """Write three parts, and the summary that lists them."""
    root, met = folder / "farms", list[Any]()
    root.mkdir()
    table = pa.Table.from_pandas(frame, preserve_index=False)
    for i in range(3):
        pq.write_table(table.slice(i * 70, 70), root / f"part-{i}.parquet", metadata_collector=met)
        met[-1].set_file_path(f"part-{i}.parquet")
    pq.write_metadata(table.schema, root / "_metadata", metadata_collector=met)
    return root


def rewrite(file: Path, change: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    change(pd.read_parquet(file)).to_parquet(file)


def damage(file: Path) -> None:
    """Overwrite the data of a part, and leave its header and footer whole."""
    raw = bytearray(file.read_bytes())
    raw[20:900] = b"\xff" * 880
    file.write_bytes(raw)


def refused(
    frame: Any, spill: Path, kind: type[EvalkitError] = SourceError, design: ek.Design = DESIGN, **engine: Any
) -> EvalkitError:
    """Collapse what cannot be collapsed; check that nothing is left in the folder to spill to."""
    spill.mkdir(exist_ok=True)
    with pytest.raises(EvalkitError) as caught:
        ek.collapse(frame, design, unit="farm", time="year", engine=DuckDB(spill=spill, **engine))
    assert type(caught.value) is kind
    assert caught.value.remedy
    assert not list(spill.iterdir())
    return caught.value


def part_of(root: Path) -> Path:
    return root / "part-1.parquet"


@pytest.mark.parametrize(
    ("change", "kind", "says"),
    [
        (lambda root: part_of(root).unlink(), SourceError, "1 of the parts that '_metadata' lists are missing: part-1"),
        (lambda root: part_of(root).write_bytes(b""), SourceError, "part-1.parquet: the file is empty"),
        (lambda root: part_of(root).write_bytes(part_of(root).read_bytes()[:-9]), SourceError, "no whole Parquet file"),
        (lambda root: damage(part_of(root)), SourceError, "DuckDB cannot read this"),
        (
            lambda root: rewrite(part_of(root), lambda f: f.drop(columns="y")),
            DataError,
            "part-1.parquet: there is no column 'y'",
        ),
        (
            lambda root: rewrite(part_of(root), lambda f: f.assign(county=f["county"].astype(str))),
            SourceError,
            "column 'county' holds string, and int64 in part-0.parquet",
        ),
        (
            lambda root: rewrite(part_of(root), lambda f: f.assign(Y=1.0)),
            DataError,
            "part-1.parquet: the columns 'y' and 'Y' differ in their capitals only",
        ),
    ],
    ids=["missing", "empty", "cut", "damaged", "no column", "another type", "capitals"],
)
def test_faulty_parts_are_refused(
    tmp_path: Path, change: Callable[[Path], None], kind: type[EvalkitError], says: str
) -> None:
    root = parts(tmp_path, farms())
    change(root)
    assert says in str(refused(root, tmp_path / "spill", kind))


def test_paths_that_lead_to_nothing_are_refused(tmp_path: Path) -> None:
    spill = tmp_path / "spill"
    assert "no paths are given" in str(refused([], spill))
    assert "there is no such file" in str(refused([parts(tmp_path, farms()) / "part-3.parquet"], spill))
    assert "no file has such a name" in str(refused(str(tmp_path / "*.pq"), spill))
    (tmp_path / "x.dta").write_bytes(b"x")
    error = refused(tmp_path / "x.dta", spill)
    assert "'.dta'" in error.what
    assert "evalkit.sources" in error.remedy
    (tmp_path / "none").mkdir()
    assert "holds no Parquet file" in str(refused(tmp_path / "none", spill))
    farms().to_csv(tmp_path / "x.csv")
    assert "of several kinds: CSV, Parquet" in str(
        refused([tmp_path / "x.csv", tmp_path / "farms"], spill, SourceError)
    )


Change = Callable[[pd.DataFrame], pd.DataFrame]
TEXTS: dict[str, tuple[Change, type[EvalkitError], str]] = {
    "thousands": (lambda f: f.assign(y=f["y"].astype(str).where(f.index != 4, "1,234")), DataError, "'1,234' is not"),
    "code": (lambda f: f.assign(y=f["y"].astype(str).where(f.index != 4, "0123")), DataError, "'0123' is not"),
    "word": (lambda f: f.assign(y=f["y"].astype(str).where(f.index != 4, "不详")), DataError, "'不详' is not"),
    "truth": (lambda f: f.assign(y=f["y"].astype(str).where(f.index != 4, "TRUE")), DataError, "'TRUE' is not"),
    "telephone": (lambda f: f.assign(y=f["y"].astype(str).where(f.index != 4, "139 1234 5678x")), DataError, "'…' is"),
    "infinite": (lambda f: f.assign(y=f["y"].where(f.index != 4, np.inf)), DataError, "'inf' is not"),
    "capitals": (lambda f: f.assign(Y=1), DataError, "'y' and 'Y' differ in their capitals only"),
    "no rows": (lambda f: f[:0], DataError, "no rows"),
}


@pytest.mark.parametrize("case", TEXTS)
def test_faulty_text_is_refused_as_delimited_refuses_it(tmp_path: Path, case: str) -> None:
    change, kind, says = TEXTS[case]
    change(farms()).to_csv(tmp_path / "x.csv", index=False)
    error = refused(tmp_path / "x.csv", tmp_path / "spill", kind)
    assert says in str(error)
    assert "5678" not in str(error)
    if case != "capitals":  # which Delimited tells apart
        with pytest.raises(EvalkitError):
            ek.estimate(
                ek.Panel.from_frame(Delimited(tmp_path / "x.csv").load().frame, unit="farm", time="year"),
                DESIGN,
                ek.estimators.TwoWayFE(),
            )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"farm,year,county,first,y,y\n1,2015,1,,1,2\n", "column 'y' stands twice"),
        (b"farm,year,county,first,y\n1,2015,1,,1\n1,2016\n", "Expected Number of Columns: 5 Found: 2"),
        ("farm,year,county,first,y\n1,2015,昌吉市,,1\n".encode("gb18030"), "the text is not UTF-8"),
        (b'farm,year,county,first,y\n1,2015,"1,,1\n', "unterminated quote"),
        (b"farm,year,county,first\n1,2015,1,\n", "there is no column 'y'"),
    ],
    ids=["twice", "ragged", "GB18030", "quote", "no column"],
)
def test_text_that_is_no_table_is_refused(tmp_path: Path, text: bytes, says: str) -> None:
    (tmp_path / "x.csv").write_bytes(text)
    with pytest.raises(EvalkitError, match=says) as caught:
        ek.collapse(tmp_path / "x.csv", DESIGN, unit="farm", time="year", engine=DuckDB(spill=tmp_path))
    assert "x.csv" in str(caught.value)
    assert "昌吉" not in str(caught.value)
    assert [one.name for one in tmp_path.iterdir()] == ["x.csv"]


def test_text_files_in_which_columns_stand_otherwise_are_refused(tmp_path: Path) -> None:
    frame = farms()
    frame[:100].to_csv(tmp_path / "a.csv", index=False)
    frame.loc[100:, ["farm", "year", "y", "county", "first"]].to_csv(tmp_path / "b.csv", index=False)
    assert "the header is not that of a.csv" in str(refused(tmp_path / "*.csv", tmp_path / "spill"))


READ: dict[str, Change] = {
    "codes": lambda f: f.assign(farm=f["farm"].map("{:04d}".format), county="0" + f["county"].astype(str)),
    "blanks": lambda f: f.assign(county=np.where(f["year"] % 2, "县", "\u3000县") + f["county"].astype(str) + "\xa0"),
    "7 and 7.0": lambda f: f.assign(farm=f["farm"].astype(str) + np.where(f["year"] % 2, "", ".0")),
    "adoption": lambda f: f.assign(first=np.where(f["county"] < 2, (2017 + f["county"]).astype(str), " NA ")),
}


@pytest.mark.parametrize(
    ("case", "separator"), [*((case, ",") for case in READ), ("codes", ";"), ("codes", "\t")], ids=str
)
def test_text_is_read_as_delimited_reads_it(tmp_path: Path, case: str, separator: str) -> None:
    path = tmp_path / "x.csv"
    READ[case](farms()).to_csv(path, index=False, sep=separator, encoding="utf-8-sig", lineterminator="\r\n")
    cells = ek.collapse(path, DESIGN, unit="farm", time="year")
    rows = Delimited(path).load().frame
    assert len(cells) == 20
    told = rows.groupby(["county", "year"])["y"].mean()
    np.testing.assert_allclose(cells.frame.sort_values(["county", "year"])["y"], told, rtol=1e-13, atol=1e-15)
    assert cells.codes("county").labels == ek.Panel.from_frame(rows, unit="farm", time="year").codes("county").labels


def test_true_and_false_are_numbers_where_all_values_are(tmp_path: Path) -> None:
    frame = farms().assign(on=lambda f: f["year"] >= f["first"])
    frame.to_csv(tmp_path / "x.csv", index=False)
    design = ek.Design(outcome="y", treated="on", assigned_at="county")
    cells = ek.collapse(tmp_path / "x.csv", design, unit="farm", time="year")
    assert cells.frame["on"].sum() == 5
    assert len(cells) == 20


def test_one_list_of_blanks() -> None:
    every = [chr(point) for point in range(0x110000) if not 0xD800 <= point < 0xE000]
    kept = pc.utf8_length(pc.utf8_trim_whitespace(pa.array(every))).to_numpy()
    assert "".join(np.array(every, dtype=object)[kept == 0]) == "".join(sorted(BLANKS))
    assert "".join(one for one in every if not one.strip()) == "".join(sorted(BLANKS))


def test_databases_that_cannot_be_used_are_refused(tmp_path: Path) -> None:
    path, spill = tmp_path / "x.duckdb", tmp_path / "spill"
    with duckdb.connect(str(path)) as database:
        database.sql("create table farms as select 1 as farm; create table notes as select 1 as note")
    assert "holds 2 tables: farms, notes" in str(refused(path, spill))
    hold = f"import duckdb; held = duckdb.connect({str(path)!r}); print('held', flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        assert "close the program that writes to it" in refused(path, spill).remedy
        other.communicate(b"\n")
    path.write_bytes(b"no database" * 1000)
    assert "DuckDB cannot open this" in str(refused(path, spill))


def test_capitals_and_names_that_stand_twice_in_a_relation(tmp_path: Path) -> None:
    table = pa.Table.from_pandas(farms(), preserve_index=False)
    twice = table.append_column("y", table["y"])
    assert "column 'y' stands twice" in str(refused(twice, tmp_path / "spill", DataError))
    # Arrow and polars tell capitals apart, and so is this table used, by the right column.
    other = table.add_column(0, "Y", pa.nulls(len(table), pa.float64()))
    for frame in (other, pl.from_arrow(other)):
        cells = ek.collapse(frame, DESIGN, unit="farm", time="year")
        assert cells.frame["y"].mean() == pytest.approx(farms()["y"].mean())


def test_too_little_memory_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    n = 60_000
    table = pa.table(
        {
            "farm": np.arange(n),
            "year": np.full(n, 2015),
            "county": np.arange(n) % 4,
            "first": np.full(n, 2017),
            "y": np.ones(n),
        }
    )
    error = refused(table, tmp_path / "spill", memory="1MB")
    assert "memory" in error.what
    assert "DuckDB(memory=…, spill=…)" in error.remedy


def test_folders_that_cannot_be_spilled_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SourceError, match="no such folder to spill to"):
        ek.collapse("x.csv", DESIGN, unit="farm", time="year", engine=DuckDB(spill=tmp_path / "none"))

    def denied(**_: Any) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(tempfile, "mkdtemp", denied)
    with pytest.raises(SourceError, match=r"no temporary folder can be made \(Permission denied\)"):
        ek.collapse("x.csv", DESIGN, unit="farm", time="year", engine=DuckDB(spill=tmp_path))


ROWS: dict[str, tuple[Change, type[EvalkitError], str]] = {
    "no rows": (lambda f: f[:0], DataError, "the table has no rows"),
    "no outcome": (lambda f: f.assign(y=np.nan), DesignError, "y is missing (200 rows): no rows are left"),
    "no unit": (lambda f: f.assign(farm=f["farm"].where(f.index != 3)), DataError, "the unit is missing in 1 rows"),
    "no period": (lambda f: f.assign(year=f["year"].where(f.index != 3)), DataError, "the period is missing in 1 rows"),
    "no county": (
        lambda f: f.assign(county=f["county"].where(f.index != 3)),
        DataError,
        "the unit of assignment is missing in 1 rows",
    ),
    "twice": (
        lambda f: pd.concat([f, f[6:7].assign(y=9.0)]),
        DataError,
        "1 units have several rows for one period; the first is farm 1",
    ),
    "twice, once without outcome": (
        lambda f: pd.concat([f, f[6:7].assign(y=np.nan)]),
        DataError,
        "1 units have several rows for one period; the first is farm 1",
    ),
    "adoption": (
        lambda f: f.assign(first=f["first"].where(f.index != 3)),
        DataError,
        "column 'first': adoption varies within farm 0",
    ),
    "infinite": (lambda f: f.assign(y=f["y"].where(f.index != 3, -np.inf)), DataError, "'y' is infinite in 1 rows"),
    "infinite unit": (lambda f: f.assign(farm=f["farm"].where(f.index != 3, np.inf)), DataError, "unit is infinite"),
    "large": (lambda f: f.assign(y=f["y"] * 1e200), DataError, "of which no squares can be taken"),
    "small": (lambda f: f.assign(y=f["y"] * 1e-200), DataError, "of which no squares can be taken"),
    "moments": (
        lambda f: pd.concat([f] * 51).assign(year=np.arange(200 * 51)),
        DataError,
        "'year' has more than 10,000 values",
    ),
    "blanks": (
        lambda f: f.assign(farm="户" + f["farm"].astype(str) + np.where(f.index == 3, "\u3000", "")),
        DataError,
        "differ by blanks around them alone",
    ),
    "blanks of counties": (
        lambda f: f.assign(county="县" + f["county"].astype(str) + np.where(f["farm"] == 3, " ", "")),
        DataError,
        "differ by blanks around them alone",
    ),
    "text": (lambda f: f.assign(y="高"), DataError, "'高' is not a number; 200 values"),
    "structure": (
        lambda f: f.assign(county=pd.Series([{"code": one} for one in f["county"]], dtype=object)),
        DataError,
        "neither text, numbers nor dates",
    ),
}


@pytest.mark.parametrize("case", ROWS)
def test_rows_that_cannot_be_used_are_refused_by_all(tmp_path: Path, case: str) -> None:
    change, kind, says = ROWS[case]
    frame = change(farms())
    table = pa.Table.from_pandas(frame, preserve_index=False)
    errors = [refused(one, tmp_path / "spill", kind) for one in (table, pl.from_arrow(table))]
    assert str(errors[0]) == str(errors[1])
    assert says in str(errors[0])
    if case not in ("structure", "moments", "large", "small"):
        with pytest.raises(kind):  # as of pandas frames
            ek.collapse(frame, DESIGN, unit="farm", time="year")


def test_what_is_no_table_is_refused(tmp_path: Path) -> None:
    assert "a int is not a table" in str(refused(5, tmp_path / "spill", DataError))
    design = ek.Design(outcome="year", adoption="first", assigned_at="county")
    with pytest.raises(DataError, match="unit, time and outcome are not three columns"):
        ek.collapse(pa.table({"farm": [1]}), design, unit="farm", time="year")
