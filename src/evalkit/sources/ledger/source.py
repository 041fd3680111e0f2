"""LoanLedger: a bank's list of loans as the exposure of units in years."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import localcontext
from pathlib import Path

import pandas as pd

from evalkit.errors import SourceError
from evalkit.sources.files.rows import Rows
from evalkit.sources.ledger.fields import Columns, check_declared
from evalkit.sources.ledger.loans import Loan, Wanted, read_new_loans
from evalkit.sources.ledger.values import UnitName, find_unit, read_cells, refuse_totals
from evalkit.sources.pseudonyms import read_key
from evalkit.sources.sidecar import Sidecar, read_sidecar, with_sidecar
from evalkit.tables.table import Table

_USED = (
    "disbursement_date",
    "principal",
    "contract_rate",
    "purpose",
    "currency",
    "green_flag",
    "green_category",
    "refinancing_flag",
    "loan_form",
    "loan_id",
)
_COUNTED = ("loans", "principal", "green_loans", "green_principal", "purpose_loans", "purpose_principal")
_DIGITS = 60  # sums are exact, so that the order of the rows changes no bit


@dataclass(frozen=True)
class LoanLedger:
    """Name a bank's list of loans (借据), one row a loan, in CSV, .xlsx or whatever else Delimited reads.

    `unit` is the column that says whose loan it is: a field ("customer_id", "id_number"), one of its Chinese names, or any column
    of the file. Ids become pseudonyms under the key in `key_file`; other codes (农户编号) stay as they are. `unit_as` is the name
    of the unit in the table, `time` that of the year. `purpose` is a text that 贷款用途 must contain for `purpose_loans` and
    `purpose_principal`. `units` says the unit of "principal" and "rate" where the headers do not. `sheet` is for Excel.
    Headers, units and words that are understood stand in `fields.toml`.
    """

    path: str | Path
    unit: str = "customer_id"
    key_file: str | Path | None = None
    unit_as: str | None = None
    time: str = "year"
    purpose: str | None = None
    units: Mapping[str, str] = field(default_factory=dict, hash=False)
    sheet: str | None = None

    def __post_init__(self) -> None:
        names = [self._unit_name, self.time, "rate", *_COUNTED]
        if len(set(names)) < len(names) or not all(name.strip() for name in names):
            raise SourceError(
                f"the unit '{names[0]}' and the time '{names[1]}' need names of their own",
                where=str(self.path),
                remedy=f"choose unit_as= and time= that are not empty, not the same, and none of: {', '.join(names[2:])}",
            )
        if self.purpose is not None and not self.purpose.strip():
            raise SourceError(
                "purpose= is empty", where=str(self.path), remedy="write a word of 贷款用途, or leave it out"
            )

    def files(self) -> tuple[Path, ...]:
        """The ledger, its sidecar if there is one, and the key of pseudonyms if one is named."""
        key = () if self.key_file is None else (Path(self.key_file),)
        return (*with_sidecar(Path(self.path)), *key)

    def load(self) -> Table:
        """Read the file into one row per unit and calendar year of disbursement, in that order.

        Columns: the unit; the year; `loans`; `principal` (yuan); `rate` (% a year, weighted by principal over the loans that have
        one); `green_loans` and `green_principal`, if the ledger has a green flag or category; `purpose_loans` and
        `purpose_principal`, if asked for. A unit-year that is not listed had no loan in this ledger, which `absent` says; but a
        ledger of loans outstanding lacks those repaid before it was drawn. The index holds the first row of each unit-year.

        Only new money counts. A row that repeats a loan number with the same values is the same loan (an extension, 展期).
        Refinancing (借新还旧, 续贷, told from purpose, form and flag) and other rows marked as extensions lend nothing new and
        are left out. These, and rows without a unit, are counted in the provenance's notes.

        Names, telephone numbers and addresses are not read. Ids are hashed in half width without spaces (HMAC-SHA256, the first
        32 hexadecimal digits), citizen ids with 18 digits and a capital X. No error shows the content of a cell. Excel's serial
        numbers of days count from 1900. Raises SourceError on every row that cannot be read for certain.
        """
        path = Path(self.path)
        where = path.as_posix()
        content = read_cells(path, where, self.sheet)
        sidecar = read_sidecar(path)
        columns = Columns(tuple(content.frame.columns), where)
        self._check(columns, sidecar)
        header, kind = find_unit(columns, self.unit)
        key = read_key(self.key_file, path, self.unit) if kind == "identifier" else b""
        refuse_totals(Rows(content.frame, where))
        used = dict.fromkeys([header, *(name for field in _USED for name in columns.all(field))])
        wanted = Wanted(columns, header, kind, (sidecar.units, self.units), self.purpose, key)
        loans, notes = read_new_loans(Rows(content.frame[list(used)], where), wanted)
        if self.key_file is not None and kind != "identifier":
            notes.append(f"the unit '{header}' is not an identifier and stays as it is: the key was not used")
        rates = columns.one("contract_rate") is not None
        green = any(columns.one(name) for name in ("green_flag", "green_category"))
        exposures = self._sum_up(loans, rates=rates, green=green)
        if rates and (unrated := sum(loan.rate is None for loan in loans)):
            notes.append(f"{unrated} loans have no rate; the rate is that of the others")
        if not rates:
            notes.append("there is no contract rate (合同利率)")
        provenance = sidecar.describe(where, content.sha256, [*content.notes, *notes])
        counted = [name for name in _COUNTED if name in exposures.columns]
        units = {name: "yuan" for name in counted if name.endswith("principal")}
        if "rate" in exposures.columns:
            units["rate"] = "% a year"
        return Table(path.name, exposures, (provenance,), units, dict.fromkeys(counted, 0))

    @property
    def _unit_name(self) -> str:
        return self.unit if self.unit_as is None else self.unit_as

    def _check(self, columns: Columns, sidecar: Sidecar) -> None:
        """Raise SourceError where the ledger lacks a column that is needed, or a unit is declared for none."""
        columns.require("disbursement_date")
        columns.require("principal")
        check_declared(columns, sidecar.units, sidecar.where, "[units]")
        check_declared(columns, self.units, columns.where, "units=")
        spreads = columns.all("rate_spread")
        if spreads and columns.one("contract_rate") is None:
            raise SourceError(
                f"column '{spreads[0]}' gives a spread, and no column the rate",
                where=columns.where,
                remedy="add the contract rate, 合同利率(%): the base rate of each loan's day is not known here",
            )

    def _sum_up(self, loans: list[Loan], *, rates: bool, green: bool) -> pd.DataFrame:
        """Return one row per unit and year of disbursement, sorted."""
        groups: dict[tuple[UnitName, int], list[Loan]] = {}
        for loan in loans:
            groups.setdefault((loan.unit, loan.day.year), []).append(loan)
        lines = []
        for unit, year in sorted(groups):  # units are all text or all numbers
            group = groups[unit, year]
            line = {self._unit_name: unit, self.time: year, **_count("", group)}
            if rates:
                line["rate"] = _mean_rate(group)
            if green:
                line |= _count("green_", [loan for loan in group if loan.green])
            if self.purpose is not None:
                line |= _count("purpose_", [loan for loan in group if loan.for_purpose])
            lines.append(line)
        first = [min(loan.row for loan in groups[key]) for key in sorted(groups)]
        return pd.DataFrame(lines, index=pd.Index(first, name="row", dtype="int64"))


def _count(prefix: str, loans: Iterable[Loan]) -> dict[str, UnitName]:
    amounts = [loan.principal for loan in loans]
    with localcontext(prec=_DIGITS):
        return {f"{prefix}loans": len(amounts), f"{prefix}principal": float(sum(amounts))}


def _mean_rate(loans: Iterable[Loan]) -> float:
    """Weigh the rates that are known by principal; NaN where none is."""
    known = [(loan.principal, loan.rate) for loan in loans if loan.rate is not None]
    with localcontext(prec=_DIGITS):
        total = sum(principal for principal, _ in known)
        return float(sum(principal * rate for principal, rate in known) / total) if known else math.nan
