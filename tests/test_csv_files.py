"""CSV files: no text becomes a formula, no number changes, and papers get every name back as it was."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pypdf import PdfReader

import evalkit as ek
from evalkit.checks import LeaveOneOut
from evalkit.estimators import TwoWayFE
from evalkit.inference import Cluster
from evalkit.reporting import Papers, Tables
from evalkit.reporting.csv_files import list_texts, write_csv
from evalkit.reporting.exhibits import list_pictures
from evalkit.results.evidence import Desk, Evidence
from evalkit.tables.table import Table

FORMULAS = (
    "=1+1", "=cmd|' /C calc'!A0", "+cmd|' /C calc'!A0", "-2+3+cmd|' /C calc'!A0", "@SUM(1)", "+1+1", "-1+1", "-(1)", "-a",
    "\t=1+1", "\r=1+1", "\n=1+1", " =1+1", "\ttext", "＝1+1", "＋1+1", "－a", "＠SUM(1)", "'=1+1", "''=1+1", "-5 kg",
    '=HYPERLINK("x","y")', "-1=1", "+5 %=1", "=true", "=", "@",
)  # fmt: skip
FIGURES = (
    "-", "+", "–", "-5", "+5", "+5 %", "-0.5%", "-.5e-3", "-0.123 (0.025) ***; -0.158 (0.032) ***", "-0.123 (0.025) ***；",
    "- 5", "−5 kg", "1-2", "a=b", "'", "'a", "", "木垒县", "true", "2013", "#N/A", "'-5",
)  # fmt: skip


def written(folder: Path, **columns: object) -> str:
    write_csv(pd.DataFrame(columns), folder / "t.csv")
    return (folder / "t.csv").read_bytes().decode("utf-8")


def read(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "t.csv", dtype=str, keep_default_na=False)


@pytest.mark.parametrize("dtype", ["object", "str", "category"])
def test_formulas_are_marked_as_text_and_figures_are_not(tmp_path: Path, dtype: str) -> None:
    table = pd.DataFrame({"unit": pd.Series([*FORMULAS, *FIGURES, None], dtype=dtype)})
    before = table.copy()
    write_csv(table, tmp_path / "t.csv")
    cells = read(tmp_path)["unit"].tolist()
    lines = [one.replace("\r", "\n") for one in FORMULAS]
    assert cells == [*(f"'{one}" for one in lines), *FIGURES, ""]
    pd.testing.assert_frame_equal(table, before)


@settings(max_examples=60, deadline=None)
@given(st.text(st.sampled_from("'=+-@ \t\n\r\"，,;0.5e%a木＝－*()"), max_size=8))
def test_nothing_that_is_written_begins_as_a_formula(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    """Where a row of the file begins, as Excel and Python's csv see it, or a cell in it, no formula stands."""
    folder = tmp_path_factory.mktemp("csv")
    write_csv(pd.DataFrame({"first": [text], text: ["x"], "last": [text]}), folder / "t.csv")
    table = pd.read_csv(folder / "t.csv", dtype=str, keep_default_na=False, skip_blank_lines=False)
    assert table.shape == (1, 3)
    harmless = re.compile(r"[+\-－]?[\d.\s]*(e[+-]?\d*)?[\d.,;，%*()+\-\s]*", re.IGNORECASE)
    for cell in (table.iloc[0, 0], table.iloc[0, 2], str(table.columns[1]).removesuffix(".1")):
        begins = cell.lstrip()[:1] in tuple("=+-@＝－") and cell.strip() != ""
        assert not begins or (harmless.fullmatch(cell.strip()) and cell.lstrip()[0] not in "=@＝")


def test_headers_are_texts_too(tmp_path: Path) -> None:
    assert written(tmp_path, **{"=1+1": [1], "y": [2]}) == "'=1+1,y\n1,2\n"


def test_a_carriage_return_begins_no_row(tmp_path: Path) -> None:
    """Python's csv does not quote it, and pandas and Excel begin a row at it, here with a formula."""
    assert written(tmp_path, unit=["a\r=1+1", "b\r\nc"], y=[1, 2]) == 'unit,y\n"a\n=1+1",1\n"b\nc",2\n'


def test_numbers_and_dates_are_written_as_pandas_writes_them(tmp_path: Path) -> None:
    table = pd.DataFrame(
        {
            "float": [-0.1, np.nan, -np.inf],
            "int": [-1, 2, 3],
            "bool": [True, False, True],
            "date": pd.to_datetime(["2011-12-31"] * 3),
            "mixed": pd.Series([-1, "a", None], dtype=object),
            "Int64": pd.array([-1, None, 3], dtype="Int64"),
            "none": [None] * 3,
        }
    )
    write_csv(table, tmp_path / "t.csv")
    assert (tmp_path / "t.csv").read_text(encoding="utf-8") == table.to_csv(index=False, lineterminator="\n")
    assert list_texts(table) == ["mixed"]


# --- papers ---

NAMES = ("true", "2013", "none", "auto", "=cmd|' /C calc'!A0", "-1+1", "'=x", "False")


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> tuple[Evidence, Path]:
    """A study of eight counties with difficult names, its tables and the CSVs of its figures (synthetic)."""
    folder = tmp_path_factory.mktemp("names")
    draw = np.random.default_rng(3)
    rows = [
        (name, f"{name}{farm}", 2011 + year, draw.normal(), 2014 if i < 4 else None)
        for i, name in enumerate(NAMES)
        for farm in range(3)
        for year in range(5)
    ]
    frame = pd.DataFrame(rows, columns=["county", "farm", "year", "y", "first"])
    panel = ek.Panel.from_frame(frame, unit="farm", time="year")
    design = ek.Design(outcome="y", adoption="first", assigned_at="county")
    main = ek.estimate(panel, design, TwoWayFE(), inference=Cluster())
    known = pd.DataFrame(
        {"county": pd.array(NAMES, dtype="str"), "code": pd.array(["0101"] * 8, dtype="str"), "=n": range(8)}
    )
    references = {"known": Table("known.csv", known, ())}
    found = (("main", ek.check(main, LeaveOneOut())[0]),)
    evidence = Evidence("names", {"main": main}, found, {"inputs": []}, references=references)
    places = Desk(*(folder / name for name in ("home", "processed", "figures", "documents")))
    for path in (places.home, places.processed, places.figures, places.documents):
        path.mkdir()
    Tables().write(evidence, places)
    for one in list_pictures(evidence):
        write_csv(one.table, places.figures / f"{one.name}.csv")
    body = ['#import "evalkit.typ": *', '#let drawn = exhibit("main", "leave_one_out")']
    for i, name in enumerate(NAMES):
        body.append(f'[#num(row-where(drawn, "left_out", "{name}").estimate, 6)]')
        body.append(f'[#plain(pick(reference("known"), county: "{name}").at("=n"))]')
        body.append(f"[#(drawn.at({i}).left_out.len())]")
    body.append(
        '[#type(drawn.first().treated) #type(drawn.first().estimate) #pick(reference("known"), county: "true").code]'
    )
    (places.home / "paper.typ").write_text("\n".join(body), encoding="utf-8")
    (pdf,) = Papers().write(evidence, places)
    return evidence, pdf


def test_papers_find_units_whatever_they_are_called(desk: tuple[Evidence, Path]) -> None:
    evidence, pdf = desk
    drawn = evidence.findings[0][1].table.set_index("left_out")
    expected = "".join(
        f"[{drawn.loc[name, 'estimate']:.6f}][{i}][{len(drawn.index[i])}]" for i, name in enumerate(NAMES)
    ).replace("-", "−")
    text = "".join("".join(page.extract_text() for page in PdfReader(pdf).pages).split())
    assert text == f"{expected}[boolfloat0101]"


def test_tables_of_a_run_hold_no_formula(desk: tuple[Evidence, Path]) -> None:
    files = [path for path in desk[1].parents[1].rglob("*.csv") if path.stat().st_size > 1]
    assert {path.name for path in files} >= {
        "estimates.csv",
        "known.csv",
        "finding_main_LeaveOneOut.csv",
        "main_leave_one_out.csv",
    }
    for path in files:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
        cells = [*table.columns, *table.to_numpy().ravel().tolist()]
        assert not [
            one for one in cells if one.startswith(("=", "@", "+", "-")) and not re.fullmatch(r"-[\d.e-]+|-inf", one)
        ]
