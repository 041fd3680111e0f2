"""Settling: rules of compensation as dated schedules, and one engine that evaluates them on monitored values."""

from evalkit.accounting.settling.engine import settle
from evalkit.accounting.settling.reading import schedule
from evalkit.accounting.settling.rules import PrintedFigure, Schedule

__all__ = ["PrintedFigure", "Schedule", "schedule", "settle"]
