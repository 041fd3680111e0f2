"""Power in closed form: where the estimate is a difference of means over units of assignment, judged by a pooled t test."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evalkit.checks._drawn_outcomes import Layout
from evalkit.checks._placebo import after_adoption
from evalkit.columns import Flags, Floats
from evalkit.estimation import Estimate
from evalkit.numerics.detectable import detectable_effect, power_of_t
from evalkit.sample import Sample

_SAME = 1e-8  # relative; estimates that are the same number by two ways


@dataclass(frozen=True)
class Exact:
    """A t test at the level alpha, with this true standard error and degrees of freedom."""

    std_error: float
    df: int
    alpha: float

    @property
    def unit(self) -> float:
        """The standard error."""
        return self.std_error

    def smallest(self, target: float) -> float:
        """The effect found with probability `target`."""
        return detectable_effect(std_error=self.std_error, df=self.df, alpha=self.alpha, target=target)

    def power(self, effect: float) -> float:
        """The probability that an effect is found."""
        return power_of_t(effect, std_error=self.std_error, df=self.df, alpha=self.alpha)


def find_exact(layout: Layout, one: Estimate, alpha: float) -> Exact | None:
    """See whether `one`, estimated from a drawn outcome, is a pooled t test; None where it is not.

    That needs one date of adoption, and as many rows in every period and unit of assignment. Then the estimate, its standard
    error and degrees of freedom are computed as the mean change of the treated less that of the others (Donald and Lang, Review
    of Economics and Statistics 89 (2007), section III), and must be the same numbers.
    """
    if len(one.fit.parts) != 1:
        return None
    sample = one.fit.parts[0].sample
    cells, means = _cells(sample)
    after = _after(sample)
    if after is None or cells is None:
        return None
    treated = sample.cluster_adoption()
    treated = treated[~np.isnan(treated)] <= sample.period.max()
    change = means[:, after].mean(axis=1) - means[:, ~after].mean(axis=1)
    n_treated, n_control = int(treated.sum()), int((~treated).sum())
    df = n_treated + n_control - 2
    if min(n_treated, n_control) < 1 or df < 1:
        return None
    inside = sum(float(((change[side] - change[side].mean()) ** 2).sum()) for side in (treated, ~treated))
    root = np.sqrt(1 / n_treated + 1 / n_control)
    by_hand = (change[treated].mean() - change[~treated].mean(), root * np.sqrt(inside / df), df)
    weights = after_adoption(one.fit)
    found = (float(weights @ one.fit.coefficients), one.law.std_error(weights), one.law.df(weights))
    size = by_hand[1]
    if not all(abs(a - b) <= _SAME * size for a, b in zip(found[:2], by_hand[:2], strict=True)) or found[2] != df:
        return None
    drawn_anew = layout.noise_sd**2
    if sample.panel.unit_codes is None:
        drawn_anew += layout.unit_sd**2
    variance = (layout.place_sd**2 + drawn_anew / cells) * (1 / after.sum() + 1 / (~after).sum())
    return Exact(float(root * np.sqrt(variance)), df, alpha)


def _cells(sample: Sample) -> tuple[float | None, Floats]:
    """Rows in each period and unit of assignment, None where their numbers differ; and means (G, T) of the outcome."""
    present, cluster = np.unique(sample.cluster, return_inverse=True)
    periods, period = np.unique(sample.period, return_inverse=True)
    at, shape = cluster * len(periods) + period, (len(present), len(periods))
    counts = np.bincount(at, minlength=shape[0] * shape[1])
    totals = np.bincount(at, weights=sample.outcome, minlength=shape[0] * shape[1])
    means = (totals / np.maximum(counts, 1)).reshape(shape)
    return (float(counts[0]) if counts.min() == counts.max() else None), means


def _after(sample: Sample) -> Flags | None:
    """Flag the periods (T,) from the one date of adoption on; None where there are several dates, or weights."""
    adoption = sample.unit_adoption
    dates = np.unique(adoption[adoption <= sample.period.max()])
    if len(dates) != 1 or sample.weights is not None or sample.dose is not None:
        return None
    after: Flags = np.unique(sample.period) >= dates[0]
    return after
