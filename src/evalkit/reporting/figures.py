"""Figures: estimates and findings as pictures, in English or Chinese. Only this module and those it calls draw."""

from __future__ import annotations

from matplotlib.axes import Axes

from evalkit.catalogue import Labels, checked_language
from evalkit.reporting._canvas import Reader, drawing_style, new_axes
from evalkit.reporting._drawn import has_event_times, is_synthetic, tabulate_estimate
from evalkit.reporting.estimate_figures import draw_coefficients, draw_event_study
from evalkit.reporting.finding_figures import EXHIBITS
from evalkit.results.estimation import Estimate
from evalkit.results.finding import Finding


def plot(estimate: Estimate, *, ax: Axes | None = None, language: str = "en", labels: Labels | None = None) -> Axes:
    """Draw an estimate: an event study where its terms have event times, otherwise one dot for each effect.

    Intervals are drawn only where the design supports them; where it does not, the note below the figure says so.
    `labels` gives columns and subgroups their readers' words: name → language → words.
    """
    reader = Reader(checked_language(language), labels or {}, is_synthetic(estimate))
    with drawing_style():
        ax = new_axes(*estimate_size(estimate), shown=True) if ax is None else ax
        draw_estimate(ax, estimate, reader)
    return ax


def plot_finding(
    finding: Finding, estimate: Estimate, *, ax: Axes | None = None, language: str = "en", labels: Labels | None = None
) -> Axes:
    """Draw a finding about an estimate, as its chart says."""
    exhibit = EXHIBITS[finding.chart.kind]
    reader = Reader(checked_language(language), labels or {}, is_synthetic(estimate))
    with drawing_style():
        ax = new_axes(*exhibit.size(finding, estimate), shown=True) if ax is None else ax
        exhibit.draw(ax, finding, estimate, reader)
    return ax


def draw_estimate(ax: Axes, estimate: Estimate, reader: Reader) -> None:
    """Draw an estimate on axes."""
    (draw_event_study if has_event_times(estimate) else draw_coefficients)(ax, estimate, reader)


def estimate_size(estimate: Estimate) -> tuple[float, float]:
    """Width and height in inches that suit an estimate."""
    return 5.2, (3.2 if has_event_times(estimate) else 1.3 + 0.3 * len(tabulate_estimate(estimate)))
