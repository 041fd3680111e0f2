"""The columns of a loan ledger as values: units, amounts in yuan, rates in % a year, flags."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

import pyarrow as pa

from evalkit.errors import SourceError, nearest
from evalkit.sources._columns import parse_column
from evalkit.sources._ledger_cells import Rows, each, read_flag, read_number
from evalkit.sources._ledger_fields import Columns, Unit, field_of, kind_of, known_names, known_words, plain, read_unit
from evalkit.sources._pseudonyms import are_cut, clean, is_damaged, pseudonym, read_document, reveals_persons

UnitName = str | float
"""A pseudonym, or a code as a table would hold it."""

_HIGHEST = Decimal(36)  # % a year
_LOWEST = Decimal("0.36")  # every rate up to 36 % lies below this when it is written as a fraction
_AS_TEXT = "store the column as text in the source system and export it again; in Excel, import it as text"


def find_unit(columns: Columns, unit: str) -> tuple[str, str]:
    """Return the header of the unit, and its kind: "identifier", or "" for a column that is used as it is.

    Raises SourceError for a column that the ledger does not have, and for names, telephones and addresses.
    """
    field = field_of(unit)
    header = unit if unit in columns.headers else columns.one(field) if field else None
    if kind_of(unit) == "personal" or (header is not None and kind_of(header) == "personal"):
        raise SourceError(
            f"the unit '{unit}' is a name, a telephone number or an address, which are never read",
            where=columns.where,
            remedy='use "id_number" or "customer_id", which are replaced by pseudonyms, or a code of the survey',
        )
    if header is None:
        remedy = f"{nearest(unit, columns.headers)}; {known_names(field)}" if field else nearest(unit, columns.headers)
        raise SourceError(f"there is no column for the unit '{unit}'", where=columns.where, remedy=remedy)
    return header, kind_of(header)


def read_identifiers(rows: Rows, header: str) -> list[str | None]:
    """Read a column of ids in one spelling, None where empty; raise SourceError where ids lost digits on their way."""
    cells = each(rows.cells(header), lambda cell: clean(cell or "") or None)
    damaged = [cell is not None and is_damaged(cell) for cell in cells]
    rows.refuse(damaged, header, "the id was turned into a number, and its digits may be lost", _AS_TEXT)
    if are_cut(cell for cell in cells if cell is not None):
        long = [cell is not None and cell.isdecimal() and len(cell) > 15 for cell in cells]
        rows.refuse(long, header, "all long ids end in zeros: Excel has kept only their first 15 digits", _AS_TEXT)
    return cells


def read_units(rows: Rows, header: str, kind: str, key: bytes) -> list[UnitName | None]:
    """Read the unit of each row, None where empty: ids checked and replaced by pseudonyms, others as a table would hold them.

    Raises SourceError naming the rows of ids that fail their check, and for a column that holds ids under another name.
    """
    if kind != "identifier":
        cells = rows.cells(header)
        values = [cell for cell in cells if cell is not None]
        if values and reveals_persons(set(values)):
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
        documents = each(numbers, lambda number: read_document(number) if number is not None else ("", ""))
        for fault in dict.fromkeys(fault for _, fault in documents if fault):
            wrong = [found == fault for _, found in documents]
            rows.refuse(wrong, header, f"the id {fault}", "correct the id from the contract, or leave the row out")
        numbers = [number or None for number, _ in documents]
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
