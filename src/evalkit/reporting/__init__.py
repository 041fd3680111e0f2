"""Reporting: evidence to tables, figures and papers. The only code that draws; exported classes are the registry of writers."""

from evalkit.reporting.figures import Figures as Figures
from evalkit.reporting.figures import plot as plot
from evalkit.reporting.figures import plot_finding as plot_finding
from evalkit.reporting.papers import Papers as Papers
from evalkit.reporting.tables import Tables as Tables

__all__ = sorted(["plot", "plot_finding", *(name for name in dir() if name[0].isupper())])
