"""Reporting: evidence to tables, figures and papers. The only code that draws; exported classes are the registry of writers."""

from evalkit.reporting.exhibits import Figures
from evalkit.reporting.figures import plot, plot_finding
from evalkit.reporting.papers import Papers
from evalkit.reporting.tables import Tables

__all__ = ["Figures", "Papers", "Tables", "plot", "plot_finding"]
