"""Sources: each reads one kind of external file into a Table. What is exported here is the registry of the family."""

from evalkit.sources.delimited import Delimited
from evalkit.sources.loan_ledger import LoanLedger
from evalkit.sources.yearbook import Yearbook

__all__ = ["Delimited", "LoanLedger", "Yearbook"]
