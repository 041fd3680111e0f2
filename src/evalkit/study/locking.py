"""Locking: one run of a study at a time, whoever starts it; what a run that was stopped had locked is free.

The system lets go of the lock when the process ends, however it ends: no process is looked for by a number that may have been
given anew. The text in the file only says whose it is.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from errno import EACCES, EAGAIN, ENOENT
from pathlib import Path
from typing import TextIO

from evalkit.errors import SourceError, explain_refusal

_TRIES = 100  # against runs that end just now, and take their lock away


@contextmanager
def hold_lock(file: Path) -> Iterator[None]:
    """Hold the lock that a file stands for; its folders are made for as long as they are missing.

    Raises SourceError with process, computer and time where another run holds it. A lock that was left by another computer, or
    on a disk that keeps no locks, may be held: it is never taken over.
    """
    missing = [one for one in file.parents if not one.exists()]
    try:
        handle = _take(file)
    except OSError as error:
        raise explain_refusal(error, str(file)) from None
    try:
        with handle:
            try:
                yield
            finally:
                with suppress(OSError):
                    os.ftruncate(handle.fileno(), 0)
                if sys.platform == "win32":
                    handle.close()  # an open file cannot be deleted there
                with suppress(OSError):
                    file.unlink()  # elsewhere while it is held: afterwards it may be another run's
    finally:
        for folder in missing:
            with suppress(OSError):  # there are results in it
                folder.rmdir()


def _take(file: Path) -> TextIO:
    """Open the file, lock it and sign it."""
    for _ in range(_TRIES):
        with suppress(FileNotFoundError), ExitStack() as closing:  # not found: the run that held it has just ended
            file.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
            handle = closing.enter_context(open(descriptor, encoding="utf-8", errors="replace"))
            _require_free(handle, file)
            if os.path.samestat(os.fstat(descriptor), file.stat()):
                with suppress(OSError):  # a full disk is told of where results are written
                    _sign(descriptor)
                closing.pop_all()
                return handle
    raise FileNotFoundError(ENOENT, os.strerror(ENOENT), str(file))


def _sign(descriptor: int) -> None:
    """Write whose the lock is."""
    since = datetime.now().astimezone().isoformat(" ", "seconds")
    owner = {"process": os.getpid(), "computer": socket.gethostname(), "since": since}
    os.ftruncate(descriptor, 0)
    os.lseek(descriptor, 0, os.SEEK_SET)
    os.write(descriptor, json.dumps(owner, ensure_ascii=False).encode())


def _require_free(handle: TextIO, file: Path) -> None:
    """Lock an open file; refuse where another run holds it, or may."""
    locked = _lock(handle.fileno())
    owner = _read_owner(handle)
    elsewhere = bool(owner) and owner.get("computer") != socket.gethostname()
    if locked and not elsewhere:
        return
    named = f"process {owner['process']} on {owner['computer']}, since {owner['since']}" if owner else "just begun"
    if locked is False:
        raise SourceError(
            f"another run of this study is going on ({named})",
            where=str(file),
            remedy="wait until it has ended, or stop it, and run again",
        )
    if owner:
        raise SourceError(
            f"a run of this study has not taken its lock away ({named}), and from here it cannot be seen whether it goes on",
            where=str(file),
            remedy="wait until it has ended; if it was stopped, delete this file and run again",
        )


def _lock(descriptor: int) -> bool | None:
    """Lock an open file, if nobody has; None where the disk keeps no locks."""
    try:
        if sys.platform == "win32":
            import msvcrt

            os.lseek(descriptor, 1 << 30, os.SEEK_SET)  # what is locked cannot be read there: lock behind the text
            try:
                msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
            finally:
                os.lseek(descriptor, 0, os.SEEK_SET)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return False if error.errno in (EACCES, EAGAIN) else None
    return True


def _read_owner(handle: TextIO) -> dict[str, str]:
    """Read whose a lock is; nothing where nobody has signed it."""
    try:
        read = json.loads(handle.read())
        return {key: str(read[key]) for key in ("process", "computer", "since")}
    except (ValueError, KeyError, TypeError):
        return {}
