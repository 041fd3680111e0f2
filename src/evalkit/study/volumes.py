"""Findings on the sources of a study: where volumes of a yearbook disagree, and where a splice lies near an adoption."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from evalkit.catalogue import message
from evalkit.designs.sample import draw_sample
from evalkit.numerics.arrays import Ints
from evalkit.panels.derivation import Derivation
from evalkit.results.estimation import Estimate
from evalkit.results.finding import Chart, Finding
from evalkit.tables.periods import Periods
from evalkit.tables.table import Table

_NEAR = 2
"""Years from an adoption within which a splice can look like its effect."""

_NAN = float("nan")


def find_disagreements(
    tables: Sequence[Table], estimates: Mapping[str, Estimate], derive: Mapping[str, Derivation]
) -> Iterator[tuple[str, Finding]]:
    """Give the findings on tables that were joined from volumes, with the names of the estimates that they are on.

    "Splices" has a verdict: "fail" where a series goes over to a volume that disagrees with the one before within two years of an
    adoption, since a break of the series then looks like an effect. It is about the columns that an estimate uses, through what
    is derived of them, or of a long table about all; one estimate stands for those with the same splices and dates. The other
    findings, "Volumes", list revisions, units, scopes and likely renames by indicator; they are on the first estimate.
    """
    for table in tables:
        found = table.disagreements
        if "column" in found.columns:
            found = found[found["column"] != ""]
        splices = found[found["kind"] == "splice"] if len(found) else found
        seen = set[tuple[object, ...]]()
        for name, one in estimates.items() if len(splices) else ():
            used = splices
            if "column" in splices.columns:
                used = splices[splices["column"].isin(used_columns(one, derive))]
            years = tuple(adoption_years(one).tolist())
            about = (years, *used.index)
            if years and len(used) and about not in seen:
                seen.add(about)
                yield name, _judge_splices(table, used, years)
        others = found[found["kind"] != "splice"] if len(found) else found
        for (kind, indicator), rows in others.groupby(["kind", "indicator"], sort=False) if len(others) else ():
            yield next(iter(estimates)), _describe(table, str(kind), str(indicator), rows)


def used_columns(estimate: Estimate, derive: Mapping[str, Derivation]) -> set[str]:
    """Return the columns that an estimate uses, and those from which they are derived."""
    spec = estimate.spec
    found, left = set[str](), [*_words(spec.design), *spec.estimator.columns()]
    while left:
        name = left.pop()
        if name not in found:
            found.add(name)
            left += _words(derive[name]) if name in derive else ()
    return found


def _words(value: object) -> list[str]:
    """Return the words in the fields of a design or a derivation, among which are all columns that it names."""
    if isinstance(value, str):
        return [value, *value.split("*")]
    if isinstance(value, tuple):
        return [word for one in value for word in _words(one)]
    if dataclasses.is_dataclass(value):
        return [word for field in dataclasses.fields(value) for word in _words(getattr(value, field.name))]
    return []


def adoption_years(estimate: Estimate) -> Ints:
    """Return the years of adoption of an estimate's sample, ascending; none where the time axis is not of dates."""
    sample = draw_sample(estimate.spec.panel, estimate.spec.design)
    periods = estimate.spec.panel.periods
    dates = np.unique(sample.adoption[np.isfinite(sample.adoption)]).astype(np.int64)
    if not periods.on_calendar:
        return dates[:0]
    return np.unique(_to_years(periods.first + dates * periods.step, periods))


def _to_years(ordinals: Ints, periods: Periods) -> Ints:
    if periods.frequency == "day":
        return ordinals.astype("datetime64[D]").astype("datetime64[Y]").astype(np.int64) + 1970
    found: Ints = ordinals // {"integer": 1, "quarter": 4, "month": 12}[periods.frequency]
    return found


def _judge_splices(table: Table, splices: pd.DataFrame, years: tuple[int, ...]) -> Finding:
    """Fail where a splice lies within two years of an adoption."""
    away = splices["year"].to_numpy(dtype=np.int64)[:, None] - np.array(years, dtype=np.int64)
    closest = np.abs(away).argmin(axis=1)
    rows = splices.assign(
        adoption=np.array(years)[closest], years_from_adoption=away[np.arange(len(splices)), closest].astype(np.float64)
    )
    rows = rows.iloc[np.argsort(np.abs(rows["years_from_adoption"].to_numpy()), kind="stable")]
    near = rows[rows["years_from_adoption"].abs() <= _NEAR]
    key = "finding.splices" if near.empty else "finding.splices_near"
    first = rows.iloc[0]
    sentence = message(
        key,
        table=table.name,
        number=len(rows),
        near=len(near),
        years=_NEAR,
        first=f"{first['indicator']}, {first['region']} {first['year']}: {100 * first['change']:+.1f} %",
        adoption=int(first["adoption"]),
    )
    columns = ["indicator", "region", "year", "adoption", "years_from_adoption", "change", "file", "against"]
    chart = Chart(
        "years",
        message("chart.splices"),
        value="years_from_adoption",
        axis=message("chart.years_from_adoption"),
        marks=(-float(_NEAR), float(_NEAR)),
    )
    return Finding(
        "Splices",
        message("null.splices", years=_NEAR),
        float(rows["years_from_adoption"].abs().min()),
        _NAN,
        float(_NEAR),
        "pass" if near.empty else "fail",
        sentence,
        rows[columns].reset_index(drop=True),
        chart,
    )


def _describe(table: Table, kind: str, indicator: str, rows: pd.DataFrame) -> Finding:
    """List what the volumes say otherwise of one indicator, the largest change first."""
    rows = rows.iloc[np.argsort(-rows["change"].abs().fillna(0).to_numpy(), kind="stable")]
    first = rows.iloc[0]
    largest = float(rows["change"].abs().max())
    sentence = message(
        f"finding.volumes_{kind}",
        table=table.name,
        indicator=indicator,
        number=len(rows),
        unjoined=int((~rows["joined"]).sum()),
        first=_write_first(kind, first),
    )
    columns = [
        *("kind", "indicator", "region", "year", "value", "unit", "other", "change", "joined"),
        *("file", "sheet", "cell", "against"),
    ]
    chart = Chart("years", message("chart.volumes"), value="year", axis=message("chart.year"))
    return Finding(
        "Volumes", None, largest, _NAN, _NAN, "described", sentence, rows[columns].reset_index(drop=True), chart
    )


def _write_first(kind: str, row: pd.Series) -> str:
    """Write the first line of a finding in figures and names, which need no translation."""
    place = f"{row['file']} {row['cell']}" if pd.isna(row["sheet"]) else f"{row['file']} {row['sheet']}!{row['cell']}"
    if kind in ("unit", "scope"):
        return place + (f" / {row['against']}" if row["against"] else "")
    if kind == "rename":
        return f"{row['indicator']} / {row['against']}"
    return f"{row['region']} {row['year']}: {row['value']:.12g} / {row['other']:.12g} {row['unit']} ({place} / {row['against']})"
