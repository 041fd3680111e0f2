"""The volumes of a yearbook: the files of a folder, a pattern or a list, each read by itself, and the catalogue of them."""

from __future__ import annotations

import glob
import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypedDict

import pandas as pd

from evalkit.errors import SourceError
from evalkit.progress import show_progress
from evalkit.regions.registry import gazetteer
from evalkit.sources.files.cells import MOST_ERRORS
from evalkit.sources.files.columns import write_number
from evalkit.sources.yearbook.readings import Reading, Readings
from evalkit.tables.table import Table

Outcome = Literal["read", "without", "refused", "twin"]
"""What became of a file: it was read; it was, and has none of the indicators wanted; it was refused; it has the same bytes as
another, which was read."""

_MOST_WORKERS = 4  # each takes 0.2 GB
_CHUNK = 4  # files that a process is given at once
_FEW = 4_000_000  # bytes of files that are read before another process has started
_NOT_VOLUMES = (".provenance.toml", ".toml")
_PATTERN = frozenset("*?[")


class Listed(TypedDict):
    """One row of a catalogue: one table, or one file of which none is read."""

    volume: str
    table: str
    cells: str
    years: str
    indicators: str
    regions: int
    level: str
    units: str
    values: int
    outcome: Outcome
    why: str


@dataclass(frozen=True)
class Volume:
    """One file: what became of it and why, what its tables hold, and the values wanted of it as a long table.

    `name` is its path from the folder that holds all files. The long table has a further column "table", the title in words
    alone. `answered` names the settings that the file needed: "year", "units of X".
    """

    path: Path
    name: str
    outcome: Outcome
    why: str = ""
    contents: tuple[Listed, ...] = ()
    table: Table | None = None
    answered: frozenset[str] = frozenset()
    indicators: tuple[str, ...] = field(default=(), repr=False)


def find_files(path: str | Path | Sequence[str | Path]) -> list[Path] | None:
    """Return the files that a folder (with all folders in it), a pattern or a list names; None where it names one file.

    Of a folder and of a pattern, files that are none of a publisher's are left out: hidden ones, those that Excel writes beside
    an open workbook (~$…), layouts and sidecars. Raises SourceError where nothing is left, or a listed file is not there.
    """
    if not isinstance(path, (str, Path)):
        if not path:
            raise SourceError(
                "the list of volumes is empty", where="Yearbook", remedy="name the files, or their folder"
            )
        listed = [Path(one) for one in path]
        for one in listed:
            if listed.count(one) > 1:
                raise SourceError("the file is listed twice", where=one.as_posix(), remedy="name it once")
            if not one.is_file():
                what, remedy = "there is no such file", "correct its path, or leave it out of the list"
                if one.is_dir():
                    what = "the list names a folder"
                    remedy = f'name its files, or read the folder or a pattern alone: "{one.as_posix()}/*"'
                raise SourceError(what, where=one.as_posix(), remedy=remedy)
        return listed
    written = os.fspath(path)
    if Path(path).is_dir():
        found = [one for one in Path(path).rglob("*") if one.is_file() and not _is_hidden(one.relative_to(path))]
    elif _PATTERN & set(written) and not Path(path).exists():
        found = [Path(one) for one in glob.glob(_escape_folders(written), recursive=True) if Path(one).is_file()]
    else:
        return None
    kept = sorted(one for one in found if not one.name.startswith((".", "~$")) and not one.name.endswith(_NOT_VOLUMES))
    if not kept:
        said = "the folder holds no file" if Path(path).is_dir() else "no file fits the pattern"
        raise SourceError(
            said, where=written, remedy="give the folder of the volumes, or a pattern such as data/raw/*.xls"
        )
    return kept


def _escape_folders(pattern: str) -> str:
    """Take the brackets in the names of folders that are there for letters: "volumes [1]/*.xlsx"."""
    for folder in Path(pattern).parents:
        if folder.is_dir() and pattern.startswith(os.fspath(folder)):
            return glob.escape(os.fspath(folder)) + pattern[len(os.fspath(folder)) :]
    return pattern


def _is_hidden(inside: Path) -> bool:
    return any(part.startswith(".") for part in inside.parts)


def name_files(files: Sequence[Path]) -> list[str]:
    """Name each file by its path from the folder that holds all of them; by its whole path where none does."""
    try:
        shared = Path(os.path.commonpath([os.path.abspath(one.parent) for one in files]))
    except ValueError:  # on several drives of Windows
        return [Path(os.path.abspath(one)).as_posix() for one in files]
    return [Path(os.path.abspath(one)).relative_to(shared).as_posix() for one in files]


def read_volumes(files: Sequence[Path], read: Callable[[Path, str], Volume]) -> list[Volume]:
    """Read each file once, in as many processes as help, and show how many are done; the order is that of the files.

    Files with the same bytes are read once. No number depends on how many processes there are.
    """
    names = name_files(files)
    first: dict[str, int] = {}
    twin_of: dict[int, int] = {}
    for i, path in enumerate(files):
        if path.is_file():
            known = first.setdefault(_hash(path), i)
            if known != i:
                twin_of[i] = known
    jobs = [i for i in range(len(files)) if i not in twin_of]
    done: dict[int, Volume] = {}
    with show_progress("Yearbook", len(jobs)) as advance:
        for i, volume in zip(jobs, _read_all(files, names, jobs, read), strict=True):
            done[i] = volume
            advance(1)
    for i, known in twin_of.items():
        done[i] = Volume(files[i], names[i], "twin", f"it has the same bytes as {names[known]}")
    return [done[i] for i in range(len(files))]


def _hash(path: Path) -> str:
    try:
        with path.open("rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()
    except OSError:  # reading it says why
        return path.as_posix()


def _read_all(
    files: Sequence[Path], names: Sequence[str], jobs: Sequence[int], read: Callable[[Path, str], Volume]
) -> Iterator[Volume]:
    size = sum(files[i].stat().st_size for i in jobs if files[i].is_file())
    workers = min(os.cpu_count() or 1, _MOST_WORKERS)
    if workers == 1 or len(jobs) < 2 * workers or size < _FEW:
        yield from (read(files[i], names[i]) for i in jobs)
        return
    from joblib.externals.loky import ProcessPoolExecutor  # needs no guard in the script that calls, on Windows neither

    pool = ProcessPoolExecutor(workers)
    try:
        yield from pool.map(read, [files[i] for i in jobs], [names[i] for i in jobs], chunksize=_CHUNK)
    finally:
        pool.shutdown(kill_workers=True)


def list_contents(name: str, tables: Sequence[Readings], outcome: Outcome, why: str) -> tuple[Listed, ...]:
    """Return one row per table of a file; one row where there is none."""
    rows = [_list_table(name, table, outcome, why) for table in tables if table.values]
    return tuple(rows) or (_list_none(name, outcome, why),)


def _list_none(name: str, outcome: Outcome, why: str) -> Listed:
    return Listed(
        volume=name, table="", cells="", years="", indicators="", regions=0, level="", units="", values=0,
        outcome=outcome, why=why,
    )  # fmt: skip


def _list_table(name: str, table: Readings, outcome: Outcome, why: str) -> Listed:
    values = table.values
    title = table.layout.caption.titles[0][0] if table.layout.caption.titles else ""
    ends = [
        table.page.address(rank(one.row for one in values), rank(one.column for one in values)) for rank in (min, max)
    ]
    return Listed(
        volume=name,
        table=title,
        cells=":".join([ends[0], ends[1].rpartition("!")[2]]),
        years=write_years({one.year for one in values if one.year}),
        indicators="; ".join(dict.fromkeys(one.indicator for one in values)),
        regions=len({(one.code, one.region) for one in values}),
        level=find_level(values),
        units="; ".join(dict.fromkeys(one.unit for one in values if one.unit)),
        values=sum(one.value == one.value for one in values),
        outcome=outcome,
        why=why,
    )


def find_level(values: Sequence[Reading]) -> str:
    """Return the level of most regions whose names are in the lists: "province", "prefecture", "county", "xpcc"; else ""."""
    lists = gazetteer()
    counts = Counter[str]()
    for name in {one.region for one in values}:
        levels = {unit.level for unit in lists.by_name.get(name, ())}
        counts.update(levels if len(levels) == 1 else ())
    return counts.most_common(1)[0][0] if counts else ""


def write_years(years: set[int]) -> str:
    """Write years with runs joined: "2009-2012, 2015"."""
    ordered = sorted(years)
    starts = [one for one in ordered if one - 1 not in years]
    ends = [one for one in ordered if one + 1 not in years]
    return ", ".join(f"{a}" if a == b else f"{a}-{b}" for a, b in zip(starts, ends, strict=True))


def make_catalogue(volumes: Sequence[Volume]) -> pd.DataFrame:
    """Return one row per table: volume, table, cells, years, indicators, regions, level, units, values, outcome, why."""
    rows = [row for one in volumes for row in one.contents or (_list_none(one.name, one.outcome, one.why),)]
    frame = pd.DataFrame(rows, columns=list(Listed.__annotations__))
    texts = [name for name, kind in Listed.__annotations__.items() if "int" not in str(kind)]
    return frame.astype(dict.fromkeys(texts, "str") | {"regions": "int64", "values": "int64"})


def find_apart(volumes: Sequence[Volume]) -> dict[str, str]:
    """Return the volumes whose regions are of another level than those of most volumes, and why they stand apart."""
    levels = {one.name: {row["level"] for row in one.contents} for one in volumes if one.table is not None}
    counts = Counter(level for found in levels.values() for level in found if level)
    if not counts:
        return {}
    common = counts.most_common(1)[0][0]
    return {
        name: f"its regions are of the level {' and '.join(sorted(found))}, those of most volumes of the level {common}"
        for name, found in levels.items()
        if "" not in found and common not in found
    }


def list_apart(volumes: Sequence[Volume], apart: Mapping[str, str]) -> pd.DataFrame:
    """List the numbers of volumes that stand apart: file, sheet, cell, text, why."""
    parts = []
    for one in volumes:
        if one.table is not None and one.name in apart:
            frame = one.table.frame[one.table.frame["value"].notna()]
            text = pd.array([write_number(value) for value in frame["value"]], dtype="str")
            parts.append(frame[["file", "sheet", "cell"]].assign(text=text, why=apart[one.name]))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def describe_outcomes(volumes: Sequence[Volume], apart: Mapping[str, str]) -> list[str]:
    """Say of each file that gives no value why, the first few by name; the catalogue lists all."""
    others = [one for one in volumes if one.outcome != "read"]
    said = [one.why if one.why.startswith(one.name) else f"{one.name}: {one.why}" for one in others]
    said += [f"{name}: {why}; it was left out, read it by itself" for name, why in apart.items()]
    rest = len(said) - MOST_ERRORS
    return said[:MOST_ERRORS] + ([f"{rest} further files give no value, see the catalogue"] if rest > 0 else [])
