"""What a yearbook file does not say of its values: the refusal that names all of it, and the settings that answer."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from evalkit.errors import SourceError
from evalkit.sources.files.cells import MOST_ERRORS
from evalkit.sources.yearbook.readings import Reading, Readings

FILE_NAME = "file name"
"""What year= says to take the year from the name of the file."""

_PARTS = 3  # of one head that are spelt one by one
_YEAR = re.compile("(?<![0-9])(?:19|20)[0-9]{2}(?![0-9])")


@dataclass
class Lack:
    """Something that is not said: "year", "region", "indicator" or "unit"; why, of which tables or indicators, what it may be."""

    noun: str
    why: str
    places: list[str] = field(default_factory=list)
    indicators: list[str] = field(default_factory=list)
    may_be: list[str] = field(default_factory=list)


def find_lacks(tables: Sequence[tuple[Readings, Sequence[Reading]]], name: str) -> list[Lack]:
    """Return what is not said of the values that are used of each table of a file."""
    found: dict[tuple[str, str], Lack] = {}
    for table, used in tables:
        if not used:
            continue
        place = table.page.address(used[0].row, used[0].column)
        caption = table.layout.caption
        for noun, why in table.layout.lacking:
            lack = found.setdefault((noun, why), Lack(noun, why))
            lack.places.append(place)
            if noun == "year":
                lack.may_be += map(str, years_in_name(name))
        without = [one for one in used if not one.unit]
        if without:
            why = "no unit is found, neither as 单位：… above the table nor in brackets behind the name"
            why += f" ({doubt})" if (doubt := caption.doubt()) else ""
            lack = found.setdefault(("unit", why), Lack("unit", why))
            lack.places.append(table.page.address(without[0].row, without[0].column))
            lack.indicators += [one.indicator for one in without]
    return list(found.values())


def refuse_lacks(lacks: Sequence[Lack], where: str) -> SourceError:
    """Make the one error that names all that is lacking, and spells the settings that answer it."""
    said, remedy = list[str](), dict[str, str]()
    for lack in lacks:
        places = ", ".join(lack.places[:MOST_ERRORS]) + (", …" if len(lack.places) > MOST_ERRORS else "")
        said.append(f"{lack.why}, for the numbers from {places} on")
        may_be = list(dict.fromkeys(lack.may_be))
        if lack.noun == "year":
            years = " or ".join(f"year={one}" for one in may_be) or "year=…"
            of_name = "; the name of the file has it: make sure that it is theirs" if may_be else ""
            remedy["year"] = f"{years} (the one year of all these numbers{of_name})"
        elif lack.noun == "region":
            remedy["region"] = 'region="…" (their one region)'
        elif lack.noun == "indicator":
            remedy["indicator"] = 'indicator="…" (what they count)'
    if names := _heads([name or "…" for lack in lacks for name in lack.indicators]):
        remedy["units"] = f"units={json.dumps(dict.fromkeys(names, '…'), ensure_ascii=False)} (each unit in place of …)"
    return SourceError(
        "; ".join(said), where=where, remedy=f"pass {', '.join(remedy.values())}, or say it in a layout file (layout=)"
    )


def _heads(names: Sequence[str]) -> list[str]:
    """Return the names, each once; in place of many parts of one head, the head."""
    parts = Counter(name.rpartition(" / ")[0] for name in dict.fromkeys(names))
    heads = [name.rpartition(" / ")[0] for name in names]
    return list(
        dict.fromkeys(head if head and parts[head] > _PARTS else name for head, name in zip(heads, names, strict=True))
    )


def years_in_name(name: str) -> list[int]:
    """Return the years in the name of a file, ascending."""
    return sorted({int(year) for year in _YEAR.findall(name)})
