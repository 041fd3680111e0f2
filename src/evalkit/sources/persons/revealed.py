"""Numbers of persons in a file with one table: told by their form and check digit, and refused by column and rows."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from evalkit.errors import SourceError
from evalkit.sources.files.columns import write_rows
from evalkit.sources.persons.forms import Texts
from evalkit.sources.persons.numbers import AS_TEXT, OLD_FROM, PROVINCES, citizen_check, clean, is_date

_CITIZEN = re.compile("(?<![0-9])[0-9]{17}[0-9X](?![0-9X])")
_DIGIT = r"[0-9\x{FF10}-\x{FF19}]"  # half or full width
_BETWEEN = r"[\s()（）－-]"  # what stands between the digits of a telephone number
_CARD = re.compile("62[0-9]{14,17}")
_MOBILE = re.compile("1[3-9][0-9]{9}")
_TELEPHONE = re.compile("手机|电话|phone|mobile", re.IGNORECASE)
_LOOKED_AT = 20_000  # distinct values of a column: more would say the same, more slowly


@dataclass(frozen=True)
class Revealed:
    """What kind of number identifies somebody, and the values of a column that are such numbers, or hold one."""

    kind: str
    values: frozenset[str]


def find_persons(values: Iterable[str], header: str = "", *, others: int = 0) -> Revealed | None:
    """Look for numbers of persons among texts; None where there are none.

    Citizen ids (18 digits, the last may be X, also within a longer text) have a date of birth and a check digit, which one in
    eleven codes of that form has by accident: all that have the form must pass, or more than half of them and at least three.
    Old ids (15 digits) have no check digit: more than half of all values must begin with a province and hold a date, and the
    dates must be spread, so that codes of households, whose middle is a village, are none. Bank cards begin with 62 and have a
    check digit: more than half, and at least five. E-mail addresses must be more than half. Mobile numbers, and landlines with an
    area code, are looked for where the header speaks of telephones. `others` counts values that are too short to be given.
    Decision 0017 has the odds of a false alarm.
    """
    written = {value: clean(value).upper() for value in set(values)}
    total = len(written) + others
    for kind, found in (
        ("citizen ids", _citizens(written)),
        ("citizen ids of 15 digits", _old_citizens(written, total)),
        ("numbers of bank cards", _cards(written)),
        ("e-mail addresses", _emails(written, total)),
        ("telephone numbers", _telephones(written, total) if _TELEPHONE.search(header) else frozenset()),
    ):
        if found:
            return Revealed(kind, frozenset(found))
    return None


def refuse_headers(names: Sequence[str], where: str) -> None:
    """Raise SourceError where a name in the header is a number of a person, as in a file without a header."""
    revealed = find_persons(names)
    if revealed is not None:
        at = next(i for i, name in enumerate(names) if name in revealed.values)
        raise SourceError(
            f"the header holds {revealed.kind}",
            where=f"{where}, column {at + 1} of the header",
            remedy="write the names of the columns into the first row",
        )


def refuse_persons(frame: pd.DataFrame, where: str, headers: Mapping[str, str]) -> None:
    """Raise SourceError naming the column and rows that hold numbers of persons, and never what stands in them.

    `headers` says what stands above the columns in the file, which may be called otherwise in the study.
    """
    for name in map(str, frame.columns):
        column = frame[name]
        if pd.api.types.is_float_dtype(column):
            _refuse_lost(column, where)
        said = f"{headers[name]} {name}"
        distinct, others = _distinct(column, least=11 if _TELEPHONE.search(said) else 15)
        revealed = find_persons(distinct, said, others=others)
        if revealed is not None:
            flagged = column.isin([distinct[value] for value in revealed.values])
            raise SourceError(
                f"the column holds {revealed.kind}, which would stand in tables and figures as they are",
                where=_rows(column, flagged, where),
                remedy=f'put pseudonyms in their place: pseudonymise=("{name}",), key_file="study.key"; or leave the column out '
                "of the file; put a letter in front of codes that are nobody's",
            )


def _citizens(written: Mapping[str, str]) -> Collection[str]:
    shaped, valid = set(), set()
    for value, squeezed in written.items():
        text = squeezed if _CITIZEN.fullmatch(squeezed) else unicodedata.normalize("NFKC", value).upper()
        found = _CITIZEN.findall(text)
        if found:
            shaped.add(value)
        if any(is_date(number[6:14]) and number[17] == citizen_check(number) for number in found):
            valid.add(value)
    return valid if len(valid) == len(shaped) or _are_most(valid, len(shaped), least=3) else set()


def _old_citizens(written: Mapping[str, str], total: int) -> Collection[str]:
    born = {
        value: number[6:12]
        for value, number in written.items()
        if len(number) == 15
        and number.isdecimal()
        and number[:2] in PROVINCES
        and number[6:8] >= OLD_FROM
        and is_date("19" + number[6:12])
    }
    months = {date[2:4] for date in born.values()}
    are_spread = 2 * len(set(born.values())) > len(born) and len(months) >= max(2, min(len(born), 10) / 2)
    are_most = _are_most(born, total, least=3) or 2 <= len(born) == total
    return set(born) if are_most and are_spread else set()


def _cards(written: Mapping[str, str]) -> Collection[str]:
    shaped = {value for value, number in written.items() if _CARD.fullmatch(number)}
    valid = {value for value in shaped if _passes_luhn(written[value])}
    return valid if _are_most(valid, len(shaped), least=5) else set()


def _telephones(written: Mapping[str, str], total: int) -> Collection[str]:
    found = {value for value, number in written.items() if _MOBILE.fullmatch(number.removeprefix("+86"))}
    telephones = _texts(written).telephones
    marked = telephones.mobile | telephones.marked | telephones.bare
    found |= {value for value, is_one in zip(written, marked, strict=True) if is_one}
    return found if _are_most(found, total, least=1) else set()


def _emails(written: Mapping[str, str], total: int) -> Collection[str]:
    if not any("@" in number for number in written.values()):
        return set()
    found = {value for value, is_one in zip(written, _texts(written).emails, strict=True) if is_one}
    return found if _are_most(found, total, least=1) else set()


def _texts(written: Iterable[str]) -> Texts:
    return Texts(pa.array(list(written), pa.large_string()))


def _are_most(found: Collection[str], total: int, *, least: int) -> bool:
    return len(found) >= least and 2 * len(found) > total


def _passes_luhn(number: str) -> bool:
    """Check the last digit of a card (ISO/IEC 7812: every second digit from the right doubled, digits added, mod 10)."""
    doubled = [int(digit) * (1 + i % 2) for i, digit in enumerate(reversed(number))]
    return sum(one // 10 + one % 10 for one in doubled) % 10 == 0


def _distinct(column: pd.Series[Any], *, least: int) -> tuple[dict[str, object], int]:
    """Return the values that have enough digits for a number of a person, by their text, and how many others there are.

    Of more than 20,000 such values every second, third, … is looked at, and the others are counted down likewise.
    """
    if pd.api.types.is_bool_dtype(column) or column.dtype.kind in "Mm":
        return {}, 0
    if column.dtype.kind in "iuf":
        long = column[(column >= 10 ** (least - 1)) & (column < 10**19)].unique().tolist()
        others = column.nunique() - len(long) if long else 0
    else:
        values = column.dropna().unique().tolist()
        texts = pa.array([one for one in values if isinstance(one, str)], pa.string())
        long = texts.filter(pc.match_substring_regex(texts, f"(?:{_DIGIT}{_BETWEEN}*){{{least}}}|[@＠]")).to_pylist()
        long += [one for one in values if isinstance(one, int | Decimal)]
        others = len(values) - len(long)
    step = len(long) // _LOOKED_AT + 1
    return {f"{one:.0f}" if isinstance(one, float | Decimal) else str(one): one for one in long[::step]}, others // step


def _refuse_lost(column: pd.Series[Any], where: str) -> None:
    """Raise SourceError on citizen ids of 18 digits that became floats: their first 15 or 6 digits are still seen."""
    long = column[(column >= 1e17) & (column < 1e18)].unique().tolist()
    digits = [f"{one:.0f}" for one in long[:_LOOKED_AT]]
    placed = [one[:2] in PROVINCES and one[4:6] != "00" for one in digits]
    dated = [ok and is_date(one[6:14]) for ok, one in zip(placed, digits, strict=True)]
    # 6.52301E+17, as Excel shows an id and writes it into a CSV
    cut = [ok and not one[6:].strip("0") for ok, one in zip(placed, digits, strict=True)]
    if long and 2 * len(long) > column.nunique() and (2 * sum(dated) > len(digits) or all(cut)):
        wrong = dated if any(dated) else cut
        flagged = column.isin([one for one, is_id in zip(long, wrong, strict=False) if is_id])
        raise SourceError(
            "the column holds citizen ids that were turned into numbers: of their 18 digits, only the first are right",
            where=_rows(column, flagged, where),
            remedy=AS_TEXT,
        )


def _rows(column: pd.Series[Any], flagged: pd.Series[bool], where: str) -> str:
    return f"{where}, {write_rows(column.index[flagged].tolist())}, column '{column.name}'"
