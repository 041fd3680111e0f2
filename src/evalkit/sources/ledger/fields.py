"""The fields of a loan ledger: which header means which, in which unit a measure is, and the words that are understood."""

from __future__ import annotations

import difflib
import re
import tomllib
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cache
from importlib.resources import files
from typing import Any

from evalkit.errors import SourceError, nearest
from evalkit.sources.files.form import nearest_header, plain_header, strip_unit
from evalkit.sources.persons import find_persons

MEASURES = ("principal", "contract_rate", "rate_spread", "balance")
"""Fields whose header may end in a unit in brackets."""

_HEADER = re.compile(r"(.+?)(?:[(\[](?:单位:?)?([^()\[\]]+)[)\]]|([%‰]))?")
_COUNTED = re.compile(r"共?[0-9]+(?:笔|户|条|行|项|人|records|loans|rows)")
_LISTED, _OFFERED = 40, 4  # headers that a message lists, and offers for a field
# What stands in a row of units over columns that are neither money nor rates.
_NO_MONEY = frozenset(
    ["", "/", "—", "年", "月", "日", "天", "年月日", "期", "笔", "户", "人", "个", "months", "days", "date", "years"]
)
_LEAST_NAMED = 3  # cells of a row that may be a header


@dataclass(frozen=True)
class Unit:
    """What one of a column's numbers is in the currency or in % a year; `mark` (%, ‰) may stand behind each number."""

    factor: Decimal
    mark: str = ""


@dataclass(frozen=True)
class Columns:
    """The headers of one ledger, by their places, and the fields that were declared by header: `()` switches a field off.

    Error messages name headers only where a field was recognised or the row is a header beyond doubt, as a ledger without a
    header row would show its first borrower.
    """

    headers: tuple[str, ...]
    where: str
    declared: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    def all(self, name: str) -> list[int]:
        """Return the places of a field, those of its names before those of its aliases."""
        if name in self.declared:
            return list(self.declared[name])
        taken = {at for places in self.declared.values() for at in places}
        return [
            at
            for kind in ("names", "aliases")
            for at, header in enumerate(self.headers)
            if at not in taken and _is_of(header, name, kind)
        ]

    def one(self, name: str) -> int | None:
        """Return the place of a field, None where there is none; raise SourceError where two could be meant."""
        found = self.all(name)
        if name not in self.declared:
            named = [at for at in found if _is_of(self.headers[at], name, "names")]
            found = named or found
        if len(found) > 1:
            one, other = (self.headers[at] for at in found[:2])
            remedy = f'say which one is meant: columns={{"{name}": "{one}"}}'
            if one == other:
                remedy = "rename one of them"
            raise SourceError(
                f"columns '{one}' and '{other}' could both be the {words(name)}", where=self.where, remedy=remedy
            )
        return found[0] if found else None

    def require(self, name: str) -> int:
        """Return the place of a field; raise SourceError with the nearest headers and its names where there is none."""
        found = self.one(name)
        if found is None:
            raise SourceError(
                f"no column is known as the {words(name)}",
                where=self.where,
                remedy=f"{self.offer(name)}; {known_names(name)}",
            )
        return found

    def header(self, at: int) -> str:
        """Return the header of a column, or its place where it has none."""
        return "".join(self.headers[at].splitlines()) or f"column {at + 1}"

    def offer(self, name: str) -> str:
        """Say how a field is declared, and which headers there are, nearest first, where these are headers beyond doubt."""
        if not are_headers(self.headers):
            return (
                f'name it in the first row, or by columns={{"{name}": "…"}}; a file without names of columns needs a row with '
                "them above its first loan"
            )
        shown = [header for header in self.headers if header]
        near = nearest_headers(name, shown)
        others = f" (or {', '.join(map(repr, near[1:]))})" if near[1:] else ""
        more = ", …" if len(shown) > _LISTED else ""
        listed = f"{', '.join(shown[:_LISTED])}{more}"
        return f'say which one it is: columns={{"{name}": "{near[0]}"}}{others}; the headers are: {listed}'

    def offer_unit(self, unit: str) -> str:
        """Say which headers there are, nearest first, where these are headers beyond doubt."""
        return (
            nearest(unit, [one for one in self.headers if one]) if are_headers(self.headers) else "check the first row"
        )


def declare(headers: Sequence[str], given: Mapping[str, Any], where: str, setting: str) -> dict[str, tuple[int, ...]]:
    """Find the headers that `columns=` names; raise SourceError on an unknown field or a header that is not there."""
    found: dict[str, tuple[int, ...]] = {}
    for key, said in given.items():
        name = field_of(key)
        if name is None:
            what = f"{setting} names '{key}', which is no field of a ledger"
            if plain(key) == "unit":
                raise SourceError(what, where=where, remedy='name the column of the unit by unit="…"')
            raise SourceError(what, where=where, remedy=nearest(key, known_fields()))
        wanted = [said] if isinstance(said, str) else list(said)
        if wanted == [""]:
            wanted = []
        if len(wanted) > 1 and name != "loan_id":
            raise SourceError(
                f"{setting} names {len(wanted)} headers for {words(name)}",
                where=where,
                remedy="name one; only a loan_id may be put together from several",
            )
        if name in found:
            raise SourceError(f"{setting} names the {words(name)} twice", where=where, remedy="leave one of them out")
        found[name] = tuple(_place(headers, one, key, where, setting) for one in wanted)
    return found


def is_header(cells: Sequence[str], given: Mapping[str, Any]) -> bool:
    """Tell whether a row names the columns that every ledger needs, the date and the amount, as declared or by their aliases."""
    for name in ("disbursement_date", "principal"):
        said = next((one for key, one in given.items() if field_of(key) == name), None)
        wanted = [said] if isinstance(said, str) else list(said or ())
        if wanted:
            if not all(_find(cells, one) for one in wanted):
                return False
        elif not any(_is_of(cell, name, kind) for cell in cells for kind in ("names", "aliases")):
            return False
    return True


def are_headers(cells: Sequence[str]) -> bool:
    """Tell whether a row holds names of columns beyond doubt: several, all different, none a number, a date, an id."""
    filled = [cell for cell in cells if cell]
    if len(filled) < _LEAST_NAMED or len(set(filled)) < len(filled) or find_persons(filled) is not None:
        return False
    if any(re.fullmatch(r"[^A-Za-z\u4e00-\u9fff]*", cell) or re.search("[0-9]{5,}", plain(cell)) for cell in filled):
        return False
    return not any(re.fullmatch(r"[0-9]{4}[-/.年].*", plain(cell)) for cell in filled)


def is_total(text: str) -> bool:
    """Tell whether a cell says that its row is a total: 合计, 合计（元）, 小计:, 共12笔, Total."""
    said = plain(text)
    if _COUNTED.fullmatch(said):
        return True
    stem = re.split(r"[(\[:]|[0-9]+(?:笔|户|条|行|项|人)", said, maxsplit=1)[0]
    return stem in known_words("total")


def nearest_headers(name: str, headers: Sequence[str]) -> list[str]:
    """Return the headers that may be a field: those that hold one of its words, else the one spelt most like a name of it."""

    def likeness(header: str) -> float:
        said = _split(header)[0]
        return max(
            difflib.SequenceMatcher(None, said, plain(known)).ratio()
            for known in [*_fields()[name]["names"], *_fields()[name]["aliases"]]
        )

    stems = [plain(stem) for stem in _ledger_words()["stems"].get(name, [])]
    holding = [header for header in headers if any(stem in plain(header) for stem in stems)]
    return sorted(holding or headers, key=likeness, reverse=True)[: _OFFERED if holding else 1]


def _place(headers: Sequence[str], header: str, key: str, where: str, setting: str) -> int:
    at = _find(headers, header)
    if not at:
        remedy = "check the file: its first row holds no headers"
        if are_headers(headers):
            remedy = nearest_header(header, [one for one in headers if one])
        raise SourceError(
            f"{setting} names header '{header}' (for {key}), which the file does not have", where=where, remedy=remedy
        )
    if len(at) > 1:
        raise SourceError(
            f"{setting} names header '{header}' (for {key}), which stands over {len(at)} columns",
            where=where,
            remedy="write the whole header, with its unit, or rename one of them",
        )
    return at[0]


def _find(headers: Sequence[str], wanted: str) -> list[int]:
    """Find a header by its whole name, else without its unit."""
    said = plain_header(wanted)
    for spelt in (headers, [strip_unit(header)[0] for header in headers]):
        if at := [i for i, one in enumerate(spelt) if said and plain_header(one) == said]:
            return at
    return [i for i, one in enumerate(headers) if said and _split(one)[0] == plain(wanted)]


def plain(text: str) -> str:
    """Write a header or a word without case, width, spaces, "_" and "-"."""
    return re.sub(r"[\s_-]+", "", unicodedata.normalize("NFKC", text)).casefold()


def words(name: str) -> str:
    """Say the name of a field."""
    return name.replace("_", " ")


def known_fields() -> list[str]:
    """List the fields by the names that settings use."""
    return [name if name != "contract_rate" else "rate" for name in _fields()]


def known_names(name: str) -> str:
    """Say which headers a field may have."""
    return "known are: " + ", ".join([*_fields()[name]["names"], *_fields()[name]["aliases"]])


def field_of(header: str) -> str | None:
    """Return the field that a header means, None where it is none of those in fields.toml."""
    return next((f for f in _fields() if _is_of(header, f, "names") or _is_of(header, f, "aliases")), None)


def kind_of_field(header: str) -> str:
    """Return "identifier", "personal" or ""; a header that speaks of names, telephones or addresses is personal."""
    name = field_of(header)
    if name is not None:
        return str(_fields()[name].get("kind", ""))
    return "personal" if any(word in plain(header) for word in known_words("personal_header")) else ""


@cache
def known_words(kind: str) -> frozenset[str]:
    """Return the words of one kind (on, off, cancelled, …) in their plain form."""
    return frozenset(map(plain, _ledger_words()["words"][kind]))


@cache
def names_of_currency(code: str) -> frozenset[str]:
    """Return what a currency is called, in plain form; one that is not listed has its code alone."""
    return frozenset(map(plain, _ledger_words()["currencies"].get(code, [code])))


def code_of(currency: str) -> str:
    """Return the code of a currency that is listed, "" for any other word."""
    return next((code for code in _ledger_words()["currencies"] if plain(currency) in names_of_currency(code)), "")


def read_unit(
    columns: Columns, name: str, at: int, declared: Iterable[Mapping[str, str]], currency: str, *, bare: str = ""
) -> Unit:
    """Find the unit of a measure in its header or among the declared ones (header or field → unit).

    `bare` is the mark that each number of a column of rates has, so that a header need not say one. Raises SourceError where no
    unit is given, one is unknown, or two contradict each other.
    """
    header = columns.header(at)
    stem, unit = _split(header)
    given = [unit] if unit else []
    given += [u for units in declared for key, u in units.items() if _means(key, name, header, columns)]
    where = f"{columns.where}, column '{header}'"
    key = "rate" if name == "contract_rate" else name
    if not given and bare:
        given = [bare]
    if not given:
        known = list(_ledger_words()["units"].get(name, ()))
        likely = [one for one in known if one.startswith(stem[:1])] if stem[:1] in ("年", "月") else []
        usual = ["BP", "percentage points"] if name == "rate_spread" else ["% a year", "% a month", "‰ a month"]
        first, *others = likely or (usual if known else [_name_unit(currency)])
        more = f" (or {', '.join(others)})" if others else ""
        other = (
            ""
            if known or currency != "CNY"
            else '; an amount in another currency is declared by currency= as well: "USD"'
        )
        raise SourceError(
            "the header does not say the unit",
            where=where,
            remedy=f'write it behind the name in brackets, or declare units = {{ {key} = "{first}" }}{more}{other}',
        )
    factors = _factors(name, currency)
    spelt = [_compose(stem, one) for one in given]
    for one, said in zip(spelt, given, strict=True):
        if one not in factors:
            raise _unclear(said, name, currency, where)
    if len({factors[one] for one in spelt}) > 1:
        # A number under "%" that can only be a fraction is what units= may say against the header.
        if name == "contract_rate" and "fraction" in spelt[-1] and spelt[0] in ("%", "年%"):
            return Unit(factors[spelt[-1]])
        raise SourceError(
            f"the unit is '{given[0]}' in one place and '{given[1]}' in another",
            where=where,
            remedy="find out which is right; the header, units= and [units] of the sidecar may not contradict each other",
        )
    return Unit(factors[spelt[0]], next((mark for mark in "%‰" if mark in spelt[0]), ""))


def _unclear(said: str, name: str, currency: str, where: str) -> SourceError:
    if name in _ledger_words()["units"]:
        remedy = f"write one of: {', '.join(_ledger_words()['units'][name])}"
        if name == "rate_spread":
            remedy += "; a part of the base rate (浮动比例, %) is not read: give the contract rate"
    else:
        other = next((code for code in _ledger_words()["currencies"] if plain(said) in _money(code)), None)
        remedy = f"write one of: {', '.join(_spellings(currency))}"
        if other is not None and other != currency:
            remedy = f'if the ledger is in that currency, say currency="{other}": nothing is converted'
    return SourceError(f"the unit '{said}' is not clear", where=where, remedy=remedy)


def check_declared(columns: Columns, declared: Mapping[str, str], where: str, setting: str) -> None:
    """Raise SourceError where a unit is declared for what is no column, or for a field that no column is."""
    for key in declared:
        if key in columns.headers:
            continue
        name = field_of(key)
        if name not in MEASURES:
            remedy = nearest(key, ("principal", "rate", *columns.headers))
            raise SourceError(f"{setting} names column '{key}', which there is not", where=where, remedy=remedy)
        if columns.one(name) is None:
            raise SourceError(
                f"{setting} gives the unit of the {words(name)}, and no column is known as it",
                where=where,
                remedy=f"{columns.offer(name)}; {known_names(name)}",
            )


def is_unit(cell: str) -> bool:
    """Tell whether a cell of the row below the header is a unit of money or of rates, or says that there is none."""
    said = plain(cell).strip("()[]")
    said = re.sub("^单位:?", "", said)
    return said in _NO_MONEY or any(
        said in table
        for table in (
            _factors("contract_rate", ""),
            _factors("rate_spread", ""),
            *(_money(code) for code in _ledger_words()["currencies"]),
        )
    )


def is_money(mark: str, currency: str, factor: Decimal) -> bool:
    """Tell whether a mark beside a number says the unit that its column has: $ of dollars, 元, 万元."""
    return _money(currency).get(plain(mark)) == factor


def join_unit(header: str, cell: str, where: str) -> str:
    """Put the unit of the row of units behind a header; raise SourceError where the header says another."""
    unit = re.sub("^单位:?", "", cell.strip().strip("()（）[]")).strip()
    stem, own = _split(header)
    if not header or plain(unit) in _NO_MONEY:
        return header
    if own and plain(unit) not in (own, _compose(stem, own)):
        raise SourceError(
            "the unit in the header is not that in the row below it",
            where=f"{where}, column '{header}'",
            remedy="find out which is right, and correct the other in the file",
        )
    return header if own else f"{header}({unit})"


def _means(key: str, name: str, header: str, columns: Columns) -> bool:
    return key == header or (key not in columns.headers and field_of(key) == name)


def _is_of(header: str, name: str, kind: str) -> bool:
    wanted = _plain_names(name, kind)
    return plain(header) in wanted or (name in MEASURES and _split(header)[0] in wanted)


def _split(header: str) -> tuple[str, str]:
    """Split "贷款金额(万元)" into the plain name and the unit, "" where there is none."""
    found = _HEADER.fullmatch(plain(header))
    return (found[1], found[2] or found[3] or "") if found else (plain(header), "")


def _compose(stem: str, unit: str) -> str:
    """Put the year or month that a header speaks of before a bare mark: 月利率 and ‰ are 月‰."""
    unit = plain(unit)
    if unit not in ("%", "‰"):
        return unit
    period = next((one for one in ("年", "月") if f"{one}利率" in stem or stem.startswith(one)), "")
    return period + unit


def _factors(name: str, currency: str) -> Mapping[str, Decimal]:
    if name not in _ledger_words()["units"]:
        return _money(currency)
    return {plain(unit): Decimal(factor) for unit, factor in _ledger_words()["units"][name].items()}


@cache
def _money(currency: str) -> Mapping[str, Decimal]:
    """Return what each unit of a currency is worth in it: 万元, thousand USD."""
    return {
        plain(multiple + one): Decimal(factor)
        for multiple, factor in _ledger_words()["multiples"].items()
        for one in _ledger_words()["currencies"].get(currency, [currency])
    }


def _spellings(currency: str) -> list[str]:
    """List units of a currency for a message."""
    first = _name_unit(currency)
    chinese = _ledger_words()["currencies"].get(currency, [currency])[0]
    return [chinese, f"万{chinese}", first, f"thousand {first}", f"10 thousand {first}", f"million {first}"]


def _name_unit(currency: str) -> str:
    return "yuan" if currency == "CNY" else currency


@cache
def _plain_names(name: str, kind: str) -> frozenset[str]:
    return frozenset(map(plain, _fields()[name][kind]))


def _fields() -> Mapping[str, Any]:
    fields: Mapping[str, Any] = _ledger_words()["fields"]
    return fields


@cache
def _ledger_words() -> Mapping[str, Any]:
    text = files("evalkit.sources.ledger").joinpath("fields.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)
