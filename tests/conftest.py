"""One thread per process, and what is gone through: a covering sample of the grids, or with --exhaustive everything.

Tests of Apache Spark run where it and Java are found, and are counted aloud where they are not; with --spark they must run.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from typing import Any

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"  # before NumPy is loaded: threads of small matrices wait for one another, and cost

import pytest  # noqa: E402

import sampling  # noqa: E402

LEFT_OUT = pytest.StashKey[int]()
WITHOUT_SPARK = pytest.StashKey[int]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--exhaustive", action="store_true", help="every combination of the grids, all inputs of fuzz tests"
    )
    parser.addoption("--spark", action="store_true", help="fail where pyspark or Java is missing")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "exhaustive: beyond the covering sample of a grid, or hundreds of simulated worlds; run by make test-all",
    )
    config.addinivalue_line("markers", "spark: runs where pyspark and Java are found; run by make test-spark")
    sampling.exhaustive = config.getoption("--exhaustive")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    lacking = [one for one, there in (("pyspark", _has_pyspark()), ("Java", shutil.which("java"))) if not there]
    on_spark = [item for item in items if item.get_closest_marker("spark")]
    if lacking and on_spark:
        if config.getoption("--spark"):
            raise pytest.UsageError(f"{' and '.join(lacking)} not found: install Java 17 and the extra spark")
        items[:] = [item for item in items if item not in on_spark]
        config.hook.pytest_deselected(items=on_spark)
        config.stash[WITHOUT_SPARK] = len(on_spark)
    if not sampling.exhaustive:
        beyond = [item for item in items if item.get_closest_marker("exhaustive")]
        items[:] = [item for item in items if not item.get_closest_marker("exhaustive")]
        config.hook.pytest_deselected(items=beyond)
        config.stash[LEFT_OUT] = len(beyond)


def _has_pyspark() -> bool:
    return importlib.util.find_spec("pyspark") is not None


def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(session.config, "workeroutput"):  # a process of pytest-xdist, whose controller collects nothing itself
        session.config.workeroutput["left out"] = session.config.stash.get(LEFT_OUT, 0)
        session.config.workeroutput["without spark"] = session.config.stash.get(WITHOUT_SPARK, 0)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    node.config.stash[LEFT_OUT] = getattr(node, "workeroutput", {}).get("left out", 0)
    node.config.stash[WITHOUT_SPARK] = getattr(node, "workeroutput", {}).get("without spark", 0)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if missed := config.stash.get(WITHOUT_SPARK, 0):
        terminalreporter.line(
            f"not run: {missed} tests of Apache Spark, for which pyspark or Java is missing; make test-spark"
        )
    if not sampling.exhaustive:
        left = config.stash.get(LEFT_OUT, 0)
        terminalreporter.line(
            f"left out: {left} tests beyond covering samples or of hundreds of worlds, and most inputs of fuzz tests"
        )
        terminalreporter.line("make test-all runs them all")
