"""LoanLedger: a bank's list of loans as the exposure of units in years."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from evalkit.errors import SourceError
from evalkit.progress import show_progress
from evalkit.sources.files.listing import SHEET, Listing, Sought, open_listing
from evalkit.sources.ledger.base_rates import SHIPPED, BaseRates, read_base_rates
from evalkit.sources.ledger.fields import (
    Columns,
    check_declared,
    declare,
    field_of,
    is_header,
    is_total,
    is_unit,
    join_unit,
    words,
)
from evalkit.sources.ledger.loans import Loans, LoanSums
from evalkit.sources.ledger.store import Memory, Store, open_store
from evalkit.sources.ledger.units import UnitCells, find_unit, read_codes, replace_units, write_cells
from evalkit.sources.ledger.values import FORMS, read_day, read_number
from evalkit.sources.ledger.view import Wanted
from evalkit.sources.persons import MAKE_KEY, Shorn, judge_unit, read_key, shorn_of_zeros
from evalkit.sources.sidecar import Sidecar, read_sidecar, with_sidecar
from evalkit.tables.table import Provenance, Table

_FIELDS = (
    "disbursement_date",
    "principal",
    "contract_rate",
    "purpose",
    "currency",
    "status",
    "reversal_flag",
    "extension_flag",
    "original_loan_id",
    "green_flag",
    "green_category",
    "refinancing_flag",
    "loan_form",
    "maturity_date",
    "balance",
    "snapshot_date",
    "loan_id",
)
_AS_THEY_ARE = (
    "principal",
    "balance",
    "original_loan_id",
    "loan_id",
)  # columns with more distinct cells than are looked at one by one
_COUNTED = ("loans", "borrowers", "principal", "green_loans", "green_principal", "purpose_loans", "purpose_principal")
_EXACT = 2**53  # whole numbers up to here are exact in a float64
_STEPS = 5
_LEAST_MEMORY = 110  # MB
_SMALL = 128_000_000  # bytes of a file up to which one core is the cheapest
_LEAST_DOCUMENT = 15  # characters from which on a cell among citizen ids must be one
_GAPS = ("disbursement_date", "principal")


@dataclass(frozen=True)
class LoanLedger:
    """Name a bank's list of loans (借据), one row a loan: text with separators, .xlsx, .xls, a web page, Parquet, a database.

    unit        the column that says whose loan it is: a field ("customer_id", "id_number"), one of its Chinese names, or
                any column of the file. Ids and whatever identifies persons become pseudonyms under the key in
                `key_file`; codes stay as they are.
    unit_kind   "code" says of a column that looks as if it held persons that it does not; "person" has any column replaced.
    unit_as     the name of the unit in the table, `time` that of the year.
    purpose     a text that 贷款用途 must contain for `purpose_loans` and `purpose_principal`.
    columns     fields → headers of the file, where these are not known: {"principal": "amount"}. A loan number that
                stands in several columns is a tuple of them; "" says that the file's column is not that field. Fields
                stand in `fields.toml`.
    units       the unit of "principal", "balance" and "rate" where the headers do not say it.
    sheets      of a workbook with several lists; several are put one below the other.
    header      the row of the header where it is not found; `last` is the last row of the data.
    dates       how dates are written where that is not certain: "ymd", "dmy", "mdy", "yymmdd", or days counted from
                1900, 1904, 1960 (Stata, SAS), 1970: "days1960".
    currency    the code of the currency, such as "USD"; loans in another are then left out. By default all must be in yuan.
    cancelled   further words of 借据状态 that say that a loan was not lent.
    leave_out   rows that are not to count: their numbers as errors name them, and "disbursement_date" or "principal" for all rows
                without one.
    amounts     the smallest and the largest amount that are believed, in the currency, where they lie far apart.
    benchmark   for `spread`: "lpr" (loan prime rate), "pboc" (benchmark rates of the People's Bank), or a CSV with from_date,
                up_to_months, percent and status: what the contract rate is compared with, or points are added to (see `load`).
    borrowers   the column of borrowers ("customer_id", "id_number", or any), where the unit is another, for their number.
    covers      which rows of a panel the bank serves: {"county": ("…", "…")}; there no loan is 0, elsewhere it is unknown.
    query       a file with one SELECT; its result is stored at `path` (Parquet) when there is none, and read from there.
                `database` is a file outside of the project with the address of the database.
    memory      what DuckDB may take (by default 1GB at most, less for small files); what is more goes to a temporary
                folder in `spill`, which is removed in the end.

    Settings of `columns` and `units` may stand in the sidecar, too.
    """

    path: str | Path
    unit: str = "customer_id"
    key_file: str | Path | None = None
    unit_kind: Literal["", "code", "person"] = ""
    unit_as: str | None = None
    time: str = "year"
    purpose: str | None = None
    columns: Mapping[str, str | tuple[str, ...]] = field(default_factory=dict, hash=False)
    units: Mapping[str, str] = field(default_factory=dict, hash=False)
    sheets: tuple[str, ...] = ()
    header: int | None = None
    last: int | None = None
    dates: str = ""
    currency: str = ""
    cancelled: tuple[str, ...] = ()
    leave_out: tuple[int | str, ...] = ()
    amounts: tuple[float, float] | None = None
    benchmark: str | Path | None = None
    borrowers: str | None = None
    covers: Mapping[str, tuple[Any, ...]] = field(default_factory=dict, hash=False)
    query: str | Path | None = None
    database: str | Path | None = None
    memory: str | None = None
    spill: str | Path | None = None

    outside: ClassVar[tuple[str, ...]] = ("database",)  # files that do not lie in the project of a study

    def __post_init__(self) -> None:
        for name in ("sheets", "cancelled", "leave_out"):
            given = getattr(self, name)
            if isinstance(given, str):
                raise self._error(f"{name}= is one word, not a tuple", f'write {name}=("{given}",)')
            object.__setattr__(self, name, tuple(given))
        if len(set(self.sheets)) < len(self.sheets):
            raise self._error("sheets= names a sheet twice", "name each sheet once")
        names = [self._unit_name, self.time, "rate", "spread", *_COUNTED]
        if len(set(names)) < len(names) or not all(name.strip() for name in names):
            raise self._error(
                f"the unit '{names[0]}' and the time '{names[1]}' need names of their own",
                f"choose unit_as= and time= that are not empty, not the same, and none of: {', '.join(names[2:])}",
            )
        if self.purpose is not None and not self.purpose.strip():
            raise self._error("purpose= is empty", "write a word of 贷款用途, or leave it out")
        if self.dates and self.dates not in FORMS:
            raise self._error(f"dates='{self.dates}' is not known", f"write one of: {', '.join(FORMS)}")
        if self.unit_kind not in ("", "code", "person"):
            raise self._error(f"unit_kind='{self.unit_kind}' is not known", 'write "code" or "person", or leave it out')
        if self.currency and not re.fullmatch("[A-Z]{3}", self.currency):
            raise self._error(
                f"currency='{self.currency}' is no code of a currency", 'write its three letters, such as "USD"'
            )
        if str(self.benchmark) in SHIPPED and self.currency not in ("", "CNY"):
            raise self._error(
                f"benchmark='{self.benchmark}' are rates of loans in yuan, and currency= is '{self.currency}'",
                "give a CSV of base rates of that currency",
            )
        for name in ("header", "last"):
            row = getattr(self, name)
            if row is not None and (not isinstance(row, int) or isinstance(row, bool) or row < 1):
                raise self._error(f"{name}={row!r} names no row", "count the rows of the file from 1")
        for one in self.leave_out:
            if isinstance(one, str) and "!" not in one and field_of(one) not in _GAPS:
                raise self._error(
                    f"leave_out= names '{one}', which is neither a row nor one of: {', '.join(_GAPS)}",
                    'write the numbers of rows as errors name them, 12 or "sheet!12"',
                )
        if self.amounts is not None:
            object.__setattr__(self, "amounts", tuple(self.amounts))
            numbers = [one for one in self.amounts if isinstance(one, int | float) and math.isfinite(one)]
            if len(self.amounts) != 2 or len(numbers) != 2 or not 0 <= numbers[0] < numbers[1]:
                raise self._error(
                    "amounts= are not a smallest and a largest amount", "write amounts=(100, 5e8), for instance"
                )
        for name in ("columns", "units"):
            for key, said in getattr(self, name).items():
                given = [said] if isinstance(said, str) or name == "units" or not isinstance(said, Sequence) else said
                if not all(isinstance(one, str) for one in given):
                    raise self._error(f"{name}= does not give '{key}' as text", f'write {name}={{"{key}": "…"}}')
        for column, values in self.covers.items():
            if isinstance(values, str) or not isinstance(values, Sequence) or not values:
                raise self._error(
                    f"covers= does not list values of '{column}'", f'write covers={{"{column}": ("…", "…")}}'
                )
        if (self.query is None) != (self.database is None):
            raise self._error(
                "query= and database= go together",
                'give query="loans.sql", and database= as the file, outside of the project, with the address of the database',
            )

    def _error(self, what: str, remedy: str) -> SourceError:
        return SourceError(what, where=str(self.path), remedy=remedy)

    def files(self) -> tuple[Path, ...]:
        """The ledger, its sidecar if there is one, the query, the key of pseudonyms and the base rates if files are named."""
        base = None if str(self.benchmark) in SHIPPED else self.benchmark
        others = (Path(one) for one in (self.query, self.key_file, base) if one is not None)
        return (*with_sidecar(Path(self.path)), *others)

    def load(self) -> Table:
        """Read the file into one row per unit and calendar year of disbursement, in that order.

        Columns: the unit; the year; `loans`; `principal` (yuan, or `currency`); `rate` (% a year, weighted by principal
        over the loans that have one); `borrowers` and `spread`, if asked for; `green_loans` and `green_principal`, if the
        ledger has a green flag or category; `purpose_loans` and `purpose_principal`, if asked for. A unit-year that is not
        listed had no loan in this ledger, which `absent` says, where the bank lends (`covers`); but a ledger of loans
        outstanding lacks those repaid before it was drawn. The index holds the first row of each unit-year.

        The header is found below titles, a row of units below it is read, and totals and notes below the table are left out. Only
        new money counts. A row that repeats a loan number with the same values is the same loan (an extension, 展期), and of
        monthly snapshots the first counts. Refinancing (借新还旧, 续贷, told from purpose, form and flag), rows marked as
        extensions, and loans that were cancelled or reversed (撤销, 冲正) lend nothing new and are left out. All of these,
        rows without a unit, and the columns that were not used, are named in the provenance's notes.

        `spread` (percentage points) is the contract rate less the base rate in force on the day of disbursement, the last
        one published on or before it, weighted by principal over the loans that have both. By the convention here, which is
        that of the market and no rule of the table, a loan of up to five years (disbursement to maturity, five years
        included) is compared with the LPR of one year, a longer one with that of five; the benchmark has bands of its own.
        A loan without a date of maturity, before the first date, after the end (that of "pboc" is 2019-08-19), or on a day whose
        rate is disputed or not known has no spread, and a note counts it. Where the ledger has no contract rate but points on top
        of a base rate (加点, in BP or percentage points), `rate` is the base rate plus these.

        Sums of money are exact. Names, telephone numbers and addresses are not kept. Ids are hashed in half width
        without spaces (HMAC-SHA256, the first 32 hexadecimal digits), citizen ids with 18 digits and a capital X. No
        error shows the content of a cell. Raises SourceError on every row that cannot be read for certain.
        """
        path = Path(self.path)
        where = path.as_posix()
        said = self._store_query(path, where)
        sidecar = read_sidecar(path)
        declared = self._declared(sidecar)
        read = self._read(self._open(path, where, declared), declared, sidecar)
        if read is None:  # a long text that is not one record a line
            read = self._read(self._open(path, where, declared, whole=True), declared, sidecar)
        assert read is not None
        listing, frame, notes, money, persons, base = read
        provenance = sidecar.describe(where, listing.sha256, [*said, *listing.notes, *notes])
        if persons:
            provenance = replace(provenance, persons=(self._unit_name,))
        counted = [name for name in _COUNTED if name in frame.columns]
        of_columns = {name: money for name in counted if name.endswith("principal")}
        if "rate" in frame.columns:
            of_columns["rate"] = "% a year"
        if "spread" in frame.columns:
            of_columns["spread"] = "percentage points"
        origins = (provenance,) if base is None else (provenance, base)
        return Table(path.name, frame, origins, of_columns, dict.fromkeys(counted, 0), covers=self.covers)

    def _read(
        self, listing: Listing, declared: Mapping[str, Any], sidecar: Sidecar
    ) -> tuple[Listing, pd.DataFrame, list[str], str, bool, Provenance | None] | None:
        """Read a list; return it with its sums, notes, the name of the money, whether its units are persons under pseudonyms, and
        where the base rates are from.

        None says that a long text is not one record a line, and must be held as a whole.
        """
        path = Path(self.path)
        columns = Columns(listing.headers, listing.where)
        columns = replace(columns, declared=declare(listing.headers, declared, listing.where, "columns="))
        self._check(columns, sidecar)
        unit, kind = find_unit(columns, self.unit)
        base, borrowers = self._find_base(columns), self._find_borrowers(columns, unit)
        used = self._used(columns, unit)
        used += [] if borrowers is None or borrowers in used else [borrowers]
        as_they_are = {unit, borrowers, *(at for name in _AS_THEY_ARE for at in columns.all(name))}
        coded = frozenset(at for at in used if at not in as_they_are)
        memory = Memory(self.memory or _choose_memory(listing), self.spill, 1 if listing.size < _SMALL else None)
        with (
            open_store(listing, listing.where, used, coded, memory) as store,
            show_progress("LoanLedger", _STEPS) as advance,
        ):
            store.fill()
            if not listing.holds():
                return None
            advance(1)
            below, notes = _find_below(listing, columns, unit)
            if not listing.beyond <= below.keys():  # a record of the table, which a long text gives only as a whole
                return None
            omitted = self._leave_out(store, below)
            store.omits = bool(omitted)
            store.lift("omitted", {"row": pa.array(sorted(omitted), pa.int64())})
            units, as_pseudonyms = self._read_units(store, unit, kind, path)
            advance(1)
            wanted = replace(self._wanted(columns, unit, sidecar), base=base, borrowers=borrowers)
            with ThreadPoolExecutor(1) as pool:  # pseudonyms are made while DuckDB looks at the loans
                naming = pool.submit(units.name)
                loans = Loans(store, wanted, replace(units, name=naming.result))
            advance(1)
            sums = loans.sum_up()
            advance(1)
            notes = [
                *self._note_columns(columns, unit, used, pseudonyms=as_pseudonyms),
                *notes,
                *store.noted,
                *loans.notes,
            ]
            notes += _compare_totals(listing, columns, below, loans)
        if self.key_file is not None and not as_pseudonyms:
            notes.append(
                f"the unit '{columns.header(unit)}' is not an identifier and stays as it is: the key was not used"
            )
        return (
            listing,
            self._frame(sums, loans.unit_names, listing, rates=loans.has_rates),
            notes,
            wanted.money,
            as_pseudonyms,
            None if base is None else replace(base.provenance, recalled=("base rates",) * loans.recalls_base_rates),
        )

    def _find_base(self, columns: Columns) -> BaseRates | None:
        """Read the base rates; raise SourceError where the ledger lacks the rate or the date that they are held against."""
        if self.benchmark is None:
            return None
        if not columns.all("rate_spread"):
            columns.require("contract_rate")
        columns.require("maturity_date")
        return read_base_rates(self.benchmark)

    def _find_borrowers(self, columns: Columns, unit: int) -> int | None:
        """Find the column of borrowers; raise SourceError where it is that of the unit."""
        if self.borrowers is None:
            return None
        place, _ = find_unit(columns, self.borrowers)
        if place == unit:
            raise SourceError(
                "borrowers= names the column of the unit, which has one borrower a row",
                where=f"{columns.where}, column '{columns.header(unit)}'",
                remedy="leave it out, or name the column of those who borrow in a unit",
            )
        return place

    @property
    def _unit_name(self) -> str:
        return self.unit if self.unit_as is None else self.unit_as

    def _store_query(self, path: Path, where: str) -> list[str]:
        if self.query is None or self.database is None:
            return []
        from evalkit.sources.ledger.database import store_query

        return store_query(Path(self.query), Path(self.database), path, where)

    def _declared(self, sidecar: Sidecar) -> dict[str, Any]:
        """Join the columns of the setting and of the sidecar; raise SourceError where they contradict each other."""
        found = dict(sidecar.columns)
        for key, header in self.columns.items():
            same = next((one for one in sidecar.columns if field_of(one) == field_of(key) and field_of(key)), key)
            if same in sidecar.columns and found[same] != header:
                raise SourceError(
                    f"the column of '{key}' is one in the sidecar and another in columns=",
                    where=sidecar.where,
                    remedy="find out which is right, and declare it once",
                )
            found[same] = header
        return found

    def _open(self, path: Path, where: str, declared: Mapping[str, Any], *, whole: bool = False) -> Listing:
        """Find the list; what is wrong with the file is said without what stands in its cells."""
        sought = Sought(
            header=lambda cells: is_header(cells, declared),
            units=lambda cells: any(cell.strip() for cell in cells) and all(map(is_unit, cells)),
            row=self.header,
            last=self.last,
            sheets=self.sheets,
        )
        try:
            listing = open_listing(path, where, sought, whole=whole)
        except SourceError as error:
            refusal = error
        else:
            headers = [
                join_unit(header, unit, listing.where)
                for header, unit in zip(listing.headers, listing.units, strict=True)
            ]
            return replace(listing, headers=tuple(headers))
        shown = re.sub(
            r"(['\"])(.*?)\1",
            lambda found: (
                found[0] if found[2] in self.sheets or field_of(found[2]) or "sheet" in refusal.what else "'…'"
            ),
            refusal.what,
            flags=re.DOTALL,
        )
        shown = re.sub("[0-9]{6,}", "…", shown)
        # Outside the handler, so that no traceback shows the first message.
        raise SourceError(shown, where=refusal.where, remedy=refusal.remedy)

    def _check(self, columns: Columns, sidecar: Sidecar) -> None:
        """Raise SourceError where the ledger lacks a column that is needed, or a unit is declared for none."""
        needed = [columns.headers[columns.require(name)] for name in ("disbursement_date", "principal")]
        if any(read_number(one) is not None or read_day(one, self.dates)[0] is not None for one in needed):
            raise SourceError(
                "the row of the header holds a loan, and not the names of the columns",
                where=columns.where,
                remedy="write a row with their names above the first loan, and declare them by columns=",
            )
        twice = [header for header in columns.headers if header and columns.headers.count(header) > 1]
        if twice and any(field_of(header) for header in twice):
            raise SourceError(
                f"two columns are both called '{next(one for one in twice if field_of(one))}'",
                where=columns.where,
                remedy="rename one of them",
            )
        check_declared(columns, sidecar.units, sidecar.where, "[units]")
        check_declared(columns, self.units, columns.where, "units=")
        spreads = columns.all("rate_spread")
        if spreads and columns.one("contract_rate") is None and self.benchmark is None:
            raise SourceError(
                f"column '{columns.header(spreads[0])}' gives a spread, and no column the rate",
                where=columns.where,
                remedy='name the base rate that it is added to, benchmark="lpr"; or add the contract rate, 合同利率(%); '
                'columns={"rate_spread": ""} reads the ledger without rates',
            )

    def _used(self, columns: Columns, unit: int) -> list[int]:
        """Return the places of the columns that are read."""
        several = ("purpose", "loan_form", "refinancing_flag", "loan_id")
        found = [unit]
        for name in _FIELDS:
            if name in several and (name != "loan_id" or "loan_id" in columns.declared):
                found += columns.all(name)
            elif (at := columns.one(name)) is not None:
                found.append(at)
        if self._adds_points(columns):
            found.append(columns.require("rate_spread"))
        return list(dict.fromkeys(found))

    def _adds_points(self, columns: Columns) -> bool:
        """Tell whether rates are made of a base rate and the points that the ledger gives."""
        return self.benchmark is not None and columns.one("contract_rate") is None

    def _wanted(self, columns: Columns, unit: int, sidecar: Sidecar) -> Wanted:
        gaps = frozenset(name for one in self.leave_out if isinstance(one, str) and (name := field_of(one)) in _GAPS)
        return Wanted(
            columns,
            unit,
            (sidecar.units, self.units),
            self.purpose,
            self.dates,
            self.currency or "CNY",
            bool(self.currency),
            self.cancelled,
            self.amounts,
            gaps,
        )

    def _leave_out(self, store: Store, below: Mapping[int, Sequence[str]]) -> set[int]:
        """Return the numbers of the rows that are not looked at; raise SourceError on one that is named and is not there."""
        found = set(below)
        for one in self.leave_out:
            if isinstance(one, str) and "!" not in one:
                continue
            row = store.listing.number(one)
            if row is None or (row not in below and not store.rows(f"row = {row}")[1]):
                raise SourceError(
                    f"leave_out= names row {one}, which is no row of the data",
                    where=store.where,
                    remedy='write the numbers of rows as errors name them; of several sheets as "sheet!row"',
                )
            found.add(row)
        return found

    def _read_units(self, store: Store, unit: int, kind: str, path: Path) -> tuple[UnitCells, bool]:
        """Read the units; tell whether pseudonyms stand in their place. Raises SourceError for persons without a key."""
        header = store.header(unit)
        keys = store.find_keys(unit)
        written = write_cells(keys)

        def refuse(marked: NDArray[np.bool_], what: str, remedy: str) -> None:
            if marked.any():
                store.refuse_keys(
                    unit, keys.filter(pa.array(marked)), what, remedy, "row not in (select row from omitted)"
                )

        documents = 0 if field_of(header) == "id_number" else None
        shorn = shorn_of_zeros(written) if documents is None else Shorn()
        if shorn.pairs and self.unit_kind != "code":
            twice = np.zeros(len(keys), dtype=bool)
            twice[[at for pair in shorn.pairs for at in pair]] = True
            refuse(
                twice,
                "units differ by leading zeros only: the same one with them and without, as Excel takes them away",
                'store the column as text and export it again; if these are different units, say unit_kind="code"',
            )
        if shorn.shorter:
            store.noted.append(
                f"{shorn.shorter} units have fewer digits than the {shorn.length} of the others: leading zeros may have been lost"
            )
        replaced = kind == "identifier" or self.unit_kind == "person"
        if not replaced:
            judged = judge_unit(pc.unique(pc.drop_null(written)), header)
            if judged is not None and (judged.certain or self.unit_kind != "code"):
                if self.key_file is None:
                    raise _refuse_persons(header, store.where, judged.kind, certain=judged.certain)
                replaced, documents = True, _LEAST_DOCUMENT if "citizen" in judged.kind else None
            elif kind == "personal" and self.unit_kind != "code":
                if self.key_file is None:
                    raise _refuse_persons(header, store.where, "what its header calls persons", certain=False)
                replaced = True
        if replaced:
            return replace_units(keys, read_key(self.key_file, path, header), refuse, documents=documents), True
        return read_codes(keys, refuse), False

    def _note_columns(self, columns: Columns, unit: int, used: Collection[int], *, pseudonyms: bool) -> list[str]:
        """Say which column was read as which field, and which were not used."""
        said = [f"'{columns.header(unit)}' as {'the unit (replaced by pseudonyms)' if pseudonyms else 'the unit'}"]
        said += [
            f"'{columns.header(at)}' as {words(name)}" for name in _FIELDS for at in columns.all(name) if at != unit
        ]
        if self._adds_points(columns):
            said.append(f"'{columns.header(columns.require('rate_spread'))}' as points on top of the base rate")
        others = [columns.header(at) for at in range(len(columns.headers)) if at not in used]
        return [f"read {', '.join(said)}", *([f"columns that were not used: {', '.join(others)}"] if others else [])]

    def _frame(self, sums: LoanSums, names: Any, listing: Listing, *, rates: bool) -> pd.DataFrame:
        """Put the sums into a frame, amounts in the currency and rates in % a year."""
        unit = names[sums.unit] if isinstance(names, np.ndarray) else names.take(sums.unit)
        top, bottom = sums.money
        columns: dict[str, Any] = {self._unit_name: unit, self.time: sums.year, "loans": sums.counts["loans"]}
        if "borrowers" in sums.counts:
            columns["borrowers"] = sums.counts["borrowers"]
        columns["principal"] = _divide(sums.sums["principal"], top, bottom)
        if rates:
            columns["rate"] = _ratio(sums.sums["weighted"], sums.sums.get("rated", sums.sums["principal"]), *sums.rate)
        if "based" in sums.sums:
            columns["spread"] = _spread(sums)
        for name in ("green", "purpose"):
            if f"{name}_loans" in sums.counts:
                columns[f"{name}_loans"] = sums.counts[f"{name}_loans"]
                columns[f"{name}_principal"] = _divide(sums.sums[f"{name}_principal"], top, bottom)
        labels = [listing.label(row) for row in sums.row.tolist()] if listing.sheets else sums.row
        index = pd.Index(labels, name="row", dtype="str" if listing.sheets else "int64")
        return pd.DataFrame(
            {name: pd.Series(one, index=index, copy=False) for name, one in columns.items()}, copy=False
        )


def _choose_memory(listing: Listing) -> str:
    """Give DuckDB about what the file holds, and 1 GB at most; groups beyond that are spilled."""
    size = listing.size * (4 if listing.parquet is not None else 1)
    return f"{min(max(size // 1_000_000, _LEAST_MEMORY), 1_000)}MB"


def _refuse_persons(header: str, where: str, kind: str, *, certain: bool) -> SourceError:
    seems = "holds" if certain else "seems to hold"
    remedy = (
        f"give a key, under which pseudonyms take their place: {MAKE_KEY}, keep it outside data/ and out of version control, and "
        'give key_file="study.key"; or name another column as unit='
    )
    if not certain:
        remedy += '; if they are codes of nobody, say unit_kind="code"'
    return SourceError(
        f"the column {seems} {kind}, which are never used as they are",
        where=f"{where}, column '{header}'",
        remedy=remedy,
    )


def _find_below(listing: Listing, columns: Columns, unit: int) -> tuple[dict[int, list[str]], list[str]]:
    """Find the rows below the table: totals and notes, in whatever words; say which they are, and not what they say."""
    day, principal = columns.require("disbursement_date"), columns.require("principal")
    number = columns.all("loan_id")
    below: dict[int, list[str]] = {}
    totals = []
    ended: set[int] = set()  # of several sheets, those whose last record was found
    for row, cells in reversed(listing.tail):
        sheet = row // SHEET if listing.sheets else 0
        if sheet in ended:
            continue
        filled = [cell for cell in cells if cell]
        is_sum = any(is_total(cell) for cell in filled)
        has_day = bool(cells[day]) and any(
            read_day(cells[day], form)[0] is not None for form in ("", "dmy", "mdy", "yymmdd", "days1960")
        )
        has_amount = read_number(cells[principal]) is not None
        named = bool(cells[unit]) or any(cells[at] for at in number)
        # A loan may be for what is called a total: what names it must not be called so.
        is_loan = has_day and bool(cells[principal]) and bool(cells[unit])
        is_sum = is_sum and not (is_loan and not any(is_total(cells[at]) for at in (unit, *number)))
        is_note = not has_day and (not has_amount or not named) and len(filled) <= max(2, len(cells) // 3)
        if not (is_sum or is_note or (not has_day and not named)):
            ended.add(sheet)
            continue
        below[row] = cells
        if is_sum:
            totals.append(row)
    if not below or len(below) == len(listing.tail):
        return {}, []
    said = [listing.label(row) for row in sorted(below)]
    plural = len(said) > 1
    kinds = "totals and notes" if totals and len(totals) < len(below) else "totals" if totals else "notes"
    listed = ", ".join(map(str, said))
    return below, [
        f"row{'s' if plural else ''} {listed} below the table ({kinds}) {'were' if plural else 'was'} left out"
    ]


def _compare_totals(listing: Listing, columns: Columns, below: Mapping[int, Sequence[str]], loans: Loans) -> list[str]:
    """Compare a total below the table with the sum of its rows."""
    place = columns.require("principal")
    said = []
    for row, cells in sorted(below.items()):
        number = read_number(cells[place])
        if number is None or not any(is_total(cell) for cell in cells if cell):
            continue
        total = loans.total(row // SHEET * SHEET if listing.sheets else 0, row)
        label = listing.label(row)
        if number == total:
            said.append(f"the total in row {label} is the sum of the rows above")
        else:
            said.append(
                f"the total in row {label} is not the sum of the rows above, which is {_plain(total)} and differs "
                f"by {_plain(number - total)}"
            )
    return said


def _plain(number: Decimal) -> str:
    return f"{number.normalize():f}"


def _divide(sums: NDArray[Any], top: int, bottom: int) -> NDArray[np.float64]:
    """Return sums · top / bottom, each rounded once."""
    if sums.dtype != object and len(sums) and int(np.abs(sums).max()) * top < _EXACT and bottom < _EXACT:
        return (sums * top) / np.float64(bottom)
    return np.array([int(one) * top / bottom for one in sums.tolist()], dtype=np.float64)


def _ratio(weighted: NDArray[Any], rated: NDArray[Any], top: int, bottom: int) -> NDArray[np.float64]:
    """Return weighted · top / (rated · bottom), each rounded once; NaN where no loan has a rate."""
    are_small = weighted.dtype != object and rated.dtype != object and len(rated) > 0
    if are_small and max(int(np.abs(weighted).max()) * top, int(rated.max()) * bottom) < _EXACT:
        with np.errstate(invalid="ignore"):
            found: NDArray[np.float64] = (weighted * top) / (rated * bottom)
        return found
    pairs = zip(weighted.tolist(), rated.tolist(), strict=True)
    return np.array([int(one) * top / (int(other) * bottom) if other else np.nan for one, other in pairs])


def _spread(sums: LoanSums) -> NDArray[np.float64]:
    """Return (weighted rates - weighted base rates) / priced amounts in percentage points, each rounded once; NaN without any."""
    top, bottom = sums.rate
    weighted, based, priced = (sums.sums[name] for name in ("priced_weighted", "based", "priced"))
    parts = ((weighted, top * sums.base), (based, bottom), (priced, bottom * sums.base))
    if all(one.dtype != object and len(one) and int(np.abs(one).max()) * times < _EXACT // 2 for one, times in parts):
        return _ratio(weighted * (top * sums.base) - based * bottom, priced, 1, bottom * sums.base)
    triples = zip(weighted.tolist(), based.tolist(), priced.tolist(), strict=True)
    return np.array(
        [
            (int(one) * top * sums.base - int(base) * bottom) / (int(amount) * bottom * sums.base) if amount else np.nan
            for one, base, amount in triples
        ],
        dtype=np.float64,
    )
