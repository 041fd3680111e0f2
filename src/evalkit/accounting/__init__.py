"""Accounting: activity × factors → emissions, per unit of output; credit tied to them; settlements by schedule. All Tables."""

from evalkit.accounting.credit import carbon_grade, carbon_points, presale_value, rate_discount, reduction_subsidy
from evalkit.accounting.emissions import inventory
from evalkit.accounting.factor_files import factor_set
from evalkit.accounting.factors import Factor, FactorSet, Parameter
from evalkit.accounting.per_output import intensity
from evalkit.accounting.settling import PrintedFigure, Schedule, schedule, settle
from evalkit.accounting.uncertainty import factor_uncertainty

__all__ = [
    "Factor",
    "FactorSet",
    "Parameter",
    "PrintedFigure",
    "Schedule",
    "carbon_grade",
    "carbon_points",
    "factor_set",
    "factor_uncertainty",
    "intensity",
    "inventory",
    "presale_value",
    "rate_discount",
    "reduction_subsidy",
    "schedule",
    "settle",
]
