"""Least squares by column-scaled QR, with collinear columns left out by a rule that depends on their order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.linalg import qr, solve_triangular

from evalkit.panel import Floats, Ints

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
    S = A[:, present] / scale if len(present) < A.shape[1] or len(A) <= 100_000 else A
    gram = S.T @ S if S is not A else (A.T @ A) / np.outer(scale, scale)
    if len(present) and np.linalg.cond(gram) < _GRAM_CONDITION:
        kept = present
        inverse = solve_triangular(np.linalg.cholesky(gram).T, np.eye(len(kept)), check_finite=False)
        coefficients = np.zeros(len(kept))
    else:
        kept, scale, Q, inverse = _householder(A, present, scale, floor)
        coefficients = (inverse @ (Q.T @ b)) / scale
        coefficients = coefficients + (inverse @ (Q.T @ (b - A[:, kept] @ coefficients))) / scale
    for _ in range(2):
        left = b - (A[:, kept] @ coefficients if len(kept) < A.shape[1] else A @ coefficients)
        coefficients = coefficients + inverse @ (inverse.T @ ((A.T @ left)[kept] / scale)) / scale
    residuals = y - (X[:, kept] @ coefficients if len(kept) < X.shape[1] else X @ coefficients)
    bread = (inverse @ inverse.T) / np.outer(scale, scale)
    return Solution(kept, coefficients, residuals, bread)


def _householder(A: Floats, present: Ints, scale: Floats, floor: Floats) -> tuple[Ints, Floats, Floats, Floats]:
    """QR of the scaled columns, taken in order, so that an earlier one is never dropped for a later one.

    Returns the columns kept (r,), their scale (r,), Q (n, r) and the inverse (r, r) of R.
    """
    kept = present
    while len(kept):
        Q, R = qr(A[:, kept] / scale, mode="economic", check_finite=False)
        gone = np.flatnonzero(np.abs(np.diag(R)) * scale <= COLLINEAR * floor[kept])
        if not len(gone):
            return kept, scale, Q, solve_triangular(R, np.eye(len(kept)), check_finite=False)
        # the first only: those after it may be independent once it is out
        kept, scale = np.delete(kept, gone[0]), np.delete(scale, gone[0])
    return kept, scale, np.zeros((len(A), 0)), np.zeros((0, 0))
