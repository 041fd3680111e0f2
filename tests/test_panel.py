"""A panel restricted to some of its rows."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from evalkit import Design, Panel, estimate
from evalkit.errors import DataError
from evalkit.estimators import EventStudy
from evalkit.inference import Classical


def test_dropping_every_second_year_leaves_event_time_in_years() -> None:
    rng = np.random.default_rng(0)
    unit, year = np.repeat(np.arange(20), 8), np.tile(np.arange(2010, 2018), 20)
    frame = pd.DataFrame(
        {"unit": unit, "year": year, "first": np.where(unit < 8, 2014.0, np.nan), "even": year % 2 == 0}
    )
    frame["y"] = rng.normal(size=len(frame))
    panel = Panel.from_frame(frame, unit="unit", time="year").where("even", True)
    assert panel.periods.label(panel.position.max()) == "2016"
    design = Design(outcome="y", adoption="first", assigned_at="unit")
    one = estimate(panel, design, EventStudy(leads=4, lags=2), inference=Classical())
    assert one.tidy()["event_time"].tolist() == [-4, -2, 0, 2]
    assert "the base period is event time -2" in " ".join(map(str, one.notes))


def test_a_filter_keeps_units_sorted_and_counts_the_ones_it_loses() -> None:
    frame = pd.DataFrame({"unit": ["c", "a", "b", "a"], "year": [1, 2, 1, 1], "keep": [1, 1, 0, 1]})
    panel = Panel.from_frame(frame, unit="unit", time="year").where("keep", 1)
    assert panel.unit_codes is not None
    assert panel.unit_codes.labels == ("a", "c")
    assert panel.unit_codes.values.tolist() == [0, 0, 1]
    assert panel.starts.tolist() == [0, 2]
    (line,) = panel.ledger
    assert (line.rows, line.units) == (1, 1)


def test_keys_in_the_index_are_told_where_they_stand() -> None:
    frame = pd.DataFrame({"unit": ["a", "a"], "year": [1, 2], "y": [0.0, 1.0]}).set_index(["unit", "year"])
    with pytest.raises(DataError, match=r"'unit' stands in the index.*frame\.reset_index\(\)"):
        Panel.from_frame(frame, unit="unit", time="year")
    assert len(Panel.from_frame(frame.reset_index(), unit="unit", time="year")) == 2


def long(units: int) -> pd.DataFrame:
    """Four years of each unit; longer than a block of rows."""
    return pd.DataFrame({"unit": np.repeat(np.arange(units), 4) * 3, "year": np.tile(np.arange(2010, 2014), units)})


@pytest.mark.parametrize("at", [5, 65_535, 65_536, 79_999])
def test_a_row_out_of_place_is_found_wherever_blocks_begin(at: int) -> None:
    f = long(20_000)
    twice = pd.concat([f.iloc[:at], f.iloc[at - 1 : at], f.iloc[at:]], ignore_index=True)
    with pytest.raises(DataError, match="1 rows repeat a unit-period") as told:
        Panel.from_frame(twice, unit="unit", time="year")
    assert f"rows {at - 1} and {at}" in str(told.value)
    order = np.arange(len(f))
    order[[at - 1, at]] = order[[at, at - 1]]
    panel = Panel.from_frame(f.iloc[order], unit="unit", time="year")
    assert panel.frame["unit"].equals(f["unit"])
    assert panel.frame["year"].equals(f["year"])
    assert panel.position.tolist() == (f["year"] - 2010).tolist()
    assert panel.unit_codes is not None
    assert panel.unit_codes.values.tolist() == (f["unit"] // 3).tolist()


def test_codes_of_what_units_hold_constant_are_those_of_their_rows() -> None:
    f = long(20_000)
    of_unit = f["unit"].to_numpy() // 3 * 7 % 11
    f["whole"], f["text"] = of_unit, of_unit.astype(str)
    f["gaps"] = np.where(of_unit == 4, np.nan, of_unit.astype(float))
    f["level"] = pd.Categorical(
        np.where(of_unit % 10 == 4, None, (of_unit % 10).astype(str)), categories=list("98765a3210")
    )
    f["zeros"] = np.where(of_unit == 4, np.where(f["year"] == 2012, -0.0, 0.0), 1.0)  # -0.0 equals 0.0
    f["varies"] = np.where((f["unit"] == 3 * 19_999) & (f["year"] == 2013), 99, of_unit)
    f["goes"] = np.where((f["unit"] == 3 * 19_999) & (f["year"] == 2013), np.nan, f["gaps"])
    panel = Panel.from_frame(f, unit="unit", time="year")
    assert [c for c in f.columns[2:] if panel.is_constant(c)] == ["whole", "gaps", "level"]
    for column in f.columns[2:]:
        values, labels = pd.factorize(f[column], sort=True)
        assert panel.codes(column).values.tolist() == values.tolist() or column == "level"
        assert sorted(panel.codes(column).labels) == sorted(labels.tolist())
    level = panel.codes("level")
    assert [None if code < 0 else level.labels[code] for code in level.values] == [
        None if value is None or value != value else value for value in f["level"].tolist()
    ]
