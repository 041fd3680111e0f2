"""What the synthetic estimators share: a block of treated and donors for each cohort, and the fit made of their gaps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd

from evalkit.catalogue import Message, message
from evalkit.columns import Flags, Floats, Ints
from evalkit.design import Design
from evalkit.errors import DesignError, InferenceError, nearest
from evalkit.estimators._design import refuse_unused
from evalkit.fit import Fit, Part, Term
from evalkit.numerics.simplex import simplex_weights
from evalkit.panel import Panel
from evalkit.sample import Sample, draw_sample, leave_out

Aggregate = Literal["simple", "cohort", "dynamic"]
_LEAST = 2  # donors, and periods before adoption: fewer have no spread of one-period changes


@dataclass(frozen=True)
class NoInfluence:
    """Stands where an estimator has no influence function; whoever asks for it is told what to use instead."""

    estimator: str

    def sum_within(self, groups: Ints, n_groups: int) -> Floats:
        """Raise InferenceError."""
        raise InferenceError(
            f"{self.estimator} has no influence function",
            where="inference",
            remedy="use Placebo(draws=200, seed=1) or Jackknife(), or the check PlaceboAssignment",
        )


@dataclass(frozen=True)
class Block:
    """One cohort and its donors over T periods.

    donors (N0, T) are outcomes about a common centre, gaps (N0, T) the mean of the treated minus each donor. before and after
    (T,) flag the periods before adoption (and anticipation) and from adoption on; event_time (T,).
    """

    cohort: float
    n_treated: int
    donors: Floats
    gaps: Floats
    event_time: Ints
    before: Flags
    after: Flags

    @property
    def noise(self) -> float:
        """Standard deviation of one-period changes among the donors before adoption."""
        return float(np.std(np.diff(self.donors[:, self.before], axis=1), ddof=1))

    def unit_weights(self, *, eta: float, intercept: bool) -> Floats:
        """Weigh the donors (N0,) so that they follow the treated before adoption, up to a constant if `intercept`."""
        gaps = self.gaps[:, self.before].T
        return simplex_weights(
            differences=gaps - gaps.mean(axis=0) if intercept else gaps,
            zeta=eta * self.noise,
            least_gain=1e-5 * self.noise,
        )

    def period_weights(self) -> Floats:
        """Weigh the periods before adoption so that they foretell, up to a constant, the mean of each donor afterwards."""
        change = self.donors[:, self.before] - self.donors[:, self.after].mean(axis=1)[:, None]
        return simplex_weights(
            differences=change - change.mean(axis=0), zeta=1e-6 * self.noise, least_gain=1e-5 * self.noise
        )


# From a block to the weights of its donors (N0,) and of its periods before adoption, the latter all 0 where levels are compared.
Weigh = Callable[[Block], tuple[Floats, Floats]]


@dataclass(frozen=True)
class Synthesis:
    """The blocks of a sample with their weights.

    cells (C, T) counts rows by unit of assignment and observed period; donors (N0,) are codes of units of assignment.
    """

    estimator: str
    sample: Sample
    cells: Ints
    donors: Ints
    blocks: tuple[Block, ...]
    weights: tuple[tuple[Floats, Floats], ...]

    def gap(self, i: int) -> Floats:
        """Treated minus synthetic (T,) in block i, less its weighted mean before adoption."""
        block, (units, periods) = self.blocks[i], self.weights[i]
        gap: Floats = units @ block.gaps
        return gap - periods @ gap[block.before]

    def label(self, block: Block) -> str:
        """Name the first treated period of a block."""
        return self.sample.panel.periods.label(block.cohort)


def check_aggregate(estimator: str, aggregate: str) -> None:
    """Raise DesignError for an unknown way of averaging."""
    if aggregate not in get_args(Aggregate):
        raise DesignError(
            f"aggregate '{aggregate}' is unknown", where=estimator, remedy=nearest(aggregate, get_args(Aggregate))
        )


def synthesise(
    panel: Panel, design: Design, keep: Flags | None, *, estimator: str, weigh: Weigh, dynamic: bool
) -> Synthesis:
    """Average outcomes by unit of assignment and period, make a block of each cohort, and weigh it.

    Donors are the units of assignment that stay untreated, and cannot anticipate, to the last period. Only `dynamic` keeps the
    periods of anticipation. Raises DesignError for covariates or further effects, an incomplete panel, too few donors or periods.
    """
    refuse_unused(design, estimator, "covariates", "absorb", "dose", "eligible")
    sample, treated, waiting = _draw(panel, design, keep, estimator, dynamic)
    adoption = sample.cluster_adoption()
    periods, cells, means = _means(sample, treated | waiting, dynamic)
    blocks = []
    for cohort in np.unique(adoption[treated]):
        before, after = periods < cohort - design.anticipation, periods >= cohort
        columns = np.flatnonzero(before | after) if not dynamic else np.arange(len(periods))
        members = treated & (adoption == cohort)
        donors = means[np.ix_(waiting, columns)]
        gaps = means[np.ix_(members, columns)].mean(axis=0) - donors
        event_time = (periods[columns] - cohort).astype(np.int64)
        blocks.append(
            Block(float(cohort), int(members.sum()), donors, gaps, event_time, before[columns], after[columns])
        )
    weights = tuple(weigh(block) for block in blocks)
    return Synthesis(estimator, sample, cells, np.flatnonzero(waiting), tuple(blocks), weights)


def _draw(
    panel: Panel, design: Design, keep: Flags | None, estimator: str, dynamic: bool
) -> tuple[Sample, Flags, Flags]:
    """Return the sample and, by code of the units of assignment, which are treated and which are donors; the rest is left out."""
    sample = draw_sample(panel, design, keep, without_anticipation=not dynamic)
    adoption = sample.cluster_adoption()
    last = sample.period.max()
    waiting, adopts = adoption - design.anticipation > last, adoption <= last
    level, where = design.assigned_at, f"{estimator}, comparison"
    if waiting.sum() < _LEAST:
        raise DesignError(
            f"{int(waiting.sum())} {level} stay untreated up to {panel.periods.label(last)}; at least {_LEAST} donors are needed",
            where=where,
            remedy=f"add {level} that are never treated, or end the sample before the last ones adopt",
        )
    donor_periods = np.unique(sample.period[waiting[sample.cluster]])
    n_before = np.searchsorted(donor_periods, np.where(adopts, adoption - design.anticipation, np.inf))
    treated = adopts & (n_before >= _LEAST)
    if not treated.any():
        raise DesignError(
            f"no treated {level} has {_LEAST} periods before adoption"
            + " and anticipation" * bool(design.anticipation),
            where=where,
            remedy="add earlier periods; the weights are made from the paths before adoption",
        )
    soon = ~adopts & ~waiting & ~np.isnan(adoption)
    for gone, reason in ((adopts & ~treated, "ledger.short_before"), (soon, "ledger.may_anticipate")):
        sample = leave_out(sample, gone[sample.cluster], message(reason, least=_LEAST))
    return sample, treated, waiting


def _means(sample: Sample, used: Flags, dynamic: bool) -> tuple[Ints, Ints, Floats]:
    """Return the observed periods (T,), and rows and mean outcomes (C, T) of the units of assignment about a common centre.

    No cell of those that are used may be empty, but for periods of anticipation, whose rows only `dynamic` has.
    """
    design = sample.design
    periods, column = np.unique(sample.period, return_inverse=True)
    cell = sample.cluster * len(periods) + column
    shape = (len(sample.clusters), len(periods))
    cells = np.bincount(cell, minlength=shape[0] * shape[1]).reshape(shape)
    ahead = sample.cluster_adoption()[:, None] - periods
    window = (ahead > 0) & (ahead <= (0 if dynamic else design.anticipation))
    empty = used[:, None] & (cells == 0) & ~window
    if empty.any():
        unit, at = np.argwhere(empty)[0]
        raise DesignError(
            f"{int(empty.any(axis=1).sum())} {design.assigned_at} are not observed in every period; the first is "
            f"{sample.clusters[unit]}, without {sample.panel.periods.label(periods[at])}",
            where=f"outcome '{design.outcome}'",
            remedy=f"keep the {design.assigned_at} that are observed throughout, or the periods in which all of them are",
        )
    # About the centre, so that large outcomes leave no rounding in sums.
    outcome = sample.outcome - sample.outcome.mean()
    weights = np.ones(len(cell)) if sample.weights is None else sample.weights
    sums, totals = (np.bincount(cell, weights=w, minlength=cells.size) for w in (weights * outcome, weights))
    means: Floats = (sums / np.where(cells.ravel() > 0, totals, np.nan)).reshape(shape)
    return periods, cells, means


def fit_synthesis(found: Synthesis, aggregate: Aggregate) -> Fit:
    """Average the gaps: over all treated unit-periods, by cohort, or by event time over the treated units observed there."""
    gaps = [found.gap(i) for i in range(len(found.blocks))]
    effects = np.array([gap[block.after].mean() for gap, block in zip(gaps, found.blocks, strict=True)])
    sizes = np.array([float(block.n_treated) for block in found.blocks])
    if aggregate == "simple":
        weights = sizes * [block.after.sum() for block in found.blocks]
        terms, values = [Term("ATT")], np.array([weights @ effects / weights.sum()])
    elif aggregate == "cohort":
        labels = [found.label(block) for block in found.blocks]
        terms, values = [Term(f"ATT(g={label})", cohort=label) for label in labels], effects
    else:
        times = np.concatenate([block.event_time for block in found.blocks])
        shown, at = np.unique(times, return_inverse=True)
        weights = np.repeat(sizes, [len(gap) for gap in gaps])
        values = np.bincount(at, weights=weights * np.concatenate(gaps)) / np.bincount(at, weights=weights)
        terms = [Term(f"ATT(e={e})", event_time=int(e)) for e in shown]
    part = Part(found.sample, np.arange(len(terms)), NoInfluence(found.estimator), by_cohort=len(found.blocks) > 1)
    return Fit(tuple(terms), values, (part,), (*found.sample.notes, *_notes(found)))


def _notes(found: Synthesis) -> list[Message]:
    sample, level = found.sample, found.sample.design.assigned_at
    weights = " × ".join(name for name in (sample.design.weights, sample.panel.counts) if name is not None)
    notes = []
    if found.cells.max() > 1:
        key = "note.synthetic_means" if sample.weights is None else "note.synthetic_weighted_means"
        notes.append(message(key, level=level, weights=weights))
        observed = (found.cells > 0).sum(axis=1)[sample.cluster[sample.starts]]
        short = int((sample.ends - sample.starts + 1 < observed).sum())
        if short and sample.panel.unit is not None:
            notes.append(message("note.synthetic_incomplete", level=level, units=short))
    elif sample.weights is not None:
        notes.append(message("note.synthetic_no_weights", level=level, weights=weights))
    if len(found.blocks) > 1:
        notes.append(
            message("note.synthetic_cohorts", cohorts=len(found.blocks), donors=len(found.donors), level=level)
        )
    return notes + [_fit_note(found, i) for i in range(len(found.blocks))]


def _fit_note(found: Synthesis, i: int) -> Message:
    """Say how near the synthetic unit was to the treated before adoption, and on how many donors it rests."""
    block, (units, periods) = found.blocks[i], found.weights[i]
    gap = found.gap(i)[block.before]
    key = "note.synthetic_control_fit"
    if periods.any():
        key, gap = "note.synthetic_did_fit", gap - gap.mean()
    return message(
        key,
        cohort=found.label(block),
        periods=int(block.before.sum()),
        rmse=f"{np.sqrt(np.mean(gap**2)):.4g}",
        noise=f"{block.noise:.4g}",
        used=int((units > 0).sum()),
        donors=len(units),
        largest=str(found.sample.clusters[found.donors[units.argmax()]]),
        share=f"{100 * units.max():.3g}",
    )


def tabulate_weights(found: Synthesis) -> pd.DataFrame:
    """One row per donor and period before adoption of each cohort: columns cohort, kind ("unit" or "period"), label, weight."""
    rows: list[dict[str, Any]] = []
    for block, (units, periods) in zip(found.blocks, found.weights, strict=True):
        cohort, panel = found.label(block), found.sample.panel
        names = [str(found.sample.clusters[code]) for code in found.donors]
        rows += [{"cohort": cohort, "kind": "unit", "label": n, "weight": w} for n, w in zip(names, units, strict=True)]
        if periods.any():
            times = [panel.periods.label(block.cohort + e) for e in block.event_time[block.before]]
            rows += [
                {"cohort": cohort, "kind": "period", "label": n, "weight": w}
                for n, w in zip(times, periods, strict=True)
            ]
    return pd.DataFrame(rows, columns=["cohort", "kind", "label", "weight"])
