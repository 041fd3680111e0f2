"""Event study: one effect for each period before and after adoption."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evalkit.catalogue import message
from evalkit.columns import Flags
from evalkit.design import Design
from evalkit.errors import DesignError
from evalkit.estimators._regression import regress, staggered_notes
from evalkit.fit import Fit, Part, Term
from evalkit.panel import Panel
from evalkit.sample import draw_sample


@dataclass(frozen=True, kw_only=True)
class EventStudy:
    """Regress the outcome on event-time indicators -leads … lags with unit and period effects; terms are "ATT(e=2)".

    Event times beyond the window are binned into its ends. The base is the last observed event time before adoption and
    before any anticipation (-1 where it is observed); it is listed with effect 0 and no standard error. An event time of the
    window at which no row is observed has no term, which a note says.
    Source: Sun and Abraham, Journal of Econometrics 225 (2021), eq. 3, on what it weighs together when adoption is staggered.
    """

    leads: int
    lags: int

    def __post_init__(self) -> None:
        for name, value, least in (("leads", self.leads, 1), ("lags", self.lags, 0)):
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise DesignError(
                    f"{name} is {value!r}", where="EventStudy", remedy=f"give a whole number from {least} on"
                )

    def fit(self, panel: Panel, design: Design, keep: Flags | None = None) -> Fit:
        """Estimate on the panel's rows (those flagged in `keep`, if given)."""
        sample = draw_sample(panel, design, keep)
        ever = np.isfinite(sample.adoption)
        true_times = sample.event_time[ever].astype(np.int64)
        binned = np.clip(true_times, -self.leads, self.lags)
        eligible = binned[binned <= -1 - design.anticipation]
        if not len(eligible):
            raise DesignError(
                f"no treated unit is observed at an event time from {-self.leads} to {-1 - design.anticipation}",
                where="EventStudy",
                remedy="ask for more leads, or add earlier periods",
            )
        base = int(eligible.max())
        observed = set(np.unique(binned).tolist())
        window = range(-self.leads, self.lags + 1)
        notes = staggered_notes(sample)
        if base != -1 - design.anticipation:
            notes = (*notes, message("note.base_moved", base=base, wanted=-1 - design.anticipation))
        for end, beyond in ((-self.leads, true_times < -self.leads), (self.lags, true_times > self.lags)):
            if beyond.any():
                notes = (*notes, message("note.binned", rows=int(beyond.sum()), event_time=end))
        unseen = [e for e in window if e not in observed]
        if unseen:
            notes = (*notes, message("note.unseen", event_times=", ".join(map(str, unseen))))

        effects = []
        for e in (e for e in window if e in observed and e != base):
            column = np.zeros(len(sample.rows))
            column[np.flatnonzero(ever)[binned == e]] = 1.0
            effects.append((Term(f"ATT(e={e})", event_time=e), column))
        fit = regress(sample, effects, notes)
        at = sum(e < base for e in observed)
        (part,) = fit.parts
        positions = part.positions + (part.positions >= at)
        return Fit(
            (*fit.terms[:at], Term(f"ATT(e={base})", "base", event_time=base), *fit.terms[at:]),
            np.insert(fit.coefficients, at, 0.0),
            (Part(part.sample, positions, part.influence, part.regression),),
            fit.notes,
        )
