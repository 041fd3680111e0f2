"""Disclosure control: what a reader can deduce, by enumeration and by linear programs, against what is promised."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

import evalkit as ek
from evalkit.catalogue import LANGUAGES
from evalkit.errors import DataError
from evalkit.numerics.arrays import Flags, Floats, Ints
from evalkit.numerics.suppression import (
    DOMINANCE,
    FEW,
    PUBLISHED,
    SECONDARY,
    Known,
    add_margins,
    find_bounds,
    flag_unsafe,
    suppress_more,
)

TOTAL = "total"


def equations(shape: tuple[int, ...]) -> Floats:
    """Rows of A with A x = 0 for every table x with margins of this shape: written down here, not by a network."""
    at = np.arange(int(np.prod(shape))).reshape(shape)
    lines = [at] if len(shape) == 1 else [*at, *at.T]
    A = np.zeros((len(lines), at.size))
    for row, line in zip(A, lines, strict=True):
        row[line[:-1]] = 1
        row[line[-1]] = -1
    return A


def bounds_by_programs(known: Known, suppressed: Flags) -> tuple[Floats, Floats]:
    """Minimise and maximise every suppressed cell, subject to the published ones."""
    flat, hidden, A = known.values.ravel(), suppressed.ravel(), equations(known.values.shape)
    limits = [
        (a, None if np.isinf(b) else b)
        for a, b in zip(known.least.ravel()[hidden], known.most.ravel()[hidden], strict=True)
    ]
    low, high = flat.astype(float).copy(), flat.astype(float).copy()
    for k, cell in enumerate(np.flatnonzero(hidden)):
        goal = np.eye(int(hidden.sum()))[k]
        for sign, end in ((1, low), (-1, high)):
            found = linprog(sign * goal, A_eq=A[:, hidden], b_eq=-A[:, ~hidden] @ flat[~hidden], bounds=limits)
            assert found.status in (0, 3)
            end[cell] = np.inf if found.status == 3 else sign * float(found.fun or 0.0)
    return low.reshape(known.values.shape), high.reshape(known.values.shape)


def free(values: Floats) -> Known:
    return Known(values, np.zeros_like(values), np.full_like(values, np.inf))


@pytest.mark.parametrize("seed", range(25))
def test_bounds_are_those_of_linear_programs(seed: int) -> None:
    draw = np.random.default_rng(seed)
    shape = tuple(draw.integers(1, 6, size=2 if seed % 3 else 1).tolist())
    values = add_margins(draw.integers(0, 12, shape).astype(float) * draw.choice([1.0, 0.37]))
    known = free(values)
    if seed % 2:
        known = Known(values, np.maximum(values - draw.integers(0, 5), 0), values + draw.integers(0, 5))
    suppressed = draw.random(values.shape) < 0.5
    for found, expected in zip(
        find_bounds(known=known, suppressed=suppressed), bounds_by_programs(known, suppressed), strict=True
    ):
        np.testing.assert_allclose(found, expected, atol=1e-7)


def deduce(values: Ints, suppressed: Flags, least: Ints, most: Ints) -> list[set[int]]:
    """Enumerate every table of whole numbers that a reader must think possible: what each suppressed cell may be."""
    hidden = list(zip(*np.nonzero(suppressed), strict=True))
    A = equations(values.shape)
    seen: list[set[int]] = [set() for _ in hidden]
    for guess in itertools.product(*(range(int(least[one]), int(most[one]) + 1) for one in hidden)):
        table = values.copy()
        for one, value in zip(hidden, guess, strict=True):
            table[one] = value
        if not (A @ table.ravel()).any():
            for known, value in zip(seen, guess, strict=True):
                known.add(value)
    return seen


@pytest.mark.parametrize("seed", range(12))
def test_bounds_are_those_of_all_tables_that_are_possible(seed: int) -> None:
    draw = np.random.default_rng(seed)
    values = add_margins(draw.integers(0, 4, (2, 3)).astype(float))
    suppressed = np.zeros(values.shape, bool)
    suppressed[tuple(draw.integers(0, n, 6) for n in values.shape)] = True
    known = Known(values, np.maximum(values - 3, 0), values + 3)
    low, high = find_bounds(known=known, suppressed=suppressed)
    seen = deduce(values.astype(int), suppressed, known.least.astype(int), known.most.astype(int))
    np.testing.assert_array_equal(low[suppressed], [min(one) for one in seen])
    np.testing.assert_array_equal(high[suppressed], [max(one) for one in seen])


def test_primary_rules_on_cells_counted_by_hand() -> None:
    held: dict[int, Sequence[float]] = {
        0: [10] * 10,  # safe
        1: [10] * 9,  # few
        2: [11] + [1] * 10 + [0],  # 11 of 21: over a half
        3: [10] + [1] * 10,  # 10 of 20: a half exactly, and 11 of 20 of the two
        4: [34, 34] + [4] * 8,  # 68 of 100
        5: [33, 34] + [33 / 8] * 8,  # 67 of 100 exactly
        6: [10, 10, 10] + [0] * 8,  # a sum of three
        7: [0] * 10,  # a sum of nothing
    }
    cell = np.array([c for c, each in held.items() for _ in each])
    unit = np.array([i for each in held.values() for i in range(len(each))])
    values = np.array([[v] for each in held.values() for v in each], dtype=np.float64)
    found = flag_unsafe(cell=cell, unit=unit, values=values, n_cells=9, least=10, largest=0.5, two_largest=0.67)
    expected = [PUBLISHED, FEW, DOMINANCE, PUBLISHED, DOMINANCE, PUBLISHED, FEW, PUBLISHED, PUBLISHED]
    np.testing.assert_array_equal(found, expected)
    halves = np.concatenate([values, values]) / 2  # every unit in two rows
    twice = flag_unsafe(
        cell=np.tile(cell, 2), unit=np.tile(unit, 2), values=halves, n_cells=9, least=10, largest=0.5, two_largest=0.67
    )
    np.testing.assert_array_equal(twice, expected)


def rows_of(counts: list[list[int]], seed: int = 0, spread: float = 0.3) -> pd.DataFrame:
    """A farm in each county and year for every one counted, the farms of a county the same over the years."""
    draw = np.random.default_rng(seed)
    lines = [
        (f"c{i}", 2020 + j, f"farm {i}.{k}", draw.lognormal(10, spread))
        for i, row in enumerate(counts)
        for j, n in enumerate(row)
        for k in range(n)
    ]
    return pd.DataFrame(lines, columns=["county", "year", "farm", "principal"])


def audit(rows: pd.DataFrame, by: list[str], done: ek.Protected, column: str, protection: float = 0.1) -> None:
    """Hold what `protect` promises, from the rows and from what it published alone, by linear programs."""
    inner = rows.pivot_table(column, by[0], by[1], "sum", fill_value=0).sort_index().sort_index(axis=1)
    truth = add_margins(inner.to_numpy(float))
    shown = done.table.frame[column].to_numpy(float, na_value=np.nan).reshape(truth.shape)
    hidden = np.isnan(shown)
    np.testing.assert_allclose(shown[~hidden], truth[~hidden], rtol=1e-12)
    scale = truth[-1, -1]
    low, high = bounds_by_programs(free(truth / scale), hidden)
    rule = done.suppressed.set_index(by)["rule"]
    names = [[*map(str, inner.index), TOTAL], [*map(str, inner.columns), TOTAL]]
    assert len(rule) == hidden.sum()
    for i, j in zip(*np.nonzero(hidden), strict=True):
        value = truth[i, j] / scale
        if rule[names[0][i], names[1][j]] == "secondary":
            assert high[i, j] - low[i, j] > 1e-7 * value
        elif value > 0:
            assert low[i, j] <= (1 - protection) * value + 1e-9
            assert high[i, j] >= (1 + protection) * value - 1e-9


@given(
    counts=st.lists(st.lists(st.integers(0, 16), min_size=3, max_size=3), min_size=2, max_size=4),
    seed=st.integers(0, 99),
    spread=st.sampled_from([0.1, 1.0, 2.5]),
)
@settings(max_examples=25, deadline=None, derandomize=True)
def test_no_total_gives_a_suppressed_sum_away(counts: list[list[int]], seed: int, spread: float) -> None:
    if not np.sum(counts):
        return
    counts = [row if sum(row) else [1, 0, 0] for row in counts]
    for j in range(3):
        counts[0][j] = counts[0][j] or 1  # every county and year has a row, so that the pivot has it
    rows = rows_of(counts, seed, spread)
    audit(
        rows, ["county", "year"], ek.protect(rows, by=("county", "year"), unit="farm", values="principal"), "principal"
    )


@given(
    counts=st.lists(st.lists(st.integers(0, 5), min_size=2, max_size=3), min_size=2, max_size=2),
    least=st.integers(2, 4),
)
@settings(max_examples=30, deadline=None, derandomize=True)
def test_no_number_of_contributors_can_be_told_although_rules_are(counts: list[list[int]], least: int) -> None:
    """By enumeration: the rule that a cell is listed under bounds its number, and the totals must not do the rest."""
    width = min(map(len, counts))
    inner = np.array([row[:width] for row in counts])
    values = add_margins(inner.astype(float))
    unsafe = np.where((values > 0) & (values < least), FEW, 0)
    known = Known(
        values,
        np.where(unsafe == FEW, 1.0, np.where(values > 0, least, 0.0)),
        np.where(unsafe == FEW, least - 1.0, np.inf),
    )
    pattern = suppress_more(tables=(known,), unsafe=unsafe, protection=0.1, whole=(True,), fixed=values == 0)
    if (pattern > 0).sum() > 7 or not inner.sum():
        return
    most = np.where(np.isfinite(known.most), known.most, values + 3).astype(int)
    seen = deduce(values.astype(int), pattern > 0, known.least.astype(int), most)
    low, high = bounds_by_programs(known, values > 0)  # what the list of rules alone tells
    untold = (high - low)[pattern > 0] > 0.5
    for is_untold, one, rule in zip(untold, seen, pattern[pattern > 0], strict=True):
        assert rule == SECONDARY or not is_untold or len(one) >= 2


def test_a_small_cell_takes_three_with_it_and_the_totals_stay() -> None:
    done = ek.protect(rows_of([[4, 20, 30], [20, 15, 30], [30, 30, 12]], spread=0.05), by=("county", "year"), unit="farm",
                      values=("principal",))  # fmt: skip
    assert done.suppressed.to_numpy().tolist() == [
        ["c0", "2020", "few"],
        ["c0", "2021", "secondary"],
        ["c1", "2020", "secondary"],
        ["c1", "2021", "secondary"],
    ]
    hidden = done.table.frame[done.table.frame["principal"].isna()]
    assert hidden["contributors"].isna().all()  # one pattern for all columns
    assert TOTAL not in {*hidden["county"], *hidden["year"]}


def test_one_way_takes_the_smallest_other_cell() -> None:
    rows = rows_of([[n] for n in (30, 4, 12, 25)], spread=0.05)
    done = ek.protect(rows, by="county", unit="farm", values="principal")
    assert done.suppressed.to_numpy().tolist() == [["c1", "few"], ["c2", "secondary"]]
    frame = done.table.frame.set_index("county")
    assert frame.loc[TOTAL, "contributors"] == 71
    assert frame.loc["c0", "principal"] == pytest.approx(rows[rows.county == "c0"].principal.sum(), rel=1e-12)


def test_who_is_alone_in_a_cell_learns_nothing_of_the_next() -> None:
    """Farm a.0 knows its own cell: of two suppressed cells and a total, the other would be what is left."""
    rows = rows_of([[1], [1], [30], [20]])
    done = ek.protect(rows, by="county", unit="farm", values="principal")
    assert done.suppressed["rule"].tolist() == ["few", "few", "secondary"]
    years = rows_of([[1, 1, 1], [1, 1, 1], [30, 30, 30], [40, 40, 40], [50, 50, 50]])
    done = ek.protect(years, by=("county", "year"), unit="farm", values="principal")
    inner = years.pivot_table("principal", "county", "year", "sum").to_numpy(float)
    truth = add_margins(inner) / inner.sum()
    hidden = done.table.frame["principal"].isna().to_numpy().reshape(truth.shape).copy()
    assert hidden[:2].all()
    hidden[0] = False  # what the only farm of the first county knows
    low, high = bounds_by_programs(free(truth), hidden)
    assert (low[1] <= 0.9 * truth[1] + 1e-9).all()
    assert (high[1] >= 1.1 * truth[1] - 1e-9).all()


def test_totals_are_suppressed_where_nothing_else_helps() -> None:
    done = ek.protect(rows_of([[5, 6]]), by=("county", "year"), unit="farm", values="principal")
    assert done.table.frame["principal"].isna().all()  # six farms in all
    assert set(done.suppressed["rule"]) == {"few"}
    alone = ek.protect(rows_of([[4], [40]]), by="county", unit="farm", values="principal")
    assert len(alone.suppressed) == 2  # the total of the two stays
    nine = rows_of([[9], [9]])  # two numbers of at most nine that add up to 18 are known
    assert ek.protect(nine, by="county", unit="farm", values="principal").suppressed["county"].tolist() == [
        "c0",
        "c1",
        TOTAL,
    ]


def test_the_order_of_rows_and_the_unit_of_money_change_nothing() -> None:
    rows = rows_of([[4, 20, 30], [20, 11, 30], [30, 30, 12]], spread=1.5)
    done = ek.protect(rows, by=("county", "year"), unit="farm", values="principal")
    shuffled = ek.protect(rows.sample(frac=1, random_state=3), by=("county", "year"), unit="farm", values="principal")
    assert shuffled == done
    in_wan = ek.protect(
        rows.assign(principal=rows.principal * 1e-12), by=("county", "year"), unit="farm", values="principal"
    )
    pd.testing.assert_frame_equal(in_wan.suppressed, done.suppressed)


def test_a_table_keeps_its_units_and_says_what_was_done() -> None:
    rows = rows_of([[4, 20], [20, 15]]).assign(loans=1)
    source = ek.Table(
        "loans.csv", rows, (ek.Provenance("loans.csv", "0" * 64),), {"principal": "yuan"}, {"loans": 0, "principal": 0}
    )
    done = ek.protect(source, by=("county", "year"), unit="farm")
    assert list(done.table.frame.columns) == ["county", "year", "contributors", "loans", "principal"]
    assert dict(done.table.units) == {"principal": "yuan"}
    assert str(done.table.frame["loans"].dtype) == "Int64"
    assert "cells are suppressed" in done.table.provenance[0].notes
    for language in LANGUAGES:
        assert "67" in done.summary(language)
    assert "farm 0" not in json.dumps([done.suppressed.to_json(), done.summary(), repr(done)])


def test_a_large_table() -> None:
    """30 counties x 12 years and three columns: the programs of SciPy agree with the promise."""
    draw = np.random.default_rng(5)
    counts = np.maximum(draw.poisson(draw.gamma(1.2, 25, (30, 12))), 1).tolist()
    rows = rows_of(counts, 5, 1.0)
    rows["green"] = rows.principal * (draw.random(len(rows)) < 0.7)
    rows["loans"] = draw.integers(1, 4, len(rows))
    done = ek.protect(rows, by=("county", "year"), unit="farm", values=("principal", "green", "loans"))
    assert 50 < len(done.suppressed) < 300
    audit(rows, ["county", "year"], done, "principal")


@pytest.mark.parametrize(
    ("change", "settings", "said"),
    [
        ({}, {"by": ("county", "year", "kind")}, "names 3 groups"),
        ({}, {"by": ()}, "names 0 groups"),
        ({}, {"values": ()}, "names no column to sum"),
        ({}, {"values": "princpal"}, "did you mean 'principal'"),
        ({}, {"values": "county"}, "named twice"),
        ({}, {"values": "kind"}, "is not a number"),
        ({"principal": [1.0, np.nan, 2.0]}, {}, "missing in 1 rows.*|row 1"),
        ({"principal": [1.0, -1.0, 2.0]}, {}, "is negative in 1 rows"),
        ({"principal": [1.0, np.inf, 2.0]}, {}, "is infinite in 1 rows"),
        ({"farm": ["a", None, "b"]}, {}, "the unit is missing in 1 rows"),
        ({"county": ["a", None, "b"]}, {}, "the group is missing in 1 rows"),
        ({"county": ["a", "total", "b"]}, {}, "a group is called 'total'"),
        ({}, {"least": 0}, "least=0 is no number of units"),
        ({}, {"largest": 50}, "largest=50 is no share"),
        ({}, {"protection": 0.0}, "protection=0.0 is no share"),
    ],
)
def test_what_is_refused(change: dict[str, list[object]], settings: dict[str, object], said: str) -> None:
    rows = pd.DataFrame(
        {"county": list("aab"), "year": 2020, "kind": "x", "farm": list("uvw"), "principal": [1.0, 2.0, 3.0]}
    )
    given_to = {"by": ("county", "year"), "unit": "farm", "values": "principal", **settings}
    with pytest.raises(DataError, match=said):
        ek.protect(rows.assign(**change), **given_to)  # type: ignore[arg-type]  # wrong settings are what is tried
