"""Claims: kinds of check on what a source prints, each ending in a judgement. These exports are the registry."""

from evalkit.claims.arithmetic import PercentEffect as PercentEffect
from evalkit.claims.arithmetic import PooledMean as PooledMean
from evalkit.claims.arithmetic import Product as Product
from evalkit.claims.arithmetic import Restated as Restated
from evalkit.claims.arithmetic import RestOfMean as RestOfMean
from evalkit.claims.arithmetic import Within as Within
from evalkit.claims.evidence_of_effect import GroupGap as GroupGap
from evalkit.claims.evidence_of_effect import GrowthStandsOut as GrowthStandsOut
from evalkit.claims.evidence_of_effect import Stars as Stars
from evalkit.claims.timing import CleanPeriod as CleanPeriod

__all__ = sorted(name for name in dir() if name[0].isupper())
