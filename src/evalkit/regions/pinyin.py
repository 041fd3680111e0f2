"""Names of regions that are written in letters: the Chinese names that have this spelling."""

from __future__ import annotations

import re
import unicodedata
from functools import cache

from evalkit.regions.registry import read_list

# How English names a kind of unit, by the spelling of the Chinese word; a prefecture may be a 州 or a 地区.
_KINDS = {
    "county": ("xian", "zizhixian"),
    "city": ("shi",),
    "district": ("qu",),
    "banner": ("qi", "zizhiqi"),
    "league": ("meng",),
    "province": ("sheng",),
    "prefecture": ("zizhizhou", "diqu"),
}


def read_spelling(text: str) -> tuple[str, ...]:
    """Return the names that a spelling can stand for: with or without tones, spaces, apostrophes and the kind of unit."""
    plain = unicodedata.normalize("NFD", text.replace("ü", "v").replace("Ü", "v"))
    letters = re.sub(r"[^a-z]", "", "".join(one for one in plain if unicodedata.category(one) != "Mn").casefold())
    spelled = _names_by_spelling()
    found = dict.fromkeys(spelled.get(letters, ()))
    for word, kinds in _KINDS.items():
        if letters.endswith(word):
            stem = letters.removesuffix(word).removesuffix("autonomous")
            found |= dict.fromkeys(name for kind in kinds for name in spelled.get(stem + kind, ()))
    return tuple(found)


@cache
def _names_by_spelling() -> dict[str, tuple[str, ...]]:
    """Read the spellings: each name under its whole spelling and under that without the kind of unit."""
    found: dict[str, list[str]] = {}
    for line in read_list("pinyin.csv"):
        for key in dict.fromkeys((line["spelling"] + line["kind"], line["spelling"])):
            found.setdefault(key, []).append(line["name"])
    return {key: tuple(names) for key, names in found.items()}
