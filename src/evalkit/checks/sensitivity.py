"""Sensitivity: how far may trends have departed from parallel before the effect can no longer be told from zero?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import pandas as pd

from evalkit.catalogue import Message, message
from evalkit.errors import DesignError, InferenceError, nearest
from evalkit.numerics.honest import (
    Interval,
    Path,
    breakdown,
    original_interval,
    relative_magnitudes_interval,
    smoothness_interval,
)
from evalkit.results.estimation import Estimate, Specification
from evalkit.results.finding import Chart, Finding, Verdict

_Restriction = Literal["relative_magnitudes", "smoothness"]
_MULTIPLES = (0.0, 0.5, 1.0, 1.5, 2.0)
_NEEDS = (
    'use an estimator with leads and lags against the base -1, such as EventStudy or CallawaySantAnna(base="universal")'
)


@dataclass(frozen=True, kw_only=True)
class Sensitivity:
    """Widen the interval of an event study's effect for trends that were not parallel, and say when it reaches zero.

    kind    "relative_magnitudes": from one period to the next, the violation of parallel trends changes after adoption by at most
            M times its largest change before; "smoothness": the slope of the violation changes by at most M from one period to
            the next, in units of the outcome, everywhere (M = 0: a straight line).
    effect  "average": the mean effect over the lags; "first": that of event time 0; or weights of the event times 0, 1, ….
    grid    the M for which intervals are listed. None: 0, .5, 1, 1.5, 2; for smoothness times the largest change of slope among
            the leads (of one lead, times its standard error).
    bound   the M that the effect must survive, stated beforehand: the check passes if the breakdown value is at least this.

    The breakdown value, the largest M whose interval leaves out zero, is solved for to a millionth. Intervals are the hybrid of
    conditional and least-favourable test ("C-LF") and the fixed-length one of least length ("FLCI"), both 95 %, as by default
    in R HonestDiD, and take the effects as jointly normal with the covariance of the inference: so does "original", that for
    parallel trends. Where the inference says that joint tests do not hold, the check does not pass, and the sentence says why.
    Source: Rambachan and Roth, Review of Economic Studies 90 (2023), sections 2.4, 3 and 4.
    """

    kind: _Restriction = "relative_magnitudes"
    effect: Literal["average", "first"] | tuple[float, ...] = "average"
    grid: tuple[float, ...] | None = None
    bound: float | None = None

    on_cells = True

    def __post_init__(self) -> None:
        if self.kind not in get_args(_Restriction):
            raise _wrong("kind", self.kind, nearest(str(self.kind), get_args(_Restriction)))
        if self.bound is not None and not _is_size(self.bound):
            raise _wrong("bound", self.bound, "give a number from 0 on")
        if self.grid is not None:
            if not isinstance(self.grid, tuple | list) or not self.grid or not all(map(_is_size, self.grid)):
                raise _wrong("grid", self.grid, "give numbers from 0 on, such as grid=(0, 0.5, 1, 2)")
            object.__setattr__(self, "grid", tuple(sorted({float(m) for m in self.grid})))
        if isinstance(self.effect, str):
            if self.effect not in ("average", "first"):
                raise _wrong("effect", self.effect, nearest(self.effect, ("average", "first")))
        else:
            weights = self.effect
            if not isinstance(weights, tuple | list) or not all(_is_number(w) for w in weights) or not any(weights):
                raise _wrong("effect", weights, 'write "average", "first", or weights such as effect=(0.5, 0.5)')
            object.__setattr__(self, "effect", tuple(float(w) for w in weights))

    def run(self, spec: Specification) -> Finding:
        """Estimate the event study and solve for the intervals."""
        one = spec.estimate()
        path = self._path(one)

        def interval(bound: float) -> Interval:
            solve = relative_magnitudes_interval if self.kind == "relative_magnitudes" else smoothness_interval
            return solve(path, bound)

        original = original_interval(path)
        method = "C-LF" if self.kind == "relative_magnitudes" else "FLCI"
        rows = [("original", float("nan"), original)]
        rows += [(method, m, interval(m)) for m in self._grid(path)]
        table = pd.DataFrame({"M": m, "low": i.low, "high": i.high, "method": by} for by, m, i in rows)
        value = breakdown(interval, 1.0 if self.kind == "relative_magnitudes" else path.std_error)
        effects = np.eye(len(one.fit.terms))[[term.role == "effect" for term in one.fit.terms]]
        joint = one.uncertainty.joint_doubt
        reason = (None if joint is None else joint.of(effects)) or one.uncertainty.unsupported
        verdict: Verdict = "described"
        if self.bound is not None:
            verdict = "fail" if not value >= self.bound else "pass" if reason is None else "inconclusive"
        null = None if self.bound is None else message(f"null.sensitivity_{self.kind}", bound=f"{self.bound:g}")
        sentence = self._sentence(path, original, value, verdict)
        if any(term.binned for term in one.fit.terms):
            sentence = message("finding.sensitivity_binned", sentence=sentence)
        if reason is not None:
            sentence = message("finding.sensitivity_unsupported", sentence=sentence, reason=reason)
        title = message(f"chart.sensitivity_{self.kind}")
        chart = Chart("intervals", title, label=("method", "M"), low="low", high="high", marks=(path.effect,))
        return Finding("Sensitivity", null, path.effect, float("nan"), value, verdict, sentence, table, chart)

    def _sentence(self, path: Path, original: Interval, value: float, verdict: Verdict) -> Message:
        last = len(path.lags) - 1
        if isinstance(self.effect, tuple):
            effect = message("sensitivity.weighted", weights=", ".join(f"{w:g}" for w in self.effect))
        else:
            effect = message("sensitivity.average" if self.effect == "average" else "sensitivity.first", last=last)
        asked = message("sensitivity.not_asked")
        if self.bound is not None:
            asked = message("sensitivity.asked", bound=f"{self.bound:g}")
        return message(
            f"finding.sensitivity_{self.kind}{'_none' if math.isnan(value) else ''}",
            effect=effect,
            estimate=_shown(path.effect),
            low=_shown(original.low),
            high=_shown(original.high),
            breakdown=_shown(value),
            asked=asked,
            verdict=message(f"verdict.{verdict}"),
        )

    def _grid(self, path: Path) -> tuple[float, ...]:
        if self.grid is not None:
            return self.grid
        unit = 1.0
        if self.kind == "smoothness":
            bends = np.diff(np.append(path.leads, 0.0), n=2)
            unit = float(np.abs(bends).max()) if len(bends) else float(np.sqrt(path.covariance[0, 0]))
        return tuple(unit * m for m in _MULTIPLES)

    def _path(self, one: Estimate) -> Path:
        """Arrange the event study's effects; refuse what is none against the one base -1, without gaps."""
        leads, lags = _event_times(one)
        covariance = one.uncertainty.covariance[np.ix_([*leads, *lags], [*leads, *lags])]
        if isinstance(self.effect, tuple):
            if len(self.effect) != len(lags):
                raise _wrong("effect", self.effect, f"give {len(lags)} weights, for event times 0 to {len(lags) - 1}")
            weights = np.array(self.effect)
        else:
            weights = np.full(len(lags), 1 / len(lags)) if self.effect == "average" else np.eye(len(lags))[0]
        path = Path(one.fit.coefficients[leads], one.fit.coefficients[lags], covariance, weights)
        self._refuse_singular(path)
        return path

    def _refuse_singular(self, path: Path) -> None:
        """Refuse a covariance in which the leads and the effect depend on each other more than the intervals can bear."""
        n_leads = len(path.leads)
        of = np.vstack([np.eye(n_leads, len(path.loading)), path.loading])
        V = of @ path.covariance @ of.T
        scale = np.sqrt(np.diag(V))
        if not (np.diag(path.covariance) > 0).all() or not scale[-1] > 0:
            raise InferenceError(
                "an effect has no standard error",
                where="Sensitivity",
                remedy="use fewer leads and lags, or another inference",
            )
        needed = 2 if self.kind == "relative_magnitudes" else n_leads + 1
        rank = int(np.linalg.matrix_rank(V / np.outer(scale, scale), tol=1e-10))
        if rank < needed:
            raise InferenceError(
                f"the covariance of {n_leads} leads and the effect has rank {rank}, and these intervals need {needed}",
                where="Sensitivity",
                remedy="use fewer leads; a covariance by clusters has a rank below the number of clusters",
            )


def _event_times(one: Estimate) -> tuple[list[int], list[int]]:
    """Positions of the leads and of the lags among the terms, in order of event time."""
    at = {}
    for i, term in enumerate(one.fit.terms):
        if term.role != "effect" or term.event_time is None:
            continue
        if term.event_time in at:
            raise DesignError(
                f"several effects have event time {term.event_time} (of subgroups or cohorts)",
                where="Sensitivity",
                remedy="estimate one path: no Split, and effects averaged over cohorts",
            )
        at[term.event_time] = i
    bases = [term.event_time for term in one.fit.terms if term.role == "base"]
    leads, lags = sorted(e for e in at if e < 0), sorted(e for e in at if e >= 0)
    shown = ", ".join(map(str, [*leads, *lags])) or "none"
    if not all(part.leads_from_base for part in one.fit.parts):
        what = "the leads are not differences from the base"
    elif bases != [-1]:
        what = f"the base is {', '.join(map(str, bases)) or 'not named'}, and must be event time -1 alone"
    elif not leads or not lags:
        what = f"there is no {'lead besides the base' if not leads else 'lag'} (event times: {shown})"
    elif leads != list(range(-len(leads) - 1, -1)) or lags != list(range(len(lags))):
        what = f"event times have a gap: {shown}"
    else:
        return [at[e] for e in leads], [at[e] for e in lags]
    raise DesignError(what, where="Sensitivity", remedy=_NEEDS)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_size(value: object) -> bool:
    return _is_number(value) and isinstance(value, int | float) and value >= 0


def _wrong(name: str, value: object, remedy: str) -> DesignError:
    return DesignError(f"{name} is {value!r}", where="Sensitivity", remedy=remedy)


def _shown(value: float) -> str:
    return f"{value:.4f}" if abs(value) >= 0.001 or value == 0 else f"{value:.3g}"
