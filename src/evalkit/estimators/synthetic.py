"""Synthetic control and synthetic difference-in-differences: controls weighed so that they follow the treated before adoption."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd

from evalkit.catalogue import Message, message
from evalkit.designs.design import Design
from evalkit.designs.sample import Sample, draw_sample, leave_out
from evalkit.errors import DesignError, InferenceError, nearest
from evalkit.estimators._regression import refuse_unused
from evalkit.numerics.arrays import Flags, Floats, Ints
from evalkit.numerics.loadings import ShockCells
from evalkit.numerics.simplex import simplex_weights
from evalkit.panels.panel import Panel
from evalkit.results.estimation import no_columns
from evalkit.results.fit import Fit, Part, Term, not_by_mass
from evalkit.tables.contents import in_short, same_content


@dataclass(frozen=True, kw_only=True)
class SyntheticControl:
    """Compare the treated with donors weighed so that they have the same outcomes before adoption.

    aggregate  "simple": "ATT", each treated unit-period weighing the same; "cohort": "ATT(g=2014)"; "dynamic": "ATT(e=2)",
               treated minus synthetic by event time, over the treated observed there.

    All outcomes before adoption are matched, and nothing else. Treated units beyond the reach of the donors are fitted badly,
    which the note on the fit shows. Units are the units of assignment, whose outcomes are averaged first; they must be observed
    in every period. Donors are never treated, whatever the design's comparison says; the treated of a cohort share one synthetic
    unit. Covariates are refused. There is no influence function: use Placebo; Jackknife makes errors far too wide.
    Source: Abadie, Diamond and Hainmueller, Journal of the American Statistical Association 105 (2010); weights as in
    sc_estimate of R synthdid 0.0.9.
    """

    aggregate: _Aggregate = "simple"

    columns = no_columns

    def __post_init__(self) -> None:
        _check_aggregate("SyntheticControl", self.aggregate)

    def fit(self, panel: Panel, design: Design, keep: Flags | None = None) -> Fit:
        """Estimate on the panel's rows (those flagged in `keep`, if given)."""
        return _fit_synthesis(self._synthesise(panel, design, keep), self.aggregate)

    def weights(self, panel: Panel, design: Design, keep: Flags | None = None) -> pd.DataFrame:
        """List the weights of donors: columns cohort, kind ("unit"), label, weight."""
        return _tabulate_weights(self._synthesise(panel, design, keep))

    def _synthesise(self, panel: Panel, design: Design, keep: Flags | None) -> _Synthesis:
        dynamic = self.aggregate == "dynamic"
        return _synthesise(panel, design, keep, estimator="SyntheticControl", weigh=_weigh_controls, dynamic=dynamic)


def _weigh_controls(block: _Block) -> tuple[Floats, Floats]:
    return block.unit_weights(eta=1e-6, intercept=False), np.zeros(int(block.before.sum()))


@dataclass(frozen=True, kw_only=True)
class SyntheticDID:
    """Compare the treated with donors and periods weighed so that the paths before adoption are parallel.

    aggregate  "simple": "ATT", each treated unit-period weighing the same; "cohort": "ATT(g=2014)"; "dynamic": "ATT(e=2)",
               treated minus synthetic by event time, less its weighted mean before adoption, over the treated observed there.

    Units are the units of assignment, whose outcomes are averaged first; they must be observed in every period. Each cohort
    weighs the donors anew; these are never treated, whatever the design's comparison says. Covariates are refused: make the
    outcome a residual beforehand. Effects before adoption show the fit that the weights were made for and are no test.
    Constants added to periods move the weights a little, because the ridge follows the spread of one-period changes. There is no
    influence function: use Placebo, or Jackknife where several units are treated. The weights are those of R synthdid 0.0.9,
    whose 10,000 steps can end short of the minimum (on the cigarette panel by .09 in the effect, a hundredth of its standard
    error).
    Source: Arkhangelsky, Athey, Hirshberg, Imbens and Wager, American Economic Review 111 (2021), Algorithm 1; cohorts as in
    Clarke, Pailañir, Athey and Imbens, Stata Journal 24 (2024).
    """

    aggregate: _Aggregate = "simple"

    columns = no_columns

    def __post_init__(self) -> None:
        _check_aggregate("SyntheticDID", self.aggregate)

    def fit(self, panel: Panel, design: Design, keep: Flags | None = None) -> Fit:
        """Estimate on the panel's rows (those flagged in `keep`, if given)."""
        return _fit_synthesis(self._synthesise(panel, design, keep), self.aggregate)

    def weights(self, panel: Panel, design: Design, keep: Flags | None = None) -> pd.DataFrame:
        """List the weights of donors and periods: columns cohort, kind ("unit" or "period"), label, weight."""
        return _tabulate_weights(self._synthesise(panel, design, keep))

    def _synthesise(self, panel: Panel, design: Design, keep: Flags | None) -> _Synthesis:
        dynamic = self.aggregate == "dynamic"
        return _synthesise(panel, design, keep, estimator="SyntheticDID", weigh=_weigh_both, dynamic=dynamic)


def _weigh_both(block: _Block) -> tuple[Floats, Floats]:
    eta = float(block.n_treated * block.after.sum()) ** 0.25
    return block.unit_weights(eta=eta, intercept=True), block.period_weights()


_Aggregate = Literal["simple", "cohort", "dynamic"]
_LEAST = 2  # donors, and periods before adoption: fewer have no spread of one-period changes


@dataclass(frozen=True)
class _NoInfluence:
    """Stands where an estimator has no influence function; whoever asks for it is told what to use instead."""

    estimator: str

    def sum_within(self, groups: Ints, n_groups: int) -> Floats:
        """Raise InferenceError."""
        raise InferenceError(
            f"{self.estimator} has no influence function",
            where="inference",
            remedy="use Placebo(draws=200, seed=1) or Jackknife(), or the check PlaceboAssignment",
        )


@dataclass(frozen=True, eq=False)
class _Block:
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

    __eq__ = same_content
    __repr__ = in_short

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
_Weigh = Callable[[_Block], tuple[Floats, Floats]]


@dataclass(frozen=True, eq=False)
class _Synthesis:
    """The blocks of a sample with their weights.

    cells (C, T) counts rows by unit of assignment and observed period; donors (N0,) are codes of units of assignment.
    """

    estimator: str
    sample: Sample
    cells: Ints
    donors: Ints
    blocks: tuple[_Block, ...]
    weights: tuple[tuple[Floats, Floats], ...]

    __eq__ = same_content
    __repr__ = in_short

    def gap(self, i: int) -> Floats:
        """Treated minus synthetic (T,) in block i, less its weighted mean before adoption."""
        block, (units, periods) = self.blocks[i], self.weights[i]
        gap: Floats = units @ block.gaps
        return gap - periods @ gap[block.before]

    def label(self, block: _Block) -> str:
        """Name the first treated period of a block."""
        return self.sample.panel.periods.label(block.cohort)


def _check_aggregate(estimator: str, aggregate: str) -> None:
    """Raise DesignError for an unknown way of averaging."""
    if aggregate not in get_args(_Aggregate):
        raise DesignError(
            f"aggregate '{aggregate}' is unknown", where=estimator, remedy=nearest(aggregate, get_args(_Aggregate))
        )


def _synthesise(
    panel: Panel, design: Design, keep: Flags | None, *, estimator: str, weigh: _Weigh, dynamic: bool
) -> _Synthesis:
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
            _Block(float(cohort), int(members.sum()), donors, gaps, event_time, before[columns], after[columns])
        )
    weights = tuple(weigh(block) for block in blocks)
    return _Synthesis(estimator, sample, cells, np.flatnonzero(waiting), tuple(blocks), weights)


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


def _fit_synthesis(found: _Synthesis, aggregate: _Aggregate) -> Fit:
    """Average the gaps: over all treated unit-periods, by cohort, or by event time over the treated units observed there."""
    gaps = [found.gap(i) for i in range(len(found.blocks))]
    sizes = np.repeat([float(block.n_treated) for block in found.blocks], [len(gap) for gap in gaps])
    after = np.concatenate([block.after for block in found.blocks])
    if aggregate == "simple":
        terms, chosen = [Term("ATT")], sizes * after
    elif aggregate == "cohort":
        labels = [found.label(block) for block in found.blocks]
        terms = [Term(f"ATT(g={label})", cohort=label) for label in labels]
        of = np.repeat(np.arange(len(gaps)), [len(gap) for gap in gaps])
        chosen = after * (of == np.arange(len(gaps))[:, None])
    else:
        times = np.concatenate([block.event_time for block in found.blocks])
        shown = np.unique(times)
        terms, chosen = [Term(f"ATT(e={e})", event_time=int(e)) for e in shown], sizes * (times == shown[:, None])
    weights = np.atleast_2d(chosen) / np.atleast_2d(chosen).sum(axis=1, keepdims=True)
    values = np.array([np.einsum("i,i->", one, np.concatenate(gaps)) for one in weights])
    response = _SynthesisResponse(found, weights)
    part = Part(found.sample, np.arange(len(terms)), _NoInfluence(found.estimator), response=response)
    return Fit(tuple(terms), values, (part,), (*found.sample.notes, *_notes(found)))


@dataclass(frozen=True, eq=False)
class _SynthesisResponse:
    """With the weights of donors and periods as they are, effects are averages, weights (m, ·), of the gaps of all blocks."""

    of: _Synthesis
    weights: Floats
    of_design = False
    by_mass = not_by_mass

    __eq__ = same_content
    __repr__ = in_short

    def loadings(self, cells: ShockCells) -> Floats:
        """Follow each row through the mean of its unit of assignment and the gaps, (G·T, m)."""
        sample, adoption = self.of.sample, self.of.sample.cluster_adoption()
        periods, column = np.unique(sample.period, return_inverse=True)
        means = np.zeros((len(self.weights), len(adoption), len(periods)))
        ends = np.cumsum([len(block.event_time) for block in self.of.blocks])[:-1]
        blocks = zip(self.of.blocks, self.of.weights, np.split(self.weights, ends, axis=1), strict=True)
        for block, (donors, before), weights in blocks:
            on_gap = weights.copy()
            on_gap[:, block.before] -= np.outer(weights.sum(axis=1), before)
            at = np.searchsorted(periods, block.cohort + block.event_time)
            members = np.flatnonzero(adoption == block.cohort)
            means[:, members[:, None], at] += on_gap[:, None] / block.n_treated
            means[:, self.of.donors[:, None], at] -= donors[:, None] * on_gap[:, None]
        mass = np.ones(len(column)) if sample.weights is None else sample.weights
        cell = sample.cluster * len(periods) + column
        share = mass / np.bincount(cell, weights=mass)[cell]
        return np.column_stack([cells.sum(one.ravel()[cell] * share) for one in means])

    def shock_map(self, weights: Floats, cells: ShockCells) -> None:
        """There is no influence to map shocks to."""
        return None


def _notes(found: _Synthesis) -> list[Message]:
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


def _fit_note(found: _Synthesis, i: int) -> Message:
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


def _tabulate_weights(found: _Synthesis) -> pd.DataFrame:
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
