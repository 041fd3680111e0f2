"""Audit: what the numbers of yearbook tables say against one another, as a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from evalkit.auditing._breakdown import check_breakdowns
from evalkit.auditing._changes import check_changes
from evalkit.auditing._published import Published, read_published
from evalkit.auditing._regions import check_regions
from evalkit.auditing._remark import Remark
from evalkit.auditing._volumes import check_volumes
from evalkit.catalogue import LANGUAGES
from evalkit.errors import DataError
from evalkit.table import Table

_ORDER = {"error": 0, "warning": 1, "note": 2}


def audit(*tables: Table, region: str = "region", time: str = "year") -> Table:
    """Check the long tables of yearbooks, as Yearbook(path).load() gives them, against themselves and one another.

    The result has one row for each remark, errors first: severity ("error" contradicts the same pages, "warning" is unusual,
    "note" has to be known), kind, region_code, region, year, indicator, value, unit (as printed), expected, difference,
    tolerance, file, sheet, cell, against (what it was compared with), sentence_en, sentence_zh. Where a remark is about all
    regions, region and value are missing and the cell is that of the first. Kinds:

    - sum: regions against the total row of their sheet, or the prefecture or province in which they lie;
    - sectors: sectors of GDP, branches of farming, kinds of fertiliser against their total;
    - part: a sub-item ("A / B", 其中) that is more than its head;
    - jump, power_of_ten: a change far from that of the other regions and of other years, or a slip by a power of ten;
    - copied: a value equal to the year before to the last digit, where chance does not explain it;
    - revision, duplicate: another value in a newer file, or in the same one (alike: once for two sheets);
    - unit, scope: an indicator in several units, and notes that say what is counted.

    Tolerances are what the rounding of the published digits can add up to; those of jumps are six robust standard deviations
    of the changes, and at least a factor of 1.5. Only amounts are added up, not ratios, indices or means. Without names in the
    lists of regions, what lies in what is not known. Raises DataError for a table that is not of the long form, not for
    anything that stands in it.
    """
    if not tables:
        raise DataError("no tables are given", where="audit", remedy="load a yearbook without columns=, and pass it")
    own = list({repr(table.provenance) if table.provenance else id(table): table for table in tables}.values())
    rows = [len(table.frame) for table in own]
    provenance = tuple(dict.fromkeys(one for table in own for one in table.provenance))
    if not sum(rows):
        return Table("audit", _as_frame(None, [], region, time), provenance)
    with np.errstate(over="ignore", invalid="ignore"):  # sums of numbers of no measure are infinite, and of no interest
        data = read_published(own, region, time)
        remarks = [*check_regions(data), *check_breakdowns(data)]
        doubted = {one.row for one in remarks if one.kind == "sectors"}
        remarks += [*check_changes(data, doubted), *check_volumes(data)]
    remarks.sort(key=lambda one: (_ORDER[one.severity], one.row))
    return Table("audit", _as_frame(data, remarks, region, time), provenance)


def note_audit(table: Table, long: Table | None = None, *, region: str = "region", time: str = "year") -> Table:
    """Return a table whose provenance says what an audit of it found; `long` is its long form, if it is not that itself."""
    found = audit(table if long is None else long, region=region, time=time).frame
    counts = Counter(found["severity"])
    said = ", ".join(f"{counts[kind]} {kind}{'' if counts[kind] == 1 else 's'}" for kind in _ORDER)
    note = f"audited: {said}" + ("; list them with evalkit.audit(…)" if len(found) else "")
    if not table.provenance:
        return table
    first, *others = table.provenance
    notes = f"{first.notes}; {note}" if first.notes else note
    return replace(table, provenance=(replace(first, notes=notes), *others))


def _as_frame(data: Published | None, remarks: Sequence[Remark], region: str, time: str) -> pd.DataFrame:
    """Write remarks as a frame, each with the value that it is on."""
    rows = np.array([one.row for one in remarks], dtype=np.int64)
    of_all = np.array([one.is_table for one in remarks], dtype=bool)
    frame = pd.DataFrame(columns=["region_code", "unit", "file", "sheet", "cell"]) if data is None else data.frame
    columns: dict[str, object] = {
        "severity": pd.array([one.severity for one in remarks], dtype="str"),
        "kind": pd.array([one.kind for one in remarks], dtype="str"),
        "region_code": frame["region_code"].take(rows).astype("str").where(~of_all).array,
        region: pd.array(
            [None if data is None or one.is_table else data.region(one.row) for one in remarks], dtype="str"
        ),
        time: np.zeros(0, dtype=np.int64) if data is None else data.year[rows],
        "indicator": pd.array(["" if data is None else data.indicator(one.row) for one in remarks], dtype="str"),
        "value": np.zeros(0) if data is None else np.where(of_all, np.nan, data.value[rows]),
        "unit": frame["unit"].take(rows).astype("str").array,
    }
    for name in ("expected", "difference", "tolerance"):
        columns[name] = np.array([getattr(one, name) for one in remarks], dtype=np.float64)
    for name in ("file", "sheet", "cell"):
        columns[name] = frame[name].take(rows).astype("str").array
    columns["against"] = pd.array([one.against for one in remarks], dtype="str")
    for language in LANGUAGES:
        columns[f"sentence_{language}"] = pd.array([one.said.text(language) for one in remarks], dtype="str")
    return pd.DataFrame(columns)
