"""Split by quantiles: where pandas.qcut puts each unit, and nobody else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import evalkit as ek
from evalkit import Design, Estimate, Panel, estimate
from evalkit.errors import ConfigError, DataError, DesignError
from evalkit.estimators import EventStudy, Split, TwoWayFE
from evalkit.inference import Cluster
from evalkit.reporting import plot
from evalkit.results.evidence import Evidence
from evalkit.study.config import read_study

DESIGN = Design(outcome="y", adoption="first", assigned_at="county")


def farms(missing: float = 0.15) -> pd.DataFrame:
    """96 farms in 8 counties, 2010-2015, four counties treated from 2013, rows missing, areas that drift (synthetic)."""
    rng = np.random.default_rng(1)
    farm = np.repeat(np.arange(96), 6)
    f = pd.DataFrame({"farm": farm, "year": np.tile(np.arange(2010, 2016), 96), "county": farm // 12})
    f["first"] = np.where(f["county"] < 4, 2013.0, np.nan)
    f["area_mu"] = np.exp(rng.normal(3, 0.7, 96))[farm] * (1 + 0.2 * rng.random(len(f)))
    f["y"] = rng.normal(size=len(f)) + rng.normal(size=(8, 6))[f["county"], f["year"] - 2010]
    return f[rng.random(len(f)) >= missing].reset_index(drop=True)


def run(f: pd.DataFrame, split: Split, **panel: Any) -> Estimate:
    return estimate(Panel.from_frame(f, unit="farm", time="year", **panel), DESIGN, split, inference=Cluster())


def quarters(estimator: Any = None, quantiles: int = 4) -> Split:
    return Split(by="area_mu", quantiles=quantiles, estimator=estimator or TwoWayFE())


def areas(f: pd.DataFrame) -> pd.Series:
    """Each farm's area in its first row."""
    return f.sort_values(["farm", "year"]).groupby("farm")["area_mu"].first()


@pytest.mark.parametrize("quantiles", [2, 3, 4, 5, 10])
def test_units_lie_where_qcut_puts_their_first_row(quantiles: int) -> None:
    f = farms()
    panel = Panel.from_frame(f, unit="farm", time="year")
    codes, labels = quarters(quantiles=quantiles).groups(panel)
    expected = pd.qcut(areas(f), quantiles, labels=False)
    assert codes.tolist() == panel.frame["farm"].map(expected).tolist()
    assert labels == [f"area_mu {i}/{quantiles}" for i in range(1, quantiles + 1)]


def test_a_unit_on_a_cut_belongs_below_it() -> None:
    f = farms()
    f["area_mu"] = (f["farm"] % 9).astype(float)  # 96 farms, 11 or 10 of each area: quarters are cut at 2, 4 and 6
    codes, _ = quarters().groups(Panel.from_frame(f, unit="farm", time="year"))
    assert dict(zip(f["area_mu"], codes, strict=True)) == {0: 0, 1: 0, 2: 0, 3: 1, 4: 1, 5: 2, 6: 2, 7: 3, 8: 3}
    assert (pd.qcut(areas(f), 4, labels=False).loc[f["farm"]].to_numpy() == codes).all()


def test_each_quarter_is_estimated_on_its_own_farms() -> None:
    f = farms()
    quarter = f["farm"].map(pd.qcut(areas(f), 4, labels=False))
    one = run(f, quarters())
    assert one.tidy()["subgroup"].tolist() == [f"area_mu {i}/4" for i in range(1, 5)]
    for i, row in enumerate(one.tidy().itertuples()):
        alone = run(f[quarter == i], TwoWayFE()).tidy().iloc[0]  # the same rows, the same code
        assert (row.estimate, row.std_error) == pytest.approx((alone.estimate, alone.std_error), rel=1e-12)


def test_leaving_out_a_county_moves_nobody() -> None:
    f = farms()
    f.loc[f["county"] == 0, "area_mu"] += 1000.0  # without county 0 the quarters would lie elsewhere
    panel = Panel.from_frame(f, unit="farm", time="year")
    kept = panel.frame["county"].to_numpy() != 0
    fit = quarters().fit(panel, DESIGN, kept)
    codes, labels = quarters().groups(panel)
    for part, term in zip(fit.parts, fit.terms, strict=True):
        expected = np.flatnonzero(kept & (codes == labels.index(str(term.subgroup))))
        np.testing.assert_array_equal(part.sample.rows, expected)
    assert len(fit.parts) == 4


def test_cuts_count_the_units_that_collapsed_cells_stand_for() -> None:
    f = farms(missing=0.0)
    f["area_mu"] = np.select([f["farm"] % 12 < 5, f["farm"] % 12 < 9], [1.0, 2.0], f["farm"] % 12)
    collapsed = ek.collapse(f, DESIGN, unit="farm", time="year", by=("area_mu",))
    assert len(collapsed) == 8 * 5 * 6
    halves = quarters(quantiles=2)
    codes, _ = halves.groups(collapsed)
    assert set(collapsed.frame["area_mu"][codes == 0]) == {1.0, 2.0}  # of the cells, the middle one has 9
    whole, few = run(f, halves), estimate(collapsed, DESIGN, halves, inference=Cluster())
    np.testing.assert_allclose(few.fit.coefficients, whole.fit.coefficients, atol=1e-12)  # outcomes of size 1
    np.testing.assert_allclose(few.bse, whole.bse, atol=1e-12)


def test_order_of_rows_changes_no_bit() -> None:
    f = farms()
    one, other = run(f, quarters()), run(f.sample(frac=1, random_state=2), quarters())
    np.testing.assert_array_equal(one.fit.coefficients, other.fit.coefficients)
    np.testing.assert_array_equal(one.uncertainty.covariance, other.uncertainty.covariance)


def test_repeated_cross_sections_count_every_row() -> None:
    f = farms()
    panel = Panel.from_frame(f, unit=None, time="year")
    codes, _ = quarters().groups(panel)
    assert codes.tolist() == pd.qcut(panel.frame["area_mu"], 4, labels=False).tolist()


def test_units_without_a_value_stay_out_of_the_cuts_and_are_noted() -> None:
    f = farms()
    gone = f["farm"].isin([3, 50])
    one = run(f.assign(area_mu=f["area_mu"].mask(gone)), quarters())
    np.testing.assert_array_equal(one.fit.coefficients, run(f[~gone], quarters()).fit.coefficients)
    assert any(f"{int(gone.sum())} rows have no value of area_mu" in str(note) for note in one.notes)


def test_ties_that_empty_a_subgroup_are_refused_by_name() -> None:
    f = farms()
    f["area_mu"] = np.where(f["farm"] < 70, 5.0, f["farm"])
    with pytest.raises(DesignError, match=r"same 'area_mu': nobody is left for area_mu 2/4.*threshold"):
        run(f, quarters())
    f["area_mu"] = np.where(f["farm"] < 40, f["farm"], 99.0)
    with pytest.raises(DesignError, match=r"area_mu 3/4, area_mu 4/4|area_mu 4/4"):
        run(f, quarters())


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"quantiles": 1}, "quantiles is 1"),
        ({"quantiles": 51}, "quantiles is 51"),
        ({"quantiles": True}, "quantiles is True"),
        ({"quantiles": 2.0}, r"quantiles is 2\.0"),
        ({"quantiles": 4, "threshold": 20.0}, "both threshold and quantiles"),
    ],
)
def test_bad_settings_are_refused(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(DesignError, match=says):
        Split(by="area_mu", estimator=TwoWayFE(), **settings)


def test_what_has_no_quantiles_is_refused() -> None:
    f = farms()
    with pytest.raises(DataError, match="'area_mu' is infinite"):
        run(f.assign(area_mu=np.where(f["farm"] == 7, -np.inf, f["area_mu"])), quarters())
    with pytest.raises(DataError, match="not a number"):
        run(f.assign(area_mu="large"), quarters())
    with pytest.raises(DesignError, match="no subgroup of 'area_mu' can be estimated"):
        run(f.assign(area_mu=np.nan), quarters())


def test_a_subgroup_that_cannot_be_estimated_is_named_and_the_others_stand() -> None:
    f = farms()
    f["area_mu"] += np.where(f["county"] >= 6, 1000.0, 0.0)  # the largest quarter lies in two counties never treated
    one = run(f, quarters())
    assert one.tidy()["subgroup"].tolist() == ["area_mu 1/4", "area_mu 2/4", "area_mu 3/4"]
    named = [str(note) for note in one.notes if "cannot be estimated" in str(note)]
    assert len(named) == 1
    assert named[0].startswith("subgroup area_mu 4/4 cannot be estimated: ")
    assert "nobody is treated" in named[0]


LABELS = {
    f"area_mu {i}/4": {"en": f"{name} quarter", "zh": f"{zh}四分之一"}
    for i, (name, zh) in enumerate((("lowest", "最小"), ("second", "次小"), ("third", "次大"), ("highest", "最大")), 1)
}


def test_tables_and_figures_take_four_subgroups_and_their_words() -> None:
    one = run(farms(), quarters())
    table = Evidence("farms", {"main": one}, (), {}, LABELS).estimates_table()
    assert table["subgroup"].tolist() == list(LABELS)  # a gap row stands only where there are two
    ax = plot(one, language="zh", labels=LABELS)
    assert [tick.get_text() for tick in ax.get_yticklabels()] == [words["zh"] for words in LABELS.values()]
    paths = plot(run(farms(), quarters(EventStudy(leads=2, lags=1))), labels=LABELS)
    legend = paths.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == [words["en"] for words in LABELS.values()]
    halves = run(farms(), quarters(quantiles=2))
    gaps = Evidence("farms", {"main": halves}, (), {}, {}).estimates_table()["term"].tolist()
    assert gaps[-1] == "ATT [area_mu 2/2] - ATT [area_mu 1/2]"


STUDY = """
[[source]]
name = "farms"
kind = "Delimited"
path = "farms.csv"
[panel]
sources = ["farms"]
unit = "farm"
time = "year"
[design]
outcome = "y"
adoption = "first"
assigned_at = "county"
[[estimate]]
name = "main"
estimator = { kind = "Split", by = "area_mu", quantiles = 4, estimator = { kind = "TwoWayFE" } }
inference = { kind = "Cluster" }
[labels]
"area_mu 1/4" = { en = "lowest quarter", zh = "最小四分之一" }
"""


def test_a_study_can_ask_for_quantiles_and_name_them(tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text(STUDY, encoding="utf-8")
    config = read_study(tmp_path)
    assert config.estimates["main"].estimator == quarters()
    assert config.labels["area_mu 1/4"]["zh"] == "最小四分之一"
    (tmp_path / "study.toml").write_text(STUDY.replace("quantiles = 4", 'quantiles = "4"'), encoding="utf-8")
    with pytest.raises(ConfigError, match="quantiles = '4'"):
        read_study(tmp_path)
