"""Cluster-robust standard errors, one- and two-way, with the correction named."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import numpy as np

from evalkit.catalogue import Message, message
from evalkit.errors import InferenceError, nearest
from evalkit.numerics.absorb import effects_rank
from evalkit.results.clusters import (
    Way,
    cluster_by,
    count_clusters,
    named,
    nested,
    only_rounding,
    outer,
    positive,
    regression_of,
    smallest_p,
    summed_influence,
    without,
)
from evalkit.results.estimation import OnCells, Specification
from evalkit.results.fit import Fit, Part
from evalkit.results.loadings import ByBothSides, ByExpectedSize, loadings_of
from evalkit.results.uncertainty import Uncertainty

Correction = Literal["cr1", "interacted", "none", "all_effects"]

CORRECTIONS: tuple[Correction, ...] = get_args(Correction)


@dataclass(frozen=True)
class Cluster:
    """Let errors be correlated within clusters: by default the units of assignment, else column `by`, or two columns.

    correction  "cr1": G/(G-1) · (N-1)/(N-K), K counting slopes and absorbed effects not nested in the clusters (the
                convention of fixest), and G/(G-1) alone for estimators that are no one regression (Stacked with effects by group
                counts its repeated rows); "all_effects": K counts every effect; "interacted": as "cr1", with G, N and K of
                all subgroups together, as of one regression in which everything is interacted with the subgroup; "none": no
                factor.

    p-values and intervals use t(G-1); with two columns the smaller G, and V = V1 + V2 - V12 (Cameron, Gelbach, Miller, Journal of
    Business and Economic Statistics 29 (2011), eq. 2.11) with negative eigenvalues set to 0, which a note says. Units observed
    once stay in N. Where the design has too few treated or control clusters, the uncertainty says that t(G-1) is no guide.
    """

    by: str | tuple[str, ...] | None = None
    correction: Correction = "cr1"

    def __post_init__(self) -> None:
        if self.correction not in CORRECTIONS:
            raise InferenceError(
                f"correction '{self.correction}' is unknown",
                where="Cluster",
                remedy=nearest(self.correction, CORRECTIONS),
            )
        by = (self.by,) if isinstance(self.by, str) else self.by
        if by is not None:
            if not 1 <= len(by) <= 2 or len(set(by)) < len(by):
                raise InferenceError(
                    f"clusters are given by {len(by)} columns",
                    where="Cluster",
                    remedy="name one column, or two different ones",
                )
            object.__setattr__(self, "by", tuple(by))

    on_cells: ClassVar[OnCells] = "always"

    def columns(self) -> tuple[str, ...]:
        """Name the columns of the clusters."""
        return self.by if isinstance(self.by, tuple) else ()

    def assess(self, fit: Fit, spec: Specification) -> Uncertainty:
        """Sum influence within clusters and take the outer product."""
        columns = self.by if isinstance(self.by, tuple) else (spec.design.assigned_at,)
        ways = [cluster_by(column, fit, spec) for column in columns]
        sizes = [min(counts) for counts in zip(*(way.sizes for way in ways), strict=True)]
        if self.correction == "interacted":
            sizes = [min(len(np.unique(np.concatenate(way.codes))) for way in ways)] * len(sizes)
        factors = self._factors(fit, ways, sizes)
        df = np.full(len(fit.terms), np.nan)
        for part, size in zip(fit.parts, sizes, strict=True):
            df[part.positions] = size - 1
        covariance = outer(summed_influence(fit, ways[0], factors))
        notes: tuple[Message, ...] = ()
        if len(ways) == 2:
            both = summed_influence(fit, _cross(*ways), factors)
            covariance += outer(summed_influence(fit, ways[1], factors))
            covariance, mended = positive(covariance - outer(both), np.sqrt(np.diag(covariance)))
            notes = (message("note.not_positive"),) if mended else ()
        empty = only_rounding(np.diag(covariance), fit)
        if empty.any():
            covariance = without(covariance, empty)
            notes = (*notes, message("note.no_cluster_variance", terms=named(fit, empty)))
        counted = [count_clusters(fit, way) for way in ways]
        # Of two ways of clustering, the one with fewer treated or control clusters limits what can be said.
        limiting = min(range(len(ways)), key=lambda i: min(counted[i][0].treated, counted[i][0].control))
        clusters, parts = counted[limiting]
        loadings = loadings_of(fit, spec, ways[limiting])
        method = message(
            f"method.cluster_{len(ways)}way",
            columns=" × ".join(columns),
            correction=message(f"correction.{self.correction}"),
        )
        return Uncertainty(
            covariance,
            df,
            method,
            smallest_p(fit),
            clusters,
            parts,
            loadings,
            ByExpectedSize(loadings),
            ByBothSides(loadings),
            notes,
        )

    def _factors(self, fit: Fit, ways: list[Way], sizes: list[int]) -> list[float]:
        """Small-sample factor of each part."""
        if self.correction == "none":
            return [1.0] * len(fit.parts)
        if self.correction == "cr1" and any((part.regression or part.parameters) is None for part in fit.parts):
            return [_of_repeated(part) * size / (size - 1) for part, size in zip(fit.parts, sizes, strict=True)]
        observed = np.array([part.sample.n_obs for part in fit.parts])
        estimated = np.array([self._n_parameters(fit, i, ways) for i in range(len(fit.parts))])
        if self.correction == "interacted":
            observed, estimated = np.full(len(sizes), observed.sum()), np.full(len(sizes), estimated.sum())
        left = np.where(observed > estimated, observed - estimated, np.nan)
        factors: list[float] = [
            size / (size - 1) * rows for size, rows in zip(sizes, (observed - 1) / left, strict=True)
        ]
        return factors

    def _n_parameters(self, fit: Fit, i: int, ways: list[Way]) -> int:
        """Count slopes and the absorbed effects that the correction counts."""
        regression = fit.parts[i].parameters or regression_of(fit.parts[i], f"Cluster(correction='{self.correction}')")
        if self.correction == "all_effects":
            return regression.n_slopes + regression.n_effects
        units, *others = regression.factors
        apart = [] if any(way.nests_units or nested(units, way.codes[i]) for way in ways) else [units]
        apart += [levels for levels in others if not any(nested(levels, way.codes[i]) for way in ways)]
        return regression.n_slopes + effects_rank(tuple(apart))


def _of_repeated(part: Part) -> float:
    """The factor (N-1)/(N-K) of a regression of repeated rows; 1 for other estimators without a regression."""
    if part.counted is None:
        return 1.0
    n, k = part.counted
    return (n - 1) / (n - k) if n > k else float("nan")


def _cross(one: Way, other: Way) -> Way:
    crossed = [a * other.n_codes + b for a, b in zip(one.codes, other.codes, strict=True)]
    found = np.unique(np.concatenate(crossed))
    return Way(
        f"{one.name} × {other.name}", tuple(np.searchsorted(found, codes) for codes in crossed), len(found), False
    )
