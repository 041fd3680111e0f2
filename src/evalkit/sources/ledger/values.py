"""The columns of a loan ledger: which field a header means, and its values in yuan, % a year and flags."""

from __future__ import annotations

import datetime as dt
import re
import tomllib
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import pyarrow as pa

from evalkit.errors import SourceError, nearest
from evalkit.sources.files.columns import Rows, each
from evalkit.sources.files.form import Form
from evalkit.sources.files.sheet import Content, read_content
from evalkit.sources.persons import are_mobile_numbers, find_persons, pseudonym, read_documents, read_identifiers
from evalkit.tables.text_columns import parse_column

UnitName = str | float
"""A pseudonym, or a code as a table would hold it."""

_HIGHEST = Decimal(36)  # % a year
_LOWEST = Decimal("0.36")  # every rate up to 36 % lies below this when it is written as a fraction


def find_unit(columns: Columns, unit: str) -> tuple[str, str]:
    """Return the header of the unit, and its kind: "identifier", or "" for a column that is used as it is.

    Raises SourceError for a column that the ledger does not have, and for names, telephones and addresses.
    """
    field = field_of(unit)
    header = unit if unit in columns.headers else columns.one(field) if field else None
    if kind_of_field(unit) == "personal" or (header is not None and kind_of_field(header) == "personal"):
        raise SourceError(
            f"the unit '{unit}' is a name, a telephone number or an address, which are never read",
            where=columns.where,
            remedy='use "id_number" or "customer_id", which are replaced by pseudonyms, or a code of the survey',
        )
    if header is None:
        remedy = f"{nearest(unit, columns.headers)}; {known_names(field)}" if field else nearest(unit, columns.headers)
        raise SourceError(f"there is no column for the unit '{unit}'", where=columns.where, remedy=remedy)
    return header, kind_of_field(header)


def read_units(rows: Rows, header: str, kind: str, key: bytes) -> list[UnitName | None]:
    """Read the unit of each row, None where empty: ids checked and replaced by pseudonyms, others as a table would hold them.

    Raises SourceError naming the rows of ids that fail their check, and for a column that holds ids under another name.
    """
    if kind != "identifier":
        cells = rows.cells(header)
        values = [cell for cell in cells if cell is not None]
        if values and (find_persons(values) is not None or are_mobile_numbers(values)):
            raise SourceError(
                "the column holds citizen ids or telephone numbers, which may not be used as they are",
                where=f"{rows.where}, column '{header}'",
                remedy="name the column 证件号码 if these are ids: they are then replaced by pseudonyms",
            )
        # As Delimited would read them, so that a farm's code is the same number or text here and in the panel.
        read = iter(parse_column(pa.chunked_array([pa.array(values, pa.string())]), as_text=False).tolist())
        return [next(read) if cell is not None else None for cell in cells]
    numbers = read_identifiers(rows, header)
    if field_of(header) == "id_number":
        numbers = read_documents(rows, header, numbers)
    return each(numbers, lambda number: pseudonym(key, number) if number is not None else None)


def check_currency(rows: Rows, columns: Columns) -> None:
    """Raise SourceError for a row in another currency than yuan."""
    header = columns.one("currency")
    if header is not None:
        yuan = known_words("yuan")
        wrong = each(rows.cells(header), lambda cell: plain(cell or "") not in yuan)
        what = "the currency is not the yuan (CNY, RMB, 人民币, 156, 001)"
        rows.refuse(wrong, header, what, "leave the row out, or write its amount in yuan; nothing is converted")


def read_principal(rows: Rows, columns: Columns, declared: Sequence[Mapping[str, str]]) -> list[Decimal]:
    """Read the amounts in yuan; raise SourceError where one is empty, no number, zero or negative."""
    header = columns.require("principal")
    factor = read_unit(columns, "principal", header, declared).factor
    remedy = "write a plain number such as 50000 or 50,000.00; delete notes below the table"
    amounts = rows.read(header, read_number, "the cell is not a plain number", remedy)
    remedy = "correct the amount; leave out rows that are repayments or cancelled loans"
    rows.refuse([amount <= 0 for amount in amounts], header, "the amount of the loan is not positive", remedy)
    return [amount * factor for amount in amounts]


def read_rates(rows: Rows, header: str, unit: Unit) -> list[Decimal | None]:
    """Read the rates in % a year, None where empty; raise SourceError where the unit is probably another one."""
    cells = rows.cells(header)
    numbers = each(cells, lambda cell: read_number(cell, unit.mark) if cell is not None else None)
    wrong = [number is None and cell is not None for number, cell in zip(numbers, cells, strict=True)]
    rows.refuse(
        wrong, header, "the cell is not a plain number", "write 4.35 for 4.35 %; leave the cell empty if unknown"
    )
    rates = [number * unit.factor if number is not None else None for number in numbers]
    for row, (number, rate) in enumerate(zip(numbers, rates, strict=True)):
        if number is None or rate is None or rate == 0 or _LOWEST < rate <= _HIGHEST:
            continue
        what = f"the rate is not between 0 and {_HIGHEST} % a year" if rate > 0 else "the rate is negative"
        if 0 < rate <= _LOWEST:
            what = f"the rate is not above {_LOWEST} % a year"
        likely = (
            (100, "a fraction a year"),
            (12, "% a month"),
            (Decimal("0.1"), "‰ a year"),
            (Decimal("0.01"), "basis points"),
        )
        found = next((name for times, name in likely if 1 <= number * times <= 15), None)
        what += f"; its unit is probably {found}" if found else ""
        remedy = "write the rate in the unit that the header or units= says, and correct the header if that is wrong"
        rows.refuse([i == row for i in range(len(cells))], header, what, remedy)
    return rates


def read_green(rows: Rows, columns: Columns) -> list[bool]:
    """Tell which loans are green: by the flag, or where there is none, by having a category of green use."""
    flag, category = columns.one("green_flag"), columns.one("green_category")
    if flag is not None:
        return read_flags(rows, flag)
    if category is not None:
        off = known_words("off")
        return each(rows.cells(category), lambda cell: cell is not None and plain(cell) not in off)
    return [False] * len(rows.frame)


def read_flags(rows: Rows, header: str) -> list[bool]:
    """Read a column of yes and no; an empty cell is no, as banks mark only the exceptions."""
    flags = each(rows.cells(header), lambda cell: read_flag(cell) if cell is not None else False)
    rows.refuse(
        [flag is None for flag in flags], header, "the cell is neither yes nor no", "write 是 or 否, 1 or 0, Y or N"
    )
    return [bool(flag) for flag in flags]


_DAY = re.compile(
    r"([0-9]{4})(?:([0-9]{2})([0-9]{2})|-([0-9]{1,2})-([0-9]{1,2})|/([0-9]{1,2})/([0-9]{1,2})|年([0-9]{1,2})月([0-9]{1,2})日)"
    r"(?:[ T][0-2]?[0-9]:[0-5][0-9](?::[0-5][0-9](?:\.[0-9]+)?)?)?"
)
_SERIAL = re.compile(r"([0-9]{5})(?:\.[0-9]+)?")
_SERIALS = range(20_000, 60_001)  # 1954 to 2064, counted from 1900 as Excel does by default
_NUMBER = re.compile(r"[+-]?(?:[0-9]{1,15}|[0-9]{1,3}(?:,[0-9]{3}){1,4})(?:\.[0-9]{0,20})?")


class _Everything(Collection[str]):
    """Every name there is: the ledger is read as text before it is known how its columns are called."""

    def __contains__(self, name: object) -> bool:
        return True

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


def read_cells(path: Path, where: str, sheet: str | None) -> Content:
    """Read a ledger with every column as text; what is wrong with the file is said without what stands in its cells."""
    try:
        form = Form(text=_Everything(), sheets=() if sheet is None else (sheet,), setting="sheet=", bare=True)
        return read_content(path, where, form)
    except SourceError as error:
        refusal = error
    shown = re.sub(
        r"(['\"])(.*)\1",
        lambda found: found[0] if found[2] == sheet or field_of(found[2]) else "'…'",
        refusal.what,
        flags=re.DOTALL,
    )
    shown = re.sub("[0-9]{6,}", "…", shown)
    # Outside the handler, so that no traceback shows the first message.
    raise SourceError(shown, where=refusal.where, remedy=refusal.remedy)


def refuse_totals(rows: Rows) -> None:
    """Raise SourceError on a row of totals, which would be counted as a loan."""
    totals = known_words("total")
    for header in rows.frame.columns:
        wrong = each(rows.cells(header), lambda cell: plain(cell or "").rstrip(":") in totals)
        rows.refuse(wrong, header, "the row holds a total, not a loan", "delete rows of totals")


def read_day(text: str) -> dt.date | None:
    """Read 20200115, 2020-01-15, 2020/1/15, 2020年1月15日, each also with a time of day, or an Excel serial number."""
    text = unicodedata.normalize("NFKC", text)
    if (serial := _SERIAL.fullmatch(text)) and int(serial[1]) in _SERIALS:
        return dt.date(1899, 12, 30) + dt.timedelta(days=int(serial[1]))
    found = _DAY.fullmatch(text)
    if found is None:
        return None
    year, month, day = (int(part) for part in found.groups() if part is not None)
    try:
        return dt.date(year, month, day) if 1954 <= year <= 2064 else None
    except ValueError:
        return None


def read_number(text: str, mark: str = "") -> Decimal | None:
    """Read 1234.5 or 1,234.5 exactly, with the unit's mark behind it or not. 1.2E+06 is not read: digits may be lost."""
    text = unicodedata.normalize("NFKC", text).replace(" ", "")
    if mark:
        text = text.removesuffix(mark)
    return Decimal(text.replace(",", "")) if _NUMBER.fullmatch(text) else None


def read_flag(text: str) -> bool | None:
    """Read a yes or a no, as the words in fields.toml have it."""
    word = plain(text)
    return True if word in known_words("on") else False if word in known_words("off") else None


def kind_said(text: str | None) -> str:
    """Return "refinancing" or "extension" where a text speaks of it and does not deny it (非借新还旧), "" otherwise."""
    said = plain(text or "")
    for kind in ("refinancing", "extension"):
        for word in known_words(kind):
            for denial in known_words("denial"):
                said = said.replace(denial + word, "")
    return next((kind for kind in ("refinancing", "extension") if any(word in said for word in known_words(kind))), "")


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
