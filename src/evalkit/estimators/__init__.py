"""Estimators: a panel and a design in, effects with their influence out. These exports are the registry."""

from evalkit.estimators.callaway_santanna import CallawaySantAnna as CallawaySantAnna
from evalkit.estimators.event_study import EventStudy as EventStudy
from evalkit.estimators.extended_twfe import ExtendedTWFE as ExtendedTWFE
from evalkit.estimators.imputation import Imputation as Imputation
from evalkit.estimators.split import Split as Split
from evalkit.estimators.stacked import Stacked as Stacked
from evalkit.estimators.sun_abraham import SunAbraham as SunAbraham
from evalkit.estimators.synthetic import SyntheticControl as SyntheticControl
from evalkit.estimators.synthetic import SyntheticDID as SyntheticDID
from evalkit.estimators.triple_difference import TripleDifference as TripleDifference
from evalkit.estimators.two_stage import TwoStage as TwoStage
from evalkit.estimators.two_way_fe import TwoWayFE as TwoWayFE

__all__ = sorted(name for name in dir() if name[0].isupper())
