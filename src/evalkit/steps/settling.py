"""Settle: a step from monitored values to payments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from evalkit.accounting import schedule, settle
from evalkit.tables.table import Table


@dataclass(frozen=True, kw_only=True)
class Settle:
    """Who pays whom how much by a schedule: see `evalkit.accounting.settle`.

    of            the table of monitored values.
    by            a schedule that ships with evalkit, by its name, or a TOML file of the project.
    period        its column of periods.
    keys          the other columns that identify a settlement, such as a city.
    section       its column of sections, where the schedule names sections.
    given         figures that the schedule leaves open, by name.
    given_source  where these are from.
    """

    of: str
    by: str | Path
    period: str = "year"
    keys: tuple[str, ...] = ()
    section: str | None = None
    given: Mapping[str, float] = field(default_factory=dict, hash=False)
    given_source: str = ""

    def reads(self) -> tuple[str, ...]:
        """The monitored values."""
        return (self.of,)

    def files(self) -> tuple[Path, ...]:
        """The schedule, where it is a file of the project."""
        path = Path(self.by)
        return (path,) if path.suffix == ".toml" else ()

    def run(self, tables: Mapping[str, Table]) -> Table:
        """Settle. Raises as `evalkit.accounting.settle` and `schedule` do."""
        return settle(
            tables[self.of],
            schedule(self.by),
            period=self.period,
            keys=self.keys,
            section=self.section,
            given=self.given,
            given_source=self.given_source,
        )
