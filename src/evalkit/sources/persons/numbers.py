"""Numbers of documents: the one spelling in which they are compared, and what their dates and check digits must be."""

from __future__ import annotations

import datetime as dt
import re
import unicodedata
from collections.abc import Iterable

AS_TEXT = "store the column as text in the source system and export it again; in Excel, import it as text"
"""What to do about long numbers that a program has taken for numbers."""

PROVINCES = frozenset(
    "11 12 13 14 15 21 22 23 31 32 33 34 35 36 37 41 42 43 44 45 46 50 51 52 53 54 61 62 63 64 65 71 81 82 83".split()
)
"""The provinces of citizen ids: their first two digits."""

OLD_FROM = "30"
"""Years of birth in old ids: what is below may be the code of a town (0xx, 1xx, 2xx) in the code of a household."""

CITIZEN_CODES = "10X98765432"
"""The check characters of citizen ids, by the sum of GB 11643 mod 11."""

CREDIT_ALPHABET = "0123456789ABCDEFGHJKLMNPQRTUWXY"
"""The characters of social credit codes, by their value in GB 32100."""

_DAMAGED = re.compile(r"[0-9](?:\.[0-9]+)?[Ee]\+[0-9]+|[0-9]+\.0*")
EXACT_DIGITS = 15
"""Excel and float64 keep no more of a whole number."""


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
    tails = [one[EXACT_DIGITS:] for one in set(identifiers) if len(one) > EXACT_DIGITS and one.isdecimal()]
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
    if re.fullmatch(f"[{CREDIT_ALPHABET}]{{18}}", number):
        good = number[17] == _credit_check(number)
        fault = "is neither a citizen id with a date of birth nor a social credit code (GB 32100 checksum)"
        return number, "" if good else fault
    if re.fullmatch("[A-Z0-9()-]{6,14}", number):
        return number, ""
    return number, "is not the number of a document (18 digits or letters; masked ids identify nobody)"


def citizen_check(number: str) -> str:
    """Return the 18th character of a citizen id from its first 17 digits (GB 11643: weights 2^17 … 2^1, mod 11)."""
    return CITIZEN_CODES[sum(int(digit) * 2 ** (17 - i) for i, digit in enumerate(number[:17])) % 11]


def _credit_check(code: str) -> str:
    """Return the 18th character of a social credit code from its first 17 (GB 32100: weights 3^0 … 3^16, mod 31)."""
    total = sum(CREDIT_ALPHABET.index(letter) * 3**i for i, letter in enumerate(code[:17]))
    return CREDIT_ALPHABET[-total % 31]


def is_date(digits: str) -> bool:
    """Tell whether eight digits are a day on which somebody may have been born."""
    try:
        return 1850 <= dt.date(int(digits[:4]), int(digits[4:6]), int(digits[6:])).year < 2100
    except ValueError:
        return False
