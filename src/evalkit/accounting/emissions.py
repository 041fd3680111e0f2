"""Inventory: activity data × emission factors, by key and emission source."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd

from evalkit.accounting._tables import DETAIL, EMISSIONS, located, require_columns, require_keys, unit_of, values_of
from evalkit.accounting.factors import FactorSet, Plausible, emission_sources
from evalkit.errors import DataError, nearest
from evalkit.tables.table import Provenance, Table
from evalkit.tables.units import convert, kind_of_unit

_SOWN_AREA = "sown_area"


def inventory(
    activity: Table,
    factors: FactorSet,
    *,
    keys: tuple[str, ...],
    sources: Mapping[str, str] | None = None,
    leave_out: tuple[str, ...] = (),
    name: str = "inventory",
) -> Table:
    """Multiply activity data by emission factors: one row for each row of `activity` and emission source.

    `keys` identify the rows of `activity`. `sources` maps emission sources to columns; by default they are the columns that
    bear the name of one. Columns of the result: keys, source, activity, activity_unit (as declared), factor, factor_unit
    (kg CO2e per that unit), emissions (kg CO2e, missing where the activity is). A row keeps the number it has in the file.
    Sources that the set excludes, or that `leave_out` names, are left out; the provenance says so. Where the table has
    `sown_area`, magnitudes per hectare are checked. Raises DataError for repeated keys, a column without a unit or with a
    wrong one, negative values, implausible magnitudes, and a source for which the set has no value.
    """
    for argument, given in (("keys", keys), ("leave_out", leave_out)):
        if isinstance(given, str):  # a string is a sequence of one-letter names, which nobody means
            raise DataError(
                f"{argument}= is one word, not a tuple", where=name, remedy=f'write {argument}=("{given}",)'
            )
    _check_table(activity, keys)
    columns = _source_columns(activity, keys, sources)
    used, notes = _choose(activity, factors, columns, leave_out)
    area = columns.get(_SOWN_AREA, _SOWN_AREA if _SOWN_AREA in activity.frame.columns else None)
    notes += _check_magnitudes(activity, used, area)
    parts = []
    for source, column in used.items():
        values, unit = _activity_values(activity, source, column), unit_of(activity, column)
        rate = factors.rate(source, unit, where=f"{activity.name}, column '{column}'")
        parts.append(
            activity.frame[list(keys)].assign(
                source=source,
                activity=values,
                activity_unit=unit,
                factor=rate,
                factor_unit=f"{EMISSIONS}/{unit}",
                emissions=values * rate,
            )
        )
    order = np.argsort(np.tile(np.arange(len(activity.frame)), len(parts)), kind="stable")
    frame = pd.concat(parts).iloc[order]
    provenance = (*activity.provenance, _describe(factors, activity, used, notes))
    return Table(name=name, frame=frame, provenance=provenance, units={"emissions": EMISSIONS})


def _check_table(activity: Table, keys: tuple[str, ...]) -> None:
    if not keys:
        raise DataError("there are no keys", where=activity.name, remedy="name the columns that identify a row")
    if not len(activity.frame):
        raise DataError("the table has no rows", where=activity.name, remedy="check the source")
    require_keys(activity, keys)
    for key in keys:
        if key in DETAIL:
            raise DataError(
                f"the key '{key}' has the name of a column of the inventory",
                where=activity.name,
                remedy="rename the column",
            )


def _source_columns(activity: Table, keys: tuple[str, ...], sources: Mapping[str, str] | None) -> dict[str, str]:
    """Find the column of each emission source, in the order of the vocabulary."""
    present = [str(column) for column in activity.frame.columns if column not in keys]
    if sources is None:
        _refuse_misspelt(activity, present)
        sources = {source: source for source in emission_sources() if source in present}
    for source, column in sources.items():
        _require_known(source, "sources=")
        require_columns(activity, [column])
        if list(sources.values()).count(column) > 1:
            raise DataError(
                f"column '{column}' is named for several emission sources", where="sources=", remedy="name it for one"
            )
    if not sources:
        raise DataError(
            "no column bears the name of an emission source",
            where=activity.name,
            remedy='name the columns: sources={"fertiliser": "…"}; sources are ' + ", ".join(emission_sources()),
        )
    return {source: sources[source] for source in emission_sources() if source in sources}


def _refuse_misspelt(activity: Table, present: list[str]) -> None:
    """Refuse a column that all but bears the name of a source: nobody would miss its emissions."""
    for column in present:
        close = difflib.get_close_matches(column.casefold(), emission_sources(), n=1, cutoff=0.85)
        if close and close[0] not in present:
            raise DataError(
                f"column '{column}' resembles the emission source '{close[0]}'",
                where=activity.name,
                remedy=f"rename it '{close[0]}' if that is meant, or name the columns that are: sources={{…}}",
            )


def _choose(
    activity: Table, factors: FactorSet, columns: Mapping[str, str], leave_out: tuple[str, ...]
) -> tuple[dict[str, str], list[str]]:
    """Separate the sources that the inventory holds from those left out, which the notes name with the reason."""
    for source in leave_out:
        _require_known(source, "leave_out=")
        if source not in columns:
            raise DataError(
                f"there is no source '{source}' to leave out", where=activity.name, remedy="take it from leave_out"
            )
    used, notes = dict[str, str](), list[str]()
    for source, column in columns.items():
        factor = factors.factors.get(source)
        if source in leave_out:
            notes.append(f"{source} was left out knowingly")
        elif factor is not None and factor.status == "excluded":
            notes.append(f"{source} is excluded by the set: {factor.reason['en']}")
        elif factor is None or factor.value is None:
            why = "has no entry for" if factor is None else "has no printed value for"
            raise DataError(
                f"the factor set '{factors.name}' {why} '{source}'",
                where=f"{activity.name}, column '{column}'",
                remedy=f'leave the source out knowingly (leave_out=("{source}",)), or use another set',
            )
        else:
            used[source] = column
    if not used:
        raise DataError("every source is left out", where=activity.name, remedy="use another factor set")
    unlisted = [source for source, one in factors.factors.items() if one.value is not None and source not in columns]
    if unlisted:
        notes.append(f"the table has no {', '.join(unlisted)}")
    return used, notes


def _require_known(source: str, where: str) -> None:
    if source not in emission_sources():
        raise DataError(f"'{source}' is no emission source", where=where, remedy=nearest(source, emission_sources()))


def _activity_values(activity: Table, source: str, column: str) -> np.ndarray:
    values, unit, kinds = values_of(activity, column), unit_of(activity, column), emission_sources()[source].kinds
    where = f"{activity.name}, column '{column}'"
    if (kind := kind_of_unit(unit, where=where)) not in kinds:
        raise DataError(
            f"'{unit}' measures {kind}; {source} is measured as {' or '.join(kinds)}",
            where=where,
            remedy="correct the unit in the sidecar, or the column that is named for this source",
        )
    if (values < 0).any():
        raise DataError(
            f"{source} is negative", where=located(activity, values < 0, column), remedy="correct these rows"
        )
    return values


def _describe(factors: FactorSet, activity: Table, used: Mapping[str, str], notes: list[str]) -> Provenance:
    """Add to the provenance of the set which of its factors were used, and what was left out or not checked."""
    entries = [factors.factors[source] for source in used]
    said = [f"{one.name} {one.value:g} {one.unit}, {one.status} ({one.source})" for one in entries]
    for source, density in factors.density.items():
        if source in used and factors.needs_density(source, unit_of(activity, used[source]), where=activity.name):
            said.append(f"{source} at {density.value:g} {density.unit} ({density.source})")
    if factors.gwp100:
        said.append(f"GWP100 {', '.join(f'{gas} {v:g}' for gas, v in factors.gwp100.items())} ({factors.gwp_source})")
    return replace(factors.provenance, notes="; ".join([factors.status, *said, *notes]))


_TRIED = {
    "mass": ("kg", "t", "g", "斤", "万吨"),
    "volume": ("L", "m3", "mL"),
    "area": ("ha", "mu", "千公顷", "万亩", "km2", "m2"),
}


def _check_magnitudes(activity: Table, used: Mapping[str, str], area: str | None) -> list[str]:
    """Compare each emission source (name → column) per sown hectare with what is plausible; say what was not compared.

    `area` is the column of the sown area. Only rows in which both are positive count. Raises DataError when a median lies
    outside the range, naming the unit that would fit, and when a single row lies far above it.
    """
    if area is None:
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
    ranges = emission_sources()[source].per_hectare
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
