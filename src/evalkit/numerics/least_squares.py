"""Least squares by column-scaled QR, with collinear columns left out by a rule that depends on their order."""

from __future__ import annotations

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
    refined once with its own residuals. Source: Bjoerck, Numerical Methods for Least Squares Problems, 1996, 2.9.
    """
    root = None if weights is None else np.sqrt(weights)
    A = X if root is None else X * root[:, None]
    b = y if root is None else y * root
    length = np.sqrt(np.einsum("ij,ij->j", A, A))
    floor = length if reference is None else reference
    present = np.flatnonzero(length > COLLINEAR * floor)
    scale = length[present]
    S = A[:, present] / scale if len(present) < A.shape[1] or len(A) <= 100_000 else A
    gram = S.T @ S if S is not A else (A.T @ A) / np.outer(scale, scale)
    if len(present) and np.linalg.cond(gram) < _GRAM_CONDITION:
        kept = present
        factor = np.linalg.cholesky(gram).T
        inverse = solve_triangular(factor, np.eye(len(kept)), check_finite=False)

        def solve(target: Floats) -> Floats:
            projected: Floats = (A.T @ target)[kept] / scale
            return inverse @ (inverse.T @ projected) / scale
    else:
        kept, inverse, scale, solve = _householder(A, present, length, floor)
    coefficients = solve(b)
    fitted = A[:, kept] @ coefficients if len(kept) < A.shape[1] else A @ coefficients
    correction = solve(b - fitted)
    coefficients = coefficients + correction
    residuals = y - (X[:, kept] @ coefficients if len(kept) < X.shape[1] else X @ coefficients)
    bread = (inverse @ inverse.T) / np.outer(scale, scale)
    return Solution(kept, coefficients, residuals, bread)


def _householder(A: Floats, present: Ints, length: Floats, floor: Floats):  # type: ignore[no-untyped-def]
    """QR of the scaled columns; columns are taken in order, so that an earlier one is never dropped for a later one."""
    kept = present
    while True:
        scale = length[kept]
        Q, R = qr(A[:, kept] / scale, mode="economic", check_finite=False)
        left = np.abs(np.diag(R)) * scale
        gone = np.flatnonzero(left <= COLLINEAR * floor[kept])
        if not len(gone):
            break
        kept = np.delete(kept, gone[0])  # the first only: those after it may be independent once it is out
    inverse = solve_triangular(R, np.eye(len(kept)), check_finite=False) if len(kept) else np.zeros((0, 0))

    def solve(target: Floats) -> Floats:
        return (inverse @ (Q.T @ target)) / scale

    return kept, inverse, scale, solve
