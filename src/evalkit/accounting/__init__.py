"""Accounting: activity data × emission factors → emissions, and emissions per unit of output. Each is a Table."""

from evalkit.accounting._factors import Factor, FactorSet
from evalkit.accounting.factors import factor_set
from evalkit.accounting.intensity import intensity
from evalkit.accounting.inventory import inventory

__all__ = ["Factor", "FactorSet", "factor_set", "intensity", "inventory"]
