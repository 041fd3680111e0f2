"""The experiments, in the order of the page."""

from __future__ import annotations

from montecarlo import cohorts, farms, gaps, grid, paths, prefectures, rows, serial, turning, unequal
from montecarlo.cells import Experiment

EXPERIMENTS: dict[str, Experiment] = {
    one.name: one
    for one in (
        grid.EXPERIMENT,
        serial.EXPERIMENT,
        rows.EXPERIMENT,
        unequal.EXPERIMENT,
        cohorts.EXPERIMENT,
        cohorts.ALONE_EXPERIMENT,
        prefectures.EXPERIMENT,
        paths.EXPERIMENT,
        farms.EXPERIMENT,
        gaps.EXPERIMENT,
        turning.EXPERIMENT,
    )
}
