"""Pseudonyms in place of identifiers: the key of a study, and the columns that are replaced under it."""

from __future__ import annotations

import codecs
import hashlib
import hmac
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from evalkit.errors import SourceError
from evalkit.sources.files.columns import Rows, each
from evalkit.sources.persons.numbers import AS_TEXT, EXACT_DIGITS, are_cut, clean, is_damaged, read_document
from evalkit.sources.persons.revealed import find_persons

MAKE_KEY = 'make one with: python -c "import secrets; print(secrets.token_hex(32))" > study.key'
_KEEP_KEY = "keep it outside data/ and out of version control"
_SHORTEST = 16
_FEWEST = 7  # different characters in a key: of drawn keys of 64 hexadecimal digits, all have more


def read_key(key_file: str | Path | None, data: Path, column: str) -> bytes:
    """Read the key of a study; raise SourceError where it is missing, guessable, or lies with the data. Errors never show it.

    An editor's byte order mark, UTF-16 (as Windows writes it) and white space around the key do not change it.
    """
    if key_file is None:
        raise SourceError(
            f"'{column}' identifies persons or firms, and there is no key to replace it by pseudonyms",
            where="key_file",
            remedy=f'{MAKE_KEY}, {_KEEP_KEY}, and give key_file = "study.key"; use the same key for every file of a study',
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
        raise SourceError("there is no key file", where=where, remedy=f"{MAKE_KEY}; {_KEEP_KEY}")
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
        raise SourceError(f"the key has fewer than {_SHORTEST} bytes", where=where, remedy=MAKE_KEY)
    if _is_made_up(key):
        raise SourceError(
            "the key can be guessed: it is made of few characters, repeats, runs such as 12345, or words",
            where=where,
            remedy=f"{MAKE_KEY}; pseudonyms of files that were read with the old key will change",
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
        long = [cell is not None and cell.isdecimal() and len(cell) > EXACT_DIGITS for cell in cells]
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
