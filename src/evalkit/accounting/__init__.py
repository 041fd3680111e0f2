"""Accounting: activity data × emission factors → emissions, and emissions per unit of output. Each is a Table."""

from evalkit.accounting.emissions import inventory
from evalkit.accounting.factor_files import factor_set
from evalkit.accounting.factors import Factor, FactorSet, Parameter
from evalkit.accounting.per_output import intensity
from evalkit.accounting.uncertainty import factor_uncertainty

__all__ = ["Factor", "FactorSet", "Parameter", "factor_set", "factor_uncertainty", "intensity", "inventory"]
