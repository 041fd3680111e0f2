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
from evalkit.sources.files.form import plain_header
from evalkit.sources.ledger.fields import Columns, field_of, is_total, kind_of_field, known_names
from evalkit.sources.persons import AS_TEXT, are_cut, clean, is_damaged, read_document
from evalkit.tables.text_columns import parse_column

_AT_ONCE = 10_000  # identifiers that are Python texts at one time
_WEIGHTS = np.array([2 ** (17 - i) % 11 for i in range(17)])
_CHECKS = np.frombuffer(b"10X98765432", np.uint8)

Refuse = Callable[[NDArray[np.bool_], str, str], None]
"""Raises SourceError naming the rows of the units that are marked, with what is wrong and the remedy; none marked, nothing."""


@dataclass(frozen=True)
class UnitCells:
    """The units of a ledger: the distinct cells of their column, in which nothing stands, and what they are in the table.

    `name()` gives the units in their order in the table, and the place of each distinct cell among them, -1 where it is blank.
    """

    keys: pa.Array
    blank: NDArray[np.bool_]
    name: Callable[[], tuple[Any, NDArray[np.int64]]]


def find_unit(columns: Columns, unit: str) -> tuple[int, str]:
    """Return the place of the unit, and what its header says it is: "identifier", "personal" or "".

    Raises SourceError for a column that the ledger does not have.
    """
    name = field_of(unit)
    exact = [at for at, header in enumerate(columns.headers) if plain_header(header) == plain_header(unit)]
    if len(exact) > 1:
        raise SourceError(
            f"{len(exact)} columns are called '{columns.header(exact[0])}', which is the unit",
            where=columns.where,
            remedy="rename all but one of them",
        )
    at = exact[0] if exact else columns.one(name) if name else None
    if at is None:
        remedy = columns.offer_unit(unit)
        raise SourceError(
            f"there is no column for the unit '{unit}'",
            where=columns.where,
            remedy=f"{remedy}; {known_names(name)}" if name else remedy,
        )
    return at, kind_of_field(columns.headers[at])


def read_codes(keys: pa.Array, refuse: Refuse) -> UnitCells:
    """Take units as they are: numbers where all are, as Delimited would read them, so that a farm is the same in both tables."""
    values: Any
    if pa.types.is_string(keys.type):
        refuse(_marked(keys, is_total), "the row holds a total, not a loan", _REMOVE)
        values = parse_column(pa.chunked_array([keys]), as_text=False)
    else:
        values = keys.to_pandas().to_numpy()
    values = pd.Series(values)
    known = values.notna().to_numpy()
    names, codes = np.unique(np.asarray(values[known]), return_inverse=True)
    placed = np.full(len(keys), -1, dtype=np.int64)
    placed[known] = codes
    shown = pd.array(names.tolist(), dtype="str") if names.dtype.kind == "O" else names
    return UnitCells(keys, ~known, lambda: (shown, placed))


_REMOVE = "leave the rows out: leave_out=(…), with their numbers"


def replace_units(keys: pa.Array, key: bytes, refuse: Refuse, *, documents: int | None) -> UnitCells:
    """Put pseudonyms in place of identifiers: HMAC-SHA256 of the id in half width without spaces, its first 32
    hexadecimal digits.

    Numbers of documents are checked, if they have at least `documents` characters, and hashed in capitals, those of 15 digits as
    the 18 that replaced them; None says that the column holds none.
    """
    cells = write_cells(keys)
    odd = _find_odd(cells)
    refuse(_marked(cells, is_total, odd), "the row holds a total, not a loan", _REMOVE)
    what = "the id was turned into a number, and its digits may be lost"
    refuse(_marked(cells, lambda one: is_damaged(clean(one)), odd), what, AS_TEXT)
    written = cells
    if len(odd):
        mask = np.zeros(len(cells), dtype=bool)
        mask[odd] = True
        cleaned = [clean(one) or None for one in cells.take(pa.array(odd)).to_pylist()]
        written = pc.replace_with_mask(cells, pa.array(mask), pa.array(cleaned, pa.string()))
    _refuse_cut(written, refuse)
    if documents is not None:
        written = _read_documents(written, refuse, documents)
    blank = pc.is_null(written).to_numpy(zero_copy_only=False)
    return UnitCells(keys, blank, lambda: _name(written, blank, key))


def _name(written: pa.Array, blank: NDArray[np.bool_], key: bytes) -> tuple[Any, NDArray[np.int64]]:
    """Hash identifiers; return the pseudonyms in order, and the place of each identifier among them."""
    known = written.filter(pa.array(~blank)) if blank.any() else written
    digests = np.frombuffer(_hash(known, key), dtype=">u8").reshape(-1, 4)[:, :2]
    order = np.lexsort((digests[:, 1], digests[:, 0]))
    ordered = np.ascontiguousarray(digests[order])
    is_first = np.ones(len(order), dtype=bool)  # the same id in two spellings has one pseudonym
    is_first[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    places = np.empty(len(order), dtype=np.int64)
    places[order] = np.cumsum(is_first) - 1
    shown = ordered[is_first].tobytes().hex().encode()
    offsets = pa.py_buffer(np.arange(0, len(shown) + 1, 32, dtype=np.int64))
    names = pa.LargeStringArray.from_buffers(len(shown) // 32, offsets, pa.py_buffer(shown))
    codes = np.full(len(written), -1, dtype=np.int64)
    codes[~blank] = places
    return pd.array(names, dtype="str"), codes


def write_cells(keys: pa.Array) -> pa.Array:
    """Write stored values as text; whole numbers that are floats as whole numbers."""
    if pa.types.is_floating(keys.type):
        return pa.array([None if one is None else write_number(one) for one in keys.to_pylist()], pa.string())
    return keys.cast(pa.string())


def _hash(identifiers: pa.Array, key: bytes) -> bytes:
    """Return the HMAC-SHA256 of each, one behind the other; the key is hashed once, and never leaves this process."""
    block = (hashlib.sha256(key).digest() if len(key) > 64 else key).ljust(64, b"\0")
    inner, outer = (hashlib.sha256(bytes(byte ^ pad for byte in block)).copy for pad in (0x36, 0x5C))
    digests = bytearray()
    for start in range(0, len(identifiers), _AT_ONCE):
        for one in identifiers.slice(start, _AT_ONCE).cast(pa.binary()).to_pylist():
            first, second = inner(), outer()
            first.update(one)
            second.update(first.digest())
            digests += second.digest()
    return bytes(digests)


def _find_odd(cells: pa.Array) -> NDArray[np.int64]:
    """Return the places of cells that are not plainly an id: other characters than letters and digits, or letters alone."""
    odd = pc.or_(pc.invert(pc.and_(pc.ascii_is_alnum(cells), pc.string_is_ascii(cells))), pc.ascii_is_alpha(cells))
    found: NDArray[np.int64] = np.flatnonzero(pc.fill_null(odd, False).to_numpy(zero_copy_only=False))
    return found


def _marked(cells: pa.Array, test: Callable[[str], bool], odd: NDArray[np.int64] | None = None) -> NDArray[np.bool_]:
    """Tell which cells pass a test, among those that are not plainly an id."""
    odd = _find_odd(cells) if odd is None else odd
    found = np.zeros(len(cells), dtype=bool)
    found[odd] = [test(one) for one in cells.take(pa.array(odd)).to_pylist()]
    return found


def _refuse_cut(written: pa.Array, refuse: Refuse) -> None:
    long = pc.fill_null(pc.and_(pc.greater(pc.binary_length(written), 15), pc.ascii_is_decimal(written)), False)
    numbers = written.filter(long)
    if len(numbers) and pc.all(pc.ends_with(numbers.slice(0, 1000), "0")).as_py() and are_cut(numbers.to_pylist()):
        what = "all long ids end in zeros: Excel has kept only their first 15 digits"
        refuse(long.to_numpy(zero_copy_only=False), what, AS_TEXT)


def _read_documents(written: pa.Array, refuse: Refuse, least: int) -> pa.Array:
    """Return document numbers as they are hashed; refuse those that cannot be right."""
    body = pc.ascii_is_decimal(pc.utf8_slice_codeunits(written, 0, 17))
    last = pc.is_in(pc.utf8_slice_codeunits(written, 17, 18), value_set=pa.array([*"0123456789X"]))
    is_long = pc.equal(pc.binary_length(written), 18)
    shaped = pc.fill_null(pc.and_(pc.and_(body, last), is_long), False).to_numpy(zero_copy_only=False)
    good = shaped.copy()
    good[shaped] = _pass(written.filter(pa.array(shaped)))
    at = np.flatnonzero(~good & pc.is_valid(written).to_numpy(zero_copy_only=False))
    others = written.take(pa.array(at)).to_pylist()
    read = [read_document(one) if len(one) >= least else (one.upper(), "") for one in others]
    for fault in dict.fromkeys(fault for _, fault in read if fault):
        wrong = np.zeros(len(written), dtype=bool)
        wrong[at[[found == fault for _, found in read]]] = True
        refuse(wrong, f"the id {fault}", "correct the id from the contract, or leave the row out by leave_out=")
    if not len(at):
        return written
    mask = np.zeros(len(written), dtype=bool)
    mask[at] = True
    return pc.replace_with_mask(written, pa.array(mask), pa.array([number for number, _ in read], pa.string()))


def _pass(numbers: pa.Array) -> NDArray[np.bool_]:
    """Tell which numbers of 18 digits are citizen ids: a date of birth, and the check digit of GB 11643."""
    if not len(numbers):
        return np.zeros(0, dtype=bool)
    fixed = numbers.cast(pa.binary()).cast(pa.binary(18))
    letters = np.frombuffer(fixed.buffers()[1], np.uint8).reshape(-1, 18)[fixed.offset :][: len(fixed)]
    digits = letters[:, :17].astype(np.int64) - 48
    year = digits[:, 6:10] @ [1000, 100, 10, 1]
    month, day = digits[:, 10:12] @ [10, 1], digits[:, 12:14] @ [10, 1]
    leap = (year % 4 == 0) & ((year % 100 != 0) | (year % 400 == 0))
    length = np.array([0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31])[np.where(month <= 12, month, 0)]
    length = length + (leap & (month == 2))
    dated = (year >= 1850) & (year < 2100) & (month >= 1) & (day >= 1) & (day <= length)
    passed: NDArray[np.bool_] = dated & (_CHECKS[(digits @ _WEIGHTS) % 11] == letters[:, 17])
    return passed
