"""Estimators: a panel and a design in, effects with their influence out. These exports are the registry."""

from evalkit.estimators.event_study import EventStudy
from evalkit.estimators.split import Split
from evalkit.estimators.two_way_fe import TwoWayFE

__all__ = ["EventStudy", "Split", "TwoWayFE"]
