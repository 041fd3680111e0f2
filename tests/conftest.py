"""One thread per process, and what is gone through: a covering sample of the grids, or with --exhaustive everything."""

from __future__ import annotations

import os
from typing import Any

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"  # before NumPy is loaded: threads of small matrices wait for one another, and cost

import pytest  # noqa: E402

import sampling  # noqa: E402

LEFT_OUT = pytest.StashKey[int]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--exhaustive", action="store_true", help="every combination of the grids, all inputs of fuzz tests"
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "exhaustive: beyond the covering sample of a grid, or hundreds of simulated worlds; run by make test-all",
    )
    sampling.exhaustive = config.getoption("--exhaustive")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not sampling.exhaustive:
        beyond = [item for item in items if item.get_closest_marker("exhaustive")]
        items[:] = [item for item in items if not item.get_closest_marker("exhaustive")]
        config.hook.pytest_deselected(items=beyond)
        config.stash[LEFT_OUT] = len(beyond)


def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(session.config, "workeroutput"):  # a process of pytest-xdist, whose controller collects nothing itself
        session.config.workeroutput["left out"] = session.config.stash.get(LEFT_OUT, 0)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    node.config.stash[LEFT_OUT] = getattr(node, "workeroutput", {}).get("left out", 0)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if not sampling.exhaustive:
        left = config.stash.get(LEFT_OUT, 0)
        terminalreporter.line(
            f"left out: {left} tests beyond covering samples or of hundreds of worlds, and most inputs of fuzz tests"
        )
        terminalreporter.line("make test-all runs them all")
