"""Carrying: a panel of counties, prefectures or provinces over years on the boundaries of one year, by declared rules."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import pandas as pd

from evalkit.catalogue import Message, message
from evalkit.errors import DataError, nearest
from evalkit.numerics.arrays import Flags, Floats, Ints, first_rows
from evalkit.panels.panel import Dropped, Panel
from evalkit.regions.registry import FIRST, LAST, Change, Region, gazetteer, lineage
from evalkit.tables.columns import name_rows, numbers, require_column

_NAMED = 12  # renamed units, and incomplete ones, that a note names
_FIRST_FEW = 3  # changes, or units with unequal values, that an error names
_PLAIN = ("sum", "same", "earliest", "latest", "name")


@dataclass(frozen=True)
class MeanOf:
    """Carry a column as a mean; see `mean_of`."""

    weights: str


CarryRule = Literal["sum", "same", "earliest", "latest", "name"] | MeanOf
Undivided = Literal["refuse", "combine", "leave out"]

_Links = Mapping[str, tuple[str, ...]]
_Given = dict[
    tuple[int, str], dict[str, float]
]  # by the year of the change and the unit divided: the share of each part
_Key = str | tuple[str, int, str]  # a unit of to_year, or what is traced beside: ("divided", 2011, "341400")
_Held = dict[_Key, dict[str, float]]


@dataclass(frozen=True)
class _Step:
    """The changes of one year: the units after of each unit before, and back; codes of the lists of `year` - 1 and `year`.

    Units without a link go on under their code. `ceded` lists land that is not followed: giver, receiver. `nowhere` holds
    the units after of which no origin is recorded, `gone` those before without a recorded successor.
    """

    year: int
    onward: _Links
    back: _Links
    ceded: tuple[tuple[str, str], ...]
    nowhere: frozenset[str]
    gone: frozenset[str]
    authority: Mapping[str, str]

    def groups(self) -> Iterator[tuple[list[str], list[str]]]:
        """Yield what changed together: the units before and the units after of each change."""
        seen = set[str]()
        for start in self.onward:
            if start in seen:
                continue
            before, after, new = {start}, set[str](), {start}
            while new:
                after |= {to for one in new for to in self.onward[one]}
                new = {one for to in after for one in self.back[to]} - before
                before |= new
            seen |= before
            yield sorted(before), sorted(after)

    def kind(self, before: Sequence[str], after: Sequence[str]) -> Change:
        """Name a change, as `Succession.kind` does."""
        if len(after) > 1:
            return "split"
        if len(before) > 1:
            return "merger"
        same = _name(before[0], self.year - 1) == _name(after[0], self.year)
        return "recode" if same else "rename"

    def text(self, before: Sequence[str], after: Sequence[str]) -> str:
        """Write a change: 米泉市 (652303) + 东山区 (650108) → 米东区 (650109), 国函〔2007〕65号."""
        sides = [" + ".join(_label(code, self.year - 1 + i) for code in side) for i, side in enumerate((before, after))]
        decrees = dict.fromkeys(filter(None, (self.authority.get(code, "") for code in before)))
        return ", ".join([" → ".join(sides), *decrees])


@dataclass(frozen=True)
class _Turn:
    """A step as it is gone through on the way from the rows to `to_year`: forward where they are earlier, else backward.

    `out` leads from the side of the rows to that of `to_year`, `into` the other way.
    """

    step: _Step
    forward: bool

    @property
    def out(self) -> _Links:
        return self.step.onward if self.forward else self.step.back

    @property
    def into(self) -> _Links:
        return self.step.back if self.forward else self.step.onward

    @property
    def lost(self) -> frozenset[str]:
        """Units on the side of `to_year` that come from nowhere recorded."""
        return self.step.nowhere if self.forward else self.step.gone

    @property
    def row_year(self) -> int:
        """The year of the list on the side of the rows."""
        return self.step.year - self.forward

    @property
    def target_year(self) -> int:
        """The year of the list on the side of `to_year`."""
        return self.step.year - (not self.forward)


@dataclass(frozen=True)
class _Division:
    """How a unit is divided: the share of each part and the rule in words; without a rule the shares stand in, and why."""

    shares: Mapping[str, float]
    rule: Message | None
    why: str = ""


@dataclass
class _Trace:
    """Of what units of each year the units of `to_year` consist, with which share of each; a name with ? or ! is never there.

    Beside them, under keys of their own, what goes through each change. `joined` holds the units of `to_year` that the parts
    of an undivided unit lie in.
    """

    held: dict[int, _Held] = field(default_factory=dict)
    divisions: dict[tuple[int, str], tuple[_Turn, _Division]] = field(default_factory=dict)
    changes: dict[tuple[int, str], tuple[_Turn, list[str], list[str]]] = field(default_factory=dict)
    joined: dict[tuple[int, str], set[str]] = field(default_factory=dict)

    def passing(self, present: Mapping[int, Mapping[str, int]]) -> set[_Key]:
        """Return the keys of what any row of the panel goes through."""
        return {
            key
            for year, codes in present.items()
            for key, units in self.held[year].items()
            if not isinstance(key, str) and any(unit in codes for unit in units)
        }


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
    """Carry a rate (a price, an intensity, a yield) as the mean of the parts, weighted by the column `weights`, which is summed."""
    return MeanOf(weights)


def carry(
    panel: Panel,
    *,
    to_year: int,
    rules: Mapping[str, CarryRule],
    population: str | None = None,
    shares: pd.DataFrame | None = None,
    undivided: Undivided = "refuse",
) -> Panel:
    """Carry a panel of yearly rows by codes of GB/T 2260 to the boundaries of 31 December of one year.

    The unit of each row is a code of its own year's list, or another year's code of a unit that only changed name or code (as
    `regions=` of `assemble` gives). `rules` says of every other column how it is carried: "sum" for amounts, `mean_of` a summed
    column for rates, "same" for what must be equal in all parts, "earliest" or "latest" for the smallest or largest part, "name"
    for the name in `to_year`. A sum or mean with a missing part is missing, and counted in a note. A unit and year of which not
    all parts have a row gets none: the rows enter the ledger.

    A unit that is to be divided, because it was split before `to_year` or merged after it, is divided by `shares`, a frame with
    columns code, to_code, share (that add up to 1; what is not listed gets nothing) and, where a unit is divided twice, year of
    the change; else by `population`, a summed column: by that of the parts in the nearest year in which all have it. A part that
    joined a unit that was there before counts with what that unit gained. Where neither tells, `undivided` refuses, or combines
    what cannot be told apart into one unit of all years, "652301+652302", or leaves these rows out. Rates keep their value in
    each part. Land that a unit which goes on gave to one that was there before, or is made of whole units, is of unknown size:
    numbers stay where they were counted, and a note says so, unless `shares` lists it.

    A panel that was carried to this year before is returned as it is. Raises DataError for a column without a rule, other codes,
    years without lists, "same" columns that are not, undivided units, and collapsed rows.
    """
    years = _check_panel(panel, to_year)
    if undivided not in ("refuse", "combine", "leave out"):
        remedy = nearest(undivided, ("refuse", "combine", "leave out"))
        raise DataError(f"undivided = '{undivided}' is unknown", where="carry", remedy=remedy)
    _check_rules(panel, rules, population)
    if (before := _carried_to(panel)) is not None:
        if before == to_year:
            return panel
        raise DataError(
            f"the panel was carried to the boundaries of {before} already",
            where="carry",
            remedy=f"carry the panel that was read, with to_year={to_year}",
        )
    codes, levels, notes = _read_codes(panel, years)
    present: dict[int, dict[str, int]] = {}
    for row, (code, year) in enumerate(zip(codes, years.tolist(), strict=True)):
        present.setdefault(year, {})[code] = row
    first, last = min(*present, to_year), max(*present, to_year)
    steps, unused = _steps(levels, first, last, to_year, shares)
    known = {} if population is None else _known(panel, population, codes, years)
    trace = _follow(steps, to_year, known, str(population), undivided == "leave out")
    passing = trace.passing(present)
    stuck = [at for at, (_, how) in trace.divisions.items() if how.rule is None and ("divided", *at) in passing]
    if stuck and undivided == "refuse":
        _refuse_undivided(trace, stuck, population)
    joined = _join(trace, stuck) if undivided == "combine" else {}
    pieces, dropped, told = _gather(trace, present, joined, len(panel), to_year)
    notes = [
        *notes,
        *unused,
        *_tell_changes(trace, steps, passing, joined, undivided, to_year),
        *told,
    ]
    frame, missing = _carry_columns(panel, pieces, rules, to_year)
    made = Panel.from_frame(frame, unit=panel.unit, time=panel.time, units=panel.units, provenance=panel.provenance)
    position = (pieces.year - panel.periods.first) // panel.periods.step
    assert made.unit_codes is not None and panel.unit_codes is not None
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


def _carried_to(panel: Panel) -> int | None:
    """Return the year to whose boundaries the panel was carried before."""
    for note in panel.notes:
        if note.key == "note.carried":
            return int(str(dict(note.values)["year"]))
    return None


def _read_codes(panel: Panel, years: Ints) -> tuple[list[str], set[str], list[Message]]:
    """Return the code of each row in its own year's list, the levels of the units, and what was read from another year."""
    assert panel.unit is not None and panel.unit_codes is not None
    lists, levels, moved = gazetteer(), set[str](), dict[tuple[str, int], str]()
    labels = panel.unit_codes.labels
    if not all(isinstance(label, str) for label in labels):
        raise DataError(
            f"the codes are not text ({labels[0]!r} is the first)",
            where=f"column '{panel.unit}'",
            remedy=f"make them text before the panel is made: frame['{panel.unit}'].astype('int64').astype('str')",
        )
    codes = []
    for unit, year in zip(panel.unit_codes.values.tolist(), years.tolist(), strict=True):
        label = labels[unit]
        region = lists.at(label, year)
        if region is None:
            region = moved_to = _of_other_year(label, year, panel, len(codes))
            moved[label, year] = moved_to.code
        levels.add(region.level)
        codes.append(region.code)
    if not moved:
        return codes, levels, []
    at = pd.Series(codes).str.cat(pd.Series(years).astype("str"), sep=" ")
    if (twice := at.duplicated(keep=False).to_numpy()).any():
        one = np.flatnonzero(twice & (at == at[twice].iloc[0]).to_numpy())
        raise DataError(
            f"two rows of {years[one[0]]} are of one unit, {_label(codes[one[0]], int(years[one[0]]))}",
            where=name_rows(panel.frame, np.isin(np.arange(len(codes)), one), panel.unit),
            remedy="keep one row for a unit and year",
        )
    listed = "; ".join(
        f"{label} in {year}: {_label(code, year)}" for (label, year), code in list(moved.items())[:_NAMED]
    )
    more = f"; … ({len(moved)})" if len(moved) > _NAMED else ""
    return codes, levels, [message("note.carried_codes", rows=len(moved), units=listed + more)]


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
    raise AssertionError("a code without a unit")


def _known(panel: Panel, column: str, codes: Sequence[str], years: Ints) -> dict[tuple[str, int], float]:
    """Return what a column of amounts says of each unit and year."""
    values = numbers(panel.frame, column)
    told = np.isfinite(values) & (values >= 0)
    pairs = zip(codes, years.tolist(), strict=True)
    return {pair: value for pair, value, there in zip(pairs, values.tolist(), told.tolist(), strict=True) if there}


def _steps(
    levels: Iterable[str], first: int, last: int, to_year: int, shares: pd.DataFrame | None
) -> tuple[list[tuple[_Turn, _Given]], list[Message]]:
    """Read the changes between two years that concern units of these levels, and the shares that are given for them."""
    lists = gazetteer()
    wholes: dict[int, list[tuple[str, str]]] = {}
    parts: dict[int, list[tuple[str, str]]] = {}
    decrees: dict[int, dict[str, str]] = {}
    for (year, code), succession in lists.successions.items():
        if not first < year <= last or succession.before.level not in levels:
            continue
        after = [region.code for region in succession.after]
        decrees.setdefault(year, {})[code] = succession.authority
        goes_on = code in after
        wholes.setdefault(year, []).extend((code, to) for to in after if to == code or not goes_on)
        parts.setdefault(year, []).extend((code, to) for to in after if to != code and goes_on)
    for year, links in wholes.items():
        moved, reached = {code for code, _ in links}, {to for _, to in [*links, *parts[year]]}
        links += [(code, code) for code in sorted(reached - moved) if lists.at(code, year - 1) is not None]
    given, unused = _read_shares(shares, {year: [*wholes[year], *parts[year]] for year in wholes}, to_year)
    turns = []
    begun: dict[int, set[str]] = {}
    ended: dict[int, set[str]] = {}
    for region in lists.regions:
        begun.setdefault(region.valid_from, set()).add(region.code)
        ended.setdefault((region.valid_to or LAST) + 1, set()).add(region.code)
    for year in range(first + 1, last + 1):
        forward, own = year <= to_year, {to for _, to in wholes.get(year, [])}
        declared = {
            (code, to) if forward else (to, code) for (at, code), tos in given.items() if at == year for to in tos
        }
        kept = [link for link in parts.get(year, []) if link[1] not in own or link in declared]
        links = dict.fromkeys([*wholes.get(year, []), *kept])
        onward, back = _gather_links(links), _gather_links((to, code) for code, to in links)
        nowhere = {
            code
            for code in begun.get(year, ())
            if code not in back and (code in onward or not lists.at(code, year - 1))
        }
        gone = {
            code for code in ended.get(year, ()) if code not in onward and (code in back or not lists.at(code, year))
        }
        ceded = tuple(link for link in parts.get(year, []) if link not in links)
        step = _Step(year, onward, back, ceded, frozenset(nowhere), frozenset(gone), decrees.get(year, {}))
        turns.append((_Turn(step, forward), {key: one for key, one in given.items() if key[0] == year}))
    return turns, unused


def _gather_links(links: Iterable[tuple[str, str]]) -> dict[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {}
    for one, other in links:
        found.setdefault(one, []).append(other)
    return {one: tuple(sorted(others)) for one, others in found.items()}


def _read_shares(
    frame: pd.DataFrame | None, links: Mapping[int, Sequence[tuple[str, str]]], to_year: int
) -> tuple[_Given, list[Message]]:
    """Place the given shares at the changes; raise DataError where they do not add up or name no part. Say which are not needed."""
    if frame is None:
        return {}, []
    for column in ("code", "to_code", "share"):
        require_column(frame, column)
    values = numbers(frame, "share")
    if (wrong := ~((values >= 0) & (values <= 1))).any():
        raise DataError(
            "a share is not between 0 and 1", where=f"shares, {name_rows(frame, wrong, 'share')}", remedy="correct it"
        )
    of_year = numbers(frame, "year").tolist() if "year" in frame.columns else [math.nan] * len(frame)
    listed: dict[tuple[str, float], dict[str, float]] = {}
    rows = zip(frame["code"].tolist(), frame["to_code"].tolist(), of_year, values.tolist(), strict=True)
    for code, to, year, value in rows:
        entry = listed.setdefault((code, 0.0 if math.isnan(year) else year), {})
        if to in entry:
            raise DataError(
                f"the share of {to} in {code} is given twice", where="shares", remedy="leave one of them out"
            )
        entry[to] = value
    given, unused = _Given(), []
    for (code, year), entry in listed.items():
        if not math.isclose(sum(entry.values()), 1, abs_tol=1e-9):
            raise DataError(
                f"the shares of {code} add up to {sum(entry.values()):.10g}",
                where="shares",
                remedy="make them 1 together: divide each by their sum",
            )
        parts = {
            at: {other for one, other in ((b, a) if at <= to_year else (a, b) for b, a in found) if one == code}
            for at, found in links.items()
            if year in (0, at)
        }
        parts = {at: others for at, others in parts.items() if others - {code} or len(others) > 1}
        fitting = [at for at, others in parts.items() if set(entry) <= others]
        if not parts:
            unused.append(code)
        elif len(fitting) == 1:
            given[fitting[0], code] = entry
        elif fitting:
            raise DataError(
                f"{code} is divided in {' and '.join(map(str, sorted(fitting)))}, and its shares name no year",
                where="shares",
                remedy="add a column year: that of the change",
            )
        else:
            at = min(parts)
            said = ", ".join(_label(one, at - (at > to_year)) for one in sorted(parts[at]))
            raise DataError(
                f"shares= divides {code} among {', '.join(map(str, entry))}, but its parts in the change of {at} are {said}",
                where="shares",
                remedy="give shares of these; a part that is not listed gets nothing",
            )
    return given, [message("note.carried_unused", units=", ".join(unused))] if unused else []


def _follow(
    turns: Sequence[tuple[_Turn, _Given]],
    to_year: int,
    known: Mapping[tuple[str, int], float],
    population: str,
    marked: bool,
) -> _Trace:
    """Trace the units of `to_year` through the changes, outward from that year; `marked` makes undivided units absent."""
    trace = _Trace()
    steps = [turn.step for turn, _ in turns]
    units = [region.code for region in gazetteer().regions if region.is_valid(to_year)]
    trace.held[to_year] = {code: {code: 1.0} for code in units}
    for forward in (True, False):
        held: _Held = dict(trace.held[to_year])
        holders: dict[str, set[_Key]] = {code: {code} for code in units}
        for turn, given in sorted(turns, key=lambda one: abs(one[0].row_year - to_year)):
            if turn.forward != forward:
                continue
            year = turn.step.year
            shares: dict[str, Mapping[str, float]] = {}
            for unit, parts in turn.out.items():
                if len(parts) == 1:
                    shares[unit] = {parts[0]: 1.0}
                    continue
                how = _divide(turn, unit, given, known, population, steps)
                trace.divisions[year, unit] = turn, how
                shares[unit] = how.shares
                if how.rule is None:
                    reached = {key for part in parts for key in holders.get(part, ())}
                    trace.joined[year, unit] = {key for key in reached if isinstance(key, str)}
            touched = {key for code in (*turn.into, *turn.lost) for key in holders.get(code, ())}
            for key in touched:
                made: dict[str, float] = {}
                for code, weight in held[key].items():
                    holders[code].discard(key)
                    if code in turn.lost:
                        made[f"?{code}"] = 0.0
                    for unit in turn.into.get(code, () if code in turn.lost else (code,)):
                        part = shares[unit].get(code, 0.0) if unit in shares else 1.0
                        if part > 0:
                            made[unit] = made.get(unit, 0.0) + weight * part
                        if marked and (year, unit) in trace.joined:
                            made[f"!{unit}"] = 0.0
                held[key] = made
                for unit in made:
                    holders.setdefault(unit, set()).add(key)
            beside = {("divided", year, unit): [unit] for unit in turn.out if len(turn.out[unit]) > 1}
            for before, after in turn.step.groups():
                if before != after or len(before) > 1:
                    trace.changes[year, before[0]] = turn, before, after
                    beside["change", year, before[0]] = before if forward else after
            for giver, to in turn.step.ceded:
                beside["ceded", year, f"{giver} {to}"] = [giver, *turn.into.get(to, (to,))] if forward else [giver, to]
            for new, through in beside.items():
                held[new] = dict.fromkeys(through, 1.0)
                for unit in through:
                    holders.setdefault(unit, set()).add(new)
            trace.held[turn.row_year] = dict(held)
    return trace


def _divide(
    turn: _Turn,
    unit: str,
    given: _Given,
    known: Mapping[tuple[str, int], float],
    population: str,
    steps: Sequence[_Step],
) -> _Division:
    """Find the shares of the parts of a unit: those given, else by population; else equal ones stand in, without a rule."""
    parts, year = turn.out[unit], turn.step.year
    if (year, unit) in given:
        entry = given[year, unit]
        return _Division(entry, message("note.carried_by_shares", **_said(turn, unit, entry)))
    blank = dict.fromkeys(parts, 1 / len(parts))
    if not known:
        return _Division(blank, None)
    others = {part: [one for one in turn.into[part] if one != unit] for part in parts}
    mixed = [part for part in parts if any(len(turn.out[one]) > 1 for one in others[part])]
    if mixed:
        return _Division(blank, None, f"{_label(mixed[0], turn.target_year)} has parts of several units")
    theirs = _nearest_known(parts, turn.target_year, turn.forward, known, steps)
    if theirs is None:
        return _Division(blank, None, f"there is no year in which all parts have '{population}'")
    rest = [one for several in others.values() for one in several]
    before = _nearest_known(rest, turn.row_year, not turn.forward, known, steps)
    if before is None:
        return _Division(blank, None, f"there is no year in which all of {', '.join(rest)} have '{population}'")
    gains = {part: known[part, theirs] - sum(known[one, before] for one in others[part]) for part in parts}
    if min(gains.values()) <= 0:
        least = min(gains, key=lambda part: gains[part])
        return _Division(blank, None, f"{_label(least, turn.target_year)} did not gain in '{population}'")
    entry = {part: gain / sum(gains.values()) for part, gain in gains.items()}
    said = {**_said(turn, unit, entry), "column": population, "year": theirs}
    if rest:
        return _Division(entry, message("note.carried_by_gain", **said, other=before))
    return _Division(entry, message("note.carried_by_population", **said))


def _said(turn: _Turn, unit: str, entry: Mapping[str, float]) -> dict[str, object]:
    parts = ", ".join(f"{_label(part, turn.target_year)} {share:.4f}" for part, share in entry.items())
    return {"unit": _label(unit, turn.row_year), "parts": parts}


def _nearest_known(
    units: Sequence[str], start: int, later: bool, known: Mapping[tuple[str, int], float], steps: Sequence[_Step]
) -> int | None:
    """Return the nearest year, from `start` on or back, in which all units have a value and are still the same units."""
    by_year = {step.year: step for step in steps}
    year = start
    while all(gazetteer().at(unit, year) for unit in units):
        if all((unit, year) in known for unit in units):
            return year
        step = by_year.get(year + 1 if later else year)
        links = {} if step is None else step.onward if later else step.back
        if step is None or any(links.get(unit, (unit,)) != (unit,) for unit in units):
            return None
        across = step.back if later else step.onward
        if any(across.get(unit, (unit,)) != (unit,) for unit in units):
            return None
        year += 1 if later else -1
    return None


def _refuse_undivided(trace: _Trace, stuck: Sequence[tuple[int, str]], population: str | None) -> None:
    """Raise DataError naming the first units that have to be divided in unknown shares."""
    told = []
    for year, unit in sorted(stuck)[:_FIRST_FEW]:
        turn, how = trace.divisions[year, unit]
        before, after = ([unit], turn.out[unit]) if turn.forward else (turn.out[unit], [unit])
        told.append(
            f"{_label(unit, turn.row_year)} ({turn.step.text(before, after)}, in {year})"
            + (f": {how.why}" if how.why else "")
        )
    more = f"; and {len(stuck) - len(told)} more" if len(stuck) > len(told) else ""
    columns = "" if population else "population= a column by which to divide, or "
    raise DataError(
        f"{len(stuck)} units would have to be divided, in shares that are not known: {'; '.join(told)}{more}",
        where="carry",
        remedy=f'give {columns}shares= (code, to_code, share), or undivided="combine" to keep what cannot be told apart as one '
        'unit, or undivided="leave out"',
    )


def _join(trace: _Trace, stuck: Iterable[tuple[int, str]]) -> dict[str, str]:
    """Join the units of `to_year` that undivided units lie in: the code of the joint unit of each."""
    groups: list[set[str]] = []
    for at in stuck:
        new = set(trace.joined[at])
        apart = [group for group in groups if not group & new]
        groups = [*apart, new.union(*(group for group in groups if group & new))]
    return {code: "+".join(sorted(group)) for group in groups if len(group) > 1 for code in group}


def _gather(
    trace: _Trace, present: Mapping[int, Mapping[str, int]], joined: Mapping[str, str], n: int, to_year: int
) -> tuple[_Pieces, list[Dropped], list[Message]]:
    """Collect the rows of each unit of `to_year` and year; those of units that are not whole enter the ledger."""
    found: list[tuple[str, int, list[tuple[str, int, float]]]] = []
    incomplete: dict[str, list[int]] = {}
    absent: dict[str, dict[str, None]] = {}
    used, torn, barred = (np.zeros(n, dtype=bool) for _ in range(3))
    for year, rows in present.items():
        made: dict[str, dict[str, float]] = {}
        for key, units in trace.held[year].items():
            if isinstance(key, str):
                if (joint := joined.get(key)) is None:
                    made[key] = units
                else:
                    entry = made.setdefault(joint, {})
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
                named = (_label(one.removeprefix("?"), to_year if one[0] == "?" else year) for one in lacking)
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
    lost = ~used & ~torn & ~barred
    labels = np.array([code for rows in present.values() for code in rows], dtype=object)
    unit_of = np.empty(n, dtype=object)
    unit_of[[row for rows in present.values() for row in rows.values()]] = labels
    reasons = (
        (message("ledger.carried_undivided", year=to_year), barred),
        (message("ledger.carried_incomplete", year=to_year), torn & ~barred),
        (message("ledger.carried_nowhere", year=to_year), lost),
    )
    arrived = set(unit_of[used].tolist())
    dropped = [
        Dropped("carry", reason, int(rows.sum()), len(set(unit_of[rows].tolist()) - arrived))
        for reason, rows in reasons
        if rows.any()
    ]
    notes = []
    if incomplete:
        listed = [
            f"{_label(key, to_year)} {_spans(years)} without {', '.join(absent[key])}"
            for key, years in sorted(incomplete.items())
        ]
        more = f"; … ({len(listed)})" if len(listed) > _NAMED else ""
        cells = sum(map(len, incomplete.values()))
        said = "; ".join(listed[:_NAMED]) + more
        notes.append(message("note.carried_incomplete", cells=cells, rows=int(torn.sum()), year=to_year, units=said))
    if lost.any():
        units = ", ".join(sorted(set(unit_of[lost].tolist())))
        notes.append(message("note.carried_nowhere", rows=int(lost.sum()), year=to_year, units=units))
    return gathered, dropped, notes


def _tell_changes(
    trace: _Trace,
    turns: Sequence[tuple[_Turn, _Given]],
    passing: set[_Key],
    joined: Mapping[str, str],
    undivided: Undivided,
    to_year: int,
) -> list[Message]:
    """Say of each change that rows go through what it was and by which rule they are carried over it."""
    told: dict[tuple[int, Change, Message], list[str]] = {}
    for (year, start), (turn, before, after) in sorted(trace.changes.items(), key=lambda one: one[0]):
        if ("change", year, start) not in passing:
            continue
        kind, said = turn.step.kind(before, after), turn.step.text(before, after)
        rules = list[Message]()
        for unit in before if turn.forward else after:
            if (year, unit) in trace.divisions and ("divided", year, unit) in passing:
                how = trace.divisions[year, unit][1]
                rules.append(how.rule or _without_rule(trace, (year, unit), joined, undivided, to_year))
        if not rules and kind in ("rename", "recode"):
            rules = [message("note.carried_followed")]
        for rule in dict.fromkeys(rules or [message("note.carried_added")]):
            told.setdefault((year, kind, rule), []).append(said)
    for turn, _ in turns:
        kept = [link for link in turn.step.ceded if ("ceded", turn.step.year, " ".join(link)) in passing]
        receivers = {giver: [to for one, to in kept if one == giver] for giver, _ in kept}
        for giver, tos in receivers.items():
            told.setdefault((turn.step.year, "transfer", message("note.carried_ceded")), []).append(
                turn.step.text([giver], tos)
            )
    notes = []
    for (year, kind, rule), several in sorted(told.items(), key=lambda one: one[0][:2]):
        few = several[:_NAMED] if kind in ("rename", "recode") else several
        listed = "; ".join(few) + (f"; … ({len(several)})" if len(few) < len(several) else "")
        named = message(f"change.{kind}")
        notes.append(message("note.carried_change", kind=named, year=year, units=listed, rule=rule))
    return notes


def _without_rule(
    trace: _Trace, at: tuple[int, str], joined: Mapping[str, str], undivided: Undivided, to_year: int
) -> Message:
    """Say what becomes of a unit that could not be divided."""
    if undivided == "leave out":
        return message("note.carried_left_out")
    joint = {joined.get(code, code) for code in trace.joined[at]}
    return message("note.carried_combined", unit=", ".join(_label(code, to_year) for code in sorted(joint)))


def _carry_columns(
    panel: Panel, pieces: _Pieces, rules: Mapping[str, CarryRule], to_year: int
) -> tuple[pd.DataFrame, list[Message]]:
    """Make the carried columns, in the order of the groups; say how many values are missing because a part is."""
    frame = panel.frame.iloc[pieces.row[pieces.starts]].copy()
    if frame[panel.unit].tolist() != list(pieces.unit):
        frame[panel.unit] = pd.array(list(pieces.unit), dtype="str")
    notes = list[Message]()
    for column, rule in rules.items():
        source = panel.frame[column]
        if rule == "name":
            frame[column] = pd.array([_name(unit, to_year) for unit in pieces.unit], dtype="str")
        elif rule in ("same", "earliest", "latest"):
            frame[column] = source.iloc[_pick(panel, pieces, column, str(rule), to_year)].array
        elif not pieces.whole.all():
            values = numbers(panel.frame, column)[pieces.row]
            keep = pieces.alone if isinstance(rule, MeanOf) else pieces.whole
            made = _mean(panel, pieces, values, rule.weights) if isinstance(rule, MeanOf) else _sum(pieces, values)
            made = np.where(keep, values[pieces.starts], made)
            if lacking := int((np.isnan(made) & ~pieces.alone).sum()):
                notes.append(message("note.carried_missing", column=column, number=lacking))
            whole = bool((made == np.floor(made)).all())
            frame[column] = pd.array(made.astype(source.dtype) if whole and _is_of_ints(source) else made)
    return frame, notes


def _is_of_ints(values: pd.Series) -> bool:
    return isinstance(values.dtype, np.dtype) and values.dtype.kind in "iu"


def _sum(pieces: _Pieces, values: Floats) -> Floats:
    summed: Floats = np.bincount(pieces.group, weights=values * pieces.share)
    return summed


def _mean(panel: Panel, pieces: _Pieces, values: Floats, by: str) -> Floats:
    """Mean (groups,) of the pieces' values (e,), which do not matter where they weigh nothing."""
    weights = numbers(panel.frame, by)
    if (weights < 0).any():
        raise DataError(
            f"'{by}' is negative and cannot weigh",
            where=name_rows(panel.frame, weights < 0, by),
            remedy="correct these rows or leave them out",
        )
    weights = weights[pieces.row] * pieces.share
    centre = np.nan_to_num(values[pieces.starts])[pieces.group]  # of equal values the mean is that value
    moved = np.where(weights == 0, 0.0, weights * (values - centre))
    total = np.bincount(pieces.group, weights=weights)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean: Floats = centre[pieces.starts] + np.bincount(pieces.group, weights=moved) / total
    return np.where(total > 0, mean, np.nan)


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
            told.append(f"{_label(pieces.unit[at], to_year)} in {pieces.year[at]} ({parts})")
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


def _name(code: str, year: int) -> str:
    """Name a unit of a year, or the units that are kept as one."""
    found = [(gazetteer().at(one, year), one) for one in code.split("+")]
    return "+".join(one if region is None else region.name for region, one in found)


def _label(code: str, year: int) -> str:
    return f"{_name(code, year)} ({code})"


def _spans(years: Iterable[int]) -> str:
    """Write years as a reader would: 1995-2003, 2005."""
    runs: list[list[int]] = []
    for year in sorted(years):
        if runs and runs[-1][1] == year - 1:
            runs[-1][1] = year
        else:
            runs.append([year, year])
    return ", ".join(str(one) if one == other else f"{one}-{other}" for one, other in runs)
