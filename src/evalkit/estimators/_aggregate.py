"""Averages of the effects by cohort and period, with the influence of what their weights are estimated from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evalkit.columns import Floats, Ints
from evalkit.estimators._arrangement import Arrangement, Estimated
from evalkit.estimators._rounding import OF_INFLUENCE, OF_OUTCOME, WithoutRounding, floor_of_outcome
from evalkit.fit import UnitInfluence
from evalkit.sample import Sample

# What an average is of: an event time, a cohort, a period, a cohort and a period, or all.
Key = tuple[int, ...]


@dataclass(frozen=True)
class Average:
    """An average effect and the influence (n,) of the units (or rows), in the arrangement's order."""

    value: float
    influence: Floats


class Averages:
    """Sums of effects under construction: cells are added one by one, so that only sums are held.

    With `by_size` a cell weighs as much as its cohort; the size of a cohort is estimated, and its influence is added.
    Source: Callaway and Sant'Anna, Journal of Econometrics 225 (2021), section 3.1 and corollary 2.
    """

    def __init__(self, arrangement: Arrangement, *, by_size: bool) -> None:
        self.arrangement = arrangement
        self.sizes = np.bincount(arrangement.cohort, weights=arrangement.shares)
        self.by_size = by_size
        self._influence: dict[Key, Floats] = {}
        self._effects: dict[Key, list[tuple[int, float]]] = {}

    def add(self, key: Key, estimated: Estimated) -> None:
        """Add a cell to the average named `key`."""
        if key not in self._influence:
            self._influence[key] = np.zeros(len(self.arrangement.order))
            self._effects[key] = []
        cohort = estimated.cell.cohort
        weight = self.sizes[cohort] if self.by_size else 1.0
        self._influence[key][estimated.at] += weight * estimated.effect.influence
        self._effects[key].append((cohort, estimated.effect.value))

    def finish(self) -> dict[Key, Average]:
        """Divide by the weights; keys stand in the order in which they were first added."""
        return {key: self._finish(key) for key in self._influence}

    def _finish(self, key: Key) -> Average:
        cohorts = np.array([cohort for cohort, _ in self._effects[key]])
        effects = np.array([effect for _, effect in self._effects[key]])
        if not self.by_size:
            return Average(float(effects.mean()), self._influence[key] / len(effects))
        return self._weighted(cohorts, effects, self._influence[key])

    def across_cohorts(self, averages: dict[int, Average]) -> Average:
        """Average the averages of cohorts, each weighing as much as its cohort."""
        cohorts = np.array(list(averages))
        effects = np.array([one.value for one in averages.values()])
        summed = np.zeros(len(self.arrangement.order))
        for cohort, one in averages.items():
            summed += self.sizes[cohort] * one.influence
        return self._weighted(cohorts, effects, summed)

    def _weighted(self, cohorts: Ints, effects: Floats, summed: Floats) -> Average:
        weights = self.sizes[cohorts]
        total = float(weights.sum())
        value = float(weights @ effects) / total
        # One more unit of a cohort moves the average towards the effects of that cohort.
        of_size = np.bincount(cohorts, weights=effects - value, minlength=len(self.sizes)) / total
        return Average(value, summed / total + self.arrangement.shares * of_size[self.arrangement.cohort])


def mean_of(averages: list[Average]) -> Average:
    """Average averages alike."""
    influence = np.zeros_like(averages[0].influence)
    for one in averages:
        influence += one.influence
    return Average(float(np.mean([one.value for one in averages])), influence / len(averages))


def without_rounding(average: Average, largest: float) -> Average:
    """Set an influence to 0 that is rounding of outcomes as large as this: there is nothing to estimate an error from."""
    if np.sqrt(np.einsum("i,i->", average.influence, average.influence)) > OF_OUTCOME * largest:
        return average
    return Average(average.value, np.zeros_like(average.influence))


@dataclass(frozen=True)
class RowInfluence:
    """Influence by row: values (k, n), and where in the sample each of the n rows stands."""

    values: Floats
    order: Ints

    def sum_within(self, groups: Ints, n_groups: int) -> Floats:
        """Sum the rows' influence within groups (n,), giving (n_groups, k)."""
        arranged = groups[self.order]
        return np.array([np.bincount(arranged, weights=row, minlength=n_groups) for row in self.values]).T


def influence_of(averages: list[Average], arrangement: Arrangement, sample: Sample) -> WithoutRounding:
    """Return the influence of units for panels, of rows for repeated cross-sections."""
    values = np.array([one.influence for one in averages])
    floor = np.maximum(OF_INFLUENCE * np.sqrt(np.einsum("ij,ij->i", values, values)), floor_of_outcome(sample))
    if sample.panel.unit is None:
        return WithoutRounding(RowInfluence(values, arrangement.order), floor)
    place = np.empty(len(arrangement.order), dtype=np.int64)
    place[arrangement.order] = np.arange(len(place))
    return WithoutRounding(UnitInfluence(np.ascontiguousarray(values[:, place].T), sample), floor)
