"""Auditing: numbers of yearbooks against their totals, their other years and their other volumes."""

from evalkit.auditing.comparison import audit, note_audit

__all__ = ["audit", "note_audit"]
