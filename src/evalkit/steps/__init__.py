"""Steps: each makes a Table from Tables, as a study's `[[step]]` asks. These exports are the registry of the family."""

from evalkit.steps.intensity import Intensity
from evalkit.steps.inventory import Inventory

__all__ = ["Intensity", "Inventory"]
