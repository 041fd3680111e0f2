"""Accounting: activity data × emission factors → emissions, and emissions per unit of output. Each is a Table."""

from evalkit.accounting.emissions import inventory
from evalkit.accounting.factors import Factor, FactorSet, factor_set
from evalkit.accounting.per_output import intensity

__all__ = ["Factor", "FactorSet", "factor_set", "intensity", "inventory"]
