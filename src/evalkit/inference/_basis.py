"""What the inferences with few clusters share: a fit's regressions seen from its clusters, in one orthonormal basis."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from evalkit.catalogue import Message, message
from evalkit.errors import InferenceError
from evalkit.numerics.arrays import Flags, Floats, Ints
from evalkit.numerics.clusters import DETERMINED, ClusterBasis, Leverages, block_diagonal, cluster_basis, leverages
from evalkit.results.clusters import Way, nested, regression_of
from evalkit.results.estimation import Specification
from evalkit.results.fit import Fit
from evalkit.tables.contents import in_short, same_content

_MOST_NUMBERS = 2e8  # of a cluster's Gram matrices: 1.6 GB
_DETERMINED = 1e-7  # share of a direction, by its square, that rests on one cluster alone


@dataclass(frozen=True, eq=False)
class Seen:
    """A fit seen from the clusters that it has: their basis, and directions (k, p), whose products with Q'y are coefficients."""

    fit: Fit
    basis: ClusterBasis
    directions: Floats
    labels: Ints

    __eq__ = same_content
    __repr__ = in_short

    @cached_property
    def leverages(self) -> Leverages:
        """How much of each direction rests on each cluster."""
        return leverages(self.basis.gram)

    def determined(self) -> Flags:
        """Flag (G, k): without this cluster, this coefficient cannot be estimated."""
        chosen, leverages_of = self._heavy
        flags = np.zeros((len(self.basis.gram), len(self.directions)), dtype=bool)
        flags[chosen] = leverages_of.determined(self.directions) > _DETERMINED
        return flags

    def rests_on_one(self, weights: Floats) -> bool:
        """Say whether a combination of coefficients cannot be estimated without some cluster."""
        direction = weights @ self.directions
        return bool((self._heavy[1].determined(direction[None]) > _DETERMINED).any())

    @cached_property
    def _heavy(self) -> tuple[Ints, Leverages]:
        """The clusters that can determine a direction at all: their leverages sum to 1 or more."""
        chosen = np.flatnonzero(np.einsum("gpp->g", self.basis.gram) > 1 - 2 * DETERMINED)
        return chosen, leverages(self.basis.gram[chosen])


def see(fit: Fit, way: Way, method: str) -> Seen:
    """See the regressions of a fit from its clusters; InferenceError where it has none, or clusters divide units.

    From the units of assignment it is seen once, however many inferences ask.
    """
    assigned = all(codes is part.sample.cluster for part, codes in zip(fit.parts, way.codes, strict=True))
    if not assigned:
        return _see(fit, way, method)
    if "seen" not in fit.views:
        fit.views["seen"] = _see(fit, way, method)
    seen: Seen = fit.views["seen"]
    return seen


def _see(fit: Fit, way: Way, method: str) -> Seen:
    bases = []
    present = np.unique(np.concatenate(way.codes))
    sizes = 0
    for part in fit.parts:
        regression = regression_of(part, method)
        sizes += regression.n_slopes + sum(int(codes.max()) + 1 for codes in regression.factors[1:])
    if len(present) * float(sizes) ** 2 > _MOST_NUMBERS:
        raise InferenceError(
            f"{len(present)} clusters times {sizes} effects squared is more than memory holds",
            where=method,
            remedy="with so many clusters use Cluster(); or absorb fewer effects",
        )
    for part, codes in zip(fit.parts, way.codes, strict=True):
        regression = regression_of(part, method)
        if not (way.nests_units or nested(regression.factors[0], codes)):
            raise InferenceError(
                "the clusters divide units",
                where=method,
                remedy="cluster by units or by what they belong to, such as counties; Cluster() takes any column",
            )
        bases.append(
            cluster_basis(
                regressors=regression.regressors,
                residuals=regression.residuals,
                bread=regression.bread,
                weights=regression.weights,
                unit=regression.factors[0],
                factors=regression.factors[1:],
                cluster=np.searchsorted(present, codes),
                n_clusters=len(present),
            )
        )
    basis = block_diagonal(bases)
    directions = np.zeros((len(fit.terms), basis.slopes.shape[1]))
    row = 0
    for part, own in zip(fit.parts, bases, strict=True):
        slopes = basis.slopes[row : row + len(own.slopes)]
        for i, position in enumerate(part.positions):
            directions[position] = part.loading(i) @ slopes
        row += len(own.slopes)
    return Seen(fit, basis, directions, present)


def name_determined(seen: Seen, spec: Specification, by: str | None, method: str) -> tuple[Message, ...]:
    """Note the coefficients that one cluster alone determines; InferenceError where these are all effects."""
    determined, terms = seen.determined(), seen.fit.terms
    effects = np.array([term.role == "effect" for term in terms])
    lost = np.any(determined, axis=0)
    level = by or spec.design.assigned_at
    if lost[effects].all():
        g = int(np.flatnonzero(np.any(determined[:, effects], axis=1))[0])
        raise InferenceError(
            f"without {level} {_label(seen, spec, by, g)} the effect cannot be estimated, so that its residuals say nothing of "
            "how it varies",
            where=method,
            remedy="use ByDesign(), PooledGroups(), Permutation() or Placebo(draws=200, seed=1)",
        )
    found: dict[str, list[str]] = {}
    for row in np.flatnonzero(np.any(determined, axis=1)):
        names = ", ".join(term.name for term, one in zip(terms, determined[row], strict=True) if one)
        found.setdefault(names, []).append(_label(seen, spec, by, row))
    return tuple(
        message("note.jackknife_lost", terms=names, level=level, left_out=", ".join(labels))
        for names, labels in found.items()
    )


def _label(seen: Seen, spec: Specification, by: str | None, g: Any) -> str:
    code = int(seen.labels[g])
    labels = seen.fit.parts[0].sample.clusters if by in (None, spec.design.assigned_at) else spec.panel.codes(by).labels
    return str(labels[code])
