"""One or more examples of every member that a study can name: adding a member adds a line here, and the batteries try it.

Examples of sources are functions that write the files they read into a folder; of steps, they come with the tables they read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from openpyxl import Workbook

from evalkit import checks, claims, estimators, inference, reporting, sources, steps
from evalkit.study.config import read_study
from evalkit.tables.table import Provenance, Source, Step, Table

PROJECT = Path(__file__).parents[1]

ESTIMATORS: dict[str, Any] = {
    "TwoWayFE": estimators.TwoWayFE(),
    "EventStudy": estimators.EventStudy(leads=3, lags=2),
    "Split": estimators.Split(by="large", estimator=estimators.TwoWayFE()),
    "Split of EventStudy": estimators.Split(
        by="area", threshold=20.0, estimator=estimators.EventStudy(leads=2, lags=1)
    ),
    "Split by quantile": estimators.Split(by="area", quantiles=3, estimator=estimators.TwoWayFE()),
    "TripleDifference": estimators.TripleDifference(),
    "SunAbraham": estimators.SunAbraham(),
    "ExtendedTWFE": estimators.ExtendedTWFE(aggregate="dynamic"),
    "Stacked": estimators.Stacked(leads=2, lags=1),
    "CallawaySantAnna": estimators.CallawaySantAnna(),
    "CallawaySantAnna by event time": estimators.CallawaySantAnna(aggregate="dynamic", method="reg"),
    "Imputation": estimators.Imputation(),
    "Imputation by event time": estimators.Imputation(aggregate="dynamic", leads=2),
    "TwoStage": estimators.TwoStage(),
    "Split of CallawaySantAnna": estimators.Split(by="large", estimator=estimators.CallawaySantAnna(method="reg")),
    "SyntheticDID": estimators.SyntheticDID(),
    "SyntheticControl": estimators.SyntheticControl(),
}
INFERENCES: dict[str, Any] = {
    "Classical": inference.Classical(),
    "Robust": inference.Robust(),
    "Cluster": inference.Cluster(),
    "Cluster without correction": inference.Cluster(correction="none"),
    "Cluster two-way": inference.Cluster(("county", "year"), correction="all_effects"),
    "BiasReduced": inference.BiasReduced(),
    "WildBootstrap": inference.WildBootstrap(draws=199, seed=1),
    "Multiplier": inference.Multiplier(draws=199, seed=1),
    "Conley": inference.Conley(latitude="lat", longitude="lon", cutoff=150.0),
    "DriscollKraay": inference.DriscollKraay(),
    "ByDesign": inference.ByDesign(),
    "Permutation": inference.Permutation(),
    "PooledGroups": inference.PooledGroups(),
    "Jackknife": inference.Jackknife(),
    "Placebo": inference.Placebo(draws=50, seed=1),
}
CHECKS: dict[str, Any] = {
    "PreTrends": checks.PreTrends(estimator=estimators.EventStudy(leads=3, lags=2), bound=0.5),
    "PreTrends by HTZ": checks.PreTrends(
        estimator=estimators.EventStudy(leads=3, lags=2), joint=inference.BiasReduced()
    ),
    "Sensitivity": checks.Sensitivity(bound=0.5),
    "GroupGaps": checks.GroupGaps(under=(inference.WildBootstrap(),)),
    "Power": checks.Power(noise_sd=1.0, place_sd=0.3, draws=50, seed=1),
    "SelfSize": checks.SelfSize(draws=60, seed=1),
    "PlaceboAdoption": checks.PlaceboAdoption(shift=1, bound=0.5),
    "PlaceboAssignment": checks.PlaceboAssignment(),
    "LeaveOneOut": checks.LeaveOneOut(),
    "FactorUncertainty": checks.FactorUncertainty(factors="ipcc_2006", draws=40, seed=1),
}
# What some checks challenge in the place of TwoWayFE.
CHALLENGED: dict[str, Any] = {
    "Sensitivity": estimators.EventStudy(leads=3, lags=2),
    "GroupGaps": estimators.Split(by="large", estimator=estimators.TwoWayFE()),
}


def _write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def _yearbook(folder: Path) -> Path:
    book = Workbook()
    sheet = book.active
    assert sheet is not None
    for row in (["3-1 农药使用量"], ["单位：吨"], ["地区", "2019年", "2020年"], ["昌吉州", 5, 6], ["塔城地区", 7, 8]):
        sheet.append(row)
    book.save(folder / "book.xlsx")
    return folder / "book.xlsx"


LEDGER = "客户号,借据号,放款日期,借据金额(元),执行利率(%)\nC1,L1,2022-03-01,1000,4.5\nC1,L2,2022-04-01,500,4.5\n"
SOURCES: dict[str, Callable[[Path], Source]] = {
    "Delimited": lambda folder: sources.Delimited(
        _write(folder, "farms.csv", "farm,year,diesel\na,2020,1.5\nb,2020,2.5\n")
    ),
    "LoanLedger": lambda folder: sources.LoanLedger(
        _write(folder, "bank/loans.csv", LEDGER),
        key_file=_write(folder, "study.key", "5d41402abc4b2a76b9719d911017c592"),
    ),
    "Yearbook": lambda folder: sources.Yearbook(_yearbook(folder)),
}


def _table(name: str, units: Mapping[str, str], **columns: Any) -> Table:
    return Table(name, pd.DataFrame(columns), (Provenance(f"{name}.csv", "0" * 64),), units)


FARMS = _table(
    "farms",
    {"diesel": "kg", "output": "yuan"},
    farm=["a", "b"],
    year=[2020, 2020],
    diesel=[10.0, 20.0],
    output=[100.0, 50.0],
)
ACCOUNTS = _table(
    "accounts",
    {"reduction": "%", "rate": "% a year", "saved": "t", "machine": "yuan", "emissions": "kg CO2e", "output": "kg"},
    farm=["a", "b"],
    year=[2022, 2022],
    reduction=[25.0, None],
    rate=[4.35, 4.35],
    saved=[4.0, 20.0],
    machine=[80_000.0, 120_000.0],
    emissions=[300.0, None],
    output=[1_000.0, 900.0],
)
LONG = _table(
    "long",
    {},
    county=["a", "a", "b"],
    year=[2020, 2020, 2020],
    item=["wheat", "maize", "wheat"],
    value=[3.0, 1.0, 4.0],
    unit=["t", "t", "t"],
)
INVENTORY = steps.Inventory(activity="farms", factors="literature", keys=("farm", "year"))
STEPS: dict[str, tuple[Step, dict[str, Table]]] = {
    "Inventory": (INVENTORY, {"farms": FARMS}),
    "Intensity": (
        steps.Intensity(emissions="emissions", output="farms", per="output"),
        {"emissions": INVENTORY.run({"farms": FARMS}), "farms": FARMS},
    ),
    "Settle": (
        steps.Settle(of="monitored", by="xinanjiang_2012"),
        {"monitored": _table("monitored", {}, year=[2012, 2013], P=[0.8, 1.2])},
    ),
    "Settle with missing values": (
        steps.Settle(of="monitored", by="xinanjiang_2012"),
        {"monitored": _table("monitored", {}, year=[2012, 2013], P=[0.8, None])},
    ),
    "Widen": (
        steps.Widen(of="long", keys=("county", "year"), names=("item",), value="value", unit="unit"),
        {"long": LONG},
    ),
    "RateDiscount": (
        steps.RateDiscount(of="accounts", reading="relative", rate="rate", keys=("farm", "year")),
        {"accounts": ACCOUNTS},
    ),
    "PresaleValue": (
        steps.PresaleValue(of="accounts", tonnes="saved", price="changji_cotton_forward"),
        {"accounts": ACCOUNTS},
    ),
    "CarbonPoints": (
        steps.CarbonPoints(of="accounts", reduction="saved", rate=0.5, per="kg", source="example", status="assumed"),
        {"accounts": ACCOUNTS},
    ),
    "ReductionSubsidy": (
        steps.ReductionSubsidy(
            of="accounts",
            price="machine",
            reduction="saved",
            percent_per_unit=5.0,
            unit="t",
            source="example",
            status="assumed",
        ),
        {"accounts": ACCOUNTS},
    ),
    "CarbonGrade": (
        steps.CarbonGrade(
            of="accounts",
            footprint="emissions",
            output="output",
            unit="kg CO2e/kg",
            thresholds=(0.2, 0.5),
            grades=("A", "B", "C"),
            on_threshold="better",
            source="example",
            status="assumed",
        ),
        {"accounts": ACCOUNTS},
    ),
}


def _claims_of_changji() -> dict[str, Any]:
    """The first claim of each kind in the ledger of the Changji study."""
    found: dict[str, Any] = {}
    for one in read_study(PROJECT / "analyses" / "changji").claims:
        found.setdefault(type(one.check).__name__, one.check)
    return found


CLAIMS: dict[str, Any] = _claims_of_changji()
CLAIMS["Product"] = claims.Product(times=(2.0, 3.0), printed=6.0, relative=0.1, otherwise="contradicted")
CLAIM_TABLES: dict[str, Table] = {"budget": sources.Delimited(PROJECT / "data/raw/changji/budget.csv").load()}
WRITERS: dict[str, Any] = {"Tables": reporting.Tables(), "Figures": reporting.Figures(), "Papers": reporting.Papers()}
