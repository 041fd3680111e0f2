"""Results as a table: one row for each cell and method, written as cells are finished."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from montecarlo.cells import Cell, Tally, band, verdict

COLUMNS = "experiment cell measure method draws judged events rate error low high verdict supported why".split()


@dataclass(frozen=True)
class Result:
    """How one method fared in one cell: of `judged` draws of `draws`, `events` reject a true null or miss the truth.

    `supported` counts those in which the method did not call itself unsupported; `why` is its reason, or that of a refusal.
    """

    experiment: str
    cell: str
    measure: str
    method: str
    draws: int
    judged: int
    events: int
    supported: int
    why: str

    @property
    def settings(self) -> dict[str, str]:
        return dict(part.split("=", 1) for part in self.cell.split("; "))

    @property
    def rate(self) -> float:
        return self.events / self.judged if self.judged else math.nan

    @property
    def error(self) -> float:
        """Monte Carlo standard error."""
        return math.sqrt(self.rate * (1 - self.rate) / self.judged) if self.judged else math.nan

    @property
    def verdict(self) -> str:
        """Inside, above or below the 99.9 % band around .05; "refuses" where no draw was judged."""
        return verdict(self.events, self.judged) if self.judged else "refuses"

    def row(self) -> dict[str, str]:
        """Write as text, the same in every run."""
        low, high = band(self.judged) if self.judged else (math.nan, math.nan)
        shares = {"rate": self.rate, "error": self.error, "low": low, "high": high}
        whole = {name: str(getattr(self, name)) for name in COLUMNS if name not in shares}
        return whole | {name: "" if math.isnan(value) else f"{value:.4f}" for name, value in shares.items()}


def result(one: Cell, method: str, tally: Tally) -> Result:
    """Name what a tally counted."""
    counted = tally.measure, method, tally.asked, tally.judged, tally.events, tally.supported, tally.why
    return Result(one.experiment, one.label, *counted)


def write(path: Path, results: Iterable[Result]) -> None:
    """Write all results, in the order given."""
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        table.writeheader()
        table.writerows(one.row() for one in results)


def append(path: Path, results: Iterable[Result]) -> None:
    """Add results at the end."""
    with path.open("a", encoding="utf-8", newline="") as file:
        csv.DictWriter(file, COLUMNS, lineterminator="\n").writerows(one.row() for one in results)


def read(path: Path) -> list[Result]:
    """Read results again."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [
        Result(
            experiment=row["experiment"],
            cell=row["cell"],
            measure=row["measure"],
            method=row["method"],
            draws=int(row["draws"]),
            judged=int(row["judged"]),
            events=int(row["events"]),
            supported=int(row["supported"]),
            why=row["why"],
        )
        for row in rows
    ]
