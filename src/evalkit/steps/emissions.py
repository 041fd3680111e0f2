"""Emissions: a step from activity data to an inventory, and one from an inventory to emissions per unit of output."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from evalkit.accounting import factor_set, intensity, inventory
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


@dataclass(frozen=True, kw_only=True)
class Intensity:
    """Emissions per unit of output, by key of an inventory: see `evalkit.accounting.intensity`.

    emissions  an inventory: the name of a step before this one.
    output     the table with output.
    per        its column.
    deflator   a table of price indices, where output is money and wanted in constant prices.
    column     what the column of intensities is called; emissions stand beside it in `<column>_emissions`.
    """

    emissions: str
    output: str
    per: str
    column: str = "cei"
    deflator: str | None = None

    def reads(self) -> tuple[str, ...]:
        """The inventory, the output and the price index."""
        return tuple(name for name in (self.emissions, self.output, self.deflator) if name is not None)

    def files(self) -> tuple[Path, ...]:
        """None."""
        return ()

    def run(self, tables: Mapping[str, Table]) -> Table:
        """Divide. Raises as `evalkit.accounting.intensity` does."""
        deflator = None if self.deflator is None else tables[self.deflator]
        return intensity(
            tables[self.emissions], output=tables[self.output], per=self.per, deflator=deflator, name=self.column
        )
