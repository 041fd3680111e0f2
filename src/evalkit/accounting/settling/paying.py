"""Payments on a table: lines of who pays whom how much, each kind by its own rule. Every line has one payer and one payee."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evalkit.accounting.settling.entries import COLUMN
from evalkit.accounting.settling.evaluating import RoundEvaluation, holds
from evalkit.accounting.settling.monitoring import bare_unit, in_unit, is_share
from evalkit.accounting.settling.rules import (
    AdvancePayment,
    FixedPayment,
    GradedPayment,
    Payment,
    ProportionalPayment,
    Quantity,
    SharedPot,
)
from evalkit.errors import DataError
from evalkit.numerics.arrays import Floats

Parties = list[str | None]
_YUAN = "yuan"


@dataclass(frozen=True)
class PaymentLines:
    """One item for each settlement: payer and payee (n, None where unknown), amount in yuan and index (n,), NaN where missing."""

    item: str
    payer: Parties
    payee: Parties
    amount: Floats
    index: Floats
    index_unit: str
    paid_after: int


def pay(payment: Payment, of: RoundEvaluation, years: Floats) -> list[PaymentLines]:
    """Return the lines of a payment; `years` (n,) of the settlements. Amounts are in yuan and not negative.

    Raises DataError for a party that would pay itself, and a given figure that makes an amount negative.
    """
    lines = _pay(payment, of, years)
    for line in lines:
        pairs = zip(line.payer, line.payee, strict=True)
        alike = np.array([None not in (a, b) and bare_unit(str(a)) == bare_unit(str(b)) for a, b in pairs], dtype=bool)
        for wrong, what in ((alike, "a party would pay itself"), (line.amount < 0, "an amount is negative")):
            if wrong.any():
                raise DataError(
                    f"{what} ('{line.item}')",
                    where=f"{of.monitor.rows(wrong)}; {payment.where}",
                    remedy="correct the parties of this row, or the figures that are given",
                )
    return lines


def _pay(payment: Payment, of: RoundEvaluation, years: Floats) -> list[PaymentLines]:
    kept = of.kept(payment.when)
    if isinstance(payment, FixedPayment):
        return [_line(payment, of, _where_kept(of.number(payment.amount, _YUAN), kept))]
    if isinstance(payment, AdvancePayment):
        amount = _where_kept(of.number(payment.amount, _YUAN), kept)
        ahead = _line(payment, of, amount)
        later = payment.paid_after + payment.settled_after
        back = PaymentLines(
            f"{payment.item}, set off", ahead.payee, ahead.payer, amount, ahead.index, "", later
        )  # fmt: skip
        return [ahead, back]
    if isinstance(payment, GradedPayment):
        return [_graded(payment, of, kept)]
    if isinstance(payment, SharedPot):
        return _pot(payment, of, kept)
    return [_proportional(payment, of, kept, years)]


def _where_kept(amount: Floats, kept: Floats) -> Floats:
    """Pay where all requirements are kept, nothing where one is missed; missing where that is unknown."""
    return np.where(np.isnan(kept), np.nan, np.where(kept > 0, amount, 0.0))


def _parties(name: str, of: RoundEvaluation) -> Parties:
    column = COLUMN.fullmatch(name)
    return list(of.monitor.names(column[1])) if column else [name] * len(of.monitor.groups)


def _line(payment: Payment, of: RoundEvaluation, amount: Floats) -> PaymentLines:
    nothing = np.full(len(amount), np.nan)
    payer, payee = _parties(payment.payer, of), _parties(payment.payee, of)
    return PaymentLines(payment.item, payer, payee, amount, nothing, "", payment.paid_after)


def _graded(payment: GradedPayment, of: RoundEvaluation, kept: Floats) -> PaymentLines:
    index, n = of.index(payment.index), len(of.monitor.groups)
    unit = of.round.indices[payment.index].unit
    amount, open_ = np.full(n, np.nan), ~np.isnan(index)
    payer: Parties = [None] * n
    payee: Parties = [None] * n
    last = np.full(n, -np.inf)
    for grade in payment.grades:
        here = open_
        if grade.threshold is not None:
            at = of.number(grade.threshold.at, unit)
            if (at < last).any():
                remedy = "correct the figures, the given ones among them"
                raise DataError("the bounds of the grades do not ascend", where=payment.where, remedy=remedy)
            open_ = open_ & ~np.isnan(
                at
            )  # a bound that is not known leaves open whether this grade is meant or the next
            last, here = np.fmax(last, at), open_ & holds(grade.threshold, index, at)
        due = of.number(grade.amount, _YUAN)
        payers, payees = _parties(grade.payer, of), _parties(grade.payee, of)
        for i in np.flatnonzero(here).tolist():
            amount[i], payer[i], payee[i] = due[i], payers[i], payees[i]
        open_ = open_ & ~here
    return PaymentLines(payment.item, payer, payee, _where_kept(amount, kept), index, unit, payment.paid_after)


def _proportional(payment: ProportionalPayment, of: RoundEvaluation, kept: Floats, years: Floats) -> PaymentLines:
    index, unit = of.index(payment.index), of.round.indices[payment.index].unit
    rate = _rate(payment.rate, of, unit)
    if payment.step is not None:
        early = years < payment.step_from
        if early.any():
            raise DataError(
                f"step_from is {payment.step_from}, and the rate of the years before is not said",
                where=f"{of.monitor.rows(early)}; {payment.where}",
                remedy="let the rate hold from the first year on, or give the years before a payment of their own: years = […]",
            )
        rate = rate + _rate(payment.step, of, unit) * (years - payment.step_from)
    if (rate < 0).any():
        remedy = "correct rate, step and step_from"
        raise DataError("the rate is negative", where=f"{of.monitor.rows(rate < 0)}; {payment.where}", remedy=remedy)
    amount, turned = rate * index, index < 0
    if turned.any() and payment.when_negative == "refused":
        raise DataError(
            f"the index '{payment.index}' is negative in {int(turned.sum())} settlements, and the rule does not say what then",
            where=f"{of.monitor.rows(turned)}; {payment.where}",
            remedy='write when_negative = "reverse" or "nothing"',
        )
    if payment.when_negative == "nothing":
        amount = np.where(turned, 0.0, amount)
    if payment.penalty_times is not None:
        amount = np.where(turned, amount * _not_negative(payment.penalty_times, of, "", "penalty_times"), amount)
    amount = np.abs(amount)
    if payment.deductible is not None:
        if is_share(of.unit_of(payment.deductible)):
            amount = amount * (1 - _not_negative(payment.deductible, of, "", "deductible"))
        else:  # NumPy's maximum and minimum keep NaN
            amount = np.maximum(amount - _not_negative(payment.deductible, of, _YUAN, "deductible"), 0.0)
    if payment.cap is not None:
        amount = np.minimum(amount, _not_negative(payment.cap, of, _YUAN, "cap"))
    payers, payees = _parties(payment.payer, of), _parties(payment.payee, of)
    back = turned & (payment.when_negative == "reverse")
    payer = [other if turn else one for one, other, turn in zip(payers, payees, back.tolist(), strict=True)]
    payee = [one if turn else other for one, other, turn in zip(payers, payees, back.tolist(), strict=True)]
    return PaymentLines(payment.item, payer, payee, _where_kept(amount, kept), index, unit, payment.paid_after)


def _not_negative(quantity: Quantity, of: RoundEvaluation, unit: str, name: str) -> Floats:
    value = of.number(quantity, unit)
    if (value < 0).any():
        where = f"{of.monitor.rows(value < 0)}; {quantity.where}"
        raise DataError(f"{name} is negative", where=where, remedy="correct the figure")
    return value


def _rate(quantity: Quantity, of: RoundEvaluation, unit: str) -> Floats:
    """Return a rate in yuan per unit of the index (n,)."""
    written = bare_unit(of.unit_of(quantity))
    money, _, per = written.partition("/")
    per = per.removeprefix("(").removesuffix(")")
    if not per and not is_share(unit):
        raise DataError(
            f"the rate is in '{written}', and its index in '{unit}'",
            where=quantity.where if not quantity.column else f"{of.monitor.table.name}, column '{quantity.column}'",
            remedy=f"declare it as money per unit: {money or '元'}/{unit}",
        )
    value = of.number(quantity, written)
    one = np.ones(len(value))
    return in_unit(value, money, _YUAN, where=quantity.where) * in_unit(one, unit, per, where=quantity.where)


def _pot(pot: SharedPot, of: RoundEvaluation, kept: Floats) -> list[PaymentLines]:
    total = of.number(pot.total, _YUAN)
    paid_in, paid_out = sum(pot.contribute.values()), sum(pot.receive.values())
    due = {party: total * share / paid_out for party, share in pot.receive.items()}
    out = dict(due)
    for one in pot.forfeits:
        state = of.kept(one.requires)
        if not (state != 1).any():
            continue
        lost = due[one.loser] * of.number(one.share, "")
        if ((lost < 0) | (lost > due[one.loser])).any():
            raise DataError(
                "more than all, or less than nothing, is forfeited", where=one.share.where, remedy="give a share"
            )
        lost = np.where(np.isnan(state), np.nan, np.where(state > 0, 0.0, lost))
        out[one.loser] = out[one.loser] - lost
        for party, share in one.to.items():
            out[party] = out[party] + lost * share
    n, lines = len(of.monitor.groups), []
    nothing, fund = np.full(n, np.nan), [pot.fund] * n
    for party, share in pot.contribute.items():
        amount = _where_kept(total * share / paid_in, kept)
        lines.append(PaymentLines(f"{pot.item}, paid in", [party] * n, list(fund), amount, nothing, "", pot.paid_after))
    for party, amount in out.items():
        amount = _where_kept(amount, kept)
        lines.append(
            PaymentLines(f"{pot.item}, shared out", list(fund), [party] * n, amount, nothing, "", pot.paid_after)
        )
    return lines
