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
    factors    a set that ships with evalkit, by its name, or a TOML file of the project; several are joined.
    keys       the columns that identify its rows.
    sources    what is counted → column, where columns do not bear the names of emission sources.
    leave_out  emission sources that are knowingly not counted.
    gwp        the report of the IPCC whose warming potentials are taken: "AR5"; by default, those of the set.
    """

    activity: str
    factors: str | Path | tuple[str | Path, ...]
    keys: tuple[str, ...]
    sources: Mapping[str, str] = field(default_factory=dict, hash=False)
    leave_out: tuple[str, ...] = ()
    gwp: str | None = None

    def reads(self) -> tuple[str, ...]:
        """The activity data."""
        return (self.activity,)

    def files(self) -> tuple[Path, ...]:
        """The factor sets that are files of the project."""
        return _own_files(self.factors)

    def run(self, tables: Mapping[str, Table]) -> Table:
        """Multiply. Raises as `evalkit.accounting.inventory` and `factor_set` do."""
        return inventory(
            tables[self.activity],
            factor_set(*_listed(self.factors), gwp=self.gwp),
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
    deflator   a table of indices, where output is money and wanted in constant prices.
    index      whether it is an index of prices ("price") or of output in comparable prices ("volume").
    column     what the column of intensities is called; emissions stand beside it in `<column>_emissions`.
    by_source  emissions of each source as well, in `<column>_emissions_<source>`: what the check FactorUncertainty reads.
    factors    the sets of the inventory, where the uncertainty of factors is wanted: `<column>_sd`, `_low`, `_high`.
    gwp        as of the inventory.
    draws      of Monte Carlo, with their `seed`.
    """

    emissions: str
    output: str
    per: str
    column: str = "cei"
    deflator: str | None = None
    index: str = ""
    by_source: bool = False
    factors: str | Path | tuple[str | Path, ...] = ()
    gwp: str | None = None
    draws: int = 2000
    seed: int = 0

    def reads(self) -> tuple[str, ...]:
        """The inventory, the output and the price index."""
        return tuple(name for name in (self.emissions, self.output, self.deflator) if name is not None)

    def files(self) -> tuple[Path, ...]:
        """The factor sets that are files of the project."""
        return _own_files(self.factors)

    def run(self, tables: Mapping[str, Table]) -> Table:
        """Divide. Raises as `evalkit.accounting.intensity` does."""
        deflator = None if self.deflator is None else tables[self.deflator]
        factors = factor_set(*_listed(self.factors), gwp=self.gwp) if self.factors else None
        return intensity(
            tables[self.emissions],
            output=tables[self.output],
            per=self.per,
            deflator=deflator,
            index=self.index,
            by_source=self.by_source,
            factors=factors,
            draws=self.draws,
            seed=self.seed,
            name=self.column,
        )


def _listed(factors: str | Path | tuple[str | Path, ...]) -> tuple[str | Path, ...]:
    return factors if isinstance(factors, tuple) else (factors,)


def _own_files(factors: str | Path | tuple[str | Path, ...]) -> tuple[Path, ...]:
    return tuple(path for path in map(Path, _listed(factors)) if path.suffix == ".toml")
