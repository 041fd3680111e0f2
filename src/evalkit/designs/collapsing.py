"""Collapse: unit-periods to the few cells that carry the same regression."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from evalkit.catalogue import message
from evalkit.designs.design import Design
from evalkit.designs.indicators import Indicators
from evalkit.designs.sample import Sample, draw_sample
from evalkit.errors import DataError
from evalkit.numerics.arrays import Flags, Floats, Ints
from evalkit.panels.panel import Dropped, Panel

COUNT, WITHIN = "collapsed_count", "collapsed_within"


def collapse_panel(panel: Panel, design: Design, *, by: tuple[str, ...] = (), keep: Flags | None = None) -> Panel:
    """Collapse the rows of a panel (those flagged in `keep`, if given), as `collapse` does those of a frame."""
    unit, time = str(panel.unit), panel.time
    sample = draw_sample(panel, design, keep)
    starts = sample.starts
    cell = _cells(panel, sample, starts, by)[sample.unit]
    n_periods = int(sample.period.max()) + 1
    key = cell * n_periods + sample.period
    group = (np.cumsum(np.bincount(key) > 0) - 1)[key]
    firsts = np.empty(int(group.max()) + 1, dtype=np.int64)
    firsts[group[::-1]] = np.arange(len(group))[::-1]
    size = np.bincount(group).astype(np.float64)
    for name, column in zip(sample.covariate_names, sample.covariates, strict=True):
        if (column != column[firsts][group]).any():
            raise DataError(
                f"covariate '{name}' varies inside a cell",
                where="collapse",
                remedy="covariates that differ between units need the rows: use Panel.from_frame instead of collapse",
            )
    unit_means = np.add.reduceat(sample.outcome, starts) / np.diff(np.append(starts, len(sample.unit)))
    demeaned = sample.outcome - unit_means[sample.unit]
    deviation = demeaned - (np.bincount(group, weights=demeaned) / size)[group]

    cells = panel.frame.iloc[sample.rows[firsts]].copy()
    cells[unit] = cell[firsts]
    cells[design.outcome] = _mean(sample.outcome, group, size)
    labels = np.array(sample.clusters, dtype=object)[sample.cluster[firsts]]
    cells[design.assigned_at] = labels if labels.dtype == object and isinstance(labels[0], str) else labels.tolist()
    cells[COUNT] = size
    cells[WITHIN] = np.bincount(group, weights=deviation**2)
    kept = [unit, time, *design.columns(), *by, COUNT, WITHIN]
    collapsed = Panel.from_frame(cells[list(dict.fromkeys(kept))], unit=unit, time=time, counts=COUNT)
    ledger = tuple(Dropped("collapse", line.reason, line.rows, line.units) for line in sample.ledger)
    note = message("note.collapsed", rows=len(sample.rows), cells=len(cells))
    return replace(collapsed, within=WITHIN, ledger=(*panel.ledger, *ledger), notes=(*sample.notes, note))


def _mean(values: Floats, group: Ints, size: Floats) -> Floats:
    """Group means (groups,), centred first so that a large constant costs no digits."""
    centre = values[len(values) // 2]
    means: Floats = centre + np.bincount(group, weights=values - centre) / size
    return means


def _cells(panel: Panel, sample: Sample, starts: Ints, by: tuple[str, ...]) -> Ints:
    """Cell code (U,) of each unit."""
    design = sample.design
    keys = [sample.cluster[starts], _ranks(sample.adoption[starts]), _patterns(sample, starts)]
    if sample.eligible is not None:
        keys.append(sample.eligible[starts].astype(np.int64))
    if sample.dose is not None:
        keys.append(_paths(sample, sample.dose))
    if sample.weights is not None:
        _require_constant(sample.weights, sample.unit, starts, str(design.weights))
        keys.append(_ranks(sample.weights[starts]))
    parts = {part.strip() for effect in design.absorb for part in effect.split("*")} - {panel.time}
    for part in sorted(parts):
        codes = panel.codes(part).values[sample.rows]
        _require_constant(codes, sample.unit, starts, part)
        keys.append(codes[starts])
    for one in design.covariates:
        if isinstance(one, Indicators):
            keys.append(_paths(sample, (one.codes(panel).values[sample.rows] + 1).astype(np.float64)))
    for column in by:
        keys.append(panel.codes(column).values[sample.rows[starts]])
    cells = keys[0]
    for key in keys[1:]:
        cells = _ranks(cells * (int(key.max()) + 1) + key)
    return cells


def _ranks(values: Floats | Ints) -> Ints:
    return np.unique(values, return_inverse=True)[1].astype(np.int64)


def _patterns(sample: Sample, starts: Ints) -> Ints:
    """Code (U,) of the set of periods in which each unit is observed."""
    if len(sample.rows) == len(starts) * len(np.unique(sample.period)):
        return np.zeros(len(starts), dtype=np.int64)
    seen = np.zeros((len(starts), int(sample.period.max()) + 1), dtype=bool)
    seen[sample.unit, sample.period] = True
    packed = np.packbits(seen, axis=1)
    _, codes = np.unique(packed, axis=0, return_inverse=True)
    return codes.reshape(-1).astype(np.int64)


def _paths(sample: Sample, values: Floats) -> Ints:
    """Code (U,) of the values (n,) that each unit has over the periods."""
    path = np.zeros((len(sample.starts), int(sample.period.max()) + 1))
    path[sample.unit, sample.period] = values
    _, codes = np.unique(path, axis=0, return_inverse=True)
    return codes.reshape(-1).astype(np.int64)


def _require_constant(values: Floats | Ints, unit: Ints, starts: Ints, column: str) -> None:
    if (values != values[starts][unit]).any():
        raise DataError(
            f"'{column}' changes within a unit",
            where="collapse",
            remedy="cells need it to be constant: use Panel.from_frame instead of collapse",
        )
