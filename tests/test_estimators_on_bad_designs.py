"""Every estimator on small, bad panels: finite effects with notes, or an error that names what, where and the remedy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

import sampling
from evalkit import Design, Estimate, EvalkitError, Panel, check, estimate
from evalkit.checks import PlaceboAdoption, PreTrends
from evalkit.estimators import (
    CallawaySantAnna,
    EventStudy,
    ExtendedTWFE,
    Imputation,
    Split,
    Stacked,
    SunAbraham,
    SyntheticControl,
    SyntheticDID,
    TripleDifference,
    TwoStage,
    TwoWayFE,
)
from evalkit.inference import Classical, Cluster, Jackknife, Placebo, PooledGroups, Robust
from evalkit.results.estimation import Estimator, Inference
from sampling import inputs

FAMILIES: dict[str, tuple[Estimator, ...]] = {
    "TwoWayFE": (TwoWayFE(),),
    "EventStudy": (EventStudy(leads=2, lags=2), EventStudy(leads=2, lags=1, bin=False)),
    "Split": (Split(by="group", estimator=TwoWayFE()), Split(by="x", threshold=0.0, estimator=CallawaySantAnna())),
    "TripleDifference": (TripleDifference(), TripleDifference(saturated=False)),
    "SunAbraham": tuple(SunAbraham(a) for a in ("dynamic", "simple", "cohort", "cohort_time")),
    "ExtendedTWFE": tuple(ExtendedTWFE(a) for a in ("dynamic", "simple", "cohort", "cohort_time")),
    "ExtendedTWFE, poisson": tuple(ExtendedTWFE(a, "poisson") for a in ("dynamic", "simple", "cohort", "cohort_time")),
    "Stacked": (Stacked(leads=1, lags=0), Stacked(leads=2, lags=1)),
    "CallawaySantAnna": tuple(
        CallawaySantAnna(aggregate=a, method=m)
        for a in ("simple", "dynamic", "group", "calendar", "group_time")
        for m in ("dr", "reg", "ipw")
    ),
    "CallawaySantAnna, universal": (
        CallawaySantAnna(aggregate="dynamic", base="universal", balance=1),
        CallawaySantAnna(aggregate="group_time", base="universal"),
        CallawaySantAnna(aggregate="dynamic", min_e=-1, max_e=1),
    ),
    "Imputation": (
        *(Imputation(aggregate=a) for a in ("simple", "dynamic", "cohort", "cohort_time")),
        Imputation(aggregate="dynamic", leads=2),
        Imputation(leave_out=True),
        Imputation(aggregate="dynamic", leads=1, leave_out=True, average_by="event_time"),
    ),
    "TwoStage": (TwoStage(), TwoStage(aggregate="dynamic"), TwoStage(aggregate="dynamic", leads=2)),
    "SyntheticDID": tuple(SyntheticDID(aggregate=a) for a in ("simple", "cohort", "dynamic")),
    "SyntheticControl": tuple(SyntheticControl(aggregate=a) for a in ("simple", "cohort", "dynamic")),
}
REFITTED = (Placebo(draws=50, seed=1), Jackknife())
CLUSTERED = (Cluster(), Cluster(), Cluster(correction="none"), Cluster(("county", "year")), Cluster("farm"))
OTHERS = (Classical(), Robust(), PooledGroups(), *REFITTED)
OUTCOMES = ("noise", "noise", "counts", "constant", "0 or 1", "large", "small")
COVARIATES = ("noise", "constant", "of the farm", "the year", "the outcome", "the treatment", "missing", "large")


@dataclass(frozen=True)
class Case:
    """A frame, and what is asked of it."""

    frame: pd.DataFrame
    unit: str | None
    design: dict[str, Any]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """2 to 7 farms over 2 to 6 years: adoption arbitrary by county, rows missing, weights with zeros, odd covariates."""
    units, years = draw(st.sampled_from([7, 7, 6, 5, 4, 3, 2])), draw(st.sampled_from([6, 6, 5, 4, 3, 2]))
    counties = draw(st.integers(2, 5))
    first = draw(st.sampled_from([2011, 2011, -2]))  # year 0 within the panel is no "never"
    inside = [first + k for k in range(1, years)]
    when = st.sampled_from([None, None, *inside, *inside, 0, first - 2, first, first + 20, np.inf, first + 1.5])
    adoption = draw(st.lists(when, min_size=counties, max_size=counties))
    if draw(st.sampled_from([True, True, False])):  # enough for most estimators
        adoption[:2] = [inside[-1], None]
    kind, other = draw(st.sampled_from(OUTCOMES)), draw(st.sampled_from(COVARIATES))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    farm, year = np.repeat(np.arange(units), years), np.tile(first + np.arange(years), units)
    f = pd.DataFrame({"farm": farm, "year": year, "county": farm % counties, "group": farm % 2})
    f["first"] = pd.Series(adoption, dtype=float)[f["county"]].to_numpy()
    f["eligible"] = farm // counties % 2
    noise = rng.normal(size=len(f))
    f["y"] = {
        "noise": noise,
        "counts": rng.poisson(2.0, len(f)).astype(float),
        "constant": np.full(len(f), 3.1),
        "0 or 1": rng.integers(0, 2, len(f)).astype(float),
        "large": 1e12 * (1 + 1e-6 * noise),
        "small": 1e-9 * noise,
    }[kind]
    again = rng.normal(size=len(f))
    f["x"] = {
        "noise": again,
        "constant": np.full(len(f), 4.0),
        "of the farm": again[farm],
        "the year": year.astype(float),
        "the outcome": 2.0 * f["y"],
        "the treatment": (f["year"] >= f["first"]).astype(float),
        "missing": np.where(again > 0.5, np.nan, again),
        "large": 1e9 + again,
    }[other]
    f["w"] = rng.choice([0.0, 1.0, 1.0, 2.5], len(f))
    f["size"] = 1.0 + farm % 3
    f.loc[rng.random(len(f)) < draw(st.sampled_from([0.0, 0.0, 0.05])), "y"] = np.nan
    f = f[rng.random(len(f)) >= draw(st.sampled_from([0.0, 0.0, 0.1, 0.3]))].reset_index(drop=True)
    if draw(st.booleans()):
        f["farm"], f["county"] = f["farm"].map("农户{}".format), f["county"].map("县{}".format)
    design = {
        "covariates": draw(st.sampled_from([(), (), ("x",)])),
        "weights": draw(st.sampled_from([None, None, None, "w", "size"])),
        "comparison": draw(st.sampled_from(["not_yet_treated"] * 3 + ["never_treated"])),
        "anticipation": draw(st.sampled_from([0, 0, 0, 0, 1, 2])),
        "assigned_at": draw(st.sampled_from(["county", "county", "county", "farm"])),
    }
    return Case(f, draw(st.sampled_from(["farm"] * 8 + [None])), design)


def run(case: Case, estimator: Estimator, inference: Inference) -> Estimate:
    eligible = "eligible" if isinstance(estimator, TripleDifference) else None
    design = Design(outcome="y", adoption="first", eligible=eligible, **case.design)
    return estimate(Panel.from_frame(case.frame, unit=case.unit, time="year"), design, estimator, inference=inference)


def assert_speaks(one: Estimate, rows: int) -> None:
    """Effects are finite, errors positive or absent with a note, both languages can be read, and no row is lost unseen."""
    table = one.tidy().set_index("term")
    assert np.isfinite(table["estimate"]).all()
    error = table["std_error"].to_numpy(float)
    assert ((error > 0) & np.isfinite(error) | np.isnan(error)).all()
    base = {term.name for term in one.fit.terms if term.role == "base"}
    if table.loc[~table.index.isin(base), "std_error"].isna().any():
        assert one.notes
    # Rounding must not pass for precision: outcomes have about 16 digits.
    largest = max(float(np.abs(part.sample.outcome).max()) for part in one.fit.parts)
    assert not (error <= 1e-16 * largest).any()
    for language in ("en", "zh"):
        assert one.summary(language)
    for part in one.fit.parts:
        out = sum(line.rows for line in part.sample.ledger)
        if len(one.fit.parts) == 1 and not isinstance(one.spec.estimator, Split):
            assert out + len(part.sample.rows) == rows
        assert len(np.unique(part.sample.rows)) == len(part.sample.rows)


@pytest.mark.parametrize("name", FAMILIES)
def test_small_panels_are_estimated_or_refused(name: str) -> None:
    alone = name.startswith("Synthetic")
    inferences = st.sampled_from(REFITTED) if alone else st.sampled_from(CLUSTERED) | st.sampled_from(OTHERS)

    @given(case=cases(), estimator=st.sampled_from(FAMILIES[name]), inference=inferences)
    @inputs(15, 60, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow])
    def attack(case: Case, estimator: Estimator, inference: Inference) -> None:
        before = case.frame.copy()
        if alone:
            case.design["covariates"] = ()
        try:
            one: Estimate | EvalkitError = run(case, estimator, inference)
        except EvalkitError as error:
            one = error
        pd.testing.assert_frame_equal(case.frame, before)
        if isinstance(one, EvalkitError):
            assert all((one.what, one.where, one.remedy))
            outcome.add("refused")
        else:
            assert_speaks(one, len(case.frame))
            outcome.add("estimated")

    outcome: set[str] = set()
    attack()
    assert (
        outcome == {"estimated", "refused"} or not sampling.exhaustive
    )  # neither all hopeless nor all easy; 15 can be


def farms(*, anticipated: float = 0.0) -> pd.DataFrame:
    """16 farms in 8 counties, 2011-2016; two counties adopt in 2014, one in 2015; the effect is 2."""
    rng = np.random.default_rng(4)
    farm, year = np.repeat(np.arange(16), 6), np.tile(np.arange(2011, 2017), 16)
    f = pd.DataFrame({"farm": farm, "year": year, "county": farm // 2})
    f["first"] = f["county"].map({0: 2014.0, 1: 2014.0, 2: 2015.0})
    ahead = (f["year"] == f["first"] - 1) * anticipated
    f["y"] = rng.normal(size=16)[farm] + rng.normal(size=6)[year - 2011] + 2.0 * (f["year"] >= f["first"]) + ahead
    return f


DYNAMIC = {
    "CallawaySantAnna": CallawaySantAnna(aggregate="dynamic"),
    "CallawaySantAnna, by cell": CallawaySantAnna(aggregate="group_time"),
    "Imputation": Imputation(aggregate="dynamic", leads=1),
    "TwoStage": TwoStage(aggregate="dynamic"),
    "Stacked": Stacked(leads=2, lags=1),
}


@pytest.mark.parametrize("name", DYNAMIC)
def test_influence_that_cancels_within_clusters_gives_no_standard_error(name: str) -> None:
    # One treated and one control county: the deviations of farms from their county's mean sum to 0 in each, up to rounding.
    f = farms()[lambda f: f["county"].isin([0, 5])]
    f = f.assign(y=f["y"] * 1.1 + np.random.default_rng(1).normal(size=len(f)))
    design = Design(outcome="y", adoption="first", assigned_at="county")
    one = estimate(Panel.from_frame(f, unit="farm", time="year"), design, DYNAMIC[name], inference=Cluster())
    table = one.tidy()
    assert np.isfinite(table["estimate"]).all()
    assert table[["std_error", "p_value", "conf_low", "conf_high"]].isna().all(axis=None)
    assert one.notes


def test_imputed_cells_of_anticipation_stand_before_adoption() -> None:
    design = Design(outcome="y", adoption="first", assigned_at="county", anticipation=1)
    panel = Panel.from_frame(farms(anticipated=0.5), unit="farm", time="year")
    fit = Imputation(aggregate="cohort_time").fit(panel, design)
    found = {term.event_time: value for term, value in zip(fit.terms, fit.coefficients, strict=True)}
    assert sorted(time for time in found if time is not None) == [-1, 0, 1, 2]
    assert found == pytest.approx({-1: 0.5, 0: 2.0, 1: 2.0, 2: 2.0}, abs=1e-12)  # rounding of outcomes of size 3


def test_checks_without_a_standard_error_say_why_and_never_nan() -> None:
    rng = np.random.default_rng(2)
    farm, year = np.repeat(np.arange(40), 6), np.tile(np.arange(2011, 2017), 40)
    f = pd.DataFrame({"farm": farm, "year": year, "county": farm})
    f["first"] = np.where(farm < 20, 2014.0, np.nan)
    f["y"] = np.where(f["year"] < 2014, 1.0, rng.normal(size=len(f)))  # nothing moves before adoption
    design = Design(outcome="y", adoption="first", assigned_at="county")
    one = estimate(Panel.from_frame(f, unit="farm", time="year"), design, CallawaySantAnna(), inference=Cluster())
    for test, why in (
        (PlaceboAdoption(), "nothing to estimate a standard error from"),
        (PreTrends(estimator=CallawaySantAnna(aggregate="dynamic")), "a term has no standard error"),
    ):
        (found,) = check(one, test)
        assert found.verdict == "inconclusive"
        for language in ("en", "zh"):
            assert "nan" not in found.sentence.text(language)
        assert why in found.sentence.text("en")


def test_poisson_of_ones_is_solved_at_once() -> None:
    design = Design(outcome="y", adoption="first", assigned_at="county")
    panel = Panel.from_frame(farms().assign(y=1.0), unit="farm", time="year")
    one = estimate(panel, design, ExtendedTWFE("simple", "poisson"), inference=Cluster())
    assert one.params["ATT"] == 0.0
    assert np.isnan(one.bse["ATT"])
    assert any("without residual" in str(note) for note in one.notes)
