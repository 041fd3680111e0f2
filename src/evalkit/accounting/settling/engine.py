"""Settle: a schedule on monitored values, by keys and period: who pays whom how much."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd

from evalkit.accounting.settling.evaluating import FiguresInUse, RoundEvaluation
from evalkit.accounting.settling.monitoring import Monitor
from evalkit.accounting.settling.paying import PaymentLines, pay
from evalkit.accounting.settling.reading import MONTHS, PERIODS
from evalkit.accounting.settling.rules import Schedule, ScheduleRound
from evalkit.errors import DataError
from evalkit.numerics.arrays import Flags, Ints
from evalkit.tables.periods import Periods
from evalkit.tables.table import Provenance, Table

SETTLED = ("round", "item", "payer", "payee", "amount", "index", "index_unit", "paid_in")


def settle(
    table: Table,
    schedule: Schedule,
    *,
    period: str = "year",
    keys: tuple[str, ...] = (),
    section: str | None = None,
    given: Mapping[str, float] | None = None,
    given_source: str = "",
    name: str = "settlement",
) -> Table:
    """Settle by a schedule: one row for each key, period and item, with payer, payee and amount in yuan.

    `keys` and `period` are columns that identify a settlement; with `section`, the column that names sections, they identify its
    rows. Columns of the result: keys, period, round, item, payer, payee, amount (yuan, not negative), index and index_unit where
    the payment hangs on one, paid_in (the period in which it is paid). Where a monitored value is missing, so is the amount, and
    the provenance counts it. `given` gives figures that are open, or another value for those recalled: {"K0": 0.85}, or
    {"round_1.K0": 0.85} where several rounds have one; `given_source` says where they are from. Provenance names every figure
    used, with its status.

    Raises DataError for an open figure that a rule needs, repeated keys, a period outside all rounds, a column or section that is
    not there, negative values and other units; ConfigError for what is given and does not exist or has no source.
    """
    if isinstance(keys, str):
        raise DataError("keys= is one word, not a tuple", where=name, remedy=f'write keys=("{keys}",)')
    named = [*keys, period, *([] if section is None else [section])]
    if len(set(named)) < len(named):
        twice = next(one for one in named if named.count(one) > 1)
        raise DataError(f"'{twice}' is named twice", where=name, remedy="name keys, period and section each once")
    for key in (*keys, period):
        if key in SETTLED:
            what = f"the key '{key}' has the name of a column of the settlement"
            raise DataError(what, where=table.name, remedy="rename the column")
    if schedule.settles != "year" and period == "year" and period not in table.frame.columns:
        raise DataError(
            f"the schedule settles by {schedule.settles}",
            where=table.name,
            remedy='name the column of periods: period="…"',
        )
    frequency = PERIODS[schedule.settles]
    monitor = Monitor(table, keys, period, section, schedule.settles, frequency)
    figures = FiguresInUse(schedule, dict(given or {}), given_source)
    months = monitor.ordinals * MONTHS[frequency]
    years = months // 12
    within = {one.name: (months >= one.months[0]) & (months <= one.months[1]) for one in schedule.rounds}
    looked_at = _refuse_outside(schedule, within, monitor)
    parts: list[pd.DataFrame] = []
    for one in schedule.rounds:
        if within[one.name].any():
            parts += _settle_round(one, monitor, figures, within[one.name], years)
    if not parts:
        raise DataError(
            "nothing is paid in these periods",
            where=f"{table.name}, column '{period}'",
            remedy="all payments of the schedule are of other years",
        )
    frame = pd.concat(parts)
    frame = frame.iloc[np.argsort(frame["_at"].to_numpy(), kind="stable")]
    notes = _notes(schedule, within, figures, frame, looked_at)
    if unpaid := int(np.logical_or.reduce(list(within.values())).sum()) - frame["_at"].nunique():
        notes.append(f"{unpaid} settlements have no payment, all of which are of other years")
    frame = frame.drop(columns="_at")
    provenance = (*table.provenance, _described(schedule, within, figures, notes))
    return Table(name, frame, provenance, {"amount": "yuan"})


def _settle_round(
    one: ScheduleRound, monitor: Monitor, figures: FiguresInUse, within: Flags, years: Ints
) -> list[pd.DataFrame]:
    whole = np.flatnonzero(within)
    evaluation = RoundEvaluation(one, monitor.at(whole), figures)
    parts = []
    for payment in one.payments:
        at, of = whole, evaluation
        if payment.years is not None:  # what is wrong in other years is not its concern
            at = whole[(years[whole] >= payment.years[0]) & (years[whole] <= payment.years[1])]
            of = RoundEvaluation(one, monitor.at(at), figures)
        if len(at):
            for lines in pay(payment, of, years[at].astype(np.float64)):
                parts.append(_frame(lines, one, of.monitor, at))
    return parts


def _frame(lines: PaymentLines, of: ScheduleRound, monitor: Monitor, at: Ints) -> pd.DataFrame:
    frame = monitor.table.frame.iloc[monitor.first][[*monitor.keys, monitor.period]]
    later = (monitor.ordinals + lines.paid_after).tolist()
    paid_in: list[object] = later
    if monitor.kind != "integer":
        axis = Periods(monitor.kind, 0, 1, np.array([0]))
        paid_in = [axis.name(ordinal) for ordinal in later]
    return frame.assign(
        round=of.name,
        item=lines.item,
        payer=pd.array(lines.payer, dtype="str"),
        payee=pd.array(lines.payee, dtype="str"),
        amount=lines.amount,
        index=lines.index,
        index_unit=lines.index_unit,
        paid_in=pd.Index(paid_in),
        _at=at,
    )


def _refuse_outside(schedule: Schedule, within: Mapping[str, Flags], monitor: Monitor) -> int:
    """Refuse rows outside all rounds, but for those before one that its rules look back to; return how many these are."""
    inside = np.logical_or.reduce(list(within.values()))
    settled = {monitor.groups[i] for i in np.flatnonzero(inside).tolist()}
    back = {
        term.periods_before
        for one in schedule.rounds
        for index in one.indices.values()
        for term in index.terms
        if term.periods_before
    }
    looked_at = np.array(
        [any((*group[:-1], group[-1] + step) in settled for step in back) for group in monitor.groups], dtype=bool
    )
    outside = ~inside & ~looked_at
    if outside.any() or not inside.any():
        wrong = outside if outside.any() else ~inside
        first = int(monitor.first[int(np.argmax(wrong))])
        spans = ", ".join(f"{one.name} {one.first} to {one.last}" for one in schedule.rounds)
        raise DataError(
            f"'{monitor.table.frame[monitor.period].iloc[first]}' is in no round of the schedule ({spans}), as are "
            f"{int(wrong.sum())} settlements in all",
            where=f"{monitor.table.name}, column '{monitor.period}', row {monitor.table.frame.index[first]}",
            remedy="leave these rows out, or use a schedule that has rounds for them",
        )
    return int((~inside).sum())


def _notes(
    schedule: Schedule, within: Mapping[str, Flags], figures: FiguresInUse, frame: pd.DataFrame, looked_at: int
) -> list[str]:
    used = [one for one in schedule.rounds if within[one.name].any()]
    notes = [f"{one.name}, {one.first} to {one.last}: rules {one.status} ({one.source})" for one in used]
    notes += figures.used.values()
    unneeded = [name for name in figures.given if name not in figures.needed]
    if unneeded:
        notes.append(f"given and not needed: {', '.join(unneeded)}")
    missing = int(frame["amount"].isna().sum())
    if missing:
        notes.append(f"{missing} of {len(frame)} payments are missing, because a monitored value is")
    if looked_at:
        notes.append(f"{looked_at} settlements lie before the rounds and are only compared with")
    if schedule.leaves_out:
        notes.append(f"not in the schedule: {schedule.leaves_out['en']}")
    return notes


def _described(schedule: Schedule, within: Mapping[str, Flags], figures: FiguresInUse, notes: list[str]) -> Provenance:
    statuses = [schedule.status, *(one.status for one in schedule.rounds if within[one.name].any())]
    said = "; ".join([f"schedule '{schedule.name}': {schedule.status} ({schedule.source})", *notes])
    recalled = [*(["the rules"] if "recalled" in statuses else []), *figures.recalled]
    synthetic = figures.synthetic or "invented" in statuses
    return replace(schedule.provenance, notes=said, synthetic=synthetic, recalled=tuple(recalled))
