"""Exhibits: each figure of a study in both languages, for screen and paper, beside the CSV it was drawn from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes

from evalkit.catalogue import LANGUAGES
from evalkit.reporting._canvas import Reader, drawing_style, new_axes
from evalkit.reporting._drawn import has_event_times, tabulate_estimate, tabulate_finding
from evalkit.reporting.csv_files import write_csv
from evalkit.reporting.figures import DRAWN_CHECKS, draw_estimate, draw_finding, estimate_size, finding_size
from evalkit.results.estimation import Estimate
from evalkit.results.evidence import Evidence
from evalkit.results.finding import Finding

KINDS = {"PlaceboAssignment": "placebo_assignment", "LeaveOneOut": "leave_one_out"}


@dataclass(frozen=True)
class Exhibit:
    """One figure: file name without language and ending, numbers drawn, size in inches, and how to draw it."""

    name: str
    table: pd.DataFrame
    size: tuple[float, float]
    draw: Callable[[Axes, Reader], None]


def list_exhibits(evidence: Evidence) -> Iterator[Exhibit]:
    """Name the figures of a study: every estimate with event times, placebo assignment and leave-one-out."""
    seen: Counter[str] = Counter()
    for name, one in evidence.estimates.items():
        if has_event_times(one):
            table, size = tabulate_estimate(one), estimate_size(one)
            yield Exhibit(f"{name}_event_study", table, size, partial(_draw_estimate, one))
    for on, finding in evidence.findings:
        if finding.check not in DRAWN_CHECKS:
            continue
        one = evidence.estimates[on]
        name = f"{on}_{KINDS[finding.check]}"
        seen[name] += 1
        yield Exhibit(
            name if seen[name] == 1 else f"{name}_{seen[name]}",
            tabulate_finding(finding, one),
            finding_size(finding, one),
            partial(_draw_finding, finding, one),
        )


def write_exhibits(evidence: Evidence, folder: Path) -> list[Path]:
    """Write every exhibit into a folder and return the paths.

    `<specification>_<kind>_<language>.png` (300 dpi, with title) and `.svg` (for papers, whose caption is the title),
    and one `<specification>_<kind>.csv` with the numbers drawn (UTF-8, full precision, empty = missing). Synthetic data
    are named in every title, also in the .svg, and in a column of the CSV. The same evidence gives the same bytes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for exhibit in list_exhibits(evidence):
        path = folder / f"{exhibit.name}.csv"
        write_csv(exhibit.table.assign(synthetic=evidence.synthetic), path)
        written.append(path)
        for language in LANGUAGES:
            for ending in ("png", "svg"):
                reader = Reader(language, evidence.labels, evidence.synthetic, titled=ending == "png")
                path = folder / f"{exhibit.name}_{language}.{ending}"
                _save(exhibit, reader, path)
                written.append(path)
    return written


def _draw_estimate(estimate: Estimate, ax: Axes, reader: Reader) -> None:
    draw_estimate(ax, estimate, reader)


def _draw_finding(finding: Finding, estimate: Estimate, ax: Axes, reader: Reader) -> None:
    draw_finding(ax, finding, estimate, reader)


def _save(exhibit: Exhibit, reader: Reader, path: Path) -> None:
    metadata = {"Software": None} if path.suffix == ".png" else {"Date": None, "Creator": None}
    with drawing_style():
        ax = new_axes(*exhibit.size, shown=False)
        exhibit.draw(ax, reader)
        figure = ax.get_figure(root=True)
        assert figure is not None  # new_axes made it
        figure.savefig(path, metadata=metadata)
