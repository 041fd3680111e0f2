"""LoanView: the rows of a ledger as loans, in one query over its cells; what is not certain is refused, with its rows."""

from __future__ import annotations

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
from evalkit.sources.ledger.base_rates import BaseRates
from evalkit.sources.ledger.fields import (
    Columns,
    Unit,
    code_of,
    is_money,
    is_total,
    names_of_currency,
    plain,
    read_unit,
)
from evalkit.sources.ledger.store import Store
from evalkit.sources.ledger.units import UnitCells
from evalkit.sources.ledger.values import (
    LEAST_POINT,
    is_cancelled,
    is_category,
    is_in_points,
    kind_said,
    read_days,
    read_flag,
    read_number,
    read_points,
    read_rates,
)
from evalkit.sources.persons import AS_TEXT, clean, is_damaged
from evalkit.tables.text_columns import MISSING

REFINANCING, EXTENSION = 1, 2
OUT = "leave the rows out by leave_out=(…), with their numbers"
LIVE = "row in (select row from loans where skip is null)"
"""The rows of `cells` that are loans."""

_PLAIN_AMOUNT = r"[+-]?[0-9]{1,15}(\.[0-9]{0,20})?"
_GROUPED_AMOUNT = r"[+-]?[0-9]{1,3}(,[0-9]{3}){1,4}(\.[0-9]{0,20})?"
# What may have to be cleaned, or may be no loan number: other letters than ASCII, blanks, marks of numbers, words
# without a digit.
_ODD = (
    "strlen({0}) <> length({0}) or contains({0}, ' ') or contains({0}, chr(9)) or contains({0}, '.') or contains({0}, '+') or "
    "contains({0}, chr(39)) or (length({0}) <= 11 and not regexp_matches({0}, '[0-9]'))"
)
_SCALES = (0, 2, 4, 6)  # decimals of amounts and rates that are stored as floats
_BESIDE = re.compile(r"([^0-9+-]*)([+-]?[0-9][0-9,. ]*)([^0-9]*)")


@dataclass(frozen=True)
class Wanted:
    """What is to be read, beside the columns: declared units, the purpose, the form of dates, the currency and whether rows in
    another are left out, further words for a loan that was not lent, the amounts that are believed, the fields whose empty cells
    leave a row out, the base rates that spreads are taken from, the place of the borrowers that are counted."""

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
    base: BaseRates | None = None
    borrowers: int | None = None

    @property
    def money(self) -> str:
        """Return what an amount of the currency is called."""
        return "yuan" if self.currency == "CNY" else self.currency


@dataclass
class Amount:
    """How a column of money is read in a query: as whole numbers of 10 ** -scale of its unit."""

    text: str
    scale: int
    unit: Unit

    def say(self, total: int | None) -> str:
        """Write a sum in the currency."""
        return f"{Decimal(total or 0).scaleb(-self.scale) * self.unit.factor:,.2f}"


class LoanView:
    """The view `loans` over the cells of a store: unit, day, amount, rate, kind, number of each row, and why it is skipped.

    `notes` says what was found beside. Raises SourceError naming the rows whose cells cannot be read for certain.
    """

    def __init__(self, store: Store, wanted: Wanted, units: UnitCells) -> None:
        self._store, self._wanted, self._columns = store, wanted, wanted.columns
        self.notes: list[str] = []
        self.recalls_base_rates = False  # whether a rate that was not checked is held against a loan
        self.has_months = False  # days of disbursement that name a month alone stand in the table month_cells
        self._joins: dict[str, str] = {}
        self._faults: list[tuple[int, NDArray[np.bool_], str, str]] = []
        self._named: dict[str, str] = {}
        self.adds_points = wanted.base is not None and wanted.columns.one("contract_rate") is None
        self.has_rates = self.adds_points or wanted.columns.one("contract_rate") is not None
        self.has_green = any(wanted.columns.all(name) for name in ("green_flag", "green_category"))
        self._make_view(units)

    def _make_view(self, units: UnitCells) -> None:
        ragged = self._store.listing.ragged
        self._store.lift("ragged", {"row": pa.array(list(ragged), pa.int64())})
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
        if self._wanted.borrowers is not None:
            parts["borrower"] = self._read_ids([self._wanted.borrowers], "borrower")
        self._asked = [*self._one("green_flag"), *self._columns.all("refinancing_flag"), *self._columns.all("purpose")]
        parts |= {f"filled_{place}": self._filled(place) for place in self._asked}
        chosen = ", ".join(f"{text} as {name}" for name, text in parts.items())
        joins = "".join(f" left join {table} on {column} = {table}.k" for table, column in self._joins.items())
        self._store.run(f"create or replace temp view loans as select {chosen} from cells{joins}")
        if ragged:
            rows, _ = self._store.rows("skip is null and row in (select row from ragged)", of="loans")
            if rows:
                raise ragged[rows[0]]
        for place, marked, what, remedy in self._faults:
            self._store.refuse_cells(place, marked, what, remedy, among=LIVE)

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
        out = "select row from omitted union all select row from ragged"
        empty = f"{self._store.column(place)} is null and row not in ({out})"
        fill = 'fill it in, or leave the row out by leave_out=; columns={"currency": ""} does not look at this column'
        self._store.refuse(empty, header, f"{what}: the cell is empty", fill)
        if not others.any():
            return []
        if not self._wanted.drops_currencies:
            # Codes that are known, as other words may name somebody.
            named = {code for text, other in zip(texts, others, strict=True) if other and (code := code_of(text))}
            only = named.pop() if len(named) == 1 else ""
            also = f'; or evaluate those in {only} alone: currency="{only}"' if only else ""
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
                if others := len(gone) - sum(gone):
                    self.notes.append(
                        f"{others} other words in '{header}' are not known to say that a loan was cancelled: their rows count; "
                        "further ones are named by cancelled="
                    )
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
                self.has_months = True
                keys, _ = self._store.distinct(place)
                named = np.array([text in found.months for text in texts], dtype=bool)
                self._store.lift("month_cells", {"k": keys.filter(pa.array(named))})
                self.notes.append(f"'{header}' names months, and not days")
        elif found.wrong:
            self.notes.append(f"cells of '{header}' that are no dates were not looked at")
        days = [found.days[text] for text in texts]
        return self._join(place, days, pa.date32(), f"of_{name}")

    def _read_optional_days(self, name: str) -> str:
        place = self._columns.one(name)
        return "null::date" if place is None else self._read_days(place, name, whole=False)

    def _read_amount(self, name: str) -> Amount:
        """Find how the amounts of a column are written, and to how many decimals."""
        place = self._columns.require(name)
        unit = read_unit(self._columns, name, place, self._wanted.declared, self._wanted.currency)
        column, kind = self._filled(place), self._store.kind(place)
        if kind == "whole":
            return Amount(column, 0, unit)
        if kind == "float" and (found := self._scale_floats(column)) is not None:
            return Amount(*found, unit)
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
        if scale == 3 and kind == "text" and name == "principal" and unit.factor == 1:
            thousands = f"{text} is not null and not regexp_full_match({text}, '[0-9]{{1,3}}[.][0-9]{{3}}')"
            if not self._store.count(thousands):
                self.notes.append(
                    f"all amounts in '{self._columns.header(place)}' have three decimals: where the point stands between "
                    "thousands, as in 1.234 for 1234, they are a thousand times as much"
                )
        if longest + scale <= 17:
            return Amount(f"cast(cast({tidy} as decimal(18, {scale})) * {10**scale} as bigint)", scale, unit)
        whole = f"split_part({tidy}, '.', 1) || rpad(split_part({tidy}, '.', 2), {scale}, '0')"
        return Amount(f"cast({whole} as hugeint)", scale, unit)

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
        if self._wanted.base is not None and self.adds_points:
            return self._read_points(self._columns.require("rate_spread"), self._wanted.base.scale)
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
        return self._join_rates(place, scaled)

    def _read_points(self, place: int, scale: int) -> str:
        """Return the points that stand in for the rate until the base rate is known, in % and to `scale` decimals at least."""
        _, texts = self._store.distinct(place)
        bare = "BP" if texts and all(is_in_points(text) for text in texts) else ""
        unit = read_unit(self._columns, "rate_spread", place, self._wanted.declared, self._wanted.currency, bare=bare)
        points = {text: read_points(text, unit) for text in texts}
        remedy = "write a number such as 65 or -20; leave the rows out by leave_out= where a cell is wrong"
        wrong = [text for text, one in points.items() if one is None]
        self._fault(place, texts, wrong, "the cell is not a plain number of points", remedy)
        found = [one for one in points.values() if one is not None]
        if any(found) and all(abs(one) < LEAST_POINT for one in found):
            what = "all points are below one basis point, so that the unit is probably percentage points"
            self._fault(
                place, texts, texts, what, 'find out which is right; units={"rate_spread": "percentage points"}'
            )
        self.rate_scale = max([scale, *(-int(one.normalize().as_tuple().exponent) for one in found)])
        scaled = [None if (one := points[text]) is None else int(one.scaleb(self.rate_scale)) for text in texts]
        return self._join_rates(place, scaled)

    def _join_rates(self, place: int, scaled: Sequence[int | None]) -> str:
        """Join whole numbers that stand for rates, of 64 bits where these suffice."""
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
        declared = "loan_id" in self._columns.declared
        return self._read_ids(self._columns.all("loan_id") if declared else self._one("loan_id"), "number")

    def _read_ids(self, places: Sequence[int], name: str) -> str:
        """Return an id of each row, in one spelling; the parts of one that stands in several columns together."""
        parts = []
        for i, place in enumerate(places):
            text = self._filled(place)
            if self._store.kind(place) == "float":
                whole = f"{text} = round({text}) and abs({text}) < 1e15"
                # In a case, DuckDB may cast what does not meet its condition.
                text = f"case when {whole} then try_cast({text} as bigint)::varchar else {text}::varchar end"
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
                (is_total, "the row holds a total, not a loan", OUT),
            ):
                if bad := [one for one in odd if test(one)]:
                    self._store.lift("marked", {"k": pa.array(bad, pa.string())})
                    rows = f"{text} in (select k from marked) and row not in (select row from omitted)"
                    self._store.refuse(rows, header, what, remedy)
            if odd:
                table = f"odd_{name}_{i}"
                self._store.lift(
                    table,
                    {"k": pa.array(odd, pa.string()), "v": pa.array([clean(one) or None for one in odd], pa.string())},
                )
                self._joins[table] = text
                text = f"case when {table}.k is not null then {table}.v else {text} end"
            parts.append(text)
        if len(parts) < 2:
            return f"({parts[0]})" if parts else "null::varchar"
        whole = " || chr(31) || ".join(f"coalesce({part}, '')" for part in parts)
        return f"(case when coalesce({', '.join(parts)}) is not null then {whole} end)"

    def _one(self, name: str) -> list[int]:
        place = self._columns.one(name)
        return [] if place is None else [place]


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
    written = "" if number is None or not number.is_finite() else f"{number:f}"
    return written if re.fullmatch(_PLAIN_AMOUNT, written) else None
