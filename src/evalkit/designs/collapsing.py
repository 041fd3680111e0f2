"""Collapse: unit-periods to the few cells that carry the same regression."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

import numpy as np
import pandas as pd

from evalkit.catalogue import Message, message
from evalkit.designs.adoption import read_assignment, read_dose, read_eligible
from evalkit.designs.design import Design
from evalkit.designs.indicators import Indicators
from evalkit.designs.sample import assignment_notes, draw_sample
from evalkit.errors import DataError
from evalkit.numerics.arrays import Flags, Floats, Ints
from evalkit.panels.panel import Dropped, Panel
from evalkit.tables.columns import Codes, numbers, require_column
from evalkit.tables.contents import in_full

COUNT, WITHIN = "collapsed_count", "collapsed_within"
WORTH_CELLS = 20_000  # rows from which going over to cells pays
FEWER = 4  # and by how much
_SOME = 2_000  # units that are tried first


class NotCellsError(DataError):
    """Cells would not carry the same regression, or would be nearly as many as the rows: `why`."""

    def __init__(self, why: Message) -> None:
        super().__init__(str(why), where="collapse", remedy="use Panel.from_frame instead of collapse")
        self.why = why

    def __reduce__(self) -> tuple[Any, ...]:
        """Say how to make it anew, so that it comes back whole from another process."""
        return type(self), (self.why,)


def collapse_panel(panel: Panel, design: Design, *, by: tuple[str, ...] = (), keep: Flags | None = None) -> Panel:
    """Collapse the rows of a panel (those flagged in `keep`, if given), as `collapse` does those of a frame."""
    sample = draw_sample(panel, design, keep)
    cells = _collapse(panel, design, rows=sample.rows, starts=sample.starts, by=by, within=True)
    assert cells is not None  # however many they are
    ledger = tuple(Dropped("collapse", line.reason, line.rows, line.units) for line in sample.ledger)
    note = message("note.collapsed", rows=len(sample.rows), cells=len(cells))
    return replace(cells, ledger=(*panel.ledger, *ledger), notes=(*sample.notes, note))


def cells_of(
    panel: Panel, design: Design, *, by: tuple[str, ...] = (), constant: tuple[str, ...] = (), within: bool
) -> Panel | None:
    """Return the cells that stand for all rows of a panel in any estimate of a design; None where they are hardly fewer.

    Rows that the design cannot use are cells as well, by what they lack, so that ledgers and notes come out as of the rows. `by`
    are columns of an estimator, `constant` those of an inference, which must not change within units; `within` says whether the
    squares inside cells are wanted. None, too, where the rows themselves are needed. Found once for each panel.
    """
    if panel.unit_codes is None or panel.counts is not None or len(panel) < WORTH_CELLS:
        return None
    above = () if design.above is None else (design.above,)
    by = tuple(dict.fromkeys(by))
    constant = tuple(
        dict.fromkeys(
            name
            for name in (*constant, *above)
            if name in panel.frame.columns and name not in (panel.time, design.assigned_at)
        )
    )

    def find() -> Panel | None:
        try:
            if design.covariates and len(panel.starts) > _SOME:  # what some units refuse, all do
                first = panel.starts[: _SOME + 1]
                some = np.arange(first[-1])
                _collapse(panel, design, rows=some, starts=first[:-1], by=by, constant=constant, within=False)
            cells = _collapse(panel, design, by=by, constant=constant, within=within, fewer=FEWER)
        except NotCellsError:
            return None
        if cells is None:
            return None
        return replace(cells, ledger=panel.ledger, notes=(*panel.notes, *assignment_notes(panel, design)), rows=panel)

    settings = replace(design, comparison="not_yet_treated", anticipation=0)  # on these cells do not depend
    what = f"cells by {by} and {constant}, {within}, of {in_full((settings,))}"
    return panel.once(what, (*design.columns(), *by, *constant), find)


def _collapse(
    panel: Panel,
    design: Design,
    *,
    rows: Ints | None = None,
    starts: Ints | None = None,
    by: tuple[str, ...],
    constant: tuple[str, ...] = (),
    within: bool,
    fewer: int | None = None,
) -> Panel | None:
    """Collapse all rows of a panel, or `rows` (n,), in which units start at `starts` (U,); None where cells are not `fewer`."""
    read = _read(panel, design, rows, panel.starts if starts is None else starts)
    code = _cross([read.cluster, *_unit_keys(panel, design, read, by, constant)])
    if fewer is not None and (int(code.max()) + 1) * fewer > len(code):
        return None
    found = _group(read, code)
    if fewer is not None and (len(found.rows) * fewer > len(read.period) or len(found.rows) == len(read.period)):
        return None
    for name in design.covariates:
        if isinstance(name, str):
            _require_same(read.take(numbers(panel.frame, name)), read, found, name)
    size = found.size[found.unit].astype(np.float64)
    centre = read.outcome[0 if read.usable is None else int(np.argmax(read.usable))]  # a large constant costs no digits
    shifted = read.outcome - centre
    mean = np.bincount(found.cell, weights=shifted, minlength=len(size)) / size

    at = found.rows if rows is None else rows[found.rows]
    first = panel.starts[np.asarray(panel.unit_codes.values)[at]] if panel.unit_codes is not None else at
    kept = dict.fromkeys([str(panel.unit), panel.time, *design.columns(), *by, *constant])
    for name in kept:
        require_column(panel.frame, name)
    frame = pd.DataFrame({name: panel.frame[name].iloc[at] for name in kept})
    frame[str(panel.unit)] = found.unit
    frame[design.outcome] = centre + mean
    frame[design.assigned_at] = panel.frame[design.assigned_at].iloc[first].array  # where they were assigned, who moved
    frame[COUNT] = size
    if within:
        frame[WITHIN] = _squares(read, found, shifted)
    position = panel.position[at]
    cells = replace(
        panel,
        frame=frame,
        position=position,
        periods=replace(panel.periods, observed=np.unique(position)),
        unit_codes=Codes(found.unit, tuple(range(len(found.size)))),
        counts=COUNT,
        within=WITHIN if within else None,
    )
    if rows is None:  # clusters keep their numbers, also those in which nobody is any more
        assigned = read_assignment(panel, design)[0]
        cells.once("codes", (design.assigned_at,), lambda: Codes(assigned.values[at], assigned.labels))
    return cells


@dataclass(frozen=True, eq=False)
class _Read:
    """The rows (n,) that are to be collapsed, sorted by unit and period, units starting at `starts` (U,).

    rows (n,) are their positions in the panel, None for all; cluster (U,) where each unit was assigned; usable (n,) flags those
    that the design can use, None where it can use all; paths, each (n,), is what units of a cell share in every period.
    """

    rows: Ints | None
    starts: Ints
    sizes: Ints
    period: Ints
    cluster: Ints
    outcome: Floats
    usable: Flags | None
    weights: Floats | None
    eligible: Floats | None
    paths: tuple[Floats | Ints, ...]

    def take(self, values: Any) -> Any:
        """Take of values (N,) of the panel's rows those that are collapsed."""
        return values if self.rows is None else values[self.rows]

    def of_units(self, values: Any) -> Any:
        """Take of values (N,) of the panel's rows those in the units' first rows."""
        return values[self.starts if self.rows is None else self.rows[self.starts]]

    def of_usable(self, values: Any, column: str) -> Any:
        """Take the one value (U,) that each unit has among (n,) in its usable rows; NotCellsError where it has several."""
        first = self.starts
        if self.usable is not None:
            n = len(self.usable)
            first = np.minimum.reduceat(np.where(self.usable, np.arange(n), n), self.starts)
            first = np.where(first < n, first, self.starts)
        varies = values != np.repeat(values[first], self.sizes)
        if self.usable is not None:
            varies &= self.usable
        if varies.any():
            raise NotCellsError(message("cells.changes", column=column))
        return values[first]


def _read(panel: Panel, design: Design, rows: Ints | None, starts: Ints) -> _Read:
    assigned, adoption = read_assignment(panel, design)

    def take(values: Any) -> Any:
        return values if rows is None else values[rows]

    outcome = take(numbers(panel.frame, design.outcome))
    weights = None if design.weights is None else take(numbers(panel.frame, design.weights))
    dose = None if design.dose is None else take(read_dose(panel, design.dose, adoption))
    eligible = None if design.eligible is None else take(read_eligible(panel, design.eligible))
    categories = [take(one.codes(panel).values) for one in design.covariates if isinstance(one, Indicators)]
    plain = [take(numbers(panel.frame, one)) for one in design.covariates if isinstance(one, str)]
    lacking = [flags for one in (outcome, *plain, weights, dose, eligible) if (flags := _missing(one)) is not None]
    lacking += [codes < 0 for codes in categories]
    lacking += [take(panel.codes(part).values) < 0 for part in _absorbed(panel, design)]
    if weights is not None:
        lacking.append(weights == 0)
    lacking = [flags for flags in lacking if flags.any()]
    paths: list[Floats | Ints] = [*categories]
    if dose is not None:
        paths.append(np.nan_to_num(dose))
    usable = None
    if lacking:
        lacks = np.zeros(len(outcome), dtype=np.int64)
        for i, flags in enumerate(lacking):
            lacks += flags.astype(np.int64) << i
        paths.append(lacks)
        usable = lacks == 0
    first = starts if rows is None else rows[starts]
    sizes = np.diff(np.append(starts, len(outcome)))
    period, cluster = take(panel.position), assigned.values[first]
    return _Read(rows, starts, sizes, period, cluster, outcome, usable, weights, eligible, tuple(paths))


def _missing(values: Floats | None) -> Flags | None:
    """Flag (n,) where values are missing; None where none is, which their sum tells."""
    return None if values is None or not np.isnan(values.sum()) else np.isnan(values)


def _absorbed(panel: Panel, design: Design) -> list[str]:
    """Columns that the design absorbs, but for the periods."""
    parts = {part.strip() for effect in design.absorb for part in effect.split("*")}
    return sorted(parts - {panel.time})


def _unit_keys(panel: Panel, design: Design, read: _Read, by: tuple[str, ...], constant: tuple[str, ...]) -> list[Ints]:
    """Codes (U,) of what units of a cell have in common besides the cluster."""
    keys = []
    if read.eligible is not None:  # the same in all rows in which it is known
        keys.append(_number(np.fmax.reduceat(read.eligible, read.starts)))
    if read.weights is not None:
        keys.append(_number(read.of_usable(read.weights, str(design.weights))))
    for part in _absorbed(panel, design):
        keys.append(_number(read.of_usable(read.take(panel.codes(part).values), part)))
    for column in constant:
        held = panel.frame[column]
        plain = isinstance(held.dtype, np.dtype) and held.dtype.kind in "iufb"
        values = held.to_numpy() if plain else panel.codes(column).values
        keys.append(_number(read.of_usable(read.take(values), column)))
    keys += [_number(read.of_units(panel.codes(column).values)) for column in by]
    return keys


def _number(values: Any) -> Ints:
    """Number values from 0 on, in any order."""
    codes: Ints = pd.factorize(values, use_na_sentinel=False)[0].astype(np.int64)
    return codes


def _cross(keys: Sequence[Ints]) -> Ints:
    """Number the combinations of keys (each (U,), 0 or more) that occur, in order: 0, 1, 2, …"""
    crossed = keys[0]
    for key in (None, *keys[1:]):
        if key is not None:
            crossed = crossed * (int(key.max()) + 1) + key
        span = int(crossed.max()) + 1
        if span <= 4 * len(crossed) + 1000:
            crossed = (np.cumsum(np.bincount(crossed, minlength=span) > 0) - 1)[crossed]
        else:
            crossed = np.unique(crossed, return_inverse=True)[1].astype(np.int64)
    return crossed


@dataclass(frozen=True, eq=False)
class _Groups:
    """Cells: rows (c,) are the rows of the first unit of each, unit (c,) its number, size (C,) how many units it has.

    cell (n,) says which of the c rows each row equals.
    """

    rows: Ints
    unit: Ints
    size: Ints
    cell: Ints


def _group(read: _Read, code: Ints) -> _Groups:
    """Group units by code (U,), the periods in which they are observed, and their paths."""
    periods = np.arange(int(read.period.max()) + 1)
    even = not read.paths and bool((read.sizes == read.sizes[0]).all())
    if even and int(read.sizes[0]) == np.count_nonzero(np.bincount(read.period)):  # all are observed throughout
        found = _gather(read, code)
        assert found is not None
        return found
    for seed in count():  # the sums of two sequences are as good as never the same; then with other tags they are not
        tags = np.random.default_rng(seed).integers(0, 2**64, size=len(periods), dtype=np.uint64)
        tagged = tags[read.period]
        for path in read.paths:
            tagged ^= pd.util.hash_array(path)
            tagged *= np.uint64(0x9E3779B97F4A7C15)
        sums = np.add.reduceat(tagged, read.starts)
        del tagged
        found = _gather(read, _cross([code, _number(sums)]))
        if found is not None and all((one[found.rows][found.cell] == one).all() for one in (read.period, *read.paths)):
            return found
    raise AssertionError  # the loop has no end


def _gather(read: _Read, code: Ints) -> _Groups | None:
    """Put the units of a code (U,) together; None where they have different numbers of rows."""
    size = np.bincount(code)
    first = np.empty(len(size), dtype=np.int64)
    first[code[::-1]] = np.arange(len(code))[::-1]
    length = read.sizes[first]
    if (length[code] != read.sizes).any():
        return None
    unit = np.repeat(np.arange(len(size)), length)
    offset = np.cumsum(length) - length
    rows = np.arange(len(unit)) + (read.starts[first] - offset)[unit]
    cell = np.repeat(offset[code] - read.starts, read.sizes)
    cell += np.arange(len(cell))
    return _Groups(rows, unit, size, cell)


def _require_same(values: Floats, read: _Read, found: _Groups, column: str) -> None:
    """Raise NotCellsError where values (n,) of a covariate vary inside a cell."""
    for some in (slice(0, 1000), slice(None)):  # the first rows mostly settle it
        differs = values[some] != values[found.rows][found.cell[some]]
        if read.usable is not None:
            differs &= read.usable[some]
        if differs.any():
            raise NotCellsError(message("cells.differs", column=column))


def _squares(read: _Read, found: _Groups, values: Floats) -> Floats:
    """Squares (c,) of the variation of values (n,) inside cells, units' means taken out; NaN where the design uses no row."""
    number = read.sizes.astype(np.float64)
    if read.usable is not None:
        values = np.where(read.usable, values, 0.0)
        number = np.maximum(np.add.reduceat(read.usable, read.starts, dtype=np.int64), 1).astype(np.float64)
    deviation = values - np.repeat(np.add.reduceat(values, read.starts) / number, read.sizes)
    if read.usable is not None:
        deviation[~read.usable] = 0.0
    size = np.bincount(found.cell, minlength=len(found.rows))
    deviation -= (np.bincount(found.cell, weights=deviation, minlength=len(found.rows)) / size)[found.cell]
    deviation *= deviation
    squares = np.bincount(found.cell, weights=deviation, minlength=len(found.rows)).astype(np.float64)
    if read.usable is not None:
        squares[~read.usable[found.rows]] = np.nan
    return squares
