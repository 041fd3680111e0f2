"""One battery for every member of a family: what must not change a number, and how numbers change when the data do.

The exports are the registry: each has settings here, and a file that exports nothing fails.
"""

from __future__ import annotations

import dataclasses
import importlib
import os
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import evalkit.checks
import evalkit.estimators
import evalkit.inference
from evalkit import Design, Estimate, Finding, Panel, check, estimate
from evalkit.estimators import TwoWayFE
from evalkit.inference import Classical, Cluster, Conley, Multiplier, Robust, WildBootstrap
from evalkit.results.clusters import way_of
from evalkit.results.loadings import loadings_of
from examples import CHALLENGED, CHECKS, ESTIMATORS, INFERENCES
from sampling import cover

# What takes only balanced panels of one cohort, in which counties weigh alike, without covariates.
PLAIN = ("PooledGroups",)
SYNTHETIC = ("SyntheticDID", "SyntheticControl")
# These say nothing of rows, so that only clusters at or above the unit make sense.
WITHOUT_REGRESSION = ("CallawaySantAnna", "Imputation", "Stacked", "TwoStage")
REFITTED = ("Jackknife", "Placebo", "Permutation", "ByDesign")
# What speaks of whole regressions seen from their clusters, or of rows.
# Their factors or sums by period change with the clusters, or an effect of one county has no error before there are two.
NOT_HALVED = ("Cluster two-way", "BiasReduced", "WildBootstrap", "DriscollKraay")
BY_INFLUENCE = ("Cluster", "Cluster without correction", "Multiplier", "WildBootstrap")
UNEVEN = (
    "Split of EventStudy",
    "Split by quantile",
)  # their subgroups leave different numbers of farms in the counties


def go_together(estimator: str, inference: str) -> bool:
    """Whether an inference takes an estimator; of those that estimate anew, the battery tries a few."""
    if estimator in SYNTHETIC:
        return inference == "Placebo" or (inference, estimator) == ("Jackknife", "SyntheticDID")
    if inference in REFITTED:
        return estimator in ("TwoWayFE", "CallawaySantAnna")
    if inference in PLAIN:
        return estimator not in (*UNEVEN, "TripleDifference") and not without_regression(estimator)
    return not without_regression(estimator) or inference in BY_INFLUENCE


def without_regression(estimator: str) -> bool:
    return bool({*estimator.split()} & {*WITHOUT_REGRESSION})


def estimates_anew(estimator: str, inference: str) -> bool:
    """Whether a run estimates 168 times what is no one regression: seconds, not a tenth of one."""
    return estimator == "CallawaySantAnna" and inference in REFITTED


def is_plain(estimator: str, inference: str) -> bool:
    return inference in PLAIN or estimator in SYNTHETIC


FAMILIES = {
    "estimators": (evalkit.estimators, ESTIMATORS),
    "inference": (evalkit.inference, INFERENCES),
    "checks": (evalkit.checks, CHECKS),
}
ALL_RUNS = [pytest.param(e, i, id=f"{e}, {i}") for e in ESTIMATORS for i in INFERENCES if go_together(e, i)]
# A synthetic control is found by iteration: its last digits move with the order of units and the units of the outcome.
EXACT_RUNS = [run for run in ALL_RUNS if run.values[0] not in SYNTHETIC]
RUNS = [run for run in EXACT_RUNS if run.values[1] not in (*PLAIN, *REFITTED)]
EACH_ESTIMATOR = [pytest.param(e, "Placebo" if e in SYNTHETIC else "Cluster", id=e) for e in ESTIMATORS]
WITH_INFLUENCE = [run for run in EACH_ESTIMATOR if run.values[0] not in SYNTHETIC]


@pytest.mark.parametrize("grid", [ALL_RUNS, EXACT_RUNS, RUNS], ids=["all", "exact", "plain"])
def test_samples_of_the_battery_have_every_member(grid: list[Any]) -> None:
    sampled = cover(grid, "any", estimates_anew)
    assert [point.values for point in sampled] == [point.values for point in grid]  # the others are marked, not dropped
    kept = [point.values for point in sampled if not point.marks]
    assert len(kept) < len(grid) / 3
    for axis in (0, 1):
        assert {values[axis] for values in kept} == {point.values[axis] for point in grid}


@pytest.mark.parametrize("family", FAMILIES)
def test_every_export_is_in_the_battery(family: str) -> None:
    module, table = FAMILIES[family]
    assert {name.split()[0] for name in table} == set(module.__all__)
    for name, member in table.items():
        assert type(member) is getattr(module, name.split()[0])


@pytest.mark.parametrize("family", FAMILIES)
def test_every_public_class_of_a_family_is_exported(family: str) -> None:
    """The registry is what the package exports: no member, which is what has the method of the family, may be forgotten."""
    module, _ = FAMILIES[family]
    method = {"estimators": "fit", "inference": "assess", "checks": "run"}[family]
    found = set()
    for file in Path(str(module.__file__)).parent.rglob("*.py"):
        home = ".".join((module.__name__, *file.relative_to(Path(str(module.__file__)).parent).with_suffix("").parts))
        content = vars(importlib.import_module(home.removesuffix(".__init__")))
        found |= {name for name, one in content.items() if dataclasses.is_dataclass(one) and hasattr(one, method)
                  and one.__module__ == home and not name.startswith("_")}  # fmt: skip
    assert found == set(module.__all__)


def farms(estimator: str = "", inference: str = "", seed: int = 5) -> pd.DataFrame:
    """48 farms in 8 counties, 2010-2016, two cohorts, a tenth of the rows absent; outcomes of size 1.

    For what is plain, one cohort and every row.
    """
    plain = is_plain(estimator, inference)
    rng = np.random.default_rng(seed)
    farm = np.repeat(np.arange(48), 7)
    f = pd.DataFrame({"farm": farm, "year": np.tile(np.arange(2010, 2017), 48), "county": farm // 6})
    f["first"] = f["county"].map({0: 2013.0, 1: 2013.0, 2: 2013.0 if plain else 2014.0})
    f["income"] = rng.normal(size=len(f))
    f["large"] = (farm % 3 == 0).astype(int)
    f["area"] = np.exp(rng.normal(3.0, 0.6, 48))[farm]
    f["size"] = rng.integers(1, 4, 48)[farm]
    f["town"] = farm // 3
    f["lat"], f["lon"] = 42 + 0.1 * (f["town"] // 4), 85 + 0.5 * (f["town"] % 4)
    f["treated"] = (f["year"] >= f["first"]).astype(float)
    county_year = rng.normal(size=(8, 7))[f["county"], f["year"] - 2010]
    f["y"] = rng.normal(size=len(f)) + 0.3 * county_year + 0.05 * farm - 0.4 * f["treated"] + 0.2 * f["income"]
    # The outcome as the logarithm of an intensity, of the emissions of two sources.
    f["cei"] = np.exp(f["y"])
    f["cei_emissions_diesel"] = 1000 * f["cei"] * (0.3 + 0.05 * f["county"])
    f["cei_emissions_fertiliser_n"] = 1000 * f["cei"] - f["cei_emissions_diesel"]
    f["cei_emissions"] = f["cei_emissions_diesel"] + f["cei_emissions_fertiliser_n"]
    return f if plain else f[rng.random(len(f)) > 0.1].reset_index(drop=True)


def run(frame: pd.DataFrame, estimator: str, inference: str, *, counts: str | None = None, **design: Any) -> Estimate:
    settings = {"outcome": "y", "adoption": "first", "assigned_at": "county", **design}
    settings.setdefault("covariates", () if is_plain(estimator, inference) else ("income",))
    if estimator == "TripleDifference":
        settings["eligible"] = "large"
    panel = Panel.from_frame(frame, unit="farm", time="year", counts=counts)
    return estimate(panel, Design(**settings), ESTIMATORS[estimator], inference=INFERENCES[inference])


def parts(one: Estimate) -> tuple[Any, Any, Any]:
    """Coefficients, covariance, p-values."""
    return one.fit.coefficients, one.uncertainty.covariance, one.pvalues.to_numpy(float)


@cache
def base(estimator: str, inference: str) -> Estimate:
    return run(farms(estimator, inference), estimator, inference)


def assert_same_bits(one: Estimate, other: Estimate) -> None:
    assert one.params.index.tolist() == other.params.index.tolist()
    for a, b in zip(parts(one), parts(other), strict=True):
        np.testing.assert_array_equal(a, b)


def assert_near(one: Estimate, other: Estimate, tolerance: float, a: float = 1.0) -> None:
    """`one` has a times the coefficients of `other`; differences are judged in standard errors."""
    scale = a * np.where(np.diag(other.uncertainty.covariance) > 0, np.sqrt(np.diag(other.uncertainty.covariance)), 1.0)
    b, V, p = parts(one)
    b0, V0, p0 = parts(other)
    assert np.abs((b - a * b0) / scale).max() < tolerance
    np.testing.assert_array_equal(np.isnan(V), np.isnan(V0))  # of effects of one county, which have no error
    assert np.nanmax(np.abs((V - a**2 * V0) / np.outer(scale, scale))) < tolerance
    np.testing.assert_allclose(p, p0, atol=10 * tolerance)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_loadings_on_every_row_reproduce_the_estimate(estimator: str) -> None:
    one = base(estimator, "Placebo" if estimator in SYNTHETIC else "Cluster")
    found = loadings_of(one.fit, one.spec, way_of("farm", one.fit, one.spec))  # one row for each farm and year
    for part, response, cells in zip(found.parts, found.responses, found.cells, strict=True):
        assert len(np.unique(cells.code)) == len(part.sample.rows)
        told = response.loadings(cells).T @ cells.sum(part.sample.outcome)
        np.testing.assert_allclose(told, one.fit.coefficients[part.positions], atol=1e-11)


@pytest.mark.parametrize(("estimator", "inference"), cover(ALL_RUNS, "order of rows and columns", estimates_anew))
def test_order_of_rows_and_columns(estimator: str, inference: str) -> None:
    f = farms(estimator, inference).sample(frac=1, random_state=3)
    assert_same_bits(run(f[f.columns[::-1]], estimator, inference), base(estimator, inference))


@pytest.mark.parametrize("inference", [name for name in INFERENCES if name not in (*PLAIN, *REFITTED)])
@pytest.mark.parametrize("absorb", [(), ("town*year",)])
def test_order_of_rows_of_repeated_cross_sections(inference: str, absorb: tuple[str, ...]) -> None:
    f = farms()
    f["y"] = f["y"].round(0)  # ties in every key but the absorbed one
    f["income"] = f["income"].round(0)
    f["town"] = np.random.default_rng(1).integers(0, 3, len(f))
    design = Design(outcome="y", adoption="first", assigned_at="county", covariates=("income",), absorb=absorb)
    one, other = (
        estimate(Panel.from_frame(frame, unit=None, time="year"), design, TwoWayFE(), inference=INFERENCES[inference])
        for frame in (f, f.sample(frac=1, random_state=4).reset_index(drop=True))
    )
    assert_same_bits(one, other)


@pytest.mark.parametrize(("estimator", "inference"), cover(EXACT_RUNS, "relabelled units", estimates_anew))
def test_relabelled_units(estimator: str, inference: str) -> None:
    f = farms(estimator, inference)
    rng = np.random.default_rng(8)
    f["farm"] = rng.permutation(48)[f["farm"]] * 1000 + 17
    f["county"] = rng.permutation(8)[f["county"]]
    # Sums run in another order: rounding of about 350 rows.
    assert_near(run(f, estimator, inference), base(estimator, inference), 1e-12)


ID_TYPES: dict[str, Callable[[pd.Series], Any]] = {
    "text": lambda s: s.map("{:02d}".format),
    "Chinese text": lambda s: s.map("第{:02d}号".format),
    "categorical": lambda s: pd.Categorical(s, categories=range(60)),
    "nullable": lambda s: s.astype("Int64"),
    "Arrow": lambda s: s.astype("int64[pyarrow]"),
    "Arrow text": lambda s: s.map("{:02d}".format).astype("string[pyarrow]"),
    "float": lambda s: s.astype(float),
}


@pytest.mark.parametrize(
    ("estimator", "inference", "kind"),
    cover([(*one.values, kind) for one in EACH_ESTIMATOR for kind in ID_TYPES], "types of identifiers"),
)
def test_types_of_identifiers(estimator: str, inference: str, kind: str) -> None:
    f = farms(estimator, inference)
    f = f.assign(farm=ID_TYPES[kind](f["farm"]), county=ID_TYPES[kind](f["county"]))
    assert_same_bits(run(f, estimator, inference), base(estimator, inference))


TIMES: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "shifted": lambda f: f.assign(year=f["year"] - 1000, first=f["first"] - 1000),
    "every second year": lambda f: f.assign(year=f["year"] * 2, first=f["first"] * 2),
    "Timestamp": lambda f: f.assign(year=pd.to_datetime(f["year"].astype(str))),
    "Period": lambda f: f.assign(year=pd.PeriodIndex(f["year"].astype(str), freq="Y")),
    "text": lambda f: f.assign(year=f["year"].map("{}年".format)),
    "quarters": lambda f: f.assign(
        year=(f["year"] - 2010).map(lambda q: f"{2010 + q // 4}Q{q % 4 + 1}"),
        first=(f["first"] - 2010).map(lambda q: None if np.isnan(q) else f"{2010 + int(q) // 4}Q{int(q) % 4 + 1}"),
    ),
}


@pytest.mark.parametrize(
    ("estimator", "inference", "writing"),
    cover([(*one.values, writing) for one in EACH_ESTIMATOR for writing in TIMES], "time"),
)
def test_time_shifted_or_written_differently(estimator: str, inference: str, writing: str) -> None:
    # The covariates of ExtendedTWFE are interacted with periods, which their names then carry.
    change = {"covariates": ()} if estimator == "ExtendedTWFE" else {}
    f = farms(estimator, inference)
    assert_same_bits(run(TIMES[writing](f), estimator, inference, **change), run(f, estimator, inference, **change))


@pytest.mark.parametrize(("a", "b"), [(-2.5, 7.0), (1e12, 0.0), (1e-9, 0.0), (1e12, -1e15)])
@pytest.mark.parametrize(
    ("estimator", "inference"), cover(EXACT_RUNS, "scale and shift of the outcome", estimates_anew)
)
def test_scale_and_shift_of_the_outcome(estimator: str, inference: str, a: float, b: float) -> None:
    one = run(farms(estimator, inference).assign(y=lambda f: a * f["y"] + b), estimator, inference, covariates=())
    # a·y + b is itself rounded to 1e-16 of the larger part, which is at most 1,000 times the effect's scale.
    assert_near(one, run(farms(estimator, inference), estimator, inference, covariates=()), 1e-11, a)


@pytest.mark.parametrize(("estimator", "inference"), cover(EXACT_RUNS, "outcome far from zero", estimates_anew))
def test_outcome_far_from_zero(estimator: str, inference: str) -> None:
    far = farms(estimator, inference).assign(y=lambda f: f["y"] + 1e9)
    near = far.assign(y=lambda f: f["y"] - 1e9)  # exact: both hold the same digits, about seven after the point
    assert_near(run(far, estimator, inference), run(near, estimator, inference), 1e-10)


@pytest.mark.parametrize(
    ("estimator", "inference"), cover(EXACT_RUNS, "constants of units and periods", estimates_anew)
)
def test_constants_of_units_and_periods(estimator: str, inference: str) -> None:
    f = farms(estimator, inference)
    # By subgroup, too: each has period effects of its own. Of values of size 100, 1e-14 is rounding.
    f["y"] += 3.0 * f["farm"] + (f["year"] - 2013) ** 2
    assert_near(run(f, estimator, inference), base(estimator, inference), 1e-11)


@pytest.mark.parametrize(("estimator", "inference"), cover(EXACT_RUNS, "an added effect is found", estimates_anew))
def test_an_added_effect_is_found(estimator: str, inference: str) -> None:
    def whom(f: pd.DataFrame) -> Any:
        return f["large"] if estimator == "TripleDifference" else 1

    one = run(farms(estimator, inference).assign(y=lambda f: f["y"] + 3 * f["treated"] * whom(f)), estimator, inference)
    before = base(estimator, inference)
    shift = np.array(
        [3.0 * (t.role == "effect" and (t.event_time is None or t.event_time >= 0)) for t in one.fit.terms]
    )
    np.testing.assert_allclose(one.fit.coefficients, before.fit.coefficients + shift, atol=1e-12)  # outcomes of size 5
    np.testing.assert_allclose(one.uncertainty.covariance, before.uncertainty.covariance, atol=1e-13)


@pytest.mark.parametrize(("estimator", "inference"), cover(ALL_RUNS, "equal weights are none", estimates_anew))
def test_equal_weights_are_none(estimator: str, inference: str) -> None:
    assert_same_bits(
        run(farms(estimator, inference).assign(w=0.37), estimator, inference, weights="w"), base(estimator, inference)
    )


@pytest.mark.parametrize(("estimator", "inference"), cover(RUNS, "scale of weights"))
def test_scale_of_weights(estimator: str, inference: str) -> None:
    f = farms().assign(
        w=lambda f: f["area"] * (1 + 0.1 * f["year"]), v=lambda f: 1e6 * f["area"] * (1 + 0.1 * f["year"])
    )
    one, other = (run(f, estimator, inference, weights=w) for w in ("v", "w"))
    assert_near(one, other, 1e-11)  # rounding of the products with the weights


@pytest.mark.parametrize(("estimator", "inference"), cover(RUNS, "counts are repeated rows"))
def test_counts_are_repeated_rows(estimator: str, inference: str) -> None:
    f = farms()
    repeated = f.loc[f.index.repeat(f["size"])]
    repeated["farm"] = repeated["farm"] * 10 + repeated.groupby(["farm", "year"]).cumcount()
    one, other = run(f, estimator, inference, counts="size"), run(repeated, estimator, inference)
    assert_near(one, other, 1e-11)  # sums of products against sums of repeated terms
    sizes = ["n_obs", "n_units", "n_clusters", "df"]
    # Degrees of freedom of Satterthwaite's kind are ratios of sums.
    np.testing.assert_allclose(one.glance()[sizes].to_numpy(float), other.glance()[sizes].to_numpy(float), rtol=1e-9)


@pytest.mark.parametrize(("estimator", "inference"), cover(RUNS, "redundant effects change nothing"))
def test_redundant_effects_change_nothing(estimator: str, inference: str) -> None:
    one = run(farms(), estimator, inference, absorb=("county", "farm", "year", "large*county"))
    assert_near(one, base(estimator, inference), 1e-11)  # the larger system rounds differently


@pytest.mark.parametrize(
    ("estimator", "inference"),
    cover([p for p in RUNS if p.values[1] not in NOT_HALVED and p.values[0] != "TripleDifference"], "duplicated"),
)
def test_duplicated_clusters_halve_the_variance(estimator: str, inference: str) -> None:
    f = farms()
    twin = f.assign(farm=f["farm"] + 1000, county=f["county"] + 1000, lat=-f["lat"])
    one, two = base(estimator, inference), run(pd.concat([f, twin]), estimator, inference)
    np.testing.assert_allclose(two.fit.coefficients, one.fit.coefficients, atol=1e-12)  # outcomes of size 5
    for old, new in zip(one.fit.parts, two.fit.parts, strict=True):
        block = np.ix_(old.positions, old.positions)
        before, after = small_sample_factor(old, one), small_sample_factor(new, two)
        if before is None or after is None:  # a factor, whatever it is, is one number, and near 1
            ratios = two.uncertainty.covariance[block] / one.uncertainty.covariance[block]
            np.testing.assert_allclose(ratios, ratios[0, 0], rtol=1e-8)
            assert 0.4 < ratios[0, 0] < 0.6
            continue
        ratio = after / before / 2
        np.testing.assert_allclose(
            two.uncertainty.covariance[block], one.uncertainty.covariance[block] * ratio, rtol=1e-10, atol=1e-14
        )


def small_sample_factor(part: Any, one: Estimate) -> float | None:
    """The documented factor, counted here from the sample: periods are not nested in counties, farms are; None: unknown."""
    groups, inference = len(np.unique(part.sample.cluster)), one.spec.inference
    if inference == Cluster(correction="none") or isinstance(inference, Multiplier):
        return 1.0
    if part.regression is None:
        return groups / (groups - 1) if isinstance(inference, Cluster | WildBootstrap) else None
    n, k, periods = part.sample.n_obs, part.regression.n_slopes, len(np.unique(part.sample.period))
    everything = k + part.sample.n_units + periods - 1
    match inference:
        case Classical():
            return n / (n - everything)  # the mean squared residual stays, its divisor does not
        case Robust() | Conley():
            return n / (n - everything)
        case WildBootstrap():
            return groups / (groups - 1)
        case Cluster():
            return groups / (groups - 1) * (n - 1) / (n - k - periods)
    return None


@pytest.mark.parametrize(("estimator", "inference"), WITH_INFLUENCE)
def test_influence_sums_to_zero(estimator: str, inference: str) -> None:
    for part in base(estimator, inference).fit.parts:
        n = int(part.sample.unit.max()) + 1
        units = part.influence.sum_within(part.sample.unit, n)
        assert np.abs(units.sum(axis=0)).max() < 1e-13 * np.abs(units).sum()  # rounding of 48 sums


@pytest.mark.parametrize(("estimator", "inference"), WITH_INFLUENCE)
def test_outer_products_of_influence_are_the_covariance(estimator: str, inference: str) -> None:
    one = base(estimator, "Cluster without correction")
    total = np.zeros((8, len(one.fit.terms)))
    for part in one.fit.parts:
        counties = one.spec.panel.frame["county"].to_numpy()[part.sample.rows]
        units = part.influence.sum_within(part.sample.unit, int(part.sample.unit.max()) + 1)
        for unit, influence in enumerate(units):
            total[counties[np.argmax(part.sample.unit == unit)], part.positions] += influence
    np.testing.assert_allclose(one.uncertainty.covariance, total.T @ total, atol=1e-15)  # variances of size 0.01


@pytest.mark.parametrize(("estimator", "inference"), cover(RUNS, "scale of a covariate changes nothing else"))
def test_scale_of_a_covariate_changes_nothing_else(estimator: str, inference: str) -> None:
    one = run(farms().assign(income=lambda f: f["income"] * 1e8), estimator, inference)
    effects = [name for name in one.params.index if not name.startswith("income")]
    other = base(estimator, inference)
    np.testing.assert_allclose(one.params[effects], other.params[effects], atol=1e-12)  # outcomes of size 5
    np.testing.assert_allclose(one.bse[effects], other.bse[effects], rtol=1e-11)


@pytest.mark.parametrize(("estimator", "inference"), cover(RUNS, "input is not modified"))
def test_input_is_not_modified(estimator: str, inference: str) -> None:
    f = farms().sample(frac=1, random_state=2)
    f.loc[f.index[3], "y"] = np.nan
    before = f.copy(deep=True)
    one = run(f, estimator, inference)
    one.summary()
    pd.testing.assert_frame_equal(f, before)
    assert f.index.tolist() == before.index.tolist()


@pytest.mark.parametrize(("estimator", "inference"), cover(RUNS, "estimates speak the contract"))
def test_estimates_speak_the_contract(estimator: str, inference: str) -> None:
    one = base(estimator, inference)
    table = one.tidy()
    uncertain = ["std_error", "statistic", "p_value", "conf_low", "conf_high"]
    coordinates = ["event_time", "cohort", "period", "subgroup", "outcome", "estimator"]
    assert list(table.columns) == ["term", "estimate", *uncertain, *coordinates, "expected_size", "supported"]
    assert (table["supported"] <= table["std_error"].notna()).all()
    assert "income" not in " ".join(table["term"])
    if not {*estimator.split()} & {"CallawaySantAnna", *SYNTHETIC}:  # their covariates have no coefficients
        assert len(one.tidy(covariates=True)) > len(table)
    V = one.vcov()
    told = V.dropna(how="all").dropna(how="all", axis=1)
    assert np.linalg.eigvalsh(told).min() >= -1e-12 * np.diag(told).max()  # rounding of a zero eigenvalue
    for language in ("en", "zh"):
        assert one.summary(language)
    wide, narrow = one.conf_int(0.99), one.conf_int(0.9)
    known = one.bse.notna()
    assert (wide["conf_low"] < narrow["conf_low"])[known].all()
    if estimator != "Stacked":  # its rows outside the window are in the ledger
        assert one.glance()["n_obs"].iloc[0] + one.glance()["n_dropped"].iloc[0] == len(farms())


@pytest.mark.parametrize(("estimator", "inference"), cover(ALL_RUNS, "symmetric", estimates_anew))
def test_covariances_are_symmetric_to_the_last_bit(estimator: str, inference: str) -> None:
    V = base(estimator, inference).uncertainty.covariance
    np.testing.assert_array_equal(V, V.T)


def findings(frame: pd.DataFrame, name: str) -> Finding:
    panel = Panel.from_frame(frame, unit="farm", time="year")
    design = Design(outcome="y", adoption="first", assigned_at="county", covariates=("income",))
    (found,) = check(estimate(panel, design, CHALLENGED.get(name, TwoWayFE()), inference=Cluster()), CHECKS[name])
    return found


@cache
def base_finding(name: str) -> Finding:
    return findings(farms(), name)


FRAMES: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "rows and columns in another order": lambda f: f.sample(frac=1, random_state=3)[f.columns[::-1]],
    "units as Chinese text": lambda f: f.assign(farm=f["farm"].map("第{:02d}号".format)),
    "time as Timestamp": lambda f: f.assign(year=pd.to_datetime(f["year"].astype(str))),
    "time as Period": lambda f: f.assign(year=pd.PeriodIndex(f["year"].astype(str), freq="Y")),
    "time as text": lambda f: f.assign(year=f["year"].map("{}年".format)),
}


@pytest.mark.parametrize(("name", "change"), cover(product(CHECKS, FRAMES), "findings"))
def test_findings_do_not_depend_on_writing(name: str, change: str) -> None:
    one, other = findings(FRAMES[change](farms()), name), base_finding(name)
    pd.testing.assert_frame_equal(one.table, other.table, check_exact=True)
    assert repr((one.statistic, one.p_value, one.bound, one.verdict)) == repr(
        (other.statistic, other.p_value, other.bound, other.verdict)
    )
    assert one.sentence.text("zh") == other.sentence.text("zh")


@pytest.mark.parametrize("name", CHECKS)
def test_findings_survive_missing_outcomes_in_treated_units(name: str) -> None:
    f = farms()
    holes = f.index[f["county"].isin([0, 2, 5])][::5]
    f.loc[holes, "y"] = np.nan
    one, other = findings(f, name), findings(f.drop(index=holes), name)
    pd.testing.assert_frame_equal(one.table, other.table, check_exact=True)
    assert repr((one.statistic, one.p_value, one.verdict)) == repr((other.statistic, other.p_value, other.verdict))


@pytest.mark.parametrize("name", CHECKS)
def test_findings_survive_units_that_move(name: str) -> None:
    f = farms()
    moved = f.copy()
    moved.loc[(moved["farm"] == 40) & (moved["year"] == 2016), "county"] = 4
    moved.loc[(moved["farm"] == 40) & (moved["year"] == 2016), "y"] = np.nan
    stayed = f[~((f["farm"] == 40) & (f["year"] == 2016))]
    one, other = findings(moved, name), findings(stayed, name)
    assert repr((one.statistic, one.p_value, one.verdict)) == repr((other.statistic, other.p_value, other.verdict))


@pytest.mark.parametrize("name", CHECKS)
def test_findings_speak_the_contract(name: str) -> None:
    one = base_finding(name)
    assert one.check == name.split()[0]
    assert one.verdict in ("pass", "fail", "inconclusive", "described")
    if name != "GroupGaps":  # a gap is a result: its null is named, and nothing stands or falls with it
        assert (one.verdict == "described") == (one.null is None)
    assert len(one.table)
    for language in ("en", "zh"):
        assert one.check in one.summary(language)
        if one.null is not None:
            assert one.null.text(language)


ELSEWHERE = cover(ALL_RUNS, "order of rows and columns", estimates_anew)  # which this process has estimated already
SCRIPT = """
import sys
sys.path[:0] = {paths!r}
import test_conformance
print(test_conformance.digits({whole}))
"""


def digits(whole: bool) -> str:
    """Every bit of the estimates, of a sample of them or of all, and of the findings."""
    runs = [run.values for run in ELSEWHERE if whole or not run.marks]
    bits = [part.tobytes().hex() for run in runs for part in parts(base(*run))]
    bits += [base(*run).spec.digest() for run in runs]
    found = [(one.statistic.hex(), one.summary("en"), one.table.to_csv()) for one in map(base_finding, CHECKS)]
    return repr((bits, found))


@pytest.mark.parametrize("whole", [False, pytest.param(True, marks=pytest.mark.exhaustive)])
def test_results_do_not_depend_on_the_hash_seed(whole: bool) -> None:
    paths = [str(Path(__file__).parent), str(Path(str(evalkit.__file__)).parents[1])]
    seed = "1234" if os.environ.get("PYTHONHASHSEED") != "1234" else "0"  # any but that of this process
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(paths=paths, whole=whole)],
        env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        check=True,
        encoding="utf-8",
    )
    assert done.stdout.strip() == digits(whole)
