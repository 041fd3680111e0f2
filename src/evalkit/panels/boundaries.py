"""Boundaries: of which units of other years the units of one year consist, change by change, and by which shares."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from evalkit.catalogue import Message, message
from evalkit.errors import DataError
from evalkit.regions.registry import AREAS, Change, Region, gazetteer
from evalkit.tables.columns import name_rows, numbers, require_column

_Links = Mapping[str, tuple[str, ...]]
GivenShares = dict[tuple[int, str], dict[str, float]]
"""By the year of a change and the unit divided: the share of each part."""


@dataclass(frozen=True)
class Scope:
    """Whose units a panel has: of these provinces (two digits), the counties in those of `counties`, else the prefectures.

    A county is also a prefecture without counties (东莞市), and a prefecture of which the panel has a row beside other counties
    (`areas`); a prefecture is also a county that lies in none, and a province.
    """

    provinces: frozenset[str]
    counties: frozenset[str]
    areas: frozenset[str]

    def units(self, year: int) -> frozenset[str]:
        """The codes of a year."""
        return frozenset(
            region.code
            for region in gazetteer().regions
            if region.code[:2] in self.provinces and region.is_valid(year) and self._has(region, year)
        )

    def _has(self, region: Region, year: int) -> bool:
        if region.code[:2] not in self.counties:
            return region.level != "county" or region.prefecture is None
        small = region.level not in AREAS or gazetteer().stands_for_county(region, year)
        return small or region.code in self.areas


def find_scope(rows: Iterable[tuple[Region, int]]) -> Scope:
    """Tell what a panel is of from its rows' units and years; raise DataError where one lies in another of the same year."""
    lists, at = gazetteer(), {(region.code, year): region for region, year in rows}
    nested = [
        (region, whole, year)
        for (_, year), region in at.items()
        for whole in (region.prefecture, region.province)
        if whole is not None and whole != region.code and (whole, year) in at
    ]
    if nested:
        region, whole, year = nested[0]
        several = len({region.code for region, _, _ in nested})
        raise DataError(
            f"{several} units lie in others that have rows of the same year; the first is {region} in {at[whole, year]}, {year}",
            where="carry",
            remedy="keep one level, the rows of the whole or of its parts, and carry the others as a panel of their own",
        )
    units = {(code, id(region)): region for (code, _), region in at.items()}.values()
    ties = {
        frozenset((before[:2], region.code[:2]))
        for (_, before), succession in lists.successions.items()
        for region in succession.after
    }
    provinces = {region.code[:2] for region in units}
    provinces |= {one for tie in ties if tie & provinces for one in tie}  # 重庆 was in 四川, 海南 in 广东
    areas = {
        code
        for (code, year), region in at.items()
        if region.level in AREAS and not lists.stands_for_county(region, year)
    }
    wide = {code[:2] for code in areas}
    counties = {
        region.code[:2]
        for region in units
        if region.level == "county" and (region.prefecture is not None or region.code[:2] not in wide)
    }
    counties |= {one for tie in ties if tie & counties for one in tie}
    return Scope(frozenset(provinces), frozenset(counties), frozenset(areas))


@dataclass(frozen=True)
class YearChanges:
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
        same = name_unit(before[0], self.year - 1) == name_unit(after[0], self.year)
        return "recode" if same else "rename"

    def text(self, before: Sequence[str], after: Sequence[str]) -> str:
        """Write a change: 米泉市 (652303) + 东山区 (650108) → 米东区 (650109), 国函〔2007〕65号."""
        sides = [
            " + ".join(label_unit(code, self.year - 1 + i) for code in side) for i, side in enumerate((before, after))
        ]
        decrees = dict.fromkeys(filter(None, (self.authority.get(code, "") for code in before)))
        return ", ".join([" → ".join(sides), *decrees])


@dataclass(frozen=True)
class Turn:
    """A step as it is gone through on the way from the rows to `to_year`: forward where they are earlier, else backward.

    `out` leads from the side of the rows to that of `to_year`, `into` the other way. `lost` are units on the side of `to_year`
    that come from nowhere recorded, `ending` those on the side of the rows that lead nowhere.
    """

    step: YearChanges
    forward: bool

    @property
    def out(self) -> _Links:
        return self.step.onward if self.forward else self.step.back

    @property
    def into(self) -> _Links:
        return self.step.back if self.forward else self.step.onward

    @property
    def lost(self) -> frozenset[str]:
        return self.step.nowhere if self.forward else self.step.gone

    @property
    def ending(self) -> frozenset[str]:
        return self.step.gone if self.forward else self.step.nowhere

    @property
    def row_year(self) -> int:
        """The year of the list on the side of the rows."""
        return self.step.year - self.forward

    @property
    def target_year(self) -> int:
        """The year of the list on the side of `to_year`."""
        return self.step.year - (not self.forward)


@dataclass(frozen=True)
class Rule:
    """By what something is carried over a change, in words: of this one, and of all that are carried so."""

    words: Message
    of_all: Message


@dataclass(frozen=True)
class Division:
    """How a unit is divided: the share of each part and the rule; without a rule the shares stand in, and why."""

    shares: Mapping[str, float]
    rule: Rule | None
    why: str = ""


@dataclass
class Trace:
    """Of what units of each year the units of `to_year` consist, with which share of each; a name with ? or ! is never there.

    `flows` holds by the year of a change where each unit goes, in which shares. `joined` holds the units of `to_year` that the
    parts of an undivided unit lie in; such a unit is `barred` if nothing is to be made of it.
    """

    held: dict[int, dict[str, dict[str, float]]]
    flows: dict[int, dict[str, Mapping[str, float]]] = field(default_factory=dict)
    divisions: dict[tuple[int, str], tuple[Turn, Division]] = field(default_factory=dict)
    joined: dict[tuple[int, str], set[str]] = field(default_factory=dict)
    barred: set[tuple[int, str]] = field(default_factory=set)

    def passing(self, turns: Sequence[Turn], present: Mapping[int, Mapping[str, int]]) -> dict[int, set[str]]:
        """Return by the year of each change the units on the side of the rows that hold anything of a row."""
        passing: dict[int, set[str]] = {}
        for forward in (True, False):
            reached = set[str]()
            for turn in sorted(turns, key=lambda one: one.row_year, reverse=not forward):
                if turn.forward == forward:
                    reached |= present.get(turn.row_year, {}).keys()
                    passing[turn.step.year], flows = reached, self.flows[turn.step.year]
                    reached = {
                        to for unit in reached for to, share in flows.get(unit, {unit: 1.0}).items() if share > 0
                    }
        return passing


def read_turns(
    units: Mapping[int, frozenset[str]], to_year: int, shares: pd.DataFrame | None
) -> tuple[list[Turn], GivenShares, list[Message]]:
    """Read the changes of the units, which are given by year, and the shares that are given for them.

    Followed is a unit that ends, and one that gives up a part of which a new unit is made. A part that goes to a unit that was
    there before, or is made of whole units, is not, unless shares list it.
    """
    wholes: dict[int, list[tuple[str, str]]] = {year: [] for year in sorted(units)[1:]}
    parts: dict[int, list[tuple[str, str]]] = {year: [] for year in wholes}
    ended: dict[int, set[str]] = {year: set() for year in wholes}
    decrees: dict[int, dict[str, str]] = {year: {} for year in wholes}
    for (year, code), succession in gazetteer().successions.items():
        if year not in wholes or code not in units[year - 1]:
            continue
        after = [region.code for region in succession.after if region.code in units[year]]
        decrees[year][code] = succession.authority
        goes_on = code in after
        wholes[year] += [(code, to) for to in after if to == code or not goes_on]
        parts[year] += [(code, to) for to in after if to != code and goes_on]
        ended[year] |= set() if after else {code}
    for year, links in wholes.items():
        moved, reached = {code for code, _ in links} | ended[year], {to for _, to in [*links, *parts[year]]}
        links += [(code, code) for code in sorted((reached - moved) & units[year - 1])]
    given, unused = _read_shares(shares, {year: [*wholes[year], *parts[year]] for year in wholes}, to_year)
    turns = []
    for year, links in wholes.items():
        forward, own = year <= to_year, {to for _, to in links}
        declared = {
            (code, to) if forward else (to, code) for (at, code), tos in given.items() if at == year for to in tos
        }
        followed = dict.fromkeys([*links, *(one for one in parts[year] if one[1] not in own or one in declared)])
        onward, back = _gather_links(followed), _gather_links((to, code) for code, to in followed)
        left = ended[year] | {
            code for code in units[year - 1] - onward.keys() if code in back or code not in units[year]
        }
        nowhere = {
            code for code in units[year] - back.keys() if code in onward or code in left or code not in units[year - 1]
        }
        ceded = tuple(link for link in parts[year] if link not in followed)
        step = YearChanges(year, onward, back, ceded, frozenset(nowhere), frozenset(left), decrees[year])
        turns.append(Turn(step, forward))
    return turns, given, unused


def _gather_links(links: Iterable[tuple[str, str]]) -> dict[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {}
    for one, other in links:
        found.setdefault(one, []).append(other)
    return {one: tuple(sorted(others)) for one, others in found.items()}


def _read_shares(
    frame: pd.DataFrame | None, links: Mapping[int, Sequence[tuple[str, str]]], to_year: int
) -> tuple[GivenShares, list[Message]]:
    """Place the given shares at the changes, and say which are not needed; raise DataError where they do not fit."""
    if frame is None:
        return {}, []
    if not isinstance(frame, pd.DataFrame):
        raise DataError(
            f"shares is a {type(frame).__name__}, not a pandas table",
            where="carry",
            remedy="make it a DataFrame with the columns code, to_code and share",
        )
    for column in ("code", "to_code", "share"):
        require_column(frame, column)
    for column in ("code", "to_code"):
        odd = np.array([not isinstance(code, str) for code in frame[column].tolist()])
        if odd.any():
            raise DataError(
                "a code is not text",
                where=f"shares, {name_rows(frame, odd, column)}",
                remedy="write six digits, as text",
            )
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
    given, unused = GivenShares(), []
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
            said = ", ".join(label_unit(one, at - (at > to_year)) for one in sorted(parts[at]))
            raise DataError(
                f"shares= divides {code} among {', '.join(map(str, entry))}, but its parts in the change of {at} are {said}",
                where="shares",
                remedy="give shares of these; a part that is not listed gets nothing",
            )
    return given, [message("note.carried_unused", units=", ".join(unused))] if unused else []


def follow_units(
    turns: Sequence[Turn],
    given: GivenShares,
    units: frozenset[str],
    to_year: int,
    known: Mapping[tuple[str, int], float],
    population: str,
    marked: bool,
) -> Trace:
    """Trace the units of `to_year` through the changes, outward from that year.

    Undivided units are barred if `marked`, or where a part of them leads nowhere.
    """
    trace = Trace({to_year: {code: {code: 1.0} for code in units}})
    steps = {turn.step.year: turn.step for turn in turns}
    for turn in sorted(turns, key=lambda one: abs(one.row_year - to_year)):
        year, held = turn.step.year, trace.held[turn.target_year]
        flows: dict[str, Mapping[str, float]] = {unit: {} for unit in turn.ending}
        holders: dict[str, list[str]] = {}
        for key, parts_of in held.items():
            for code in parts_of:
                holders.setdefault(code, []).append(key)
        for unit, parts in turn.out.items():
            flows[unit] = {parts[0]: 1.0}
            if len(parts) > 1:
                how = _divide(turn, unit, given, known, population, steps)
                trace.divisions[year, unit] = turn, how
                flows[unit] = how.shares
                if how.rule is None:
                    trace.joined[year, unit] = {key for part in parts for key in holders.get(part, ())}
                    found = sum(held[key][part] for part in parts for key in holders.get(part, ()))
                    if marked or found < len(parts) - 1e-9:  # what becomes of some part is not recorded
                        trace.barred.add((year, unit))
        made = dict(held)
        for key in {key for code in (*turn.into, *turn.lost) for key in holders.get(code, ())}:
            made[key] = {}
            for code, weight in held[key].items():
                if code in turn.lost:
                    made[key][f"?{label_unit(code, turn.target_year)}"] = 0.0
                    continue
                for unit in turn.into.get(code, (code,)):
                    share = flows.get(unit, {code: 1.0}).get(code, 0.0)
                    if share > 0:
                        made[key][unit] = made[key].get(unit, 0.0) + weight * share
                    if (year, unit) in trace.barred:
                        made[key][f"!{unit}"] = 0.0
        trace.held[turn.row_year], trace.flows[year] = made, flows
    return trace


def _divide(
    turn: Turn,
    unit: str,
    given: GivenShares,
    known: Mapping[tuple[str, int], float],
    population: str,
    steps: Mapping[int, YearChanges],
) -> Division:
    """Find the shares of the parts of a unit: those given, else by population; else equal ones stand in, without a rule."""
    parts, year = turn.out[unit], turn.step.year
    if (year, unit) in given:
        entry = given[year, unit]
        words = message("note.carried_by_shares", **_said(turn, unit, entry))
        return Division(entry, Rule(words, message("note.carried_each_by_shares")))
    blank = dict.fromkeys(parts, 1 / len(parts))
    if not known:
        return Division(blank, None)
    others = {part: [one for one in turn.into[part] if one != unit] for part in parts}
    mixed = [part for part in parts if any(len(turn.out[one]) > 1 for one in others[part])]
    if mixed:
        return Division(
            blank,
            None,
            f"{label_unit(mixed[0], turn.target_year)} {'is made of parts of' if turn.forward else 'lies in'} several units",
        )
    theirs = _nearest_known(parts, turn.target_year, turn.forward, known, steps)
    if theirs is None:
        return Division(blank, None, f"there is no year in which all parts have '{population}'")
    rest = [one for several in others.values() for one in several]
    before = _nearest_known(rest, turn.row_year, not turn.forward, known, steps)
    if before is None:
        return Division(blank, None, f"there is no year in which all of {', '.join(rest)} have '{population}'")
    gains = {part: known[part, theirs] - sum(known[one, before] for one in others[part]) for part in parts}
    if min(gains.values()) <= 0:
        least = min(gains, key=lambda part: gains[part])
        return Division(blank, None, f"{label_unit(least, turn.target_year)} did not gain in '{population}'")
    entry = {part: gain / sum(gains.values()) for part, gain in gains.items()}
    said = {**_said(turn, unit, entry), "column": population, "year": theirs}
    if rest:
        words = message("note.carried_by_gain", **said, other=before)
        return Division(entry, Rule(words, message("note.carried_each_by_gain", column=population)))
    words = message("note.carried_by_population", **said)
    return Division(entry, Rule(words, message("note.carried_each_by_population", column=population)))


def _said(turn: Turn, unit: str, entry: Mapping[str, float]) -> dict[str, object]:
    parts = ", ".join(f"{label_unit(part, turn.target_year)} {share:.4f}" for part, share in entry.items())
    return {"unit": label_unit(unit, turn.row_year), "parts": parts}


def _nearest_known(
    units: Sequence[str],
    start: int,
    later: bool,
    known: Mapping[tuple[str, int], float],
    steps: Mapping[int, YearChanges],
) -> int | None:
    """Return the nearest year, from `start` on or back, in which all units have a value and are still the same units."""
    year = start
    while all(gazetteer().at(unit, year) for unit in units):
        if all((unit, year) in known for unit in units):
            return year
        step = steps.get(year + 1 if later else year)
        links = {} if step is None else step.onward if later else step.back
        if step is None or any(links.get(unit, (unit,)) != (unit,) for unit in units):
            return None
        across = step.back if later else step.onward
        if any(across.get(unit, (unit,)) != (unit,) for unit in units):
            return None
        year += 1 if later else -1
    return None


def name_unit(code: str, year: int) -> str:
    """Name a unit of a year, or the units that are kept as one."""
    found = [(gazetteer().at(one, year), one) for one in code.split("+")]
    return "+".join(one if region is None else region.name for region, one in found)


def label_unit(code: str, year: int) -> str:
    return f"{name_unit(code, year)} ({code})"
