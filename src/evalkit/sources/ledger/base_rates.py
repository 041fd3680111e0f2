"""Base rates: dated tables of the rates that banks add their points to (LPR, benchmark), and the one in force on a day."""

from __future__ import annotations

import csv
import datetime as dt
import hashlib
import io
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from importlib.resources import files
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from evalkit.errors import SourceError, nearest
from evalkit.sources.files.bytes import read_bytes
from evalkit.sources.ledger.values import read_day, read_number
from evalkit.tables.table import Provenance

SHIPPED = ("lpr", "pboc")
"""The tables of evalkit: the loan prime rate from 2019-08-20, and the People's Bank's benchmark from 2007-12-21 to 2019-08-19."""

SURE, UNSURE, DISPUTED, UNKNOWN, EARLY, ENDED = range(6)
"""What is to be said of a rate: nothing; recalled or assumed, and used; disputed; not in the table; before its first date; after
its end."""

_STATES = {
    "verified": SURE,
    "published": SURE,
    "computed": SURE,
    "recalled": UNSURE,
    "assumed": UNSURE,
    "disputed": DISPUTED,
    "unknown": UNKNOWN,
    "ended": ENDED,
}
_NEEDED = ("from_date", "up_to_months", "percent")
_LONGEST = 1200  # months


@dataclass(frozen=True)
class BaseRates:
    """A table of base rates: `dates` ascend, `limits` are the longest terms of its bands in months (None: without limit).

    `rates` are whole numbers of 10 ** -scale percent and `states` what is to be said of them, both by date and band.
    """

    name: str
    provenance: Provenance
    dates: tuple[dt.date, ...]
    limits: tuple[int | None, ...]
    scale: int
    rates: NDArray[np.int64] = field(repr=False)
    states: NDArray[np.int8] = field(repr=False)
    has_states: bool = True

    def on(self, days: Sequence[dt.date]) -> tuple[NDArray[np.int64], NDArray[np.int8]]:
        """Return rates and states by day and band: those last published on or before the day."""
        at = np.searchsorted(np.array(self.dates, "datetime64[D]"), np.array(days, "datetime64[D]"), side="right") - 1
        states = np.where((at < 0)[:, None], EARLY, self.states[at]).astype(np.int8)
        return self.rates[at], states


def read_base_rates(given: str | Path) -> BaseRates:
    """Read one of evalkit's tables by its name, or a CSV by its path: from_date, up_to_months, percent, and perhaps status.

    A row holds from a day on for loans of up to so many months; where the months are empty, for all longer ones. A date without a
    band takes the next longer one that it has. An empty percent says that the rate is not known from then on. Other columns are
    not read. Raises SourceError naming the rows that cannot be read.
    """
    if str(given) in SHIPPED:
        data = files("evalkit.sources.ledger").joinpath(f"{given}.csv").read_bytes()
        return _read(data, str(given), f"evalkit/sources/ledger/{given}.csv")
    path = Path(given)
    if path.suffix.casefold() != ".csv":
        remedy = f"{nearest(str(given), SHIPPED)}; or give the path of a file that ends in .csv"
        raise SourceError(f"there are no base rates '{given}'", where="benchmark=", remedy=remedy)
    return _read(read_bytes(path, path.as_posix()), path.name, path.as_posix())


def _read(data: bytes, name: str, where: str) -> BaseRates:
    rows = None
    with suppress(UnicodeDecodeError, csv.Error):
        rows = list(csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True))
    if rows is None:
        raise SourceError(
            "this is no CSV in UTF-8", where=where, remedy="write it as UTF-8, with commas between columns"
        )
    columns = [one for one in (rows[0] if rows else {}) if isinstance(one, str)]
    for column in _NEEDED:
        if column not in columns:
            raise SourceError(
                f"there is no column '{column}'" if rows else "the table has no rows",
                where=where,
                remedy=f"write the columns {', '.join(_NEEDED)}, and status where that is known",
            )
    entries: dict[dt.date, dict[int | None, tuple[Decimal | None, int]]] = {}
    for number, row in enumerate(rows, start=2):
        day, months, entry = _read_row(row, f"{where}, row {number}")
        if months in entries.setdefault(day, {}):
            raise SourceError(
                "the date and the months stand twice",
                where=f"{where}, row {number}",
                remedy="keep the row that is right",
            )
        entries[day][months] = entry
    sources = dict.fromkeys(text for row in rows if (text := (row.get("source") or "").strip()))
    provenance = Provenance(where, hashlib.sha256(data).hexdigest(), citation="; ".join(sources))
    return _arrange(name, provenance, entries, has_states="status" in columns)


def _read_row(row: Mapping[str, str | None], where: str) -> tuple[dt.date, int | None, tuple[Decimal | None, int]]:
    day, months, percent = ((row.get(one) or "").strip() for one in _NEEDED)
    date, is_month = read_day(day)
    if date is None or is_month:
        raise SourceError("from_date is no date", where=where, remedy="write it as 2019-08-20")
    if months and not (months.isdecimal() and 1 <= int(months) <= _LONGEST):
        raise SourceError(
            "up_to_months is no number of months",
            where=where,
            remedy="write a whole number such as 60, or nothing for all longer terms",
        )
    rate = read_number(percent) if percent else None
    if percent and (rate is None or not 0 <= rate <= 100 or -int(rate.as_tuple().exponent) > 6):
        raise SourceError(
            "percent is no rate in % a year",
            where=where,
            remedy="write a number such as 4.85, or nothing where the rate is not known",
        )
    said = (row.get("status") or "").strip()
    if said and said not in _STATES:
        raise SourceError("the status is not known", where=where, remedy=nearest(said, _STATES))
    state = _STATES[said] if said else SURE
    return date, int(months) if months else None, (rate, UNKNOWN if rate is None and state <= UNSURE else state)


def _arrange(
    name: str,
    provenance: Provenance,
    entries: Mapping[dt.date, Mapping[int | None, tuple[Decimal | None, int]]],
    *,
    has_states: bool,
) -> BaseRates:
    """Put the rates into one array by date and band, each band that a date lacks taking the next longer one."""

    def length(months: int | None) -> int:
        return _LONGEST + 1 if months is None else months

    dates = sorted(entries)
    limits = sorted({months for bands in entries.values() for months in bands}, key=length)
    known = [rate for bands in entries.values() for rate, _ in bands.values() if rate is not None]
    scale = max((max(0, -int(rate.normalize().as_tuple().exponent)) for rate in known), default=0)
    rates = np.zeros((len(dates), len(limits)), dtype=np.int64)
    states = np.full((len(dates), len(limits)), UNKNOWN, dtype=np.int8)
    for i, day in enumerate(dates):
        for j, limit in enumerate(limits):
            longer = [months for months in entries[day] if length(months) >= length(limit)]
            if longer:
                rate, states[i, j] = entries[day][min(longer, key=length)]
                rates[i, j] = 0 if rate is None else int(rate.scaleb(scale))
    return BaseRates(name, provenance, tuple(dates), tuple(limits), scale, rates, states, has_states)
