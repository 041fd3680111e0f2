"""Withholding: what the results of a study must not show where its rows are of persons, who stand in it as pseudonyms."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from evalkit.numerics.arrays import Flags, Floats, Ints
from evalkit.numerics.suppression import flag_unsafe
from evalkit.panels.panel import Panel
from evalkit.results.estimation import Specification
from evalkit.results.finding import Finding
from evalkit.tables.protection import LARGEST, LEAST, TWO_LARGEST
from evalkit.tables.table import Table

_BY_UNIT = (
    "leave_one_out",
    "placebo_assignment",
)  # charts of findings with a row for each unit of assignment, or set of them


def person_columns(panel: Panel) -> tuple[str, ...]:
    """Name the columns of a panel that hold pseudonyms; of cells, those of their rows."""
    rows = panel.rows or panel
    named = dict.fromkeys(one for source in rows.provenance for one in source.persons)
    return tuple(one for one in named if one in rows.frame.columns)


def lists_persons(table: Table) -> bool:
    """Say whether a table has rows of single persons."""
    return any(one in table.frame.columns for source in table.provenance for one in source.persons)


def shows_persons(finding: Finding, spec: Specification) -> bool:
    """Say whether the table of a finding goes through single persons: the policy is assigned to them."""
    return spec.design.assigned_at in person_columns(spec.panel) and finding.chart.kind in _BY_UNIT


def is_safe(panel: Panel, rows: Ints, groups: Sequence[Flags], values: Floats) -> list[bool]:
    """Say for each group of rows (m,) whether a mean of `values` (m,) may be shown: of ten persons, none dominating the sum.

    Values below zero have no sum that somebody could dominate. Of a yes and no, ten must say either, if anybody does.
    """
    held = np.isfinite(values)
    amounts = np.where(held & (values >= 0), values, 0.0)
    if not (values[held] >= 0).all():
        amounts = np.zeros_like(values)
    columns = [amounts]
    if np.isin(values[held], (0.0, 1.0)).all():
        columns.append(np.where(held, 1.0 - amounts, 0.0))
    safe = np.ones(len(groups), bool)
    for one in person_columns(panel):
        person = panel.codes(one).values[rows]
        for k, group in enumerate(groups):
            chosen = group & held
            unsafe = flag_unsafe(
                cell=np.zeros(int(chosen.sum()), np.int64),
                unit=person[chosen],
                values=np.column_stack(columns)[chosen],
                n_cells=1,
                least=LEAST,
                largest=LARGEST,
                two_largest=TWO_LARGEST,
            )
            safe[k] &= not unsafe[0]
    return safe.tolist()
