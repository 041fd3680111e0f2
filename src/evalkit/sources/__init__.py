"""Sources: each reads one kind of external file into a Table. What is exported here is the registry of the family."""

from evalkit.sources.delimited import Delimited
from evalkit.sources.ledger.source import LoanLedger
from evalkit.sources.yearbook.source import Yearbook

__all__ = ["Delimited", "LoanLedger", "Yearbook"]
