"""Time the estimators for staggered adoption against the fastest Python peers on 1 million rows, in the same run.

Rows are in memory and sorted, tools warm, each called at its best; medians of alternating rounds. Where a peer estimates the
same thing, the two must agree: exit status 1 when they do not. Targets are ratios peer / evalkit, as the issue names them.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import diff_diff as dd
import pandas as pd
import pyfixest as pf
from panels import measure, simulate_panel, thin, with_codes

from evalkit import Design, Panel, estimate
from evalkit.estimators import CallawaySantAnna, EventStudy, Imputation, SunAbraham, TwoStage
from evalkit.inference import Cluster
from evalkit.results.estimation import Estimator

COVARIATES = ("x1", "x2")


@dataclass(frozen=True)
class Race:
    """One estimator against one peer: what the peer runs, and the effect that both must report (None: not comparable)."""

    name: str
    estimator: Estimator
    covariates: tuple[str, ...]
    target: float
    peer: Callable[[pd.DataFrame], object] | None
    value: Callable[[object], float] | None
    term: str = "ATT"
    repeats: int = 1
    tolerance: float = 1e-6


def _feols_path(frame: pd.DataFrame) -> object:
    return pf.feols(
        "y ~ i(rel, ref=-1) | unit + year", frame, vcov={"CRV1": "county"}, copy_data=False, store_data=False
    )


def _saturated(frame: pd.DataFrame) -> object:
    return pf.event_study(
        frame, yname="y", idname="unit", tname="year", gname="cohort", cluster="county", estimator="saturated"
    ).aggregate()


def _callaway(frame: pd.DataFrame, covariates: list[str] | None = None) -> object:
    model = dd.CallawaySantAnna(control_group="not_yet_treated", cluster="county", cband=False)
    return model.fit(frame, outcome="y", unit="unit", time="year", first_treat="cohort", covariates=covariates)


def _imputation(frame: pd.DataFrame) -> object:
    model = dd.ImputationDiD(cluster="county")
    return model.fit(frame, outcome="y", unit="unit", time="year", first_treat="cohort")


def _overall(result: object) -> float:
    return float(result.overall_att)  # type: ignore[attr-defined]


RACES = (
    Race(
        "EventStudy",
        EventStudy(leads=7, lags=6),
        (),
        6.0,
        _feols_path,
        lambda fit: float(fit.coef().loc[next(n for n in fit.coef().index if "::0" in n and "::-" not in n)]),
        "ATT(e=0)",
        repeats=2,
    ),
    Race("SunAbraham", SunAbraham(), (), 20.0, _saturated, lambda t: float(t.loc[0.0, "Estimate"]), "ATT(e=0)"),
    Race("CallawaySantAnna", CallawaySantAnna(), (), 2.0, _callaway, _overall, repeats=2),
    Race(
        "CallawaySantAnna dr", CallawaySantAnna(), COVARIATES, 1.0, lambda f: _callaway(f, list(COVARIATES)), _overall
    ),
    Race("Imputation", Imputation(), (), 1.0, _imputation, _overall),
    Race("TwoStage", TwoStage(), COVARIATES, 0.0, None, None),
)


def main() -> int:
    """Run the races and print them."""
    warnings.simplefilter("ignore")  # the peers call pandas in ways that pandas 3 deprecates
    wrong = False
    print(f"{'estimator':<22}{'panel':<12}{'peer':>9}{'evalkit':>9}{'ratio':>8}{'target':>8}")
    whole = simulate_panel()
    for name, frame in (("balanced", whole), ("unbalanced", thin(whole))):
        frame = with_codes(frame)
        panel = Panel.from_frame(frame, unit="unit", time="year")
        for race in RACES:
            design = Design(outcome="y", adoption="first", assigned_at="county", covariates=race.covariates)

            def ours(panel: Panel = panel, design: Design = design, race: Race = race) -> object:
                return estimate(panel, design, race.estimator, inference=Cluster())

            def peer(frame: pd.DataFrame = frame, race: Race = race) -> object:
                return race.peer(frame) if race.peer is not None else None

            ratio, remark, theirs = float("nan"), "", None
            try:
                theirs = peer()
            except Exception as error:  # a peer that cannot do it is part of the result
                remark = f"  the peer fails: {type(error).__name__}"
            calls: dict[str, Callable[[], object]] = {"evalkit": ours}
            if theirs is not None:
                calls["peer"] = peer
            took = measure(calls, rounds=3, repeats=race.repeats)
            if theirs is not None and race.value is not None:
                ratio = took["peer"] / took["evalkit"]
                difference = abs(race.value(theirs) - float(ours().params[race.term]))  # type: ignore[attr-defined]
                if difference > race.tolerance:
                    wrong, remark = True, f"  DISAGREES by {difference:.2g}"
            print(
                f"{race.name:<22}{name:<12}{took.get('peer', float('nan')):>8.2f}s{took['evalkit']:>8.2f}s{ratio:>8.1f}"
                f"{race.target:>8g}{remark}",
                flush=True,
            )
    return int(wrong)


if __name__ == "__main__":
    sys.exit(main())
