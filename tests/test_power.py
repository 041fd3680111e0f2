"""The smallest effect a design can find, against closed forms, another library, and simulation written a second time."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.power import TTestIndPower
from typer.testing import CliRunner

from evalkit import Design, EvalkitError, Finding, Panel
from evalkit.checks import Power
from evalkit.checks.power import _lay_out, draw_estimates
from evalkit.cli import app
from evalkit.estimators import CallawaySantAnna, EventStudy, TripleDifference, TwoWayFE
from evalkit.inference import BiasReduced, Classical, Cluster, Permutation, PooledGroups, Robust
from evalkit.numerics.power import detectable_effect, power_of_t
from evalkit.results.estimation import Specification

TWFE = TwoWayFE()


def farms(
    counties: int = 12, treated: int = 5, *, per_county: int = 3, years: int = 6, start: int = 2014
) -> pd.DataFrame:
    """Farms over years from 2010 on, in counties of which the first adopt in `start`; the outcome is beside the point."""
    n = counties * per_county
    f = pd.DataFrame({"farm": np.repeat(np.arange(n), years), "year": np.tile(2010 + np.arange(years), n)})
    f["county"] = f["farm"] // per_county
    f["first"] = np.where(f["county"] < treated, float(start), np.nan)
    f["y"] = 1.0
    return f


def specified(
    f: pd.DataFrame,
    inference: Any,
    estimator: Any = TWFE,
    *,
    unit: str | None = "farm",
    **design: Any,
) -> Specification:
    settings = {"outcome": "y", "adoption": "first", "assigned_at": "county", **design}
    return Specification(Panel.from_frame(f, unit=unit, time="year"), Design(**settings), estimator, inference)


def true_error(
    counties: int, treated: int, per_county: int, before: int, after: int, noise: float, place: float
) -> float:
    """Standard error of the difference between mean changes of treated and other counties."""
    change = (place**2 + noise**2 / per_county) * (1 / before + 1 / after)
    return float(np.sqrt(change * (1 / treated + 1 / (counties - treated))))


def test_closed_form_is_that_of_the_two_sample_t_test() -> None:
    found = Power(noise_sd=1.0, place_sd=0.5).run(specified(farms(), PooledGroups()))
    # statsmodels measures effects in standard deviations of one county's change.
    d = TTestIndPower().solve_power(nobs1=5, ratio=7 / 5, power=0.8, alpha=0.05)
    assert found.statistic == pytest.approx(
        d * np.sqrt((0.25 + 1 / 3) * (1 / 4 + 1 / 2)), rel=1e-6
    )  # its root is sought to that
    assert found.verdict == "described"
    assert found.table.loc[found.table["effect"] == 0, "power"].item() == pytest.approx(0.05, abs=1e-12)
    for effect, power in found.table.to_numpy():
        scaled = effect / np.sqrt((0.25 + 1 / 3) * (1 / 4 + 1 / 2))
        assert power == pytest.approx(TTestIndPower().power(scaled, 5, 0.05, ratio=7 / 5), abs=1e-9)
    text = (
        f"With 5 treated and 7 control units of assignment (county), an effect of {found.statistic:.4g} would be found"
    )
    assert text in found.summary("en")
    assert "处理组 5 个county、对照组 7 个county" in found.summary("zh")
    assert "t(10)" in found.summary("en")


def test_closed_form_by_drawing_the_county_changes() -> None:
    found = Power(noise_sd=0.8, place_sd=0.3, target=0.9, alpha=0.1).run(
        specified(farms(9, 1, per_county=4, years=7), PooledGroups())
    )
    rng = np.random.default_rng(1)
    sd = np.sqrt((0.09 + 0.64 / 4) * (1 / 4 + 1 / 3))
    changes = sd * rng.normal(size=(100_000, 9))
    changes[:, 0] += found.statistic
    # With one treated county: its change against the mean of the others, whose spread stands for its own.
    t = (changes[:, 0] - changes[:, 1:].mean(axis=1)) / (changes[:, 1:].std(axis=1, ddof=1) * np.sqrt(9 / 8))
    assert np.mean(np.abs(t) > stats.t.ppf(0.95, 7)) == pytest.approx(0.9, abs=0.004)  # 4 Monte Carlo errors


@pytest.mark.parametrize("df", [1, 3, 16, 200])
def test_power_of_t_is_the_noncentral_t(df: int) -> None:
    critical = stats.t.ppf(0.975, df)
    for ncp in (0.0, 0.5, 2.0, 3.5, 5.0):
        by_scipy = stats.nct.sf(critical, df, ncp) + stats.nct.cdf(-critical, df, ncp)
        assert power_of_t(ncp, std_error=1.0, df=df, alpha=0.05) == pytest.approx(by_scipy, abs=1e-9)
    assert power_of_t(1e4, std_error=1.0, df=df, alpha=0.05) == pytest.approx(1.0, abs=1e-9)  # SciPy's is NaN at some
    half = detectable_effect(std_error=2.0, df=df, alpha=0.05, target=0.5)
    assert power_of_t(half, std_error=2.0, df=df, alpha=0.05) == pytest.approx(0.5, abs=1e-9)


@pytest.mark.parametrize("draws", [150, pytest.param(500, marks=pytest.mark.exhaustive)])
def test_draws_agree_with_the_closed_form(draws: int) -> None:
    spec = specified(farms(), PooledGroups())
    exact = Power(noise_sd=1.0, place_sd=0.5).run(spec).statistic
    drawn = draw_estimates(_lay_out(spec, noise_sd=1.0, place_sd=0.5, unit_sd=2.0), draws=draws, seed=1, alpha=0.05)
    margin = 1.96 * np.sqrt(0.8 * 0.2 / draws)
    assert drawn.smallest(0.8 - margin) < exact < drawn.smallest(0.8 + margin)
    assert drawn.power(exact) == pytest.approx(0.8, abs=2 * margin)
    assert drawn.power(0.0) == pytest.approx(0.05, abs=3 * np.sqrt(0.05 * 0.95 / draws))
    assert drawn.unit == pytest.approx(true_error(12, 5, 3, 4, 2, 1.0, 0.5), rel=0.07 * np.sqrt(500 / draws))


@pytest.mark.exhaustive
def test_draws_agree_with_clustered_t_written_out() -> None:
    counties, treated = 12, 4
    found = Power(noise_sd=1.0, place_sd=0.5, draws=600, seed=3).run(specified(farms(counties, treated), Cluster()))
    # Of balanced counties, CR1 is the sum of squared deviations of their changes within treated and others.
    rng = np.random.default_rng(2)
    changes = np.sqrt((0.25 + 1 / 3) * (1 / 4 + 1 / 2)) * rng.normal(size=(40_000, counties))
    ours, theirs = changes[:, :treated], changes[:, treated:]
    squares = ours.var(axis=1) / treated + theirs.var(axis=1) / (counties - treated)
    n, k = counties * 3 * 6, 1 + 6  # slope and periods; farms are nested in the counties
    error = np.sqrt(squares * counties / (counties - 1) * (n - 1) / (n - k))
    estimates = ours.mean(axis=1) - theirs.mean(axis=1)
    limit = stats.t.ppf(0.975, counties - 1) * error
    expected = float(np.quantile(limit - estimates, 0.8))  # the effect from which a draw rejects
    low, high = _range(found)
    assert low < expected < high
    shares = {effect: np.mean(np.abs(estimates + effect) > limit) for effect in found.table["effect"]}
    for effect, power in found.table.to_numpy():
        assert power == pytest.approx(shares[effect], abs=4 * np.sqrt(0.25 / 600))


def _range(found: Finding) -> tuple[float, float]:
    words = re.search(r"the draws place it between (\S+) and (\d+\.\d+)", str(found.sentence))
    assert words is not None
    return float(words[1]), float(words[2])


@pytest.mark.exhaustive
def test_the_smallest_effect_put_into_the_outcome_is_found_as_often_as_asked() -> None:
    f = farms(10, 4)
    f = f[(f["farm"] != 3) | (f["year"] > 2011)]  # unbalanced
    spec = specified(f, BiasReduced())
    found = Power(noise_sd=1.0, place_sd=0.4, draws=200, seed=5).run(spec)
    layout = _lay_out(spec, noise_sd=1.0, place_sd=0.4, unit_sd=0.0)
    p = []
    for seed in range(200):
        outcome = layout.add_effect(layout.draw(np.random.default_rng(seed)), found.statistic)
        p.append(layout.estimate(outcome).pvalues["ATT"])
    assert np.mean(np.array(p) < 0.05) == pytest.approx(0.8, abs=0.14)  # 3.5 errors of the difference of two shares


@pytest.mark.parametrize("inference", [PooledGroups(), Cluster()])
def test_no_outcome_is_read(inference: Any) -> None:
    rng = np.random.default_rng(9)
    f, one = farms(), Power(noise_sd=1.0, place_sd=0.5, draws=60, seed=1)
    found = one.run(specified(f, inference))
    for values in (rng.normal(1e6, 1e9, len(f)), 50.0 * f["first"].notna() * (f["year"] >= 2014), np.arange(len(f))):
        other = one.run(specified(f.assign(y=values), inference))
        assert (other.statistic, str(other.sentence)) == (found.statistic, str(found.sentence))
        pd.testing.assert_frame_equal(other.table, found.table, check_exact=True)
    missing = f.assign(y=np.where(f["county"].isin([0, 11]), np.nan, 1.0))
    fewer = one.run(specified(missing, inference))
    assert "With 4 treated and 6 control" in fewer.summary()
    assert fewer.statistic > found.statistic


def test_order_of_rows_changes_nothing() -> None:
    f = farms().assign(x=np.random.default_rng(0).normal(size=12 * 18))
    one = Power(noise_sd=1.0, place_sd=0.5, draws=60, seed=1)
    for unit in ("farm", None):
        found, other = (
            one.run(specified(frame, Cluster(), unit=unit, covariates=("x",)))
            for frame in (f, f.sample(frac=1, random_state=1).reset_index(drop=True))
        )
        assert found.statistic == other.statistic
        pd.testing.assert_frame_equal(found.table, other.table, check_exact=True)


def test_seeds_count() -> None:
    spec = specified(farms(), Cluster())
    one, again, other = (Power(noise_sd=1.0, place_sd=0.5, draws=60, seed=s).run(spec) for s in (1, 1, 2))
    assert one.statistic == again.statistic != other.statistic


def test_scale() -> None:
    spec = specified(farms(), Cluster())
    one = Power(noise_sd=1.0, place_sd=0.5, draws=60, seed=1).run(spec)
    other = Power(noise_sd=1e6, place_sd=0.5e6, draws=60, seed=1).run(spec)
    assert other.statistic == pytest.approx(1e6 * one.statistic, rel=1e-9)


@pytest.mark.parametrize(
    ("change", "design"),
    [
        (lambda f: f[f["farm"] != 0], {}),  # counties of unequal size
        (lambda f: f.assign(first=f["first"].where(f["county"] > 1, 2013.0)), {}),  # two dates
        (lambda f: f.assign(x=f["farm"] * f["year"] % 7), {"covariates": ("x",)}),
        (lambda f: f.assign(w=1.0 + f["farm"] % 3), {"weights": "w"}),
        (lambda f: f, {"anticipation": 1}),  # the treated lack a period
    ],
)
def test_other_designs_are_drawn(change: Any, design: dict[str, Any]) -> None:
    spec = specified(change(farms()), Cluster(), **design)
    with pytest.raises(EvalkitError, match=r"no closed form.*draws=500, seed=1"):
        Power(noise_sd=1.0, place_sd=0.5).run(spec)
    assert 0.3 < Power(noise_sd=1.0, place_sd=0.5, draws=50, seed=1).run(spec).statistic < 3


@pytest.mark.exhaustive
def test_units_not_followed_bring_their_own_spread() -> None:
    f = farms()
    one = Power(noise_sd=1.0, place_sd=0.5, unit_sd=2.0)
    followed, anew = (one.run(specified(f, PooledGroups(), unit=unit)).statistic for unit in ("farm", None))
    errors = [true_error(12, 5, 3, 4, 2, noise, 0.5) for noise in (1.0, np.sqrt(5.0))]
    assert anew / followed == pytest.approx(errors[1] / errors[0], rel=1e-9)
    drawn = draw_estimates(
        _lay_out(specified(f, PooledGroups(), unit=None), noise_sd=1.0, place_sd=0.5, unit_sd=2.0),
        draws=400,
        seed=1,
        alpha=0.05,
    )
    assert drawn.unit == pytest.approx(errors[1], rel=0.12)


@pytest.mark.parametrize(
    ("estimator", "treated"), [(EventStudy(leads=3, lags=1), 4), (CallawaySantAnna(aggregate="dynamic"), 5)]
)
@pytest.mark.exhaustive
def test_of_several_effects_the_average_after_adoption_counts(estimator: Any, treated: int) -> None:
    # Against the last period before adoption alone: changes vary by 1 + 1/2 periods, not by 1/4 + 1/2.
    spec = specified(farms(12, treated), Cluster(), estimator)
    drawn = draw_estimates(_lay_out(spec, noise_sd=1.0, place_sd=0.5, unit_sd=0.0), draws=150, seed=2, alpha=0.05)
    error = true_error(12, treated, 3, 1, 2, 1.0, 0.5)
    assert drawn.unit == pytest.approx(error, rel=0.2)  # 3.5 errors of a standard deviation from 150 draws
    assert drawn.smallest(0.8) == pytest.approx(3.1 * error, rel=0.2)  # t(11) at 2.2, and .84


def test_doses_count_per_unit() -> None:
    f = farms().assign(dose=lambda f: np.where(f["year"] >= f["first"], 4.0, 0.0))
    one = Power(noise_sd=1.0, place_sd=0.5, draws=60, seed=1)
    plain, dosed = one.run(specified(f, Cluster())), one.run(specified(f, Cluster(), dose="dose"))
    assert dosed.statistic == pytest.approx(plain.statistic / 4, rel=1e-3)  # the precision of the search


def test_the_eligible_alone_are_affected() -> None:
    f = farms(per_county=4).assign(poor=lambda f: f["farm"] % 2)
    spec = specified(f, Cluster(), TripleDifference(), eligible="poor")
    small, large = (Power(noise_sd=1.0, place_sd=p, draws=60, seed=1).run(spec).statistic for p in (0.0, 5.0))
    assert large == pytest.approx(small, rel=1e-6)  # shocks of places cancel within them


@dataclass(frozen=True)
class Halved:
    """An estimator whose effects are half as large as they should be."""

    def fit(self, panel: Panel, design: Design, keep: Any = None) -> Any:
        fit = TwoWayFE().fit(panel, design, keep)
        return replace(fit, coefficients=fit.coefficients / 2)


def test_an_estimator_that_is_no_average_of_effects_is_refused() -> None:
    spec = specified(farms(), Cluster(), Halved())
    with pytest.raises(EvalkitError, match="it is no average of effects"):
        Power(noise_sd=1.0, place_sd=0.5, draws=60, seed=1).run(spec)


def test_p_values_that_do_not_hold_have_no_power() -> None:
    found = Power(noise_sd=1.0, place_sd=0.5, draws=60, seed=1, effect=100.0).run(specified(farms(12, 2), Cluster()))
    assert np.isnan(found.statistic)
    assert found.verdict == "inconclusive"
    assert "would reject a true null of this effect in about 24 % of cases" in found.summary("en")
    assert "不给出可发现的最小效应" in found.summary("zh")
    with pytest.raises(EvalkitError, match="without county 0 the effect cannot be estimated"):
        Power(noise_sd=1.0, place_sd=0.5, draws=60, seed=1).run(specified(farms(12, 1), BiasReduced()))


def test_a_test_that_finds_what_is_not_there_is_called_so() -> None:
    one = Power(noise_sd=0.5, place_sd=1.0, draws=100, seed=1, effect=10.0)
    for inference in (Classical(), Robust()):  # farms of a county share shocks, which these take for independent
        found = one.run(specified(farms(12, 6, per_county=10), inference))
        size = found.table.loc[found.table["effect"] == 0, "power"].item()
        assert size > 0.2
        assert f"this test rejects {100 * size:.0f} % of the outcomes drawn without any effect" in found.summary()
        assert found.verdict == "inconclusive"
    assert "without any effect" not in one.run(specified(farms(12, 6, per_county=10), Cluster())).summary()


def test_a_design_that_can_never_reject_says_so() -> None:
    one = Power(noise_sd=1.0, place_sd=0.5, draws=50, seed=1, effect=100.0)
    found = one.run(specified(farms(7, 1, per_county=1), Permutation()))  # no p below 1/7
    assert found.statistic == np.inf
    assert "no effect, however large, would be found" in found.summary()
    assert found.verdict == "fail"
    assert found.table["power"].max() == 0


@pytest.mark.parametrize(
    ("effect", "verdict", "power"), [(3.0, "pass", 1.0), (-3.0, "pass", 1.0), (0.2, "fail", 0.1), (-0.2, "fail", 0.1)]
)
def test_an_effect_hoped_for_is_judged(effect: float, verdict: str, power: float) -> None:
    for settings in ({}, {"draws": 100, "seed": 1}):
        inference = PooledGroups() if not settings else Cluster()
        found = Power(noise_sd=1.0, place_sd=0.5, effect=effect, **settings).run(specified(farms(), inference))
        assert found.verdict == verdict
        assert found.bound == effect
        assert found.table.loc[found.table["effect"] == abs(effect), "power"].item() == pytest.approx(power, abs=0.06)
        assert f"The effect hoped for, {effect:.4g}, would be found" in found.summary()


def test_an_effect_within_monte_carlo_error_is_undecided() -> None:
    spec = specified(farms(), Cluster())
    smallest = Power(noise_sd=1.0, place_sd=0.5, draws=100, seed=1).run(spec).statistic
    found = Power(noise_sd=1.0, place_sd=0.5, draws=100, seed=1, effect=smallest).run(spec)
    assert found.verdict == "inconclusive"
    low, high = _range(found)
    assert low < smallest < high


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"noise_sd": -1.0}, "noise_sd is -1.0"),
        ({"noise_sd": 0.0, "place_sd": 0.0}, "nothing varies"),
        ({"unit_sd": float("nan")}, "unit_sd is nan"),
        ({"target": 1.0}, "target is 1.0"),
        ({"target": 0.3}, "target is 0.3"),
        ({"alpha": 0.0}, "alpha is 0.0"),
        ({"effect": 0.0}, "effect is 0.0"),
        ({"draws": 10}, "draws is 10"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_settings_are_checked(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(EvalkitError, match=words):
        Power(**{"noise_sd": 1.0, "place_sd": 1.0, **settings})


def test_collapsed_rows_are_refused() -> None:
    panel = Panel.from_frame(farms().assign(n=2), unit="farm", time="year", counts="n")
    spec = replace(specified(farms(), Cluster()), panel=panel)
    with pytest.raises(EvalkitError, match="before they are collapsed"):
        Power(noise_sd=1.0, place_sd=0.5, draws=60, seed=1).run(spec)


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
name = "pooled"
estimator = { kind = "TwoWayFE" }
inference = { kind = "PooledGroups" }
[[estimate]]
name = "clustered"
estimator = { kind = "TwoWayFE" }
inference = { kind = "Cluster" }
[labels]
county = { en = "county", zh = "县" }
"""


def call(folder: Path, *arguments: str) -> Any:
    given = ["power", str(folder), "--noise-sd", "1", "--place-sd", "0.5", *arguments]
    return CliRunner().invoke(app, given)


def test_command_line(tmp_path: Path) -> None:
    f = farms()
    f.to_csv(tmp_path / "farms.csv", index=False)
    (tmp_path / "study.toml").write_text(STUDY, encoding="utf-8")
    smallest = Power(noise_sd=1.0, place_sd=0.5).run(specified(f, PooledGroups())).statistic
    command = [sys.executable, "-m", "evalkit", "power", str(tmp_path), "--noise-sd", "1", "--place-sd", "0.5"]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=True)
    head = f"[pooled] With 5 treated and 7 control units of assignment (county), an effect of {smallest:.4g}"
    assert done.stdout.startswith(head)
    lines = [line.split() for line in done.stdout.splitlines()]
    assert lines[2] == ["effect", "power"]
    assert lines[3] == ["0", "5", "%", "##"]
    assert [f"{smallest:.4g}", "80", "%", 32 * "#"] in lines
    assert [float(power) for _, power, *_ in lines[3:]] == sorted(float(power) for _, power, *_ in lines[3:])


def test_command_line_with_a_named_estimate_in_chinese(tmp_path: Path) -> None:
    farms().to_csv(tmp_path / "farms.csv", index=False)
    (tmp_path / "study.toml").write_text(STUDY, encoding="utf-8")
    options = ("--estimate", "clustered", "--draws", "50", "--seed", "1", "--target", ".9", "--language", "zh")
    done = call(tmp_path, *options)
    assert done.exit_code == 0
    assert done.stdout.startswith("[clustered] 处理组 5 个县、对照组 7 个县")
    assert "以 90 % 的概率" in done.stdout
    for wrong, words in (
        (("--estimate", "clusterd"), "did you mean 'clustered'?"),
        (("--estimate", "clustered"), "give draws= and seed="),
        (("--target", "2"), "target is 2.0"),
        (("--language", "fr"), "language 'fr' is unknown"),
    ):
        refused = call(tmp_path, *wrong)
        assert refused.exit_code == 2
        assert words in refused.stderr


def test_command_line_where_no_p_value_holds(tmp_path: Path) -> None:
    farms(12, 2).to_csv(tmp_path / "farms.csv", index=False)
    (tmp_path / "study.toml").write_text(STUDY, encoding="utf-8")
    done = call(tmp_path, "--estimate", "clustered", "--draws", "50", "--seed", "1")
    assert done.exit_code == 0
    assert done.stdout.startswith("[clustered] No smallest effect is given: clustered errors with t(G-1) would reject")
    assert len(done.stdout.splitlines()) == 1
