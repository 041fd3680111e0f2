"""Time TwoWayFE with thousands of further fixed effects against pyfixest, and panels of 60 monthly cohorts, in the same run.

96,000 rows: 4,000 loans over 24 months, absorbed bank × month (2,400 levels; 7,224 in the case of 1,806 loans of 301 branches),
loans staying with their bank or moving. Both tools are warm; medians over alternating rounds. evalkit's time is shown for
`estimate` with clustered errors and with `tidy()` counted in, which asks how often each test errs. pyfixest demeans to its
default of 1e-6; numbers are compared with its demeaning to 1e-14. CV3 is timed once. Exit status 1 when the two disagree.
"""

from __future__ import annotations

import sys
import warnings

import numpy as np
import pandas as pd
import pyfixest as pf
from panels import measure, once

from evalkit import Design, Panel, estimate
from evalkit.estimators import ExtendedTWFE, SunAbraham, TwoWayFE
from evalkit.inference import ByDesign, Cluster, Jackknife

FORMULA = "y ~ d | loan + bank^month"


def loans(units: int, months: int, banks: int, movers: float) -> pd.DataFrame:
    """Synthetic loans in 58 counties, a share of rows with another bank."""
    rng = np.random.default_rng(0)
    f = pd.DataFrame({"loan": np.repeat(np.arange(units), months), "month": np.tile(np.arange(months), units)})
    f["county"], f["bank"] = f["loan"] * 58 // units, f["loan"] % banks
    moves = rng.random(len(f)) < movers
    f.loc[moves, "bank"] = rng.integers(0, banks, int(moves.sum()))
    f["first"] = np.where(f["county"] % 3 == 0, months // 2, np.nan)
    f["d"] = (f["month"] >= f["first"]).astype(int)
    f["y"] = rng.normal(size=len(f)) + 0.2 * f["d"]
    return f


def of_loans(units: int, months: int, banks: int, movers: float, *, cv3: bool) -> bool:
    """Compare on one panel; say whether the numbers agree."""
    f = loans(units, months, banks, movers)
    panel = Panel.from_frame(f, unit="loan", time="month")
    design = Design(outcome="y", adoption="first", assigned_at="county", absorb=("bank*month",))

    def peer(vcov: str = "CRV1", tolerance: float = 1e-6) -> tuple[float, float]:
        demeaner = pf.MapDemeaner(fixef_tol=tolerance, fixef_maxiter=100_000)
        fit = pf.feols(FORMULA, f, vcov={vcov: "county"}, demeaner=demeaner, fixef_rm="none")
        return float(fit.coef()["d"]), float(fit.se()["d"])

    def ours() -> object:
        return estimate(panel, design, TwoWayFE(), inference=Cluster())

    def tidied() -> object:
        return estimate(panel, design, TwoWayFE(), inference=Cluster()).tidy()

    took = measure({"pyfixest": peer, "evalkit": ours, "tidy": tidied})
    (b, error), mine = peer(tolerance=1e-14), estimate(panel, design, TwoWayFE(), inference=Cluster())
    apart = max(abs(b - mine.params["ATT"]), abs(error - mine.bse["ATT"]))
    line = (
        f"{len(f):>7,} rows {f.groupby(['bank', 'month']).ngroups:>6,} levels {movers:>5.0%} move: pyfixest "
        f"{took['pyfixest']:.2f} s, evalkit {took['evalkit']:.2f} s ({took['evalkit'] / took['pyfixest']:.2f} times), "
        f"with tidy {took['tidy']:.2f} s ({took['tidy'] / took['pyfixest']:.2f}); apart by {apart:.0e}"
    )
    if cv3:
        theirs = once(lambda: peer("CRV3"))
        own = once(lambda: estimate(panel, design, TwoWayFE(), inference=Jackknife()).tidy())
        line += f"; CV3 {theirs:.1f} s against {own:.1f} s"
    print(line, flush=True)
    return apart < 1e-8


def monthly(units: int) -> None:
    """Time panels of 72 months and 60 cohorts."""
    rng = np.random.default_rng(0)
    f = pd.DataFrame({"id": np.repeat(np.arange(units), 72), "t": np.tile(np.arange(2000, 2072), units)})
    first = np.where(rng.random(units) < 0.1, np.nan, 2012 + rng.integers(0, 60, units))
    f["first"] = first[f["id"]]
    f["y"] = rng.normal(size=len(f)) + 0.3 * (f["t"] >= f["first"])
    panel = Panel.from_frame(f, unit="id", time="t")
    design = Design(outcome="y", adoption="first", assigned_at="id")
    for estimator in (SunAbraham("simple"), SunAbraham(), ExtendedTWFE()):
        for inference in (Cluster(), ByDesign()):
            took = [
                once(lambda e=estimator, i=inference: estimate(panel, design, e, inference=i)),
                once(lambda e=estimator, i=inference: estimate(panel, design, e, inference=i).tidy()),
            ]
            name = f"{type(estimator).__name__}({estimator.aggregate!r}) {type(inference).__name__}"
            print(f"{units:>6,} × 72, 60 cohorts, {name}: {took[0]:.2f} s, with tidy {took[1]:.2f} s", flush=True)


def main() -> int:
    """Run all and print."""
    warnings.simplefilter("ignore")  # pyfixest calls pandas in ways that pandas 3 deprecates
    agree = [of_loans(4000, 24, 100, movers, cv3=True) for movers in (0.0, 0.02, 1.0)]
    agree.append(of_loans(1806, 24, 301, 0.0, cv3=False))
    for units in (200, 7785):
        monthly(units)
    return int(not all(agree))


if __name__ == "__main__":
    sys.exit(main())
