"""Ledger: a bank's list of loans."""
