"""Reporting: evidence → figures with their CSVs, and papers. The only code that draws."""

from evalkit.reporting.exhibits import write_exhibits
from evalkit.reporting.figures import plot, plot_finding
from evalkit.reporting.papers import compile_papers

__all__ = ["compile_papers", "plot", "plot_finding", "write_exhibits"]
