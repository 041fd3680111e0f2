"""The wild cluster bootstrap: residuals change sign by whole clusters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from evalkit.catalogue import Message, message
from evalkit.columns import Flags
from evalkit.errors import InferenceError, nearest
from evalkit.estimation import Specification
from evalkit.fit import Fit
from evalkit.inference._basis import name_determined, see
from evalkit.inference._clusters import Way, count_clusters, smallest_p, summed_influence, way_of
from evalkit.inference._covariance import floors, named, only_rounding, without
from evalkit.inference._wild import ScoreLaw, Source, WildLaw
from evalkit.numerics.wild import Weights, can_enumerate
from evalkit.uncertainty import Clusters, Uncertainty

_LEAST_DRAWS = 99
_FEW_FOR_RADEMACHER = 8


@dataclass(frozen=True, kw_only=True)
class WildBootstrap:
    """Draw outcomes with the residuals of each cluster multiplied by one random weight, and rank the actual t among theirs.

    draws, seed  needed where not all vectors of weights can be enumerated (more than 10,000: from 14 clusters on, or with Webb's
                 weights from 6 on).
    restricted   impose the null hypothesis on the residuals (WCR, the default), or not (WCU).
    weights      "rademacher" (±1), or "webb" (six points); by default the latter below 8 clusters, of which ±1 makes too few.
    by           column of the clusters; by default the units of assignment.

    p counts ties; enumerated, the actual sample and its mirror image are among the draws, so that p is never 0. Without an
    imposed null p is (1 + #)/(B + 1), enumerated of the B vectors that are no mirror images of each other. Intervals invert the
    test: no null outside is kept, and they may have no end where the clusters are too few. Any combination of coefficients is
    tested in its own right: contrasts, averages, joint tests (on which all hypotheses are imposed, whatever `restricted` says).
    Standard errors are those of Cluster without a factor for parameters, G/(G-1) alone. Estimators without a regression get the
    score bootstrap: their influence is multiplied, the null is not imposed, and they have no joint test. With one treated cluster
    the restricted bootstrap never rejects and the unrestricted nearly always: then p counts as unsupported. Where that holds of
    some terms only, these have no standard error, and a note names them.
    Sources: Cameron, Gelbach and Miller, Review of Economics and Statistics 90 (2008); Webb, Canadian Journal of Economics 56
    (2023); Roodman, Nielsen, MacKinnon and Webb, Stata Journal 19 (2019); Kline and Santos, Journal of Econometric Methods 1
    (2012), on scores; MacKinnon and Webb, Econometrics Journal 21 (2018), on few treated clusters.
    """

    draws: int | None = None
    seed: int | None = None
    restricted: bool = True
    weights: Weights | None = None
    by: str | None = None

    def __post_init__(self) -> None:
        for name, value, least in (("draws", self.draws, _LEAST_DRAWS), ("seed", self.seed, 0)):
            if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < least):
                raise InferenceError(
                    f"{name} is {value!r}", where="WildBootstrap", remedy=f"give a whole number from {least} on"
                )
        if self.weights not in (None, "rademacher", "webb"):
            raise InferenceError(
                f"weights {self.weights!r} are unknown",
                where="WildBootstrap",
                remedy=nearest(str(self.weights), ("rademacher", "webb")),
            )
        if not isinstance(self.restricted, bool):
            raise InferenceError(
                f"restricted is {self.restricted!r}", where="WildBootstrap", remedy="give True (WCR) or False (WCU)"
            )

    def assess(self, fit: Fit, spec: Specification) -> Uncertainty:
        """Prepare the draws; each combination of coefficients is judged when it is asked for."""
        way = way_of(self.by, fit, spec)
        influence = summed_influence(fit, way, [1.0] * len(fit.parts))
        present = np.unique(np.concatenate(way.codes))
        level = self.by or spec.design.assigned_at
        named_at = spec.design.assigned_at == level
        labels = fit.parts[0].sample.clusters if named_at else spec.panel.codes(level).labels
        source = self._source(level, tuple(labels[code] for code in present))
        sizes = np.full(len(fit.terms), len(present))
        for part, size in zip(fit.parts, way.sizes, strict=True):
            sizes[part.positions] = size
        root = np.sqrt(sizes / (sizes - 1))
        covariance = (influence * root).T @ (influence * root)
        empty = only_rounding(np.diag(covariance), fit)
        covariance = without(covariance, empty)
        notes: tuple[Message, ...] = ()
        if empty.any():
            notes = (message("note.no_cluster_variance", terms=named(fit, empty)),)
        clusters, parts = count_clusters(fit, way)
        plain = all(part.regression is not None for part in fit.parts)
        kind = "restricted" if self.restricted and plain else "unrestricted"
        few = _too_few(parts, by_cohort=any(part.by_cohort for part in fit.parts), restricted=kind == "restricted")
        law: WildLaw | ScoreLaw
        if plain:
            seen = see(fit, way, "WildBootstrap")
            lost = np.any(seen.determined(), axis=0)
            alone = all(lost[i] for i, term in enumerate(fit.terms) if term.role == "effect")
            if alone:  # one treated cluster: p is given, but counts as unsupported
                few = few or message("note.wild_few", treated=clusters.treated, control=clusters.control)
            else:
                notes = (*notes, *name_determined(seen, spec, self.by, "WildBootstrap"))
            law = WildLaw(fit.coefficients, covariance, floors(fit), seen, source, self.restricted, alone)
            covariance = covariance if alone else np.where(lost[:, None] | lost, np.nan, covariance)
        else:
            law = ScoreLaw(fit.coefficients, covariance, influence[present], _members(fit, way)[present], source)
            notes = (*notes, message("note.score_bootstrap"))
        method = message(
            f"method.wild_{kind}",
            level=level,
            weights=message(f"wild.{source.weights}"),
            draws=message("wild.enumerated" if source.draws is None else "wild.drawn", draws=source.draws),
        )
        return Uncertainty(
            covariance,
            np.full(len(fit.terms), np.nan),
            method,
            smallest_p(fit),
            clusters,
            parts,
            few,
            few,
            notes,
            law,
        )

    def _source(self, level: str, clusters: tuple[Any, ...]) -> Source:
        n_clusters = len(clusters)
        weights: Weights = self.weights or ("webb" if n_clusters < _FEW_FOR_RADEMACHER else "rademacher")
        if can_enumerate(n_clusters, weights):
            return Source(level, clusters, weights, None, None)
        if self.draws is None or self.seed is None:
            raise InferenceError(
                f"the weights of {n_clusters} clusters are too many to enumerate",
                where="WildBootstrap",
                remedy="give draws= and seed=, for example WildBootstrap(draws=9999, seed=1)",
            )
        return Source(level, clusters, weights, self.draws, self.seed)


def _too_few(parts: tuple[Clusters, ...], *, by_cohort: bool, restricted: bool) -> Message | None:
    """Say which part has too few treated or control clusters: one, or two where the null is not imposed."""
    for clusters in parts:
        treated = clusters.smallest_cohort if by_cohort else clusters.treated
        if min(treated, clusters.control) <= (1 if restricted else 2):
            return message("note.wild_few", treated=treated, control=clusters.control)
    return None


def _members(fit: Fit, way: Way) -> Flags:
    """Flag (G, k) the clusters that have rows in the part that estimated a coefficient."""
    there = np.zeros((way.n_codes, len(fit.terms)), dtype=bool)
    for part, codes in zip(fit.parts, way.codes, strict=True):
        there[np.ix_(np.unique(codes), part.positions)] = True
    return there
