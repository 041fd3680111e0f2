"""Tiny results put in place as a run does it, and every call of the file system on the way handed to what makes it fail."""

from __future__ import annotations

import builtins
import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from evalkit.study import storage
from evalkit.study.storage import open_staging, put_in_place

PLACES = {"tables": "data/processed/s", "figures": "figures/s", "a.pdf": "analyses/s/a.pdf"}
FILES = ("data/processed/s/estimates.csv", "figures/s/path_en.png", "analyses/s/a.pdf")
OLD, NEW = (dict.fromkeys(FILES, text) for text in ("old", "new"))
CALLS = tuple((os, name) for name in ("rename", "replace", "mkdir", "unlink", "rmdir", "open", "fsync"))
CALLS += ((io, "open"), (builtins, "open"))


def make(root: Path, text: str) -> None:
    """Make tiny results and put them in place, as a run does."""
    with open_staging(root, "s", lambda _: None) as made:
        for folder in ("tables", "figures"):
            (made / folder).mkdir()
        for file in ("tables/estimates.csv", "figures/path_en.png", "a.pdf"):
            (made / file).write_text(text, encoding="utf-8")
        put_in_place(root, made, {made / name: root / place for name, place in PLACES.items()})


def reset(root: Path) -> None:
    for file in FILES:
        (root / file).write_text("old", encoding="utf-8")


def results(root: Path) -> dict[str, str]:
    return {file: (root / file).read_text(encoding="utf-8") for file in FILES if (root / file).exists()}


def hidden(root: Path) -> list[str]:
    return [path.name for path in root.rglob(".evalkit*")]


@contextmanager
def calls(act: Callable[[int, Callable[[], Any]], Any]) -> Iterator[list[int]]:
    """Hand every call of the file system to `act`, with its number: it may carry it out, and may fail before or after."""
    number = [0]
    kept = [(module, name, getattr(module, name)) for module, name in CALLS]

    def wrapped(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            number[0] += 1
            return act(number[0], lambda: real(*arguments, **named))

        return call

    for module, name, real in kept:
        setattr(module, name, wrapped(real))
    try:
        yield number
    finally:
        for module, name, real in kept:
            setattr(module, name, real)


def count_calls(root: Path) -> int:
    with calls(lambda _, do: do()) as number:
        make(root, "old")
    return number[0]


def start_next(root: Path) -> list[str]:
    """Start a run that ends before it has results."""
    said: list[str] = []
    with open_staging(root, "s", said.append) as made:
        assert not [*made.iterdir()]
    return said


def kill_everywhere(root: Path) -> tuple[int, int]:
    """Kill a run at every call of the file system, and the run that repairs it at every call of its own.

    Returns how many runs were killed, and how many of them left results that were neither the old nor the new ones.
    """
    storage._PAUSES, os.fsync = (), lambda descriptor: None

    def killed(at: int, run: Callable[[], object]) -> bool:
        def act(number: int, do: Callable[[], Any]) -> Any:
            return os._exit(9) if number == at else do()

        child = os.fork()
        if not child:
            try:
                with calls(act):
                    run()
            finally:
                os._exit(0)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9

    at, halves = 1, 0
    while killed(at, lambda: make(root, "new")):
        whole = results(root) in (OLD, NEW)
        halves += not whole
        again = 1
        while not whole and killed(again, lambda: start_next(root)):
            again += 1
        start_next(root)
        assert results(root) in (OLD, NEW), at
        assert not hidden(root), at
        reset(root)
        at += 1
    return at - 1, halves
