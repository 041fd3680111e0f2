"""Credit and other rewards that are tied to carbon accounts: a step for each verb of `evalkit.accounting` that computes one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from evalkit.accounting import carbon_grade, carbon_points, presale_value, rate_discount, reduction_subsidy
from evalkit.tables.table import Table


@dataclass(frozen=True, kw_only=True)
class _OfOneTable:
    """What these steps share: they read one table and no file, and put their columns beside its keys (all columns, if none)."""

    of: str
    keys: tuple[str, ...] = ()

    def reads(self) -> tuple[str, ...]:
        """The one table."""
        return (self.of,)

    def files(self) -> tuple[Path, ...]:
        """None."""
        return ()


@dataclass(frozen=True, kw_only=True)
class RateDiscount(_OfOneTable):
    """By how much a loan gets cheaper for a reduction of emissions: see `evalkit.accounting.rate_discount`.

    of           the table with reductions.
    reading      "points" (0.1 percentage point for each 1 %) or "relative" (0.1 % of the rate).
    reduction    its column of reductions, in "%" or "share".
    rate         its column of rates; "relative" needs it.
    per_percent  the 0.1 of the printed rule, or a number with its `source` and `status`.
    column       what the column of discounts is called, in bp; the rate after it stands in `<column>_rate`.
    """

    reading: Literal["points", "relative"]
    reduction: str = "reduction"
    rate: str | None = None
    per_percent: float | str = "changji_rate_discount"
    source: str = ""
    status: str = ""
    column: str = "rate_discount"

    def run(self, tables: Mapping[str, Table]) -> Table:
        """Apply the rule. Raises as `evalkit.accounting.rate_discount` does."""
        return rate_discount(
            tables[self.of],
            reading=self.reading,
            column=self.reduction,
            rate=self.rate,
            per_percent=self.per_percent,
            source=self.source,
            status=self.status,
            keys=self.keys,
            name=self.column,
        )


@dataclass(frozen=True, kw_only=True)
class PresaleValue(_OfOneTable):
    """What carbon sold in advance is worth: see `evalkit.accounting.presale_value`.

    of      the table with tonnes.
    tonnes  its column, with a unit of mass.
    price   yuan per tonne, with its `source` and `status`; or "changji_cotton_forward".
    column  what the column of values is called, in yuan.
    """

    tonnes: str
    price: float | str
    source: str = ""
    status: str = ""
    column: str = "presale_value"

    def run(self, tables: Mapping[str, Table]) -> Table:
        """Multiply. Raises as `evalkit.accounting.presale_value` does."""
        return presale_value(
            tables[self.of],
            tonnes=self.tonnes,
            price=self.price,
            source=self.source,
            status=self.status,
            keys=self.keys,
            name=self.column,
        )


@dataclass(frozen=True, kw_only=True)
class CarbonPoints(_OfOneTable):
    """Points for reductions: see `evalkit.accounting.carbon_points`.

    of         the table with reductions.
    reduction  its column, with a unit of mass.
    rate       points for each `per` ("kg" or "t"), with its `source` and `status`.
    column     what the column of points is called.
    """

    reduction: str
    rate: float
    per: Literal["kg", "t"]
    source: str
    status: str
    column: str = "carbon_points"

    def run(self, tables: Mapping[str, Table]) -> Table:
        """Count. Raises as `evalkit.accounting.carbon_points` does."""
        return carbon_points(
            tables[self.of],
            reduction=self.reduction,
            rate=self.rate,
            per=self.per,
            source=self.source,
            status=self.status,
            keys=self.keys,
            name=self.column,
        )


@dataclass(frozen=True, kw_only=True)
class ReductionSubsidy(_OfOneTable):
    """A part of the price of a machine, growing with the reduction up to a cap: see `evalkit.accounting.reduction_subsidy`.

    of                the table with prices and reductions.
    price, reduction  its columns.
    percent_per_unit  % of the price for each `unit` ("kg", "t" or "%") of reduction, with its `source` and `status`.
    cap               the most, in % of the price: the printed one, or a number with `cap_source` and `cap_status`.
    column            what the column of subsidies is called, in yuan; their part of the price stands in `<column>_share`.
    """

    price: str
    reduction: str
    percent_per_unit: float
    unit: Literal["kg", "t", "%"]
    source: str
    status: str
    cap: float | str = "changji_machinery_cap"
    cap_source: str = ""
    cap_status: str = ""
    column: str = "subsidy"

    def run(self, tables: Mapping[str, Table]) -> Table:
        """Compute. Raises as `evalkit.accounting.reduction_subsidy` does."""
        return reduction_subsidy(
            tables[self.of],
            price=self.price,
            reduction=self.reduction,
            percent_per_unit=self.percent_per_unit,
            unit=self.unit,
            source=self.source,
            status=self.status,
            cap=self.cap,
            cap_source=self.cap_source,
            cap_status=self.cap_status,
            keys=self.keys,
            name=self.column,
        )


@dataclass(frozen=True, kw_only=True)
class CarbonGrade(_OfOneTable):
    """Grades (碳效码) by emissions per unit of output and fixed thresholds: see `evalkit.accounting.carbon_grade`.

    of                 the table with emissions and output.
    footprint, output  its columns; `stage` that of the stage of production, where thresholds differ by it.
    unit               the unit of the thresholds, such as "kg CO2e/kg".
    thresholds         ascending numbers, or stage → numbers; quantiles are refused. Their `source` and `status` are required.
    grades             one more than thresholds, best first.
    on_threshold       the grade of a value on a threshold: "better" or "worse".
    column             the start of the names `<column>_intensity` and `<column>_grade`.
    """

    footprint: str
    output: str
    unit: str
    grades: tuple[str, ...]
    on_threshold: Literal["better", "worse"]
    source: str
    status: str
    thresholds: tuple[float, ...] | Mapping[str, tuple[float, ...]] | str | int = field(hash=False)
    stage: str | None = None
    column: str = "carbon"

    def run(self, tables: Mapping[str, Table]) -> Table:
        """Grade. Raises as `evalkit.accounting.carbon_grade` does."""
        return carbon_grade(
            tables[self.of],
            footprint=self.footprint,
            output=self.output,
            unit=self.unit,
            thresholds=self.thresholds,
            grades=self.grades,
            on_threshold=self.on_threshold,
            source=self.source,
            status=self.status,
            stage=self.stage,
            keys=self.keys,
            name=self.column,
        )
