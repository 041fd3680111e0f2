"""Callaway and Sant'Anna: effects by cohort and period, and their averages."""

from evalkit.estimators.callaway_santanna.estimator import CallawaySantAnna

__all__ = ["CallawaySantAnna"]
