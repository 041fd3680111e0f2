"""Effects from sums by cluster and date, for regressions on one treatment or on event time: no estimate is made anew.

`may_be_summed` says whether the parts of a fit look like such regressions, `sum_parts` sums them, and `Summed.is_right` compares
with an estimate made anew under another assignment, since nothing but the numbers shows what an estimator does. Where the sums
cannot tell an effect, they say so.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from evalkit.numerics.arrays import Flags, Floats, Ints
from evalkit.numerics.reassigned import DateSums, date_sums
from evalkit.reassignment.assignments import Lottery
from evalkit.reassignment.cost import foretell_sums
from evalkit.reassignment.refits import Refits, alike, effects_of, influence_of_assigned
from evalkit.results.estimation import Specification
from evalkit.results.fit import Fit, Part

_MOST_NUMBERS = 5e7  # of sums by cluster: 400 MB
_AGREE = 1e-8


def may_be_summed(fit: Fit, spec: Specification, rows: Ints) -> bool:
    """Say whether each part could be a regression on the treatment, or on event time, with no row left out for its date.

    rows (n,) are those that the design draws from the panel.
    """
    if spec.design.comparison == "never_treated" and len(fit.parts) > 1:
        return False  # which subgroups can be estimated then depends on the assignment
    for part in fit.parts:
        plain = part.mapping is None and part.sample.dose is None and part.sample.eligible is None
        if not plain or part.regression is None or _event_times(fit, part) is None:
            return False
        sizes = part.regression.n_slopes + sum(int(codes.max()) + 1 for codes in part.regression.factors[1:])
        dates = len(np.unique(part.sample.unit_adoption)) * len(_effects(fit, part))
        if len(part.sample.clusters) * float(sizes) * (sizes + dates) > _MOST_NUMBERS:
            return False
    codes = spec.panel.unit_codes
    if codes is None:
        return sum(len(part.sample.rows) for part in fit.parts) == len(rows)
    here = codes.values[rows]
    return all(np.isin(here, codes.values[part.sample.rows]).sum() == len(part.sample.rows) for part in fit.parts)


def is_on_treatment(fit: Fit) -> bool:
    """Say whether no effect has an event time, so that adoption after the last period is none."""
    return all(fit.terms[i].event_time is None for i in effects_of(fit))


def _effects(fit: Fit, part: Part) -> list[int]:
    """Which slopes of a part are effects."""
    return [i for i, p in enumerate(part.positions) if fit.terms[p].role == "effect"]


def _event_times(fit: Fit, part: Part) -> list[int] | None:
    """Event times of a part's effects, and behind them those of its base; none for one treatment; None where it is neither."""
    terms = [fit.terms[part.positions[i]] for i in _effects(fit, part)]
    if any(term.cohort is not None or term.period is not None for term in terms):
        return None
    times = [term.event_time for term in terms if term.event_time is not None]
    if not times:
        return [] if len(terms) == 1 else None
    group = terms[0].subgroup
    bases = [t.event_time for t in fit.terms if t.role == "base" and t.subgroup == group and t.event_time is not None]
    return [*times, *bases] if len(times) == len(terms) and bases and max(bases) < 0 else None


@dataclass(frozen=True)
class _SummedPart:
    """A part as sums by cluster and date; `at` (k,) says which of the fit's effects are its own.

    `covariates` says that there are some. times (G, J, R) flags the event times that a cluster with a date has rows at: the terms
    follow from those of all clusters. None for one treatment.
    """

    sums: DateSums
    at: Ints
    covariates: bool
    times: Flags | None

    def effects(self, assignments: Ints, actual: Ints) -> tuple[Floats, Floats, Flags]:
        """Coefficients (B, k, 2) and influence (B, G, k, 2) under assignments (B, G), and where they must be estimated anew."""
        b, influence, anew = self.sums.effects(assignments)
        if self.covariates:  # the estimator may leave one of them out instead
            anew |= np.isnan(b[:, 0, 0])
        return b, influence, anew | self._has_other_terms(assignments, actual)

    def _has_other_terms(self, assignments: Ints, actual: Ints) -> Flags:
        """Flag assignments (B, G) under which other event times are observed than under the actual one (G,)."""
        if self.times is None:
            return np.zeros(len(assignments), dtype=bool)
        each = np.arange(len(actual))
        own = self.times[each, actual].any(axis=0)
        return np.array([(self.times[each, one].any(axis=0) != own).any() for one in assignments])


@dataclass(frozen=True)
class Summed:
    """The parts of a fit with E effects as sums by cluster and date."""

    parts: tuple[_SummedPart, ...]
    lottery: Lottery

    def effects(self, assignments: Ints) -> tuple[Floats, Floats, Flags]:
        """Coefficients (B, E, 2) and influence (B, G, E, 2) under assignments (B, G) of the outcome, and of the actual treatment.

        NaN where an effect cannot be estimated. Flags (B,) say where the sums do not tell, and effects must be estimated anew.
        """
        n_effects = sum(len(part.at) for part in self.parts)
        b, influence = np.empty((len(assignments), n_effects, 2)), np.empty((*assignments.shape, n_effects, 2))
        anew = np.zeros(len(assignments), dtype=bool)
        for part in self.parts:
            b[:, part.at], influence[:, :, part.at], unknown = part.effects(assignments, self.lottery.actual)
            anew |= unknown
        return b, influence, anew

    def foretell(self, n_assignments: int) -> float:
        """Seconds that so many assignments take."""
        return sum(foretell_sums(n_assignments, part.sums) for part in self.parts)

    def drawing(self, refits: Refits) -> Summed:
        """The same under the assignments of another lottery."""
        return replace(self, lottery=refits.lottery)

    def is_right(self, refits: Refits) -> bool:
        """Say whether the sums give what the estimator gives: under the actual assignment, and another one.

        The effects of the treatment on itself, and the length of its column, tell that it is the regression's.
        """
        fit, actual = refits.fit, self.lottery.actual
        influence = influence_of_assigned(fit)
        if influence is None:
            return False
        known = fit.coefficients[effects_of(fit)], influence[np.ix_(self.lottery.present, effects_of(fit))]
        for part in self.parts:
            b = part.sums.effects(actual[None])[0][0, :, 1]
            explained = float(b @ part.sums.remaining(actual[None])[0] @ b)
            if not abs(explained - part.sums.squares[1]) < _AGREE * part.sums.squares[1]:
                return False
        found, anew = self._of_outcome(actual)
        if anew or not alike(found, known):
            return False
        for one in self.lottery.others():
            found, anew = self._of_outcome(one)
            if not anew and np.isfinite(found[0]).all():
                return alike(found, refits.effects_under(one, refits.spec))
        return False

    def _of_outcome(self, assignment: Ints) -> tuple[tuple[Floats, Floats], bool]:
        b, influence, anew = self.effects(assignment[None])
        return (b[0, :, 0], influence[0, :, :, 0]), bool(anew[0])


def sum_parts(fit: Fit, lottery: Lottery) -> Summed:
    """Sum the parts of a fit by cluster and date."""
    return Summed(tuple(_sum_part(fit, part, lottery) for part in fit.parts), lottery)


def _sum_part(fit: Fit, part: Part, lottery: Lottery) -> _SummedPart:
    regression, sample, mine = part.regression, part.sample, np.array(_effects(fit, part))
    times = _event_times(fit, part)
    assert regression is not None
    assert times is not None
    X, bread = regression.regressors, regression.bread
    rest = np.setdiff1d(np.arange(regression.n_slopes), mine)
    inner = np.linalg.inv(bread[np.ix_(mine, mine)])
    columns = X @ bread[:, mine] @ inner  # less the covariates
    periods = np.unique(sample.period)
    cluster = np.searchsorted(lottery.present, sample.cluster)
    since = periods - lottery.dates[:, None]  # (J, P)
    if times:
        lowest, highest = min(times), max(times)
        event = np.where(np.isfinite(since), np.clip(since, lowest, highest), np.nan)
        by_date = (event[:, :, None] == np.array(times[: len(mine)])).astype(np.float64)
        treated = columns[:, [e >= 0 for e in times[: len(mine)]]].sum(axis=1)
    else:
        by_date, treated = (since >= 0).astype(np.float64)[:, :, None], columns[:, 0]
    sums = date_sums(
        outcomes=np.column_stack([regression.residuals + columns @ fit.coefficients[part.positions[mine]], treated]),
        covariates=X[:, rest],
        bread=bread[np.ix_(rest, rest)] - bread[np.ix_(rest, mine)] @ inner @ bread[np.ix_(mine, rest)],
        weights=regression.weights,
        unit=regression.factors[0],
        factors=regression.factors[1:],
        cluster=cluster,
        n_clusters=len(lottery.present),
        columns=by_date,
    )
    at = np.searchsorted(effects_of(fit), part.positions[mine])
    observed = _observed_times(cluster, sample.period, lottery) if times else None
    return _SummedPart(sums, at, len(rest) > 0, observed)


def _observed_times(cluster: Ints, period: Ints, lottery: Lottery) -> Flags:
    """Flag (G, J, R) at which of R event times a cluster with a date has rows."""
    finite = lottery.dates[np.isfinite(lottery.dates)].astype(np.int64)
    first, last = int(period.min() - finite.max()), int(period.max() - finite.min())
    flags = np.zeros((len(lottery.present), len(lottery.dates), last - first + 1), dtype=bool)
    for j, date in enumerate(finite):
        flags[cluster, j, period - date - first] = True
    return flags
