"""Inference: a fit in, its uncertainty out. These exports are the registry."""

from evalkit.inference.bias_reduced import BiasReduced
from evalkit.inference.by_design import ByDesign
from evalkit.inference.cluster import Cluster
from evalkit.inference.independent import Classical, Robust
from evalkit.inference.jackknife import Jackknife
from evalkit.inference.multiplier import Multiplier
from evalkit.inference.permutation import Permutation
from evalkit.inference.placebo import Placebo
from evalkit.inference.pooled_groups import PooledGroups
from evalkit.inference.spatial import Conley, DriscollKraay
from evalkit.inference.wild_bootstrap import WildBootstrap

__all__ = [
    "BiasReduced",
    "ByDesign",
    "Classical",
    "Cluster",
    "Conley",
    "DriscollKraay",
    "Jackknife",
    "Multiplier",
    "Permutation",
    "Placebo",
    "PooledGroups",
    "Robust",
    "WildBootstrap",
]
