"""Claim: a printed statement as data, and what a computed check says of it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from evalkit.catalogue import LANGUAGES, Labels, Message, message
from evalkit.errors import ConfigError, EvalkitError
from evalkit.table import Table

Verdict = Literal["consistent", "contradicted", "impossible", "unsupported", "ambiguous"]
Mismatch = Literal["contradicted", "impossible", "unsupported", "ambiguous"]


@dataclass(frozen=True)
class Judgement:
    """What a check computed. `sentence` shows the arithmetic; the check's docstring says which number `computed` is."""

    computed: float
    verdict: Verdict
    sentence: Message


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
