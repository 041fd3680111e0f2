"""Inference: a fit in, its uncertainty out. These exports are the registry."""

from evalkit.inference.classical import Classical
from evalkit.inference.cluster import Cluster
from evalkit.inference.jackknife import Jackknife
from evalkit.inference.placebo import Placebo
from evalkit.inference.pooled_groups import PooledGroups
from evalkit.inference.robust import Robust

__all__ = ["Classical", "Cluster", "Jackknife", "Placebo", "PooledGroups", "Robust"]
