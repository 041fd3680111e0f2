"""The permutation test against estimates made anew under every assignment, and against a t test of two groups by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import combinations, product
from math import comb
from typing import Any

import numpy as np
import pandas as pd
import pytest

from evalkit import Design, Estimate, Finding, Panel, check, estimate
from evalkit.checks import PlaceboAdoption, PlaceboAssignment
from evalkit.checks._ranking import average_after_adoption, rank_among_assignments
from evalkit.errors import DataError, DesignError, EvalkitError, InferenceError
from evalkit.estimators import (
    CallawaySantAnna,
    EventStudy,
    ExtendedTWFE,
    Split,
    SyntheticControl,
    SyntheticDID,
    TripleDifference,
    TwoWayFE,
)
from evalkit.inference import Cluster, Permutation
from evalkit.numerics.permutation import (
    Assignments,
    count_assignments,
    draw_assignments,
    enumerate_assignments,
    log10_assignments,
    positive_roots,
)
from evalkit.numerics.reassigned import date_sums
from evalkit.reassignment.effects import reassign

NEVER = np.nan


def farms(*, counties: int = 5, farms_each: int = 3, seed: int = 3, thin: float = 0.12) -> pd.DataFrame:
    """Farms in counties, 2010-2015: two counties adopt in 2012, one in 2013; some rows absent, two prefectures."""
    rng = np.random.default_rng(seed)
    farm = np.repeat(np.arange(counties * farms_each), 6)
    f = pd.DataFrame({"farm": farm, "year": np.tile(np.arange(2010, 2016), counties * farms_each)})
    f["county"] = farm // farms_each
    f["prefecture"] = f["county"] % 2
    f["first"] = f["county"].map({0: 2012.0, 1: 2012.0, 2: 2013.0})
    f["x"], f["size"] = rng.normal(size=len(f)), np.exp(rng.normal(size=len(f)) / 2)
    f["large"] = farm % farms_each == 0
    shock = rng.normal(size=(counties, 6))[f["county"], f["year"] - 2010]
    f["y"] = 0.3 * shock + rng.normal(size=len(f)) + 0.2 * farm - 0.5 * (f["year"] >= f["first"]) + 0.3 * f["x"]
    f["large"] = f["large"].astype(int)
    return f[rng.random(len(f)) >= thin].reset_index(drop=True)


def counties(total: int, treated: int, *, seed: int = 1, years: int = 4) -> pd.DataFrame:
    """One row per county and year from 2010 on; the first counties adopt in the third year."""
    rng = np.random.default_rng(seed)
    f = pd.DataFrame({"county": np.repeat(np.arange(total), years), "year": np.tile(2010 + np.arange(years), total)})
    f["first"] = np.where(f["county"] < treated, 2012.0, NEVER)
    f["y"] = rng.normal(size=len(f)) + 0.1 * f["county"]
    return f


def run(frame: pd.DataFrame, estimator: Any, inference: Any, **design: Any) -> Estimate:
    unit = "farm" if "farm" in frame else "county"
    chosen = Design(**{"outcome": "y", "adoption": "first", "assigned_at": "county", **design})
    return estimate(Panel.from_frame(frame, unit=unit, time="year"), chosen, estimator, inference=inference)


def arrangements(dates: list[float]) -> Iterator[tuple[float, ...]]:
    """Every distinct order of dates."""
    if not dates:
        yield ()
    for date in sorted(set(dates)):
        rest = list(dates)
        rest.remove(date)
        yield from ((date, *others) for others in arrangements(rest))


def assignments(frame: pd.DataFrame, stratum: str | None = None) -> Iterator[dict[int, float]]:
    """Every distinct assignment of dates to counties, by permuting them."""
    first = frame.groupby("county")["first"].first()
    groups = (
        [first.index]
        if stratum is None
        else list(first.groupby(frame.groupby("county")[stratum].first()).groups.values())
    )
    for dates in product(*(list(arrangements(first[group].fillna(0).tolist())) for group in groups)):
        yield {c: d or NEVER for group, one in zip(groups, dates, strict=True) for c, d in zip(group, one, strict=True)}


def by_hand(frame: pd.DataFrame, estimator: Any, stratum: str | None = None, **design: Any) -> list[Estimate | None]:
    """The actual estimate, then that under each assignment; None where it cannot be estimated."""
    actual = run(frame, estimator, Cluster(correction="none"), **design)
    found: list[Estimate | None] = [actual]
    panel, spec = actual.spec.panel, actual.spec
    for dates in assignments(frame, stratum):
        try:
            moved = panel.with_column("first", panel.frame["county"].map(dates))
            found.append(estimate(moved, spec.design, estimator, inference=spec.inference))
        except EvalkitError:
            found.append(None)
    return found


def share(values: list[float]) -> float:
    """Share of values that are at least the first one, which is not counted itself; NaN counts."""
    actual, *others = values
    return float(np.mean([not value < actual * (1 - 1e-9) for value in others]))


def t_of(one: Estimate | None, weights: dict[str, float]) -> float:
    if one is None or not set(weights) <= set(one.params.index):
        return float("nan")
    row = one.combination(weights, "it").iloc[0]
    return abs(float(row["estimate"] / row["std_error"]))


EXACT: dict[str, tuple[Any, dict[str, Any], list[dict[str, float]]]] = {
    "two-way": (TwoWayFE(), {}, [{"ATT": 1.0}]),
    "two-way, covariate": (TwoWayFE(), {"covariates": ("x",)}, [{"ATT": 1.0}]),
    "two-way, weights": (TwoWayFE(), {"weights": "size", "absorb": ("prefecture*year",)}, [{"ATT": 1.0}]),
    "two-way, anticipation": (TwoWayFE(), {"anticipation": 1}, [{"ATT": 1.0}]),
    "split": (
        Split(by="large", estimator=TwoWayFE()),
        {},
        [{"ATT [large=0]": 1.0}, {"ATT [large=1]": 1.0, "ATT [large=0]": -1.0}],
    ),
    "events": (
        EventStudy(leads=2, lags=2),
        {"covariates": ("x",)},
        [{"ATT(e=-2)": 1.0}, {"ATT(e=1)": 1.0}, {"ATT(e=0)": 0.5, "ATT(e=1)": 0.5}],
    ),
    "events, other lengths": (EventStudy(leads=3, lags=3), {}, [{"ATT(e=3)": 1.0}, {"ATT(e=-3)": 1.0}]),
    "events, not binned": (EventStudy(leads=2, lags=1, bin=False), {}, [{"ATT(e=1)": 1.0}]),
    "events of treatment": (EventStudy(leads=1, lags=0), {}, [{"ATT(e=0)": 1.0}]),
    "events of groups": (
        Split(by="large", estimator=EventStudy(leads=2, lags=1)),
        {},
        [{"ATT(e=1) [large=0]": 1.0, "ATT(e=1) [large=1]": -1.0}],
    ),
    "Callaway-Sant'Anna": (CallawaySantAnna(aggregate="dynamic"), {}, [{"ATT(e=0)": 1.0}, {"ATT(e=1)": 1.0}]),
    "triple": (TripleDifference(), {"eligible": "large"}, [{"ATT": 1.0}]),
}


@cache
def enumerated(name: str) -> tuple[Estimate, list[Estimate | None]]:
    estimator, design, _ = EXACT[name]
    f = farms()
    return run(f, estimator, Permutation(), **design), by_hand(f, estimator, **design)


@pytest.mark.parametrize("name", EXACT)
def test_p_is_the_share_of_assignments_estimated_anew(name: str) -> None:
    one, found = enumerated(name)
    assert len(found) - 1 == 30
    for weights in EXACT[name][2]:
        expected = [t_of(each, weights) for each in found]
        row = one.combination(weights, "it").iloc[0]
        assert row["p_value"] == share(expected)
        assert abs(row["statistic"]) == pytest.approx(expected[0], rel=1e-9)  # both in double precision
        law: Any = one.distribution
        w = np.array([weights.get(term.name, 0.0) for term in one.fit.terms])[law.effects]
        line = law.others.along(w, np.zeros(len(w)))
        np.testing.assert_allclose(np.sort(np.abs(line.n0) / np.sqrt(line.d0)), np.sort(expected[1:]), rtol=1e-9)


@pytest.mark.parametrize("name", ["two-way, covariate", "two-way, weights", "split", "events"])
def test_sums_by_cluster_give_what_refits_give(name: str) -> None:
    one, _ = enumerated(name)
    law: Any = one.distribution
    found = reassign(one.fit, one.spec, None, by="Permutation", draws=None, seed=None)
    assert found.sums is not None
    _, others = replace(found, sums=None).moments(studentised=True)
    # Coefficients of size 1, variances of .1; a regression of 80 rows.
    np.testing.assert_allclose(law.others.coefficients, others.coefficients, atol=1e-9)
    np.testing.assert_allclose(law.others.squares, others.squares, atol=1e-9)


@dataclass(frozen=True)
class Counted:
    """An estimator that counts how often it estimates."""

    estimator: Any
    times: list[int] = field(default_factory=list, compare=False)

    def fit(self, panel: Panel, design: Design, keep: Any = None) -> Any:
        self.times.append(1)
        return self.estimator.fit(panel, design, keep)


@pytest.mark.parametrize(
    "name", ["two-way, covariate", "two-way, weights", "split", "events of treatment", "events of groups"]
)
def test_regressions_on_treatment_or_event_time_are_not_estimated_anew(name: str) -> None:
    estimator, design, _ = EXACT[name]
    counted = Counted(estimator)
    one = run(farms(thin=0.0), counted, Permutation(), **design)
    assert "30 assignments" in str(one.uncertainty.method)
    assert len(counted.times) == 2  # the estimate, and one assignment to compare with


@pytest.mark.parametrize("name", ["two-way, anticipation", "events, not binned"])
def test_others_are_estimated_anew(name: str) -> None:
    estimator, design, _ = EXACT[name]
    counted = Counted(estimator)
    run(farms(), counted, Permutation(), **design)
    assert len(counted.times) > 60  # the outcome and the treatment, under 30 assignments


def average(one: Estimate | None) -> float:
    """Mean of the effects after adoption."""
    if one is None:
        return float("nan")
    terms = [t.role == "effect" and (t.event_time is None or t.event_time >= 0) for t in one.fit.terms]
    return float(np.mean(one.fit.coefficients[np.array(terms)]))


def listed(frame: pd.DataFrame, found: list[Estimate | None]) -> tuple[pd.DataFrame, float]:
    """What `by_hand` found as the table of the check, in the order in which assignments are enumerated; the actual effect."""
    first = frame.groupby("county")["first"].first()
    one = {
        tuple(np.nan_to_num(list(dates.values()))): each
        for dates, each in zip(assignments(frame), found[1:], strict=True)
    }
    dates, cohort = np.unique(first.fillna(np.inf), return_inverse=True)
    assert found[0] is not None
    rows = []
    for codes in enumerate_assignments(cohort):
        given = np.where(np.isinf(dates), 0.0, dates)[codes]
        each, treated = one[tuple(given)], first.index[given > 0]
        inside = frame[frame["county"].isin(treated)]
        row = {
            "treated": ", ".join(map(str, treated)),
            "n_units": inside["farm" if "farm" in frame else "county"].nunique(),
            "n_obs": len(inside),
            "statistic": average(each),
            "actual": np.array_equal(codes, cohort),
        }
        kept = () if each is None else zip(each.fit.terms, each.fit.coefficients, strict=True)
        rows.append(row | {term.name: c for term, c in kept if term.role != "covariate"})
    terms = [term.name for term in found[0].fit.terms if term.role != "covariate"]
    return pd.DataFrame(rows, columns=["treated", "n_units", "n_obs", "statistic", "actual", *terms]), average(found[0])


def agrees(finding: Finding, frame: pd.DataFrame, found: list[Estimate | None]) -> None:
    """Compare a finding of PlaceboAssignment with assignments estimated by hand."""
    expected, actual = listed(frame, found)
    table = finding.table
    assert list(table.drop(columns="why")) == list(expected)
    pd.testing.assert_frame_equal(table.drop(columns="why"), expected, rtol=0, atol=1e-12)  # effects of size 1
    assert (table["why"] != "").equals(expected["statistic"].isna())
    assert finding.statistic == pytest.approx(actual, rel=1e-12)
    size, own = expected["statistic"].abs().fillna(np.inf), abs(actual)
    failed, ties = int(np.isinf(size).sum()), int((np.abs(size - own) <= 1e-9 * own).sum())
    assert finding.p_value == float((size >= own * (1 - 1e-9)).sum()) / len(size)
    assert finding.bound == (ties + failed) / len(size)
    assert f"the actual one ranks {1 + int((size > own * (1 + 1e-9)).sum())} by absolute effect" in finding.summary()


@pytest.mark.parametrize("name", EXACT)
def test_the_check_lists_and_ranks_what_refits_give(name: str) -> None:
    one, found = enumerated(name)
    (finding,) = check(one, PlaceboAssignment())
    agrees(finding, one.spec.panel.frame, found)


def few(total: int, treated: int) -> pd.DataFrame:
    return counties(total, treated).assign(older=lambda f: f["county"] % 2, third=lambda f: f["county"] == 3)


FEW: dict[str, tuple[pd.DataFrame, Any, dict[str, Any]]] = {
    "one of twelve": (few(12, 1), TwoWayFE(), {}),
    "one half": (few(6, 3), EventStudy(leads=2, lags=1), {}),
    "a subgroup untreated": (few(7, 2), Split(by="older", estimator=TwoWayFE()), {}),
    "never seen before": (few(7, 1)[lambda f: (f["county"] != 5) | (f["year"] >= 2012)], TwoWayFE(), {}),
    "other event times": (few(7, 1)[lambda f: (f["county"] > 2) | (f["year"] < 2013)], EventStudy(leads=2, lags=1), {}),
    "little is left": (
        few(5, 4).assign(w=lambda f: np.where(f["county"] == 0, 1e-9, 1.0)),
        TwoWayFE(),
        {"weights": "w"},
    ),
    "a covariate is a placebo": (
        few(7, 1).assign(x=lambda f: (f["third"] & (f["year"] >= 2012)).astype(float)),
        TwoWayFE(),
        {"covariates": ("x",)},
    ),
}


@pytest.mark.parametrize("name", FEW)
def test_assignments_that_sums_do_not_tell_are_estimated_anew(name: str) -> None:
    f, estimator, design = FEW[name]
    f = f.reset_index(drop=True)
    found = by_hand(f, estimator, **design)
    one = run(f, estimator, Permutation(), **design)
    (finding,) = check(one, PlaceboAssignment())
    agrees(finding, f, found)
    terms = [term.name for term in one.fit.terms if term.role == "effect"]
    for term in terms:
        assert one.pvalues[term] == share([t_of(each, {term: 1.0}) for each in found])


@pytest.mark.parametrize("estimator", [TwoWayFE(), EventStudy(leads=2, lags=2)])
def test_a_ranking_of_some_rows_is_that_of_refits_of_these(estimator: Any) -> None:
    f = farms()
    f.loc[::9, "y"] = np.nan
    keep = (f["year"] != 2011).to_numpy()
    panel = Panel.from_frame(f, unit="farm", time="year")
    spec = run(f, estimator, Cluster()).spec
    ranking = rank_among_assignments(
        estimator.fit(panel, spec.design, keep),
        spec,
        average_after_adoption,
        by="test",
        keep=keep,
        draws=None,
        seed=None,
    )
    found = by_hand(f[keep], estimator)
    expected, actual = listed(f[keep & f["y"].notna()], found)
    pd.testing.assert_frame_equal(ranking.table.drop(columns="why"), expected, rtol=0, atol=1e-12)
    assert ranking.actual == pytest.approx(actual, rel=1e-12)
    assert ranking.rank == 1 + (expected["statistic"].abs() > abs(actual) * (1 + 1e-9)).sum()


@pytest.mark.parametrize("name", ["two-way, covariate", "events of groups", "Callaway-Sant'Anna"])
def test_the_check_estimates_anew_only_where_it_must(name: str) -> None:
    estimator, design, _ = EXACT[name]
    counted = Counted(estimator)
    one = run(farms(thin=0.0), counted, Cluster(), **design)
    counted.times.clear()
    (finding,) = check(one, PlaceboAssignment())
    assert len(finding.table) == 30
    # The fit itself, and one assignment to compare with; or all but the actual one.
    assert len(counted.times) == (30 if "Sant'Anna" in name else 2)


def test_random_assignments_of_the_check_count_the_actual_one_besides() -> None:
    f = counties(20, 8)
    (found,) = check(run(f, TwoWayFE(), Cluster()), PlaceboAssignment(draws=199, seed=4))
    cohort, d = np.where(np.arange(20) < 8, 0, 1), changes(f)
    drawn = [d[a == 0].mean() - d[a == 1].mean() for a in draw_assignments(cohort, 199, 4)]
    np.testing.assert_allclose(found.table["statistic"], drawn, atol=1e-13)  # effects of size 1
    own = abs(d[:8].mean() - d[8:].mean())
    assert found.p_value == (1 + np.sum(np.abs(drawn) >= own * (1 - 1e-9))) / 200
    assert found.bound == 1 / 200


def test_what_residuals_keep_of_other_effects_is_taken_out_of_the_sums() -> None:
    one = run(farms(), TwoWayFE(), Permutation())
    (part,) = one.fit.parts
    assert part.regression is not None
    unit, period = part.regression.factors
    dates = np.array([2.0, 3.0, np.inf])
    sums = date_sums(
        outcomes=part.sample.outcome[:, None],  # no residual at all
        covariates=np.empty((len(unit), 0)),
        bread=np.empty((0, 0)),
        weights=None,
        unit=unit,
        factors=(period,),
        cluster=part.sample.cluster,
        n_clusters=5,
        columns=(np.arange(6) >= dates[:, None]).astype(float)[:, :, None],
    )
    b, influence, doubtful = sums.effects(np.array([[0, 0, 1, 2, 2]]))
    assert not doubtful.any()
    assert b.item() == pytest.approx(one.params["ATT"], rel=1e-12)
    assert float((influence**2).sum()) == pytest.approx(one.bse["ATT"] ** 2, rel=1e-9)


@pytest.mark.parametrize("name", ["two-way, weights", "events", "events, not binned", "split", "Callaway-Sant'Anna"])
def test_joint_tests_rank_the_wald_statistic(name: str) -> None:
    one, found = enumerated(name)
    terms = [term.name for term in one.fit.terms if term.role == "effect"][:2]

    def wald(each: Estimate | None) -> float:
        if each is None or not set(terms) <= set(each.params.index):
            return float("nan")
        b, V = each.params[terms].to_numpy(), each.vcov().loc[terms, terms].to_numpy()
        return float(b @ np.linalg.solve(V, b)) / len(terms)

    expected = [wald(each) for each in found]
    joint = one.wald(terms)
    assert joint.statistic == pytest.approx(expected[0], rel=1e-8)  # the inverse costs a digit
    assert joint.p_value == share(expected)
    assert joint.reason is None


def changes(f: pd.DataFrame) -> Any:
    """Mean after 2012 less mean before, by county."""
    after = f["year"] >= 2012
    return (f[after].groupby("county")["y"].mean() - f[~after].groupby("county")["y"].mean()).to_numpy()


def difference(d: Any, treated: Any) -> float:
    """|t| of the difference of means of county changes, with the squares around each group's own mean."""
    a, b = d[list(treated)], np.delete(d, list(treated))
    error = np.sqrt(((a - a.mean()) ** 2).sum() / len(a) ** 2 + ((b - b.mean()) ** 2).sum() / len(b) ** 2)
    return float(abs(a.mean() - b.mean()) / error)


def test_one_cohort_is_a_t_test_of_two_groups_of_counties() -> None:
    f = counties(8, 3)
    one = run(f, TwoWayFE(), Permutation())
    d = changes(f)
    expected = [difference(d, chosen) for chosen in combinations(range(8), 3)]
    assert abs(one.tidy()["statistic"].iloc[0]) == pytest.approx(expected[0], rel=1e-10)
    assert one.pvalues["ATT"] == np.mean(np.array(expected) >= expected[0] * (1 - 1e-9))
    assert one.uncertainty.smallest_p == 1 / comb(8, 3)
    assert "all 56 assignments" in str(one.uncertainty.method)


@pytest.mark.parametrize("treated", [2, 3])
def test_p_is_uniform_on_its_grid_over_all_assignments(treated: int) -> None:
    f = counties(6, treated)
    p = []
    for chosen in combinations(range(6), treated):
        p.append(
            run(f.assign(first=np.where(f["county"].isin(chosen), 2012.0, NEVER)), TwoWayFE(), Permutation()).pvalues[
                "ATT"
            ]
        )
    total, ties = comb(6, treated), 2 if treated == 3 else 1  # the mirror of a half has the same |t|
    np.testing.assert_allclose(sorted(p), np.repeat(np.arange(ties, total + 1, ties), ties) / total, rtol=1e-12)


def test_dates_are_exchanged_within_strata() -> None:
    f = farms(counties=8, farms_each=2)
    one = run(f, TwoWayFE(), Permutation(strata="prefecture"))
    found = by_hand(f, TwoWayFE(), "prefecture")
    assert len(found) - 1 == 4 * 12  # one of four odd counties; two dates among four even ones
    assert one.pvalues["ATT"] == share([t_of(each, {"ATT": 1.0}) for each in found])
    assert one.uncertainty.smallest_p == 1 / 48
    assert "within prefecture" in str(one.uncertainty.method)
    assert one.pvalues["ATT"] != run(f, TwoWayFE(), Permutation()).pvalues["ATT"]


def test_a_farm_that_moves_does_not_divide_a_stratum() -> None:
    f = farms(counties=8, farms_each=2, thin=0.0)
    moved = f.copy()
    at = (moved["farm"] == 6) & (moved["year"] == 2015)
    moved.loc[at, ["county", "prefecture"]] = [4, 0]
    p = [run(each, TwoWayFE(), Permutation(strata="prefecture")).pvalues["ATT"] for each in (f, moved)]
    assert p[0] == p[1]


@pytest.mark.parametrize(
    ("column", "what"),
    [
        ("year", "lies in two strata: 2010 and 2011"),
        ("hole", r"the stratum is missing in 4 rows"),
        ("first_known", "is the only one within first_known"),
        ("prefectur", "there is no column 'prefectur'"),
    ],
)
def test_strata_that_cannot_be_are_refused(column: str, what: str) -> None:
    f = counties(6, 3).assign(
        prefecture=lambda f: f["county"] % 2, first_known=lambda f: f["first"].notna().astype(int)
    )
    f["hole"] = f["prefecture"].where(f["county"] != 4)
    with pytest.raises((InferenceError, DataError), match=what):
        run(f, TwoWayFE(), Permutation(strata=column))


def test_the_mirror_of_a_half_ties() -> None:
    one = run(counties(6, 3), TwoWayFE(), Permutation())
    assert one.uncertainty.smallest_p == 2 / comb(6, 3)
    assert (one.pvalues["ATT"] * 10) % 1 == pytest.approx(0, abs=1e-12)
    assert [str(note) for note in one.notes] == ["with these county a permutation cannot give a p below 0.100"]


def test_equal_outcomes_tie() -> None:
    f = counties(7, 2)
    f["y"] = np.array([2.0, 1.0, 1.0, 0.0, 0.0, 3.0, 0.0])[f["county"]] * (f["year"] >= 2012)
    one = run(f, TwoWayFE(), Permutation())
    d = changes(f)
    t = [difference(d, chosen) for chosen in combinations(range(7), 2)]
    equal = np.sum(np.isclose(t, t[0], rtol=1e-9))
    assert equal > 1
    assert one.uncertainty.smallest_p == equal / comb(7, 2)
    assert one.pvalues["ATT"] == np.mean(np.array(t) >= t[0] * (1 - 1e-9))


@pytest.mark.parametrize(
    ("total", "treated", "floor", "said"), [(7, 1, 1 / 7, True), (8, 2, 1 / 28, False), (7, 6, 1 / 7, True)]
)
def test_the_floor_is_said_where_p_cannot_be_small(total: int, treated: int, floor: float, said: bool) -> None:
    one = run(counties(total, treated), TwoWayFE(), Permutation())
    assert one.uncertainty.smallest_p == pytest.approx(floor, rel=1e-12)
    assert one.pvalues["ATT"] >= floor
    assert any("cannot give a p below" in str(note) for note in one.notes) == said
    assert any("不可能低于" in note.text("zh") for note in one.notes) == said
    assert one.uncertainty.unsupported is None
    low, high = one.conf_int(0.95).loc["ATT"]
    assert (np.isinf(low), np.isinf(high)) == (said, said)  # an interval at 95 % needs a p of .05


def test_random_assignments_count_the_actual_one_besides() -> None:
    f = counties(20, 8)  # 125,970 assignments
    one = run(f, TwoWayFE(), Permutation(draws=199, seed=4))
    cohort, d = np.where(np.arange(20) < 8, 0, 1), changes(f)
    drawn = [difference(d, np.flatnonzero(a == 0)) for a in draw_assignments(cohort, 199, 4)]
    expected = (1 + np.sum(np.array(drawn) >= difference(d, range(8)) * (1 - 1e-9))) / 200
    assert one.pvalues["ATT"] == pytest.approx(expected, rel=1e-12)
    assert one.uncertainty.smallest_p == 1 / 200
    assert "199 random assignments" in str(one.uncertainty.method)
    again, other = (run(f, TwoWayFE(), Permutation(draws=199, seed=seed)) for seed in (4, 5))
    assert again.conf_int().equals(one.conf_int())
    assert not other.conf_int().equals(one.conf_int())


def test_random_assignments_stay_within_strata() -> None:
    f = counties(30, 12).assign(prefecture=lambda f: f["county"] % 2)
    one = run(f, TwoWayFE(), Permutation(draws=99, seed=1, strata="prefecture"))
    cohort, strata, d = np.where(np.arange(30) < 12, 0, 1), np.arange(30) % 2, changes(f)
    drawn = [np.flatnonzero(a == 0) for a in draw_assignments(cohort, 99, 1, strata)]
    assert all((chosen % 2).sum() == 6 for chosen in drawn)
    expected = (1 + sum(difference(d, chosen) >= difference(d, range(12)) * (1 - 1e-9) for chosen in drawn)) / 100
    assert one.pvalues["ATT"] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"draws": 10, "seed": 1}, "draws is 10"),
        ({"draws": 999.0}, "draws is 999.0"),
        ({"draws": True}, "draws is True"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], what: str) -> None:
    with pytest.raises(InferenceError, match=what):
        Permutation(**settings)


@pytest.mark.parametrize("settings", [{}, {"draws": 999}, {"seed": 1}])
def test_too_many_assignments_need_draws_and_a_seed(settings: dict[str, Any]) -> None:
    with pytest.raises(InferenceError, match=r"about 10\^5 ways to assign adoption to 20 county"):
        run(counties(20, 8), TwoWayFE(), Permutation(**settings))


def test_more_covariances_than_memory_holds_are_refused() -> None:
    with pytest.raises(InferenceError, match="more than memory holds"):
        run(counties(20, 8), EventStudy(leads=2, lags=1), Permutation(draws=9_999_999, seed=1))


def test_a_dose_cannot_be_permuted() -> None:
    f = counties(8, 3)
    f["dose"] = np.where(f["year"] >= f["first"], 1.0 + f["county"], 0.0)
    with pytest.raises(DesignError, match="a dose of its own"):
        run(f, TwoWayFE(), Permutation(), dose="dose")


@pytest.mark.parametrize(
    "name", ["two-way", "two-way, weights", "split", "events", "events, not binned", "Callaway-Sant'Anna"]
)
def test_intervals_end_where_p_crosses_the_level(name: str) -> None:
    one, _ = enumerated(name)
    for weights in EXACT[name][2]:
        w = np.array([weights.get(term.name, 0.0) for term in one.fit.terms])
        for level in (0.8, 0.9):
            low, high = one.distribution.interval(w, level)
            if "ATT(e=-2)" in weights:
                assert np.isnan([low, high]).all()
                continue
            step = 1e-7 * (high - low)
            assert low < w @ one.fit.coefficients < high
            for end, out in ((low, -1), (high, 1)):
                assert one.distribution.p_value(w, end + out * step) <= 1 - level + 1e-12
                assert one.distribution.p_value(w, end - out * step) > 1 - level
                beyond = end + out * (high - low) * np.geomspace(0.01, 1000, 60)
                assert max(one.distribution.p_value(w, float(null)) for null in beyond) <= 1 - level + 1e-12


@pytest.mark.parametrize("name", ["two-way, covariate", "events", "Callaway-Sant'Anna"])
@pytest.mark.parametrize("r", [-0.7, 0.4])
def test_a_null_is_tested_on_the_outcome_less_a_constant_effect(name: str, r: float) -> None:
    estimator, design, every = EXACT[name]
    one, _ = enumerated(name)
    f = one.spec.panel.frame
    less = run(f.assign(y=f["y"] - r * (f["year"] >= f["first"])), estimator, Permutation(), **design)
    for weights in every:
        w = np.array([weights.get(term.name, 0.0) for term in one.fit.terms])
        expected = less.distribution.p_value(w)
        if "ATT(e=-2)" not in weights:
            assert one.distribution.p_value(w, r) == expected
        else:
            assert np.isnan(one.distribution.p_value(w, r))


def test_half_of_a_gap_is_taken_from_either_side() -> None:
    one, _ = enumerated("split")
    f = one.spec.panel.frame
    side = np.where(f["large"] == 1, 0.5, -0.5)
    less = run(f.assign(y=f["y"] - 0.6 * side * (f["year"] >= f["first"])), EXACT["split"][0], Permutation())
    w = np.array([-1.0, 1.0])
    assert one.distribution.p_value(w, 0.6) == less.distribution.p_value(w)


def test_leads_have_no_interval_and_a_note_says_so() -> None:
    one, _ = enumerated("events")
    table = one.tidy().set_index("term")
    assert np.isnan(table.loc["ATT(e=-2)", ["conf_low", "conf_high"]].astype(float)).all()
    assert table.loc["ATT(e=-2)", "p_value"] > 0
    assert any(str(note).startswith("ATT(e=-2): a constant effect") for note in one.notes)


def test_covariates_have_no_p() -> None:
    one, _ = enumerated("two-way, covariate")
    row = one.tidy(covariates=True).set_index("term").loc["x"]
    assert row["std_error"] > 0
    assert np.isnan(row[["p_value", "conf_low", "conf_high"]].astype(float)).all()
    assert any("says nothing of the coefficients of covariates" in str(note) for note in one.notes)
    with pytest.raises(InferenceError, match="is a covariate"):
        one.wald(["ATT", "x"])


def test_standard_errors_are_clustered_without_factors() -> None:
    one, found = enumerated("two-way, covariate")
    assert found[0] is not None
    np.testing.assert_allclose(one.vcov(), found[0].vcov(), rtol=1e-12)
    assert np.isnan(one.glance()["df"].iloc[0])


def test_assignments_that_cannot_be_estimated_count() -> None:
    f = counties(6, 1)
    f = f[~f["county"].isin([3, 4]) | (f["year"] >= 2012)]  # seen only after adoption
    one = run(f, TwoWayFE(), Permutation())
    found = by_hand(f, TwoWayFE())
    assert sum(each is None for each in found) == 2
    assert one.pvalues["ATT"] == share([t_of(each, {"ATT": 1.0}) for each in found])
    assert one.uncertainty.smallest_p == 3 / 6
    assert any("under 2 of 6 assignments" in str(note) for note in one.notes)


def test_a_subgroup_that_some_assignments_leave_untreated_counts() -> None:
    f = counties(7, 2).assign(older=lambda f: f["county"] % 2)
    split = Split(by="older", estimator=TwoWayFE())
    one, found = run(f, split, Permutation()), by_hand(f, split)
    for term in one.params.index:
        assert one.pvalues[term] == share([t_of(each, {term: 1.0}) for each in found])
    assert any("an effect cannot be estimated" in str(note) for note in one.notes)


@pytest.mark.parametrize("estimator", [SyntheticControl(), SyntheticDID()])
def test_without_influence_the_absolute_effect_is_ranked(estimator: Any) -> None:
    f = counties(7, 1, years=7).assign(first=lambda f: f["first"] + 2)
    one = run(f, estimator, Permutation())
    (found,) = check(one, PlaceboAssignment())
    row = one.tidy().iloc[0]
    assert row["p_value"] == found.p_value
    assert np.isnan(row[["std_error", "conf_low", "conf_high"]].astype(float)).all()
    assert any("not linear in the outcome" in str(note) for note in one.notes)
    assert "the absolute effect" in str(one.uncertainty.method)


def test_a_poisson_regression_has_p_but_no_interval() -> None:
    f = counties(5, 1).assign(y=lambda f: np.exp(f["y"]))
    poisson = ExtendedTWFE(family="poisson")
    one, found = run(f, poisson, Permutation()), by_hand(f, poisson)
    assert one.pvalues["ATT"] == share([t_of(each, {"ATT": 1.0}) for each in found])
    assert one.conf_int().isna().all(axis=None)
    assert one.uncertainty.smallest_p == 1 / 5
    assert any("not linear in the outcome" in str(note) for note in one.notes)


def test_effects_without_influence_are_ranked_jointly_by_the_largest() -> None:
    f = counties(6, 1, years=6).assign(first=lambda f: f["first"] + 2)
    one = run(f, SyntheticDID(aggregate="dynamic"), Permutation())
    terms = [term.name for term in one.fit.terms if term.role == "effect"]
    largest = []
    for county in range(6):
        moved = f.assign(first=np.where(f["county"] == county, 2014.0, NEVER))
        largest.append(np.abs(run(moved, SyntheticDID(aggregate="dynamic"), Permutation()).params[terms]).max())
    assert one.wald(terms).p_value == np.mean(np.array(largest) >= largest[0] * (1 - 1e-9))


def test_a_singular_covariance_is_replaced_by_the_largest_t() -> None:
    f = counties(5, 2, years=8).assign(first=lambda f: f["first"] + 2)
    one = run(f, EventStudy(leads=4, lags=3), Permutation())
    terms = [term.name for term in one.fit.terms if term.role == "effect"]  # seven terms from five clusters
    found = by_hand(f, EventStudy(leads=4, lags=3))
    largest = [max(t_of(each, {term: 1.0}) for term in terms) for each in found]
    joint = one.wald(terms)
    assert joint.p_value == share(largest)
    assert joint.statistic == pytest.approx(largest[0] ** 2, rel=1e-9)


def test_a_base_has_no_p_and_no_joint_test() -> None:
    one, _ = enumerated("events")
    assert np.isnan(one.pvalues["ATT(e=-1)"])
    with pytest.raises(InferenceError, match="a term has no standard error"):
        one.wald(["ATT(e=-1)", "ATT(e=0)"])
    assert one.contrast("ATT(e=1)", "ATT(e=-1)")["p_value"].iloc[0] == one.pvalues["ATT(e=1)"]


def test_an_outcome_without_noise_has_no_p() -> None:
    f = counties(8, 3)
    f["y"] = f["county"] + 2.0 * (f["year"] >= f["first"])
    one = run(f, TwoWayFE(), Permutation())
    assert one.params["ATT"] == pytest.approx(2.0, abs=1e-12)
    assert np.isnan(one.tidy()[["std_error", "p_value", "conf_low"]].to_numpy(float)).all()


def test_adoption_after_the_last_period_is_none() -> None:
    f = counties(9, 2)
    late = f.assign(first=f["first"].where(f["county"] != 5, 2031.0).where(f["county"] != 6, 2032.0))
    p = [run(each, TwoWayFE(), Permutation()) for each in (f, late)]
    assert p[0].pvalues["ATT"] == p[1].pvalues["ATT"]
    assert "all 36 assignments" in str(p[1].uncertainty.method)
    path = run(late, EventStudy(leads=2, lags=1), Permutation())  # there it makes leads
    assert f"all {9 * 8 * 7 * 6 // 2} assignments" in str(path.uncertainty.method)


def test_a_check_on_some_rows_permutes_on_these() -> None:
    f = counties(8, 3, years=6).assign(first=lambda f: f["first"] + 2)
    panel = Panel.from_frame(f, unit="county", time="year")
    design = Design(outcome="y", adoption="first", assigned_at="county")
    (found,) = check(estimate(panel, design, TwoWayFE(), inference=Permutation()), PlaceboAdoption(shift=2))
    before = f[f["year"] < 2014].assign(first=f["first"] - 2)
    assert found.p_value == run(before, TwoWayFE(), Permutation()).pvalues["ATT"]


CHANGES: dict[str, tuple[Callable[[pd.DataFrame], pd.DataFrame], float]] = {
    "order of rows": (lambda f: f.sample(frac=1, random_state=3), 1.0),
    "scale": (lambda f: f.assign(y=-1e9 * f["y"] + 7.0), -1e9),
    "far from zero": (lambda f: f.assign(y=f["y"] + 1e6), 1.0),
    "constants of farms and years": (lambda f: f.assign(y=f["y"] + 3.0 * f["farm"] + (f["year"] - 2013) ** 2), 1.0),
    "names of counties": (lambda f: f.assign(county=f["county"].map(lambda c: f"第{(c * 3) % 5}县")), 1.0),
    "time": (lambda f: f.assign(year=f["year"] - 500, first=f["first"] - 500), 1.0),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", ["two-way, weights", "split", "events"])
def test_what_must_not_change_p(name: str, change: str) -> None:
    estimator, design, every = EXACT[name]
    one, _ = enumerated(name)
    make, factor = CHANGES[change]
    other = run(make(one.spec.panel.frame), estimator, Permutation(), **design)
    for weights in every:
        a, b = (each.combination(weights, "it").iloc[0] for each in (one, other))
        assert b["p_value"] == a["p_value"]
        ends = sorted((factor * a["conf_low"], factor * a["conf_high"]))
        np.testing.assert_allclose([b["conf_low"], b["conf_high"]], ends, rtol=1e-7)  # 1e6 costs seven digits
    if change == "order of rows":
        assert other.conf_int().equals(one.conf_int())


def test_repeated_cross_sections_are_permuted() -> None:
    f = farms()
    design = Design(outcome="y", adoption="first", assigned_at="county")

    def fit(frame: pd.DataFrame, inference: Any) -> Estimate:
        return estimate(Panel.from_frame(frame, unit=None, time="year"), design, TwoWayFE(), inference=inference)

    found = [fit(f, Cluster(correction="none"))]
    found += [fit(f.assign(first=f["county"].map(d)), Cluster(correction="none")) for d in assignments(f)]
    one = fit(f, Permutation())
    assert one.pvalues["ATT"] == share([t_of(each, {"ATT": 1.0}) for each in found])


def test_every_assignment_within_strata_is_enumerated_once() -> None:
    cohort, strata = np.array([0, 0, 1, 2, 2, 0, 1]), np.array([0, 1, 0, 1, 1, 0, 1])
    every = [tuple(a) for a in enumerate_assignments(cohort, strata)]
    assert len(every) == len(set(every)) == count_assignments(cohort, strata) == 3 * 12
    assert tuple(cohort) in every
    assert all(sorted(np.array(a)[strata == s]) == sorted(cohort[strata == s]) for a in every for s in (0, 1))


def test_large_counts_are_told_by_their_logarithm() -> None:
    small, large = np.repeat([0, 1], [30, 70]), np.repeat([0, 1], [300, 800])
    assert log10_assignments(small) == pytest.approx(np.log10(float(comb(100, 30))), rel=1e-12)
    assert log10_assignments(large) == pytest.approx(len(str(comb(1100, 300))) - 1, abs=1)
    assert Assignments(np.repeat([0, 1], [8, 8]), None, None, None).log10 == pytest.approx(np.log10(12870))
    assert not Assignments(np.repeat([0, 1], [8, 8]), None, None, None).enumerated


def test_roots_of_many_polynomials() -> None:
    rng = np.random.default_rng(2)
    roots = rng.normal(size=(50, 4))
    quartics = np.array([np.poly(row)[::-1] * rng.normal() for row in roots])
    quadratics = np.array([[*(np.poly(row[:2])[::-1]), 0.0, 0.0] for row in roots])
    found, owner = positive_roots(np.concatenate([quartics, quadratics]))
    for i, row in enumerate([*roots, *roots[:, :2]]):
        np.testing.assert_allclose(np.sort(found[owner == i]), np.sort(row[row > 0]), rtol=1e-9)
