"""Event study: one effect for each period before and after adoption."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from evalkit.catalogue import Message, message
from evalkit.designs.design import Design
from evalkit.designs.sample import Sample, draw_sample, leave_out
from evalkit.errors import DesignError
from evalkit.estimators._regression import always_treated_notes, count_cohorts, dose_notes, refuse_unused, regress
from evalkit.estimators._saturated import regress_codes
from evalkit.numerics.arrays import Flags, Floats
from evalkit.panels.panel import Panel
from evalkit.results.estimation import no_columns
from evalkit.results.fit import Fit, Term
from evalkit.tables.columns import name_rows


@dataclass(frozen=True, kw_only=True)
class EventStudy:
    """Regress the outcome on event-time indicators -leads … lags with unit and period effects; terms are "ATT(e=2)".

    reference  the event times against which the others are measured, listed with effect 0 and no standard error: one, or several
               where all adopt in the end, whose common trend one cannot pin down. None: the last observed event time before
               adoption and before any anticipation (-1 where it is observed).
    bin        True: event times beyond the window are binned into its ends; False: their rows are left out through the ledger.

    An event time of the window at which no row is observed has no term, which a note says. With a dose in the design (one per
    unit) the indicators are multiplied by it, and the terms are "slope(e=2)", changes per unit of dose: see TwoWayFE.
    Source: Sun and Abraham, Journal of Econometrics 225 (2021), eq. 3, on what it weighs together when adoption is staggered.
    """

    leads: int
    lags: int
    reference: int | tuple[int, ...] | None = None
    bin: bool = True

    columns = no_columns
    on_cells = True

    def __post_init__(self) -> None:
        for name, value, least in (("leads", self.leads, 1), ("lags", self.lags, 0)):
            if not _is_whole(value) or value < least:
                raise DesignError(
                    f"{name} is {value!r}", where="EventStudy", remedy=f"give a whole number from {least} on"
                )
        if self.reference is None:
            return
        named = self.reference if isinstance(self.reference, tuple | list) else (self.reference,)
        window = range(-self.leads, self.lags + 1)
        if not named or len(set(named)) < len(named) or not all(_is_whole(e) and e in window for e in named):
            raise DesignError(
                f"reference is {self.reference!r}",
                where="EventStudy",
                remedy=f"name different event times from {-self.leads} to {self.lags}, such as reference=(-1, {-self.leads})",
            )
        object.__setattr__(self, "reference", tuple(sorted(named)))

    def fit(self, panel: Panel, design: Design, keep: Flags | None = None) -> Fit:
        """Estimate on the panel's rows (those flagged in `keep`, if given)."""
        refuse_unused(design, "EventStudy", "eligible")
        sample = draw_sample(panel, design, keep)
        height, notes = _heights(sample)
        if not self.bin:
            outside = (height > 0) & ((sample.event_time < -self.leads) | (sample.event_time > self.lags))
            reason = message("ledger.beyond_window", first=-self.leads, last=self.lags)
            sample, height = leave_out(sample, outside, reason), height[~outside]
        ever = np.flatnonzero(height > 0)
        true_times = sample.event_time[ever].astype(np.int64)
        binned = np.clip(true_times, -self.leads, self.lags)
        observed = np.unique(binned).tolist()
        cohorts = count_cohorts(sample)
        base, about_base = self._base(observed, design.anticipation)
        binned_ends = self._binned_ends(sample, height > 0)
        notes = (*notes, *about_base, *self._about_window(binned_ends, observed))
        if cohorts > 1:
            notes = (*notes, message("note.staggered_path", cohorts=cohorts))
        notes = (*notes, *always_treated_notes(sample))

        name = "ATT" if sample.dose is None else "slope"
        shown = [e for e in observed if e not in base]
        terms = [Term(f"{name}(e={e})", event_time=e, binned=e in binned_ends) for e in shown]
        code = np.full(len(sample.rows), -1)
        code[ever] = np.array([shown.index(e) if e in shown else -1 for e in observed])[
            np.searchsorted(observed, binned)
        ]
        if sample.dose is None:
            fit = regress_codes(sample, code, terms, notes)
        else:
            fit = regress(sample, [(term, height * (code == j)) for j, term in enumerate(terms)], notes)
        bases = [Term(f"{name}(e={e})", "base", event_time=e, binned=e in binned_ends) for e in base]
        return _with_base(fit, bases)

    def _base(self, observed: list[int], anticipation: int) -> tuple[list[int], tuple[Message, ...]]:
        """Choose the reference event times among those observed, and say what is unusual about them."""
        last = -1 - anticipation
        if self.reference is None:
            before = [e for e in observed if e <= last]
            if not before:
                raise DesignError(
                    f"no treated unit is observed at an event time from {-self.leads} to {last}",
                    where="EventStudy",
                    remedy="ask for more leads, or add earlier periods",
                )
            moved = (message("note.base_moved", base=before[-1], wanted=last),) if before[-1] != last else ()
            return before[-1:], moved
        assert isinstance(self.reference, tuple)
        base = [e for e in self.reference if e in observed]
        if not base or len(base) == len(observed):
            what = "there is no event time besides" if base else "no treated unit is observed at"
            raise DesignError(
                f"{what} the reference {', '.join(map(str, self.reference))}",
                where="EventStudy",
                remedy=f"choose among the event times observed: {', '.join(map(str, observed))}",
            )
        late = ", ".join(str(e) for e in base if e > last)
        return base, (message("note.base_late", event_times=late),) if late else ()

    def _binned_ends(self, sample: Sample, ever: Flags) -> dict[int, int]:
        """Count the flagged rows (n,) beyond the window by the end of it that they are binned into, if there are any."""
        time = sample.event_time
        beyond = {-self.leads: ever & (time < -self.leads), self.lags: ever & (time > self.lags)}
        return {end: sample.count_rows(rows) for end, rows in beyond.items() if rows.any()}

    def _about_window(self, binned_ends: dict[int, int], observed: list[int]) -> tuple[Message, ...]:
        """Say what is binned into the ends of the window, and which of its event times are not observed."""
        notes = tuple(message("note.binned", rows=rows, event_time=end) for end, rows in binned_ends.items())
        unseen = [e for e in range(-self.leads, self.lags + 1) if e not in observed]
        if unseen:
            notes = (*notes, message("note.unseen", event_times=", ".join(map(str, unseen))))
        return notes


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _heights(sample: Sample) -> tuple[Floats, tuple[Message, ...]]:
    """Height (n,) of each row's indicators: 1 where ever treated, or the one dose of the row's unit; 0 for comparison."""
    if sample.dose is None:
        return np.isfinite(sample.adoption).astype(np.float64), ()
    treated = sample.period >= sample.adoption
    dose = np.full(len(sample.starts), np.nan)
    dose[sample.unit[treated]] = sample.dose[treated]
    varies = treated & (sample.dose != dose[sample.unit])
    if varies.any():
        rows = np.zeros(len(sample.panel), dtype=bool)
        rows[sample.rows[varies]] = True
        raise DesignError(
            "the dose changes within a unit after adoption, so that there is no one dose for its event times",
            where=name_rows(sample.panel.frame, rows, str(sample.design.dose)),
            remedy="derive one dose for each unit, such as its first or its mean, or use TwoWayFE",
        )
    notes = dose_notes(sample)
    unknown = sample.count_units(np.isnan(dose) & np.isfinite(sample.unit_adoption))
    if unknown:
        notes = (*notes, message("note.dose_unknown", units=unknown))
    return np.nan_to_num(dose)[sample.unit], notes


def _with_base(fit: Fit, base: list[Term]) -> Fit:
    """Add the reference terms, with effect 0, so that terms follow event time; covariates stay last."""
    (part,) = fit.parts
    terms = sorted([*fit.terms, *base], key=lambda term: (term.role == "covariate", term.event_time or 0))
    positions = np.array([terms.index(term) for term in fit.terms])
    coefficients = np.zeros(len(terms))
    coefficients[positions] = fit.coefficients
    return Fit(tuple(terms), coefficients, (replace(part, positions=positions),), fit.notes)
