"""Least squares by column-scaled QR, with collinear columns left out by a rule that depends on their order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import qr, solve_triangular

from evalkit.numerics.arrays import Floats, Ints, cut_blocks, in_blocks

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


def least_squares(
    *,
    X: Floats,
    y: Floats,
    weights: Floats | None = None,
    reference: Floats | None = None,
    overwrite_y: bool = False,
) -> Solution:
    """Regress y (n,) on X (n, k), weighted by weights (n,).

    A column that is a combination of those before it is left out of `kept`. `reference` (k,) gives the length against which
    "nothing left" is judged (the columns before fixed effects were absorbed); their own length by default. The solution is
    refined with its own residuals through the normal equations of the factor, which counts where residuals are large.
    With `overwrite_y` the residuals take the memory of y.
    Source: Bjoerck, Numerical Methods for Least Squares Problems, 1996, 6.6.5 (corrected semi-normal equations).
    """
    products = cross_products([*X.T, y], weights)
    length = np.sqrt(np.diag(products)[:-1])
    floor = length if reference is None else reference
    present = np.flatnonzero(length > COLLINEAR * floor)
    scale = np.exp2(np.round(np.log2(length[present])))  # powers of two: scaling itself rounds nothing
    factor = _cholesky(products, present, scale)
    if factor is None:  # ill-conditioned, where the fused products of BLAS keep a digit more
        root = None if weights is None else np.sqrt(weights)
        A, b = (X, y) if root is None else (X * root[:, None], y * root)
        factor = _householder(A, present, scale, floor)
        chosen = A if len(factor.kept) == A.shape[1] else np.asfortranarray(A[:, factor.kept])
        coefficients = np.zeros(len(factor.kept))
        for _ in range(2):
            coefficients += factor.inverse @ (factor.Q.T @ (b - chosen @ coefficients)) / factor.scale
        for _ in range(2):
            coefficients += factor.solve(chosen.T @ (b - chosen @ coefficients))
    else:
        coefficients = factor.solve(products[factor.kept, -1])
        coefficients += factor.solve(_pull(X, y, weights, factor.kept, coefficients))
    residuals = y if overwrite_y else np.empty_like(y)

    def leave(rows: slice) -> None:
        residuals[rows] = _residuals(X, y, factor.kept, coefficients, rows)

    in_blocks(leave, cut_blocks(len(y)))
    bread = (factor.inverse @ factor.inverse.T) / np.outer(factor.scale, factor.scale)
    return Solution(factor.kept, coefficients, residuals, bread)


def cross_products(columns: Sequence[Floats], weights: Floats | None = None) -> Floats:
    """Return the products (k, k) of k columns (each (n,)) with each other, weighted by weights (n,).

    Without BLAS: for few columns it is as fast, and neither its threads nor their number touch a bit of the result.
    """
    k = len(columns)

    def multiply(rows: slice) -> Floats:
        products = np.empty((k, k))
        for i in range(k):
            column = columns[i][rows] if weights is None else columns[i][rows] * weights[rows]
            for j in range(i + 1):
                products[i, j] = products[j, i] = np.einsum("i,i->", column, columns[j][rows])
        return products

    total: Floats = np.sum(in_blocks(multiply, cut_blocks(len(columns[0]))), axis=0)
    return total


def _pull(X: Floats, y: Floats, weights: Floats | None, kept: Ints, coefficients: Floats) -> Floats:
    """Products (r,) of the columns kept with weights times residuals."""

    def multiply(rows: slice) -> list[float]:
        left = _residuals(X, y, kept, coefficients, rows)
        if weights is not None:
            left = left * weights[rows]
        return [float(np.einsum("i,i->", X[rows, j], left)) for j in kept]

    pull: Floats = np.sum(in_blocks(multiply, cut_blocks(len(y))), axis=0)
    return pull


def _residuals(X: Floats, y: Floats, kept: Ints, coefficients: Floats, rows: slice) -> Floats:
    """y - X[:, kept]·coefficients in a block of rows."""
    left = y[rows]
    if coefficients.any():
        left, scratch = left.copy(), np.empty(len(left))
        for j, coefficient in zip(kept, coefficients, strict=True):
            left -= np.multiply(X[rows, j], coefficient, out=scratch)
    return left


@dataclass(frozen=True)
class _Factor:
    """A[:, kept] / scale = Q R: the inverse (r, r) of R, and Q (n, r), without columns where it was not formed."""

    kept: Ints
    scale: Floats
    inverse: Floats
    Q: Floats

    def solve(self, pull: Floats) -> Floats:
        """Solve the normal equations: coefficients (r,) whose columns have these products (r,) with the outcome."""
        found: Floats = self.inverse @ (self.inverse.T @ (pull / self.scale)) / self.scale
        return found


_NO_Q = np.zeros((0, 0))


def _cholesky(products: Floats, kept: Ints, scale: Floats) -> _Factor | None:
    """Factorise the cross-products (k, k) of the scaled columns; None where they are too ill-conditioned for that."""
    gram = products[np.ix_(kept, kept)] / np.outer(scale, scale)
    if not len(kept) or np.linalg.cond(gram) >= _GRAM_CONDITION:
        return None
    return _Factor(kept, scale, _inverse(np.linalg.cholesky(gram).T), _NO_Q)


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
    return _Factor(kept, scale, _NO_Q, np.zeros((len(A), 0)))


def _inverse(R: NDArray[np.floating]) -> Floats:
    inverse: Floats = solve_triangular(R, np.eye(len(R)), check_finite=False)
    return inverse
