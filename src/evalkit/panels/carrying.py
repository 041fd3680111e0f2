"""Carrying: a panel of counties, prefectures or provinces over years on the boundaries of one year, by declared rules."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

import numpy as np
import pandas as pd

from evalkit.catalogue import Message, message
from evalkit.errors import DataError, nearest
from evalkit.numerics.arrays import Flags, Floats, Ints, first_rows
from evalkit.panels.boundaries import (
    Rule,
    Scope,
    Trace,
    Turn,
    find_scope,
    follow_units,
    label_unit,
    name_unit,
    read_turns,
)
from evalkit.panels.panel import Dropped, Panel
from evalkit.regions.registry import FIRST, LAST, Change, Region, gazetteer, lineage
from evalkit.tables.columns import name_rows, numbers, require_column

_NAMED = 12  # units, and changes, that a note names; sentences about single changes
_FIRST_FEW = 3  # changes, or units with unequal values, that an error names
_PLAIN = ("sum", "same", "earliest", "latest", "name")


@dataclass(frozen=True)
class MeanOf:
    """Carry a column as a mean; see `mean_of`."""

    weights: str


CarryRule = Literal["sum", "same", "earliest", "latest", "name"] | MeanOf
Undivided = Literal["refuse", "combine", "leave out"]


@dataclass(frozen=True)
class _Pieces:
    """Rows that make up carried ones: piece e is the share `share[e]` of row `row[e]` in group `group[e]`; sorted by group."""

    row: Ints
    group: Ints
    share: Floats
    unit: tuple[str, ...]
    year: Ints

    @property
    def starts(self) -> Ints:
        return first_rows(self.group)

    @property
    def alone(self) -> Flags:
        """Say of each group whether it comes from one row."""
        one: Flags = np.bincount(self.group) == 1
        return one

    @property
    def whole(self) -> Flags:
        """Say of each group whether it is one row as it was."""
        as_was: Flags = self.alone & (self.share[self.starts] == 1)
        return as_was


def mean_of(weights: str) -> MeanOf:
    """Carry a rate (price, intensity, yield) as the mean of the parts, weighted by the column `weights`, which is summed."""
    return MeanOf(weights)


def carry(
    panel: Panel,
    *,
    to_year: int,
    rules: Mapping[str, CarryRule] = MappingProxyType({}),
    population: str | None = None,
    shares: pd.DataFrame | None = None,
    undivided: Undivided = "refuse",
) -> Panel:
    """Carry a panel of yearly rows by codes of GB/T 2260 to the boundaries of 31 December of one year.

    The unit of each row is a code of its own year's list, or another year's code of a unit that only changed name or code (as
    `regions=` of `assemble` gives). A panel with rows of counties is carried to counties, to which a prefecture without any
    (东莞市) belongs while it has none; other panels to prefectures, or provinces. `rules` says of every other column how it is
    carried: "sum" for amounts (whole numbers stay whole where no unit is divided), `mean_of` a summed column for rates, "same"
    for what must be equal in all parts, "earliest" or "latest" for the smallest or largest part, "name" for the name in
    `to_year`. A sum or mean with a missing part is missing, and counted in a note. A unit and year of which not all parts have
    a row gets none, nor does one of which a part has no recorded origin or end: the rows enter the ledger.

    A unit that is to be divided, because it was split before `to_year` or merged after it, is divided by `shares`, a frame with
    columns code, to_code, share (that add up to 1; what is not listed gets nothing) and, where a unit is divided twice, year of
    the change; else by `population`, a summed column: by that of the parts in the nearest year in which all have it. A part that
    joined a unit that was there before counts with what that unit gained. Where neither tells, `undivided` refuses, or combines
    what cannot be told apart into one unit of all years, "652301+652302", or leaves these rows out. Rates keep their value in
    each part. Land that a unit which goes on gave to one that was there before, or is made of whole units, is of unknown size:
    numbers stay where they were counted, and a note says so, unless `shares` lists it.

    The ledger counts the rows that are in no row of the result; a note names those of which a part is in none, and others each
    change, or how many of each kind there are, if more than a dozen. The panel is not modified; one that was carried to this
    year before is returned as it is. Raises DataError for a column without a rule, other codes, years without lists, rows of a
    unit beside those of one that it lies in (a county and its prefecture), negative weights, "same" columns that are not,
    undivided units, and collapsed rows.
    """
    if isinstance(to_year, bool) or not isinstance(to_year, (int, np.integer)):
        raise DataError(
            f"to_year = {to_year!r} is not a whole number", where="carry", remedy="write it as to_year=2020"
        )
    to_year = int(to_year)
    years = _check_panel(panel, to_year)
    if undivided not in ("refuse", "combine", "leave out"):
        remedy = nearest(undivided, ("refuse", "combine", "leave out"))
        raise DataError(f"undivided = '{undivided}' is unknown", where="carry", remedy=remedy)
    _check_rules(panel, rules, population)
    if panel.boundaries == to_year:
        return panel
    if panel.boundaries is not None:
        raise DataError(
            f"the panel was carried to the boundaries of {panel.boundaries} already",
            where="carry",
            remedy=f"carry the panel that was read, with to_year={to_year}",
        )
    codes, scope, notes = _read_codes(panel, years)
    present: dict[int, dict[str, int]] = {}
    for row, (code, year) in enumerate(zip(codes, years.tolist(), strict=True)):
        present.setdefault(year, {})[code] = row
    first, last = min(*present, to_year), max(*present, to_year)
    units = {year: scope.units(year) for year in range(first, last + 1)}
    turns, given, unused = read_turns(units, to_year, shares)
    known = {} if population is None else _known(panel, population, codes, years)
    trace = follow_units(turns, given, units[to_year], to_year, known, str(population), undivided == "leave out")
    passing = trace.passing(turns, present)
    stuck = [at for at, (_, how) in trace.divisions.items() if how.rule is None and at[1] in passing[at[0]]]
    if stuck and undivided == "refuse":
        _refuse_undivided(trace, stuck, population, unused)
    joined = _join(trace, stuck) if undivided == "combine" else {}
    pieces, dropped, told = _gather(trace, present, joined, len(panel), to_year)
    notes = [
        *notes,
        *unused,
        *_tell_changes(trace, turns, passing, joined, to_year),
        *told,
    ]
    frame, missing = _carry_columns(panel, pieces, rules, to_year)
    made = Panel.from_frame(frame, unit=panel.unit, time=panel.time, units=panel.units, provenance=panel.provenance)
    position = (pieces.year - panel.periods.first) // panel.periods.step
    assert made.unit_codes is not None
    assert panel.unit_codes is not None
    said = message(
        "note.carried",
        year=to_year,
        rows=len(panel),
        units=len(panel.unit_codes.labels),
        into=len(made),
        made=len(made.unit_codes.labels),
    )
    return replace(
        made,
        position=position,
        periods=replace(panel.periods, observed=np.unique(position)),
        origins=panel.origins,
        boundaries=to_year,
        ledger=(*panel.ledger, *dropped),
        notes=(*panel.notes, said, *notes, *missing),
    )


def _check_panel(panel: Panel, to_year: int) -> Ints:
    """Return the year (n,) of each row; raise DataError where the panel cannot be carried."""
    if panel.unit is None:
        raise DataError(
            "repeated cross-sections have no units to carry", where="carry", remedy="name the column of codes, unit=…"
        )
    if panel.counts is not None or panel.within is not None:
        raise DataError(
            "the rows are collapsed cells, which have no boundaries",
            where="carry",
            remedy="carry before the rows are collapsed",
        )
    if panel.periods.frequency != "integer" or not panel.periods.on_calendar:
        raise DataError(
            f"the periods are not years ({panel.periods.label(panel.periods.observed[0])} is the first)",
            where=f"column '{panel.time}'",
            remedy="carry a panel with one row per unit and year",
        )
    years = panel.periods.first + panel.position * panel.periods.step
    for year in (int(years.min()), int(years.max()), to_year):
        if not FIRST <= year <= LAST:
            raise DataError(
                f"there is no list of regions for {year}",
                where="to_year" if year == to_year else f"column '{panel.time}'",
                remedy=f"the lists are of {FIRST} to {LAST}: keep the rows of these years, and carry to one of them",
            )
    return years


def _check_rules(panel: Panel, rules: Mapping[str, CarryRule], population: str | None) -> None:
    """Raise DataError for columns without a rule, rules without a column, and weights that are not summed."""
    kinds = "'sum', mean_of('…'), 'same', 'earliest', 'latest' or 'name'"
    for column in rules:
        require_column(panel.frame, column)
        if column in (panel.unit, panel.time):
            raise DataError(
                f"rules= names '{column}', which is the unit or the time",
                where="carry",
                remedy="leave it out of rules=",
            )
    lacking = [str(column) for column in panel.frame.columns if column not in (panel.unit, panel.time, *rules)]
    if lacking:
        raise DataError(
            f"there is no rule for {', '.join(repr(one) for one in lacking)}",
            where="carry, rules",
            remedy=f"say how each is carried, {kinds}, or drop the column from the panel",
        )
    for column, rule in rules.items():
        if not isinstance(rule, MeanOf) and rule not in _PLAIN:
            raise DataError(
                f"the rule of '{column}' is {rule!r}, which is none", where="carry, rules", remedy=f"write {kinds}"
            )
    for weights in [
        *(rule.weights for rule in rules.values() if isinstance(rule, MeanOf)),
        *filter(None, [population]),
    ]:
        require_column(panel.frame, weights)
        if rules.get(weights) != "sum":
            raise DataError(
                f"'{weights}' is to weigh or to divide, and is not carried as a sum",
                where="carry, rules",
                remedy=f'write "{weights}": "sum", or weigh by an amount',
            )


def _read_codes(panel: Panel, years: Ints) -> tuple[list[str], Scope, list[Message]]:
    """Return the code of each row in its own year's list, what the panel is of, and what was read from another year."""
    assert panel.unit is not None
    assert panel.unit_codes is not None
    lists, found, moved = gazetteer(), list[tuple[Region, int]](), dict[tuple[str, int], str]()
    labels = panel.unit_codes.labels
    if not all(isinstance(label, str) for label in labels):
        raise DataError(
            f"the codes are not text ({labels[0]!r} is the first)",
            where=f"column '{panel.unit}'",
            remedy=f"make them text before the panel is made: frame['{panel.unit}'].astype('int64').astype('str')",
        )
    for unit, year in zip(panel.unit_codes.values.tolist(), years.tolist(), strict=True):
        label = labels[unit]
        region = lists.at(label, year)
        if region is None:
            region = _of_other_year(label, year, panel, len(found))
            moved[label, year] = region.code
        found.append((region, year))
    codes = [region.code for region, _ in found]
    if not moved:
        return codes, find_scope(found), []
    at = pd.Series(codes).str.cat(pd.Series(years).astype("str"), sep=" ")
    if (twice := at.duplicated(keep=False).to_numpy()).any():
        one = np.flatnonzero(twice & (at == at[twice].iloc[0]).to_numpy())
        raise DataError(
            f"two rows of {years[one[0]]} are of one unit, {label_unit(codes[one[0]], int(years[one[0]]))}",
            where=name_rows(panel.frame, np.isin(np.arange(len(codes)), one), panel.unit),
            remedy="keep one row for a unit and year",
        )
    listed = [f"{label} in {year}: {label_unit(code, year)}" for (label, year), code in moved.items()]
    return codes, find_scope(found), [message("note.carried_codes", rows=len(moved), units=_list(listed, "; "))]


def _of_other_year(label: str, year: int, panel: Panel, row: int) -> Region:
    """Return the unit of the year to which only a name or code happened until a code of it was listed; else raise DataError."""
    found = dict[Region, None]()
    for region in gazetteer().by_code.get(label, ()):
        line = lineage(label, region.valid_from if region.valid_from > year else region.valid_to or LAST, year)
        if line.same_territory:
            found[line.end[0]] = None
    if len(found) == 1:
        return next(iter(found))
    try:
        lineage(label, year, year)
    except DataError as error:
        raise DataError(
            error.what,
            where=f"column '{panel.unit}', row {panel.frame.index[row]}",
            remedy=f"{error.remedy}; names become codes of their year by resolve_column(), or by regions= of assemble()",
        ) from None
    line = lineage(label, year, min(year + 1, LAST))  # of the list before: the unit ended in the course of the year
    raise DataError(
        f"{line.start} is in the list of {year - 1} and not in that of {year}: {line}",
        where=f"column '{panel.unit}', row {panel.frame.index[row]}",
        remedy=f"put the rows of {year} together as the list of that year has the units, or leave that year out",
    )


def _known(panel: Panel, column: str, codes: Sequence[str], years: Ints) -> dict[tuple[str, int], float]:
    """Return what a column of amounts says of each unit and year."""
    values = _amounts(panel, column)
    told = np.isfinite(values)
    pairs = zip(codes, years.tolist(), strict=True)
    return {pair: value for pair, value, there in zip(pairs, values.tolist(), told.tolist(), strict=True) if there}


def _refuse_undivided(
    trace: Trace, stuck: Sequence[tuple[int, str]], population: str | None, unused: Sequence[Message]
) -> None:
    """Raise DataError naming the first units that have to be divided in unknown shares."""
    told: dict[tuple[int, str], list[str]] = {}
    for year, unit in sorted(stuck):
        turn, how = trace.divisions[year, unit]
        said = label_unit(unit, turn.row_year) + (f" ({how.why})" if how.why else "")
        change = next(
            turn.step.text(before, after)
            for before, after in turn.step.groups()
            if unit in (before if turn.forward else after)
        )
        told.setdefault((year, change), []).append(said)
    first = [f"{', '.join(units)} in {year}: {change}" for (year, change), units in list(told.items())[:_FIRST_FEW]]
    more = f"; and {len(told) - len(first)} more changes" if len(told) > len(first) else ""
    columns = "" if population else "population= a column by which to divide, or "
    raise DataError(
        f"{len(stuck)} units would have to be divided in shares that are not known: {'; '.join(first)}{more}"
        + "".join(f"; {one}" for one in unused),
        where="carry",
        remedy=f'give {columns}shares= (code, to_code, share), or undivided="combine" to keep what cannot be told apart as one '
        'unit, or undivided="leave out"',
    )


def _join(trace: Trace, stuck: Iterable[tuple[int, str]]) -> dict[str, str]:
    """Join the units of `to_year` that undivided units lie in: the code of the joint unit of each."""
    groups: list[set[str]] = []
    for at in stuck:
        new = set(trace.joined[at])
        apart = [group for group in groups if not group & new]
        groups = [*apart, new.union(*(group for group in groups if group & new))]
    return {code: "+".join(sorted(group)) for group in groups if len(group) > 1 for code in group}


def _gather(
    trace: Trace, present: Mapping[int, Mapping[str, int]], joined: Mapping[str, str], n: int, to_year: int
) -> tuple[_Pieces, list[Dropped], list[Message]]:
    """Collect the rows of each unit of `to_year` and year; those of units that are not whole enter the ledger."""
    found: list[tuple[str, int, list[tuple[str, int, float]]]] = []
    incomplete: dict[str, list[int]] = {}
    absent: dict[str, dict[str, None]] = {}
    used, torn, barred = (np.zeros(n, dtype=bool) for _ in range(3))
    for year, rows in present.items():
        made: dict[str, dict[str, float]] = {}
        for key, units in trace.held[year].items():
            if key not in joined:
                made[key] = units
                continue
            entry = made.setdefault(joined[key], {})
            for unit, share in units.items():
                entry[unit] = entry.get(unit, 0.0) + share
        for key, units in made.items():
            pieces = [(unit, rows[unit], share) for unit, share in units.items() if unit in rows]
            if not pieces:
                continue
            lacking = [unit for unit in units if unit not in rows]
            if not lacking:
                found.append((key, year, sorted(pieces)))
                used[[row for _, row, _ in pieces]] = True
                continue
            stopped = any(unit.startswith("!") for unit in lacking)
            (barred if stopped else torn)[[row for _, row, _ in pieces]] = True
            if not stopped:
                incomplete.setdefault(key, []).append(year)
                named = (one[1:] if one.startswith("?") else label_unit(one, year) for one in lacking)
                absent.setdefault(key, {}).update(dict.fromkeys(named))
    if not found:
        raise DataError(
            f"no row can be carried to {to_year}: no unit has all of its parts",
            where="carry",
            remedy="add the rows of the other parts, or carry to another year",
        )
    found.sort(key=lambda one: (one[0], one[1]))
    sizes = [len(pieces) for _, _, pieces in found]
    flat = [piece for _, _, pieces in found for piece in pieces]
    whole = [1.0 if math.isclose(share, 1) else share for _, _, share in flat]
    gathered = _Pieces(
        np.array([row for _, row, _ in flat], dtype=np.int64),
        np.repeat(np.arange(len(found)), sizes),
        np.array(whole, dtype=np.float64),
        tuple(key for key, _, _ in found),
        np.array([year for _, year, _ in found], dtype=np.int64),
    )
    lists = {key: (years, list(absent[key])) for key, years in sorted(incomplete.items())}
    shares = np.bincount(gathered.row, weights=gathered.share, minlength=n)
    partly = set(np.flatnonzero(used & (shares < 1 - 1e-9)).tolist())
    dropped, notes = _account(present, used, torn & ~used, barred & ~used, lists, to_year)
    if partly:
        cut = {(unit, year) for year, rows in present.items() for unit, row in rows.items() if row in partly}
        listed = _list([f"{label_unit(unit, year)} {year}" for unit, year in sorted(cut)])
        notes.append(message("note.carried_partly", rows=len(partly), year=to_year, units=listed))
    return gathered, dropped, notes


def _account(
    present: Mapping[int, Mapping[str, int]],
    used: Flags,
    torn: Flags,
    barred: Flags,
    incomplete: Mapping[str, tuple[list[int], list[str]]],
    to_year: int,
) -> tuple[list[Dropped], list[Message]]:
    """Make the lines of the ledger, and name the units: rows (n,) that arrive somewhere, lack other parts, cannot be divided."""
    lost = ~used & ~torn & ~barred
    unit_of = np.empty(len(used), dtype=object)
    for rows in present.values():
        unit_of[list(rows.values())] = list(rows)
    reasons = (
        (message("ledger.carried_undivided", year=to_year), barred),
        (message("ledger.carried_incomplete", year=to_year), torn & ~barred),
        (message("ledger.carried_nowhere", year=to_year), lost),
    )
    arrived = set(unit_of[used].tolist())
    dropped = [
        Dropped("carry", reason, int(flags.sum()), len(set(unit_of[flags].tolist()) - arrived))
        for reason, flags in reasons
        if flags.any()
    ]
    notes = []
    if incomplete:
        listed = [
            f"{label_unit(key, to_year)} {_spans(years)} ({_list(absent)})"
            for key, (years, absent) in incomplete.items()
        ]
        cells = sum(len(years) for years, _ in incomplete.values())
        rows_torn = int(torn.sum())
        notes.append(
            message("note.carried_incomplete", cells=cells, rows=rows_torn, year=to_year, units=_list(listed, "; "))
        )
    if lost.any():
        last = {code: year for year in sorted(present) for code, row in present[year].items() if lost[row]}
        units = _list([label_unit(code, year) for code, year in sorted(last.items())])
        notes.append(message("note.carried_nowhere", rows=int(lost.sum()), year=to_year, units=units))
    return dropped, notes


def _tell_changes(
    trace: Trace,
    turns: Sequence[Turn],
    passing: Mapping[int, set[str]],
    joined: Mapping[str, str],
    to_year: int,
) -> list[Message]:
    """Say of each change that rows go through what it was and by which rule they are carried over it; of many, in short."""
    told: dict[tuple[int, Change, Rule], list[str]] = {}
    for turn in turns:
        step, year, here = turn.step, turn.step.year, passing[turn.step.year]
        for before, after in step.groups():
            near = here.intersection(before if turn.forward else after)
            if not near or (before == after and len(before) == 1):
                continue
            kind = step.kind(before, after)
            rules = [
                trace.divisions[year, unit][1].rule or _without_rule(trace, (year, unit), joined, to_year)
                for unit in sorted(near)
                if (year, unit) in trace.divisions
            ]
            otherwise = "note.carried_followed" if kind in ("rename", "recode") else "note.carried_added"
            for rule in dict.fromkeys(rules or [_plain(otherwise)]):
                told.setdefault((year, kind, rule), []).append(step.text(before, after))
        receivers: dict[str, list[str]] = {}
        for giver, to in step.ceded:
            if not here.isdisjoint((giver, *(turn.into.get(to, (to,)) if turn.forward else (to,)))):
                receivers.setdefault(giver, []).append(to)
        for giver, tos in receivers.items():
            told.setdefault((year, "transfer", _plain("note.carried_ceded")), []).append(step.text([giver], tos))
    if len(told) > _NAMED:
        return _sum_up(told)
    return [
        message(
            "note.carried_change", kind=message(f"change.{kind}"), year=year, units=_list(said, "; "), rule=rule.words
        )
        for (year, kind, rule), said in sorted(told.items(), key=lambda one: one[0][:2])
    ]


def _plain(key: str) -> Rule:
    return Rule(message(key), message(key))


def _sum_up(told: Mapping[tuple[int, Change, Rule], list[str]]) -> list[Message]:
    """Say the changes of a kind that are carried by one rule in one sentence."""
    alike: dict[tuple[Change, Message], list[tuple[int, str]]] = {}
    for (year, kind, rule), said in told.items():
        alike.setdefault((kind, rule.of_all), []).extend((year, one) for one in said)
    return [
        message(
            "note.carried_changes",
            number=len(changes := sorted(set(several))),
            kind=message(f"change.{kind}"),
            first=changes[0][0],
            last=changes[-1][0],
            rule=rule_of_all,
            units="; ".join(f"{said} ({year})" for year, said in changes[:_FIRST_FEW]),
        )
        for (kind, rule_of_all), several in sorted(alike.items(), key=lambda one: (one[0][0], str(one[0][1])))
    ]


def _list(named: Sequence[str], by: str = ", ") -> str:
    """List the first few of many, and say how many there are."""
    return by.join(named[:_NAMED]) + (f"{by}… ({len(named)})" if len(named) > _NAMED else "")


def _without_rule(trace: Trace, at: tuple[int, str], joined: Mapping[str, str], to_year: int) -> Rule:
    """Say what becomes of a unit that could not be divided."""
    if at in trace.barred:
        return _plain("note.carried_left_out")
    joint = {joined.get(code, code) for code in trace.joined[at]}
    labels = ", ".join(label_unit(code, to_year) for code in sorted(joint))
    return Rule(message("note.carried_combined", unit=labels), message("note.carried_each_combined"))


def _carry_columns(
    panel: Panel, pieces: _Pieces, rules: Mapping[str, CarryRule], to_year: int
) -> tuple[pd.DataFrame, list[Message]]:
    """Make the carried columns, in the order of the groups; say how many values are missing because a part is."""
    frame = panel.frame.iloc[pieces.row[pieces.starts]].copy()
    if frame[panel.unit].tolist() != list(pieces.unit):
        frame[panel.unit] = pd.array(list(pieces.unit), dtype="str")
    notes = list[Message]()
    names = {unit: name_unit(unit, to_year) for unit in dict.fromkeys(pieces.unit)}
    for column, rule in rules.items():
        source = panel.frame[column]
        if rule == "name":
            frame[column] = pd.array([names[unit] for unit in pieces.unit], dtype="str")
            continue
        if rule in ("same", "earliest", "latest"):
            frame[column] = source.iloc[_pick(panel, pieces, column, str(rule), to_year)].array
            continue
        if rule == "sum" and pieces.whole.all():
            continue
        if rule == "sum" and _is_of_ints(source) and (pieces.share == 1).all():
            added = np.add.reduceat(source.to_numpy(dtype=np.int64)[pieces.row], pieces.starts)  # exact, however large
            frame[column] = added
            continue
        values = numbers(panel.frame, column)[pieces.row]
        made = _mean(panel, pieces, values, rule.weights) if isinstance(rule, MeanOf) else _sum(pieces, values)
        made = np.where(pieces.alone if isinstance(rule, MeanOf) else pieces.whole, values[pieces.starts], made)
        if lacking := int((np.isnan(made) & ~pieces.alone).sum()):
            notes.append(message("note.carried_missing", column=column, number=lacking))
        if not pieces.whole.all():
            frame[column] = made
    return frame, notes


def _is_of_ints(values: pd.Series) -> bool:
    return pd.api.types.is_integer_dtype(values.dtype) and values.dtype != np.uint64 and not values.hasnans


def _sum(pieces: _Pieces, values: Floats) -> Floats:
    return np.bincount(pieces.group, weights=values * pieces.share).astype(np.float64)


def _mean(panel: Panel, pieces: _Pieces, values: Floats, by: str) -> Floats:
    """Mean (groups,) of the pieces' values (e,), which do not matter where they weigh nothing."""
    weights = _amounts(panel, by)[pieces.row] * pieces.share
    centre = np.nan_to_num(values[pieces.starts])[pieces.group]  # of equal values the mean is that value
    moved = np.where(weights == 0, 0.0, weights * (values - centre))
    total = np.bincount(pieces.group, weights=weights)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean: Floats = centre[pieces.starts] + np.bincount(pieces.group, weights=moved) / total
    return np.where(total > 0, mean, np.nan)


def _amounts(panel: Panel, column: str) -> Floats:
    """Read a column by which rows are weighed or units divided (n,); raise DataError where it is negative."""
    values = numbers(panel.frame, column)
    if (values < 0).any():
        raise DataError(
            f"'{column}' is negative and can neither weigh nor divide",
            where=name_rows(panel.frame, values < 0, column),
            remedy="correct these rows or leave them out",
        )
    return values


def _pick(panel: Panel, pieces: _Pieces, column: str, rule: str, to_year: int) -> Ints:
    """Return the row whose value each group takes; raise DataError where the parts do not agree on one, or some are missing."""
    codes = panel.codes(column).values[pieces.row]
    low, high = (one.reduceat(codes, pieces.starts) for one in (np.minimum, np.maximum))
    wrong = (low != high) & ((low < 0) | (rule == "same"))
    if wrong.any():
        labels = panel.codes(column).labels
        told = []
        for at in np.flatnonzero(wrong)[:_FIRST_FEW].tolist():
            here = np.flatnonzero(pieces.group == at)
            units = panel.frame[panel.unit].iloc[pieces.row[here]].tolist()
            values = ["missing" if code < 0 else labels[code] for code in codes[here].tolist()]
            parts = ", ".join(f"{unit}: {value}" for unit, value in zip(units, values, strict=True))
            told.append(f"{label_unit(pieces.unit[at], to_year)} in {pieces.year[at]} ({parts})")
        n = int(wrong.sum())
        raise DataError(
            f"'{column}' is not the same in all parts of {n} unit-years: {'; '.join(told)}{'; …' if n > len(told) else ''}"
            if rule == "same"
            else f"'{column}' is missing in some parts of {n} unit-years, and not in others: {'; '.join(told)}",
            where=f"column '{column}'",
            remedy='carry it as "earliest" or "latest", or make it the same in the parts'
            if rule == "same"
            else "write what missing means (a year after all others for never), or leave these rows out",
        )
    order = np.lexsort((codes if rule != "latest" else -codes, pieces.group))
    picked: Ints = pieces.row[order][pieces.starts]
    return picked


def _spans(years: Iterable[int]) -> str:
    """Write years as a reader would: 1995-2003, 2005."""
    runs: list[list[int]] = []
    for year in sorted(years):
        if runs and runs[-1][1] == year - 1:
            runs[-1][1] = year
        else:
            runs.append([year, year])
    return ", ".join(str(one) if one == other else f"{one}-{other}" for one, other in runs)
