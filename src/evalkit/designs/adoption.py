"""Adoption: who was assigned where, from which period on each is treated, with what dose, and who was eligible; checked."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd

from evalkit.designs.design import Design
from evalkit.errors import DataError, DesignError
from evalkit.numerics.arrays import Floats
from evalkit.panels.panel import Panel
from evalkit.tables.columns import Codes, name_rows, numbers, require_ids
from evalkit.tables.periods import read_periods

PLACEBO = "placebo adoption"
"""The column that a re-assigned adoption is written to."""


def read_assignment(panel: Panel, design: Design) -> tuple[Codes, Floats]:
    """Return unit of assignment and adoption (n,) of every row of the panel, also of those that a sample leaves out."""

    def read() -> tuple[Codes, Floats]:
        assigned = _assignment(panel, design)
        adoption = _adoption(panel, design, assigned)
        adoption.flags.writeable = False  # shared by all that ask again
        return assigned, adoption

    by = "adoption" if design.treated is None else "treated"
    return panel.once(f"assignment by {by}", (design.assigned_at, str(design.adoption or design.treated)), read)


def _assignment(panel: Panel, design: Design) -> Codes:
    """Codes of the units of assignment, for each unit as it was in its first row."""
    codes = panel.codes(design.assigned_at)
    require_ids(panel.frame, design.assigned_at, codes, "unit of assignment")
    if len(codes.labels) == 1:
        raise DesignError(
            f"'{design.assigned_at}' has only one value, {codes.labels[0]}",
            where=f"assigned_at = '{design.assigned_at}'",
            remedy="name the column of the units to which the treatment was assigned; at least two are needed",
        )
    if panel.unit_codes is None:
        return codes
    return Codes(codes.values[panel.starts][panel.unit_codes.values], codes.labels)


def _adoption(panel: Panel, design: Design, assigned: Codes) -> Floats:
    """First treated period of each row's unit, as a position on the time axis (inf = never), constant within `assigned_at`."""
    if design.adoption is not None:
        adoption = _read_adoption(panel, design.adoption, design.assigned_at)
    else:
        adoption = _adoption_of_treated(panel, str(design.treated), assigned)
    lowest = np.full(len(assigned.labels), np.inf)
    starts = panel.starts  # adoption and assignment are constant within units
    np.minimum.at(lowest, assigned.values[starts], adoption[starts])
    if (adoption[starts] != lowest[assigned.values[starts]]).any():
        differs = adoption != lowest[assigned.values]
        at = int(np.argmax(differs))
        names = [
            "never" if math.isinf(value) else panel.periods.label(value)
            for value in (lowest[assigned.values[at]], adoption[at])
        ]
        raise DesignError(
            f"adoption varies within {design.assigned_at} {assigned.labels[assigned.values[at]]}: {names[0]} and {names[1]}",
            where=name_rows(panel.frame, differs, design.adoption or str(design.treated)),
            remedy=f"set assigned_at to the level at which adoption was decided; cluster with Cluster('{design.assigned_at}')",
        )
    return adoption


def _read_adoption(panel: Panel, column: str, level: str) -> Floats:
    codes = panel.codes(column)
    labels = pd.Series(list(codes.labels), name=column)
    if pd.api.types.is_float_dtype(labels):
        labels = labels.where(labels != np.inf, 0.0)
    try:
        ordinals, _, frequency = read_periods(labels, panel.periods.frequency, year_end=panel.periods.year_end)
    except DataError:
        read_periods(panel.frame[column], panel.periods.frequency, year_end=panel.periods.year_end)  # says in which row
        raise
    if len(labels) and frequency != panel.periods.frequency:
        raise DataError(
            f"adoption is given by {frequency}, the panel's periods by {panel.periods.frequency}",
            where=f"column '{column}'",
            remedy=f"write adoption as the column '{panel.time}' writes periods",
        )
    # Between two periods of the grid, the first period that can show the treatment is the next one.
    steps = np.ceil((ordinals - panel.periods.first) / panel.periods.step)
    never = (ordinals == 0) & (frequency == "integer")
    position = np.append(np.where(never, np.inf, steps), np.inf)[codes.values]  # code -1, missing, takes the last
    if panel.unit_codes is not None:
        varies = position != position[panel.starts][panel.unit_codes.values]
        if varies.any():
            at = int(np.argmax(varies))
            found = panel.frame[column].iloc[[at - 1, at]]
            here = panel.frame[level].iloc[[at - 1, at]].tolist()
            moved = f", because its {level} changes from {here[0]} to {here[1]}" if here[0] != here[1] else ""
            remedy = (
                "write the same first treated period in every row of a unit, or leave all of them empty (never treated)"
            )
            raise DataError(
                f"adoption varies within {panel.unit} {panel.unit_codes.labels[panel.unit_codes.values[at]]}: "
                + " and ".join("empty" if gone else str(value) for value, gone in zip(found, found.isna(), strict=True))
                + moved,
                where=name_rows(panel.frame, varies, column),
                remedy=f"keep the {level} in which it was first observed, or leave the unit out" if moved else remedy,
            )
    return position


def _adoption_of_treated(panel: Panel, column: str, assigned: Codes) -> Floats:
    """Turn a 0/1 column into adoption: the first period with 1 in each unit of assignment, which must stay 1 from then on."""
    treated = numbers(panel.frame, column)
    wrong = ~np.isin(treated, (0.0, 1.0))
    if wrong.any():
        example = panel.frame[column].iloc[int(np.argmax(wrong))]
        raise DataError(
            f"treated must be 0 or 1 in every row; found {example}",
            where=name_rows(panel.frame, wrong, column),
            remedy="code untreated rows 0 and treated rows 1",
        )
    first = np.full(len(assigned.labels), np.inf)
    on = treated == 1
    np.minimum.at(first, assigned.values[on], panel.position[on].astype(np.float64))
    adoption = first[assigned.values]
    off = ~on & (panel.position >= adoption)
    if off.any():
        at = int(np.argmax(off))
        who = (
            f"{panel.unit} {panel.unit_codes.labels[panel.unit_codes.values[at]]}"
            if panel.unit_codes is not None
            else f"row {panel.frame.index[at]}"
        )
        group = assigned.labels[assigned.values[at]]
        raise DesignError(
            f"treatment switches off, or differs inside a unit of assignment: {who} has 0 in "
            f"{panel.periods.label(panel.position[at])}, but its unit of assignment ({group}) is treated from "
            f"{panel.periods.label(adoption[at])}",
            where=name_rows(panel.frame, off, column),
            remedy="the estimators here need a treatment that stays on and is shared by the whole unit of assignment; "
            "end the sample before it is withdrawn, or set assigned_at to the level at which it was decided",
        )
    return adoption


def read_dose(panel: Panel, column: str, adoption: Floats) -> Floats:
    """Return the dose (n,) of every row: 0 where untreated, NaN where a treated row has none.

    Raises DataError for a negative dose, DesignError for a dose where there is no treatment yet.
    """
    found = numbers(panel.frame, column)
    if (found < 0).any():
        raise DataError(
            f"a dose is negative: {found[int(np.argmax(found < 0))]:g}",
            where=name_rows(panel.frame, found < 0, column),
            remedy="a dose is how much treatment there is, 0 or positive; code less and more as two designs",
        )
    untreated = panel.position < adoption
    early = untreated & (found > 0)
    if early.any():
        at = int(np.argmax(early))
        start = "never" if math.isinf(adoption[at]) else f"from {panel.periods.label(adoption[at])} on"
        raise DesignError(
            f"{int(early.sum())} rows have a dose above 0 without treatment; the first is of "
            f"{panel.periods.label(panel.position[at])}, and its unit is treated {start}",
            where=name_rows(panel.frame, early, column),
            remedy="let adoption be the first period with a dose, and leave the dose before it, and of the never treated, "
            "0 or empty",
        )
    return np.where(untreated, 0.0, found)


def read_eligible(panel: Panel, column: str) -> Floats:
    """Return who is eligible (n,): 0, 1, or NaN where it is not known; constant within units.

    Raises DataError for other values, DesignError where a unit changes its group.
    """
    found = numbers(panel.frame, column)
    wrong = ~(np.isin(found, (0.0, 1.0)) | np.isnan(found))
    if wrong.any():
        raise DataError(
            f"eligible must be 0 or 1; found {found[int(np.argmax(wrong))]:g}",
            where=name_rows(panel.frame, wrong, column),
            remedy="code those whom the treatment is for 1, the others 0",
        )
    if panel.unit_codes is not None:
        unit = panel.unit_codes.values
        changes = (found < np.fmax.reduceat(found, panel.starts)[unit]) & ~np.isnan(found)
        if changes.any():
            name = panel.unit_codes.labels[unit[int(np.argmax(changes))]]
            raise DesignError(
                f"{panel.unit} {name} has both 0 and 1: eligible must not change within a {panel.unit}",
                where=name_rows(panel.frame, changes, column),
                remedy="take the group from before the treatment, such as the unit's first row",
            )
    return found


def with_adoption(panel: Panel, design: Design, position: Floats) -> tuple[Panel, Design]:
    """Give every row (n,) another adoption, as a position on the time axis (inf = never)."""
    if design.dose is not None:
        raise DesignError(
            "adoption cannot be re-assigned where each unit has a dose of its own",
            where=f"dose = '{design.dose}'",
            remedy="drop the dose from the design, to ask about being treated at all",
        )
    periods = panel.periods
    dates, at = np.unique(position, return_inverse=True)
    known = np.isfinite(dates)
    if periods.frequency == "integer":
        ordinals = periods.first + np.where(known, dates, 0.0) * periods.step
        if (known & (ordinals == 0)).any():  # which an adoption column reads as "never"
            treated = panel.with_column(PLACEBO, (panel.position >= position).astype(np.float64))
            return treated, replace(design, adoption=None, treated=PLACEBO)
        values = np.where(known, ordinals, np.nan)
    else:
        labels = [periods.label(date) if finite else None for date, finite in zip(dates, known, strict=True)]
        values = np.array(labels, dtype=object)
    return panel.with_column(PLACEBO, values[at]), replace(design, adoption=PLACEBO, treated=None)
