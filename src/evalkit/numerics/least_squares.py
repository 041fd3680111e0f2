"""Least squares by column-scaled QR, with collinear columns left out by a rule that depends on their order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import qr, solve_triangular

from evalkit.numerics.arrays import Floats, Ints

# A column counts as collinear when what the columns before it leave of it is below this share of its own length.
COLLINEAR = 1e-10
# Cross-products square the condition number: beyond this, the columns themselves are factorised.
_GRAM_CONDITION = 1e4


@dataclass(frozen=True)
class Solution:
    """Least squares of y on the columns `kept`: coefficients (r,), residuals (n,), bread (r, r) = (X'WX)^-1."""

    kept: Ints
    coefficients: Floats
    residuals: Floats
    bread: Floats


def least_squares(*, X: Floats, y: Floats, weights: Floats | None = None, reference: Floats | None = None) -> Solution:
    """Regress y (n,) on X (n, k), weighted by weights (n,).

    A column that is a combination of those before it is left out of `kept`. `reference` (k,) gives the length against which
    "nothing left" is judged (the columns before fixed effects were absorbed); their own length by default. The solution is
    refined with its own residuals through the normal equations of the factor, which counts where residuals are large.
    Source: Bjoerck, Numerical Methods for Least Squares Problems, 1996, 6.6.5 (corrected semi-normal equations).
    """
    root = None if weights is None else np.sqrt(weights)
    A = X if root is None else X * root[:, None]
    b = y if root is None else y * root
    length = np.sqrt(np.einsum("ij,ij->j", A, A))
    floor = length if reference is None else reference
    present = np.flatnonzero(length > COLLINEAR * floor)
    scale = np.exp2(np.round(np.log2(length[present])))  # powers of two: scaling itself rounds nothing
    factor = _cholesky(A, present, scale) or _householder(A, present, scale, floor)
    kept, scale, inverse = factor.kept, factor.scale, factor.inverse
    chosen = A if len(kept) == A.shape[1] else np.asfortranarray(A[:, kept])
    coefficients = np.zeros(len(kept))
    if factor.Q is not None:  # ill-conditioned, where the fused products of BLAS keep a digit more
        for _ in range(2):
            coefficients += inverse @ (factor.Q.T @ (b - chosen @ coefficients)) / scale
        for _ in range(2):
            left = chosen.T @ (b - chosen @ coefficients)
            coefficients += inverse @ (inverse.T @ (left / scale)) / scale
    else:
        for _ in range(2):
            left = np.einsum("ij,i->j", chosen, _residuals(b, chosen, coefficients))
            coefficients += inverse @ (inverse.T @ (left / scale)) / scale
    residuals = _residuals(y, X if len(kept) == X.shape[1] else X[:, kept], coefficients)
    return Solution(kept, coefficients, residuals, (inverse @ inverse.T) / np.outer(scale, scale))


def cross_products(columns: Floats) -> Floats:
    """Return A'A (k, k) of tall columns (n, k), stored column by column.

    Without BLAS: for few columns it is as fast, and neither its threads nor their number touch a bit of the result.
    """
    k = columns.shape[1]
    products = np.empty((k, k))
    for i in range(k):
        for j in range(i + 1):
            products[i, j] = products[j, i] = np.einsum("i,i->", columns[:, i], columns[:, j])
    return products


def _residuals(y: Floats, X: Floats, coefficients: Floats) -> Floats:
    if not coefficients.any():
        return y
    left = y.copy()
    scratch = np.empty(len(y))
    for column, coefficient in zip(X.T, coefficients, strict=True):
        left -= np.multiply(column, coefficient, out=scratch)
    return left


@dataclass(frozen=True)
class _Factor:
    """A[:, kept] / scale = Q R: the inverse (r, r) of R, and Q (n, r) where it was formed."""

    kept: Ints
    scale: Floats
    inverse: Floats
    Q: Floats | None


def _cholesky(A: Floats, kept: Ints, scale: Floats) -> _Factor | None:
    """Factorise the cross-products of the scaled columns; None where they are too ill-conditioned for that."""
    gram = cross_products(A if len(kept) == A.shape[1] else A[:, kept]) / np.outer(scale, scale)
    if not len(kept) or np.linalg.cond(gram) >= _GRAM_CONDITION:
        return None
    return _Factor(kept, scale, _inverse(np.linalg.cholesky(gram).T), None)


def _householder(A: Floats, present: Ints, scale: Floats, floor: Floats) -> _Factor:
    """QR of the scaled columns, taken in order, so that an earlier one is never dropped for a later one."""
    kept = present
    while len(kept):
        Q, R = qr(A[:, kept] / scale, mode="economic", check_finite=False)
        gone = np.flatnonzero(np.abs(np.diag(R)) * scale <= COLLINEAR * floor[kept])
        if not len(gone):
            return _Factor(kept, scale, _inverse(R), np.asarray(Q, dtype=np.float64))
        # the first only: those after it may be independent once it is out
        kept, scale = np.delete(kept, gone[0]), np.delete(scale, gone[0])
    return _Factor(kept, scale, np.zeros((0, 0)), None)


def _inverse(R: NDArray[np.floating]) -> Floats:
    inverse: Floats = solve_triangular(R, np.eye(len(R)), check_finite=False)
    return inverse
