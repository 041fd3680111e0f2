"""Storage: a run's results are made beside the last ones and take their place whole or not at all, whatever stops the run.

In `data/processed/` a run holds the lock `.evalkit-<study>.lock` and works in the folder `.evalkit-<study>`. Before the first
result moves, `journal.json` there lists all the moves; it goes when the last one is done. Whoever finds a journal and holds
the lock undoes the moves: what has happened is read from the disk, so that this too may be stopped and begun again.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from errno import EEXIST, ENOSPC
from functools import partial
from pathlib import Path

from evalkit.errors import SourceError, explain_refusal
from evalkit.study.locking import hold_lock

_JOURNAL = "journal.json"
_PAUSES = (0.1, 0.2, 0.4, 0.8)  # seconds; a virus scanner holds a new file for less
_CLOSE = "close the programs that have a file in it open, such as Excel or a PDF reader, and run again"


@dataclass(frozen=True)
class _Move:
    """One file or folder: made as `new`, to stand at `place`; what it replaces there, if anything, is kept as `old`."""

    new: Path
    place: Path
    old: Path
    replaces: bool


@contextmanager
def open_staging(root: Path, study: str, say: Callable[[str], None]) -> Iterator[Path]:
    """Give an empty folder for a run's new results, the study's lock held; first undo what a stopped run left half done.

    Raises SourceError where another run of the study is going on, without touching anything of it.
    """
    folder = root / "data" / "processed"
    staging = folder / f".evalkit-{study}.new"
    with hold_lock(folder / f".evalkit-{study}.lock"):
        with explain_failed_writes(folder):
            _clean(root, staging, say)
            staging.mkdir()
        try:
            yield staging
        finally:
            if not (staging / _JOURNAL).exists():  # it lists what the next run has to put back
                shutil.rmtree(staging, ignore_errors=True)


def put_in_place(root: Path, staging: Path, places: Mapping[Path, Path]) -> None:
    """Move each new file or folder of the staging folder to its place in the project: all of them, or none.

    Raises SourceError where one cannot be moved (on Windows, a program that has a file open holds it); the last results then
    stand as they were. A reader sees each place old, for an instant missing, or new.
    """
    (staging / "old").mkdir()
    moves = [
        _Move(new, place, staging / "old" / str(i), os.path.lexists(place))
        for i, (new, place) in enumerate(places.items())
    ]
    for move in moves:
        move.place.parent.mkdir(parents=True, exist_ok=True)
        if move.replaces and move.place.is_dir() != move.new.is_dir():
            kind, wanted = ("folder", "file") if move.place.is_dir() else ("file", "folder")
            what = f"a {kind} stands where the run writes a {wanted}"
            raise SourceError(what, where=str(move.place), remedy=f"move or rename that {kind}")
        for file in [move.new] if move.new.is_file() else move.new.rglob("*"):
            if file.is_file():
                _flush(file)
    try:
        _write_journal(root, staging, moves)
        for move in moves:
            if move.replaces:
                _replace(move.place, move.old, move.place)
            _replace(move.new, move.place, move.place)
        _patiently((staging / _JOURNAL).unlink)
    finally:
        if (staging / _JOURNAL).exists():
            _undo(staging, moves)


@contextmanager
def explain_failed_writes(folder: Path, last: Iterable[Path] = ()) -> Iterator[None]:
    """Turn what the system refuses inside into one SourceError with place and remedy; `last` are results to be replaced."""
    try:
        yield
    except OSError as error:
        refused = explain_refusal(error, str(folder))
        if error.errno != ENOSPC:
            raise refused from None
        taken = sum(_size(one) for one in last)
        room = f"; the last results take {taken / 1e6:.1f} MB, and new ones are made beside them" if taken else ""
        least = 2.5 * taken / 1e6  # tables and figures twice: papers are set from a copy
        remedy = f"make room on it, at least {least:.1f} MB, and run again" if taken else refused.remedy
        what = f"{refused.what}: {shutil.disk_usage(folder).free / 1e6:.1f} MB are free{room}"
        raise SourceError(what, where=refused.where, remedy=remedy) from None


def require_writable(folder: Path) -> None:
    """Make a folder if it is missing and write to it: better refused now than after the computing."""
    with explain_failed_writes(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass


def _clean(root: Path, staging: Path, say: Callable[[str], None]) -> None:
    """Undo and remove what a stopped run left, and say so."""
    if not os.path.lexists(staging):
        return
    if (staging / _JOURNAL).exists():
        moves = _read_journal(root, staging)
        if _undo(staging, moves):
            names = ", ".join(move.place.relative_to(root).as_posix() for move in moves)
            say(f"the last run was stopped while it replaced results; put back: {names}")
    _patiently(partial(shutil.rmtree, staging))
    say("removed what a stopped run had left")


def _undo(staging: Path, moves: Sequence[_Move]) -> bool:
    """Take new results out of their places and put the old ones back; say whether any had moved."""
    begun = [one for one in moves if os.path.lexists(one.old) or not (one.replaces or os.path.lexists(one.new))]
    for move in reversed(begun):
        steps = [(move.place, move.new)] if os.path.lexists(move.place) else []
        for source, target in [*steps, (move.old, move.place)] if move.replaces else steps:
            try:
                if os.path.lexists(target):
                    raise FileExistsError(EEXIST, "something else stands there by now")
                _patiently(partial(source.rename, target))
            except OSError as error:
                raise SourceError(
                    f"the results of the last run cannot be put back ({error.strerror or error})",
                    where=str(_held(source) or move.place),
                    remedy=f"{_CLOSE}: it first puts back what {staging} keeps",
                ) from None
    _patiently((staging / _JOURNAL).unlink)
    return bool(begun)


def _replace(source: Path, target: Path, place: Path) -> None:
    try:
        _patiently(partial(source.rename, target))
    except PermissionError as error:
        raise SourceError(
            f"the results of the last run cannot be replaced ({error.strerror}) and stay as they were",
            where=str(_held(source) or place),
            remedy=_CLOSE,
        ) from None
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(place)) from None


def _patiently(act: Callable[[], object]) -> None:
    """Try again for a moment where a file is in use: a virus scanner looks into every new one."""
    for pause in _PAUSES:
        try:
            act()
        except PermissionError:
            time.sleep(pause)
        else:
            return
    act()


def _held(path: Path) -> Path | None:
    """Find the file that a program holds: Windows refuses it even its own name."""
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        try:
            os.rename(file, file)
        except OSError:
            return file
    return None


def _write_journal(root: Path, staging: Path, moves: Iterable[_Move]) -> None:
    """Write the list of moves, by paths from the project's root: it may be another computer's by the time it is read."""
    listed = [
        {"new": _below(staging, move.new), "place": _below(root, move.place), "replaces": move.replaces}
        for move in moves
    ]
    part = staging / f"{_JOURNAL}.part"
    part.write_text(json.dumps(listed, ensure_ascii=False), encoding="utf-8")
    _flush(part)
    _patiently(partial(part.replace, staging / _JOURNAL))


def _read_journal(root: Path, staging: Path) -> list[_Move]:
    try:
        listed = json.loads((staging / _JOURNAL).read_text(encoding="utf-8"))
        moves = [
            _Move(staging / one["new"], root / one["place"], staging / "old" / str(i), one["replaces"])
            for i, one in enumerate(listed)
        ]
        for move in moves:
            _below(staging, move.new), _below(root, move.place)
    except (ValueError, KeyError, TypeError):
        raise SourceError(
            "the list of moves that a stopped run left is damaged",
            where=str(staging / _JOURNAL),
            remedy=f"put the last results back by hand from {staging / 'old'}, then delete {staging}",
        ) from None
    return moves


def _below(folder: Path, path: Path) -> str:
    """Return a path from a folder that it lies in; ValueError where it does not."""
    return Path(os.path.normpath(path)).relative_to(folder).as_posix()


def _flush(file: Path) -> None:
    """Have a file on the disk itself, where a power cut does not reach it."""
    with file.open("r+b") as handle:
        os.fsync(handle.fileno())


def _size(path: Path) -> int:
    return sum(one.stat().st_size for one in (path, *path.rglob("*")) if one.is_file())
