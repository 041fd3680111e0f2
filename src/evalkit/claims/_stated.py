"""What the checks of claims refuse before they compute: numbers that are none, sizes that are not positive, unequal lists."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence, Sized
from typing import get_args

from evalkit.claim import Mismatch
from evalkit.errors import ConfigError, nearest

Stated = float | Sequence[float] | Mapping[str, float]


def require_numbers(kind: str, *, positive: bool = False, **stated: Stated) -> None:
    """Raise ConfigError naming the field where a number is missing, not finite, or (if asked) not above 0."""
    for name, given in stated.items():
        if isinstance(given, str):
            raise ConfigError(f"{name} is text", where=kind, remedy="give numbers")
        values = given.values() if isinstance(given, Mapping) else given if isinstance(given, Sequence) else (given,)
        for value in values:
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                raise ConfigError(
                    f"{name} holds {value!r}, which is no number", where=kind, remedy="give finite numbers"
                )
            if positive and value <= 0:
                remedy = "state sizes as positive numbers"
                raise ConfigError(f"{name} holds {value!r}, which is not above 0", where=kind, remedy=remedy)


def require_tolerance(kind: str, **stated: float) -> None:
    """Raise ConfigError naming the field where a tolerance is not a finite number from 0 on."""
    for name, value in stated.items():
        require_numbers(kind, positive=False, **{name: value})
        if value < 0:
            raise ConfigError(f"{name} is {value}, below 0", where=kind, remedy="give 0 or more")


def require_some(kind: str, **fields: Sized) -> None:
    """Raise ConfigError where one of the fields is empty."""
    for name, given in fields.items():
        _require_list(kind, name, given)
        if not len(given):
            raise ConfigError(f"{name} is empty", where=kind, remedy=f"give {name} at least one entry")


def require_equal_lengths(kind: str, number: int | None = None, **fields: Sized) -> None:
    """Raise ConfigError unless the fields have equally many entries (`number` of them, if given)."""
    for name, given in fields.items():
        _require_list(kind, name, given)
    lengths = {name: len(given) for name, given in fields.items()}
    if set(lengths.values()) != {number or max(lengths.values())}:
        listed = ", ".join(f"{name} {length}" for name, length in lengths.items())
        remedy = f"give {number} entries of each" if number else "give one entry of each for every row"
        raise ConfigError(f"the numbers of entries differ or are wrong: {listed}", where=kind, remedy=remedy)


def _require_list(kind: str, name: str, given: Sized) -> None:
    """Refuse one word where several are expected: it would pass as a list of its letters."""
    if isinstance(given, str):
        raise ConfigError(f"{name} is one word, not a list", where=kind, remedy=f'write {name} = ["{given}"]')


def require_decimals(kind: str, decimals: int) -> None:
    """Raise ConfigError unless `decimals` is a count of digits after the point."""
    if isinstance(decimals, bool) or not isinstance(decimals, int) or not 0 <= decimals <= 15:
        raise ConfigError(f"decimals is {decimals!r}", where=kind, remedy="count the digits printed after the point")


def require_clusters(kind: str, clusters: int | None) -> None:
    """Raise ConfigError unless `clusters` is left out or a count of at least 2."""
    if clusters is not None and (isinstance(clusters, bool) or not isinstance(clusters, int) or clusters < 2):
        raise ConfigError(
            f"clusters is {clusters!r}", where=kind, remedy="give a whole number from 2 on, or leave it out"
        )


def require_mismatch(kind: str, otherwise: str) -> None:
    """Raise ConfigError unless `otherwise` is a verdict that a mismatch can have."""
    known = get_args(Mismatch)
    if otherwise not in known:
        raise ConfigError(f"otherwise is {otherwise!r}", where=kind, remedy=nearest(str(otherwise), known))
