"""What must come out if the experiments test anything: methods known to fail must fail."""

from __future__ import annotations

from collections.abc import Iterable

from montecarlo.results import Result

LEAST = {
    ("serial", "rho=.8", "Classical"): 0.30,
    ("grid", "G=8; treated=1; ratio=1; errors=normal", "CR1"): 0.30,
    ("rows", "G=30", "Robust, treatment"): 0.30,
    ("farms", "farms=200", "Robust"): 0.30,
    ("gaps", "sd=.6", "Fisher by farm"): 0.20,
}
"""More than this share of true nulls is rejected."""


def unmet(results: Iterable[Result]) -> list[str]:
    """Name, among the results there are, what should reject more often."""
    known = {(one.experiment, one.cell, one.method): one for one in results}
    return [
        f"{' '.join(key)}: {known[key].rate:.3f} is not above {least}: the experiment does not bite"
        for key, least in LEAST.items()
        if key in known and not known[key].rate > least
    ]
