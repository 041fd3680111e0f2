"""Inference: a fit in, its uncertainty out. These exports are the registry."""

from evalkit.inference.bias_reduced import BiasReduced as BiasReduced
from evalkit.inference.by_design import ByDesign as ByDesign
from evalkit.inference.cluster import Cluster as Cluster
from evalkit.inference.independent import Classical as Classical
from evalkit.inference.independent import Robust as Robust
from evalkit.inference.jackknife import Jackknife as Jackknife
from evalkit.inference.multiplier import Multiplier as Multiplier
from evalkit.inference.permutation import Permutation as Permutation
from evalkit.inference.placebo import Placebo as Placebo
from evalkit.inference.pooled_groups import PooledGroups as PooledGroups
from evalkit.inference.spatial import Conley as Conley
from evalkit.inference.spatial import DriscollKraay as DriscollKraay
from evalkit.inference.wild_bootstrap import WildBootstrap as WildBootstrap

__all__ = sorted(name for name in dir() if name[0].isupper())
