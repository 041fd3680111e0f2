"""What inferences do with a covariance before they give it away: what is only rounding goes, and what is negative."""

from __future__ import annotations

import numpy as np

from evalkit.columns import Flags, Floats
from evalkit.fit import Fit

_ROUNDING = 1e-10  # share of the classical standard error


def outer(summed: Floats) -> Floats:
    """Return the sum of outer products of the rows of (c, k), giving (k, k)."""
    product: Floats = summed.T @ summed
    return product


def floors(fit: Fit) -> Floats:
    """Standard errors (k,) that rounding alone can make: -1 of a base, 0 without a regression, whose estimator clears it."""
    floor = np.full(len(fit.terms), -1.0)
    for part in fit.parts:
        floor[part.positions] = 0.0
        if part.regression is not None:
            weights = 1.0 if part.regression.weights is None else part.regression.weights
            noise = float(np.sum(weights * part.regression.residuals**2))
            floor[part.positions] = _ROUNDING * np.sqrt(np.diag(part.of_slopes(part.regression.bread)) * noise)
    return floor


def only_rounding(variances: Floats, fit: Fit) -> Flags:
    """Flag the terms (k,) whose influence cancels in every sum, so that their variances (k,) are rounding."""
    floor = floors(fit)
    empty: Flags = (floor >= 0) & (variances <= floor**2)
    return empty


def without(covariance: Floats, chosen: Flags) -> Floats:
    """Set rows and columns of the chosen terms (k,) to 0."""
    return np.where(chosen[:, None] | chosen, 0.0, covariance)


def named(fit: Fit, chosen: Flags) -> str:
    """Name the chosen terms (k,)."""
    return ", ".join(term.name for term, one in zip(fit.terms, chosen, strict=True) if one)


def positive(covariance: Floats, scale: Floats) -> tuple[Floats, bool]:
    """Set negative eigenvalues to 0, in units of `scale` (k,), so that the units of a covariate change no other term.

    Says, too, whether there were any. A term without scale, such as a base, has nothing to mend.
    """
    known = np.flatnonzero(scale > 0)
    units = np.outer(scale[known], scale[known])
    values, vectors = np.linalg.eigh(covariance[np.ix_(known, known)] / units)
    if values.min(initial=0.0) >= -1e-14:
        return covariance, False
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    mended = np.zeros_like(covariance)
    mended[np.ix_(known, known)] = outer(root.T) * units
    return mended, True
