"""Gaps between groups: by pyfixest, by dummies under every exchange of labels, and where nothing can be said."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.multitest import multipletests

import evalkit as ek
import oracles
from evalkit import Design, Estimate, Finding, Panel, check, estimate
from evalkit.checks import GroupGaps
from evalkit.checks.group_gaps import Pair, list_exchanges
from evalkit.errors import ConfigError, DesignError
from evalkit.estimators import (
    CallawaySantAnna,
    EventStudy,
    Imputation,
    Split,
    SunAbraham,
    SyntheticControl,
    TripleDifference,
    TwoWayFE,
)
from evalkit.inference import BiasReduced, Classical, Cluster, Jackknife, Placebo, PooledGroups, WildBootstrap
from evalkit.study.config import read_study
from evalkit.study.running import evaluate_study


def farms(counties: int = 6, treated: int = 3, missing: float = 0.1, seed: int = 4) -> pd.DataFrame:
    """8 farms a county, 2010-2015, the first counties treated from 2013, rows missing; groups `a` of 3 to 5 farms (synthetic)."""
    rng = np.random.default_rng(seed)
    farm = np.repeat(np.arange(counties * 8), 6)
    f = pd.DataFrame({"farm": farm, "year": np.tile(np.arange(2010, 2016), counties * 8), "county": farm // 8})
    f["first"] = np.where(f["county"] < treated, 2013.0, np.nan)
    f["a"] = ((farm % 8) < 3 + f["county"] % 3).astype(int)
    f["x"] = rng.normal(size=len(f))
    f["w"] = np.exp(rng.normal(size=len(f)) / 3)
    f["town"] = farm % 4
    f["y"] = rng.normal(size=len(f)) + 0.5 * f["x"] + 0.3 * farm
    f["y"] += rng.normal(size=(counties, 2, 6))[f["county"], f["a"], f["year"] - 2010]
    return f[rng.random(len(f)) >= missing].reset_index(drop=True)


def design(**change: Any) -> Design:
    return Design(**{"outcome": "y", "adoption": "first", "assigned_at": "county", **change})


def split(estimator: Any = None, by: str = "a", **change: Any) -> Split:
    return Split(by=by, estimator=estimator or TwoWayFE(), **change)


def run(
    f: pd.DataFrame, estimator: Any = None, inference: Any = None, unit: str | None = "farm", **change: Any
) -> Estimate:
    panel = Panel.from_frame(f, unit=unit, time="year")
    return estimate(panel, design(**change), estimator or split(), inference=inference or Cluster())


def gaps(one: Estimate, challenge: GroupGaps | None = None) -> Finding:
    (found,) = check(one, challenge or GroupGaps())
    return found


def pair_of(one: Estimate) -> Pair:
    """The two groups of a split of `a`."""
    return Pair(one.spec.estimator.estimator, one.spec, one.spec.estimator.groups(one.spec.panel)[0])


def p_of(found: Finding, method: str = "Fisher") -> float:
    return float(found.table.set_index("method").loc[method, "p_value"])


# ----------------------------------------------------------------------------------------------------- outside figures


@pytest.mark.parametrize("weights", [None, "w"])
def test_joint_influence_and_the_interacted_regression_are_those_of_pyfixest(weights: str | None) -> None:
    f = farms(9, 4)
    interacted = Cluster(correction="interacted")
    found = gaps(run(f, inference=interacted, weights=weights), GroupGaps(under=(Cluster(correction="none"),)))
    treated = f["year"] >= f["first"]
    data = f.assign(d0=treated & (f["a"] == 0), d1=treated & (f["a"] == 1)).astype({"d0": float, "d1": float})
    b, V = oracles.pyfixest_fit("y~d0+d1|farm+a^year", data, weights=weights, vcov={"CRV1": "county"}, k_fixef=None)
    plain = np.sqrt(V[0, 0] + V[1, 1] - 2 * V[0, 1])
    # 2 slopes and 12 group-years; farms lie within counties and are not counted.
    factor = 9 / 8 * (len(f) - 1) / (len(f) - 2 - 12)
    rows = found.table.set_index("method")
    # pyfixest de-means by alternating projections until a step is below 1e-14.
    assert rows["estimate"].to_numpy(float) == pytest.approx(b[1] - b[0], rel=1e-9)
    assert rows.loc["Cluster(correction='none')", "std_error"] == pytest.approx(plain, rel=1e-9)
    assert rows.loc["Cluster(correction='interacted')", "std_error"] == pytest.approx(np.sqrt(factor) * plain, rel=1e-9)
    assert rows.loc["Cluster(correction='interacted')", "df"] == 8


def test_every_method_judges_the_gap_as_the_estimate_under_it_does() -> None:
    one = run(farms(8, 4))
    under = (WildBootstrap(), BiasReduced(), Jackknife())
    found = gaps(one, GroupGaps(under=under))
    assert found.table["method"].tolist() == ["Cluster()", "WildBootstrap()", "BiasReduced()", "Jackknife()", "Fisher"]
    for inference, row in zip((Cluster(), *under), found.table.itertuples(), strict=False):
        expected = one.under(inference).contrast("ATT [a=1]", "ATT [a=0]").iloc[0]
        names = ["estimate", "std_error", "p_value", "conf_low", "conf_high"]
        assert [getattr(row, name) for name in names] == expected[names].tolist()
        assert (row.supported, row.why, row.p_holm) == (True, "", row.p_value)


def by_dummies(f: pd.DataFrame, label: pd.Series, covariates: tuple[str, ...], weights: str | None) -> float:
    """The studentised gap of two groups, each by least squares with dummies; NaN where a group has no treated unit."""
    found = []
    for group in (0, 1):
        g = f[label == group]
        after = (g["year"] >= g["first"]).astype(float)
        if not after.any() or g["first"].notna().all() or g.empty:
            return float("nan")
        X = np.column_stack([after, *(g[name] for name in covariates)])
        w = None if weights is None else g[weights]
        r = oracles.dummy_regression(g["y"], X, (g["farm"], g["year"]), w)
        scores = pd.DataFrame(r.X * (r.w * r.u)[:, None]).groupby(g["county"].to_numpy()).sum()
        found.append((r.b[0], (scores @ r.bread[:, 0]).reindex(range(20), fill_value=0.0)))
    (b0, psi0), (b1, psi1) = found
    return float((b1 - b0) / np.sqrt(((psi1 - psi0) ** 2).sum()))


@pytest.mark.parametrize(("covariates", "weights"), [((), None), (("x",), "w")])
def test_fishers_p_is_that_of_every_exchange_by_dummies(covariates: tuple[str, ...], weights: str | None) -> None:
    f = farms(5, 2)
    one = run(f, covariates=covariates, weights=weights)
    by_hand = [
        by_dummies(f, f["a"] ^ np.isin(f["county"], np.flatnonzero(flip)), covariates, weights)
        for flip in product((0, 1), repeat=5)
    ]
    size = np.abs(by_hand)
    found = gaps(one)
    assert p_of(found) == pytest.approx(np.mean(size >= size[0] * (1 - 1e-8)), abs=1e-12)  # counts of 32
    assert found.p_value == p_of(found)
    assert found.bound == found.table["smallest_p"].iloc[-1] == 2 / 32  # itself and its mirror image
    pair = pair_of(one)
    exchanges, enumerated = list_exchanges(5, None, None)
    assert enumerated
    np.testing.assert_array_equal(exchanges, np.array(list(product((0, 1), repeat=5)))[:16])
    sums = pair.from_sums(exchanges)
    np.testing.assert_allclose(sums, by_hand[:16], rtol=1e-9)  # least squares with dummies loses a few digits
    np.testing.assert_allclose([pair.from_rows(one) for one in exchanges], by_hand[:16], rtol=1e-9)


def staggered(f: pd.DataFrame) -> pd.DataFrame:
    return f.assign(first=f["first"].where(f["county"] != 0, 2014.0))


CASES: dict[str, tuple[Any, dict[str, Any]]] = {
    "covariates and weights": (TwoWayFE(), {"covariates": ("x",), "weights": "w"}),
    "absorbed": (TwoWayFE(), {"absorb": ("town*year",), "covariates": ("x",)}),
    "absorbed by county": (TwoWayFE(), {"absorb": ("town",)}),
    "anticipation": (TwoWayFE(), {"anticipation": 1}),
    "event study": (EventStudy(leads=3, lags=2), {"covariates": ("x",), "weights": "w"}),
    "event study within its window": (EventStudy(leads=2, lags=1, bin=False), {}),
    "event study with two references": (EventStudy(leads=3, lags=2, reference=(-1, -3)), {}),
}


SHAPES = [(name, "one date") for name in CASES] + [
    (name, shape)
    for name in ("covariates and weights", "event study")
    for shape in ("staggered", "repeated cross-sections", "far from zero")
]


@pytest.mark.parametrize(("name", "shape"), SHAPES)
def test_sums_equal_estimates_on_the_rows(name: str, shape: str) -> None:
    estimator, change = CASES[name]
    f = farms(5, 3, missing=0.2)
    f = staggered(f) if shape == "staggered" else f
    f = f.assign(y=f["y"] + 1e6) if shape == "far from zero" else f
    one = run(f, split(estimator), unit=None if shape == "repeated cross-sections" else "farm", **change)
    pair = pair_of(one)
    exchanges, _ = list_exchanges(5, None, None)
    sums = pair.from_sums(exchanges)
    assert sums is not None
    assert np.isfinite(sums).all()
    # Outcomes of size 1e6 hold ten digits.
    tolerance = 1e-7 if shape == "far from zero" else 1e-9
    np.testing.assert_allclose(sums, [pair.from_rows(one) for one in exchanges], rtol=tolerance, atol=tolerance)


def test_two_periods_rank_alike_by_an_estimator_without_a_regression() -> None:
    # With two periods and nobody missing the group-time effect is the two-way one, and so is its influence.
    f = farms(6, 3, missing=0.0)
    f = f[f["year"].isin([2012, 2013])]
    one, other = run(f), run(f, split(CallawaySantAnna(method="reg")))
    assert pair_of(other).from_sums(list_exchanges(6, None, None)[0]) is None
    assert p_of(gaps(other)) == p_of(gaps(one))
    assert gaps(other).statistic == pytest.approx(gaps(one).statistic, rel=1e-12)


@pytest.mark.parametrize("estimator", [SunAbraham(), Imputation(), EventStudy(leads=2, lags=1)])
def test_averages_after_adoption_are_compared(estimator: Any) -> None:
    one = run(farms(6, 3), split(estimator))
    found = gaps(one)
    effects = one.tidy().query("event_time.isna() or event_time >= 0").groupby("subgroup")["estimate"].mean()
    assert found.statistic == pytest.approx(effects["a=1"] - effects["a=0"], rel=1e-12)
    assert found.table["estimate"].tolist() == [found.statistic] * 2
    assert 2 / 64 <= p_of(found) <= 1
    assert "a very large gap can have a p of up to 0.25" in found.summary()  # 3 treated counties


def test_without_influence_the_gap_itself_is_ranked() -> None:
    f = farms(4, 1, missing=0.0)
    f = f.groupby(["county", "year", "a"], as_index=False).mean().assign(farm=lambda g: 2 * g["county"] + g["a"])
    found = gaps(run(f, split(SyntheticControl()), inference=Placebo(draws=50, seed=1)))
    by_hand = []
    for flip in product((0, 1), repeat=4):
        label = f["a"].astype(int) ^ np.isin(f["county"], np.flatnonzero(flip))
        panels = [Panel.from_frame(f[label == group], unit="farm", time="year") for group in (0, 1)]
        first, second = (SyntheticControl().fit(panel, design()).coefficients.mean() for panel in panels)
        by_hand.append(second - first)
    assert p_of(found) == np.mean(np.abs(by_hand) >= abs(by_hand[0]) * (1 - 1e-8))


# ------------------------------------------------------------------------------------------------------------ inference


@pytest.mark.exhaustive
def test_p_is_uniform_under_shocks_of_groups_in_counties_and_relabelled_farms_are_not() -> None:
    rng = np.random.default_rng(11)
    counties, each, repetitions = 8, 12, 100
    farm = np.repeat(np.arange(counties * each), 2)
    f = pd.DataFrame({"farm": farm, "year": np.tile([2012, 2013], counties * each), "county": farm // each})
    f["first"] = np.where(f["county"] < 4, 2013.0, np.nan)
    f["a"] = farm % 2
    county, a = np.arange(counties * each) // each, np.arange(counties * each) % 2
    by_county, by_farm = [], []
    for _ in range(repetitions):
        change = rng.normal(size=counties * each) + rng.normal(size=(counties, 2))[county, a]
        f["y"] = np.where(f["year"] == 2013, change[farm], 0.0)
        panel = Panel.from_frame(f, unit="farm", time="year")
        by_county.append(
            Pair(TwoWayFE(), ek.Specification(panel, design(), split(), Cluster()), f["a"].to_numpy()).rank(None, None)
        )
        side = np.where(county < 4, 1.0, -1.0) / 4  # the gap of two differences of county means, farms alike
        actual = abs((change * side * (2 * a - 1)).sum())
        labels = np.array([np.concatenate([rng.permutation(a[:each]) for _ in range(counties)]) for _ in range(199)])
        by_farm.append((1 + (np.abs((2 * labels - 1) @ (change * side)) >= actual).sum()) / 200)
    p = np.array([one.p_value for one in by_county])
    # Within three binomial standard errors of 100 repetitions.
    for level in (1 / 16, 1 / 4, 1 / 2, 3 / 4):
        assert abs(np.mean(p <= level) - level) < 3 * np.sqrt(level * (1 - level) / repetitions)
    assert np.mean(np.array(by_farm) <= 0.05) > 0.2  # seven standard errors above .05
    assert {(one.units, one.exchanges, one.enumerated, one.alone) for one in by_county} == {(8, 128, True, 0)}


def test_drawn_exchanges_come_near_all_of_them() -> None:
    f = farms(14, 7)
    one = run(f)
    found = gaps(one, GroupGaps(draws=1999, seed=3))
    pair = pair_of(one)
    every = np.array([(0, *rest) for rest in product((0, 1), repeat=13)], dtype=bool)
    size = np.abs(pair.from_sums(every))
    exact = np.mean(size >= size[0] * (1 - 1e-8))
    assert abs(p_of(found) - exact) < 3.5 * np.sqrt(exact * (1 - exact) / 1999)
    assert found.bound == 1 / 2000
    assert "1999 random exchanges" in found.summary()
    again = gaps(one, GroupGaps(draws=1999, seed=3))
    pd.testing.assert_frame_equal(again.table, found.table, check_exact=True)
    assert p_of(gaps(one, GroupGaps(draws=1999, seed=4))) != p_of(found)


def test_too_many_counties_without_draws_leave_fishers_row_empty_with_its_reason() -> None:
    found = gaps(run(farms(14, 7)))
    fisher = found.table.iloc[-1]
    assert np.isnan(fisher["p_value"])
    assert not fisher["supported"]
    assert "2^14 ways" in fisher["why"]
    assert "draws=999, seed=1" in fisher["why"]
    assert found.p_value == p_of(found, "Cluster()")
    assert np.isnan(found.bound)
    assert "p = – (Fisher's permutation" in found.summary()


def test_what_the_design_cannot_support_is_shown_as_unsupported_and_not_used() -> None:
    found = gaps(run(farms(6, 1)), GroupGaps(under=(Classical(),)))
    assert found.table["supported"].tolist() == [False, False, True]
    assert found.table["p_value"].notna().all()
    assert found.table["p_holm"].isna().tolist() == [True, True, False]
    assert "of cases, not 5 %" in found.table["why"].iloc[0]
    assert found.p_value == p_of(found)
    assert found.summary().count("p = –") == found.summary("zh").count("p = –") == 2


def test_where_nothing_is_supported_there_is_no_p() -> None:
    found = gaps(run(farms(14, 1)))
    assert np.isnan(found.p_value)
    assert found.statistic == found.table["estimate"].iloc[0]
    assert found.verdict == "described"


def test_a_method_that_refuses_gives_its_reason_and_the_others_stand() -> None:
    found = gaps(run(farms(8, 4), covariates=("x",)), GroupGaps(under=(PooledGroups(), BiasReduced())))
    row = found.table.set_index("method").loc["PooledGroups()"]
    assert "covariates" in row["why"]
    assert np.isnan(row["p_value"])
    assert not row["supported"]
    assert found.table.set_index("method")["supported"].drop("PooledGroups()").all()
    assert "p = – (PooledGroups())" in found.summary()


def test_labels_that_leave_a_group_without_treated_count_as_extreme() -> None:
    f = farms(6, 2)
    f = f[(f["county"] > 1) | (f["county"] == f["a"])]  # county 0 is all of group 0, county 1 all of group 1
    found = gaps(run(f))
    by_hand = [by_dummies(f, f["a"] ^ np.isin(f["county"], np.flatnonzero(flip)), (), None)
               for flip in product((0, 1), repeat=6)]  # fmt: skip
    size = np.nan_to_num(np.abs(by_hand), nan=np.inf)
    assert np.isinf(size).sum() == 32  # both treated counties in one group
    assert p_of(found) == np.mean(size >= size[0] * (1 - 1e-8))
    assert found.bound == (1 + 16) / 32
    assert "In 2 of the 6 units of assignment (county) only one of the two groups occurs" in found.summary()
    assert "16 exchanges cannot be estimated and count as extreme" in found.summary()
    assert "6 个实施单位（county）中有 2 个只有其中一组" in found.summary("zh")


def test_event_times_that_some_labels_do_not_show_are_settled_on_the_rows() -> None:
    f = staggered(farms(6, 3, missing=0.0))
    f = f[((f["county"] != 1) | (f["a"] == 0)) & ((f["county"] != 2) | (f["a"] == 1))]
    one = run(f, split(EventStudy(leads=2, lags=2)))
    pair = pair_of(one)
    exchanges, _ = list_exchanges(6, None, None)
    rows, sums = np.array([pair.from_rows(flip) for flip in exchanges]), pair.from_sums(exchanges)
    assert sums is not None
    apart = exchanges[:, 1] == exchanges[:, 2]  # else one group holds both counties of the earlier cohort
    assert np.isnan(sums).tolist() == (~apart).tolist()
    np.testing.assert_allclose(sums[apart], rows[apart], rtol=1e-9)
    assert np.isfinite(rows).all()
    assert p_of(gaps(one)) == np.mean(np.abs(rows) >= abs(rows[0]) * (1 - 1e-8))


def test_averages_over_different_event_times_are_said_to_be() -> None:
    f = farms(6, 3, missing=0.0)
    shorter = f[(f["a"] == 1) | (f["year"] < 2015)]
    said = "not observed at the same event times"
    assert said in gaps(run(shorter, split(EventStudy(leads=2, lags=2)))).summary()
    assert said not in gaps(run(f, split(EventStudy(leads=2, lags=2)))).summary()


def test_a_dose_is_compared_by_estimates_on_the_rows() -> None:
    f = farms(5, 2).assign(loan=lambda f: np.where(f["year"] >= f["first"], f["w"], 0.0))
    one = run(f, dose="loan")
    pair, (exchanges, _) = pair_of(one), list_exchanges(5, None, None)
    assert pair.from_sums(exchanges) is None
    size = np.abs([pair.from_rows(flip) for flip in exchanges])
    assert p_of(gaps(one)) == np.mean(size >= size[0] * (1 - 1e-8))


def test_many_absorbed_effects_are_left_to_the_rows() -> None:
    f = farms(4, 2, missing=0.0)
    lots = range(16)  # in 6 years, and the 6 years: 102 effects besides those of farms
    more = pd.concat([f.assign(farm=f["farm"] + 32 * i, y=f["y"] + f["x"] * i, lot=i) for i in lots], ignore_index=True)
    exchanges, _ = list_exchanges(4, None, None)
    assert pair_of(run(more, absorb=("lot*year",))).from_sums(exchanges) is None
    assert pair_of(run(more, absorb=("lot",))).from_sums(exchanges) is not None


def test_triple_differences_are_compared() -> None:
    f = farms(6, 3, missing=0.0).assign(few=lambda f: f["farm"] % 2)
    found = gaps(run(f, split(TripleDifference()), eligible="few"))
    assert found.table["supported"].iloc[-1]


# ----------------------------------------------------------------------------------------------------- several groups


def several(counties: int = 8) -> Estimate:
    return run(farms(counties, 4).assign(kind=lambda f: f["farm"] % 3), split(by="kind"))


def test_every_pair_is_compared_and_holm_is_that_of_statsmodels() -> None:
    one = several()
    found = gaps(one, GroupGaps(under=(BiasReduced(),)))
    table = found.table
    assert table["gap"].drop_duplicates().tolist() == ["kind=1 - kind=0", "kind=2 - kind=0", "kind=2 - kind=1"]
    assert len(table) == 9
    for _, rows in table.groupby("method"):
        adjusted = multipletests(rows["p_value"], method="holm")[1]
        np.testing.assert_allclose(rows["p_holm"], adjusted, rtol=1e-12)  # the same products
    for (_, row), pair in zip(table[table["method"] == "Cluster()"].iterrows(), ((1, 0), (2, 0), (2, 1)), strict=True):
        expected = one.contrast(*(f"ATT [kind={i}]" for i in pair)).iloc[0]
        assert (row["estimate"], row["p_value"]) == (expected["estimate"], expected["p_value"])
    fisher = table[table["method"] == "Fisher"]
    best = fisher.loc[fisher["p_value"].idxmin()]
    assert (found.statistic, found.p_value) == (best["estimate"], best["p_holm"])
    assert f"Of 3 gaps between groups, {best['second']} less {best['first']} has the smallest p" in found.summary()
    assert "3 个组间差异" in found.summary("zh")


def test_fisher_of_a_pair_is_that_of_the_pair_alone() -> None:
    f = farms(8, 4).assign(kind=lambda f: f["farm"] % 3)
    three = gaps(several()).table
    alone = gaps(run(f[f["kind"] != 1], split(by="kind"))).table
    chosen = three[(three["gap"] == "kind=2 - kind=0") & (three["method"] == "Fisher")]
    assert chosen["p_value"].tolist() == alone.loc[alone["method"] == "Fisher", "p_value"].tolist()


def test_a_subgroup_without_an_estimate_is_named_and_the_others_compared() -> None:
    f = farms(8, 4).assign(kind=lambda f: np.where(f["county"] == 7, 2, f["a"]))
    found = gaps(run(f, split(by="kind")))
    assert set(found.table["gap"]) == {"kind=1 - kind=0"}
    assert "kind=2 cannot be estimated and is not compared." in found.summary()
    assert "kind=2无法估计，未参与比较。" in found.summary("zh")


# --------------------------------------------------------------------------------------------------------- invariances


def test_rows_in_another_order_change_no_bit() -> None:
    f = farms(8, 4)
    one, other = (gaps(run(g, covariates=("x",), weights="w")) for g in (f, f.sample(frac=1, random_state=1)))
    pd.testing.assert_frame_equal(one.table, other.table, check_exact=True)
    assert one.summary("zh") == other.summary("zh")


def test_collapsed_panels_give_the_same() -> None:
    f = farms(8, 4, missing=0.0)
    collapsed = ek.collapse(f, design(), unit="farm", time="year", by=("a",))
    assert len(collapsed) == 8 * 2 * 6
    few, whole = gaps(estimate(collapsed, design(), split(), inference=Cluster())).table, gaps(run(f)).table
    numeric = ["estimate", "std_error", "p_value"]
    np.testing.assert_allclose(few[numeric].astype(float), whole[numeric].astype(float), rtol=1e-10, equal_nan=True)


def test_equal_weights_are_none() -> None:
    f = farms(8, 4).assign(same=0.7)
    pd.testing.assert_frame_equal(gaps(run(f, weights="same")).table, gaps(run(f)).table, check_exact=True)


def test_other_units_and_names_of_groups_change_no_p() -> None:
    f = farms(8, 4)
    plain = gaps(run(f))
    scaled = gaps(run(f.assign(y=lambda f: 1e9 * f["y"] - 3)))
    turned = gaps(run(f.assign(a=lambda f: 1 - f["a"])))
    shifted = gaps(run(f.assign(y=lambda f: f["y"] + 5 * f["farm"] + f["year"])))
    assert p_of(scaled) == p_of(turned) == p_of(shifted) == p_of(plain)
    assert turned.statistic == pytest.approx(-plain.statistic, rel=1e-12)


@pytest.mark.parametrize(("treated", "large"), [(1, 1.0), (3, 1 / 4), (4, 1 / 8), (6, 1 / 32)])
def test_a_very_large_gap_ranks_above_all_labels_that_part_the_treated(treated: int, large: float) -> None:
    f = farms(8, treated)
    gap = 1e4 * ((f["year"] >= f["first"]) & (f["a"] == 1))
    pair = pair_of(run(f.assign(y=f["y"] + gap)))
    exchanges, _ = list_exchanges(8, None, None)
    size = np.abs(pair.from_sums(exchanges))
    # The first label is never exchanged, and is that of a treated county: treated counties stay together where none is.
    together = ~exchanges[:, :treated].any(axis=1)
    assert together.mean() == large
    assert size[together].min() > 50 * max(size[~together], default=0.0)
    found = gaps(run(f.assign(y=f["y"] + gap)))
    assert 1 / 128 <= p_of(found) <= large
    said = f"even a very large gap can have a p of up to {large:.2g}"
    assert (said in found.summary()) == (large > 0.05)


def test_rows_of_neither_group_do_not_matter() -> None:
    f = farms(8, 4)
    known = f[f["farm"] % 8 != 5]
    unknown = f.assign(a=f["a"].where(f["farm"] % 8 != 5))
    assert p_of(gaps(run(unknown))) == p_of(gaps(run(known)))


# ------------------------------------------------------------------------------------------------------------ refusals


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"draws": 999}, "draws and seed go together"),
        ({"seed": 1}, "draws and seed go together"),
        ({"draws": 10, "seed": 1}, "draws is 10"),
        ({"draws": 999, "seed": -1}, "seed is -1"),
        ({"draws": True, "seed": 1}, "draws is True"),
        ({"under": (Cluster,)}, "under holds"),
        ({"under": ("Cluster",)}, r"under holds 'Cluster'.*under=\(Cluster\(\),\)"),
    ],
)
def test_bad_settings_are_refused(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(DesignError, match=says):
        GroupGaps(**settings)


def test_an_estimate_without_subgroups_is_refused() -> None:
    with pytest.raises(DesignError, match=r"TwoWayFE\(\) has no subgroups.*Split\(by="):
        gaps(run(farms(), TwoWayFE()))
    with pytest.raises(DesignError, match="one subgroup only, a=1"):
        gaps(run(farms().assign(a=1)))
    with pytest.raises(DesignError, match=r"one subgroup only, a=0.*subgroup a=1 cannot be estimated"):
        gaps(run(farms().assign(a=lambda f: (f["county"] == 5).astype(int))))


def test_a_fit_without_residual_has_no_permutation() -> None:
    f = farms(6, 3, missing=0.0)
    f["y"] = f["farm"] + 0.5 * f["year"] + ((f["year"] >= f["first"]) & (f["a"] == 1))
    found = gaps(run(f))
    assert "tell nothing of how the gap varies" in found.table["why"].iloc[-1]
    assert np.isnan(found.p_value)
    assert found.statistic == pytest.approx(1.0, abs=1e-12)


# --------------------------------------------------------------------------------------------------------- speed, study


def test_999_exchanges_of_14040_rows_estimate_nothing_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    farm = np.repeat(np.arange(18 * 130), 6)
    f = pd.DataFrame({"farm": farm, "year": np.tile(np.arange(2016, 2022), 18 * 130), "county": farm // 130})
    f = f.assign(first=np.where(f["county"] < 7, 2019.0, np.nan), a=farm % 2, x=rng.normal(size=len(f)))
    f["y"] = rng.normal(size=len(f)) + f["x"]
    one = run(f, split(EventStudy(leads=3, lags=2)), covariates=("x",))
    fit, fitted = EventStudy.fit, []

    def note(self: EventStudy, *given: Any, **more: Any) -> Any:
        fitted.append(self)
        return fit(self, *given, **more)

    monkeypatch.setattr(EventStudy, "fit", note)
    found = gaps(one, GroupGaps(draws=999, seed=1))
    assert len(fitted) < 10  # sums by county stand for the exchanges: 999 estimates would be as many minutes
    assert found.bound == 1 / 1000


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
name = "groups"
estimator = { kind = "Split", by = "a", estimator = { kind = "TwoWayFE" } }
inference = { kind = "Cluster" }
[[check]]
kind = "GroupGaps"
on = "groups"
under = [{ kind = "Cluster", correction = "interacted" }, { kind = "WildBootstrap" }]
[labels]
"a=0" = { en = "small farms", zh = "小户" }
"a=1" = { en = "large farms", zh = "大户" }
"""


def test_a_study_names_the_methods_in_a_list(tmp_path: Path) -> None:
    farms(8, 4).to_csv(tmp_path / "farms.csv", index=False)
    (tmp_path / "farms.csv.provenance.toml").write_text("synthetic = true\n[units]\ny = 't/ha'\n", encoding="utf-8")
    (tmp_path / "study.toml").write_text(STUDY, encoding="utf-8")
    config = read_study(tmp_path)
    (one,) = config.checks
    on, asked = one.on, one.check
    assert (on, asked) == ("groups", GroupGaps(under=(Cluster(correction="interacted"), WildBootstrap())))
    evidence = evaluate_study(config)
    row = evidence.findings_table().iloc[0]
    assert "large farms less small farms" in row["sentence_en"]
    assert "大户与小户的效应之差" in row["sentence_zh"]
    assert row["verdict"] == "described"
    assert row["null"].startswith("the policy has the same effect in both groups")
    assert row["p_value"] == p_of(evidence.findings[0][1])


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (
            '[{ kind = "Cluster", correction = "interacted" }, ',
            '[{ kind = "Clusters" }, ',
            r"under\[1\]\.kind.*Cluster",
        ),
        ('under = [{ kind = "Cluster"', 'draws = 99\nunder = [{ kind = "Cluster"', "draws and seed go together"),
    ],
)
def test_a_study_that_misspells_is_told_where(tmp_path: Path, old: str, new: str, says: str) -> None:
    (tmp_path / "study.toml").write_text(STUDY.replace(old, new), encoding="utf-8")
    with pytest.raises(ConfigError, match=says):
        read_study(tmp_path)
