"""Cluster-robust standard errors, one- and two-way, with the correction named."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from evalkit.catalogue import Message, message
from evalkit.errors import DataError, InferenceError, nearest
from evalkit.estimation import Specification, Uncertainty, few_clusters
from evalkit.fit import Fit, Part
from evalkit.inference._clusters import count_clusters, regression_of, smallest_p, summed_influence
from evalkit.numerics.absorb import effects_rank
from evalkit.panel import Codes, Floats, Ints, place

Correction = Literal["cr1", "none", "all_effects"]
CORRECTIONS: tuple[Correction, ...] = ("cr1", "none", "all_effects")


@dataclass(frozen=True)
class Cluster:
    """Let errors be correlated within clusters: by default the units of assignment, else column `by`, or two columns.

    correction  "cr1": G/(G-1) · (N-1)/(N-K), K counting slopes and absorbed effects not nested in the clusters (the
                convention of fixest); "all_effects": K counts every effect; "none": no factor.

    p-values and intervals use t(G-1); with two columns the smaller G, and V = V1 + V2 - V12 (Cameron, Gelbach, Miller, Journal of
    Business and Economic Statistics 29 (2011), eq. 2.11) with negative eigenvalues set to 0, which a note says. Units observed
    once stay in N. Where the design has too few treated or control clusters, the uncertainty says that t(G-1) is no guide.
    """

    by: str | tuple[str, ...] | None = None
    correction: Correction = "cr1"

    def __post_init__(self) -> None:
        if self.correction not in CORRECTIONS:
            raise InferenceError(
                f"correction '{self.correction}' is unknown", where="Cluster", remedy=nearest(self.correction, CORRECTIONS)
            )
        by = (self.by,) if isinstance(self.by, str) else self.by
        if by is not None:
            if not 1 <= len(by) <= 2 or len(set(by)) < len(by):
                raise InferenceError(
                    f"clusters are given by {len(by)} columns", where="Cluster", remedy="name one column, or two different ones"
                )
            object.__setattr__(self, "by", tuple(by))

    def assess(self, fit: Fit, spec: Specification) -> Uncertainty:
        """Sum influence within clusters and take the outer product."""
        columns = self.by if isinstance(self.by, tuple) else (spec.design.assigned_at,)
        ways = [_cluster_codes(spec, column, fit) for column in columns]
        if len(ways) == 2:
            crossed = ways[0].values * len(ways[1].labels) + ways[1].values
            _, values = np.unique(crossed, return_inverse=True)
            ways.append(Codes(values.astype(np.int64), tuple(range(int(values.max()) + 1))))
        signs = (1.0,) if len(ways) == 1 else (1.0, 1.0, -1.0)
        covariance = np.zeros((len(fit.terms), len(fit.terms)))
        df = np.full(len(fit.terms), np.nan)
        sizes = {id(part): _n_clusters(part, ways[: len(columns)]) for part in fit.parts}
        for part in fit.parts:
            df[part.positions] = sizes[id(part)] - 1
        for sign, codes in zip(signs, ways, strict=True):
            summed = summed_influence(
                fit, codes.values, len(codes.labels), lambda part: self._factor(part, ways[: len(columns)], sizes[id(part)])
            )
            covariance += sign * summed.T @ summed
        notes: tuple[Message, ...] = ()
        if len(columns) == 2:
            covariance, mended = _positive(covariance)
            if mended:
                notes = (message("note.not_positive"),)
        counted = [count_clusters(fit, codes.values, len(codes.labels)) for codes in ways[: len(columns)]]
        clusters = min(counted, key=lambda one: min(one.treated, one.control))
        single, joint = few_clusters(clusters)
        method = message(
            f"method.cluster_{len(columns)}way", columns=" × ".join(columns), correction=message(f"correction.{self.correction}")
        )
        return Uncertainty(covariance, df, method, smallest_p(fit), clusters, single, joint, notes)

    def _factor(self, part: Part, ways: list[Codes], n_clusters: int) -> float:
        if self.correction == "none":
            return 1.0
        factor = n_clusters / (n_clusters - 1)
        regression = regression_of(part, "Cluster(correction='cr1')")
        if self.correction == "all_effects":
            n_effects = regression.n_effects
        else:
            codes = [way.values[part.sample.rows] for way in ways]
            n_effects = effects_rank(
                tuple(levels for levels in regression.factors if not any(_nested(levels, groups) for groups in codes))
            )
        left = part.sample.n_obs - regression.n_slopes - n_effects
        return factor * (part.sample.n_obs - 1) / left if left > 0 else float("nan")


def _cluster_codes(spec: Specification, column: str, fit: Fit) -> Codes:
    codes = spec.panel.codes(column)
    values = codes.values
    if column == spec.design.assigned_at:
        values = values.copy()
        for part in fit.parts:  # units that move stay where they were assigned
            values[part.sample.rows] = part.sample.cluster
    used = np.concatenate([part.sample.rows for part in fit.parts])
    absent = np.zeros(len(values), dtype=bool)
    absent[used] = values[used] < 0
    if absent.any():
        raise DataError(
            f"the cluster is missing in {int(absent.sum())} rows",
            where=place(spec.panel.frame, absent, column),
            remedy="fill it in, or leave these rows out",
        )
    if len(np.unique(values[used])) < 2:
        raise InferenceError(
            f"there is only one cluster in '{column}'",
            where="Cluster",
            remedy="cluster at a level with several units; with one cluster no standard error exists",
        )
    return Codes(values, codes.labels)


def _n_clusters(part: Part, ways: list[Codes]) -> int:
    return min(len(np.unique(way.values[part.sample.rows])) for way in ways)


def _nested(levels: Ints, groups: Ints) -> bool:
    """Say whether each level lies within one group."""
    owner = np.zeros(int(levels.max()) + 1, dtype=np.int64)
    owner[levels] = groups
    return bool((owner[levels] == groups).all())


def _positive(covariance: Floats) -> tuple[Floats, bool]:
    values, vectors = np.linalg.eigh(covariance)
    if values.min() >= -1e-14 * max(values.max(), 0.0):
        return covariance, False
    return (vectors * np.maximum(values, 0.0)) @ vectors.T, True
