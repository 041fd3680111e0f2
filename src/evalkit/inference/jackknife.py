"""The cluster jackknife: leave out one unit of assignment at a time and estimate anew."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from evalkit.catalogue import Message, message
from evalkit.designs.adoption import read_assignment
from evalkit.errors import EvalkitError, InferenceError
from evalkit.numerics.arrays import Flags, Floats, Ints
from evalkit.numerics.loadings import ShockMap
from evalkit.reassignment.refits import find_terms, rounding, rows_of
from evalkit.results.basis import Seen, SeenByRows, name_determined, see
from evalkit.results.clusters import Way, assignment, count_clusters, smallest_p, way_of
from evalkit.results.estimation import Specification
from evalkit.results.fit import Fit
from evalkit.results.loadings import ByBothSides, ByEffective, Loadings, exchangeable, loadings_of
from evalkit.results.uncertainty import StudentT, Uncertainty
from evalkit.tables.contents import in_short, same_content


@dataclass(frozen=True)
class Jackknife:
    """Estimate anew without each unit of assignment: V = (G-1)/G · sum of (b₋g - b)(b₋g - b)', known as CV3.

    p-values use t with min(G, G*) - 1 degrees of freedom, G* being the effective clusters of the term or combination
    (docs/glossary.md): with t(G-1) as many as .20 of true nulls are rejected where few clusters carry it, with these at most .054
    (2,478 terms of 44 designs, independent shocks). Terms that rest on fewer than two are no guide.

    Works with every estimator, and everything is estimated anew, the weights of a synthetic control included (R synthdid keeps
    them); of a regression the estimates without a cluster follow in closed form, however many effects are absorbed. Clusters are
    the units of assignment, or column `by`, which takes a regression. Deviations are taken from the estimate with all clusters.
    A term that cannot be estimated without one of them has no standard error, which a note says; where that holds of every effect
    (one treated county), InferenceError says so.
    For SyntheticControl the errors are far too wide (true nulls are rejected in .01 of cases).
    Source: MacKinnon, Nielsen and Webb, Journal of Applied Econometrics 38 (2023), on CV3.
    """

    by: str | None = None

    def columns(self) -> tuple[str, ...]:
        """Name the column of the clusters."""
        return () if self.by is None else (self.by,)

    def assess(self, fit: Fit, spec: Specification) -> Uncertainty:
        """Estimate once per cluster."""
        way = way_of(self.by, fit, spec)
        # Weights of cohorts change with the clusters, so that averages over cohorts are estimated anew.
        plain = all(part.mapping is None for part in fit.parts)
        if self.by is not None and not plain:
            raise InferenceError(
                "averages over cohorts are estimated anew without each unit of assignment, not without values of a column",
                where=f"Jackknife(by='{self.by}')",
                remedy="leave out by=, or name that column as assigned_at in the design",
            )
        left_out: LeftOut | Seen | SeenByRows
        if self.by is not None or (plain and all(part.regression is not None for part in fit.parts)):
            left_out, moves, notes = _without_clusters(fit, spec, way, self.by)
        else:
            left_out, moves, notes = _without_units(fit, spec, way)
        sizes = np.full(len(fit.terms), np.nan)
        for part, size in zip(fit.parts, way.sizes, strict=True):
            sizes[part.positions] = size
        moves *= np.sqrt(1 - 1 / sizes)
        covariance = moves.T @ moves
        base = np.array([term.role == "base" for term in fit.terms])
        covariance[base[:, None] | base] = 0.0
        # What is left of a fit without residuals is rounding, and no standard error.
        none = ~base & (np.diag(covariance) <= rounding(fit) ** 2)
        if none.any():
            covariance[none[:, None] | none] = 0.0
            notes = (*notes, message("note.jackknife_still", terms=_names(fit, none)))
        clusters, parts = count_clusters(fit, way)
        loadings = loadings_of(fit, spec, way)
        distribution = EffectiveT(fit.coefficients, covariance, sizes - 1, loadings, left_out)
        df = np.array(
            [np.nan if alone else distribution.df(w) for alone, w in zip(base, np.eye(len(base)), strict=True)]
        )
        return Uncertainty(
            covariance,
            df,
            message("method.jackknife", level=self.by or spec.design.assigned_at),
            smallest_p(fit),
            clusters,
            parts,
            loadings,
            ByEffective(loadings, "note.rests_on_few"),
            ByBothSides(loadings),
            notes,
            distribution,
        )


@dataclass(frozen=True, eq=False)
class EffectiveT(StudentT):
    """Student's t with min(G, G*) - 1 degrees of freedom, G* being the effective clusters of each combination."""

    loadings: Loadings
    left_out: LeftOut | Seen | SeenByRows

    __eq__ = same_content
    __repr__ = in_short

    def df(self, weights: Floats) -> float:
        """Those of G - 1, or of G* - 1 where these are fewer."""
        least = super().df(weights)
        return least if not np.isfinite(least) else min(least, self.loadings.effective(weights) - 1)

    def shock_map(self, weights: Floats) -> ShockMap | None:
        """Map shocks to the changes of a combination without each cluster, times the root of (G-1)/G; None beyond memory."""
        n = len(self.loadings.treated)
        found = (
            self.left_out.shock_map(weights, -1.0)
            if isinstance(self.left_out, Seen | SeenByRows)
            else self.left_out.shock_map(weights)
        )
        return None if found is None else found.times(np.sqrt(1 - 1 / n))


@dataclass(frozen=True, eq=False)
class LeftOut:
    """The loadings of estimates without a cluster.

    Clusters of one class (G,) have the same part in the design; `without` holds, for each class, the fit without its first
    member, `first` (K,). Without another member they are the same with the two exchanged.
    """

    whole: Loadings
    classes: Ints
    first: Ints
    without: tuple[Loadings, ...]

    __eq__ = same_content
    __repr__ = in_short

    def values(self, k: int, weights: Floats) -> Floats:
        """Loadings (G, T) of a combination without the first member of class k, on the clusters and periods of the whole."""
        one = self.without[k]
        found = np.zeros(self.whole.values.shape[:2])
        rows = np.array([self.whole.labels.index(label) for label in one.labels])
        columns = np.searchsorted(self.whole.observed, one.observed)
        known = find_terms(self.whole.fit, one.fit)[0]
        placed = np.zeros(len(one.fit.terms))
        placed[known[known >= 0]] = weights[known >= 0]
        found[np.ix_(rows, columns)] = one.values @ placed
        return found

    def shock_map(self, weights: Floats) -> ShockMap:
        """Map shocks to the changes of a combination without each cluster.

        Without h it is c'[σ(g)] - c[g] of a shock to g, c' being the loadings without the first member r of h's class, and σ
        exchanging h and r.
        """
        whole = self.whole.values @ weights
        n_clusters, n_periods = whole.shape
        without = np.stack([self.values(k, weights) for k in range(len(self.without))])
        own = without[self.classes, np.arange(n_clusters)]  # 0 of r itself
        every = np.arange(n_clusters)
        columns = np.concatenate([every, self.first[self.classes]])[:, None] * n_periods + np.arange(n_periods)
        rows = np.repeat(np.concatenate([every, every]), n_periods)
        shape = (n_clusters, n_clusters * n_periods)
        direct = sparse.csr_array((np.concatenate([-own, own]).ravel(), (rows, columns.ravel())), shape=shape)
        pull = (self.classes[:, None] == np.arange(len(self.without))).astype(np.float64)
        return ShockMap(direct, -pull, (without - whole).reshape(len(self.without), -1))


def _without_clusters(
    fit: Fit, spec: Specification, way: Way, by: str | None
) -> tuple[Seen | SeenByRows, Floats, tuple[Message, ...]]:
    """Change of a regression's coefficients without each cluster, (G, k), as of `_without_units`: -v'(I - Q_g Q_g')^-1 Q_g'u_g.

    Source: MacKinnon, Nielsen and Webb (2023), eq. 11, in an orthonormal basis.
    """
    seen = see(fit, way, "Jackknife")
    notes = name_determined(seen, spec, by, "Jackknife")
    return seen, np.where(seen.determined(), np.nan, -seen.summed(-1.0)), notes


def _without_units(fit: Fit, spec: Specification, way: Way) -> tuple[LeftOut, Floats, tuple[Message, ...]]:
    """Change of the coefficients without each cluster, (G, k), NaN where a term cannot be estimated; notes name these terms.

    Where clusters have the same part in the design, one of each class is left out; from that the estimates without the others
    follow by their loadings: exchanging h and the first member r of its class changes it by c[h]·(y[r] - y[h]).
    """
    loadings = loadings_of(fit, spec, way)
    used, assigned = rows_of(fit, spec.panel), read_assignment(spec.panel, spec.design)[0]
    effects = np.array([term.role == "effect" for term in fit.terms])
    classes, means = exchangeable(loadings)
    first = np.unique(classes, return_index=True)[1]
    moves = np.zeros((len(classes), len(fit.terms)))
    without = []
    lost: dict[str, list[str]] = {}
    for k, row in enumerate(first.tolist()):
        label = loadings.labels[row]
        keep = used & (assigned.values != way.present[row])
        try:
            other = spec.estimator.fit(spec.panel, spec.design, keep)
            at, why = find_terms(fit, other)
        except EvalkitError as error:
            other, at, why = None, np.full(len(fit.terms), -1), str(error)
        gone = at < 0
        members = np.flatnonzero(classes == k)
        if gone[effects].all() or other is None:
            raise InferenceError(
                f"without {spec.design.assigned_at} {label} the effect cannot be estimated ({why})",
                where="Jackknife",
                remedy="use Placebo(draws=200, seed=1) or PooledGroups(), or the check PlaceboAssignment",
            )
        moves[members] = np.where(gone, np.nan, other.coefficients[at]) - fit.coefficients
        if gone.any():
            lost.setdefault(_names(fit, gone), []).extend(loadings.labels[h] for h in members)
        without.append(loadings_of(other, spec, assignment(other)))
        if len(members) > 1:
            found = LeftOut(loadings, classes, first, (without[-1],))
            own = np.stack([found.values(0, w)[members] for w in np.eye(len(fit.terms))], axis=-1)  # (m, T, k)
            moves[members] += np.einsum("mtk,mt->mk", own, means[row] - means[members])
    notes = tuple(
        message("note.jackknife_lost", terms=terms, level=spec.design.assigned_at, left_out=", ".join(names))
        for terms, names in lost.items()
    )
    return LeftOut(loadings, classes, first, tuple(without)), moves, notes


def _names(fit: Fit, chosen: Flags) -> str:
    return ", ".join(term.name for term, one in zip(fit.terms, chosen, strict=True) if one)
