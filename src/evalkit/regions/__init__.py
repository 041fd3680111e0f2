"""Regions: names to codes by year, from dated lists, and why a key has no match."""

from evalkit.regions.codes import Area
from evalkit.regions.names import resolve, resolve_column
from evalkit.regions.registry import Lineage, Region, Succession, lineage

__all__ = ["Area", "Lineage", "Region", "Succession", "lineage", "resolve", "resolve_column"]
