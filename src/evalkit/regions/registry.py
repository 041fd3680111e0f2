"""The regions of China by year, and what became of each, from the lists in `lists/`."""

from __future__ import annotations

import csv
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.resources import files
from typing import Literal

import pandas as pd

from evalkit.errors import DataError
from evalkit.tables.contents import in_short

FIRST, LAST = 1980, 2024
"""The lists of 31 December that the files in `lists/` hold."""

Level = Literal["province", "prefecture", "county", "xpcc"]
AREAS: tuple[Level, ...] = ("province", "prefecture")
"""The levels of what other units lie in."""
Change = Literal["rename", "recode", "merger", "split", "transfer", "end"]

# Characters that are not seen and, unlike those of the categories Cf and Cc, count as letters or marks: joiners, fillers of
# Hangul, vowels of Khmer, selectors of a form (Unicode 15.0, DerivedCoreProperties.txt, Default_Ignorable_Code_Point).
_UNSEEN = dict.fromkeys(
    [0x34F, 0x115F, 0x1160, 0x17B4, 0x17B5, *range(0x180B, 0x1810), *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)]
)
# What a bare name lacks. The longest that fits is taken off; what is left has at least two characters (和县 has no bare name).
_SUFFIXES = "特别行政区 行政区 自治区 自治州 自治县 自治旗 地区 省 市 县 区 州 盟 旗".split()


@dataclass(frozen=True)
class Region:
    """One name under one code, with the first and the last year whose list of 31 December has it.

    `valid_to` is None where the last list still has it. `prefecture` is the code of the prefecture-level unit that it is or lies
    in: None for provinces, and for units that lie in none: cities of the XPCC (level "xpcc"), districts and counties of
    municipalities, counties and cities directly under a province.
    """

    code: str
    name: str
    level: Level
    province: str
    prefecture: str | None
    valid_from: int
    valid_to: int | None

    def __hash__(self) -> int:
        return hash((self.code, self.valid_from))  # what tells units apart; units are looked up by the hundred thousand

    @cached_property
    def last(self) -> int:
        """The last year whose list has it, of those that there are."""
        return LAST if self.valid_to is None else self.valid_to

    def is_valid(self, year: int) -> bool:
        """Say whether the list of that year has it."""
        return self.valid_from <= year <= self.last

    @property
    def span(self) -> str:
        """Say in which years the lists have it."""
        if self.valid_to is None:
            return f"listed from {self.valid_from}"
        if self.valid_from == FIRST:
            return f"listed until {self.valid_to}"
        return f"listed from {self.valid_from} to {self.valid_to}"

    def __str__(self) -> str:
        return f"{self.name} ({self.code})"


@dataclass(frozen=True)
class Succession:
    """What became of one region: from `year` on its territory lies in `after`, in unknown shares, with that of `others`.

    `after` is empty where the lists do not say what became of it.
    """

    year: int
    before: Region
    after: tuple[Region, ...]
    others: tuple[Region, ...]
    authority: str

    __repr__ = in_short

    @property
    def kind(self) -> Change:
        """Name the change. "split" makes a new unit or ends this one, "transfer" moves land between units that go on.

        "end" is an end of which nothing more is recorded.
        """
        if not self.after:
            return "end"
        if self.before in self.after or len(self.after) > 1:
            made = any(region.valid_from == self.year for region in self.after)
            return "split" if made or self.before not in self.after else "transfer"
        if any(giver in self.after or not giver.is_valid(self.year) for giver in self.others):
            return "merger"
        if self.others:
            return "transfer"
        return "recode" if self.before.name == self.after[0].name else "rename"


@dataclass(frozen=True)
class Lineage:
    """What became of `start`: the units `end` that hold its territory later (earlier, where the years run backwards).

    `steps` are the changes in between, including land that the units on the way received. The shares are unknown. `end` is empty
    where the lists do not say from which units a new one was made, or what became of one.
    """

    start: Region
    end: tuple[Region, ...]
    steps: tuple[Succession, ...]

    __repr__ = in_short

    @property
    def same_territory(self) -> bool:
        """Say whether only the name or the code changed, if anything, as far as the lists record it."""
        return len(self.end) == 1 and all(step.kind in ("rename", "recode") for step in self.steps)

    @property
    def changes(self) -> list[tuple[Change, int, list[str], str]]:
        """Say what happened: the kind and year of each change, the units that gave up land or merged, and the decree."""
        givers: dict[tuple[int, Change, str], dict[str, None]] = {}
        for step in self.steps:
            named = [] if step.kind in ("rename", "recode") else [step.before]
            named += step.others if step.kind == "merger" else ()
            found = givers.setdefault((step.year, step.kind, step.authority), {})
            found |= dict.fromkeys(region.name for region in named)
        return [(kind, year, list(names), authority) for (year, kind, authority), names in givers.items()]

    @property
    def causes(self) -> str:
        """Say the changes in one sentence."""
        return "; ".join(
            f"{kind} of {year}" + (f": {' + '.join(names)}" if names else "") + (f", {authority}" if authority else "")
            for kind, year, names, authority in self.changes
        )

    def __str__(self) -> str:
        if not self.end:
            lost = any(step.kind == "end" for step in self.steps)
            return f"{self.start}, of which the lists do not say " + (
                "what became of it" if lost else "from what it was made"
            )
        return f"{self.start} → {list_regions(self.end)}" + (f" ({self.causes})" if self.steps else "")


@dataclass(frozen=True)
class Alias:
    """The unit with this code has another name or code in other lists, in these years."""

    code: str
    first: int
    last: int


@dataclass(frozen=True)
class Gazetteer:
    """The lists, indexed. Names are folded; a bare name (昌吉) points to every unit that it can be short for.

    `areas` is `by_name` for provinces and prefectures alone. `aliases` are the other names and codes under which other lists
    print a unit. `inside` gives the county-level units of each prefecture, of all years. `divisions` gives the city's code, ""
    where there is none, for each division of the XPCC. `successions` and `origins` are by year and code: of the unit before, and
    of each unit after.
    """

    regions: tuple[Region, ...]
    by_code: Mapping[str, tuple[Region, ...]]
    by_name: Mapping[str, tuple[Region, ...]]
    areas: Mapping[str, tuple[Region, ...]]
    aliases: Mapping[str, tuple[Alias, ...]]
    inside: Mapping[str, tuple[Region, ...]]
    divisions: Mapping[str, str]

    @cached_property
    def position(self) -> Mapping[tuple[str, int], int]:
        """The place of each unit in `regions`, by its code and first year."""
        return {(region.code, region.valid_from): i for i, region in enumerate(self.regions)}

    @cached_property
    def table(self) -> pd.DataFrame:
        """`regions` as columns code, region, level, last; and a last row that is empty, so that -1 means none."""
        rows = [*((one.code, one.name, one.level, one.last) for one in self.regions), ("", "", "", 0)]
        frame = pd.DataFrame(rows, columns=["code", "region", "level", "last"])
        return frame.astype({"code": "str", "region": "str", "level": "str"})

    @cached_property
    def successions(self) -> Mapping[tuple[int, str], Succession]:
        """What became of the units, read when it is first asked for: names are looked up without."""
        return _successions(self.by_code)

    @cached_property
    def origins(self) -> Mapping[tuple[int, str], tuple[Succession, ...]]:
        """From what the units were made."""
        origins: dict[tuple[int, str], tuple[Succession, ...]] = {}
        for (year, _), succession in self.successions.items():
            for region in succession.after:
                origins[year, region.code] = (*origins.get((year, region.code), ()), succession)
        return {
            key: tuple(step for step in steps if _is_peer(step.before, key[1], [other.before for other in steps]))
            for key, steps in origins.items()
        }

    def at(self, code: str, year: int) -> Region | None:
        """Return the unit that the list of a year has under a code."""
        return _at(self.by_code, code, year)

    def stands_for_county(self, region: Region, year: int) -> bool:
        """Tell a prefecture-level city without county-level units, such as 东莞市, which tables of counties list as one."""
        return region.level == "prefecture" and not any(one.is_valid(year) for one in self.inside.get(region.code, ()))


@cache
def gazetteer() -> Gazetteer:
    """Read the lists: once, when a region is first asked for."""
    by_code, by_name = _index()
    regions = tuple(region for found in by_code.values() for region in found)
    inside: dict[str, list[Region]] = {}
    for region in regions:
        if region.level == "county" and region.prefecture is not None:
            inside.setdefault(region.prefecture, []).append(region)
    aliases: dict[str, tuple[Alias, ...]] = {}
    for line in read_list("aliases.csv"):
        alias = Alias(line["code"], int(line["from"]), int(line["to"]))
        aliases[line["text"]] = (*aliases.get(line["text"], ()), alias)
    divisions = {line["division"]: line["city"] for line in read_list("divisions.csv")}
    held = {code: tuple(found) for code, found in inside.items()}
    areas = {
        name: kept for name, found in by_name.items() if (kept := tuple(one for one in found if one.level in AREAS))
    }
    return Gazetteer(regions, by_code, by_name, areas, aliases, held, divisions)


def lineage(code: str, year_from: int, year_to: int) -> Lineage:
    """Follow a unit of one year to the units that hold its territory in another, later or earlier.

    A code that only the list before `year_from` has is that of the unit at the beginning of the year. Raises DataError where a
    year has no list, and where neither list has the code.
    """
    lists = gazetteer()
    for year in (year_from, year_to):
        if not FIRST <= year <= LAST:
            raise DataError(f"there is no list of regions for {year}", where="lineage", remedy=f"use {FIRST} to {LAST}")
    start = lists.at(code, year_from)
    if start is None and (start := lists.at(code, year_from - 1)) is not None:
        if year_from == year_to:
            return Lineage(start, (start,), ())
        year_from -= 1
    if start is None:
        known = "; ".join(f"{region}, {region.span}" for region in lists.by_code.get(code, ()))
        raise DataError(
            f"the list of {year_from} has no unit with code '{code}'",
            where="lineage",
            remedy=f"the code is that of {known}" if known else "use a code of that year: six digits, as text",
        )
    current, steps = dict.fromkeys([start]), dict[Succession, None]()
    if year_to >= year_from:
        for year in range(year_from + 1, year_to + 1):
            moved = dict[Region, None]()
            for region in current:
                left = lists.successions.get((year, region.code))
                after = _of_its_tier(region, left) if left else (region,)
                if left is None or after != (region,) or left.after == after:  # else the city has its first districts
                    steps |= dict.fromkeys([left] if left else lists.origins.get((year, region.code), ()))
                moved |= dict.fromkeys(after)
            current = moved
    for year in range(year_from, year_to, -1):
        moved = dict[Region, None]()
        for region in current:
            arrived = lists.origins.get((year, region.code), ())
            steps |= dict.fromkeys(arrived)
            moved |= dict.fromkeys(step.before for step in arrived)
            moved |= dict.fromkeys([region] if region.is_valid(year - 1) else [])
        current = moved
    end = tuple(sorted(current, key=lambda region: region.code))
    return Lineage(start, end, tuple(sorted(steps, key=lambda step: (step.year, step.before.code))))


def _of_its_tier(region: Region, step: Succession) -> tuple[Region, ...]:
    """Return what a unit becomes, of a prefecture what is one or a province, if anything is."""
    if region.level not in AREAS:
        return step.after
    return tuple(unit for unit in step.after if unit.level in AREAS) or step.after


def fold(name: str) -> str:
    """Write a name in the one way in which names are compared.

    Without spaces and invisible characters (zero-width spaces, marks of direction, byte order marks, selectors of a glyph's form,
    fillers); full-width characters and doubles kept for other encodings as the usual ones.
    """
    plain = "".join(unicodedata.normalize("NFKC", name).split()).translate(_UNSEEN)
    if plain.isprintable():
        return plain
    seen = "".join(letter for letter in plain if unicodedata.category(letter) not in ("Cf", "Cc"))
    return seen.encode("utf-8", "surrogatepass").decode("utf-8", "replace")  # halves of a character are none


def bare(name: str) -> str:
    """Take the kind of unit off a name (昌吉市 → 昌吉); a name that would be left with one character stays."""
    for suffix in _SUFFIXES:
        if name.endswith(suffix) and len(name) - len(suffix) >= 2:
            return name[: -len(suffix)]
    return name


def list_regions(regions: Iterable[Region]) -> str:
    """Name regions with their codes, in a sentence."""
    return ", ".join(map(str, regions))


def _index() -> tuple[dict[str, tuple[Region, ...]], dict[str, tuple[Region, ...]]]:
    """Read the list of units into an index by code and one by name, short name and bare name."""
    by_code: dict[str, tuple[Region, ...]] = {}
    by_name: dict[str, tuple[Region, ...]] = {}
    for line in read_list("units.csv"):
        region = _region(line)
        by_code[region.code] = (*by_code.get(region.code, ()), region)
        names = [region.name, *filter(None, line["also"].split("|"))]
        for key in dict.fromkeys(key for name in names for key in (name, bare(name))):
            by_name[key] = (*by_name.get(key, ()), region)
    return by_code, by_name


def _region(line: Mapping[str, str]) -> Region:
    code, valid_to = line["code"], line["to"]
    level: Level = "xpcc" if code.startswith("6590") else "county"
    if code.endswith("00"):
        level = "province" if code.endswith("0000") else "prefecture"
    prefecture = line["prefecture"] or (f"{code[:4]}00" if level != "province" else "-")
    return Region(
        code,
        line["name"],
        level,
        f"{code[:2]}0000",
        None if prefecture == "-" else prefecture,
        int(line["from"]),
        int(valid_to) if valid_to else None,
    )


def _successions(by_code: Mapping[str, tuple[Region, ...]]) -> dict[tuple[int, str], Succession]:
    """Read what became of the units; what else went into the units after is found from the other lines of the year."""
    lines = [
        (int(line["year"]), line["code"], line["becomes"].split(), line["authority"])
        for line in read_list("successions.csv")
    ]
    donors: dict[tuple[int, str], list[Region]] = {}
    for year, code, becomes, _ in lines:
        for target in becomes:
            donors.setdefault((year, target), []).append(_known(by_code, code, year - 1))
    found: dict[tuple[int, str], Succession] = {}
    for year, code, becomes, authority in lines:
        before = _known(by_code, code, year - 1)
        after = tuple(_known(by_code, target, year) for target in becomes)
        givers = [
            giver
            for target in becomes
            for giver in donors[year, target]
            if _is_peer(giver, target, donors[year, target])
        ]
        givers += [region for region in after if region.is_valid(year - 1)]
        others = tuple(giver for giver in dict.fromkeys(givers) if giver != before)
        found[year, code] = Succession(year, before, after, others, authority)
    return found


def _is_peer(giver: Region, target: str, givers: list[Region]) -> bool:
    """Say whether a giver is of the target's tier, or no giver is: a city made of counties is not also of their prefecture."""
    tiers = [code.endswith("00") for code in (giver.code, target)]
    return tiers[0] == tiers[1] or all(one.code.endswith("00") != tiers[1] for one in givers)


def _known(by_code: Mapping[str, tuple[Region, ...]], code: str, year: int) -> Region:
    region = _at(by_code, code, year)
    assert region is not None, f"lists: no unit {code} in {year}"
    return region


def _at(by_code: Mapping[str, tuple[Region, ...]], code: str, year: int) -> Region | None:
    return next((region for region in by_code.get(code, ()) if region.is_valid(year)), None)


def read_list(file: str) -> Iterator[dict[str, str]]:
    """Yield the lines of one list in `lists/`; those that begin with # say where it is from."""
    text = files("evalkit.regions").joinpath("lists", file).read_text(encoding="utf-8")
    yield from csv.DictReader(line for line in text.splitlines() if not line.startswith("#"))
