"""What each peer is asked to do with the same panel, and what it cannot do (`large.py` runs it with the peer's own Python).

`python benchmarks/peers.py PEER CASE FILE` reads the columns that the call needs, runs the call twice, and tells seconds, peak
memory, estimate and standard error as JSON. Calls are kept as text, so that what is printed is what was run.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path


@dataclass(frozen=True)
class Call:
    """What a peer is asked.

    code      an expression in the module's short name and in `frame` (or `path`, where the peer reads the file itself).
    result    the effect and its standard error, in an expression of `fit`.
    columns   of the file that are read into the frame before the clock starts.
    held_as   what the frame is: "pandas", "polars", or "path", where the clock starts before the peer is imported.
    factor    whether the standard error has the small-sample factor of Cluster(), or none.
    """

    code: str
    result: str
    columns: tuple[str, ...] = ()
    held_as: str = "pandas"
    factor: bool = True


@dataclass(frozen=True)
class Peer:
    """A package: its module, the short name of it in calls, what it is asked case by case, and what it cannot do, and why."""

    module: str
    short: str
    calls: dict[str, Call]
    cannot: dict[str, str]


_FEOLS = 'pf.feols("{}", frame, vcov={{"CRV1": "county"}}, copy_data=False, store_data=False)'
_STREAM = 'hs.feols_stream("{}", {}, vcov={{"CRV1": "county"}}, verbose=False, save_resid=False)'
_TWO_WAY, _WITH_X = "y ~ d | unit + year", "y ~ d + x1 + x2 | unit + year"
_PATH = "y ~ i(rel, ref=-1) | unit + year"
_FIT = "fit.coef()['d'], fit.se()['d']"
_STREAMED = "dict(zip(fit.coefnames, zip(fit.beta, fit.se)))['{}']"
_AT_ZERO = "fit.detail.set_index('relative_time').loc[0, ['att', 'se']]"
_TERMS, _COVARIATES = ("unit", "year", "county", "d", "y"), ("x1", "x2")
_EVENTS, _COHORTS = ("unit", "year", "county", "rel", "y"), ("unit", "year", "county", "cohort", "y")
_NO_ESTIMATORS = "a package of regressions: it has no estimator for staggered adoption"

PEERS = {
    "pyfixest": Peer(
        "pyfixest",
        "pf",
        {
            "TwoWayFE": Call(_FEOLS.format(_TWO_WAY), _FIT, _TERMS),
            "TwoWayFE with x1, x2": Call(_FEOLS.format(_WITH_X), _FIT, (*_TERMS, *_COVARIATES)),
            "EventStudy": Call(
                _FEOLS.format(_PATH),
                "next((fit.coef()[n], fit.se()[n]) for n in fit.coef().index if '::0' in n)",
                _EVENTS,
            ),
            "SunAbraham": Call(
                'pf.event_study(frame, yname="y", idname="unit", tname="year", gname="cohort", cluster="county", '
                'estimator="saturated").aggregate()',
                "fit.loc[0.0, ['Estimate', 'Std. Error']]",
                _COHORTS,
            ),
        },
        {
            "CallawaySantAnna": "not offered",
            "Imputation": "not asked: its did2s is the two-stage estimator, with other standard errors",
        },
    ),
    "diff-diff": Peer(
        "diff_diff",
        "dd",
        {
            "CallawaySantAnna": Call(
                'dd.CallawaySantAnna(control_group="not_yet_treated", cluster="county", cband=False).fit(frame, '
                'outcome="y", unit="unit", time="year", first_treat="cohort")',
                "fit.overall_att, fit.overall_se",
                _COHORTS,
            ),
            "SunAbraham": Call(
                'dd.SunAbraham(cluster="county").fit(frame, outcome="y", unit="unit", time="year", '
                'first_treat="cohort")',
                "fit.event_study_effects[0]['effect'], fit.event_study_effects[0]['se']",
                _COHORTS,
            ),
            "Imputation": Call(
                'dd.ImputationDiD(cluster="county").fit(frame, outcome="y", unit="unit", time="year", '
                'first_treat="cohort")',
                "fit.overall_att, fit.overall_se",
                _COHORTS,
                factor=False,
            ),
        },
        {
            "TwoWayFE": "TwoWayFixedEffects absorbs a 0/1 column, not the periods (see findings/)",
            "TwoWayFE with x1, x2": "TwoWayFixedEffects absorbs a 0/1 column, not the periods (see findings/)",
            "EventStudy": "TwoWayFixedEffects(event_study=True) has one date of adoption for all",
        },
    ),
    "StatsPAI": Peer(
        "statspai",
        "sp",
        {
            "TwoWayFE": Call(f'sp.fast.feols("{_TWO_WAY}", frame, vcov="cr1", cluster="county")', _FIT, _TERMS),
            "TwoWayFE with x1, x2": Call(
                f'sp.fast.feols("{_WITH_X}", frame, vcov="cr1", cluster="county")', _FIT, (*_TERMS, *_COVARIATES)
            ),
            "EventStudy": Call(
                'sp.event_study(frame, y="y", treat_time="first", unit="unit", time="year", cluster="county", '
                "window=(-7, 6))",
                _AT_ZERO,
                ("unit", "year", "county", "first", "y"),
            ),
            "SunAbraham": Call(
                'sp.sun_abraham(frame, y="y", g="cohort", t="year", i="unit", cluster="county", parity="r")',
                _AT_ZERO,
                _COHORTS,
            ),
            "CallawaySantAnna": Call(
                'sp.callaway_santanna(frame, y="y", g="cohort", t="year", i="unit", control_group="notyettreated", '
                'base_period="varying", clustervars="county")',
                "fit.estimate, fit.se",
                _COHORTS,
                factor=False,
            ),
            "Imputation": Call(
                'sp.did_imputation(frame, y="y", group="unit", time="year", first_treat="cohort", cluster="county")',
                "fit.estimate, fit.se",
                _COHORTS,
                factor=False,
            ),
        },
        {},
    ),
    "hdfe-stream": Peer(
        "hdfe_stream",
        "hs",
        {
            "TwoWayFE": Call(_STREAM.format(_TWO_WAY, "frame"), _STREAMED.format("d"), _TERMS, "polars"),
            "TwoWayFE from the file": Call(_STREAM.format(_TWO_WAY, "path"), _STREAMED.format("d"), (), "path"),
            "TwoWayFE with x1, x2": Call(
                _STREAM.format(_WITH_X, "frame"), _STREAMED.format("d"), (*_TERMS, *_COVARIATES), "polars"
            ),
            "EventStudy": Call(_STREAM.format(_PATH, "frame"), _STREAMED.format("rel::0"), _EVENTS, "polars"),
            "EventStudy from the file": Call(_STREAM.format(_PATH, "path"), _STREAMED.format("rel::0"), (), "path"),
        },
        dict.fromkeys(("SunAbraham", "CallawaySantAnna", "Imputation"), _NO_ESTIMATORS),
    ),
}


def run(peer: Peer, call: Call, path: str) -> dict[str, object]:
    """Read, call twice, and say what was found."""
    from panels import peak_memory, read_columns

    names: dict[str, object] = {"path": path}
    if call.held_as == "pandas":
        names["frame"] = read_columns(Path(path), call.columns)
    elif call.held_as == "polars":
        names["frame"] = import_module("polars").read_parquet(path, columns=list(call.columns))
    if call.held_as != "path":
        names[peer.short] = import_module(peer.module)
    labels = ("cold", "warm") if call.held_as == "path" else ("first", "second")
    seconds = {}
    for label in labels:
        names.pop("fit", None)
        start = time.perf_counter()
        names.setdefault(peer.short, import_module(peer.module))
        names["fit"] = eval(call.code, names)
        names["found"] = eval(call.result, names)
        seconds[label] = time.perf_counter() - start
    effect, error = names["found"]  # type: ignore[misc]
    numbers = {"Cluster" if call.factor else "Cluster, no factor": [float(effect), float(error)]}
    return {"seconds": seconds, "numbers": numbers, "peak": peak_memory()}


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # the peers call pandas in ways that pandas 3 deprecates
    which, case, file = sys.argv[1:]
    print(json.dumps(run(PEERS[which], PEERS[which].calls[case], file)))
