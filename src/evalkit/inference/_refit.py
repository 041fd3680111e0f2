"""What the inferences that estimate anew share: the rows of a fit, its terms found again in another, adoption re-assigned."""

from __future__ import annotations

import numpy as np

from evalkit.columns import Flags, Floats
from evalkit.errors import EvalkitError
from evalkit.estimation import Specification
from evalkit.fit import Fit
from evalkit.panel import Panel

_ROUNDING = 1e-14  # share of the largest outcome that arithmetic alone can leave in a coefficient


def rows_of(fit: Fit, panel: Panel) -> Flags:
    """Flag the rows of the panel (n,) that some part of the fit rests on."""
    used = np.zeros(len(panel), dtype=bool)
    for part in fit.parts:
        used[part.sample.rows] = True
    return used


def refit(fit: Fit, spec: Specification, keep: Flags) -> tuple[Floats, str]:
    """Estimate on other rows or another design: coefficients (k,) in the order of `fit`, and why some are missing (NaN).

    A term counts as missing, too, where its subgroup has another base.
    """
    try:
        other = spec.estimator.fit(spec.panel, spec.design, keep)
    except EvalkitError as error:
        return np.full(len(fit.terms), np.nan), str(error)
    found = {(term.name, term.role): float(b) for term, b in zip(other.terms, other.coefficients, strict=True)}
    moved = {group for group in {term.subgroup for term in fit.terms} if _bases(fit, group) != _bases(other, group)}
    coefficients = np.array([np.nan if t.subgroup in moved else found.get((t.name, t.role), np.nan) for t in fit.terms])
    if not np.isnan(coefficients).any():
        return coefficients, ""
    return coefficients, "the base is then another" if moved else "the estimator then gives no such term"


def _bases(fit: Fit, group: str | None) -> set[str]:
    return {term.name for term in fit.terms if term.role == "base" and term.subgroup == group}


def rounding(fit: Fit) -> float:
    """Say how large a standard error rounding alone can make."""
    return _ROUNDING * max(float(np.abs(part.sample.outcome).max()) for part in fit.parts)
