"""Persons: numbers that identify somebody, told by their form and check digit, and the pseudonyms that replace them."""

from __future__ import annotations

import codecs
import datetime as dt
import hashlib
import hmac
import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from evalkit.errors import SourceError
from evalkit.sources.files.columns import Rows, each, write_rows

_CITIZEN = re.compile("(?<![0-9])[0-9]{17}[0-9X](?![0-9X])")
_DIGIT = r"[0-9\x{FF10}-\x{FF19}]"  # half or full width
_CARD = re.compile("62[0-9]{14,17}")
_MOBILE = re.compile("1[3-9][0-9]{9}")
_TELEPHONE = re.compile("手机|电话|phone|mobile", re.IGNORECASE)
_PROVINCES = frozenset(
    "11 12 13 14 15 21 22 23 31 32 33 34 35 36 37 41 42 43 44 45 46 50 51 52 53 54 61 62 63 64 65 71 81 82 83".split()
)
_LOOKED_AT = 20_000  # distinct values of a column: more would say the same, more slowly
_OLD_FROM = "30"  # years of birth in old ids: what is below may be the code of a town (0xx, 1xx, 2xx) in the code of a household


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
    check digit: more than half, and at least five. Mobile numbers are looked for where the header speaks of telephones. `others`
    counts values that are too short to be given. Decision 0017 has the odds of a false alarm.
    """
    written = {value: clean(value).upper() for value in set(values)}
    total = len(written) + others
    for kind, found in (
        ("citizen ids", _citizens(written)),
        ("citizen ids of 15 digits", _old_citizens(written, total)),
        ("numbers of bank cards", _cards(written)),
        ("telephone numbers", _telephones(written, total) if _TELEPHONE.search(header) else frozenset()),
    ):
        if found:
            return Revealed(kind, frozenset(found))
    return None


def are_mobile_numbers(values: Iterable[str]) -> bool:
    """Tell whether texts are nothing but mobile numbers."""
    return all(_MOBILE.fullmatch(clean(value)) for value in set(values))


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


def replace_identifiers(rows: Rows, header: str, key: bytes) -> list[str | None]:
    """Return a column of ids as the pseudonyms that LoanLedger gives them under the same key, None where empty.

    A column with citizen ids is hashed as LoanLedger does with 证件号码: capitals, ids of 15 digits as the 18 that replaced them;
    what is long enough for an id is checked. Raises SourceError naming the rows of ids that lost digits, or fail their check.
    """
    identifiers = read_identifiers(rows, header)
    revealed = find_persons(one for one in identifiers if one is not None)
    if revealed is not None and revealed.kind.startswith("citizen"):
        long = [one if one is not None and len(one) >= 15 else None for one in identifiers]
        checked = read_documents(rows, header, long)
        identifiers = [known or (one and one.upper()) for known, one in zip(checked, identifiers, strict=True)]
    return each(identifiers, lambda one: pseudonym(key, one) if one is not None else None)


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
        and number[:2] in _PROVINCES
        and number[6:8] >= _OLD_FROM
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
    return found if _are_most(found, total, least=1) else set()


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
        long = texts.filter(pc.match_substring_regex(texts, f"(?:{_DIGIT}\\s*){{{least}}}")).to_pylist()
        long += [one for one in values if isinstance(one, int | Decimal)]
        others = len(values) - len(long)
    step = len(long) // _LOOKED_AT + 1
    return {f"{one:.0f}" if isinstance(one, float | Decimal) else str(one): one for one in long[::step]}, others // step


def _refuse_lost(column: pd.Series[Any], where: str) -> None:
    """Raise SourceError on citizen ids of 18 digits that became floats: their first 15 or 6 digits are still seen."""
    long = column[(column >= 1e17) & (column < 1e18)].unique().tolist()
    digits = [f"{one:.0f}" for one in long[:_LOOKED_AT]]
    placed = [one[:2] in _PROVINCES and one[4:6] != "00" for one in digits]
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


AS_TEXT = "store the column as text in the source system and export it again; in Excel, import it as text"
"""What to do about long numbers that a program has taken for numbers."""

_MAKE_KEY = 'make one with: python -c "import secrets; print(secrets.token_hex(32))" > study.key'
_KEEP_KEY = "keep it outside data/ and out of version control"
_SHORTEST = 16
_FEWEST = 7  # different characters in a key: of drawn keys of 64 hexadecimal digits, all have more
_CITIZEN_CODES = "10X98765432"
_CREDIT_ALPHABET = "0123456789ABCDEFGHJKLMNPQRTUWXY"
_DAMAGED = re.compile(r"[0-9](?:\.[0-9]+)?[Ee]\+[0-9]+|[0-9]+\.0*")
_EXACT_DIGITS = 15  # Excel and float64 keep no more of a whole number


def read_key(key_file: str | Path | None, data: Path, column: str) -> bytes:
    """Read the key of a study; raise SourceError where it is missing, guessable, or lies with the data. Errors never show it.

    An editor's byte order mark, UTF-16 (as Windows writes it) and white space around the key do not change it.
    """
    if key_file is None:
        raise SourceError(
            f"'{column}' identifies persons or firms, and there is no key to replace it by pseudonyms",
            where="key_file",
            remedy=f'{_MAKE_KEY}, {_KEEP_KEY}, and give key_file = "study.key"; use the same key for every file of a study',
        )
    path = Path(key_file)
    where = path.as_posix()
    if path.resolve().is_relative_to(data.resolve().parent):
        raise SourceError(
            "the key lies in the folder of the data, and whoever is given the folder could undo the pseudonyms",
            where=where,
            remedy=f"move the key elsewhere; {_KEEP_KEY}",
        )
    if not path.is_file():
        raise SourceError("there is no key file", where=where, remedy=f"{_MAKE_KEY}; {_KEEP_KEY}")
    try:
        raw = path.read_bytes()
        if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            raw = raw.decode("utf-16").encode()
        key = raw.removeprefix(codecs.BOM_UTF8).strip()
    except (OSError, UnicodeDecodeError):
        key = None  # and the error is raised outside, as a UnicodeDecodeError holds the bytes
    if key is None:
        raise SourceError("the key file cannot be read", where=where, remedy="check its rights, or make a new key")
    if len(key) < _SHORTEST:
        raise SourceError(f"the key has fewer than {_SHORTEST} bytes", where=where, remedy=_MAKE_KEY)
    if _is_made_up(key):
        raise SourceError(
            "the key can be guessed: it is made of few characters, repeats, runs such as 12345, or words",
            where=where,
            remedy=f"{_MAKE_KEY}; pseudonyms of files that were read with the old key will change",
        )
    return key


def _is_made_up(key: bytes) -> bool:
    """Tell a key that somebody thought of from one that a machine drew.

    Fewer than 1 in 10,000 drawn keys of 32 hexadecimal digits are taken for one, and of 64 none in 40,000.
    """
    try:
        text = key.decode()
    except UnicodeDecodeError:
        text = key.decode("latin-1")  # raw bytes
    repeats = (text == (text[:size] * len(text))[: len(text)] for size in range(1, min(15, len(text) // 2) + 1))
    steps = [ord(right) - ord(left) for left, right in pairwise(text)]
    runs = (len(set(steps[i : i + 5])) == 1 and abs(steps[i]) <= 1 for i in range(len(steps) - 4))
    small, capital, letters = (sum(map(test, text)) for test in (str.islower, str.isupper, str.isalpha))
    words = 4 * max(small, capital, letters - small - capital) >= 3 * len(text)
    return len(set(text)) < _FEWEST or any(repeats) or any(runs) or words


def read_identifiers(rows: Rows, header: str) -> list[str | None]:
    """Read a column of ids in one spelling, None where empty; raise SourceError where ids lost digits on their way."""
    cells = each(rows.cells(header), lambda cell: clean(cell or "") or None)
    damaged = [cell is not None and is_damaged(cell) for cell in cells]
    rows.refuse(damaged, header, "the id was turned into a number, and its digits may be lost", AS_TEXT)
    if are_cut(cell for cell in cells if cell is not None):
        long = [cell is not None and cell.isdecimal() and len(cell) > _EXACT_DIGITS for cell in cells]
        rows.refuse(long, header, "all long ids end in zeros: Excel has kept only their first 15 digits", AS_TEXT)
    return cells


def read_documents(rows: Rows, header: str, numbers: Sequence[str | None]) -> list[str | None]:
    """Return the numbers of documents as they are hashed; raise SourceError naming the rows of those that cannot be right."""
    documents = each(numbers, lambda number: read_document(number) if number is not None else ("", ""))
    for fault in dict.fromkeys(fault for _, fault in documents if fault):
        wrong = [found == fault for _, found in documents]
        rows.refuse(wrong, header, f"the id {fault}", "correct the id from the contract, or leave the row out")
    return [number or None for number, _ in documents]


def pseudonym(key: bytes, identifier: str) -> str:
    """Return the first 32 hexadecimal digits of the HMAC-SHA256 of an identifier in UTF-8."""
    return hmac.new(key, identifier.encode(), hashlib.sha256).hexdigest()[:32]


def clean(identifier: str) -> str:
    """Write an identifier in one way: half width, no spaces, without the apostrophe that makes Excel keep text."""
    return re.sub(r"\s+", "", unicodedata.normalize("NFKC", identifier)).lstrip("'")


def is_damaged(identifier: str) -> bool:
    """Tell whether an identifier was read as a number on its way: 6.52E+17, 1000234.0."""
    return _DAMAGED.fullmatch(identifier) is not None


def are_cut(identifiers: Iterable[str]) -> bool:
    """Tell whether all numbers of more than 15 digits end in zeros from the 16th on, which is what Excel leaves of them.

    Three zeros in all are asked for, as one number of 16 digits may well end in 0.
    """
    tails = [one[_EXACT_DIGITS:] for one in set(identifiers) if len(one) > _EXACT_DIGITS and one.isdecimal()]
    return len("".join(tails)) >= 3 and not "".join(tails).strip("0")


def read_document(number: str) -> tuple[str, str]:
    """Return a cleaned id number as it is hashed, and what is wrong with it ("" where nothing is).

    Citizen ids have 18 digits (the last may be X) with a date of birth and the checksum of GB 11643; those of 15 digits become
    the 18 that replaced them. Unified social credit codes have 18 letters and digits with the checksum of GB 32100. Other
    documents have 6 to 14 letters, digits, hyphens and brackets, and no checksum that could be tested.
    """
    number = number.upper()
    if re.fullmatch("[0-9]{15}", number) and is_date("19" + number[6:12]):
        body = f"{number[:6]}19{number[6:]}"
        return body + citizen_check(body), ""
    if re.fullmatch("[0-9]{17}[0-9X]", number) and is_date(number[6:14]):
        return number, "" if number[17] == citizen_check(number) else "fails the checksum of citizen ids (GB 11643)"
    if re.fullmatch(f"[{_CREDIT_ALPHABET}]{{18}}", number):
        good = number[17] == _credit_check(number)
        fault = "is neither a citizen id with a date of birth nor a social credit code (GB 32100 checksum)"
        return number, "" if good else fault
    if re.fullmatch("[A-Z0-9()-]{6,14}", number):
        return number, ""
    return number, "is not the number of a document (18 digits or letters; masked ids identify nobody)"


def citizen_check(number: str) -> str:
    """Return the 18th character of a citizen id from its first 17 digits (GB 11643: weights 2^17 … 2^1, mod 11)."""
    return _CITIZEN_CODES[sum(int(digit) * 2 ** (17 - i) for i, digit in enumerate(number[:17])) % 11]


def _credit_check(code: str) -> str:
    """Return the 18th character of a social credit code from its first 17 (GB 32100: weights 3^0 … 3^16, mod 31)."""
    total = sum(_CREDIT_ALPHABET.index(letter) * 3**i for i, letter in enumerate(code[:17]))
    return _CREDIT_ALPHABET[-total % 31]


def is_date(digits: str) -> bool:
    """Tell whether eight digits are a day on which somebody may have been born."""
    try:
        return 1850 <= dt.date(int(digits[:4]), int(digits[4:6]), int(digits[6:])).year < 2100
    except ValueError:
        return False
