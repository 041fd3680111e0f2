"""Pseudonyms: identifiers checked, and replaced by keyed hashes that nobody without the key can undo."""

from __future__ import annotations

import codecs
import datetime as dt
import hashlib
import hmac
import re
import unicodedata
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path

from evalkit.errors import SourceError
from evalkit.sources.files.rows import Rows, each

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
