"""Steps that were done before: a step's table is kept on disk under a hash of all that determines it."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet

from evalkit.tables.contents import in_full
from evalkit.tables.table import Provenance, Step, Table, file_sha256


@dataclass(frozen=True)
class KeptSteps:
    """A folder of tables that steps have made, each under the hash of the step, of what it read, and of evalkit's own code.

    Nothing is trusted: a table is kept only if it reads back as it was, and read only if its file has the hash that was recorded.
    Anything else is computed again.
    """

    folder: Path
    _used: set[str] = field(default_factory=set, init=False, repr=False, compare=False)

    def run(self, step: Step, tables: Mapping[str, Table]) -> Table:
        """Return the table of a step, from the folder if it is there."""
        digest = step_digest(step, tables)
        if digest is None:
            return step.run(tables)
        self._used.add(digest)
        kept = _read(self.folder / digest)
        if kept is None:
            kept = step.run(tables)
            _keep(kept, self.folder / digest)
        return kept

    def forget_others(self) -> None:
        """Remove what none of the steps run since needed."""
        for one in self.folder.iterdir() if self.folder.is_dir() else ():
            if one.is_dir() and one.name not in self._used:
                shutil.rmtree(one, ignore_errors=True)


def step_digest(step: Step, tables: Mapping[str, Table]) -> str | None:
    """Hash what determines a step's table (SHA-256, hexadecimal); None where a table has columns that no file could hold."""
    parts = [code_sha256(), f"{type(step).__module__}: {in_full(step)}"]
    for path in step.files():
        if not path.is_file():
            return None  # the step says best what is missing
        parts.append(file_sha256(path))
    for name in step.reads():
        content = _as_arrow(tables[name].frame)
        if content is None:
            return None
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, content.schema) as stream:
            stream.write_table(content)
        parts += [name, _about(tables[name]), hashlib.sha256(sink.getvalue()).hexdigest()]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


@cache
def code_sha256() -> str:
    """Hash evalkit's own files: a table that older code made is not taken for that of this code."""
    whole = hashlib.sha256()
    for item in _files_below(files("evalkit")):
        whole.update(item.name.encode() + item.read_bytes())
    return whole.hexdigest()


def _files_below(folder: Traversable) -> list[Traversable]:
    found: list[Traversable] = []
    for item in sorted(folder.iterdir(), key=lambda one: one.name):
        if item.is_dir():
            found += [] if item.name == "__pycache__" else _files_below(item)
        else:
            found.append(item)
    return found


def _as_arrow(frame: pd.DataFrame) -> Any | None:
    """Turn a frame with its index into an Arrow table; None where it cannot be, or would not come back as it is."""
    try:
        content = pa.Table.from_pandas(frame, preserve_index=True)
        back = content.to_pandas()
    except (pa.ArrowException, TypeError, ValueError):
        return None
    same = back.equals(frame) and back.index.equals(frame.index) and (back.dtypes == frame.dtypes).all()
    return content if same and back.index.names == frame.index.names else None


def _about(table: Table) -> str:
    """Write what a table says beside its frame as JSON."""
    content = {
        "name": table.name,
        "units": dict(table.units),
        "absent": dict(table.absent),
        "provenance": [asdict(one) for one in table.provenance],
    }
    return json.dumps(content, ensure_ascii=False, sort_keys=True)


def _keep(table: Table, folder: Path) -> None:
    """Write a table and, last, the file that vouches for it; where there is no room or no right to write, nothing is kept."""
    content = _as_arrow(table.frame)
    if content is None:
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder.parent / ".gitignore").write_text("*\n", encoding="utf-8")  # it holds rows of data
        pa.parquet.write_table(content, folder / "frame.parquet")
        about = {"sha256": file_sha256(folder / "frame.parquet"), "table": json.loads(_about(table))}
        (folder / "table.json").write_text(json.dumps(about, ensure_ascii=False), encoding="utf-8")
    except OSError:
        shutil.rmtree(folder, ignore_errors=True)


def _read(folder: Path) -> Table | None:
    """Read a table that was kept; None where there is none, or it is not what was kept."""
    try:
        about = json.loads((folder / "table.json").read_text(encoding="utf-8"))
        if file_sha256(folder / "frame.parquet") != about["sha256"]:
            return None
        content = about["table"]
        frame: pd.DataFrame = pa.parquet.read_table(folder / "frame.parquet").to_pandas()
        provenance = tuple(Provenance(**one) for one in content["provenance"])
        return Table(content["name"], frame, provenance, content["units"], content["absent"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
