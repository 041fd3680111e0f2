"""Synthetic DID and synthetic control, the jackknife and the placebo variance: R synthdid, synthdid-py, closed forms, by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize

import cases
import oracles
from evalkit import Design, Estimate, Panel, check, estimate
from evalkit.checks import PlaceboAssignment
from evalkit.errors import DesignError, InferenceError
from evalkit.estimators import EventStudy, Split, SyntheticControl, SyntheticDID, TwoWayFE
from evalkit.inference import Classical, Cluster, Jackknife, Permutation, Placebo, PooledGroups
from evalkit.reassignment.at_once import AtOnce
from evalkit.reassignment.effects import Reassigned, reassign
from evalkit.results.estimation import Estimator, Inference, Specification
from evalkit.results.fit import Fit

REFERENCE = cases.TESTS / "reference"
R = {e["id"]: e["results"] for e in json.loads((REFERENCE / "r_synthdid_prop99.json").read_text("utf-8"))["entries"]}
PY = {e["id"]: e["results"] for e in json.loads((REFERENCE / "synthdid_py.json").read_text("utf-8"))["entries"]}
SYNTHETIC: dict[str, Any] = {"SyntheticDID": SyntheticDID(), "SyntheticControl": SyntheticControl()}
BY_R: dict[str, Any] = {"SyntheticDID": SyntheticDID(), "SyntheticControl": SyntheticControl(weights_by="synthdid")}
BOTH = pytest.mark.parametrize("name", SYNTHETIC)
# The same steps in another order of arithmetic; 10,000 of them on outcomes of size 100 leave 1e-12.
ROUNDING = 1e-10


@cache
def prop99() -> pd.DataFrame:
    return pd.read_csv(cases.TESTS / "data" / "california_prop99_semicolon.csv", sep=";")


def states(first: dict[str, int] | None = None) -> tuple[Panel, Design]:
    """California from 1989 on, or made-up first years."""
    f = prop99().assign(first=prop99()["State"].map(first or {"California": 1989}))
    panel = Panel.from_frame(f, unit="State", time="Year")
    return panel, Design(outcome="PacksPerCapita", adoption="first", assigned_at="State")


MADE_UP = {"California": 1989, "Utah": 1989, "Nevada": 1994, "Texas": 1994, "Ohio": 1980}


def mpdta() -> tuple[Panel, Design]:
    panel = Panel.from_frame(cases.mpdta(), unit="countyreal", time="year")
    return panel, Design(outcome="lemp", adoption="first", assigned_at="countyreal")


def counties(treated: int = 3, number: int = 12, farms: int = 1, seed: int = 4) -> pd.DataFrame:
    """Counties over 2010-2017 with a common factor; the first `treated` of them from 2015 on."""
    rng = np.random.default_rng(seed)
    years = np.arange(2010, 2018)
    county, year = np.repeat(np.arange(number), 8 * farms), np.tile(years, number * farms)
    loading, factor = rng.normal(size=number), np.cumsum(rng.normal(size=8))
    f = pd.DataFrame({"county": county, "farm": np.repeat(np.arange(number * farms), 8), "year": year})
    f["first"] = np.where(county < treated, 2015.0, np.nan)
    f["post"] = (f["year"] >= f["first"]).astype(float)
    f["y"] = loading[county] * factor[year - 2010] + 0.5 * rng.normal(size=(number, 8))[county, year - 2010]
    f["y"] += 0.2 * rng.normal(size=len(f)) * (farms > 1) + 0.3 * county - 0.7 * f["post"]
    return f


def staggered(seed: int = 4, farms: int = 1) -> pd.DataFrame:
    """Cohorts of two counties each in 2013, 2015 and 2016; eight never treated."""
    f = counties(0, 14, farms, seed)
    f["first"] = f["county"].map({0: 2013.0, 1: 2013.0, 2: 2015.0, 3: 2015.0, 4: 2016.0, 5: 2016.0})
    f["post"] = (f["year"] >= f["first"]).astype(float)
    return f


def fit(f: pd.DataFrame, estimator: Any = None, unit: str | None = "county", **change: Any) -> Fit:
    counts = change.pop("counts", None)
    design = Design(**{"outcome": "y", "adoption": "first", "assigned_at": "county", **change})
    return (estimator or SyntheticDID()).fit(Panel.from_frame(f, unit=unit, time="year", counts=counts), design)


def run(f: pd.DataFrame, inference: Inference, estimator: Estimator | None = None, **change: Any) -> Estimate:
    design = Design(**{"outcome": "y", "adoption": "first", "assigned_at": "county", **change})
    panel = Panel.from_frame(f, unit="farm", time="year")
    return estimate(panel, design, estimator or SyntheticDID(), inference=inference)


def said(one: Fit | Estimate) -> str:
    return " | ".join(map(str, one.notes))


# Agreement with R synthdid and synthdid-py


@pytest.mark.parametrize(("name", "entry"), [("SyntheticDID", "synthdid"), ("SyntheticControl", "sc")])
def test_prop99_equals_r_synthdid(name: str, entry: str) -> None:
    panel, design = states()
    assert BY_R[name].fit(panel, design).coefficients == pytest.approx([R[entry]["estimate"]], rel=ROUNDING)
    weights = BY_R[name].weights(panel, design)
    units = weights[weights["kind"] == "unit"]
    assert units["label"].tolist() == R[entry]["units"]
    np.testing.assert_allclose(units["weight"], R[entry]["omega"], atol=ROUNDING)
    periods = weights[weights["kind"] == "period"]
    np.testing.assert_allclose(periods["weight"], R[entry]["lambda"][: len(periods)], atol=ROUNDING)
    assert periods["label"].tolist() == ([str(year) for year in range(1970, 1989)] if entry == "synthdid" else [])
    assert set(weights["cohort"]) == {"1989"}


def test_prop99_did_equals_r_synthdid() -> None:
    panel, design = states()
    assert TwoWayFE().fit(panel, design).coefficients == pytest.approx([R["did"]["estimate"]], rel=ROUNDING)


@pytest.mark.parametrize("entry", ["mpdta_synthdid", "mpdta_sc", "prop99_synthdid", "prop99_sc"])
def test_staggered_cohorts_equal_synthdid_py(entry: str) -> None:
    data, _, method = entry.partition("_")
    panel, design = mpdta() if data == "mpdta" else states(MADE_UP)
    kind = SyntheticDID if method == "synthdid" else SyntheticControl
    one, cohorts = (kind(aggregate=a, weights_by="synthdid").fit(panel, design) for a in ("simple", "cohort"))
    assert one.coefficients == pytest.approx([PY[entry]["estimate"]], rel=ROUNDING)
    assert {t.cohort: b for t, b in zip(cohorts.terms, cohorts.coefficients, strict=True)} == pytest.approx(
        PY[entry]["cohorts"], rel=ROUNDING
    )


def test_every_state_in_turn_equals_synthdid_py() -> None:
    panel, design = states()
    one = estimate(panel, design, SyntheticDID(), inference=Placebo(draws=200, seed=1))
    # R drew 200 of these 38 with replacement: from placebos with these effects, that varies by 7 % (one standard deviation).
    assert one.bse["ATT"] == pytest.approx(R["synthdid"]["se_placebo"], rel=0.2)
    assert one.uncertainty.df.tolist() == [37.0]
    (ranked,) = check(one, PlaceboAssignment())
    expected = PY["prop99_every_state"]
    np.testing.assert_allclose(ranked.table.set_index("treated")["statistic"], pd.Series(expected), rtol=1e-9)
    assert len(ranked.table) == 39
    rank = pd.Series(expected).abs().rank(ascending=False)["California"]
    assert (rank, ranked.p_value) == (2.0, 2 / 39)


def test_every_stored_entry_is_used() -> None:
    assert set(R) == {"synthdid", "sc", "did"}
    assert set(PY) == {f"{d}_{m}" for d in ("mpdta", "prop99") for m in ("synthdid", "sc")} | {"prop99_every_state"}


# The minimum


def distance(weights: pd.DataFrame) -> tuple[float, float]:
    """Root mean square of California's gap before 1989, and its mean from then on."""
    wide = prop99().pivot(index="State", columns="Year", values="PacksPerCapita")
    units = weights[weights["kind"] == "unit"]
    gap: Any = wide.loc["California"] - units["weight"].to_numpy() @ wide.loc[units["label"]]
    return float(np.sqrt((gap.loc[:1988] ** 2).mean())), float(gap.loc[1989:].mean())


def test_synthetic_control_comes_as_near_to_california_as_any_mixture() -> None:
    panel, design = states()
    weights = SyntheticControl().weights(panel, design)
    found, effect = distance(weights)
    assert (found, effect) == pytest.approx((1.656400, -19.513630), abs=1e-6)
    assert SyntheticControl().fit(panel, design).coefficients == pytest.approx([effect], rel=1e-12)
    by_r, effect_by_r = distance(BY_R["SyntheticControl"].weights(panel, design))
    assert (by_r, effect_by_r) == pytest.approx((1.664829, -19.619663), abs=1e-6)
    # No direction to another state falls: the objective is convex, so that there is no lower one.
    wide = prop99().pivot(index="State", columns="Year", values="PacksPerCapita").loc[:, :1988]
    D = (wide.loc["California"] - wide.drop(index="California")).to_numpy()
    gap = weights["weight"].to_numpy() @ D
    slopes = D @ gap - gap @ gap
    assert slopes.min() > -1e-9 * (D**2).mean()
    assert np.abs(slopes[weights["weight"].to_numpy() > 0]).max() < 1e-9 * (D**2).mean()


def test_the_minimum_of_synthetic_did_is_that_of_another_solver() -> None:
    panel, design = states()
    estimator = SyntheticDID(weights_by="minimum")
    weights = estimator.weights(panel, design).set_index(["kind", "label"])["weight"]
    wide = prop99().pivot(index="State", columns="Year", values="PacksPerCapita")
    others = wide.drop(index="California")
    noise = np.diff(others.loc[:, :1988], axis=1).std(ddof=1)
    gaps = (wide.loc["California"] - others).loc[:, :1988].to_numpy().T
    change = others.loc[:, :1988].sub(others.loc[:, 1989:].mean(axis=1), axis=0).to_numpy()
    cases_ = {
        "unit": (gaps - gaps.mean(axis=0), 12**0.25 * noise),
        "period": (change - change.mean(axis=0), 1e-6 * noise),
    }
    for kind, (D, zeta) in cases_.items():
        n, k = D.shape

        def value(x: Any, D: Any = D, n: int = n, zeta: float = zeta) -> float:
            return float(np.sum((D @ x) ** 2) / n + zeta**2 * (x @ x))

        def slope(x: Any, D: Any = D, n: int = n, zeta: float = zeta) -> Any:
            return 2 * (D.T @ (D @ x) / n + zeta**2 * x)

        sums = {"type": "eq", "fun": lambda x: x.sum() - 1, "jac": np.ones_like}
        solve: Any = minimize  # whose overloads want more than its documentation
        peer = solve(
            value, np.full(k, 1 / k), jac=slope, bounds=[(0, 1)] * k, constraints=sums, method="SLSQP",
            options={"ftol": 1e-12, "maxiter": 1000},
        )  # fmt: skip
        np.testing.assert_allclose(weights[kind], peer.x, atol=1e-5)  # SLSQP's own accuracy
        by_r = SyntheticDID().weights(panel, design).set_index(["kind", "label"])["weight"][kind]
        assert value(weights[kind].to_numpy()) < min(peer.fun + 1e-9, value(by_r.to_numpy()))
    gap = wide.loc["California"] - weights["unit"].to_numpy() @ others
    by_hand = gap.loc[1989:].mean() - weights["period"].to_numpy() @ gap.loc[:1988]
    assert estimator.fit(panel, design).coefficients == pytest.approx([by_hand], rel=1e-12)


def test_a_country_outside_its_donors_gets_the_weights_it_was_made_of() -> None:
    """As of West Germany's path before 1990: 30 years, 16 donors that grow alike, five of them in use, and a gap that stays."""
    rng = np.random.default_rng(5)
    years, used = 30, [0, 3, 7, 8, 12]
    donors = (
        np.linspace(2.0, 20.0, years) * rng.uniform(0.7, 1.4, size=(16, 1)) + rng.normal(size=(16, years)).cumsum(1) / 8
    )
    shares = np.array([0.42, 0.22, 0.16, 0.11, 0.09])
    mixture = shares @ donors[used]
    # A gap in which the donors in use do not differ; the others lie on the far side of it.
    basis = np.linalg.qr((donors[used[1:]] - donors[used[0]]).T)[0]
    gap = np.sin(np.arange(years))
    gap -= basis @ (basis.T @ gap)
    for j in np.setdiff1d(np.arange(16), used):
        donors[j] -= (max(0.0, (donors[j] - mixture) @ gap / (gap @ gap)) + 0.01) * gap
    paths = np.vstack([mixture + 0.3 * gap, donors])
    f = pd.DataFrame({"county": np.repeat(np.arange(17), years + 5), "year": np.tile(np.arange(1960, 1995), 17)})
    f["first"] = np.where(f["county"] == 0, 1990.0, np.nan)
    f["y"] = np.column_stack([paths, np.full((17, 5), 21.0)]).ravel()
    panel = Panel.from_frame(f, unit="county", time="year")
    design = Design(outcome="y", adoption="first", assigned_at="county")
    weights = SyntheticControl().weights(panel, design)["weight"].to_numpy()
    expected = np.zeros(16)
    expected[used] = shares
    np.testing.assert_allclose(weights, expected, atol=1e-9)
    by_r = BY_R["SyntheticControl"].weights(panel, design)["weight"].to_numpy()
    assert np.abs(by_r - expected).max() > 0.005  # which is why it is not the default
    assert "other weights" not in said(SyntheticControl().fit(panel, design))


def test_weights_that_are_not_the_only_ones_are_the_most_even_and_a_note_says_so() -> None:
    f = counties(1, 14)
    y = f.pivot(index="county", columns="year", values="y")
    y.loc[0] = y.loc[1:].mean() + 0.01 * y.loc[3]  # inside the donors, of which there are more than years
    f["y"] = y.to_numpy().ravel() + 2.0 * f["post"]
    panel, design = (
        Panel.from_frame(f, unit="county", time="year"),
        Design(outcome="y", adoption="first", assigned_at="county"),
    )
    weights = SyntheticControl().weights(panel, design).set_index("label")["weight"]
    before = y.loc[:, :2014]
    np.testing.assert_allclose(weights.to_numpy() @ before.loc[1:] - before.loc[0], 0.0, atol=1e-12)
    A = np.vstack([before.loc[1:].T, np.ones(13)])
    shortest = np.linalg.pinv(A) @ np.append(before.loc[0], 1.0)  # none of which is negative here
    assert shortest.min() > 0
    np.testing.assert_allclose(weights, shortest, atol=1e-12)
    one = fit(f, SyntheticControl())
    assert "cohort 2015: other weights of the donors fit as well before adoption" in said(one)
    assert "拟合同样好" in " ".join(note.text("zh") for note in one.notes)
    assert "other weights" not in said(fit(counties(1, 4), SyntheticControl()))
    twins = pd.concat([f, f[f["county"] == 5].assign(county=99, farm=99)])
    twin = SyntheticControl().weights(Panel.from_frame(twins, unit="county", time="year"), design)
    shared = twin.set_index("label")["weight"][["5", "99"]]
    assert shared["5"] == pytest.approx(shared["99"], rel=1e-9)
    for scale in (1e12, 1e-9, -3.0):
        moved = fit(f.assign(y=scale * f["y"]), SyntheticControl())
        assert moved.coefficients / scale == pytest.approx(one.coefficients, rel=1e-10)
    shuffled = fit(f.sample(frac=1, random_state=2), SyntheticControl())
    np.testing.assert_array_equal(shuffled.coefficients, one.coefficients)
    named = fit(f.assign(county=np.where(f["county"] == 0, 77, 50 - f["county"])), SyntheticControl())
    assert named.coefficients == pytest.approx(one.coefficients, rel=1e-10)


# Closed forms


@BOTH
@pytest.mark.parametrize("make", [counties, staggered])
def test_a_panel_of_unit_and_period_effects_gives_the_effect(name: str, make: Any) -> None:
    f = make()
    period = 0.0 if name == "SyntheticControl" else 0.4 * (f["year"] - 2010) ** 2  # control has no constant to spare
    f["y"] = (0.0 if name == "SyntheticControl" else 5.0 * f["county"]) + period - 0.7 * f["post"]
    assert fit(f, SYNTHETIC[name]).coefficients == pytest.approx([-0.7], abs=1e-12)  # rounding of values of size 50


def test_synthetic_control_finds_the_mixture_that_the_treated_are() -> None:
    f = counties(1, 6)
    y = f.pivot(index="county", columns="year", values="y")
    y.loc[0] = 0.3 * y.loc[2] + 0.7 * y.loc[4]
    f["y"] = y.to_numpy().ravel() + 2.0 * f["post"]
    panel = Panel.from_frame(f, unit="county", time="year")
    design = Design(outcome="y", adoption="first", assigned_at="county")
    for estimator, near in ((SyntheticControl(), 1e-12), (BY_R["SyntheticControl"], 5e-3)):
        weights = estimator.weights(panel, design).set_index("label")["weight"]
        # R's steps end when one gains less than 1e-10 of the squared noise: weights are then good to about 1e-3.
        np.testing.assert_allclose(weights[["1", "2", "3", "4", "5"]], [0, 0.3, 0, 0.7, 0], atol=near)
        assert fit(f, estimator).coefficients == pytest.approx([2.0], abs=4 * near)


@BOTH
def test_event_times_are_the_gaps_by_hand(name: str) -> None:
    f = counties()
    path = fit(f, type(SYNTHETIC[name])(aggregate="dynamic"))
    panel = Panel.from_frame(f, unit="county", time="year")
    weights = SYNTHETIC[name].weights(panel, Design(outcome="y", adoption="first", assigned_at="county"))
    y = f.pivot(index="county", columns="year", values="y")
    units, periods = (weights[weights["kind"] == kind].set_index("label")["weight"] for kind in ("unit", "period"))
    gap = y.loc[:2].mean() - units.to_numpy() @ y.loc[units.index.astype(int)]
    gap = gap - (periods.to_numpy() @ gap[periods.index.astype(int)] if len(periods) else 0.0)
    assert [t.name for t in path.terms] == [f"ATT(e={e})" for e in range(-5, 3)]
    assert [t.event_time for t in path.terms] == list(range(-5, 3))
    np.testing.assert_allclose(path.coefficients, gap, atol=1e-12)
    assert path.coefficients[5:].mean() == pytest.approx(fit(f, SYNTHETIC[name]).coefficients[0], rel=1e-12)


@BOTH
def test_staggered_averages_weigh_treated_unit_periods(name: str) -> None:
    f = staggered()
    f["first"] = f["first"].mask(f["county"] == 1)  # cohorts of 1, 2 and 2 counties, treated 5, 3 and 2 years
    kind = type(SYNTHETIC[name])
    effects, path = fit(f, kind(aggregate="cohort")), fit(f, kind(aggregate="dynamic"))
    assert [t.name for t in effects.terms] == ["ATT(g=2013)", "ATT(g=2015)", "ATT(g=2016)"]
    by_hand = effects.coefficients @ [5, 6, 4] / 15
    assert fit(f, SYNTHETIC[name]).coefficients == pytest.approx([by_hand], rel=1e-12)
    after = {t.event_time: b for t, b in zip(path.terms, path.coefficients, strict=True)}
    observed = {0: 5, 1: 5, 2: 3, 3: 1, 4: 1}
    assert sum(after[e] * n for e, n in observed.items()) / 15 == pytest.approx(by_hand, rel=1e-12)


@BOTH
def test_a_cohort_is_the_block_of_its_counties_and_the_never_treated(name: str) -> None:
    f = staggered()
    effects = fit(f, type(SYNTHETIC[name])(aggregate="cohort"))
    for term, value in zip(effects.terms, effects.coefficients, strict=True):
        alone = f[f["first"].isna() | (f["first"] == float(str(term.cohort)))]
        assert fit(alone, SYNTHETIC[name]).coefficients == pytest.approx([value], rel=1e-10)  # another common centre
    assert "each of 3 cohorts is compared with the 8 county untreated" in said(effects)


# What is averaged, left out, said


@BOTH
def test_farms_are_averaged_by_county_first(name: str) -> None:
    f = staggered(farms=4)
    f = f[~f["farm"].isin([1, 2, 9])]  # treated counties of unequal size weigh the same all the same
    means = f.groupby(["county", "year"], as_index=False)[["y", "first"]].mean()
    one, other = fit(f, SYNTHETIC[name], "farm"), fit(means, SYNTHETIC[name])
    np.testing.assert_allclose(one.coefficients, other.coefficients, rtol=1e-10)
    assert "averaged by county and period first" in said(one)
    assert "averaged" not in said(other)
    sections = fit(f, SYNTHETIC[name], None)  # whose rows stand, and are summed, in another order
    np.testing.assert_allclose(sections.coefficients, one.coefficients, rtol=1e-9)
    holes = f[~((f["farm"] == 20) & (f["year"] == 2012))]
    assert "1 units are not observed in all periods of their county" in said(fit(holes, SYNTHETIC[name], "farm"))
    assert "not observed in all" not in said(one)


def test_weights_average_farms_and_counties_weigh_the_same() -> None:
    f = staggered(farms=3).assign(w=lambda f: 1.0 + f["farm"] % 3 + 10 * (f["county"] == 2))
    f["wy"] = f["w"] * f["y"]
    sums = f.groupby(["county", "year"], as_index=False)[["w", "wy"]].sum()
    means = sums.assign(y=sums["wy"] / sums["w"], first=sums["county"].map(f.groupby("county")["first"].first()))
    one, other = fit(f, unit="farm", weights="w"), fit(means, weights="w")
    np.testing.assert_allclose(one.coefficients, other.coefficients, rtol=1e-10)
    np.testing.assert_allclose(other.coefficients, fit(means).coefficients, rtol=1e-12)
    assert "with the weights w" in said(one)
    assert "the weights w play no part" in said(other)


def test_counts_are_repeated_farms() -> None:
    f = staggered(farms=3).assign(size=lambda f: 1 + f["farm"] % 3)
    repeated = f.loc[f.index.repeat(f["size"])]
    repeated["farm"] = repeated["farm"] * 10 + repeated.groupby(["farm", "year"]).cumcount()
    one, other = fit(f, unit="farm", counts="size"), fit(repeated, unit="farm")
    np.testing.assert_allclose(one.coefficients, other.coefficients, rtol=1e-10)


def test_cohorts_without_a_path_before_adoption_leave_through_the_ledger() -> None:
    f = staggered()
    early = f.assign(first=f["first"].mask(f["county"] == 0, 2011.0).mask(f["county"] == 1, 2010.0))
    one = fit(early)
    (line,) = one.parts[0].sample.ledger
    assert (line.rows, line.units) == (16, 2)
    assert "fewer than 2 periods before adoption" in str(line.reason)
    np.testing.assert_array_equal(one.coefficients, fit(f[f["county"] > 1]).coefficients)


def test_who_may_anticipate_is_no_donor_and_the_window_is_no_period_before() -> None:
    f = staggered()
    f["first"] = f["first"].mask(f["county"] == 13, 2018.0)
    one = fit(f, anticipation=1)
    reasons = {str(line.reason): (line.rows, line.units) for line in one.parts[0].sample.ledger}
    # One year of each of the six treated counties; of county 13, whose 2017 is such a year, too, the other seven.
    assert reasons["within the anticipation window before adoption"] == (7, 0)
    assert reasons["adopts after the last period, but may respond before its end"] == (7, 1)
    only = f[(f["first"].isna() | (f["first"] == 2015)) & (f["year"] != 2014)]
    cohort = fit(f, SyntheticDID(aggregate="cohort"), anticipation=1)
    assert cohort.coefficients[1] == pytest.approx(fit(only).coefficients[0], rel=1e-10)
    path = fit(f, SyntheticDID(aggregate="dynamic"), anticipation=1)  # shows the window
    assert [t.event_time for t in path.terms] == list(range(-6, 5))
    assert np.isfinite(path.coefficients).all()


def test_the_note_on_the_fit_says_how_near_the_synthetic_unit_is() -> None:
    panel, design = states()
    control, did = (said(estimator.fit(panel, design)) for estimator in (BY_R["SyntheticControl"], SyntheticDID()))
    wide = prop99().pivot(index="State", columns="Year", values="PacksPerCapita")
    before = wide.loc[:, :1988]
    others = before.drop(index="California")
    gap = before.loc["California"] - np.array(R["sc"]["omega"]) @ others
    noise = np.diff(others, axis=1).std(ddof=1)
    assert f"differ by {np.sqrt((gap**2).mean()):.4g} " in control
    gap = before.loc["California"] - np.array(R["synthdid"]["omega"]) @ others
    assert f"a constant apart, by {gap.std(ddof=0):.4g} " in did
    assert f"spread by {noise:.4g})" in did
    assert "7 of 38 donors have weight, most Utah (39.6 %)" in control


def test_reports_speak_chinese() -> None:
    one = run(staggered(farms=2).assign(w=1.0 + np.arange(224) % 3), Jackknife(), weights="w")
    assert "个批次均以始终未处理的" in one.summary("zh")
    assert "刀切法" in one.summary("zh")
    assert "安慰剂标准误" in run(counties(1), Placebo(draws=50, seed=1)).summary("zh")


# Refusals


@BOTH
@pytest.mark.parametrize("change", [{"covariates": ("x",)}, {"absorb": ("x",)}, {"dose": "x"}, {"eligible": "x"}])
def test_what_it_does_not_use_is_refused(name: str, change: dict[str, Any]) -> None:
    with pytest.raises(DesignError, match=f"{name} does not use it"):
        fit(counties().assign(x=1.0), SYNTHETIC[name], **change)


@BOTH
@pytest.mark.parametrize("aggregate", ["simple", "dynamic"])
def test_an_incomplete_panel_is_refused_by_name(name: str, aggregate: str) -> None:
    f = counties()
    holes = f[~(f["county"].isin([7, 9]) & (f["year"] == 2012))]
    with pytest.raises(DesignError, match="2 county are not observed in every period; the first is 7, without 2012"):
        fit(holes, type(SYNTHETIC[name])(aggregate=aggregate))
    missing = f.assign(y=f["y"].mask((f["county"] == 0) & (f["year"] == 2014)))
    with pytest.raises(DesignError, match="the first is 0, without 2014"):
        fit(missing, type(SYNTHETIC[name])(aggregate=aggregate), anticipation=1 if aggregate == "dynamic" else 0)


def test_fewer_than_two_donors_are_refused_and_the_remedy_works() -> None:
    f = staggered()
    alone = f[f["county"] < 7]
    with pytest.raises(DesignError, match="1 county stay untreated up to 2017; at least 2 donors"):
        fit(alone)
    assert len(fit(alone[alone["year"] < 2016]).coefficients) == 1  # those of 2016 are donors then


def test_no_path_before_adoption_is_refused() -> None:
    f = counties()
    with pytest.raises(DesignError, match="no treated county has 2 periods before adoption"):
        fit(f[f["year"] >= 2014])
    with pytest.raises(DesignError, match="2 periods before adoption and anticipation"):
        fit(f[f["year"] >= 2013], anticipation=1)


@BOTH
def test_an_unknown_option_is_refused(name: str) -> None:
    with pytest.raises(DesignError, match="did you mean 'dynamic'"):
        type(SYNTHETIC[name])(aggregate="dynamics")
    with pytest.raises(DesignError, match=r"weights_by 'minimal' is unknown.*did you mean 'minimum'"):
        type(SYNTHETIC[name])(weights_by="minimal")


@BOTH
@pytest.mark.parametrize("inference", [Cluster(), Cluster(correction="none"), PooledGroups()])
def test_without_influence_the_remedy_is_named(name: str, inference: Inference) -> None:
    with pytest.raises(InferenceError, match=f"{name} has no influence function.*Placebo.*Jackknife"):
        run(counties(), inference, SYNTHETIC[name])


# Invariances


@BOTH
@pytest.mark.parametrize("aggregate", ["simple", "cohort", "dynamic"])
def test_invariances(name: str, aggregate: str) -> None:
    estimator = type(SYNTHETIC[name])(aggregate=aggregate)
    f = staggered(farms=2)
    base = fit(f, estimator, "farm")
    shuffled = f.sample(frac=1, random_state=3)[f.columns[::-1]]
    before = shuffled.copy(deep=True)
    np.testing.assert_array_equal(fit(shuffled, estimator, "farm").coefficients, base.coefficients)
    pd.testing.assert_frame_equal(shuffled, before)
    equal = fit(f.assign(w=0.37), estimator, "farm", weights="w")
    np.testing.assert_array_equal(equal.coefficients, base.coefficients)
    late = fit(f.assign(year=f["year"] + 50, first=f["first"] + 50), estimator, "farm")
    np.testing.assert_array_equal(late.coefficients, base.coefficients)
    for a, b in ((-2.5, 7.0), (1e12, 0.0), (1e-9, 0.0)):
        moved = fit(f.assign(y=a * f["y"] + b), estimator, "farm")
        np.testing.assert_allclose(moved.coefficients / a, base.coefficients, atol=1e-9)  # 10,000 steps of rounding
    far = f.assign(y=f["y"] + 1e9)
    near = far.assign(y=far["y"] - 1e9)  # exact: both hold the same digits
    np.testing.assert_allclose(
        fit(far, estimator, "farm").coefficients, fit(near, estimator, "farm").coefficients, atol=1e-9
    )
    effect = fit(f.assign(y=f["y"] + 3 * f["post"]), estimator, "farm")
    shift = [3.0 * (term.event_time is None or term.event_time >= 0) for term in base.terms]
    np.testing.assert_allclose(effect.coefficients, base.coefficients + shift, atol=1e-9)
    rng = np.random.default_rng(8)
    named = f.assign(farm=rng.permutation(28)[f["farm"]] * 1000 + 17, county=rng.permutation(14)[f["county"]])
    np.testing.assert_allclose(fit(named, estimator, "farm").coefficients, base.coefficients, atol=1e-9)
    if name == "SyntheticDID":
        constants = fit(f.assign(y=f["y"] + 3.0 * f["county"]), estimator, "farm")
        np.testing.assert_allclose(constants.coefficients, base.coefficients, atol=1e-9)


@BOTH
def test_a_constant_outcome_has_no_effect_and_no_error(name: str) -> None:
    one = run(counties().assign(y=5.0), Jackknife(), SYNTHETIC[name])
    assert one.params["ATT"] == 0.0
    assert np.isnan(one.bse["ATT"])
    assert "nothing changes whichever unit of assignment is left out" in said(one)


# The jackknife


def county_changes(f: pd.DataFrame) -> Any:
    """Each county's mean from 2015 on less its mean before."""
    y = f.pivot_table(index="county", columns="year", values="y")
    return (y.loc[:, 2015:].mean(axis=1) - y.loc[:, :2014].mean(axis=1)).to_numpy()


def test_the_jackknife_of_a_difference_of_means_by_hand() -> None:
    f = counties(treated=4)
    one = run(f, Jackknife(), TwoWayFE())
    d = county_changes(f)
    squares = [((part - part.mean()) ** 2).sum() / (len(part) - 1) ** 2 for part in (d[:4], d[4:])]
    assert one.bse["ATT"] ** 2 == pytest.approx(11 / 12 * sum(squares), rel=1e-10)
    # Shocks to a county bring in 1/4² or 1/8² of the same: as much as 8 equal counties, of which 1 is lost.
    assert one.uncertainty.df == pytest.approx([(4 / 16 + 8 / 64) ** 2 / (4 / 256 + 8 / 4096) - 1], rel=1e-10)
    assert one.uncertainty.unsupported is None


def test_the_jackknife_equals_pyfixest() -> None:
    f = staggered(farms=3)
    f = f[np.random.default_rng(1).random(len(f)) > 0.1]
    f = f.assign(x=np.random.default_rng(2).normal(size=len(f)))
    b, V = oracles.pyfixest_fit("y~post+x|farm+year", f, weights=None, vcov={"CRV3": "county"}, k_fixef=None)
    one = run(f, Jackknife(), TwoWayFE(), covariates=("x",))
    V *= 13 / 14  # pyfixest leaves (G-1)/G to its small-sample factor, which is not asked for
    scale = np.sqrt(np.diag(V))
    np.testing.assert_allclose(one.params, b, rtol=1e-8)  # it de-means by steps
    np.testing.assert_allclose(one.vcov() / np.outer(scale, scale), V / np.outer(scale, scale), atol=1e-8)


@BOTH
def test_the_jackknife_refits_without_each_county(name: str) -> None:
    f = staggered(farms=2)
    estimator = type(SYNTHETIC[name])(aggregate="cohort")
    one = run(f, Jackknife(), estimator)
    without = np.array([fit(f[f["county"] != c], estimator, "farm").coefficients for c in range(14)])
    moves = without - one.fit.coefficients
    np.testing.assert_allclose(one.vcov(), 13 / 14 * moves.T @ moves, rtol=1e-12)


def by_fixed_weights(f: pd.DataFrame, kind: Any) -> Any:
    """Effects without each county, by cohort and averaged over treated county-years, with the weights of the whole."""
    design = Design(outcome="y", adoption="first", assigned_at="county")
    y = f.groupby(["county", "year"])["y"].mean().unstack()
    weights = kind.weights(Panel.from_frame(f, unit="farm", time="year"), design)
    first = f.groupby("county")["first"].first()

    def effects(left_out: int) -> list[float]:
        by_cohort, sizes = [], []
        for cohort in (2013, 2015, 2016):
            mine = weights[weights["cohort"] == str(cohort)]
            units = mine[mine["kind"] == "unit"].set_index("label")["weight"].drop(str(left_out), errors="ignore")
            periods = mine[mine["kind"] == "period"].set_index("label")["weight"]
            treated = [c for c in first[first == cohort].index if c != left_out]
            gap = y.loc[treated].mean() - units.to_numpy() / units.sum() @ y.loc[units.index.astype(int)]
            by_cohort.append(
                gap.loc[cohort:].mean() - (periods.to_numpy() @ gap[periods.index.astype(int)] if len(periods) else 0)
            )
            sizes.append(len(treated) * (2018 - cohort))
        return [*by_cohort, float(np.average(by_cohort, weights=sizes))]

    return np.array([effects(c) for c in y.index])


@BOTH
def test_the_jackknife_with_fixed_weights_by_hand(name: str) -> None:
    f = staggered(seed=3, farms=2)  # no donor has all the weight
    kind = type(SYNTHETIC[name])
    without = by_fixed_weights(f, SYNTHETIC[name])
    expected = 13 / 14 * (without - without.mean(axis=0)).T @ (without - without.mean(axis=0))
    one, apart = (run(f, Jackknife(weights="fixed"), kind(aggregate=a)) for a in ("simple", "cohort"))
    np.testing.assert_allclose(apart.vcov(), expected[:3, :3], rtol=1e-9)
    assert one.bse["ATT"] == pytest.approx(np.sqrt(expected[3, 3]), rel=1e-9)
    assert one.bse["ATT"] != pytest.approx(run(f, Jackknife(), kind()).bse["ATT"], rel=1e-3)
    assert "keeps all weights, as R synthdid does" in one.summary()
    assert "而权重保持不变的刀切法" in one.summary("zh")
    anew = run(f, Jackknife(), kind())
    assert "makes all weights anew (CV3)" in anew.summary()
    assert "重新确定全部权重的刀切法" in anew.summary("zh")
    assert "weights" not in str(run(f, Jackknife(), TwoWayFE()).uncertainty.method)


def test_the_jackknife_with_fixed_weights_equals_diff_diff() -> None:
    from diff_diff import SyntheticDiD

    f = counties(treated=3).assign(treat=lambda f: (f["county"] < 3).astype(int))
    peer = SyntheticDiD(variance_method="jackknife").fit(
        f, outcome="y", treatment="treat", unit="county", time="year", post_periods=[2015, 2016, 2017]
    )
    one = run(f, Jackknife(weights="fixed"))
    assert one.params["ATT"] == pytest.approx(peer.att, rel=1e-9)
    assert one.bse["ATT"] == pytest.approx(peer.se, rel=1e-8)  # its Frank-Wolfe steps are on a scaled outcome


def test_fixed_weights_are_refused_where_there_are_none_or_nobody_is_left() -> None:
    f = counties(treated=3)
    with pytest.raises(InferenceError, match=r"no weights of donors that could be kept.*leave out weights="):
        run(f, Jackknife(weights="fixed"), TwoWayFE())
    with pytest.raises(InferenceError, match=r"not without values of a column.*leave out by="):
        run(f.assign(place=f["county"] // 2), Jackknife(by="place", weights="fixed"))
    with pytest.raises(InferenceError, match=r"weights 'fix' is unknown.*did you mean 'fixed'"):
        Jackknife(weights="fix")  # type: ignore[arg-type]  # what a study may hold
    for value in (None, ["fixed"]):
        with pytest.raises(InferenceError, match=r"is unknown.*anew, fixed"):
            Jackknife(weights=value)  # type: ignore[arg-type]  # what a study may hold
        with pytest.raises(DesignError, match=r"is unknown.*minimum, synthdid"):
            SyntheticDID(weights_by=value)  # type: ignore[arg-type]  # the same
    for inference in (Jackknife(weights="fixed"), Jackknife()):  # what refuses such a fit is no remedy
        with pytest.raises(InferenceError, match=r"without county 0 .*use Placebo\(draws=200, seed=1\), or the check"):
            run(counties(treated=1), inference)
    y = f["y"].where(f["county"] != 5, f["year"].map(f[f["county"] < 3].groupby("year")["y"].mean()))
    with pytest.raises(InferenceError, match="without county 5 no other is treated, or no other donor has weight"):
        run(f.assign(y=y), Jackknife(weights="fixed"), SyntheticControl())
    f = staggered()
    one = run(f[f["county"] != 1], Jackknife(weights="fixed"), SyntheticDID(aggregate="cohort"))
    assert np.isnan(one.bse["ATT(g=2013)"])
    assert one.bse.drop("ATT(g=2013)").notna().all()
    assert "ATT(g=2013): cannot be estimated without county 0; there is no standard error" in said(one)


def test_fixed_weights_in_subgroups_are_those_of_each() -> None:
    f = counties(treated=4, farms=4).assign(large=lambda f: f["farm"] % 2)
    one = run(f, Jackknife(weights="fixed"), Split(by="large", estimator=SyntheticDID()))
    for group in (0, 1):
        alone = run(f[f["large"] == group], Jackknife(weights="fixed"))
        assert one.bse[f"ATT [large={group}]"] == pytest.approx(alone.bse["ATT"], rel=1e-9)


def test_the_jackknife_of_subgroups_counts_shared_counties() -> None:
    f = counties(treated=4, farms=4).assign(large=lambda f: f["farm"] % 2)
    one = run(f, Jackknife(), Split(by="large", estimator=TwoWayFE()))
    parts = [f[f["large"] == group] for group in (0, 1)]
    moves = np.array(
        [[run(p[p["county"] != c], Cluster(), TwoWayFE()).params["ATT"] for p in parts] for c in range(12)]
    )
    moves = moves - one.params.to_numpy()
    np.testing.assert_allclose(one.vcov(), 11 / 12 * moves.T @ moves, rtol=1e-9)


def test_an_effect_that_rests_on_one_county_is_refused_or_named() -> None:
    for estimator in (SyntheticDID(), TwoWayFE()):
        with pytest.raises(InferenceError, match=r"without county 0 the effect cannot be estimated.*Placebo"):
            run(counties(treated=1), Jackknife(), estimator)
    f = staggered()
    f = f[~f["county"].isin([1, 4, 5, 12, 13])]
    one = run(f, Jackknife(), SyntheticDID(aggregate="cohort"))
    assert np.isnan(one.bse["ATT(g=2013)"])
    assert one.bse.drop("ATT(g=2013)").notna().all()
    assert "ATT(g=2013): cannot be estimated without county 0; there is no standard error" in said(one)


def test_a_base_that_moves_is_another_effect() -> None:
    f = counties(treated=3)
    f = f[~(f["county"].isin([1, 2]) & (f["year"] == 2014))]  # only county 0 is observed at event time -1
    with pytest.raises(InferenceError, match=r"without county 0 the effect cannot be estimated"):
        run(f, Jackknife(), EventStudy(leads=3, lags=1))


@pytest.mark.parametrize(
    ("treated", "number", "heavy", "supported"),
    [(2, 9, 1, True), (2, 30, 1, True), (27, 30, 1, True), (15, 30, 1, True), (3, 12, 3, True), (3, 12, 20, False)],
)
def test_the_jackknife_says_when_effective_clusters_are_too_few(
    treated: int, number: int, heavy: int, supported: bool
) -> None:
    """County 0 weighs as much as `heavy` others; two treated alone are never too few, one with nearly all the weight is."""
    f = counties(treated, number).assign(w=lambda f: np.where(f["county"] == 0, float(heavy), 1.0))
    one = run(f, Jackknife(), TwoWayFE(), weights="w")
    w, treats = np.array([heavy] + [1] * (number - 1)), np.arange(number) < treated
    v = (w / np.where(treats, w[treats].sum(), w[~treats].sum())) ** 2
    effective = v.sum() ** 2 / (v**2).sum()
    assert one.uncertainty.df == pytest.approx([min(number, effective) - 1], rel=1e-9)
    assert (effective >= 2) == supported
    assert (one.uncertainty.unsupported is None) == supported
    assert supported or f"{effective:.1f}" in str(one.uncertainty.unsupported)
    assert one.uncertainty.joint_doubt is not None
    assert one.uncertainty.joint_doubt.of(np.eye(1)) is not None  # of fewer than 30 on either side


def test_cohorts_told_apart_rest_on_fewer_clusters_than_their_average() -> None:
    f = staggered()
    f = f[f["county"].isin([0, 1, 2, 3, 6, 7, 8, 9, 10, 11])]
    average, apart = run(f, Jackknife()), run(f, Jackknife(), SyntheticDID(aggregate="cohort"))
    assert average.uncertainty.unsupported is None  # four treated, two in each cohort
    assert apart.uncertainty.df.max() < average.uncertainty.df[0] < 9
    assert apart.uncertainty.df.min() > 1  # two treated and weights of several controls
    f["first"] = f["first"].mask(f["county"] == 1)
    doubt = run(f, Jackknife(), SyntheticDID(aggregate="cohort")).uncertainty.doubt
    assert doubt is not None
    assert [doubt.of(one) is not None for one in np.eye(2)] == [True, False]  # 2013 is now one county, which is lost


# Other assignments


def few(farms: int = 1) -> pd.DataFrame:
    """Six counties, the first from 2015 on, the second from 2016, others never: 30 assignments."""
    f = counties(0, 6, farms)
    f["first"] = f["county"].map({0: 2015.0, 1: 2016.0})
    return f


def both_ways(f: pd.DataFrame, estimator: Estimator, keep: Any = None, **change: Any) -> tuple[Reassigned, Any, Any]:
    """What is found, and effects under all assignments at once and estimated anew, in the same order."""
    design = Design(**{"outcome": "y", "adoption": "first", "assigned_at": "county", **change})
    panel = Panel.from_frame(f, unit="farm", time="year")
    spec = Specification(panel, design, estimator, Placebo(draws=50, seed=1))
    whole = estimator.fit(panel, design, keep)
    found = reassign(whole, spec, keep, by="a test", draws=None, seed=None)
    at_once, anew = (replace(found, sums=one).moments(studentised=False)[1].coefficients for one in (found.sums, None))
    return found, at_once, anew


OF_ALL = [
    (SyntheticControl(), {}),
    (SyntheticControl(aggregate="dynamic"), {"anticipation": 1}),
    (SyntheticControl(aggregate="cohort", weights_by="synthdid"), {"weights": "w"}),
    (SyntheticDID(weights_by="minimum"), {"anticipation": 1, "weights": "w"}),
    (SyntheticDID(weights_by="minimum", aggregate="cohort"), {"anticipation": 1}),
    (SyntheticDID(weights_by="minimum", aggregate="dynamic"), {"weights": "w"}),
]


@pytest.mark.parametrize(("estimator", "change"), OF_ALL)
def test_effects_under_all_assignments_at_once_are_those_estimated_anew(estimator: Estimator, change: Any) -> None:
    f = few(farms=3).assign(w=lambda f: 1.0 + f["farm"] % 3 + 5 * (f["county"] == 2))
    f = f[~f["farm"].isin([1, 8])]  # counties of unequal size
    found, at_once, anew = both_ways(f, estimator, **change)
    assert isinstance(found.sums, AtOnce)
    assert at_once.shape[1] == 30
    assert np.isfinite(at_once).all()
    np.testing.assert_allclose(at_once, anew, rtol=1e-9, atol=1e-11)


def test_the_steps_of_r_under_all_assignments_at_once_are_those_estimated_anew() -> None:
    found, at_once, anew = both_ways(counties(2, 6), SyntheticDID())
    assert isinstance(found.sums, AtOnce)
    assert at_once.shape == (1, 15, 1)
    np.testing.assert_allclose(at_once, anew, rtol=1e-9)


def test_counties_with_holes_are_estimated_anew_where_they_would_be_used() -> None:
    f = few()
    f["first"] = f["county"].map(
        {0: 2011.0, 1: 2015.0, 2: 2016.0}
    )  # the first too early: left out, and so may lack years
    f = f[~((f["county"] == 0) & (f["year"] == 2013))]
    found, at_once, anew = both_ways(f, SyntheticControl())
    assert isinstance(found.sums, AtOnce)
    unknown = found.sums.effects(np.array(list(found.lottery.assignments)))[2]
    early = np.array(list(found.lottery.assignments))[:, 0] == 0
    np.testing.assert_array_equal(unknown, ~early)
    assert np.isfinite(anew[0, early]).all()
    np.testing.assert_allclose(at_once, anew, rtol=1e-9)  # a year is missing: they cannot be estimated


def test_subgroups_and_chosen_rows_start_from_their_own_rows() -> None:
    f = few(farms=4).assign(large=lambda f: f["farm"] % 2)
    f = f[
        ~((f["county"] == 3) & (f["large"] == 1))
    ]  # one subgroup has five counties, and other cohorts under some assignments
    found, at_once, anew = both_ways(f, Split(by="large", estimator=SyntheticControl()))
    assert isinstance(found.sums, AtOnce)
    np.testing.assert_allclose(at_once, anew, rtol=1e-9)
    keep = (f["year"] < 2017).to_numpy()
    found, at_once, anew = both_ways(f[keep].assign(large=0), SyntheticControl())
    chosen, again, _ = both_ways(f, SyntheticControl(), keep)
    assert isinstance(chosen.sums, AtOnce)
    np.testing.assert_allclose(again, at_once, rtol=1e-12)


def test_ranks_of_checks_and_inference_are_those_of_effects_estimated_anew() -> None:
    f = counties(2, 8)
    one = run(f, Permutation(), SyntheticControl())
    (ranked,) = check(one, PlaceboAssignment())
    pairs = [(a, b) for a in range(8) for b in range(a + 1, 8)]
    effects = [
        fit(f.assign(first=np.where(f["county"].isin(pair), 2015, np.nan)), SyntheticControl()) for pair in pairs
    ]
    by_hand = np.array([float(one.coefficients[0]) for one in effects])
    table = ranked.table.set_index("treated")["statistic"]
    np.testing.assert_allclose([table[f"{a}, {b}"] for a, b in pairs], by_hand, rtol=1e-10)
    p = float(np.mean(np.abs(by_hand) >= np.abs(by_hand[0]) * (1 - 1e-9)))
    assert (ranked.p_value, one.pvalues["ATT"]) == (p, p)


# The placebo variance


@pytest.mark.parametrize("treated", [1, 2, 3])
def test_placebo_of_a_difference_of_means_is_the_variance_of_the_controls(treated: int) -> None:
    f = counties(treated)
    one = run(f, Placebo(draws=200, seed=1), TwoWayFE())
    others = county_changes(f)[treated:]
    n = len(others)
    assert one.bse["ATT"] ** 2 == pytest.approx(others.var(ddof=1) * n / (treated * (n - treated)), rel=1e-10)
    assert one.uncertainty.df.tolist() == [n - 1.0]
    assert one.uncertainty.unsupported is None
    assert f"presumes that the {treated} treated county vary as the {n} untreated do" in said(one)


def test_placebo_by_hand_with_two_cohorts() -> None:
    f = staggered()
    f = f[f["county"].isin([0, 2, 6, 7, 8, 9])]  # one county in 2013, one in 2015, four never: 12 placebos
    cohorts, inference = SyntheticDID(aggregate="cohort"), Placebo(draws=50, seed=1)
    one = run(f, inference, cohorts)
    never = f[f["first"].isna()]
    pairs = [{a: 2013.0, b: 2015.0} for a in range(6, 10) for b in range(6, 10) if a != b]
    effects = [fit(never.assign(first=never["county"].map(pair)), cohorts).coefficients for pair in pairs]
    np.testing.assert_allclose(one.vcov(), np.cov(np.transpose(effects), ddof=0), rtol=1e-9)
    assert "all 12 assignments of adoption to the 4 untreated county" in one.summary()
    # Adoption in a period that a column of dates would read as never.
    around = f.assign(year=f["year"] - 2013, d=f["post"])
    labelled = run(around, inference, cohorts, adoption=None, treated="d")
    assert labelled.params.index.tolist() == ["ATT(g=0)", "ATT(g=2)"]
    np.testing.assert_allclose(labelled.vcov(), one.vcov(), rtol=1e-12)


def test_placebos_read_quarters() -> None:
    f = staggered()
    quarters = f.assign(
        year=(f["year"] - 2010).map(lambda q: f"{2010 + q // 4}Q{q % 4 + 1}"),
        first=(f["first"] - 2010).map(lambda q: None if np.isnan(q) else f"{2010 + int(q) // 4}Q{int(q) % 4 + 1}"),
    )
    years, written = (run(g, Placebo(draws=50, seed=1), TwoWayFE()) for g in (f, quarters))
    assert written.bse["ATT"] == years.bse["ATT"]


def test_random_placebos_follow_the_seed() -> None:
    f = counties(treated=3)
    one, again, other = (run(f, Placebo(draws=60, seed=s), TwoWayFE()) for s in (1, 1, 2))
    assert one.bse["ATT"] == again.bse["ATT"] != other.bse["ATT"]
    assert "60 random assignments of adoption to the 9 untreated county" in one.summary()
    every = run(f, Placebo(draws=84, seed=1), TwoWayFE())  # 9 choose 3
    assert "all 84 assignments" in every.summary()
    assert one.bse["ATT"] == pytest.approx(every.bse["ATT"], rel=0.3)  # 60 draws: 9 % a standard deviation


def test_placebos_give_no_joint_test() -> None:
    one = run(counties(treated=1), Placebo(draws=50, seed=1), SyntheticDID(aggregate="dynamic"))
    joint = one.wald(["ATT(e=0)", "ATT(e=1)"])
    assert np.isnan(joint.p_value)
    assert joint.reason is not None


@pytest.mark.parametrize("draws", [49, True, 200.0])
def test_too_few_draws_are_refused(draws: Any) -> None:
    with pytest.raises(InferenceError, match="give a whole number from 50 on"):
        Placebo(draws=draws, seed=1)
    with pytest.raises(InferenceError, match="give a whole number from 0 on"):
        Placebo(draws=200, seed=-1)


def test_placebos_need_untreated_counties_to_spare() -> None:
    with pytest.raises(InferenceError, match="3 county are treated, and only 4 never are"):
        run(counties(treated=3, number=7), Placebo(draws=50, seed=1))
    assert run(counties(treated=3, number=8), Placebo(draws=50, seed=1)).bse.notna().all()


def test_a_placebo_that_cannot_be_estimated_is_refused() -> None:
    f = counties(treated=1, number=6)
    f = f[
        ~((f["county"] == 4) & (f["year"] < 2015))
    ]  # no control may lack its years before 2015 when it plays the treated
    with pytest.raises(InferenceError, match="a placebo among the untreated county cannot be estimated"):
        run(f, Placebo(draws=50, seed=1), EventStudy(leads=2, lags=1))


def test_classical_errors_are_refused() -> None:
    with pytest.raises(InferenceError, match="needs the residuals of a regression"):
        run(counties(), Classical())
