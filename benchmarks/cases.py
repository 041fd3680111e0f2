"""What evalkit, SQL by hand and the bare machine do with a large panel; one case a process, told as JSON (see `large.py`).

Columns are read before the clock starts, except in `cells` and `sql`, which start from the file: there the first run is cold,
counted from `import evalkit` (or `import duckdb`) on, and the second is warm.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from evalkit import Design, Estimate
    from evalkit.results.estimation import Estimator, Inference

COVARIATES = ("x1", "x2")
DRAWS = 9_999  # of the wild bootstrap
PLACEBOS = 999  # random assignments
# Of each estimator, the effect that is compared with others'.
TERMS = {"EventStudy": "ATT(e=0)", "SunAbraham": "ATT(e=0)"}
# What a hand would write who knows the columns and their ranges: ten years from 2010, one county and cohort to a unit, unchecked.
SQL = """
with units as (
    select unit, any_value(county) as county, any_value(first) as first, sum(1::bigint << (year - 2010)) as pattern
    from read_parquet('{path}') where y is not null group by unit
), kinds as (
    select county, first, pattern, (row_number() over ())::int as kind
    from (select distinct county, first, pattern from units)
), kind_of as (
    select unit, kind from units join kinds on units.county = kinds.county
    and units.first is not distinct from kinds.first and units.pattern = kinds.pattern
)
select kind * {periods} + year - 2010 as cell, count(*) as n, sum(y) as total
from read_parquet('{path}') join kind_of using (unit) where y is not null group by cell
"""


def timed(calls: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Seconds of each call, in order."""
    seconds = {}
    for name, call in calls.items():
        start = time.perf_counter()
        call()
        seconds[name] = time.perf_counter() - start
    return seconds


def number(one: Estimate) -> list[float]:
    """The effect compared, and its standard error."""
    term = TERMS.get(type(one.spec.estimator).__name__, "ATT")
    return [float(one.params[term]), float(one.bse[term])]


def design_of(covariates: str) -> Design:
    """The design, with the two covariates where they are asked for ("x"), or without ("-")."""
    from evalkit import Design

    return Design(
        outcome="y", adoption="first", assigned_at="county", covariates=COVARIATES if covariates == "x" else ()
    )


def named(estimator: str) -> Estimator:
    """An estimator by its name; the event study covers all event times of ten periods."""
    from evalkit import estimators

    options = {"EventStudy": {"leads": 7, "lags": 6}}.get(estimator, {})
    one: Estimator = getattr(estimators, estimator)(**options)
    return one


def inferred(inference: str) -> Inference:
    """An inference by its name."""
    import evalkit.inference

    one: Inference = getattr(evalkit.inference, inference)()
    return one


def run_cells(path: Path, estimator: str, inference: str) -> dict[str, object]:
    """From the file to the table of estimates: collapse, estimate, tidy; twice."""
    start = time.perf_counter()
    import evalkit

    found = []

    def call() -> Estimate:
        panel = evalkit.collapse(path, design_of("-"), unit="unit", time="year", squares=False)
        found[:] = [len(panel), float(panel.frame[str(panel.counts)].sum())]
        one = evalkit.estimate(panel, design_of("-"), named(estimator), inference=inferred(inference))
        one.tidy()
        return one

    one = call()
    seconds = {"cold": time.perf_counter() - start}
    seconds |= timed({"warm": call})
    return {"seconds": seconds, "numbers": {inference: number(one), "cells": found}}


def run_sql(path: Path) -> dict[str, object]:
    """The cells by SQL on DuckDB; twice."""
    start = time.perf_counter()
    import duckdb

    connection = duckdb.connect()
    connection.execute("set preserve_insertion_order = false")
    found: list[float] = []

    def call() -> None:
        cells = connection.sql(SQL.format(path=path, periods=10)).to_arrow_table()
        found[:] = [cells.num_rows, float(sum(cells["n"].to_pylist()))]

    call()
    seconds = {"cold": time.perf_counter() - start}
    return {"seconds": seconds | timed({"warm": call}), "numbers": {"cells": found}}


def run_rows(path: Path, estimator: str, covariates: str) -> dict[str, object]:
    """On rows in memory: verify the panel, and estimate twice."""
    from panels import read_columns

    from evalkit import Panel, estimate
    from evalkit.inference import Cluster

    design, chosen = design_of(covariates), named(estimator)
    frame = read_columns(path, ["unit", "year", "county", "first", *(COVARIATES if covariates == "x" else ()), "y"])
    made: list[Panel] = []

    def verify() -> None:
        made.append(Panel.from_frame(frame, unit="unit", time="year"))

    def call() -> list[float]:
        return number(estimate(made[0], design, chosen, inference=Cluster()))

    seconds = timed({"panel": verify, "first": call, "second": call})
    one = estimate(made[0], design, chosen, inference=Cluster())
    plain = number(one.under(Cluster(correction="none")))
    return {"seconds": seconds, "numbers": {"Cluster": number(one), "Cluster, no factor": plain}}


def run_wild(path: Path) -> dict[str, object]:
    """The wild cluster bootstrap after the fit, p-value and interval; twice."""
    from panels import read_columns

    from evalkit import Panel, estimate
    from evalkit.inference import Cluster, WildBootstrap

    panel = Panel.from_frame(read_columns(path, ["unit", "year", "county", "first", "y"]), unit="unit", time="year")
    one = estimate(panel, design_of("-"), named("TwoWayFE"), inference=Cluster())

    def call() -> None:
        one.under(WildBootstrap(draws=DRAWS, seed=1)).tidy()

    return {"seconds": timed({"first": call, "second": call}), "numbers": {"Cluster": number(one)}}


def run_checks(path: Path, covariates: str) -> dict[str, object]:
    """Each of the standard checks once, on rows in memory; the estimates that they challenge are not counted in."""
    from panels import COUNTIES, read_columns

    from evalkit import Panel, check, estimate
    from evalkit.checks import GroupGaps, LeaveOneOut, PlaceboAdoption, PlaceboAssignment, PreTrends, Sensitivity
    from evalkit.estimators import EventStudy, Split, TwoWayFE
    from evalkit.inference import Cluster

    design = design_of(covariates)
    frame = read_columns(path, ["unit", "year", "county", "first", *(COVARIATES if covariates == "x" else ()), "y"])
    frame["half"] = frame["unit"] // COUNTIES % 2
    panel = Panel.from_frame(frame, unit="unit", time="year")
    leads = EventStudy(leads=3, lags=2)
    effect, path_of_effects, gap = (
        estimate(panel, design, one, inference=Cluster())
        for one in (TwoWayFE(), leads, Split(by="half", estimator=TwoWayFE()))
    )
    asked = {
        "LeaveOneOut": (effect, LeaveOneOut()),
        "PlaceboAdoption": (effect, PlaceboAdoption(shift=2, draws=PLACEBOS, seed=1)),
        "PlaceboAssignment": (effect, PlaceboAssignment(draws=PLACEBOS, seed=1)),
        "PreTrends": (effect, PreTrends(estimator=leads, bound=0.1, draws=PLACEBOS, seed=1)),
        "Sensitivity": (path_of_effects, Sensitivity()),
        "GroupGaps": (gap, GroupGaps(draws=PLACEBOS, seed=1)),
    }
    seconds = timed({name: lambda one=one, what=what: check(one, what) for name, (one, what) in asked.items()})
    return {"seconds": seconds, "numbers": {"Cluster": number(effect)}}


def run_limit(path: Path) -> dict[str, object]:
    """What no program on this machine can do without: read the columns, group rows once, pass over a column once."""
    import duckdb
    import numpy as np
    from panels import once, read_columns

    columns = ["unit", "year", "county", "first", "y"]
    y = read_columns(path, ["y"])["y"].to_numpy()
    code = read_columns(path, ["unit"])["unit"].to_numpy()
    connection = duckdb.connect()
    grouped = f"select unit, count(*), sum(y) from read_parquet('{path}') group by unit"
    calls: dict[str, Callable[[], object]] = {
        "read": lambda: read_columns(path, columns),
        "group": lambda: connection.sql(grouped).to_arrow_table(),
        "pass": lambda: y.sum(),
        "count": lambda: np.bincount(code, weights=y),
    }
    seconds = {name: statistics.median([once(call) for _ in range(6)][1:]) for name, call in calls.items()}
    return {"seconds": seconds, "numbers": {}}


def run_simulate(path: Path, units: str, periods: str, gaps: str) -> dict[str, object]:
    """Write a panel, whole or with 3 % of its rows missing."""
    from panels import simulate_panel, thin, with_codes

    frame = simulate_panel(int(units), int(periods))
    with_codes(thin(frame) if gaps == "gaps" else frame).to_parquet(path, index=False)
    return {"seconds": {}, "numbers": {}}


RUNS: dict[str, Callable[..., dict[str, object]]] = {
    "cells": run_cells,
    "sql": run_sql,
    "rows": run_rows,
    "wild": run_wild,
    "checks": run_checks,
    "limit": run_limit,
    "simulate": run_simulate,
}


def main() -> None:
    """Run the case that the arguments name, and tell what was found."""
    kind, path, *options = sys.argv[1:]
    told = RUNS[kind](Path(path), *options)
    from panels import peak_memory

    print(json.dumps(told | {"peak": peak_memory()}))


if __name__ == "__main__":
    main()
