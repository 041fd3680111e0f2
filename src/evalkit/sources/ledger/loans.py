"""The loans in a ledger: which of its rows are new money, and what is to be said of the others."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple

from evalkit.errors import SourceError
from evalkit.sources.files.rows import Rows, each
from evalkit.sources.ledger.fields import Columns, plain, read_unit, words
from evalkit.sources.ledger.values import (
    UnitName,
    check_currency,
    kind_said,
    read_day,
    read_flags,
    read_green,
    read_principal,
    read_rates,
    read_units,
)
from evalkit.sources.pseudonyms import read_identifiers


class Loan(NamedTuple):
    """One row of a ledger: principal in yuan, rate in % a year (None where empty), what it is for, "" for a new loan."""

    row: int
    unit: UnitName
    day: dt.date
    principal: Decimal
    rate: Decimal | None
    green: bool
    for_purpose: bool
    kind: str


@dataclass(frozen=True)
class Wanted:
    """What is to be read: the unit's header and kind, the key of its pseudonyms, declared units of measures, the purpose."""

    columns: Columns
    header: str
    kind: str
    declared: Sequence[Mapping[str, str]]
    purpose: str | None
    key: bytes = field(default=b"", repr=False)


def read_new_loans(rows: Rows, wanted: Wanted) -> tuple[list[Loan], list[str]]:
    """Read the loans that lent new money to a unit, and say in notes which rows were left out and why.

    Raises SourceError naming the rows that cannot be read, and where no loan is left.
    """
    columns, where = wanted.columns, f"{rows.where}, column '{wanted.header}'"
    check_currency(rows, columns)
    principals = read_principal(rows, columns, wanted.declared)
    units = read_units(rows, wanted.header, wanted.kind, wanted.key)
    known = [i for i, unit in enumerate(units) if unit is not None]
    if not known:
        raise SourceError("no row has a unit", where=where, remedy="fill in the units, or name another column as unit=")
    named = Rows(rows.frame.iloc[known], rows.where)
    loans = _read_loans(named, wanted, [unit for unit in units if unit is not None], [principals[i] for i in known])
    notes = [
        _note_columns(wanted),
        *_note(
            [amount for amount, unit in zip(principals, units, strict=True) if unit is None],
            "have no unit and were left out",
        ),
    ]
    loan_id = columns.one("loan_id")
    numbers = read_identifiers(named, loan_id) if loan_id is not None else [None] * len(loans)
    if loan_id is not None:
        unnumbered = [loan.principal for loan, number in zip(loans, numbers, strict=True) if number is None]
        notes += _note(unnumbered, "have no loan number and were counted, although one may stand twice")
    loans, repeated = join_repeats(loans, numbers, f"{rows.where}, column '{loan_id}'")
    notes += _note([loan.principal for loan in repeated], "repeat a loan, as extensions do, and were not counted again")
    for kind, said in (("refinancing", "refinance a loan (借新还旧, 续贷)"), ("extension", "extend a loan (展期)")):
        notes += _note([loan.principal for loan in loans if loan.kind == kind], f"{said} and were left out")
    new = [loan for loan in loans if not loan.kind]
    if not new:
        raise SourceError(
            "every loan is a refinancing or an extension", where=rows.where, remedy="give a ledger that has new loans"
        )
    return new, notes + _note_empty(named, columns)


def join_repeats(loans: list[Loan], numbers: Sequence[str | None], where: str) -> tuple[list[Loan], list[Loan]]:
    """Keep one row of each loan number (None is no number); return these, and the rows that repeat one.

    Rows that say they are extensions need only the unit, day and principal of the loan that they extend; others must agree in
    all that is read. Raises SourceError naming two rows that do not.
    """
    first: dict[str, int] = {}
    kept: dict[int, Loan] = {}
    repeated = []
    for i, (loan, number) in enumerate(zip(loans, numbers, strict=True)):
        at = first.setdefault(number, i) if number is not None else i
        known = kept.setdefault(at, loan)
        if known is loan:
            continue
        extended = "extension" in (known.kind, loan.kind)
        fields = ("unit", "day", "principal") if extended else Loan._fields[1:]
        differing = [words(field) for field in fields if getattr(loan, field) != getattr(known, field)]
        if differing:
            raise SourceError(
                f"the same loan number stands twice with another {', '.join(differing)}",
                where=f"{where}, rows {known.row} and {loan.row}",
                remedy="keep the row of the loan as it was disbursed; give another loan its own number",
            )
        if known.kind == "extension":
            kept[at], loan = loan, known
        repeated.append(loan)
    return list(kept.values()), repeated


def _read_loans(rows: Rows, wanted: Wanted, units: Sequence[UnitName], principals: Sequence[Decimal]) -> list[Loan]:
    """Read every row as a loan; raise SourceError naming the rows that cannot be read."""
    columns = wanted.columns
    remedy = "write 20200115, 2020-01-15, 2020/1/15 or 2020年1月15日, between 1954 and 2064"
    days = rows.read(
        columns.require("disbursement_date"), read_day, "the cell is not a date that is understood", remedy
    )
    header = columns.one("contract_rate")
    rates = read_rates(rows, header, read_unit(columns, "contract_rate", header, wanted.declared)) if header else None
    kinds = _read_kinds(rows, columns)
    for_purpose = [False] * len(units)
    if wanted.purpose is not None:
        purpose = plain(wanted.purpose)
        for_purpose = each(rows.cells(columns.require("purpose")), lambda cell: purpose in plain(cell or ""))
    green = read_green(rows, columns)
    return [
        Loan(
            row=int(row),
            unit=units[i],
            day=days[i],
            principal=principals[i],
            rate=rates[i] if rates else None,
            green=green[i],
            for_purpose=for_purpose[i],
            kind=kinds[i],
        )
        for i, row in enumerate(rows.frame.index)
    ]


def _read_kinds(rows: Rows, columns: Columns) -> list[str]:
    """Tell from purpose, form and flags what kind of loan each row is: "refinancing", "extension" or "" for a new one."""
    kinds = [""] * len(rows.frame)
    for header in [header for name in ("purpose", "loan_form") for header in columns.all(name)]:
        said = each(rows.cells(header), kind_said)
        kinds = [one if one == "refinancing" else other or one for one, other in zip(kinds, said, strict=True)]
    for header in columns.all("refinancing_flag"):
        kinds = ["refinancing" if on else one for one, on in zip(kinds, read_flags(rows, header), strict=True)]
    return kinds


def _note(amounts: Sequence[Decimal], said: str) -> list[str]:
    """Say of how many rows something holds, and of how much money."""
    return [f"{len(amounts)} rows ({sum(amounts):,.2f} yuan) {said}"] if amounts else []


def _note_columns(wanted: Wanted) -> str:
    """Say which column was read as which field."""
    fields = ("disbursement_date", "principal", "contract_rate", "loan_id")
    pairs = [(wanted.columns.one(name), words(name)) for name in fields]
    unit = "the unit (replaced by pseudonyms)" if wanted.kind == "identifier" else "the unit"
    listed = ", ".join(
        f"'{header}' as {said}" for header, said in [(wanted.header, unit), *pairs] if header is not None
    )
    return f"read {listed}"


def _note_empty(rows: Rows, columns: Columns) -> list[str]:
    """Say what the ledger does not tell: flags that are empty, refinancing, green loans, loan numbers."""
    notes = []
    flags = [columns.one("green_flag"), *columns.all("refinancing_flag")]
    for header in [header for header in flags if header is not None]:
        if empty := sum(cell is None for cell in rows.cells(header)):
            notes.append(f"{empty} rows with an empty '{header}' count as no")
    for header in columns.all("purpose"):
        if empty := sum(cell is None for cell in rows.cells(header)):
            notes.append(f"{empty} rows do not say '{header}'")
    if not any(columns.all(name) for name in ("purpose", "loan_form", "refinancing_flag")):
        notes.append("no column tells refinancing (借新还旧, 续贷) from new loans")
    if columns.one("loan_id") is None:
        notes.append("there is no loan number (借据号), so that it cannot be told whether a loan stands twice")
    if columns.one("green_flag") is None and columns.one("green_category") is None:
        notes.append("there is no green flag (绿色贷款标识)")
    return notes
