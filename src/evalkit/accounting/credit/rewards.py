"""Rewards for reductions: carbon sold in advance, carbon points, and a subsidy for machines that grows with the reduction."""

from __future__ import annotations

import numpy as np

from evalkit.accounting._tables import unit_of, values_of
from evalkit.accounting.credit.stated import (
    amounts,
    choose_from,
    count_missing,
    kind_of,
    part_of_whole,
    refuse_rows,
    result,
    state,
)
from evalkit.errors import DataError
from evalkit.numerics.arrays import Floats
from evalkit.tables.table import Table


def presale_value(
    table: Table,
    *,
    tonnes: str,
    price: float | str,
    source: str = "",
    status: str = "",
    keys: tuple[str, ...] = (),
    name: str = "presale_value",
) -> Table:
    """Multiply tonnes of CO2 sold in advance (碳汇预售) by a price in yuan per tonne: `{name}` in yuan, row by row.

    `tonnes` is a column with a unit of mass (t, 万吨, kg CO2e, …). `price` is a number with its `source` and `status`, or
    the printed "changji_cotton_forward", 28 yuan per tonne: 500,000 t are then 14 million yuan, as the source prints. Its
    other example, 100,000 t that backed 100 million yuan, is 2.8 million at this price: the value is no bound of what was
    lent. Missing stays missing. Raises DataError for negative tonnes, a column without a unit of mass, a price without a
    source.
    """
    figure = state(price, "yuan/t", source, status, name="price")
    value = amounts(table, tonnes, "t") * figure.value
    notes = [figure.note("price"), *count_missing(value, name)]
    return result(table, keys, {name: value}, {name: "yuan"}, notes, [figure], name)


def carbon_points(
    table: Table,
    *,
    reduction: str,
    rate: float,
    per: str,
    source: str,
    status: str,
    keys: tuple[str, ...] = (),
    name: str = "carbon_points",
) -> Table:
    """Count carbon points (碳积分): `rate` points for each kg or t (`per`) of reduction, fractions kept: `{name}`, in points.

    `reduction` is a column with a unit of mass. The rate is no figure that evalkit knows: `source` and `status` are
    required. A reduction below 0 is refused with its rows: write 0 where nothing was reduced. Missing stays missing. Raises
    DataError for a column without a unit of mass and a rate without a source.
    """
    choose_from("per", per, ("kg", "t"))
    figure = state(_number(rate, "rate"), f"points/{per}", source, status, name="rate")
    points = amounts(table, reduction, per) * figure.value
    notes = [figure.note("rate"), *count_missing(points, name)]
    return result(table, keys, {name: points}, {name: "points"}, notes, [figure], name)


def reduction_subsidy(
    table: Table,
    *,
    price: str,
    reduction: str,
    percent_per_unit: float,
    unit: str,
    source: str,
    status: str,
    cap: float | str = "changji_machinery_cap",
    cap_source: str = "",
    cap_status: str = "",
    keys: tuple[str, ...] = (),
    name: str = "subsidy",
) -> Table:
    """Compute a subsidy that pays a part of a machine's price, growing with the accounted reduction up to a cap.

    The part is `percent_per_unit` % of the price for each `unit` (kg or t of CO2, or "%" where the reduction is relative) of
    `reduction`, and at most `cap` %: the printed 50 ("changji_machinery_cap"), or a number with `cap_source` and `cap_status`.
    How fast it grows is printed nowhere: `source` and `status` are required.

    Columns: `keys`, `{name}` (yuan), `{name}_share` (% of the price; exactly the cap where that is reached). The notes
    count the rows at the cap. Missing stays missing. Raises DataError for negative prices and reductions, a price that is
    not in money, a reduction in another unit, and a cap above 100 %.
    """
    choose_from("unit", unit, ("kg", "t", "%"))
    growth = _number(percent_per_unit, "percent_per_unit")
    slope = state(growth, f"% of the price/{unit}", source, status, name="percent_per_unit")
    most = state(cap, "%", cap_source, cap_status, name="cap")
    if most.value > 100:
        raise DataError(f"the cap is {most.value:g} % of the price", where="cap=", remedy="write at most 100")
    if (kind := kind_of(table, price)) != "money":
        where = f"{table.name}, column '{price}'"
        raise DataError(f"'{price}' measures {kind}, not money", where=where, remedy="name the column of prices")
    paid = amounts(table, price, "yuan")
    reached = _percent(table, reduction) if unit == "%" else amounts(table, reduction, unit)
    # A part that the cap equals but for rounding is at the cap: 0.1 · 3 and 0.3 are the same rule.
    share = slope.value * reached
    is_full = share >= most.value * (1 - 1e-12)
    share = np.where(is_full, most.value, share)
    value = paid * share / 100
    notes = [
        slope.note("growth"),
        most.note("cap"),
        f"{int(is_full.sum())} of {len(share)} rows are at the cap",
        *count_missing(value, name),
    ]
    made, units = {name: value, f"{name}_share": share}, {name: "yuan", f"{name}_share": "%"}
    return result(table, keys, made, units, notes, [slope, most], name)


def _percent(table: Table, column: str) -> Floats:
    """Return a reduction in %, from a column in % or in shares; not above 100."""
    values = values_of(table, column) * part_of_whole(unit_of(table, column), f"{table.name}, column '{column}'")
    refuse_rows(table, values < 0, column, f"'{column}' is negative", "write 0 where nothing was reduced")
    refuse_rows(table, values > 100, column, f"'{column}' is above 100 %", "correct these rows, or the unit")
    return values


def _number(given: float, name: str) -> float:
    """Return a number; raise DataError for text, as evalkit has no figure for it."""
    if isinstance(given, str):
        raise DataError(
            f"{name}='{given}' is text",
            where=f"{name}=",
            remedy="no such figure is printed: write a number and its source",
        )
    return given
