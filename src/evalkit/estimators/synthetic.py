"""Synthetic control and synthetic difference-in-differences: controls weighed so that they follow the treated before adoption."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
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
from evalkit.numerics.simplex import frank_wolfe_weights, nearest_weights
from evalkit.panels.panel import Panel
from evalkit.results.estimation import no_columns
from evalkit.results.fit import Fit, Part, Term, not_by_mass
from evalkit.tables.contents import in_short, same_content


@dataclass(frozen=True, kw_only=True)
class SyntheticControl:
    """Compare the treated with donors weighed so that they have the same outcomes before adoption.

    aggregate   "simple": "ATT", each treated unit-period weighing the same; "cohort": "ATT(g=2014)"; "dynamic": "ATT(e=2)",
                treated minus synthetic by event time, over the treated observed there.
    weights_by  "minimum": the weights that come nearest to the treated before adoption. Where others come as near, those whose
                squares have the smallest sum, which a note says. "synthdid": those of sc_estimate of R synthdid 0.0.9, which
                stops short of the minimum (on the cigarette panel at a distance of 1.665 instead of 1.656).

    All outcomes before adoption are matched, and nothing else. Treated units beyond the reach of the donors are fitted badly,
    which the note on the fit shows. Units are the units of assignment, whose outcomes are averaged first; they must be observed
    in every period. Donors are never treated, whatever the design's comparison says; the treated of a cohort share one synthetic
    unit. Covariates are refused. There is no influence function: use Placebo; Jackknife makes errors far too wide. Large panels
    stay rows (no cells as of `collapse`): weights found in steps would follow the other rounding of the means.
    Source: Abadie, Diamond and Hainmueller, Journal of the American Statistical Association 105 (2010).
    """

    aggregate: _Aggregate = "simple"
    weights_by: _WeightsBy = "minimum"

    columns = no_columns
    on_cells = False

    def __post_init__(self) -> None:
        _check_options("SyntheticControl", self.aggregate, self.weights_by)

    def fit(self, panel: Panel, design: Design, keep: Flags | None = None) -> Fit:
        """Estimate on the panel's rows (those flagged in `keep`, if given)."""
        return _fit_synthesis(_synthesise(self, panel, design, keep), keep)

    def weights(self, panel: Panel, design: Design, keep: Flags | None = None) -> pd.DataFrame:
        """List the weights of donors: columns cohort, kind ("unit"), label, weight."""
        return _tabulate_weights(_synthesise(self, panel, design, keep))

    def _weigh(self, blocks: Sequence[_Block]) -> list[_Weights]:
        if self.weights_by == "minimum":
            nearest = [nearest_weights(differences=block.before_adoption, zeta=0.0) for block in blocks]
            return [_Weights(one.weights, _none(block), one.unique) for one, block in zip(nearest, blocks, strict=True)]
        noise = np.array([block.noise for block in blocks])
        units = frank_wolfe_weights(
            differences=[block.before_adoption for block in blocks], zeta=1e-6 * noise, least_gain=1e-5 * noise
        )
        return [_Weights(one, _none(block)) for one, block in zip(units, blocks, strict=True)]


@dataclass(frozen=True, kw_only=True)
class SyntheticDID:
    """Compare the treated with donors and periods weighed so that the paths before adoption are parallel.

    aggregate   "simple": "ATT", each treated unit-period weighing the same; "cohort": "ATT(g=2014)"; "dynamic": "ATT(e=2)",
                treated minus synthetic by event time, less its weighted mean before adoption, over the treated observed there.
    weights_by  "synthdid": the weights of R synthdid 0.0.9, on which published figures rest, whose 10,000 steps can end short of
                the minimum (on the cigarette panel by .002 in an effect of -15.604). "minimum": those at the minimum of the same
                distance.

    Units are the units of assignment, whose outcomes are averaged first; they must be observed in every period. Each cohort
    weighs the donors anew; these are never treated, whatever the design's comparison says. Covariates are refused: make the
    outcome a residual beforehand. Effects before adoption show the fit that the weights were made for and are no test.
    Constants added to periods move the weights a little, because the ridge follows the spread of one-period changes. There is no
    influence function: use Placebo, or Jackknife where several units are treated. Large panels stay rows (no cells as of
    `collapse`): weights found in steps would follow the other rounding of the means.
    Source: Arkhangelsky, Athey, Hirshberg, Imbens and Wager, American Economic Review 111 (2021), Algorithm 1; cohorts as in
    Clarke, Pailañir, Athey and Imbens, Stata Journal 24 (2024).
    """

    aggregate: _Aggregate = "simple"
    weights_by: _WeightsBy = "synthdid"

    columns = no_columns
    on_cells = False

    def __post_init__(self) -> None:
        _check_options("SyntheticDID", self.aggregate, self.weights_by)

    def fit(self, panel: Panel, design: Design, keep: Flags | None = None) -> Fit:
        """Estimate on the panel's rows (those flagged in `keep`, if given)."""
        return _fit_synthesis(_synthesise(self, panel, design, keep), keep)

    def weights(self, panel: Panel, design: Design, keep: Flags | None = None) -> pd.DataFrame:
        """List the weights of donors and periods: columns cohort, kind ("unit" or "period"), label, weight."""
        return _tabulate_weights(_synthesise(self, panel, design, keep))

    def _weigh(self, blocks: Sequence[_Block]) -> list[_Weights]:
        paths, changes = [block.paths for block in blocks], [block.changes for block in blocks]
        noise = np.array([block.noise for block in blocks])
        eta = np.array([float(block.n_treated * block.after.sum()) ** 0.25 for block in blocks])
        if self.weights_by == "minimum":
            units = [nearest_weights(differences=D, zeta=z) for D, z in zip(paths, eta * noise, strict=True)]
            periods = [nearest_weights(differences=D, zeta=z) for D, z in zip(changes, 1e-6 * noise, strict=True)]
            each = zip(units, periods, strict=True)
            return [_Weights(i.weights, t.weights, i.unique and t.unique) for i, t in each]
        of_units = frank_wolfe_weights(differences=paths, zeta=eta * noise, least_gain=1e-5 * noise)
        of_periods = frank_wolfe_weights(differences=changes, zeta=1e-6 * noise, least_gain=1e-5 * noise)
        return list(map(_Weights, of_units, of_periods))


_Aggregate = Literal["simple", "cohort", "dynamic"]
_WeightsBy = Literal["minimum", "synthdid"]
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

    members (N1,) are codes of the treated units of assignment; treated (N1, T) and donors (N0, T) are outcomes about a common
    centre. before and after (T,) flag the periods before adoption (and anticipation) and from adoption on; event_time (T,).
    """

    cohort: float
    members: Ints
    treated: Floats
    donors: Floats
    event_time: Ints
    before: Flags
    after: Flags

    __eq__ = same_content
    __repr__ = in_short

    @property
    def n_treated(self) -> int:
        return len(self.members)

    @cached_property
    def gaps(self) -> Floats:
        """The mean of the treated minus each donor (N0, T)."""
        gaps: Floats = self.treated.mean(axis=0) - self.donors
        return gaps

    @property
    def noise(self) -> float:
        """Standard deviation of one-period changes among the donors before adoption."""
        return float(np.std(np.diff(self.donors[:, self.before], axis=1), ddof=1))

    @property
    def before_adoption(self) -> Floats:
        """Gaps before adoption (T0, N0)."""
        gaps: Floats = self.gaps[:, self.before].T
        return gaps

    @property
    def paths(self) -> Floats:
        """Gaps before adoption (T0, N0), each up to a constant."""
        gaps = self.before_adoption
        paths: Floats = gaps - gaps.mean(axis=0)
        return paths

    @property
    def changes(self) -> Floats:
        """What each period before adoption (N0, T0) foretells amiss, up to a constant, of the donors' mean afterwards."""
        change = self.donors[:, self.before] - self.donors[:, self.after].mean(axis=1)[:, None]
        changes: Floats = change - change.mean(axis=0)
        return changes


@dataclass(frozen=True, eq=False)
class _Weights:
    """Weights of a block's donors (N0,) and of its periods before adoption (T0,), the latter all 0 where levels are compared.

    `unique` is False where others are as good.
    """

    units: Floats
    periods: Floats
    unique: bool = True

    __eq__ = same_content
    __repr__ = in_short


def _none(block: _Block) -> Floats:
    return np.zeros(int(block.before.sum()))


@dataclass(frozen=True, eq=False)
class _Synthesis:
    """The blocks of a sample with their weights, as an estimator makes them.

    cells (C, T) counts rows by unit of assignment and observed period; donors (N0,) are codes of units of assignment.
    """

    by: SyntheticControl | SyntheticDID
    sample: Sample
    cells: Ints
    donors: Ints
    blocks: tuple[_Block, ...]
    weights: tuple[_Weights, ...]

    __eq__ = same_content
    __repr__ = in_short

    @property
    def gaps(self) -> list[Floats]:
        """Treated minus synthetic (T,) in each block, less its weighted mean before adoption."""
        return _gaps(self.blocks, self.weights)

    def label(self, block: _Block) -> str:
        """Name the first treated period of a block."""
        return self.sample.panel.periods.label(block.cohort)


def _gaps(blocks: Sequence[_Block], weights: Sequence[_Weights]) -> list[Floats]:
    gaps = [of.units @ block.gaps for block, of in zip(blocks, weights, strict=True)]
    each = zip(gaps, blocks, weights, strict=True)
    return [gap - of.periods @ gap[block.before] for gap, block, of in each]


def _check_options(estimator: str, aggregate: str, weights_by: str) -> None:
    """Raise DesignError for an unknown way of averaging or weighing."""
    for name, value, known in (
        ("aggregate", aggregate, get_args(_Aggregate)),
        ("weights_by", weights_by, get_args(_WeightsBy)),
    ):
        if value not in known:
            raise DesignError(f"{name} '{value}' is unknown", where=estimator, remedy=nearest(value, known))


def _synthesise(by: SyntheticControl | SyntheticDID, panel: Panel, design: Design, keep: Flags | None) -> _Synthesis:
    """Average outcomes by unit of assignment and period, make a block of each cohort, and weigh it.

    Donors are the units of assignment that stay untreated, and cannot anticipate, to the last period. Only dynamic effects keep
    the periods of anticipation. Raises DesignError for covariates or further effects, an incomplete panel, too few donors or
    periods.
    """
    estimator, dynamic = type(by).__name__, by.aggregate == "dynamic"
    refuse_unused(design, estimator, "covariates", "absorb", "dose", "eligible")
    sample, sides = _draw(panel, design, keep, estimator, dynamic)
    periods, cells, means = _means(sample)
    _require_observed(sample, periods, cells, sides, dynamic)
    blocks = _divide(means, periods, sample.cluster_adoption(), sides, design, dynamic)
    return _Synthesis(by, sample, cells, np.flatnonzero(sides.donors), tuple(blocks), tuple(by._weigh(blocks)))


@dataclass(frozen=True)
class _Sides:
    """Flags (C,) of the units of assignment: treated, donors, treated too early to be matched, and soon to be treated."""

    treated: Flags
    donors: Flags
    early: Flags
    soon: Flags

    @classmethod
    def of(cls, adoption: Floats, last: float, anticipation: int, periods: Ints | None) -> _Sides:
        """From adoption (C,), NaN for no rows, and the periods in which donors are observed (None: nothing is too early)."""
        donors, adopts = adoption - anticipation > last, adoption <= last
        early = np.zeros(len(adoption), dtype=bool)
        if periods is not None:
            n_before = np.searchsorted(periods, np.where(adopts, adoption - anticipation, np.inf))
            early = adopts & (n_before < _LEAST)
        return cls(adopts & ~early, donors, early, ~adopts & ~donors & ~np.isnan(adoption))


def _divide(
    means: Floats, periods: Ints, adoption: Floats, sides: _Sides, design: Design, dynamic: bool
) -> list[_Block]:
    """Make a block of each cohort from means (C, T) by unit of assignment and period."""
    blocks = []
    for cohort in np.unique(adoption[sides.treated]):
        before, after = periods < cohort - design.anticipation, periods >= cohort
        columns = np.flatnonzero(before | after) if not dynamic else np.arange(len(periods))
        members = np.flatnonzero(sides.treated & (adoption == cohort))
        treated, donors = means[np.ix_(members, columns)], means[np.ix_(sides.donors, columns)]
        event_time = (periods[columns] - cohort).astype(np.int64)
        blocks.append(_Block(float(cohort), members, treated, donors, event_time, before[columns], after[columns]))
    return blocks


def _draw(panel: Panel, design: Design, keep: Flags | None, estimator: str, dynamic: bool) -> tuple[Sample, _Sides]:
    """Return the sample of the treated and the donors; the rest is left out."""
    sample = draw_sample(panel, design, keep, without_anticipation=not dynamic)
    adoption, last = sample.cluster_adoption(), sample.period.max()
    level, where = design.assigned_at, f"{estimator}, comparison"
    donors = _Sides.of(adoption, last, design.anticipation, None).donors
    if donors.sum() < _LEAST:
        raise DesignError(
            f"{int(donors.sum())} {level} stay untreated up to {panel.periods.label(last)}; at least {_LEAST} donors are needed",
            where=where,
            remedy=f"add {level} that are never treated, or end the sample before the last ones adopt",
        )
    sides = _Sides.of(adoption, last, design.anticipation, np.unique(sample.period[donors[sample.cluster]]))
    if not sides.treated.any():
        raise DesignError(
            f"no treated {level} has {_LEAST} periods before adoption"
            + " and anticipation" * bool(design.anticipation),
            where=where,
            remedy="add earlier periods; the weights are made from the paths before adoption",
        )
    for gone, reason in ((sides.early, "ledger.short_before"), (sides.soon, "ledger.may_anticipate")):
        sample = leave_out(sample, gone[sample.cluster], message(reason, least=_LEAST))
    return sample, sides


def _means(sample: Sample) -> tuple[Ints, Ints, Floats]:
    """Return the observed periods (T,), and rows and mean outcomes (C, T) of the units of assignment about a common centre.

    A mean without rows is NaN.
    """
    periods, column = np.unique(sample.period, return_inverse=True)
    cell = sample.cluster * len(periods) + column
    shape = (len(sample.clusters), len(periods))
    cells = np.bincount(cell, minlength=shape[0] * shape[1]).reshape(shape)
    # About the centre, so that large outcomes leave no rounding in sums.
    outcome = sample.outcome - sample.outcome.mean()
    weights = np.ones(len(cell)) if sample.weights is None else sample.weights
    sums, totals = (np.bincount(cell, weights=w, minlength=cells.size) for w in (weights * outcome, weights))
    means: Floats = (sums / np.where(cells.ravel() > 0, totals, np.nan)).reshape(shape)
    return periods, cells, means


def _require_observed(sample: Sample, periods: Ints, cells: Ints, sides: _Sides, dynamic: bool) -> None:
    """Raise DesignError where a treated unit or donor has no row, but for periods of anticipation, which only `dynamic` has."""
    design = sample.design
    ahead = sample.cluster_adoption()[:, None] - periods
    window = (ahead > 0) & (ahead <= (0 if dynamic else design.anticipation))
    empty = (sides.treated | sides.donors)[:, None] & (cells == 0) & ~window
    if empty.any():
        unit, at = np.argwhere(empty)[0]
        raise DesignError(
            f"{int(empty.any(axis=1).sum())} {design.assigned_at} are not observed in every period; the first is "
            f"{sample.clusters[unit]}, without {sample.panel.periods.label(periods[at])}",
            where=f"outcome '{design.outcome}'",
            remedy=f"keep the {design.assigned_at} that are observed throughout, or the periods in which all of them are",
        )


def _fit_synthesis(found: _Synthesis, keep: Flags | None) -> Fit:
    """Average the gaps of the blocks; the fit started from the rows flagged in `keep`."""
    terms, averages = _averages(found, found.blocks)
    part = Part(
        found.sample,
        np.arange(len(terms)),
        _NoInfluence(type(found.by).__name__),
        response=_SynthesisResponse(found, averages),
        donors=_Donors(found, terms, averages, keep),
    )
    return Fit(terms, _average(found.gaps, averages), (part,), (*found.sample.notes, *_notes(found)))


def _averages(found: _Synthesis, blocks: Sequence[_Block]) -> tuple[tuple[Term, ...], Floats]:
    """Terms (m,) and what each weighs the gaps of all blocks by, (m, ·).

    They are averages over all treated unit-periods, by cohort, or by event time over the treated units observed there.
    """
    lengths = [len(block.event_time) for block in blocks]
    sizes = np.repeat([float(block.n_treated) for block in blocks], lengths)
    after = np.concatenate([block.after for block in blocks])
    aggregate = found.by.aggregate
    if aggregate == "simple":
        terms, chosen = [Term("ATT")], sizes * after
    elif aggregate == "cohort":
        labels = [found.label(block) for block in blocks]
        terms = [Term(f"ATT(g={label})", cohort=label) for label in labels]
        of = np.repeat(np.arange(len(blocks)), lengths)
        chosen = after * (of == np.arange(len(blocks))[:, None])
    else:
        times = np.concatenate([block.event_time for block in blocks])
        shown = np.unique(times)
        terms, chosen = [Term(f"ATT(e={e})", event_time=int(e)) for e in shown], sizes * (times == shown[:, None])
    averages: Floats = np.atleast_2d(chosen) / np.atleast_2d(chosen).sum(axis=1, keepdims=True)
    return tuple(terms), averages


def _average(gaps: list[Floats], averages: Floats) -> Floats:
    joined = np.concatenate(gaps)
    return np.array([np.einsum("i,i->", one, joined) for one in averages])


@dataclass(frozen=True, eq=False)
class _Donors:
    """The weights of a synthesis, made anew under other assignments, or kept without a unit of assignment.

    averages (m, ·) weigh the gaps of all blocks; the fit started from the rows flagged in `keep`.
    """

    of: _Synthesis
    terms: tuple[Term, ...]
    averages: Floats
    keep: Flags | None

    __eq__ = same_content
    __repr__ = in_short

    @cached_property
    def whole(self) -> Sample:
        """All rows that the design draws, those of anticipation and of units that are left out among them."""
        return draw_sample(self.of.sample.panel, self.of.sample.design, self.keep)

    def under(self, adoption: Floats) -> Floats:
        """Coefficients (B, m) under adoption (B, C); NaN where a unit of few periods is used, or cohorts are of another size."""
        sample, design, dynamic = self.whole, self.whole.design, self.of.by.aggregate == "dynamic"
        periods, cells, means = _means(sample)
        last, absent, partial = sample.period.max(), np.isnan(sample.cluster_adoption()), (cells == 0).any(axis=1)
        own = [(block.cohort, block.n_treated) for block in self.of.blocks]
        found = np.full((len(adoption), len(self.terms)), np.nan)
        size = max(1, _MOST_NUMBERS // means.size)
        for first in range(0, len(adoption), size):
            divided: dict[int, list[_Block]] = {}
            for b in range(first, min(first + size, len(adoption))):
                one = np.where(absent, np.nan, adoption[b])
                sides = _Sides.of(one, last, design.anticipation, periods)
                if (partial & (sides.treated | sides.donors)).any() or sides.donors.sum() < _LEAST:
                    continue
                blocks = _divide(means, periods, one, sides, design, dynamic)
                if [(block.cohort, block.n_treated) for block in blocks] == own:
                    divided[b] = blocks
            weights = iter(self.of.by._weigh([block for blocks in divided.values() for block in blocks]))
            for b, blocks in divided.items():
                found[b] = _average(_gaps(blocks, list(islice(weights, len(blocks)))), self.averages)
        return found

    def without(self, unit: int) -> Floats:
        """Coefficients (m,) without a unit of assignment, all weights as they are, those of donors divided by what is left.

        NaN for a term that is lost with its cohort, and for all where the unit is a donor with all the weight.
        """
        blocks, weights = [], []
        left = self.of.donors != unit
        for block, of in zip(self.of.blocks, self.of.weights, strict=True):
            mine, units = block.members != unit, of.units[left]
            if not units.any():
                return np.full(len(self.terms), np.nan)
            if not mine.any():
                continue
            weights.append(replace(of, units=units / units.sum()))
            rest = {"members": block.members[mine], "treated": block.treated[mine], "donors": block.donors[left]}
            blocks.append(replace(block, **rest))
        if not blocks:
            return np.full(len(self.terms), np.nan)
        terms, averages = _averages(self.of, blocks)
        known = dict(zip(terms, _average(_gaps(blocks, weights), averages), strict=True))
        return np.array([known.get(term, np.nan) for term in self.terms])


_MOST_NUMBERS = 1 << 22  # means by unit and period of the assignments that are weighed together


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
        sample = self.of.sample
        periods, column = np.unique(sample.period, return_inverse=True)
        means = np.zeros((len(self.weights), len(sample.clusters), len(periods)))
        ends = np.cumsum([len(block.event_time) for block in self.of.blocks])[:-1]
        blocks = zip(self.of.blocks, self.of.weights, np.split(self.weights, ends, axis=1), strict=True)
        for block, of, weights in blocks:
            on_gap = weights.copy()
            on_gap[:, block.before] -= np.outer(weights.sum(axis=1), of.periods)
            at = np.searchsorted(periods, block.cohort + block.event_time)
            means[:, block.members[:, None], at] += on_gap[:, None] / block.n_treated
            means[:, self.of.donors[:, None], at] -= of.units[:, None] * on_gap[:, None]
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
    for block, of, gap in zip(found.blocks, found.weights, found.gaps, strict=True):
        notes.append(_fit_note(found, block, of.units, gap[block.before], paths=bool(of.periods.any())))
        if not of.unique:
            notes.append(message("note.synthetic_not_unique", cohort=found.label(block)))
    return notes


def _fit_note(found: _Synthesis, block: _Block, units: Floats, gap: Floats, *, paths: bool) -> Message:
    """Say how near the synthetic unit was to the treated before adoption, and on how many donors it rests."""
    key = "note.synthetic_control_fit"
    if paths:
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
    for block, of in zip(found.blocks, found.weights, strict=True):
        units, periods = of.units, of.periods
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
