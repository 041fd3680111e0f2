"""Figures: estimates and findings as pictures in English or Chinese, alone or all those of a study beside their CSVs."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes

from evalkit.catalogue import LANGUAGES, Labels, checked_language
from evalkit.reporting._canvas import Reader, drawing_style, new_axes
from evalkit.reporting.estimate_figures import (
    draw_coefficients,
    draw_event_study,
    has_event_times,
    is_synthetic,
    tabulate_estimate,
)
from evalkit.reporting.finding_figures import EXHIBITS, Exhibit
from evalkit.reporting.tables import write_csv
from evalkit.results.estimation import Estimate
from evalkit.results.evidence import Desk, Evidence
from evalkit.results.filing import file_inside
from evalkit.results.finding import Finding
from evalkit.results.withholding import shows_persons


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


@dataclass(frozen=True)
class Picture:
    """One figure: file name without language and ending, numbers drawn, size in inches, and how to draw it."""

    name: str
    table: pd.DataFrame
    size: tuple[float, float]
    draw: Callable[[Axes, Reader], None]


def list_pictures(evidence: Evidence) -> Iterator[Picture]:
    """Name the figures of a study: every estimate with event times, and every finding that shows no persons."""
    seen: Counter[str] = Counter()
    for name, one in evidence.estimates.items():
        if has_event_times(one):
            table, size = tabulate_estimate(one), estimate_size(one)
            yield Picture(f"{name}_event_study", table, size, partial(_draw_estimate, one))
    for on, finding in evidence.findings:
        one, exhibit = evidence.estimates[on], EXHIBITS[finding.chart.kind]
        if shows_persons(finding, one.spec):
            continue
        name = f"{on}_{_snake(finding.check)}"
        seen[name] += 1
        yield Picture(
            name if seen[name] == 1 else f"{name}_{seen[name]}",
            exhibit.tabulate(finding, one),
            exhibit.size(finding, one),
            partial(_draw_finding, exhibit, finding, one),
        )


@dataclass(frozen=True)
class Figures:
    """Draw every figure in both languages, beside the CSV of its numbers.

    `<specification>_<kind>_<language>.png` (300 dpi, with title) and `.svg` (for papers, whose caption is the title),
    and one `<specification>_<kind>.csv` with the numbers drawn (UTF-8, full precision, empty = missing). Synthetic data
    are named in every title, also in the .svg, and in a column of the CSV. The same evidence gives the same bytes.
    """

    def write(self, evidence: Evidence, desk: Desk) -> tuple[Path, ...]:
        """Write into `figures`."""
        written = []
        for picture in list_pictures(evidence):
            path = file_inside(desk.figures, f"{picture.name}.csv")
            write_csv(picture.table.assign(synthetic=evidence.synthetic), path)
            written.append(path)
            for language in LANGUAGES:
                for ending in ("png", "svg"):
                    reader = Reader(language, evidence.labels, evidence.synthetic, titled=ending == "png")
                    path = file_inside(desk.figures, f"{picture.name}_{language}.{ending}")
                    _save(picture, reader, path)
                    written.append(path)
        return tuple(written)


def _snake(name: str) -> str:
    """Write the name of a check as files are named: "LeaveOneOut" as "leave_one_out"."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def _draw_estimate(estimate: Estimate, ax: Axes, reader: Reader) -> None:
    draw_estimate(ax, estimate, reader)


def _draw_finding(exhibit: Exhibit, finding: Finding, estimate: Estimate, ax: Axes, reader: Reader) -> None:
    exhibit.draw(ax, finding, estimate, reader)


def _save(picture: Picture, reader: Reader, path: Path) -> None:
    metadata = {"Software": None} if path.suffix == ".png" else {"Date": None, "Creator": None}
    with drawing_style():
        ax = new_axes(*picture.size, shown=False)
        picture.draw(ax, reader)
        figure = ax.get_figure(root=True)
        assert figure is not None  # new_axes made it
        figure.savefig(path, metadata=metadata)
