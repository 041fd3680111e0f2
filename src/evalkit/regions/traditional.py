"""Traditional characters in names of regions, as the simplified ones that the lists have."""

from __future__ import annotations

from functools import cache

from evalkit.regions.registry import read_list


def simplify(name: str) -> str:
    """Write a name in simplified characters (瑪納斯縣 → 玛纳斯县); characters that the lists of regions do not have stay."""
    return name.translate(_table())


@cache
def _table() -> dict[int, str]:
    """Read the pairs of characters: traditional, simplified."""
    return {ord(line["traditional"]): line["simplified"] for line in read_list("traditional.csv")}
