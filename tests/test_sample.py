"""The rows of a design as arrays: who adopts when and who never, and what assignments can show at most."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from evalkit import Design, Panel, collapse, estimate
from evalkit.catalogue import message
from evalkit.designs.adoption import read_assignment
from evalkit.designs.sample import draw_sample, smallest_attainable_p
from evalkit.errors import DataError, DesignError
from evalkit.estimators import TwoWayFE
from evalkit.inference import Cluster


@pytest.mark.parametrize(
    ("first", "floor"),
    [
        ([2014.0] * 3 + [np.nan] * 3, 2 / 20),  # the mirror image of an assignment has the same absolute effect
        ([2014.0] * 2 + [np.nan] * 4, 1 / 15),
        ([2014.0] * 3 + [2019.0] * 3, 2 / 20),  # who adopts after the panel's end is not treated in it
        ([2014.0] * 2 + [2015.0] * 2 + [np.nan] * 2, 1 / 90),  # of cohorts no assignment is a mirror image
        ([2014.0] * 600 + [np.nan] * 600, None),
    ],
)
def test_the_smallest_p_counts_the_mirror_image_where_half_adopt(first: list[float], floor: float | None) -> None:
    f = pd.DataFrame({"county": np.repeat(np.arange(len(first)), 4), "year": np.tile(range(2012, 2016), len(first))})
    f = f.assign(first=np.repeat(first, 4), y=0.0)
    design = Design(outcome="y", adoption="first", assigned_at="county")
    found = smallest_attainable_p(draw_sample(Panel.from_frame(f, unit="county", time="year"), design))
    if floor is None:  # too many for exact integers: 2 over 1200!/(600! 600!)
        logarithm = np.log(2) + 2 * math.lgamma(601) - math.lgamma(1201)
        assert found == pytest.approx(math.exp(logarithm), rel=1e-9)
    else:
        assert found == pytest.approx(floor, rel=1e-12)


YEARS = range(2000, 2011)
QUARTERS = [f"{year}Q{quarter}" for year in range(2001, 2005) for quarter in range(1, 5)]


def panel_of(dates: Iterable[Any], axis: Iterable[Any] = YEARS, effect: float = 5.0) -> Panel:
    """States A, B, C, … that adopt at these dates, of two counties each; y without noise, an effect where dates are numbers."""
    dates, axis = list(dates), list(axis)
    rows = [(f"{chr(65 + i)}{n}", chr(65 + i), date, t) for i, date in enumerate(dates) for n in (1, 2) for t in axis]
    f = pd.DataFrame(rows, columns=["county", "state", "first", "t"])
    since = pd.to_numeric(f["first"], errors="coerce")
    place = pd.factorize(f["t"])[0]
    f["y"] = pd.factorize(f["county"])[0] + 0.1 * place
    if pd.api.types.is_numeric_dtype(f["t"]):
        f["y"] += effect * (f["t"] >= since)
    return Panel.from_frame(f, unit="county", time="t")


def design(**change: Any) -> Design:
    return Design(**{"outcome": "y", "adoption": "first", "assigned_at": "state", **change})


def read(panel: Panel, **change: Any) -> list[str]:
    """First treated period of each state."""
    assigned, adoption = read_assignment(panel, design(**change))
    first = {assigned.labels[c]: a for c, a in zip(assigned.values, adoption, strict=True)}
    return ["never" if math.isinf(a) else panel.periods.label(a) for _, a in sorted(first.items())]


def noted(panel: Panel, **change: Any) -> list[str]:
    return [str(note) for note in draw_sample(panel, design(**change)).notes]


def test_0_is_a_period_where_the_axis_reaches_it() -> None:
    """True effect 5; adoption in 0 used to be read as never, and the estimate was another."""
    panel = panel_of([0, 0, np.nan, np.nan, 2], range(-5, 6))
    assert read(panel) == ["0", "0", "never", "never", "2"]
    assert noted(panel) == []
    one = estimate(panel, design(), TwoWayFE(), inference=Cluster())
    assert one.params["ATT"] == pytest.approx(5, abs=1e-12)
    from_0 = panel_of([3, 0, np.nan], range(6))  # in 0, from the first period on
    assert read(from_0) == ["3", "0", "never"]
    after = panel_of([-4, 0, np.nan], range(-8, 0))
    assert read(after)[1] == "0"
    assert noted(after) == [
        "1 state adopt after the last period of the data (-1) by first, and count as not yet treated: B 0"
    ]


def test_0_is_a_period_also_where_its_rows_are_filtered_out() -> None:
    panel = panel_of([3, 0, np.nan], range(-5, 6))
    kept = panel.keep(panel.position > 5, "panel", message("ledger.anticipation"))
    assert read(kept) == ["3", "0", "never"]


@pytest.mark.parametrize(
    ("dates", "never", "ways"),
    [
        # one way of saying it that can mean nothing else
        ([2005, np.nan, np.nan], (), None),
        ([2005, 0, 0], (), None),
        ([2005, np.inf, np.inf], (), None),
        ([2005, -1, -1], -1, None),
        (["2005", "无", "无"], "无", None),
        # several, and one that is a period
        ([2005, 0, np.nan, 0], (), "1 state with an empty cell (C); 2 state with 0 (B, D)"),
        ([2005, np.inf, np.nan], (), "1 state with an empty cell (C); 1 state with an infinite value (B)"),
        ([2005, 9999, np.nan, 9999], 9999, "1 state with an empty cell (C); 2 state with 9999 (B, D)"),
        ([2005, 2007, 2007], 2007, "2 state with 2007 (B, C)"),
        ([2005, *[0] * 7, np.nan], (), "1 state with an empty cell (I); 7 state with 0 (B, C, D, E, F, …)"),
    ],
)
def test_who_is_never_treated_is_counted_where_it_is_said_in_several_ways(
    dates: list[Any], never: Any, ways: str | None
) -> None:
    panel = panel_of(dates)
    assert read(panel, never=never) == ["2005", *["never"] * (len(dates) - 1)]
    assert noted(panel, never=never) == ([] if ways is None else [f"never treated by first: {ways}"])
    for note in draw_sample(panel, design(never=never)).notes:
        assert note.text("zh").startswith("按first视为从未处理：")


def test_0_beside_small_numbers_is_named_because_it_could_be_a_period() -> None:
    assert noted(panel_of([4, 0, 0], range(1, 11))) == ["never treated by first: 2 state with 0 (B, C)"]
    assert noted(panel_of([4, np.nan, np.nan], range(1, 11))) == []


def test_counties_of_a_state_may_say_never_in_two_ways() -> None:
    panel = panel_of([2005, 0])
    mixed = panel.with_column("first", panel.frame["first"].where(panel.frame["county"] != "B2"))
    assert noted(mixed) == ["never treated by first: 1 state with an empty cell (B); 1 state with 0 (B)"]


@pytest.mark.parametrize(
    ("values", "never"),
    [
        ([2005, -1, 9999], (-1, 9999)),
        ([2005, -1, 9999], ["-1", "9999"]),
        ([2005, -1, 9999], np.array([-1, 9999])),
        ([2005.0, -1.0, 9999.0], (-1, 9999)),
        (["2005", "-1", "9999.0"], (-1, 9999)),
        (["2005", " never ", "无"], ("never", "无")),
        ([2005, "never", "无"], ("never", "无")),  # a column of numbers and text, as a workbook may hold it
        ([dt.date(2005, 3, 1), dt.date(9999, 12, 31), dt.date(9998, 12, 31)], ("9999-12-31", "9998-12-31")),
        ([dt.datetime(2005, 3, 1), dt.datetime(2100, 12, 31), dt.datetime(2099, 12, 31)], ("2100-12-31", "2099-12-31")),
    ],
    ids=repr,
)
@pytest.mark.parametrize("kind", ["plain", "category", "object"])
def test_a_declared_code_is_found_however_it_is_stored(values: list[Any], never: Any, kind: str) -> None:
    panel = panel_of(values)
    stored = panel if kind == "plain" else panel.with_column("first", panel.frame["first"].astype(kind))
    assert read(stored, never=tuple(never)) == ["2005", "never", "never"]
    assert len(stored.frame["first"].unique()) == 3  # the panel's own column stays as it is


def test_a_declared_code_that_does_not_occur_is_noted() -> None:
    assert noted(panel_of([2005, np.nan]), never=9999) == [
        "9999, declared to mean never treated, does not stand in first"
    ]


def test_a_declared_0_means_never_also_where_the_axis_reaches_0() -> None:
    panel = panel_of([3, 0, 0], range(-5, 6))
    assert read(panel, never=0) == ["3", "never", "never"]
    assert noted(panel, never=0) == ["never treated by first: 2 state with 0 (B, C)"]
    assert read(panel) == ["3", "0", "0"]  # the panel keeps both readings apart


@pytest.mark.parametrize(
    ("value", "axis", "where"),
    [
        (20066, YEARS, "far after the data (2000 to 2010)"),
        (9999, YEARS, "far after the data"),
        (2061, YEARS, "far after the data"),
        (-1, YEARS, "before the data (2000 to 2010)"),
        (-999, YEARS, "before the data"),
        (206, YEARS, "before the data"),
        ("-9", [f"{year}年" for year in YEARS], "before the data (2000 to 2010)"),
        (-1, range(1, 11), "before the data (1 to 10)"),
        (-1, range(11), "before the data (0 to 10)"),
        (99, range(1, 11), "far after the data"),
        (-99, range(-5, 6), "before the data (-5 to 5)"),
        ("9999Q4", QUARTERS, "far after the data (2001Q1 to 2004Q4)"),
        ("0001Q1", QUARTERS, "before the data"),
        ("2206-01", ["2005-11", "2005-12", "2006-01"], "far after the data (2005-11 to 2006-01)"),
        ("2206-01-05", ["2006-01-03", "2006-01-04", "2006-01-05"], "far after the data (2006-01-03 to 2006-01-05)"),
        ("0206-01-05", ["2006-01-03", "2006-01-04", "2006-01-05"], "before the data"),
    ],
)
def test_dates_that_cannot_be_meant_are_refused_with_a_remedy_that_helps(value: Any, axis: Any, where: str) -> None:
    panel = panel_of([list(axis)[2], value, None], axis)
    with pytest.raises(DataError, match="first treated period of county B1") as refused:
        read(panel)
    said = refused.value
    assert str(value) in said.what
    assert where in said.what
    row = panel.frame.index[panel.frame["county"] == "B1"][0]
    assert said.where.startswith(f"column 'first', rows {row}, ")
    code = value if isinstance(value, int) or value == "-9" else repr(value)
    assert f"leave the cell empty, or declare it in the design: never={code};" in said.remedy
    assert read(panel, never=value)[1] == "never"  # the remedy is one


@pytest.mark.parametrize(
    ("value", "axis", "note"),
    [
        (2032, YEARS, "adopt after the last period of the data (2010) by first, and count as not yet treated: B 2032"),
        (2060, YEARS, "count as not yet treated: B 2060"),
        (2110, range(1900, 2011, 10), "count as not yet treated: B 2110"),
        (1990, YEARS, "adopt before the first period of the data (2000) by first, and count as treated throughout: B 1990"),
        (1848, YEARS, "count as treated throughout: B 1848"),
        (-9, range(-5, 6), "count as treated throughout: B -9"),
        ("2032Q1", QUARTERS, "(2004Q4) by first, and count as not yet treated: B 2032Q1"),
        ("1970-01-01", ["2006-01-03", "2006-01-04", "2006-01-05"], "count as treated throughout: B 1970-01-01"),
    ],
)  # fmt: skip
def test_dates_outside_the_data_are_listed(value: Any, axis: Any, note: str) -> None:
    found = [one for one in noted(panel_of([list(axis)[2], value, None], axis)) if "adopt" in one]
    assert len(found) == 1
    assert note in found[0]


def test_who_adopts_outside_the_data_is_listed_by_date_the_farthest_first() -> None:
    late = noted(panel_of([2005, 2012, 2012, 2032, *[2011] * 7, *range(2013, 2019)]))
    assert late == [
        "16 state adopt after the last period of the data (2010) by first, and count as not yet treated: "
        "D 2032; Q 2018; P 2017; O 2016; N 2015; M 2014; L 2013; B, C 2012; …"
    ]
    early = noted(panel_of([2005, 1998, 1999, *[1998] * 6, np.nan]))
    assert early == [
        "8 state adopt before the first period of the data (2000) by first, and count as treated throughout: "
        "B, D, E, F, G, … 1998; C 1999"
    ]


def test_a_year_between_two_periods_is_listed_as_it_stands() -> None:
    panel = panel_of([2004, 2011, np.nan], range(2000, 2011, 2))
    assert read(panel)[1] == "2012"  # the first period that could show it
    assert noted(panel)[0].endswith("not yet treated: B 2011")
    assert noted(panel_of([2004, 2003, np.nan], range(2000, 2011, 2))) == []


def test_unreadable_text_is_refused_with_the_way_to_declare_it() -> None:
    for dates in (["2005", "无", "无"], [2005, "never", "never"]):
        with pytest.raises(DataError, match="declare it in the design"):
            read(panel_of(dates))


def test_collapsed_cells_keep_the_notes_of_their_rows() -> None:
    """Of a cell whose units say never in two ways, one row stays."""
    panel = panel_of([2005, 0, np.nan, 2032])
    rows = panel.frame.assign(first=panel.frame["first"].where(panel.frame["county"] != "B2"))
    cells = collapse(rows, design(), unit="county", time="t")
    told = noted(cells)
    assert told[0] == "never treated by first: 2 state with an empty cell (B, C); 1 state with 0 (B)"
    assert told[1].endswith("not yet treated: D 2032")
    assert len(told) == 3


@pytest.mark.parametrize("never", [True, np.nan, None, (1, None), ("x", ["y"])])
def test_what_cannot_stand_in_a_column_cannot_be_declared(never: Any) -> None:
    with pytest.raises(DesignError, match="neither a number nor text"):
        design(never=never)


def test_a_declaration_needs_an_adoption_column() -> None:
    with pytest.raises(DesignError, match="names none"):
        design(adoption=None, treated="d", never=-1)


def test_a_declaration_is_kept_as_a_tuple() -> None:
    assert design(never=-1) == design(never=[-1]) == design(never=(np.int64(-1),))
    assert design(never=-1) != design()
    assert "never=(-1,)" in repr(design(never=-1))
    assert "never" not in repr(design())


@pytest.mark.parametrize("never", [np.nan, np.inf, 0.0, -9.0])
def test_adoption_read_of_first_rows_is_that_of_all_rows(never: float) -> None:
    first = np.where(np.arange(40) % 4 == 0, never, 2012.0 + np.arange(40) % 4)
    first[0] = 2031.0  # after the data
    f = pd.DataFrame({"county": np.repeat(np.arange(40), 5), "year": np.tile(np.arange(2010, 2015), 40)})
    f["first"] = np.repeat(first, 5)
    f["text"] = pd.Series(f["first"].astype(str)).where(np.isfinite(f["first"]), None if never != np.inf else "inf")
    f["y"] = 0.0
    panel = Panel.from_frame(f, unit="county", time="year")
    design = Design(outcome="y", adoption="first", assigned_at="county", never=(-9,) if never == -9 else ())
    assert panel.is_constant("first")
    assert not panel.is_constant("text")  # text is read row by row
    _, position = read_assignment(panel, design)
    expected = np.where(np.isfinite(f["first"]) & (f["first"] > 0), f["first"] - 2010, np.inf)
    assert position.tolist() == expected.tolist()
    notes = [str(note) for note in draw_sample(panel, design).notes]
    assert [note for note in notes if "2031" in note]
    if never in (0.0, -9.0):
        rows = replace(design, adoption="text")
        assert read_assignment(panel, rows)[1].tolist() == expected.tolist()
        assert [str(note).replace("text", "first") for note in draw_sample(panel, rows).notes] == notes
