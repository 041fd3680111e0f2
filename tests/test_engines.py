"""Engines: the cells that they make carry the regression of the rows, and are the same bit for bit whatever makes them."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

import evalkit as ek
from evalkit.engines.embedded import DuckDB, EmbeddedEngine
from evalkit.engines.whole_numbers import WholeNumbers
from evalkit.estimators import Split, TripleDifference, TwoWayFE
from evalkit.inference import Cluster, Robust

PLAIN: dict[str, Any] = {"outcome": "y", "adoption": "first", "assigned_at": "county"}


def farms(seed: int = 5) -> pd.DataFrame:
    """128 farms in 8 counties over 7 years, unbalanced, in three cohorts, with gaps (synthetic)."""
    rng = np.random.default_rng(seed)
    farm, year = np.repeat(np.arange(128), 7), np.tile(np.arange(2015, 2022), 128)
    county, kind = farm % 8, farm // 8
    first = np.array([2018.0, 2019.0, 2020.0, np.nan])[county % 4]
    frame = pd.DataFrame({"farm": farm, "year": year, "county": county, "first": first, "on": 1 * (year >= first)})
    frame["y"] = rng.normal(size=128)[farm] + 0.4 * frame["on"] + rng.normal(size=len(frame))
    frame["big"], frame["sector"] = kind % 2, np.array(["粮", "棉", "果"])[kind % 3]
    frame["w"] = np.array([1.0, 2.5, 0.0, 1.0])[kind % 4]
    frame["price"] = rng.normal(size=(8, 7))[county, year - 2015]
    frame["loan"] = np.where(frame["on"] == 1, 1.0 + kind % 2, np.where(kind % 2, 0.0, np.nan))
    frame.loc[rng.random(len(frame)) < 0.06, "y"] = np.nan
    return frame[rng.random(len(frame)) > 0.1].reset_index(drop=True)


def moved(frame: pd.DataFrame) -> pd.DataFrame:
    """Let some farms go to a county of the same adoption."""
    moves = (frame["farm"] % 10 == 3) & (frame["year"] >= 2018)
    return frame.assign(county=np.where(moves, (frame["county"] + 4) % 8, frame["county"]))


def text(frame: pd.DataFrame) -> pd.DataFrame:
    """Write units, counties and years as text, and never treated as a word."""
    first = frame["first"].map(lambda year: "无" if np.isnan(year) else f"{year:.0f}年")
    named = {"farm": "户" + frame["farm"].astype(str), "county": "县" + frame["county"].astype(str)}
    return frame.assign(**named, year=frame["year"].astype(str) + "年", first=first)


def quarters(frame: pd.DataFrame) -> pd.DataFrame:
    def quarter(year: float) -> str | None:
        return None if np.isnan(year) else f"{2015 + int(year - 2015) // 4}Q{int(year - 2015) % 4 + 1}"

    return frame.assign(year=frame["year"].map(quarter), first=frame["first"].map(quarter))


def dates(frame: pd.DataFrame) -> pd.DataFrame:
    """Write years and adoption as dates, farms as dates of birth, counties as categories."""
    first = pd.to_datetime(frame["first"].map(lambda year: None if np.isnan(year) else f"{year:.0f}-03-05"))
    year, farm = pd.to_datetime(frame["year"].astype(str) + "-12-31"), frame["farm"]
    county = ("县" + frame["county"].astype(str)).astype("category")
    return frame.assign(
        year=year, first=first, county=county, farm=pd.Timestamp("1950-01-01") + farm * pd.Timedelta("1D")
    )


def typed(frame: pd.DataFrame) -> pd.DataFrame:
    """Store whole numbers in other types, beyond what a float64 holds; adoption with NA."""
    farm, county = frame["farm"] + 2**53 + 1, frame["county"].astype("uint8")
    return frame.assign(
        farm=farm.astype("uint64"), county=county, big=frame["big"] == 1, first=frame["first"].astype("Int64")
    )


NAMES = {
    "farm": "position",
    "year": "cell",
    "county": "c0",
    "first": "reason",
    "y": "w0",
    "price": "left",
    "big": "used",
}
ODD = {"farm": 'a"b', "year": "y.r", "county": "县 名", "first": "it's", "y": "select", "sector": "temp"}

Case = tuple[Callable[[pd.DataFrame], pd.DataFrame], dict[str, Any], tuple[str, ...]]
CASES: dict[str, Case] = {
    "plain": (lambda f: f, PLAIN, ()),
    "movers": (lambda f: moved(f).assign(area=lambda f: f["county"] // 4), {**PLAIN, "above": "area"}, ("county", "sector")),
    "weights and effects": (lambda f: f, {**PLAIN, "weights": "w", "absorb": ("big*year", "sector*year")}, ()),
    "covariates": (lambda f: f, {**PLAIN, "covariates": ("price", ek.indicators("sector"))}, ()),
    "categories that change": (
        lambda f: f.assign(size=(f["farm"] // 8 + f["year"] // 3) % 3).astype({"size": object}),
        {**PLAIN, "covariates": (ek.indicators("size"),)},
        (),
    ),
    "dose": (lambda f: f, {**PLAIN, "dose": "loan"}, ()),
    "eligible": (lambda f: f.assign(big=f["big"].where(f["farm"] % 9 > 0)), {**PLAIN, "eligible": "big"}, ()),
    "treated": (typed, {"outcome": "y", "treated": "on", "assigned_at": "county", "absorb": ("big*year",)}, ()),
    "text": (text, {**PLAIN, "never": "无"}, ("sector",)),
    "quarters": (quarters, PLAIN, ()),
    "dates": (dates, PLAIN, ()),
    "types": (typed, {**PLAIN, "covariates": (ek.indicators("big"),)}, ()),
    "gaps": (
        lambda f: f.assign(sector=f["sector"].where(f["sector"] != "果", None), w=f["w"].where(f["farm"] % 7 > 0)),
        {**PLAIN, "absorb": ("sector*year",), "weights": "w"},
        (),
    ),
    "codes for never": (lambda f: f.assign(first=f["first"].fillna(-1)), {**PLAIN, "never": (-1, 9999)}, ()),
    "huge": (lambda f: f.assign(y=-f["y"] * 1e12), PLAIN, ()),
    "tiny": (lambda f: f.assign(y=f["y"] * 1e-12), PLAIN, ()),
    "outlier": (lambda f: f.assign(y=np.where(f.index == 10, 1e12, f["y"])), PLAIN, ()),
    "names": (
        lambda f: f.rename(columns=NAMES),
        {"outcome": "w0", "adoption": "reason", "assigned_at": "c0", "covariates": ("left",), "absorb": ("used*cell",)},
        ("sector",),
    ),
    "odd names": (
        lambda f: f.rename(columns=ODD),
        {"outcome": "select", "adoption": "it's", "assigned_at": "县 名", "absorb": ("temp*y.r",)},
        (),
    ),
}  # fmt: skip


def doors(frame: pd.DataFrame, folder: Path) -> dict[str, Any]:
    """The same rows, by every way in which they can be handed over."""
    table = pa.Table.from_pandas(frame, preserve_index=False)
    third = len(table) // 3
    (folder / "parts").mkdir()
    for i in range(3):
        pq.write_table(table.slice(i * third, third if i < 2 else None), folder / f"parts/part-{i}.parquet")
    pq.write_table(table, folder / "one.parquet")
    with duckdb.connect(str(folder / "one.duckdb")) as database:
        database.register("held", table)
        database.sql("create table farms as from held")
    frame.to_csv(folder / "one.csv", index=False)
    return {
        "table": table,
        "reader": table.to_reader(max_chunksize=100),
        "dataset": ds.dataset(folder / "parts"),
        "Parquet": folder / "one.parquet",
        "folder": folder / "parts",
        "pattern": str(folder / "parts/*.parquet"),
        "paths": [folder / f"parts/part-{i}.parquet" for i in (2, 0, 1)],
        "CSV": folder / "one.csv",
        "database": folder / "one.duckdb",
        "relation": duckdb.connect().from_arrow(table),
        "polars": pl.from_arrow(table),
        "lazy": pl.scan_parquet(folder / "one.parquet"),
    }


def assert_same_bits(one: ek.Panel, other: ek.Panel) -> None:
    pd.testing.assert_frame_equal(one.frame, other.frame, check_exact=True)
    assert (one.ledger, one.notes) == (other.ledger, other.notes)


def assert_same_estimates(cells: ek.Panel, rows: ek.Panel, design: ek.Design, rtol: float = 1e-10) -> None:
    estimator = TripleDifference() if design.eligible else TwoWayFE()
    for inference in (Cluster(), Robust()):
        one, other = (ek.estimate(panel, design, estimator, inference=inference) for panel in (cells, rows))
        np.testing.assert_allclose(one.params, other.params, rtol=rtol)
        np.testing.assert_allclose(one.vcov(), other.vcov(), rtol=0, atol=rtol * other.vcov().abs().to_numpy().max())
        assert one.glance()[["n_obs", "n_units"]].equals(other.glance()[["n_obs", "n_units"]])


@pytest.mark.parametrize("case", CASES)
def test_cells_of_all_engines_carry_the_regression_of_the_rows(case: str) -> None:
    change, fields, by = CASES[case]
    frame, design = change(farms()), ek.Design(**fields)
    unit, time = frame.columns[:2]
    key: dict[str, Any] = {"unit": unit, "time": time, "by": by}
    table = pa.Table.from_pandas(frame, preserve_index=False)
    cells = ek.collapse(table, design, **key, engine=DuckDB(threads=2))
    assert cells.within is not None
    assert len(cells) < len(frame)
    assert_same_bits(ek.collapse(pl.from_arrow(table), design, **key), cells)
    shuffled = table.take(np.random.default_rng(0).permutation(len(table)))
    assert_same_bits(ek.collapse(pl.DataFrame(shuffled).lazy(), design, **key), cells)
    assert_same_estimates(cells, ek.Panel.from_frame(frame, unit=unit, time=time), design)
    held = ek.collapse(frame, design, **key)
    assert [(line.step, line.reason, line.rows, line.units) for line in cells.ledger] == [
        (line.step, line.reason, line.rows, line.units) for line in held.ledger
    ]
    assert cells.notes[:-1] == held.notes[:-1]


def test_every_door_leads_to_the_same_cells(tmp_path: Path) -> None:
    frame = farms().drop(columns="loan").assign(first=lambda f: f["first"].fillna(0).astype(int))
    design = ek.Design(**PLAIN, weights="w", absorb=("big*year",))
    cells = {
        name: ek.collapse(door, design, unit="farm", time="year", by=("sector",), engine=DuckDB(threads=1 + i % 2))
        for i, (name, door) in enumerate(doors(frame, tmp_path).items())
    }
    labels = cells["table"].frame.index
    cells["CSV"].frame.index = labels  # which name another unit of the cell: the first as text
    for panel in cells.values():
        assert_same_bits(panel, cells["table"])
    assert_same_estimates(cells["table"], ek.Panel.from_frame(frame, unit="farm", time="year"), design)


def test_a_hundred_periods_take_several_words() -> None:
    rng = np.random.default_rng(2)
    farm, month = np.repeat(np.arange(80), 100), np.tile(np.arange(100), 80)
    frame = pd.DataFrame(
        {"farm": farm, "month": month, "county": farm % 8, "first": np.where(farm % 8 < 3, 40.0, np.nan)}
    )
    frame["y"], frame["kind"] = rng.normal(size=8000), (farm // 8 % 2 + month // 30) % 3
    # A farm is away for some of the months, in all words; farms that are away in others make other cells.
    frame = frame[(month + farm // 40 * 31) % 90 > 4]
    design = ek.Design(**PLAIN, covariates=(ek.indicators("kind"),))
    cells = ek.collapse(pl.from_pandas(frame), design, unit="farm", time="month")
    assert cells.within is not None
    assert_same_estimates(cells, ek.Panel.from_frame(frame, unit="farm", time="month"), design)


def test_a_large_constant_costs_what_a_mean_of_cells_is_rounded_by() -> None:
    frame = farms().assign(y=lambda f: f["y"] + 1e9)
    design = ek.Design(**PLAIN)
    cells = ek.collapse(pl.from_pandas(frame), design, unit="farm", time="year")
    rows = ek.Panel.from_frame(frame, unit="farm", time="year")
    # The mean of a cell is one float64, which at 1e9 is right to 1.2e-7 / 2.
    assert_same_estimates(cells, rows, design, rtol=20 * np.spacing(1e9))


def test_an_outlier_that_a_group_does_not_hold_costs_it_no_digits() -> None:
    frame = farms()
    frame["y"] = np.where((frame["sector"] == "粮") & (frame["year"] == 2016), frame["y"] + 1e12, frame["y"])
    cells = ek.collapse(pl.from_pandas(frame), ek.Design(**PLAIN), unit="farm", time="year", by=("sector",))
    rows = ek.Panel.from_frame(frame, unit="farm", time="year")
    one, other = (
        ek.estimate(panel, ek.Design(**PLAIN), Split(by="sector", estimator=TwoWayFE()), inference=Robust())
        for panel in (cells, rows)
    )
    calm = [i for i, name in enumerate(other.params.index) if "粮" not in str(name)]
    assert len(calm) == 2
    np.testing.assert_allclose(one.params.iloc[calm], other.params.iloc[calm], rtol=1e-10)
    np.testing.assert_allclose(np.diag(one.vcov())[calm], np.diag(other.vcov())[calm], rtol=1e-10)


@pytest.mark.parametrize(
    ("change", "fields", "why"),
    [
        (lambda f: f.assign(x=f["farm"] * 0.1), {"covariates": ("x",)}, "'x' differs between units of one cell"),
        (lambda f: f.assign(w=f["year"] - 2014.0), {"weights": "w"}, "'w' changes within a unit"),
        (lambda f: f.assign(s=f["year"] % 2), {"absorb": ("s*county",)}, "'s' changes within a unit"),
        (moved, {"absorb": ("county",)}, "'county' changes within a unit"),
        (lambda f: f, {"assigned_at": "farm"}, "no two units have the same assignment"),
        (lambda f: f.assign(loan=f["loan"].where(f["farm"] > 0)), {"dose": "loan"}, "'loan' is empty in treated rows"),
    ],
    ids=["covariate", "weight", "effect", "effect of movers", "unit", "dose"],
)
def test_rows_are_taken_where_cells_would_be_another_regression(
    change: Callable[[pd.DataFrame], pd.DataFrame], fields: dict[str, Any], why: str
) -> None:
    frame, design = change(farms()), ek.Design(**{**PLAIN, **fields})
    table = pa.Table.from_pandas(frame, preserve_index=False)
    for door in (table, pl.from_arrow(table)):
        panel = ek.collapse(door, design, unit="farm", time="year")
        (note,) = panel.notes
        assert why in str(note)
        assert "未合并为单元格" in note.text("zh")
        assert len(panel) == len(frame)
        assert_same_estimates(panel, ek.Panel.from_frame(frame, unit="farm", time="year"), design)


@pytest.mark.parametrize(("most", "cells"), [(3, True), (2, False)])
def test_a_dose_of_too_many_values_leaves_the_rows(monkeypatch: pytest.MonkeyPatch, most: int, cells: bool) -> None:
    monkeypatch.setattr("evalkit.designs.aggregation._MOST_VALUES", most)
    design = ek.Design(**PLAIN, dose="loan")  # which is 0, 1 or 2
    panel = ek.collapse(pl.from_pandas(farms()), design, unit="farm", time="year")
    assert (panel.within is not None) == cells
    assert cells or "'loan' has more than 2 values" in str(panel.notes[0])


def test_errors_of_rows_that_are_taken_name_unit_and_period() -> None:
    frame = farms().assign(on=lambda f: np.where((f["farm"] == 0) & (f["year"] == 2021), 0, f["on"]))
    design = ek.Design(outcome="y", treated="on", assigned_at="county")
    panel = ek.collapse(pl.from_pandas(frame), design, unit="farm", time="year")
    with pytest.raises(ek.errors.DesignError, match=r"row \(0, 2021\): treatment switches off"):
        ek.estimate(panel, design, TwoWayFE())


def test_no_table_as_long_as_the_rows_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    n = 4_000
    farm, year = np.repeat(np.arange(n), 5), np.tile(np.arange(2015, 2020), n)
    table = pa.table({"farm": farm, "year": year, "county": farm % 8, "y": np.random.default_rng(1).normal(size=5 * n)})
    table = table.append_column("first", pa.array(np.where(farm % 8 < 3, 2017.0, np.nan), from_pandas=True))
    lengths = list[int]()
    fetch, make = EmbeddedEngine.fetch, pd.DataFrame.__init__

    def fetched(self: EmbeddedEngine, frame: Any) -> pa.Table:
        found = fetch(self, frame)
        lengths.append(found.num_rows)
        return found

    def made(self: pd.DataFrame, *given: Any, **named: Any) -> None:
        make(self, *given, **named)
        lengths.append(len(self))

    monkeypatch.setattr(EmbeddedEngine, "fetch", fetched)
    monkeypatch.setattr(pd.DataFrame, "__init__", made)
    cells = ek.collapse(table, ek.Design(**PLAIN), unit="farm", time="year")
    assert len(cells) == 8 * 5
    assert max(lengths) == len(cells)


def test_without_squares_only_methods_by_rows_lack_an_error() -> None:
    design, table = ek.Design(**PLAIN), pa.Table.from_pandas(farms(), preserve_index=False)
    whole, less = (ek.collapse(table, design, unit="farm", time="year", squares=one) for one in (True, False))
    assert "the variation inside cells was left out" in str(less.notes[-1])
    one, other = (ek.estimate(panel, design, TwoWayFE(), inference=Cluster()) for panel in (whole, less))
    assert one.params.equals(other.params)
    assert one.bse.equals(other.bse)
    assert np.isnan(ek.estimate(less, design, TwoWayFE(), inference=Robust()).bse["ATT"])


@pytest.mark.parametrize("most", [1, 400, 2**20, 2**31])
def test_numbers_are_split_and_joined_without_loss(most: int) -> None:
    import narwhals as nw

    rng = np.random.default_rng(3)
    values = np.concatenate(
        [rng.normal(size=500), -rng.normal(size=500) * 2.0**-30, [0.0, -1.0, 7.999, -7.999, 2.0**-80]]
    )
    parts = WholeNumbers.summed("d", most, 140)
    frame = nw.from_native(pl.DataFrame({"value": values}).lazy())
    table = parts.split(frame, nw.col("value"), 3).collect().to_native().to_arrow()
    for name in parts.names:
        assert np.abs(table.column(name).to_numpy()).max() * most < 2**63
    np.testing.assert_array_equal(parts.join(table, 3), values)


def test_sums_of_whole_numbers_are_exact() -> None:
    import narwhals as nw

    values = np.array([1e16, 1.0, -1e16, 3.0, 2.0**-20] * 100)
    parts = WholeNumbers.summed("y", len(values), 120)
    frame = nw.from_native(pl.DataFrame({"value": values}).lazy())
    summed = parts.split(frame, nw.col("value"), 54).select(*(nw.col(name).sum() for name in parts.names))
    (found,) = parts.join(summed.collect().to_native().to_arrow(), 54)
    assert found == math.fsum(values)


def test_nan_in_a_parquet_file_is_missing_whatever_its_statistics_say(tmp_path: Path) -> None:
    """DuckDB 2.0 takes isnan() for false where the statistics of a file leave NaN out, as pyarrow writes them."""
    frame = farms()
    names = ("farm", "year", "county", "first", "y")
    stored = pa.table({name: pa.array(frame[name].to_numpy(), from_pandas=False) for name in names})
    assert stored.column("y").null_count == 0
    pq.write_table(stored, tmp_path / "farms.parquet")
    design = ek.Design(**PLAIN)
    one, other = (ek.collapse(of, design, unit="farm", time="year") for of in (tmp_path / "farms.parquet", frame))
    estimates = [ek.estimate(cells, design, TwoWayFE(), inference=Cluster()).params.iloc[0] for cells in (one, other)]
    assert estimates[0] == pytest.approx(estimates[1], rel=1e-12)
