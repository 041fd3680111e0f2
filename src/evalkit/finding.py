"""Finding: what a check of an estimate concluded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import pandas as pd

from evalkit.catalogue import Labels, Message
from evalkit.errors import DesignError
from evalkit.estimation import Estimate, Specification

Verdict = Literal["pass", "fail", "inconclusive", "described"]


@dataclass(frozen=True)
class Finding:
    """The outcome of one check.

    check      its name; `null` says what would be true if the claim were sound, None where the check only describes.
    statistic  the test statistic or quantity the sentence is about (NaN where there is none).
    p_value    NaN where none can be supported.
    bound      the bound stated beforehand, or the smallest p attainable for a permutation (the sentence says which; NaN: none).
    verdict    "pass" and "fail" need a null or a bound; "inconclusive" says the data cannot tell; "described" claims nothing.
    sentence   the conclusion in words, in both languages.
    table      the numbers behind it, one row per term, cluster or assignment.
    """

    check: str
    null: Message | None
    statistic: float
    p_value: float
    bound: float
    verdict: Verdict
    sentence: Message
    table: pd.DataFrame

    def summary(self, language: str = "en", labels: Labels | None = None) -> str:
        """Say the finding, in English ("en") or Chinese ("zh"), with the study's labels if given."""
        return f"{self.check}: {self.sentence.text(language, labels)}"


class Check(Protocol):
    """A challenge to a specification."""

    def run(self, spec: Specification) -> Finding:
        """Carry it out."""
        ...


def check(estimate: Estimate, *checks: Check) -> tuple[Finding, ...]:
    """Challenge an estimate: run each check on its specification, in order."""
    for one in checks:
        if isinstance(one, type) or not hasattr(one, "run"):
            raise DesignError(f"{one!r} is not a check", where="check", remedy="pass values such as LeaveOneOut()")
    return tuple(one.run(estimate.spec) for one in checks)
