"""Figures: estimates and findings as pictures, in English or Chinese. Only this module and the two it calls draw."""

from __future__ import annotations

from matplotlib.axes import Axes

from evalkit.catalogue import Labels, checked_language
from evalkit.errors import DataError
from evalkit.reporting._canvas import SMALL, Reader, drawing_style, new_axes, text_ems
from evalkit.reporting._drawn import has_event_times, is_synthetic, path_terms, tabulate_estimate
from evalkit.reporting.estimate_figures import draw_coefficients, draw_event_study
from evalkit.reporting.finding_figures import MAX_DOTS, draw_leave_one_out, draw_placebo_effects, draw_placebo_paths
from evalkit.results.estimation import Estimate
from evalkit.results.finding import Finding

DRAWN_CHECKS = ("PlaceboAssignment", "LeaveOneOut")


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
    """Draw a finding about an estimate, of PlaceboAssignment or LeaveOneOut; DataError for checks without a figure."""
    reader = Reader(checked_language(language), labels or {}, is_synthetic(estimate))
    with drawing_style():
        ax = new_axes(*finding_size(finding, estimate), shown=True) if ax is None else ax
        draw_finding(ax, finding, estimate, reader)
    return ax


def draw_estimate(ax: Axes, estimate: Estimate, reader: Reader) -> None:
    """Draw an estimate on axes."""
    (draw_event_study if has_event_times(estimate) else draw_coefficients)(ax, estimate, reader)


def estimate_size(estimate: Estimate) -> tuple[float, float]:
    """Width and height in inches that suit an estimate."""
    return 5.2, (3.2 if has_event_times(estimate) else 1.3 + 0.3 * len(tabulate_estimate(estimate)))


def draw_finding(ax: Axes, finding: Finding, estimate: Estimate, reader: Reader) -> None:
    """Draw a finding on axes; `estimate` is what it challenges."""
    _require_figure(finding)
    if finding.check == "LeaveOneOut":
        draw_leave_one_out(ax, finding, estimate, reader)
    elif path_terms(estimate):
        draw_placebo_paths(ax, finding, estimate, reader)
    else:
        draw_placebo_effects(ax, finding, estimate, reader)


def finding_size(finding: Finding, estimate: Estimate) -> tuple[float, float]:
    """Width and height in inches that suit a finding."""
    _require_figure(finding)
    if finding.check == "PlaceboAssignment" and path_terms(estimate):
        return 5.2, 3.4
    if len(finding.table) > MAX_DOTS:
        return 3.4, 2.8
    names = finding.table["left_out" if finding.check == "LeaveOneOut" else "treated"]
    longest = max(text_ems(str(name)) for name in names)
    return 3.0 + longest * SMALL / 72, 1.75 + 0.165 * len(finding.table)


def _require_figure(finding: Finding) -> None:
    if finding.check not in DRAWN_CHECKS:
        remedy = f"draw {' or '.join(DRAWN_CHECKS)}"
        raise DataError(f"there is no figure for {finding.check}", where="plot_finding", remedy=remedy)
