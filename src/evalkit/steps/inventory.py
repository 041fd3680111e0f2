"""Inventory: a source's activity data times the emission factors of a set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from evalkit.accounting import factor_set, inventory
from evalkit.tables.table import Table


@dataclass(frozen=True, kw_only=True)
class Inventory:
    """Emissions by row and emission source: see `evalkit.accounting.inventory`.

    activity   the table of activity data.
    factors    a set that ships with evalkit, by its name, or a TOML file of the project.
    keys       the columns that identify its rows.
    sources    emission source → column, where columns do not bear the names of emission sources.
    leave_out  emission sources that are knowingly not counted.
    """

    activity: str
    factors: str | Path
    keys: tuple[str, ...]
    sources: Mapping[str, str] = field(default_factory=dict, hash=False)
    leave_out: tuple[str, ...] = ()

    def reads(self) -> tuple[str, ...]:
        """The activity data."""
        return (self.activity,)

    def files(self) -> tuple[Path, ...]:
        """The factor set, where it is a file of the project."""
        path = Path(self.factors)
        return (path,) if path.suffix == ".toml" else ()

    def run(self, tables: Mapping[str, Table]) -> Table:
        """Multiply. Raises as `evalkit.accounting.inventory` and `factor_set` do."""
        return inventory(
            tables[self.activity],
            factor_set(self.factors),
            keys=self.keys,
            sources=self.sources or None,
            leave_out=self.leave_out,
        )
