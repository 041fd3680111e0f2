"""The cluster jackknife: leave out one unit of assignment at a time and estimate anew."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol

import numpy as np
from scipy import sparse

from evalkit.catalogue import Message, message
from evalkit.designs.adoption import read_assignment
from evalkit.errors import EvalkitError, InferenceError, nearest
from evalkit.numerics.arrays import Flags, Floats, Ints
from evalkit.numerics.loadings import Masses, ShockMap, own_shocks
from evalkit.progress import watched
from evalkit.reassignment.refits import find_terms, rounding, rows_of
from evalkit.results.basis import Seen, SeenByRows, name_determined, see
from evalkit.results.clusters import Way, assignment, cluster_by, count_clusters, smallest_p, way_of
from evalkit.results.estimation import OnCells, Specification
from evalkit.results.fit import Fit, Part
from evalkit.results.loadings import ByBothSides, ByEffective, Loadings, cluster_means, exchangeable, loadings_of
from evalkit.results.uncertainty import StudentT, Uncertainty
from evalkit.tables.contents import in_short, same_content

_WEIGHTS = ("anew", "fixed")
_NONE = 1e-9  # share of a cluster's mass below which what it leaves of its cohort is rounding


@dataclass(frozen=True)
class Jackknife:
    """Estimate anew without each unit of assignment: V = (G-1)/G · sum of (b₋g - b)(b₋g - b)', known as CV3.

    p-values use t with min(G, G*) - 1 degrees of freedom, G* being the effective clusters of the term or combination
    (docs/glossary.md): with t(G-1) as many as .20 of true nulls are rejected where few clusters carry it, with these at most .054
    (2,478 terms of 44 designs, independent shocks). Terms that rest on fewer than two are no guide.

    by       column of the clusters, which takes a regression; None, the default, the units of assignment.
    weights  of SyntheticDID and SyntheticControl. "anew", the default: made anew without each unit. "fixed": kept as they are, in
             place of a donor those of the others divided by their sum, with deviations from the mean of the estimates without
             each unit, as R synthdid does: V = (G-1)/G · sum of (b₋g - mean)(b₋g - mean)'. The method says which.

    Works with every estimator. What is no regression is estimated anew; of a regression the estimates without a cluster follow in
    closed form, however many effects are absorbed. But for fixed weights deviations are taken from the estimate with all
    clusters. A term that cannot be estimated without one of them has no standard error, which a note says; where that holds of
    every effect (one treated county), InferenceError says so.
    For SyntheticControl the errors are far too wide (true nulls are rejected in .01 of cases).
    Sources: MacKinnon, Nielsen and Webb, Journal of Applied Econometrics 38 (2023), on CV3; Arkhangelsky, Athey, Hirshberg,
    Imbens and Wager, American Economic Review 111 (2021), Algorithm 3, and R synthdid 0.0.9, jackknife_se, on fixed weights.
    """

    by: str | None = None
    weights: Literal["anew", "fixed"] = "anew"

    def __post_init__(self) -> None:
        if self.weights not in _WEIGHTS:
            raise InferenceError(
                f"weights '{self.weights}' is unknown", where="Jackknife", remedy=nearest(self.weights, _WEIGHTS)
            )

    on_cells: ClassVar[OnCells] = "always"

    def columns(self) -> tuple[str, ...]:
        """Name the column of the clusters."""
        return () if self.by is None else (self.by,)

    def assess(self, fit: Fit, spec: Specification) -> Uncertainty:
        """Estimate once per cluster."""
        way = way_of(self.by, fit, spec)
        left_out: _LeftOut
        of_donors = any(part.donors is not None for part in fit.parts)
        if self.weights == "fixed":
            left_out = _with_fixed_weights(fit, spec, way, self.by)
        elif all(part.regression is not None for part in fit.parts) and (self.by is not None or _in_closed_form(fit)):
            left_out = _without_clusters(fit, spec, way, self.by)
        elif self.by is None:
            left_out = _without_units(fit, spec, way)
        else:
            raise InferenceError(
                "this estimator is estimated anew without each unit of assignment, not without values of a column",
                where=f"Jackknife(by='{self.by}')",
                remedy="leave out by=, or name that column as assigned_at in the design",
            )
        notes = left_out.notes
        sizes = np.full(len(fit.terms), np.nan)
        for part, size in zip(fit.parts, way.sizes, strict=True):
            sizes[part.positions] = size
        moves = left_out.moves * np.sqrt(1 - 1 / sizes)
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
            message(
                f"method.jackknife_{self.weights}" if of_donors else "method.jackknife",
                level=self.by or spec.design.assigned_at,
            ),
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
    left_out: _LeftOut

    __eq__ = same_content
    __repr__ = in_short

    def df(self, weights: Floats) -> float:
        """Those of G - 1, or of G* - 1 where these are fewer."""
        least = super().df(weights)
        return least if not np.isfinite(least) else min(least, self.loadings.effective(weights) - 1)

    def shock_map(self, weights: Floats) -> ShockMap | None:
        """Map shocks to the changes of a combination without each cluster, times the root of (G-1)/G; None beyond memory."""
        found = self.left_out.shock_map(weights)
        return None if found is None else found.times(np.sqrt(1 - 1 / len(self.loadings.treated)))


class _LeftOut(Protocol):
    """What estimates without each cluster are: their changes (G, k), NaN for a term that is lost, and which notes name."""

    @property
    def moves(self) -> Floats: ...

    @property
    def notes(self) -> tuple[Message, ...]: ...

    def shock_map(self, weights: Floats) -> ShockMap | None:
        """Map shocks to the changes of a combination without each cluster; None beyond memory."""
        ...


@dataclass(frozen=True, eq=False)
class _OfAverages:
    """Changes of averages of slopes without each cluster, in closed form: -v'(I - Q_g Q_g')^-1 Q_g'u_g.

    directions (G, k, p) are v, which differ between clusters as averages weigh slopes by rows; remade (G, k, c) is by how
    much the weights of the c slopes then change. `anew` holds the loadings of estimates anew, for clusters that alone
    determine a slope.
    Source: MacKinnon, Nielsen and Webb (2023), eq. 11, in an orthonormal basis.
    """

    whole: Loadings
    seen: Seen
    directions: Floats
    remade: Floats
    anew: tuple[tuple[int, _Without], ...]
    moves: Floats
    notes: tuple[Message, ...]

    __eq__ = same_content
    __repr__ = in_short

    def shock_map(self, weights: Floats) -> ShockMap:
        """Map shocks to the changes of a combination: what is left of the own ones, and what the remade weights bring in."""
        shocks = self.seen.shocks
        adjusted = self.seen.leverages.adjust(-1.0, np.einsum("k,gkp->gp", weights, self.directions))
        own = -np.einsum("gtp,gp->gt", shocks, adjusted)
        pull = [-np.einsum("gpq,gq->gp", self.seen.basis.gram, adjusted)]
        functionals = [shocks.reshape(-1, shocks.shape[2]).T]
        slopes = self.seen.basis.slopes
        pull.append(-np.einsum("k,gkc->gc", weights, self.remade))
        functionals.append((shocks @ slopes.T).reshape(-1, len(slopes)).T)
        whole = self.whole.values @ weights
        for g, other in self.anew:
            own[g] = 0.0
            for one in pull:
                one[g] = 0.0
            pull.append(-(np.arange(len(own)) == g).astype(np.float64)[:, None])
            functionals.append((other.values(self.whole, weights) - whole).reshape(1, -1))
        return ShockMap(own_shocks(own), np.hstack(pull), np.vstack(functionals))


def _in_closed_form(fit: Fit) -> bool:
    """Say whether all combinations of slopes are fixed, or weigh them by rows."""
    return all(part.mapping is None or part.averaged is not None for part in fit.parts)


@dataclass(frozen=True, eq=False)
class _OfSlopes:
    """Changes of fixed combinations of slopes without each cluster, in closed form, as of `_OfAverages`."""

    seen: Seen | SeenByRows
    moves: Floats
    notes: tuple[Message, ...]

    __eq__ = same_content
    __repr__ = in_short

    def shock_map(self, weights: Floats) -> ShockMap | None:
        """Map shocks to the changes; None beyond memory."""
        return self.seen.shock_map(weights, -1.0)


def _without_clusters(fit: Fit, spec: Specification, way: Way, by: str | None) -> _LeftOut:
    """Leave out clusters in closed form.

    Of plain regressions a coefficient that one cluster alone determines is lost, and notes name it; of averages over cohorts,
    whose weights change with the clusters, such clusters are left out by estimating anew.
    """
    seen = see(fit, way, "Jackknife")
    if all(part.averaged is None for part in fit.parts):
        notes = name_determined(seen, spec, by, "Jackknife")
        return _OfSlopes(seen, np.where(seen.determined(), np.nan, -seen.summed(-1.0)), notes)
    if not isinstance(seen, Seen):  # so many effects that only rows tell
        return _without_units(fit, spec, way)
    loadings = loadings_of(fit, spec, way)
    remade = _remade(fit, way, seen)
    directions = seen.directions + remade @ seen.basis.slopes
    slopes = np.concatenate([part.regression.coefficients for part in fit.parts if part.regression is not None])
    adjusted = seen.leverages.adjust(-1.0, seen.basis.scores)
    moves = -np.einsum("gkp,gp->gk", directions, adjusted) + remade @ slopes
    anew, notes = _estimate_anew(fit, spec, way, loadings, np.flatnonzero(seen.determines_slope()))
    for g, other in anew:
        moves[g] = other.moved(fit)
    return _OfAverages(loadings, seen, directions, remade, anew, moves, notes)


def _remade(fit: Fit, way: Way, seen: Seen) -> Floats:
    """Change (G, k, c) of the weights of all parts' slopes in each coefficient when a cluster's rows leave."""
    n_clusters = len(way.present)
    changes = np.zeros((n_clusters, len(fit.terms), len(seen.basis.slopes)))
    at = 0
    for part, codes in zip(fit.parts, way.codes, strict=True):
        assert part.regression is not None
        n_slopes = part.regression.n_slopes
        if part.averaged is not None and part.mapping is not None:
            cluster, inside = np.searchsorted(way.present, codes), part.averaged >= 0
            weights = np.ones(len(codes)) if part.sample.weights is None else part.sample.weights
            place = cluster[inside] * n_slopes + part.averaged[inside]
            mass = np.bincount(place, weights=weights[inside], minlength=n_clusters * n_slopes)
            left = mass.reshape(n_clusters, n_slopes).sum(axis=0) - mass.reshape(n_clusters, n_slopes)
            shares = (part.mapping > 0) * left[:, None, :]
            total = shares.sum(axis=2, keepdims=True)
            shares = np.divide(shares, total, out=np.zeros_like(shares), where=total > 0)
            changes[:, part.positions, at : at + n_slopes] = shares - part.mapping
        at += n_slopes
    return changes


@dataclass(frozen=True, eq=False)
class _Without:
    """The estimate without some cluster."""

    loadings: Loadings

    __eq__ = same_content
    __repr__ = in_short

    def moved(self, fit: Fit) -> Floats:
        """Its coefficients (k,) less those of the fit; NaN where it has no such term."""
        at = find_terms(fit, self.loadings.fit)[0]
        return np.where(at < 0, np.nan, self.loadings.fit.coefficients[at]) - fit.coefficients

    def values(self, whole: Loadings, weights: Floats) -> Floats:
        """Loadings (G, T, ...) of combinations (k, ...) on the clusters and periods of the whole."""
        one = self.loadings
        found = np.zeros((*whole.values.shape[:2], *weights.shape[1:]))
        rows = np.array([whole.labels.index(label) for label in one.labels])
        at, n_groups = np.searchsorted(whole.observed, one.observed), whole.cells[0].n_periods // len(whole.observed)
        parts = [_subgroup(whole, i) for i in range(len(whole.parts))]
        places = [parts.index(_subgroup(one, i)) * n_groups + k for i in range(len(one.parts)) for k in range(n_groups)]
        columns = np.concatenate([place * len(whole.observed) + at for place in places])
        known = find_terms(whole.fit, one.fit)[0]
        placed = np.zeros((len(one.fit.terms), *weights.shape[1:]))
        placed[known[known >= 0]] = weights[known >= 0]
        found[np.ix_(rows, columns)] = one.values @ placed
        return found


def _subgroup(loadings: Loadings, i: int) -> str | None:
    return loadings.fit.terms[int(loadings.parts[i].positions[0])].subgroup


def _estimate_anew(
    fit: Fit, spec: Specification, way: Way, loadings: Loadings, chosen: Ints
) -> tuple[tuple[tuple[int, _Without], ...], tuple[Message, ...]]:
    """Estimate without each of the chosen clusters; notes name the terms that are then lost."""
    level = way.name or spec.design.assigned_at
    effects = np.array([term.role == "effect" for term in fit.terms])
    found = []
    lost: dict[str, list[str]] = {}
    used = rows_of(fit, spec.panel)
    if loadings.in_cells is not None:
        spec = loadings.in_cells[0]
        used = np.ones(len(spec.panel), dtype=bool)
    divided = spec.panel.codes(way.name) if way.name else read_assignment(spec.panel, spec.design)[0]
    codes = {str(label): code for code, label in enumerate(divided.labels)}
    for g in watched(chosen.tolist(), "Jackknife", len(chosen)):
        keep = used & (divided.values != codes[loadings.labels[g]])
        try:
            other = spec.estimator.fit(spec.panel, spec.design, keep)
            at, why = find_terms(fit, other)
        except EvalkitError as error:
            other, at, why = fit, np.full(len(fit.terms), -1), str(error)
        gone = at < 0
        if gone[effects].all():
            raise InferenceError(
                f"without {level} {loadings.labels[g]} the effect cannot be estimated ({why})",
                where="Jackknife",
                remedy=_instead(fit),
            )
        if gone.any():
            lost.setdefault(_names(fit, gone), []).append(loadings.labels[g])
        left = cluster_by(way.name, other, spec) if way.name else assignment(other)
        found.append((g, _Without(loadings_of(other, spec, left))))
    notes = tuple(
        message("note.jackknife_lost", terms=terms, level=level, left_out=", ".join(names))
        for terms, names in lost.items()
    )
    return tuple(found), notes


@dataclass(frozen=True, eq=False)
class _OfClasses:
    """Changes of any estimate without each cluster, from the estimates without one of each class of clusters that are alike.

    Without h the loadings are those without the first member r of its class (`anew`, in the order of classes), h and r exchanged.
    """

    whole: Loadings
    classes: Ints
    anew: tuple[tuple[int, _Without], ...]
    moves: Floats
    notes: tuple[Message, ...]

    __eq__ = same_content
    __repr__ = in_short

    def shock_map(self, weights: Floats) -> ShockMap:
        """Map shocks to the changes: c'[σ(g)] - c[g] of a shock to g, c' the loadings without r, and σ exchanging h and r."""
        whole = self.whole.values @ weights
        n_clusters, n_periods = whole.shape
        without = np.stack([other.values(self.whole, weights) for _, other in self.anew])
        own = without[self.classes, np.arange(n_clusters)]  # 0 of r itself
        every, first = np.arange(n_clusters), np.array([g for g, _ in self.anew])
        columns = np.concatenate([every, first[self.classes]])[:, None] * n_periods + np.arange(n_periods)
        rows = np.repeat(np.concatenate([every, every]), n_periods)
        shape = (n_clusters, n_clusters * n_periods)
        direct = sparse.csr_array((np.concatenate([-own, own]).ravel(), (rows, columns.ravel())), shape=shape)
        pull = (self.classes[:, None] == np.arange(len(self.anew))).astype(np.float64)
        return ShockMap(direct, -pull, (without - whole).reshape(len(self.anew), -1))


@dataclass(frozen=True, eq=False)
class _OfMasses:
    """Changes of an estimate without each cluster where its loadings follow from the masses of cohorts.

    Clusters that are a cohort of their own are left out by estimating anew.
    """

    whole: Loadings
    masses: Masses
    part: Part
    known: Flags
    anew: tuple[tuple[int, _Without], ...]
    moves: Floats
    notes: tuple[Message, ...]

    __eq__ = same_content
    __repr__ = in_short

    def shock_map(self, weights: Floats) -> ShockMap:
        """Map shocks to the changes: the sums by cohort and period with the changed loadings, without the own shocks."""
        cohort, mass = self.masses.cohort, self.masses.mass
        own, change = _by_mass(self.masses, weights[self.part.positions], self.known)
        n_clusters, n_periods = own.shape[0], own.shape[2]
        direct = np.where(self.known[:, None], -mass[:, None] * own[np.arange(n_clusters), cohort], 0.0)
        pull, in_cohort = [-change.reshape(n_clusters, -1)], np.zeros((own.shape[1], n_clusters))
        in_cohort[cohort, np.arange(n_clusters)] = mass
        functionals = [np.einsum("cg,st->csgt", in_cohort, np.eye(n_periods)).reshape(-1, n_clusters * n_periods)]
        for g, other in self.anew:
            pull.append(-(np.arange(n_clusters) == g).astype(np.float64)[:, None])
            functionals.append((other.values(self.whole, weights) - self.whole.values @ weights).reshape(1, -1))
        return ShockMap(own_shocks(direct), np.hstack(pull), np.vstack(functionals))


def _by_mass(masses: Masses, weights: Floats, known: Flags) -> tuple[Floats, Floats]:
    """Loadings (G, C, T) of a combination on sums by cohort and period without each cluster, and their changes; 0 if unknown."""
    whole = masses.loadings(weights, masses.of_cohorts()[None])[0]
    own = np.zeros((len(known), *whole.shape))
    own[known] = masses.loadings(weights, masses.without()[known])
    return own, np.where(known[:, None, None], own - whole, 0.0)


def _without_masses(
    fit: Fit, spec: Specification, way: Way, loadings: Loadings, masses: Masses, means: Floats
) -> _OfMasses:
    """Leave out clusters by what their mass and outcomes take from the sums of their cohort."""
    (part,) = fit.parts
    left = masses.without()[np.arange(len(masses.mass)), masses.cohort]
    known = left > _NONE * masses.mass
    anew, notes = _estimate_anew(fit, spec, way, loadings, np.flatnonzero(~known))
    totals = masses.mass[:, None] * means
    of_cohorts = np.zeros((len(masses.of_cohorts()), means.shape[1]))
    np.add.at(of_cohorts, masses.cohort, totals)
    moves = np.zeros((len(known), len(fit.terms)))
    for i, position in enumerate(part.positions):
        own, change = _by_mass(masses, np.eye(len(part.positions))[i], known)
        moves[:, position] = np.einsum("gct,ct->g", change, of_cohorts)
        moves[:, position] -= np.einsum("gt,gt->g", own[np.arange(len(known)), masses.cohort], totals)
    for g, other in anew:
        moves[g] = other.moved(fit)
    return _OfMasses(loadings, masses, part, known, anew, moves, notes)


def _without_units(fit: Fit, spec: Specification, way: Way) -> _LeftOut:
    """Leave out each cluster: from sums where masses tell all, else one of each class by estimating anew.

    The estimates without the others of a class follow by the loadings: exchanging h and r changes it by c[h]·(y[r] - y[h]).
    """
    loadings = loadings_of(fit, spec, way)
    masses = loadings.responses[0].by_mass(loadings.cells[0]) if len(fit.parts) == 1 else None
    if masses is not None:
        return _without_masses(fit, spec, way, loadings, masses, cluster_means(loadings))
    classes, means = exchangeable(loadings)
    first = np.unique(classes, return_index=True)[1]
    anew, notes = _estimate_anew(fit, spec, way, loadings, first)
    moves = np.zeros((len(classes), len(fit.terms)))
    for k, (r, other) in enumerate(anew):
        members = np.flatnonzero(classes == k)
        moves[members] = other.moved(fit)
        if len(members) > 1:
            each = other.values(loadings, np.eye(len(fit.terms)))[members]  # (m, T, k)
            moves[members] += np.einsum("mtk,mt->mk", each, means[r] - means[members])
    return _OfClasses(loadings, classes, anew, moves, notes)


@dataclass(frozen=True, eq=False)
class _OfFixedWeights:
    """Deviations of the estimates without each cluster from their mean, with the weights of donors as they are."""

    moves: Floats
    notes: tuple[Message, ...]

    __eq__ = same_content
    __repr__ = in_short

    def shock_map(self, weights: Floats) -> None:
        """None: ByDesign, which asks what would turn a conclusion, makes weights anew."""
        return None


def _with_fixed_weights(fit: Fit, spec: Specification, way: Way, by: str | None) -> _OfFixedWeights:
    """Leave out each unit of assignment without weighing anew, where all parts of a fit rest on weights of donors."""
    donors = [part.donors for part in fit.parts if part.donors is not None]
    if len(donors) < len(fit.parts):
        raise InferenceError(
            "this estimator has no weights of donors that could be kept",
            where="Jackknife(weights='fixed')",
            remedy="leave out weights=, or use it with SyntheticDID",
        )
    if by is not None:
        raise InferenceError(
            "weights are kept without each unit of assignment, not without values of a column",
            where=f"Jackknife(by='{by}', weights='fixed')",
            remedy="leave out by=, or name that column as assigned_at in the design",
        )
    level, labels = spec.design.assigned_at, [str(fit.parts[0].sample.clusters[code]) for code in way.present]
    moves, lost = np.zeros((2, len(way.present), len(fit.terms)))
    for part, one, codes in zip(fit.parts, donors, way.codes, strict=True):
        at = np.ix_(np.isin(way.present, codes), part.positions)
        without = np.array([one.without(int(code)) for code in way.present[at[0].ravel()]])
        moves[at], lost[at] = without - without.mean(axis=0), np.isnan(without)
    everything = lost.all(axis=1)
    if everything.any():
        raise InferenceError(
            f"without {level} {labels[int(everything.argmax())]} no other is treated, or no other donor has weight",
            where="Jackknife(weights='fixed')",
            remedy=_instead(fit),
        )
    notes = tuple(
        message("note.jackknife_lost", terms=_names(fit, lost[g] > 0), level=level, left_out=labels[g])
        for g in np.flatnonzero(lost.any(axis=1))
    )
    return _OfFixedWeights(moves, notes)


def _instead(fit: Fit) -> str:
    """Say what judges an effect that rests on one unit; PooledGroups needs influence, which weights of donors do not give."""
    pooled = "" if any(part.donors is not None for part in fit.parts) else " or PooledGroups()"
    return f"use Placebo(draws=200, seed=1){pooled}, or the check PlaceboAssignment"


def _names(fit: Fit, chosen: Flags) -> str:
    return ", ".join(term.name for term, one in zip(fit.terms, chosen, strict=True) if one)
