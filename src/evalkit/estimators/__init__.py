"""Estimators: a panel and a design in, effects with their influence out. These exports are the registry."""

from evalkit.estimators.callaway_santanna import CallawaySantAnna
from evalkit.estimators.event_study import EventStudy
from evalkit.estimators.extended_twfe import ExtendedTWFE
from evalkit.estimators.imputation import Imputation
from evalkit.estimators.split import Split
from evalkit.estimators.stacked import Stacked
from evalkit.estimators.sun_abraham import SunAbraham
from evalkit.estimators.synthetic import SyntheticControl, SyntheticDID
from evalkit.estimators.triple_difference import TripleDifference
from evalkit.estimators.two_stage import TwoStage
from evalkit.estimators.two_way_fe import TwoWayFE

__all__ = [
    "CallawaySantAnna",
    "EventStudy",
    "ExtendedTWFE",
    "Imputation",
    "Split",
    "Stacked",
    "SunAbraham",
    "SyntheticControl",
    "SyntheticDID",
    "TripleDifference",
    "TwoStage",
    "TwoWayFE",
]
