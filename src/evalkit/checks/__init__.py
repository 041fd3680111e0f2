"""Checks: challenges to a specification, each ending in a finding. These exports are the registry."""

from evalkit.checks.group_gaps import GroupGaps
from evalkit.checks.leave_one_out import LeaveOneOut
from evalkit.checks.placebos import PlaceboAdoption, PlaceboAssignment
from evalkit.checks.power import Power
from evalkit.checks.pre_trends import PreTrends
from evalkit.checks.self_size import SelfSize
from evalkit.checks.sensitivity import Sensitivity

__all__ = [
    "GroupGaps",
    "LeaveOneOut",
    "PlaceboAdoption",
    "PlaceboAssignment",
    "Power",
    "PreTrends",
    "SelfSize",
    "Sensitivity",
]
