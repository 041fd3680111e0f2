"""Sources: each reads one kind of external file into a Table. What is exported here is the registry of the family."""

from evalkit.sources.delimited import Delimited

__all__ = ["Delimited"]
