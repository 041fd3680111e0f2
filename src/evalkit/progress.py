"""Progress: a bar with the time left for loops that last, where somebody watches, and nothing anywhere else."""

from __future__ import annotations

import shutil
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, TypeVar

_One = TypeVar("_One")
_AFTER = 2.0  # seconds that a loop lasts before its bar shows
_WIDEST = 80  # columns
_FORMAT = "{desc}: {percentage:3.0f}% |{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}]"


class _Shown(threading.local):
    """Whether this thread is inside a loop that has a bar."""

    bar = False


_shown = _Shown()


@contextmanager
def show_progress(of: str, total: int) -> Iterator[Callable[[int], object]]:
    """Give a function that says how many more of `total` steps are done, shown on stderr as those of the class `of`.

    The bar shows once the loop has lasted 2 s, on a terminal or in a notebook, and is wiped at the end; of loops inside one
    another the outermost has it. Elsewhere (files, pipes, tests) nothing is written. No number depends on it.
    """
    if _shown.bar or not _is_watched():
        yield _say_nothing
        return
    # Both sizes are given, since tqdm shows nothing on a terminal that says it has none (in containers).
    size = {"ncols": min(shutil.get_terminal_size().columns, _WIDEST), "nrows": 2}
    bar = _bar()(total=total, desc=of, delay=_AFTER, leave=False, bar_format=_FORMAT, file=sys.stderr, **size)
    _shown.bar = True
    try:
        yield bar.update
    finally:
        _shown.bar = False
        bar.close()


def watched(items: Iterable[_One], of: str, total: int) -> Iterator[_One]:
    """Yield items, and show how many of `total` have been dealt with; to be named in the head of a loop only.

    What a variable held would be closed, and its bar with it, as late as that variable.
    """
    with show_progress(of, total) as advance:
        for one in items:
            yield one
            advance(1)


def _is_watched() -> bool:
    """Say whether stderr is a terminal, or the cell of a notebook."""
    stream = sys.stderr
    if type(stream).__module__.partition(".")[0] == "ipykernel":
        return True
    return stream is not None and stream.isatty()


def _say_nothing(steps: int) -> None:
    """Take note of steps that nobody watches."""


@cache
def _bar() -> Any:
    """Load tqdm's bar, where one is to be shown; without its thread that watches over slow steps, and the lock of processes."""
    from tqdm import tqdm

    bar: Any = type("Bar", (tqdm,), {"monitor_interval": 0})
    bar.set_lock(threading.RLock())
    return bar
