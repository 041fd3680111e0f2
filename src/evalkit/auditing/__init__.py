"""Auditing: numbers of yearbooks against their totals, their other years and their other volumes."""

from evalkit.auditing.comparison import Audit, audit, note_audit
from evalkit.auditing.page import AuditPage

__all__ = ["Audit", "AuditPage", "audit", "note_audit"]
