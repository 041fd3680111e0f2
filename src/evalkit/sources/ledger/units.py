"""Whose loans they are: the distinct units of a ledger as they will stand in its table, pseudonyms in place of persons."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from evalkit.errors import SourceError
from evalkit.sources.files.columns import write_number
from evalkit.sources.ledger.fields import Columns, field_of, is_total, kind_of_field, known_names
from evalkit.sources.persons import AS_TEXT, are_cut, clean, is_damaged, read_document
from evalkit.tables.text_columns import parse_column

_AT_ONCE = 10_000  # identifiers that are Python texts at one time
_PLAIN = "^[0-9A-Za-z]+$"
_CITIZEN = "^[0-9]{17}[0-9X]$"
_WEIGHTS = np.array([2 ** (17 - i) % 11 for i in range(17)])
_CHECKS = np.frombuffer(b"10X98765432", np.uint8)

Refuse = Callable[[NDArray[np.bool_], str, str], None]
"""Raises SourceError naming the rows of the units that are marked, with what is wrong and the remedy; none marked, nothing."""


@dataclass(frozen=True)
class Units:
    """The units of a ledger in their order in the table, and for each distinct cell its place among them, -1 where it is empty."""

    names: Any
    keys: pa.Array
    codes: NDArray[np.int64]


def find_unit(columns: Columns, unit: str) -> tuple[int, str]:
    """Return the place of the unit, and what its header says it is: "identifier", "personal" or "".

    Raises SourceError for a column that the ledger does not have.
    """
    name = field_of(unit)
    exact = [at for at, header in enumerate(columns.headers) if header == unit]
    at = exact[0] if exact else columns.one(name) if name else None
    if at is None:
        remedy = columns.offer_unit(unit)
        raise SourceError(
            f"there is no column for the unit '{unit}'",
            where=columns.where,
            remedy=f"{remedy}; {known_names(name)}" if name else remedy,
        )
    return at, kind_of_field(columns.headers[at])


def read_codes(keys: pa.Array, refuse: Refuse) -> Units:
    """Take units as they are: numbers where all are, as Delimited would read them, so that a farm is the same in both tables."""
    values: Any
    cells = keys
    if pa.types.is_string(cells.type):
        refuse(_marked(cells, is_total), "the row holds a total, not a loan", _REMOVE)
        values = parse_column(pa.chunked_array([cells]), as_text=False)
    else:
        values = cells.to_pandas().to_numpy()
    values = pd.Series(values)
    known = values.notna().to_numpy()
    names, codes = np.unique(np.asarray(values[known]), return_inverse=True)
    placed = np.full(len(cells), -1, dtype=np.int64)
    placed[known] = codes
    return Units(pd.array(names.tolist(), dtype="str") if names.dtype.kind == "O" else names, keys, placed)


_REMOVE = "leave the rows out: leave_out=(…), with their numbers"


def replace_units(keys: pa.Array, key: bytes, refuse: Refuse, *, documents: int | None) -> Units:
    """Put pseudonyms in place of identifiers: HMAC-SHA256 of the id in half width without spaces, its first 32 hexadecimal digits.

    Numbers of documents are checked, if they have at least `documents` characters, and hashed in capitals, those of 15 digits as
    the 18 that replaced them; None says that the column holds none.
    """
    cells = write_cells(keys)
    refuse(_marked(cells, is_total), "the row holds a total, not a loan", _REMOVE)
    refuse(_marked(cells, lambda one: is_damaged(clean(one))), "the id was turned into a number, and its digits may be lost", AS_TEXT)
    written = _clean(cells)
    _refuse_cut(written, refuse)
    if documents is not None:
        written = _read_documents(written, refuse, documents)
    encoded = written.dictionary_encode()
    digests = _hash(encoded.dictionary, key)
    halves = np.frombuffer(digests, dtype=">u8").reshape(-1, 2)
    order = np.lexsort((halves[:, 1], halves[:, 0]))
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    shown = np.frombuffer(digests, np.uint8).reshape(-1, 16)[order].tobytes().hex().encode()
    offsets = pa.py_buffer(np.arange(0, 32 * len(order) + 1, 32, dtype=np.int64))
    names = pa.LargeStringArray.from_buffers(len(order), offsets, pa.py_buffer(shown))
    places = pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False)
    codes = np.where(places >= 0, rank[places], -1) if len(rank) else places
    return Units(pd.array(names, dtype="str"), keys, codes.astype(np.int64))


def write_cells(keys: pa.Array) -> pa.Array:
    """Write stored values as text; whole numbers that are floats as whole numbers."""
    if pa.types.is_floating(keys.type):
        return pa.array([None if one is None else write_number(one) for one in keys.to_pylist()], pa.string())
    return keys.cast(pa.string())


def _hash(identifiers: pa.Array, key: bytes) -> bytes:
    """Return the first 16 bytes of each HMAC-SHA256, one behind the other; the key is hashed once."""
    block = hashlib.sha256(key).digest() if len(key) > 64 else key
    block = block.ljust(64, b"\0")
    inner, outer = (hashlib.sha256(bytes(byte ^ pad for byte in block)) for pad in (0x36, 0x5C))
    begin, end = inner.copy, outer.copy
    digests = bytearray()
    for start in range(0, len(identifiers), _AT_ONCE):
        for one in identifiers.slice(start, _AT_ONCE).to_pylist():
            first = begin()
            first.update(one.encode())
            second = end()
            second.update(first.digest())
            digests += second.digest()[:16]
    return bytes(digests)


def _clean(cells: pa.Array) -> pa.Array:
    """Write identifiers in one way; most are so already."""
    odd = pc.invert(pc.match_substring_regex(cells, _PLAIN))
    if not pc.any(odd).as_py():
        return cells
    at = np.flatnonzero(pc.fill_null(odd, False).to_numpy(zero_copy_only=False))
    cleaned = [clean(one) or None for one in cells.take(pa.array(at)).to_pylist()]
    return pc.replace_with_mask(cells, pc.fill_null(odd, False), pa.array(cleaned, pa.string()))


def _marked(cells: pa.Array, test: Callable[[str], bool]) -> NDArray[np.bool_]:
    """Tell which cells pass a test, among those that are not plainly a code."""
    odd = pc.fill_null(pc.invert(pc.match_substring_regex(cells, "^[0-9A-Za-z]*[0-9][0-9A-Za-z]*$")), False)
    found = odd.to_numpy(zero_copy_only=False).copy()
    at = np.flatnonzero(found)
    found[at] = [test(one) for one in cells.take(pa.array(at)).to_pylist()]
    return found


def _refuse_cut(written: pa.Array, refuse: Refuse) -> None:
    long = pc.fill_null(pc.match_substring_regex(written, "^[0-9]{16,}$"), False)
    if not pc.any(long).as_py():
        return
    if not pc.all(pc.match_substring_regex(written.filter(long), "^[0-9]{15}0+$")).as_py():
        return
    if are_cut(written.filter(long).to_pylist()):
        what = "all long ids end in zeros: Excel has kept only their first 15 digits"
        refuse(long.to_numpy(zero_copy_only=False), what, AS_TEXT)


def _read_documents(written: pa.Array, refuse: Refuse, least: int) -> pa.Array:
    """Return document numbers as they are hashed; refuse those that cannot be right."""
    shaped = pc.fill_null(pc.match_substring_regex(written, _CITIZEN), False).to_numpy(zero_copy_only=False)
    good = shaped.copy()
    good[shaped] = _pass(written.filter(pa.array(shaped)))
    at = np.flatnonzero(~good & pc.is_valid(written).to_numpy(zero_copy_only=False))
    others = written.take(pa.array(at)).to_pylist()
    read = [read_document(one) if len(one) >= least else (one.upper(), "") for one in others]
    for fault in dict.fromkeys(fault for _, fault in read if fault):
        wrong = np.zeros(len(written), dtype=bool)
        wrong[at[[found == fault for _, found in read]]] = True
        refuse(wrong, f"the id {fault}", "correct the id from the contract, or leave the row out by leave_out=")
    mask = np.zeros(len(written), dtype=bool)
    mask[at] = True
    return pc.replace_with_mask(written, pa.array(mask), pa.array([number for number, _ in read], pa.string()))


def _pass(numbers: pa.Array) -> NDArray[np.bool_]:
    """Tell which numbers of 18 digits are citizen ids: a date of birth, and the check digit of GB 11643."""
    if not len(numbers):
        return np.zeros(0, dtype=bool)
    letters = np.frombuffer("".join(numbers.to_pylist()).encode(), np.uint8).reshape(-1, 18)
    digits = letters[:, :17].astype(np.int64) - 48
    year = digits[:, 6:10] @ [1000, 100, 10, 1]
    month, day = digits[:, 10:12] @ [10, 1], digits[:, 12:14] @ [10, 1]
    leap = (year % 4 == 0) & ((year % 100 != 0) | (year % 400 == 0))
    length = np.array([0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31])[np.where(month <= 12, month, 0)]
    length = length + (leap & (month == 2))
    dated = (year >= 1850) & (year < 2100) & (month >= 1) & (day >= 1) & (day <= length)
    passed: NDArray[np.bool_] = dated & (_CHECKS[(digits @ _WEIGHTS) % 11] == letters[:, 17])
    return passed

