"""Sources: each reads one kind of external file into a Table. What is exported here is the registry of the family."""

from evalkit.sources.delimited import Delimited as Delimited
from evalkit.sources.ledger.source import LoanLedger as LoanLedger
from evalkit.sources.yearbook.source import Yearbook as Yearbook

__all__ = sorted(name for name in dir() if name[0].isupper())
