"""Sums of influence that are nothing but rounding, which must not pass for precision."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evalkit.columns import Floats, Ints
from evalkit.fit import Influence, Regression
from evalkit.sample import Sample

# A standard error below this share of the largest outcome is rounding.
OF_OUTCOME = 2e-15
# So is one below this share of what it would be were no influence to cancel.
OF_INFLUENCE = 1e-12
_OF_RESIDUALS = 1e-10  # the share that Cluster takes of the classical standard error


@dataclass(frozen=True)
class WithoutRounding:
    """An influence whose sums within groups are 0 in columns (k,) where all of them together are no larger than `floor` (k,)."""

    of: Influence
    floor: Floats

    def sum_within(self, groups: Ints, n_groups: int) -> Floats:
        """Sum within groups (n,), giving (n_groups, k)."""
        summed = self.of.sum_within(groups, n_groups)
        size = np.sqrt(np.einsum("ij,ij->j", summed, summed))
        return np.where(size <= self.floor, 0.0, summed)


def floor_of_outcome(sample: Sample) -> float:
    """Return what rounding of outcomes as large as the sample's can make of a standard error."""
    return OF_OUTCOME * float(np.abs(sample.outcome).max())


def without_rounding_of(regression: Regression, sample: Sample, n_effects: int) -> WithoutRounding:
    """Judge a regression's influence against the classical standard errors, that of its first slopes against outcomes, too."""
    weights = 1.0 if regression.weights is None else regression.weights
    noise = float(np.sum(weights * regression.residuals**2))
    floor = _OF_RESIDUALS * np.sqrt(np.diag(regression.bread) * noise)
    floor[:n_effects] = np.maximum(floor[:n_effects], floor_of_outcome(sample))  # slopes of covariates have other units
    return WithoutRounding(regression, floor)
