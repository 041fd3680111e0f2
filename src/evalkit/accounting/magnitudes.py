"""Magnitudes: what is used per sown hectare against what is plausible, to catch wrong units."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from evalkit.accounting._tables import located, unit_of, values_of
from evalkit.accounting.vocabulary import Plausible, vocabulary
from evalkit.errors import DataError
from evalkit.tables.table import Table
from evalkit.tables.units import convert, kind_of_unit

_TRIED = {
    "mass": ("kg", "t", "g", "斤", "万吨"),
    "volume": ("L", "m3", "mL"),
    "area": ("ha", "mu", "千公顷", "万亩", "km2", "m2"),
}


def check_magnitudes(activity: Table, used: Mapping[str, str], area: str) -> list[str]:
    """Compare each activity (name → column) per sown hectare with what is plausible; say what was not compared.

    `area` is the column of the sown area. Only rows in which both are positive count. Raises DataError when a median lies
    outside the range, naming the unit that would fit, and when a single row lies far above it.
    """
    if area not in activity.frame.columns:
        return ["magnitudes could not be checked, because the table has no sown_area"]
    hectares = convert(values_of(activity, area), unit_of(activity, area), "ha", where=activity.name)
    unchecked = []
    for source, column in used.items():
        if column == area:
            continue
        unit, values = unit_of(activity, column), values_of(activity, column)
        plausible = _plausible(source, unit, activity.name)
        both = (values > 0) & (hectares > 0)
        if plausible is None or not both.any():
            unchecked.append(source)
            continue
        per_hectare = np.full(len(values), np.nan)
        per_hectare[both] = convert(values[both], unit, plausible.unit, where=activity.name) / hectares[both]
        median = float(np.nanmedian(per_hectare))
        if not plausible.low <= median <= plausible.high:
            raise DataError(
                f"column '{column}' is declared in '{unit}', so that its median is {_written(median)} {plausible.unit} per sown "
                f"hectare; plausible is {plausible.low:g} to {plausible.high:g} ({plausible.source})",
                where=f"{activity.name}, column '{column}'",
                remedy=_fitting_units(activity, column, area, median, plausible),
            )
        high = per_hectare > plausible.highest
        if high.any():
            raise DataError(
                f"{_written(float(np.nanmax(per_hectare)))} {plausible.unit} of {source} per sown hectare is not plausible "
                f"(at most {plausible.highest:g}; {plausible.source})",
                where=located(activity, high, column),
                remedy=f"correct '{column}' or '{area}' in these rows, or leave them out",
            )
    return [f"magnitudes were not checked for {', '.join(unchecked)}"] if unchecked else []


def _plausible(source: str, unit: str, where: str) -> Plausible | None:
    kind = kind_of_unit(unit, where=where)
    known = vocabulary().activities
    ranges = known[source].per_hectare if source in known else ()
    return next((one for one in ranges if kind_of_unit(one.unit, where=where) == kind), None)


def _fitting_units(activity: Table, column: str, area: str, median: float, plausible: Plausible) -> str:
    """Say which other unit of the column, or of the sown area, would give a plausible median."""
    found = []
    for name, power in ((column, 1), (area, -1)):
        declared = unit_of(activity, name)
        for unit in _TRIED[kind_of_unit(declared, where=activity.name)]:
            would_be = median * float(convert(1.0, unit, declared, where=activity.name)) ** power
            if plausible.low <= would_be <= plausible.high:
                found.append(f"'{unit}' for '{name}' would give {_written(would_be)}")
                break
    fitting = " and ".join(found) or "no usual unit fits: check the columns themselves"
    return f"correct the declared unit ({fitting}); if all is right, leave the sown area out of the table to skip this check"


def _written(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"
