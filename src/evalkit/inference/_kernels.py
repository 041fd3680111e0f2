"""What Conley and DriscollKraay share: influence summed in cells, weighed by how near the cells are, and the t that it leaves."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from evalkit.catalogue import Message, message
from evalkit.columns import Floats, Ints
from evalkit.fit import Fit, Part
from evalkit.inference._clusters import Way, summed_influence
from evalkit.inference._covariance import named, only_rounding, positive, without

_ROUNDING = 1e-12  # share of the sum of absolute products
_FEW_FOR_JOINT_TESTS = 30.0  # as many as few_clusters asks for


@dataclass(frozen=True)
class Near:
    """How near cells are: weights (b, c) of cells `rows` (b,) with cells `columns` (c,), 1 for a cell with itself."""

    rows: Ints
    columns: Ints
    weights: sparse.csr_array


@dataclass(frozen=True)
class Weighed:
    """Covariance (k, k), times N/(N-K) and mended; Satterthwaite's degrees of freedom (k,), NaN for a base; notes."""

    covariance: Floats
    df: Floats
    notes: tuple[Message, ...]

    def unsupported(self, fit: Fit, few: float) -> Message | None:
        """Say why t cannot be believed where up to `few` degrees of freedom are too few (None: it can)."""
        fewest = self._fewest(fit)
        return message("note.few_df", df=f"{fewest:.1f}") if fewest <= few else None

    def joint_unsupported(self, fit: Fit) -> Message | None:
        """Say why a joint test by F cannot be believed (None: it can)."""
        fewest = self._fewest(fit)
        return message("note.joint_few_df", df=f"{fewest:.1f}") if fewest < _FEW_FOR_JOINT_TESTS else None

    def _fewest(self, fit: Fit) -> float:
        """Smallest degrees of freedom of an effect with a standard error; infinite where none has any."""
        known = np.array([term.role == "effect" for term in fit.terms]) & (np.diag(self.covariance) > 0)
        return float(min(self.df[known], default=np.inf))


def weigh(fit: Fit, way: Way, near: Iterable[Near]) -> Weighed:
    """Sum influence in cells, then its products over pairs of cells times how near these are.

    The factor is N/(N-K), K counting slopes and all absorbed effects; 1 for a part that is no one regression.
    """
    left = [_residual_df(part) for part in fit.parts]
    factors = [1.0 if np.isinf(df) else part.sample.n_obs / df for part, df in zip(fit.parts, left, strict=True)]
    summed, share = summed_influence(fit, way, factors), _shares(fit, way)
    k = len(fit.terms)
    covariance, size, linear, cross, square = np.zeros((k, k)), *(np.zeros(k) for _ in range(4))
    for one in near:
        here, own = summed[one.rows], share[one.rows]
        nearby = one.weights @ share[one.columns]
        covariance += np.einsum("ci,cj->ij", here, one.weights @ summed[one.columns])
        size += np.einsum("ci,ci->i", np.abs(here), one.weights @ np.abs(summed[one.columns]))
        linear += np.einsum("ci,ci->i", own, nearby)
        cross += np.einsum("ci,ci,ci->i", own, nearby, nearby)
        square += np.einsum("ci,ci->i", own, one.weights.power(2) @ share[one.columns])
    trace = 1 - linear
    trace[~(trace > _ROUNDING)] = np.nan
    df = trace**2 / (square - 2 * cross + linear**2)
    for part, most in zip(fit.parts, left, strict=True):
        df[part.positions] = np.minimum(df[part.positions], most)
    covariance = (covariance + covariance.T) / 2
    return _mended(fit, covariance, size, np.sqrt(np.einsum("ci,ci->i", summed, summed)), df)


def _residual_df(part: Part) -> float:
    """N - K; infinite where the estimator is no one regression, NaN where nothing is left."""
    if part.regression is None:
        return float("inf")
    left = part.sample.n_obs - part.regression.n_slopes - part.regression.n_effects
    return left if left > 0 else float("nan")


def _shares(fit: Fit, way: Way) -> Floats:
    """Share of cells (c, k) in the variance of each coefficient, were rows independent and errors of one variance; NaN: a base.

    Where there is no regression, squared influence stands for it, spread over the observations that a row counts for.
    """
    total = np.zeros((way.n_codes, len(fit.terms)))
    for part, codes in zip(fit.parts, way.codes, strict=True):
        regression, counts = part.regression, 1.0 if part.sample.counts is None else part.sample.counts
        rows = part.influence.sum_within(np.arange(len(codes)), len(codes)) if regression is None else None
        for i, position in enumerate(part.positions):
            if rows is not None:
                own = rows[:, i] ** 2 / counts
            else:
                assert regression is not None
                own = np.einsum("ij,j->i", regression.regressors, regression.bread @ part.loading(i)) ** 2
                own = own if regression.weights is None else own * regression.weights
            total[:, position] = np.bincount(codes, weights=own, minlength=way.n_codes)
    with np.errstate(invalid="ignore"):
        shares: Floats = total / total.sum(axis=0)
    return shares


def _mended(fit: Fit, covariance: Floats, size: Floats, scale: Floats, df: Floats) -> Weighed:
    """Take out of a covariance what is rounding, then negative eigenvalues, and say so."""
    notes: tuple[Message, ...] = ()
    variances = np.abs(np.diag(covariance))
    empty = only_rounding(variances, fit) | ((size > 0) & (variances <= _ROUNDING * size))
    if empty.any():
        notes = (message("note.no_kernel_variance", terms=named(fit, empty)),)
    mended, was_negative = positive(without(covariance, empty), np.where(empty, 0.0, scale))
    if was_negative:
        notes = (*notes, message("note.not_positive_kernel"))
    return Weighed(mended, df, notes)
