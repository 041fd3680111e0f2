"""Published panels with one specification each, and the regression it stands for written out a second time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from evalkit import Design, Panel
from evalkit.estimators import EventStudy, TwoWayFE
from evalkit.results.estimation import Estimator

TESTS = Path(__file__).parent
CAI = TESTS.parent / "data" / "raw" / "jiangxi_insurance"


@dataclass(frozen=True)
class Case:
    """A frame with its design, and the columns of the regression under the names of the terms.

    `effects` lists the absorbed columns (a tuple is a crossed effect); `small` cases fit in memory with dummies.
    Clusters are `first` (by default the units of assignment), two-way `first` by `second`.
    """

    frame: pd.DataFrame
    unit: str | None
    time: str
    design: Design
    estimator: Estimator
    terms: dict[str, Any]
    effects: tuple[str | tuple[str, str], ...]
    second: str | None
    first: str | None = None
    small: bool = True

    @property
    def clusters(self) -> tuple[str, ...]:
        return tuple(column for column in (self.first or self.design.assigned_at, self.second) if column)

    @property
    def panel(self) -> Panel:
        return Panel.from_frame(self.frame, unit=self.unit, time=self.time)

    def labels(self, effect: str | tuple[str, str]) -> Any:
        if isinstance(effect, str):
            return self.frame[effect].to_numpy()
        return self.frame.groupby(list(effect)).ngroup().to_numpy()


@cache
def read(name: str) -> pd.DataFrame:
    """Read a panel; callers copy before they change it."""
    if name == "cai":
        frame = pd.read_csv(CAI / "cai2016_jiangxi_tobacco_insurance.csv.gz")
        first = pd.read_csv(CAI / "policy.csv").set_index("county")["first_year"]
        return frame.assign(first_year=frame["county"].map(first))
    return pd.read_csv(TESTS / "data" / f"{name}.csv")


def mpdta() -> pd.DataFrame:
    """County panel; `group` crosses the cohorts, `size` are weights that differ within counties."""
    frame = read("mpdta").rename(columns={"first.treat": "first"})
    frame["group"] = frame["countyreal"] % 7
    frame["size"] = np.exp(frame["lpop"]) * (1 + 0.1 * (frame["year"] - 2003))
    for year in range(2003, 2008):
        frame[f"lpop{year}"] = frame["lpop"] * (frame["year"] == year)
    return frame


def every_third(frame: pd.DataFrame) -> pd.DataFrame:
    """Keep a third of the counties: their dummies are quicker to work with."""
    order = {county: i for i, county in enumerate(sorted(frame["countyreal"].unique()))}
    return frame[frame["countyreal"].map(order) % 3 == 0].reset_index(drop=True)


def thinned(frame: pd.DataFrame, share: float) -> pd.DataFrame:
    """Leave out a share of the rows at random, always the same ones."""
    keep = np.random.default_rng(7).random(len(frame)) >= share
    return frame[keep].reset_index(drop=True)


def post(frame: pd.DataFrame, time: str, first: str) -> Any:
    """1 from the first treated period on; 0 in `first` means never."""
    return ((frame[first] > 0) & (frame[time] >= frame[first])).to_numpy(dtype=float)


def event_columns(frame: pd.DataFrame, time: str, first: str, leads: int, lags: int) -> dict[str, Any]:
    """Indicators of binned event time, without the base -1."""
    event = (frame[time] - frame[first].where(frame[first] > 0)).clip(-leads, lags)
    return {f"ATT(e={e})": (event == e).to_numpy(dtype=float) for e in range(-leads, lags + 1) if e != -1}


def _mpdta(**change: Any) -> Design:
    return Design(**{"outcome": "lemp", "adoption": "first", "assigned_at": "countyreal", **change})


def mpdta_twfe() -> Case:
    f = mpdta()
    terms = {"ATT": post(f, "year", "first")}
    return Case(f, "countyreal", "year", _mpdta(), TwoWayFE(), terms, ("countyreal", "year"), "group", small=False)


def mpdta_covariates() -> Case:
    f = every_third(mpdta())
    names = tuple(f"lpop{year}" for year in range(2003, 2007))
    terms = {"ATT": post(f, "year", "first"), **{name: f[name].to_numpy() for name in names}}
    design = _mpdta(covariates=(*names, "lpop2007"))  # the last one is a combination of the others and the unit effects
    return Case(f, "countyreal", "year", design, TwoWayFE(), terms, ("countyreal", "year"), "year")


def mpdta_events() -> Case:
    f = every_third(mpdta())
    terms = event_columns(f, "year", "first", 4, 3)
    return Case(f, "countyreal", "year", _mpdta(), EventStudy(leads=4, lags=3), terms, ("countyreal", "year"), "year")


def mpdta_binned_weighted_unbalanced() -> Case:
    f = thinned(every_third(mpdta()), 0.15)
    terms = event_columns(f, "year", "first", 2, 1)
    return Case(
        f,
        "countyreal",
        "year",
        _mpdta(weights="size"),
        EventStudy(leads=2, lags=1),
        terms,
        ("countyreal", "year"),
        "group",
    )


def mpdta_absorbed() -> Case:
    f = thinned(every_third(mpdta()), 0.1)
    terms = {"ATT": post(f, "year", "first"), "lpop2005": f["lpop2005"].to_numpy()}
    design = _mpdta(weights="size", absorb=("group*year",), covariates=("lpop2005",))
    return Case(f, "countyreal", "year", design, TwoWayFE(), terms, ("countyreal", "year", ("group", "year")), "group")


def kielmc() -> Case:
    f = read("wooldridge_kielmc")
    covariates = ("age", "agesq", "intst", "land", "area", "rooms", "baths")
    terms = {"ATT": f["y81nrinc"].to_numpy(float), **{name: f[name].to_numpy(float) for name in covariates}}
    design = Design(outcome="rprice", treated="y81nrinc", assigned_at="nearinc", covariates=covariates)
    return Case(f, None, "year", design, TwoWayFE(), terms, ("nearinc", "year"), None, first="nbh")


def ezunem() -> Case:
    f = read("wooldridge_ezunem")
    design = Design(outcome="luclms", treated="ez", assigned_at="city")
    terms = {"ATT": f["ez"].to_numpy(float)}
    return Case(f, "city", "year", design, TwoWayFE(), terms, ("city", "year"), "year")


def ezunem_events() -> Case:
    f = read("wooldridge_ezunem")
    first = f["year"].where(f["ez"] == 1).groupby(f["city"]).transform("min")
    f = thinned(f.assign(first=first), 0.1)
    design = Design(outcome="luclms", adoption="first", assigned_at="city")
    terms = event_columns(f, "year", "first", 3, 2)
    return Case(f, "city", "year", design, EventStudy(leads=3, lags=2), terms, ("city", "year"), "year")


def traffic_long() -> pd.DataFrame:
    """Reshape the wide file: one row per state and year."""
    wide = read("wooldridge_traffic1")
    stems = ["admn", "open", "dthrte", "speed"]
    return pd.concat(
        [
            wide[["state", *(f"{s}{y}" for s in stems)]].set_axis(["state", *stems], axis=1).assign(year=1900 + y)
            for y in (85, 90)
        ],
        ignore_index=True,
    )


def traffic() -> Case:
    f = traffic_long()
    switched_off = f.groupby("state")["open"].transform("first") > f.groupby("state")["open"].transform("last")
    f = f[~switched_off].reset_index(drop=True)
    design = Design(outcome="dthrte", treated="open", assigned_at="state", covariates=("admn", "speed"))
    terms = {"ATT": f["open"].to_numpy(float), "admn": f["admn"].to_numpy(float), "speed": f["speed"].to_numpy(float)}
    return Case(f, "state", "year", design, TwoWayFE(), terms, ("state", "year"), "year")


def _cai(**change: Any) -> Design:
    return Design(**{"outcome": "checksaving_ratio", "adoption": "first_year", "assigned_at": "county", **change})


def cai_tobacco() -> pd.DataFrame:
    frame = read("cai")
    return frame[frame["sector"] == 1].reset_index(drop=True)


def cai_households() -> Case:
    f = cai_tobacco()
    f = f[f["hhno"] % 9 == 0].reset_index(drop=True)
    terms = event_columns(f, "year", "first_year", 3, 5) | {"hhsize": f["hhsize"].to_numpy(float)}
    design = _cai(covariates=("hhsize",))
    return Case(f, "hhno", "year", design, EventStudy(leads=3, lags=5), terms, ("hhno", "year"), "year")


def cai_sectors_small() -> Case:
    f = read("cai")
    f = f[f["hhno"] % 23 == 0].reset_index(drop=True)
    f["first_year"] = f["first_year"].where(f["sector"] == 1)
    f["group"] = f["county"] * 10 + f["sector"]
    terms = {"ATT": post(f, "year", "first_year"), "hhsize": f["hhsize"].to_numpy(float)}
    design = _cai(assigned_at="group", absorb=("sector*year", "county*year"), covariates=("hhsize",))
    return Case(
        f, "hhno", "year", design, TwoWayFE(), terms, ("hhno", "year", ("sector", "year"), ("county", "year")), "county"
    )


def cai_sectors() -> Case:
    f = read("cai")
    terms = {"ATT": post(f, "year", "first_year"), "hhsize": f["hhsize"].to_numpy(float)}
    design = _cai(absorb=("sector*year",), covariates=("hhsize",))
    effects = ("hhno", "year", ("sector", "year"))
    return Case(f, "hhno", "year", design, TwoWayFE(), terms, effects, "year", small=False)


CASES: dict[str, Callable[[], Case]] = {
    one.__name__: one
    for one in (
        mpdta_twfe,
        mpdta_covariates,
        mpdta_events,
        mpdta_binned_weighted_unbalanced,
        mpdta_absorbed,
        kielmc,
        ezunem,
        ezunem_events,
        traffic,
        cai_households,
        cai_sectors_small,
        cai_sectors,
    )
}


@cache
def case(name: str) -> Case:
    """Build a case once."""
    return CASES[name]()
