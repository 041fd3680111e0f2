"""Factor uncertainty: the estimate made anew with emission factors drawn within their ranges."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from evalkit.accounting import FactorSet, factor_set
from evalkit.accounting.uncertainty import draw_factors
from evalkit.catalogue import message
from evalkit.errors import DataError, DesignError, EvalkitError, nearest
from evalkit.numerics.arrays import Floats
from evalkit.progress import watched
from evalkit.results.estimation import Specification
from evalkit.results.finding import Chart, Finding, headline, weigh_after_adoption
from evalkit.tables.columns import numbers

_TOLERANCE = 1e-9  # of columns that were computed from one another


@dataclass(frozen=True, kw_only=True)
class FactorUncertainty:
    """Re-estimate with emission factors drawn within their printed ranges; the range of effects stands beside the interval.

    factors  the factor sets that the emissions were made with; `gwp` as there.
    of       the column of intensities or emissions that the outcome is, or is the logarithm of. In a study it comes of the step
             Intensity with by_source = true: the panel has `<of>_emissions`, and `<of>_emissions_<source>` for each source.
    draws, seed  how many times, and the seed.

    Each figure is drawn once for the whole panel, by its name (see `evalkit.accounting.factor_uncertainty`): factors are the
    same for treated and untreated units, before and after. So this is no error of sampling, and is never added to the
    interval: it says how far the effect depends on which factors were believed. Estimator, design and rows stay as they are;
    what cannot be estimated under a draw is counted. `statistic` is the half width of the range over that of the sampling
    interval.

    Raises DataError for columns that the panel does not have, sources that do not add up, or an outcome that is neither the
    column nor its logarithm; DesignError where no factor has a range.
    """

    factors: str | Path | tuple[str | Path, ...]
    of: str = "cei"
    draws: int = 200
    seed: int = 0
    gwp: str | None = None

    on_cells = False

    def __post_init__(self) -> None:
        if self.draws < 20:
            raise DesignError(f"draws = {self.draws}", where="FactorUncertainty", remedy="ask for at least 20")

    def run(self, spec: Specification) -> Finding:
        """Re-estimate once per draw."""
        panel, outcome = spec.panel, spec.design.outcome
        sources, emissions = self._emissions(panel.frame)
        factors = self._factors()
        scale = self._scale(panel.frame, outcome)
        ratios = draw_factors(sources, factors, draws=self.draws, seed=self.seed)
        total, values = emissions.sum(axis=1), numbers(panel.frame, outcome)
        if not (ratios != 1).any():
            raise DesignError(
                f"no factor of {', '.join(sources)} has a printed range",
                where="FactorUncertainty",
                remedy="give the parameters of a factor file of your own a range, or leave this check out",
            )
        effects, failed, why = np.full(self.draws, np.nan), 0, ""
        for at in watched(range(self.draws), "FactorUncertainty", self.draws):
            try:
                effects[at] = self._effect(
                    spec, self._drawn(values, (emissions * ratios[:, at]).sum(axis=1), total, scale)
                )
            except EvalkitError as error:
                failed, why = failed + 1, why or str(error)
        return self._conclude(spec, effects, failed, why, sources, factors)

    def _factors(self) -> FactorSet:
        names = self.factors if isinstance(self.factors, tuple) else (self.factors,)
        return factor_set(*names, gwp=self.gwp)

    def _emissions(self, frame: pd.DataFrame) -> tuple[list[str], Floats]:
        """Return the sources, and their emissions (n, sources), which add up to those of the panel."""
        before = f"{self.of}_emissions_"
        columns = sorted(str(one) for one in frame.columns if str(one).startswith(before))
        for needed in (self.of, f"{self.of}_emissions"):
            if needed not in frame.columns:
                raise DataError(
                    f"there is no column '{needed}'",
                    where="FactorUncertainty",
                    remedy=nearest(needed, map(str, frame.columns)),
                )
        if not columns:
            raise DataError(
                f"there are no columns '{before}…' with the emissions of each source",
                where="FactorUncertainty",
                remedy="make them: intensity(…, by_source=True); in a study, by_source = true of the step Intensity",
            )
        emissions = np.column_stack([numbers(frame, one) for one in columns])
        total = numbers(frame, f"{self.of}_emissions")
        apart = np.abs(emissions.sum(axis=1) - total) > _TOLERANCE * np.abs(emissions).sum(axis=1)
        if apart.any():
            row = frame.index[int(np.argmax(apart))]
            raise DataError(
                f"the sources do not add up to '{self.of}_emissions' in {int(apart.sum())} rows",
                where=f"FactorUncertainty, row {row}",
                remedy="take all columns from one call of intensity(…)",
            )
        return [one.removeprefix(before) for one in columns], emissions

    def _scale(self, frame: pd.DataFrame, outcome: str) -> Literal["log", "level"]:
        """Tell whether the outcome is the column itself or its logarithm."""
        values, of = numbers(frame, outcome), numbers(frame, self.of)
        known = ~np.isnan(values) & ~np.isnan(of)
        if known.any() and np.allclose(values[known], of[known], rtol=_TOLERANCE, atol=0):
            return "level"
        positive = known & (of > 0)
        same = np.allclose(values[positive], np.log(of[positive]), rtol=_TOLERANCE, atol=_TOLERANCE)
        if positive.any() and same and not (known & ~positive).any():
            return "log"
        raise DataError(
            f"the outcome '{outcome}' is neither '{self.of}' nor its logarithm",
            where="FactorUncertainty",
            remedy="name the column that the outcome is made of: of=; an outcome changed otherwise cannot be made anew",
        )

    def _drawn(self, values: Floats, drawn: Floats, total: Floats, scale: str) -> Floats:
        """Return the outcome under drawn emissions."""
        ratio = np.divide(drawn, total, out=np.full(len(total), np.nan), where=total != 0)
        if scale == "level":
            return np.where(total == 0, values, values * ratio)
        if (ratio <= 0).any():
            raise DataError(
                f"net emissions change their sign in {int((ratio <= 0).sum())} rows, where no logarithm exists",
                where="FactorUncertainty",
                remedy="take emissions without sinks, or in levels",
            )
        return np.asarray(values + np.log(ratio))

    def _effect(self, spec: Specification, outcome: Floats) -> float:
        frame = spec.panel.frame.assign(**{spec.design.outcome: outcome})
        fit = spec.estimator.fit(replace(spec.panel, frame=frame), spec.design)
        return float(weigh_after_adoption(fit.terms) @ fit.coefficients)

    def _conclude(
        self, spec: Specification, effects: Floats, failed: int, why: str, sources: list[str], factors: FactorSet
    ) -> Finding:
        done = effects[~np.isnan(effects)]
        if not len(done):
            raise DesignError(f"no draw can be estimated: {why}", where="FactorUncertainty", remedy="see the reason")
        one = headline(spec.run())
        low, middle, high = (float(one) for one in np.quantile(done, (0.025, 0.5, 0.975)))
        table = pd.DataFrame(
            {
                "interval": ["sampling", "factors"],
                "estimate": [one["estimate"], middle],
                "std_error": [one["std_error"], float(done.std(ddof=1)) if len(done) > 1 else float("nan")],
                "low": [one["conf_low"], low],
                "high": [one["conf_high"], high],
                "draws": [0, len(done)],
                "failed": [0, failed],
                "why": ["", why],
            }
        )
        certain = [name for name in sources if not _has_range(name, factors)]
        sentence = message(
            "finding.factor_uncertainty_certain" if certain else "finding.factor_uncertainty",
            draws=len(done),
            low=f"{low:.4f}",
            high=f"{high:.4f}",
            estimate=f"{one['estimate']:.4f}",
            conf_low=f"{one['conf_low']:.4f}",
            conf_high=f"{one['conf_high']:.4f}",
            certain=", ".join(certain),
        )
        if failed:
            sentence = message("finding.factor_uncertainty_failed", sentence=sentence, failed=failed, why=why)
        if recalled := [name for name in sources if factors.factors[name].status == "recalled"]:
            sentence = message("finding.factors_recalled", sentence=sentence, sources=", ".join(recalled))
        width = one["conf_high"] - one["conf_low"]
        chart = Chart("intervals", message("chart.factor_uncertainty"), "estimate", ("interval",), "low", "high")
        nan = float("nan")
        return Finding(
            "FactorUncertainty",
            None,
            (high - low) / width if width > 0 else nan,
            nan,
            nan,
            "described",
            sentence,
            table,
            chart,
        )


def _has_range(source: str, factors: FactorSet) -> bool:
    return any(factors.parameters[name].range is not None for name, _ in factors.factors[source].parameters)
