"""Standard errors for errors that are correlated across all units, and over a few periods."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from evalkit.catalogue import message
from evalkit.columns import Ints
from evalkit.errors import InferenceError
from evalkit.estimation import Specification
from evalkit.fit import Fit
from evalkit.inference._clusters import Way, assignment, count_clusters, smallest_p
from evalkit.inference._kernels import Near, weigh
from evalkit.uncertainty import Uncertainty

# With fewer periods, or up to so many effective degrees of freedom, t(T-1) rejects a true null about twice as often as it should
# or more: one date of adoption, independent errors, default lags (10 of 20 periods treated: 9.0 degrees, .10; 15 of 30: 10.5,
# .10; 10 of 30: 8.2, .12; 25 of 50: 17.8, .08; 10 of 50: 6.9, .13; 50 of 100: 29, .07; 20 of 100: 10.1, .10; 20,000 draws each).
_FEW_PERIODS, _FEW_DF = 20, 11.0


@dataclass(frozen=True)
class DriscollKraay:
    """Let errors be correlated between all units, up to `lags` periods apart: the long-run variance of each period's sum.

    lags  V = sum over s, t of max(0, 1 - |s-t|/(lags+1)) ψs ψt', where ψt is the influence summed over the rows of period t
          (Bartlett weights); by default 4 (T/100)^(2/9) rounded down, as in linearmodels, T being the number of periods with rows
          (of the subgroup with fewest).

    Distances are steps of the panel's time axis, so that a year without rows still counts (linearmodels counts it out). The
    factor is N/(N-K), K counting slopes and all absorbed effects, as linearmodels' cov_type="kernel" with debiased=True has it; 1
    for estimators that are no one regression. t has T-1 degrees of freedom. It needs many periods before and after adoption:
    where T is below 20, or the periods that carry an effect are so few that true nulls are rejected about twice as often as they
    should be (by Satterthwaite's degrees of freedom, as in Conley), the p-values count as unsupported. Errors that last reject
    more: with an autocorrelation of .5 .15 of true nulls where 25 of 50 periods are treated, .12 where 50 of 100 are. Effects of
    single periods of one cohort have no standard error, because their residuals sum to zero in every period. Clusters are counted
    at the level of assignment. Estimators that know the influence of whole units only are refused.
    Source: Driscoll and Kraay, Review of Economics and Statistics 80 (1998); weights: Newey and West, Econometrica 55 (1987).
    """

    lags: int | None = None

    def __post_init__(self) -> None:
        if self.lags is not None and (not isinstance(self.lags, int) or isinstance(self.lags, bool) or self.lags < 0):
            raise InferenceError(
                f"lags is {self.lags!r}", where="DriscollKraay", remedy="give a whole number from 0 on, or leave it out"
            )

    def assess(self, fit: Fit, spec: Specification) -> Uncertainty:
        """Sum influence by period, then the products over neighbouring periods."""
        observed = np.unique(np.concatenate([part.sample.period for part in fit.parts]))
        way = Way(tuple(np.searchsorted(observed, part.sample.period) for part in fit.parts), len(observed), False)
        periods = min(way.sizes)
        lags = math.floor(4 * (periods / 100) ** (2 / 9)) if self.lags is None else self.lags
        if lags >= periods:
            raise InferenceError(
                f"there are {periods} periods, too few for {lags} lags",
                where="DriscollKraay",
                remedy=f"give lags below {periods}, or use Cluster()",
            )
        weighed = weigh(fit, way, (_near(observed, lags),))
        df = np.full(len(fit.terms), np.nan)
        for part, size in zip(fit.parts, way.sizes, strict=True):
            df[part.positions] = size - 1
        few = message("note.few_periods", periods=periods) if periods < _FEW_PERIODS else None
        unsupported = few or weighed.unsupported(fit, _FEW_DF)
        clusters, parts = count_clusters(fit, assignment(fit))
        return Uncertainty(
            weighed.covariance,
            df,
            message("method.driscoll_kraay", lags=lags, periods=periods),
            smallest_p(fit),
            clusters,
            parts,
            unsupported,
            unsupported or weighed.joint_unsupported(fit),
            weighed.notes,
        )


def _near(observed: Ints, lags: int) -> Near:
    """Bartlett weights of pairs of periods, at positions `observed` (T,) on the time axis, that are up to `lags` apart."""
    every = np.arange(len(observed))
    rows, columns, weights = [every], [every], [np.ones(len(observed))]
    for lag in range(1, lags + 1):
        at = np.searchsorted(observed, observed + lag)
        there = np.flatnonzero(observed[np.minimum(at, len(observed) - 1)] == observed + lag)
        weight = np.full(len(there), 1 - lag / (lags + 1))
        rows += [there, at[there]]
        columns += [at[there], there]
        weights += [weight, weight]
    pairs = (np.concatenate(rows), np.concatenate(columns))
    return Near(every, every, sparse.csr_array((np.concatenate(weights), pairs), shape=(len(every), len(every))))
