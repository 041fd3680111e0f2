"""Apache Spark in local mode finds the cells that DuckDB finds, to the last bit."""

from __future__ import annotations

import datetime as dt
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from evalkit import Design, Panel, collapse, estimate
from evalkit.errors import DataError
from evalkit.estimators import TwoWayFE
from evalkit.inference import Cluster

pytestmark = pytest.mark.spark


@pytest.fixture(scope="module")
def session() -> Iterator[Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pyspark 4.3 warns about pandas 3, which nothing here hands to it
        from pyspark.sql import SparkSession

        made = (
            SparkSession.builder.master("local[1]")
            .config("spark.ui.enabled", "false")
            .config("spark.sql.shuffle.partitions", "1")
            .config("spark.log.level", "ERROR")
            .getOrCreate()
        )
        yield made
        made.stop()


def farms() -> pd.DataFrame:
    """300 farms in 12 counties, unbalanced, one that moves, one value that is no number (synthetic)."""
    rng = np.random.default_rng(3)
    farm, year = np.repeat(np.arange(300), 6), np.tile(np.arange(2015, 2021), 300)
    county = farm % 12
    first = np.array([2017.0, 2018.0, 2019.0, np.nan])[county % 4]
    f = pd.DataFrame({"farm": farm, "year": year, "county.name": [f"县{one}" for one in county], "first": first})
    f["y"] = rng.normal(size=300)[farm] + 0.4 * (year >= first) + rng.normal(size=len(f))
    f["price"] = rng.normal(size=(12, 6))[county, year - 2015]
    f.loc[(f["farm"] == 7) & (f["year"] == 2020), "county.name"] = "县11"
    f.loc[rng.random(len(f)) < 0.05, "y"] = np.nan
    return f[rng.random(len(f)) > 0.1]


DESIGN = Design(outcome="y", adoption="first", assigned_at="county.name", covariates=("price",))


def test_spark_gives_the_cells_of_duckdb(session: Any, tmp_path: Path) -> None:
    f = farms()
    table = pa.Table.from_pandas(f, preserve_index=False)  # NaN, which Spark takes for a number
    f.to_parquet(tmp_path / "farms.parquet")
    known = collapse(tmp_path / "farms.parquet", DESIGN, unit="farm", time="year")
    found = collapse(session.createDataFrame(table), DESIGN, unit="farm", time="year")
    assert len(found) < len(f) / 1.3
    pd.testing.assert_frame_equal(found.frame, known.frame, check_exact=True, check_dtype=False)
    assert (found.ledger, found.notes) == (known.ledger, known.notes)
    one, rows = (
        estimate(panel, DESIGN, TwoWayFE(), inference=Cluster())
        for panel in (found, Panel.from_frame(f, unit="farm", time="year"))
    )
    np.testing.assert_allclose(one.params, rows.params, rtol=1e-10)
    np.testing.assert_allclose(one.bse, rows.bse, rtol=1e-10)


def test_dates_and_a_covariate_of_rows(session: Any) -> None:
    f = farms()
    f["year"] = [dt.date(one, 1, 1) for one in f["year"]]
    f["first"] = [None if np.isnan(one) else dt.date(int(one), 1, 1) for one in f["first"]]
    f["price"] = np.random.default_rng(1).normal(size=len(f))
    table = pa.Table.from_pandas(f, preserve_index=False)
    known, found = (
        collapse(frame, DESIGN, unit="farm", time="year") for frame in (table, session.createDataFrame(table))
    )
    assert len(found) == len(f)
    assert "'price' differs" in str(found.notes[0])
    one, other = (estimate(panel, DESIGN, TwoWayFE(), inference=Cluster()) for panel in (known, found))
    assert one.params.equals(other.params)


def test_what_spark_makes_of_periods_of_pandas_is_refused(session: Any) -> None:
    f = farms().astype({"year": "str"})
    empty = session.createDataFrame(pa.Table.from_pandas(f, preserve_index=False)).selectExpr(
        "farm", "named_struct('of', year) as year", "`county.name`", "first", "y", "price"
    )
    with pytest.raises(DataError, match="neither text, numbers nor dates"):
        collapse(empty, DESIGN, unit="farm", time="year")
