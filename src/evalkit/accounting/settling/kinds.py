"""Payments and what they read, from the entries of a file: each kind says which keys it has."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, get_args

from evalkit.accounting.settling.entries import COLUMN, Entry
from evalkit.accounting.settling.monitoring import bare_unit
from evalkit.accounting.settling.rules import (
    AdvancePayment,
    BoundWord,
    CompensationIndex,
    FixedPayment,
    Forfeit,
    Grade,
    GradedPayment,
    HowCompared,
    Monitored,
    Payment,
    PrintedFigure,
    ProportionalPayment,
    Quantity,
    Requirement,
    SharedPot,
    Threshold,
    WhenNegative,
)
from evalkit.errors import nearest
from evalkit.tables.units import kind_of_unit

FigureMap = Mapping[str, PrintedFigure]
IndexMap = Mapping[str, CompensationIndex]
_BOUNDS = get_args(BoundWord)
_COMMON = ("item", "kind", "payer", "payee", "when", "years", "paid_after")
_TERM = ("indicator", "index", "section", "unit", "may_be_negative", "within")
_KEYS: Mapping[str, tuple[str, ...]] = {
    "fixed": ("amount", "unit"),
    "graded": ("index", "grades", "unit"),
    "proportional": ("index", "rate", "step", "step_from", "unit", "when_negative", "penalty_times", "deductible",
                     "deductible_unit", "cap", "cap_unit"),
    "shares": ("fund", "total", "unit", "contribute", "receive", "forfeits"),
    "advance": ("amount", "unit", "settled_after"),
}  # fmt: skip


def read_payment(entry: Entry, figures: FigureMap, indices: IndexMap) -> Payment:
    """Read one payment of a round. Raises SourceError naming the entry for keys, units and names that do not exist."""
    kind = entry.content.get("kind")
    if not isinstance(kind, str) or kind not in _KEYS:
        shown = "missing" if kind is None else repr(kind)
        raise entry.error(f"the kind of payment is {shown}", nearest(str(kind), _KEYS))
    entry.known((*_COMMON, *_KEYS[kind]))
    common: dict[str, Any] = {
        "item": entry.text("item"),
        "where": entry.where,
        "payer": _party(entry, "payer") if kind not in ("shares", "graded") or "payer" in entry.content else "",
        "payee": _party(entry, "payee") if kind not in ("shares", "graded") or "payee" in entry.content else "",
        "when": tuple(_requirement(one, figures, indices) for one in entry.tables("when")),
        "years": _years(entry),
        "paid_after": entry.whole("paid_after", 0),
    }
    if kind == "fixed":
        return FixedPayment(**common, amount=_money(entry, "amount", figures))
    if kind == "advance":
        settled_after = entry.whole("settled_after", 1, least=1)
        return AdvancePayment(**common, amount=_money(entry, "amount", figures), settled_after=settled_after)
    if kind == "shares":
        if common["payer"] or common["payee"]:
            raise entry.error("a pot has a payer or a payee", "its parties stand in contribute and receive")
        return _pot(entry, common, figures, indices)
    if kind == "graded":
        return GradedPayment(
            **common, index=_index_name(entry, indices), grades=_grades(entry, common, figures, indices)
        )
    return _proportional(entry, common, figures, indices)


def read_term(entry: Entry, figures: FigureMap, indices: IndexMap, compare: HowCompared) -> Monitored:
    """Read one term of an index that compares so."""
    against = {
        "ratio": ("base", "periods_before"),
        "rise": ("base", "periods_before"),
        "fall": ("base", "periods_before"),
    }
    entry.known((*_TERM, *(() if compare == "product" else ("weight",)), *against.get(compare, ())))
    unit = entry.text("unit", "")
    base = entry.quantity("base", figures, unit) if "base" in entry.content else None
    before = entry.whole("periods_before", 0)
    if compare in against and (base is None) == (before == 0):
        remedy = "write base, or periods_before = 1 to compare with the period before, and not both"
        raise entry.error("it is not said, or said twice, what the term is compared with", remedy)
    weight = entry.quantity("weight", figures, "") if "weight" in entry.content else None
    return _monitored(entry, indices, weight=weight, base=base, periods_before=before)


def _monitored(entry: Entry, indices: IndexMap, **more: Any) -> Monitored:
    indicator, index = entry.text("indicator", ""), entry.text("index", "")
    if bool(indicator) == bool(index):
        raise entry.error("a term is one indicator or one index", 'write indicator = "…", a column of the table')
    if index and (index not in indices or more.get("periods_before")):
        remedy = nearest(index, indices) if index not in indices else "compare it with a base"
        raise entry.error(f"there is no index '{index}' before this one", remedy)
    for key in ("section", "within"):
        if index and key in entry.content:
            raise entry.error(f"an index has no {key}", f"write {key} at the terms of that index")
    unit = entry.text("unit", indices[index].unit if index else "")
    section, may_be = entry.text("section", ""), entry.truth("may_be_negative")
    bounds = entry.span("within") if "within" in entry.content else None
    return Monitored(entry.where, indicator, index, section, unit, may_be_negative=may_be, within=bounds, **more)


def _requirement(entry: Entry, figures: FigureMap, indices: IndexMap) -> Requirement:
    entry.known((*_TERM, *_BOUNDS))
    of = _monitored(entry, indices)
    threshold = _threshold(entry, figures, of.unit)
    if threshold is None:
        raise entry.error("no bound is given", f"write one of {', '.join(_BOUNDS)}")
    return Requirement(of, threshold)


def _threshold(entry: Entry, figures: FigureMap, unit: str) -> Threshold | None:
    words: list[BoundWord] = [word for word in _BOUNDS if word in entry.content]
    if len(words) > 1:
        raise entry.error(f"{' and '.join(words)} are both given", "give one bound; write two requirements for a range")
    return Threshold(words[0], entry.quantity(words[0], figures, unit)) if words else None


def _grades(entry: Entry, common: Mapping[str, Any], figures: FigureMap, indices: IndexMap) -> tuple[Grade, ...]:
    found, unit = [], indices[_index_name(entry, indices)].unit
    for one in entry.tables("grades"):
        one.known(("at_most", "below", "amount", "payer", "payee"))
        parties = {key: _party(one, key) if key in one.content else common[key] for key in ("payer", "payee")}
        if not all(parties.values()):
            raise one.error("it is not said who pays whom", "write payer and payee, here or at the payment")
        amount = _money(one, "amount", figures, entry.text("unit", ""))
        found.append(Grade(_threshold(one, figures, unit), amount, **parties))
    remedy = "write grades from the lowest up, each but the last with at_most or below, the last without for the rest"
    if not found or found[-1].threshold is not None or any(grade.threshold is None for grade in found[:-1]):
        raise entry.error("the grades do not cover every value of the index once", remedy)
    bounds = [
        (_known_value(grade.threshold.at, figures, unit), grade.threshold.word == "at_most")
        for grade in found
        if grade.threshold
    ]
    known = [(value, closed) for value, closed in bounds if value is not None]
    if any(one >= other for one, other in pairwise(known)):
        raise entry.error("the bounds of the grades do not ascend", remedy)
    return tuple(found)


def _known_value(quantity: Quantity, figures: FigureMap, unit: str) -> float | None:
    """Return what a bound is, as far as that is known before a table is; figures in another unit are compared then."""
    figure = figures.get(quantity.figure)
    return quantity.value if figure is None else figure.value if figure.unit == unit else None


def _proportional(entry: Entry, common: dict[str, Any], figures: FigureMap, indices: IndexMap) -> ProportionalPayment:
    unit = entry.text("unit", "")

    def of_rate(key: str) -> Quantity:
        read = entry.quantity(key, figures, unit)
        _require_money(entry, key, read, figures, rate=True)
        return read

    def optional(key: str, units: str) -> Quantity | None:
        given = entry.content.get(key)
        is_number = given is not None and not isinstance(given, str)
        if is_number != (f"{key}_unit" in entry.content):  # 47.69 may be yuan or 万元, and 10 a share
            what = f"'{key}' has no unit" if is_number else f"'{key}_unit' is given for no number"
            remedy = (
                f"write {key}_unit = {units}"
                if is_number
                else "leave it out: figures and columns have units of their own"
            )
            raise entry.error(what, remedy)
        return None if given is None else entry.quantity(key, figures, entry.text(f"{key}_unit", ""))

    negative: WhenNegative = entry.choice("when_negative", WhenNegative, "refused")
    if "penalty_times" in entry.content and negative != "reverse":
        raise entry.error(
            "penalty_times is given and the payment does not turn round", 'write when_negative = "reverse"'
        )
    if ("step" in entry.content) != ("step_from" in entry.content):
        raise entry.error("step and step_from belong together", "step_from is the year in which the rate itself holds")
    return ProportionalPayment(
        **common,
        index=_index_name(entry, indices),
        rate=of_rate("rate"),
        step=of_rate("step") if "step" in entry.content else None,
        step_from=entry.whole("step_from", least=1000) if "step_from" in entry.content else 0,
        when_negative=negative,
        penalty_times=entry.quantity("penalty_times", figures, "") if "penalty_times" in entry.content else None,
        deductible=optional("deductible", '"%" or "元"'),
        cap=optional("cap", '"万元"'),
    )


def _pot(entry: Entry, common: dict[str, Any], figures: FigureMap, indices: IndexMap) -> SharedPot:
    contribute, receive = _shares(entry, "contribute"), _shares(entry, "receive")
    if entry.text("fund") in (*contribute, *receive):
        raise entry.error("the fund is one of the parties", "give it a name of its own")
    forfeits = []
    for one in entry.tables("forfeits"):
        one.known(("loser", "requires", "share", "to"))
        loser, to = one.text("loser"), _shares(one, "to")
        for party in (loser, *to):
            if party not in receive:
                raise one.error(f"'{party}' receives nothing from the pot", nearest(party, receive))
        if loser in to:
            raise one.error(f"'{loser}' would forfeit to itself", "leave it out of to")
        if abs(sum(to.values()) - 1) > 1e-9:
            raise one.error(
                f"what is forfeited goes on in shares that sum to {sum(to.values()):.12g}", "let them sum to 1"
            )
        requires = tuple(_requirement(each, figures, indices) for each in one.tables("requires"))
        if not requires:
            raise one.error("it is not said what has to be kept", "write requires = [{ indicator = …, at_most = … }]")
        forfeits.append(Forfeit(loser, requires, one.quantity("share", figures, ""), to))
    return SharedPot(
        **common,
        fund=entry.text("fund"),
        total=_money(entry, "total", figures),
        contribute=contribute,
        receive=receive,
        forfeits=tuple(forfeits),
    )


def _shares(entry: Entry, key: str) -> dict[str, float]:
    table = entry.table(key)
    if not table.content:
        raise entry.error(f"'{key}' names nobody", f'write {key} = {{ "…" = 1, "…" = 4 }}')
    found = {party: table.number(party) for party in table.content}
    if len({bare_unit(party) for party in found}) < len(found):
        raise table.error("a party is named twice", "name each once, with its whole share")
    for party, share in found.items():
        if share <= 0:
            raise table.error(f"the share of '{party}' is {share:g}", "give shares above 0, and leave out who has none")
    return found


def _index_name(entry: Entry, indices: IndexMap) -> str:
    name = entry.text("index")
    if name not in indices:
        raise entry.error(f"there is no index '{name}' in this round", nearest(name, indices))
    return name


def _money(entry: Entry, key: str, figures: FigureMap, unit: str | None = None) -> Quantity:
    read = entry.quantity(key, figures, entry.text("unit", "") if unit is None else unit)
    _require_money(entry, key, read, figures)
    if read.value is not None and read.value < 0:
        raise entry.error(f"'{key}' is negative", "exchange payer and payee instead")
    return read


def _require_money(entry: Entry, key: str, read: Quantity, figures: FigureMap, *, rate: bool = False) -> None:
    if read.column:
        return
    unit = figures[read.figure].unit if read.figure else read.unit
    money, slash, _ = bare_unit(unit).partition("/")
    if bool(slash) != rate or not money or kind_of_unit(money, where=entry.where) != "money":
        wanted = "money per unit of the index, such as 元/m3" if rate else "money, such as 亿元"
        what = f"'{key}' is in '{unit}'" if unit else f"'{key}' has no unit"
        raise entry.error(f"{what}, and is {wanted}", 'write unit = "…"')


def _party(entry: Entry, key: str) -> str:
    name = entry.text(key)
    if ("{" in name or "}" in name) and not COLUMN.fullmatch(name):
        raise entry.error(f"{key} is {name!r}", 'write a name, or one column of the table in braces: "{city}"')
    return name


def _years(entry: Entry) -> tuple[int, int] | None:
    given = entry.content.get("years")
    if given is None:
        return None
    if not isinstance(given, list) or [type(one) for one in given] != [int, int] or given[0] > given[1]:
        raise entry.error(f"years is {given!r}", "write the first and the last year: years = [2015, 2015]")
    return given[0], given[1]
