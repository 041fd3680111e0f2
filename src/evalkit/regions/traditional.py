"""Traditional characters in names of regions, as the simplified ones that the lists have."""

from __future__ import annotations

from functools import cache
from importlib.resources import files


def simplify(name: str) -> str:
    """Write a name in simplified characters (瑪納斯縣 → 玛纳斯县); characters that the lists of regions do not have stay."""
    return name.translate(_table())


@cache
def _table() -> dict[int, str]:
    """Read the pairs of characters: traditional, simplified."""
    text = files("evalkit.regions").joinpath("lists", "traditional.txt").read_text(encoding="utf-8")
    pairs = " ".join(line for line in text.splitlines() if not line.startswith("#")).split()
    return {ord(pair[0]): pair[1] for pair in pairs}
