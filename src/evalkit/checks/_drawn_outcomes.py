"""Outcomes drawn on the rows of a design, the outcomes themselves unread."""

from __future__ import annotations

from dataclasses import dataclass
from zlib import crc32

import numpy as np

from evalkit.checks._placebo import after_adoption
from evalkit.columns import Floats, numbers
from evalkit.errors import DesignError
from evalkit.estimation import Estimate, Specification
from evalkit.sample import Sample, draw_sample


@dataclass(frozen=True)
class Layout:
    """The rows that a design uses, for which outcomes are drawn: normal, independent over periods, without any effect.

    `sample` holds no outcome; of the panel's, only which values are missing was read.
    """

    spec: Specification
    sample: Sample
    noise_sd: float
    place_sd: float
    unit_sd: float

    def draw(self, rng: np.random.Generator) -> Floats:
        """Draw an outcome for the rows of the sample (n,): unit + place in a period + noise, as evalkit.simulate does."""
        sample = self.sample
        n = len(sample.rows)
        unit = np.arange(n) if sample.panel.unit_codes is None else sample.unit
        places = rng.standard_normal((len(sample.clusters), int(sample.period.max()) + 1))
        drawn: Floats = self.unit_sd * rng.standard_normal(int(unit.max()) + 1)[unit]
        drawn += self.place_sd * places[sample.cluster, sample.period]
        drawn += self.noise_sd * rng.standard_normal(n)
        return drawn

    def estimate(self, outcome: Floats) -> Estimate:
        """Estimate by the specification as if this (n,) were the outcome of the sample's rows."""
        panel, design = self.spec.panel, self.spec.design
        column = np.full(len(panel), np.nan)
        column[self.sample.rows] = outcome
        spec = Specification(
            panel.with_column(design.outcome, column), design, self.spec.estimator, self.spec.inference
        )
        return spec.run()

    def add_effect(self, outcome: Floats, effect: float) -> Floats:
        """Add an effect to treated rows; times the dose, and of the eligible alone, where the design names these."""
        sample = self.sample
        added = effect * (sample.period >= sample.adoption)
        if sample.dose is not None:
            added = added * sample.dose
        if sample.eligible is not None:
            added = added * sample.eligible
        changed: Floats = outcome + added
        return changed


def lay_out(spec: Specification, *, noise_sd: float, place_sd: float, unit_sd: float) -> Layout:
    """Find the rows that the design uses; refuse collapsed panels, whose rows stand for several."""
    panel, design = spec.panel, spec.design
    if panel.counts is not None:
        raise DesignError(
            "the rows are collapsed, and stand for several each",
            where="Power",
            remedy="plan on the rows before they are collapsed",
        )
    missing = np.isnan(numbers(panel.frame, design.outcome))
    blank = panel.with_column(design.outcome, np.where(missing, np.nan, 0.0))
    return Layout(spec, draw_sample(blank, design), noise_sd, place_sd, unit_sd)


def generator(seed: int, draw: int) -> np.random.Generator:
    """Make the generator of one draw."""
    return np.random.default_rng(np.random.SeedSequence([seed, crc32(b"power"), draw]))


def refuse_not_linear(layout: Layout, outcome: Floats, one: Estimate) -> None:
    """Raise DesignError where an effect added to the outcome does not move the estimate by as much."""
    size = float(np.std(outcome)) or 1.0
    other = layout.estimate(layout.add_effect(outcome, size)).fit
    moved = after_adoption(other) @ other.coefficients - after_adoption(one.fit) @ one.fit.coefficients
    if abs(moved - size) > 1e-6 * size:
        raise DesignError(
            f"an effect of {size:.3g} in every treated row moves the estimate by {moved:.3g}: it is no average of effects",
            where="Power",
            remedy="use an estimator of effects on the outcome itself, such as TwoWayFE()",
        )
