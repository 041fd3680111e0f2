"""The cells of a loan ledger as values: days, numbers, rates in % a year, yes and no, kinds of loans."""

from __future__ import annotations

import datetime as dt
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from evalkit.sources.ledger.fields import Unit, known_words, plain

HIGHEST = Decimal(36)  # % a year
LOWEST = Decimal("0.36")  # every rate up to 36 % lies below this when it is written as a fraction
LEAST_POINT = Decimal("0.01")  # % a year: nobody adds less than a basis point
FORMS = ("ymd", "dmy", "mdy", "yymmdd", "days1900", "days1904", "days1960", "days1970")
"""How dates may be declared: the order of year, month and day, six digits, or days counted from a year."""

_YEARS = range(1901, 2065)  # 1900-01-01 and 9999-12-31 are what systems write for no date
_FROM = {
    "days1900": dt.date(1899, 12, 30),  # Excel, whose 1900 has a 29 February
    "days1904": dt.date(1904, 1, 1),
    "days1960": dt.date(1960, 1, 1),
    "days1970": dt.date(1970, 1, 1),
}
_COUNTERS = {
    "days1900": "Excel",
    "days1904": "Excel for Macintosh",
    "days1960": "Stata, SAS",
    "days1970": "R, Unix",
}
_LIKELY = (1990, 2049)  # years that a day number is believed to mean without being declared
_TIME = re.compile(
    r"[ T]+[0-2]?[0-9]:[0-5][0-9](?::[0-5][0-9](?:\.[0-9]+)?)?(?: ?[AaPp]\.?[Mm]\.?)?(?:Z|[+-][0-9:]{4,6})?$"
)
_COMPACT = re.compile("([0-9]{4})([0-9]{2})([0-9]{2})")
_MARKED = re.compile(r"([0-9]{4})(?:([-/.])([0-9]{1,2})\2([0-9]{1,2})|年([0-9]{1,2})月([0-9]{1,2})日)")
_MONTH = re.compile(r"([0-9]{4})(?:[-/.]([0-9]{1,2})|年([0-9]{1,2})月|([0-9]{2}))")
_MONTH_FIRST = re.compile(r"([0-9]{1,2})[-/.]([0-9]{4})")
_SHORT = re.compile(r"([0-9]{1,2})([-/. ])([0-9]{1,2})\2([0-9]{1,4})")
_NUMBERED = re.compile(r"(-?[0-9]{4,6})(?:\.[0-9]+)?")
_NAMES = {name: i for i, name in enumerate("jan feb mar apr may jun jul aug sep oct nov dec".split(), start=1)}
_NAMED = re.compile(r"(?:([0-9]{1,2})[-/ .]*)?([A-Za-z]{3,9})[-/ .,]*(?:([0-9]{1,2}),? +)?([0-9]{4})")
_NAMED_SHORT = re.compile(r"([0-9]{1,2})[-/ .]([A-Za-z]{3,9})[-/ .]([0-9]{2})")
_NAMED_MONTH = re.compile(r"(?:([A-Za-z]{3,9})[-/ .']+([0-9]{2})|([0-9]{2})[-/ .']+([A-Za-z]{3,9}))")
_NAMED_AFTER = re.compile(r"([0-9]{4})[-/ .]*([A-Za-z]{3,9})(?:[-/ .]*([0-9]{1,2}))?")
_POINTS = re.compile(r"(.+?)(?:bps?|个?基点)", re.IGNORECASE)
_DIGITS = 6  # no more stand before the point of what is added to a rate
_NUMBER = re.compile(r"[+-]?(?:[0-9]{1,15}|[0-9]{1,3}(?:,[0-9]{3}){1,4})(?:\.[0-9]{0,20})?")


@dataclass(frozen=True)
class Days:
    """The days that the cells of a column mean, None where one is none; how many name a month alone; what is wrong with
    the others.

    `fault` is "" where every cell is read, and says what the cells in `wrong` have in common otherwise; `remedy` what to do.
    """

    days: Mapping[str, dt.date | None]
    months: frozenset[str]
    wrong: frozenset[str]
    fault: str
    remedy: str


def read_days(cells: Iterable[str], form: str) -> Days:
    """Read the distinct cells of a column of dates, in the form that was declared, or as all of them can be read for certain.

    2020-01-15, 2020/1/15, 2020.1.15, 20200115, 2020年1月15日, 15-Jan-2020, Jan 15, 2020, each with a time of day or not,
    and months alone (202001, 2020-01, Jan-2020) are certain. 05/01/2020 and 200115 are not, and ask. Five digits are
    days from 1900, as Excel counts, if they lie between 1990 and 2049.
    """
    texts = set(cells)
    months: set[str] = set()
    days: dict[str, dt.date | None] = {}
    for text in texts:
        day, month_only = read_day(text, form)
        days[text] = day
        if month_only:
            months.add(text)
    fault, remedy = "the cell is not a date that is understood", _REMEDY
    wrong = {text for text, day in days.items() if day is None}
    if not form:
        numbered = {text for text in texts if _is_numbered(text)}
        unlikely = {text for text in numbered if not _is_likely(days[text])}
        if unlikely and unlikely == numbered:
            said = "; ".join(f"counted from {one[4:]} ({_COUNTERS[one]}) {_span(numbered, one)}" for one in _FROM)
            fault = f"the cells are day numbers, and it is not said from when they count: {said}"
            return Days(days, frozenset(months), frozenset(numbered), fault, 'say it: dates="days1960", for instance')
        days.update(dict.fromkeys(unlikely))
        wrong |= unlikely
        six = {text for text in texts if re.fullmatch("[0-9]{6}", _plain_day(text))}
        either = {text for text in six if days[text] is not None and _six(text) is not None}
        if six and (either == six or any(days[text] is None for text in six)) and all(_six(text) for text in six):
            fault = "six digits may be a year and a month, or a year of two digits, a month and a day"
            remedy = 'say it: dates="yymmdd" (930705 is 1993-07-05), or dates="ymd" for year and month (199307)'
            return Days(days, frozenset(months), frozenset(six), fault, remedy)
        if any(_NAMED_SHORT.fullmatch(_plain_day(text)) for text in wrong):
            wrong = {text for text in wrong if _NAMED_SHORT.fullmatch(_plain_day(text))}
            remedy = 'say that the day stands first: dates="dmy" (28-Feb-97 is 1997-02-28)'
            return Days(days, frozenset(months), frozenset(wrong), "the date has a year of two digits", remedy)
        if any(_NAMED_MONTH.fullmatch(_plain_day(text)) for text in wrong):
            wrong = {text for text in wrong if _NAMED_MONTH.fullmatch(_plain_day(text))}
            remedy = 'say that they are months: dates="mdy" (Dec-11 is December 2011), or dates="ymd" (11-Dec)'
            fault = "the date has a month's name and two digits, a year or a day"
            return Days(days, frozenset(months), frozenset(wrong), fault, remedy)
        if wrong and any(_SHORT.fullmatch(_plain_day(text)) for text in wrong):
            if any((found := _SHORT.fullmatch(_plain_day(text))) and len(found[4]) == 4 for text in wrong):
                fault = "it is not said whether the day or the month stands first"
                remedy = 'say it: dates="dmy" (day first) or dates="mdy" (month first)'
            else:
                fault = "the date has a year of two digits"
                remedy = 'say what stands where: dates="ymd", "dmy" or "mdy"'
            wrong = {text for text in wrong if _SHORT.fullmatch(_plain_day(text))}
    else:
        remedy = f'the dates were declared as dates="{form}"; correct the cells, or leave the rows out by leave_out='
    return Days(days, frozenset(months), frozenset(wrong), fault if wrong else "", remedy)


_REMEDY = (
    "write 20200115, 2020-01-15, 2020/1/15, 2020年1月15日 or 15-Jan-2020, between 1901 and 2064; other forms are declared by "
    "dates=; rows without a date are left out by leave_out="
)


def read_day(text: str, form: str = "") -> tuple[dt.date | None, bool]:
    """Read one date; return it, None where it is none, and whether it names a month alone (whose first day it then is)."""
    text = _plain_day(text)
    if form.startswith("days"):
        return _count(text, form), False
    for pattern in (_COMPACT, _MARKED):
        if form in ("dmy", "mdy") and pattern is _COMPACT:
            continue
        if found := pattern.fullmatch(text):
            parts = [int(part) for part in found.groups() if part is not None and part.isdecimal()]
            return _date(*parts), False
    if form in ("dmy", "mdy", "ymd", "yymmdd") and (day := _declared(text, form)) is not None:
        return day, False
    if form == "yymmdd":
        return _six(text), False
    if found := _NAMED.fullmatch(text):
        first, name, second, year = found.groups()
        number = first or second
        return _named(int(year), name, number), number is None
    if found := _NAMED_AFTER.fullmatch(text):
        return _named(int(found[1]), found[2], found[3]), found[3] is None
    if form in ("dmy", "mdy") and (found := _NAMED_SHORT.fullmatch(text)):
        return _named(_century(found[3]), found[2], found[1]), False
    if form in ("dmy", "mdy", "ymd") and (found := _NAMED_MONTH.fullmatch(text)):
        if (found[1] is None) != (form == "ymd"):
            return None, False  # 11-Dec may be a day without a year
        return _named(_century(found[2] or found[3]), found[1] or found[4], None), True
    if found := _MONTH_FIRST.fullmatch(text):
        return _date(int(found[2]), int(found[1]), 1), True
    if form in ("", "ymd") and (found := _MONTH.fullmatch(text)):
        return _date(int(found[1]), int(found[2] or found[3] or found[4]), 1), True
    if not form and (found := re.fullmatch(r"([0-9]{5})(?:\.[0-9]+)?", text)) and 20_000 <= int(found[1]) <= 60_000:
        return _count(text, "days1900"), False
    return None, False


def _plain_day(text: str) -> str:
    return _TIME.sub("", unicodedata.normalize("NFKC", text).strip())


def _date(year: int, month: int, day: int) -> dt.date | None:
    try:
        return dt.date(year, month, day) if year in _YEARS else None
    except ValueError:
        return None


def _named(year: int, name: str, day: str | None) -> dt.date | None:
    month = _NAMES.get(name[:3].casefold())
    return _date(year, month, int(day or 1)) if month else None


def _declared(text: str, form: str) -> dt.date | None:
    """Read a date whose parts stand in a declared order; a year of two digits lies between 1954 and 2053."""
    parts = re.fullmatch(r"([0-9]{1,4})([-/. ])([0-9]{1,2})\2([0-9]{1,4})", text)
    if parts is not None:
        given = [parts[1], parts[3], parts[4]]
    elif form in ("dmy", "mdy") and re.fullmatch("[0-9]{8}|[0-9]{6}", text):
        given = [text[:2], text[2:4], text[4:]]
    else:
        return None
    order = {"dmy": (2, 1, 0), "mdy": (2, 0, 1)}.get(form, (0, 1, 2))
    year, month, day = (given[at] for at in order)
    return _date(_century(year), int(month), int(day)) if len(year) in (2, 4) else None


def _six(text: str) -> dt.date | None:
    text = _plain_day(text)
    if not re.fullmatch("[0-9]{6}", text):
        return None
    return _date(_century(text[:2]), int(text[2:4]), int(text[4:]))


def _century(year: str) -> int:
    if len(year) == 4:
        return int(year)
    return int(year) + (1900 if int(year) >= 54 else 2000)


def _is_numbered(text: str) -> bool:
    found = _NUMBERED.fullmatch(_plain_day(text))
    return found is not None and len(found[1].lstrip("-")) == 5


def _is_likely(day: dt.date | None) -> bool:
    return day is not None and _LIKELY[0] <= day.year <= _LIKELY[1]


def _count(text: str, form: str) -> dt.date | None:
    found = _NUMBERED.fullmatch(_plain_day(text))
    if found is None:
        return None
    try:
        day = _FROM[form] + dt.timedelta(days=int(found[1]))
    except OverflowError:  # before the year 1
        return None
    return day if day.year in _YEARS else None


def _span(texts: Iterable[str], form: str) -> str:
    """Say in which years day numbers lie, counted from one origin."""
    years = {(_FROM[form] + dt.timedelta(days=int(float(_plain_day(text))))).year for text in texts}
    return f"{min(years)}" if len(years) == 1 else f"{min(years)} to {max(years)}"


def read_number(text: str, mark: str = "") -> Decimal | None:
    """Read 1234.5 or 1,234.5 exactly, with the unit's mark behind it or not. 1.2E+06 is not read: digits may be lost."""
    text = unicodedata.normalize("NFKC", text).replace(" ", "")
    if mark:
        text = text.removesuffix(mark)
    return Decimal(text.replace(",", "")) if _NUMBER.fullmatch(text) else None


def is_bracketed(text: str) -> bool:
    """Tell an accountant's negative number: (10,000.00)."""
    found = re.fullmatch(r"\((.+)\)", unicodedata.normalize("NFKC", text).replace(" ", ""))
    return found is not None and _NUMBER.fullmatch(found[1]) is not None


@dataclass(frozen=True)
class Rates:
    """The rates that the cells of a column mean, in % a year; and the cells that are wrong, by what is wrong with them."""

    rates: Mapping[str, Decimal]
    wrong: Mapping[str, frozenset[str]]


def read_rates(cells: Iterable[str], unit: Unit) -> Rates:
    """Read the distinct cells of a column of rates; an impossible rate is wrong, with the units that would fit."""
    rates: dict[str, Decimal] = {}
    faults: dict[str, set[str]] = {}
    for text in set(cells):
        number = read_number(text, unit.mark)
        if number is None:
            faults.setdefault("the cell is not a plain number", set()).add(text)
            continue
        rate = rates[text] = number * unit.factor
        if rate == 0 or LOWEST < rate <= HIGHEST:
            continue
        what = f"the rate is not between 0 and {HIGHEST} % a year" if rate > 0 else "the rate is negative"
        if 0 < rate <= LOWEST:
            what = f"the rate is not above {LOWEST} % a year"
        faults.setdefault(what, set()).add(text)
    said: dict[str, frozenset[str]] = {}
    for what, texts in faults.items():
        numbers = [number for text in texts if (number := read_number(text, unit.mark)) is not None and number > 0]
        said[f"{what}{_likely(numbers)}" if numbers else what] = frozenset(texts)
    return Rates(rates, said)


def is_in_points(text: str) -> bool:
    """Tell whether basis points stand behind a number: 65BP, -20个基点."""
    return _POINTS.fullmatch(unicodedata.normalize("NFKC", text).replace(" ", "")) is not None


def read_points(text: str, unit: Unit) -> Decimal | None:
    """Read points on top of a base rate, in % a year; None where the cell is no number in this unit."""
    found = _POINTS.fullmatch(unicodedata.normalize("NFKC", text).replace(" ", ""))
    if found is not None and unit.factor != LEAST_POINT:
        return None
    number = read_number(text if found is None else found[1])
    return None if number is None or number.adjusted() > _DIGITS else number * unit.factor


def _likely(numbers: list[Decimal]) -> str:
    """Say in which units numbers would be rates between 1 and 36 % a year, and what they would be."""
    units = (
        (Decimal(12), "% a month"),
        (Decimal(100), "a fraction a year"),
        (Decimal("1.2"), "‰ a month"),
        (Decimal("0.1"), "‰ a year"),
        (Decimal("0.01"), "basis points"),
    )
    fit = [
        f"{unit} ({_range(numbers, factor)} % a year)"
        for factor, unit in units
        if min(numbers) * factor >= 1 and max(numbers) * factor <= HIGHEST
    ]
    return f"; its unit is probably {' or '.join(fit)}" if fit else ""


def _range(numbers: list[Decimal], factor: Decimal) -> str:
    low, high = (f"{(one * factor).normalize():f}" for one in (min(numbers), max(numbers)))
    return low if low == high else f"{low} to {high}"


def read_flag(text: str) -> bool | None:
    """Read a yes or a no, as the words in fields.toml have it."""
    word = plain(text)
    return True if word in known_words("on") else False if word in known_words("off") else None


def is_category(text: str) -> bool:
    """Tell whether a cell names a category of green use, and not that there is none."""
    return plain(text) not in known_words("off")


def is_cancelled(text: str, others: Iterable[str]) -> bool:
    """Tell whether a status says that no money was lent, or that it went back at once (撤销, 冲正)."""
    said = plain(text)
    if said in map(plain, others):
        return True
    return not any(word in said for word in known_words("not_wholly")) and any(
        word in said for word in known_words("cancelled")
    )


def kind_said(text: str) -> str:
    """Return "refinancing" or "extension" where a text speaks of it and does not deny it (非借新还旧), "" otherwise."""
    said = plain(text)
    for kind in ("refinancing", "extension"):
        for word in known_words(kind):
            for denial in known_words("denial"):
                said = said.replace(denial + word, "")
    return next((kind for kind in ("refinancing", "extension") if any(word in said for word in known_words(kind))), "")
