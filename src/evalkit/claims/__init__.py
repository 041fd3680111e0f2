"""Claims: kinds of check on what a source prints, each ending in a judgement. These exports are the registry."""

from evalkit.claims.clean_period import CleanPeriod
from evalkit.claims.group_gap import GroupGap
from evalkit.claims.growth_stands_out import GrowthStandsOut
from evalkit.claims.percent_effect import PercentEffect
from evalkit.claims.pooled_mean import PooledMean
from evalkit.claims.product import Product
from evalkit.claims.rest_of_mean import RestOfMean
from evalkit.claims.restated import Restated
from evalkit.claims.stars import Stars
from evalkit.claims.within import Within

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
