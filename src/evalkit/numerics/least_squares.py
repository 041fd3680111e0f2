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
    refined once with its own residuals. Source: Bjoerck, Numerical Methods for Least Squares Problems, 1996, 2.9.
    """
    root = None if weights is None else np.sqrt(weights)
    A = X if root is None else X * root[:, None]
    b = y if root is None else y * root
    length = np.sqrt(np.einsum("ij,ij->j", A, A))
    floor = length if reference is None else reference
    present = np.flatnonzero(length > COLLINEAR * floor)
    solver = _cholesky(A, present, length) or _householder(A, present, length, floor)
    kept = solver.kept
    picked = A if len(kept) == A.shape[1] else A[:, kept]
    coefficients = solver.solve(b)
    coefficients = coefficients + solver.solve(b - picked @ coefficients)
    residuals = b - picked @ coefficients
    if root is not None:
        residuals = y - (X if len(kept) == X.shape[1] else X[:, kept]) @ coefficients
    return Solution(kept, coefficients, residuals, (solver.inverse @ solver.inverse.T) / np.outer(solver.scale, solver.scale))


@dataclass(frozen=True)
class _Solver:
    """The factorised columns: `inverse` (r, r) is the inverse of R in A[:, kept] = Q R diag(scale)."""

    kept: Ints
    scale: Floats
    inverse: Floats
    solve: Callable[[Floats], Floats]


def _cholesky(A: Floats, kept: Ints, length: Floats) -> _Solver | None:
    """Factorise the cross-products of the scaled columns; None where they are too ill-conditioned for that."""
    scale = length[kept]
    picked = A if len(kept) == A.shape[1] else A[:, kept]
    gram = (picked.T @ picked) / np.outer(scale, scale)
    if len(kept) and np.linalg.cond(gram) >= _GRAM_CONDITION:
        return None
    inverse = solve_triangular(np.linalg.cholesky(gram).T, np.eye(len(kept)), check_finite=False)

    def solve(target: Floats) -> Floats:
        solution: Floats = inverse @ (inverse.T @ ((picked.T @ target) / scale)) / scale
        return solution

    return _Solver(kept, scale, inverse, solve)


def _householder(A: Floats, present: Ints, length: Floats, floor: Floats) -> _Solver:
    """QR of the scaled columns, taken in order, so that an earlier one is never dropped for a later one."""
    kept = present
    while True:
        scale = length[kept]
        Q, R = qr(A[:, kept] / scale, mode="economic", check_finite=False)
        gone = np.flatnonzero(np.abs(np.diag(R)) * scale <= COLLINEAR * floor[kept])
        if not len(gone):
            break
        kept = np.delete(kept, gone[0])  # the first only: those after it may be independent once it is out
    inverse = solve_triangular(R, np.eye(len(kept)), check_finite=False)

    def solve(target: Floats) -> Floats:
        solution: Floats = (inverse @ (Q.T @ target)) / scale
        return solution

    return _Solver(kept, scale, inverse, solve)
