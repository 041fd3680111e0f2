"""Pseudonyms: identifiers checked, and replaced by keyed hashes that nobody without the key can undo."""

from __future__ import annotations

import codecs
import datetime as dt
import hashlib
import hmac
import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from evalkit.errors import SourceError

_MAKE_KEY = 'make one with: python -c "import secrets; print(secrets.token_hex(32))" > study.key'
_KEEP_KEY = "keep it outside data/ and out of version control"
_SHORTEST = 16
_CITIZEN_CODES = "10X98765432"
_CREDIT_ALPHABET = "0123456789ABCDEFGHJKLMNPQRTUWXY"
_DAMAGED = re.compile(r"[0-9](?:\.[0-9]+)?[Ee]\+[0-9]+|[0-9]+\.0*")
_EXACT_DIGITS = 15  # Excel and float64 keep no more of a whole number
_MOBILE = re.compile("1[3-9][0-9]{9}")


def read_key(key_file: str | Path | None, ledger: Path, unit: str) -> bytes:
    """Read the key of a study; raise SourceError where it is missing, short, or lies with the data. Errors never show it.

    An editor's byte order mark, UTF-16 (as Windows writes it) and white space around the key do not change it.
    """
    if key_file is None:
        raise SourceError(
            f"the unit '{unit}' identifies persons or firms, and there is no key to replace it by pseudonyms",
            where="key_file",
            remedy=f'{_MAKE_KEY}, {_KEEP_KEY}, and give key_file = "study.key"; use the same key for every file of a study',
        )
    path = Path(key_file)
    where = path.as_posix()
    if path.resolve().is_relative_to(ledger.resolve().parent):
        raise SourceError(
            "the key lies in the folder of the ledger, and whoever is given the folder could undo the pseudonyms",
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
    return key


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
    if re.fullmatch("[0-9]{15}", number) and _is_date("19" + number[6:12]):
        body = f"{number[:6]}19{number[6:]}"
        return body + citizen_check(body), ""
    if re.fullmatch("[0-9]{17}[0-9X]", number) and _is_date(number[6:14]):
        return number, "" if number[17] == citizen_check(number) else "fails the checksum of citizen ids (GB 11643)"
    if re.fullmatch(f"[{_CREDIT_ALPHABET}]{{18}}", number):
        good = number[17] == _credit_check(number)
        fault = "is neither a citizen id with a date of birth nor a social credit code (GB 32100 checksum)"
        return number, "" if good else fault
    if re.fullmatch("[A-Z0-9()-]{6,14}", number):
        return number, ""
    return number, "is not the number of a document (18 digits or letters; masked ids identify nobody)"


def reveals_persons(values: Iterable[str]) -> bool:
    """Tell whether a column holds a valid citizen id, or nothing but mobile numbers, whatever it is called."""
    cleaned = [clean(value) for value in values]
    citizens = (one for one in cleaned if re.fullmatch("[0-9]{17}[0-9Xx]", one) and _is_date(one[6:14]))
    return any(not read_document(one)[1] for one in citizens) or all(map(_MOBILE.fullmatch, cleaned))


def citizen_check(number: str) -> str:
    """Return the 18th character of a citizen id from its first 17 digits (GB 11643: weights 2^17 … 2^1, mod 11)."""
    return _CITIZEN_CODES[sum(int(digit) * 2 ** (17 - i) for i, digit in enumerate(number[:17])) % 11]


def _credit_check(code: str) -> str:
    """Return the 18th character of a social credit code from its first 17 (GB 32100: weights 3^0 … 3^16, mod 31)."""
    total = sum(_CREDIT_ALPHABET.index(letter) * 3**i for i, letter in enumerate(code[:17]))
    return _CREDIT_ALPHABET[-total % 31]


def _is_date(digits: str) -> bool:
    try:
        return dt.date(int(digits[:4]), int(digits[4:6]), int(digits[6:])).year >= 1850
    except ValueError:
        return False
