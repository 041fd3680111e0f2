"""What the inferences that estimate anew share: the rows of a fit, its terms found again in another, adoption re-assigned."""

from __future__ import annotations

import numpy as np

from evalkit.columns import Flags, Floats, Ints
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
    at, why = find_terms(fit, other)
    return np.where(at < 0, np.nan, other.coefficients[at]), why


def find_terms(fit: Fit, other: Fit) -> tuple[Ints, str]:
    """Positions (k,) of the terms of a fit in another one, -1 for those that are missing there, and why."""
    found = {(term.name, term.role): i for i, term in enumerate(other.terms)}
    moved = {group for group in {term.subgroup for term in fit.terms} if _bases(fit, group) != _bases(other, group)}
    at = np.array([-1 if t.subgroup in moved else found.get((t.name, t.role), -1) for t in fit.terms])
    if (at >= 0).all():
        return at, ""
    return at, "the base is then another" if moved else "the estimator then gives no such term"


def _bases(fit: Fit, group: str | None) -> set[str]:
    return {term.name for term in fit.terms if term.role == "base" and term.subgroup == group}


def rounding(fit: Fit) -> float:
    """Say how large a standard error rounding alone can make."""
    return _ROUNDING * max(float(np.abs(part.sample.outcome).max()) for part in fit.parts)
