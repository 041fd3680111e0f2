"""Audit: what the numbers of yearbook tables say against one another, as a table and as a page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from evalkit.auditing.changes import check_changes
from evalkit.auditing.page import AuditPage, make_page, write_page
from evalkit.auditing.published import CORPS, REGION, TOTAL, Published, read_published, row_codes
from evalkit.auditing.remark import Compared, Remark
from evalkit.auditing.sums import Sums, add_up, check_breakdowns, judge_sum, nearest_of
from evalkit.auditing.volumes import check_volumes
from evalkit.catalogue import LANGUAGES, message
from evalkit.errors import DataError
from evalkit.numerics.arrays import Flags, Ints
from evalkit.regions.registry import Region, gazetteer
from evalkit.tables.contents import in_short, same_content
from evalkit.tables.table import Provenance, Table

_ORDER = {"error": 0, "warning": 1, "note": 2}


@dataclass(frozen=True, eq=False)
class Audit:
    """What an audit of yearbook tables found.

    `frame` has one row for each remark (see `audit`); `volumes` one row for each file: file, title, publisher, synthetic, and
    how many sheets, indicators, regions, years, values and cells without a number were read; `checks` one row for each file and
    kind of check: how many values were `compared`, and for how many of them it `failed`. `unplaced` lists the cells that hold
    something and were placed in no table: file, sheet, cell, text, why.
    """

    frame: pd.DataFrame
    provenance: tuple[Provenance, ...]
    volumes: pd.DataFrame
    checks: pd.DataFrame
    unplaced: pd.DataFrame

    __eq__ = same_content
    __repr__ = in_short

    def report(self, path: str | Path | None = None, *, language: str = "en") -> AuditPage:
        """Make a summary page: for each volume what was read, what was checked, and what was found, errors first.

        The page shows itself in a notebook and prints as text. With a `path` that ends in .html, .md or .txt it is written there,
        too; .md and .txt hold the same text. `language` is "en" or "zh". Raises ConfigError for another ending or language.
        """
        page = make_page(self.frame, self.volumes, self.checks, self.unplaced, language)
        if path is not None:
            write_page(page, Path(path))
        return page

    def _repr_html_(self) -> str:
        return self.report()._repr_html_()


def audit(*tables: Table, region: str = "region", time: str = "year") -> Audit:
    """Check the long tables of yearbooks, as Yearbook(path).load() gives them, against themselves and one another.

    The `frame` of what it returns has one row for each remark, errors first: severity ("error" contradicts the same pages,
    "warning" is unusual, "note" has to be known), kind, region_code, region, year, indicator, value, unit (as printed),
    expected, difference, tolerance, file, sheet, cell, against (what it was compared with), sentence_en, sentence_zh. Where a
    remark is about all regions, region and value are missing and the cell is that of the first. `report()` makes a page of it.
    Kinds:

    - sum: regions against the total row of their sheet, or the prefecture or province in which they lie;
    - sectors: sectors of GDP, branches of farming, kinds of fertiliser against their total;
    - part: a sub-item ("A / B", 其中) that is more than its head;
    - jump, power_of_ten: a change far from that of the other regions and of other years, or a slip by a power of ten;
    - copied: a value equal to the year before to the last digit, where chance does not explain it;
    - revision, duplicate: another value in a newer file, or in the same one (alike: once for two sheets);
    - unit, scope: an indicator in several units, and notes that say what is counted.

    Tolerances are what the rounding of the published digits can add up to. A total may be printed to fewer digits than its
    parts: it is taken to be where chance would give its row so many zeros less than once in a hundred; where one zero alone
    speaks for it, a difference that it would explain is a warning. Tolerances of jumps are six robust standard deviations of
    the changes, or of the widest tenth of them, and at least a factor of 1.5; a count of pieces or people has to change by more
    than chance changes counts of events (p < 2e-9). Only amounts are added up, not ratios, indices or means. Without names in
    the lists of regions, what lies in what is not known. Raises DataError for a table that is not of the long form, not for
    anything that stands in it.
    """
    if not tables:
        raise DataError("no tables are given", where="audit", remedy="load a yearbook without columns=, and pass it")
    for table in tables:
        if not isinstance(table, Table):
            raise DataError(
                f"audit takes tables, and this is a {type(table).__name__}",
                where="audit",
                remedy="load it first: ek.audit(Yearbook(…).load())",
            )
    own = list({repr(table.provenance) if table.provenance else id(table): table for table in tables}.values())
    rows = [len(table.frame) for table in own]
    provenance = tuple(dict.fromkeys(one for table in own for one in table.provenance))
    unplaced = _list_unplaced(own)
    if not sum(rows):
        return Audit(_as_frame(None, [], region, time), provenance, _VOLUMES.copy(), _CHECKS.copy(), unplaced)
    with np.errstate(over="ignore", invalid="ignore"):  # sums of numbers of no measure are infinite, and of no interest
        data = read_published(own, region, time)
        found = [*check_regions(data), *check_breakdowns(data)]
        doubted = {one.row for one in found if isinstance(one, Remark) and one.kind == "sectors"}
        found += [*check_changes(data, doubted), *check_volumes(data)]
    remarks = [one for one in found if isinstance(one, Remark)]
    remarks.sort(key=lambda one: (_ORDER[one.severity], one.row))
    checks = _count_checks(data, [one for one in found if isinstance(one, Compared)])
    return Audit(_as_frame(data, remarks, region, time), provenance, _describe_volumes(data, own), checks, unplaced)


_VOLUMES = pd.DataFrame(
    columns=["file", "title", "publisher", "synthetic", "sheets", "indicators", "regions", "years", "values", "empty"]
)
_CHECKS = pd.DataFrame(columns=["file", "kind", "compared", "failed"])
_UNPLACED = ("file", "sheet", "cell", "text", "why")


def _list_unplaced(tables: Sequence[Table]) -> pd.DataFrame:
    """Put what was not placed in each table below one another, with the file."""
    parts = [table.unplaced.assign(file=table.name) for table in tables if len(table.unplaced)]
    return pd.concat(parts, ignore_index=True)[[*_UNPLACED]] if parts else pd.DataFrame(columns=[*_UNPLACED])


def _describe_volumes(data: Published, tables: Sequence[Table]) -> pd.DataFrame:
    """Say of each file whence it is and how much was read from it, in the order of the files."""
    sources: dict[str, Provenance] = {}
    for table in tables:
        for one in table.provenance:
            sources.setdefault(Path(one.path).name, one)
            sources[one.path] = one
    number = len(data.volumes)
    is_number = np.isfinite(data.value)

    def count(*codes: Ints) -> Ints:
        """Count what differs within each file."""
        found: Ints = np.bincount(
            data.volume[np.unique(row_codes(data.volume, *codes), return_index=True)[1]], minlength=number
        )
        return found

    columns: dict[str, object] = {
        "file": [*data.volumes],
        "title": [sources[name].title if name in sources else "" for name in data.volumes],
        "publisher": [sources[name].publisher if name in sources else "" for name in data.volumes],
        "synthetic": [name in sources and sources[name].synthetic for name in data.volumes],
        "sheets": count(data.sheet),
        "indicators": count(data.series),
        "regions": count(data.place),
        "years": count(data.year),
        "values": np.bincount(data.volume[is_number], minlength=number),
        "empty": np.bincount(data.volume[~is_number], minlength=number),
    }
    return pd.DataFrame(columns)


def _count_checks(data: Published, compared: Sequence[Compared]) -> pd.DataFrame:
    """Count for each file and kind of check what was compared and what failed; a value that two checks of a kind saw, twice."""
    rows = []
    for volume, name in enumerate(data.volumes):
        for kind in dict.fromkeys(one.kind for one in compared):
            inside = [(one, data.volume[one.rows] == volume) for one in compared if one.kind == kind]
            number = sum(int(own.sum()) for _, own in inside)
            failed = sum(int(one.wrong[own].sum()) for one, own in inside)
            rows.append([name, kind, number, failed])
    return pd.DataFrame(rows, columns=_CHECKS.columns)


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


_PROVINCES = 31  # that tables of the mainland list
_PREFECTURE, _PROVINCE = 100, 10_000  # what a code is divided by


def check_regions(data: Published) -> Iterator[Remark | Compared]:
    """Check each total row against the regions of its sheet, and each area against those of its file that lie in it."""
    listed_as_part = data.frame["note"].fillna("").str.contains("part of ", regex=False).to_numpy(dtype=bool)
    usable = data.flags("adds") & ~listed_as_part
    for sums in (_of_total_rows(data, usable), *(_of_areas(data, usable, width) for width in (_PREFECTURE, _PROVINCE))):
        keys = ("audit.sum", "audit.sum_often", "audit.sum_none")
        yield from judge_sum(data, sums, "sum", *(partial(message, key) for key in keys))


def _of_total_rows(data: Published, usable: Flags) -> Sums:
    """Add up what a sheet lists with its one total row: without regions inside others, without the XPCC, all, coded ones only."""
    slot = row_codes(data.sheet, data.series, data.year)
    size = int(slot.max(initial=0)) + 1
    heads = np.flatnonzero(usable & (data.role == TOTAL) & np.isfinite(data.value))
    heads = heads[np.bincount(slot[heads], minlength=size)[slot[heads]] == 1]
    group = row_codes(data.sheet, data.series)[heads]
    listed = usable & ((data.role == REGION) | (data.role == CORPS))
    free = listed & ~_is_nested(data, slot, listed)
    provinces = free & (data.code > 0) & (data.code % _PROVINCE == 0)
    national = np.array([str(name).startswith("全国") for name in data.names[heads]], dtype=bool)
    complete = national & (np.bincount(slot[provinces], minlength=size)[slot[heads]] >= _PROVINCES)
    ways = (free, free & (data.role == REGION), listed, free & (data.code > 0))
    return nearest_of(data, [add_up(data, slot, heads, way, group, complete) for way in ways])


def _is_nested(data: Published, slot: Ints, listed: Flags) -> Flags:
    """Tell regions that lie in another region of the same list."""
    present = np.unique(slot[listed] * 1_000_000 + data.code[listed])
    nested = np.zeros(len(data), dtype=bool)
    for width in (_PREFECTURE, _PROVINCE):
        above = data.code // width * width
        nested |= (above != data.code) & np.isin(slot * 1_000_000 + above, present)
    return nested & (data.code > 0)


def _of_areas(data: Published, usable: Flags, width: int) -> Sums:
    """Add up the counties of each prefecture of a file, or the prefectures (and what lies in none) of each province.

    Where the lists of regions do not say that all are there, the sum can only be too large.
    """
    usable = usable & (data.code > 0) & ~data.flags("is_generic")
    first = np.zeros(len(data), dtype=bool)
    _, at = np.unique(
        row_codes(data.volume, data.series, data.year, data.code, (~usable).astype(np.int64)), return_index=True
    )
    first[at] = True
    usable = usable & first
    area = data.code // width * width
    is_area = (data.code == area) & (width == _PROVINCE or data.code % _PROVINCE != 0)
    inside = (data.code != area) & (data.code % _PROVINCE != 0)
    if width == _PROVINCE:
        inside &= (data.code % _PREFECTURE == 0) | (data.code // _PREFECTURE % 100 == 90)
    slot = row_codes(data.volume, data.series, data.year, area)
    heads = np.flatnonzero(usable & is_area & np.isfinite(data.value))
    heads = heads[np.bincount(slot[usable & inside], minlength=int(slot.max(initial=0)) + 1)[slot[heads]] > 0]
    group = row_codes(data.volume, data.series, area)[heads]
    found = add_up(data, slot, heads, usable & inside, group, np.ones(len(heads), dtype=bool))
    lacking = np.maximum(_units_in(data, heads, width) - found.number - found.missing, 0)
    complete = (found.missing + lacking) == 0
    return Sums(found.total, found.sum, found.tolerance, found.number, found.missing + lacking, group, complete)


def _units_in(data: Published, heads: Ints, width: int) -> Ints:
    """Count what the lists have in each area in its year; more than any table has where they do not hold its units."""
    inside: dict[str | None, list[Region]] = {}
    for region in gazetteer().regions:
        if width == _PREFECTURE and region.level == "county":
            inside.setdefault(region.prefecture, []).append(region)
        elif width == _PROVINCE and region.level in ("prefecture", "xpcc"):
            inside.setdefault(region.province, []).append(region)
    pairs = list(zip(data.code[heads].tolist(), data.year[heads].tolist(), strict=True))
    counts = {(code, year): sum(one.is_valid(year) for one in inside.get(str(code), [])) for code, year in {*pairs}}
    return np.array([counts[pair] or 1_000_000 for pair in pairs], dtype=np.int64)
