"""What is said of comparisons that cannot be made, or that rest on little: by cohort and period."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from evalkit.catalogue import Message, message
from evalkit.estimators._arrangement import Arrangement, Estimated
from evalkit.estimators._drdid import Method, Reason
from evalkit.estimators._group_time import Cell, Timeline

_LISTED = 12


@dataclass
class CellNotes:
    """Notes under construction; `label` names a position on the time axis, `covariates` are the design's."""

    timeline: Timeline
    label: Callable[[float], str]
    covariates: tuple[str, ...]
    failed: dict[Reason, list[Cell]] = field(default_factory=dict)
    single: list[Cell] = field(default_factory=list)
    trimmed: list[tuple[Cell, int]] = field(default_factory=list)
    collinear: dict[str, list[Cell]] = field(default_factory=dict)

    def estimate(self, arrangement: Arrangement, cells: Iterable[Cell], method: Method) -> list[Estimated]:
        """Estimate cells; those that cannot be are kept for the notes."""
        done = []
        for cell in cells:
            found = arrangement.compare(cell, method)
            if isinstance(found, str):
                self.failed.setdefault(found, []).append(cell)
                continue
            done.append(found)
            if found.fewest <= 1:
                self.single.append(cell)
            if found.effect.trimmed:
                self.trimmed.append((cell, found.effect.trimmed))
            for j in found.collinear:
                self.collinear.setdefault(self.covariates[j], []).append(cell)
        return done

    def messages(self) -> tuple[Message, ...]:
        """Say it all, each kind once."""
        said = [
            message(f"note.cells_{reason}", number=len(cells), listed=self._list(cells))
            for reason, cells in sorted(self.failed.items())
        ]
        if self.trimmed:
            cells = [cell for cell, _ in self.trimmed]
            rows = sum(number for _, number in self.trimmed)
            said.append(message("note.cells_trimmed", rows=rows, number=len(cells), listed=self._list(cells)))
        if self.single:
            said.append(message("note.cells_single", number=len(self.single), listed=self._list(self.single)))
        for column, cells in self.collinear.items():
            said.append(message("note.cells_collinear", column=column, number=len(cells), listed=self._list(cells)))
        return tuple(said)

    def cohort(self, code: int) -> str:
        """Name a cohort by its date of adoption."""
        return self.label(float(self.timeline.cohorts[code]))

    def period(self, code: int) -> str:
        """Name a period."""
        return self.label(float(self.timeline.periods[code]))

    def _list(self, cells: list[Cell]) -> str:
        """Write cells as "2004: 2006, 2007; 2006: 2007", the first few of them."""
        by_cohort: dict[int, list[str]] = {}
        for cell in cells[:_LISTED]:
            by_cohort.setdefault(cell.cohort, []).append(self.period(cell.period))
        listed = [f"{self.cohort(cohort)}: {', '.join(periods)}" for cohort, periods in by_cohort.items()]
        return "; ".join(listed) + ("; …" if len(cells) > _LISTED else "")
