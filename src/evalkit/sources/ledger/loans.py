"""The loans of a ledger: which of its rows are new money, what is to be said of the others, and the sums by unit and year."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from evalkit.errors import SourceError
from evalkit.sources.ledger.base_rates import DISPUTED, EARLY, ENDED, UNKNOWN, UNSURE, BaseRates
from evalkit.sources.ledger.store import Store
from evalkit.sources.ledger.units import UnitCells
from evalkit.sources.ledger.values import HIGHEST, LOWEST, is_bracketed
from evalkit.sources.ledger.view import EXTENSION, LIVE, OUT, REFINANCING, LoanView, Wanted
from evalkit.sources.persons import AS_TEXT

_FAR, _FARTHER = 1_000, 10_000  # times the median loan: worth a word, not believed
_YEARS = 10_000  # more than any year: unit and year are sorted as one number
_TWICE = (
    "keep the row of the loan as it was disbursed, and leave out the others by leave_out=; a number that is only unique "
    'together with another column is named by both: columns={"loan_id": ["…", "…"]}; where the rows are snapshots, name the '
    'column with their date: columns={"snapshot_date": "…"}'
)
_LARGE = 10**12  # times a rate, which is then beyond 64 bits
_CUT = 16  # digits from which on Excel keeps only the first 15


@dataclass(frozen=True)
class LoanSums:
    """Loans by unit and year, sorted by both: for each group the unit's place, the year, the first row, and sums by name.

    Sums of money are exact whole numbers; times the first and by the second of `money` they are in the currency. `weighted`
    sums of amount times rate are likewise, and `rate` has the numbers for % a year. Where base rates were asked for, the
    loans that have one are `priced`: their `priced_weighted` sums of amount times rate, and `based` of amount times base
    rate, which is in % by `base`.
    """

    unit: NDArray[np.int64]
    year: NDArray[np.int64]
    row: NDArray[np.int64]
    counts: Mapping[str, NDArray[np.int64]]
    sums: Mapping[str, NDArray[Any]]
    money: tuple[int, int]
    rate: tuple[int, int]
    base: int = 1


class Loans(LoanView):
    """The loans of one ledger, looked over: wrong amounts and dates are refused, of loans that stand twice one row is kept.

    `notes` says what was left out, and what the ledger does not tell.
    """

    def __init__(self, store: Store, wanted: Wanted, units: UnitCells) -> None:
        super().__init__(store, wanted, units)
        self._units, self._is_placed = units, False
        self.unit_names: Any = None
        self._audit()
        self._drop_repeats()

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
            remedy = f"correct the amount; where it is a repayment or a cancelled loan, {OUT}"
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
            store.refuse(f"{column} is null and {LIVE}", header, "the cell is empty", remedy)
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
        if self.adds_points:
            self.unrated = int(found["n"])  # which have a base rate to add to is known when they are priced
        self._snapshots = int(found["snapshots"])
        if columns.all("loan_id") and found["no_number"]:
            said = self._count(f"{live} and number is null")
            self.notes.append(f"{said} have no loan number and were counted, although one may stand twice")

    def _refuse_amounts(self, place: int) -> None:
        header, text = self._columns.header(place), self._filled(place).replace("cells.", "")
        remedy = 'write a plain number such as 50000; leave rows out by leave_out= ("principal" for those without one)'
        empty = f"({text} is null or not isfinite({text}))" if self._store.kind(place) == "float" else f"{text} is null"
        self._store.refuse(f"{empty} and {LIVE}", header, "the cell is empty", remedy)
        if self._store.kind(place) == "text":
            odd = (
                self._store.ask(f"select distinct {text} as t from cells where {text} is not null")
                .column("t")
                .to_pylist()
            )
            bracketed = [one for one in odd if is_bracketed(one)]
            self._store.lift("marked", {"k": pa.array(bracketed, pa.string())})
            what = "the amount stands in brackets, as accountants write a negative one: a repayment or a reversal"
            self._store.refuse(f"{text} in (select k from marked) and {LIVE}", header, what, OUT)
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
            store.refuse(condition, header, what, "correct the amount, or the bounds; " + OUT, of="loans")
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
            remedy = f'correct the dates; {OUT}; or do not look at this column: columns={{"maturity_date": ""}}'
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
        self._drop_taken_back()
        self._refuse_numberless()
        again = self._find_again()
        if len(again):
            self.place_units()
            self._store.lift("again", {"h": pa.array(again, pa.uint64())})
            self._store.run(
                "create or replace temp table repeats as select placed.*, count(*) over (partition by number) as "
                "times from placed semi join "
                f"again on hash(placed.number) = again.h where {self._kept} and number is not null"
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
            self._kept += " and row not in (select row from dropped)"
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
        if not self._store.count(self._kept, of="loans"):
            raise SourceError(
                "no row is left that counts", where=self._store.where, remedy="give a ledger that has new loans"
            )
        if counts and 0 not in sums:
            raise SourceError(
                "every loan is a refinancing or an extension",
                where=self._store.where,
                remedy="give a ledger that has new loans",
            )
        self._note_empty()

    def _drop_taken_back(self) -> None:
        """Leave out the loans that another row of the same number cancels or reverses.

        Of snapshots the last one tells; otherwise as many rows of the same amount must take the loan back as lend it.
        Raises SourceError naming the rows of a number that are neither.
        """
        if not self._columns.all("loan_id") or not any(key.startswith("gone") for key in self._named):
            return
        is_gone = "coalesce(starts_with(skip, 'gone'), false)"
        when = "coalesce(snapshot, date '0001-01-01')"
        self._store.run(
            "create or replace temp table taken as select number, bool_or(skip is null) as lent, "
            f"count(*) filter (where skip is null) = count(*) filter (where {is_gone}) and min(abs(p)) = max(abs(p)) as even, "
            f"max({when}) filter (where {is_gone}) > max({when}) filter (where skip is null) as later, "
            f"max({when}) filter (where {is_gone}) < max({when}) filter (where skip is null) as earlier "
            f"from loans where number in (select number from loans where {is_gone}) and (skip is null or {is_gone}) "
            "group by number having lent"
        )
        header = self._columns.header(self._columns.all("loan_id")[0])
        self._store.refuse(
            "skip is null and number in (select number from taken where not later and not earlier and not coalesce(even, false))",
            header,
            "another row with the same loan number is cancelled or reversed, and does not take back this one alone",
            "leave out by leave_out= the row that was cancelled, and what it takes back",
            of="loans",
        )
        test = "coalesce(number in (select number from taken where not earlier), false)"
        if self._store.count(f"skip is null and {test}", of="loans"):
            self._kept += f" and not {test}"
            said = self._count(f"skip is null and {test}")
            self.notes.append(f"{said} are taken back by a row with the same loan number, and were left out")

    def _refuse_numberless(self) -> None:
        """Refuse rows without a loan number in later snapshots: the loan may have been counted in an earlier one."""
        if self._snapshots > 1 and self._columns.all("loan_id"):
            self._store.refuse(
                "skip is null and number is null and snapshot > (select min(snapshot) from loans where skip is null)",
                self._columns.header(self._columns.all("loan_id")[0]),
                "the row of a later snapshot has no loan number: the loan may stand in an earlier one",
                f"fill it in, or {OUT}",
                of="loans",
            )

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
        if self.has_rates and self.unrated and not self.adds_points:
            self.notes.append(f"{self.unrated} loans have no rate; the rate is that of the others")
        if not self.has_rates:
            self.notes.append("there is no contract rate (合同利率)")

    # --- sums ---

    def total(self, first: int, last: int) -> Decimal:
        """Return the sum of the amounts of the rows from one to another, in the unit of the column."""
        rows = f"row between {first} and {last}"
        found = (
            self._store.ask(f"select sum(p)::varchar as p from loans where skip is distinct from 'omitted' and {rows}")
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
        rows, base = "placed", 1
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
        if self._wanted.borrowers is not None:
            counts["borrowers"] = "count(distinct borrower)"
            self._note_borrowers(self._wanted.borrowers)
        if self._wanted.base is not None:
            rows, base = self._price(self._wanted.base), 10**self._wanted.base.scale
            is_priced = "filter (where base is not null and r is not null)"
            sums["priced"] = f"sum(p) {is_priced}"
            sums["priced_weighted"] = f"sum(p::hugeint * r) {is_priced}"
            sums["based"] = f"sum(p::hugeint * base) {is_priced}"
        chosen = ", ".join([*(f"{text}::integer as {name}" for name, text in counts.items())])

        def query(money: str) -> str:
            return (
                f"select unit, year(day)::smallint as year, min(row) as row, {chosen}, "
                f"{', '.join(f'coalesce({text}, 0)::{money} as {name}' for name, text in sums.items())} "
                f"from {rows} where {self._kept} and kind = 0 group by unit, year(day)"
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
            base,
        )

    def _note_borrowers(self, place: int) -> None:
        said = f"borrowers are the different ids in '{self._columns.header(place)}'"
        empty = self._store.count(f"{self._kept} and kind = 0 and borrower is null", of="loans")
        self.notes.append(f"{said}; {empty} loans have none and count for no borrower" if empty else said)

    def _price(self, table: BaseRates) -> str:
        """Join the base rate of each loan's day and term, which is looked up once for each day and band.

        Returns what the sums are taken from: `placed` with `base`, in 10 ** -scale percent, null where the loan has none, and the
        rate where the ledger gives the points on top of it; says in the notes how many have none, and why.
        """
        store, header = self._store, self._columns.header(self._columns.require("maturity_date"))
        days = store.ask("select distinct day from loans where skip is null and day is not null").column("day")
        rates, states = table.on(days.to_pylist())
        bands = len(table.limits)
        flat = states.ravel()
        store.lift(
            "base_rates",
            {
                "base_day": days.take(pa.array(np.repeat(np.arange(len(days)), bands))),
                "band": pa.array(np.tile(np.arange(bands), len(days)), pa.int32()),
                "base": pa.array(rates.ravel(), mask=flat > UNSURE),
                "state": pa.array(flat),
            },
        )
        cases = "".join(
            f" when maturity is not null then {place}"
            if limit is None
            else f" when maturity <= day + to_months({limit}) then {place}"
            for place, limit in enumerate(table.limits)
        )
        times = 10 ** (self.rate_scale - table.scale)
        wide = (
            "::hugeint" if times > _LARGE else ""
        )  # points that a computation has left with all the digits of a float
        rate = f"replace (base_rates.base{wide} * {times}{wide} + r as r)" if self.adds_points else ""
        store.run(
            f"create or replace temp view priced as select placed.* {rate}, base_rates.base, base_rates.state from placed "
            f"left join base_rates on placed.day = base_rates.base_day and base_rates.band = (case{cases} end)"
        )
        if self.adds_points:
            self._refuse_sums()
        found = store.ask(
            "select count(*) as n, count(*) filter (where base is not null and r is not null) as priced, "
            "count(*) filter (where maturity is null) as endless, "
            "count(*) filter (where maturity is not null and state is null) as longer, "
            f"count(*) filter (where state = {EARLY}) as early, count(*) filter (where state = {DISPUTED}) as disputed, "
            f"count(*) filter (where state = {UNKNOWN}) as unknown, "
            f"count(*) filter (where state = {ENDED}) as ended, count(*) filter (where base is not null and r is null) as "
            f"unrated, count(*) filter (where state = {UNSURE} and r is not null) as unsure from priced where {self._kept} and "
            "kind = 0"
        ).to_pylist()[0]
        reasons = {
            "endless": f"have no date in '{header}'",
            "longer": "have a term longer than every band of the table",
            "early": f"were lent before its first date, {table.dates[0].isoformat()}",
            "disputed": "were lent while the rate in the table is disputed",
            "unknown": "were lent while the table does not know the rate",
            "ended": "were lent after its end, when loans were priced by another base rate",
            "unrated": "have no points" if self.adds_points else "have no rate",
        }
        said = ", ".join(f"{found[key]} {text}" for key, text in reasons.items() if found[key])
        where = table.provenance.path
        if self.adds_points:
            points = self._columns.header(self._columns.require("rate_spread"))
            self.notes.append(f"the rate is that of '{table.name}' and '{points}' on top of it")
        self.notes.append(
            f"spread: the rate less that of '{table.name}' ({where}) last published on or before the day of disbursement, by the "
            f"time from there to '{header}', for {found['priced']} of {found['n']} loans{f'; {said}' if said else ''}"
        )
        if found["unsure"]:
            self.recalls_base_rates = True
            self.notes.append(
                f"{found['unsure']} of these loans have a base rate that is recalled or assumed, not checked"
            )
        if self.has_months:
            cell = self._filled(self._columns.require("disbursement_date")).replace("cells.", "")
            months = store.count(
                f"{self._kept} and kind = 0 and base is not null and row in (select row from cells where {cell} in "
                "(select k from month_cells))",
                of="priced",
            )
            self.notes.append(
                f"{months} of these loans name a month, and not a day: they have the base rate of its first day"
            )
        if not table.has_states:
            self.notes.append(f"{where} does not say how sure its rates are (status)")
        return "priced"

    def _refuse_sums(self) -> None:
        """Raise SourceError where a base rate and its points are no rate that a contract could have."""
        low, high = (int(one.scaleb(self.rate_scale)) for one in (LOWEST, HIGHEST))
        self._store.refuse(
            f"skip is null and r <> 0 and (r <= {low} or r > {high})",
            self._columns.header(self._columns.require("rate_spread")),
            f"the base rate and the points on top of it are not between {LOWEST} and {HIGHEST} % a year",
            'declare the unit that is right by units={"rate_spread": …}; leave the rows out by leave_out= where a cell is wrong',
            of="priced",
        )


def _numbers(column: pa.ChunkedArray) -> NDArray[Any]:
    """Return whole numbers; those beyond 64 bits, which come as text, as Python's own."""
    if pa.types.is_string(column.type):
        return np.array([int(one) for one in column.to_pylist()], dtype=object)
    found: NDArray[Any] = column.to_numpy()
    return found
