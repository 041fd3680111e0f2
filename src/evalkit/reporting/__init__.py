"""Reporting: evidence → figures with their CSVs, and papers. The only code that draws."""

from evalkit.reporting.csv_files import list_texts, write_csv
from evalkit.reporting.exhibits import list_exhibits, write_exhibits
from evalkit.reporting.figures import plot, plot_finding
from evalkit.reporting.papers import compile_papers

__all__ = ["compile_papers", "list_exhibits", "list_texts", "plot", "plot_finding", "write_csv", "write_exhibits"]
