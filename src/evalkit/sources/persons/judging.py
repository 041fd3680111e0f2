"""Whether a column that is to be the unit of a table holds persons: judged by its values, with the header as a second witness."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from evalkit.sources.persons.forms import Mask, Texts, matches
from evalkit.sources.persons.names import are_addresses, are_han_names, are_latin_names

_IDS = "citizen ids"
_OLD_IDS = "citizen ids of 15 digits"
_DAMAGED_IDS = "damaged or mistyped citizen ids"
_CARDS = "numbers of bank cards"
_TELEPHONES = "telephone numbers"
_EMAILS = "e-mail addresses"
_NAMES = "names of persons"
_ADDRESSES = "addresses"

_SAID = {
    _IDS: "身份证|证件|公民身份|居民号|护照|"
    "(?<![a-z])(?:id ?card|id ?n(?:o|umber)|identity|national id|citizen|passport)(?![a-z])",
    _TELEPHONES: "手机|电话|联系方式|固话|(?<![a-z])(?:(?:tele)?phones?|mobiles?|tel|cell)(?![a-z])",
    _CARDS: "卡号|账号|帐号|账户|帐户|(?<![a-z])(?:cards?|accounts?)(?![a-z])",
    _EMAILS: "邮箱|电邮|邮件|(?<![a-z])(?:e ?mails?|mail)(?![a-z])",
    _NAMES: "户主|姓名|户名|借款|贷款人|客户|联系人|农户|农民|法人|法定代表|担保人|保证人|经办人|负责人|受益人|持卡人|"
    "(?<![a-z])(?:(?:sur)?names?|head|borrowers?|farmers?|customers?|clients?|persons?|owners?|holders?|contacts?)(?![a-z])",
    _ADDRESSES: "地址|住址|住所|门牌|(?<![a-z])(?:address(?:es)?|residence|street)(?![a-z])",
}
_PLACE = re.compile(
    "村|乡|镇|县|市|州|省|地区|区域|区划|机构|支行|网点|企业|公司|单位|作物|品种|产品|行业|用途|地块|"
    "(?<![a-z])(?:regions?|count(?:y|ies)|villages?|towns?|townships?|cit(?:y|ies)|provinces?|prefectures?|districts?|states?|"
    "countr(?:y|ies)|banks?|branch(?:es)?|firms?|compan(?:y|ies)|crops?|products?|variet(?:y|ies)|industr(?:y|ies)|sectors?|"
    "areas?|places?|plots?|groups?)(?![a-z])"
)
_LOOKED_AT = 20_000  # values of a column, and as many of those that are unlike most
_FREQUENT = 0.05  # share of a length of which every n-th value says enough
_CHANCE = 1e-3  # odds at which check digits that pass are no accident


@dataclass(frozen=True)
class JudgedUnit:
    """What personal things a column holds; `certain` where form, check digit or header leave no reasonable doubt."""

    kind: str
    certain: bool


def judge_unit(values: pa.Array | pa.ChunkedArray | Sequence[str], header: str = "") -> JudgedUnit | None:
    """Judge the distinct, non-empty texts of one column; None where nothing personal is seen among them.

    Values decide: what is more than half of them (of up to ten three quarters, of up to three all), and what is most of those
    that have its form (3 ids that pass their check digit among codes of villages). A header that speaks of persons makes what
    fits certain; under one that speaks of places, names must be nine in ten. Of more than 20,000 values every n-th is looked at,
    and besides those whose length is rare, and those with @ * ( ) + , or -. Decision 0017 has the rules and how often they err.
    """
    column = _as_column(values)
    if not len(column):
        return None
    said = _Said.read(header)
    look = _Look(Texts(_every_nth(column)), said)
    found = [*_judge_most(look), *_judge_few(look), *_judge_all(look)]
    if len(column) > _LOOKED_AT and not any(one.certain for one in found):
        rare = _rare(column)
        found += _judge_few(_Look(Texts(column.take(pa.array(rare))), said)) if len(rare) else []
    return next((one for one in found if one.certain), found[0] if found else None)


@dataclass(frozen=True)
class _Said:
    """The kinds that a header speaks of; whether it speaks of places, firms or things instead."""

    kinds: frozenset[str]
    place: bool

    @classmethod
    def read(cls, header: str) -> _Said:
        words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", unicodedata.normalize("NFKC", header))
        plain = re.sub(r"[\s_.()-]+", " ", words).lower()
        place = _PLACE.search(plain) is not None
        spoken = {kind for kind, pattern in _SAID.items() if re.search(pattern, plain)}
        return cls(frozenset(spoken - {_NAMES} if place else spoken), place)


@dataclass(frozen=True)
class _Look:
    """The values that are looked at, beside what the header said."""

    texts: Texts
    said: _Said

    @property
    def person(self) -> bool:
        """Whether the header speaks of persons."""
        return bool(self.said.kinds)

    @cached_property
    def has_words(self) -> bool:
        """Whether anything but digits stands in the column: what asks for letters is slow to compile."""
        return bool(matches(self.texts.written, "[^0-9]").any())

    @cached_property
    def names(self) -> tuple[Mask, Mask]:
        """Which values are names of persons, and which are made of words without digits at all."""
        texts = self.texts.written
        if not self.has_words:
            return np.zeros(len(texts), bool), np.zeros(len(texts), bool)
        han, han_words = are_han_names(texts, transcribed=_NAMES in self.said.kinds)
        latin, latin_words = are_latin_names(texts)
        return han | latin, han_words | latin_words

    @cached_property
    def telephones(self) -> Mask:
        """Which values are telephone numbers: landlines without a mark and local numbers only where one in five plainly is."""
        one = self.texts.telephones
        every = one.mobile | one.marked | one.bare | one.local
        plain = one.mobile | one.marked
        return every if plain.any() and 5 * plain.sum() >= every.sum() else plain

    @cached_property
    def damaged_ids(self) -> Mask:
        """Which values are ids that were masked, cut or mistyped, and ids that were not."""
        damaged = self.texts.damaged_ids
        return damaged.marked | damaged.born | self.texts.ids.placed

    @cached_property
    def addresses(self) -> Mask:
        """Which values are addresses."""
        if not self.has_words:
            return np.zeros(len(self.texts.written), bool)
        return are_addresses(self.texts.written, said=_ADDRESSES in self.said.kinds)

    @cached_property
    def old_ids(self) -> Mask:
        """Which values are ids of 15 digits, if their days of birth are spread: the middle of a household's code is a village."""
        found, days = self.texts.old_ids
        months = len(np.unique(days // 100 % 100))
        spread = 2 * len(np.unique(days)) > len(days) and months >= max(3, min(len(days), 10) / 2)
        return found if spread or _IDS in self.said.kinds else np.zeros(len(found), bool)


def _judge_most(look: _Look) -> Iterator[JudgedUnit]:
    """Yield what the greater part of the values is."""
    texts, said, person = look.texts, look.said, look.person
    names = look.names[0]
    if _are_many(look.old_ids):
        yield JudgedUnit(_OLD_IDS, person or int(look.old_ids.sum()) >= 5)
    if _are_many(look.damaged_ids):
        yield JudgedUnit(_DAMAGED_IDS, person)
    yield from _judge_telephones(look)
    if names.mean() >= 0.9 if said.place else _are_many(names, half=_NAMES in said.kinds):
        yield JudgedUnit(_NAMES, person)
    if _are_many(look.addresses):
        yield JudgedUnit(_ADDRESSES, person)
    if _are_many(texts.cards.shaped):
        yield JudgedUnit(_CARDS, False)


def _judge_telephones(look: _Look) -> Iterator[JudgedUnit]:
    """Yield telephone numbers where they are most of the values."""
    one, texts = look.texts.telephones, look.texts
    if _TELEPHONES in look.said.kinds and _are_many(one.mobile | one.marked | one.bare | one.local, half=True):
        certain = bool((one.mobile | one.marked | one.bare).any())
        if certain or not _are_counted(texts.numbers):
            yield JudgedUnit(_TELEPHONES, certain)
    elif _are_many(look.telephones):
        begins = pc.utf8_slice_codeunits(texts.numbers.filter(pa.array(one.mobile)), 0, 3).unique()
        several = len(begins) >= 3 and one.mobile.sum() >= 5
        yield JudgedUnit(_TELEPHONES, look.person or several or bool(one.marked.sum() >= 2))


def _judge_few(look: _Look) -> Iterator[JudgedUnit]:
    """Yield what most of the values of its own form are, be they few in the column."""
    texts, said, ids, cards = look.texts, look.said, look.texts.ids, look.texts.cards
    shaped, valid = int(ids.shaped.sum()), int(ids.valid.sum())
    if valid and (valid == shaped or (valid >= 3 and 2 * valid > shaped)):
        yield JudgedUnit(_IDS, look.person or valid >= 2 or bool((ids.valid & ids.placed).any()))
    elif valid >= 3 and _odds(valid, int(ids.dated.sum()), 1 / 11) < _CHANCE:
        yield JudgedUnit(_IDS, False)
    damaged, placed = texts.damaged_ids, int((ids.placed & ~ids.valid).sum())
    if damaged.marked.any() or 2 * damaged.born.sum() > damaged.short.sum() or _odds(placed, shaped, 1e-3) < _CHANCE:
        yield JudgedUnit(_DAMAGED_IDS, False)
    old, fifteen = int(look.old_ids.sum()), pc.sum(pc.equal(pc.binary_length(texts.numbers), 15)).as_py()
    if old >= 3 and 2 * old > fifteen:
        yield JudgedUnit(_OLD_IDS, False)
    ranged, valid = int(cards.ranged.sum()), int(cards.valid.sum())
    if valid >= (1 if _CARDS in said.kinds else 5) and 2 * valid > ranged:
        yield JudgedUnit(_CARDS, True)
    elif valid >= 3 and _odds(valid, ranged, 0.1) <= _CHANCE:
        yield JudgedUnit(_CARDS, False)
    telephones = texts.telephones
    mobile = int(telephones.mobile.sum())
    if telephones.marked.sum() >= 3 or (mobile >= 3 and 5 * mobile >= 4 * telephones.eleven.sum()):
        yield JudgedUnit(_TELEPHONES, False)
    if texts.emails.any():
        yield JudgedUnit(_EMAILS, True)
    named, words = (int(one.sum()) for one in look.names)
    least, share = (1, 0.1) if _NAMES in said.kinds else (5, 0.9)
    if not said.place and named >= least and named >= share * words:
        yield JudgedUnit(_NAMES, False)
    if not said.place and look.addresses.sum() >= 3:
        yield JudgedUnit(_ADDRESSES, False)


def _judge_all(look: _Look) -> Iterator[JudgedUnit]:
    """Yield the most frequent kind where no kind is most, but all together are."""
    masks = {_IDS: look.texts.ids.valid, _OLD_IDS: look.old_ids, _DAMAGED_IDS: look.damaged_ids}
    masks |= {
        _TELEPHONES: look.telephones,
        _EMAILS: look.texts.emails,
        _ADDRESSES: look.addresses,
        _CARDS: look.texts.cards.valid,
    }
    if not look.said.place:
        masks[_NAMES] = look.names[0]
    if _are_many(np.logical_or.reduce(list(masks.values()))):
        yield JudgedUnit(max(masks, key=lambda kind: int(masks[kind].sum())), look.person)


def _are_many(found: Mask, *, half: bool = False) -> bool:
    """Tell whether most values are found: all of up to three, three quarters of up to ten, more than half of more.

    With `half`, more than half of however few.
    """
    total, count = len(found), int(found.sum())
    if half or total > 10:
        return 2 * count > total
    return count > 0 and (count == total if total <= 3 else 4 * count >= 3 * total)


def _odds(found: int, total: int, share: float) -> float:
    """Bound the odds that `found` or more of `total` have by accident what `share` of all have (Chernoff's bound)."""
    if found <= share * total:
        return 1.0
    seen = found / total
    rest = (1 - seen) * math.log((1 - seen) / (1 - share)) if found < total else 0.0
    return math.exp(-total * (seen * math.log(seen / share) + rest))


def _are_counted(texts: pa.Array) -> bool:
    """Tell whole numbers that follow one another: more than half of those between the least and the greatest are there."""
    numbers = pc.cast(texts.filter(pc.match_substring_regex(texts, "^[0-9]{1,18}$")), pa.int64())
    return len(numbers) > 1 and 2 * len(numbers) > pc.max(numbers).as_py() - pc.min(numbers).as_py()


def _as_column(values: pa.Array | pa.ChunkedArray | Sequence[str]) -> pa.Array:
    """Return texts as one pa.LargeStringArray without empty values."""
    if not isinstance(values, pa.Array | pa.ChunkedArray):
        values = pa.array(values, pa.large_string())
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    return values.drop_null().cast(pa.large_string())


def _every_nth(column: pa.Array) -> pa.Array:
    return column.take(pa.array(np.arange(0, len(column), len(column) // _LOOKED_AT + 1)))


def _rare(column: pa.Array) -> NDArray[np.int64]:
    """Return where the values stand that are unlike most: of a rare length in bytes, or with @ * ( ) + , or - in them.

    At most about 20,000 of each, spread over the lengths and over the column.
    """
    offsets = np.frombuffer(column.buffers()[1], np.int64)[column.offset : column.offset + len(column) + 1]
    lengths = np.minimum(np.diff(offsets), 255)
    counts = np.bincount(lengths, minlength=256)
    positions = np.flatnonzero((counts < _FREQUENT * len(column))[lengths])
    if len(positions) > _LOOKED_AT:
        kept = [
            at[:: len(at) // 1_000 + 1]
            for at in (positions[lengths[positions] == n] for n in np.unique(lengths[positions]))
        ]
        positions = np.concatenate(kept)
    letters = np.frombuffer(column.buffers()[2], np.uint8)[offsets[0] : offsets[-1]]
    found = [positions]
    for odd in (letters == ord("@"), letters - np.uint8(ord("(")) < ord(".") - ord("(")):
        at = np.flatnonzero(odd)
        found.append(np.searchsorted(offsets, at[:: len(at) // _LOOKED_AT + 1] + offsets[0], side="right") - 1)
    return np.unique(np.concatenate(found))
