"""The columns of a loan ledger: which field each header means, and in which unit."""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from importlib.resources import files
from typing import Any

from evalkit.errors import SourceError, nearest

MEASURES = ("principal", "contract_rate", "rate_spread")
"""Fields whose header may end in a unit in brackets."""

_HEADER = re.compile(r"(.+?)(?:[(\[](?:单位:?)?([^()\[\]]+)[)\]]|([%‰]))?")


@dataclass(frozen=True)
class Unit:
    """What one of a column's numbers is in yuan or in % a year; `mark` (%, ‰) may stand behind each number."""

    factor: Decimal
    mark: str


@dataclass(frozen=True)
class Columns:
    """The headers of one ledger. Error messages name headers only where a field was recognised, as a ledger without a header
    row would show its first borrower."""

    headers: tuple[str, ...]
    where: str

    def all(self, field: str) -> list[str]:
        """Return the headers of a field, those of its names before those of its aliases."""
        return [h for kind in ("names", "aliases") for h in self.headers if _is_of(h, field, kind)]

    def one(self, field: str) -> str | None:
        """Return the header of a field, None where there is none; raise SourceError where two could be meant."""
        for kind in ("names", "aliases"):
            found = [header for header in self.headers if _is_of(header, field, kind)]
            if len(found) > 1:
                raise SourceError(
                    f"columns '{found[0]}' and '{found[1]}' could both be the {words(field)}",
                    where=self.where,
                    remedy=f"delete one, or call the one that is meant '{_fields()[field]['names'][0]}'",
                )
            if found:
                return found[0]
        return None

    def require(self, field: str) -> str:
        """Return the header of a field; raise SourceError with the names it may have where there is none."""
        found = self.one(field)
        if found is None:
            raise SourceError(
                f"no column is known as the {words(field)}",
                where=self.where,
                remedy=f"name it in the first row; {known_names(field)}",
            )
        return found


def plain(text: str) -> str:
    """Write a header or a word without case, width, spaces, "_" and "-"."""
    return re.sub(r"[\s_-]+", "", unicodedata.normalize("NFKC", text)).casefold()


def words(field: str) -> str:
    """Say the name of a field."""
    return field.replace("_", " ")


def known_names(field: str) -> str:
    """Say which headers a field may have."""
    return "known are: " + ", ".join([*_fields()[field]["names"], *_fields()[field]["aliases"]])


def field_of(header: str) -> str | None:
    """Return the field that a header means, None where it is none of those in fields.toml."""
    return next((f for f in _fields() if _is_of(header, f, "names") or _is_of(header, f, "aliases")), None)


def kind_of_field(header: str) -> str:
    """Return "identifier", "personal" or ""; a header that speaks of names, telephones or addresses is personal."""
    field = field_of(header)
    if field is not None:
        return str(_fields()[field].get("kind", ""))
    return "personal" if any(word in plain(header) for word in known_words("personal_header")) else ""


@cache
def known_words(kind: str) -> frozenset[str]:
    """Return the words of one kind (on, off, yuan, …) in their plain form."""
    return frozenset(map(plain, _ledger_words()["words"][kind]))


def read_unit(columns: Columns, field: str, header: str, declared: Iterable[Mapping[str, str]]) -> Unit:
    """Find the unit of a measure in its header or among the declared ones (header or field → unit).

    Raises SourceError where no unit is given, one is unknown, or two contradict each other.
    """
    stem, unit = _split(header)
    given = [unit] if unit else []
    given += [u for units in declared for key, u in units.items() if _means(key, field, header, columns)]
    where = f"{columns.where}, column '{header}'"
    example = "yuan" if field == "principal" else "% a year"
    key = "principal" if field == "principal" else "rate"
    if not given:
        raise SourceError(
            "the header does not say the unit",
            where=where,
            remedy=f'write it behind the name in brackets, or declare units = {{ {key} = "{example}" }}',
        )
    known = _units(field)
    spelt = [_compose(stem, one) for one in given]
    for one, said in zip(spelt, given, strict=True):
        if one not in known:
            remedy = f"write one of: {', '.join(_ledger_words()['units'][field])}"
            raise SourceError(f"the unit '{said}' is not clear", where=where, remedy=remedy)
    if len({known[one] for one in spelt}) > 1:
        raise SourceError(
            f"the unit is '{given[0]}' in one place and '{given[1]}' in another",
            where=where,
            remedy="find out which is right; the header, units= and [units] of the sidecar may not contradict each other",
        )
    return Unit(known[spelt[0]], next((mark for mark in "%‰" if mark in spelt[0]), ""))


def check_declared(columns: Columns, declared: Mapping[str, str], where: str, setting: str) -> None:
    """Raise SourceError where a unit is declared for a column that is neither in the ledger nor a field."""
    for key in declared:
        if key not in columns.headers and field_of(key) not in MEASURES:
            remedy = nearest(key, ("principal", "rate", *columns.headers))
            raise SourceError(f"{setting} names column '{key}', which there is not", where=where, remedy=remedy)


def _means(key: str, field: str, header: str, columns: Columns) -> bool:
    return key == header or (key not in columns.headers and field_of(key) == field)


def _is_of(header: str, field: str, kind: str) -> bool:
    wanted = _plain_names(field, kind)
    return plain(header) in wanted or (field in MEASURES and _split(header)[0] in wanted)


def _split(header: str) -> tuple[str, str]:
    """Split "贷款金额(万元)" into the plain name and the unit, "" where there is none."""
    found = _HEADER.fullmatch(plain(header))
    return (found[1], found[2] or found[3] or "") if found else (plain(header), "")


def _compose(stem: str, unit: str) -> str:
    """Put the year or month that a header speaks of before a bare mark: 月利率 and ‰ are 月‰."""
    unit = plain(unit)
    return stem[0] + unit if unit in ("%", "‰") and stem.startswith(("年", "月")) else unit


@cache
def _units(field: str) -> Mapping[str, Decimal]:
    return {plain(unit): Decimal(factor) for unit, factor in _ledger_words()["units"][field].items()}


@cache
def _plain_names(field: str, kind: str) -> frozenset[str]:
    return frozenset(map(plain, _fields()[field][kind]))


def _fields() -> Mapping[str, Any]:
    fields: Mapping[str, Any] = _ledger_words()["fields"]
    return fields


@cache
def _ledger_words() -> Mapping[str, Any]:
    text = files("evalkit.sources.ledger").joinpath("fields.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)
