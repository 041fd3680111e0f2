"""Stacked difference-in-differences: one clean experiment for each cohort, put together with weights that make them one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np

from evalkit.catalogue import Message, message
from evalkit.designs.design import Design
from evalkit.designs.sample import Sample, draw_sample, leave_out
from evalkit.errors import DesignError, nearest
from evalkit.estimators._regression import RowsResponse, refuse_unused, regress, without_rounding_of
from evalkit.estimators._saturated import insert_bases, regress_codes
from evalkit.numerics.absorb import effects_rank
from evalkit.numerics.arrays import Flags, Floats, Ints
from evalkit.numerics.saturated import dense_codes
from evalkit.panels.panel import Panel
from evalkit.results.estimation import no_columns
from evalkit.results.fit import Fit, Influence, Part, Term
from evalkit.tables.contents import in_short, same_content

Absorbed = Literal["unit", "group"]


@dataclass(frozen=True, eq=False)
class StackedInfluence:
    """Influence of the rows of a stack (m,), summed by the sample's rows that they repeat: `row` (m,) are their positions."""

    of: Influence
    row: Ints

    __eq__ = same_content
    __repr__ = in_short

    def sum_within(self, groups: Ints, n_groups: int) -> Floats:
        """Sum within groups (n,) of the sample's rows, giving (n_groups, k)."""
        return self.of.sum_within(groups[self.row], n_groups)


@dataclass(frozen=True)
class _Stack:
    """The rows of all sub-experiments, one below the other: `row` (m,) in the sample, `number` (m,) of the sub-experiment."""

    cohorts: Floats
    row: Ints
    number: Ints
    treated: Flags
    event_time: Ints

    def by_group(self) -> _Stack:
        """Order the rows so that the controls come first, then the treated."""
        order = np.argsort(self.treated, kind="stable")
        row, number, treated, event_time = self.row, self.number, self.treated, self.event_time
        return _Stack(self.cohorts, row[order], number[order], treated[order], event_time[order])


@dataclass(frozen=True, kw_only=True)
class Stacked:
    """Compare each cohort with clean controls from -leads to lags in a stack of sub-experiments; terms are "ATT(e=2)".

    Clean controls are not treated (nor anticipating) up to the end of the window, or, with comparison="never_treated", in the
    sample. Cohorts that are not observed, or have no clean control, in each period of the window are left out, so that every
    term speaks of the same cohorts: the trimmed aggregate effect. Controls are weighted so that each sub-experiment has the
    same share of them as of the treated, at each event time. The base is the last event time before adoption and anticipation
    (-1). Rows are repeated, and their influence is summed by row before anything is said of uncertainty.

    effects  what is absorbed: "unit", effects of unit and of period in each sub-experiment, so that gaps in a panel are filled
             by what is known of the unit; "group", as the authors do, effects of the treated and of event time alone, repeated
             rows counting as rows in the factor (N-1)/(N-K) of CR1. On balanced panels the coefficients are the same; errors
             by group also take how sub-experiments differ in their paths for noise.

    Source: Wing, Freedman, Hollingsworth, NBER Working Paper 32054 (2024).
    """

    leads: int
    lags: int
    effects: Absorbed = "unit"

    columns = no_columns
    on_cells = True

    def __post_init__(self) -> None:
        for name, value, least in (("leads", self.leads, 1), ("lags", self.lags, 0)):
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise DesignError(
                    f"{name} is {value!r}", where="Stacked", remedy=f"give a whole number from {least} on"
                )
        if self.effects not in get_args(Absorbed):
            raise DesignError(
                f"effects is {self.effects!r}", where="Stacked", remedy=nearest(str(self.effects), get_args(Absorbed))
            )

    def fit(self, panel: Panel, design: Design, keep: Flags | None = None) -> Fit:
        """Estimate on the panel's rows (those flagged in `keep`, if given)."""
        refuse_unused(design, "Stacked", "dose", "eligible")
        base = -1 - design.anticipation
        if self.leads < -base:
            raise DesignError(
                f"leads is {self.leads}, and the base is event time {base}, before anticipation",
                where="Stacked",
                remedy=f"give leads of at least {-base}",
            )
        sample = draw_sample(panel, design, keep)
        stack, notes = self._stack(sample)
        if self.effects == "group":
            stack = stack.by_group()
        times = [e for e in range(-self.leads, self.lags + 1) if e != base]
        code = np.where(stack.treated & (stack.event_time != base), stack.event_time + self.leads, -1)
        code -= code > base + self.leads
        terms = [Term(f"ATT(e={e})", event_time=e) for e in times]
        counted = None
        if self.effects == "unit":
            fit = regress_codes(_stacked_sample(sample, stack), code, terms, notes, once="note.stack_once")
        else:
            stacked = _grouped_sample(sample, stack)
            columns = [(term, (code == j).astype(np.float64)) for j, term in enumerate(terms)]
            fit = regress(stacked, columns, (*notes, message("note.stack_groups", rows=round(stacked.n_obs))))
            groups = (stacked.unit, stacked.period, *stacked.absorb)
            counted = (stacked.n_obs, len(fit.terms) + effects_rank(groups))
        (part,) = fit.parts
        used = np.zeros(len(sample.rows), dtype=bool)
        used[stack.row] = True
        window = {"first": -self.leads, "last": self.lags}
        sample = leave_out(sample, ~used, message("ledger.outside_stack", **window))
        row = (np.cumsum(used) - 1)[stack.row]
        assert part.regression is not None  # what regress_codes solves
        influence = StackedInfluence(without_rounding_of(part.regression, sample, len(terms)), row)
        response = RowsResponse(part.regression, row, np.eye(part.regression.n_slopes))
        part = Part(sample, part.positions, influence, response=response, counted=counted)
        return insert_bases(replace(fit, parts=(part,)), [base])

    def _stack(self, sample: Sample) -> tuple[_Stack, tuple[Message, ...]]:
        """Put the sub-experiments together, and say which cohorts have none and how many rows are repeated."""
        start = sample.adoption - sample.design.anticipation
        last = int(sample.period.max())
        found: list[tuple[float, Ints]] = []
        cut: list[str] = []
        alone: list[str] = []
        for cohort in np.unique(sample.unit_adoption[sample.unit_adoption <= last]):
            event_time = sample.period - cohort
            inside = (event_time >= -self.leads) & (event_time <= self.lags)
            treated = inside & (sample.adoption == cohort)
            until = last if sample.design.comparison == "never_treated" else cohort + self.lags
            control = inside & (start > until)
            n_times = [int((np.bincount(sample.period[rows]) > 0).sum()) for rows in (treated, control)]
            if min(n_times) == self.leads + self.lags + 1:
                found.append((cohort, np.flatnonzero(treated | control)))
            else:
                (alone if n_times[0] > n_times[1] else cut).append(sample.panel.periods.label(cohort))
        window = {"first": -self.leads, "last": self.lags}
        if not found:
            raise DesignError(
                f"no cohort is observed, with clean controls, at each event time from {-self.leads} to {self.lags}",
                where="Stacked",
                remedy="give fewer leads or lags, or add periods or units that are treated later or never",
            )
        notes: tuple[Message, ...] = ()
        if cut:
            notes = (message("note.stack_cut", cohorts=", ".join(cut), **window),)
        if alone:
            notes = (*notes, message("note.stack_alone", cohorts=", ".join(alone), **window))
        cohorts = np.array([cohort for cohort, _ in found])
        row = np.concatenate([rows for _, rows in found])
        number = np.repeat(np.arange(len(found)), [len(rows) for _, rows in found])
        event_time = sample.period[row] - cohorts[number].astype(np.int64)
        times = np.bincount(row, minlength=len(sample.rows))
        rows, repeated = sample.count_rows(times > 0), sample.count_rows(times > 1)
        stacked = len(row) if sample.counts is None else round(float(times @ sample.counts))
        counted = {"stacks": len(found), "stacked": stacked, "rows": rows, "repeated": repeated}
        stack = _Stack(cohorts, row, number, sample.adoption[row] == cohorts[number], event_time)
        return stack, (*notes, message("note.stacked", **counted))


def _stacked_sample(sample: Sample, stack: _Stack) -> Sample:
    """Repeat the sample's rows as the stack does, with effects of unit, period and the design for each sub-experiment."""

    def cross(codes: Ints) -> Ints:
        return dense_codes(stack.number * (int(codes.max()) + 1) + codes[stack.row])

    weights = _corrective(stack, np.ones(len(stack.row)) if sample.weights is None else sample.weights[stack.row])
    return replace(
        sample,
        rows=sample.rows[stack.row],
        outcome=sample.outcome[stack.row],
        unit=cross(sample.unit),
        period=cross(sample.period),
        adoption=sample.adoption[stack.row],
        cluster=sample.cluster[stack.row],
        covariates=tuple(column[stack.row] for column in sample.covariates),
        absorb=tuple(cross(codes) for codes in sample.absorb),
        weights=weights if np.ptp(weights) > 0 else None,
        counts=None if sample.counts is None else sample.counts[stack.row],
    )


def _grouped_sample(sample: Sample, stack: _Stack) -> Sample:
    """Repeat the sample's rows as the stack does, its units being the controls and the treated, its periods event times."""
    group = stack.treated.astype(np.int64)
    return replace(_stacked_sample(sample, stack), unit=group, period=stack.event_time - int(stack.event_time.min()))


def _corrective(stack: _Stack, weights: Floats) -> Floats:
    """Multiply weights (m,) of controls by the sub-experiment's share of the treated over its share of the controls.

    Shares are by event time. Source: Wing, Freedman, Hollingsworth (2024), section 4, and their function compute_weights.
    """
    e = stack.event_time - int(stack.event_time.min())
    shape = (2, len(stack.cohorts), int(e.max()) + 1)
    at = np.ravel_multi_index((stack.treated.astype(np.int64), stack.number, e), shape)
    mass = np.bincount(at, weights=weights, minlength=int(np.prod(shape))).reshape(shape)
    share = mass / mass.sum(axis=1, keepdims=True)
    corrected: Floats = weights * np.where(stack.treated, 1.0, (share[1] / share[0])[stack.number, e])
    return corrected
