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
