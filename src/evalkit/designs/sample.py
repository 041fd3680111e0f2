"""Sample: what a design makes of a panel, checked; the arrays that estimators work on."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from scipy.special import gammaln

from evalkit.catalogue import Message, message
from evalkit.designs.adoption import adoption_notes, read_assignment, read_dose, read_eligible
from evalkit.designs.design import Design
from evalkit.designs.indicators import Category, Indicators
from evalkit.errors import DataError, DesignError
from evalkit.numerics.arrays import Flags, Floats, Ints, cut_blocks, first_rows, in_blocks
from evalkit.panels.panel import Dropped, Panel
from evalkit.tables.columns import Codes, count_lost_units, name_rows, numbers, require_column
from evalkit.tables.contents import in_short, same_content


@dataclass(frozen=True, eq=False)
class Sample:
    """The rows a design uses, as arrays of length n sorted by unit and period.

    rows (n,) positions in the panel; outcome, each of the covariates (a category makes one for each value but one; all are
    named by `covariate_names`) and weights (n,) float64 (weights: None where all are equal, counts already multiplied in); unit
    (n,) dense codes of the absorbed unit; period (n,) positions on the panel's time axis; adoption (n,) the position of the first
    treated period, inf = never; cluster (n,) codes of the units of assignment, whose labels are `clusters`; absorb: one code
    array (n,) for each further effect; dose (n,) 0 where untreated, and eligible (n,), each None where the design names none.
    """

    panel: Panel
    design: Design
    rows: Ints
    outcome: Floats
    unit: Ints
    period: Ints
    adoption: Floats
    cluster: Ints
    clusters: tuple[Any, ...]
    covariates: tuple[Floats, ...]
    covariate_names: tuple[str, ...]
    absorb: tuple[Ints, ...]
    weights: Floats | None
    counts: Floats | None
    ledger: tuple[Dropped, ...]
    notes: tuple[Message, ...]
    dose: Floats | None = None
    eligible: Flags | None = None

    __eq__ = same_content
    __repr__ = in_short

    @property
    def n_obs(self) -> float:
        """Count observations (rows, or the rows that collapsed rows stand for)."""
        return float(len(self.rows)) if self.counts is None else float(self.counts.sum())

    @property
    def n_units(self) -> int:
        """Count units (those that collapsed units stand for); the absorbed groups, for repeated cross-sections."""
        if self.counts is None or self.panel.unit_codes is None:
            return len(self.starts)
        return self.count_units(np.ones(len(self.starts), dtype=bool))

    def count_rows(self, rows: Flags) -> int:
        """Count the flagged rows (n,): the rows that they stand for, where they are collapsed."""
        return int(rows.sum()) if self.counts is None else round(float(self.counts[rows].sum()))

    def count_units(self, units: Flags) -> int:
        """Count the flagged absorbed units (U,): the units that they stand for, where they are collapsed."""
        return int(units.sum()) if self.counts is None else round(float(self.counts[self.starts][units].sum()))

    @cached_property
    def starts(self) -> Ints:
        """First row of each absorbed unit (U,); rows of a unit are contiguous and sorted by period."""
        whole = self.panel.unit_codes is not None and self.unit is self.panel.unit_codes.values
        return self.panel.starts if whole else first_rows(self.unit)

    @cached_property
    def ends(self) -> Ints:
        """Last row of each absorbed unit (U,)."""
        return np.append(self.starts[1:], len(self.unit)) - 1

    @cached_property
    def unit_adoption(self) -> Floats:
        """Adoption of each absorbed unit (U,)."""
        return self.adoption[self.starts]

    @cached_property
    def unit_cluster(self) -> Ints:
        """Unit of assignment of each absorbed unit (U,)."""
        return self.cluster[self.starts]

    @cached_property
    def last_period(self) -> int:
        """Position of the last period that has a row."""
        return int(self.period.max())

    @property
    def event_time(self) -> Floats:
        """Steps since adoption (n,), -inf where never treated."""
        return self.period - self.adoption

    def cluster_adoption(self) -> Floats:
        """Adoption of each unit of assignment, indexed by code; NaN where the sample has none of its rows."""
        adoption = np.full(len(self.clusters), np.nan)
        adoption[self.unit_cluster] = self.unit_adoption
        return adoption


@dataclass(frozen=True)
class _Columns:
    """What a design reads, one value per row of the panel; of those with `gaps` a missing value drops the row.

    Of a covariate of categories these are codes.
    """

    outcome: Floats
    covariates: tuple[Floats, ...]
    effects: tuple[Ints, ...]
    weights: Floats | None
    counts: Floats | None
    dose: Floats | None
    eligible: Floats | None
    gaps: tuple[tuple[str, Floats], ...]


def draw_sample(
    panel: Panel, design: Design, keep: Flags | None = None, *, without_anticipation: bool = False
) -> Sample:
    """Apply a design to a panel (to the rows flagged in `keep`, if given), checking all that the design presumes.

    `without_anticipation` leaves out the periods in which units may respond beforehand (for one average effect; an event
    study shows them). Rows with a missing outcome, covariate, weight, dose, group or absorbed effect leave through the ledger.
    Raises DesignError where the design cannot identify an effect, DataError where values contradict it.
    """
    assigned, adoption = read_assignment(panel, design)
    read = _read_columns(panel, design, adoption)
    unit = panel.unit_codes.values if panel.unit_codes is not None else assigned.values
    ahead = panel.position - adoption if without_anticipation and design.anticipation else None
    kept, ledger = _leave_out(panel, design, read, unit, ahead, keep)
    categories = [one for one in design.covariates if isinstance(one, Indicators)]
    usable = kept if keep is None or not categories else _leave_out(panel, design, read, unit, ahead, None)[0]
    chosen = {
        one: one.category(panel, usable) for one in categories
    }  # those of all rows: refits of some name them alike
    rows = panel.places if kept.all() else np.flatnonzero(kept)
    if panel.unit_codes is None:
        # Order by everything the arithmetic sees, so that the order of the input changes no bit of the result.
        keys = [assigned.values, panel.position, adoption, read.outcome, *read.covariates, read.weights, read.counts]
        keys += [read.dose, read.eligible, *read.effects]
        rows = rows[np.lexsort([key[rows] for key in reversed(keys) if key is not None])]
    every = len(rows) == len(panel) and panel.unit_codes is not None

    def pick(values: Any) -> Any:
        return values if every else values[rows]

    # Collapsed cells keep the notes of their rows, of which they show one each.
    told = panel.within is not None or panel.rows is not None
    notes = panel.notes if told else (*panel.notes, *assignment_notes(panel, design))
    notes = (*notes, *(one.note() for one in chosen.values()))
    names, covariates = _lay_out(design, read, chosen, rows, pick)
    counts = None if read.counts is None else pick(read.counts)
    sample = Sample(
        panel,
        design,
        rows,
        pick(read.outcome),
        unit if every else _dense(pick(unit)),
        pick(panel.position),
        pick(adoption),
        pick(assigned.values),
        assigned.labels,
        covariates,
        names,
        tuple(_dense(pick(codes)) for codes in read.effects),
        _regression_weights(None if read.weights is None else pick(read.weights), counts),
        counts,
        ledger,
        notes,
        None if read.dose is None else pick(read.dose),
        None if read.eligible is None else pick(read.eligible) == 1,
    )
    _check_identified(sample)
    return sample


def leave_out(sample: Sample, rows: Flags, reason: Message) -> Sample:
    """Leave the flagged rows (n,) out of a sample, through its ledger, and check again that it identifies an effect."""
    if not rows.any():
        return sample
    if rows.all():
        raise DesignError("no rows are left", where=str(reason), remedy="check these columns")

    def pick(values: Any) -> Any:
        return None if values is None else values[~rows]

    lost = np.add.reduceat(~rows, sample.starts, dtype=np.int64) == 0
    line = Dropped("design", reason, sample.count_rows(rows), sample.count_units(lost))
    names = ("rows", "outcome", "period", "adoption", "cluster", "weights", "counts", "dose", "eligible")
    smaller = replace(
        sample,
        **{name: pick(getattr(sample, name)) for name in names},
        unit=_dense(pick(sample.unit)),
        covariates=tuple(pick(column) for column in sample.covariates),
        absorb=tuple(_dense(pick(codes)) for codes in sample.absorb),
        ledger=(*sample.ledger, line),
    )
    _check_identified(smaller)
    return smaller


def _read_columns(panel: Panel, design: Design, adoption: Floats) -> _Columns:
    outcome = numbers(panel.frame, design.outcome)
    covariates = tuple(_read_covariate(panel, one) for one in design.covariates)
    weights = None if design.weights is None else numbers(panel.frame, design.weights)
    counts = None if panel.counts is None else numbers(panel.frame, panel.counts)
    dose = None if design.dose is None else read_dose(panel, design.dose, adoption)
    eligible = None if design.eligible is None else read_eligible(panel, design.eligible)
    named = [(design.outcome, outcome), *zip(design.covariate_columns(), covariates, strict=True)]
    if design.weights is not None and weights is not None:
        named.append((design.weights, weights))
        if (weights < 0).any():
            raise DataError(
                "a weight is negative",
                where=name_rows(panel.frame, weights < 0, design.weights),
                remedy="weights are sampling or analytic weights, zero or positive",
            )
    for field, also in ((design.dose, dose), (design.eligible, eligible)):
        if field is not None and also is not None:
            named.append((field, also))
    gaps = tuple((column, values) for column, values in named if not _is_finite(values))
    for column, values in gaps:
        if np.isinf(values).any():
            infinite = np.isinf(values)
            raise DataError(
                f"'{column}' is infinite in {int(infinite.sum())} rows",
                where=name_rows(panel.frame, infinite, column),
                remedy="was a logarithm taken of 0? Leave these rows out, or choose another transformation",
            )
    effects = tuple(_crossed(panel, effect) for effect in design.absorb)
    return _Columns(outcome, covariates, effects, weights, counts, dose, eligible, gaps)


def _is_finite(values: Floats) -> bool:
    """Say whether all values (n,) are there, and finite."""
    return all(in_blocks(lambda rows: bool(np.isfinite(values[rows]).all()), cut_blocks(len(values))))


def _read_covariate(panel: Panel, covariate: str | Indicators) -> Floats:
    """Numbers (n,) of a column, or codes of its categories; NaN where missing."""
    if isinstance(covariate, Indicators):
        codes = covariate.codes(panel).values
        return np.where(codes < 0, np.nan, codes)
    require_column(panel.frame, covariate)
    try:
        return numbers(panel.frame, covariate)
    except DataError as error:
        as_category = (
            f'if {covariate} is a category, write covariates=(ek.indicators("{covariate}"),), or in study.toml '
            f'covariates = [{{ verb = "indicators", of = "{covariate}" }}]'
        )
        raise DataError(error.what, where=error.where, remedy=f"{as_category}; if a number, {error.remedy}") from None


def _lay_out(
    design: Design, read: _Columns, chosen: dict[Indicators, Category], rows: Ints, pick: Callable[[Floats], Floats]
) -> tuple[tuple[str, ...], tuple[Floats, ...]]:
    """Names and columns (n,) of the covariates in the sample's rows, a category taking one for each value but one."""
    named: list[tuple[str, Floats]] = []
    for one, values in zip(design.covariates, read.covariates, strict=True):
        named += chosen[one].columns(rows) if isinstance(one, Indicators) else [(one, pick(values))]
    _refuse_taken([name for name, _ in named], "slope" if design.dose else "ATT")
    return tuple(name for name, _ in named), tuple(column for _, column in named)


def _refuse_taken(names: Sequence[str], effect: str) -> None:
    """Refuse covariates named as effects are, "ATT" or "ATT(e=2)", or as another covariate: terms are told apart by name."""
    for i, name in enumerate(names):
        taken = name == effect or (name.startswith((f"{effect}(", f"{effect} [")) and name.endswith((")", "]")))
        if taken or name in names[:i]:
            whose = f"effects of the estimate are called '{effect}'" if taken else "another covariate has that name"
            raise DesignError(
                f"a covariate is called '{name}', and {whose}",
                where=f"covariates, '{name}'",
                remedy=f"rename that column, for example to '{name.split('(')[0].split(' ')[0].split('=')[0]}_covariate'",
            )


def _leave_out(
    panel: Panel, design: Design, read: _Columns, unit: Ints, ahead: Floats | None, keep: Flags | None
) -> tuple[Flags, tuple[Dropped, ...]]:
    """Flag the rows (n,) that stay; count in the ledger those that `keep` flags but that cannot be used, reason by reason."""
    reasons = [(np.isnan(values), message("ledger.missing", column=column)) for column, values in read.gaps]
    reasons += [
        (codes < 0, message("ledger.missing", column=effect))
        for effect, codes in zip(design.absorb, read.effects, strict=True)
    ]
    if read.weights is not None:
        reasons.append((read.weights == 0, message("ledger.zero_weight", column=str(design.weights))))
    if ahead is not None:
        reasons.append(((ahead < 0) & (ahead >= -design.anticipation), message("ledger.anticipation")))
    kept = np.ones(len(panel), dtype=bool) if keep is None else keep.copy()
    ledger: list[Dropped] = []
    for rows, reason in reasons:
        if not rows.any() or not (kept & rows).any():
            continue
        lost, gone = count_lost_units(unit[kept], ~rows[kept]), int((kept & rows).sum())
        if read.counts is not None and panel.unit_codes is not None:  # what collapsed rows stand for
            before, after = (np.bincount(unit[some], minlength=len(panel.starts)) > 0 for some in (kept, kept & ~rows))
            lost = round(float(read.counts[panel.starts][before & ~after].sum()))
        if read.counts is not None:
            gone = round(float(read.counts[kept & rows].sum()))
        ledger.append(Dropped("design", reason, gone, lost))
        kept &= ~rows
    if not kept.any():
        where = "; ".join(f"{line.reason} ({line.rows} rows)" for line in ledger) or "the filter keeps none"
        raise DesignError("no rows are left", where=where, remedy="check these columns")
    return kept, tuple(ledger)


def _regression_weights(weights: Floats | None, counts: Floats | None) -> Floats | None:
    """Weights times counts (n,); None where every row weighs the same."""
    if counts is not None:
        return counts if weights is None else weights * counts
    return None if weights is None or np.ptp(weights) == 0 else weights


def smallest_attainable_p(sample: Sample) -> float:
    """Return the smallest p that any permutation of adoption over the units of assignment can give.

    One over the number of distinct assignments (multinomial over cohorts); two over it where exactly half adopt, all at
    once, because the mirror assignment then gives the same absolute effect.
    """
    adoption = sample.cluster_adoption()
    adoption[adoption > sample.last_period] = np.inf
    _, sizes = np.unique(adoption[~np.isnan(adoption)], return_counts=True)
    ties = 2 if len(sizes) == 2 and sizes[0] == sizes[1] else 1
    if sizes.sum() > 1000:  # exact integers would have thousands of digits
        return float(ties * np.exp(gammaln(sizes + 1).sum() - gammaln(sizes.sum() + 1)))
    return ties / (math.factorial(int(sizes.sum())) // math.prod(math.factorial(int(size)) for size in sizes))


def assignment_notes(panel: Panel, design: Design) -> tuple[Message, ...]:
    """Say what in the adoption column may be meant otherwise, and which units change their unit of assignment."""
    moved = _moved(panel, design, read_assignment(panel, design)[0])
    if not moved:
        return adoption_notes(panel, design)
    listed = "; ".join(moved[:5]) + ("; …" if len(moved) > 5 else "")
    told = message("note.moved", units=len(moved), column=design.assigned_at, listed=listed)
    return (*adoption_notes(panel, design), told)


def _moved(panel: Panel, design: Design, assigned: Codes) -> list[str]:
    """Name the units that change their unit of assignment: "farm 7: 昌吉市 → 阜康市 in 2022"."""
    if panel.unit_codes is None:
        return []
    now = panel.codes(design.assigned_at)
    if now is assigned:
        return []
    rows = np.flatnonzero(now.values != assigned.values)
    units, first = np.unique(panel.unit_codes.values[rows], return_index=True)
    named = []
    for unit, row in zip(units, rows[first], strict=True):
        there = now.labels[now.values[row]] if now.values[row] >= 0 else "?"
        where = f"{assigned.labels[assigned.values[row]]} → {there}"
        named.append(f"{panel.unit_codes.labels[unit]}: {where} ({panel.periods.label(float(panel.position[row]))})")
    return named


def _crossed(panel: Panel, effect: str) -> Ints:
    """Codes of an effect such as "sector*year"; -1 where any of its columns is missing."""
    crossed = np.zeros(len(panel), dtype=np.int64)
    missing = np.zeros(len(panel), dtype=bool)
    for part in (name.strip() for name in effect.split("*")):
        codes = Codes(panel.position, ()) if part == panel.time else panel.codes(part)
        missing |= codes.values < 0
        crossed = _dense(crossed * (int(codes.values.max()) + 1) + np.maximum(codes.values, 0))
    return np.where(missing, -1, crossed)


def _dense(codes: Ints) -> Ints:
    """Renumber codes 0, 1, 2, … in order, without gaps."""
    if not len(codes):
        return codes
    present = np.zeros(int(codes.max()) + 1, dtype=bool)
    present[codes] = True
    return codes if present.all() else (np.cumsum(present) - 1)[codes]


def _check_identified(sample: Sample) -> None:
    design, periods = sample.design, sample.panel.periods
    where = f"adoption = '{design.adoption or design.treated}'"
    first, last = sample.period[sample.starts], sample.period[sample.ends]
    if first.min() == sample.last_period:
        raise DesignError(
            f"there is only one period, {periods.label(sample.period[0])}",
            where=f"time = '{sample.panel.time}'",
            remedy="a difference-in-differences needs at least one period before and one after adoption",
        )
    adoption = sample.unit_adoption
    finite = np.isfinite(adoption)
    if not (last >= adoption).any():
        late = f"; the first adoption is after {periods.label(sample.last_period)}" if finite.any() else ""
        raise DesignError(
            f"nobody is treated in the periods observed{late}",
            where=where,
            remedy="check the adoption column, and that rows after adoption are in the sample",
        )
    if not (finite & (first < adoption)).any():
        raise DesignError(
            "no treated unit is observed before its adoption",
            where=where,
            remedy="add earlier periods; without them there is nothing to compare the treated with",
        )
    if (adoption == adoption[0]).all():
        raise DesignError(
            f"everyone is treated at once, in {periods.label(adoption[0])}",
            where=where,
            remedy="add units that are not treated, or are treated later",
        )
    if sample.dose is not None and not (sample.dose > 0).any():
        raise DesignError(
            "no treated row has a dose above 0",
            where=f"dose = '{design.dose}'",
            remedy="check the dose column, and that rows after adoption are in the sample",
        )
    if design.comparison == "never_treated" and finite.all():
        raise DesignError(
            "comparison is 'never_treated', but every unit is treated in the end",
            where=where,
            remedy="use comparison='not_yet_treated'",
        )


def share_assignment(sample: Sample) -> bool:
    """Say whether several units (rows, for repeated cross-sections) belong to one unit of assignment."""
    units = len(sample.rows) if sample.panel.unit is None else sample.n_units
    return len(np.unique(sample.unit_cluster)) < units
