"""widen: a long table as a wide one, against pandas' pivot and loops; every refusal with its what, where and remedy."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import evalkit as ek
from evalkit.errors import DataError
from evalkit.sources import Delimited
from evalkit.study.config import read_study
from evalkit.study.running import run_study
from evalkit.tables.table import Provenance, Table
from sampling import inputs

pytestmark = pytest.mark.filterwarnings("error")

BY = {"keys": ("Area", "Year"), "names": ("Element", "Item"), "value": "Value"}


def long(rows: list[tuple[Any, ...]], *, start: int = 2, **more: list[Any]) -> Table:
    """Make a table of area, year, element, item, value and unit, as agencies publish them (synthetic)."""
    frame = pd.DataFrame(rows, columns=["Area", "Year", "Element", "Item", "Value", "Unit"])
    frame = frame.assign(**more).set_axis(pd.RangeIndex(start, start + len(rows), name="row"))
    return Table("fao.csv", frame, (Provenance("fao.csv", "0" * 64, notes="as downloaded"),))


ROWS: list[tuple[Any, ...]] = [
    ("Angola", 1961, "Area", "Cassava, fresh", 10.0, "ha"),
    ("Angola", 1961, "Production", "Cassava, fresh", 1.5, "t"),
    ("Zambia", 1961, "Production", "Cassava, fresh", 2.5, "t"),
    ("Angola", 1962, "Production", "Cassava, fresh", 1.75, "t"),
    ("Angola", 1962, "Area", "Maize", 4.0, "ha"),
]


def wide(rows: list[tuple[Any, ...]] = ROWS, table: Table | None = None, **options: Any) -> Table:
    return ek.widen(table or long(rows), **{**BY, "unit": "Unit", **options})


def refused(rows: list[tuple[Any, ...]] = ROWS, table: Table | None = None, **options: Any) -> DataError:
    with pytest.raises(DataError) as caught:
        wide(rows, table, **options)
    return caught.value


def says(error: DataError, what: str, where: str, remedy: str) -> None:
    assert what in error.what
    assert where in error.where
    assert remedy in error.remedy


def test_a_row_per_key_and_a_column_per_series() -> None:
    given = long(ROWS)
    before = given.frame.copy()
    table = wide(table=given)
    pd.testing.assert_frame_equal(given.frame, before)
    assert list(table.frame.columns) == [
        "Area",
        "Year",
        "Area / Cassava, fresh",
        "Production / Cassava, fresh",
        "Area / Maize",
    ]
    assert table.frame.index.tolist() == [2, 4, 5]  # of the first value
    assert table.frame.index.name == "row"
    assert table.frame["Production / Cassava, fresh"].tolist() == [1.5, 2.5, 1.75]
    assert table.frame["Area / Maize"].isna().tolist() == [True, True, False]
    assert table.units == {"Area / Cassava, fresh": "ha", "Production / Cassava, fresh": "t", "Area / Maize": "ha"}
    assert table.provenance[0].notes == "as downloaded; widened by Area, Year from 5 of 5 rows of fao.csv"
    assert wide(unit=None).units == {}


def test_chosen_series_under_the_names_of_the_study() -> None:
    table = wide(columns={"cassava": "Production / Cassava, fresh"})
    assert list(table.frame.columns) == ["Area", "Year", "cassava"]
    assert table.units == {"cassava": "t"}
    assert "3 of 5 rows" in table.provenance[0].notes
    assert (
        "2 rows of series that were not asked for were left out: Area / Cassava, fresh, Area / Maize"
        in table.provenance[0].notes
    )


@inputs(20, 200)
@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 3), st.sampled_from("pq"), st.sampled_from("uv")),
        unique=True,
        min_size=1,
    ),
    st.randoms(use_true_random=False),
)
def test_it_is_what_a_pivot_gives(cells: list[tuple[int, int, str, str]], random: Any) -> None:
    rows = [(*cell, random.random(), "t") for cell in cells]
    table = wide(rows)
    frame = pd.DataFrame(rows, columns=["Area", "Year", "Element", "Item", "Value", "Unit"])
    frame["series"] = frame["Element"] + " / " + frame["Item"]
    pivot = frame.pivot(index=["Area", "Year"], columns="series", values="Value")
    ours = table.frame.set_index(["Area", "Year"]).sort_index()[list(pivot.columns)]
    pd.testing.assert_frame_equal(ours, pivot, check_names=False)
    for row, key in zip(table.frame.index, table.frame[["Area", "Year"]].itertuples(index=False), strict=True):
        assert row == 2 + next(i for i, one in enumerate(rows) if one[:2] == tuple(key))


def test_the_order_of_the_rows_changes_no_bit() -> None:
    one, other = wide(ROWS).frame, wide(ROWS[::-1]).frame
    keys = ["Area", "Year"]
    pd.testing.assert_frame_equal(
        one.sort_values(keys).reset_index(drop=True), other[one.columns].sort_values(keys).reset_index(drop=True)
    )


def test_keys_keep_their_units_and_types() -> None:
    given = long(ROWS)
    table = wide(table=Table("t", given.frame, given.provenance, {"Year": "a", "Value": "x"}))
    assert table.units["Year"] == "a"
    assert "Value" not in table.units
    assert table.frame["Year"].dtype == np.int64
    assert wide(table=Table("t", given.frame, ())).provenance[0].notes.startswith("widened by")


# --- units ---

MIXED = [*ROWS, ("Angola", 1963, "Production", "Cassava, fresh", 1750.0, "kg")]


def test_a_series_in_several_units_is_refused_converted_or_chosen() -> None:
    chosen = {"c": "Production / Cassava, fresh"}
    says(
        refused(MIXED, columns=chosen),
        "'c' has several units: t (3 rows), kg (1 rows)",
        "fao.csv",
        'convert={"c": "…"}',
    )
    for to in ("t", "kg", "斤", "万吨"):
        table = wide(MIXED, columns=chosen, convert={"c": to})
        exact = [
            float(Fraction(x) * {"t": 1, "kg": 1000, "斤": 2000, "万吨": Fraction(1, 10_000)}[to])
            for x in (1.5, 2.5, 1.75, 1.75)
        ]
        assert table.frame["c"].tolist() == pytest.approx(exact, rel=1e-15)
        assert table.units == {"c": to}
    only = wide(MIXED, columns={"c": "Production / Cassava, fresh (kg)"})
    assert only.frame["c"].tolist() == [1750.0]
    assert "5 rows of series that were not asked for" in only.provenance[0].notes
    everything = wide(MIXED)  # each unit is a series of its own
    assert {"Production / Cassava, fresh (t)", "Production / Cassava, fresh (kg)"} <= set(everything.frame.columns)
    assert int(everything.frame.iloc[:, 2:].notna().sum().sum()) == len(MIXED)


def test_the_same_unit_may_be_written_in_several_ways() -> None:
    rows = [*ROWS[:2], ("Angola", 1962, "Production", "Cassava, fresh", 2.0, "tonnes")]
    table = wide(rows, columns={"c": "Production / Cassava, fresh"})
    assert table.units == {"c": "t"}
    assert wide(rows).frame.shape == (2, 4)
    assert wide(rows, columns={"c": "Production / Cassava, fresh (tonnes)"}).frame["c"].tolist() == [1.5, 2.0]


def test_units_that_cannot_be_converted() -> None:
    chosen = {"c": "Production / Cassava, fresh"}
    says(
        refused(columns=chosen, convert={"c": "ha"}), "measures mass", "series 'c', column 'Unit', rows 3, 4, 5", "area"
    )
    says(refused(columns=chosen, convert={"d": "t"}), "convert= names column 'd'", "fao.csv", "known are: c")
    says(refused(unit=None, convert={"c": "t"}), "no column of units", "fao.csv", "unit=")
    nameless = [*ROWS[:2], ("Angola", 1962, "Production", "Cassava, fresh", 2.0, None)]
    assert "t (1 rows), none (1 rows)" in refused(nameless, columns=chosen).what
    only = wide(nameless, columns={"c": "Production / Cassava, fresh (no unit)"})
    assert (only.frame["c"].tolist(), only.units) == ([2.0], {})


# --- repeats, gaps, names ---


def test_equal_repeats_are_kept_once_and_others_refused() -> None:
    table = wide([*ROWS, ROWS[2], ROWS[2]])
    assert len(table.frame) == 3
    assert "from 5 of 7 rows" in table.provenance[0].notes
    assert "2 rows that repeat another were left out" in table.provenance[0].notes
    changed = [*ROWS, (*ROWS[2][:4], 9.0, "t")]
    says(
        refused(changed),
        "1 rows have the keys and the series of another and a different value",
        "rows 4 and 7",
        "keys=",
    )
    missing = [*ROWS, (*ROWS[2][:4], None, "t")]
    assert "a different value" in refused(missing).what
    assert len(wide([*missing[:2], *missing[3:], missing[5]]).frame) == 3  # missing twice is equal
    converted = [*ROWS, (*ROWS[2][:4], 2500.0, "kg")]  # equal once they are in one unit
    assert (
        "1 rows that repeat"
        in wide(converted, columns={"c": "Production / Cassava, fresh"}, convert={"c": "t"}).provenance[0].notes
    )


@pytest.mark.parametrize("column", ["Area", "Year", "Element", "Item"])
def test_missing_keys_and_names_are_refused_by_row(column: str) -> None:
    given = long(ROWS)
    frame = given.frame.astype({column: "object"})
    frame.loc[4, column] = None
    says(
        refused(table=Table("fao.csv", frame, given.provenance)),
        "is missing in 1 rows",
        f"column '{column}', row 4",
        "fill it in",
    )


@pytest.mark.parametrize(
    ("options", "what", "remedy"),
    [
        ({"keys": ("Aera", "Year")}, "no column 'Aera'", "did you mean 'Area'"),
        ({"names": ("Elements",)}, "no column 'Elements'", "did you mean 'Element'"),
        ({"value": "value "}, "no column 'value '", "did you mean 'Value'"),
        ({"unit": "Units"}, "no column 'Units'", "did you mean 'Unit'"),
        ({"flag": "Flag"}, "no column 'Flag'", "known are"),
        ({"keys": "Area"}, "keys= names no columns", 'keys=("…",)'),
        ({"names": ()}, "names= names no columns", 'names=("…",)'),
        ({"keys": ("Area", "Year", "Item")}, "'Item' is named twice", "one part"),
        ({"columns": {"c": "Production / Casava"}}, "series 'Production / Casava' (for 'c')", "'Production / Cassava"),
        ({"columns": {"c": "Area / Maize", "d": "Area / Maize"}}, "same series for 'c' and 'd'", "leave one"),
        ({"columns": {"Year": "Area / Maize"}}, "called 'Year', as a key is", "columns="),
        ({"value": "Unit", "unit": None}, "'ha' is not a number", "plain numbers"),
    ],
)  # fmt: skip
def test_settings_that_do_not_fit_are_refused(options: dict[str, Any], what: str, remedy: str) -> None:
    says(refused(**options), what, "", remedy)


def test_two_series_that_would_have_one_name() -> None:
    rows = [("A", 1, "a / b", "c", 1.0, "t"), ("A", 1, "a", "b / c", 2.0, "t")]
    says(refused(rows), "two series would be called 'a / b / c'", "fao.csv", "names")


def test_flags_and_other_columns_go_to_the_notes() -> None:
    given = long(ROWS, Flag=["E", "E", "I", None, "A"], Domain=["QCL"] * 5)
    notes = wide(table=given, flag="Flag").provenance[0].notes
    assert "columns that were left out: Domain" in notes
    assert "Flag of Production / Cassava, fresh: none 1, E 1, I 1" in notes
    assert "Flag of Area / Maize: A 1" in notes
    assert "columns that were left out: Flag, Domain" in wide(table=given).provenance[0].notes


def test_many_rows_are_all_accounted_for() -> None:
    rng = np.random.default_rng(3)
    size = 5_000
    frame = pd.DataFrame(
        {
            "Area": rng.integers(0, 40, size),
            "Year": rng.integers(1961, 2022, size),
            "Element": rng.choice(["p", "q", "r"], size),
            "Item": rng.choice(["u", "v"], size),
            "Unit": "t",
        }
    )
    frame["Value"] = frame["Area"] * 1.0 + frame["Year"]  # equal where the keys are
    table = ek.widen(Table("t", frame, ()), **BY, unit="Unit", columns={"a": "p / u", "b": "q / v"})  # type: ignore[arg-type]
    notes = table.provenance[0].notes
    kept = int(table.frame[["a", "b"]].notna().sum().sum())
    counted = {
        word: int(part.split()[0]) for part in notes.split("; ") for word in ("repeat", "not asked") if word in part
    }
    assert kept + counted["repeat"] + counted["not asked"] == size
    assert f"from {kept} of {size} rows" in notes


# --- in a study ---

STUDY = """
[[source]]
name = "published"
kind = "Delimited"
path = "long.csv"
columns = { county = "Area", year = "Year", what = "Element", item = "Item", value = "Value", unit = "Unit" }
[[source]]
name = "policy"
kind = "Delimited"
path = "policy.csv"
[[step]]
name = "yields"
kind = "Widen"
of = "published"
keys = ["county", "year"]
names = ["what", "item"]
value = "value"
unit = "unit"
columns = { y = "Production / Maize" }
convert = { y = "kg" }
[panel]
sources = ["yields", "policy"]
unit = "county"
time = "year"
[design]
outcome = "y"
adoption = "first"
assigned_at = "county"
[[estimate]]
name = "main"
estimator = { kind = "TwoWayFE" }
inference = { kind = "Cluster" }
"""


def test_a_study_widens_a_long_table(tmp_path: Path) -> None:
    lines = ["Domain,Area,Year,Element,Item,Value,Unit"]
    for i in range(6):
        for year in range(2018, 2022):
            y = 10 + i + 2 * (year - 2018) + 5 * (i < 2 and year >= 2020) + (i * year) % 3
            lines += [f"Q,c{i},{year},Production,Maize,{y},t", f"Q,c{i},{year},Area,Maize,{i + 1},ha"]
    (tmp_path / "long.csv").write_text("\n".join(lines), encoding="utf-8")
    (tmp_path / "policy.csv").write_text(
        "county,first\nc0,2020\nc1,2020\n" + "".join(f"c{i},\n" for i in range(2, 6)), encoding="utf-8"
    )
    (tmp_path / "study.toml").write_text(STUDY, encoding="utf-8")
    evidence = run_study(tmp_path)
    long_table = Delimited(tmp_path / "long.csv").load().frame
    kept = long_table[long_table["Element"] == "Production"]
    on = (kept["Area"].isin(["c0", "c1"]) & (kept["Year"] >= 2020)).to_numpy(dtype=float)
    dummies = pd.get_dummies(kept[["Area", "Year"]].astype(str), drop_first=True, dtype=float).to_numpy()
    design = np.column_stack([np.ones(len(kept)), on, dummies])
    slope = np.linalg.lstsq(design, kept["Value"].to_numpy() * 1000.0, rcond=None)[0][1]
    assert evidence.estimates["main"].params.iloc[0] == pytest.approx(slope, rel=1e-9)
    step = read_study(tmp_path).steps["yields"]
    assert step.reads() == ("published",)
    assert step.files() == ()
