"""Names of persons and addresses, told by their form: Chinese, transcribed and Latin ones, and what only looks like them."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from evalkit.regions.registry import gazetteer
from evalkit.sources.persons.forms import Mask, matches

_DOT = "[·•・‧∙⋅.。]"
_DOTTED = rf"^\p{{Han}}{{1,12}}(?: ?{_DOT} ?\p{{Han}}{{1,12}})+$"
_MASKED = r"^\p{Han}{1,2}(?:[*X某]{1,3}|[*]{1,2}\p{Han})$"
_LATIN_WORD = (
    r"(?:(?:\p{Lu}['’]|Mc|Mac|Al-|al-|El-)?\p{Lu}\p{Ll}+(?:['’-]\p{L}\p{Ll}*)*"
    r"|\p{Lu}['’]?\p{Lu}+(?:['’-]\p{Lu}+)*|(?:\p{Lu}\.-?){1,3})"
)
_PARTICLE = "(?:(?:van|von|de|der|den|da|di|del|la|dos|bin|ibn|zu|ter|y|van der|de la|von der) )"
_LATIN = (
    rf"^(?:(?:Mr|Mrs|Ms|Dr|Prof|MR|MRS|MS|DR)\.? )?(?:{_LATIN_WORD}(?:,? ?\b{_PARTICLE}?{_LATIN_WORD}| \p{{Lu}}\b){{1,3}})"
    r"(?:,? (?:Jr|Sr|JR|SR|II|III)\.?)?$"
)
_FULL_WORD = r"\p{L}{3}|\p{L}{2} \p{L}{2}$"
_HAN_NUMBER = "[0-9一二三四五六七八九十百零〇]+(?:-[0-9]+)*"
_LEVEL = "(?:省|自治区|市|县|区|州|旗|乡|镇|村|组|队|屯|庄|连|团|团场|路|街|巷|社区|小区|縣|區|鄉|鎮)"
_STREET = (
    rf"(?:(?:路|街|巷|大道|弄|胡同|社区|小区|花园|家园).{{0,10}}?|{_LEVEL}.+?{_LEVEL}.*?)"
    rf"{_HAN_NUMBER} ?(?:号|號|室|栋|幢|单元|弄|楼|附)"
)
_CHAIN = rf"{_LEVEL}.+?{_LEVEL}.+?{_LEVEL}"
_LATIN_STREET = (
    r"(?i)^(?:(?:apt|flat|unit|no)\.? ?[0-9]+[a-z]?,? )?[0-9]{1,5}[a-z]?,? (?:\p{L}[\p{L}.'’-]* ){1,4}"
    r"(?:street|st|road|rd|avenue|ave|lane|ln|drive|dr|boulevard|blvd|way|court|ct|place|pl|square|sq|terrace|highway|hwy)\b"
    r"|(?i)^(?:[0-9]{1,5} ?(?:bis|ter)?,? )?"
    r"(?:rue|avenue|boulevard|chemin|calle|via|viale|piazza|rua|avenida|ulitsa|ulica|ул\.?|jalan) \p{L}"
    r"|(?i)\p{L}(?:stra(?:ß|ss)e|str\.|weg|platz|gasse|allee) [0-9]+"
    r"|(?i)\bp\.? ?o\.? ?box [0-9]+"
)


def are_han_names(texts: pa.Array, *, transcribed: bool) -> tuple[Mask, Mask]:
    """Tell names of two to four characters that begin with a surname, and which texts are words of that length at all.

    A note in brackets and all names but the first of a cell are left out. Regions, and what ends as villages, firms and kinds
    do, are no names, and count as no words either. Names in which a dot joins transcriptions are names; with `transcribed`, so
    are words of three to twelve characters all of which are in use for transcriptions.
    """
    bare = pc.replace_substring_regex(texts, r"\(.*\)$|[、,，/;].*$|等[0-9一二三四五六七八九十]*[户人]$", "")
    bare = pc.replace_substring_regex(bare, r"(\p{Han}) +(\p{Han})", r"\1\2")
    bare = pc.replace_substring_regex(bare, "(?:先生|女士)$", "")
    words = matches(bare, r"^\p{Han}{2,4}$")
    dotted, masked = matches(bare, _DOTTED), matches(bare, _MASKED)
    sounded = matches(bare, f"^[{_letters('sounds')}]{{3,12}}$") if transcribed else np.zeros(len(texts), bool)
    if not (words | dotted | sounded | masked).any():
        return words, words
    other = matches(bare, f"(?:{'|'.join(_words('others', 'ends'))})$")
    other |= _among(bare, _no_names())
    lengths = pc.utf8_length(bare).to_numpy(zero_copy_only=False)
    compound = _among(pc.utf8_slice_codeunits(bare, 0, 2), pa.array(_words("surnames", "compound"), pa.large_string()))
    single = _among(pc.utf8_slice_codeunits(bare, 0, 1), pa.array(sorted(_letters("single")), pa.large_string()))
    # 张家沟 and 王家: places called after a family
    family = matches(bare, r"^\p{Han}家(?:[庄沟湾坝坪岭坡塘寨堡河桥店集口渠滩台山]|$)")
    named = words & ~other & ~family & ((compound & (lengths > 2)) | (single & (lengths < 4)))
    named |= (masked & (single | compound)) | ((sounded | dotted) & ~other)
    return named, (words | dotted | masked | sounded) & ~other


def are_latin_names(texts: pa.Array) -> tuple[Mask, Mask]:
    """Tell two to four words in capitals or with a capital, a comma and initials allowed; and which texts are words at all."""
    words = matches(texts, r"^\p{L}[\p{L} .,'’-]+$") & matches(texts, r"^[^\p{Han}]+$")
    if not words.any():
        return words, words
    named = words & matches(texts, _LATIN) & matches(texts, _FULL_WORD)
    if not named.any():
        return named, words
    stops = "|".join(sorted(set(_words("others", "latin"))))
    named &= ~matches(texts, rf"(?i)(?:^|[ ,.-])(?:{stops})(?:[ ,.-]|$)")
    return named & ~_among(texts, _no_names()), words


def are_addresses(texts: pa.Array, *, said: bool) -> Mask:
    """Tell chains of places that end in a numbered house, and streets; where the header says address, three places will do."""
    found = matches(texts, _STREET) | matches(texts, _LATIN_STREET)
    return found | matches(texts, _CHAIN) if said else found


def _among(texts: pa.Array, known: pa.Array) -> Mask:
    mask: Mask = pc.is_in(texts, value_set=known).to_numpy(zero_copy_only=False)
    return mask


@cache
def _no_names() -> pa.Array:
    """Return the names of regions, short and long, and other words that begin as names do."""
    lists = gazetteer()
    return pa.array(sorted({*lists.by_name, *lists.aliases, *_words("others", "whole")}), pa.large_string())


@cache
def _tables() -> dict[str, Any]:
    return tomllib.loads(files("evalkit.sources.persons").joinpath("words.toml").read_text(encoding="utf-8"))


def _words(table: str, kind: str) -> list[str]:
    return str(_tables()[table][kind]).split()


def _letters(kind: str) -> str:
    return "".join(sorted(set("".join(_words("surnames", kind)))))
