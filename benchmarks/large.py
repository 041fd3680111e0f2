"""Time and peak memory on large panels, each case in a process of its own: `python benchmarks/large.py [--rows 10000000]`.

Results are compared before any time is printed: a case whose numbers differ from evalkit's on rows is marked, and the exit
status is 1. Cases go round in turn, `--rounds` times; shown are medians with the least and the most. `--only` names parts,
`--write` puts the tables into docs/performance.md. Peers run in environments of their own (`make bench-peers`).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

# Nothing heavy is imported here: a process starts with the peak of the one that made it.
from peers import PEERS

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "performance.md"
BEGIN, END = "<!-- written by benchmarks/large.py: begin -->", "<!-- written by benchmarks/large.py: end -->"
ESTIMATORS = ("TwoWayFE", "EventStudy", "SunAbraham", "CallawaySantAnna", "Imputation")
OWN_PYTHON = ("pyfixest", "diff-diff")  # among the requirements of evalkit; the others have environments of their own
PARTS = {
    "cells": "From a Parquet file to the table of estimates, no covariates",
    "rows": "On rows in memory",
    "growth": "How time grows",
    "checks": "The standard checks",
    "limit": "The physical limit",
}
# What was set out to be reached: ratios at least, except where "at most" is said.
SQL_TARGET, CELLS_MEMORY, ROWS_MEMORY, WILD_TARGET, CHECKS_TARGET = 4.0, 1.0, 1.3, 1.0, 120.0
RATIO_TARGETS = {
    ("whole", "TwoWayFE", "pyfixest"): 12.0,
    ("whole", "TwoWayFE with x1, x2", "pyfixest"): 10.0,
    ("tenth", "TwoWayFE with x1, x2", "pyfixest"): 5.0,
    ("whole", "EventStudy", "pyfixest"): 20.0,
    ("whole", "CallawaySantAnna", "diff-diff"): 10.0,
}
# Estimator, covariates, and the two panels.
GROWTH = (
    ("SunAbraham", "-", "tenth", "whole"),
    ("SunAbraham", "x", "tenth", "whole"),
    ("Imputation", "-", "tenth", "whole"),
    ("Imputation", "x", "tenth", "whole"),
    ("SunAbraham", "-", "tenth", "long"),
    ("SunAbraham", "x", "tenth", "long"),
)
GROWTH_TARGETS = {"whole": 11.0, "long": 6.0}  # by the larger panel, at most
IN_MEMORY = (
    ("whole", ("TwoWayFE", "TwoWayFE with x1, x2", "EventStudy", "CallawaySantAnna")),
    ("tenth", ("TwoWayFE with x1, x2", "SunAbraham", "Imputation")),
)


@dataclass(frozen=True)
class Panel:
    """A panel on disk."""

    units: int
    periods: int
    gaps: str

    def say(self) -> str:
        """Its size in words."""
        rows = self.units * self.periods
        return f"{rows:,} rows{', less 3 % at random' if self.gaps == 'gaps' else ''}"


@dataclass(frozen=True)
class Job:
    """One case: the script and its arguments, the panel, and by whom."""

    part: str
    script: str
    arguments: tuple[str, ...]
    panel: str
    tool: str = "evalkit"

    def named(self) -> str:
        """For the progress."""
        return f"{self.part}: {self.tool}, {' '.join(self.arguments)}, {self.panel}"


@dataclass
class Found:
    """What the rounds told of a job."""

    seconds: dict[str, list[float]] = field(default_factory=dict)
    numbers: dict[str, list[float]] = field(default_factory=dict)
    peaks: list[float] = field(default_factory=list)
    failure: str = ""
    apart: str = ""

    def median(self, *labels: str) -> float:
        """Median over rounds of the sum of these seconds; nan where there is none."""
        if self.failure or not self.seconds:
            return float("nan")
        return statistics.median(self.summed(labels))

    def summed(self, labels: tuple[str, ...]) -> list[float]:
        """The sum of these seconds in each round."""
        return [sum(one) for one in zip(*(self.seconds[label] for label in labels), strict=True)]

    def show(self, *labels: str) -> str:
        """Median (least to most)."""
        if self.failure or not self.seconds:
            return "–"
        found = self.summed(labels)
        return f"{statistics.median(found):.2f} ({min(found):.2f}–{max(found):.2f})"

    def peak(self) -> str:
        """The largest peak, in GB."""
        return f"{max(self.peaks):.2f}" if self.peaks else "–"

    def remark(self) -> str:
        """What is to be said of the numbers."""
        return self.failure or self.apart or "agree"


def panels_of(rows: int) -> dict[str, Panel]:
    """The panels: whole, with gaps, a tenth of the units, and these over four times as many periods."""
    units = rows // 10
    return {
        "whole": Panel(units, 10, "whole"),
        "gaps": Panel(units, 10, "gaps"),
        "tenth": Panel(units // 10, 10, "whole"),
        "long": Panel(units // 10, 40, "whole"),
    }


def split(case: str) -> tuple[str, str]:
    """The estimator of a case, and whether it has covariates."""
    return case.split()[0], "x" if "x1" in case else "-"


def jobs(parts: tuple[str, ...]) -> Iterator[Job]:
    """All that is run, in order."""
    if "cells" in parts:
        for panel in ("whole", "gaps"):
            yield Job("cells", "cases", ("sql",), panel, "SQL")
            for estimator in ESTIMATORS:
                for inference in ("Cluster", "ByDesign"):
                    yield Job("cells", "cases", ("cells", estimator, inference), panel)
        for case in PEERS["hdfe-stream"].calls:
            if case.endswith("from the file"):
                yield Job("cells", "peers", (case,), "whole", "hdfe-stream")
    yield from sorted(set(_rows_needed(parts)), key=lambda job: (job.panel, job.arguments))
    if "rows" in parts:
        for panel, cases in IN_MEMORY:
            for case in cases:
                for tool, peer in PEERS.items():
                    if case in peer.calls:
                        yield Job("rows", "peers", (case,), panel, tool)
        yield Job("rows", "cases", ("wild",), "whole")
    if "checks" in parts:
        yield from (Job("checks", "cases", ("checks", covariates), "tenth") for covariates in "-x")
    if "limit" in parts:
        yield Job("limit", "cases", ("limit",), "whole")


def _rows_needed(parts: tuple[str, ...]) -> Iterator[Job]:
    """Estimates by evalkit on rows: timed in two parts, and what the numbers of the others are compared with."""
    if "cells" in parts:
        yield from (_on_rows(one, "-", panel) for one in ESTIMATORS for panel in ("whole", "gaps"))
    if "rows" in parts:
        yield from (_on_rows(*split(case), panel) for panel, cases in IN_MEMORY for case in cases)
    if "growth" in parts:
        yield from (_on_rows(one, x, size) for one, x, small, large in GROWTH for size in (small, large))


def _on_rows(estimator: str, covariates: str, panel: str) -> Job:
    return Job("rows", "cases", ("rows", estimator, covariates), panel)


def python_of(tool: str) -> Path:
    """The Python that a tool runs with."""
    if tool in ("evalkit", "SQL", *OWN_PYTHON):
        return Path(sys.executable)
    return HERE.parent / ".venv-peers" / tool / ("Scripts" if os.name == "nt" else "bin") / "python"


def run(job: Job, path: Path, found: Found, limit: float) -> None:
    """Run a job once, and add what it tells."""
    python = python_of(job.tool)
    if not python.exists():
        found.failure = "no environment: `make bench-peers`"
        return
    first = (job.tool,) if job.script == "peers" else ()
    kind, *options = job.arguments if job.script == "cases" else ("", *job.arguments)
    arguments = [*first, *options, str(path)] if job.script == "peers" else [kind, str(path), *options]
    try:
        done = subprocess.run(
            [python, str(HERE / f"{job.script}.py"), *arguments],
            capture_output=True, text=True, encoding="utf-8", check=False, timeout=limit,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        found.failure = f"not done after {limit:.0f} s"
        return
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"ended with status {done.returncode}"])[-1]
        found.failure = f"fails: {last[:160]}"
        return
    told = json.loads(done.stdout.splitlines()[-1])
    for label, seconds in told["seconds"].items():
        found.seconds.setdefault(label, []).append(seconds)
    found.numbers = told["numbers"]
    found.peaks.append(told["peak"])


def compare(found: dict[Job, Found]) -> bool:
    """Mark what differs from evalkit's estimates on the same rows, by more than a millionth; say whether anything does."""
    for job, one in found.items():
        if one.failure or job.arguments[0] in ("rows", "checks", "wild", "limit"):
            continue
        if job.arguments[0] == "sql":
            others = [o for j, o in found.items() if j.arguments[0] == "cells" and j.panel == job.panel]
            if any(o.numbers and o.numbers["cells"] != one.numbers["cells"] for o in others):
                one.apart = "DISAGREES: other cells"
            continue
        estimator, covariates = (job.arguments[1], "-") if job.arguments[0] == "cells" else split(job.arguments[0])
        rows = found.get(_on_rows(estimator, covariates, job.panel), Found())
        if not rows.numbers:
            one.apart = "not compared: no estimate on rows"
            continue
        for name, (effect, error) in one.numbers.items():
            if name == "cells":
                continue
            known = rows.numbers.get(name, rows.numbers["Cluster"])
            apart = abs(effect - known[0])
            if apart > 1e-6:
                one.apart = f"DISAGREES: the effect by {apart:.1e}"
            elif name in rows.numbers and abs(error / known[1] - 1) > 1e-6:
                one.apart = f"DISAGREES: the standard error is {error / known[1]:.4f} times"
    return any(one.apart.startswith("DISAGREES") for one in found.values())


# ------------------------------------------------------------------------------------------------------------ the tables


def table(head: str, rows: list[list[str]]) -> str:
    """A Markdown table; `head` names the columns, split at |."""
    columns = [one.strip() for one in head.split("|")]
    widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]
    lines = [columns, ["-" * width for width in widths], *rows]
    return "\n".join(f"| {' | '.join(c.ljust(w) for c, w in zip(line, widths, strict=True))} |" for line in lines)


def ratio(above: float, below: float = 1.0) -> str:
    """A ratio with one decimal, two below one; – where either is missing."""
    times = above / below
    return "–" if times != times else f"{times:.1f}" if times >= 0.95 else f"{times:.2f}"


def reached(value: float, target: float, *, most: bool) -> str:
    """Say whether a target is reached."""
    if value != value:
        return "–"
    return f"{'at most' if most else 'at least'} {target:g}: {'reached' if (value <= target) == most else 'MISSED'}"


def of_cells(found: dict[Job, Found], sizes: dict[str, Panel]) -> Iterator[str]:
    for panel in ("whole", "gaps"):
        mine = [(job, one) for job, one in found.items() if job.part == "cells" and job.panel == panel]
        sql = next(one for job, one in mine if job.tool == "SQL")
        rows = []
        for job, one in mine:
            name = "cells alone, SQL by hand" if job.tool == "SQL" else " ".join(job.arguments[-2:])
            cold, warm = one.median("cold") / sql.median("cold"), one.median("warm") / sql.median("warm")
            verdict = ""
            if job.tool == "evalkit":
                verdict = reached(max(cold, warm), SQL_TARGET, most=True)
                if one.peaks:
                    verdict += f"; GB {reached(max(one.peaks), CELLS_MEMORY, most=True)}"
            who = job.tool if job.tool != "SQL" else "DuckDB"
            rows.append(
                [name, who, one.show("cold"), ratio(cold), one.show("warm"), ratio(warm),
                 one.peak(), one.remark(), verdict]
            )  # fmt: skip
        yield f"{sizes[panel].say()}:"
        yield table("case | tool | cold, s | × SQL | warm, s | × SQL | peak, GB | numbers | target", rows)


def of_rows(found: dict[Job, Found], sizes: dict[str, Panel]) -> Iterator[str]:
    for panel, cases in IN_MEMORY:
        rows = []
        for case in cases:
            mine = found[_on_rows(*split(case), panel)]
            verdict = ""
            if (panel, case) == ("whole", "TwoWayFE") and mine.peaks:
                verdict = f"GB {reached(max(mine.peaks), ROWS_MEMORY, most=True)}"
            rows.append([case, "evalkit", mine.show("first"), mine.show("second"), mine.show("panel", "first"),
                         mine.peak(), "", "", mine.failure or "compared with", verdict])  # fmt: skip
            for tool, peer in PEERS.items():
                other = found.get(Job("rows", "peers", (case,), panel, tool))
                if other is None:
                    why = peer.cannot.get(case, "not asked")
                    rows.append([case, tool, "–", "–", "–", "–", "–", "–", why, ""])
                    continue
                times = other.median("second") / mine.median("second")
                target = RATIO_TARGETS.get((panel, case, tool))
                rows.append([case, tool, other.show("first"), other.show("second"), other.show("first"), other.peak(),
                             ratio(other.median("second"), mine.median("second")),
                             ratio(other.median("first"), mine.median("panel", "first")),
                             other.remark(), reached(times, target, most=False) if target else ""])  # fmt: skip
        yield f"{sizes[panel].say()}:"
        yield table(
            "case | tool | first, s | second, s | first, from the frame, s | peak, GB | second ÷ evalkit's | "
            "from the frame ÷ evalkit's | numbers | target",
            rows,
        )
    wild = found[Job("rows", "cases", ("wild",), "whole")]
    yield table(
        "9,999 draws of the wild bootstrap after the fit of TwoWayFE | first, s | second, s | peak, GB | target",
        [[sizes["whole"].say(), wild.show("first"), wild.show("second"), wild.peak(),
          reached(wild.median("first"), WILD_TARGET, most=True)]],
    )  # fmt: skip


def of_growth(found: dict[Job, Found], sizes: dict[str, Panel]) -> Iterator[str]:
    rows = []
    for estimator, covariates, small, large in GROWTH:
        below, above = (found[_on_rows(estimator, covariates, size)] for size in (small, large))
        ratios = [above.median(label) / below.median(label) for label in ("first", "second")]
        rows.append(
            [f"{estimator}{' with x1, x2' if covariates == 'x' else ''}",
             f"{sizes[small].units:,} × {sizes[small].periods} to {sizes[large].units:,} × {sizes[large].periods}",
             below.show("first"), above.show("first"), ratio(ratios[0]), below.show("second"), above.show("second"),
             ratio(ratios[1]), above.peak(), reached(max(ratios), GROWTH_TARGETS[large], most=True)]
        )  # fmt: skip
    yield table(
        "estimator | units × periods | first, s | first, s | times | second, s | second, s | times | peak, GB | target",
        rows,
    )


def of_checks(found: dict[Job, Found], sizes: dict[str, Panel]) -> Iterator[str]:
    plain, with_x = (found[Job("checks", "cases", ("checks", covariates), "tenth")] for covariates in "-x")
    names = tuple(plain.seconds or with_x.seconds)
    rows = [[name, plain.show(name), with_x.show(name)] for name in names]
    rows.append(["all", plain.show(*names), with_x.show(*names)])
    verdicts = (plain.failure or reached(plain.median(*names), CHECKS_TARGET, most=True),
                with_x.failure or reached(with_x.median(*names), CHECKS_TARGET, most=True))  # fmt: skip
    rows += [["peak, GB", plain.peak(), with_x.peak()], ["target", *verdicts]]
    yield f"{sizes['tenth'].say()}, each check once, 999 draws where it draws:"
    yield table("check | without covariates, s | with x1, x2, s", rows)


def of_limit(found: dict[Job, Found], sizes: dict[str, Panel]) -> Iterator[str]:
    one = found[Job("limit", "cases", ("limit",), "whole")]
    what = {
        "read": "five columns from Parquet into memory, one after the other (pyarrow)",
        "group": "count and sum by unit, from the file (DuckDB)",
        "pass": "the sum of a column in memory (NumPy, one thread)",
        "count": "sums by unit of a column in memory (NumPy's bincount, one thread)",
    }
    yield f"{sizes['whole'].say()}:"
    rows = [[words, f"{1000 * one.median(name):.0f}"] for name, words in what.items()]
    yield table("what | ms", [*rows, ["numbers", one.failure]] if one.failure else rows)


TABLES = {"cells": of_cells, "rows": of_rows, "growth": of_growth, "checks": of_checks, "limit": of_limit}


def machine() -> str:
    """What it ran on, and the versions."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    names = ("evalkit", "numpy", "pandas", "pyarrow", "duckdb", "pyfixest", "diff-diff")
    versions = [f"{name} {_version(name)}" for name in names]
    memory = ""
    if Path("/proc/meminfo").exists():
        memory = f", {int(Path('/proc/meminfo').read_text().split()[1]) / 1e6:.0f} GB of memory"
    pinned = [line for tool in PEERS if tool not in OWN_PYTHON for line in pins(tool)]
    return (
        f"{cores} cores ({platform.machine()}, {platform.system()}){memory}; Python {platform.python_version()}, "
        f"{', '.join(versions)}; in environments of their own {', '.join(pinned)}"
    )


def pins(tool: str) -> Iterator[str]:
    """The version of a peer that its environment has, from the file that pins it."""
    for line in (HERE / "environments" / f"{tool}.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith(f"{tool}=="):
            yield line.replace("==", " ")


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "from the source"


def asked() -> Iterator[str]:
    """What every peer was called with."""
    for tool, peer in PEERS.items():
        for case, call in peer.calls.items():
            yield f"- {tool}, {case}: `{call.code}`"


def main() -> int:
    """Run, compare, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=10_000_000, help="of the whole panel (10 periods)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=tuple(PARTS), metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--limit", type=float, default=900.0, help="seconds that one process may take")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/performance.md")
    chosen = parser.parse_args()
    parts, sizes = tuple(chosen.only), panels_of(chosen.rows)
    found = {job: Found() for job in jobs(parts)}
    with tempfile.TemporaryDirectory() as folder:
        for name in sorted({job.panel for job in found}):
            one = sizes[name]
            print(f"writing the panel {name}: {one.say()}", file=sys.stderr, flush=True)
            arguments = ("simulate", Path(folder) / f"{name}.parquet", one.units, one.periods, one.gaps)
            subprocess.run(
                [sys.executable, str(HERE / "cases.py"), *map(str, arguments)], check=True, stdout=subprocess.PIPE
            )
        for i in range(chosen.rounds):
            for job, one in found.items():
                known = i > 0 and job.panel == "gaps" and job.part == "rows"  # only compared with
                if not one.failure and not known:
                    print(f"round {i + 1} of {chosen.rounds}, {job.named()}", file=sys.stderr, flush=True)
                    run(job, Path(folder) / f"{job.panel}.parquet", one, chosen.limit)
    wrong = compare(found)
    ours = [job for job, one in found.items() if one.failure and job.tool == "evalkit"]
    rounds = "One round" if chosen.rounds == 1 else f"Medians of {chosen.rounds} rounds (least–most)"
    written = [f"{machine()}. {rounds}.", ""]
    for part in parts:
        written += [f"### {PARTS[part]}", "", *(f"{text}\n" for text in TABLES[part](found, sizes))]
    written += ["### What the peers were asked", "", *asked()]
    print("\n".join(written))
    if chosen.write:
        page = PAGE.read_text(encoding="utf-8")
        before, after = page.split(BEGIN)[0], page.split(END)[1]
        text = "\n".join(written)
        PAGE.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}", encoding="utf-8", newline="\n")
    for job in ours:
        print(f"{job.named()}: {found[job].failure}", file=sys.stderr)
    return int(wrong or bool(ours))


if __name__ == "__main__":
    sys.exit(main())
