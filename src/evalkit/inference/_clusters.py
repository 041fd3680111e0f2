"""What the inferences share: covariance of a fit whose parts have factors of their own, and the counts of clusters."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from evalkit.catalogue import Message, message
from evalkit.design import smallest_attainable_p
from evalkit.errors import InferenceError
from evalkit.estimation import Clusters, Specification
from evalkit.fit import Fit, Part, Regression
from evalkit.panel import Floats, Ints


def regression_of(part: Part, method: str) -> Regression:
    """Return the part's regression; raise InferenceError where the estimator has none."""
    if part.regression is None:
        raise InferenceError(
            f"{method} needs the residuals of a regression, which this estimator does not have",
            where=f"inference = {method}()",
            remedy="use Cluster()",
        )
    return part.regression


def summed_influence(fit: Fit, codes: Ints, n_clusters: int, factor: Callable[[Part], float]) -> Floats:
    """Sum influence within clusters over all parts: (n_clusters, k); each part's is scaled by the root of its factor.

    `codes` (rows of the panel,) numbers the clusters, so that one straddling two parts meets itself.
    """
    total = np.zeros((n_clusters, len(fit.terms)))
    for part in fit.parts:
        summed = part.influence.sum_within(codes[part.sample.rows], n_clusters)
        total[:, part.positions] += np.sqrt(factor(part)) * summed
    return total


def count_clusters(fit: Fit, codes: Ints, n_clusters: int) -> Clusters:
    """Count clusters: with rows, with units that get treated, with units of comparison, in the smallest cohort, effective.

    Units of comparison are never treated in the sample, or adopt last where all adopt. A cluster can hold both kinds.
    """
    present, treated, control = (np.zeros(n_clusters, dtype=bool) for _ in range(3))
    cohorts: dict[float, set[int]] = {}
    for part in fit.parts:
        sample = part.sample
        here = codes[sample.rows]
        adoption = np.where(sample.adoption > sample.period.max(), np.inf, sample.adoption)
        comparison = adoption == adoption.max()
        present[here] = True
        control[here[comparison]] = True
        treated[here[~comparison]] = True
        for cohort in np.unique(adoption[~comparison]):
            cohorts.setdefault(float(cohort), set()).update(np.unique(here[adoption == cohort]).tolist())
    smallest = min(len(members) for members in cohorts.values())
    counts = int(present.sum()), int(treated.sum()), int(control.sum())
    return Clusters(*counts, smallest, _effective(fit, codes, n_clusters))


def _effective(fit: Fit, codes: Ints, n_clusters: int) -> float:
    part = next(part for part in fit.parts if any(fit.terms[p].role == "effect" for p in part.positions))
    if part.regression is None:
        return float("nan")
    column = next(i for i, p in enumerate(part.positions) if fit.terms[p].role == "effect")
    pull = part.regression.regressors @ part.regression.bread[:, column]
    mass = pull**2 if part.regression.weights is None else pull**2 * part.regression.weights
    share = np.bincount(codes[part.sample.rows], weights=mass, minlength=n_clusters)
    share = share[np.bincount(codes[part.sample.rows], minlength=n_clusters) > 0]
    return float(len(share) / (1.0 + np.var(share) / np.mean(share) ** 2))


def independence_notes(fit: Fit, spec: Specification) -> tuple[Message, ...]:
    """Say that rows are taken as independent although several units share an assignment."""
    for part in fit.parts:
        sample = part.sample
        if len(np.unique(sample.cluster)) < len(np.unique(sample.rows if spec.panel.unit is None else sample.unit)):
            return (message("note.independent", column=spec.design.assigned_at),)
    return ()


def smallest_p(fit: Fit) -> float:
    """Smallest attainable permutation p over the parts' designs."""
    return min(smallest_attainable_p(part.sample) for part in fit.parts)


def row_errors(regression: Regression) -> tuple[Floats, Floats]:
    """Squared residuals summed over the original rows of each row (n,), and the weight of one original row (n,)."""
    counts = np.ones(len(regression.residuals)) if regression.counts is None else regression.counts
    squares = counts * regression.residuals**2
    if regression.within is not None:
        squares = squares + regression.within
    weights = np.ones(len(squares)) if regression.weights is None else regression.weights / counts
    return squares, weights
