"""Adoption: who was assigned where, from which period on each is treated, with what dose, and who was eligible; checked."""

from __future__ import annotations

import datetime as dt
import math
import re
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from evalkit.catalogue import Message, message
from evalkit.designs.design import Design
from evalkit.errors import DataError, DesignError
from evalkit.numerics.arrays import Flags, Floats, Ints
from evalkit.panels.panel import Panel
from evalkit.tables.columns import Codes, factorise, name_rows, numbers, require_column, require_ids
from evalkit.tables.periods import as_text, read_periods

PLACEBO = "placebo adoption (position)"
"""The column that a re-assigned adoption is written to, as positions on the time axis; empty: never."""

_WHOLE = re.compile(r"(-?\d+)(?:\.0*)?")
_DATE, _EMPTY, _INFINITE, _ZERO, _DECLARED = range(
    5
)  # how a row says when its unit adopts; from the last on, by which code
_NAMED, _DATES = 5, 8  # units of assignment that a note names of each date or code; dates that it lists


@dataclass(frozen=True, eq=False)
class _Reading:
    """What the columns of a design say: units of assignment, adoption (n,) of every row, and what there is to note."""

    assigned: Codes
    adoption: Floats
    notes: tuple[Message, ...]


def read_assignment(panel: Panel, design: Design) -> tuple[Codes, Floats]:
    """Return unit of assignment and adoption (n,) of every row of the panel, also of those that a sample leaves out.

    Adoption is a position on the time axis, inf = never. Raises DataError for what cannot be a first treated period, DesignError
    where adoption varies within a unit of assignment.
    """
    reading = _read(panel, design)
    return reading.assigned, reading.adoption


def adoption_notes(panel: Panel, design: Design) -> tuple[Message, ...]:
    """Say what in the adoption column may be meant otherwise: several ways of never, and dates before or after the data."""
    return _read(panel, design).notes


def _read(panel: Panel, design: Design) -> _Reading:
    def read() -> _Reading:
        assigned = _assignment(panel, design)
        adoption, notes = _adoption(panel, design, assigned)
        adoption.flags.writeable = False  # shared by all that ask again
        return _Reading(assigned, adoption, notes)

    by = "treated" if design.adoption is None else f"adoption, never {design.never!r}"
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
    if panel.unit_codes is None or panel.is_constant(design.assigned_at):
        return codes
    return Codes(codes.values[panel.starts][panel.unit_codes.values], codes.labels)


def _adoption(panel: Panel, design: Design, assigned: Codes) -> tuple[Floats, tuple[Message, ...]]:
    """First treated period of each row's unit, as a position on the time axis (inf = never), constant within `assigned_at`."""
    notes: tuple[Message, ...] = ()
    if design.adoption == PLACEBO:
        placed = numbers(panel.frame, PLACEBO)
        adoption = np.where(np.isnan(placed), np.inf, placed)
    elif design.adoption is not None:
        adoption, notes = _read_adoption(panel, design, assigned)
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
    return adoption, notes


def _read_adoption(panel: Panel, design: Design, assigned: Codes) -> tuple[Floats, tuple[Message, ...]]:
    """Read the adoption column: positions (n,), inf = never, constant within units; and what there is to note."""
    column, periods, level = str(design.adoption), panel.periods, assigned.values
    require_column(panel.frame, column)
    whole = panel.frame[column]
    by_unit = panel.unit_codes if panel.is_constant(column) else None
    # where the column is constant within units, what is read of their first rows holds for all
    values, level = (whole, level) if by_unit is None else (whole.iloc[panel.starts], level[panel.starts])

    def of_rows(found: Any) -> Any:
        return found if by_unit is None else found[by_unit.values]

    values, declared = _set_aside(values, design.never_codes())
    try:
        codes = factorise(values)
        labels = pd.Series(list(codes.labels), name=column)
        if pd.api.types.is_float_dtype(labels):
            labels = labels.where(labels != np.inf)
        try:
            ordinals, infinite, frequency = read_periods(labels, periods.frequency, year_end=periods.year_end)
        except DataError:
            every = _set_aside(whole, design.never_codes())[0]
            read_periods(every, periods.frequency, year_end=periods.year_end)  # says in which row
            raise
    except DataError as error:
        never = "where this means never treated, leave the cell empty, or declare it in the design (never=…)"
        raise DataError(error.what, where=error.where, remedy=f"{error.remedy}; {never}") from None
    if len(labels) and frequency != periods.frequency:
        raise DataError(
            f"adoption is given by {frequency}, the panel's periods by {periods.frequency}",
            where=f"column '{column}'",
            remedy=f"write adoption as the column '{panel.time}' writes periods",
        )
    zero = (ordinals == 0) & ~infinite & (frequency == "integer" and periods.first > 0)
    dated = ~infinite & ~zero
    far = dated & periods.far_off(ordinals)
    if far.any():
        _refuse_far(panel, column, of_rows(np.isin(codes.values, np.flatnonzero(far))), ordinals[far])
    # Between two periods of the grid, the first period that can show the treatment is the next one.
    steps = np.where(dated, np.ceil((ordinals - periods.first) / periods.step), np.inf)
    read = np.append(steps, np.inf)[codes.values]  # code -1, missing, takes the last
    position = of_rows(read)
    if by_unit is None:
        _require_constant(panel, column, design.assigned_at, position)
    way = np.append(np.where(infinite, _INFINITE, np.where(zero, _ZERO, _DATE)), _EMPTY)[codes.values]
    if (declared >= 0).any():
        way = np.where(declared >= 0, _DECLARED + declared, way)
    on_date = np.isfinite(read)
    dates = _note_dates(panel, design, assigned, ordinals[codes.values[on_date]], level[on_date])
    return position, (*_note_never(panel, design, assigned, level, way), *dates)


def _set_aside(values: pd.Series, never: tuple[str | float, ...]) -> tuple[pd.Series, Ints]:
    """Empty the cells that hold a code for never treated, and say which code each row had, (n,), -1 for none.

    -1, -1.0 and the text "-1" are one code, as are a date and its text.
    """
    declared = np.full(len(values), -1, dtype=np.int64)
    if never:
        wanted = {_write(code): i for i, code in reversed(list(enumerate(never)))}
        codes, found = pd.factorize(values)
        declared = np.array([*(wanted.get(_write(one), -1) for one in found), -1], dtype=np.int64)[codes]
    if not (declared >= 0).any():
        return values, declared
    dates = values.where(declared < 0)
    return (dates.cat.remove_unused_categories() if isinstance(dates.dtype, pd.CategoricalDtype) else dates), declared


def _write(value: Any) -> str:
    """Write a value of an adoption column in one way, whatever type holds it."""
    if isinstance(value, dt.datetime) and value.time() == dt.time():
        return value.date().isoformat()
    text = as_text(value)
    whole = _WHOLE.fullmatch(text)
    return str(int(whole[1])) if whole else text


def _refuse_far(panel: Panel, column: str, far: Flags, ordinals: Ints) -> None:
    """Raise DataError for rows, flagged in `far` (n,), with a date that has nothing to do with the time axis."""
    at, periods = int(np.argmax(far)), panel.periods
    text = _write(panel.frame[column].iloc[at])
    code = text if _WHOLE.fullmatch(text) else repr(text)
    who = "" if panel.unit_codes is None else f" of {panel.unit} {panel.unit_codes.labels[panel.unit_codes.values[at]]}"
    found = read_periods(panel.frame[column].iloc[[at]], periods.frequency, year_end=periods.year_end)[0]
    early, others = bool(found[0] < periods.first), len(np.unique(ordinals)) - 1
    before = "a unit treated since before the data may have their first period; " if early else ""
    raise DataError(
        f"the first treated period{who} is {text}, which lies {'before' if early else 'far after'} the data "
        f"({periods.name(periods.start)} to {periods.name(periods.end)})"
        + (f"; so do {others} other values" if others > 1 else "; so does another value" if others else ""),
        where=name_rows(panel.frame, far, column),
        remedy=f"where it means never treated, leave the cell empty, or declare it in the design: never={code}; "
        f"{before}else correct the value",
    )


def _require_constant(panel: Panel, column: str, level: str, position: Floats) -> None:
    """Raise DataError where adoption (n,) varies within a unit."""
    if panel.unit_codes is None:
        return
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


def _note_never(panel: Panel, design: Design, assigned: Codes, unit: Ints, way: Ints) -> tuple[Message, ...]:
    """Count who is never treated by which code, where there are several, or one that could be a period.

    Units of assignment (m,) say it in these ways (m,). Of one code that can mean nothing else there is nothing to say.
    """
    column, level, never = str(design.adoption), design.assigned_at, design.never_codes()
    ways = [one for one in np.flatnonzero(np.bincount(way)).tolist() if one != _DATE]
    absent = [code for i, code in enumerate(never) if _DECLARED + i not in ways]
    notes = [message("note.never_absent", code=code, column=column) for code in absent]
    on_axis = [_DECLARED + i for i, code in enumerate(never) if _is_on_axis(panel, code)]
    doubtful = [*on_axis, *([] if panel.periods.on_calendar else [_ZERO])]
    if len(ways) < 2 and not set(ways) & set(doubtful):
        return tuple(notes)
    told: Message | None = None
    for one in ways:
        who = np.unique(unit[way == one])
        listed = {"units": len(who), "level": level, "listed": _list_units(assigned, who)}
        if one == _EMPTY:
            said = message("note.never_empty", **listed)
        elif one == _INFINITE:
            said = message("note.never_infinite", **listed)
        else:
            said = message("note.never_code", code=0 if one == _ZERO else never[one - _DECLARED], **listed)
        told = said if told is None else message("note.never_also", before=told, then=said)
    return (*notes, message("note.never", column=column, ways=told))


def _is_on_axis(panel: Panel, code: str | float) -> bool:
    """Say whether a code for never treated could also be a period from the first to the last of the data."""
    periods = panel.periods
    try:
        ordinals, _, frequency = read_periods(
            pd.Series([code], name="never"), periods.frequency, year_end=periods.year_end
        )
    except DataError:
        return False
    return frequency == periods.frequency and periods.start <= ordinals[0] <= periods.end


def _note_dates(panel: Panel, design: Design, assigned: Codes, date: Ints, unit: Ints) -> tuple[Message, ...]:
    """List who adopts after the last period of the data, or before the first: dates (m,) of units of assignment (m,)."""
    periods, said = panel.periods, {"column": str(design.adoption), "level": design.assigned_at}
    notes: list[Message] = []
    late, early = date > periods.end, date < periods.start
    if late.any():
        who = {"units": len(np.unique(unit[late])), "listed": _list_dates(panel, assigned, date[late], unit[late])}
        notes.append(message("note.adopts_after", last=periods.name(periods.end), **said, **who))
    if early.any():
        who = {"units": len(np.unique(unit[early])), "listed": _list_dates(panel, assigned, date[early], unit[early])}
        notes.append(message("note.adopts_before", first=periods.name(periods.start), **said, **who))
    return tuple(notes)


def _list_dates(panel: Panel, assigned: Codes, date: Ints, unit: Ints) -> str:
    """Name units of assignment by date, those farthest from the data first: "Texas 2032; Ohio, Utah 2012"."""
    dates = np.unique(date)
    dates = dates[::-1] if dates[0] > panel.periods.end else dates
    listed = [
        f"{_list_units(assigned, np.unique(unit[date == one]))} {panel.periods.name(int(one))}"
        for one in dates[:_DATES]
    ]
    return "; ".join(listed) + ("; …" if len(dates) > _DATES else "")


def _list_units(assigned: Codes, codes: Ints) -> str:
    return ", ".join(str(assigned.labels[code]) for code in codes[:_NAMED]) + (", …" if len(codes) > _NAMED else "")


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
    placed = panel.with_column(PLACEBO, np.where(np.isfinite(position), position, np.nan))
    return placed, replace(design, adoption=PLACEBO, treated=None, never=())
