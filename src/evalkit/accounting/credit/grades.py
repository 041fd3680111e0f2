"""Carbon grades (碳效码): the footprint per unit of output, by stage of production, against fixed thresholds."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from itertools import pairwise
from numbers import Real
from typing import Any, Literal

import numpy as np
import pandas as pd

from evalkit.accounting._tables import located, require_columns, unit_of, values_of
from evalkit.accounting.credit.stated import (
    Stated,
    amounts,
    choose_from,
    count_missing,
    plain_mass,
    refuse_rows,
    require_status,
    result,
)
from evalkit.errors import DataError, nearest
from evalkit.numerics.arrays import Floats, Ints
from evalkit.tables.table import Table
from evalkit.tables.units import kind_of_unit, unit_ratio

_QUANTILES = ("quantile", "tercile", "tertile", "quartile", "quintile", "decile", "percentile", "median", "分位")
_NEAR = 1e-9  # relative distance from a threshold within which numbers are compared exactly, as decimals


def carbon_grade(
    table: Table,
    *,
    footprint: str,
    output: str,
    unit: str,
    thresholds: Sequence[float] | Mapping[str, Sequence[float]] | str | int,
    grades: tuple[str, ...],
    on_threshold: Literal["better", "worse"],
    source: str,
    status: str,
    stage: str | None = None,
    keys: tuple[str, ...] = (),
    name: str = "carbon",
) -> Table:
    """Grade rows by emissions per unit of output, each stage of production (`stage`) by thresholds of its own.

    `footprint` is a column of emissions ("kg CO2e"), `output` one of output; both are expressed in `unit`, such as "kg
    CO2e/kg", in which the thresholds are. `thresholds` ascend: one list, or a mapping from stage to list. `grades`, best
    (lowest) first, are one more than the thresholds. A value that is a threshold, compared as decimals and not as floats,
    gets the "better" or the "worse" of the two grades, as `on_threshold` says. Source and status of the thresholds are
    required: evalkit knows none.

    Thresholds are fixed numbers. Quantiles of the sample are refused: a further county would regrade those that were there
    before, and a grade that a loan rests on would change without its holder.

    Columns: `keys`, `{name}_intensity` (`unit`), `{name}_grade` (text). Both are missing where footprint or output is; a
    row without a stage is refused. Raises DataError for negative footprints, output that is zero or negative, units of
    another kind, thresholds that do not ascend, and a stage without thresholds.
    """
    choose_from("on_threshold", on_threshold, ("better", "worse"))
    require_status(source, status, "thresholds")
    limits = _read_thresholds(thresholds, grades, stage)
    mass, _, per = unicodedata.normalize("NFKC", unit).partition("/")
    left, right = plain_mass(mass), per.strip()
    if not right or left == mass.strip() or kind_of_unit(left, where="unit=") != "mass":
        raise DataError(f"unit='{unit}' is no unit of a footprint", where="unit=", remedy='write "kg CO2e/kg"')
    above, below = amounts(table, footprint, left), amounts(table, output, right, zero=False)
    with np.errstate(over="ignore"):
        intensity = above / below
    said = f"'{footprint}' over '{output}' is no number that can be held"
    refuse_rows(table, np.isinf(intensity), footprint, said, "correct these rows")
    exact = _Exact(
        values_of(table, footprint),
        values_of(table, output),
        unit_ratio(plain_mass(unit_of(table, footprint)), left, where=table.name)
        / unit_ratio(unit_of(table, output), right, where=table.name),
    )
    stages = _stages(table, stage, limits)
    place = np.full(len(intensity), -1, dtype=np.int64)
    for which, values in limits.items():
        rows = np.flatnonzero(~np.isnan(intensity) & ((stages == which) if stage is not None else True))
        place[rows] = _grade(intensity, rows, values, exact, better=on_threshold == "better")
    names = pd.array([None if one < 0 else grades[one] for one in place.tolist()], dtype="str")
    said = "; ".join(
        f"{f'{which}: ' if which else ''}{', '.join(f'{one:g}' for one in values)}" for which, values in limits.items()
    )
    notes = [
        f"grades {', '.join(grades)} by fixed thresholds of {said} {unit}, {status} ({source.strip()}); "
        f"a value on a threshold gets the {on_threshold} grade",
        *count_missing(intensity, f"{name}_grade"),
    ]
    made = {f"{name}_intensity": intensity, f"{name}_grade": names}
    made_by = [Stated(one, unit, source.strip(), status) for values in limits.values() for one in values]
    return result(table, keys, made, {f"{name}_intensity": unit}, notes, made_by, name)


class _Exact:
    """The quotients of two columns as their decimals say, times a ratio of units."""

    def __init__(self, above: Floats, below: Floats, ratio: Fraction) -> None:
        self._above, self._below, self._ratio = above, below, ratio

    def compare(self, row: int, limit: float) -> int:
        """Return -1, 0 or 1 as the row's quotient is below, on or above a threshold."""
        above, below = (Fraction(repr(float(one[row]))) for one in (self._above, self._below))
        one, other = above * self._ratio, Fraction(repr(limit)) * below
        return (one > other) - (one < other)


def _grade(intensity: Floats, rows: Ints, limits: Sequence[float], exact: _Exact, *, better: bool) -> Ints:
    """Return the place of each row's grade: how many thresholds it has passed."""
    values = intensity[rows]
    place = np.zeros(len(rows), dtype=np.int64)
    for limit in limits:
        passed = values > limit
        for at in np.flatnonzero(np.abs(values - limit) <= _NEAR * limit).tolist():
            side = exact.compare(int(rows[at]), limit)
            passed[at] = side > 0 or (side == 0 and not better)
        place += passed
    return place


def _read_thresholds(given: Any, grades: Sequence[str], stage: str | None) -> dict[str, tuple[float, ...]]:
    """Return the thresholds by stage, "" being all; raise DataError for quantiles and whatever is no list that ascends."""
    if isinstance(given, str | int) or (
        isinstance(given, Mapping) and any(word in str(key).casefold() for key in given for word in _QUANTILES)
    ):
        raise DataError(
            f"thresholds={given!r} are quantiles of the sample, so that a new county would regrade the old ones",
            where="thresholds=",
            remedy="write the fixed numbers of whoever sets the grades, with source= and status=",
        )
    if (
        not isinstance(grades, Sequence)
        or isinstance(grades, str)
        or len(set(grades)) < len(grades)
        or not all(isinstance(g, str) and g for g in grades)
    ):
        raise DataError(
            "grades= are no different names", where="grades=", remedy='write grades=("A", "B", "C"), best first'
        )
    if isinstance(given, Mapping) != (stage is not None):
        what = (
            "thresholds by stage, and no column of stages"
            if stage is None
            else "a column of stages, and one list for all"
        )
        raise DataError(
            f"there are {what}", where="thresholds=", remedy='write stage="…" and thresholds={"stage": (…)}, or neither'
        )
    found = dict(given) if isinstance(given, Mapping) else {"": given}
    for which, given_values in found.items():
        where = f"thresholds= of '{which}'" if which else "thresholds="
        is_list = isinstance(given_values, Iterable) and not isinstance(given_values, str)
        values = found[which] = tuple(given_values) if is_list else ()
        numbers = [one for one in values if isinstance(one, Real) and not isinstance(one, bool)]
        if not numbers or len(numbers) < len(values) or not all(0 < float(one) < np.inf for one in numbers):
            raise DataError("thresholds are no positive numbers", where=where, remedy="write (0.2, 0.5), for instance")
        if any(one >= other for one, other in pairwise(map(float, numbers))):
            raise DataError("thresholds do not ascend", where=where, remedy="write the lowest first, each once")
        if len(grades) != len(numbers) + 1:
            what = f"{len(numbers)} thresholds part {len(numbers) + 1} grades, and grades= names {len(grades)}"
            raise DataError(what, where=where, remedy="name one more grade than thresholds")
    return {str(which): tuple(map(float, values)) for which, values in found.items()}


def _stages(table: Table, stage: str | None, limits: Mapping[str, Any]) -> np.ndarray:
    """Return the stage of each row as text; raise DataError naming rows whose stage is missing or has no thresholds."""
    if stage is None:
        return np.array([], dtype=object)
    require_columns(table, [stage])
    column = table.frame[stage]
    missing = column.isna().to_numpy(dtype=bool)
    if missing.any():
        raise DataError(
            f"the stage is missing in {int(missing.sum())} rows",
            where=located(table, missing, stage),
            remedy="fill it in or leave these rows out",
        )
    stages = column.astype(str).to_numpy(dtype=object)
    unknown = np.array([one not in limits for one in stages], dtype=bool)
    if unknown.any():
        first = stages[int(np.argmax(unknown))]
        raise DataError(
            f"the stage '{first}' has no thresholds",
            where=located(table, unknown, stage),
            remedy=nearest(first, limits),
        )
    return stages
