"""The loans of a ledger: which of its rows are new money, what is to be said of the others, and the sums by unit and year."""

from __future__ import annotations

import datetime as dt
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from evalkit.errors import SourceError
from evalkit.sources.ledger.fields import Columns, Unit, is_money, is_total, names_of_currency, plain, read_unit
from evalkit.sources.ledger.store import Store
from evalkit.sources.ledger.units import UnitCells
from evalkit.sources.ledger.values import (
    is_bracketed,
    is_cancelled,
    is_category,
    kind_said,
    read_days,
    read_flag,
    read_number,
    read_rates,
)
from evalkit.sources.persons import AS_TEXT, clean, is_damaged
from evalkit.tables.text_columns import MISSING

REFINANCING, EXTENSION = 1, 2
_FAR, _FARTHER = 1_000, 10_000  # times the median loan: worth a word, not believed
_OUT = "leave the rows out by leave_out=(…), with their numbers"
_PLAIN_AMOUNT = r"[+-]?[0-9]{1,15}(\.[0-9]{0,20})?"
_GROUPED_AMOUNT = r"[+-]?[0-9]{1,3}(,[0-9]{3}){1,4}(\.[0-9]{0,20})?"
# What may have to be cleaned, or may be no loan number: other letters than ASCII, blanks, marks of numbers, words
# without a digit.
_ODD = (
    "strlen({0}) <> length({0}) or contains({0}, ' ') or contains({0}, chr(9)) or contains({0}, '.') or contains({0}, '+') or "
    "contains({0}, chr(39)) or (length({0}) <= 11 and not regexp_matches({0}, '[0-9]'))"
)
_LIVE = "row in (select row from loans where skip is null)"
_SCALES = (0, 2, 4, 6)  # decimals of amounts and rates that are stored as floats
_YEARS = 10_000  # more than any year: unit and year are sorted as one number
_TWICE = (
    "keep the row of the loan as it was disbursed, and leave out the others by leave_out=; a number that is only "
    "unique together with "
    'another column is named by both: columns={"loan_id": ["…", "…"]}; where the rows are snapshots, name the '
    "column with their date: "
    'columns={"snapshot_date": "…"}'
)
_BESIDE = re.compile(r"([^0-9+-]*)([+-]?[0-9][0-9,. ]*)([^0-9]*)")
_CUT = 16  # digits from which on Excel keeps only the first 15


@dataclass(frozen=True)
class Wanted:
    """What is to be read, beside the columns: declared units, the purpose, the form of dates, the currency and whether rows in
    another are left out, further words for a loan that was not lent, the amounts that are believed, the fields whose empty cells
    leave a row out."""

    columns: Columns
    unit: int
    declared: Sequence[Mapping[str, str]]
    purpose: str | None = None
    dates: str = ""
    currency: str = "CNY"
    drops_currencies: bool = False
    cancelled: tuple[str, ...] = ()
    amounts: tuple[float, float] | None = None
    gaps: frozenset[str] = frozenset()

    @property
    def money(self) -> str:
        """Return what an amount of the currency is called."""
        return "yuan" if self.currency == "CNY" else self.currency


@dataclass(frozen=True)
class LoanSums:
    """Loans by unit and year, sorted by both: for each group the unit's place, the year, the first row, and sums by name.

    Sums of money are exact whole numbers; times the first and by the second of `money` they are in the currency.
    `weighted` sums of amount times rate are likewise, and `rate` has the numbers for % a year.
    """

    unit: NDArray[np.int64]
    year: NDArray[np.int64]
    row: NDArray[np.int64]
    counts: Mapping[str, NDArray[np.int64]]
    sums: Mapping[str, NDArray[Any]]
    money: tuple[int, int]
    rate: tuple[int, int]


@dataclass
class _Amount:
    """How a column of money is read in a query: as whole numbers of 10 ** -scale of its unit."""

    text: str
    scale: int
    unit: Unit

    def say(self, total: int | None) -> str:
        """Write a sum in the currency."""
        return f"{Decimal(total or 0).scaleb(-self.scale) * self.unit.factor:,.2f}"


class Loans:
    """The loans of one ledger, as a view `loans` over the cells of its store; `notes` says what was left out, and what
    is not told.

    Raises SourceError naming the rows that cannot be read for certain.
    """

    def __init__(self, store: Store, wanted: Wanted, units: UnitCells) -> None:
        self._store, self._wanted, self.notes = store, wanted, list[str]()
        self._is_placed = False
        self.unit_names: Any = None
        self._columns = wanted.columns
        self._joins: dict[str, str] = {}
        self._faults: list[tuple[int, NDArray[np.bool_], str, str]] = []
        self._named: dict[str, str] = {}
        self.has_rates = wanted.columns.one("contract_rate") is not None
        self.has_green = any(wanted.columns.all(name) for name in ("green_flag", "green_category"))
        self._units = units
        self._make_view(units)
        self._audit()
        self._drop_repeats()

    # --- the view ---

    def _make_view(self, units: UnitCells) -> None:
        unit = f"cells.{self._store.column(self._wanted.unit)}"
        no_unit = f"{unit} is null"
        if units.blank.any():
            self._store.lift("no_unit", {"k": units.keys.filter(pa.array(units.blank))})
            no_unit += f" or {unit} in (select k from no_unit)"
        skips = ["when cells.row in (select row from omitted) then 'omitted'"] if self._store.omits else []
        skips += self._read_currency()
        skips += self._read_states()
        day_place = self._columns.require("disbursement_date")
        day = self._read_days(day_place, "disbursement_date", whole=True)
        self._amount = self._read_amount("principal")
        for name, place in (("disbursement_date", day_place), ("principal", self._columns.require("principal"))):
            if name in self._wanted.gaps:
                text = self._filled(place)
                if self._store.kind(place) == "float":
                    text = f"(case when isfinite({text}) then {text} end)"
                blank = (
                    f" or trim({text}) = ''"
                    if self._store.kind(place) == "text" and place not in self._store.words
                    else ""
                )
                skips.append(f"when {text} is null{blank} then 'no {name}'")
        skips.append(f"when {no_unit} then 'unit'")
        parts = {
            "row": "cells.row",
            "skip": f"case {' '.join(skips)} end",
            "unit": unit,
            "day": day,
            "p": self._amount.text,
            "r": self._read_rates(),
            "kind": self._read_kinds(),
            "wanted": self._read_purpose(),
            "green": self._read_green(),
            "number": self._read_numbers(),
            "snapshot": self._read_optional_days("snapshot_date"),
            "maturity": self._read_optional_days("maturity_date"),
            "balance": self._read_balance(),
        }
        self._asked = [*self._one("green_flag"), *self._columns.all("refinancing_flag"), *self._columns.all("purpose")]
        parts |= {f"filled_{place}": self._filled(place) for place in self._asked}
        chosen = ", ".join(f"{text} as {name}" for name, text in parts.items())
        joins = "".join(f" left join {table} on {column} = {table}.k" for table, column in self._joins.items())
        self._store.run(f"create or replace temp view loans as select {chosen} from cells{joins}")
        for place, marked, what, remedy in self._faults:
            self._store.refuse_cells(place, marked, what, remedy, among=_LIVE)

    def _join(self, place: int, values: Sequence[Any] | NDArray[Any], kind: pa.DataType, name: str) -> str:
        """Join what each distinct cell of a column means; return how the view names it."""
        keys, _ = self._store.distinct(place)
        self._store.lift(name, {"k": keys, "v": pa.array(values, kind)})
        self._joins[name] = f"cells.{self._store.column(place)}"
        return f"{name}.v"

    def _filled(self, place: int) -> str:
        """Name a column as it is stored; what is blank in Parquet is told apart where its cells are looked at one by one."""
        return f"cells.{self._store.column(place)}"

    def _fault(self, place: int, texts: Sequence[str], wrong: Iterable[str], what: str, remedy: str) -> None:
        bad = frozenset(wrong)
        marked = np.fromiter((text in bad for text in texts), bool, len(texts))
        if marked.any():
            self._faults.append((place, marked, what, remedy))

    def _read_currency(self) -> list[str]:
        place = self._columns.one("currency")
        if place is None:
            return []
        known = names_of_currency(self._wanted.currency)
        _, texts = self._store.distinct(place)
        others = np.array([plain(text) not in known for text in texts], dtype=bool)
        header = self._columns.header(place)
        if not texts:
            self.notes.append(f"'{header}' is empty: all amounts were taken for {self._wanted.money}")
            return []
        said = "the yuan (CNY, RMB, 人民币, 156, 001)" if self._wanted.currency == "CNY" else self._wanted.currency
        what, remedy = f"the currency is not {said}", 'nothing is converted: leave these rows out by currency="CNY"'
        if self._wanted.drops_currencies:
            remedy = "correct the currency of the row, or leave the row out by leave_out="
        empty = f"{self._store.column(place)} is null and row not in (select row from omitted)"
        self._store.refuse(empty, header, f"{what}: the cell is empty", remedy)
        if not others.any():
            return []
        if not self._wanted.drops_currencies:
            named = sorted(
                {text.upper() for text, other in zip(texts, others, strict=True) if other and len(text) <= 4}
            )
            also = (
                f'; or evaluate those in {named[0]} alone: currency="{named[0]}"'
                if len(named) == 1 and named[0].isalpha()
                else ""
            )
            self._store.refuse_cells(place, others, what, remedy + also, among="row not in (select row from omitted)")
            return []
        self._named["currency"] = f"are in another currency than {self._wanted.money} ('{header}')"
        return [f"when {self._join(place, others, pa.bool_(), 'of_currency')} then 'currency'"]

    def _read_states(self) -> list[str]:
        """Find the loans that were not lent, or went back at once."""
        skips = []
        for name in ("status", "reversal_flag"):
            place = self._columns.one(name)
            if place is None:
                continue
            _, texts = self._store.distinct(place)
            header = self._columns.header(place)
            if name == "status":
                gone = [is_cancelled(text, self._wanted.cancelled) for text in texts]
            else:
                flags = [read_flag(text) for text in texts]
                gone = [
                    bool(flag) or (flag is None and is_cancelled(text, self._wanted.cancelled))
                    for flag, text in zip(flags, texts, strict=True)
                ]
            if any(gone):
                self._named[f"gone {name}"] = f"were cancelled or reversed (撤销, 冲正; '{header}')"
                skips.append(f"when {self._join(place, gone, pa.bool_(), f'of_{name}')} then 'gone {name}'")
            elif name == "status":
                self.notes.append(
                    f"no word in '{header}' is known to say that a loan was cancelled (撤销, 冲正, …): all count; "
                    "others are named by "
                    "cancelled="
                )
        return skips

    def _read_days(self, place: int, name: str, *, whole: bool) -> str:
        """Return the day of each row; of a `whole` field every cell must be a date."""
        column = f"cells.{self._store.column(place)}"
        if self._store.kind(place) == "day":
            return f"case when year({column}) between 1901 and 2064 then {column} end"
        _, texts = self._store.distinct(place)
        found = read_days(texts, self._wanted.dates)
        header = self._columns.header(place)
        if whole:
            self._fault(place, texts, found.wrong, found.fault, found.remedy)
            if found.months:
                self.notes.append(f"'{header}' names months, and not days")
        elif found.wrong:
            self.notes.append(f"cells of '{header}' that are no dates were not looked at")
        days = [found.days[text] for text in texts]
        return self._join(place, days, pa.date32(), f"of_{name}")

    def _read_optional_days(self, name: str) -> str:
        place = self._columns.one(name)
        return "null::date" if place is None else self._read_days(place, name, whole=False)

    def _read_amount(self, name: str) -> _Amount:
        """Find how the amounts of a column are written, and to how many decimals."""
        place = self._columns.require(name)
        unit = read_unit(self._columns, name, place, self._wanted.declared, self._wanted.currency)
        column, kind = self._filled(place), self._store.kind(place)
        if kind == "whole":
            return _Amount(column, 0, unit)
        if kind == "float" and (found := self._scale_floats(column)) is not None:
            return _Amount(*found, unit)
        text = self._filled(place) if kind == "text" else f"{column}::varchar"
        tidy = (
            f"case when regexp_full_match({text}, '{_PLAIN_AMOUNT}') then {text} when regexp_full_match({text}, "
            f"'{_GROUPED_AMOUNT}') "
            f"then replace({text}, ',', '') end"
        )
        query = (
            "select count(t) - count(u) as odd, count(*) filter (where u <> t) as grouped, max(length(u)) as longest, "
            "max(case when contains(u, '.') then length(u) - strpos(u, '.') else 0 end) as scale"
        )
        sizes = self._store.ask(f"{query} from (select {text} as t, {tidy} as u from cells)").to_pylist()[0]
        if not sizes["odd"] and not sizes["grouped"]:
            tidy = text
        if sizes["odd"]:
            odd = self._store.ask(
                f"select distinct {text} as t from cells where {text} is not null and ({tidy}) is null"
            )
            exact, currency = kind == "float", self._wanted.currency
            texts = odd.column("t").to_pylist()
            read = {one: _read_amount(one, unit, currency, exact=exact) for one in texts}
            table = f"odd_{name}"
            self._store.lift(table, {"k": pa.array(list(read), pa.string()), "v": pa.array(read.values(), pa.string())})
            self._joins[table] = text
            tidy = f"coalesce({tidy}, {table}.v)"
            joined = f"select {text} as t, {tidy} as u from cells left join {table} on {text} = {table}.k"
            sizes = self._store.ask(f"{query} from ({joined})").to_pylist()[0]
        scale, longest = sizes["scale"] or 0, sizes["longest"] or 0
        if longest + scale <= 17:
            return _Amount(f"cast(cast({tidy} as decimal(18, {scale})) * {10**scale} as bigint)", scale, unit)
        whole = f"split_part({tidy}, '.', 1) || rpad(split_part({tidy}, '.', 2), {scale}, '0')"
        return _Amount(f"cast({whole} as hugeint)", scale, unit)

    def _scale_floats(self, column: str) -> tuple[str, int] | None:
        """Write decimals that are stored as floats as whole numbers, and to how many decimals; None where they have too many."""
        number = f"(case when isfinite({column}) then {column} end)"
        tests = ", ".join(
            f"bool_and({number} = round({number} * 1e{scale}) / 1e{scale} and abs({number}) < 1e{15 - scale}) as s{scale}"
            for scale in _SCALES
        )
        fits = self._store.ask(f"select {tests} from cells").to_pylist()[0]
        scale = next((scale for scale in _SCALES if fits[f"s{scale}"] is not False), None)
        return None if scale is None else (f"cast(round({number} * 1e{scale}) as bigint)", scale)

    def _read_balance(self) -> str:
        """Return the balance in the unit and scale of the principal, as near as a float64 holds it."""
        place = self._columns.one("balance")
        if place is None:
            return "null::double"
        try:
            balance = self._read_amount("balance")
        except SourceError:
            self.notes.append(f"'{self._columns.header(place)}' has no unit, and was not compared with the principal")
            return "null::double"
        ratio = balance.unit.factor / self._amount.unit.factor * Decimal(10) ** (self._amount.scale - balance.scale)
        return f"({balance.text})::double * {float(ratio)!r}"

    def _read_rates(self) -> str:
        place = self._columns.one("contract_rate")
        self.rate_scale, self._rate_factor = 0, Decimal(1)
        if place is None:
            return "null::bigint"
        _, texts = self._store.distinct(place)
        marks = {unicodedata.normalize("NFKC", text.rstrip())[-1:] for text in texts}
        marked = marks.pop() if len(marks) == 1 and marks <= {"%", "‰"} else ""
        unit = read_unit(
            self._columns, "contract_rate", place, self._wanted.declared, self._wanted.currency, bare=marked
        )
        if any("%" in text or "\uff05" in text for text in texts) and unit.mark != "%":
            header = self._columns.header(place)
            signs = [text.rstrip().endswith(("%", "\uff05")) for text in texts]
            what = "the cell has a % behind its number, and the unit of the column is another"
            self._store.refuse_cells(
                place, signs, what, f"find out which is right: the header '{header}', units= or the cells"
            )
        found = read_rates(texts, unit)
        remedy = 'declare the unit that is right by units={"rate": …}; leave the rows out by leave_out= where a cell is wrong'
        for what, wrong in found.wrong.items():
            self._fault(place, texts, wrong, what, remedy)
        if self._store.kind(place) == "float" and (native := self._scale_floats(self._filled(place))) is not None:
            self.rate_scale, self._rate_factor = native[1], unit.factor
            return native[0]
        rates = [found.rates.get(text) for text in texts]
        self.rate_scale = max(
            (max(0, -int(rate.normalize().as_tuple().exponent)) for rate in rates if rate is not None), default=0
        )
        scaled = [None if rate is None else int(rate.scaleb(self.rate_scale)) for rate in rates]
        small = all(one is None or abs(one) < 2**62 for one in scaled)
        joined = self._join(
            place,
            scaled if small else [one and Decimal(one) for one in scaled],
            pa.int64() if small else pa.decimal128(38, 0),
            "of_rate",
        )
        return joined if small else f"{joined}::hugeint"

    def _flags(self, place: int, name: str) -> tuple[list[bool], str]:
        """Read a column of yes and no; an empty cell is no, as banks mark only the exceptions."""
        _, texts = self._store.distinct(place)
        flags = [read_flag(text) for text in texts]
        wrong = [text for text, flag in zip(texts, flags, strict=True) if flag is None]
        self._fault(place, texts, wrong, "the cell is neither yes nor no", "write 是 or 否, 1 or 0, Y or N, √ or ×")
        return [bool(flag) for flag in flags], name

    def _read_kinds(self) -> str:
        """Tell from purpose, form and flags what kind of loan each row is: 0 for a new one."""
        refinances, extends = list[str](), list[str]()
        for name in ("purpose", "loan_form"):
            for place in self._columns.all(name):
                _, texts = self._store.distinct(place)
                said = [kind_said(text) for text in texts]
                if any(said):
                    codes = [{"": 0, "refinancing": REFINANCING, "extension": EXTENSION}[one] for one in said]
                    table = f"kind_{self._store.column(place)}"
                    value = self._join(place, codes, pa.int8(), table)
                    refinances.append(f"{value} = {REFINANCING}")
                    extends.append(f"{value} = {EXTENSION}")
        for place in self._columns.all("refinancing_flag"):
            flags, _ = self._flags(place, "refinancing_flag")
            if any(flags):
                refinances.append(self._join(place, flags, pa.bool_(), f"flag_{self._store.column(place)}"))
        extends += self._read_extensions()
        cases = [
            f"when {' or '.join(tests)} then {kind}"
            for tests, kind in ((refinances, REFINANCING), (extends, EXTENSION))
            if tests
        ]
        return f"case {' '.join(cases)} else 0 end" if cases else "0"

    def _read_extensions(self) -> list[str]:
        """Tell which rows extend another loan: those that are flagged and name it, and those that were declared to do so."""
        flag, original = self._columns.one("extension_flag"), self._columns.one("original_loan_id")
        declared = [name for name in ("extension_flag", "original_loan_id") if name in self._columns.declared]
        named = "false" if original is None else f"{self._filled(original)} is not null"
        flagged = "false"
        if flag is not None:
            flags, _ = self._flags(flag, "extension_flag")
            flagged = (
                "false" if not any(flags) else f"coalesce({self._join(flag, flags, pa.bool_(), 'of_extension')}, false)"
            )
        if flag is None and original is None:
            return []
        if "extension_flag" in declared and flag is not None:
            return [flagged]
        if "original_loan_id" in declared and original is not None:
            return [named]
        joins = "".join(f" left join {table} on {column} = {table}.k" for table, column in self._joins.items())
        header = self._columns.header(flag if flag is not None else original or 0)
        for test, name, place, what in (
            (
                f"{flagged} and not {named}",
                "extension_flag",
                flag,
                "the flag is set: the row may extend a loan and lend nothing new (展期), or say of a loan that it "
                "was or may be extended",
            ),
            (
                f"{named} and not {flagged}",
                "original_loan_id",
                original,
                "the row names an earlier loan: it may extend or refinance it and lend nothing new, or not",
            ),
        ):
            if place is None:
                continue
            header = self._columns.header(place)
            remedy = (
                f'say which: columns={{"{name}": "{header}"}} leaves these rows out as extensions, '
                f'columns={{"{name}": ""}} counts them '
                "as new loans"
            )
            inner = f"(select cells.row as row from cells{joins} where ({test}) and cells.row not in (select row from omitted))"
            self._store.refuse("true", header, what, remedy, of=inner)
        return [f"{flagged} and {named}"]

    def _read_purpose(self) -> str:
        if self._wanted.purpose is None:
            return "false"
        place = self._columns.require("purpose")
        _, texts = self._store.distinct(place)
        sought = plain(self._wanted.purpose)
        return (
            f"coalesce({self._join(place, [sought in plain(text) for text in texts], pa.bool_(), 'of_purpose')}, false)"
        )

    def _read_green(self) -> str:
        """Tell which loans are green: by the flag, or where there is none, by having a category of green use."""
        flag, category = self._columns.one("green_flag"), self._columns.one("green_category")
        if flag is not None:
            flags, _ = self._flags(flag, "green_flag")
            return f"coalesce({self._join(flag, flags, pa.bool_(), 'of_green')}, false)"
        if category is not None:
            _, texts = self._store.distinct(category)
            return (
                f"coalesce({self._join(category, [is_category(one) for one in texts], pa.bool_(), 'of_green')}, false)"
            )
        return "false"

    def _read_numbers(self) -> str:
        """Return the number of each loan, in one spelling; the parts of one that stands in several columns together."""
        parts = []
        for i, place in enumerate(
            self._columns.all("loan_id") if "loan_id" in self._columns.declared else self._one("loan_id")
        ):
            text = self._filled(place)
            if self._store.kind(place) == "float":
                whole = f"{text} = round({text}) and abs({text}) < 1e15"
                text = f"case when {whole} then {text}::bigint::varchar else {text}::varchar end"
            elif self._store.kind(place) != "text":
                text = f"{text}::varchar"
            odd = (
                self._store.ask(f"select distinct {text} as t from cells where {_ODD.format(text)}")
                .column("t")
                .to_pylist()
            )
            header = self._columns.header(place)
            for test, what, remedy in (
                (
                    lambda one: is_damaged(clean(one)),
                    "the id was turned into a number, and its digits may be lost",
                    AS_TEXT,
                ),
                (is_total, "the row holds a total, not a loan", _OUT),
            ):
                if bad := [one for one in odd if test(one)]:
                    self._store.lift("marked", {"k": pa.array(bad, pa.string())})
                    rows = f"{text} in (select k from marked) and row not in (select row from omitted)"
                    self._store.refuse(rows, header, what, remedy)
            if odd:
                table = f"odd_number_{i}"
                self._store.lift(
                    table,
                    {"k": pa.array(odd, pa.string()), "v": pa.array([clean(one) or None for one in odd], pa.string())},
                )
                self._joins[table] = text
                text = f"case when {table}.k is not null then {table}.v else {text} end"
            parts.append(text)
        return f"({' || chr(31) || '.join(parts)})" if parts else "null::varchar"

    def _one(self, name: str) -> list[int]:
        place = self._columns.one(name)
        return [] if place is None else [place]

    # --- what is wrong or worth a word ---

    def _audit(self) -> None:
        store, columns = self._store, self._columns
        day, principal = columns.require("disbursement_date"), columns.require("principal")
        empty = "".join(f", count(*) - count(filled_{place}) as empty_{place}" for place in self._asked)
        found = store.ask(
            "select count(*) as n, count(*) filter (where day is null) as no_day, count(*) filter (where p is "
            "null) as no_amount, "
            "count(*) filter (where p <= 0) as not_positive, min(p) as least, max(p) as most, max(day) as "
            "last_day, max(snapshot) as "
            "last_snapshot, count(*) filter (where r is null) as no_rate, count(*) filter (where number is null) as no_number, "
            "count(*) filter (where length(number) >= 16) as long_numbers, count(distinct snapshot) as snapshots, "
            f"count(maturity) as maturities, count(balance) as balances{empty} from loans where skip is null"
        ).to_pylist()[0]
        self._empty = {place: int(found[f"empty_{place}"]) for place in self._asked}
        live = "skip is null"
        if not found["n"]:
            query = "select skip, count(*) as n from loans group by skip order by n desc, skip limit 1"
            skipped = store.ask(query).to_pylist()
            if skipped and skipped[0]["skip"] == "currency":
                raise SourceError(
                    f"no loan is in {self._wanted.money}",
                    where=f"{store.where}, column '{columns.header(columns.require('currency'))}'",
                    remedy="correct currency=; where the column does not say in what the amounts are, leave it "
                    'out: columns={"currency": ""}',
                )
            raise SourceError(
                "no row has a unit" if not skipped or skipped[0]["skip"] == "unit" else "no row is left that counts",
                where=f"{store.where}, column '{columns.header(self._wanted.unit)}'",
                remedy="fill in the units, or name another column as unit=",
            )
        if found["no_amount"]:
            self._refuse_amounts(principal)
        if found["not_positive"]:
            remedy = f"correct the amount; where it is a repayment or a cancelled loan, {_OUT}"
            store.refuse(
                f"{live} and p <= 0",
                columns.header(principal),
                "the amount of the loan is not positive",
                remedy,
                of="loans",
            )
        if found["no_day"]:
            header, column = columns.header(day), self._filled(day).replace("cells.", "")
            remedy = 'fill it in, or leave such rows out: leave_out=("disbursement_date",)'
            store.refuse(f"{column} is null and {_LIVE}", header, "the cell is empty", remedy)
            store.refuse(
                f"{live} and day is null",
                header,
                "the cell is not a date that is understood",
                "correct the date",
                of="loans",
            )
        self._refuse_cut(found["long_numbers"])
        if found["n"] < (store.rows_read or store.count()):
            self._note_skipped()
        self._note_amounts(found["least"], found["most"])
        self._note_maturity(found)
        self.unrated = int(found["no_rate"])
        self._snapshots = int(found["snapshots"])
        if columns.all("loan_id") and found["no_number"]:
            said = self._count(f"{live} and number is null")
            self.notes.append(f"{said} have no loan number and were counted, although one may stand twice")

    def _refuse_amounts(self, place: int) -> None:
        header, text = self._columns.header(place), self._filled(place).replace("cells.", "")
        remedy = 'write a plain number such as 50000; leave rows out by leave_out= ("principal" for those without one)'
        empty = f"({text} is null or not isfinite({text}))" if self._store.kind(place) == "float" else f"{text} is null"
        self._store.refuse(f"{empty} and {_LIVE}", header, "the cell is empty", remedy)
        if self._store.kind(place) == "text":
            odd = (
                self._store.ask(f"select distinct {text} as t from cells where {text} is not null")
                .column("t")
                .to_pylist()
            )
            bracketed = [one for one in odd if is_bracketed(one)]
            self._store.lift("marked", {"k": pa.array(bracketed, pa.string())})
            what = "the amount stands in brackets, as accountants write a negative one: a repayment or a reversal"
            self._store.refuse(f"{text} in (select k from marked) and {_LIVE}", header, what, _OUT)
        self._store.refuse("skip is null and p is null", header, "the cell is not a plain number", remedy, of="loans")

    def _refuse_cut(self, long: int) -> None:
        """Raise SourceError where all long loan numbers end in zeros, which is what Excel leaves of them."""
        if not long:
            return
        found = self._store.ask(
            "select count(*) filter (where regexp_full_match(number, '[0-9]{16,}')) as long, count(*) filter (where "
            "regexp_full_match(number, '[0-9]{15}0+')) as cut, max(length(number)) as size from loans where skip is null and "
            f"length(number) >= {_CUT}"
        ).to_pylist()[0]
        if found["long"] and found["long"] == found["cut"] and found["long"] * (found["size"] - 15) >= 3:
            place = self._columns.all("loan_id")[0]
            what = "all long ids end in zeros: Excel has kept only their first 15 digits"
            self._store.refuse(
                f"skip is null and length(number) >= {_CUT}", self._columns.header(place), what, AS_TEXT, of="loans"
            )

    def _count(self, condition: str) -> str:
        """Say for how many rows something holds, and how much money they are."""
        found = self._store.ask(f"select count(*) as n, sum(p)::varchar as p from loans where {condition}").to_pylist()[
            0
        ]
        return f"{found['n']} rows ({self._amount.say(int(found['p'] or 0))} {self._wanted.money})"

    def _note_skipped(self) -> None:
        found = self._store.ask(
            "select skip, count(*) as n, sum(p)::varchar as p from loans where skip is not null and skip <> "
            "'omitted' group by skip order by skip"
        ).to_pylist()
        named = {
            "unit": "have no unit and were left out",
            **{key: f"{said} and were left out" for key, said in self._named.items()},
        }
        for one in found:
            said = named.get(one["skip"]) or f"have {one['skip'].replace('_', ' ')} and were left out (leave_out=)"
            self.notes.append(f"{one['n']} rows ({self._amount.say(int(one['p'] or 0))} {self._wanted.money}) {said}")

    def _note_amounts(self, least: int, most: int) -> None:
        """Compare the amounts with their median: one of 10,000 times as much is yuan among ten thousands of yuan."""
        columns, store = self._columns, self._store
        header = columns.header(columns.require("principal"))
        per = Decimal(self._amount.unit.factor).scaleb(-self._amount.scale)
        if self._wanted.amounts is not None:
            low, high = (Decimal(repr(float(one))) / per for one in self._wanted.amounts)
            condition = f"skip is null and (p < {low:f} or p > {high:f})"
            what = "the amount lies outside of amounts=, which are believed"
            store.refuse(condition, header, what, "correct the amount, or the bounds; " + _OUT, of="loans")
            return
        if not least or most < least * _FAR:
            return
        median = int(
            store.ask("select quantile_disc(p, 0.5)::varchar as m from loans where skip is null").column("m")[0].as_py()
        )
        sides = (
            (f"p >= {median}::hugeint * {{times}}", "{times:,} times the median loan or more", "in a column of 万元"),
            (
                f"p::hugeint * {{times}} <= {median}",
                "less than {times:,}th of the median loan",
                "万元 in a column of yuan",
            ),
        )
        for test, said, _ in sides:
            condition = f"skip is null and {test.format(times=_FARTHER)}"
            believed = f"{float(least * per):g}, {float(most * per):g}"
            remedy = (
                "probably some amounts are in 元 and some in 万元: correct them; if they are right, say which "
                "amounts are believed, in "
                f"{self._wanted.money}: amounts=({believed})"
            )
            store.refuse(condition, header, f"the amount is {said.format(times=_FARTHER)}", remedy, of="loans")
            rows, count = store.rows(f"skip is null and {test.format(times=_FAR)}", of="loans")
            if count:
                self.notes.append(f"{store.say(rows, count)}: the amount is {said.format(times=_FAR)}")

    def _note_maturity(self, found: Mapping[str, Any]) -> None:
        """Refuse loans that fall due before they were lent; say which balances are above the loan, or stand after its end."""
        store, columns = self._store, self._columns
        if found["maturities"]:
            header = columns.header(columns.require("maturity_date"))
            what = "the loan falls due before it was lent, so that one of the two dates is wrong"
            remedy = f'correct the dates; {_OUT}; or do not look at this column: columns={{"maturity_date": ""}}'
            store.refuse("skip is null and maturity < day", header, what, remedy, of="loans")
        if found["balances"]:
            header = columns.header(columns.require("balance"))
            rows, count = store.rows("skip is null and balance > p * (1 + 1e-9)", of="loans")
            if count:
                self.notes.append(
                    f"{store.say(rows, count)}: '{header}' is above the amount of the loan; it was not used"
                )
        if found["balances"] and found["maturities"]:
            last: dt.date = found["last_snapshot"] or found["last_day"]
            rows, count = store.rows(
                f"skip is null and balance > 0 and maturity < date '{last.isoformat()}'", of="loans"
            )
            if count:
                self.notes.append(
                    f"{count} loans fell due before {last.isoformat()}, and are not repaid: overdue, or extended "
                    "under another number"
                )

    # --- loans that stand twice ---

    def _drop_repeats(self) -> None:
        """Keep one row of each loan number; raise SourceError naming two rows of one that say different things."""
        self._kept = "skip is null"
        again = self._find_again()
        if len(again):
            self.place_units()
            self._store.lift("again", {"h": pa.array(again, pa.uint64())})
            self._store.run(
                "create or replace temp table repeats as select placed.*, count(*) over (partition by number) as "
                "times from placed semi join "
                "again on hash(placed.number) = again.h where skip is null and number is not null"
            )
            self._store.run("delete from repeats where times = 1")
            by_snapshot = self._snapshots > 1
            self._refuse_different(by_snapshot=by_snapshot)
            order = "snapshot, row" if by_snapshot else f"kind = {EXTENSION}, row"
            self._store.run(
                "create or replace temp table dropped as select row from (select row, row_number() over "
                f"(partition by number order by {order}) "
                "as place from repeats) where place > 1"
            )
            self._kept = "skip is null and row not in (select row from dropped)"
            said = self._count("row in (select row from dropped)")
            if by_snapshot:
                header = self._columns.header(self._columns.require("snapshot_date"))
                self.notes.append(
                    f"{said} repeat a loan at a later '{header}': each loan counts once, as in its first snapshot"
                )
            else:
                self.notes.append(f"{said} repeat a loan, as extensions do, and were not counted again")
        elif self._snapshots > 1 and not self._columns.all("loan_id"):
            place = self._columns.require("snapshot_date")
            raise SourceError(
                f"'{self._columns.header(place)}' has {self._snapshots} dates, and no column the loan number: a "
                "loan may stand in several "
                "snapshots",
                where=self._store.where,
                remedy='name the loan number: columns={"loan_id": "…"}, or give one snapshot; '
                'columns={"snapshot_date": ""} counts every '
                "row as a loan",
            )
        counts = (
            self._store.ask(
                f"select kind, count(*) as n, sum(p)::varchar as p from loans where {self._kept} group by kind"
            ).to_pylist()
            if self._has_kinds()
            else []
        )
        sums = {one["kind"]: one for one in counts}
        for kind, said in ((REFINANCING, "refinance a loan (借新还旧, 续贷)"), (EXTENSION, "extend a loan (展期)")):
            if kind in sums:
                amount = self._amount.say(int(sums[kind]["p"]))
                self.notes.append(f"{sums[kind]['n']} rows ({amount} {self._wanted.money}) {said} and were left out")
        if counts and 0 not in sums:
            raise SourceError(
                "every loan is a refinancing or an extension",
                where=self._store.where,
                remedy="give a ledger that has new loans",
            )
        self._note_empty()

    def _has_kinds(self) -> bool:
        return any(name.startswith(("kind_", "flag_", "of_extension")) for name in self._joins) or bool(
            self._columns.all("original_loan_id")
        )

    def _find_again(self) -> NDArray[np.uint64]:
        """Return the hashes of loan numbers that more than one row has."""
        if not self._columns.all("loan_id"):
            return np.array([], dtype=np.uint64)
        parts = self._store.stream("select hash(number) as h from loans where skip is null and number is not null")
        hashes = np.concatenate([part.column(0).to_numpy() for part in parts] or [np.array([], dtype=np.uint64)])
        hashes.sort()
        return np.unique(hashes[1:][hashes[1:] == hashes[:-1]])

    def _refuse_different(self, *, by_snapshot: bool) -> None:
        always = {"unit": "unit", "day": "day", "p": "principal"}
        others = {"r": "rate", "green": "green", "wanted": "for purpose", "kind": "kind"}

        def differ(name: str) -> str:
            return f"(min({name}) is distinct from max({name}) or count({name}) not in (0, count(*)))"

        strict = " or ".join(map(differ, always))
        loose = (
            "false" if by_snapshot else f"(not bool_or(kind = {EXTENSION}) and ({' or '.join(map(differ, others))}))"
        )
        bad = self._store.ask(
            f"select min(row) as first from repeats group by number having {strict} or {loose} order by first limit 1"
        ).column("first")
        if not len(bad):
            return
        fields = {**always, **others}
        rows = self._store.ask(
            f"select row, {', '.join(fields)} from repeats where number = (select number from repeats where row = "
            f"{bad[0].as_py()}) order by row"
        ).to_pylist()
        first = rows[0]
        for row in rows[1:]:
            extended = by_snapshot or EXTENSION in (first["kind"], row["kind"])
            compared = always if extended else fields
            differing = [said for name, said in compared.items() if row[name] != first[name]]
            if differing:
                header = self._columns.header(self._columns.all("loan_id")[0])
                rows_said = " and ".join(str(self._store.listing.label(one["row"])) for one in (first, row))
                raise SourceError(
                    f"the same loan number stands twice with another {', '.join(differing)}",
                    where=f"{self._store.where}, column '{header}', rows {rows_said}",
                    remedy=_TWICE,
                )

    def _note_empty(self) -> None:
        """Say what the ledger does not tell: flags that are empty, refinancing, green loans, loan numbers."""
        columns = self._columns
        for place in [*self._one("green_flag"), *columns.all("refinancing_flag")]:
            if empty := self._empty[place]:
                self.notes.append(f"{empty} rows with an empty '{columns.header(place)}' count as no")
        for place in columns.all("purpose"):
            if empty := self._empty[place]:
                self.notes.append(f"{empty} rows do not say '{columns.header(place)}'")
        if not any(columns.all(name) for name in ("purpose", "loan_form", "refinancing_flag")):
            self.notes.append("no column tells refinancing (借新还旧, 续贷) from new loans")
        if not columns.all("loan_id"):
            self.notes.append("there is no loan number (借据号), so that it cannot be told whether a loan stands twice")
        if not self.has_green:
            self.notes.append("there is no green flag (绿色贷款标识)")
        if self.has_rates and self.unrated:
            self.notes.append(f"{self.unrated} loans have no rate; the rate is that of the others")
        if not self.has_rates:
            self.notes.append("there is no contract rate (合同利率)")

    # --- sums ---

    def total(self) -> Decimal:
        """Return the sum of the amounts of all rows, in the unit of the column."""
        found = (
            self._store.ask("select sum(p)::varchar as p from loans where skip is distinct from 'omitted'")
            .column("p")[0]
            .as_py()
        )
        return Decimal(found or 0).scaleb(-self._amount.scale)

    def place_units(self) -> None:
        """Join the place of each row's unit in the table: the view `placed`."""
        if self._is_placed:
            return
        self._is_placed = True
        self.unit_names, codes = self._units.name()
        self._store.lift("unit_codes", {"k": self._units.keys, "v": pa.array(codes, pa.int32())})
        self._store.run(
            "create or replace temp view placed as select loans.* replace (unit_codes.v as unit) from loans left "
            "join unit_codes on "
            "loans.unit = unit_codes.k"
        )

    def sum_up(self) -> LoanSums:
        """Sum the new loans by unit and calendar year of disbursement."""
        self.place_units()
        counts = {"loans": "count(*)"}
        sums = {"principal": "sum(p)"}
        if self.has_rates:
            sums["weighted"] = "sum(p::hugeint * r)"
            if self.unrated:
                sums["rated"] = "sum(p) filter (where r is not null)"
        for name, wanted in (("green", self.has_green), ("purpose", self._wanted.purpose is not None)):
            flag = "green" if name == "green" else "wanted"
            if wanted:
                counts[f"{name}_loans"] = f"count(*) filter (where {flag})"
                sums[f"{name}_principal"] = f"sum(p) filter (where {flag})"
        chosen = ", ".join([*(f"{text}::integer as {name}" for name, text in counts.items())])

        def query(money: str) -> str:
            return (
                f"select unit, year(day)::smallint as year, min(row) as row, {chosen}, "
                f"{', '.join(f'coalesce({text}, 0)::{money} as {name}' for name, text in sums.items())} "
                f"from placed where {self._kept} and kind = 0 group by unit, year(day)"
            )

        table = self._store.sum_exactly(query)
        order = np.argsort(table.column("unit").to_numpy().astype(np.int64) * _YEARS + table.column("year").to_numpy())
        numbers = {}
        for name in table.column_names:
            numbers[name] = _numbers(table.column(name))[order]
            table = table.drop_columns(name)
        factor = self._amount.unit.factor
        top, bottom = factor.as_integer_ratio()
        return LoanSums(
            numbers["unit"],
            numbers["year"].astype(np.int64),
            numbers["row"],
            {name: numbers[name].astype(np.int64) for name in counts},
            {name: numbers[name] for name in sums},
            (top, bottom * 10**self._amount.scale),
            (self._rate_factor.as_integer_ratio()[0], self._rate_factor.as_integer_ratio()[1] * 10**self.rate_scale),
        )


def _read_amount(text: str, unit: Unit, currency: str, *, exact: bool) -> str | None:
    """Read an amount that is not written plainly, with the unit of its column beside it or not ($5,000.00; 5000元).

    `exact` are floats of Parquet, written with an exponent.
    """
    if exact and text in MISSING:
        return None
    number = Decimal(repr(float(text))) if exact else read_number(text)
    if number is None and (found := _BESIDE.fullmatch(unicodedata.normalize("NFKC", text).strip())):
        marks = [mark for mark in (found[1], found[3]) if mark.strip()]
        if len(marks) == 1 and is_money(marks[0], currency, unit.factor):
            number = read_number(found[2])
    return None if number is None or not number.is_finite() else f"{number:f}"


def _numbers(column: pa.ChunkedArray) -> NDArray[Any]:
    """Return whole numbers; those beyond 64 bits, which come as text, as Python's own."""
    if pa.types.is_string(column.type):
        return np.array([int(one) for one in column.to_pylist()], dtype=object)
    found: NDArray[Any] = column.to_numpy()
    return found
