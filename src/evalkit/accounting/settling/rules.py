"""Rules of settlement as values: figures with their status, indices of monitored values, and five kinds of payment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from evalkit.tables.contents import in_short
from evalkit.tables.table import Provenance

FigureStatus = Literal["verified", "computed", "recalled", "open", "invented"]
HowCompared = Literal["ratio", "rise", "fall", "level", "product"]
BoundWord = Literal["at_most", "below", "at_least", "above"]
Settled = Literal["year", "quarter", "month"]
WhenNegative = Literal["refused", "nothing", "reverse"]


@dataclass(frozen=True)
class PrintedFigure:
    """A named figure of a schedule and who says so. An "open" one has no value: nobody has printed it.

    `of_round` names the round that it belongs to; it is empty for a figure of the whole schedule.
    """

    name: str
    status: FigureStatus
    value: float | None = None
    unit: str = ""
    source: str = ""
    of_round: str = ""

    __repr__ = in_short


@dataclass(frozen=True)
class Quantity:
    """A number of a rule: written there with its unit, or by name a figure of the schedule, or a column of the table."""

    where: str
    value: float | None = None
    unit: str = ""
    figure: str = ""
    column: str = ""

    __repr__ = in_short


@dataclass(frozen=True)
class Threshold:
    """A bound, with what counts at the bound itself: at_most (≤), below (<), at_least (≥), above (>)."""

    word: BoundWord
    at: Quantity

    __repr__ = in_short


@dataclass(frozen=True)
class Monitored:
    """What a rule reads: a column of the table, at a section if one is named, or an index before this one; in `unit`.

    It is compared with `base`, or with its own value `periods_before`, and counts with `weight`. Values that are not `within` two
    bounds, both included, are refused.
    """

    where: str
    indicator: str = ""
    index: str = ""
    section: str = ""
    unit: str = ""
    weight: Quantity | None = None
    base: Quantity | None = None
    periods_before: int = 0
    may_be_negative: bool = False
    within: tuple[float, float] | None = None

    __repr__ = in_short


@dataclass(frozen=True)
class CompensationIndex:
    """factor × Σ weight × term, where a term is C/C0 (ratio), C - C0 (rise), C0 - C (fall) or C (level); or factor × Π C.

    Weights sum to 1 unless `weights_free`.
    """

    name: str
    where: str
    compare: HowCompared
    terms: tuple[Monitored, ...]
    factor: Quantity | None = None
    unit: str = ""
    weights_free: bool = False

    __repr__ = in_short


@dataclass(frozen=True)
class Requirement:
    """A monitored value and the bound that it has to keep."""

    of: Monitored
    threshold: Threshold

    __repr__ = in_short


@dataclass(frozen=True, kw_only=True)
class _Payment:
    """What all kinds have: a name, who pays whom, what must hold, in which years, and how many periods later it is paid.

    A party is a name, or a column of the table in braces ("{city}"). Where a requirement is missed, 0 is paid.
    """

    item: str
    where: str
    payer: str = ""
    payee: str = ""
    when: tuple[Requirement, ...] = ()
    years: tuple[int, int] | None = None
    paid_after: int = 0

    __repr__ = in_short


@dataclass(frozen=True, kw_only=True, repr=False)
class FixedPayment(_Payment):
    """An amount that does not hang on an index."""

    amount: Quantity


@dataclass(frozen=True)
class Grade:
    """A step of a graded payment: what is paid up to the bound (none: for the rest), by whom to whom."""

    threshold: Threshold | None
    amount: Quantity
    payer: str
    payee: str

    __repr__ = in_short


@dataclass(frozen=True, kw_only=True, repr=False)
class GradedPayment(_Payment):
    """An amount for each grade of an index, ascending; the last takes the rest, so that none is left out or in two grades."""

    index: str
    grades: tuple[Grade, ...]


@dataclass(frozen=True, kw_only=True, repr=False)
class ProportionalPayment(_Payment):
    """A rate times an index. The rate may rise by `step` a year after `step_from`, before which none is known.

    Below 0 the payment turns round ("reverse", `penalty_times` the rate), is nothing, or is refused. Of the amount a deductible
    is taken (money, or a share of it); it is at most `cap`.
    """

    index: str
    rate: Quantity
    step: Quantity | None = None
    step_from: int = 0
    when_negative: WhenNegative = "refused"
    penalty_times: Quantity | None = None
    deductible: Quantity | None = None
    cap: Quantity | None = None


@dataclass(frozen=True)
class Forfeit:
    """Who loses `share` of what is due to him where a requirement is missed, and to whom it goes, in shares that sum to 1."""

    loser: str
    requires: tuple[Requirement, ...]
    share: Quantity
    to: Mapping[str, float]

    __repr__ = in_short


@dataclass(frozen=True, kw_only=True, repr=False)
class SharedPot(_Payment):
    """A fund of `total`, paid in by parties in one proportion and shared out in another, less what is forfeited."""

    fund: str
    total: Quantity
    contribute: Mapping[str, float]
    receive: Mapping[str, float]
    forfeits: tuple[Forfeit, ...] = ()


@dataclass(frozen=True, kw_only=True, repr=False)
class AdvancePayment(_Payment):
    """An amount paid ahead, and set off against what is due `settled_after` periods later: two lines that cancel."""

    amount: Quantity
    settled_after: int = 1


Payment = FixedPayment | GradedPayment | ProportionalPayment | SharedPot | AdvancePayment


@dataclass(frozen=True)
class ScheduleRound:
    """The rules of a span of time: `months` counts from the year 0, both ends included."""

    name: str
    first: str
    last: str
    months: tuple[int, int]
    source: str
    status: FigureStatus
    figures: Mapping[str, PrintedFigure]
    indices: Mapping[str, CompensationIndex]
    payments: tuple[Payment, ...]

    __repr__ = in_short


@dataclass(frozen=True)
class Schedule:
    """Rules of settlement by round: what is monitored, what it is compared with, and who pays whom how much.

    `settles` is the period of a settlement; `leaves_out` says in words (language → clause) what of the agreement is not in it.
    """

    name: str
    title: Mapping[str, str]
    published_by: str
    source: str
    status: FigureStatus
    settles: Settled
    rounds: tuple[ScheduleRound, ...]
    provenance: Provenance
    leaves_out: Mapping[str, str] = field(default_factory=dict)

    __repr__ = in_short

    def figures(self) -> tuple[PrintedFigure, ...]:
        """List the named figures: those of the whole schedule first, then round by round."""
        found = dict.fromkeys(figure for one in self.rounds for figure in one.figures.values())
        return tuple(sorted(found, key=lambda figure: figure.of_round != ""))
