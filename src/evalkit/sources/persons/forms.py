"""The forms of numbers of persons, for whole columns at once: a mask of the texts that have each."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from evalkit.sources.persons.numbers import CITIZEN_CODES, CREDIT_ALPHABET, OLD_FROM, PROVINCES

Mask = NDArray[np.bool_]
"""One truth value for each text."""

_BLANKS = " \t\r\n\u200b\ufeff'`‘’\""
_ID = r"(?:^|[^0-9])(?P<id>[0-9]{17}[0-9X])(?:$|[^0-9X])"
_MASKED_ID = r"^(?:[0-9]{3,17}(?:\*{2,}|X{3,}|#{3,}|\.{3,}|…+)[0-9]{0,6}[0-9X]?)$"
_LOST_ID = r"^[1-8][0-9]?(?:\.[0-9]+)?E\+?17$"
_LOST_CARD = r"^[3-6](?:\.[0-9]+)?E\+?1[568]$"
_EMAIL = r"(?i)(?:^|[^A-Z0-9._%+-])[A-Z0-9._%+\p{L}-]+@(?:[A-Z0-9-]+\.)+[A-Z]{2,}"
_LABEL = r"(?i)^(?:手机|电话|联系电话|固话|tel|phone|mobile|cell|[mt])(?:号码|号|ephone)?[.:]? *"
_AREA = "(?:10|2[0-9]|[3-9][0-9]{2})"
_LINE = "[1-9][0-9]{2,3}[ -]?[0-9]{4}"
_EXTENSION = r"(?:[ -]*(?:转|(?i:ext)\.?|[xX#,-]) *[0-9]{1,6})?"
_MOBILE = r"^\(?(?:(?:\+|00)?86\)?[ -]*)?0?1[3-9](?:[ .-]?[0-9]){9}$"
_WITHIN = r"(?:^|[^0-9A-Za-z.+-])1[3-9][0-9]{9}(?:$|[^0-9A-Za-z.-])"
_MASKED_MOBILE = r"^1[3-9][0-9]\*{3,}[0-9]{2,4}$"
_LAND = (
    rf"^\(?0{_AREA}[) -]+{_LINE}{_EXTENSION}$|^\(?(?:\+|00)86\)?[ -]*\(?0?{_AREA}\)?[ -]*{_LINE}{_EXTENSION}$"
    rf"|^\(?0{_AREA}\)?{_LINE}[ -]*(?:转|(?i:ext)\.?|[xX#]) *[0-9]{{1,6}}$"
)
_FOREIGN = (
    r"^\(?\+[1-9](?:[ ()./-]*[0-9]){6,14}$|^00[1-9][0-9]{0,2}[ -](?:[ ()-]*[0-9]){6,13}$"
    r"|^(?:1[ -])?\([2-9][0-9]{2}\) ?[0-9]{3}[ -][0-9]{4}$"
)
_BARE_LAND = (
    "^0(?:10|2[0-9])[1-9][0-9]{7}$|^0[3-9][0-9]{2}[1-9][0-9]{6,7}$"
    "|^[2-9][0-9]{2}[.-][0-9]{3}[.-][0-9]{4}$|^[48]00[ -][0-9]{3,4}[ -]?[0-9]{3,4}$"
)
_LOCAL = rf"^[2-9][0-9]{{2,3}}[ -]?[0-9]{{4}}{_EXTENSION}$"


def matches(texts: pa.Array, pattern: str) -> Mask:
    """Tell which texts match a pattern anywhere."""
    mask: Mask = pc.match_substring_regex(texts, pattern).to_numpy(zero_copy_only=False)
    return mask


@dataclass(frozen=True)
class Ids:
    """Which texts hold 18 digits (the last may be X), which of these a day of birth, and which pass the check digit, too.

    `placed` have a province and a day of birth before 2000, which contracts that are numbered by day have not.
    """

    shaped: Mask
    dated: Mask
    valid: Mask
    placed: Mask


@dataclass(frozen=True)
class Damaged:
    """Ids that are masked or became floats; texts of 17 digits, and which of these have a province and a day of birth."""

    marked: Mask
    short: Mask
    born: Mask


@dataclass(frozen=True)
class Cards:
    """Which texts are 16 to 19 digits, which of these begin as cards do, and which pass the check digit, too."""

    shaped: Mask
    ranged: Mask
    valid: Mask


@dataclass(frozen=True)
class Telephones:
    """Mobile numbers of 11 digits; numbers whose form is a telephone's; and what is one only beside others, or by its header.

    `eleven` are all texts of 11 digits. `bare` are landlines without a mark, `local` such without an area code.
    """

    eleven: Mask
    mobile: Mask
    marked: Mask
    bare: Mask
    local: Mask


@dataclass(frozen=True)
class Texts:
    """Distinct texts of a column, as pa.LargeStringArray."""

    raw: pa.Array

    @cached_property
    def written(self) -> pa.Array:
        """In half width, without the blanks and apostrophes around them."""
        return pc.utf8_trim(pc.utf8_normalize(self.raw, "NFKC"), characters=_BLANKS)

    @cached_property
    def numbers(self) -> pa.Array:
        """In capitals, without blanks, hyphens and the .0 of a number that a program made of them."""
        joined = pc.replace_substring_regex(pc.utf8_upper(self.written), r"[\p{Z}\p{Pd}_]+", "")
        return pc.replace_substring_regex(pc.replace_substring(joined, "×", "X"), r"^([0-9]{11,})\.0*$", r"\1")

    @cached_property
    def ids(self) -> Ids:
        """Citizen ids of 18 digits, also within a longer text (the first of it)."""
        texts = self.numbers
        whole = matches(texts, "^[0-9]{17}[0-9X]$")
        texts = pc.if_else(whole, texts, pc.utf8_upper(self.written))
        shaped = whole | matches(texts, _ID)
        found = pc.struct_field(pc.extract_regex(texts.filter(pa.array(shaped)), _ID), "id")
        digits = characters(found, 18)
        numbers = digits.astype(np.int64) - ord("0")
        years = _whole(numbers[:, 6:10])
        dated = _are_days(years, _whole(numbers[:, 10:12]), _whole(numbers[:, 12:14]))
        codes = np.frombuffer(CITIZEN_CODES.encode(), np.uint8)
        checks = codes[numbers[:, :17] @ (2 ** np.arange(17, 0, -1)) % 11]
        placed = dated & (years < 2000) & (years >= 1900) & _provinces()[numbers[:, 0] * 10 + numbers[:, 1]]
        spread = [_put(shaped, one) for one in (dated, dated & (checks == digits[:, 17]), placed)]
        return Ids(shaped, *spread)

    @cached_property
    def old_ids(self) -> tuple[Mask, NDArray[np.int64]]:
        """Ids of 15 digits: province and day of birth; and the days, as yymmdd."""
        shaped = matches(self.numbers, "^[0-9]{15}$")
        numbers = characters(self.numbers.filter(pa.array(shaped)), 15).astype(np.int64) - ord("0")
        days = _whole(numbers[:, 6:12])
        born = _are_days(1900 + days // 10_000, days // 100 % 100, days % 100) & (days // 10_000 >= int(OLD_FROM))
        born &= _provinces()[numbers[:, 0] * 10 + numbers[:, 1]]
        return _put(shaped, born), days[born]

    @cached_property
    def damaged_ids(self) -> Damaged:
        """Ids that are masked, that became floats, or that lost the last digit."""
        texts = self.numbers
        long = pc.binary_length(texts).to_numpy(zero_copy_only=False) >= 9
        marked = matches(texts, _LOST_ID) | (long & matches(texts, _MASKED_ID) & ~matches(texts, _MASKED_MOBILE))
        short = matches(texts, "^[0-9]{17}$")
        numbers = characters(texts.filter(pa.array(short)), 17).astype(np.int64) - ord("0")
        years = _whole(numbers[:, 6:10])
        born = _are_days(years, _whole(numbers[:, 10:12]), _whole(numbers[:, 12:14])) & (years // 100 == 19)
        return Damaged(marked, short, _put(short, born & _provinces()[numbers[:, 0] * 10 + numbers[:, 1]]))

    @cached_property
    def cards(self) -> Cards:
        """Numbers of 16 to 19 digits; the check digit of ISO/IEC 7812. Social credit codes of firms are none."""
        shaped = matches(self.numbers, "^(?:[1-9][0-9]|0[1-9])[0-9]{14,17}$")
        ranged, valid = np.zeros(len(shaped), bool), np.zeros(len(shaped), bool)
        lengths = pc.binary_length(self.numbers).to_numpy(zero_copy_only=False)
        for length in range(16, 20):
            here = shaped & (lengths == length)
            digits = characters(self.numbers.filter(pa.array(here)), length).astype(np.int64) - ord("0")
            doubled = digits * (1 + np.arange(length - 1, -1, -1) % 2)
            good = (doubled // 10 + doubled % 10).sum(axis=1) % 10 == 0
            begins = (digits[:, 0] >= 3) & (digits[:, 0] <= 6)
            ranged |= _put(here, begins)
            valid |= _put(here, begins & good)
        lost = matches(self.numbers, _LOST_CARD)
        return Cards((shaped | lost) & ~self.firms, ranged & ~self.firms, valid & ~self.firms)

    @cached_property
    def firms(self) -> Mask:
        """Social credit codes: 18 digits and letters from 1, 5, 9 or Y, with the check character of GB 32100."""
        shaped = matches(self.numbers, f"^[159Y][1-9][0-9]{{6}}[{CREDIT_ALPHABET}]{{10}}$")
        values = np.zeros(256, np.int64)
        values[np.frombuffer(CREDIT_ALPHABET.encode(), np.uint8)] = np.arange(31)
        numbers = values[characters(self.numbers.filter(pa.array(shaped)), 18)]
        weights = np.array([pow(3, i, 31) for i in range(17)])
        return _put(shaped, -(numbers[:, :17] @ weights) % 31 == numbers[:, 17])

    @cached_property
    def telephones(self) -> Telephones:
        """Telephone numbers, of a cell with several the first; numbers by day (yymmdd and five digits) are no mobiles."""
        first = pc.replace_substring_regex(pc.replace_substring_regex(self.written, _LABEL, ""), r"[/、;，].*$", "")
        first = pc.utf8_trim(pc.replace_substring_regex(first, "[\u2010-\u2015\u2212]", "-"), characters=" ")
        squeezed = pc.replace_substring_regex(first, r"[ ().+-]|\.0$", "")
        eleven = matches(first, r"^[0-9]{11}(?:\.0)?$")
        mobile = matches(first, _MOBILE) | (eleven & matches(squeezed, "^1[3-9]"))
        digits = characters(pc.utf8_slice_codeunits(squeezed.filter(pa.array(mobile)), -11), 11).astype(np.int64) - ord(
            "0"
        )
        days = _whole(digits[:, :6])
        by_day = _are_days(2000 + days // 10_000, days // 100 % 100, days % 100)
        if 2 * by_day.sum() > len(by_day):  # of mobile numbers, one in thirty
            mobile = _put(mobile, ~by_day)
        marked = matches(first, _LAND) | matches(first, _FOREIGN) | matches(first, _MASKED_MOBILE)
        marked |= (mobile & ~eleven) | (matches(self.written, _WITHIN) & ~matches(self.written, "^[0-9]+$") & ~eleven)
        return Telephones(eleven, mobile & eleven, marked, matches(first, _BARE_LAND), matches(first, _LOCAL))

    @cached_property
    def emails(self) -> Mask:
        """Texts that hold an e-mail address."""
        return matches(self.written, _EMAIL)


def characters(texts: pa.Array, length: int) -> NDArray[np.uint8]:
    """Return the bytes of texts of one length, a row for each."""
    if not len(texts):
        return np.zeros((0, length), np.uint8)
    offsets = np.frombuffer(texts.buffers()[1], np.int64)[texts.offset : texts.offset + len(texts) + 1]
    return np.frombuffer(texts.buffers()[2], np.uint8)[offsets[0] : offsets[-1]].reshape(len(texts), length)


def _whole(digits: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the whole numbers that rows of digits write."""
    return np.asarray(digits @ (10 ** np.arange(digits.shape[1] - 1, -1, -1)), np.int64)


def _put(shaped: Mask, found: Mask) -> Mask:
    """Spread what was found among the shaped texts over all."""
    mask = np.zeros(len(shaped), bool)
    mask[shaped] = found
    return mask


def _are_days(years: NDArray[np.int64], months: NDArray[np.int64], days: NDArray[np.int64]) -> Mask:
    """Tell which are days on which somebody may have been born, as numbers.is_date does."""
    leap = (years % 4 == 0) & ((years % 100 != 0) | (years % 400 == 0))
    last = np.array([0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31])[np.where(months <= 12, months, 0)]
    mask: Mask = (years >= 1850) & (years < 2100) & (days >= 1) & (days <= last + (leap & (months == 2)))
    return mask


def _provinces() -> Mask:
    known = np.zeros(100, bool)
    known[[int(one) for one in PROVINCES]] = True
    return known
