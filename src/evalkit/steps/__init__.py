"""Steps: each makes a Table from Tables, as a study's `[[step]]` asks. These exports are the registry of the family."""

from evalkit.steps.emissions import Intensity as Intensity
from evalkit.steps.emissions import Inventory as Inventory
from evalkit.steps.widening import Widen as Widen

__all__ = sorted(name for name in dir() if name[0].isupper())
