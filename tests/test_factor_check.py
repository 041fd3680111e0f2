"""FactorUncertainty: the effect under drawn factors, against differences of means by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import evalkit as ek
from evalkit.accounting import factor_set
from evalkit.accounting.uncertainty import draw_factors
from evalkit.checks import FactorUncertainty
from evalkit.errors import DataError, DesignError
from evalkit.estimators import TwoWayFE
from evalkit.inference import Cluster
from evalkit.results.finding import Finding

SOURCES = ("diesel", "fertiliser_n")


def counties(share: float = 0.2) -> pd.DataFrame:
    """Six counties in two years, two treated in the second; `share` is how much more of diesel treated counties have."""
    rng = np.random.default_rng(3)
    f = pd.DataFrame({"county": np.repeat(list("abcdef"), 2), "year": [2021, 2022] * 6})
    f["first"] = f["county"].map({"a": 2022.0, "b": 2022.0})
    treated = f["first"].notna() & (f["year"] == 2022)
    output = rng.uniform(50, 150, len(f))
    diesel = rng.uniform(100, 200, len(f)) * (1 + share * treated)
    nitrogen = rng.uniform(300, 500, len(f)) * (1 - 0.3 * treated)
    f["cei_emissions_diesel"], f["cei_emissions_fertiliser_n"] = diesel, nitrogen
    f["cei_emissions"] = diesel + nitrogen
    f["cei"] = f["cei_emissions"] / output
    f["log_cei"] = np.log(f["cei"])
    return f


def did(f: pd.DataFrame, y: Any) -> float:
    """The difference of mean changes of treated and other counties."""
    change = pd.Series(np.asarray(y)).groupby(f["county"].to_numpy()).agg(lambda one: one.iloc[1] - one.iloc[0])
    treated = f.groupby("county")["first"].first().notna()
    return float(change[treated].mean() - change[~treated].mean())


def found(f: pd.DataFrame, outcome: str = "log_cei", **settings: Any) -> Finding:
    panel = ek.Panel.from_frame(f, unit="county", time="year")
    design = ek.Design(outcome=outcome, adoption="first", assigned_at="county")
    one = ek.estimate(panel, design, TwoWayFE(), inference=Cluster())
    (finding,) = ek.check(one, FactorUncertainty(**{"factors": "ipcc_2006", "draws": 60, "seed": 7, **settings}))
    return finding


@pytest.mark.parametrize("outcome", ["log_cei", "cei"])
def test_the_range_is_that_of_effects_estimated_by_hand(outcome: str) -> None:
    f = counties()
    ratios = draw_factors(SOURCES, factor_set("ipcc_2006"), draws=60, seed=7)
    effects = []
    for diesel, nitrogen in ratios.T:
        drawn = diesel * f["cei_emissions_diesel"] + nitrogen * f["cei_emissions_fertiliser_n"]
        cei = f["cei"] * drawn / f["cei_emissions"]
        effects.append(did(f, np.log(cei) if outcome == "log_cei" else cei))
    finding = found(f, outcome)
    sampling, factors = (finding.table.iloc[at] for at in (0, 1))
    assert factors["low"] == pytest.approx(np.quantile(effects, 0.025), rel=1e-10)
    assert factors["estimate"] == pytest.approx(np.median(effects), rel=1e-10)
    assert factors["high"] == pytest.approx(np.quantile(effects, 0.975), rel=1e-10)
    assert (factors["draws"], factors["failed"]) == (60, 0)
    # The sampling interval is the estimate's own, and the two are not added.
    assert sampling["estimate"] == pytest.approx(did(f, f[outcome]), rel=1e-10)
    half = (factors["high"] - factors["low"]) / (sampling["high"] - sampling["low"])
    assert finding.statistic == pytest.approx(half, rel=1e-12)
    assert finding.verdict == "described"
    assert f"{sampling['low']:.4f} to {sampling['high']:.4f}" in finding.summary()
    assert "两者不相加" in finding.summary("zh")


def test_an_error_that_all_share_changes_no_effect_on_the_logarithm() -> None:
    """One source: its factor multiplies all emissions alike, so that the logarithm moves by a constant."""
    f = counties().drop(columns="cei_emissions_fertiliser_n")
    f["cei_emissions"] = f["cei_emissions_diesel"]
    factors = found(f).table.iloc[1]
    assert factors["high"] - factors["low"] == pytest.approx(0, abs=1e-12)
    assert factors["estimate"] == pytest.approx(did(f, f["log_cei"]), rel=1e-9)


def test_sources_without_a_range_are_named(tmp_path: Path) -> None:
    f = counties().rename(columns={"cei_emissions_fertiliser_n": "cei_emissions_fertiliser"})
    finding = found(f, factors=("literature_by_nutrient", str(_own(tmp_path))))
    assert "no range is printed for fertiliser, which count as certain" in finding.summary()
    assert "the factors of diesel are recalled".lower() in finding.summary().lower()


OWN = """
name = "own"
title = { en = "Own", zh = "自有" }
published_by = "office"
source = "letter"
status = "draft"
gases = ["CO2"]
boundary = { en = "Farm gate.", zh = "农场。" }
[factors.diesel]
status = "recalled"
value = 3
unit = "kg CO2/kg"
range = [2.7, 3.3]
source = "memory"
[factors.fertiliser]
status = "published"
value = 0.9
unit = "kg C/kg"
source = "letter"
"""


def _own(folder: Path) -> Path:
    (folder / "own.toml").write_text(OWN, encoding="utf-8")
    return folder / "own.toml"


def test_what_cannot_be_made_anew_is_refused(tmp_path: Path) -> None:
    f = counties()
    with pytest.raises(DataError, match="neither 'cei' nor its logarithm"):
        found(f.assign(log_cei=f["log_cei"].clip(upper=f["log_cei"].median())))
    with pytest.raises(DataError, match=r"no columns 'cei_emissions_…' with.*by_source"):
        found(f.drop(columns=[f"cei_emissions_{one}" for one in SOURCES]))
    with pytest.raises(DataError, match="do not add up to 'cei_emissions' in 12 rows"):
        found(f.assign(cei_emissions=f["cei_emissions"] * 1.01))
    with pytest.raises(DataError, match="there is no column 'intensity'"):
        found(f, of="intensity")
    with pytest.raises(DesignError, match="draws = 3"):
        found(f, draws=3)
    only = f.drop(columns="cei_emissions_diesel").rename(
        columns={"cei_emissions_fertiliser_n": "cei_emissions_fertiliser"}
    )
    with pytest.raises(DesignError, match="no factor of fertiliser has a printed range"):
        found(only.assign(cei_emissions=only["cei_emissions_fertiliser"]), factors=str(_own(tmp_path)))


def test_a_source_that_the_set_lacks_is_refused() -> None:
    f = counties().rename(columns={"cei_emissions_diesel": "cei_emissions_film"})
    with pytest.raises(DataError, match="the set 'ipcc_2006' has no factor for 'film'"):
        found(f)


def test_net_emissions_that_change_sign_have_no_logarithm(tmp_path: Path) -> None:
    """A sink that nearly outweighs the sources: under some draws nothing is left."""
    f = counties()
    f["cei_emissions_fertiliser_n"] = -0.95 * f["cei_emissions_diesel"]
    f["cei_emissions"] = f["cei_emissions_diesel"] + f["cei_emissions_fertiliser_n"]
    f["cei"], f["log_cei"] = f["cei_emissions"], np.log(f["cei_emissions"])
    finding = found(f)
    factors = finding.table.iloc[1]
    assert factors["failed"] > 0
    assert factors["failed"] + factors["draws"] == 60
    assert "net emissions change their sign" in factors["why"]
    assert f"{factors['failed']} draws could not be estimated" in finding.summary()
