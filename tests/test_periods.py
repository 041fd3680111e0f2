"""Frames of other libraries, and the ways in which their time axes are written."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from evalkit import Design, Panel, estimate
from evalkit.designs.adoption import read_assignment
from evalkit.designs.cells import collapse
from evalkit.errors import DataError
from evalkit.estimators import TwoWayFE
from evalkit.inference import Cluster

DESIGN = Design(outcome="y", adoption="first", assigned_at="county")


def farms() -> pd.DataFrame:
    """24 farms in 6 counties over 5 years, two counties treated from 2013 (synthetic)."""
    farm, year = np.repeat(np.arange(24), 5), np.tile(np.arange(2010, 2015), 24)
    y = np.random.default_rng(8).normal(size=len(farm))
    first = np.where(farm % 6 < 2, 2013.0, np.nan)
    return pd.DataFrame({"farm": farm, "year": year, "county": farm % 6, "first": first, "y": y})


FARMS = farms()


class Stream:
    """What another library's table may be: an Arrow stream and nothing else."""

    def __init__(self, table: pa.Table) -> None:
        self.table = table

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self.table.__arrow_c_stream__(requested_schema)


def arrow() -> pa.Table:
    return pa.Table.from_pandas(FARMS)


FRAMES: dict[str, Callable[[], Any]] = {
    "a reader of DuckDB": lambda: duckdb.sql("select * from FARMS").arrow(),
    "a relation of DuckDB": lambda: duckdb.sql("select * from FARMS"),
    "a reader of Arrow": lambda: arrow().to_reader(max_chunksize=7),
    "a batch of Arrow": lambda: arrow().combine_chunks().to_batches()[0],
    "a table of Arrow": arrow,
    "another stream": lambda: Stream(arrow()),
    "polars": lambda: pl.from_pandas(FARMS),
    "polars, not yet collected": lambda: pl.from_pandas(FARMS).lazy(),
}


def effect(panel: Panel) -> pd.DataFrame:
    return estimate(panel, DESIGN, TwoWayFE(), inference=Cluster()).tidy()


@pytest.fixture(scope="module")
def expected() -> pd.DataFrame:
    return effect(Panel.from_frame(FARMS, unit="farm", time="year"))


@pytest.mark.parametrize("kind", FRAMES)
def test_frames_of_any_kind_give_the_same_estimate(kind: str, expected: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(effect(Panel.from_frame(FRAMES[kind](), unit="farm", time="year")), expected)
    collapsed = effect(collapse(FRAMES[kind](), DESIGN, unit="farm", time="year"))
    np.testing.assert_allclose(collapsed["estimate"], expected["estimate"], rtol=1e-12)


def test_types_of_duckdb_are_read(expected: pd.DataFrame) -> None:
    """Dates become Python's dates in pandas, decimals Decimal."""
    reader = duckdb.sql(
        "select farm, make_date(year, 12, 31) as year, county, y::decimal(18, 6) as y,"
        " case when first > 0 then make_date(first::int, 12, 31) end as first from FARMS"
    ).arrow()
    panel = Panel.from_frame(reader, unit="farm", time="year")
    assert panel.periods.label(0) == "2010"
    np.testing.assert_allclose(effect(panel)["estimate"], expected["estimate"], atol=1e-6)


def test_a_stream_is_read_once(expected: pd.DataFrame) -> None:
    for reader in (duckdb.sql("select * from FARMS").arrow(), arrow().to_reader()):
        pd.testing.assert_frame_equal(effect(Panel.from_frame(reader, unit="farm", time="year")), expected)
        with pytest.raises(DataError, match=r"RecordBatchReader has no rows, or none any more.*read only once"):
            Panel.from_frame(reader, unit="farm", time="year")


@pytest.mark.parametrize("what", [pl.Series([1]), pa.chunked_array([[1]]), {"farm": [1]}, 5, None])
def test_what_is_no_table_is_refused(what: object) -> None:
    with pytest.raises(DataError, match=f"a {type(what).__name__} (is not|cannot be read as) a table"):
        Panel.from_frame(what, unit="farm", time="year")


# --- periods ---


def panel_of(times: Any, first: object = None) -> Panel:
    """Two units observed at the same times; the first adopts, if `first` is given."""
    times = list(times)
    frame = pd.DataFrame({"unit": ["a"] * len(times) + ["b"] * len(times), "time": [*times, *times]})
    frame["first"] = pd.Series([first] * len(times) + [None] * len(times))
    frame["y"] = np.random.default_rng(1).normal(size=len(frame))
    return Panel.from_frame(frame, unit="unit", time="time")


def labels(panel: Panel) -> list[str]:
    return [panel.periods.label(position) for position in panel.periods.observed]


def days(*texts: str) -> list[pd.Timestamp]:
    return [pd.Timestamp(text) for text in texts]


YEARS = ["2011", "2012", "2014"]


@pytest.mark.parametrize("day", ["12-31", "01-01", "06-30", "07-01", "03-31", "06-15", "02-28", "12-29"])
@pytest.mark.parametrize("as_type", [str, pd.Timestamp, lambda text: pd.Timestamp(text).date()])
def test_dates_that_share_their_month_are_years(day: str, as_type: Callable[[str], object]) -> None:
    assert labels(panel_of(as_type(f"{year}-{day}") for year in YEARS)) == YEARS


def test_days_of_one_month_in_several_years_are_years() -> None:
    """The days on which a yearly survey, or the year's last trade, took place."""
    assert labels(panel_of(days("2011-12-30", "2012-12-31", "2013-12-27"))) == ["2011", "2012", "2013"]
    assert labels(panel_of(days("2012-02-29", "2013-02-28"))) == ["2012", "2013"]
    assert labels(panel_of(days("2011-07-03", "2011-07-04"))) == ["2011-07-03", "2011-07-04"]


@pytest.mark.parametrize("end", ["DEC", "JAN", "MAR", "JUN", "SEP"])
def test_periods_of_fiscal_years_keep_their_year(end: str) -> None:
    assert labels(panel_of(pd.PeriodIndex(YEARS, freq=f"Y-{end}"))) == YEARS


@pytest.mark.parametrize("end", ["DEC", "JAN", "MAR"])
def test_periods_of_fiscal_quarters_are_called_as_pandas_calls_them(end: str) -> None:
    quarters = ["2011Q1", "2011Q4", "2012Q1"]
    panel = panel_of(pd.PeriodIndex(quarters, freq=f"Q-{end}"))
    assert labels(panel) == quarters
    assert panel.periods.frequency == "quarter"


def test_quarters_months_and_days_stay_what_they_are() -> None:
    assert labels(panel_of(days("2011-03-31", "2011-06-30", "2012-03-31"))) == ["2011Q1", "2011Q2", "2012Q1"]
    assert labels(panel_of(days("2011-06-30", "2011-07-31", "2012-06-30"))) == ["2011-06", "2011-07", "2012-06"]
    assert labels(panel_of(pd.PeriodIndex(["2011-05", "2011-06"], freq="M"))) == ["2011-05", "2011-06"]
    assert labels(panel_of(["2011Q1", "2012Q1"])) == ["2011Q1", "2012Q1"]
    assert labels(panel_of(["2011-07", "2012-07"])) == ["2011-07", "2012-07"]
    assert labels(panel_of(days("2011-06-30", "2012-07-01"))) == ["2011-06-30", "2012-07-01"]


@pytest.mark.parametrize(
    ("times", "first", "treated"),
    [
        # an adoption as the axis is written, as a year, and as a day: years of dates in June end with June
        (days("2011-06-30", "2012-06-30", "2013-06-30"), "2012-06-30", "2012"),
        (days("2011-06-30", "2012-06-30", "2013-06-30"), 2012, "2012"),
        (days("2011-06-30", "2012-06-30", "2013-06-30"), dt.date(2012, 3, 1), "2012"),
        (days("2011-06-30", "2012-06-30", "2013-06-30"), dt.date(2012, 7, 1), "2013"),
        (["2011-06-30", "2012-06-30", "2013-06-30"], "2012-07-01", "2013"),
        # those of dates in January begin with it, those in December end with it
        (days("2011-01-01", "2012-01-01", "2013-01-01"), dt.date(2012, 7, 1), "2012"),
        (days("2011-12-31", "2012-12-31", "2013-12-31"), dt.date(2012, 7, 1), "2012"),
        # a fiscal year is called by the year in which it ends
        (pd.PeriodIndex(["2011", "2012", "2013"], freq="Y-MAR"), pd.Period("2012", "Y-MAR"), "2012"),
        (pd.PeriodIndex(["2011", "2012", "2013"], freq="Y-MAR"), 2012, "2012"),
        (pd.PeriodIndex(["2011", "2012", "2013"], freq="Y-MAR"), dt.date(2012, 3, 31), "2012"),
        (pd.PeriodIndex(["2011", "2012", "2013"], freq="Y-MAR"), dt.date(2012, 4, 1), "2013"),
        (pd.PeriodIndex(["2011", "2012", "2013"], freq="Y-MAR"), pd.Period("2012-04", "M"), "2013"),
        (pd.period_range("2011Q1", "2012Q4", freq="Q-MAR"), pd.Period("2012Q1", "Q-MAR"), "2012Q1"),
        (pd.period_range("2011Q1", "2012Q4", freq="Q-MAR"), dt.date(2011, 4, 1), "2012Q1"),
        (pd.period_range("2011Q1", "2012Q4", freq="Q-MAR"), "2012Q1", "2012Q1"),
        (pd.period_range("2011Q1", "2012Q4", freq="Q"), dt.date(2012, 4, 1), "2012Q2"),
    ],
)  # fmt: skip
def test_adoption_is_placed_on_the_axis(times: Any, first: object, treated: str) -> None:
    panel = panel_of(times, first)
    design = Design(outcome="y", adoption="first", assigned_at="unit")
    adoption = read_assignment(panel, design)[1]
    assert panel.periods.label(adoption[0]) == treated
    assert np.isinf(adoption[-1])


@pytest.mark.parametrize(
    "times",
    [["2011-06-30", "2012", "2013-06-30"], ["2011-07", "2012-07-01", "2013-07-01"], [2011, pd.Timestamp("2012-01-01")]],
)
def test_a_mix_of_years_and_dates_is_refused_by_row(times: list[object]) -> None:
    """pandas would take 2012 for the first of January."""
    with pytest.raises(DataError, match="all in one form"):
        panel_of(times)
