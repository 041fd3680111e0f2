"""Exhibits: each figure of a study in both languages, for screen and paper, beside the CSV it was drawn from."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes

from evalkit.catalogue import LANGUAGES
from evalkit.reporting._canvas import Reader, drawing_style, new_axes
from evalkit.reporting._drawn import has_event_times, tabulate_estimate
from evalkit.reporting.csv_files import write_csv
from evalkit.reporting.figures import draw_estimate, estimate_size
from evalkit.reporting.finding_figures import EXHIBITS, Exhibit
from evalkit.results.estimation import Estimate
from evalkit.results.evidence import Desk, Evidence
from evalkit.results.filing import file_inside
from evalkit.results.finding import Finding


@dataclass(frozen=True)
class Picture:
    """One figure: file name without language and ending, numbers drawn, size in inches, and how to draw it."""

    name: str
    table: pd.DataFrame
    size: tuple[float, float]
    draw: Callable[[Axes, Reader], None]


def list_pictures(evidence: Evidence) -> Iterator[Picture]:
    """Name the figures of a study: every estimate with event times, and every finding."""
    seen: Counter[str] = Counter()
    for name, one in evidence.estimates.items():
        if has_event_times(one):
            table, size = tabulate_estimate(one), estimate_size(one)
            yield Picture(f"{name}_event_study", table, size, partial(_draw_estimate, one))
    for on, finding in evidence.findings:
        one, exhibit = evidence.estimates[on], EXHIBITS[finding.chart.kind]
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
