"""Protection: a table of sums by groups in which no cell shows what few units, or one large one, contributed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from evalkit.catalogue import Message, message
from evalkit.errors import DataError
from evalkit.numerics.arrays import Floats, Ints
from evalkit.numerics.suppression import DOMINANCE, FEW, SECONDARY, Known, add_margins, flag_unsafe, suppress_more
from evalkit.tables.columns import Codes, factorise, name_rows, numbers, require_column, write_label
from evalkit.tables.contents import in_short, same_content
from evalkit.tables.table import Table

LEAST = 10
"""Units of which a published cell is, at least."""
LARGEST, TWO_LARGEST = 0.5, 0.67
"""Shares of a published cell that its largest unit, and its two largest, have at most."""
_TOTAL = "total"
_COUNT = "contributors"
_RULES = {FEW: "few", DOMINANCE: "dominance", SECONDARY: "secondary"}


@dataclass(frozen=True, eq=False)
class Protected:
    """A table that can be published, and what was suppressed in it.

    `table` has a row per cell of the groups, totals ("total") last in each: the groups as text, `contributors` (in a
    total, the sum over its cells), and the sums, all of them empty where the cell is suppressed. `suppressed` lists
    these cells, with the rule: "few", "dominance" or "secondary". `notes` say how many, under which rules.
    """

    table: Table
    suppressed: pd.DataFrame = field(repr=False)
    notes: tuple[Message, ...]

    __eq__ = same_content
    __repr__ = in_short

    def summary(self, language: str = "en") -> str:
        """Say what is published and what is not, in English ("en") or Chinese ("zh")."""
        return "\n".join(note.text(language) for note in self.notes)


@dataclass(frozen=True)
class _Rules:
    least: int
    largest: float
    two_largest: float
    protection: float

    def __post_init__(self) -> None:
        if isinstance(self.least, bool) or not isinstance(self.least, int) or self.least < 2:
            raise DataError(
                f"least={self.least!r} is no number of units", where="protect", remedy="write 10, or 2 or more"
            )
        for name in ("largest", "two_largest", "protection"):
            share = getattr(self, name)
            if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share <= 1:
                raise DataError(f"{name}={share!r} is no share", where="protect", remedy="write 50 % as 0.5")


def protect(
    table: Table | pd.DataFrame,
    *,
    by: str | Sequence[str],
    unit: str,
    values: str | Sequence[str] = (),
    least: int = LEAST,
    largest: float = LARGEST,
    two_largest: float = TWO_LARGEST,
    protection: float = 0.1,
) -> Protected:
    """Sum columns by one or two groups, with totals, and suppress the cells that would show what single units contributed.

    A cell is suppressed if it, or a sum of it above 0, is of fewer than `least` units ("few"); if of any of its sums
    the largest unit has more than the share `largest`, or the two largest more than `two_largest` ("dominance").
    Several rows of a unit in a cell are one contribution. Other cells, then totals, follow ("secondary") until a reader
    who has the rest, the totals and the list of rules cannot tell a suppressed sum from below or above to within
    `protection` of its value, nor a suppressed number of contributors to within that share and one, unless the list of
    rules alone tells it. A unit that is alone in cells is reckoned with as such a reader. All columns share the pattern.
    Cells without a unit are published as 0.

    `values` are the columns to sum; of a Table, by default those where an unlisted key means 0 (loans, principal).
    Source: Hundepool et al., Statistical Disclosure Control (Wiley 2012), ch. 4. Raises DataError for more than two
    groups, text, negative and missing values, and missing groups and units.
    """
    rules = _Rules(least, largest, two_largest, protection)
    source = table if isinstance(table, Table) else Table("table", table, ())
    groups, summed = _read_settings(source, by, unit, values)
    ways = [_codes(source, one, "group") for one in groups]
    owner = _codes(source, unit, "unit").values
    columns = np.column_stack([_amounts(source, one) for one in summed])
    for one, way in zip(groups, ways, strict=True):
        if _TOTAL in way.labels:
            raise DataError(
                f"a group is called '{_TOTAL}'",
                where=f"{source.name}, column '{one}'",
                remedy="leave rows of totals out, which are made here; or call the group otherwise",
            )
    shape = tuple(len(way.labels) + 1 for way in ways)
    unsafe, alone, tables = _tabulate(shape, ways, owner, columns, rules)
    fixed = tables[0].values == 0
    whole = (True, *(False for _ in summed))
    pattern = suppress_more(
        tables=tables, unsafe=unsafe, protection=rules.protection, whole=whole, fixed=fixed, alone=alone
    )
    labels = [[*map(write_label, way.labels), _TOTAL] for way in ways]
    cells = pd.DataFrame(
        [[labels[way][i] for way, i in enumerate(index)] for index in np.ndindex(shape)], columns=groups, dtype="str"
    )
    shown = pattern.ravel() == 0
    content = cells.copy()
    for name, found in zip((_COUNT, *summed), tables, strict=True):
        is_whole = name == _COUNT or source.frame[name].dtype.kind in "iu"
        column = pd.Series(found.values.ravel()).where(shown)
        content[name] = column.round().astype("Int64") if is_whole else column
    listed = cells[~shown].assign(rule=[_RULES[int(one)] for one in pattern.ravel()[~shown]]).reset_index(drop=True)
    notes = _tell(pattern, tables, summed, rules)
    return Protected(_describe(source, content, summed, notes), listed, notes)


def _read_settings(
    table: Table, by: str | Sequence[str], unit: str, values: str | Sequence[str]
) -> tuple[list[str], list[str]]:
    """Return the groups and the columns to sum; raise DataError where they cannot be."""
    groups = [by] if isinstance(by, str) else list(by)
    summed = [values] if isinstance(values, str) else list(values)
    summed = summed or [str(one) for one in table.absent if one not in (*groups, unit)]
    if not 1 <= len(groups) <= 2:
        raise DataError(
            f"by= names {len(groups)} groups, and tables of one or two can be protected",
            where=table.name,
            remedy='name one or two, by=("county", "year"); make one column of several beforehand',
        )
    if not summed:
        raise DataError("values= names no column to sum", where=table.name, remedy='write values=("principal",)')
    given = [*groups, unit, *summed]
    for column in given:
        try:
            require_column(table.frame, column)
        except DataError as error:
            raise DataError(error.what, where=table.name, remedy=error.remedy) from None
    if twice := [one for i, one in enumerate(given) if one in given[:i]]:
        raise DataError(f"'{twice[0]}' is named twice", where=table.name, remedy="give each column one part")
    if _COUNT in given:
        raise DataError(
            f"a column is called '{_COUNT}', as that of the numbers of units is",
            where=table.name,
            remedy="rename it before",
        )
    if table.frame.empty:
        raise DataError("the table has no rows", where=table.name, remedy="give one that has")
    return groups, summed


def _codes(table: Table, column: str, noun: str) -> Codes:
    try:
        codes = factorise(table.frame[column])
    except DataError as error:
        raise DataError(error.what, where=f"{table.name}, {error.where}", remedy=error.remedy) from None
    if (missing := codes.values < 0).any():
        raise DataError(
            f"the {noun} is missing in {int(missing.sum())} rows",
            where=f"{table.name}, {name_rows(table.frame, missing, column)}",
            remedy="fill it in, or leave these rows out",
        )
    return codes


def _amounts(table: Table, column: str) -> Floats:
    """Return a column of amounts; raise DataError where one is no number, missing or negative."""
    try:
        found = numbers(table.frame, column)
    except DataError as error:
        raise DataError(error.what, where=f"{table.name}, {error.where}", remedy=error.remedy) from None
    for wrong, what, remedy in (
        (np.isnan(found), "is missing", "fill them in (0 where there was nothing), or leave these rows out"),
        (np.isinf(found), "is infinite", "correct these rows"),
        (found < 0, "is negative", "sum what is received and what is paid back in columns of their own"),
    ):
        if wrong.any():
            raise DataError(
                f"'{column}' {what} in {int(wrong.sum())} rows, and cannot be a contribution",
                where=f"{table.name}, {name_rows(table.frame, wrong, column)}",
                remedy=remedy,
            )
    return found


def _tabulate(
    shape: tuple[int, ...], ways: list[Codes], owner: Ints, columns: Floats, rules: _Rules
) -> tuple[Ints, Ints, tuple[Known, ...]]:
    """Find the unsafe cells, totals included, whose unit is alone, and what a reader knows of the counts and of every sum."""
    inner = tuple(n - 1 for n in shape)
    cell = np.ravel_multi_index(tuple(way.values for way in ways), inner)
    pairs = np.unique(np.column_stack([cell, owner]), axis=0)
    n_cells = math.prod(inner)
    counts = add_margins(np.bincount(pairs[:, 0], minlength=n_cells).reshape(inner).astype(np.float64))
    order = np.lexsort((*columns.T, owner, cell))  # the order of rows changes no bit
    sums = [
        add_margins(np.bincount(cell[order], weights=one, minlength=n_cells).astype(np.float64).reshape(inner))
        for one in columns[order].T
    ]
    places = []  # every row counts in its cell and in each total that holds it
    for beyond in np.ndindex(*(2 for _ in shape)):
        at = tuple(
            np.full(len(cell), n - 1) if total else way.values
            for total, n, way in zip(beyond, shape, ways, strict=True)
        )
        places.append(np.ravel_multi_index(at, shape))
    many = len(places)
    held = np.unique(np.column_stack([np.concatenate(places), np.tile(owner, many)]), axis=0)
    is_alone = np.bincount(held[:, 0], minlength=math.prod(shape))[held[:, 0]] == 1
    alone = np.full(shape, -1, dtype=np.int64)
    alone.ravel()[held[is_alone, 0]] = held[is_alone, 1]
    unsafe = flag_unsafe(
        cell=np.concatenate(places),
        unit=np.tile(owner, many),
        values=np.tile(columns, (many, 1)),
        n_cells=math.prod(shape),
        least=rules.least,
        largest=rules.largest,
        two_largest=rules.two_largest,
    ).reshape(shape)
    # The list of rules tells a reader how many contributors a cell has at least, and a "few" cell, where they add up, at most.
    least = np.where(unsafe == FEW, 1.0, np.where(counts > 0, float(rules.least), 0.0))
    most = np.where((unsafe == FEW) & (counts < rules.least), rules.least - 1.0, np.inf)
    nothing = np.zeros(shape)
    return unsafe, alone, (Known(counts, least, most), *(Known(one, nothing, nothing + np.inf) for one in sums))


def _tell(pattern: Ints, tables: tuple[Known, ...], summed: list[str], rules: _Rules) -> tuple[Message, ...]:
    """Say what is published, under which rules, how sure it is, and how much of the sums stands in published cells."""
    counts = tables[0].values
    inside = tuple(slice(0, -1) for _ in pattern.shape)
    is_total = np.ones(pattern.shape, bool)
    is_total[inside] = False
    notes = [
        message(
            "protect.suppressed",
            cells=int((counts > 0).sum()),
            hidden=int((pattern > 0).sum()),
            few=int((pattern == FEW).sum()),
            dominance=int((pattern == DOMINANCE).sum()),
            secondary=int((pattern == SECONDARY).sum()),
            totals=int((pattern[is_total] > 0).sum()),
            least=rules.least,
            largest=_percent(rules.largest),
            two=_percent(rules.two_largest),
        )
    ]
    if (pattern > 0).any():
        notes.append(message("protect.bounds", protection=_percent(rules.protection)))
        for name, one in zip(summed, tables[1:], strict=True):
            whole = float(one.values[inside].sum())
            if whole > 0:
                shown = float(one.values[inside][pattern[inside] == 0].sum())
                notes.append(message("protect.kept", column=name, share=f"{100 * shown / whole:.1f}"))
    return tuple(notes)


def _percent(share: float) -> str:
    return f"{100 * share:g}"


def _describe(table: Table, content: pd.DataFrame, summed: list[str], notes: tuple[Message, ...]) -> Table:
    """Make the table, whose provenance says what was suppressed."""
    said = "; ".join(str(note).rstrip(".") for note in notes)
    provenance = table.provenance
    if provenance:
        first: Any = provenance[0]
        first = replace(first, notes="; ".join(filter(None, [first.notes.rstrip("."), said])))
        provenance = (first, *provenance[1:])
    units = {name: unit for name, unit in table.units.items() if name in summed}
    return Table(table.name, content, provenance, units)
