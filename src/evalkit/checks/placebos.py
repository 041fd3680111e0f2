"""Placebos in time and in space: does a start that never was, or a county that was not treated, show an effect?"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from evalkit.catalogue import Message, message
from evalkit.checks._ranking import average_after_adoption, rank_among_assignments, tell_cost
from evalkit.designs.adoption import read_assignment, with_adoption
from evalkit.designs.sample import draw_sample
from evalkit.errors import CostError, DesignError
from evalkit.reassignment.assignments import can_enumerate
from evalkit.reassignment.cost import ASIDE, Draws, require_draws
from evalkit.results.estimation import Estimate, Specification
from evalkit.results.finding import Chart, Finding, Verdict, headline, judge_zero


@dataclass(frozen=True, kw_only=True)
class PlaceboAdoption:
    """Pretend that every unit adopted `shift` periods earlier, on rows before the true adoption (and anticipation) only.

    Rows of later periods leave altogether: those at or after the last true adoption. `bound`, stated beforehand in the units
    of the outcome, is how large a placebo effect would still be harmless: the check passes when the 90 % interval lies within it.
    Where the design cannot support the inference's p-value, the treated are ranked among all assignments instead,
    if these can be enumerated within seconds (5 s, foretold from the design), or among random ones, if `draws` and `seed` are
    given; draws="all" takes all, whatever it takes. Else there is no p-value, and the sentence says what all would take.
    """

    shift: int = 1
    bound: float | None = None
    draws: Draws = None
    seed: int | None = None

    on_cells = True

    def __post_init__(self) -> None:
        if not isinstance(self.shift, int) or self.shift < 1:
            raise DesignError(
                f"shift is {self.shift!r}", where="PlaceboAdoption", remedy="give a whole number of periods from 1 on"
            )
        require_draws(self.draws, self.seed, by="PlaceboAdoption")

    def run(self, spec: Specification) -> Finding:
        """Estimate the effect of the fake start."""
        panel = spec.panel
        sample = draw_sample(panel, spec.design)
        start = read_assignment(panel, spec.design)[1] - spec.design.anticipation  # of what units may respond to
        last = start[sample.rows][np.isfinite(sample.adoption)].max()
        before = np.zeros(len(panel), dtype=bool)
        before[sample.rows] = (sample.period < start[sample.rows]) & (sample.period < last)
        fake, design = with_adoption(panel, replace(spec.design, anticipation=0), start - self.shift)
        placebo = replace(spec, panel=fake, design=design)
        fit = spec.estimator.fit(fake, design, before)
        one = Estimate(fit, spec.inference.assess(fit, placebo), placebo)
        told = headline(one)
        value, error = told["estimate"], told["std_error"]
        supported = one.uncertainty.unsupported is None
        p, floor, how = told["p_value"], float("nan"), "clustered"
        if not supported:
            p, how = float("nan"), "none"
        elif not error > 0:  # the placebo rows leave nothing to estimate an error from
            supported, how = False, "no_error"
        too_long: CostError | None = None
        if not supported and (self.draws is not None or can_enumerate(placebo, before)):
            try:
                ranked = rank_among_assignments(
                    fit,
                    placebo,
                    average_after_adoption,
                    by="PlaceboAdoption",
                    keep=before,
                    draws=self.draws,
                    seed=self.seed,
                    budget=ASIDE,
                )
            except CostError as refused:
                too_long = refused
            else:
                p, floor, how = ranked.p_value, ranked.floor, "ranked" if ranked.exact else "drawn"
        verdict = judge_zero(value, error if supported else float("nan"), told["df"], p, self.bound)
        sentence = message(
            f"finding.placebo_adoption_{how}",
            start=panel.periods.label(float(start[sample.rows].min()) - self.shift),
            shift=self.shift,
            estimate=f"{value:.4f}",
            std_error=f"{error:.4f}",
            p=f"{p:.3f}",
            floor=f"{floor:.3f}",
            draws=self.draws,
            verdict=message(f"verdict.{verdict}"),
        )
        if too_long is not None:
            sentence = tell_cost(sentence, too_long, "PlaceboAdoption")
        bound = floor if not supported else (float("nan") if self.bound is None else self.bound)
        return Finding(
            "PlaceboAdoption",
            message("null.placebo_adoption"),
            value,
            p,
            bound,
            verdict,
            sentence,
            pd.DataFrame([told]),
            self._chart(drawn=one.uncertainty.unsupported is None),
        )

    def _chart(self, *, drawn: bool) -> Chart:
        """The effect with its interval, if that is `drawn`, between the bounds stated beforehand."""
        low, high = ("conf_low", "conf_high") if drawn else ("", "")
        marks = () if self.bound is None else (-self.bound, self.bound)
        title = message("chart.placebo_adoption", shift=self.shift)
        return Chart("intervals", title, value="estimate", label=("term",), low=low, high=high, marks=marks)


@dataclass(frozen=True, kw_only=True)
class PlaceboAssignment:
    """Permute adoption over the units of assignment and rank the actual effect among the placebo effects.

    Enumerated while there are at most 10,000 assignments that take no longer than a minute (60 s, foretold from the design);
    beyond that give `draws` and `seed`, or draws="all" for all of them, whatever it takes. A regression on one treatment or on
    event time needs no new estimates, others are estimated anew under each assignment. The bound of the finding is the
    smallest p that the design can attain. Exact if assignment was random; otherwise a description of how unusual the treated are.
    Source: Fisher's randomization test; Conley and Taber, Review of Economics and Statistics 93 (2011), on few treated.
    """

    draws: Draws = None
    seed: int | None = None

    on_cells = True

    def __post_init__(self) -> None:
        require_draws(self.draws, self.seed, by="PlaceboAssignment")

    def run(self, spec: Specification) -> Finding:
        """Rank the average effect after adoption."""
        fit = spec.estimator.fit(spec.panel, spec.design)
        found = rank_among_assignments(
            fit, spec, average_after_adoption, by="PlaceboAssignment", draws=self.draws, seed=self.seed
        )
        verdict: Verdict = "pass" if found.p_value < 0.05 else "inconclusive"
        key = "finding.placebo_assignment" if found.floor <= 0.05 else "finding.placebo_assignment_floor"
        if not found.exact:
            key = "finding.placebo_assignment_drawn"
        sentence = message(
            key,
            rank=found.rank,
            assignments=len(found.table),
            p=f"{found.p_value:.3f}",
            floor=f"{found.floor:.3f}",
            level=spec.design.assigned_at,
            failed=message("finding.failed_assignments", failed=found.n_failed)
            if found.n_failed
            else message("finding.no_failed_assignments"),
        )
        return Finding(
            "PlaceboAssignment",
            message("null.placebo_assignment"),
            found.actual,
            found.p_value,
            found.floor,
            verdict,
            sentence,
            found.table,
            Chart("placebo_assignment", _title(spec)),
        )


def _title(spec: Specification) -> Message:
    sample = draw_sample(spec.panel, spec.design)
    treated = int((sample.cluster_adoption() <= sample.period.max()).sum())
    return message("chart.placebo_one" if treated == 1 else "chart.placebo_many", level=spec.design.assigned_at)
