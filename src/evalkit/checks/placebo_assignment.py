"""Placebo in space: would counties that were not treated show such an effect?"""

from __future__ import annotations

from dataclasses import dataclass

from evalkit.catalogue import message
from evalkit.checks._placebo import after_adoption, permute_assignment
from evalkit.estimation import Specification
from evalkit.finding import Finding, Verdict


@dataclass(frozen=True, kw_only=True)
class PlaceboAssignment:
    """Permute adoption over the units of assignment and rank the actual effect among the placebo effects.

    Enumerated while there are at most 10,000 assignments; beyond that give `draws` and `seed`. The bound of the finding is the
    smallest p that the design can attain. Exact if assignment was random; otherwise a description of how unusual the treated are.
    Source: Fisher's randomization test; Conley and Taber, Review of Economics and Statistics 93 (2011), on few treated.
    """

    draws: int | None = None
    seed: int | None = None

    def run(self, spec: Specification) -> Finding:
        """Rank the average effect after adoption."""
        found = permute_assignment(
            spec, lambda fit: float(after_adoption(fit) @ fit.coefficients), draws=self.draws, seed=self.seed
        )
        verdict: Verdict = "pass" if found.p_value < 0.05 else "inconclusive"
        key = "finding.placebo_assignment" if found.floor <= 0.05 else "finding.placebo_assignment_floor"
        if not found.exact:
            key = "finding.placebo_assignment_drawn"
        sentence = message(
            key,
            rank=found.rank,
            assignments=found.n_assignments,
            p=f"{found.p_value:.3f}",
            floor=f"{found.floor:.3f}",
            level=spec.design.assigned_at,
            failed=message("finding.failed_assignments", failed=found.n_failed)
            if found.n_failed
            else message("finding.no_failed_assignments"),
        )
        return Finding(
            "PlaceboAssignment",
            message("null.placebo_assignment"),
            found.actual,
            found.p_value,
            found.floor,
            verdict,
            sentence,
            found.table,
        )
