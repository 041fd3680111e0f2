"""Each check against the same thing done by hand: Wald statistics, placebo regressions, enumerations, leave-one-out."""

from __future__ import annotations

from functools import partial
from itertools import combinations
from math import comb
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import cases
import oracles
from evalkit import Design, EvalkitError, Finding, Panel, check, estimate
from evalkit.checks import LeaveOneOut, PlaceboAdoption, PlaceboAssignment, PreTrends
from evalkit.estimators import EventStudy, Split, TwoWayFE
from evalkit.inference import Classical, Cluster
from evalkit.numerics.permutation import count_assignments, draw_assignments, enumerate_assignments
from evalkit.results.finding import judge_zero


def counties(
    total: int, treated: int, *, years: int = 7, effect: float = 0.0, seed: int = 1, start: int = 2014
) -> pd.DataFrame:
    """One row per county and year from 2010 on; the first counties adopt in `start`."""
    rng = np.random.default_rng(seed)
    f = pd.DataFrame({"county": np.repeat(np.arange(total), years), "year": np.tile(2010 + np.arange(years), total)})
    f["first"] = np.where(f["county"] < treated, float(start), np.nan)
    f["y"] = rng.normal(size=len(f)) + 0.1 * f["county"] + effect * (f["year"] >= f["first"])
    return f


def run(frame: pd.DataFrame, one: Any, *, inference: Any = None, estimator: Any = None, **design: Any) -> Finding:
    panel = Panel.from_frame(frame, unit="county", time="year")
    chosen = Design(**{"outcome": "y", "adoption": "first", "assigned_at": "county", **design})
    (found,) = check(estimate(panel, chosen, estimator or TwoWayFE(), inference=inference or Cluster()), one)
    return found


def att(f: pd.DataFrame, first: Any) -> tuple[float, float]:
    """ATT of adoption dates `first` (by county) and its CR1 standard error, by dummies."""
    treated = (f["year"] >= f["county"].map(first)).to_numpy(float)
    r = oracles.dummy_regression(f["y"], treated[:, None], [f["county"], f["year"]])
    return float(r.b[0]), float(np.sqrt(oracles.clustered(r, [f["county"]], "cr1")[0][0, 0]))


def leads_by_hand(f: pd.DataFrame, leads: int, lags: int) -> tuple[Any, Any]:
    """Coefficients before the base and their CR1 covariance, by dummies."""
    columns = cases.event_columns(f, "year", "first", leads, lags)
    r = oracles.dummy_regression(f["y"], np.column_stack([*columns.values()]), [f["county"], f["year"]])
    V, _ = oracles.clustered(r, [f["county"]], "cr1")
    return r.b[: leads - 1], V[: leads - 1, : leads - 1]


STUDY = EventStudy(leads=4, lags=2)


def test_pre_trends_is_the_wald_test_of_the_leads() -> None:
    f = counties(60, 30)
    found = run(f, PreTrends(estimator=STUDY))
    b, V = leads_by_hand(f, 4, 2)
    statistic = float(b @ np.linalg.solve(V, b)) / 3
    assert found.statistic == pytest.approx(statistic, rel=1e-9)  # both in double precision
    assert found.p_value == pytest.approx(float(stats.f.sf(statistic, 3, 59)), rel=1e-8)
    assert found.table["event_time"].tolist() == [-4, -3, -2]
    np.testing.assert_allclose(found.table["estimate"], b, rtol=1e-9)
    assert found.verdict == "inconclusive"  # not rejecting is no proof
    assert np.isnan(found.bound)


@pytest.mark.parametrize(
    ("bound", "drift", "verdict"),
    [
        (None, 0.0, "inconclusive"),
        (0.01, 0.0, "inconclusive"),
        (5.0, 0.0, "pass"),
        (None, 3.0, "fail"),
        (5.0, 3.0, "pass"),
        (1.0, 3.0, "fail"),
    ],
)
def test_pre_trends_passes_only_within_a_bound(bound: float | None, drift: float, verdict: str) -> None:
    f = counties(60, 30)
    f["y"] += drift * f["first"].notna() * (f["year"] < 2012)
    found = run(f, PreTrends(estimator=STUDY, bound=bound))
    assert found.verdict == verdict
    for language, word in (("en", {"pass": "passed", "fail": "failed"}), ("zh", {"pass": "通过", "fail": "未通过"})):
        assert word.get(verdict, {"en": "inconclusive", "zh": "无法判定"}[language]) in found.summary(language)


def test_pre_trends_ranks_where_few_clusters_make_tests_unbelievable() -> None:
    f = counties(8, 3)
    found = run(f, PreTrends(estimator=STUDY))
    largest = []
    for chosen in combinations(range(8), 3):
        b, _ = leads_by_hand(f.assign(first=np.where(f["county"].isin(chosen), 2014.0, np.nan)), 4, 2)
        largest.append(np.abs(b).max())
    assert found.statistic == pytest.approx(largest[0], rel=1e-9)  # (0, 1, 2) is the first combination
    assert found.p_value == np.mean(np.array(largest) >= largest[0] * (1 - 1e-9))
    assert found.bound == 1 / comb(8, 3)
    assert "ranked among all assignments" in found.summary()


def test_pre_trends_gives_no_p_where_none_holds() -> None:
    f = counties(40, 5)  # 658,008 assignments: too many to rank, too few treated for F, and for t of a slope
    found = run(f, PreTrends(estimator=STUDY))
    assert np.isnan(found.p_value)
    assert found.verdict == "inconclusive"
    assert "no joint test holds" in found.summary()


def test_pre_trends_needs_leads() -> None:
    with pytest.raises(EvalkitError, match="no leads besides the base"):
        run(counties(8, 3), PreTrends(estimator=EventStudy(leads=1, lags=2)))


def test_placebo_adoption_is_the_regression_before_adoption() -> None:
    f = counties(20, 8)
    found = run(f, PlaceboAdoption(shift=2))
    before = f[f["year"] < 2014]
    value, error = att(before, dict.fromkeys(range(8), 2012))
    row = found.table.iloc[0]
    assert (row["estimate"], row["std_error"]) == pytest.approx((value, error), rel=1e-9)
    assert found.statistic == row["estimate"]
    assert found.p_value == pytest.approx(float(2 * stats.t.sf(abs(value) / error, 19)), rel=1e-8)


def test_placebo_adoption_with_staggered_cohorts_keeps_rows_before_each_adoption() -> None:
    f = counties(20, 8)
    f["first"] = f["first"].where(f["county"] >= 4, 2013.0)
    found = run(f, PlaceboAdoption(shift=1))
    before = f[(f["year"] < f["first"].fillna(9999)) & (f["year"] < 2014)]
    value, error = att(before, {c: 2012 if c < 4 else 2013 for c in range(8)})
    assert found.table[["estimate", "std_error"]].iloc[0].tolist() == pytest.approx([value, error], rel=1e-9)
    assert "first in 2012" in found.summary()


def test_placebo_adoption_leaves_out_the_anticipation_window() -> None:
    f = counties(20, 8)
    f.loc[(f["county"] < 8) & (f["year"] == 2013), "y"] += (
        50.0  # the response before adoption that the design allows for
    )
    found = run(f, PlaceboAdoption(shift=1), anticipation=1)
    value, error = att(f[f["year"] < 2013], dict.fromkeys(range(8), 2012))
    assert found.table[["estimate", "std_error"]].iloc[0].tolist() == pytest.approx([value, error], rel=1e-9)


@pytest.mark.parametrize(
    ("bound", "jump", "verdict"),
    [(None, 0.0, "inconclusive"), (0.01, 0.0, "inconclusive"), (5.0, 0.0, "pass"), (None, 5.0, "fail")],
)
def test_placebo_adoption_passes_only_within_a_bound(bound: float | None, jump: float, verdict: str) -> None:
    f = counties(20, 8)
    f["y"] += jump * ((f["county"] < 8) & (f["year"] >= 2012))
    assert run(f, PlaceboAdoption(shift=2, bound=bound)).verdict == verdict


def test_placebo_adoption_ranks_a_single_treated_unit() -> None:
    f = counties(9, 1)
    found = run(f, PlaceboAdoption(shift=2, bound=100.0))
    values = [abs(att(f[f["year"] < 2014], {county: 2012})[0]) for county in range(9)]
    assert found.p_value == np.mean(np.array(values) >= values[0] * (1 - 1e-9))
    assert found.bound == 1 / 9
    assert found.verdict == "inconclusive"  # without a standard error there is no interval to compare with a bound


def test_placebo_adoption_gives_no_p_where_none_holds() -> None:
    found = run(counties(40, 5), PlaceboAdoption(shift=2))  # 658,008 assignments, and t(39) rejects a true null .10
    assert np.isnan(found.p_value)
    assert found.verdict == "inconclusive"
    assert "none is given" in found.summary("en")
    assert "没有可靠的 p 值" in found.summary("zh")


@pytest.mark.parametrize(
    ("total", "treated", "marked"),
    [(12, 3, True), (12, 4, False), (40, 5, True), (40, 7, False), (300, 8, True), (300, 12, False)],
)
def test_p_values_are_marked_as_far_as_they_were_measured_to_fail(total: int, treated: int, marked: bool) -> None:
    """Sizes of CR1 at one date of adoption, by 20,000 draws: 3 of 12 .099, 4 of 12 .067, 5 of 40 .105, 8 of 40 .073."""
    panel = Panel.from_frame(counties(total, treated), unit="county", time="year")
    design = Design(outcome="y", adoption="first", assigned_at="county")
    one = estimate(panel, design, TwoWayFE(), inference=Cluster())
    assert (one.uncertainty.unsupported is not None) == marked
    assert ("p = " in one.summary() and "†  [" in one.summary()) == marked
    assert np.isnan(one.wald(["ATT"]).p_value) == marked


@pytest.mark.parametrize("offset", [2011, 2012, 2013, 2014])
@pytest.mark.parametrize("one", [PlaceboAdoption(shift=2), PlaceboAssignment()])
def test_a_period_numbered_0_is_a_period(one: Any, offset: int) -> None:
    f = counties(7, 2)
    moved = f.assign(year=f["year"] - offset, first=f["first"] - offset)
    found, plain = run(moved, one), run(f, one)
    assert (found.statistic, found.p_value, found.verdict) == (plain.statistic, plain.p_value, plain.verdict)


def test_a_placebo_start_may_lie_before_the_first_period() -> None:
    """Two cohorts, shifted by 3: that of the second year to before the data, where periods from 1 on have no number."""
    f = counties(12, 6)
    f["first"] = f["first"].where(f["county"] >= 2, 2012.0)
    numbered = f.assign(year=f["year"] - 2010, first=f["first"] - 2010)
    plain, found = run(f, PlaceboAdoption(shift=3)), run(numbered, PlaceboAdoption(shift=3))
    assert f["year"].min() > 2009
    assert (found.statistic, found.p_value, found.verdict) == (plain.statistic, plain.p_value, plain.verdict)


@pytest.mark.parametrize("shift", [0, -1, 1.5])
def test_shift_must_be_a_whole_number(shift: Any) -> None:
    with pytest.raises(EvalkitError, match="whole number of periods"):
        PlaceboAdoption(shift=shift)


def test_placebo_adoption_before_the_data_is_refused() -> None:
    with pytest.raises(EvalkitError, match="before its adoption"):
        run(counties(20, 8), PlaceboAdoption(shift=6))


@pytest.mark.parametrize(("total", "treated", "floor"), [(6, 2, 1 / 15), (6, 3, 2 / 20), (7, 1, 1 / 7), (7, 3, 1 / 35)])
def test_placebo_assignment_enumerates(total: int, treated: int, floor: float) -> None:
    f = counties(total, treated, effect=1.0, seed=3)
    found = run(f, PlaceboAssignment())
    values = np.array([att(f, dict.fromkeys(chosen, 2014))[0] for chosen in combinations(range(total), treated)])
    assert len(found.table) == comb(total, treated)
    np.testing.assert_allclose(np.sort(found.table["statistic"]), np.sort(values), atol=1e-12)  # effects of size 1
    assert found.table["actual"].sum() == 1
    assert found.table.loc[found.table["actual"], "treated"].item() == ", ".join(map(str, range(treated)))
    assert found.statistic == pytest.approx(values[0], rel=1e-9)
    assert found.p_value == np.mean(np.abs(values) >= abs(values[0]) * (1 - 1e-9))
    assert found.bound == floor
    assert found.p_value >= found.bound
    assert (found.bound > 0.05) == ("cannot reject at 5 %" in found.summary())


def test_placebo_assignment_permutes_dates_of_all_cohorts() -> None:
    f = counties(6, 3)
    f["first"] = f["first"].where(f["county"] != 0, 2012.0)
    found = run(f, PlaceboAssignment(), estimator=EventStudy(leads=2, lags=1))
    assert len(found.table) == 6 * comb(5, 2)
    assert {"ATT(e=-2)", "ATT(e=-1)", "ATT(e=0)", "ATT(e=1)"} <= set(found.table.columns)
    actual = found.table[found.table["actual"]].iloc[0]
    assert found.statistic == pytest.approx((actual["ATT(e=0)"] + actual["ATT(e=1)"]) / 2, rel=1e-12)


def test_placebo_assignment_counts_what_cannot_be_estimated_as_extreme() -> None:
    f = counties(7, 1, effect=100.0)
    f = f[(f["county"] != 5) | (f["year"] >= 2014)]  # never seen before: alone, it can be no placebo
    found = run(f, PlaceboAssignment())
    failed = found.table[found.table["statistic"].isna()]
    assert failed["treated"].tolist() == ["5"]
    assert failed["why"].str.contains("before its adoption").all()
    assert found.p_value == 2 / 7
    assert found.bound == 2 / 7  # the actual one and the failed one, whatever the effect
    assert "1 assignments could not be estimated" in found.summary()


def test_placebo_assignment_draws() -> None:
    f = counties(40, 12)
    one, again, other = (run(f, PlaceboAssignment(draws=99, seed=seed)) for seed in (1, 1, 2))
    pd.testing.assert_frame_equal(one.table, again.table, check_exact=True)
    assert not one.table["statistic"].equals(other.table["statistic"])
    assert len(one.table) == 99
    extreme = (one.table["statistic"].abs() >= abs(one.statistic) * (1 - 1e-9)).sum()
    assert one.p_value == (1 + extreme) / 100
    assert one.bound == 1 / 100
    assert "Against 99 random assignments" in one.summary("en")
    assert "99 次抽取" in one.summary("zh")


@pytest.mark.parametrize("settings", [{}, {"draws": 99}, {"seed": 1}])
def test_placebo_assignment_asks_for_draws_and_seed(settings: dict[str, int]) -> None:
    with pytest.raises(EvalkitError, match=r"about 10\^10 ways.*draws=999, seed=1"):
        run(counties(40, 12), PlaceboAssignment(**settings))


@pytest.mark.parametrize(
    "one", [PlaceboAssignment(draws=99), PlaceboAdoption(shift=2, draws=99), PreTrends(estimator=STUDY, draws=99)]
)
def test_too_many_assignments_are_told_by_the_check_that_asks(one: Any) -> None:
    name = type(one).__name__
    with pytest.raises(
        EvalkitError, match=f"^{name}: there are about .* to 40 county.*Remedy: give {name} draws= and seed="
    ):
        run(counties(40, 5), one)


@pytest.mark.parametrize("kind", [PlaceboAssignment, PlaceboAdoption, partial(PreTrends, estimator=STUDY)])
@pytest.mark.parametrize("given", [{"draws": -5}, {"draws": 0}, {"draws": "al"}, {"draws": True}, {"seed": -1}])
def test_draws_that_are_no_number_are_refused_before_any_is_drawn(kind: Any, given: dict[str, Any]) -> None:
    ((name, value),) = given.items()
    with pytest.raises(EvalkitError, match=f"{name} is {value!r}.*give a whole number from"):
        kind(**given)


def test_a_very_large_number_of_assignments_can_be_told() -> None:
    with pytest.raises(EvalkitError, match=r"about 10\^1503 ways"):
        run(counties(5000, 2500, years=2, start=2011), PlaceboAssignment())


def test_assignments_are_enumerated_once_each_and_drawn_by_seed() -> None:
    cohort = np.array([0, 0, 1, 2, 2, 0])
    every = [tuple(a) for a in enumerate_assignments(cohort)]
    assert len(every) == len(set(every)) == count_assignments(cohort) == 60
    assert tuple(cohort) in every
    assert all(sorted(a) == [0, 0, 0, 1, 2, 2] for a in every)
    drawn = [[tuple(a) for a in draw_assignments(cohort, 500, seed)] for seed in (3, 3)]
    assert drawn[0] == drawn[1]
    assert len(set(drawn[0])) == 60  # 500 draws of 60: each is missed with probability 0.0002


@pytest.mark.parametrize("estimator", [TwoWayFE(), EventStudy(leads=2, lags=1)])
def test_leave_one_out_equals_the_regression_without_the_county(estimator: Any) -> None:
    f = counties(8, 3)
    found = run(f, LeaveOneOut(), estimator=estimator)
    design = Design(outcome="y", adoption="first", assigned_at="county")
    assert found.table["left_out"].tolist() == [str(c) for c in range(8)]
    assert found.table["treated"].tolist() == [c < 3 for c in range(8)]
    for county, row in zip(range(8), found.table.itertuples(), strict=True):
        rest = Panel.from_frame(f[f["county"] != county], unit="county", time="year")
        alone = estimate(rest, design, estimator, inference=Cluster())
        weights = np.array(
            [t.role == "effect" and (t.event_time is None or t.event_time >= 0) for t in alone.fit.terms]
        )
        weights = weights / weights.sum()
        assert row.estimate == pytest.approx(
            weights @ alone.params.to_numpy(), rel=1e-12
        )  # the same rows, the same code
        assert row.std_error == pytest.approx(float(np.sqrt(weights @ alone.vcov().to_numpy() @ weights)), rel=1e-12)
    assert found.statistic == pytest.approx(np.ptp(found.table["estimate"]), rel=1e-12)
    assert (found.null, found.verdict) == (None, "described")


def test_leave_one_out_by_dummies() -> None:
    f = counties(8, 3)
    found = run(f, LeaveOneOut())
    for county, row in zip(range(8), found.table.itertuples(), strict=True):
        expected = att(f[f["county"] != county], dict.fromkeys(range(3), 2014))
        assert (row.estimate, row.std_error) == pytest.approx(expected, rel=1e-9)  # both in double precision


def test_leave_one_out_says_what_rests_on_the_only_treated_unit() -> None:
    found = run(counties(8, 1), LeaveOneOut())
    assert found.table["why"].str.contains("nobody is treated").tolist() == [True] + [False] * 7
    assert "without county 0 no effect can be estimated" in found.summary()
    assert "county 0 后无法估计" in found.summary("zh")
    assert found.table["estimate"].iloc[1:].notna().all()


def test_leave_one_out_counts_who_adopts_in_the_last_period_as_treated() -> None:
    found = run(counties(8, 3, start=2016), LeaveOneOut())
    assert found.table["treated"].tolist() == [c < 3 for c in range(8)]
    assert found.table["estimate"].notna().all()


def test_leave_one_out_of_two_units_leaves_nothing() -> None:
    found = run(counties(2, 1), LeaveOneOut(), inference=Classical())
    assert found.table["estimate"].isna().all()
    assert np.isnan(found.statistic)
    assert "no effect can be estimated" in found.summary()


def test_checks_of_a_split_use_the_average_over_subgroups() -> None:
    f = counties(8, 4).assign(even=lambda f: f["county"] % 2)
    found = run(f, LeaveOneOut(), estimator=Split(by="even", estimator=TwoWayFE()))
    assert found.table["term"].iloc[0] == "mean of ATT [even=0] … ATT [even=1]"


@pytest.mark.parametrize(
    ("value", "error", "p", "bound", "verdict"),
    [
        (0.1, 0.05, 0.03, None, "fail"),
        (0.1, 0.05, 0.2, None, "inconclusive"),
        (0.1, 0.05, 0.2, 0.15, "inconclusive"),
        (0.1, 0.05, 0.2, 0.19, "pass"),
        (-0.1, 0.05, 0.2, 0.19, "pass"),
        (0.0, float("nan"), 0.9, 100.0, "inconclusive"),
        (0.0, 0.0, float("nan"), 100.0, "inconclusive"),
        (0.1, 0.05, float("nan"), 0.19, "pass"),
    ],
)
def test_verdict(value: float, error: float, p: float, bound: float | None, verdict: str) -> None:
    # The 90 % interval with 30 degrees of freedom reaches 1.697 standard errors: here to 0.185.
    assert judge_zero(value, error, 30.0, p, bound) == verdict


@pytest.mark.parametrize("wrong", [LeaveOneOut, "LeaveOneOut", None])
def test_what_is_no_check_is_refused(wrong: Any) -> None:
    with pytest.raises(EvalkitError, match=r"is not a check.*LeaveOneOut\(\)"):
        run(counties(8, 3), wrong)
