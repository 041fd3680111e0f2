"""Claim: a printed statement as data, what a computed check says of it, and what the checks refuse before they compute."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence, Sized
from dataclasses import dataclass, field
from typing import Literal, Protocol, get_args

from evalkit.catalogue import LANGUAGES, Labels, Message, message
from evalkit.errors import ConfigError, EvalkitError, nearest
from evalkit.tables.contents import cut_short, in_short
from evalkit.tables.table import Table

ClaimVerdict = Literal["consistent", "contradicted", "impossible", "unsupported", "ambiguous"]
Mismatch = Literal["contradicted", "impossible", "unsupported", "ambiguous"]


@dataclass(frozen=True)
class Judgement:
    """What a check computed. `sentence` shows the arithmetic; the check's docstring says which number `computed` is."""

    computed: float
    verdict: ClaimVerdict
    sentence: Message

    __repr__ = in_short


class ClaimCheck(Protocol):
    """A rule from stated numbers (and tables, by their names) to a verdict."""

    def judge(self, tables: Mapping[str, Table]) -> Judgement:
        """Compute and judge. What a mismatch would mean is stated beforehand; whether there is one is computed."""
        ...


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One printed claim.

    id       its number in the ledger, as text.
    text     the claim in the analyst's words, in every language: language → words.
    printed  the figure as printed: language → figure with its unit.
    check    how it is judged.
    where    its place in the source, where it has one.
    basis    where the check's outside figures and its tolerance come from: language → words.
    """

    id: str
    text: Mapping[str, str] = field(hash=False)
    printed: Mapping[str, str] = field(hash=False)
    check: ClaimCheck
    where: str = ""
    basis: Mapping[str, str] = field(default_factory=dict, hash=False)

    __repr__ = in_short

    def __post_init__(self) -> None:
        where = f"claim {self.id}"
        if not self.id.strip():
            raise ConfigError("a claim has no id", where="claim", remedy='number the claims: id = "1"')
        for name, words in (("text", self.text), ("printed", self.printed), ("basis", self.basis)):
            if (name != "basis" or words) and (set(words) != set(LANGUAGES) or not all(words.values())):
                example = ", ".join(f'{language} = "…"' for language in LANGUAGES)
                raise ConfigError(
                    f"{name} is not given in every language", where=where, remedy=f"write {name} = {{ {example} }}"
                )
        if isinstance(self.check, type) or not hasattr(self.check, "judge"):
            raise ConfigError(f"{self.check!r} is not a check", where=where, remedy="pass a value such as Product(…)")


@dataclass(frozen=True)
class Judged:
    """A claim with its judgement."""

    claim: Claim
    judgement: Judgement

    def __repr__(self) -> str:
        return cut_short(f"Judged({self.summary()})")

    def summary(self, language: str = "en", labels: Labels | None = None) -> str:
        """Say the verdict and the arithmetic, in English ("en") or Chinese ("zh"), with the study's labels if given."""
        verdict = message(f"verdict.{self.judgement.verdict}")
        told = message("claim.judged", id=self.claim.id, verdict=verdict, sentence=self.judgement.sentence)
        return told.text(language, labels)


def judge_claims(claims: Iterable[Claim], tables: Mapping[str, Table]) -> tuple[Judged, ...]:
    """Judge every claim, in order; `tables` by the names that checks give them.

    Raises ConfigError naming the claim where a check cannot be computed or an id stands twice: none is ever left out.
    """
    ledger = tuple(claims)
    ids = [claim.id for claim in ledger]
    for one in ids:
        if ids.count(one) > 1:
            raise ConfigError("the id stands twice", where=f"claim {one}", remedy="give each claim its own id")
    return tuple(Judged(claim, _judge(claim, tables)) for claim in ledger)


def _judge(claim: Claim, tables: Mapping[str, Table]) -> Judgement:
    where = f"claim {claim.id}"
    remedy = "correct the numbers of its check"
    try:
        judgement = claim.check.judge(tables)
    except EvalkitError as error:
        place = ", ".join(part for part in (where, error.where) if part)
        raise ConfigError(error.what, where=place, remedy=error.remedy) from error
    except ArithmeticError as error:
        raise ConfigError(f"the check cannot be computed ({error})", where=where, remedy=remedy) from error
    if not math.isfinite(judgement.computed):
        raise ConfigError(f"the check computes {judgement.computed}, no number", where=where, remedy=remedy)
    return judgement


_Stated = float | Sequence[float] | Mapping[str, float]


def require_numbers(kind: str, *, positive: bool = False, **stated: _Stated) -> None:
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
