"""Claims: kinds of check on what a source prints, each ending in a judgement. These exports are the registry."""

from evalkit.claims.arithmetic import PercentEffect, PooledMean, Product, Restated, RestOfMean, Within
from evalkit.claims.evidence_of_effect import GroupGap, GrowthStandsOut, Stars
from evalkit.claims.timing import CleanPeriod

__all__ = [
    "CleanPeriod",
    "GroupGap",
    "GrowthStandsOut",
    "PercentEffect",
    "PooledMean",
    "Product",
    "RestOfMean",
    "Restated",
    "Stars",
    "Within",
]
