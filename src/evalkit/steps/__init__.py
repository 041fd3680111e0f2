"""Steps: each makes a Table from Tables, as a study's `[[step]]` asks. These exports are the registry of the family."""

from evalkit.steps.credit import CarbonGrade as CarbonGrade
from evalkit.steps.credit import CarbonPoints as CarbonPoints
from evalkit.steps.credit import PresaleValue as PresaleValue
from evalkit.steps.credit import RateDiscount as RateDiscount
from evalkit.steps.credit import ReductionSubsidy as ReductionSubsidy
from evalkit.steps.emissions import Intensity as Intensity
from evalkit.steps.emissions import Inventory as Inventory
from evalkit.steps.settling import Settle as Settle
from evalkit.steps.widening import Widen as Widen

__all__ = sorted(name for name in dir() if name[0].isupper())
