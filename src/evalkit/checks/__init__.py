"""Checks: challenges to a specification, each ending in a finding. These exports are the registry."""

from evalkit.checks.factor_uncertainty import FactorUncertainty as FactorUncertainty
from evalkit.checks.group_gaps import GroupGaps as GroupGaps
from evalkit.checks.leave_one_out import LeaveOneOut as LeaveOneOut
from evalkit.checks.placebos import PlaceboAdoption as PlaceboAdoption
from evalkit.checks.placebos import PlaceboAssignment as PlaceboAssignment
from evalkit.checks.power import Power as Power
from evalkit.checks.pre_trends import PreTrends as PreTrends
from evalkit.checks.self_size import SelfSize as SelfSize
from evalkit.checks.sensitivity import Sensitivity as Sensitivity

__all__ = sorted(name for name in dir() if name[0].isupper())
