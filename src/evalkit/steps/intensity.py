"""Intensity: the emissions of an inventory per unit of output."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from evalkit.accounting import intensity
from evalkit.tables.table import Table


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
