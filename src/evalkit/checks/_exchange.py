"""What the check of gaps rests on: two subgroups, and Fisher's permutation that exchanges their labels in whole counties."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import product
from zlib import crc32

import numpy as np

from evalkit.adoption import read_assignment
from evalkit.checks._placebo import after_adoption
from evalkit.columns import Flags, Floats, Ints
from evalkit.errors import EvalkitError, InferenceError
from evalkit.estimation import Estimator, Specification
from evalkit.fit import Fit
from evalkit.numerics.exchanged import group_sums

MAX_ENUMERATED = 10_000
_TIE = 1e-8  # relative: statistics that differ by less are one
_AGREE = 1e-8  # by how much t by sums and t by rows may differ, relative where above 1
_EMPTY = 1e-14  # share of the largest outcome below which a standard error is rounding


@dataclass(frozen=True)
class Exchanged:
    """A gap among those under other labels.

    units counts the units of assignment with rows of either group, `alone` those with rows of one only, `exchanges` the other
    labellings (all of them, if `enumerated`, up to the mirror image), `failed` those without an estimate, which count as extreme.
    floor is the smallest p that can be attained; `large` the largest that a gap can have, however large it is: labels exchanged
    in all treated places, or in none, leave it as it is, whatever happens to the others.
    """

    p_value: float
    floor: float
    large: float
    units: int
    alone: int
    exchanges: int
    enumerated: bool
    failed: int


@dataclass(frozen=True)
class Pair:
    """Two subgroups of a panel, estimated apart: each row's code (n,) is 0 in the first, 1 in the second, -1 elsewhere."""

    estimator: Estimator
    spec: Specification
    codes: Ints

    @cached_property
    def fits(self) -> tuple[Fit, Fit]:
        """The actual ones."""
        return self._fit(self.codes == 0, self.codes == 1)

    @cached_property
    def units(self) -> Ints:
        """Codes (G,) of the units of assignment in which either group occurs."""
        first, second = self.fits
        return np.union1d(_units(first), _units(second))

    def rank(self, draws: int | None, seed: int | None) -> Exchanged:
        """Rank the gap, divided by its clustered standard error, among those with labels kept or exchanged unit by unit.

        InferenceError where there are more than 10,000 labellings, and draws or seed are missing, or the gap has no error.
        """
        exchanges, enumerated = list_exchanges(len(self.units), draws, seed)
        if np.isnan(actual := _statistic(*self.fits)):
            raise InferenceError(
                "the units of assignment tell nothing of how the gap varies",
                where="GroupGaps",
                remedy="check that the outcome is not fitted without residual",
            )
        statistics = self.from_sums(exchanges)
        if statistics is None:
            statistics = np.full(len(exchanges), np.nan)
            statistics[0] = actual
        for i in np.flatnonzero(np.isnan(statistics)):
            statistics[i] = self.from_rows(exchanges[i])
        size = np.abs(statistics)
        size[np.isnan(size)] = np.inf  # what cannot be estimated counts as extreme
        ties = int((np.abs(size - size[0]) <= _TIE * size[0]).sum()) if enumerated else 1
        failed = int(np.isinf(size).sum())
        return Exchanged(
            p_value=float((size >= size[0] * (1 - _TIE)).mean()),
            floor=(ties + failed) / len(size),
            large=min(1.0, 2.0 ** (1 - self._n_treated())),
            units=len(self.units),
            alone=len(self.units) - len(np.intersect1d(_units(self.fits[0]), _units(self.fits[1]))),
            exchanges=len(size) if enumerated else len(size) - 1,
            enumerated=enumerated,
            failed=failed,
        )

    def from_rows(self, exchange: Flags) -> float:
        """Estimate with the labels in the flagged units (G,) exchanged; NaN where that cannot be."""
        assigned = read_assignment(self.spec.panel, self.spec.design)[0].values
        flip = np.isin(assigned, self.units[exchange])
        try:
            return _statistic(*self._fit((self.codes == 0) ^ flip, (self.codes == 1) ^ flip))
        except EvalkitError:
            return float("nan")

    def from_sums(self, exchanges: Flags) -> Floats | None:
        """Statistics (B,) of exchanges (B, G), the first of which is none, by sums over rows; NaN where only the rows can tell.

        None where estimates under other labels are no regression with the columns of the actual one.
        """
        design = self.spec.design
        # With a dose, or a restricted comparison, an estimator can refuse rows that have a solution.
        if design.dose is not None or design.eligible is not None or design.comparison != "not_yet_treated":
            return None
        try:
            both = self.estimator.fit(self.spec.panel, design, self.codes >= 0)
        except EvalkitError:
            return None
        part, regression = both.parts[0], both.parts[0].regression
        if regression is None or part.mapping is not None or len(both.parts) > 1:
            return None
        if not np.array_equal(_units(both), self.units):
            return None
        sums = group_sums(
            regressors=regression.regressors,
            outcome=regression.residuals + regression.regressors @ both.coefficients[part.positions],
            weights=regression.weights,
            unit=regression.factors[0],
            factors=regression.factors[1:],
            cluster=np.searchsorted(self.units, part.sample.cluster),
            n_clusters=len(self.units),
            second=self.codes[part.sample.rows] == 1,
        )
        if sums is None:
            return None
        gaps, errors = sums.gaps(exchanges, after_adoption(both)[part.positions])
        statistics = np.full(len(exchanges), np.nan)
        known = errors > _EMPTY * np.abs(part.sample.outcome).max()
        statistics[known] = gaps[known] / errors[known]
        actual = _statistic(*self.fits)
        return statistics if abs(statistics[0] - actual) <= _AGREE * max(abs(actual), 1.0) else None

    def _n_treated(self) -> int:
        """Count the units of assignment that adopt in the periods observed."""
        samples = [part.sample for fit in self.fits for part in fit.parts]
        treated = [sample.cluster[sample.adoption <= sample.period.max()] for sample in samples]
        return len(np.unique(np.concatenate(treated)))

    def _fit(self, first: Flags, second: Flags) -> tuple[Fit, Fit]:
        panel, design, inside = self.spec.panel, self.spec.design, self.codes >= 0
        return self.estimator.fit(panel, design, first & inside), self.estimator.fit(panel, design, second & inside)


def _units(fit: Fit) -> Ints:
    """Codes of the units of assignment that a fit rests on."""
    return np.unique(np.concatenate([part.sample.cluster for part in fit.parts]))


def _statistic(first: Fit, second: Fit) -> float:
    """Gap of the average effects after adoption over its clustered standard error without a factor; NaN if that is rounding.

    The gap itself where the estimator has no influence.
    """
    weights = [after_adoption(fit) for fit in (first, second)]
    gap = float(weights[1] @ second.coefficients - weights[0] @ first.coefficients)
    try:
        (pulled, size), (drawn, other) = (_influence(fit, w) for fit, w in zip((first, second), weights, strict=True))
    except InferenceError:
        return gap
    error = float(np.sqrt(((drawn - pulled) ** 2).sum()))
    return gap / error if error > _EMPTY * max(size, other) else float("nan")


def _influence(fit: Fit, weights: Floats) -> tuple[Floats, float]:
    """Influence (C,) of the units of assignment on a combination of effects, and the size of the largest outcome."""
    total = np.zeros(len(fit.parts[0].sample.clusters))
    for part in fit.parts:
        summed = part.influence.sum_within(part.sample.cluster, len(total))
        total += summed @ weights[part.positions]
    return total, max(float(np.abs(part.sample.outcome).max()) for part in fit.parts)


def list_exchanges(units: int, draws: int | None, seed: int | None) -> tuple[Flags, bool]:
    """List flags (B, G) of the units whose labels are exchanged, first none, and whether these are all.

    All are one of each pair of mirror images, in which every label is the other one and the gap has the other sign.
    """
    if 2**units <= MAX_ENUMERATED:
        return np.array([(False, *rest) for rest in product((False, True), repeat=units - 1)]), True
    if draws is None or seed is None:
        raise InferenceError(
            f"the labels of {units} units of assignment can be exchanged in 2^{units} ways, too many to enumerate",
            where="GroupGaps",
            remedy="give draws= and seed=, for example draws=999, seed=1",
        )
    generator = np.random.default_rng(np.random.SeedSequence([seed, crc32(b"exchange")]))
    drawn = generator.integers(0, 2, size=(draws, units), dtype=np.uint8).astype(bool)
    return np.concatenate([np.zeros((1, units), dtype=bool), drawn]), False
