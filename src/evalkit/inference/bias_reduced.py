"""Cluster-robust standard errors with the bias of few clusters reduced (CR2), and degrees of freedom to match."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from scipy import stats

from evalkit.catalogue import message
from evalkit.errors import InferenceError
from evalkit.numerics.arrays import Floats
from evalkit.results.basis import Seen, SeenByRows, name_determined, see
from evalkit.results.clusters import count_clusters, floors, named, only_rounding, smallest_p, way_of, without
from evalkit.results.estimation import OnCells, Specification
from evalkit.results.fit import Fit
from evalkit.results.loadings import loadings_of
from evalkit.results.uncertainty import Joint, Uncertainty, quadratic_form, t_interval
from evalkit.tables.contents import in_short, same_content

_DOMINANT = 0.5
_NOTHING = 1e-12  # share of what independent errors of rows bring in


@dataclass(frozen=True)
class BiasReduced:
    """Scale each cluster's residuals by (I - H_gg)^-1/2, known as CR2, and take t with Satterthwaite's degrees of freedom.

    Clusters are the units of assignment, or column `by`, and must hold units whole. The working model is independent errors of
    one variance (with weights: of variance 1/weight); under it the variance is unbiased, and the degrees of freedom of each
    contrast, often far below G-1, are those of its distribution (Bell and McCaffrey, Survey Methodology 28 (2002)). They are
    found once more with one shock to each cluster and period in the place of errors of rows, and the fewer count: where one of 3
    treated holds half of the rows, rows alone let .09 to .18 of true nulls be rejected, both .018 to .057. A joint test is
    Hotelling's T² with degrees of freedom found as of rows (HTZ). A coefficient that one cluster alone determines has no
    standard error, and a note names it; where that holds of all effects (one treated cluster), InferenceError says so.
    Source: Pustejovsky and Tipton, Journal of Business and Economic Statistics 36 (2018), eqs. 6, 11 and section 4.2; equal to R
    clubSandwich with inverse_var = TRUE where weights do not vary within clusters. Where they do, clubSandwich takes another
    matrix that is unbiased as well; here residuals are multiplied by the root of the weight first.
    """

    by: str | None = None

    on_cells: ClassVar[OnCells] = "always"

    def columns(self) -> tuple[str, ...]:
        """Name the column of the clusters."""
        return () if self.by is None else (self.by,)

    def assess(self, fit: Fit, spec: Specification) -> Uncertainty:
        """Adjust the clusters' scores, and find the degrees of freedom of each coefficient."""
        way = way_of(self.by, fit, spec)
        seen = see(fit, way, "BiasReduced")
        notes = name_determined(seen, spec, self.by, "BiasReduced")
        scores = seen.summed(-0.5)
        distribution = Satterthwaite(fit.coefficients, seen, scores, floors(fit))
        covariance = scores.T @ scores
        each = np.eye(len(fit.terms))
        lost = np.any(seen.determined(), axis=0)
        empty = only_rounding(np.diag(covariance), fit)
        covariance = without(covariance, empty)
        if empty.any():
            notes = (*notes, message("note.no_cluster_variance", terms=named(fit, empty)))
        covariance[lost[:, None] | lost] = np.nan
        base = np.array([term.role == "base" for term in fit.terms])
        df = np.array([np.nan if base[i] or lost[i] else distribution.df(each[i]) for i in range(len(each))])
        clusters, parts = count_clusters(fit, way)
        dominant = [distribution.largest_share(each[i]) for i in range(len(each)) if not (base[i] or lost[i])]
        if max(dominant, default=0.0) > _DOMINANT:
            notes = (*notes, message("note.dominant_cluster", share=round(100 * max(dominant))))
        return Uncertainty(
            covariance,
            df,
            message("method.bias_reduced", level=self.by or spec.design.assigned_at),
            smallest_p(fit),
            clusters,
            parts,
            loadings_of(fit, spec, way),
            notes=notes,
            distribution=distribution,
        )


@dataclass(frozen=True, eq=False)
class Satterthwaite:
    """t with the degrees of freedom of each combination under independent errors of one variance.

    `scores` (G, k) are the adjusted ones; floors (k,) the standard errors that rounding alone can make.
    """

    coefficients: Floats
    seen: Seen | SeenByRows
    scores: Floats
    floors: Floats
    _found: dict[bytes, float] = field(init=False, default_factory=dict, repr=False, compare=False)

    __eq__ = same_content
    __repr__ = in_short

    def std_error(self, weights: Floats) -> float:
        """Root of the summed squares of the clusters' adjusted scores; NaN where one cluster determines the combination."""
        error = float(np.linalg.norm(self.scores @ weights))
        floor = float(np.abs(weights) @ np.maximum(self.floors, 0.0))
        return error if error > floor and not self.seen.rests_on_one(weights) else float("nan")

    def df(self, weights: Floats) -> float:
        """Twice the squared mean over the variance of the variance estimate: of errors of rows, or of shocks if that is less."""
        key = weights.tobytes()
        if key not in self._found:
            rows = self.df_of_rows(weights)
            self._found[key] = min(rows, self._df_of_shocks(weights)) if np.isfinite(rows) else rows
        return self._found[key]

    def _df_of_shocks(self, weights: Floats) -> float:
        found = self.seen.shock_map(weights, -0.5)
        if found is None:
            raise InferenceError(
                "shocks to each cluster and period are more than memory holds with so many effects",
                where="BiasReduced",
                remedy="use Jackknife() or Cluster(), or collapse the panel to fewer periods",
            )
        trace, square = found.moments()
        # Effects of each cluster and period leave nothing of such shocks but rounding.
        return trace**2 / square if trace > _NOTHING * self._moments(weights)[0].sum() else float("inf")

    def df_of_rows(self, weights: Floats) -> float:
        """Degrees of freedom under independent errors of rows: Bell and McCaffrey, as clubSandwich has them."""
        own, shared = self._moments(weights)
        lengths = np.einsum("gp,gp->g", shared, shared)
        crossed = shared.T @ shared if shared.shape[1] <= len(shared) else shared @ shared.T
        spread = own @ own - 2 * own @ lengths + float(np.sum(crossed**2))
        return float((own.sum() - lengths.sum()) ** 2 / spread) if spread > 0 else float("nan")

    def largest_share(self, weights: Floats) -> float:
        """Largest share of one cluster in the variance expected of a combination."""
        own, shared = self._moments(weights)
        expected = own - np.einsum("gp,gp->g", shared, shared)
        return float(expected.max() / expected.sum())

    def _moments(self, weights: Floats) -> tuple[Floats, Floats]:
        """With a_g, the vector whose product with the residuals is g's score: a_g'a_g (G,) and Q_g'a_g (G, p)."""
        own, shared = self.seen.moments(weights[None], -0.5)
        return own[:, 0, 0], shared[:, 0]

    def p_value(self, weights: Floats, null: float = 0.0) -> float:
        """Two-sided p from t."""
        away = abs(float(weights @ self.coefficients) - null)
        return float(2 * stats.t.sf(away / self.std_error(weights), self.df(weights)))

    def interval(self, weights: Floats, level: float) -> tuple[float, float]:
        """Estimate ± quantile of t times the standard error."""
        return t_interval(self, self.coefficients, weights, level)

    def judge_jointly(self, weights: Floats) -> Joint:
        """Hotelling's T² with Zhang's degrees of freedom (HTZ), as F."""
        q = len(weights)
        if any(self.seen.rests_on_one(row) for row in weights):
            raise InferenceError(
                "a term rests on one cluster alone", where="wald", remedy="leave it out, or rank by Permutation()"
            )
        summed = self.scores @ weights.T
        statistic = quadratic_form(weights @ self.coefficients, summed.T @ summed, np.inf)
        eta = self._hotelling_df(weights)
        if eta <= q - 1:
            raise InferenceError(
                f"{q} terms cannot be tested jointly with {eta:.1f} degrees of freedom",
                where="wald",
                remedy="test fewer terms, or bin event times",
            )
        f = (eta - q + 1) / (eta * q) * statistic
        return Joint(f, (q, eta - q + 1), float(stats.f.sf(f, q, eta - q + 1)))

    def _hotelling_df(self, weights: Floats) -> float:
        """Match the total variance of the standardised covariance to that of a Wishart matrix."""
        q = len(weights)
        own, shared = self.seen.moments(weights, -0.5)
        values, basis = np.linalg.eigh((own - shared @ shared.transpose(0, 2, 1)).sum(axis=0))
        root = basis / np.sqrt(values) @ basis.T  # of the inverse of the expected covariance
        return q * (q + 1) / _total_variance(root @ own @ root, root @ shared)


def _total_variance(own: Floats, shared: Floats) -> float:
    """Sum the variances of the elements of a sum of r_g r_g' (q, q), where r_g (q,) are normal.

    E[r_g r_h'] is own_g (G, q, q) if g = h, less shared_g shared_h' with shared (G, q, p). The sum over pairs of clusters is one
    over pairs of columns where these are fewer.
    """
    n_clusters, q, p = shared.shape
    within = own - 2 * shared @ shared.transpose(0, 2, 1)
    traces, pairs = np.einsum("gss->g", own), np.einsum("gss->g", within)
    total = float(traces @ pairs + np.einsum("gst,gts->", own, within))
    if p <= n_clusters:
        flat = shared.reshape(n_clusters, q * p)
        crossed = (flat.T @ flat).reshape(q, p, q, p)
        return total + float(np.sum(crossed**2) + np.einsum("satb,tasb->", crossed, crossed))
    flat = shared.reshape(n_clusters * q, p)
    crossed = (flat @ flat.T).reshape(n_clusters, q, n_clusters, q)
    same = np.einsum("gshs->gh", crossed)
    return total + float(np.sum(same**2) + np.einsum("gsht,gths->", crossed, crossed))
